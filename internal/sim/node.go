package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/standing/verdict"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/gab"
)

// node is one machine: what outlives its boots, and what runs in this one.
type node struct {
	w      *World
	id     int
	name   string
	offset time.Duration // of its clock since since
	drift  int64         // parts per million
	since  vclock.Time   // world time of the last change of either
	wallBy time.Duration // what its wall clock is off
	slow   time.Duration // delays of everything it does
	dark   []bool        // interfaces that are down, by link

	on      bool
	booting bool // somebody has pressed the button
	frozen  bool
	boots   int
	procs   []*proc

	gab    *gabd
	fence  *fenced
	had    *hadd
	shadow *shadow

	disk      *ownDisk
	hadInc    uint64       // the last incarnation of had, on disk
	persisted uint64       // gab's counter on disk
	declared  uint32       // /run/evenkeel/protection
	declKnown bool         // the file is there
	known     []standingOf // /run/evenkeel/evidence.json, by node
	running   []bool       // the applications, by resource
	lease     vclock.Time  // the end of the last that gab had in this boot
	stopped   bool         // had was stopped in order; an operator starts it
}

// standingOf is what storage agents know about a system.
type standingOf struct {
	inc      uint64
	member   bool
	evidence gab.Evidence
}

// clock is the system's own time (CLOCK_BOOTTIME): a function of world time.
func (n *node) clock() vclock.Time {
	t := int64(n.w.now - n.since)
	return vclock.Time(int64(n.since) + t + t/1_000_000*n.drift + t%1_000_000*n.drift/1_000_000).Add(n.offset)
}

// until is how long it takes in world time until the system's clock shows at.
func (n *node) until(at vclock.Time) time.Duration {
	d := at.Sub(n.clock())
	if d <= 0 {
		return 0
	}
	return d - d/1_000_000*time.Duration(n.drift) + 2*time.Microsecond
}

// adjust changes the clock: it jumps forward by jump, and runs with another
// drift from now on.
func (n *node) adjust(jump time.Duration, drift int64) {
	now := n.clock()
	n.since, n.drift = n.w.now, drift
	n.offset = now.Add(jump).Sub(n.since)
}

// wall is the system's wall clock in nanoseconds: about right, but it may be
// set, also back.
func (n *node) wall() int64 {
	const someDay = 1_790_000_000_000_000_000
	return someDay + int64(n.w.now) + int64(n.wallBy)
}

// powerOn boots the machine.
func (n *node) powerOn() {
	w := n.w
	if n.on || w.failure != "" {
		return
	}
	n.on, n.frozen, n.booting = true, false, false
	n.boots++
	n.procs = nil
	n.declared, n.declKnown, n.stopped, n.slow, n.lease = 0, false, false, 0, 0
	n.known = make([]standingOf, len(w.nodes))
	w.tell("%s boots", n.name)
	n.startShadow()
	w.later(n.shadow.proc, w.boot.between(10*time.Millisecond, 200*time.Millisecond), n.startGab)
	w.later(n.shadow.proc, w.boot.between(10*time.Millisecond, 400*time.Millisecond), n.startFencing)
	w.later(n.shadow.proc, w.boot.between(100*time.Millisecond, time.Second), n.startHad)
}

// powerOff takes everything away at once.
func (n *node) powerOff(why string) {
	w := n.w
	if !n.on {
		return
	}
	w.tell("%s is off: %s", n.name, why)
	n.on, n.frozen = false, false
	for _, p := range n.procs {
		p.dead = true
	}
	n.procs = nil
	n.gab, n.fence, n.had, n.shadow = nil, nil, nil, nil
	n.disk.powerLost()
	for r := range n.running {
		n.running[r] = false
	}
}

// reboot powers off and on again after a while.
func (n *node) reboot(why string, lo, hi time.Duration) {
	n.powerOff(why)
	n.pressButton(lo, hi)
}

// pressButton switches the machine on again after a while, unless somebody
// else was faster.
func (n *node) pressButton(lo, hi time.Duration) {
	if n.booting {
		return
	}
	n.booting = true
	n.w.after(n.w.boot.between(lo, hi), n.powerOn)
}

// selfStop is R2's action: the system stops itself and comes up again.
func (n *node) selfStop(reason string) {
	w := n.w
	boots := n.boots
	if w.broken("no-self-stop") {
		return
	}
	w.say("%s stops itself: %s", n.name, reason)
	w.oracle.count("self-stops")
	w.after(w.boot.between(time.Millisecond, 20*time.Millisecond), func() {
		if n.on && n.boots == boots && !n.frozen {
			n.reboot("stopped itself: "+reason, 4*time.Second, 9*time.Second)
		} else if n.on && n.boots == boots {
			n.w.run(n.newProc("stop"), func() { n.selfStop(reason) })
		}
	})
}

// freeze lets the whole machine stand still, as a hypervisor does.
func (n *node) freeze(d time.Duration) {
	w := n.w
	if !n.on || n.frozen {
		return
	}
	w.tell("%s stands still for %s", n.name, d)
	n.frozen = true
	boots := n.boots
	w.after(d, func() {
		if n.on && n.boots == boots && n.frozen {
			n.frozen = false
			w.tell("%s goes on", n.name)
			w.oracle.thawed(n)
			n.thaw()
		}
	})
}

// freezeProc is SIGSTOP and SIGCONT for one process.
func (w *World) freezeProc(p *proc, d time.Duration) {
	if p == nil || p.dead || p.frozen {
		return
	}
	w.tell("%s of %s stands still for %s", p.name, p.n.name, d)
	p.frozen = true
	w.after(d, func() {
		if !p.dead && p.frozen {
			p.frozen = false
			p.n.thaw()
		}
	})
}

// shadow is hashadow: it starts had again, and judges the daemons (R2).
type shadow struct {
	*proc
	core  *verdict.Core
	alarm alarm
}

func (n *node) startShadow() {
	core, err := verdict.New(verdict.Config{Self: verdict.Hashadow})
	if err != nil {
		panic(err)
	}
	n.shadow = &shadow{proc: n.newProc("hashadow"), core: core}
}

// judge hands what was seen to the verdict core.
func (n *node) judge(ev verdict.Event) {
	s := n.shadow
	if s == nil {
		return
	}
	n.w.later(s.proc, n.w.boot.between(time.Millisecond, 30*time.Millisecond), func() { s.step(ev) })
}

func (s *shadow) step(ev verdict.Event) {
	n, w := s.n, s.n.w
	w.steps++
	out := s.core.Step(n.clock(), verdict.Protected{Resources: n.declared}, nil)
	out = s.core.Step(n.clock(), ev, out)
	for _, e := range out {
		w.say("%s hashadow < %s > %s", n.name, ev, e)
		if stop, ok := e.(verdict.SelfStop); ok {
			n.selfStop(stop.Reason)
		}
	}
	at, ok := s.core.Deadline()
	w.arm(&s.alarm, s.proc, at, ok, func() { s.step(verdict.Wake{}) })
}
