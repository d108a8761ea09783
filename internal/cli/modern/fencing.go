package modern

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
)

// withFencing calls the fencing daemon of this system.
func (a *app) withFencing(f func(d *connect.Daemon) error) error { return a.with("fencing", f) }

func (a *app) fencing() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Whether a lost system could be proved gone", Args: noNames, Example: "  ha fencing status",
		Long: "Shows the fencing mode, the coordination points, whether this system can stop itself, what is protected here, the race under way or the last one, and which evidence could be had now. Answers also when a point hangs.",
		RunE: read(func(ctx context.Context, _ []string) error {
			return a.withFencing(func(d *connect.Daemon) error {
				s, err := d.Fencing().GetStatus(ctx, &fencingv1.GetStatusRequest{})
				if err != nil {
					return err
				}
				return a.show(s, func(w io.Writer) { printFencing(w, s) })
			})
		}),
	}
	keys := &cobra.Command{
		Use: "keys", Short: "Read the registrations on the coordination points", Args: noNames, Example: "  ha fencing keys",
		RunE: read(func(ctx context.Context, _ []string) error {
			return a.withFencing(func(d *connect.Daemon) error {
				k, err := d.Fencing().ReadKeys(ctx, &fencingv1.ReadKeysRequest{})
				if err != nil {
					return err
				}
				return a.show(k, func(w io.Writer) { printPoints(w, k.GetPoints()) })
			})
		}),
	}
	return branch("fencing", "Proof that a lost system is gone", status, keys, a.vouch(), a.clearKeys())
}

func printFencing(w io.Writer, s *fencingv1.GetStatusResponse) {
	fmt.Fprintf(w, "fencing mode %s, %s\n", s.GetMode(), strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.GetState().String(), "STATE_"), "_", " ")))
	if s.GetReason() != "" {
		fmt.Fprintln(w, s.GetReason())
	}
	stop := s.GetSelfStop()
	if stop.GetArmed() {
		fmt.Fprintf(w, "self-stop: %s, armed\n", stop.GetAction())
	} else {
		fmt.Fprintf(w, "self-stop: %s, NOT ARMED: %s\n", or(stop.GetAction(), "none"), stop.GetReason())
	}
	p := s.GetProtection()
	fmt.Fprintf(w, "protected here: %d %s%s\n", p.GetResources(), pick(p.GetResources() == 1, "resource", "resources"), prefixed(" of ", strings.Join(p.GetGroups(), ", ")))
	var members []string
	for _, m := range s.GetMembers() {
		members = append(members, m.GetName())
	}
	fmt.Fprintf(w, "members: %s\n", or(strings.Join(members, ", "), "none"))
	if s.GetBroken() {
		fmt.Fprintln(w, "BROKEN: no evidence could be had without an operator; a failover would wait for: ha fencing vouch SYSTEM")
	}
	if len(s.GetPoints()) > 0 {
		fmt.Fprintln(w)
		printPoints(w, s.GetPoints())
	}
	if len(s.GetEvidence()) > 0 {
		fmt.Fprintln(w)
	}
	rows := [][]string{{"EVIDENCE", "AVAILABLE", "WHY"}}
	for _, e := range s.GetEvidence() {
		available := "no"
		if e.GetAvailable() {
			available = "yes"
		}
		rows = append(rows, []string{e.GetKind(), available, e.GetReason()})
	}
	if len(rows) > 1 {
		table(w, rows)
	}
	printRace(w, s.GetRace())
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

func printRace(w io.Writer, r *fencingv1.Race) {
	if r == nil {
		return
	}
	fmt.Fprintf(w, "\nlast race: view %s, %s, racer node %d, %d points won; delay %d ms, race %d ms, evidence %d ms\n",
		r.GetView(), r.GetPhase(), r.GetRacerNodeId(), r.GetPointsWon(), r.GetDelayMs(), r.GetRaceMs(), r.GetEvidenceMs())
	for _, d := range r.GetDeparted() {
		fmt.Fprintf(w, "  %s: %s%s\n", d.GetSystem().GetName(), or(d.GetEvidence(), "no evidence yet"), prefixed(", ", d.GetDetail()))
	}
}

func printPoints(w io.Writer, points []*fencingv1.Point) {
	if len(points) == 0 {
		fmt.Fprintln(w, "no coordination points")
		return
	}
	rows := [][]string{{"POINT", "NAME", "KEY", "SYSTEM"}}
	for _, p := range points {
		number := strconv.Itoa(int(p.GetNumber()))
		if p.GetError() != "" {
			rows = append(rows, []string{number, p.GetName(), "-", "ERROR: " + p.GetError()})
			continue
		}
		if len(p.GetKeys()) == 0 {
			rows = append(rows, []string{number, p.GetName(), "-", "no keys"})
		}
		for _, k := range p.GetKeys() {
			system := k.GetName()
			if k.GetOwn() {
				system += " (this system)"
			}
			rows = append(rows, []string{number, p.GetName(), k.GetText(), system})
		}
	}
	table(w, rows)
}

func (a *app) vouch() *cobra.Command {
	var plan bool
	r := &fencingv1.VouchRequest{}
	c := &cobra.Command{
		Use: "vouch SYSTEM", Short: "Give your word that a lost system is gone", Args: names(1, "the name of one system"),
		Long:    "You say that a departed system is powered off, or at least that nothing of the cluster runs there any more and that it cannot write to shared disks. Its groups then start elsewhere. If you are wrong, data are lost: look at the machine, or switch it off, first. Your word is recorded with your name.",
		Example: "  ha fencing vouch sysB --plan\n  ha fencing vouch sysB",
		RunE: bounded(connect.ChangeTimeout, func(ctx context.Context, args []string) error {
			r.System = args[0]
			if r.RequestId == "" {
				r.RequestId = uuid.NewString()
			}
			if r.Who == "" {
				r.Who = caller()
			}
			return a.withFencing(func(d *connect.Daemon) error {
				if plan {
					return a.planVouch(ctx, d, r.System)
				}
				return d.Change(ctx, func(ctx context.Context) error {
					v, err := d.Fencing().Vouch(ctx, r)
					if err != nil {
						return err
					}
					return a.show(v, func(w io.Writer) {
						fmt.Fprintf(w, "%s (node %d) is vouched for as gone\n", v.GetSystem().GetName(), v.GetSystem().GetNodeId())
					})
				})
			})
		}),
	}
	c.Flags().BoolVar(&plan, "plan", false, "tell what would happen and do nothing")
	c.Flags().StringVar(&r.RequestId, "request-id", "", "id of the operation (default: a new one)")
	c.Flags().StringVar(&r.Who, "who", "", "who vouches (default: your user name)")
	return c
}

func caller() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return strconv.Itoa(os.Getuid())
}

func (a *app) planVouch(ctx context.Context, d *connect.Daemon, system string) error {
	s, err := d.Fencing().GetStatus(ctx, &fencingv1.GetStatusRequest{})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s would be recorded as gone on your word; whatever waits for evidence about it would go on", system)
	for _, m := range s.GetMembers() {
		if m.GetName() == system {
			text = fmt.Sprintf("it would be refused: %s is a member now", system)
		}
	}
	for _, dep := range s.GetRace().GetDeparted() {
		if dep.GetSystem().GetName() == system && dep.GetEvidence() != "" {
			text = fmt.Sprintf("%s is proved gone already: %s", system, dep.GetEvidence())
		}
	}
	if a.json() {
		return a.write(a.Out, envelope(field{"plan", []string{text}}))
	}
	fmt.Fprintln(a.Out, "plan: "+text)
	return nil
}

func (a *app) clearKeys() *cobra.Command {
	var plan, yes bool
	var id uint32
	c := &cobra.Command{
		Use: "clear", Short: "Remove this cluster's keys from all coordination points", Args: noNames,
		Long:    "The way out when keys of a cluster that is gone keep a system from starting. First make sure that no system of the cluster runs anywhere, then say so with --yes. Refused while any system has joined fencing. VCS: vxfenclearpre.",
		Example: "  ha fencing clear --plan\n  ha fencing clear --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			if !plan && !yes {
				return usagef("make sure that no system of this cluster runs anywhere, then say --yes")
			}
			ctx, cancel := context.WithTimeout(c.Context(), connect.ChangeTimeout)
			defer cancel()
			return a.withFencing(func(d *connect.Daemon) error {
				if plan {
					k, err := d.Fencing().ReadKeys(ctx, &fencingv1.ReadKeysRequest{})
					if err != nil {
						return err
					}
					return a.show(k, func(w io.Writer) {
						fmt.Fprintln(w, "plan: these keys, as far as they are this cluster's, would be removed:")
						printPoints(w, k.GetPoints())
					})
				}
				r := &fencingv1.ClearKeysRequest{Confirm: true}
				if c.Flags().Changed("cluster-id") {
					r.ClusterId = &id
				}
				k, err := d.Fencing().ClearKeys(ctx, r)
				if err != nil {
					return err
				}
				return a.show(k, func(w io.Writer) {
					fmt.Fprintln(w, "removed:")
					printPoints(w, k.GetRemoved())
				})
			})
		},
	}
	c.Flags().BoolVar(&plan, "plan", false, "show the keys and do nothing")
	c.Flags().BoolVar(&yes, "yes", false, "you have made sure that no system of the cluster runs")
	c.Flags().Uint32Var(&id, "cluster-id", 0, "cluster id, needed only where gab does not run")
	return c
}
