package maincf

// modifyType sets a static attribute of a type (hatype -modify). One that the
// engine knows need not be declared before.
func (d *draft) modifyType(e Edit) *Message {
	t, m := d.typ(e.Name)
	if m != nil {
		return m
	}
	if e.System != "" {
		return refuse(IDScope, "type attribute ", e.Attr, " cannot be local to a system: it has one value")
	}
	known, isKnown := staticTable.find(e.Attr)
	decl, declared := t.Decl(e.Attr)
	switch {
	case declared && !decl.Static:
		return refuse(IDNotStatic, "Attribute ", e.Attr, " of type ", t.Name, " is not a static attribute: set it for a resource, with hares -modify, or its default, with haattr -default")
	case !declared && (!isKnown || known.engine):
		return refuse(IDAttrUnknown, "Type ", t.Name, " has no static attribute ", clip(e.Attr), meantOrShown(e.Attr, staticTable.settable(), t.Name))
	}
	bi := builtin{AttrDecl: decl}
	if isKnown {
		bi = known
		if declared {
			bi.AttrDecl = decl
		}
	}
	v, m := edited(bi, bi.Default, e)
	if m != nil {
		return m
	}
	d.inertNotice(classStatic, e.Attr, v)
	if declared {
		t.redeclare(e.Attr, v)
		return nil
	}
	t.Attrs = append(t.Attrs, AttrDecl{Name: e.Attr, Kind: known.Kind, Dim: known.Dim, Static: true, Default: v, HasDefault: true})
	return nil
}

func (t *Type) redeclare(name string, v Value) {
	for i := range t.Attrs {
		if t.Attrs[i].Name == name {
			t.Attrs[i].Default, t.Attrs[i].HasDefault = v, true
		}
	}
}

// declare adds, changes and removes the attributes of a type (haattr).
func (d *draft) declare(e Edit) *Message {
	t, m := d.typ(e.Name)
	if m != nil {
		return m
	}
	decl, declared := t.Decl(e.Attr)
	if e.Action == ActAddAttr {
		if declared {
			return refuse(IDExists, "Attribute ", e.Attr, " of type ", t.Name, " exists already")
		}
		return addDecl(t, e)
	}
	if !declared {
		var names []string
		for _, a := range t.Attrs {
			names = append(names, a.Name)
		}
		return refuse(IDAttrUnknown, "Type ", t.Name, " has no attribute ", clip(e.Attr), meantOrShown(e.Attr, names, t.Name))
	}
	if e.Action == ActDefault {
		bi := builtin{AttrDecl: decl}
		if known, ok := staticTable.find(e.Attr); ok {
			bi = known
			bi.AttrDecl = decl
		}
		e.How = Replace
		if len(e.Words) == 0 && decl.Dim != DimScalar {
			e.How = DeleteAll
		}
		v, m := edited(bi, ZeroValue(decl.Kind, decl.Dim), e)
		if m == nil {
			t.redeclare(e.Attr, v)
		}
		return m
	}
	if decl.Static != e.Static || decl.Temp != e.Temp {
		return refuse(IDAttrUnknown, "Attribute ", e.Attr, " of type ", t.Name, " is ", declClass(decl), ": delete it as such")
	}
	var rest []AttrDecl
	for _, a := range t.Attrs {
		if a.Name != e.Attr {
			rest = append(rest, a)
		}
	}
	t.Attrs = rest
	if _, known := staticTable.find(e.Attr); !known {
		d.forget(t.Name, e.Attr)
	}
	return nil
}

func declClass(d AttrDecl) string {
	switch {
	case d.Static:
		return "static"
	case d.Temp:
		return "temp"
	default:
		return "neither static nor temp"
	}
}

// forget drops an attribute from all resources of a type.
func (d *draft) forget(typ, attr string) {
	for _, g := range d.cfg.Groups {
		for _, r := range g.Resources {
			if r.Type != typ {
				continue
			}
			var rest Attrs
			for _, a := range r.Attrs {
				if a.Name != attr {
					rest = append(rest, a)
				}
			}
			r.Attrs = rest
		}
	}
}

func addDecl(t *Type, e Edit) *Message {
	if !isWord(e.Attr) || e.Static && e.Temp || e.I18n && (e.Kind != KindStr || e.Dim == DimKeylist) || e.Dim == DimKeylist && e.Kind != KindStr {
		return refuse(IDName, quote(clip(e.Attr)), " cannot be declared so")
	}
	rd := rawDecl{static: e.Static, temp: e.Temp, i18n: e.I18n, kind: e.Kind, dim: e.Dim, name: rawName{text: e.Attr}}
	if e.Explicit {
		how := Edit{Attr: e.Attr, Words: e.Words}
		if len(e.Words) == 0 && e.Dim != DimScalar {
			how.How = DeleteAll
		}
		raw, m := words(AttrDecl{Name: e.Attr, Kind: e.Kind, Dim: e.Dim}, Value{}, how)
		if m != nil {
			return m
		}
		rd.value = raw
	}
	return quietly(IDValue, func(b *builder) {
		b.buildDecl(t, rd)
		for i := range t.Attrs {
			t.Attrs[i].Default.items, t.Attrs[i].Pos = nil, Pos{}
		}
	})
}
