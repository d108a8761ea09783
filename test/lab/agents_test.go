package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// untilOut waits until a command's output has all the words.
func (c *cluster) untilOut(limit time.Duration, system string, command []string, words ...string) {
	c.t.Helper()
	err := Until(c.within(limit), strings.Join(command, " ")+" to say "+strings.Join(words, ", "), func(ctx context.Context) (bool, string) {
		r, err := c.Exec(ctx, system, command...)
		if err != nil {
			return false, err.Error()
		}
		for _, w := range words {
			if !strings.Contains(r.Out+r.Err, w) {
				return false, r.Out + r.Err
			}
		}
		return true, ""
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// refused runs a command that must fail with all the words.
func (c *cluster) refused(system string, command []string, words ...string) {
	c.t.Helper()
	r, err := c.Exec(c.within(30*time.Second), system, command...)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, w := range words {
		if r.Code == 0 || !strings.Contains(r.Err, w) {
			c.t.Errorf("%v: exit code %d, want %q in %s%s", command, r.Code, w, r.Out, r.Err)
		}
	}
}

// agentPID is the process of a type's agent on its own system.
func (c *cluster) agentPID(system, typ string) string {
	c.t.Helper()
	return strings.TrimSpace(c.must(system, "haagent", "-value", typ, "Pid"))
}

// appPID is the process of the resource svc_app.
func (c *cluster) appPID(system string) string {
	c.t.Helper()
	return strings.TrimSpace(c.must(system, "pgrep", "-x", "sleep"))
}

// TestAgents: with real agents, from the other system: actions and info,
// an agent that is frozen, stopped, replaced and given up. The resources stay
// online, their process is the same from the first to the last look.
func TestAgents(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/agents", false)
	c.waitGroup("Server2", "svc", "Server1", online, 30*time.Second)
	app := c.appPID("Server1")
	stays := func(when string) {
		t.Helper()
		c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
		if got := c.appPID("Server1"); got != app {
			t.Fatalf("%s: the application is process %s, it was %s", when, got, app)
		}
	}

	// Actions, asked where they do not run.
	if out := c.must("Server2", "hares", "-action", "svc_app", "program.vfd", "-sys", "Server1"); out != "/bin/sleep can be run\n" {
		t.Errorf("program.vfd printed %q", out)
	}
	if out := c.must("Server1", "hares", "-action", "svc_app", "user.vfd", "-sys", "Server2"); out != "root is uid 0\n" {
		t.Errorf("user.vfd printed %q", out)
	}
	c.refused("Server2", []string{"hares", "-action", "svc_app", "progam.vfd", "-sys", "Server1"}, "V-16-1-90180", "did you mean program.vfd?")

	// Info: gathered on Server1, known on Server2, forgotten and gathered anew.
	value := []string{"hares", "-value", "svc_app", "ResourceInfo", "Server1"}
	c.untilOut(20*time.Second, "Server2", value, "State Valid", "Pid "+app, "Processes 1", "RSS ")
	c.must("Server2", "hares", "-flushinfo", "svc_app")
	c.untilOut(5*time.Second, "Server1", value, "State Stale")
	c.must("Server2", "hares", "-refreshinfo", "svc_app", "-sys", "Server1")
	c.untilOut(10*time.Second, "Server2", value, "State Valid", "Pid "+app)
	c.refused("Server2", []string{"hares", "-refreshinfo", "svc_app", "-sys", "Server2"}, "V-16-1-90179", "not online on system Server2")

	// A frozen agent answers nothing (AgentReplyTimeout 3 s): it is replaced.
	before := c.agentPID("Server1", "Process")
	began := time.Now()
	c.must("Server1", "kill", "-STOP", before)
	c.untilOut(30*time.Second, "Server2", []string{"ha", "agent", "show", "Process", "--system", "Server1"}, "Running", "Server1")
	if err := Until(c.within(30*time.Second), "another agent", func(context.Context) (bool, string) {
		now := c.agentPID("Server1", "Process")
		return now != before && now != "0", now
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("a frozen agent was replaced after %v", time.Since(began).Round(time.Millisecond))
	stays("after the agent was frozen")
	c.untilOut(10*time.Second, "Server1", []string{"haagent", "-display", "Process"}, "Running               Yes", "Faults                1")

	// Stopped, not without -force; nobody watches; started again.
	c.refused("Server2", []string{"haagent", "-stop", "Process", "-sys", "Server1"}, "svc_app is ONLINE", "-force")
	c.must("Server2", "haagent", "-stop", "Process", "-force", "-sys", "Server1")
	c.untilOut(15*time.Second, "Server1", []string{"haagent", "-display", "Process"}, "Stopped", "Running               No", "Pid                   0")
	stays("while its agent is stopped")
	c.refused("Server2", []string{"hares", "-action", "svc_app", "program.vfd", "-sys", "Server1"}, "haagent -start Process -sys Server1")
	c.must("Server2", "haagent", "-start", "Process", "-sys", "Server1")
	c.untilOut(15*time.Second, "Server1", []string{"haagent", "-display", "Process"}, "Running               Yes")
	stays("after its agent was started")

	// AgentDirectory is filled on one system, so that what follows touches no
	// other. A new build takes over; one that is no good does not.
	c.must("Server1", "sh", "-c", `mkdir /run/agents && cp "$(readlink -f /proc/$0/exe)" /run/agents/Process`, c.agentPID("Server1", "Process"))
	running := []string{"ha", "agent", "show", "Process", "--system", "Server1"}
	c.untilOut(10*time.Second, "Server2", running, "Running")
	before = c.agentPID("Server1", "Process")
	c.must("Server2", "ha", "agent", "swap", "Process", "--system", "Server1")
	c.untilOut(30*time.Second, "Server1", []string{"sh", "-c", `cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/engine_A.log`}, "V-16-1-90183")
	if now := c.agentPID("Server1", "Process"); now == before {
		t.Errorf("the agent is still process %s", now)
	} else if exe := c.must("Server1", "readlink", "/proc/"+now+"/exe"); exe != "/run/agents/Process\n" {
		t.Errorf("the agent is %s", exe)
	}
	stays("after the swap")
	c.untilOut(10*time.Second, "Server2", running, "Running")
	c.must("Server1", "sh", "-c", `d=/run/agents; mv $d/Process $d/good; printf '#!/bin/sh\nexit 3\n' > $d/Process; chmod 755 $d/Process`)
	c.must("Server2", "ha", "agent", "swap", "Process", "--system", "Server1")
	c.untilOut(30*time.Second, "Server1", []string{"sh", "-c", `cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/engine_A.log`}, "V-16-1-90182")
	stays("after the swap that failed")

	// Given up: it dies, and what stands at its path is no agent.
	c.must("Server1", "kill", "-KILL", c.agentPID("Server1", "Process"))
	c.untilOut(60*time.Second, "Server2", []string{"hatype", "-value", "Process", "AgentFailedOn"}, "Server1")
	c.untilOut(5*time.Second, "Server2", []string{"ha", "agent", "list"}, "Given up")
	c.untilOut(5*time.Second, "Server2", []string{"sh", "-c", `cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/engine_A.log`}, "V-16-1-10015 (Server1) Agent Process is not run on this system")
	stays("while its agent is given up")
	c.must("Server1", "sh", "-c", `d=/run/agents; mv $d/good $d/Process`)
	c.must("Server2", "haagent", "-start", "Process", "-sys", "Server1")
	c.untilOut(30*time.Second, "Server2", running, "Running")
	stays("after its agent was started again")
	if out := c.must("Server2", "hatype", "-value", "Process", "AgentFailedOn"); strings.TrimSpace(out) != "" {
		t.Errorf("AgentFailedOn is still %q", out)
	}

	// The detailed monitor (each second one) sees what the plain one cannot: the
	// application is stopped, so it is cleaned and the group fails over.
	c.must("Server1", "kill", "-STOP", app)
	c.waitGroup("Server2", "svc", "Server2", online, 40*time.Second)
	log := c.must("Server1", "sh", "-c", `cat ${EVENKEEL_ROOT%/}/var/log/evenkeel/engine_A.log`)
	if !regexp.MustCompile(`V-16-1-10303 Resource svc_app .* is FAULTED on sys Server1`).MatchString(log) {
		t.Errorf("the log does not tell the fault:\n%s", fmt.Sprint(log))
	}
}
