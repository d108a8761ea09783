package llt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/llt/frame"
	"pgregory.net/rapid"
)

var testKey = Key(bytes.Repeat([]byte{0x6b}, 32))

func pair(t testing.TB, high, low int, key Key) (*network, *node, *node) {
	w := newNetwork(t, 1)
	a, b := w.start(w.config(0, 0, high, low, key)), w.start(w.config(1, 0, high, low, key))
	w.run(300 * time.Millisecond)
	if !w.allOpen() {
		t.Fatalf("no connection after 300 ms:\n%s", w.log())
	}
	w.log()
	return w, a, b
}

func mustLog(t *testing.T, w *network, want string) {
	t.Helper()
	if log := w.log(); !strings.Contains(log, want) {
		t.Fatalf("nothing says %q:\n%s", want, log)
	}
}

func mustNotLog(t *testing.T, w *network, words ...string) {
	t.Helper()
	log := w.log()
	for _, word := range words {
		if strings.Contains(log, word) {
			t.Fatalf("%q came:\n%s", word, log)
		}
	}
}

// TestExactlyOnceInOrder is the contract of a connection under any loss,
// reordering, duplication and cut of links: FIFO, exactly once, or the
// connection ends on both sides; when the faults stop, all is delivered.
func TestExactlyOnceInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newNetwork(t, rapid.Uint64().Draw(rt, "seed"))
		high, low := rapid.IntRange(1, 4).Draw(rt, "high"), rapid.IntRange(0, 4).Draw(rt, "low")
		var key Key
		if rapid.Bool().Draw(rt, "sealed") {
			key = testKey
		}
		nodes := rapid.IntRange(2, 3).Draw(rt, "nodes")
		for i := range nodes {
			w.start(w.config(i, 0, high, low, key))
		}
		w.run(400 * time.Millisecond)
		w.loss, w.dup = rapid.IntRange(0, 30).Draw(rt, "loss"), rapid.IntRange(0, 20).Draw(rt, "dup")
		w.jitter = time.Duration(rapid.IntRange(0, 20).Draw(rt, "jitter")) * time.Millisecond
		serial := 0
		for range rapid.IntRange(1, 25).Draw(rt, "rounds") {
			a, b := w.rand(nodes), w.rand(nodes)
			switch k := w.rand(10); {
			case k < 6 && a != b:
				for range 1 + w.rand(30) {
					serial++
					w.send(a, b, fmt.Sprintf("%d.%d.%d.%s", a, b, serial, strings.Repeat("x", w.rand(5)*w.rand(2000))))
				}
			case k == 6 && a != b:
				w.setCut(a, b, w.rand(high+low), true)
			case k == 7:
				clear(w.cut)
			case k == 8 && a != b && w.rand(4) == 0:
				w.step(w.find(a), Reset{Node: NodeID(b), Reason: "test"})
			case k == 9: // beats of a core that goes on harm nothing
				w.lend(w.find(a))
				w.beat(w.find(a), 0)
				w.beat(w.find(a), 200*time.Millisecond)
			}
			w.run(time.Duration(w.rand(300)) * time.Millisecond)
		}
		w.loss, w.dup, w.jitter = 0, 0, 0
		clear(w.cut)
		w.run(3 * time.Second)
		if !w.allOpen() {
			rt.Fatalf("the faults stopped and not all are connected:\n%s", w.log())
		}
		for _, n := range w.nodes {
			for to := range n.sent {
				for _, m := range n.sent[to] {
					if !n.done[m.id] {
						rt.Fatalf("n%d: send %d to %d has no answer", n.id, m.id, to)
					}
				}
			}
		}
		checkDelivered(rt, w)
	})
}

// checkDelivered: a message whose send was answered with success is there.
func checkDelivered(rt *rapid.T, w *network) {
	for _, n := range w.nodes {
		for _, m := range w.nodes {
			if n != m {
				w.send(n.id, m.id, fmt.Sprintf("last %d %d", n.id, m.id))
			}
		}
	}
	w.run(time.Second)
	for _, n := range w.nodes {
		for _, m := range w.nodes {
			if n == m {
				continue
			}
			g := n.got[NodeID(m.id)]
			if len(g.msgs) == 0 || g.msgs[len(g.msgs)-1] != fmt.Sprintf("last %d %d", m.id, n.id) {
				rt.Fatalf("n%d did not get the last message of n%d", n.id, m.id)
			}
		}
	}
}

// TestOneLinkCut: nothing happens to the connection, messages go on, and the
// peer is in jeopardy until the link is back.
func TestOneLinkCut(t *testing.T) {
	w, _, b := pair(t, 2, 0, testKey)
	w.setCut(0, 1, 0, true)
	for i := range 200 {
		w.send(0, 1, fmt.Sprintf("m%d", i))
		w.run(5 * time.Millisecond)
	}
	w.run(time.Second)
	if got := len(b.got[0].msgs); got != 200 {
		t.Fatalf("%d of 200 messages arrived", got)
	}
	log := w.log()
	if strings.Contains(log, "peer-down") || !strings.Contains(log, "link-trouble") || !strings.Contains(log, "link-expired") || !strings.Contains(log, "up=1 jeopardy=true") {
		t.Fatalf("want trouble, expiry and jeopardy of one link and no peer down:\n%s", log)
	}
	w.setCut(0, 1, 0, false)
	w.run(500 * time.Millisecond)
	mustLog(t, w, "up=2 jeopardy=false")
}

// TestCrashIsNoJeopardy: links lost within one window count as lost together;
// a link lost well before the other is jeopardy.
func TestCrashIsNoJeopardy(t *testing.T) {
	w, _, b := pair(t, 2, 1, testKey)
	b.dead = true
	w.run(time.Second)
	mustLog(t, w, "reason=silent jeopardy=false")

	w, _, b = pair(t, 2, 0, testKey)
	w.setCut(0, 1, 1, true)
	w.run(2 * time.Second)
	b.dead = true
	w.run(time.Second)
	mustLog(t, w, "reason=silent jeopardy=true")
}

func TestDetectionTime(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	b.dead = true
	from := w.now
	for a.conns[1] != 0 && w.now.Sub(from) < 5*time.Second {
		w.run(10 * time.Millisecond)
	}
	if d := w.now.Sub(from); d < 500*time.Millisecond || d > 620*time.Millisecond {
		t.Fatalf("a crash was seen after %s; default peerinact is 600 ms after the last frame", d)
	}
}

// TestOnlyLowPriorityLeft: data moves to the low link and back at once.
func TestOnlyLowPriorityLeft(t *testing.T) {
	w, a, b := pair(t, 1, 1, testKey)
	low := func() uint64 { return a.core.Links()[1].TxBytes }
	send := func() uint64 {
		before := low()
		w.send(0, 1, strings.Repeat("x", 20000))
		w.run(20 * time.Millisecond)
		return low() - before
	}
	if n := send(); n > 4000 {
		t.Fatalf("%d bytes went over the low-priority link while a high one is up", n)
	}
	w.setCut(0, 1, 0, true)
	w.run(700 * time.Millisecond)
	if n := send(); n < 20000 || len(b.got[0].msgs) != 2 {
		t.Fatalf("%d bytes went over the only link left, %d messages arrived", n, len(b.got[0].msgs))
	}
	w.setCut(0, 1, 0, false)
	w.run(200 * time.Millisecond)
	if n := send(); n > 4000 || len(b.got[0].msgs) != 3 {
		t.Fatalf("%d bytes still went over the low-priority link", n)
	}
}

func TestHighLinksShareEvenly(t *testing.T) {
	for _, high := range []int{2, 3, 4, 8} {
		for _, size := range []int{100, 50000} {
			w, a, _ := pair(t, high, 0, testKey)
			for range 400 {
				w.send(0, 1, strings.Repeat("x", size))
				w.run(10 * time.Millisecond)
			}
			least, most := uint64(1)<<62, uint64(0)
			for _, l := range a.core.Links() {
				least, most = min(least, l.TxBytes), max(most, l.TxBytes)
			}
			if least*10 < most*8 {
				t.Errorf("%d links, messages of %d bytes: one sent %d bytes, another one %d", high, size, least, most)
			}
		}
	}
}

func TestLargestMessage(t *testing.T) {
	w, _, b := pair(t, 2, 0, testKey)
	w.quiet = true
	w.loss = 2
	msg := strings.Repeat("0123456789abcdef", MaxMessage/16)
	id := w.send(0, 1, msg)
	w.send(0, 1, "")
	w.send(0, 1, "after")
	w.run(20 * time.Second)
	g := b.got[0].msgs
	if len(g) != 3 || g[0] != msg || g[1] != "" || g[2] != "after" || !w.find(0).done[id] {
		t.Fatalf("%d messages arrived", len(g))
	}
	w.step(w.find(0), &Send{ID: 999, To: 1, Msg: make([]byte, MaxMessage+1)})
	mustLog(t, w, "send-done id=999 to=1 failed=true")
}

// TestBackpressure: a sender is asked to stop, then to go on; one that ignores
// it loses the connection, not the memory.
func TestBackpressure(t *testing.T) {
	w, a, b := pair(t, 2, 0, nil)
	w.setCut(0, 1, 0, true)
	w.setCut(0, 1, 1, true)
	sends := 0
	for !a.blockd[1] {
		w.send(0, 1, strings.Repeat("x", 10000)+fmt.Sprint(sends))
		sends++
	}
	w.run(200 * time.Millisecond)
	w.setCut(0, 1, 0, false)
	w.run(2 * time.Second)
	if a.blockd[1] || len(b.got[0].msgs) != sends {
		t.Fatalf("blocked=%t, %d of %d messages arrived", a.blockd[1], len(b.got[0].msgs), sends)
	}
	w.setCut(0, 1, 0, true)
	for i := 0; a.conns[1] != 0 && i < 1<<17; i++ {
		w.send(0, 1, strings.Repeat("y", 1000)+fmt.Sprint(i))
	}
	mustLog(t, w, "reason=overflow")
}

// TestReplayedFrames: R20. Frames of an earlier start, frames of this start
// and handshakes count for nothing when they come again.
func TestReplayedFrames(t *testing.T) {
	w := newNetwork(t, 3)
	w.record = true
	a := w.start(w.config(0, 0, 2, 0, testKey))
	b := w.start(w.config(1, 0, 2, 0, testKey))
	w.run(time.Second)
	for i := range 20 {
		w.send(1, 0, fmt.Sprint("secret", i))
	}
	w.run(time.Second)
	old := w.recorded
	w.record = false
	b.dead = true
	w.run(time.Second)
	w.log()
	replay := func(to *node) {
		for _, fl := range old {
			if fl.from == 1 && fl.to == 0 {
				w.step(to, &FrameIn{Link: fl.link, Src: []byte{1}, Data: fl.data})
				w.run(time.Millisecond)
			}
		}
	}
	replay(a)
	if a.conns[1] != 0 || counter(a.core, "Rcv replayed") == 0 {
		t.Fatal("the dead peer is up again, by its old frames")
	}
	log := w.log()
	if strings.Count(log, "note replayed") > 2 || strings.Contains(log, "link-active") {
		t.Fatalf("replayed frames must be noted once per link and prove nothing:\n%s", log)
	}
	// A fresh start of the receiver knows no counters: the challenge decides.
	a.dead = true
	a2 := w.start(w.config(0, 1, 2, 0, testKey))
	replay(a2)
	for _, p := range a2.core.Peers(w.now) {
		for _, l := range p.Links {
			if l.State != LinkStateDown || l.Age >= 0 {
				t.Fatal("a heartbeat of an unproven boot id counted as life")
			}
		}
	}
	// The real peer, started again, comes up; its old boot never does.
	w.start(w.config(1, 1, 2, 0, testKey))
	w.run(time.Second)
	if !w.allOpen() {
		t.Fatalf("no connection after the restart:\n%s", w.log())
	}
	w.log()
	replay(a2)
	mustNotLog(t, w, "peer-down", "deliver")
}

// TestHostileFrames: truncated, foreign, wrong key, clear, random, from the
// own id: counted, noted once per cause, nothing else.
func TestHostileFrames(t *testing.T) {
	w, a, _ := pair(t, 2, 0, testKey)
	evil := newNetwork(t, 9)
	evil.record = true
	foreign := evil.config(1, 3, 2, 0, testKey)
	foreign.Cluster = 8
	evil.start(foreign)
	evil.start(evil.config(2, 3, 2, 0, Key(bytes.Repeat([]byte{1}, 32))))
	evil.start(evil.config(3, 3, 2, 0, nil))
	evil.run(time.Second)
	for _, fl := range evil.recorded {
		for _, cut := range []int{len(fl.data), len(fl.data) - 1, 30, 3, 0} {
			w.step(a, &FrameIn{Link: fl.link, Src: []byte{byte(fl.from)}, Data: fl.data[:cut]})
		}
		w.step(a, &FrameIn{Link: 1 - fl.link, Src: []byte{9}, Data: fl.data})
	}
	junk := make([]byte, 300)
	for range 2000 {
		for i := range junk {
			junk[i] = byte(w.rand(256))
		}
		if w.rand(2) == 0 {
			copy(junk, []byte{'E', 'K', frame.Version, byte(w.rand(7)), 0, 7, byte(w.rand(64)), 0, byte(w.rand(3)), 0, 0, 0})
		}
		w.step(a, &FrameIn{Link: LinkID(w.rand(3)), Src: junk[:1], Data: junk[:w.rand(300)]})
	}
	log := w.log()
	for _, want := range []string{"note foreign-cluster link=0(l0) cluster=8", "note frame-refused", "unknown key", "not sealed", "cross-link"} {
		if !strings.Contains(log, want) {
			t.Errorf("nothing says %q:\n%s", want, log)
		}
	}
	if n := strings.Count(log, "note foreign-cluster link=0(l0) cluster=8"); n != 1 {
		t.Errorf("the foreign cluster was noted %d times", n)
	}
	for _, name := range []string{"Rcv foreign cluster", "Rcv not authentic", "Rcv malformed packet", "Rcv cross link"} {
		if counter(a.core, name) == 0 {
			t.Errorf("counter %q is 0", name)
		}
	}
	w.run(time.Second)
	if !w.allOpen() {
		t.Fatal("the connection was lost")
	}
	mustNotLog(t, w, "peer-down", "peer-up")
}

// TestDuplicateNode: a second system of one node id is noticed by itself and
// by the others, and the first one stays connected.
func TestDuplicateNode(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	second, err := New(w.config(1, 5, 2, 0, testKey))
	if err != nil {
		t.Fatal(err)
	}
	twin := &node{id: 1, core: second, got: map[NodeID]*connLog{}, conns: map[NodeID]uint64{}, done: map[uint64]bool{}, blockd: map[NodeID]bool{}}
	deliver := func(from *node, to *node, effects []Effect) (fly []*FrameOut) {
		for _, e := range effects {
			if f, ok := e.(*FrameOut); ok {
				fly = append(fly, f)
				continue
			}
			from.log = append(from.log, e.String())
		}
		return fly
	}
	var fromTwin []*FrameOut
	fromTwin = append(fromTwin, deliver(twin, nil, second.Step(w.now, LinkUp{Link: 0}, nil))...)
	for range 30 {
		w.run(20 * time.Millisecond)
		fromTwin = append(fromTwin, deliver(twin, nil, second.Step(w.now, Wake{}, nil))...)
		for len(fromTwin) > 0 {
			f := fromTwin[0]
			fromTwin = fromTwin[1:]
			for _, n := range []*node{a, b} {
				for _, back := range deliver(n, twin, n.core.Step(w.now, &FrameIn{Link: 0, Src: []byte{77}, Data: bytes.Clone(f.Data)}, nil)) {
					if back.Dst == nil || back.Dst[0] == 77 {
						fromTwin = append(fromTwin, deliver(twin, n, second.Step(w.now, &FrameIn{Link: 0, Src: []byte{byte(n.id)}, Data: bytes.Clone(back.Data)}, nil))...)
					}
				}
			}
		}
	}
	if !strings.Contains(strings.Join(twin.log, "\n"), "duplicate-node link=0") {
		t.Errorf("the second system does not know that it is one:\n%s", strings.Join(twin.log, "\n"))
	}
	log := strings.Join(a.log, "\n")
	if strings.Count(log, "note duplicate-peer") != 1 || strings.Contains(log, "peer-down") {
		t.Errorf("the others must note the second system once and keep the first:\n%s", log)
	}
}

// TestPauseIsNotTheirSilence: a core that stood still does not expire its
// peers before a fresh wait; the peers expire it, and both see the
// connection end before the next.
func TestPauseIsNotTheirSilence(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	a.paused = true
	w.run(400 * time.Millisecond)
	a.paused = false
	w.run(300 * time.Millisecond)
	mustNotLog(t, w, "peer-down")
	a.paused = true
	w.run(5 * time.Second)
	if b.conns[0] != 0 {
		t.Fatal("a system paused for 5 s is still up")
	}
	a.paused = false
	w.run(500 * time.Millisecond)
	log := w.log()
	if !strings.Contains(log, "n0 peer-down node=1 incarnation=100 conn=1 reason=peer") || !w.allOpen() {
		t.Fatalf("want peer-down by the peer's word, then a new connection:\n%s", log)
	}
}

// TestStalledCore: R19. Heartbeats whose gab core stands still are no life.
func TestStalledCore(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	stall := func(d time.Duration) {
		b.stuck = true
		w.run(d)
		b.stuck = false
	}
	stall(450 * time.Millisecond)
	mustLog(t, w, "peer-stalled node=1 stalled=true")
	if a.conns[1] == 0 {
		t.Fatal("a short stall must not end the connection")
	}
	stall(400 * time.Millisecond)
	mustLog(t, w, "reason=stalled")
	w.run(time.Second)
	if !w.allOpen() {
		t.Fatalf("no connection after the core went on:\n%s", w.log())
	}
}

func TestFarewell(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	w.step(b, Stop{})
	w.run(10 * time.Millisecond)
	if a.conns[1] != 0 {
		t.Fatal("the farewell was not heard")
	}
	w.run(time.Second)
	mustLog(t, w, "n0 peer-down node=1 incarnation=100 conn=1 reason=closed")
	b.dead = true
	w.start(w.config(1, 1, 2, 0, testKey))
	w.run(time.Second)
	if !w.allOpen() {
		t.Fatal("the next start of the system did not connect")
	}
}

func TestLocalLinkDown(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	w.step(a, LinkDown{Link: 1})
	for i := range 50 {
		w.send(0, 1, fmt.Sprint(i))
		w.send(1, 0, fmt.Sprint(i))
	}
	w.run(time.Second)
	if len(b.got[0].msgs) != 50 || len(a.got[1].msgs) != 50 {
		t.Fatal("messages were lost with one link")
	}
	mustNotLog(t, w, "peer-down")
	w.step(a, LinkUp{Link: 1})
	w.run(300 * time.Millisecond)
	mustLog(t, w, "up=2 jeopardy=false")
}

// TestKeyRotation: install everywhere, switch, drop, in any order among the
// systems, and nothing is lost (R20).
func TestKeyRotation(t *testing.T) {
	w, a, b := pair(t, 2, 0, testKey)
	next := Key(bytes.Repeat([]byte{9}, 32))
	for _, ev := range []Event{InstallKey{Key: next}, UseKey{ID: next.ID()}, DropKey{ID: testKey.ID()}} {
		for _, n := range []*node{b, a} {
			w.step(n, ev)
			w.send(0, 1, fmt.Sprint(ev, n.id))
			w.run(200 * time.Millisecond)
		}
	}
	mustNotLog(t, w, "peer-down", "frame-refused")
	if len(b.got[0].msgs) != 6 {
		t.Fatalf("%d of 6 messages arrived", len(b.got[0].msgs))
	}
	w.step(a, DropKey{ID: next.ID()})
	mustLog(t, w, "cause=in-use")
}

// TestDeterminism: equal state and equal input give equal effects and hashes.
func TestDeterminism(t *testing.T) {
	play := func() (string, uint64) {
		w := newNetwork(t, 42)
		a := w.start(w.config(0, 0, 2, 1, testKey))
		w.start(w.config(1, 0, 2, 1, testKey))
		w.run(time.Second)
		w.loss, w.dup, w.jitter = 10, 5, 3*time.Millisecond
		for i := range 100 {
			w.send(i%2, 1-i%2, strings.Repeat(fmt.Sprint(i), i))
			w.run(5 * time.Millisecond)
		}
		return w.log(), a.core.Hash()
	}
	log1, h1 := play()
	log2, h2 := play()
	if log1 != log2 || h1 != h2 {
		t.Fatalf("two runs of one seed differ: hash %x and %x", h1, h2)
	}
}

func TestSetTimer(t *testing.T) {
	w, a, _ := pair(t, 2, 0, nil)
	w.step(a, SetTimer{Name: "peerinact", Value: 100 * time.Millisecond})
	mustLog(t, w, "timer-refused name=peerinact")
	w.step(a, SetTimer{Name: "nonsense", Value: time.Second})
	mustLog(t, w, "cause=unknown")
	w.step(a, SetTimer{Name: "peerinact", Value: 2 * time.Second})
	if got := a.core.Timers().PeerInact; got != 2*time.Second {
		t.Fatalf("peerinact is %s", got)
	}
}

func TestBadConfig(t *testing.T) {
	w := newNetwork(t, 1)
	for name, change := range map[string]func(*Config){
		"node id":   func(c *Config) { c.Node = 64 },
		"links":     func(c *Config) { c.Links = nil },
		"MTU":       func(c *Config) { c.Links[0].MTU = 100 },
		"peerinact": func(c *Config) { c.Timers, _ = Profile("default"); c.Timers.PeerInact = c.Timers.PeerTrouble },
		"key":       func(c *Config) { c.Key = Key("short") },
	} {
		cfg := w.config(0, 0, 2, 0, nil)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// FuzzFrameIn: whatever arrives, the core goes on.
func FuzzFrameIn(f *testing.F) {
	w := newNetwork(f, 5)
	w.record = true
	w.start(w.config(0, 0, 2, 0, nil))
	w.start(w.config(1, 0, 2, 0, nil))
	w.run(400 * time.Millisecond)
	w.send(0, 1, "hello")
	w.run(100 * time.Millisecond)
	for i, fl := range w.recorded {
		if i%7 == 0 {
			f.Add(fl.data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := newNetwork(t, 6)
		a := n.start(n.config(0, 0, 2, 0, nil))
		n.start(n.config(1, 0, 2, 0, nil))
		n.run(300 * time.Millisecond)
		n.quiet = true
		n.step(a, &FrameIn{Link: 0, Src: []byte{1}, Data: data})
		n.run(100 * time.Millisecond)
	})
}

func BenchmarkMessages(b *testing.B) {
	w, _, _ := pair(b, 2, 0, testKey)
	w.quiet = true
	msg := []byte(strings.Repeat("x", 64))
	a := w.find(0)
	for i := 0; b.Loop(); i++ {
		w.step(a, &Send{ID: uint64(i + 10), To: 1, Msg: msg})
		if i%64 == 0 {
			w.run(time.Millisecond)
			a.log = nil
		}
	}
}
