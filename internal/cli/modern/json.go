package modern

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"gopkg.in/yaml.v3"
)

// Schema names the form of all JSON output: the fields of the proto messages
// under their own names, with zero values. 64-bit counters are numbers;
// fixed64 (identities and hashes) are hexadecimal strings, since JSON numbers
// are not exact so far up. Within one schema fields are only added.
const Schema = "evenkeel.v1"

// field is one member of an object; objects keep the order of the contract.
type field struct {
	name  string
	value any
}

type object []field

func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.name)
		if err != nil {
			return nil, err
		}
		value, err := encode(f.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// fields are the members of a message.
func fields(m protoreflect.Message) object {
	var o object
	all := m.Descriptor().Fields()
	for i := range all.Len() {
		f := all.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		o = append(o, field{string(f.Name()), values(f, m.Get(f))})
	}
	return o
}

func values(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	if !f.IsList() {
		return single(f, v)
	}
	list := []any{}
	for i := range v.List().Len() {
		list = append(list, single(f, v.List().Get(i)))
	}
	return list
}

func single(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return append(object{}, fields(v.Message())...)
	case protoreflect.Fixed64Kind:
		return fmt.Sprintf("%016x", v.Uint())
	case protoreflect.EnumKind:
		if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
		return int32(v.Enum())
	default:
		return v.Interface()
	}
}

// envelope is a message, or any members, under the schema's name.
func envelope(members ...field) object {
	return append(object{{"schema", Schema}}, members...)
}

func ofMessage(m proto.Message) object { return envelope(fields(m.ProtoReflect())...) }

func ofMessages[M proto.Message](name string, list []M) object {
	all := []any{}
	for _, m := range list {
		all = append(all, append(object{}, fields(m.ProtoReflect())...))
	}
	return envelope(field{name, all})
}

// writeJSON prints an object over several lines.
func writeJSON(w io.Writer, o object) error {
	text, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, text, "", "  "); err != nil {
		return err
	}
	b.WriteByte('\n')
	_, err = w.Write(b.Bytes())
	return err
}

// writeYAML prints the same object as YAML.
func writeYAML(w io.Writer, o object) error {
	text, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	var node yaml.Node // JSON is YAML; the order of the contract stays
	if err := yaml.Unmarshal(text, &node); err != nil {
		return err
	}
	plain(&node)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&node); err != nil {
		return err
	}
	return e.Close()
}

// plain takes JSON's own style off: blocks, and quotes only where they are
// needed.
func plain(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		n.Style = 0
		n.SetString(n.Value)
	} else {
		n.Style = 0
	}
	for _, below := range n.Content {
		plain(below)
	}
}
