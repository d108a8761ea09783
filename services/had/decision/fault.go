package decision

import (
	"fmt"
	"strings"
)

// Fault is the question what the fault of a resource means for its group
// (engine.md 4.4). It has DoRecord, DoDrop (what needs the resource goes
// offline), DoMark and DoStop.
type Fault struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	System   string `json:"system"`
	Freeze   Freeze `json:"freeze,omitzero"`
	// Persistent: the resource has no operations.
	Persistent bool `json:"persistent,omitempty"`
	// ManageFaults is false for NONE.
	ManageFaults bool `json:"manage_faults" say:"ManageFaults"`
	// FaultPropagation of the group and of the resource.
	GroupPropagates    bool `json:"group_propagates" say:"FaultPropagation of the group"`
	ResourcePropagates bool `json:"resource_propagates" say:"FaultPropagation of the resource"`
	// Affected are the resource and what cannot stay up without it, Critical
	// those of them that are critical.
	Affected []string `json:"affected"`
	Critical []string `json:"critical,omitempty"`
	// Live: the group is active there, on its way, or was until now.
	Live bool `json:"live,omitempty"`
	// Stopping is why the group is being taken offline there.
	Stopping string `json:"stopping,omitempty"`
}

// Kind is "fault".
func (Fault) Kind() Kind { return "fault" }

// Decide says what goes offline.
func (f Fault) Decide() Outcome {
	g, r, n := f.Group, f.Resource, f.System
	o := Outcome{Subject: "fault of " + r + " on " + n}
	switch {
	case f.Freeze.Any():
		o.Do, o.Text = DoRecord, "only recorded: the group or the system is frozen"
		o.WayOut = f.Freeze.Out(g, n) + ", then hagrp -clear " + g
	case f.Persistent && !f.ManageFaults:
		o.Do, o.Text = DoRecord, "only recorded: ManageFaults is NONE, and the fault of a persistent resource moves nothing"
		o.WayOut = f.clearHint()
	case !f.GroupPropagates || !f.ResourcePropagates:
		o.Do, o.Text, o.WayOut = DoRecord, "nothing else goes offline: FaultPropagation is 0", "hares -clear "+r+" -sys "+n
	case len(f.Critical) == 0:
		o.Do, o.Text = DoDrop, "not critical, and nothing critical needs it: what needs it goes offline, the rest stays"
		o.WayOut = "hares -clear " + r + " -sys " + n
	case !f.Live:
		o.Do, o.Text, o.WayOut = DoMark, n+" is no target for the group until the fault is gone", f.clearHint()
	case f.Stopping != "" && f.Stopping != "fault":
		o.Do, o.Text = DoMark, "the group is being taken offline there anyway"
	default:
		o.Do, o.Target, o.Text = DoStop, n, "critical: the group is faulted on "+n+" and goes offline there"
	}
	return o
}

func (f Fault) clearHint() string {
	if f.Persistent {
		return "repair what " + f.Resource + " watches on " + f.System + "; the fault goes by itself"
	}
	return "hares -clear " + f.Resource + " -sys " + f.System
}

// Recovery is the question whether a group starts again when the fault of a
// persistent resource has gone. It has DoNothing, DoForgo and DoStart (where
// and when it may).
type Recovery struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	System   string `json:"system"`
	// Owed: the group is owed a start since a persistent resource faulted.
	Owed        bool `json:"owed,omitempty"`
	AutoRestart int  `json:"auto_restart" say:"AutoRestart"`
}

// Kind is "recovery".
func (Recovery) Kind() Kind { return "recovery" }

// Decide says whether it does.
func (r Recovery) Decide() Outcome {
	switch {
	case !r.Owed:
		return Outcome{}
	case r.AutoRestart == 0:
		return Outcome{Do: DoForgo, Subject: "recovery of " + r.Resource + " on " + r.System,
			Text: "not restarted: AutoRestart is 0", WayOut: "hagrp -online " + r.Group + " -sys " + r.System}
	}
	return Outcome{Do: DoStart}
}

// OfflineFailed is the question what an offline means that has ended. It has
// DoNothing (it is offline), DoWait and DoRecord: it is up, and somebody was
// told already.
type OfflineFailed struct {
	Resource string `json:"resource"`
	System   string `json:"system"`
	// Up: it is online all the same.
	Up bool `json:"up"`
	// AdminWait: it waits for an administrator.
	AdminWait bool `json:"admin_wait,omitempty"`
	// Said is what the agent said.
	Said string `json:"said,omitempty"`
}

// Kind is "offline-failed".
func (OfflineFailed) Kind() Kind { return "offline-failed" }

// Decide says whether the group is stuck.
func (f OfflineFailed) Decide() Outcome {
	switch {
	case !f.Up:
		return Outcome{}
	case f.AdminWait:
		return Outcome{Do: DoRecord}
	}
	return Outcome{Do: DoWait, Subject: "offline of " + f.Resource + " on " + f.System,
		Text:   "stuck: the resource is still up, so the group starts nowhere else: " + orUnsaid(f.Said),
		WayOut: fmt.Sprintf("end it by hand on %s, then: hares -probe %s -sys %s", f.System, f.Resource, f.System)}
}

// Concurrency is the question what becomes of a failover group that has come
// up on a second system. It has DoNothing, DoStop and DoWait.
type Concurrency struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	System   string `json:"system"`
	// Known: it was known to violate there already.
	Known bool `json:"known,omitempty"`
	// Others are the systems where it is active too.
	Others []string `json:"others,omitempty"`
	// Yielded: the system lost a split.
	Yielded bool   `json:"yielded,omitempty"`
	Freeze  Freeze `json:"freeze,omitzero"`
}

// Kind is "concurrency".
func (Concurrency) Kind() Kind { return "concurrency" }

// Decide says who yields.
func (c Concurrency) Decide() Outcome {
	n, others := c.System, strings.Join(c.Others, ", ")
	switch {
	case !c.Known && len(c.Others) == 0:
		return Outcome{}
	case c.Known:
		return Outcome{Do: DoStop, Target: n} // Told already; what came up since goes as well.
	}
	o := Outcome{Do: DoStop, Target: n, Subject: "concurrency violation by " + c.Resource + " on " + n,
		Text: "taken offline on " + n + ", which came second; it is active on " + others}
	switch {
	case c.Freeze.Any():
		o.Do, o.Target = DoWait, ""
		o.Text = "left alone on " + n + ": the group or the system is frozen; it is active on " + others + " too"
		o.WayOut = "take it offline by hand on one of them, or: " + c.Freeze.Out(c.Group, n)
	case c.Yielded:
		o.Text = "taken offline on " + n + ", which yielded after a split; it is active on " + others +
			". What " + n + " wrote since the split may be lost or damaged: check the data of the group"
	}
	return o
}

// ConcurrencyEnd is the question whether a concurrency violation is over. It
// has DoNothing, DoStop and DoForgo.
type ConcurrencyEnd struct {
	System string `json:"system"`
	Freeze Freeze `json:"freeze,omitzero"`
	// Usable: the system carries out commands; Stopping: it is being taken
	// offline for that reason.
	Usable   bool     `json:"usable"`
	Stopping bool     `json:"stopping,omitempty"`
	Others   []string `json:"others,omitempty"`
}

// Kind is "concurrency-end".
func (ConcurrencyEnd) Kind() Kind { return "concurrency-end" }

// Decide says whether it is.
func (c ConcurrencyEnd) Decide() Outcome {
	switch {
	case c.Freeze.Any() || !c.Usable || c.Stopping:
		return Outcome{}
	case len(c.Others) > 0:
		return Outcome{Do: DoStop, Target: c.System}
	}
	return Outcome{Do: DoForgo, Subject: "concurrency violation on " + c.System, Text: "over: the group is active nowhere else"}
}

// AdminWait is the question whether a resource begins to wait for an
// administrator. It has DoNothing and DoWait.
type AdminWait struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	System   string `json:"system"`
	// Flagged: its agent says so; Waited and WaitedReason: as it did before.
	Flagged      bool `json:"flagged"`
	Waited       bool `json:"waited,omitempty"`
	WaitedReason int  `json:"waited_reason,omitempty"`
	// Reason is the clean reason, Said what the agent said.
	Reason int    `json:"reason"`
	Said   string `json:"said,omitempty"`
}

// Kind is "admin-wait".
func (AdminWait) Kind() Kind { return "admin-wait" }

// Decide says whether it does.
func (a AdminWait) Decide() Outcome {
	if !a.Flagged || (a.Waited && a.WaitedReason == a.Reason) {
		return Outcome{}
	}
	return Outcome{Do: DoWait, Subject: a.Resource + " is in ADMIN_WAIT on " + a.System,
		Text:   fmt.Sprintf("its group is neither started, stopped nor moved (reason %d): %s", a.Reason, orUnsaid(a.Said)),
		WayOut: ClearWaitHint(a.Group, a.System)}
}

// AgentGivenUp is the question whether an agent is given up. It has DoNothing
// and DoForgo.
type AgentGivenUp struct {
	Type   string `json:"type"`
	System string `json:"system"`
	// Was and Is are its states.
	Was  string `json:"was"`
	Is   string `json:"is"`
	Said string `json:"said,omitempty"`
}

// Kind is "agent".
func (AgentGivenUp) Kind() Kind { return "agent" }

// Decide says whether it is.
func (a AgentGivenUp) Decide() Outcome {
	if a.Is != "given-up" || a.Was == a.Is {
		return Outcome{}
	}
	return Outcome{Do: DoForgo, Subject: "agent " + a.Type + " on " + a.System,
		Text:   "not started again; its resources keep their states and are not monitored: " + orUnsaid(a.Said),
		WayOut: "repair it, then haagent -start " + a.Type + " -sys " + a.System}
}
