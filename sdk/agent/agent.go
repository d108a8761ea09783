// Package agent is what the author of an agent imports. An agent knows one
// resource type: it brings its resources online and offline, monitors them and
// cleans up. Write a type with the methods below and hand it to Serve:
//
//	func main() { agent.Serve(fileOnOff{}) }
//
// What holds for every agent, and is tried by package agenttest:
//
//   - Entry points are idempotent: Online of what is online and Offline of what
//     is offline succeed.
//   - Calls for one resource never overlap (Watch and Validate aside); calls
//     for different ones do, up to the type's NumThreads.
//   - ctx ends at the type's timeout or when had cancels. An entry point that
//     goes on regardless gets the whole agent killed.
//   - An agent may be killed at any moment. It keeps nothing that it cannot
//     find out again, and its applications live on: start them with Start.
//   - Monitor returns an error if it cannot tell; had takes that as UNKNOWN.
package agent

import (
	"context"
	"time"
)

// Kind is what an attribute's values are made of.
type Kind int

// The kinds of VCS.
const (
	String  Kind = iota // any text
	Integer             // a decimal integer
	Boolean             // 0 or 1
)

// Dimension is how many values an attribute has.
type Dimension int

// The dimensions of VCS.
const (
	Scalar      Dimension = iota // one value
	Vector                       // an ordered list
	Keylist                      // a list of different values
	Association                  // keys with one value each
)

// Operations is what can be done with resources of a type.
type Operations int

// The categories of resources.
const (
	OnOff  Operations = iota // Online, Offline, Monitor, Clean
	OnOnly                   // Online, Monitor, Clean
	None                     // persistent: Monitor alone
)

// Attr declares an attribute that the agent reads.
type Attr struct {
	Name      string
	Kind      Kind
	Dimension Dimension
	// Required: a resource without a value for it cannot work. An entry point
	// is not called without it.
	Required bool
	// Default is the value of a scalar that the configuration leaves out.
	Default string
	// Doc is one sentence for people.
	Doc string
}

// Action declares an action (hares -action).
type Action struct {
	Token string
	// Doc is one sentence for people.
	Doc string
}

// Description is what an agent says about itself.
type Description struct {
	// Type is the resource type's name as in types.cf.
	Type string
	// Version is the agent's own, semantic.
	Version    string
	Operations Operations
	Attrs      []Attr
	Actions    []Action
}

// State is what a monitor found.
type State int

// The answers of a monitor. Unknown is the zero value on purpose: a Status that
// nobody filled in takes nothing offline.
const (
	Unknown State = iota
	Online
	Offline
	// IntentionalOffline: somebody took the resource down on purpose outside
	// the cluster. Counts only for types with IntentionalOffline = 1.
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
	// Confidence is 1..100 for Online; 0 means 100.
	Confidence int
	// Detail is one sentence for people on why; may be empty.
	Detail string
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

// String says the reason in words.
func (r CleanReason) String() string {
	names := [...]string{"offline hung", "offline ineffective", "online hung", "online ineffective", "unexpected offline", "monitor hung"}
	if r < 0 || int(r) >= len(names) {
		return "unknown reason"
	}
	return names[r]
}

// Agent is what every agent has. Types with Operations OnOff must be a
// Controller too, OnOnly types an OnOnlyController.
type Agent interface {
	// Describe returns the same each time and has no effects.
	Describe() Description
	// Monitor finds out the state and changes nothing.
	Monitor(ctx context.Context, r *Resource) (Status, error)
}

// OnOnlyController is what agents of OnOnly types have besides.
type OnOnlyController interface {
	// Online brings the resource up and returns when that is done.
	Online(ctx context.Context, r *Resource) error
	// Clean forces it down from any state.
	Clean(ctx context.Context, r *Resource, why CleanReason) error
}

// Controller is what agents of OnOff types have besides.
type Controller interface {
	OnOnlyController
	// Offline takes the resource down in an orderly way.
	Offline(ctx context.Context, r *Resource) error
}

// Opener is called first for each resource, after the start of the agent or
// after the resource was enabled.
type Opener interface {
	Open(ctx context.Context, r *Resource) error
}

// Closer is called last for a resource that is disabled or deleted.
type Closer interface {
	Close(ctx context.Context, r *Resource) error
}

// AttrChanger is told of new values; before holds the old ones of those that
// changed, in the resource's shape.
type AttrChanger interface {
	AttrChanged(ctx context.Context, r *Resource, before *Resource) error
}

// Actor runs the declared actions. Output is shown to whoever asked; an exit
// code other than 0 is the action's own failure, err is everything else.
type Actor interface {
	Action(ctx context.Context, r *Resource, token string, args []string) (output string, exitCode int, err error)
}

// Informer gathers facts for ResourceInfo.
type Informer interface {
	Info(ctx context.Context, r *Resource) (map[string]string, error)
}

// Watcher pushes state changes as they happen, until ctx ends. It runs beside
// the other entry points of the same resource and over its online and offline;
// push may be called from one goroutine at a time and blocks only as long as
// had is slow. A watcher that returns is started again after a second.
type Watcher interface {
	Watch(ctx context.Context, r *Resource, push func(Status)) error
}

// Validator checks values before they are used; it touches nothing. The SDK
// has checked kinds and required attributes already.
type Validator interface {
	Validate(ctx context.Context, r *Resource) []Problem
}

// Problem is what is wrong with one attribute.
type Problem struct {
	Attr string
	// Text says what is wrong and what would be right.
	Text string
}

// BatchMonitor monitors many resources in one go. A name that is missing in
// the answer counts as UNKNOWN.
type BatchMonitor interface {
	MonitorBatch(ctx context.Context, rs []*Resource) (map[string]Status, error)
}

// Stopper is told that the agent's process is about to end. Resources stay.
type Stopper interface {
	Shutdown(ctx context.Context)
}

// monitorAfter is the type behind MonitorAfter.
type monitorAfter struct{ wait time.Duration }

func (m monitorAfter) Error() string { return "monitor after " + m.wait.String() }

// MonitorAfter may be returned by Online and Offline instead of nil: the work is
// done, and the first monitor makes sense only after the given time.
func MonitorAfter(wait time.Duration) error { return monitorAfter{wait: wait} }
