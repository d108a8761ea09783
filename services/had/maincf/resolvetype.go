package maincf

import "strings"

// buildType types the declarations of a type and checks its ArgList.
func (b *builder) buildType(o *rawType) {
	t := &Type{Name: o.name.text, Pos: o.name.pos}
	if first := b.types[t.Name]; first != nil {
		b.failf(o.name.pos, "type %s is declared twice (first at %s)", clip(t.Name), first.Pos)
		return
	}
	b.checkName("type", o.name)
	b.types[t.Name] = t
	b.typeNames = append(b.typeNames, t.Name)
	b.cfg.Types = append(b.cfg.Types, t)
	seen := map[string]Pos{}
	for _, rd := range o.decls {
		if first, dup := seen[rd.name.text]; dup {
			b.failf(rd.name.pos, "attribute %s of type %s is declared twice (first at %s)", clip(rd.name.text), clip(t.Name), first)
			continue
		}
		seen[rd.name.text] = rd.name.pos
		b.buildDecl(t, rd)
	}
	b.checkArgList(t)
}

func (b *builder) buildDecl(t *Type, rd rawDecl) {
	d := AttrDecl{Name: rd.name.text, Kind: rd.kind, Dim: rd.dim, Static: rd.static, Temp: rd.temp, I18n: rd.i18n,
		HasDefault: rd.value != nil, Pos: rd.name.pos}
	if _, clash := resourceTable.find(d.Name); clash {
		b.failf(d.Pos, "%s is an attribute of every resource; type %s cannot declare it", d.Name, clip(t.Name))
		return
	}
	bi := builtin{AttrDecl: d}
	if known, ok := staticTable.find(d.Name); ok {
		if !b.knownStatic(t, d, known) {
			return
		}
		bi = known
		bi.AttrDecl = d
	} else if d.Static {
		if n := nearest(d.Name, staticTable.settable()); n != "" {
			b.warnf(d.Pos, "static attribute %s of type %s is none that the engine knows; did you mean %s?", d.Name, clip(t.Name), n)
		}
	}
	v, ok := b.builtinValue(bi, rawAttr{name: d.Name, pos: d.Pos, value: rd.value})
	if !ok {
		v = ZeroValue(d.Kind, d.Dim)
	}
	d.Default = v
	t.Attrs = append(t.Attrs, d)
}

// knownStatic holds a declaration to what the engine knows of that name.
func (b *builder) knownStatic(t *Type, d AttrDecl, known builtin) bool {
	if known.engine {
		b.failf(d.Pos, "%s is kept by the engine; type %s cannot declare it", d.Name, clip(t.Name))
		return false
	}
	lists := d.Dim == DimVector || d.Dim == DimKeylist
	knownLists := known.Dim == DimVector || known.Dim == DimKeylist
	sameDim := d.Dim == known.Dim || lists && knownLists
	// Files of several releases declare 0/1 as int and numbers as str.
	sameKind := d.Kind == known.Kind || d.Dim == DimScalar
	if !d.Static || !sameDim || !sameKind {
		b.failf(d.Pos, "%s of type %s must be declared as static %s", d.Name, clip(t.Name), declText(known.AttrDecl))
		return false
	}
	return true
}

// checkArgList reports entries that name no attribute. "Attr:Other" takes
// attribute Other of the resource that attribute Attr names.
func (b *builder) checkArgList(t *Type) {
	d, ok := t.Decl("ArgList")
	if !ok {
		return
	}
	for i, entry := range d.Default.List {
		name, _, _ := strings.Cut(entry, ":")
		if _, ok := t.Decl(name); ok {
			continue
		}
		if _, ok := resourceTable.find(name); ok {
			continue
		}
		if _, ok := staticTable.find(name); ok {
			continue
		}
		b.failf(d.Default.itemPos(i, d.Pos), "ArgList of type %s names %s, which is no attribute of the type%s",
			t.Name, clip(name), b.hint(name, resourceNames(t)))
	}
}

// declText is a declaration without static and default, for messages.
func declText(d AttrDecl) string {
	switch d.Dim {
	case DimKeylist:
		return "keylist " + d.Name
	case DimVector:
		return d.Kind.String() + " " + d.Name + "[]"
	case DimAssoc:
		return d.Kind.String() + " " + d.Name + "{}"
	default:
		return d.Kind.String() + " " + d.Name
	}
}
