package server

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/trigger"
	triggerhost "github.com/evenkeel/evenkeel/services/had/trigger/host"
)

// openTriggers starts the runner of triggers; its lines go to the engine log.
func (l *loop) openTriggers(timeout time.Duration) {
	l.lost, l.lostErr = triggerhost.Lost(l.root)
	l.triggers = triggerhost.New(triggerhost.Config{
		Root: l.root, Program: l.cfg.Hatrigger, Timeout: timeout,
		// The runner has goroutines of its own; the log and its watchers belong
		// to the loop.
		Line:    func(severity, id, text string) { l.post(func() { l.engineLine(severity, id, text) }) },
		Awaited: func(out triggerhost.Outcome) { l.post(func() { l.triggerEnded(out) }) },
	})
}

// runTrigger has the program of an event run. Nothing here waits for it; a
// group's start waits for preonline, in the engine.
func (l *loop) runTrigger(t engine.RunTrigger) {
	l.log.Info("trigger", "effect", t.String(), "view", t.Pos.View, "seq", t.Pos.Seq)
	l.triggers.Run(trigger.Job{
		ID: t.ID, Event: t.Event, Args: t.Args, Group: t.Group, Resource: t.Resource, Path: t.Path, Timeout: t.Timeout,
		Why: t.Why, Lineage: t.Pos.Lineage, View: t.Pos.View, Seq: t.Pos.Seq, Awaited: t.Event == engine.TriggerPreOnline,
	})
}

// triggerEnded tells all engines what became of a preonline trigger.
func (l *loop) triggerEnded(out triggerhost.Outcome) {
	ev := engine.TriggerEnded{ID: out.Job.ID, System: l.self, Group: out.Job.Group, Outcome: engine.OutcomeEnded, Detail: out.Problem}
	switch {
	case out.Missing:
		ev.Outcome = engine.OutcomeMissing
	case out.Problem != "":
		ev.Outcome = engine.OutcomeFailed
	}
	l.broadcastEvent(ev)
}

// lostTriggers tells which triggers waited for their turn when an earlier had
// was killed.
func (l *loop) lostTriggers() {
	for _, j := range l.lost {
		l.engineLine("WARNING", "V-16-6-90056", fmt.Sprintf("hatrigger:trigger %s (of %d.%d.%d) is not run: had was killed while it waited for its turn", j, j.Lineage, j.View, j.Seq))
	}
	if l.lostErr != nil {
		l.log.Warn("what an earlier had left of triggers is not known whole", "error", l.lostErr)
	}
	l.lost = nil
}
