package sim

import (
	"fmt"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/services/gab"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Broken are the deliberate faults of Options.Broken with the rule that each
// breaks. Each must be caught by the oracle: they prove that it can fail.
func Broken() [][2]string {
	return [][2]string{
		{"no-gate", "R1, R10: views are released without evidence"},
		{"power-lies", "R4: the power switch says off and does nothing"},
		{"diverge", "I3: one system's engine counts time, and reads failures, otherwise"},
		{"answer-early", "R15: users are answered before the order"},
		{"join-once", "R22: JOIN is said once; who builds later has not heard it"},
		{"gab:deliver-early", "R5: messages are delivered before they are stable"},
		{"gab:forget-flush", "R18: the flush forgets"},
		{"gab:flush-before-fence", "R5: flushed messages are delivered before the evidence"},
		{"gab:drop-tail", "R18: the end of the order is dropped at one system"},
		{"gab:two-views", "R18: one id names two views"},
		{"fencing:answer-unproven", "R1: fencing answers without evidence"},
	}
}

// makeGab builds gab's core, deliberately broken if the options say so.
func (w *World) makeGab(cfg gab.Config) (*gab.Core, error) {
	if w.opt.Broken == "no-gate" {
		cfg.FencingDisabled = true
	}
	if name, ok := after(w.opt.Broken, "gab:"); ok {
		if cfg, ok = gab.Broken(cfg, name); !ok {
			return nil, fmt.Errorf("no fault %q in gab", name)
		}
	}
	return gab.New(cfg)
}

func (w *World) makeFencing(cfg fencing.Config) (*fencing.Core, error) {
	if name, ok := after(w.opt.Broken, "fencing:"); ok {
		if cfg, ok = fencing.Broken(cfg, name); !ok {
			return nil, fmt.Errorf("no fault %q in fencing", name)
		}
	}
	return fencing.New(cfg)
}

func after(s, prefix string) (string, bool) {
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return "", false
}

// bend is where an engine is lied to.
func (h *hadd) bend(ev engine.Event) engine.Event {
	switch h.n.w.opt.Broken {
	case "no-gate":
		if v, ok := ev.(engine.ViewChanged); ok {
			for i := range v.Departed {
				v.Departed[i].Evidence = policy.EvidencePoweredOff
			}
			return v
		}
	case "diverge":
		// Clocks are rare: reports with a time-out are read otherwise too.
		switch c := ev.(type) {
		case engine.Clock:
			if h.n.id == 1 {
				c.Elapsed /= 2
			}
			return c
		case engine.Reported:
			if h.n.id == 1 && c.Report.Failed {
				c.Report.Reason = ""
			}
			return c
		}
	}
	return ev
}
