package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// defaultThreads is VCS's NumThreads.
const defaultThreads = 10

// maxOutput bounds what an action may print.
const maxOutput = 64 << 10

// server turns RPCs into calls of the author's methods: one at a time per
// resource, at most NumThreads at once, panics caught.
type server struct {
	agentv1.UnimplementedAgentServiceServer

	agent    Agent
	desc     Description
	declared map[string]Attr
	log      *slog.Logger

	mu      sync.Mutex
	threads chan struct{} // capacity NumThreads; full: further calls wait
	busy    map[string]*turn
	running map[*agentv1.RunningCall]struct{}
}

// turn hands one resource from call to call.
type turn struct {
	token chan struct{} // capacity 1: who holds the element may run
	users int
}

func newServer(a Agent, log io.Writer) *server {
	s := &server{
		agent: a, desc: a.Describe(), declared: map[string]Attr{},
		threads: make(chan struct{}, defaultThreads),
		busy:    map[string]*turn{}, running: map[*agentv1.RunningCall]struct{}{},
	}
	s.log = newLog(log, s.desc.Type)
	for _, at := range s.desc.Attrs {
		s.declared[at.Name] = at
	}
	return s
}

func (s *server) resource(r *agentv1.Resource, ep agentv1.EntryPoint) *Resource {
	word := strings.ToLower(strings.TrimPrefix(ep.String(), "ENTRY_POINT_"))
	return &Resource{
		Name: r.GetName(), declared: s.declared, values: r.GetAttributes(),
		Log: s.log.With("resource", r.GetName(), "entry_point", word),
	}
}

// note records a running call for Describe and returns how to forget it.
func (s *server) note(id uint64, ep agentv1.EntryPoint, resource string) func() {
	c := &agentv1.RunningCall{CallId: id, EntryPoint: ep, Resource: resource}
	s.mu.Lock()
	s.running[c] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.running, c)
		s.mu.Unlock()
	}
}

// enter waits until every named resource and a thread are free. Names are taken
// in sorted order, so that two batches cannot wait for each other.
func (s *server) enter(ctx context.Context, names []string) (func(), error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	var held []string
	leave := func() {
		for _, name := range held {
			s.free(name)
		}
	}
	for _, name := range names {
		if err := s.take(ctx, name); err != nil {
			leave()
			return nil, err
		}
		held = append(held, name)
	}
	s.mu.Lock()
	threads := s.threads
	s.mu.Unlock()
	select {
	case threads <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
	if err := ctx.Err(); err != nil { // had may believe that this call is over
		<-threads
		leave()
		return nil, err
	}
	return func() { <-threads; leave() }, nil
}

func (s *server) take(ctx context.Context, name string) error {
	s.mu.Lock()
	t := s.busy[name]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		s.busy[name] = t
	}
	t.users++
	s.mu.Unlock()
	select {
	case t.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		s.release(name, t)
		return ctx.Err()
	}
}

func (s *server) free(name string) {
	s.mu.Lock()
	t := s.busy[name]
	s.mu.Unlock()
	<-t.token
	s.release(name, t)
}

func (s *server) release(name string, t *turn) {
	s.mu.Lock()
	if t.users--; t.users == 0 {
		delete(s.busy, name)
	}
	s.mu.Unlock()
}

// call runs one entry point of one resource.
func (s *server) call(ctx context.Context, id uint64, ep agentv1.EntryPoint, in *agentv1.Resource, f func(*Resource) error) error {
	defer s.note(id, ep, in.GetName())()
	r := s.resource(in, ep)
	leave, err := s.enter(ctx, []string{r.Name})
	if err != nil {
		return toStatus(ctx, err)
	}
	defer leave()
	if problems := r.check(); len(problems) > 0 {
		return invalid(r.Name, problems)
	}
	return toStatus(ctx, s.guard(r, func() error { return f(r) }))
}

// guard turns a panic of the author's code into an error of this one call.
func (s *server) guard(r *Resource, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("agent panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = status.Errorf(codes.Internal, "agent panicked: %v", p)
		}
	}()
	return f()
}

func invalid(resource string, problems []Problem) error {
	var words []string
	for _, p := range problems {
		words = append(words, p.Attr+": "+p.Text)
	}
	return status.Errorf(codes.InvalidArgument, "resource %s: %s", resource, strings.Join(words, "; "))
}

// toStatus gives errors their codes: the end of ctx counts only if it is what
// the entry point failed of.
func toStatus(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), ctx.Err() == context.DeadlineExceeded:
		return status.Error(codes.DeadlineExceeded, err.Error())
	case errors.Is(err, context.Canceled), ctx.Err() == context.Canceled:
		return status.Error(codes.Canceled, err.Error())
	default:
		return status.Error(codes.Unknown, err.Error())
	}
}

func missing(ep string) error { return status.Errorf(codes.Unimplemented, "this agent has no %s", ep) }

// Describe answers at once, whatever else hangs.
func (s *server) Describe(_ context.Context, in *agentv1.DescribeRequest) (*agentv1.DescribeResponse, error) {
	out := s.describe()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := int(in.GetNumThreads()); in.NumThreads != nil && n > 0 && n != cap(s.threads) {
		s.threads = make(chan struct{}, n) // calls under way give back to the old one
	}
	for c := range s.running {
		out.Running = append(out.Running, proto.CloneOf(c))
	}
	slices.SortFunc(out.Running, func(a, b *agentv1.RunningCall) int { return int(int64(a.CallId) - int64(b.CallId)) })
	return out, nil
}

func (s *server) describe() *agentv1.DescribeResponse {
	out := &agentv1.DescribeResponse{
		Type: s.desc.Type, Version: s.desc.Version,
		Operations: agentv1.Operations(s.desc.Operations + 1),
	}
	for _, at := range s.desc.Attrs {
		a := &agentv1.Attribute{
			Name: at.Name, Kind: agentv1.Kind(at.Kind + 1), Dimension: agentv1.Dimension(at.Dimension + 1),
			Required: at.Required, Doc: at.Doc,
		}
		if at.Default != "" {
			a.DefaultValue = &agentv1.Value{Shape: &agentv1.Value_Scalar{Scalar: at.Default}}
		}
		out.Attributes = append(out.Attributes, a)
	}
	for _, ac := range s.desc.Actions {
		out.Actions = append(out.Actions, &agentv1.ActionDeclaration{Token: ac.Token, Doc: ac.Doc})
	}
	has := func(ok bool, ep agentv1.EntryPoint) {
		if ok {
			out.OptionalEntryPoints = append(out.OptionalEntryPoints, ep)
		}
	}
	_, opener := s.agent.(Opener)
	_, closer := s.agent.(Closer)
	_, batch := s.agent.(BatchMonitor)
	_, actor := s.agent.(Actor)
	_, informer := s.agent.(Informer)
	_, watcher := s.agent.(Watcher)
	_, changer := s.agent.(AttrChanger)
	_, stopper := s.agent.(Stopper)
	has(opener, agentv1.EntryPoint_ENTRY_POINT_OPEN)
	has(closer, agentv1.EntryPoint_ENTRY_POINT_CLOSE)
	has(batch, agentv1.EntryPoint_ENTRY_POINT_MONITOR_BATCH)
	has(actor, agentv1.EntryPoint_ENTRY_POINT_ACTION)
	has(informer, agentv1.EntryPoint_ENTRY_POINT_INFO)
	has(watcher, agentv1.EntryPoint_ENTRY_POINT_WATCH)
	has(changer, agentv1.EntryPoint_ENTRY_POINT_ATTR_CHANGED)
	has(true, agentv1.EntryPoint_ENTRY_POINT_VALIDATE) // the SDK checks kinds
	has(stopper, agentv1.EntryPoint_ENTRY_POINT_SHUTDOWN)
	return out
}

func (s *server) Open(ctx context.Context, in *agentv1.OpenRequest) (*agentv1.OpenResponse, error) {
	a, ok := s.agent.(Opener)
	if !ok {
		return nil, missing("open")
	}
	return &agentv1.OpenResponse{}, s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_OPEN, in.Resource,
		func(r *Resource) error { return a.Open(ctx, r) })
}

func (s *server) Close(ctx context.Context, in *agentv1.CloseRequest) (*agentv1.CloseResponse, error) {
	a, ok := s.agent.(Closer)
	if !ok {
		return nil, missing("close")
	}
	return &agentv1.CloseResponse{}, s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_CLOSE, in.Resource,
		func(r *Resource) error { return a.Close(ctx, r) })
}

// settle takes MonitorAfter out of the errors.
func settle(err error, wait **durationpb.Duration) error {
	var after monitorAfter
	if errors.As(err, &after) {
		*wait = durationpb.New(max(after.wait, 0*time.Second))
		return nil
	}
	return err
}

func (s *server) Online(ctx context.Context, in *agentv1.OnlineRequest) (*agentv1.OnlineResponse, error) {
	a, ok := s.agent.(OnOnlyController)
	if !ok || s.desc.Operations == None {
		return nil, missing("online")
	}
	out := &agentv1.OnlineResponse{}
	err := s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_ONLINE, in.Resource,
		func(r *Resource) error { return settle(a.Online(ctx, r), &out.MonitorAfter) })
	return out, err
}

func (s *server) Offline(ctx context.Context, in *agentv1.OfflineRequest) (*agentv1.OfflineResponse, error) {
	a, ok := s.agent.(Controller)
	if !ok || s.desc.Operations != OnOff {
		return nil, missing("offline")
	}
	out := &agentv1.OfflineResponse{}
	err := s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_OFFLINE, in.Resource,
		func(r *Resource) error { return settle(a.Offline(ctx, r), &out.MonitorAfter) })
	return out, err
}

func toProto(st Status) *agentv1.Status {
	out := &agentv1.Status{Detail: st.Detail}
	switch st.State {
	case Online:
		out.State = agentv1.State_STATE_ONLINE
		if st.Confidence > 0 && st.Confidence < 100 {
			out.Confidence = proto.Uint32(uint32(st.Confidence))
		}
	case Offline:
		out.State = agentv1.State_STATE_OFFLINE
	case IntentionalOffline:
		out.State = agentv1.State_STATE_INTENTIONAL_OFFLINE
	default:
		out.State = agentv1.State_STATE_UNKNOWN
	}
	return out
}

func (s *server) Monitor(ctx context.Context, in *agentv1.MonitorRequest) (*agentv1.MonitorResponse, error) {
	out := &agentv1.MonitorResponse{}
	ctx = context.WithValue(ctx, detailedKey{}, in.Detailed)
	err := s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_MONITOR, in.Resource, func(r *Resource) error {
		st, err := s.agent.Monitor(ctx, r)
		out.Status = toProto(st)
		return err
	})
	return out, err
}

type detailedKey struct{}

// Detailed reports whether this monitor cycle is to look closer than usual
// (LevelTwoMonitorFreq).
func Detailed(ctx context.Context) bool {
	detailed, _ := ctx.Value(detailedKey{}).(bool)
	return detailed
}

func (s *server) MonitorBatch(ctx context.Context, in *agentv1.MonitorBatchRequest) (*agentv1.MonitorBatchResponse, error) {
	a, ok := s.agent.(BatchMonitor)
	if !ok {
		return nil, missing("monitor batch")
	}
	defer s.note(in.CallId, agentv1.EntryPoint_ENTRY_POINT_MONITOR_BATCH, "")()
	var names []string
	var rs []*Resource
	for _, one := range in.Resources {
		r := s.resource(one, agentv1.EntryPoint_ENTRY_POINT_MONITOR_BATCH)
		names = append(names, r.Name)
		if len(r.check()) == 0 { // the others are missing in the answer: UNKNOWN
			rs = append(rs, r)
		}
	}
	leave, err := s.enter(ctx, names)
	if err != nil {
		return nil, toStatus(ctx, err)
	}
	defer leave()
	out := &agentv1.MonitorBatchResponse{Statuses: map[string]*agentv1.Status{}}
	err = s.guard(&Resource{Log: s.log}, func() error {
		found, err := a.MonitorBatch(ctx, rs)
		for _, name := range sortedKeys(found) {
			out.Statuses[name] = toProto(found[name])
		}
		return err
	})
	return out, toStatus(ctx, err)
}

func (s *server) Clean(ctx context.Context, in *agentv1.CleanRequest) (*agentv1.CleanResponse, error) {
	a, ok := s.agent.(OnOnlyController)
	if !ok || s.desc.Operations == None {
		return nil, missing("clean")
	}
	return &agentv1.CleanResponse{}, s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_CLEAN, in.Resource,
		func(r *Resource) error { return a.Clean(ctx, r, CleanReason(in.Reason)-1) })
}

func (s *server) Action(ctx context.Context, in *agentv1.ActionRequest) (*agentv1.ActionResponse, error) {
	a, ok := s.agent.(Actor)
	known := slices.ContainsFunc(s.desc.Actions, func(ac Action) bool { return ac.Token == in.Token })
	if !ok || !known {
		return nil, missing("action " + in.Token)
	}
	out := &agentv1.ActionResponse{}
	err := s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_ACTION, in.Resource, func(r *Resource) error {
		output, code, err := a.Action(ctx, r, in.Token, in.Arguments)
		out.Output, out.ExitCode = strings.ToValidUTF8(output[:min(len(output), maxOutput)], "?"), int32(code)
		return err
	})
	return out, err
}

func (s *server) Info(ctx context.Context, in *agentv1.InfoRequest) (*agentv1.InfoResponse, error) {
	a, ok := s.agent.(Informer)
	if !ok {
		return nil, missing("info")
	}
	out := &agentv1.InfoResponse{}
	err := s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_INFO, in.Resource, func(r *Resource) (err error) {
		out.Facts, err = a.Info(ctx, r)
		return err
	})
	return out, err
}

func (s *server) Watch(in *agentv1.WatchRequest, stream agentv1.AgentService_WatchServer) error {
	a, ok := s.agent.(Watcher)
	if !ok {
		return missing("watch")
	}
	r := s.resource(in.Resource, agentv1.EntryPoint_ENTRY_POINT_WATCH)
	if problems := r.check(); len(problems) > 0 {
		return invalid(r.Name, problems)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	var sendErr error
	push := func(st Status) {
		if err := stream.Send(&agentv1.WatchResponse{Status: toProto(st)}); err != nil {
			sendErr = err
			cancel()
		}
	}
	err := s.guard(r, func() error { return a.Watch(ctx, r, push) })
	return toStatus(stream.Context(), errors.Join(sendErr, err))
}

func (s *server) AttrChanged(ctx context.Context, in *agentv1.AttrChangedRequest) (*agentv1.AttrChangedResponse, error) {
	a, ok := s.agent.(AttrChanger)
	if !ok {
		return nil, missing("attr_changed")
	}
	return &agentv1.AttrChangedResponse{}, s.call(ctx, in.CallId, agentv1.EntryPoint_ENTRY_POINT_ATTR_CHANGED, in.Resource,
		func(r *Resource) error {
			before := &Resource{Name: r.Name, Log: r.Log, declared: s.declared, values: in.Previous}
			return a.AttrChanged(ctx, r, before)
		})
}

func (s *server) Validate(ctx context.Context, in *agentv1.ValidateRequest) (*agentv1.ValidateResponse, error) {
	r := s.resource(in.Resource, agentv1.EntryPoint_ENTRY_POINT_VALIDATE)
	problems := r.check()
	if a, ok := s.agent.(Validator); ok && len(problems) == 0 {
		err := s.guard(r, func() error { problems = a.Validate(ctx, r); return nil })
		if err != nil {
			return nil, err
		}
	}
	out := &agentv1.ValidateResponse{}
	for _, p := range problems {
		out.Problems = append(out.Problems, &agentv1.AttributeProblem{Attribute: p.Attr, Problem: p.Text})
	}
	return out, nil
}

func (s *server) Shutdown(ctx context.Context, _ *agentv1.ShutdownRequest) (*agentv1.ShutdownResponse, error) {
	if a, ok := s.agent.(Stopper); ok {
		if err := s.guard(&Resource{Log: s.log}, func() error { a.Shutdown(ctx); return nil }); err != nil {
			return nil, err
		}
	}
	return &agentv1.ShutdownResponse{}, nil
}
