package engine

import (
	"maps"
	"slices"
)

// Clone returns an independent copy, for --plan. What never changes once it
// is there is shared: the model, the text of the files, and the candidates of
// explanations.
func (e *Engine) Clone() *Engine {
	c := &Engine{st: e.st, mod: e.mod, dirty: maps.Clone(e.dirty), loadMoved: map[string]bool{}, roomMoved: map[string]bool{}}
	c.st.Files = slices.Clone(e.st.Files)
	c.st.Conf = e.st.Conf.clone()
	c.st.Requests = slices.Clone(e.st.Requests)
	c.st.Why = slices.Clone(e.st.Why)
	c.st.Systems = make(map[string]*system, len(e.st.Systems))
	for n, s := range e.st.Systems {
		c.st.Systems[n] = s.clone()
	}
	c.st.Groups = make(map[string]*group, len(e.st.Groups))
	for n, g := range e.st.Groups {
		c.st.Groups[n] = g.clone()
	}
	c.st.Resources = make(map[string]map[string]*instance, len(e.st.Resources))
	for n, at := range e.st.Resources {
		copied := make(map[string]*instance, len(at))
		for s, i := range at {
			copied[s] = i.clone()
		}
		c.st.Resources[n] = copied
	}
	c.st.LastOnline = maps.Clone(e.st.LastOnline)
	c.st.Agents = make(map[string]map[string]*agentOn, len(e.st.Agents))
	for typ, at := range e.st.Agents {
		c.st.Agents[typ] = maps.Clone(at) // each is replaced, never changed
	}
	return c
}

// same returns a pointer to a copy of what p points to.
func same[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

func (s *system) clone() *system {
	c := *s
	c.Lost, c.DrainedBy = same(s.Lost), same(s.DrainedBy)
	c.Over = same(s.Over)
	c.Meters = maps.Clone(s.Meters)
	for name, m := range c.Meters {
		c.Meters[name] = same(m)
	}
	return &c
}

func (g *group) clone() *group {
	c := *g
	c.course = *g.course.clone()
	if g.Zones != nil {
		c.Zones = make(map[string]*course, len(g.Zones))
		for zone, z := range g.Zones {
			c.Zones[zone] = z.clone()
		}
	}
	c.On = make(map[string]*groupOn, len(g.On))
	for n, on := range g.On {
		c.On[n] = on.clone()
	}
	return &c
}

func (on *groupOn) clone() *groupOn {
	c := *on
	if c.Pre = same(on.Pre); c.Pre != nil {
		c.Pre.Due = same(on.Pre.Due)
	}
	return &c
}

func (c *course) clone() *course {
	copied := *c
	copied.Move, copied.Due = same(c.Move), same(c.Due)
	return &copied
}

func (i *instance) clone() *instance {
	c := *i
	c.Unseen = slices.Clone(i.Unseen)
	return &c
}
