package standing

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/realtime"
)

// Program is how a daemon is started.
type Program struct {
	// Path of the program, absolute, and its arguments.
	Path string
	Args []string
	// Output receives what it writes, by appending; "" is the parent's.
	Output string
}

// Start starts the program in a session of its own, so that it outlives its
// parent, and returns when it runs. The caller must have it reaped (Reap).
func (p Program) Start() (*exec.Cmd, error) {
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if p.Output != "" {
		file, err := os.OpenFile(p.Output, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", p.Path, err)
		}
		defer file.Close()
		cmd.Stdout, cmd.Stderr = file, file
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := realtime.Ordinary(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Path, err)
	}
	return cmd, nil
}

// Keep is what KeepRunning works with.
type Keep struct {
	Root paths.Root
	// Name of the daemon that is kept, Had or Hashadow.
	Name string
	// Program that starts it.
	Program Program
	// Again are the arguments of every start after the daemon has been up once,
	// nil for those of Program.
	Again []string
	// Log for starts and deaths.
	Log *slog.Logger
	// Appear is how long a started daemon may take to listen on its socket
	// before it is started again, 0 for 30 s.
	Appear time.Duration
	// Up, if set, is told whenever the daemon is up or down.
	Up func(up bool)
}

// Back-off between starts of a daemon that dies young.
const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
	oldAge       = 10 * time.Second
)

// KeepRunning keeps a daemon running: it adopts the one that runs or starts
// one, and starts it again at once when it dies, with back-off when it dies
// young. It returns nil when the daemon stopped in order (SayStopping), and
// ctx's error when ctx is done; the daemon then runs on.
//
// had calls it for hashadow, hashadow for had (R2). Both are in sessions of
// their own: neither goes down with the other.
func KeepRunning(ctx context.Context, k Keep) error {
	if k.Appear == 0 {
		k.Appear = 30 * time.Second
	}
	if k.Up == nil {
		k.Up = func(bool) {}
	}
	backoff := time.Duration(0)
	for {
		p, err := k.findOrStart(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			k.Log.Error("daemon cannot be started", "daemon", k.Name, "error", err)
			backoff = nextBackoff(backoff)
			pause(ctx, backoff)
			continue
		}
		if p == nil { // started, said goodbye before it ever listened
			return nil
		}
		if k.Again != nil {
			k.Program.Args = k.Again
		}
		since := Boottime()
		k.Up(true)
		err = p.Wait(ctx)
		k.Up(false)
		ordered := p.Ordered()
		p.Close()
		switch {
		case err != nil:
			return err
		case ordered:
			k.Log.Info("daemon stopped in order", "daemon", k.Name, "pid", p.PID)
			return nil
		}
		if Boottime().Sub(since) >= oldAge {
			backoff = 0
		}
		k.Log.Error("daemon died; starting it again", "daemon", k.Name, "pid", p.PID, "pause", backoff)
		pause(ctx, backoff)
		backoff = nextBackoff(backoff)
	}
}

func nextBackoff(d time.Duration) time.Duration {
	return min(max(firstBackoff, 2*d), maxBackoff)
}

// findOrStart returns the running daemon, or starts it and waits until it
// listens. The result is nil, nil if the started process ended in order.
func (k Keep) findOrStart(ctx context.Context) (*Process, error) {
	if p, err := k.find(ctx); err == nil {
		k.Log.Info("daemon runs already", "daemon", k.Name, "pid", p.PID)
		return p, nil
	}
	cmd, err := k.Program.Start()
	if err != nil {
		return nil, err
	}
	k.Log.Info("daemon started", "daemon", k.Name, "pid", cmd.Process.Pid)
	start, _ := startTime(cmd.Process.Pid)
	// The reaper ends with the child, or with this process.
	exited := make(chan error, 1) // one exit; never blocks
	go func() { exited <- cmd.Wait() }()
	deadline := Boottime().Add(k.Appear)
	for Boottime() < deadline {
		if p, err := k.find(ctx); err == nil {
			return p, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case err := <-exited:
			if saidStopping(k.Root, k.Name, cmd.Process.Pid, start) {
				return nil, nil
			}
			return nil, fmt.Errorf("%s ended before it listened on %s: %v", k.Program.Path, k.Root.Socket(k.Name), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	// It runs but does not listen: end this very child and try again.
	_ = cmd.Process.Kill()
	return nil, fmt.Errorf("%s does not listen on %s after %v", k.Program.Path, k.Root.Socket(k.Name), k.Appear)
}

func (k Keep) find(ctx context.Context) (*Process, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return Find(ctx, k.Root, k.Name)
}
