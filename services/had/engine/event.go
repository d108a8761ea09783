package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// SystemID is the name of a system. Shells translate LLT node ids with
// llthosts before an event reaches the engine.
type SystemID = string

// Pos is a place in the total order of port h: the causal id that every
// effect, decision and answer carries.
type Pos struct {
	// Lineage is the random number drawn when the membership was seeded.
	Lineage uint64 `json:"lineage"`
	// View is the counter of the view in which the event was ordered.
	View uint64 `json:"view"`
	// Seq is the number of the event in the order of the port.
	Seq uint64 `json:"seq"`
}

// String prints the position as (view,seq); the lineage stays out because
// goldens and people compare positions of one lineage only.
func (p Pos) String() string { return fmt.Sprintf("(%d,%d)", p.View, p.Seq) }

// Evidence says why a system that left port a is taken as gone (R1); the
// words are gab's and package policy decides what each is worth.
type Evidence = policy.Evidence

// The kinds of evidence, in the words of gab's contract.
const (
	EvidenceNone       = policy.EvidenceNone
	EvidenceClean      = policy.EvidenceClean
	EvidencePoweredOff = policy.EvidencePoweredOff
	EvidenceCut        = policy.EvidenceCut
	EvidenceExpired    = policy.EvidenceExpired
	EvidenceVouched    = policy.EvidenceVouched
	EvidenceAssumed    = policy.EvidenceAssumed
)

// SystemState is the state of a system in VCS's words.
type SystemState string

// The states of a system (engine.md 3.1).
const (
	SystemUnknown             SystemState = "UNKNOWN"
	SystemIniting             SystemState = "INITING"
	SystemCurrentDiscoverWait SystemState = "CURRENT_DISCOVER_WAIT"
	SystemCurrentPeerWait     SystemState = "CURRENT_PEER_WAIT"
	SystemStaleDiscoverWait   SystemState = "STALE_DISCOVER_WAIT"
	SystemStalePeerWait       SystemState = "STALE_PEER_WAIT"
	SystemStaleAdminWait      SystemState = "STALE_ADMIN_WAIT"
	SystemAdminWait           SystemState = "ADMIN_WAIT"
	SystemLocalBuild          SystemState = "LOCAL_BUILD"
	SystemRemoteBuild         SystemState = "REMOTE_BUILD"
	SystemRunning             SystemState = "RUNNING"
	SystemLeaving             SystemState = "LEAVING"
	SystemExiting             SystemState = "EXITING"
	SystemExited              SystemState = "EXITED"
	SystemExitingForcibly     SystemState = "EXITING_FORCIBLY"
	SystemFaulted             SystemState = "FAULTED"
)

// Event is one thing that came out of the total order. It is a sealed set of
// plain structs; String is one line for traces and goldens.
type Event interface {
	fmt.Stringer
	event() string
}

// Member is a system as a view of gab names it.
type Member struct {
	System SystemID `json:"system"`
	// Node is the LLT node id, 0..63.
	Node int `json:"node"`
	// Jeopardy is true if the system is seen over one link only.
	Jeopardy bool `json:"jeopardy,omitempty"`
}

// Departed is a system that left port a since the last view of port h.
type Departed struct {
	System   SystemID `json:"system"`
	Node     int      `json:"node"`
	Evidence Evidence `json:"evidence"`
	// Detail says for people how the evidence was got.
	Detail string `json:"detail,omitempty"`
	// Jeopardy is true if the system was in jeopardy when it was lost.
	Jeopardy bool `json:"jeopardy,omitempty"`
	// StopBound is T_stop in nanoseconds: the time after which an announced
	// watchdog must have stopped the system. Zero is "no bound known".
	StopBound time.Duration `json:"stop_bound,omitempty"`
}

// ViewChanged is a released view of port h.
type ViewChanged struct {
	// Generation is the generation of port h.
	Generation uint64 `json:"generation"`
	// Members are the members of port h, by node id.
	Members []Member `json:"members"`
	// Systems are the members of port a, by node id; a system here and not in
	// Members lives without had (daemon down, node alive).
	Systems []Member `json:"systems"`
	// Departed are the systems gone from port a, with their evidence.
	Departed []Departed `json:"departed,omitempty"`
	// DaemonDown are systems of port a whose had went without saying CLEAN.
	DaemonDown []SystemID `json:"daemon_down,omitempty"`
	// FencingDisabled is true in fencing mode disabled, where alone ASSUMED
	// is evidence.
	FencingDisabled bool `json:"fencing_disabled,omitempty"`
}

// EvidenceStronger brings better evidence for a system that an earlier view
// lost (R10).
type EvidenceStronger struct {
	System    SystemID      `json:"system"`
	Evidence  Evidence      `json:"evidence"`
	Detail    string        `json:"detail,omitempty"`
	StopBound time.Duration `json:"stop_bound,omitempty"`
}

// SystemJoined is the JOIN of a starting had (R22).
type SystemJoined struct {
	System SystemID `json:"system"`
	Node   int      `json:"node"`
	// ConfigValid is true if the configuration on its disk is valid, false if
	// it is missing, wrong or marked stale.
	ConfigValid bool `json:"config_valid"`
	// Incarnation tells the runs of had on that system apart; reports of any
	// other one are ignored from here on.
	Incarnation uint64 `json:"incarnation"`
	// Yielded is true if the system comes back from a split without fencing
	// as the side that yields (R17).
	Yielded bool `json:"yielded,omitempty"`
}

// File is one file of the configuration.
type File struct {
	// Name is relative to the folder of main.cf, as include names it.
	Name string `json:"name"`
	Text string `json:"text"`
}

// ConfigLoaded carries the configuration that a system in LOCAL_BUILD read
// from its disk. Every engine parses the same text. Main is the name of the
// file to begin with ("main.cf").
type ConfigLoaded struct {
	System SystemID `json:"system"`
	Main   string   `json:"main"`
	Files  []File   `json:"files"`
	// Sequence and Version are those of the copy on the disk, 0 if unknown.
	Sequence uint64 `json:"sequence,omitempty"`
	Version  uint64 `json:"version,omitempty"`
}

// StateChanged is a system's announcement of its own new state.
type StateChanged struct {
	System SystemID    `json:"system"`
	State  SystemState `json:"state"`
}

// Reported is a report of a system's agent scheduler.
type Reported struct {
	Report resource.Report `json:"report"`
}

// CommandKind says what a Command wants.
type CommandKind string

// The commands that change something.
const (
	CommandGroupOnline     CommandKind = "group-online"
	CommandGroupOffline    CommandKind = "group-offline"
	CommandGroupSwitch     CommandKind = "group-switch"
	CommandGroupClear      CommandKind = "group-clear"
	CommandGroupFreeze     CommandKind = "group-freeze"
	CommandGroupUnfreeze   CommandKind = "group-unfreeze"
	CommandGroupFlush      CommandKind = "group-flush"
	CommandGroupAutoenable CommandKind = "group-autoenable"
	CommandResourceOnline  CommandKind = "resource-online"
	CommandResourceOffline CommandKind = "resource-offline"
	CommandResourceProbe   CommandKind = "resource-probe"
	CommandResourceClear   CommandKind = "resource-clear"
	CommandSystemFreeze    CommandKind = "system-freeze"
	CommandSystemUnfreeze  CommandKind = "system-unfreeze"
	// CommandSystemStop is hastop for the systems in Systems, or for all of
	// them with All; Force leaves the groups running.
	CommandSystemStop CommandKind = "system-stop"
	// CommandSystemForce is hasys -force: build from the disk of System.
	CommandSystemForce CommandKind = "system-force"

	// The agents of a type on a system, and ResourceInfo.
	CommandAgentStart          CommandKind = "agent-start"
	CommandAgentStop           CommandKind = "agent-stop"
	CommandAgentSwap           CommandKind = "agent-swap"
	CommandResourceRefreshInfo CommandKind = "resource-refresh-info"
	CommandResourceFlushInfo   CommandKind = "resource-flush-info"
	// CommandGroupClearAdminWait is hagrp -clearadminwait for System; Fault is
	// its -fault.
	CommandGroupClearAdminWait CommandKind = "group-clear-adminwait"
	// CommandSystemLoad is hasys -load: what load System really has.
	CommandSystemLoad CommandKind = "system-load"
)

// The commands that change the configuration or say whether it may change.
const (
	// CommandConfigWritable is haconf -makerw.
	CommandConfigWritable CommandKind = "config-writable"
	// CommandConfigChange carries out Edits as one change.
	CommandConfigChange CommandKind = "config-change"
	// CommandConfigDump is haconf -dump; with MakeReadOnly -dump -makero.
	CommandConfigDump CommandKind = "config-dump"
	// CommandConfigApply makes the configuration what Files say, reverted
	// after Confirm unless confirmed. Version names the kept version that the
	// files come from, if they do.
	CommandConfigApply CommandKind = "config-apply"
	// CommandConfigConfirm keeps what was applied.
	CommandConfigConfirm CommandKind = "config-confirm"
	// The following are edits in other words: hagrp -enable, -disable,
	// -enableresources, -disableresources.
	CommandGroupEnable           CommandKind = "group-enable"
	CommandGroupDisable          CommandKind = "group-disable"
	CommandGroupEnableResources  CommandKind = "group-enableresources"
	CommandGroupDisableResources CommandKind = "group-disableresources"
)

// Command is an operation of a user.
type Command struct {
	// RequestID names the operation: the same id again is the same operation
	// and gets the same answer (R15). Empty: not repeatable.
	RequestID string      `json:"request_id,omitempty"`
	User      string      `json:"user,omitempty"`
	Kind      CommandKind `json:"kind"`
	Group     string      `json:"group,omitempty"`
	Resource  string      `json:"resource,omitempty"`
	// System is where; for a switch it is the target. Empty: any, or all for
	// clear.
	System  SystemID   `json:"system,omitempty"`
	Systems []SystemID `json:"systems,omitempty"`
	// Any lets the engine choose the system.
	Any bool `json:"any,omitempty"`
	// All is hastop -all.
	All        bool `json:"all,omitempty"`
	Force      bool `json:"force,omitempty"`
	Persistent bool `json:"persistent,omitempty"`
	Evacuate   bool `json:"evacuate,omitempty"`
	// IgnoreParent is hares -offline -ignoreparent.
	IgnoreParent bool `json:"ignore_parent,omitempty"`
	// ParentProp is hares -offline -parentprop: parents first.
	ParentProp bool `json:"parent_prop,omitempty"`

	// Groups. Propagate is hagrp -online and -offline -propagate: children
	// first, parents first; of a resource it is hares -offprop: what it needs
	// goes offline after it. Fault is hagrp -clearadminwait -fault.
	Propagate bool `json:"propagate,omitempty"`
	Fault     bool `json:"fault,omitempty"`

	// Agents. Type is the resource type whose agent is meant.
	Type string `json:"type,omitempty"`

	// NoPre is hagrp -online -nopre: the preonline trigger is not asked.
	NoPre bool `json:"no_pre,omitempty"`
	// CheckPartial is hagrp -online -nopre -checkpartial: refuse if the group
	// is not offline on this system.
	CheckPartial SystemID `json:"check_partial,omitempty"`

	// Changes of the configuration.

	// Edits are the words of VCS's commands, one edit each.
	Edits [][]string `json:"edits,omitempty"`
	// Main and Files are a whole configuration, as in ConfigLoaded.
	Main  string `json:"main,omitempty"`
	Files []File `json:"files,omitempty"`
	// Confirm is how long an applied configuration waits to be confirmed, in
	// engine time; zero keeps it.
	Confirm time.Duration `json:"confirm,omitempty"`
	// Version is the number of the version that Files are, 0 if none.
	Version uint64 `json:"version,omitempty"`
	// MakeReadOnly is haconf -dump -makero.
	MakeReadOnly bool `json:"make_readonly,omitempty"`

	// Of systems: Load in units of Capacity, or ClearLoad (hasys -load);
	// NoAutoDisable, Local (no system was named), Confirmed (the user was
	// asked) and Reboot (the machine goes down too) of hastop.
	Load          int  `json:"load,omitempty"`
	ClearLoad     bool `json:"clear_load,omitempty"`
	NoAutoDisable bool `json:"no_auto_disable,omitempty"`
	Local         bool `json:"local,omitempty"`
	Confirmed     bool `json:"confirmed,omitempty"`
	Reboot        bool `json:"reboot,omitempty"`
}

// AgentState says how an agent's process stands on a system.
type AgentState string

// The states of an agent.
const (
	AgentStarting AgentState = "starting"
	AgentRunning  AgentState = "running"
	AgentDown     AgentState = "down"
	// AgentStopped: by haagent -stop, until haagent -start.
	AgentStopped AgentState = "stopped"
	// AgentGivenUp: it died too often, contradicts its type, or there is no
	// program of it (AgentFailedOn).
	AgentGivenUp AgentState = "given-up"
)

// AgentReported is a system's word about the agent of one type there.
type AgentReported struct {
	System      SystemID   `json:"system"`
	Incarnation uint64     `json:"incarnation"`
	Type        string     `json:"type"`
	State       AgentState `json:"state"`
	Version     string     `json:"version,omitempty"`
	// Faults is how often its process died since had started there.
	Faults int `json:"faults,omitempty"`
	// Watches: it pushes changes by itself (MonitorMethod IMF).
	Watches bool   `json:"watches,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// InfoReported is what an agent's info told about a resource.
type InfoReported struct {
	System      SystemID      `json:"system"`
	Incarnation uint64        `json:"incarnation"`
	Resource    string        `json:"resource"`
	Info        resource.Info `json:"info"`
}

// ClockPeriod is how often the lowest system of the view proposes a Clock.
const ClockPeriod = 500 * time.Millisecond

// ConfigDumped answers DumpConfig: System's disk holds the version durably, or
// Problem says why it does not.
type ConfigDumped struct {
	System  SystemID `json:"system"`
	Version uint64   `json:"version"`
	// At is the place of the order.
	At      Pos    `json:"at"`
	Problem string `json:"problem,omitempty"`
}

// Clock carries the monotonic time that passed since its proposer applied the
// previous one (R21). The engine caps it at two periods; engine time is the
// sum.
type Clock struct {
	Elapsed time.Duration `json:"elapsed"`
}

func (ViewChanged) event() string      { return "view" }
func (EvidenceStronger) event() string { return "evidence" }
func (SystemJoined) event() string     { return "join" }
func (ConfigLoaded) event() string     { return "config" }
func (StateChanged) event() string     { return "state" }
func (Reported) event() string         { return "report" }
func (Command) event() string          { return "command" }
func (ConfigDumped) event() string     { return "dumped" }
func (Clock) event() string            { return "clock" }
func (AgentReported) event() string    { return "agent" }
func (InfoReported) event() string     { return "info" }

func names(ms []Member) string {
	out := make([]string, 0, len(ms))
	for _, m := range ms {
		n := m.System
		if m.Jeopardy {
			n += "(jeopardy)"
		}
		out = append(out, n)
	}
	return strings.Join(out, ",")
}

// String is the line of traces and goldens.
func (e ViewChanged) String() string {
	s := fmt.Sprintf("view gen=%d h={%s} a={%s}", e.Generation, names(e.Members), names(e.Systems))
	for _, d := range e.Departed {
		s += fmt.Sprintf(" departed=%s:%s", d.System, d.Evidence)
	}
	if len(e.DaemonDown) > 0 {
		s += " daemon-down=" + strings.Join(e.DaemonDown, ",")
	}
	return s
}

// String is the line of traces and goldens.
func (e EvidenceStronger) String() string {
	return fmt.Sprintf("evidence %s for %s", e.Evidence, e.System)
}

// String is the line of traces and goldens.
func (e SystemJoined) String() string {
	return fmt.Sprintf("join %s node=%d config-valid=%t incarnation=%d", e.System, e.Node, e.ConfigValid, e.Incarnation)
}

// String is the line of traces and goldens.
func (e ConfigLoaded) String() string {
	return fmt.Sprintf("config from %s files=%d", e.System, len(e.Files))
}

// String is the line of traces and goldens.
func (e StateChanged) String() string { return fmt.Sprintf("state %s %s", e.System, e.State) }

// String is the line of traces and goldens.
func (e Reported) String() string {
	r := e.Report
	return fmt.Sprintf("report %s@%s %s flags=%d seen=%d done=%d failed=%t", r.Resource, r.System, r.State, r.Flags, r.Seen, r.Done, r.Failed)
}

// String is the line of traces and goldens.
func (e Command) String() string {
	s := "command " + string(e.Kind)
	if e.NoPre {
		s += " -nopre"
	}
	for _, w := range []string{e.Type, e.Group, e.Resource, e.System, strings.Join(e.Systems, ",")} {
		if w != "" {
			s += " " + w
		}
	}
	if e.Kind == CommandSystemLoad && !e.ClearLoad {
		s += fmt.Sprintf(" %d", e.Load)
	}
	for _, o := range []struct {
		on   bool
		word string
	}{{e.ClearLoad, " -clear"}, {e.Propagate, " -propagate"}, {e.Fault, " -fault"}} {
		if o.on {
			s += o.word
		}
	}
	return s + e.changes()
}

// changes are the words of a change of the configuration.
func (e Command) changes() string {
	s := ""
	const shown, longest = 3, 200
	for i, words := range e.Edits {
		if i == shown {
			return s + fmt.Sprintf(" (and %d more)", len(e.Edits)-shown)
		}
		text := strings.Join(words, " ")
		if len(text) > longest {
			text = strings.ToValidUTF8(text[:longest], "") + "..."
		}
		s += pick(i > 0, "; ", " ") + text
	}
	for _, f := range e.Files {
		s += " " + f.Name
	}
	if e.Version > 0 {
		s += fmt.Sprintf(" of version %d", e.Version)
	}
	if e.Confirm > 0 {
		s += " unless confirmed in " + e.Confirm.String()
	}
	if e.MakeReadOnly {
		s += " and make read-only"
	}
	return s
}

// String is the line of traces and goldens.
func (e ConfigDumped) String() string {
	s := fmt.Sprintf("dumped version %d on %s", e.Version, e.System)
	if e.Problem != "" {
		s += ": " + e.Problem
	}
	return s
}

// String is the line of traces and goldens.
func (e AgentReported) String() string {
	return fmt.Sprintf("agent %s@%s %s faults=%d", e.Type, e.System, e.State, e.Faults)
}

// String is the line of traces and goldens.
func (e InfoReported) String() string {
	return fmt.Sprintf("info %s@%s %s facts=%d", e.Resource, e.System, e.Info.State, len(e.Info.Facts))
}

// String is the line of traces and goldens.
func (e Clock) String() string { return "clock " + e.Elapsed.String() }
