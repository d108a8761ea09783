// Package node starts and stops the daemons of this system in order: gab,
// fencing, then hashadow with had; and back. hashadow starts had, and each of
// the two starts the other again when it dies.
package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Node is this system.
type Node struct {
	Root paths.Root
	// Programs is the folder of gab, fencing, hashadow and had.
	Programs string
	// Say gets a line for each step, nil for none.
	Say func(format string, args ...any)
}

// Appear is how long a daemon may take until it listens.
const Appear = 10 * time.Second

// ErrRuns says that had runs already.
var ErrRuns = errors.New("had is running already")

// MissingError says which layer below had does not run.
type MissingError struct{ Layer, Socket string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not running on this system (%s); start all layers with: ha node start", e.Layer, e.Socket)
}

func (n Node) say(format string, args ...any) {
	if n.Say != nil {
		n.Say(format, args...)
	}
}

func (n Node) runs(ctx context.Context, daemon string) bool {
	p, err := standing.Find(ctx, n.Root, daemon)
	if err != nil {
		return !errors.Is(err, standing.ErrAbsent)
	}
	p.Close()
	return true
}

// StartEngine starts hashadow, and so had, with options of had such as -force.
// The layers below must run, except with -onenode. It returns when had
// listens. Errors are ErrRuns, a *MissingError, or say what to do.
func (n Node) StartEngine(ctx context.Context, options []string) error {
	if n.runs(ctx, standing.Had) {
		return ErrRuns
	}
	if len(options) == 0 || options[0] != "-onenode" {
		for _, layer := range []string{standing.GAB, standing.Fencing} {
			if !n.runs(ctx, layer) {
				return &MissingError{Layer: layer, Socket: n.Root.Socket(layer)}
			}
		}
	}
	if !n.watched(ctx, options) {
		var args []string
		if len(options) > 0 {
			args = append([]string{"--"}, options...)
		}
		if err := n.start(ctx, standing.Hashadow, args); err != nil {
			return err
		}
	}
	if err := n.await(ctx, standing.Had, nil); err != nil {
		return fmt.Errorf("%w; its last words: %s", err, n.hadsWords())
	}
	return nil
}

// watched reports whether a hashadow runs that will start had with these
// options. One that is about to end, after an ordered stop of had, does not
// count; one that tries other options, in vain so far, is told to end.
func (n Node) watched(ctx context.Context, options []string) bool {
	p, err := standing.Find(ctx, n.Root, standing.Hashadow)
	if err != nil {
		return !errors.Is(err, standing.ErrAbsent)
	}
	defer p.Close()
	if p.Exited(time.Second) {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil {
		return true
	}
	_, tries, _ := strings.Cut(strings.TrimSuffix(string(line), "\x00"), "\x00--\x00")
	if tries == strings.Join(options, "\x00") {
		return true
	}
	return p.Signal(unix.SIGTERM) != nil || !p.Exited(2*time.Second)
}

// start starts a daemon in a session of its own and waits until it listens.
func (n Node) start(ctx context.Context, daemon string, args []string) error {
	if err := n.Root.MakeRunDirs(); err != nil {
		return err
	}
	path := filepath.Join(n.Programs, daemon)
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("start %s: %w (the daemons must lie beside the program ha)", daemon, err)
	}
	command, err := standing.Program{Path: path, Args: args, Output: n.Root.Log(daemon + ".stderr")}.Start()
	if err != nil {
		return err
	}
	ended := make(chan error, 1) // one exit; the goroutine ends with the daemon or with this process
	go func() { ended <- command.Wait() }()
	if err := n.await(ctx, daemon, ended); err != nil {
		return err
	}
	n.say("%s runs (process %d)", daemon, command.Process.Pid)
	return nil
}

// await waits until a daemon listens.
func (n Node) await(ctx context.Context, daemon string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, Appear)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if n.runs(ctx, daemon) {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended at once (%v); see %s and %s: %s", daemon, err, n.Root.Log(daemon+"_A.log"), n.Root.Log(daemon+".stderr"), n.lastWords(daemon))
		case <-ctx.Done():
			return fmt.Errorf("%s does not listen on %s after %v; see its log in %s", daemon, n.Root.Socket(daemon), Appear, n.Root.LogDir())
		case <-tick.C:
		}
	}
}

// lastWords is the last line that a daemon printed.
func (n Node) lastWords(daemon string) string { return lastLine(n.Root.Log(daemon + ".stderr")) }

// hadsWords is the last line of had, which hashadow starts.
func (n Node) hadsWords() string { return lastLine(n.Root.Log("had_A.log")) }

func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil || len(text) == 0 {
		return "it printed nothing"
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// Start starts what does not run yet, from the bottom up.
func (n Node) Start(ctx context.Context) error {
	for _, daemon := range []string{standing.GAB, standing.Fencing} {
		if n.runs(ctx, daemon) {
			n.say("%s runs already", daemon)
			continue
		}
		if err := n.start(ctx, daemon, nil); err != nil {
			return err
		}
	}
	err := n.StartEngine(ctx, nil)
	switch {
	case errors.Is(err, ErrRuns):
		n.say("had runs already")
		return nil
	case err == nil:
		n.say("had runs; it waits for the configuration or builds it: hasys -state")
	}
	return err
}

// StopEngine asks had to stop. An engine that goes before it can answer has
// done what it was asked.
func (n Node) StopEngine(ctx context.Context, h *connect.Had, r operate.Request) (*hadv1.Operation, error) {
	before, err := standing.Find(ctx, n.Root, standing.Had)
	if err == nil {
		defer before.Close()
	}
	answer, err := operate.Stop(ctx, h, r)
	if fault := h.Fault(err); fault != nil && fault.Code == codes.Unavailable && fault.Reason == "" && !r.Plan &&
		before != nil && before.Exited(time.Second) && before.Ordered() {
		return &hadv1.Operation{RequestId: r.RequestID}, nil
	}
	return answer, err
}

// Stop stops had, hashadow, fencing and gab in this order, each when the one
// before is gone. It ends with the deadline of ctx; what was stopped stays so.
func (n Node) Stop(ctx context.Context, r operate.Request) error {
	if err := n.stopEngine(ctx, r); err != nil {
		return err
	}
	if err := n.end(ctx, standing.Hashadow, 2*time.Second, nil); err != nil {
		return err
	}
	if err := n.end(ctx, standing.Fencing, 0, nil); err != nil {
		return err
	}
	return n.end(ctx, standing.GAB, 0, func() error {
		gab, err := connect.To(n.Root, standing.GAB)
		if err != nil {
			return err
		}
		defer gab.Close()
		call, cancel := context.WithTimeout(ctx, connect.ChangeTimeout)
		defer cancel()
		_, err = gab.Gab().Leave(call, &gabv1.LeaveRequest{Force: r.Force})
		if fault := gab.Fault(err); fault != nil && fault.Code != codes.Unavailable {
			return fmt.Errorf("gab does not leave: %w", fault)
		}
		return nil
	})
}

func (n Node) stopEngine(ctx context.Context, r operate.Request) error {
	had, err := standing.Find(ctx, n.Root, standing.Had)
	if errors.Is(err, standing.ErrAbsent) {
		n.say("had does not run")
		return nil
	}
	if err != nil {
		return err
	}
	defer had.Close()
	h, err := connect.ToHad(n.Root)
	if err != nil {
		return err
	}
	defer h.Close()
	call, cancel := context.WithTimeout(ctx, connect.ChangeTimeout)
	defer cancel()
	if _, err := n.StopEngine(call, h, r); err != nil {
		return fmt.Errorf("had does not stop: %w", h.Fault(err))
	}
	n.say("had stops")
	if err := had.Wait(ctx); err != nil {
		return fmt.Errorf("had is still stopping: %w; what it waits for: hastatus -sum; ha node stop --force leaves it running", err)
	}
	n.say("had has stopped")
	return nil
}

// end waits for a daemon to end by itself for a while, then asks it to and
// waits. ask nil means SIGTERM.
func (n Node) end(ctx context.Context, daemon string, itself time.Duration, ask func() error) error {
	p, err := standing.Find(ctx, n.Root, daemon)
	if errors.Is(err, standing.ErrAbsent) {
		n.say("%s does not run", daemon)
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if itself > 0 && p.Exited(itself) {
		n.say("%s has stopped", daemon)
		return nil
	}
	if ask == nil {
		ask = func() error { return p.Signal(unix.SIGTERM) }
	}
	if err := ask(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, Appear)
	defer cancel()
	if err := p.Wait(wait); err != nil {
		return fmt.Errorf("%s does not stop (%w); it refuses while something protected is online here, and its log says why: %s", daemon, err, n.Root.LogDir())
	}
	n.say("%s has stopped", daemon)
	return nil
}
