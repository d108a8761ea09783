package llt

import "github.com/evenkeel/evenkeel/internal/vclock"

// The counters, in the order of counterNames.
const (
	cntSndData = iota
	cntSndRetransmit
	cntSndHeartbeat
	cntSndAck
	cntSndPiggyback
	cntRcvData
	cntRcvDuplicate
	cntRcvOutOfSequence
	cntRcvOutOfWindow
	cntRcvHeartbeat
	cntLoopback
	cntSndNotConnected
	cntNotProven
	cntUnconfigured
	cntBadDest
	cntBadGeneration
	cntMalformed
	cntNotAuthentic
	cntReplayed
	cntForeign
	cntCrossLink
	cntDuplicateNode
	cntLate
	counterCount
)

var counterNames = [counterCount]string{
	"Snd data packets", "Snd retransmit data", "Snd heartbeats", "Snd independent ACKs", "Snd piggyback ACKs",
	"Rcv data packets", "Rcv duplicates", "Rcv out of sequence", "Rcv out of window", "Rcv heartbeats",
	"Rcv loopback packets", "Snd not connected", "Rcv not connected", "Rcv unconfigured", "Rcv bad dest address",
	"Rcv bad generation", "Rcv malformed packet", "Rcv not authentic", "Rcv replayed", "Rcv foreign cluster",
	"Rcv cross link", "Rcv duplicate node", "Timer late",
}

// Counter is one number with its name as lltstat prints it.
type Counter struct {
	Name  string
	Value uint64
}

// Counters lists the counters since the start, always in the same order.
func (c *Core) Counters() []Counter {
	out := make([]Counter, counterCount)
	for i, n := range counterNames {
		out[i] = Counter{Name: n, Value: c.counters[i]}
	}
	return out
}

// PeerState is the state of a peer.
type PeerState uint8

// States of a peer.
const (
	StateConnWait PeerState = iota // no connection; may never have been heard
	StateOpen
	StateTrouble // open, and silent on every link for peertrouble
	StateDown    // was heard once, silent for peerinact now, or stalled for as long (R19)
)

func (s PeerState) String() string {
	switch s {
	case StateOpen:
		return "OPEN"
	case StateTrouble:
		return "TROUBLE"
	case StateDown:
		return "DOWN"
	}
	return "CONNWAIT"
}

// PeerInfo is a peer as lltstat shows it.
type PeerInfo struct {
	Node        NodeID
	State       PeerState
	Incarnation uint64 // 0 if unknown
	Conn        uint64 // 0 if not open
	Stalled     bool
	Jeopardy    bool
	// Queued is the number of bytes that wait to be sent; Held counts also what
	// was sent and is kept until the peer acknowledges it.
	Queued, Held int
	// Unreachable is true if it is alive by what a disk region says, and heard
	// over no network link (R16).
	Unreachable bool
	Links       []PeerLinkInfo
}

// PeerLinkInfo is a peer on one link.
type PeerLinkInfo struct {
	State LinkState
	// Addr is nil if the address is unknown.
	Addr []byte
	// Age is the time since the last valid frame, -1 if there was none.
	Age vclock.Duration
	// Frames and bytes to and from the peer over this link, broadcast not
	// counted.
	TxFrames, TxBytes, RxFrames, RxBytes uint64
	// Resent are data frames that were sent again because this link lost them
	// or was too slow, on whatever link. Missed are heartbeats that were due
	// and did not come while the link counted as up.
	Resent, Missed uint64
	// RTT is the smoothed round trip of data frames, 0 before the first; Jitter
	// its mean deviation.
	RTT, Jitter vclock.Duration
	// LossPermille is how many of a thousand data frames that were sent over the
	// link were lost, of late.
	LossPermille int
	// PathMTU is the largest frame that the way passes, 0 if it is the link's.
	PathMTU int
}

// Peers lists the peers that are configured or were heard of, by node id,
// without this system. The result may be kept.
func (c *Core) Peers(now vclock.Time) []PeerInfo {
	var out []PeerInfo
	for _, p := range c.peers {
		if p == nil {
			continue
		}
		info := PeerInfo{Node: p.id, State: c.stateOf(p), Incarnation: p.who.incarnation, Stalled: p.stalled, Jeopardy: p.jeopardy, Queued: p.tx.queued, Held: p.tx.held, Unreachable: c.unreachable(p)}
		if p.open {
			info.Conn = p.conn
		}
		for i := range p.links {
			pl := &p.links[i]
			li := PeerLinkInfo{
				State: pl.state, Addr: append([]byte(nil), pl.addr...), Age: -1,
				TxFrames: pl.txFrames, TxBytes: pl.txBytes, RxFrames: pl.rxFrames, RxBytes: pl.rxBytes,
				Resent: pl.resent, Missed: pl.missed, RTT: pl.rtt, Jitter: pl.jitter, LossPermille: pl.loss(), PathMTU: pl.limit,
			}
			if pl.heard {
				li.Age = max(now.Sub(pl.lastHeard), 0)
			}
			info.Links = append(info.Links, li)
		}
		out = append(out, info)
	}
	return out
}

func (c *Core) stateOf(p *peer) PeerState {
	best := LinkStateDown
	for i := range p.links {
		if !c.links[i].HeartbeatOnly {
			best = max(best, p.links[i].state)
		}
	}
	switch {
	case p.open && best == LinkStateUp:
		return StateOpen
	case p.open:
		return StateTrouble
	case p.known && (best == LinkStateDown || p.stalled):
		return StateDown
	}
	return StateConnWait
}

// LinkInfo is a local link as lltstat -l shows it.
type LinkInfo struct {
	Tag                string
	LowPriority        bool
	Up                 bool
	MTU                int
	TxFrames, TxBytes  uint64
	RxFrames, RxBytes  uint64
	ConfiguredPeers    int
	BroadcastDiscovery bool
	HeartbeatOnly      bool
	// Absent is true for the number of a link that was removed.
	Absent bool
}

// Links lists the local links in the order of llttab.
func (c *Core) Links() []LinkInfo {
	out := make([]LinkInfo, len(c.links))
	for i := range c.links {
		l := &c.links[i]
		out[i] = LinkInfo{
			Tag: l.Tag, LowPriority: l.LowPriority, Up: l.up, MTU: l.MTU,
			TxFrames: l.txFrames, TxBytes: l.txBytes, RxFrames: l.rxFrames, RxBytes: l.rxBytes,
			ConfiguredPeers: len(l.LinkConfig.Peers), BroadcastDiscovery: !l.NoBroadcast,
			HeartbeatOnly: l.HeartbeatOnly, Absent: l.absent,
		}
	}
	return out
}

// Timers are the timers in force.
func (c *Core) Timers() Timers { return c.timers }

// Encrypted reports whether frames are encrypted and authenticated.
func (c *Core) Encrypted() bool { return c.sealer != nil }
