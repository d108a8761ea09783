package gab

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// mutation is a deliberate fault for the randomised harness, which must catch
// each of them. The zero value is the correct protocol.
type mutation uint8

const (
	mutNone mutation = iota
	mutDeliverEarly
	mutForgetFlush
	mutFlushBeforeFence
	mutReuseGeneration
	mutDropTail
	mutTwoViews
)

// Core is one incarnation of one system's gab. Not safe for concurrent use.
type Core struct {
	cfg      Config
	now      vclock.Time
	out      []Effect
	started  bool
	finished bool
	lastStep vclock.Time

	peers [MaxNodes]peer

	// The total order as this system holds it. view and members are those of
	// the last view entry in the log; zero while fresh.
	rep     replica
	log     orderLog
	view    ViewID
	members []Member
	format  uint8 // of the messages of this view, 0 while fresh

	ord    ordering
	change change
	mesh   mesh
	ports  [26]localPort
	held   []delivery // of port h: waits for the gate
	hold   bool       // port h: flush-recovered places come now (R5)

	ops      []operation // local operations not yet applied, in order
	sendno   uint64
	inFlight int // sent in this view, not yet seen in the order

	// Counters (R18).
	seen      uint64 // highest counter of any attempt seen
	reserved  uint64 // on disk
	persistID uint64
	persistTo uint64 // being written, 0 if none
	persistAt vclock.Time

	leaseAt       vclock.Time
	absentSince   vclock.Time // of the local fencing client, Never if present
	protected     bool
	leaving       bool
	seedRequested bool
	lastGate      Gate
	lastStatus    message
	statusSent    bool
}

// peer is one other node id.
type peer struct {
	up       bool
	conn     uint64
	jeopardy bool
	disk     bool     // alive by what a disk region says (R16)
	status   *message // last STATUS on this connection
	suspect  vclock.Time
	formats  Formats
	strange  bool             // noted that its formats do not fit
	noted    ViewID           // foreign view that was noted
	told     *[MaxNodes]heard // facts that it was told, nil before the first
	unfit    bool             // noted that its fencing mode differs
}

// New checks cfg and returns a core that knows no peer yet.
func New(cfg Config) (*Core, error) {
	switch {
	case cfg.Node >= MaxNodes:
		return nil, fmt.Errorf("gab core: node id %d: not in 0 to %d", cfg.Node, MaxNodes-1)
	case cfg.Incarnation == 0:
		return nil, fmt.Errorf("gab core: incarnation 0: must be another number after every start")
	case cfg.Lineage == 0:
		return nil, fmt.Errorf("gab core: lineage 0: must be random")
	case cfg.SeedCount < 0 || cfg.SeedCount > MaxNodes:
		return nil, fmt.Errorf("gab core: seed count %d: not in 0 to %d", cfg.SeedCount, MaxNodes)
	}
	def(&cfg.Stable, DefaultStable)
	def(&cfg.PeerInact, DefaultPeerInact)
	def(&cfg.Lease, cfg.PeerInact/2)
	def(&cfg.AckTimeout, cfg.PeerInact)
	def(&cfg.FencingAbsence, DefaultFencingAbsence)
	def(&cfg.WindowMessages, DefaultWindowMessages)
	def(&cfg.WindowBytes, DefaultWindowBytes)
	if cfg.Stable < 0 || cfg.Lease < 4 || cfg.AckTimeout <= 0 || cfg.FencingAbsence < 0 || cfg.WindowMessages < 1 ||
		cfg.WindowBytes < MaxSendBytes {
		return nil, fmt.Errorf("gab core: timers must be positive and the window at least one Send")
	}
	if cfg.Formats == (Formats{}) {
		cfg.Formats = SpokenFormats
	}
	c := &Core{cfg: cfg, seen: cfg.PersistedCounter, reserved: cfg.PersistedCounter}
	c.rep.unfenced = cfg.FencingDisabled
	c.persistAt, c.leaseAt, c.absentSince = vclock.Never, vclock.Never, vclock.Never
	c.change.reset()
	c.ord.waitingSince, c.ord.announceAt = vclock.Never, vclock.Never
	c.mesh.dirty, c.mesh.again = true, vclock.Never
	return c, nil
}

// def sets a zero value to its default.
func def[T vclock.Duration | int](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// Step is the only way in. It never blocks, reads no clock and keeps no
// reference to ev. Equal state and equal input give equal effects.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	if c.finished {
		return out
	}
	c.out, c.now = out, now
	if c.started && c.seeded() && now.Sub(c.lastStep) > c.cfg.Lease {
		c.standDown("paused", fmt.Sprintf("nothing done for %s, longer than the lease", now.Sub(c.lastStep)), false)
	}
	c.started = true
	c.lastStep = now
	if !c.finished {
		c.handle(ev)
		c.pump()
		c.evaluate()
		c.pump()
		if c.refresh() {
			c.evaluate()
			c.pump()
		}
		c.standing()
		c.keepReserve()
		c.announce()
	}
	out, c.out = c.out, nil
	return out
}

func (c *Core) handle(ev Event) {
	switch e := ev.(type) {
	case Wake:
	case PeerUp:
		c.peerUp(e)
	case PeerFormats:
		if e.Node < MaxNodes && c.peers[e.Node].up && c.peers[e.Node].conn == e.Conn {
			c.peers[e.Node].formats = formatsOf(e.Formats)
			c.mesh.dirty, c.mesh.news = true, true // facts that waited for this word
		}
	case PeerDown:
		c.peerDown(e)
	case PeerJeopardy:
		c.peerJeopardy(e)
	case PeerDisk:
		c.peerDisk(e)
	case Control:
		if c.seeded() && len(e.Payload) <= maxControl && c.says("control", formatCompact) {
			c.enqueue(operation{entry: entry{kind: entryControl, payloads: [][]byte{e.Payload}}})
		}
	case MsgIn:
		c.receive(e)
	case Register:
		c.register(e)
	case Unregister:
		c.unregister(e.Port)
	case Send:
		c.send(e)
	case FenceAnswer:
		c.fenceAnswer(e)
	case Protection:
		c.protection(e)
	case Seed:
		c.seedRequested, c.mesh.dirty = true, true
	case SeedCount:
		if e.Systems >= 0 && e.Systems <= MaxNodes {
			c.cfg.SeedCount, c.mesh.dirty = e.Systems, true
		}
	case Leave:
		c.leave(e)
	case CounterPersisted:
		c.counterPersisted(e)
	case Paused:
		if c.seeded() && e.Gap > c.cfg.Lease {
			c.standDown("paused", fmt.Sprintf("the process stood still for %s, longer than the lease", e.Gap), false)
		}
	}
}

func (c *Core) emit(e Effect) { c.out = append(c.out, e) }

func (c *Core) note(code, format string, args ...any) {
	c.emit(Note{Code: code, Attrs: fmt.Sprintf(format, args...)})
}

func (c *Core) self() Member { return Member{Node: c.cfg.Node, Incarnation: c.cfg.Incarnation} }

// seeded reports whether this system is a member of its log's last view.
func (c *Core) seeded() bool { return !c.view.IsZero() }

func (c *Core) sendTo(n NodeID, m *message) {
	if p := &c.peers[n]; p.up {
		f := max(c.format, formatFirst)
		switch m.kind {
		case kindSend, kindOrdered, kindAck: // all members of the view speak its format
		default:
			// What is in the order was said in a format that whoever gets it speaks.
			f = max(c.cfg.Formats.common(p.formats), c.cfg.Formats.Lowest, needed(m.entries))
		}
		c.emit(TransportSend{To: n, Conn: p.conn, Msg: m.encode(f)})
	}
}

func contains(ms []Member, m Member) bool {
	return slices.ContainsFunc(ms, func(o Member) bool { return o.Node == m.Node && o.Incarnation == m.Incarnation })
}

func memberOf(ms []Member, n NodeID) (Member, bool) {
	for _, m := range ms {
		if m.Node == n {
			return m, true
		}
	}
	return Member{}, false
}

// less orders the views of one lineage.
func less(a, b ViewID) bool {
	if a.Counter != b.Counter {
		return a.Counter < b.Counter
	}
	return a.Coordinator < b.Coordinator
}

func (c *Core) peerUp(e PeerUp) {
	if e.Node >= MaxNodes || e.Node == c.cfg.Node {
		return
	}
	p := &c.peers[e.Node]
	*p = peer{up: true, conn: e.Conn, jeopardy: p.jeopardy, disk: p.disk, formats: formatsOf(e.Formats)}
	c.mesh.dirty = true
	c.refresh()
	if c.finished {
		return
	}
	c.tellFacts(e.Node) // before STATUS: who knows a system knows whom it reaches
	m := c.statusMessage()
	c.sendTo(e.Node, &m)
	c.change.disturb(c.now, c.cfg.Stable)
}

func (c *Core) peerDown(e PeerDown) {
	if e.Node >= MaxNodes || !c.peers[e.Node].up || c.peers[e.Node].conn != e.Conn {
		return
	}
	c.peers[e.Node] = peer{jeopardy: c.peers[e.Node].jeopardy, disk: c.peers[e.Node].disk}
	c.mesh.dirty = true
	c.change.disturb(c.now, c.cfg.Stable)
}

func (c *Core) peerJeopardy(e PeerJeopardy) {
	if e.Node >= MaxNodes || e.Node == c.cfg.Node || c.peers[e.Node].jeopardy == e.On {
		return
	}
	c.peers[e.Node].jeopardy = e.On
	if c.seeded() {
		c.enqueue(operation{entry: entry{kind: entryJeopardy, node: e.Node, on: e.On}})
	}
}

// peerDisk takes what a disk region says about a peer. Whoever departs while a
// member takes it as alive is ALIVE_UNREACHABLE to all of them (R16).
func (c *Core) peerDisk(e PeerDisk) {
	if e.Node >= MaxNodes || e.Node == c.cfg.Node || c.peers[e.Node].disk == e.Seen {
		return
	}
	c.peers[e.Node].disk = e.Seen
	if c.seeded() && c.says("disk", formatCompact) {
		c.enqueue(operation{entry: entry{kind: entryDisk, node: e.Node, on: e.Seen}})
	}
}

// unreachable finds a system that lives, as a disk region says, and that no
// link reaches.
func (c *Core) unreachable() (NodeID, bool) {
	for n := range c.peers {
		if p := &c.peers[n]; p.disk && !p.up {
			return NodeID(n), true
		}
	}
	return 0, false
}

func (c *Core) receive(e MsgIn) {
	if e.From >= MaxNodes || !c.peers[e.From].up || c.peers[e.From].conn != e.Conn {
		return
	}
	m, err := decode(e.Msg, c.cfg.Formats)
	if err == errFormat {
		c.speaks(e.From)
		return
	}
	if err != nil {
		c.note("malformed", "from=%d bytes=%d", e.From, len(e.Msg))
		return
	}
	switch m.kind {
	case kindStatus:
		c.onStatus(e.From, &m)
	case kindNudge:
		c.onNudge(e.From, &m)
	case kindSend:
		c.onSend(e.From, &m)
	case kindOrdered:
		c.onOrdered(e.From, &m)
	case kindAck:
		c.onAck(e.From, &m)
	case kindPropose:
		c.onPropose(e.From, &m)
	case kindRefuse:
		c.onRefuse(e.From, &m)
	case kindState:
		c.onState(e.From, &m)
	case kindFlush:
		c.onFlush(e.From, &m)
	case kindFlushed:
		c.onFlushed(e.From, &m)
	case kindInstall:
		c.onInstall(e.From, &m)
	case kindReach:
		c.onReach(e.From, &m)
	case kindEvicted:
		c.considerView(e.From, m.view, m.members, false, true)
	}
}

// statusMessage is what peers must know of this system.
func (c *Core) statusMessage() message {
	return message{kind: kindStatus, inc: c.cfg.Incarnation, lineage: c.view.Lineage, view: c.view, members: c.members,
		seen: c.seen, reserved: c.reserved, gateHeld: c.rep.gate.held, fresh: !c.seeded(),
		canSeed: c.cfg.SeedCount > 0 || c.seedRequested, unfenced: c.cfg.FencingDisabled}
}

// announce tells peers when what they must know has changed, and the shell
// when the gate has.
func (c *Core) announce() {
	if c.finished {
		return
	}
	if c.mesh.news {
		c.mesh.news = false
		for n := NodeID(0); n < MaxNodes; n++ {
			c.tellFacts(n)
		}
	}
	m := c.statusMessage()
	l := &c.lastStatus
	if !c.statusSent || m.view != l.view || m.reserved != l.reserved || m.gateHeld != l.gateHeld || m.canSeed != l.canSeed {
		c.lastStatus, c.statusSent = m, true
		for n := NodeID(0); n < MaxNodes; n++ {
			c.sendTo(n, &m)
		}
		for n := range c.peers {
			if st := c.peers[n].status; st != nil && !st.fresh {
				c.considerView(NodeID(n), st.view, st.members, st.gateHeld, false)
			}
		}
	}
	if g := c.gateNow(); g.Held != c.lastGate.Held || g.View != c.lastGate.View || g.Reason != c.lastGate.Reason {
		c.lastGate = g
		c.emit(g)
	}
}

// Deadline is when Step must next be called with Wake, if nothing comes first.
func (c *Core) Deadline() (vclock.Time, bool) {
	if c.finished {
		return vclock.Never, false
	}
	t := c.change.deadline()
	for _, u := range [...]vclock.Time{c.leaseAt, c.persistAt, c.absentDeadline(), c.ackDeadline(), c.announceDeadline(), c.mesh.again} {
		t = vclock.Earlier(t, u)
	}
	return t, t != vclock.Never
}

// Hash is over the replicated state and the place in the order: equal on two
// members that have applied the same (I2).
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	h.Write(c.rep.snapshot())
	return h.Sum64()
}

// keepReserve keeps counters well beyond every counter in sight on disk (R18),
// so that no write lies on the way of a view change.
func (c *Core) keepReserve() {
	if c.finished || c.persistTo != 0 || c.now < c.persistAt && c.persistAt != vclock.Never {
		return
	}
	c.persistAt = vclock.Never
	n := max(c.seen, c.change.wants)
	for i := range c.peers {
		if st := c.peers[i].status; st != nil {
			n = max(n, st.seen)
		}
	}
	if c.reserved < n+counterReserve/2 {
		c.persistID++
		c.persistTo = n + counterReserve
		c.emit(PersistCounter{ID: c.persistID, Counter: c.persistTo})
	}
}

func (c *Core) counterPersisted(e CounterPersisted) {
	if c.persistTo == 0 || e.ID != c.persistID {
		return
	}
	if !e.OK {
		c.persistTo, c.persistAt = 0, c.now.Add(c.cfg.PeerInact)
		c.note("counter-not-persisted", "counter cannot be written; joining and view changes wait for it")
		return
	}
	c.reserved, c.persistTo = max(c.reserved, c.persistTo), 0
	c.resumeProposal()
}

// Status tells what this core does now.
func (c *Core) Status() Status {
	s := Status{Seeded: c.seeded(), View: c.rep.view, Systems: c.rep.members(), Gate: c.lastGate,
		Protected: c.protected, Leaving: c.leaving, Format: int(c.format)}
	switch {
	case c.finished:
		s.State = StateLeft
	case !c.seeded() && c.change.following:
		s.State = StateJoining
	case !c.seeded():
		s.State = StateUnseeded
		s.WaitingFor = c.unseededReason()
	case !contains(s.Systems, c.self()):
		s.State = StateJoining
	case c.doubt():
		s.State = StateInDoubt
		s.WaitingFor = "view change"
	default:
		s.State = StateInView
	}
	if s.Gate.Held {
		s.WaitingFor = s.Gate.Reason
	}
	return s
}

func (c *Core) unseededReason() string {
	for i := range c.peers {
		if st := c.peers[i].status; c.peers[i].up && st != nil && !st.fresh {
			return fmt.Sprintf("system %d to admit this system%s", i, c.unreached(mask(st.members)))
		}
	}
	near := 1 + bits.OnesCount64(c.neighbours(c.cfg.Node))
	for n := range c.mesh.facts {
		if f := &c.mesh.facts[n]; c.mesh.component&(1<<n) != 0 && !f.view.IsZero() {
			return fmt.Sprintf("system %d to admit this system%s", n, c.unreached(f.members))
		}
	}
	if n, ok := c.unreachable(); ok {
		return fmt.Sprintf("system %d, which is alive by its disk heartbeat and which no link reaches; mend the links (ha link doctor); or, if no part of the cluster runs, seed by hand: gabconfig -x", n)
	}
	if c.cfg.SeedCount == 0 {
		return "a seeded cluster to join; or seed by hand: gabconfig -x"
	}
	text := fmt.Sprintf("%d systems to be seen, now %d", c.cfg.SeedCount, near)
	if near >= c.cfg.SeedCount {
		text += ", not all of whom see each other"
	}
	return text + "; or seed by hand: gabconfig -x"
}

// unreached says which members of a view this system does not reach, so that
// they cannot admit it.
func (c *Core) unreached(members uint64) string {
	missing := members &^ c.neighbours(c.cfg.Node) &^ nodeBit(c.cfg.Node)
	if missing == 0 {
		return ""
	}
	return ", which no link joins with " + nodeList(missing) + ": every member must be in reach; see lltstat -nvv"
}

// Ports tells the open ports by letter, a first.
func (c *Core) Ports() []PortStatus {
	if c.rep.view.IsZero() {
		return nil
	}
	systems := c.rep.members()
	all := []PortStatus{{Port: PortA, View: c.rep.view, Members: systems}}
	for n := range c.peers { // R16: out of the view, listed as visible
		if _, in := memberOf(systems, NodeID(n)); !in && c.peers[n].disk && !c.peers[n].up {
			all[0].Visible = append(all[0].Visible, Member{Node: NodeID(n)})
		}
	}
	for i := range c.rep.ports {
		p := &c.rep.ports[i]
		if p.members == 0 && !c.ports[i].open {
			continue
		}
		ps := PortStatus{Port: Port('a' + i), Generation: p.generation, View: p.changed, Client: c.ports[i].client, Seq: p.seq}
		for _, m := range systems {
			if p.members&nodeBit(m.Node) != 0 {
				ps.Members = append(ps.Members, m)
			} else {
				ps.Visible = append(ps.Visible, m)
			}
		}
		all = append(all, ps)
	}
	return all
}
