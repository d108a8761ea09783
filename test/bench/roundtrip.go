package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/evenkeel/evenkeel/test/lab"
)

// roundTrip runs the benchmark of llt/link: 64 bytes there and back between
// two network namespaces, bare over mdlayher/raw, over LLT in the clear, over
// LLT sealed, by turns in one run.
func roundTrip(ctx context.Context, runs int) error {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkRealRoundTrip$", "-benchtime", fmt.Sprintf("%dx", max(runs, 7)), "./llt/link")
	c.Dir = lab.Repository()
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	figure := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "BenchmarkRealRoundTrip") {
			for i := 2; i+1 < len(f); i += 2 {
				figure[f[i+1]] = f[i]
			}
		}
	}
	if figure["bare-µs"] == "" {
		return fmt.Errorf("the benchmark printed %q", out)
	}
	fmt.Printf("  bare exchange over mdlayher/raw                    %9s us\n", figure["bare-µs"])
	fmt.Printf("  message over LLT, in the clear                     %9s us, %s times bare\n", figure["clear-µs"], figure["clear/bare"])
	fmt.Printf("  message over LLT, encrypted                        %9s us, %s times bare\n", figure["sealed-µs"], figure["sealed/bare"])
	return nil
}
