package linear

import (
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTime bounds the search in one object's history.
const checkTime = 30 * time.Second

// Message ids by which a refusal tells the state of a flag.
const (
	notWritable = "V-16-1-10369"
	writable    = "V-16-1-10364"
	exists      = "V-16-1-90001"
	noGroup     = "V-16-1-12130"
	frozen      = "V-16-1-40208"
	notFrozen   = "V-16-1-40201"
)

// step is what an operation is to one object.
type step struct {
	// what: write, set, clear or see.
	what, value string
	op          Op
}

// open: nobody knows whether and when it was carried out.
func (s step) open() bool { return s.op.Outcome == Unknown }

// stepsOn is the part of a history that concerns one object.
func stepsOn(h *History, object string) []step {
	var out []step
	add := func(what, value string, op Op) { out = append(out, step{what: what, value: value, op: op}) }
	for _, op := range h.Ops {
		switch {
		case op.Outcome == Void || op.Kind == "read" || op.Kind == "move":
		case op.Kind == "barrier":
			if v, saw := op.Seen[object]; saw && op.Outcome == OK {
				add("see", v, op)
			}
		case op.Object == object && op.Outcome != Refused:
			add(op.Kind, op.Value, op)
		case op.Object == object && (op.No == exists || op.No == writable || op.No == frozen):
			add("see", "1", op)
		case op.Object == object && (op.No == noGroup || op.No == notFrozen || op.No == notWritable && object == "writable"):
			add("see", "0", op)
		case object == "writable" && changesConfig(op) && op.Outcome == OK:
			add("see", "1", op)
		case object == "writable" && changesConfig(op) && op.No == notWritable:
			add("see", "0", op)
		}
	}
	return out
}

// changesConfig: what needs a writable configuration.
func changesConfig(op Op) bool { return op.Kind == "write" || strings.HasPrefix(op.Object, "group ") }

// model is one object: a register, or a flag that refuses to be set twice.
func model(initial string) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return initial },
		Step: func(state, input, _ any) (bool, any) {
			s := input.(step)
			switch s.what {
			case "write":
				return true, s.value
			case "set":
				return s.open() || state == "0", "1"
			case "clear":
				return s.open() || state == "1", "0"
			}
			return state == s.value, state
		},
		DescribeOperation: func(input, _ any) string {
			s := input.(step)
			return strings.TrimSpace(fmt.Sprintf("%s %s %s", s.what, s.value, s.op.No))
		},
		DescribeState:             func(state any) string { return fmt.Sprint(state) },
		DescribeOperationMetadata: func(m any) string { return fmt.Sprint(m) },
	}
}

func operations(steps []step) []porcupine.Operation {
	out := make([]porcupine.Operation, 0, len(steps))
	for _, s := range steps {
		end := s.op.Return
		if s.open() {
			end = math.MaxInt64
		}
		out = append(out, porcupine.Operation{ClientId: s.op.Client, Input: s, Call: s.op.Call, Output: s.op.Outcome, Return: end,
			Metadata: fmt.Sprintf("%s %s at %s, position %s", s.op.Kind, s.op.ID, s.op.System, s.op.Pos)})
	}
	return out
}

func illegal(initial string, steps []step) bool {
	return porcupine.CheckOperationsTimeout(model(initial), operations(steps), checkTime) == porcupine.Illegal
}

// smallest cuts away what the violation does not need. Each cut leaves a
// history that is legal if the whole was: the end of a history (what was
// called by then and not answered is open), what only looked, and writes that
// nobody saw.
func smallest(initial string, steps []step) []step {
	ends := make([]int64, 0, len(steps))
	for _, s := range steps {
		if !s.open() {
			ends = append(ends, s.op.Return)
		}
	}
	slices.Sort(ends)
	until := func(end int64) []step {
		var out []step
		for _, s := range steps {
			switch {
			case s.op.Call > end:
			case s.op.Return > end && s.what == "see":
			default:
				if s.op.Return > end {
					s.op.Outcome = Unknown
				}
				out = append(out, s)
			}
		}
		return out
	}
	at, _ := slices.BinarySearchFunc(ends, true, func(end int64, _ bool) int {
		if illegal(initial, until(end)) {
			return 0
		}
		return -1
	})
	if at < len(ends) {
		steps = until(ends[at])
	}
	for i := len(steps) - 1; i >= 0; i-- {
		seen := func(s step) bool { return s.what == "see" && s.value == steps[i].value }
		if steps[i].what != "see" && (steps[i].what != "write" || slices.ContainsFunc(steps, seen)) {
			continue
		}
		if fewer := slices.Delete(slices.Clone(steps), i, i+1); illegal(initial, fewer) {
			steps = fewer
		}
	}
	return steps
}

// check returns what is wrong with a history, each with the operations that
// show it; pictures go to dir.
func check(h *History, dir string) []string {
	var wrong []string
	for _, object := range slices.Sorted(maps.Keys(h.Initial)) {
		steps := stepsOn(h, object)
		result := porcupine.CheckOperationsTimeout(model(h.Initial[object]), operations(steps), checkTime)
		if result == porcupine.Ok {
			continue
		}
		if result == porcupine.Unknown {
			wrong = append(wrong, fmt.Sprintf("%s: no answer within %v about %d operations", object, checkTime, len(steps)))
			continue
		}
		small := smallest(h.Initial[object], steps)
		_, info := porcupine.CheckOperationsVerbose(model(h.Initial[object]), operations(small), checkTime)
		picture := filepath.Join(dir, fmt.Sprintf("seed-%d-%s.html", h.Seed, strings.ReplaceAll(object, " ", "-")))
		if err := porcupine.VisualizePath(model(h.Initial[object]), info, picture); err != nil {
			picture = err.Error()
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s: no order explains these %d of %d operations (it began as %q; picture: %s):", object, len(small), len(steps), h.Initial[object], picture)
		for _, s := range small {
			fmt.Fprintf(&b, "\n  %s %s: %s", s.what, s.value, s.op)
		}
		wrong = append(wrong, b.String())
	}
	return append(wrong, positions(h)...)
}

func (o Op) String() string {
	return fmt.Sprintf("client %d at %s, %.3f to %.3f s, %s %s %s %s %s, position %s, read at %s, request id %s",
		o.Client, o.System, float64(o.Call)/1e9, float64(o.Return)/1e9, o.Kind, o.Object, o.Value, o.Outcome, o.No, o.Pos, o.At, o.ID)
}

// positions checks the places in the total order that the answers carry: that
// they agree with what clients could see of the order, that a request id has
// one, and that a replica is read in order and holds what was ordered up to
// there.
func positions(h *History) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	var acked []Op
	owner := map[Position]Op{}
	var lineage uint64
	for _, op := range h.Ops {
		if p := op.Pos; p != (Position{}) && op.Outcome == OK {
			if lineage != 0 && p.Lineage != lineage {
				say("another lineage, %x before: %s", lineage, op)
			}
			lineage = p.Lineage
			if other, is := owner[p]; is {
				say("two operations at one position:\n  %s\n  %s", other, op)
			}
			owner[p] = op
			acked = append(acked, op)
		}
		wrong = append(wrong, answers(op)...)
	}
	wrong = append(wrong, realTime(acked)...)
	wrong = append(wrong, replicas(h, acked)...)
	return wrong
}

// answers: all tries of a request id were told the same.
func answers(op Op) []string {
	var wrong []string
	first := 0
	for _, t := range op.Tries {
		if t.Outcome != OK && t.Outcome != Refused {
			continue
		}
		if t.Outcome != op.Outcome || t.Pos != op.Pos || t.No != op.No {
			wrong = append(wrong, fmt.Sprintf("one request id, two answers, the other %+v: %s", t, op))
		}
		if t.Outcome == OK && !t.Repeated {
			first++
		}
	}
	if first > 1 {
		wrong = append(wrong, fmt.Sprintf("carried out as new %d times: %s", first, op))
	}
	return wrong
}

// realTime: what was answered before another was called stands before it.
func realTime(acked []Op) []string {
	byCall, byReturn := slices.Clone(acked), slices.Clone(acked)
	slices.SortStableFunc(byCall, func(a, b Op) int { return int(a.Call - b.Call) })
	slices.SortStableFunc(byReturn, func(a, b Op) int { return int(a.Return - b.Return) })
	var wrong []string
	var last Op
	i := 0
	for _, op := range byCall {
		for ; byReturn[i].Return < op.Call; i++ {
			if byReturn[i].Pos.compare(last.Pos) > 0 {
				last = byReturn[i]
			}
		}
		if last.Pos.compare(op.Pos) > 0 {
			wrong = append(wrong, fmt.Sprintf("answered before the other was called, ordered after it:\n  %s\n  %s", last, op))
		}
	}
	return wrong
}

// replicas: reads of a replica.
func replicas(h *History, acked []Op) []string {
	type place struct {
		client int
		system string
	}
	var wrong []string
	known := map[place]Op{} // the latest that a client knows of a system
	at := map[Position]Op{}
	ops := slices.Clone(h.Ops)
	slices.SortStableFunc(ops, func(a, b Op) int { return int(a.Call - b.Call) })
	slices.SortStableFunc(acked, func(a, b Op) int { return a.Pos.compare(b.Pos) })
	for _, op := range ops { // a client has one operation at a time
		here := place{op.Client, op.System}
		before := known[here]
		latest := before.At
		if before.Seen == nil {
			latest = before.Pos
		}
		if op.Outcome != OK {
			continue
		}
		if op.Seen == nil {
			if op.Pos.compare(latest) > 0 {
				known[here] = op
			}
			continue
		}
		if op.At.compare(latest) < 0 || op.At.compare(op.Pos) < 0 {
			wrong = append(wrong, fmt.Sprintf("a replica was read behind what this client knew of it:\n  %s\n  %s", before, op))
		}
		known[here] = op
		// Answers of had always carry a position.
		if other, is := at[op.At]; is && op.At != (Position{}) && !maps.Equal(other.Seen, op.Seen) {
			wrong = append(wrong, fmt.Sprintf("two contents at one position:\n  %s: %v\n  %s: %v", other, other.Seen, op, op.Seen))
		}
		at[op.At] = op
		wrong = append(wrong, holds(h, acked, op)...)
	}
	return wrong
}

// holds: a register read at a position holds the last write up to there, or one
// whose place nobody was told. acked is in the order of positions.
func holds(h *History, acked []Op, read Op) []string {
	var wrong []string
	for object, saw := range read.Seen {
		want, from := h.Initial[object], Op{}
		register := false
		for _, w := range acked {
			if w.Kind == "write" && w.Object == object {
				register = true
				if w.Pos.compare(read.At) <= 0 {
					want, from = w.Value, w
				}
			}
		}
		if !register || saw == want {
			continue
		}
		unknown := func(op Op) bool { return op.Object == object && op.Outcome == Unknown && op.Value == saw }
		if !slices.ContainsFunc(h.Ops, unknown) {
			wrong = append(wrong, fmt.Sprintf("%s was %q where the order says %q:\n  %s\n  %s", object, saw, want, from, read))
		}
	}
	return wrong
}
