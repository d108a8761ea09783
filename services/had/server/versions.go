package server

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// diskJob is something that the disk of this system is to take.
type diskJob struct {
	// mark: only .stale.
	mark   bool
	source engine.Source
	record confdisk.Version
	stale  bool
	// answers are the dumps that it carries out.
	answers []engine.DumpConfig
}

// toDisk queues a job. There is one at a time, and of those that wait the
// last of its kind is enough: at most a mark and a copy wait.
func (l *loop) toDisk(j diskJob) {
	if n := len(l.diskJobs); n > 0 && !j.mark {
		// A copy makes what waits needless; its answers are due all the same.
		for _, old := range l.diskJobs {
			j.answers = append(old.answers, j.answers...)
		}
		l.diskJobs = l.diskJobs[:0]
	} else if n > 0 && l.diskJobs[n-1].mark {
		return
	}
	l.diskJobs = append(l.diskJobs, j)
	l.nextDiskJob()
}

func (l *loop) nextDiskJob() {
	if l.diskBusy || len(l.diskJobs) == 0 {
		return
	}
	j := l.diskJobs[0]
	l.diskJobs, l.diskBusy = l.diskJobs[1:], true
	l.workers.Go(func() {
		err := j.run(l.root)
		l.post(func() {
			l.diskBusy = false
			l.diskDone(j, err)
			l.nextDiskJob()
		})
	})
}

func (j diskJob) run(root paths.Root) error {
	if j.mark {
		return diskOf(root).MarkStale()
	}
	j.record.Written = time.Now().UTC()
	return diskOf(root).Save(j.source.Files(), j.record, j.stale)
}

// diskDone tells the cluster, and whoever reads the log, how it went.
func (l *loop) diskDone(j diskJob, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
		l.engineLine("ERROR", "V-16-1-90050", fmt.Sprintf("The configuration is not written on %s: %s; its disk holds what it held before", l.self, problem))
	} else if !j.mark {
		l.disk.problems = nil // what was wrong is replaced
	}
	for _, d := range j.answers {
		ev := engine.ConfigDumped{System: l.self, Version: d.Version, At: d.At, Problem: problem}
		l.tellDumped(ev)
	}
}

func (l *loop) tellDumped(ev engine.ConfigDumped) {
	if l.leaveBy != 0 {
		return // nothing follows the last word (R14)
	}
	id := l.broadcastEvent(ev)
	l.onLost[id] = func() { l.tellDumped(ev) }
}

// saveRunning writes what runs to this system's disk, as a joiner and who
// built from its own disk do.
func (l *loop) saveRunning() {
	st := l.engine.ConfigStatus()
	j := diskJob{source: l.engine.Source(), record: confdisk.Version{Number: st.Version, Sequence: st.Sequence}, stale: st.Stale}
	if st.Undumped || st.Version == 0 {
		j.record.Number = 0 // it is no version
	}
	if l.disk.state == join.DiskValid && l.disk.edited && confdisk.Hash(confdisk.Local(l.disk.files)) != confdisk.Hash(confdisk.Local(j.source.Files())) {
		l.engineLine("WARNING", "V-16-1-90056", "The configuration on this disk was edited and is not the running one: it is replaced and kept as "+mainFile+".previous")
	}
	l.toDisk(j)
}
