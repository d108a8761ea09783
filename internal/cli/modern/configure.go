package modern

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/operate"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// configChanges are the verbs that change, keep and bring back the
// configuration.
func (a *app) configChanges() []*cobra.Command {
	return []*cobra.Command{a.configState(), a.writable(), a.configEdit(), a.configDump(), a.apply(), a.confirm(), a.configLog(), a.configDiff(), a.rollback()}
}

func (a *app) configState() *cobra.Command {
	return &cobra.Command{
		Use: "state", Short: "Whether it is writable, saved, or waits to be confirmed", Args: noNames, Example: "  ha config state",
		RunE: read(func(ctx context.Context, _ []string) error {
			c, err := a.had.Config.GetConfigState(ctx, &hadv1.GetConfigStateRequest{})
			if err != nil {
				return err
			}
			return a.show(c.GetState(), func(w io.Writer) { printConfigState(w, c.GetState()) })
		}),
	}
}

func printConfigState(w io.Writer, c *hadv1.ConfigState) {
	fmt.Fprintf(w, "configuration %s, change number %d, last dump: version %d\n", pick(c.GetWritable(), "writable", "read-only"), c.GetSequence(), c.GetVersion())
	for _, line := range []struct {
		is   bool
		text string
	}{
		{c.GetUndumped(), "there are changes that no disk holds yet: ha config dump"},
		{len(c.GetDumpingSystems()) > 0, "being written on: " + strings.Join(c.GetDumpingSystems(), ", ")},
		{c.GetStaleOnDisk(), "the copy on this system's disk is marked stale: ha config dump writes it anew"},
	} {
		if line.is {
			fmt.Fprintln(w, line.text)
		}
	}
	for _, f := range c.GetDumpFailures() {
		fmt.Fprintf(w, "not written on %s: %s\n", f.GetSystem(), f.GetWhy())
	}
	if u := c.GetUnconfirmed(); u != nil {
		fmt.Fprintf(w, "reverted in %s unless confirmed: ha config confirm%s\n", time.Duration(u.GetLeftMs())*time.Millisecond, prefixed("; cannot be reverted now: ", u.GetHindrance()))
	}
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// changing is a command that makes one changing call.
func (a *app) changing(c *cobra.Command, done string, call func(ctx context.Context, args []string, r operate.Request) (*hadv1.Operation, error)) *cobra.Command {
	r := operate.Request{}
	changeFlags(c, &r)
	c.RunE = bounded(connect.ChangeTimeout, func(ctx context.Context, args []string) error {
		confirm := c.Flags().Lookup("confirm")
		if d, _ := c.Flags().GetDuration("confirm"); confirm != nil && confirm.Changed && d <= 0 {
			return usagef("--confirm %v: a time from now, such as 5m", d)
		}
		if r.RequestID == "" {
			r.RequestID = uuid.NewString()
		}
		var o *hadv1.Operation
		if err := a.had.Change(ctx, func(ctx context.Context) (err error) {
			o, err = call(ctx, args, r)
			return err
		}); err != nil {
			return err
		}
		if confirm != nil && confirm.Changed {
			done = "it is applied, and taken back in " + confirm.Value.String() + " unless you say: ha config confirm"
		}
		return a.printOperation(o, r.Plan, done)
	})
	return c
}

func (a *app) writable() *cobra.Command {
	return a.changing(&cobra.Command{
		Use: "writable", Short: "Let the configuration be changed", Args: noNames, Example: "  ha config writable",
		Long: "Makes the configuration writable on all systems. Disk copies count as stale until it is dumped, so that a change that was forgotten is noticed at the next start. See also: ha config dump --read-only. VCS: haconf -makerw.",
	}, "the configuration is writable", func(ctx context.Context, _ []string, r operate.Request) (*hadv1.Operation, error) {
		return operate.MakeWritable(ctx, a.had, r)
	})
}

func (a *app) configDump() *cobra.Command {
	readOnly := false
	c := a.changing(&cobra.Command{
		Use: "dump", Short: "Write the running configuration to the disks of all running systems", Args: noNames, Example: "  ha config dump --read-only",
		Long: "Writes main.cf and the files that it includes on every running system, atomically, and keeps what was there as a version (ha config log). With --read-only no change is possible from then on. VCS: haconf -dump, haconf -dump -makero.",
	}, "the dump is ordered", func(ctx context.Context, _ []string, r operate.Request) (*hadv1.Operation, error) {
		r.ReadOnly = readOnly
		return operate.Dump(ctx, a.had, r)
	})
	c.Flags().BoolVar(&readOnly, "read-only", false, "forbid changes from then on")
	wait := time.Duration(0)
	waitFlag(c, &wait, "until the disks of all running systems hold it")
	order := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := order(cmd, args); err != nil || wait == 0 || cmd.Flag("plan").Value.String() == "true" {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), wait)
		defer cancel()
		return a.awaitDump(ctx)
	}
	return c
}

func (a *app) configEdit() *cobra.Command {
	r := operate.Request{}
	c := &cobra.Command{
		Use: "edit COMMAND...", Short: "Carry out several changes as one, in VCS's words", ValidArgsFunction: a.complete(none),
		Long:    "Each COMMAND is one change as VCS's commands have it, in quotes; - reads them from standard input, one a line, without lines that begin with #. All are checked together and carried out at once, or none." + writableHelp,
		Example: "  ha config edit \"hares -modify app_ip Address 192.0.2.8\" \"hares -modify app_ip NetMask 255.255.255.0\" --plan\n  hacf -cftocmd DIR && ha config edit - < DIR/main.cmd",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("ha config edit wants a command in quotes, such as \"hares -modify app_ip Address 192.0.2.8\", or -")
			}
			return nil
		},
	}
	changeFlags(c, &r)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 1 && args[0] == "-" {
			text, err := io.ReadAll(io.LimitReader(c.InOrStdin(), 16<<20))
			if err != nil {
				return err
			}
			args = strings.Split(string(text), "\n")
		}
		r.Edits = nil
		for _, line := range args {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			words, err := maincf.SplitLine(line)
			if err != nil {
				return usagef("%s: %v", line, err)
			}
			r.Edits = append(r.Edits, words)
		}
		if len(r.Edits) == 0 {
			return usagef("there is no command to carry out")
		}
		ctx, cancel := context.WithTimeout(c.Context(), connect.ChangeTimeout)
		defer cancel()
		return a.change(ctx, r, fmt.Sprintf("%d %s made", len(r.Edits), pick(len(r.Edits) == 1, "change is", "changes are")))
	}
	return c
}

// sources reads a configuration: a folder, or main.cf and what lies beside it.
func sources(path string) ([]*hadv1.ConfigSource, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	dir, main := filepath.Dir(path), filepath.Base(path)
	if info.IsDir() {
		dir, main = path, "main.cf"
	}
	text, err := os.ReadFile(filepath.Join(dir, main))
	if err != nil {
		return nil, err
	}
	all := []*hadv1.ConfigSource{{Name: "main.cf", Text: text}}
	have := map[string]bool{"main.cf": true}
	for i := 0; i < len(all); i++ {
		for _, line := range strings.Split(string(all[i].GetText()), "\n") {
			name, ok := strings.CutPrefix(strings.TrimSpace(line), "include ")
			if name = strings.Trim(strings.TrimSpace(name), `"`); !ok || have[name] || !filepath.IsLocal(name) {
				continue
			}
			have[name] = true
			text, err := os.ReadFile(filepath.Join(dir, name))
			if errors.Is(err, os.ErrNotExist) && name == "types.cf" {
				continue // the types stay as they run
			}
			if err != nil {
				return nil, err
			}
			all = append(all, &hadv1.ConfigSource{Name: name, Text: text})
		}
	}
	return all, nil
}

func confirmFlag(c *cobra.Command, d *time.Duration) {
	c.Flags().DurationVar(d, "confirm", 0, "go back by itself after so long unless ha config confirm comes")
}

func (a *app) apply() *cobra.Command {
	var within time.Duration
	c := a.changing(&cobra.Command{
		Use: "apply FILE", Short: "Make the running configuration what a file says", Args: names(1, "main.cf or its folder"),
		Long:    "Loads a whole configuration, with the files that it includes, as one change: what differs is changed, all at once, and what is the same is not touched. A change that would break what is online is refused. With --confirm the change is taken back unless ha config confirm comes in time: if you cut yourself off, wait." + writableHelp,
		Example: "  ha config apply /root/new/main.cf --plan\n  ha config apply /root/new/main.cf --confirm 5m",
	}, "it is applied; next: ha config dump", func(ctx context.Context, args []string, r operate.Request) (*hadv1.Operation, error) {
		files, err := sources(args[0])
		if err != nil {
			return nil, err
		}
		answer, err := a.had.Config.ApplyConfig(ctx, &hadv1.ApplyConfigRequest{RequestId: r.RequestID, Plan: r.Plan, Files: files, ConfirmSeconds: seconds(within)})
		return answer.GetOperation(), err
	})
	confirmFlag(c, &within)
	return c
}

// seconds rounds up.
func seconds(d time.Duration) uint32 { return uint32((d + time.Second - 1) / time.Second) }

func (a *app) confirm() *cobra.Command {
	return a.changing(&cobra.Command{
		Use: "confirm", Short: "Keep what was applied with --confirm", Args: noNames, Example: "  ha config confirm",
		Long: "Keeps the change that would otherwise be taken back. See also: ha config state tells how long is left.",
	}, "it is kept", func(ctx context.Context, _ []string, r operate.Request) (*hadv1.Operation, error) {
		answer, err := a.had.Config.ConfirmConfig(ctx, &hadv1.ConfirmConfigRequest{RequestId: r.RequestID, Plan: r.Plan})
		return answer.GetOperation(), err
	})
}

func (a *app) configVersions(ctx context.Context) (all []*hadv1.ConfigVersion) {
	token := ""
	for {
		answer, err := a.had.Config.ListConfigVersions(ctx, &hadv1.ListConfigVersionsRequest{PageToken: token})
		if err != nil {
			return all
		}
		all = append(all, answer.GetVersions()...)
		if token = answer.GetNextPageToken(); token == "" {
			return all
		}
	}
}

func versionName(v *hadv1.ConfigVersion) string { return strconv.FormatUint(v.GetNumber(), 10) }

func (a *app) configLog() *cobra.Command {
	return &cobra.Command{
		Use: "log", Short: "The versions that are kept, newest first", Args: noNames, Example: "  ha config log",
		Long: "Lists the versions of the configuration that this system's disk keeps: each dump made one; 0 is what the cluster started with before its first dump. See also: ha config diff, ha config rollback.",
		RunE: read(func(ctx context.Context, _ []string) error {
			if _, err := a.had.Config.ListConfigVersions(ctx, &hadv1.ListConfigVersionsRequest{PageSize: 1}); err != nil {
				return err
			}
			all := a.configVersions(ctx)
			if a.json() {
				return a.write(a.Out, ofMessages("versions", all))
			}
			rows := [][]string{{"VERSION", "CHANGE", "WRITTEN", "BY", "HOLDS"}}
			for _, v := range all {
				rows = append(rows, []string{versionName(v), strconv.FormatUint(v.GetSequence(), 10), time.UnixMilli(v.GetWrittenUnixMs()).Format("2006-01-02 15:04:05"), or(v.GetUser(), "-"), v.GetSummary()})
			}
			table(a.Out, rows)
			return nil
		}),
	}
}

func version(text string) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, usagef("%q is no version; ha config log lists them", text)
	}
	return n, nil
}

func (a *app) configDiff() *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use: "diff [FROM [TO]]", Short: "The commands that lead from one version to another", ValidArgsFunction: a.complete(versions, versions),
		Long:    "Prints the commands that lead from version FROM to version TO; without TO to what runs, without both from what runs to --file. Nothing is printed if they mean the same.",
		Example: "  ha config diff 3\n  ha config diff 3 5\n  ha config diff --file /root/new/main.cf",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 2 || len(args) == 0 && file == "" || len(args) == 2 && file != "" {
				return usagef("ha config diff wants one version or two, or --file FILE; ha config log lists them")
			}
			return nil
		},
		RunE: read(func(ctx context.Context, args []string) error {
			r := &hadv1.DiffConfigRequest{}
			for i, text := range args {
				n, err := version(text)
				if err != nil {
					return err
				}
				if i == 0 {
					r.FromVersion = &n
				} else {
					r.ToVersion = &n
				}
			}
			if file != "" {
				files, err := sources(file)
				if err != nil {
					return err
				}
				r.ToFiles = files
			}
			d, err := a.had.Config.DiffConfig(ctx, r)
			if err != nil {
				return err
			}
			return a.show(d, func(w io.Writer) {
				for _, e := range d.GetEdits() {
					fmt.Fprintln(w, commandLine(e.GetArgs()))
				}
			})
		}),
	}
	c.Flags().StringVar(&file, "file", "", "main.cf, or its folder, to compare with")
	return c
}

// commandLine writes words so that ha config edit reads them again.
func commandLine(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		if quoted[i] = w; w == "" || strings.ContainsAny(w, " \"") {
			quoted[i] = `"` + strings.ReplaceAll(w, `"`, `""`) + `"`
		}
	}
	return strings.Join(quoted, " ")
}

func (a *app) rollback() *cobra.Command {
	var within time.Duration
	c := a.changing(&cobra.Command{
		Use: "rollback VERSION", Short: "Go back to a version that was kept", Args: names(1, "a version; ha config log lists them"), ValidArgsFunction: a.complete(versions),
		Long:    "Makes the running configuration what a kept version says, as ha config apply does with a file." + writableHelp,
		Example: "  ha config rollback 3 --plan\n  ha config rollback 3 --confirm 5m",
	}, "it is applied; next: ha config dump", func(ctx context.Context, args []string, r operate.Request) (*hadv1.Operation, error) {
		n, err := version(args[0])
		if err != nil {
			return nil, err
		}
		answer, err := a.had.Config.RollbackConfig(ctx, &hadv1.RollbackConfigRequest{RequestId: r.RequestID, Plan: r.Plan, Version: n, ConfirmSeconds: seconds(within)})
		return answer.GetOperation(), err
	})
	confirmFlag(c, &within)
	return c
}

func (a *app) attribute() *cobra.Command {
	return branch("attribute", "Attributes of resource types", a.edits("attribute")...)
}

func (a *app) load() *cobra.Command {
	forget := false
	c := a.changing(&cobra.Command{
		Use: "load SYSTEM [LOAD]", Short: "Say how much load a system has", ValidArgsFunction: a.complete(systems), Example: "  ha system load sysA 40\n  ha system load sysA --forget",
		Long: "Sets the load of a system, in the units of Capacity, as a program of yours measures it (DynamicLoad); FailOverPolicy Load goes by it. --forget lets the Load of the groups count again. VCS: hasys -load.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 2 && !forget || len(args) == 1 && forget {
				return nil
			}
			return usagef("ha system load wants a system and a number, or a system and --forget")
		},
	}, "the load is told", func(ctx context.Context, args []string, r operate.Request) (*hadv1.Operation, error) {
		request := &hadv1.SetSystemLoadRequest{Name: args[0], RequestId: r.RequestID, Plan: r.Plan, Clear: forget}
		if !forget {
			n, err := strconv.ParseInt(args[1], 10, 32)
			if err != nil || n < 0 {
				return nil, usagef("load %s: a whole number, 0 or more", args[1])
			}
			request.Load = int32(n)
		}
		answer, err := a.had.Systems.SetSystemLoad(ctx, request)
		return answer.GetOperation(), err
	})
	c.Flags().BoolVar(&forget, "forget", false, "let the Load of the groups count again")
	return c
}

func (a *app) action() *cobra.Command {
	system, plan := "", false
	c := &cobra.Command{
		Use: "action RESOURCE ACTION [ARGUMENT...]", Short: "Let the agent run an action on a resource", ValidArgsFunction: a.complete(resources, actions),
		Long:    "Runs one of the type's SupportedActions (ha type show TYPE) on a system, prints its output, and fails if the action fails. It runs once, whatever happens to the answer. VCS: hares -action.",
		Example: "  ha resource action app_ip route.vfd --system sysA",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("ha resource action wants a resource and an action; ha type show TYPE lists them")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if system == "" {
				return usagef("which system? Name it: --system")
			}
			if plan {
				text := fmt.Sprintf("the agent would run action %s on resource %s on %s", args[1], args[0], system)
				return a.printOperation(&hadv1.Operation{PlannedSteps: []*hadv1.PlannedStep{{System: system, Resource: args[0], Action: "action", Text: text}}}, true, "")
			}
			ctx, cancel := context.WithTimeout(c.Context(), 10*time.Minute) // ActionTimeout of the type ends it before
			defer cancel()
			answer, err := a.had.Resources.RunResourceAction(ctx, &hadv1.RunResourceActionRequest{Name: args[0], System: system, Token: args[1], Arguments: args[2:]})
			if err != nil {
				return err
			}
			if err := a.show(answer, func(w io.Writer) {
				fmt.Fprint(w, answer.GetOutput())
				if text := answer.GetOutput(); text != "" && !strings.HasSuffix(text, "\n") {
					fmt.Fprintln(w)
				}
				if answer.GetTruncated() {
					fmt.Fprintln(a.Err, "ha: there was more output")
				}
			}); err != nil {
				return err
			}
			if answer.GetExitCode() != 0 {
				fmt.Fprintf(a.Err, "ha: action %s failed with %d\n", args[1], answer.GetExitCode())
				return errQuiet
			}
			return nil
		},
	}
	c.Flags().StringVar(&system, "system", "", "the system")
	c.Flags().BoolVar(&plan, "plan", false, "tell what would happen and do nothing")
	return c
}

func (a *app) info() *cobra.Command {
	return &cobra.Command{
		Use: "info RESOURCE", Short: "What the agent knows about a resource beyond its state", Args: names(1, "the name of one resource"), ValidArgsFunction: a.complete(resources),
		Long: "Shows ResourceInfo: facts that the agent gathered where the resource is online, such as the fill of a file system, and when. ha resource refresh-info gathers them anew.", Example: "  ha resource info app_mnt",
		RunE: read(func(ctx context.Context, args []string) error {
			r, err := a.had.Resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(r.GetResource(), func(w io.Writer) {
				rows := [][]string{{"SYSTEM", "STATE", "FACT", "VALUE"}}
				for _, on := range r.GetResource().GetSystems() {
					i := on.GetInfo()
					rows = append(rows, []string{on.GetSystem(), or(i.GetState(), "none"), pick(i.GetTs() == "", "-", "as of"), or(i.GetTs(), or(i.GetMsg(), "-"))})
					for _, f := range i.GetFacts() {
						rows = append(rows, []string{on.GetSystem(), i.GetState(), f.GetName(), f.GetValue()})
					}
				}
				table(w, rows)
			})
		}),
	}
}
