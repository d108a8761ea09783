package schedule

import (
	"fmt"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// CallID names one entry point call; ids grow and are never used again within
// one Core.
type CallID uint64

// EntryPoint is what a call runs.
type EntryPoint uint8

// The entry points that the scheduler calls.
const (
	Open EntryPoint = iota + 1
	Close
	Online
	Offline
	Monitor
	Clean
	AttrChanged
	Action
	Info
)

// String returns the entry point's name.
func (e EntryPoint) String() string {
	return [...]string{"none", "open", "close", "online", "offline", "monitor", "clean",
		"attr_changed", "action", "info"}[e]
}

// Raises reports whether the entry point can raise a resource (R6).
func (e EntryPoint) Raises() bool { return e == Online }

// CleanReason is why clean is called; the numbers are VCS's.
type CleanReason uint8

// The clean reasons.
const (
	OfflineHung CleanReason = iota
	OfflineIneffective
	OnlineHung
	OnlineIneffective
	UnexpectedOffline
	MonitorHung
)

// String returns the reason as the log has it.
func (r CleanReason) String() string {
	return [...]string{
		"offline did not complete within the expected time",
		"still up after offline",
		"online did not complete within the expected time",
		"not up after online",
		"unexpected OFFLINE, on its own",
		"monitor did not complete within the expected time",
	}[r]
}

// Outcome is how a call ended.
type Outcome uint8

// The outcomes.
const (
	// OK: it ran to its end.
	OK Outcome = iota
	// Failed: it ran and said that it failed.
	Failed
	// TimedOut: it was ended at its deadline.
	TimedOut
	// Cancelled: it was ended on a Cancel.
	Cancelled
	// PluginGone: the agent's process died, or was not there.
	PluginGone
)

// String returns a word for the outcome.
func (o Outcome) String() string {
	return [...]string{"ok", "failed", "timed-out", "cancelled", "plugin-gone"}[o]
}

// Monitored is what a monitor told.
type Monitored uint8

// The answers of a monitor.
const (
	SawUnknown Monitored = iota
	SawOffline
	SawOnline
	SawIntentionalOffline
)

// String returns a word for the answer.
func (m Monitored) String() string {
	return [...]string{"unknown", "offline", "online", "intentional-offline"}[m]
}

// Event is what happens to the scheduler.
type Event interface {
	event()
	String() string
}

// SetResource adds a resource or replaces what is known about it.
type SetResource struct {
	Spec Spec
	// NewValues: its attributes have other values than before; the agent is
	// told.
	NewValues bool
}

// ActionID names an action that somebody waits for; the shell counts.
type ActionID uint64

// Act asks for an action of a resource's agent. It is answered by exactly one
// of the result of its Call and ActionRefused.
type Act struct {
	ID       ActionID
	Resource string
	// Until is when it is refused if it has not begun.
	Until vclock.Time
}

// RemoveResource ends a resource: it is closed and forgotten. The application
// is left as it is.
type RemoveResource struct{ Resource string }

// Command is one order of the engine for this system.
type Command struct{ Command resource.Command }

// EntryPointResult ends a call; every Call gets exactly one.
type EntryPointResult struct {
	Call    CallID
	Outcome Outcome
	// Saw and Confidence (0..100) are of a Monitor that is OK.
	Saw        Monitored
	Confidence int
	// Wait is how long an Online or Offline asks to wait before the first
	// monitor, in seconds.
	Wait int
	// Detail is for people.
	Detail string
	// Facts and Truncated are of an Info that is OK.
	Facts     []resource.Fact
	Truncated bool
	// Missing: the agent has no such entry point.
	Missing bool
}

// PluginUp says that the agent of a type takes calls.
type PluginUp struct{ Type string }

// PluginDown says that the agent of a type is gone. Calls that ran get their
// EntryPointResult (PluginGone) all the same.
type PluginDown struct{ Type string }

// WatchPush says that an agent saw a change by itself. It is a hint: the
// resource is monitored at once.
type WatchPush struct{ Resource string }

// Lease is the good standing of this system (R6); vclock.Never for a single
// system without gab.
type Lease struct{ Until vclock.Time }

// Armed says whether fencing answered that the system can stop itself (R2).
type Armed struct{ OK bool }

// Wake says that Deadline was reached.
type Wake struct{}

func (SetResource) event()      {}
func (RemoveResource) event()   {}
func (Act) event()              {}
func (Command) event()          {}
func (EntryPointResult) event() {}
func (PluginUp) event()         {}
func (PluginDown) event()       {}
func (WatchPush) event()        {}
func (Lease) event()            {}
func (Armed) event()            {}
func (Wake) event()             {}

func (e SetResource) String() string {
	return fmt.Sprintf("set %s type=%s %s enabled=%t", e.Spec.Resource, e.Spec.Type, e.Spec.Operations, e.Spec.Enabled)
}
func (e Act) String() string            { return fmt.Sprintf("act %d %s", e.ID, e.Resource) }
func (e RemoveResource) String() string { return "remove " + e.Resource }
func (e Command) String() string {
	return fmt.Sprintf("command %s %s #%d arg=%d", e.Command.Kind, e.Command.Resource, e.Command.ID, e.Command.Arg)
}
func (e EntryPointResult) String() string {
	return fmt.Sprintf("result call=%d %s saw=%s confidence=%d wait=%d %q", e.Call, e.Outcome, e.Saw, e.Confidence, e.Wait, e.Detail)
}
func (e PluginUp) String() string   { return "plugin-up " + e.Type }
func (e PluginDown) String() string { return "plugin-down " + e.Type }
func (e WatchPush) String() string  { return "push " + e.Resource }
func (e Lease) String() string      { return "lease until " + e.Until.String() }
func (e Armed) String() string      { return fmt.Sprintf("armed %t", e.OK) }
func (Wake) String() string         { return "wake" }

// Effect is what the scheduler wants done.
type Effect interface {
	effect()
	String() string
}

// Call runs an entry point. The shell ends it at Deadline with TimedOut, with
// the agent's process if nothing else helps.
type Call struct {
	ID       CallID
	Resource string
	Type     string
	Entry    EntryPoint
	Reason   CleanReason // of Clean
	Deadline vclock.Time
	// Detailed: this monitor is to look closer (LevelTwoMonitorFreq).
	Detailed bool
	// Action is of Action.
	Action ActionID
}

// ActionRefused answers an Act that does not begin.
type ActionRefused struct {
	ID  ActionID
	Why string
}

// Informed is new ResourceInfo to be broadcast; the shell puts in the time.
type Informed struct {
	Resource string
	Info     resource.Info
}

// Cancel ends a running call early; its EntryPointResult still comes.
type Cancel struct {
	ID  CallID
	Why string
}

// Report is to be broadcast. The shell fills in System and Incarnation.
type Report struct{ Report resource.Report }

// Note is for the log. Code is the number of the message in VCS's agent
// framework category ("13067") or a word.
type Note struct {
	Severity string
	Code     string
	Resource string
	Text     string
}

func (Call) effect()   {}
func (Cancel) effect() {}
func (Report) effect() {}
func (Note) effect()   {}

func (ActionRefused) effect() {}
func (Informed) effect()      {}

func (e Call) String() string {
	s := fmt.Sprintf("call %d %s %s until %s", e.ID, e.Entry, e.Resource, e.Deadline)
	if e.Entry == Clean {
		s += fmt.Sprintf(" reason=%d", e.Reason)
	}
	if e.Detailed {
		s += " detailed"
	}
	if e.Entry == Action {
		s += fmt.Sprintf(" action=%d", e.Action)
	}
	return s
}
func (e Cancel) String() string { return fmt.Sprintf("cancel %d: %s", e.ID, e.Why) }
func (e Report) String() string {
	r := e.Report
	s := fmt.Sprintf("report %s %s flags=%#x probed=%t conf=%d seen=%d done=%d failed=%t %q",
		r.Resource, r.State, uint16(r.Flags), r.Probed, r.Confidence, r.Seen, r.Done, r.Failed, r.Reason)
	if r.Flags&resource.FlagAdminWait != 0 {
		s += fmt.Sprintf(" wait-reason=%d", r.WaitReason)
	}
	if r.MonitorMillis != 0 {
		s += fmt.Sprintf(" monitor=%dms", r.MonitorMillis)
	}
	return s
}
func (e ActionRefused) String() string { return fmt.Sprintf("action %d refused: %s", e.ID, e.Why) }
func (e Informed) String() string {
	s := fmt.Sprintf("info %s %s", e.Resource, e.Info.State)
	for _, f := range e.Info.Facts {
		s += " " + f.Name + "=" + f.Value
	}
	if e.Info.Msg != "" {
		s += fmt.Sprintf(" %q", e.Info.Msg)
	}
	return s
}
func (e Note) String() string {
	return fmt.Sprintf("note %s %s %s: %s", e.Severity, e.Code, e.Resource, e.Text)
}
