package linear

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/test/lab"
)

var broken = flag.Bool("linear.broken", false, "also build hads that break R15, and see that a history of each is found wrong")

// breaks are edits that make had break its promise.
var breaks = []struct {
	name, file, old, new string
	// wrong is what the check has to say.
	wrong string
}{
	{"carries a repeated request out again", "services/had/engine/commands.go",
		"\told, known := e.Answer(c.RequestID)\n\tif !known {", "\told, known := e.Answer(c.RequestID)\n\tif old.RequestID == \"\" || known {",
		"carried out as new 2 times"},
	{"answers when it has sent, not when it was delivered", "services/had/server/operations.go",
		"\tl.bySend[sent], l.asked[sent] = c.RequestID, w\n",
		"\tl.bySend[sent], l.asked[sent] = c.RequestID, w\n\tdelete(l.waiters, c.RequestID)\n\tw.reply <- answer{result: engine.CommandResult{RequestID: c.RequestID, Code: engine.CodeOK}}\n",
		"no order explains"},
}

// TestBrokenHadIsFound_R15 runs hads that break a promise in a lab; the tree
// stays as it is, the compiler gets the changed file as an overlay.
func TestBrokenHadIsFound_R15(t *testing.T) {
	for i, b := range breaks {
		t.Run(strings.ReplaceAll(b.name, " ", "_"), func(t *testing.T) {
			overlay := edited(t, b.file, b.old, b.new)
			if !*broken || !lab.Privileged() {
				t.Skip("the edit applies; left out: the run, which needs -args -linear.broken and root")
			}
			dir := out(t)
			l := lab.New(fmt.Sprintf("t%dbroken%d", os.Getpid()%10000, i))
			l.Bin = withHad(t, filepath.Join(dir, l.Name), overlay)
			ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
			defer cancel()
			defer func() {
				if err := l.Down(context.WithoutCancel(ctx)); err != nil {
					t.Errorf("down: %v", err)
				}
			}()
			if err := l.Up(ctx, "../testdata/commands", patience); err != nil {
				t.Fatal(err)
			}
			h, err := record(ctx, l, 1)
			if h == nil {
				t.Fatal(err)
			}
			wrong := strings.Join(check(h, t.TempDir()), "\n")
			if !strings.Contains(wrong, b.wrong) {
				t.Errorf("wanted %q in a history of %d operations (%v), found:\n%s", b.wrong, len(h.Ops), err, wrong)
			}
			first, _, _ := strings.Cut(wrong, "\n")
			t.Logf("found in %d operations: %s", len(h.Ops), first)
		})
	}
}

// edited writes an overlay with one edit, which must apply exactly once.
func edited(t *testing.T, file, old, changed string) string {
	t.Helper()
	full := filepath.Join(lab.Repository(), file)
	text, err := os.ReadFile(full)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("the edit applies %d times to %s", n, file)
	}
	dir := t.TempDir()
	replaced := filepath.Join(dir, "changed.go")
	if err := os.WriteFile(replaced, []byte(strings.Replace(string(text), old, changed, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {full: replaced}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// withHad is a folder of all programs with a had of its own.
func withHad(t *testing.T, dir, overlay string) string {
	t.Helper()
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // programs only
	bin := filepath.Join(lab.Repository(), "bin")
	err := filepath.WalkDir(bin, func(name string, entry fs.DirEntry, err error) error {
		below, relErr := filepath.Rel(bin, name)
		switch {
		case err != nil:
			return err
		case relErr != nil:
			return relErr
		case below == "linearizability":
			return filepath.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, below), 0o755)
		case below == "had":
			return nil
		}
		return os.Link(name, filepath.Join(dir, below))
	})
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", filepath.Join(dir, "had"), "./cmd/had")
	build.Dir, build.Env = lab.Repository(), append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
	return dir
}
