package fileonoff

import (
	"os"
	"path/filepath"
	"testing"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

func TestConformance(t *testing.T) {
	agenttest.Run(t, New(), map[string]any{"PathName": filepath.Join(t.TempDir(), "f")})
}

func TestOnlineKeepsContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "f", map[string]any{"PathName": path})
	if _, err := p.Online(t.Context(), &agentv1.OnlineRequest{Resource: r}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "mine" {
		t.Errorf("content is %q", text)
	}
}

// A path that cannot be looked at is UNKNOWN, not OFFLINE.
func TestUnreadableIsUnknown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "f", map[string]any{"PathName": filepath.Join(file, "below")})
	if out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: r}); err == nil {
		t.Errorf("got %v, want an error", out)
	}
}
