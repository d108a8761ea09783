package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
	"google.golang.org/grpc/codes"
)

const (
	// maxActionOutput is what an action may print.
	maxActionOutput = 64 << 10
	// maxActionArgs is how long the arguments may be together.
	maxActionArgs = 16 << 10
	// maxActionsAsked is how many actions may wait for an answer here.
	maxActionsAsked = 64
	// actionSlack is what an answer may take beyond the times of the action.
	actionSlack = 5 * time.Second
)

// actionAsked is a request for an action, sent to the system where it runs and
// to no other: what an action prints is nobody else's, and no part of the
// replicated state.
type actionAsked struct {
	// ID is the asker's.
	ID       uint64   `json:"id"`
	Resource string   `json:"resource"`
	Token    string   `json:"token"`
	Args     []string `json:"args,omitempty"`
}

// acted is how an action ended. Problem and Reason say why it did not run to
// its end; else ExitCode is its own word.
type acted struct {
	ID        uint64 `json:"id"`
	Output    string `json:"output,omitempty"`
	ExitCode  int    `json:"exit_code,omitempty"`
	Truncated bool   `json:"truncated,omitempty"`
	Problem   string `json:"problem,omitempty"`
	Reason    string `json:"reason,omitempty"`
	System    string `json:"-"`
}

// actions are those asked for here and those that run here.
type actions struct {
	last  uint64
	asked map[uint64]*askedAction
	runs  map[schedule.ActionID]runningAction
	next  schedule.ActionID
}

// askedAction waits for the answer of a system.
type askedAction struct {
	system string
	reply  chan acted // bound 1, written once
}

// runningAction is one that was asked for and has no end yet.
type runningAction struct {
	ask  actionAsked
	node uint32
	self bool // asked for on this very system
}

func newActions() actions {
	return actions{asked: map[uint64]*askedAction{}, runs: map[schedule.ActionID]runningAction{}}
}

// aside is what a call needs beside the resource.
type aside struct {
	ask      actionAsked
	before   map[string]host.Value // AttrChanged: values that changed, as they were
	output   string
	exitCode int
}

// asideOf takes it, in the loop, before the call begins.
func (l *loop) asideOf(e schedule.Call) *aside {
	a := &aside{}
	switch e.Entry {
	case schedule.Action:
		a.ask = l.actions.runs[e.Action].ask
	case schedule.AttrChanged:
		now := l.attributes(e.Resource).Attrs
		a.before = map[string]host.Value{}
		for name, v := range l.before[e.Resource] {
			if !v.Equal(now[name]) {
				a.before[name] = v
			}
		}
		delete(l.before, e.Resource)
	}
	return a
}

// askAction sends an action to its system.
func (l *loop) askAction(system string, ask actionAsked, reply chan acted) (uint64, error) {
	if err := l.mayOperate("action"); err != nil {
		return 0, err
	}
	if len(l.actions.asked) >= maxActionsAsked {
		return 0, refusal(codes.Unavailable, "BUSY", "V-16-1-11030", "ERROR",
			fmt.Sprintf("%d actions wait for their end already; try again", maxActionsAsked))
	}
	l.actions.last++
	ask.ID = l.actions.last
	l.actions.asked[ask.ID] = &askedAction{system: system, reply: reply}
	if system == l.self {
		l.act(runningAction{ask: ask, self: true})
		return ask.ID, nil
	}
	node, known := l.nodes[system]
	if !known {
		l.actionReplied(system, acted{ID: ask.ID, Reason: "LOST", Problem: "system " + system + " is not in the membership"})
		return ask.ID, nil
	}
	sent := l.broadcast(&node, encodeJSON(kindAction, ask))
	l.onLost[sent] = func() {
		l.actionReplied(system, acted{ID: ask.ID, Reason: "LOST", Problem: "nobody took the request, because the membership changed; try again"})
	}
	return ask.ID, nil
}

// actionAsked takes another system's request.
func (l *loop) actionAsked(node uint32, ask actionAsked) {
	l.act(runningAction{ask: ask, node: node})
}

// act hands an action to the scheduler, which lets it wait for its turn.
func (l *loop) act(r runningAction) {
	l.actions.next++
	id := l.actions.next
	l.actions.runs[id] = r
	timeout := l.actionTimeout(r.ask.Resource)
	switch {
	case !l.running:
		l.acted(id, acted{Reason: "NOT_RUNNING", Problem: "had is not RUNNING on system " + l.self})
	case !l.supports(r.ask):
		l.acted(id, acted{Reason: "ACTION_NOT_SUPPORTED", Problem: "the type has no action " + r.ask.Token + " any more"})
	default:
		l.stepSchedule(schedule.Act{ID: id, Resource: r.ask.Resource, Until: boottime().Add(timeout)})
	}
}

// announceAction is the action by which a resource tells others that it is
// here.
const announceAction = "announce"

// announce lets what is online here and is known to others by an address tell
// them so again, when a system has come that was not there: while it was away
// it may have claimed the address too, and who believes in it would go on to.
func (l *loop) announce() {
	config := l.config()
	if config == nil || !l.running {
		return
	}
	for _, spec := range l.sched.Specs() {
		report, known := l.sched.Report(spec.Resource)
		if !known || report.State != resource.StateOnline || config.Resource(spec.Resource) == nil {
			continue
		}
		ask := actionAsked{Resource: spec.Resource, Token: announceAction}
		if l.supports(ask) {
			l.act(runningAction{ask: ask, self: true}) // nobody waits for its answer
		}
	}
}

func (l *loop) supports(ask actionAsked) bool {
	config := l.config()
	if config == nil || config.Resource(ask.Resource) == nil {
		return true // the scheduler says what is wrong
	}
	v, _ := config.TypeAttr(config.Resource(ask.Resource).Type, "SupportedActions")
	return slices.Contains(v.List, ask.Token)
}

func (l *loop) actionTimeout(name string) time.Duration {
	if config := l.config(); config != nil {
		return actionTimeout(config, name, l.self)
	}
	return time.Second
}

func actionTimeout(c *maincf.Config, name, system string) time.Duration {
	r := c.Resource(name)
	if r == nil {
		return time.Second
	}
	v, _ := c.StaticAttr(r, "ActionTimeout", system)
	return time.Duration(max(1, v.Int())) * time.Second
}

// actionEnded takes the result of an action's call.
func (l *loop) actionEnded(e schedule.Call, a *aside, result schedule.EntryPointResult) {
	out := acted{Output: a.output, ExitCode: a.exitCode}
	if len(out.Output) > maxActionOutput {
		out.Output, out.Truncated = strings.ToValidUTF8(out.Output[:maxActionOutput], ""), true
	}
	switch {
	case result.Missing:
		out.Reason, out.Problem = "ACTION_NOT_SUPPORTED", "the agent of type "+e.Type+" has no action "+a.ask.Token
	case result.Outcome == schedule.TimedOut, result.Outcome == schedule.Cancelled && l.ctx.Err() == nil:
		out.Reason, out.Problem = "ACTION_TIMED_OUT", "the action did not complete within ActionTimeout and was ended"
	case result.Outcome == schedule.Cancelled:
		out.Reason, out.Problem = "ACTION_NOT_RUN", "the action was ended: had stops"
	case result.Outcome == schedule.PluginGone:
		out.Reason, out.Problem = "ACTION_NOT_RUN", "the agent of type "+e.Type+" died or does not run"
	case result.Outcome != schedule.OK:
		out.Reason, out.Problem = "ACTION_FAILED", result.Detail
	}
	l.acted(e.Action, out)
}

// acted answers who asked.
func (l *loop) acted(id schedule.ActionID, out acted) {
	r, known := l.actions.runs[id]
	if !known {
		return
	}
	delete(l.actions.runs, id)
	out.ID = r.ask.ID
	if r.self {
		l.actionReplied(l.self, out)
		return
	}
	l.reply(r.node, out)
}

// reply sends the answer; to a system that is gone nobody answers.
func (l *loop) reply(node uint32, out acted) {
	if l.view == nil || !slices.ContainsFunc(l.view.GetMembers(), memberNamed(l.names[node])) {
		return
	}
	sent := l.broadcast(&node, encodeJSON(kindActed, out))
	l.onLost[sent] = func() { l.reply(node, out) }
}

// actionReplied takes the answer of a system.
func (l *loop) actionReplied(from string, out acted) {
	a := l.actions.asked[out.ID]
	if a == nil || a.system != from {
		return
	}
	delete(l.actions.asked, out.ID)
	out.System = from
	a.reply <- out
}

// endLostActions answers for systems that are gone.
func (l *loop) endLostActions() {
	for _, id := range sortedIDs(l.actions.asked) {
		a := l.actions.asked[id]
		if a.system != l.self && !slices.ContainsFunc(l.view.GetMembers(), memberNamed(a.system)) {
			l.actionReplied(a.system, acted{ID: id, Reason: "OUTCOME_UNKNOWN",
				Problem: "system " + a.system + " left the membership; the action may or may not have run"})
		}
	}
}

// endActions answers everybody.
func (l *loop) endActions(why string) {
	for _, id := range sortedIDs(l.actions.asked) {
		l.actionReplied(l.actions.asked[id].system, acted{ID: id, Reason: "OUTCOME_UNKNOWN", Problem: why + "; the action may or may not have run"})
	}
}

func sortedIDs(m map[uint64]*askedAction) []uint64 {
	ids := make([]uint64, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// RunResourceAction runs an action where the caller says and waits for its end.
func (a resourceAPI) RunResourceAction(ctx context.Context, r *hadv1.RunResourceActionRequest) (*hadv1.RunResourceActionResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	look, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if err := look.mayAct(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*actionTimeout(look.cfg, r.GetName(), r.GetSystem())+actionSlack)
	defer cancel()
	reply := make(chan acted, 1)
	var id uint64
	var refused error
	if err := a.do(ctx, func() {
		id, refused = a.loop.askAction(r.GetSystem(), actionAsked{Resource: r.GetName(), Token: r.GetToken(), Args: r.GetArguments()}, reply)
	}); err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	select {
	case out := <-reply:
		return out.answer(r)
	case <-ctx.Done():
		a.loop.post(func() { delete(a.loop.actions.asked, id) })
		return nil, refusal(codes.DeadlineExceeded, "OUTCOME_UNKNOWN", "V-16-1-10805", "ERROR",
			fmt.Sprintf("system %s does not answer in time; action %s of %s may or may not have run", r.GetSystem(), r.GetToken(), r.GetName()))
	}
}

// mayAct says what is wrong with a request for an action.
func (r *replica) mayAct(q *hadv1.RunResourceActionRequest) error {
	res, err := find(r.resources(true), "Resource", "V-16-1-10260", q.GetName())
	if err != nil {
		return err
	}
	var systems []string
	for _, on := range res.GetSystems() {
		systems = append(systems, on.GetSystem())
	}
	size := 0
	for _, arg := range q.GetArguments() {
		size += len(arg)
	}
	typ, _ := r.cfg.TypeAttr(res.GetType(), "SupportedActions")
	switch {
	case q.GetSystem() == "":
		return refusal(codes.InvalidArgument, "NAME_MISSING", "V-16-1-10000", "ERROR", "system: on which system is the action to run? Name one with -sys")
	case r.cfg.System(q.GetSystem()) == nil:
		return notFound("System", "V-16-1-10357", q.GetSystem(), systems)
	case !slices.Contains(systems, q.GetSystem()):
		return refusal(codes.InvalidArgument, "NOT_IN_SYSTEM_LIST", "V-16-1-10135", "WARNING",
			fmt.Sprintf("System %s is not in the SystemList of group %s, which is: %s", q.GetSystem(), res.GetGroup(), strings.Join(systems, ", ")))
	case q.GetToken() == "":
		return refusal(codes.InvalidArgument, "NAME_MISSING", "V-16-1-10000", "ERROR", "token: which action? "+known(res.GetType(), typ.List))
	case !slices.Contains(typ.List, q.GetToken()):
		text := fmt.Sprintf("Action %s is not supported by type %s", q.GetToken(), res.GetType())
		if near := policy.Nearest(q.GetToken(), typ.List); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, ", ") + "?"
		}
		return refusal(codes.InvalidArgument, "ACTION_NOT_SUPPORTED", "V-16-1-90180", "WARNING", text+" "+known(res.GetType(), typ.List),
			"nearest", strings.Join(policy.Nearest(q.GetToken(), typ.List), ","))
	case size > maxActionArgs:
		return refusal(codes.InvalidArgument, "BAD_REQUEST", "V-16-1-10000", "ERROR",
			fmt.Sprintf("arguments: %d bytes together; at most %d are allowed", size, maxActionArgs))
	case !res.GetEnabled():
		return refusal(codes.FailedPrecondition, "DISABLED", "V-16-1-10263", "WARNING",
			"Resource "+q.GetName()+" is disabled (Enabled = 0); hares -modify "+q.GetName()+" Enabled 1")
	}
	return r.reachable(q.GetSystem(), res.GetType())
}

// reachable says why nothing can be asked of a system's agent.
func (r *replica) reachable(system, typ string) error {
	for _, s := range r.st.Systems {
		if s.Name == system && (!s.InView || (s.State != engine.SystemRunning && s.State != engine.SystemLeaving)) {
			return refusal(codes.FailedPrecondition, "SYSTEM_NOT_RUNNING", "V-16-1-10200", "WARNING",
				fmt.Sprintf("System %s is not available: it is %s", system, s.State))
		}
	}
	for _, a := range r.st.Agents {
		if a.Type == typ && a.System == system && (a.State == engine.AgentStopped || a.State == engine.AgentGivenUp) {
			return refusal(codes.FailedPrecondition, "AGENT_NOT_RUNNING", "V-16-1-90177", "WARNING",
				fmt.Sprintf("Agent %s is not running on system %s: it is %s; haagent -start %s -sys %s", typ, system, a.State, typ, system))
		}
	}
	return nil
}

func known(typ string, tokens []string) string {
	if len(tokens) == 0 {
		return "(type " + typ + " has no SupportedActions)"
	}
	return "(SupportedActions: " + strings.Join(tokens, " ") + ")"
}

// answer is what the caller gets.
func (o acted) answer(q *hadv1.RunResourceActionRequest) (*hadv1.RunResourceActionResponse, error) {
	if o.Reason == "" {
		return &hadv1.RunResourceActionResponse{Output: o.Output, ExitCode: int32(o.ExitCode), Truncated: o.Truncated}, nil
	}
	code := map[string]codes.Code{"LOST": codes.Unavailable, "OUTCOME_UNKNOWN": codes.Unknown, "ACTION_TIMED_OUT": codes.DeadlineExceeded,
		"ACTION_FAILED": codes.Unknown, "ACTION_NOT_SUPPORTED": codes.InvalidArgument}[o.Reason]
	if code == codes.OK {
		code = codes.FailedPrecondition
	}
	return nil, refusal(code, o.Reason, "V-16-1-90181", "ERROR",
		fmt.Sprintf("Action %s of resource %s on system %s: %s", q.GetToken(), q.GetName(), o.System, o.Problem))
}
