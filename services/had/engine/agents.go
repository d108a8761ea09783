package engine

import (
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// agentOn is the agent of one type on one system, as that system told.
type agentOn struct {
	State   AgentState `json:"state"`
	Version string     `json:"version,omitempty"`
	Faults  int        `json:"faults,omitempty"`
	Watches bool       `json:"watches,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

// agent returns what is known of an agent; down if nothing was told.
func (e *Engine) agent(typ string, n SystemID) agentOn {
	if a := e.st.Agents[typ][n]; a != nil {
		return *a
	}
	return agentOn{State: AgentDown}
}

// agentReported applies a system's word about one of its agents. It changes
// nothing about resources: their states hold until an agent tells others.
func (e *Engine) agentReported(from SystemID, ev AgentReported) {
	s := e.st.Systems[ev.System]
	if ev.System != from || s == nil || !s.InH || ev.Incarnation != s.Incarnation || e.mod == nil || e.mod.cfg.Type(ev.Type) == nil {
		return
	}
	was := e.agent(ev.Type, from)
	if was.State == AgentStopped && ev.State != AgentRunning && ev.State != AgentStarting {
		// It went down because it was told to.
		ev.State = AgentStopped
	}
	e.setAgent(ev.Type, from, agentOn{State: ev.State, Version: ev.Version, Faults: ev.Faults, Watches: ev.Watches, Reason: ev.Reason})
	in := decision.AgentGivenUp{Type: ev.Type, System: from, Was: string(was.State), Is: string(ev.State), Said: ev.Reason}
	if o := in.Decide(); o.Do == decision.DoForgo {
		e.log("ERROR", 10015, from, "", "Agent %s is not run on this system: %s", ev.Type, orUnsaid(ev.Reason))
		e.systemTrigger(TriggerUnableToRestartAgent, from, from, ev.Type)
		e.told("", in, o)
	}
}

// setAgent keeps what is known of an agent and tells a change.
func (e *Engine) setAgent(typ string, n SystemID, a agentOn) {
	was := e.agent(typ, n)
	if e.st.Agents == nil {
		e.st.Agents = map[string]map[string]*agentOn{}
	}
	if e.st.Agents[typ] == nil {
		e.st.Agents[typ] = map[string]*agentOn{}
	}
	e.st.Agents[typ][n] = &a
	if a.State != was.State {
		e.emit(EventNotice{Kind: "agent", System: n, Type: typ, Old: string(was.State), New: string(a.State)})
	}
}

// forgetAgents drops what an earlier had of a system told of its agents.
func (e *Engine) forgetAgents(n SystemID) {
	for typ, at := range e.st.Agents {
		delete(at, n)
		if len(at) == 0 {
			delete(e.st.Agents, typ)
		}
	}
}

func (e *Engine) typeNames() []string {
	var out []string
	for _, t := range e.mod.cfg.Types {
		out = append(out, t.Name)
	}
	slices.Sort(out)
	return out
}

// ofType are the resources of a type that a system looks after, with their
// groups.
func (e *Engine) ofType(typ string, n SystemID) []*resourceModel {
	var out []*resourceModel
	for _, g := range e.groupsOn(n) {
		for _, r := range g.resources {
			if r.typ == typ {
				out = append(out, r)
			}
		}
	}
	return out
}

// agentCommand is haagent -start, -stop and ha agent swap.
func (e *Engine) agentCommand(c Command) *refusal {
	n := c.System
	if e.mod.cfg.Type(c.Type) == nil {
		return e.unknown(90002, "Type", c.Type, e.typeNames())
	}
	if no := needSystem(c); no != nil {
		return no
	}
	if !slices.Contains(e.mod.systems, n) {
		return e.unknown(10357, "System", n, e.mod.systems)
	}
	if !e.usable(n) {
		return refuse(10200, "System %s is not available: it is %s", n, e.st.Systems[n].State)
	}
	mine := e.ofType(c.Type, n)
	if len(mine) == 0 {
		return refuse(90175, "No agent of type %s belongs on system %s: no group there has a resource of that type", c.Type, n)
	}
	a := e.agent(c.Type, n)
	lives := a.State == AgentRunning || a.State == AgentStarting
	switch c.Kind {
	case CommandAgentStart:
		if lives {
			return refuse(90176, "Agent %s is %s on system %s already", c.Type, a.State, n)
		}
		a.State, a.Reason = AgentStarting, ""
	case CommandAgentStop:
		if a.State == AgentStopped {
			return refuse(90177, "Agent %s is stopped on system %s already", c.Type, n)
		}
		if busy := e.busyResources(mine, n); len(busy) > 0 && !c.Force {
			return refuse(90178, "Agent %s is not stopped on system %s: %s; nobody would monitor what runs; take it offline first, or use -force",
				c.Type, n, strings.Join(busy, ", "))
		}
		a.State, a.Reason = AgentStopped, "stopped by "+orNobody(c.User)
	case CommandAgentSwap:
		if a.State != AgentRunning {
			return refuse(90177, "Agent %s is not running on system %s: it is %s; haagent -start %s -sys %s starts the program that is there",
				c.Type, n, a.State, c.Type, n)
		}
	}
	e.setAgent(c.Type, n, a)
	e.emit(AgentCommand{System: n, Type: c.Type, Kind: c.Kind})
	return nil
}

// busyResources says which of some resources are up or on their way.
func (e *Engine) busyResources(rs []*resourceModel, n SystemID) []string {
	var out []string
	for _, r := range rs {
		i := e.at(r, n)
		switch {
		case i.moving():
			text, _ := e.waiting(e.mod.byGroup[r.in.name], r, i, n)
			out = append(out, r.name+" is "+text)
		case i.up() && !r.persistent():
			out = append(out, r.name+" is ONLINE")
		}
	}
	return out
}

// informed keeps what an agent's info told (E182). What came from an online
// resource holds as long as it is online.
func (e *Engine) informed(from SystemID, ev InfoReported) {
	s := e.st.Systems[ev.System]
	if ev.System != from || s == nil || !s.InH || ev.Incarnation != s.Incarnation || e.mod == nil {
		return
	}
	r := e.mod.resource(ev.Resource)
	if r == nil || e.at(r, from) == nil || !e.at(r, from).up() {
		return
	}
	size := len(ev.Info.Msg) + len(ev.Info.Time)
	for _, f := range ev.Info.Facts {
		size += len(f.Name) + len(f.Value)
	}
	if size > 2*resource.MaxInfo {
		return // A scheduler never sends that much.
	}
	info := ev.Info
	e.at(r, from).Info = &info
}

// infoCommand is hares -refreshinfo and -flushinfo.
func (e *Engine) infoCommand(c Command) *refusal {
	r := e.mod.resource(c.Resource)
	if r == nil {
		var known []string
		for _, m := range e.resourceModels() {
			known = append(known, m.name)
		}
		return e.unknown(10260, "Resource", c.Resource, known)
	}
	g := e.mod.byGroup[r.in.name]
	if no := e.checkSystem(g, c.System); no != nil {
		return no
	}
	if c.System != "" && !e.usable(c.System) {
		return refuse(10200, "System %s is not available: it is %s", c.System, e.st.Systems[c.System].State)
	}
	told := 0
	for _, p := range g.list {
		i := e.at(r, p.System)
		switch {
		case c.System != "" && c.System != p.System:
		case c.Kind == CommandResourceFlushInfo:
			i.Info = nil
			if e.usable(p.System) {
				e.order(resource.CommandFlushInfo, r, p.System, 0)
			}
			told++
		case i.up() && e.usable(p.System):
			e.order(resource.CommandRefreshInfo, r, p.System, 0)
			told++
		}
	}
	if told == 0 {
		return refuse(90179, "ResourceInfo of %s is not gathered: the resource is not online %s", r.name, pick(c.System == "", "on any system", "on system "+c.System))
	}
	return nil
}
