package vcs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// agentActions are those of haagent; -start and -stop are in the table of
// operations.
func agentActions() map[string]action {
	return map[string]action{
		"list": {run: func(ctx context.Context, s *session, _ line) error {
			agents, err := s.had.AllAgents(ctx)
			for _, a := range agents {
				fmt.Fprintln(s.Out, a.GetType())
			}
			return err
		}},
		"display": {usage: "[T]", most: 1, run: func(ctx context.Context, s *session, l line) error {
			agents, err := s.agents(ctx, l.names)
			if err != nil {
				return err
			}
			layout.Agents(s.Out, agents)
			return nil
		}},
		"value": {usage: "T Attr", least: 2, most: 2, run: func(ctx context.Context, s *session, l line) error {
			agents, err := s.agents(ctx, l.names[:1])
			if err != nil {
				return err
			}
			value, err := s.pick(layout.AgentAttributes(agents[0]), "agent "+l.names[0], l.names[1], "")
			if err == nil {
				fmt.Fprintln(s.Out, value)
			}
			return err
		}},
	}
}

func (s *session) agents(ctx context.Context, names []string) ([]*hadv1.Agent, error) {
	if len(names) == 0 {
		return s.had.AllAgents(ctx)
	}
	a, err := s.had.Agents.GetAgent(ctx, &hadv1.GetAgentRequest{Type: names[0]})
	if err != nil {
		return nil, err
	}
	return []*hadv1.Agent{a.GetAgent()}, nil
}

// actionSlack is how much longer than ActionTimeout hares -action waits, for
// the way there and back.
const actionSlack = 5 * time.Second

// resourceAction runs an action of an agent. It is not repeated when the
// connection breaks: each call runs the action once.
func resourceAction(ctx context.Context, s *session, l line) error {
	name, token, system := l.names[0], l.names[1], l.value("sys")
	if system == "" {
		return fmt.Errorf("which system? Name it: -sys S: %w", errUsage)
	}
	limit, err := s.actionTimeout(ctx, name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit+actionSlack)
	defer cancel()
	a, err := s.had.Resources.RunResourceAction(ctx, &hadv1.RunResourceActionRequest{Name: name, System: system, Token: token, Arguments: l.values["actionargs"]})
	if err != nil {
		return err
	}
	fmt.Fprint(s.Out, a.GetOutput())
	if text := a.GetOutput(); text != "" && !strings.HasSuffix(text, "\n") {
		fmt.Fprintln(s.Out)
	}
	if a.GetTruncated() {
		fmt.Fprintln(s.Err, warning(idNoValue, "The action %s printed more than is shown", token).Error())
	}
	if a.GetExitCode() != 0 {
		return errQuiet
	}
	return nil
}

// actionTimeout is the ActionTimeout of the resource's type.
func (s *session) actionTimeout(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	resources, err := s.had.TheResources(ctx, []string{name})
	if err != nil {
		return 0, err
	}
	attributes := resources[0].GetAttributes()
	types, err := s.had.TheTypes(ctx, []string{resources[0].GetType()})
	if err != nil {
		return 0, err
	}
	limit := 30 * time.Second // ActionTimeout's default
	for _, a := range append(types[0].GetAttributes(), attributes...) {
		if d, err := time.ParseDuration(a.GetValue() + "s"); err == nil && a.GetName() == "ActionTimeout" {
			limit = d
		}
	}
	return limit, nil
}
