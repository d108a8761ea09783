package agent

import (
	"fmt"
	"log/slog"
	"maps"
	"strconv"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// Resource is the resource that a call is about: its name and the values of
// its attributes on this system. Reading an attribute that the agent did not
// declare, or with the wrong method, panics: a mistake that the first test finds.
type Resource struct {
	// Name in main.cf.
	Name string
	// Log goes to the agent's log on this system, with type, resource and
	// entry point already in it.
	Log *slog.Logger

	declared map[string]Attr
	values   map[string]*agentv1.Value
}

func (r *Resource) attr(name string, kinds []Kind, dims []Dimension) (Attr, *agentv1.Value) {
	a, ok := r.declared[name]
	if !ok {
		panic(fmt.Sprintf("agent: attribute %s is not declared by Describe", name))
	}
	for _, d := range dims {
		for _, k := range kinds {
			if a.Dimension == d && a.Kind == k {
				return a, r.values[name]
			}
		}
	}
	panic(fmt.Sprintf("agent: attribute %s is declared with another kind or dimension than it is read with", name))
}

var (
	anyKind    = []Kind{String, Integer, Boolean}
	onlyScalar = []Dimension{Scalar}
	lists      = []Dimension{Vector, Keylist}
)

func (r *Resource) scalar(name string, kinds []Kind) string {
	a, v := r.attr(name, kinds, onlyScalar)
	if v == nil || (v.GetScalar() == "" && a.Kind != String) {
		return a.Default
	}
	return v.GetScalar()
}

// String returns a scalar as text; "" if it has neither value nor default.
func (r *Resource) String(name string) string { return r.scalar(name, anyKind) }

// Int returns an integer scalar; 0 if it has neither value nor default.
func (r *Resource) Int(name string) int {
	n, _ := strconv.Atoi(r.scalar(name, []Kind{Integer})) // checked before the call
	return n
}

// Bool returns a boolean scalar.
func (r *Resource) Bool(name string) bool {
	return r.scalar(name, []Kind{Boolean}) == "1"
}

// Strings returns the elements of a vector or keylist; the caller may keep them.
func (r *Resource) Strings(name string) []string {
	_, v := r.attr(name, anyKind, lists)
	return append([]string(nil), v.GetList().GetValues()...)
}

// Map returns the pairs of an association; the caller may keep them.
func (r *Resource) Map(name string) map[string]string {
	_, v := r.attr(name, anyKind, []Dimension{Association})
	if m := v.GetAssociation().GetPairs(); m != nil {
		return maps.Clone(m)
	}
	return map[string]string{}
}

// check finds values that the declarations do not allow.
func (r *Resource) check() []Problem {
	var problems []Problem
	for _, name := range sortedKeys(r.declared) {
		a, v := r.declared[name], r.values[name]
		if text := checkValue(a, v); text != "" {
			problems = append(problems, Problem{Attr: name, Text: text})
		}
	}
	return problems
}

func checkValue(a Attr, v *agentv1.Value) string {
	if v == nil || v.Shape == nil {
		if a.Required && a.Default == "" {
			return "a value is required"
		}
		return ""
	}
	var texts []string
	switch shape := v.Shape.(type) {
	case *agentv1.Value_Scalar:
		if a.Dimension != Scalar {
			return "a list or association is wanted, a scalar came"
		}
		if shape.Scalar == "" {
			if a.Required && a.Default == "" {
				return "a value is required"
			}
			return ""
		}
		texts = []string{shape.Scalar}
	case *agentv1.Value_List:
		if a.Dimension != Vector && a.Dimension != Keylist {
			return "no list is wanted, a list came"
		}
		texts = shape.List.GetValues()
	case *agentv1.Value_Association:
		if a.Dimension != Association {
			return "no association is wanted, an association came"
		}
		for _, key := range sortedKeys(shape.Association.GetPairs()) {
			texts = append(texts, shape.Association.GetPairs()[key])
		}
	}
	if a.Required && len(texts) == 0 {
		return "at least one value is required"
	}
	for _, text := range texts {
		if problem := checkText(a.Kind, text); problem != "" {
			return problem
		}
	}
	return ""
}

func checkText(kind Kind, text string) string {
	switch kind {
	case Integer:
		if _, err := strconv.Atoi(text); err != nil {
			return fmt.Sprintf("%q is no integer", text)
		}
	case Boolean:
		if text != "0" && text != "1" {
			return fmt.Sprintf("%q is neither 0 nor 1", text)
		}
	case String:
	}
	return ""
}
