package lab

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCrashMovesTheAddress crashes the system that has the group; the client
// sees the address answer from the other one, and never from both.
func TestCrashMovesTheAddress(t *testing.T) {
	needsRoot(t)
	for _, mode := range []string{"disabled", "fenced"} {
		t.Run(mode, func(t *testing.T) {
			c := start(t, "testdata/address-"+mode, false)
			c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
			w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
			if err != nil {
				t.Fatal(err)
			}
			defer w.Stop()
			if err := Until(c.within(5*time.Second), "the witness to hear the owner", heard(w)); err != nil {
				t.Fatal(err)
			}
			before := w.Owner()
			if err := c.Crash(c.ctx, "Server1"); err != nil {
				t.Fatal(err)
			}
			err = Until(c.within(20*time.Second), "the address to answer from Server2", func(context.Context) (bool, string) {
				return w.Owner() != "" && w.Owner() != before, w.Owner()
			})
			if err != nil {
				t.Fatal(err)
			}
			c.waitGroup("Server2", "svc", "Server2", online, 10*time.Second)
			c.waitSystem("Server2", "Server1", "FAULTED", 5*time.Second)
			if bad := Violations(w.Stop()); len(bad) > 0 {
				t.Errorf("two owners: %q", bad)
			}
		})
	}
}

// TestSplitLeavesOneOwner cuts both private links at once: fencing lets one
// side go on, the other is powered off before the group may move (I1).
func TestSplitLeavesOneOwner(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := c.CutBetween(c.ctx, "Server1/Server2"); err != nil {
		t.Fatal(err)
	}
	var off []string
	err = Until(c.within(20*time.Second), "one side to be off", func(ctx context.Context) (bool, string) {
		status, err := c.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		off = nil
		for _, s := range status.Systems {
			if s.State == "off" {
				off = append(off, s.Name)
			}
		}
		return len(off) > 0, "both are on"
	})
	if err != nil {
		t.Fatal(err)
	}
	winner := map[string]string{"Server1": "Server2", "Server2": "Server1"}[off[0]]
	if len(off) != 1 {
		t.Fatalf("both sides are off: %v", off)
	}
	c.waitGroup(winner, "svc", winner, online, 20*time.Second)
	if bad := Violations(w.Stop()); len(bad) > 0 {
		t.Errorf("two owners: %q", bad)
	}
}

// TestOneLinkDown cuts one private link: nothing moves, lltstat shows it.
func TestOneLinkDown(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	shows := func(what string) {
		t.Helper()
		err := Until(c.within(10*time.Second), "lltstat to show a link "+what, func(ctx context.Context) (bool, string) {
			out, err := c.Must(ctx, "Server1", "lltstat", "-nvv", "configured")
			if err != nil {
				return false, err.Error()
			}
			_, peer, _ := strings.Cut(out, "Server2")
			return strings.Contains(peer, "UP") && strings.Contains(peer, "DOWN") == (what == "DOWN"), out
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CutLink(c.ctx, "priv1", "Server2"); err != nil {
		t.Fatal(err)
	}
	shows("DOWN")
	if state := c.must("Server1", "hasys", "-state", "Server2"); strings.TrimSpace(state) != "RUNNING" {
		t.Errorf("Server2 is %s with one link left", strings.TrimSpace(state))
	}
	// A command still reaches both systems over the link that is left.
	c.must("Server1", "hagrp", "-freeze", "svc")
	c.must("Server2", "hagrp", "-unfreeze", "svc")
	if err := c.Heal(c.ctx); err != nil {
		t.Fatal(err)
	}
	shows("UP")
	c.waitGroup("Server2", "svc", "Server1", online, 5*time.Second)
}

// TestReadsAnswerWhenThePeerHangs freezes the other system: read commands
// answer within two seconds all the same, and the frozen one is shown.
func TestReadsAnswerWhenThePeerHangs(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	if err := c.Freeze(c.ctx, "Server2"); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{{"hastatus", "-sum"}, {"hagrp", "-state"}, {"hares", "-state"}, {"hasys", "-state"}, {"ha", "status"}} {
		began := time.Now()
		result, err := c.Exec(c.within(10*time.Second), "Server1", command...)
		if err != nil || result.Code != 0 {
			t.Errorf("%v: %v, exit code %d: %s", command, err, result.Code, result.Err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%v took %v with a frozen peer", command, took)
		}
	}
}

// TestAgentsKilledAgainAndAgain kills the agents with -9: their resources stay
// online, the agents come back, nothing faults.
func TestAgentsKilledAgainAndAgain(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	for _, agent := range []string{"IP", "FileOnOff"} {
		for range 8 {
			before := c.must("Server1", "pgrep", "-x", agent)
			c.must("Server1", "pkill", "-KILL", "-x", agent)
			err := Until(c.within(5*time.Second), "the agent "+agent+" to be back", func(ctx context.Context) (bool, string) {
				result, err := c.Exec(ctx, "Server1", "pgrep", "-x", agent)
				return err == nil && result.Code == 0 && result.Out != before, result.Out
			})
			if err != nil {
				t.Fatal(err)
			}
			if state, err := c.GroupState(c.ctx, "Server1", "svc", "Server1"); err != nil || state != online {
				t.Fatalf("group is %s (%v) after the agent %s was killed", state, err, agent)
			}
		}
	}
}

// TestFirstLook runs the example that needs neither root nor namespaces:
// kill the program and it is restarted, crash the system and the group moves,
// boot it and switch back. A second lab of the same example beside it has
// programs and files of its own.
func TestFirstLook(t *testing.T) {
	conf := filepath.Join(Repository(), "examples/two-systems")
	c := start(t, conf, true)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	var other *cluster
	t.Run("another", func(t *testing.T) {
		other = start(t, conf, true)
		other.waitGroup("west", "web", "east", online, 20*time.Second)
		c.firstLook(t)
		other.waitGroup("west", "web", "east", online, 5*time.Second)
	})
	if t.Failed() {
		return
	}
	left, err := filepath.Glob("/tmp/evenkeel-two-" + other.Name + ".*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func (c *cluster) firstLook(t *testing.T) {
	t.Helper()
	program := "^/usr/bin/tail -f /tmp/evenkeel-two-" + c.Name + ".east.content"
	before, err := exec.CommandContext(c.ctx, "pgrep", "-f", program).Output()
	if err != nil {
		t.Fatalf("the program does not run: %v", err)
	}
	if err := exec.CommandContext(c.ctx, "pkill", "-KILL", "-f", program).Run(); err != nil {
		t.Fatal(err)
	}
	err = Until(c.within(5*time.Second), "the program to be restarted", func(ctx context.Context) (bool, string) {
		now, err := exec.CommandContext(ctx, "pgrep", "-f", program).Output()
		return err == nil && string(now) != string(before), string(now)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.waitGroup("west", "web", "east", online, 10*time.Second)
	if err := c.Crash(c.ctx, "east"); err != nil {
		t.Fatal(err)
	}
	c.waitGroup("west", "web", "west", online, 20*time.Second)
	if err := c.Boot(c.ctx, "east"); err != nil {
		t.Fatal(err)
	}
	c.waitSystem("west", "east", "RUNNING", 20*time.Second)
	c.waitGroup("west", "web", "east", offline, 10*time.Second)
	c.switchTo("west", "web", "east")
	c.waitGroup("west", "web", "east", online, 20*time.Second)
	c.waitGroup("west", "web", "west", offline, 5*time.Second)
	log := c.must("west", "sh", "-c", "cat $EVENKEEL_ROOT/var/log/evenkeel/engine_A.log")
	if strings.Contains(strings.ToLower(log), "concurrency") {
		t.Errorf("a concurrency violation in the first look:\n%s", log)
	}
}
