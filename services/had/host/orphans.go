package host

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// orphanPause is how long a zombie must have been seen before it counts as an
// orphan's: whoever started it here has reaped it by then.
const orphanPause = 200 * time.Millisecond

// reapOrphans makes this process the parent of what dead agents leave behind
// (subreaper), and lets the kernel forget those that end. Without it they would
// stay zombies until process 1 finds time, and look alive to who tests by
// process id. It ends with ctx.
func reapOrphans(ctx context.Context, agents *pidSet) {
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) // without it they go to process 1, as ever
	child := make(chan os.Signal, 1)                        // bound 1: one look serves all that died before it
	signal.Notify(child, unix.SIGCHLD)
	defer signal.Stop(child)
	ownSession, _ := unix.Getsid(0)
	seen := map[stat]bool{}
	tick := time.NewTicker(orphanPause)
	defer tick.Stop()
	look := true
	for {
		if look {
			look = reapOnce(ownSession, seen, agents)
		}
		select {
		case <-ctx.Done():
			return
		case <-child:
			look = true
			select { // at most one look per pause
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		case <-tick.C:
		}
	}
}

// pidSet holds the process ids of agents that are not reaped yet; those are
// reaped by whoever waits for their end.
type pidSet struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (s *pidSet) add(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pids == nil {
		s.pids = map[int]bool{}
	}
	s.pids[pid] = true
}

func (s *pidSet) remove(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pids, pid)
}

func (s *pidSet) has(pid int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pids[pid]
}

// reapOnce reaps the zombies that it saw before and remembers the new ones;
// true if it must look again.
func reapOnce(ownSession int, seen map[stat]bool, agents *pidSet) bool {
	now := map[stat]bool{}
	for _, pid := range children() {
		s, err := readStat(pid)
		if err != nil || s.state != 'Z' || s.ppid != os.Getpid() || s.session == ownSession || agents.has(pid) {
			continue
		}
		if seen[s] {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			continue
		}
		now[s] = true
	}
	clear(seen)
	for s := range now {
		seen[s] = true
	}
	return len(now) > 0
}

// children lists the children of this process.
func children() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	if len(files) == 0 {
		return allPIDs()
	}
	var pids []int
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
