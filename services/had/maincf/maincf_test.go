package maincf_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// files splits the input of a golden: text before the first "-- NAME --" line
// is main.cf; the built-in types are always there under types.cf.
func files(input string) map[string]string {
	out := map[string]string{"types.cf": etc.TypesCF}
	name := "main.cf"
	var b strings.Builder
	for line := range strings.Lines(input) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "-- ") && strings.HasSuffix(trimmed, " --") {
			out[name] = b.String()
			b.Reset()
			name = strings.Trim(trimmed, "- ")
			continue
		}
		b.WriteString(line)
	}
	out[name] = b.String()
	return out
}

// TestGolden runs the corpus. Commands:
//
//	good: loads; prints the warnings and the dump of main.cf (and, with
//	      types, of every other file); the dump must load to the same.
//	bad:  loads; prints every mistake, as hacf -verify does.
//	get:  loads; each line of the argument block asks for effective values.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "good":
				return good(t, d)
			case "bad":
				return bad(t, d)
			case "get":
				return get(t, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func good(t *testing.T, d *datadriven.TestData) string {
	cfg, warnings, err := maincf.LoadMap("main.cf", files(d.Input))
	if err != nil {
		d.Fatalf(t, "does not load:\n%v", err)
	}
	var b strings.Builder
	for _, w := range warnings {
		fmt.Fprintf(&b, "warning: %v\n", w)
	}
	dumped := map[string]string{}
	for _, f := range cfg.Dump() {
		dumped[f.Name] = f.Text
		if f.Name == "main.cf" {
			b.WriteString(f.Text)
		} else if f.Name != "types.cf" {
			fmt.Fprintf(&b, "-- %s --\n%s", f.Name, f.Text)
		}
	}
	again, _, err := maincf.LoadMap("main.cf", dumped)
	if err != nil {
		d.Fatalf(t, "its dump does not load:\n%v\n%s", err, dumped["main.cf"])
	}
	for _, f := range again.Dump() {
		if f.Text != dumped[f.Name] {
			d.Fatalf(t, "%s changes when it is dumped twice", f.Name)
		}
	}
	return b.String()
}

func bad(t *testing.T, d *datadriven.TestData) string {
	all := files(d.Input)
	cfg, _, err := maincf.LoadMap("main.cf", all)
	if err == nil {
		d.Fatalf(t, "loads, but should not")
	}
	if cfg != nil {
		d.Fatalf(t, "half-loaded: a configuration came with errors")
	}
	lines := maincf.Verify("/conf", func(name string) ([]byte, error) {
		text, ok := all[strings.TrimPrefix(name, "/conf/")]
		if !ok {
			return nil, fmt.Errorf("no such file")
		}
		return []byte(text), nil
	})
	if got := strings.Join(lines, "\n"); got != err.Error() {
		d.Fatalf(t, "hacf -verify says otherwise:\n%s\n%v", got, err)
	}
	return err.Error() + "\n"
}

// get answers the questions after the line "?": CLASS OBJECT ATTR [SYSTEM].
func get(t *testing.T, d *datadriven.TestData) string {
	conf, questions, _ := strings.Cut(d.Input, "\n?\n")
	cfg, _, err := maincf.LoadMap("main.cf", files(conf+"\n"))
	if err != nil {
		d.Fatalf(t, "does not load:\n%v", err)
	}
	var b strings.Builder
	for _, q := range strings.Split(questions, "\n") {
		w := append(strings.Fields(q), "", "", "")
		class, object, attr, system := w[0], w[1], w[2], w[3]
		var v maincf.Value
		ok := true
		switch class {
		case "cluster":
			v, ok = cfg.ClusterAttr(object)
		case "system":
			v, ok = cfg.SystemAttr(cfg.System(object), attr)
		case "group":
			v, ok = cfg.GroupAttr(cfg.Group(object), attr, system)
		case "resource":
			v, ok = cfg.ResourceAttr(cfg.Resource(object), attr, system)
		case "static":
			v, ok = cfg.StaticAttr(cfg.Resource(object), attr, system)
		case "type":
			v, ok = cfg.TypeAttr(object, attr)
		case "arglist":
			fmt.Fprintf(&b, "%s:", q)
			for _, a := range cfg.ArgList(cfg.Resource(object), attr) {
				fmt.Fprintf(&b, " %s=%v", a.Name, a.Value)
			}
			b.WriteByte('\n')
			continue
		case "agents":
			fmt.Fprintf(&b, "%s: %s\n", q, strings.Join(cfg.TypesOn(object), " "))
			continue
		}
		if !ok {
			fmt.Fprintf(&b, "%s: no such attribute\n", q)
			continue
		}
		fmt.Fprintf(&b, "%s: %v\n", q, v)
	}
	return b.String()
}
