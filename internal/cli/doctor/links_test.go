package doctor

import (
	"strings"
	"testing"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// wellLinked is a system of two, with two links and a disk region, as it should be.
func wellLinked() *LinkFacts {
	up := func(tag string) *gabv1.PeerLink {
		return &gabv1.PeerLink{Tag: tag, Status: "UP", SeenByPeer: "UP", PeerMtu: 1500, RoundTripUs: 100}
	}
	link := func(tag string) *gabv1.Link {
		return &gabv1.Link{Tag: tag, Device: tag, Kind: "ether", Up: true, Mtu: 1500}
	}
	return &LinkFacts{
		Peers: []*gabv1.Peer{
			{NodeId: 0, Name: "sysA", State: "OPEN", Self: true},
			{NodeId: 1, Name: "sysB", State: "OPEN", Links: []*gabv1.PeerLink{up("eth1"), up("eth2"), {Tag: "disk1", Status: "UP"}}},
		},
		Links:     []*gabv1.Link{link("eth1"), link("eth2"), {Tag: "disk1", Device: "/dev/sdc", Kind: "disk", Up: true, Sap: 16}},
		Transport: &gabv1.GetTransportResponse{ClusterId: 7}, Keys: &gabv1.GetKeysResponse{Encrypted: true, File: "/etc/evenkeel/cluster.key"},
	}
}

func trouble(cause, tag string, node uint32, detail string) *gabv1.Trouble {
	return &gabv1.Trouble{Cause: cause, Tag: tag, NodeId: &node, Count: 3, AgeMs: 500, Detail: detail}
}

// TestLinkFindings: each fault alone gives its own finding and no other, with
// the words that an administrator needs.
func TestLinkFindings(t *testing.T) {
	if found := ExamineLinks(wellLinked()); len(found) > 0 {
		t.Fatalf("findings about healthy links: %v", found)
	}
	for _, c := range []struct {
		name, check, what, command string
		harm                       func(f *LinkFacts)
	}{
		{"interface down", "link-down", "eth1", "ip link set eth1 up", func(f *LinkFacts) {
			f.Links[0].Up, f.Links[0].Reason = false, "interface eth1 is down; ip link set eth1 up"
		}},
		{"no region", "link-down", "disk1", "gabdiskconf -i /dev/sdc -s 16", func(f *LinkFacts) {
			f.Links[2].Up, f.Links[2].Reason = false, "there is no heartbeat region here; make one: gabdiskconf -i DEVICE"
		}},
		{"nothing arrives here", "one-way", "frames of sysB do not arrive here", "nft list ruleset", func(f *LinkFacts) { f.Peers[1].Links[0].Status = "DOWN" }},
		{"nothing arrives there", "one-way", "frames from here do not arrive at sysB", "on sysB", func(f *LinkFacts) { f.Peers[1].Links[0].SeenByPeer = "DOWN" }},
		{"wrong VLAN", "silent-link", "neither is anybody heard there", "ip -d link show eth1", func(f *LinkFacts) {
			f.Peers[1].Links[0].Status, f.Peers[1].Links[0].SeenByPeer = "DOWN", "DOWN"
		}},
		{"crossed", "cross-link", "link eth1 here is link 1 there of sysB", "order of the lines link", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("cross-link", "eth1", 1, "link 1 there"))
		}},
		{"another cluster beside", "foreign-cluster", "cluster 9", "VLANs of their own", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("foreign-cluster", "eth1", 3, "cluster 9"))
		}},
		{"another cluster instead", "foreign-cluster", "nobody of this cluster is heard", "set-cluster 7", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("foreign-cluster", "eth1", 1, "cluster 9"))
			f.Peers[1].Links[0].Status, f.Peers[1].Links[0].SeenByPeer = "DOWN", "DOWN"
		}},
		{"duplicate of this one", "duplicate-node", "another system has the node id of this one, 0", "set-node", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("duplicate-node", "eth1", 0, "from 00:01"))
		}},
		{"duplicate of another", "duplicate-node", "two systems have node id 1, sysB", "set-node", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("duplicate-peer", "eth1", 1, ""))
		}},
		{"foreign key", "foreign-key", "a key that this system does not have", "sha256sum", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, trouble("unknown-key", "eth1", 1, "key 0000beef"))
		}},
		{"old key", "old-key", "before the last rotation", "scp /etc/evenkeel/cluster.key sysB", func(f *LinkFacts) { f.Keys.OldKeyNodeIds = []uint32{1} }},
		{"MTU differs", "mtu", "MTU 1500 here and 9000 at sysB", "mtu 1500", func(f *LinkFacts) { f.Peers[1].Links[0].PeerMtu = 9000 }},
		{"MTU too small between", "mtu", "passes frames of 1400 bytes", "mtu 1400", func(f *LinkFacts) { f.Peers[1].Links[0].PathMtu = 1400 }},
		{"loss", "loss", "loses 2.5 %", "ethtool -S eth1", func(f *LinkFacts) { f.Peers[1].Links[0].LossPermille = 25 }},
		{"local stall", "local-stall", "no processor", "vmstat", func(f *LinkFacts) {
			f.Troubles = append(f.Troubles, &gabv1.Trouble{Cause: "timer-late", Count: 2, AgeMs: 1000, Detail: "this system stood still for 900 ms"})
		}},
		{"stalled peer", "slow-peer", "its gab makes no steps", "on sysB", func(f *LinkFacts) { f.Peers[1].Stalled = true }},
		{"slow peer", "slow-peer", "answers slowly over every link", "on sysB", func(f *LinkFacts) {
			f.Peers[1].Links[0].RoundTripUs, f.Peers[1].Links[1].RoundTripUs = 90_000, 80_000
		}},
		{"slow disk", "disk-region", "longer than a heartbeat", "iostat", func(f *LinkFacts) { f.Links[2].LateHeartbeats = 4 }},
		{"alive, not reached", "unreachable", "sysB is alive", "ha fencing vouch sysB", func(f *LinkFacts) {
			f.Peers[1].State, f.Peers[1].AliveUnreachable = "DOWN", true
		}},
		{"jeopardy", "link-jeopardy", "one link only", "lltconfig -t", func(f *LinkFacts) { f.Peers[1].Jeopardy = true }},
	} {
		f := wellLinked()
		c.harm(f)
		found := ExamineLinks(f)
		if len(found) != 1 || found[0].Check != c.check || !strings.Contains(found[0].What, c.what) || !strings.Contains(found[0].Command, c.command) || found[0].Why == "" {
			t.Errorf("%s: %+v, want one finding of %s that says %q and %q", c.name, found, c.check, c.what, c.command)
		}
	}
}

// TestOldTroubles: what happened long ago is no finding.
func TestOldTroubles(t *testing.T) {
	f := wellLinked()
	for _, cause := range []string{"foreign-cluster", "unknown-key", "cross-link", "duplicate-node", "timer-late"} {
		tr := trouble(cause, "eth1", 1, "")
		tr.AgeMs = 2 * recent
		f.Troubles = append(f.Troubles, tr)
	}
	if found := ExamineLinks(f); len(found) > 0 {
		t.Errorf("findings about the past: %v", found)
	}
}
