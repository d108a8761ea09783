package power

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/lab"
)

// fake is a system that notes what is done to it.
type fake struct {
	mu      sync.Mutex
	on      bool
	steps   []string
	fail    map[string]error
	release chan struct{} // Kill waits for it, if there
}

func (f *fake) step(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, name)
	return f.fail[name]
}

func (f *fake) On() bool                   { f.mu.Lock(); defer f.mu.Unlock(); return f.on }
func (f *fake) LinksDown() error           { return f.step("links") }
func (f *fake) ShutDownFileSystems() error { return f.step("filesystems") }
func (f *fake) Kill() error {
	if f.release != nil {
		<-f.release
	}
	return f.step("kill")
}
func (f *fake) Gone(context.Context) error { return f.step("gone") }
func (f *fake) PoweredOff() {
	_ = f.step("off")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = false
}

func switchFor(f *fake) *Switch {
	return New(slog.New(slog.DiscardHandler), time.Second, func(system string) (Target, error) {
		if system != "A" {
			return nil, errors.New("there is only A")
		}
		return f, nil
	})
}

// R4: the order is that of the rule.
func TestOrderOfAPowerFailure(t *testing.T) {
	f := &fake{on: true}
	if err := switchFor(f).Off(t.Context(), "A"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.steps, " "); got != "links filesystems kill gone off" {
		t.Errorf("steps: %s", got)
	}
	if err := switchFor(f).Off(t.Context(), "A"); err != nil || len(f.steps) != 5 {
		t.Errorf("a second power-off of a system that is off: %v, steps %v", err, f.steps)
	}
}

// R4: "only then off". What cannot be killed or does not go is never off.
func TestOffIsNeverSaidTooEarly(t *testing.T) {
	for step, off := range map[string]bool{"links": true, "filesystems": true, "kill": false, "gone": false} {
		f := &fake{on: true, fail: map[string]error{step: errors.New("no")}}
		s := switchFor(f)
		if err := s.Off(t.Context(), "A"); (err == nil) != off {
			t.Errorf("%s fails: %v", step, err)
		}
		state, err := s.State("A")
		if err != nil || (state == lab.Off) != off {
			t.Errorf("%s fails: state %s, %v", step, state, err)
		}
		if !slices.Contains(f.steps, "kill") {
			t.Errorf("%s fails: the processes were not killed", step)
		}
	}
}

// R4 over the socket: concurrent requests share one operation, and while it
// runs the system is on.
func TestConcurrentRequestsShareOneOperation(t *testing.T) {
	f := &fake{on: true, release: make(chan struct{})}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go switchFor(f).Serve(listener)
	marker := lab.Marker{Lab: "l", System: "B", Switch: socket}
	results := make(chan error, 8)
	for range cap(results) {
		go func() { results <- lab.PowerOff(t.Context(), marker, "A") }()
	}
	if state, err := lab.PowerState(t.Context(), marker, "A"); err != nil || state != lab.On {
		t.Errorf("during the operation: %s, %v", state, err)
	}
	f.release <- struct{}{}
	close(f.release)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	count := 0
	for _, step := range f.steps {
		if step == "kill" {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%d operations for 8 requests: %v", count, f.steps)
	}
	if state, err := lab.PowerState(t.Context(), marker, "A"); err != nil || state != lab.Off {
		t.Errorf("afterwards: %s, %v", state, err)
	}
	if err := lab.PowerOff(t.Context(), marker, "Z"); err == nil || !strings.Contains(err.Error(), "only A") {
		t.Errorf("unknown system: %v", err)
	}
}

func TestAbandonedRequestStillPowersOff(t *testing.T) {
	f := &fake{on: true, release: make(chan struct{})}
	s := switchFor(f)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Off(ctx, "A"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(f.release)
	if err := s.Off(t.Context(), "A"); err != nil {
		t.Error(err)
	}
	if f.On() {
		t.Error("still on")
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{`{"op":"off","system":"B"}`, `{"op":"state"}`, "{", "", `{"op":"on","system":"A"}`, "\xff"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		s := New(slog.New(slog.DiscardHandler), time.Second, func(string) (Target, error) { return nil, fmt.Errorf("nobody") })
		if answer := s.answer(line); answer.Error == "" || answer.State != "" {
			t.Errorf("%q: %+v for a lab without systems", line, answer)
		}
	})
}

func TestMountPathsAreUnescaped(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134`: `/a\`, `/a\04`: `/a\04`, `/a\999`: `/a\999`} {
		if got := unescape(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}
