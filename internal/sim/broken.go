package sim

import (
	"encoding/json"
	"slices"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/services/gab"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

func brokenGAB(fault string) func(*Cores) {
	return func(c *Cores) {
		makeGAB := c.GAB
		c.GAB = func(node int, cfg gab.Config) (GAB, error) {
			cfg, _ = gab.Broken(cfg, fault)
			return makeGAB(node, cfg)
		}
	}
}

func brokenFencing(fault string) func(*Cores) {
	return func(c *Cores) {
		makeFencing := c.Fencing
		c.Fencing = func(node int, cfg fencing.Config) (Fencing, error) {
			cfg, _ = fencing.Broken(cfg, fault)
			return makeFencing(node, cfg)
		}
	}
}

func withoutGate(c *Cores) {
	makeGAB := c.GAB
	c.GAB = func(node int, cfg gab.Config) (GAB, error) {
		cfg.FencingDisabled = true
		return makeGAB(node, cfg)
	}
}

func wrapGAB(wrap func(node int, g GAB) GAB) func(*Cores) {
	return func(c *Cores) {
		makeGAB := c.GAB
		c.GAB = func(node int, cfg gab.Config) (GAB, error) {
			g, err := makeGAB(node, cfg)
			return wrap(node, g), err
		}
	}
}

func wrapLLT(wrap func(l LLT) LLT) func(*Cores) {
	return func(c *Cores) {
		makeLLT := c.LLT
		c.LLT = func(node int, cfg llt.Config) (LLT, error) {
			l, err := makeLLT(node, cfg)
			return wrap(l), err
		}
	}
}

func wrapSchedule(wrap func(s Schedule) Schedule) func(*Cores) {
	return func(c *Cores) {
		makeSchedule := c.Schedule
		c.Schedule = func(node int) Schedule { return wrap(makeSchedule(node)) }
	}
}

func wrapEngine(wrap func(e Engine) Engine) func(*Cores) {
	return func(c *Cores) {
		makeEngine, restore := c.Engine, c.Restore
		c.Engine = func(node int) Engine { return wrap(makeEngine(node)) }
		c.Restore = func(node int, snapshot []byte) (Engine, error) {
			e, err := restore(node, snapshot)
			return wrap(e), err
		}
	}
}

// restoreWithout forgets a part of the state in every snapshot.
func restoreWithout(field string) func(*Cores) {
	return func(c *Cores) {
		restore := c.Restore
		c.Restore = func(node int, snapshot []byte) (Engine, error) {
			var all map[string]json.RawMessage
			if err := json.Unmarshal(snapshot, &all); err != nil {
				return nil, err
			}
			delete(all, field)
			part, err := json.Marshal(all)
			if err != nil {
				return nil, err
			}
			return restore(node, part)
		}
	}
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

// brokenOrder makes the edits of a change in another order on odd systems.
func brokenOrder(c *Cores) {
	makeEngine, restore := c.Engine, c.Restore
	c.Engine = func(node int) Engine { return reader{makeEngine(node), node%2 == 1} }
	c.Restore = func(node int, snapshot []byte) (Engine, error) {
		e, err := restore(node, snapshot)
		return reader{e, node%2 == 1}, err
	}
}

type reader struct {
	Engine
	odd bool
}

func (r reader) Apply(pos engine.Pos, from engine.SystemID, ev engine.Event, out []engine.Effect) []engine.Effect {
	if c, is := ev.(engine.Command); is && r.odd && len(c.Edits) > 1 {
		c.Edits = slices.Clone(c.Edits)
		slices.Reverse(c.Edits)
		ev = c
	}
	return r.Engine.Apply(pos, from, ev, out)
}

// unarmed tells the scheduler that the system is armed, whatever fencing says.
type unarmed struct {
	Schedule
	said bool
}

func (u *unarmed) Step(now vclock.Time, ev schedule.Event, out []schedule.Effect) []schedule.Effect {
	if _, is := ev.(schedule.Armed); is {
		ev = schedule.Armed{OK: true}
	}
	if !u.said {
		u.said = true
		out = u.Schedule.Step(now, schedule.Armed{OK: true}, out)
	}
	return u.Schedule.Step(now, ev, out)
}

// believer takes what each first monitor of a resource finds for offline.
type believer struct {
	Schedule
	asked map[string]bool
	first map[uint64]bool
}

func (b *believer) Step(now vclock.Time, ev schedule.Event, out []schedule.Effect) []schedule.Effect {
	if r, is := ev.(schedule.EntryPointResult); is && b.first[uint64(r.Call)] {
		r.Outcome, r.Saw, r.Confidence = schedule.OK, schedule.SawOffline, 0
		ev = r
	}
	out = b.Schedule.Step(now, ev, out)
	for _, e := range out {
		if c, is := e.(schedule.Call); is && c.Entry == schedule.Monitor && !b.asked[c.Resource] {
			b.asked[c.Resource] = true
			b.first[uint64(c.ID)] = true
		}
	}
	return out
}

// unprotected hides from gab that something protected is here.
type unprotected struct{ GAB }

func (g unprotected) Step(now vclock.Time, ev gab.Event, out []gab.Effect) []gab.Effect {
	if _, is := ev.(gab.Protection); is {
		ev = gab.Protection{}
	}
	return g.GAB.Step(now, ev, out)
}

// retrier carries a request out each time it comes.
type retrier struct {
	Engine
	again map[string]int
}

func (r *retrier) Repeated(engine.Command) (engine.CommandResult, bool) {
	return engine.CommandResult{}, false
}

func (r *retrier) Apply(pos engine.Pos, from engine.SystemID, ev engine.Event, out []engine.Effect) []engine.Effect {
	c, is := ev.(engine.Command)
	if !is || c.RequestID == "" {
		return r.Engine.Apply(pos, from, ev, out)
	}
	id := c.RequestID
	if r.again[id]++; r.again[id] > 1 {
		c.RequestID += "'"
		for n := r.again[id]; n > 2; n-- {
			c.RequestID += "'"
		}
	}
	out = r.Engine.Apply(pos, from, c, out)
	for i, e := range out {
		if a, is := e.(engine.CommandResult); is && a.RequestID == c.RequestID {
			a.RequestID = id
			out[i] = a
		}
	}
	return out
}

// stutterer delivers each hundredth message of port h twice.
type stutterer struct {
	GAB
	n int
}

func (g *stutterer) Step(now vclock.Time, ev gab.Event, out []gab.Effect) []gab.Effect {
	from := len(out)
	out = g.GAB.Step(now, ev, out)
	for i := from; i < len(out); i++ {
		if m, is := out[i].(gab.DeliverMessage); is && m.Port == gab.PortH {
			if g.n++; g.n%100 == 0 {
				return slices.Insert(out, i, gab.Effect(m))
			}
		}
	}
	return out
}

// loser is not handed each hundredth message of port h.
type loser struct {
	GAB
	here bool
	n    int
}

func (g *loser) Step(now vclock.Time, ev gab.Event, out []gab.Effect) []gab.Effect {
	out = g.GAB.Step(now, ev, out)
	for i := range out {
		if m, is := out[i].(gab.DeliverMessage); is && m.Port == gab.PortH && g.here {
			if g.n++; g.n%100 == 0 {
				return slices.Delete(out, i, i+1)
			}
		}
	}
	return out
}

// swapper delivers two messages of port h that come together in the other
// order.
type swapper struct {
	GAB
	here bool
}

func (g *swapper) Step(now vclock.Time, ev gab.Event, out []gab.Effect) []gab.Effect {
	out = g.GAB.Step(now, ev, out)
	for i := 1; i < len(out) && g.here; i++ {
		a, first := out[i-1].(gab.DeliverMessage)
		b, second := out[i].(gab.DeliverMessage)
		if first && second && a.Port == gab.PortH && b.Port == gab.PortH {
			out[i-1], out[i] = b, a
		}
	}
	return out
}

// leak loses what comes after a change of links.
type leak struct {
	LLT
	due bool
}

func (l *leak) Step(now vclock.Time, ev llt.Event, out []llt.Effect) []llt.Effect {
	out = l.LLT.Step(now, ev, out)
	for i := range out {
		switch out[i].(type) {
		case llt.PeerLinks:
			l.due = true
		case *llt.Deliver:
			if l.due {
				l.due = false
				return slices.Delete(out, i, i+1)
			}
		}
	}
	return out
}
