package gab

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// country is a stage whose connections follow a graph of who hears whom, and
// whose systems begin again when they stand down.
type country struct {
	*stage
	n     int
	graph [][]bool
}

func newCountry(n, seed int, graph [][]bool) *country {
	s := &stage{cores: map[NodeID]*Core{}, conns: map[[2]NodeID]uint64{}, held: map[NodeID]bool{}}
	s.cfg = Config{SeedCount: seed, FencingDisabled: true}
	c := &country{stage: s, n: n, graph: graph}
	for i := range n {
		c.boot(NodeID(i))
	}
	return c
}

// boot starts a new incarnation and connects it with whom the graph joins it.
func (c *country) boot(n NodeID) {
	c.incs++
	cfg := c.cfg
	cfg.Node, cfg.Incarnation, cfg.Lineage = n, 0xa00+c.incs, 0xcafe00+c.incs
	core, err := New(cfg)
	if err != nil {
		panic(err)
	}
	c.cores[n] = core
	c.step(n, Wake{})
	for o := range c.cores {
		if o != n && c.graph[n][o] {
			c.connect(n, o)
		}
	}
}

// reshape changes who hears whom.
func (c *country) reshape(graph [][]bool) {
	c.graph = graph
	for a := range NodeID(c.n) {
		for b := range a {
			switch up := c.conns[link(a, b)] != 0; {
			case up && !graph[a][b]:
				c.cut(a, b)
			case !up && graph[a][b]:
				c.connect(a, b)
			}
		}
	}
}

// live lets time pass and begins new incarnations of those that stood down.
func (c *country) live(d time.Duration) {
	for end := c.now.Add(d); c.now < end; {
		c.run(10 * time.Millisecond)
		for n := range NodeID(c.n) {
			if c.cores[n].finished {
				for o := range NodeID(c.n) {
					if o != n {
						c.cut(n, o)
					}
				}
				c.boot(n)
			}
		}
	}
}

// component is who is joined with a system over any number of steps.
func (c *country) component(n int) uint64 {
	done, next := uint64(0), uint64(1)<<n
	for next != 0 {
		x := bits.TrailingZeros64(next)
		done |= 1 << x
		next &^= 1 << x
		for o := range c.n {
			if c.graph[x][o] && done&(1<<o) == 0 {
				next |= 1 << o
			}
		}
	}
	return done
}

func (c *country) clique(m uint64) bool {
	for a := range c.n {
		for b := range a {
			if m&(1<<a) != 0 && m&(1<<b) != 0 && !c.graph[a][b] {
				return false
			}
		}
	}
	return true
}

// best is the rule by trying everything: the largest clique, of several the
// one with the lowest system in which they differ.
func (c *country) best(among uint64) uint64 {
	best := uint64(0)
	for m := uint64(1); m < 1<<c.n; m++ {
		if m&^among != 0 || !c.clique(m) {
			continue
		}
		d := bits.OnesCount64(m) - bits.OnesCount64(best)
		lower := (m^best)&-(m^best)&m != 0
		if d > 0 || (d == 0 && lower) {
			best = m
		}
	}
	return best
}

func (c *country) text() string {
	var b strings.Builder
	for a := range c.n {
		for o := range a {
			if c.graph[a][o] {
				fmt.Fprintf(&b, " %d-%d", o, a)
			}
		}
	}
	for n := range NodeID(c.n) {
		st := c.cores[n].Status()
		fmt.Fprintf(&b, "\n%d: %s view=%s systems=%s %s", n, st.State, st.View, list(st.Systems), st.WaitingFor)
	}
	return b.String()
}

// check holds what the rule promises when nothing changes any more: every
// system is in a view or waits fresh; a view's members all hear each other and
// all have it; one view for everybody who is joined, over any number of steps;
// nobody waits whom all members of that view hear; and nothing moves.
func (c *country) check(t *rapid.T) {
	for n := range c.n {
		st := c.cores[NodeID(n)].Status()
		if st.State != StateInView && st.State != StateUnseeded {
			t.Fatalf("system %d is %s:%s", n, st.State, c.text())
		}
		if st.State == StateUnseeded {
			continue
		}
		view := mask(st.Systems)
		if view&(1<<n) == 0 || !c.clique(view) {
			t.Fatalf("the view of system %d is no clique with it:%s", n, c.text())
		}
		each(c.component(n), func(o NodeID) {
			other := c.cores[o].Status()
			in := other.State == StateInView
			if in && other.View != st.View {
				t.Fatalf("systems %d and %d are joined and have two views:%s", n, o, c.text())
			}
			if in != (view&nodeBit(o) != 0) {
				t.Fatalf("system %d: in a view %v, in that of %d %v:%s", o, in, n, !in, c.text())
			}
			if !in && c.clique(view|nodeBit(o)) {
				t.Fatalf("system %d waits, although every member of %d's view hears it:%s", o, n, c.text())
			}
		})
	}
	before := c.text()
	c.out.Reset()
	c.live(10 * time.Second)
	if after := c.text(); after != before || strings.Contains(c.out.String(), "view") {
		t.Fatalf("no rest:\nbefore%s\nafter%s\n%s", before, after, c.out.String())
	}
}

func complete(n int) [][]bool {
	g := make([][]bool, n)
	for i := range g {
		g[i] = make([]bool, n)
		for j := range g[i] {
			g[i][j] = i != j
		}
	}
	return g
}

func randomGraph(t *rapid.T, n int) [][]bool {
	g := complete(n)
	odds := rapid.IntRange(1, 9).Draw(t, "odds")
	for a := range n {
		for b := range a {
			up := rapid.IntRange(0, 9).Draw(t, "up") < odds
			g[a][b], g[b][a] = up, up
		}
	}
	return g
}

// TestMesh: whatever graph a full mesh turns into at one moment, each of its
// parts goes on as the largest set whose members all hear each other, and
// whoever can be admitted besides; then nothing moves until the graph does.
func TestMesh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 7).Draw(t, "n")
		c := newCountry(n, n, complete(n))
		c.live(300 * time.Millisecond)
		if st := c.cores[0].Status(); len(st.Systems) != n {
			t.Fatalf("not together:%s", c.text())
		}
		c.reshape(randomGraph(t, n))
		c.live(5 * time.Second)
		c.check(t)
		for i := range n {
			part := c.component(i)
			best := c.best(part)
			each(best, func(o NodeID) {
				if st := c.cores[o].Status(); st.State != StateInView {
					t.Fatalf("%s should go on, but system %d is %s:%s", nodeList(best), o, st.State, c.text())
				}
			})
		}
		c.reshape(complete(n))
		c.live(5 * time.Second)
		if st := c.cores[0].Status(); len(st.Systems) != n {
			t.Fatalf("not together again:%s", c.text())
		}
	})
}

// TestMeshWanders: the graph changes again and again, at any moment of what
// the last change led to; in the end the promises hold all the same.
func TestMeshWanders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 7).Draw(t, "n")
		first := complete(n)
		if rapid.Bool().Draw(t, "boots broken") {
			first = randomGraph(t, n)
		}
		c := newCountry(n, rapid.IntRange(1, n).Draw(t, "seed count"), first)
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			c.live(time.Duration(rapid.IntRange(0, 200).Draw(t, "ms")) * 10 * time.Millisecond)
			c.reshape(randomGraph(t, n))
		}
		c.live(15 * time.Second)
		c.check(t)
		c.reshape(complete(n))
		c.live(10 * time.Second)
		if st := c.cores[0].Status(); st.State != StateUnseeded && len(st.Systems) != n {
			t.Fatalf("not together again:%s", c.text())
		}
	})
}

// TestLargestClique compares the search with trying everything, and shows that
// it stays within its bound where all systems there can be are in a mesh that
// is hard: 64 in threes that do not hear each other, and random ones.
func TestLargestClique(t *testing.T) {
	core := func(n int, g [][]bool) *Core {
		c, err := New(Config{Node: 0, Incarnation: 1, Lineage: 1})
		if err != nil {
			t.Fatal(err)
		}
		for a := range n {
			c.mesh.facts[a] = fact{node: NodeID(a), inc: 1, version: 1}
			for b := range n {
				if g[a][b] {
					c.mesh.facts[a].reach |= 1 << b
				}
			}
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "n")
		g := randomGraph(t, n)
		among := rapid.Uint64Range(0, 1<<n-1).Draw(t, "among")
		want := (&country{n: n, graph: g}).best(among)
		if got := core(n, g).largest(among); got != want {
			t.Fatalf("largest clique among %s is %s, found %s", nodeList(among), nodeList(want), nodeList(got))
		}
	})
	threes := complete(64)
	for a := range threes {
		for b := range threes {
			threes[a][b] = a/3 != b/3
		}
	}
	got := core(64, threes).largest(everybody)
	if bits.OnesCount64(got) != 22 || got&7 != 1 {
		t.Errorf("of 64 systems in threes, %s go on; want the lowest of each three", nodeList(got))
	}
}
