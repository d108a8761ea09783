package llt

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
	"github.com/evenkeel/evenkeel/llt/replay"
)

// Core is one system's end of LLT. It is not safe for use by two goroutines.
type Core struct {
	cfg        Config
	timers     Timers
	keys       []Key
	sendKey    Key
	sealer     *frame.Sealer // of the own frames; nil without a key
	beatSealer *frame.Sealer // the same for Beats
	beatsOld   bool          // the Beats that were lent say what is no longer so
	chunk      int           // bytes of the stream per data frame

	links []link
	peers [MaxNodes]*peer // nil: never heard of
	self  peer            // whoever else claims the own node id

	started  bool
	stopped  bool
	now      vclock.Time
	promised vclock.Time // Deadline after the last step, Never if none
	alive    vclock.Time // last CoreAlive
	conns    uint64      // last number of a connection
	nonces   uint64      // how many were drawn

	counters [counterCount]uint64
	noted    map[string]bool // causes that were noted; bounded by maxNoted
	troubles map[troubleKey]*trouble
	oldKeys  []Key       // nothing counts under them; they tell who was down meanwhile
	nextKey  Key         // used when the others are seen to use it
	out      []Effect    // of the step under way
	spare    []*FrameOut // given back by Recycle, at most maxSpare
	buffers  [][]byte    // of frames, to put in the place of those that are kept; at most window
	block    []byte      // what small messages share
	gives    []Deliver   // of the step under way
	dones    []SendDone  // of the step under way
}

// link is a local link.
type link struct {
	LinkConfig
	up      bool
	absent  bool   // removed; the number may be used again
	counter uint64 // of the last frame that was sealed for it
	lent    uint64 // the last counter that was lent to Beats
	hbAt    vclock.Time
	helloAt vclock.Time

	txFrames, txBytes, rxFrames, rxBytes uint64
}

// identity is one start of one system: what frames are opened with.
type identity struct {
	boot        [frame.BootSize]byte
	incarnation uint64
	sealers     []*frame.Sealer // by key, made when first needed
}

// peer is another system, whether it was heard of or only configured.
type peer struct {
	id    NodeID
	links []peerLink

	known  bool   // who answered a challenge
	speech speech // of the build behind the proven boot id
	who    identity
	// candidate has sent something under a boot id that is not proven.
	candidate   bool
	cand        identity
	candNonce   frame.Nonce
	candAskedAt vclock.Time
	rival       uint32                  // tag of a boot id that was proven while the known one lived
	retired     [8][frame.BootSize]byte // boot ids that never count again
	retiredAt   int

	open      bool
	conn      uint64
	ownEpoch  uint64
	peerEpoch uint64
	repliedAt vclock.Time

	lastHeard vclock.Time
	coreAt    vclock.Time // when its gab core made a step, the last that is known of
	stalled   bool
	up        int // network links on which it is not DOWN
	upSince   vclock.Time
	jeopardy  bool
	disk      diskState

	tx sendStream
	rx recvStream
}

// peerLink is a peer on one link.
type peerLink struct {
	addr      []byte // nil: unknown
	static    bool
	heard     bool
	state     LinkState
	lastHeard vclock.Time
	window    replay.Window
	// order counts the data frames sent on the link, acked is the highest of
	// them that was acknowledged: those well below it are lost.
	order, acked uint64
	path
	shun
	traffic
}

// traffic is what went over one link between this system and one peer.
type traffic struct {
	txFrames, txBytes, rxFrames, rxBytes uint64
	resent                               uint64 // data frames sent anew after they were first sent here
	missed                               uint64 // heartbeats that did not come when they were due
	rtt, jitter                          vclock.Duration
	sentOf, lostOf                       uint64 // data frames of late
}

// loss is the share of data frames that were lost, in thousandths.
func (t *traffic) loss() int {
	if t.sentOf == 0 {
		return 0
	}
	return int(1000 * t.lostOf / t.sentOf)
}

// lossSpan is over how many data frames the loss is reckoned; at twice that,
// both counts are halved.
const lossSpan = 2048

// sentData and lostData count data frames for loss.
func (t *traffic) sentData() {
	if t.sentOf++; t.sentOf >= 2*lossSpan {
		t.sentOf, t.lostOf = t.sentOf/2, t.lostOf/2
	}
}

func (t *traffic) lostData() { t.lostOf = min(t.lostOf+1, t.sentOf) }

// trip takes the round trip of a data frame that was sent once (RFC 6298,
// section 2, with the deviation as jitter).
func (t *traffic) trip(rtt vclock.Duration) {
	if t.rtt == 0 {
		t.rtt, t.jitter = max(rtt, 1), rtt/2
		return
	}
	d := t.rtt - rtt
	if d < 0 {
		d = -d
	}
	t.jitter += (d - t.jitter) / 4
	t.rtt = max(t.rtt+(rtt-t.rtt)/8, 1)
}

// LinkState is the state of a peer on one link.
type LinkState uint8

// States of a peer on one link.
const (
	LinkStateDown    LinkState = iota // silent for peerinact, or never heard
	LinkStateTrouble                  // silent for peertrouble: no data on it
	LinkStateUp
)

func (s LinkState) String() string {
	switch s {
	case LinkStateUp:
		return "UP"
	case LinkStateTrouble:
		return "TROUBLE"
	}
	return "DOWN"
}

const (
	maxNoted  = 512
	maxSpare  = 1024
	helloFast = 2  // heartbeats between hellos while a peer is missing
	helloSlow = 10 // heartbeats between hellos otherwise
)

// New makes a core. Its links are down until LinkUp.
func New(cfg Config) (*Core, error) {
	if cfg.Timers == (Timers{}) {
		cfg.Timers, _ = Profile("default")
	}
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure llt: %w", err)
	}
	c := &Core{cfg: cfg, timers: cfg.Timers, promised: vclock.Never, noted: map[string]bool{}, troubles: map[troubleKey]*trouble{}}
	c.cfg.Exclude = slices.Clone(cfg.Exclude)
	for _, l := range cfg.Links {
		c.links = append(c.links, link{LinkConfig: l, hbAt: vclock.Never, helloAt: vclock.Never})
	}
	c.rechunk()
	if len(cfg.Key) > 0 {
		s, err := frame.NewSealer(cfg.Key, cfg.Cluster, uint8(cfg.Node), cfg.BootID)
		if err != nil {
			return nil, fmt.Errorf("configure llt: %w", err)
		}
		c.keys, c.sendKey, c.sealer = []Key{cfg.Key}, cfg.Key, s
		c.freshBeatSealer()
		c.oldKeys = slices.Clone(cfg.OldKeys)
		if len(cfg.NextKey) >= frame.MinKey && cfg.NextKey.ID() != cfg.Key.ID() {
			c.keys, c.nextKey = append(c.keys, cfg.NextKey), cfg.NextKey
		}
	}
	c.self = peer{id: cfg.Node}
	for i, l := range cfg.Links {
		for _, a := range l.Peers {
			if p := c.peer(a.Node); p != nil {
				p.links[i].addr, p.links[i].static = bytes.Clone(a.Addr), true
			}
		}
	}
	for _, n := range cfg.Peers {
		c.peer(n)
	}
	return c, nil
}

// peer returns the peer with a node id, or nil for the own one and those that
// are excluded.
func (c *Core) peer(n NodeID) *peer {
	if n == c.cfg.Node || bytes.IndexByte(nodeBytes(c.cfg.Exclude), byte(n)) >= 0 {
		return nil
	}
	if c.peers[n] == nil {
		c.peers[n] = &peer{id: n, links: make([]peerLink, len(c.links)), ownEpoch: c.firstEpoch()}
	}
	return c.peers[n]
}

func nodeBytes(ids []NodeID) []byte {
	out := make([]byte, len(ids))
	for i, n := range ids {
		out[i] = byte(n)
	}
	return out
}

// nonce draws 128 bits that nobody can foresee.
func (c *Core) nonce() (n frame.Nonce) {
	c.nonces++
	m := hmac.New(sha256.New, c.cfg.Seed[:])
	m.Write(binary.BigEndian.AppendUint64(c.cfg.BootID[:], c.nonces))
	copy(n[:], m.Sum(nil))
	n[0] |= 1 // never the zero nonce
	return n
}

// firstEpoch is where the epochs for a peer start: not where an earlier start
// of this system could have been, so that a peer's memory of that one never
// looks like this one.
func (c *Core) firstEpoch() uint64 {
	n := c.nonce()
	return binary.BigEndian.Uint64(n[4:])>>2 + 1
}

// Step takes one event and appends its effects to out. It is the only way in.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	c.out = out
	clear(c.gives)
	c.gives, c.dones = c.gives[:0], c.dones[:0]
	c.begin(now)
	switch e := ev.(type) {
	case Wake:
	case *FrameIn:
		c.frameIn(e)
	case LinkUp:
		c.linkUp(e.Link)
	case LinkDown:
		c.linkDown(e.Link)
	case *Send:
		c.send(e)
	case CoreAlive:
		c.alive = now
	case LendBeats:
		c.lendBeats(e)
	case Reset:
		c.reset(e)
	case SetTimer:
		c.setTimer(e)
	case InstallKey:
		c.installKey(e.Key)
	case UseKey:
		c.useKey(e.ID)
	case DropKey:
		c.dropKey(e.ID)
	case AddLink:
		c.addLink(e)
	case RemoveLink:
		c.removeLink(e.Link)
	case SetLink:
		c.setLink(e)
	case SetAddress:
		c.setAddress(e)
	case SetExclude:
		c.setExclude(e)
	case ResetCounters:
		c.resetCounters()
	case Stop:
		c.stop()
	}
	c.runTimers()
	c.promised, _ = c.Deadline()
	out, c.out = c.out, nil
	return out
}

// begin takes the time. If the core was called much later than it asked for,
// this system stood still: the silence is its own and no peer's fault, and
// nobody expires before a fresh wait.
func (c *Core) begin(now vclock.Time) {
	if !c.started {
		c.started, c.alive = true, now
	}
	c.now = now
	late := now.Sub(c.promised)
	if c.promised == vclock.Never || late <= c.timers.Heartbeat {
		return
	}
	c.counters[cntLate]++
	c.note("timer-late", "ms="+fmt.Sprint(late.Milliseconds()))
	c.trouble("timer-late", -1, -1, "", fmt.Sprintf("this system stood still for %d ms", late.Milliseconds()))
	for _, p := range c.peers {
		if p == nil {
			continue
		}
		p.lastHeard = vclock.Earlier(p.lastHeard.Add(late), now)
		p.coreAt = vclock.Earlier(p.coreAt.Add(late), now)
		for i := range p.links {
			pl := &p.links[i]
			pl.lastHeard = vclock.Earlier(pl.lastHeard.Add(late), now)
		}
	}
}

// Deadline is when Step must next be called with Wake, if nothing comes
// before.
func (c *Core) Deadline() (vclock.Time, bool) {
	if c.stopped {
		return vclock.Never, false
	}
	at := vclock.Never
	for i := range c.links {
		if c.links[i].up {
			at = vclock.Earlier(at, vclock.Earlier(c.links[i].hbAt, c.links[i].helloAt))
		}
	}
	for _, p := range c.peers {
		if p != nil && p.known {
			at = vclock.Earlier(at, c.peerDeadline(p))
		}
	}
	return at, at != vclock.Never
}

// runTimers does whatever has become due.
func (c *Core) runTimers() {
	if c.stopped {
		return
	}
	for _, p := range c.peers {
		if p != nil && p.known {
			c.expire(p)
			c.streamTimers(p)
		}
	}
	for i := range c.links {
		l := &c.links[i]
		if !l.up {
			continue
		}
		if l.hbAt <= c.now && l.HeartbeatOnly {
			c.beacon(LinkID(i))
			l.hbAt = c.now.Add(c.heartbeatOf(LinkID(i)))
		}
		if l.hbAt <= c.now {
			c.heartbeats(LinkID(i))
			l.hbAt = c.now.Add(c.heartbeatOf(LinkID(i)))
		}
		if l.helloAt <= c.now {
			c.hello(LinkID(i))
			l.helloAt = c.now.Add(c.helloInterval(LinkID(i)))
		}
	}
}

func (c *Core) heartbeatOf(l LinkID) vclock.Duration {
	if c.links[l].LowPriority || c.links[l].HeartbeatOnly {
		return c.timers.HeartbeatLow
	}
	return c.timers.Heartbeat
}

// emit appends an effect of the step under way.
func (c *Core) emit(e Effect) { c.out = append(c.out, e) }

// note emits a Note.
func (c *Core) note(code string, attrs ...string) { c.emit(Note{Code: code, Attrs: attrs}) }

// noteOnce emits a Note unless the same code and attributes were noted before.
func (c *Core) noteOnce(code string, attrs ...string) {
	key := Note{Code: code, Attrs: attrs}.String()
	if c.noted[key] || len(c.noted) >= maxNoted {
		return
	}
	c.noted[key] = true
	c.note(code, attrs...)
}

func (c *Core) linkUp(id LinkID) {
	if int(id) >= len(c.links) || c.links[id].up || c.links[id].absent || c.stopped {
		return
	}
	l := &c.links[id]
	l.up, c.beatsOld = true, true
	l.hbAt, l.helloAt = c.now, c.now
	if l.HeartbeatOnly {
		l.helloAt = vclock.Never
	}
	c.note("local-link-up", c.linkAttr(id))
}

func (c *Core) linkDown(id LinkID) {
	if int(id) >= len(c.links) || !c.links[id].up {
		return
	}
	l := &c.links[id]
	l.up, c.beatsOld = false, true
	c.note("local-link-down", c.linkAttr(id))
	for _, p := range c.peers {
		if p != nil && p.links[id].state != LinkStateDown {
			c.setLinkState(p, id, LinkStateDown)
		}
	}
}

func (c *Core) linkAttr(id LinkID) string {
	return fmt.Sprintf("link=%d(%s)", id, c.links[id].Tag)
}

func (c *Core) reset(e Reset) {
	if e.Node >= MaxNodes {
		return
	}
	if p := c.peers[e.Node]; p != nil && p.open {
		c.note("reset", fmt.Sprintf("node=%d", e.Node), fmt.Sprintf("reason=%q", e.Reason))
		c.closeConn(p, DownReset)
	}
}

func (c *Core) setTimer(e SetTimer) {
	t := c.timers
	if !t.Set(e.Name, e.Value) {
		c.note("timer-refused", "name="+e.Name, "cause=unknown")
		return
	}
	if err := t.Validate(); err != nil {
		c.note("timer-refused", "name="+e.Name, fmt.Sprintf("cause=%q", err))
		return
	}
	c.timers = t
	c.note("timer-set", "name="+e.Name, "value="+e.Value.String())
	for i := range c.links {
		c.links[i].hbAt = vclock.Earlier(c.links[i].hbAt, c.now.Add(c.heartbeatOf(LinkID(i))))
	}
	c.beatsOld = true
}

func (c *Core) stop() {
	if c.stopped {
		return
	}
	for _, p := range c.peers {
		if p == nil || !p.known {
			continue
		}
		for i := range c.links {
			c.status(p, LinkID(i), frame.KindFarewell)
		}
		if p.open {
			c.closeConn(p, DownStopped)
		}
	}
	c.stopped, c.beatsOld = true, true
}

// Hash is a digest of the state that decides about future effects.
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	put := func(vs ...uint64) {
		for _, v := range vs {
			var b [8]byte
			binary.BigEndian.PutUint64(b[:], v)
			h.Write(b[:])
		}
	}
	put(c.conns, c.nonces, uint64(c.alive), truth(c.stopped), uint64(c.sendKey.ID()))
	for i := range c.links {
		l := &c.links[i]
		put(truth(l.up), l.counter, uint64(l.hbAt), uint64(l.helloAt))
	}
	for _, p := range c.peers {
		if p == nil {
			continue
		}
		put(uint64(p.id), truth(p.known), truth(p.open), truth(p.stalled), truth(p.jeopardy), p.conn, p.ownEpoch, p.peerEpoch, uint64(p.up), uint64(p.upSince), uint64(p.lastHeard), uint64(p.coreAt))
		put(truth(p.disk.up), truth(p.disk.told), truth(p.disk.sticky), uint64(p.disk.alone))
		h.Write(p.who.boot[:])
		for i := range p.links {
			pl := &p.links[i]
			put(uint64(pl.state), uint64(pl.lastHeard), pl.order, pl.acked)
			h.Write(pl.addr)
		}
		put(p.tx.una, p.tx.next, uint64(p.tx.cwnd), uint64(p.tx.uncut()), uint64(p.tx.queued), p.rx.expected, uint64(len(p.rx.msg)))
	}
	return h.Sum64()
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
