package simrun

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/sim"
)

// totals are what random runs came to.
type totals struct {
	runs, failed, steps, faults, frames int
	first, last                         uint64
	simulated, took                     time.Duration
	kinds                               map[string]int
}

func (t *totals) add(r sim.Result) {
	t.runs, t.steps, t.faults, t.frames, t.simulated = t.runs+1, t.steps+r.Steps, t.faults+r.Faults, t.frames+r.Frames, t.simulated+r.Simulated
	t.last = max(t.last, r.Seed)
	for _, c := range r.Counts {
		if kind, is := strings.CutPrefix(c.Name, "fault: "); is {
			t.kinds[kind] += c.N
		}
	}
	if r.Failure != "" {
		t.failed++
	}
}

func (t *totals) String() string {
	rate := 0
	if s := t.took.Seconds(); s > 0 {
		rate = int(float64(t.steps) / s)
	}
	return fmt.Sprintf("%d runs, %d failed: %d steps of cores, %d faults, %s simulated in %s, %d steps a second", t.runs, t.failed, t.steps, t.faults,
		t.simulated.Round(time.Second), t.took.Round(time.Millisecond), rate)
}

// byKind lists the faults, the most frequent first.
func (t *totals) byKind() string {
	var kinds []string
	for k := range t.kinds {
		kinds = append(kinds, k)
	}
	slices.SortFunc(kinds, func(a, b string) int {
		if d := t.kinds[b] - t.kinds[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%s %d", k, t.kinds[k])
	}
	return strings.Join(kinds, ", ")
}

// fuzzing is one call of hasim fuzz.
type fuzzing struct {
	opt         sim.Options
	first, last uint64
	hashes      bool
	runs        int    // of shrinking
	plans       string // directory
	out         io.Writer
	mu          sync.Mutex // guards out, next and sum
	next        uint64
	sum         totals
}

func fuzz(args []string, out io.Writer) (int, error) {
	f := fuzzing{out: out, sum: totals{kinds: map[string]int{}}}
	fs := common("fuzz", &f.opt)
	seeds := fs.String("seeds", "", "first and last seed: A-B; A- goes on until stopped (1-100; with --totals: what comes after its last)")
	fs.BoolVar(&f.hashes, "hashes", false, "print a line for each run")
	limit := fs.Duration("for", 0, "begin no run after this time; 0: no limit")
	file := fs.String("totals", "", "file with a line for each call")
	fs.IntVar(&f.runs, "shrink", 150, "plans to try to make a failure small; 0: leave it as it is")
	fs.StringVar(&f.plans, "plans", ".", "directory for the plans of failures")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if err := check(f.opt); err != nil {
		return 2, err
	}
	var err error
	if f.first, f.last, err = seedRange(*seeds, *file); err != nil {
		return 2, err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *limit)
		defer cancel()
	}
	f.all(ctx)
	fmt.Fprintf(out, "%s\nfaults: %s\n", &f.sum, f.sum.byKind())
	if *file != "" && f.sum.runs > 0 {
		if err := f.sum.append(*file); err != nil {
			return 2, err
		}
	}
	if f.sum.failed > 0 {
		return 1, nil
	}
	return 0, nil
}

// all runs the seeds on all processors until ctx is done; runs that have begun
// are finished.
func (f *fuzzing) all(ctx context.Context) {
	f.next, f.sum.first = f.first, f.first
	begin := time.Now()
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for ctx.Err() == nil {
				f.mu.Lock()
				seed := f.next
				f.next++
				f.mu.Unlock()
				if seed > f.last {
					return
				}
				f.one(seed)
			}
		})
	}
	wg.Wait()
	f.sum.took = time.Since(begin)
}

func (f *fuzzing) one(seed uint64) {
	opt := f.opt
	opt.Seed = seed
	r, err := sim.Guarded(opt)
	if err != nil {
		r.Failure = err.Error()
	}
	r.Seed = seed
	text := ""
	if f.hashes {
		text = fmt.Sprintf("seed %d steps %d frames %d hash %016x\n", seed, r.Steps, r.Frames, r.Hash)
	}
	if r.Failure != "" {
		text += fmt.Sprintf("seed %d: %s\n  repeat it: hasim run --seed %d%s -v\n", seed, r.Failure, seed, also(f.opt))
		if f.runs > 0 {
			text += f.small(opt)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sum.add(r)
	fmt.Fprint(f.out, text)
}

// small makes a failure small, keeps its plan and tells of it.
func (f *fuzzing) small(opt sim.Options) string {
	s, ok := sim.Shrink(opt, f.runs)
	if !ok {
		return "  it does not fail when it is run again: please report that with the seed\n"
	}
	path := filepath.Join(f.plans, fmt.Sprintf("hasim-seed-%d.json", opt.Seed))
	var b strings.Builder
	if err := writePlan(path, s.Plan); err != nil {
		fmt.Fprintf(&b, "  its plan is lost: %v\n", err)
	}
	tellShrunk(&b, s, path, f.opt.Broken)
	return b.String()
}

// seedRange reads A-B or A-; without either the seeds after those in the file.
func seedRange(text, file string) (first, last uint64, err error) {
	if text == "" && file == "" {
		text = "1-100"
	}
	if text == "" {
		if first, err = lastSeed(file); err != nil {
			return 0, 0, err
		}
		return first + 1, ^uint64(0) - 1, nil
	}
	a, b, ok := strings.Cut(text, "-")
	first, err1 := strconv.ParseUint(a, 10, 64)
	last, err2 := strconv.ParseUint(b, 10, 64)
	if ok && b == "" {
		last, err2 = ^uint64(0)-1, nil
	}
	if !ok || err1 != nil || err2 != nil || last < first {
		return 0, 0, fmt.Errorf("hasim fuzz: --seeds %q is not A-B or A-", text)
	}
	return first, last, nil
}

// lastSeed is the highest in a file of totals, which begin each line with
// "seeds A-B:"; 0 if there is no such file.
func lastSeed(file string) (uint64, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("hasim fuzz: %w", err)
	}
	defer f.Close()
	last := uint64(0)
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		var a, b uint64
		if _, err := fmt.Sscanf(lines.Text(), "seeds %d-%d:", &a, &b); err != nil {
			return 0, fmt.Errorf("hasim fuzz: %s:%d does not begin with \"seeds A-B:\"; name another file or the --seeds", file, n)
		}
		last = max(last, b)
	}
	return last, lines.Err()
}

// append adds a line to a file of totals.
func (t *totals) append(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("hasim fuzz: %w", err)
	}
	_, err = fmt.Fprintf(f, "seeds %d-%d: %s; %s\n", t.first, t.last, t, t.byKind())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("hasim fuzz: add to %s: %w", file, err)
	}
	return nil
}

// shrink makes one failure small.
func shrink(args []string, out io.Writer) (int, error) {
	opt := sim.Options{}
	fs := common("shrink", &opt)
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed")
	planned := fs.String("plan", "", "file that hasim plan, fuzz or shrink wrote")
	runs := fs.Int("runs", 400, "plans to try")
	path := fs.String("out", "", "file for the plan; empty: hasim-seed-N.json")
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if *planned != "" {
		if err := readPlan(*planned, &opt); err != nil {
			return 2, err
		}
	}
	if err := check(opt); err != nil {
		return 2, err
	}
	s, ok := sim.Shrink(opt, *runs)
	if !ok {
		fmt.Fprintf(out, "seed %d does not fail\n", opt.Seed)
		return 0, nil
	}
	if *path == "" {
		*path = fmt.Sprintf("hasim-seed-%d.json", opt.Seed)
	}
	if err := writePlan(*path, s.Plan); err != nil {
		return 2, err
	}
	tellShrunk(out, s, *path, opt.Broken)
	return 1, nil
}

// tellShrunk prints a small failure, its last steps, and what repeats it.
func tellShrunk(out io.Writer, s sim.Shrunk, path, broken string) {
	p := s.Plan
	fmt.Fprintf(out, "  smallest of %d plans: %d systems, %d of %d faults, fails %s\n", s.Runs, s.Result.Nodes, len(p.Faults), s.Was, s.Result.Failure)
	for _, f := range p.Faults {
		fmt.Fprintf(out, "    %s\n", f)
	}
	fmt.Fprintf(out, "  the last steps:\n")
	for _, line := range s.Tail {
		fmt.Fprintf(out, "    %s\n", line)
	}
	if broken != "" {
		broken = " --broken " + broken
	}
	fmt.Fprintf(out, "  repeat it: hasim run --plan %s%s -v\n", path, broken)
}

func writePlan(path string, p sim.Plan) error {
	text, err := json.MarshalIndent(p, "", "\t")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep plan %s: %w", path, err)
	}
	return nil
}
