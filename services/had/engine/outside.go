package engine

import (
	"slices"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// stoppedOutside follows a resource that somebody stopped outside of the
// cluster on purpose (IntentionalOffline): no fault, no restart, no failover
// (engine.md 4.19).
func (e *Engine) stoppedOutside(g *groupModel, r *resourceModel, n SystemID) {
	on := e.st.Groups[g.name].On[n]
	leaning := e.leaning(g, r, n)
	stays := slices.ContainsFunc(g.resources, func(m *resourceModel) bool {
		i := e.at(m, n)
		return m.onOff() && m != r && (i.up() || i.raising()) && !slices.Contains(leaning, m.name)
	})
	e.decideAfter(g.name, decision.StoppedOutside{Group: g.name, Resource: r.name, System: n, Freeze: e.freezeOn(g, n, false), Stopping: on.Stopping,
		OfflineHold: r.offlineHold, OfflineGroup: r.offlineGroup, Leaning: leaning, Stays: stays}, func(o decision.Outcome) {
		switch o.Do {
		case decision.DoStop:
			e.leaveOffline(g, n)
		case decision.DoDrop:
			e.drop(g, leaning, n)
			if !stays {
				e.leaveOffline(g, n)
			}
		}
	})
}

// leaveOffline takes a group offline on a system as a user would: it does not
// start by itself until somebody onlines it.
func (e *Engine) leaveOffline(g *groupModel, n SystemID) {
	e.st.Groups[g.name].On[n].Owed = false
	if g.failover() || len(e.activeElsewhere(g, n)) == 0 {
		*e.course(g) = course{UserOffline: true}
	}
	e.stop(g, n, stopUser)
}

// startedOutside follows a resource that somebody started outside of the
// cluster: with OnlineGroup in ExternalStateChange its group is brought online
// there, if it may.
func (e *Engine) startedOutside(g *groupModel, r *resourceModel, n SystemID) {
	on := e.st.Groups[g.name].On[n]
	in := decision.StartedOutside{Resource: r.name, System: n, OnlineGroup: r.onlineGroup, Violation: on.Violation, Stopping: on.Stopping}
	if r.onlineGroup {
		in.Whole = e.whole(g, n)
	}
	o := in.Decide()
	if o.Do == decision.DoLook {
		start := e.startFacts(g, n, true, true)
		in.Start = &start
		o = in.Decide()
	}
	e.told(g.name, in, o)
	switch o.Do {
	case decision.DoAdopt:
		c := e.course(g)
		c.Intent, c.UserOffline = true, false
	case decision.DoStart:
		e.start(g, n)
	}
}

// clearParents clears the faults of the parents of a group that has come
// online (OnlineClearParent), so that they can follow. It says whether any
// fault was cleared.
func (e *Engine) clearParents(g *groupModel, n SystemID) bool {
	on := e.st.Groups[g.name].On[n]
	if !g.onlineClearParent || word(orOffline(on.Shown)) == "ONLINE" || !e.serving(g, n) {
		return false
	}
	any := false
	for _, l := range g.requiredBy {
		in := decision.ClearParent{Child: g.name, System: n, OnlineClearParent: true, Offline: l.offline, ParentFreeze: e.freezeOfGroup(l.parent)}
		if in.Decide().Do != decision.DoLook {
			continue
		}
		in.Looked = true
		for _, p := range l.parent.list {
			if !e.usable(p.System) || !slices.Contains(l.places(e.mod, p.System), n) {
				continue
			}
			for _, r := range e.clearFaults(l.parent, p.System, func(*resourceModel) bool { return true }) {
				in.Faults = append(in.Faults, r+"@"+p.System)
			}
		}
		o := in.Decide()
		if o.Do == decision.DoClear {
			any = true
			e.unstick(l.parent)
		}
		e.told(l.parent.name, in, o)
	}
	return any
}
