package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func hastatus(ctx context.Context, s *session, args []string) error {
	l, err := parse(args, []string{"summary", "group*", "localclus", "clus=", "help"})
	if err != nil {
		return err
	}
	switch {
	case l.flags["help"]:
		fmt.Fprint(s.Out, usage("hastatus"))
		return nil
	case len(l.names) > 0:
		return errUsage
	case !l.flags["summary"]:
		return follow(ctx, s, l)
	}
	ctx, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	if err := s.thisCluster(ctx, l); err != nil {
		return err
	}
	status, err := s.had.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
	if err != nil {
		return err
	}
	layout.Summary(s.Out, status)
	return nil
}

// follow prints the state of everything and then each change, until it is
// interrupted or the engine goes.
func follow(ctx context.Context, s *session, l line) error {
	stream, err := s.had.Events.WatchEvents(ctx, &hadv1.WatchEventsRequest{Groups: l.values["group"], Snapshot: true})
	if err != nil {
		return err
	}
	row := func(group, resource, system, text string) {
		fmt.Fprintf(s.Out, "%-15s %-20s %-20s %-20s\n", group, resource, system, text)
	}
	fmt.Fprintln(s.Out, "attempting to connect....")
	rule, begun := strings.Repeat("-", 73), false
	last := ""
	for {
		a, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !begun:
			begun = true
			fmt.Fprint(s.Out, "attempting to connect....connected\n\n\n")
			row("group", "resource", "system", "message")
			row(strings.Repeat("-", 15), strings.Repeat("-", 20), strings.Repeat("-", 20), strings.Repeat("-", 20))
		}
		e := a.GetEvent()
		if e.GetKind() == "resource" && last != "resource" {
			fmt.Fprintln(s.Out, rule)
		}
		last = e.GetKind()
		switch e.GetKind() {
		case "system":
			row("", "", e.GetSystem(), e.GetState())
		case "group":
			row(e.GetGroup(), "", e.GetSystem(), e.GetState())
		case "resource":
			row("", e.GetResource(), e.GetSystem(), e.GetState())
		}
	}
}
