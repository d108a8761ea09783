package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// TestTriggerTimeout: had.conf says after how long a trigger is ended, and a
// word that is no time is refused by name.
func TestTriggerTimeout(t *testing.T) {
	for _, c := range []struct {
		line, problem string
		want          time.Duration
	}{
		{"trigger-timeout = 90s", "", 90 * time.Second},
		{"trigger-timeout=0s", "trigger-timeout=0s: say how long, such as trigger-timeout=90s", 0},
		{"trigger-timeout=soon", "trigger-timeout=soon: say how long", 0},
		{"triger-timeout=90s", "had.conf:1:1", 0},
	} {
		root := paths.Root(t.TempDir())
		if err := os.MkdirAll(root.ConfigDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root.ConfigDir(), "had.conf"), []byte(c.line+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Root: root, Name: "A"})
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%s: %v", c.line, err)
			}
		case err != nil || s.cfg.TriggerTimeout != c.want:
			t.Errorf("%s: %v, %v", c.line, s, err)
		}
	}
}
