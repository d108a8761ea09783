package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

type event int

func (e event) String() string { return fmt.Sprintf("event %d", int(e)) }

// TestRing: the newest events are there, in order; entries and bytes are
// bounded; the file is whole.
func TestRing(t *testing.T) {
	r := New(10, 1000)
	r.Start("core of node 1")
	for i := range 25 {
		r.Add(vclock.Time(i)*1e9, "gab", event(i), 10)
	}
	path := filepath.Join(t.TempDir(), "gab.journal")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("# core of node 1\n# 10 events, 15 before them were dropped\n")
	for i := 15; i < 25; i++ {
		fmt.Fprintf(&want, "%d.000000s gab event %d\n", i, i)
	}
	if string(text) != want.String() {
		t.Fatalf("got\n%s\nwant\n%s", text, want.String())
	}
	r.Add(0, "gab", event(99), 950)
	var out strings.Builder
	if _, err := r.WriteTo(&out); err != nil || !strings.Contains(out.String(), "# 6 events") {
		t.Fatalf("bytes are not bounded, error %v:\n%s", err, out.String())
	}
}
