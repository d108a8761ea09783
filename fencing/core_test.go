package fencing

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/evenkeel/evenkeel/internal/vclock"
)

// story drives one core. Completions are given by hand, so that each story
// says what the points and the switch did.
type story struct {
	t    *testing.T
	core *Core
	now  vclock.Time
	b    strings.Builder
	ops  map[uint64]PointOp
}

func (s *story) step(ev Event) {
	for _, e := range s.core.Step(s.now, ev, nil) {
		if op, ok := e.(PointOp); ok {
			s.ops[op.ID] = op
		}
		fmt.Fprintf(&s.b, "%4d ms  %v\n", s.now/1e6, e)
	}
}

// advance lets d pass, firing the timer when it is due.
func (s *story) advance(d vclock.Duration) {
	end := s.now.Add(d)
	for range 1000 {
		at, ok := s.core.Deadline()
		if !ok || end < at {
			break
		}
		s.now = max(s.now, at)
		s.step(Wake{})
	}
	s.now = end
}

// system reads NODE or NODE#INCARNATION; names are A, B, C, ...
func system(text string) System {
	nodeText, incText, _ := strings.Cut(text, "#")
	node, _ := strconv.Atoi(nodeText)
	inc, _ := strconv.ParseUint(incText, 16, 64)
	if incText == "" {
		inc = uint64(node) + 0xa0
	}
	return System{Node: NodeID(node), Name: string(rune('A' + node)), Incarnation: inc}
}

func systems(texts []string) []System {
	out := make([]System, len(texts))
	for i, text := range texts {
		out[i] = system(text)
	}
	return out
}

func viewID(n string) ViewID {
	counter, _ := strconv.ParseUint(n, 10, 64)
	return ViewID{Lineage: 0xfe, Counter: counter}
}

func (s *story) keys(words []string) []Key {
	var keys []Key
	for _, w := range words {
		sys := system(w)
		keys = append(keys, Key{Cluster: 7, Node: sys.Node, Incarnation: sys.Incarnation})
	}
	return keys
}

// line carries out one line of a story.
func (s *story) line(pos, line string) {
	args := map[string][]string{}
	words := strings.Fields(line)
	last := ""
	for _, w := range words[1:] {
		if key, value, ok := strings.Cut(w, "="); ok {
			last = key
			args[last] = nil
			if value != "" {
				args[last] = strings.Split(value, ",")
			}
			continue
		}
		args[""] = append(args[""], w)
	}
	one := func(key string) string {
		if len(args[key]) == 0 {
			return ""
		}
		return args[key][0]
	}
	number := func(text string) uint64 { n, _ := strconv.ParseUint(text, 10, 64); return n }
	switch words[0] {
	case "start":
		s.step(Start{Cluster: 7, Self: system(one("self")), Systems: systems(args["systems"])})
	case "view":
		v := View{ID: viewID(args[""][0]), Members: systems(args["members"]), Systems: systems(args["systems"])}
		if args["systems"] == nil {
			v.Systems = v.Members
		}
		for _, d := range systems(args["departed"]) {
			v.Departed = append(v.Departed, Departed{System: d})
		}
		for _, d := range systems(args["clean"]) {
			v.Departed = append(v.Departed, Departed{System: d, Evidence: Clean})
		}
		for _, u := range systems(args["unknown"]) {
			v.Unknown = append(v.Unknown, u.Node)
		}
		s.step(v)
	case "done":
		for _, id := range args["id"] {
			op, ok := s.ops[number(id)]
			if !ok {
				s.t.Fatalf("%s: no operation %s", pos, id)
			}
			r := Result{Outcome: map[string]Outcome{"ok": OK, "conflict": Conflict, "failed": Failed}[args[""][0]]}
			if op.Op.Kind == OpReadKeys {
				r.Keys = s.keys(args["keys"])
			}
			if r.Outcome == Failed {
				r.Detail = "timeout"
			}
			s.step(PointDone{ID: number(id), Result: r})
		}
	case "power":
		s.step(PowerDone{ID: number(one("id")), Off: args[""][0] == "off", Detail: "switch does not answer"})
	case "result":
		verdict := map[string]Verdict{"won": Won, "lost": Lost, "unable": Unable, "answered": Answered}[args[""][0]]
		s.step(Delivered{From: NodeID(number(one("from"))), Message: RaceResult{View: viewID(one("view")), Verdict: verdict, Detail: "told"}})
	case "vouch":
		s.step(Delivered{Message: Vouch{System: system(args[""][0]), Who: "root", Request: "r1"}})
	case "detached":
		s.step(Detached{Reason: "gab closed the stream"})
	case "wait":
		d, err := time.ParseDuration(args[""][0])
		if err != nil {
			s.t.Fatal(err)
		}
		s.advance(d)
	default:
		s.t.Fatalf("%s: unknown %q", pos, line)
	}
}

// TestStories: the goldens in testdata/*.txt. Each block begins where the one
// before ended; "new" begins a story.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *story
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "new" {
				cfg := Config{Points: 3, RaceDelay: 300 * time.Millisecond, RaceTimeout: 3 * time.Second}
				d.MaybeScanArgs(t, "points", &cfg.Points)
				cfg.PowerSwitch = d.HasArg("switch")
				cfg.DataDisksFenced = d.HasArg("fenced-disks")
				core, err := New(cfg)
				if err != nil {
					return err.Error() + "\n"
				}
				s = &story{t: t, core: core, ops: map[uint64]PointOp{}}
			}
			s.b.Reset()
			for _, line := range strings.Split(d.Input, "\n") {
				if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
					s.line(d.Pos, line)
				}
			}
			snap := s.core.Snapshot()
			fmt.Fprintf(&s.b, "= %v", snap.Phase)
			if snap.Race != nil {
				fmt.Fprintf(&s.b, ", %s, racer %d, won %d", snap.Race.Stage, snap.Race.Racer, snap.Race.PointsWon)
			}
			if len(snap.Gated) > 0 {
				fmt.Fprintf(&s.b, ", gated [%s]", joinDeparted(snap.Gated))
			}
			return s.b.String() + "\n"
		})
	})
}

func TestKeyRoundTrip(t *testing.T) {
	k := Key{Cluster: 57069, Node: 10, Incarnation: 0x1234}
	if k.Text() != "VFDEED0A" {
		t.Errorf("key %s; VCS writes VFDEED0A", k.Text())
	}
	if got, err := ParseKey(k.String()); err != nil || got != k {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("VFDEED0A-0000000000001234")
	f.Add("VFDEEDFF-0000000000001234")
	f.Add("VFdeed0a-0000000000001234")
	f.Add("VF")
	f.Fuzz(func(t *testing.T, text string) {
		if k, err := ParseKey(text); err == nil && k.String() != text {
			t.Fatalf("%q reads as %v", text, k)
		}
	})
}

// The meaning of the operations, as every backend keeps it.
func TestApply(t *testing.T) {
	a, a2, b := Key{7, 0, 1}, Key{7, 0, 2}, Key{7, 1, 1}
	keys, r := Apply(nil, Operation{Kind: OpRegisterAndIgnore, Key: a})
	keys, r2 := Apply(keys, Operation{Kind: OpRegister, Key: b})
	if r.Outcome != OK || r2.Outcome != OK || len(keys) != 2 {
		t.Fatal(keys, r, r2)
	}
	// R13: an earlier incarnation's key is replaced, not added to.
	if keys, _ := Apply(keys, Operation{Kind: OpRegisterAndIgnore, Key: a2}); len(keys) != 2 {
		t.Error(keys)
	}
	if _, r := Apply(keys, Operation{Kind: OpRegister, Key: a2}); r.Outcome != Conflict {
		t.Error("registered twice")
	}
	// Who is not registered preempts nobody; who is preempts the victims only.
	if left, r := Apply(keys, Operation{Kind: OpPreempt, Key: a2, Victims: []Key{b}}); r.Outcome != Conflict || len(left) != 2 {
		t.Error(left, r)
	}
	left, r := Apply(keys, Operation{Kind: OpPreempt, Key: a, Victims: []Key{b}})
	if r.Outcome != OK || len(left) != 1 || left[0] != a {
		t.Error(left, r)
	}
	if _, r := Apply(left, Operation{Kind: OpUnregister, Key: b}); r.Outcome != Conflict {
		t.Error(r)
	}
	if _, r := Apply(left, Operation{Kind: OpWithdrawOwn, Key: b}); r.Outcome != OK {
		t.Error(r)
	}
	if len(keys) != 2 {
		t.Error("changed in place")
	}
}

func TestNewRefuses(t *testing.T) {
	for _, cfg := range []Config{
		{Points: 2, RaceTimeout: 1}, {Points: 1, RaceTimeout: 1}, {Points: -1},
		{Points: 3, RaceDelay: 2, RaceTimeout: 1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v accepted", cfg)
		}
	}
}
