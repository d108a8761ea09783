package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestScriptsForVCS runs shell scripts that use the commands as published
// automation for VCS does: monitoring, configuration management, installers.
func TestScriptsForVCS(t *testing.T) {
	c := start(t, "testdata/documented", true)
	c.waitSystem("sysA", "sysB", "RUNNING", 30*time.Second)
	c.waitGroup("sysA", "app", "sysA", online, 30*time.Second)
	flags := filepath.Join(t.TempDir(), "flag")
	for _, name := range []string{"monitor", "configure", "commands", "operate", "install"} {
		script, err := os.ReadFile("testdata/scripts/" + name + ".sh")
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.Exec(c.within(3*time.Minute), "sysA", "env", "FLAGS="+flags, "sh", "-c", "CONF=$EVENKEEL_ROOT/etc/evenkeel\n"+string(script))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Code != 0 || !strings.HasSuffix(strings.TrimSpace(r.Out), "done") {
			t.Fatalf("%s.sh: exit %d\n%s%s", name, r.Code, r.Out, r.Err)
		}
	}
	// What the installer stopped comes up again with what was dumped.
	c.must("sysA", "hastart")
	c.must("sysB", "hastart")
	c.waitSystem("sysA", "sysB", "RUNNING", 30*time.Second)
	c.waitGroup("sysA", "app", "sysA", online, 30*time.Second)
}
