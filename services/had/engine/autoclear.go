package engine

import (
	"fmt"
	"strings"
)

// autoClear clears the faults of a group that found no home because of them,
// AutoClearLimit times, each time AutoClearInterval after it went offline; its
// start is owed all the while. It says whether it cleared any.
func (e *Engine) autoClear(g *groupModel) bool {
	c := e.course(g)
	owed := c.Due != nil && c.Due.ByResource && !c.Due.Persistent && !e.frozenGroup(g)
	switch {
	case !owed:
		if c.ClearAt != 0 {
			c.ClearAt = 0
			e.touch(g.name)
		}
		return false
	case c.Stuck == "" || c.AutoClears >= g.autoClearLimit:
		return false
	case c.ClearAt == 0 && g.autoClearInterval > 0:
		c.ClearAt = e.st.Now + g.autoClearInterval
		e.explain(Explanation{Group: g.name, Subject: "automatic clear", Decision: fmt.Sprintf("in %s: %d of %d (AutoClearLimit)", g.autoClearInterval, c.AutoClears+1, g.autoClearLimit),
			WayOut: "hagrp -clear " + g.name + " does it now"})
		e.touch(g.name)
		return false
	case e.st.Now < c.ClearAt:
		return false
	}
	var cleared []string
	for _, p := range g.list {
		if !e.usable(p.System) {
			continue
		}
		for _, r := range e.clearFaults(g, p.System, func(*resourceModel) bool { return true }) {
			cleared = append(cleared, r+"@"+p.System)
		}
	}
	c.AutoClears++
	c.ClearAt, c.Stuck = 0, ""
	if len(cleared) == 0 {
		return false
	}
	e.log("NOTICE", idAutoClear, "", g.name, "Group %s: faults cleared automatically (%d of %d): %s", g.name, c.AutoClears, g.autoClearLimit, strings.Join(cleared, ", "))
	e.explain(Explanation{Group: g.name, Subject: "automatic clear", Decision: fmt.Sprintf("cleared, %d of %d (AutoClearLimit): %s", c.AutoClears, g.autoClearLimit, strings.Join(cleared, ", "))})
	return true
}
