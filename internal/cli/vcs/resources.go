package vcs

import (
	"context"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func resourceActions() map[string]action {
	return map[string]action{
		"state": {usage: "[R...] [-sys S...]", options: []string{"sys*", "clus=", "localclus"}, most: -1, run: resourceState},
		"display": {usage: "[R...] [-attribute A...] [-group G...] [-type T...] [-sys S...]", options: []string{"attribute*", "group*", "type*", "sys*", "clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			resources, err := s.had.TheResources(ctx, l.names)
			if err != nil {
				return err
			}
			resources = slices.DeleteFunc(resources, func(r *hadv1.Resource) bool {
				return len(l.values["group"]) > 0 && !slices.Contains(l.values["group"], r.GetGroup()) ||
					len(l.values["type"]) > 0 && !slices.Contains(l.values["type"], r.GetType())
			})
			layout.ResourceAttributes(s.Out, resources, layout.Filter{Attributes: l.values["attribute"], Systems: l.values["sys"]})
			return nil
		}},
		"list": {usage: "[Attr=value...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			resources, err := s.had.AllResources(ctx, "", l.names)
			if err != nil {
				return err
			}
			for _, r := range resources {
				var systems []string
				for _, on := range r.GetSystems() {
					systems = append(systems, on.GetSystem())
				}
				layout.Pairs(s.Out, r.GetName(), systems)
			}
			return nil
		}},
		"dep": {usage: "[R...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			a, err := s.had.Resources.ListResourceDependencies(ctx, &hadv1.ListResourceDependenciesRequest{Resources: l.names})
			if err != nil {
				return err
			}
			if len(a.GetDependencies()) == 0 {
				return warning(50034, "No Resource dependencies are configured")
			}
			layout.ResourceDependencies(s.Out, a.GetDependencies())
			return nil
		}},
		"value": {usage: "R Attr [S]", options: []string{"clus=", "localclus"}, least: 2, most: 3, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.resourceValue(ctx, l.names[0], l.names[1], third(l))
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"wait": {usage: "R Attr value [-sys S] [-time T]", options: []string{"sys=", "time=", "clus=", "localclus"}, least: 3, most: 3, waits: true, run: wait(func(ctx context.Context, s *session, l line) (string, error) {
			return s.resourceValue(ctx, l.names[0], l.names[1], l.value("sys"))
		})},
	}
}

func resourceState(ctx context.Context, s *session, l line) error {
	resources, err := s.had.TheResources(ctx, l.names)
	if err != nil {
		return err
	}
	systems := l.values["sys"]
	if len(l.names) != 1 || len(systems) != 1 {
		layout.ResourceStates(s.Out, resources, systems)
		return nil
	}
	state, err := s.resourceStateOn(ctx, resources[0], systems[0])
	if err == nil {
		fmt.Fprintln(s.Out, state)
	}
	return err
}

func (s *session) resourceStateOn(ctx context.Context, r *hadv1.Resource, system string) (string, error) {
	for _, on := range r.GetSystems() {
		if on.GetSystem() == system {
			return on.GetState(), nil
		}
	}
	if _, err := s.had.TheSystems(ctx, []string{system}); err != nil {
		return "", err
	}
	return "", warning(10135, "System %s is not in the SystemList of group %s", system, r.GetGroup())
}

func (s *session) resourceValue(ctx context.Context, name, attribute, system string) (string, error) {
	resources, err := s.had.TheResources(ctx, []string{name})
	if err != nil {
		return "", err
	}
	if attribute == "State" {
		if system == "" {
			if system, err = s.here(); err != nil {
				return "", err
			}
		}
		return s.resourceStateOn(ctx, resources[0], system)
	}
	return s.pick(resources[0].GetAttributes(), "resource "+name, attribute, system)
}
