package lab

import (
	"strings"
	"testing"
	"time"
)

// TestKillTheDaemons kills and stops the daemons of the system that has the
// group, alone and in pairs, while a witness on the client host watches the
// address. Whatever dies, the witness never sees two owners; a system that
// must not go on is powered off before its group starts elsewhere (R1, R2).
func TestKillTheDaemons(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	for _, step := range []struct {
		name string
		// signal goes to all processes with one of the names at once.
		signal, names string
	}{
		{"gab killed", "KILL", "gab"},
		{"gab stopped", "STOP", "gab"},
		{"fencing killed", "KILL", "fencing"},
		{"fencing stopped", "STOP", "fencing"},
		{"had and hashadow killed for good", "KILL", "had|hashadow"},
		{"gab and fencing killed", "KILL", "gab|fencing"},
		{"gab and had killed", "KILL", "gab|had"},
		{"gab and hashadow killed", "KILL", "gab|hashadow"},
		{"fencing and had killed", "KILL", "fencing|had"},
		{"fencing and hashadow killed", "KILL", "fencing|hashadow"},
	} {
		passed := t.Run(strings.ReplaceAll(step.name, " ", "_"), func(t *testing.T) {
			owner, other := c.ownerOf("svc", "Server1", "Server2")
			c := &cluster{Lab: c.Lab, t: t, ctx: c.ctx}
			w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			// Stopped first, then killed: none sees the other die and brings it
			// back before its own end.
			began := time.Now()
			script := "pkill -STOP -x '" + step.names + "'"
			if step.signal != "STOP" {
				script += "; pkill -" + step.signal + " -x '" + step.names + "'"
			}
			// The power may go before the shell says how it ended.
			if _, err := c.Exec(c.within(30*time.Second), owner, "sh", "-c", script); err != nil {
				t.Fatal(err)
			}
			c.waitPower(owner, "off", 20*time.Second)
			off := time.Since(began)
			c.waitGroup(other, "svc", other, online, 20*time.Second)
			t.Logf("%s: off after %v, online on %s after %v", step.name, off.Round(time.Millisecond), other, time.Since(began).Round(time.Millisecond))
			if out := c.must(other, "ha", "group", "explain", "svc"); !strings.Contains(out, "POWERED_OFF") {
				t.Errorf("the explanation does not name the evidence POWERED_OFF (R1):\n%s", out)
			}
			if bad := Violations(w.Stop()); len(bad) > 0 {
				t.Errorf("two owners: %q", bad)
			}
			if err := c.Boot(c.ctx, owner); err != nil {
				t.Fatal(err)
			}
			c.waitSystem(other, owner, "RUNNING", 40*time.Second)
		})
		if !passed {
			break
		}
	}
}

// TestHadKilledAlone_R8: hashadow brings had back; the group stays online and
// the address never stops to answer.
func TestHadKilledAlone_R8(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := Until(c.within(5*time.Second), "the witness to hear the owner", heard(w)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := strings.TrimSpace(c.must("Server1", "pgrep", "-x", "had"))
		c.must("Server1", "pkill", "-KILL", "-x", "had")
		c.waitSystem("Server2", "Server1", "RUNNING", 20*time.Second)
		c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
		c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
		if after := strings.TrimSpace(c.must("Server1", "pgrep", "-x", "had")); after == before {
			t.Fatalf("had still has process id %s: it was not killed", after)
		}
	}
	seen := w.Stop()
	if bad := Violations(seen); len(bad) > 0 {
		t.Errorf("two owners: %q", bad)
	}
	if len(seen) != 1 {
		t.Errorf("the address changed hands or fell silent: %v", seen)
	}
}
