package gab

import (
	"container/heap"
	"fmt"
	"math/rand"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// world drives the cores of 3 to 5 systems in virtual time over a model of
// LLT: connections that deliver in order, each message once, with any delay,
// and break. It also models what stands behind the cores: clients of ports b,
// d and h, power switches, disks for the counter.
type world struct {
	seed   int64
	rnd    *rand.Rand
	now    vclock.Time
	queue  eventHeap
	serial uint64
	n      int
	fenced bool
	mut    mutation
	nodes  []*node
	insts  []*inst
	pairs  map[[2]int]*pair
	conns  uint64
	calm   bool // no more faults
	steps  int
	oracle *oracle
	trace  func(format string, args ...any)
	fatal  string
	pool   []Effect
	real   bool // LLT's own core instead of the model
	mixed  bool // systems of two builds, upgraded one by one as they boot
	onLLT  map[*inst]*transport
}

// node is one machine: what outlives an incarnation.
type node struct {
	id        int
	persisted uint64
	upgraded  bool // to this build, in mixed worlds
	cur       *inst
	group     int // partition
}

// inst is one incarnation.
type inst struct {
	idx     int
	node    *node
	inc     uint64
	core    *Core
	alive   bool
	off     bool // certainly not running: what evidence claims
	clean   bool // left with nothing protected
	paused  vclock.Time
	wake    vclock.Time
	joined  [26]bool
	nextID  uint64
	block   [26]bool
	pending map[sendKey]bool
	reg     [26]bool
	session [26]int
	first   map[Port]bool
	conns   map[int]uint64
	gate    Gate
}

type sendKey struct {
	port    Port
	session int
	id      uint64
}

// pair is the connection of two machines.
type pair struct {
	a, b    int
	conn    uint64 // 0: down
	up      [2]bool
	blocked bool
	dark    [2]bool        // over LLT: nothing comes to b, to a
	last    [2]vclock.Time // arrival of the last message, to b and to a
}

type simEvent struct {
	at     vclock.Time
	serial uint64
	do     func()
}

type eventHeap []simEvent

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].serial < h[j].serial
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *eventHeap) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *eventHeap) Pop() any {
	o := *h
	x := o[len(o)-1]
	o[len(o)-1] = simEvent{}
	*h = o[:len(o)-1]
	return x
}

func newWorld(seed int64, mut mutation) *world {
	w := &world{seed: seed, rnd: rand.New(rand.NewSource(seed)), mut: mut, pairs: map[[2]int]*pair{}}
	w.n = 3 + w.rnd.Intn(3)
	w.fenced = w.rnd.Intn(3) > 0
	w.oracle = newOracle(w)
	for i := range w.n {
		w.nodes = append(w.nodes, &node{id: i})
	}
	for a := range w.n {
		for b := a + 1; b < w.n; b++ {
			w.pairs[[2]int{a, b}] = &pair{a: a, b: b}
		}
	}
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.fatal == "" {
		w.fatal = fmt.Sprintf("at %s: ", w.now) + fmt.Sprintf(format, args...)
	}
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.queue, simEvent{w.now.Add(d), w.serial, do})
}

func (w *world) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(w.rnd.Int63n(int64(hi-lo)+1))
}

func (w *world) pair(a, b int) *pair { return w.pairs[[2]int{min(a, b), max(a, b)}] }

// boot starts a new incarnation of a node.
func (w *world) boot(n *node) {
	if n.cur != nil && n.cur.alive || len(w.insts) >= 40 && !w.calm {
		return
	}
	if len(w.insts) >= 64 {
		w.fail("liveness: incarnations come and go without end")
		return
	}
	in := &inst{idx: len(w.insts), node: n, inc: uint64(0x100*(len(w.insts)+1) + n.id), alive: true,
		pending: map[sendKey]bool{}, first: map[Port]bool{}, conns: map[int]uint64{}, nextID: 1}
	cfg := Config{Node: NodeID(n.id), Incarnation: in.inc, Lineage: uint64(w.rnd.Int63()) | 1, SeedCount: w.n,
		FencingDisabled: !w.fenced, PersistedCounter: n.persisted, WindowMessages: 8, mutation: w.mut}
	cfg.observe = func(pos uint64, e *entry) { w.oracle.applied(in, pos, e) }
	if w.mixed {
		n.upgraded = n.upgraded || w.calm || w.rnd.Intn(2) == 0
		if !n.upgraded {
			cfg.Formats = Formats{formatFirst, formatFirst}
			w.oracle.counts["boots of the older build"]++
		}
	}
	core, err := New(cfg)
	if err != nil {
		panic(err)
	}
	in.core, in.wake = core, vclock.Never
	n.cur = in
	w.insts = append(w.insts, in)
	if w.real {
		w.bootTransport(in)
	}
	w.step(in, Wake{})
	if w.fenced {
		w.after(w.between(0, 100*time.Millisecond), func() { w.register(in, PortB) })
	}
	w.after(w.between(0, 200*time.Millisecond), func() { w.register(in, PortH) })
	if w.rnd.Intn(2) == 0 {
		w.after(w.between(0, 300*time.Millisecond), func() { w.register(in, 'd') })
	}
	for o := range w.n {
		if o != n.id {
			w.relink(n.id, o)
		}
	}
}

func (w *world) register(in *inst, p Port) {
	if in.alive && w.now < in.paused {
		w.after(in.paused.Sub(w.now), func() { w.register(in, p) })
		return
	}
	if !in.alive || in.reg[p-'a'] {
		return
	}
	in.reg[p-'a'], in.joined[p-'a'], in.block[p-'a'] = true, false, false
	in.session[p-'a']++
	delete(in.first, p)
	w.step(in, Register{Port: p, Client: "model"})
}

func (w *world) unregister(in *inst, p Port) {
	if !in.alive || !in.reg[p-'a'] || w.now < in.paused {
		return
	}
	w.forget(in, p)
	w.step(in, Unregister{p})
}

func (w *world) forget(in *inst, p Port) {
	in.reg[p-'a'] = false
	for k := range in.pending {
		if k.port == p {
			delete(in.pending, k)
		}
	}
}

// relink brings a connection up when both ends run and nothing is in between.
func (w *world) relink(a, b int) {
	if w.real {
		return // LLT finds its peers itself
	}
	p := w.pair(a, b)
	if p.conn != 0 || p.up[0] || p.up[1] || p.blocked || w.nodes[a].group != w.nodes[b].group {
		return
	}
	x, y := w.nodes[p.a].cur, w.nodes[p.b].cur
	if x == nil || y == nil || !x.alive || !y.alive {
		return
	}
	w.conns++
	conn := w.conns
	p.conn = conn
	for side, in := range []*inst{x, y} {
		other := []*inst{y, x}[side]
		p.up[side] = true
		d := w.between(0, 20*time.Millisecond)
		p.last[side] = w.now.Add(d)
		w.after(d, func() {
			if in.alive && p.conn == conn {
				in.conns[other.node.id] = conn
				w.step(in, PeerUp{Node: NodeID(other.node.id), Incarnation: other.inc, Conn: conn, Formats: w.formatsSaid(in, other)})
			}
		})
	}
}

// formatsSaid is what LLT tells a system of another one's build: the older one
// neither says nor hears anything of formats.
func (w *world) formatsSaid(in, other *inst) Formats {
	if in.core.cfg.Formats.Highest == formatFirst || other.core.cfg.Formats.Highest == formatFirst {
		return Formats{}
	}
	return other.core.cfg.Formats
}

// unlink breaks a connection: what is under way may be lost, and each end
// learns of it in its own time.
func (w *world) unlink(a, b int, lo, hi time.Duration) {
	if w.real {
		w.after(w.between(lo, hi), func() { w.resetTransport(w.nodes[a].cur, b) })
		return
	}
	p := w.pair(a, b)
	if p.conn == 0 {
		return
	}
	conn := p.conn
	p.conn = 0
	for side, id := range []int{p.a, p.b} {
		in, other := w.nodes[id].cur, []int{p.b, p.a}[side]
		w.after(w.between(lo, hi), func() {
			if in != nil && in.alive && in.conns[other] == conn {
				delete(in.conns, other)
				w.step(in, PeerDown{Node: NodeID(other), Conn: conn})
			}
			p.up[side] = false
			w.after(w.between(0, 30*time.Millisecond), func() { w.relink(a, b) })
		})
	}
}

// kill ends an incarnation; its peers find out by silence.
func (w *world) kill(in *inst, off bool) {
	if off {
		in.off = true
	}
	if !in.alive {
		return
	}
	in.alive = false
	if w.real {
		return // the others find out by silence
	}
	if w.trace != nil {
		w.trace("%s  node %d inc %x killed off=%v", w.now, in.node.id, in.inc, off)
	}
	for o := range w.n {
		if o != in.node.id {
			w.unlink(in.node.id, o, 50*time.Millisecond, 700*time.Millisecond)
		}
	}
}

// step is the shell of one core.
func (w *world) step(in *inst, ev Event) {
	if !in.alive || w.fatal != "" {
		return
	}
	if w.now < in.paused {
		w.after(in.paused.Sub(w.now), func() { w.step(in, ev) })
		return
	}
	w.steps++
	buf := w.pool[:0]
	w.pool = nil
	effects := in.core.Step(w.now, ev, buf)
	if w.trace != nil {
		w.trace("%s %d.%x < %s", w.now, in.node.id, in.inc, ev)
		for _, e := range effects {
			if _, ok := e.(Lease); !ok {
				w.trace("%s %d.%x   > %s", w.now, in.node.id, in.inc, e)
			}
		}
	}
	w.oracle.stepped(in)
	ended := slices.ContainsFunc(effects, func(e Effect) bool {
		switch e := e.(type) {
		case StandDown, Left:
			return true
		case ClosePort:
			return e.Port == PortH
		}
		return false
	})
	for _, e := range effects {
		w.effect(in, e, ended)
		if w.fatal != "" {
			return
		}
	}
	clear(effects)
	w.pool = effects[:0]
	w.arm(in)
}

func (w *world) arm(in *inst) {
	t, ok := in.core.Deadline()
	if !ok || (in.wake <= t && in.wake > w.now) || !in.alive {
		return
	}
	in.wake = t
	w.after(max(0, t.Sub(w.now)), func() {
		if in.wake == t {
			in.wake = vclock.Never
			w.step(in, Wake{})
		}
	})
}

func (w *world) effect(in *inst, e Effect, ended bool) {
	switch e := e.(type) {
	case TransportSend:
		w.carry(in, e)
	case PersistCounter:
		w.after(w.between(time.Millisecond, 30*time.Millisecond), func() {
			ok := w.calm || w.rnd.Intn(20) > 0
			if ok && in.alive {
				in.node.persisted = max(in.node.persisted, e.Counter)
			}
			w.step(in, CounterPersisted{ID: e.ID, OK: ok})
		})
	case DeliverView:
		w.oracle.view(in, e)
		if e.Port == PortB {
			w.race(in, e)
		}
	case DeliverMessage:
		w.oracle.message(in, e)
	case DeliverEvidence:
		w.oracle.evidence(in, e)
	case Outcome:
		w.oracle.outcome(in, e, ended)
	case Blocked:
		in.block[e.Port-'a'] = true
	case Ready:
		in.block[e.Port-'a'] = false
	case Gate:
		in.gate = e
	case ClosePort:
		w.forget(in, e.Port)
	case StandDown:
		w.kill(in, true)
		n := in.node
		w.after(w.between(10*time.Millisecond, 100*time.Millisecond), func() { w.boot(n) })
	case Left:
		in.clean = e.Clean
		n := in.node
		w.after(5*time.Millisecond, func() { // the transport drains
			w.kill(in, e.Clean)
			if w.calm {
				w.boot(n)
			}
		})
	}
}

// carry is LLT: in order, each once, unless the connection breaks.
func (w *world) carry(in *inst, e TransportSend) {
	if w.real {
		w.carryReal(in, e)
		return
	}
	p := w.pair(in.node.id, int(e.To))
	if p.conn != e.Conn || in.conns[int(e.To)] != e.Conn {
		return
	}
	side := 0
	if int(e.To) == p.b {
		side = 1
	}
	hi := time.Millisecond
	if w.rnd.Intn(10) == 0 {
		hi = 30 * time.Millisecond
	}
	at := max(p.last[side], w.now.Add(w.between(50*time.Microsecond, hi)))
	p.last[side] = at
	to := w.nodes[e.To].cur
	conn := e.Conn
	w.after(at.Sub(w.now), func() {
		if p.conn == conn && to.conns[in.node.id] == conn {
			w.step(to, MsgIn{From: NodeID(in.node.id), Conn: conn, Msg: e.Msg})
		}
	})
}

// race is the model of fencing: whoever gets to the switch first cuts the
// power of all departed systems, then answers.
func (w *world) race(in *inst, v DeliverView) {
	var open []Departed
	for _, d := range v.Departed {
		if d.Evidence == EvidenceNone {
			open = append(open, d)
		}
	}
	if len(open) == 0 {
		return
	}
	w.after(w.between(5*time.Millisecond, 150*time.Millisecond), func() {
		if !in.alive || w.now < in.paused || in.off {
			return
		}
		answer := FenceAnswer{View: v.ID}
		for _, d := range open {
			victim := w.instOf(d.Member)
			w.kill(victim, true)
			n := victim.node
			w.after(w.between(100*time.Millisecond, time.Second), func() { w.boot(n) })
			d.Evidence = EvidencePoweredOff
			if w.rnd.Intn(4) == 0 {
				d.Evidence = EvidenceCut
			}
			answer.Departed = append(answer.Departed, d)
		}
		w.step(in, answer)
		if w.rnd.Intn(4) == 0 {
			stronger := FenceAnswer{View: v.ID}
			for _, d := range answer.Departed {
				d.Evidence = EvidenceVouched
				stronger.Departed = append(stronger.Departed, d)
			}
			w.after(w.between(0, 200*time.Millisecond), func() { w.step(in, stronger) })
		}
	})
}

func (w *world) instOf(m Member) *inst {
	for _, in := range w.insts {
		if in.node.id == int(m.Node) && in.inc == m.Incarnation {
			return in
		}
	}
	panic(fmt.Sprintf("no incarnation %s", m))
}

// send lets a client say something.
func (w *world) send(in *inst, p Port) {
	if !in.alive || !in.reg[p-'a'] || in.block[p-'a'] || w.now < in.paused {
		return
	}
	id := in.nextID
	in.nextID++
	e := Send{Port: p, ID: id}
	for i := range 1 + w.rnd.Intn(2) {
		e.Payloads = append(e.Payloads, fmt.Appendf(nil, "%d.%x.%s.%d.%d", in.node.id, in.inc, p, id, i))
	}
	if w.rnd.Intn(8) == 0 {
		e.Directed, e.ToNode = true, NodeID(w.rnd.Intn(w.n))
	}
	in.pending[sendKey{p, in.session[p-'a'], id}] = true
	w.oracle.sent(in, e)
	w.step(in, e)
}

var simPorts = []Port{PortB, PortH, PortH, PortH, 'd'}

// fault does one random thing.
func (w *world) fault() {
	n := w.nodes[w.rnd.Intn(w.n)]
	in := n.cur
	switch k := w.rnd.Intn(100); {
	case k < 48:
		for range 1 + w.rnd.Intn(6) {
			w.send(w.nodes[w.rnd.Intn(w.n)].cur, simPorts[w.rnd.Intn(len(simPorts))])
		}
	case k < 56:
		w.kill(in, true)
		w.after(w.between(time.Millisecond, 1500*time.Millisecond), func() { w.boot(n) })
	case k < 66:
		o := w.rnd.Intn(w.n)
		if o != n.id {
			w.unlink(n.id, o, 0, 50*time.Millisecond)
		}
	case k < 72:
		w.partition()
	case k < 75:
		w.darken(n.id, w.rnd.Intn(w.n), w.rnd.Intn(2) == 0)
	case k < 77:
		w.heal()
	case k < 84:
		if in.alive && w.now >= in.paused {
			d := w.between(10*time.Millisecond, 900*time.Millisecond)
			in.paused = w.now.Add(d)
			if d > 600*time.Millisecond {
				w.after(600*time.Millisecond, func() {
					if !in.alive || w.now >= in.paused {
						return
					}
					for o := range w.n {
						if o != n.id {
							w.unlink(n.id, o, 0, 50*time.Millisecond)
						}
					}
				})
			}
		}
	case k < 88:
		w.step(in, Protection{Resources: uint32(w.rnd.Intn(2))})
	case k < 90:
		w.step(in, Leave{Force: w.rnd.Intn(2) == 0})
		w.after(w.between(time.Millisecond, 800*time.Millisecond), func() { w.boot(n) })
	case k < 94:
		p := simPorts[w.rnd.Intn(len(simPorts))]
		if in.reg[p-'a'] {
			w.unregister(in, p)
		}
		w.after(w.between(0, 500*time.Millisecond), func() { w.register(in, p) })
	case k < 96:
		w.step(in, PeerJeopardy{Node: NodeID(w.rnd.Intn(w.n)), On: w.rnd.Intn(2) == 0})
	case k < 97:
		w.step(in, FenceAnswer{View: in.core.view}) // says nothing
	case k < 98 && w.rnd.Intn(4) == 0:
		w.step(in, Seed{})
	}
}

func (w *world) partition() {
	groups := 2
	for _, n := range w.nodes {
		n.group = w.rnd.Intn(groups)
	}
	for a := range w.n {
		for b := a + 1; b < w.n; b++ {
			if w.nodes[a].group != w.nodes[b].group {
				w.unlink(a, b, 0, 100*time.Millisecond)
			}
		}
	}
}

// darken takes the connection of two systems away until the next heal, and no
// other: meshes that are not full. Over LLT perhaps one way only.
func (w *world) darken(a, b int, oneWay bool) {
	if a == b {
		return
	}
	p := w.pair(a, b)
	p.blocked = true
	p.dark = [2]bool{true, !oneWay}
	if !w.real {
		w.unlink(a, b, 0, 100*time.Millisecond)
	}
}

func (w *world) heal() {
	for _, n := range w.nodes {
		n.group = 0
	}
	for _, p := range w.pairs {
		p.blocked, p.dark = false, [2]bool{}
	}
	for a := range w.n {
		for b := a + 1; b < w.n; b++ {
			w.relink(a, b)
		}
	}
}

func (w *world) run(until vclock.Time) {
	for len(w.queue) > 0 && w.queue[0].at <= until && w.fatal == "" {
		e := heap.Pop(&w.queue).(simEvent)
		w.now = e.at
		e.do()
	}
	w.now = max(w.now, until)
}

// schedule is one whole run: start, faults, calm, liveness.
func (w *world) schedule() {
	for _, n := range w.nodes {
		w.after(w.between(0, 100*time.Millisecond), func() { w.boot(n) })
	}
	w.run(w.now.Add(300 * time.Millisecond))
	faults := 20 + w.rnd.Intn(60)
	for range faults {
		w.run(w.now.Add(w.between(0, 60*time.Millisecond)))
		if w.fatal != "" {
			return
		}
		w.fault()
	}
	w.run(w.now.Add(w.between(0, 500*time.Millisecond)))
	w.calm = true
	w.heal()
	end := w.now.Add(40 * time.Second)
	for w.now < end && w.fatal == "" {
		w.run(w.now.Add(50 * time.Millisecond))
		w.heal()
		for _, n := range w.nodes {
			if n.cur == nil || !n.cur.alive {
				w.boot(n)
			}
			for _, p := range []Port{PortB, PortH, 'd'} {
				if p != PortB || w.fenced {
					w.register(n.cur, p)
				}
			}
		}
		if w.converged() {
			w.run(w.now.Add(300 * time.Millisecond)) // what is on its way arrives
			if w.converged() {
				w.probe()
				return
			}
		}
	}
	if w.fatal == "" {
		w.fail("liveness: no common view %s after the last fault: %s", 40*time.Second, w.states())
	}
}

func (w *world) states() string {
	s := ""
	for _, n := range w.nodes {
		st := n.cur.core.Status()
		s += fmt.Sprintf("\n  %d.%x alive=%v %s view=%s log=%s %s gate=%s wait=%q", n.id, n.cur.inc, n.cur.alive, st.State,
			st.View, n.cur.core.view, list(st.Systems), st.Gate, st.WaitingFor)
	}
	return s
}

func (w *world) converged() bool {
	v := w.nodes[0].cur.core.rep.view
	for _, n := range w.nodes {
		c := n.cur.core
		if !n.cur.alive || w.now < n.cur.paused || c.rep.view != v || len(c.rep.systems) != w.n || c.doubt() || c.Status().Gate.Held {
			return false
		}
		if !n.cur.joined[PortH-'a'] || !n.cur.joined['d'-'a'] {
			return false
		}
	}
	return !v.IsZero()
}

// probe: with everything whole, what everyone says must reach everyone, and
// every Send must have had its outcome.
func (w *world) probe() {
	type want struct {
		in *inst
		id uint64
	}
	var wants []want
	for _, n := range w.nodes {
		for _, p := range []Port{PortH, 'd'} {
			id := n.cur.nextID
			n.cur.nextID++
			in := n.cur
			in.pending[sendKey{p, in.session[p-'a'], id}] = true
			e := Send{Port: p, ID: id, Payloads: [][]byte{fmt.Appendf(nil, "%d.%x.%s.%d.%d", n.id, in.inc, p, id, 0)}}
			w.oracle.sent(in, e)
			w.step(in, e)
			wants = append(wants, want{in, id})
		}
	}
	w.run(w.now.Add(2 * time.Second))
	if w.fatal != "" {
		return
	}
	for _, n := range w.nodes {
		for k := range n.cur.pending {
			if k.session == n.cur.session[k.port-'a'] {
				w.fail("liveness: node %d has no outcome for its send %d on port %s", n.id, k.id, k.port)
				return
			}
		}
		for _, x := range wants {
			for _, p := range []Port{PortH, 'd'} {
				key := fmt.Sprintf("%d.%x.%s.%d.0", x.in.node.id, x.in.inc, p, x.id)
				if w.oracle.known[key] && !w.oracle.got[gotKey{n.cur.idx, key}] {
					w.fail("liveness: node %d did not get %s", n.id, key)
					return
				}
			}
		}
		if l := n.cur.core.log; len(l.entries) > 200 {
			w.fail("memory: node %d keeps %d places when idle", n.id, len(l.entries))
		}
	}
}
