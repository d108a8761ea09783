package lab

import (
	"testing"
	"time"
)

// The parts of a span are the span, whatever the logs lack.
func TestSplitAddsUp(t *testing.T) {
	began := time.Unix(1000, 0)
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	record := func(ms int, line string, fields map[string]any) Record {
		return Record{Time: at(ms), Line: line, Fields: fields}
	}
	records := []Record{
		record(10, "engine", nil), // an earlier turn of the engine is not the mark
		record(600, "down", nil),
		record(620, "engine", nil),
		record(700, "mounted", map[string]any{"mount_ms": 30.0}),
		record(900, "late", nil), // after the end of the span
	}
	marks := []Mark{
		{Name: "detection", Words: []string{"down"}},
		{Name: "engine", Words: []string{"engine"}},
		{Name: "lost", Words: []string{"nowhere"}},
		{Name: "recovery", Words: []string{"mounted"}, Before: []string{"mount_ms"}},
		{Name: "mount", Words: []string{"mounted"}},
		{Name: "server", Words: []string{"nowhere"}, Beside: true},
		{Name: "late", Words: []string{"late"}},
	}
	want := []Step{
		{"detection", 600 * time.Millisecond}, {"engine", 20 * time.Millisecond}, {"lost, recovery", 50 * time.Millisecond},
		{"mount", 30 * time.Millisecond}, {"server", 0}, {"late, answer", 100 * time.Millisecond},
	}
	got := Split(records, began, at(800), marks, "answer")
	var sum time.Duration
	for i, step := range got {
		if i >= len(want) || step != want[i] {
			t.Fatalf("step %d is %v, want %v", i, step, want)
		}
		sum += step.Took
	}
	if len(got) != len(want) || sum != 800*time.Millisecond {
		t.Errorf("%d steps of %v in all", len(got), sum)
	}
}
