package maincf

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestEditStories tells changes of a running configuration. Commands:
//
//	start:  the configuration; its types are in types.cf of the golden.
//	change: commands that are one change. Prints the refusal, or the notices,
//	        what changed in the text (- and +), and checks the way back.
//	show:   the text of main.cf, or of the file named.
//	parse:  each line read and written again, or what is wrong with it.
func TestEditStories(t *testing.T) {
	datadriven.Walk(t, "testdata/edits", func(t *testing.T, path string) {
		var cfg *Config
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "start":
				var err error
				if cfg, _, err = LoadMap("main.cf", map[string]string{"main.cf": d.Input}); err != nil {
					d.Fatalf(t, "%v", err)
				}
				return "ok\n"
			case "change":
				var text string
				cfg, text = change(t, d, cfg)
				return text
			case "show":
				file := "main.cf"
				d.MaybeScanArgs(t, "file", &file)
				return cfg.Print(file)
			case "parse":
				return parseLines(d.Input)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func change(t *testing.T, d *datadriven.TestData, cfg *Config) (*Config, string) {
	edits, err := ParseCommands("line", d.Input)
	if err != nil {
		return cfg, err.Error() + "\n"
	}
	before := dumpText(cfg)
	c, err := cfg.Apply(edits...)
	if dumpText(cfg) != before {
		d.Fatalf(t, "the configuration that was given has changed")
	}
	if err != nil {
		return cfg, err.Error() + "\n"
	}
	var b strings.Builder
	for _, n := range c.Notices {
		fmt.Fprintln(&b, n)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w.Text)
	}
	changed := difference(before, dumpText(c.Config))
	if changed == "" {
		changed = "nothing changed\n"
	}
	b.WriteString(changed)
	back, err := c.Config.Diff(cfg)
	if err != nil {
		d.Fatalf(t, "no way back: %v", err)
	}
	undone, err := c.Config.Apply(back...)
	if err != nil {
		d.Fatalf(t, "the way back is refused: %v\n%v", err, back)
	}
	if want, got := objects(cfg), objects(undone.Config); got != want {
		d.Fatalf(t, "the way back leads elsewhere:\n%s", difference(want, got))
	}
	return c.Config, b.String()
}

func parseLines(text string) string {
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		words, err := SplitLine(line)
		var e Edit
		if err == nil {
			e, err = ParseArgs(words)
		}
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		fmt.Fprintf(&b, "%v\n", e)
	}
	return b.String()
}

func dumpText(c *Config) string {
	var b strings.Builder
	for _, f := range c.Dump() {
		b.WriteString("-- " + f.Name + " --\n" + f.Text)
	}
	return b.String()
}

// objects is the text of the normal form, without includes that hold nothing.
func objects(c *Config) string {
	n := c.Normal()
	n.Includes = nil
	files := map[string]bool{}
	var b strings.Builder
	for _, i := range c.Includes {
		files[i.File] = true
	}
	b.WriteString(n.Print(c.File))
	for _, f := range keys(files) {
		b.WriteString(n.Print(f))
	}
	return b.String()
}

// difference lists the lines that are in one text only, in order.
func difference(a, b string) string {
	if a == b {
		return ""
	}
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	common := make([][]int, len(x)+1) // length of the longest common part of the rests
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out strings.Builder
	line := func(sign, text string) {
		if text = strings.TrimSpace(text); text != "" && !strings.HasPrefix(text, "//") {
			out.WriteString(sign + " " + text + "\n")
		}
	}
	for i, j := 0, 0; i < len(x) || j < len(y); {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			i, j = i+1, j+1
		case j == len(y) || i < len(x) && common[i+1][j] >= common[i][j+1]:
			line("-", x[i])
			i++
		default:
			line("+", y[j])
			j++
		}
	}
	return out.String()
}

// same says what differs between two models, or nothing.
func same(a, b *Config) bool {
	a, b = a.Normal(), b.Normal()
	for _, c := range []*Config{a, b} {
		strip(reflect.ValueOf(c))
		c.Includes = nil
		order(c)
	}
	return reflect.DeepEqual(a, b)
}

// loaded reads a drawn configuration, so that it has places.
func loaded(t *rapid.T, c *Config) *Config {
	files := map[string]string{}
	for _, f := range c.Dump() {
		files[f.Name] = f.Text
	}
	out, _, err := LoadMap("main.cf", files)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return out
}

// TestDiffLeadsThere: the edits from any configuration to any other lead
// there, what Apply returns is what its files say, and the edits back restore
// the first.
func TestDiffLeadsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := loaded(t, drawConfig(t)), loaded(t, drawConfig(t))
		there := applied(t, from, to)
		back := applied(t, there, from)
		if !same(back, from) {
			t.Fatalf("the way back leads elsewhere:\n%s", difference(objects(from), objects(back)))
		}
		edits, err := from.Diff(from)
		if err != nil || len(edits) > 0 {
			t.Fatalf("a configuration differs from itself: %v %v", edits, err)
		}
	})
}

func applied(t *rapid.T, from, to *Config) *Config {
	edits, err := from.Diff(to)
	if err != nil {
		t.Fatalf("diff: %v", err)
	}
	c, err := from.Apply(edits...)
	if err != nil {
		t.Fatalf("apply: %v\n%v", err, edits)
	}
	if !same(c.Config, to) {
		t.Fatalf("leads elsewhere:\n%s\n%v", difference(objects(to), objects(c.Config)), edits)
	}
	files := map[string]string{}
	for _, f := range c.Files {
		files[f.Name] = f.Text
	}
	again, _, err := LoadMap("main.cf", files)
	if err != nil || !reflect.DeepEqual(again, c.Config) {
		t.Fatalf("the files say something else than the model: %v", err)
	}
	return c.Config
}

// TestCommandsRoundTrip: cf to cmd to cf means the same, and each command
// line is read as the edit that wrote it.
func TestCommandsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := loaded(t, drawConfig(t))
		script, err := want.Commands()
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromCommands("main.cf", "main.cmd", script)
		if err != nil {
			t.Fatalf("%v\n%s", err, script)
		}
		if !same(got.Config, want) {
			t.Fatalf("changed on the way:\n%s\n%s", difference(objects(want), objects(got.Config)), script)
		}
		again, err := got.Config.Commands()
		if err != nil || again != script {
			t.Fatalf("other commands the second time: %v\n%s", err, difference(script, again))
		}
	})
}

// TestRandomEdits: whatever is asked for, it is done whole or refused whole,
// and what was done can be undone.
func TestRandomEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := loaded(t, drawConfig(t))
		done := 0
		for range rapid.IntRange(1, 8).Draw(t, "edits") {
			e := drawEdit(t, cfg)
			read, err := ParseArgs(e.Args())
			if err == nil && read.String() != e.String() {
				t.Fatalf("%s is read as %s", e, read)
			}
			before := dumpText(cfg)
			c, err := cfg.Apply(e)
			if dumpText(cfg) != before {
				t.Fatalf("%s changed what it was given", e)
			}
			var refused *Refusal
			if err != nil {
				if !errors.As(err, &refused) || refused.ID == 0 || refused.Text == "" {
					t.Fatalf("%s: %v", e, err)
				}
				continue
			}
			done++
			undone := applied(t, c.Config, cfg)
			if !same(undone, cfg) {
				t.Fatalf("%s cannot be undone", e)
			}
			cfg = c.Config
		}
		t.Logf("%d done", done)
	})
}

func drawEdit(t *rapid.T, c *Config) Edit {
	e := Edit{Action: Action(rapid.IntRange(0, int(ActDeleteAttr)).Draw(t, "action")), Class: Class(rapid.IntRange(0, int(ClassType)).Draw(t, "class"))}
	some := func(label string, names []string) string {
		return rapid.SampledFrom(append(names, "new", "other")).Draw(t, label)
	}
	var systems, groups, resources, types, attrs []string
	for _, s := range c.Systems {
		systems = append(systems, s.Name)
	}
	for _, g := range c.Groups {
		groups = append(groups, g.Name)
		for _, r := range g.Resources {
			resources = append(resources, r.Name)
		}
	}
	for _, ty := range c.Types {
		types = append(types, ty.Name)
		for _, d := range ty.Attrs {
			attrs = append(attrs, d.Name)
		}
	}
	attrs = append(attrs, "SystemList", "AutoStartList", "Limits", "UserNames", "Tag", "Enabled", "MonitorInterval", "RestartLimit", "ArgList", "SourceFile", "Parallel", "UserStrLocal")
	e.Name = some("name", map[Class][]string{ClassSystem: systems, ClassGroup: groups, ClassResource: resources, ClassType: types}[e.Class])
	switch e.Action {
	case ActLink, ActUnlink:
		e.Class = rapid.SampledFrom([]Class{ClassGroup, ClassResource}).Draw(t, "link")
		if e.Class == ClassGroup {
			e.Name, e.Child = some("parent", groups), some("child", groups)
			if e.Action == ActLink {
				e.Category, e.Location = rapid.SampledFrom([]string{"online", "offline"}).Draw(t, "category"), rapid.SampledFrom([]string{"local", "global"}).Draw(t, "location")
			}
			return e
		}
		e.Name, e.Children = some("parent", resources), []string{some("child", resources)}
		if e.Action == ActLink {
			e.AtLeast = rapid.IntRange(0, 1).Draw(t, "min")
		}
		return e
	case ActOverride, ActUndoOverride, ActLocal, ActGlobal:
		e.Class, e.Name = ClassResource, some("resource", resources)
	case ActAddAttr, ActDefault, ActDeleteAttr:
		e.Class, e.Name = ClassType, some("type", types)
		e.Static = rapid.Bool().Draw(t, "static")
	case ActAdd:
		if e.Class == ClassResource {
			e.Type, e.Group = some("type", types), some("group", groups)
		}
		if e.Class == ClassCluster {
			e.Class = ClassRemote
		}
		return e
	case ActDelete:
		if e.Class == ClassCluster {
			e.Class = ClassRemote
		}
		return e
	case ActModify:
		if e.Class == ClassCluster {
			e.Name = ""
		}
		if rapid.IntRange(0, 3).Draw(t, "local") == 0 && e.Class == ClassResource {
			e.System = some("system", systems)
		}
		e.How = How(rapid.IntRange(0, int(DeleteAll)).Draw(t, "how"))
	}
	e.Attr = some("attr", attrs)
	if e.Action == ActModify && e.How != DeleteAll || e.Action == ActGlobal || e.Action == ActDefault {
		words := append(append([]string{"0", "1", "-5"}, systems...), anyText.Draw(t, "text"))
		for range rapid.IntRange(1, 4).Draw(t, "words") {
			e.Words = append(e.Words, rapid.SampledFrom(words).Draw(t, "word"))
		}
	}
	return e
}

// FuzzCommands: no line of commands does harm, and what is read is written
// and read again as the same.
func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"hares -modify r FsckOpt %-y", "hagrp -modify g SystemList -add \"a b\" 0", "haattr -add -static T A -integer -vector 1 2",
		"hares -link a b,c -min 1", "haclus -modify Attr -delete -keys", "hagrp -link a b online local firm", "'", "hares -modify r A '' -sys s # x",
		"hahb -modify h A 1 -clus c", "haclus -add c \"10.0.0.1\"", "hares -modify r V -delete -key %%x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		edits, err := ParseCommands("main.cmd", line)
		if err != nil {
			return
		}
		for _, e := range edits {
			again, err := ParseCommands("main.cmd", e.String())
			if strings.ContainsAny(e.String(), "\n") {
				continue
			}
			if err != nil || len(again) != 1 || again[0].String() != e.String() {
				t.Fatalf("%s is read as %v (%v)", e, again, err)
			}
			_, _ = (&Config{File: "main.cf"}).Apply(e)
		}
	})
}

// BenchmarkApply: one edit of a cluster of 2,000 groups with 20,000 resources.
func BenchmarkApply(b *testing.B) {
	var s strings.Builder
	s.WriteString("cluster c ( )\nsystem a\nsystem b\ntype T ( str File )\n")
	for g := range 2000 {
		fmt.Fprintf(&s, "group g%d ( SystemList = { a, b } )\n", g)
		for r := range 10 {
			fmt.Fprintf(&s, "T g%dr%d ( File = \"/data/%d/%d\" )\n", g, r, g, r)
		}
		for r := range 9 {
			fmt.Fprintf(&s, "g%dr%d requires g%dr%d\n", g, r, g, r+1)
		}
	}
	cfg, _, err := LoadMap("main.cf", map[string]string{"main.cf": s.String()})
	if err != nil {
		b.Fatal(err)
	}
	e := Edit{Action: ActModify, Class: ClassResource, Name: "g1000r5", Attr: "File", Words: []string{"/other"}}
	b.ResetTimer()
	for range b.N {
		if _, err := cfg.Apply(e); err != nil {
			b.Fatal(err)
		}
	}
}
