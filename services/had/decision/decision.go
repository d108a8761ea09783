// Package decision holds every decision that the engine takes by itself, and
// its answers to orders, as pure functions: one struct of facts for each kind,
// whose Decide says what follows and why, in words.
//
// The engine gathers the facts, calls Decide, does what the outcome says, and
// keeps facts and outcome together. Deciding again on the facts that were kept
// therefore gives the outcome that was kept (E196): anybody can check what a
// cluster did, and what it did not do.
package decision

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Kind names one kind of decision: "failover", "fault", ...
type Kind string

// Inputs are the facts that one decision is taken on. They are values that
// nobody changes once they are kept, and their JSON is canonical.
type Inputs interface {
	Kind() Kind
	// Decide takes the decision. It looks at nothing but the facts.
	Decide() Outcome
}

// Do says what follows from a decision, for the engine and for programs.
type Do string

// What may follow. Each kind says which of these it has.
const (
	// DoNothing: there is nothing to do, nor to tell.
	DoNothing Do = ""
	// DoLook: more facts are needed: those about the candidates.
	DoLook Do = "look"
	// DoStart brings the group, or the rest of it, online on Target.
	DoStart Do = "start"
	// DoStop takes the group offline on Target.
	DoStop Do = "stop"
	// DoMove takes the group offline, then online on Target.
	DoMove Do = "move"
	// DoDrop takes some resources offline.
	DoDrop Do = "drop"
	// DoWait leaves things as they are until something changes.
	DoWait Do = "wait"
	// DoNone: no system is able to take the group; it waits for one.
	DoNone Do = "none"
	// DoForgo gives up what was to be done.
	DoForgo Do = "forgo"
	// DoRecord does nothing but remember and tell.
	DoRecord Do = "record"
	// DoMark makes the system no target for the group.
	DoMark Do = "mark"
	// DoAdopt takes what is running as it is.
	DoAdopt Do = "adopt"
	// DoOwe starts the group when its dependencies are met.
	DoOwe Do = "owe"
	// DoClear clears faults.
	DoClear Do = "clear"
	// DoHold lets a trigger decide first.
	DoHold Do = "hold"
	// DoCarryOut and DoRefuse answer an order.
	DoCarryOut Do = "carry-out"
	DoRefuse   Do = "refuse"
)

// Outcome is what was decided.
type Outcome struct {
	Do Do
	// Target is the system that it is about, if it chose one.
	Target string
	// Subject says what was at stake, Text what was decided and why, in a
	// sentence. An outcome without Text is not worth telling.
	Subject, Text string
	// WayOut is the command that leads out, if something is stuck.
	WayOut string
	// Evidence that it went on (R1), if it took any.
	Evidence policy.Evidence
	// Verdicts are about the systems that were looked at.
	Verdicts []policy.Verdict
}

// Same says whether two outcomes are the same decision.
func (o Outcome) Same(other Outcome) bool {
	return o.Do == other.Do && o.Target == other.Target && o.Subject == other.Subject && o.Text == other.Text &&
		o.WayOut == other.WayOut && o.Evidence == other.Evidence &&
		slices.EqualFunc(o.Verdicts, other.Verdicts, func(a, b policy.Verdict) bool {
			return a.System == b.System && a.Chosen == b.Chosen && a.Reason == b.Reason
		})
}

// Record keeps the inputs of a decision as canonical JSON:
// {"kind":...,"inputs":{...}}. It is written once and never changed. Nil: no
// inputs are kept.
type Record []byte

type record struct {
	Kind   Kind            `json:"kind"`
	Inputs json.RawMessage `json:"inputs"`
}

type written struct {
	Kind   Kind   `json:"kind"`
	Inputs Inputs `json:"inputs"`
}

// Keep writes the inputs down.
func Keep(in Inputs) Record {
	text, err := json.Marshal(written{in.Kind(), in})
	if err != nil {
		// Structs of numbers, strings and booleans always encode.
		panic("decision: inputs of " + string(in.Kind()) + ": " + err.Error())
	}
	return text
}

// Inputs reads what Keep wrote; nil for a Record that is nil.
func (r Record) Inputs() (Inputs, error) {
	if len(r) == 0 {
		return nil, nil
	}
	var rec record
	if err := strict(r, &rec); err != nil {
		return nil, fmt.Errorf("read a decision: %w", err)
	}
	read := kinds[rec.Kind]
	if read == nil {
		return nil, fmt.Errorf("read a decision: unknown kind %q", rec.Kind)
	}
	in, err := read(rec.Inputs)
	if err != nil {
		return nil, fmt.Errorf("read inputs of %s: %w", rec.Kind, err)
	}
	return in, nil
}

// MarshalJSON gives the text.
func (r Record) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return r, nil
}

// UnmarshalJSON takes what Keep wrote and nothing else.
func (r *Record) UnmarshalJSON(text []byte) error {
	if *r = nil; string(text) == "null" {
		return nil
	}
	*r = bytes.Clone(text)
	_, err := r.Inputs()
	return err
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing bytes")
	}
	return nil
}

// kinds reads the inputs of each kind. Whoever adds a kind adds it here.
var kinds = func() map[Kind]func([]byte) (Inputs, error) {
	all := map[Kind]func([]byte) (Inputs, error){}
	for _, in := range automatic {
		add(all, in)
	}
	for _, in := range orders {
		add(all, in)
	}
	return all
}()

func add(all map[Kind]func([]byte) (Inputs, error), of reader) {
	kind, read := of()
	if all[kind] != nil {
		panic("decision: two kinds named " + string(kind))
	}
	all[kind] = read
}

// reader is a kind and how its inputs are read.
type reader func() (Kind, func([]byte) (Inputs, error))

func kindOf[T Inputs]() (Kind, func([]byte) (Inputs, error)) {
	var zero T
	return zero.Kind(), func(text []byte) (Inputs, error) {
		var in T
		err := strict(text, &in)
		return in, err
	}
}

// Automatic returns the kinds of decision that the engine takes by itself.
func Automatic() []Kind { return kindsOf(automatic) }

// Orders returns the kinds of its answers to orders.
func Orders() []Kind { return kindsOf(orders) }

// All returns both.
func All() []Kind { return slices.Sorted(slices.Values(append(Automatic(), Orders()...))) }

func kindsOf(readers []reader) []Kind {
	set := map[Kind]bool{}
	for _, r := range readers {
		kind, _ := r()
		set[kind] = true
	}
	return slices.Sorted(maps.Keys(set))
}

func pick[T any](yes bool, a, b T) T {
	if yes {
		return a
	}
	return b
}

func orUnsaid(reason string) string {
	if reason == "" {
		return "the agent gave no reason"
	}
	return reason
}
