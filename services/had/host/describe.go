package host

import (
	"fmt"
	"strings"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// CheckDescription tells whether an agent can serve a loaded type; the error
// names what differs. The agent must be able to read everything that the type
// can hold: a string attribute of the agent reads any kind, an integer reads
// booleans too, a vector reads keylists. Attributes of the type that the agent
// does not know are not handed out of place: it ignores them. An attribute
// that the agent requires must exist in the type.
func CheckDescription(desc *agentv1.DescribeResponse, decl TypeDecl) error {
	if desc.GetType() != decl.Name {
		return fmt.Errorf("the agent is for type %s, not for %s: check AgentFile and what is installed there", desc.GetType(), decl.Name)
	}
	if have := operationsWord(desc.GetOperations()); have != decl.Operations {
		return fmt.Errorf("type %s: static attribute Operations is %s in the agent, %s in types.cf", decl.Name, have, decl.Operations)
	}
	types := make(map[string]AttrDecl, len(decl.Attrs))
	for _, a := range decl.Attrs {
		types[a.Name] = a
	}
	for _, a := range desc.GetAttributes() {
		t, ok := types[a.GetName()]
		switch {
		case !ok && a.GetRequired():
			return fmt.Errorf("type %s: the agent requires attribute %s, which types.cf does not have", decl.Name, a.GetName())
		case !ok:
			// Newer than the type and optional: it keeps its default.
		case !readsKind(a.GetKind(), t.Kind):
			return fmt.Errorf("type %s: attribute %s is %s in the agent, %s in types.cf", decl.Name, t.Name, kindWord(a.GetKind()), t.Kind)
		case !readsDim(a.GetDimension(), t.Dim):
			return fmt.Errorf("type %s: attribute %s is a %s in the agent, a %s in types.cf", decl.Name, t.Name, dimWord(a.GetDimension()), t.Dim)
		}
	}
	return nil
}

func operationsWord(o agentv1.Operations) string {
	switch o {
	case agentv1.Operations_OPERATIONS_ON_OFF:
		return "OnOff"
	case agentv1.Operations_OPERATIONS_ON_ONLY:
		return "OnOnly"
	case agentv1.Operations_OPERATIONS_NONE:
		return "None"
	default:
		return "nothing"
	}
}

func kindWord(k agentv1.Kind) string {
	switch k {
	case agentv1.Kind_KIND_STRING:
		return "str"
	case agentv1.Kind_KIND_INTEGER:
		return "int"
	case agentv1.Kind_KIND_BOOLEAN:
		return "boolean"
	default:
		return "of no kind"
	}
}

func readsKind(k agentv1.Kind, loaded string) bool {
	return k == agentv1.Kind_KIND_STRING || kindWord(k) == loaded || (k == agentv1.Kind_KIND_INTEGER && loaded == "boolean")
}

func dimWord(d agentv1.Dimension) string {
	return strings.ToLower(strings.TrimPrefix(d.String(), "DIMENSION_"))
}

func readsDim(d agentv1.Dimension, loaded string) bool {
	return dimWord(d) == loaded || (d == agentv1.Dimension_DIMENSION_VECTOR && loaded == "keylist")
}
