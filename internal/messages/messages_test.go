package messages

import (
	"bytes"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/docs"
)

const top = "../../"

// printing are the folders whose code prints messages.
var printing = []string{"services", "internal/cli", "internal/messagelog", "internal/standing", "internal/selfstop", "fencing", "plugins", "sdk", "cmd"}

// numbers are those where an id stands as a bare number, with the category
// that it belongs to.
var numbers = []struct{ folder, category string }{
	{"services/had/engine", "1"}, {"services/had/decision", "1"}, {"services/had/maincf", "1"}, {"services/had/server", "1"}, {"services/had/join", "1"},
	{"services/had/schedule", "2"}, {"services/had/host", "2"}, {"internal/cli", "1"},
}

// notIDs are five-digit numbers of the code that are no ids, with their file.
var notIDs = map[string]string{
	"schema.go 14155": "the port of wac",
	"plan.go 10000":   "a bound",
}

var (
	whole  = regexp.MustCompile(`V-(?:14|15|16)-\d+-\d+`)
	number = regexp.MustCompile(`^(1[0-4]\d{3}|15\d{3}|40\d{3}|5[0-3]\d{3}|9[0-2]\d{3})$`)
)

func mustParse(t *testing.T) map[string]Entry {
	t.Helper()
	all, err := Parse(docs.Messages)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]Entry{}
	for _, e := range all {
		known[e.ID] = e
	}
	return known
}

var rewrite = flag.Bool("rewrite", false, "put the sections of docs/messages.md into order")

// TestOrder: who looks for an id by leafing finds it.
func TestOrder(t *testing.T) {
	text, err := os.ReadFile(top + "docs/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	sorted := Sorted(string(text))
	if *rewrite {
		if err := os.WriteFile(top+"docs/messages.md", []byte(sorted), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if sorted != string(text) {
		t.Error("the sections of docs/messages.md do not stand in the order of their ids: go test ./internal/messages -rewrite")
	}
}

// used returns the ids that the code prints, each with one place.
func used(t *testing.T) map[string]string {
	t.Helper()
	ids := map[string]string{}
	for _, folder := range printing {
		err := filepath.WalkDir(top+folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "testdata" {
				return filepath.SkipDir
			}
			if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			return scan(path, ids)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

func scan(path string, ids map[string]string) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	category := ""
	for _, n := range numbers {
		if strings.HasPrefix(strings.TrimPrefix(path, top), n.folder+"/") {
			category = n.category
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok {
			return true
		}
		place := files.Position(lit.Pos())
		for _, id := range whole.FindAllString(lit.Value, -1) {
			ids[id] = place.String()
		}
		text := strings.Trim(lit.Value, `"`)
		if lit.Kind == token.CHAR || category == "" || !number.MatchString(text) {
			return true
		}
		if _, none := notIDs[filepath.Base(path)+" "+text]; !none && (lit.Kind == token.INT || category == "2") {
			ids["V-16-"+category+"-"+text] = place.String()
		}
		return true
	})
	return nil
}

// composed are ids that the code puts together from parts.
var composed = []string{"V-14-2-10000", "V-15-2-10000"}

// TestCatalogueIsComplete: whoever reads an id in a log or at the end of a
// command finds it in docs/messages.md, and the list holds nothing that no
// longer exists.
func TestCatalogueIsComplete(t *testing.T) {
	known, printed := mustParse(t), used(t)
	if len(printed) < 100 {
		t.Fatalf("only %d ids found in the code: the search is broken", len(printed))
	}
	for _, id := range slices.SortedFunc(maps.Keys(printed), compare) {
		if _, ok := known[id]; !ok {
			t.Errorf("%s (%s) has no section in docs/messages.md: add \"## %s\" at its place in the order, with severity and text, cause and remedy", id, printed[id], id)
		}
	}
	for id := range known {
		if printed[id] == "" && !slices.Contains(composed, id) {
			t.Errorf("%s of docs/messages.md is printed nowhere: take its section out", id)
		}
	}
}

// TestGoldensAreInTheCatalogue: an id that a golden file shows has its
// section with that severity.
func TestGoldensAreInTheCatalogue(t *testing.T) {
	known := mustParse(t)
	line := regexp.MustCompile(`\b(CRITICAL|ERROR|WARNING|NOTICE|INFO) (V-(?:14|15|16)-\d+-\d+)`)
	seen := 0
	for _, folder := range []string{"services/had", "internal/cli"} {
		err := filepath.WalkDir(top+folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.Contains(path, "/testdata/") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil || bytes.IndexByte(text, 0) >= 0 || strings.Contains(path, "/fuzz/") {
				return err
			}
			told := map[string]bool{}
			for _, m := range line.FindAllStringSubmatch(string(text), -1) {
				seen++
				if told[m[0]] {
					continue
				}
				told[m[0]] = true
				if e, ok := known[m[2]]; !ok {
					t.Errorf("%s shows %s, which has no section in docs/messages.md", path, m[2])
				} else if !slices.Contains(e.Severities, m[1]) {
					t.Errorf("%s shows %s as %s; docs/messages.md says %s", path, m[2], m[1], strings.Join(e.Severities, ", "))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 200 {
		t.Errorf("only %d messages found in golden files: the search is broken", seen)
	}
}

func TestParseRefuses(t *testing.T) {
	good := "## V-16-1-10205\n\nERROR: text\n\n- Cause: c\n- Remedy: r\n"
	if all, err := Parse(good); err != nil || len(all) != 1 || all[0].Remedy != "r" || all[0].Severities[0] != "ERROR" {
		t.Fatalf("%v %v", all, err)
	}
	for name, bad := range map[string]string{
		"twice":        good + good,
		"no cause":     "## V-16-1-10205\n\nERROR: text\n\n- Remedy: r\n",
		"no severity":  "## V-16-1-10205\n\ntext\n\n- Cause: c\n- Remedy: r\n",
		"two remedies": good + "- Remedy: r\n",
		"no id":        strings.Replace(good, "10205", "x", 1),
	} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestFind(t *testing.T) {
	for short, id := range map[string]string{"10205": "V-16-1-10205", "v-16-1-10205": "V-16-1-10205", "2-13067": "V-16-2-13067", "13067": "V-16-2-13067", "13322": "V-16-1-13322"} {
		if e, ok := Find(short); !ok || e.ID != id {
			t.Errorf("%s found %q, want %s", short, e.ID, id)
		}
	}
	if e, ok := Find("99999"); ok {
		t.Errorf("99999 found %s", e.ID)
	}
}
