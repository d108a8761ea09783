package vcs

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// roles are the privileges of VCS and the attributes that list who has them.
var roles = map[string]string{"Administrator": "Administrators", "Operator": "Operators", "Guest": "Guests"}

// groupRoles are the privileges of groups of the operating system.
var groupRoles = map[string]string{"AdministratorGroup": "AdministratorGroups", "OperatorGroup": "OperatorGroups"}

// userActions are those of hauser. Users and their privileges are kept in the
// configuration as VCS has them; who may do what on this cluster is decided by
// the uid that asks, so passwords are not taken.
func userActions() map[string]action {
	privilege := "USER Administrator|Operator|Guest [-group G...]\nOSGROUP AdministratorGroup|OperatorGroup [-group G...]"
	return map[string]action{
		"list": {run: func(ctx context.Context, s *session, _ line) error {
			users, _, err := s.users(ctx)
			for _, u := range users {
				fmt.Fprintln(s.Out, u)
			}
			return err
		}},
		"display": {usage: "[USER]", most: 1, run: userDisplay},
		"add":     {usage: "USER [-priv Administrator|Operator|Guest [-group G...]]", options: []string{"priv=", "group*"}, least: 1, most: 1, run: noPasswords},
		"update":  {usage: "USER", least: 1, most: 1, run: noPasswords},
		"delete":  {usage: "USER", least: 1, most: 1, changes: true, run: userDelete},
		"addpriv": {usage: privilege, options: []string{"group*"}, least: 2, most: 2, changes: true, run: func(ctx context.Context, s *session, l line) error {
			return privilegeEdits(ctx, s, l, "-add")
		}},
		"delpriv": {usage: privilege, options: []string{"group*"}, least: 2, most: 2, changes: true, run: func(ctx context.Context, s *session, l line) error {
			return privilegeEdits(ctx, s, l, "-delete")
		}},
	}
}

func noPasswords(_ context.Context, _ *session, l line) error {
	return warning(idUser, "User %s is not taken: this cluster keeps no passwords; root may change everything, everybody else of the system may read", l.names[0])
}

// users are the names in UserNames and in all lists of privileges; of each,
// what it has: "ClusterAdministrator", "GroupOperator app".
func (s *session) users(ctx context.Context) ([]string, map[string][]string, error) {
	cfg, err := s.running(ctx)
	if err != nil {
		return nil, nil, err
	}
	privileges := map[string][]string{}
	if v, _ := cfg.ClusterAttr("UserNames"); true {
		for _, p := range v.Pairs {
			privileges[p.Key] = nil
		}
	}
	for _, role := range []string{"Administrator", "Operator", "Guest"} {
		v, _ := cfg.ClusterAttr(roles[role])
		for _, u := range v.List {
			privileges[u] = append(privileges[u], "Cluster"+role)
		}
		for _, g := range cfg.Groups {
			v, _ := cfg.GroupAttr(g, roles[role], "")
			for _, u := range v.List {
				privileges[u] = append(privileges[u], "Group"+role+" "+g.Name)
			}
		}
	}
	var names []string
	for u := range privileges {
		names = append(names, u)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return nil, nil, warning(idUser, "No users are configured; root may change everything")
	}
	return names, privileges, nil
}

func userDisplay(ctx context.Context, s *session, l line) error {
	names, privileges, err := s.users(ctx)
	if err != nil {
		return err
	}
	if len(l.names) == 1 {
		if !slices.Contains(names, l.names[0]) {
			return noUser(l.names[0], names)
		}
		names = l.names
	}
	for _, u := range names {
		fmt.Fprintf(s.Out, "%-20s : %s\n", u, orElse(strings.Join(privileges[u], ", "), "ClusterGuest"))
	}
	return nil
}

func noUser(name string, known []string) error {
	return warning(idUser, "User %s does not exist%s", name, meant("", name, known))
}

// userDelete takes a user out of UserNames and of all lists of privileges, as
// one change.
func userDelete(ctx context.Context, s *session, l line) error {
	user := l.names[0]
	names, _, err := s.users(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(names, user) {
		return noUser(user, names)
	}
	cfg, err := s.running(ctx)
	if err != nil {
		return err
	}
	var edits [][]string
	if v, _ := cfg.ClusterAttr("UserNames"); v.Has(user) {
		edits = append(edits, []string{"haclus", "-modify", "UserNames", "-delete", user})
	}
	for _, role := range []string{"Administrator", "Operator", "Guest"} {
		if v, _ := cfg.ClusterAttr(roles[role]); slices.Contains(v.List, user) {
			edits = append(edits, []string{"haclus", "-modify", roles[role], "-delete", user})
		}
		for _, g := range cfg.Groups {
			if v, _ := cfg.GroupAttr(g, roles[role], ""); slices.Contains(v.List, user) {
				edits = append(edits, []string{"hagrp", "-modify", g.Name, roles[role], "-delete", user})
			}
		}
	}
	return s.change(ctx, edits...)
}

func privilegeEdits(ctx context.Context, s *session, l line, how string) error {
	user, list := l.names[0], orElse(roles[l.names[1]], groupRoles[l.names[1]])
	if list == "" {
		known := []string{"Administrator", "Operator", "Guest", "AdministratorGroup", "OperatorGroup"}
		return fmt.Errorf("privilege %s%s: %w", l.names[1], orElse(meant("", l.names[1], known), "; it is one of "+strings.Join(known, ", ")), errUsage)
	}
	if how == "-add" && roles[l.names[1]] != "" {
		names, _, err := s.users(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(names, user) {
			return noUser(user, names)
		}
	}
	if len(l.values["group"]) == 0 {
		return s.change(ctx, []string{"haclus", "-modify", list, how, user})
	}
	var edits [][]string
	for _, g := range l.values["group"] {
		edits = append(edits, []string{"hagrp", "-modify", g, list, how, user})
	}
	return s.change(ctx, edits...)
}
