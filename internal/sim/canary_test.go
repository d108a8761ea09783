package sim

import (
	"testing"
	"time"
)

// TestOracleCatches proves that the checks can fail: each deliberate fault is
// caught within a bounded number of seeds.
func TestOracleCatches(t *testing.T) {
	for _, fault := range Broken() {
		caught, tried := Result{}, 0
		many(1, 400, 20*time.Second, fault[0], func(r Result) bool {
			tried++
			if r.Failure != "" {
				caught = r
			}
			return r.Failure == ""
		})
		if caught.Failure == "" {
			t.Errorf("%s (%s): not caught in %d seeds", fault[0], fault[1], tried)
			continue
		}
		t.Logf("%-26s after %3d seeds, seed %d: %.110s", fault[0], tried, caught.Seed, caught.Failure)
	}
}
