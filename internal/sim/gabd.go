package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/standing/verdict"
	"github.com/evenkeel/evenkeel/services/gab"
)

// turnEvery is how often gab's loop turns when nothing happens.
const turnEvery = 50 * time.Millisecond

// gabd is the daemon gab in one incarnation: what services/gab/server does.
type gabd struct {
	*proc
	core     *gab.Core
	inc      uint64
	alarm    alarm
	turns    int
	conns    [gab.MaxNodes]uint64
	sessions [26]*session
	yielded  bool
	left     func(ok bool) // waits for Left or LeaveRefused
}

// session is a client's stream.
type session struct {
	port    gab.Port
	g       *gabd
	owner   *proc
	closed  bool
	blocked bool
	waits   []gab.Send
	up      pipe
	down    pipe
	first   pipe        // leases and the gate overtake messages
	take    func(e any) // gab.Effect, or registered
	ended   func(why string)
}

// registered is gab's first word to a client.
type registered struct{ yielded bool }

func (n *node) startGab() { n.startGabAs(false) }

func (n *node) startGabAs(yielded bool) {
	w := n.w
	if !n.on || n.gab != nil {
		return
	}
	w.lastInc++
	g := &gabd{proc: n.newProc("gab"), inc: w.lastInc<<8 | uint64(n.id), yielded: yielded}
	cfg := gab.Config{Node: gab.NodeID(n.id), Incarnation: g.inc, Lineage: w.boot.next() | 1, SeedCount: len(w.nodes),
		FencingDisabled: !w.fenced, PersistedCounter: n.persisted}
	core, err := w.makeGab(cfg)
	if err != nil {
		panic(err)
	}
	g.core, n.gab = core, g
	n.judge(verdict.Seen{Name: verdict.GAB, PID: 1})
	w.stepGab(g, gab.Wake{})
	w.gabTurns(g)
	for _, p := range w.pairs {
		if p.ends[0] == n.id || p.ends[1] == n.id {
			w.connect(p)
		}
	}
}

func (w *World) gabTurns(g *gabd) {
	w.later(g.proc, turnEvery, func() {
		w.stepGab(g, gab.Wake{})
		g.turns++
		for _, p := range w.pairs { // LLT discovers its peers again and again
			if g.turns%8 == 0 && p.conn == 0 && (p.ends[0] == g.n.id || p.ends[1] == g.n.id) {
				w.connect(p)
			}
		}
		w.gabTurns(g)
	})
}

// stepGab is the shell's step.
func (w *World) stepGab(g *gabd, ev gab.Event) {
	if g.dead || w.failure != "" {
		return
	}
	w.steps++
	now := g.n.clock()
	effects := g.core.Step(now, ev, nil)
	if m, ok := ev.(gab.MsgIn); ok {
		w.sum.Write(m.Msg)
	}
	if w.opt.Trace != nil || len(effects) > 0 {
		record(w, g.n.name, "gab", ev, effects)
	}
	for _, e := range effects {
		w.gabEffect(g, e)
	}
	at, ok := g.core.Deadline()
	w.arm(&g.alarm, g.proc, at, ok, func() { w.stepGab(g, gab.Wake{}) })
}

func (w *World) gabEffect(g *gabd, e gab.Effect) {
	n := g.n
	switch e := e.(type) {
	case gab.TransportSend:
		w.carry(g, e)
	case gab.DeliverMessage:
		g.pass(e.Port, e)
	case gab.DeliverView:
		if e.Port == gab.PortA {
			w.oracle.count("views")
		} else {
			g.pass(e.Port, e)
		}
	case gab.DeliverEvidence:
		g.pass(gab.PortH, e)
	case gab.Gate:
		g.passFirst(gab.PortH, e)
	case gab.Outcome:
		g.pass(e.Port, e)
	case gab.Blocked:
		if s := g.session(e.Port); s != nil {
			s.blocked = true
		}
	case gab.Ready:
		if s := g.session(e.Port); s != nil {
			s.blocked = false
			w.later(g.proc, 0, s.flush)
		}
	case gab.Lease:
		n.judge(verdict.Lease{Expires: e.Until})
		g.passFirst(gab.PortH, e)
	case gab.PersistCounter:
		w.later(g.proc, w.store.between(time.Millisecond, 20*time.Millisecond), func() {
			ok := w.calm || !w.store.one(w.swarm.diskErrors)
			if ok {
				n.persisted = max(n.persisted, e.Counter)
			}
			w.stepGab(g, gab.CounterPersisted{ID: e.ID, OK: ok})
		})
	case gab.ClosePort:
		if s := g.session(e.Port); s != nil {
			g.sessions[e.Port-'a'] = nil
			s.end("gab closed the port: " + e.Reason)
		}
		if e.Protected {
			n.endGab(g, e.Reason, true, false)
		}
	case gab.StandDown:
		w.oracle.count("stand-downs")
		stop := (e.Protected || n.declared > 0) && !e.Flagged
		n.endGab(g, e.Reason, stop, e.Flagged)
	case gab.Left:
		if done := g.left; done != nil {
			done(true)
		}
		n.endGab(g, "left", false, false)
	case gab.LeaveRefused:
		if done := g.left; done != nil {
			g.left = nil
			done(false)
		}
	}
}

// endGab ends an incarnation; a new one begins unless the system stops.
func (n *node) endGab(g *gabd, why string, stop, yielded bool) {
	w := n.w
	if g.dead {
		return
	}
	n.dropGab(g, why)
	if stop {
		n.judge(verdict.LeaseLost{Reason: why})
		n.selfStop("gab: " + why)
		return
	}
	n.judge(verdict.Lease{})
	w.later(n.shadow.proc, w.boot.between(10*time.Millisecond, 300*time.Millisecond), func() { n.startGabAs(yielded) })
}

// killGab is the death of the process: nothing starts it again under
// something protected (R2).
func (n *node) killGab() {
	w, g := n.w, n.gab
	if g == nil || g.dead {
		return
	}
	w.tell("gab of %s dies", n.name)
	n.dropGab(g, "gab died")
	n.judge(verdict.Missing{Name: verdict.GAB, Why: "died"})
	if n.declared > 0 {
		return // hashadow stops the system
	}
	w.later(n.shadow.proc, w.boot.between(500*time.Millisecond, 2*time.Second), func() { n.startGab() })
}

func (n *node) dropGab(g *gabd, why string) {
	g.dead = true
	n.gab = nil
	for _, s := range g.sessions {
		if s != nil {
			s.end(why)
		}
	}
	n.w.lostFromWires(n)
}

func (g *gabd) session(p gab.Port) *session {
	if !p.Valid() {
		return nil
	}
	return g.sessions[p-'a']
}

// attach opens a port for a client; nil if gab is not there.
func (n *node) attach(port gab.Port, owner *proc, take func(any), ended func(string)) *session {
	g := n.gab
	if g == nil || g.dead || g.session(port) != nil {
		return nil
	}
	s := &session{port: port, g: g, owner: owner, take: take, ended: ended}
	n.w.through(&s.up, g.proc, func() {
		switch {
		case s.closed:
		case g.session(port) != nil:
			s.end("the port is taken")
		default:
			g.sessions[port-'a'] = s
			g.tell(s, registered{g.yielded})
			n.w.stepGab(g, gab.Register{Port: port, Client: owner.name})
		}
	})
	n.w.later(owner, time.Second, func() {
		if !s.closed && g.dead { // it died before it had taken the stream
			s.closed = true
			ended("gab is gone")
		}
	})
	return s
}

// pass hands something to the client of a port, in order.
func (g *gabd) pass(p gab.Port, e any) {
	if s := g.session(p); s != nil {
		g.tell(s, e)
	}
}

func (g *gabd) passFirst(p gab.Port, e any) {
	if s := g.session(p); s != nil {
		g.n.w.through(&s.first, s.owner, func() {
			if !s.closed {
				s.take(e)
			}
		})
	}
}

func (g *gabd) tell(s *session, e any) {
	g.n.w.through(&s.down, s.owner, func() {
		if !s.closed {
			s.take(e)
		}
	})
}

// say is an event from the client.
func (s *session) say(ev gab.Event) {
	if s.closed {
		return
	}
	s.g.n.w.through(&s.up, s.g.proc, func() {
		if s.g.session(s.port) != s {
			return
		}
		if send, ok := ev.(gab.Send); ok {
			s.waits = append(s.waits, send)
			s.flush()
			return
		}
		s.g.n.w.stepGab(s.g, ev)
	})
}

func (s *session) flush() {
	for len(s.waits) > 0 && !s.blocked && s.g.session(s.port) == s {
		next := s.waits[0]
		s.waits = s.waits[1:]
		s.g.n.w.stepGab(s.g, next)
	}
}

// end closes the stream from gab's side.
func (s *session) end(why string) {
	s.g.n.w.through(&s.down, s.owner, func() {
		if !s.closed {
			s.closed = true
			s.ended(why)
		}
	})
}

// close is the client's end, or its process's.
func (s *session) close() {
	if s == nil || s.closed {
		return
	}
	s.closed = true
	s.g.n.w.through(&s.up, s.g.proc, func() {
		if s.g.session(s.port) == s {
			s.g.sessions[s.port-'a'] = nil
			s.g.n.w.stepGab(s.g, gab.Unregister{Port: s.port})
		}
	})
}

// leaveCluster is ha node stop, or what a loser with nothing protected does.
func (n *node) leaveCluster(force bool, done func(ok bool)) {
	g := n.gab
	if g == nil || g.dead {
		return
	}
	n.w.later(g.proc, time.Millisecond, func() {
		g.left = done
		n.w.stepGab(g, gab.Leave{Force: force})
	})
}

func member(ms []gab.Member, id int) (gab.Member, bool) {
	for _, m := range ms {
		if int(m.Node) == id {
			return m, true
		}
	}
	return gab.Member{}, false
}
