package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// Effect is something that a shell must do. Every engine computes all of
// them; the shell of one system carries out those that name it.
type Effect interface {
	fmt.Stringer
	effect()
}

// ResourceCommand is an order for the agent scheduler of Command.System.
type ResourceCommand struct {
	Command resource.Command
	// Group of the resource, for logs.
	Group string
	// Attempt counts the local tries of a group (OnlineRetryLimit), from 0.
	Attempt int
}

// Code is the outcome of a command in gRPC's words.
type Code string

// The outcomes.
const (
	CodeOK                 Code = "OK"
	CodeNotFound           Code = "NOT_FOUND"
	CodeFailedPrecondition Code = "FAILED_PRECONDITION"
	CodeInvalidArgument    Code = "INVALID_ARGUMENT"
	CodeUnavailable        Code = "UNAVAILABLE"
	// CodeRequestIDReused is INVALID_ARGUMENT: the request id named another
	// operation before.
	CodeRequestIDReused Code = "REQUEST_ID_REUSED"
	// CodeConfirmationNeeded is FAILED_PRECONDITION: ask the user and send the
	// command again as Confirmed.
	CodeConfirmationNeeded Code = "CONFIRMATION_NEEDED"
)

// Notice is one line for the user of a command.
type Notice struct {
	// Severity is VCS's word: ERROR, WARNING, NOTICE, INFO.
	Severity string `json:"severity"`
	// ID is the whole message id: V-16-1-50735.
	ID   string `json:"id"`
	Text string `json:"text"`
}

// CommandResult answers a Command. Only the system where the request came in
// has somebody waiting for it.
type CommandResult struct {
	RequestID string   `json:"request_id"`
	From      SystemID `json:"from"`
	Code      Code     `json:"code"`
	// Notices are what to print; a refusal has at least one.
	Notices []Notice `json:"notices,omitempty"`
	// Nearest are the names that the user may have meant (NOT_FOUND).
	Nearest []string `json:"nearest,omitempty"`
	// Repeated is true if the request id was known: nothing was done again.
	Repeated bool `json:"repeated,omitempty"`
	// Pos is the position of the (first) Command.
	Pos Pos `json:"pos"`
	// Said is the Fingerprint of the Command.
	Said uint64 `json:"said,omitempty"`
	// Edits are what a change of the configuration changed, as lines of VCS's
	// commands; not of a repeated answer.
	Edits []string `json:"-"`
	// Unchanged: an applied configuration is the running one.
	Unchanged bool `json:"unchanged,omitempty"`
	// RefusedEdit is the edit that a change was refused for, counted from 1.
	RefusedEdit int `json:"refused_edit,omitempty"`
}

// LogLine is a line for the engine log of every system.
type LogLine struct {
	// Severity is CRITICAL, ERROR, WARNING, NOTICE or INFO.
	Severity string
	// ID is the whole message id.
	ID string
	// System is the system that the line is about ("" if none).
	System SystemID
	Group  string
	Text   string
}

// Verdict is what was decided about one candidate system.
type Verdict struct {
	System SystemID `json:"system"`
	Chosen bool     `json:"chosen,omitempty"`
	// Reason says why, for people.
	Reason string `json:"reason"`
}

// Explanation is the record of one decision.
type Explanation struct {
	Pos Pos `json:"pos"`
	// Time is engine time.
	Time time.Duration `json:"time"`
	// Group that was decided about ("" for a decision about a system).
	Group string `json:"group,omitempty"`
	// Subject says what was at stake: "failover from Server1".
	Subject string `json:"subject"`
	// Decision says what was decided and why, in a sentence.
	Decision   string    `json:"decision"`
	Candidates []Verdict `json:"candidates,omitempty"`
	// Evidence that the decision went on (R1), if it took any.
	Evidence Evidence `json:"evidence,omitempty"`
	// WayOut is the command that leads out, if something is stuck.
	WayOut string `json:"way_out,omitempty"`
	// Do and Target say for programs what followed; On keeps what it was
	// decided on.
	Do     decision.Do     `json:"do,omitempty"`
	Target SystemID        `json:"target,omitempty"`
	On     decision.Record `json:"on"`
}

// Explained hands out an Explanation at the moment of its decision.
type Explained struct{ Explanation Explanation }

// EventNotice tells watchers of a change of state.
type EventNotice struct {
	// Kind is "system", "group", "resource" or "agent".
	Kind     string
	System   SystemID
	Group    string
	Resource string
	// Type is of an agent.
	Type string
	// Old and New are states as VCS prints them, without outer bars.
	Old, New string
}

// DeadlineWish says at which engine time the engine next has something to do
// that only Clock events can bring about. At zero: nothing any more.
type DeadlineWish struct{ At time.Duration }

// StopSystem lets System's had leave port h: everything is offline there, or
// Forced leaves it running.
type StopSystem struct {
	System SystemID
	Forced bool
}

// AgentCommand tells System's had what to do with the agent of a type.
type AgentCommand struct {
	System SystemID
	Type   string
	// Kind is CommandAgentStart, CommandAgentStop or CommandAgentSwap.
	Kind CommandKind
}

// BuildLocal tells System's had to build from its disk (hasys -force).
type BuildLocal struct{ System SystemID }

func (ResourceCommand) effect() {}
func (CommandResult) effect()   {}
func (LogLine) effect()         {}
func (Explained) effect()       {}
func (EventNotice) effect()     {}
func (DeadlineWish) effect()    {}
func (StopSystem) effect()      {}
func (BuildLocal) effect()      {}
func (AgentCommand) effect()    {}

// String is the line of goldens.
func (e ResourceCommand) String() string {
	c := e.Command
	s := fmt.Sprintf("do #%d %s %s on %s", uint64(c.ID), c.Kind, c.Resource, c.System)
	if c.Kind == resource.CommandMonitorOnly {
		s += fmt.Sprintf(" arg=%d", c.Arg)
	}
	return s
}

// String is the line of goldens.
func (e CommandResult) String() string {
	s := "result " + string(e.Code)
	if e.RequestID != "" {
		s += " request=" + e.RequestID
	}
	if e.Repeated {
		s += " repeated"
	}
	s += " at " + e.Pos.String()
	for _, n := range e.Notices {
		s += "\n  VCS " + n.Severity + " " + n.ID + " " + n.Text
	}
	if len(e.Nearest) > 0 {
		s += "\n  nearest: " + strings.Join(e.Nearest, ", ")
	}
	return s
}

// String is the line of goldens and, behind a time, of the engine log.
func (e LogLine) String() string {
	s := "VCS " + e.Severity + " " + e.ID
	if e.System != "" {
		s += " (" + e.System + ")"
	}
	return s + " " + e.Text
}

// String is a block of goldens.
func (e Explained) String() string { return e.Explanation.String() }

// String prints the decision with its candidates, one per line.
func (x Explanation) String() string {
	s := "why"
	if x.Group != "" {
		s += " " + x.Group
	}
	s += ": " + x.Subject + ": " + x.Decision
	for _, v := range x.Candidates {
		mark := "not"
		if v.Chosen {
			mark = "yes"
		}
		s += "\n  " + mark + " " + v.System + ": " + v.Reason
	}
	if x.Evidence != "" {
		s += "\n  evidence: " + string(x.Evidence)
	}
	if x.WayOut != "" {
		s += "\n  way out: " + x.WayOut
	}
	return s
}

// String is the line of goldens.
func (e EventNotice) String() string {
	s := "notice " + e.Kind
	switch e.Kind {
	case "resource":
		s += " " + e.Resource
	case "group":
		s += " " + e.Group
	case "agent":
		s += " " + e.Type
	}
	return s + "@" + e.System + " " + e.Old + " -> " + e.New
}

// String is the line of goldens.
func (e DeadlineWish) String() string {
	if e.At == 0 {
		return "deadline none"
	}
	return "deadline " + e.At.String()
}

// String is the line of goldens.
func (e StopSystem) String() string {
	if e.Forced {
		return "stop " + e.System + " forcibly"
	}
	return "stop " + e.System
}

// String is the line of goldens.
func (e AgentCommand) String() string { return string(e.Kind) + " " + e.Type + " on " + e.System }

// String is the line of goldens.
func (e BuildLocal) String() string { return "build-local " + e.System }
