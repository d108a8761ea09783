package vcs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func hastatus(ctx context.Context, s *session, args []string) error {
	// -s has always been the summary, though -sound begins with it, too.
	l, err := parse(args, []string{"summary", "s", "sound", "time", "group*", "localclus", "clus=", "help"})
	switch {
	case err != nil:
		return err
	case l.flags["help"]:
		fmt.Fprint(s.Out, usage("hastatus", ""))
		return nil
	case len(l.names) > 0:
		return fmt.Errorf("it takes no name: %s; -group %s shows one group: %w", l.names[0], l.names[0], errUsage)
	}
	look, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	if err := s.thisCluster(look, l); err != nil {
		return err
	}
	if !l.flags["summary"] && !l.flags["s"] {
		return follow(ctx, s, l)
	}
	status, err := s.had.Clusters.GetStatus(look, &hadv1.GetStatusRequest{Brief: true})
	if err != nil {
		return err
	}
	if err := ofGroups(status, l.values["group"]); err != nil {
		return err
	}
	layout.Summary(s.Out, status)
	return nil
}

// ofGroups leaves only those groups in the status; all if none is named.
func ofGroups(status *hadv1.GetStatusResponse, names []string) error {
	if len(names) == 0 {
		return nil
	}
	var groups []*hadv1.Group
	var known []string
	for _, g := range status.GetGroups() {
		known = append(known, g.GetName())
	}
	chosen := map[string]bool{}
	for _, name := range names {
		found := false
		for _, g := range status.GetGroups() {
			if g.GetName() == name {
				groups, found = append(groups, g), true
			}
		}
		if !found {
			return warning(40131, "Group %s does not exist%s", name, meant("", name, known))
		}
		chosen[name] = true
	}
	var resources []*hadv1.Resource
	for _, r := range status.GetResources() {
		if chosen[r.GetGroup()] {
			resources = append(resources, r)
		}
	}
	status.Groups, status.Resources = groups, resources
	return nil
}

// follow prints the state of everything and then each change, until it is
// interrupted or the engine goes.
func follow(ctx context.Context, s *session, l line) error {
	// The stream has no end, but its first event comes at once or never.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(connect.ReadTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	stream, err := s.had.Events.WatchEvents(ctx, &hadv1.WatchEventsRequest{Groups: l.values["group"], Snapshot: true})
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(s.Out, "attempting to connect....")
	out := layout.Stream{Out: s.Out, Times: l.flags["time"], Bell: l.flags["sound"]}
	for begun := false; ; begun = true {
		a, err := stream.Recv()
		switch {
		case err != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
			return context.DeadlineExceeded
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil
		case err != nil && begun && gone(s.had.Fault(err)):
			return warning(11046, "Local system not available: the engine has gone")
		case err != nil:
			return err
		case !begun:
			late.Stop()
			out.Begin()
		}
		if err := out.Event(a.GetEvent()); err != nil {
			return nil // nobody reads any more
		}
	}
}

// gone: the connection broke; had said nothing.
func gone(f *connect.Fault) bool { return f.Code == codes.Unavailable && f.Reason == "" }
