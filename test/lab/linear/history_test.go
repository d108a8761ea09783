// Package linear runs operators against a real cluster under faults, records
// what they asked and were told, and checks that there is one order of
// everything that explains it. docs/testing.md says what is checked against
// what.
package linear

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
)

// Position is a place in the total order, as had answers it.
type Position struct {
	Lineage uint64 `json:"lineage"`
	View    uint64 `json:"view"`
	Seq     uint64 `json:"seq"`
}

func (p Position) String() string { return fmt.Sprintf("%x.%d.%d", p.Lineage, p.View, p.Seq) }

// compare orders positions of one lineage.
func (p Position) compare(q Position) int {
	return cmp.Or(cmp.Compare(p.View, q.View), cmp.Compare(p.Seq, q.Seq))
}

// Outcome is what a client knows about an operation.
type Outcome string

const (
	// OK: carried out, or read.
	OK Outcome = "ok"
	// Refused: taken in order, and refused for the reason of message id No.
	Refused Outcome = "refused"
	// Unknown: it may be carried out at any time from the call on (R15).
	Unknown Outcome = "unknown"
	// Void: it was not carried out and never will be.
	Void Outcome = "void"
)

// Try is one call of an operation; all have its request id.
type Try struct {
	System   string   `json:"system"`
	Outcome  Outcome  `json:"outcome"`
	Pos      Position `json:"pos,omitzero"`
	Repeated bool     `json:"repeated,omitempty"`
	No       string   `json:"no,omitempty"`
	Said     string   `json:"said,omitempty"`
}

// Op is one operation of a client, from its first call to its last answer.
// Times are nanoseconds of the test's monotonic clock.
type Op struct {
	Client int `json:"client"`
	// Kind: write; set, clear (of a flag); move (of a group); barrier (a read
	// behind an ordered operation of its own); read (of the local replica).
	Kind string `json:"kind"`
	// Object is a register or a flag, "" for reads, which see all.
	Object  string  `json:"object,omitempty"`
	Value   string  `json:"value,omitempty"`
	Call    int64   `json:"call"`
	Return  int64   `json:"return"`
	Outcome Outcome `json:"outcome"`
	No      string  `json:"no,omitempty"`
	// System that gave the last answer.
	System string `json:"system"`
	// Pos is where the operation was carried out, for a barrier its own; At is
	// where a read was taken.
	Pos   Position `json:"pos,omitzero"`
	At    Position `json:"at,omitzero"`
	ID    string   `json:"id,omitempty"`
	Tries []Try    `json:"tries,omitempty"`
	// Seen holds the values that a read saw, by object.
	Seen map[string]string `json:"seen,omitempty"`
}

// History is what the clients of one run saw.
type History struct {
	Seed   uint64   `json:"seed"`
	Faults []string `json:"faults"`
	// Initial holds the values at the beginning.
	Initial map[string]string `json:"initial"`
	Ops     []Op              `json:"-"`
}

// save writes a history as JSON lines: itself first, then its operations.
func (h *History) save(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	defer f.Close()
	w := json.NewEncoder(f)
	if err := w.Encode(h); err != nil {
		return fmt.Errorf("save history: %w", err)
	}
	for _, op := range h.Ops {
		if err := w.Encode(op); err != nil {
			return fmt.Errorf("save history: %w", err)
		}
	}
	return f.Close()
}

// load reads what save wrote.
func load(file string) (*History, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("load history: %w", err)
	}
	defer f.Close()
	lines := json.NewDecoder(bufio.NewReader(f))
	h := &History{}
	if err := lines.Decode(h); err != nil {
		return nil, fmt.Errorf("load %s: %w", file, err)
	}
	for lines.More() {
		var op Op
		if err := lines.Decode(&op); err != nil {
			return nil, fmt.Errorf("load %s: %w", file, err)
		}
		h.Ops = append(h.Ops, op)
	}
	return h, nil
}
