package maincf_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// TestCorpus counts: at least 40 configurations that load and 60 mistakes,
// each different from all others by more than its names.
func TestCorpus(t *testing.T) {
	texts := map[string]map[string]string{"good": {}, "bad": {}}
	count := map[string]int{}
	kinds := map[string]bool{}
	var good []string
	paths, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if seen, counted := texts[d.Cmd]; counted {
				key := shape(d.Input)
				if d.Cmd == "bad" {
					key = shape(d.Input + d.Expected)
					for _, line := range strings.Split(d.Expected, "\n") {
						kinds[shape(line)] = true
					}
				}
				if first, again := seen[key]; again {
					t.Errorf("%s: the same as %s but for names", d.Pos, first)
				}
				seen[key] = d.Pos
				count[d.Cmd]++
			}
			if d.Cmd == "good" {
				good = append(good, d.Input)
			}
			return d.Expected
		})
	}
	if count["good"] < 40 || count["bad"] < 60 {
		t.Errorf("%d configurations and %d mistakes; 40 and 60 are wanted", count["good"], count["bad"])
	}
	if len(kinds) < 60 {
		t.Errorf("%d kinds of messages; 60 are wanted", len(kinds))
	}
	t.Logf("%d configurations, %d mistakes with %d kinds of messages", count["good"], count["bad"], len(kinds))
	for _, input := range good {
		overCommands(t, input)
	}
}

// shape is a text in which names and numbers do not count.
func shape(text string) string {
	var b strings.Builder
	for _, w := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }) {
		if len(w) <= 2 || strings.ContainsAny(w, "0123456789") {
			continue
		}
		b.WriteString(w + " ")
	}
	return b.String()
}

// overCommands: the way over main.cmd gives the same.
func overCommands(t *testing.T, input string) {
	t.Helper()
	cfg, _, err := maincf.LoadMap("main.cf", files(input))
	if err != nil {
		t.Fatal(err)
	}
	script, err := cfg.Commands()
	if err != nil {
		t.Fatalf("%v\n%s", err, input)
	}
	back, err := maincf.FromCommands("main.cf", "main.cmd", script)
	if err != nil {
		t.Fatalf("%v\n%s", err, script)
	}
	want, got := cfg.Normal(), back.Config.Normal()
	for _, f := range append(cfg.Includes, maincf.Include{File: "main.cf"}) {
		a, b := withoutIncludes(want.Print(f.File)), withoutIncludes(got.Print(f.File))
		if a != b {
			t.Errorf("%s changed on the way:\n%s\n%s\n%s", f.File, a, b, script)
		}
	}
}

// withoutIncludes: nested includes become includes of the main file.
func withoutIncludes(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "include ") {
			b.WriteString(line)
		}
	}
	return strings.TrimLeft(b.String(), "\n")
}
