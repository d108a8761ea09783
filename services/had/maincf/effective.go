package maincf

import "strings"

// Operations of a type: the resource categories of VCS.
const (
	OperationsOnOff  = "OnOff"
	OperationsOnOnly = "OnOnly"
	OperationsNone   = "None"
)

// SystemPriority is one entry of SystemList; lower is preferred.
type SystemPriority struct {
	System   string
	Priority int
}

// NamedValue is one entry of a resource's expanded ArgList.
type NamedValue struct {
	Name  string
	Value Value
}

// ClusterAttr returns the cluster attribute, or its default. ok is false for
// a name that is no cluster attribute.
func (c *Config) ClusterAttr(name string) (v Value, ok bool) {
	var set Attrs
	if c.Cluster != nil {
		if name == "ClusterName" {
			return StrValue(c.Cluster.Name), true
		}
		set = c.Cluster.Attrs
	}
	return effective(set, clusterTable, name, "")
}

// SystemAttr returns the attribute of a system, or its default.
func (c *Config) SystemAttr(s *System, name string) (v Value, ok bool) {
	return effective(s.Attrs, systemTable, name, "")
}

// GroupAttr returns the attribute of a group on a system (local over global
// over default). system may be empty: the global value.
func (c *Config) GroupAttr(g *Group, name, system string) (v Value, ok bool) {
	return effective(g.Attrs, groupTable, name, system)
}

func effective(set Attrs, t builtins, name, system string) (Value, bool) {
	if at, ok := set.Effective(name, system); ok {
		return at.Value, true
	}
	b, ok := t.find(name)
	return b.Default, ok
}

// SystemList returns the systems of the group with their priorities, in the
// order written.
func (g *Group) SystemList() []SystemPriority {
	at, _ := g.Attrs.Global("SystemList")
	out := make([]SystemPriority, 0, len(at.Value.Pairs))
	for _, p := range at.Value.Pairs {
		out = append(out, SystemPriority{p.Key, StrValue(p.Value).Int()})
	}
	return out
}

// RunsOn says whether a system is in the group's SystemList.
func (g *Group) RunsOn(system string) bool {
	at, _ := g.Attrs.Global("SystemList")
	return at.Value.Has(system)
}

// AutoStartList returns the systems on which the group may start by itself.
func (g *Group) AutoStartList() []string {
	at, _ := g.Attrs.Global("AutoStartList")
	return append([]string(nil), at.Value.List...)
}

// ResourceAttr returns what a resource's attribute is on a system: the local
// value, else the global one, else the type's default, else the default of
// the attributes that every resource has, else (a static attribute) what
// StaticAttr says. ok is false for a name that the type does not know.
func (c *Config) ResourceAttr(r *Resource, name, system string) (v Value, ok bool) {
	if at, found := r.Attrs.Effective(name, system); found {
		return at.Value, true
	}
	if t := c.Type(r.Type); t != nil {
		if d, found := t.Decl(name); found {
			return d.Default, true
		}
	}
	if b, found := resourceTable.find(name); found {
		return b.Default, true
	}
	if b, found := staticTable.find(name); found {
		return b.Default, true
	}
	return Value{}, false
}

// StaticAttr returns a static attribute as it holds for a resource on a
// system: the resource's override, else the type's value, else the built-in
// default.
func (c *Config) StaticAttr(r *Resource, name, system string) (v Value, ok bool) {
	if at, found := r.Attrs.Effective(name, system); found && at.Static {
		return at.Value, true
	}
	return c.TypeAttr(r.Type, name)
}

// TypeAttr returns a static attribute of a type, or its built-in default. ok
// is false for a name that is neither.
func (c *Config) TypeAttr(typ, name string) (v Value, ok bool) {
	if t := c.Type(typ); t != nil {
		return t.Static(name)
	}
	b, ok := staticTable.find(name)
	return b.Default, ok
}

// Static returns a static attribute of the type, or its built-in default.
func (t *Type) Static(name string) (v Value, ok bool) {
	if d, found := t.Decl(name); found && d.Static {
		return d.Default, true
	}
	b, ok := staticTable.find(name)
	return b.Default, ok
}

// Operations returns the category of a type: OnOff, OnOnly or None.
func (c *Config) Operations(typ string) string {
	v, _ := c.TypeAttr(typ, "Operations")
	return v.Text
}

// ArgList expands the type's ArgList for a resource on a system, in its
// order. An entry "Attr:Other" takes attribute Other of the resource that
// attribute Attr names; where there is none it is empty. The runtime
// attributes of the engine (MonitorOnly, State...) appear with their
// defaults; the engine puts in what holds.
func (c *Config) ArgList(r *Resource, system string) []NamedValue {
	list, _ := c.TypeAttr(r.Type, "ArgList")
	out := make([]NamedValue, 0, len(list.List))
	for _, name := range list.List {
		out = append(out, NamedValue{name, c.argument(r, name, system)})
	}
	return out
}

func (c *Config) argument(r *Resource, name, system string) Value {
	ref, attr, dependent := strings.Cut(name, ":")
	v, _ := c.ResourceAttr(r, ref, system)
	if !dependent {
		return v
	}
	target := c.Resource(v.Text)
	if target == nil {
		return Value{}
	}
	v, _ = c.ResourceAttr(target, attr, system)
	return v
}

// TypesOn returns the types that have a resource in a group whose SystemList
// holds the system, in the order of declaration: the agents that run there.
func (c *Config) TypesOn(system string) []string {
	used := map[string]bool{}
	for _, g := range c.Groups {
		if !g.RunsOn(system) {
			continue
		}
		for _, r := range g.Resources {
			used[r.Type] = true
		}
	}
	var out []string
	for _, t := range c.Types {
		if used[t.Name] {
			out = append(out, t.Name)
		}
	}
	return out
}

// ClusterAttrs, SystemAttrs, GroupAttrs, ResourceAttrs and StaticAttrs list
// the built-in attributes of a class with their defaults, sorted by name, as
// the -display commands show them.
func ClusterAttrs() []AttrDecl { return clusterTable.decls() }

// SystemAttrs: see ClusterAttrs.
func SystemAttrs() []AttrDecl { return systemTable.decls() }

// GroupAttrs: see ClusterAttrs.
func GroupAttrs() []AttrDecl { return groupTable.decls() }

// ResourceAttrs: see ClusterAttrs.
func ResourceAttrs() []AttrDecl { return resourceTable.decls() }

// StaticAttrs: see ClusterAttrs.
func StaticAttrs() []AttrDecl { return staticTable.decls() }

// HeartbeatAttrs are the attributes of heartbeats (global clusters).
func HeartbeatAttrs() []AttrDecl { return heartbeatTable.decls() }

// classes are the classes of objects by the word that names one.
var classes = map[string]class{"cluster": classCluster, "system": classSystem, "group": classGroup,
	"resource": classResource, "type": classStatic, "heartbeat": classHeartbeat}

// Settable says whether a user may set the built-in attribute of a class
// ("cluster", "system", "group", "resource", "type", "heartbeat"). It is true
// of an attribute that is not built in.
func Settable(class, attr string) bool {
	b, builtIn := table(classes[class]).find(attr)
	return !builtIn || !b.engine
}

// Overridable are the static attributes that a resource may override.
func Overridable() []string {
	var out []string
	for _, b := range staticTable.list {
		if b.override {
			out = append(out, b.Name)
		}
	}
	return out
}

// Allowed are the words that a built-in attribute may be set to; none if it
// takes any text or number.
func Allowed(class, attr string) []string {
	b, _ := table(classes[class]).find(attr)
	if b.Kind == KindBool && b.Name != "" {
		return []string{"0", "1"}
	}
	return b.enum
}

func (t builtins) decls() []AttrDecl {
	out := make([]AttrDecl, len(t.list))
	for i, b := range t.list {
		out[i] = b.AttrDecl
	}
	return out
}
