package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func resourceActions() map[string]action {
	return map[string]action{
		"state": {usage: "[R...] [-sys S...]", options: ofCluster("sys*"), most: -1, run: resourceState},
		"display": {usage: "[R...|Attr=value...] [-attribute A...] [-group G...] [-type T...] [-sys S...]\n-ovalues [R...]",
			options: ofCluster("attribute*", "group*", "type*", "sys*", "ovalues"), most: -1, waits: true, run: resourceDisplay},
		"list": {usage: "[Attr=value|Attr!=value|Attr=~value...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
			list := s.resourceStates
			if len(l.names) > 0 {
				list = func(ctx context.Context, conditions []string) ([]*hadv1.Resource, error) {
					return s.had.AllResources(ctx, "", conditions)
				}
			}
			resources, err := list(ctx, l.names)
			if err != nil {
				return err
			}
			for _, r := range resources {
				var systems []string
				for _, on := range r.GetSystems() {
					systems = append(systems, on.GetSystem())
				}
				layout.Pairs(s.Out, r.GetName(), systemsFor(r, systems, l.names))
			}
			return nil
		}},
		"action": {usage: "R TOKEN [-actionargs WORD...] -sys S", options: ofCluster("actionargs*", "sys="), least: 2, most: 2, waits: true, run: resourceAction},
		"dep":    {usage: "[R...]\n-atleast [R...]", options: ofCluster("atleast"), most: -1, run: resourceDependencies},
		"value": {usage: "R Attr [S]", options: ofCluster(), least: 2, most: 3, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.resourceValue(ctx, l.names[0], l.names[1], third(l))
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"wait": {usage: "R Attr value [-sys S] [-time SECONDS]", options: ofCluster("sys=", "time="), least: 3, most: -1, waits: true, run: wait(2, resourceWords, func(ctx context.Context, s *session, l line) (string, error) {
			return s.resourceValue(ctx, l.names[0], l.names[1], l.value("sys"))
		})},
	}
}

func resourceDisplay(ctx context.Context, s *session, l line) error {
	resources, err := s.someResources(ctx, l.names)
	if err != nil {
		return err
	}
	if groups := l.values["group"]; len(groups) > 0 {
		if _, err := s.had.TheGroups(ctx, groups); err != nil {
			return err
		}
		resources = slices.DeleteFunc(resources, func(r *hadv1.Resource) bool { return !slices.Contains(groups, r.GetGroup()) })
	}
	if types := l.values["type"]; len(types) > 0 {
		if _, err := s.had.TheTypes(ctx, types); err != nil {
			return err
		}
		resources = slices.DeleteFunc(resources, func(r *hadv1.Resource) bool { return !slices.Contains(types, r.GetType()) })
	}
	if l.flags["ovalues"] {
		if resources, err = s.overridden(ctx, resources); err != nil {
			return err
		}
	}
	filter, err := rows(ctx, s, l, "any resource", resources)
	if err != nil {
		return err
	}
	layout.ResourceAttributes(s.Out, resources, filter)
	return nil
}

// overridden leaves of each resource the static attributes that it has a value
// of its own for.
func (s *session) overridden(ctx context.Context, resources []*hadv1.Resource) ([]*hadv1.Resource, error) {
	cfg, err := s.running(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range resources {
		own := map[string]bool{}
		if declared := cfg.Resource(r.GetName()); declared != nil {
			for _, a := range declared.Attrs {
				own[a.Name] = own[a.Name] || a.Static
			}
		}
		r.Attributes = slices.DeleteFunc(r.Attributes, func(a *hadv1.Attribute) bool { return !own[a.GetName()] })
	}
	return resources, nil
}

func resourceDependencies(ctx context.Context, s *session, l line) error {
	a, err := s.had.Resources.ListResourceDependencies(ctx, &hadv1.ListResourceDependenciesRequest{Resources: l.names})
	if err != nil {
		return err
	}
	if !l.flags["atleast"] {
		if len(a.GetDependencies()) == 0 {
			return warning(50034, "No Resource dependencies are configured")
		}
		layout.ResourceDependencies(s.Out, a.GetDependencies())
		return nil
	}
	cfg, err := s.running(ctx)
	if err != nil {
		return err
	}
	var found []layout.AtLeast
	for _, g := range cfg.Groups {
		for _, d := range g.Dependencies {
			touches := len(l.names) == 0 || slices.ContainsFunc(append([]string{d.Parent}, d.Children...), func(n string) bool { return slices.Contains(l.names, n) })
			if d.AtLeast > 0 && touches {
				found = append(found, layout.AtLeast{Group: g.Name, Parent: d.Parent, Children: d.Children, Least: d.AtLeast})
			}
		}
	}
	if len(found) == 0 {
		return warning(50034, "No Resource dependencies with -min are configured")
	}
	layout.AtLeastDependencies(s.Out, found)
	return nil
}

func resourceState(ctx context.Context, s *session, l line) error {
	resources, err := s.resourceStates(ctx, l.names)
	if err != nil {
		return err
	}
	systems := l.values["sys"]
	if len(l.names) == 1 && len(systems) == 1 && !strings.Contains(l.names[0], "=") {
		state, err := s.resourceStateOn(ctx, resources[0], systems[0])
		if err == nil {
			fmt.Fprintln(s.Out, state)
		}
		return err
	}
	for _, system := range systems {
		if err := s.exists(ctx, system); err != nil {
			return err
		}
	}
	layout.ResourceStates(s.Out, resources, systems)
	return nil
}

func (s *session) resourceStateOn(ctx context.Context, r *hadv1.Resource, system string) (string, error) {
	for _, on := range r.GetSystems() {
		if on.GetSystem() == system {
			return on.GetState(), nil
		}
	}
	if err := s.exists(ctx, system); err != nil {
		return "", err
	}
	return "", warning(10135, "System %s is not in the SystemList of group %s", system, r.GetGroup())
}

func (s *session) resourceValue(ctx context.Context, name, attribute, system string) (string, error) {
	resources, err := s.had.TheResources(ctx, []string{name})
	if err != nil {
		return "", err
	}
	if system == "" && attribute == "State" {
		if system, err = s.here(); err != nil {
			return "", err
		}
	}
	if system != "" {
		state, err := s.resourceStateOn(ctx, resources[0], system)
		if err != nil || attribute == "State" {
			return state, err
		}
	}
	return s.pick(resources[0].GetAttributes(), "resource "+name, attribute, system)
}
