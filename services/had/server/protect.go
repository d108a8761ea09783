package server

import (
	"context"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

const (
	declareTimeout = 2 * time.Second
	declareRetry   = time.Second
	// lookInterval is how often the record of what is protected is looked at:
	// a declaration that came through late would otherwise undo a newer one.
	lookInterval = time.Second
	// lastWordTime is how long an ordered leave waits until its last word can
	// be that nothing is protected here; after it had leaves without.
	lastWordTime = 3 * time.Second
)

// protection is what this system declared about what it protects (R2, R14).
type protection struct {
	former   uint32 // declared by a former had of this boot
	toldGab  uint32
	declared uint32 // last declared to fencing with success
	asking   bool
	armed    bool
	retry    vclock.Time
	problem  string
	lookAt   vclock.Time // when the record is next compared with what was declared
}

func (p *protection) retryAt(now vclock.Time) vclock.Time {
	if p.problem == "" || p.asking {
		return vclock.Never
	}
	return max(now, p.retry)
}

// protect keeps gab and fencing informed. Nothing is protected before the
// first view; what a former had of this boot declared holds until this one is
// RUNNING and has looked (R2). The scheduler raises a protected resource only
// after fencing has answered that the system is armed.
func (l *loop) protect(now vclock.Time) {
	if !l.running {
		return
	}
	p := &l.protection
	names := l.sched.Protected()
	n := uint32(len(names))
	if n != p.toldGab {
		p.toldGab = n
		l.check(l.port.Protect(n))
	}
	if n == 0 && p.armed {
		p.armed = false
		l.stepSchedule(schedule.Armed{OK: false})
	}
	l.lookAtRecord(now)
	if p.asking || now < p.retry || (n == p.declared && p.problem == "" && (p.armed || n == 0) && p.former == 0) {
		return
	}
	if l.cfg.Declare == nil { // -onenode: nobody else can start anything
		p.declared, p.former = n, 0
		l.arm(n)
		return
	}
	p.asking = true
	groups := l.groupsOf(names)
	l.workers.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, declareTimeout)
		defer cancel()
		err := l.cfg.Declare(ctx, n, groups)
		l.post(func() { l.declared(n, err) })
	})
}

// lookAtRecord declares again what the record of this system does not say, and
// starts nothing meanwhile (R2).
func (l *loop) lookAtRecord(now vclock.Time) {
	p := &l.protection
	if l.cfg.ReadProtection == nil || p.asking || p.problem != "" || now < p.lookAt {
		return
	}
	p.lookAt = now.Add(lookInterval)
	if p.declared == 0 && !p.armed {
		return // whoever reads too much stops too early, which is safe
	}
	recorded, ok, err := l.cfg.ReadProtection()
	if err == nil && ok && recorded.Resources == p.declared {
		return
	}
	l.log.Error("the record of what is protected here is not what was declared; it is declared again",
		"declared", p.declared, "recorded", recorded.Resources, "error", err)
	p.problem = "the record of what is protected here was not what had declared"
	if p.armed {
		p.armed = false
		l.stepSchedule(schedule.Armed{OK: false})
	}
}

// declared takes fencing's answer.
func (l *loop) declared(n uint32, err error) {
	p := &l.protection
	p.asking = false
	if err != nil {
		p.retry = boottime().Add(declareRetry)
		if p.problem != err.Error() {
			p.problem = err.Error()
			l.engineLine("ERROR", "V-16-1-10630", "No resource of a failover group is brought online here: fencing says: "+p.problem)
		}
		if p.armed {
			p.armed = false
			l.stepSchedule(schedule.Armed{OK: false})
		}
		return
	}
	p.problem, p.retry, p.former = "", 0, 0
	p.declared = n
	l.arm(n)
}

func (l *loop) arm(n uint32) {
	if n > 0 && !l.protection.armed {
		l.protection.armed = true
		l.stepSchedule(schedule.Armed{OK: true})
	}
}

// depart begins the leave that the engine ordered. Forced, what runs here goes
// on and stays protected, and there is nothing more to say.
func (l *loop) depart(forced bool) {
	if forced || l.port == nil || !l.running {
		l.left = true
		return
	}
	l.leaveBy = boottime().Add(lastWordTime)
}

// lastWord ends an ordered leave: when everything that had sent has its place
// and fencing knows that nothing is protected here, the last ordered message
// says so too (R14). Without it gab and fencing refuse to stop in order, and
// their leave would be no evidence.
func (l *loop) lastWord(now vclock.Time) {
	if l.leaveBy == 0 || l.left {
		return
	}
	n := uint32(len(l.sched.Protected()))
	p := &l.protection
	switch {
	case len(l.onLost) == 0 && !p.asking && p.problem == "" && p.declared == n && p.former == 0:
		l.check(l.port.Protect(n))
		p.toldGab = n
	case now < l.leaveBy:
		return
	default:
		l.log.Warn("had leaves without a last word; gab and fencing will not stop in order", "protected", n,
			"unsent", len(l.onLost), "fencing", p.problem)
	}
	l.left = true
}
