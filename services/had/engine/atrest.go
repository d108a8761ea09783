package engine

import "strings"

// atRest names what should be online, is not, and is brought online by nothing
// that is on its way, each with the command that does: a failover that
// AutoFailOver = 0 forbids, a recovery that AutoRestart = 0 leaves to somebody,
// a fault that was cleared, a resource that stayed behind.
func (e *Engine) atRest(g *groupModel) []string {
	var out []string
	if e.frozenGroup(g) {
		return nil // which stands among the hindrances
	}
	for _, p := range g.parts {
		c := e.course(p)
		if !c.Intent || c.Due != nil || c.Move != nil {
			continue
		}
		selected, blocked := g.graph.Selection(
			func(r string) bool { m := g.resource(r); return m.autoUp && !m.persistent() },
			func(r string) bool { return g.resource(r).enabled },
		)
		active, counts, starts := false, false, e.autostartFacts(p).Permits()
		for _, r := range selected {
			counts = counts || g.resource(r).onOff()
		}
		for _, pr := range p.list {
			n := pr.System
			on := e.on(g, n)
			if !e.active(g, n) {
				active = active || on.Starting || on.Owed || e.held(g, n) || (on.Fresh && starts) || on.Vetoed != ""
				continue
			}
			active = true
			if on.Starting || on.Stopping != "" || on.Violation || !e.usable(n) || len(e.faults(g, n)) > 0 || e.frozen(g, n) || e.gaveUp(g, n) != "" {
				continue
			}
			for _, b := range e.leftOut(g, blocked, n).Resources {
				if !e.instance(b.Resource, n).up() && g.resource(b.Resource).enabled {
					out = append(out, b.Resource+" stays offline on "+n+", for "+strings.Join(b.Disabled, ", ")+pick(len(b.Disabled) == 1, " is", " are")+
						" disabled: hares -modify "+b.Disabled[0]+" Enabled 1")
				}
			}
			if idle := e.idle(g, selected, n); len(idle) > 0 {
				out = append(out, strings.Join(idle, ", ")+pick(len(idle) == 1, " is", " are")+" offline on "+n+", and nothing brings that online by itself: hagrp -online "+g.name+" -sys "+n)
			}
		}
		if counts && !active {
			out = append(out, "offline, and nothing brings it online by itself"+pick(g.autoFailOver == 0, " (AutoFailOver is 0)", "")+": "+e.bringHint(p))
		}
	}
	return out
}

// idle are the resources of a group that should be up on a system, and neither
// are nor are on their way.
func (e *Engine) idle(g *groupModel, selected []string, n SystemID) []string {
	var out []string
	for _, name := range selected {
		r, i := g.resource(name), e.instance(name, n)
		if r.onOff() && i.Probed && !i.up() && !i.moving() {
			out = append(out, name)
		}
	}
	return out
}

// bringHint is the command that brings a group online where it is offline: in
// the zone of a part of a hybrid group, else anywhere.
func (e *Engine) bringHint(p *groupModel) string {
	if p.zone == "" {
		return e.onlineHint(p)
	}
	return "hagrp -online " + p.name + " -sys " + p.list[0].System
}
