package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recorder is a trigger that writes down how it was called, with the number
// of its event.
const recorder = `echo "$EVENKEEL_TRIGGER_ID $VCS_TRIGGER $*" >> "$VCS_LOG/record"`

// trigger puts the program of an event on all systems of a cluster.
func (c *cluster) trigger(event, text string, systems ...string) {
	c.t.Helper()
	for _, s := range systems {
		c.must(s, "sh", "-c", `d=${EVENKEEL_ROOT%/}/usr/lib/evenkeel/triggers; mkdir -p $d && printf '%s' "$1" > $d/$0 && chmod 755 $d/$0`,
			event, "#!/bin/sh\n"+text+"\n")
	}
}

// record is what the triggers of a system wrote down, without their numbers,
// which must grow.
func (c *cluster) record(system string) []string {
	c.t.Helper()
	out := c.must(system, "sh", "-c", `cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/record 2>/dev/null; true`)
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		_, text, _ := strings.Cut(line, " ")
		lines = append(lines, text)
	}
	return lines
}

// untilRecord waits until a system has recorded exactly these triggers of
// those about the given words.
func (c *cluster) untilRecord(system, about string, want ...string) {
	c.t.Helper()
	err := Until(c.within(30*time.Second), "triggers on "+system, func(context.Context) (bool, string) {
		var got []string
		for _, line := range c.record(system) {
			if strings.Contains(line, about) {
				got = append(got, line)
			}
		}
		return strings.Join(got, "\n") == strings.Join(want, "\n"), strings.Join(got, "; ")
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestTriggers: a group faults over and each trigger is recorded where it
// belongs, with its arguments, in order; one that hangs delays no failover and
// outlives the had that started it; preonline decides.
func TestTriggers(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/triggers", false)
	sample, err := os.ReadFile(filepath.Join(Repository(), "examples", "triggers", "preonline"))
	if err != nil {
		t.Fatal(err)
	}
	c.trigger("preonline", recorder+"\n"+string(sample), "A", "B")
	for _, event := range []string{"postonline", "postoffline", "resstatechange", "nofailover", "sysoffline", "sysjoin", "violation"} {
		c.trigger(event, recorder, "A", "B")
	}
	c.trigger("resfault", recorder+"\n[ $3 = pre_flag ] || while [ ! -e /run/let-go ]; do sleep 0.2; done\n"+recorder, "A", "B")
	c.probed("svc", "pre")

	c.must("A", "hagrp", "-online", "svc", "-sys", "A")
	c.waitGroup("B", "svc", "A", online, 20*time.Second)
	c.untilRecord("A", "svc", "resstatechange 0 A svc_flag OFFLINE ONLINE", "postonline 0 A svc")

	// A fault whose trigger hangs: the group fails over all the same, and its
	// other triggers on A wait for their turn.
	c.must("A", "rm", "/run/svc.flag")
	c.waitGroup("A", "svc", "B", online, 30*time.Second)
	c.untilRecord("B", "svc", "resstatechange 0 B svc_flag OFFLINE ONLINE", "postonline 0 B svc")
	before := []string{"resstatechange 0 A svc_flag OFFLINE ONLINE", "postonline 0 A svc", "resstatechange 0 A svc_flag ONLINE FAULTED", "resfault 0 A svc_flag ONLINE"}
	c.untilRecord("A", "svc", before...)

	// had dies: the trigger goes on, and no later had runs it again (R22).
	c.must("A", "pkill", "-KILL", "-x", "had")
	c.waitSystem("B", "A", "RUNNING", 30*time.Second)
	c.untilRecord("B", "sysoffline", "sysoffline A FAULTED")
	c.untilRecord("A", "sysjoin", "sysjoin 0 A RUNNING")
	c.must("A", "pgrep", "-f", "triggers/resfault 0 A svc_flag")
	if log := c.must("A", "hamsg", "engine_A"); !strings.Contains(log, "V-16-6-90056") || !strings.Contains(log, "trigger postoffline 0 A svc (of ") {
		t.Error("the triggers that waited when had was killed are not in the engine log")
	}
	c.must("A", "touch", "/run/let-go")
	c.untilRecord("A", "svc", append(before, "resfault 0 A svc_flag ONLINE")...)

	// preonline: asked by hand and after a fault; it forbids.
	c.probed("svc", "pre")
	c.must("A", "hagrp", "-clear", "svc")
	c.must("A", "hagrp", "-online", "pre", "-sys", "A")
	c.waitGroup("B", "pre", "A", online, 20*time.Second)
	c.must("A", "rm", "/run/pre.flag")
	c.waitGroup("A", "pre", "B", online, 30*time.Second)
	c.untilRecord("A", "preonline", "preonline 0 A pre MANUAL")
	c.untilRecord("B", "preonline", "preonline 0 B pre FAULT A")
	c.must("A", "hagrp", "-clear", "pre")
	c.trigger("preonline", recorder+"; echo the data is not there; exit 1", "A")
	c.must("A", "hagrp", "-switch", "pre", "-to", "A")
	err = Until(c.within(30*time.Second), "the explanation", func(context.Context) (bool, string) {
		out := c.must("B", "ha", "group", "explain", "pre")
		return strings.Contains(out, "exit code 1") && strings.Contains(out, "hagrp -online -nopre pre -sys A"), out
	})
	if err != nil {
		t.Fatal(err)
	}
	c.waitGroup("B", "pre", "A", offline, 5*time.Second)
	c.untilRecord("A", "nofailover", "nofailover 0 B pre")
	if log := c.must("A", "sh", "-c", "cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/engine_A.log"); !strings.Contains(log, "preonline: the data is not there") {
		t.Error("what the trigger printed is not in the engine log")
	}
	c.must("A", "hagrp", "-online", "-nopre", "pre", "-sys", "A")
	c.waitGroup("B", "pre", "A", online, 20*time.Second)

	// Somebody starts svc on A while it is online on B.
	c.must("A", "touch", "/run/svc.flag")
	c.untilRecord("A", "violation", "violation A svc")
	c.waitGroup("B", "svc", "A", offline, 20*time.Second)
	c.waitGroup("A", "svc", "B", online, 5*time.Second)

	// B dies: the lowest RUNNING system tells, once.
	if err := c.Crash(c.ctx, "B"); err != nil {
		t.Fatal(err)
	}
	c.waitGroup("A", "svc", "A", online, 30*time.Second)
	c.untilRecord("A", "sysoffline", "sysoffline B FAULTED")

	last := uint64(0)
	for _, line := range strings.Split(strings.TrimSpace(c.must("A", "sh", "-c", "grep -v resfault ${EVENKEEL_ROOT%/}/var/log/evenkeel/record | grep svc")), "\n") {
		var id uint64
		if _, err := fmt.Sscan(line, &id); err != nil || id <= last {
			t.Errorf("after trigger %d came %q", last, line)
		}
		last = id
	}
}

// probed waits until groups are probed on both systems.
func (c *cluster) probed(groups ...string) {
	c.t.Helper()
	for _, g := range groups {
		for _, s := range []string{"A", "B"} {
			err := Until(c.within(30*time.Second), g+" to be probed on "+s, func(ctx context.Context) (bool, string) {
				out, err := c.Must(ctx, s, "hagrp", "-value", g, "Probed", s)
				return err == nil && strings.TrimSpace(out) == "1", fmt.Sprint(out, err)
			})
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
}
