package decision

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// ZoneForbids is why AutoFailOver = 2 refuses a candidate.
const ZoneForbids = "in another zone, and AutoFailOver is 2"

// Failover is the question where and when a group starts that lost its system.
//
// It has DoLook, DoAdopt (it is up already), DoNothing (something is on its
// way), DoForgo, DoWait, DoNone and DoStart.
type Failover struct {
	Group string `json:"group"`
	// From is the system that it lost, Why how.
	From string `json:"from"`
	Why  string `json:"why"`
	// Prefer is the target of a switch that did not end; ByGroup: it gave way
	// to another group.
	Prefer       string  `json:"prefer,omitempty"`
	ByGroup      bool    `json:"by_group,omitempty"`
	AutoFailOver int     `json:"auto_failover" say:"AutoFailOver"`
	Freeze       Freeze  `json:"freeze,omitzero"`
	Places       []Place `json:"places,omitempty"`

	// Looked: what follows was gathered.
	Looked bool `json:"looked,omitempty"`
	// Policy is FailOverPolicy.
	Policy string `json:"policy,omitempty" say:"FailOverPolicy"`
	// Evidence is what is known of From; PreferRuns: Prefer is RUNNING.
	Evidence   policy.Evidence    `json:"evidence,omitempty"`
	PreferRuns bool               `json:"prefer_runs,omitempty"`
	Candidates []policy.Candidate `json:"candidates,omitempty"`
	// Advice is what leads out if no candidate will do.
	Advice string `json:"advice,omitempty"`
}

// Place is a system of a group that is to start.
type Place struct {
	Doubt     Doubt           `json:"doubt"`
	Evidence  policy.Evidence `json:"evidence,omitempty"`
	AdminWait string          `json:"admin_wait,omitempty"`
	// Active: it is active there; Stopping is why it is being taken offline.
	Active   bool   `json:"active,omitempty"`
	Stopping string `json:"stopping,omitempty"`
	// Moving: something of it is on its way there; Held: its start waits for a
	// preonline trigger.
	Moving bool `json:"moving,omitempty"`
	Held   bool `json:"held,omitempty"`
	// Fresh: had joined there since the group last had a home; Violation: it
	// came second there.
	Fresh     bool `json:"fresh,omitempty"`
	Violation bool `json:"violation,omitempty"`
}

// Kind is "failover".
func (Failover) Kind() Kind { return "failover" }

func (f Failover) subject() string {
	switch {
	case f.Prefer != "":
		return f.Why
	case f.ByGroup:
		return "return (" + f.Why + ")"
	}
	return "failover from " + f.From + " (" + f.Why + ")"
}

// Decide chooses a system, or says what the group waits for.
func (f Failover) Decide() Outcome {
	o := Outcome{Subject: f.subject()}
	if f.hindered(&o) || f.doubted(&o) {
		return o
	}
	if !f.Looked {
		return Outcome{Do: DoLook}
	}
	candidates := f.eligible()
	o.Target, o.Verdicts = policy.TargetPreferring(f.Policy, f.Prefer, candidates)
	o.Evidence = f.Evidence
	if o.Target != "" {
		o.Do, o.Text = DoStart, "brought online on "+o.Target+pick(o.Target == f.From, " again", "")
		return o
	}
	o.Do, o.Text, o.WayOut = DoNone, "no system is able to take it", f.Advice
	if c := firstForeign(candidates); c != "" {
		o.Text = "stays offline: no system of its zone is able to take it, and AutoFailOver is 2"
		o.WayOut = "hagrp -online " + f.Group + " -sys " + c + " (another zone)"
	} else if FirstUnmet(candidates) != "" {
		o.Do, o.Text = DoWait, "waits for what it requires"
	}
	return o
}

// hindered is what stands in the way of any start, whatever the systems are
// like.
func (f Failover) hindered(o *Outcome) bool {
	for _, p := range f.Places {
		if n := p.Doubt.System; p.AdminWait != "" && p.Doubt.InView {
			o.Do, o.Text, o.WayOut = DoWait, "waits: "+p.AdminWait+" is in ADMIN_WAIT on "+n, ClearWaitHint(f.Group, n)
			return true
		}
	}
	for _, p := range f.Places {
		if p.Active && p.Doubt.InView {
			*o = Outcome{Do: pick(p.Stopping == "", DoAdopt, DoNothing)}
			return true
		}
	}
	switch {
	case f.AutoFailOver == 0 && f.Prefer == "" && !f.ByGroup:
		o.Do, o.Text, o.WayOut = DoForgo, "not failed over: AutoFailOver is 0", onlineHint(f.Group)
	case f.Freeze.Group != "":
		o.Do, o.Text, o.WayOut = DoWait, "waits: the group is frozen", f.Freeze.GroupOut(f.Group)
	default:
		return false
	}
	return true
}

// doubted is a system on which the group may be running, or something of it
// is on its way.
func (f Failover) doubted(o *Outcome) bool {
	for _, p := range f.Places {
		if why, out := p.Doubt.AutoDisabled(f.Group); why != "" {
			o.Do, o.Text, o.Evidence, o.WayOut = DoWait, "waits: "+p.Doubt.System+": "+why, p.Evidence, out
			return true
		}
		if p.Moving || p.Held {
			*o = Outcome{}
			return true
		}
	}
	return false
}

// eligible are the candidates, without those that the way in which the group
// lost its system rules out.
func (f Failover) eligible() []policy.Candidate {
	out := slices.Clone(f.Candidates)
	for i, c := range out {
		if f.AutoFailOver == 2 && c.Foreign && c.System != f.Prefer {
			out[i].Excluded = ZoneForbids
		}
		if f.Prefer != "" && f.Prefer != f.From && c.System == f.From && f.PreferRuns {
			out[i].Excluded = "the group is being moved away from it"
		}
		if f.ByGroup && f.AutoFailOver == 0 && c.System != f.From {
			out[i].Excluded = "AutoFailOver is 0"
		}
	}
	return out
}

// firstForeign returns a system that only AutoFailOver = 2 forbids, or "".
func firstForeign(candidates []policy.Candidate) string {
	for _, c := range candidates {
		if c.Excluded != ZoneForbids {
			continue
		}
		if c.Excluded = ""; c.Refusal() == "" {
			return c.System
		}
	}
	return ""
}

// Retry is the question whether a group that faulted is tried again on the
// same system (OnlineRetryLimit). It has DoNothing, DoLook and DoStart;
// DoWait says that it is not possible.
type Retry struct {
	Group  string `json:"group"`
	System string `json:"system"`
	Limit  int    `json:"limit" say:"OnlineRetryLimit"`
	// Interval is how long a try counts, zero for ever; Since how long ago the
	// last one was.
	Interval time.Duration `json:"interval,omitempty" say:"OnlineRetryInterval"`
	Since    time.Duration `json:"since,omitempty"`
	// Tries are those that there were.
	Tries int `json:"tries"`
	// Persistent: a persistent resource faulted.
	Persistent bool   `json:"persistent,omitempty"`
	State      string `json:"state"`
	// Start is set once the faults are cleared.
	Start *Start `json:"start,omitempty"`
}

// Kind is "retry".
func (Retry) Kind() Kind { return "retry" }

// Counted are the tries that count by now.
func (r Retry) Counted() int {
	if r.Interval > 0 && r.Tries > 0 && r.Since >= r.Interval {
		return 0
	}
	return r.Tries
}

// Decide says whether there is another try.
func (r Retry) Decide() Outcome {
	early := r.Interval > 0 && r.Tries > 0 && r.Since < r.Interval
	switch {
	case early || r.Persistent || r.Counted() >= r.Limit || r.State != "RUNNING":
		return Outcome{}
	case r.Start == nil:
		return Outcome{Do: DoLook}
	}
	o := Outcome{Subject: "restart on " + r.System}
	if no := r.Start.Refusal(); no != nil {
		o.Do, o.Text = DoWait, "not possible: "+no.Text
		return o
	}
	o.Do, o.Target = DoStart, r.System
	o.Text = fmt.Sprintf("tried again on the same system: try %d of %d (OnlineRetryLimit)", r.Counted()+1, r.Limit)
	return o
}

// AutoClear is the question whether the faults that keep a group from every
// system are cleared automatically (AutoClearLimit). It has DoNothing, DoForgo
// (the time that was set is void), DoWait (a time is set), DoLook (clear) and
// DoClear.
type AutoClear struct {
	Group string `json:"group"`
	// Owed: the group is owed a start; ByResource: since a resource faulted;
	// Persistent: a persistent one.
	Owed       bool   `json:"owed,omitempty"`
	ByResource bool   `json:"by_resource,omitempty"`
	Persistent bool   `json:"persistent,omitempty"`
	Freeze     Freeze `json:"freeze,omitzero"`
	// Homeless: no system was able to take it.
	Homeless bool          `json:"homeless,omitempty"`
	Cleared  int           `json:"cleared"`
	Limit    int           `json:"limit" say:"AutoClearLimit"`
	Interval time.Duration `json:"interval,omitempty" say:"AutoClearInterval"`
	// Set: a time is set; Left is what is left of it.
	Set  bool          `json:"set,omitempty"`
	Left time.Duration `json:"left,omitempty"`
	// Looked: Faults are those that were cleared.
	Looked bool     `json:"looked,omitempty"`
	Faults []string `json:"faults,omitempty"`
}

// Kind is "auto-clear".
func (AutoClear) Kind() Kind { return "auto-clear" }

// Decide says whether and when.
func (a AutoClear) Decide() Outcome {
	o := Outcome{Subject: "automatic clear"}
	switch {
	case !a.Owed || !a.ByResource || a.Persistent || a.Freeze.Group != "":
		return Outcome{Do: pick(a.Set, DoForgo, DoNothing)}
	case !a.Homeless || a.Cleared >= a.Limit:
		return Outcome{}
	case !a.Set && a.Interval > 0:
		o.Do, o.Text = DoWait, fmt.Sprintf("in %s: %d of %d (AutoClearLimit)", a.Interval, a.Cleared+1, a.Limit)
		o.WayOut = "hagrp -clear " + a.Group + " does it now"
		return o
	case a.Set && a.Left > 0:
		return Outcome{}
	case !a.Looked:
		return Outcome{Do: DoLook}
	case len(a.Faults) == 0:
		return Outcome{}
	}
	o.Do, o.Text = DoClear, fmt.Sprintf("cleared, %d of %d (AutoClearLimit): %s", a.Cleared+1, a.Limit, strings.Join(a.Faults, ", "))
	return o
}
