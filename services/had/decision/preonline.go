package decision

import "time"

// PreOnline is the question whether a start waits for the group's preonline
// trigger. It has DoStart (at once) and DoHold.
type PreOnline struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// Asks is PreOnline there; Active: it is partly up, and not asked about;
	// Passed: the order that is carried out goes on without the trigger.
	Asks    bool          `json:"asks" say:"PreOnline"`
	Active  bool          `json:"active,omitempty"`
	Passed  bool          `json:"passed,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty" say:"PreOnlineTimeout"`
}

// Kind is "preonline".
func (PreOnline) Kind() Kind { return "preonline" }

// Decide says whether it does.
func (p PreOnline) Decide() Outcome {
	if !p.Asks || p.Active || p.Passed {
		return Outcome{Do: DoStart, Target: p.System}
	}
	until := "without limit"
	if p.Timeout > 0 {
		until = "for at most " + p.Timeout.String()
	}
	return Outcome{Do: DoHold, Target: p.System, Subject: "online on " + p.System,
		Text:   "held (PreOnline): the preonline trigger runs on " + p.System + " and decides; waits " + until,
		WayOut: NoPreHint(p.Group, p.System)}
}

// PreOnlineEnd is the question whether a start that waits for its preonline
// trigger waits no more. It has DoNothing, DoAdopt, DoForgo (the system is
// lost: the start is owed elsewhere) and DoRefuse (the time is up).
type PreOnlineEnd struct {
	Group  string `json:"group"`
	System string `json:"system"`
	State  string `json:"state"`
	// Active: the group is active there by now; Elsewhere: on others.
	Active    bool     `json:"active,omitempty"`
	Parallel  bool     `json:"parallel,omitempty"`
	Elsewhere []string `json:"elsewhere,omitempty"`
	// Lost: the system is leaving or gone, or had there is another.
	Lost bool `json:"lost,omitempty"`
	// Limited: it waits for PreOnlineTimeout at most; Left is what is left.
	Limited bool          `json:"limited,omitempty"`
	Left    time.Duration `json:"left,omitempty"`
}

// Kind is "preonline-end".
func (PreOnlineEnd) Kind() Kind { return "preonline-end" }

// Decide says whether it does.
func (p PreOnlineEnd) Decide() Outcome {
	o := Outcome{Subject: "preonline trigger on " + p.System}
	switch {
	case p.Lost:
		o.Do, o.Text = DoForgo, "void: "+p.System+" is "+p.State+"; the group had not been started there"
	case p.Active:
		o.Do, o.Text = DoAdopt, "no longer waited for: the group has come up there meanwhile"
	case !p.Parallel && len(p.Elsewhere) > 0:
		o.Do, o.Text = DoAdopt, "no longer waited for: the group is active on "+p.Elsewhere[0]
	case p.State != "RUNNING":
		o.Do, o.Text = DoForgo, "void: "+p.System+" is "+p.State+"; the group had not been started there"
	case p.Limited && p.Left <= 0:
		return vetoed(p.Group, p.System, "the preonline trigger has not let it go on within PreOnlineTimeout")
	default:
		return Outcome{}
	}
	return o
}

func vetoed(group, system, why string) Outcome {
	return Outcome{Do: DoRefuse, Subject: "preonline trigger on " + system, Text: "not brought online, and nowhere else: " + why,
		WayOut: "hagrp -online -nopre " + group + " -sys " + system + ", or hagrp -online " + group + " -sys another system"}
}

// PreOnlineAnswer is the question what follows from the end of a preonline
// trigger. It has DoHold (it may still speak), DoRefuse, DoLook, DoWait (it
// may go on, but something else is in the way) and DoStart.
type PreOnlineAnswer struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// Trigger is what became of it: "missing", "ended", "failed", "released".
	Trigger string `json:"trigger"`
	Detail  string `json:"detail,omitempty"`
	Start   *Start `json:"start,omitempty"`
}

// Kind is "preonline-answer".
func (PreOnlineAnswer) Kind() Kind { return "preonline-answer" }

// Why is what stands in the way, or lets it go on.
func (p PreOnlineAnswer) Why() string {
	switch p.Trigger {
	case "missing":
		return "there is no preonline trigger on " + p.System
	case "released":
		return "the preonline trigger lets it go on"
	case "failed":
		return "the preonline trigger failed: " + orUnsaid(p.Detail)
	}
	return ""
}

// Decide says whether the group starts.
func (p PreOnlineAnswer) Decide() Outcome {
	switch {
	case p.Trigger == "ended":
		return Outcome{Do: DoHold}
	case p.Trigger == "failed":
		return vetoed(p.Group, p.System, p.Why())
	case p.Trigger != "missing" && p.Trigger != "released":
		return Outcome{}
	case p.Start == nil:
		return Outcome{Do: DoLook}
	}
	o := Outcome{Subject: "preonline trigger on " + p.System}
	if no := p.Start.Refusal(); no != nil {
		o.Do, o.Text = DoWait, p.Why()+", but: "+no.Text
		return o
	}
	o.Do, o.Target, o.Text = DoStart, p.System, "brought online: "+p.Why()
	return o
}
