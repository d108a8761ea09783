package llt

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
	"github.com/evenkeel/evenkeel/llt/replay"
)

// frameIn takes a frame that somebody sent. Whatever is wrong with it is
// counted, noted once per cause, and has no other consequence.
func (c *Core) frameIn(e *FrameIn) {
	if c.stopped || int(e.Link) >= len(c.links) {
		return
	}
	if c.links[e.Link].absent {
		return
	}
	data := e.Data
	h, n, err := frame.Parse(data)
	if err != nil {
		c.refuse(e.Link, -1, err)
		return
	}
	if h.Cluster != c.cfg.Cluster {
		c.counters[cntForeign]++
		c.trouble("foreign-cluster", int(e.Link), int(h.Src), addrText(e.Src), fmt.Sprintf("cluster %d", h.Cluster))
		c.noteOnce("foreign-cluster", c.linkAttr(e.Link), fmt.Sprintf("cluster=%d", h.Cluster))
		return
	}
	if h.Link != uint8(e.Link) {
		c.counters[cntCrossLink]++
		c.trouble("cross-link", int(e.Link), int(h.Src), addrText(e.Src), fmt.Sprintf("link %d there", h.Link))
		c.noteOnce("cross-link", c.linkAttr(e.Link), fmt.Sprintf("node=%d", h.Src), fmt.Sprintf("their-link=%d", h.Link))
		return
	}
	if h.Dst != frame.ToAll && h.Dst != uint8(c.cfg.Node) {
		c.counters[cntBadDest]++
		return
	}
	p := c.peer(NodeID(h.Src))
	switch {
	case NodeID(h.Src) == c.cfg.Node:
		if h.BootTag == frame.Tag(c.cfg.BootID) {
			c.counters[cntLoopback]++
			return
		}
		p = &c.self
	case p == nil:
		c.counters[cntUnconfigured]++
		c.trouble("excluded", int(e.Link), int(h.Src), addrText(e.Src), "")
		return
	}
	if (h.Kind == frame.KindBeacon) != c.links[e.Link].HeartbeatOnly {
		c.refuse(e.Link, int(h.Src), frame.ErrKind)
		return
	}
	c.fromPeer(p, e, h, n, data)
}

func (c *Core) fromPeer(p *peer, e *FrameIn, h frame.Header, n int, data []byte) {
	proven := p.known && p.matches(h)
	if !proven && !h.Kind.WithBoot() {
		c.counters[cntNotProven]++ // R20: not even a heartbeat counts
		c.trouble("not-proven", int(e.Link), int(h.Src), "", "")
		return
	}
	if proven && !p.links[e.Link].window.Fresh(h.Counter) {
		c.counters[cntReplayed]++
		c.trouble("replayed", int(e.Link), int(h.Src), "", "")
		c.noteOnce("replayed", c.linkAttr(e.Link), fmt.Sprintf("node=%d", h.Src))
		return
	}
	who := &p.who
	if !proven {
		if p.isRetired(h.Boot) {
			c.counters[cntReplayed]++
			c.trouble("old-boot-id", int(e.Link), int(h.Src), addrText(e.Src), "")
			c.noteOnce("old-boot-id", c.linkAttr(e.Link), fmt.Sprintf("node=%d", h.Src))
			return
		}
		who = &p.cand
		if !p.candidate || who.boot != h.Boot {
			who = &identity{boot: h.Boot}
		}
	}
	body, err := c.open(p, who, h, n, data)
	if err != nil {
		if errors.Is(err, errUnknownKey) {
			c.strangeKey(e, h, n)
		} else {
			c.refuse(e.Link, int(h.Src), err)
		}
		return
	}
	c.adoptKey(h.KeyID)
	if proven {
		if !p.links[e.Link].window.Accept(h.Counter) {
			return
		}
		c.heard(p, e.Link, e.Src)
	} else if who != &p.cand {
		p.candidate, p.cand, p.candNonce, p.candAskedAt = true, *who, c.nonce(), 0
	}
	l := &c.links[e.Link]
	l.rxFrames++
	l.rxBytes += uint64(len(e.Data))
	if int(e.Link) < len(p.links) {
		p.links[e.Link].rxFrames++
		p.links[e.Link].rxBytes += uint64(len(e.Data))
	}
	c.dispatch(p, e, h, body, proven)
}

func (c *Core) dispatch(p *peer, e *FrameIn, h frame.Header, body []byte, proven bool) {
	switch h.Kind {
	case frame.KindHello:
		m, err := frame.ParseHello(body)
		if err != nil {
			c.refuse(e.Link, int(h.Src), err)
			return
		}
		if !proven {
			p.cand.incarnation = m.Incarnation
			c.challenge(p, e.Link, e.Src)
		}
	case frame.KindHandshake:
		m, err := frame.ParseHandshake(body)
		if err != nil {
			c.refuse(e.Link, int(h.Src), err)
			return
		}
		c.handshakeIn(p, e, m, proven)
	case frame.KindBeacon:
		m, err := frame.ParseBeacon(body)
		if err != nil {
			c.refuse(e.Link, int(h.Src), err)
			return
		}
		c.beaconIn(p, e, m, proven)
	case frame.KindFormats:
		m, err := frame.ParseFormats(body)
		if err != nil {
			c.refuse(e.Link, int(h.Src), err)
			return
		}
		c.formatsIn(p, e.Link, m)
	default:
		s, rest, err := frame.ParseStatus(body)
		if err != nil || s.OwnEpoch == 0 || (h.Kind != frame.KindData && h.Kind != frame.KindPart && len(rest) > 0) {
			c.refuse(e.Link, int(h.Src), frame.ErrBody)
			return
		}
		c.statusIn(p, e, h.Kind, s, rest)
	}
}

// matches reports whether a frame claims the boot id that was proven.
func (p *peer) matches(h frame.Header) bool {
	if h.Kind.WithBoot() {
		return h.Boot == p.who.boot
	}
	return h.BootTag == frame.Tag(p.who.boot)
}

func (c *Core) open(p *peer, who *identity, h frame.Header, n int, data []byte) ([]byte, error) {
	if len(c.keys) == 0 {
		return frame.Open(data, h, n, nil)
	}
	if h.KeyID == 0 {
		return nil, frame.ErrClear
	}
	s := c.sealerOf(p.id, who, h.KeyID)
	if s == nil {
		return nil, errUnknownKey
	}
	return frame.Open(data, h, n, s)
}

var errUnknownKey = errors.New("frame is sealed with an unknown key")

// refuse counts a frame that is no good. node is who it says that it is from,
// -1 if it does not say.
func (c *Core) refuse(l LinkID, node int, err error) {
	cause := "malformed"
	switch {
	case errors.Is(err, frame.ErrAuth):
		cause = "not-authentic"
	case errors.Is(err, frame.ErrClear), errors.Is(err, frame.ErrSealed):
		cause = "clear"
	case errors.Is(err, errUnknownKey):
		cause = "unknown-key"
	}
	if cause == "malformed" {
		c.counters[cntMalformed]++
	} else {
		c.counters[cntNotAuthentic]++
	}
	c.trouble(cause, int(l), node, "", err.Error())
	c.noteOnce("frame-refused", c.linkAttr(l), fmt.Sprintf("cause=%q", err))
}

func (p *peer) isRetired(boot [frame.BootSize]byte) bool {
	for _, r := range p.retired {
		if r == boot {
			return true
		}
	}
	return false
}

func (p *peer) retire(boot [frame.BootSize]byte) {
	p.retired[p.retiredAt%len(p.retired)] = boot
	p.retiredAt++
}

// challenge asks a candidate to prove that it lives, at most once per half
// heartbeat.
func (c *Core) challenge(p *peer, l LinkID, src []byte) {
	if p.candAskedAt != 0 && c.now.Sub(p.candAskedAt) < c.timers.Heartbeat/2 {
		return
	}
	p.candAskedAt = c.now
	c.sendHandshake(p.id, l, src, p.candNonce, frame.Nonce{})
}

func (c *Core) sendHandshake(to NodeID, l LinkID, dst []byte, challenge, answer frame.Nonce) {
	c.beatsOld = true // the receiver will refuse what was lent before
	m := frame.Handshake{Incarnation: c.cfg.Incarnation, Challenge: challenge, Answer: answer, Links: uint8(len(c.links))}
	for i := range c.links {
		m.Counters[i] = c.links[i].counter
	}
	c.frameOut(uint8(to), l, dst, frame.KindHandshake, m.Append(nil), true)
}

// handshakeIn answers a challenge, takes an answer, or both.
func (c *Core) handshakeIn(p *peer, e *FrameIn, m frame.Handshake, proven bool) {
	if !proven && p.candidate {
		p.cand.incarnation = m.Incarnation
		if m.Answer != (frame.Nonce{}) && m.Answer == p.candNonce {
			c.proven(p, e, m)
			proven = p.known && !p.candidate
		}
	}
	if m.Challenge == (frame.Nonce{}) {
		return
	}
	var back frame.Nonce
	if !proven && p.candidate {
		back = p.candNonce
		p.candAskedAt = c.now
	}
	c.sendHandshake(p.id, e.Link, e.Src, back, m.Challenge)
}

// proven takes a candidate whose boot id answered a fresh challenge.
func (c *Core) proven(p *peer, e *FrameIn, m frame.Handshake) {
	p.candidate = false
	if p == &c.self {
		p.retire(p.cand.boot)
		c.counters[cntDuplicateNode]++
		c.trouble("duplicate-node", int(e.Link), int(p.id), addrText(e.Src), "")
		c.note("duplicate-node", c.linkAttr(e.Link), fmt.Sprintf("node=%d", p.id), fmt.Sprintf("src=%x", e.Src))
		c.emit(DuplicateNode{Link: e.Link, Src: bytes.Clone(e.Src)})
		return
	}
	if p.known && c.now.Sub(p.lastSeen()) < c.timers.PeerTrouble {
		// Either the node was started again, then the old boot id is silent and
		// the next hello succeeds; or two systems of one node id are alive:
		// the first one stays.
		p.rival = frame.Tag(p.cand.boot)
		return
	}
	if p.open {
		c.closeConn(p, DownRestart)
	}
	if p.known {
		p.retire(p.who.boot)
	}
	p.known, p.who, p.peerEpoch, p.stalled, p.rival, p.speech = true, p.cand, 0, false, 0, speech{}
	p.cand = identity{}
	c.beatsOld = true
	c.freshDisk(p)
	for i := range p.links {
		pl := &p.links[i]
		pl.window = replay.Window{}
		pl.window.Raise(m.Counters[i])
		if !c.links[i].HeartbeatOnly {
			c.links[i].helloAt = c.now // it should see us on every link soon
		}
	}
	p.links[e.Link].window.Raise(m.Counters[e.Link] + 1) // the handshake itself
	c.note("peer-proven", fmt.Sprintf("node=%d", p.id), fmt.Sprintf("peer_incarnation=%x", p.who.incarnation))
	c.heard(p, e.Link, e.Src)
	c.kick(p)
}

// heard counts a valid frame as proof of life on a link.
func (c *Core) heard(p *peer, l LinkID, src []byte) {
	pl := &p.links[l]
	if c.links[l].HeartbeatOnly {
		c.heardDisk(p, l)
		return
	}
	if !pl.static && !bytes.Equal(pl.addr, src) {
		pl.addr, c.beatsOld = bytes.Clone(src), true
	}
	if hb := c.heartbeatOf(l); pl.state == LinkStateUp || pl.state == LinkStateTrouble {
		// The peer sends one at least each hb; half of it is for the way.
		if gap := c.now.Sub(pl.lastHeard); gap > hb+hb/2 {
			pl.missed += uint64((gap - hb/2) / hb)
		}
	}
	p.lastHeard, pl.lastHeard = c.now, c.now
	if p.rival != 0 && !p.candidate {
		c.counters[cntDuplicateNode]++
		c.trouble("duplicate-peer", int(l), int(p.id), "", fmt.Sprintf("boot id %08x", p.rival))
		c.noteOnce("duplicate-peer", c.linkAttr(l), fmt.Sprintf("node=%d", p.id), fmt.Sprintf("boot=%08x", p.rival))
	}
	p.rival = 0
	first := !pl.heard || pl.state == LinkStateDown
	pl.heard = true
	if !c.links[l].up {
		return
	}
	if pl.state != LinkStateUp {
		c.setLinkState(p, l, LinkStateUp)
	}
	if first { // the peer need not wait for the next heartbeat to see us here
		c.status(p, l, frame.KindHeartbeat)
	}
	if p.open && p.up == 1 && !p.disk.up && !p.jeopardy && c.now.Sub(p.upSince) > c.timers.Stable {
		p.jeopardy = true
		c.emitLinks(p)
	}
}

// statusIn takes what heartbeat, data and farewell have in common, then the
// data.
func (c *Core) statusIn(p *peer, e *FrameIn, kind frame.Kind, s frame.Status, rest []byte) {
	if kind == frame.KindFarewell {
		c.farewell(p)
		return
	}
	if kind == frame.KindHeartbeat {
		c.counters[cntRcvHeartbeat]++
	}
	if !c.epochs(p, s) {
		return
	}
	c.coreAge(p, vclock.Duration(s.AgeMs)*1e6)
	if !p.open || s.PeerEpoch != p.ownEpoch {
		return
	}
	c.acked(p, s)
	if !p.open {
		return
	}
	switch kind {
	case frame.KindData:
		number, piece, err := frame.ParseData(rest)
		if err != nil {
			c.refuse(e.Link, int(p.id), err)
			return
		}
		c.dataIn(p, e, number, piece)
	case frame.KindPart:
		part, data, err := frame.ParsePart(rest)
		if err != nil {
			c.refuse(e.Link, int(p.id), err)
			return
		}
		c.partIn(p, part, data)
	}
}

// epochs brings the connection into the state that both ends know of. It
// reports whether the status is of the peer's current epoch.
//
// Each end numbers its connections: the epoch grows whenever one ends. A
// connection is a pair of epochs, and an end that has opened one says so in
// every frame. An end whose peer names a newer epoch than that of the open
// connection knows that the peer saw it end, and ends it too, before it can
// open the next: so PeerDown comes on both sides before either's next PeerUp.
func (c *Core) epochs(p *peer, s frame.Status) bool {
	if s.OwnEpoch < p.peerEpoch {
		c.counters[cntBadGeneration]++
		return false // overtaken on another link
	}
	if s.OwnEpoch > p.peerEpoch {
		p.peerEpoch, c.beatsOld = s.OwnEpoch, true
		if p.open {
			c.closeConn(p, DownPeer)
		}
	}
	age := vclock.Duration(s.AgeMs) * 1e6
	if !p.open && p.up > 0 && p.speech.fits(c.ownFrames()) && s.PeerEpoch == p.ownEpoch && age <= c.timers.Stall {
		c.openConn(p)
	}
	if s.PeerEpoch != p.ownEpoch && c.now.Sub(p.repliedAt) >= c.timers.Heartbeat/20 {
		p.repliedAt = c.now
		c.kick(p)
	}
	return true
}

// coreAge looks at the time since the peer's gab core last made a step (R19).
func (c *Core) coreAge(p *peer, age vclock.Duration) {
	p.coreAt = max(p.coreAt, c.now.Add(-age))
	if p.open && age > c.timers.PeerInact {
		c.closeConn(p, DownStalled)
	}
	if stalled := age > c.timers.Stall; stalled != p.stalled {
		p.stalled = stalled
		c.note("peer-stalled", fmt.Sprintf("node=%d", p.id), fmt.Sprintf("stalled=%t", stalled))
		if p.open {
			c.emit(PeerStalled{Node: p.id, Conn: p.conn, Stalled: stalled})
		}
	}
}

func (c *Core) farewell(p *peer) {
	if p.open {
		c.closeConn(p, DownClosed)
	}
	p.retire(p.who.boot)
	p.known, c.beatsOld = false, true
	for i := range p.links {
		p.links[i].state = LinkStateDown
	}
	c.countLinks(p)
	c.note("peer-closed", fmt.Sprintf("node=%d", p.id))
}
