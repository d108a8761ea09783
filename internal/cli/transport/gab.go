package transport

import (
	"context"
	"fmt"
	"io"
	"strings"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

func gabconfig(ctx context.Context, c clients, args []string, out io.Writer) error {
	letters, words := flags(args)
	if len(words) > 0 {
		return errUsage
	}
	switch letters {
	case "a", "aC", "Ca":
		answer, err := c.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
		if err != nil {
			return err
		}
		memberships(answer, strings.Contains(letters, "C"), out)
		if answer.GetSeeded() {
			return nil
		}
		conf, err := c.gab.GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
		if err == nil {
			fmt.Fprintf(out, "Not seeded; waits for %s\n", conf.GetWaitingFor())
		}
		return err
	case "l":
		return driver(ctx, c, out)
	case "x":
		_, err := c.gab.Seed(ctx, &gabv1.SeedRequest{})
		return err
	case "U":
		_, err := c.gab.Leave(ctx, &gabv1.LeaveRequest{})
		return err
	}
	return errUsage
}

// memberships prints the ports as scripts expect them.
func memberships(answer *gabv1.GetMembershipResponse, clients bool, out io.Writer) {
	fmt.Fprintln(out, "GAB Port Memberships")
	fmt.Fprintln(out, strings.Repeat("=", 63))
	for _, port := range answer.GetPorts() {
		if len(port.GetMembers()) == 0 {
			continue
		}
		name := port.GetPort()
		if client := port.GetClient(); clients && client != "" {
			name += "[" + client + "]"
		}
		fmt.Fprintf(out, "Port %s gen %s membership %s\n", name, port.GetGeneration(), digits(port.GetMembers()))
		var jeopardy []*gabv1.Member
		for _, member := range port.GetMembers() {
			if member.GetJeopardy() {
				jeopardy = append(jeopardy, member)
			}
		}
		if len(jeopardy) > 0 {
			fmt.Fprintf(out, "Port %s gen %s   jeopardy ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(jeopardy), " "))
		}
		if visible := port.GetVisible(); len(visible) > 0 {
			fmt.Fprintf(out, "Port %s gen %s    visible ;%s\n", name, port.GetGeneration(), strings.TrimLeft(digits(visible), " "))
		}
	}
	if gate := answer.GetGate(); gate.GetHeld() {
		fmt.Fprintf(out, "Port h is held: %s\n", gate.GetReason())
	}
}

// digits is the positional map of members: the last digit of each id, a blank
// for an id that is no member, and one ';' for each ten passed. In a ten after
// the first, blanks before its first member are left out.
func digits(members []*gabv1.Member) string {
	present := map[uint32]bool{}
	var highest uint32
	for _, member := range members {
		present[member.GetNodeId()] = true
		highest = max(highest, member.GetNodeId())
	}
	var tens []string
	for ten := uint32(0); ten <= highest/10; ten++ {
		var text strings.Builder
		for unit := range uint32(10) {
			if present[10*ten+unit] {
				fmt.Fprint(&text, unit)
			} else {
				text.WriteByte(' ')
			}
		}
		group := strings.TrimRight(text.String(), " ")
		if ten > 0 {
			group = strings.TrimLeft(group, " ")
		}
		tens = append(tens, group)
	}
	return strings.Join(tens, ";")
}

func driver(ctx context.Context, c clients, out io.Writer) error {
	answer, err := c.gab.GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "GAB Driver Configuration")
	for _, line := range [][2]string{
		{"Driver state", "Configured"},
		{"Membership", answer.GetState()},
		{"Node", fmt.Sprintf("%d %s", answer.GetNodeId(), answer.GetName())},
		{"Node count", fmt.Sprint(answer.GetSeedCount())},
		{"Stable timeout (ms)", fmt.Sprint(answer.GetStableMs())},
		{"Fencing mode", answer.GetFencingMode()},
	} {
		fmt.Fprintf(out, "%-22s: %s\n", line[0], line[1])
	}
	if waiting := answer.GetWaitingFor(); waiting != "" {
		fmt.Fprintf(out, "%-22s: %s\n", "Waiting for", waiting)
	}
	return nil
}
