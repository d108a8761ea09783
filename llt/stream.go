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
	leastWindow  = 4        // after losses, and to a peer that acknowledges nothing
	lossDistance = 3        // later frames of the link acknowledged: it is lost
	highBytes    = 1 << 20  // queued before SendBlocked
	highMessages = 1024     // queued before SendBlocked
	maxBytes     = 64 << 20 // of messages not acknowledged, before the connection ends
	maxMessages  = 1 << 16  // queued before the connection ends
	ackEvery     = 8        // data frames without an acknowledgement
	ackDelay     = 3 * time.Millisecond
	minRetrans   = 20 * time.Millisecond
	lengthSize   = 4 // before each message of the stream
)

// sendStream is one direction of a connection at the sender. A message stays
// in it, uncopied, until it is acknowledged: frames are filled from there, the
// first time and whenever one is sent again.
type sendStream struct {
	msgs    []outMsg // from head on: not wholly acknowledged, in the order of the sends
	head    int
	first   uint64 // number of msgs[head] among the messages of the connection
	cutting uint64 // number of the first message that is not wholly cut into pieces
	offset  int    // in it, its length field included
	queued  int    // bytes not cut
	held    int    // bytes of all messages here
	blocked bool

	una, next  uint64 // oldest not acknowledged, next to be used
	slots      []slot // by number modulo window
	cwnd       int    // frames that may be on their way
	growth     int    // acknowledged frames towards the next growth
	threshold  int    // below it cwnd doubles per round trip
	recover    uint64 // no second decrease before this number is acknowledged
	turn       int    // of the links that share the traffic
	silent     bool   // a whole round of resending brought no acknowledgement
	srtt, rvar vclock.Duration
	rtoAt      vclock.Time
}

type outMsg struct {
	id   uint64
	msg  []byte
	last uint64 // data number of its last piece, once it is wholly cut
}

// slot is one data frame on its way: a piece of the stream, n bytes from an
// offset in a message on.
type slot struct {
	msg    uint64 // number of the message that the piece begins in
	offset int    // in it, its length field included
	n      int
	acked  bool
	split  bool // sent in parts
	parked bool // no link could take it
	link   LinkID
	order  uint64 // on that link
	sentAt vclock.Time
	tries  int
}

func newSendStream() sendStream {
	return sendStream{una: 1, next: 1, slots: make([]slot, window), cwnd: startWindow, threshold: window, rtoAt: vclock.Never}
}

// message is a message by its number.
func (t *sendStream) message(n uint64) *outMsg { return &t.msgs[t.head+int(n-t.first)] }

// end is the number of the next message that is sent.
func (t *sendStream) end() uint64 { return t.first + uint64(len(t.msgs)-t.head) }

// uncut is how many messages are not wholly cut into pieces.
func (t *sendStream) uncut() int { return int(t.end() - t.cutting) }

func (t *sendStream) push(m outMsg) {
	if t.head > 0 && len(t.msgs) == cap(t.msgs) {
		n := copy(t.msgs, t.msgs[t.head:])
		clear(t.msgs[n:])
		t.msgs, t.head = t.msgs[:n], 0
	}
	t.msgs = append(t.msgs, m)
	t.queued += lengthSize + len(m.msg)
	t.held += len(m.msg)
}

// pop drops the oldest message, which was acknowledged.
func (t *sendStream) pop() {
	t.held -= len(t.msgs[t.head].msg)
	t.msgs[t.head] = outMsg{}
	t.head++
	t.first++
	if t.head == len(t.msgs) {
		t.msgs, t.head = t.msgs[:0], 0
	}
}

// recvStream is one direction of a connection at the receiver.
type recvStream struct {
	expected uint64
	pieces   []piece // by number modulo window
	ahead    int     // pieces that are there before their turn
	unacked  int
	ackAt    vclock.Time

	length  [lengthSize]byte // of the message under way
	lengthN int
	need    int
	msg     []byte
}

// piece is a piece that came before its turn, or parts of it.
type piece struct {
	data  []byte // nil: not there
	frame []byte // the buffer that data lies in
	parts *parts // nil: none
}

func newRecvStream() recvStream {
	return recvStream{expected: 1, pieces: make([]piece, window), ackAt: vclock.Never}
}

// bitmap tells which numbers beyond the expected one have arrived.
func (r *recvStream) bitmap() (ack [frame.AckWords]uint64) {
	left := r.ahead
	for i := uint64(0); left > 0 && i < window-1; i++ {
		if r.pieces[(r.expected+1+i)%window].data != nil {
			ack[i/64] |= 1 << (i % 64)
			left--
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
		c.sendDone(e.ID, e.To, true)
		return
	}
	t := &p.tx
	t.push(outMsg{id: e.ID, msg: e.Msg})
	c.pump(p)
	if !p.open {
		return
	}
	if t.held > maxBytes || t.uncut() > maxMessages {
		c.note("queue-overflow", fmt.Sprintf("node=%d", p.id))
		c.closeConn(p, DownOverflow)
		return
	}
	if !t.blocked && (t.queued > highBytes || t.uncut() > highMessages) {
		t.blocked = true
		c.emit(SendBlocked{Node: p.id})
	}
}

// sendDone answers a send.
func (c *Core) sendDone(id uint64, to NodeID, failed bool) {
	c.dones = append(c.dones, SendDone{ID: id, To: to, Failed: failed})
	c.emit(&c.dones[len(c.dones)-1])
}

// pump cuts the queue into frames and sends them, as far as the window goes.
func (c *Core) pump(p *peer) {
	t := &p.tx
	for t.uncut() > 0 && t.next-t.una < uint64(min(t.cwnd, window)) {
		if !c.reachable(p) {
			break
		}
		n := t.next
		t.next++
		t.cut(c.chunkTo(p), n)
		c.counters[cntSndData]++
		c.transmit(p, n, -1)
	}
	if t.blocked && t.queued <= highBytes/2 && t.uncut() <= highMessages/2 {
		t.blocked = false
		c.emit(SendReady{Node: p.id})
	}
}

// cut takes the next piece of the stream, at most size bytes of it: what is
// left of the first message and as many others as fit.
func (t *sendStream) cut(size int, number uint64) {
	s := &t.slots[number%window]
	*s = slot{msg: t.cutting, offset: t.offset}
	for t.uncut() > 0 && s.n < size {
		m := t.message(t.cutting)
		n := min(size-s.n, lengthSize+len(m.msg)-t.offset)
		s.n += n
		t.offset += n
		t.queued -= n
		if t.offset == lengthSize+len(m.msg) {
			m.last = number
			t.cutting++
			t.offset = 0
		}
	}
}

// gather appends n bytes of a piece, from a place in it on.
func (t *sendStream) gather(dst []byte, s *slot, from, n int) []byte {
	at, off := s.msg, s.offset+from
	for n > 0 {
		m := t.message(at)
		if off >= lengthSize+len(m.msg) {
			off -= lengthSize + len(m.msg)
			at++
			continue
		}
		if off < lengthSize {
			var length [lengthSize]byte
			binary.BigEndian.PutUint32(length[:], uint32(len(m.msg)))
			k := min(n, lengthSize-off)
			dst = append(dst, length[off:off+k]...)
			off += k
			n -= k
		}
		if off >= lengthSize {
			k := min(n, lengthSize+len(m.msg)-off)
			dst = append(dst, m.msg[off-lengthSize:off-lengthSize+k]...)
			off += k
			n -= k
		}
	}
	return dst
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
// turns, else the first low-priority one; another than avoid if there is one,
// and none that loses all that it is given.
func (c *Core) chooseLink(p *peer, avoid int) (LinkID, bool) {
	n := len(p.links)
	for _, low := range []bool{false, true} {
		best, rank := -1, 3
		for k := range n {
			i := k
			if !low {
				i = (p.tx.turn + k) % n
			}
			pl := &p.links[i]
			if c.links[i].LowPriority != low || !c.links[i].up || pl.state != LinkStateUp || pl.addr == nil {
				continue
			}
			r := 0
			switch {
			case p.shunned(i, c.now):
				r = 2
			case i == avoid:
				r = 1
			}
			if r < rank {
				best, rank = i, r
			}
		}
		if best < 0 {
			continue
		}
		if !low && rank == 0 {
			p.tx.turn = (best + 1) % n
		}
		p.links[best].given(c.now, c.timers.Retrans)
		return LinkID(best), true // also one to avoid is better than one of low priority
	}
	return 0, false
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
	if s.tries > 0 {
		p.links[s.link].resent++
		if was := &p.links[s.link]; was.acked >= s.order+lossDistance {
			was.lostData() // later ones arrived; a late acknowledgement alone is no loss
		}
		// A peer known to answer later than frames are sent again has lost nothing.
		if was := &p.links[s.link]; was.rtt+4*was.jitter <= c.timers.Retrans || s.tries >= 3 {
			was.failed(c.now)
			c.lostOn(p, s)
		}
	}
	s.tries++
	if s.tries > 1 {
		c.counters[cntSndRetransmit]++
	}
	pl.order++
	pl.sentData()
	s.link, s.order, s.sentAt, s.parked = l, pl.order, c.now, false
	if c.tooLarge(p, l, s) {
		c.sendParts(p, l, number, s)
	} else {
		f := c.beginFrame(uint8(p.id), l, pl.addr, frame.KindData)
		f.Data = c.ownStatus(p).Append(f.Data)
		f.Data = t.gather(frame.AppendData(f.Data, number, nil), s, 0, s.n)
		c.finishFrame(f, uint8(p.id))
	}
	p.rx.ackAt, p.rx.unacked = vclock.Never, 0
	c.counters[cntSndPiggyback]++
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
	if s.Expected == 0 {
		return // it knows the epochs and has not opened the connection yet
	}
	if s.Expected > t.next {
		c.counters[cntMalformed]++
		return
	}
	fresh := 0
	highest := s.Expected // beyond it nothing is known of
	if s.Ack != ([frame.AckWords]uint64{}) {
		highest = min(t.next, s.Expected+1+64*frame.AckWords)
	}
	for n := t.una; n < highest && n < t.next; n++ {
		arrived := n < s.Expected
		if i := n - s.Expected - 1; n > s.Expected {
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
	t.silent = false
	t.una = max(t.una, s.Expected)
	for t.first < t.cutting && t.msgs[t.head].last < t.una {
		c.sendDone(t.msgs[t.head].id, p.id, false)
		t.pop()
	}
	t.grow(fresh)
	if t.una == t.next {
		t.rtoAt = vclock.Never
	}
	c.resendLost(p)
	c.pump(p)
}

func (c *Core) slotAcked(p *peer, q *slot) {
	q.acked = true
	pl := &p.links[q.link]
	pl.acked = max(pl.acked, q.order)
	c.passed(p, q)
	if q.tries != 1 {
		// Of which try the acknowledgement is nobody knows, but the round trip is
		// at least the time since the last one: a peer that always answers later
		// than the timer is known as slow all the same.
		if least := c.now.Sub(q.sentAt); least > pl.rtt {
			pl.trip(least)
		}
		return
	}
	pl.shun, pl.okAt = shun{}, c.now
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
	resent := 0
	for n := t.una; n < t.next; n++ {
		q := &t.slots[n%window]
		if q.acked || q.parked {
			continue
		}
		if due := q.sentAt.Add(c.rto(p, q.tries)); due > c.now {
			t.rtoAt = vclock.Earlier(t.rtoAt, due)
			continue
		}
		// A peer that answers nothing, because it is paused or dead, gets a
		// few frames per round and not the whole window again and again: what
		// it costs the others does not depend on what waits for it.
		if resent++; t.silent && resent > leastWindow {
			t.rtoAt = vclock.Earlier(t.rtoAt, c.now.Add(c.rto(p, q.tries)))
			break
		}
		t.shrink()
		c.transmit(p, n, int(q.link))
	}
	t.silent = t.silent || resent > 0
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
	for _, m := range p.tx.msgs[p.tx.head:] {
		c.sendDone(m.id, p.id, true)
	}
}

// dataIn takes one piece of the stream. It lies in the buffer of the event,
// which the core keeps if the piece came before its turn.
func (c *Core) dataIn(p *peer, e *FrameIn, number uint64, data []byte) {
	r := &p.rx
	c.counters[cntRcvData]++
	if !c.wanted(p, number) {
		return
	}
	if number > r.expected {
		c.counters[cntRcvOutOfSequence]++
		r.pieces[number%window] = piece{data: data, frame: c.keep(e)}
		r.ahead++
		r.unacked++
		c.sendAck(p)
		return
	}
	c.pieceIn(p, data, true)
}

// wanted reports whether a piece is one that the stream waits for.
func (c *Core) wanted(p *peer, number uint64) bool {
	r := &p.rx
	if number < r.expected || (number < r.expected+window && r.pieces[number%window].data != nil) {
		c.counters[cntRcvDuplicate]++
		c.sendAck(p)
		return false
	}
	if number >= r.expected+window {
		c.counters[cntRcvOutOfWindow]++
		return false
	}
	return true
}

// pieceIn takes the expected piece, and those after it that are there already.
func (c *Core) pieceIn(p *peer, data []byte, inOrder bool) {
	r := &p.rx
	r.pieces[r.expected%window] = piece{}
	r.expected++
	ok := c.feed(p, data)
	for ok {
		next := r.pieces[r.expected%window]
		if next.data == nil {
			break
		}
		r.pieces[r.expected%window] = piece{}
		r.ahead--
		r.expected++
		ok = c.feed(p, next.data)
		c.giveBack(next.frame)
	}
	if !ok {
		return
	}
	r.unacked++
	if !inOrder || r.unacked >= ackEvery {
		c.sendAck(p)
	} else if r.ackAt == vclock.Never {
		r.ackAt = c.now.Add(ackDelay)
	}
}

// keep takes the buffer of an event and puts another one in its place.
func (c *Core) keep(e *FrameIn) []byte {
	b := e.Data[:cap(e.Data)]
	e.Data = nil
	if n := len(c.buffers); n > 0 {
		e.Data = c.buffers[n-1]
		c.buffers = c.buffers[:n-1]
	}
	if cap(e.Data) < cap(b) {
		e.Data = make([]byte, cap(b))
	}
	return b
}

// giveBack returns a buffer that was kept.
func (c *Core) giveBack(b []byte) {
	if b != nil && len(c.buffers) < window {
		c.buffers = append(c.buffers, b)
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
			r.msg = c.messageBuffer(r.need)
		}
		n := min(r.need, len(b))
		r.msg = append(r.msg, b[:n]...)
		b = b[n:]
		if r.need -= n; r.need == 0 {
			c.gives = append(c.gives, Deliver{From: p.id, Incarnation: p.who.incarnation, Conn: p.conn, Msg: r.msg})
			c.emit(&c.gives[len(c.gives)-1])
			r.msg, r.lengthN = nil, 0
		}
	}
	return true
}

// Small messages share blocks of memory, so that they cost no allocation each.
const (
	blockSize  = 16 << 10
	smallBytes = 1 << 10
)

// messageBuffer is room for one message of n bytes.
func (c *Core) messageBuffer(n int) []byte {
	if n > smallBytes {
		return make([]byte, 0, n)
	}
	if len(c.block) < n {
		c.block = make([]byte, blockSize)
	}
	b := c.block[:0:n]
	c.block = c.block[n:]
	return b
}
