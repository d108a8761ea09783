package engine

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// hybrid says whether the group is active on one system of each zone at most
// (Parallel = 2).
func (g *groupModel) hybrid() bool { return g.parallel == 2 }

// split gives a hybrid group its parts: one for each zone, which is the group
// seen from that zone, a failover group among the systems of the zone. A group
// of another kind is its own and only part. Links are the whole group's.
//
// Whatever decides about a group on a system, or about one instance of it,
// works on the part; what shows or addresses the group by its name works on
// the whole. The state of both is the same, only the course is the part's.
func (g *groupModel) split() {
	g.whole, g.parts = g, []*groupModel{g}
	if !g.hybrid() {
		return
	}
	var zones []int
	for _, p := range g.list {
		if z := g.zones[p.System]; !slices.Contains(zones, z) {
			zones = append(zones, z)
		}
	}
	slices.Sort(zones)
	g.parts = nil
	for _, z := range zones {
		part := *g
		part.zone, part.places = strconv.Itoa(z), nil
		inZone := func(n SystemID) bool { return g.zones[n] == z }
		part.list = slices.DeleteFunc(slices.Clone(g.list), func(p maincf.SystemPriority) bool { return !inZone(p.System) })
		part.autoList = slices.DeleteFunc(slices.Clone(g.autoList), func(n string) bool { return !inZone(n) })
		part.findPlaces()
		part.inWhole = make([]int, 0, len(part.list))
		for _, p := range part.list {
			part.inWhole = append(part.inWhole, g.place(p.System))
		}
		g.parts = append(g.parts, &part)
	}
}

// part is the group as a system sees it; the whole group if the system is not
// in its SystemList.
func (g *groupModel) part(n SystemID) *groupModel {
	for _, p := range g.whole.parts {
		if p.on(n) {
			return p
		}
	}
	return g.whole
}

// course is where a group, or the part of a hybrid group, is heading.
func (e *Engine) course(g *groupModel) *course {
	gr := e.group(g)
	if g.zone == "" {
		return &gr.course
	}
	if c := gr.Zones[g.zone]; c != nil {
		return c
	}
	return &course{} // Between a change of zones and fitZones: nothing is owed.
}

// fitZones lets a hybrid group have one course for each zone and no other.
func (e *Engine) fitZones(g *groupModel) {
	gr := e.st.Groups[g.name]
	if !g.hybrid() {
		gr.Zones = nil
		return
	}
	zones := map[string]*course{}
	for _, p := range g.whole.parts {
		if zones[p.zone] = gr.Zones[p.zone]; zones[p.zone] == nil {
			zones[p.zone] = &course{}
		}
	}
	gr.Zones = zones
}

// unstick lets every part of a group explain anew what it waits for.
func (e *Engine) unstick(g *groupModel) {
	for _, p := range g.whole.parts {
		e.course(p).Stuck = ""
	}
}

// otherZones are the systems that a hybrid group never crosses to, for the
// explanation of a choice within its zone.
func (e *Engine) otherZones(g *groupModel) []policy.Candidate {
	var out []policy.Candidate
	for _, p := range g.whole.list {
		if !g.on(p.System) {
			out = append(out, policy.Candidate{System: p.System, Priority: p.Priority, State: string(e.st.Systems[p.System].State),
				Excluded: fmt.Sprintf("in zone %d; a hybrid group stays in its zone", g.zones[p.System])})
		}
	}
	return out
}
