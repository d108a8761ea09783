package llt

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// Links change while the core runs: they come, go, and change priority or MTU.
// Nothing of that lasts beyond the core; llttab holds at the next start.

func nodeAttr(n NodeID) string { return "node=" + strconv.Itoa(int(n)) }

func yesNo(b bool) string { return strconv.FormatBool(b) }

// rechunk finds the size of the pieces that go over every link.
func (c *Core) rechunk() {
	c.chunk = MaxMTU
	for i := range c.links {
		if l := &c.links[i]; !l.absent && !l.HeartbeatOnly {
			c.chunk = min(c.chunk, l.MTU-frame.DataOverhead)
		}
	}
}

func (c *Core) addLink(e AddLink) {
	if c.stopped || int(e.Link) >= MaxLinks || e.Config.MTU < MinMTU || e.Config.MTU > MaxMTU ||
		(int(e.Link) < len(c.links) && !c.links[e.Link].absent) {
		c.note("link-refused", fmt.Sprintf("link=%d(%s)", e.Link, e.Config.Tag))
		return
	}
	for len(c.links) <= int(e.Link) {
		c.links = append(c.links, link{absent: true, hbAt: vclock.Never, helloAt: vclock.Never})
		for _, p := range c.peers {
			if p != nil {
				p.links = append(p.links, peerLink{})
			}
		}
	}
	l := &c.links[e.Link]
	// The counter goes on: no nonce is ever used twice with one boot id (R20).
	*l = link{LinkConfig: e.Config, counter: l.counter, lent: l.lent, hbAt: vclock.Never, helloAt: vclock.Never}
	for _, p := range c.peers {
		if p != nil { // a window that was there goes on refusing what it saw
			p.links[e.Link] = peerLink{window: p.links[e.Link].window}
		}
	}
	for _, a := range e.Config.Peers {
		if p := c.peer(a.Node); p != nil {
			p.links[e.Link].addr, p.links[e.Link].static = bytes.Clone(a.Addr), true
		}
	}
	c.rechunk()
	c.note("link-added", c.linkAttr(e.Link))
}

func (c *Core) removeLink(id LinkID) {
	if int(id) >= len(c.links) || c.links[id].absent {
		return
	}
	c.linkDown(id)
	for _, p := range c.peers {
		if p != nil {
			p.links[id] = peerLink{window: p.links[id].window}
		}
	}
	c.note("link-removed", c.linkAttr(id))
	c.links[id].absent = true
	c.rechunk()
}

func (c *Core) setLink(e SetLink) {
	if int(e.Link) >= len(c.links) || c.links[e.Link].absent {
		return
	}
	l := &c.links[e.Link]
	if e.MTU == 0 && l.LowPriority != e.LowPriority && !l.HeartbeatOnly {
		l.LowPriority = e.LowPriority
		l.hbAt = vclock.Earlier(l.hbAt, c.now.Add(c.heartbeatOf(e.Link)))
		c.beatsOld = true
		c.note("link-priority", c.linkAttr(e.Link), "low="+yesNo(e.LowPriority))
	}
	if e.MTU >= MinMTU && e.MTU <= MaxMTU && e.MTU != l.MTU {
		l.MTU = e.MTU
		c.rechunk()
		c.note("link-mtu", c.linkAttr(e.Link), "mtu="+strconv.Itoa(e.MTU))
	}
}

func (c *Core) setAddress(e SetAddress) {
	if int(e.Link) >= len(c.links) || e.Node >= MaxNodes {
		return
	}
	p := c.peer(e.Node)
	if p == nil {
		return
	}
	pl := &p.links[e.Link]
	pl.addr, pl.static = bytes.Clone(e.Addr), len(e.Addr) > 0
	c.beatsOld = true
	if len(e.Addr) == 0 {
		pl.addr = nil
	}
	if c.links[e.Link].up && !c.links[e.Link].HeartbeatOnly {
		c.links[e.Link].helloAt = c.now // the answer tells the address
	}
}

func (c *Core) setExclude(e SetExclude) {
	if e.Node >= MaxNodes || e.Node == c.cfg.Node {
		return
	}
	c.cfg.Exclude = slices.DeleteFunc(c.cfg.Exclude, func(n NodeID) bool { return n == e.Node })
	if !e.Exclude {
		c.peer(e.Node)
		return
	}
	c.cfg.Exclude = append(c.cfg.Exclude, e.Node)
	p := c.peers[e.Node]
	if p == nil {
		return
	}
	if p.open {
		c.closeConn(p, DownReset)
	}
	p.known, p.candidate, c.beatsOld = false, false, true
	for i := range p.links {
		p.links[i].state = LinkStateDown
	}
	c.countLinks(p)
	c.freshDisk(p)
	// The rest stays: epochs and windows go on when it is expected again.
}

// Excluded lists the node ids that are ignored.
func (c *Core) Excluded() []NodeID { return slices.Clone(c.cfg.Exclude) }

// Chunk is the largest piece of a message in one frame, in bytes.
func (c *Core) Chunk() int { return c.chunk }

func (c *Core) resetCounters() {
	c.counters = [counterCount]uint64{}
	c.troubles = map[troubleKey]*trouble{}
	for i := range c.links {
		l := &c.links[i]
		l.txFrames, l.txBytes, l.rxFrames, l.rxBytes = 0, 0, 0, 0
	}
	for _, p := range c.peers {
		if p == nil {
			continue
		}
		for i := range p.links {
			t := &p.links[i].traffic
			*t = traffic{rtt: t.rtt, jitter: t.jitter}
		}
	}
}
