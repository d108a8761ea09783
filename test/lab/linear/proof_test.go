package linear

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// at makes an operation that lasts from a to b (in ms) and stands at seq.
func at(client int, a, b int64, op Op, seq uint64) Op {
	op.Client, op.Call, op.Return, op.System = client, a*1e6, b*1e6, "A"
	if op.Outcome == "" {
		op.Outcome = OK
	}
	if op.Outcome == OK && seq > 0 {
		if op.Kind != "read" {
			op.Pos = Position{1, 1, seq}
		}
		if op.Seen != nil {
			op.At = Position{1, 1, seq}
		}
	}
	return op
}

func write(v string) Op { return Op{Kind: "write", Object: "r0", Value: v} }
func see(v string) Op   { return Op{Kind: "barrier", Seen: map[string]string{"r0": v}} }
func local(v string) Op { return Op{Kind: "read", Seen: map[string]string{"r0": v}} }

func unknown(op Op) Op { op.Outcome = Unknown; return op }
func refused(op Op, no string) Op {
	op.Outcome, op.No = Refused, no
	return op
}

// TestTheCheckCanFail feeds the check histories that no cluster may give, each
// with one fault, and the same without.
func TestTheCheckCanFail(t *testing.T) {
	set, clear := Op{Kind: "set", Object: "frozen"}, Op{Kind: "clear", Object: "frozen"}
	two := Op{Kind: "write", Object: "r0", Value: "v1", Tries: []Try{{System: "A", Outcome: OK, Pos: Position{1, 1, 1}}, {System: "B", Outcome: OK, Pos: Position{1, 1, 5}}}}
	once := Op{Kind: "write", Object: "r0", Value: "v1", Tries: []Try{{System: "A", Outcome: OK, Pos: Position{1, 1, 1}}, {System: "B", Outcome: OK, Repeated: true, Pos: Position{1, 1, 1}}}}
	for _, c := range []struct {
		name string
		ops  []Op
		// wrong has words of what is to be found; none: nothing is wrong. count
		// is the size of the smallest history that shows it, where there is one.
		wrong string
		count int
	}{
		{"all is well", []Op{at(0, 0, 5, write("v1"), 1), at(1, 1, 9, write("v2"), 2), at(2, 10, 12, see("v2"), 3), at(2, 13, 14, local("v2"), 3)}, "", 0},
		{"a lost update", []Op{at(0, 0, 5, write("v1"), 0), at(1, 1, 4, write("v2"), 0), at(1, 6, 9, write("v3"), 0), at(2, 10, 12, see("v1"), 0), at(2, 13, 14, see("v1"), 0)}, "r0: no order explains", 3},
		{"a stale linearizable read", []Op{at(0, 0, 2, write("v1"), 0), at(0, 3, 4, write("v2"), 0), at(1, 5, 6, see("v1"), 0)}, "r0: no order explains", 3},
		{"a stale read of a replica is allowed", []Op{at(0, 0, 2, write("v1"), 1), at(0, 3, 4, write("v2"), 2), at(1, 5, 6, local("v1"), 1)}, "", 0},
		{"a replica without what this client wrote there", []Op{at(0, 0, 2, write("v1"), 1), at(0, 3, 4, write("v2"), 2), at(0, 5, 6, local("v1"), 1)}, "behind what this client knew", 0},
		{"a replica that lacks what its position has", []Op{at(0, 0, 2, write("v1"), 1), at(0, 3, 4, write("v2"), 2), at(1, 5, 6, local("v1"), 3)}, `was "v1" where the order says "v2"`, 0},
		{"two replicas differ", []Op{at(0, 0, 9, unknown(write("v1")), 0), at(1, 5, 6, local("v1"), 3), at(2, 5, 6, local("begin"), 3)}, "two contents at one position", 0},
		{"a command carried out twice: the old value comes back", []Op{at(0, 0, 2, write("v1"), 0), at(1, 3, 4, write("v2"), 0), at(2, 5, 6, see("v2"), 0), at(2, 7, 8, see("v1"), 0)}, "r0: no order explains", 3},
		{"an unknown outcome that comes late, once", []Op{at(0, 0, 2, unknown(write("v1")), 0), at(1, 3, 4, write("v2"), 0), at(2, 5, 6, see("v2"), 0), at(2, 7, 8, see("v1"), 0)}, "", 0},
		{"an unknown outcome carried out twice", []Op{at(0, 0, 2, unknown(write("v1")), 0), at(2, 2, 3, see("v1"), 0), at(1, 3, 4, write("v2"), 0), at(2, 5, 6, see("v2"), 0), at(2, 7, 8, see("v1"), 0)}, "r0: no order explains", 5},
		{"a freeze granted twice", []Op{at(0, 0, 2, set, 1), at(1, 1, 3, set, 2)}, "frozen: no order explains", 2},
		{"a refusal of what was free", []Op{at(0, 0, 2, refused(set, frozen), 0)}, "frozen: no order explains", 1},
		{"a freeze, refused, ended", []Op{at(0, 0, 2, set, 1), at(1, 3, 4, refused(set, frozen), 0), at(1, 5, 6, clear, 2), at(1, 7, 8, refused(clear, notFrozen), 0)}, "", 0},
		{"a change of what is read-only", []Op{at(0, 0, 2, Op{Kind: "clear", Object: "writable"}, 1), at(1, 3, 4, write("v1"), 2)}, "writable: no order explains", 2},
		{"a retry that became another operation", []Op{at(0, 0, 5, two, 1)}, "one request id, two answers", 0},
		{"a retry that was told the same", []Op{at(0, 0, 5, once, 1)}, "", 0},
		{"order against time", []Op{at(0, 0, 1, write("v1"), 2), at(1, 2, 3, Op{Kind: "write", Object: "r1", Value: "v2"}, 1)}, "ordered after it", 0},
		{"two at one position", []Op{at(0, 0, 1, write("v1"), 2), at(1, 0, 3, Op{Kind: "write", Object: "r1", Value: "v2"}, 2)}, "two operations at one position", 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			dir := t.TempDir()
			h := &History{Seed: 7, Initial: map[string]string{"r0": "begin", "frozen": "0", "writable": "1"}, Ops: c.ops}
			file := filepath.Join(dir, "h.jsonl")
			if err := h.save(file); err != nil {
				t.Fatal(err)
			}
			h, err := load(file) // what is recorded is what is checked
			if err != nil {
				t.Fatal(err)
			}
			wrong := strings.Join(check(h, dir), "\n")
			if c.wrong == "" && wrong != "" || !strings.Contains(wrong, c.wrong) {
				t.Fatalf("wanted %q, found:\n%s", c.wrong, wrong)
			}
			if c.count > 0 {
				if n := strings.Count(wrong, "\n  "); n != c.count {
					t.Errorf("%d operations are shown, %d would do:\n%s", n, c.count, wrong)
				}
				pictures, _ := filepath.Glob(filepath.Join(dir, "*.html"))
				if len(pictures) != 1 || !strings.Contains(wrong, pictures[0]) {
					t.Errorf("pictures %v, named in:\n%s", pictures, wrong)
				} else if info, err := os.Stat(pictures[0]); err != nil || info.Size() < 1000 {
					t.Errorf("the picture is empty: %v", err)
				}
			}
		})
	}
}

// TestARecordedHistoryChanged changes one thing at a time in the history of a
// real cluster with a system cut off, and wants each found.
func TestARecordedHistoryChanged(t *testing.T) {
	fresh := func() *History {
		h, err := load("testdata/cut.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := fresh()
	if wrong := check(h, t.TempDir()); len(wrong) > 0 {
		t.Fatalf("the history as it was recorded: %v", wrong)
	}
	changed := 0
	expect := func(i int, what, words string, change func(op *Op)) {
		t.Helper()
		bad := fresh()
		change(&bad.Ops[i])
		if wrong := strings.Join(check(bad, t.TempDir()), "\n"); !strings.Contains(wrong, words) {
			t.Errorf("%s in %s: wanted %q, found %q", what, h.Ops[i], words, wrong)
		}
		changed++
	}
	overwritten := func(object string, by int64) bool { // surely
		for _, op := range h.Ops {
			if op.Kind == "write" && op.Object == object && op.Outcome == OK && op.Return < by {
				return true
			}
		}
		return false
	}
	for i, op := range h.Ops {
		if op.Kind == "barrier" && op.Outcome == OK {
			for _, object := range []string{"r0", "r1"} {
				if overwritten(object, op.Call) {
					expect(i, "an old value", object+": no order explains", func(op *Op) { op.Seen[object] = h.Initial[object] })
				}
			}
		}
		if op.Outcome == OK && op.Kind == "write" && strings.Contains(sawOf(h), "="+op.Value+";") {
			expect(i, "a write that never was, and was seen", op.Object+": no order explains", func(op *Op) { op.Outcome = Void })
		}
		if op.Outcome == OK && op.Kind == "read" && op.Call > 1e9 {
			expect(i, "a replica that went back", "behind what this client knew", func(op *Op) { op.At = Position{op.At.Lineage, 0, 1} })
		}
		if op.Object == "frozen" && op.Outcome == OK {
			expect(i, "the contrary", "frozen: no order explains", func(op *Op) {
				op.Kind = map[string]string{"set": "clear", "clear": "set"}[op.Kind]
			})
		}
	}
	if changed < 40 {
		t.Errorf("only %d changes", changed)
	}
	t.Logf("%d changes, each found", changed)
}

// sawOf lists what barriers saw of the registers.
func sawOf(h *History) string {
	var b strings.Builder
	for _, op := range h.Ops {
		if op.Kind == "barrier" && op.Outcome == OK {
			b.WriteString("=" + op.Seen["r0"] + ";=" + op.Seen["r1"] + ";")
		}
	}
	return b.String()
}
