package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/test/lab"
)

// broadcast measures GAB through the daemons' streams over two raw links, with
// two and three systems: 64 bytes, encrypted, one message a Send and 64.
func broadcast(ctx context.Context, runs int) error {
	for _, systems := range []int{2, 3} {
		conf, err := os.MkdirTemp("", "bench-gab-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(conf)
		if err := writeEmptyCluster(conf, systems); err != nil {
			return err
		}
		err = withLab(ctx, "bench-gab", conf, func(l *lab.Lab) error {
			for i := 2; i <= systems; i++ {
				listener := l.Command(ctx, fmt.Sprint("Server", i), filepath.Join(l.Bin, "lab-gabload"), "-listen")
				if err := listener.Start(); err != nil {
					return err
				}
				defer listener.Wait()
				defer listener.Process.Kill()
			}
			for _, batch := range []int{1, 64} {
				if err := load(ctx, l, systems, batch, max(runs, 7)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func load(ctx context.Context, l *lab.Lab, systems, batch, runs int) error {
	var rates, p50, p99 []float64
	for range runs {
		out, err := l.Must(ctx, "Server1", filepath.Join(l.Bin, "lab-gabload"), "-members", fmt.Sprint(systems), "-batch", fmt.Sprint(batch))
		if err != nil {
			return err
		}
		var r struct {
			PerSecond float64 `json:"per_second"`
			P50us     float64 `json:"p50_us"`
			P99us     float64 `json:"p99_us"`
		}
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			return fmt.Errorf("the load printed %q", out)
		}
		rates, p50, p99 = append(rates, r.PerSecond), append(p50, r.P50us), append(p99, r.P99us)
	}
	for _, samples := range [][]float64{rates, p50, p99} {
		slices.Sort(samples)
	}
	fmt.Printf("  %d systems, 64 B, %2d a Send, encrypted: %8.0f messages/s [%.0f to %.0f]; one in flight: p50 %.0f us, p99 %.0f us\n",
		systems, batch, median(rates), rates[0], rates[len(rates)-1], median(p50), median(p99))
	return nil
}

// writeEmptyCluster writes a configuration of so many systems without groups.
func writeEmptyCluster(dir string, systems int) error {
	var text strings.Builder
	text.WriteString("include \"types.cf\"\n\ncluster broadcast (\n\t)\n")
	for i := range systems {
		fmt.Fprintf(&text, "\nsystem Server%d\n", i+1)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "lab.yaml"), []byte("fencing: {mode: disabled}\n"), 0o644)
}
