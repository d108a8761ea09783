package linear

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// fault is one thing that the nemesis does to a system, and the end of it. What
// it does to the power, restore mends.
type fault struct {
	name string
	// lasts until the end is called.
	lasts time.Duration
	begin func(ctx context.Context, l *lab.Lab, at string, others []string) error
	end   func(ctx context.Context, l *lab.Lab, at string) error
}

func cut(ctx context.Context, l *lab.Lab, from, to []string, oneWay bool) error {
	between := strings.Join(from, ",") + "/" + strings.Join(to, ",")
	if !oneWay {
		return l.CutBetween(ctx, between)
	}
	return l.CutOneWay(ctx, between)
}

func heal(ctx context.Context, l *lab.Lab, _ string) error { return l.Heal(ctx) }

// thaw of a system that was powered off in the meantime is none.
func thaw(ctx context.Context, l *lab.Lab, at string) error {
	_ = l.Thaw(ctx, at)
	return nil
}

var faults = []fault{
	{"a crash of %s", time.Second, func(ctx context.Context, l *lab.Lab, at string, _ []string) error { return l.Crash(ctx, at) }, nil},
	{"a cut around %s", 1500 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, others []string) error {
		return cut(ctx, l, []string{at}, others, false)
	}, heal},
	{"had of %s killed", 200 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, _ []string) error {
		_, err := l.Exec(ctx, at, "pkill", "-KILL", "-x", "had")
		return err
	}, nil},
	{"%s frozen", 1500 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, _ []string) error { return l.Freeze(ctx, at) }, thaw},
	{"a cut of what %s sends", 1500 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, others []string) error {
		return cut(ctx, l, []string{at}, others, true)
	}, heal},
	{"%s frozen shortly", 300 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, _ []string) error { return l.Freeze(ctx, at) }, thaw},
	{"a cut of what %s hears", 1500 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, others []string) error {
		return cut(ctx, l, others, []string{at}, true)
	}, heal},
	{"a cut of %s from one other", 1500 * time.Millisecond, func(ctx context.Context, l *lab.Lab, at string, others []string) error {
		return cut(ctx, l, []string{at}, others[:1], false)
	}, heal},
}

// torment does a fault to a system and ends it again. It returns what it did.
func torment(ctx context.Context, l *lab.Lab, f fault, r *rand.Rand) (string, error) {
	i := r.IntN(len(systems))
	at := systems[i]
	others := []string{systems[(i+1)%3], systems[(i+2)%3]}
	name := fmt.Sprintf(f.name, at)
	pause(ctx, time.Duration(300+r.IntN(500))*time.Millisecond)
	if err := f.begin(ctx, l, at, others); err != nil {
		return name, err
	}
	pause(ctx, f.lasts)
	if f.end == nil {
		return name, nil
	}
	return name, f.end(ctx, l, at)
}

// pause lets a fault or an operator take its time.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// restore switches on what is off, until all systems are RUNNING.
func restore(ctx context.Context, p *places, c *client) error {
	return lab.Until(ctx, "all systems to be RUNNING again", func(ctx context.Context) (bool, string) {
		if err := p.refresh(ctx); err != nil {
			return false, err.Error()
		}
		for _, s := range systems {
			// One that boots before the others are done with its end is
			// switched off once more; it is switched on again, too.
			if p.root(s) == "" {
				if err := p.lab.Boot(ctx, s); err != nil {
					return false, err.Error()
				}
				return false, s + " boots"
			}
		}
		return c.whole(ctx)
	})
}
