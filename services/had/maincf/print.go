package maincf

import (
	"sort"
	"strings"
)

// SourceFile is the text of one file of a configuration.
type SourceFile struct {
	Name string
	Text string
}

// Dump returns all files of the configuration in VCS's layout, the main file
// first: each object goes back to the file it came from, objects without a
// position (created while running) to the main file.
//
// Objects are sorted by name (resources by type and name) within their kind,
// attributes as ordered says. Comments of users are not kept; the trees of
// dependencies are written as comments.
func (c *Config) Dump() []SourceFile {
	names := []string{c.File}
	for _, i := range c.Includes {
		names = append(names, i.File)
	}
	out := make([]SourceFile, len(names))
	for i, n := range names {
		out[i] = SourceFile{n, c.Print(n)}
	}
	return out
}

// Print returns the text of one file of the configuration.
func (c *Config) Print(file string) string {
	p := &printer{cfg: c, file: file, typeOf: map[string]*Type{}}
	for _, t := range c.Types {
		p.typeOf[t.Name] = t
	}
	p.includes()
	p.types()
	if c.Cluster != nil && p.here(c.Cluster.Pos) {
		p.object("", "cluster "+formatName(c.Cluster.Name), c.Cluster.Attrs, nil)
	}
	for _, h := range sorted(c.Heartbeats, func(h *Heartbeat) string { return h.Name }) {
		if p.here(h.Pos) {
			p.object("", "heartbeat "+formatName(h.Name), h.Attrs, nil)
		}
	}
	for _, r := range sorted(c.RemoteClusters, func(r *RemoteCluster) string { return r.Name }) {
		if p.here(r.Pos) {
			p.object("", "remotecluster "+formatName(r.Name), r.Attrs, nil)
		}
	}
	for _, s := range sorted(c.Systems, func(s *System) string { return s.Name }) {
		if p.here(s.Pos) {
			p.object("", "system "+formatName(s.Name), s.Attrs, nil)
		}
	}
	for _, g := range sorted(c.Groups, func(g *Group) string { return g.Name }) {
		if p.here(g.Pos) {
			p.group(g)
		}
	}
	return p.b.String()
}

type printer struct {
	cfg    *Config
	file   string
	typeOf map[string]*Type
	b      strings.Builder
}

// here says whether an object belongs to the file being printed.
func (p *printer) here(pos Pos) bool {
	if pos.File == "" {
		return p.file == p.cfg.File
	}
	return pos.File == p.file
}

func (p *printer) line(parts ...string) {
	for _, s := range parts {
		p.b.WriteString(s)
	}
	p.b.WriteByte('\n')
}

// gap separates objects by a blank line.
func (p *printer) gap() {
	if p.b.Len() > 0 {
		p.b.WriteByte('\n')
	}
}

func (p *printer) includes() {
	for _, i := range p.cfg.Includes {
		if p.here(i.Pos) {
			p.line("include ", quote(i.Path))
		}
	}
}

func (p *printer) types() {
	for _, t := range sorted(p.cfg.Types, func(t *Type) string { return t.Name }) {
		if !p.here(t.Pos) {
			continue
		}
		p.gap()
		p.line("type ", formatName(t.Name), " (")
		for _, d := range t.Attrs {
			p.decl(d)
		}
		p.line(")")
	}
}

func (p *printer) decl(d AttrDecl) {
	p.b.WriteByte('\t')
	switch {
	case d.Static:
		p.b.WriteString("static ")
	case d.Temp:
		p.b.WriteString("temp ")
	}
	text := declText(d)
	if d.I18n {
		text = "i18n" + text
	}
	p.b.WriteString(text)
	if d.HasDefault {
		p.b.WriteString(" = " + formatValue(d.Default))
	}
	p.b.WriteByte('\n')
}

// object prints a clause with a block of attributes.
func (p *printer) object(indent, head string, attrs Attrs, t *Type) {
	p.gap()
	p.line(indent, head, " (")
	for _, a := range ordered(attrs, t) {
		if a.Temp {
			continue
		}
		at := ""
		if a.System != "" {
			at = " @" + formatName(a.System)
		}
		p.line(indent, "\t", a.Name, at, " = ", formatValue(a.Value))
	}
	p.line(indent, "\t)")
}

func (p *printer) group(g *Group) {
	p.object("", "group "+formatName(g.Name), g.Attrs, nil)
	for _, r := range sortedResources(g) {
		p.object("\t", formatName(r.Type)+" "+formatName(r.Name), r.Attrs, p.typeOf[r.Type])
	}
	if len(g.Requires)+len(g.Dependencies) > 0 {
		p.gap()
	}
	for _, d := range sorted(g.Requires, func(d GroupDependency) string { return d.Child }) {
		words := []string{"requires group", formatName(d.Child), d.Category, d.Location}
		if d.Rigidity != "" {
			words = append(words, d.Rigidity)
		}
		p.line("\t", strings.Join(words, " "))
	}
	for _, d := range sorted(g.Dependencies, dependencyKey) {
		p.line("\t", dependencyText(d))
	}
	if v, _ := p.cfg.GroupAttr(g, "PrintTree", ""); v.Bool() {
		p.tree(g)
	}
}

func dependencyKey(d Dependency) string { return d.Parent + "\x00" + strings.Join(d.Children, "\x00") }

func dependencyText(d Dependency) string {
	children := make([]string, len(d.Children))
	for i, c := range d.Children {
		children[i] = formatName(c)
	}
	text := formatName(d.Parent) + " requires "
	if d.AtLeast > 0 {
		text += "atleast " + IntValue(d.AtLeast).Text + " from "
	}
	return text + strings.Join(children, ", ")
}

// maxTreeLines bounds the tree: a child is shown under each of its parents,
// which multiplies where parents share children.
const maxTreeLines = 2000

func (p *printer) tree(g *Group) {
	t := &tree{p: p, children: map[string][]*Resource{}}
	byName, isChild := map[string]*Resource{}, map[string]bool{}
	for _, r := range g.Resources {
		byName[r.Name] = r
	}
	for _, d := range sorted(g.Dependencies, dependencyKey) {
		for _, c := range d.Children {
			isChild[c] = true
			if r := byName[c]; r != nil {
				t.children[d.Parent] = append(t.children[d.Parent], r)
			}
		}
	}
	p.line()
	p.line()
	p.line("\t// resource dependency tree")
	p.line("\t//")
	p.line("\t//\tgroup ", g.Name)
	p.line("\t//\t{")
	for _, r := range sortedResources(g) {
		if !isChild[r.Name] {
			t.node(r, "")
		}
	}
	if t.lines > maxTreeLines {
		p.line("\t//\t(and so on: the tree is too long to show)")
	}
	p.line("\t//\t}")
}

type tree struct {
	p        *printer
	children map[string][]*Resource
	lines    int
}

func (t *tree) node(r *Resource, indent string) {
	t.lines++
	if t.lines > maxTreeLines {
		return
	}
	t.p.line("\t//\t", indent, r.Type, " ", r.Name)
	if len(t.children[r.Name]) == 0 {
		return
	}
	t.p.line("\t//\t", indent, "    {")
	for _, c := range t.children[r.Name] {
		t.node(c, indent+"    ")
	}
	t.p.line("\t//\t", indent, "    }")
}

func sortedResources(g *Group) []*Resource {
	return sorted(g.Resources, func(r *Resource) string { return r.Type + "\x00" + r.Name })
}

// sorted returns a copy ordered by key; equal keys keep their order.
func sorted[T any](list []T, key func(T) string) []T {
	out := append([]T(nil), list...)
	sort.SliceStable(out, func(i, j int) bool { return key(out[i]) < key(out[j]) })
	return out
}

// quote puts a string into double quotes.
func quote(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

// formatName prints a name or key: quoted unless it may stand without.
func formatName(s string) string {
	if isWord(s) {
		return s
	}
	return quote(s)
}

func formatScalar(k Kind, s string) string {
	if k != KindStr {
		return s
	}
	return formatName(s)
}

func formatValue(v Value) string {
	var items []string
	switch v.Dim {
	case DimScalar:
		return formatScalar(v.Kind, v.Text)
	case DimAssoc:
		for _, p := range v.Pairs {
			items = append(items, formatName(p.Key)+" = "+formatScalar(v.Kind, p.Value))
		}
	default:
		for _, s := range v.List {
			items = append(items, formatScalar(v.Kind, s))
		}
	}
	if len(items) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(items, ", ") + " }"
}
