package simrun

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFuzz: a failure is printed with a smaller plan, which fails again from
// its file; totals go on where they ended.
func TestFuzz(t *testing.T) {
	if testing.Short() {
		t.Skip("dozens of runs: without -short only")
	}
	dir := t.TempDir()
	file, plans := filepath.Join(dir, "totals"), filepath.Join(dir, "plans")
	say := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := Main(args, &out, &errs); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s%s", args, code, want, errs.String(), out.String())
		}
		return out.String()
	}
	out := say(1, "fuzz", "--seeds", "6-6", "--broken", "power-lies", "--totals", file, "--plans", plans, "--shrink", "40")
	plan := filepath.Join(plans, "hasim-seed-6.json")
	repeat := "hasim run --plan " + plan + " --broken power-lies -v"
	for _, want := range []string{"seed 6: at ", "smallest of ", "the last steps:", "FAILURE", repeat, "1 runs, 1 failed: ", "faults: "} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if again := say(1, "run", "--plan", plan, "--broken", "power-lies"); !strings.Contains(again, "FAILED: ") {
		t.Errorf("the plan does not fail again:\n%s", again)
	}
	out = say(0, "fuzz", "--for", "1ms", "--totals", file, "--hashes")
	if strings.Contains(out, "seed ") && !strings.Contains(out, "seed 7 ") {
		t.Errorf("the next seed is 7:\n%s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(text), "seeds 6-6: 1 runs, 1 failed: ") {
		t.Errorf("totals: %v\n%s", err, text)
	}
	if err := os.WriteFile(file, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	say(2, "fuzz", "--for", "1ms", "--totals", file)
	say(2, "fuzz", "--seeds", "9-2")
}

// TestReplayRefuses: what is no journal is said to be none.
func TestReplayRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.journal")
	if err := os.WriteFile(path, []byte("# had\n1s join wake\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{"holds no state": {"replay", path}, "name one journal": {"replay"}, "no such file": {"replay", path + "x"}} {
		var out, errs bytes.Buffer
		if code := Main(args, &out, &errs); code != 2 || !strings.Contains(errs.String(), want) {
			t.Errorf("%q: exit code %d, %q", args, code, errs.String())
		}
	}
}
