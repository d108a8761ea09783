package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// Process is an application that Start started. Its process id alone names it
// only as long as the agent lives and has not reaped it; with StartTime it
// does so as long as the machine runs.
type Process struct {
	PID int
	// StartTime is in clock ticks since boot (field 22 of /proc/PID/stat).
	StartTime uint64

	done chan struct{}
	err  error
}

// Done is closed when the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended, nil for exit code 0. Read it after Done.
func (p *Process) Err() error { return p.err }

// Start starts an application so that it outlives the agent: in a session of
// its own, in the cgroup for applications if there is one, with no descriptor
// of the agent but those in cmd.Stdin, Stdout and Stderr, which must be files
// (or nil for /dev/null), and without the mark by which had finds an agent's
// helpers. A process that is started in another way is a helper: it is ended
// together with the agent.
func Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.Err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, cmd.Err)
	}
	if len(cmd.ExtraFiles) > 0 {
		return nil, fmt.Errorf("start %s: an application inherits no descriptors (ExtraFiles)", cmd.Path)
	}
	for _, stream := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		if _, ok := stream.(*os.File); stream != nil && !ok {
			return nil, fmt.Errorf("start %s: Stdin, Stdout and Stderr must be nil or *os.File, else the application dies of its agent's death", cmd.Path)
		}
	}
	closeOnExec()
	started, err := startIn(cmd, os.Getenv(EnvAppCgroup))
	if err != nil && os.Getenv(EnvAppCgroup) != "" {
		started, err = startIn(cmd, "") // the cgroup is a comfort, no condition
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	cmd.Process = started.Process
	p := &Process{PID: started.Process.Pid, done: make(chan struct{})}
	p.StartTime, _ = StartTime(p.PID) // the child is not reaped yet: the id is ours
	go func() {
		defer close(p.done)
		p.err = started.Wait()
	}()
	return p, nil
}

// closeOnExec marks every descriptor but the first three, so that no child gets
// what this process inherited from whoever started had. Those that Go opens
// are marked from the start.
func closeOnExec() {
	const sysCloseRange, closeRangeCloexec = 436, 4
	if _, _, errno := syscall.Syscall(sysCloseRange, 3, ^uintptr(0)>>(strconv.IntSize-32), closeRangeCloexec); errno == 0 {
		return
	}
	names, _ := os.ReadDir("/proc/self/fd") // older than Linux 5.11
	for _, name := range names {
		if fd, err := strconv.Atoi(name.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

func startIn(cmd *exec.Cmd, cgroup string) (*exec.Cmd, error) {
	attr := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attr = *cmd.SysProcAttr
	}
	attr.Setsid, attr.Setpgid, attr.Pdeathsig = true, false, 0
	if cgroup != "" {
		dir, err := os.Open(cgroup)
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		attr.UseCgroupFD, attr.CgroupFD = true, int(dir.Fd())
	}
	child := &exec.Cmd{
		Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: appEnv(cmd.Environ()), SysProcAttr: &attr,
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
	}
	return child, child.Start()
}

// appEnv leaves out what is between host and agent only.
func appEnv(env []string) []string {
	var out []string
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		switch {
		case name == CookieKey, name == EnvHostPID, name == EnvToken, name == EnvAppCgroup, strings.HasPrefix(name, "PLUGIN_"):
		default:
			out = append(out, pair)
		}
	}
	return out
}

// ErrGone says that a process does not exist, or only as a zombie.
var ErrGone = errors.New("process is gone")

// StartTime returns when a process started, in clock ticks since boot. A
// zombie counts as gone.
func StartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, fmt.Errorf("read start time of %d: %w", pid, ErrGone)
	}
	// The command's name may hold blanks and parentheses: count from its end.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, fmt.Errorf("read start time of %d: %w", pid, ErrGone)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}
