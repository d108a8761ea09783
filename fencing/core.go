package fencing

import (
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// Config is what a Core is made of.
type Config struct {
	// Points is the number of configured coordination points: 0 (mode
	// disabled) or odd and at least 3.
	Points int
	// RaceDelay is how long the lighter side waits (R12).
	RaceDelay vclock.Duration
	// RaceTimeout is T_race: so long one racer tries; then the next takes over
	// (R11).
	RaceTimeout vclock.Duration
	// Retry is the pause after a failed or lost point and before a refused
	// start is tried again; 0 is 100 ms.
	Retry vclock.Duration
	// PowerSwitch says that there is one: after a win every departed system is
	// powered off (R4).
	PowerSwitch bool
	// DataDisksFenced says that everything that a departed system may hold lies
	// behind persistent reservations that a win takes away too: only then is a
	// win CUT (R1). Image disks never count (R4).
	DataDisksFenced bool

	// broken breaks one rule on purpose; only tests set it.
	broken mutation
}

// mutation is a rule that a test breaks to see that the harness notices.
type mutation uint8

const (
	mutNone                mutation = iota
	mutMajorityOfReachable          // count points that answer, not those configured
	mutConflictIsWon                // R11: take a conflict for a win
	mutNoRecheck                    // R13: join although a system left meanwhile
	mutNoPreStartCheck              // R13: join although strangers' keys are there
	mutAnswerUnproven               // R1: answer without evidence
	mutRegisterInRace               // register again during a race
	mutOnlyNewLosses                // R10: forget the earlier departed
)

// startRetry is how often a refused start-up is tried again.
const startRetry = 2 * time.Second

// powerRetry is the pause between attempts to power a system off.
const powerRetry = 2 * time.Second

// Phase is where the core is.
type Phase uint8

// The phases.
const (
	Waiting  Phase = iota // for gab's membership
	Starting              // registers and checks (R13)
	Refused               // found a reason not to join
	Joining               // has asked for port b
	Running               // on port b
	Stopped               // lost a race: this system stops itself
)

// String is the phase in lower case.
func (p Phase) String() string {
	return [...]string{"waiting", "starting", "refused", "joining", "running", "lost"}[min(p, Stopped)]
}

// purpose is what an outstanding operation belongs to.
type purpose uint8

const (
	forRegister purpose = iota + 1
	forCheck
	forWithdraw
	forPreempt
	forConflict // READ KEYS after a conflict (R11)
	forCleanup  // points left over after the race is decided
	forPowerOff
	forPowerQuery
)

// pending is one outstanding operation.
type pending struct {
	id      uint64
	purpose purpose
	point   int
	system  System // power operations
	attempt uint64 // the start-up or race that it belongs to
}

// Core is the fencing core of one system. It belongs to one goroutine.
type Core struct {
	cfg     Config
	phase   Phase
	reason  string
	cluster uint16
	self    System
	systems []System // port a
	members []System // port b

	lastID  uint64
	attempt uint64 // grows with every start-up and every race
	ops     []pending

	start    startup
	gated    []Departed // systems without released evidence, by node id
	released []releasedSystem
	race     *race
}

// releasedSystem is a departed system whose evidence gab has been told.
type releasedSystem struct {
	view     ViewID
	departed Departed
}

// New returns a core that waits for gab.
func New(cfg Config) (*Core, error) {
	switch {
	case cfg.Points < 0 || cfg.Points > 99 || (cfg.Points != 0 && (cfg.Points < 3 || cfg.Points%2 == 0)):
		return nil, fmt.Errorf("make fencing core: %d coordination points; it must be none, or an odd number of at least 3", cfg.Points)
	case cfg.RaceDelay < 0 || (cfg.Points > 0 && cfg.RaceTimeout <= cfg.RaceDelay):
		return nil, fmt.Errorf("make fencing core: race timeout %v must be longer than race delay %v", cfg.RaceTimeout, cfg.RaceDelay)
	}
	if cfg.Retry <= 0 {
		cfg.Retry = 100 * time.Millisecond
	}
	return &Core{cfg: cfg}, nil
}

// majority is the number of points that is more than half of all configured.
func (c *Core) majority() int {
	if c.cfg.broken == mutMajorityOfReachable {
		return (c.cfg.Points + 1) / 3
	}
	return c.cfg.Points/2 + 1
}

// key is this system's registration.
func (c *Core) key() Key { return c.keyOf(c.self) }

func (c *Core) keyOf(s System) Key {
	return Key{Cluster: c.cluster, Node: s.Node, Incarnation: s.Incarnation}
}

// Step takes one event and appends what is to be done.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	if c.phase == Stopped {
		return out
	}
	switch e := ev.(type) {
	case Start:
		out = c.onStart(now, e, out)
	case View:
		out = c.onView(now, e, out)
	case Delivered:
		out = c.onDelivered(now, e, out)
	case Detached:
		out = c.onDetached(now, e, out)
	case PointDone:
		out = c.onPointDone(now, e, out)
	case PowerDone:
		out = c.onPowerDone(now, e, out)
	}
	return c.onTime(now, out)
}

// Deadline is when Step must be called with Wake, if nothing comes before.
func (c *Core) Deadline() (vclock.Time, bool) {
	if c.phase != Running || c.race == nil {
		return 0, false
	}
	at := c.raceDeadline()
	return at, at != vclock.Never
}

func (c *Core) onTime(now vclock.Time, out []Effect) []Effect {
	if c.phase != Running || c.race == nil {
		return out
	}
	return c.raceTime(now, out)
}

// onDetached forgets port b. What was gated stays gated: gab says it again in
// the next view.
func (c *Core) onDetached(_ vclock.Time, e Detached, out []Effect) []Effect {
	if c.phase != Running && c.phase != Joining {
		return out
	}
	c.phase, c.reason = Waiting, e.Reason
	c.members, c.race, c.gated, c.released = nil, nil, nil, nil
	c.attempt++
	return append(out, Note{Code: "port-b-left", Text: e.Reason})
}

// op issues an operation on a point.
func (c *Core) op(out []Effect, why purpose, point int, op Operation) []Effect {
	c.lastID++
	c.ops = append(c.ops, pending{id: c.lastID, purpose: why, point: point, attempt: c.attempt})
	return append(out, PointOp{ID: c.lastID, Point: point, Op: op})
}

// take removes an outstanding operation; false for an unknown id.
func (c *Core) take(id uint64) (pending, bool) {
	for i, p := range c.ops {
		if p.id == id {
			c.ops = slices.Delete(c.ops, i, i+1)
			return p, true
		}
	}
	return pending{}, false
}

func (c *Core) onPointDone(now vclock.Time, e PointDone, out []Effect) []Effect {
	p, ok := c.take(e.ID)
	if !ok {
		return append(out, Note{Code: "unknown-completion", Text: e.String()})
	}
	if p.attempt != c.attempt {
		return out // belongs to a start-up or race that is over
	}
	switch p.purpose {
	case forRegister, forCheck, forWithdraw:
		return c.startDone(now, p, e.Result, out)
	case forPreempt, forConflict, forCleanup:
		return c.raceDone(now, p, e.Result, out)
	}
	return out
}

func (c *Core) onDelivered(now vclock.Time, e Delivered, out []Effect) []Effect {
	if c.phase != Running {
		return out
	}
	switch m := e.Message.(type) {
	case RaceResult:
		return c.onResult(now, e.From, m, out)
	case Vouch:
		return c.onVouch(now, m, out)
	}
	return out
}

func contains(systems []System, node NodeID) bool {
	return slices.ContainsFunc(systems, func(s System) bool { return s.Node == node })
}

// Hash is a hash of the whole state.
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%v %v %q %d %v %v %v %d %d %v %v %v %v", c.cfg, c.phase, c.reason, c.cluster, c.self,
		c.systems, c.members, c.lastID, c.attempt, c.ops, c.start, c.gated, c.released)
	if c.race != nil {
		fmt.Fprintf(h, "%v", *c.race)
	}
	return h.Sum64()
}
