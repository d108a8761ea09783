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
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	mclOnFault = 4 // MCL_ONFAULT: lock pages when they are used first
	weight     = 20
)

// Take locks the daemon's memory and gives all its threads SCHED_RR, so that a
// busy machine causes no false DOWN and no false self-stop. Threads made later
// inherit it, and so do child processes: they call Drop. Where that is not
// permitted, the log says so and the daemon runs on.
func Take(log *slog.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); os.Geteuid() == 0 || (err == nil && limit.Cur == math.MaxUint64) {
		if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | mclOnFault); err != nil {
			log.Warn("memory is not locked: a busy machine may swap the daemon out", "error", err)
		}
	} else {
		log.Info("memory is not locked: not permitted for this user")
	}
	if err := schedule(unix.SCHED_RR, weight); err != nil {
		log.Info("no real-time priority", "error", err)
		return
	}
	log.Info("memory locked, real-time priority taken")
}

// Drop gives all threads ordinary priority again, which this process may have
// inherited from the daemon that started it. It needs no permission.
func Drop(log *slog.Logger) {
	if err := schedule(unix.SCHED_NORMAL, 0); err != nil {
		log.Warn("real-time priority not dropped", "error", err)
	}
}

// schedule sets the policy of every thread of this process.
func schedule(policy, priority uint32) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}
		if err := unix.SchedSetAttr(tid, attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("set scheduling policy: %w", err)
		}
	}
	return nil
}
