package simrun

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/evenkeel/evenkeel/internal/sim"
)

// whatIf plays every single fault and every pair of them.
func whatIf(args []string, out io.Writer) (int, error) {
	opt := sim.Options{Seed: 1, Fencing: "majority"}
	fs := common("what-if", &opt)
	fs.Uint64Var(&opt.Seed, "seed", 1, "seed of what takes how long")
	conf := fs.String("conf", "", "directory with main.cf")
	pairs := fs.Bool("pairs", true, "also every pair of faults, one after the other")
	opt.Fencing = "majority"
	if err := fs.Parse(args); err != nil {
		return 2, err
	}
	if *conf == "" {
		return 2, errors.New("hasim what-if: --conf DIR is missing: the directory with main.cf")
	}
	if opt.Fencing == "" {
		opt.Fencing = "majority"
	}
	if err := check(opt); err != nil {
		return 2, err
	}
	var err error
	if opt.Files, err = readConf(*conf); err != nil {
		return 2, err
	}
	faults, err := sim.WhatIfFaults(opt)
	if err != nil {
		return 2, err
	}
	calm, base, err := sim.RunWhatIf(opt, nil)
	if err != nil {
		return 2, err
	}
	w := bufio.NewWriter(out)
	defer w.Flush()
	fmt.Fprintln(w, "without a fault:")
	for _, g := range base {
		where := strings.Join(g.Online, ", ")
		if where == "" {
			where = "offline (left out below)"
		}
		fmt.Fprintf(w, "  %-16s %s\n", g.Group, where)
	}
	if calm.Failure != "" {
		fmt.Fprintln(w, "FAILED:", calm.Failure)
		return 1, nil
	}
	var cases [][]sim.WhatIfFault
	for _, f := range faults {
		cases = append(cases, []sim.WhatIfFault{f})
	}
	singles := len(cases)
	for i := range faults {
		for j := range faults {
			if *pairs && i != j {
				cases = append(cases, []sim.WhatIfFault{faults[i], faults[j]})
			}
		}
	}
	results, err := playAll(opt, base, cases)
	if err != nil {
		return 2, err
	}
	code := tellCases(w, fmt.Sprintf("%d single faults", singles), results[:singles])
	if *pairs {
		code = max(code, tellCases(w, fmt.Sprintf("%d pairs of faults, one 6 minutes after the other", len(cases)-singles), results[singles:]))
	}
	return code, nil
}

// playAll plays all cases on all processors; the results are in their order.
func playAll(opt sim.Options, base []sim.GroupEnd, cases [][]sim.WhatIfFault) ([]sim.WhatIf, error) {
	results, errs := make([]sim.WhatIf, len(cases)), make([]error, len(cases))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				results[i], _, errs[i] = sim.RunWhatIf(opt, base, cases[i]...)
			}
		})
	}
	for i := range cases {
		next <- i
	}
	close(next)
	wg.Wait()
	return results, errors.Join(errs...)
}

// tellCases prints those that leave groups offline; 1 if an invariant failed.
func tellCases(w io.Writer, title string, results []sim.WhatIf) int {
	fmt.Fprintf(w, "\n%s:\n", title)
	bad, code := 0, 0
	for _, r := range results {
		var names []string
		for _, f := range r.Faults {
			names = append(names, f.String())
		}
		what := strings.Join(names, ", then ")
		switch {
		case r.Failure != "":
			code = 1
			fmt.Fprintf(w, "  %s: FAILED: %s\n", what, r.Failure)
		case r.AllDown:
			bad++
			fmt.Fprintf(w, "  %s: no system is left\n", what)
		case len(r.Offline) > 0:
			bad++
			fmt.Fprintf(w, "  %s\n", what)
			for _, g := range r.Offline {
				fmt.Fprintf(w, "      %s is offline: %s\n", g.Group, reason(g))
			}
		}
	}
	if bad == 0 && code == 0 {
		fmt.Fprintln(w, "  none leaves a group offline")
	} else {
		fmt.Fprintf(w, "  %d of %d leave groups offline\n", bad, len(results))
	}
	return code
}

// reason is what stands in a group's way, or the last decision about it.
func reason(g sim.GroupEnd) string {
	if len(g.Hindrances) > 0 {
		return strings.Join(g.Hindrances, "; ")
	}
	if g.Why == "" {
		return "nothing was decided about it"
	}
	return strings.ReplaceAll(g.Why, "\n", "; ")
}
