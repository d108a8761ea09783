package confdisk

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// Whatever is queued while the disk is slow: at most a mark and a copy wait,
// the last copy is written last, each dump is answered once and in order, and a
// mark that came after the last copy is made.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q Queue
		var ordered, answered []uint64
		lastCopy, wrote, markAfter, marked := uint64(0), uint64(0), false, false
		under := false
		begin := func() {
			j, ok := q.Begin()
			if !ok {
				return
			}
			under = true
			if j.Mark {
				marked = true
				return
			}
			if j.Version.Sequence < wrote {
				t.Fatalf("copy %d is written after copy %d", j.Version.Sequence, wrote)
			}
			wrote, marked = j.Version.Sequence, false
			for _, d := range j.Done("north", "") {
				answered = append(answered, d.Version)
			}
		}
		for i := range uint64(rapid.IntRange(0, 30).Draw(t, "orders")) {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				q.Add(Job{Mark: true})
				markAfter = true
			case 1:
				q.Add(RunningJob(engine.ConfigStatus{Sequence: i + 1}, engine.Source{}))
				lastCopy, markAfter = i+1, false
			case 2:
				q.Add(DumpJob(engine.DumpConfig{Version: i + 1, Sequence: i + 1}, engine.Source{}))
				ordered = append(ordered, i+1)
				lastCopy, markAfter = i+1, false
			case 3:
				if under {
					q.End()
					under = false
				}
				begin()
			}
			if len(q.waiting) > 2 {
				t.Fatalf("%d jobs wait", len(q.waiting))
			}
		}
		for {
			q.End()
			if len(q.waiting) == 0 {
				break
			}
			begin()
		}
		if wrote != lastCopy || fmt.Sprint(answered) != fmt.Sprint(ordered) || marked != markAfter {
			t.Fatalf("the disk holds copy %d, marked %v, and answered %v; it was told copy %d, marked %v, and owes %v",
				wrote, marked, answered, lastCopy, markAfter, ordered)
		}
	})
}
