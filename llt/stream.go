package llt

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// Bounds of one connection.
const (
	window       = 256      // data frames on their way
	startWindow  = 32       // at the beginning of a connection
	leastWindow  = 4        // after losses
	lossDistance = 3        // later frames of the link acknowledged: it is lost
	highBytes    = 1 << 20  // queued before SendBlocked
	highMessages = 1024     // queued before SendBlocked
	maxBytes     = 64 << 20 // queued before the connection ends
	maxMessages  = 1 << 16  // queued before the connection ends
	ackEvery     = 8        // data frames without an acknowledgement
	ackDelay     = 3 * time.Millisecond
	minRetrans   = 20 * time.Millisecond
	lengthSize   = 4 // before each message of the stream
)

// sendStream is one direction of a connection at the sender.
type sendStream struct {
	queue   []outMsg // not wholly cut into pieces; the first may be in part
	offset  int      // of queue[0], its length field included
	queued  int      // bytes in queue
	waiting []sent   // wholly cut, not wholly acknowledged, in order
	blocked bool

	una, next  uint64 // oldest not acknowledged, next to be used
	slots      []slot // by number modulo window
	cwnd       int    // frames that may be on their way
	growth     int    // acknowledged frames towards the next growth
	threshold  int    // below it cwnd doubles per round trip
	recover    uint64 // no second decrease before this number is acknowledged
	turn       int    // of the links that share the traffic
	srtt, rvar vclock.Duration
	rtoAt      vclock.Time
}

type outMsg struct {
	id  uint64
	msg []byte
}

type sent struct {
	id   uint64
	last uint64 // data number of its last piece
}

// slot is one data frame on its way.
type slot struct {
	piece  []byte
	acked  bool
	parked bool // no link could take it
	link   LinkID
	order  uint64 // on that link
	sentAt vclock.Time
	tries  int
}

func newSendStream() sendStream {
	return sendStream{una: 1, next: 1, slots: make([]slot, window), cwnd: startWindow, threshold: window, rtoAt: vclock.Never}
}

// recvStream is one direction of a connection at the receiver.
type recvStream struct {
	expected uint64
	pieces   [][]byte // by number modulo window; nil: not there
	unacked  int
	ackAt    vclock.Time

	length  [lengthSize]byte // of the message under way
	lengthN int
	need    int
	msg     []byte
}

func newRecvStream() recvStream {
	return recvStream{expected: 1, pieces: make([][]byte, window), ackAt: vclock.Never}
}

// bitmap tells which numbers beyond the expected one have arrived.
func (r *recvStream) bitmap() (ack [frame.AckWords]uint64) {
	for i := range uint64(window - 1) {
		if r.pieces[(r.expected+1+i)%window] != nil {
			ack[i/64] |= 1 << (i % 64)
		}
	}
	return ack
}

func (c *Core) send(e *Send) {
	var p *peer
	if e.To < MaxNodes {
		p = c.peers[e.To]
	}
	if c.stopped || p == nil || !p.open || len(e.Msg) > MaxMessage {
		c.counters[cntSndNotConnected]++
		c.emit(&SendDone{ID: e.ID, To: e.To, Failed: true})
		return
	}
	t := &p.tx
	t.queue = append(t.queue, outMsg{id: e.ID, msg: e.Msg})
	t.queued += lengthSize + len(e.Msg)
	c.pump(p)
	if !p.open {
		return
	}
	if t.queued > maxBytes || len(t.queue) > maxMessages {
		c.note("queue-overflow", fmt.Sprintf("node=%d", p.id))
		c.closeConn(p, DownOverflow)
		return
	}
	if !t.blocked && (t.queued > highBytes || len(t.queue) > highMessages) {
		t.blocked = true
		c.emit(SendBlocked{Node: p.id})
	}
}

// pump cuts the queue into frames and sends them, as far as the window goes.
func (c *Core) pump(p *peer) {
	t := &p.tx
	for len(t.queue) > 0 && t.next-t.una < uint64(min(t.cwnd, window)) {
		if !c.reachable(p) {
			break
		}
		n := t.next
		t.next++
		t.slots[n%window] = slot{piece: t.cut(c.chunk, n)}
		c.counters[cntSndData]++
		c.transmit(p, n, -1)
	}
	if t.blocked && t.queued <= highBytes/2 && len(t.queue) <= highMessages/2 {
		t.blocked = false
		c.emit(SendReady{Node: p.id})
	}
}

// cut takes the next piece of the stream, at most size bytes of it: what is
// left of the first message and as many others as fit.
func (t *sendStream) cut(size int, number uint64) []byte {
	piece := make([]byte, 0, min(size, t.queued))
	for len(t.queue) > 0 && len(piece) < size {
		m := t.queue[0]
		if t.offset < lengthSize {
			var length [lengthSize]byte
			binary.BigEndian.PutUint32(length[:], uint32(len(m.msg)))
			n := min(size-len(piece), lengthSize-t.offset)
			piece = append(piece, length[t.offset:t.offset+n]...)
			t.offset += n
			t.queued -= n
		}
		if t.offset >= lengthSize {
			from := t.offset - lengthSize
			n := min(size-len(piece), len(m.msg)-from)
			piece = append(piece, m.msg[from:from+n]...)
			t.offset += n
			t.queued -= n
		}
		if t.offset == lengthSize+len(m.msg) {
			t.waiting = append(t.waiting, sent{id: m.id, last: number})
			t.queue[0] = outMsg{}
			t.queue = t.queue[1:]
			t.offset = 0
		}
	}
	return piece
}

// reachable says whether a link would take data for a peer now. Other than
// chooseLink it leaves the turn where it is.
func (c *Core) reachable(p *peer) bool {
	for i := range p.links {
		if pl := &p.links[i]; c.links[i].up && pl.state == LinkStateUp && pl.addr != nil {
			return true
		}
	}
	return false
}

// chooseLink picks the link for the next data frame: high-priority links by
// turns, else the first low-priority one; another than avoid if there is one.
func (c *Core) chooseLink(p *peer, avoid int) (LinkID, bool) {
	n := len(p.links)
	fallback, ok := LinkID(0), false
	for _, low := range []bool{false, true} {
		for k := range n {
			i := k
			if !low {
				i = (p.tx.turn + k) % n
			}
			pl := &p.links[i]
			if c.links[i].LowPriority != low || !c.links[i].up || pl.state != LinkStateUp || pl.addr == nil {
				continue
			}
			if i == avoid {
				fallback, ok = LinkID(i), true
				continue
			}
			if !low {
				p.tx.turn = (i + 1) % n
			}
			return LinkID(i), true
		}
		if ok {
			break // the avoided high link is better than a low one
		}
	}
	return fallback, ok
}

// transmit sends one data frame, again if need be and then on another link.
func (c *Core) transmit(p *peer, number uint64, avoid int) {
	t := &p.tx
	s := &t.slots[number%window]
	l, ok := c.chooseLink(p, avoid)
	if !ok {
		s.parked = true
		return
	}
	pl := &p.links[l]
	pl.order++
	if s.tries > 0 {
		p.links[s.link].resent++
	}
	s.link, s.order, s.sentAt, s.parked = l, pl.order, c.now, false
	s.tries++
	if s.tries > 1 {
		c.counters[cntSndRetransmit]++
	}
	body := c.ownStatus(p).Append(make([]byte, 0, frame.DataOverhead+len(s.piece)))
	p.rx.ackAt, p.rx.unacked = vclock.Never, 0
	c.counters[cntSndPiggyback]++
	c.frameOut(uint8(p.id), l, pl.addr, frame.KindData, frame.AppendData(body, number, s.piece), false)
	t.rtoAt = vclock.Earlier(t.rtoAt, c.now.Add(c.rto(p, s.tries)))
}

// rto is how long to wait for the acknowledgement of the nth try.
func (c *Core) rto(p *peer, tries int) vclock.Duration {
	d := p.tx.srtt + 4*p.tx.rvar + ackDelay
	if p.tx.srtt == 0 {
		d = c.timers.Retrans
	}
	d = min(max(d, minRetrans), c.timers.Retrans)
	return d << min(max(tries-1, 0), 2)
}

// acked takes the acknowledgements of a status.
func (c *Core) acked(p *peer, s frame.Status) {
	t := &p.tx
	if s.Expected > t.next || s.Expected == 0 {
		c.counters[cntMalformed]++
		return
	}
	fresh := 0
	for n := t.una; n < t.next; n++ {
		arrived := n < s.Expected
		if i := n - s.Expected - 1; n > s.Expected && i < 64*frame.AckWords {
			arrived = s.Ack[i/64]&(1<<(i%64)) != 0
		}
		if q := &t.slots[n%window]; arrived && !q.acked {
			fresh++
			c.slotAcked(p, q)
		}
	}
	if fresh == 0 {
		return
	}
	t.una = max(t.una, s.Expected)
	for len(t.waiting) > 0 && t.waiting[0].last < t.una {
		c.emit(&SendDone{ID: t.waiting[0].id, To: p.id})
		t.waiting = t.waiting[1:]
	}
	t.grow(fresh)
	if t.una == t.next {
		t.rtoAt = vclock.Never
	}
	c.resendLost(p)
	c.pump(p)
}

func (c *Core) slotAcked(p *peer, q *slot) {
	q.acked, q.piece = true, nil
	pl := &p.links[q.link]
	pl.acked = max(pl.acked, q.order)
	if q.tries != 1 {
		return
	}
	rtt := c.now.Sub(q.sentAt)
	pl.trip(rtt)
	t := &p.tx
	if t.srtt == 0 {
		t.srtt, t.rvar = max(rtt, 1), rtt/2
		return
	}
	d := t.srtt - rtt
	if d < 0 {
		d = -d
	}
	t.rvar += (d - t.rvar) / 4
	t.srtt = max(t.srtt+(rtt-t.srtt)/8, 1)
}

func (t *sendStream) grow(acked int) {
	if t.cwnd < t.threshold {
		t.cwnd = min(t.cwnd+acked, window)
		return
	}
	if t.growth += acked; t.growth >= t.cwnd {
		t.growth = 0
		t.cwnd = min(t.cwnd+1, window)
	}
}

func (t *sendStream) shrink() {
	if t.una < t.recover {
		return
	}
	t.recover = t.next
	t.threshold = max(t.cwnd/2, leastWindow)
	t.cwnd = t.threshold
}

// resendLost sends again what later frames on the same link have overtaken.
func (c *Core) resendLost(p *peer) {
	t := &p.tx
	for n := t.una; n < t.next; n++ {
		if q := &t.slots[n%window]; !q.acked && !q.parked && q.order+lossDistance <= p.links[q.link].acked {
			t.shrink()
			c.transmit(p, n, int(q.link))
		}
	}
}

// streamTimers sends again what nobody acknowledged in time, and the
// acknowledgement that found no frame to travel with.
func (c *Core) streamTimers(p *peer) {
	if !p.open {
		return
	}
	if p.rx.ackAt <= c.now {
		c.sendAck(p)
	}
	t := &p.tx
	if t.rtoAt > c.now {
		return
	}
	t.rtoAt = vclock.Never
	for n := t.una; n < t.next; n++ {
		q := &t.slots[n%window]
		if q.acked || q.parked {
			continue
		}
		if due := q.sentAt.Add(c.rto(p, q.tries)); due > c.now {
			t.rtoAt = vclock.Earlier(t.rtoAt, due)
			continue
		}
		t.shrink()
		c.transmit(p, n, int(q.link))
	}
}

// moveStream sends what is on its way on a failed link on another one.
func (c *Core) moveStream(p *peer, l LinkID) {
	t := &p.tx
	for n := t.una; n < t.next; n++ {
		if q := &t.slots[n%window]; !q.acked && !q.parked && q.link == l {
			c.transmit(p, n, int(l))
		}
	}
}

// resumeStream sends what found no link.
func (c *Core) resumeStream(p *peer) {
	t := &p.tx
	for n := t.una; n < t.next; n++ {
		if q := &t.slots[n%window]; !q.acked && q.parked {
			c.transmit(p, n, -1)
		}
	}
	c.pump(p)
}

// failSends answers every send that was not acknowledged.
func (c *Core) failSends(p *peer) {
	for _, s := range p.tx.waiting {
		c.emit(&SendDone{ID: s.id, To: p.id, Failed: true})
	}
	for _, m := range p.tx.queue {
		c.emit(&SendDone{ID: m.id, To: p.id, Failed: true})
	}
}

// dataIn takes one piece of the stream.
func (c *Core) dataIn(p *peer, number uint64, piece []byte) {
	r := &p.rx
	c.counters[cntRcvData]++
	switch {
	case number < r.expected || (number < r.expected+window && r.pieces[number%window] != nil):
		c.counters[cntRcvDuplicate]++
		c.sendAck(p)
		return
	case number >= r.expected+window:
		c.counters[cntRcvOutOfWindow]++
		return
	case number > r.expected:
		c.counters[cntRcvOutOfSequence]++
	}
	inOrder := number == r.expected
	r.pieces[number%window] = piece
	for r.pieces[r.expected%window] != nil {
		next := r.pieces[r.expected%window]
		r.pieces[r.expected%window] = nil
		r.expected++
		if !c.feed(p, next) {
			return
		}
	}
	r.unacked++
	if !inOrder || r.unacked >= ackEvery {
		c.sendAck(p)
	} else if r.ackAt == vclock.Never {
		r.ackAt = c.now.Add(ackDelay)
	}
}

// sendAck sends an acknowledgement of its own, on the link heard last.
func (c *Core) sendAck(p *peer) {
	p.rx.ackAt, p.rx.unacked = vclock.Never, 0
	best := -1
	for i := range p.links {
		if p.links[i].state == LinkStateUp && (best < 0 || p.links[i].lastHeard > p.links[best].lastHeard) {
			best = i
		}
	}
	if best < 0 {
		return
	}
	c.counters[cntSndAck]++
	c.status(p, LinkID(best), frame.KindHeartbeat)
}

// feed takes the next bytes of the stream and delivers the messages that end
// in them. It reports false if the connection had to be ended.
func (c *Core) feed(p *peer, b []byte) bool {
	r := &p.rx
	for len(b) > 0 || (r.lengthN == lengthSize && r.need == 0) {
		if r.lengthN < lengthSize {
			n := copy(r.length[r.lengthN:], b)
			b = b[n:]
			if r.lengthN += n; r.lengthN < lengthSize {
				return true
			}
			r.need = int(binary.BigEndian.Uint32(r.length[:]))
			if r.need > MaxMessage {
				c.note("message-too-long", fmt.Sprintf("node=%d", p.id), fmt.Sprintf("bytes=%d", r.need))
				c.closeConn(p, DownReset)
				return false
			}
			r.msg = make([]byte, 0, min(r.need, 64<<10))
		}
		n := min(r.need, len(b))
		r.msg = append(r.msg, b[:n]...)
		b = b[n:]
		if r.need -= n; r.need == 0 {
			c.emit(&Deliver{From: p.id, Incarnation: p.who.incarnation, Conn: p.conn, Msg: r.msg})
			r.msg, r.lengthN = nil, 0
		}
	}
	return true
}
