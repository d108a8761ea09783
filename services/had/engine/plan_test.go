package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// orders are what effects tell schedulers to bring online and offline, sorted.
func orders(fx []Effect) []string {
	var out []string
	for _, f := range fx {
		if o, ok := f.(ResourceCommand); ok && (o.Command.Kind == resource.CommandOnline || o.Command.Kind == resource.CommandOffline) {
			out = append(out, fmt.Sprintf("%s %s on %s", o.Command.Kind, o.Command.Resource, o.Command.System))
		}
	}
	slices.Sort(out)
	return out
}

// TestPlanIsWhatHappens: in random configurations, after random failures and
// commands, a plan names exactly the orders that the same command then gives,
// and the answer to it (E64). The agents are healthy and answer in the order
// in which they were told: where two systems race, as for a child whose
// parent goes to the first that has it, no plan knows who wins.
func TestPlanIsWhatHappens(t *testing.T) {
	compared, moving, longest := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newFastWorld(t)
		for range plansPerWorld {
			switch rapid.IntRange(0, 5).Draw(t, "disturb") {
			case 0:
				w.step()
				w.notice()
			case 1, 2:
				w.heal()
			}
			w.settleDown()
			c := w.drawCommand(rapid.SampledFrom(threeSystems).Draw(t, "on"), w.drawGroup(w.mod))
			before := w.e.Hash()
			plan, err := w.e.Plan("A", c)
			if err != nil {
				t.Fatal(err)
			}
			if w.e.Hash() != before {
				t.Fatalf("planning %s changed the replica", c)
			}
			trace := len(w.trace)
			w.happened = nil
			w.apply("A", c)
			w.unfold()
			compared++
			planned, done := orders(plan), orders(w.happened)
			if len(done) > 0 {
				moving++
				longest = max(longest, len(done))
			}
			if !slices.Equal(planned, done) {
				t.Fatalf("%s: planned\n\t%s\nbut then\n\t%s\nconfiguration:\n%s\nevents:\n\t%s", c, strings.Join(planned, "\n\t"), strings.Join(done, "\n\t"),
					w.e.st.Files[0].Text, strings.Join(w.trace[max(0, trace-60):], "\n\t"))
			}
			if a, b := answerIn(plan), answerIn(w.happened); a != b {
				t.Fatalf("%s: planned %q, answered %q", c, a, b)
			}
		}
	})
	t.Logf("%d plans compared, %d of them with orders, at most %d", compared, moving, longest)
	if !t.Failed() && moving < compared/20 { // about a ninth have
		t.Errorf("only %d of %d plans have orders", moving, compared)
	}
}

// unfold lets what was told happen in the order in which it was told.
func (w *world) unfold() {
	for next := 0; next < len(w.happened); next++ {
		switch f := w.happened[next].(type) {
		case ResourceCommand:
			m := w.machines[f.Command.System]
			if at := slices.Index(m.queue, f.Command); at >= 0 {
				m.queue = slices.Delete(m.queue, at, at+1)
				w.report(f.Command.System, f.Command.Resource, f.Command.ID, w.carryOut(m, f.Command, true))
			}
		case RunTrigger:
			m := w.machines[f.System]
			if at := slices.IndexFunc(m.triggers, func(t RunTrigger) bool { return t.ID == f.ID }); at >= 0 {
				m.triggers = slices.Delete(m.triggers, at, at+1)
				w.apply(f.System, TriggerEnded{ID: f.ID, System: f.System, Group: f.Group, Outcome: OutcomeReleased})
			}
		case StopSystem:
			w.notice()
		}
	}
	w.settleDown()
}

// heal takes back what failures and users left behind.
func (w *world) heal() {
	for _, n := range threeSystems {
		w.comeBack(n)
		if s := w.e.st.Systems[n]; s.TFrozen || s.Draining {
			w.apply(n, Command{Kind: CommandSystemUnfreeze, System: n})
		}
	}
	w.settleDown()
	for _, g := range w.mod.groups {
		if w.e.st.Groups[g.name].TFrozen {
			w.apply("A", Command{Kind: CommandGroupUnfreeze, Group: g.name})
		}
		w.apply("A", Command{Kind: CommandGroupClear, Group: g.name})
	}
}

// settleDown lets all agents work, in random order, until nothing is left.
func (w *world) settleDown() {
	order := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(w.t, "order")))
	for range 5000 {
		idle := 0
		for _, i := range order.Perm(len(threeSystems)) {
			if w.serve(threeSystems[i], true) {
				break
			}
			idle++
		}
		w.notice()
		if idle == len(threeSystems) {
			return
		}
	}
	w.t.Fatalf("orders without end:\n%s", strings.Join(w.trace[max(0, len(w.trace)-40):], "\n"))
}

func answerIn(fx []Effect) string {
	for _, f := range fx {
		if r, ok := f.(CommandResult); ok {
			text := string(r.Code)
			for _, n := range r.Notices {
				text += "; " + n.Text
			}
			return text
		}
	}
	return "no answer"
}
