package sim

import (
	"encoding/binary"
	"time"

	"github.com/evenkeel/evenkeel/internal/standing/verdict"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/services/gab"
)

// gabd is the daemon gab in one incarnation: what the loop of
// services/gab/server does with the cores of LLT and GAB.
type gabd struct {
	*proc
	core  GAB
	llt   LLT
	inc   uint64
	alarm alarm

	lease, beat time.Duration
	last        vclock.Time // of the last turn
	gabAt       vclock.Time // of the last step of the gab core
	aliveAt     vclock.Time // when LLT last heard that it is alive
	standing    bool        // in a view
	out         bool        // stood still: nothing is sent any more
	lltQueue    []llt.Event
	gabQueue    []gab.Event
	lltOut      []llt.Effect
	gabOut      []gab.Effect
	held        []*flight
	turnedAt    vclock.Time // world time, for the oracle (R19)
	mute        bool
	sends       uint64

	conns    [gab.MaxNodes]uint64
	jeopardy [gab.MaxNodes]bool
	clogged  int // peers to which LLT asked to send no more
	clogs    [gab.MaxNodes]bool
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
	g := &gabd{proc: n.newProc("gab"), inc: n.incarnation(), yielded: yielded}
	timers := w.timers()
	g.lease, g.beat = timers.PeerInact/2, timers.Heartbeat
	var err error
	if g.llt, err = w.cores.LLT(n.id, n.lltConfig(g.inc, timers)); err != nil {
		panic(err)
	}
	cfg := gab.Config{Node: gab.NodeID(n.id), Incarnation: g.inc, Lineage: w.boot.next() | 1, SeedCount: len(w.nodes),
		FencingDisabled: !w.fenced, PersistedCounter: n.persisted, Stable: timers.Stable, PeerInact: timers.PeerInact}
	if g.core, err = w.cores.GAB(n.id, cfg); err != nil {
		panic(err)
	}
	n.gab = g
	n.judge(verdict.Seen{Name: verdict.GAB, PID: 1})
	g.last = n.clock()
	g.gabQueue = append(g.gabQueue, gab.Wake{})
	for l := range w.network.links {
		if !n.dark[l] {
			g.lltQueue = append(g.lltQueue, llt.LinkUp{Link: llt.LinkID(l)})
		}
	}
	g.turn(nil, nil)
}

// lltConfig is what llttab and the key file would say.
func (n *node) lltConfig(inc uint64, timers llt.Timers) llt.Config {
	w := n.w
	cfg := llt.Config{Cluster: clusterID, Node: llt.NodeID(n.id), Incarnation: inc, Timers: timers, Messages: llt.Formats(gab.SpokenFormats)}
	for l := range w.network.links {
		low := w.swarm.LowPriority && l > 0 && l == w.swarm.Links-1
		cfg.Links = append(cfg.Links, llt.LinkConfig{Tag: linkTags[l], LowPriority: low, HeartbeatOnly: l == w.network.disk, MTU: 1500})
	}
	for _, o := range w.nodes {
		cfg.Peers = append(cfg.Peers, llt.NodeID(o.id))
	}
	if w.swarm.Encrypted {
		cfg.Key = llt.Key("a key that all the simulated systems have")
	}
	for i := range 4 {
		binary.BigEndian.PutUint64(cfg.BootID[8*i:], w.boot.next())
		binary.BigEndian.PutUint64(cfg.Seed[8*i:], w.boot.next())
	}
	return cfg
}

var linkTags = [...]string{"l0", "l1", "l2", "l3", "l4", "l5", "l6", "l7"}

// incarnation is that of services/gab/server: the wall clock, and some bits
// that are drawn.
func (n *node) incarnation() uint64 {
	return uint64(n.wall())&^0xffff | n.w.boot.next()&0xffff
}

// frame takes what a link brought.
func (g *gabd) frame(fl *flight) {
	g.turn(&fl.FrameIn, nil)
	g.n.w.network.give(fl)
}

// hold keeps a frame for when this process goes on.
func (g *gabd) hold(fl *flight) {
	if len(g.held) >= heldFrames {
		g.n.w.network.give(fl)
		return
	}
	g.held = append(g.held, fl)
	if len(g.held) > 1 {
		return
	}
	g.n.w.run(g.proc, func() {
		held := g.held
		g.held = nil
		for _, fl := range held {
			g.frame(fl)
		}
	})
}

// turn is one turn of the loop: what happened, and all that follows from it.
func (g *gabd) turn(le llt.Event, ge gab.Event) {
	w := g.n.w
	if g.dead || w.failure != "" {
		return
	}
	now := g.n.clock()
	g.begin(now)
	if le != nil {
		g.lltQueue = append(g.lltQueue, le)
	}
	if ge != nil {
		g.gabQueue = append(g.gabQueue, ge)
	}
	g.settle(now)
	if !g.dead {
		g.wait()
	}
}

// begin looks at the gap since the last turn (R19).
func (g *gabd) begin(now vclock.Time) {
	gap := now.Sub(g.last)
	g.last = now
	g.n.w.oracle.turned(g)
	if gap <= g.lease || g.n.w.broken("speak-after-pause") {
		return
	}
	g.n.w.oracle.count("turns after a pause")
	g.out = g.out || g.standing
	g.gabQueue = append(g.gabQueue, gab.Paused{Gap: gap})
}

// settle steps both cores until neither has anything to say to the other and
// no client has anything that may go.
func (g *gabd) settle(now vclock.Time) {
	g.drain(now)
	if at, ok := g.core.Deadline(); (ok && at <= now) || now.Sub(g.gabAt) >= g.beat/2 {
		g.stepGab(now, gab.Wake{})
	}
	at, ok := g.llt.Deadline()
	if due := ok && at <= now; due || now.Sub(g.aliveAt) >= g.beat/10 {
		g.aliveAt = now
		g.stepLLT(now, llt.CoreAlive{})
	}
	for !g.dead {
		g.drain(now)
		if !g.pumpClients(now) {
			return
		}
	}
}

func (g *gabd) drain(now vclock.Time) {
	for !g.dead && (len(g.lltQueue) > 0 || len(g.gabQueue) > 0) {
		gq := g.gabQueue
		g.gabQueue = nil
		for _, ev := range gq {
			g.stepGab(now, ev)
		}
		lq := g.lltQueue
		g.lltQueue = nil
		for _, ev := range lq {
			g.stepLLT(now, ev)
		}
	}
}

func (g *gabd) pumpClients(now vclock.Time) bool {
	any := false
	for _, s := range g.sessions {
		for s != nil && !g.dead && len(s.waits) > 0 && !s.blocked && g.clogged == 0 && g.session(s.port) == s {
			next := s.waits[0]
			s.waits = s.waits[1:]
			g.stepGab(now, next)
			any = true
		}
	}
	return any
}

// wait arms the alarm: when a core wants to be called, and at most half a
// heartbeat from now, so that the age that heartbeats carry is true (R19).
func (g *gabd) wait() {
	at := g.due()
	g.n.w.arm(&g.alarm, g.proc, at, true, g.woken)
}

func (g *gabd) due() vclock.Time {
	at := g.last.Add(g.beat / 2)
	if t, ok := g.llt.Deadline(); ok {
		at = vclock.Earlier(at, t)
	}
	if t, ok := g.core.Deadline(); ok {
		at = vclock.Earlier(at, t)
	}
	return at
}

// woken turns if it is time; something may have happened since.
func (g *gabd) woken() {
	if g.due() > g.n.clock() {
		g.wait()
		return
	}
	g.turn(nil, nil)
}

func (g *gabd) stepLLT(now vclock.Time, ev llt.Event) {
	w := g.n.w
	if g.dead || w.failure != "" {
		return
	}
	w.steps++
	out := g.llt.Step(now, ev, g.lltOut[:0])
	w.recordLLT(g.n, ev, out)
	for i := range out {
		g.lltEffect(out[i])
	}
	clear(out)
	g.lltOut = out
}

func (g *gabd) lltEffect(e llt.Effect) {
	w := g.n.w
	switch e := e.(type) {
	case *llt.FrameOut:
		w.frames++
		if !g.out {
			w.oracle.spoke(g)
			w.network.send(g.n, e)
		}
		g.llt.Recycle(e)
	case *llt.Deliver:
		g.gabQueue = append(g.gabQueue, gab.MsgIn{From: gab.NodeID(e.From), Conn: e.Conn, Msg: e.Msg})
	case llt.PeerUp:
		g.conns[e.Node] = e.Conn
		w.oracle.count("connections")
		g.gabQueue = append(g.gabQueue, gab.PeerUp{Node: gab.NodeID(e.Node), Incarnation: e.Incarnation, Conn: e.Conn, Formats: gab.Formats(e.Messages)})
	case llt.PeerFormats:
		g.gabQueue = append(g.gabQueue, gab.PeerFormats{Node: gab.NodeID(e.Node), Conn: e.Conn, Formats: gab.Formats(e.Messages)})
	case llt.PeerDown:
		g.conns[e.Node] = 0
		g.clog(e.Node, false)
		w.oracle.count("connections " + e.Reason.String())
		g.gabQueue = append(g.gabQueue, gab.PeerDown{Node: gab.NodeID(e.Node), Conn: e.Conn})
	case llt.PeerLinks:
		if g.jeopardy[e.Node] != e.Jeopardy {
			g.jeopardy[e.Node] = e.Jeopardy
			g.gabQueue = append(g.gabQueue, gab.PeerJeopardy{Node: gab.NodeID(e.Node), On: e.Jeopardy})
			if e.Jeopardy {
				w.moment(g.n, "jeopardy")
			}
		}
	case llt.PeerDisk:
		w.oracle.count("peers seen over the disk alone or no more")
		g.gabQueue = append(g.gabQueue, gab.PeerDisk{Node: gab.NodeID(e.Node), Seen: e.Seen})
	case llt.SendBlocked:
		g.clog(e.Node, true)
	case llt.SendReady:
		g.clog(e.Node, false)
	case llt.DuplicateNode:
		w.fail("LLT of %s sees another live system with its own node id", g.n.name)
	}
}

func (g *gabd) clog(peer llt.NodeID, on bool) {
	if g.clogs[peer] == on {
		return
	}
	g.clogs[peer] = on
	if on {
		g.clogged++
	} else {
		g.clogged--
	}
}

func (g *gabd) stepGab(now vclock.Time, ev gab.Event) {
	w := g.n.w
	if g.dead || w.failure != "" {
		return
	}
	w.steps++
	g.gabAt = now
	out := g.core.Step(now, ev, g.gabOut[:0])
	w.recordGab(g.n, ev, out)
	for i := range out {
		w.gabEffect(g, out[i])
	}
	clear(out)
	g.gabOut = out
}

func (w *World) gabEffect(g *gabd, e gab.Effect) {
	n := g.n
	switch e := e.(type) {
	case gab.TransportSend:
		if g.conns[e.To] == e.Conn {
			g.sends++
			g.lltQueue = append(g.lltQueue, &llt.Send{ID: g.sends, To: llt.NodeID(e.To), Msg: e.Msg})
		}
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
		if e.Held {
			w.moment(n, "gate held")
		}
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
		}
	case gab.Lease:
		g.standing = true
		n.lease = max(n.lease, e.Until)
		n.judge(verdict.Lease{Expires: e.Until})
		g.passFirst(gab.PortH, e)
	case gab.PersistCounter:
		w.later(g.proc, w.store.between(time.Millisecond, 20*time.Millisecond), func() {
			ok := w.calm || !w.store.one(w.swarm.DiskErrors)
			if ok {
				n.persisted = max(n.persisted, e.Counter)
			}
			g.turn(nil, gab.CounterPersisted{ID: e.ID, OK: ok})
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
		g.lltQueue = nil
		for _, f := range g.llt.Step(g.last, llt.Stop{}, nil) {
			if f, ok := f.(*llt.FrameOut); ok && !g.out {
				w.network.send(n, f)
			}
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
	n.restartGab()
}

// restartGab is the init system's: it starts gab again once nothing is
// protected; while something is, hashadow stops the system.
func (n *node) restartGab() {
	n.w.later(n.shadow.proc, n.w.boot.between(500*time.Millisecond, 2*time.Second), func() {
		if n.declared > 0 {
			n.restartGab()
			return
		}
		n.startGab()
	})
}

func (n *node) dropGab(g *gabd, why string) {
	g.dead = true
	n.gab = nil
	for _, s := range g.sessions {
		if s != nil {
			s.end(why)
		}
	}
	for _, fl := range g.held {
		n.w.network.give(fl)
	}
	g.held = nil
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
			g.turn(nil, gab.Register{Port: port, Client: owner.name})
		}
	})
	s.watch()
	return s
}

// watch ends a stream that gab had not taken when it died.
func (s *session) watch() {
	s.g.n.w.later(s.owner, time.Second, func() {
		switch {
		case s.closed || s.g.session(s.port) == s:
		case s.g.dead:
			s.closed = true
			s.ended("gab is gone")
		default:
			s.watch()
		}
	})
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
			ev = nil
		}
		s.g.turn(nil, ev)
	})
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
			s.g.turn(nil, gab.Unregister{Port: s.port})
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
		g.turn(nil, gab.Leave{Force: force})
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
