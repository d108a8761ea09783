package fencing

import (
	"fmt"
	"strings"
)

// Event is what can happen to the core.
type Event interface {
	event()
	String() string
}

// Start says that gab has a membership with this system in it. It may come
// again and again until the core is on port b; the newest counts.
type Start struct {
	Cluster uint16
	Self    System
	Systems []System // port a, this system included
}

// View is a view of port b.
type View struct {
	ID      ViewID
	Members []System // port b, by node id
	Systems []System // port a, by node id
	// Departed are the systems that left port a: those for whom gab's gate
	// waits, all of them in every view (R10), without evidence; and those that
	// have just left with evidence that gab knows by itself, such as CLEAN.
	Departed []Departed
	// Unknown are members whom those that the gate waits for may not know. gab
	// takes no answer of theirs but an operator's word: they do not race.
	Unknown []NodeID
}

// Departed is a system that is no longer there, and why it is taken as gone.
type Departed struct {
	System   System
	Evidence Evidence
	Detail   string
}

// Delivered is an ordered message of port b.
type Delivered struct {
	From    NodeID
	Message Message
}

// Detached says that this system is no longer on port b.
type Detached struct{ Reason string }

// PointDone is the one completion of a PointOp.
type PointDone struct {
	ID     uint64
	Result Result
}

// PowerDone is the one completion of a PowerOff or PowerQuery. Off is true only
// if the switch said that the system is off.
type PowerDone struct {
	ID     uint64
	Off    bool
	Detail string
}

// Wake is the timer.
type Wake struct{}

func (Start) event()     {}
func (View) event()      {}
func (Delivered) event() {}
func (Detached) event()  {}
func (PointDone) event() {}
func (PowerDone) event() {}
func (Wake) event()      {}

func joinSystems(systems []System) string {
	texts := make([]string, len(systems))
	for i, s := range systems {
		texts[i] = s.String()
	}
	return strings.Join(texts, " ")
}

func joinDeparted(departed []Departed) string {
	texts := make([]string, len(departed))
	for i, d := range departed {
		texts[i] = d.System.String()
		if d.Evidence != NoEvidence {
			texts[i] += "=" + d.Evidence.String()
		}
	}
	return strings.Join(texts, " ")
}

func (e Start) String() string {
	return fmt.Sprintf("start %v cluster %d systems [%s]", e.Self, e.Cluster, joinSystems(e.Systems))
}
func (e View) String() string {
	return fmt.Sprintf("view %v members [%s] systems [%s] departed [%s]", e.ID, joinSystems(e.Members), joinSystems(e.Systems), joinDeparted(e.Departed))
}
func (e Delivered) String() string { return fmt.Sprintf("delivered from %d: %v", e.From, e.Message) }
func (e Detached) String() string  { return "detached: " + e.Reason }
func (e PointDone) String() string {
	return fmt.Sprintf("done #%d %v [%s]", e.ID, e.Result.Outcome, joinKeys(e.Result.Keys))
}
func (e PowerDone) String() string { return fmt.Sprintf("power #%d off=%t", e.ID, e.Off) }
func (Wake) String() string        { return "wake" }

// Message is what fencing daemons say to each other, ordered on port b.
type Message interface {
	message()
	String() string
}

// Verdict is what came out of one racer's race.
type Verdict uint8

// The verdicts, with the numbers of the contract.
const (
	// Won: a majority of the configured points is won.
	Won Verdict = iota + 1
	// Lost: the own keys are off a majority of the points.
	Lost
	// Unable: neither could be found out in T_race.
	Unable
	// Answered: won, and gab has been told the evidence for everybody.
	Answered
)

// String is the verdict in lower case.
func (v Verdict) String() string {
	return [...]string{"?", "won", "lost", "unable", "answered"}[min(v, Answered)]
}

// RaceResult is one racer's outcome for the view that lost systems.
type RaceResult struct {
	View    ViewID
	Verdict Verdict
	Detail  string
}

// Vouch is an operator's word that a system is gone.
type Vouch struct {
	System  System
	Who     string
	Request string
}

func (RaceResult) message() {}
func (Vouch) message()      {}

func (m RaceResult) String() string {
	return fmt.Sprintf("race %v %v (%s)", m.View, m.Verdict, m.Detail)
}
func (m Vouch) String() string {
	return fmt.Sprintf("%v vouched for by %s, request %s", m.System, m.Who, m.Request)
}

// Effect is what the core wants done.
type Effect interface {
	effect()
	String() string
}

// PointOp asks for an operation on a coordination point (from 0). It gets
// exactly one PointDone.
type PointOp struct {
	ID    uint64
	Point int
	Op    Operation
}

// PowerOff asks the power switch to power a system off and to wait until it
// is off. It gets exactly one PowerDone.
type PowerOff struct {
	ID     uint64
	System System
}

// PowerQuery asks the power switch whether a system is off. It gets exactly
// one PowerDone.
type PowerQuery struct {
	ID     uint64
	System System
}

// Attach joins port b.
type Attach struct{}

// Detach leaves port b; no Detached follows.
type Detach struct{ Reason string }

// Broadcast orders a message on port b.
type Broadcast struct{ Message Message }

// Answer tells gab the evidence for the systems that a view lost (R10).
type Answer struct {
	View     ViewID
	Departed []Departed
}

// SelfStop stops this system: its side lost.
type SelfStop struct{ Reason string }

// Note is a fact for the log and the counters.
type Note struct{ Code, Text string }

func (PointOp) effect()    {}
func (PowerOff) effect()   {}
func (PowerQuery) effect() {}
func (Attach) effect()     {}
func (Detach) effect()     {}
func (Broadcast) effect()  {}
func (Answer) effect()     {}
func (SelfStop) effect()   {}
func (Note) effect()       {}

func (e PointOp) String() string    { return fmt.Sprintf("point %d #%d %v", e.Point+1, e.ID, e.Op) }
func (e PowerOff) String() string   { return fmt.Sprintf("power off #%d %v", e.ID, e.System) }
func (e PowerQuery) String() string { return fmt.Sprintf("power query #%d %v", e.ID, e.System) }
func (Attach) String() string       { return "attach" }
func (e Detach) String() string     { return "detach: " + e.Reason }
func (e Broadcast) String() string  { return "broadcast " + e.Message.String() }
func (e Answer) String() string {
	return fmt.Sprintf("answer %v [%s]", e.View, joinDeparted(e.Departed))
}
func (e SelfStop) String() string { return "self-stop: " + e.Reason }
func (e Note) String() string     { return "note " + e.Code + ": " + e.Text }
