package engine

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// The values of preonline's argument whyonlining.
const (
	whyFault  = "FAULT"
	whyManual = "MANUAL"
)

// Outcome is what became of a trigger that somebody waits for.
type Outcome string

// The outcomes of a preonline trigger.
const (
	// OutcomeMissing: there is no such program on the system.
	OutcomeMissing Outcome = "missing"
	// OutcomeEnded: it ended well. What it decided it says by a command.
	OutcomeEnded Outcome = "ended"
	// OutcomeFailed: it could not be run, ended with an exit code other than
	// zero, or was ended at its timeout.
	OutcomeFailed Outcome = "failed"
	// OutcomeReleased is a plan's assumption: it lets the group go on.
	OutcomeReleased Outcome = "released"
)

// TriggerEnded says what became of a preonline trigger on System.
type TriggerEnded struct {
	// ID of the RunTrigger.
	ID      uint64   `json:"id"`
	System  SystemID `json:"system"`
	Group   string   `json:"group"`
	Outcome Outcome  `json:"outcome"`
	// Detail says for people how it failed.
	Detail string `json:"detail,omitempty"`
}

func (TriggerEnded) event() string { return "trigger-ended" }

// String is the line of traces and goldens.
func (e TriggerEnded) String() string {
	s := fmt.Sprintf("trigger #%d of %s ended on %s: %s", e.ID, e.Group, e.System, e.Outcome)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// preOnline is a start that a preonline trigger decides about.
type preOnline struct {
	// ID of the trigger.
	ID  uint64 `json:"id"`
	Why string `json:"why"`
	// From is where the group was, if it faulted or is switched.
	From SystemID `json:"from,omitempty"`
	// Until is the engine time at which waiting ends; 0: never.
	Until time.Duration `json:"until,omitempty"`
	// Due is what the start was to pay.
	Due *due `json:"due,omitempty"`
	// Ended: the program is over and has not said that the group may go on.
	Ended bool `json:"ended,omitempty"`
}

// held says whether the group's start on a system waits for its preonline
// trigger.
func (e *Engine) held(g *groupModel, n SystemID) bool { return e.on(g, n).Pre != nil }

// heldOn returns the first system where the group's start is held, or "".
func (e *Engine) heldOn(g *groupModel) SystemID {
	for _, p := range g.list {
		if e.held(g, p.System) {
			return p.System
		}
	}
	return ""
}

// start begins to bring a group online on a system, or first asks the group's
// preonline trigger there.
func (e *Engine) start(g *groupModel, n SystemID) {
	if d := e.course(g).Due; d != nil {
		e.startFor(g, n, whyFault, d.From)
		return
	}
	e.startFor(g, n, whyManual, "")
}

// startFor is start that says why. What is partly up already is not asked
// about.
func (e *Engine) startFor(g *groupModel, n SystemID, why string, from SystemID) {
	d := e.course(g).Due
	in := decision.PreOnline{Group: g.name, System: n, Asks: g.triggers.preOnline[n], Active: e.active(g, n),
		Passed: d != nil && d.NoPre && d.Prefer == n, Timeout: g.triggers.preOnlineTimeout}
	o := in.Decide()
	if o.Do == decision.DoStart {
		e.bringUp(g, n)
		return
	}
	gr, c := e.st.Groups[g.name], e.course(g)
	p := &preOnline{Why: why, From: from, Due: c.Due}
	if t := g.triggers.preOnlineTimeout; t > 0 {
		p.Until = e.st.Now + t
	}
	args := []string{custom, n, g.name, why}
	if from != "" {
		args = append(args, from)
	}
	reason := ""
	if c.Due != nil {
		reason = c.Due.Why
	}
	e.settled(g, n)
	gr.On[n].Pre = p
	e.log("NOTICE", 90060, "", g.name, "Group %s waits for its preonline trigger on system %s", g.name, n)
	e.told(g.name, in, o)
	p.ID = e.trigger(RunTrigger{Event: TriggerPreOnline, System: n, Args: args, Group: g.name, Path: g.triggers.path,
		Timeout: g.triggers.preOnlineTimeout, Why: reason})
	e.touch(g.name)
}

func noPreHint(g *groupModel, n SystemID) string { return decision.NoPreHint(g.name, n) }

// settled: a system was found for the group, so nothing else is due.
func (e *Engine) settled(g *groupModel, n SystemID) {
	gr, c := e.st.Groups[g.name], e.course(g)
	on := gr.On[n]
	on.Fresh, on.Owed, on.Waits, on.Vetoed = false, false, "", ""
	c.UserOffline, c.Stuck = false, ""
	c.Due, c.Move = nil, nil
	if g.failover() {
		for _, p := range g.list {
			gr.On[p.System].Fresh, gr.On[p.System].Owed, gr.On[p.System].Vetoed = false, false, ""
		}
	}
}

// heldRefusal refuses what would pass by a preonline trigger.
func (e *Engine) heldRefusal(g *groupModel, n SystemID) *refusal {
	no := decision.HeldRefusal(g.name, n)
	return refuse(no.ID, "%s", no.Text)
}

// stepHeld looks whether a held start has come to its end. It says whether it
// has.
func (e *Engine) stepHeld(g *groupModel, n SystemID) bool {
	p := e.on(g, n).Pre
	if p == nil {
		return false
	}
	in := decision.PreOnlineEnd{Group: g.name, System: n, State: string(e.st.Systems[n].State), Active: e.active(g, n),
		Parallel: !g.failover(), Elsewhere: e.activeElsewhere(g, n), Limited: p.Until > 0}
	if in.Limited {
		in.Left = max(0, p.Until-e.st.Now)
	}
	switch o := in.Decide(); o.Do {
	case decision.DoAdopt:
		e.unhold(g, n, in, o)
	case decision.DoForgo:
		e.owedElsewhere(g, n, in, o)
	case decision.DoRefuse:
		e.veto(g, n, "the preonline trigger has not let it go on within PreOnlineTimeout", in, o)
	default:
		return false
	}
	return true
}

func (e *Engine) unhold(g *groupModel, n SystemID, in decision.Inputs, o decision.Outcome) {
	e.on(g, n).Pre = nil
	e.told(g.name, in, o)
	e.touch(g.name)
}

// lostHold: the system whose trigger was to decide is leaving or gone.
func (e *Engine) lostHold(g *groupModel, n SystemID) {
	if e.held(g, n) {
		in := decision.PreOnlineEnd{Group: g.name, System: n, State: string(e.st.Systems[n].State), Lost: true}
		e.owedElsewhere(g, n, in, in.Decide())
	}
}

// owedElsewhere: the group was not told to start there, so it is owed a start
// elsewhere.
func (e *Engine) owedElsewhere(g *groupModel, n SystemID, in decision.Inputs, o decision.Outcome) {
	c, p := e.course(g.part(n)), e.on(g, n).Pre
	e.unhold(g, n, in, o)
	if !g.failover() || c.Due != nil {
		return
	}
	if c.Due = p.Due; c.Due == nil {
		c.Due = &due{From: n, Why: n + " became " + string(e.st.Systems[n].State) + " before the preonline trigger there had decided"}
	}
}

// veto gives a held start up.
func (e *Engine) veto(g *groupModel, n SystemID, why string, in decision.Inputs, o decision.Outcome) {
	p := e.on(g, n).Pre
	e.on(g, n).Pre = nil
	e.log("WARNING", 90061, "", g.name, "Group %s is not brought online on system %s: %s", g.name, n, why)
	e.told(g.name, in, o)
	e.on(g, n).Vetoed = why
	if p.Why == whyFault {
		e.noFailover(g, p.From)
	}
	e.touch(g.name)
}

// goOn starts a group whose trigger does not stand in the way, if nothing else
// does by now.
func (e *Engine) goOn(g *groupModel, n SystemID, in decision.PreOnlineAnswer) {
	gr := e.st.Groups[g.name]
	p := gr.On[n].Pre
	gr.On[n].Pre = nil
	e.touch(g.name)
	start := e.startFacts(g, n, e.active(g, n), true)
	in.Start = &start
	if e.decide(g.name, in).Do != decision.DoStart {
		e.course(g).Due = p.Due
		return
	}
	e.bringUp(g, n)
}

// triggerEnded applies what a system says about its preonline trigger.
func (e *Engine) triggerEnded(from SystemID, ev TriggerEnded) {
	if from != ev.System || e.mod == nil {
		return
	}
	g := e.mod.byGroup[ev.Group]
	if g == nil || !g.on(from) {
		return
	}
	g = g.part(from)
	p := e.st.Groups[g.name].On[from].Pre
	if p == nil || p.ID != ev.ID {
		return // It has been decided without it.
	}
	in := decision.PreOnlineAnswer{Group: g.name, System: from, Trigger: string(ev.Outcome), Detail: ev.Detail}
	switch o := in.Decide(); o.Do {
	case decision.DoLook:
		e.goOn(g, from, in)
	case decision.DoRefuse:
		e.veto(g, from, in.Why(), in, o)
	case decision.DoHold:
		p.Ended = true
		e.touch(g.name)
	}
}

// onlineNoPre is hagrp -online -nopre: what a preonline trigger says, or
// somebody in its place.
func (e *Engine) onlineNoPre(g *groupModel, c Command) *refusal {
	gr := e.st.Groups[g.name]
	if n := c.CheckPartial; n != "" {
		if no := e.checkSystem(g, n); no != nil {
			return no
		}
		if e.active(g, n) {
			return refuse(10165, "Group %s is not offline on system %s (%s), as -checkpartial demands; take it offline there first", g.name, n, e.groupText(g, n))
		}
	}
	p := gr.On[c.System].Pre
	gr.On[c.System].Pre = nil
	if ok, no := e.mayStart(g, c.System, e.active(g, c.System)); !ok {
		gr.On[c.System].Pre = p
		return no
	}
	e.decide(g.name, decision.Online{Asked: c.ordered(), System: c.System, NoPre: true, Held: p != nil})
	if p == nil || p.Why == whyManual {
		e.log("NOTICE", 10166, "", g.name, "Initiating manual online of group %s on system %s", g.name, c.System)
		gr.On[c.System].Retries = 0
	} else {
		e.log("NOTICE", 10465, "", g.name, "Bringing group %s online on system %s: its preonline trigger lets it go on", g.name, c.System)
	}
	e.bringUp(g, c.System)
	return nil
}

// heldText says, for a hindrance, what a held start waits for.
func (e *Engine) heldText(g *groupModel, n SystemID) (text, wayOut string) {
	p := e.on(g, n).Pre
	text = "waits for its preonline trigger on " + n
	if p.Ended {
		text += ", which has ended without letting it go on"
	}
	if p.Until > 0 {
		text += fmt.Sprintf(" (given up in %s)", max(0, p.Until-e.st.Now).Round(time.Second))
	}
	return text, noPreHint(g, n)
}
