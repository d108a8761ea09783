package server

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// preswitchAction is the action that PreSwitch asks for, in any spelling of
// its letters: VCS's agents call it PreSwitch, too.
const preswitchAction = "preswitch"

// asker is a resource to ask before its group is switched.
type asker struct{ resource, token string }

// askers are the resources of a group whose types have the action, if the
// group asks for it (PreSwitch = 1).
func askers(c *maincf.Config, group string) []asker {
	if c == nil || c.Group(group) == nil {
		return nil
	}
	g := c.Group(group)
	if v, _ := c.GroupAttr(g, "PreSwitch", ""); !v.Bool() {
		return nil
	}
	var out []asker
	for _, r := range g.Resources {
		if enabled, _ := c.ResourceAttr(r, "Enabled", ""); !enabled.Bool() {
			continue
		}
		typ, _ := c.TypeAttr(r.Type, "SupportedActions")
		if at := slices.IndexFunc(typ.List, func(t string) bool { return strings.EqualFold(t, preswitchAction) }); at >= 0 {
			out = append(out, asker{r.Name, typ.List[at]})
		}
	}
	return out
}

// preswitch asks the resources of a group, on the system that it is to go to,
// whether they can be had there; nothing is taken offline before all have
// agreed. With -any that is the system that would be chosen now. A switch that
// would be refused is refused without asking, and one that was carried out is
// not asked about again (R15).
func (a groupAPI) preswitch(ctx context.Context, c engine.Command) error {
	if c.NoPre || localrpc.MayChange(ctx) != nil {
		return nil
	}
	look, err := a.look(ctx)
	if err != nil {
		return err
	}
	all := askers(look.cfg, c.Group)
	if len(all) == 0 {
		return nil
	}
	repeated := false
	if err := a.do(ctx, func() { _, repeated = a.loop.engine.Repeated(c) }); err != nil || repeated {
		return err
	}
	plan, err := a.operate(ctx, c, true)
	if err != nil {
		return err
	}
	to := c.System
	if c.Any {
		to = chosen(plan)
	}
	type reply struct {
		of  asker
		why string
	}
	replies := make(chan reply, len(all))
	for _, one := range all {
		go func() { replies <- reply{one, a.asked(ctx, one, to)} }() // each is bounded by its ActionTimeout
	}
	var no []string
	for range all {
		if r := <-replies; r.why != "" {
			no = append(no, r.of.resource+": "+r.why)
		}
	}
	if len(no) > 0 {
		slices.Sort(no)
		return refusal(codes.FailedPrecondition, "PRESWITCH", "V-16-1-90184", "WARNING",
			fmt.Sprintf("Group %s is not switched to system %s: action preswitch does not agree (%s); hagrp -switch %s -to %s -nopre does not ask", c.Group, to, strings.Join(no, "; "), c.Group, to))
	}
	return nil
}

// chosen is where a plan takes the group.
func chosen(plan *hadv1.Operation) string {
	for _, d := range plan.GetDecisions() {
		for _, c := range d.GetCandidates() {
			if c.GetChosen() {
				return c.GetSystem()
			}
		}
	}
	return ""
}

// asked runs the action and says why the answer is no, or "".
func (a groupAPI) asked(ctx context.Context, of asker, system string) string {
	out, err := resourceAPI{api: a.api}.RunResourceAction(ctx, &hadv1.RunResourceActionRequest{Name: of.resource, System: system, Token: of.token})
	first, _, _ := strings.Cut(out.GetOutput(), "\n")
	switch {
	case err != nil:
		return status.Convert(err).Message()
	case out.GetExitCode() != 0:
		return strings.TrimSpace(fmt.Sprintf("exit code %d: %s", out.GetExitCode(), strings.TrimSpace(first)))
	}
	return ""
}
