package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// without waits until a command no longer says a word.
func (c *cluster) without(limit time.Duration, system string, command []string, word string) {
	c.t.Helper()
	err := Until(c.within(limit), strings.Join(command, " ")+" to say no longer "+word, func(ctx context.Context) (bool, string) {
		r, err := c.Exec(ctx, system, command...)
		if err != nil {
			return false, err.Error()
		}
		return !strings.Contains(r.Out, word), r.Out
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestLinkDoctor injects faults into the links of a real cluster; ha link
// doctor names each, on the system that can see it, and no longer when it is
// mended. All the time the cluster runs on.
func TestLinkDoctor(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/links", false)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	doctor := []string{"ha", "link", "doctor"}
	names := func(fault string, seen map[string][]string, harm, mend func()) {
		t.Helper()
		harm()
		for system, words := range seen {
			c.untilOut(30*time.Second, system, doctor, words...)
		}
		mend()
		for system, words := range seen {
			c.without(30*time.Second, system, doctor, words[0])
		}
		t.Logf("%s: named and mended", fault)
	}
	names("one-way loss", map[string][]string{
		"east": {"[one-way]", "link priv1: frames of west do not arrive here", "nft list ruleset"},
		"west": {"[one-way]", "link priv1: frames from here do not arrive at east"},
	}, func() {
		c.must("east", "sh", "-c", "nft add table netdev t && nft add chain netdev t c '{ type filter hook ingress device priv1 priority 0; policy drop; }'")
	}, func() { c.must("east", "nft", "delete", "table", "netdev", "t") })
	names("MTU", map[string][]string{"west": {"[mtu]", "link priv2 has MTU 1500 here and 1400 at east", "mtu 1400"}},
		func() { c.must("east", "ip", "link", "set", "priv2", "mtu", "1400") },
		func() { c.must("east", "ip", "link", "set", "priv2", "mtu", "1500") })
	names("interface down", map[string][]string{"east": {"[link-down]", "ip link set priv1 up"}},
		func() { c.must("east", "ip", "link", "set", "priv1", "down") },
		func() { c.must("east", "ip", "link", "set", "priv1", "up") })
	names("wrong VLAN", map[string][]string{"east": {"[silent-link]", "link priv1 is up, but neither"}}, func() {
		if err := c.CutLink(c.ctx, "1", "west"); err != nil {
			t.Fatal(err)
		}
	}, func() {
		if err := c.Heal(c.ctx); err != nil {
			t.Fatal(err)
		}
	})
	names("slot of another link", map[string][]string{"west": {"[cross-link]", "order of the lines link"}}, func() {
		c.must("east", "lltconfig", "-t", "extra", "-d", "pub0")
		c.must("east", "lltconfig", "-u", "priv1", "-o")
		c.must("east", "lltconfig", "-u", "extra", "-o")
		c.must("east", "sh", "-c", "lltconfig -t again -d priv1 -s 0xcafe")
	}, func() {
		c.must("east", "lltconfig", "-u", "again", "-o")
		c.must("east", "lltconfig", "-t", "priv1", "-d", "priv1")
		c.must("west", "lltstat", "-z") // what is past counts for two minutes
	})
	c.waitGroup("east", "web", "east", online, 5*time.Second)
}

// TestForeigners: systems that are refused are told apart: another cluster,
// another key, the key of before the last rotation. The rotation itself takes
// nobody out of the cluster.
func TestForeigners(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/links", false)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	doctor := []string{"ha", "link", "doctor"}
	c.must("west", "ha", "key", "rotate")
	c.waitSystem("east", "west", "RUNNING", 5*time.Second)
	c.must("west", "ha", "node", "stop")
	c.must("east", "ha", "key", "rotate") // west is down
	c.must("west", "sh", "-c", "ha node start >/dev/null 2>&1 & sleep 1")
	c.untilOut(30*time.Second, "east", doctor, "[old-key]", "west has the cluster key of before the last rotation", "cluster.key")
	c.must("west", "sh", "-c", "pkill -KILL -x 'had|hashadow|fencing|gab'; sleep 1; rm -f /etc/evenkeel/cluster.key.old; echo 11111111111111111111111111111111111111111111111111111111111111ff > /etc/evenkeel/cluster.key")
	c.must("west", "sh", "-c", "ha node start >/dev/null 2>&1 & sleep 1")
	c.untilOut(30*time.Second, "east", doctor, "[foreign-key]", "a key that this system does not have", "sha256sum")
	c.must("west", "sh", "-c", "pkill -KILL -x 'had|hashadow|fencing|gab'; sleep 1; sed -i 's/^set-cluster .*/set-cluster 999/' /etc/evenkeel/llttab; grep set-cluster /etc/evenkeel/llttab")
	c.must("west", "sh", "-c", "ha node start >/dev/null 2>&1 & sleep 1")
	c.untilOut(30*time.Second, "east", doctor, "[foreign-cluster]", "cluster 999")
	c.waitGroup("east", "web", "east", online, 5*time.Second)
}

// TestDiskHeartbeat: R16 on real daemons, without fencing. Both links are cut
// and the disk heartbeat goes on: nobody takes the group over, each shows the
// other as alive, and when the links are back all is as before.
func TestDiskHeartbeat(t *testing.T) {
	needsRoot(t)
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %s", out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { exec.Command("losetup", "--detach", device).Run() })
	c := start(t, "testdata/links", false)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	c.must("east", "gabdiskconf", "-i", device, "-s", "16")
	for _, s := range []string{"east", "west"} {
		c.must(s, "gabdiskhb", "-a", device, "-s", "16")
	}
	for _, s := range []string{"east", "west"} {
		c.untilOut(20*time.Second, s, []string{"ha", "link", "list"}, "disk1")
		c.without(20*time.Second, s, []string{"sh", "-c", "lltstat -nvv configured | grep disk1"}, "DOWN")
	}
	for _, k := range []string{"1", "2"} {
		if err := c.CutLink(c.ctx, k, "west"); err != nil {
			t.Fatal(err)
		}
	}
	c.untilOut(30*time.Second, "west", []string{"gabconfig", "-a"}, "Port a gen", "visible ;0")
	c.untilOut(30*time.Second, "west", []string{"ha", "link", "doctor"}, "[unreachable]", "east is alive, by its disk heartbeat")
	c.untilOut(30*time.Second, "east", []string{"ha", "link", "doctor"}, "[unreachable]", "west is alive, by its disk heartbeat")
	c.untilOut(30*time.Second, "west", []string{"hagrp", "-display", "web", "-attribute", "AutoDisabled"}, "east       1")
	c.waitGroup("west", "web", "west", "|OFFLINE|", 5*time.Second)
	c.waitGroup("east", "web", "east", online, 5*time.Second)
}
