package sim

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// TestMutants proves that the checks can fail: each deliberate fault is caught
// within a bounded number of seeds, and by a plan that the product passes.
func TestMutants(t *testing.T) {
	seeds := uint64(0)
	switch {
	case *flagSeeds > 0:
		seeds = 400
	case raceEnabled || testing.Short():
		t.Skip("dozens of runs: without the race detector and -short only")
	default:
		seeds = 60
	}
	if n := len(Mutants()); n < 20 {
		t.Errorf("%d deliberate faults, want at least 20", n)
	}
	for _, m := range Mutants() {
		if *flagBroken != "" && !strings.Contains(m.Name, *flagBroken) {
			continue
		}
		if m.rare && *flagSeeds == 0 {
			continue
		}
		var caught Result
		tried := 0
		begin := time.Now()
		many(1, seeds, 3*time.Minute, m.Name, func(r Result) bool {
			tried++
			if r.Failure != "" && caught.Failure == "" {
				plan := Draw(Options{Seed: r.Seed, Broken: m.Name})
				if guarded(Options{Seed: r.Seed, Plan: &plan}).Failure == "" {
					caught = r
				}
			}
			return caught.Failure == ""
		})
		if caught.Failure == "" {
			t.Errorf("%s (%s: %s): not caught in %d seeds", m.Name, m.Rule, m.What, tried)
			continue
		}
		t.Logf("| %s | %s | %s | seed %d, %d steps: %.150s | %d, %s", m.Rule, m.Name, m.What, caught.Seed, caught.Steps, caught.Failure, tried, time.Since(begin).Round(time.Millisecond))
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
