package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// ofCluster are the options that name the cluster, which nearly every action
// takes.
func ofCluster(more ...string) []string { return append(more, "clus=", "localclus") }

func groupActions() map[string]action {
	return map[string]action{
		"state": {usage: "[G...] [-sys S...]", options: ofCluster("sys*"), most: -1, run: groupState},
		"display": {usage: "[G...|Attr=value...] [-attribute A...] [-sys S...]", options: ofCluster("attribute*", "sys*"), most: -1, waits: true, run: func(ctx context.Context, s *session, l line) error {
			groups, err := s.someGroups(ctx, l.names)
			if err != nil {
				return err
			}
			filter, err := rows(ctx, s, l, "any group", groups)
			if err != nil {
				return err
			}
			layout.GroupAttributes(s.Out, groups, filter)
			return nil
		}},
		"list": {usage: "[Attr=value|Attr!=value|Attr=~value...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
			list := s.groupStates
			if len(l.names) > 0 {
				list = s.had.AllGroups // which says what is wrong with a condition
			}
			groups, err := list(ctx, l.names)
			if err != nil {
				return err
			}
			for _, g := range groups {
				var systems []string
				for _, on := range g.GetSystems() {
					systems = append(systems, on.GetSystem())
				}
				layout.Pairs(s.Out, g.GetName(), systemsFor(g, systems, l.names))
			}
			return nil
		}},
		"resources": {usage: "G", options: ofCluster(), least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			groups, err := s.had.TheGroups(ctx, l.names)
			if err != nil {
				return err
			}
			for _, name := range groups[0].GetResources() {
				fmt.Fprintln(s.Out, name)
			}
			return nil
		}},
		"dep": {usage: "[G...]", options: ofCluster(), most: -1, run: func(ctx context.Context, s *session, l line) error {
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
		"value": {usage: "G Attr [S]", options: ofCluster(), least: 2, most: 3, run: func(ctx context.Context, s *session, l line) error {
			value, err := s.groupValue(ctx, l.names[0], l.names[1], third(l))
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
		"wait": {usage: "G Attr value [-sys S] [-time SECONDS]", options: ofCluster("sys=", "time="), least: 3, most: -1, waits: true, run: wait(2, groupWords, func(ctx context.Context, s *session, l line) (string, error) {
			return s.groupValue(ctx, l.names[0], l.names[1], l.value("sys"))
		})},
		"forecast": {usage: "G [-verbose]", options: ofCluster("verbose"), least: 1, most: 1, run: forecast},
		"migrate": {usage: "G -to S", options: ofCluster("to="), least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			if _, err := s.had.TheGroups(ctx, l.names); err != nil {
				return err
			}
			return warning(idUnsupported, "Group %s cannot be migrated: none of its resources is a virtual machine that can move while it runs; hagrp -switch %s -to %s stops it and starts it there", l.names[0], l.names[0], orElse(l.value("to"), "S"))
		}},
		"ignore": {usage: "G -clus C", options: []string{"clus="}, least: 1, most: 1, run: func(ctx context.Context, s *session, l line) error {
			if _, err := s.had.TheGroups(ctx, l.names); err != nil {
				return err
			}
			return warning(idUnsupported, "Group %s is in no other cluster; there is nothing to ignore", l.names[0])
		}},
	}
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func errNoGroups() error { return warning(50031, "No Groups are configured") }

func third(l line) string {
	if len(l.names) > 2 {
		return l.names[2]
	}
	return ""
}

// forecast tells where the engine would bring the group if it left the systems
// that it is on, or now if it is offline; with -verbose also why not elsewhere.
func forecast(ctx context.Context, s *session, l line) error {
	groups, err := s.had.TheGroups(ctx, l.names)
	if err != nil {
		return err
	}
	action := "online"
	for _, on := range groups[0].GetSystems() {
		if strings.Contains(on.GetState(), "ONLINE") || strings.Contains(on.GetState(), "PARTIAL") {
			action = "switch"
		}
	}
	o, _ := operate.Find("hagrp", action)
	plan, err := o.Do(ctx, s.had, operate.Request{Name: l.names[0], Any: true, Plan: true})
	if err != nil {
		return err
	}
	chosen := ""
	for _, d := range plan.GetDecisions() {
		for _, c := range d.GetCandidates() {
			if c.GetChosen() {
				chosen = c.GetSystem()
			}
		}
	}
	for _, step := range plan.GetPlannedSteps() {
		if chosen == "" {
			chosen = step.GetSystem()
		}
	}
	if chosen == "" {
		return warning(40156, "No target system found for group %s", l.names[0])
	}
	fmt.Fprintf(s.Out, "%-22s %s\n", l.names[0], chosen)
	if l.flags["verbose"] {
		layout.Candidates(s.Out, plan.GetDecisions())
	}
	return nil
}

func groupState(ctx context.Context, s *session, l line) error {
	groups, err := s.groupStates(ctx, l.names)
	if err != nil {
		return err
	}
	systems := l.values["sys"]
	for _, system := range systems {
		if err := s.knownOn(ctx, groups, system); err != nil {
			return err
		}
	}
	if len(l.names) != 1 || len(systems) != 1 || strings.Contains(l.names[0], "=") {
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
	if slices.ContainsFunc(groups, func(g *hadv1.Group) bool { return stateOn(g, system) != "" }) {
		return nil
	}
	if err := s.exists(ctx, system); err != nil {
		return err
	}
	if len(groups) == 1 {
		return warning(10135, "System %s is not in the SystemList of group %s", system, groups[0].GetName())
	}
	return warning(10554, "No group is configured on system %s", system)
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
	if system == "" && attribute == "State" {
		if system, err = s.here(); err != nil {
			return "", err
		}
	}
	if system != "" {
		if err := s.knownOn(ctx, groups, system); err != nil {
			return "", err
		}
	}
	if attribute == "State" {
		return layout.Bars(stateOn(groups[0], system)), nil
	}
	return s.pick(groups[0].GetAttributes(), "group "+name, attribute, system)
}
