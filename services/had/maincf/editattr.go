package maincf

import (
	"path"
	"strings"
)

// target is what -modify, -local and -global change.
type target struct {
	attrs *Attrs
	bi    builtin // its Default is what holds where nothing is set
	// what names the object in messages; local says how to make it local.
	what, local string
	// systems are those for which -local makes a value.
	systems []string
	static  bool // an overridden static attribute
	temp    bool // in memory only
}

// find returns the attribute that an edit names.
func (d *draft) find(e Edit) (target, *Message) {
	switch e.Class {
	case ClassCluster:
		if d.cfg.Cluster == nil {
			d.cfg.Cluster = &Cluster{}
		}
		return d.builtinTarget(e, classCluster, "cluster", &d.cfg.Cluster.Attrs)
	case ClassRemote:
		r := d.remote(e.Name)
		if r == nil {
			return target{}, refuse(IDOther, "Remote cluster ", clip(e.Name), " does not exist")
		}
		return d.builtinTarget(e, classRemote, "remotecluster", &r.Attrs)
	case ClassHeartbeat:
		h := d.heartbeat(e.Name)
		if h == nil {
			return target{}, refuse(IDOther, "Heartbeat ", clip(e.Name), " does not exist")
		}
		t, m := d.builtinTarget(e, classHeartbeat, "heartbeat", &h.Attrs)
		for _, r := range d.cfg.RemoteClusters {
			t.systems = append(t.systems, r.Name)
		}
		return t, m
	case ClassSystem:
		s, m := d.system(e.Name)
		if m != nil {
			return target{}, m
		}
		return d.builtinTarget(e, classSystem, "system", &s.Attrs)
	case ClassGroup:
		g, m := d.group(IDGroupUnknown, e.Name)
		if m != nil {
			return target{}, m
		}
		t, m := d.builtinTarget(e, classGroup, "group", &g.Attrs)
		t.systems = g.systems()
		return t, m
	default:
		return d.resourceTarget(e)
	}
}

func (g *Group) systems() []string {
	var out []string
	for _, p := range g.SystemList() {
		out = append(out, p.System)
	}
	return out
}

// setBy are the commands that set what -modify cannot.
var setBy = map[string]string{
	"cluster ReadOnly":   "; haconf -makerw and haconf -dump -makero do that",
	"group AutoDisabled": "; hagrp -autoenable takes it away",
	"group State":        "; hagrp -online, -offline and -clear change it",
	"group TFrozen":      "; hagrp -freeze and -unfreeze do that",
	"system TFrozen":     "; hasys -freeze and -unfreeze do that",
	"system DynamicLoad": "; hasys -load does that",
	"system SysState":    "; hastart and hastop change it",
}

// meantOrShown names what was probably meant by an attribute that does not
// exist, or else the command that shows those there are.
func meantOrShown(attr string, known []string, class string) string {
	if hint := didYouMean(attr, known); hint != "" {
		return hint
	}
	return "; haattr -display " + class + " shows those there are"
}

func (d *draft) builtinTarget(e Edit, c class, what string, attrs *Attrs) (target, *Message) {
	bi, ok := table(c).find(e.Attr)
	if !ok {
		return target{}, refuse(IDAttrUnknown, "unknown ", what, " attribute ", clip(e.Attr), meantOrShown(e.Attr, table(c).settable(), what))
	}
	if bi.engine {
		return target{}, refuse(IDAttrUnknown, e.Attr, " is kept by the engine and cannot be set", setBy[what+" "+e.Attr])
	}
	if !bi.local && (e.System != "" || e.Action == ActLocal || e.Action == ActGlobal) {
		return target{}, refuse(IDScope, what, " attribute ", e.Attr, " cannot be local to a system: it has one value")
	}
	return target{attrs: attrs, bi: bi, what: what + " " + e.Name, local: "hagrp -local " + e.Name + " " + e.Attr}, nil
}

func (d *draft) resourceTarget(e Edit) (target, *Message) {
	r, m := d.resource(e.Name)
	if m != nil {
		return target{}, m
	}
	ty, m := d.typ(r.Type)
	if m != nil {
		return target{}, m
	}
	var bi builtin
	decl, _ := ty.Decl(e.Attr)
	if decl.Temp {
		bi = builtin{AttrDecl: decl}
	} else if m := quietly(IDAttrUnknown, func(b *builder) { bi, _ = b.resourceDecl(ty, rawAttr{name: e.Attr}) }); m != nil {
		if strings.HasPrefix(m.Text, "unknown") && !strings.Contains(m.Text, "; ") {
			m.Text += "; haattr -display " + ty.Name + " shows those there are"
		}
		return target{}, m
	}
	t := target{attrs: &r.Attrs, bi: bi, what: "resource " + r.Name, systems: d.groups[r.Group].systems(),
		static: bi.Static, temp: decl.Temp, local: "hares -local " + r.Name + " " + e.Attr}
	if bi.Static {
		t.bi.Default, _ = ty.Static(e.Attr)
	}
	return t, nil
}

func (d *draft) modify(e Edit) *Message {
	if e.Attr == "SourceFile" {
		return d.sourceFile(e)
	}
	if e.Class == ClassType {
		return d.modifyType(e)
	}
	if e.Class == ClassCluster && e.Attr == "ClusterName" {
		return d.rename(e)
	}
	t, m := d.find(e)
	if m != nil {
		return m
	}
	if e.System != "" && e.Class != ClassHeartbeat {
		if _, m := d.system(e.System); m != nil {
			return m
		}
	}
	if m := t.scopeFits(e); m != nil {
		return m
	}
	base := t.bi.Default
	if at, set := t.attrs.find(e.Attr, e.System); set {
		base = at.Value
	}
	v, m := edited(t.bi, base, e)
	if m != nil {
		return m
	}
	t.set(e.System, v)
	if of, builtIn := t.class(e); builtIn {
		d.inertNotice(of, e.Attr, v)
	}
	if e.Class == ClassGroup {
		return d.systemListChanged(d.groups[e.Name], e.Attr)
	}
	return nil
}

// class is the table that an attribute which is set stands in.
func (t target) class(e Edit) (class, bool) {
	if t.static {
		return classStatic, true
	}
	switch e.Class {
	case ClassCluster:
		return classCluster, true
	case ClassSystem:
		return classSystem, true
	case ClassGroup:
		return classGroup, true
	case ClassResource:
		return classResource, true
	}
	return classHeartbeat, false
}

// scopeFits refuses a local value for a global attribute and the other way,
// and a static attribute that was not overridden.
func (t target) scopeFits(e Edit) *Message {
	_, global := t.attrs.find(e.Attr, "")
	local := t.attrs.IsLocal(e.Attr)
	switch {
	case t.static && !global && !local:
		return refuse(IDAttrUnknown, e.Attr, " is a static attribute of the type: override it first, with hares -override ", e.Name, " ", e.Attr)
	case e.System != "" && global && !local:
		return refuse(IDScope, e.Attr, " of ", t.what, " is global: make it local first, with ", t.local)
	case e.System == "" && local:
		return refuse(IDScope, e.Attr, " of ", t.what, " is local: say for which system, with -sys, or make it global")
	}
	return nil
}

// set stores a value; one that holds anyway is not written down.
func (t target) set(system string, v Value) {
	v.items = nil
	if v.Equal(t.bi.Default) && !t.static {
		*t.attrs = t.attrs.except(t.bi.Name, system)
		return
	}
	for i := range *t.attrs {
		if at := &(*t.attrs)[i]; at.Name == t.bi.Name && at.System == system {
			at.Value = v
			return
		}
	}
	*t.attrs = append(*t.attrs, Attr{Name: t.bi.Name, System: system, Value: v, Static: t.static, Temp: t.temp})
}

// systemListChanged checks the lists of systems of a group. A system that
// left SystemList leaves AutoStartList and SystemZones with it.
func (d *draft) systemListChanged(g *Group, attr string) *Message {
	switch attr {
	case "SystemList":
		list := g.systems()
		for _, s := range list {
			if d.systems[s] == nil {
				return refuse(IDListRefused, "SystemList of group ", g.Name, " is left as it is: system ", clip(s), " is not defined in the cluster", didYouMean(s, keys(d.systems)))
			}
		}
		if len(list) == 0 && len(g.Resources) > 0 {
			return refuse(IDNoSystemList, "SystemList of group ", g.Name, " would be empty, and the group has resources")
		}
		for i := range g.Attrs {
			if a := &g.Attrs[i]; a.Name == "AutoStartList" || a.Name == "SystemZones" {
				a.Value = a.Value.only(list)
			}
		}
		for _, name := range []string{"AutoStartList", "SystemZones"} {
			if at, ok := g.Attrs.Global(name); ok && at.Value.Len() == 0 {
				g.Attrs = g.Attrs.except(name, "")
			}
		}
	case "AutoStartList", "SystemZones":
		at, _ := g.Attrs.Global(attr)
		for _, s := range append(at.Value.List, pairKeys(at.Value)...) {
			if !g.RunsOn(s) {
				return refuse(IDNotInSystemList, "System ", clip(s), " is not in SystemList of group ", g.Name)
			}
		}
	}
	return nil
}

func pairKeys(v Value) []string {
	var out []string
	for _, p := range v.Pairs {
		out = append(out, p.Key)
	}
	return out
}

// only returns the value with those elements and keys that are in the list.
func (v Value) only(list []string) Value {
	out := Value{Kind: v.Kind, Dim: v.Dim}
	for _, s := range v.List {
		if contains(list, s) {
			out.List = append(out.List, s)
		}
	}
	for _, p := range v.Pairs {
		if contains(list, p.Key) {
			out.Pairs = append(out.Pairs, p)
		}
	}
	return out
}

// edited is the value after -modify, typed and checked.
func edited(bi builtin, base Value, e Edit) (Value, *Message) {
	d := bi.AttrDecl
	if bi.assocToo {
		d.Dim = base.Dim
		if e.How == Replace {
			d.Dim = DimScalar
			if len(e.Words) != 1 {
				d.Dim = DimAssoc
			}
		}
		bi.AttrDecl = d
	}
	raw, m := words(d, base, e)
	if m != nil {
		return Value{}, m
	}
	var v Value
	m = quietly(IDValue, func(b *builder) { v, _ = b.builtinValue(bi, rawAttr{name: e.Attr, value: raw}) })
	v.items = nil
	return v, m
}

func text(s string) rawScalar { return rawScalar{kind: tokString, text: s} }

// words is the value that an edit makes of another, before it is typed.
func words(d AttrDecl, base Value, e Edit) (*rawValue, *Message) {
	if d.Dim == DimScalar {
		if e.How != Replace || len(e.Words) != 1 {
			return nil, refuse(IDValue, e.Attr, " takes one value")
		}
		return &rawValue{scalar: text(e.Words[0])}, nil
	}
	out := &rawValue{list: true}
	if e.How == DeleteAll {
		return out, nil
	}
	if len(e.Words) == 0 {
		return nil, refuse(IDValue, e.Attr, " takes a list: at least one word is missing (-delete -keys empties it)")
	}
	if d.Dim == DimAssoc {
		pairs, m := editedPairs(base.Pairs, e)
		for _, p := range pairs {
			value := text(p.Value)
			out.items = append(out.items, rawItem{key: text(p.Key), value: &value})
		}
		return out, m
	}
	list, m := editedList(d.Dim, base.List, e)
	for _, s := range list {
		out.items = append(out.items, rawItem{key: text(s)})
	}
	return out, m
}

func there(e Edit, key string) *Message {
	return refuse(IDKeyThere, "Key ", quote(clip(key)), " is already in ", e.Attr)
}

func missing(e Edit, key string) *Message {
	return refuse(IDKeyMissing, "Key ", quote(clip(key)), " is not in ", e.Attr)
}

func editedList(dim Dim, base []string, e Edit) ([]string, *Message) {
	var out []string
	if e.How != Replace {
		out = append(out, base...)
	}
	for _, w := range e.Words {
		has := contains(out, w)
		switch {
		case e.How == DeleteItems && !has:
			return nil, missing(e, w)
		case e.How == DeleteItems:
			out = without(out, w)
		case e.How == UpdateItems && has:
		case dim == DimKeylist && has:
			return nil, there(e, w)
		default:
			out = append(out, w)
		}
	}
	return out, nil
}

func editedPairs(base []Pair, e Edit) ([]Pair, *Message) {
	var out []Pair
	if e.How != Replace {
		out = append(out, base...)
	}
	at := func(key string) int {
		for i, p := range out {
			if p.Key == key {
				return i
			}
		}
		return -1
	}
	if e.How == DeleteItems {
		for _, w := range e.Words {
			i := at(w)
			if i < 0 {
				return nil, missing(e, w)
			}
			out = append(out[:i:i], out[i+1:]...)
		}
		return out, nil
	}
	if len(e.Words)%2 != 0 {
		return nil, refuse(IDValue, e.Attr, " is an association: it takes keys and values in turn")
	}
	for k := 0; k < len(e.Words); k += 2 {
		key, value := e.Words[k], e.Words[k+1]
		i := at(key)
		switch {
		case e.How == UpdateItems && i < 0:
			return nil, missing(e, key)
		case e.How == UpdateItems:
			out[i].Value = value
		case i >= 0:
			return nil, there(e, key)
		default:
			out = append(out, Pair{key, value})
		}
	}
	return out, nil
}

// scope makes an attribute local or global.
func (d *draft) scope(e Edit) *Message {
	t, m := d.find(e)
	if m != nil {
		return m
	}
	at, global := t.attrs.find(e.Attr, "")
	if t.static && !global && !t.attrs.IsLocal(e.Attr) {
		return refuse(IDAttrUnknown, e.Attr, " is a static attribute of the type: override it first, with hares -override ", e.Name, " ", e.Attr)
	}
	if e.Action == ActLocal {
		*t.attrs = t.attrs.except(e.Attr, "")
		for _, s := range t.systems {
			if _, has := t.attrs.find(e.Attr, s); !has && global {
				*t.attrs = append(*t.attrs, Attr{Name: e.Attr, System: s, Value: at.Value, Static: t.static, Temp: t.temp})
			}
		}
		return nil
	}
	e.How = Replace
	if len(e.Words) == 0 && t.bi.Dim != DimScalar {
		e.How = DeleteAll
	}
	v, m := edited(t.bi, t.bi.Default, e)
	if m != nil {
		return m
	}
	var rest Attrs
	for _, a := range *t.attrs {
		if a.Name != e.Attr {
			rest = append(rest, a)
		}
	}
	*t.attrs = rest
	t.set("", v)
	return nil
}

// override gives a resource its own copy of a static attribute, or takes it
// away.
func (d *draft) override(e Edit) *Message {
	r, m := d.resource(e.Name)
	if m != nil {
		return m
	}
	t, m := d.find(e)
	if m != nil {
		m.ID = IDNotStatic
		return m
	}
	if !t.static {
		return refuse(IDNotStatic, "Attribute ", e.Attr, " of resource ", r.Name, " is not a static attribute")
	}
	var rest Attrs
	for _, a := range r.Attrs {
		if a.Name != e.Attr {
			rest = append(rest, a)
		}
	}
	overridden := len(rest) < len(r.Attrs)
	switch {
	case e.Action == ActOverride && overridden:
		return refuse(IDExists, "Resource ", r.Name, " overrides ", e.Attr, " already")
	case e.Action == ActOverride:
		v := t.bi.Default
		v.items = nil
		r.Attrs = append(r.Attrs, Attr{Name: e.Attr, Value: v, Static: true})
	case !overridden:
		return refuse(IDKeyMissing, "Resource ", r.Name, " does not override ", e.Attr)
	default:
		r.Attrs = rest
	}
	return nil
}

// rename gives the cluster its name.
func (d *draft) rename(e Edit) *Message {
	if e.How != Replace || len(e.Words) != 1 {
		return refuse(IDValue, "ClusterName takes one value")
	}
	if m := d.name("cluster", e.Words[0]); m != nil {
		return m
	}
	if d.cfg.Cluster == nil {
		d.cfg.Cluster = &Cluster{}
	}
	d.cfg.Cluster.Name = e.Words[0]
	return nil
}

// sourceFile moves an object to a file, which is included if it was not.
func (d *draft) sourceFile(e Edit) *Message {
	if e.How != Replace || len(e.Words) != 1 || e.Words[0] == "" || e.System != "" {
		return refuse(IDValue, "SourceFile takes the name of a file")
	}
	var pos *Pos
	switch e.Class {
	case ClassSystem:
		s, m := d.system(e.Name)
		if m != nil {
			return m
		}
		pos = &s.Pos
	case ClassGroup:
		g, m := d.group(IDGroupUnknown, e.Name)
		if m != nil {
			return m
		}
		pos = &g.Pos
	case ClassType:
		t, m := d.typ(e.Name)
		if m != nil {
			return m
		}
		pos = &t.Pos
	case ClassRemote:
		r := d.remote(e.Name)
		if r == nil {
			return refuse(IDOther, "Remote cluster ", clip(e.Name), " does not exist")
		}
		pos = &r.Pos
	case ClassHeartbeat:
		h := d.heartbeat(e.Name)
		if h == nil {
			return refuse(IDOther, "Heartbeat ", clip(e.Name), " does not exist")
		}
		pos = &h.Pos
	default:
		if d.cfg.Cluster == nil {
			d.cfg.Cluster = &Cluster{}
		}
		pos = &d.cfg.Cluster.Pos
	}
	file := path.Clean(e.Words[0])
	if !path.IsAbs(file) {
		file = path.Join(path.Dir(d.cfg.File), file)
	}
	if !d.anyFile && outside(d.cfg.relative(file)) && !d.includes(file) {
		return refuse(IDValue, "SourceFile ", quote(clip(e.Words[0])), " lies outside of the folder of the configuration")
	}
	*pos = Pos{File: file}
	if file == d.cfg.File || d.includes(file) {
		return nil
	}
	d.cfg.Includes = append(d.cfg.Includes, Include{Path: d.cfg.relative(file), File: file})
	return nil
}

// outside says whether a file lies outside of the folder of the main file.
func outside(relative string) bool {
	return path.IsAbs(relative) || relative == ".." || strings.HasPrefix(relative, "../")
}

func (d *draft) includes(file string) bool {
	return named(d.cfg.Includes, func(i Include) bool { return i.File == file })
}

// relative is the name of a file as an include clause of the main file has it.
func (c *Config) relative(file string) string {
	if dir := path.Dir(c.File); dir != "." {
		return strings.TrimPrefix(file, strings.TrimSuffix(dir, "/")+"/")
	}
	return file
}

// source is the value of SourceFile for an object.
func (c *Config) source(pos Pos) string {
	file := pos.File
	if file == "" {
		file = c.File
	}
	if file = c.relative(file); outside(file) {
		return file
	}
	return "./" + file
}
