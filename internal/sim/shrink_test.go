package sim

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestShrink: the plan of a deliberate fault that was caught becomes much
// shorter, still fails in the same way, also as it is written to a file, and
// passes with the product.
func TestShrink(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("dozens of runs: without the race detector and -short only")
	}
	for _, name := range []string{"power-lies", "speak-after-pause", "spool-drops"} {
		var opt Options
		var was Result
		for seed := uint64(1); seed < 60; seed++ {
			o := Options{Seed: seed, Broken: name}
			if len(Draw(o).Faults) < 12 {
				continue
			}
			if was = guarded(o); was.Failure != "" {
				opt = o
				break
			}
		}
		if opt.Seed == 0 {
			t.Errorf("%s: no seed fails", name)
			continue
		}
		s, ok := Shrink(opt, 120)
		if !ok {
			t.Errorf("%s, seed %d: fails once and not again", name, opt.Seed)
			continue
		}
		t.Logf("%s, seed %d: %d systems and %d faults, then %d and %d after %d plans: %.120s", name, opt.Seed, was.Nodes, s.Was,
			s.Result.Nodes, len(s.Plan.Faults), s.Runs, s.Result.Failure)
		if len(s.Plan.Faults)*3 > s.Was {
			t.Errorf("%s, seed %d: %d of %d faults are left", name, opt.Seed, len(s.Plan.Faults), s.Was)
		}
		if last := strings.Join(s.Tail, "\n"); !strings.Contains(last, "FAILURE") {
			t.Errorf("%s, seed %d: the failure is not in the last steps:\n%s", name, opt.Seed, last)
		}
		text, err := json.Marshal(s.Plan)
		if err != nil {
			t.Fatal(err)
		}
		var read Plan
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		again := guarded(Options{Seed: opt.Seed, Plan: &read, Broken: name})
		if again.Failure != s.Result.Failure || FailureKind(again.Failure) != FailureKind(was.Failure) {
			t.Errorf("%s, seed %d: fails with %q, small with %q, as a file with %q", name, opt.Seed, was.Failure, s.Result.Failure, again.Failure)
		}
		if r := guarded(Options{Seed: opt.Seed, Plan: &read}); r.Failure != "" {
			t.Errorf("%s, seed %d: the small plan fails with the product too: %s", name, opt.Seed, r.Failure)
		}
	}
}

// TestShrinkLeavesWhatPasses: what does not fail is not made small.
func TestShrinkLeavesWhatPasses(t *testing.T) {
	if _, ok := Shrink(Options{Seed: 1}, 10); ok {
		t.Error("seed 1 passes, and was made small")
	}
}
