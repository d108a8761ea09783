package maincf

import (
	"fmt"
	"strings"
)

// Diff returns edits that make the configuration to from c: Apply of them to
// c gives the normal form of to, as far as the files of to hold objects.
// Between equal configurations there are none.
func (c *Config) Diff(to *Config) ([]Edit, error) {
	d := &differ{draft: newDraft(c), to: to.Normal()}
	d.anyFile = true
	d.run()
	if d.err != nil {
		return nil, d.err
	}
	return d.edits, nil
}

// Commands returns the configuration as a file of commands (main.cmd), and
// FromCommands reads one.
func (c *Config) Commands() (string, error) {
	edits, err := (&Config{File: c.File}).Diff(c)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, e := range edits {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String(), nil
}

// FromCommands makes a configuration from a file of commands. The error is
// Errors, with the lines of the commands.
func FromCommands(main, file, script string) (*Change, error) {
	edits, lines, err := parseCommands(file, script)
	if err != nil {
		return nil, err
	}
	d := newDraft(&Config{File: main})
	d.anyFile = true
	change, err := d.apply(edits)
	if refused, ok := err.(*Refusal); ok {
		pos := Pos{file, len(strings.Split(script, "\n")), 1}
		if refused.Edit < len(lines) {
			pos.Line = lines[refused.Edit]
			return nil, Errors{{pos, refused.Error()}}
		}
		said := Errors{}
		for _, m := range refused.Mistakes {
			said = append(said, Diagnostic{pos, "after all commands: " + m.Text})
		}
		return nil, said
	}
	return change, err
}

// differ collects edits while it applies them to a draft, so that each stage
// sees what the ones before have done.
type differ struct {
	*draft
	to    *Config
	edits []Edit
	err   error
}

// do makes one edit.
func (d *differ) do(e Edit) {
	if d.err != nil {
		return
	}
	if m := d.step(e); m != nil {
		d.err = fmt.Errorf("%s: %s", e, m)
		return
	}
	d.edits = append(d.edits, e)
}

func (d *differ) run() {
	d.gone()
	d.cluster()
	for _, s := range d.to.Systems {
		if d.systems[s.Name] == nil {
			d.do(Edit{Action: ActAdd, Class: ClassSystem, Name: s.Name})
		}
		if have := d.systems[s.Name]; d.err == nil {
			d.file(ClassSystem, s.Name, s.Pos, have.Pos)
			d.builtin(ClassSystem, s.Name, systemTable, &have.Attrs, s.Attrs, nil)
		}
	}
	d.remotes()
	d.differTypes()
	d.differGroups()
	for _, s := range append([]*System(nil), d.cfg.Systems...) {
		if d.to.System(s.Name) == nil {
			d.do(Edit{Action: ActDelete, Class: ClassSystem, Name: s.Name})
		}
	}
}

// gone takes away links, resources and groups that are not wanted.
func (d *differ) gone() {
	want := newDraft(d.to)
	for _, g := range d.cfg.Groups {
		to := want.groups[g.Name]
		for _, dep := range append([]GroupDependency(nil), g.Requires...) {
			if to == nil || !hasGroupLink(to, dep) {
				d.do(Edit{Action: ActUnlink, Class: ClassGroup, Name: g.Name, Child: dep.Child})
			}
		}
		for _, dep := range append([]Dependency(nil), g.Dependencies...) {
			if to == nil || !hasLink(to, dep) {
				d.do(Edit{Action: ActUnlink, Class: ClassResource, Name: dep.Parent, Children: dep.Children})
			}
		}
		for _, r := range append([]*Resource(nil), g.Resources...) {
			if w := want.resources[r.Name]; w == nil || w.Type != r.Type || w.Group != r.Group {
				d.do(Edit{Action: ActDelete, Class: ClassResource, Name: r.Name})
			}
		}
	}
	for _, g := range append([]*Group(nil), d.cfg.Groups...) {
		if want.groups[g.Name] == nil {
			d.do(Edit{Action: ActDelete, Class: ClassGroup, Name: g.Name})
		}
	}
}

func hasGroupLink(g *Group, dep GroupDependency) bool {
	for _, o := range g.Requires {
		if o.Child == dep.Child && o.Category == dep.Category && o.Location == dep.Location && o.Rigidity == dep.Rigidity {
			return true
		}
	}
	return false
}

func hasLink(g *Group, dep Dependency) bool {
	for _, o := range g.Dependencies {
		if o.AtLeast == dep.AtLeast && dependencyKey(o) == dependencyKey(dep) {
			return true
		}
	}
	return false
}

func (d *differ) cluster() {
	if d.to.Cluster == nil {
		return
	}
	if d.cfg.Cluster == nil || d.cfg.Cluster.Name != d.to.Cluster.Name {
		d.do(Edit{Action: ActModify, Class: ClassCluster, Attr: "ClusterName", Words: []string{d.to.Cluster.Name}})
	}
	if d.err != nil {
		return
	}
	d.file(ClassCluster, "", d.to.Cluster.Pos, d.cfg.Cluster.Pos)
	d.builtin(ClassCluster, "", clusterTable, &d.cfg.Cluster.Attrs, d.to.Cluster.Attrs, nil)
}

// file moves an object to its file.
func (d *differ) file(c Class, name string, to, have Pos) {
	if want := d.to.source(to); want != d.cfg.source(have) {
		d.do(Edit{Action: ActModify, Class: c, Name: name, Attr: "SourceFile", Words: []string{want}})
	}
}

func (d *differ) remotes() {
	for _, h := range append([]*Heartbeat(nil), d.cfg.Heartbeats...) {
		if !named(d.to.Heartbeats, func(o *Heartbeat) bool { return o.Name == h.Name }) {
			d.do(Edit{Action: ActDelete, Class: ClassHeartbeat, Name: h.Name})
		}
	}
	for _, r := range append([]*RemoteCluster(nil), d.cfg.RemoteClusters...) {
		if !named(d.to.RemoteClusters, func(o *RemoteCluster) bool { return o.Name == r.Name }) {
			d.do(Edit{Action: ActDelete, Class: ClassRemote, Name: r.Name})
		}
	}
	var names []string
	for _, r := range d.to.RemoteClusters {
		if d.remote(r.Name) == nil {
			e := Edit{Action: ActAdd, Class: ClassRemote, Name: r.Name}
			if at, ok := r.Attrs.Global("ClusterAddress"); ok {
				e.Words = []string{at.Value.Text}
			}
			d.do(e)
		}
		if d.err != nil {
			return
		}
		have := d.remote(r.Name)
		d.file(ClassRemote, r.Name, r.Pos, have.Pos)
		d.builtin(ClassRemote, r.Name, remoteTable, &have.Attrs, r.Attrs, nil)
		names = append(names, r.Name)
	}
	for _, h := range d.to.Heartbeats {
		if d.heartbeat(h.Name) == nil {
			d.do(Edit{Action: ActAdd, Class: ClassHeartbeat, Name: h.Name})
		}
		if d.err != nil {
			return
		}
		have := d.heartbeat(h.Name)
		d.file(ClassHeartbeat, h.Name, h.Pos, have.Pos)
		d.builtin(ClassHeartbeat, h.Name, heartbeatTable, &have.Attrs, h.Attrs, names)
	}
}

func named[T any](list []T, is func(T) bool) bool {
	for _, x := range list {
		if is(x) {
			return true
		}
	}
	return false
}

func (d *differ) differTypes() {
	for _, t := range append([]*Type(nil), d.cfg.Types...) {
		if d.to.Type(t.Name) == nil {
			d.do(Edit{Action: ActDelete, Class: ClassType, Name: t.Name})
		}
	}
	for _, t := range d.to.Types {
		if d.types[t.Name] == nil {
			d.do(Edit{Action: ActAdd, Class: ClassType, Name: t.Name})
		}
		if d.err != nil {
			return
		}
		have := d.types[t.Name]
		d.file(ClassType, t.Name, t.Pos, have.Pos)
		keep := 0
		for keep < len(have.Attrs) && keep < len(t.Attrs) && sameDecl(have.Attrs[keep], t.Attrs[keep]) {
			keep++
		}
		for i := len(have.Attrs) - 1; i >= keep; i-- {
			a := have.Attrs[i]
			d.do(Edit{Action: ActDeleteAttr, Class: ClassType, Name: t.Name, Attr: a.Name, Static: a.Static, Temp: a.Temp})
		}
		for i, a := range t.Attrs {
			if i < keep && have.Attrs[i].HasDefault == a.HasDefault && have.Attrs[i].Default.Equal(a.Default) {
				continue
			}
			d.declareAs(t.Name, a, i < keep)
		}
	}
}

// sameDecl says whether one declaration becomes the other by a default.
func sameDecl(a, b AttrDecl) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Dim == b.Dim && a.Static == b.Static && a.Temp == b.Temp && a.I18n == b.I18n &&
		(b.HasDefault || !a.HasDefault)
}

func (d *differ) declareAs(typ string, a AttrDecl, declared bool) {
	known, isKnown := staticTable.find(a.Name)
	implied := isKnown && a.Static && a.HasDefault && !a.I18n && known.Kind == a.Kind && known.Dim == a.Dim
	if !declared && !implied {
		d.do(Edit{Action: ActAddAttr, Class: ClassType, Name: typ, Attr: a.Name, Static: a.Static, Temp: a.Temp, I18n: a.I18n, Kind: a.Kind, Dim: a.Dim})
	}
	if !a.HasDefault {
		return
	}
	e := Edit{Action: ActDefault, Class: ClassType, Name: typ, Attr: a.Name, Words: a.Default.Words()}
	if a.Static {
		e.Action = ActModify
		if a.Dim != DimScalar && len(e.Words) == 0 {
			e.How = DeleteAll
		}
	}
	d.do(e)
}

func (d *differ) differGroups() {
	types := map[string]*Type{}
	for _, t := range d.to.Types {
		types[t.Name] = t
	}
	for _, g := range d.to.Groups {
		if d.groups[g.Name] == nil {
			d.do(Edit{Action: ActAdd, Class: ClassGroup, Name: g.Name})
		}
		if d.err != nil {
			return
		}
		have := d.groups[g.Name]
		d.file(ClassGroup, g.Name, g.Pos, have.Pos)
		d.builtin(ClassGroup, g.Name, groupTable, &have.Attrs, g.Attrs, g.systems())
		for _, r := range g.Resources {
			if d.resources[r.Name] == nil {
				d.do(Edit{Action: ActAdd, Class: ClassResource, Name: r.Name, Type: r.Type, Group: g.Name})
			}
			if d.err != nil {
				return
			}
			d.resourceAttrs(d.resources[r.Name], r, types[r.Type], g.systems())
		}
		for _, dep := range g.Dependencies {
			if !hasLink(have, dep) {
				d.do(Edit{Action: ActLink, Class: ClassResource, Name: dep.Parent, Children: dep.Children, AtLeast: dep.AtLeast})
			}
		}
	}
	for _, g := range d.to.Groups {
		for _, dep := range g.Requires {
			if d.err == nil && !hasGroupLink(d.groups[g.Name], dep) {
				d.do(Edit{Action: ActLink, Class: ClassGroup, Name: g.Name, Child: dep.Child, Category: dep.Category,
					Location: dep.Location, Rigidity: dep.Rigidity})
			}
		}
	}
}

// attrNames are the names in either list: in the order of a dump.
func attrNames(t *Type, lists ...Attrs) []string {
	var all Attrs
	seen := map[string]bool{}
	var out []string
	for _, l := range lists {
		all = append(all, l...)
	}
	for _, a := range ordered(all, t) {
		if !seen[a.Name] {
			seen[a.Name] = true
			out = append(out, a.Name)
		}
	}
	return out
}

func (d *differ) builtin(c Class, name string, t builtins, have *Attrs, want Attrs, systems []string) {
	for _, attr := range attrNames(nil, *have, want) {
		bi, _ := t.find(attr)
		d.attr(Edit{Class: c, Name: name, Attr: attr}, have, want, bi.Default, func(a Attrs) Attrs { return normalBuiltin(a, t, systems) })
	}
}

func (d *differ) resourceAttrs(have *Resource, want *Resource, t *Type, systems []string) {
	normal := func(a Attrs) Attrs { return normalResource(a, t, systems) }
	for _, name := range attrNames(t, have.Attrs, want.Attrs) {
		def, _ := d.to.ResourceAttr(&Resource{Type: want.Type}, name, "")
		e := Edit{Class: ClassResource, Name: want.Name, Attr: name}
		static, temp := false, false
		for _, a := range append(have.Attrs.named(name), want.Attrs.named(name)...) {
			static, temp = static || a.Static, temp || a.Temp
		}
		if temp {
			continue // no file says anything about it
		}
		if static {
			d.overridden(e, have, want, def, normal)
			continue
		}
		d.attr(e, &have.Attrs, want.Attrs, def, normal)
	}
}

// named returns the values of one attribute.
func (a Attrs) named(name string) Attrs {
	var out Attrs
	for _, at := range a {
		if at.Name == name {
			out = append(out, at)
		}
	}
	return out
}

func sameAttrs(a, b Attrs) bool {
	if len(a) != len(b) {
		return false
	}
	for _, at := range a {
		if o, ok := b.find(at.Name, at.System); !ok || !o.Value.Equal(at.Value) {
			return false
		}
	}
	return true
}

// overridden makes a static attribute of a resource what is wanted.
func (d *differ) overridden(e Edit, have, want *Resource, def Value, normal func(Attrs) Attrs) {
	wanted := want.Attrs.named(e.Attr)
	has := have.Attrs.named(e.Attr)
	if sameAttrs(normal(has), wanted) {
		return
	}
	if len(has) > 0 && (len(wanted) == 0 || wanted.IsLocal(e.Attr) || has.IsLocal(e.Attr)) {
		u := e
		u.Action = ActUndoOverride
		d.do(u)
		has = nil
	}
	if len(wanted) == 0 {
		return
	}
	if len(has) == 0 {
		o := e
		o.Action = ActOverride
		d.do(o)
	}
	d.attr(e, &have.Attrs, want.Attrs, def, normal)
}

// attr makes one attribute what is wanted, in normal form.
func (d *differ) attr(e Edit, have *Attrs, want Attrs, def Value, normal func(Attrs) Attrs) {
	wanted := want.named(e.Attr)
	if d.err != nil || sameAttrs(normal(have.named(e.Attr)), wanted) {
		return
	}
	if !wanted.IsLocal(e.Attr) {
		v := def
		if at, ok := wanted.Global(e.Attr); ok {
			v = at.Value
		}
		if have.IsLocal(e.Attr) {
			e.Action, e.Words = ActGlobal, v.Words()
			d.do(e)
			return
		}
		d.do(e.to("", v))
		return
	}
	if _, global := have.find(e.Attr, ""); global {
		l := e
		l.Action = ActLocal
		d.do(l)
	}
	systems := map[string]bool{}
	for _, at := range append(have.named(e.Attr), wanted...) {
		systems[at.System] = true
	}
	for _, s := range keys(systems) {
		want, wants := wanted.find(e.Attr, s)
		at, has := have.find(e.Attr, s)
		switch {
		case !wants:
			d.do(e.to(s, def))
		case !has || !at.Value.Equal(want.Value):
			d.do(e.to(s, want.Value))
		}
	}
}

// to is the edit that sets a value.
func (e Edit) to(system string, v Value) Edit {
	e.Action, e.System, e.Words = ActModify, system, v.Words()
	if v.Dim != DimScalar && len(e.Words) == 0 {
		e.How = DeleteAll
	}
	return e
}
