package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// random is splitmix64: small, and the same on every machine.
type random struct{ state uint64 }

// fork returns the stream of one subsystem.
func fork(seed uint64, name string) *random {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	r := &random{state: seed*0x9e3779b97f4a7c15 ^ h}
	r.next()
	return r
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// n returns 0 to n-1.
func (r *random) n(n int) int { return int(r.next() % uint64(n)) }

// one is true once in n times; never for 0.
func (r *random) one(n int) bool { return n > 0 && r.n(n) == 0 }

func (r *random) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(r.next()%uint64(hi-lo+1))
}

// item is something that happens at a point of world time: a step of somebody,
// or a frame that arrives.
type item struct {
	at     vclock.Time
	serial uint64
	do     func()
	frame  *flight
}

// agenda is a heap of four children each, ordered by time, then by serial.
type agenda []item

func (a agenda) before(i, j int) bool {
	if a[i].at != a[j].at {
		return a[i].at < a[j].at
	}
	return a[i].serial < a[j].serial
}

func (a *agenda) push(x item) {
	*a = append(*a, x)
	h := *a
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 4
		if !h.before(i, up) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (a *agenda) pop() item {
	h := *a
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], item{}
	h = h[:last]
	*a = h
	for i := 0; ; {
		least := i
		for k := 4*i + 1; k <= 4*i+4 && k < len(h); k++ {
			if h.before(k, least) {
				least = k
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// after does something in world time.
func (w *World) after(d time.Duration, do func()) {
	w.serial++
	w.agenda.push(item{at: w.now.Add(max(0, d)), serial: w.serial, do: do})
}

// turn lets the world run until a point of its time.
func (w *World) turn(until vclock.Time) {
	for len(w.agenda) > 0 && w.agenda[0].at <= until && w.failure == "" {
		next := w.agenda.pop()
		w.now = next.at
		if next.frame != nil {
			w.arrive(next.frame)
			continue
		}
		next.do()
	}
	w.now = max(w.now, until)
}

// proc is a modelled process: what it has to do waits while it stands still
// and is forgotten when it is dead.
type proc struct {
	n      *node
	name   string
	dead   bool
	frozen bool
	kept   []func()
}

func (n *node) newProc(name string) *proc {
	p := &proc{n: n, name: name}
	alive := n.procs[:0]
	for _, o := range n.procs {
		if !o.dead {
			alive = append(alive, o)
		}
	}
	n.procs = append(alive, p)
	return p
}

func (p *proc) stuck() bool { return p.frozen || p.n.frozen }

// run does something in a process: now, after it is thawed, or never.
func (w *World) run(p *proc, do func()) {
	switch {
	case p.dead:
	case p.stuck():
		p.kept = append(p.kept, do)
	default:
		do()
	}
}

// later does something in a process after some world time.
func (w *World) later(p *proc, d time.Duration, do func()) {
	w.after(d, func() { w.run(p, do) })
}

// pipe is a stream between two processes: in order, with delay.
type pipe struct{ last vclock.Time }

func (w *World) through(l *pipe, to *proc, do func()) {
	hi := time.Millisecond
	if w.net.one(20) {
		hi = 20 * time.Millisecond
	}
	at := max(l.last, w.now.Add(w.net.between(20*time.Microsecond, hi)+to.n.slow/4))
	l.last = at
	w.later(to, at.Sub(w.now), do)
}

// wake steps a core at its deadline, which is in the system's own time.
type alarm struct{ at vclock.Time }

func (w *World) arm(a *alarm, p *proc, at vclock.Time, ok bool, do func()) {
	if !ok || p.dead || (a.at != 0 && a.at <= at && a.at > p.n.clock()) {
		return
	}
	a.at = at
	w.later(p, p.n.until(at), func() {
		if a.at == at {
			a.at = 0
			do()
		}
	})
}

// thaw lets processes go on with what they have kept: each in its order, the
// processes in any.
func (n *node) thaw() {
	for n.w.failure == "" {
		var ready []*proc
		for _, p := range n.procs {
			if !p.dead && !p.stuck() && len(p.kept) > 0 {
				ready = append(ready, p)
			}
		}
		if len(ready) == 0 {
			return
		}
		p := ready[n.w.boot.n(len(ready))]
		do := p.kept[0]
		p.kept = p.kept[1:]
		do()
	}
}
