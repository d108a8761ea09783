package join

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// CheckPeriod is how often the engines of the RUNNING systems are compared.
const CheckPeriod = time.Minute

// Marked is an ordered mark: every RUNNING system hashes its engine at this
// place. N is the place.
type Marked struct{ N uint64 }

// Voted is a system's ordered word about its engine at a mark.
type Voted struct {
	System string
	N      uint64
	Hash   uint64
}

// Mark broadcasts a mark.
type Mark struct{}

// Vote hashes the engine as it is now and broadcasts the result.
type Vote struct{ N uint64 }

// Diverged: this system's engine is not what the others have. It decides
// nothing more: had ends at once, leaves applications as they are, and comes
// back with the state of a peer (R22, I3).
type Diverged struct{ With []string }

func (Marked) event()    {}
func (Voted) event()     {}
func (Mark) effect()     {}
func (Vote) effect()     {}
func (Diverged) effect() {}

func (e Marked) String() string   { return fmt.Sprintf("marked #%d", e.N) }
func (e Voted) String() string    { return fmt.Sprintf("voted %s #%d %x", e.System, e.N, e.Hash) }
func (Mark) String() string       { return "mark" }
func (e Vote) String() string     { return fmt.Sprintf("vote #%d", e.N) }
func (e Diverged) String() string { return "diverged from " + strings.Join(e.With, " ") }

// check is the comparison under way.
type check struct {
	next   vclock.Time // when this system marks; 0: another one does
	open   bool
	n      uint64
	expect []string // by node id
	votes  map[string]uint64
}

// marks says whether this system is the one that marks: the lowest RUNNING one
// that has RUNNING peers.
func (c *Core) marks() bool {
	return c.state == Running && c.lowestRunning() == c.self && c.anyIn(Running)
}

// due keeps the time of the next mark.
func (c *Core) due() {
	switch {
	case !c.marks():
		c.check.next = 0
	case c.check.next == 0:
		c.check.next = c.now.Add(CheckPeriod)
	}
}

func (c *Core) mark() {
	if c.marks() && c.check.next != 0 && c.now >= c.check.next {
		c.check.next = c.now.Add(CheckPeriod)
		c.emit(Mark{})
	}
}

// marked begins a comparison; what came of an earlier one no longer counts.
func (c *Core) marked(e Marked) {
	k := &c.check
	k.open, k.n, k.expect, k.votes = true, e.N, nil, map[string]uint64{}
	for _, m := range c.members {
		if s := c.stateOf(m.Name); s == Running || s == Leaving {
			k.expect = append(k.expect, m.Name)
		}
	}
	if slices.Contains(k.expect, c.self) {
		c.emit(Vote(e))
	}
}

func (c *Core) voted(e Voted) {
	k := &c.check
	if !k.open || e.N != k.n || !slices.Contains(k.expect, e.System) {
		return
	}
	k.votes[e.System] = e.Hash
	if len(k.votes) == len(k.expect) {
		k.open = false
		c.judge()
	}
}

// judge lets the hash that most systems have stand, on a tie that of the
// lowest node id (R22).
func (c *Core) judge() {
	k := &c.check
	count := map[uint64]int{}
	for _, h := range k.votes {
		count[h]++
	}
	stands := k.votes[k.expect[0]]
	for _, name := range k.expect { // by node id, so that a tie goes to the lowest
		if h := k.votes[name]; count[h] > count[stands] {
			stands = h
		}
	}
	var good, bad []string
	for _, name := range k.expect {
		if k.votes[name] == stands {
			good = append(good, name)
		} else {
			bad = append(bad, name)
		}
	}
	switch own, voted := k.votes[c.self]; {
	case len(bad) == 0:
	case voted && own != stands:
		c.emit(Note{"CRITICAL", "V-16-1-90163", fmt.Sprintf("The engine of this system is not what %s have: it decides nothing more; had ends, leaves applications as they are and comes back with the state of a peer", strings.Join(good, ", "))})
		c.emit(Diverged{With: good})
	default:
		c.emit(Note{"ERROR", "V-16-1-90164", fmt.Sprintf("The engine of %s is not what %s have; had there starts anew", strings.Join(bad, ", "), strings.Join(good, ", "))})
	}
}
