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

// The detailed monitor reads: what is there and cannot be read is worth little.
func TestDetailedMonitorReads(t *testing.T) {
	p := agenttest.Start(t)
	dir := t.TempDir() // a directory exists and cannot be read like a file
	r := agenttest.Resource(t, "f", map[string]any{"PathName": dir})
	for _, detailed := range []bool{false, true} {
		out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: r, Detailed: detailed})
		if err != nil || out.GetStatus().GetState() != agentv1.State_STATE_ONLINE {
			t.Fatalf("detailed %t: %v %v", detailed, out, err)
		}
		if got := out.GetStatus().Confidence != nil && out.GetStatus().GetConfidence() == 10; got != detailed {
			t.Errorf("detailed %t: %v", detailed, out.GetStatus())
		}
	}
}
