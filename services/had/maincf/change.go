package maincf

import "strconv"

// Changed is what Change returns.
type Changed struct {
	// Config is the new configuration. Objects that no edit touched are those
	// of the configuration that it was made from.
	Config *Config
	// Notices are what the commands print beside their success.
	Notices []Message
	// Narrow: only groups, resources and attributes of systems were edited; a
	// group that is the same pointer as before means the same as before.
	Narrow bool
}

// Change applies edits as one change, all or none (*Refusal), as Apply does,
// at a cost that grows with what is touched and not with what is printed. The
// configuration that it returns means what that of Apply means; its objects
// are in the order in which they were made, which Print puts right. Equal
// edits in equal order on equal configurations give equal ones, however they
// are divided into changes.
func (c *Config) Change(edits ...Edit) (*Changed, error) {
	d := newOverlay(c)
	narrow := true
	for i, e := range edits {
		narrow = narrow && e.narrow()
		if m := d.step(e); m != nil {
			return nil, &Refusal{Message: *m, Edit: i}
		}
	}
	if narrow {
		if said := d.checkTouched(); len(said) > 0 {
			return nil, said.refusal(len(edits))
		}
	} else if _, err := d.finish(len(edits)); err != nil {
		return nil, err
	}
	return &Changed{Config: d.cfg, Notices: d.notices, Narrow: narrow}, nil
}

// Replay applies edits that were checked before, as Change did.
func (c *Config) Replay(edits ...Edit) (*Config, error) {
	d := newOverlay(c)
	for i, e := range edits {
		if m := d.step(e); m != nil {
			return nil, &Refusal{Message: *m, Edit: i}
		}
	}
	return d.cfg, nil
}

// TempEdits are the edits that give the resources of another configuration
// the values of temp attributes that these have.
func (c *Config) TempEdits(to *Config) []Edit {
	d := newDraftIndex(to)
	var out []Edit
	for _, g := range c.Groups {
		for _, r := range g.Resources {
			for _, a := range r.Attrs {
				have := d.resources[r.Name]
				if !a.Temp || have == nil || have.Type != r.Type {
					continue
				}
				if decl, ok := d.types[r.Type].Decl(a.Name); !ok || !decl.Temp || decl.Kind != a.Value.Kind || decl.Dim != a.Value.Dim {
					continue
				}
				e := Edit{Class: ClassResource, Name: r.Name, Attr: a.Name}
				if _, global := r.Attrs.Global(a.Name); a.System != "" && !global {
					local := e
					local.Action = ActLocal
					out = append(out, local)
				}
				out = append(out, e.to(a.System, a.Value))
			}
		}
	}
	return out
}

// narrow says whether an edit changes nothing but one group with its
// resources, or attributes of one system, and can make nothing else wrong.
func (e Edit) narrow() bool {
	if e.Attr == "SourceFile" {
		return false
	}
	switch e.Class {
	case ClassGroup, ClassResource:
		return true
	case ClassSystem:
		return e.Action == ActModify || e.Action == ActAdd
	}
	return false
}

// newOverlay is a draft that shares what is not touched.
func newOverlay(c *Config) *draft {
	k := *c
	k.Includes = append([]Include(nil), c.Includes...)
	k.RemoteClusters = append([]*RemoteCluster(nil), c.RemoteClusters...)
	k.Heartbeats = append([]*Heartbeat(nil), c.Heartbeats...)
	k.Systems = append([]*System(nil), c.Systems...)
	k.Groups = append([]*Group(nil), c.Groups...)
	k.Types = append([]*Type(nil), c.Types...)
	d := newDraftIndex(&k)
	d.shared, d.owned = true, map[string]bool{}
	return d
}

// own makes the objects that an edit may change the draft's own.
func (d *draft) own(e Edit) {
	if !d.shared || d.whole {
		return
	}
	switch {
	case e.Class == ClassResource:
		group := e.Group
		if r := d.resources[e.Name]; r != nil {
			group = r.Group
		}
		d.ownGroup(group)
	case e.Class == ClassGroup:
		d.ownGroup(e.Name)
		d.owned["group "+e.Name] = true // also one that this edit adds
	case e.Class == ClassSystem && e.Action == ActModify:
		d.ownSystem(e.Name)
	case e.Class == ClassSystem && e.Action == ActAdd:
	case e.Class == ClassCluster:
		if d.cfg.Cluster != nil && !d.owned["cluster"] {
			k := *d.cfg.Cluster
			k.Attrs = append(Attrs(nil), k.Attrs...)
			d.cfg.Cluster = &k
		}
		d.owned["cluster"] = true
	default:
		d.ownAll()
	}
}

func (d *draft) ownGroup(name string) {
	g := d.groups[name]
	if g == nil || d.owned["group "+name] {
		return
	}
	d.owned["group "+name] = true
	k := g.clone()
	d.groups[name] = k
	for i := range d.cfg.Groups {
		if d.cfg.Groups[i] == g {
			d.cfg.Groups[i] = k
		}
	}
	for _, r := range k.Resources {
		d.resources[r.Name] = r
	}
}

func (d *draft) ownSystem(name string) {
	s := d.systems[name]
	if s == nil || d.owned["system "+name] {
		return
	}
	d.owned["system "+name] = true
	k := *s
	k.Attrs = append(Attrs(nil), s.Attrs...)
	d.systems[name] = &k
	for i := range d.cfg.Systems {
		if d.cfg.Systems[i] == s {
			d.cfg.Systems[i] = &k
		}
	}
}

func (d *draft) ownAll() {
	all := newDraft(d.cfg)
	d.cfg, d.systems, d.groups, d.resources, d.types = all.cfg, all.systems, all.groups, all.resources, all.types
	d.whole = true
}

// checkTouched makes the checks between objects for what narrow edits touch.
func (d *draft) checkTouched() Errors {
	var said Errors
	b := &builder{cfg: d.cfg, raw: &rawFile{}, systems: d.systems, groups: d.groups, resources: d.resources, types: d.types,
		report: func(p Pos, text string) { said = append(said, Diagnostic{p, text}) },
		warn:   func(Pos, string) {}, full: func() bool { return len(said) > maxMessages }}
	b.systemNames, b.groupNames = keys(d.systems), keys(d.groups)
	for _, g := range d.cfg.Groups {
		if d.whole || d.owned["group "+g.Name] {
			b.checkSystems(g, &rawGroup{})
			b.checkReferences(g)
			b.checkLoops(g)
		}
	}
	b.checkGroupLoops()
	b.checkLinks()
	return said
}

// refusal is that of a configuration that would be wrong as a whole.
func (said Errors) refusal(edits int) *Refusal {
	text := said[0].Text
	if len(said) > 1 {
		text += " (and " + strconv.Itoa(len(said)-1) + " more)"
	}
	return &Refusal{Message: Message{"WARNING", IDWhole, text}, Edit: edits, Mistakes: said}
}
