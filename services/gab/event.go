package gab

import (
	"fmt"
	"strings"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// Event is what a core is told. The set is closed.
type Event interface {
	String() string
	event()
}

// Wake is the timer: Deadline has come.
type Wake struct{}

// PeerUp says that LLT has a connection to a peer. Incarnation is LLT's and
// for traces only; gab tells its own in its first message.
type PeerUp struct {
	Node        NodeID
	Incarnation uint64
	Conn        uint64 // number of this connection, another one each time
	// Formats are what the peer's build speaks; zero for the first release,
	// which does not say.
	Formats Formats
}

// PeerFormats says what a peer's build speaks, when that was not known yet at
// its PeerUp. It counts from the next view on.
type PeerFormats struct {
	Node    NodeID
	Conn    uint64
	Formats Formats
}

// PeerDown says that the connection is gone; messages of it may be lost.
type PeerDown struct {
	Node NodeID
	Conn uint64
}

// PeerJeopardy says that a peer is seen over one link only, or no longer so.
type PeerJeopardy struct {
	Node NodeID
	On   bool
}

// PeerDisk says whether a peer must be taken as alive by what a disk region
// says, whatever the connection to it (R16).
type PeerDisk struct {
	Node NodeID
	Seen bool
}

// Control asks for a message of the daemons themselves to be ordered; it comes
// out as ControlOrdered on every member, or not at all if this system leaves.
type Control struct{ Payload []byte }

// MsgIn is one message of a peer. Messages of one Conn come in the order sent,
// each once, none missing between. Nobody changes Msg any more: the core keeps
// the payloads in it.
type MsgIn struct {
	From NodeID
	Conn uint64
	Msg  []byte
}

// Register says that a local client opened a port. Its first View follows
// when the membership of the port includes it.
type Register struct {
	Port   Port
	Client string // at most 32 bytes
}

// Unregister says that the local client of a port is gone, however it went.
// No outcome or delivery follows for it.
type Unregister struct{ Port Port }

// Send is a broadcast of a local client; exactly one Outcome follows unless the
// client unregisters first. ID must grow within a registration. Nobody changes
// the payloads any more: the core keeps them.
type Send struct {
	Port     Port
	ID       uint64
	ToNode   NodeID // only if Directed
	Directed bool
	Payloads [][]byte
}

// FenceAnswer is the local fencing client's answer to a gated view (R10).
type FenceAnswer struct {
	View     ViewID
	Departed []Departed
}

// Protection is what the local had says of protected resources here (R2, R14).
type Protection struct{ Resources uint32 }

// Seed is gabconfig -x: seed now with the systems that are seen.
type Seed struct{}

// SeedCount is gabconfig -n: another count of systems to be seen before the
// membership seeds itself, 0 to MaxNodes.
type SeedCount struct{ Systems int }

// Leave takes this system out of port a. Without Force it is refused unless
// the leave would be CLEAN (R14): had has left port h, and its last word was
// that nothing is protected. Protected says that the shell knows of something
// protected here. Answered by Left or LeaveRefused.
type Leave struct{ Force, Protected bool }

// CounterPersisted completes PersistCounter.
type CounterPersisted struct {
	ID uint64
	OK bool // false: it could not be written; the core asks again later
}

// Paused says that the shell saw this process stand still for Gap of
// CLOCK_BOOTTIME (R19). A core also notices a gap between two Steps itself.
type Paused struct{ Gap vclock.Duration }

func (Wake) event()             {}
func (PeerUp) event()           {}
func (PeerFormats) event()      {}
func (PeerDown) event()         {}
func (PeerJeopardy) event()     {}
func (PeerDisk) event()         {}
func (Control) event()          {}
func (MsgIn) event()            {}
func (Register) event()         {}
func (Unregister) event()       {}
func (Send) event()             {}
func (FenceAnswer) event()      {}
func (Protection) event()       {}
func (Seed) event()             {}
func (SeedCount) event()        {}
func (Leave) event()            {}
func (CounterPersisted) event() {}
func (Paused) event()           {}

func (Wake) String() string { return "wake" }
func (e PeerUp) String() string {
	return fmt.Sprintf("peer-up node=%d inc=%x conn=%d formats=%s", e.Node, e.Incarnation, e.Conn, formatsOf(e.Formats))
}
func (e PeerFormats) String() string {
	return fmt.Sprintf("peer-formats node=%d conn=%d formats=%s", e.Node, e.Conn, formatsOf(e.Formats))
}
func (e PeerDown) String() string { return fmt.Sprintf("peer-down node=%d conn=%d", e.Node, e.Conn) }
func (e PeerJeopardy) String() string {
	return fmt.Sprintf("peer-jeopardy node=%d on=%v", e.Node, e.On)
}
func (e PeerDisk) String() string { return fmt.Sprintf("peer-disk node=%d seen=%v", e.Node, e.Seen) }

// String keeps the payload to itself: it may be a secret.
func (e Control) String() string { return fmt.Sprintf("control bytes=%d", len(e.Payload)) }
func (e MsgIn) String() string {
	return fmt.Sprintf("msg-in from=%d conn=%d %s", e.From, e.Conn, describeMessage(e.Msg))
}
func (e Register) String() string   { return fmt.Sprintf("register port=%s client=%s", e.Port, e.Client) }
func (e Unregister) String() string { return fmt.Sprintf("unregister port=%s", e.Port) }
func (e Send) String() string {
	s := fmt.Sprintf("send port=%s id=%d", e.Port, e.ID)
	if e.Directed {
		s += fmt.Sprintf(" to=%d", e.ToNode)
	}
	return s + " " + payloadText(e.Payloads)
}
func (e FenceAnswer) String() string {
	return fmt.Sprintf("fence-answer view=%s departed=%s", e.View, list(e.Departed))
}
func (e Protection) String() string { return fmt.Sprintf("protection resources=%d", e.Resources) }
func (Seed) String() string         { return "seed" }
func (e SeedCount) String() string  { return fmt.Sprintf("seed-count systems=%d", e.Systems) }
func (e Leave) String() string {
	return fmt.Sprintf("leave force=%v protected=%v", e.Force, e.Protected)
}
func (e CounterPersisted) String() string {
	return fmt.Sprintf("counter-persisted id=%d ok=%v", e.ID, e.OK)
}
func (e Paused) String() string { return fmt.Sprintf("paused gap=%s", e.Gap) }

// Effect is what a core asks for. The set is closed.
type Effect interface {
	String() string
	effect()
}

// TransportSend asks LLT to send Msg to a peer; it is dropped if the
// connection Conn is no longer up. What goes to several peers shares its
// bytes: a shell may append, alike for all, but change nothing.
type TransportSend struct {
	To   NodeID
	Conn uint64
	Msg  []byte
}

// DeliverMessage hands one payload to the local client of a port.
type DeliverMessage struct {
	Port    Port
	View    ViewID // in which it was ordered
	Seq     uint64 // the same on every member; gaps are messages to others
	From    NodeID
	Payload []byte // read only, kept by the core too
	Own     bool   // from this registration
	ID      uint64 // of the Send, if Own
}

// DeliverView hands a membership to the local client of a port; port a has no
// client, its views are for the shell.
type DeliverView struct {
	Port       Port
	ID         ViewID // of port a
	Generation uint64 // of the port
	Seq        uint64 // of the port; 0 on port a
	Members    []Member
	Systems    []Member
	// Departed are the systems that left port a since the last view of this
	// port; on port b all for which the gate waits are listed too.
	Departed   []Departed
	DaemonDown []NodeID // left this port other than CLEAN, still in port a
	First      bool     // first view of this registration
}

// ControlOrdered is a message of the daemons themselves, at its place in the
// order. Payload is read only.
type ControlOrdered struct {
	From    Member
	Payload []byte
}

// DeliverEvidence hands stronger evidence to the local client of port h.
type DeliverEvidence struct {
	View     ViewID // the view that listed the system as departed
	Seq      uint64
	Departed Departed
}

// Outcome says what became of a Send, once for each (R15).
type Outcome struct {
	Port   Port
	ID     uint64
	Result Result
}

// Blocked asks the shell to take no more Sends of a port from its client until
// Ready; a Send in spite of it is LOST.
type Blocked struct{ Port Port }

// Ready ends Blocked.
type Ready struct{ Port Port }

// Gate says that views of port h are held for want of evidence, or no more.
type Gate struct {
	Held       bool
	View       ViewID
	WaitingFor []Member
	Reason     string // for people
}

// Lease is the good standing of this system until a point of its clock (R6).
type Lease struct{ Until vclock.Time }

// PersistCounter asks to write Counter durably; completed by CounterPersisted.
type PersistCounter struct {
	ID      uint64
	Counter uint64
}

// ClosePort says that the core took the local client out of a port (R10): end
// its stream; if Protected, self-stop (R2).
type ClosePort struct {
	Port      Port
	Reason    string
	Protected bool
}

// StandDown says that this incarnation is out and finished. If Protected the
// system must self-stop now (R2, R19), else begin a new incarnation. Flagged
// asks had for R17 after the rejoin: this side yielded after a split.
type StandDown struct {
	Code      string // paused, evicted, yield
	Reason    string
	Protected bool
	Flagged   bool
}

// Left completes Leave: the leave was ordered. The core is finished.
type Left struct{ Clean bool }

// LeaveRefused completes Leave: R14 forbids it.
type LeaveRefused struct{ Reason string }

// Note is something for the log; Code is a stable word, Attrs key=value.
type Note struct {
	Code  string
	Attrs string
}

func (TransportSend) effect()   {}
func (DeliverMessage) effect()  {}
func (DeliverView) effect()     {}
func (DeliverEvidence) effect() {}
func (ControlOrdered) effect()  {}
func (Outcome) effect()         {}
func (Blocked) effect()         {}
func (Ready) effect()           {}
func (Gate) effect()            {}
func (Lease) effect()           {}
func (PersistCounter) effect()  {}
func (ClosePort) effect()       {}
func (StandDown) effect()       {}
func (Left) effect()            {}
func (LeaveRefused) effect()    {}
func (Note) effect()            {}

func (e TransportSend) String() string {
	return fmt.Sprintf("transport-send to=%d conn=%d %s", e.To, e.Conn, describeMessage(e.Msg))
}
func (e DeliverMessage) String() string {
	s := fmt.Sprintf("deliver port=%s seq=%d view=%s from=%d %q", e.Port, e.Seq, e.View, e.From, clip(e.Payload))
	if e.Own {
		s += fmt.Sprintf(" own=%d", e.ID)
	}
	return s
}
func (e DeliverView) String() string {
	s := fmt.Sprintf("view port=%s id=%s gen=%d seq=%d members=%s systems=%s", e.Port, e.ID, e.Generation, e.Seq,
		list(e.Members), list(e.Systems))
	if len(e.Departed) > 0 {
		s += " departed=" + list(e.Departed)
	}
	if len(e.DaemonDown) > 0 {
		s += fmt.Sprintf(" daemon-down=%d", e.DaemonDown)
	}
	if e.First {
		s += " first"
	}
	return s
}
func (e ControlOrdered) String() string {
	return fmt.Sprintf("control from=%s bytes=%d", e.From, len(e.Payload))
}
func (e DeliverEvidence) String() string {
	return fmt.Sprintf("evidence view=%s seq=%d %s", e.View, e.Seq, e.Departed)
}
func (e Outcome) String() string {
	return fmt.Sprintf("outcome port=%s id=%d %s", e.Port, e.ID, e.Result)
}
func (e Blocked) String() string { return fmt.Sprintf("blocked port=%s", e.Port) }
func (e Ready) String() string   { return fmt.Sprintf("ready port=%s", e.Port) }
func (e Gate) String() string {
	if !e.Held {
		return "gate open"
	}
	return fmt.Sprintf("gate held view=%s waiting-for=%s reason=%q", e.View, list(e.WaitingFor), e.Reason)
}
func (e Lease) String() string { return fmt.Sprintf("lease until=%s", e.Until) }
func (e PersistCounter) String() string {
	return fmt.Sprintf("persist-counter id=%d counter=%d", e.ID, e.Counter)
}
func (e ClosePort) String() string {
	return fmt.Sprintf("close-port port=%s protected=%v reason=%q", e.Port, e.Protected, e.Reason)
}
func (e StandDown) String() string {
	return fmt.Sprintf("stand-down code=%s protected=%v flagged=%v reason=%q", e.Code, e.Protected, e.Flagged, e.Reason)
}
func (e Left) String() string         { return fmt.Sprintf("left clean=%v", e.Clean) }
func (e LeaveRefused) String() string { return fmt.Sprintf("leave-refused reason=%q", e.Reason) }
func (e Note) String() string {
	if e.Attrs == "" {
		return "note " + e.Code
	}
	return "note " + e.Code + " " + e.Attrs
}

// list prints a slice in brackets, comma separated.
func list[T fmt.Stringer](s []T) string {
	parts := make([]string, len(s))
	for i, v := range s {
		parts[i] = v.String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}

func payloadText(payloads [][]byte) string {
	parts := make([]string, len(payloads))
	for i, p := range payloads {
		parts[i] = fmt.Sprintf("%q", clip(p))
	}
	return strings.Join(parts, " ")
}

// clip shortens a payload for one-line traces.
func clip(p []byte) string {
	if len(p) > 24 {
		return fmt.Sprintf("%s+%d", p[:24], len(p)-24)
	}
	return string(p)
}
