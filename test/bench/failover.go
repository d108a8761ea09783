package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/test/lab"
)

// failover crashes the system that has a group of one address and one file,
// and measures until the address answers from the other one. A witness on the
// client host, which asks every 2 ms, gives both ends of the figure; the
// survivor's own logs give the parts.
func failover(conf string, fenced bool) func(context.Context, int) error {
	return func(ctx context.Context, runs int) error {
		dir := filepath.Join(lab.Repository(), "test/lab/testdata", conf)
		return withLab(ctx, "bench-failover", dir, func(l *lab.Lab) error {
			total := &figures{name: "total: last answer before the crash to the first"}
			core := &figures{name: "view and engine together, of that"}
			parts := map[string]*figures{}
			order := []string{}
			owner, other := "Server1", "Server2"
			for range max(runs, 7) {
				if err := l.WaitGroup(within(ctx, 30*time.Second), owner, "svc", owner, "|ONLINE|"); err != nil {
					return err
				}
				w, err := l.Witness(ctx, "pub0", "192.168.1.50")
				if err != nil {
					return err
				}
				took, err := crashOnce(ctx, l, w, owner, total)
				w.Stop()
				if err != nil {
					return err
				}
				steps, err := lab.Timeline(ctx, l, other, took.began, took.ended, fenced)
				if err != nil {
					return err
				}
				core.add(lab.ViewAndEngine(steps))
				for _, step := range steps {
					if parts[step.Name] == nil {
						parts[step.Name] = &figures{name: "  " + step.Name}
						order = append(order, step.Name)
					}
					parts[step.Name].add(step.Took)
				}
				if err := l.Boot(ctx, owner); err != nil {
					return err
				}
				if err := waitRunning(ctx, l, other, owner); err != nil {
					return err
				}
				owner, other = other, owner
			}
			total.print()
			for _, name := range order {
				parts[name].print()
			}
			core.print()
			return nil
		})
	}
}

type span struct{ began, ended time.Time }

// crashOnce crashes the owner and returns when the address fell silent and
// when it answered again.
func crashOnce(ctx context.Context, l *lab.Lab, w *lab.Witness, owner string, total *figures) (span, error) {
	err := lab.Until(within(ctx, 10*time.Second), "the owner to answer", func(context.Context) (bool, string) {
		return w.Owner() != "", "nobody answers"
	})
	if err != nil {
		return span{}, err
	}
	before := w.Owner()
	if err := l.Crash(ctx, owner); err != nil {
		return span{}, err
	}
	err = lab.Until(within(ctx, 30*time.Second), "the address to answer again", func(context.Context) (bool, string) {
		return w.Owner() != "" && w.Owner() != before, "owner " + w.Owner()
	})
	if err != nil {
		return span{}, err
	}
	var s span
	for _, seen := range w.Seen() {
		switch {
		case seen.Violation != "":
			return span{}, fmt.Errorf("two owners: %s", seen.Violation)
		case seen.Owner != nil && *seen.Owner == "":
			s.began = seen.At()
		case seen.Owner != nil && *seen.Owner != before:
			s.ended = seen.At()
		}
	}
	total.add(s.ended.Sub(s.began))
	return s, nil
}

func waitRunning(ctx context.Context, l *lab.Lab, ask, system string) error {
	return lab.Until(within(ctx, 40*time.Second), system+" to be RUNNING", func(ctx context.Context) (bool, string) {
		out, err := l.Must(ctx, ask, "hasys", "-state", system)
		if err != nil {
			return false, err.Error()
		}
		return out == "RUNNING\n", out
	})
}
