package gab

import (
	"fmt"
	"slices"
)

// replica is the state that follows from the total order alone: equal on all
// members at equal positions, and what a joiner gets as snapshot (R22). It
// knows nothing of this system's clients, clock or connections.
type replica struct {
	unfenced bool // configuration, equal on all systems

	pos     uint64 // last position applied
	view    ViewID // of port a
	format  uint8  // of its messages; not in snapshots, which a view follows
	systems []system
	ports   [26]portState
	gate    gateState
	losses  []loss // by node, the last one of each
}

// system is one member of port a.
type system struct {
	Member
	// clean: its last ordered message said that nothing is protected there
	// (R14); true before its first registration on port h.
	clean   bool
	leaving bool   // it ordered its own leave
	reports uint64 // nodes that it sees over one link only
	disk    uint64 // nodes that it takes as alive by a disk region (R16)
	joined  uint64 // position of the view that admitted it; 0 if it seeded
	// unknown: whoever left with the losses that the gate waits for may not
	// know that this system was ever admitted, so no fencing over there can
	// have reached it, and it cannot answer for them.
	unknown bool
}

// portState is one port.
type portState struct {
	generation uint64
	seq        uint64
	members    uint64 // node mask
	down       uint64 // left other than CLEAN, still in port a (DDNA)
	changed    ViewID
}

// gateState is the fence gate of port h (R10): held from the view that lost a
// system until the ordered answer for it.
type gateState struct {
	held    bool
	id      ViewID     // last view that lost a system
	waiting []Departed // all without evidence, by node and incarnation
}

// loss is the last departure of one node.
type loss struct {
	Departed
	view ViewID // the view that first lacked it
}

type outputKind uint8

const (
	outputView outputKind = iota + 1
	outputMessage
	outputEvidence
	outputControl
)

// output is one place in the order of a port.
type output struct {
	kind  outputKind
	port  Port
	seq   uint64 // of the first payload
	view  DeliverView
	entry *entry // message
	loss  loss   // evidence
}

// applied is what one entry led to.
type applied struct {
	outputs  []output
	dropped  bool       // message that nobody delivers
	answered []Departed // evidence that the gate accepted
}

func nodeBit(n NodeID) uint64 { return 1 << n }

func (r *replica) system(n NodeID) *system {
	for i := range r.systems {
		if r.systems[i].Node == n {
			return &r.systems[i]
		}
	}
	return nil
}

// apply takes the entry of position r.pos+1.
func (r *replica) apply(e *entry) applied {
	r.pos++
	var res applied
	if e.kind == entryView {
		r.applyView(e, &res)
		return res
	}
	s := r.system(e.from)
	if s == nil || s.Incarnation != e.inc {
		res.dropped = true // cannot happen: an orderer takes sends of members only
		return res
	}
	switch e.kind {
	case entryMessage:
		r.applyMessage(s, e, &res)
	case entryJoinPort:
		r.applyJoin(s, e, &res)
	case entryLeavePort:
		r.applyLeavePort(s, e, &res)
	case entryProtection:
		// Something protected counts whoever says it; that nothing is, only had.
		if e.number > 0 || r.port(PortH).members&nodeBit(s.Node) != 0 {
			s.clean = e.number == 0
		}
	case entryFenceAnswer:
		r.applyAnswer(s, e, &res)
	case entryLeaveSystem:
		s.leaving = true
	case entryJeopardy:
		r.applyJeopardy(s, e, &res)
	case entryDisk:
		r.applyDisk(s, e, &res)
	case entryControl:
		res.outputs = append(res.outputs, output{kind: outputControl, entry: e})
	}
	return res
}

func (r *replica) port(p Port) *portState { return &r.ports[p-'a'] }

func (r *replica) applyMessage(s *system, e *entry, res *applied) {
	p := r.port(e.port)
	if e.port == PortH {
		s.clean = false // R14: its last message said something else
	}
	if p.members&nodeBit(e.from) == 0 || (e.directed && p.members&nodeBit(e.node) == 0) {
		res.dropped = true
		return
	}
	res.outputs = append(res.outputs, output{kind: outputMessage, port: e.port, seq: p.seq + 1, entry: e,
		view: DeliverView{ID: r.view}})
	p.seq += uint64(len(e.payloads))
}

func (r *replica) applyJoin(s *system, e *entry, res *applied) {
	p := r.port(e.port)
	p.members |= nodeBit(e.from)
	p.down &^= nodeBit(e.from)
	if e.port == PortH {
		s.clean = false
	}
	r.portView(e.port, nil, res)
}

func (r *replica) applyLeavePort(s *system, e *entry, res *applied) {
	p := r.port(e.port)
	if p.members&nodeBit(e.from) == 0 {
		return
	}
	p.members &^= nodeBit(e.from)
	if e.port != PortH || !s.clean {
		p.down |= nodeBit(e.from)
	}
	r.portView(e.port, nil, res)
}

// portView gives out the next view of a port.
func (r *replica) portView(port Port, departed []Departed, res *applied) {
	p := r.port(port)
	p.generation++
	p.seq++
	p.changed = r.view
	if port == PortB && r.gate.held {
		departed = slices.Clone(r.gate.waiting) // fencing must answer for all
	}
	v := DeliverView{Port: port, ID: r.view, Generation: p.generation, Seq: p.seq, Systems: r.members(),
		Departed: departed}
	for _, m := range v.Systems {
		if p.members&nodeBit(m.Node) != 0 {
			m.Unknown = port == PortB && r.gate.held && r.system(m.Node).unknown
			v.Members = append(v.Members, m)
		}
		if p.down&nodeBit(m.Node) != 0 {
			v.DaemonDown = append(v.DaemonDown, m.Node)
		}
	}
	res.outputs = append(res.outputs, output{kind: outputView, port: port, seq: p.seq, view: v})
}

// members is port a as views show it. A system is in jeopardy if more than
// half of the others see it over one link only, so that one that lost its own
// links does not mark everybody else.
func (r *replica) members() []Member {
	ms := make([]Member, 0, len(r.systems))
	for _, s := range r.systems {
		n := 0
		for _, o := range r.systems {
			if o.Node != s.Node && o.reports&nodeBit(s.Node) != 0 {
				n++
			}
		}
		m := s.Member
		m.Jeopardy = 2*n > len(r.systems)-1
		ms = append(ms, m)
	}
	return ms
}

// applyView changes port a. Whoever is no longer in it has departed, with
// evidence CLEAN if its leave was ordered and clean, ASSUMED if fencing is
// disabled, else none: then the gate of port h closes (R1, R10).
func (r *replica) applyView(e *entry, res *applied) {
	var departed []Departed
	var next []system
	for _, m := range r.members() {
		s := r.system(m.Node)
		i := slices.IndexFunc(e.members, func(n Member) bool { return n.Node == m.Node && n.Incarnation == m.Incarnation })
		if i < 0 {
			m.Jeopardy = m.Jeopardy || r.endangered(m.Node, e.members)
			departed = append(departed, r.departure(m, s, e.members))
		}
	}
	var mask uint64
	for _, m := range e.members {
		mask |= nodeBit(m.Node)
	}
	for _, m := range e.members {
		s := r.system(m.Node)
		if s == nil || s.Incarnation != m.Incarnation {
			s = &system{Member: Member{Node: m.Node, Incarnation: m.Incarnation}, clean: true}
			if !r.view.IsZero() {
				s.joined = r.pos
			}
		}
		n := *s
		n.reports &= mask
		next = append(next, n)
	}
	gone := uint64(0)
	for _, d := range departed {
		gone |= nodeBit(d.Member.Node)
		r.recordLoss(loss{Departed: d, view: e.view})
		if d.Evidence == EvidenceNone && !r.unfenced {
			r.gate.held = true
			r.gate.id = e.view
			r.gate.waiting = append(r.gate.waiting, d)
		}
	}
	closed := !r.unfenced && slices.ContainsFunc(departed, func(d Departed) bool { return d.Evidence == EvidenceNone })
	r.view, r.systems, r.format = e.view, next, e.format
	for i := range r.systems {
		s := &r.systems[i]
		s.reports &^= gone
		s.unknown = s.unknown || (closed && s.joined > e.stable) || (r.gate.held && s.joined == r.pos)
	}
	for i := range r.ports {
		p := &r.ports[i]
		p.members &^= gone
		p.down &^= gone
		if p.members != 0 {
			r.portView(Port('a'+i), departed, res)
		}
	}
	res.outputs = append(res.outputs, output{kind: outputView, port: PortA,
		view: DeliverView{Port: PortA, ID: r.view, Generation: r.view.Counter, Members: r.members(),
			Systems: r.members(), Departed: departed}})
}

// endangered reports whether more than half of those who stay saw a node over
// one link only, or all of those who stay were in jeopardy themselves, whose
// own reports may still be under way. One that loses its links one after the other loses everybody
// else in jeopardy, though among all it alone was (reference 2.6).
func (r *replica) endangered(n NodeID, stay []Member) bool {
	reports, of, marked := 0, 0, 0
	for i, m := range r.members() {
		s := &r.systems[i]
		if !contains(stay, s.Member) {
			continue
		}
		of++
		if m.Jeopardy {
			marked++
		}
		if s.reports&nodeBit(n) != 0 {
			reports++
		}
	}
	return 2*reports > of || (of > 0 && marked == of)
}

func (r *replica) departure(m Member, s *system, survivors []Member) Departed {
	d := Departed{Member: m}
	alive := slices.ContainsFunc(r.systems, func(o system) bool {
		return o.disk&nodeBit(m.Node) != 0 && contains(survivors, o.Member)
	})
	switch {
	case s.leaving && s.clean:
		d.Evidence, d.Detail = EvidenceClean, "ordered leave with nothing protected"
	case alive && r.unfenced:
		d.Detail = detailAlive
	case alive:
		d.Detail = detailAlive // for people: fencing decides
	case r.unfenced:
		d.Evidence, d.Detail = EvidenceAssumed, "fencing mode disabled"
	}
	return d
}

// detailAlive is said of a system that is ALIVE_UNREACHABLE (R16).
const detailAlive = "alive, by its disk heartbeat; no link reaches it"

// applyDisk takes what a member's disk region says of a node. Without fencing,
// a departed system is assumed to be down as soon as nobody takes it as alive
// any more (R16).
func (r *replica) applyDisk(s *system, e *entry, res *applied) {
	if e.on {
		s.disk |= nodeBit(e.node)
		return
	}
	s.disk &^= nodeBit(e.node)
	if !r.unfenced || r.system(e.node) != nil || slices.ContainsFunc(r.systems, func(o system) bool { return o.disk&nodeBit(e.node) != 0 }) {
		return
	}
	for _, l := range r.losses {
		if l.Member.Node == e.node && l.Evidence == EvidenceNone {
			r.strengthen(l.view, Departed{Member: l.Member, Evidence: EvidenceAssumed, Detail: "fencing mode disabled, and its disk heartbeat stopped"}, res)
		}
	}
}

func (r *replica) recordLoss(l loss) {
	i, found := slices.BinarySearchFunc(r.losses, l, func(a, b loss) int {
		return int(a.Member.Node) - int(b.Member.Node)
	})
	if found {
		r.losses[i] = l
	} else {
		r.losses = slices.Insert(r.losses, i, l)
	}
}

// applyAnswer takes the evidence of port b (R10). While the gate is held only
// an answer for its id, or for a later view without a new loss, that has
// evidence for every departed incarnation counts, from a system that those who
// departed knew, or by an operator's word. Later answers can only make the
// evidence of known departures stronger.
func (r *replica) applyAnswer(s *system, e *entry, res *applied) {
	if r.port(PortB).members&nodeBit(s.Node) == 0 || e.view.Lineage != r.view.Lineage {
		res.dropped = true
		return
	}
	if r.gate.held {
		r.openGate(s, e, res)
		return
	}
	for _, d := range e.departed {
		r.strengthen(e.view, d, res)
	}
	res.dropped = len(res.outputs) == 0
}

func (r *replica) openGate(s *system, e *entry, res *applied) {
	if e.view.Counter < r.gate.id.Counter || (e.view.Counter == r.gate.id.Counter && e.view != r.gate.id) ||
		e.view.Counter > r.view.Counter {
		res.dropped = true
		return
	}
	answered := make([]Departed, 0, len(r.gate.waiting))
	for _, w := range r.gate.waiting {
		i := slices.IndexFunc(e.departed, func(d Departed) bool {
			return d.Member.Node == w.Member.Node && d.Member.Incarnation == w.Member.Incarnation &&
				d.Evidence != EvidenceNone && d.Evidence != EvidenceAssumed && (!s.unknown || d.Evidence == EvidenceVouched)
		})
		if i < 0 {
			res.dropped = true
			return
		}
		w.Evidence, w.Detail = e.departed[i].Evidence, e.departed[i].Detail
		answered = append(answered, w)
	}
	res.answered = answered
	for _, a := range answered {
		for i := range r.losses {
			if l := &r.losses[i]; l.Member.Node == a.Member.Node && l.Member.Incarnation == a.Member.Incarnation {
				l.Evidence, l.Detail = a.Evidence, a.Detail
			}
		}
	}
	r.gate = gateState{id: r.gate.id}
	for i := range r.systems {
		r.systems[i].unknown = false
	}
}

// orphaned: nobody is left who could answer for those that the gate waits for.
func (r *replica) orphaned() bool {
	return r.gate.held && !slices.ContainsFunc(r.systems, func(s system) bool { return !s.unknown })
}

func (r *replica) strengthen(view ViewID, d Departed, res *applied) {
	for i := range r.losses {
		l := &r.losses[i]
		if l.Member.Node != d.Member.Node || l.Member.Incarnation != d.Member.Incarnation ||
			view.Counter < l.view.Counter || view.Counter > r.view.Counter ||
			d.Evidence.strength() <= l.Evidence.strength() {
			continue
		}
		l.Evidence, l.Detail = d.Evidence, d.Detail
		p := r.port(PortH)
		p.seq++
		res.outputs = append(res.outputs, output{kind: outputEvidence, port: PortH, seq: p.seq, loss: *l})
	}
}

func (r *replica) applyJeopardy(s *system, e *entry, res *applied) {
	before := r.members()
	if e.on {
		s.reports |= nodeBit(e.node)
	} else {
		s.reports &^= nodeBit(e.node)
	}
	if slices.Equal(before, r.members()) {
		return
	}
	for i := range r.ports {
		if r.ports[i].members != 0 {
			r.portView(Port('a'+i), nil, res)
		}
	}
}

// snapshot is the canonical encoding of the state: for joiners and for Hash.
func (r *replica) snapshot() []byte {
	var w writer
	w.num(r.pos)
	w.viewID(r.view)
	w.num(uint64(len(r.systems)))
	for _, s := range r.systems {
		w.member(s.Member)
		w.bool(s.clean)
		w.bool(s.leaving)
		w.fixed(s.reports)
		w.num(s.joined)
		w.bool(s.unknown)
	}
	for _, p := range r.ports {
		w.num(p.generation)
		w.num(p.seq)
		w.fixed(p.members)
		w.fixed(p.down)
		w.viewID(p.changed)
	}
	w.bool(r.gate.held)
	w.viewID(r.gate.id)
	w.departed(r.gate.waiting)
	w.num(uint64(len(r.losses)))
	for _, l := range r.losses {
		w.departed([]Departed{l.Departed})
		w.viewID(l.view)
	}
	// Only where disk regions are in use, so that older builds, which have none,
	// read what they know.
	if slices.ContainsFunc(r.systems, func(s system) bool { return s.disk != 0 }) {
		for _, s := range r.systems {
			w.fixed(s.disk)
		}
	}
	return w.b
}

// restore is the inverse of snapshot.
func restore(b []byte, unfenced bool) (replica, error) {
	rd := reader{b: b, ok: true}
	r := replica{unfenced: unfenced, pos: rd.num(), view: rd.viewID()}
	for range rd.count(22) {
		s := system{Member: rd.member(), clean: rd.bool(), leaving: rd.bool(), reports: rd.fixed(), joined: rd.num(),
			unknown: rd.bool()}
		if len(r.systems) > 0 && r.systems[len(r.systems)-1].Node >= s.Node {
			rd.fail()
		}
		r.systems = append(r.systems, s)
	}
	for i := range r.ports {
		r.ports[i] = portState{generation: rd.num(), seq: rd.num(), members: rd.fixed(), down: rd.fixed(),
			changed: rd.viewID()}
	}
	r.gate = gateState{held: rd.bool(), id: rd.viewID(), waiting: rd.departed()}
	for range rd.count(31) {
		ds := rd.departed()
		l := loss{view: rd.viewID()}
		if len(ds) != 1 || (len(r.losses) > 0 && r.losses[len(r.losses)-1].Member.Node >= ds[0].Member.Node) {
			rd.fail()
			break
		}
		l.Departed = ds[0]
		r.losses = append(r.losses, l)
	}
	if rd.ok && len(rd.b) > 0 {
		any := uint64(0)
		for i := range r.systems {
			r.systems[i].disk = rd.fixed()
			any |= r.systems[i].disk
		}
		if any == 0 {
			rd.fail() // one state has one form
		}
	}
	if !rd.ok || len(rd.b) != 0 {
		return replica{}, fmt.Errorf("gab snapshot: malformed")
	}
	return r, nil
}
