package maincf

import (
	"strconv"
	"strings"
)

// maxGroupDepth is how deep groups may depend on each other (VCS 5.0 on).
const maxGroupDepth = 5

func (b *builder) buildDependency(g *Group, rd rawDependency) {
	d := Dependency{Parent: rd.parent.text, Pos: rd.parent.pos}
	good := b.linked(g, rd.parent)
	var said [][2]string
	for _, c := range rd.children {
		ok := b.linked(g, c)
		if ok && c.text == d.Parent {
			b.failf(c.pos, "resource %s requires itself", clip(c.text))
			ok = false
		}
		link := [2]string{d.Parent, c.text}
		if ok && b.links[link] {
			b.failf(c.pos, "%s requires %s is said twice", d.Parent, c.text)
			ok = false
		}
		if ok {
			b.links[link] = true
			said = append(said, link)
		}
		good = good && ok
		d.Children = append(d.Children, c.text)
	}
	if rd.atLeast != nil {
		n, err := strconv.Atoi(rd.atLeast.text)
		if err != nil || n < 1 || n > len(d.Children) {
			b.failf(rd.atLeast.pos, "atleast takes a number from 1 to %d, the number of resources after from, not %s",
				len(d.Children), clip(rd.atLeast.text))
			good = false
		}
		d.AtLeast = n
	}
	if !good {
		for _, link := range said { // not kept, so it may be said again
			delete(b.links, link)
		}
		return
	}
	g.Dependencies = append(g.Dependencies, d)
}

// linked checks that a name in a requires clause is a resource of the group.
func (b *builder) linked(g *Group, n rawName) bool {
	if r := b.resources[n.text]; r != nil && r.Group == g.Name {
		return true
	}
	if r := b.owners[n.text]; r != "" && r != g.Name {
		b.failf(n.pos, "resource %s belongs to group %s, not to %s: resources cannot depend across groups; use requires group",
			clip(n.text), clip(r), clip(g.Name))
		return false
	}
	var names []string
	for _, r := range g.Resources {
		names = append(names, r.Name)
	}
	b.failf(n.pos, "group %s has no resource %s%s", clip(g.Name), clip(n.text), b.hint(n.text, names))
	return false
}

func (b *builder) buildGroupDependency(g *Group, rd rawGroupDependency) {
	d := GroupDependency{Child: rd.child.text, Pos: rd.pos}
	if len(rd.words) == 0 {
		b.failf(rd.child.pos, "requires group %s needs a category, as in requires group %s online local firm", clip(d.Child), clip(d.Child))
		return
	}
	if !b.dependencyWords(&d, rd.words) {
		return
	}
	for _, o := range g.Requires {
		if o.Child == d.Child {
			b.failf(rd.child.pos, "group %s requires group %s twice (first at %s)", clip(g.Name), clip(d.Child), o.Pos)
			return
		}
	}
	g.Requires = append(g.Requires, d)
}

func (b *builder) dependencyWords(d *GroupDependency, words []rawName) bool {
	pick := func(i int, allowed ...string) (string, bool) {
		if i >= len(words) {
			b.failf(words[len(words)-1].pos, "after %s one of %s is missing", words[len(words)-1].text, strings.Join(allowed, ", "))
			return "", false
		}
		if !contains(allowed, words[i].text) {
			b.failf(words[i].pos, "expected %s, found %s%s", strings.Join(allowed, ", "), clip(words[i].text), b.hint(words[i].text, allowed))
			return "", false
		}
		return words[i].text, true
	}
	var ok bool
	if d.Category, ok = pick(0, "online", "offline"); !ok {
		return false
	}
	used := 2
	if d.Category == "offline" {
		if d.Location, ok = pick(1, "local"); !ok {
			return false
		}
	} else {
		if d.Location, ok = pick(1, "local", "global", "remote", "site"); !ok {
			return false
		}
		d.Rigidity = "firm" // what VCS takes where nothing is said
		if len(words) > 2 {
			if d.Rigidity, ok = pick(2, "soft", "firm", "hard"); !ok {
				return false
			}
			used = 3
		}
		if d.Rigidity == "hard" && d.Location != "local" {
			b.failf(words[2].pos, "hard is for online local only, not for online %s", d.Location)
			return false
		}
	}
	if len(words) > used {
		b.failf(words[used].pos, "unexpected %s after requires group %s %s %s", clip(words[used].text), clip(d.Child), d.Category, d.Location)
		return false
	}
	return true
}

// graph is a dependency graph over names for the search for cycles.
type graph struct {
	names []string
	next  map[string][]edge
}

type edge struct {
	to  string
	pos Pos
}

// cycles returns, for each group of names that depend on each other in a
// circle, one circle and where its last link is written. It does not recurse:
// chains may be as long as the file.
func (g graph) cycles() (out []cycle) {
	const (
		fresh = iota
		open
		done
	)
	state := map[string]int{}
	for _, root := range g.names {
		if state[root] != fresh {
			continue
		}
		type frame struct {
			name string
			i    int
		}
		stack := []frame{{root, 0}}
		state[root] = open
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if top.i == len(g.next[top.name]) {
				state[top.name] = done
				stack = stack[:len(stack)-1]
				continue
			}
			e := g.next[top.name][top.i]
			top.i++
			switch state[e.to] {
			case fresh:
				state[e.to] = open
				stack = append(stack, frame{e.to, 0})
			case open:
				if len(out) == maxMessages {
					return out
				}
				from := len(stack) - 1
				for stack[from].name != e.to {
					from--
				}
				c := cycle{pos: e.pos}
				for _, f := range stack[from:] {
					c.names = append(c.names, f.name)
				}
				c.names = append(c.names, e.to)
				out = append(out, c)
			}
		}
	}
	return out
}

type cycle struct {
	names []string
	pos   Pos
}

func (c cycle) String() string {
	names := c.names
	if len(names) > 12 {
		names = append(append(append([]string(nil), names[:6]...), "..."), names[len(names)-5:]...)
	}
	return strings.Join(names, " requires ")
}

// checkCycles reports circles among resources and among groups, and chains
// of groups that are too deep.
func (b *builder) checkCycles() {
	for _, g := range b.cfg.Groups {
		b.checkLoops(g)
	}
	b.checkGroupLoops()
}

// checkLoops reports circles among the resources of a group.
func (b *builder) checkLoops(g *Group) {
	gr := graph{next: map[string][]edge{}}
	for _, r := range g.Resources {
		gr.names = append(gr.names, r.Name)
	}
	for _, d := range g.Dependencies {
		for _, c := range d.Children {
			gr.next[d.Parent] = append(gr.next[d.Parent], edge{c, d.Pos})
		}
	}
	for _, c := range gr.cycles() {
		b.failf(c.pos, "dependency cycle in group %s: %s", clip(g.Name), c)
	}
}

// checkGroupLoops reports circles among groups and chains that are too deep.
func (b *builder) checkGroupLoops() {
	gr := graph{names: b.groupNames, next: map[string][]edge{}}
	for _, g := range b.cfg.Groups {
		for _, d := range g.Requires {
			gr.next[g.Name] = append(gr.next[g.Name], edge{d.Child, d.Pos})
		}
	}
	circles := gr.cycles()
	for _, c := range circles {
		b.failf(c.pos, "dependency cycle of groups: %s", c)
	}
	if len(circles) == 0 {
		b.checkDepth(gr)
	}
}

// checkDepth reports each group whose chain of dependencies exceeds the
// limit by exactly one level.
func (b *builder) checkDepth(gr graph) {
	level := map[string]int{}
	for _, n := range gr.names {
		level[n] = 1
	}
	for round := 0; round < maxGroupDepth+1; round++ {
		for _, n := range gr.names {
			for _, e := range gr.next[n] {
				level[n] = max(level[n], min(level[e.to]+1, maxGroupDepth+2))
			}
		}
	}
	for _, n := range gr.names {
		for _, e := range gr.next[n] {
			if level[n] == maxGroupDepth+1 && level[e.to] == maxGroupDepth {
				b.failf(e.pos, "groups depend on each other %d levels deep from %s on; at most %d are allowed", level[n], clip(n), maxGroupDepth)
			}
		}
	}
}

// checkLinks reports dependencies between groups that could never be met, or
// that VCS does not allow: those of ClusterService, those of groups that may
// run on several systems at once (engine.md 4.15), and hard ones beside
// others of their kind.
func (b *builder) checkLinks() {
	hardParent := map[string]string{}
	for _, g := range b.cfg.Groups {
		hardChild := ""
		for _, d := range g.Requires {
			child := b.groups[d.Child]
			if child == nil || child == g {
				continue // reported
			}
			if why := b.linkMistake(g, child, d); why != "" {
				b.failf(d.Pos, "group %s cannot require group %s %s: %s", clip(g.Name), clip(d.Child), strings.TrimSpace(strings.Join([]string{d.Category, d.Location, d.Rigidity}, " ")), why)
				continue
			}
			if d.Rigidity != "hard" {
				continue
			}
			switch {
			case hardChild != "":
				b.failf(d.Pos, "group %s has a hard dependency on group %s already: a hard dependency is one parent's on one child", clip(g.Name), clip(hardChild))
			case hardParent[d.Child] != "":
				b.failf(d.Pos, "group %s has a hard parent already, %s: a hard dependency is one parent's on one child", clip(d.Child), clip(hardParent[d.Child]))
			}
			hardChild, hardParent[d.Child] = d.Child, g.Name
		}
	}
}

func (b *builder) linkMistake(parent, child *Group, d GroupDependency) string {
	kind := func(g *Group) int { v, _ := b.cfg.GroupAttr(g, "Parallel", ""); return v.Int() }
	up, down := kind(parent), kind(child)
	switch {
	case parent.Name == ClusterService || child.Name == ClusterService:
		return "group " + ClusterService + " neither requires nor is required"
	case up == 1 && down == 1 && (d.Location == "global" || d.Location == "remote"):
		return "both are parallel, and two parallel groups depend on each other on the same system only (local)"
	case up != 0 && down == 0 && d.Category == "online" && d.Location == "local":
		return clip(parent.Name) + " runs on several systems at once, " + clip(child.Name) + " on one: all but one of its instances could never be online"
	case d.Rigidity == "hard" && (up != 0 || down != 0):
		return "hard is for two failover groups"
	}
	return ""
}
