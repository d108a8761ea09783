package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestTroubles: what goes wrong with resources, agents, links and loads runs
// its trigger where it belongs, with VCS's arguments, and nowhere else.
func TestTroubles(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/troubles", false)
	for _, event := range []string{"resnotoff", "resadminwait", "resrestart", "resfault", "loadwarning", "injeopardy", "sysoffline", "unable_to_restart_agent"} {
		c.trigger(event, recorder, "A", "B")
	}
	for _, g := range []string{"stuck", "asks", "again"} {
		c.waitGroup("B", g, "A", online, 20*time.Second)
	}
	c.probed("stuck", "asks", "again")

	// The flag has become a folder with something in it: neither offline nor
	// clean removes it.
	c.must("A", "sh", "-c", "rm /run/stuck.flag; mkdir -p /run/stuck.flag/kept")
	c.must("B", "hagrp", "-switch", "stuck", "-to", "B")
	c.untilRecord("A", "stuck_flag", "resnotoff 0 A stuck_flag", "resadminwait A stuck_flag 1")
	c.waitGroup("A", "stuck", "B", offline, 5*time.Second)

	// With ManageFaults = NONE a resource that went down waits for somebody.
	c.must("A", "rm", "/run/asks.flag")
	c.untilRecord("A", "asks_flag", "resadminwait A asks_flag 4")
	if flags := c.must("B", "hares", "-value", "asks_flag", "Flags", "A"); !strings.Contains(flags, "ADMIN_WAIT") {
		t.Errorf("asks_flag has the flags %q", flags)
	}

	// RestartLimit = 1: once in its place, the second time a fault.
	c.must("A", "rm", "/run/again.flag")
	c.untilRecord("A", "again_flag", "resrestart 0 A again_flag")
	c.waitGroup("B", "again", "A", online, 20*time.Second)
	c.must("A", "rm", "/run/again.flag")
	c.untilRecord("A", "again_flag", "resrestart 0 A again_flag", "resfault 0 A again_flag ONLINE")
	c.waitGroup("A", "again", "B", online, 30*time.Second)

	c.must("A", "hasys", "-load", "B", "70")
	c.untilRecord("B", "loadwarning", "loadwarning 0 B 30")

	// An agent that dies again and again: its resources stay as they are.
	pid := ""
	for range 6 {
		err := Until(c.within(20*time.Second), "another agent", func(ctx context.Context) (bool, string) {
			out, err := c.Must(ctx, "B", "pgrep", "-x", "Process")
			now := strings.TrimSpace(out)
			if err != nil || now == pid {
				return false, out
			}
			pid = now
			return true, ""
		})
		if err != nil {
			t.Fatal(err)
		}
		c.must("B", "kill", "-ABRT", pid)
	}
	c.untilRecord("B", "unable_to_restart_agent", "unable_to_restart_agent B Process")
	if on := c.must("A", "hatype", "-value", "Process", "AgentFailedOn"); strings.TrimSpace(on) != "B" {
		t.Errorf("AgentFailedOn is %q", on)
	}
	c.waitGroup("A", "again", "B", online, 5*time.Second)
	c.untilRecord("B", "resfault")
	c.must("A", "haagent", "-start", "Process", "-sys", "B")
	c.untilOut(20*time.Second, "A", []string{"haagent", "-display", "Process"}, "Running")
	if on := c.must("A", "hatype", "-value", "Process", "AgentFailedOn"); strings.TrimSpace(on) != "" {
		t.Errorf("after haagent -start AgentFailedOn is %q", on)
	}

	// One of two links is cut: each of the two systems is in jeopardy and says
	// so itself; the lowest tells of both.
	if err := c.CutLink(c.ctx, "priv1", "B"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"A", "B"} {
		c.untilRecord(s, "injeopardy", "injeopardy 0 "+s+" RUNNING")
		c.untilRecord("A", "sysoffline "+s, "sysoffline "+s+" RUNNING")
	}
	if got := c.record("B"); strings.Contains(strings.Join(got, "\n"), "sysoffline") {
		t.Errorf("B tells of systems as well: %q", got)
	}
	for _, other := range []string{"resnotoff", "resadminwait", "resrestart"} {
		if strings.Contains(strings.Join(c.record("B"), "\n"), other) {
			t.Errorf("%s ran on B too: %q", other, c.record("B"))
		}
	}
}
