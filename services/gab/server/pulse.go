package server

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/internal/realtime"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
)

// pulse is the heartbeat while no turn comes to its end: because the cores are
// at something long, wait for memory, or hang. A thread of its own, above the
// others of gab where that is permitted, sends what LLT's core has lent for
// that, with the age of the last turn in it. So the peers tell a system whose gab
// stands still, STALLED, from one that is gone, and count it as DOWN when that
// age exceeds peerinact (R19): heartbeats hide nothing.
//
// It allocates nothing, takes no lock that a turn holds, and needs nothing from
// the cores but the loan. While turns come to their ends it sends nothing.
type pulse struct {
	loan atomic.Pointer[llt.Beats]
	used atomic.Bool   // some of the loan were sent: the core must lend anew
	sent atomic.Uint64 // since the last loan
	off  atomic.Bool   // the incarnation is over

	gone   chan struct{} // closed when the thread has ended
	looked vclock.Time   // last
	beaten [llt.MaxLinks]vclock.Time
	buf    []byte
}

// live is the life of the thread; it ends with ctx.
func (p *pulse) live(ctx context.Context, l *loop) {
	runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
	if l.s.cfg.Realtime {
		realtime.Thread(realtime.Pulse)
	}
	defer close(p.gone)
	p.buf = make([]byte, 0, llt.BeatSize)
	p.looked = standing.Boottime()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait, goesOn := p.look(standing.Boottime(), l)
		if !goesOn {
			return
		}
		timer.Reset(wait)
	}
}

// look sends the heartbeats that are due at now if the turns are late, and says
// when to look again. It reports false when nothing may be sent any more: the
// incarnation is over, or this thread too stood still for longer than the
// lease (R19). Then only the core may decide.
func (p *pulse) look(now vclock.Time, l *loop) (wait vclock.Duration, goesOn bool) {
	gap := now.Sub(p.looked)
	p.looked = now
	if p.off.Load() || l.out.Load() || (gap > l.lease && l.standing.Load()) {
		return 0, false
	}
	// A turn comes each half heartbeat at least.
	turn := vclock.Time(l.turn.Load())
	due := turn.Add(l.beat / 2).Add(l.beat / 4)
	if now < due {
		return due.Sub(now), true
	}
	loan := p.loan.Load()
	if loan == nil {
		return l.beat / 2, true
	}
	next := now.Add(l.beat)
	sent := [llt.MaxLinks]bool{}
	for i := range loan.Len() {
		link, dst, every := loan.To(i)
		if again := p.beaten[link].Add(every); p.beaten[link] > turn && again > now {
			next = vclock.Earlier(next, again)
			continue
		}
		at := standing.Boottime()
		if at.Sub(now) > l.lease {
			return 0, true // stood still just now: look at that first
		}
		frame, ok := loan.Frame(i, at.Sub(turn), p.buf)
		if !ok {
			continue // used up: silent from here on
		}
		p.used.Store(true)
		sent[link] = true
		if l.links.Beat(link, dst, frame) {
			p.sent.Add(1)
		}
	}
	for i, s := range sent {
		if s {
			p.beaten[i] = now
		}
	}
	return next.Sub(now), true
}

// lend lets LLT's core lend beats, when it has something new to say or some
// were sent.
func (l *loop) lend(now vclock.Time) {
	if l.pulse.used.Swap(false) || l.llt.BeatsOld() {
		l.stepLLT(now, llt.LendBeats{Sent: l.pulse.sent.Swap(0)})
	}
}
