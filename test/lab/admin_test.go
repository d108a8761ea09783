package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStopAndStartOfHad: hastop -local -force leaves the group running and the
// next had adopts it; hastop -local takes it offline; hastop -all ends had
// everywhere. None of them is a death: no system stops itself (R2).
func TestStopAndStartOfHad(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := Until(c.within(5*time.Second), "the witness to hear the owner", heard(w)); err != nil {
		t.Fatal(err)
	}

	c.must("Server1", "hastop", "-local", "-force")
	c.waitDaemons("Server1")
	c.shows("Server2", "hastatus -sum", "EXITED", "STALE Server1")
	// Longer than the others' patience with a daemon that died.
	c.staysOn(3*time.Second, "Server1")
	c.must("Server1", "hastart")
	c.waitSystem("Server2", "Server1", "RUNNING", 20*time.Second)
	c.waitGroup("Server2", "svc", "Server1", online, 10*time.Second)
	if seen := w.Seen(); len(seen) != 1 {
		t.Errorf("the address changed hands or fell silent over hastop -force and hastart: %v", seen)
	}

	c.must("Server1", "hastop", "-local")
	c.waitDaemons("Server1")
	c.waitGroup("Server2", "svc", "Server1", offline, 5*time.Second)
	c.waitGroup("Server2", "svc", "Server2", offline, 5*time.Second)
	if err := Until(c.within(5*time.Second), "the address to fall silent", func(context.Context) (bool, string) { return w.Owner() == "", w.Owner() }); err != nil {
		t.Error(err)
	}
	c.must("Server1", "hastart")
	c.waitSystem("Server2", "Server1", "RUNNING", 20*time.Second)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)

	c.must("Server2", "hastop", "-all")
	c.waitDaemons("Server1")
	c.waitDaemons("Server2")
	if err := Until(c.within(5*time.Second), "the address to fall silent", func(context.Context) (bool, string) { return w.Owner() == "", w.Owner() }); err != nil {
		t.Error(err)
	}
	c.staysOn(3*time.Second, "Server1", "Server2")
	c.must("Server1", "hastart")
	c.must("Server2", "hastart")
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	if bad := Violations(w.Stop()); len(bad) > 0 {
		t.Errorf("two owners: %q", bad)
	}
}

// waitDaemons waits until neither had nor hashadow runs on a system.
func (c *cluster) waitDaemons(system string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), "had and hashadow to end on "+system, func(ctx context.Context) (bool, string) {
		result, err := c.Exec(ctx, system, "pgrep", "-x", "-l", "had|hashadow")
		return err == nil && result.Code == 1, result.Out + result.Err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// staysOn fails if a system is powered off within the time.
func (c *cluster) staysOn(d time.Duration, systems ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, d)
	defer cancel()
	var off string
	err := Until(ctx, "nothing", func(ctx context.Context) (bool, string) {
		status, err := c.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, s := range status.Systems {
			for _, name := range systems {
				if s.Name == name && s.State != "on" {
					off = name
				}
			}
		}
		return off != "", "all are on"
	})
	if err == nil {
		c.t.Fatalf("%s was powered off", off)
	}
}

// TestBadConfiguration_hasysForce: had stays out of RUNNING with a main.cf that
// is wrong, says where, and hasys -force leads out once it is right.
func TestBadConfiguration_hasysForce(t *testing.T) {
	needsRoot(t)
	good, err := os.ReadFile("testdata/address-fenced/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	dir := withFencing(t, "testdata/address-fenced", "")
	if err := os.Remove(filepath.Join(dir, "fencing.conf")); err != nil {
		t.Fatal(err)
	}
	bad := strings.Replace(string(good), "svc_ip requires svc_flag", "svc_ip requirs svc_flag", 1)
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	c := startWith(t, dir, options{broken: true})
	for _, system := range []string{"Server1", "Server2"} {
		c.shows(system, "hasys -state", "STALE_ADMIN_WAIT")
		c.shows(system, "hastatus -sum", "STALE_ADMIN_WAIT", "main.cf:", "hasys -force")
		if result, err := c.Exec(c.ctx, system, "hacf", "-verify", "/etc/evenkeel"); err != nil || result.Code == 0 || !strings.Contains(result.Out+result.Err, "requires") {
			t.Errorf("hacf -verify: %v, %+v", err, result)
		}
		if result, err := c.Exec(c.ctx, system, "ls", "/run/svc.flag"); err != nil || result.Code == 0 {
			t.Errorf("something of a wrong configuration runs on %s: %v", system, err)
		}
	}
	// With the file still wrong, force loads nothing.
	if _, err := c.Exec(c.within(10*time.Second), "Server1", "hasys", "-force", "Server1"); err != nil {
		t.Error(err)
	}
	c.shows("Server1", "hastatus -sum", "STALE_ADMIN_WAIT", "main.cf:")
	c.must("Server1", "sed", "-i", "s/requirs/requires/", "/etc/evenkeel/main.cf")
	c.must("Server1", "hacf", "-verify", "/etc/evenkeel")
	c.must("Server1", "hasys", "-force", "Server1")
	c.waitSystem("Server2", "Server1", "RUNNING", 20*time.Second)
	c.waitSystem("Server1", "Server2", "RUNNING", 20*time.Second)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	c.switchTo("Server2", "svc", "Server2")
	c.waitGroup("Server1", "svc", "Server2", online, 20*time.Second)
}
