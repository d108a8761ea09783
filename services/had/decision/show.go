package decision

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Fact is one thing that a decision went by, for people.
type Fact struct{ Name, Value string }

// Facts lists what a decision was taken on: attributes by their names, then
// what was found. What is not so is left out, except for attributes.
func Facts(in Inputs) []Fact {
	if in == nil {
		return nil
	}
	var out []Fact
	facts(reflect.ValueOf(in), "", &out)
	return out
}

// facts are those of a struct, whose names begin with a prefix.
func facts(v reflect.Value, prefix string, out *[]Fact) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Tag.Get("json") == "-" {
			continue
		}
		if f.Anonymous {
			facts(v.Field(i), prefix, out)
			continue
		}
		tag, rest, _ := strings.Cut(f.Tag.Get("json"), ",")
		name := f.Tag.Get("say")
		if name == "" {
			name = strings.ReplaceAll(tag, "_", " ")
		}
		if strings.HasPrefix(rest, "omit") && v.Field(i).IsZero() {
			continue
		}
		fact(v.Field(i), prefix+name, out)
	}
}

func fact(v reflect.Value, name string, out *[]Fact) {
	switch d, isTime := v.Interface().(time.Duration); {
	case isTime:
		*out = append(*out, Fact{name, d.String()})
		return
	case v.Kind() == reflect.Pointer:
		fact(v.Elem(), name, out)
		return
	case v.Type() == reflect.TypeFor[Freeze]():
		facts(v, "frozen ", out)
		return
	case v.Kind() == reflect.Struct:
		facts(v, name+": ", out)
		return
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			*out = append(*out, Fact{strings.TrimSuffix(name, "s"), line(v.Index(i))})
		}
		return
	}
	*out = append(*out, Fact{name, scalar(v)})
}

// scalar prints numbers, words and lists of words.
func scalar(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Bool:
		return pick(v.Bool(), "yes", "no")
	case reflect.Slice:
		words := make([]string, 0, v.Len())
		for i := range v.Len() {
			words = append(words, fmt.Sprint(v.Index(i).Interface()))
		}
		return strings.Join(words, ", ")
	}
	return fmt.Sprint(v.Interface())
}

// line prints a struct of a list in one line: its name, then what is so.
func line(v reflect.Value) string {
	var all []Fact
	facts(v, "", &all)
	words := make([]string, 0, len(all))
	for i, f := range all {
		name := f.Name
		name = strings.TrimSpace(name[strings.LastIndex(name, ": ")+1:])
		switch {
		case i > 0 && name == "system" && f.Value == words[0]: // It is said already.
		case i == 0 || name == "system" || name == "state":
			words = append(words, f.Value)
		case f.Value == "yes":
			words = append(words, name)
		default:
			words = append(words, name+" "+f.Value)
		}
	}
	return strings.Join(words, ", ")
}
