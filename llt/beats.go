package llt

import (
	"bytes"
	"fmt"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// A core that makes no step sends no heartbeat. So that its peers hear all the
// same that it lives and stands still (R19), it lends its shell what heartbeats
// are made of: Beats. Nothing of that is the core's any more, in particular not
// the counters: no nonce is ever used by both (R20).

// Bounds of a loan, in counters of a link. Both together stay well below the
// window of the receivers (replay.Size), so that a counter that was lent counts
// there, however many frames the core itself has sent since.
const (
	maxLent   = 512  // counters that are lent at once
	maxBehind = 1024 // counters that the core uses before it lends anew
)

// LendBeats asks for Beats, which replace those before. Give it when BeatsOld
// says so, and when some of the last ones were sent.
type LendBeats struct {
	// Sent is how many of the last ones were sent.
	Sent uint64
}

func (LendBeats) event()           {}
func (e LendBeats) String() string { return fmt.Sprintf("lend-beats sent=%d", e.Sent) }

// Beats is an effect: heartbeats to each proven peer on each network link that
// is up, for as long as the core makes no step. They say what the core knew when
// it lent them, which harms nothing: peers ignore acknowledgements that they
// have had and epochs that are over.
//
// The counters suffice for peerinact and some heartbeats more; in clusters of
// more than 32 systems for less. Beats is for one goroutine, whichever; it
// shares nothing with the core.
type Beats struct {
	header frame.Header // of all of them but for link, receiver and counter
	sealer *frame.Sealer
	beats  []beat
	links  [MaxLinks]lentLink
}

type beat struct {
	link   LinkID
	to     NodeID
	dst    []byte
	status frame.Status
}

type lentLink struct {
	every     vclock.Duration
	next, end uint64 // counters
}

func (*Beats) effect()          {}
func (b *Beats) String() string { return fmt.Sprintf("beats len=%d", len(b.beats)) }

// Len is the number of heartbeats of a round.
func (b *Beats) Len() int { return len(b.beats) }

// To says where heartbeat i, 0 to Len()-1, goes: over which link, to which
// address, and how often it is due.
func (b *Beats) To(i int) (link LinkID, dst []byte, every vclock.Duration) {
	t := &b.beats[i]
	return t.link, t.dst, b.links[t.link].every
}

// Frame appends the frame of heartbeat i to buf, age being the time since the
// core's last step. It reports false if the counters of the link are used up:
// then the system has to be silent there. With room in buf for a frame of
// BeatSize bytes it allocates nothing.
func (b *Beats) Frame(i int, age vclock.Duration, buf []byte) ([]byte, bool) {
	t := &b.beats[i]
	l := &b.links[t.link]
	if l.next >= l.end {
		return buf, false
	}
	h := b.header
	h.Dst, h.Link, h.Counter = uint8(t.to), uint8(t.link), l.next
	l.next++
	t.status.AgeMs = ageMs(age)
	start := len(buf)
	buf = frame.Begin(buf, h, b.sealer)
	buf = t.status.Append(buf)
	return frame.Finish(buf, start, b.sealer), true
}

// BeatSize is the most that a heartbeat takes, in bytes.
const BeatSize = frame.DataOverhead

// BeatsOld reports whether the Beats that were lent last no longer say what the
// core would say: peers, addresses, links or keys have changed, or their
// counters are about to become too old.
func (c *Core) BeatsOld() bool {
	if c.beatsOld {
		return true
	}
	for i := range c.links {
		if l := &c.links[i]; l.up && l.counter-l.lent > maxBehind {
			return true
		}
	}
	return false
}

// lendBeats emits Beats.
func (c *Core) lendBeats(e LendBeats) {
	c.counters[cntSndHeartbeat] += e.Sent
	c.beatsOld = false
	b := &Beats{sealer: c.beatSealer, header: frame.Header{
		Kind: frame.KindHeartbeat, Cluster: c.cfg.Cluster, Src: uint8(c.cfg.Node), BootTag: frame.Tag(c.cfg.BootID),
	}}
	for i := range c.links {
		l := &c.links[i]
		if !l.up || l.HeartbeatOnly || c.stopped {
			continue
		}
		first := len(b.beats)
		for _, p := range c.peers {
			if p != nil && p.known && p.links[i].addr != nil {
				b.beats = append(b.beats, beat{link: LinkID(i), to: p.id, dst: bytes.Clone(p.links[i].addr), status: c.ownStatus(p)})
			}
		}
		every := c.heartbeatOf(LinkID(i))
		rounds := uint64(c.timers.PeerInact/every) + 4
		n := min(rounds*uint64(len(b.beats)-first), maxLent)
		b.links[i] = lentLink{every: every, next: l.counter + 1, end: l.counter + 1 + n}
		l.counter += n
		l.lent = l.counter
	}
	c.emit(b)
}

// freshBeatSealer makes the sealer of beats for the key that is used now: not
// the core's own, as two goroutines seal.
func (c *Core) freshBeatSealer() {
	c.beatsOld = true
	if s, err := frame.NewSealer(c.sendKey, c.cfg.Cluster, uint8(c.cfg.Node), c.cfg.BootID); err == nil {
		c.beatSealer = s
	}
}

// ageMs is an age of the core as frames carry it.
func ageMs(age vclock.Duration) uint32 { return uint32(min(max(age, 0).Milliseconds(), 1<<31)) }
