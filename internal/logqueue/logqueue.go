// Package logqueue writes a daemon's log without letting the daemon wait for
// the disk: a full or slow file system must not stop whoever keeps a system
// alive.
package logqueue

import (
	"fmt"
	"io"
	"sync"
)

// Bounds of what waits to be written; beyond them lines are dropped, and a
// line says how many.
const (
	maxLines = 8192
	maxBytes = 4 << 20
)

// Writer is a writer whose Write never waits for the one below. It is safe for
// concurrent use.
type Writer struct {
	mu      sync.Mutex
	wake    sync.Cond
	lines   [][]byte
	bytes   int
	dropped int
	closed  bool
	done    chan struct{}
}

// New returns a writer that writes to below in a goroutine of its own, which
// ends with Close.
func New(below io.Writer) *Writer {
	w := &Writer{done: make(chan struct{})}
	w.wake.L = &w.mu
	go w.write(below)
	return w
}

// Write takes one line. It always succeeds.
func (w *Writer) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.lines) >= maxLines || w.bytes+len(line) > maxBytes {
		w.dropped++
		return len(line), nil
	}
	w.lines = append(w.lines, append([]byte(nil), line...))
	w.bytes += len(line)
	w.wake.Signal()
	return len(line), nil
}

// Close waits until all is written.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.wake.Signal()
	w.mu.Unlock()
	<-w.done
	return nil
}

func (w *Writer) write(below io.Writer) {
	defer close(w.done)
	for {
		w.mu.Lock()
		for len(w.lines) == 0 && !w.closed {
			w.wake.Wait()
		}
		lines, dropped := w.lines, w.dropped
		w.lines, w.bytes, w.dropped = nil, 0, 0
		w.mu.Unlock()
		if len(lines) == 0 {
			return
		}
		for _, l := range lines {
			_, _ = below.Write(l) // a log that cannot be written cannot be complained of
		}
		if dropped > 0 {
			fmt.Fprintf(below, "{\"level\":\"WARN\",\"msg\":\"lines of this log were dropped, the disk was too slow\",\"lines\":%d}\n", dropped)
		}
	}
}
