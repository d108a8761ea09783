package gab

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
)

// oracle sees every system and checks the guarantees after every step, from
// what was handed out, never from what a core believes of itself.
type oracle struct {
	w *world

	// Who ever held which operation.
	holds   map[opKey]uint64
	scanned map[int]scan

	places  map[placeKey][]place // what was applied where
	views   map[ViewID]viewUse
	lastOp  map[senderKey]uint64
	lastCtr map[int]uint64

	lastSeq  map[portKey]uint64
	hlog     map[seqKey]string
	directed map[seqKey]bool
	portSeq  map[portKey]uint64
	hashes   map[placeKey]uint64

	known    map[string]bool // every payload ever sent
	opOf     map[string]opKey
	byID     map[idKey][]string
	got      map[gotKey]bool
	anyGot   map[string]bool
	lost     map[string]bool
	counts   map[string]int
	lostSome map[int]bool
}

type opKey struct {
	node NodeID
	inc  uint64
	no   uint64
}
type scan struct {
	view ViewID
	pos  uint64
}
type placeKey struct{ lineage, pos uint64 }
type place struct {
	hash    uint64
	members []Member
	who     int
	text    string
}
type viewUse struct {
	pos  uint64
	text string
}
type senderKey struct {
	who  int
	node NodeID
	inc  uint64
}
type portKey struct {
	who     int
	port    Port
	session int
}
type seqKey struct {
	lineage uint64
	port    Port
	seq     uint64
}
type gotKey struct {
	who     int
	payload string
}
type idKey struct {
	who  int
	port Port
	id   uint64
}

func newOracle(w *world) *oracle {
	return &oracle{w: w, holds: map[opKey]uint64{}, scanned: map[int]scan{}, places: map[placeKey][]place{},
		views: map[ViewID]viewUse{}, lastOp: map[senderKey]uint64{}, lastCtr: map[int]uint64{},
		lastSeq: map[portKey]uint64{}, hlog: map[seqKey]string{}, directed: map[seqKey]bool{},
		portSeq: map[portKey]uint64{}, hashes: map[placeKey]uint64{}, known: map[string]bool{},
		opOf: map[string]opKey{}, byID: map[idKey][]string{}, got: map[gotKey]bool{}, anyGot: map[string]bool{},
		lost: map[string]bool{}, counts: map[string]int{}, lostSome: map[int]bool{}}
}

func (o *oracle) sent(in *inst, e Send) {
	for _, p := range e.Payloads {
		o.known[string(p)] = true
		o.byID[idKey{in.idx, e.Port, e.ID}] = append(o.byID[idKey{in.idx, e.Port, e.ID}], string(p))
	}
}

// note remembers who holds an operation.
func (o *oracle) note(in *inst, e *entry) {
	if e.kind != entryView {
		o.holds[opKey{e.from, e.inc, e.sendno}] |= 1 << in.idx
		if e.kind == entryMessage {
			o.opOf[string(e.payloads[0])] = opKey{e.from, e.inc, e.sendno}
		}
	}
}

// stepped looks at what a core holds now.
func (o *oracle) stepped(in *inst) {
	c := in.core
	s := o.scanned[in.idx]
	from := s.pos
	if s.view != c.view || c.log.length() < s.pos {
		from = c.log.base
	}
	for p := max(from, c.log.base) + 1; p <= c.log.length(); p++ {
		o.note(in, c.log.at(p))
	}
	o.scanned[in.idx] = scan{c.view, c.log.length()}
}

func sharesMember(a, b []Member) bool {
	return slices.ContainsFunc(a, func(m Member) bool { return contains(b, m) })
}

// applied checks one place of the order at one system: total order and virtual
// synchrony (I2), safe delivery, FIFO, generations (R18).
func (o *oracle) applied(in *inst, pos uint64, e *entry) {
	w, c := o.w, in.core
	o.note(in, e)
	o.counts["applied"]++
	var enc writer
	enc.entry(e)
	h := fnv.New64a()
	h.Write(enc.b)
	hash := h.Sum64()
	lineage := c.rep.view.Lineage
	k := placeKey{lineage, pos}
	same := false
	for _, p := range o.places[k] {
		if p.hash == hash {
			same = true
		} else if sharesMember(p.members, c.members) {
			w.fail("total order: place %d is %q at %d.%x in %s, but %q at incarnation %d in %s", pos, e, in.node.id,
				in.inc, list(c.members), p.text, p.who, list(p.members))
		}
	}
	if !same || !slices.ContainsFunc(o.places[k], func(p place) bool { return p.hash == hash && slices.Equal(p.members, c.members) }) {
		o.places[k] = append(o.places[k], place{hash, c.members, in.idx, e.String()})
	}
	if e.kind == entryView {
		o.appliedView(in, pos, e)
		return
	}
	for _, m := range c.members {
		other := w.instOf(m)
		if !other.core.seeded() {
			continue // a joiner's snapshot will contain it
		}
		if o.holds[opKey{e.from, e.inc, e.sendno}]&(1<<other.idx) == 0 && other.core.log.base < pos {
			w.fail("safe delivery: %d.%x applies place %d (%s), which %s never had", in.node.id, in.inc, pos, e, m)
		}
	}
	sk := senderKey{in.idx, e.from, e.inc}
	if e.sendno <= o.lastOp[sk] {
		w.fail("FIFO: %d.%x applies operation %d of %d.%x after %d", in.node.id, in.inc, e.sendno, e.from, e.inc, o.lastOp[sk])
	}
	o.lastOp[sk] = e.sendno
	if e.kind == entryMessage {
		pk := portKey{in.idx, e.port, 0}
		seq := c.rep.port(e.port).seq
		if e.directed {
			for s := o.portSeq[pk] + 1; s <= seq; s++ {
				if s+uint64(len(e.payloads)) > seq {
					o.directed[seqKey{lineage, e.port, s}] = true
				}
			}
		}
	}
	for p := PortB; p <= PortH; p++ {
		o.portSeq[portKey{in.idx, p, 0}] = c.rep.port(p).seq
	}
}

func (o *oracle) appliedView(in *inst, pos uint64, e *entry) {
	w := o.w
	text := list(e.members)
	if u, ok := o.views[e.view]; ok && (u.pos != pos || u.text != text) {
		w.fail("generations: view %s is %s at place %d and %s at place %d", e.view, u.text, u.pos, text, pos)
	}
	o.views[e.view] = viewUse{pos, text}
	if e.view.Counter <= o.lastCtr[in.idx] {
		w.fail("generations: %d.%x goes from counter %d to %d", in.node.id, in.inc, o.lastCtr[in.idx], e.view.Counter)
	}
	o.lastCtr[in.idx] = e.view.Counter
	// A view that never came about is a place that its successor's flush
	// brought in: it must be with those of the successor, like any other.
	for _, m := range e.members {
		if !contains(in.core.members, m) {
			continue
		}
		other := w.instOf(m)
		if s := o.scanned[other.idx]; less(s.view, e.view) && other != in {
			w.fail("view %s counts at %d.%x before %s has it (it is in %s)", e.view, in.node.id, in.inc, m, s.view)
		}
	}
	k := placeKey{e.view.Counter<<8 | uint64(e.view.Coordinator), pos}
	hash := in.core.Hash()
	if was, ok := o.hashes[k]; ok && was != hash && o.views[e.view].text == text {
		w.fail("state: the hash after view %s differs at %d.%x", e.view, in.node.id, in.inc)
	}
	o.hashes[k] = hash
	for p := PortB; p <= PortH; p++ {
		o.portSeq[portKey{in.idx, p, 0}] = in.core.rep.port(p).seq
	}
	o.counts["views"]++
}

// seq checks that a client gets a contiguous part of its port's log, and that
// fenced there is only one log of port h (I2).
func (o *oracle) seq(in *inst, lineage uint64, p Port, seq uint64, text string) {
	w := o.w
	k := portKey{in.idx, p, in.session[p-'a']}
	last, ok := o.lastSeq[k]
	o.lastSeq[k] = seq
	if ok {
		for s := last + 1; s < seq; s++ {
			if !o.directed[seqKey{lineage, p, s}] {
				w.fail("port %s at %d.%x: %d (%s) comes after %d", p, in.node.id, in.inc, seq, text, last)
			}
		}
		if seq <= last {
			w.fail("port %s at %d.%x: %d comes again after %d", p, in.node.id, in.inc, seq, last)
		}
	}
	if p == PortH && w.fenced {
		sk := seqKey{lineage, p, seq}
		if was, ok := o.hlog[sk]; ok && was != text {
			w.fail("I2: port h place %d is %q at %d.%x, elsewhere %q", seq, text, in.node.id, in.inc, was)
		}
		o.hlog[sk] = text
		o.counts["h-log"]++
	}
}

func (o *oracle) view(in *inst, v DeliverView) {
	w := o.w
	if v.Port == PortA {
		o.lostSome[in.idx] = o.lostSome[in.idx] || len(v.Departed) > 0
		return
	}
	in.joined[v.Port-'a'] = true
	if v.First != !in.first[v.Port] {
		w.fail("port %s at %d.%x: first=%v", v.Port, in.node.id, in.inc, v.First)
	}
	in.first[v.Port] = true
	if !contains(v.Members, Member{Node: NodeID(in.node.id), Incarnation: in.inc}) {
		w.fail("port %s at %d.%x: view without itself: %s", v.Port, in.node.id, in.inc, v)
	}
	dep := v.Departed
	if v.First {
		v.First, v.Departed = false, nil
	}
	if v.Port == PortH && !(len(v.Departed) > 0 && !w.fenced) {
		// A first view has no departures; compare the rest.
		x := v
		x.Departed = nil
		o.seq(in, v.ID.Lineage, v.Port, v.Seq, x.String())
	} else {
		o.seq(in, v.ID.Lineage, v.Port, v.Seq, "")
	}
	if v.Port != PortH || !w.fenced {
		return
	}
	for _, d := range dep {
		gone := w.instOf(d.Member)
		if d.Evidence == EvidenceNone {
			w.fail("R1: view %s of port h at %d.%x without evidence for %s", v.ID, in.node.id, in.inc, d.Member)
		}
		if !gone.off && gone.alive && !in.core.finished {
			left := d.Evidence == EvidenceClean && gone.core.leaving
			if !left {
				w.fail("R1: view %s of port h at %d.%x releases %s, which still runs", v.ID, in.node.id, in.inc, d)
			}
		}
		o.counts["fenced"]++
	}
}

func (o *oracle) message(in *inst, m DeliverMessage) {
	w := o.w
	p := string(m.Payload)
	if !o.known[p] {
		w.fail("%d.%x gets %q, which nobody sent", in.node.id, in.inc, p)
	}
	if o.got[gotKey{in.idx, p}] {
		w.fail("%d.%x gets %q twice", in.node.id, in.inc, p)
	}
	o.got[gotKey{in.idx, p}] = true
	o.anyGot[p] = true
	if o.lost[p] {
		w.fail("R15: %q was told LOST, now %d.%x gets it", p, in.node.id, in.inc)
	}
	if bytes.HasPrefix(m.Payload, fmt.Appendf(nil, "%d.%x.", in.node.id, in.inc)) != m.Own && m.Own {
		w.fail("own flag of %q is wrong at %d.%x", p, in.node.id, in.inc)
	}
	o.seq(in, m.View.Lineage, m.Port, m.Seq, m.View.String()+p)
	o.counts["delivered"]++
	if m.Port != PortH || !w.fenced {
		return
	}
	if !in.first[PortH] {
		w.fail("port h at %d.%x: a message before the first view", in.node.id, in.inc)
	}
	o.afterFence(in, m)
}

// afterFence: what was not held by the whole old view is delivered on port h
// only when those who lack it are certainly off (R5).
func (o *oracle) afterFence(in *inst, m DeliverMessage) {
	w := o.w
	if _, ok := o.views[m.View]; !ok {
		w.fail("message %s in view %s, which nobody applied", m.Payload, m.View)
		return
	}
	key, ok := o.opOf[string(m.Payload)]
	if !ok {
		return // a further payload of the same send
	}
	for _, other := range w.insts {
		if !other.alive || other.off || other.core.leaving {
			continue
		}
		member := Member{Node: NodeID(other.node.id), Incarnation: other.inc}
		if !o.inView(m.View, member) || other.core.log.base > 0 && o.holds[key] == 0 {
			continue
		}
		if o.holds[key]&(1<<other.idx) == 0 {
			w.fail("R5: %d.%x delivers %q of view %s on port h while %s, which never had it, still runs", in.node.id,
				in.inc, m.Payload, m.View, member)
		}
	}
}

func (o *oracle) inView(v ViewID, m Member) bool {
	return bytes.Contains([]byte(o.views[v].text), []byte(m.String()))
}

func (o *oracle) evidence(in *inst, e DeliverEvidence) {
	o.seq(in, e.View.Lineage, PortH, e.Seq, e.String())
	if gone := o.w.instOf(e.Departed.Member); o.w.fenced && gone.alive {
		o.w.fail("R1: evidence %s for %s, which runs", e, e.Departed)
	}
	o.counts["evidence"]++
}

func (o *oracle) outcome(in *inst, e Outcome, ended bool) {
	w := o.w
	k := sendKey{e.Port, in.session[e.Port-'a'], e.ID}
	if !in.pending[k] {
		w.fail("R15: a second or foreign outcome at %d.%x: %s", in.node.id, in.inc, e)
		return
	}
	delete(in.pending, k)
	o.counts[e.Result.String()]++
	for _, p := range o.byID[idKey{in.idx, e.Port, e.ID}] {
		switch e.Result {
		case ResultDelivered:
			if key, ok := o.opOf[p]; ok && o.holds[key] == 0 {
				w.fail("R15: %q told DELIVERED, but nobody has it", p)
			}
		case ResultLost:
			o.lost[p] = true
			if o.anyGot[p] {
				w.fail("R15: %q told LOST, but somebody got it", p)
			}
		case ResultUnknown:
			if !ended && !o.lostSome[in.idx] {
				w.fail("R15: %q told UNKNOWN while the system stays in the view", p)
			}
		}
	}
}
