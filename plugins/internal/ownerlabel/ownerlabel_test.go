package ownerlabel

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Of many imports that start from the same label exactly one wins, round
// after round.
func TestTwoImportsAtOnce(t *testing.T) {
	dir := t.TempDir()
	const systems = 8
	for round := range 60 {
		before, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		results := make([]error, systems)
		for i := range systems {
			wait.Go(func() {
				results[i] = Replace(dir, before, Label{System: fmt.Sprint("s", i), Incarnation: uint64(round), Group: "g"})
			})
		}
		wait.Wait()
		winner := -1
		for i, err := range results {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: s%d and s%d both imported", round, winner, i)
			case err == nil:
				winner = i
			case !errors.Is(err, ErrTaken):
				t.Fatalf("round %d: s%d: %v", round, i, err)
			}
		}
		after, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if winner < 0 || after.System != fmt.Sprint("s", winner) {
			t.Fatalf("round %d: winner %d, label says %q", round, winner, after.System)
		}
	}
}

// A system that slept through many imports must not win with what it read.
func TestSleeperLoses(t *testing.T) {
	dir := t.TempDir()
	old, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * kept {
		now, err := Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := Replace(dir, now, Label{System: fmt.Sprint("s", i), Group: "g"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Replace(dir, old, Label{System: "sleeper", Group: "g"}); !errors.Is(err, ErrTaken) {
		t.Fatalf("the sleeper got %v, want ErrTaken", err)
	}
	if now, _ := Read(dir); now.System != fmt.Sprint("s", 3*kept-1) {
		t.Fatalf("label says %q after the sleeper woke", now.System)
	}
}
