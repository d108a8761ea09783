package engine

import (
	"slices"
	"strings"
)

// stoppedOutside follows a resource that somebody stopped outside of the
// cluster on purpose (IntentionalOffline): no fault, no restart, no failover
// (engine.md 4.19).
func (e *Engine) stoppedOutside(g *groupModel, r *resourceModel, n SystemID) {
	on := e.st.Groups[g.name].On[n]
	x := Explanation{Group: g.name, Subject: r.name + " was stopped on purpose on " + n + ", outside of the cluster"}
	leaning := e.leaning(g, r, n)
	stays := slices.ContainsFunc(g.resources, func(m *resourceModel) bool {
		i := e.at(m, n)
		return m.onOff() && m != r && (i.up() || i.raising()) && !slices.Contains(leaning, m.name)
	})
	switch {
	case e.frozen(g, n):
		x.Decision = "only recorded: the group or the system is frozen"
	case on.Stopping != "":
		x.Decision = "the group is being taken offline there anyway"
	case r.offlineHold && (stays || len(leaning) > 0):
		x.Decision = "OFFLINE and no fault; nothing else goes offline (ExternalStateChange OfflineHold)"
		x.WayOut = "hares -online " + r.name + " -sys " + n
	case r.offlineGroup || !stays && len(leaning) == 0:
		x.Decision = "OFFLINE and no fault; the group goes offline there as by hagrp -offline" + pick(r.offlineGroup, " (ExternalStateChange OfflineGroup)", "")
		x.WayOut = "hagrp -online " + g.name + " -sys " + n
		e.leaveOffline(g, n)
	case len(leaning) > 0:
		x.Decision = "OFFLINE and no fault; what needs it goes offline: " + strings.Join(leaning, ", ")
		x.WayOut = "hares -online " + r.name + " -sys " + n
		e.drop(g, leaning, n)
		if !stays {
			e.leaveOffline(g, n)
		}
	default:
		x.Decision = "OFFLINE and no fault; the rest of the group stays"
		x.WayOut = "hares -online " + r.name + " -sys " + n
	}
	e.explain(x)
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
	if !r.onlineGroup || on.Violation || on.Stopping != "" {
		return
	}
	if c := e.course(g); e.whole(g, n) {
		c.Intent, c.UserOffline = true, false
		return
	}
	x := Explanation{Group: g.name, Subject: r.name + " was started on " + n + ", outside of the cluster"}
	if ok, no := e.mayStart(g, n, true); !ok {
		x.Decision = "the group is not brought online there: " + no.text
		e.explain(x)
		return
	}
	x.Decision = "the group is brought online there (ExternalStateChange OnlineGroup)"
	e.explain(x)
	e.start(g, n)
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
		if l.offline || e.frozenGroup(l.parent) {
			continue
		}
		var cleared []string
		for _, p := range l.parent.list {
			if !e.usable(p.System) || !slices.Contains(l.places(e.mod, p.System), n) {
				continue
			}
			for _, r := range e.clearFaults(l.parent, p.System, func(*resourceModel) bool { return true }) {
				cleared = append(cleared, r+"@"+p.System)
			}
		}
		if len(cleared) > 0 {
			any = true
			e.unstick(l.parent)
			e.explain(Explanation{Group: l.parent.name, Subject: "group " + g.name + " is online on " + n, Decision: "faults cleared (OnlineClearParent of " + g.name + "): " + strings.Join(cleared, ", ")})
		}
	}
	return any
}
