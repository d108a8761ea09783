//go:build linux

package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Visit says how to enter a system; it travels from the lab to halab exec.
type Visit struct {
	PID          int      `json:"pid"`
	Unprivileged bool     `json:"unprivileged"`
	Root         string   `json:"root"`
	Env          []string `json:"env"`
}

// Path is the PATH of a system: Evenkeel's programs first.
func Path(binDir string) string {
	return binDir + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/VRTSvcs/bin:/opt/VRTS/bin"
}

// Environment is what daemons and visitors of a system find in theirs.
func (c *Config) Environment() []string {
	env := []string{
		EnvLab + "=" + c.LabDir,
		EnvSystem + "=" + filepath.Join(c.LabDir, c.System),
		"PATH=" + Path(c.BinDir),
		"LANG=C.UTF-8",
	}
	if c.Unprivileged {
		env = append(env, "EVENKEEL_ROOT="+c.Root, "HOME="+os.Getenv("HOME"), "USER="+os.Getenv("USER"), "TMPDIR="+os.TempDir())
	} else {
		env = append(env, "HOME=/root", "USER=root", "LOGNAME=root")
	}
	return append(env, c.Env...)
}

// Visit describes how to enter the system.
func (p *Process) Visit() Visit {
	return Visit{PID: p.PID, Unprivileged: p.config.Unprivileged, Root: p.config.Root, Env: p.config.Environment()}
}

// Exec runs a command inside the system with this process's standard streams
// and returns its exit code, 128+n if signal n ended it.
func Exec(visit Visit, argv []string) (int, error) {
	env := append([]string{}, visit.Env...)
	if term := os.Getenv("TERM"); term != "" {
		env = append(env, "TERM="+term)
	}
	var cmd *exec.Cmd
	started := make(chan error, 1) // one result, never blocks
	go func() {
		// The thread enters the namespaces and dies with this goroutine, so
		// that nothing of this process stays inside: a system that is powered
		// off must not be held by its visitors (R4).
		runtime.LockOSThread()
		if !visit.Unprivileged {
			if err := enter(visit.PID); err != nil {
				started <- err
				return
			}
		}
		program, err := lookPath(argv[0], env)
		if err != nil {
			started <- err
			return
		}
		cmd = &exec.Cmd{Path: program, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
		if !visit.Unprivileged {
			cmd.Dir = "/"
		}
		started <- cmd.Start()
	}()
	if err := <-started; err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return 127, fmt.Errorf("run %s: %w", argv[0], err)
		}
		return 126, fmt.Errorf("run %s: %w", argv[0], err)
	}
	signals := make(chan os.Signal, 8) // a lost repetition of a signal does no harm
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(signals)
	go func() {
		for s := range signals {
			// A terminal sends INT and QUIT to the command itself.
			if s == syscall.SIGTERM || s == syscall.SIGHUP {
				_ = cmd.Process.Signal(s)
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 126, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return 0, nil
}

// enter moves the calling thread into the namespaces of a system's init. The
// thread stays in its own PID namespace; its children are born inside.
func enter(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("enter system: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter system: %w", err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET|unix.CLONE_NEWUTS|unix.CLONE_NEWIPC); err != nil {
		return fmt.Errorf("enter system: %w", err)
	}
	return nil
}

// lookPath finds a program in the PATH of env, as the calling thread sees the
// file system.
func lookPath(name string, env []string) (string, error) {
	if filepath.Base(name) != name {
		return name, nil
	}
	search := ""
	for _, entry := range env {
		if len(entry) > 5 && entry[:5] == "PATH=" {
			search = entry[5:]
		}
	}
	for _, dir := range filepath.SplitList(search) {
		candidate := filepath.Join(dir, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%w in %s", exec.ErrNotFound, search)
}
