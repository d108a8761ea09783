// Package condition is the conditions of -list and -display: Attr=value,
// Attr!=value and Attr=~value, as the engine and the commands read them.
package condition

import (
	"fmt"
	"slices"
	"strings"
)

// Condition is one of them.
type Condition struct {
	Attribute, Value string
	// Op is "=", "!=" or "=~".
	Op string
}

// Parse reads a condition; the error says how one is written.
func Parse(text string) (Condition, error) {
	i := strings.Index(text, "=")
	c := Condition{Op: "="}
	if i > 0 {
		c.Attribute, c.Value = text[:i], text[i+1:]
	}
	switch {
	case strings.HasSuffix(c.Attribute, "!"):
		c.Attribute, c.Op = c.Attribute[:len(c.Attribute)-1], "!="
	case strings.HasPrefix(c.Value, "~"):
		c.Value, c.Op = c.Value[1:], "=~"
	}
	if c.Attribute == "" {
		return c, fmt.Errorf("condition %s: write Attribute=value, Attribute!=value or Attribute=~value", text)
	}
	return c, nil
}

// Says reports whether a value says what the condition names, be it wanted or,
// with !=, not. = compares the value, of a state also without its bars. =~
// takes a value, or a word of a state, that begins so, and a list that has it.
func (c Condition) Says(value string) bool {
	if c.Op != "=~" {
		return value == c.Value || strings.Trim(value, "|") == strings.Trim(c.Value, "|") && c.Value != ""
	}
	begins := func(word string) bool { return strings.HasPrefix(word, c.Value) }
	return begins(value) || slices.Contains(strings.Split(value, "\t"), c.Value) || slices.ContainsFunc(strings.Split(value, "|"), begins)
}

// Holds reports whether the condition holds for an object whose attribute has
// these values, one or one for each system: = and =~ if one of them says so,
// != if none does.
func (c Condition) Holds(values []string) bool {
	return slices.ContainsFunc(values, c.Says) != (c.Op == "!=")
}
