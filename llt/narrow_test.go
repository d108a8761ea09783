package llt

import (
	"strings"
	"testing"
	"time"
)

// TestLinkThatLosesAll: a link over which the peer is heard, but which loses
// each frame of data, or each large one, costs a moment and no more: the other
// link carries on at full rate. When it is mended it carries its share again.
func TestLinkThatLosesAll(t *testing.T) {
	for name, harm := range map[string]func(w *network){
		"narrow path": func(w *network) { w.pass = func(l LinkID, size int) bool { return l != 1 || size <= 1000 } },
		"one way":     func(w *network) { w.cut[[3]int{0, 1, 1}] = true },
	} {
		t.Run(name, func(t *testing.T) {
			w := newNetwork(t, 5)
			w.quiet = true
			for i := range 2 {
				w.start(w.config(i, 0, 2, 0, testKey))
			}
			w.run(time.Second)
			n := w.find(0)
			text := strings.Repeat("z", 8000)
			// load offers a message each millisecond and wants them delivered, the
			// longest gap being short.
			load := func(d time.Duration) {
				t.Helper()
				before, last, at, gap := len(w.find(1).got[0].msgs), 0, w.now, time.Duration(0)
				for end := w.now.Add(d); w.now < end; {
					if !n.blockd[1] {
						w.send(0, 1, text)
					}
					w.run(time.Millisecond)
					if g := len(w.find(1).got[0].msgs); g != last {
						gap = max(gap, w.now.Sub(at))
						last, at = g, w.now
					}
				}
				if got := last - before; got < int(d/time.Millisecond)*9/10 || gap > 100*time.Millisecond {
					t.Errorf("%d messages in %s, longest gap %s", got, d, gap)
				}
			}
			load(300 * time.Millisecond)
			harm(w)
			load(1500 * time.Millisecond)
			w.pass = nil
			clear(w.cut)
			load(1200 * time.Millisecond)
			before := n.core.Peers(w.now)[0]
			load(300 * time.Millisecond)
			after := n.core.Peers(w.now)[0]
			var frames [2]uint64
			for i := range frames {
				frames[i] = after.Links[i].TxFrames - before.Links[i].TxFrames
			}
			if frames[1] < frames[0]*8/10 {
				t.Errorf("the mended link carries %d frames, the other one %d", frames[1], frames[0])
			}
			if log := w.log(); strings.Contains(log, "peer-down") {
				t.Error("the peer was lost")
			}
		})
	}
}

// TestSlowerThanTheTimer: a peer whose every answer comes later than a frame is
// sent again is known as slow, and its links do not pass for narrow.
func TestSlowerThanTheTimer(t *testing.T) {
	w := newNetwork(t, 6)
	w.quiet = true
	for i := range 2 {
		w.start(w.config(i, 0, 2, 0, testKey))
	}
	w.run(time.Second)
	w.delay = 90 * time.Millisecond
	for range 300 {
		if !w.find(0).blockd[1] {
			w.send(0, 1, strings.Repeat("s", 8000))
		}
		w.run(10 * time.Millisecond)
	}
	for i, l := range w.find(0).core.Peers(w.now)[0].Links {
		if l.RTT < 50*time.Millisecond {
			t.Errorf("round trip of link %d: %s; it takes 180 ms", i, l.RTT)
		}
		if l.PathMTU != 0 {
			t.Errorf("link %d passes for narrow: %d bytes", i, l.PathMTU)
		}
	}
	mustNotLog(t, w, "peer-down")
}
