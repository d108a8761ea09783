package maincf

import (
	"fmt"
	"strconv"
	"strings"
)

// builder turns the tree into the typed model. Every mistake is reported; an
// object with one is still built as far as it goes, so that what follows from
// it is not reported as well.
type builder struct {
	raw    *rawFile
	cfg    *Config
	report func(Pos, string)
	warn   func(Pos, string)

	systems     map[string]*System
	systemNames []string
	groups      map[string]*Group
	groupNames  []string
	resources   map[string]*Resource
	types       map[string]*Type
	typeNames   []string
	owners      map[string]string  // the group that declares each resource
	links       map[[2]string]bool // parent and child of each dependency
	noTypes     bool               // said once that no types are declared
	full        func() bool        // enough mistakes: spend no time on hints
}

func (b *builder) failf(p Pos, format string, args ...any) { b.report(p, fmt.Sprintf(format, args...)) }

// hint is the end of a message that suggests the right spelling, or nothing.
func (b *builder) hint(name string, candidates []string) string {
	if b.full() {
		return ""
	}
	return didYouMean(name, candidates)
}

func (b *builder) warnf(p Pos, format string, args ...any) { b.warn(p, fmt.Sprintf(format, args...)) }

func (b *builder) build() {
	b.systems, b.groups = map[string]*System{}, map[string]*Group{}
	b.resources, b.types = map[string]*Resource{}, map[string]*Type{}
	b.owners, b.links = map[string]string{}, map[[2]string]bool{}
	for _, g := range b.raw.groups {
		for _, r := range g.resources {
			b.owners[r.name.text] = g.name.text
		}
	}
	b.cfg.Includes = b.raw.includes
	for _, t := range b.raw.types {
		b.buildType(t)
	}
	b.buildCluster()
	for _, s := range b.raw.systems {
		b.buildSystem(s)
	}
	b.buildRemotes()
	for _, g := range b.raw.groups {
		b.buildGroup(g)
	}
}

// reserved are the words that cannot name an object.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`action after ArgListValues before boolean cluster Cluster condition
		ConfidenceLevel event false firm float global group Group hard heartbeat HostMonitor i18nstr import int
		IState keylist local MonitorOnly Name NameRule offline online Path Probed remote remotecluster requires
		resource set Signaled site soft start Start state State static stop str system System temp type Type`) {
		m[w] = true
	}
	return m
}()

// checkName reports a name that no object of that class may have.
func (b *builder) checkName(class string, n rawName) {
	switch {
	case reserved[n.text]:
		b.failf(n.pos, "%s is a reserved word and cannot name a %s", n.text, class)
	case isWord(n.text):
	case class == "cluster" || class == "type":
		b.failf(n.pos, "%s cannot name a %s: a name starts with a letter and holds letters, digits, - and _", quote(clip(n.text)), class)
	default:
		for i := 0; i < len(n.text); i++ {
			c := n.text[i]
			if !isLetter(c) && !isDigit(c) && c != '-' && c != '_' && (c != '.' || class != "system") {
				b.failf(n.pos, "%s cannot name a %s: a name holds letters, digits, - and _", quote(clip(n.text)), class)
				return
			}
		}
		if n.text == "" {
			b.failf(n.pos, "the name of a %s cannot be empty", class)
		}
	}
}

func (b *builder) buildCluster() {
	for i, o := range b.raw.clusters {
		if i > 0 {
			b.failf(o.keyword.pos, "a second cluster clause (the first is at %s): a configuration has one", b.raw.clusters[0].keyword.pos)
			continue
		}
		b.checkName("cluster", o.name)
		b.cfg.Cluster = &Cluster{Name: o.name.text, Pos: o.keyword.pos}
		b.cfg.Cluster.Attrs = b.attrs("cluster", classCluster, o.attrs)
	}
	if len(b.raw.clusters) == 0 && !b.raw.unread {
		b.failf(Pos{b.cfg.File, 1, 1}, "no cluster clause: a configuration needs one, as in cluster demo ( )")
	}
}

func (b *builder) buildSystem(o *rawObject) {
	if first := b.systems[o.name.text]; first != nil {
		b.failf(o.name.pos, "system %s is declared twice (first at %s)", clip(o.name.text), first.Pos)
		return
	}
	b.checkName("system", o.name)
	s := &System{Name: o.name.text, Pos: o.keyword.pos}
	s.Attrs = b.attrs("system", classSystem, o.attrs)
	b.systems[s.Name] = s
	b.systemNames = append(b.systemNames, s.Name)
	b.cfg.Systems = append(b.cfg.Systems, s)
}

func (b *builder) buildRemotes() {
	names := map[string]Pos{}
	for _, o := range b.raw.remotes {
		b.unique("remotecluster", o, names)
		r := &RemoteCluster{Name: o.name.text, Pos: o.keyword.pos}
		r.Attrs = b.attrs("remotecluster", classRemote, o.attrs)
		b.cfg.RemoteClusters = append(b.cfg.RemoteClusters, r)
	}
	names = map[string]Pos{}
	for _, o := range b.raw.beats {
		b.unique("heartbeat", o, names)
		h := &Heartbeat{Name: o.name.text, Pos: o.keyword.pos}
		h.Attrs = b.attrs("heartbeat", classHeartbeat, o.attrs)
		b.cfg.Heartbeats = append(b.cfg.Heartbeats, h)
	}
}

func (b *builder) unique(class string, o *rawObject, seen map[string]Pos) {
	if first, dup := seen[o.name.text]; dup {
		b.failf(o.name.pos, "%s %s is declared twice (first at %s)", class, clip(o.name.text), first)
	}
	seen[o.name.text] = o.keyword.pos
	b.checkName(class, o.name)
}

func (b *builder) buildGroup(o *rawGroup) {
	g := &Group{Name: o.name.text, Pos: o.keyword.pos}
	if first := b.groups[g.Name]; first != nil {
		b.failf(o.name.pos, "group %s is declared twice (first at %s)", clip(g.Name), first.Pos)
	} else {
		b.checkName("group", o.name)
		b.groups[g.Name] = g
		b.groupNames = append(b.groupNames, g.Name)
	}
	b.cfg.Groups = append(b.cfg.Groups, g)
	g.Attrs = b.attrs("group", classGroup, o.attrs)
	// Room for what there is: what append leaves over weighs in a large file.
	if len(o.resources) > 0 {
		g.Resources = make([]*Resource, 0, len(o.resources))
	}
	for _, r := range o.resources {
		b.buildResource(g, r)
	}
	if len(o.deps) > 0 {
		g.Dependencies = make([]Dependency, 0, len(o.deps))
	}
	for _, d := range o.deps {
		b.buildDependency(g, d)
	}
	for _, d := range o.requires {
		b.buildGroupDependency(g, d)
	}
}

func (b *builder) buildResource(g *Group, o *rawObject) {
	r := &Resource{Name: o.name.text, Type: o.keyword.text, Group: g.Name, Pos: o.keyword.pos}
	if first := b.resources[r.Name]; first != nil {
		b.failf(o.name.pos, "resource %s is declared twice (first in group %s at %s): names of resources are unique in the whole cluster",
			clip(r.Name), clip(first.Group), first.Pos)
	} else {
		b.checkName("resource", o.name)
		b.resources[r.Name] = r
	}
	g.Resources = append(g.Resources, r)
	t := b.types[r.Type]
	if t == nil {
		b.unknownType(o)
		return
	}
	r.Attrs = b.resourceAttrs(t, o.attrs)
}

func (b *builder) unknownType(o *rawObject) {
	switch {
	case b.raw.missing || b.noTypes:
	case len(b.typeNames) == 0:
		b.noTypes = true
		b.failf(o.keyword.pos, `unknown type %s: no types are declared; is include "types.cf" missing?`, clip(o.keyword.text))
	default:
		hint := b.hint(o.keyword.text, b.typeNames)
		if hint == "" {
			if n := nearest(o.keyword.text, []string{"cluster", "system", "group"}); n != "" {
				hint = "; did you mean the keyword " + n + "?"
			}
		}
		b.failf(o.keyword.pos, "unknown type %s%s", clip(o.keyword.text), hint)
	}
}

// attrs types the attributes of an object that has built-in attributes only.
func (b *builder) attrs(what string, c class, raws []rawAttr) Attrs {
	var out Attrs
	t := table(c)
	for _, ra := range raws {
		bi, ok := t.find(ra.name)
		if !ok {
			b.failf(ra.pos, "unknown %s attribute %s%s", what, clip(ra.name), b.hint(ra.name, t.settable()))
			continue
		}
		if bi.engine {
			b.engineAttr(bi, ra)
			continue
		}
		if ra.system != "" && !bi.local {
			b.failf(ra.systemPos, "%s attribute %s cannot be local to %s: it has one value", what, ra.name, clip(ra.system))
			continue
		}
		if c != classHeartbeat && !b.knownSystem(ra) {
			continue
		}
		if v, ok := b.builtinValue(bi, ra); ok {
			out = b.addAttr(out, Attr{Name: ra.name, System: ra.system, Value: v, Pos: ra.pos})
		}
	}
	return out
}

func (b *builder) engineAttr(bi builtin, ra rawAttr) {
	if bi.stray {
		b.warnf(ra.pos, "%s is kept by the engine; the value in the file is ignored", ra.name)
		return
	}
	b.failf(ra.pos, "%s is kept by the engine and cannot be set in a file: remove the line", ra.name)
}

// knownSystem checks the system after @.
func (b *builder) knownSystem(ra rawAttr) bool {
	if ra.system == "" || b.systems[ra.system] != nil {
		return true
	}
	b.failf(ra.systemPos, "%s @%s: no system of that name is declared%s", clip(ra.name), clip(ra.system),
		b.hint(ra.system, b.systemNames))
	return false
}

func (b *builder) addAttr(as Attrs, a Attr) Attrs {
	if first, dup := as.find(a.Name, a.System); dup {
		where := ""
		if a.System != "" {
			where = " for system " + clip(a.System)
		}
		b.failf(a.Pos, "attribute %s is set twice%s (first at %s)", a.Name, where, first.Pos)
		return as
	}
	return append(as, a)
}

// resourceAttrs types the attributes of a resource.
func (b *builder) resourceAttrs(t *Type, raws []rawAttr) Attrs {
	var out Attrs
	for _, ra := range raws {
		if !b.knownSystem(ra) {
			continue
		}
		bi, ok := b.resourceDecl(t, ra)
		if !ok {
			continue
		}
		if v, ok := b.builtinValue(bi, ra); ok {
			out = b.addAttr(out, Attr{Name: ra.name, System: ra.system, Value: v, Static: bi.Static, Pos: ra.pos})
		}
	}
	return out
}

// resourceDecl finds what an attribute of a resource is.
func (b *builder) resourceDecl(t *Type, ra rawAttr) (builtin, bool) {
	static, isStatic := staticTable.find(ra.name)
	if d, ok := t.Decl(ra.name); ok {
		switch {
		case d.Temp:
			b.failf(ra.pos, "%s of type %s is a temp attribute: it lives in memory only and cannot be set in a file", ra.name, t.Name)
			return builtin{}, false
		case !d.Static:
			return builtin{AttrDecl: d}, true
		case !isStatic:
			return builtin{AttrDecl: d, override: true}, true
		}
	}
	if isStatic {
		if !static.override {
			b.failf(ra.pos, "static attribute %s belongs to type %s and cannot be overridden by a resource", ra.name, t.Name)
			return builtin{}, false
		}
		static.Static = true
		return static, true
	}
	if bi, ok := resourceTable.find(ra.name); ok {
		if bi.engine {
			b.engineAttr(bi, ra)
		}
		return bi, !bi.engine
	}
	b.failf(ra.pos, "unknown attribute %s of type %s%s", clip(ra.name), t.Name, b.hint(ra.name, resourceNames(t)))
	return builtin{}, false
}

// resourceNames are the attributes a resource of the type may set.
func resourceNames(t *Type) []string {
	out := resourceTable.settable()
	for _, d := range t.Attrs {
		if !d.Temp && !d.Static {
			out = append(out, d.Name)
		}
	}
	for _, s := range staticTable.list {
		if s.override {
			out = append(out, s.Name)
		}
	}
	return out
}

// builtinValue types a value and holds it to the words and range that the
// attribute allows.
func (b *builder) builtinValue(bi builtin, ra rawAttr) (Value, bool) {
	d := bi.AttrDecl
	if bi.assocToo && ra.value != nil && ra.value.list {
		d.Dim = DimAssoc
	}
	v, ok := b.value(d, ra.value, ra.pos)
	if !ok {
		return v, false
	}
	pos := ra.pos
	if ra.value != nil {
		pos = ra.value.pos
	}
	if v.Dim == DimScalar && len(bi.enum) > 0 && !contains(bi.enum, v.Text) {
		b.failf(pos, "%s cannot be %s: it takes %s%s", ra.name, quote(clip(v.Text)), oneOf(bi.enum), b.hint(v.Text, bi.enum))
		return v, false
	}
	if v.Dim == DimScalar && bi.bounded && (v.Int() < bi.min || v.Int() > bi.max) && !(bi.orNone && v.Int() == 0) {
		b.failf(pos, "%s cannot be %s: %s", ra.name, v.Text, bi.rangeText())
		return v, false
	}
	return v, true
}

func (b builtin) rangeText() string {
	if b.max == 1<<31-1 {
		least := "it must be at least "
		if b.orNone {
			least = "it must be 0, or at least "
		}
		return least + strconv.Itoa(b.min)
	}
	return "it must be from " + strconv.Itoa(b.min) + " to " + strconv.Itoa(b.max)
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func oneOf(words []string) string {
	var shown []string
	for _, w := range words {
		if w != "" {
			shown = append(shown, w)
		}
	}
	return strings.Join(shown, ", ")
}

// value types what was written for an attribute; nil is the name alone,
// which stands for the empty value.
func (b *builder) value(d AttrDecl, raw *rawValue, pos Pos) (Value, bool) {
	if raw == nil {
		return ZeroValue(d.Kind, d.Dim), true
	}
	if d.Dim == DimScalar {
		if raw.list {
			b.failf(raw.pos, "%s takes one value, not a list", d.Name)
			return Value{}, false
		}
		text, ok := b.scalar(d, raw.scalar)
		return Value{Kind: d.Kind, Text: text}, ok
	}
	if !raw.list {
		b.failf(raw.pos, "%s takes a list in { }, as in %s = { %s }", d.Name, d.Name, formatScalar(KindStr, clip(raw.scalar.text)))
		return Value{}, false
	}
	if d.Dim == DimAssoc {
		return b.assoc(d, raw)
	}
	return b.elements(d, raw)
}

// elements types a vector or keylist.
func (b *builder) elements(d AttrDecl, raw *rawValue) (Value, bool) {
	v, good := Value{Kind: d.Kind, Dim: d.Dim}, true
	seen := map[string]bool{}
	for _, it := range raw.items {
		if it.value != nil {
			b.failf(it.value.pos, "%s is a %s: its elements are names without = value", d.Name, d.Dim)
			good = false
			continue
		}
		text, ok := b.scalar(d, it.key)
		if d.Dim == DimKeylist && seen[text] {
			b.failf(it.key.pos, "%s stands twice in %s", formatScalar(KindStr, clip(text)), d.Name)
			ok = false
		}
		seen[text] = true
		good = good && ok
		v.List = append(v.List, text)
		v.items = append(v.items, it.key.pos)
	}
	return v, good
}

// assoc types an association. Keys without a value get 0 or ""; in a list of
// systems (SystemList) or clusters the priority before it plus one, from 0.
func (b *builder) assoc(d AttrDecl, raw *rawValue) (Value, bool) {
	v, good := Value{Kind: d.Kind, Dim: d.Dim}, true
	counting := d.Name == "SystemList" || d.Name == "ClusterList"
	seen := map[string]bool{}
	next := 0
	for _, it := range raw.items {
		if seen[it.key.text] {
			b.failf(it.key.pos, "%s stands twice in %s", formatScalar(KindStr, clip(it.key.text)), d.Name)
			good = false
			continue
		}
		seen[it.key.text] = true
		text, ok := zeroText(d.Kind), true
		switch {
		case it.value != nil:
			text, ok = b.scalar(d, *it.value)
		case counting:
			text = strconv.Itoa(next)
		}
		if counting && ok {
			next = StrValue(text).Int() + 1
			if next <= 0 || next > 1<<31-1 {
				b.failf(it.key.pos, "priority %s of %s in %s must be from 0 to 2147483646", text, clip(it.key.text), d.Name)
				ok = false
			}
		}
		good = good && ok
		v.Pairs = append(v.Pairs, Pair{it.key.text, text})
		v.items = append(v.items, it.key.pos)
	}
	return v, good
}

// scalar types one word; the result is canonical text.
func (b *builder) scalar(d AttrDecl, s rawScalar) (string, bool) {
	shown := clip(s.text)
	if s.kind == tokString || shown == "" {
		shown = quote(shown)
	}
	switch d.Kind {
	case KindInt:
		i, err := strconv.ParseInt(s.text, 10, 32)
		if err != nil && isNumber(s.text) {
			b.failf(s.pos, "%s of %s does not fit into 32 bits (-2147483648 to 2147483647)", shown, d.Name)
			return "", false
		}
		if err != nil || !isNumber(s.text) {
			b.failf(s.pos, "%s takes an integer, not %s", d.Name, shown)
			return "", false
		}
		return strconv.FormatInt(i, 10), true
	case KindBool:
		switch s.text {
		case "0", "false":
			return "0", true
		case "1", "true":
			return "1", true
		}
		b.failf(s.pos, "%s takes 0 or 1, not %s", d.Name, shown)
		return "", false
	case KindFloat:
		if !isNumber(s.text) && !isFloat(s.text) {
			b.failf(s.pos, "%s takes a number, not %s", d.Name, shown)
			return "", false
		}
		return s.text, true
	default:
		if s.kind == tokFloat {
			b.failf(s.pos, "%s needs double quotes in %s: write %s", shown, d.Name, quote(s.text))
			return "", false
		}
		return s.text, true
	}
}
