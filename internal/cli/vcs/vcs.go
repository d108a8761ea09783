// Package vcs is the commands of the engine under their VCS names: hastatus,
// hagrp, hares, hasys, hatype, haclus, hacf, hastart and hastop. Options,
// layouts, message ids and exit codes are those that scripts written for VCS
// rely on.
package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/hacf"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Surroundings are what a command finds around it.
type Surroundings struct {
	Root     paths.Root
	Out, Err io.Writer
	// Compat is EVENKEEL_VCS_COMPAT: "3.5" prints bare states.
	Compat string
	// Programs is the folder of the daemons, for hastart.
	Programs string
}

// message is a refusal of a command itself, in VCS's form.
type message struct{ severity, id, text string }

func (m message) Error() string { return fmt.Sprintf("VCS %s %s %s", m.severity, m.id, m.text) }

func warning(number int, format string, args ...any) error {
	return message{"WARNING", fmt.Sprintf("V-16-1-%d", number), fmt.Sprintf(format, args...)}
}

// session is one command at work.
type session struct {
	Surroundings
	had *connect.Had
}

// action is one thing that a command does.
type action struct {
	// usage is what stands behind the action; options as parse wants them.
	usage   string
	options []string
	// names is the least and the most number of names, -1 for any number.
	least, most int
	// waits: the action bounds its time itself.
	changes, waits bool
	run            func(ctx context.Context, s *session, l line) error
}

// commands returns each command's actions.
func commands() map[string]map[string]action {
	all := map[string]map[string]action{
		"hagrp": groupActions(), "hares": resourceActions(), "hasys": systemActions(),
		"hatype": typeActions(), "haclus": clusterActions(),
	}
	for _, o := range operate.Table() {
		all[o.Command][o.Action] = operation(o)
	}
	return all
}

// Names are the commands of this package.
func Names() []string {
	return []string{"hastatus", "hagrp", "hares", "hasys", "hatype", "haclus", "hacf", "hastart", "hastop"}
}

// Run runs the command of the given name and returns its exit code: 0, 1 if it
// failed, 2 if its options were wrong.
func Run(ctx context.Context, name string, args []string, around Surroundings) int {
	if name == "hacf" {
		return hacf.Run(args, around.Out, around.Err)
	}
	s := &session{Surroundings: around}
	var err error
	if s.had, err = connect.ToHad(around.Root); err == nil {
		defer s.had.Close()
		switch name {
		case "hastatus":
			err = hastatus(ctx, s, args)
		case "hastart":
			err = hastart(ctx, s, args)
		case "hastop":
			err = hastop(ctx, s, args)
		default:
			err = dispatch(ctx, s, name, args)
		}
	}
	return s.report(name, err)
}

func dispatch(ctx context.Context, s *session, name string, args []string) error {
	actions, known := commands()[name]
	if !known {
		return fmt.Errorf("no such command: %w", errUsage)
	}
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return errUsage
	}
	names := append(slices.Collect(maps.Keys(actions)), "help")
	chosen, err := complete(args[0][1:], names)
	if err != nil {
		return err
	}
	if chosen == "help" {
		fmt.Fprint(s.Out, usage(name))
		return nil
	}
	a := actions[chosen]
	l, err := parse(args[1:], a.options)
	if err != nil {
		return err
	}
	if len(l.names) < a.least || a.most >= 0 && len(l.names) > a.most {
		return fmt.Errorf("-%s %s: %w", chosen, a.usage, errUsage)
	}
	limit := connect.ReadTimeout
	if a.changes {
		limit = connect.ChangeTimeout
	}
	if !a.waits {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if err := s.thisCluster(ctx, l); err != nil {
		return err
	}
	return a.run(ctx, s, l)
}

// thisCluster refuses -clus for any cluster but this one.
func (s *session) thisCluster(ctx context.Context, l line) error {
	want := l.value("clus")
	if want == "" {
		return nil
	}
	a, err := s.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
	if err != nil {
		return err
	}
	if have := a.GetCluster().GetName(); have != want {
		return warning(10000, "Cluster %s is not known here; this cluster is %s", want, have)
	}
	return nil
}

// operation is the VCS form of a row of the table.
func operation(o operate.Operation) action {
	a := action{usage: strings.ToUpper(o.Object[:1]), least: 1, most: 1, changes: true, options: []string{"localclus", "clus="}}
	target := "sys"
	if o.Target != "" {
		target = o.Target
	}
	switch o.System {
	case operate.SystemOptional:
		a.usage += " [-" + target + " S]"
	case operate.SystemRequired:
		a.usage += " -" + target + " S"
	case operate.SystemOrAny:
		a.usage += " -" + target + " S|-any"
	}
	if o.System != operate.NoSystem {
		a.options = append(a.options, target+"=")
	}
	for _, option := range o.Options {
		a.options = append(a.options, option.VCS)
		if option.VCS != "any" {
			a.usage += " [-" + option.VCS + "]"
		}
	}
	a.run = func(ctx context.Context, s *session, l line) error {
		r := operate.Request{Name: l.names[0], System: l.value(target)}
		for _, option := range o.Options {
			*option.Set(&r) = l.flags[option.VCS]
		}
		switch {
		case o.System == operate.SystemRequired && r.System == "",
			o.System == operate.SystemOrAny && (r.System == "") != r.Any:
			return fmt.Errorf("-%s %s: %w", o.Action, a.usage, errUsage)
		}
		answer, err := o.Do(ctx, s.had, r)
		if err != nil {
			return err
		}
		s.notices(answer)
		return nil
	}
	return a
}

// notices prints what VCS says beside a success.
func (s *session) notices(o *hadv1.Operation) {
	for _, n := range o.GetNotices() {
		fmt.Fprintln(s.Err, message{n.GetSeverity(), n.GetMessageId(), n.GetText()}.Error())
	}
}

// report prints an error as VCS does and returns the exit code.
func (s *session) report(name string, err error) int {
	var refused message
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		if text := strings.TrimSuffix(err.Error(), ": "+errUsage.Error()); text != errUsage.Error() {
			fmt.Fprintf(s.Err, "%s: %s\n", name, text)
		}
		fmt.Fprint(s.Err, usage(name))
		return 2
	case errors.Is(err, errQuiet):
		return 1
	case errors.As(err, &refused):
		fmt.Fprintln(s.Err, refused.Error())
		return 1
	}
	fault := s.had.Fault(err)
	m := message{fault.Severity, fault.MessageID, fault.Text}
	switch {
	case fault.Down && name == "hastatus":
		m = message{"WARNING", "V-16-1-11046", "Local system not available"}
	case fault.Down:
		m = message{"ERROR", "V-16-1-10600", "Cannot connect to VCS engine"}
	case fault.Late:
		m = message{"ERROR", "V-16-1-10805", "Connection timed out: " + fault.Text}
	case m.id == "":
		m.id = "V-16-1-10000"
	}
	if m.severity == "" {
		m.severity = "ERROR"
		if fault.Code == codes.NotFound || fault.Code == codes.FailedPrecondition || fault.Code == codes.InvalidArgument {
			m.severity = "WARNING"
		}
	}
	fmt.Fprintln(s.Err, m.Error())
	return 1
}

// errQuiet is a failure that was told already.
var errQuiet = errors.New("told already")

// usage is the help of a command.
func usage(name string) string {
	fixed := map[string]string{
		"hastatus": "usage: hastatus [-sum[mary]] [-group G...] [-localclus]\n",
		"hastart":  "usage: hastart [-onenode] [-force|-stale]\n",
		"hastop":   "usage: hastop -local|-all|-sys S... [-force|-evacuate]\n",
	}
	if text, ok := fixed[name]; ok {
		return text
	}
	actions := commands()[name]
	var b strings.Builder
	b.WriteString("usage:\n")
	for _, action := range slices.Sorted(maps.Keys(actions)) {
		fmt.Fprintf(&b, "  %s\n", strings.TrimRight(name+" -"+action+" "+actions[action].usage, " "))
	}
	return b.String()
}
