package llt

import (
	"fmt"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

func (c *Core) troubleOf(l LinkID) vclock.Duration {
	switch {
	case c.links[l].HeartbeatOnly:
		return c.timers.PeerTroubleLow + c.timers.HeartbeatLow
	case c.links[l].LowPriority:
		return c.timers.PeerTroubleLow
	}
	return c.timers.PeerTrouble
}

// inactOf is the silence after which a peer is DOWN on a link. A disk is given
// two heartbeats more: it is polled, and one slow request is no death.
func (c *Core) inactOf(l LinkID) vclock.Duration {
	if c.links[l].HeartbeatOnly {
		return c.timers.PeerInact + 2*c.timers.HeartbeatLow
	}
	return c.timers.PeerInact
}

// peerDeadline is when something about a peer becomes due.
func (c *Core) peerDeadline(p *peer) vclock.Time {
	at := vclock.Earlier(p.tx.rtoAt, p.rx.ackAt)
	if !p.open {
		at = vclock.Never
	}
	for i := range p.links {
		switch pl := &p.links[i]; pl.state {
		case LinkStateUp:
			at = vclock.Earlier(at, pl.lastHeard.Add(c.troubleOf(LinkID(i))))
		case LinkStateTrouble:
			at = vclock.Earlier(at, pl.lastHeard.Add(c.inactOf(LinkID(i))))
		}
	}
	if p.open && p.up == 0 {
		at = vclock.Earlier(at, p.lastHeard.Add(c.timers.PeerInact))
	}
	if p.open && p.stalled {
		at = vclock.Earlier(at, p.coreAt.Add(c.timers.PeerInact))
	}
	return at
}

// expire moves the links of a silent peer to TROUBLE and DOWN, and the peer to
// DOWN with its last link. A link that went down here is DOWN at once, but
// that alone proves nothing about the peer: it has peerinact to be heard.
func (c *Core) expire(p *peer) {
	for i := range p.links {
		pl := &p.links[i]
		silent := c.now.Sub(pl.lastHeard)
		if pl.state == LinkStateUp && silent >= c.troubleOf(LinkID(i)) {
			c.setLinkState(p, LinkID(i), LinkStateTrouble)
		}
		if pl.state == LinkStateTrouble && silent >= c.inactOf(LinkID(i)) {
			c.setLinkState(p, LinkID(i), LinkStateDown)
		}
	}
	if p.open && p.up == 0 && c.now.Sub(p.lastHeard) >= c.timers.PeerInact {
		c.closeConn(p, DownSilent)
	}
	// Who said that its core stands still is DOWN when that has lasted for
	// peerinact, whether or not another heartbeat says so in time (R19).
	if p.open && p.stalled && c.now.Sub(p.coreAt) >= c.timers.PeerInact {
		c.closeConn(p, DownStalled)
	}
}

// setLinkState changes the state of a peer on a link. Data in flight on a link
// that fails goes to another one at once.
func (c *Core) setLinkState(p *peer, l LinkID, s LinkState) {
	pl := &p.links[l]
	old := pl.state
	pl.state = s
	code := "link-active"
	switch s {
	case LinkStateTrouble:
		code = "link-trouble"
	case LinkStateDown:
		code = "link-expired"
	}
	c.note(code, c.linkAttr(l), fmt.Sprintf("node=%d", p.id))
	if (old == LinkStateDown) != (s == LinkStateDown) {
		c.countLinks(p)
	}
	if !p.open || c.links[l].HeartbeatOnly {
		return
	}
	if s == LinkStateUp {
		pl.shun = shun{}
		c.resumeStream(p)
	} else {
		c.moveStream(p, l)
	}
}

// countLinks counts the links on which the peer is seen, and tells.
func (c *Core) countLinks(p *peer) {
	up := 0
	for i := range p.links {
		if p.links[i].state != LinkStateDown && !c.links[i].HeartbeatOnly {
			up++
		}
	}
	disk := c.countDisks(p, up)
	if up == p.up && !disk {
		return
	}
	p.up, p.upSince = up, c.now
	if up > 1 || p.disk.up {
		p.jeopardy = false
	}
	if p.open {
		c.emitLinks(p)
	}
}

func (c *Core) emitLinks(p *peer) {
	c.emit(PeerLinks{Node: p.id, Conn: p.conn, Up: p.up, Jeopardy: p.jeopardy, Since: p.upSince, LastHeard: p.lastHeard})
}

func (c *Core) openConn(p *peer) {
	c.conns++
	c.beatsOld = true
	p.open, p.conn, p.upSince = true, c.conns, c.now
	p.jeopardy = p.up == 1 && c.channels() == 1
	p.tx, p.rx = newSendStream(), newRecvStream()
	for i := range p.links {
		p.links[i].order, p.links[i].acked = 0, 0
		p.links[i].path, p.links[i].shun = path{}, shun{}
	}
	c.emit(PeerUp{Node: p.id, Incarnation: p.who.incarnation, Conn: p.conn, Messages: p.speech.messages})
	c.emitLinks(p)
	c.kick(p)
}

// closeConn ends a connection: what was not acknowledged fails, and the epoch
// grows so that the peer ends it too.
func (c *Core) closeConn(p *peer, why DownReason) {
	c.failSends(p)
	p.open, c.beatsOld = false, true
	p.ownEpoch++
	c.emit(PeerDown{Node: p.id, Incarnation: p.who.incarnation, Conn: p.conn, Reason: why, Jeopardy: p.jeopardy})
	p.jeopardy = false
	p.tx, p.rx = sendStream{rtoAt: vclock.Never}, recvStream{ackAt: vclock.Never}
	if why != DownClosed && why != DownStopped && why != DownRestart {
		c.kick(p)
	}
}

// kick sends a heartbeat on every link: the peer should know the news now.
func (c *Core) kick(p *peer) {
	for i := range c.links {
		c.status(p, LinkID(i), frame.KindHeartbeat)
	}
}

// heartbeats sends the heartbeat to every peer on one link.
func (c *Core) heartbeats(l LinkID) {
	for _, p := range c.peers {
		if p != nil && p.known {
			c.status(p, l, frame.KindHeartbeat)
		}
	}
}

// status sends a heartbeat or a farewell on one link, if the peer's address
// there is known.
func (c *Core) status(p *peer, l LinkID, kind frame.Kind) {
	pl := &p.links[l]
	if !p.known || !c.links[l].up || c.links[l].HeartbeatOnly || pl.addr == nil {
		return
	}
	if kind == frame.KindHeartbeat {
		c.tellFormats(p, l)
	}
	s := c.ownStatus(p)
	if p.rx.ackAt != vclock.Never && p.open {
		p.rx.ackAt, p.rx.unacked = vclock.Never, 0
	}
	c.counters[cntSndHeartbeat]++
	f := c.beginFrame(uint8(p.id), l, pl.addr, kind)
	f.Data = s.Append(f.Data)
	f.Urgent = true
	c.finishFrame(f, uint8(p.id))
}

func (c *Core) ownStatus(p *peer) frame.Status {
	s := frame.Status{OwnEpoch: p.ownEpoch, PeerEpoch: p.peerEpoch, AgeMs: ageMs(c.now.Sub(c.alive))}
	if p.open {
		s.Expected = p.rx.expected
		s.Ack = p.rx.bitmap()
	}
	return s
}

// helloInterval is short while somebody who is expected is missing on a link.
func (c *Core) helloInterval(l LinkID) vclock.Duration {
	beats := vclock.Duration(helloSlow)
	if len(c.cfg.Peers) == 0 {
		beats = helloFast
	}
	for _, n := range c.cfg.Peers {
		if p := c.peers[n]; p != nil && (!p.known || p.links[l].state == LinkStateDown) {
			beats = helloFast
		}
	}
	return beats * c.heartbeatOf(l)
}

// hello announces this system on a link.
func (c *Core) hello(l LinkID) {
	body := frame.Hello{Incarnation: c.cfg.Incarnation}.Append(nil)
	if !c.links[l].NoBroadcast {
		c.frameOut(frame.ToAll, l, nil, frame.KindHello, body, true)
	}
	for _, p := range c.peers {
		if p != nil && p.links[l].static {
			c.frameOut(uint8(p.id), l, p.links[l].addr, frame.KindHello, body, true)
		}
	}
}

// frameOut seals a frame and hands it to a link.
func (c *Core) frameOut(to uint8, l LinkID, dst []byte, kind frame.Kind, body []byte, urgent bool) {
	if !c.links[l].up {
		return
	}
	f := c.beginFrame(to, l, dst, kind)
	f.Data = append(f.Data, body...)
	f.Urgent = urgent
	c.finishFrame(f, to)
}

// beginFrame makes a frame with its header; the body is appended to its Data,
// then finishFrame seals it and hands it to its link, which must be up.
func (c *Core) beginFrame(to uint8, l LinkID, dst []byte, kind frame.Kind) *FrameOut {
	k := &c.links[l]
	k.counter++
	h := frame.Header{
		Kind: kind, Cluster: c.cfg.Cluster, Src: uint8(c.cfg.Node), Dst: to, Link: uint8(l),
		BootTag: frame.Tag(c.cfg.BootID), Counter: k.counter,
	}
	if kind.WithBoot() {
		h.Boot = c.cfg.BootID
	}
	f := c.newFrame()
	f.Link, f.Dst, f.Urgent = l, dst, false
	f.Data = frame.Begin(f.Data, h, c.sealer)
	return f
}

func (c *Core) finishFrame(f *FrameOut, to uint8) {
	f.Data = frame.Finish(f.Data, 0, c.sealer)
	k := &c.links[f.Link]
	k.txFrames++
	k.txBytes += uint64(len(f.Data))
	if to < MaxNodes && c.peers[to] != nil {
		t := &c.peers[to].links[f.Link].traffic
		t.txFrames++
		t.txBytes += uint64(len(f.Data))
	}
	c.emit(f)
}

// newFrame returns a frame with an empty buffer that has room for any of the
// peers' links.
func (c *Core) newFrame() *FrameOut {
	if n := len(c.spare); n > 0 {
		f := c.spare[n-1]
		c.spare = c.spare[:n-1]
		f.Data = f.Data[:0]
		return f
	}
	return &FrameOut{Data: make([]byte, 0, c.chunk+frame.DataOverhead)}
}

// Recycle takes back a frame that was sent: neither it nor its Data may be
// used afterwards. Without it the core works too, and allocates each frame.
func (c *Core) Recycle(f *FrameOut) {
	if len(c.spare) < maxSpare {
		c.spare = append(c.spare, f)
	}
}
