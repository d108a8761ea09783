package engine

import (
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

func (e *Engine) resourceCommand(c Command) ([]Notice, *refusal) {
	r := e.mod.resource(c.Resource)
	if r == nil {
		var known []string
		for _, m := range e.resourceModels() {
			known = append(known, m.name)
		}
		return nil, e.unknown(10260, "Resource", c.Resource, known)
	}
	g := r.in
	if no := e.checkSystem(g, c.System); no != nil {
		return nil, no
	}
	if c.System != "" {
		g = g.part(c.System)
	}
	if c.Kind != CommandResourceClear {
		if no := needSystem(c); no != nil {
			return nil, no
		}
	}
	e.touch(g.name)
	switch c.Kind {
	case CommandResourceOnline:
		return nil, e.onlineResource(g, r, c)
	case CommandResourceOffline:
		return nil, e.offlineResource(g, r, c)
	case CommandResourceProbe:
		return nil, e.probeResource(r, c)
	default:
		return nil, e.clearResource(g, r, c)
	}
}

// onlineResource brings a resource, and first what it needs, online.
func (e *Engine) onlineResource(g *groupModel, r *resourceModel, c Command) *refusal {
	n := c.System
	need := append(g.graph.Descendants(r.name), r.name)
	i := e.at(r, n)
	switch {
	case r.persistent():
		return refuse(10285, "Resource %s is persistent (Operations = None) and cannot be brought online", r.name)
	case !g.manualOps:
		return refuse(90212, "Group %s has ManualOps = 0: it takes no manual operation", g.name)
	case i.inDoubt():
		return waitsForAdmin(g, r.name, n)
	case i.up() && i.Pending.ID == 0 && i.Want != wantOffline:
		return refuse(40229, "Resource %s is already online on %s", r.name, n)
	}
	if at := e.activeElsewhere(g, n); g.failover() && len(at) > 0 {
		return refuse(10286, "Cannot online resource %s: its group %s is not offline on system %s", r.name, g.name, strings.Join(at, ", "))
	}
	if f := slices.DeleteFunc(e.faults(g, n), func(f string) bool { return !slices.Contains(need, f) }); len(f) > 0 {
		no := refuse(10284, "Cannot online a faulted resource on system %s: %s; hares -clear %s -sys %s first", n, strings.Join(f, ", "), f[0], n)
		no.severity = "NOTICE"
		return no
	}
	for _, name := range need {
		if !g.resource(name).enabled {
			return refuse(10263, "Resource %s is disabled (Enabled = 0), so %s cannot be brought online", name, r.name)
		}
	}
	if ok, no := e.mayStart(g, n, true); !ok && no.id != 10284 {
		return no
	}
	for _, name := range need {
		e.raise(g, name, n)
	}
	// A failing resource is a matter of the whole group from here on.
	gr, to := e.st.Groups[g.name], e.course(g)
	gr.On[n].Starting, to.Intent, to.UserOffline, to.Due, to.Stuck = true, true, false, nil, ""
	for _, p := range g.list {
		gr.On[p.System].Fresh = false
	}
	e.decide(g.name, decision.Order{Asked: c.ordered(), Does: "brought online on " + n + ", after what it needs: " + strings.Join(need, ", ")})
	return nil
}

// offlineResource takes one resource offline.
func (e *Engine) offlineResource(g *groupModel, r *resourceModel, c Command) *refusal {
	n := c.System
	i := e.at(r, n)
	parents := e.leaning(g, r, n)
	switch {
	case r.persistent():
		return refuse(10285, "Resource %s is persistent (Operations = None) and cannot be taken offline", r.name)
	case !r.onOff():
		return refuse(10285, "Resource %s is OnOnly and cannot be taken offline", r.name)
	case e.frozen(g, n):
		return refuse(40208, "Group %s or system %s is frozen; %s first", g.name, n, e.freezeOn(g, n, true).Out(g.name, n))
	case !e.usable(n):
		return refuse(10200, "System %s is not available: it is %s", n, e.st.Systems[n].State)
	case i.inDoubt():
		return waitsForAdmin(g, r.name, n)
	case len(parents) > 0 && !c.IgnoreParent && !c.ParentProp:
		return refuse(10268, "Resource %s is needed by %s, which is online on system %s; take it offline first, or use -parentprop or -ignoreparent", r.name, strings.Join(parents, ", "), n)
	case !i.up() && !i.raising() && !c.Propagate:
		return nil
	}
	drop := []string{r.name}
	if c.ParentProp {
		drop = append(parents, r.name)
	}
	if c.Propagate {
		drop = append(drop, g.graph.Descendants(r.name)...)
	}
	e.drop(g, drop, n)
	i.Alone = c.IgnoreParent
	e.decide(g.name, decision.Order{Asked: c.ordered(), Does: "taken offline on " + n + ": " + strings.Join(drop, ", ")})
	return nil
}

func (e *Engine) probeResource(r *resourceModel, c Command) *refusal {
	if !e.usable(c.System) {
		return refuse(10200, "System %s is not available: it is %s", c.System, e.st.Systems[c.System].State)
	}
	e.order(resource.CommandProbe, r, c.System, 0)
	return nil
}

func (e *Engine) clearResource(g *groupModel, r *resourceModel, c Command) *refusal {
	var cleared []string
	for _, n := range g.whole.systems() {
		if c.System != "" && c.System != n {
			continue
		}
		if len(e.clearFaults(g, n, func(m *resourceModel) bool { return m == r })) > 0 {
			cleared = append(cleared, r.name+"@"+n)
		}
	}
	if len(cleared) == 0 {
		text := "Resource not faulted or group in the process of failing over"
		if r.persistent() {
			text = "Resource " + r.name + " is persistent: its fault goes by itself when what it watches is well"
		}
		if c.System != "" && e.at(r, c.System).inDoubt() {
			text = "Resource " + r.name + " is not faulted but in ADMIN_WAIT: " + clearWaitHint(g, c.System)
		}
		return refuse(10267, "%s", text)
	}
	e.unstick(g)
	e.afterClear(g, cleared, c)
	return nil
}

func (e *Engine) freezeSystem(c Command) *refusal {
	if !slices.Contains(e.mod.systems, c.System) {
		return e.unknown(10357, "System", c.System, e.mod.systems)
	}
	n := c.System
	s := e.st.Systems[n]
	on := c.Kind == CommandSystemFreeze
	switch {
	case s.State == SystemRemoteBuild:
		return refuse(50129, "Operation refused: system %s is in REMOTE_BUILD; wait until it is RUNNING", n)
	case on && (s.TFrozen || s.Draining):
		return refuse(40207, "System %s is frozen temporarily already", n)
	case on && e.mod.frozenSystem(n):
		return refuse(40206, "System %s is frozen persistently already", n)
	case !on && !s.TFrozen && !s.Draining:
		return refuse(40204, "System %s is not frozen temporarily%s", n, pick(e.mod.frozenSystem(n), ", but persistently: hasys -unfreeze -persistent "+n, ""))
	}
	s.TFrozen, s.Draining, s.DrainedBy, s.FrozenBy = on && !c.Evacuate, on && c.Evacuate, nil, pick(on, c.User, "")
	if s.Draining {
		e.evacuate(n)
	}
	e.decide("", decision.Freezing{Asked: c.ordered(), System: n, On: on, Evacuate: on && c.Evacuate})
	for _, g := range e.groupsOn(n) {
		e.course(g).Stuck = ""
	}
	e.touchAll()
	return nil
}

// evacuate switches the groups of a system to others, where one will have
// them.
func (e *Engine) evacuate(n SystemID) {
	groups := slices.Clone(e.groupsOn(n))
	slices.SortFunc(groups, func(a, b *groupModel) int {
		if a.level != b.level {
			return a.level - b.level
		}
		return a.turn - b.turn
	})
	for _, g := range groups {
		in := decision.Evacuation{Group: g.name, System: n, Active: e.active(g, n)}
		if !in.Active {
			continue
		}
		in.ServesCluster = g.clusterService() && e.st.Systems[n].State == SystemRunning // A freeze is nothing to it.
		in.Parallel, in.Evacuate, in.Freeze = !g.failover(), g.evacuate, e.freezeOn(g, n, false)
		in.Moving, in.Child = e.inTransit(g, n), e.childLeaves(g, n)
		o := in.Decide()
		if o.Do == decision.DoLook {
			in.Looked, in.Policy, in.Candidates, in.Places = true, g.failOverPolicy, e.candidatesFrom(g, n), e.elsewhere(g)
			in.Follows = e.childOnItsWay(g, n, func(l *link) bool { return !l.above() && !l.offline })
			o = in.Decide()
		}
		if o.Do == decision.DoStop {
			e.giveWay(g, n, in, o)
			continue
		}
		e.told(g.name, in, o)
		if o.Do == decision.DoMove {
			e.move(g, n, o.Target, "evacuation of group "+g.name+" from "+n+" to "+o.Target)
		}
	}
}

// childLeaves returns a child that a group on n stands on and that is being
// moved away, or "".
func (e *Engine) childLeaves(g *groupModel, n SystemID) string {
	return e.childOnItsWay(g, n, (*link).above)
}

// childOnItsWay returns a group that g requires by such a link and that is
// being moved away from n, or "".
func (e *Engine) childOnItsWay(g *groupModel, n SystemID, such func(*link) bool) string {
	for _, l := range g.requires {
		on := e.st.Groups[l.child.name].On[n]
		if on == nil || !such(l) {
			continue
		}
		if c := e.course(l.child.part(n)); on.Stopping == stopChild || (c.Move != nil && c.Move.From == n) {
			return l.child.name
		}
	}
	return ""
}
