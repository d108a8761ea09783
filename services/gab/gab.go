// Package gab is the pure core of GAB: membership of systems and ports, and
// atomic broadcast (docs/spec/gab.md is the protocol with its reasons).
//
// One Core is one incarnation of one system's gab. It is fed with what LLT and
// the local clients say and answers with what to send, deliver and persist; it
// has no clock, goroutine, randomness or I/O of its own. After a StandDown or
// Left effect it does nothing more: the shell ends the incarnation, and, if
// nothing protected runs here, begins a new one with New.
package gab

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// NodeID is an LLT node id, 0 to 63.
type NodeID uint8

// MaxNodes is the number of node ids.
const MaxNodes = 64

// Port is a port letter, 'a' to 'z'. Port a is the membership of systems
// itself and takes no clients; b is fencing, h is had.
type Port byte

// Well-known ports.
const (
	PortA Port = 'a'
	PortB Port = 'b'
	PortH Port = 'h'
)

func (p Port) String() string { return string(rune(p)) }

// Valid reports whether p is a letter that a client may register.
func (p Port) Valid() bool { return p >= 'b' && p <= 'z' }

// ViewID names one view for ever (R18).
type ViewID struct {
	Lineage     uint64 // random, drawn when the membership was seeded
	Counter     uint64 // generation; grows with every view
	Coordinator NodeID // system that installed the view
	Incarnation uint64 // of the coordinator
}

func (v ViewID) String() string {
	if v == (ViewID{}) {
		return "none"
	}
	return fmt.Sprintf("%x/%d.%d", v.Lineage, v.Counter, v.Coordinator)
}

// IsZero reports whether v names no view.
func (v ViewID) IsZero() bool { return v == ViewID{} }

// Member is one system of a view. Names are the shell's (llthosts).
type Member struct {
	Node        NodeID
	Incarnation uint64
	Jeopardy    bool
	// Unknown, in views of port b while the gate of port h is held: those whom
	// the gate waits for may not know this system, so it cannot answer for
	// them, except with an operator's word.
	Unknown bool
}

func (m Member) String() string {
	s := fmt.Sprintf("%d.%x", m.Node, m.Incarnation)
	if m.Jeopardy {
		s += "!"
	}
	if m.Unknown {
		s += "?"
	}
	return s
}

// Evidence is why a departed system is taken as gone (R1). The numbers are
// those of evenkeel.gab.v1.EvidenceKind.
type Evidence uint8

// Kinds of evidence.
const (
	EvidenceNone Evidence = iota
	EvidenceClean
	EvidencePoweredOff
	EvidenceCut
	EvidenceExpired
	EvidenceVouched
	EvidenceAssumed
)

var evidenceNames = [...]string{"none", "CLEAN", "POWERED_OFF", "CUT", "EXPIRED", "VOUCHED", "ASSUMED"}

func (e Evidence) String() string {
	if int(e) < len(evidenceNames) {
		return evidenceNames[e]
	}
	return fmt.Sprintf("evidence(%d)", uint8(e))
}

// strength orders evidence: a higher number replaces a lower one (R10).
func (e Evidence) strength() int {
	switch e {
	case EvidenceClean, EvidencePoweredOff, EvidenceExpired, EvidenceVouched:
		return 3
	case EvidenceCut:
		return 2
	case EvidenceAssumed:
		return 1
	}
	return 0
}

// Departed is one system that an earlier view had and this one has not.
type Departed struct {
	Member   Member
	Evidence Evidence
	Detail   string // for people: how the evidence was got
}

func (d Departed) String() string { return fmt.Sprintf("%s:%s", d.Member, d.Evidence) }

// Result is what became of a Send (R15). The numbers are those of
// evenkeel.gab.v1.SendResult.
type Result uint8

// Results of a Send.
const (
	ResultDelivered Result = 1 // every member has it and it was delivered here
	ResultLost      Result = 2 // nobody delivered it or ever will
	ResultUnknown   Result = 3 // this system left the view; others may have it
)

func (r Result) String() string {
	switch r {
	case ResultDelivered:
		return "DELIVERED"
	case ResultLost:
		return "LOST"
	case ResultUnknown:
		return "UNKNOWN"
	}
	return fmt.Sprintf("result(%d)", uint8(r))
}

// Config is what a core must know before it starts; New checks it.
type Config struct {
	Node        NodeID
	Incarnation uint64 // not 0, another one after every start
	// Lineage is a random number, not 0, used if this system seeds a
	// membership.
	Lineage uint64
	// SeedCount is how many systems, this one included, must be seen before
	// the membership seeds itself; 0: only join a seeded cluster.
	SeedCount int
	// FencingDisabled says that fencing.conf has mode disabled: no gate, and
	// evidence ASSUMED at once.
	FencingDisabled bool
	// PersistedCounter is what the last completed PersistCounter of this
	// system wrote, 0 if the file is lost.
	PersistedCounter uint64

	// Timers; 0 means the default of DefaultConfig.
	Stable         vclock.Duration // quiet time before a view change begins
	PeerInact      vclock.Duration // LLT's peerinact
	Lease          vclock.Duration // half of PeerInact
	AckTimeout     vclock.Duration // T_ack (R19), PeerInact
	FencingAbsence vclock.Duration // out of port b for so long leaves h (R10)

	// Flow control of each local port; 0 means the default.
	WindowMessages int // Sends accepted and not yet delivered, 256
	WindowBytes    int // their payload bytes, 4 MiB

	// Formats are the formats of messages that this build speaks; the zero value
	// means SpokenFormats. Tests stand in for older and newer builds with it.
	Formats Formats

	// For the harness of this package only.
	mutation mutation
	observe  func(pos uint64, e *entry) // called when a place was applied
}

// Defaults of Config.
const (
	DefaultStable         = 20 * time.Millisecond
	DefaultPeerInact      = 600 * time.Millisecond
	DefaultFencingAbsence = 2 * time.Second
	DefaultWindowMessages = 256
	DefaultWindowBytes    = 4 << 20
	// MaxSendBytes is the largest sum of payload bytes in one Send.
	MaxSendBytes = 1 << 20
	// MaxPayloads is the largest number of payloads in one Send.
	MaxPayloads = 256
	// counterReserve is how far ahead counters are reserved on disk (R18).
	counterReserve = 1000
)

// State is what a core does now.
type State uint8

// States of a core, as GetConfigurationResponse.state prints them.
const (
	StateUnseeded State = iota // no membership yet
	StateJoining               // takes part in a change that would admit it
	StateInView                // member of an installed view
	StateInDoubt               // membership in doubt, a view change is under way
	StateLeft                  // stood down or left; this core is finished
)

func (s State) String() string {
	return [...]string{"unseeded", "joining", "in view", "in doubt", "left"}[s]
}

// Status is a read-only summary for the shell.
type Status struct {
	State      State
	Seeded     bool
	View       ViewID   // last delivered view, zero before the first
	Systems    []Member // members of port a in that view, by node id
	Gate       Gate     // of port h; Held false if open
	WaitingFor string   // for people, "" if nothing
	// Protected says that something protected may be online here (R2).
	Protected bool
	Leaving   bool
	Format    int // of messages in this view; 0 before the first
}

// PortStatus is one port as this system sees it, a included.
type PortStatus struct {
	Port       Port
	Generation uint64   // of the port; 0 for a, whose generation is View.Counter
	View       ViewID   // in which the membership was last changed
	Members    []Member // by node id
	Visible    []Member // systems of port a without a client on this port
	Client     string   // name of the local client, "" if none
	Seq        uint64   // last sequence number given out on the port
}
