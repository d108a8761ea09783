package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	flagSeeds  = flag.Uint64("sim.seeds", 0, "number of seeds; 0: the default")
	flagFirst  = flag.Uint64("sim.first", 1, "first seed")
	flagBroken = flag.String("sim.broken", "", "deliberate fault")
)

// guarded runs a seed; what cannot be simulated is a failure like any other.
func guarded(opt Options) Result {
	r, err := Guarded(opt)
	if err != nil {
		r.Failure = err.Error()
	}
	return r
}

// many runs seeds on all processors until all are done or time (0: no limit) is
// over.
func many(first, n uint64, limit time.Duration, broken string, each func(Result) (goOn bool)) {
	var next atomic.Uint64
	next.Store(first)
	var mu sync.Mutex
	var wg sync.WaitGroup
	stop := false
	begin := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				seed := next.Add(1) - 1
				if seed >= first+n || limit > 0 && time.Since(begin) > limit {
					return
				}
				r := guarded(Options{Seed: seed, Broken: broken})
				mu.Lock()
				if stop || !each(r) {
					stop = true
					mu.Unlock()
					return
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestSeeds runs whole clusters through random faults; I1 to I5 and I7 are
// checked after every step.
func TestSeeds(t *testing.T) {
	n := uint64(60) // make test runs 2,000
	if raceEnabled || testing.Short() {
		n = 20
	}
	if *flagSeeds > 0 {
		n = *flagSeeds
	}
	limit := 35 * time.Second
	if *flagSeeds > 0 {
		limit = time.Hour
	}
	counts := map[string]int{}
	runs, steps, faults := 0, 0, 0
	var simulated time.Duration
	begin := time.Now()
	many(*flagFirst, n, limit, *flagBroken, func(r Result) bool {
		runs++
		steps += r.Steps
		faults += r.Faults
		simulated += r.Simulated
		for _, c := range r.Counts {
			counts[c.Name] += c.N
		}
		if r.Failure != "" {
			t.Errorf("seed %d (%d systems, fencing %s): %s\nrepeat it: hasim run --seed %d -v; make it small: hasim shrink --seed %d", r.Seed, r.Nodes, r.Fencing, r.Failure, r.Seed, r.Seed)
		}
		return true
	})
	var lines []string
	for name, n := range counts {
		lines = append(lines, fmt.Sprintf("%s=%d", name, n))
	}
	sort.Strings(lines)
	took := time.Since(begin)
	t.Logf("%d seeds in %s: %d steps of cores (%.0f a second), %d faults, %.1f simulated hours\n%s", runs, took.Round(time.Millisecond), steps, float64(steps)/took.Seconds(), faults,
		simulated.Hours(), strings.Join(lines, " "))
}
