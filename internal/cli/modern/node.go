package modern

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/node"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/internal/standing"
)

func (a *app) thisNode() node.Node {
	n := node.Node{Root: a.Root, Programs: a.Programs}
	if !a.json() {
		n.Say = func(format string, args ...any) { fmt.Fprintf(a.Out, format+"\n", args...) }
	}
	return n
}

// done ends a node command: as JSON it shows what runs now.
func (a *app) done(ctx context.Context, err error) error {
	if err != nil || !a.json() {
		return err
	}
	return a.daemons(ctx)
}

func (a *app) node() *cobra.Command {
	var plan bool
	start := &cobra.Command{
		Use: "start", Short: "Start gab, fencing, hashadow and had on this system", Args: noNames,
		Long:    "Starts what does not run yet, from the bottom up, each when the one below listens. hastart starts had only.",
		Example: "  ha node start",
		RunE: func(c *cobra.Command, _ []string) error {
			if plan {
				return a.planNode(c.Context(), "start", []string{standing.GAB, standing.Fencing, standing.Hashadow, standing.Had}, false)
			}
			return a.done(c.Context(), a.thisNode().Start(c.Context()))
		},
	}
	start.Flags().BoolVar(&plan, "plan", false, "tell what would be started and do nothing")
	r := operate.Request{}
	var timeout time.Duration
	stop := &cobra.Command{
		Use: "stop", Short: "Stop had, hashadow, fencing and gab on this system", Args: noNames,
		Long:    "Takes the groups offline here (with --evacuate they move to other systems first) and stops the daemons from the top down. With --force had leaves applications running; fencing and gab then refuse to stop while something protected runs here, because the others could not tell it from a failure.",
		Example: "  ha node stop --evacuate\n  ha node stop --plan",
		RunE: func(c *cobra.Command, _ []string) error {
			if r.Force && r.Evacuate {
				return usagef("--evacuate does not go with --force")
			}
			ctx, cancel := context.WithTimeout(c.Context(), timeout)
			defer cancel()
			if r.Plan {
				return a.planStop(ctx, r)
			}
			return a.done(c.Context(), a.thisNode().Stop(ctx, r))
		},
	}
	stop.Flags().BoolVar(&r.Force, "force", false, "leave applications running and ask nobody")
	stop.Flags().BoolVar(&r.Evacuate, "evacuate", false, "move the groups to other systems first")
	stop.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "how long it may take in all")
	changeFlags(stop, &r)
	status := &cobra.Command{
		Use: "status", Short: "Show which daemons run on this system", Args: noNames, Example: "  ha node status",
		Long: "Shows each daemon with its process. Exits 1 unless all run. What each is doing: gabconfig -a, ha fencing status, ha status.",
		RunE: read(func(ctx context.Context, _ []string) error { return a.daemons(ctx) }),
	}
	return branch("node", "The daemons of this system", start, stop, status)
}

// daemon is the state of one daemon of this system.
type daemon struct {
	name, state string
	pid         int
}

func (a *app) look(ctx context.Context) []daemon {
	var all []daemon
	for _, name := range []string{standing.GAB, standing.Fencing, standing.Hashadow, standing.Had} {
		d := daemon{name: name, state: "running"}
		p, err := standing.Find(ctx, a.Root, name)
		switch {
		case errors.Is(err, standing.ErrAbsent):
			d.state = "not running"
		case err != nil:
			d.state = "unknown: " + err.Error()
		default:
			d.pid = p.PID
			if p.Frozen() {
				d.state = "stopped by a signal"
			}
			p.Close()
		}
		all = append(all, d)
	}
	return all
}

func (a *app) daemons(ctx context.Context) error {
	rows := [][]string{{"DAEMON", "STATE", "PID"}}
	list := []any{}
	healthy := true
	for _, d := range a.look(ctx) {
		pid := "-"
		if d.pid > 0 {
			pid = strconv.Itoa(d.pid)
		}
		healthy = healthy && d.state == "running"
		rows = append(rows, []string{d.name, d.state, pid})
		list = append(list, object{{"name", d.name}, {"state", d.state}, {"pid", d.pid}})
	}
	if a.json() {
		if err := a.write(a.Out, envelope(field{"daemons", list})); err != nil {
			return err
		}
	} else {
		table(a.Out, rows)
	}
	if !healthy {
		return errQuiet
	}
	return nil
}

// planNode tells what a start or stop would do, daemon by daemon.
func (a *app) planNode(ctx context.Context, verb string, order []string, whenRunning bool) error {
	running := map[string]bool{}
	for _, d := range a.look(ctx) {
		running[d.name] = d.state != "not running"
	}
	var steps []string
	for _, name := range order {
		if running[name] == whenRunning {
			steps = append(steps, name)
		}
	}
	if a.json() {
		return a.write(a.Out, envelope(field{"plan", verb}, field{"daemons", append([]string{}, steps...)}))
	}
	if len(steps) == 0 {
		fmt.Fprintln(a.Out, "plan: nothing would be done")
	}
	if len(steps) > 0 {
		fmt.Fprintf(a.Out, "plan: %s %s\n", verb, strings.Join(steps, ", then "))
	}
	return nil
}

func (a *app) planStop(ctx context.Context, r operate.Request) error {
	if !a.json() {
		call, cancel := context.WithTimeout(ctx, connect.ChangeTimeout)
		defer cancel()
		o, err := operate.Stop(call, a.had, r)
		switch fault := a.had.Fault(err); {
		case fault == nil:
			if err := a.printOperation(o, true, ""); err != nil {
				return err
			}
		case !fault.Down:
			return err
		}
	}
	return a.planNode(ctx, "stop", []string{standing.Had, standing.Hashadow, standing.Fencing, standing.GAB}, true)
}
