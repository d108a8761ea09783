package cli

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// screen collects what a program draws on a terminal.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	came chan struct{} // bound 1: something new is there
}

func (s *screen) read(f *os.File) {
	buffer := make([]byte, 4096)
	for {
		n, err := f.Read(buffer)
		s.mu.Lock()
		s.text.Write(buffer[:n])
		s.mu.Unlock()
		select {
		case s.came <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// await waits until the words were drawn since the last call.
func (s *screen) await(t *testing.T, words ...string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		s.mu.Lock()
		text := escapes.ReplaceAllString(s.text.String(), "")
		s.mu.Unlock()
		missing := ""
		for _, w := range words {
			if !strings.Contains(text, w) {
				missing = w
			}
		}
		if missing == "" {
			s.mu.Lock()
			s.text.Reset()
			s.mu.Unlock()
			return
		}
		select {
		case <-s.came:
		case <-deadline:
			t.Fatalf("%q was not drawn:\n%s", missing, text)
		}
	}
}

// TestWatchOnATerminal: ha watch draws the cluster, says when had goes away,
// comes back by itself, answers keys, and leaves the terminal as it was.
func TestWatchOnATerminal(t *testing.T) {
	r := root(t)
	stop := serve(t, r, newEngine())
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal here: %v", err)
	}
	defer master.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	s := &screen{came: make(chan struct{}, 1)}
	go s.read(master) // ends with the terminal
	ended := make(chan int, 1)
	go func() {
		ended <- Main(t.Context(), []string{"ha", "watch"}, Surroundings{Root: r, In: tty, Out: tty, Err: tty})
	}()
	s.await(t, "demo", "asked sysA", "app", "mend: ")
	stop()
	s.await(t, "had does not answer")
	serve(t, r, newEngine())
	s.await(t, "polling")
	if _, err := master.WriteString("?"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "keys and signs")
	if _, err := master.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit %d", code)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("q does not leave")
	}
	tty.Close()
}

// TestWatchWantsATerminal: in a pipe it says what to use instead.
func TestWatchWantsATerminal(t *testing.T) {
	if _, errs, code := call(t, root(t), "ha watch"); code != 2 || !strings.Contains(errs, "ha events") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
