package engine

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// SystemStatus is a system as the replica knows it.
type SystemStatus struct {
	Name SystemID
	// Node is the LLT node id, -1 if it never joined.
	Node  int
	State SystemState
	// TFrozen and Frozen are the temporary and the persistent freeze.
	TFrozen, Frozen bool
	// InView: had there is a member of port h.
	InView bool
	// DaemonDown: the machine lives without had (DDNA).
	DaemonDown bool
	Jeopardy   bool
	// Evidence that it is gone, if it is.
	Evidence    Evidence
	Incarnation uint64
	// Since is the engine time of the last change of State.
	Since time.Duration
	// WaitingFor names what it waits for and the command that leads out.
	WaitingFor string
	// MachineUp: the system is a member of port a.
	MachineUp bool
	// Info and Version are what it said of its machine and its had, "" before.
	Info, Version string
	// AgentsStopped: nothing of it is looked after any more, since it leaves.
	AgentsStopped bool
	// EngineRestarted: had came back on a machine that never went, and has not
	// probed everything yet.
	EngineRestarted bool
	// NoAutoDisable: hastop -noautodisable stopped it.
	NoAutoDisable bool
	// Room is its load, nil before there is a configuration; Meters are what
	// it measured of itself.
	Room   *CapacityStatus
	Meters []MeterStatus
}

// GroupOnSystemStatus is a group on one system.
type GroupOnSystemStatus struct {
	System SystemID
	// State is VCS's text without outer bars: "ONLINE", "OFFLINE|FAULTED".
	State        string
	Probed       bool
	AutoDisabled bool
	// AutoDisabledWhy says why, for people.
	AutoDisabledWhy string
	// ActiveCount is the number of OnOff resources online or going online.
	ActiveCount int
	// IntentOnline: it should be online in the zone of this system; of a group
	// without zones, anywhere.
	IntentOnline bool
	// NumRetries counts the restarts there (OnlineRetryLimit), PathCount the
	// resources still to be taken offline, UnSteadyCount those in transition,
	// ProbesPending those that are not probed.
	NumRetries, PathCount, UnSteadyCount, ProbesPending int
	// PreOnlining: a preonline trigger decides about its start there.
	PreOnlining bool
	// Stale: the system is not in the view; this is the last that was known.
	Stale bool
	Since time.Duration
}

// GroupStatus is a group as the replica knows it.
type GroupStatus struct {
	Name string
	// Parallel is the attribute: 0 failover, 1 parallel, 2 hybrid.
	Parallel        int
	TFrozen, Frozen bool
	// IntentOnline is VCS's attribute: the group should be online.
	IntentOnline bool
	// Systems in the order of SystemList's priorities.
	Systems []GroupOnSystemStatus
	// FromQ and ToQ are the systems that it is leaving and coming to, sorted by
	// zone. Failover and Restart say that a start is owed elsewhere, or when a
	// persistent resource recovers; Evacuating that its system is being emptied.
	FromQ, ToQ                    []SystemID
	Failover, Restart, Evacuating bool
	// TargetCount is the number of systems that it is coming to.
	TargetCount int
	// AutoClearCount counts the automatic clears so far.
	AutoClearCount int
	// Hindrances are what stands in its way now, each with a way out.
	Hindrances []string
	// AtRest is what should be online and is not, although nothing stands in
	// its way, with the command that brings it online.
	AtRest    []string
	Resources []string
}

// ResourceOnSystemStatus is a resource on one system.
type ResourceOnSystemStatus struct {
	System SystemID
	// State is VCS's text with flags: "ONLINE|STATE UNKNOWN".
	State string
	// IState is VCS's text: "not waiting"; IStateCode is hastatus's: "W_ONLINE".
	IState, IStateCode string
	Flags              string
	Probed             bool
	Confidence         int
	// Reason is the last sentence of its agent scheduler.
	Reason string
	Stale  bool
	// Since is the engine time of the last report.
	Since time.Duration
	// Info is ResourceInfo, State Stale if there is none.
	Info resource.Info
	// MonitorMethod is Traditional, or IMF if its agent pushes changes.
	MonitorMethod string
	// MonitorMillis is the average time of its monitors, 0 if none is kept.
	MonitorMillis int
	// MonitorOnly: the group or the system is frozen.
	MonitorOnly bool
	// Start: the engine asks for it to be online. OnPath: it is on the way of an
	// online or offline of its group. Signaled: its agent was told and has not
	// answered yet.
	Start, OnPath, Signaled bool
}

// AgentStatus is the agent of one type on one system.
type AgentStatus struct {
	Type            string
	System          SystemID
	State           AgentState
	Version, Reason string
	// Faults is how often its process died since had started there.
	Faults int
}

// ResourceStatus is a resource as the replica knows it.
type ResourceStatus struct {
	Name, Group, Type string
	// Category is OnOff, OnOnly or None.
	Category string
	Critical bool
	Enabled  bool
	Systems  []ResourceOnSystemStatus
	// LastOnline is the system where it was online last, "" if none is known.
	LastOnline SystemID
}

// Status is the whole replica, sorted by name, for readers.
type Status struct {
	Pos Pos
	// Time is engine time.
	Time      time.Duration
	Cluster   string
	Systems   []SystemStatus
	Groups    []GroupStatus
	Resources []ResourceStatus
	// Agents by type, then system: those of systems in the view.
	Agents []AgentStatus
}

// Status returns the whole replica for readers. The result is a copy.
func (e *Engine) Status() Status {
	st := Status{Pos: e.st.Pos, Time: e.st.Now}
	for _, n := range e.systemNames() {
		st.Systems = append(st.Systems, e.SystemStatus(n))
	}
	if e.mod == nil {
		return st
	}
	st.Cluster = e.mod.cluster
	for _, g := range e.mod.groups {
		st.Groups = append(st.Groups, e.groupStatus(g))
		for _, r := range g.resources {
			st.Resources = append(st.Resources, e.resourceStatus(g, r))
		}
	}
	st.Agents = e.agentStatus()
	slices.SortFunc(st.Resources, func(a, b ResourceStatus) int { return strings.Compare(a.Name, b.Name) })
	return st
}

// SystemStatus returns one system; State is UNKNOWN for a name that was never
// heard of.
func (e *Engine) SystemStatus(n SystemID) SystemStatus {
	s := e.st.Systems[n]
	if s == nil {
		return SystemStatus{Name: n, Node: -1, State: SystemUnknown}
	}
	out := SystemStatus{
		Name: n, Node: s.Node, State: s.State, TFrozen: s.TFrozen || s.Draining, InView: s.InH,
		DaemonDown: s.InA && !s.InH && !s.Clean, Jeopardy: s.Jeopardy,
		Incarnation: s.Incarnation, Since: s.Since, WaitingFor: e.waitsFor(n, s),
		MachineUp: s.InA, Info: s.Info, Version: s.Version, NoAutoDisable: s.NoAutoDisable,
		AgentsStopped: s.State == SystemExiting || s.State == SystemExited, Meters: e.meterStatus(n),
	}
	if e.mod != nil {
		out.Frozen = e.mod.frozenSystem(n)
		room := e.capacityStatus(n)
		out.Room = &room
		out.EngineRestarted = s.Restarted && slices.ContainsFunc(e.groupsOn(n), func(g *groupModel) bool { return !e.st.Groups[g.name].On[n].Probed })
	}
	if s.Lost != nil {
		out.Evidence = s.Lost.Evidence
	}
	return out
}

func (e *Engine) waitsFor(n SystemID, s *system) string {
	switch s.State {
	case SystemLeaving:
		return "waits for " + strings.Join(e.heldBy(n), ", ") + " to go offline (hastop -local -force leaves it running)"
	case SystemStaleAdminWait:
		return "its configuration is missing, wrong or stale and nobody is RUNNING: repair it, then hasys -force " + n
	case SystemAdminWait:
		return "the running configuration was lost: hasys -force " + n + " builds from its disk"
	}
	if s.InA && !s.InH && !s.Clean {
		return "had is not running there while the machine is up: hastart on " + n
	}
	return ""
}

// GroupStatus returns one group, or false for an unknown name.
func (e *Engine) GroupStatus(name string) (GroupStatus, bool) {
	if e.mod == nil || e.mod.byGroup[name] == nil {
		return GroupStatus{}, false
	}
	return e.groupStatus(e.mod.byGroup[name]), true
}

func (e *Engine) groupStatus(g *groupModel) GroupStatus {
	gr := e.st.Groups[g.name]
	out := GroupStatus{
		Name: g.name, Parallel: g.parallel, TFrozen: gr.TFrozen, Frozen: g.frozen,
		Hindrances: e.hindrances(g), AtRest: e.atRest(g),
	}
	for _, p := range g.parts {
		out.IntentOnline = out.IntentOnline || e.course(p).Intent
		e.courseStatus(p, &out)
	}
	for _, r := range g.resources {
		out.Resources = append(out.Resources, r.name)
	}
	for _, p := range g.list {
		why, _ := e.autoDisabled(g, p.System)
		out.Systems = append(out.Systems, GroupOnSystemStatus{
			System: p.System, State: e.groupText(g, p.System),
			Probed: len(e.unprobed(g, p.System)) == 0, AutoDisabled: why != "", AutoDisabledWhy: why,
			ActiveCount: e.activeCount(g, p.System), Stale: !e.st.Systems[p.System].InH,
			Since: gr.On[p.System].Since, IntentOnline: e.course(g.part(p.System)).Intent,
			NumRetries: gr.On[p.System].Retries, PreOnlining: e.held(g, p.System), ProbesPending: len(e.unprobed(g, p.System)),
		})
		on := &out.Systems[len(out.Systems)-1]
		for _, r := range g.resources {
			i := e.at(r, p.System)
			on.PathCount += pick(i.Want == wantOffline, 1, 0)
			on.UnSteadyCount += pick(i.moving(), 1, 0)
		}
	}
	return out
}

// courseStatus adds where a group, or the part of a hybrid one, is heading.
func (e *Engine) courseStatus(g *groupModel, out *GroupStatus) {
	c := e.course(g)
	var from, to SystemID
	switch {
	case c.Move != nil:
		from, to = c.Move.From, c.Move.To
		out.Evacuating = out.Evacuating || e.st.Systems[from].Draining || e.st.Systems[from].State == SystemLeaving
	case c.Due != nil:
		from, to = c.Due.From, c.Due.Prefer
		out.Failover = out.Failover || !c.Due.ByGroup && c.Due.Prefer == ""
		out.Restart = out.Restart || c.Due.Persistent
	}
	for _, p := range g.list {
		if on := e.st.Groups[g.name].On[p.System]; p.System == to || on.Starting || on.Owed || on.Pre != nil {
			out.TargetCount++
			out.ToQ = append(out.ToQ, p.System)
		}
	}
	if from != "" {
		out.FromQ = append(out.FromQ, from)
	}
	out.AutoClearCount += c.AutoClears
}

func (e *Engine) resourceStatus(g *groupModel, r *resourceModel) ResourceStatus {
	out := ResourceStatus{Name: r.name, Group: g.name, Type: r.typ, Category: r.category, Critical: r.critical, Enabled: r.enabled, LastOnline: e.st.LastOnline[r.name]}
	for _, p := range g.list {
		i := e.at(r, p.System)
		text, code := e.waiting(g, r, i, p.System)
		out.Systems = append(out.Systems, ResourceOnSystemStatus{
			System: p.System, State: e.stateText(r, i), IState: text, IStateCode: code,
			Flags: flagText(i.Flags, " "), Probed: i.Probed, Confidence: int(i.Confidence), Reason: i.Reason,
			Stale: !e.st.Systems[p.System].InH, Since: i.Since, MonitorMillis: int(i.MonitorMillis),
			Info: resource.Info{State: resource.InfoStale}, MonitorMethod: "Traditional",
			MonitorOnly: e.st.Groups[g.name].On[p.System].MonitorOnly,
			Start:       i.raising(), OnPath: i.Want != wantNothing, Signaled: i.Pending.ID != 0,
		})
		on := &out.Systems[len(out.Systems)-1]
		if i.Info != nil {
			on.Info = *i.Info
		}
		if a := e.agent(r.typ, p.System); a.Watches {
			on.MonitorMethod = "IMF"
		}
	}
	return out
}

func (e *Engine) agentStatus() []AgentStatus {
	var out []AgentStatus
	for typ, at := range e.st.Agents {
		for n, a := range at {
			if len(e.ofType(typ, n)) == 0 {
				continue // its resources there are gone, and it is with them
			}
			out = append(out, AgentStatus{Type: typ, System: n, State: a.State, Version: a.Version, Reason: a.Reason, Faults: a.Faults})
		}
	}
	slices.SortFunc(out, func(a, b AgentStatus) int {
		return strings.Compare(a.Type+"\x00"+a.System, b.Type+"\x00"+b.System)
	})
	return out
}
