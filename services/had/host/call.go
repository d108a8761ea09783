package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// unavailableTime is how long a broken connection may take to be followed by
// the agent's end; after that the agent is ended.
const unavailableTime = time.Second

// call borrows the current agent for one entry point. When it returns, nothing
// of the entry point runs any more.
func (h *Host) call(ctx context.Context, typeName, ep, resource string, f func(context.Context, *instance, uint64) error) error {
	s := h.supervisor(typeName)
	if s == nil {
		return fmt.Errorf("%s %s: type %s: %w", ep, resource, typeName, ErrNoAgent)
	}
	in, err := s.borrow()
	if err != nil {
		return fmt.Errorf("%s %s: type %s: %w", ep, resource, typeName, err)
	}
	defer in.calls.Done()
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	// An open connection may hide the end of the process; its pidfd does not.
	watchdog := make(chan struct{})
	go func() {
		defer close(watchdog)
		select {
		case <-in.proc.exited:
			cancel()
		case <-callCtx.Done():
		}
	}()
	id := in.lastCall.Add(1)
	err = f(callCtx, in, id)
	cancel()
	<-watchdog
	if err = h.outcome(ctx, in, id, err); err == nil {
		return nil
	}
	var said *EntryPointError
	if errors.As(err, &said) {
		said.Type, said.EntryPoint, said.Resource = typeName, ep, resource
		return err
	}
	return fmt.Errorf("%s %s: type %s: %w", ep, resource, typeName, err)
}

// outcome makes of an RPC's error what the caller is told, and sees to it that
// the entry point has ended.
func (h *Host) outcome(ctx context.Context, in *instance, id uint64, err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-in.proc.exited:
		return h.died(in)
	default:
	}
	code := status.Code(err)
	switch {
	case code == codes.Unimplemented:
		return ErrNotImplemented
	case code == codes.Unavailable && ctx.Err() == nil:
		select {
		case <-in.proc.exited:
		case <-time.After(unavailableTime):
			in.kill("its connection broke: " + status.Convert(err).Message())
		}
		return h.died(in)
	case ctx.Err() != nil, code == codes.DeadlineExceeded, code == codes.Canceled:
		if h.hung(in, id) {
			in.kill("a cancelled entry point did not end")
			if dead := h.died(in); !errors.Is(dead, ErrAgentDown) {
				return dead
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if code == codes.DeadlineExceeded {
			return context.DeadlineExceeded
		}
		return context.Canceled
	default:
		return &EntryPointError{Message: status.Convert(err).Message(), BadValue: code == codes.InvalidArgument}
	}
}

// died waits until nothing of a dead agent is left.
func (h *Host) died(in *instance) error {
	select {
	case <-in.proc.gone:
		return ErrAgentDown
	case <-in.proc.stuck:
		return fmt.Errorf("the agent died, and not all of it ended: %w", in.proc.stuckWhy)
	}
}

// Describe asks an agent for its description, also while entry points hang.
func (h *Host) Describe(ctx context.Context, typeName string) (*agentv1.DescribeResponse, error) {
	var out *agentv1.DescribeResponse
	err := h.call(ctx, typeName, "describe", "", func(ctx context.Context, in *instance, _ uint64) (err error) {
		out, err = in.rpc.Describe(ctx, &agentv1.DescribeRequest{})
		return err
	})
	return out, err
}

// optional runs an entry point that not every agent has; one that is missing
// has nothing to do and succeeds.
func (h *Host) optional(ctx context.Context, typeName, ep, resource string, which agentv1.EntryPoint, f func(context.Context, *instance, uint64) error) error {
	return h.call(ctx, typeName, ep, resource, func(ctx context.Context, in *instance, id uint64) error {
		if !in.offers(which) {
			return nil
		}
		return f(ctx, in, id)
	})
}

// Open prepares for a resource; without effect if the agent has no open.
func (h *Host) Open(ctx context.Context, typeName string, r Resource) error {
	return h.optional(ctx, typeName, "open", r.Name, agentv1.EntryPoint_ENTRY_POINT_OPEN,
		func(ctx context.Context, in *instance, id uint64) error {
			_, err := in.rpc.Open(ctx, &agentv1.OpenRequest{CallId: id, Resource: r.proto()})
			return err
		})
}

// CloseResource is the last call for a resource; without effect if the agent
// has no close. It ends the resource's watch.
func (h *Host) CloseResource(ctx context.Context, typeName string, r Resource) error {
	h.Unwatch(typeName, r.Name)
	return h.optional(ctx, typeName, "close", r.Name, agentv1.EntryPoint_ENTRY_POINT_CLOSE,
		func(ctx context.Context, in *instance, id uint64) error {
			_, err := in.rpc.Close(ctx, &agentv1.CloseRequest{CallId: id, Resource: r.proto()})
			return err
		})
}

// Online brings a resource online. wait is how long to wait before the first
// monitor. Whether a live lease allows it is the caller's to know (R6); on the
// lease's expiry it ends ctx.
func (h *Host) Online(ctx context.Context, typeName string, r Resource, effect uint64) (wait time.Duration, err error) {
	err = h.call(ctx, typeName, "online", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		out, err := in.rpc.Online(ctx, &agentv1.OnlineRequest{CallId: id, Resource: r.proto(), EffectId: effect})
		wait = out.GetMonitorAfter().AsDuration()
		return err
	})
	return max(wait, 0), err
}

// Offline takes a resource offline. wait is how long to wait before the first
// monitor.
func (h *Host) Offline(ctx context.Context, typeName string, r Resource, effect uint64) (wait time.Duration, err error) {
	err = h.call(ctx, typeName, "offline", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		out, err := in.rpc.Offline(ctx, &agentv1.OfflineRequest{CallId: id, Resource: r.proto(), EffectId: effect})
		wait = out.GetMonitorAfter().AsDuration()
		return err
	})
	return max(wait, 0), err
}

// answered notes that a monitor came back, whatever it found.
func (in *instance) answered(err error) {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded:
	default:
		in.monitored.Store(true)
	}
}

// Monitor finds out a resource's state. An *EntryPointError means UNKNOWN.
func (h *Host) Monitor(ctx context.Context, typeName string, r Resource, detailed bool) (Status, error) {
	var st Status
	err := h.call(ctx, typeName, "monitor", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		out, err := in.rpc.Monitor(ctx, &agentv1.MonitorRequest{CallId: id, Resource: r.proto(), Detailed: detailed})
		in.answered(err)
		st = fromProto(out.GetStatus())
		return err
	})
	if err != nil {
		return Status{}, err
	}
	return st, nil
}

// MonitorBatch finds out many states at once; a name that is missing in the
// answer is UNKNOWN. ErrNotImplemented if the agent has no such entry point.
func (h *Host) MonitorBatch(ctx context.Context, typeName string, rs []Resource) (map[string]Status, error) {
	found := map[string]Status{}
	err := h.call(ctx, typeName, "monitor", "(batch)", func(ctx context.Context, in *instance, id uint64) error {
		req := &agentv1.MonitorBatchRequest{CallId: id}
		for _, r := range rs {
			req.Resources = append(req.Resources, r.proto())
		}
		out, err := in.rpc.MonitorBatch(ctx, req)
		in.answered(err)
		for name, st := range out.GetStatuses() {
			found[name] = fromProto(st)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Clean forces a resource down. Needs no lease (R6).
func (h *Host) Clean(ctx context.Context, typeName string, r Resource, why CleanReason) error {
	return h.call(ctx, typeName, "clean", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		_, err := in.rpc.Clean(ctx, &agentv1.CleanRequest{CallId: id, Resource: r.proto(), Reason: agentv1.CleanReason(why + 1)})
		return err
	})
}

// Action runs an action of the agent.
func (h *Host) Action(ctx context.Context, typeName string, r Resource, token string, args []string) (output string, exitCode int, err error) {
	err = h.call(ctx, typeName, "action", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		out, err := in.rpc.Action(ctx, &agentv1.ActionRequest{CallId: id, Resource: r.proto(), Token: token, Arguments: args})
		output, exitCode = out.GetOutput(), int(out.GetExitCode())
		return err
	})
	return output, exitCode, err
}

// Info gathers facts about a resource.
func (h *Host) Info(ctx context.Context, typeName string, r Resource) (map[string]string, error) {
	var facts map[string]string
	err := h.call(ctx, typeName, "info", r.Name, func(ctx context.Context, in *instance, id uint64) error {
		out, err := in.rpc.Info(ctx, &agentv1.InfoRequest{CallId: id, Resource: r.proto()})
		facts = out.GetFacts()
		return err
	})
	return facts, err
}

// AttrChanged tells of new values; without effect if the agent does not care.
// A watch of the resource goes on with the new values.
func (h *Host) AttrChanged(ctx context.Context, typeName string, r Resource, before map[string]Value) error {
	h.rewatch(typeName, r)
	return h.optional(ctx, typeName, "attr_changed", r.Name, agentv1.EntryPoint_ENTRY_POINT_ATTR_CHANGED,
		func(ctx context.Context, in *instance, id uint64) error {
			_, err := in.rpc.AttrChanged(ctx, &agentv1.AttrChangedRequest{
				CallId: id, Resource: r.proto(), Previous: Resource{Attrs: before}.proto().Attributes,
			})
			return err
		})
}

// Validate asks an agent whether values are usable.
func (h *Host) Validate(ctx context.Context, typeName string, r Resource) ([]Problem, error) {
	var problems []Problem
	err := h.call(ctx, typeName, "validate", r.Name, func(ctx context.Context, in *instance, _ uint64) error {
		out, err := in.rpc.Validate(ctx, &agentv1.ValidateRequest{Resource: r.proto()})
		for _, p := range out.GetProblems() {
			problems = append(problems, Problem{Attr: p.GetAttribute(), Text: p.GetProblem()})
		}
		return err
	})
	return problems, err
}

// Watch asks for a resource's state changes as Watched events from now on,
// over restarts of the agent, until Unwatch. An agent that cannot is not asked.
func (h *Host) Watch(typeName string, r Resource) {
	if s := h.supervisor(typeName); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watched[r.Name] = r
		if s.live != nil && s.live.offers(agentv1.EntryPoint_ENTRY_POINT_WATCH) {
			s.beginWatch(s.live, r)
		}
	}
}

func (h *Host) rewatch(typeName string, r Resource) {
	if s := h.supervisor(typeName); s != nil {
		s.mu.Lock()
		_, watched := s.watched[r.Name]
		s.mu.Unlock()
		if watched {
			h.Watch(typeName, r)
		}
	}
}

// Unwatch ends what Watch began.
func (h *Host) Unwatch(typeName, resource string) {
	if s := h.supervisor(typeName); s != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watched, resource)
		if cancel := s.watches[resource]; cancel != nil {
			cancel()
			delete(s.watches, resource)
		}
	}
}
