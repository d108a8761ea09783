package decision

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// blank are the inputs of each kind, empty.
func blank(t testing.TB) []Inputs {
	t.Helper()
	var out []Inputs
	for _, kind := range append(Automatic(), Orders()...) {
		in, err := kinds[kind]([]byte("{}"))
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		out = append(out, in)
	}
	return out
}

// words are what facts say; most systems run, and most texts are empty.
var words = []string{"", "", "", "", "A", "B", "RUNNING", "RUNNING", "released", "failed", "given-up", "CUT", policy.Priority, policy.Every}

// fill sets every field at random.
func fill(r *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(8) - 2)
	case reflect.String:
		v.SetString(words[r.IntN(len(words))])
	case reflect.Pointer:
		if r.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := r.IntN(3)
		if n == 0 || depth > 4 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			// What JSON does not carry is set by the choice itself.
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(r, v.Field(i), depth+1)
			}
		}
	default:
		panic("a field of kind " + v.Kind().String() + ": facts are numbers, words, structs and lists")
	}
}

// TestDecidedAgain: for random facts of each kind, what was kept reads back as
// the same text and decides the same (E196).
func TestDecidedAgain(t *testing.T) {
	all := blank(t)
	taken := map[Do]int{}
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		for _, of := range slices.Repeat(all, 20) {
			v := reflect.New(reflect.TypeOf(of)).Elem()
			fill(r, v, 0)
			in := v.Interface().(Inputs)
			kept := Keep(in)
			again, err := kept.Inputs()
			if err != nil {
				t.Fatalf("%s: %v", kept, err)
			}
			if text := Keep(again); string(text) != string(kept) {
				t.Fatalf("kept\n%s\nread\n%s", kept, text)
			}
			a, b := in.Decide(), again.Decide()
			if !a.Same(b) {
				t.Fatalf("%s\ndecided %+v\nand again %+v", kept, a, b)
			}
			if len(Facts(again)) == 0 && string(kept) != fmt.Sprintf(`{"kind":%q,"inputs":{}}`, in.Kind()) {
				t.Fatalf("%s says nothing to people", kept)
			}
			taken[a.Do]++
		}
	})
	for _, do := range []Do{DoNothing, DoLook, DoStart, DoStop, DoMove, DoDrop, DoWait, DoNone, DoForgo, DoRecord, DoMark, DoAdopt, DoOwe, DoClear, DoHold, DoCarryOut, DoRefuse} {
		if taken[do] == 0 {
			t.Errorf("no random facts lead to %q", do)
		}
	}
	t.Logf("%d kinds (%d automatic, %d orders), taken: %v", len(all), len(Automatic()), len(Orders()), taken)
}

// TestEveryFactIsKept: a fact that JSON leaves out would make the decision
// unrepeatable.
func TestEveryFactIsKept(t *testing.T) {
	for _, in := range blank(t) {
		visit(reflect.TypeOf(in), func(f reflect.StructField) {
			if tag := f.Tag.Get("json"); !f.Anonymous && (tag == "" || tag == "-") && f.Name != "Score" {
				t.Errorf("%T: field %s has no name in JSON", in, f.Name)
			}
		})
	}
}

func visit(t reflect.Type, each func(reflect.StructField)) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		visit(t.Elem(), each)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() {
				each(f)
				visit(f.Type, each)
			}
		}
	}
}

// TestFacts: people read attributes by their names and who froze what.
func TestFacts(t *testing.T) {
	in := Failover{Group: "web", From: "A", Why: "system A is FAULTED", AutoFailOver: 1, Freeze: Freeze{Group: "hagrp -freeze by root"},
		Places: []Place{{Doubt: Doubt{System: "A", Loss: &policy.Loss{System: "A", Evidence: policy.EvidenceCut, StopBound: time.Minute}}},
			{Doubt: Doubt{System: "B", InView: true}, Fresh: true}}}
	var b strings.Builder
	for _, f := range Facts(in) {
		fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Value)
	}
	want := `group: web
from: A
why: system A is FAULTED
AutoFailOver: 1
frozen group: hagrp -freeze by root
place: A, evidence CUT, stop bound 1m0s
place: B, in view, fresh
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// FuzzRecord: whatever a record claims, it is read or refused, and what is
// read decides the same twice.
func FuzzRecord(f *testing.F) {
	for _, in := range blank(f) {
		f.Add([]byte(Keep(in)))
	}
	f.Add([]byte(`{"kind":"found","inputs":{"at":[]}}`))
	f.Add([]byte(`{"kind":"nothing","inputs":{}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Record
		if json.Unmarshal(text, &r) != nil {
			return
		}
		in, err := r.Inputs()
		if err != nil || in == nil {
			return
		}
		Facts(in)
		if a := in.Decide(); !a.Same(in.Decide()) {
			t.Fatalf("%s decides otherwise", text)
		}
	})
}
