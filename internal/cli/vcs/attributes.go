package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// attributeActions are those of haattr beside its edits.
func attributeActions() map[string]action {
	return map[string]action{
		"display": {usage: "cluster|group|system|heartbeat|T", options: ofCluster(), least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			declared, err := s.declared(ctx, l.names[0])
			if err != nil {
				return err
			}
			layout.Declarations(s.Out, l.names[0], declared)
			return nil
		}},
	}
}

// declared are the attributes of a kind of object or of a type, by name.
func (s *session) declared(ctx context.Context, of string) ([]layout.Declaration, error) {
	var out []layout.Declaration
	add := func(class string, decls []maincf.AttrDecl) {
		for _, d := range decls {
			out = append(out, layout.Declaration{Name: d.Name, Class: class, Kind: d.Kind.String(), Dimension: d.Dim.String(), Default: valueText(d.Default)})
		}
	}
	switch of {
	case "cluster":
		add("", maincf.ClusterAttrs())
	case "group":
		add("", maincf.GroupAttrs())
	case "system":
		add("", maincf.SystemAttrs())
	case "heartbeat":
		add("", maincf.HeartbeatAttrs())
	default:
		cfg, err := s.running(ctx)
		if err != nil {
			return nil, err
		}
		t := cfg.Type(of)
		if t == nil {
			names := []string{"cluster", "group", "system", "heartbeat"}
			for _, t := range cfg.Types {
				names = append(names, t.Name)
			}
			return nil, warning(maincf.IDTypeUnknown, "Type %s does not exist%s", of, meant("", of, names))
		}
		own := map[string]bool{}
		for _, d := range t.Attrs {
			class := ""
			switch {
			case d.Static:
				class = "static"
			case d.Temp:
				class = "temp"
			}
			own[d.Name] = true
			add(class, []maincf.AttrDecl{d})
		}
		add("static", slices.DeleteFunc(maincf.StaticAttrs(), func(d maincf.AttrDecl) bool { return own[d.Name] }))
	}
	slices.SortFunc(out, func(a, b layout.Declaration) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func valueText(v maincf.Value) string {
	switch v.Dim {
	case maincf.DimVector, maincf.DimKeylist:
		return strings.Join(v.List, "\t")
	case maincf.DimAssoc:
		var parts []string
		for _, p := range v.Pairs {
			parts = append(parts, p.Key, p.Value)
		}
		return strings.Join(parts, "\t")
	}
	return fmt.Sprint(v.Text)
}
