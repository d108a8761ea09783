package maincf

import "strings"

// ClusterService is the name of the group of the cluster's own services.
const ClusterService = "ClusterService"

// check reports what is wrong between objects. It runs on the typed model.
func (b *builder) check() {
	for i, g := range b.cfg.Groups {
		b.checkSystems(g, b.raw.groups[i])
		b.checkLocals(g)
		b.checkReferences(g)
	}
	b.checkNumbers()
	b.checkCycles()
	b.checkLinks()
	b.checkUsers()
	b.checkHeartbeats()
	b.checkInert()
}

// checkNumbers checks GroupLimit, ResourceLimit and TypeLimit; 0 is no limit.
func (b *builder) checkNumbers() {
	if b.cfg.Cluster == nil {
		return
	}
	resources := 0
	for _, g := range b.cfg.Groups {
		resources += len(g.Resources)
	}
	for _, n := range []struct {
		attr, what string
		have       int
	}{{"GroupLimit", "groups", len(b.cfg.Groups)}, {"ResourceLimit", "resources", resources}, {"TypeLimit", "types", len(b.cfg.Types)}} {
		if at, set := b.cfg.Cluster.Attrs.Global(n.attr); set && at.Value.Int() > 0 && n.have > at.Value.Int() {
			b.failf(at.Pos, "%s allows %d %s, and there are %d: raise it, or set it to 0, which is no limit", n.attr, at.Value.Int(), n.what, n.have)
		}
	}
}

// checkSystems checks SystemList and the lists that draw on it.
func (b *builder) checkSystems(g *Group, written *rawGroup) {
	list, ok := g.Attrs.Global("SystemList")
	if !ok {
		if !b.written(written, "SystemList") {
			b.failUnlessNew(g, g.Pos, "group %s has no SystemList: say where it may run, as in SystemList = { %s }", clip(g.Name), b.example())
		}
		return
	}
	if list.Value.Len() == 0 {
		b.failUnlessNew(g, list.Pos, "SystemList of group %s is empty: the group could run nowhere", clip(g.Name))
	}
	var names []string
	for i, p := range list.Value.Pairs {
		names = append(names, p.Key)
		if b.systems[p.Key] == nil {
			b.failf(list.Value.itemPos(i, list.Pos), "SystemList of group %s names %s, but no system of that name is declared%s",
				clip(g.Name), clip(p.Key), b.hint(p.Key, b.systemNames))
		}
	}
	if auto, ok := g.Attrs.Global("AutoStartList"); ok {
		for i, s := range auto.Value.List {
			if !list.Value.Has(s) {
				b.failf(auto.Value.itemPos(i, auto.Pos), "AutoStartList of group %s names %s, which is not in its SystemList%s",
					clip(g.Name), clip(s), b.meantSystem(s, names))
			}
		}
	}
	if zones, ok := g.Attrs.Global("SystemZones"); ok {
		for i, p := range zones.Value.Pairs {
			if !list.Value.Has(p.Key) {
				b.failf(zones.Value.itemPos(i, zones.Pos), "SystemZones of group %s names %s, which is not in its SystemList%s",
					clip(g.Name), clip(p.Key), b.meantSystem(p.Key, names))
			}
		}
	}
}

// failUnlessNew reports a group that can run nowhere. One without resources
// has just been added, and its SystemList comes next: that is a warning.
func (b *builder) failUnlessNew(g *Group, p Pos, format string, args ...any) {
	if len(g.Resources) == 0 {
		b.warnf(p, format, args...)
		return
	}
	b.failf(p, format, args...)
}

// meantSystem suggests a system of the list for a name that is none at all.
func (b *builder) meantSystem(name string, list []string) string {
	if b.systems[name] != nil {
		return ""
	}
	return b.hint(name, list)
}

// written says whether the attribute stands in the file at all, perhaps with
// a mistake that was already reported.
func (b *builder) written(g *rawGroup, attr string) bool {
	for _, a := range g.attrs {
		// A typing mistake in the name was reported as such.
		_, known := groupTable.find(a.name)
		if a.name == attr || !known && nearest(a.name, []string{attr}) != "" {
			return true
		}
	}
	return b.raw.broken[g.keyword.pos]
}

func (b *builder) example() string {
	if len(b.systemNames) == 0 {
		return "sysA, sysB"
	}
	return strings.Join(b.systemNames[:min(len(b.systemNames), 2)], ", ")
}

// checkLocals warns of values for systems on which the group cannot run.
func (b *builder) checkLocals(g *Group) {
	warn := func(a Attr, what string) {
		if a.System != "" && !g.RunsOn(a.System) {
			b.warnf(a.Pos, "%s @%s of %s has no effect: group %s does not run on %s", a.Name, a.System, what, g.Name, a.System)
		}
	}
	for _, a := range g.Attrs {
		warn(a, "group "+g.Name)
	}
	for _, r := range g.Resources {
		for _, a := range r.Attrs {
			warn(a, r.Name)
		}
	}
}

// checkReferences checks that the groups named in requires clauses exist.
func (b *builder) checkReferences(g *Group) {
	for _, d := range g.Requires {
		if d.Child == g.Name {
			continue // reported as a cycle
		}
		if b.groups[d.Child] == nil {
			b.failf(d.Pos, "group %s requires group %s, but no group of that name is declared%s",
				clip(g.Name), clip(d.Child), b.hint(d.Child, b.groupNames))
		}
	}
}

// checkUsers warns of passwords that VCS has encoded: its encoding is not
// known outside of it, so nobody can log in with them.
func (b *builder) checkUsers() {
	if b.cfg.Cluster == nil {
		return
	}
	users, _ := b.cfg.Cluster.Attrs.Global("UserNames")
	for i, p := range users.Value.Pairs {
		if p.Value == "" || strings.HasPrefix(p.Value, "$") {
			continue
		}
		b.warnf(users.Value.itemPos(i, users.Pos),
			"the password of user %s is in VCS's encoding: that user cannot log in until the password is set anew", clip(p.Key))
	}
}

// checkHeartbeats checks the clusters that heartbeats name.
func (b *builder) checkHeartbeats() {
	var remotes []string
	for _, r := range b.cfg.RemoteClusters {
		remotes = append(remotes, r.Name)
	}
	for _, h := range b.cfg.Heartbeats {
		for _, a := range h.Attrs {
			if a.System != "" && !contains(remotes, a.System) {
				b.failf(a.Pos, "%s @%s of heartbeat %s: no remotecluster of that name is declared%s",
					a.Name, clip(a.System), clip(h.Name), b.hint(a.System, remotes))
			}
			if a.Name != "ClusterList" {
				continue
			}
			for i, name := range a.Value.List {
				if !contains(remotes, name) {
					b.failf(a.Value.itemPos(i, a.Pos), "ClusterList of heartbeat %s names %s: no remotecluster of that name is declared%s",
						clip(h.Name), clip(name), b.hint(name, remotes))
				}
			}
		}
	}
}
