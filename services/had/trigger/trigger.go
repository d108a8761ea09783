// Package trigger orders the programs that had runs because of an event: those
// of one group one after the other, others side by side up to a bound. It is
// pure; package host runs the programs.
package trigger

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Job is one program to run.
type Job struct {
	// ID numbers the triggers of the cluster.
	ID uint64
	// Event is the name of the program.
	Event string
	Args  []string
	// Group and Resource that it is about, "" if none.
	Group, Resource string
	// Path is TriggerPath.
	Path string
	// Timeout after which it is ended; 0: the runner's.
	Timeout time.Duration
	// Why says for people what led to it.
	Why string
	// Lineage, View and Seq are the position of its event in the total order.
	Lineage, View, Seq uint64
	// Awaited: a group's start waits for it, so it waits for nobody.
	Awaited bool
}

// String is the job as the engine log names it.
func (j Job) String() string { return strings.Join(append([]string{j.Event}, j.Args...), " ") }

// Environment is what a program learns about its event beside its arguments.
func (j Job) Environment() []string {
	return []string{
		"VCS_TRIGGER=" + j.Event,
		"EVENKEEL_EVENT=" + j.Event,
		"EVENKEEL_TRIGGER_ID=" + strconv.FormatUint(j.ID, 10),
		fmt.Sprintf("EVENKEEL_POSITION=%d.%d.%d", j.Lineage, j.View, j.Seq),
		"EVENKEEL_LINEAGE=" + strconv.FormatUint(j.Lineage, 10),
		"EVENKEEL_VIEW=" + strconv.FormatUint(j.View, 10),
		"EVENKEEL_SEQ=" + strconv.FormatUint(j.Seq, 10),
		"EVENKEEL_GROUP=" + j.Group,
		"EVENKEEL_RESOURCE=" + j.Resource,
		"EVENKEEL_WHY=" + j.Why,
	}
}

// lane is what keeps its order: a group with its resources, or everything
// about systems. What somebody waits for has a lane of its own.
func (j Job) lane() string {
	switch {
	case j.Awaited:
		return "awaited " + strconv.FormatUint(j.ID, 10)
	case j.Group != "":
		return "group " + j.Group
	}
	return "systems"
}

// Queue holds the jobs that wait and knows those that run. It is not safe for
// concurrent use.
type Queue struct {
	parallel, bound int
	waiting         []Job
	running         map[uint64]Job
	lanes           map[string]bool // of what runs
	awaited         int             // running
}

// NewQueue returns a queue that lets parallel jobs run at once, beside those
// that are awaited, and bound jobs wait.
func NewQueue(parallel, bound int) *Queue {
	return &Queue{parallel: parallel, bound: bound, running: map[uint64]Job{}, lanes: map[string]bool{}}
}

// Add puts a job behind the others; false if as many wait as may.
func (q *Queue) Add(j Job) bool {
	if len(q.waiting) >= q.bound && !j.Awaited {
		return false
	}
	q.waiting = append(q.waiting, j)
	return true
}

// Next takes the oldest job that may run now.
func (q *Queue) Next() (Job, bool) {
	blocked := map[string]bool{}
	for i, j := range q.waiting {
		lane := j.lane()
		if q.lanes[lane] || blocked[lane] || (!j.Awaited && q.Full()) {
			blocked[lane] = true
			continue
		}
		q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
		q.running[j.ID], q.lanes[lane] = j, true
		if j.Awaited {
			q.awaited++
		}
		return j, true
	}
	return Job{}, false
}

// Done says that a job has ended.
func (q *Queue) Done(id uint64) {
	j, runs := q.running[id]
	if !runs {
		return
	}
	delete(q.running, id)
	delete(q.lanes, j.lane())
	if j.Awaited {
		q.awaited--
	}
}

// Full says whether as many jobs run as may.
func (q *Queue) Full() bool { return len(q.running)-q.awaited >= q.parallel }

// Waiting returns the jobs that wait, oldest first.
func (q *Queue) Waiting() []Job { return q.waiting }

// Running is how many jobs run.
func (q *Queue) Running() int { return len(q.running) }
