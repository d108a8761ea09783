package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// TestOracleCatches proves that the checks can fail: each deliberate fault is
// caught within a bounded number of seeds.
func TestOracleCatches(t *testing.T) {
	if raceEnabled || *flagSeeds == 0 {
		t.Skip("hundreds of runs for each fault: make test does it, with -sim.seeds and without the race detector")
	}
	limit := 2 * time.Minute // a bound against hanging; seeds are what counts
	for _, fault := range Broken() {
		caught, tried := Result{}, 0
		many(1, 400, limit, fault[0], func(r Result) bool {
			tried++
			if r.Failure != "" && guarded(Options{Seed: r.Seed}).Failure == "" {
				caught = r
			}
			return caught.Failure == ""
		})
		if caught.Failure == "" {
			t.Errorf("%s (%s): not caught in %d seeds", fault[0], fault[1], tried)
			continue
		}
		t.Logf("%-26s after %3d seeds, seed %d: %.110s", fault[0], tried, caught.Seed, caught.Failure)
	}
}

// TestSameSeed: one seed fixes everything.
func TestSameSeed(t *testing.T) {
	for seed := uint64(1); seed <= 5; seed++ {
		a, b := guarded(Options{Seed: seed}), guarded(Options{Seed: seed})
		if a.Hash != b.Hash || a.Steps != b.Steps {
			t.Errorf("seed %d: %016x after %d steps, then %016x after %d", seed, a.Hash, a.Steps, b.Hash, b.Steps)
		}
	}
}

// TestScenario plays an administrator's story.
func TestScenario(t *testing.T) {
	s, err := ParseScenario("story", "at 20s switch g B\nat 40s crash B # power\nat 80s end\n")
	if err != nil {
		t.Fatal(err)
	}
	main := "include \"types.cf\"\ncluster c (\n)\nsystem A (\n)\nsystem B (\n)\n" +
		"group g (\nSystemList = { A = 0, B = 1 }\nAutoStartList = { A }\n)\nApp a (\n)\n"
	r, err := Run(Options{Seed: 1, Fencing: "majority", Scenario: s, Files: []engine.File{{Name: "main.cf", Text: main}, {Name: "types.cf", Text: simTypes}}})
	if err != nil || r.Failure != "" {
		t.Fatal(err, r.Failure)
	}
	if len(r.Groups) != 2 || !strings.Contains(r.Groups[0], "A          ONLINE") {
		t.Fatalf("groups at the end: %q", r.Groups)
	}
	if _, err := ParseScenario("story", "at 1s dance A"); err == nil || !strings.HasPrefix(err.Error(), "story:1: ") {
		t.Fatalf("error %v", err)
	}
}
