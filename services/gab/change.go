package gab

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// flushBytes is about how much one STATE or FLUSH part carries.
const flushBytes = 1 << 20

// change is the part of this system in a change of the view.
type change struct {
	at, first vclock.Time // when to propose; when the wish began
	wants     uint64      // counter that waits for PersistCounter
	deferred  *deferred   // proposal that waits for PersistCounter

	// The highest attempt that this system took part in.
	attempt     uint64
	coordinator NodeID

	// Following somebody's attempt.
	following bool
	conn      uint64
	until     vclock.Time
	staged    staged

	// Telling the leader.
	leader     NodeID
	nudging    bool
	nudgeAt    vclock.Time
	nudgeSince vclock.Time

	lead *attempt // coordinating
}

type deferred struct {
	from NodeID
	conn uint64
	msg  message
}

// staged is a FLUSH that is not yet complete, or a joiner's not yet installed.
type staged struct {
	state   []byte
	entries []entry
	first   uint64
	ready   bool // a joiner holds all
}

type phase uint8

const (
	phaseState phase = iota + 1
	phaseFlush
)

// attempt is one attempt that this system coordinates.
type attempt struct {
	n        uint64
	phase    phase
	deadline vclock.Time
	members  []Member
	conns    [MaxNodes]uint64
	states   [MaxNodes]*message
	waiting  uint64 // mask of nodes that owe an answer
	lineage  uint64
	stable   uint64
	final    uint64
}

func (ch *change) reset() {
	*ch = change{attempt: ch.attempt, coordinator: ch.coordinator, at: vclock.Never, first: vclock.Never,
		until: vclock.Never, nudgeAt: vclock.Never}
}

// disturb restarts the quiet time, within a bound.
func (ch *change) disturb(now vclock.Time, stable vclock.Duration) {
	if ch.at != vclock.Never {
		ch.at = vclock.Earlier(now.Add(stable), ch.first.Add(10*stable))
	}
}

func (ch *change) wish(now vclock.Time, after vclock.Duration) {
	if ch.at == vclock.Never {
		ch.at, ch.first = now.Add(after), now
	}
}

func (ch *change) drop() { ch.at, ch.first = vclock.Never, vclock.Never }

func (ch *change) deadline() vclock.Time {
	t := vclock.Earlier(ch.at, ch.nudgeAt)
	if ch.following {
		t = vclock.Earlier(t, ch.until)
	}
	if ch.lead != nil {
		t = vclock.Earlier(t, ch.lead.deadline)
	}
	return t
}

// evaluate decides what the membership needs now.
func (c *Core) evaluate() {
	if c.finished {
		return
	}
	c.checkAcks()
	c.checkLead()
	c.checkFollow()
	c.refresh()
	if !c.finished && c.change.lead == nil && !c.change.following {
		c.consider()
	}
}

func (c *Core) consider() {
	ch := &c.change
	want, quick := c.wantsChange()
	if !want {
		ch.drop()
		ch.nudging, ch.nudgeAt = false, vclock.Never
		return
	}
	lead := c.leader()
	if lead != c.cfg.Node && c.cfg.mutation != mutTwoViews {
		ch.drop()
		c.nudge(lead)
		return
	}
	ch.nudging, ch.nudgeAt = false, vclock.Never
	after := c.cfg.Stable
	if quick {
		after = 0
	}
	if ch.wants == 0 {
		ch.wish(c.now, after)
	}
	if quick {
		ch.at = vclock.Earlier(ch.at, c.now)
	}
	if c.now >= ch.at {
		c.propose()
	}
}

// wantsChange reports whether the view must change, and whether at once, as
// nobody has to be waited for.
func (c *Core) wantsChange() (want, quick bool) {
	if !c.seeded() {
		return c.maySeed(), false
	}
	if c.leader() != c.cfg.Node {
		return c.doubt(), false
	}
	for _, m := range c.members {
		if s := c.rep.system(m.Node); s != nil && s.leaving && s.Incarnation == m.Incarnation {
			return true, true
		}
	}
	if c.doubt() {
		return true, false
	}
	return c.admitted() != 0, false
}

// joiner: a fresh system that is ready to be admitted.
func (c *Core) joiner(n NodeID) bool {
	p := &c.peers[n]
	if !p.up || p.status == nil || !p.status.fresh || p.suspect > c.now || !c.speaks(n) {
		return false
	}
	if p.status.unfenced != c.cfg.FencingDisabled {
		if !p.unfit {
			p.unfit = true
			c.note("fencing-mode-differs", "node=%d: not admitted, its fencing mode disabled=%v, here %v", n, p.status.unfenced, c.cfg.FencingDisabled)
		}
		return false
	}
	if !c.seeded() {
		return true
	}
	// While the last view has not come about, nobody new: a side that failing
	// changes eat up must not live on by those who come new.
	settled := c.log.lastView() <= c.rep.pos || contains(c.members, Member{Node: n, Incarnation: p.status.inc})
	return settled && p.status.reserved > c.seen && !c.outdated(n)
}

// maySeed: no membership exists as far as seen, and the count is reached or an
// operator vouched (design 3.7). The lowest system that can seed does it.
func (c *Core) maySeed() bool {
	for i := range c.peers {
		if st := c.peers[i].status; c.peers[i].up && (st == nil || !st.fresh) {
			return false // a cluster to join, or one that has not said
		}
	}
	for n := range c.mesh.facts {
		if c.mesh.component&(1<<n) != 0 && !c.mesh.facts[n].view.IsZero() {
			return false // a cluster that others here are about to join
		}
	}
	if c.mesh.target&nodeBit(c.cfg.Node) == 0 {
		return false
	}
	if c.seedRequested {
		return true
	}
	if _, ok := c.unreachable(); ok {
		return false // R16: it may be in a membership that cannot be seen
	}
	return c.cfg.SeedCount > 0 && bits.OnesCount64(c.mesh.target) >= c.cfg.SeedCount
}

// leader is whom this system expects to lead the change: the lowest of those
// who shall go on together; of fresh ones, the lowest that may seed. Somebody
// who must be admitted never leads the change that admits it.
func (c *Core) leader() NodeID {
	if c.seeded() {
		return NodeID(bits.TrailingZeros64(c.mesh.target))
	}
	for n := NodeID(0); n < MaxNodes && !c.seedRequested; n++ {
		if c.mesh.target&nodeBit(n) != 0 && c.mesh.facts[n].canSeed {
			return n
		}
	}
	return c.cfg.Node
}

// nudge tells the leader that this system is in doubt; a leader that does
// nothing about it for long is suspected.
func (c *Core) nudge(lead NodeID) {
	ch := &c.change
	if p := &c.peers[lead]; !c.seeded() || !c.doubt() || !p.up || p.suspect > c.now {
		ch.nudging, ch.nudgeAt = false, vclock.Never
		return
	}
	if !ch.nudging || ch.leader != lead {
		ch.nudging, ch.leader, ch.nudgeAt, ch.nudgeSince = true, lead, c.now.Add(c.cfg.Stable), c.now
	}
	if c.now < ch.nudgeAt {
		return
	}
	if c.now >= ch.nudgeSince.Add(5*c.cfg.AckTimeout) {
		c.suspect(lead, "leads no view change")
		ch.nudging, ch.nudgeAt = false, c.now
		return
	}
	ch.nudgeAt = c.now.Add(c.cfg.AckTimeout / 2)
	c.sendTo(lead, &message{kind: kindNudge, view: c.view})
}

func (c *Core) onNudge(from NodeID, m *message) {
	if !c.seeded() || c.peers[from].status == nil {
		return
	}
	who := Member{Node: from, Incarnation: c.peers[from].status.inc}
	switch {
	case m.view.Lineage != c.view.Lineage:
	case contains(c.members, who):
		c.ord.forced = true
	case less(m.view, c.view):
		c.evict(from)
	}
}

// evict tells a peer that this system's view is without it.
func (c *Core) evict(n NodeID) {
	c.sendTo(n, &message{kind: kindEvicted, view: c.view, members: c.members})
}

func (c *Core) onStatus(from NodeID, m *message) {
	p := &c.peers[from]
	p.status = m
	c.assume(from, m)
	c.mesh.dirty = true
	if !m.fresh {
		c.considerView(from, m.view, m.members, m.gateHeld, false)
	}
}

// propose begins an attempt of this system (phase 1).
func (c *Core) propose() {
	ch := &c.change
	a := &attempt{phase: phaseState, members: []Member{c.self()}, lineage: c.view.Lineage,
		deadline: c.now.Add(c.cfg.AckTimeout)}
	a.n = c.seen
	if !c.seeded() {
		a.lineage = c.cfg.Lineage
	}
	in := c.mesh.target | c.admitted()
	for n := NodeID(0); n < MaxNodes; n++ {
		p := &c.peers[n]
		if n == c.cfg.Node || in&nodeBit(n) == 0 || !p.up || p.status == nil || p.suspect > c.now {
			continue
		}
		m := Member{Node: n, Incarnation: p.status.inc}
		s := c.rep.system(n)
		leaving := s != nil && s.leaving && s.Incarnation == m.Incarnation
		survivor := c.seeded() && !p.status.fresh && p.status.lineage == c.view.Lineage && !leaving &&
			(contains(c.members, m) || contains(p.status.members, c.self()))
		if survivor || c.joiner(n) {
			a.members = append(a.members, m)
			a.conns[n] = p.conn
			a.waiting |= nodeBit(n)
			a.n = max(a.n, p.status.seen)
		}
	}
	a.n++
	if out := c.mesh.component & mask(c.members) &^ mask(a.members); out != 0 {
		c.note("mesh-broken", "members=%s left-out=%s", nodeList(mask(a.members)), nodeList(out))
	}
	slices.SortFunc(a.members, func(x, y Member) int { return int(x.Node) - int(y.Node) })
	ch.drop()
	if c.reserved < a.n {
		ch.wants = a.n // goes on with CounterPersisted
		return
	}
	ch.wants = 0
	c.accept(a.n, c.cfg.Node)
	ch.lead = a
	msg := message{kind: kindPropose, attempt: a.n, lineage: a.lineage, members: a.members, view: c.view,
		length: c.log.length(), applied: c.rep.pos}
	for _, m := range a.members {
		c.sendTo(m.Node, &msg)
	}
	a.states[c.cfg.Node] = &message{kind: kindState, fresh: !c.seeded(), view: c.view, members: c.members,
		length: c.log.length(), applied: c.rep.pos}
	c.collected()
}

// resumeProposal goes on with what waited for PersistCounter.
func (c *Core) resumeProposal() {
	ch := &c.change
	if d := ch.deferred; d != nil {
		ch.deferred = nil
		if p := &c.peers[d.from]; p.up && p.conn == d.conn {
			c.onPropose(d.from, &d.msg)
		}
	}
	if ch.wants <= c.reserved {
		ch.wants = 0
	}
}

// accept freezes this system for an attempt: from here on the order of the old
// view goes on nowhere but by the flush (R5).
func (c *Core) accept(n uint64, coordinator NodeID) {
	ch := &c.change
	ch.lead, ch.following, ch.staged = nil, false, staged{}
	ch.attempt, ch.coordinator = n, coordinator
	ch.nudging, ch.nudgeAt = false, vclock.Never
	c.seen = max(c.seen, n)
	if c.cfg.mutation != mutTwoViews || !c.ord.installed {
		c.ord.installed = false
	}
	c.ord.inbox, c.ord.batches = nil, nil
}

func (c *Core) refuse(to NodeID, m *message, leader NodeID) {
	c.sendTo(to, &message{kind: kindRefuse, attempt: m.attempt, seen: c.seen, leader: leader})
}

// onPropose answers an attempt with what this system holds, or refuses it. A
// higher attempt always wins over a lower one (R18).
func (c *Core) onPropose(from NodeID, m *message) {
	ch := &c.change
	st := c.peers[from].status
	if st == nil || !contains(m.members, c.self()) || !contains(m.members, Member{Node: from, Incarnation: st.inc}) {
		return
	}
	mutant := c.cfg.mutation == mutTwoViews
	stale := m.attempt < ch.attempt || (m.attempt == ch.attempt && from <= ch.coordinator)
	if (stale || m.attempt <= c.cfg.PersistedCounter) && !mutant {
		c.refuse(from, m, c.cfg.Node)
		return
	}
	if c.seeded() {
		coordinator := Member{Node: from, Incarnation: st.inc}
		if m.lineage != c.view.Lineage {
			c.refuse(from, m, c.cfg.Node)
			return
		}
		if less(m.view, c.view) && !contains(c.members, coordinator) {
			c.evict(from)
			return
		}
		if lead := c.leader(); !mutant && from > lead {
			c.refuse(from, m, lead)
			return
		}
		if less(m.view, c.view) && m.applied < c.log.base {
			c.note("state-refused", "from=%d applied=%d kept-after=%d", from, m.applied, c.log.base)
			return
		}
	}
	if c.reserved < m.attempt {
		ch.deferred = &deferred{from, c.peers[from].conn, *m}
		c.seen = max(c.seen, m.attempt)
		return
	}
	c.accept(m.attempt, from)
	ch.following, ch.conn = true, c.peers[from].conn
	ch.until = c.now.Add(3 * c.cfg.AckTimeout)
	ch.drop()
	c.sendState(from, m)
}

// sendState tells what this system holds, with the places that the coordinator
// does not have.
func (c *Core) sendState(to NodeID, m *message) {
	after := c.log.length()
	if c.seeded() {
		switch {
		case m.view == c.view:
			after = m.length
		case less(m.view, c.view):
			after = m.applied
		}
	}
	s := message{kind: kindState, attempt: m.attempt, fresh: !c.seeded(), view: c.view, members: c.members,
		length: c.log.length(), applied: c.rep.pos}
	c.sendParts(to, s, after, c.log.between(after, c.log.length()))
}

// sendParts sends one STATE or FLUSH in parts of bounded size.
func (c *Core) sendParts(to NodeID, m message, after uint64, es []entry) {
	for {
		n, bytes := 0, 0
		for n < len(es) && (n == 0 || bytes+es[n].size() <= flushBytes) {
			bytes += es[n].size()
			n++
		}
		m.first, m.entries, m.more = after+1, es[:n], n < len(es)
		c.sendTo(to, &m)
		if !m.more {
			return
		}
		es, after, m.state = es[n:], after+uint64(n), nil
	}
}

func (c *Core) onRefuse(from NodeID, m *message) {
	ch := &c.change
	c.seen = max(c.seen, m.seen)
	if ch.lead == nil || m.attempt != ch.lead.n {
		return
	}
	ch.lead = nil
	after := c.cfg.Stable
	if m.leader != from && m.leader != c.cfg.Node {
		after = c.cfg.AckTimeout / 2 // somebody else leads: give it time
	}
	ch.wish(c.now, after)
}

func (c *Core) onState(from NodeID, m *message) {
	a := c.change.lead
	if a == nil || m.attempt != a.n || a.phase != phaseState || a.waiting&nodeBit(from) == 0 || c.peers[from].conn != a.conns[from] {
		return
	}
	if s := a.states[from]; s != nil {
		s.entries = append(s.entries, m.entries...)
	} else {
		a.states[from] = m
	}
	if m.more {
		return
	}
	a.waiting &^= nodeBit(from)
	c.collected()
}

// collected goes on to phase 2 when every member has told its state: the order
// is the longest prefix of the newest view that anybody here holds (R18).
func (c *Core) collected() {
	a := c.change.lead
	if a.waiting != 0 {
		return
	}
	base := a.states[c.cfg.Node]
	for _, m := range a.members {
		if s := a.states[m.Node]; !s.fresh && (base.fresh || less(base.view, s.view) || (base.view == s.view && s.length > base.length)) {
			base = s
		}
	}
	if !c.screen(a, base) {
		return
	}
	a.final, a.stable = base.length, 0
	for _, m := range a.members {
		if s := a.states[m.Node]; !s.fresh {
			a.stable = max(a.stable, s.applied)
		}
	}
	c.mutateFlush(a, base)
	if !base.fresh && !c.adopt(a, base) {
		return
	}
	c.flush(a, base)
}

// screen takes out of the attempt who is not in the newest view: it is evicted.
func (c *Core) screen(a *attempt, base *message) bool {
	if base.fresh {
		return true
	}
	if !contains(base.members, c.self()) && c.seeded() {
		c.standDown("evicted", fmt.Sprintf("view %s is without this system", base.view), false)
		return false
	}
	a.members = slices.DeleteFunc(a.members, func(m Member) bool {
		if a.states[m.Node].fresh || contains(base.members, m) {
			return false
		}
		c.sendTo(m.Node, &message{kind: kindEvicted, view: base.view, members: base.members})
		return true
	})
	return true
}

// adopt brings the coordinator's own log to the end of the flush.
func (c *Core) adopt(a *attempt, base *message) bool {
	own := a.states[c.cfg.Node]
	if base != own {
		if own.view != base.view {
			c.log.cut(c.rep.pos)
		}
		have := c.log.length()
		if len(base.entries) > 0 && base.first != have+1 || have+uint64(len(base.entries)) < a.final {
			c.note("flush-gap", "have=%d first=%d final=%d", have, base.first, a.final)
			c.change.lead = nil
			c.change.wish(c.now, c.cfg.AckTimeout)
			return false
		}
		c.log.add(base.entries...)
		c.relearnView()
	}
	if a.final < c.log.length() {
		c.log.cut(a.final) // mutants only
	}
	c.ord.stable = max(c.ord.stable, a.stable)
	c.advance(a.stable) // stable in the full old view: due before the change
	return !c.finished
}

// relearnView finds the last view of a log that changed.
func (c *Core) relearnView() {
	if p := c.log.lastView(); p > c.rep.pos {
		e := c.log.at(p)
		c.view, c.members, c.format = e.view, e.members, e.format
		return
	}
	c.view, c.members, c.format = c.rep.view, nil, c.rep.format
	for _, s := range c.rep.systems {
		c.members = append(c.members, s.Member)
	}
}

// flush sends every member what it lacks (phase 2). Nobody installs before
// all hold everything.
func (c *Core) flush(a *attempt, base *message) {
	a.phase, a.deadline = phaseFlush, c.now.Add(c.cfg.AckTimeout)
	for _, m := range a.members {
		s := a.states[m.Node]
		if m.Node == c.cfg.Node || (!s.fresh && s.view == base.view && s.length >= a.final) {
			continue
		}
		if c.cfg.mutation == mutForgetFlush && !s.fresh {
			continue
		}
		f := message{kind: kindFlush, attempt: a.n}
		after := s.length
		switch {
		case s.fresh:
			f.mode, f.state, after = flushSnapshot, c.rep.snapshot(), c.rep.pos
		case s.view != base.view:
			f.mode, after = flushReplace, s.applied
		default:
			f.mode = flushAppend
		}
		a.waiting |= nodeBit(m.Node)
		if s.fresh && needed(c.log.between(after, a.final)) > c.peers[m.Node].formats.Highest {
			c.note("format-differs", "node=%d: not admitted now, its build does not know what is in the order", m.Node)
			continue // the attempt times out; when the order is applied it goes on
		}
		if after < c.log.base { // cannot happen: nothing is trimmed that a member may need
			c.note("flush-gap", "node=%d applied=%d kept-after=%d", m.Node, after, c.log.base)
			continue // the attempt times out and goes on without it
		}
		c.sendParts(m.Node, f, after, c.log.between(after, a.final))
	}
	c.flushedAll()
}

func (c *Core) onFlush(from NodeID, m *message) {
	ch := &c.change
	if !ch.following || from != ch.coordinator || m.attempt != ch.attempt || c.peers[from].conn != ch.conn {
		return
	}
	ch.until = c.now.Add(3 * c.cfg.AckTimeout)
	st := &ch.staged
	if st.first == 0 {
		st.first, st.state = m.first, m.state
	}
	st.entries = append(st.entries, m.entries...)
	if m.more {
		return
	}
	switch m.mode {
	case flushAppend:
		if !c.seeded() || st.first != c.log.length()+1 {
			c.abandonFollow("flush does not fit")
			return
		}
		c.log.add(st.entries...)
	case flushReplace:
		if !c.seeded() || st.first != c.rep.pos+1 {
			c.abandonFollow("flush does not fit")
			return
		}
		c.log.cut(c.rep.pos)
		c.log.add(st.entries...)
	case flushSnapshot:
		if c.seeded() {
			c.abandonFollow("snapshot for a member")
			return
		}
		st.ready = true
	}
	if c.seeded() {
		c.relearnView()
		ch.staged = staged{}
	}
	c.sendTo(from, &message{kind: kindFlushed, attempt: m.attempt})
}

func (c *Core) abandonFollow(why string) {
	c.note("attempt-abandoned", "attempt=%d coordinator=%d reason=%q", c.change.attempt, c.change.coordinator, why)
	c.change.following, c.change.staged = false, staged{}
}

func (c *Core) onFlushed(from NodeID, m *message) {
	a := c.change.lead
	if a == nil || m.attempt != a.n || a.phase != phaseFlush || c.peers[from].conn != a.conns[from] {
		return
	}
	a.waiting &^= nodeBit(from)
	c.flushedAll()
}

// flushedAll installs the view when all hold the flush (phase 3). The view is
// the next place of the order; it counts when all its members hold it.
func (c *Core) flushedAll() {
	a := c.change.lead
	if a.waiting != 0 {
		return
	}
	id := ViewID{Lineage: a.lineage, Counter: a.n, Coordinator: c.cfg.Node, Incarnation: c.cfg.Incarnation}
	if c.cfg.mutation == mutReuseGeneration && c.seeded() {
		id.Counter = c.view.Counter
	}
	members := slices.Clone(a.members)
	e := entry{kind: entryView, from: c.cfg.Node, inc: c.cfg.Incarnation, view: id, members: members, stable: a.stable, format: c.viewFormat(members)}
	m := message{kind: kindInstall, attempt: a.n, first: a.final + 1, entries: []entry{e}}
	for _, to := range members {
		c.sendTo(to.Node, &m)
	}
	conns := a.conns
	c.change.lead = nil
	c.install(e, conns)
}

func (c *Core) onInstall(from NodeID, m *message) {
	ch := &c.change
	mutant := c.cfg.mutation == mutTwoViews
	e := m.entries[0]
	if !mutant && (!ch.following || from != ch.coordinator || m.attempt != ch.attempt) || c.peers[from].conn != ch.conn && !mutant ||
		e.view.Coordinator != from || !contains(e.members, c.self()) {
		return
	}
	if !c.seeded() && ch.staged.ready {
		rep, err := restore(ch.staged.state, c.cfg.FencingDisabled)
		if err != nil {
			c.abandonFollow("snapshot is malformed")
			return
		}
		c.rep = rep
		c.log = orderLog{base: rep.pos, entries: ch.staged.entries}
	}
	c.mutateInstall(m)
	if m.first != c.log.length()+1 {
		c.abandonFollow("installation does not fit")
		return
	}
	var conns [MaxNodes]uint64
	conns[from] = c.peers[from].conn
	c.install(e, conns)
	if !c.finished {
		c.acknowledge()
	}
}

// install makes the view entry the end of the log and this system a member of
// it. It is delivered when every member has done so.
func (c *Core) install(e entry, conns [MaxNodes]uint64) {
	first := !c.seeded()
	lost := slices.ContainsFunc(c.members, func(m Member) bool { return !contains(e.members, m) })
	c.log.add(e)
	c.view, c.members = e.view, e.members
	before := c.format
	c.format = e.format
	c.seen = max(c.seen, e.view.Counter)
	c.change.reset()
	stable := max(c.ord.stable, e.stable)
	c.ord = ordering{installed: true, conns: conns, stable: stable, announced: stable, announceAt: vclock.Never, waitingSince: c.now, trimmed: c.log.base}
	for _, m := range e.members {
		a := &c.ord.acks[m.Node]
		a.since = c.now
		if m.Node == c.cfg.Node {
			a.since = vclock.Never
		}
	}
	c.advance(stable)
	if c.finished {
		return
	}
	c.requeue(lost)
	c.formatChanged(before)
	if first {
		for n := range c.peers {
			if c.peers[n].jeopardy {
				c.enqueue(operation{entry: entry{kind: entryJeopardy, node: NodeID(n), on: true}})
			}
			if c.peers[n].disk && c.format >= formatCompact {
				c.enqueue(operation{entry: entry{kind: entryDisk, node: NodeID(n), on: true}})
			}
		}
	}
	if c.orderer() && len(e.members) > 1 {
		c.ord.batches = append(c.ord.batches, c.log.length())
	}
}

// requeue sends again what the flush did not bring into the order: it comes
// after a hole that nobody can fill (R18).
//
// A message sent again after a view that lost somebody may be with those who
// left, so it can no longer be told LOST.
func (c *Core) requeue(lost bool) {
	last := uint64(0)
	for p := c.rep.pos + 1; p <= c.log.length(); p++ {
		if e := c.log.at(p); e.kind != entryView && e.from == c.cfg.Node && e.inc == c.cfg.Incarnation {
			last = max(last, e.sendno)
		}
	}
	c.inFlight = 0
	for i := range c.ops {
		op := &c.ops[i]
		sent := op.queued
		op.queued = op.sendno <= last
		op.doubted = op.doubted || (lost && sent && !op.queued)
	}
}

// applied is called when a view has become stable and was applied.
func (c *Core) applied(e entry) {
	if !contains(e.members, c.self()) {
		return
	}
	c.note("view", "id=%s members=%s", e.view, list(e.members))
	if c.rep.orphaned() && c.view == e.view {
		c.announceStable() // the others of this side shall learn it too
		c.standDown("orphaned", "no system is left here that those who departed knew; this side cannot prove them gone", false)
	}
}

// checkLead gives an attempt up when a participant is out of reach or does not
// answer; the next one is higher and without it.
func (c *Core) checkLead() {
	ch := &c.change
	a := ch.lead
	if a == nil {
		return
	}
	for _, m := range a.members {
		if p := &c.peers[m.Node]; m.Node != c.cfg.Node && (!p.up || p.conn != a.conns[m.Node]) {
			ch.lead = nil
			ch.wish(c.now, c.cfg.Stable)
			return
		}
	}
	if c.now < a.deadline {
		return
	}
	for _, m := range a.members {
		if a.waiting&nodeBit(m.Node) != 0 {
			c.suspect(m.Node, "does not answer a view change")
		}
	}
	ch.lead = nil
	ch.wish(c.now, 0)
}

func (c *Core) checkFollow() {
	ch := &c.change
	if !ch.following {
		return
	}
	p := &c.peers[ch.coordinator]
	switch {
	case !p.up || p.conn != ch.conn:
		c.abandonFollow("connection lost")
	case c.now >= ch.until:
		c.suspect(ch.coordinator, "does not end its view change")
		c.abandonFollow("timeout")
	}
}

// mutateInstall lets mutants install what does not fit.
func (c *Core) mutateInstall(m *message) {
	switch {
	case c.cfg.mutation == mutNone:
	case m.first <= c.log.length() && m.first > c.rep.pos:
		c.log.cut(m.first - 1)
	case m.first > c.log.length()+1 && c.seeded() && c.cfg.mutation == mutForgetFlush:
		c.log, c.rep.pos = orderLog{base: m.first - 1}, m.first-1
	}
}

// mutateFlush holds the deliberate faults of the flush.
func (c *Core) mutateFlush(a *attempt, base *message) {
	if c.cfg.mutation != mutDropTail || base.fresh {
		return
	}
	if st := a.states[base.view.Coordinator]; st == nil || st.fresh {
		a.final = a.stable
	}
}
