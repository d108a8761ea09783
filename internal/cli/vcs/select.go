package vcs

import (
	"context"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	"github.com/evenkeel/evenkeel/internal/condition"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// object is what has a name and attributes.
type object interface {
	GetName() string
	GetAttributes() []*hadv1.Attribute
}

// conditions parts names from conditions such as State=ONLINE.
func conditions(words []string) (names, conditions []string) {
	for _, w := range words {
		if strings.Contains(w, "=") {
			conditions = append(conditions, w)
		} else {
			names = append(names, w)
		}
	}
	return names, conditions
}

// choose returns the named objects, or all; with conditions, those of them
// that fulfil them.
func choose[T object](words []string, named func([]string) ([]T, error), fulfilling func([]string) ([]T, error)) ([]T, error) {
	names, wanted := conditions(words)
	if len(wanted) == 0 {
		return named(names)
	}
	if len(names) > 0 {
		if _, err := named(names); err != nil {
			return nil, err
		}
	}
	all, err := fulfilling(wanted)
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(o T) bool { return !slices.Contains(names, o.GetName()) })
	}
	return all, err
}

func (s *session) someGroups(ctx context.Context, words []string) ([]*hadv1.Group, error) {
	groups, err := choose(words,
		func(names []string) ([]*hadv1.Group, error) { return s.had.TheGroups(ctx, names) },
		func(conditions []string) ([]*hadv1.Group, error) { return s.had.AllGroups(ctx, conditions) })
	if err == nil && len(groups) == 0 && len(words) == 0 {
		err = errNoGroups()
	}
	return groups, err
}

func (s *session) someResources(ctx context.Context, words []string) ([]*hadv1.Resource, error) {
	return choose(words,
		func(names []string) ([]*hadv1.Resource, error) { return s.had.TheResources(ctx, names) },
		func(conditions []string) ([]*hadv1.Resource, error) { return s.had.AllResources(ctx, "", conditions) })
}

// systemsFor are the systems to list an object with: those on which the
// conditions hold that are about an attribute with a value for each system.
func systemsFor(o object, systems []string, conditions []string) []string {
	for _, text := range conditions {
		c, err := condition.Parse(text)
		if err != nil {
			continue // the engine has refused it
		}
		values := map[string][]string{}
		for _, a := range o.GetAttributes() {
			if a.GetName() == c.Attribute && a.GetSystem() != "" {
				values[a.GetSystem()] = append(values[a.GetSystem()], a.GetValue())
			}
		}
		if len(values) > 0 {
			systems = slices.DeleteFunc(systems, func(s string) bool { return !c.Holds(values[s]) })
		}
	}
	return systems
}

// groupStates are the groups that the words choose; their attributes are not
// asked for if all are chosen.
func (s *session) groupStates(ctx context.Context, words []string) ([]*hadv1.Group, error) {
	if len(words) > 0 {
		return s.someGroups(ctx, words)
	}
	groups, err := s.had.GroupStates(ctx)
	if err == nil && len(groups) == 0 {
		err = errNoGroups()
	}
	return groups, err
}

// resourceStates are the resources that the words choose, as groupStates.
func (s *session) resourceStates(ctx context.Context, words []string) ([]*hadv1.Resource, error) {
	if len(words) > 0 {
		return s.someResources(ctx, words)
	}
	return s.had.ResourceStates(ctx)
}

func (s *session) someSystems(ctx context.Context, words []string) ([]*hadv1.System, error) {
	return choose(words,
		func(names []string) ([]*hadv1.System, error) { return s.had.TheSystems(ctx, names) },
		func(conditions []string) ([]*hadv1.System, error) { return s.had.AllSystems(ctx, conditions) })
}

func (s *session) someTypes(ctx context.Context, words []string) ([]*hadv1.Type, error) {
	return choose(words,
		func(names []string) ([]*hadv1.Type, error) { return s.had.TheTypes(ctx, names) },
		func(conditions []string) ([]*hadv1.Type, error) { return s.had.AllTypes(ctx, conditions) })
}

// rows checks what -attribute and -sys name: an attribute that none of the
// objects has, and a system that does not exist, are refused.
func rows[T object](ctx context.Context, s *session, l line, kind string, objects []T) (layout.Filter, error) {
	f := layout.Filter{Attributes: l.values["attribute"], Systems: l.values["sys"]}
	if len(f.Systems) > 0 {
		if _, err := s.had.TheSystems(ctx, f.Systems); err != nil {
			return f, err
		}
	}
	if len(f.Attributes) == 0 || len(objects) == 0 {
		return f, nil
	}
	known := map[string]bool{}
	for _, o := range objects {
		for _, a := range o.GetAttributes() {
			known[a.GetName()] = true
		}
	}
	for _, name := range f.Attributes {
		if !known[name] {
			return f, noAttribute(name, kind, known)
		}
	}
	return f, nil
}

func noAttribute(name, object string, known map[string]bool) error {
	var names []string
	for n := range known {
		names = append(names, n)
	}
	hint := meant("", name, names)
	if kind, of, _ := strings.Cut(object, " "); hint == "" && lists[kind] != "" {
		hint = "; " + strings.TrimSpace(lists[kind]+" -display "+strings.TrimPrefix(of, "cluster")) + " shows those that do"
	}
	return warning(maincf.IDAttrUnknown, "Attribute %s does not exist for %s%s", name, object, hint)
}

// lists are the commands that show all attributes of an object.
var lists = map[string]string{"group": "hagrp", "resource": "hares", "system": "hasys", "type": "hatype", "the": "haclus"}

// pick finds the value of an attribute: the one that holds everywhere, or the
// one of the system, or of this system if none is named.
func (s *session) pick(attributes []*hadv1.Attribute, object, name, system string) (string, error) {
	var found []*hadv1.Attribute
	known := map[string]bool{}
	for _, a := range attributes {
		known[a.GetName()] = true
		if a.GetName() == name {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return "", noAttribute(name, object, known)
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
	return "", warning(idNoValue, "Attribute %s of %s has no value on system %s", name, object, system)
}

// here is the name of this system.
func (s *session) here() (string, error) {
	name, err := s.Root.SystemName()
	if err != nil {
		return "", warning(idWhichSystem, "Which system? Name one; this one's name is not known: %v", err)
	}
	return name, nil
}

// exists refuses a system that the cluster does not have; "" is none.
func (s *session) exists(ctx context.Context, system string) error {
	if system == "" {
		return nil
	}
	_, err := s.had.TheSystems(ctx, []string{system})
	return err
}

// running is the configuration that the engine runs.
func (s *session) running(ctx context.Context) (*maincf.Config, error) {
	a, err := s.had.Config.GetConfig(ctx, &hadv1.GetConfigRequest{})
	if err != nil {
		return nil, err
	}
	files, main := map[string]string{}, ""
	for i, f := range a.GetFiles() {
		if i == 0 || f.GetName() == "main.cf" {
			main = f.GetName()
		}
		files[f.GetName()] = f.GetText()
	}
	if main == "" {
		return nil, warning(11030, "The engine has no configuration yet; see what it waits for: hastatus -sum")
	}
	cfg, _, err := maincf.LoadMap(main, files)
	if err != nil {
		return nil, warning(maincf.IDWhole, "The running configuration cannot be read: %v", err)
	}
	return cfg, nil
}
