package maincf

import "strconv"

// Kind is the base type of an attribute's scalars.
type Kind uint8

// The base types of the configuration language.
const (
	// KindStr: any text without a line break (str, i18nstr, keylist).
	KindStr Kind = iota
	// KindInt: a signed integer of 32 bits.
	KindInt
	// KindBool: 0 or 1.
	KindBool
	// KindFloat: a decimal number, kept as it was written.
	KindFloat
)

// String returns the keyword that declares the kind.
func (k Kind) String() string {
	switch k {
	case KindInt:
		return "int"
	case KindBool:
		return "boolean"
	case KindFloat:
		return "float"
	default:
		return "str"
	}
}

// Dim is the dimension of an attribute.
type Dim uint8

// The dimensions of the configuration language.
const (
	// DimScalar: one value.
	DimScalar Dim = iota
	// DimVector: an ordered list; values may repeat.
	DimVector
	// DimKeylist: a list of distinct strings, kept in the order written.
	DimKeylist
	// DimAssoc: distinct keys with a scalar each, kept in the order written.
	DimAssoc
)

// String returns VCS's word for the dimension.
func (d Dim) String() string {
	switch d {
	case DimVector:
		return "vector"
	case DimKeylist:
		return "keylist"
	case DimAssoc:
		return "association"
	default:
		return "scalar"
	}
}

// Pair is one entry of an association.
type Pair struct {
	Key   string
	Value string
}

// Value is the typed value of an attribute. Scalars are held as canonical
// text (booleans as 0 and 1, integers in decimal), so that a Value compares,
// prints and travels without loss. The zero Value is the empty string.
// Values are not changed after they are built.
type Value struct {
	Kind Kind
	Dim  Dim
	// Text is the scalar; empty unless Dim is DimScalar.
	Text string
	// List holds the elements of a vector or keylist.
	List []string
	// Pairs holds the entries of an association.
	Pairs []Pair

	items []Pos // where each element or entry was written, for messages
}

// StrValue returns a scalar string.
func StrValue(s string) Value { return Value{Text: s} }

// IntValue returns a scalar integer.
func IntValue(i int) Value { return Value{Kind: KindInt, Text: strconv.Itoa(i)} }

// BoolValue returns a scalar boolean.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: KindBool, Text: "1"}
	}
	return Value{Kind: KindBool, Text: "0"}
}

// ZeroValue returns the engine's default for a kind and dimension that has no
// other: "", 0 or an empty list.
func ZeroValue(k Kind, d Dim) Value {
	v := Value{Kind: k, Dim: d}
	if d == DimScalar {
		v.Text = zeroText(k)
	}
	return v
}

func zeroText(k Kind) string {
	if k == KindStr {
		return ""
	}
	return "0"
}

// Int returns a scalar as integer; 0 where the text is none.
func (v Value) Int() int {
	i, err := strconv.ParseInt(v.Text, 10, 32)
	if err != nil {
		return 0
	}
	return int(i)
}

// Bool says whether a scalar is set (1).
func (v Value) Bool() bool { return v.Text == "1" }

// Len is the number of elements of a list or entries of an association.
func (v Value) Len() int { return len(v.List) + len(v.Pairs) }

// Lookup returns the value of a key of an association.
func (v Value) Lookup(key string) (string, bool) {
	for _, p := range v.Pairs {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

// Has says whether a list holds the element or an association the key.
func (v Value) Has(name string) bool {
	for _, s := range v.List {
		if s == name {
			return true
		}
	}
	_, ok := v.Lookup(name)
	return ok
}

// Equal compares kind, dimension and contents, in order.
func (v Value) Equal(w Value) bool {
	if v.Kind != w.Kind || v.Dim != w.Dim || v.Text != w.Text ||
		len(v.List) != len(w.List) || len(v.Pairs) != len(w.Pairs) {
		return false
	}
	for i := range v.List {
		if v.List[i] != w.List[i] {
			return false
		}
	}
	for i := range v.Pairs {
		if v.Pairs[i] != w.Pairs[i] {
			return false
		}
	}
	return true
}

// Words flattens the value as commands print it and agents receive it: a
// scalar is one word, a list its elements, an association key and value in
// turn.
func (v Value) Words() []string {
	switch v.Dim {
	case DimVector, DimKeylist:
		return append([]string(nil), v.List...)
	case DimAssoc:
		out := make([]string, 0, 2*len(v.Pairs))
		for _, p := range v.Pairs {
			out = append(out, p.Key, p.Value)
		}
		return out
	default:
		return []string{v.Text}
	}
}

// String returns the value as it stands in a configuration file.
func (v Value) String() string { return formatValue(v) }

// itemPos is where element i was written, or fallback where that is unknown.
func (v Value) itemPos(i int, fallback Pos) Pos {
	if i < len(v.items) {
		return v.items[i]
	}
	return fallback
}
