package gab

import (
	"errors"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

type mutation uint8

// Core is one incarnation of one system's gab. Not safe for concurrent use.
type Core struct{ cfg Config }

// New checks cfg and returns a core that knows no peer yet.
func New(cfg Config) (*Core, error) {
	if cfg.Node >= MaxNodes || cfg.Incarnation == 0 || cfg.Lineage == 0 {
		return nil, errors.New("gab core: node id, incarnation or lineage out of range")
	}
	return &Core{cfg: cfg}, nil
}

// Step is the only way in.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect { return out }

// Deadline is when Step must next be called with Wake, if nothing comes first.
func (c *Core) Deadline() (vclock.Time, bool) { return vclock.Never, false }

// Hash is over the canonical state.
func (c *Core) Hash() uint64 { return 0 }

// Status tells what this core does now.
func (c *Core) Status() Status { return Status{} }

// Ports tells the open ports by letter, a first.
func (c *Core) Ports() []PortStatus { return nil }

func describeMessage(b []byte) string { return "" }
