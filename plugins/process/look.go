package process

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// clockTick is the unit of times in /proc/PID/stat: USER_HZ, 100 on Linux.
const clockTick = 10 * time.Millisecond

// detailed looks closer at processes that are there: one that is stopped
// (SIGSTOP) serves nobody, whatever its command line says.
func detailed(found []proc) agent.Status {
	for _, p := range found {
		state, err := stateOf(p.pid)
		if err != nil {
			continue // gone meanwhile; a plain monitor sees that
		}
		if state == 'T' {
			return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("process %d is stopped (SIGSTOP): it serves nobody", p.pid)}
		}
	}
	return agent.Status{State: agent.Online}
}

// stateOf is the state letter of proc_pid_stat(5).
func stateOf(pid int) (byte, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	if !ok || after == "" {
		return 0, fmt.Errorf("read state of process %d: %q", pid, text)
	}
	return after[0], nil
}

// Info implements agent.Informer.
func (*process) Info(_ context.Context, r *agent.Resource) (map[string]string, error) {
	found, err := find(r)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no process of %s runs", r.String("PathName"))
	}
	eldest := found[0]
	facts := map[string]string{"Pid": strconv.Itoa(eldest.pid), "Processes": strconv.Itoa(len(found))}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", eldest.pid)); err == nil {
		if fields := strings.Fields(string(text)); len(fields) > 1 {
			if pages, err := strconv.ParseUint(fields[1], 10, 64); err == nil {
				facts["RSS"] = strconv.FormatUint(pages*uint64(os.Getpagesize()), 10)
			}
		}
	}
	if began, err := beganAt(eldest); err == nil {
		facts["Start"] = began.UTC().Format(time.RFC3339)
	}
	return facts, nil
}

// beganAt is when a process began, by this system's clock.
func beganAt(p proc) (time.Time, error) {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, fmt.Errorf("read boot time: %w", err)
	}
	boot := time.Now().Add(-time.Duration(up.Nano()))
	return boot.Add(time.Duration(p.start) * clockTick), nil
}

// Action implements agent.Actor: what could keep the program from starting on
// this system.
func (*process) Action(_ context.Context, r *agent.Resource, token string, _ []string) (string, int, error) {
	switch token {
	case "program.vfd":
		path := r.String("PathName")
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return fmt.Sprintf("PathName: %v\n", err), 1, nil
		case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
			return fmt.Sprintf("PathName: %s is no program: chmod +x %s\n", path, path), 1, nil
		}
		if _, err := splitArgs(r.String("Arguments")); err != nil {
			return fmt.Sprintf("Arguments: %v\n", err), 1, nil
		}
		return path + " can be run\n", 0, nil
	case "user.vfd":
		name := r.String("UserName")
		if name == "" {
			return "UserName is empty: the agent's own user\n", 0, nil
		}
		u, err := user.Lookup(name)
		if err != nil {
			return fmt.Sprintf("UserName: %v\n", err), 1, nil
		}
		return fmt.Sprintf("%s is uid %s\n", name, u.Uid), 0, nil
	}
	return "", 0, fmt.Errorf("action %s is not known", token)
}
