package host

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/trigger"
)

const (
	// parallel is how many triggers run at once, beside those that a group's
	// start waits for.
	parallel = 16
	// waitBound is how many wait for their turn; more are dropped, with a line
	// in the engine log for each.
	waitBound = 4096
	// overtime is how long after its deadline a hatrigger that does not end is
	// killed.
	overtime = 10 * time.Second
	// closeTime is how long Close lets those that wait begin.
	closeTime = 5 * time.Second
)

// Outcome is what became of a job that is awaited.
type Outcome struct {
	Job trigger.Job
	// Missing: there is no program.
	Missing bool
	// Problem says how it failed; "" if it ended well.
	Problem string
}

// Config is what New needs.
type Config struct {
	Root paths.Root
	// Program is hatrigger; "" means that no trigger is run.
	Program string
	// Timeout of a job that has none; 0: DefaultTimeout.
	Timeout time.Duration
	// Line writes a line of the engine log; it must not block for long. It is
	// called from goroutines of the runner.
	Line func(severity, id, text string)
	// Awaited hears what became of each job that is awaited, once. After
	// Close it is not called.
	Awaited func(Outcome)
}

// Runner runs triggers. One goroutine owns the queue; each program that runs
// has one that ends with it, or with Close.
type Runner struct {
	cfg     Config
	jobs    chan trigger.Job // bound waitBound; full: the job is dropped and said so
	ended   chan uint64      // unbuffered: the owner listens until all have ended
	closing chan struct{}    // closed by Close
	abandon chan struct{}    // closed when those that run are left to themselves
	done    sync.WaitGroup
	closed  sync.Once
}

// New starts a runner.
func New(cfg Config) *Runner {
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	r := &Runner{
		cfg: cfg, jobs: make(chan trigger.Job, waitBound), ended: make(chan uint64),
		closing: make(chan struct{}), abandon: make(chan struct{}),
	}
	r.done.Go(r.own)
	return r
}

// Run hands over a job and never waits.
func (r *Runner) Run(j trigger.Job) {
	select {
	case r.jobs <- j:
	default:
		r.dropped(j)
	}
}

// dropped tells of a job that found no place. It may be the caller's own
// goroutine that takes the callbacks, so they come from another one.
func (r *Runner) dropped(j trigger.Job) {
	r.done.Go(func() {
		r.cfg.Line("ERROR", "V-16-6-90053", fmt.Sprintf("hatrigger:trigger %s is not run: %d wait already", j, waitBound))
		if j.Awaited {
			r.cfg.Awaited(Outcome{Job: j, Problem: "too many triggers wait already"})
		}
	})
}

// Close returns when every job that waited has begun, or after a few seconds.
// Programs that run go on; they are ended at their deadlines all the same.
func (r *Runner) Close() {
	r.closed.Do(func() { close(r.closing) })
	r.done.Wait()
}

// own turns until Close and keeps the queue.
func (r *Runner) own() {
	q := trigger.NewQueue(parallel, waitBound)
	o := owner{Runner: r, queue: q, missing: map[string]bool{}}
	for {
		select {
		case j := <-r.jobs:
			o.take(j)
			o.begin()
			for _, j := range o.fresh { // what has not begun at once
				o.keep(j)
			}
			o.fresh = nil
			continue
		case id := <-r.ended:
			o.queue.Done(id)
		case <-r.closing:
			o.finish()
			return
		}
		o.begin()
	}
}

// owner is what the owning goroutine alone touches.
type owner struct {
	*Runner
	queue *trigger.Queue
	// missing are the events whose absence was said.
	missing map[string]bool
	// fresh were queued by the last take and have not begun.
	fresh   []trigger.Job
	crowded bool
	runs    sync.WaitGroup
}

// take queues a job for which there is a program.
func (o *owner) take(j trigger.Job) {
	if j.Timeout <= 0 {
		j.Timeout = o.cfg.Timeout
	}
	programs, err := Find(o.cfg.Root, j.Path, j.Event)
	switch {
	case err != nil:
		o.cfg.Line("ERROR", "V-16-6-15015", fmt.Sprintf("hatrigger:%s can not be executed: %v", j.Event, err))
		o.answer(Outcome{Job: j, Problem: err.Error()})
	case len(programs) == 0 || o.cfg.Program == "":
		if !o.missing[j.Event] {
			o.missing[j.Event] = true
			o.cfg.Line("INFO", "V-16-6-15004", "hatrigger:Failed to send trigger for "+j.Event+"; script doesn't exist")
		}
		o.answer(Outcome{Job: j, Missing: true})
	case !o.queue.Add(j):
		o.dropped(j)
	default:
		o.fresh = append(o.fresh, j)
	}
}

// answer tells who waits; the callback may take its time.
func (o *owner) answer(out Outcome) {
	if out.Job.Awaited {
		o.runs.Go(func() { o.cfg.Awaited(out) })
	}
}

// begin starts what may run and says, once, that the bound is reached.
func (o *owner) begin() {
	for {
		j, ok := o.queue.Next()
		if !ok {
			break
		}
		o.fresh = slices.DeleteFunc(o.fresh, func(f trigger.Job) bool { return f.ID == j.ID })
		o.runs.Go(func() { o.run(j) })
	}
	full := o.queue.Full() && len(o.queue.Waiting()) > 0
	if full && !o.crowded {
		o.cfg.Line("WARNING", "V-16-6-90052", fmt.Sprintf("hatrigger:%d triggers run, which is the bound; %d wait, the oldest of them %s", parallel, len(o.queue.Waiting()), o.queue.Waiting()[0]))
	}
	o.crowded = full
}

// finish lets what waits begin, for a few seconds, then leaves all alone.
func (o *owner) finish() {
	limit := time.NewTimer(closeTime)
	defer limit.Stop()
	for len(o.jobs) > 0 {
		o.take(<-o.jobs)
	}
	o.begin()
	for waiting := true; waiting && len(o.queue.Waiting()) > 0; {
		select {
		case id := <-o.ended:
			o.queue.Done(id)
			o.begin()
		case <-limit.C:
			waiting = false
		}
	}
	for _, j := range o.queue.Waiting() {
		o.cfg.Line("WARNING", "V-16-6-90054", fmt.Sprintf("hatrigger:trigger %s is not run: had stops", j))
		o.forget(j)
	}
	close(o.abandon)
	o.runs.Wait()
}

// run runs one job to its end.
func (o *owner) run(j trigger.Job) {
	out, left := o.hatrigger(j)
	if left {
		return
	}
	if j.Awaited {
		o.cfg.Awaited(out)
	}
	select {
	case o.ended <- j.ID:
	case <-o.abandon:
	}
}

// hatrigger starts the process that runs the programs of a job, and listens
// to it. left says that had stops and the process was left alone.
func (r *Runner) hatrigger(j trigger.Job) (out Outcome, left bool) {
	out = Outcome{Job: j, Problem: "it was not run"}
	failed := func(err error) (Outcome, bool) {
		out.Problem = err.Error()
		r.cfg.Line("ERROR", "V-16-6-15015", "hatrigger:"+j.Event+" can not be executed: "+err.Error())
		return out, false
	}
	from, to, err := os.Pipe()
	if err != nil {
		return failed(err)
	}
	defer from.Close()
	args := []string{"-json", "-timeout", j.Timeout.String()}
	if j.Path != "" {
		args = append(args, "-path", j.Path)
	}
	cmd := exec.Command(r.cfg.Program, append(append(args, "-"+j.Event), j.Args...)...)
	cmd.Env = append(Environment(r.cfg.Root, filepath.Dir(r.cfg.Program)), j.Environment()...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", to, to
	// Its own group, but had's session: had waits for it, and nobody else
	// reaps it. It outlives had.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	r.forget(j)
	to.Close()
	if err != nil {
		return failed(err)
	}
	_ = from.SetReadDeadline(time.Now().Add(j.Timeout + killGrace + overtime))
	quiet := make(chan struct{}) // closed when there is no more to hear
	go func() {                  // ends with quiet
		select {
		case <-r.abandon:
			_ = from.SetReadDeadline(time.Now())
		case <-quiet:
		}
	}()
	whole := r.listen(from, j, &out)
	close(quiet)
	select {
	case <-r.abandon:
		if !whole {
			_ = cmd.Process.Release()
			return out, true
		}
	default:
	}
	if !whole {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		out.Problem = "hatrigger did not end and was killed"
		r.cfg.Line("ERROR", "V-16-6-90051", "hatrigger:"+j.String()+": hatrigger itself did not end and was killed")
	}
	_ = cmd.Wait()
	return out, false
}

// listen takes hatrigger's notes; true if they came to their end.
func (r *Runner) listen(from io.Reader, j trigger.Job, out *Outcome) bool {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 4*outputBound)
	for lines.Scan() {
		var n note
		if json.Unmarshal(lines.Bytes(), &n) != nil {
			continue
		}
		switch {
		case n.Missing:
			out.Missing, out.Problem = true, ""
		case n.Line != nil:
			r.cfg.Line("INFO", "V-16-6-90055", "hatrigger:"+j.Event+": "+*n.Line)
		case n.Result != nil:
			out.Problem = r.result(j, *n.Result)
		}
	}
	return lines.Err() == nil
}

// result logs how a program ended and returns what was wrong with it.
func (r *Runner) result(j trigger.Job, res Result) string {
	text := res.text(j.Args, j.Timeout)
	if res.Lost > 0 {
		text += fmt.Sprintf("; %d bytes of its output are not logged", res.Lost)
	}
	switch {
	case res.Good():
		r.cfg.Line("INFO", "V-16-6-15002", text)
		return ""
	case res.CannotRun:
		r.cfg.Line("ERROR", "V-16-6-15015", text)
	case res.TimedOut:
		r.cfg.Line("ERROR", "V-16-6-90051", text)
	default:
		r.cfg.Line("ERROR", "V-16-6-90050", text)
	}
	return text[len("hatrigger:"):]
}
