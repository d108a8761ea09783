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
		{"no-sync", "I6: the disk makes nothing durable"},
		{"join-once", "R22: JOIN is said once; who builds later has not heard it"},
		{"gab:deliver-early", "R5: messages are delivered before they are stable"},
		{"gab:forget-flush", "R18: the flush forgets"},
		{"gab:flush-before-fence", "R5: flushed messages are delivered before the evidence"},
		{"gab:drop-tail", "R18: the end of the order is dropped at one system"},
		{"gab:two-views", "R18: one id names two views"},
		{"fencing:answer-unproven", "R1: fencing answers without evidence"},
	}
}

// breakCores puts a deliberate fault into the makers of the cores.
func (w *World) breakCores(name string) error {
	if name == "no-gate" {
		makeGAB := w.cores.GAB
		w.cores.GAB = func(node int, cfg gab.Config) (GAB, error) {
			cfg.FencingDisabled = true
			return makeGAB(node, cfg)
		}
	}
	if fault, is := after(name, "gab:"); is {
		makeGAB := w.cores.GAB
		if _, known := gab.Broken(gab.Config{}, fault); !known {
			return fmt.Errorf("no fault %q in gab", fault)
		}
		w.cores.GAB = func(node int, cfg gab.Config) (GAB, error) {
			cfg, _ = gab.Broken(cfg, fault)
			return makeGAB(node, cfg)
		}
	}
	if fault, is := after(name, "fencing:"); is {
		makeFencing := w.cores.Fencing
		if _, known := fencing.Broken(fencing.Config{}, fault); !known {
			return fmt.Errorf("no fault %q in fencing", fault)
		}
		w.cores.Fencing = func(node int, cfg fencing.Config) (Fencing, error) {
			cfg, _ = fencing.Broken(cfg, fault)
			return makeFencing(node, cfg)
		}
	}
	return nil
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
