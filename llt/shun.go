package llt

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// A link may be UP, as heartbeats of the peer arrive over it, and yet lose each
// frame of data: a filter or a switch that drops one way, a path that is
// narrower than before. Such a link is shunned: as long as another one carries
// data it gets a single frame from time to time, to see whether it passes.

const (
	shunAfter  = 8 // frames of data lost, none having been acknowledged
	shunAtMost = time.Second
)

// shun is what a link has lost of late.
type shun struct {
	inRow  int         // frames of data lost since one was acknowledged
	since  vclock.Time // when the first of them was lost
	tryAt  vclock.Time
	trials int
}

func (s *shun) failed(now vclock.Time) {
	if s.inRow++; s.inRow == 1 {
		s.since = now
	}
}

// shunned says whether a link to a peer should get nothing now. Where no other
// link has passed a frame meanwhile, it is the peer that is late, not the link.
func (p *peer) shunned(i int, now vclock.Time) bool {
	s := &p.links[i].shun
	return s.inRow >= shunAfter && now < s.tryAt && p.passesElsewhere(LinkID(i), s.since)
}

// given takes note that the link gets a frame; if that is to try it, the next
// one waits, longer each time.
func (s *shun) given(now vclock.Time, retrans vclock.Duration) {
	if s.inRow < shunAfter || now < s.tryAt {
		return
	}
	s.tryAt = now.Add(min(retrans<<min(s.trials, 8), shunAtMost))
	s.trials++
}
