package decision

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Autostart is the question whether and where a failover group starts when had
// has come up and probed (engine.md 4.7). It has DoNothing, DoAdopt (it is up
// already), DoLook, DoWait, DoNone and DoStart.
type Autostart struct {
	Group string `json:"group"`
	// AutoStart is the attribute; ListEmpty: AutoStartList names no system.
	AutoStart      bool `json:"auto_start" say:"AutoStart"`
	ListEmpty      bool `json:"list_empty,omitempty" say:"AutoStartList empty"`
	ClusterService bool `json:"cluster_service,omitempty"`
	// UserOffline: a user took it offline; Moving: it is being switched.
	UserOffline bool    `json:"user_offline,omitempty"`
	Moving      bool    `json:"moving,omitempty"`
	Freeze      Freeze  `json:"freeze,omitzero"`
	Places      []Place `json:"places,omitempty"`

	// Looked: what follows was gathered.
	Looked bool `json:"looked,omitempty"`
	// AutoStartPolicy is the attribute, Policy what the choice goes by.
	AutoStartPolicy string             `json:"auto_start_policy,omitempty" say:"AutoStartPolicy"`
	Policy          string             `json:"policy,omitempty"`
	Candidates      []policy.Candidate `json:"candidates,omitempty"`
	// Advice is what leads out if no candidate will do.
	Advice string `json:"advice,omitempty"`
}

// Kind is "autostart".
func (Autostart) Kind() Kind { return "autostart" }

// Permits says whether the group may start by itself at all.
func (a Autostart) Permits() bool { return a.held() == "" && !a.Moving }

// held says why the group does not start by itself, or "".
func (a Autostart) held() string {
	switch {
	case !a.AutoStart:
		return "not started: AutoStart is 0"
	case a.ListEmpty && !a.ClusterService:
		return "not started: AutoStartList is empty"
	case a.UserOffline:
		return "not started: a user took it offline"
	case a.Freeze.Group != "":
		return "waits: the group is frozen"
	}
	return ""
}

// Decide chooses a system.
func (a Autostart) Decide() Outcome {
	if a.Moving {
		return Outcome{}
	}
	held := a.held()
	fresh, active := false, false
	for _, p := range a.Places {
		if why, _ := p.Doubt.AutoDisabled(a.Group); why != "" || p.Moving || p.Held || p.Violation || p.AdminWait != "" {
			return Outcome{}
		}
		fresh, active = fresh || p.Fresh, active || p.Active
	}
	switch {
	case !fresh:
		return Outcome{}
	case active && held != "":
		return Outcome{}
	case active:
		return Outcome{Do: DoAdopt}
	case held != "":
		return Outcome{Do: DoWait, Subject: "autostart", Text: held, WayOut: pick(a.Freeze.Group != "", a.Freeze.GroupOut(a.Group), onlineHint(a.Group))}
	case !a.Looked:
		return Outcome{Do: DoLook}
	}
	o := Outcome{Subject: "autostart"}
	o.Target, o.Verdicts = policy.Target(a.Policy, a.Candidates)
	switch {
	case o.Target != "":
		o.Do = DoStart
		o.Text = "brought online on " + o.Target + " (" + pick(a.ClusterService, "ClusterService: first, on the first system RUNNING", "AutoStartPolicy "+a.AutoStartPolicy) + ")"
	case FirstUnmet(a.Candidates) != "":
		o.Do, o.Text, o.WayOut = DoWait, "waits for what it requires", a.Advice
	default:
		o.Do, o.Text, o.WayOut = DoNone, pick(a.ClusterService, "no system", "no system of AutoStartList")+" is able to take it", a.Advice
	}
	return o
}

// Found is the question what becomes of a failover group that is up already
// when it would start by itself. It has DoAdopt, DoLook, DoOwe and DoStart.
type Found struct {
	Group string `json:"group"`
	// At are the systems where it is active.
	At                 []string `json:"at"`
	Whole              bool     `json:"whole,omitempty"`
	AutoStartIfPartial bool     `json:"auto_start_if_partial" say:"AutoStartIfPartial"`
	Faults             []string `json:"faults,omitempty"`
	// Start are the facts about the rest of it.
	Start *Start `json:"start,omitempty"`
}

// Kind is "found".
func (Found) Kind() Kind { return "found" }

// Decide says whether the rest is started.
func (f Found) Decide() Outcome {
	switch {
	case len(f.At) != 1 || f.Whole || !f.AutoStartIfPartial || len(f.Faults) > 0:
		return Outcome{Do: DoAdopt}
	case f.Start == nil:
		return Outcome{Do: DoLook}
	}
	if no := f.Start.Refusal(); no != nil {
		return Outcome{Do: pick(no.ID == MessageUnmet, DoOwe, DoAdopt)}
	}
	return Outcome{Do: DoStart, Target: f.At[0], Subject: "autostart", Text: "found PARTIAL on " + f.At[0] + "; the rest is started (AutoStartIfPartial)"}
}

// Instance is the question whether a parallel group starts on a system of its
// AutoStartList. It has DoNothing, DoWait, DoAdopt, DoForgo and DoStart.
type Instance struct {
	// Usable: the system carries out commands; Held: a start waits there.
	Usable bool `json:"usable,omitempty"`
	Whole  bool `json:"whole,omitempty"`
	// Start has the other facts.
	Start Start `json:"start"`
}

// Kind is "instance".
func (Instance) Kind() Kind { return "instance" }

// Decide says whether it does.
func (i Instance) Decide() Outcome {
	s := i.Start
	if s.Held || !i.Usable || len(s.Unprobed) > 0 {
		return Outcome{}
	}
	o := Outcome{Subject: "autostart on " + s.System}
	if s.Unmet != "" && !i.Whole {
		o.Do, o.Text, o.WayOut = DoWait, "waits: "+s.Unmet, s.UnmetWayOut
		return o
	}
	if i.Whole {
		return Outcome{Do: DoAdopt}
	}
	if no := s.Refusal(); no != nil {
		o.Do, o.Text = DoForgo, "not started: "+no.Text
		return o
	}
	o.Do, o.Target, o.Text = DoStart, s.System, "brought online (parallel group)"
	return o
}

// Adoption is the question what becomes of a group on a system where had is
// back and has looked (R8). It has DoNothing, DoAdopt, DoLook, DoStart, DoOwe,
// DoRecord and DoForgo: it is gone and owed a start.
type Adoption struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// WasActive: it was active there when had went.
	WasActive bool `json:"was_active,omitempty"`
	// Stopping is why it was being taken offline.
	Stopping string `json:"stopping,omitempty"`
	// Intent: it is meant to be online.
	Intent    bool     `json:"intent,omitempty"`
	Violation bool     `json:"violation,omitempty"`
	Elsewhere []string `json:"elsewhere,omitempty"`
	Whole     bool     `json:"whole,omitempty"`
	Active    bool     `json:"active,omitempty"`
	// Owed: it is owed a start already.
	Owed bool `json:"owed,omitempty"`
	// Start are the facts about the rest of it.
	Start *Start `json:"start,omitempty"`
}

// Kind is "adoption".
func (Adoption) Kind() Kind { return "adoption" }

// Decide says what stays and what is started again.
func (a Adoption) Decide() Outcome {
	o := Outcome{Subject: "had is back on " + a.System}
	switch {
	case !a.WasActive || a.Stopping != "" || !a.Intent || a.Violation || len(a.Elsewhere) > 0:
		return Outcome{}
	case a.Whole:
		o.Do, o.Text = DoAdopt, "the group was found ONLINE and is adopted; nothing goes offline"
	case a.Active && a.Start == nil:
		return Outcome{Do: DoLook}
	case a.Active:
		o.Do, o.Target, o.Text = DoStart, a.System, "the group was found PARTIAL; the rest is started"
		if no := a.Start.Refusal(); no != nil {
			o.Do, o.Target = pick(no.ID == MessageUnmet, DoOwe, DoRecord), ""
			o.Text = pick(no.ID == MessageUnmet, "the group was found PARTIAL; the rest is started when what it requires is there: ",
				"the group was found PARTIAL; the rest is not started: ") + no.Text
		}
	case !a.Owed:
		return Outcome{Do: DoForgo}
	default:
		return Outcome{}
	}
	return o
}

// LeftOut is the question which resources of a group do not come online with
// it. It has DoNothing and DoRecord.
type LeftOut struct {
	System string `json:"system"`
	// Resources are those that would come online by themselves and cannot:
	// each with what is disabled of itself and of what it needs.
	Resources []Blocked `json:"resources"`
}

// Blocked is a resource, and what is disabled (Enabled = 0) of it and of what
// it needs.
type Blocked struct {
	Resource string   `json:"resource"`
	Disabled []string `json:"disabled"`
}

// Kind is "left-out".
func (LeftOut) Kind() Kind { return "left-out" }

// Decide names them.
func (l LeftOut) Decide() Outcome {
	var blocked []string
	for _, r := range l.Resources {
		if len(r.Disabled) > 0 {
			blocked = append(blocked, r.Resource)
		}
	}
	if len(blocked) == 0 {
		return Outcome{}
	}
	return Outcome{Do: DoRecord, Subject: "online on " + l.System,
		Text:   "left out, because they or what they need are disabled (Enabled = 0): " + strings.Join(blocked, ", "),
		WayOut: "set Enabled = 1 for what is disabled"}
}
