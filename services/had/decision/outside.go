package decision

import "strings"

// StoppedOutside is the question what follows when somebody stopped a resource
// on purpose, outside of the cluster (IntentionalOffline, engine.md 4.19). It
// has DoRecord, DoStop (the group, as a user would) and DoDrop.
type StoppedOutside struct {
	Group    string `json:"group"`
	Resource string `json:"resource"`
	System   string `json:"system"`
	Freeze   Freeze `json:"freeze,omitzero"`
	Stopping string `json:"stopping,omitempty"`
	// OfflineHold and OfflineGroup are keys of ExternalStateChange.
	OfflineHold  bool `json:"offline_hold,omitempty" say:"ExternalStateChange OfflineHold"`
	OfflineGroup bool `json:"offline_group,omitempty" say:"ExternalStateChange OfflineGroup"`
	// Leaning are the resources that cannot stay up without it; Stays: others
	// can.
	Leaning []string `json:"leaning,omitempty"`
	Stays   bool     `json:"stays,omitempty"`
}

// Kind is "stopped-outside".
func (StoppedOutside) Kind() Kind { return "stopped-outside" }

// Decide says what goes offline with it.
func (s StoppedOutside) Decide() Outcome {
	again := "hares -online " + s.Resource + " -sys " + s.System
	o := Outcome{Do: DoRecord, Subject: s.Resource + " was stopped on purpose on " + s.System + ", outside of the cluster"}
	switch {
	case s.Freeze.Any():
		o.Text = "only recorded: the group or the system is frozen"
	case s.Stopping != "":
		o.Text = "the group is being taken offline there anyway"
	case s.OfflineHold && (s.Stays || len(s.Leaning) > 0):
		o.Text, o.WayOut = "OFFLINE and no fault; nothing else goes offline (ExternalStateChange OfflineHold)", again
	case s.OfflineGroup || !s.Stays && len(s.Leaning) == 0:
		o.Do, o.Target = DoStop, s.System
		o.Text = "OFFLINE and no fault; the group goes offline there as by hagrp -offline" + pick(s.OfflineGroup, " (ExternalStateChange OfflineGroup)", "")
		o.WayOut = "hagrp -online " + s.Group + " -sys " + s.System
	case len(s.Leaning) > 0:
		o.Do, o.Text, o.WayOut = DoDrop, "OFFLINE and no fault; what needs it goes offline: "+strings.Join(s.Leaning, ", "), again
	default:
		o.Text, o.WayOut = "OFFLINE and no fault; the rest of the group stays", again
	}
	return o
}

// StartedOutside is the question what follows when somebody started a resource
// outside of the cluster. It has DoNothing, DoAdopt, DoLook, DoForgo and
// DoStart.
type StartedOutside struct {
	Resource string `json:"resource"`
	System   string `json:"system"`
	// OnlineGroup is a key of ExternalStateChange.
	OnlineGroup bool   `json:"online_group,omitempty" say:"ExternalStateChange OnlineGroup"`
	Violation   bool   `json:"violation,omitempty"`
	Stopping    string `json:"stopping,omitempty"`
	// Whole: with it all of the group is online.
	Whole bool   `json:"whole,omitempty"`
	Start *Start `json:"start,omitempty"`
}

// Kind is "started-outside".
func (StartedOutside) Kind() Kind { return "started-outside" }

// Decide says whether the group follows.
func (s StartedOutside) Decide() Outcome {
	switch {
	case !s.OnlineGroup || s.Violation || s.Stopping != "":
		return Outcome{}
	case s.Whole:
		return Outcome{Do: DoAdopt}
	case s.Start == nil:
		return Outcome{Do: DoLook}
	}
	o := Outcome{Subject: s.Resource + " was started on " + s.System + ", outside of the cluster"}
	if no := s.Start.Refusal(); no != nil {
		o.Do, o.Text = DoForgo, "the group is not brought online there: "+no.Text
		return o
	}
	o.Do, o.Target, o.Text = DoStart, s.System, "the group is brought online there (ExternalStateChange OnlineGroup)"
	return o
}

// ClearParent is the question whether the faults of a parent are cleared,
// because its child has come online (OnlineClearParent). It has DoNothing,
// DoLook and DoClear.
type ClearParent struct {
	Child  string `json:"child"`
	System string `json:"system"`
	// OnlineClearParent is the child's attribute; Offline: the parent requires
	// it to be offline.
	OnlineClearParent bool   `json:"online_clear_parent" say:"OnlineClearParent"`
	Offline           bool   `json:"offline,omitempty"`
	ParentFreeze      Freeze `json:"parent_freeze,omitzero"`
	// Looked: Faults are those of the parent that were cleared.
	Looked bool     `json:"looked,omitempty"`
	Faults []string `json:"faults,omitempty"`
}

// Kind is "clear-parent".
func (ClearParent) Kind() Kind { return "clear-parent" }

// Decide says which.
func (c ClearParent) Decide() Outcome {
	switch {
	case !c.OnlineClearParent || c.Offline || c.ParentFreeze.Group != "":
		return Outcome{}
	case !c.Looked:
		return Outcome{Do: DoLook}
	case len(c.Faults) == 0:
		return Outcome{}
	}
	return Outcome{Do: DoClear, Subject: "group " + c.Child + " is online on " + c.System,
		Text: "faults cleared (OnlineClearParent of " + c.Child + "): " + strings.Join(c.Faults, ", ")}
}
