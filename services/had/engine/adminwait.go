package engine

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// adminWaits says, once, that a resource waits for an administrator (engine.md 4.5).
func (e *Engine) adminWaits(r *resourceModel, i *instance, n SystemID, waited bool, waitedReason resource.AdminReason) {
	in := decision.AdminWait{Group: r.in.name, Resource: r.name, System: n, Flagged: i.inDoubt(),
		Waited: waited, WaitedReason: int(waitedReason), Reason: int(i.WaitReason), Said: i.Reason}
	o := in.Decide()
	if o.Do == decision.DoNothing {
		return
	}
	e.log("ERROR", idAdminWait, n, r.in.name, "Resource %s (Owner: %s, Group: %s) waits for an administrator on System %s: %s (reason %d)",
		r.name, r.owner, r.in.name, n, i.WaitReason, i.WaitReason)
	e.told(r.in.name, in, o)
}

func clearWaitHint(g *groupModel, n SystemID) string { return decision.ClearWaitHint(g.name, n) }

func waitsForAdmin(g *groupModel, r string, n SystemID) *refusal {
	no := decision.WaitsForAdmin(g.name, r, n)
	return refuse(no.ID, "%s", no.Text)
}

// clearAdminWait is hagrp -clearadminwait: the resources of a group on a
// system are what they were before and are monitored again, which may bring
// them back into ADMIN_WAIT. With -fault what could not be taken offline is
// UNABLE TO OFFLINE, and what did not come up or went down by itself is
// FAULTED without a clean, on the administrator's word that nothing is left
// of it.
func (e *Engine) clearAdminWait(g *groupModel, c Command) *refusal {
	if no := needSystem(c); no != nil {
		return no
	}
	n := c.System
	if e.gaveUp(g, n) == "" {
		return refuse(90211, "Group %s has no resource in ADMIN_WAIT on system %s", g.name, n)
	}
	if !e.usable(n) {
		return refuse(10200, "System %s is not available: it is %s", n, e.st.Systems[n].State)
	}
	var cleared []string
	var faulted []*resourceModel
	for _, r := range g.resources {
		i := e.at(r, n)
		if !i.inDoubt() {
			continue
		}
		cleared = append(cleared, r.name)
		i.Flags &^= resource.FlagAdminWait
		e.markStaleOn(g, n)
		if c.Fault && e.faultOf(i) {
			faulted = append(faulted, r)
		}
		e.markStaleOn(g, n)
		i.WaitReason = 0
		e.order(resource.CommandClear, r, n, pick(c.Fault, 1, 0))
	}
	e.unstick(g)
	e.decide(g.name, decision.Order{Asked: c.ordered(), Does: "no longer waiting for an administrator: " + strings.Join(cleared, ", ") +
		pick(c.Fault, "; taken as it is, without a clean", "; monitored again")})
	for _, r := range faulted {
		e.faulted(g, r, n, true)
	}
	return nil
}

// faultOf gives a resource that waited the state that its reason comes to and
// says whether that is a fault.
func (e *Engine) faultOf(i *instance) bool {
	switch i.WaitReason {
	case resource.OfflineHung, resource.OfflineIneffective:
		if i.up() {
			i.Flags |= resource.FlagUnableToOffline
		}
		return false
	case resource.MonitorHung:
		return false
	}
	i.State = resource.StateFaulted
	return true
}
