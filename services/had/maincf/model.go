// Package maincf is the configuration language: lexer, parser, checks, typed
// model and printer of main.cf and the type files that it includes.
//
// The package is pure. It reads files only through the function that the
// caller passes to Load, keeps no state, and a *Config that Load returned is
// complete and free of errors: a bad file yields no Config at all. A Config
// may be read by several goroutines while nobody changes it.
//
// The language is that of VCS (Cluster Server Administrator's Guide,
// configuration concepts); what a dump looks like is in print.go.
package maincf

import "strconv"

// Pos is a place in a file. Line and Col count from 1, Col in characters. The
// zero Pos means that the object was not read from a file.
type Pos struct {
	File string
	Line int
	Col  int
}

// String returns FILE:LINE:COL.
func (p Pos) String() string {
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Col)
}

// Attr is one attribute that is set on an object.
type Attr struct {
	Name string
	// System is the system (of a heartbeat: the cluster) to which the value
	// is local; empty for a global value.
	System string
	Value  Value
	// Static marks a static attribute of the type that this resource
	// overrides.
	Static bool
	// Temp marks the value of a temp attribute: it lives in memory only and is
	// never printed.
	Temp bool
	Pos  Pos
}

// Attrs are the attributes set on one object, in the order written.
type Attrs []Attr

// Global returns the global value of an attribute, if one is set.
func (a Attrs) Global(name string) (Attr, bool) { return a.find(name, "") }

// Local returns the value that is local to a system, if one is set.
func (a Attrs) Local(name, system string) (Attr, bool) {
	if system == "" {
		return Attr{}, false
	}
	return a.find(name, system)
}

// Effective returns the local value for the system, else the global one.
func (a Attrs) Effective(name, system string) (Attr, bool) {
	if at, ok := a.Local(name, system); ok {
		return at, true
	}
	return a.Global(name)
}

// IsLocal says whether any value of the attribute is local to a system.
func (a Attrs) IsLocal(name string) bool {
	for i := range a {
		if a[i].Name == name && a[i].System != "" {
			return true
		}
	}
	return false
}

func (a Attrs) find(name, system string) (Attr, bool) {
	for i := range a {
		if a[i].Name == name && a[i].System == system {
			return a[i], true
		}
	}
	return Attr{}, false
}

// Include is an include clause.
type Include struct {
	// Path is the text of the clause, relative to the including file.
	Path string
	// File is the name under which the included file was opened; the Pos of
	// everything in it carries this name.
	File string
	Pos  Pos
}

// Cluster is the cluster clause.
type Cluster struct {
	Name  string
	Attrs Attrs
	Pos   Pos
}

// RemoteCluster is a remotecluster clause (global clusters).
type RemoteCluster struct {
	Name  string
	Attrs Attrs
	Pos   Pos
}

// Heartbeat is a heartbeat clause (global clusters).
type Heartbeat struct {
	Name  string
	Attrs Attrs
	Pos   Pos
}

// System is a system clause.
type System struct {
	Name  string
	Attrs Attrs
	Pos   Pos
}

// Group is a service group with its resources and dependencies.
type Group struct {
	Name         string
	Attrs        Attrs
	Resources    []*Resource
	Dependencies []Dependency
	Requires     []GroupDependency
	Pos          Pos
}

// Resource is one resource of a group.
type Resource struct {
	Name  string
	Type  string
	Group string
	// Attrs are the type's attributes, those of every resource (Critical,
	// Enabled...) and overridden static attributes (Attr.Static).
	Attrs Attrs
	Pos   Pos
}

// Dependency says that Parent needs its children online before it starts. It
// has one child, or several of which AtLeast must be online.
type Dependency struct {
	Parent   string
	Children []string
	// AtLeast is 0 for the plain form (the one child is needed), else
	// 1..len(Children).
	AtLeast int
	Pos     Pos
}

// GroupDependency says that the enclosing group (the parent) depends on Child.
type GroupDependency struct {
	Child string
	// Category is "online" or "offline".
	Category string
	// Location is "local", "global", "remote" or "site".
	Location string
	// Rigidity is "soft", "firm" or "hard"; empty for offline local.
	Rigidity string
	Pos      Pos
}

// AttrDecl declares an attribute of a type.
type AttrDecl struct {
	Name   string
	Kind   Kind
	Dim    Dim
	Static bool
	// Temp attributes live in memory only and are never written.
	Temp bool
	// I18n marks i18nstr; its Kind is KindStr.
	I18n bool
	// Default is always set; HasDefault says that the file spelled it out.
	Default    Value
	HasDefault bool
	Pos        Pos
}

// Type is a resource type.
type Type struct {
	Name  string
	Attrs []AttrDecl
	Pos   Pos
}

// Decl returns the declaration of an attribute.
func (t *Type) Decl(name string) (AttrDecl, bool) {
	for i := range t.Attrs {
		if t.Attrs[i].Name == name {
			return t.Attrs[i], true
		}
	}
	return AttrDecl{}, false
}

// Config is a whole configuration. All slices are in the order written.
type Config struct {
	// File is the name of the main file as given to Load.
	File           string
	Includes       []Include
	Cluster        *Cluster
	RemoteClusters []*RemoteCluster
	Heartbeats     []*Heartbeat
	Systems        []*System
	Groups         []*Group
	Types          []*Type
}

// System returns the system of that name, or nil.
func (c *Config) System(name string) *System {
	for _, s := range c.Systems {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Group returns the group of that name, or nil.
func (c *Config) Group(name string) *Group {
	for _, g := range c.Groups {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// Resource returns the resource of that name, or nil. It searches all groups;
// callers that look up often keep an index of their own.
func (c *Config) Resource(name string) *Resource {
	for _, g := range c.Groups {
		if r := g.Resource(name); r != nil {
			return r
		}
	}
	return nil
}

// Type returns the resource type of that name, or nil.
func (c *Config) Type(name string) *Type {
	for _, t := range c.Types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Resource returns the group's resource of that name, or nil.
func (g *Group) Resource(name string) *Resource {
	for _, r := range g.Resources {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Children returns the names of the resources that a resource requires.
func (g *Group) Children(resource string) []string {
	var out []string
	for _, d := range g.Dependencies {
		if d.Parent == resource {
			out = append(out, d.Children...)
		}
	}
	return out
}

// Parents returns the names of the resources that require a resource.
func (g *Group) Parents(resource string) []string {
	var out []string
	for _, d := range g.Dependencies {
		for _, c := range d.Children {
			if c == resource {
				out = append(out, d.Parent)
			}
		}
	}
	return out
}
