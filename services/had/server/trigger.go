package server

import "github.com/evenkeel/evenkeel/services/had/engine"

// runTrigger has the program of an event run; a group waits for preonline
// alone.
func (l *loop) runTrigger(t engine.RunTrigger) {
	l.log.Info("trigger", "effect", t.String())
	if t.Event == engine.TriggerPreOnline {
		l.broadcastEvent(engine.TriggerEnded{ID: t.ID, System: t.System, Group: t.Group, Outcome: engine.OutcomeMissing})
	}
}
