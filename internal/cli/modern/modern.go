// Package modern is the command ha: a tree of objects and verbs, tables for
// people and JSON for programs.
package modern

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/node"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Surroundings are what the command finds around it.
type Surroundings struct {
	Root     paths.Root
	In       io.Reader
	Out, Err io.Writer
	// Programs is the folder of the daemons, for ha node start.
	Programs string
}

// app is one call of ha.
type app struct {
	Surroundings
	output string
	had    *connect.Had
}

// usageError is wrong usage.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// errQuiet is a failure that was told already.
var errQuiet = errors.New("told already")

const introduction = `ha shows and operates a high-availability cluster.

It talks to the engine (had) of this system, which knows the whole cluster.
Every command prints a table, or JSON or YAML with -o; every command that changes
something tells with --plan what would happen, and does nothing.

  ha status                           what runs where, and what needs attention
  ha group explain app                why a group is where it is, and what leads out
  ha group switch app --to sysB       move a group by hand
  ha doctor                           what is wrong here, and the command that mends it
  ha watch                            all of it live on the whole screen
  ha fencing status                   whether a lost system could be proved gone
  ha node start                       start the daemons of this system in order

The commands of VCS (hastatus, hagrp, hares, ...) are links to this program.`

// Run runs ha and returns its exit code: 0 done, 1 failed, 2 wrong usage.
func Run(ctx context.Context, args []string, around Surroundings) int {
	a := &app{Surroundings: around}
	had, err := connect.ToHad(around.Root)
	if err != nil {
		return a.report(err)
	}
	defer had.Close()
	a.had = had
	root := a.root()
	root.SetArgs(args)
	root.SetIn(around.In)
	root.SetOut(around.Out)
	root.SetErr(around.Err)
	root.SuggestionsMinimumDistance = -1 // unknownCommand says what was meant
	err = root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		err = unknownCommand(root, args, err)
	}
	if err != nil && strings.HasPrefix(err.Error(), "if any flags in the group [") {
		flags, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "if any flags in the group ["), "]")
		err = usagef("only one of --%s", strings.Join(strings.Fields(flags), ", --"))
	}
	if err != nil && !slices.Contains(outputs, a.output) || a.output == "table" {
		a.output = outputAsked(args)
	}
	return a.report(err)
}

// unknownCommand names the object that was probably meant.
func unknownCommand(root *cobra.Command, args []string, err error) error {
	for _, word := range args {
		if strings.HasPrefix(word, "-") {
			continue
		}
		return usagef("unknown command %q; %sha --help lists them", "ha "+word, nearestVerb(root, word))
	}
	return usageError{err}
}

// outputAsked is what -o asks for on a command line that could not be read to
// its end: who asked for JSON gets the mistake as JSON.
func outputAsked(args []string) string {
	for i, word := range args {
		if word == "--" {
			break
		}
		value, joined := strings.CutPrefix(word, "--output=")
		if !joined {
			value, joined = strings.CutPrefix(word, "-o")
			value = strings.TrimPrefix(value, "=")
		}
		if (word == "-o" || word == "--output") && i+1 < len(args) {
			value, joined = args[i+1], true
		}
		if joined && slices.Contains(outputs, value) {
			return value
		}
	}
	return "table"
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "ha", Short: "Show and operate the cluster", Long: introduction,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if !slices.Contains(outputs, a.output) {
				return usagef("-o %s: %s", a.output, strings.Join(outputs, ", "))
			}
			return nil
		},
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "table", strings.Join(outputs, ", "))
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(outputs, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usageError{nearestFlag(c, err)} })
	root.AddCommand(a.status(), a.system(), a.group(), a.resource(), a.typ(), a.cluster(), a.config(), a.agent(), a.node(), a.fencing(), a.events(),
		a.attribute(), a.log(), a.message(), a.doctor(), a.membership(), a.link(), a.key(), a.watch(), a.decisions(), a.version())
	a.completeFlags(root)
	return root
}

// nearestFlag adds to an unknown flag the one that was probably meant.
func nearestFlag(c *cobra.Command, err error) error {
	if strings.HasPrefix(err.Error(), "unknown shorthand flag") {
		return fmt.Errorf("%w; a value that begins with - stands behind --", err)
	}
	word, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return err
	}
	var known []string
	c.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	c.InheritedFlags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if best := maincf.Nearest(word, known); best != "" {
		return fmt.Errorf("%w; did you mean --%s?", err, best)
	}
	return fmt.Errorf("%w; %s --help lists them", err, c.CommandPath())
}

// nearestVerb is what was probably meant by a verb that does not exist.
func nearestVerb(c *cobra.Command, word string) string {
	var known []string
	for _, v := range c.Commands() {
		known = append(known, v.Name())
	}
	if best := maincf.Nearest(word, known); best != "" {
		return "did you mean " + best + "? "
	}
	return ""
}

// branch is a command that only has verbs below it.
func branch(name, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usagef("unknown command %q; %s%s --help lists them", strings.Join(append(strings.Fields(c.CommandPath()), args[0]), " "), nearestVerb(c, args[0]), c.CommandPath())
		}
		return nil
	}, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(verbs...)
	return c
}

// names wants exactly n names.
func names(n int, what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usagef("%s wants %s; see %s --help", c.CommandPath(), what, c.CommandPath())
		}
		return nil
	}
}

func noNames(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("%s takes no name; see %s --help", c.CommandPath(), c.CommandPath())
	}
	return nil
}

// read gives a function the deadline of reading commands.
func read(f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return bounded(connect.ReadTimeout, f)
}

func bounded(limit time.Duration, f func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		ctx, cancel := context.WithTimeout(c.Context(), limit)
		defer cancel()
		return f(ctx, args)
	}
}

// outputs are the forms of -o.
var outputs = []string{"table", "wide", "json", "yaml"}

// json reports whether programs read the output: JSON or YAML.
func (a *app) json() bool { return a.output == "json" || a.output == "yaml" }

func (a *app) wide() bool { return a.output == "wide" }

// write prints an object as JSON or YAML.
func (a *app) write(w io.Writer, o object) error {
	if a.output == "yaml" {
		return writeYAML(w, o)
	}
	return writeJSON(w, o)
}

// show prints a message as JSON, or a table by print.
func (a *app) show(m proto.Message, print func(io.Writer)) error {
	if a.json() {
		return a.write(a.Out, ofMessage(m))
	}
	print(a.Out)
	return nil
}

// table prints aligned columns; the first row is the header.
func table(w io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			fmt.Fprintf(&line, "%-*s  ", widths[i], cell)
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}

// report prints an error and returns the exit code.
func (a *app) report(err error) int {
	var usage usageError
	var missing *node.MissingError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errQuiet):
		return 1
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		if a.json() {
			a.writeError(codes.InvalidArgument.String(), "USAGE", "", err.Error())
		} else {
			fmt.Fprintln(a.Err, "ha:", err)
		}
		return 2
	case errors.As(err, &missing) && !a.json():
		fmt.Fprintln(a.Err, "ha:", err)
		return 1
	}
	fault := a.fault(err)
	if a.json() {
		a.writeError(fault.Code.String(), fault.Reason, fault.MessageID, fault.Text)
		return 1
	}
	text := "ha: " + fault.Text
	if fault.MessageID != "" {
		text += " [" + fault.MessageID + "]"
	}
	fmt.Fprintln(a.Err, text)
	return 1
}

// writeError prints a failure for programs.
func (a *app) writeError(code, reason, id, text string) {
	_ = a.write(a.Err, envelope(field{"error", object{{"code", code}, {"reason", reason}, {"message_id", id}, {"message", text}}}))
}

// fault takes an error apart and says what to do where had does not run.
func (a *app) fault(err error) *connect.Fault {
	fault := a.had.Fault(err)
	if fault.Down {
		down := *fault
		down.Text = fmt.Sprintf("had does not run on this system (%s); start it with: hastart, or all layers with: ha node start", a.had.Socket())
		return &down
	}
	return fault
}
