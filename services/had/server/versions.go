package server

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// toDisk gives this system's disk something to take, one thing at a time.
func (l *loop) toDisk(j confdisk.Job) {
	l.diskJobs.Add(j)
	l.nextDiskJob()
}

func (l *loop) nextDiskJob() {
	j, ok := l.diskJobs.Begin()
	if !ok {
		return
	}
	l.workers.Go(func() {
		err := j.Do(diskOf(l.root), time.Now().UTC())
		l.post(func() {
			l.diskJobs.End()
			l.diskDone(j, err)
			l.nextDiskJob()
		})
	})
}

// diskDone tells the cluster, and whoever reads the log, how it went.
func (l *loop) diskDone(j confdisk.Job, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
		l.engineLine("ERROR", "V-16-1-90050", fmt.Sprintf("The configuration is not written on %s: %s; its disk holds what it held before", l.self, problem))
	} else if !j.Mark {
		l.disk.problems = nil // what was wrong is replaced
	}
	for _, ev := range j.Done(l.self, problem) {
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
	j := confdisk.RunningJob(l.engine.ConfigStatus(), l.engine.Source())
	if l.disk.state == join.DiskValid && l.disk.edited && confdisk.Hash(confdisk.Local(l.disk.files)) != confdisk.Hash(confdisk.Local(j.Source.Files())) {
		l.engineLine("WARNING", "V-16-1-90056", "The configuration on this disk was edited and is not the running one: it is replaced and kept as "+mainFile+".previous")
	}
	l.toDisk(j)
}
