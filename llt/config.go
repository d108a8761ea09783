package llt

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// Key is a cluster key: a secret that all systems share. Whoever holds it can
// pose as any system of the cluster (R20).
type Key = frame.Key

// Config is what a core is made from; every field is read by New only.
type Config struct {
	// Cluster is the cluster id; frames of others are refused.
	Cluster uint16
	// Node is this system's number.
	Node NodeID
	// Incarnation names this start of the daemon for the users of the peers.
	Incarnation uint64
	// Links in the order of llttab, 1 to MaxLinks of them, numbered alike on
	// all systems. With one only, every peer is in jeopardy.
	Links []LinkConfig
	// Peers are the node ids that are expected (llthosts); others are accepted
	// too unless Exclude has them. While one is missing, discovery is frequent.
	Peers []NodeID
	// Exclude are node ids that are ignored.
	Exclude []NodeID
	// Timers; the zero value means Profiles' "default".
	Timers Timers
	// Key seals the own frames; nil means that frames are neither encrypted
	// nor authenticated, which must be an explicit choice of the administrator.
	Key Key
	// NextKey, if set, is a key that a rotation had installed here when this
	// system stopped: it is accepted, and used as soon as an authentic frame
	// shows that the others use it.
	NextKey Key
	// OldKeys were in use before the last rotations. Nothing under them counts;
	// they only tell a system that was down meanwhile from an intruder.
	OldKeys []Key
	// Messages is what the user of the messages speaks: its formats are told to
	// every peer's, by PeerUp. The zero value means that it has but one.
	Messages Formats
	// Frames stands in for older and newer builds in tests; the zero value means
	// what this build speaks.
	Frames Formats
	// BootID is 256 random bits, fresh for each start (R20).
	BootID [32]byte
	// Seed is 256 random bits that the nonces of challenges are drawn from.
	Seed [32]byte
}

// LinkConfig is one link.
type LinkConfig struct {
	// Tag names it in messages.
	Tag string
	// LowPriority links carry heartbeats at half rate, and data only when no
	// other link to a peer is left.
	LowPriority bool
	// MTU is the largest frame in bytes, without the header of the link:
	// MinMTU to MaxMTU.
	MTU int
	// NoBroadcast is true if the link reaches only the addresses in Peers.
	NoBroadcast bool
	// HeartbeatOnly is true for a disk region: a beacon for everybody goes there
	// once per HeartbeatLow, and nothing else. It proves that a peer lives, but
	// opens no connection to it (R16).
	HeartbeatOnly bool
	// Peers are addresses that the configuration fixed (set-addr).
	Peers []PeerAddress
}

// Bounds of LinkConfig.MTU, in bytes.
const (
	MinMTU = 576
	MaxMTU = 65507
)

// PeerAddress is where a peer is on a link.
type PeerAddress struct {
	Node NodeID
	Addr []byte
}

// Timers are lengths of time, in llttab in units of 10 ms.
type Timers struct {
	// Heartbeat is the time between two heartbeats on a link; HeartbeatLow
	// holds for low-priority links.
	Heartbeat, HeartbeatLow vclock.Duration
	// PeerTrouble is the silence after which a link to a peer is in TROUBLE
	// and carries no data; PeerTroubleLow holds for low-priority links.
	PeerTrouble, PeerTroubleLow vclock.Duration
	// PeerInact is the silence after which a link to a peer is DOWN, and the
	// peer with its last link. More than PeerTrouble.
	PeerInact vclock.Duration
	// Stall is the age of a peer's gab core beyond which it is shown STALLED
	// (R19); beyond PeerInact it is DOWN.
	Stall vclock.Duration
	// Retrans is the longest time until a frame without acknowledgement is
	// sent again; the core adapts to the round trips below that.
	Retrans vclock.Duration
	// Stable is GAB's stable time: links lost within it count as lost together.
	Stable vclock.Duration
}

const tick = 10 * time.Millisecond

// Profiles are the names of `set-profile`.
func Profiles() []string { return []string{"default", "vcs", "fast", "experimental"} }

// Profile returns the timers of `set-profile NAME`. "fast" sees a crash within
// 100 ms and needs real-time priority. "experimental" shows how low it goes;
// docs/operating/detection.md says where it gives false alarms.
func Profile(name string) (Timers, bool) {
	switch name {
	case "default":
		return Timers{
			Heartbeat: 10 * tick, HeartbeatLow: 20 * tick,
			PeerTrouble: 30 * tick, PeerTroubleLow: 45 * tick, PeerInact: 60 * tick,
			Stall: 30 * tick, Retrans: 10 * tick, Stable: 20 * time.Millisecond,
		}, true
	case "vcs":
		return Timers{
			Heartbeat: 50 * tick, HeartbeatLow: 100 * tick,
			PeerTrouble: 200 * tick, PeerTroubleLow: 400 * tick, PeerInact: 1600 * tick,
			Stall: 200 * tick, Retrans: 10 * tick, Stable: 5 * time.Second,
		}, true
	case "fast":
		return Timers{
			Heartbeat: tick, HeartbeatLow: 2 * tick,
			PeerTrouble: 4 * tick, PeerTroubleLow: 6 * tick, PeerInact: 8 * tick,
			Stall: 4 * tick, Retrans: 3 * tick, Stable: 10 * time.Millisecond,
		}, true
	case "experimental":
		return Timers{
			Heartbeat: 4 * time.Millisecond, HeartbeatLow: 8 * time.Millisecond,
			PeerTrouble: 12 * time.Millisecond, PeerTroubleLow: 18 * time.Millisecond, PeerInact: 24 * time.Millisecond,
			Stall: 12 * time.Millisecond, Retrans: tick, Stable: 4 * time.Millisecond,
		}, true
	}
	return Timers{}, false
}

// TimerNames lists the timers that SetTimer knows, in the order of `lltconfig
// -T query`.
func TimerNames() []string {
	return []string{"heartbeat", "heartbeatlo", "peertrouble", "peertroublelo", "peerinact", "stall", "retrans", "stable"}
}

// Get returns a timer by its name in llttab; false if there is none.
func (t *Timers) Get(name string) (vclock.Duration, bool) {
	if p := t.field(name); p != nil {
		return *p, true
	}
	return 0, false
}

// Set changes a timer by its name in llttab; false if there is none.
func (t *Timers) Set(name string, v vclock.Duration) bool {
	p := t.field(name)
	if p == nil {
		return false
	}
	*p = v
	return true
}

func (t *Timers) field(name string) *vclock.Duration {
	switch name {
	case "heartbeat":
		return &t.Heartbeat
	case "heartbeatlo":
		return &t.HeartbeatLow
	case "peertrouble":
		return &t.PeerTrouble
	case "peertroublelo":
		return &t.PeerTroubleLow
	case "peerinact":
		return &t.PeerInact
	case "stall":
		return &t.Stall
	case "retrans":
		return &t.Retrans
	case "stable":
		return &t.Stable
	}
	return nil
}

// Validate says what is wrong with the timers and what would be right.
func (t Timers) Validate() error {
	for _, name := range TimerNames() {
		if v, _ := t.Get(name); v <= 0 || v > 24*time.Hour {
			return fmt.Errorf("timer %s: %s is out of range; it must be at least 1 tick of 10 ms and at most a day", name, v)
		}
	}
	if t.PeerTrouble >= t.PeerInact || t.PeerTroubleLow >= t.PeerInact {
		return fmt.Errorf("timer peerinact: %s must be more than peertrouble (%s) and peertroublelo (%s)", t.PeerInact, t.PeerTrouble, t.PeerTroubleLow)
	}
	if t.Heartbeat*2 > t.PeerTrouble || t.HeartbeatLow*2 > t.PeerTroubleLow {
		return fmt.Errorf("timer peertrouble: %s and peertroublelo: %s must be at least two heartbeats (%s, %s)", t.PeerTrouble, t.PeerTroubleLow, t.Heartbeat, t.HeartbeatLow)
	}
	return nil
}

// Validate says what is wrong with the configuration.
func (c *Config) Validate() error {
	if c.Node >= MaxNodes {
		return fmt.Errorf("node id %d: out of range; it must be 0 to %d", c.Node, MaxNodes-1)
	}
	if len(c.Links) == 0 || len(c.Links) > MaxLinks {
		return fmt.Errorf("links: %d configured; 1 to %d are possible, 2 are needed against permanent jeopardy", len(c.Links), MaxLinks)
	}
	if !slices.ContainsFunc(c.Links, func(l LinkConfig) bool { return !l.HeartbeatOnly }) {
		return fmt.Errorf("links: disk regions alone carry no messages; configure at least one network link, two against jeopardy")
	}
	for _, l := range c.Links {
		if l.MTU < MinMTU || l.MTU > MaxMTU {
			return fmt.Errorf("link %s: MTU %d is out of range; it must be %d to %d", l.Tag, l.MTU, MinMTU, MaxMTU)
		}
		for _, p := range l.Peers {
			if p.Node >= MaxNodes {
				return fmt.Errorf("link %s: node id %d of set-addr is out of range", l.Tag, p.Node)
			}
		}
	}
	for _, n := range c.Peers {
		if n >= MaxNodes {
			return fmt.Errorf("peer %d: out of range; node ids are 0 to %d", n, MaxNodes-1)
		}
	}
	return c.Timers.Validate()
}
