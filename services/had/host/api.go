// Package host runs the agents: one process per resource type that has
// resources on this system. It starts them, calls their entry points, notices
// their death, starts them again and, after a restart of had, ends what a
// former had left behind before anything is probed (R8). It decides nothing
// about resources; that is package schedule's.
//
// hashicorp/go-plugin is used with a runner of our own, because as it comes a
// line on an agent's stderr can panic the host, a descriptor that an
// application inherited hides an agent's death, and agents outlive a killed
// host. Each has a test.
package host

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// Config is what New needs. The zero value of each duration and count means
// its default.
type Config struct {
	// Dir is where the records of running agents and their sockets are, on a
	// file system that does not outlive a reboot: /run/evenkeel/agents.
	// Required. No two hosts share one.
	Dir string
	// Log gets the host's own records. Required.
	Log *slog.Logger
	// AgentLog gives the log of one type's agent (<Type>_A.log); nil sends all
	// to Log.
	AgentLog func(typeName string) *slog.Logger
	// Cgroup is a cgroup v2 directory that the host may fill. Empty means: the
	// host's own, if it is not the root of the hierarchy and may be written
	// (under systemd: Delegate=yes). "none" means: use none, and find helpers by
	// session and token.
	Cgroup string
	// StartTimeout bounds start to first Describe (AgentStartTimeout, 60 s).
	StartTimeout time.Duration
	// HungGrace is how long a cancelled entry point has to end before its
	// agent is killed (2 s).
	HungGrace time.Duration
	// ReplyTimeout is how long an agent may leave Describe unanswered
	// (AgentReplyTimeout, 130 s).
	ReplyTimeout time.Duration
	// GiveUpAfter deaths within an hour, before the first completed monitor or by
	// the agent's own making, make the host give up on an agent (6).
	GiveUpAfter int
	// MaxBackOff bounds the wait before the next start after such a death
	// (10 s). All other deaths are followed by a start at once.
	MaxBackOff time.Duration
}

// Value is one attribute's value as it holds on this system. Exactly one of
// the fields is used, by the attribute's dimension; use the functions below.
type Value struct {
	dim    string
	scalar string
	list   []string
	assoc  map[string]string
}

// Scalar is the value of a scalar attribute.
func Scalar(text string) Value { return Value{dim: "scalar", scalar: text} }

// List is the value of a vector or keylist; the slice must not change later.
func List(elements ...string) Value { return Value{dim: "list", list: elements} }

// Assoc is the value of an association; the map must not change later.
func Assoc(pairs map[string]string) Value { return Value{dim: "association", assoc: pairs} }

// Equal says whether two values are the same.
func (v Value) Equal(w Value) bool {
	return v.dim == w.dim && v.scalar == w.scalar && slices.Equal(v.list, w.list) && maps.Equal(v.assoc, w.assoc)
}

func (v Value) proto() *agentv1.Value {
	switch v.dim {
	case "list":
		return &agentv1.Value{Shape: &agentv1.Value_List{List: &agentv1.ValueList{Values: v.list}}}
	case "association":
		return &agentv1.Value{Shape: &agentv1.Value_Association{Association: &agentv1.ValueAssociation{Pairs: v.assoc}}}
	default:
		return &agentv1.Value{Shape: &agentv1.Value_Scalar{Scalar: v.scalar}}
	}
}

// Resource is what an entry point is told: name and attribute values. Values
// that are left out have the agent's defaults.
type Resource struct {
	Name  string
	Attrs map[string]Value
}

func (r Resource) proto() *agentv1.Resource {
	out := &agentv1.Resource{Name: r.Name, Attributes: make(map[string]*agentv1.Value, len(r.Attrs))}
	for name, v := range r.Attrs {
		out.Attributes[name] = v.proto()
	}
	return out
}

// State is what a monitor found.
type State int

// The answers of a monitor; Unknown is the zero value.
const (
	Unknown State = iota
	Online
	Offline
	IntentionalOffline
)

// String returns VCS's word.
func (s State) String() string {
	switch s {
	case Online:
		return "ONLINE"
	case Offline:
		return "OFFLINE"
	case IntentionalOffline:
		return "INTENTIONAL OFFLINE"
	default:
		return "UNKNOWN"
	}
}

// Status is the answer of a monitor or the news of a watch.
type Status struct {
	State State
	// Confidence is 1..100 for Online, else 0.
	Confidence int
	Detail     string
}

func fromProto(st *agentv1.Status) Status {
	out := Status{Detail: st.GetDetail()}
	switch st.GetState() {
	case agentv1.State_STATE_ONLINE:
		out.State, out.Confidence = Online, 100
		if c := st.GetConfidence(); st.Confidence != nil && c >= 1 && c <= 100 {
			out.Confidence = int(c)
		}
	case agentv1.State_STATE_OFFLINE:
		out.State = Offline
	case agentv1.State_STATE_INTENTIONAL_OFFLINE:
		out.State = IntentionalOffline
	}
	return out
}

// CleanReason is why clean runs; the integers are VCS's.
type CleanReason int

// The reasons of VCS.
const (
	OfflineHung CleanReason = iota
	OfflineIneffective
	OnlineHung
	OnlineIneffective
	UnexpectedOffline
	MonitorHung
)

// Problem is what Validate found wrong with one attribute.
type Problem struct{ Attr, Text string }

// The errors of calls, besides context.DeadlineExceeded and context.Canceled
// (the entry point did not end in time or was cancelled) and *EntryPointError.
// When a call has returned, whatever it returned, nothing of its entry point
// runs any more: what did not end when cancelled was killed with its agent.
var (
	// ErrNoAgent: the type was not started, or it was given up or refused.
	ErrNoAgent = errors.New("no agent runs for this type")
	// ErrAgentDown: the agent is not up just now, or died during the call. Its
	// resources are as they were; call again after AgentUp.
	ErrAgentDown = errors.New("the agent is down")
	// ErrNotImplemented: the agent has no such entry point.
	ErrNotImplemented = errors.New("the agent has no such entry point")
	// ErrFormerAlive: processes of a former had's agents could not be ended;
	// the error says which.
	ErrFormerAlive = errors.New("agents of a former had are still there")
)

// EntryPointError is what an entry point itself said.
type EntryPointError struct {
	Type, Resource, EntryPoint string
	// Message is for people.
	Message string
	// BadValue: an attribute's value is unusable.
	BadValue bool
}

func (e *EntryPointError) Error() string {
	return fmt.Sprintf("%s %s (%s): %s", e.EntryPoint, e.Resource, e.Type, e.Message)
}

// Event is news from the agents: AgentUp, AgentDown, AgentFailed, Watched.
type Event interface{ event() }

// AgentUp: the agent is there and may be called. Open and monitor its resources.
type AgentUp struct {
	Type    string
	Version string
	// Restarted is true if it was up before: nothing is known to have changed,
	// but re-open and re-probe.
	Restarted bool
	// Watches is true if it can push state changes (Watch).
	Watches bool
}

// AgentDown: the agent's process ended and nothing of it is left. Calls under
// way have returned ErrAgentDown. Its resources keep their state.
type AgentDown struct {
	Type   string
	Reason string
	// Planned is true after Restart and Stop.
	Planned bool
}

// AgentFailed: the host gave up on the agent (AgentFailedOn), or refused it
// because its description contradicts the loaded type. Start tries again.
type AgentFailed struct {
	Type   string
	Reason string
	// Refused is true for a contradiction.
	Refused bool
}

// Watched: the agent saw a state change of a watched resource.
type Watched struct {
	Type, Resource string
	Status         Status
}

func (AgentUp) event()     {}
func (AgentDown) event()   {}
func (AgentFailed) event() {}
func (Watched) event()     {}

// AttrDecl is one attribute of a loaded type.
type AttrDecl struct {
	Name string
	// Kind is "str", "int" or "boolean".
	Kind string
	// Dim is "scalar", "vector", "keylist" or "association".
	Dim string
}

// TypeDecl is a loaded type as far as an agent can contradict it.
type TypeDecl struct {
	Name string
	// Operations is "OnOff", "OnOnly" or "None".
	Operations string
	Attrs      []AttrDecl
	// NumThreads bounds the entry points that run at once; 0 means the agent's
	// default (10).
	NumThreads int
	// StartTimeout and ReplyTimeout are the type's AgentStartTimeout and
	// AgentReplyTimeout; 0 means the host's.
	StartTimeout, ReplyTimeout time.Duration
}
