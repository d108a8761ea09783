package replay

import (
	"testing"

	"pgregory.net/rapid"
)

// TestAgainstSet compares the window with a dumb model: a set of all counters
// that were ever taken (R20: no frame counts twice).
func TestAgainstSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w Window
		taken := map[uint64]bool{}
		var highest, floor uint64
		base := rapid.SampledFrom([]uint64{1, 64, 2040, 1 << 40}).Draw(t, "base")
		for i := range rapid.IntRange(1, 400).Draw(t, "n") {
			if i%97 == 96 {
				floor = max(floor, rapid.Uint64Range(0, highest).Draw(t, "floor"))
				w.Raise(floor)
			}
			n := base + rapid.Uint64Range(0, 5000).Draw(t, "counter")
			if rapid.Bool().Draw(t, "near") && highest > 200 {
				n = highest + 100 - rapid.Uint64Range(0, 200).Draw(t, "back")
			}
			got := w.Accept(n)
			switch {
			case got && taken[n]:
				t.Fatalf("counter %d was accepted twice", n)
			case got && n <= floor:
				t.Fatalf("counter %d was accepted at floor %d", n, floor)
			case !got && !taken[n] && n > floor && (n > highest || highest-n < Size):
				t.Fatalf("fresh counter %d was refused, highest %d", n, highest)
			}
			taken[n] = taken[n] || got
			if got {
				highest = max(highest, n)
			}
		}
	})
}

func TestZeroIsNoCounter(t *testing.T) {
	var w Window
	if w.Accept(0) {
		t.Fatal("counter 0 was accepted")
	}
	if !w.Accept(1) || w.Accept(1) {
		t.Fatal("counter 1 must be accepted once")
	}
}
