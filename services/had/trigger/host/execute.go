// Package host runs the programs of triggers: Runner in had, which keeps
// their order and never waits for them, and Execute in hatrigger, the process
// between had and one program. hatrigger ends the program at its deadline also
// when had has died meanwhile.
package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"golang.org/x/sys/unix"
)

const (
	// killGrace is how long a program may take to obey SIGTERM.
	killGrace = 2 * time.Second
	// drainTime is how long output is still read after a program has ended:
	// what it left behind may keep the pipe open for ever.
	drainTime = time.Second
	// outputBound is how many bytes of a program's output are passed on; the
	// rest is read and counted.
	outputBound = 16 << 10
)

// numbered are the programs of an event that is a folder: T00name, T01name.
var numbered = regexp.MustCompile(`^T[0-9][0-9]`)

// Find returns the programs of an event, in order: the file
// FOLDER/EVENT, or the files FOLDER/EVENT/T<NN>* by name. FOLDER is triggerPath
// below VCS_HOME if there is something for the event, else the triggers
// folder. Nothing is no error.
func Find(root paths.Root, triggerPath, event string) ([]string, error) {
	if event == "" || event != filepath.Base(event) || strings.HasPrefix(event, ".") {
		return nil, fmt.Errorf("find trigger: %q is no name of an event", event)
	}
	folders := []string{root.Triggers()}
	if triggerPath != "" {
		if !filepath.IsLocal(triggerPath) {
			return nil, fmt.Errorf("find trigger %s: TriggerPath %q leads out of %s; name a folder below it", event, triggerPath, root.Home())
		}
		folders = append([]string{filepath.Join(root.Home(), triggerPath)}, folders...)
	}
	for _, folder := range folders {
		programs, err := programsIn(filepath.Join(folder, event))
		if err != nil || len(programs) > 0 {
			return programs, err
		}
	}
	return nil, nil
}

func programsIn(path string) ([]string, error) {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find trigger: %w", err)
	case !st.IsDir():
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("find trigger: %w", err)
	}
	var out []string
	for _, e := range entries {
		if numbered.MatchString(e.Name()) && !e.IsDir() {
			out = append(out, filepath.Join(path, e.Name()))
		}
	}
	return out, nil
}

// Result is how one program ended.
type Result struct {
	Program string `json:"program"`
	// Exit is its exit code, -1 if it was ended by a signal or never ran.
	Exit int `json:"exit"`
	// TimedOut: it was ended at its deadline.
	TimedOut bool `json:"timed_out,omitempty"`
	// Problem says why it could not be run, or by which signal it ended.
	Problem string `json:"problem,omitempty"`
	// CannotRun: it was never started.
	CannotRun bool `json:"cannot_run,omitempty"`
	// Lost is how many bytes of output are not passed on.
	Lost int64 `json:"lost,omitempty"`
	// Millis is how long it ran.
	Millis int64 `json:"millis"`
}

// Good says whether the program ended well.
func (r Result) Good() bool { return r.Exit == 0 && !r.TimedOut && !r.CannotRun }

// Execute runs programs one after the other with the given arguments in
// sessions of their own, until ctx ends; lines of their output and each result
// are handed out as they come. A program that does not end well ends the
// sequence.
func Execute(ctx context.Context, programs, args, env []string, line func(string), ended func(Result)) bool {
	for _, p := range programs {
		r := execute(ctx, p, args, env, line)
		ended(r)
		if !r.Good() {
			return false
		}
	}
	return true
}

func execute(ctx context.Context, program string, args, env []string, line func(string)) (r Result) {
	r = Result{Program: program, Exit: -1}
	begin := time.Now()
	defer func() { r.Millis = time.Since(begin).Milliseconds() }()
	if ctx.Err() != nil {
		r.TimedOut = true
		return r
	}
	out, in, err := os.Pipe()
	if err != nil {
		r.CannotRun, r.Problem = true, err.Error()
		return r
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, "/", in, in
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	in.Close()
	if err != nil {
		r.CannotRun, r.Problem = true, err.Error()
		return r
	}
	read := make(chan int64, 1) // one result
	go func() { read <- passOn(out, line) }()
	done := make(chan error, 1) // one result
	go func() { done <- cmd.Wait() }()
	err = await(ctx, cmd.Process.Pid, done, &r.TimedOut)
	_ = out.SetReadDeadline(time.Now().Add(drainTime))
	r.Lost = <-read
	var exit *exec.ExitError
	switch {
	case err == nil:
		r.Exit = 0
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		r.Exit = exit.ExitCode()
	default:
		r.Problem = err.Error()
	}
	return r
}

// await returns when the program has ended, which it makes it do at the
// deadline: SIGTERM to its process group, then SIGKILL.
func await(ctx context.Context, pid int, done <-chan error, timedOut *bool) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	*timedOut = true
	_ = unix.Kill(-pid, unix.SIGTERM)
	grace := time.NewTimer(killGrace)
	defer grace.Stop()
	select {
	case err := <-done:
		_ = unix.Kill(-pid, unix.SIGKILL) // and what it left behind
		return err
	case <-grace.C:
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	return <-done
}

// passOn hands out the lines of a program's output, up to outputBound bytes,
// and returns how many bytes came beyond.
func passOn(from io.Reader, line func(string)) int64 {
	r := bufio.NewReaderSize(from, 4096)
	left, lost := outputBound, int64(0)
	for {
		text, err := r.ReadSlice('\n')
		if n := len(text); n > left {
			lost += int64(n - left)
			text = text[:left]
		}
		left -= len(text)
		if s := strings.TrimRight(string(text), "\r\n"); s != "" {
			line(s)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return lost
		}
	}
}

// Environment is what every trigger is run with: a plain environment, the
// places of VCS, and the root of a laboratory. bin goes before the system's
// programs, so that hagrp is found.
func Environment(root paths.Root, bin string) []string {
	env := []string{
		"PATH=" + strings.Join(slices.DeleteFunc([]string{bin, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"},
			func(s string) bool { return s == "" }), ":"),
		"HOME=/root", "LANG=C.UTF-8",
		"VCS_HOME=" + root.Home(), "VCS_LOG=" + root.LogDir(), "VCS_CONF=" + root.ConfigDir(),
	}
	if !root.IsHost() {
		env = append(env, "EVENKEEL_ROOT="+string(root))
	}
	return env
}
