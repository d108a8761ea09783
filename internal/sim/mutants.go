package sim

import "slices"

// Mutant is a deliberate fault of Options.Broken: one rule of safety.md that
// somebody does not keep. The oracle must catch each; they prove that it can
// fail. docs/testing.md has the table.
type Mutant struct {
	Name string
	// Rule is what it breaks, What how.
	Rule, What string
	// Where it shows soonest: the fencing mode ("" either), kinds of faults that
	// are drawn often, and what else a swarm needs.
	fencing string
	favour  []string
	swarm   func(s *Swarm)
	// rare: it shows once in dozens of seeds; only long runs wait for that.
	rare bool
	// put replaces makers of cores; nil: the glue or the world looks for the
	// name (World.broken).
	put func(c *Cores)
}

// Mutants are the deliberate faults.
func Mutants() []Mutant {
	return []Mutant{
		{Name: "no-gate", Rule: "R1, R10", What: "views are released without evidence", fencing: "majority",
			favour: []string{"machine pause", "partition"}, put: withoutGate},
		{Name: "fencing:answer-unproven", Rule: "R1", What: "fencing answers without evidence", fencing: "majority",
			favour: []string{"partition", "machine pause", "point fails"}, swarm: func(s *Swarm) { s.PowerErrors = 3 }, put: brokenFencing("answer-unproven")},
		{Name: "no-self-stop", Rule: "R2", What: "a system whose gab died, or that lost, does not stop itself", fencing: "disabled",
			favour: []string{"gab dies"}},
		{Name: "unarmed", Rule: "R2", What: "onlines begin before fencing has answered armed",
			favour: []string{"fencing dies", "had dies", "power loss"}, put: wrapSchedule(func(s Schedule) Schedule { return &unarmed{Schedule: s} })},
		{Name: "power-lies", Rule: "R4", What: "the power switch says off and does nothing", fencing: "majority", favour: []string{"machine pause", "partition"}},
		{Name: "gab:deliver-early", Rule: "R5", What: "messages are delivered before they are stable", put: brokenGAB("deliver-early")},
		{Name: "gab:flush-before-fence", Rule: "R5", What: "flushed messages are delivered before the evidence", fencing: "majority",
			favour: []string{"partition", "power loss"}, put: brokenGAB("flush-before-fence")},
		{Name: "keep-former", rare: true, Rule: "R8", What: "a new had leaves the entry points of the former alone",
			favour: []string{"had dies", "operator"}, swarm: func(s *Swarm) { s.EntryTime = 2500 * ms }},
		{Name: "believe-offline", rare: true, Rule: "R8", What: "a new had takes for offline what it has not probed",
			favour: []string{"had dies"}, put: wrapSchedule(func(s Schedule) Schedule {
				return &believer{Schedule: s, asked: map[string]bool{}, first: map[uint64]bool{}}
			})},
		{Name: "unprotected-leave", Rule: "R14", What: "gab lets a system leave while applications run there", favour: []string{"node stop", "operator"},
			swarm: func(s *Swarm) { s.EntryErrors = 0 }, put: wrapGAB(func(_ int, g GAB) GAB { return unprotected{g} })},
		{Name: "answer-early", Rule: "R15", What: "users are answered before the order", favour: []string{"operator", "had dies"}},
		{Name: "retry-again", Rule: "R15", What: "a repeated request is carried out again", favour: []string{"operator", "two operators"}, put: wrapEngine(func(e Engine) Engine { return &retrier{Engine: e, again: map[string]int{}} })},
		{Name: "gab:forget-flush", rare: true, Rule: "R18", What: "the flush forgets", put: brokenGAB("forget-flush")},
		{Name: "gab:drop-tail", rare: true, Rule: "R18", What: "the end of the order is dropped at one system", put: brokenGAB("drop-tail")},
		{Name: "gab:two-views", Rule: "R18", What: "one id names two views", put: brokenGAB("two-views")},
		{Name: "gab:deliver-twice", Rule: "R18, I2", What: "gab delivers a message twice", put: wrapGAB(func(n int, g GAB) GAB { return &stutterer{GAB: g} })},
		{Name: "gab:lose-one", Rule: "R18, I2", What: "one system is not handed a message", put: wrapGAB(func(n int, g GAB) GAB { return &loser{GAB: g, here: n == 1} })},
		{Name: "gab:swap-two", Rule: "R18, I2", What: "one system is handed two messages in the other order", put: wrapGAB(func(n int, g GAB) GAB { return &swapper{GAB: g, here: n == 1} })},
		{Name: "llt:lose-one", Rule: "R18", What: "LLT loses a message when a link changes", favour: []string{"one link cut", "interface down"}, put: wrapLLT(func(l LLT) LLT { return &leak{LLT: l} })},
		{Name: "speak-after-pause", Rule: "R19", What: "gab speaks in its old view after it stood still", favour: []string{"process pause", "machine pause"}},
		{Name: "join-once", rare: true, Rule: "R22", What: "JOIN is said once; who builds later has not heard it"},
		{Name: "spool-drops", Rule: "R22", What: "a joiner forgets the first event that it kept", favour: []string{"had dies", "operator"}},
		{Name: "forget-requests", Rule: "R22, I3", What: "the snapshot misses the request ids", favour: []string{"had dies", "operator"}, put: restoreWithout("requests")},
		{Name: "double-online", Rule: "I1", What: "every system that may carries out every order to bring online"},
		{Name: "diverge", rare: true, Rule: "I3", What: "one system's engine counts time, and reads failures, otherwise"},
		{Name: "map-order", Rule: "I3", What: "engines make the edits of a change in the order of a map", favour: []string{"operator reconfigures"}, put: brokenOrder},
		{Name: "no-sync", Rule: "I6", What: "the disk makes nothing durable", favour: []string{"operator reconfigures", "power loss"}},
		{Name: "no-file-sync", Rule: "I6", What: "a dump is moved to its place before it is durable", favour: []string{"operator reconfigures", "power loss"}},
		{Name: "ack-before-disk", rare: true, Rule: "I6", What: "a dump is acknowledged before it is on the disk", favour: []string{"operator reconfigures", "power loss"}},
	}
}

// mutantOf finds a deliberate fault; false for an unknown name.
func mutantOf(name string) (Mutant, bool) {
	all := Mutants()
	i := slices.IndexFunc(all, func(m Mutant) bool { return m.Name == name })
	if i < 0 {
		return Mutant{}, false
	}
	return all[i], true
}

// broken says whether a deliberate fault is in.
func (w *World) broken(name string) bool { return w.opt.Broken == name }
