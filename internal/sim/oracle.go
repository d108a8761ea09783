package sim

import (
	"fmt"
	"hash/fnv"

	"github.com/evenkeel/evenkeel/services/gab"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// oracle checks the invariants of safety.md after every step that can break
// them. It looks at applications and disks, and at what each had was handed
// out of the total order.
type oracle struct {
	w      *World
	counts map[string]int

	// port h: what stands at a place, and who has been there (I2).
	log    map[place]uint64
	last   map[*hadd]place
	gaps   map[place]bool // somebody was handed the next place without this one
	states map[place]uint64
	acked  []ack
	told   map[tellKey]bool      // decisions told to administrators
	first  map[string]engine.Pos // of a request id that was acknowledged

	// released: the port-h view without it was released, and it has not been
	// admitted since (I7).
	released []releasedNode

	// known are the configurations that somebody wrote to a disk, by their hash:
	// the sequence of each. dumped is the highest of which each system's disk
	// was acknowledged to hold it (I6).
	known  map[uint64]uint64
	dumped [gab.MaxNodes]uint64

	// excused are groups of which a monitor hid that they run.
	excused map[string]bool
}

// place is one in the log of port h. Without fencing two sides of a split go
// on in one lineage, each with views of its own: view tells them apart then.
type place struct{ lineage, seq, view uint64 }

type ack struct {
	id  string
	pos engine.Pos
}

type releasedNode struct {
	is  bool
	inc uint64
}

func newOracle(w *World) *oracle {
	return &oracle{w: w, counts: map[string]int{}, log: map[place]uint64{}, last: map[*hadd]place{}, gaps: map[place]bool{},
		states: map[place]uint64{}, told: map[tellKey]bool{}, first: map[string]engine.Pos{}, released: make([]releasedNode, gab.MaxNodes),
		excused: map[string]bool{}, known: map[uint64]uint64{}}
}

func (o *oracle) count(name string) { o.counts[name]++ }

// i1Holds is false where I1 promises nothing: without fencing, once a
// partition or a pause has happened.
func (o *oracle) i1Holds() bool { return o.w.fenced || !o.w.tainted }

// excuses says whether a monitor hid lately that something of a group runs:
// until no monitor lies and it runs on one system at most.
func (o *oracle) excuses(group string) bool {
	if !o.excused[group] {
		return false
	}
	on := -1
	for _, r := range o.w.res {
		if r.group != group {
			continue
		}
		for _, n := range o.w.nodes {
			if r.lies[n.id] != schedule.SawUnknown || n.running[r.index] && on >= 0 && on != n.id {
				o.count("I1 excused")
				return true
			}
			if n.running[r.index] {
				on = n.id
			}
		}
	}
	delete(o.excused, group)
	return false
}

// raised checks I1 and I7 when an application begins to run.
func (o *oracle) raised(n *node, r *resourceModel) {
	w := o.w
	if r.op != schedule.OnOff || !r.failover || !o.i1Holds() || o.excuses(r.group) {
		return
	}
	o.count("I1")
	for _, other := range w.nodes {
		if other == n || !other.on || other.frozen {
			continue
		}
		for _, q := range w.res {
			if !q.gone && q.group == r.group && q.op == schedule.OnOff && other.running[q.index] {
				w.fail("I1: %s starts on %s while %s of group %s runs on %s", r.name, n.name, q.name, r.group, other.name)
				return
			}
		}
	}
	if o.released[n.id].is {
		w.fail("I7: %s starts on %s, which the cluster has released as gone", r.name, n.name)
	}
}

// thawed checks I1 and I7 when a machine goes on.
func (o *oracle) thawed(n *node) {
	for _, r := range o.w.res {
		if n.running[r.index] {
			o.raised(n, r)
		}
	}
}

// imported and wrote check the disks: no write of X after another's import.
func (o *oracle) imported(n *node, d *disk) { o.w.say("%s imports %s", n.name, d.name) }

func (o *oracle) wrote(n *node, d *disk, epoch int) {
	w := o.w
	d.wrote = n.id
	if !o.i1Holds() || o.excuses(d.group) {
		return
	}
	o.count("disk writes")
	if d.epoch != epoch {
		w.fail("I1: %s writes to %s after %s has imported it", n.name, d.name, w.nodes[d.owner].name)
		return
	}
	if o.released[n.id].is {
		w.fail("I7: %s writes to %s, though the cluster has released it as gone", n.name, d.name)
	}
}

// viewed looks at a released view of port h.
func (o *oracle) viewed(h *hadd, v gab.DeliverView) {
	w := o.w
	text := fmt.Sprintf("%d %v %v %v", v.Generation, v.Members, v.Systems, v.DaemonDown)
	o.ordered(h, v.ID, v.Seq, text)
	o.count("port-h views")
	if v.First {
		o.released[h.n.id] = releasedNode{}
	}
	if !w.fenced {
		return
	}
	for _, d := range v.Departed {
		gone := w.nodes[d.Member.Node]
		if d.Evidence == gab.EvidenceNone {
			w.fail("R1: %s is handed view %s without evidence for %s", h.n.name, v.ID, gone.name)
		}
		if !gone.on || gone.gab == nil || gone.gab.inc == d.Member.Incarnation {
			if _, back := member(v.Members, gone.id); !back && o.released[gone.id].inc < d.Member.Incarnation {
				o.released[gone.id] = releasedNode{is: true, inc: d.Member.Incarnation}
			}
		}
		if !gone.on || gone.frozen || gone.gab != nil && gone.gab.inc != d.Member.Incarnation {
			continue
		}
		for _, r := range w.res {
			if r.failover && r.op == schedule.OnOff && gone.running[r.index] && !o.excuses(r.group) {
				w.fail("I7: view %s of port h releases %s while %s runs there", v.ID, d, r.name)
			}
		}
	}
}

// ordered checks I2: a had is handed a contiguous part of one log.
func (o *oracle) ordered(h *hadd, v gab.ViewID, seq uint64, text string) {
	w := o.w
	f := fnv.New64a()
	f.Write([]byte(text))
	sum := f.Sum64()
	at := place{lineage: v.Lineage, seq: seq}
	if !w.fenced {
		at.view = v.Counter<<8 | uint64(v.Coordinator)
	}
	o.count("I2")
	if was, ok := o.log[at]; ok && was != sum {
		w.fail("I2: place %d of port h is %.200q at %s and something else elsewhere", seq, text, h.n.name)
		return
	}
	o.log[at] = sum
	last, ok := o.last[h]
	o.last[h] = at
	if !ok {
		return
	}
	if last.lineage != v.Lineage || seq <= last.seq {
		w.fail("I2: %s is handed place %d of port h after %d", h.n.name, seq, last.seq)
	}
}

// applied checks I3 and I4 after an engine took an event.
func (o *oracle) applied(h *hadd, pos engine.Pos, ev engine.Event) {
	if d, is := ev.(engine.ConfigDumped); is && d.Problem == "" && h.running && h.n.name == d.System {
		st := h.engine.ConfigStatus()
		if d.Version == st.Version && !st.Undumped {
			o.dumped[h.n.id] = max(o.dumped[h.n.id], st.Sequence)
			o.count("I6 dumps acknowledged")
		}
	}
	if !h.running || pos.Seq%8 != 0 {
		return
	}
	w := o.w
	at := place{lineage: pos.Lineage, seq: pos.Seq}
	if !w.fenced { // each side of a split has places of its own
		last := o.last[h]
		if last.lineage != pos.Lineage || last.seq != pos.Seq {
			return
		}
		at.view = last.view
	}
	sum := h.engine.Hash()
	o.count("I3")
	if was, ok := o.states[at]; ok && was != sum && (w.fenced || !w.tainted) {
		w.fail("I3: at place %d the state of %s differs from that of another RUNNING system", pos.Seq, h.n.name)
	}
	o.states[at] = sum
}

// acknowledged notes what a user was told (I4).
func (o *oracle) acknowledged(r engine.CommandResult) {
	if r.Code != engine.CodeOK || r.RequestID == "" {
		return
	}
	if was, ok := o.first[r.RequestID]; ok {
		o.count("I4 repeated requests")
		if was != r.Pos && (o.w.fenced || !o.w.tainted) {
			o.w.fail("I4: request %s was carried out at %s and again at %s", r.RequestID, was, r.Pos)
		}
		return
	}
	o.first[r.RequestID] = r.Pos
	o.acked = append(o.acked, ack{r.RequestID, r.Pos})
}

// written: a configuration goes to some disk.
func (o *oracle) written(files []engine.File, sequence uint64) {
	hash := confdisk.Hash(files) // the sides of a split may both come to it
	o.known[hash] = max(o.known[hash], sequence)
}

// diskRead checks I6 at what a starting had finds: a configuration that was
// written as a whole, not older than the last acknowledged dump.
func (o *oracle) diskRead(n *node, d onDisk) {
	o.count("I6")
	sequence, known := o.known[confdisk.Hash(d.files)]
	switch {
	case !known:
		o.w.fail("I6: the files on %s are no configuration that anybody wrote, but parts of several", n.name)
	case sequence < o.dumped[n.id]:
		o.w.fail("I6: the disk of %s holds configuration %d; the dump of %d was acknowledged", n.name, sequence, o.dumped[n.id])
	}
}

// rebuilt: the state was built from a disk again after the loss of all systems
// that had it; what only it knew is gone (the exception of I4).
func (o *oracle) rebuilt(c engine.ConfigLoaded) {
	for i := range o.dumped { // what nobody brought is gone, for all
		o.dumped[i] = min(o.dumped[i], c.Sequence)
	}
	for _, n := range o.w.nodes {
		if n.had != nil && n.had.running {
			return
		}
	}
	o.count("states rebuilt from disk")
	o.acked, o.first = nil, map[string]engine.Pos{}
}

// remembered checks I4 at a RUNNING system: what was acknowledged is in its
// log.
func (o *oracle) remembered(h *hadd) {
	pos := h.engine.Position()
	for _, a := range o.acked {
		if a.pos.Lineage != pos.Lineage || a.pos.Seq > pos.Seq || (!o.w.fenced && o.w.tainted) {
			continue
		}
		o.count("I4")
		got, ok := h.engine.Answer(a.id)
		if !ok || got.Pos != a.pos {
			o.w.fail("I4: request %s was acknowledged at %s; %s knows %v of it", a.id, a.pos, h.n.name, got.Pos)
			return
		}
	}
}

// begins checks R6 and R2 at an entry point that raises: there is a lease, and
// fencing has been told that something protected is here.
func (o *oracle) begins(h *hadd, e schedule.Call) {
	if e.Entry != schedule.Online {
		return
	}
	o.count("R6")
	n, r := h.n, o.w.resource(e.Resource)
	if late := n.clock().Sub(n.lease); late > 0 {
		o.w.fail("R6: the online of %s begins on %s %s after the last lease ended", e.Resource, n.name, late)
	}
	if r.failover && n.declared == 0 {
		o.w.fail("R2: the online of %s begins on %s, and fencing was not told of anything protected", e.Resource, n.name)
	}
}

// acts checks R8: once a new had probes, no entry point of a former one does
// anything.
func (o *oracle) acts(h *hadd, e schedule.Call) {
	if now := h.n.had; now != nil && now != h && now.agentsReady && e.Entry != schedule.Monitor {
		o.w.fail("R8: the %s of %s that a former had of %s began goes on beside the new one", e.Entry, e.Resource, h.n.name)
	}
}

// turned and spoke check R19 by world time: who was in a view and stood still
// for longer than its lease says nothing more in it.
func (o *oracle) turned(g *gabd) {
	if g.standing && g.turnedAt != 0 && o.w.now.Sub(g.turnedAt) > g.lease+g.lease/100 {
		g.mute = true
	}
	g.turnedAt = o.w.now
}

func (o *oracle) spoke(g *gabd) {
	if g.mute {
		o.w.fail("R19: gab of %s speaks in its view after it stood still for longer than its lease", g.n.name)
	}
}
