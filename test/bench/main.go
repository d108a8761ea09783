// Command bench prints the figures that people ask an availability cluster
// for. It measures on this machine, in labs of real daemons, with the default
// timers, and asserts nothing: every figure stands with the mode in which it
// was taken, as the median of at least seven runs with minimum and maximum.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// benchmark is one subject.
type benchmark struct {
	name string
	run  func(ctx context.Context, runs int) error
}

func main() {
	runs := flag.Int("runs", 7, "runs of each measurement, at least 7 for figures to quote")
	only := flag.String("only", "", "run only the benchmarks whose name contains this")
	soakFor := flag.Duration("soak", 0, "instead of figures: let clusters stand so long on a busy machine with a bad link, and count false alarms")
	profiles := flag.String("profiles", "default,fast", "profiles to soak")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !lab.Privileged() {
		fmt.Fprintln(os.Stderr, "bench: needs root for namespaces and raw links")
		os.Exit(1)
	}
	fmt.Printf("%d CPUs, %s/%s, %s; medians of %d runs [minimum to maximum]\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), *runs)
	failed := false
	if *soakFor > 0 {
		fmt.Printf("\nfalse alarms (load average before: %s)\n", loadAverage())
		for profile := range strings.SplitSeq(*profiles, ",") {
			if err := soak(ctx, profile, *soakFor); err != nil {
				fmt.Fprintf(os.Stderr, "bench: soak: %v\n", err)
				failed = true
			}
		}
		if failed {
			os.Exit(1)
		}
		return
	}
	for _, b := range []benchmark{
		{"failover, fencing disabled", failover("address-disabled", false)},
		{"failover, fencing customized with three file points and the power switch", failover("address-fenced", true)},
		{"restart of a killed process", restart},
		{"broadcast on GAB", broadcast},
		{"round trip of a message on LLT", roundTrip},
		{"detection of a crash", detection},
		{"memory and CPU at rest with 10 resources", idle},
		{"engine at scale", scale},
		{"5,000 resources on one system", many},
	} {
		if !strings.Contains(b.name, *only) {
			continue
		}
		fmt.Printf("\n%s (load average before: %s)\n", b.name, loadAverage())
		if err := b.run(ctx, *runs); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", b.name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// loadAverage is how busy the machine was in the last minute, by others and by
// the benchmark before.
func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}

// figures are the samples of one quantity.
type figures struct {
	name    string
	samples []time.Duration
}

func (f *figures) add(d time.Duration) { f.samples = append(f.samples, d) }

func (f *figures) print() {
	if len(f.samples) == 0 {
		return
	}
	sorted := slices.Clone(f.samples)
	slices.Sort(sorted)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Printf("  %-50s %9.2f ms  [%.2f to %.2f]\n", f.name, ms(median(sorted)), ms(sorted[0]), ms(sorted[len(sorted)-1]))
}

// median expects sorted samples.
func median[T any](sorted []T) T { return sorted[len(sorted)/2] }

// withLab runs a function in a lab that is taken down afterwards.
func withLab(ctx context.Context, name, conf string, run func(*lab.Lab) error) error {
	return withSlowLab(ctx, name, conf, 60*time.Second, run)
}

// withSlowLab is withLab for what takes up to limit until it has started.
func withSlowLab(ctx context.Context, name, conf string, limit time.Duration, run func(*lab.Lab) error) error {
	l := lab.New(name)
	defer func() {
		down, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := l.Down(down); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	if err := l.Up(ctx, conf, limit); err != nil {
		return err
	}
	return run(l)
}

func within(ctx context.Context, limit time.Duration) context.Context {
	bounded, cancel := context.WithTimeout(ctx, limit)
	context.AfterFunc(bounded, cancel)
	return bounded
}
