package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestLinkDoctorUnderLoad injects the faults that show in traffic or in daemons
// and wants ha link doctor to name each with what mends it, and to be silent
// when it is mended.
func TestLinkDoctorUnderLoad(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/links", false)
	c.waitGroup("east", "web", "east", online, 20*time.Second)
	c.must("west", "sh", "-c", "lab-gabload -listen >/dev/null 2>&1 & echo $! >/tmp/listener.pid")
	load := func() { c.must("east", "lab-gabload", "-for", "200ms", "-pings", "1", "-size", "4000") }
	both := func(command string) {
		c.must("east", "sh", "-c", command)
		c.must("west", "sh", "-c", command)
	}
	began := time.Now()
	// meanwhile calls do again and again until the doctor of a system names the
	// fault, or, with no words, does not any longer.
	meanwhile := func(system, id string, do func(), words ...string) {
		t.Helper()
		if err := Until(c.within(40*time.Second), "ha link doctor on "+system+" about "+id, func(ctx context.Context) (bool, string) {
			do()
			r, err := c.Exec(ctx, system, "ha", "link", "doctor")
			if err != nil {
				return false, err.Error()
			}
			if len(words) == 0 {
				return !strings.Contains(r.Out, "["+id+"]"), r.Out
			}
			for _, word := range append(words, "["+id+"]") {
				if !strings.Contains(r.Out, word) {
					return false, r.Out
				}
			}
			return true, ""
		}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %s %s", time.Since(began).Round(100*time.Millisecond), system, map[bool]string{true: "silent about ", false: "names "}[len(words) == 0]+id)
	}
	nothing := func() {}

	// A second gab with the node id of west, on the same two links.
	c.must("west", "sh", "-c", "mkdir -p /tmp/second/etc /tmp/second/var/log/evenkeel && cp -r /etc/evenkeel /tmp/second/etc/ && (EVENKEEL_ROOT=/tmp/second gab -log - >/tmp/second/log 2>&1 & echo $! >/tmp/second/pid)")
	meanwhile("east", "duplicate-node", nothing, "two systems have node id 1, west", "correct set-node")
	c.must("west", "sh", "-c", "kill -KILL $(cat /tmp/second/pid); rm -r /tmp/second")
	c.must("east", "lltstat", "-z") // what is past counts for two minutes
	meanwhile("east", "duplicate-node", nothing)
	c.waitSystem("east", "west", "RUNNING", 5*time.Second)

	// gab of west gets no processor for longer than a heartbeat and shorter than
	// the lease; should the machine make it longer, west begins anew and again.
	meanwhile("west", "local-stall", func() {
		c.must("west", "sh", "-c", "p=$(pidof gab) && kill -STOP $p; sleep 0.2; kill -CONT $p; sleep 0.3")
	}, "gab got no processor here", "virtual machines need reserved processors")
	c.must("west", "lltstat", "-z")
	meanwhile("west", "local-stall", nothing)

	filter := "nft add table netdev t && nft add chain netdev t c '{ type filter hook ingress device %s priority 0; policy accept; }' && nft add rule netdev t c ether type 0xcafe "
	harm := func(device, rule string) {
		c.must("west", "sh", "-c", strings.Replace(filter, "%s", device, 1)+rule)
	}
	mend := func() { c.must("west", "nft", "delete", "table", "netdev", "t") }

	c.must("east", "lltstat", "-z")
	harm("priv1", "numgen random mod 100 '<' 15 drop")
	meanwhile("east", "loss", load, "link priv1 loses", "of the data frames to west", "ethtool -S priv1")
	mend()
	meanwhile("east", "loss", load)

	both("lltstat -z")
	// What is sent to west waits for it, over each link.
	for _, device := range []string{"priv1", "priv2"} {
		c.must("east", "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "20mbit", "burst", "5kb", "latency", "400ms")
	}
	meanwhile("east", "slow-peer", load, "west answers slowly over every link", "on west: top; vmstat 1")
	for _, device := range []string{"priv1", "priv2"} {
		c.must("east", "tc", "qdisc", "del", "dev", device, "root")
	}
	meanwhile("east", "slow-peer", load)

	// Between two interfaces of one MTU something passes less.
	harm("priv2", "meta length '>' 1000 drop")
	meanwhile("east", "mtu", load, "link priv2 passes frames of 576 bytes to west, not of 1500", "ip link set priv2 mtu 576")
	both("ip link set priv2 mtu 576") // as it says
	meanwhile("east", "mtu", load)
	mend()
	c.must("west", "sh", "-c", "kill $(cat /tmp/listener.pid)")
	c.waitGroup("east", "web", "east", online, 5*time.Second)
	if log := c.must("east", "cat", "/var/log/evenkeel/gab_A.log"); strings.Contains(log, "acknowledges") {
		t.Errorf("a fault of a link cost a member:\n%s", log)
	}
}
