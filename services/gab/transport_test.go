package gab

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
)

// transport is LLT's core under one incarnation, over two links that lose,
// repeat and reorder frames.
type transport struct {
	core *llt.Core
	wake vclock.Time
	sent uint64
}

func (w *world) bootTransport(in *inst) {
	cfg := llt.Config{Cluster: 7, Node: llt.NodeID(in.node.id), Incarnation: in.inc,
		Links: []llt.LinkConfig{{Tag: "l0", MTU: 1500}, {Tag: "l1", MTU: 1500}}}
	cfg.Messages = llt.Formats(in.core.cfg.Formats)
	if in.core.cfg.Formats.Highest == formatFirst {
		cfg.Frames = llt.Formats{Lowest: 1, Highest: 1}
	}
	for n := range w.n {
		if n != in.node.id {
			cfg.Peers = append(cfg.Peers, llt.NodeID(n))
		}
	}
	w.rnd.Read(cfg.BootID[:])
	w.rnd.Read(cfg.Seed[:])
	core, err := llt.New(cfg)
	if err != nil {
		panic(err)
	}
	if w.onLLT == nil {
		w.onLLT = map[*inst]*transport{}
	}
	w.onLLT[in] = &transport{core: core, wake: vclock.Never}
	w.stepTransport(in, llt.CoreAlive{})
	w.stepTransport(in, llt.LinkUp{Link: 0})
	w.stepTransport(in, llt.LinkUp{Link: 1})
	w.beat(in)
}

// beat is the shell's word to LLT that gab's core lives (R19).
func (w *world) beat(in *inst) {
	if in.alive {
		w.stepTransport(in, llt.CoreAlive{})
		w.after(50*time.Millisecond, func() { w.beat(in) })
	}
}

func (w *world) stepTransport(in *inst, ev llt.Event) {
	if !in.alive || w.fatal != "" {
		return
	}
	if w.now < in.paused {
		if _, frame := ev.(*llt.FrameIn); !frame || w.rnd.Intn(4) == 0 { // a socket holds little
			w.after(in.paused.Sub(w.now), func() { w.stepTransport(in, ev) })
		}
		return
	}
	t := w.onLLT[in]
	for _, e := range t.core.Step(w.now, ev, nil) {
		if _, ok := e.(*llt.FrameOut); !ok && w.trace != nil {
			w.trace("%s %d.%x   llt < %s > %s", w.now, in.node.id, in.inc, ev, e)
		}
		switch e := e.(type) {
		case *llt.FrameOut:
			w.fly(in, e)
		case llt.PeerUp:
			in.conns[int(e.Node)] = e.Conn
			w.after(0, func() {
				w.step(in, PeerUp{Node: NodeID(e.Node), Incarnation: e.Incarnation, Conn: e.Conn, Formats: Formats(e.Messages)})
			})
		case llt.PeerFormats:
			w.after(0, func() {
				w.step(in, PeerFormats{Node: NodeID(e.Node), Conn: e.Conn, Formats: Formats(e.Messages)})
			})
		case llt.PeerDown:
			delete(in.conns, int(e.Node))
			w.after(0, func() { w.step(in, PeerDown{Node: NodeID(e.Node), Conn: e.Conn}) })
		case *llt.Deliver:
			m := MsgIn{From: NodeID(e.From), Conn: e.Conn, Msg: e.Msg} // e is LLT's again after this step
			w.after(0, func() { w.step(in, m) })
		}
	}
	if at, ok := t.core.Deadline(); ok && (at < t.wake || t.wake <= w.now) {
		t.wake = at
		w.after(max(0, at.Sub(w.now)), func() {
			if t.wake == at {
				t.wake = vclock.Never
				w.stepTransport(in, llt.Wake{})
			}
		})
	}
}

func (w *world) fly(in *inst, f *llt.FrameOut) {
	on, data := f.Link, append([]byte(nil), f.Data...) // f is LLT's again after this step
	for _, n := range w.nodes {
		if n == in.node || (f.Dst != nil && int(f.Dst[0]) != n.id) {
			continue
		}
		copies := 1
		switch w.rnd.Intn(50) {
		case 0:
			copies = 0
		case 1:
			copies = 2
		}
		for range copies {
			hi := 300 * time.Microsecond
			if w.rnd.Intn(20) == 0 {
				hi = 5 * time.Millisecond
			}
			w.after(w.between(50*time.Microsecond, hi), func() {
				p := w.pair(in.node.id, n.id)
				if n.cur != nil && n.group == in.node.group && !(p.dark[0] && n.id == p.b) && !(p.dark[1] && n.id == p.a) {
					w.stepTransport(n.cur, &llt.FrameIn{Link: on, Src: []byte{byte(in.node.id)}, Data: append([]byte(nil), data...)})
				}
			})
		}
	}
}

func (w *world) carryReal(in *inst, e TransportSend) {
	if in.conns[int(e.To)] != e.Conn {
		return
	}
	t := w.onLLT[in]
	t.sent++
	w.stepTransport(in, &llt.Send{ID: t.sent, To: llt.NodeID(e.To), Msg: e.Msg})
}

func (w *world) resetTransport(in *inst, to int) {
	if in != nil && in.alive && !w.calm {
		w.stepTransport(in, llt.Reset{Node: llt.NodeID(to), Reason: "test"})
	}
}

// TestSchedulesOverLLT runs a smaller number of schedules with LLT's own core
// below, so that what each promises the other is what it gets.
func TestSchedulesOverLLT(t *testing.T) {
	if *flagSeed >= 0 {
		t.Skip("one schedule was asked for with -gab.seed")
	}
	total := int64(1000)
	if raceEnabled || testing.Short() {
		total = 30
	}
	if *flagSchedules > 0 {
		total = int64(*flagSchedules)
	}
	steps, delivered := 0, 0
	for seed := int64(1); seed <= total; seed++ {
		w := newWorld(seed, mutNone)
		w.real = true
		w.schedule()
		steps += w.steps
		delivered += w.oracle.counts["delivered"]
		if w.fatal != "" {
			t.Fatalf("seed %d (%d systems, fenced=%v): %s", seed, w.n, w.fenced, w.fatal)
		}
	}
	t.Logf("%d schedules over LLT, %d steps, %d deliveries", total, steps, delivered)
}
