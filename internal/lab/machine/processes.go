//go:build linux

package machine

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// allPIDs lists the processes of this PID namespace.
func allPIDs() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// stat returns the fields of /proc/PID/stat after the command, from the state
// on; nil if the process is gone.
func stat(pid int) []string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

// state is the letter of a process's state, 0 if it is gone.
func state(pid int) byte {
	if fields := stat(pid); len(fields) > 0 {
		return fields[0][0]
	}
	return 0
}

// inNamespace lists the living processes in the namespace; that it is open
// keeps its number from being given to another one.
func inNamespace(namespace *os.File, kind string) []int {
	var home, here unix.Stat_t
	if namespace == nil || unix.Fstat(int(namespace.Fd()), &home) != nil {
		return nil
	}
	var pids []int
	for _, pid := range allPIDs() {
		if unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &here) == nil && here.Ino == home.Ino && here.Dev == home.Dev && Alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Alive reports whether the process exists and is no zombie.
func Alive(pid int) bool {
	s := state(pid)
	return s != 0 && s != 'Z' && s != 'X'
}

// PIDs lists the processes of the system, init first, zombies left out.
func (p *Process) PIDs() []int {
	if p.config.Unprivileged {
		return p.descendants() // also orphans of an init that is gone
	}
	if p.gone() {
		return nil
	}
	return initFirst(inNamespace(p.pids, "pid"), p.PID)
}

func initFirst(pids []int, pid int) []int {
	if k := slices.Index(pids, pid); k > 0 {
		pids = append([]int{pid}, slices.Delete(pids, k, k+1)...)
	}
	return pids
}

func (p *Process) descendants() []int {
	token := EnvSystem + "=" + filepath.Join(p.config.LabDir, p.config.System)
	parents := map[int]int{}
	all := allPIDs()
	for _, pid := range all {
		if fields := stat(pid); len(fields) > 1 && fields[0] != "Z" && fields[0] != "X" {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	var pids []int
	for _, pid := range all {
		if _, alive := parents[pid]; !alive {
			continue
		}
		mine := pid == p.PID && !p.gone()
		for up, steps := pid, 0; up > 1 && !mine && steps < 1000; steps++ {
			up = parents[up]
			mine = up == p.PID && !p.gone()
		}
		if mine || hasEnvironment(pid, func(entry string) bool { return entry == token }) {
			pids = append(pids, pid)
		}
	}
	return initFirst(pids, p.PID)
}

// WithEnvironment lists the living processes, this one left out, that have an
// environment entry that matches.
func WithEnvironment(match func(entry string) bool) []int {
	var pids []int
	for _, pid := range allPIDs() {
		if pid != os.Getpid() && Alive(pid) && hasEnvironment(pid, match) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func hasEnvironment(pid int, match func(entry string) bool) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for _, entry := range strings.Split(string(text), "\x00") {
		if entry != "" && match(entry) {
			return true
		}
	}
	return false
}

// Daemons names the processes of the system that run one of the programs.
func (p *Process) Daemons(programs []string) map[string]int {
	found := map[string]int{}
	for _, pid := range p.PIDs() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		program, _, _ := strings.Cut(string(text), "\x00")
		if base := filepath.Base(program); slices.Contains(programs, base) && found[base] == 0 {
			found[base] = pid
		}
	}
	return found
}
