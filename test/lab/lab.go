// Package lab drives real clusters of real daemons on one machine through the
// programs that a user would use: halab and ha. The end-to-end tests, the demo
// and the benchmarks share it.
package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Lab is one laboratory.
type Lab struct {
	// Name of the lab (halab --name).
	Name string
	// Bin is the folder with the programs.
	Bin string
	// Unprivileged says that the systems have no namespaces.
	Unprivileged bool
	// Empty leaves the daemons out.
	Empty bool
}

// Repository is the folder of this module.
func Repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// New returns a lab of the given name that uses the programs in bin/.
func New(name string) *Lab { return &Lab{Name: name, Bin: filepath.Join(Repository(), "bin")} }

// Result is what a program did.
type Result struct {
	// Out is its standard output, Err its standard error.
	Out, Err string
	// Code is its exit code.
	Code int
}

// run runs a program to its end. Only a program that cannot be started or does
// not end in time is an error.
func run(ctx context.Context, name string, arguments ...string) (Result, error) {
	command := exec.CommandContext(ctx, name, arguments...)
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	command.WaitDelay = 5 * time.Second
	err := command.Run()
	result := Result{Out: out.String(), Err: errs.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("%s %s: %w; it had printed: %s%s", name, strings.Join(arguments, " "), ctx.Err(), result.Out, result.Err)
	case errors.As(err, &exit):
		result.Code = exit.ExitCode()
		return result, nil
	case err != nil:
		return result, fmt.Errorf("%s %s: %w", name, strings.Join(arguments, " "), err)
	}
	return result, nil
}

// halab runs a verb of halab and turns a non-zero exit into an error.
func (l *Lab) halab(ctx context.Context, verb string, arguments ...string) (string, error) {
	all := append([]string{verb, "--name", l.Name}, arguments...)
	result, err := run(ctx, filepath.Join(l.Bin, "halab"), all...)
	if err != nil {
		return result.Out, err
	}
	if result.Code != 0 {
		return result.Out, fmt.Errorf("halab %s: exit code %d: %s%s", strings.Join(all, " "), result.Code, result.Out, result.Err)
	}
	return result.Out, nil
}

// Up starts the lab from a folder with main.cf and waits until it has settled.
func (l *Lab) Up(ctx context.Context, conf string, timeout time.Duration) error {
	arguments := []string{"--conf", conf, "--timeout", timeout.String()}
	if l.Unprivileged {
		arguments = append(arguments, "--unprivileged")
	}
	if l.Empty {
		arguments = append(arguments, "--empty")
	}
	_, err := l.halab(ctx, "up", arguments...)
	return err
}

// Down ends the lab.
func (l *Lab) Down(ctx context.Context) error {
	_, err := l.halab(ctx, "down")
	return err
}

// Crash power-fails a system and returns when it is off.
func (l *Lab) Crash(ctx context.Context, system string) error {
	_, err := l.halab(ctx, "crash", system)
	return err
}

// Boot starts a system that is off.
func (l *Lab) Boot(ctx context.Context, system string) error {
	_, err := l.halab(ctx, "boot", system)
	return err
}

// Freeze stops all processes of a system; Thaw lets them run on.
func (l *Lab) Freeze(ctx context.Context, system string) error {
	_, err := l.halab(ctx, "freeze", system)
	return err
}

// Thaw ends Freeze.
func (l *Lab) Thaw(ctx context.Context, system string) error {
	_, err := l.halab(ctx, "thaw", system)
	return err
}

// CutLink cuts a private link (priv1, priv2) of systems.
func (l *Lab) CutLink(ctx context.Context, link string, systems ...string) error {
	_, err := l.halab(ctx, "cut", append([]string{"--link", link}, systems...)...)
	return err
}

// CutBetween cuts the private links between two sides, "A,B/C".
func (l *Lab) CutBetween(ctx context.Context, sides string) error {
	_, err := l.halab(ctx, "cut", "--between", sides)
	return err
}

// CutOneWay cuts what the first side sends to the second, "A,B/C".
func (l *Lab) CutOneWay(ctx context.Context, sides string) error {
	_, err := l.halab(ctx, "cut", "--between", sides, "--one-way")
	return err
}

// Heal ends all cuts.
func (l *Lab) Heal(ctx context.Context) error {
	_, err := l.halab(ctx, "heal")
	return err
}

// Exec runs a program on a host of the lab, "client" included.
func (l *Lab) Exec(ctx context.Context, host string, command ...string) (Result, error) {
	all := append([]string{"exec", "--name", l.Name, host, "--"}, command...)
	return run(ctx, filepath.Join(l.Bin, "halab"), all...)
}

// Must runs a program on a host and turns a non-zero exit into an error.
func (l *Lab) Must(ctx context.Context, host string, command ...string) (string, error) {
	result, err := l.Exec(ctx, host, command...)
	if err == nil && result.Code != 0 {
		err = fmt.Errorf("%s on %s: exit code %d: %s%s", strings.Join(command, " "), host, result.Code, result.Out, result.Err)
	}
	return result.Out, err
}

// Command prepares a program on a host for the caller to start.
func (l *Lab) Command(ctx context.Context, host string, command ...string) *exec.Cmd {
	all := append([]string{"exec", "--name", l.Name, host, "--"}, command...)
	return exec.CommandContext(ctx, filepath.Join(l.Bin, "halab"), all...)
}

// Status is what halab status -o json prints.
type Status struct {
	Name    string
	Root    string
	Systems []System
}

// System is one system of a lab.
type System struct {
	Name  string
	Root  string
	State string
	Pids  map[string]int
}

// Status asks for the state of the lab.
func (l *Lab) Status(ctx context.Context) (Status, error) {
	out, err := l.halab(ctx, "status", "-o", "json")
	if err != nil {
		return Status{}, err
	}
	var status Status
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return Status{}, fmt.Errorf("halab status: %w in %q", err, out)
	}
	return status, nil
}

// GroupState asks a system for the state of a group on a system, such as
// "|ONLINE|".
func (l *Lab) GroupState(ctx context.Context, ask, group, system string) (string, error) {
	out, err := l.Must(ctx, ask, "hagrp", "-state", group, "-sys", system)
	return strings.TrimSpace(out), err
}

// Until calls look every 20 ms until it returns true. When the context ends
// first, the error says what was last seen.
func Until(ctx context.Context, what string, look func(context.Context) (bool, string)) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	seen := "nothing"
	for {
		done, saw := look(ctx)
		if done {
			return nil
		}
		if saw != "" && ctx.Err() == nil { // else it is only that the time was over
			seen = saw
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w; last seen: %s", what, ctx.Err(), seen)
		case <-tick.C:
		}
	}
}

// WaitGroup waits until a system says that a group has a state on a system.
func (l *Lab) WaitGroup(ctx context.Context, ask, group, system, want string) error {
	return Until(ctx, fmt.Sprintf("group %s %s on %s", group, want, system), func(ctx context.Context) (bool, string) {
		state, err := l.GroupState(ctx, ask, group, system)
		if err != nil {
			return false, err.Error()
		}
		return state == want, state
	})
}

// Privileged reports whether this process may make namespaces and mounts.
func Privileged() bool { return os.Getuid() == 0 }
