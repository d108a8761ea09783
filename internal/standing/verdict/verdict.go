// Package verdict decides when a daemon must stop its system because another
// daemon of it is gone (safety rule R2). It is a pure core: gab, fencing and
// hashadow each run one, fed by package standing with what their pidfds, gab's
// leases and the file of declared protection say.
//
// The rules: gab dead or its lease missed counts at once; fencing or hashadow
// missing counts after Grace. What counts stops the system if something
// protected is here, and makes the daemon leave the cluster if nothing is. A
// daemon that said that it stops in order is no death, unless it is gab or
// fencing and something protected is here (R14). A daemon that was never seen
// is no death either.
package verdict

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// The three daemons that watch each other.
const (
	GAB      = "gab"
	Fencing  = "fencing"
	Hashadow = "hashadow"
)

// names are the three daemons, in a fixed order.
var names = [...]string{GAB, Fencing, Hashadow}

// DefaultGrace is how long fencing or hashadow may be missing.
const DefaultGrace = 2 * time.Second

// settle is how long a gab whose lease was missed while nothing was protected
// has to show a new one once something is: it may be in a view again, had has
// seen that view and declared what it has not probed yet, and the lease is
// still on its way. A lease (half of peerinact, 300 ms by default) and settle
// together end before peerinact does: settle is at most a third of the longest
// lease that was seen.
const settle = 100 * time.Millisecond

// Config is what a Core is made of.
type Config struct {
	// Self is the daemon that the core belongs to; it does not watch itself.
	Self string
	// Grace is how long fencing or hashadow may be missing; 0 is DefaultGrace.
	Grace vclock.Duration
}

// Event is what can happen.
type Event interface {
	event()
	String() string
}

// Seen says that the daemon is there and runs.
type Seen struct {
	Name string
	PID  int
}

// Missing says that the daemon is gone or does not run. Ordered is true if it
// had said so beforehand.
type Missing struct {
	Name    string
	Why     string
	Ordered bool
}

// Lease is gab's good standing; Expires 0 means that gab is in no view.
type Lease struct{ Expires vclock.Time }

// LeaseLost says that gab gave up its standing.
type LeaseLost struct{ Reason string }

// Protected is the number of protected resources here; the shell hands it in
// before each other event.
type Protected struct{ Resources uint32 }

// Wake is the timer.
type Wake struct{}

func (Seen) event()      {}
func (Missing) event()   {}
func (Lease) event()     {}
func (LeaseLost) event() {}
func (Protected) event() {}
func (Wake) event()      {}

func (e Seen) String() string { return fmt.Sprintf("seen %s pid %d", e.Name, e.PID) }
func (e Missing) String() string {
	if e.Ordered {
		return fmt.Sprintf("missing %s in order", e.Name)
	}
	return fmt.Sprintf("missing %s: %s", e.Name, e.Why)
}
func (e Lease) String() string     { return fmt.Sprintf("lease until %v", e.Expires) }
func (e LeaseLost) String() string { return "lease lost: " + e.Reason }
func (e Protected) String() string { return fmt.Sprintf("protected %d", e.Resources) }
func (Wake) String() string        { return "wake" }

// Effect is what is to be done.
type Effect interface {
	effect()
	String() string
}

// SelfStop stops the system, now. It is emitted once.
type SelfStop struct{ Reason string }

// Leave takes the daemon out of the cluster: its standing is gone and nothing
// protected is here.
type Leave struct{ Reason string }

// Note is a fact for the log.
type Note struct{ Code, Text string }

func (SelfStop) effect() {}
func (Leave) effect()    {}
func (Note) effect()     {}

func (e SelfStop) String() string { return "self-stop: " + e.Reason }
func (e Leave) String() string    { return "leave: " + e.Reason }
func (e Note) String() string     { return e.Code + ": " + e.Text }

type presence int

const (
	unseen presence = iota
	here
	missing
	left // in order
)

type peer struct {
	presence presence
	since    vclock.Time // of missing
	why      string
}

// Core is the machine. It belongs to one goroutine.
type Core struct {
	cfg       Config
	peers     [len(names)]peer
	lease     vclock.Time     // 0: none
	span      vclock.Duration // of the longest lease that was seen
	lost      string
	protected uint32
	stopped   bool
	leaving   bool
	appeared  vclock.Time // when something became protected while leaving, 0: not
}

// New returns a core that has seen nothing.
func New(cfg Config) (*Core, error) {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	if cfg.Grace < 0 {
		return nil, fmt.Errorf("watch daemons: grace %v is negative", cfg.Grace)
	}
	if index(cfg.Self) < 0 {
		return nil, fmt.Errorf("watch daemons: %q is none of gab, fencing and hashadow", cfg.Self)
	}
	return &Core{cfg: cfg}, nil
}

func index(name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// Step takes one event and appends what is to be done.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	switch e := ev.(type) {
	case Seen:
		out = c.seen(e, out)
	case Missing:
		out = c.missing(now, e, out)
	case Lease:
		// While nothing is protected here, a gab that is in no view any more
		// owes no lease; otherwise the old one runs out.
		if e.Expires != 0 {
			c.lease, c.lost = e.Expires, ""
			c.span = max(c.span, e.Expires.Sub(now))
		} else if c.protected == 0 {
			c.lease = 0
		}
	case LeaseLost:
		c.lost = e.Reason
		if c.lost == "" {
			c.lost = "no reason given"
		}
	case Protected:
		if c.leaving && c.protected == 0 && e.Resources > 0 {
			c.appeared = now
		}
		c.protected = e.Resources
	}
	return c.judge(now, out)
}

func (c *Core) seen(e Seen, out []Effect) []Effect {
	i := index(e.Name)
	if i < 0 || e.Name == c.cfg.Self {
		return out
	}
	was := c.peers[i].presence
	c.peers[i] = peer{presence: here}
	if was != here {
		out = append(out, Note{Code: "peer-seen", Text: fmt.Sprintf("%s runs, pid %d", e.Name, e.PID)})
	}
	if e.Name == GAB && was != here {
		c.lease, c.lost = 0, ""
	}
	return out
}

func (c *Core) missing(now vclock.Time, e Missing, out []Effect) []Effect {
	i := index(e.Name)
	if i < 0 || e.Name == c.cfg.Self || c.peers[i].presence != here {
		return out
	}
	if e.Ordered && e.Name != Hashadow && c.protected > 0 {
		// R14: to stop gab or fencing by force under something protected is a
		// crash, whatever it said before.
		e.Ordered, e.Why = false, "was stopped by force under something protected"
	}
	if e.Ordered {
		c.peers[i] = peer{presence: left}
		if e.Name == GAB {
			c.lease, c.lost = 0, ""
		}
		return append(out, Note{Code: "peer-left", Text: e.Name + " stopped in order"})
	}
	c.peers[i] = peer{presence: missing, since: now, why: e.Why}
	return append(out, Note{Code: "peer-missing", Text: e.Name + " " + e.Why})
}

// cause is why this system is not in good standing, or "".
func (c *Core) cause(now vclock.Time) string {
	for i, name := range names {
		p := c.peers[i]
		if p.presence != missing {
			continue
		}
		if name == GAB {
			return "gab " + p.why
		}
		if !now.Before(p.since.Add(c.cfg.Grace)) {
			return fmt.Sprintf("%s %s and was still missing after %v", name, p.why, c.cfg.Grace)
		}
	}
	if c.cfg.Self == GAB {
		return ""
	}
	if c.lost != "" {
		return "gab gave up its standing: " + c.lost
	}
	if c.lease != 0 && !now.Before(c.lease) {
		return "gab missed its lease"
	}
	return ""
}

func (c *Core) judge(now vclock.Time, out []Effect) []Effect {
	reason := c.cause(now)
	switch {
	case reason == "":
		c.leaving, c.appeared = false, 0
	case c.stopped:
	case c.protected > 0 && c.settling() && now.Before(c.appeared.Add(c.settle())):
	case c.protected > 0:
		c.stopped = true
		out = append(out, SelfStop{Reason: reason})
	case !c.leaving:
		c.leaving = true
		out = append(out, Leave{Reason: reason})
	}
	return out
}

// settle is how long a missing lease may still come; see the constant.
func (c *Core) settle() vclock.Duration {
	if c.span == 0 {
		return settle
	}
	return min(settle, c.span/3)
}

// settling reports whether gab runs and only its lease is missing, and was
// before something became protected.
func (c *Core) settling() bool {
	return c.leaving && c.appeared != 0 && c.peers[index(GAB)].presence == here && (c.lease != 0 || c.lost != "")
}

// Deadline is when Step must be called with Wake, if nothing comes before.
func (c *Core) Deadline() (vclock.Time, bool) {
	if c.stopped {
		return 0, false
	}
	if c.leaving {
		return c.appeared.Add(c.settle()), c.protected > 0 && c.settling()
	}
	next := vclock.Never
	for i, name := range names {
		if p := c.peers[i]; p.presence == missing && name != GAB {
			next = vclock.Earlier(next, p.since.Add(c.cfg.Grace))
		}
	}
	if c.lease != 0 && c.cfg.Self != GAB {
		next = vclock.Earlier(next, c.lease)
	}
	return next, next != vclock.Never
}

// Leaving reports whether a cause stands while nothing is protected: then Wake
// has to come again and again, since something may become protected.
func (c *Core) Leaving() bool { return c.leaving && !c.stopped }

// Hash is a hash of the whole state.
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %v %d %q %d %t %t %d %d", c.cfg, c.peers, c.lease, c.lost, c.protected, c.stopped, c.leaving, c.appeared, c.span)
	return h.Sum64()
}
