package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// Message ids of refusals of hastop.
const (
	idShutdownRefused = 90160
	idConfirm         = 90161
	idShutdownLate    = 90162
	idUndumped        = 90165
)

// stopSystems is hastop.
func (e *Engine) stopSystems(c Command) *refusal {
	targets, no := e.stopTargets(c)
	if no == nil {
		no = e.shutdownRefusal(c)
	}
	if no != nil {
		return no
	}
	for _, n := range targets {
		if no := e.stopRefusal(n, c); no != nil {
			return no
		}
	}
	if no := e.undumped(targets, c); no != nil {
		return no
	}
	if c.All {
		for _, g := range e.allGroups() {
			for _, part := range g.parts {
				to := e.course(part)
				to.Due, to.Move, to.Stuck = nil, nil, ""
			}
			for _, p := range g.list {
				e.st.Groups[g.name].On[p.System].Owed = false
			}
		}
	}
	// All of them are on their way before the first group looks for a target.
	for _, n := range targets {
		s := e.st.Systems[n]
		if c.Force || (c.All && s.State != SystemRunning) {
			e.leaveForcibly(n, c)
			continue
		}
		s.NoAutoDisable, s.Reboot = c.NoAutoDisable, c.Reboot
		e.setState(n, SystemLeaving)
	}
	for _, n := range targets {
		if e.st.Systems[n].State != SystemLeaving {
			continue
		}
		if c.Evacuate {
			e.evacuate(n)
		}
		e.offlineAll(n, c.Evacuate)
	}
	return nil
}

// undumped refuses to stop the last RUNNING systems while the configuration is
// writable: what was changed would be lost, and all disks would be stale.
func (e *Engine) undumped(targets []SystemID, c Command) *refusal {
	if c.Force || !e.st.Conf.Writable {
		return nil
	}
	for _, n := range e.systemNames() {
		if s := e.st.Systems[n]; s.InH && s.State == SystemRunning && !slices.Contains(targets, n) {
			return nil
		}
	}
	return refuse(idUndumped, "hastop is not carried out: the configuration is writable and no system would stay RUNNING; haconf -dump -makero first, or use -force, which loses what was not dumped")
}

func (e *Engine) leaveForcibly(n SystemID, c Command) {
	e.decide("", decision.Order{Asked: c.ordered(), Does: "had stops on " + n + ", groups go on running there; they are autodisabled until had is back", Then: "hastart on " + n})
	e.setState(n, SystemExitingForcibly)
	e.emit(StopSystem{System: n, Forced: true})
}

// shutdownRefusal is what EngineShutdown says. Force, and the one stop that
// leaves nothing behind, are obeyed whatever it says.
func (e *Engine) shutdownRefusal(c Command) *refusal {
	if e.mod == nil || c.Force || (c.Local && c.Evacuate && c.NoAutoDisable) {
		return nil
	}
	rule := e.mod.engineShutdown
	refused := rule == "Disable" || (rule == "DisableClusStop" && c.All) || (rule == "PromptLocal" && !c.Local)
	asks := rule == "PromptAlways" || (rule == "PromptClusStop" && c.All) || (rule == "PromptLocal" && c.Local)
	switch {
	case refused:
		return refuse(idShutdownRefused, "hastop is not carried out: EngineShutdown = %s; haclus -modify EngineShutdown Enable, or use -force, which leaves the groups running", rule)
	case asks && !c.Confirmed:
		no := refuse(idConfirm, "hastop wants to be confirmed: EngineShutdown = %s; answer yes when it asks", rule)
		no.code = CodeConfirmationNeeded
		return no
	}
	return nil
}

func (e *Engine) allGroups() []*groupModel {
	if e.mod == nil {
		return nil
	}
	return e.mod.groups
}

func (e *Engine) stopTargets(c Command) ([]SystemID, *refusal) {
	if !c.All {
		targets := c.Systems
		if len(targets) == 0 && c.System != "" {
			targets = []SystemID{c.System}
		}
		if len(targets) == 0 {
			return nil, needSystem(c)
		}
		for _, n := range targets {
			if e.st.Systems[n] == nil {
				return nil, e.unknown(10357, "System", n, e.systemNames())
			}
			if !e.st.Systems[n].InH {
				return nil, refuse(10200, "System %s is not available: it is %s, had does not run there", n, e.st.Systems[n].State)
			}
		}
		return targets, nil
	}
	var targets []SystemID
	for _, n := range e.systemNames() {
		if e.st.Systems[n].InH {
			targets = append(targets, n)
		}
	}
	return targets, nil
}

func (e *Engine) stopRefusal(n SystemID, c Command) *refusal {
	s := e.st.Systems[n]
	switch s.State {
	case SystemLeaving:
		if c.Force {
			return nil
		}
		return refuse(50129, "Operation refused: system %s is LEAVING already; it waits for: %s; hastop -local -force leaves it running", n, strings.Join(e.heldBy(n), ", "))
	case SystemExiting, SystemExitingForcibly:
		return refuse(50129, "Operation refused: system %s is %s already", n, s.State)
	}
	switch {
	case c.Force:
		return nil
	case s.State == SystemRunning:
		return e.holdsOn(n, c)
	case c.All && (s.State == SystemUnknown || s.State == SystemIniting):
		return nil // nothing is under its care; it goes as it is
	}
	return refuse(50129, "Operation refused: system %s is in %s; wait until it is RUNNING, or use -force", n, s.State)
}

// holdsOn refuses a stop that groups on a system forbid.
func (e *Engine) holdsOn(n SystemID, c Command) *refusal {
	for _, g := range e.groupsOn(n) {
		if r := e.gaveUp(g, n); r != "" {
			return refuse(50129, "Operation refused: resource %s is in ADMIN_WAIT on system %s; %s, or use -force", r, n, clearWaitHint(g, n))
		}
		if !e.active(g, n) || !e.frozen(g, n) {
			continue
		}
		if !c.Reboot || e.mod.rebootAction != ignoreFrozen {
			return refuse(50129, "Operation refused: group %s is frozen and active on system %s; unfreeze it, or use -force", g.name, n)
		}
		if other := e.tiedTo(g, n); other != "" {
			return refuse(50129, "Operation refused: group %s is frozen and active on system %s, and %s, which is not frozen, is tied to it by a firm or hard dependency; unfreeze %s, or use -force", g.name, n, other, g.name)
		}
	}
	return nil
}

// ignoreFrozen is the SystemRebootAction that leaves frozen groups to the end
// of their machine.
const ignoreFrozen = "IgnoreFrozenGroup"

// leftAlone says whether a group is not taken offline although its system
// leaves.
func (e *Engine) leftAlone(g *groupModel, n SystemID) bool {
	return e.st.Systems[n].Reboot && e.mod.rebootAction == ignoreFrozen && e.active(g, n) && e.frozen(g, n)
}

// tiedTo returns a group that is active on a system, not frozen, and bound to g
// by a firm or hard link, or "".
func (e *Engine) tiedTo(g *groupModel, n SystemID) string {
	for _, l := range slices.Concat(g.requires, g.requiredBy) {
		other := l.child
		if other == g {
			other = l.parent
		}
		if l.rigid() && other.on(n) && e.active(other, n) && !e.frozen(other, n) {
			return other.name
		}
	}
	return ""
}

// offlineAll takes every group offline on a LEAVING system, without failover.
func (e *Engine) offlineAll(n SystemID, evacuated bool) {
	for _, g := range e.groupsOn(n) {
		gr, c := e.st.Groups[g.name], e.course(g)
		on := gr.On[n]
		in := decision.Stop{Group: g.name, System: n, Evacuated: evacuated, MovesAway: c.Move != nil && c.Move.From == n, GivesWay: on.Stopping == stopChild,
			Alone: e.leftAlone(g, n), Held: on.Pre != nil, Active: e.active(g, n), Moving: e.inTransit(g, n), Stopping: on.Stopping}
		o := in.Decide()
		switch o.Do {
		case decision.DoForgo, decision.DoStop:
			on.Owed = false
		}
		if o.Do != decision.DoStop {
			e.told(g.name, in, o)
			continue
		}
		if g.failover() {
			c.Intent, c.Due, c.Stuck = false, nil, ""
			// It had a home: no autostart elsewhere follows, also where had
			// stops before the group was probed.
			for _, p := range g.list {
				gr.On[p.System].Fresh = false
			}
		}
		e.told(g.name, in, o)
		e.stop(g, n, stopHastop)
	}
}

// forceSystem is hasys -force: build from that system's disk.
func (e *Engine) forceSystem(c Command) *refusal {
	s := e.st.Systems[c.System]
	if s == nil {
		return e.unknown(10357, "System", c.System, e.systemNames())
	}
	switch {
	case s.State != SystemStaleAdminWait && s.State != SystemAdminWait:
		return refuse(50129, "Operation refused: system %s is %s; hasys -force is for STALE_ADMIN_WAIT and ADMIN_WAIT", c.System, s.State)
	case e.anyRunning():
		return refuse(50129, "Operation refused: another system is RUNNING; %s takes the configuration from it", c.System)
	}
	e.decide("", decision.Order{Asked: c.ordered(), Does: fmt.Sprintf("%s builds from its own disk, by order of %s", c.System, orNobody(c.User))})
	e.emit(BuildLocal{System: c.System})
	return nil
}

// lateAt is when a system whose had went has been without it for longer than
// ShutdownTimeout, or 0.
func (e *Engine) lateAt(n SystemID, s *system) time.Duration {
	if e.mod == nil || !s.Down || s.Late || !s.InA || !e.st.Unfenced { // with fencing there is proof or none
		return 0
	}
	return s.DownSince + e.mod.system(n).shutdown
}

// shutdownLate notices that a had has been gone for longer than
// ShutdownTimeout: its machine's end is no system fault then, unless there is
// proof of it (R1).
func (e *Engine) shutdownLate(n SystemID) {
	s := e.st.Systems[n]
	if at := e.lateAt(n, s); e.mod == nil || !e.st.Unfenced || !s.Down || s.Late || !s.InA || e.st.Now < at {
		return
	}
	s.Late = true
	e.log("NOTICE", idShutdownLate, "", "", "System %s: had has not been back within its ShutdownTimeout (%d seconds); if the machine goes now, its groups stay autodisabled unless there is proof", n, e.mod.system(n).shutdown/time.Second)
}
