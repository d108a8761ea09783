package hacf

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// TestStories runs the command in a folder of its own for each golden.
//
//	file NAME: puts a file there.
//	hacf:      runs hacf with the words of each line; DIR is the folder.
//	ls:        lists the files; what is kept under a time is shown as TIME.
//	cat NAME:  prints a file.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		dir := t.TempDir()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				name := filepath.Join(dir, d.CmdArgs[0].Key)
				if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(d.Input), 0o644); err != nil {
					t.Fatal(err)
				}
				return "ok\n"
			case "hacf":
				return call(dir, d.Input)
			case "ls":
				return list(t, dir)
			case "cat":
				text, err := os.ReadFile(filepath.Join(dir, d.CmdArgs[0].Key))
				if err != nil {
					return strings.ReplaceAll(err.Error(), dir, "DIR") + "\n"
				}
				return string(text)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func call(dir, lines string) string {
	var b strings.Builder
	for _, line := range strings.Split(lines, "\n") {
		var out, errs bytes.Buffer
		code := Run(strings.Fields(strings.ReplaceAll(line, "DIR", dir)), &out, &errs)
		b.WriteString(strings.ReplaceAll(out.String(), dir, "DIR"))
		for l := range strings.Lines(errs.String()) {
			b.WriteString("stderr: " + strings.ReplaceAll(l, dir, "DIR"))
		}
		b.WriteString("exit " + string(rune('0'+code)) + "\n")
	}
	return b.String()
}

func list(t *testing.T, dir string) string {
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			rel, _ := filepath.Rel(dir, name)
			if i := strings.LastIndex(rel, "."); i > 0 && len(rel)-i == 7 && rel[i+1:] != "previous" {
				rel = rel[:strings.LastIndex(rel[:i], ".")] + ".TIME"
			}
			names = append(names, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, "\n") + "\n"
}

// TestExamplesRoundTrip: each configuration of the repository survives the
// way to commands and back.
func TestExamplesRoundTrip(t *testing.T) {
	found, err := filepath.Glob("../../../examples/*/main.cf")
	if err != nil || len(found) < 2 {
		t.Fatalf("examples: %v %v", found, err)
	}
	for _, file := range found {
		dir, dest := filepath.Dir(file), t.TempDir()
		var out, errs bytes.Buffer
		for _, args := range [][]string{{"-cftocmd", dir, "-dest", dest}, {"-cmdtocf", dest}, {"-verify", dest}} {
			if code := Run(args, &out, &errs); code != 0 {
				t.Fatalf("hacf %v: exit %d\n%s", args, code, errs.String())
			}
		}
		want, err := load(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := load(dest)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := text(want.Normal()), text(got.Normal()); a != b {
			t.Errorf("%s changed on the way:\n%s\n%s", file, a, b)
		}
	}
}

func text(c *maincf.Config) string {
	var b strings.Builder
	for _, f := range c.Dump() {
		b.WriteString(f.Name + "\n" + f.Text)
	}
	return b.String()
}
