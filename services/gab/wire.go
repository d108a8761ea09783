package gab

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Wire format: one byte version, one byte kind, then the fields of the kind in
// order. Numbers are unsigned varints, identities (lineage, incarnation) fixed
// 8 bytes big endian, byte strings and lists begin with their length. A decoder
// takes nothing on trust: a count that the rest of the message cannot hold, an
// unknown kind or bytes left over make the whole message invalid. The version
// is the format in which the fields are written (SpokenFormats).

// WireVersion is the newest format of messages between systems that this build
// speaks.
const WireVersion = formatCompact

type messageKind uint8

const (
	kindStatus messageKind = iota + 1
	kindNudge
	kindSend
	kindOrdered
	kindAck
	kindPropose
	kindRefuse
	kindState
	kindFlush
	kindFlushed
	kindInstall
	kindEvicted
	kindReach
)

var kindNames = [...]string{"?", "STATUS", "NUDGE", "SEND", "ORDERED", "ACK", "PROPOSE", "REFUSE", "STATE",
	"FLUSH", "FLUSHED", "INSTALL", "EVICTED", "REACH"}

// flushMode says what a FLUSH does with the log of its receiver.
type flushMode uint8

const (
	flushAppend   flushMode = iota + 1 // entries follow the log's end
	flushReplace                       // entries replace all that was not applied
	flushSnapshot                      // a joiner: state, then entries after it
)

// message is every message of the protocol; each kind uses the fields that its
// codec writes.
type message struct {
	kind messageKind

	inc      uint64   // STATUS: of the sender
	lineage  uint64   // STATUS, PROPOSE
	view     ViewID   // STATUS, NUDGE, SEND, ORDERED, ACK, PROPOSE, STATE, EVICTED: last view of the log
	members  []Member // STATUS, PROPOSE, STATE, EVICTED
	seen     uint64   // STATUS, REFUSE: highest counter of any attempt seen
	reserved uint64   // STATUS: counters up to it are on disk
	gateHeld bool     // STATUS
	fresh    bool     // STATUS, STATE: not a member of anything yet
	canSeed  bool     // STATUS
	unfenced bool     // STATUS: fencing mode disabled; all systems must agree

	attempt uint64    // PROPOSE ... INSTALL: counter of the attempt
	length  uint64    // PROPOSE, STATE, ACK: last position held
	applied uint64    // PROPOSE, STATE, ACK: last position applied, all known stable
	first   uint64    // ORDERED, STATE, FLUSH, INSTALL: position of the first entry
	stable  uint64    // ORDERED
	trim    uint64    // ORDERED
	more    bool      // STATE, FLUSH: another part follows
	leader  NodeID    // REFUSE: whom the sender follows
	mode    flushMode // FLUSH
	state   []byte    // FLUSH: snapshot
	facts   []fact    // REACH
	entries []entry   // SEND, ORDERED, STATE, FLUSH, INSTALL
}

// entryKind is what one place of the order holds.
type entryKind uint8

const (
	entryMessage entryKind = iota + 1
	entryJoinPort
	entryLeavePort
	entryProtection
	entryFenceAnswer
	entryLeaveSystem
	entryJeopardy
	entryView
	entryDisk    // after entryView: older builds know the numbers before
	entryControl // of the daemons themselves
)

// maxControl bounds the payload of Control, in bytes.
const maxControl = 1 << 10

var entryNames = [...]string{"?", "message", "join-port", "leave-port", "protection", "fence-answer",
	"leave-system", "jeopardy", "view", "disk", "control"}

// entry is one place of the total order.
type entry struct {
	kind   entryKind
	from   NodeID // sender; of a view its coordinator
	inc    uint64 // its incarnation
	sendno uint64 // its number of this operation, from 1; 0 for a view

	port     Port       // message, join-port, leave-port
	directed bool       // message
	node     NodeID     // message: target if directed; jeopardy, disk: whom
	on       bool       // jeopardy, disk
	number   uint32     // protection
	payloads [][]byte   // message
	view     ViewID     // view: its id; fence-answer: the view answered
	departed []Departed // fence-answer
	members  []Member   // view
	stable   uint64     // view: positions up to it were stable in the full old view
	format   uint8      // view: of its messages; also 1 where format 1 does not say
}

// size is what an entry counts for in batches.
func (e *entry) size() int {
	n := 48 + 24*len(e.members) + 48*len(e.departed)
	for _, p := range e.payloads {
		n += len(p) + 3
	}
	return n
}

func (e entry) String() string {
	s := entryNames[e.kind]
	switch e.kind {
	case entryMessage:
		s += fmt.Sprintf(" %s/%d#%d %s", e.port, e.from, e.sendno, payloadText(e.payloads))
	case entryView:
		s += fmt.Sprintf(" %s %s stable=%d", e.view, list(e.members), e.stable)
	case entryJoinPort, entryLeavePort:
		s += fmt.Sprintf(" %s/%d#%d", e.port, e.from, e.sendno)
	default:
		s += fmt.Sprintf(" %d#%d", e.from, e.sendno)
	}
	return s
}

type writer struct {
	b      []byte
	format uint8
}

func (w *writer) byte(v byte)     { w.b = append(w.b, v) }
func (w *writer) num(v uint64)    { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) fixed(v uint64)  { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *writer) bytes(v []byte)  { w.num(uint64(len(v))); w.b = append(w.b, v...) }
func (w *writer) string(v string) { w.num(uint64(len(v))); w.b = append(w.b, v...) }
func (w *writer) bool(v bool) {
	if v {
		w.byte(1)
	} else {
		w.byte(0)
	}
}

func (w *writer) viewID(v ViewID) {
	w.fixed(v.Lineage)
	w.num(v.Counter)
	w.byte(byte(v.Coordinator))
	w.fixed(v.Incarnation)
}

func (w *writer) members(ms []Member) {
	w.num(uint64(len(ms)))
	for _, m := range ms {
		w.member(m)
	}
}

func (w *writer) member(m Member) {
	w.byte(byte(m.Node))
	w.fixed(m.Incarnation)
	w.bool(m.Jeopardy)
}

func (w *writer) departed(ds []Departed) {
	w.num(uint64(len(ds)))
	for _, d := range ds {
		w.member(d.Member)
		w.byte(byte(d.Evidence))
		w.string(d.Detail)
	}
}

func (w *writer) entry(e *entry) {
	w.byte(byte(e.kind))
	w.byte(byte(e.from))
	w.fixed(e.inc)
	w.num(e.sendno)
	switch e.kind {
	case entryMessage:
		w.byte(byte(e.port))
		w.bool(e.directed)
		w.byte(byte(e.node))
		w.payloads(e.payloads)
	case entryJoinPort, entryLeavePort:
		w.byte(byte(e.port))
	case entryProtection:
		w.num(uint64(e.number))
	case entryFenceAnswer:
		w.viewID(e.view)
		w.departed(e.departed)
	case entryLeaveSystem:
	case entryJeopardy, entryDisk:
		w.byte(byte(e.node))
		w.bool(e.on)
	case entryControl:
		w.bytes(e.payloads[0])
	case entryView:
		w.viewID(e.view)
		w.members(e.members)
		w.num(e.stable)
		if w.format >= formatCompact {
			w.byte(e.format)
		}
	}
}

// What the first byte of an entry says in format 2, beside its kind.
const (
	entryFollows = 0x40 // a message like the one before, and the sender's next
	entrySingle  = 0x80 // one payload, and no count of them
)

// follows reports whether e differs from the entry before in its number, which
// is the next, and its payloads only.
func (e *entry) follows(before *entry) bool {
	return before != nil && e.kind == entryMessage && before.kind == entryMessage && e.from == before.from && e.inc == before.inc &&
		e.port == before.port && e.directed == before.directed && e.node == before.node && e.sendno > before.sendno && e.sendno == before.sendno+1
}

// compact writes an entry in format 2.
func (w *writer) compact(e, before *entry) {
	if !e.follows(before) {
		w.entry(e)
		return
	}
	if len(e.payloads) == 1 {
		w.byte(byte(e.kind) | entryFollows | entrySingle)
		w.bytes(e.payloads[0])
		return
	}
	w.byte(byte(e.kind) | entryFollows)
	w.payloads(e.payloads)
}

func (w *writer) payloads(ps [][]byte) {
	w.num(uint64(len(ps)))
	for _, p := range ps {
		w.bytes(p)
	}
}

func (w *writer) facts(fs []fact) {
	w.num(uint64(len(fs)))
	for _, f := range fs {
		w.byte(byte(f.node))
		w.fixed(f.inc)
		w.num(f.version)
		w.fixed(f.reach)
		w.viewID(f.view)
		w.fixed(f.members)
		w.bool(f.gateHeld)
		w.bool(f.canSeed)
		w.bool(f.unfenced)
	}
}

func (w *writer) entries(es []entry) {
	w.num(uint64(len(es)))
	for i := range es {
		switch {
		case w.format < formatCompact:
			w.entry(&es[i])
		case i == 0:
			w.compact(&es[i], nil)
		default:
			w.compact(&es[i], &es[i-1])
		}
	}
}

// encode is the wire form of m in a format.
func (m *message) encode(format uint8) []byte {
	size := 192 + len(m.state) // room for the fields, and for what a shell appends
	for i := range m.entries {
		size += m.entries[i].size()
	}
	w := writer{make([]byte, 0, size), format}
	w.byte(format)
	w.byte(byte(m.kind))
	switch m.kind {
	case kindStatus:
		w.fixed(m.inc)
		w.fixed(m.lineage)
		w.viewID(m.view)
		w.members(m.members)
		w.num(m.seen)
		w.num(m.reserved)
		w.bool(m.gateHeld)
		w.bool(m.fresh)
		w.bool(m.canSeed)
		w.bool(m.unfenced)
	case kindNudge:
		w.viewID(m.view)
	case kindSend:
		w.viewID(m.view)
		w.entries(m.entries)
	case kindOrdered:
		w.viewID(m.view)
		w.num(m.first)
		w.num(m.stable)
		w.num(m.trim)
		w.entries(m.entries)
	case kindAck:
		w.viewID(m.view)
		w.num(m.length)
		w.num(m.applied)
	case kindPropose:
		w.num(m.attempt)
		w.fixed(m.lineage)
		w.members(m.members)
		w.viewID(m.view)
		w.num(m.length)
		w.num(m.applied)
	case kindRefuse:
		w.num(m.attempt)
		w.num(m.seen)
		w.byte(byte(m.leader))
	case kindState:
		w.num(m.attempt)
		w.bool(m.fresh)
		w.viewID(m.view)
		w.members(m.members)
		w.num(m.length)
		w.num(m.applied)
		w.num(m.first)
		w.entries(m.entries)
		w.bool(m.more)
	case kindFlush:
		w.num(m.attempt)
		w.byte(byte(m.mode))
		w.bytes(m.state)
		w.num(m.first)
		w.entries(m.entries)
		w.bool(m.more)
	case kindFlushed:
		w.num(m.attempt)
	case kindInstall:
		w.num(m.attempt)
		w.num(m.first)
		w.entries(m.entries)
	case kindEvicted:
		w.viewID(m.view)
		w.members(m.members)
	case kindReach:
		w.facts(m.facts)
	}
	return w.b
}

var (
	errMalformed = errors.New("gab message: malformed")
	errFormat    = errors.New("gab message: of a format that this build does not speak")
)

// reader reads fields until one does not fit; then ok is false for good.
type reader struct {
	b      []byte
	ok     bool
	format uint8
}

func (r *reader) fail() { r.ok, r.b = false, nil }

func (r *reader) byte() byte {
	if len(r.b) < 1 {
		r.fail()
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) bool() bool {
	v := r.byte()
	if v > 1 {
		r.fail()
	}
	return v == 1
}

func (r *reader) num() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fixed() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.num()
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// count reads the length of a list whose elements take at least min bytes.
func (r *reader) count(min int) int {
	n := r.num()
	if n > uint64(len(r.b)/min) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) node() NodeID {
	v := r.byte()
	if v >= MaxNodes {
		r.fail()
	}
	return NodeID(v)
}

func (r *reader) portLetter() Port {
	v := Port(r.byte())
	if !v.Valid() {
		r.fail()
	}
	return v
}

func (r *reader) viewID() ViewID {
	return ViewID{Lineage: r.fixed(), Counter: r.num(), Coordinator: r.node(), Incarnation: r.fixed()}
}

func (r *reader) member() Member {
	return Member{Node: r.node(), Incarnation: r.fixed(), Jeopardy: r.bool()}
}

// members reads a membership; it is sorted by node without repeats.
func (r *reader) members() []Member {
	n := r.count(10)
	var ms []Member
	for range n {
		m := r.member()
		if len(ms) > 0 && ms[len(ms)-1].Node >= m.Node {
			r.fail()
		}
		ms = append(ms, m)
	}
	return ms
}

func (r *reader) departed() []Departed {
	n := r.count(12)
	var ds []Departed
	for range n {
		d := Departed{Member: r.member(), Evidence: Evidence(r.byte()), Detail: string(r.bytes())}
		if d.Evidence > EvidenceAssumed {
			r.fail()
		}
		ds = append(ds, d)
	}
	return ds
}

// entry reads one entry; before is the one before in the message, or nil.
func (r *reader) entry(before *entry) entry {
	first := r.byte()
	if r.format >= formatCompact && first&entryFollows != 0 {
		return r.following(first, before)
	}
	e := entry{kind: entryKind(first), from: r.node(), inc: r.fixed(), sendno: r.num()}
	switch e.kind {
	case entryMessage:
		e.port = r.portLetter()
		e.directed = r.bool()
		e.node = r.node()
		e.payloads = r.payloads()
	case entryJoinPort, entryLeavePort:
		e.port = r.portLetter()
	case entryProtection:
		v := r.num()
		if v > 1<<32-1 {
			r.fail()
		}
		e.number = uint32(v)
	case entryFenceAnswer:
		e.view = r.viewID()
		e.departed = r.departed()
	case entryLeaveSystem:
	case entryJeopardy, entryDisk:
		e.node = r.node()
		e.on = r.bool()
	case entryControl:
		p := r.bytes()
		if len(p) > maxControl {
			r.fail()
		}
		e.payloads = [][]byte{p}
	case entryView:
		e.view = r.viewID()
		e.members = r.members()
		e.stable = r.num()
		e.format = formatFirst
		if r.format >= formatCompact {
			if e.format = r.byte(); e.format == 0 {
				r.fail()
			}
		}
	default:
		r.fail()
	}
	return e
}

func (r *reader) payloads() [][]byte {
	n := r.count(1)
	if n > MaxPayloads {
		r.fail()
		return nil
	}
	ps := make([][]byte, 0, n)
	for i := 0; i < n && r.ok; i++ {
		ps = append(ps, r.bytes())
	}
	return ps
}

// following reads a message that is like the one before.
func (r *reader) following(first byte, before *entry) entry {
	if before == nil || before.kind != entryMessage || first&^entrySingle != byte(entryMessage)|entryFollows || before.sendno == 1<<64-1 {
		r.fail()
		return entry{}
	}
	e := *before
	e.sendno++
	if first&entrySingle != 0 {
		e.payloads = [][]byte{r.bytes()}
		return e
	}
	e.payloads = r.payloads()
	if len(e.payloads) == 1 {
		r.fail() // one entry has one form
	}
	return e
}

func (r *reader) entries() []entry {
	least := 11
	if r.format >= formatCompact {
		least = 2
	}
	n := r.count(least)
	if n == 0 {
		return nil
	}
	es := make([]entry, 0, min(n, batchEntries))
	for i := 0; i < n && r.ok; i++ {
		var before *entry
		if i > 0 {
			before = &es[i-1]
		}
		es = append(es, r.entry(before))
	}
	return es
}

// facts are sorted by node without repeats.
func (r *reader) facts() []fact {
	var fs []fact
	for range r.count(46) {
		f := fact{node: r.node(), inc: r.fixed(), version: r.num(), reach: r.fixed(), view: r.viewID(), members: r.fixed(),
			gateHeld: r.bool(), canSeed: r.bool(), unfenced: r.bool()}
		if f.version == 0 || (len(fs) > 0 && fs[len(fs)-1].node >= f.node) {
			r.fail()
		}
		fs = append(fs, f)
	}
	return fs
}

// decode reads one message of one of the formats; its payloads lie in b.
func decode(b []byte, formats Formats) (message, error) {
	r := reader{b: b, ok: true}
	if r.format = r.byte(); r.format == 0 {
		return message{}, errMalformed
	}
	if r.format < formats.Lowest || r.format > formats.Highest {
		return message{}, errFormat
	}
	m := message{kind: messageKind(r.byte())}
	switch m.kind {
	case kindStatus:
		m.inc = r.fixed()
		m.lineage = r.fixed()
		m.view = r.viewID()
		m.members = r.members()
		m.seen = r.num()
		m.reserved = r.num()
		m.gateHeld = r.bool()
		m.fresh = r.bool()
		m.canSeed = r.bool()
		m.unfenced = r.bool()
	case kindNudge:
		m.view = r.viewID()
	case kindSend:
		m.view = r.viewID()
		m.entries = r.entries()
	case kindOrdered:
		m.view = r.viewID()
		m.first = r.num()
		m.stable = r.num()
		m.trim = r.num()
		m.entries = r.entries()
	case kindAck:
		m.view = r.viewID()
		m.length = r.num()
		m.applied = r.num()
	case kindPropose:
		m.attempt = r.num()
		m.lineage = r.fixed()
		m.members = r.members()
		m.view = r.viewID()
		m.length = r.num()
		m.applied = r.num()
	case kindRefuse:
		m.attempt = r.num()
		m.seen = r.num()
		m.leader = r.node()
	case kindState:
		m.attempt = r.num()
		m.fresh = r.bool()
		m.view = r.viewID()
		m.members = r.members()
		m.length = r.num()
		m.applied = r.num()
		m.first = r.num()
		m.entries = r.entries()
		m.more = r.bool()
	case kindFlush:
		m.attempt = r.num()
		m.mode = flushMode(r.byte())
		m.state = r.bytes()
		m.first = r.num()
		m.entries = r.entries()
		m.more = r.bool()
		if m.mode < flushAppend || m.mode > flushSnapshot {
			r.fail()
		}
	case kindFlushed:
		m.attempt = r.num()
	case kindInstall:
		m.attempt = r.num()
		m.first = r.num()
		m.entries = r.entries()
		if len(m.entries) != 1 || m.entries[0].kind != entryView {
			r.fail()
		}
	case kindEvicted:
		m.view = r.viewID()
		m.members = r.members()
	case kindReach:
		m.facts = r.facts()
	default:
		r.fail()
	}
	if !r.ok || len(r.b) != 0 {
		return message{}, errMalformed
	}
	return m, nil
}

// describeMessage is one message as traces show it.
func describeMessage(b []byte) string {
	m, err := decode(b, SpokenFormats)
	if err != nil {
		return fmt.Sprintf("malformed(%d bytes)", len(b))
	}
	s := kindNames[m.kind]
	switch m.kind {
	case kindStatus:
		if m.fresh {
			return s + fmt.Sprintf(" fresh inc=%x seen=%d reserved=%d", m.inc, m.seen, m.reserved)
		}
		return s + fmt.Sprintf(" inc=%x view=%s members=%s seen=%d", m.inc, m.view, list(m.members), m.seen)
	case kindNudge:
		return s + " view=" + m.view.String()
	case kindSend:
		return s + fmt.Sprintf(" view=%s %s", m.view, list(m.entries))
	case kindOrdered:
		return s + fmt.Sprintf(" view=%s first=%d stable=%d %s", m.view, m.first, m.stable, list(m.entries))
	case kindAck:
		return s + fmt.Sprintf(" view=%s length=%d applied=%d", m.view, m.length, m.applied)
	case kindPropose:
		return s + fmt.Sprintf(" attempt=%d members=%s view=%s length=%d", m.attempt, list(m.members), m.view, m.length)
	case kindRefuse:
		return s + fmt.Sprintf(" attempt=%d seen=%d leader=%d", m.attempt, m.seen, m.leader)
	case kindState:
		return s + fmt.Sprintf(" attempt=%d fresh=%v view=%s length=%d applied=%d %s", m.attempt, m.fresh, m.view,
			m.length, m.applied, list(m.entries))
	case kindFlush:
		return s + fmt.Sprintf(" attempt=%d mode=%d first=%d %s", m.attempt, m.mode, m.first, list(m.entries))
	case kindFlushed:
		return s + fmt.Sprintf(" attempt=%d", m.attempt)
	case kindInstall:
		return s + fmt.Sprintf(" attempt=%d first=%d %s", m.attempt, m.first, list(m.entries))
	case kindEvicted:
		return s + fmt.Sprintf(" view=%s members=%s", m.view, list(m.members))
	case kindReach:
		return s + " " + list(m.facts)
	}
	return s
}
