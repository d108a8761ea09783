package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// link is one dependency of a group, the parent, on another, the child
// (engine.md 4.15).
type link struct {
	parent, child *groupModel
	// offline: the child must not be where the parent is; else it must be up
	// at the location: local, global, remote or site.
	offline  bool
	location string
	// rigidity is soft, firm or hard; empty for offline.
	rigidity string
	// category is what main.cf writes.
	category string
}

// String is the category as main.cf writes it.
func (l *link) String() string { return l.category }

// rigid says whether the parent goes when the child goes.
func (l *link) rigid() bool { return l.rigidity == "firm" || l.rigidity == "hard" }

// above says whether the parent stands on the child on the same system.
func (l *link) above() bool { return !l.offline && l.location == "local" }

// places are the systems where the child serves a parent on n.
func (l *link) places(m *model, n SystemID) []SystemID {
	return slices.DeleteFunc(l.child.systems(), func(c SystemID) bool {
		switch l.location {
		case "local":
			return c != n
		case "remote":
			return c == n
		case "site":
			return m.site(c) != m.site(n)
		default:
			return false
		}
	})
}

// connect builds the links of all groups, their levels (0: requires nothing)
// and their families: the groups that depend on each other, however far.
func (m *model) connect(cfg *maincf.Config) {
	family := map[string]int{}
	for i, g := range m.groups {
		family[g.name] = i
	}
	for _, g := range cfg.Groups {
		for _, d := range g.Requires {
			l := &link{parent: m.byGroup[g.Name], child: m.byGroup[d.Child], offline: d.Category == "offline", location: d.Location, rigidity: d.Rigidity}
			l.category = pick(l.offline, "offline local", "online "+l.location+" "+l.rigidity)
			l.parent.requires = append(l.parent.requires, l)
			l.child.requiredBy = append(l.child.requiredBy, l)
			from, to := family[d.Child], family[g.Name]
			for _, o := range m.groups {
				if family[o.name] == from {
					family[o.name] = to
				}
			}
		}
	}
	for range m.groups {
		grown := false
		for _, g := range m.groups {
			for _, l := range g.requires {
				if l.child.level >= g.level {
					g.level, grown = l.child.level+1, true
				}
			}
		}
		if !grown {
			break
		}
	}
	for _, g := range m.groups {
		g.split()
	}
	byLevel := slices.Clone(m.groups)
	slices.SortStableFunc(byLevel, func(a, b *groupModel) int { return a.level - b.level })
	members := map[int][]*groupModel{}
	for _, g := range byLevel {
		members[family[g.name]] = append(members[family[g.name]], g.parts...)
	}
	for _, g := range m.groups {
		g.family = members[family[g.name]]
		g.alone = len(g.family) == 1
		for _, p := range g.parts {
			p.family, p.alone = g.family, g.alone
		}
	}
}

// site is where a system stands: its SystemLocation.
func (m *model) site(s SystemID) string {
	sys := m.cfg.System(s)
	if sys == nil {
		return ""
	}
	v, _ := m.cfg.SystemAttr(sys, "SystemLocation")
	return v.Text
}

// serving says whether a group is wholly up on a system and stays so: what a
// parent may start on.
func (e *Engine) serving(g *groupModel, n SystemID) bool {
	return e.usable(n) && e.on(g, n).Stopping == "" && len(e.unprobed(g, n)) == 0 &&
		e.base(g, n) == "ONLINE" && !e.wants(g, n, wantOffline)
}

// standing says whether a group is up on a system, on its way, or may be for
// all that is known: doubt takes no parent down.
func (e *Engine) standing(g *groupModel, n SystemID) bool {
	if e.active(g, n) || e.base(g, n) == "ONLINE" {
		return true
	}
	s := e.st.Systems[n]
	if s.InH {
		return len(e.unprobed(g, n)) > 0
	}
	if s.InA && !s.Clean {
		return true
	}
	ok, _ := e.proven(g, n)
	return !ok && e.mayRun(g, n)
}

// unmet says which dependency forbids the group on a system and what leads
// out, or "".
func (e *Engine) unmet(g *groupModel, n SystemID) (why, wayOut string) {
	for _, l := range g.requires {
		c := l.child
		if l.offline {
			if c.on(n) && e.standing(c, n) {
				return fmt.Sprintf("requires group %s %s: it is %s there", c.name, l, e.groupText(c, n)), "hagrp -switch " + c.name + " -any, or choose another system"
			}
			continue
		}
		places := l.places(e.mod, n)
		if slices.ContainsFunc(places, func(p SystemID) bool { return e.serving(c, p) }) {
			continue
		}
		var is []string
		for _, p := range places {
			is = append(is, e.groupText(c, p)+" on "+p)
		}
		if len(is) == 0 {
			return fmt.Sprintf("requires group %s %s, which has no such system in its SystemList", c.name, l), "choose another system"
		}
		return fmt.Sprintf("requires group %s %s: it is %s", c.name, l, strings.Join(is, ", ")), e.childHint(l, n, places)
	}
	for _, l := range g.requiredBy {
		if p := l.parent; l.offline && p.on(n) && e.active(p, n) && e.frozen(p, n) {
			return fmt.Sprintf("group %s, which requires it %s, is frozen and active there", p.name, l), e.freezeOn(p, n, true).Out(p.name, n)
		}
	}
	return "", ""
}

// childHint names what brings a child where a parent on n needs it.
func (e *Engine) childHint(l *link, n SystemID, places []SystemID) string {
	c := l.child
	for _, s := range c.systems() {
		if e.wants(c, s, wantOnline) {
			return "wait until it is online on " + s
		}
	}
	for _, p := range places {
		if f := e.faults(c, p); e.active(c, p) {
			return "wait until it is online"
		} else if len(f) > 0 && len(places) == 1 {
			return e.faultHint(c, f, p) + ", then hagrp -online " + c.name + " -sys " + p
		}
	}
	switch at := e.activeAnywhere(c); {
	case c.failover() && len(at) > 0 && len(places) == 1:
		return "hagrp -switch " + c.name + " -to " + places[0]
	case len(places) == 1:
		return "hagrp -online " + c.name + " -sys " + places[0]
	case l.location == "global":
		return "hagrp -online " + c.name + " -any"
	}
	return "hagrp -online " + c.name + " on one of " + strings.Join(places, ", ")
}

// childLost gathers the facts on which a link holds for an active parent on n,
// or not.
func (e *Engine) childLost(l *link, n SystemID) decision.ChildLost {
	c := l.child
	in := decision.ChildLost{Parent: l.parent.name, Child: c.name, Link: l.String(), System: n,
		Offline: l.offline, Rigid: l.rigid(), Local: l.above(), Remote: l.location == "remote",
		ChildFreeze: e.freezeOfGroup(c), ChildPropagates: c.faultPropagation}
	if c.on(n) {
		in.ChildActive = e.active(c, n)
		in.ChildStopping = e.st.Groups[c.name].On[n].Stopping != ""
	}
	if !l.offline {
		in.ChildStands = slices.ContainsFunc(l.places(e.mod, n), func(p SystemID) bool { return e.standing(c, p) })
	}
	return in
}

// obey lets a group follow its children, or leave with them. It says whether
// anything moved.
func (e *Engine) obey(g *groupModel) bool {
	moved := false
	if len(g.requires) == 0 {
		return false
	}
	for _, p := range g.list {
		n := p.System
		on := e.on(g, n)
		if !e.active(g, n) || on.Stopping != "" || !e.usable(n) || e.frozen(g, n) || e.gaveUp(g, n) != "" {
			continue
		}
		for _, l := range g.requires {
			if e.react(g, l, n) {
				moved = true
				break
			}
		}
	}
	return moved
}

// react does what engine.md 4.15 says for a parent that lost its child.
func (e *Engine) react(g *groupModel, l *link, n SystemID) bool {
	in := e.childLost(l, n)
	if in.Broken() == "" {
		return false
	}
	in.Parent, in.Parallel = g.name, !g.failover()
	o := in.Decide()
	if o.Do == decision.DoLook {
		in.Looked, in.Policy, in.Candidates, in.Places = true, g.failOverPolicy, e.candidatesFrom(g, n), e.elsewhere(g)
		in.ChildServes = slices.ContainsFunc(l.child.systems(), func(s SystemID) bool { return e.serving(l.child, s) })
		o = in.Decide()
	}
	switch o.Do {
	case decision.DoStop:
		e.giveWay(g, n, in, o)
		return true
	case decision.DoMove:
		e.told(g.name, in, o)
		e.move(g, n, o.Target, "move of group "+g.name+" from "+n+" to "+o.Target+" for the sake of group "+l.child.name)
		return true
	case decision.DoWait:
		return e.stuck(g, in, o)
	}
	return false
}

// giveWay takes a group offline because of another; it is owed a start.
func (e *Engine) giveWay(g *groupModel, n SystemID, in decision.Inputs, o decision.Outcome) {
	e.on(g, n).Cause = o.Subject
	e.told(g.name, in, o)
	e.log("NOTICE", 10208, "", g.name, "Initiating offline of group %s on system %s: %s", g.name, n, o.Subject)
	e.stop(g, n, stopChild)
}

// gaveWay records what a group is owed that is offline because of another.
func (e *Engine) gaveWay(g *groupModel, n SystemID) {
	on := e.on(g, n)
	if g.failover() {
		c := e.course(g.part(n))
		c.Due, c.Stuck = &due{From: n, Why: on.Cause, ByGroup: true}, ""
	} else {
		on.Owed = true
	}
	on.Cause = ""
}

// settleOwed starts on the systems where the group waits for its children.
func (e *Engine) settleOwed(g *groupModel) bool {
	if !e.anyOn(g, func(on *groupOn) bool { return on.Owed }) {
		return false
	}
	for _, p := range g.list {
		n := p.System
		on := e.on(g, n)
		if !on.Owed || !e.usable(n) || on.Stopping != "" || e.inTransit(g, n) || on.Pre != nil {
			continue
		}
		if e.whole(g, n) && e.active(g, n) {
			on.Owed = false
			return true
		}
		in := decision.Return{Cause: on.Cause, Start: e.startFacts(g, n, true, true)}
		o := in.Decide()
		if o.Do == decision.DoStart {
			e.told(g.name, in, o)
			on.Cause = ""
			e.start(g, n)
			return true
		}
		e.waits(g, n, in, o)
	}
	return false
}

// waits explains, once for each system, what a group waits for there.
func (e *Engine) waits(g *groupModel, n SystemID, in decision.Inputs, o decision.Outcome) {
	on, x := e.on(g, n), explanationOf(g.name, o)
	if key := x.String(); key != on.Waits {
		on.Waits = key
		e.keep(x, in)
	}
}

// parentsAbove returns the groups that have to leave n before this one does.
func (e *Engine) parentsAbove(g *groupModel, n SystemID) []string {
	var out []string
	on := e.on(g, n)
	if on.Stopping == "" {
		return nil
	}
	for _, l := range g.requiredBy {
		if on.After && !l.above() {
			out = append(out, e.goingFirst(l, n)...)
			continue
		}
		if p := l.parent; l.above() && p.on(n) && (e.active(p, n) || e.inTransit(p, n)) && (l.rigid() || e.st.Groups[p.name].On[n].Stopping != "") {
			out = append(out, p.name)
		}
	}
	return out
}

// goingFirst returns the parent of a link, if an instance of it that has to go
// offline before this group does is still there.
func (e *Engine) goingFirst(l *link, n SystemID) []string {
	if l.offline {
		return nil
	}
	for _, p := range l.parent.list {
		s := p.System
		if slices.Contains(l.places(e.mod, s), n) && e.st.Groups[l.parent.name].On[s].Stopping == stopUser && (e.active(l.parent, s) || e.inTransit(l.parent, s)) {
			return []string{l.parent.name}
		}
	}
	return nil
}

// parentsBeside returns the groups that must be offline on n before this one
// comes up there.
func (e *Engine) parentsBeside(g *groupModel, n SystemID) []string {
	var out []string
	for _, l := range g.requiredBy {
		if p := l.parent; l.offline && p.on(n) && (e.active(p, n) || e.inTransit(p, n)) {
			out = append(out, p.name)
		}
	}
	return out
}

// leanedOn refuses to take a group from systems while a firm or hard parent
// would lose it.
func (e *Engine) leanedOn(g *groupModel, from []SystemID) *refusal {
	for _, l := range g.requiredBy {
		if !l.rigid() {
			continue
		}
		if losing := e.losing(l, from); len(losing) > 0 {
			n := losing[0]
			return refuse(10207, "Group %s requires group %s %s and is online on system %s; hagrp -offline %s -sys %s first", l.parent.name, g.name, l, n, l.parent.name, n)
		}
	}
	return nil
}

// parentFault lets the child of a hard dependency go with its parent, if both
// find another system (engine.md 4.15).
func (e *Engine) parentFault(g *groupModel, n SystemID) {
	for _, l := range g.requires {
		c := l.child.part(n)
		in := decision.HardParent{Parent: g.name, Child: c.name, Link: l.String(), Hard: l.rigidity == "hard", System: n, Listed: c.on(n), Parallel: !c.failover()}
		if !in.Hard {
			continue
		}
		if in.Listed {
			in.Active, in.Stopping, in.Freeze = e.active(c, n), e.st.Groups[c.name].On[n].Stopping, e.freezeOn(c, n, false)
		}
		o := in.Decide()
		if o.Do == decision.DoLook {
			in.Looked, in.Policy, in.Candidates, in.Places = true, c.failOverPolicy, e.candidatesFrom(c, n), e.elsewhere(c)
			for _, to := range in.Candidates {
				in.Follow = append(in.Follow, e.follower(g, to.System))
			}
			o = in.Decide()
		}
		e.told(c.name, in, o)
		if o.Do == decision.DoMove {
			e.move(c, n, o.Target, "move of group "+c.name+" from "+n+" to "+o.Target+" with its parent "+g.name)
		}
	}
}

// follower gathers the facts about a group on a system that its child may be
// moved to; without a state if it cannot be there.
func (e *Engine) follower(g *groupModel, n SystemID) policy.Candidate {
	if !g.on(n) {
		return policy.Candidate{System: n}
	}
	return e.candidates(g, []SystemID{n})[0]
}

// gone tells firm global, remote and site parents of a group that it, or an
// instance of it, went down on n: they start anew on what is left or comes.
func (e *Engine) gone(g *groupModel, n SystemID, how string) {
	for _, l := range g.requiredBy {
		if !l.rigid() || l.location == "local" {
			continue
		}
		for _, p := range l.parent.list {
			s := p.System
			in := decision.ChildWent{Parent: l.parent.name, Child: g.name, Link: l.String(), Rigid: true, How: how, Where: n, System: s,
				Serves: slices.Contains(l.places(e.mod, s), n), ChildPropagates: g.faultPropagation, ChildFreeze: e.freezeOfGroup(g),
				Active: e.active(l.parent, s), Usable: e.usable(s), Freeze: e.freezeOn(l.parent, s, false), Stopping: e.st.Groups[l.parent.name].On[s].Stopping}
			if o := in.Decide(); o.Do == decision.DoStop {
				e.giveWay(l.parent.part(s), s, in, o)
			}
		}
	}
}

// linkHindrances are what dependencies put in a group's way.
func (e *Engine) linkHindrances(g *groupModel) []string {
	var out []string
	gr := e.st.Groups[g.name]
	waits := e.course(g).Due != nil
	for _, p := range g.list {
		n := p.System
		waits = waits || gr.On[n].Owed
		for _, above := range e.parentsAbove(g, n) {
			if e.active(g, n) {
				out = append(out, fmt.Sprintf("waits on %s until group %s, which requires it, is offline: hagrp -state %s -sys %s", n, above, above, n))
			}
		}
		if beside := e.parentsBeside(g, n); len(beside) > 0 && e.wants(g, n, wantOnline) {
			out = append(out, fmt.Sprintf("waits on %s until group %s is offline there: hagrp -state %s -sys %s", n, strings.Join(beside, ", "), beside[0], n))
		}
	}
	if !waits {
		return out
	}
	var first string
	for _, p := range g.list {
		why, wayOut := e.unmet(g, p.System)
		if why == "" {
			return out // Not the dependencies are in the way.
		}
		if first == "" {
			first = why + ": " + wayOut
		}
	}
	return append(out, first)
}
