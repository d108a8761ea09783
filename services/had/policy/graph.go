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
	order    []string
	children map[string][]string
	parents  map[string][]string
	deps     map[string][]Dependency
}

// NewGraph builds the graph of the named resources, in their order of
// declaration, which is the order of every answer. Dependencies on names that
// are not among them are ignored.
func NewGraph(resources []string, deps []Dependency) *Graph {
	g := &Graph{
		order:    slices.Clone(resources),
		children: map[string][]string{},
		parents:  map[string][]string{},
		deps:     map[string][]Dependency{},
	}
	for _, d := range deps {
		if !slices.Contains(resources, d.Parent) {
			continue
		}
		known := Dependency{Parent: d.Parent, AtLeast: d.AtLeast}
		for _, c := range d.Children {
			if !slices.Contains(resources, c) {
				continue
			}
			known.Children = append(known.Children, c)
			if !slices.Contains(g.children[d.Parent], c) {
				g.children[d.Parent] = append(g.children[d.Parent], c)
				g.parents[c] = append(g.parents[c], d.Parent)
			}
		}
		g.deps[d.Parent] = append(g.deps[d.Parent], known)
	}
	return g
}

// Resources returns all resources in their order of declaration.
func (g *Graph) Resources() []string { return g.order }

// Children returns what a resource requires directly.
func (g *Graph) Children(r string) []string { return g.children[r] }

// Parents returns what requires a resource directly.
func (g *Graph) Parents(r string) []string { return g.parents[r] }

// Ancestors returns everything that needs r, directly or not, without r, in
// order of declaration.
func (g *Graph) Ancestors(r string) []string { return g.closure(r, g.parents) }

// Descendants returns everything that r needs, directly or not, without r.
func (g *Graph) Descendants(r string) []string { return g.closure(r, g.children) }

func (g *Graph) closure(r string, next map[string][]string) []string {
	seen := map[string]bool{}
	work := slices.Clone(next[r])
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		work = append(work, next[n]...)
	}
	var out []string
	for _, n := range g.order {
		if seen[n] {
			out = append(out, n)
		}
	}
	return out
}

// Missing returns the children for whose sake r may not start yet: empty if
// enough of them are up.
func (g *Graph) Missing(r string, up func(string) bool) []string {
	var out []string
	for _, d := range g.deps[r] {
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
	down := map[string]bool{r: true}
	still := func(n string) bool { return up(n) && !down[n] }
	for {
		grown := false
		for _, n := range g.order {
			if down[n] || !g.needsAny(n, down) {
				continue
			}
			if len(g.Missing(n, still)) > 0 {
				down[n] = true
				grown = true
			}
		}
		if !grown {
			break
		}
	}
	var out []string
	for _, n := range g.order {
		if down[n] && n != r {
			out = append(out, n)
		}
	}
	return out
}

func (g *Graph) needsAny(r string, set map[string]bool) bool {
	for _, c := range g.children[r] {
		if set[c] {
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
