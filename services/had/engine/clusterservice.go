package engine

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// clusterService says whether this is the group of the cluster's own services
// (engine.md 4.18): notifier, virtual address, connector.
func (g *groupModel) clusterService() bool { return g.name == maincf.ClusterService }

// giveTurns orders the groups that start in one event: ClusterService, then by
// Priority (1 is the highest, 0 none), then by name.
func (m *model) giveTurns() {
	groups := slices.Clone(m.groups)
	rank := func(g *groupModel) int {
		switch {
		case g.clusterService():
			return -1
		case g.priority == 0:
			return math.MaxInt
		}
		return g.priority
	}
	slices.SortStableFunc(groups, func(a, b *groupModel) int { return cmp.Compare(rank(a), rank(b)) })
	for i, g := range groups {
		g.turn = i
	}
}

// byRunning returns the systems of a group in the order in which they became
// RUNNING: where ClusterService starts.
func (e *Engine) byRunning(g *groupModel) []SystemID {
	systems := g.systems()
	slices.SortStableFunc(systems, func(a, b SystemID) int {
		x, y := e.st.Systems[a], e.st.Systems[b]
		if x.Since != y.Since {
			return int(x.Since - y.Since)
		}
		return x.Node - y.Node
	})
	return systems
}

// joinClusterService returns the edits that put systems which others add into
// the SystemList of ClusterService (AutoAddSystemtoCSG), behind those that
// are there.
func (e *Engine) joinClusterService(edits []maincf.Edit) []maincf.Edit {
	g := e.mod.byGroup[maincf.ClusterService]
	if g == nil || !e.clusterFlag(e.mod, "AutoAddSystemtoCSG") ||
		slices.ContainsFunc(edits, func(d maincf.Edit) bool { return d.Class == maincf.ClassGroup && d.Name == g.name }) {
		return nil
	}
	next := 0
	for _, p := range g.list {
		next = max(next, p.Priority+1)
	}
	var out []maincf.Edit
	for _, d := range edits {
		if d.Class != maincf.ClassSystem || d.Action != maincf.ActAdd {
			continue
		}
		for _, words := range [][]string{
			{"hagrp", "-modify", g.name, "SystemList", "-add", d.Name, strconv.Itoa(next)},
			{"hagrp", "-modify", g.name, "AutoStartList", "-add", d.Name},
		} {
			if edit, err := maincf.ParseArgs(words); err == nil && (words[3] == "SystemList" || len(g.autoList) > 0) {
				out = append(out, edit)
			}
		}
		next++
	}
	return out
}
