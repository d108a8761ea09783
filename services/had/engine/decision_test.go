package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// TestDecisionsKeepTheirInputs: what a verdict was given on is kept with it,
// and a record that was changed afterwards does not pass for the decision
// (E196). That every decision of every story and random run is repeatable is
// checked after each of their events.
func TestDecisionsKeepTheirInputs(t *testing.T) {
	s := newStage(t)
	s.systems, s.files = []string{"A", "B", "C"}, testConfig([]string{"A", "B", "C"}, `group web (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A }
	)
	App app (
		)
`)
	s.boot(s.systems)
	for _, n := range s.systems {
		s.apply(n, Reported{reportOf(n, "app")})
	}
	var chosen Explanation
	for _, x := range s.e.Explanations("web") {
		if len(x.Candidates) > 0 && x.Candidates[0].Chosen {
			chosen = x
		}
	}
	kept, err := chosen.On.Inputs()
	if err != nil {
		t.Fatal(err)
	}
	in, ok := kept.(decision.Autostart)
	switch {
	case !ok || len(in.Candidates) == 0:
		t.Fatalf("no inputs in %+v", s.e.Explanations("web"))
	case in.Candidates[0].State != string(SystemRunning) || in.Policy != policy.Order:
		t.Fatalf("not what was decided on: %+v", in)
	case !chosen.Repeatable():
		t.Fatalf("not repeatable: %s", chosen)
	}
	in.Candidates = slices.Clone(in.Candidates)
	in.Candidates[0].Frozen = true
	chosen.On = decision.Keep(in)
	if chosen.Repeatable() {
		t.Fatal("a decision for a frozen system passes")
	}
}

// TestDecisionsAreBounded: the last 1,000 stay, whatever happened.
func TestDecisionsAreBounded(t *testing.T) {
	s := newStage(t)
	s.systems, s.files = []string{"A"}, testConfig([]string{"A"}, "group web (\n\tSystemList = { A = 0 }\n\t)\n\tApp app (\n\t\t)\n")
	s.boot([]string{"A"})
	s.apply("A", Reported{reportOf("A", "app")})
	for i := range keptExplanations + 20 {
		kind := CommandGroupFreeze
		if i%2 == 1 {
			kind = CommandGroupUnfreeze
		}
		s.pos.Seq++
		s.e.Apply(s.pos, "A", Command{Kind: kind, Group: "web", RequestID: fmt.Sprint(i)}, nil)
	}
	kept := s.e.Explanations("")
	if len(kept) != keptExplanations || kept[len(kept)-1].Pos != s.pos {
		t.Fatalf("%d kept, the last of %s at %s", len(kept), kept[len(kept)-1].Pos, s.pos)
	}
	again, err := Restore(s.e.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Explanations(""); len(got) != keptExplanations || got[0].String() != kept[0].String() {
		t.Fatalf("a restored replica has %d, from %s", len(got), got[0])
	}
}

// reportOf is the first report of a resource: offline.
func reportOf(system, name string) resource.Report {
	return resource.Report{System: system, Resource: name, Incarnation: 1, Probed: true}
}

// inputs prints what the last decision about a group with candidates was
// taken on.
func (s *stage) inputs(group string) string {
	xs := s.e.Explanations(group)
	for i := len(xs) - 1; i >= 0; i-- {
		x := xs[i]
		again, _ := x.Again()
		verdicts := again.Verdicts
		if len(verdicts) == 0 || verdicts[0].Asked == nil {
			continue
		}
		out := x.Subject + "\n"
		for _, v := range verdicts {
			text, err := json.Marshal(v.Asked)
			if err != nil {
				s.t.Fatal(err)
			}
			out += fmt.Sprintf("%s %s: %s\n", pick(v.Chosen, "yes", "not"), v.System, text)
		}
		return out + "decided again: " + pick(x.Repeatable(), "the same", "OTHERWISE") + "\n"
	}
	return "no such decision\n"
}

// facts prints what the last decisions about a group were taken on, for
// people.
func (s *stage) facts(group string, last int) string {
	xs := s.e.Explanations(group)
	var b strings.Builder
	for _, x := range xs[max(0, len(xs)-last):] {
		in, err := x.On.Inputs()
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s: %s: %s (%s)\n", in.Kind(), x.Subject, x.Decision, x.Do)
		for _, f := range decision.Facts(in) {
			fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Value)
		}
		fmt.Fprintf(&b, "decided again: %s\n", pick(x.Repeatable(), "the same", "OTHERWISE"))
	}
	return b.String()
}
