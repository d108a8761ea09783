package llt

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// Path MTU. Whether a peer lives never depends on it: heartbeats, hellos and
// handshakes are smaller than MinMTU whatever the links are configured for.
// Data begins with frames of the configured MTU. A link that loses large frames
// while small ones come through carries smaller ones from then on: new pieces
// are cut smaller, and what was cut already goes in parts.

const (
	lostLarge = 4 // rounds of retrans in a row in which a link lost large frames: its path is narrower
	lostKnown = 8 // the same, if as large a frame went through before
	wider     = time.Second
	widerOnce = 30 * time.Second // after a larger size was tried in vain
	lostInRow = 16               // large frames lost, none having passed, while the link was heard and others passed some: the same
)

// sizes are the frames that are tried, one after the other, on a link that
// passes less than it is configured for.
var sizes = [...]int{MinMTU, 1280, 1400, 1450, 1500, 4000, 8900, 9000, 16000, MaxMTU}

// path is what is known of the way to a peer over one link.
type path struct {
	limit  int // of a frame; 0: the link's MTU
	large  int // the largest data frame that was acknowledged
	lost   int // rounds in which large frames were lost, and none acknowledged since
	lostAt vclock.Time
	again  vclock.Time
	row    int         // large frames lost since one passed
	rowAt  vclock.Time // when the first of them was lost
	okAt   vclock.Time // when a frame was last acknowledged that was sent once
}

// largest is the largest data frame that the way over a link may be given.
func (c *Core) largest(p *peer, l LinkID) int {
	if n := p.links[l].limit; n > 0 {
		return min(n, c.links[l].MTU)
	}
	return c.links[l].MTU
}

// chunkTo is how much of the stream to a peer a new frame takes.
func (c *Core) chunkTo(p *peer) int {
	n := c.chunk
	for i := range p.links {
		if p.links[i].state == LinkStateUp && p.links[i].limit > 0 {
			n = min(n, c.largest(p, LinkID(i))-frame.DataOverhead)
		}
	}
	return n
}

func (c *Core) tooLarge(p *peer, l LinkID, s *slot) bool {
	s.split = c.parts(p) && s.n+frame.DataOverhead > c.largest(p, l)
	return s.split
}

// lostOn takes note that a frame was lost on the link where it was sent last.
func (c *Core) lostOn(p *peer, s *slot) {
	pl := &p.links[s.link]
	size := s.n + frame.DataOverhead
	if s.split || size <= MinMTU {
		return // nothing that tells
	}
	if pl.row++; pl.row == 1 {
		pl.rowAt = c.now
	}
	if pl.row >= lostInRow && pl.lastHeard > pl.rowAt.Add(c.timers.Heartbeat/2) && p.passesElsewhere(s.link, pl.rowAt) {
		c.narrow(p, s)
		return
	}
	if pl.lastHeard < s.sentAt.Add(c.timers.Heartbeat/2) {
		return // the link passes nothing at all
	}
	if pl.lost > 0 && c.now.Sub(pl.lostAt) < c.timers.Retrans {
		return // of the same round; a peer that is slow at times loses one, not many
	}
	pl.lost, pl.lostAt = pl.lost+1, c.now
	if pl.lost < lostLarge || (size <= pl.large && pl.lost < lostKnown) {
		return
	}
	c.narrow(p, s)
}

// passesElsewhere says whether another link has passed frames since a time:
// the peer answers.
func (p *peer) passesElsewhere(l LinkID, since vclock.Time) bool {
	for i := range p.links {
		if LinkID(i) != l && p.links[i].okAt > since {
			return true
		}
	}
	return false
}

// narrow takes it that the way over the link of a piece does not pass frames of
// its size.
func (c *Core) narrow(p *peer, s *slot) {
	pl := &p.links[s.link]
	size := s.n + frame.DataOverhead
	if size <= pl.large {
		pl.large = MinMTU // it passed once and does no more
	}
	pl.limit, pl.lost, pl.row, pl.again = MinMTU, 0, 0, c.now.Add(widerOnce)
	for _, n := range sizes {
		if n <= pl.large && n < size {
			pl.limit = n
		}
	}
	pl.large = min(pl.large, pl.limit)
	c.note("path-mtu", c.linkAttr(s.link), fmt.Sprintf("node=%d", p.id), fmt.Sprintf("lost=%d", size), fmt.Sprintf("bytes=%d", pl.limit))
}

// passed takes note that a frame arrived, and tries a larger size when that
// one is known to pass for a while.
func (c *Core) passed(p *peer, s *slot) {
	pl := &p.links[s.link]
	size := s.n + frame.DataOverhead
	if s.split || s.tries != 1 || size <= MinMTU && pl.limit == 0 {
		return
	}
	pl.large = max(pl.large, size)
	if size > MinMTU {
		pl.lost, pl.row = 0, 0
	}
	if pl.limit == 0 || size < pl.limit || c.now < pl.again {
		return
	}
	for _, n := range sizes {
		if n > pl.limit {
			pl.limit = n
			break
		}
	}
	pl.again = c.now.Add(wider)
	if pl.limit >= min(c.links[s.link].MTU, c.chunk+frame.DataOverhead) {
		pl.limit = 0
	}
}

// sendParts sends a piece in several frames that fit.
func (c *Core) sendParts(p *peer, l LinkID, number uint64, s *slot) {
	h := frame.Part{Number: number, Total: uint32(s.n), Size: uint16(c.largest(p, l) - frame.DataOverhead - frame.PartOverhead)}
	for from := 0; from < s.n; from += int(h.Size) {
		f := c.beginFrame(uint8(p.id), l, p.links[l].addr, frame.KindPart)
		f.Data = h.Append(c.ownStatus(p).Append(f.Data))
		f.Data = p.tx.gather(f.Data, s, from, min(int(h.Size), s.n-from))
		c.finishFrame(f, uint8(p.id))
		h.Index++
	}
}

// parts are what has come of a piece.
type parts struct {
	size int
	data []byte
	got  [4]uint64 // bit i of word w: part 64w+i
	left int
}

// partIn takes a part of a piece.
func (c *Core) partIn(p *peer, h frame.Part, data []byte) {
	c.counters[cntRcvData]++
	if !c.wanted(p, h.Number) {
		return
	}
	r := &p.rx
	slot := &r.pieces[h.Number%window]
	a := slot.parts
	if a == nil || a.size != int(h.Size) || len(a.data) != int(h.Total) {
		a = &parts{size: int(h.Size), data: make([]byte, h.Total), left: h.Count()}
		slot.parts = a
	}
	if bit := uint64(1) << (h.Index % 64); a.got[h.Index/64]&bit != 0 {
		c.counters[cntRcvDuplicate]++
		return
	} else {
		a.got[h.Index/64] |= bit
	}
	copy(a.data[int(h.Index)*a.size:], data)
	if a.left--; a.left > 0 {
		return
	}
	if h.Number > r.expected {
		*slot = piece{data: a.data}
		r.ahead++
		r.unacked++
		c.sendAck(p)
		return
	}
	c.pieceIn(p, a.data, false)
}
