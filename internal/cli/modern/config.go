package modern

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/vcs"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func (a *app) config() *cobra.Command {
	verify := &cobra.Command{
		Use: "verify DIR", Short: "Check the configuration of a folder", Args: names(1, "a folder with main.cf"),
		Long:    "Checks main.cf of a folder and everything it includes, without the engine. Prints nothing and exits 0 if it is good; else one line for each mistake, with file, line and column. A types.cf that the folder lacks is the built-in one. VCS: hacf -verify.",
		Example: "  ha config verify /etc/evenkeel",
		RunE: func(_ *cobra.Command, args []string) error {
			mistakes := vcs.Verify(args[0])
			if a.json() {
				if err := a.write(a.Out, envelope(field{"mistakes", append([]string{}, mistakes...)})); err != nil {
					return err
				}
			} else {
				for _, text := range mistakes {
					fmt.Fprintln(a.Err, text)
				}
			}
			if len(mistakes) > 0 {
				return errQuiet
			}
			return nil
		},
	}
	show := &cobra.Command{
		Use: "show", Short: "Print the running configuration as it would be dumped", Args: noNames, Example: "  ha config show",
		RunE: read(func(ctx context.Context, _ []string) error {
			c, err := a.had.Config.GetConfig(ctx, &hadv1.GetConfigRequest{})
			if err != nil {
				return err
			}
			return a.show(c, func(w io.Writer) {
				for _, f := range c.GetFiles() {
					fmt.Fprintf(w, "// ---- %s\n%s", f.GetName(), f.GetText())
				}
				if c.GetStaleOnDisk() {
					fmt.Fprintln(a.Err, "ha: the copy on this system's disk is marked stale; ha config dump writes it anew")
				}
			})
		}),
	}
	show.ValidArgsFunction = a.complete(none)
	return branch("config", "The configuration: look, change, keep, go back", append([]*cobra.Command{verify, show}, a.configChanges()...)...)
}

func (a *app) events() *cobra.Command {
	r := &hadv1.WatchEventsRequest{}
	c := &cobra.Command{
		Use: "events", Short: "Follow what happens", Args: noNames,
		Long:    "Prints each event as it happens, until it is interrupted: changes of state and decisions, with their place in the total order (view/message) in brackets. With -o json one object a line.",
		Example: "  ha events --snapshot\n  ha events --group app -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			stream, err := a.had.Events.WatchEvents(c.Context(), r)
			if err != nil {
				return err
			}
			for {
				e, err := stream.Recv()
				if err == io.EOF || err != nil && c.Context().Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if err := a.printEvent(e); err != nil {
					return err
				}
			}
		},
	}
	c.Flags().StringSliceVar(&r.Groups, "group", nil, "only events about these groups")
	c.Flags().BoolVar(&r.Log, "log", false, "the lines of the engine log, too")
	c.Flags().StringVar(&r.After, "after", "", "go on behind the event with this cursor (-o json shows it)")
	c.Flags().BoolVar(&r.Snapshot, "snapshot", false, "begin with the present state of everything")
	return c
}

func (a *app) printEvent(m *hadv1.WatchEventsResponse) error {
	e := m.GetEvent()
	if a.output == "yaml" {
		fmt.Fprintln(a.Out, "---")
		return a.write(a.Out, ofMessage(e))
	}
	if a.json() {
		line, err := ofMessage(e).MarshalJSON()
		if err == nil {
			_, err = fmt.Fprintf(a.Out, "%s\n", line)
		}
		return err
	}
	at := ""
	if p := e.GetPosition(); p != nil {
		at = fmt.Sprintf(" [%d/%d]", p.GetView(), p.GetSeq())
	}
	subject := e.GetKind()
	for _, name := range []string{e.GetGroup(), e.GetResource()} {
		if name != "" {
			subject += " " + name
		}
	}
	if e.GetSystem() != "" {
		subject += " on " + e.GetSystem()
	}
	if e.GetKind() == "system" {
		subject = "system " + e.GetSystem()
	}
	if e.GetState() != "" {
		subject += " " + e.GetState()
	}
	if e.GetText() != "" {
		subject += ": " + e.GetText()
	}
	if e.GetMessageId() != "" {
		subject += " [" + e.GetMessageId() + "]"
	}
	_, err := fmt.Fprintf(a.Out, "%s%s %s %s\n", time.UnixMilli(e.GetTimeUnixMs()).Format("15:04:05.000"), at, or(e.GetSeverity(), "INFO"), subject)
	return err
}

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Versions of this program and of the running engine", Args: noNames, Example: "  ha version",
		RunE: read(func(ctx context.Context, _ []string) error {
			client := "unknown"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				client = info.Main.Version
				for _, setting := range info.Settings {
					if setting.Key == "vcs.revision" {
						client += " " + setting.Value
					}
				}
			}
			engine := ""
			s, err := a.had.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
			if err == nil {
				engine = s.GetEngineVersion()
			}
			if a.json() {
				return a.write(a.Out, envelope(field{"client", client}, field{"engine", engine}))
			}
			fmt.Fprintf(a.Out, "ha   %s\nhad  %s\n", client, or(engine, "does not answer"))
			return nil
		}),
	}
}
