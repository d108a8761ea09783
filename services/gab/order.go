package gab

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// Batching of the order: an idle message goes at once; while batches are under
// way, sends wait for the next one, so the cost per message falls with load.
const (
	batchEntries    = 256
	batchBytes      = 512 << 10
	pipelineEntries = 64 // worth another batch while one is under way
	pipelineBytes   = 128 << 10
	pipelineBatches = 4
	announceLater   = 10 * time.Millisecond
)

// ordering is the part of a member, and of the orderer, in an installed view.
type ordering struct {
	installed bool // takes part in the order of the log's last view; else frozen
	forced    bool // a member told its doubt
	conns     [MaxNodes]uint64

	stable       uint64 // known to be held by every member of its view
	waitingSince vclock.Time

	// At the orderer.
	acks      [MaxNodes]ack
	inbox     []entry
	batches   []uint64 // last positions of batches that are not yet stable
	announced uint64   // stable position that members were told
	trimmed   uint64
	// announceAt is when the only other member is told what is stable. It knows
	// without being told, so this serves only to forget places when all is quiet.
	announceAt vclock.Time
}

// ack is what one member acknowledged in this view.
type ack struct {
	length, applied uint64
	since           vclock.Time // of the oldest place not acknowledged
}

func (c *Core) orderer() bool { return c.ord.installed && c.view.Coordinator == c.cfg.Node }

// pump moves everything on as far as it goes now: local operations, batches,
// stability, deliveries.
func (c *Core) pump() {
	for !c.finished && c.ord.installed {
		moved := c.transmit()
		if c.orderer() {
			moved = c.orderBatch() || moved
			moved = c.stabilise() || moved
		}
		if !moved {
			break
		}
	}
	c.release()
	if !c.finished {
		c.announceStable()
	}
}

// transmit sends local operations to the orderer. While some are under way,
// the next wait and go together.
func (c *Core) transmit() bool {
	if c.inFlight > 0 && !c.orderer() {
		return false
	}
	var batch []entry
	bytes := 0
	for i := range c.ops {
		op := &c.ops[i]
		if op.queued {
			continue
		}
		if len(batch) >= batchEntries || (bytes > 0 && bytes+op.size() > batchBytes) {
			break
		}
		bytes += op.size()
		op.sent, op.queued = true, true
		batch = append(batch, op.entry)
	}
	if len(batch) == 0 {
		return false
	}
	c.inFlight += len(batch)
	if c.orderer() {
		c.ord.inbox = append(c.ord.inbox, batch...)
	} else {
		c.sendTo(c.view.Coordinator, &message{kind: kindSend, view: c.view, entries: batch})
	}
	return true
}

// onSend takes operations of a member into the line.
func (c *Core) onSend(from NodeID, m *message) {
	member, ok := memberOf(c.members, from)
	if !c.orderer() || m.view != c.view || !ok {
		return // the sender sends again in the view that comes
	}
	for _, e := range m.entries {
		if e.kind == entryView {
			c.note("malformed", "from=%d a member orders no view", from)
			return
		}
		e.from, e.inc = from, member.Incarnation
		c.ord.inbox = append(c.ord.inbox, e)
	}
}

// orderBatch gives places to waiting operations.
func (c *Core) orderBatch() bool {
	o := &c.ord
	bytes, n := 0, 0
	for n < len(o.inbox) && n < batchEntries && (n == 0 || bytes+o.inbox[n].size() <= batchBytes) {
		bytes += o.inbox[n].size()
		n++
	}
	if n == 0 || len(o.batches) >= pipelineBatches ||
		(len(o.batches) > 0 && n < pipelineEntries && bytes < pipelineBytes) {
		return false
	}
	batch := o.inbox[:n:n]
	o.inbox = o.inbox[n:]
	first := c.log.length() + 1
	c.append(batch)
	o.batches = append(o.batches, c.log.length())
	c.broadcastOrdered(first, batch)
	for _, m := range c.members {
		if a := &o.acks[m.Node]; m.Node != c.cfg.Node && a.since == vclock.Never {
			a.since = c.now
		}
	}
	return true
}

func (c *Core) broadcastOrdered(first uint64, batch []entry) {
	o := &c.ord
	o.announced = o.stable
	m := message{kind: kindOrdered, view: c.view, first: first, stable: o.stable, trim: o.trimmed, entries: batch}
	o.announceAt = vclock.Never
	var text []byte
	for _, to := range c.members {
		if to.Node != c.cfg.Node && c.connected(to.Node) {
			if text == nil {
				text = m.encode(max(c.format, formatFirst))
			}
			c.emit(TransportSend{To: to.Node, Conn: c.peers[to.Node].conn, Msg: text})
		}
	}
}

// append takes places into the log.
func (c *Core) append(es []entry) {
	c.log.add(es...)
	for i := range es {
		if es[i].kind != entryView && es[i].from == c.cfg.Node && es[i].inc == c.cfg.Incarnation && c.inFlight > 0 {
			c.inFlight--
		}
	}
	c.ord.waitingSince = c.now
	if c.cfg.mutation == mutDeliverEarly {
		c.ord.stable = c.log.length()
		c.advance(c.ord.stable)
	}
}

// onOrdered takes a batch of the orderer. What is not of this view, or comes
// while this system is frozen, is nothing: the flush decides about it.
func (c *Core) onOrdered(from NodeID, m *message) {
	if !c.ord.installed || c.orderer() || from != c.view.Coordinator || m.view != c.view || !c.connected(from) {
		return
	}
	if len(m.entries) > 0 {
		if m.first != c.log.length()+1 {
			c.note("order-gap", "from=%d first=%d have=%d", from, m.first, c.log.length())
			c.ord.forced = true
			return
		}
		c.append(m.entries)
	}
	s := min(m.stable, c.log.length())
	if len(c.members) == 2 {
		// The orderer holds what it sent, this system too, and there is no third.
		s = c.log.length()
	}
	if s > c.ord.stable {
		c.ord.stable = s
		c.ord.waitingSince = c.now
		c.advance(s)
	}
	c.log.trim(min(m.trim, c.rep.pos))
	if len(m.entries) > 0 && !c.finished {
		c.acknowledge()
	}
}

func (c *Core) acknowledge() {
	c.sendTo(c.view.Coordinator, &message{kind: kindAck, view: c.view, length: c.log.length(), applied: c.rep.pos})
}

func (c *Core) onAck(from NodeID, m *message) {
	if !c.orderer() || m.view != c.view || !c.connected(from) || m.length > c.log.length() {
		return
	}
	if _, ok := memberOf(c.members, from); !ok {
		return
	}
	a := &c.ord.acks[from]
	a.length, a.applied = max(a.length, m.length), max(a.applied, m.applied)
	a.since = vclock.Never
	if a.length < c.log.length() {
		a.since = c.now
	}
}

// stabilise finds what every member of the view holds, and what everyone has
// applied and nobody can need again.
func (c *Core) stabilise() bool {
	o := &c.ord
	o.acks[c.cfg.Node] = ack{length: c.log.length(), applied: c.rep.pos, since: vclock.Never}
	stable, trim := c.log.length(), c.rep.pos
	for _, m := range c.members {
		stable, trim = min(stable, o.acks[m.Node].length), min(trim, o.acks[m.Node].applied)
	}
	if trim > o.trimmed {
		o.trimmed = trim
		c.log.trim(trim)
	}
	if stable <= o.stable {
		return false
	}
	o.stable = stable
	for len(o.batches) > 0 && o.batches[0] <= stable {
		o.batches = o.batches[1:]
	}
	c.advance(stable)
	return true
}

// announceStable tells the members what is stable unless a batch just did, or
// the only one knows without being told.
func (c *Core) announceStable() {
	o := &c.ord
	if !c.orderer() || o.announced >= o.stable {
		return
	}
	if len(c.members) == 2 && o.announced >= c.log.lastView() && c.now < o.announceAt && !c.leaving {
		o.announceAt = vclock.Earlier(o.announceAt, c.now.Add(announceLater))
		return
	}
	c.broadcastOrdered(c.log.length()+1, nil)
}

// announceDeadline is when announceStable must be called again.
func (c *Core) announceDeadline() vclock.Time {
	if c.orderer() && c.ord.announced < c.ord.stable {
		return c.ord.announceAt
	}
	return vclock.Never
}

// connected reports whether the connection of the installation still stands,
// so that nothing on it can be missing.
func (c *Core) connected(n NodeID) bool {
	p := &c.peers[n]
	return p.up && p.conn == c.ord.conns[n]
}

// usable is connected and not under suspicion (R19).
func (c *Core) usable(m Member) bool {
	p := &c.peers[m.Node]
	return c.connected(m.Node) && p.suspect <= c.now && (p.status == nil || p.status.inc == m.Incarnation)
}

// doubt reports whether the membership is in doubt here (R5). Everything goes
// through the orderer: it doubts when a member is out of reach, a member when
// the orderer is, or when told.
func (c *Core) doubt() bool {
	if !c.ord.installed {
		return c.seeded()
	}
	if c.ord.forced || !c.mesh.whole {
		return true
	}
	if !c.orderer() {
		m, _ := memberOf(c.members, c.view.Coordinator)
		return !c.usable(m)
	}
	for _, m := range c.members {
		if m.Node != c.cfg.Node && !c.usable(m) {
			return true
		}
	}
	return false
}

// ackDeadline is when somebody's silence ends in suspicion (R19).
func (c *Core) ackDeadline() vclock.Time {
	t := vclock.Never
	if !c.ord.installed {
		return t
	}
	if !c.orderer() {
		if c.waiting() {
			return c.ord.waitingSince.Add(3 * c.cfg.AckTimeout)
		}
		return t
	}
	for _, m := range c.members {
		if a := &c.ord.acks[m.Node]; m.Node != c.cfg.Node && c.peers[m.Node].suspect <= c.now && a.since != vclock.Never {
			t = vclock.Earlier(t, a.since.Add(c.cfg.AckTimeout))
		}
	}
	return t
}

// waiting: the orderer owes something. Also restarts the wait when it begins.
func (c *Core) waiting() bool {
	return c.peers[c.view.Coordinator].suspect <= c.now && (c.inFlight > 0 || c.rep.pos < c.log.length())
}

// checkAcks suspects who owes an answer for too long: a member that
// acknowledges nothing for T_ack is expelled (R19).
func (c *Core) checkAcks() {
	if !c.ord.installed {
		return
	}
	if !c.orderer() {
		switch {
		case !c.waiting():
			c.ord.waitingSince = c.now
		case c.now >= c.ord.waitingSince.Add(3*c.cfg.AckTimeout):
			c.suspect(c.view.Coordinator, "orders or announces nothing")
		}
		return
	}
	for _, m := range c.members {
		if a := &c.ord.acks[m.Node]; m.Node != c.cfg.Node && c.peers[m.Node].suspect <= c.now && a.since != vclock.Never &&
			c.now >= a.since.Add(c.cfg.AckTimeout) {
			c.suspect(m.Node, "acknowledges nothing")
			a.since = vclock.Never
		}
	}
}

// suspect keeps a peer out of the changes of the next while.
func (c *Core) suspect(n NodeID, why string) {
	c.peers[n].suspect = c.now.Add(5 * c.cfg.AckTimeout)
	c.mesh.dirty = true
	c.note("suspect", "node=%d for=%s reason=%q", n, 5*c.cfg.AckTimeout, why)
}

// standing renews the lease (R6) while this system is in an applied view, and
// looks after the local fencing client.
func (c *Core) standing() {
	if c.finished {
		return
	}
	c.checkFencing()
	if !contains(c.rep.members(), c.self()) {
		return
	}
	if c.leaseAt == vclock.Never || c.now >= c.leaseAt {
		c.leaseAt = c.now.Add(c.cfg.Lease / 4)
		c.emit(Lease{Until: c.now.Add(c.cfg.Lease)})
	}
}

// standDown ends this incarnation: buffers are discarded, nothing more is sent
// (R19).
func (c *Core) standDown(code, reason string, flagged bool) {
	if c.finished {
		return
	}
	c.end()
	c.emit(StandDown{Code: code, Reason: reason, Protected: c.protected, Flagged: flagged})
}

// considerView looks at the view that a peer is in. Whoever moved on without
// this system has evicted it; two sides that share nobody are a split, and one
// of them yields (design 3.10). Nothing ever merges.
func (c *Core) considerView(from NodeID, view ViewID, members []Member, gateHeld, told bool) {
	if !c.seeded() || view.IsZero() || view == c.view || contains(members, c.self()) || c.finished {
		return
	}
	if view.Lineage == c.view.Lineage {
		for _, m := range members {
			if contains(c.members, m) {
				if less(c.view, view) {
					c.standDown("evicted", fmt.Sprintf("system %d is in view %s without this system, which is in %s", from, view, c.view), false)
				}
				return
			}
		}
	}
	if told {
		return
	}
	if p := &c.peers[from]; p.noted != view {
		p.noted = view
		c.note("split", "node=%d its-view=%s its-members=%s view=%s members=%s", from, view, list(members), c.view, list(c.members))
	}
	mine := c.rep.gate.held
	if mine && gateHeld {
		return // fencing decides
	}
	if c.yields(mask(members), gateHeld) {
		c.standDown("yield", fmt.Sprintf("split: the side of system %d in view %s stays, this side in %s yields", from, view, c.view), true)
	}
}

// yields: the side whose gate is held, then the smaller one, then the one with
// the higher lowest id.
func (c *Core) yields(theirs uint64, theirGate bool) bool {
	if c.rep.gate.held != theirGate {
		return c.rep.gate.held
	}
	mine := mask(c.members)
	if n, m := bits.OnesCount64(theirs), bits.OnesCount64(mine); n != m {
		return n > m
	}
	return bits.TrailingZeros64(theirs) < bits.TrailingZeros64(mine)
}
