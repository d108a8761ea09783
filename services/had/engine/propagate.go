package engine

import (
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// Our message ids about groups.
const (
	idAdminWait      = 90110
	idClusterService = 90111 // an offline of ClusterService without -force
	idAutoClear      = 90113
	idZones          = 90112 // zones of an active hybrid group are not changed
)

// climb is what hagrp -online -propagate is about to do: a group and the
// groups that it requires, children first, with the system of each.
type climb struct {
	steps []climbStep
}

type climbStep struct {
	g *groupModel
	n SystemID
	// chosen is the question that chose the system, if one did.
	chosen *decision.Question
	// for whom it is brought online; nil for the group that was asked for.
	parent *link
}

func (c *climb) at(g *groupModel) []SystemID {
	var out []SystemID
	for _, s := range c.steps {
		if s.g.whole == g.whole {
			out = append(out, s.n)
		}
	}
	return out
}

// onlinePropagate brings a group online after the groups that it requires.
func (e *Engine) onlinePropagate(g *groupModel, c Command) ([]Notice, *refusal) {
	plan := &climb{}
	var no *refusal
	var notices []Notice
	if c.Any {
		g, no = e.propagateTarget(plan, g)
	} else if no = needSystem(c); no == nil {
		no = e.climbTo(plan, g, c.System, nil, nil)
	}
	if no != nil {
		return nil, no
	}
	last := plan.steps[len(plan.steps)-1]
	if c.Any {
		notices = notice(50735, "Attempting to online group on system %s", last.n)
	}
	if len(plan.steps) == 1 && e.whole(last.g, last.n) && e.active(last.g, last.n) {
		return nil, refuse(40229, "Group %s is already online on %s", g.name, last.n)
	}
	for _, s := range plan.steps {
		e.climbStep(s, c, last)
	}
	return notices, nil
}

// climbStep starts one group, or lets it wait for those that it requires.
func (e *Engine) climbStep(s climbStep, c Command, last climbStep) {
	on, to := e.st.Groups[s.g.name].On[s.n], e.course(s.g)
	in := decision.Online{Asked: c.ordered(), System: s.n, Question: s.chosen}
	if s.parent != nil {
		in.For, in.Link = s.parent.parent.name, s.parent.String()
	}
	in.Unmet, _ = e.unmet(s.g, s.n)
	if e.decide(s.g.name, in).Do == decision.DoStart {
		e.beginManual(s.g, s.n)
		e.touch(s.g.name)
		return
	}
	e.log("NOTICE", 10166, "", s.g.name, "Initiating manual online of group %s on system %s", s.g.name, s.n)
	on.Owed, on.Cause, on.Retries, on.Waits = true, "online with -propagate for group "+last.g.name, 0, ""
	to.Intent, to.UserOffline, to.Due, to.Stuck = true, false, nil, ""
	e.touch(s.g.name)
}

// propagateTarget chooses the system for hagrp -online -propagate -any: the
// first by the group's policy to which everything can follow.
func (e *Engine) propagateTarget(plan *climb, g *groupModel) (*groupModel, *refusal) {
	if at := e.activeAnywhere(g); g.failover() && !g.hybrid() && len(at) > 0 {
		return g, refuse(50997, "Group %s is already online on %s", g.name, at[0])
	}
	candidates := e.candidates(g, g.systems())
	var why []string
	for range g.list {
		for i := range candidates {
			candidates[i].Unmet = ""
		}
		q := decision.Question{Policy: g.failOverPolicy, Candidates: slices.Clone(candidates)}
		targets, _ := q.Targets()
		if len(targets) == 0 {
			break
		}
		target := targets[0]
		try := &climb{}
		no := e.climbTo(try, g.part(target), target, nil, &q)
		if no == nil {
			*plan = *try
			return g.part(target), nil
		}
		why = append(why, target+": "+no.text)
		for i := range candidates {
			if candidates[i].System == target {
				candidates[i].Excluded = no.text
			}
		}
	}
	for _, c := range candidates {
		if c.Excluded == "" {
			why = append(why, c.System+": "+c.Refusal())
		}
	}
	return g, refuse(40156, "Cannot online group %s, no target system found: %s", g.name, strings.Join(why, "; "))
}

// climbTo adds to the plan what brings a group online on a system, children
// first, or says why that cannot be.
func (e *Engine) climbTo(plan *climb, g *groupModel, n SystemID, parent *link, chosen *decision.Question) *refusal {
	refused := func(no *refusal) *refusal {
		if parent != nil {
			no.start = nil
			no.text = "Group " + g.name + ", which " + parent.parent.name + " requires " + parent.String() + ", is not brought online: " + no.text
		}
		return no
	}
	at := plan.at(g)
	switch {
	case slices.Contains(at, n):
		return nil
	case len(at) > 0 && g.failover() && (!g.hybrid() || slices.ContainsFunc(at, g.on)):
		return refused(refuse(10165, "it cannot be on %s and on %s", at[0], n))
	case !g.manualOps:
		return refused(refuse(90212, "Group %s has ManualOps = 0: it takes no manual operation", g.name))
	}
	here := e.active(g, n) && e.st.Groups[g.name].On[n].Stopping == ""
	if ok, no := e.mayStartWith(g, n, here, false); !ok {
		return refused(no)
	}
	for _, l := range g.requires {
		if no := e.climbChild(plan, l, n); no != nil {
			return no
		}
	}
	plan.steps = append(plan.steps, climbStep{g: g, n: n, parent: parent, chosen: chosen})
	return nil
}

// climbChild adds what lets a child serve a parent on n.
func (e *Engine) climbChild(plan *climb, l *link, n SystemID) *refusal {
	c := l.child
	if l.offline {
		if c.on(n) && (e.standing(c, n) || slices.Contains(plan.at(c), n)) {
			return refuse(idUnmet, "Group %s requires group %s %s, and it is %s on %s; hagrp -offline or -switch it first: -propagate takes nothing offline", l.parent.name, c.name, l, e.groupText(c, n), n)
		}
		return nil
	}
	places := l.places(e.mod, n)
	if slices.ContainsFunc(places, func(p SystemID) bool { return e.serving(c, p) || slices.Contains(plan.at(c), p) }) {
		return nil
	}
	for _, p := range places {
		if e.st.Groups[c.name].On[p].Starting { // It is on its way.
			return e.climbTo(plan, c.part(p), p, l, nil)
		}
	}
	candidates := e.candidates(c, places)
	for i := range candidates {
		candidates[i].Unmet = ""
		candidates[i].Active = false // PARTIAL: the rest is started.
	}
	q := decision.Question{Policy: c.failOverPolicy, Candidates: candidates}
	targets, verdicts := q.Targets()
	switch {
	case len(targets) == 0 && len(places) == 0:
		return refuse(idUnmet, "Group %s on %s requires group %s %s, which has no such system in its SystemList", l.parent.name, n, c.name, l)
	case len(targets) == 0:
		return refuse(40156, "Group %s, which %s on %s requires %s, cannot be brought online: %s", c.name, l.parent.name, n, l, reasons(verdicts))
	}
	return e.climbTo(plan, c.part(targets[0]), targets[0], l, &q)
}

// offlineParents takes the groups that stand on a group offline, which then
// waits for them (hagrp -offline -propagate).
func (e *Engine) offlineParents(g *groupModel, from []SystemID, c Command) *refusal {
	type leave struct {
		g    *groupModel
		from []SystemID
		link *link
	}
	var plan []leave
	var descend func(g *groupModel, from []SystemID) *refusal
	descend = func(g *groupModel, from []SystemID) *refusal {
		for _, l := range g.requiredBy {
			if l.offline {
				continue
			}
			losing := e.losing(l, from)
			losing, no := e.mayStop(l.parent, losing, c.Force)
			if no != nil {
				no.text = "Group " + l.parent.name + ", which requires " + g.name + " " + l.String() + ", is not taken offline: " + no.text
				return no
			}
			if len(losing) == 0 || slices.ContainsFunc(plan, func(p leave) bool { return p.g == l.parent && slices.Equal(p.from, losing) }) {
				continue
			}
			if no := descend(l.parent, losing); no != nil {
				return no
			}
			plan = append(plan, leave{l.parent, losing, l})
		}
		return nil
	}
	if no := descend(g, from); no != nil {
		return no
	}
	for _, p := range plan {
		for _, n := range p.from {
			e.log("NOTICE", 10167, "", p.g.name, "Initiating manual offline of group %s on system %s", p.g.name, n)
			e.st.Groups[p.g.name].On[n].Owed = false
			e.stop(p.g, n, stopUser)
			e.st.Groups[p.g.name].On[n].After = true
		}
		for _, part := range p.g.parts {
			if !slices.ContainsFunc(e.activeAnywhere(part), func(n SystemID) bool { return !slices.Contains(p.from, n) }) {
				*e.course(part) = course{UserOffline: true}
			}
		}
		e.decide(p.g.name, decision.Order{Asked: c.ordered(), Does: "taken offline on " + strings.Join(p.from, ", ") + " first: it requires group " + p.link.child.name + " " + p.link.String(), Then: "hagrp -online -propagate " + p.g.name + " -sys " + p.from[0]})
	}
	return nil
}

// losing returns the systems on which the parent of a link is active and would
// lose its child, if that left the systems given.
func (e *Engine) losing(l *link, from []SystemID) []SystemID {
	var out []SystemID
	for _, p := range l.parent.list {
		if !e.active(l.parent, p.System) {
			continue
		}
		places := l.places(e.mod, p.System)
		loses := slices.ContainsFunc(places, func(s SystemID) bool { return slices.Contains(from, s) && e.standing(l.child, s) })
		keeps := slices.ContainsFunc(places, func(s SystemID) bool { return !slices.Contains(from, s) && e.serving(l.child, s) })
		if loses && !keeps {
			out = append(out, p.System)
		}
	}
	return out
}
