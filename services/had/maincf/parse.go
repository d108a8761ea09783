package maincf

import "fmt"

// topKeywords begin a clause of a file.
var topKeywords = []string{"include", "cluster", "remotecluster", "heartbeat", "system", "group", "type"}

func isTopKeyword(s string) bool {
	for _, k := range topKeywords {
		if k == s {
			return true
		}
	}
	return false
}

// parser reads the clauses of one file into the tree. After a mistake it
// goes on at the next place that makes sense, so that one run finds all.
type parser struct {
	file   string
	tokens []token
	at     int
	group  *rawGroup // the group that resources belong to, if any
	out    *rawFile
	report func(Pos, string)
	// failures counts the mistakes reported by the parser itself.
	failures int
	// include reads another file at this place.
	include func(text string, pos Pos)
}

func (p *parser) tok() token { return p.tokens[p.at] }

func (p *parser) ahead(n int) token {
	if p.at+n >= len(p.tokens) {
		return p.tokens[len(p.tokens)-1]
	}
	return p.tokens[p.at+n]
}

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != tokEOF {
		p.at++
	}
	return t
}

func (p *parser) posOf(t token) Pos { return Pos{p.file, t.line, t.col} }

func (p *parser) fail(t token, format string, args ...any) {
	p.failures++
	p.report(p.posOf(t), fmt.Sprintf(format, args...))
}

func (p *parser) nameOf(t token) rawName { return rawName{t.text, p.posOf(t)} }

// newLine says whether token i places ahead begins a line.
func (p *parser) newLine(n int) bool {
	i := p.at + n
	return i == 0 || i >= len(p.tokens) || p.tokens[i].line > p.tokens[i-1].line
}

// parseFile reads all clauses.
func (p *parser) parseFile() {
	for p.tok().kind != tokEOF {
		before := p.at
		p.clause()
		if p.at == before { // a mistake consumed nothing: never stand still
			p.next()
		}
	}
}

func (p *parser) clause() {
	t := p.tok()
	if t.kind == tokWord && isTopKeyword(t.text) && !p.ahead(1).word("requires") {
		p.topClause(t)
		return
	}
	switch {
	case t.word("requires"):
		p.groupRequires()
	case !t.name():
		p.fail(t, "unexpected %s: a clause begins with a keyword or, in a group, the name of a type or resource", t)
		p.skipLine()
	case p.ahead(1).word("requires"):
		p.requires()
	case p.ahead(1).name() && p.ahead(2).is("("):
		p.resource()
	case p.ahead(1).name() && nearest(p.ahead(1).text, []string{"requires"}) != "" && p.ahead(2).name():
		p.fail(p.ahead(1), "unknown keyword %s; did you mean requires?", p.ahead(1))
		p.skipLine()
	default:
		p.unknownClause(t)
	}
}

func (p *parser) unknownClause(t token) {
	words := append([]string{"requires"}, topKeywords...)
	switch {
	case t.kind == tokWord && nearest(t.text, words) != "":
		p.fail(t, "unknown keyword %s%s", t, didYouMean(t.text, words))
		p.skipClause()
	case p.group != nil && p.ahead(1).name():
		p.fail(p.ahead(1), "expected ( after %s %s, found %s", t, p.ahead(1), p.ahead(2))
		p.group.resources = append(p.group.resources, &rawObject{keyword: p.nameOf(t), name: p.nameOf(p.ahead(1))})
		p.skipLine()
	case p.ahead(1).is("=") || p.ahead(1).is("@"):
		p.fail(t, "attribute %s stands outside of a block: is a ) too early, or a ( missing?", t)
		p.skipLine()
	default:
		p.fail(t, "unknown keyword %s: expected include, cluster, system, group, type, or a resource or requires clause of a group", t)
		p.skipClause()
	}
}

func (p *parser) topClause(t token) {
	p.group = nilUnlessGroup(t, p.group)
	p.next()
	switch t.text {
	case "include":
		p.includeClause(t)
	case "cluster":
		p.object(t, &p.out.clusters, true)
	case "remotecluster":
		p.object(t, &p.out.remotes, true)
	case "heartbeat":
		p.object(t, &p.out.beats, true)
	case "system":
		p.object(t, &p.out.systems, false)
	case "group":
		p.groupClause(t)
	case "type":
		p.typeClause(t)
	}
}

// nilUnlessGroup ends the group at every clause but a type's: resources
// belong to the group that precedes them.
func nilUnlessGroup(t token, g *rawGroup) *rawGroup {
	if t.text == "type" {
		return g
	}
	return nil
}

func (p *parser) includeClause(t token) {
	f := p.tok()
	if f.kind != tokString && f.kind != tokWord || p.newLine(0) {
		p.fail(t, `include needs the name of a file in double quotes, as in include "types.cf"`)
		return
	}
	p.next()
	p.include(f.text, p.posOf(f))
}

// object reads NAME [ "(" attributes ")" ].
func (p *parser) object(kw token, list *[]*rawObject, needBlock bool) {
	name, ok := p.objectName(kw)
	if !ok {
		return
	}
	o := &rawObject{keyword: p.nameOf(kw), name: name}
	*list = append(*list, o)
	if p.tok().is("(") {
		o.attrs = p.block(kw.text + " " + name.text)
	} else if needBlock {
		p.fail(p.tok(), "expected ( after %s %s, found %s", kw.text, clip(name.text), p.tok())
	}
}

func (p *parser) objectName(kw token) (rawName, bool) {
	t := p.tok()
	if !t.name() || p.newLine(0) {
		p.fail(kw, "%s needs a name", kw.text)
		if t.is("(") {
			p.block(kw.text)
		}
		return rawName{}, false
	}
	p.next()
	return p.nameOf(t), true
}

func (p *parser) groupClause(kw token) {
	name, ok := p.objectName(kw)
	if !ok {
		return
	}
	g := &rawGroup{rawObject: rawObject{keyword: p.nameOf(kw), name: name}}
	p.out.groups = append(p.out.groups, g)
	p.group = g
	if !p.tok().is("(") {
		p.fail(p.tok(), "expected ( after group %s, found %s", clip(name.text), p.tok())
		return
	}
	before := p.failures
	g.attrs = p.block("group " + name.text)
	if p.failures > before {
		if p.out.broken == nil {
			p.out.broken = map[Pos]bool{}
		}
		p.out.broken[g.keyword.pos] = true
	}
}

func (p *parser) resource() {
	typ, name := p.next(), p.next()
	o := &rawObject{keyword: p.nameOf(typ), name: p.nameOf(name)}
	if nearest(typ.text, []string{"cluster", "system", "group"}) != "" && p.group == nil {
		p.fail(typ, "unknown keyword %s%s", typ, didYouMean(typ.text, topKeywords))
	} else if p.group == nil {
		p.fail(typ, "%s %s stands outside of a group: %s is no keyword, and a resource belongs to the group clause before it", typ, name, typ)
	} else {
		p.group.resources = append(p.group.resources, o)
	}
	o.attrs = p.block(typ.text + " " + name.text)
}

// requires reads "PARENT requires CHILD" and the atleast form.
func (p *parser) requires() {
	parent := p.next()
	kw := p.next()
	d := rawDependency{parent: p.nameOf(parent)}
	if p.tok().word("atleast") && p.ahead(1).scalar() && !p.newLine(1) {
		if !p.atLeast(&d) {
			return
		}
	} else if c := p.tok(); c.name() && !p.newLine(0) {
		p.next()
		d.children = []rawName{p.nameOf(c)}
	} else {
		p.fail(kw, "%s requires what? The name of a resource is missing", parent)
		return
	}
	if t := p.tok(); t.kind != tokEOF && !p.newLine(0) && (t.is(",") || t.is(";")) {
		p.fail(t, "one resource after requires: write one line for each, or %s requires atleast N from ...", parent)
		p.skipInBlock()
	}
	if p.group == nil {
		p.fail(parent, "requires clause of %s stands outside of a group", parent)
		return
	}
	p.group.deps = append(p.group.deps, d)
}

func (p *parser) atLeast(d *rawDependency) bool {
	p.next()
	n := p.next()
	d.atLeast = &rawScalar{n.kind, n.text, p.posOf(n)}
	if !p.tok().word("from") {
		p.fail(p.tok(), "expected from after atleast %s, found %s", n, p.tok())
		p.skipInBlock()
		return false
	}
	p.next()
	for {
		c := p.tok()
		if !c.name() {
			p.fail(c, "expected the name of a resource after from, found %s", c)
			p.skipInBlock()
			return false
		}
		p.next()
		d.children = append(d.children, p.nameOf(c))
		if !p.tok().is(",") && !p.tok().is(";") {
			return true
		}
		p.next()
	}
}

// groupRequires reads "requires group NAME online local firm".
func (p *parser) groupRequires() {
	kw := p.next()
	if !p.tok().word("group") {
		if nearest(p.tok().text, []string{"group"}) != "" {
			p.fail(p.tok(), "unknown keyword %s%s", p.tok(), didYouMean(p.tok().text, []string{"group"}))
		} else {
			p.fail(kw, "requires at the start of a clause needs: requires group NAME online|offline local|global|remote ...")
		}
		p.skipInBlock()
		return
	}
	p.next()
	name := p.tok()
	if !name.name() || p.newLine(0) {
		p.fail(kw, "requires group needs the name of a group")
		return
	}
	p.next()
	d := rawGroupDependency{child: p.nameOf(name), pos: p.posOf(kw)}
	for p.tok().kind == tokWord && !p.newLine(0) {
		d.words = append(d.words, p.nameOf(p.next()))
	}
	if p.group == nil {
		p.fail(kw, "requires group %s stands outside of a group", name)
		return
	}
	p.group.requires = append(p.group.requires, d)
}

// block reads "(" attributes ")". what names the object in messages.
func (p *parser) block(what string) []rawAttr {
	open := p.next()
	var attrs []rawAttr
	for {
		t := p.tok()
		switch {
		case t.is(")"):
			p.next()
			return attrs
		case t.kind == tokEOF || p.clauseAhead():
			p.fail(open, "the block of %s is not closed: ) is missing before line %d", clip(what), t.line)
			return attrs
		case t.name():
			if a, ok := p.attr(); ok {
				attrs = append(attrs, a)
			}
		default:
			p.fail(t, "expected an attribute or ), found %s", t)
			p.next()
			p.skipInBlock()
		}
	}
}

// clauseAhead says whether what follows can only be a new clause: the block
// before it was not closed.
func (p *parser) clauseAhead() bool {
	t, n, m := p.tok(), p.ahead(1), p.ahead(2)
	if !p.newLine(0) || p.newLine(1) {
		return false
	}
	switch {
	case t.word("include"):
		return n.kind == tokString
	case n.word("requires") || t.word("requires") && n.word("group"):
		return true
	case t.kind == tokWord && isTopKeyword(t.text):
		return n.name()
	default:
		return t.name() && n.name() && m.is("(")
	}
}

// attr reads NAME [ "@" SYSTEM ] [ "=" value ].
func (p *parser) attr() (rawAttr, bool) {
	t := p.next()
	a := rawAttr{name: t.text, pos: p.posOf(t)}
	if p.tok().is("@") {
		at := p.next()
		s := p.tok()
		if !s.name() && s.kind != tokNumber {
			p.fail(at, "the name of a system is missing after %s @", t)
			p.skipInBlock()
			return a, false
		}
		p.next()
		a.system, a.systemPos = s.text, p.posOf(s)
	}
	if !p.tok().is("=") {
		if !p.newLine(0) && !p.tok().is(")") && p.tok().kind != tokEOF {
			p.fail(p.tok(), "expected = after %s, found %s", t, p.tok())
			p.skipInBlock()
			return a, false
		}
		return a, true
	}
	eq := p.next()
	v, ok := p.value(t.text, eq)
	a.value = v
	return a, ok
}

// value reads a scalar or a list in braces.
func (p *parser) value(attr string, eq token) (*rawValue, bool) {
	t := p.tok()
	switch {
	case t.is("{"):
		return p.list(attr)
	case !t.scalar(), p.newLine(0) && !p.newLine(1) && !p.ahead(1).is(")"):
		p.fail(eq, "the value of %s is missing after =", clip(attr))
		if !t.is(")") && !p.newLine(0) {
			p.skipInBlock()
		}
		return nil, false
	}
	p.next()
	v := &rawValue{scalar: rawScalar{t.kind, t.text, p.posOf(t)}, pos: p.posOf(t)}
	if n := p.tok(); !p.newLine(0) && !p.attrAhead() && (n.scalar() || n.is(",") || n.is(";") || n.is("=")) {
		p.trailing(attr, t, n)
		return nil, false
	}
	return v, true
}

// attrAhead says whether another attribute begins on the same line.
func (p *parser) attrAhead() bool {
	t := p.tok()
	if t.word("static") || t.word("temp") || t.kind == tokWord && contains(baseTypes, t.text) {
		return p.ahead(1).kind == tokWord
	}
	return t.name() && (p.ahead(1).is("=") || p.ahead(1).is("@"))
}

// trailing reports what stands after a complete value on its line.
func (p *parser) trailing(attr string, t, n token) {
	if n.is(",") || n.is(";") {
		p.fail(n, "%s between or after attributes: several values of one attribute stand in { }, as in %s = { a, b }", n, clip(attr))
	} else {
		p.fail(n, "unexpected %s after the value %s of %s: a value with blanks needs double quotes, and each attribute its own line", n, t, clip(attr))
	}
	p.skipInBlock()
}

func (p *parser) list(attr string) (*rawValue, bool) {
	open := p.next()
	v := &rawValue{list: true, pos: p.posOf(open)}
	if p.tok().is("}") {
		p.next()
		return v, true
	}
	for {
		t := p.tok()
		if !t.scalar() {
			return p.badList(attr, open, t)
		}
		p.next()
		it := rawItem{key: rawScalar{t.kind, t.text, p.posOf(t)}}
		if p.tok().is("=") {
			p.next()
			s := p.tok()
			if !s.scalar() {
				return p.badList(attr, open, s)
			}
			p.next()
			it.value = &rawScalar{s.kind, s.text, p.posOf(s)}
		}
		v.items = append(v.items, it)
		sep := p.tok()
		switch {
		case sep.is("}"):
			p.next()
			return v, true
		case sep.is(",") || sep.is(";"):
			p.next()
		case sep.scalar() && !(p.newLine(0) && (p.ahead(1).is("=") || p.ahead(1).is("@") || p.clauseAhead())):
			p.fail(sep, "a comma is missing before %s in the list of %s", sep, clip(attr))
		default:
			return p.badList(attr, open, sep)
		}
	}
}

// badList reports a list that ends, or goes on, wrongly and leaves it.
func (p *parser) badList(attr string, open, found token) (*rawValue, bool) {
	switch {
	case found.is("}"):
		p.fail(found, "a value is missing before } in the list of %s", clip(attr))
		p.next()
		return nil, false
	case found.is(",") || found.is(";") || found.is("="):
		p.fail(found, "a value is missing before %s in the list of %s", found, clip(attr))
	case found.is("{"):
		p.fail(found, "a list cannot stand inside the list of %s", clip(attr))
	default:
		p.fail(open, "the list of %s is not closed: } is missing before %s", clip(attr), found)
		return nil, false
	}
	for depth := 1; depth > 0; {
		switch t := p.tok(); {
		case t.kind == tokEOF || t.is(")") || p.newLine(0):
			return nil, false
		case t.is("{"):
			depth++
		case t.is("}"):
			depth--
		}
		p.next()
	}
	return nil, false
}

// skipInBlock goes to the next line or the end of the block.
func (p *parser) skipInBlock() {
	for p.tok().kind != tokEOF && !p.newLine(0) && !p.tok().is(")") {
		p.next()
	}
}

// skipLine goes to the next line.
func (p *parser) skipLine() {
	p.next()
	for p.tok().kind != tokEOF && !p.newLine(0) {
		p.next()
	}
}

// skipClause goes past the line and, if a block opens on it, past the block.
func (p *parser) skipClause() {
	p.next()
	for p.tok().kind != tokEOF && !p.newLine(0) {
		if p.tok().is("(") {
			for p.tok().kind != tokEOF && !p.tok().is(")") && !p.clauseAhead() {
				p.next()
			}
			if p.tok().is(")") {
				p.next()
			}
			return
		}
		p.next()
	}
}
