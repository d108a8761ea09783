package gab

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// localPort is the local client of one port.
type localPort struct {
	open     bool
	client   string
	session  uint64
	joinNo   uint64 // sendno of this registration
	joined   bool   // the registration was ordered
	gotView  bool
	messages int // Sends without Outcome
	bytes    int
	blocked  bool
}

// operation is one local wish on its way into the order.
type operation struct {
	entry
	id      uint64 // of a Send
	session uint64
	bytes   int
	sent    bool // ever given to the transport or the order
	queued  bool // on its way in this view
	doubted bool // sent in a view that lost somebody: who left may have it
}

// delivery is one place of a port on its way to the local client.
type delivery struct {
	output
	entry entry
	own   bool
	op    operation
}

func payloadBytes(ps [][]byte) int {
	n := 0
	for _, p := range ps {
		n += len(p)
	}
	return n
}

func (c *Core) local(p Port) *localPort { return &c.ports[p-'a'] }

// enqueue numbers an operation and puts it at the end of the line.
func (c *Core) enqueue(op operation) uint64 {
	c.sendno++
	op.from, op.inc, op.sendno = c.cfg.Node, c.cfg.Incarnation, c.sendno
	c.ops = append(c.ops, op)
	return c.sendno
}

func (c *Core) register(e Register) {
	if !e.Port.Valid() || c.local(e.Port).open || c.leaving {
		c.note("register-refused", "port=%q", byte(e.Port))
		return
	}
	lp := c.local(e.Port)
	if len(e.Client) > 32 {
		e.Client = e.Client[:32]
	}
	*lp = localPort{open: true, client: e.Client, session: lp.session + 1}
	lp.joinNo = c.enqueue(operation{entry: entry{kind: entryJoinPort, port: e.Port}, session: lp.session})
}

// unregister takes the local client out of a port. What it sent and what was
// not yet on its way is forgotten with it; the rest runs its course.
func (c *Core) unregister(p Port) {
	if !p.Valid() || !c.local(p).open {
		return
	}
	lp := c.local(p)
	*lp = localPort{session: lp.session}
	joinSent := true
	c.ops = slices.DeleteFunc(c.ops, func(op operation) bool {
		if op.sent || op.port != p || op.session != lp.session {
			return false
		}
		if op.kind == entryJoinPort {
			joinSent = false
		}
		return op.kind == entryMessage || op.kind == entryJoinPort
	})
	if joinSent {
		c.enqueue(operation{entry: entry{kind: entryLeavePort, port: p}, session: lp.session})
	}
	if p == PortH {
		c.held = nil
	}
}

func (c *Core) send(e Send) {
	if !e.Port.Valid() || !c.local(e.Port).open {
		c.note("send-refused", "port=%q id=%d", byte(e.Port), e.ID)
		return
	}
	lp := c.local(e.Port)
	n := payloadBytes(e.Payloads)
	if len(e.Payloads) == 0 || len(e.Payloads) > MaxPayloads || n > MaxSendBytes || c.leaving ||
		(e.Directed && e.ToNode >= MaxNodes) || lp.messages >= c.cfg.WindowMessages || lp.bytes >= c.cfg.WindowBytes {
		c.emit(Outcome{e.Port, e.ID, ResultLost})
		return
	}
	op := operation{entry: entry{kind: entryMessage, port: e.Port, directed: e.Directed, node: e.ToNode}, id: e.ID,
		session: lp.session, bytes: n}
	op.payloads = e.Payloads
	c.enqueue(op)
	lp.messages++
	lp.bytes += n
	if !lp.blocked && (lp.messages >= c.cfg.WindowMessages || lp.bytes >= c.cfg.WindowBytes) {
		lp.blocked = true
		c.emit(Blocked{e.Port})
	}
}

// outcome ends a Send; a client that is gone is told nothing.
func (c *Core) outcome(op operation, r Result) {
	lp := c.local(op.port)
	if !lp.open || lp.session != op.session {
		return
	}
	c.emit(Outcome{op.port, op.id, r})
	lp.messages--
	lp.bytes -= op.bytes
	if lp.blocked && lp.messages <= c.cfg.WindowMessages/2 && lp.bytes <= c.cfg.WindowBytes/2 {
		lp.blocked = false
		c.emit(Ready{op.port})
	}
}

func (c *Core) fenceAnswer(e FenceAnswer) {
	if !c.local(PortB).open {
		c.note("fence-answer-refused", "no fencing client is registered here")
		return
	}
	op := operation{entry: entry{kind: entryFenceAnswer, view: e.View}, session: c.local(PortB).session}
	for _, d := range e.Departed {
		d.Member.Jeopardy = false
		if d.Member.Node < MaxNodes && d.Evidence <= EvidenceAssumed && len(op.departed) < MaxNodes {
			op.departed = append(op.departed, d)
		}
	}
	c.enqueue(op)
}

// protection keeps R14's promise in the order, and at once for R2 here.
func (c *Core) protection(e Protection) {
	if !c.local(PortH).open {
		return
	}
	c.protected = e.Resources > 0
	c.enqueue(operation{entry: entry{kind: entryProtection, number: e.Resources}, session: c.local(PortH).session})
}

func (c *Core) leave(e Leave) {
	clean := c.cleanLeave()
	s := c.rep.system(c.cfg.Node)
	// While had is here it may raise something before the leave has its place.
	unclean := e.Protected || c.protected || c.local(PortH).open
	switch {
	case c.leaving && !e.Force:
	case !e.Force && (unclean || !clean):
		c.emit(LeaveRefused{"something may be online here, or had did not say otherwise in its last message; " +
			"stop had first (hastop -local), or force the leave: the others then treat it as a crash"})
	case s == nil || (e.Force && c.doubt()):
		c.finish(clean && !unclean)
	case !c.leaving:
		c.leaving = true
		if unclean {
			c.enqueue(operation{entry: entry{kind: entryProtection, number: 1}})
		}
		c.enqueue(operation{entry: entry{kind: entryLeaveSystem}})
	}
}

// cleanLeave reports whether a leave now would be CLEAN (R14).
func (c *Core) cleanLeave() bool {
	for i := range c.ops {
		if c.ops[i].port == PortH && c.ops[i].kind == entryMessage {
			return false
		}
	}
	s := c.rep.system(c.cfg.Node)
	return !c.protected && (s == nil || s.clean)
}

// finish ends this incarnation after its leave.
func (c *Core) finish(clean bool) {
	c.end()
	c.emit(Left{Clean: clean})
}

// end tells what became of what was sent, once for each (R15).
func (c *Core) end() {
	for _, d := range c.held {
		if d.own && d.kind == outputMessage {
			c.outcome(d.op, ResultUnknown)
		}
	}
	for _, op := range c.ops {
		if op.kind == entryMessage {
			if op.sent {
				c.outcome(op, ResultUnknown)
			} else {
				c.outcome(op, ResultLost)
			}
		}
	}
	c.held, c.ops = nil, nil
	c.finished = true
}

// advance applies the order up to a position that is known to be stable.
// Places that a view recovered by its flush, those after its stable position,
// are held back from port h until that view is applied and with it the gate
// closed, if it lost somebody (R5, R10).
func (c *Core) advance(to uint64) {
	to = min(to, c.log.length())
	if c.rep.pos >= to {
		return
	}
	type flushed struct{ stable, view uint64 }
	var views []flushed
	for p := c.rep.pos + 1; p <= to; p++ {
		if e := c.log.at(p); e.kind == entryView {
			views = append(views, flushed{e.stable, p})
		}
	}
	recovered := func(p uint64) bool {
		return c.cfg.mutation != mutFlushBeforeFence && slices.ContainsFunc(views, func(f flushed) bool { return f.stable < p && p <= f.view })
	}
	for c.rep.pos < to && !c.finished {
		p := c.rep.pos + 1
		c.hold = recovered(p)
		e := *c.log.at(p)
		res := c.rep.apply(&e)
		if c.cfg.observe != nil {
			c.cfg.observe(p, &e)
		}
		c.route(e, res)
		c.hold = p < to && recovered(p+1)
		c.release()
	}
	c.hold = false
}

// route hands what one place led to on to the local clients.
func (c *Core) route(e entry, res applied) {
	own := e.kind != entryView && e.from == c.cfg.Node && e.inc == c.cfg.Incarnation
	var op operation
	if own {
		op = c.retire(e.sendno)
		if e.kind == entryJoinPort {
			lp := c.local(e.port)
			lp.joined = lp.joined || (lp.open && lp.joinNo == e.sendno)
		}
	}
	for _, a := range res.answered {
		c.fillEvidence(a)
	}
	for _, o := range res.outputs {
		c.offer(delivery{output: o, entry: e, own: own, op: op})
	}
	switch {
	case e.kind == entryView:
		c.applied(e)
	case e.kind == entryLeaveSystem && !own:
		c.mesh.dirty = true // it comes along no more
	case own && e.kind == entryMessage && res.dropped && op.doubted:
		c.outcome(op, ResultUnknown)
	case own && e.kind == entryMessage && res.dropped:
		c.outcome(op, ResultLost)
	case own && e.kind == entryLeaveSystem:
		c.announceStable()
		if c.ord.installed && !c.orderer() {
			c.acknowledge() // the orderer's last word of this system
		}
		c.finish(c.rep.system(c.cfg.Node).clean)
	case e.kind == entryFenceAnswer && res.dropped:
		c.note("fence-answer-discarded", "from=%d view=%s gate=%s departed=%s", e.from, e.view, c.rep.gate.id, list(e.departed))
	}
}

// retire takes an own operation off the line; it has its place now.
func (c *Core) retire(sendno uint64) operation {
	for len(c.ops) > 0 && c.ops[0].sendno < sendno {
		if c.ops[0].kind == entryMessage {
			c.outcome(c.ops[0], ResultLost) // cannot happen: the order is FIFO per sender
		}
		c.ops = c.ops[1:]
	}
	if len(c.ops) == 0 || c.ops[0].sendno != sendno {
		return operation{}
	}
	op := c.ops[0]
	c.ops = c.ops[1:]
	return op
}

// fillEvidence completes the views of port h that wait for it.
func (c *Core) fillEvidence(a Departed) {
	for i := range c.held {
		for j := range c.held[i].view.Departed {
			d := &c.held[i].view.Departed[j]
			if d.Member.Node == a.Member.Node && d.Member.Incarnation == a.Member.Incarnation {
				d.Evidence, d.Detail = a.Evidence, a.Detail
			}
		}
	}
}

// offer gives one place of a port to its local client, or to the gate.
func (c *Core) offer(d delivery) {
	if d.kind == outputControl {
		c.emit(ControlOrdered{From: Member{Node: d.output.entry.from, Incarnation: d.output.entry.inc}, Payload: d.output.entry.payloads[0]})
		return
	}
	if d.port == PortA {
		c.emit(d.view)
		return
	}
	if !c.local(d.port).joined {
		return
	}
	if d.port == PortH {
		d.view.Departed = slices.Clone(d.view.Departed)
		c.held = append(c.held, d)
		return
	}
	c.deliver(d)
}

// release lets port h's places go while nothing holds them.
func (c *Core) release() {
	for len(c.held) > 0 && !c.gated() && !c.finished {
		d := c.held[0]
		c.held = c.held[1:]
		c.deliver(d)
	}
}

// gated reports whether port h gets nothing now.
func (c *Core) gated() bool { return c.hold || c.rep.gate.held || c.awaitsFencing() }

// awaitsFencing: had's first view here needs a fencing client on port b here.
func (c *Core) awaitsFencing() bool {
	return !c.cfg.FencingDisabled && !c.local(PortH).gotView && c.rep.port(PortB).members&nodeBit(c.cfg.Node) == 0
}

func (c *Core) deliver(d delivery) {
	lp := c.local(d.port)
	switch d.kind {
	case outputView:
		d.view.First = !lp.gotView
		if d.view.First {
			d.view.Departed = c.firstDeparted(d)
			c.protected = c.protected || d.port == PortH
		}
		lp.gotView = true
		c.emit(d.view)
	case outputEvidence:
		c.emit(DeliverEvidence{View: d.loss.view, Seq: d.seq, Departed: d.loss.Departed})
	case outputMessage:
		own := d.own && d.op.session == lp.session
		if !d.entry.directed || d.entry.node == c.cfg.Node {
			for i, p := range d.entry.payloads {
				m := DeliverMessage{Port: d.port, View: d.view.ID, Seq: d.seq + uint64(i), From: d.entry.from, Payload: p, Own: own}
				if own {
					m.ID = d.op.id
				}
				c.emit(m)
			}
		}
		if own {
			c.outcome(d.op, ResultDelivered)
		}
	}
}

// firstDeparted: a new client of port b must hear for whom the gate waits. One
// of port h may come after a view that lost somebody was released, or while it
// was held: it must know what is proven of whoever is gone (R4, R10), and who is
// alive without being reached (R16). The first
// view of any other has no earlier one that somebody left.
func (c *Core) firstDeparted(d delivery) []Departed {
	switch d.port {
	case PortB:
		return d.view.Departed
	case PortH:
		var gone []Departed
		for _, l := range c.rep.losses {
			if _, back := memberOf(d.view.Systems, l.Member.Node); !back && (l.Evidence != EvidenceNone || c.rep.unfenced) {
				gone = append(gone, l.Departed)
			}
		}
		return gone
	}
	return nil
}

// gateNow is the gate as the shell shall show it.
func (c *Core) gateNow() Gate {
	g := Gate{View: c.rep.gate.id}
	switch {
	case c.rep.gate.held:
		g.Held = true
		var names []string
		for _, w := range c.rep.gate.waiting {
			g.WaitingFor = append(g.WaitingFor, w.Member)
			names = append(names, fmt.Sprint(w.Member.Node))
		}
		g.Reason = fmt.Sprintf("no evidence that these systems are gone: %v", names)
		if lp := c.local(PortB); lp.open && lp.joined {
			g.Reason += "; when they are certainly off: ha fencing vouch SYSTEM"
		} else { // nobody here could take an operator's word
			g.Reason += ", and no fencing client on port b here; start the fencing daemon: ha node start; then: ha fencing status"
		}
	case c.local(PortH).joined && c.awaitsFencing():
		g.Held, g.View = true, c.rep.view
		g.Reason = "no fencing client on port b here; start the fencing daemon: ha node start"
	default:
		g.View = ViewID{}
	}
	return g
}

// absentDeadline is when the local had must leave port h (R10).
func (c *Core) absentDeadline() vclock.Time { return c.absentSince.Add(c.cfg.FencingAbsence) }

// checkFencing watches the local fencing client (R10): without it for longer
// than FencingAbsence, this system leaves port h; the others do not wait.
func (c *Core) checkFencing() {
	lp := c.local(PortH)
	present := c.local(PortB).open && c.local(PortB).joined
	// What an earlier had of this system raised counts although the present one
	// has no view yet, or none is there.
	if c.cfg.FencingDisabled || present || (!lp.gotView && !c.protected) {
		c.absentSince = vclock.Never
		return
	}
	if c.absentSince == vclock.Never {
		c.absentSince = c.now
	}
	if c.now < c.absentDeadline() {
		return
	}
	c.absentSince = vclock.Never
	for _, d := range c.held {
		if d.own && d.kind == outputMessage {
			c.outcome(d.op, ResultUnknown)
		}
	}
	for _, op := range c.ops {
		if op.kind == entryMessage && op.port == PortH {
			r := ResultLost
			if op.sent {
				r = ResultUnknown
			}
			c.outcome(op, r)
		}
	}
	c.unregister(PortH)
	c.emit(ClosePort{Port: PortH, Reason: "no fencing client on port b for " + c.cfg.FencingAbsence.String(), Protected: c.protected})
}
