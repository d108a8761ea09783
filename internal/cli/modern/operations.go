package modern

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// operations makes the commands of an object from the table.
func (a *app) operations(object string) []*cobra.Command {
	var all []*cobra.Command
	for _, o := range operate.Table() {
		if o.Object == object {
			all = append(all, a.operation(o))
		}
	}
	return all
}

// changeFlags are the flags that every changing command has.
func changeFlags(c *cobra.Command, r *operate.Request) {
	c.Flags().BoolVar(&r.Plan, "plan", false, "tell what would happen and do nothing")
	c.Flags().StringVar(&r.RequestID, "request-id", "", "id of the operation; a repeat under the same id changes nothing more (default: a new one)")
}

func (a *app) operation(o operate.Operation) *cobra.Command {
	r := operate.Request{}
	inVCS := ""
	if o.Command != "" {
		inVCS = " VCS: " + o.Command + " -" + o.Action + "."
	}
	c := &cobra.Command{
		Use: o.Verb + " " + strings.ToUpper(o.Object), ValidArgsFunction: a.complete(kind(o.Object)), Short: o.Short, Example: o.Example, Args: names(1, "the name of one "+o.Object),
		Long: o.Long + "\n\nIt returns when the order is taken on all systems; follow it with ha events, or give --wait where there is one." + inVCS,
	}
	target := "system"
	if o.Target != "" {
		target = o.Target
	}
	if o.System != operate.NoSystem {
		c.Flags().StringVar(&r.System, target, "", "the system")
	}
	for _, option := range o.Options {
		if option.Text != nil {
			c.Flags().StringVar(option.Text(&r), option.Flag, "", option.Help)
			continue
		}
		c.Flags().BoolVar(option.Set(&r), option.Flag, false, option.Help)
	}
	changeFlags(c, &r)
	var wait time.Duration
	_, waits := goals[o.Verb]
	waits = waits && o.Object == "group"
	if waits {
		waitFlag(c, &wait, "until it is done")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		r.Name = args[0]
		switch {
		case o.System == operate.SystemRequired && r.System == "":
			return usagef("which system? Name it: --%s", target)
		case o.System == operate.SystemOrAny && (r.System == "") != r.Any:
			return usagef("which system? Name it: --%s, or --any lets the engine choose", target)
		}
		limit := connect.ChangeTimeout
		if o.Action == "switch" {
			limit = connect.SwitchTimeout
		}
		ctx, cancel := context.WithTimeout(c.Context(), limit)
		defer cancel()
		answer, err := o.Do(ctx, a.had, r)
		if err != nil {
			return err
		}
		if err := a.printOperation(answer, r.Plan, fmt.Sprintf("%s %s: %s is ordered", o.Object, r.Name, o.Verb)); err != nil {
			return err
		}
		if r.Plan || wait == 0 {
			return nil
		}
		return a.await(c.Context(), wait, o.Verb, r)
	}
	return c
}

// goal judges the state words of a group on the systems that an operation is
// about: reached, or failed for good.
type goal func(states map[string][]string) (reached, failed bool)

func has(words []string, any ...string) bool {
	return slices.ContainsFunc(any, func(word string) bool { return slices.Contains(words, word) })
}

var goals = map[string]goal{"online": isOnline, "switch": isOnline, "offline": isOffline}

// isOnline: it is online somewhere of these; faulted and no longer starting
// anywhere is a failure.
func isOnline(states map[string][]string) (reached, failed bool) {
	moving, faulted := false, false
	for _, words := range states {
		if slices.Equal(words, []string{"ONLINE"}) {
			reached = true
		}
		moving = moving || has(words, "STARTING", "STOPPING")
		faulted = faulted || has(words, "FAULTED")
	}
	return reached, faulted && !moving
}

// isOffline: nothing of it is left on any of these.
func isOffline(states map[string][]string) (reached, failed bool) {
	for _, words := range states {
		if has(words, "ONLINE", "PARTIAL", "STARTING", "STOPPING") {
			return false, false
		}
	}
	return true, false
}

// await looks at the group until the goal of a verb is reached.
func (a *app) await(ctx context.Context, limit time.Duration, verb string, r operate.Request) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last []string
	progress := progress{a: a, told: map[string]string{}}
	for {
		g, err := a.lookAt(ctx, r.Name)
		if err == nil {
			progress.look(ctx, r)
		}
		ranOut := a.had.RanOut(ctx, err)
		if err != nil && !ranOut {
			return err
		}
		states := map[string][]string{}
		if err == nil {
			last = last[:0]
		}
		for _, on := range g.GetGroup().GetSystems() {
			last = append(last, on.GetSystem()+" "+on.GetState())
			if r.System == "" || r.System == on.GetSystem() {
				states[on.GetSystem()] = strings.Split(on.GetState(), "|")
			}
		}
		if err == nil {
			reached, failed := goals[verb](states)
			if reached {
				if !a.json() {
					fmt.Fprintf(a.Out, "group %s: %s\n", r.Name, strings.Join(last, ", "))
				}
				return nil
			}
			if failed {
				return fmt.Errorf("group %s does not come online: %s; see: ha group explain %s", r.Name, strings.Join(last, ", "), r.Name)
			}
		}
		if !ranOut {
			select {
			case <-ctx.Done():
			case <-tick.C:
				continue
			}
		}
		return fmt.Errorf("group %s: %s is not done after %v: %s; see: ha group explain %s", r.Name, verb, limit, strings.Join(last, ", "), r.Name)
	}
}

// progress tells on standard error what is waited for, resource by resource.
type progress struct {
	a    *app
	told map[string]string // last line by resource and system
}

// look tells what changed since it looked last; the first look tells what is
// under way only.
func (p *progress) look(ctx context.Context, r operate.Request) {
	ctx, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	all, err := p.a.had.AllResources(ctx, r.Name, nil)
	if err != nil {
		return // the group itself is looked at anyway
	}
	first := len(p.told) == 0
	for _, res := range all {
		for _, on := range res.GetSystems() {
			line := res.GetName() + " on " + on.GetSystem() + ": " + resourceState(on)
			if on.GetReason() != "" && (strings.Contains(on.GetState(), "FAULTED") || on.GetIstateCode() != "") {
				line += ": " + on.GetReason()
			}
			key := res.GetName() + "@" + on.GetSystem()
			if p.told[key] != line && (!first || on.GetIstateCode() != "") {
				fmt.Fprintln(p.a.Err, "ha: "+time.Now().Format("15:04:05")+" "+line)
			}
			p.told[key] = line
		}
	}
}

func (a *app) lookAt(ctx context.Context, name string) (*hadv1.GetGroupResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	return a.had.Groups.GetGroup(ctx, &hadv1.GetGroupRequest{Name: name})
}
