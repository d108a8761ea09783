package modern

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// completeTimeout bounds what a shell waits for when somebody presses the tab
// key.
const completeTimeout = 500 * time.Millisecond

// kind is what a word on the command line names.
type kind string

// The kinds. An attribute's kind is "attribute of " and that of the object
// named before it.
const (
	none      kind = ""
	groups    kind = "group"
	resources kind = "resource"
	systems   kind = "system"
	types     kind = "type"
	agents    kind = "agent"
	clusters  kind = "cluster"
	versions  kind = "version"
	// overrides: static attributes that a resource may override; overridden:
	// those that it does.
	overrides  kind = "overridable attribute"
	overridden kind = "overridden attribute"
	actions    kind = "action of a resource"
)

const (
	attributePrefix = "attribute of "
	valuePrefix     = "value of an attribute of "
	wordPrefix      = "one of "
)

func attributesOf(k kind) kind { return attributePrefix + k }

// valuesOf are the words that the attribute named before may be set to.
func valuesOf(k kind) kind { return valuePrefix + k }

// oneOf are fixed words.
func oneOf(words ...string) kind { return kind(wordPrefix + strings.Join(words, " ")) }

// complete offers live names for the words of a command, asked of had.
func (a *app) complete(words ...kind) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(words) == 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		k := words[min(len(args), len(words)-1)]
		if len(args) >= len(words) && k != groups && k != resources && k != systems && k != types {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeTimeout)
		defer cancel()
		var all []string
		for _, name := range a.live(ctx, k, args) {
			bare, _, _ := strings.Cut(name, "\t")
			if strings.HasPrefix(name, begun) && !slices.Contains(args, bare) {
				all = append(all, name)
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}

// live are the names of a kind, with what a person wants to know of each
// behind a tab; none if had does not answer.
func (a *app) live(ctx context.Context, k kind, args []string) []string {
	var names []string
	add := func(name, about string) {
		if about != "" {
			name += "\t" + about
		}
		names = append(names, name)
	}
	switch k {
	case groups:
		all, _ := a.had.AllGroups(ctx, nil)
		for _, g := range all {
			add(g.GetName(), whereOnline(g))
		}
	case resources:
		all, _ := a.had.AllResources(ctx, "", nil)
		for _, r := range all {
			add(r.GetName(), r.GetType()+" of "+r.GetGroup())
		}
	case systems:
		all, _ := a.had.AllSystems(ctx, nil)
		for _, s := range all {
			add(s.GetName(), s.GetState())
		}
	case types:
		all, _ := a.had.AllTypes(ctx, nil)
		for _, t := range all {
			add(t.GetName(), "")
		}
	case agents:
		all, _ := a.had.AllAgents(ctx)
		for _, g := range all {
			add(g.GetType(), g.GetState())
		}
	case versions:
		for _, v := range a.configVersions(ctx) {
			add(versionName(v), v.GetSummary())
		}
	default:
		for _, name := range a.attributeWords(ctx, string(k), args) {
			add(name, "")
		}
	}
	return names
}

// attributeWords are names and values of attributes, and fixed words.
func (a *app) attributeWords(ctx context.Context, k string, args []string) []string {
	if words, ok := strings.CutPrefix(k, wordPrefix); ok {
		return strings.Fields(words)
	}
	if of, ok := strings.CutPrefix(k, attributePrefix); ok {
		return slices.DeleteFunc(a.attributeNames(ctx, kind(of), args), func(name string) bool { return !maincf.Settable(of, name) })
	}
	if of, ok := strings.CutPrefix(k, valuePrefix); ok && len(args) > 0 {
		return maincf.Allowed(of, args[len(args)-1])
	}
	switch kind(k) {
	case overrides:
		return maincf.Overridable()
	case overridden:
		own := a.attributeNames(ctx, resources, args)
		return slices.DeleteFunc(maincf.Overridable(), func(name string) bool { return !slices.Contains(own, name) })
	case actions:
		return a.actionNames(ctx, args)
	}
	return nil
}

// actionNames are the SupportedActions of the resource that is named first.
func (a *app) actionNames(ctx context.Context, args []string) []string {
	if len(args) == 0 {
		return nil
	}
	r, _ := a.had.Resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: args[0]})
	t, _ := a.had.Types.GetType(ctx, &hadv1.GetTypeRequest{Name: r.GetResource().GetType()})
	for _, attr := range t.GetType().GetAttributes() {
		if attr.GetName() == "SupportedActions" {
			return strings.Fields(attr.GetValue())
		}
	}
	return nil
}

func whereOnline(g *hadv1.Group) string {
	var at []string
	for _, on := range g.GetSystems() {
		if strings.Contains(on.GetState(), "ONLINE") {
			at = append(at, on.GetSystem())
		}
	}
	if len(at) == 0 {
		return "offline"
	}
	return "online on " + strings.Join(at, ", ")
}

// attributeNames are those of the object that is named first.
func (a *app) attributeNames(ctx context.Context, of kind, args []string) []string {
	var attributes []*hadv1.Attribute
	if of != clusters && len(args) == 0 {
		return nil
	}
	switch of {
	case clusters:
		c, _ := a.had.Clusters.GetCluster(ctx, &hadv1.GetClusterRequest{})
		attributes = c.GetCluster().GetAttributes()
	case groups:
		g, _ := a.had.Groups.GetGroup(ctx, &hadv1.GetGroupRequest{Name: args[0]})
		attributes = g.GetGroup().GetAttributes()
	case resources:
		r, _ := a.had.Resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: args[0]})
		attributes = r.GetResource().GetAttributes()
	case systems:
		s, _ := a.had.Systems.GetSystem(ctx, &hadv1.GetSystemRequest{Name: args[0]})
		attributes = s.GetSystem().GetAttributes()
	case types:
		t, _ := a.had.Types.GetType(ctx, &hadv1.GetTypeRequest{Name: args[0]})
		attributes = t.GetType().GetAttributes()
	}
	var names []string
	for _, attr := range attributes {
		names = append(names, attr.GetName())
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// completeFlags lets the flags that name objects complete, in the whole tree.
func (a *app) completeFlags(c *cobra.Command) {
	for flag, k := range map[string]kind{"system": systems, "to": systems, "group": groups, "resource": resources, "check-partial": systems, "agent": types} {
		if c.Flags().Lookup(flag) != nil {
			_ = c.RegisterFlagCompletionFunc(flag, a.complete(k))
		}
	}
	for _, below := range c.Commands() {
		a.completeFlags(below)
	}
}
