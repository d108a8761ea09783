package sim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestSameHashOn386: a seed is the same run, step by step, on a machine with
// other words.
func TestSameHashOn386(t *testing.T) {
	if raceEnabled || testing.Short() {
		t.Skip("builds hasim for 386 and runs 20 seeds twice: without -race and -short only")
	}
	hasim := filepath.Join(t.TempDir(), "hasim")
	build := exec.Command("go", "build", "-o", hasim, "../../cmd/hasim")
	build.Env = append(os.Environ(), "GOARCH=386", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build hasim for 386: %v\n%s", err, out)
	}
	out, err := exec.Command(hasim, "fuzz", "--seeds", "1-20", "--hashes").Output()
	if errors.Is(err, syscall.ENOEXEC) {
		t.Skip("this kernel does not run programs for 386")
	}
	if err != nil {
		t.Fatalf("hasim for 386: %v\n%s", err, out)
	}
	there := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		there[strings.TrimSpace(line)] = true
	}
	many(1, 20, 0, "", func(r Result) bool {
		here := fmt.Sprintf("seed %d steps %d frames %d hash %016x", r.Seed, r.Steps, r.Frames, r.Hash)
		if !there[here] {
			t.Errorf("here %s; on 386:\n%s", here, out)
			return false
		}
		return true
	})
}
