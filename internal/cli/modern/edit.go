package modern

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// writableHelp stands in the help of every change of the configuration.
const writableHelp = "\n\nIt changes the configuration on all systems at once, or nowhere: make it writable first (ha config writable), look with --plan, and write it to the disks afterwards (ha config dump --read-only)."

// editFlags are what the words of an edit are made from.
type editFlags struct {
	add, update, delete, clear   bool
	force, parallel, enable      bool
	static, temporary            bool
	system, valueType, dimension string
	systems, set                 []string
	min                          int
}

// editVerb is one way to change the configuration: the table behind all of
// them. What the words mean is maincf's knowledge.
type editVerb struct {
	object, verb, usage  string
	least, most          int // names and values; most 0: no bound
	short, long, example string
	flags                func(c *cobra.Command, f *editFlags)
	check                func(f *editFlags) error
	edits                func(f *editFlags, args []string) [][]string
	complete             []kind // of the first arguments
}

// one is a single edit.
func one(words ...string) [][]string { return [][]string{words} }

// literal escapes what would be read as an option or an escape.
func literal(values []string) []string {
	out := slices.Clone(values)
	for i, v := range out {
		if strings.HasPrefix(v, "-") || strings.HasPrefix(v, "%") {
			out[i] = "%" + v
		}
	}
	return out
}

// modification are the words of -modify.
func modification(program string, f *editFlags, object, values []string) [][]string {
	attr, values := values[0], values[1:]
	words := append([]string{program, "-modify"}, object...)
	words = append(words, attr)
	switch {
	case f.clear:
		words = append(words, "-delete", "-keys")
	case f.delete:
		words = append(words, "-delete")
	case f.add:
		words = append(words, "-add")
	case f.update:
		words = append(words, "-update")
	}
	words = append(words, literal(values)...)
	if f.system != "" {
		words = append(words, "-sys", f.system)
	}
	return [][]string{words}
}

func modifyFlags(c *cobra.Command, f *editFlags) {
	c.Flags().BoolVar(&f.add, "add", false, "add keys or values to a list")
	c.Flags().BoolVar(&f.update, "update", false, "give keys of a list other values")
	c.Flags().BoolVar(&f.delete, "delete", false, "take keys out of a list")
	c.Flags().BoolVar(&f.clear, "clear", false, "make the list empty")
	c.MarkFlagsMutuallyExclusive("add", "update", "delete", "clear")
}

func modifyOnSystem(c *cobra.Command, f *editFlags) {
	modifyFlags(c, f)
	c.Flags().StringVar(&f.system, "system", "", "the value for one system, of a local attribute")
}

const modifyLong = "Sets an attribute. A list (vector, keylist, association) is replaced as a whole, or changed with --add, --update, --delete and --clear. A value that begins with - stands behind --."

// setting is "Attr=value".
func setting(program, object, text string) ([]string, error) {
	attr, value, ok := strings.Cut(text, "=")
	if !ok || attr == "" {
		return nil, usagef("--set %s: write Attribute=value", text)
	}
	return append([]string{program, "-modify", object, attr}, literal(strings.Fields(value))...), nil
}

// isScalar says whether an attribute of a type has one value, whose blanks are
// its own and part no elements.
func (a *app) isScalar(ctx context.Context, typ, attr string) bool {
	cfg, err := a.running(ctx)
	if err != nil || cfg.Type(typ) == nil {
		return false // the engine says what is wrong
	}
	d, declared := cfg.Type(typ).Decl(attr)
	return declared && d.Dim == maincf.DimScalar
}

// running is the configuration that the engine runs.
func (a *app) running(ctx context.Context) (*maincf.Config, error) {
	c, err := a.had.Config.GetConfig(ctx, &hadv1.GetConfigRequest{})
	if err != nil {
		return nil, err
	}
	files := map[string]string{"types.cf": etc.TypesCF}
	for _, f := range c.GetFiles() {
		files[f.GetName()] = f.GetText()
	}
	cfg, _, err := maincf.LoadMap("main.cf", files)
	return cfg, err
}

// object makes the verbs that are the same for several kinds of objects.
func objectVerbs(object, program string, k kind) []editVerb {
	upper := strings.ToUpper(object)
	sample := map[string]string{"group": "app", "resource": "app_ip"}[object]
	attr := map[string]string{"group": "Authority", "resource": "Device"}[object]
	return []editVerb{
		{object: object, verb: "local", usage: upper + " ATTRIBUTE", least: 2, most: 2, short: "Let an attribute have a value for each system",
			long:    "Makes an attribute local: each system then has a value of its own, set with modify --system.",
			example: "  ha " + object + " local " + sample + " " + attr, complete: []kind{k, attributesOf(k)},
			edits: func(_ *editFlags, a []string) [][]string { return one(program, "-local", a[0], a[1]) }},
		{object: object, verb: "global", usage: upper + " ATTRIBUTE [VALUE...]", least: 2, short: "Let an attribute have one value for all systems",
			long:    "Makes a local attribute global again, with this value.",
			example: "  ha " + object + " global " + sample + " " + attr + " 0", complete: []kind{k, attributesOf(k)},
			edits: func(_ *editFlags, a []string) [][]string {
				return one(append([]string{program, "-global", a[0], a[1]}, literal(a[2:])...)...)
			}},
	}
}

// editVerbs are all of them.
func editVerbs() []editVerb {
	all := append(objectVerbs("group", "hagrp", groups), objectVerbs("resource", "hares", resources)...)
	for _, o := range []struct {
		object, program, sample, attr string
		k                             kind
	}{{"group", "hagrp", "app", "SystemList --add sysC 2", groups}, {"resource", "hares", "app_ip", "Address 192.0.2.8", resources},
		{"system", "hasys", "sysA", "Capacity 200", systems}, {"type", "hatype", "IP", "MonitorInterval 30", types}} {
		flags := modifyOnSystem
		if o.object == "system" || o.object == "type" {
			flags = modifyFlags
		}
		all = append(all, editVerb{object: o.object, verb: "modify", usage: strings.ToUpper(o.object) + " ATTRIBUTE [VALUE...]", least: 2,
			short: "Set an attribute", long: modifyLong, example: "  ha " + o.object + " modify " + o.sample + " " + o.attr,
			flags: flags, complete: []kind{o.k, attributesOf(o.k), valuesOf(o.k)},
			edits: func(f *editFlags, a []string) [][]string { return modification(o.program, f, a[:1], a[1:]) }})
		del := editVerb{object: o.object, verb: "delete", usage: strings.ToUpper(o.object), least: 1, most: 1,
			short: "Take it out of the configuration", long: "Takes it out of the configuration. What others still need, or what is online, is not deleted.",
			example: "  ha " + o.object + " delete " + o.sample, complete: []kind{o.k},
			edits: func(f *editFlags, a []string) [][]string {
				if f.force {
					return one(o.program, "-delete", "-force", a[0])
				}
				return one(o.program, "-delete", a[0])
			}}
		if o.object == "resource" {
			del.flags = func(c *cobra.Command, f *editFlags) {
				c.Flags().BoolVar(&f.force, "force", false, "although it is online: what it stands for is left as it is")
			}
		}
		all = append(all, del)
	}
	return append(all, otherVerbs()...)
}

func otherVerbs() []editVerb {
	return []editVerb{
		{object: "group", verb: "add", usage: "GROUP", least: 1, most: 1, short: "Add a group", example: "  ha group add web --system sysA --system sysB",
			long: "Adds a group. The systems of --system become its SystemList, in this order of priority.",
			flags: func(c *cobra.Command, f *editFlags) {
				c.Flags().StringSliceVar(&f.systems, "system", nil, "its systems, the preferred first")
				c.Flags().BoolVar(&f.parallel, "parallel", false, "it runs on several systems at once")
			},
			edits: func(f *editFlags, a []string) [][]string {
				edits := one("hagrp", "-add", a[0])
				if f.parallel {
					edits = append(edits, []string{"hagrp", "-modify", a[0], "Parallel", "1"})
				}
				if len(f.systems) > 0 {
					list := []string{"hagrp", "-modify", a[0], "SystemList"}
					for i, s := range f.systems {
						list = append(list, s, strconv.Itoa(i))
					}
					edits = append(edits, list)
				}
				return edits
			}},
		{object: "group", verb: "link", usage: "PARENT CHILD online|offline local|global|remote|site [soft|firm|hard]", least: 4, most: 5,
			short: "Make a group depend on another", example: "  ha group link app db online local firm",
			complete: []kind{groups, groups, oneOf("online", "offline"), oneOf("local", "global", "remote", "site"), oneOf("soft", "firm", "hard")},
			long:     "The parent then comes online only if the child is online (or offline) on the same system, anywhere, or on another one. What happens to the parent when the child faults is soft, firm or hard: see docs/spec/engine.md.",
			edits:    func(_ *editFlags, a []string) [][]string { return one(append([]string{"hagrp", "-link"}, a...)...) }},
		{object: "group", verb: "unlink", usage: "PARENT CHILD", least: 2, most: 2, short: "End a dependency between groups", example: "  ha group unlink app db", complete: []kind{groups, groups},
			edits: func(_ *editFlags, a []string) [][]string { return one("hagrp", "-unlink", a[0], a[1]) }},
		{object: "resource", verb: "add", usage: "RESOURCE TYPE GROUP", least: 3, most: 3, short: "Add a resource to a group",
			example: "  ha resource add web_ip IP app --set Device=eth0 --set Address=192.0.2.9 --enable", complete: []kind{none, types, groups},
			long: "Adds a resource, with attributes by --set, as one change. It is monitored only when Enabled is 1: --enable.",
			flags: func(c *cobra.Command, f *editFlags) {
				c.Flags().StringArrayVar(&f.set, "set", nil, "Attribute=value; blanks part the elements of a list, and belong to the value of any other attribute")
				c.Flags().BoolVar(&f.enable, "enable", false, "set Enabled, so that it is monitored at once")
			},
			edits: func(f *editFlags, a []string) [][]string {
				edits := one("hares", "-add", a[0], a[1], a[2])
				if f.enable {
					edits = append(edits, []string{"hares", "-modify", a[0], "Enabled", "1"})
				}
				return edits
			}},
		{object: "resource", verb: "link", usage: "PARENT CHILD...", least: 2, short: "Make a resource require others", example: "  ha resource link app_ip app_nic\n  ha resource link app disk1 disk2 --min 1",
			complete: []kind{resources, resources}, long: "The parent is brought online after the children and taken offline before them. With --min N of several children so many are enough.",
			flags: func(c *cobra.Command, f *editFlags) {
				c.Flags().IntVar(&f.min, "min", 0, "so many of the children are enough (atleast)")
			},
			edits: func(f *editFlags, a []string) [][]string {
				if f.min > 0 {
					return one("hares", "-link", a[0], strings.Join(a[1:], ","), "-min", strconv.Itoa(f.min))
				}
				var edits [][]string
				for _, child := range a[1:] {
					edits = append(edits, []string{"hares", "-link", a[0], child})
				}
				return edits
			}},
		{object: "resource", verb: "unlink", usage: "PARENT CHILD...", least: 2, short: "End dependencies of a resource", example: "  ha resource unlink app_ip app_nic", complete: []kind{resources, resources},
			edits: func(_ *editFlags, a []string) [][]string {
				return one("hares", "-unlink", a[0], strings.Join(a[1:], ","))
			}},
		{object: "resource", verb: "override", usage: "RESOURCE ATTRIBUTE", least: 2, most: 2, short: "Give one resource its own value of a type's attribute",
			example: "  ha resource override app_ip MonitorInterval\n  ha resource modify app_ip MonitorInterval 5", complete: []kind{resources, overrides},
			long:  "Copies a static attribute of the type (MonitorInterval, RestartLimit, ...) to this resource, where modify then sets it.",
			edits: func(_ *editFlags, a []string) [][]string { return one("hares", "-override", a[0], a[1]) }},
		{object: "resource", verb: "undo-override", usage: "RESOURCE ATTRIBUTE", least: 2, most: 2, short: "Let the type's value hold again", example: "  ha resource undo-override app_ip MonitorInterval",
			complete: []kind{resources, overridden},
			edits:    func(_ *editFlags, a []string) [][]string { return one("hares", "-undo_override", a[0], a[1]) }},
		{object: "system", verb: "add", usage: "SYSTEM", least: 1, most: 1, short: "Add a system", example: "  ha system add sysC",
			long:  "Adds a system to the configuration. llthosts on all systems must name it, too.",
			edits: func(_ *editFlags, a []string) [][]string { return one("hasys", "-add", a[0]) }},
		{object: "type", verb: "add", usage: "TYPE", least: 1, most: 1, short: "Add a resource type", example: "  ha type add MyApp",
			long:  "Adds a resource type; give it attributes with ha attribute add, and install its agent on the systems.",
			edits: func(_ *editFlags, a []string) [][]string { return one("hatype", "-add", a[0]) }},
		{object: "cluster", verb: "modify", usage: "ATTRIBUTE [VALUE...]", least: 1, short: "Set an attribute of the cluster", long: modifyLong, example: "  ha cluster modify LogSize 67108864",
			flags: modifyFlags, complete: []kind{attributesOf(clusters), valuesOf(clusters)},
			edits: func(f *editFlags, a []string) [][]string { return modification("haclus", f, nil, a) }},
		{object: "attribute", verb: "add", usage: "TYPE ATTRIBUTE [DEFAULT...]", least: 2, short: "Give a type another attribute", example: "  ha attribute add MyApp Ports --type integer --dimension keylist",
			complete: []kind{types}, long: "Adds an attribute to a type. --static: one value for all its resources; --temporary: not kept when the cluster stops.",
			flags: func(c *cobra.Command, f *editFlags) {
				attributeFlags(c, f)
				c.Flags().StringVar(&f.valueType, "type", "", "string (default), integer, boolean or float")
				c.Flags().StringVar(&f.dimension, "dimension", "", "scalar (default), vector, keylist or assoc")
			},
			check: func(f *editFlags) error {
				if err := amongWords("--type", f.valueType, "string", "integer", "boolean", "float"); err != nil {
					return err
				}
				return amongWords("--dimension", f.dimension, "scalar", "vector", "keylist", "assoc")
			},
			edits: func(f *editFlags, a []string) [][]string {
				words := append([]string{"haattr", "-add"}, f.scope()...)
				words = append(words, a[0], a[1])
				for _, word := range []string{f.valueType, f.dimension} {
					if word != "" {
						words = append(words, "-"+word)
					}
				}
				return one(append(words, literal(a[2:])...)...)
			}},
		{object: "attribute", verb: "default", usage: "TYPE ATTRIBUTE VALUE...", least: 3, short: "Set the default of a type's attribute", example: "  ha attribute default MyApp Ports 80 443", complete: []kind{types, attributesOf(types)},
			edits: func(_ *editFlags, a []string) [][]string {
				return one(append([]string{"haattr", "-default", a[0], a[1]}, literal(a[2:])...)...)
			}},
		{object: "attribute", verb: "delete", usage: "TYPE ATTRIBUTE", least: 2, most: 2, short: "Take an attribute from a type", example: "  ha attribute delete MyApp Ports", complete: []kind{types, attributesOf(types)},
			flags: attributeFlags,
			edits: func(f *editFlags, a []string) [][]string {
				return one(append(append([]string{"haattr", "-delete"}, f.scope()...), a[0], a[1])...)
			}},
	}
}

// amongWords refuses the value of a flag that is none of its words; "" is none.
func amongWords(flag, value string, words ...string) error {
	if value == "" || slices.Contains(words, value) {
		return nil
	}
	hint := "; it is one of " + strings.Join(words, ", ")
	if near := maincf.Nearest(value, words); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return usagef("%s %s%s", flag, value, hint)
}

func attributeFlags(c *cobra.Command, f *editFlags) {
	c.Flags().BoolVar(&f.static, "static", false, "one value for all resources of the type")
	c.Flags().BoolVar(&f.temporary, "temporary", false, "not kept when the cluster stops")
	c.MarkFlagsMutuallyExclusive("static", "temporary")
}

func (f *editFlags) scope() []string {
	switch {
	case f.static:
		return []string{"-static"}
	case f.temporary:
		return []string{"-temp"}
	}
	return nil
}

// edits makes the commands of an object from the table.
func (a *app) edits(object string) []*cobra.Command {
	var all []*cobra.Command
	for _, v := range editVerbs() {
		if v.object == object {
			all = append(all, a.editCommand(v))
		}
	}
	return all
}

func (a *app) editCommand(v editVerb) *cobra.Command {
	f, r := editFlags{}, operate.Request{}
	c := &cobra.Command{
		Use: v.verb + " " + v.usage, Short: v.short, Long: or(v.long, v.short+".") + writableHelp, Example: v.example,
		ValidArgsFunction: a.complete(v.complete...),
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < v.least || v.most > 0 && len(args) > v.most {
				return usagef("%s wants %s; see %s --help", c.CommandPath(), v.usage, c.CommandPath())
			}
			return nil
		},
	}
	if v.flags != nil {
		v.flags(c, &f)
	}
	changeFlags(c, &r)
	c.RunE = bounded(connect.ChangeTimeout, func(ctx context.Context, args []string) error {
		if v.check != nil {
			if err := v.check(&f); err != nil {
				return err
			}
		}
		r.Edits = v.edits(&f, args)
		for _, text := range f.set {
			words, err := setting("hares", args[0], text)
			if err != nil {
				return err
			}
			if len(words) > 5 && a.isScalar(ctx, args[1], words[3]) {
				_, value, _ := strings.Cut(text, "=")
				words = append(words[:4:4], literal([]string{value})...)
			}
			// Enabled comes last: the agent then finds all values.
			at := len(r.Edits)
			if f.enable {
				at--
			}
			r.Edits = slices.Insert(r.Edits, at, words)
		}
		return a.change(ctx, r, v.object+" "+v.verb+": done")
	})
	return c
}

// change sends edits as one change. What is no command is wrong usage and is
// never sent.
func (a *app) change(ctx context.Context, r operate.Request, done string) error {
	for _, words := range r.Edits {
		if _, err := maincf.ParseArgs(words); err != nil {
			return usageError{fmt.Errorf("%s: %w", strings.Join(words, " "), err)}
		}
	}
	answer, err := operate.Edit(ctx, a.had, r)
	if err != nil {
		return err
	}
	return a.printOperation(answer, r.Plan, done)
}
