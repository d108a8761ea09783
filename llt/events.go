package llt

import (
	"fmt"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// NodeID is the number of a system in the cluster, 0 to 63.
type NodeID uint8

// LinkID is the number of a link, 0 to 7, in the order of llttab. All systems
// number their links alike.
type LinkID uint8

// Bounds of the protocol.
const (
	MaxNodes   = 64       // node ids are 0 to MaxNodes-1
	MaxLinks   = 8        // link ids are 0 to MaxLinks-1
	MaxMessage = 16 << 20 // bytes of one message
)

// Event is what a core can be told. The concrete types are below.
type Event interface {
	event()
	fmt.Stringer
}

// Wake says that the time of Deadline has come.
type Wake struct{}

// FrameIn is a frame that arrived; it is given as a pointer, so that a step
// allocates nothing, and may be used again afterwards.
type FrameIn struct {
	Link LinkID
	// Src is the sender's address on the link, opaque to the core, which keeps
	// no reference to it.
	Src []byte
	// Data is the frame without the header of the link. The core opens it in
	// place. A piece that came before its turn the core keeps, and puts a buffer
	// of at least the same capacity in its place: after the step, Data[:cap] is
	// the caller's again, whichever it is.
	Data []byte
}

// LinkUp says that a local link can be used (again). Links start down.
type LinkUp struct{ Link LinkID }

// LinkDown says that a local link cannot be used.
type LinkDown struct{ Link LinkID }

// Send asks for a message to be carried to a peer; it is answered by exactly
// one SendDone. The core keeps Msg until then: the caller must not change it.
// It is given as a pointer, which the core does not keep.
type Send struct {
	// ID comes back in SendDone.
	ID uint64
	To NodeID
	// Msg is 0 to MaxMessage bytes.
	Msg []byte
}

// CoreAlive says that the gab core has just made a step. Heartbeats carry the
// time since the last CoreAlive (R19); give it at least once per heartbeat.
type CoreAlive struct{}

// Reset ends the connection with a peer, if there is one, on both sides; the
// next one is opened as soon as both have seen that.
type Reset struct {
	Node   NodeID
	Reason string
}

// SetTimer changes one timer; Name as in llttab, such as "peerinact".
type SetTimer struct {
	Name  string
	Value vclock.Duration
}

// InstallKey adds a cluster key to those that are accepted (rotation, R20).
type InstallKey struct{ Key Key }

// UseKey makes an installed key the one that own frames are sealed with.
type UseKey struct{ ID uint32 }

// DropKey removes a key that is not used for sending.
type DropKey struct{ ID uint32 }

// AddLink attaches a link while the core runs. Link is a number that is not in
// use; it must be the same on all systems. The link is down until LinkUp.
type AddLink struct {
	Link   LinkID
	Config LinkConfig
}

// RemoveLink detaches a link. What was under way on it goes over others.
type RemoveLink struct{ Link LinkID }

// SetLink changes the MTU of a link after the interface's changed, or, with MTU
// 0, its priority.
type SetLink struct {
	Link        LinkID
	LowPriority bool
	MTU         int
}

// SetAddress fixes a peer's address on a link; with Addr nil it is learned
// again.
type SetAddress struct {
	Node NodeID
	Link LinkID
	Addr []byte
}

// SetExclude ignores a node id, or no longer.
type SetExclude struct {
	Node    NodeID
	Exclude bool
}

// ResetCounters sets all counters to zero.
type ResetCounters struct{}

// Stop says farewell to every peer: they see PeerDown at once. Afterwards the
// core answers nothing but sends, which fail.
type Stop struct{}

func (Wake) event()       {}
func (*FrameIn) event()   {}
func (LinkUp) event()     {}
func (LinkDown) event()   {}
func (*Send) event()      {}
func (CoreAlive) event()  {}
func (Reset) event()      {}
func (SetTimer) event()   {}
func (InstallKey) event() {}
func (UseKey) event()     {}
func (DropKey) event()    {}
func (Stop) event()       {}

func (AddLink) event()       {}
func (RemoveLink) event()    {}
func (SetLink) event()       {}
func (SetAddress) event()    {}
func (SetExclude) event()    {}
func (ResetCounters) event() {}

func (Wake) String() string { return "wake" }
func (e *FrameIn) String() string {
	return fmt.Sprintf("frame-in link=%d src=%x len=%d", e.Link, e.Src, len(e.Data))
}
func (e LinkUp) String() string   { return fmt.Sprintf("link-up link=%d", e.Link) }
func (e LinkDown) String() string { return fmt.Sprintf("link-down link=%d", e.Link) }
func (e *Send) String() string {
	return fmt.Sprintf("send id=%d to=%d len=%d", e.ID, e.To, len(e.Msg))
}
func (CoreAlive) String() string { return "core-alive" }
func (e Reset) String() string   { return fmt.Sprintf("reset node=%d reason=%q", e.Node, e.Reason) }
func (e SetTimer) String() string {
	return fmt.Sprintf("set-timer name=%s value=%s", e.Name, e.Value)
}
func (e InstallKey) String() string { return fmt.Sprintf("install-key id=%08x", e.Key.ID()) }
func (e UseKey) String() string     { return fmt.Sprintf("use-key id=%08x", e.ID) }
func (e DropKey) String() string    { return fmt.Sprintf("drop-key id=%08x", e.ID) }
func (Stop) String() string         { return "stop" }

func (e AddLink) String() string {
	return fmt.Sprintf("add-link link=%d tag=%s low=%t disk=%t mtu=%d", e.Link, e.Config.Tag, e.Config.LowPriority, e.Config.HeartbeatOnly, e.Config.MTU)
}
func (e RemoveLink) String() string { return fmt.Sprintf("remove-link link=%d", e.Link) }
func (e SetLink) String() string {
	return fmt.Sprintf("set-link link=%d low=%t mtu=%d", e.Link, e.LowPriority, e.MTU)
}
func (e SetAddress) String() string {
	return fmt.Sprintf("set-address node=%d link=%d addr=%x", e.Node, e.Link, e.Addr)
}
func (e SetExclude) String() string {
	return fmt.Sprintf("set-exclude node=%d exclude=%t", e.Node, e.Exclude)
}
func (ResetCounters) String() string { return "reset-counters" }

// Effect is what a core wants done. The concrete types are below.
type Effect interface {
	effect()
	fmt.Stringer
}

// FrameOut is a frame to send. It may be lost or dropped without an answer. It
// belongs to the receiver of the effect; Core.Recycle takes it back, after
// which frames cost no allocation.
type FrameOut struct {
	Link LinkID
	// Dst is the receiver's address on the link; nil means broadcast.
	Dst []byte
	// Data is the frame without the header of the link.
	Data []byte
	// Urgent frames must never wait behind others (heartbeats).
	Urgent bool
}

// Deliver is one message from a peer, complete and in order. The struct is
// valid until the next Step; Msg belongs to the receiver.
type Deliver struct {
	From        NodeID
	Incarnation uint64
	Conn        uint64
	Msg         []byte
}

// PeerUp says that a connection with a peer is open.
type PeerUp struct {
	Node NodeID
	// Incarnation is what the peer's Config said: another one after each start.
	Incarnation uint64
	// Conn numbers the connections of this core, growing, never used again.
	// The two ends number their connections independently.
	Conn uint64
	// Messages is what the peer's user of the messages speaks; zero if its build
	// has not said, as the first release does not.
	Messages Formats
}

// PeerFormats says that the peer of an open connection said only now what its
// build speaks.
type PeerFormats struct {
	Node     NodeID
	Conn     uint64
	Messages Formats
}

// PeerDown says that a connection ended; it names the PeerUp that it closes.
type PeerDown struct {
	Node        NodeID
	Incarnation uint64
	Conn        uint64
	Reason      DownReason
	// Jeopardy is true if the last PeerLinks of the connection said so: the
	// peer had been seen over one link only before that one went too.
	Jeopardy bool
}

// DownReason is why a connection ended.
type DownReason uint8

// Reasons of PeerDown.
const (
	DownSilent   DownReason = iota + 1 // nothing heard on any link for peerinact
	DownStalled                        // its gab core made no step for peerinact (R19)
	DownClosed                         // it said farewell
	DownPeer                           // the other side saw the connection end
	DownRestart                        // another boot id answered for the node
	DownReset                          // Reset was given here
	DownOverflow                       // the queue to it grew beyond its bound
	DownStopped                        // Stop was given here
)

func (r DownReason) String() string {
	switch r {
	case DownSilent:
		return "silent"
	case DownStalled:
		return "stalled"
	case DownClosed:
		return "closed"
	case DownPeer:
		return "peer"
	case DownRestart:
		return "restart"
	case DownReset:
		return "reset"
	case DownOverflow:
		return "overflow"
	case DownStopped:
		return "stopped"
	}
	return "unknown"
}

// PeerLinks says over how many links an open peer is seen. It comes after
// PeerUp and whenever one of its values but LastHeard changes.
type PeerLinks struct {
	Node NodeID
	Conn uint64
	// Up is the number of links on which the peer is UP or in TROUBLE.
	Up int
	// Jeopardy is true if one link remains and it delivered a frame later than
	// the loss of the one before it plus Config.Stable: links lost within one
	// such window count as lost together.
	Jeopardy bool
	// Since is when Up took its value.
	Since vclock.Time
	// LastHeard is when the last valid frame came, on any link.
	LastHeard vclock.Time
}

// PeerStalled says that an open peer's gab core makes no steps although its
// heartbeats come (R19), or that it does again.
type PeerStalled struct {
	Node    NodeID
	Conn    uint64
	Stalled bool
}

// PeerDisk says whether a peer must be taken as alive by what the disk regions
// say, whatever the network says. Once the peer was heard there alone, its
// silence takes nothing back: a lost disk and a lost system look alike then
// (R16). It is taken back when silence on the disk comes with that on the
// network, and when another boot id of the node is proven.
type PeerDisk struct {
	Node        NodeID
	Incarnation uint64
	Seen        bool
}

// SendDone answers one Send. The struct is valid until the next Step.
type SendDone struct {
	ID uint64
	To NodeID
	// Failed is true if the connection ended (or never was) before the peer's
	// acknowledgement; false means that the peer has delivered it.
	Failed bool
}

// SendBlocked asks the user to send no more to a peer until SendReady. What is
// sent all the same is queued up to a bound, beyond which the connection ends.
type SendBlocked struct{ Node NodeID }

// SendReady ends SendBlocked. It also ends with PeerDown, without SendReady.
type SendReady struct{ Node NodeID }

// KeyAdopted says that own frames are sealed with Config.NextKey from now on:
// an authentic frame under it had come.
type KeyAdopted struct{ ID uint32 }

// DuplicateNode says that another live system with this core's own node id
// answered a challenge. Noted once per boot id.
type DuplicateNode struct {
	Link LinkID
	Src  []byte
}

// Note is something that people should know: Code is stable, Attrs are
// "name=value" words. Each cause is noted once, or once per peer.
type Note struct {
	Code  string
	Attrs []string
}

func (*FrameOut) effect()     {}
func (*Deliver) effect()      {}
func (PeerUp) effect()        {}
func (PeerDown) effect()      {}
func (PeerLinks) effect()     {}
func (PeerStalled) effect()   {}
func (PeerFormats) effect()   {}
func (PeerDisk) effect()      {}
func (*SendDone) effect()     {}
func (SendBlocked) effect()   {}
func (SendReady) effect()     {}
func (DuplicateNode) effect() {}
func (KeyAdopted) effect()    {}
func (Note) effect()          {}

func (e *FrameOut) String() string {
	dst := "broadcast"
	if e.Dst != nil {
		dst = fmt.Sprintf("%x", e.Dst)
	}
	return fmt.Sprintf("frame-out link=%d dst=%s len=%d", e.Link, dst, len(e.Data))
}
func (e *Deliver) String() string {
	return fmt.Sprintf("deliver from=%d conn=%d len=%d", e.From, e.Conn, len(e.Msg))
}
func (e PeerUp) String() string {
	s := fmt.Sprintf("peer-up node=%d incarnation=%x conn=%d", e.Node, e.Incarnation, e.Conn)
	if e.Messages.Highest > 1 {
		s += fmt.Sprintf(" messages=%d-%d", e.Messages.Lowest, e.Messages.Highest)
	}
	return s
}
func (e PeerDown) String() string {
	return fmt.Sprintf("peer-down node=%d incarnation=%x conn=%d reason=%s jeopardy=%t", e.Node, e.Incarnation, e.Conn, e.Reason, e.Jeopardy)
}
func (e PeerLinks) String() string {
	return fmt.Sprintf("peer-links node=%d up=%d jeopardy=%t", e.Node, e.Up, e.Jeopardy)
}
func (e PeerFormats) String() string {
	return fmt.Sprintf("peer-formats node=%d conn=%d messages=%d-%d", e.Node, e.Conn, e.Messages.Lowest, e.Messages.Highest)
}
func (e PeerStalled) String() string {
	return fmt.Sprintf("peer-stalled node=%d stalled=%t", e.Node, e.Stalled)
}
func (e PeerDisk) String() string {
	return fmt.Sprintf("peer-disk node=%d seen=%t", e.Node, e.Seen)
}
func (e *SendDone) String() string {
	return fmt.Sprintf("send-done id=%d to=%d failed=%t", e.ID, e.To, e.Failed)
}
func (e SendBlocked) String() string { return fmt.Sprintf("send-blocked node=%d", e.Node) }
func (e SendReady) String() string   { return fmt.Sprintf("send-ready node=%d", e.Node) }
func (e KeyAdopted) String() string  { return fmt.Sprintf("key-adopted id=%08x", e.ID) }
func (e DuplicateNode) String() string {
	return fmt.Sprintf("duplicate-node link=%d src=%x", e.Link, e.Src)
}
func (e Note) String() string {
	s := "note " + e.Code
	for _, a := range e.Attrs {
		s += " " + a
	}
	return s
}
