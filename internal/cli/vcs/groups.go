package vcs

import (
	"context"
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func groupActions() map[string]action {
	return map[string]action{
		"state": {usage: "[G...] [-sys S...]", options: []string{"sys*", "clus=", "localclus"}, most: -1, run: groupState},
		"display": {usage: "[G...] [-attribute A...] [-sys S...]", options: []string{"attribute*", "sys*", "clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			groups, err := s.groups(ctx, l.names)
			if err != nil {
				return err
			}
			layout.GroupAttributes(s.Out, groups, layout.Filter{Attributes: l.values["attribute"], Systems: l.values["sys"]})
			return nil
		}},
		"list": {usage: "[Attr=value...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			groups, err := s.had.AllGroups(ctx, l.names)
			if err != nil {
				return err
			}
			if len(groups) == 0 && len(l.names) == 0 {
				return errNoGroups()
			}
			for _, g := range groups {
				var systems []string
				for _, on := range g.GetSystems() {
					systems = append(systems, on.GetSystem())
				}
				layout.Pairs(s.Out, g.GetName(), systems)
			}
			return nil
		}},
		"resources": {usage: "G", options: []string{"clus=", "localclus"}, least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			groups, err := s.had.TheGroups(ctx, l.names)
			if err != nil {
				return err
			}
			for _, name := range groups[0].GetResources() {
				fmt.Fprintln(s.Out, name)
			}
			return nil
		}},
		"dep": {usage: "[G...]", options: []string{"clus=", "localclus"}, most: -1, run: func(ctx context.Context, s *session, l line) error {
			a, err := s.had.Groups.ListGroupDependencies(ctx, &hadv1.ListGroupDependenciesRequest{Groups: l.names})
			if err != nil {
				return err
			}
			if len(a.GetDependencies()) == 0 {
				return warning(50035, "No Group dependencies are configured")
			}
			layout.GroupDependencies(s.Out, a.GetDependencies())
			return nil
		}},
		"value": {usage: "G Attr [S]", options: []string{"clus=", "localclus"}, least: 2, most: 3, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.groupValue(ctx, l.names[0], l.names[1], third(l))
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"wait": {usage: "G Attr value [-sys S] [-time T]", options: []string{"sys=", "time=", "clus=", "localclus"}, least: 3, most: 3, waits: true, run: wait(func(ctx context.Context, s *session, l line) (string, error) {
			return s.groupValue(ctx, l.names[0], l.names[1], l.value("sys"))
		})},
	}
}

func errNoGroups() error { return warning(50031, "No Groups are configured") }

func third(l line) string {
	if len(l.names) > 2 {
		return l.names[2]
	}
	return ""
}

// groups returns the named groups, or all, of which there must be some.
func (s *session) groups(ctx context.Context, names []string) ([]*hadv1.Group, error) {
	groups, err := s.had.TheGroups(ctx, names)
	if err == nil && len(groups) == 0 {
		err = errNoGroups()
	}
	return groups, err
}

func groupState(ctx context.Context, s *session, l line) error {
	groups, err := s.groups(ctx, l.names)
	if err != nil {
		return err
	}
	systems := l.values["sys"]
	for _, system := range systems {
		if err := s.knownOn(ctx, groups, system); err != nil {
			return err
		}
	}
	if len(l.names) != 1 || len(systems) != 1 {
		layout.GroupStates(s.Out, groups, systems)
		return nil
	}
	state := stateOn(groups[0], systems[0])
	if s.Compat != "3.5" {
		state = layout.Bars(state)
	}
	fmt.Fprintln(s.Out, state)
	return nil
}

// knownOn refuses a system that none of the groups can run on: as unknown, or
// as not in the SystemList.
func (s *session) knownOn(ctx context.Context, groups []*hadv1.Group, system string) error {
	for _, g := range groups {
		if stateOn(g, system) != "" {
			return nil
		}
	}
	if _, err := s.had.TheSystems(ctx, []string{system}); err != nil {
		return err
	}
	if len(groups) == 1 {
		return warning(10135, "System %s is not in the SystemList of group %s", system, groups[0].GetName())
	}
	return nil
}

func stateOn(g *hadv1.Group, system string) string {
	for _, on := range g.GetSystems() {
		if on.GetSystem() == system {
			return on.GetState()
		}
	}
	return ""
}

func (s *session) groupValue(ctx context.Context, name, attribute, system string) (string, error) {
	groups, err := s.had.TheGroups(ctx, []string{name})
	if err != nil {
		return "", err
	}
	if attribute == "State" {
		if system == "" {
			if system, err = s.here(); err != nil {
				return "", err
			}
		}
		if err := s.knownOn(ctx, groups, system); err != nil {
			return "", err
		}
		return layout.Bars(stateOn(groups[0], system)), nil
	}
	return s.pick(groups[0].GetAttributes(), "group "+name, attribute, system)
}

// here is the name of this system.
func (s *session) here() (string, error) {
	name, err := s.Root.SystemName()
	if err != nil {
		return "", warning(10000, "Which system? Name one; this one's name is not known: %v", err)
	}
	return name, nil
}

// pick finds the value of an attribute: the one that holds everywhere, or the
// one of the system, or of this system if none is named.
func (s *session) pick(attributes []*hadv1.Attribute, object, name, system string) (string, error) {
	var found []*hadv1.Attribute
	for _, a := range attributes {
		if a.GetName() == name {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return "", warning(10000, "Attribute %s does not exist for %s", name, object)
	}
	if system == "" && !slices.ContainsFunc(found, func(a *hadv1.Attribute) bool { return a.GetSystem() == "" }) {
		var err error
		if system, err = s.here(); err != nil {
			return "", err
		}
	}
	for _, want := range []string{system, ""} {
		for _, a := range found {
			if a.GetSystem() == want {
				return layout.Value(a.GetValue()), nil
			}
		}
	}
	return "", warning(10357, "Attribute %s of %s has no value on system %s", name, object, system)
}
