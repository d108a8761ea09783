package engine

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// clearAdminWait is hagrp -clearadminwait: the resources of a group on a
// system are monitored again as before.
func (e *Engine) clearAdminWait(g *groupModel, c Command) *refusal {
	if no := needSystem(c); no != nil {
		return no
	}
	n := c.System
	if e.gaveUp(g, n) == "" {
		return refuse(10165, "Group %s has no resource in ADMIN_WAIT on system %s", g.name, n)
	}
	if !e.usable(n) {
		return refuse(10200, "System %s is not available: it is %s", n, e.st.Systems[n].State)
	}
	var cleared []string
	for _, r := range g.resources {
		i := e.instance(r.name, n)
		if i.Flags&resource.FlagAdminWait == 0 {
			continue
		}
		i.Flags &^= resource.FlagAdminWait
		e.order(resource.CommandClear, r, n, pick(c.Fault, 1, 0))
		cleared = append(cleared, r.name)
	}
	e.unstick(g)
	e.explain(Explanation{Group: g.name, Subject: c.words(), Decision: "no longer waiting for an administrator: " + strings.Join(cleared, ", ")})
	return nil
}
