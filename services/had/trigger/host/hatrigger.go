package host

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// DefaultTimeout is after how long a trigger is ended if nobody said anything.
const DefaultTimeout = time.Minute

// The exit codes of hatrigger.
const (
	exitOK      = 0
	exitFailed  = 1 // a program did not end well
	exitUsage   = 2
	exitMissing = 3 // there is no program for the event
)

// note is one line that hatrigger writes for had.
type note struct {
	Line    *string `json:"line,omitempty"`
	Result  *Result `json:"result,omitempty"`
	Missing bool    `json:"missing,omitempty"`
}

const usage = `usage: hatrigger [-timeout 1m] [-path TRIGGERPATH] -EVENT [ARGUMENT...]
Runs the program of an event as had does, with the given arguments:
  hatrigger -postonline 0 sysA web
had itself adds -json.
`

// Request is what hatrigger was asked to do.
type Request struct {
	// JSON: write notes for had, not text for people.
	JSON    bool
	Timeout time.Duration
	Path    string
	Event   string
	Args    []string
}

// ParseRequest reads hatrigger's arguments.
func ParseRequest(words []string) (Request, error) {
	q := Request{Timeout: DefaultTimeout}
	for len(words) > 0 {
		w := words[0]
		words = words[1:]
		switch {
		case w == "-json":
			q.JSON = true
		case w == "-timeout" && len(words) > 0:
			d, err := time.ParseDuration(words[0])
			if err != nil || d <= 0 {
				return q, fmt.Errorf("hatrigger: -timeout %q: say how long, such as 90s", words[0])
			}
			q.Timeout, words = d, words[1:]
		case w == "-path" && len(words) > 0:
			q.Path, words = words[0], words[1:]
		case len(w) > 1 && strings.HasPrefix(w, "-"):
			q.Event, q.Args = w[1:], words
			return q, nil
		default:
			return q, fmt.Errorf("hatrigger: %q: name an event, such as -postonline", w)
		}
	}
	return q, fmt.Errorf("hatrigger: name an event, such as -postonline")
}

// Main is hatrigger: it runs the programs of one event and returns its exit
// code. SIGTERM and SIGINT end them early.
func Main(root paths.Root, words []string, out, errs io.Writer) int {
	q, err := ParseRequest(words)
	if err != nil {
		fmt.Fprintf(errs, "%v\n%s", err, usage)
		return exitUsage
	}
	tell := func(n note) {
		if q.JSON {
			text, _ := json.Marshal(n)
			_, _ = fmt.Fprintf(out, "%s\n", text) // had may be gone
			return
		}
		switch {
		case n.Line != nil:
			fmt.Fprintln(out, *n.Line)
		case n.Result != nil:
			fmt.Fprintln(errs, n.Result.text(q.Args, q.Timeout))
		case n.Missing:
			fmt.Fprintf(errs, "hatrigger: there is no trigger %s in %s\n", q.Event, root.Triggers())
		}
	}
	programs, err := Find(root, q.Path, q.Event)
	if err != nil {
		tell(note{Result: &Result{Program: q.Event, Exit: -1, CannotRun: true, Problem: err.Error()}})
		return exitFailed
	}
	if len(programs) == 0 {
		tell(note{Missing: true})
		return exitMissing
	}
	// had may die, or the terminal that started this be closed: the program
	// goes on until its deadline. (Caught, not ignored: the program would
	// inherit that.)
	gone := make(chan os.Signal, 1) // bound 1, never read: full, the signal is dropped
	signal.Notify(gone, syscall.SIGHUP, syscall.SIGPIPE)
	defer signal.Stop(gone)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, q.Timeout)
	defer cancel()
	env := os.Environ()
	if !q.JSON { // had has prepared it
		bin := ""
		if self, err := os.Executable(); err == nil {
			bin = filepath.Dir(self)
		}
		env = append(env, Environment(root, bin)...)
		env = append(env, "VCS_TRIGGER="+q.Event, "EVENKEEL_EVENT="+q.Event)
	}
	ok := Execute(ctx, programs, q.Args, env,
		func(line string) { tell(note{Line: &line}) },
		func(r Result) { tell(note{Result: &r}) })
	if !ok {
		return exitFailed
	}
	return exitOK
}

// text says how a program ended, as the engine log has it.
func (r Result) text(args []string, limit time.Duration) string {
	call := strings.Join(append([]string{r.Program}, args...), " ")
	took := (time.Duration(r.Millis) * time.Millisecond).String()
	switch {
	case r.CannotRun:
		return "hatrigger:" + r.Program + " is not a trigger scripts directory or can not be executed: " + r.Problem
	case r.TimedOut:
		return fmt.Sprintf("hatrigger:%s was ended after %s: it had not ended within %s", call, took, limit)
	case r.Good():
		return "hatrigger:hatrigger executed " + call + " successfully"
	case r.Problem != "":
		return fmt.Sprintf("hatrigger:%s ended after %s: %s", call, took, r.Problem)
	}
	return fmt.Sprintf("hatrigger:%s ended after %s with exit code %d", call, took, r.Exit)
}
