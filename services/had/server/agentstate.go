package server

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

const (
	// tellAgentEvery is the time between two words about one agent in the long
	// run, so that one that dies again and again does not fill the total order;
	// tellAgentSaved is how much of it may be saved up.
	tellAgentEvery = time.Second
	tellAgentSaved = 5 * time.Second
	// stopAgentTime is how long haagent -stop waits for calls under way.
	stopAgentTime = 10 * time.Second
	// swapAgentTime is how long a new build may take to be there.
	swapAgentTime = 60 * time.Second
)

// state is how an agent stands, in the engine's words.
func (t *agentType) state() engine.AgentState {
	switch {
	case t.stopped:
		return engine.AgentStopped
	case t.up:
		return engine.AgentRunning
	case t.givenUp || t.path == "":
		return engine.AgentGivenUp
	case t.started:
		return engine.AgentStarting
	}
	return engine.AgentDown
}

// agentWords are haagent's words for the states.
var agentWords = map[engine.AgentState]string{
	engine.AgentRunning: "Running", engine.AgentStarting: "Starting", engine.AgentDown: "Not Running",
	engine.AgentStopped: "Stopped", engine.AgentGivenUp: "Given up",
}

func (l *loop) agentWord(name string, t *agentType) engine.AgentReported {
	return engine.AgentReported{System: l.self, Incarnation: l.incarnation, Type: name, State: t.state(), Version: t.version,
		Faults: t.faults, Watches: t.watches, Reason: t.reason}
}

// tellAgents broadcasts what changed about the agents here.
func (l *loop) tellAgents(now vclock.Time) {
	if !l.running || l.leaveBy != 0 {
		return
	}
	for _, name := range sortedKeys(l.types) {
		t := l.types[name]
		word := l.agentWord(name, t)
		if word == t.told || now < t.tellAt {
			continue
		}
		t.told, t.tellAt = word, max(t.tellAt, now-vclock.Time(tellAgentSaved)).Add(tellAgentEvery)
		id := l.broadcastEvent(word)
		l.onLost[id] = func() { t.told = engine.AgentReported{} }
	}
}

// agentsDue is when an agent is next told about.
func (l *loop) agentsDue() vclock.Time {
	next := vclock.Never
	if !l.running || l.leaveBy != 0 {
		return next
	}
	for name, t := range l.types {
		if l.agentWord(name, t) != t.told {
			next = vclock.Earlier(next, t.tellAt)
		}
	}
	return next
}

// agentCommand carries out haagent -start, -stop and ha agent swap.
func (l *loop) agentCommand(e engine.AgentCommand) {
	t := l.types[e.Type]
	if t == nil {
		return
	}
	switch e.Kind {
	case engine.CommandAgentStart:
		t.stopped, t.givenUp, t.started, t.reason = false, false, false, ""
		if config := l.config(); config != nil {
			t.path = l.agentPath(config, e.Type)
		}
		l.startAgents()
	case engine.CommandAgentStop:
		t.stopped, t.reason = true, "stopped by haagent -stop; haagent -start "+e.Type+" -sys "+l.self+" starts it"
		if t.started && !t.ending {
			l.stopAgent(e.Type, t)
		}
	case engine.CommandAgentSwap:
		if path := l.agentPath(l.config(), e.Type); path != "" && path != t.path {
			t.path = path
			if err := l.agents.Start(t.decl, path); err != nil {
				l.engineLine("ERROR", "V-16-1-10002", err.Error())
			}
		}
		l.workers.Go(func() {
			ctx, cancel := context.WithTimeout(l.ctx, swapAgentTime)
			defer cancel()
			err := l.agents.Restart(ctx, e.Type)
			l.post(func() {
				if err != nil {
					l.engineLine("ERROR", "V-16-1-90182", "Agent "+e.Type+" is not replaced, the old one serves on: "+err.Error())
					return
				}
				l.engineLine("NOTICE", "V-16-1-90183", "Agent "+e.Type+" is replaced by the program at "+t.path+", version "+t.version)
			})
		})
	}
}

// stopAgent ends an agent beside the loop. Whoever starts it meanwhile gets it
// when it has ended.
func (l *loop) stopAgent(name string, t *agentType) {
	t.ending = true
	l.workers.Go(func() {
		ctx, cancel := context.WithTimeout(l.ctx, stopAgentTime)
		defer cancel()
		if err := l.agents.Stop(ctx, name); err != nil && l.ctx.Err() == nil {
			l.log.Error("agent is not stopped", "type", name, "error", err)
		}
		l.post(func() {
			t.ending, t.started, t.up = false, false, false
			l.startAgents()
			l.endUnused()
		})
	})
}

// inform broadcasts ResourceInfo.
func (l *loop) inform(e schedule.Informed) {
	if !l.running || l.leaveBy != 0 {
		return
	}
	info := e.Info
	info.Time = time.Now().UTC().Format(time.RFC3339)
	id := l.broadcastEvent(engine.InfoReported{System: l.self, Incarnation: l.incarnation, Resource: e.Resource, Info: info})
	delete(l.onLost, id) // a later one follows; an old one must not come after it
}

// agents are those of one system, or of all if it is "".
func (a agentAPI) agents(ctx context.Context, system string) ([]agentView, error) {
	var out []agentView
	err := a.do(ctx, func() {
		l := a.loop
		for _, name := range sortedKeys(l.types) {
			if system != "" && system != l.self {
				break
			}
			t := l.types[name]
			state := t.state()
			out = append(out, agentView{&hadv1.Agent{Type: name, System: l.self, State: agentWords[state], Pid: int32(l.agents.PID(name)),
				Restarts: t.restarts, Faults: uint32(t.faults), Version: t.version, Reason: t.reason, Freshness: &hadv1.Freshness{},
				Running: state == engine.AgentRunning, Started: state == engine.AgentRunning || state == engine.AgentStarting}})
		}
		for _, s := range l.engine.Status().Agents {
			if s.System == l.self || (system != "" && system != s.System) {
				continue
			}
			out = append(out, agentView{&hadv1.Agent{Type: s.Type, System: s.System, State: agentWords[s.State], Faults: uint32(s.Faults),
				Restarts: uint32(s.Faults), Version: s.Version, Reason: s.Reason, Freshness: l.freshness(l.engine.SystemStatus(s.System)),
				Running: s.State == engine.AgentRunning, Started: s.State == engine.AgentRunning || s.State == engine.AgentStarting}})
		}
	})
	return out, err
}

// where is the system that a request means.
func (a agentAPI) where(ctx context.Context, system string, all bool) (string, error) {
	switch {
	case all:
		return "", nil
	case system == "":
		return a.loop.self, nil
	}
	look, err := a.look(ctx)
	if err != nil {
		return "", err
	}
	_, err = find(look.systems(true), "System", "V-16-1-10357", system)
	return system, err
}

func (a agentAPI) GetAgent(ctx context.Context, r *hadv1.GetAgentRequest) (*hadv1.GetAgentResponse, error) {
	system, err := a.where(ctx, r.GetSystem(), false)
	if err != nil {
		return nil, err
	}
	all, err := a.agents(ctx, system)
	if err != nil {
		return nil, err
	}
	agent, err := find(all, "Agent", "V-16-1-90510", r.GetType())
	return &hadv1.GetAgentResponse{Agent: agent.Agent}, err
}

func (a agentAPI) ListAgents(ctx context.Context, r *hadv1.ListAgentsRequest) (*hadv1.ListAgentsResponse, error) {
	system, err := a.where(ctx, r.GetSystem(), r.GetAllSystems())
	if err != nil {
		return nil, err
	}
	all, err := a.agents(ctx, system)
	if err != nil {
		return nil, err
	}
	places := make([]agentPlace, 0, len(all))
	for _, agent := range all {
		places = append(places, agentPlace{agent})
	}
	slices.SortFunc(places, func(x, y agentPlace) int { return strings.Compare(x.GetName(), y.GetName()) })
	part, next := page(places, r.GetPageSize(), r.GetPageToken())
	out := &hadv1.ListAgentsResponse{NextPageToken: next}
	for _, agent := range part {
		out.Agents = append(out.Agents, agent.Agent)
	}
	return out, nil
}

func (a agentAPI) StartAgent(ctx context.Context, r *hadv1.StartAgentRequest) (*hadv1.StartAgentResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandAgentStart, Type: r.GetType(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.StartAgentResponse{Operation: op}, err
}

func (a agentAPI) StopAgent(ctx context.Context, r *hadv1.StopAgentRequest) (*hadv1.StopAgentResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandAgentStop, Type: r.GetType(),
		System: r.GetSystem(), Force: r.GetForce()}, r.GetPlan())
	return &hadv1.StopAgentResponse{Operation: op}, err
}

func (a agentAPI) SwapAgent(ctx context.Context, r *hadv1.SwapAgentRequest) (*hadv1.SwapAgentResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandAgentSwap, Type: r.GetType(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.SwapAgentResponse{Operation: op}, err
}

func (a resourceAPI) RefreshResourceInfo(ctx context.Context, r *hadv1.RefreshResourceInfoRequest) (*hadv1.RefreshResourceInfoResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceRefreshInfo, Resource: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.RefreshResourceInfoResponse{Operation: op}, err
}

func (a resourceAPI) FlushResourceInfo(ctx context.Context, r *hadv1.FlushResourceInfoRequest) (*hadv1.FlushResourceInfoResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandResourceFlushInfo, Resource: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.FlushResourceInfoResponse{Operation: op}, err
}
