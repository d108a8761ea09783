package vcs

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
)

// lookEvery is the interval at which a wait looks at the local engine, which
// answers from memory.
const lookEvery = 100 * time.Millisecond

// wait makes an action that looks until the value, the last of the names, is
// there. State words are compared without bars. -time is in seconds; without
// it the wait has no end.
func wait(look func(context.Context, *session, line) (string, error)) func(context.Context, *session, line) error {
	return func(ctx context.Context, s *session, l line) error {
		if text := l.value("time"); text != "" {
			seconds, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return fmt.Errorf("-time wants seconds, not %q: %w", text, errUsage)
			}
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
			defer cancel()
		}
		want := strings.Trim(l.names[len(l.names)-1], "|")
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			value, err := lookOnce(ctx, s, l, look)
			switch {
			case s.had.RanOut(ctx, err):
				return warning(10805, "Connection timed out")
			case err != nil:
				return err
			case strings.Trim(value, "|") == want:
				return nil
			}
			select {
			case <-ctx.Done():
				return warning(10805, "Connection timed out")
			case <-tick.C:
			}
		}
	}
}

// lookOnce bounds one look, so that an engine that does not answer is told
// from a value that does not come.
func lookOnce(ctx context.Context, s *session, l line, look func(context.Context, *session, line) (string, error)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	return look(ctx, s, l)
}
