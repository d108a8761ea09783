package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// record returns the state of a system, which it creates.
func (e *Engine) record(name SystemID) *system {
	s := e.st.Systems[name]
	if s == nil {
		s = &system{Node: -1, State: SystemUnknown}
		e.st.Systems[name] = s
	}
	return s
}

// setState changes a system's state and tells it.
func (e *Engine) setState(name SystemID, to SystemState) {
	s := e.record(name)
	if s.State == to {
		return
	}
	severity := "NOTICE"
	if to == SystemFaulted {
		severity = "ERROR"
	}
	e.log(severity, 10322, "", "", "System %s (Node '%d') changed state from %s to %s", name, s.Node, s.State, to)
	e.emit(EventNotice{Kind: "system", System: name, Old: string(s.State), New: string(to)})
	s.State, s.Since = to, e.st.Now
	if to == SystemRunning {
		e.runningTriggers(name)
	}
	e.touchAll()
}

// view applies a released view of port h.
func (e *Engine) view(ev ViewChanged) {
	e.st.Generation, e.st.Unfenced = ev.Generation, ev.FencingDisabled
	e.log("INFO", 10077, "", "", "Received new cluster membership: %s", names(ev.Members))
	inH, inA := memberSet(ev.Members), memberSet(ev.Systems)
	for _, m := range append(slices.Clone(ev.Systems), ev.Members...) {
		s := e.record(m.System)
		s.Node = m.Node
	}
	var gone, jeopardy []SystemID
	for _, n := range e.systemNames() {
		s := e.st.Systems[n]
		m, here := inH[n]
		_, alive := inA[n]
		wasJeopardy := s.Jeopardy
		s.Jeopardy = m.Jeopardy || inA[n].Jeopardy
		if s.Jeopardy && !wasJeopardy {
			jeopardy = append(jeopardy, n)
			e.log("WARNING", 10111, "", "", "System %s (Node '%d') is in Regular and Jeopardy Memberships", n, s.Node)
		}
		switch {
		case here && !s.InH:
			e.arrived(n)
		case !here && s.InH:
			gone = append(gone, n)
			e.departedH(n, alive || slices.Contains(ev.DaemonDown, n))
		}
		e.seeA(n, alive || here, wasJeopardy, ev.Departed)
	}
	e.viewTriggers(gone, jeopardy)
	e.touchAll()
}

func memberSet(ms []Member) map[string]Member {
	set := make(map[string]Member, len(ms))
	for _, m := range ms {
		set[m.System] = m
	}
	return set
}

// arrived: a system's had entered port h.
func (e *Engine) arrived(n SystemID) {
	s := e.st.Systems[n]
	s.Restarted = s.InA && s.Down
	s.InH, s.InA, s.Clean, s.Lost = true, true, false, nil
	s.Down, s.DownSince, s.Late, s.NoAutoDisable, s.Reboot = false, 0, false, false, false
	s.LoadSet, s.DynamicLoad, s.Over, s.Meters = false, 0, nil, nil
	e.setState(n, SystemIniting)
	for _, g := range e.groupsOn(n) {
		e.rejoin(g, n)
	}
}

// departedH: a system's had left port h.
func (e *Engine) departedH(n SystemID, alive bool) {
	s := e.st.Systems[n]
	was := s.State
	s.InH = false
	e.dumpLeft(n)
	switch was {
	case SystemExiting, SystemExited:
		s.Clean = true
		e.setState(n, SystemExited)
	case SystemExitingForcibly:
		e.setState(n, SystemExited)
	default:
		e.setState(n, SystemFaulted)
	}
	for _, g := range e.groupsOn(n) {
		e.lostHold(g, n)
		e.st.Groups[g.name].On[n].Fresh = false
		e.st.Groups[g.name].On[n].AutoEnabled = false
	}
	if alive && !s.Clean {
		e.daemonDown(n)
	}
}

// daemonDown autodisables the groups of a system that lives without had.
func (e *Engine) daemonDown(n SystemID) {
	s := e.st.Systems[n]
	s.Down, s.DownSince = true, e.st.Now
	e.log("ERROR", 10113, "", "", "System %s (Node '%d') is in DDNA Membership", n, s.Node)
	e.shutdownLate(n)
	for _, g := range e.groupsOn(n) {
		in := decision.DaemonDown{Group: g.name, System: n, MachineUp: true, Clean: s.Clean, Parallel: !g.failover(), Active: e.active(g, n)}
		o := in.Decide()
		if o.Do == decision.DoNothing {
			continue
		}
		e.log("WARNING", 10449, "", g.name, "Group %s autodisabled on node %s until it is probed", g.name, n)
		e.told(g.name, in, o)
	}
}

func wayOutDDNA(n SystemID) string { return decision.WayOutDaemonDown(n) }

// seeA applies what the view says about port a.
func (e *Engine) seeA(n SystemID, alive, wasJeopardy bool, departed []Departed) {
	s := e.st.Systems[n]
	if alive {
		s.InA = true
		return
	}
	wasIn := s.InA
	s.InA = false
	for _, d := range departed {
		if d.System == n {
			s.Lost = &loss{Evidence: d.Evidence, Detail: d.Detail, Jeopardy: d.Jeopardy || wasJeopardy, StopBound: d.StopBound}
			e.lost(n)
			return
		}
	}
	if wasIn {
		s.Lost = &loss{Jeopardy: wasJeopardy}
		e.lost(n)
	}
}

// evidence applies stronger evidence for a system that is gone (R10).
func (e *Engine) evidence(ev EvidenceStronger) {
	s := e.st.Systems[ev.System]
	if s == nil || s.Lost == nil {
		return
	}
	if !policy.AtLeast(ev.Evidence, s.Lost.Evidence) {
		return
	}
	s.Lost.Evidence, s.Lost.Detail = ev.Evidence, ev.Detail
	if ev.StopBound > 0 {
		s.Lost.StopBound = ev.StopBound
	}
	e.lost(ev.System)
	e.touchAll()
}

// lost decides, for each group of a system that is gone, whether what is
// known proves that the group is down there (R1).
func (e *Engine) lost(n SystemID) {
	s := e.st.Systems[n]
	for _, g := range e.groupsOn(n) {
		on := e.st.Groups[g.name].On[n]
		c := e.course(g)
		owed := e.mayRun(g, n)
		if owed && c.Due == nil && g.failover() && on.Stopping != stopHastop && (c.Intent || on.Starting) {
			c.Due = &due{From: n, Why: "system " + n + " is " + string(s.State)}
			c.Stuck = ""
		}
		if c.Move != nil && (c.Move.From == n || c.Move.To == n) {
			if c.Due != nil && c.Move.From == n {
				c.Due.Prefer, c.Due.NoPre = c.Move.To, c.Move.NoPre
			}
			if c.Move.From == n {
				c.Move = nil
			}
		}
		if ok, _ := e.proven(g, n); ok {
			hastop := on.Stopping == stopHastop
			e.reset(g, n)
			if owed && !hastop {
				e.gone(g, n, "is lost")
			}
		} else if owed {
			e.log("WARNING", 10449, "", g.name, "Group %s autodisabled on node %s until it is proven down", g.name, n)
		}
	}
}

// proven says whether it is proven that the group cannot run on a system that
// is out of the view, and why or why not.
func (e *Engine) proven(g *groupModel, n SystemID) (bool, string) {
	s := e.st.Systems[n]
	if s == nil {
		return true, n + " was never there"
	}
	d := decision.Doubt{System: n, InView: s.InH, MachineUp: s.InA, Clean: s.Clean,
		Never: s.State == SystemUnknown && !s.InA && s.Lost == nil}
	e.lossOf(&d, g, n)
	return d.Proven()
}

// lossOf adds what is known of how a system went.
func (e *Engine) lossOf(d *decision.Doubt, g *groupModel, n SystemID) {
	s := e.st.Systems[n]
	if s.Lost == nil {
		return
	}
	d.AcceptOverlap = g.acceptOverlap
	d.Loss = &policy.Loss{
		System: n, Evidence: s.Lost.Evidence, FencingDisabled: e.st.Unfenced,
		Jeopardy: s.Lost.Jeopardy, StopBound: s.Lost.StopBound, Late: s.Late,
	}
}

// mayRun says whether a group may be running on a system: it was active there
// when last heard of, or nobody had looked.
func (e *Engine) mayRun(g *groupModel, n SystemID) bool {
	for _, r := range g.resources {
		i := e.at(r, n)
		if r.onOff() && r.enabled && (i.up() || i.moving() || i.inDoubt() || (!i.Probed && e.st.Systems[n].Incarnation != 0)) {
			return true
		}
	}
	return false
}

// reset forgets a group on a system that is proven down.
func (e *Engine) reset(g *groupModel, n SystemID) {
	on := e.st.Groups[g.name].On[n]
	for _, r := range g.resources {
		i := e.at(r, n)
		i.forget()
		i.Probed, i.State, i.Flags, i.Confidence, i.Since = false, resource.StateOffline, 0, 0, e.st.Now
		i.Reason, i.WaitReason = "", 0
	}
	e.markStaleOn(g, n)
	shown, since := on.Shown, on.Since
	*on = groupOn{Shown: shown, Since: since}
}

// joined applies the JOIN of a had: what an earlier one was told is void and
// everything is probed again (R8, R22).
func (e *Engine) joined(from SystemID, ev SystemJoined) {
	if ev.System != from {
		return
	}
	s := e.record(ev.System)
	again := s.Incarnation == ev.Incarnation
	s.Node, s.Incarnation, s.ConfigValid, s.Yielded = ev.Node, ev.Incarnation, ev.ConfigValid, ev.Yielded
	if again {
		return
	}
	s.Clean, s.Lost = false, nil
	e.forgetAgents(ev.System)
	for _, g := range e.groupsOn(ev.System) {
		e.rejoin(g, ev.System)
	}
	e.touchAll()
}

func (e *Engine) rejoin(g *groupModel, n SystemID) {
	e.lostHold(g, n)
	on := e.st.Groups[g.name].On[n]
	was := e.active(g, n) || on.Starting || on.WasActive
	stopping := on.Stopping
	for _, r := range g.resources {
		i := e.at(r, n)
		i.forget()
		i.Probed, i.Flags, i.WaitReason = false, 0, 0
	}
	e.markStaleOn(g, n)
	*on = groupOn{
		Fresh: true, WasActive: was, Faulted: on.Faulted, Violation: on.Violation,
		Shown: on.Shown, Since: on.Since, Owed: on.Owed, Cause: on.Cause, WasOff: on.WasOff,
	}
	if stopping != "" && stopping != stopHastop {
		// What was being taken offline still has to go.
		on.Stopping, on.WasActive = stopping, false
	}
}

// configure builds the configuration from the text that a system in
// LOCAL_BUILD read. A running configuration wins over one on disk.
func (e *Engine) configure(from SystemID, ev ConfigLoaded) {
	if ev.System != from {
		return
	}
	if e.decide("", decision.Offer{From: from, Loaded: e.mod != nil, Running: e.runningIt()}).Do == decision.DoForgo {
		return
	}
	m, err := parse(ev.Main, ev.Files)
	if err != nil {
		// The sender checks first; a file that is bad here is bad everywhere.
		e.log("ERROR", 10040, from, "", "Configuration from %s is not loaded: %s", from, strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	e.mod = m
	e.weighAll()
	e.st.Main, e.st.Files = ev.Main, slices.Clone(ev.Files)
	e.st.Conf = configState{Sequence: ev.Sequence, Version: ev.Version, Dumped: ev.Sequence}
	e.st.Groups = map[string]*group{}
	e.st.Resources = map[string]map[string]*instance{}
	e.st.LastOnline = nil
	for _, n := range m.systems {
		e.record(n)
	}
	for _, g := range m.groups {
		e.addGroup(g)
	}
	e.reindex()
	e.touchAll()
}

func (e *Engine) addGroup(g *groupModel) {
	gr := &group{On: map[string]*groupOn{}}
	e.st.Groups[g.name] = gr
	e.fitZones(g)
	for _, p := range g.list {
		s := e.record(p.System)
		gr.On[p.System] = &groupOn{Fresh: s.InH}
		side := make([]instance, len(g.resources)) // by side: whoever looks at one looks at all
		for i, r := range g.resources {
			if e.st.Resources[r.name] == nil {
				e.st.Resources[r.name] = map[string]*instance{}
			}
			e.st.Resources[r.name][p.System] = &side[i]
		}
	}
}

func (e *Engine) anyRunning() bool { return len(e.runningIt()) > 0 }

// runningIt are the systems that run the configuration.
func (e *Engine) runningIt() []SystemID {
	var out []SystemID
	for _, n := range e.systemNames() {
		if e.usable(n) {
			out = append(out, n)
		}
	}
	return out
}

// announced applies a system's word about its own state.
func (e *Engine) announced(from SystemID, ev StateChanged) {
	s := e.st.Systems[ev.System]
	if ev.System != from || s == nil {
		return
	}
	// What the engine ordered is not undone by a word that was on its way.
	switch s.State {
	case SystemLeaving, SystemExiting, SystemExitingForcibly:
		if ev.State != SystemExited {
			return
		}
		s.Clean = s.State == SystemExiting
	}
	switch ev.State {
	case SystemLeaving, SystemExiting, SystemExitingForcibly, SystemFaulted:
		return // Orders and views say that, not the system itself.
	case SystemUnknown:
		if e.mod == nil || e.mod.bySystem[ev.System] != nil {
			return // The configuration knows it.
		}
	}
	if s.InH {
		e.setState(ev.System, ev.State)
	}
}

// usable says whether a system carries out commands.
func (e *Engine) usable(n SystemID) bool {
	s := e.st.Systems[n]
	return s != nil && s.InH && (s.State == SystemRunning || s.State == SystemLeaving)
}

func (e *Engine) frozenSystem(n SystemID) bool {
	if at := e.indexed().on[n]; at != nil {
		return e.st.Systems[n].TFrozen || at.frozen
	}
	return e.st.Systems[n].TFrozen || e.mod.frozenSystem(n)
}

// closed says whether no group may come to a system: it is frozen, or will be
// once its groups have left it.
func (e *Engine) closed(n SystemID) bool { return e.st.Systems[n].Draining || e.frozenSystem(n) }

// drain freezes the systems that a freeze with evacuation has emptied; it says
// whether any was.
func (e *Engine) drain() bool {
	drained, names := false, e.systemNames()
	for i, s := range e.systems() {
		n := names[i]
		if !s.Draining {
			continue
		}
		in := decision.Drained{System: n, Leaving: e.leavingFrom(n), Persistent: s.DrainedBy != nil}
		o := in.Decide()
		if o.Do == decision.DoNothing {
			continue
		}
		drained = true
		if o.Do == decision.DoLook {
			in.Tried, in.Refused = true, e.drainedForGood(n)
			o = in.Decide()
		}
		s.Draining, s.DrainedBy, s.TFrozen = false, nil, !in.Persistent || in.Refused != ""
		e.told("", in, o)
		e.touchAll()
	}
	return drained
}

// leavingFrom are the groups that are being moved away from a system.
func (e *Engine) leavingFrom(n SystemID) []string {
	var out []string
	for _, g := range e.groupsOn(n) {
		if m := e.course(g).Move; (m != nil && m.From == n) || e.st.Groups[g.name].On[n].Stopping == stopChild {
			out = append(out, g.name)
		}
	}
	return out
}

// leave lets each LEAVING system go on which nothing is active any more.
func (e *Engine) leave() {
	names := e.systemNames()
	for at, s := range e.systems() {
		n := names[at]
		if s.State != SystemLeaving || !s.InH || (e.holdsAny(n) && (!s.Reboot || len(e.heldBy(n)) > 0)) {
			continue
		}
		// What is frozen goes with the machine: then this is no clean leave.
		forced := slices.ContainsFunc(e.groupsOn(n), func(g *groupModel) bool { return e.leftAlone(g, n) })
		e.setState(n, pick(forced, SystemExitingForcibly, SystemExiting))
		e.nothingDirty()
		e.emit(StopSystem{System: n, Forced: forced})
	}
}

// heldBy returns the groups that are still active on a system, with what is
// in the way.
func (e *Engine) heldBy(n SystemID) []string {
	var out []string
	for _, g := range e.groupsOn(n) {
		if !e.busyOn(g, n) || e.leftAlone(g, n) {
			continue
		}
		text := "group " + g.name
		for _, r := range g.resources {
			if i := e.at(r, n); i.Halted {
				text += fmt.Sprintf(" (%s: %s)", r.name, e.stateText(r, i))
			}
		}
		out = append(out, text)
	}
	return out
}
