package decision

import (
	"time"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// DaemonDown is the question what becomes of a group on a system whose had is
// gone. It has DoNothing, DoMark (autodisabled) and DoWait (and it was active).
type DaemonDown struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// MachineUp: the machine lives; Clean: had left after all was offline.
	MachineUp bool `json:"machine_up,omitempty"`
	Clean     bool `json:"clean,omitempty"`
	Parallel  bool `json:"parallel,omitempty"`
	Active    bool `json:"active,omitempty"`
}

// Kind is "daemon-down".
func (DaemonDown) Kind() Kind { return "daemon-down" }

// Decide says whether it is autodisabled.
func (d DaemonDown) Decide() Outcome {
	switch {
	case !d.MachineUp || d.Clean || d.Parallel:
		return Outcome{}
	case !d.Active:
		return Outcome{Do: DoMark}
	}
	return Outcome{Do: DoWait, Subject: "had is gone from " + d.System,
		Text:   "no failover: the machine lives, so the group may be running there; it stays autodisabled",
		WayOut: WayOutDaemonDown(d.System)}
}

// Evacuation is the question where a group goes whose system is emptied. It
// has DoNothing, DoRecord (it stays), DoStop (it gives way), DoLook, DoMove
// and DoNone.
type Evacuation struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// Active: the group is active there; ServesCluster: it is ClusterService,
	// and the system goes on RUNNING.
	Active        bool   `json:"active,omitempty"`
	ServesCluster bool   `json:"serves_cluster,omitempty"`
	Parallel      bool   `json:"parallel,omitempty"`
	Evacuate      bool   `json:"evacuate" say:"Evacuate"`
	Freeze        Freeze `json:"freeze,omitzero"`
	Moving        bool   `json:"moving,omitempty"`
	// Child is a group that it stands on and that is being moved away.
	Child string `json:"child,omitempty"`

	// Looked: what follows was gathered.
	Looked     bool               `json:"looked,omitempty"`
	Policy     string             `json:"policy,omitempty" say:"FailOverPolicy"`
	Candidates []policy.Candidate `json:"candidates,omitempty"`
	Places     []Elsewhere        `json:"places,omitempty"`
	// Follows is a group that it requires elsewhere too (global, remote, site)
	// and that is on its way from this system.
	Follows string `json:"follows,omitempty"`
}

// Kind is "evacuation".
func (Evacuation) Kind() Kind { return "evacuation" }

// Decide chooses a system.
func (v Evacuation) Decide() Outcome {
	o := Outcome{Do: DoRecord, Subject: "evacuation of " + v.System}
	switch {
	case !v.Active:
		return Outcome{}
	case v.ServesCluster:
		o.Text = "stays: a freeze is nothing to ClusterService"
	case v.Parallel:
		o.Text = "stays: a parallel group has no other system to go to"
	case !v.Evacuate:
		o.Text = "stays: its Evacuate is 0"
	case v.Freeze.Any():
		o.Text = "stays: the group or the system is frozen"
	case v.Moving:
		o.Text = "stays: something of it is on its way there"
	case v.Child != "":
		return gaveWay(v.System, "group "+v.Child+", on which "+v.Group+" stands, is evacuated from "+v.System)
	case !v.Looked:
		return Outcome{Do: DoLook}
	default:
		target, verdicts := policy.Target(v.Policy, v.Candidates)
		o.Verdicts = verdicts
		if target == "" && v.Follows != "" {
			return gaveWay(v.System, "group "+v.Follows+", which "+v.Group+" requires, is evacuated from "+v.System)
		}
		if target == "" || Path(v.Group, v.System, target, v.Places) != nil {
			o.Do, o.Text = DoNone, "no system is able to take it"
			return o
		}
		o.Do, o.Target, o.Text = DoMove, target, "moved to "+target
	}
	return o
}

// Drained is the question whether a system that is emptied is frozen by now.
// It has DoNothing, DoLook and DoMark.
type Drained struct {
	System string `json:"system"`
	// Leaving are the groups that are still on their way.
	Leaving []string `json:"leaving,omitempty"`
	// Persistent: it is to be frozen persistently; Tried: that was tried, and
	// Refused says why it was not possible.
	Persistent bool   `json:"persistent,omitempty"`
	Tried      bool   `json:"tried,omitempty"`
	Refused    string `json:"refused,omitempty"`
}

// Kind is "drained".
func (Drained) Kind() Kind { return "drained" }

// Decide says whether and how it is.
func (d Drained) Decide() Outcome {
	n := d.System
	o := Outcome{Do: DoMark, Subject: "evacuation of " + n}
	switch {
	case len(d.Leaving) > 0:
		return Outcome{}
	case !d.Persistent:
		o.Text, o.WayOut = "done: the system is frozen now", "hasys -unfreeze "+n
	case !d.Tried:
		return Outcome{Do: DoLook}
	case d.Refused != "":
		o.Text, o.WayOut = "done: the system is frozen temporarily only: "+d.Refused, "hasys -unfreeze "+n
	default:
		o.Text, o.WayOut = "done: the system is frozen persistently now", "hasys -unfreeze -persistent "+n
	}
	return o
}

// Stop is the question what becomes of a group whose system leaves (hastop).
// It has DoNothing, DoForgo (only what is owed there) and DoStop.
type Stop struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// Evacuated: groups were moved away first; MovesAway: this one is on its
	// way; GivesWay: to a group that is; Alone: it is frozen and left to the
	// end of its machine; Held: its start waits for a preonline trigger.
	Evacuated bool `json:"evacuated,omitempty"`
	MovesAway bool `json:"moves_away,omitempty"`
	GivesWay  bool `json:"gives_way,omitempty"`
	Alone     bool `json:"alone,omitempty"`
	Held      bool `json:"held,omitempty"`
	Active    bool `json:"active,omitempty"`
	Moving    bool `json:"moving,omitempty"`
	// Stopping is why it is being taken offline there.
	Stopping string `json:"stopping,omitempty"`
}

// Kind is "hastop".
func (Stop) Kind() Kind { return "hastop" }

// Decide says whether it is taken offline.
func (s Stop) Decide() Outcome {
	switch {
	case s.MovesAway || s.Evacuated && s.GivesWay:
		return Outcome{}
	case s.Alone:
		return Outcome{Do: DoRecord, Subject: "hastop of " + s.System, Text: "left to the end of its machine: the group or the system is frozen (SystemRebootAction)"}
	case s.Evacuated && s.Held: // It is found another system.
		return Outcome{Do: DoForgo}
	case !s.Active && !s.Moving && s.Stopping == "" && !s.Held:
		return Outcome{Do: DoForgo}
	}
	return Outcome{Do: DoStop, Target: s.System, Subject: "hastop of " + s.System, Text: "taken offline, no failover", WayOut: onlineHint(s.Group)}
}

// Offer is the question what becomes of a configuration that a system read
// from its disk. It has DoAdopt and DoForgo.
type Offer struct {
	From string `json:"from"`
	// Loaded: there is a configuration; Running: the systems that run it.
	Loaded  bool     `json:"loaded"`
	Running []string `json:"running,omitempty"`
}

// Kind is "configuration".
func (Offer) Kind() Kind { return "configuration" }

// Decide says whether it becomes the running one.
func (f Offer) Decide() Outcome {
	if f.Loaded && len(f.Running) > 0 {
		return Outcome{Do: DoForgo, Subject: "configuration from " + f.From, Text: "ignored: the cluster is running one already"}
	}
	return Outcome{Do: DoAdopt}
}

// Reversal is the question whether a configuration that nobody confirmed is
// reverted. It has DoNothing, DoLook, DoWait and DoForgo.
type Reversal struct {
	// Left is what is left of the time.
	Left time.Duration `json:"left"`
	// Looked: Refused says why the running state forbids it; Said is what was
	// said about that before.
	Looked  bool   `json:"looked,omitempty"`
	Refused string `json:"refused,omitempty"`
	Said    string `json:"said,omitempty"`
}

// Kind is "reversal".
func (Reversal) Kind() Kind { return "reversal" }

// Decide says whether it is.
func (r Reversal) Decide() Outcome {
	o := Outcome{Subject: "reversal of the configuration"}
	switch {
	case r.Left > 0:
		return Outcome{}
	case !r.Looked:
		return Outcome{Do: DoLook}
	case r.Refused == "":
		o.Do, o.Text = DoForgo, "nobody confirmed it in time: the former one is in force again"
	case r.Refused == r.Said:
		return Outcome{Do: DoWait}
	default:
		o.Do, o.Text, o.WayOut = DoWait, "not now: "+r.Refused, "do as it says, or: ha config confirm"
	}
	return o
}

// automatic are the kinds of decision that the engine takes by itself.
var automatic = []reader{
	kindOf[Failover], kindOf[Retry], kindOf[AutoClear],
	kindOf[Autostart], kindOf[Found], kindOf[Instance], kindOf[Adoption], kindOf[LeftOut],
	kindOf[Fault], kindOf[Recovery], kindOf[OfflineFailed], kindOf[Concurrency], kindOf[ConcurrencyEnd], kindOf[AdminWait], kindOf[AgentGivenUp],
	kindOf[ChildLost], kindOf[ChildWent], kindOf[Return], kindOf[HardParent],
	kindOf[StoppedOutside], kindOf[StartedOutside], kindOf[ClearParent],
	kindOf[PreOnline], kindOf[PreOnlineEnd], kindOf[PreOnlineAnswer],
	kindOf[DaemonDown], kindOf[Evacuation], kindOf[Drained], kindOf[Stop], kindOf[Offer], kindOf[Reversal],
}
