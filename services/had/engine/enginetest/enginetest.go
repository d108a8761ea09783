// Package enginetest drives engines in tests and measurements: clusters of any
// size, and agents that do at once what they are told.
package enginetest

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// Shape is the size of a cluster.
type Shape struct {
	// Systems, Groups and Resources are the numbers of each; the resources
	// are dealt out evenly.
	Systems, Groups, Resources int
	// Width is the number of systems in each SystemList.
	Width int
	// Homes is the number of systems on which the groups are at home; 0 is all.
	Homes int
	// Policy is the FailOverPolicy of all groups ("" is Priority).
	Policy string
}

// System is the name of the i-th system.
func (s Shape) System(i int) string { return fmt.Sprintf("node%02d", i) }

// Group is the name of the i-th group.
func (s Shape) Group(i int) string { return fmt.Sprintf("grp%04d", i) }

// Resource is the name of the i-th resource of a group, from its leaf up.
func (s Shape) Resource(group, i int) string { return fmt.Sprintf("grp%04d_res%02d", group, i) }

// PerGroup is the number of resources of a group.
func (s Shape) PerGroup() int { return s.Resources / s.Groups }

// Home is the system that a group prefers.
func (s Shape) Home(group int) string { return s.Place(group, 0) }

// Place is the i-th system of a group's SystemList.
func (s Shape) Place(group, i int) string {
	homes := s.Homes
	if homes == 0 {
		homes = s.Systems
	}
	return s.System((group%homes + i) % s.Systems)
}

const types = `type App (
	static str ArgList[] = { PathName }
	str PathName
)
`

// Files is the configuration: groups in chains of resources, each at home on
// another system, with the next ones in its SystemList.
func (s Shape) Files() []engine.File {
	var b strings.Builder
	b.WriteString("include \"types.cf\"\ncluster scale (\n\t)\n")
	for i := range s.Systems {
		fmt.Fprintf(&b, "system %s (\n\tCapacity = 1000\n\t)\n", s.System(i))
	}
	for g := range s.Groups {
		list := make([]string, 0, s.Width)
		for i := range s.Width {
			list = append(list, fmt.Sprintf("%s = %d", s.Place(g, i), i))
		}
		fmt.Fprintf(&b, "group %s (\n\tSystemList = { %s }\n\tAutoStartList = { %s }\n", s.Group(g), strings.Join(list, ", "), s.Home(g))
		if s.Policy != "" {
			fmt.Fprintf(&b, "\tFailOverPolicy = %s\n\tLoad = 1\n", s.Policy)
		}
		b.WriteString("\t)\n")
		for r := range s.PerGroup() {
			fmt.Fprintf(&b, "\tApp %s (\n\t\tPathName = \"/srv/%s/%d\"\n\t\t)\n", s.Resource(g, r), s.Group(g), r)
		}
		for r := 1; r < s.PerGroup(); r++ {
			fmt.Fprintf(&b, "\t%s requires %s\n", s.Resource(g, r), s.Resource(g, r-1))
		}
	}
	return []engine.File{{Name: "main.cf", Text: b.String()}, {Name: "types.cf", Text: types}}
}

// Cluster is an engine with the agents of all its systems.
type Cluster struct {
	Shape  Shape
	Engine *engine.Engine
	Pos    engine.Pos
	// Events counts those applied, Seen is the last order that was given.
	Events int
	Seen   resource.EffectID
	// Up are the systems in the view.
	Up []bool
	// queue are the orders not carried out yet.
	queue []resource.Command
	out   []engine.Effect
}

// Apply applies one event and takes up the orders in its effects, which it
// returns until the next call.
func (c *Cluster) Apply(from string, ev engine.Event) []engine.Effect {
	c.Pos.Seq++
	c.Events++
	c.out = c.Engine.Apply(c.Pos, from, ev, c.out[:0])
	for _, f := range c.out {
		if o, ok := f.(engine.ResourceCommand); ok {
			c.queue = append(c.queue, o.Command)
			c.Seen = max(c.Seen, o.Command.ID)
		}
	}
	return c.out
}

// Answers are the reports of healthy agents to all orders so far, which are
// then answered.
func (c *Cluster) Answers() []engine.Reported {
	var out []engine.Reported
	for _, o := range c.queue {
		rep := resource.Report{System: o.System, Resource: o.Resource, Incarnation: 1, Seen: o.ID, Probed: true, Done: o.ID}
		switch o.Kind {
		case resource.CommandOnline:
			rep.State, rep.Confidence = resource.StateOnline, 100
		case resource.CommandOffline:
		default:
			continue
		}
		out = append(out, engine.Reported{Report: rep})
	}
	c.queue = c.queue[:0]
	return out
}

// Settle lets healthy agents answer until nothing is left to do.
func (c *Cluster) Settle() {
	for len(c.queue) > 0 {
		for _, r := range c.Answers() {
			c.Apply(r.Report.System, r)
		}
	}
}

// View applies the view of the systems that are up; gone is one that has just
// lost its power, or "".
func (c *Cluster) View(gone string) []engine.Effect {
	ev := engine.ViewChanged{Generation: c.Pos.View + 1}
	for i, up := range c.Up {
		if up {
			ev.Members = append(ev.Members, engine.Member{System: c.Shape.System(i), Node: i})
		}
		if gone == c.Shape.System(i) {
			ev.Departed = append(ev.Departed, engine.Departed{System: gone, Node: i, Evidence: engine.EvidencePoweredOff})
		}
	}
	ev.Systems = ev.Members
	c.Pos.View++
	return c.Apply("", ev)
}

// Probe reports every resource of a group offline everywhere.
func (c *Cluster) Probe(group int) {
	s := c.Shape
	for i := range s.Width {
		for r := range s.PerGroup() {
			sys := s.Place(group, i)
			c.Apply(sys, engine.Reported{Report: resource.Report{System: sys, Resource: s.Resource(group, r), Incarnation: 1, Seen: c.Seen, Probed: true}})
		}
	}
}

// Boot returns a cluster whose systems are all RUNNING, probed, and with every
// group online at home.
func (s Shape) Boot() *Cluster {
	c := &Cluster{Shape: s, Engine: engine.New(), Pos: engine.Pos{Lineage: 1}, Up: make([]bool, s.Systems)}
	for i := range c.Up {
		c.Up[i] = true
	}
	c.View("")
	for i := range s.Systems {
		c.Apply(s.System(i), engine.SystemJoined{System: s.System(i), Node: i, ConfigValid: true, Incarnation: 1})
	}
	c.Apply(s.System(0), engine.StateChanged{System: s.System(0), State: engine.SystemLocalBuild})
	c.Apply(s.System(0), engine.ConfigLoaded{System: s.System(0), Main: "main.cf", Files: s.Files()})
	for i := range s.Systems {
		c.Apply(s.System(i), engine.StateChanged{System: s.System(i), State: engine.SystemRunning})
	}
	for g := range s.Groups {
		c.Probe(g)
	}
	c.Settle()
	return c
}
