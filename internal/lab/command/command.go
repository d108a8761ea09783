//go:build linux

// Package command is halab's command line.
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/lab/machine"
	"github.com/evenkeel/evenkeel/internal/lab/spec"
	"github.com/evenkeel/evenkeel/internal/lab/supervisor"
)

// The main thread stays the main goroutine's: threads that enter a system's
// namespaces end with their goroutine, and the main thread cannot end.
func init() { runtime.LockOSThread() }

// Exit is an exit code that is not an error of halab itself.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs halab and returns its exit code: 0 done, 1 failed, 2 wrong usage,
// and that of the command for halab exec.
func Main(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case machine.InitCommand:
			return report(machine.Init())
		case supervisor.Command:
			if len(args) != 2 {
				return 2
			}
			return report(supervisor.Main(args[1]))
		}
	}
	root := Root()
	root.SetArgs(args)
	return report(root.Execute())
}

func report(err error) int {
	var exit Exit
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	}
	fmt.Fprintln(os.Stderr, "halab:", err)
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

const introduction = `halab runs a whole cluster on this one machine: a laboratory ("lab").

As root every system of the lab has network, mount, UTS and PID namespaces of
its own, its own tree of files and its own disk; there are two private links,
one public network, a client host and shared disks. A system can lose its
power at any moment and loses then what it had not fsynced. Nothing of a lab
touches this machine's own network or files, and halab down leaves nothing.

With --unprivileged a lab needs no root: systems are told apart by
EVENKEEL_ROOT, links are UDP on loopback, and a power failure is a SIGKILL of
all processes of the system.

  halab up --nodes 2                      two systems with a small configuration
  halab up --conf examples/nfs            the systems that DIR/main.cf declares
  halab exec Server1 -- hastatus -sum     a command on a system (client is a host, too)
  halab crash Server1                     power failure; halab boot Server1 ends it
  halab cut --link priv1 Server2          a broken switch port; halab heal repairs all
  halab cut --between Server1/Server2     a partition of the private links
  halab freeze Server2                    a pause of the machine; halab thaw ends it
  halab down                              the end, nothing is left behind`

// lab is the --name flag.
type lab struct{ name string }

func (l *lab) place() (supervisor.Place, error) {
	if err := spec.CheckName("lab", l.name); err != nil {
		return supervisor.Place{}, usageError{err}
	}
	return supervisor.PlaceOf(l.name)
}

// ask sends one command to the lab's supervisor.
func (l *lab) ask(request supervisor.Request, out any) error {
	place, err := l.place()
	if err != nil {
		return err
	}
	err = supervisor.Ask(context.Background(), place, request, out)
	if errors.Is(err, supervisor.ErrDown) {
		hint := "halab up starts one"
		if names := supervisor.Names(); len(names) > 0 {
			hint = "labs with state here: " + strings.Join(names, ", ") + "; name yours by --name"
		}
		return fmt.Errorf("lab %s is not up (%s)", l.name, hint)
	}
	return err
}

// Root is the command tree.
func Root() *cobra.Command {
	l := &lab{}
	root := &cobra.Command{
		Use: "halab", Short: "Run a cluster of several systems on this machine",
		Long: introduction, SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&l.name, "name", "lab", "name of the lab; labs of different names live side by side")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(up(l), down(l), status(l), execCommand(l), cut(l), logs(l))
	for _, simple := range []struct{ name, short, long string }{
		{"crash", "Power failure of a system", "The lab's power switch: links down, file systems shut down without a last write, every process killed. It returns when the system is off.\nWhat was not fsynced is gone, what was fsynced is there after halab boot."},
		{"boot", "Switch a system on again", "Starts a system that is off on its old disk, as after a power failure: the file system replays its journal, then gab, fencing and hashadow start."},
		{"freeze", "Pause a system", "Stops every process of the system at once, as a paused virtual machine would be. Its disks and cables stay. halab thaw lets it go on."},
		{"thaw", "Let a paused system go on", "Continues the processes that halab freeze stopped."},
	} {
		root.AddCommand(&cobra.Command{
			Use: simple.name + " SYSTEM", Short: simple.short, Long: simple.long, Args: exactly(1, "SYSTEM"),
			RunE: func(_ *cobra.Command, args []string) error {
				return l.ask(supervisor.Request{Op: simple.name, System: args[0]}, nil)
			},
		})
	}
	root.AddCommand(&cobra.Command{
		Use: "heal", Short: "Undo all cuts", Args: exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error { return l.ask(supervisor.Request{Op: "heal"}, nil) },
	})
	return root
}

func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usageError{fmt.Errorf("%s takes %s, got %d arguments; see halab %s --help", cmd.Name(), what, len(args), cmd.Name())}
		}
		return nil
	}
}

func execCommand(l *lab) *cobra.Command {
	cmd := &cobra.Command{
		Use: "exec SYSTEM -- CMD...", Short: "Run a command on a system",
		Long: "Runs a command inside a system, or on the host client, with this terminal's input and output, and ends with the command's exit code\n" +
			"(127: no such command, 126: could not be run, 128+n: ended by signal n). Evenkeel's programs and VCS's names are in its PATH.",
		Example: "  halab exec Server1 -- hagrp -state\n  halab exec client -- ping -c1 192.168.1.3\n  halab exec Server2 -- bash",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usageError{fmt.Errorf("exec takes SYSTEM -- CMD")}
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var visit machine.Visit
			if err := l.ask(supervisor.Request{Op: "visit", System: args[0]}, &visit); err != nil {
				return err
			}
			argv := args[1:]
			if argv[0] == "--" {
				argv = argv[1:]
			}
			if len(argv) == 0 {
				return usageError{fmt.Errorf("exec takes SYSTEM -- CMD")}
			}
			code, err := machine.Exec(visit, argv)
			if err != nil {
				fmt.Fprintln(os.Stderr, "halab:", err)
			}
			if code != 0 {
				return Exit(code)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false) // flags after SYSTEM are the command's
	return cmd
}

func cut(l *lab) *cobra.Command {
	var links []string
	var between string
	var oneWay bool
	cmd := &cobra.Command{
		Use: "cut (--link K SYSTEM... | --between A,B/C [--link K] [--one-way])", Short: "Break connections without loss of carrier",
		Long: "With --link alone the named hosts are cut off that network in both directions; K is a name (priv1, priv2, public) or a number from 1.\n" +
			"With --between nothing flows between the two sides on the private links, or only on those named by --link;\n" +
			"with --one-way only what goes from the first side to the second is lost. Interfaces keep their carrier, as behind a broken switch.\n" +
			"Cuts add up; halab heal undoes all.",
		RunE: func(_ *cobra.Command, args []string) error {
			request := supervisor.Request{Op: "cut", Networks: links, OneWay: oneWay}
			switch {
			case between != "":
				a, b, found := strings.Cut(between, "/")
				if !found || a == "" || b == "" || len(args) > 0 {
					return usageError{fmt.Errorf("--between %q: write A,B/C, the hosts of both sides", between)}
				}
				request.From, request.To = strings.Split(a, ","), strings.Split(b, ",")
			case len(links) == 0 || len(args) == 0 || oneWay:
				return usageError{fmt.Errorf("cut takes --link K SYSTEM... or --between A,B/C; see halab cut --help")}
			default:
				request.From = args
			}
			var cuts []string
			if err := l.ask(request, &cuts); err != nil {
				return err
			}
			for _, c := range cuts {
				fmt.Println("cut:", c)
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&links, "link", nil, "network to cut, by name or number from 1")
	cmd.Flags().StringVar(&between, "between", "", "hosts of both sides, A,B/C")
	cmd.Flags().BoolVar(&oneWay, "one-way", false, "cut only from the first side to the second")
	return cmd
}

func down(l *lab) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "End a lab and leave nothing behind",
		Long: "Powers all systems off and removes the lab: processes, namespaces, loop devices, images, directories. It also cleans up after a lab whose supervisor was killed.\nA lab that is not there is no error.",
		Args: exactly(0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			place, err := l.place()
			if err != nil {
				return err
			}
			return takeDown(place)
		},
	}
}

// takeDown ends a lab by its supervisor or, without one, by force, and checks
// that nothing is left.
func takeDown(place supervisor.Place) error {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	err := supervisor.Ask(ctx, place, supervisor.Request{Op: "down"}, nil)
	if err == nil {
		// The supervisor has answered and ends; wait for its process.
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for patience := time.Now().Add(5 * time.Second); time.Now().Before(patience); <-ticker.C {
			if left, err := supervisor.Leftovers(place); err == nil && len(left) == 0 {
				return nil
			}
		}
	} else if !errors.Is(err, supervisor.ErrDown) {
		fmt.Fprintf(os.Stderr, "halab: the lab's supervisor could not take it down: %v; doing it by force\n", err)
	}
	if err := supervisor.Sweep(place); err != nil {
		return err
	}
	left, err := supervisor.Leftovers(place)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}
