// Package policy holds the choices of the engine as pure functions that
// explain themselves: which system a group goes to and why not to the others,
// what evidence lets it start elsewhere, and in which order the resources of
// a group come online and go offline.
package policy

import "slices"

// Dependency is one dependency of a resource on others of its group.
type Dependency struct {
	Parent   string
	Children []string
	// AtLeast is 0 if the (one) child is needed, else how many of Children.
	AtLeast int
}

// Graph is the dependency graph of one group. It must have no cycle.
type Graph struct {
	order []string
	// index is the place of each resource in order; what follows goes by it.
	index    map[string]int
	children [][]string
	parents  [][]string
	deps     [][]Dependency
}

// NewGraph builds the graph of the named resources, in their order of
// declaration, which is the order of every answer. Dependencies on names that
// are not among them are ignored. It keeps deps, which must not change.
func NewGraph(resources []string, deps []Dependency) *Graph {
	g := &Graph{order: slices.Clone(resources), index: make(map[string]int, len(resources))}
	for i, r := range resources {
		g.index[r] = i
	}
	if len(deps) == 0 {
		return g
	}
	g.children, g.parents = make([][]string, len(resources)), make([][]string, len(resources))
	g.deps = make([][]Dependency, len(resources))
	for _, d := range deps {
		parent, known := g.index[d.Parent]
		if !known {
			continue
		}
		with := Dependency{Parent: d.Parent, AtLeast: d.AtLeast, Children: g.known(d.Children)}
		for _, c := range with.Children {
			child := g.index[c]
			if !slices.Contains(g.children[parent], c) {
				if len(with.Children) == 1 && g.children[parent] == nil {
					g.children[parent] = with.Children[:1:1] // the usual: one list for both
				} else {
					g.children[parent] = append(g.children[parent], c)
				}
				g.parents[child] = append(g.parents[child], d.Parent)
			}
		}
		g.deps[parent] = append(g.deps[parent], with)
	}
	return g
}

// known returns those of some names that are resources of the graph.
func (g *Graph) known(names []string) []string {
	unknown := func(n string) bool { _, ok := g.index[n]; return !ok }
	if !slices.ContainsFunc(names, unknown) {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), unknown)
}

// of returns what a table holds for a resource: nothing for an unknown one,
// or if nothing depends on anything.
func of[T any](g *Graph, table [][]T, r string) []T {
	i, known := g.index[r]
	if !known || table == nil {
		return nil
	}
	return table[i]
}

// Resources returns all resources in their order of declaration.
func (g *Graph) Resources() []string { return g.order }

// Children returns what a resource requires directly.
func (g *Graph) Children(r string) []string { return of(g, g.children, r) }

// Parents returns what requires a resource directly.
func (g *Graph) Parents(r string) []string { return of(g, g.parents, r) }

// Ancestors returns everything that needs r, directly or not, without r, in
// order of declaration.
func (g *Graph) Ancestors(r string) []string { return g.closure(r, g.parents) }

// Descendants returns everything that r needs, directly or not, without r.
func (g *Graph) Descendants(r string) []string { return g.closure(r, g.children) }

func (g *Graph) closure(r string, next [][]string) []string {
	if len(of(g, next, r)) == 0 {
		return nil
	}
	seen := make([]bool, len(g.order))
	work := slices.Clone(of(g, next, r))
	for len(work) > 0 {
		n := g.index[work[len(work)-1]]
		work = work[:len(work)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		work = append(work, next[n]...)
	}
	var out []string
	for i, n := range g.order {
		if seen[i] {
			out = append(out, n)
		}
	}
	return out
}

// Missing returns the children for whose sake r may not start yet: empty if
// enough of them are up.
func (g *Graph) Missing(r string, up func(string) bool) []string {
	var out []string
	for _, d := range of(g, g.deps, r) {
		out = append(out, d.missing(up)...)
	}
	return out
}

func (d Dependency) missing(up func(string) bool) []string {
	need := d.AtLeast
	if need == 0 {
		need = len(d.Children)
	}
	var down []string
	for _, c := range d.Children {
		if up(c) {
			need--
		} else {
			down = append(down, c)
		}
	}
	if need <= 0 {
		return nil
	}
	return down
}

// Broken returns the ancestors of r that cannot stay up once r is down: all of
// them, except those that an "at least" dependency still carries.
func (g *Graph) Broken(r string, up func(string) bool) []string {
	if len(g.Parents(r)) == 0 {
		return nil
	}
	down := make([]bool, len(g.order))
	down[g.index[r]] = true
	still := func(n string) bool { return up(n) && !down[g.index[n]] }
	for grown := true; grown; {
		grown = false
		for i, n := range g.order {
			if down[i] || !g.needsAny(i, down) {
				continue
			}
			if len(g.Missing(n, still)) > 0 {
				down[i], grown = true, true
			}
		}
	}
	var out []string
	for i, n := range g.order {
		if down[i] && n != r {
			out = append(out, n)
		}
	}
	return out
}

func (g *Graph) needsAny(r int, set []bool) bool {
	for _, c := range g.children[r] {
		if set[g.index[c]] {
			return true
		}
	}
	return false
}

// Selection returns what the online of a group brings up: the resources for
// which start holds and everything that they need, without those that usable
// forbids and what needs them. Blocked are the start resources left out.
func (g *Graph) Selection(start, usable func(string) bool) (selected, blocked []string) {
	in := map[string]bool{}
	for _, r := range g.order {
		if !start(r) {
			continue
		}
		need := append([]string{r}, g.Descendants(r)...)
		if slices.ContainsFunc(need, func(n string) bool { return !usable(n) }) {
			blocked = append(blocked, r)
			continue
		}
		for _, n := range need {
			in[n] = true
		}
	}
	for _, r := range g.order {
		if in[r] {
			selected = append(selected, r)
		}
	}
	return selected, blocked
}
