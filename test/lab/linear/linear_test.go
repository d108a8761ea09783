package linear

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

var (
	histories = flag.Int("linear.histories", 5, "histories to record and check")
	firstSeed = flag.Uint64("linear.seed", 1, "seed of the first history; the others count up")
	limit     = flag.Duration("linear.time", 0, "begin no history after so long; 0 is no limit")
	recorded  = flag.String("linear.check", "", "check this recorded history and record none")
)

const (
	operators = 4
	// shortest is how long the operators work at least.
	shortest = 2500 * time.Millisecond
	// patience ends a test whose cluster does not come together again.
	patience = 90 * time.Second
)

// out is the folder of histories and pictures.
func out(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(lab.Repository(), "bin", "linearizability")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHistories: operators at all systems of a fenced cluster of three, and
// faults; what they were told has one order (R15), whatever happens.
func TestHistories(t *testing.T) {
	dir := out(t)
	if *recorded != "" {
		h, err := load(*recorded)
		if err != nil {
			t.Fatal(err)
		}
		report(t, h, *recorded, dir)
		return
	}
	if !lab.Privileged() {
		t.Skip("left out: needs root for network, mount and PID namespaces and loop devices")
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l := lab.New(fmt.Sprintf("t%dlinear", os.Getpid()%10000))
	defer func() {
		if err := l.Down(ctx); err != nil {
			t.Errorf("down: %v", err)
		}
	}()
	if err := l.Up(ctx, "../testdata/commands", patience); err != nil {
		t.Fatal(err)
	}
	began, done := time.Now(), 0
	counts := map[Outcome]int{}
	for i := range *histories {
		if *limit > 0 && time.Since(began) > *limit {
			break
		}
		seed := *firstSeed + uint64(i)
		h, err := record(ctx, l, seed)
		if h != nil {
			file := filepath.Join(dir, fmt.Sprintf("seed-%d.jsonl", seed))
			if err := h.save(file); err != nil {
				t.Fatal(err)
			}
			report(t, h, file, dir)
			for _, op := range h.Ops {
				counts[op.Outcome]++
			}
			done++
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d histories in %v: %v", done, time.Since(began).Round(time.Second), counts)
}

// report checks a history that was saved in a file.
func report(t *testing.T, h *History, file, dir string) {
	t.Helper()
	began := time.Now()
	wrong := check(h, dir)
	for _, w := range wrong[:min(len(wrong), 10)] {
		t.Errorf("seed %d, %v: %s", h.Seed, h.Faults, w)
	}
	if len(wrong) > 0 {
		t.Errorf("check it again: go test ./test/lab/linear -run TestHistories -args -linear.check %s", file)
	}
	kinds := map[Outcome]int{}
	for _, op := range h.Ops {
		kinds[op.Outcome]++
	}
	t.Logf("seed %d: %s; %d operations %v, checked in %v", h.Seed, strings.Join(h.Faults, ", then "), len(h.Ops), kinds, time.Since(began).Round(time.Millisecond))
}

// record runs operators under faults. The history is nil if none was begun.
func record(ctx context.Context, l *lab.Lab, seed uint64) (*History, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	r := rand.New(rand.NewPCG(seed, 100))
	p := &places{lab: l}
	keeper := newClient(operators, p, time.Now(), seed)
	defer keeper.close()
	if err := restore(ctx, p, keeper); err != nil {
		return nil, err
	}
	initial, err := keeper.settle(ctx)
	if err != nil {
		return nil, err
	}
	h := &History{Seed: seed, Initial: initial}
	begin := time.Now()
	keeper = newClient(operators+1, p, begin, seed) // other request ids than before
	defer keeper.close()
	work, stop := context.WithCancel(ctx)
	clients := make([]*client, operators)
	var working sync.WaitGroup
	for i := range clients {
		c := newClient(i, p, begin, seed)
		clients[i] = c
		defer c.close()
		working.Go(func() {
			for work.Err() == nil {
				// An operation ends by its own bounds, not because the work is over.
				c.act(ctx)
				pause(work, time.Duration(5+c.random.IntN(30))*time.Millisecond)
			}
		})
	}
	// The first fault goes round with the seed, so that few seeds have all kinds;
	// the first round is short.
	chosen := []fault{faults[(seed-1)%uint64(len(faults))]}
	if seed > uint64(len(faults)) && r.IntN(3) == 0 {
		chosen = append(chosen, faults[r.IntN(len(faults))])
	}
	for _, f := range chosen {
		name, failed := torment(ctx, l, f, r)
		h.Faults = append(h.Faults, name)
		if err = failed; err == nil {
			err = restore(ctx, p, keeper)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
			break
		}
	}
	pause(ctx, shortest-time.Since(begin))
	stop()
	working.Wait()
	if err == nil {
		err = conclude(ctx, p, keeper)
	}
	for _, c := range append(clients, keeper) {
		h.Ops = append(h.Ops, c.ops...)
	}
	slices.SortStableFunc(h.Ops, func(a, b Op) int { return int(a.Call - b.Call) })
	return h, err
}

// conclude reads every system at the end, and looks where the group that was
// moved about really runs (I1).
func conclude(ctx context.Context, p *places, c *client) error {
	for _, s := range systems {
		err := lab.Until(ctx, "a last read at "+s, func(ctx context.Context) (bool, string) {
			return c.barrier(ctx, s), fmt.Sprint(last(c.ops).Tries)
		})
		if err != nil {
			return err
		}
	}
	seen := map[string]int{}
	for range 2 {
		for _, s := range systems {
			if _, err := os.Stat(filepath.Join(p.root(s), "run/moves.flag")); err == nil {
				seen[s]++
			}
		}
	}
	both := 0
	for _, n := range seen {
		both += n / 2
	}
	if both > 1 {
		return fmt.Errorf("the group runs at %v at once (I1)", seen)
	}
	return nil
}
