package host

import (
	"testing"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

func TestCheckDescription(t *testing.T) {
	desc := func(change func(*agentv1.DescribeResponse)) *agentv1.DescribeResponse {
		d := &agentv1.DescribeResponse{
			Type: "T", Operations: agentv1.Operations_OPERATIONS_ON_OFF,
			Attributes: []*agentv1.Attribute{
				{Name: "S", Kind: agentv1.Kind_KIND_STRING, Dimension: agentv1.Dimension_DIMENSION_SCALAR, Required: true},
				{Name: "I", Kind: agentv1.Kind_KIND_INTEGER, Dimension: agentv1.Dimension_DIMENSION_SCALAR},
				{Name: "V", Kind: agentv1.Kind_KIND_STRING, Dimension: agentv1.Dimension_DIMENSION_VECTOR},
				{Name: "New", Kind: agentv1.Kind_KIND_STRING, Dimension: agentv1.Dimension_DIMENSION_SCALAR},
			},
		}
		if change != nil {
			change(d)
		}
		return d
	}
	decl := func(attrs ...AttrDecl) TypeDecl { return TypeDecl{Name: "T", Operations: "OnOff", Attrs: attrs} }
	s := AttrDecl{"S", "str", "scalar"}
	for _, c := range []struct {
		name string
		desc *agentv1.DescribeResponse
		decl TypeDecl
		want string
	}{
		{"agrees", desc(nil), decl(s, AttrDecl{"I", "int", "scalar"}, AttrDecl{"V", "str", "vector"}, AttrDecl{"Old", "str", "scalar"}), ""},
		{"reads narrower kinds", desc(nil), decl(AttrDecl{"S", "int", "scalar"}, AttrDecl{"I", "boolean", "scalar"}, AttrDecl{"V", "str", "keylist"}), ""},
		{"other type", desc(func(d *agentv1.DescribeResponse) { d.Type = "U" }), decl(s), "the agent is for type U, not for T: check AgentFile and what is installed there"},
		{"operations", desc(func(d *agentv1.DescribeResponse) { d.Operations = agentv1.Operations_OPERATIONS_NONE }), decl(s), "type T: static attribute Operations is None in the agent, OnOff in types.cf"},
		{"kind", desc(nil), decl(s, AttrDecl{"I", "str", "scalar"}), "type T: attribute I is int in the agent, str in types.cf"},
		{"dimension", desc(nil), decl(s, AttrDecl{"V", "str", "scalar"}), "type T: attribute V is a vector in the agent, a scalar in types.cf"},
		{"required", desc(nil), decl(), "type T: the agent requires attribute S, which types.cf does not have"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			if err := CheckDescription(c.desc, c.decl); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}
