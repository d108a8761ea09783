package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/services/gab"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// Cores makes the cores of the simulated systems; node is the number of the
// system that a core is for. A deliberate fault replaces a maker: by one that
// wraps what it makes, or that makes something else.
type Cores struct {
	LLT      func(node int, cfg llt.Config) (LLT, error)
	GAB      func(node int, cfg gab.Config) (GAB, error)
	Fencing  func(node int, cfg fencing.Config) (Fencing, error)
	Join     func(node int, cfg join.Config) (Join, error)
	Schedule func(node int) Schedule
	// Engine makes an empty engine, Restore one from a snapshot.
	Engine  func(node int) Engine
	Restore func(node int, snapshot []byte) (Engine, error)
}

// Product makes the cores as the daemons do.
func Product() Cores {
	return Cores{
		LLT:      func(_ int, cfg llt.Config) (LLT, error) { return llt.New(cfg) },
		GAB:      func(_ int, cfg gab.Config) (GAB, error) { return gab.New(cfg) },
		Fencing:  func(_ int, cfg fencing.Config) (Fencing, error) { return fencing.New(cfg) },
		Join:     func(_ int, cfg join.Config) (Join, error) { return join.New(cfg) },
		Schedule: func(int) Schedule { return schedule.New() },
		Engine:   func(int) Engine { return engine.New() },
		Restore:  func(_ int, snapshot []byte) (Engine, error) { return engine.Restore(snapshot) },
	}
}

// LLT is what the shell of gab uses of llt.Core.
type LLT interface {
	Step(now vclock.Time, ev llt.Event, out []llt.Effect) []llt.Effect
	Deadline() (vclock.Time, bool)
	Recycle(f *llt.FrameOut)
}

// GAB is what the shell uses of gab.Core.
type GAB interface {
	Step(now vclock.Time, ev gab.Event, out []gab.Effect) []gab.Effect
	Deadline() (vclock.Time, bool)
	Status() gab.Status
	Ports() []gab.PortStatus
}

// Fencing is what the shell uses of fencing.Core.
type Fencing interface {
	Step(now vclock.Time, ev fencing.Event, out []fencing.Effect) []fencing.Effect
	Deadline() (vclock.Time, bool)
	Snapshot() fencing.Snapshot
}

// Join is what the shell of had uses of join.Core.
type Join interface {
	Step(now vclock.Time, ev join.Event, out []join.Effect) []join.Effect
	Deadline() (vclock.Time, bool)
	State() join.State
}

// Schedule is what the shell of had uses of schedule.Core.
type Schedule interface {
	Step(now vclock.Time, ev schedule.Event, out []schedule.Effect) []schedule.Effect
	Deadline() (vclock.Time, bool)
	Report(name string) (resource.Report, bool)
	Protected() []string
}

// Engine is what the shell of had uses of engine.Engine.
type Engine interface {
	Apply(pos engine.Pos, from engine.SystemID, ev engine.Event, out []engine.Effect) []engine.Effect
	Deadline() (time.Duration, bool)
	Time() time.Duration
	ClockSystem() engine.SystemID
	Position() engine.Pos
	Config() *maincf.Config
	ConfigStatus() engine.ConfigStatus
	Source() engine.Source
	HashPart(n uint64) uint64
	Repeated(c engine.Command) (engine.CommandResult, bool)
	Born(name string, system engine.SystemID) uint64
	Status() engine.Status
	Answer(requestID string) (engine.CommandResult, bool)
	Explanations(group string) []engine.Explanation
	Outstanding(system engine.SystemID) []engine.Effect
	Snapshot() []byte
	Hash() uint64
}
