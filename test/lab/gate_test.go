package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// readCommands are the commands that answer from the local replica.
var readCommands = [][]string{
	{"hastatus", "-sum"}, {"ha", "status"}, {"hagrp", "-state"}, {"hares", "-state"}, {"hasys", "-state"},
}

// answers runs all read commands on a system and expects each within two
// seconds. It returns what they printed, by command.
func (c *cluster) answers(system string) map[string]string {
	c.t.Helper()
	printed := map[string]string{}
	for _, command := range readCommands {
		began := time.Now()
		result, err := c.Exec(c.within(10*time.Second), system, command...)
		// A system that has no configuration yet has no groups to show.
		empty := strings.Contains(result.Err, "No Groups are configured") || strings.Contains(result.Err, "No Resources are configured")
		if err != nil || (result.Code != 0 && !empty) {
			c.t.Errorf("%v: %v, exit code %d: %s", command, err, result.Code, result.Err)
		}
		if took := time.Since(began); took > 2*time.Second {
			c.t.Errorf("%v took %v", command, took)
		}
		printed[strings.Join(command, " ")] = result.Out
	}
	return printed
}

// shows waits until a command on a system prints all the words.
func (c *cluster) shows(system, command string, words ...string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), command+" to show "+strings.Join(words, ", "), func(ctx context.Context) (bool, string) {
		result, err := c.Exec(ctx, system, strings.Fields(command)...)
		if err != nil {
			return false, err.Error()
		}
		for _, word := range words {
			if !strings.Contains(result.Out+result.Err, word) {
				return false, result.Out + result.Err
			}
		}
		return true, ""
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// withFencing is a copy of a configuration with another fencing.conf.
func withFencing(t *testing.T, from, fencing string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fencing.conf"), []byte(fencing), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestFencingNeverStarted: without the fencing daemon port h gets no view, no
// group starts, and the commands say why and what leads out (R10).
func TestFencingNeverStarted(t *testing.T) {
	needsRoot(t)
	c := startWith(t, "testdata/address-fenced", options{empty: true})
	systems := []string{"Server1", "Server2"}
	for _, system := range systems {
		c.must(system, "sh", "-c", "for d in gab hashadow; do setsid $d </dev/null >/dev/null 2>&1 & done")
	}
	for _, system := range systems {
		c.shows(system, "gabconfig -a", "Port a gen", "membership 01", "Port h is held", "ha node start")
		c.shows(system, "hastatus -sum", "INITING", "GATE HELD", "no fencing client on port b", "ha node start")
		c.shows(system, "ha status", "INITING", "no fencing client on port b", "ha node start")
		c.answers(system)
		if result, err := c.Exec(c.ctx, system, "hagrp", "-online", "svc", "-sys", system); err != nil || result.Code == 0 {
			t.Errorf("a group was ordered online without fencing: %v, %+v", err, result)
		}
		if result, err := c.Exec(c.ctx, system, "ls", "/run/svc.flag"); err != nil || result.Code == 0 {
			t.Errorf("the group runs on %s without fencing: %v", system, err)
		}
	}
	for _, system := range systems {
		c.must(system, "ha", "node", "start")
	}
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
}

// TestGateHeldUntilVouched: a system crashes, and nothing but an operator can
// say that it is gone. The gate is held, says so, and the group starts
// elsewhere on VOUCHED only (R1, R10).
func TestGateHeldUntilVouched(t *testing.T) {
	needsRoot(t)
	c := start(t, withFencing(t, "testdata/address-fenced", `# No power switch.
vxfen_mode=customized
point1=file:/shared/points/point1
point2=file:/shared/points/point2
point3=file:/shared/points/point3
self_stop=lab
`), false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	if err := c.Crash(c.ctx, "Server1"); err != nil {
		t.Fatal(err)
	}
	c.shows("Server2", "ha fencing status", "the race is won", "ha fencing vouch Server1", "BROKEN")
	c.shows("Server2", "hastatus -sum", "GATE HELD", "ha fencing vouch Server1", "STALE Server1")
	c.shows("Server2", "gabconfig -a", "Port h is held", "ha fencing vouch Server1")
	c.answers("Server2")
	result, err := c.Exec(c.within(10*time.Second), "Server2", "hagrp", "-online", "svc", "-sys", "Server2")
	if err != nil || result.Code == 0 || !strings.Contains(result.Err, "ha fencing vouch Server1") {
		t.Errorf("a changing call while the gate is held: %v, %+v (R15)", err, result)
	}
	if state, err := c.GroupState(c.ctx, "Server2", "svc", "Server2"); err != nil || state != offline {
		t.Errorf("the group is %s on Server2 (%v) without evidence", state, err)
	}
	c.must("Server2", "ha", "fencing", "vouch", "Server1")
	c.waitGroup("Server2", "svc", "Server2", online, 10*time.Second)
	if out := c.must("Server2", "ha", "group", "explain", "svc"); !strings.Contains(out, "VOUCHED") {
		t.Errorf("the explanation does not name the evidence VOUCHED (R1):\n%s", out)
	}
}

// TestFencingDeadOnTheSurvivor: the owner crashes when fencing is dead on the
// other system. Nothing starts there; the commands lead out one after the
// other: start the daemons, seed by hand, clear the keys of the dead.
func TestFencingDeadOnTheSurvivor(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	c.must("Server2", "pkill", "-KILL", "-x", "fencing")
	if err := c.Crash(c.ctx, "Server1"); err != nil {
		t.Fatal(err)
	}
	c.shows("Server2", "gabconfig -a", "Port h is held", "no fencing client on port b here", "ha node start")
	// Longer than fencing may be missing: Server2, which protects nothing,
	// leaves the cluster (R2).
	c.shows("Server2", "hastatus -sum", "INITING", "gabconfig -a")
	c.shows("Server2", "gabconfig -a", "gab does not run", "ha node start")
	c.answers("Server2")
	c.must("Server2", "ha", "node", "start")
	c.must("Server2", "gabconfig", "-x")
	c.shows("Server2", "ha fencing status", "refused", "ha fencing clear")
	if result, err := c.Exec(c.ctx, "Server2", "ls", "/run/svc.flag"); err != nil || result.Code == 0 {
		t.Errorf("the group runs on Server2 while fencing refuses: %v", err)
	}
	c.must("Server2", "ha", "fencing", "clear", "--yes")
	c.waitGroup("Server2", "svc", "Server2", online, 20*time.Second)
}

// TestGabThawed_R19 stops gab alone for longer than the others wait, and lets
// it run on: it takes itself for evicted and joins as a new incarnation;
// nothing moves. Without fencing and with nothing protected there, nobody
// powers its system off meanwhile, and read commands answer there all along.
func TestGabThawed_R19(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-disabled", false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := Until(c.within(5*time.Second), "the witness to hear the owner", heard(w)); err != nil {
		t.Fatal(err)
	}
	c.must("Server2", "pkill", "-STOP", "-x", "gab")
	c.waitSystem("Server1", "Server2", "FAULTED", 10*time.Second)
	for command, out := range c.answers("Server2") {
		if (command == "hastatus -sum" || command == "ha status") && !strings.Contains(out, "STALE") {
			t.Errorf("%s does not mark what is stale while gab stands still:\n%s", command, out)
		}
	}
	c.must("Server2", "pkill", "-CONT", "-x", "gab")
	c.waitSystem("Server1", "Server2", "RUNNING", 20*time.Second)
	c.waitGroup("Server2", "svc", "Server1", online, 10*time.Second)
	log := c.must("Server2", "cat", "/var/log/evenkeel/gab_A.log")
	if begins := strings.Count(log, `"gab begins"`); begins < 2 {
		t.Errorf("gab had %d incarnations after the pause", begins)
	}
	seen := w.Stop()
	if bad := Violations(seen); len(bad) > 0 {
		t.Errorf("two owners: %q", bad)
	}
	if len(seen) != 1 {
		t.Errorf("the address changed hands or fell silent: %v", seen)
	}
}
