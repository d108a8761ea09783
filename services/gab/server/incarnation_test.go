package server

import (
	"testing"
	"time"
)

// TestR4IncarnationsGrow: storage agents take evidence about one incarnation
// for earlier ones too, never for later ones, so later must be greater.
func TestR4IncarnationsGrow(t *testing.T) {
	at := time.Date(2026, 11, 22, 17, 0, 0, 0, time.UTC)
	last := incarnation(at)
	for range 1000 {
		at = at.Add(time.Millisecond)
		next := incarnation(at)
		if next <= last {
			t.Fatalf("%x after %x", next, last)
		}
		last = next
	}
}
