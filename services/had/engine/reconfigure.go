package engine

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// newModelFrom builds the model of a configuration that was made from that of
// another: what is the same group means the same, if the change was narrow.
func newModelFrom(cfg *maincf.Config, old *model, narrow bool) *model {
	if !narrow || old == nil {
		return newModel(cfg)
	}
	was := make(map[*maincf.Group]*groupModel, len(old.groups))
	for _, g := range old.groups {
		was[g.source] = g
	}
	return buildModel(cfg, func(g *maincf.Group) *groupModel {
		if same := was[g]; same != nil {
			return same.again()
		}
		return newGroupModel(cfg, g)
	})
}

// again is the group for another model: its place and its links are open.
func (g *groupModel) again() *groupModel {
	k := *g
	k.requires, k.requiredBy, k.level, k.family = nil, nil, 0, nil
	k.whole, k.parts, k.zone = nil, nil, ""
	k.resources = make([]*resourceModel, len(g.resources))
	copies := make([]resourceModel, len(g.resources))
	for i, r := range g.resources {
		copies[i] = *r
		k.resources[i] = &copies[i]
	}
	return &k
}

// breaks says what a configuration would break of what is running, and what
// leads out; nil if nothing (E84).
func (e *Engine) breaks(m *model, forced map[string]bool) *refusal {
	deleting := e.clusterFlag(e.mod, "DeleteOnlineResource")
	for _, n := range e.mod.systems {
		if s := e.st.Systems[n]; !slices.Contains(m.systems, n) && (s.InH || s.InA) {
			return refuse(idSystemRuns, "System %s is not deleted: it is %s; stop it first: hastop -sys %s, then stop gab there", n, s.State, n)
		}
	}
	if to := useFence(m); to != useFence(e.mod) {
		if no := e.fenceMismatch(to); no != nil {
			return no
		}
	}
	for _, old := range e.mod.groups {
		g := m.byGroup[old.name]
		if g != nil && g.source == old.source && m.cfg.Types != nil && sameTypes(e.mod.cfg, m.cfg) {
			continue
		}
		if no := e.breaksGroup(old, g, m, deleting, forced); no != nil {
			return no
		}
	}
	return nil
}

// fenceMismatch refuses a UseFence that says other than what gab does: no had
// would start with it.
func (e *Engine) fenceMismatch(to string) *refusal {
	switch {
	case to == "SCSI3" && e.st.Unfenced:
		return refuse(idUseFence, "UseFence of the cluster is not set to SCSI3: gab runs with fencing mode disabled; set vxfen_mode in fencing.conf on all systems and restart them first")
	case to == "NONE" && !e.st.Unfenced:
		return refuse(idUseFence, "UseFence of the cluster is not set to NONE: gab runs with fencing; set vxfen_mode=disabled in fencing.conf on all systems and restart them first")
	}
	return nil
}

// useFence is UseFence where it is set; else it follows the mode.
func useFence(m *model) string {
	if m.cfg.Cluster == nil {
		return ""
	}
	at, _ := m.cfg.Cluster.Attrs.Global("UseFence")
	return at.Value.Text
}

func sameTypes(a, b *maincf.Config) bool { return slices.Equal(a.Types, b.Types) }

func (e *Engine) clusterFlag(m *model, name string) bool {
	v, _ := m.cfg.ClusterAttr(name)
	return v.Bool()
}

// breaksGroup is breaks for one group; g is nil if it is to be deleted.
func (e *Engine) breaksGroup(old, g *groupModel, m *model, deleting bool, forced map[string]bool) *refusal {
	for _, r := range old.resources {
		to := m.resource(r.name)
		gone := to == nil || to.typ != r.typ || to.in.name != r.in.name
		for _, p := range old.list {
			i := e.at(r, p.System)
			// An OnOnly resource is left alone when its group goes offline: then
			// nothing is lost with it.
			held := !r.persistent() && (i.moving() || (i.up() && (r.onOff() || e.active(old, p.System))))
			first := pick(r.onOff(), "hares -offline "+r.name, "hagrp -offline "+old.name) + " -sys " + p.System
			switch {
			case !held:
			case gone && !deleting && !forced[r.name]:
				return refuse(idDeleteOnline, "Resource %s is not deleted: it is %s on %s; %s first, or hares -delete -force, or set DeleteOnlineResource of the cluster", r.name, e.stateText(r, i), p.System, first)
			case !gone && r.enabled && !to.enabled:
				return refuse(idDisable, "Resource %s is not disabled: it is %s on %s; %s first", r.name, e.stateText(r, i), p.System, first)
			case !gone && r.category != to.category:
				return refuse(idOperations, "Operations of type %s stay %s: resource %s is %s on %s; take it offline first", r.typ, r.category, r.name, e.stateText(r, i), p.System)
			}
		}
	}
	if g == nil {
		return nil
	}
	if old.parallel != g.parallel && len(old.resources) > 0 {
		return refuse(idParallel, "Parallel of group %s stays %d: the group has resources; delete them first, or make another group", g.name, old.parallel)
	}
	if old.hybrid() && !maps.Equal(old.zones, g.zones) && e.busyAnywhere(old) {
		return refuse(idZones, "SystemZones of hybrid group %s stay as they are: the group is active, and two instances could find themselves in one zone; hagrp -offline %s -any first", g.name, g.name)
	}
	for _, p := range old.list {
		if g.on(p.System) {
			continue
		}
		if c := e.course(old.part(p.System)); c.Move != nil && c.Move.To == p.System {
			return refuse(idListRefused, "System %s stays in SystemList of group %s: the group is on its way there; wait, or hagrp -flush %s -sys %s first", p.System, g.name, g.name, c.Move.From)
		}
		if e.active(old, p.System) || e.inTransit(old, p.System) || e.inDoubt(old, p.System) {
			return refuse(idListRefused, "System %s stays in SystemList of group %s: the group is not offline there (%s); hagrp -offline %s -sys %s first", p.System, g.name, e.groupText(old, p.System), g.name, p.System)
		}
	}
	if no := e.breaksLinks(old, g); no != nil {
		return no
	}
	return e.breaksDependencies(old, g, m)
}

// busyAnywhere says whether a group is active or in transit anywhere, or may
// be.
func (e *Engine) busyAnywhere(g *groupModel) bool {
	return slices.ContainsFunc(g.list, func(p maincf.SystemPriority) bool {
		return e.active(g, p.System) || e.inTransit(g, p.System) || e.held(g, p.System) || e.inDoubt(g, p.System)
	})
}

// inDoubt says whether a group may be running on a system that is not there.
func (e *Engine) inDoubt(g *groupModel, n SystemID) bool {
	if e.st.Systems[n].InH {
		return false
	}
	ok, _ := e.proven(g, n)
	return !ok && e.mayRun(g, n)
}

// breaksLinks refuses a new link between groups whose condition the running
// state does not meet (E85).
func (e *Engine) breaksLinks(old, g *groupModel) *refusal {
	for _, l := range g.requires {
		if slices.ContainsFunc(old.requires, func(o *link) bool { return o.child.name == l.child.name && o.String() == l.String() }) {
			continue
		}
		child := e.mod.byGroup[l.child.name]
		for _, p := range old.list {
			if !e.active(old, p.System) {
				continue
			}
			if l.offline {
				if child != nil && child.on(p.System) && e.standing(child, p.System) {
					return refuse(idLinkUnmet, "Group %s is not linked to %s %s: both are online on %s; take one of them offline there first", g.name, l.child.name, l, p.System)
				}
				continue
			}
			met := child != nil && slices.ContainsFunc(l.places(e.mod, p.System), func(n SystemID) bool { return child.on(n) && e.serving(child, n) })
			if !met {
				return refuse(idLinkUnmet, "Group %s is not linked to %s %s: %s is online on %s and %s is not where that asks for it; bring %s online there, or take %s offline first", g.name, l.child.name, l, g.name, p.System, l.child.name, l.child.name, g.name)
			}
		}
	}
	return nil
}

// breaksDependencies refuses a new link between resources of which the parent
// is up and the children are not.
func (e *Engine) breaksDependencies(old, g *groupModel, m *model) *refusal {
	if old.source == g.source {
		return nil
	}
	for _, d := range g.source.Dependencies {
		parent := old.resource(d.Parent)
		if parent == nil || hadDependency(old.source, d) {
			continue
		}
		for _, p := range old.list {
			if !e.at(parent, p.System).up() {
				continue
			}
			var down []string
			for _, c := range d.Children {
				if child := old.resource(c); child == nil || !e.at(child, p.System).up() {
					down = append(down, c)
				}
			}
			need := len(d.Children)
			if d.AtLeast > 0 {
				need = d.AtLeast
			}
			if len(d.Children)-len(down) < need {
				return refuse(idLinkUnmet, "Resource %s is not linked to %s: %s is online on %s and %s is not; take %s offline there first, or bring %s online", d.Parent, strings.Join(d.Children, ","), d.Parent, p.System, strings.Join(down, ", "), d.Parent, strings.Join(down, ", "))
			}
		}
	}
	return nil
}

func hadDependency(g *maincf.Group, d maincf.Dependency) bool {
	return slices.ContainsFunc(g.Dependencies, func(o maincf.Dependency) bool {
		return o.Parent == d.Parent && o.AtLeast == d.AtLeast && slices.Equal(o.Children, d.Children)
	})
}

// adoptModel goes over to another configuration. What is in both keeps its
// state; what is new begins unprobed, and no group that is new starts by
// itself (E83).
func (e *Engine) adoptModel(m *model) {
	old := e.mod
	e.mod = m
	e.weighAll()
	e.emit(ConfigChanged{})
	for _, n := range m.systems {
		e.record(n)
	}
	for _, n := range old.systems {
		if !slices.Contains(m.systems, n) {
			delete(e.st.Systems, n)
			e.forgetSystemNames()
		}
	}
	fresh := false
	for _, g := range m.groups {
		before := old.byGroup[g.name]
		if before != nil && before.source == g.source {
			continue
		}
		fresh = e.fitGroup(g, before, old) || fresh
	}
	for _, g := range old.groups {
		if m.byGroup[g.name] == nil {
			delete(e.st.Groups, g.name)
			delete(e.dirty, g.name)
		}
	}
	for _, r := range old.resources {
		name := r.name
		if m.resource(name) == nil {
			delete(e.st.Resources, name)
			delete(e.st.LastOnline, name)
		}
	}
	e.forgetGone(m)
	if fresh {
		e.st.LastID++
		for _, g := range m.groups {
			e.born(g)
		}
	}
	e.reindex()
	for _, g := range m.groups {
		if before := old.byGroup[g.name]; before == nil || before.source == g.source {
			continue
		}
		for _, p := range g.list {
			e.refault(g, p.System) // a fault goes with its resource (E193)
		}
	}
	if !slices.Equal(old.cfg.Systems, m.cfg.Systems) || old.cfg.Cluster != m.cfg.Cluster || !sameTypes(old.cfg, m.cfg) {
		e.touchAll()
		return
	}
	e.touchChanged(old)
}

// touchChanged touches the groups that mean something else now, and those that
// wait for something that such a change may bring.
func (e *Engine) touchChanged(old *model) {
	for _, g := range e.mod.groups {
		before := old.byGroup[g.name]
		if before == nil || before.source != g.source || len(before.family) != len(g.family) || e.waitsForAny(g) {
			e.touch(g.name)
		}
	}
}

// waitsForAny says whether a group is owed a start, on its way, or stuck.
func (e *Engine) waitsForAny(g *groupModel) bool {
	for _, part := range g.parts {
		if c := e.course(part); c.Due != nil || c.Move != nil || c.Stuck != "" {
			return true
		}
	}
	return e.anyOn(g, func(on *groupOn) bool {
		return on.Owed || on.Starting || on.Stopping != "" || on.Waits != "" || on.Fresh
	})
}

// forgetGone drops what is remembered of objects that are no more.
func (e *Engine) forgetGone(m *model) {
	for name, at := range e.st.LastOnline {
		if r := m.resource(name); r == nil || !r.in.whole.on(at) {
			delete(e.st.LastOnline, name)
		}
	}
	for typ := range e.st.Agents {
		if m.cfg.Type(typ) == nil {
			delete(e.st.Agents, typ)
		}
	}
}

// bornNow marks an instance that this change made until it has its number.
const bornNow = ^uint64(0)

// fitGroup gives a group the state that its place in the configuration asks
// for, and says whether any of its instances is new.
func (e *Engine) fitGroup(g, before *groupModel, old *model) bool {
	gr := e.st.Groups[g.name]
	if gr == nil {
		gr = &group{On: map[string]*groupOn{}}
		e.st.Groups[g.name] = gr
	}
	fresh := false
	for _, p := range g.list {
		if gr.On[p.System] == nil {
			gr.On[p.System] = &groupOn{}
		}
		for _, r := range g.resources {
			fresh = e.fitInstance(r, old.resource(r.name), p.System) || fresh
			if r.enabled && !e.st.Resources[r.name][p.System].Probed {
				gr.On[p.System].Probed = false
			}
		}
	}
	for n := range gr.On {
		if g.on(n) {
			continue
		}
		delete(gr.On, n)
		for _, r := range g.resources {
			delete(e.st.Resources[r.name], n)
		}
	}
	e.fitZones(g)
	for _, part := range g.parts {
		c := e.course(part)
		if c.Move != nil && (!g.on(c.Move.To) || !g.on(c.Move.From)) {
			c.Move = nil
		}
		if c.Due != nil && !g.on(c.Due.From) {
			c.Due = nil
		}
		if c.Due != nil && !g.on(c.Due.Prefer) {
			c.Due.Prefer = ""
		}
	}
	return fresh
}

// fitInstance makes the state of a resource on a system if there is none, or
// none of this resource.
func (e *Engine) fitInstance(r, was *resourceModel, n SystemID) bool {
	at := e.st.Resources[r.name]
	if at == nil {
		at = map[string]*instance{}
		e.st.Resources[r.name] = at
	}
	if i := at[n]; i != nil && was != nil && was.typ == r.typ && was.in.name == r.in.name {
		if r.enabled && !was.enabled {
			i.Probed = false
		}
		return false
	}
	at[n] = &instance{Since: e.st.Now, Born: bornNow}
	return true
}

// born gives the new instances the number from which reports count: what an
// earlier resource of that name still says is not theirs (R6).
func (e *Engine) born(g *groupModel) {
	for _, r := range g.resources {
		for _, p := range g.list {
			if i := e.st.Resources[r.name][p.System]; i.Born == bornNow {
				i.Born = uint64(e.st.LastID)
				i.Bound = e.st.LastID
			}
		}
	}
}

// Born returns the number that the scheduler of a system gives its reports of
// a resource before any command for it: 0 unless the resource was added while
// the cluster ran.
func (e *Engine) Born(name string, system SystemID) uint64 {
	if i := e.st.Resources[name][system]; i != nil {
		return i.Born
	}
	return 0
}

// buildModel builds a model; group makes that of one group.
func buildModel(cfg *maincf.Config, group func(*maincf.Group) *groupModel) *model {
	m := &model{cfg: cfg, byGroup: map[string]*groupModel{}}
	if cfg.Cluster != nil {
		m.cluster = cfg.Cluster.Name
	}
	for _, s := range cfg.Systems {
		m.systems = append(m.systems, s.Name)
	}
	m.ofSystems(cfg)
	sort.Strings(m.systems)
	for _, g := range cfg.Groups {
		gm := group(g)
		gm.source = g
		m.groups = append(m.groups, gm)
		m.byGroup[gm.name] = gm
	}
	sort.Slice(m.groups, func(i, j int) bool { return m.groups[i].name < m.groups[j].name })
	names := make(map[string]string, len(m.systems)) // one string for each system, not one for each place it stands
	for _, s := range m.systems {
		names[s] = s
	}
	spots, instances := 0, 0
	for i, g := range m.groups {
		g.num, g.first = i, spots
		g.firstInstance, g.firstResource, g.size = int32(instances), int32(len(m.resources)), int32(len(g.resources))
		spots += len(g.list)
		instances += len(g.list) * len(g.resources)
		for place := range g.list {
			if s, ok := names[g.list[place].System]; ok {
				g.list[place].System = s
			}
		}
		for _, r := range g.resources {
			r.num, r.in = len(m.resources), g
			m.resources = append(m.resources, r)
		}
	}
	m.names = newNameTable(m.resources)
	m.giveTurns()
	m.connect(cfg)
	return m
}

// ConfigStatus is what there is to know about the configuration but its text.
type ConfigStatus struct {
	Writable bool
	Sequence uint64
	Changed  *Pos
	// Stale: the disks are marked.
	Stale    bool
	Undumped bool
	Version  uint64
	Dumping  []SystemID
	Failed   []DumpProblem
	Mask     uint64
	// Unconfirmed is set while a change waits; Left is the engine time that it
	// has, 0 if it is overdue because of Hindrance.
	Unconfirmed bool
	Left        int64 // milliseconds
	User        string
	Hindrance   string
}

// ConfigStatus returns the state of the configuration.
func (e *Engine) ConfigStatus() ConfigStatus {
	conf := &e.st.Conf
	out := ConfigStatus{Writable: conf.Writable, Sequence: conf.Sequence, Changed: same(conf.Changed), Undumped: conf.Sequence != conf.Dumped,
		Version: conf.Version, Stale: conf.Stale, Dumping: slices.Clone(conf.Dumping), Failed: slices.Clone(conf.Failed)}
	for _, n := range conf.Dumping {
		if s := e.st.Systems[n]; s != nil && s.Node >= 0 && s.Node < 64 {
			out.Mask |= 1 << s.Node
		}
	}
	if u := conf.Unconfirmed; u != nil {
		out.Unconfirmed, out.Left, out.User, out.Hindrance = true, max(0, u.Until-e.st.Now).Milliseconds(), u.User, u.Why
	}
	return out
}

// ConfigChanged says that the configuration is another one: every shell gives
// its scheduler and agents what changed. It comes before any other effect of
// the change.
type ConfigChanged struct{}

// MarkStale lets a system mark the configuration on its disk: it may lack a
// change (.stale).
type MarkStale struct{ System SystemID }

// DumpConfig lets a system write the running configuration to its disk, as
// version Version, and remove the mark. Answered with ConfigDumped.
type DumpConfig struct {
	System            SystemID
	Version, Sequence uint64
	// At, User and Request say who ordered it, for the record of the version.
	At            Pos
	User, Request string
}

func (ConfigChanged) effect() {}
func (MarkStale) effect()     {}
func (DumpConfig) effect()    {}

// String is the line of goldens.
func (ConfigChanged) String() string { return "configuration changed" }

// String is the line of goldens.
func (e MarkStale) String() string { return "mark stale " + e.System }

// String is the line of goldens.
func (e DumpConfig) String() string {
	return fmt.Sprintf("dump version %d (configuration %d) on %s", e.Version, e.Sequence, e.System)
}
