package engine

import (
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// planSteps bounds a plan; more than that is a loop, not a plan.
const planSteps = 10000

// Plan says what a command would do if every entry point succeeded: the same
// engine runs on a copy and each order is answered as a healthy agent would.
// The replica itself does not change. Effects come in the order of events,
// with the answer to the command among the first.
func (e *Engine) Plan(from SystemID, c Command) ([]Effect, error) {
	copied := e.Clone()
	c.RequestID = ""
	pos := e.st.Pos
	pos.Seq++
	out := copied.Apply(pos, from, c, nil)
	for next := 0; next < len(out) && next < planSteps; next++ {
		if t, ok := out[next].(RunTrigger); ok && t.Event == TriggerPreOnline {
			pos.Seq++
			out = copied.Apply(pos, t.System, TriggerEnded{ID: t.ID, System: t.System, Group: t.Group, Outcome: OutcomeReleased}, out)
		}
		if stop, ok := out[next].(StopSystem); ok {
			pos.Seq++
			out = copied.Apply(pos, "", copied.viewWithout(stop.System), out)
		}
		order, ok := out[next].(ResourceCommand)
		if !ok {
			continue
		}
		if rep, answered := copied.healthy(order.Command); answered {
			pos.Seq++
			out = copied.Apply(pos, order.Command.System, Reported{rep}, out)
		}
	}
	return out, nil
}

// viewWithout is the view that follows when the had of a system has left, as
// it was told to.
func (e *Engine) viewWithout(n SystemID) ViewChanged {
	ev := ViewChanged{Generation: e.st.Generation + 1, FencingDisabled: e.st.Unfenced}
	for _, name := range e.systemNames() {
		s := e.st.Systems[name]
		m := Member{System: name, Node: s.Node, Jeopardy: s.Jeopardy}
		if s.InH && name != n {
			ev.Members = append(ev.Members, m)
		}
		if s.InA {
			ev.Systems = append(ev.Systems, m)
		}
	}
	return ev
}

// healthy is the report of an agent that does at once what it is told.
func (e *Engine) healthy(c resource.Command) (resource.Report, bool) {
	i := e.instance(c.Resource, c.System)
	rep := resource.Report{
		System: c.System, Resource: c.Resource, Incarnation: e.st.Systems[c.System].Incarnation,
		Seen: e.st.LastID, Probed: true, State: i.State, Flags: i.Flags, Done: c.ID,
	}
	switch c.Kind {
	case resource.CommandOnline:
		rep.State, rep.Flags, rep.Confidence = resource.StateOnline, 0, 100
	case resource.CommandOffline:
		rep.State, rep.Flags = resource.StateOffline, 0
	default:
		return rep, false
	}
	return rep, i.Pending.ID == c.ID
}
