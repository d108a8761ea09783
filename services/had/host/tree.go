package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// endTime bounds one attempt to end an agent's processes.
const endTime = 5 * time.Second

// stat is what /proc/PID/stat says, as far as it is needed here.
type stat struct {
	pid, ppid, session int
	state              byte
	comm               string
	start              uint64
}

func (s stat) gone() bool { return s.state == 'Z' || s.state == 'X' }

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, err
	}
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("read stat of %d: no command name", pid)
	}
	f := strings.Fields(string(text[end+1:]))
	if len(f) < 20 {
		return stat{}, fmt.Errorf("read stat of %d: too few fields", pid)
	}
	s := stat{pid: pid, state: f[0][0], comm: string(text[open+1 : end])}
	s.ppid, _ = strconv.Atoi(f[1])
	s.session, _ = strconv.Atoi(f[3])
	s.start, err = strconv.ParseUint(f[19], 10, 64)
	return s, err
}

func processStart(pid int) (uint64, error) {
	s, err := readStat(pid)
	return s.start, err
}

func allPIDs() []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// members finds the living processes of an agent: those in its cgroup, those
// that carry its token, and those of its session. The session counts only
// while its leader is certainly ours: unreaped (leaderHeld) or alive with the
// recorded start time. Detached applications are in none of the three.
func members(r record, leaderHeld bool) []stat {
	leader := leaderHeld && r.PID != 0
	if !leader && r.PID != 0 {
		s, err := readStat(r.PID)
		leader = err == nil && s.start == r.StartTime
	}
	inCgroup := map[int]bool{}
	for _, pid := range cgroupPIDs(r.Cgroup) {
		inCgroup[pid] = true
	}
	mark := []byte(envToken + "=" + r.Token)
	var out []stat
	for _, pid := range allPIDs() {
		if pid == os.Getpid() {
			continue
		}
		s, err := readStat(pid)
		if err != nil || s.gone() {
			continue
		}
		if inCgroup[pid] || (leader && s.session == r.PID) || hasMark(pid, mark) {
			out = append(out, s)
		}
	}
	return out
}

func hasMark(pid int, mark []byte) bool {
	env, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for pair := range bytes.SplitSeq(env, []byte{0}) {
		if bytes.Equal(pair, mark) {
			return true
		}
	}
	return false
}

// endProcesses kills the processes of an agent until there are none, and has
// seen that there are none when it returns nil (R8). It gives up after endTime.
func endProcesses(r record, leaderHeld bool) error {
	deadline := time.Now().Add(endTime)
	for {
		left := members(r, leaderHeld)
		if len(left) == 0 {
			return nil
		}
		if r.Cgroup != "" {
			_ = os.WriteFile(filepath.Join(r.Cgroup, "cgroup.kill"), []byte("1"), 0)
		}
		for _, s := range left {
			if err := killExactly(s, time.Until(deadline)); err != nil {
				return fmt.Errorf("end processes of agent %s: %w", r.Type, err)
			}
		}
	}
}

// killExactly kills the process that was seen, not one that got its id since,
// and waits for its end.
func killExactly(s stat, atMost time.Duration) error {
	fd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("open pidfd of %d: %w", s.pid, err)
	}
	defer unix.Close(fd)
	if now, err := readStat(s.pid); err != nil || now.start != s.start {
		return nil // another one by now
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill %d (%s): %w", s.pid, s.comm, err)
	}
	if !waitPidfd(fd, max(atMost, 0)) {
		now, _ := readStat(s.pid)
		return fmt.Errorf("process %d (%s) does not end, state %c (D waits for a device: see /proc/%d/stack)", s.pid, s.comm, now.state, s.pid)
	}
	return nil
}
