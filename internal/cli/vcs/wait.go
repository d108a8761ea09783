package vcs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/layout"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// lookEvery is the interval at which a wait looks at the local engine, which
// answers from memory.
const lookEvery = 100 * time.Millisecond

// words are the words of a state attribute: a wait for any other would have no
// end.
type words struct {
	attribute string
	known     []string
}

var (
	groupWords    = words{"State", []string{"ONLINE", "OFFLINE", "PARTIAL", "FAULTED", "STARTING", "STOPPING"}}
	resourceWords = words{"State", []string{"ONLINE", "OFFLINE", "FAULTED", "RESTARTING", "STATE UNKNOWN", "MONITOR TIMEDOUT", "UNABLE TO OFFLINE", "ADMIN_WAIT"}}
	clusterWords  = words{"ClusState", []string{"INIT", "BUILD", "RUNNING", "EXITING", "EXITED", "LOST_CONN", "LOST_HB", "TRANSITIONING", "INQUIRY", "FAULTED", "UNKNOWN"}}
	systemWords   = words{"SysState", []string{string(join.Initing), string(join.CurrentDiscoverWait), string(join.CurrentPeerWait),
		string(join.StaleDiscoverWait), string(join.StalePeerWait), string(join.StaleAdminWait), string(join.AdminWait),
		string(join.LocalBuild), string(join.RemoteBuild), string(join.Running), string(join.Leaving), string(join.Exiting),
		string(join.ExitingForcibly), string(join.Unknown), "EXITED", "FAULTED"}}
)

func (w words) check(attribute, value string) error {
	if attribute != w.attribute {
		return nil
	}
	for _, word := range strings.Split(value, "|") {
		if !slices.Contains(w.known, word) {
			return warning(idState, "State %s does not exist%s (there are %s)", word, meant("", word, w.known), strings.Join(w.known, ", "))
		}
	}
	return nil
}

// wait makes an action that looks until the value is there: all names from the
// given place. State words are compared without bars. -time is in seconds;
// without it the wait has no end.
func wait(place int, states words, look func(context.Context, *session, line) (string, error)) func(context.Context, *session, line) error {
	return func(ctx context.Context, s *session, l line) error {
		if text := l.value("time"); text != "" {
			seconds, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				return fmt.Errorf("-time takes seconds, not %q: %w", text, errUsage)
			}
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds)*time.Second)
			defer cancel()
		}
		want := layout.Value(strings.Trim(strings.Join(l.names[place:], " "), "|"))
		if err := states.check(l.names[place-1], want); err != nil {
			return err
		}
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
