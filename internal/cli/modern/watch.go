package modern

import (
	"os"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/watch"
)

func (a *app) watch() *cobra.Command {
	return &cobra.Command{
		Use: "watch", Short: "The cluster live on the whole screen", Args: noNames, Example: "  ha watch\n  NO_COLOR=1 ha watch",
		Long: "Shows groups by systems, what is wrong with the command that mends it, recent decisions and the log, as it happens; ? explains the keys and signs. It only looks. If had goes away it says so and comes back by itself. For programs there is ha events -o json.",
		RunE: func(c *cobra.Command, _ []string) error {
			out, ok := a.Out.(*os.File)
			if !ok || !isatty.IsTerminal(out.Fd()) {
				return usagef("ha watch wants a terminal; for programs and pipes there is ha events")
			}
			return watch.Run(c.Context(), watch.Config{Had: a.had, Log: a.Root.Log("engine"), In: a.In, Out: out})
		},
	}
}
