package modern

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

func (a *app) membership() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Which systems are members, and of which port", Args: noNames, Example: "  ha membership show\n  ha membership show -o json | jq '.membership.ports'",
		Long: "Shows what gab of this system sees: the systems, a column for each port (a: the systems themselves, b: fencing, h: the engine), and what gab or the engine waits for. Answers without had. VCS: gabconfig -a.",
		RunE: read(func(ctx context.Context, _ []string) error {
			return a.withGab(func(d *connect.Daemon) error {
				m, c, err := membershipNow(ctx, d)
				if err != nil {
					return err
				}
				if a.json() {
					return a.write(a.Out, envelope(field{"membership", m}, field{"configuration", c}))
				}
				printMembership(a.Out, m, c)
				return nil
			})
		}),
	}
	var plan bool
	seed := &cobra.Command{
		Use: "seed", Short: "Form a membership although not all systems were seen", Args: noNames, Example: "  ha membership seed --plan\n  ha membership seed",
		Long: "gab waits at its start for as many systems as gabtab says, so that two halves of a cluster that do not see each other do not both start. When you know that the missing systems are down, this system forms a membership with those that it reaches. If a missing one runs and is only out of reach, both may start the same applications: look at it first. VCS: gabconfig -x.",
		RunE: bounded(connect.ChangeTimeout, func(ctx context.Context, _ []string) error {
			return a.withGab(func(d *connect.Daemon) error {
				m, c, err := membershipNow(ctx, d)
				if err != nil {
					return err
				}
				text := "seeded already: nothing to do"
				if !m.GetSeeded() {
					text = fmt.Sprintf("%s forms a membership without waiting; gab waits for %s", c.GetName(), or(c.GetWaitingFor(), "nothing"))
					if !plan {
						if _, err := d.Gab().Seed(ctx, &gabv1.SeedRequest{}); err != nil {
							return err
						}
						text = c.GetName() + " was told to form a membership; see: ha membership show"
					}
				}
				if a.json() {
					return a.write(a.Out, envelope(field{pick(plan, "plan", "done"), []string{text}}))
				}
				fmt.Fprintln(a.Out, pick(plan, "plan: ", "")+text)
				return nil
			})
		}),
	}
	seed.Flags().BoolVar(&plan, "plan", false, "tell what would happen and do nothing")
	return branch("membership", "Which systems form the cluster, as gab sees it", show, seed)
}

// membershipNow is the membership and what gab is configured to and waits for.
func membershipNow(ctx context.Context, d *connect.Daemon) (*gabv1.GetMembershipResponse, *gabv1.GetConfigurationResponse, error) {
	m, err := d.Gab().GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return nil, nil, err
	}
	c, err := d.Gab().GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
	return m, c, err
}

func printMembership(w io.Writer, m *gabv1.GetMembershipResponse, c *gabv1.GetConfigurationResponse) {
	fmt.Fprintf(w, "%s is %s; fencing mode %s\n", c.GetName(), pick(m.GetSeeded(), or(c.GetState(), "in view"), "not seeded"), c.GetFencingMode())
	if c.GetWaitingFor() != "" {
		fmt.Fprintln(w, "waits for", c.GetWaitingFor())
	}
	if gate := m.GetGate(); gate.GetHeld() {
		fmt.Fprintln(w, "port h is held:", gate.GetReason())
	}
	names := map[uint32]string{}
	header := []string{"SYSTEM", "NODE"}
	cells := make([]map[uint32]string, 0, len(m.GetPorts()))
	for _, p := range m.GetPorts() {
		cell := map[uint32]string{}
		for _, v := range p.GetVisible() {
			names[v.GetNodeId()] = v.GetName()
			cell[v.GetNodeId()] = "visible"
		}
		for _, v := range p.GetMembers() {
			names[v.GetNodeId()] = v.GetName()
			cell[v.GetNodeId()] = pick(v.GetJeopardy(), "JEOPARDY", "member")
		}
		for _, v := range p.GetSlow() {
			cell[v.GetNodeId()] += ", slow"
		}
		for _, v := range p.GetStalled() {
			cell[v.GetNodeId()] += ", STALLED"
		}
		header, cells = append(header, portTitle(p)), append(cells, cell)
	}
	if len(names) == 0 {
		return
	}
	rows := [][]string{header}
	for _, id := range slices.Sorted(maps.Keys(names)) {
		row := []string{names[id], fmt.Sprint(id)}
		for _, cell := range cells {
			row = append(row, or(cell[id], "-"))
		}
		rows = append(rows, row)
	}
	fmt.Fprintln(w)
	table(w, rows)
}

// portTitle is the head of a port's column.
func portTitle(p *gabv1.PortMembership) string {
	known := map[string]string{"a": "SYSTEMS", "b": "FENCING", "h": "ENGINE"}
	return strings.TrimSpace(strings.ToUpper(p.GetPort()) + " " + known[p.GetPort()])
}
