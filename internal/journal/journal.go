// Package journal is the flight recorder of a daemon: a bounded ring of the
// events that its cores took, with their times, written to a file when
// somebody asks or the daemon dies.
//
// Recording costs next to nothing: an event is kept as it is and becomes text
// only when the ring is written. So an event that was added must not change
// any more.
package journal

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// Ring is a journal. It is safe for concurrent use.
type Ring struct {
	mu       sync.Mutex
	entries  []entry
	next     int
	total    uint64 // ever added
	bytes    int    // of the entries in the ring
	maxBytes int
	oldest   int
	count    int
	start    string
}

type entry struct {
	at   vclock.Time
	core string
	ev   fmt.Stringer
	size int
}

// New returns a ring of at most entries events whose sizes are at most bytes
// in all; the oldest go first.
func New(entries, bytes int) *Ring {
	return &Ring{entries: make([]entry, max(entries, 1)), maxBytes: bytes}
}

// Start sets what a replay must know to begin with: one line of text.
func (r *Ring) Start(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start = text
}

// Add records an event of a core. size is about how many bytes it holds.
func (r *Ring) Add(at vclock.Time, core string, ev fmt.Stringer, size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.count > 0 && (r.count == len(r.entries) || r.bytes+size > r.maxBytes) {
		r.drop()
	}
	r.entries[r.next] = entry{at, core, ev, size}
	r.next = (r.next + 1) % len(r.entries)
	r.count++
	r.total++
	r.bytes += size
}

func (r *Ring) drop() {
	r.bytes -= r.entries[r.oldest].size
	r.entries[r.oldest] = entry{}
	r.oldest = (r.oldest + 1) % len(r.entries)
	r.count--
}

// WriteTo writes the ring as text, one event a line: time, core, event.
func (r *Ring) WriteTo(w io.Writer) (int64, error) { return write(w, []*Ring{r}) }

// write merges rings by time; what is added meanwhile is not written.
func write(w io.Writer, rings []*Ring) (int64, error) {
	var all []entry
	dropped, start := uint64(0), ""
	for i, r := range rings {
		r.mu.Lock()
		for k := range r.count {
			all = append(all, r.entries[(r.oldest+k)%len(r.entries)])
		}
		dropped += r.total - uint64(r.count)
		if i == 0 {
			start = r.start
		}
		r.mu.Unlock()
	}
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	out := bufio.NewWriter(w)
	n, err := fmt.Fprintf(out, "# %s\n# %d events, %d before them were dropped\n", start, len(all), dropped)
	written := int64(n)
	for _, e := range all {
		if err != nil {
			break
		}
		n, err = fmt.Fprintf(out, "%s %s %s\n", e.at, e.core, e.ev)
		written += int64(n)
	}
	if err == nil {
		err = out.Flush()
	}
	return written, err
}

// Save writes the ring to a file, whole or not at all, and makes it durable.
func (r *Ring) Save(path string) error { return Save(path, r) }

// Save writes several rings to one file, in the order of their times, whole or
// not at all, and makes it durable. The first says what it begins with.
func Save(path string, rings ...*Ring) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save journal %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = write(f, rings)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("save journal %s: %w", path, err)
	}
	return nil
}
