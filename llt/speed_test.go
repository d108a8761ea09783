package llt

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// wire joins two cores and carries each frame at once, allocating nothing: it
// shows what the cores themselves cost.
type wire struct {
	now      vclock.Time
	cores    [2]*Core
	queue    [2][]*FrameOut // to each core
	out      []Effect
	in       FrameIn
	src      [2][]byte
	got      int
	done     int
	sendID   uint64
	buffer   []byte
	exchange Send
}

func newWire(t testing.TB, key Key, mtu int) *wire {
	w := &wire{src: [2][]byte{{0}, {1}}, buffer: make([]byte, mtu+200)}
	for i := range w.cores {
		cfg := Config{Cluster: 7, Node: NodeID(i), Incarnation: uint64(i + 1), Key: key, Links: []LinkConfig{{Tag: "a", MTU: mtu}, {Tag: "b", MTU: mtu}}}
		cfg.BootID, cfg.Seed = [32]byte{byte(i + 1)}, [32]byte{byte(i + 1), 1}
		core, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.cores[i] = core
	}
	for i := range w.cores {
		w.step(i, LinkUp{Link: 0})
		w.step(i, LinkUp{Link: 1})
	}
	for range 100 {
		w.turn()
	}
	for i, c := range w.cores {
		if c.peers[1-i] == nil || !c.peers[1-i].open {
			t.Fatal("the cores did not connect")
		}
	}
	return w
}

// turn lets 10 ms pass and everything arrive.
func (w *wire) turn() {
	w.now = w.now.Add(10 * time.Millisecond)
	for i := range w.cores {
		w.step(i, CoreAlive{})
	}
	w.settle()
}

func (w *wire) step(i int, ev Event) {
	w.out = w.cores[i].Step(w.now, ev, w.out[:0])
	for _, e := range w.out {
		switch e := e.(type) {
		case *FrameOut:
			w.queue[1-i] = append(w.queue[1-i], e)
		case *Deliver:
			w.got++
		case *SendDone:
			if !e.Failed {
				w.done++
			}
		}
	}
}

func (w *wire) settle() {
	for len(w.queue[0])+len(w.queue[1]) > 0 {
		for i := range w.cores {
			for k := 0; k < len(w.queue[i]); k++ {
				f := w.queue[i][k]
				w.buffer = append(w.buffer[:0], f.Data...)
				w.in = FrameIn{Link: f.Link, Src: w.src[1-i], Data: w.buffer}
				w.cores[1-i].Recycle(f)
				w.step(i, &w.in)
				w.buffer = w.in.Data
			}
			w.queue[i] = w.queue[i][:0]
		}
	}
}

func (w *wire) send(from int, msg []byte) {
	w.sendID++
	w.exchange = Send{ID: w.sendID, To: NodeID(1 - from), Msg: msg}
	w.step(from, &w.exchange)
}

// TestNoAllocationPerFrame: in steady state neither the sender nor the
// receiver of messages and heartbeats allocates, sealed or in the clear; a
// large message costs its receiver the memory of the message and nothing per
// frame.
func TestNoAllocationPerFrame(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	for _, key := range []Key{nil, testKey} {
		w := newWire(t, key, 1500)
		small, large := make([]byte, 200), make([]byte, 500<<10)
		one := func() {
			for range 20 {
				w.send(0, small)
				w.send(1, small)
				w.settle()
			}
			w.turn() // heartbeats too
		}
		bulk := func() { w.send(0, large); w.settle(); w.turn() }
		for range 50 {
			one()
			bulk()
		}
		before := w.got
		// 40 messages in more than 40 frames; blocks of memory that small
		// messages share come once per 80 of them.
		if n := testing.AllocsPerRun(200, one); n > 1 {
			t.Errorf("encrypted=%t: 40 small messages cost %v allocations; they must cost none but their shared memory", key != nil, n)
		}
		if w.got < before+200*40 {
			t.Fatal("messages did not arrive")
		}
		if n := testing.AllocsPerRun(50, bulk); n > 1 {
			t.Errorf("encrypted=%t: a message of %d bytes in some 370 frames costs %v allocations; one is for the message itself", key != nil, len(large), n)
		}
		if w.done == 0 {
			t.Fatal("no message was acknowledged")
		}
	}
}

// BenchmarkRoundTrip is what two messages of 64 bytes, there and back, cost
// both cores; BenchmarkBulk what a message of 64 KiB costs.
func BenchmarkRoundTrip(b *testing.B) {
	for name, key := range map[string]Key{"clear": nil, "sealed": testKey} {
		b.Run(name, func(b *testing.B) {
			w := newWire(b, key, 1500)
			msg := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				w.send(0, msg)
				w.settle()
				w.send(1, msg)
				w.settle()
			}
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	for name, key := range map[string]Key{"clear": nil, "sealed": testKey} {
		b.Run(name, func(b *testing.B) {
			w := newWire(b, key, 1500)
			msg := make([]byte, 64<<10)
			b.SetBytes(int64(len(msg)))
			b.ReportAllocs()
			for b.Loop() {
				w.send(0, msg)
				w.settle()
			}
		})
	}
}

// TestPausedPeer: a peer that stands still gets a few frames per round, what
// waits for it stays within the stated bound, the others' messages flow, and
// the connection with it ends as its silence does. The bound is that of
// docs/spec/llt.md.
func TestPausedPeer(t *testing.T) {
	w := newNetwork(t, 3)
	w.quiet = true
	for i := range 3 {
		w.start(w.config(i, 0, 2, 0, testKey))
	}
	w.run(time.Second)
	if !w.allOpen() {
		t.Fatal("not connected")
	}
	sender := w.find(0)
	w.find(2).paused = true
	frames := 0
	w.tape = func(n *node, _ Event, effects []Effect) {
		for _, e := range effects {
			if f, ok := e.(*FrameOut); ok && n == sender && f.Dst != nil && f.Dst[0] == 2 && !f.Urgent {
				frames++
			}
		}
	}
	text := strings.Repeat("x", 100<<10)
	most, arrived := 0, 0
	for i := range 60 { // 600 ms, 10 MiB/s to each
		w.send(0, 1, fmt.Sprint(i, text))
		if !sender.blockd[2] && sender.conns[2] != 0 {
			w.send(0, 2, fmt.Sprint(i, text))
		}
		w.run(10 * time.Millisecond)
		for _, p := range sender.core.Peers(w.now) {
			if p.Node == 2 {
				most = max(most, p.Held)
			}
		}
		if sender.conns[2] != 0 {
			arrived = len(w.find(1).got[0].msgs)
		}
	}
	// A user that heeds SendBlocked never has more than that waiting: what is
	// queued when it is told, the message that made it so, and the window.
	if bound := highBytes + len(text) + 10 + window*1500; most > bound || most < highBytes {
		t.Errorf("%d bytes waited for the paused peer, the bound is %d", most, bound)
	}
	if arrived < 50 {
		t.Errorf("only %d messages reached the peer that was well while another stood still", arrived)
	}
	// The first window, then at most leastWindow frames per round of 20 ms or more.
	if most := startWindow + 2*startWindow + leastWindow*600/20; frames > most {
		t.Errorf("the paused peer was sent %d data frames, at most %d are due", frames, most)
	}
	w.run(200 * time.Millisecond)
	if sender.conns[2] != 0 || sender.conns[1] == 0 {
		t.Errorf("connections after the pause: with the paused %d, with the other %d", sender.conns[2], sender.conns[1])
	}
	for _, p := range sender.core.Peers(w.now) {
		if p.Node == 2 && p.Held != 0 {
			t.Errorf("%d bytes are still kept for the peer that is gone", p.Held)
		}
	}
	w.find(2).paused = false
	w.run(2 * time.Second)
	if !w.allOpen() {
		t.Error("no new connection after the pause")
	}
}

// TestHeedlessUser: who sends on in spite of SendBlocked loses the connection
// at the bound, not the memory of the machine.
func TestHeedlessUser(t *testing.T) {
	w := newNetwork(t, 4)
	w.quiet = true
	for i := range 2 {
		w.start(w.config(i, 0, 1, 0, nil))
	}
	w.run(time.Second)
	w.find(1).paused = true
	msg := bytes.Repeat([]byte("y"), 1<<20)
	most := 0
	for i := range uint64(80) {
		w.step(w.find(0), &Send{ID: 1000 + i, To: 1, Msg: msg})
		most = max(most, w.find(0).core.Peers(w.now)[0].Held)
	}
	if !strings.Contains(w.log(), "reason=overflow") {
		t.Error("80 MiB were taken for a peer that takes nothing")
	}
	if most > maxBytes+len(msg) {
		t.Errorf("%d bytes were kept, the bound is %d", most, maxBytes)
	}
	if held := w.find(0).core.Peers(w.now)[0].Held; held != 0 {
		t.Errorf("%d bytes are kept after the end of the connection", held)
	}
}

// TestNarrowPath: links that pass less than they are configured for keep the
// peers UP, and data arrives in frames that fit: in full again when the path
// is.
func TestNarrowPath(t *testing.T) {
	for _, c := range []struct {
		mtu, pass [2]int
	}{
		{[2]int{9000, 9000}, [2]int{1500, 1500}},
		{[2]int{9000, 9000}, [2]int{9000, 1500}},
		{[2]int{1500, 9000}, [2]int{1000, 1450}},
		{[2]int{65000, 65000}, [2]int{600, 600}},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			w := newNetwork(t, 5)
			w.quiet = true
			for i := range 2 {
				cfg := w.config(i, 0, 2, 0, testKey)
				for k := range cfg.Links {
					cfg.Links[k].MTU = c.mtu[k]
				}
				w.start(cfg)
			}
			largest := 0
			w.tape = func(_ *node, _ Event, effects []Effect) {
				for _, e := range effects {
					if f, ok := e.(*FrameOut); ok {
						largest = max(largest, len(f.Data))
					}
				}
			}
			w.pass = func(l LinkID, size int) bool { return size <= c.pass[l] }
			w.run(time.Second)
			if !w.allOpen() {
				t.Fatal("not connected: discovery or heartbeats depend on the MTU")
			}
			text := strings.Repeat("z", 60000)
			for i := range 40 {
				w.send(0, 1, fmt.Sprint(i, text))
				w.send(1, 0, fmt.Sprint(i, text))
				w.run(100 * time.Millisecond)
			}
			w.run(2 * time.Second)
			for i := range 2 {
				if n := len(w.find(i).got[NodeID(1-i)].msgs); n != 40 {
					t.Errorf("n%d got %d of 40 messages", i, n)
				}
			}
			if log := w.log(); strings.Contains(log, "peer-down") || strings.Contains(log, "link-trouble") {
				t.Errorf("the path's MTU cost a link or a peer:\n%s", log)
			}
			if largest <= max(c.pass[0], c.pass[1]) && c.pass[0] < c.mtu[0] && c.pass[1] < c.mtu[1] {
				t.Errorf("no frame was as large as the links are configured for: largest %d", largest)
			}
			// The path widens: after a while whole frames are tried again.
			w.pass = nil
			for i := range 700 {
				w.send(0, 1, fmt.Sprint(i, text))
				w.run(100 * time.Millisecond)
			}
			for i := range 2 {
				if p := &w.find(0).core.peers[1].links[i]; p.limit != 0 {
					t.Errorf("link %d is still held at %d bytes a minute after its path widened", i, p.limit)
				}
			}
		})
	}
}
