package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Sighting is one line of the witness: from T on, Owner answered for the
// address ("" means nobody), or a violation was seen.
type Sighting struct {
	T         int64
	Owner     *string
	Violation string
}

// String is what the witness said.
func (s Sighting) String() string {
	at := s.At().Format("15:04:05.000")
	switch {
	case s.Violation != "":
		return at + " violation: " + s.Violation
	case s.Owner == nil || *s.Owner == "":
		return at + " nobody"
	}
	return at + " " + *s.Owner
}

// At is the wall-clock time of the sighting.
func (s Sighting) At() time.Time { return time.Unix(0, s.T) }

// Witness watches who owns an address from the client host.
type Witness struct {
	command *exec.Cmd
	mu      sync.Mutex
	seen    []Sighting
	ended   chan struct{}
}

// Witness starts a witness on the client host, which must be stopped.
func (l *Lab) Witness(ctx context.Context, device, address string) (*Witness, error) {
	w := &Witness{ended: make(chan struct{})}
	w.command = l.Command(ctx, "client", filepath.Join(l.Bin, "lab-witness"), "-i", device, "-a", address)
	w.command.Cancel = func() error { return w.command.Process.Signal(syscall.SIGTERM) }
	w.command.WaitDelay = 2 * time.Second
	out, err := w.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.command.Start(); err != nil {
		return nil, fmt.Errorf("start the witness: %w", err)
	}
	go func() {
		defer close(w.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var s Sighting
			if json.Unmarshal(lines.Bytes(), &s) == nil {
				w.mu.Lock()
				w.seen = append(w.seen, s)
				w.mu.Unlock()
			}
		}
	}()
	return w, nil
}

// Seen returns the sightings so far.
func (w *Witness) Seen() []Sighting {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Sighting(nil), w.seen...)
}

// Owner returns who answers now, "" if nobody does.
func (w *Witness) Owner() string {
	owner := ""
	for _, s := range w.Seen() {
		if s.Owner != nil {
			owner = *s.Owner
		}
	}
	return owner
}

// Stop ends the witness and returns what it saw.
func (w *Witness) Stop() []Sighting {
	// A witness that is gone already is no error.
	_ = w.command.Process.Signal(syscall.SIGTERM)
	<-w.ended
	_ = w.command.Wait()
	return w.Seen()
}

// Violations are the sightings of two owners.
func Violations(seen []Sighting) []string {
	var found []string
	for _, s := range seen {
		if s.Violation != "" {
			found = append(found, s.Violation)
		}
	}
	return found
}

// heard is for Until: it is true once somebody answers for the address.
func heard(w *Witness) func(context.Context) (bool, string) {
	return func(context.Context) (bool, string) { return w.Owner() != "", "nobody answers" }
}
