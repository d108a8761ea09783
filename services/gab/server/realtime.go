package server

import (
	"log/slog"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const (
	mclOnFault     = 4 // MCL_ONFAULT: lock pages when they are used first
	realtimeWeight = 20
)

// realtime locks the daemon's memory and gives all its threads SCHED_RR, so
// that a busy machine causes no false DOWN. Threads made later inherit it.
// Where that is not permitted, the log says so and the daemon runs on.
func realtime(log *slog.Logger) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); os.Geteuid() == 0 || (err == nil && limit.Cur == math.MaxUint64) {
		if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | mclOnFault); err != nil {
			log.Warn("memory is not locked: a busy machine may swap gab out", "error", err)
		}
	} else {
		log.Info("memory is not locked: not permitted for this user")
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		log.Warn("no real-time priority", "error", err)
		return
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: realtimeWeight}
		if err := unix.SchedSetAttr(tid, attr, 0); err != nil && err != unix.ESRCH {
			log.Info("no real-time priority: not permitted", "error", err)
			return
		}
	}
	log.Info("memory locked, real-time priority taken")
}
