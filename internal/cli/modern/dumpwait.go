package modern

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// dumpLook is how often the state of a dump is asked for.
const dumpLook = 100 * time.Millisecond

// awaitDump waits until no system writes any more, and fails if one could not.
func (a *app) awaitDump(ctx context.Context) error {
	look := time.NewTicker(dumpLook)
	defer look.Stop()
	told := ""
	for {
		answer, err := a.had.Config.GetConfigState(ctx, &hadv1.GetConfigStateRequest{})
		if err != nil {
			return err
		}
		s := answer.GetState()
		writing := strings.Join(s.GetDumpingSystems(), ", ")
		if writing == "" {
			if fs := s.GetDumpFailures(); len(fs) > 0 {
				return fmt.Errorf("the configuration is not on the disk of %s: %s; mend that, then: ha config dump", fs[0].GetSystem(), fs[0].GetWhy())
			}
			return nil
		}
		if writing != told {
			told = writing
			fmt.Fprintln(a.Err, "ha: being written on "+writing)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still being written on %s when the time was over; ha config state tells how it goes on", writing)
		case <-look.C:
		}
	}
}

// waitFlag is --wait[=TIME].
func waitFlag(c *cobra.Command, wait *time.Duration, until string) {
	c.Flags().DurationVar(wait, "wait", 0, "wait at most so long "+until+"; --wait alone means 5m")
	c.Flags().Lookup("wait").NoOptDefVal = "5m"
}
