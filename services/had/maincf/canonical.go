package maincf

import "sort"

// Normal returns the configuration in normal form: values that hold anyway
// are not spelled out, an attribute is either global or local, and every list
// of objects and attributes is in canonical order. It means the same on every
// system on which a group may run.
func (c *Config) Normal() *Config {
	out := c.clone()
	if out.Cluster != nil {
		out.Cluster.Attrs = normalBuiltin(out.Cluster.Attrs, clusterTable, nil)
	}
	var remotes []string
	for _, r := range out.RemoteClusters {
		r.Attrs = normalBuiltin(r.Attrs, remoteTable, nil)
		remotes = append(remotes, r.Name)
	}
	for _, h := range out.Heartbeats {
		h.Attrs = normalBuiltin(h.Attrs, heartbeatTable, remotes)
	}
	for _, s := range out.Systems {
		s.Attrs = normalBuiltin(s.Attrs, systemTable, nil)
	}
	types := map[string]*Type{}
	for _, t := range out.Types {
		types[t.Name] = t
	}
	for _, g := range out.Groups {
		g.Attrs = normalBuiltin(g.Attrs, groupTable, g.systems())
		for _, r := range g.Resources {
			r.Attrs = normalResource(r.Attrs, types[r.Type], g.systems())
		}
		g.Resources = sortedResources(g)
		g.Requires = sorted(g.Requires, func(d GroupDependency) string { return d.Child })
		g.Dependencies = sorted(g.Dependencies, dependencyKey)
	}
	out.Groups = sorted(out.Groups, func(g *Group) string { return g.Name })
	out.Systems = sorted(out.Systems, func(s *System) string { return s.Name })
	out.Types = sorted(out.Types, func(t *Type) string { return t.Name })
	out.Heartbeats = sorted(out.Heartbeats, func(h *Heartbeat) string { return h.Name })
	out.RemoteClusters = sorted(out.RemoteClusters, func(r *RemoteCluster) string { return r.Name })
	return out
}

func normalBuiltin(attrs Attrs, t builtins, systems []string) Attrs {
	return normalAttrs(attrs, systems, func(a Attr) Value {
		b, _ := t.find(a.Name)
		return b.Default
	})
}

func normalResource(attrs Attrs, t *Type, systems []string) Attrs {
	if t == nil {
		return attrs
	}
	return normalAttrs(attrs, systems, func(a Attr) Value {
		if a.Static {
			v, _ := t.Static(a.Name)
			return v
		}
		if d, ok := t.Decl(a.Name); ok {
			return d.Default
		}
		b, _ := resourceTable.find(a.Name)
		return b.Default
	})
}

// normalAttrs: a global value beside local ones becomes local to the systems
// that have none; so does, for an overridden static attribute, the type's.
// What equals the default is dropped, except of overridden attributes.
func normalAttrs(attrs Attrs, systems []string, def func(Attr) Value) Attrs {
	var out Attrs
	done := map[string]bool{}
	for _, a := range attrs {
		if done[a.Name] || a.Temp {
			continue
		}
		done[a.Name] = true
		rest, global := attrs.find(a.Name, "")
		local := attrs.IsLocal(a.Name)
		if !global && a.Static {
			rest = Attr{Name: a.Name, Static: true, Value: def(a)}
		}
		keep := func(at Attr) {
			if at.Static || !at.Value.Equal(def(at)) {
				out = append(out, at)
			}
		}
		if !local {
			keep(rest)
			continue
		}
		for _, at := range attrs {
			if at.Name == a.Name && at.System != "" {
				keep(at)
			}
		}
		for _, s := range systems {
			if _, has := attrs.find(a.Name, s); !has && (global || a.Static) {
				rest.System = s
				keep(rest)
			}
		}
	}
	return out
}

// first are the attributes that stand before the others of their class.
var first = map[string]int{"SystemList": -9, "AutoStartList": -8, "UserNames": -9, "Administrators": -8}

// ordered returns attributes in the order of a dump: common ones and those of
// the class by name, then those of the type in the order of its declaration,
// then overridden static ones by name; values of systems by the system's name.
func ordered(attrs Attrs, t *Type) Attrs {
	rank := make(map[string]int, len(first))
	for name, r := range first {
		rank[name] = r
	}
	if t != nil {
		for i, d := range t.Attrs {
			if !d.Static {
				rank[d.Name] = i + 1
			}
		}
	}
	of := func(a Attr) int {
		if a.Static {
			return 1 << 20
		}
		return rank[a.Name]
	}
	out := append(Attrs(nil), attrs...)
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if x, y := of(a), of(b); x != y {
			return x < y
		}
		if a.Name != b.Name {
			return a.Name < b.Name
		}
		return a.System < b.System
	})
	return out
}
