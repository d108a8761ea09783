// Package resource holds the words that the engine and the agent scheduler
// exchange about a resource: its states and flags, the commands that the
// engine gives for one system, and the reports that come back through the
// total order. Values only: no behaviour, no clock, no I/O.
package resource

import "slices"

// State is what is known about a resource on one system.
type State uint8

// The states of a resource as VCS prints them.
const (
	StateOffline State = iota
	StateOnline
	StateFaulted
)

// String returns VCS's word for the state.
func (s State) String() string {
	switch s {
	case StateOnline:
		return "ONLINE"
	case StateFaulted:
		return "FAULTED"
	default:
		return "OFFLINE"
	}
}

// Flags are what is known beside the state; several may hold at once.
type Flags uint16

// The flags of a resource (hares -display, attribute Flags).
const (
	// FlagUnknown: the last monitor could not tell; the state stays.
	FlagUnknown Flags = 1 << iota
	// FlagMonitorTimedOut: the last monitor was ended at MonitorTimeout.
	FlagMonitorTimedOut
	// FlagUnableToOffline: offline (and clean) ran, the resource is still up.
	FlagUnableToOffline
	// FlagRestarting: the scheduler restarts it after a fault (RestartLimit).
	FlagRestarting
	// FlagAdminWait: CleanRetryLimit is spent or ManageFaults is NONE.
	FlagAdminWait
)

// AdminReason is why a resource waits for an administrator; the numbers are
// VCS's, as the trigger resadminwait gets them.
type AdminReason uint8

// The reasons of ADMIN_WAIT.
const (
	OfflineHung AdminReason = iota
	OfflineIneffective
	OnlineHung
	OnlineIneffective
	UnexpectedOffline
	MonitorHung
)

// String says it for people.
func (r AdminReason) String() string {
	texts := [...]string{
		"offline did not complete within the expected time", "still up after offline",
		"online did not complete within the expected time", "not up after online",
		"unexpectedly offline", "monitor did not complete within the expected time",
	}
	if int(r) >= len(texts) {
		return "unknown reason"
	}
	return texts[r]
}

// CommandKind says what the engine wants from a resource on one system.
type CommandKind uint8

// The commands of the engine to the agent scheduler of one system.
const (
	// CommandOnline: bring it online (the last intent becomes ONLINE).
	CommandOnline CommandKind = iota + 1
	// CommandOffline: take it offline (the last intent becomes OFFLINE).
	CommandOffline
	// CommandProbe: monitor at once and report, also if nothing changed.
	CommandProbe
	// CommandClear: the fault, or ADMIN_WAIT, was cleared; forget counters,
	// monitor. With Arg=1 ADMIN_WAIT becomes what it is without a clean:
	// FAULTED, or UNABLE TO OFFLINE (hagrp -clearadminwait -fault).
	CommandClear
	// CommandMonitorOnly: the group or system is frozen (Arg=1) or no longer
	// (Arg=0): monitor, but neither online, offline, clean nor restart.
	CommandMonitorOnly
	// CommandRefreshInfo: gather ResourceInfo now.
	CommandRefreshInfo
	// CommandFlushInfo: ResourceInfo was forgotten; what is gathered next is
	// told although it is the same.
	CommandFlushInfo
)

// String returns the command's word in logs and goldens.
func (k CommandKind) String() string {
	switch k {
	case CommandOnline:
		return "online"
	case CommandOffline:
		return "offline"
	case CommandProbe:
		return "probe"
	case CommandClear:
		return "clear"
	case CommandMonitorOnly:
		return "monitor-only"
	case CommandRefreshInfo:
		return "refresh-info"
	case CommandFlushInfo:
		return "flush-info"
	default:
		return "command?"
	}
}

// EffectID numbers the commands of the engine; it is the same on every system
// because every engine counts alike. Zero is "none yet".
type EffectID uint64

// Command is one order of the engine for one resource on one system. Only the
// system that it names carries it out.
type Command struct {
	ID       EffectID
	Kind     CommandKind
	System   string
	Resource string
	// Arg is 0 or 1 for CommandMonitorOnly and CommandClear, else unused.
	Arg int
}

// Report is what a system's agent scheduler says about one resource. It is
// broadcast on port h and has no effect before it comes out of the total order.
type Report struct {
	System   string
	Resource string
	// Incarnation tells the runs of had on that system apart; the engine
	// ignores reports of an earlier run.
	Incarnation uint64
	// Seen is the id of the last command for this resource that the
	// scheduler had received when it made this report; the engine ignores an
	// older report for the transition that a later command began (R6).
	Seen EffectID
	// Probed is true from the first definite monitor result on.
	Probed bool
	State  State
	Flags  Flags
	// Confidence is 0..100 for an online resource.
	Confidence int
	// Done is the id of the command that this report completes, or zero for
	// a change that nobody asked for.
	Done EffectID
	// Failed is true if the command Done did not reach what it wanted.
	Failed bool
	// Reason says why in a sentence for people ("" if there is nothing to
	// say): "monitor reported OFFLINE unexpectedly; clean succeeded".
	Reason string
	// WaitReason is the clean reason (VCS's 0 to 5) for which the scheduler
	// gave the resource up; it counts with FlagAdminWait alone.
	WaitReason AdminReason `json:",omitempty"`
	// Intentional: the resource is OFFLINE because somebody stopped it outside
	// of the cluster on purpose (IntentionalOffline), which is no fault.
	Intentional bool `json:",omitempty"`
	// MonitorMillis is the average time of the last monitors in milliseconds
	// (ComputeStats), 0 if none is kept.
	MonitorMillis int `json:",omitempty"`
}

// InfoState says what ResourceInfo is worth.
type InfoState string

// The states of ResourceInfo as VCS prints them.
const (
	// InfoStale: nothing was gathered since it was flushed or the resource
	// went down.
	InfoStale InfoState = "Stale"
	// InfoValid: the facts are those of the last info.
	InfoValid InfoState = "Valid"
	// InfoInvalid: the last info failed; the facts are older.
	InfoInvalid InfoState = "Invalid"
)

// MaxInfo is how many bytes of names and values ResourceInfo may have.
const MaxInfo = 4096

// Fact is one key of ResourceInfo.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Info is what an agent's info told about a resource on one system.
type Info struct {
	State InfoState `json:"state"`
	// Msg is for people.
	Msg string `json:"msg,omitempty"`
	// Time is when it was gathered by the clock of its system, RFC 3339: for
	// people, never decided upon.
	Time  string `json:"time,omitempty"`
	Facts []Fact `json:"facts,omitempty"`
	// Truncated: facts beyond MaxInfo were left out.
	Truncated bool `json:"truncated,omitempty"`
}

// NewFacts sorts facts by name and leaves out what goes beyond MaxInfo.
func NewFacts(facts map[string]string) (kept []Fact, truncated bool) {
	names := make([]string, 0, len(facts))
	for name := range facts {
		names = append(names, name)
	}
	slices.Sort(names)
	size := 0
	for _, name := range names {
		if size += len(name) + len(facts[name]); size > MaxInfo {
			return kept, true
		}
		kept = append(kept, Fact{Name: name, Value: facts[name]})
	}
	return kept, false
}
