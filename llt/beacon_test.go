package llt

import (
	"bytes"
	"testing"
	"time"
)

// TestReplayedBeacons: R20. Beacons that lie on a disk from earlier, of the
// boot that was there last or of one before, prove no life: neither to who knew
// that boot nor to who has just started, however often they are read.
func TestReplayedBeacons_R20(t *testing.T) {
	w := newNetwork(t, 8)
	w.record = true
	disk := func(id, start int) *node {
		cfg := w.config(id, start, 2, 0, testKey)
		cfg.Links = append(cfg.Links, LinkConfig{Tag: "disk", HeartbeatOnly: true, NoBroadcast: true, MTU: 4000})
		return w.start(cfg)
	}
	const link = 2
	a, b := disk(0, 0), disk(1, 0)
	w.run(3 * time.Second)
	if !w.allOpen() || a.core.Peers(w.now)[0].Links[link].State != LinkStateUp {
		t.Fatalf("not seen over the disk to begin with:\n%s", w.log())
	}
	var old []flight
	for _, fl := range w.recorded {
		if fl.from == 1 && fl.to == 0 && fl.link == link {
			old = append(old, fl)
		}
	}
	if len(old) < 10 {
		t.Fatalf("%d beacons were recorded", len(old))
	}
	w.record = false
	replay := func(to *node) {
		for _, fl := range old {
			w.step(to, &FrameIn{Link: link, Data: bytes.Clone(fl.data)})
			w.run(20 * time.Millisecond)
		}
	}
	dead := func(who string, n *node) {
		t.Helper()
		p := n.core.Peers(w.now)[0]
		if p.Unreachable || p.Links[link].State != LinkStateDown || n.conns[1] != 0 {
			t.Fatalf("%s: beacons of an earlier boot count as life: %+v", who, p)
		}
	}
	refused := func(n *node, causes ...string) {
		t.Helper()
		for _, x := range n.core.Troubles(w.now) {
			for _, cause := range causes {
				if x.Cause == cause && x.Link == link && x.Count > 0 {
					return
				}
			}
		}
		t.Fatalf("nothing was refused as one of %q: %+v", causes, n.core.Troubles(w.now))
	}

	b.dead = true
	w.run(2 * time.Second)
	replay(a)
	dead("who knew that boot", a)
	refused(a, "replayed")

	a.dead = true
	a = disk(0, 1)
	w.run(300 * time.Millisecond)
	replay(a)
	dead("who starts anew", a)
	if p := a.core.peers[1]; p.known {
		t.Fatal("a boot id is proven by what it said to another boot of this system")
	}

	// The peer starts anew too, is seen, and dies: its two boots are over.
	b = disk(1, 1)
	w.run(3 * time.Second)
	if !w.allOpen() {
		t.Fatalf("no connection after the restart:\n%s", w.log())
	}
	w.log()
	replay(a) // of the boot before, while the new one lives
	mustNotLog(t, w, "peer-down", "duplicate")
	b.dead = true
	w.run(2 * time.Second)
	replay(a)
	dead("after another boot", a)
}
