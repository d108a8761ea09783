package server

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

const (
	// readTime bounds every read command.
	readTime = 2 * time.Second
	// operationTime is how long a changing call waits to come out of the total
	// order.
	operationTime = 10 * time.Second
)

// waiter is a caller that waits for the result of its command.
type waiter struct {
	reply chan answer // bound 1, written once
	// at is where its own message stands in the order, once it is there.
	at   engine.Pos
	said uint64 // fingerprint of the command
}

type answer struct {
	result engine.CommandResult
	err    error
}

// api is what the services share.
type api struct {
	loop *loop
	root paths.Root
}

// do runs f in the loop. After an error f has not run and never will: who is
// told to try again has ordered nothing.
func (a *api) do(ctx context.Context, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	done := make(chan struct{})
	var taken atomic.Bool // by the loop or, to give up, by the caller
	run := func() {
		if taken.CompareAndSwap(false, true) {
			f()
			close(done)
		}
	}
	select {
	case a.loop.posts <- run:
	case <-ctx.Done():
		return busy()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if taken.CompareAndSwap(false, true) {
			return busy()
		}
		<-done // f runs; it does not wait for anything
		return nil
	}
}

func busy() error {
	return refusal(codes.Unavailable, "BUSY", "V-16-1-11030", "ERROR", "had does not answer: it is starting, stopping or overloaded; try again")
}

// operate broadcasts a command and answers when it came out of the total order
// (R15); with plan it asks a copy of the engine.
func (a *api) operate(ctx context.Context, c engine.Command, plan bool) (*hadv1.Operation, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if err := named(c); err != nil {
		return nil, err
	}
	c.User = userOf(ctx)
	if plan {
		return a.plan(ctx, c)
	}
	if c.RequestID == "" {
		c.RequestID = uuid.NewString()
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	w := &waiter{reply: make(chan answer, 1)}
	if err := a.do(ctx, func() { a.loop.submit(c, w) }); err != nil {
		return nil, err
	}
	select {
	case got := <-w.reply:
		return operationProto(got)
	case <-ctx.Done():
		return nil, outcomeUnknown(c.RequestID, "no answer in time")
	}
}

// named refuses a command that does not say what it is about.
func named(c engine.Command) error {
	kind, _, _ := strings.Cut(string(c.Kind), "-")
	name := map[string]string{"group": c.Group, "resource": c.Resource, "system": c.System, "agent": c.Type}[kind]
	if name != "" || kind == "config" || c.Kind == engine.CommandSystemStop {
		return nil
	}
	return nameMissing(kind)
}

func operationProto(got answer) (*hadv1.Operation, error) {
	if got.err != nil {
		return nil, got.err
	}
	if err := refused(got.result); err != nil {
		return nil, err
	}
	return &hadv1.Operation{RequestId: got.result.RequestID, Position: positionProto(got.result.Pos),
		RepeatedRequest: got.result.Repeated, Notices: noticesProto(got.result.Notices), ConfigEdits: got.result.Edits}, nil
}

func noticesProto(ns []engine.Notice) []*hadv1.Notice {
	var out []*hadv1.Notice
	for _, n := range ns {
		out = append(out, &hadv1.Notice{Severity: n.Severity, MessageId: n.ID, Text: n.Text})
	}
	return out
}

func userOf(ctx context.Context) string {
	c, ok := localrpc.CallerOf(ctx)
	if !ok {
		return ""
	}
	uid := strconv.FormatUint(uint64(c.UID), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// plan lets a copy of the engine carry the command out.
func (a *api) plan(ctx context.Context, c engine.Command) (*hadv1.Operation, error) {
	var effects []engine.Effect
	var err error
	if doErr := a.do(ctx, func() { effects, err = a.loop.engine.Plan(a.loop.self, c) }); doErr != nil {
		return nil, doErr
	}
	if err != nil {
		return nil, refusal(codes.Internal, "PLAN_FAILED", "V-16-1-10000", "ERROR", err.Error())
	}
	op := &hadv1.Operation{RequestId: c.RequestID}
	for _, effect := range effects {
		switch e := effect.(type) {
		case engine.CommandResult:
			if err := refused(e); err != nil {
				return nil, err
			}
			op.Notices, op.ConfigEdits = noticesProto(e.Notices), e.Edits
		case engine.ResourceCommand:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.Command.System, Resource: e.Command.Resource,
				Action: e.Command.Kind.String(), Text: fmt.Sprintf("%s %s on %s", e.Command.Kind, e.Command.Resource, e.Command.System)})
		case engine.AgentCommand:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: string(e.Kind), Text: e.String()})
		case engine.StopSystem:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: "stop", Text: "had stops on " + e.System})
		case engine.MarkStale:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: "mark", Text: e.System + " marks the copy on its disk .stale"})
		case engine.DumpConfig:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: "dump",
				Text: fmt.Sprintf("%s writes the running configuration to its disk, as version %d", e.System, e.Version)})
		case engine.BuildLocal:
			op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: "build", Text: e.System + " builds from its own disk"})
		case engine.RunTrigger:
			if e.Event == engine.TriggerPreOnline { // the only one that is waited for
				op.PlannedSteps = append(op.PlannedSteps, &hadv1.PlannedStep{System: e.System, Action: "preonline",
					Text: "wait for the preonline trigger on " + e.System + ", if there is one"})
			}
		case engine.Explained:
			op.Decisions = append(op.Decisions, decisionProto(e.Explanation))
		}
	}
	return op, nil
}

// submit takes a command of a caller; w gets exactly one answer.
func (l *loop) submit(c engine.Command, w *waiter) {
	if known, is := l.engine.Repeated(c); is {
		w.reply <- answer{result: known}
		return
	}
	if l.leavesAlone(c) {
		l.stepJoin(join.Stop{Forced: true})
		w.reply <- answer{result: engine.CommandResult{RequestID: c.RequestID, Code: engine.CodeOK, Pos: l.pos}}
		return
	}
	if err := l.mayOperate(c.Kind); err != nil {
		w.reply <- answer{err: err}
		return
	}
	payload, err := encodeEvent(c)
	if err == nil && len(payload) > maxPayload {
		err = fmt.Errorf("%d bytes, packed; at most %d can be sent", len(payload), maxPayload)
	}
	if err != nil {
		w.reply <- answer{err: refusal(codes.InvalidArgument, "TOO_LARGE", "V-16-1-10000", "ERROR", "the operation is too large: "+err.Error())}
		return
	}
	w.said = c.Fingerprint()
	l.waiters[c.RequestID] = append(l.waiters[c.RequestID], w)
	sent := l.broadcast(nil, payload)
	l.bySend[sent], l.asked[sent] = c.RequestID, w
}

// leavesAlone: hastop -local -force is obeyed in every state, also where
// nothing can be ordered.
func (l *loop) leavesAlone(c engine.Command) bool {
	me := len(c.Systems) == 1 && c.Systems[0] == l.self
	return c.Kind == engine.CommandSystemStop && c.Force && me && (!l.running || l.gate != nil)
}

// mayOperate says whether a command can be ordered now.
func (l *loop) mayOperate(kind engine.CommandKind) error {
	if l.gate != nil {
		return refusal(codes.Unavailable, "GATE_HELD", "V-16-1-11030", "ERROR",
			"the membership is held for want of evidence that a system is gone: "+l.gate.GetReason())
	}
	if l.port == nil || l.view == nil {
		return refusal(codes.Unavailable, "NOT_RUNNING", "V-16-1-11030", "ERROR",
			fmt.Sprintf("had is in state %s: %s", l.join.State(), l.join.WaitingFor()))
	}
	if l.running || kind == engine.CommandSystemForce || kind == engine.CommandSystemStop {
		return nil
	}
	return refusal(codes.FailedPrecondition, "NOT_RUNNING", "V-16-1-50129", "ERROR",
		fmt.Sprintf("Operation rejected: system %s is in state %s; %s", l.self, l.join.State(), l.join.WaitingFor()))
}

// answer gives a command's result to those who wait for it here: as the first
// one to whoever sent the message that was carried out, as a repeated one to
// all others, whose own messages are still on their way and change nothing
// (R15). Whoever used the same request id for something else gets an answer of
// its own.
func (l *loop) answer(r engine.CommandResult) {
	others := slices.DeleteFunc(l.waiters[r.RequestID], func(w *waiter) bool {
		if w.said != r.Said {
			return false
		}
		to := r
		to.Repeated = r.Repeated || w.at != r.Pos
		w.reply <- answer{result: to}
		return true
	})
	if len(others) > 0 {
		l.waiters[r.RequestID] = others
		return
	}
	delete(l.waiters, r.RequestID)
}

func (l *loop) answerUnknown(requestID, why string) {
	for _, w := range l.waiters[requestID] {
		w.reply <- answer{err: outcomeUnknown(requestID, why)}
	}
	delete(l.waiters, requestID)
}

// answerLost tells the caller whose message nobody got. Others who wait for the
// same request id have messages of their own, which may yet be carried out: they
// must not hear that nobody took the operation (R15).
func (l *loop) answerLost(requestID string, sender *waiter) {
	others := slices.DeleteFunc(l.waiters[requestID], func(w *waiter) bool {
		if w != sender {
			return false
		}
		w.reply <- answer{err: refusal(codes.Unavailable, "LOST", "V-16-1-11030", "ERROR",
			"nobody took the operation, because the membership changed; try again")}
		return true
	})
	if len(others) > 0 {
		l.waiters[requestID] = others
		return
	}
	delete(l.waiters, requestID)
}

// outcome is what became of a message of ours (R15).
func (l *loop) outcome(o *gabv1.Outcome) {
	id, waited := l.bySend[o.GetMessageId()]
	sender := l.asked[o.GetMessageId()]
	again := l.onLost[o.GetMessageId()]
	delete(l.bySend, o.GetMessageId())
	delete(l.onLost, o.GetMessageId())
	if o.GetResult() != gabv1.SendResult_SEND_RESULT_DELIVERED { // it will not come out of the order here
		delete(l.asked, o.GetMessageId())
	}
	switch o.GetResult() {
	case gabv1.SendResult_SEND_RESULT_LOST:
		if !waited {
			l.log.Warn("nobody got a message; it is sent again", "message", o.GetMessageId())
			if again != nil {
				again()
			}
			return
		}
		l.answerLost(id, sender)
	case gabv1.SendResult_SEND_RESULT_UNKNOWN:
		if waited {
			l.answerUnknown(id, "this system left the membership")
		}
	}
}

// systemAPI, groupAPI and the others are the services.
type (
	systemAPI struct {
		hadv1.UnimplementedSystemServiceServer
		*api
	}
	groupAPI struct {
		hadv1.UnimplementedGroupServiceServer
		*api
	}
	resourceAPI struct {
		hadv1.UnimplementedResourceServiceServer
		*api
	}
)

func (a systemAPI) FreezeSystem(ctx context.Context, r *hadv1.FreezeSystemRequest) (*hadv1.FreezeSystemResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandSystemFreeze, System: r.GetName(),
		Persistent: r.GetPersistent(), Evacuate: r.GetEvacuate()}, r.GetPlan())
	return &hadv1.FreezeSystemResponse{Operation: op}, err
}

func (a systemAPI) UnfreezeSystem(ctx context.Context, r *hadv1.UnfreezeSystemRequest) (*hadv1.UnfreezeSystemResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandSystemUnfreeze, System: r.GetName(),
		Persistent: r.GetPersistent()}, r.GetPlan())
	return &hadv1.UnfreezeSystemResponse{Operation: op}, err
}

func (a systemAPI) StopSystem(ctx context.Context, r *hadv1.StopSystemRequest) (*hadv1.StopSystemResponse, error) {
	names := slices.Clone(r.GetNames())
	if len(names) == 0 && !r.GetAll() {
		names = []string{a.loop.self}
	}
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandSystemStop, Systems: names,
		All: r.GetAll(), Force: r.GetForce(), Evacuate: r.GetEvacuate(), NoAutoDisable: r.GetNoAutodisable(),
		Local: len(r.GetNames()) == 0 && !r.GetAll(), Confirmed: r.GetConfirmed(), Reboot: r.GetReboot()}, r.GetPlan())
	return &hadv1.StopSystemResponse{Operation: op}, err
}

func (a systemAPI) SetSystemLoad(ctx context.Context, r *hadv1.SetSystemLoadRequest) (*hadv1.SetSystemLoadResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandSystemLoad, System: r.GetName(),
		Load: int(r.GetLoad()), ClearLoad: r.GetClear()}, r.GetPlan())
	return &hadv1.SetSystemLoadResponse{Operation: op}, err
}

func (a groupAPI) OnlineGroup(ctx context.Context, r *hadv1.OnlineGroupRequest) (*hadv1.OnlineGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupOnline, Group: r.GetName(),
		System: r.GetSystem(), Any: r.GetAnySystem(), Propagate: r.GetPropagate(), NoPre: r.GetNoPre(), CheckPartial: r.GetCheckPartial()}, r.GetPlan())
	return &hadv1.OnlineGroupResponse{Operation: op}, err
}

func (a groupAPI) OfflineGroup(ctx context.Context, r *hadv1.OfflineGroupRequest) (*hadv1.OfflineGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupOffline, Group: r.GetName(),
		System: r.GetSystem(), Any: r.GetAnySystem(), Propagate: r.GetPropagate(), Force: r.GetForce()}, r.GetPlan())
	return &hadv1.OfflineGroupResponse{Operation: op}, err
}

func (a groupAPI) SwitchGroup(ctx context.Context, r *hadv1.SwitchGroupRequest) (*hadv1.SwitchGroupResponse, error) {
	c := engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupSwitch, Group: r.GetName(),
		System: r.GetToSystem(), Any: r.GetAnySystem(), NoPre: r.GetNoPre()}
	if !r.GetPlan() {
		if err := a.preswitch(ctx, c); err != nil {
			return nil, err
		}
	}
	op, err := a.operate(ctx, c, r.GetPlan())
	return &hadv1.SwitchGroupResponse{Operation: op}, err
}

func (a groupAPI) ClearGroup(ctx context.Context, r *hadv1.ClearGroupRequest) (*hadv1.ClearGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupClear, Group: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.ClearGroupResponse{Operation: op}, err
}

func (a groupAPI) FreezeGroup(ctx context.Context, r *hadv1.FreezeGroupRequest) (*hadv1.FreezeGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupFreeze, Group: r.GetName(),
		Persistent: r.GetPersistent()}, r.GetPlan())
	return &hadv1.FreezeGroupResponse{Operation: op}, err
}

func (a groupAPI) UnfreezeGroup(ctx context.Context, r *hadv1.UnfreezeGroupRequest) (*hadv1.UnfreezeGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupUnfreeze, Group: r.GetName(),
		Persistent: r.GetPersistent()}, r.GetPlan())
	return &hadv1.UnfreezeGroupResponse{Operation: op}, err
}

func (a groupAPI) FlushGroup(ctx context.Context, r *hadv1.FlushGroupRequest) (*hadv1.FlushGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupFlush, Group: r.GetName(),
		System: r.GetSystem(), Force: r.GetForce()}, r.GetPlan())
	return &hadv1.FlushGroupResponse{Operation: op}, err
}

func (a groupAPI) AutoenableGroup(ctx context.Context, r *hadv1.AutoenableGroupRequest) (*hadv1.AutoenableGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupAutoenable, Group: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.AutoenableGroupResponse{Operation: op}, err
}

func (a groupAPI) ClearAdminWaitGroup(ctx context.Context, r *hadv1.ClearAdminWaitGroupRequest) (*hadv1.ClearAdminWaitGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupClearAdminWait, Group: r.GetName(),
		System: r.GetSystem(), Fault: r.GetFault()}, r.GetPlan())
	return &hadv1.ClearAdminWaitGroupResponse{Operation: op}, err
}

func (a resourceAPI) OnlineResource(ctx context.Context, r *hadv1.OnlineResourceRequest) (*hadv1.OnlineResourceResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceOnline, Resource: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.OnlineResourceResponse{Operation: op}, err
}

func (a resourceAPI) OfflineResource(ctx context.Context, r *hadv1.OfflineResourceRequest) (*hadv1.OfflineResourceResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceOffline, Resource: r.GetName(),
		System: r.GetSystem(), IgnoreParent: r.GetIgnoreParent(), ParentProp: r.GetParentProp(), Propagate: r.GetPropagate()}, r.GetPlan())
	return &hadv1.OfflineResourceResponse{Operation: op}, err
}

func (a resourceAPI) ProbeResource(ctx context.Context, r *hadv1.ProbeResourceRequest) (*hadv1.ProbeResourceResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceProbe, Resource: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.ProbeResourceResponse{Operation: op}, err
}

func (a resourceAPI) ClearResource(ctx context.Context, r *hadv1.ClearResourceRequest) (*hadv1.ClearResourceResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceClear, Resource: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.ClearResourceResponse{Operation: op}, err
}
