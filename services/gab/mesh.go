package gab

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// A fact is what one system last said of itself: whom it reaches, and what it
// is a member of. Systems hand facts on to those who cannot hear the subject
// themselves, so that everybody in reach over any number of steps computes the
// same next view from the same facts.
type fact struct {
	node     NodeID
	inc      uint64
	version  uint64 // grows with each change; 0: nothing is known
	reach    uint64 // nodes with a connection, not suspected
	view     ViewID // last view of its log; zero while fresh
	members  uint64 // nodes of it
	gateHeld bool
	canSeed  bool
	unfenced bool
}

// same compares all that a system says, not its number.
func (f fact) same(o fact) bool {
	f.version = o.version
	return f == o
}

// everybody is the reach of an older release, which does not say whom it
// reaches; no real one has all bits, as no system lists itself.
const everybody = ^uint64(0)

func (f fact) String() string {
	return fmt.Sprintf("%d.%x#%d reaches=%s view=%s", f.node, f.inc, f.version, nodeList(f.reach), f.view)
}

// heard is which fact of a system a peer was told last.
type heard struct{ inc, version uint64 }

// mesh is what this system knows of who reaches whom, and what follows.
type mesh struct {
	facts [MaxNodes]fact
	dirty bool        // something that the rest follows from has changed
	again vclock.Time // a suspicion ends
	news  bool        // a fact changed that peers may have to be told

	component uint64 // who is in reach over any number of steps, this system included
	target    uint64 // who shall go on together: the next view without its joiners
	whole     bool   // every two members of the log's last view reach each other
}

func mask(ms []Member) uint64 {
	var m uint64
	for _, x := range ms {
		m |= nodeBit(x.Node)
	}
	return m
}

// each calls f for the nodes of a mask, the lowest first.
func each(m uint64, f func(NodeID)) {
	for ; m != 0; m &= m - 1 {
		f(NodeID(bits.TrailingZeros64(m)))
	}
}

// nodeList prints a mask for notes.
func nodeList(m uint64) string {
	var ids []string
	each(m, func(n NodeID) { ids = append(ids, strconv.Itoa(int(n))) })
	return strings.Join(ids, ",")
}

// adjacent: both say that they reach the other. One that hears but is not
// heard has no connection: LLT opens none for it, and here one word is enough
// against it. Of an older release only what this system reaches itself is
// taken to reach each other.
func (c *Core) adjacent(a, b NodeID) bool {
	x, y := &c.mesh.facts[a], &c.mesh.facts[b]
	if x.reach == everybody || y.reach == everybody {
		seen := c.mesh.facts[c.cfg.Node].reach | nodeBit(c.cfg.Node)
		if a == b || seen&nodeBit(a) == 0 || seen&nodeBit(b) == 0 {
			return false
		}
	}
	return x.version > 0 && y.version > 0 && x.reach&nodeBit(b) != 0 && y.reach&nodeBit(a) != 0
}

// refresh brings everything that follows from the facts up to date and reports
// whether anything had to be looked at again.
func (c *Core) refresh() bool {
	m := &c.mesh
	own := &m.facts[c.cfg.Node]
	if !m.dirty && c.now < m.again && own.view == c.view && own.gateHeld == c.rep.gate.held {
		return false
	}
	m.dirty, m.again = false, vclock.Never
	now := fact{node: c.cfg.Node, inc: c.cfg.Incarnation, view: c.view, gateHeld: c.rep.gate.held, unfenced: c.cfg.FencingDisabled,
		canSeed: c.cfg.SeedCount > 0 || c.seedRequested}
	if c.seeded() {
		now.members = mask(c.members)
	}
	for n := range c.peers {
		switch p := &c.peers[n]; {
		case !p.up || p.status == nil:
		case p.suspect > c.now:
			m.again = vclock.Earlier(m.again, p.suspect)
		default:
			now.reach |= 1 << n
		}
	}
	if own.version == 0 || !now.same(*own) {
		now.version = own.version + 1
		*own = now
		m.news = true
	}
	m.component = c.spread()
	m.target = c.nextView()
	m.whole = c.clique(mask(c.members), c.members)
	c.considerFacts()
	return true
}

// spread is who is in reach over any number of steps.
func (c *Core) spread() uint64 {
	done, next := uint64(0), nodeBit(c.cfg.Node)
	for next != 0 {
		n := NodeID(bits.TrailingZeros64(next))
		done |= nodeBit(n)
		next &^= nodeBit(n)
		each(c.mesh.facts[n].reach&^done, func(o NodeID) {
			if c.adjacent(n, o) {
				next |= nodeBit(o)
			}
		})
	}
	return done
}

// clique reports whether the nodes of a mask all reach each other; if members
// are given, in these incarnations.
func (c *Core) clique(of uint64, members []Member) bool {
	for _, x := range members {
		if f := &c.mesh.facts[x.Node]; f.inc != x.Incarnation {
			return false
		}
	}
	for rest := of; rest != 0; rest &= rest - 1 {
		if n := NodeID(bits.TrailingZeros64(rest)); c.neighbours(n)&of != of&^nodeBit(n) {
			return false
		}
	}
	return true
}

// neighbours is who n reaches and is reached by.
func (c *Core) neighbours(n NodeID) uint64 {
	var m uint64
	each(c.mesh.facts[n].reach, func(o NodeID) {
		if c.adjacent(n, o) {
			m |= nodeBit(o)
		}
	})
	return m
}

// nextView is who shall go on together (spec section 4, The mesh): of the
// systems in reach that come from this view, the largest set of which every
// two reach each other, of several the one with the lowest system in which
// they differ. Before there is a view, the same of the fresh ones.
func (c *Core) nextView() uint64 {
	self := nodeBit(c.cfg.Node)
	from := self
	each(c.mesh.component&^self, func(n NodeID) {
		if c.comesAlong(n) {
			from |= nodeBit(n)
		}
	})
	if !c.seeded() && c.seedRequested {
		return self | c.largest(from&c.neighbours(c.cfg.Node))
	}
	return c.largest(from)
}

// comesAlong: n belongs to this view or, having moved on to a newer one with
// this system, will be led by it; of fresh systems, one fit to be seeded with.
func (c *Core) comesAlong(n NodeID) bool {
	f := &c.mesh.facts[n]
	if !c.seeded() {
		return f.view.IsZero() && f.unfenced == c.cfg.FencingDisabled
	}
	s := c.rep.system(n)
	if f.view.Lineage != c.view.Lineage || (s != nil && s.leaving && s.Incarnation == f.inc) {
		return false
	}
	return contains(c.members, Member{Node: n, Incarnation: f.inc}) ||
		(f.members&nodeBit(c.cfg.Node) != 0 && less(c.view, f.view))
}

// cliqueSteps bounds the search of the largest clique; the same bound on all
// systems gives the same answer.
const cliqueSteps = 100000

// largest is the largest clique among some nodes, of several the one with the
// lowest node in which they differ.
func (c *Core) largest(among uint64) uint64 {
	if c.clique(among, nil) {
		return among
	}
	var near [MaxNodes]uint64
	each(among, func(n NodeID) { near[n] = c.neighbours(n) & among })
	best, steps := uint64(0), 0
	var grow func(have, rest uint64)
	grow = func(have, rest uint64) {
		if bits.OnesCount64(have) > bits.OnesCount64(best) {
			best = have
		}
		for rest != 0 && steps < cliqueSteps {
			steps++
			if bits.OnesCount64(have)+colours(rest, &near) <= bits.OnesCount64(best) {
				return // nothing larger, and what comes is not lower
			}
			n := NodeID(bits.TrailingZeros64(rest))
			rest &^= nodeBit(n)
			grow(have|nodeBit(n), rest&near[n])
		}
	}
	grow(0, among)
	return best
}

// colours is how many colours a simple colouring takes: no clique among these
// nodes is larger.
func colours(of uint64, near *[MaxNodes]uint64) int {
	n := 0
	for of != 0 {
		n++
		for free := of; free != 0; {
			v := bits.TrailingZeros64(free)
			of &^= 1 << v
			free &^= near[v] | 1<<v
		}
	}
	return n
}

// admitted are the joiners that can come into the next view now: fit, and in
// mutual reach of everybody in it. A lower one comes before a higher one. No
// member ever makes room for a joiner.
func (c *Core) admitted() uint64 {
	in, joiners := c.mesh.target, uint64(0)
	for n := NodeID(0); n < MaxNodes; n++ {
		if in&nodeBit(n) == 0 && c.joiner(n) && c.neighbours(n)&in == in {
			in |= nodeBit(n)
			joiners |= nodeBit(n)
		}
	}
	return joiners
}

// considerFacts looks at the views of those whom only others reach: whoever
// went on without this system has left it out, and of two sides that share
// nobody one yields, also if a chain of systems is all that joins them.
func (c *Core) considerFacts() {
	if !c.seeded() || c.finished {
		return
	}
	mine := mask(c.members)
	each(c.mesh.component&^nodeBit(c.cfg.Node), func(n NodeID) {
		f := &c.mesh.facts[n]
		if c.finished || f.view.IsZero() || f.view == c.view || f.members&nodeBit(c.cfg.Node) != 0 {
			return
		}
		if f.view.Lineage == c.view.Lineage && contains(c.members, Member{Node: n, Incarnation: f.inc}) {
			if less(c.view, f.view) {
				c.standDown("evicted", fmt.Sprintf("system %d went on in view %s without this system, which is in %s", n, f.view, c.view), false)
			}
			return
		}
		if c.peers[n].up || (f.view.Lineage == c.view.Lineage && f.members&mine != 0) {
			return // its STATUS decides; or its view will be told apart when this one has changed
		}
		if (!c.rep.gate.held || !f.gateHeld) && c.yields(f.members, f.gateHeld) {
			c.standDown("yield", fmt.Sprintf("split: the side of system %d in view %s stays, this side in %s yields", n, f.view, c.view), true)
		}
	})
}

// onReach takes facts, of the sender and of others whom it hands on.
func (c *Core) onReach(from NodeID, m *message) {
	for i := range m.facts {
		f := m.facts[i]
		if f.node != c.cfg.Node && c.newer(from, f) {
			c.mesh.facts[f.node] = f
			c.mesh.dirty, c.mesh.news = true, true
		}
	}
}

// newer reports whether a fact replaces what is known of its system. A system
// itself is believed always, about its incarnation also one that reaches it.
func (c *Core) newer(from NodeID, f fact) bool {
	known := &c.mesh.facts[f.node]
	switch {
	case f.node == from:
		return f != *known
	case known.inc == f.inc:
		return f.version > known.version
	}
	if p := &c.peers[f.node]; p.up && p.status != nil {
		return false // it speaks for itself
	}
	return f.inc > known.inc || c.mesh.facts[from].reach&nodeBit(f.node) != 0
}

// assume makes up the fact of a peer that says none: an older release. It is
// taken to reach whoever reaches it.
func (c *Core) assume(n NodeID, m *message) {
	f := &c.mesh.facts[n]
	if f.inc == m.inc && f.version > 0 && f.reach != everybody {
		return
	}
	*f = fact{node: n, inc: m.inc, version: 1, reach: everybody, view: m.view, members: mask(m.members), gateHeld: m.gateHeld,
		canSeed: m.canSeed, unfenced: m.unfenced}
}

// tellFacts tells a peer what it cannot have heard from the systems themselves.
// Before it has said which formats its build speaks nothing is taken as told.
func (c *Core) tellFacts(n NodeID) {
	p := &c.peers[n]
	if !p.up || c.cfg.Formats.common(p.formats) < formatCompact {
		return
	}
	if p.told == nil {
		p.told = new([MaxNodes]heard)
	}
	var fs []fact
	each(c.mesh.component&^nodeBit(n), func(o NodeID) {
		f := &c.mesh.facts[o]
		if h := (heard{f.inc, f.version}); p.told[o] != h && f.reach != everybody && (o == c.cfg.Node || !c.adjacent(o, n)) {
			p.told[o] = h
			fs = append(fs, *f)
		}
	})
	if len(fs) > 0 {
		c.sendTo(n, &message{kind: kindReach, facts: fs})
	}
}
