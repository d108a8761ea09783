package policy

import (
	"fmt"
	"strings"
)

// The values of FailOverPolicy and AutoStartPolicy.
const (
	Priority   = "Priority"
	RoundRobin = "RoundRobin"
	Load       = "Load"
	Order      = "Order"
	// Running is the order in which systems became RUNNING: no value of the
	// attributes, but how ClusterService starts.
	Running = "Running"
)

// Candidate is a system that a group might go to, with the facts that decide.
type Candidate struct {
	System string `json:"system,omitempty"`
	// Priority is the number in SystemList; lower is preferred.
	Priority int `json:"priority,omitempty"`
	// Order is the place in AutoStartList, from 0 (policy Order).
	Order int `json:"order,omitempty"`
	// State is the system's state; only RUNNING will do.
	State string `json:"state,omitempty"`
	// Frozen: the system is frozen.
	Frozen bool `json:"frozen,omitempty"`
	// Disabled: the group's Enabled is 0 there.
	Disabled bool `json:"disabled,omitempty"`
	// AutoDisabled says why the group is autodisabled there ("" if not).
	AutoDisabled string `json:"auto_disabled,omitempty"`
	// Unprobed are the resources that are not probed there yet.
	Unprobed []string `json:"unprobed,omitempty"`
	// Faulted are the resources that are faulted there.
	Faulted []string `json:"faulted,omitempty"`
	// Active: the group is active there already.
	Active bool `json:"active,omitempty"`
	// Excluded says why the system is out for a reason of the caller's.
	Excluded string `json:"excluded,omitempty"`
	// Foreign: it is in another zone than the one that the group comes from
	// (SystemZones), and taken only if no system of that zone will do.
	Foreign bool `json:"foreign,omitempty"`
	// OnlineGroups is the number of failover groups online there.
	OnlineGroups int `json:"online_groups,omitempty"`
	// Available is the capacity left there (policy Load), and Burden how that
	// comes ("" if it goes without saying).
	Available int    `json:"available,omitempty"`
	Burden    string `json:"burden,omitempty"`
	// Meters are what it has free (policy BiggestAvailable); Score is set from
	// them by Target.
	Meters  []Meter `json:"meters,omitempty"`
	Score   int64   `json:"-"`
	metered bool
	// Unmet says which group dependency is not met there ("" if all are).
	Unmet string `json:"unmet,omitempty"`
	// Lacking names prerequisites that its limits do not meet.
	Lacking []string `json:"lacking,omitempty"`
}

// Verdict is what was decided about one candidate.
type Verdict struct {
	System string
	Chosen bool
	Reason string
	// Asked is what it was given on; nil for the answer to an order.
	Asked *Asked
}

// Refusal returns the first reason why a candidate is out, or "".
func (c Candidate) Refusal() string {
	switch {
	case c.Excluded != "":
		return c.Excluded
	case c.State != "RUNNING":
		return "system is " + c.State
	case c.Frozen:
		return "system is frozen"
	case c.Disabled:
		return "group is disabled there"
	case c.Active:
		return "group is active there already"
	case len(c.Faulted) > 0:
		return "faulted there: " + strings.Join(c.Faulted, ", ")
	case len(c.Unprobed) > 0:
		return "not probed there: " + strings.Join(c.Unprobed, ", ")
	case c.AutoDisabled != "":
		return "autodisabled there: " + c.AutoDisabled
	case c.Unmet != "":
		return c.Unmet
	case len(c.Lacking) > 0:
		return "limits do not meet the prerequisites: " + strings.Join(c.Lacking, ", ")
	default:
		return ""
	}
}

// Target chooses the system that a group goes to, or "" if none will do. The
// verdicts name every candidate in the order given.
func Target(policy string, candidates []Candidate) (string, []Verdict) {
	best := -1
	if policy == BiggestAvailable {
		candidates = rate(candidates)
	}
	for i := range candidates {
		if candidates[i].Refusal() != "" {
			continue
		}
		if best < 0 || better(policy, candidates[i], candidates[best]) {
			best = i
		}
	}
	verdicts := make([]Verdict, 0, len(candidates))
	for i, c := range candidates {
		v := Verdict{System: c.System, Chosen: i == best, Reason: c.Refusal()}
		switch {
		case i == best:
			v.Reason = measure(policy, c) + ", the best"
		case v.Reason == "":
			v.Reason = measure(policy, c) + ", behind " + candidates[best].System
		}
		verdicts = append(verdicts, v)
	}
	asked(policy, "", candidates, verdicts)
	if best < 0 {
		return "", verdicts
	}
	return candidates[best].System, verdicts
}

// better says whether a beats b; on a tie the earlier candidate stays.
func better(policy string, a, b Candidate) bool {
	if a.Foreign != b.Foreign {
		return b.Foreign
	}
	switch policy {
	case RoundRobin:
		if a.OnlineGroups != b.OnlineGroups {
			return a.OnlineGroups < b.OnlineGroups
		}
	case Load:
		if a.Available != b.Available {
			return a.Available > b.Available
		}
	case Order, Running:
		return a.Order < b.Order
	case BiggestAvailable:
		if yes, differ := bigger(a, b); differ {
			return yes
		}
	}
	return a.Priority < b.Priority
}

func measure(policy string, c Candidate) string {
	if c.Foreign {
		c.Foreign = false
		return "in another zone, " + measure(policy, c)
	}
	switch policy {
	case RoundRobin:
		if c.OnlineGroups == 1 {
			return "1 group online"
		}
		return fmt.Sprintf("%d groups online", c.OnlineGroups)
	case Load:
		if c.Burden != "" {
			return fmt.Sprintf("available capacity %d (%s)", c.Available, c.Burden)
		}
		return fmt.Sprintf("available capacity %d", c.Available)
	case BiggestAvailable:
		return measureBiggest(c)
	case Running:
		return fmt.Sprintf("number %d to be RUNNING", c.Order+1)
	case Order:
		return fmt.Sprintf("place %d in AutoStartList", c.Order+1)
	default:
		return fmt.Sprintf("priority %d in SystemList", c.Priority)
	}
}
