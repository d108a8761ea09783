// Package realtime keeps a daemon on time on a busy machine: locked memory and
// real-time priority for the daemons whose silence the others take for death
// (gab, fencing, hashadow), ordinary priority again for those that start
// applications.
package realtime

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

const mclOnFault = 4 // MCL_ONFAULT: lock pages when they are used first

// Priority of a daemon among the real-time tasks of the machine. Tasks of one
// priority take turns of 100 ms (the kernel's default for SCHED_RR), so whoever
// may wait least stands above the others.
type Priority uint32

// The priorities in use: gab's silence is what peers see, the others judge
// only what they had time to read, and an observer must not disturb them.
const (
	Pulse    Priority = 23 // the thread of gab that sends heartbeats while the others stand still
	Gab      Priority = 22
	Fencing  Priority = 21
	Hashadow Priority = 20
	Observer Priority = 10
)

// Take locks the daemon's memory and gives all its threads SCHED_RR, so that a
// busy machine causes no false DOWN and no false self-stop. Threads made later
// inherit it, and so would child processes: start them with Ordinary. Where
// that is not permitted, the log says so and the daemon runs on.
func Take(log *slog.Logger, priority Priority) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); os.Geteuid() == 0 || (err == nil && limit.Cur == math.MaxUint64) {
		if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | mclOnFault); err != nil {
			log.Warn("memory is not locked: a busy machine may swap the daemon out", "error", err)
		}
	} else {
		log.Info("memory is not locked: not permitted for this user")
	}
	if err := schedule(unix.SCHED_RR, uint32(priority)); err != nil {
		log.Info("no real-time priority", "error", err)
		return
	}
	log.Info("memory locked, real-time priority taken")
}

// ballast is memory that the collector counts as in use and that is never
// touched, so that it costs nothing.
var ballast []byte

// Reserve makes the memory that a daemon will work with resident before it is
// needed: bytes of heap, which Take has locked. A machine that is short of
// memory makes whoever asks for more wait, for tenths of a second; a daemon of
// which bytes of garbage are enough between two collections does not ask. The
// kernel is also asked to end others first when memory is out.
func Reserve(bytes int) {
	if len(ballast) >= bytes {
		return // it has been done
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0) // only root may
	ballast = make([]byte, bytes)
	work := make([]byte, bytes)
	for i := 0; i < len(work); i += os.Getpagesize() {
		work[i] = 1
	}
	runtime.KeepAlive(work)
	runtime.GC() // work is free from here on, and kept: the next collection comes after as much again
}

// Thread gives the calling thread SCHED_RR of a priority where Take was
// permitted to; the goroutine must be locked to it, and end without unlocking
// it, so that the thread ends with it.
func Thread(priority Priority) {
	if before, err := unix.SchedGetAttr(0, 0); err == nil && before.Policy == unix.SCHED_RR {
		_ = set(0, unix.SCHED_RR, uint32(priority)) // as permitted as Take was; else it stays as the others
	}
}

// Drop gives all threads ordinary priority again, which this process may have
// inherited from the daemon that started it. It needs no permission.
func Drop(log *slog.Logger) {
	if err := schedule(unix.SCHED_NORMAL, 0); err != nil {
		log.Warn("real-time priority not dropped", "error", err)
	}
}

// Ordinary runs start, which starts a process, on a thread of ordinary
// priority, which the process inherits: a large program that initialises at
// real-time priority keeps gab and the others waiting for tenths of a second.
func Ordinary(start func() error) error {
	runtime.LockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil || before.Policy == unix.SCHED_NORMAL || set(0, unix.SCHED_NORMAL, 0) != nil {
		runtime.UnlockOSThread()
		return start()
	}
	err = start()
	if set(0, before.Policy, before.Priority) == nil {
		runtime.UnlockOSThread()
	} // else the thread ends with its goroutine: none of the daemon's runs late
	return err
}

// schedule sets the policy of every thread of this process, also of those that
// a thread makes which was not set yet.
func schedule(policy, priority uint32) error {
	done := map[int]bool{}
	for more := true; more; {
		more = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list threads: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			if err := set(tid, policy, priority); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			done[tid], more = true, true
		}
	}
	return nil
}

func set(tid int, policy, priority uint32) error {
	attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}
	if err := unix.SchedSetAttr(tid, attr, 0); err != nil {
		return fmt.Errorf("set scheduling policy: %w", err)
	}
	return nil
}
