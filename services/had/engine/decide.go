package engine

import (
	"slices"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// decide takes a decision on what was gathered, and records it.
func (e *Engine) decide(group string, in decision.Inputs) decision.Outcome {
	o := in.Decide()
	e.told(group, in, o)
	return o
}

// told records a decision that was taken, if there is anything to tell.
func (e *Engine) told(group string, in decision.Inputs, o decision.Outcome) {
	if o.Text != "" {
		e.keep(explanationOf(group, o), in)
	}
}

// decideAfter is decide that does what follows before it records.
func (e *Engine) decideAfter(group string, in decision.Inputs, follow func(decision.Outcome)) {
	o := in.Decide()
	follow(o)
	e.told(group, in, o)
}

// keep records an explanation with the inputs of its decision.
func (e *Engine) keep(x Explanation, in decision.Inputs) {
	x.On = decision.Keep(in)
	e.explain(x)
}

func explanationOf(group string, o decision.Outcome) Explanation {
	return Explanation{Group: group, Subject: o.Subject, Decision: o.Text, Candidates: verdictsOf(o.Verdicts), Evidence: o.Evidence,
		WayOut: o.WayOut, Do: o.Do, Target: o.Target}
}

// Again takes the decision once more, on the inputs that were kept; ok is
// false if there are none.
func (x Explanation) Again() (o decision.Outcome, ok bool) {
	in, err := x.On.Inputs()
	if err != nil || in == nil {
		return decision.Outcome{}, false
	}
	return in.Decide(), true
}

// Repeatable says whether deciding again on the stored inputs gives what is
// stored. A decision without inputs is not repeatable.
func (x Explanation) Repeatable() bool {
	o, ok := x.Again()
	return ok && o.Do == x.Do && o.Target == x.Target && o.Subject == x.Subject && o.Text == x.Decision &&
		o.Evidence == x.Evidence && o.WayOut == x.WayOut && slices.Equal(x.Candidates, verdictsOf(o.Verdicts))
}

func verdictsOf(vs []policy.Verdict) []Verdict {
	var out []Verdict
	for _, v := range vs {
		out = append(out, Verdict{System: v.System, Chosen: v.Chosen, Reason: v.Reason})
	}
	return out
}

// ordered is who ordered what.
func (e Command) ordered() decision.Asked { return decision.Asked{Words: e.words(), User: e.User} }

// freezeOfGroup says how a group is frozen, whatever its systems.
func (e *Engine) freezeOfGroup(g *groupModel) decision.Freeze {
	switch gr := e.group(g); {
	case gr.TFrozen:
		return decision.Freeze{Group: byWhom("hagrp -freeze", gr.FrozenBy)}
	case g.frozen:
		return decision.Freeze{Group: decision.FrozenInFile}
	}
	return decision.Freeze{}
}

// thaw and thawSystem are the commands that end a freeze.
func (e *Engine) thaw(g *groupModel) string { return e.freezeOfGroup(g).GroupOut(g.name) }

func (e *Engine) thawSystem(n SystemID) string {
	f := decision.Freeze{}
	if s := e.st.Systems[n]; !s.TFrozen && !s.Draining {
		f.System = decision.FrozenInFile
	}
	return f.SystemOut(n)
}

// freezeOn says how a group is frozen on a system; closing counts a system
// that is being emptied as frozen.
func (e *Engine) freezeOn(g *groupModel, n SystemID, closing bool) decision.Freeze {
	f := e.freezeOfGroup(g)
	if g.clusterService() {
		return f
	}
	switch s := e.st.Systems[n]; {
	case s.TFrozen:
		f.System = byWhom("hasys -freeze", s.FrozenBy)
	case e.frozenSystem(n):
		f.System = decision.FrozenInFile
	case s.Draining && closing:
		f.System = byWhom("hasys -freeze -evacuate", s.FrozenBy)
	}
	return f
}

func byWhom(what, user string) string { return what + pick(user != "", " by "+user, "") }

// doubt gathers the facts on which a group is autodisabled on a system or not.
func (e *Engine) doubt(g *groupModel, n SystemID) decision.Doubt {
	s, on := e.st.Systems[n], e.on(g, n)
	d := decision.Doubt{System: n, Parallel: !g.failover(), AutoEnabled: on.AutoEnabled, InView: s.InH}
	if d.Parallel || d.AutoEnabled {
		return d
	}
	if d.InView {
		if d.Unprobed = e.unprobed(g, n); len(d.Unprobed) > 0 {
			d.State = string(s.State)
		}
		return d
	}
	d.MachineUp, d.Clean = s.InA, s.Clean
	d.Never = s.State == SystemUnknown && !s.InA && s.Lost == nil
	d.ClusterService, d.MayRun, d.Active = g.clusterService(), e.mayRun(g, n), e.active(g, n)
	e.lossOf(&d, g, n)
	return d
}

// startFacts gathers what mayStart goes by; linked: with regard to the groups
// that it requires.
func (e *Engine) startFacts(g *groupModel, n SystemID, here, linked bool) decision.Start {
	s := decision.Start{Group: g.name, System: n, Here: here, Listed: g.on(n)}
	if sys := e.st.Systems[n]; sys != nil {
		s.State = string(sys.State)
	}
	if !s.Listed || s.State != string(SystemRunning) {
		return s // There is nothing more to be known.
	}
	s.Freeze, s.Disabled = e.freezeOn(g, n, true), g.disabled[n]
	s.Unprobed, s.AdminWait, s.Held = e.unprobed(g, n), e.gaveUp(g, n), e.held(g, n)
	if linked {
		s.Unmet, s.UnmetWayOut = e.unmet(g, n)
	}
	if e.active(g, n) || e.inTransit(g, n) {
		s.Busy = e.groupText(g, n)
	}
	if s.Faults = e.faults(g, n); len(s.Faults) > 0 {
		s.FaultWayOut = e.faultHint(g, s.Faults, n)
	}
	s.Lacking = e.lacking(g, n)
	if !g.failover() {
		return s
	}
	for _, p := range g.list {
		if p.System == n {
			continue
		}
		o := decision.Other{Doubt: e.doubt(g, p.System), Held: e.held(g, p.System), AdminWait: e.gaveUp(g, p.System)}
		if e.active(g, p.System) || e.inTransit(g, p.System) {
			o.Busy = e.groupText(g, p.System)
		}
		s.Others = append(s.Others, o)
	}
	return s
}

// elsewhere gathers what may stand in the way of a move.
func (e *Engine) elsewhere(g *groupModel) []decision.Elsewhere {
	out := make([]decision.Elsewhere, 0, len(g.list))
	for _, p := range g.list {
		out = append(out, decision.Elsewhere{Doubt: e.doubt(g, p.System), Active: e.active(g, p.System)})
	}
	return out
}

// place gathers the facts about a system of a group that is to start.
func (e *Engine) placeOf(g *groupModel, n SystemID) decision.Place {
	on := e.on(g, n)
	return decision.Place{Doubt: e.doubt(g, n), Evidence: e.evidenceFor(n), AdminWait: e.gaveUp(g, n), Active: e.active(g, n),
		Stopping: on.Stopping, Moving: e.inTransit(g, n), Held: e.held(g, n), Fresh: on.Fresh, Violation: on.Violation}
}

func (e *Engine) placesOf(g *groupModel) []decision.Place {
	out := make([]decision.Place, 0, len(g.list))
	for _, p := range g.list {
		out = append(out, e.placeOf(g, p.System))
	}
	return out
}

// refusedBy is a refusal in the engine's words.
func refusedBy(no *decision.Refusal, s decision.Start) *refusal {
	if no == nil {
		return nil
	}
	return &refusal{code: CodeFailedPrecondition, severity: no.Severity, id: no.ID, text: no.Text, start: &s}
}
