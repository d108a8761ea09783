package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// The events that a program of an administrator can be run for (engine.md
// 4.21). Event names are the names of the programs.
const (
	TriggerPreOnline            = "preonline"
	TriggerPostOnline           = "postonline"
	TriggerPostOffline          = "postoffline"
	TriggerResFault             = "resfault"
	TriggerResNotOff            = "resnotoff"
	TriggerResStateChange       = "resstatechange"
	TriggerResRestart           = "resrestart"
	TriggerResAdminWait         = "resadminwait"
	TriggerNoFailover           = "nofailover"
	TriggerInJeopardy           = "injeopardy"
	TriggerLoadWarning          = "loadwarning"
	TriggerSysOffline           = "sysoffline"
	TriggerSysUp                = "sysup"
	TriggerSysJoin              = "sysjoin"
	TriggerViolation            = "violation"
	TriggerUnableToRestartAgent = "unable_to_restart_agent"
)

// custom is the first argument of most triggers: VCS's triggertype.
const custom = "0"

// RunTrigger tells System's had to run the program of an event. Nobody waits
// for its end, but for that of preonline, which TriggerEnded tells. It is not
// repeated: a had that comes later does not run what an earlier one was told.
type RunTrigger struct {
	// ID numbers all triggers of the cluster in the order of their events.
	ID uint64
	// Event is the name of the program: "postonline".
	Event  string
	System SystemID
	// Args as VCS passes them.
	Args []string
	// Group and Resource that it is about ("" if none).
	Group, Resource string
	// Path is TriggerPath: a folder below VCS_HOME that is looked into first.
	Path string
	// Timeout after which the program is ended; 0 is the shell's own.
	Timeout time.Duration
	// Why says for people what led to it ("" if the event says it all).
	Why string
	Pos Pos
}

func (RunTrigger) effect() {}

// String is the line of goldens.
func (e RunTrigger) String() string {
	s := fmt.Sprintf("trigger #%d %s on %s:", e.ID, e.Event, e.System)
	for _, a := range e.Args {
		s += " " + a
	}
	if e.Path != "" {
		s += " (TriggerPath " + e.Path + ")"
	}
	return s
}

// groupTriggers are the attributes of a group about triggers.
type groupTriggers struct {
	event, resFault, resStateChange, resRestart bool
	path                                        string
	// enabled is TriggersEnabled on each system, in upper case; a system
	// without any is not there.
	enabled map[SystemID][]string
	// preOnline are the systems with PreOnline = 1.
	preOnline        map[SystemID]bool
	preOnlineTimeout time.Duration
}

// resourceTriggers are those of a resource; nil if all have their defaults.
type resourceTriggers struct {
	event, resStateChange, resRestart bool
	path                              string
	enabled                           []string
}

func newGroupTriggers(cfg *maincf.Config, g *maincf.Group, systems []maincf.SystemPriority) groupTriggers {
	value := func(name, system string) maincf.Value { v, _ := cfg.GroupAttr(g, name, system); return v }
	t := groupTriggers{
		event:          value("TriggerEvent", "").Bool(),
		resFault:       value("TriggerResFault", "").Bool(),
		resStateChange: value("TriggerResStateChange", "").Bool(),
		resRestart:     value("TriggerResRestart", "").Bool(),
		path:           value("TriggerPath", "").Text,
		enabled:        map[SystemID][]string{}, preOnline: map[SystemID]bool{},
		preOnlineTimeout: time.Duration(value("PreOnlineTimeout", "").Int()) * time.Second,
	}
	for _, s := range systems {
		n := s.System
		if keys := upper(value("TriggersEnabled", n).List); len(keys) > 0 {
			t.enabled[n] = keys
		}
		if value("PreOnline", n).Bool() || slices.Contains(t.enabled[n], "PREONLINE") {
			t.preOnline[n] = true
		}
	}
	return t
}

func newResourceTriggers(cfg *maincf.Config, r *maincf.Resource) *resourceTriggers {
	value := func(name string) maincf.Value { v, _ := cfg.ResourceAttr(r, name, ""); return v }
	t := resourceTriggers{
		event:          value("TriggerEvent").Bool(),
		resStateChange: value("TriggerResStateChange").Bool(),
		resRestart:     value("TriggerResRestart").Bool(),
		path:           value("TriggerPath").Text,
		enabled:        upper(value("TriggersEnabled").List),
	}
	if !t.event && !t.resStateChange && !t.resRestart && t.path == "" && len(t.enabled) == 0 {
		return nil
	}
	return &t
}

func upper(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		out = append(out, strings.ToUpper(w))
	}
	return out
}

// trigger has the program of an event run on a system. Only a system that
// carries out commands is told: nobody else could (R22).
func (e *Engine) trigger(t RunTrigger) uint64 {
	if !e.usable(t.System) {
		return 0
	}
	e.st.LastTrigger++
	t.ID, t.Pos = e.st.LastTrigger, e.st.Pos
	e.emit(t)
	return t.ID
}

// systemTrigger is trigger for an event of a system.
func (e *Engine) systemTrigger(event string, n SystemID, args ...string) {
	e.trigger(RunTrigger{Event: event, System: n, Args: args})
}

// groupTrigger is trigger for an event of a group that TriggersEnabled may
// leave out: with an empty list the program's being there decides.
func (e *Engine) groupTrigger(event string, g *groupModel, n SystemID, args ...string) {
	keys := g.triggers.enabled[n]
	if !g.triggers.event || (len(keys) > 0 && !slices.Contains(keys, strings.ToUpper(event))) {
		return
	}
	e.trigger(RunTrigger{Event: event, System: n, Args: args, Group: g.name, Path: g.triggers.path})
}

// resourceTrigger is trigger for an event of a resource.
func (e *Engine) resourceTrigger(event string, g *groupModel, r *resourceModel, n SystemID, args ...string) {
	if !g.wantsTrigger(event, r, n) {
		return
	}
	t := RunTrigger{Event: event, System: n, Args: args, Group: g.name, Resource: r.name, Path: g.triggers.path}
	if r.triggers != nil && r.triggers.path != "" {
		t.Path = r.triggers.path
	}
	e.trigger(t)
}

// wantsTrigger says whether the attributes of group and resource let an event
// of the resource through.
func (g *groupModel) wantsTrigger(event string, r *resourceModel, n SystemID) bool {
	t, own := g.triggers, r.triggers
	if own == nil {
		own = &resourceTriggers{}
	}
	if !t.event && !own.event {
		return false
	}
	key := strings.ToUpper(event)
	listed := slices.Contains(t.enabled[n], key) || slices.Contains(own.enabled, key)
	switch event {
	case TriggerResFault:
		return t.resFault || listed
	case TriggerResStateChange:
		return t.resStateChange || own.resStateChange || listed
	case TriggerResRestart:
		return t.resRestart || own.resRestart || listed
	}
	return true
}

// lowestRunning is the RUNNING system with the lowest node id, where what is
// said about another system is run; "" if none is.
func (e *Engine) lowestRunning() SystemID {
	best := ""
	for _, n := range e.systemNames() {
		s := e.st.Systems[n]
		if s.InH && s.State == SystemRunning && (best == "" || s.Node < e.st.Systems[best].Node) {
			best = n
		}
	}
	return best
}

// changedTriggers runs what a resource's change of state asks for. The first
// probe only finds out; a fault that it finds is told all the same.
func (e *Engine) changedTriggers(g *groupModel, r *resourceModel, n SystemID, was, to resource.State, first bool) {
	if was == to {
		return
	}
	if !first {
		e.resourceTrigger(TriggerResStateChange, g, r, n, custom, n, r.name, was.String(), to.String())
	}
	if to == resource.StateFaulted {
		e.resourceTrigger(TriggerResFault, g, r, n, custom, n, r.name, was.String())
	}
}

// flagTriggers runs what the flags of a report that are new ask for.
func (e *Engine) flagTriggers(g *groupModel, r *resourceModel, n SystemID, risen resource.Flags, reason int) {
	if risen&resource.FlagRestarting != 0 {
		e.resourceTrigger(TriggerResRestart, g, r, n, custom, n, r.name)
	}
	if risen&resource.FlagAdminWait != 0 {
		e.resourceTrigger(TriggerResAdminWait, g, r, n, n, r.name, fmt.Sprint(reason))
	}
}

// shownTriggers runs what a change of a group's state asks for. A group that
// was found ONLINE when had looked first did not come online.
func (e *Engine) shownTriggers(g *groupModel, n SystemID, was, is string) {
	on := e.on(g, n)
	switch {
	case is == "OFFLINE" && was != "OFFLINE":
		e.groupTrigger(TriggerPostOffline, g, n, custom, n, g.name)
	case is == "ONLINE" && on.WasOff && on.Stopping == "":
		e.groupTrigger(TriggerPostOnline, g, n, custom, n, g.name)
	}
	e.noteOff(g, n, is)
}

// noteOff remembers that a group was seen offline on a system, so that its
// way up counts as one from OFFLINE (postonline).
func (e *Engine) noteOff(g *groupModel, n SystemID, is string) {
	on := e.on(g, n)
	switch {
	case is == "ONLINE":
		on.WasOff = false
	case is == "OFFLINE" && e.usable(n) && len(e.unprobed(g, n)) == 0:
		on.WasOff = true
	}
}

// noFailover tells that nobody takes a group; the lowest RUNNING system runs
// it, whatever TriggerEvent says.
func (e *Engine) noFailover(g *groupModel, last SystemID) {
	e.trigger(RunTrigger{Event: TriggerNoFailover, System: e.lowestRunning(), Group: g.name, Path: g.triggers.path,
		Args: []string{custom, last, g.name}})
}

// runningTriggers tells that a system is RUNNING: the first of the cluster, or
// one more.
func (e *Engine) runningTriggers(n SystemID) {
	event := TriggerSysUp
	for _, o := range e.systemNames() {
		if s := e.st.Systems[o]; o != n && s.InH && (s.State == SystemRunning || s.State == SystemLeaving) {
			event = TriggerSysJoin
		}
	}
	e.systemTrigger(event, n, custom, n, string(SystemRunning))
}

// viewTriggers tells which systems a view took away or left with one link.
func (e *Engine) viewTriggers(gone, jeopardy []SystemID) {
	for _, n := range gone {
		e.systemTrigger(TriggerSysOffline, e.lowestRunning(), n, string(e.st.Systems[n].State))
	}
	for _, n := range jeopardy {
		e.systemTrigger(TriggerInJeopardy, n, custom, n, string(e.st.Systems[n].State))
		e.systemTrigger(TriggerSysOffline, e.lowestRunning(), n, string(e.st.Systems[n].State))
	}
}
