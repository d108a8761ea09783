package llt

import (
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// A disk region is a link that carries heartbeats only. Each system writes a
// beacon for everybody into its slot and reads the others'. A peer that is
// heard there and over no network link is ALIVE_UNREACHABLE (R16): its
// connection ends like that of any silent peer, but GAB is told that it lives.

// aloneBeats is how many fresh beacons after the loss of the last network link
// prove that a peer lives without being reached. A system that died has at most
// one that was written and not yet read.
const aloneBeats = 2

// diskState is what the disk regions say about a peer.
type diskState struct {
	up     bool // not DOWN on at least one of them
	told   bool // what the last PeerDisk said
	alone  int  // fresh beacons since the last network link was lost
	sticky bool // its silence takes nothing back any more

	asked  frame.Nonce // challenge of its beacon to this system, to be answered
	wanted bool        // its candidate came over a disk: challenge it there
}

// countDisks follows the links of a peer on disk regions; up is the number of
// network links that are left now. It reports whether the regions, taken as one
// channel, came or went.
func (c *Core) countDisks(p *peer, up int) bool {
	d, before := &p.disk, p.disk.up
	local := false
	d.up = false
	for i := range p.links {
		if !c.links[i].HeartbeatOnly {
			continue
		}
		d.up = d.up || p.links[i].state != LinkStateDown
		local = local || c.links[i].up
	}
	switch {
	case up > 0:
		d.alone, d.sticky = 0, false
	case before && !d.up && p.up == 0 && (d.alone >= aloneBeats || !local):
		d.sticky = true
	}
	c.tellDisk(p)
	return before != d.up
}

// tellDisk says whether the peer must be taken as alive, if that has changed.
func (c *Core) tellDisk(p *peer) {
	if d := &p.disk; d.told != (d.up || d.sticky) {
		d.told = !d.told
		c.emit(PeerDisk{Node: p.id, Incarnation: p.who.incarnation, Seen: d.told})
	}
}

// freshDisk forgets what the regions said about an earlier boot id.
func (c *Core) freshDisk(p *peer) {
	for i := range p.links {
		if c.links[i].HeartbeatOnly {
			p.links[i].state, p.links[i].heard = LinkStateDown, false
		}
	}
	d := &p.disk
	d.up, d.sticky, d.alone, d.wanted = false, false, 0, false
	c.tellDisk(p)
}

// unreachable reports whether a peer lives but cannot be reached (R16).
func (c *Core) unreachable(p *peer) bool {
	return p.up == 0 && !p.open && (p.disk.sticky || (p.disk.up && p.disk.alone >= aloneBeats))
}

// channels counts the ways on which a peer could be seen: network links, and
// the disk regions together as one.
func (c *Core) channels() int {
	n, disk := 0, 0
	for i := range c.links {
		switch l := &c.links[i]; {
		case l.absent:
		case l.HeartbeatOnly:
			disk = 1
		default:
			n++
		}
	}
	return n + disk
}

// lastSeen is when a peer was last heard on any link.
func (p *peer) lastSeen() vclock.Time {
	at := p.lastHeard
	for i := range p.links {
		if p.links[i].heard {
			at = max(at, p.links[i].lastHeard)
		}
	}
	return at
}

// heardDisk counts a fresh beacon as proof of life; it opens nothing.
func (c *Core) heardDisk(p *peer, l LinkID) {
	pl := &p.links[l]
	if hb := c.heartbeatOf(l); pl.state != LinkStateDown {
		if gap := c.now.Sub(pl.lastHeard); gap > 2*hb {
			pl.missed += uint64(gap/hb) - 1
		}
	}
	pl.lastHeard, pl.heard = c.now, true
	if !c.links[l].up {
		return
	}
	if p.up == 0 && !p.open {
		p.disk.alone++
	}
	if pl.state != LinkStateUp {
		c.setLinkState(p, l, LinkStateUp)
	}
	if c.unreachable(p) && p.disk.alone == aloneBeats {
		c.note("peer-alive-unreachable", c.linkAttr(l), nodeAttr(p.id))
	}
}

// beacon writes this system's slot of a disk region.
func (c *Core) beacon(l LinkID) {
	b := frame.Beacon{Incarnation: c.cfg.Incarnation, AgeMs: ageMs(c.now.Sub(c.alive)), Links: uint8(len(c.links))}
	for i := range c.links {
		b.Counters[i] = c.links[i].counter
	}
	call := func(p *peer) {
		k := frame.Call{Node: uint8(p.id), Answer: p.disk.asked}
		if p.candidate && p.disk.wanted {
			k.Challenge = p.candNonce
		}
		if k.Challenge != (frame.Nonce{}) || k.Answer != (frame.Nonce{}) {
			b.Calls = append(b.Calls, k)
			c.beatsOld = true // who takes the answer refuses what was lent before
		}
	}
	for _, p := range c.peers {
		if p != nil {
			call(p)
		}
	}
	call(&c.self)
	c.counters[cntSndHeartbeat]++
	c.frameOut(frame.ToAll, l, nil, frame.KindBeacon, b.Append(nil), true)
}

// beaconIn takes a fresh beacon: a challenge to answer, an answer that proves
// the boot id (R20), or proof of life, which was counted already.
func (c *Core) beaconIn(p *peer, e *FrameIn, m frame.Beacon, proven bool) {
	c.counters[cntRcvHeartbeat]++
	var call frame.Call
	for _, k := range m.Calls {
		if NodeID(k.Node) == c.cfg.Node {
			call = k
		}
	}
	soon := false
	if p.disk.asked != call.Challenge {
		p.disk.asked, soon = call.Challenge, true
	}
	if !proven && p.candidate {
		p.cand.incarnation = m.Incarnation
		soon = soon || !p.disk.wanted
		p.disk.wanted = true
		if call.Answer != (frame.Nonce{}) && call.Answer == p.candNonce {
			c.proven(p, e, frame.Handshake{Incarnation: m.Incarnation, Links: m.Links, Counters: m.Counters})
		}
	}
	if p.known && p.up == 0 && !p.open {
		if stalled := vclock.Duration(m.AgeMs)*1e6 > c.timers.Stall; stalled != p.stalled {
			p.stalled = stalled
			c.note("peer-stalled", nodeAttr(p.id), "stalled="+yesNo(stalled))
		}
	}
	if soon { // challenge and answer need not wait for the next beacon
		c.links[e.Link].hbAt = c.now
	}
}
