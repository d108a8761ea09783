//go:build linux

package command

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/lab/supervisor"
)

func status(l *lab) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "status [-o json]", Short: "Show a lab's systems",
		Long: "Shows each system's power state, processes and, where had answers, its state in the cluster. With -o json:\n" +
			"  {name, root, unprivileged, supervisor, switch, cuts[], client{}, systems[{name, root, state, pids{name: pid}, processes[], had, address}]}\n" +
			"state is on, off or frozen; root is where the system's files are seen from outside; pids are its init and daemons, processes all of it, in this machine's numbers.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var now supervisor.Status
			if err := l.ask(supervisor.Request{Op: "status"}, &now); err != nil {
				return err
			}
			switch output {
			case "json":
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(now)
			case "table":
				return table(cmd.OutOrStdout(), now)
			}
			return usageError{fmt.Errorf("-o %s: there are table and json", output)}
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func table(out io.Writer, now supervisor.Status) error {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "SYSTEM\tPOWER\tHAD\tPROCESSES\tADDRESS\tROOT\n")
	hosts := now.Systems
	if now.Client != nil {
		hosts = append(hosts, *now.Client)
	}
	for _, host := range hosts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\n", host.Name, host.State, dash(host.Had), len(host.Processes), dash(host.Address), dash(host.Root))
	}
	for _, c := range now.Cuts {
		fmt.Fprintf(w, "cut: %s\n", c)
	}
	return w.Flush()
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func logs(l *lab) *cobra.Command {
	return &cobra.Command{
		Use: "logs SYSTEM", Short: "Print the logs of a system",
		Long: "Prints what the system's daemons wrote to their console and, if it is on, its files under /var/log/evenkeel.",
		Args: exactly(1, "SYSTEM"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var found supervisor.Logs
			if err := l.ask(supervisor.Request{Op: "logs", System: args[0]}, &found); err != nil {
				return err
			}
			for _, name := range found.Files {
				file, err := os.Open(name)
				if err != nil {
					fmt.Fprintln(os.Stderr, "halab:", err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "==> %s <==\n", name)
				_, err = io.Copy(cmd.OutOrStdout(), file)
				file.Close()
				if err != nil {
					return err
				}
			}
			if found.Note != "" {
				fmt.Fprintln(os.Stderr, "halab:", found.Note)
			}
			return nil
		},
	}
}
