// Command peers measures broadcast through gab's streams against Corosync's
// CPG: the same namespaces, the same links, the same MTU, by turns in one run.
// Figures of one run can be compared with each other only; the ratios are what
// counts. It asserts nothing.
//
// CPG gives agreed order: a message is delivered when it is ordered. GAB's
// delivery is safe: not before every member holds the message.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

type options struct {
	runs    int
	lasting time.Duration
	pings   int
	systems []int
	sizes   []int
	modes   []string
}

// mode is one way to run the peer; ours is sealed if it is.
var modes = map[string]struct {
	transport string
	sealed    bool
}{"knet": {"knet", false}, "knet-sealed": {"knet", true}, "udpu": {"udpu", false}}

func main() {
	o := options{}
	flag.IntVar(&o.runs, "runs", 5, "runs of each measurement by each side")
	flag.DurationVar(&o.lasting, "for", time.Second, "how long to send at full rate in each run")
	flag.IntVar(&o.pings, "pings", 1000, "messages one at a time in each run")
	systems := flag.String("systems", "2,3", "numbers of systems")
	sizes := flag.String("sizes", "64,1024,16384,65536", "bytes of a message")
	kinds := flag.String("modes", "knet,knet-sealed,udpu", "transports of the peer")
	flag.Parse()
	o.systems, o.sizes, o.modes = numbers(*systems), numbers(*sizes), strings.Split(*kinds, ",")
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-peers:", err)
		os.Exit(1)
	}
}

func numbers(list string) (out []int) {
	for _, word := range strings.Split(list, ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(word)); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func run(ctx context.Context, o options) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("needs root for namespaces and raw links")
	}
	version, err := exec.CommandContext(ctx, "corosync", "-v").Output()
	if err != nil {
		return fmt.Errorf("run corosync: %w; make bench-peers installs it", err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s against gab; %d CPUs, %s, %d runs of %s by turns, medians; load average before: %s\n", first, runtime.NumCPU(), runtime.Version(),
		o.runs, o.lasting, strings.Fields(string(load))[0])
	// Threads that end take their children along (Pdeathsig), so stay on one.
	runtime.LockOSThread()
	for _, n := range o.systems {
		for _, name := range o.modes {
			if err := compare(ctx, o, n, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// figures are the samples of one quantity of one side.
type figures []float64

func (f figures) median() float64 {
	if len(f) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(f))
	return s[len(s)/2]
}

type side struct{ rate, p50, p99 figures }

func compare(ctx context.Context, o options, systems int, name string) error {
	mode, known := modes[name]
	if !known {
		return fmt.Errorf("mode %q: not knet, knet-sealed or udpu", name)
	}
	dir, err := os.MkdirTemp("", "bench-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	t, err := newTopology(ctx, dir, filepath.Join(lab.Repository(), "bin"), systems)
	defer t.close()
	if err != nil {
		return err
	}
	ours, err := broadcastd(ctx, t, mode.sealed)
	defer ours.close()
	if err != nil {
		return err
	}
	alone, err := cores(ctx, t, mode.sealed)
	defer alone.close()
	if err != nil {
		return err
	}
	theirs, err := corosync(ctx, t, mode.transport, mode.sealed)
	defer theirs.close()
	if err != nil {
		return err
	}
	sealing := "not encrypted"
	if mode.sealed {
		sealing = "both encrypted"
	}
	fmt.Printf("\n%d systems, CPG over %s, %s, MTU 1500\n", systems, mode.transport, sealing)
	fmt.Printf("%8s  %10s %10s %6s %6s  %7s %7s %6s %6s  %7s %7s  %10s %6s %6s %7s  %s\n", "bytes", "CPG/s", "gab/s", "ratio", "target", "CPG p50", "gab p50", "ratio", "target", "CPG p99", "gab p99", "core/s", "ratio", "target", "p50", "unit")
	for _, size := range o.sizes {
		var cpg, gab, core side
		for range o.runs {
			if err := sample(ctx, alone, &core, size, o); err != nil {
				return err
			}
			if err := sample(ctx, theirs, &cpg, size, o); err != nil {
				return err
			}
			if err := sample(ctx, ours, &gab, size, o); err != nil {
				return err
			}
		}
		printRow(size, cpg, gab, core)
	}
	return nil
}

func sample(ctx context.Context, s *service, into *side, size int, o options) error {
	r, err := s.load(ctx, s.t.machines[0], size, o.lasting, o.pings)
	if err != nil {
		return err
	}
	into.rate, into.p50, into.p99 = append(into.rate, r.PerSecond), append(into.p50, r.P50us), append(into.p99, r.P99us)
	return nil
}

// printRow prints one size; at 16 KiB and more the rate is in MB/s.
func printRow(size int, cpg, gab, core side) {
	unit, scale, target := "msg/s", 1.0, 1.4
	if size >= 16<<10 {
		unit, scale, target = "MB/s", float64(size)/1e6, 0.6
	}
	ratio := func(a, b figures) float64 {
		if b.median() == 0 {
			return 0
		}
		return a.median() / b.median()
	}
	mark := func(ok bool) string {
		if ok {
			return "met"
		}
		return "MISSED"
	}
	r, l, k := ratio(gab.rate, cpg.rate), ratio(gab.p50, cpg.p50), ratio(core.rate, cpg.rate)
	fmt.Printf("%8d  %10.0f %10.0f %6.2f >=%.1f %-6s  %7.0f %7.0f %6.2f <=0.8 %-6s  %7.0f %7.0f  %10.0f %6.2f >=1 %-6s %5.0f  %s\n", size, cpg.rate.median()*scale, gab.rate.median()*scale,
		r, target, mark(r >= target), cpg.p50.median(), gab.p50.median(), l, mark(l <= 0.8), cpg.p99.median(), gab.p99.median(),
		core.rate.median()*scale, k, mark(k >= 1), core.p50.median(), unit)
}
