package decision

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// ChildLost is the question what an active group does whose dependency on
// another may not hold any more (engine.md 4.15). It has DoNothing, DoLook,
// DoMove, DoStop (it gives way) and DoWait.
type ChildLost struct {
	// Parent is the group, Child what it requires, Link how: "online local
	// firm".
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Link   string `json:"link"`
	// The parts of Link.
	Offline bool `json:"offline,omitempty"`
	Rigid   bool `json:"rigid,omitempty"`
	Local   bool `json:"local,omitempty"`
	Remote  bool `json:"remote,omitempty"`
	// System is where the parent is active.
	System string `json:"system"`

	// ChildFreeze: a child that is frozen breaks nothing.
	ChildFreeze Freeze `json:"child_freeze,omitzero"`
	// ChildActive: it is active on System, ChildStopping: it is being taken
	// offline there, ChildStands: it is up, or may be, where it serves.
	ChildActive   bool `json:"child_active,omitempty"`
	ChildStopping bool `json:"child_stopping,omitempty"`
	ChildStands   bool `json:"child_stands,omitempty"`
	// ChildPropagates is the child's FaultPropagation.
	ChildPropagates bool `json:"child_propagates" say:"FaultPropagation of the child"`

	// Looked: what follows was gathered.
	Looked bool `json:"looked,omitempty"`
	// Parallel: the parent has instances; ChildServes: the child is wholly up
	// somewhere.
	Parallel    bool               `json:"parallel,omitempty"`
	ChildServes bool               `json:"child_serves,omitempty"`
	Policy      string             `json:"policy,omitempty" say:"FailOverPolicy"`
	Candidates  []policy.Candidate `json:"candidates,omitempty"`
	Places      []Elsewhere        `json:"places,omitempty"`
}

// Kind is "child-lost".
func (ChildLost) Kind() Kind { return "child-lost" }

// Broken says why the dependency does not hold, or "".
func (l ChildLost) Broken() string {
	switch {
	case l.ChildFreeze.Group != "":
		return ""
	case l.Offline:
		if l.ChildActive {
			return fmt.Sprintf("group %s comes to %s, where %s requires it to be offline (%s)", l.Child, l.System, l.Parent, l.Link)
		}
		return ""
	case l.Local && l.Rigid && l.ChildStopping:
		return fmt.Sprintf("group %s goes offline on %s, and %s requires it %s", l.Child, l.System, l.Parent, l.Link)
	case !l.ChildPropagates || l.ChildStands:
		return ""
	}
	return fmt.Sprintf("group %s is not online where %s on %s requires it (%s)", l.Child, l.Parent, l.System, l.Link)
}

// Decide says whether the parent stays, gives way or follows.
func (l ChildLost) Decide() Outcome {
	why := l.Broken()
	switch {
	case why == "":
		return Outcome{}
	case l.Rigid || l.Parallel && (l.Offline || l.Remote):
		return gaveWay(l.System, why)
	case l.Parallel:
		return Outcome{} // An instance stays where soft lets it; others have theirs.
	case !l.Looked:
		return Outcome{Do: DoLook}
	case !l.Offline && !l.ChildServes:
		return Outcome{} // Soft: it stays as long as there is nobody to follow.
	}
	o := Outcome{Subject: why}
	target, verdicts := policy.Target(l.Policy, l.Candidates)
	switch {
	case target != "" && Path(l.Parent, l.System, target, l.Places) == nil:
		o.Do, o.Target, o.Text = DoMove, target, "moved from "+l.System+" to "+target
	case l.Offline:
		return gaveWay(l.System, why)
	default:
		o.Do, o.Text = DoWait, "stays on "+l.System+" (soft): no system is able to take it"
	}
	o.Verdicts = verdicts
	return o
}

// gaveWay takes a group offline on a system because of another.
func gaveWay(system, why string) Outcome {
	return Outcome{Do: DoStop, Target: system, Subject: why,
		Text: "taken offline on " + system + "; it starts again where and when its dependencies are met"}
}

// ChildWent is the question whether an instance of a parent starts anew,
// because its child, or an instance of it, went down elsewhere. It has
// DoNothing and DoStop.
type ChildWent struct {
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Link   string `json:"link"`
	Rigid  bool   `json:"rigid,omitempty"`
	Local  bool   `json:"local,omitempty"`
	// How and Where the child went.
	How   string `json:"how"`
	Where string `json:"where"`
	// System is where the parent is; Serves: Where serves it.
	System          string `json:"system"`
	Serves          bool   `json:"serves,omitempty"`
	ChildPropagates bool   `json:"child_propagates" say:"FaultPropagation of the child"`
	ChildFreeze     Freeze `json:"child_freeze,omitzero"`
	Active          bool   `json:"active,omitempty"`
	Usable          bool   `json:"usable,omitempty"`
	Freeze          Freeze `json:"freeze,omitzero"`
	Stopping        string `json:"stopping,omitempty"`
}

// Kind is "child-went".
func (ChildWent) Kind() Kind { return "child-went" }

// Decide says whether it does.
func (w ChildWent) Decide() Outcome {
	if !w.Rigid || w.Local || !w.ChildPropagates || w.ChildFreeze.Group != "" ||
		!w.Serves || !w.Active || !w.Usable || w.Freeze.Any() || w.Stopping != "" {
		return Outcome{}
	}
	return gaveWay(w.System, fmt.Sprintf("group %s %s on %s, and %s requires it %s", w.Child, w.How, w.Where, w.Parent, w.Link))
}

// Return is the question whether a group starts on a system where it waits for
// what it requires. It has DoWait and DoStart.
type Return struct {
	// Cause is why it waits there.
	Cause string `json:"cause,omitempty"`
	Start Start  `json:"start"`
}

// Kind is "return".
func (Return) Kind() Kind { return "return" }

// Decide says whether it does.
func (r Return) Decide() Outcome {
	n := r.Start.System
	o := Outcome{Subject: pick(r.Cause != "", r.Cause, "return on "+n)}
	if no := r.Start.Refusal(); no != nil {
		o.Do, o.Text = DoWait, "waits: "+no.Text
		return o
	}
	o.Do, o.Target, o.Text = DoStart, n, "brought online on "+n+": its dependencies are met"
	return o
}

// HardParent is the question whether the child of a hard dependency goes with
// its parent, which faulted. It has DoNothing, DoLook, DoMove and DoWait.
type HardParent struct {
	Parent string `json:"parent"`
	Child  string `json:"child"`
	Link   string `json:"link"`
	Hard   bool   `json:"hard,omitempty"`
	System string `json:"system"`
	// The child, on that system.
	Listed   bool   `json:"listed,omitempty"`
	Active   bool   `json:"active,omitempty"`
	Stopping string `json:"stopping,omitempty"`
	Freeze   Freeze `json:"freeze,omitzero"`
	Parallel bool   `json:"parallel,omitempty"`

	// Looked: what follows was gathered.
	Looked     bool               `json:"looked,omitempty"`
	Policy     string             `json:"policy,omitempty" say:"FailOverPolicy"`
	Candidates []policy.Candidate `json:"candidates,omitempty"`
	// Follow is the parent, on each of the candidates; one that is not in its
	// SystemList has no State.
	Follow []policy.Candidate `json:"follow,omitempty"`
	Places []Elsewhere        `json:"places,omitempty"`
}

// Kind is "hard-parent".
func (HardParent) Kind() Kind { return "hard-parent" }

// Decide chooses a system for both.
func (h HardParent) Decide() Outcome {
	if !h.Hard || !h.Listed || !h.Active || h.Stopping != "" || h.Freeze.Any() || h.Parallel {
		return Outcome{}
	}
	if !h.Looked {
		return Outcome{Do: DoLook}
	}
	o := Outcome{Subject: "fault of group " + h.Parent + " on " + h.System + ", which requires it " + h.Link}
	candidates := slices.Clone(h.Candidates)
	for i := range candidates {
		if no := h.cannotFollow(i); no != "" {
			candidates[i].Excluded = "group " + h.Parent + " cannot follow: " + no
		}
	}
	target, verdicts := policy.Target(h.Policy, candidates)
	o.Verdicts = verdicts
	if target == "" || Path(h.Child, h.System, target, h.Places) != nil {
		o.Do, o.Text = DoWait, "stays on "+h.System+": no system is able to take both"
		return o
	}
	o.Do, o.Target, o.Text = DoMove, target, "moved to "+target+", and its parent follows"
	return o
}

// cannotFollow says why the parent could not run on a candidate even if its
// child were there.
func (h HardParent) cannotFollow(i int) string {
	if i >= len(h.Follow) || h.Follow[i].State == "" {
		return h.Candidates[i].System + " is not in its SystemList"
	}
	parent := h.Follow[i]
	parent.Unmet = ""
	return parent.Refusal()
}
