package vcs

import (
	"context"
	"errors"
	"fmt"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/hacf"
	"github.com/evenkeel/evenkeel/internal/cli/node"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Verify checks the configuration of a folder and returns what is wrong with
// it. A types.cf that the folder lacks is the built-in one.
func Verify(dir string) []string {
	return maincf.Verify(dir, hacf.Open)
}

func hastart(ctx context.Context, s *session, args []string) error {
	l, err := parse(args, []string{"onenode", "force", "stale"})
	if err != nil {
		return err
	}
	if len(l.names) > 0 || l.flags["force"] && l.flags["stale"] {
		return errUsage
	}
	var options []string
	for _, option := range []string{"onenode", "force", "stale"} {
		if l.flags[option] {
			options = append(options, "-"+option)
		}
	}
	n := node.Node{Root: s.Root, Programs: s.Programs}
	err = n.StartEngine(ctx, options)
	var missing *node.MissingError
	switch {
	case errors.As(err, &missing):
		return message{"ERROR", "V-16-1-11030", missing.Error()}
	case errors.Is(err, node.ErrRuns):
		fmt.Fprintln(s.Err, message{"NOTICE", "V-16-1-10619", "'HAD' is running already on this system"}.Error())
		return nil
	case err != nil:
		return message{"ERROR", "V-16-1-11030", err.Error()}
	}
	return nil
}

func hastop(ctx context.Context, s *session, args []string) error {
	l, err := parse(args, []string{"local", "all", "sys*", "force", "evacuate", "help"})
	if err != nil {
		return err
	}
	r := operate.Request{All: l.flags["all"], Systems: l.values["sys"], Force: l.flags["force"], Evacuate: l.flags["evacuate"]}
	targets := 0
	for _, given := range []bool{l.flags["local"], r.All, len(r.Systems) > 0} {
		if given {
			targets++
		}
	}
	if targets != 1 || len(l.names) > 0 || r.Force && r.Evacuate || r.All && r.Evacuate {
		return errUsage
	}
	ctx, cancel := context.WithTimeout(ctx, connect.ChangeTimeout)
	defer cancel()
	n := node.Node{Root: s.Root, Programs: s.Programs}
	answer, err := n.StopEngine(ctx, s.had, r)
	if err != nil {
		return err
	}
	s.notices(answer)
	return nil
}
