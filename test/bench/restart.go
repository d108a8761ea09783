package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// restart kills a monitored program and measures until its successor runs.
// One shell on the system kills and looks, so that no start of a program of
// ours is in the figure.
func restart(ctx context.Context, runs int) error {
	conf := filepath.Join(lab.Repository(), "test/lab/testdata/process")
	return withLab(ctx, "bench-restart", conf, func(l *lab.Lab) error {
		f := &figures{name: "kill of the process to its restart"}
		for range max(runs, 7) {
			if err := l.WaitGroup(within(ctx, 20*time.Second), "Server1", "app", "Server1", "|ONLINE|"); err != nil {
				return err
			}
			out, err := l.Must(within(ctx, 20*time.Second), "Server1", "bash", "-c", `
				old=$(pgrep -f '^/usr/bin/sleep 1000000'); began=$(date +%s%N); kill -KILL $old
				for i in $(seq 5000); do
					for now in $(pgrep -f '^/usr/bin/sleep 1000000'); do
						[ "$now" != "$old" ] && { echo $(( $(date +%s%N) - began )); exit 0; }
					done
				done; exit 1`)
			if err != nil {
				return err
			}
			took, err := strconv.ParseInt(strings.TrimSpace(out), 10, 64)
			if err != nil {
				return fmt.Errorf("the system printed %q", out)
			}
			f.add(time.Duration(took))
		}
		f.print()
		return nil
	})
}

// idle reads resident memory and processor time of the daemons and one agent,
// all in the same stretch of time on a system that has the ten resources.
func idle(ctx context.Context, _ int) error {
	conf := filepath.Join(lab.Repository(), "test/lab/testdata/ten")
	return withLab(ctx, "bench-idle", conf, func(l *lab.Lab) error {
		if err := l.WaitGroup(within(ctx, 20*time.Second), "Server1", "app", "Server1", "|ONLINE|"); err != nil {
			return err
		}
		return atRest(ctx, l, 20)
	})
}

// atRest reads what the processes of Server1 cost in so many seconds.
func atRest(ctx context.Context, l *lab.Lab, seconds int) error {
	out, err := l.Must(within(ctx, time.Minute+time.Duration(seconds)*time.Second), "Server1", "bash", "-c", fmt.Sprintf(`
		names="gab fencing hashadow had FileOnOff"; sleep 2
		ticks() { read -r -a f < /proc/$1/stat; echo $(( f[13] + f[14] )); }
		declare -A pid before
		for n in $names; do pid[$n]=$(pgrep -x $n | head -n 1); before[$n]=$(ticks ${pid[$n]}); done
		sleep %d
		for n in $names; do
			echo $n $(awk '/VmRSS/{print $2}' /proc/${pid[$n]}/status) $(( $(ticks ${pid[$n]}) - before[$n] ))
		done`, seconds))
	if err != nil {
		return err
	}
	fmt.Printf("  %-12s %12s %16s\n", "process", "resident MiB", "CPU of one core")
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var name string
		var kib, ticks int // 100 ticks a second
		if _, err := fmt.Sscan(line, &name, &kib, &ticks); err != nil {
			return fmt.Errorf("the system printed %q", line)
		}
		fmt.Printf("  %-12s %12.1f %14.2f %%\n", name, float64(kib)/1024, float64(ticks)/float64(seconds))
	}
	return nil
}
