package maincf

import (
	"sort"
	"strconv"
	"strings"
)

// Action is what an edit does.
type Action uint8

// The actions, named as the options of the commands.
const (
	ActAdd          Action = iota // hagrp -add, hares -add, haclus -add ...
	ActDelete                     // -delete
	ActModify                     // -modify
	ActLink                       // hagrp -link, hares -link
	ActUnlink                     // -unlink
	ActLocal                      // -local: one value for each system
	ActGlobal                     // -global: one value for all
	ActOverride                   // hares -override: a static attribute of its own
	ActUndoOverride               // hares -undo_override
	ActAddAttr                    // haattr -add
	ActDefault                    // haattr -default
	ActDeleteAttr                 // haattr -delete
)

// Class is the kind of object that an edit changes.
type Class uint8

// The classes, each with the command that changes it.
const (
	ClassCluster   Class = iota // haclus
	ClassRemote                 // haclus -add, -delete, -modify ... -clus
	ClassHeartbeat              // hahb
	ClassSystem                 // hasys
	ClassGroup                  // hagrp
	ClassResource               // hares
	ClassType                   // hatype, haattr
)

// How is what -modify does with the words.
type How uint8

// The forms of -modify.
const (
	Replace     How = iota // the words are the whole value
	AddItems               // -add: new elements or pairs
	UpdateItems            // -update: other values for keys that are there
	DeleteItems            // -delete: without these elements or keys
	DeleteAll              // -delete -keys: empty
)

// Edit is one change of a configuration: one command. It holds plain texts;
// the escapes of the command line (%-y) are in ParseArgs and Args only.
type Edit struct {
	Action Action
	Class  Class
	// Name is the object; the parent of a link; empty for the cluster.
	Name string
	// Type and Group are those of a resource that is added.
	Type, Group string
	// Child is the child of a link of groups.
	Child string
	// Category, Location and Rigidity are the words of a link of groups.
	Category, Location, Rigidity string
	// Children are those of a link of resources. AtLeast is 0 for a plain link.
	Children []string
	AtLeast  int
	// Attr is the attribute; System the system (of a heartbeat: the cluster)
	// to which the value is local.
	Attr, System string
	How          How
	// Words are the value: one word for a scalar, elements, or keys and values
	// in turn.
	Words []string
	// Static, Temp, I18n, Kind and Dim are those of a declaration.
	Static, Temp, I18n bool
	Kind               Kind
	Dim                Dim
	// Explicit: the declaration spells out its default, in Words.
	Explicit bool
	// Force is hares -delete -force: also where it is online. It says nothing
	// to the configuration, which has no states.
	Force bool
}

// Message is what a command prints, in VCS's form.
type Message struct {
	Severity string // ERROR, WARNING or NOTICE
	ID       int    // the last part of V-16-1-ID
	Text     string
}

// String is the line that the command prints.
func (m Message) String() string {
	return "VCS " + m.Severity + " V-16-1-" + strconv.Itoa(m.ID) + " " + m.Text
}

// Message ids of refusals. Those below 90000 are VCS's; the others are ours,
// for what VCS's documents give no number.
const (
	IDGroupUnknownLink = 10133 // a group of -link or -unlink does not exist
	IDNotInSystemList  = 10135 // a system is not in SystemList
	IDGroupAdded       = 10136 // notice after hagrp -add
	IDNotUnlinked      = 10146 // the link to remove does not exist
	IDListRefused      = 10180 // SystemList names a system that is not defined
	IDResourceAdded    = 10242 // notice after hares -add
	IDResourceUnknown  = 10260
	IDSystemUnknown    = 10357
	IDKeyThere         = 10563
	IDKeyMissing       = 10566
	IDLinked           = 10905 // the dependency exists
	IDGroupUnknown     = 12130
	IDNotStatic        = 13322 // the attribute is not a static one to override
	IDNoSystemList     = 50837 // SystemList is empty
	IDExists           = 90001 // an object or attribute of that name exists
	IDTypeUnknown      = 90002
	IDAttrUnknown      = 90003 // or it cannot be set
	IDValue            = 90004 // a value of the wrong kind
	IDInUse            = 90005 // to be deleted, but others depend on it
	IDScope            = 90006 // local where it is global, or the other way
	IDName             = 90007 // the name is not allowed
	IDOther            = 90008 // a heartbeat or remote cluster is unknown
	IDInert            = 90010 // notice: an attribute changes nothing
	IDWhole            = 90009 // the configuration as a whole would be wrong
)

// Refusal is the error of Apply. Nothing was changed.
type Refusal struct {
	Message
	// Edit is the index of the edit that was refused; len(edits) if the
	// configuration as a whole was.
	Edit int
	// Mistakes are those of the configuration as a whole (id IDWhole).
	Mistakes Errors
}

// Error is the line that the command prints.
func (r *Refusal) Error() string { return r.Message.String() }

// Change is what Apply returns.
type Change struct {
	// Config is the new configuration: exactly what Load makes of Files.
	Config *Config
	// Files are its canonical texts, the main file first.
	Files []SourceFile
	// Warnings are those of Load.
	Warnings []Diagnostic
	// Notices are what the commands print beside their success.
	Notices []Message
}

// Apply applies edits as one change: either all of them, and the result
// passes every check that a file passes, or none (*Refusal). It depends on
// nothing but its arguments: equal on every system.
func (c *Config) Apply(edits ...Edit) (*Change, error) {
	return newDraft(c).apply(edits)
}

func (d *draft) apply(edits []Edit) (*Change, error) {
	for i, e := range edits {
		if m := d.step(e); m != nil {
			return nil, &Refusal{Message: *m, Edit: i}
		}
	}
	return d.finish(len(edits))
}

// draft is a configuration while it is edited, with indexes.
type draft struct {
	cfg       *Config
	systems   map[string]*System
	groups    map[string]*Group
	resources map[string]*Resource
	types     map[string]*Type
	notices   []Message
	// anyFile: objects may be put into files outside of the folder.
	anyFile bool
	// shared: the objects are those of the configuration that it began with,
	// but for the owned; whatever changes one owns it first.
	shared bool
	owned  map[string]bool
	whole  bool // every object is owned
}

func newDraft(c *Config) *draft { return newDraftIndex(c.clone()) }

// newDraftIndex edits the configuration itself.
func newDraftIndex(c *Config) *draft {
	d := &draft{cfg: c, systems: map[string]*System{}, groups: map[string]*Group{},
		resources: map[string]*Resource{}, types: map[string]*Type{}}
	for _, s := range d.cfg.Systems {
		d.systems[s.Name] = s
	}
	for _, t := range d.cfg.Types {
		d.types[t.Name] = t
	}
	for _, g := range d.cfg.Groups {
		d.groups[g.Name] = g
		for _, r := range g.Resources {
			d.resources[r.Name] = r
		}
	}
	return d
}

// finish checks the whole by reading what would be written.
func (d *draft) finish(edits int) (*Change, error) {
	files := d.cfg.Dump()
	texts := make(map[string]string, len(files))
	for _, f := range files {
		texts[f.Name] = f.Text
	}
	cfg, warnings, err := LoadMap(d.cfg.File, texts)
	if err != nil {
		return nil, err.(Errors).refusal(edits)
	}
	return &Change{Config: cfg, Files: files, Warnings: warnings, Notices: d.notices}, nil
}

func refuse(id int, parts ...string) *Message {
	return &Message{"WARNING", id, strings.Join(parts, "")}
}

func (d *draft) notice(id int, text string) {
	d.notices = append(d.notices, Message{"NOTICE", id, text})
}

// step applies one edit to the draft.
func (d *draft) step(e Edit) *Message {
	d.own(e)
	for _, w := range append([]string{e.Name, e.Type, e.Group, e.Child, e.Attr, e.System}, append(e.Words, e.Children...)...) {
		if strings.IndexFunc(w, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f || r == '\ufffd' }) >= 0 {
			return refuse(IDValue, quote(clip(w)), " holds a line break or another character that a configuration cannot hold")
		}
	}
	switch e.Action {
	case ActAdd:
		return d.add(e)
	case ActDelete:
		return d.remove(e)
	case ActModify:
		return d.modify(e)
	case ActLink, ActUnlink:
		if e.Class == ClassGroup {
			return d.linkGroups(e)
		}
		return d.linkResources(e)
	case ActLocal, ActGlobal:
		return d.scope(e)
	case ActOverride, ActUndoOverride:
		return d.override(e)
	default:
		return d.declare(e)
	}
}

// quietly runs a check of the loader on a part and returns its first word of
// refusal.
func quietly(id int, check func(b *builder)) *Message {
	var said *Message
	check(&builder{warn: func(Pos, string) {}, full: func() bool { return false },
		report: func(_ Pos, text string) {
			if said == nil {
				said = refuse(id, text)
			}
		}})
	return said
}

func (d *draft) name(class, name string) *Message {
	if isTopKeyword(name) || name == "requires" || name == "atleast" {
		return refuse(IDName, name, " is a keyword and cannot name a ", class)
	}
	return quietly(IDName, func(b *builder) { b.checkName(class, rawName{text: name}) })
}

func (d *draft) add(e Edit) *Message {
	class := map[Class]string{ClassSystem: "system", ClassGroup: "group", ClassResource: "resource",
		ClassType: "type", ClassHeartbeat: "heartbeat", ClassRemote: "remotecluster"}[e.Class]
	if class == "" {
		return refuse(IDOther, "a cluster cannot be added to a cluster")
	}
	if m := d.name(class, e.Name); m != nil {
		return m
	}
	exists := refuse(IDExists, strings.ToUpper(class[:1]), class[1:], " ", e.Name, " exists already")
	switch e.Class {
	case ClassSystem:
		if d.systems[e.Name] != nil {
			return exists
		}
		s := &System{Name: e.Name}
		d.systems[e.Name], d.cfg.Systems = s, append(d.cfg.Systems, s)
	case ClassGroup:
		if d.groups[e.Name] != nil {
			return exists
		}
		g := &Group{Name: e.Name}
		d.groups[e.Name], d.cfg.Groups = g, append(d.cfg.Groups, g)
		d.notice(IDGroupAdded, "Group added; populating SystemList and setting the Parallel attribute recommended before adding resources")
	case ClassType:
		if d.types[e.Name] != nil {
			return exists
		}
		t := &Type{Name: e.Name}
		d.types[e.Name], d.cfg.Types = t, append(d.cfg.Types, t)
	case ClassResource:
		if d.resources[e.Name] != nil {
			return refuse(IDExists, "Resource ", e.Name, " exists already, in group ", d.resources[e.Name].Group)
		}
		return d.addResource(e)
	case ClassHeartbeat:
		if d.heartbeat(e.Name) != nil {
			return exists
		}
		d.cfg.Heartbeats = append(d.cfg.Heartbeats, &Heartbeat{Name: e.Name})
	case ClassRemote:
		if d.remote(e.Name) != nil {
			return exists
		}
		r := &RemoteCluster{Name: e.Name}
		d.cfg.RemoteClusters = append(d.cfg.RemoteClusters, r)
		if len(e.Words) == 1 && e.Words[0] != "" {
			r.Attrs = Attrs{{Name: "ClusterAddress", Value: StrValue(e.Words[0])}}
		}
	}
	return nil
}

// addResource adds a resource, disabled until Enabled is set, as VCS does.
func (d *draft) addResource(e Edit) *Message {
	g, m := d.group(IDGroupUnknown, e.Group)
	if m != nil {
		return m
	}
	if _, m := d.typ(e.Type); m != nil {
		return m
	}
	if len(g.SystemList()) == 0 {
		return refuse(IDNoSystemList, "SystemList of group ", g.Name, " is empty: set it first, with hagrp -modify ", g.Name, " SystemList")
	}
	r := &Resource{Name: e.Name, Type: e.Type, Group: g.Name, Attrs: Attrs{{Name: "Enabled", Value: BoolValue(false)}}}
	g.Resources = append(g.Resources, r)
	d.resources[r.Name] = r
	d.notice(IDResourceAdded, "Resource added. Enabled attribute must be set before agent monitors")
	return nil
}

func (d *draft) group(id int, name string) (*Group, *Message) {
	if g := d.groups[name]; g != nil {
		return g, nil
	}
	return nil, refuse(id, "Group ", clip(name), " does not exist", didYouMean(name, keys(d.groups)))
}

func (d *draft) resource(name string) (*Resource, *Message) {
	if r := d.resources[name]; r != nil {
		return r, nil
	}
	return nil, refuse(IDResourceUnknown, "Resource ", clip(name), " does not exist", didYouMean(name, keys(d.resources)))
}

func (d *draft) system(name string) (*System, *Message) {
	if s := d.systems[name]; s != nil {
		return s, nil
	}
	return nil, refuse(IDSystemUnknown, "System ", clip(name), " does not exist", didYouMean(name, keys(d.systems)))
}

func (d *draft) typ(name string) (*Type, *Message) {
	if t := d.types[name]; t != nil {
		return t, nil
	}
	return nil, refuse(IDTypeUnknown, "Type ", clip(name), " does not exist", didYouMean(name, keys(d.types)))
}

func (d *draft) heartbeat(name string) *Heartbeat {
	for _, h := range d.cfg.Heartbeats {
		if h.Name == name {
			return h
		}
	}
	return nil
}

func (d *draft) remote(name string) *RemoteCluster {
	for _, r := range d.cfg.RemoteClusters {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// keys returns the keys of an index, sorted.
func keys[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// without returns a list without the element.
func without[T comparable](list []T, gone T) []T {
	out := make([]T, 0, len(list))
	for _, x := range list {
		if x != gone {
			out = append(out, x)
		}
	}
	return out
}

func (d *draft) remove(e Edit) *Message {
	switch e.Class {
	case ClassSystem:
		return d.removeSystem(e.Name)
	case ClassGroup:
		return d.removeGroup(e.Name)
	case ClassResource:
		r, m := d.resource(e.Name)
		if m == nil {
			d.removeResource(r)
		}
		return m
	case ClassType:
		t, m := d.typ(e.Name)
		if m != nil {
			return m
		}
		for _, g := range d.cfg.Groups {
			for _, r := range g.Resources {
				if r.Type == t.Name {
					return refuse(IDInUse, "Type ", t.Name, " has resources, such as ", r.Name, ": delete them first")
				}
			}
		}
		d.cfg.Types = without(d.cfg.Types, t)
		delete(d.types, t.Name)
	case ClassHeartbeat:
		h := d.heartbeat(e.Name)
		if h == nil {
			return refuse(IDOther, "Heartbeat ", clip(e.Name), " does not exist")
		}
		d.cfg.Heartbeats = without(d.cfg.Heartbeats, h)
	case ClassRemote:
		r := d.remote(e.Name)
		if r == nil {
			return refuse(IDOther, "Remote cluster ", clip(e.Name), " does not exist")
		}
		d.cfg.RemoteClusters = without(d.cfg.RemoteClusters, r)
		for _, h := range d.cfg.Heartbeats {
			h.Attrs = h.Attrs.except("", r.Name)
			for i := range h.Attrs {
				if a := &h.Attrs[i]; a.Name == "ClusterList" {
					a.Value.List, a.Value.items = without(a.Value.List, r.Name), nil
				}
			}
		}
	default:
		return refuse(IDOther, "the cluster itself cannot be deleted")
	}
	return nil
}

// except returns the attributes without those of a name and system; an empty
// name is any, an empty system only the global value.
func (a Attrs) except(name, system string) Attrs {
	var out Attrs
	for _, at := range a {
		if (name != "" && at.Name != name) || at.System != system {
			out = append(out, at)
		}
	}
	return out
}

// removeSystem deletes a system that no group lists, with all that is local
// to it.
func (d *draft) removeSystem(name string) *Message {
	s, m := d.system(name)
	if m != nil {
		return m
	}
	for _, g := range d.cfg.Groups {
		if g.RunsOn(name) {
			return refuse(IDInUse, "System ", name, " is in SystemList of group ", g.Name,
				": take it out first, with hagrp -modify ", g.Name, " SystemList -delete ", name)
		}
	}
	d.cfg.Systems = without(d.cfg.Systems, s)
	delete(d.systems, name)
	for _, g := range d.cfg.Groups {
		g.Attrs = g.Attrs.except("", name)
		for _, r := range g.Resources {
			r.Attrs = r.Attrs.except("", name)
		}
	}
	return nil
}

func (d *draft) removeGroup(name string) *Message {
	g, m := d.group(IDGroupUnknown, name)
	if m != nil {
		return m
	}
	if len(g.Resources) > 0 {
		return refuse(IDInUse, "Group ", name, " has resources, such as ", g.Resources[0].Name, ": delete them first")
	}
	for _, o := range d.cfg.Groups {
		for _, dep := range o.Requires {
			if dep.Child == name {
				return refuse(IDInUse, "Group ", o.Name, " requires group ", name, ": unlink them first, with hagrp -unlink ", o.Name, " ", name)
			}
		}
	}
	d.cfg.Groups = without(d.cfg.Groups, g)
	delete(d.groups, name)
	return nil
}

// removeResource deletes a resource with its links.
func (d *draft) removeResource(r *Resource) {
	g := d.groups[r.Group]
	g.Resources = without(g.Resources, r)
	delete(d.resources, r.Name)
	var deps []Dependency
	for _, dep := range g.Dependencies {
		if dep.Parent == r.Name {
			continue
		}
		dep.Children = without(dep.Children, r.Name)
		dep.AtLeast = min(dep.AtLeast, len(dep.Children))
		if len(dep.Children) > 0 {
			deps = append(deps, dep)
		}
	}
	g.Dependencies = deps
}

func (d *draft) linkGroups(e Edit) *Message {
	parent, m := d.group(IDGroupUnknownLink, e.Name)
	if m != nil {
		return m
	}
	child, m := d.group(IDGroupUnknownLink, e.Child)
	if m != nil {
		return m
	}
	at := -1
	for i, dep := range parent.Requires {
		if dep.Child == child.Name {
			at = i
		}
	}
	if e.Action == ActUnlink {
		if at < 0 {
			return refuse(IDNotUnlinked, "Groups ", parent.Name, " and ", child.Name, " cannot be unlinked: ", parent.Name, " does not require ", child.Name)
		}
		parent.Requires = append(parent.Requires[:at:at], parent.Requires[at+1:]...)
		return nil
	}
	if at >= 0 {
		return refuse(IDLinked, "Group ", parent.Name, " requires group ", child.Name, " already")
	}
	words := []rawName{{text: e.Category}, {text: e.Location}}
	if e.Rigidity != "" {
		words = append(words, rawName{text: e.Rigidity})
	}
	dep := GroupDependency{Child: child.Name}
	if m := quietly(IDValue, func(b *builder) { b.dependencyWords(&dep, words) }); m != nil {
		return m
	}
	parent.Requires = append(parent.Requires, dep)
	return nil
}

func (d *draft) linkResources(e Edit) *Message {
	parent, m := d.resource(e.Name)
	if m != nil {
		return m
	}
	for _, c := range e.Children {
		child, m := d.resource(c)
		if m != nil {
			return m
		}
		if child.Group != parent.Group {
			return refuse(IDValue, "Resource ", c, " belongs to group ", child.Group, ", not to ", parent.Group,
				": resources cannot depend across groups; use hagrp -link")
		}
	}
	g := d.groups[parent.Group]
	if e.Action == ActUnlink {
		return unlinkResources(g, e)
	}
	for i, c := range e.Children {
		if contains(g.Children(parent.Name), c) || contains(e.Children[:i], c) {
			return refuse(IDLinked, "Resource ", parent.Name, " requires resource ", c, " already")
		}
	}
	if len(e.Children) == 0 || (e.AtLeast == 0 && len(e.Children) > 1) || e.AtLeast < 0 || e.AtLeast > len(e.Children) {
		return refuse(IDValue, "a link takes one child, or several with -min from 1 to their number")
	}
	g.Dependencies = append(g.Dependencies, Dependency{Parent: parent.Name, Children: append([]string(nil), e.Children...), AtLeast: e.AtLeast})
	return nil
}

// unlinkResources takes children out of the parent's links. A link that
// would ask for more children than it has left is refused.
func unlinkResources(g *Group, e Edit) *Message {
	for _, c := range e.Children {
		if !contains(g.Children(e.Name), c) {
			return refuse(IDNotUnlinked, "Resources ", e.Name, " and ", c, " cannot be unlinked: ", e.Name, " does not require ", c)
		}
	}
	var deps []Dependency
	for _, dep := range g.Dependencies {
		if dep.Parent != e.Name {
			deps = append(deps, dep)
			continue
		}
		var left []string
		for _, c := range dep.Children {
			if !contains(e.Children, c) {
				left = append(left, c)
			}
		}
		if len(left) == 0 {
			continue
		}
		if dep.AtLeast > len(left) {
			return refuse(IDInUse, e.Name, " requires at least ", strconv.Itoa(dep.AtLeast), " of ", strings.Join(dep.Children, ", "),
				": unlink all of them and link anew with another -min")
		}
		dep.Children = left
		deps = append(deps, dep)
	}
	g.Dependencies = deps
	return nil
}

// clone copies what edits change.
func (c *Config) clone() *Config {
	out := &Config{File: c.File, Includes: append([]Include(nil), c.Includes...)}
	if c.Cluster != nil {
		k := *c.Cluster
		k.Attrs = append(Attrs(nil), k.Attrs...)
		out.Cluster = &k
	}
	for _, r := range c.RemoteClusters {
		k := *r
		k.Attrs = append(Attrs(nil), k.Attrs...)
		out.RemoteClusters = append(out.RemoteClusters, &k)
	}
	for _, h := range c.Heartbeats {
		k := *h
		k.Attrs = append(Attrs(nil), k.Attrs...)
		out.Heartbeats = append(out.Heartbeats, &k)
	}
	for _, s := range c.Systems {
		k := *s
		k.Attrs = append(Attrs(nil), k.Attrs...)
		out.Systems = append(out.Systems, &k)
	}
	for _, t := range c.Types {
		k := *t
		k.Attrs = append([]AttrDecl(nil), k.Attrs...)
		out.Types = append(out.Types, &k)
	}
	for _, g := range c.Groups {
		out.Groups = append(out.Groups, g.clone())
	}
	return out
}

func (g *Group) clone() *Group {
	k := *g
	k.Attrs = append(Attrs(nil), g.Attrs...)
	k.Requires = append([]GroupDependency(nil), g.Requires...)
	k.Dependencies = append([]Dependency(nil), g.Dependencies...)
	k.Resources = make([]*Resource, len(g.Resources))
	for i, r := range g.Resources {
		c := *r
		c.Attrs = append(Attrs(nil), r.Attrs...)
		k.Resources[i] = &c
	}
	return &k
}
