package modern

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/messagelog"
	"github.com/evenkeel/evenkeel/internal/messages"
)

func (a *app) log() *cobra.Command {
	f, since, agent, count, follow := messagelog.Filter{}, "", "", 0, false
	c := &cobra.Command{
		Use: "log", Short: "The engine log of this system, by object", Args: noNames,
		Long:    "Prints the newest messages of the log of this system, over its rotated files, also when had does not run. All systems write the same about the cluster, each its own about itself. With --agent the log of one type's agent. ha message ID tells what a message means.",
		Example: "  ha log --group app --since 1h\n  ha log --severity WARNING -n 0\n  ha log -f\n  ha log --agent IP --resource app_ip",
		RunE: func(c *cobra.Command, _ []string) error {
			if count < 0 {
				return usagef("-n %d: a number from 0, which means all", count)
			}
			if err := completeFilter(&f, since, time.Now()); err != nil {
				return err
			}
			name := "engine"
			if agent != "" {
				known := messagelog.Agents(a.Root.LogDir())
				if !slices.Contains(known, agent) {
					return fmt.Errorf("agent %s has no log on this system%s", agent, prefixed("; there are: ", strings.Join(known, ", ")))
				}
				name = agent
			}
			ctx, cancel := context.WithTimeout(c.Context(), connect.ReadTimeout)
			defer cancel()
			all, err := messagelog.Last(ctx, a.Root.Log(name), f, count)
			if err != nil {
				return err
			}
			if a.json() && !follow {
				list := []any{}
				for _, r := range all {
					list = append(list, r)
				}
				return a.write(a.Out, envelope(field{"messages", list}))
			}
			for _, r := range all {
				if err := a.printRecord(r); err != nil {
					return err
				}
			}
			if !follow {
				return nil
			}
			return messagelog.Follow(c.Context(), a.Root.Log(name), f, a.printRecord)
		},
	}
	c.Flags().StringVar(&f.Group, "group", "", "only about this group")
	c.Flags().StringVar(&f.Resource, "resource", "", "only about this resource")
	c.Flags().StringVar(&f.System, "system", "", "only about this system")
	c.Flags().StringVar(&agent, "agent", "", "the log of the agent of this type")
	c.Flags().StringVar(&f.ID, "id", "", "only messages with this id")
	c.Flags().StringVar(&f.Severity, "severity", "", "only this severe or worse: "+strings.Join(messagelog.Severities, ", "))
	c.Flags().StringVar(&since, "since", "", "only from then on: 1h, 15:04, 2006-01-02, \"2006-01-02 15:04:05\"")
	c.Flags().IntVarP(&count, "lines", "n", 40, "the newest so many; 0 for all")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is written from now on")
	_ = c.RegisterFlagCompletionFunc("severity", cobra.FixedCompletions(messagelog.Severities, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func completeFilter(f *messagelog.Filter, since string, now time.Time) error {
	if f.ID != "" {
		f.ID = messages.Whole(f.ID)
	}
	if f.Severity = strings.ToUpper(f.Severity); f.Severity != "" && !slices.Contains(messagelog.Severities, f.Severity) {
		return usagef("--severity %s: one of %s", f.Severity, strings.Join(messagelog.Severities, ", "))
	}
	at, err := moment(since, now)
	f.Since = at
	return err
}

// moment reads a time, or how long ago it was.
func moment(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(-d), nil
	}
	for _, form := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", time.RFC3339, "2006/01/02 15:04:05"} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return t, nil
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.ParseInLocation(form, text, now.Location()); err == nil {
			return time.Date(now.Year(), now.Month(), now.Day(), t.Hour(), t.Minute(), t.Second(), 0, now.Location()), nil
		}
	}
	return time.Time{}, usagef("--since %s: write 90s, 1h, 15:04, 2006-01-02 or \"2006-01-02 15:04:05\"", text)
}

func (a *app) printRecord(r messagelog.Record) error {
	if a.output == "table" || a.wide() {
		place := ""
		if a.wide() && r.Seq > 0 {
			place = fmt.Sprintf(" [%d/%d]", r.View, r.Seq)
		}
		_, err := fmt.Fprintln(a.Out, r.Line()+place)
		return err
	}
	if a.output == "yaml" {
		if _, err := fmt.Fprintln(a.Out, "---"); err != nil {
			return err
		}
		return a.write(a.Out, envelope(field{"message", r}))
	}
	_, err := fmt.Fprintf(a.Out, "%s\n", r.JSON())
	return err
}

func (a *app) message() *cobra.Command {
	return &cobra.Command{
		Use: "message ID", Short: "What a message means, and what to do about it", Args: names(1, "the id of a message, such as V-16-1-10205 or 10205"),
		Long: "Prints the entry of a message id: severity, text, cause and remedy. The whole catalogue is docs/messages.md.", Example: "  ha message V-16-1-10205\n  ha message 10079",
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var all []string
			for _, e := range messages.All() {
				all = append(all, e.ID+"\t"+e.Text)
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			e, ok := messages.Find(args[0])
			if !ok {
				return fmt.Errorf("message %s is not in the catalogue; an id looks like V-16-1-10205", messages.Whole(args[0]))
			}
			if a.json() {
				return a.write(a.Out, envelope(field{"id", e.ID}, field{"severities", e.Severities}, field{"text", e.Text}, field{"cause", e.Cause}, field{"remedy", e.Remedy}))
			}
			_, err := fmt.Fprintf(a.Out, "%s (%s)\n%s\n\nCause: %s\n\nRemedy: %s\n", e.ID, strings.Join(e.Severities, ", "), e.Text, e.Cause, e.Remedy)
			return err
		},
	}
}
