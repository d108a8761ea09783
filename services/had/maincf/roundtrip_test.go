package maincf

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestRoundTrip: parse(print(x)) == x for any configuration.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawConfig(t)
		files := map[string]string{}
		for _, f := range want.Dump() {
			files[f.Name] = f.Text
		}
		got, _, err := LoadMap("main.cf", files)
		if err != nil {
			t.Fatalf("%v\n%s", err, files["main.cf"])
		}
		strip(reflect.ValueOf(got))
		order(got)
		order(want)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("changed on the way:\n%s", files["main.cf"])
		}
	})
}

// strip removes all positions, so that what was read equals what was drawn.
func strip(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			strip(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			strip(v.Index(i))
		}
	case reflect.Struct:
		if val, ok := v.Addr().Interface().(*Value); ok {
			val.items = nil
			return
		}
		for i := range v.NumField() {
			if p, ok := v.Field(i).Addr().Interface().(*Pos); ok {
				*p = Pos{}
				continue
			}
			strip(v.Field(i))
		}
	}
}

// order sorts what a dump sorts.
func order(c *Config) {
	c.Cluster.Attrs = ordered(c.Cluster.Attrs, nil)
	c.Systems = sorted(c.Systems, func(s *System) string { return s.Name })
	c.Types = sorted(c.Types, func(t *Type) string { return t.Name })
	c.Groups = sorted(c.Groups, func(g *Group) string { return g.Name })
	for _, g := range c.Groups {
		g.Attrs = ordered(g.Attrs, nil)
		for _, r := range g.Resources {
			r.Attrs = ordered(r.Attrs, c.Type(r.Type))
		}
		g.Resources = sortedResources(g)
		g.Requires = sorted(g.Requires, func(d GroupDependency) string { return d.Child })
		g.Dependencies = sorted(g.Dependencies, dependencyKey)
	}
}

var (
	anyText = rapid.OneOf(
		rapid.StringMatching(`[A-Za-z][A-Za-z0-9_-]{0,8}`),
		rapid.StringMatching(`-?[0-9]{1,9}`),
		rapid.StringMatching(`[ -~]{0,12}`),
		rapid.SampledFrom([]string{"", `\`, `"`, `\\"`, "//x", "Größe", "“q”", "requires", "group", "{", ")", "\t", "%-y", "a\u00a0b"}),
	)
	keywords = map[string]bool{"requires": true}
)

// drawName draws a name that no object has yet.
func drawName(t *rapid.T, used map[string]bool, label string) string {
	return rapid.StringMatching(`[A-Za-z][A-Za-z0-9_-]{0,6}|[0-9][a-z0-9]{0,3}`).Filter(func(s string) bool {
		return !used[s] && !reserved[s] && !isTopKeyword(s) && !keywords[s]
	}).Draw(t, label)
}

func drawConfig(t *rapid.T) *Config {
	c := &Config{File: "main.cf", Cluster: &Cluster{Name: "c" + rapid.StringMatching(`[a-z0-9_-]{0,5}`).Draw(t, "cluster")}}
	if rapid.Bool().Draw(t, "users") {
		c.Cluster.Attrs = Attrs{{Name: "UserNames", Value: drawValue(t, KindStr, DimAssoc)},
			{Name: "Administrators", Value: drawValue(t, KindStr, DimKeylist)}}
	}
	names := map[string]bool{}
	for range rapid.IntRange(1, 3).Draw(t, "systems") {
		n := drawName(t, names, "system")
		names[n] = true
		s := &System{Name: n}
		if rapid.Bool().Draw(t, "limits") {
			s.Attrs = Attrs{{Name: "Limits", Value: drawValue(t, KindInt, DimAssoc)}}
		}
		c.Systems = append(c.Systems, s)
	}
	for i := range rapid.IntRange(1, 3).Draw(t, "types") {
		c.Types = append(c.Types, drawType(t, "Type"+strconv.Itoa(i)))
	}
	groups, resources := map[string]bool{}, map[string]bool{}
	for range rapid.IntRange(0, 3).Draw(t, "groups") {
		g := drawGroup(t, c, groups, resources)
		c.Groups = append(c.Groups, g)
	}
	return c
}

func drawType(t *rapid.T, name string) *Type {
	ty := &Type{Name: name}
	for i := range rapid.IntRange(0, 4).Draw(t, "attrs") {
		d := AttrDecl{Name: "Attr-" + strconv.Itoa(i), Kind: Kind(rapid.IntRange(0, 3).Draw(t, "kind")), Dim: Dim(rapid.IntRange(0, 3).Draw(t, "dim"))}
		if d.Dim == DimKeylist {
			d.Kind = KindStr
		}
		switch rapid.IntRange(0, 5).Draw(t, "class") {
		case 0:
			d.Static = true
		case 1:
			d.Temp = true
		case 2:
			d.I18n = d.Kind == KindStr && d.Dim != DimKeylist
		}
		d.Default = ZeroValue(d.Kind, d.Dim)
		if rapid.Bool().Draw(t, "default") {
			d.HasDefault, d.Default = true, drawValue(t, d.Kind, d.Dim)
		}
		ty.Attrs = append(ty.Attrs, d)
	}
	return ty
}

func drawScalar(t *rapid.T, k Kind) string {
	switch k {
	case KindInt:
		return strconv.Itoa(int(rapid.Int32().Draw(t, "int")))
	case KindBool:
		return rapid.SampledFrom([]string{"0", "1"}).Draw(t, "bool")
	case KindFloat:
		return rapid.StringMatching(`-?[0-9]{1,3}(\.[0-9]{1,3})?`).Draw(t, "float")
	default:
		return anyText.Draw(t, "text")
	}
}

func drawValue(t *rapid.T, k Kind, d Dim) Value {
	v := Value{Kind: k, Dim: d}
	if d == DimScalar {
		v.Text = drawScalar(t, k)
		return v
	}
	seen := map[string]bool{}
	for range rapid.IntRange(0, 3).Draw(t, "elements") {
		key := drawScalar(t, k)
		if d == DimAssoc {
			key = anyText.Draw(t, "key")
		}
		if seen[key] && d != DimVector {
			continue
		}
		seen[key] = true
		if d == DimAssoc {
			v.Pairs = append(v.Pairs, Pair{key, drawScalar(t, k)})
		} else {
			v.List = append(v.List, key)
		}
	}
	return v
}

func drawGroup(t *rapid.T, c *Config, groups, resources map[string]bool) *Group {
	g := &Group{Name: drawName(t, groups, "group")}
	list := Value{Kind: KindInt, Dim: DimAssoc}
	for i, s := range c.Systems {
		list.Pairs = append(list.Pairs, Pair{s.Name, strconv.Itoa(i)})
	}
	g.Attrs = Attrs{{Name: "SystemList", Value: list}, {Name: "Tag", Value: drawValue(t, KindStr, DimScalar)}}
	for _, o := range c.Groups { // earlier groups only: no cycle, and at most 3 deep
		if rapid.Bool().Draw(t, "requires") {
			g.Requires = append(g.Requires, GroupDependency{Child: o.Name, Category: "online", Location: "global", Rigidity: "soft"})
		}
	}
	groups[g.Name] = true
	for range rapid.IntRange(0, 5).Draw(t, "resources") {
		r := drawResource(t, c, g, resources)
		g.Resources = append(g.Resources, r)
	}
	for i := range g.Resources {
		for j := range i {
			if rapid.IntRange(0, 2).Draw(t, "link") == 0 {
				d := Dependency{Parent: g.Resources[i].Name, Children: []string{g.Resources[j].Name}}
				d.AtLeast = rapid.IntRange(0, 1).Draw(t, "atleast")
				g.Dependencies = append(g.Dependencies, d)
			}
		}
	}
	return g
}

func drawResource(t *rapid.T, c *Config, g *Group, resources map[string]bool) *Resource {
	ty := rapid.SampledFrom(c.Types).Draw(t, "type")
	r := &Resource{Name: drawName(t, resources, "resource"), Type: ty.Name, Group: g.Name}
	resources[r.Name] = true
	for _, d := range ty.Attrs {
		if d.Temp {
			continue
		}
		scope := rapid.IntRange(0, 4).Draw(t, "scope")
		if scope > 2 { // for one system only, or for one and all others
			r.Attrs = append(r.Attrs, Attr{Name: d.Name, System: c.Systems[0].Name, Value: drawValue(t, d.Kind, d.Dim), Static: d.Static})
		}
		switch scope {
		case 0, 4:
			r.Attrs = append(r.Attrs, Attr{Name: d.Name, Value: drawValue(t, d.Kind, d.Dim), Static: d.Static})
		case 1:
			for _, s := range c.Systems {
				r.Attrs = append(r.Attrs, Attr{Name: d.Name, System: s.Name, Value: drawValue(t, d.Kind, d.Dim), Static: d.Static})
			}
		}
	}
	return r
}

// TestBounds: hostile sizes end with an error or a bounded answer.
func TestBounds(t *testing.T) {
	t.Run("an endless chain of includes", func(t *testing.T) {
		n := 0
		_, _, err := Load("main.cf", func(name string) ([]byte, error) {
			n++
			return []byte(fmt.Sprintf("include \"f%d.cf\"\n", n)), nil
		})
		if n > maxFiles || err == nil || !strings.Contains(err.Error(), "more than 64 files") {
			t.Errorf("%d files read, error %v", n, err)
		}
	})
	t.Run("a file that is too large", func(t *testing.T) {
		_, _, err := Load("main.cf", func(string) ([]byte, error) { return make([]byte, maxFileBytes+1), nil })
		if err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("more mistakes than anybody reads", func(t *testing.T) {
		_, _, err := LoadMap("main.cf", map[string]string{"main.cf": strings.Repeat("nonsense\n", 100000)})
		if errs, ok := err.(Errors); !ok || len(errs) != maxMessages+1 {
			t.Errorf("%d messages", len(errs))
		}
	})
	t.Run("a ladder of shared children prints a bounded tree", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("cluster c ( )\nsystem a\ntype T ( )\ngroup g ( SystemList = { a } )\n")
		for i := range 60 {
			fmt.Fprintf(&b, "T l%d ( )\nT r%d ( )\n", i, i)
		}
		for i := range 59 {
			for _, p := range []string{"l", "r"} {
				fmt.Fprintf(&b, "%s%d requires l%d\n%s%d requires r%d\n", p, i, i+1, p, i, i+1)
			}
		}
		cfg, _, err := LoadMap("main.cf", map[string]string{"main.cf": b.String()})
		if err != nil {
			t.Fatal(err)
		}
		if text := cfg.Print("main.cf"); len(text) > 1<<20 || !strings.Contains(text, "too long to show") {
			t.Errorf("the dump has %d bytes", len(text))
		}
	})
	t.Run("5000 resources in one chain", func(t *testing.T) {
		var b strings.Builder
		b.WriteString("cluster c ( )\nsystem a\ntype T ( )\ngroup g ( SystemList = { a } )\n")
		for i := range 5000 {
			fmt.Fprintf(&b, "T r%d ( )\n", i)
		}
		for i := range 4999 {
			fmt.Fprintf(&b, "r%d requires r%d\n", i, i+1)
		}
		if _, _, err := LoadMap("main.cf", map[string]string{"main.cf": b.String()}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzLoad: never a panic, never a half-loaded configuration, and what loads
// survives a dump.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		"cluster c (\n\t)\n", "include \"types.cf\"\n", "group g ( A @b = { x = 1, y; z } )\n",
		"type T ( static str ArgList[] = { A } str A = \"\\\"\" keylist K )\ncluster c ( )\nsystem a\ngroup g ( SystemList = { a } )\nT r ( A = \"x\" )\nT q ( )\nr requires atleast 1 from q\n",
		"group a ( )\nrequires group b online local firm\n", "\ufeff“”‘’'", "cluster c ( UserNames = { a = ", "a requires", "@@@==={{{", "type T ( keylist",
		"cluster \"", "system a\nsystem a", "remotecluster r ( )\nheartbeat h ( Arguments @r = { } )",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cfg, _, err := LoadMap("main.cf", map[string]string{"main.cf": text})
		if (cfg == nil) != (err != nil) {
			t.Fatal("a configuration and an error")
		}
		if err != nil {
			if errs := err.(Errors); len(errs) > maxMessages+1 {
				t.Fatalf("%d messages", len(errs))
			}
			return
		}
		dump := cfg.Print("main.cf")
		again, _, err := LoadMap("main.cf", map[string]string{"main.cf": dump})
		if err != nil {
			t.Fatalf("its dump does not load: %v\n%s", err, dump)
		}
		if again.Print("main.cf") != dump {
			t.Fatal("dumps differ")
		}
	})
}
