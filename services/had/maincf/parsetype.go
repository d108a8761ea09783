package maincf

// baseTypes are the words that begin the declaration of an attribute.
var baseTypes = []string{"str", "int", "boolean", "float", "i18nstr", "keylist"}

// typeClause reads NAME "(" declarations ")".
func (p *parser) typeClause(kw token) {
	name, ok := p.objectName(kw)
	if !ok {
		return
	}
	t := &rawType{name: name}
	p.out.types = append(p.out.types, t)
	if !p.tok().is("(") {
		p.fail(p.tok(), "expected ( after type %s, found %s", clip(name.text), p.tok())
		return
	}
	open := p.next()
	for {
		tk := p.tok()
		switch {
		case tk.is(")"):
			p.next()
			return
		case tk.kind == tokEOF || p.typeEnds():
			p.fail(open, "the block of type %s is not closed: ) is missing before line %d", clip(name.text), tk.line)
			return
		case tk.kind != tokWord:
			p.fail(tk, "expected the declaration of an attribute or ), found %s", tk)
			p.next()
			p.skipInBlock()
		default:
			if d, ok := p.decl(); ok {
				t.decls = append(t.decls, d)
			}
		}
	}
}

func (p *parser) typeEnds() bool {
	t := p.tok()
	return p.newLine(0) && t.kind == tokWord && isTopKeyword(t.text) && p.ahead(1).name()
}

// decl reads [static|temp] BASETYPE NAME ["[]"|"{}"] ["=" value].
func (p *parser) decl() (rawDecl, bool) {
	var d rawDecl
	t := p.next()
	switch t.text {
	case "static":
		d.static = true
		t = p.next()
	case "temp":
		d.temp = true
		t = p.next()
	}
	if !d.base(t) {
		words := baseTypes
		if !d.static && !d.temp {
			words = append([]string{"static", "temp"}, baseTypes...)
		}
		p.fail(t, "unknown kind of attribute %s%s (kinds are str, int, boolean, float, i18nstr and keylist)",
			t, didYouMean(t.text, words))
		p.skipInBlock()
		return d, false
	}
	n := p.tok()
	if n.kind != tokWord || p.newLine(0) {
		p.fail(t, "the name of the attribute is missing after %s", t)
		p.skipInBlock()
		return d, false
	}
	p.next()
	d.name = p.nameOf(n)
	if !p.dimension(&d) {
		p.skipInBlock()
		return d, false
	}
	if !p.tok().is("=") {
		if !p.newLine(0) && !p.tok().is(")") && p.tok().kind != tokEOF && !p.attrAhead() {
			p.fail(p.tok(), "expected = or a new line after %s, found %s", n, p.tok())
			p.skipInBlock()
			return d, false
		}
		return d, true
	}
	eq := p.next()
	v, ok := p.value(n.text, eq)
	d.value = v
	return d, ok
}

func (d *rawDecl) base(t token) bool {
	if t.kind != tokWord {
		return false
	}
	switch t.text {
	case "str":
	case "i18nstr":
		d.i18n = true
	case "int":
		d.kind = KindInt
	case "boolean":
		d.kind = KindBool
	case "float":
		d.kind = KindFloat
	case "keylist":
		d.dim = DimKeylist
	default:
		return false
	}
	return true
}

func (p *parser) dimension(d *rawDecl) bool {
	for _, b := range []struct {
		open, end string
		dim       Dim
	}{{"[", "]", DimVector}, {"{", "}", DimAssoc}} {
		t := p.tok()
		if !t.is(b.open) {
			continue
		}
		p.next()
		if !p.tok().is(b.end) {
			p.fail(t, "expected %s%s after %s", b.open, b.end, d.name.text)
			return false
		}
		p.next()
		if d.dim == DimKeylist {
			p.fail(t, "keylist %s takes neither [] nor {}", d.name.text)
			return false
		}
		d.dim = b.dim
	}
	return true
}
