package logqueue

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// stuck is a file whose disk hangs until it is released.
type stuck struct {
	mu      sync.Mutex
	text    bytes.Buffer
	release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

// TestHungDisk: while the disk hangs nobody waits; the memory is bounded, what
// was dropped is counted, and the rest comes in order.
func TestHungDisk(t *testing.T) {
	disk := &stuck{release: make(chan struct{})}
	w := New(disk)
	for i := range 2 * maxLines {
		fmt.Fprintf(w, "line %d\n", i)
	}
	w.mu.Lock()
	if len(w.lines) > maxLines || w.bytes > maxBytes || w.dropped == 0 {
		t.Errorf("%d lines and %d bytes wait, %d were dropped", len(w.lines), w.bytes, w.dropped)
	}
	w.mu.Unlock()
	close(disk.release)
	w.Close()
	text := disk.text.String()
	if !strings.HasPrefix(text, "line 0\nline 1\nline 2\n") || !strings.Contains(text, `were dropped, the disk was too slow","lines":`) {
		t.Errorf("the log begins %.60q and ends %q", text, text[max(0, len(text)-120):])
	}
}
