package engine

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// order sends a command to the scheduler of a system.
func (e *Engine) order(kind resource.CommandKind, r *resourceModel, n SystemID, arg int) resource.Command {
	e.st.LastID++
	c := resource.Command{ID: e.st.LastID, Kind: kind, System: n, Resource: r.name, Arg: arg}
	e.emit(ResourceCommand{Command: c, Group: r.in.name, Attempt: e.on(r.in, n).Retries})
	i := e.at(r, n)
	switch kind {
	case resource.CommandOnline, resource.CommandOffline:
		i.Pending, i.Bound, i.Flushed, i.RetryAt = order{c.ID, c.Kind}, c.ID, false, 0
	case resource.CommandClear:
		i.Bound = c.ID
		i.Unseen = append(i.Unseen, c)
	default:
		i.Unseen = append(slices.DeleteFunc(i.Unseen, func(u resource.Command) bool { return u.Kind == kind }), c)
	}
	e.markStaleOn(r.in, n)
	return c
}

// advance sends, for one group on one system, every command whose time has
// come: independent branches in parallel, no barrier. It says whether anything
// moved.
func (e *Engine) advance(g *groupModel, n SystemID) bool {
	if !e.usable(n) {
		return false
	}
	moved, place := false, g.whole.place(n)
	for _, r := range g.resources {
		i := e.atPlace(r, place)
		if i.Pending.ID != 0 {
			continue
		}
		switch i.Want {
		case wantOnline:
			moved = e.advanceOnline(g, r, i, n) || moved
		case wantOffline:
			moved = e.advanceOffline(g, r, i, n) || moved
		}
	}
	return moved
}

func (e *Engine) advanceOnline(g *groupModel, r *resourceModel, i *instance, n SystemID) bool {
	if i.up() || i.State == resource.StateFaulted || r.persistent() {
		i.Want, i.RetryAt = wantNothing, 0
		e.markStaleOn(g, n)
		return true
	}
	if !i.Probed || i.RetryAt > e.st.Now || i.Flags&resource.FlagAdminWait != 0 || e.frozen(g, n) || len(e.missing(g, r, n)) > 0 || len(e.parentsBeside(g, n)) > 0 {
		return false
	}
	if g.failover() && r.onOff() && len(e.activeElsewhere(g, n)) > 0 {
		// I1: whatever led here, two systems are never told at once.
		i.Want = wantNothing
		e.markStaleOn(g, n)
		return true
	}
	e.log("NOTICE", 10301, "", g.name, "Initiating Online of Resource %s (Owner: %s, Group: %s) on System %s", r.name, r.owner, g.name, n)
	e.order(resource.CommandOnline, r, n, 0)
	return true
}

func (e *Engine) advanceOffline(g *groupModel, r *resourceModel, i *instance, n SystemID) bool {
	if !i.up() || !r.onOff() {
		i.Want, i.Alone, i.Halted = wantNothing, false, false
		e.markStaleOn(g, n)
		return true
	}
	if i.Halted || i.inDoubt() || e.frozen(g, n) || len(e.parentsAbove(g, n)) > 0 || (!i.Alone && len(e.holding(g, r, n)) > 0) {
		return false
	}
	e.log("NOTICE", 10300, "", g.name, "Initiating Offline of Resource %s (Owner: %s, Group: %s) on System %s", r.name, r.owner, g.name, n)
	e.order(resource.CommandOffline, r, n, 0)
	return true
}

// missing returns the children that r waits for.
func (e *Engine) missing(g *groupModel, r *resourceModel, n SystemID) []string {
	return g.graph.Missing(r.name, func(c string) bool {
		i := e.instance(c, n)
		return i.up() && i.Want != wantOffline && i.Pending.Kind != resource.CommandOffline
	})
}

// holding returns what r's offline waits for: everything above it, however
// far, that is up and is to go as well or cannot stay without it.
func (e *Engine) holding(g *groupModel, r *resourceModel, n SystemID) []string {
	going := e.leaning(g, r, n)
	return slices.DeleteFunc(g.graph.Ancestors(r.name), func(a string) bool {
		i := e.instance(a, n)
		if m := g.resource(a); m.onOff() && m.enabled && !i.Probed {
			return false // It may be up; after a restart of had nobody has looked yet.
		} else if !m.onOff() || (!i.up() && !i.raising()) {
			return true
		}
		return !slices.Contains(going, a) && i.Want != wantOffline && i.Pending.Kind != resource.CommandOffline
	})
}

// leaning returns the OnOff resources that are up, or on their way, and cannot
// stay so without r.
func (e *Engine) leaning(g *groupModel, r *resourceModel, n SystemID) []string {
	up := func(c string) bool { i := e.instance(c, n); return i.up() || i.raising() }
	return slices.DeleteFunc(g.graph.Broken(r.name, up), func(a string) bool { return !g.resource(a).onOff() || !up(a) })
}

// reported applies a report of a system's scheduler. It says whether that may
// have moved anything.
func (e *Engine) reported(from SystemID, rep *resource.Report) bool {
	if rep.System != from || e.mod == nil {
		return true
	}
	ix := e.indexed()
	in := ix.on[from]
	if in == nil {
		return true
	}
	s := in.sys
	if s == nil {
		s = e.st.Systems[from]
	}
	if s == nil || !s.InH || rep.Incarnation != s.Incarnation {
		return true
	}
	num := e.mod.names.find(rep.Resource)
	if num < 0 {
		return true
	}
	at := &ix.spotsOf[ix.groupOf[num]]
	place := slices.Index(ix.placed[at.first:at.first+at.width], in.num)
	if place < 0 {
		return true
	}
	i := ix.instances[int(ix.firstOf[num])+place*int(at.stride)]
	if i == nil {
		i = e.atPlace(e.mod.resources[num], place)
	} else {
		e.looks++
	}
	if i.Unseen != nil {
		i.Unseen = slices.DeleteFunc(i.Unseen, func(c resource.Command) bool { return c.ID <= rep.Seen || c.ID == rep.Done })
		if len(i.Unseen) == 0 {
			i.Unseen = nil
		}
	}
	if rep.Seen < i.Bound {
		return true // R6: made before the scheduler knew of the last transition.
	}
	if i.says(rep) && !e.thorough && (at.alone && !ix.waiting[ix.groupOf[num]] || !at.alone && !e.waitsWithKin(e.mod.resources[num].in)) {
		e.heardAgain(num, i, place, rep)
		return false
	}
	r := e.mod.resources[num]
	e.dirty[r.in.name] = true
	e.markSpot(r.in, place)
	e.heard(r, i, from, rep)
	return true
}

// monitorMillis and confidence are what a report says of them, within bounds.
func monitorMillis(rep *resource.Report) int32 {
	return int32(max(0, min(rep.MonitorMillis, math.MaxInt32)))
}

func confidence(rep *resource.Report) uint8 { return uint8(max(0, min(rep.Confidence, 100))) }

// says says whether a report is what is known of an instance already, which
// nothing is under way for.
func (i *instance) says(rep *resource.Report) bool {
	return i.Probed && rep.Probed && i.Pending.ID == 0 && i.Want == wantNothing && i.State == rep.State && i.Flags == rep.Flags &&
		i.WaitReason == rep.WaitReason && !rep.Intentional && i.Reason == rep.Reason &&
		rep.Flags&(resource.FlagUnknown|resource.FlagMonitorTimedOut) == 0
}

// waitsWithKin says whether a group, or one that depends on it or that it
// depends on, has anything owed or under way.
func (e *Engine) waitsWithKin(g *groupModel) bool {
	waiting := e.indexed().waiting
	return slices.ContainsFunc(g.family, func(m *groupModel) bool { return waiting[m.num] })
}

// heardAgain applies a report that says what is known: most reports. A group
// that rested before it rests after it, so nothing else is looked at, and it
// costs the same whatever the cluster holds (E195).
func (e *Engine) heardAgain(num int, i *instance, place int, rep *resource.Report) {
	i.Since, i.MonitorMillis = e.st.Now, monitorMillis(rep)
	if i.up() {
		i.Confidence = confidence(rep)
		e.homed(num, place)
	}
}

// heard applies a report that is not out of date.
func (e *Engine) heard(r *resourceModel, i *instance, from SystemID, rep *resource.Report) {
	if !rep.Probed {
		if i.Pending.ID != 0 && rep.Done == i.Pending.ID {
			i.Reason = rep.Reason
			e.complete(r.in.part(from), r, i, rep, i.State)
			e.markStaleOn(r.in, from)
		}
		return
	}
	risen := rep.Flags &^ i.Flags
	waited, waitedReason := i.inDoubt(), i.WaitReason
	i.Flags, i.Reason, i.Since = rep.Flags, rep.Reason, e.st.Now
	i.WaitReason, i.MonitorMillis = rep.WaitReason, monitorMillis(rep)
	if i.inDoubt() {
		e.adminWaits(r, i, from, waited, waitedReason)
	}
	e.flagTriggers(r.in, r, from, risen, int(rep.WaitReason))
	e.transit(r.in.part(from), r, i, rep)
}

// transit moves a resource to the state that a report names.
func (e *Engine) transit(g *groupModel, r *resourceModel, i *instance, rep *resource.Report) {
	n := rep.System
	first := !i.Probed
	was, to := i.State, rep.State
	vague := rep.Flags&(resource.FlagUnknown|resource.FlagMonitorTimedOut) != 0
	if vague {
		to = was // A monitor that could not tell changes nothing.
	}
	if r.persistent() && to == resource.StateOffline && !vague {
		to = resource.StateFaulted
	}
	if was == resource.StateFaulted && to == resource.StateOffline {
		to = resource.StateFaulted // A fault stays until it is cleared or seen up.
	}
	done := e.complete(g, r, i, rep, to)
	if vague && first {
		return
	}
	i.Probed, i.State = true, to
	i.Confidence = 0
	if to == resource.StateOnline {
		i.Confidence = confidence(rep)
		e.homed(r.num, r.in.place(n))
	} else {
		i.Info = nil
	}
	e.tell(g, r, i, n, was, done, first)
	e.changedTriggers(g, r, n, was, to, first)
	switch {
	case to == resource.StateFaulted && (was != to || first):
		e.faulted(g, r, n, was == resource.StateOnline)
	case to == resource.StateOnline && (was != to || first):
		e.risen(g, r, i, n, was, done)
		if !done && !first {
			e.startedOutside(g, r, n)
		}
	case rep.Intentional && was == resource.StateOnline && !done:
		e.stoppedOutside(g, r, n)
	}
}

// homed remembers where a resource is online (LastOnline).
func (e *Engine) homed(num, place int) {
	if home := &e.indexed().homes[num]; *home != int16(1+place) {
		*home = int16(1 + place)
	} else {
		return
	}
	if e.st.LastOnline == nil {
		e.st.LastOnline = map[string]SystemID{}
	}
	r := e.mod.resources[num]
	e.st.LastOnline[r.name] = r.in.list[place].System
}

// complete ends the transition that a report completes and says whether the
// report is an answer to a command.
func (e *Engine) complete(g *groupModel, r *resourceModel, i *instance, rep *resource.Report, to resource.State) bool {
	p := i.Pending
	if p.ID == 0 {
		return false
	}
	reached := to == resource.StateFaulted ||
		(p.Kind == resource.CommandOnline && to == resource.StateOnline) ||
		(p.Kind == resource.CommandOffline && to == resource.StateOffline)
	if rep.Done != p.ID && !reached {
		return false
	}
	i.Pending, i.Flushed = order{}, false
	switch p.Kind {
	case resource.CommandOnline:
		e.endOnline(g, r, i, rep, to)
	case resource.CommandOffline:
		e.endOffline(g, r, i, rep, to)
	}
	return true
}

func (e *Engine) endOnline(g *groupModel, r *resourceModel, i *instance, rep *resource.Report, to resource.State) {
	if to != resource.StateOffline || i.Want != wantOnline || i.inDoubt() {
		if i.Want == wantOnline {
			i.Want = wantNothing
		}
		return
	}
	// The scheduler did not start it (no lease, not armed): no fault, ask again.
	i.RetryAt = e.st.Now + onlineRetry
	e.log("WARNING", 10318, rep.System, g.name, "Resource %s (Owner: %s, Group: %s) is not started on System %s: %s; trying again", r.name, r.owner, g.name, rep.System, orUnsaid(rep.Reason))
}

func (e *Engine) endOffline(g *groupModel, r *resourceModel, i *instance, rep *resource.Report, to resource.State) {
	in := decision.OfflineFailed{Resource: r.name, System: rep.System, Up: to == resource.StateOnline, AdminWait: i.inDoubt(), Said: rep.Reason}
	o := in.Decide()
	if o.Do == decision.DoNothing {
		if i.Want == wantOffline {
			i.Want = wantNothing
		}
		i.Alone, i.Halted = false, false
		return
	}
	i.Halted = true
	e.resourceTrigger(TriggerResNotOff, g, r, rep.System, custom, rep.System, r.name)
	if o.Do == decision.DoRecord {
		return // said already
	}
	e.log("ERROR", 10302, rep.System, g.name, "Resource %s (Owner: %s, Group: %s) could not be taken offline on System %s: %s", r.name, r.owner, g.name, rep.System, orUnsaid(rep.Reason))
	e.told(g.name, in, o)
}

func orUnsaid(reason string) string {
	if reason == "" {
		return "the agent gave no reason"
	}
	return reason
}

// tell writes the engine log's line about a change.
func (e *Engine) tell(g *groupModel, r *resourceModel, i *instance, n SystemID, was resource.State, asked, first bool) {
	to := i.State
	if to == was && !first {
		return
	}
	how := "(Not initiated by VCS)"
	switch {
	case first:
		how = "(First probe)"
	case asked:
		how = "(VCS initiated)"
	}
	head := fmt.Sprintf("Resource %s (Owner: %s, Group: %s)", r.name, r.owner, g.name)
	switch to {
	case resource.StateOnline:
		e.log("NOTICE", pick(first, 10297, pick(asked, 10298, 10299)), "", g.name, "%s is online on %s %s", head, n, how)
	case resource.StateOffline:
		e.log("NOTICE", pick(first, 10304, pick(asked, 10305, 10307)), "", g.name, "%s is offline on %s %s", head, n, how)
	case resource.StateFaulted:
		e.log("ERROR", 10303, "", g.name, "%s is FAULTED on sys %s: %s", head, n, orUnsaid(i.Reason))
	}
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

// risen handles a resource that is up, wanted or not.
func (e *Engine) risen(g *groupModel, r *resourceModel, i *instance, n SystemID, was resource.State, asked bool) {
	if was == resource.StateFaulted {
		e.recovered(g, r, n)
	}
	if !r.onOff() || asked {
		return
	}
	if g.failover() {
		e.violation(g, r, n)
	}
}

// violation takes a group offline on the system that came second.
func (e *Engine) violation(g *groupModel, r *resourceModel, n SystemID) {
	on := e.on(g, n)
	in := decision.Concurrency{Group: g.name, Resource: r.name, System: n, Known: on.Violation, Others: e.activeElsewhere(g, n),
		Yielded: e.st.Systems[n].Yielded, Freeze: e.freezeOn(g, n, false)}
	o := in.Decide()
	if o.Do == decision.DoNothing {
		return
	}
	if !on.Violation {
		e.trigger(RunTrigger{Event: TriggerViolation, System: n, Args: []string{n, g.name}, Group: g.name, Path: g.triggers.path})
		e.log("ERROR", 10214, n, g.name, "Concurrency Violation: CurrentCount increased above 1 for %s group %s", pick(g.hybrid(), "hybrid", "failover"), g.name)
		e.told(g.name, in, o)
	}
	on.Violation = true
	e.yield(g, n)
	if on.Stopping == stopViolation {
		e.stop(g, n, stopViolation) // What came up since goes as well.
	}
}

// yield takes a group offline where it came second, as soon as no freeze
// forbids it; it ends when the group is alone after all.
func (e *Engine) yield(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	if !on.Violation {
		return false
	}
	switch e.decide(g.name, decision.ConcurrencyEnd{System: n, Freeze: e.freezeOn(g, n, false), Usable: e.usable(n),
		Stopping: on.Stopping == stopViolation, Others: e.activeElsewhere(g, n)}).Do {
	case decision.DoForgo:
		on.Violation = false
		return true
	case decision.DoStop:
		e.stop(g, n, stopViolation)
		return true
	}
	return false
}

// faulted decides what the fault of a resource means for its group
// (engine.md 4.4).
func (e *Engine) faulted(g *groupModel, r *resourceModel, n SystemID, wasUp bool) {
	on := e.on(g, n)
	affected := append([]string{r.name}, g.graph.Broken(r.name, func(c string) bool { return e.instance(c, n).up() })...)
	critical := slices.DeleteFunc(slices.Clone(affected), func(a string) bool { return !g.resource(a).critical })
	for _, a := range affected {
		if i := e.instance(a, n); i.Want == wantOnline {
			i.Want, i.RetryAt = wantNothing, 0
			e.markStaleOn(g, n)
		}
	}
	e.decideAfter(g.name, decision.Fault{
		Group: g.name, Resource: r.name, System: n, Freeze: e.freezeOn(g, n, false), Persistent: r.persistent(),
		ManageFaults: g.manageFaults, GroupPropagates: g.faultPropagation, ResourcePropagates: r.faultPropagation,
		Affected: affected, Critical: critical, Live: e.active(g, n) || on.Starting || (wasUp && r.onOff()), Stopping: on.Stopping,
	}, func(o decision.Outcome) {
		switch o.Do {
		case decision.DoDrop:
			e.drop(g, affected, n)
		case decision.DoMark:
			on.Faulted = true
		case decision.DoStop:
			on.Faulted, on.ByPersistent = true, r.persistent()
			e.log("ERROR", 10205, "", g.name, "Group %s is faulted on system %s", g.name, n)
			e.stop(g, n, stopFault)
		}
	})
}

func (e *Engine) clearHint(r *resourceModel, n SystemID) string {
	if r.persistent() {
		return "repair what " + r.name + " watches on " + n + "; the fault goes by itself"
	}
	return "hares -clear " + r.name + " -sys " + n
}

// drop takes the given resources offline, parents first.
func (e *Engine) drop(g *groupModel, rs []string, n SystemID) {
	for _, name := range rs {
		i := e.instance(name, n)
		if g.resource(name).onOff() && (i.up() || i.raising()) {
			i.Want, i.Halted, i.RetryAt = wantOffline, false, 0
			e.markStaleOn(g, n)
		}
	}
}

// recovered handles a fault that went away by itself.
func (e *Engine) recovered(g *groupModel, r *resourceModel, n SystemID) {
	e.refault(g, n)
	if !r.persistent() {
		return
	}
	if g.autoRestart == 2 {
		e.clearFaults(g, n, func(*resourceModel) bool { return true })
	}
	c := e.course(g)
	switch e.decide(g.name, decision.Recovery{Group: g.name, Resource: r.name, System: n,
		Owed: c.Due != nil && c.Due.Persistent, AutoRestart: g.autoRestart}).Do {
	case decision.DoForgo:
		c.Due = nil
	case decision.DoStart:
		e.log("NOTICE", 10181, "", g.name, "Group %s AutoRestart set to %d", g.name, g.autoRestart)
		c.Stuck = ""
	}
}

// refault recomputes whether a group counts as faulted on a system.
func (e *Engine) refault(g *groupModel, n SystemID) {
	on := e.on(g, n)
	if !on.Faulted {
		return
	}
	for _, r := range g.resources {
		if e.at(r, n).State == resource.StateFaulted {
			return
		}
	}
	on.Faulted, on.ByPersistent = false, false
	e.markStaleOn(g, n)
}

// clearFaults clears the faults of non-persistent resources of a group on one
// system and returns their names.
func (e *Engine) clearFaults(g *groupModel, n SystemID, which func(*resourceModel) bool) []string {
	var cleared []string
	for _, r := range g.resources {
		i := e.at(r, n)
		if r.persistent() || !which(r) || i.State != resource.StateFaulted {
			continue
		}
		i.State = resource.StateOffline
		e.markStaleOn(g, n)
		e.changedTriggers(g, r, n, resource.StateFaulted, resource.StateOffline, false)
		if e.usable(n) {
			e.order(resource.CommandClear, r, n, 0)
		}
		cleared = append(cleared, r.name)
	}
	e.refault(g, n)
	e.touchOn(g, n)
	return cleared
}

// stateText is a resource's state as VCS prints it.
func (e *Engine) stateText(r *resourceModel, i *instance) string {
	s := i.State.String()
	if i.Flags == 0 {
		return s
	}
	return s + "|" + flagText(i.Flags, "|")
}

func flagText(f resource.Flags, sep string) string {
	var out []string
	for _, k := range []struct {
		flag resource.Flags
		text string
	}{
		{resource.FlagRestarting, "RESTARTING"},
		{resource.FlagUnknown, "STATE UNKNOWN"},
		{resource.FlagMonitorTimedOut, "MONITOR TIMEDOUT"},
		{resource.FlagUnableToOffline, "UNABLE TO OFFLINE"},
		{resource.FlagAdminWait, "ADMIN_WAIT"},
	} {
		if f&k.flag != 0 {
			out = append(out, k.text)
		}
	}
	return strings.Join(out, sep)
}

// waiting returns a resource's IState and hastatus's code for it.
func (e *Engine) waiting(g *groupModel, r *resourceModel, i *instance, n SystemID) (string, string) {
	below := slices.ContainsFunc(g.graph.Children(r.name), func(c string) bool {
		return e.instance(c, n).Want == wantOffline
	})
	switch {
	case i.Flushed:
	case i.Pending.Kind == resource.CommandOnline && i.Want == wantOffline && below:
		return "waiting to go online (reverse/propagate)", "W_ONLINE_REVERSE_PROPAGATE"
	case i.Pending.Kind == resource.CommandOnline && i.Want == wantOffline:
		return "waiting to go online (reverse)", "W_ONLINE_REVERSE"
	case i.Pending.Kind == resource.CommandOnline:
		return "waiting to go online", "W_ONLINE"
	case i.Pending.Kind == resource.CommandOffline && i.Want == wantOnline:
		return "waiting to go offline (reverse)", "W_OFFLINE_REVERSE"
	case i.Pending.Kind == resource.CommandOffline && below:
		return "waiting to go offline (propagate)", "W_OFFLINE_PROPAGATE"
	case i.Pending.Kind == resource.CommandOffline:
		return "waiting to go offline", "W_OFFLINE"
	case i.Want == wantOnline && len(e.missing(g, r, n)) > 0:
		return "waiting for children online", "W_ONLINE"
	case i.Want == wantOnline:
		return "waiting to go online", "W_ONLINE"
	case i.Want == wantOffline && i.Halted:
		return "waiting to go offline", "W_OFFLINE"
	case i.Want == wantOffline:
		return "waiting to go offline (path)", "W_OFFLINE_PATH"
	}
	return "not waiting", ""
}
