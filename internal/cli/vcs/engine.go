package vcs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/hacf"
	"github.com/evenkeel/evenkeel/internal/cli/node"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Verify checks the configuration of a folder and returns what is wrong with
// it. A types.cf that the folder lacks is the built-in one.
func Verify(dir string) []string {
	return maincf.Verify(dir, hacf.Open)
}

func hastart(ctx context.Context, s *session, args []string) error {
	// -ts asks for times in the log, which always has them.
	l, err := parse(args, []string{"onenode", "force", "stale", "ts", "help"})
	switch {
	case err != nil:
		return err
	case l.flags["help"]:
		fmt.Fprint(s.Out, usage("hastart", ""))
		return nil
	case len(l.names) > 0:
		return fmt.Errorf("it takes no name: %s: %w", l.names[0], errUsage)
	case l.flags["force"] && l.flags["stale"]:
		return fmt.Errorf("-force and -stale exclude each other: %w", errUsage)
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
	l, err := parse(args, []string{"local", "all", "sys*", "force", "evacuate", "noautodisable", "sysoffline", "help"})
	if err != nil {
		return err
	}
	if l.flags["help"] {
		fmt.Fprint(s.Out, usage("hastop", ""))
		return nil
	}
	r := operate.Request{All: l.flags["all"], Systems: l.values["sys"], Force: l.flags["force"], Evacuate: l.flags["evacuate"], NoAutoDisable: l.flags["noautodisable"], Reboot: l.flags["sysoffline"]}
	if err := stopUsage(l, r); err != nil {
		return err
	}
	n := node.Node{Root: s.Root, Programs: s.Programs}
	answer, err := s.stop(ctx, n, r)
	if fault := s.had.Fault(err); fault != nil && fault.Reason == "CONFIRMATION_NEEDED" {
		if err := s.ask(fault.Text); err != nil {
			return err
		}
		r.Confirmed = true
		answer, err = s.stop(ctx, n, r)
	}
	if err != nil {
		return err
	}
	s.notices(answer)
	return nil
}

func stopUsage(l line, r operate.Request) error {
	targets := 0
	for _, given := range []bool{l.flags["local"], r.All, len(r.Systems) > 0, r.Reboot} {
		if given {
			targets++
		}
	}
	switch {
	case len(l.names) > 0:
		return fmt.Errorf("it takes no name: %s; -sys %s names a system: %w", l.names[0], l.names[0], errUsage)
	case targets != 1:
		return fmt.Errorf("one of -local, -all, -sysoffline and -sys S says where: %w", errUsage)
	case r.Force && (r.Evacuate || r.NoAutoDisable):
		return fmt.Errorf("-force goes with neither -evacuate nor -noautodisable: %w", errUsage)
	case r.All && (r.Evacuate || r.NoAutoDisable):
		return fmt.Errorf("-all takes -force only: %w", errUsage)
	}
	return nil
}

func (s *session) stop(ctx context.Context, n node.Node, r operate.Request) (*hadv1.Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, connect.ChangeTimeout)
	defer cancel()
	return n.StopEngine(ctx, s.had, r)
}

// ask puts a question; anything but yes, also no answer at all, refuses.
func (s *session) ask(question string) error {
	fmt.Fprintf(s.Err, "%s\nStop it? [y,n] (n) ", question)
	answer := ""
	if s.In != nil {
		scanner := bufio.NewScanner(s.In)
		scanner.Scan()
		answer = strings.ToLower(strings.TrimSpace(scanner.Text()))
	}
	fmt.Fprintln(s.Err)
	if !slices.Contains([]string{"y", "yes"}, answer) {
		return warning(idRefusedStop, "Nothing is stopped: the question was not answered with y")
	}
	return nil
}
