package layout

import (
	"fmt"
	"io"
	"slices"
	"strings"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Filter chooses rows of a display.
type Filter struct {
	// Attributes to show; all if empty.
	Attributes []string
	// Systems to show values of; all if empty. Values that hold for all
	// systems are always shown.
	Systems []string
}

func (f Filter) takes(a *hadv1.Attribute) bool {
	if len(f.Attributes) > 0 && !slices.Contains(f.Attributes, a.GetName()) {
		return false
	}
	return a.GetSystem() == "" || len(f.Systems) == 0 || slices.Contains(f.Systems, a.GetSystem())
}

// Bars is the state of a group as VCS shows it: |ONLINE|.
func Bars(state string) string { return "|" + strings.Trim(state, "|") + "|" }

// widths of the columns; longer values push what follows to the right.
type widths struct{ name, attribute, system int }

var (
	ofGroups    = widths{12, 21, 10}
	ofResources = widths{12, 24, 10}
)

func (c widths) row(w io.Writer, name, attribute, system, value string) {
	fmt.Fprintf(w, "%-*s %-*s %-*s %s\n", c.name, name, c.attribute, attribute, c.system, system, value)
}

func scope(system string) string {
	if system == "" {
		return "global"
	}
	return system
}

// GroupStates prints hagrp -state; with systems, only those.
func GroupStates(w io.Writer, groups []*hadv1.Group, systems []string) {
	ofGroups.row(w, "#Group", "Attribute", "System", "Value")
	for _, g := range groups {
		for _, on := range g.GetSystems() {
			if len(systems) == 0 || slices.Contains(systems, on.GetSystem()) {
				ofGroups.row(w, g.GetName(), "State", on.GetSystem(), Bars(on.GetState()))
			}
		}
	}
}

// GroupAttributes prints hagrp -display; groups are parted by a line with #.
func GroupAttributes(w io.Writer, groups []*hadv1.Group, filter Filter) {
	ofGroups.row(w, "#Group", "Attribute", "System", "Value")
	for i, g := range groups {
		if i > 0 {
			fmt.Fprintln(w, "#")
		}
		for _, a := range g.GetAttributes() {
			if filter.takes(a) {
				value := a.GetValue()
				if a.GetName() == "State" {
					value = Bars(value)
				}
				ofGroups.row(w, g.GetName(), a.GetName(), scope(a.GetSystem()), value)
			}
		}
	}
}

// GroupDependencies prints hagrp -dep.
func GroupDependencies(w io.Writer, links []*hadv1.GroupDependency) {
	fmt.Fprintf(w, "%-12s %-11s %s\n", "#Parent", "Child", "Relationship")
	for _, l := range links {
		fmt.Fprintf(w, "%-12s %-11s %s\n", l.GetParent(), l.GetChild(), l.GetRelationship())
	}
}

func resourceWidths(resources []*hadv1.Resource) widths {
	c := ofResources
	for _, r := range resources {
		c.name = max(c.name, len(r.GetName()))
	}
	return c
}

// ResourceStates prints hares -state; with systems, only those.
func ResourceStates(w io.Writer, resources []*hadv1.Resource, systems []string) {
	c := resourceWidths(resources)
	c.row(w, "#Resource", "Attribute", "System", "Value")
	for _, r := range resources {
		for _, on := range r.GetSystems() {
			if len(systems) == 0 || slices.Contains(systems, on.GetSystem()) {
				c.row(w, r.GetName(), "State", on.GetSystem(), on.GetState())
			}
		}
	}
}

// ResourceAttributes prints hares -display.
func ResourceAttributes(w io.Writer, resources []*hadv1.Resource, filter Filter) {
	c := resourceWidths(resources)
	c.row(w, "#Resource", "Attribute", "System", "Value")
	for _, r := range resources {
		for _, a := range r.GetAttributes() {
			if filter.takes(a) {
				c.row(w, r.GetName(), a.GetName(), scope(a.GetSystem()), a.GetValue())
			}
		}
	}
}

// ResourceDependencies prints hares -dep.
func ResourceDependencies(w io.Writer, links []*hadv1.ResourceDependency) {
	fmt.Fprintf(w, "%-13s %-28s %s\n", "#Group", "Parent", "Child")
	for _, l := range links {
		fmt.Fprintf(w, "%-13s %-28s %s\n", l.GetGroup(), l.GetParent(), l.GetChild())
	}
}

const rowOfSystem = "%-10s %-23s %s\n"

// SystemStates prints hasys -state.
func SystemStates(w io.Writer, systems []*hadv1.System) {
	fmt.Fprintf(w, rowOfSystem, "#System", "Attribute", "Value")
	for _, s := range systems {
		fmt.Fprintf(w, rowOfSystem, s.GetName(), "SysState", s.GetState())
	}
}

// SystemAttributes prints hasys -display.
func SystemAttributes(w io.Writer, systems []*hadv1.System, filter Filter) {
	fmt.Fprintf(w, rowOfSystem, "#System", "Attribute", "Value")
	for _, s := range systems {
		for _, a := range s.GetAttributes() {
			if (Filter{Attributes: filter.Attributes}).takes(a) {
				fmt.Fprintf(w, rowOfSystem, s.GetName(), a.GetName(), a.GetValue())
			}
		}
	}
}

// ClusterAttributes prints haclus -display.
func ClusterAttributes(w io.Writer, c *hadv1.Cluster, filter Filter) {
	fmt.Fprintf(w, "%-24s %s\n", "#Attribute", "Value")
	for _, a := range c.GetAttributes() {
		if filter.takes(a) {
			fmt.Fprintf(w, "%-24s %s\n", a.GetName(), a.GetValue())
		}
	}
}

// ClusterStates prints haclus -state.
func ClusterStates(w io.Writer, clusters []*hadv1.Cluster) {
	fmt.Fprintf(w, "%-12s %-21s %s\n", "#Cluster", "Attribute", "Value")
	for _, c := range clusters {
		fmt.Fprintf(w, "%-12s %-21s %s\n", c.GetName(), "ClusState", c.GetState())
	}
}

// TypeAttributes prints hatype -display.
func TypeAttributes(w io.Writer, types []*hadv1.Type, filter Filter) {
	fmt.Fprintf(w, "%-12s %-21s %s\n", "#Type", "Attribute", "Value")
	for _, t := range types {
		for _, a := range t.GetAttributes() {
			if (Filter{Attributes: filter.Attributes}).takes(a) {
				fmt.Fprintf(w, "%-12s %-21s %s\n", t.GetName(), a.GetName(), a.GetValue())
			}
		}
	}
}

// Pairs prints name and system of each, as hagrp -list and hares -list do.
func Pairs(w io.Writer, name string, systems []string) {
	for _, s := range systems {
		fmt.Fprintf(w, "%-22s %s\n", name, s)
	}
}

// Value is a value as the -value commands print it: words parted by blanks.
func Value(value string) string { return strings.ReplaceAll(value, "\t", " ") }

// Candidates prints the systems that were looked at for a group: each with the
// reason why it was taken or not (hagrp -forecast -verbose).
func Candidates(w io.Writer, decisions []*hadv1.Decision) {
	for _, d := range decisions {
		for _, c := range d.GetCandidates() {
			verdict := "no"
			if c.GetChosen() {
				verdict = "yes"
			}
			fmt.Fprintf(w, "  %-20s %-3s %s\n", c.GetSystem(), verdict, c.GetReason())
		}
	}
}

// AtLeast is a dependency of which some children are enough.
type AtLeast struct {
	Group, Parent string
	Children      []string
	Least         int
}

// AtLeastDependencies prints hares -dep -atleast.
func AtLeastDependencies(w io.Writer, links []AtLeast) {
	fmt.Fprintf(w, "%-13s %-28s %-7s %s\n", "#Group", "Parent", "Minimum", "Children")
	for _, l := range links {
		fmt.Fprintf(w, "%-13s %-28s %-7d %s\n", l.Group, l.Parent, l.Least, strings.Join(l.Children, ","))
	}
}

// Declaration is an attribute that an object may have.
type Declaration struct {
	// Class is "static" or "temp", "" for the others.
	Name, Class, Kind, Dimension, Default string
}

// Declarations prints haattr -display.
func Declarations(w io.Writer, of string, declared []Declaration) {
	fmt.Fprintf(w, "%-12s %-24s %-8s %-12s %-7s %s\n", "#Type", "Attribute", "Value", "Dimension", "Class", "Default")
	for _, d := range declared {
		class := d.Class
		if class == "" {
			class = "-"
		}
		fmt.Fprintf(w, "%-12s %-24s %-8s %-12s %-7s %s\n", of, d.Name, d.Kind, d.Dimension, class, d.Default)
	}
}

// AgentAttributes are what haagent shows of an agent.
func AgentAttributes(a *hadv1.Agent) []*hadv1.Attribute {
	row := func(name, value string) *hadv1.Attribute { return &hadv1.Attribute{Name: name, Value: value} }
	return []*hadv1.Attribute{
		row("AgentState", a.GetState()), row("Faults", fmt.Sprint(a.GetFaults())), row("Messages", a.GetReason()),
		row("Pid", fmt.Sprint(a.GetPid())), row("Restarts", fmt.Sprint(a.GetRestarts())),
		row("Running", yesNo(a.GetState() == "Running")), row("Started", yesNo(a.GetStarted() || a.GetState() == "Running")), row("Version", a.GetVersion()),
	}
}

// Agents prints haagent -display.
func Agents(w io.Writer, agents []*hadv1.Agent) {
	fmt.Fprintf(w, "%-12s %-21s %s\n", "#Agent", "Attribute", "Value")
	for _, agent := range agents {
		for _, a := range AgentAttributes(agent) {
			fmt.Fprintf(w, "%-12s %-21s %s\n", agent.GetType(), a.GetName(), a.GetValue())
		}
	}
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}
