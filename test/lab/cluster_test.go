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

const (
	online  = "|ONLINE|"
	offline = "|OFFLINE|"
)

// needsRoot skips with the reason where namespaces and mounts are impossible.
func needsRoot(t *testing.T) {
	t.Helper()
	if !Privileged() {
		t.Skip("left out: needs root for network, mount and PID namespaces and loop devices")
	}
}

// cluster is a lab for one test, with the test's name for its errors.
type cluster struct {
	*Lab
	t   *testing.T
	ctx context.Context
}

// options are what makes a lab of a test differ from others.
type options struct {
	unprivileged bool
	// empty: without daemons.
	empty bool
	// broken: the cluster will not come up; the lab stays for a look.
	broken bool
}

// start brings up a lab from testdata or examples and takes it down at the end.
func start(t *testing.T, conf string, unprivileged bool) *cluster {
	t.Helper()
	return startWith(t, conf, options{unprivileged: unprivileged})
}

func startWith(t *testing.T, conf string, o options) *cluster {
	t.Helper()
	if _, err := os.Stat(filepath.Join(Repository(), "bin", "halab")); err != nil {
		t.Fatalf("the programs are not built: %v (run make build first)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	name := fmt.Sprintf("t%d", os.Getpid()%10000) + strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(t.Name(), "Test"), "/", "-"))
	l := New(name[:min(len(name), 24)])
	l.Unprivileged, l.Empty = o.unprivileged, o.empty
	c := &cluster{Lab: l, t: t, ctx: ctx}
	t.Cleanup(func() {
		defer cancel()
		if t.Failed() {
			c.showLogs()
		}
		if err := l.Down(context.WithoutCancel(ctx)); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	patience := 90 * time.Second
	if o.broken {
		patience = time.Second
	}
	if err := l.Up(ctx, conf, patience); (err == nil) == o.broken {
		t.Fatalf("halab up: %v", err)
	}
	return c
}

func (c *cluster) showLogs() {
	status, err := c.Status(c.ctx)
	if err != nil {
		c.t.Logf("status: %v", err)
		return
	}
	for _, system := range status.Systems {
		out, err := c.halab(c.ctx, "logs", system.Name)
		lines := strings.Split(out, "\n")
		c.t.Logf("--- %s is %s (%v)\n%s", system.Name, system.State, err, strings.Join(lines[max(0, len(lines)-120):], "\n"))
	}
}

func (c *cluster) within(limit time.Duration) context.Context {
	bounded, cancel := context.WithTimeout(c.ctx, limit)
	c.t.Cleanup(cancel)
	return bounded
}

// must runs a command on a system and returns what it printed.
func (c *cluster) must(system string, command ...string) string {
	c.t.Helper()
	out, err := c.Must(c.within(30*time.Second), system, command...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *cluster) waitGroup(ask, group, system, want string, limit time.Duration) {
	c.t.Helper()
	if err := c.WaitGroup(c.within(limit), ask, group, system, want); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) waitSystem(ask, system, want string, limit time.Duration) {
	c.t.Helper()
	err := Until(c.within(limit), system+" to be "+want, func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, ask, "hasys", "-state", system)
		if err != nil {
			return false, err.Error()
		}
		return strings.TrimSpace(out) == want, strings.TrimSpace(out)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// waitPower waits until a system of the lab is on or off.
func (c *cluster) waitPower(system, want string, limit time.Duration) {
	c.t.Helper()
	err := Until(c.within(limit), system+" to be "+want, func(ctx context.Context) (bool, string) {
		status, err := c.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, s := range status.Systems {
			if s.Name == system {
				return s.State == want, s.State
			}
		}
		return false, "no such system"
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// ownerOf returns the system where a group is online.
func (c *cluster) ownerOf(group string, ask ...string) (owner, other string) {
	c.t.Helper()
	for i, system := range ask {
		if state, err := c.GroupState(c.ctx, system, group, system); err == nil && state == online {
			return system, ask[1-i]
		}
	}
	c.t.Fatalf("group %s is online nowhere", group)
	return "", ""
}

// switchTo orders a switch as soon as the group is probed on the target.
func (c *cluster) switchTo(ask, group, system string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), group+" to be probed on "+system, func(ctx context.Context) (bool, string) {
		result, err := c.Exec(ctx, ask, "hagrp", "-switch", group, "-to", system)
		if err != nil {
			return false, err.Error()
		}
		return !strings.Contains(result.Err, "not fully probed"), result.Err
	})
	if err != nil {
		c.t.Fatal(err)
	}
}
