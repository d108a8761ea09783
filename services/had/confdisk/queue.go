package confdisk

import (
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// Job is something that the disk of a system is to take: a copy of the
// configuration, or only the mark .stale.
type Job struct {
	Mark bool
	// Source is the configuration that a copy holds, Version what is known of
	// it, Stale whether it stays marked.
	Source  engine.Source
	Version Version
	Stale   bool
	// First is what the cluster started with, where it was never dumped: it is
	// kept as version 0.
	First *engine.Source
	// Answers are the dumps that are answered when the disk has taken it.
	Answers []engine.DumpConfig
}

// DumpJob is what the engine orders.
func DumpJob(e engine.DumpConfig, running engine.Source) Job {
	return Job{Source: running, Answers: []engine.DumpConfig{e},
		Version: Version{Number: e.Version, Sequence: e.Sequence, At: e.At, User: e.User, Request: e.Request}}
}

// RunningJob is a copy of what runs, as a joiner and who built from its own
// disk write it. What was never dumped is no version.
func RunningJob(st engine.ConfigStatus, running engine.Source) Job {
	j := Job{Source: running, Version: Version{Number: st.Version, Sequence: st.Sequence}, Stale: st.Stale}
	if st.Undumped {
		j.Version.Number = 0
	} else if st.Version == 0 {
		j.First = &running
	}
	return j
}

// Do carries the job out. now is kept with a version, for people.
func (j Job) Do(d Disk, now time.Time) error {
	if j.Mark {
		return d.MarkStale()
	}
	j.Version.Written = now
	if j.First != nil {
		if err := d.KeepFirst(j.First.Files(), Version{Written: now}); err != nil {
			return err
		}
	}
	return d.Save(j.Source.Files(), j.Version, j.Stale)
}

// Done is what the cluster is told of each answer that is due; problem is ""
// when the disk has taken it.
func (j Job) Done(system, problem string) []engine.ConfigDumped {
	var told []engine.ConfigDumped
	for _, d := range j.Answers {
		told = append(told, engine.ConfigDumped{System: system, Version: d.Version, At: d.At, Problem: problem})
	}
	return told
}

// Queue holds what the disk of a system is to take. One job is under way at a
// time, and of those that wait the last of its kind is enough: at most a mark
// and a copy wait. The zero value is empty; it belongs to one goroutine.
type Queue struct {
	waiting []Job
	busy    bool
}

// Add queues a job. A copy makes needless what waits before it; the answers
// are due all the same.
func (q *Queue) Add(j Job) {
	n := len(q.waiting)
	switch {
	case j.Mark && n > 0 && q.waiting[n-1].Mark:
		return
	case !j.Mark:
		var due []engine.DumpConfig
		for _, old := range q.waiting {
			due = append(due, old.Answers...)
			if j.First == nil {
				j.First = old.First
			}
		}
		j.Answers = append(due, j.Answers...)
		q.waiting = q.waiting[:0]
	}
	q.waiting = append(q.waiting, j)
}

// Begin takes the next job, if one waits and none is under way. Whoever takes
// it calls End when the disk has answered.
func (q *Queue) Begin() (Job, bool) {
	if q.busy || len(q.waiting) == 0 {
		return Job{}, false
	}
	j := q.waiting[0]
	q.waiting, q.busy = append([]Job(nil), q.waiting[1:]...), true
	return j, true
}

// End says that the job under way has ended.
func (q *Queue) End() { q.busy = false }
