package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// example brings up a configuration of examples/ as it stands.
func example(t *testing.T, path string) *cluster {
	t.Helper()
	needsRoot(t)
	return start(t, filepath.Join(Repository(), "examples", path), false)
}

// home waits until a group is online on some system and returns it; more than
// one system at a time is a failure.
func (c *cluster) home(ask, group string, limit time.Duration) string {
	c.t.Helper()
	var homes []string
	err := Until(c.within(limit), "group "+group+" to be online", func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, ask, "hagrp", "-state", group)
		if err != nil {
			return false, err.Error()
		}
		homes = nil
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); len(f) == 4 && f[3] == online {
				homes = append(homes, f[2])
			}
		}
		return len(homes) > 0, out
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(homes) > 1 {
		c.t.Fatalf("group %s is online on %v", group, homes)
	}
	return homes[0]
}

// repaired boots a system and waits until it runs and has probed a group.
func (c *cluster) repaired(ask, system, group string) {
	c.t.Helper()
	if err := c.Boot(c.within(60*time.Second), system); err != nil {
		c.t.Fatal(err)
	}
	c.waitSystem(ask, system, "RUNNING", 30*time.Second)
	c.waitGroup(ask, group, system, offline, 30*time.Second)
}

func (c *cluster) crash(system string) {
	c.t.Helper()
	if err := c.Crash(c.within(30*time.Second), system); err != nil {
		c.t.Fatal(err)
	}
}

// serves checks that the client reaches an address.
func (c *cluster) serves(address string) {
	c.t.Helper()
	err := Until(c.within(10*time.Second), "an answer from "+address, func(ctx context.Context) (bool, string) {
		r, err := c.Exec(ctx, "client", "ping", "-c", "1", "-W", "1", address)
		return err == nil && r.Code == 0, r.Out + r.Err
	})
	if err != nil {
		c.t.Error(err)
	}
}

// TestActivePassive: the standby takes over, nothing fails back by itself, a
// switch brings the work home.
func TestActivePassive(t *testing.T) {
	c := example(t, "topologies/active-passive")
	c.waitGroup("standby", "app", "primary", online, 20*time.Second)
	c.crash("primary")
	c.waitGroup("standby", "app", "standby", online, 20*time.Second)
	c.serves("192.168.1.50")
	c.repaired("standby", "primary", "app")
	if at := c.home("standby", "app", time.Second); at != "standby" {
		t.Errorf("app failed back to %s by itself", at)
	}
	c.switchTo("standby", "app", "primary")
	c.waitGroup("standby", "app", "primary", online, 20*time.Second)
}

// TestActiveActive: each server is the other's reserve.
func TestActiveActive(t *testing.T) {
	c := example(t, "topologies/active-active")
	c.waitGroup("alpha", "web", "alpha", online, 20*time.Second)
	c.waitGroup("alpha", "mail", "beta", online, 20*time.Second)
	c.crash("beta")
	c.waitGroup("alpha", "mail", "alpha", online, 20*time.Second)
	c.waitGroup("alpha", "web", "alpha", online, time.Second)
	c.serves("192.168.1.50")
	c.serves("192.168.1.51")
	c.repaired("alpha", "beta", "mail")
	c.switchTo("alpha", "mail", "beta")
	c.waitGroup("alpha", "mail", "beta", online, 20*time.Second)
}

// TestNTo1: the spare takes the group of the server that failed, and is free
// again when the group has gone home.
func TestNTo1(t *testing.T) {
	c := example(t, "topologies/n-to-1")
	for n := 1; n <= 3; n++ {
		c.waitGroup("spare", fmt.Sprintf("app%d", n), fmt.Sprintf("node%d", n), online, 20*time.Second)
	}
	c.crash("node2")
	c.waitGroup("spare", "app2", "spare", online, 20*time.Second)
	c.waitGroup("spare", "app1", "node1", online, time.Second)
	c.waitGroup("spare", "app3", "node3", online, time.Second)
	c.repaired("spare", "node2", "app2")
	c.switchTo("spare", "app2", "node2")
	c.waitGroup("spare", "app2", "node2", online, 20*time.Second)
}

// TestNPlus1: the group goes to the free server; the repaired one is the spare
// of the next failure; with no slot left a group waits instead of overloading.
func TestNPlus1(t *testing.T) {
	c := example(t, "topologies/n-plus-1")
	for n := 1; n <= 3; n++ {
		c.waitGroup("node4", fmt.Sprintf("app%d", n), fmt.Sprintf("node%d", n), online, 20*time.Second)
	}
	c.crash("node1")
	c.waitGroup("node4", "app1", "node4", online, 20*time.Second)
	c.repaired("node4", "node1", "app2")
	c.crash("node2")
	c.waitGroup("node4", "app2", "node1", online, 20*time.Second)
	c.crash("node3")
	err := Until(c.within(20*time.Second), "app3 to be refused for want of a slot", func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, "node4", "ha", "group", "explain", "app3")
		return err == nil && strings.Contains(out, "Slots"), out
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"node1", "node4"} {
		c.waitGroup("node4", "app3", s, offline, time.Second)
	}
	c.repaired("node4", "node2", "app1")
	c.waitGroup("node4", "app3", "node2", online, 20*time.Second)
}

// TestNToN: the groups of a server spread over the others by load.
func TestNToN(t *testing.T) {
	c := example(t, "topologies/n-to-n")
	for group, system := range map[string]string{"billing": "node1", "catalog": "node1", "files": "node2", "ldap": "node2", "orders": "node3", "wiki": "node3"} {
		c.waitGroup("node3", group, system, online, 20*time.Second)
	}
	c.crash("node1")
	c.waitSystem("node3", "node1", "FAULTED", 10*time.Second)
	at := []string{c.home("node3", "billing", 20*time.Second), c.home("node3", "catalog", 20*time.Second)}
	slices.Sort(at)
	if at[0] != "node2" || at[1] != "node3" {
		t.Errorf("billing and catalog went to %v, which overloads one of them\n%s", at, c.must("node3", "ha", "group", "explain", "catalog"))
	}
}

// TestSharedStorage: what was written before the crash is read after it, on the
// other server that reaches the disks, and never on the one that does not.
func TestSharedStorage(t *testing.T) {
	c := example(t, "storage/shared")
	c.waitGroup("office", "orders", "db1", online, 30*time.Second)
	c.must("db1", "sh", "-c", "echo booked > /data/orders; sync /data/orders")
	c.crash("db1")
	c.waitGroup("office", "orders", "db2", online, 30*time.Second)
	if got := strings.TrimSpace(c.must("db2", "cat", "/data/orders")); got != "booked" {
		t.Errorf("after the failover the order is %q", got)
	}
	c.serves("192.168.1.60")
	r, err := c.Exec(c.within(10*time.Second), "office", "hagrp", "-online", "orders", "-sys", "office")
	if err != nil || r.Code == 0 || !strings.Contains(r.Out+r.Err, "V-16-1-10135") {
		t.Errorf("a server without the disks takes the group: %v, %d, %s%s", err, r.Code, r.Out, r.Err)
	}
}

// TestSharedNothing: every server serves its own copy; the address moves to
// another instance when the one under it fails.
func TestSharedNothing(t *testing.T) {
	c := example(t, "storage/shared-nothing")
	for _, s := range []string{"east", "west"} {
		c.waitGroup("west", "content", s, online, 20*time.Second)
	}
	// The address stands where an instance was up first.
	home := c.home("west", "entry", 20*time.Second)
	other := map[string]string{"east": "west", "west": "east"}[home]
	// The first death is restarted where it was (RestartLimit = 1).
	pid := strings.TrimSpace(c.must(home, "pgrep", "-x", "tail"))
	c.must(home, "pkill", "-x", "tail")
	err := Until(c.within(20*time.Second), "a new server process on "+home, func(ctx context.Context) (bool, string) {
		r, err := c.Exec(ctx, home, "pgrep", "-x", "tail")
		now := strings.TrimSpace(r.Out)
		return err == nil && now != "" && now != pid, now
	})
	if err != nil {
		t.Fatal(err)
	}
	c.waitGroup("west", "content", home, online, 20*time.Second)
	c.waitGroup("west", "entry", home, online, time.Second)
	c.must(home, "pkill", "-x", "tail")
	c.waitGroup("west", "entry", other, online, 20*time.Second)
	c.waitGroup("west", "content", other, online, time.Second)
	c.waitGroup("west", "content", home, "|OFFLINE|FAULTED|", 20*time.Second)
	c.serves("192.168.1.70")
	c.must("west", "hagrp", "-clear", "content", "-sys", home)
	c.must("west", "hagrp", "-online", "content", "-sys", home)
	c.waitGroup("west", "content", home, online, 20*time.Second)
	if at := c.home("west", "entry", time.Second); at != other {
		t.Errorf("the address went to %s by itself", at)
	}
}
