// Package fencing is the race for the coordination points: the pure core that
// decides which side of a split may go on, and that gathers the evidence that
// the other side is gone (safety rules R1, R10 to R13). docs/spec/fencing.md is
// its specification.
//
// A coordination point is a set of registration keys with a few atomic
// operations. What carries them out (a file, a disk, a server) is a shell; the
// core sees operations go out with an id and one completion come back for each.
package fencing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// NodeID is an LLT node id, 0 to 63.
type NodeID uint8

// System is one incarnation of one system: the incarnation is that of its gab.
type System struct {
	Node        NodeID
	Name        string
	Incarnation uint64
}

// String is NAME(NODE)#INCARNATION.
func (s System) String() string { return fmt.Sprintf("%s(%d)#%x", s.Name, s.Node, s.Incarnation) }

func (s System) same(t System) bool { return s.Node == t.Node && s.Incarnation == t.Incarnation }

// ViewID names a view of gab for ever.
type ViewID struct {
	Lineage, Counter uint64
	Coordinator      NodeID
	Incarnation      uint64
}

// String is LINEAGE.COUNTER.COORDINATOR.INCARNATION, the numbers in hexadecimal.
func (v ViewID) String() string {
	return fmt.Sprintf("%x.%x.%x.%x", v.Lineage, v.Counter, v.Coordinator, v.Incarnation)
}

// Key is a registration on a coordination point.
type Key struct {
	Cluster     uint16
	Node        NodeID
	Incarnation uint64
}

// Text is the key as VCS writes it: VF, the cluster id, the node id.
func (k Key) Text() string { return fmt.Sprintf("VF%04X%02X", k.Cluster, uint8(k.Node)) }

// String is the whole key: Text, a hyphen and the incarnation.
func (k Key) String() string { return fmt.Sprintf("%s-%016x", k.Text(), k.Incarnation) }

// ParseKey is the inverse of Key.String.
func ParseKey(text string) (Key, error) {
	bad := func() (Key, error) {
		return Key{}, fmt.Errorf("parse key %.40q: want VFccccnn-iiiiiiiiiiiiiiii in hexadecimal", text)
	}
	if len(text) != 25 || text[:2] != "VF" || text[8] != '-' {
		return bad()
	}
	cluster, err1 := strconv.ParseUint(text[2:6], 16, 16)
	node, err2 := strconv.ParseUint(text[6:8], 16, 8)
	incarnation, err3 := strconv.ParseUint(text[9:], 16, 64)
	key := Key{Cluster: uint16(cluster), Node: NodeID(node), Incarnation: incarnation}
	if err1 != nil || err2 != nil || err3 != nil || node > 63 || key.String() != text {
		return bad()
	}
	return key, nil
}

// OpKind is what is done to a coordination point.
type OpKind uint8

// The operations. Each is atomic on its point.
const (
	// OpRegister adds Key; Conflict if the node has another one there.
	OpRegister OpKind = iota + 1
	// OpRegisterAndIgnore replaces whatever key the node has there by Key.
	OpRegisterAndIgnore
	// OpReadKeys reads all keys.
	OpReadKeys
	// OpPreempt removes Victims; Conflict, and nothing is removed, unless Key
	// is registered.
	OpPreempt
	// OpUnregister removes Key; Conflict if it is not there.
	OpUnregister
	// OpWithdrawOwn removes Key if it is there.
	OpWithdrawOwn
	// OpClear removes Victims without being registered: an operator's deed
	// (vxfenclearpre), never a part of a race.
	OpClear
)

var opNames = [...]string{"?", "Register", "RegisterAndIgnore", "ReadKeys", "Preempt", "Unregister", "WithdrawOwn", "Clear"}

// String is the operation's name.
func (k OpKind) String() string {
	if int(k) >= len(opNames) {
		return "?"
	}
	return opNames[k]
}

// Operation is one operation on one coordination point.
type Operation struct {
	Kind    OpKind
	Key     Key
	Victims []Key
}

// String is NAME KEY [victims ...].
func (o Operation) String() string {
	switch o.Kind {
	case OpReadKeys:
		return o.Kind.String()
	case OpClear:
		return fmt.Sprintf("%v [%s]", o.Kind, joinKeys(o.Victims))
	case OpPreempt:
		return fmt.Sprintf("%v by %v [%s]", o.Kind, o.Key, joinKeys(o.Victims))
	}
	return fmt.Sprintf("%v %v", o.Kind, o.Key)
}

func joinKeys(keys []Key) string {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = k.String()
	}
	return strings.Join(texts, " ")
}

// Outcome is what became of an operation.
type Outcome uint8

// The outcomes.
const (
	// Failed: nobody knows whether it was done (error, timeout).
	Failed Outcome = iota
	// OK: it was done.
	OK
	// Conflict: the point refused it (reservation conflict).
	Conflict
)

// String is the outcome in lower case.
func (o Outcome) String() string {
	switch o {
	case OK:
		return "ok"
	case Conflict:
		return "conflict"
	}
	return "failed"
}

// Result is the completion of an operation. Keys are those of OpReadKeys;
// Detail is for people.
type Result struct {
	Outcome Outcome
	Keys    []Key
	Detail  string
}

// Apply is what an operation does to the keys of a point: the meaning that
// every backend has to keep. It changes nothing in place. Unknown operations
// fail.
func Apply(keys []Key, op Operation) ([]Key, Result) {
	has := slices.Contains(keys, op.Key)
	without := func(drop func(Key) bool) []Key {
		kept := make([]Key, 0, len(keys))
		for _, k := range keys {
			if !drop(k) {
				kept = append(kept, k)
			}
		}
		return kept
	}
	sameNode := func(k Key) bool { return k.Cluster == op.Key.Cluster && k.Node == op.Key.Node }
	switch op.Kind {
	case OpReadKeys:
		return keys, Result{Outcome: OK, Keys: slices.Clone(keys)}
	case OpRegister:
		if has {
			return keys, Result{Outcome: OK}
		}
		if slices.ContainsFunc(keys, sameNode) {
			return keys, Result{Outcome: Conflict}
		}
		return append(slices.Clone(keys), op.Key), Result{Outcome: OK}
	case OpRegisterAndIgnore:
		return append(without(sameNode), op.Key), Result{Outcome: OK}
	case OpPreempt:
		if !has {
			return keys, Result{Outcome: Conflict}
		}
		return without(func(k Key) bool { return k != op.Key && slices.Contains(op.Victims, k) }), Result{Outcome: OK}
	case OpUnregister:
		if !has {
			return keys, Result{Outcome: Conflict}
		}
		return without(func(k Key) bool { return k == op.Key }), Result{Outcome: OK}
	case OpWithdrawOwn:
		return without(func(k Key) bool { return k == op.Key }), Result{Outcome: OK}
	case OpClear:
		return without(func(k Key) bool { return slices.Contains(op.Victims, k) }), Result{Outcome: OK}
	}
	return keys, Result{Outcome: Failed, Detail: "unknown operation"}
}

// Evidence is why a departed system is taken as gone (R1).
type Evidence uint8

// The kinds of evidence, with the numbers of gab's contract.
const (
	NoEvidence Evidence = iota
	Clean
	PoweredOff
	Cut
	Expired
	Vouched
	Assumed
)

var evidenceNames = [...]string{"", "CLEAN", "POWERED_OFF", "CUT", "EXPIRED", "VOUCHED", "ASSUMED"}

// String is the name in R1, "" for none.
func (e Evidence) String() string {
	if int(e) >= len(evidenceNames) {
		return "?"
	}
	return evidenceNames[e]
}

// suffices reports whether the evidence proves that nothing of the system can
// run any more, whatever it held (R1).
func (e Evidence) suffices() bool {
	return e == Clean || e == PoweredOff || e == Expired || e == Vouched
}
