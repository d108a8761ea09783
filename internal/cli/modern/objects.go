package modern

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

const conditionHelp = "Conditions are Attr=value, Attr!=value and Attr=~value; all must hold."

func (a *app) system() *cobra.Command {
	list := &cobra.Command{
		Use: "list [CONDITION...]", Short: "List the systems", Long: "Lists the systems of the cluster. " + conditionHelp, Example: "  ha system list",
		RunE: read(func(ctx context.Context, args []string) error {
			all, err := a.had.AllSystems(ctx, args)
			if err != nil {
				return err
			}
			if a.json() {
				return a.write(a.Out, ofMessages("systems", all))
			}
			a.printSystems(a.Out, all)
			return nil
		}),
	}
	show := &cobra.Command{
		Use: "show SYSTEM", ValidArgsFunction: a.complete(systems), Short: "Show a system with its attributes", Example: "  ha system show sysA", Args: names(1, "the name of one system"),
		RunE: read(func(ctx context.Context, args []string) error {
			s, err := a.had.Systems.GetSystem(ctx, &hadv1.GetSystemRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(s.GetSystem(), func(w io.Writer) {
				a.printSystems(w, []*hadv1.System{s.GetSystem()})
				printAttributes(w, s.GetSystem().GetAttributes(), "")
			})
		}),
	}
	return branch("system", "Systems of the cluster", slices.Concat([]*cobra.Command{list, show}, a.operations("system"), []*cobra.Command{a.load()}, a.edits("system"))...)
}

// onlyOn leaves out what is not about the system, for JSON.
func groupOnly(groups []*hadv1.Group, system string) {
	if system == "" {
		return
	}
	for _, g := range groups {
		g.Systems = slices.DeleteFunc(g.Systems, func(on *hadv1.GroupOnSystem) bool { return on.GetSystem() != system })
		g.Attributes = slices.DeleteFunc(g.Attributes, elsewhere(system))
	}
}

func resourceOnly(resources []*hadv1.Resource, system string) {
	if system == "" {
		return
	}
	for _, r := range resources {
		r.Systems = slices.DeleteFunc(r.Systems, func(on *hadv1.ResourceOnSystem) bool { return on.GetSystem() != system })
		r.Attributes = slices.DeleteFunc(r.Attributes, elsewhere(system))
	}
}

func elsewhere(system string) func(*hadv1.Attribute) bool {
	return func(a *hadv1.Attribute) bool { return a.GetSystem() != "" && a.GetSystem() != system }
}

func (a *app) group() *cobra.Command {
	var system string
	list := &cobra.Command{
		Use: "list [CONDITION...]", Short: "List the groups with their states", Long: "Lists the service groups with their state on each system. " + conditionHelp,
		Example: "  ha group list\n  ha group list Parallel=1\n  ha group list --system sysA -o json",
		RunE: read(func(ctx context.Context, args []string) error {
			all, err := a.had.AllGroups(ctx, args)
			if err != nil {
				return err
			}
			groupOnly(all, system)
			if a.json() {
				return a.write(a.Out, ofMessages("groups", all))
			}
			a.printGroups(a.Out, all, system)
			return nil
		}),
	}
	show := &cobra.Command{
		Use: "show GROUP", ValidArgsFunction: a.complete(groups), Short: "Show a group with its resources and attributes", Example: "  ha group show app --system sysA", Args: names(1, "the name of one group"),
		RunE: read(func(ctx context.Context, args []string) error {
			g, err := a.had.Groups.GetGroup(ctx, &hadv1.GetGroupRequest{Name: args[0]})
			if err != nil {
				return err
			}
			one := []*hadv1.Group{g.GetGroup()}
			groupOnly(one, system)
			resources, err := a.had.AllResources(ctx, args[0], nil)
			if err != nil {
				return err
			}
			return a.show(g.GetGroup(), func(w io.Writer) {
				a.printGroups(w, one, system)
				fmt.Fprintln(w)
				a.printResources(w, resources, system)
				printAttributes(w, g.GetGroup().GetAttributes(), system)
			})
		}),
	}
	for _, c := range []*cobra.Command{list, show} {
		c.Flags().StringVar(&system, "system", "", "only on this system")
	}
	dependencies := &cobra.Command{
		Use: "dependencies [GROUP...]", ValidArgsFunction: a.complete(groups), Short: "Show which groups require which", Example: "  ha group dependencies",
		RunE: read(func(ctx context.Context, args []string) error {
			d, err := a.had.Groups.ListGroupDependencies(ctx, &hadv1.ListGroupDependenciesRequest{Groups: args})
			if err != nil {
				return err
			}
			return a.show(d, func(w io.Writer) {
				rows := [][]string{{"PARENT", "CHILD", "RELATIONSHIP"}}
				for _, l := range d.GetDependencies() {
					rows = append(rows, []string{l.GetParent(), l.GetChild(), l.GetRelationship()})
				}
				table(w, rows)
			})
		}),
	}
	return branch("group", "Service groups", slices.Concat([]*cobra.Command{list, show, a.explain(), dependencies}, a.operations("group"), a.edits("group"))...)
}

func (a *app) explain() *cobra.Command {
	var limit int32
	c := &cobra.Command{
		Use: "explain GROUP", ValidArgsFunction: a.complete(groups), Short: "Why a group is where it is, and what leads out", Args: names(1, "the name of one group"),
		Long:    "Shows the group's state, what keeps it from being online now with the command that leads out, and the engine's latest decisions about it: which systems were looked at, why each was taken or not, on what evidence; each with the facts that it was taken on, and whether deciding again on them gives the same. The numbers in brackets are the place in the total order (view/message) that logs and events share.",
		Example: "  ha group explain app",
		RunE: read(func(ctx context.Context, args []string) error {
			e, err := a.had.Groups.ExplainGroup(ctx, &hadv1.ExplainGroupRequest{Name: args[0], Limit: limit})
			if err != nil {
				return err
			}
			return a.show(e, func(w io.Writer) {
				a.printGroups(w, []*hadv1.Group{e.GetGroup()}, "")
				if len(e.GetHindrances()) > 0 {
					fmt.Fprintln(w, "\nin its way now:")
				}
				for _, text := range e.GetHindrances() {
					fmt.Fprintln(w, "  "+text)
				}
				if len(e.GetDecisions()) > 0 {
					fmt.Fprintln(w, "\ndecisions, latest first:")
				} else if len(e.GetHindrances()) == 0 {
					fmt.Fprintf(w, "\nnothing was decided about it yet, and nothing keeps it from being online: a group that is new does not start by itself: hagrp -online %s -any\n", args[0])
				}
				for _, d := range e.GetDecisions() {
					printDecision(w, d, args[0], true, a.output == "wide")
				}
			})
		}),
	}
	c.Flags().Int32Var(&limit, "limit", 0, "at most so many decisions (default 20)")
	return c
}

func (a *app) decisions() *cobra.Command {
	var limit int32
	var kind string
	c := &cobra.Command{
		Use: "decisions [GROUP]", ValidArgsFunction: a.complete(groups), Short: "What the engine decided, on which facts", Args: cobra.MaximumNArgs(1),
		Long:    "Shows the engine's latest decisions about one group or about everything, systems and configuration included: why here, why not there, why nothing happened. Each comes with the facts that it was taken on; the engine decides once more on just these, and says whether that gives the same. The last 1,000 are kept, the same on every system. For programs: -o json.",
		Example: "  ha decisions\n  ha decisions app --limit 5\n  ha decisions --kind failover -o json",
		RunE: read(func(ctx context.Context, args []string) error {
			r := &hadv1.ListDecisionsRequest{Kind: kind, Limit: limit}
			if len(args) > 0 {
				r.Group = args[0]
			}
			e, err := a.had.Clusters.ListDecisions(ctx, r)
			if err != nil {
				return err
			}
			return a.show(e, func(w io.Writer) {
				for _, d := range e.GetDecisions() {
					printDecision(w, d, r.Group, true, a.output == "wide")
				}
			})
		}),
	}
	c.Flags().Int32Var(&limit, "limit", 0, "at most so many decisions (default 20)")
	c.Flags().StringVar(&kind, "kind", "", "only decisions of this kind: failover, autostart, fault, refused, ...")
	return c
}

func (a *app) resource() *cobra.Command {
	var system, group string
	list := &cobra.Command{
		Use: "list [CONDITION...]", Short: "List the resources with their states", Long: "Lists resources with their state on each system. " + conditionHelp,
		Example: "  ha resource list --group app\n  ha resource list Type=IP --system sysA",
		RunE: read(func(ctx context.Context, args []string) error {
			all, err := a.had.AllResources(ctx, group, args)
			if err != nil {
				return err
			}
			resourceOnly(all, system)
			if a.json() {
				return a.write(a.Out, ofMessages("resources", all))
			}
			a.printResources(a.Out, all, system)
			return nil
		}),
	}
	list.Flags().StringVar(&group, "group", "", "only resources of this group")
	show := &cobra.Command{
		Use: "show RESOURCE", ValidArgsFunction: a.complete(resources), Short: "Show a resource with its dependencies and attributes", Example: "  ha resource show app_ip", Args: names(1, "the name of one resource"),
		RunE: read(func(ctx context.Context, args []string) error {
			r, err := a.had.Resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: args[0]})
			if err != nil {
				return err
			}
			d, err := a.had.Resources.ListResourceDependencies(ctx, &hadv1.ListResourceDependenciesRequest{Resources: args})
			if err != nil {
				return err
			}
			one := []*hadv1.Resource{r.GetResource()}
			resourceOnly(one, system)
			return a.show(r.GetResource(), func(w io.Writer) {
				a.printResources(w, one, system)
				fmt.Fprintln(w)
				for _, l := range d.GetDependencies() {
					fmt.Fprintf(w, "%s requires %s\n", l.GetParent(), l.GetChild())
				}
				printAttributes(w, r.GetResource().GetAttributes(), system)
			})
		}),
	}
	for _, c := range []*cobra.Command{list, show} {
		c.Flags().StringVar(&system, "system", "", "only on this system")
	}
	return branch("resource", "Resources of groups", slices.Concat([]*cobra.Command{list, show, a.info()}, a.operations("resource"), []*cobra.Command{a.action()}, a.edits("resource"))...)
}

func (a *app) typ() *cobra.Command {
	list := &cobra.Command{
		Use: "list [CONDITION...]", Short: "List the resource types", Long: "Lists the resource types. " + conditionHelp, Example: "  ha type list",
		RunE: read(func(ctx context.Context, args []string) error {
			all, err := a.had.AllTypes(ctx, args)
			if err != nil {
				return err
			}
			if a.json() {
				return a.write(a.Out, ofMessages("types", all))
			}
			rows := [][]string{{"TYPE", "OPERATIONS", "RESOURCES"}}
			for _, t := range all {
				rows = append(rows, []string{t.GetName(), t.GetOperations(), strconv.Itoa(len(t.GetResources()))})
			}
			table(a.Out, rows)
			return nil
		}),
	}
	show := &cobra.Command{
		Use: "show TYPE", ValidArgsFunction: a.complete(types), Short: "Show a resource type with its static attributes", Example: "  ha type show IP", Args: names(1, "the name of one type"),
		RunE: read(func(ctx context.Context, args []string) error {
			t, err := a.had.Types.GetType(ctx, &hadv1.GetTypeRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(t.GetType(), func(w io.Writer) {
				fmt.Fprintf(w, "type %s, operations %s\nresources: %s\n", t.GetType().GetName(), t.GetType().GetOperations(), or(strings.Join(t.GetType().GetResources(), ", "), "none"))
				printAttributes(w, t.GetType().GetAttributes(), "")
			})
		}),
	}
	return branch("type", "Resource types", append([]*cobra.Command{list, show}, a.edits("type")...)...)
}

func (a *app) cluster() *cobra.Command {
	show := &cobra.Command{
		Use: "show", Short: "Show the cluster with its attributes", Example: "  ha cluster show", Args: noNames,
		RunE: read(func(ctx context.Context, _ []string) error {
			c, err := a.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
			if err != nil {
				return err
			}
			return a.show(c.GetCluster(), func(w io.Writer) {
				fmt.Fprintf(w, "cluster %s is %s\n", c.GetCluster().GetName(), c.GetCluster().GetState())
				printAttributes(w, c.GetCluster().GetAttributes(), "")
			})
		}),
	}
	r := operate.Request{}
	stop := &cobra.Command{
		Use: "stop", Short: "Stop the engine on all systems, or on some", Args: noNames,
		Long:    "Takes all groups offline and stops had on all systems, or on those of --system. With --force the applications run on, unwatched. gab and fencing stay: see ha node stop. VCS: hastop -all, hastop -sys.",
		Example: "  ha cluster stop --plan\n  ha cluster stop --system sysB --evacuate",
		RunE: bounded(connect.ChangeTimeout, func(ctx context.Context, _ []string) error {
			r.All = len(r.Systems) == 0
			if r.All && r.Evacuate || r.Force && r.Evacuate {
				return usagef("--evacuate goes with --system only, and not with --force")
			}
			o, err := operate.Stop(ctx, a.had, r)
			if err != nil {
				return err
			}
			return a.printOperation(o, r.Plan, "the stop is ordered")
		}),
	}
	stop.Flags().StringSliceVar(&r.Systems, "system", nil, "only on these systems")
	stop.Flags().BoolVar(&r.Force, "force", false, "leave applications running and ask nobody")
	stop.Flags().BoolVar(&r.Evacuate, "evacuate", false, "move the groups to other systems first")
	changeFlags(stop, &r)
	return branch("cluster", "The cluster as a whole", append([]*cobra.Command{show, stop}, a.edits("cluster")...)...)
}

func (a *app) agent() *cobra.Command {
	system := ""
	print := func(w io.Writer, all []*hadv1.Agent) {
		rows := [][]string{{"TYPE", "SYSTEM", "STATE", "PID", "RESTARTS", "WHY"}}
		for _, g := range all {
			rows = append(rows, []string{g.GetType(), g.GetSystem(), g.GetState(), strconv.Itoa(int(g.GetPid())), strconv.Itoa(int(g.GetRestarts())), g.GetReason()})
		}
		table(w, rows)
	}
	list := &cobra.Command{
		Use: "list", Short: "List the agents of all systems, or of one", Example: "  ha agent list\n  ha agent list --system sysA", Args: noNames,
		Long: "Lists the agents with their states. The process id is known on the agent's own system alone.",
		RunE: read(func(ctx context.Context, _ []string) error {
			all, err := a.had.AgentsOf(ctx, system)
			if err != nil {
				return err
			}
			if a.json() {
				return a.write(a.Out, ofMessages("agents", all))
			}
			print(a.Out, all)
			return nil
		}),
	}
	list.Flags().StringVar(&system, "system", "", "only of this system")
	show := &cobra.Command{
		Use: "show TYPE", ValidArgsFunction: a.complete(types), Short: "Show the agent of a type on this system, or on another", Example: "  ha agent show IP --system sysA", Args: names(1, "the name of one type"),
		RunE: read(func(ctx context.Context, args []string) error {
			g, err := a.had.Agents.GetAgent(ctx, &hadv1.GetAgentRequest{Type: args[0], System: system})
			if err != nil {
				return err
			}
			return a.show(g.GetAgent(), func(w io.Writer) { print(w, []*hadv1.Agent{g.GetAgent()}) })
		}),
	}
	show.Flags().StringVar(&system, "system", "", "the system (default: this one)")
	return branch("agent", "Agents: the processes that know resource types", append([]*cobra.Command{list, show}, a.operations("agent")...)...)
}
