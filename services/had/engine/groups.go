package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// active says whether a group is active on a system: an OnOff resource is
// online, on its way up, or waits for an administrator, when it may be half
// up. OnOnly and persistent resources do not count.
func (e *Engine) active(g *groupModel, n SystemID) bool { return e.sum(g, n)&spotActive != 0 }

func (e *Engine) activeCount(g *groupModel, n SystemID) int {
	count := 0
	for _, r := range g.resources {
		if i := e.at(r, n); r.onOff() && (i.up() || i.raising() || i.inDoubt()) {
			count++
		}
	}
	return count
}

// activeElsewhere returns the other systems where the group is active, or may
// be because nothing proves the contrary.
func (e *Engine) activeElsewhere(g *groupModel, n SystemID) []string {
	var out []string
	for place, p := range g.list {
		if e.sumAt(g.whole, g.placeInWhole(place))&spotActive != 0 && p.System != n {
			out = append(out, p.System)
		}
	}
	return out
}

func (e *Engine) activeAnywhere(g *groupModel) []string { return e.activeElsewhere(g, "") }

// inTransit says whether anything of the group is on its way on a system.
func (e *Engine) inTransit(g *groupModel, n SystemID) bool {
	return e.sum(g, n)&spotMoving != 0
}

// gaveUp returns the first resource in ADMIN_WAIT on a system, or "".
func (e *Engine) gaveUp(g *groupModel, n SystemID) string {
	if e.sum(g, n)&spotDoubt == 0 {
		return ""
	}
	for _, r := range g.resources {
		if e.at(r, n).Flags&resource.FlagAdminWait != 0 {
			return r.name
		}
	}
	return ""
}

func (e *Engine) frozenGroup(g *groupModel) bool { return g.frozen || e.group(g).TFrozen }

// frozen says whether nothing may be started or stopped for the group there.
func (e *Engine) frozen(g *groupModel, n SystemID) bool {
	return e.frozenGroup(g) || e.frozenSystem(n) && !g.clusterService()
}

// unprobed returns the enabled resources that are not probed on a system.
func (e *Engine) unprobed(g *groupModel, n SystemID) []string {
	if e.sum(g, n)&spotUnprobed == 0 {
		return nil
	}
	var out []string
	for _, r := range g.resources {
		if r.enabled && !e.at(r, n).Probed {
			out = append(out, r.name)
		}
	}
	return out
}

func (e *Engine) faults(g *groupModel, n SystemID) []string {
	if e.sum(g, n)&spotFaulted == 0 {
		return nil
	}
	var out []string
	for _, r := range g.resources {
		if e.at(r, n).State == resource.StateFaulted {
			out = append(out, r.name)
		}
	}
	return out
}

// autoDisabled says why the group is autodisabled on a system and what leads
// out, or "" if it is not (engine.md 4.10, R1).
func (e *Engine) autoDisabled(g *groupModel, n SystemID) (why, wayOut string) {
	if e.on(g, n).AutoEnabled || !g.failover() {
		return "", ""
	}
	return e.doubt(g, n).AutoDisabled(g.name)
}

// step lets a group go one step; false when there is nothing to do.
func (e *Engine) step(g *groupModel) bool {
	moved, frozen := false, e.frozenGroup(g)
	for place, p := range g.list {
		if e.resting(g, place, frozen) {
			continue
		}
		moved = e.probedNow(g, p.System) || moved
		moved = e.stepHeld(g, p.System) || moved
		moved = e.monitorOnly(g, p.System) || moved
		moved = e.yield(g, p.System) || moved
		moved = e.advance(g, p.System) || moved
		moved = e.clearParents(g, p.System) || moved
		moved = e.finish(g, p.System) || moved
	}
	moved = e.obey(g) || moved
	return e.progress(g) || moved
}

// probedNow notices that a group became fully probed on a system.
func (e *Engine) probedNow(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	if on.Probed || !e.usable(n) || len(e.unprobed(g, n)) > 0 {
		return false
	}
	on.Probed = true
	e.markStaleOn(g, n)
	e.noteOff(g, n, e.base(g, n))
	e.log("NOTICE", 10438, "", g.name, "Group %s has been probed on system %s", g.name, n)
	e.adopt(g, n)
	return true
}

// adopt takes over what had found running after it was away: what is whole
// stays, what is missing is started again where it was (R8).
func (e *Engine) adopt(g *groupModel, n SystemID) {
	c := e.course(g)
	on := e.on(g, n)
	was := on.WasActive
	on.WasActive = false
	if on.Violation && !e.active(g, n) {
		on.Violation = false
	}
	if e.active(g, n) && !on.Violation {
		c.Intent = c.Intent || on.Stopping == ""
		if g.failover() {
			c.Due = nil
		}
	}
	if on.Stopping != "" && e.active(g, n) {
		// It was being taken offline when had went: that goes on.
		e.stop(g, n, on.Stopping)
		return
	}
	in := decision.Adoption{Group: g.name, System: n, WasActive: was, Stopping: on.Stopping, Intent: c.Intent, Violation: on.Violation, Owed: c.Due != nil}
	if was { // else there is nothing to look for
		in.Elsewhere, in.Whole, in.Active = e.activeElsewhere(g, n), e.whole(g, n), e.active(g, n)
	}
	o := in.Decide()
	if o.Do == decision.DoLook {
		start := e.startFacts(g, n, true, true)
		in.Start = &start
		o = in.Decide()
	}
	e.told(g.name, in, o)
	switch o.Do {
	case decision.DoStart:
		e.start(g, n)
	case decision.DoOwe:
		on.Owed = true
	case decision.DoForgo:
		e.gone(g, n, "is found offline")
		c.Due = &due{From: n, Why: "found offline on " + n + " when had came back"}
	}
}

// monitorOnly tells schedulers when a freeze begins or ends.
func (e *Engine) monitorOnly(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	if !e.usable(n) || on.MonitorOnly == e.frozen(g, n) {
		return false
	}
	on.MonitorOnly = e.frozen(g, n)
	for _, r := range g.resources {
		e.order(resource.CommandMonitorOnly, r, n, pick(on.MonitorOnly, 1, 0))
	}
	return true
}

// bringUp begins to bring a group online on a system: the resources with
// AutoStart and what they need.
func (e *Engine) bringUp(g *groupModel, n SystemID) {
	gr, c := e.group(g), e.course(g)
	on := gr.On[n]
	selected, blocked := g.graph.Selection(
		func(r string) bool { m := g.resource(r); return m.autoUp && !m.persistent() },
		func(r string) bool { return g.resource(r).enabled },
	)
	for _, r := range selected {
		e.raise(g, r, n)
	}
	if len(blocked) > 0 {
		e.decide(g.name, e.leftOut(g, blocked, n))
	}
	on.Starting, on.Stopping, on.Pre = true, "", nil
	c.Intent = true
	e.settled(g, n)
	on.NotInLoad, on.NotInMeters = e.st.Systems[n].LoadSet, e.st.Systems[n].Meters != nil
	e.touchOn(g, n)
}

// leftOut says what keeps some resources of a group offline.
func (e *Engine) leftOut(g *groupModel, blocked []string, n SystemID) decision.LeftOut {
	in := decision.LeftOut{System: n}
	for _, r := range blocked {
		off := slices.DeleteFunc(append(g.graph.Descendants(r), r), func(need string) bool { return g.resource(need).enabled })
		in.Resources = append(in.Resources, decision.Blocked{Resource: r, Disabled: off})
	}
	return in
}

func (e *Engine) raise(g *groupModel, r string, n SystemID) {
	m, i := g.resource(r), e.instance(r, n)
	if m.persistent() || i.State == resource.StateFaulted || (i.up() && i.Pending.ID == 0) {
		if i.Want == wantOffline {
			i.Want = wantNothing
			e.markStaleOn(g, n)
		}
		return
	}
	i.Want, i.Halted, i.Alone, i.Flushed, i.RetryAt = wantOnline, false, false, false, 0
	e.markStaleOn(g, n)
}

// stop begins to take a group offline on a system, for a reason that decides
// what comes after. OnOnly and persistent resources are left alone.
func (e *Engine) stop(g *groupModel, n SystemID, reason string) {
	on := e.on(g, n)
	for _, r := range g.resources {
		i := e.at(r, n)
		switch {
		case r.onOff() && (i.up() || i.raising()):
			pending := i.Pending.Kind == resource.CommandOnline
			if i.up() || pending {
				i.Want, i.Halted, i.Alone, i.RetryAt = wantOffline, false, false, 0
			} else {
				i.Want, i.RetryAt = wantNothing, 0
			}
		case i.Want == wantOnline:
			i.Want, i.RetryAt = wantNothing, 0
		}
	}
	on.Starting, on.Stopping, on.Pre = false, reason, nil
	e.touchOn(g, n)
}

// finish ends the operations that have reached their end.
func (e *Engine) finish(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	if on.Starting && !e.wants(g, n, wantOnline) {
		on.Starting = false
		e.markStaleOn(g, n)
		return true
	}
	if on.Stopping == "" || len(e.parentsAbove(g, n)) > 0 || e.active(g, n) || !e.usable(n) || e.inTransit(g, n) || e.gaveUp(g, n) != "" {
		return false
	}
	if len(e.unprobed(g, n)) > 0 && on.Stopping != stopHastop {
		return false
	}
	e.stopped(g, n)
	return true
}

func (e *Engine) wants(g *groupModel, n SystemID, w want) bool {
	return e.sum(g, n)&pick(w == wantOnline, spotRising, spotFalling) != 0
}

// stopped decides what follows when a group is offline on a system.
func (e *Engine) stopped(g *groupModel, n SystemID) {
	gr := e.group(g)
	on := gr.On[n]
	reason := on.Stopping
	on.Stopping, on.After = "", false
	if reason != stopFault {
		on.Retries = 0 // which count while it stays here
	}
	e.markStaleOn(g, n)
	e.show(g)
	switch reason {
	case stopFault:
		e.afterFault(g, n)
	case stopSwitch:
		e.afterSwitch(g, n)
	case stopViolation:
		on.Violation = false
	case stopChild:
		e.gaveWay(g, n)
	}
}

// whole says whether everything that the group starts by itself is online.
func (e *Engine) whole(g *groupModel, n SystemID) bool {
	any, auto := false, false
	for _, r := range g.resources {
		if r.persistent() || !r.enabled {
			continue
		}
		up := e.at(r, n).up()
		if r.autoUp {
			auto = true
			if !up {
				return false
			}
		}
		any = any || up
	}
	if auto {
		return true
	}
	return any
}

// base is the group's state on a system without operations and faults.
func (e *Engine) base(g *groupModel, n SystemID) string {
	running := false
	for _, r := range g.resources {
		running = running || (r.onOff() && e.at(r, n).up())
	}
	onlyOnOnly := !slices.ContainsFunc(g.resources, func(r *resourceModel) bool { return r.onOff() })
	switch {
	case (running || onlyOnOnly) && e.whole(g, n):
		return "ONLINE"
	case running:
		return "PARTIAL"
	default:
		return "OFFLINE"
	}
}

// groupText is a group's state on a system as VCS prints it, without bars at
// the ends.
func (e *Engine) groupText(g *groupModel, n SystemID) string {
	base := e.base(g, n)
	var out []string
	if base != "PARTIAL" {
		out = append(out, base)
	}
	if e.wants(g, n, wantOnline) {
		out = append(out, "STARTING")
	}
	on := e.on(g, n)
	if e.wants(g, n, wantOffline) || (on.Stopping != "" && e.active(g, n)) {
		out = append(out, "STOPPING")
	}
	if base == "PARTIAL" {
		out = append(out, base)
	}
	if on.Faulted || e.criticalFault(g, n) {
		out = append(out, "FAULTED")
	}
	return strings.Join(out, "|")
}

func (e *Engine) criticalFault(g *groupModel, n SystemID) bool {
	if e.sum(g, n)&spotFaulted == 0 {
		return false
	}
	for _, r := range g.resources {
		if e.at(r, n).State != resource.StateFaulted {
			continue
		}
		needing := append(g.graph.Ancestors(r.name), r.name)
		if slices.ContainsFunc(needing, func(a string) bool { return g.resource(a).critical }) {
			return true
		}
	}
	return false
}

// show tells watchers and the log what changed about a group.
func (e *Engine) show(g *groupModel) {
	for place, p := range g.list {
		spot := &e.indexed().spots[g.first+g.placeInWhole(place)]
		if spot.flags&spotUntold == 0 {
			continue
		}
		spot.flags &^= spotUntold
		n := p.System
		for _, r := range g.resources {
			i := e.at(r, n)
			text := e.stateText(r, i)
			if !i.Probed && i.Shown == "" {
				continue
			}
			if text != i.Shown {
				e.emit(EventNotice{Kind: "resource", System: n, Group: g.name, Resource: r.name, Old: orOffline(i.Shown), New: text})
				i.Shown = text
			}
		}
		on := e.on(g, n)
		text := e.groupText(g, n)
		old := orOffline(on.Shown)
		if text == old {
			continue
		}
		e.emit(EventNotice{Kind: "group", System: n, Group: g.name, Old: old, New: text})
		on.Shown, on.Since = text, e.st.Now
		e.loadMoved[n], e.roomMoved[n] = true, true
		switch was, is := word(old), e.base(g, n); {
		case is == "ONLINE" && was != "ONLINE":
			e.log("NOTICE", 10447, "", g.name, "Group %s is online on system %s", g.name, n)
		case is == "OFFLINE" && was != "OFFLINE":
			e.log("NOTICE", 10446, "", g.name, "Group %s is offline on system %s", g.name, n)
		}
		e.shownTriggers(g, n, word(old), e.base(g, n))
	}
}

func orOffline(s string) string {
	if s == "" {
		return "OFFLINE"
	}
	return s
}

// word is the base word in a printed group state.
func word(text string) string {
	for _, w := range []string{"ONLINE", "OFFLINE", "PARTIAL"} {
		if slices.Contains(strings.Split(text, "|"), w) {
			return w
		}
	}
	return "OFFLINE"
}

// refusal is why a command is not carried out.
type refusal struct {
	code     Code
	severity string
	id       int
	text     string
	nearest  []string
	// start are the facts that it comes from, if a group may not start.
	start *decision.Start
}

func refuse(id int, format string, args ...any) *refusal {
	return &refusal{code: CodeFailedPrecondition, severity: "WARNING", id: id, text: fmt.Sprintf(format, args...)}
}

// idUnmet is the message of a group dependency that is not met.
const idUnmet = decision.MessageUnmet

// mayStart says whether a group may be brought online on a system
// (engine.md 4.1); here permits that it is active on this very system.
func (e *Engine) mayStart(g *groupModel, n SystemID, here bool) (bool, *refusal) {
	return e.mayStartWith(g, n, here, true)
}

// mayStartWith is mayStart, with or without regard to the groups that it
// requires.
func (e *Engine) mayStartWith(g *groupModel, n SystemID, here, linked bool) (bool, *refusal) {
	s := e.startFacts(g, n, here, linked)
	no := refusedBy(s.Refusal(), s)
	return no == nil, no
}
