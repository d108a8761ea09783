package engine

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// autoClear clears the faults of a group that found no home because of them,
// AutoClearLimit times, each time AutoClearInterval after it went offline; its
// start is owed all the while. It says whether it cleared any.
func (e *Engine) autoClear(g *groupModel) bool {
	c := e.course(g)
	if c.Due == nil && c.ClearAt == 0 {
		return false
	}
	in := decision.AutoClear{Group: g.name, Freeze: e.freezeOfGroup(g), Homeless: c.Stuck != "", Cleared: c.AutoClears,
		Limit: g.autoClearLimit, Interval: g.autoClearInterval, Set: c.ClearAt != 0}
	if c.Due != nil {
		in.Owed, in.ByResource, in.Persistent = true, c.Due.ByResource, c.Due.Persistent
	}
	if in.Set {
		in.Left = max(0, c.ClearAt-e.st.Now)
	}
	switch o := in.Decide(); o.Do {
	case decision.DoForgo:
		c.ClearAt = 0
		e.touch(g.name)
		return false
	case decision.DoWait:
		c.ClearAt = e.st.Now + g.autoClearInterval
		e.told(g.name, in, o)
		e.touch(g.name)
		return false
	case decision.DoNothing:
		return false
	}
	in.Looked, in.Faults = true, e.clearEverywhere(g)
	c.AutoClears++
	c.ClearAt, c.Stuck = 0, ""
	o := in.Decide()
	if o.Do != decision.DoClear {
		return false
	}
	e.log("NOTICE", idAutoClear, "", g.name, "Group %s: faults cleared automatically (%d of %d): %s", g.name, c.AutoClears, g.autoClearLimit, strings.Join(in.Faults, ", "))
	e.told(g.name, in, o)
	return true
}

// clearEverywhere clears the faults of a group wherever commands are carried
// out, and returns them.
func (e *Engine) clearEverywhere(g *groupModel) []string {
	var cleared []string
	for _, p := range g.list {
		if !e.usable(p.System) {
			continue
		}
		for _, r := range e.clearFaults(g, p.System, func(*resourceModel) bool { return true }) {
			cleared = append(cleared, r+"@"+p.System)
		}
	}
	return cleared
}
