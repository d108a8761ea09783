package join

import (
	"fmt"
	"strings"
)

// Event is what happens to the join machine.
type Event interface {
	event()
	String() string
}

// View is a view of port h that this system is in.
type View struct {
	// ID grows with every view.
	ID      uint64
	Members []Member
}

// Announced is a system's ordered word about its own state, also this one's.
type Announced struct {
	System string
	State  State
	// View is the view in which it was said.
	View uint64
	// Rank is that of the copy on its disk.
	Rank uint64
}

// SnapshotWanted is a joiner's ordered request, also this one's own.
type SnapshotWanted struct {
	System string
	Build  uint64
}

// Chunk is a part of a snapshot that was sent to this system.
type Chunk struct {
	Build    uint64
	N, Total int
	Data     []byte
}

// Restored answers Restore; Problem is "" if it went well.
type Restored struct {
	Problem string
	// NotInConfig: the running configuration does not have this system.
	NotInConfig bool
}

// ConfigDelivered: a configuration from a disk came out of the total order.
type ConfigDelivered struct{ System string }

// LoadFailed: LoadConfig could not read a valid configuration.
type LoadFailed struct{ Problem string }

// Force is hasys -force for this system.
type Force struct{}

// Stop is the end of this had; Forced is hastop -local -force, which is obeyed
// in every state.
type Stop struct{ Forced bool }

// Moved: the engine moved this system on (LEAVING, EXITING).
type Moved struct{ State State }

// Named: the running configuration has this system, which it did not before.
type Named struct{}

// Wake says that Deadline was reached.
type Wake struct{}

func (View) event()            {}
func (Announced) event()       {}
func (SnapshotWanted) event()  {}
func (Chunk) event()           {}
func (Restored) event()        {}
func (ConfigDelivered) event() {}
func (LoadFailed) event()      {}
func (Force) event()           {}
func (Stop) event()            {}
func (Moved) event()           {}
func (Named) event()           {}
func (Wake) event()            {}

func (e View) String() string {
	names := make([]string, len(e.Members))
	for i, m := range e.Members {
		names[i] = fmt.Sprintf("%d:%s", m.Node, m.Name)
	}
	return "view " + strings.Join(names, " ")
}
func (e Announced) String() string      { return fmt.Sprintf("announced %s %s", e.System, e.State) }
func (e SnapshotWanted) String() string { return fmt.Sprintf("wanted %s #%d", e.System, e.Build) }
func (e Chunk) String() string {
	return fmt.Sprintf("chunk #%d %d/%d %d bytes", e.Build, e.N+1, e.Total, len(e.Data))
}
func (e Restored) String() string {
	return fmt.Sprintf("restored problem=%q not-in-config=%t", e.Problem, e.NotInConfig)
}
func (e ConfigDelivered) String() string { return "config from " + e.System }
func (e LoadFailed) String() string      { return "load failed: " + e.Problem }
func (Force) String() string             { return "force" }
func (e Stop) String() string            { return fmt.Sprintf("stop forced=%t", e.Forced) }
func (e Moved) String() string           { return "moved " + string(e.State) }
func (Named) String() string             { return "named" }
func (Wake) String() string              { return "wake" }

// Effect is what the join machine wants done.
type Effect interface {
	effect()
	String() string
}

// Announce broadcasts this system's state, said in View.
type Announce struct {
	State State
	View  uint64
	// Rank is that of the copy on this system's disk.
	Rank uint64
}

// LoadConfig reads the configuration from disk and broadcasts it, or answers
// LoadFailed. With Force a .stale mark is ignored.
type LoadConfig struct{ Force bool }

// RequestSnapshot broadcasts a request; what is delivered after it is spooled
// until Restore.
type RequestSnapshot struct{ Build uint64 }

// Restore rebuilds the engine from the snapshot and what was spooled; answered
// with Restored.
type Restore struct{ Data []byte }

// Run: this system is RUNNING; effects are carried out from here on, those
// outstanding first.
type Run struct{}

// TakeSnapshot keeps the engine's state as it is at this position.
type TakeSnapshot struct {
	For   string
	Build uint64
}

// SendSnapshot sends what TakeSnapshot kept to a joiner.
type SendSnapshot struct {
	For   string
	Build uint64
}

// DropSnapshot forgets what was kept for a joiner.
type DropSnapshot struct{ For string }

// Leave ends this had; Forced leaves applications running.
type Leave struct{ Forced bool }

// Note is for the log.
type Note struct{ Severity, Code, Text string }

func (Announce) effect()        {}
func (LoadConfig) effect()      {}
func (RequestSnapshot) effect() {}
func (Restore) effect()         {}
func (Run) effect()             {}
func (TakeSnapshot) effect()    {}
func (SendSnapshot) effect()    {}
func (DropSnapshot) effect()    {}
func (Leave) effect()           {}
func (Note) effect()            {}

func (e Announce) String() string        { return "announce " + string(e.State) }
func (e LoadConfig) String() string      { return fmt.Sprintf("load config force=%t", e.Force) }
func (e RequestSnapshot) String() string { return fmt.Sprintf("request snapshot #%d", e.Build) }
func (e Restore) String() string         { return fmt.Sprintf("restore %q", e.Data) }
func (Run) String() string               { return "run" }
func (e TakeSnapshot) String() string    { return fmt.Sprintf("take snapshot for %s #%d", e.For, e.Build) }
func (e SendSnapshot) String() string    { return fmt.Sprintf("send snapshot to %s #%d", e.For, e.Build) }
func (e DropSnapshot) String() string    { return "drop snapshot for " + e.For }
func (e Leave) String() string           { return fmt.Sprintf("leave forced=%t", e.Forced) }
func (e Note) String() string            { return fmt.Sprintf("note %s %s %s", e.Severity, e.Code, e.Text) }
