package sim

import (
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
)

// TestSaveCutAnywhere: the power fails at each operation of a dump, with many
// outcomes of what was not durable. The disk holds the old configuration or the
// new one (I6). A disk that syncs nothing must be caught.
func TestSaveCutAnywhere(t *testing.T) {
	next := func(f engine.File) engine.File {
		return engine.File{Name: f.Name, Text: strings.ReplaceAll(f.Text, "What", "That")}
	}
	run := func(broken string) (cuts, old, failed int) {
		for seed := uint64(1); seed <= 40; seed++ {
			for cut := 0; ; cut++ {
				w, err := NewWorld(Options{Seed: seed, Nodes: 3, Broken: broken})
				if err != nil {
					t.Fatal(err)
				}
				n := w.nodes[0]
				changed := []engine.File{next(w.files[0]), next(w.files[1])}
				w.oracle.written(changed, 2)
				n.disk.begin(false)
				if err := n.conf().Save(changed, confdisk.Version{Number: 1, Sequence: 2}, false); err != nil {
					t.Fatal(err)
				}
				done := cut >= len(n.disk.log)
				if done {
					w.now, w.oracle.dumped[0] = n.disk.at, 2
				} else {
					w.now = n.disk.log[cut].at
				}
				n.disk.powerLost()
				d := n.readDisk()
				cuts++
				if w.failure != "" {
					failed++
				} else if d.files[1] == w.files[1] {
					old++
				}
				if broken == "" && w.failure != "" {
					t.Fatalf("seed %d, power lost at operation %d: %s", seed, cut, w.failure)
				}
				if done {
					break
				}
			}
		}
		return cuts, old, failed
	}
	cuts, old, _ := run("")
	t.Logf("%d cuts: %d left the old configuration, %d the new one", cuts, old, cuts-old)
	if old == 0 || old == cuts {
		t.Error("all cuts had one outcome: they came too early or too late")
	}
	if _, _, failed := run("no-sync"); failed == 0 {
		t.Error("a disk that syncs nothing was not caught")
	}
}
