package decision

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Asked is who ordered what.
type Asked struct {
	// Words are the order as somebody typed it, near enough.
	Words string `json:"words"`
	User  string `json:"user,omitempty"`
}

// Question is one choice of systems.
type Question struct {
	// Policy goes by policy.Target; policy.Every takes all that are able.
	Policy     string             `json:"policy"`
	Candidates []policy.Candidate `json:"candidates,omitempty"`
}

// Targets answers it.
func (q Question) Targets() ([]string, []policy.Verdict) {
	if q.Policy == policy.Every {
		return policy.Targets(q.Candidates)
	}
	target, verdicts := policy.Target(q.Policy, q.Candidates)
	if target == "" {
		return nil, verdicts
	}
	return []string{target}, verdicts
}

// Refused is an order that is not carried out. It has DoRefuse.
type Refused struct {
	Asked
	// Refusal is what is in the way.
	Refusal Refusal `json:"refusal"`
	// Start are the facts that it comes from, if a group may not start
	// somewhere.
	Start *Start `json:"start,omitempty"`
}

// Kind is "refused".
func (Refused) Kind() Kind { return "refused" }

// Decide says why.
func (r Refused) Decide() Outcome {
	text := r.Refusal.Text
	if r.Start != nil {
		no := r.Start.Refusal()
		if no == nil {
			return Outcome{Do: DoCarryOut}
		}
		text = no.Text
	}
	return Outcome{Do: DoRefuse, Subject: r.Words, Text: "refused: " + text}
}

// Online is an order to bring a group online on a system, after it was found
// that it may start there.
type Online struct {
	Asked
	System string `json:"system"`
	// NoPre: its preonline trigger is not asked; Held: it was waiting for it.
	NoPre bool `json:"no_pre,omitempty"`
	Held  bool `json:"held,omitempty"`
	// For is the parent for whose sake it comes online (-propagate), Link how
	// that requires it.
	For  string `json:"for,omitempty"`
	Link string `json:"link,omitempty"`
	// Unmet: it waits for what it requires itself.
	Unmet string `json:"unmet,omitempty"`
	// Question chose the system.
	Question *Question `json:"question,omitempty"`
}

// Kind is "online".
func (Online) Kind() Kind { return "online" }

// Decide says how it is carried out.
func (n Online) Decide() Outcome {
	o := Outcome{Do: DoStart, Target: n.System, Subject: n.Words, Text: "brought online on " + n.System + ", as asked"}
	if n.Question != nil {
		_, o.Verdicts = n.Question.Targets()
	}
	switch {
	case n.NoPre:
		o.Text = "brought online on " + n.System + pick(n.Held, ": its preonline trigger lets it go on", ", without asking its preonline trigger")
	case n.For != "":
		o.Text = "brought online on " + n.System + " first: group " + n.For + " requires it " + n.Link
	}
	if n.Unmet != "" {
		o.Do = DoOwe
		o.Text += ", when the groups that it requires are"
	}
	return o
}

// OnlineAny is an order to bring a group online where the policy says: of a
// parallel or hybrid group wherever it may. It has DoStart and DoNone.
type OnlineAny struct {
	Asked
	// Questions are one, but one for each zone of a hybrid group.
	Questions []Question `json:"questions"`
}

// Kind is "online-any".
func (OnlineAny) Kind() Kind { return "online-any" }

// Targets are the systems chosen.
func (n OnlineAny) Targets() []string {
	var out []string
	for _, q := range n.Questions {
		targets, _ := q.Targets()
		out = append(out, targets...)
	}
	return out
}

// Decide chooses.
func (n OnlineAny) Decide() Outcome {
	o := Outcome{Do: DoNone, Subject: n.Words, Text: "no system is able to take it"}
	var targets []string
	for _, q := range n.Questions {
		chosen, verdicts := q.Targets()
		targets, o.Verdicts = append(targets, chosen...), append(o.Verdicts, verdicts...)
	}
	if len(targets) > 0 {
		o.Do, o.Target, o.Text = DoStart, targets[0], "brought online on "+strings.Join(targets, ", ")
	}
	return o
}

// Switch is an order to move a group. It has DoMove and DoNone.
type Switch struct {
	Asked
	From string `json:"from"`
	// To was asked for; empty: Question chooses.
	To       string    `json:"to,omitempty"`
	Question *Question `json:"question,omitempty"`
}

// Kind is "switch".
func (Switch) Kind() Kind { return "switch" }

// Decide chooses the target.
func (s Switch) Decide() Outcome {
	o := Outcome{Do: DoMove, Target: s.To, Subject: s.Words}
	if s.Question != nil {
		var targets []string
		if targets, o.Verdicts = s.Question.Targets(); len(targets) == 0 {
			return Outcome{Do: DoNone, Verdicts: o.Verdicts}
		}
		o.Target = targets[0]
	} else {
		o.Verdicts = []policy.Verdict{{System: s.To, Chosen: true, Reason: "the system that was asked for"}}
	}
	o.Text = "taken offline on " + s.From + ", then brought online on " + o.Target
	return o
}

// Freezing is an order to freeze or unfreeze a group or a system.
type Freezing struct {
	Asked
	// Group or System is what.
	Group  string `json:"group,omitempty"`
	System string `json:"system,omitempty"`
	// On: it is frozen, else no longer.
	On         bool `json:"on"`
	Persistent bool `json:"persistent,omitempty"`
	// Evacuate: the system's groups go first; GivenUp: that was under way.
	Evacuate bool `json:"evacuate,omitempty"`
	GivenUp  bool `json:"given_up,omitempty"`
}

// Kind is "freeze".
func (Freezing) Kind() Kind { return "freeze" }

// Decide says what that means.
func (f Freezing) Decide() Outcome {
	o := Outcome{Do: DoCarryOut, Subject: f.Words}
	how := pick(f.Persistent, " persistently", "")
	switch {
	case f.GivenUp:
		o.Text = "not frozen: the evacuation is given up; groups that left stay where they are"
	case !f.On:
		o.Text = "no longer frozen"
	case f.Group != "":
		o.Text = "frozen" + how + ": nothing is started, stopped, cleaned or failed over; monitoring goes on"
		o.WayOut = "hagrp -unfreeze " + f.Group + pick(f.Persistent, " -persistent", "")
	case f.Persistent && f.Evacuate:
		o.Text, o.WayOut = "its groups are moved away; then it is frozen persistently", "hasys -unfreeze -persistent "+f.System
	default:
		o.Text = "frozen" + how + ": no group comes online there"
		o.WayOut = "hasys -unfreeze " + pick(f.Persistent, "-persistent ", "") + f.System
	}
	return o
}

// Order is another order, which is carried out.
type Order struct {
	Asked
	// Does says what is done about what, in words; Then what leads on.
	Does string `json:"does"`
	Then string `json:"then,omitempty"`
}

// Kind is "order".
func (Order) Kind() Kind { return "order" }

// Decide carries it out.
func (o Order) Decide() Outcome {
	return Outcome{Do: DoCarryOut, Subject: o.Words, Text: o.Does, WayOut: o.Then}
}

// orders are the kinds of answers to orders.
var orders = []reader{kindOf[Refused], kindOf[Online], kindOf[OnlineAny], kindOf[Switch], kindOf[Freezing], kindOf[Order]}
