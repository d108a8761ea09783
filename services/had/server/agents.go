package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// agentType is one type that has resources here.
type agentType struct {
	decl     host.TypeDecl
	path     string
	started  bool
	up       bool
	waitsUp  bool // AgentUp came while calls of the former process had no result
	restarts uint32
	reason   string
	givenUp  bool
	inFlight int
}

// call is one entry point under way.
type call struct {
	effect schedule.Call
	cancel context.CancelFunc
}

// loadResources tells the scheduler what this system has to look after.
func (l *loop) loadResources() {
	config := l.config()
	if config == nil {
		return
	}
	l.groupOf = map[string]string{}
	intended := l.intended()
	for _, name := range config.TypesOn(l.self) {
		if l.types[name] == nil {
			l.types[name] = &agentType{decl: declOf(config, name), path: l.agentPath(config, name)}
		}
	}
	for _, g := range config.Groups {
		if !g.RunsOn(l.self) {
			continue
		}
		for _, r := range g.Resources {
			l.groupOf[r.Name] = g.Name
			spec := specOf(config, g, r, l.self)
			spec.IntentOnline = intended[r.Name]
			l.stepSchedule(schedule.SetResource{Spec: spec})
		}
	}
	l.startAgents()
}

// intended are the resources whose group should be online and that were online
// on this system when last heard of: after a restart of had the last applied
// intent still holds (R6).
func (l *loop) intended() map[string]bool {
	st := l.engine.Status()
	groups := map[string]bool{}
	for _, g := range st.Groups {
		groups[g.Name] = g.IntentOnline
	}
	out := map[string]bool{}
	for _, r := range st.Resources {
		for _, on := range r.Systems {
			if on.System == l.self && groups[r.Group] && strings.HasPrefix(on.State, "ONLINE") {
				out[r.Name] = true
			}
		}
	}
	return out
}

func specOf(c *maincf.Config, g *maincf.Group, r *maincf.Resource, system string) schedule.Spec {
	number := func(name string) int { v, _ := c.StaticAttr(r, name, system); return v.Int() }
	enabled, _ := c.ResourceAttr(r, "Enabled", system)
	parallel, _ := c.GroupAttr(g, "Parallel", "")
	manage, _ := c.GroupAttr(g, "ManageFaults", "")
	intentional, _ := c.StaticAttr(r, "IntentionalOffline", system)
	spec := schedule.Spec{
		Resource: r.Name, Type: r.Type, Enabled: enabled.Bool(), Protected: parallel.Int() != 1,
		ManageFaultsNone: manage.Text == "NONE",
		Limits: schedule.Limits{
			RestartLimit: number("RestartLimit"), OnlineRetryLimit: number("OnlineRetryLimit"),
			OnlineWaitLimit: number("OnlineWaitLimit"), OfflineWaitLimit: number("OfflineWaitLimit"),
			CleanRetryLimit: number("CleanRetryLimit"), ToleranceLimit: number("ToleranceLimit"),
			FaultOnMonitorTimeouts: number("FaultOnMonitorTimeouts"), ConfInterval: number("ConfInterval"),
			MonitorInterval: number("MonitorInterval"), OfflineMonitorInterval: number("OfflineMonitorInterval"),
			MonitorTimeout: number("MonitorTimeout"), OnlineTimeout: number("OnlineTimeout"),
			OfflineTimeout: number("OfflineTimeout"), CleanTimeout: number("CleanTimeout"),
			OpenTimeout: number("OpenTimeout"), CloseTimeout: number("CloseTimeout"),
			NumThreads: number("NumThreads"), IntentionalOffline: intentional.Bool(),
		},
	}
	switch c.Operations(r.Type) {
	case maincf.OperationsNone:
		spec.Operations = schedule.None
	case maincf.OperationsOnOnly:
		spec.Operations = schedule.OnOnly
	}
	return spec
}

func declOf(c *maincf.Config, name string) host.TypeDecl {
	decl := host.TypeDecl{Name: name, Operations: c.Operations(name)}
	threads, _ := c.TypeAttr(name, "NumThreads")
	decl.NumThreads = threads.Int()
	for _, a := range c.Type(name).Attrs {
		if !a.Static {
			decl.Attrs = append(decl.Attrs, host.AttrDecl{Name: a.Name, Kind: a.Kind.String(), Dim: a.Dim.String()})
		}
	}
	return decl
}

// agentPath finds the program of a type: AgentFile, else in the directories of
// agents; "" if there is none.
func (l *loop) agentPath(c *maincf.Config, name string) string {
	var paths []string
	if v, ok := c.TypeAttr(name, "AgentFile"); ok && v.Text != "" {
		paths = append(paths, v.Text)
	}
	for _, dir := range l.cfg.AgentDirs {
		paths = append(paths, filepath.Join(dir, name))
	}
	paths = append(paths, l.root.Agent(name))
	for _, p := range paths {
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0 {
			return p
		}
	}
	if l.cfg.Agents != nil {
		return l.root.Agent(name)
	}
	return ""
}

// startAgents starts what has resources here, once no process of a former had
// is left (R8).
func (l *loop) startAgents() {
	if !l.agentsReady || !l.running {
		return
	}
	for _, name := range sortedKeys(l.types) {
		t := l.types[name]
		if t.started {
			continue
		}
		if t.path == "" {
			t.reason = fmt.Sprintf("no agent for type %s: install it as %s", name, l.root.Agent(name))
			l.engineLine("ERROR", "V-16-1-10002", t.reason)
			continue
		}
		if err := l.agents.Start(t.decl, t.path); err != nil {
			t.reason = err.Error()
			l.engineLine("ERROR", "V-16-1-10002", t.reason)
			continue
		}
		t.started = true
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// attributes are a resource's values as they hold here.
func (l *loop) attributes(name string) host.Resource {
	out := host.Resource{Name: name, Attrs: map[string]host.Value{}}
	config := l.config()
	if config == nil {
		return out
	}
	r := config.Resource(name)
	if r == nil {
		return out
	}
	if t := config.Type(r.Type); t != nil {
		for _, a := range t.Attrs {
			if !a.Static {
				if v, ok := config.ResourceAttr(r, a.Name, l.self); ok {
					out.Attrs[a.Name] = hostValue(v)
				}
			}
		}
	}
	for _, nv := range config.ArgList(r, l.self) {
		out.Attrs[nv.Name] = hostValue(nv.Value)
	}
	return out
}

func hostValue(v maincf.Value) host.Value {
	switch v.Dim {
	case maincf.DimVector, maincf.DimKeylist:
		return host.List(slices.Clone(v.List)...)
	case maincf.DimAssoc:
		pairs := make(map[string]string, len(v.Pairs))
		for _, p := range v.Pairs {
			pairs[p.Key] = p.Value
		}
		return host.Assoc(pairs)
	}
	return host.Scalar(v.Text)
}

// stepSchedule lets the scheduler take an event and does what it wants.
func (l *loop) stepSchedule(ev schedule.Event) {
	now := boottime()
	l.journal.Add(now, "schedule", ev, 128)
	out := l.sched.Step(now, ev, nil)
	l.scheduleEffects(out)
}

func (l *loop) scheduleEffects(out []schedule.Effect) {
	for _, effect := range out {
		switch e := effect.(type) {
		case schedule.Call:
			l.begin(e)
		case schedule.Cancel:
			if c := l.calls[e.ID]; c != nil {
				l.log.Info("entry point cancelled", "resource", c.effect.Resource, "entry", c.effect.Entry.String(), "why", e.Why)
				c.cancel()
			}
		case schedule.Report:
			l.report(e.Report)
		case schedule.Note:
			l.engineLine(e.Severity, "V-16-2-"+e.Code, e.Text)
		}
	}
}

// report broadcasts; nothing is reported before RUNNING (R22).
func (l *loop) report(r resource.Report) {
	if !l.running || l.leaveBy != 0 { // nothing follows the last word (R14)
		return
	}
	r.System, r.Incarnation = l.self, l.incarnation
	id := l.broadcastEvent(engine.Reported{Report: r})
	l.onLost[id] = func() {
		// A later report may have come through: what is told again is what holds
		// now, with the command that the lost report had ended.
		if now, known := l.sched.Report(r.Resource); known {
			now.Done, now.Failed, now.Reason = r.Done, r.Failed, r.Reason
			l.report(now)
		}
	}
}

// begin runs an entry point outside the loop.
func (l *loop) begin(e schedule.Call) {
	// The host ends the entry point when ctx ends; its deadline is the type's
	// timeout.
	ctx, cancel := context.WithTimeout(l.ctx, e.Deadline.Sub(boottime()))
	l.calls[e.ID] = &call{effect: e, cancel: cancel}
	if t := l.types[e.Type]; t != nil {
		t.inFlight++
	}
	r := l.attributes(e.Resource)
	l.workers.Go(func() {
		began := time.Now()
		result := l.runEntryPoint(ctx, e, r)
		cancel()
		switch e.Entry {
		case schedule.Online, schedule.Offline, schedule.Clean:
			l.log.Info("entry point ended", "resource", e.Resource, "type", e.Type, "entry_point", e.Entry.String(),
				"outcome", result.Outcome.String(), "detail", result.Detail, "took_ms", float64(time.Since(began).Microseconds())/1000)
		}
		l.post(func() { l.ended(e, result, r) })
	})
}

func (l *loop) runEntryPoint(ctx context.Context, e schedule.Call, r host.Resource) schedule.EntryPointResult {
	result := schedule.EntryPointResult{Call: e.ID}
	var err error
	var pause time.Duration
	switch e.Entry {
	case schedule.Open:
		err = l.agents.Open(ctx, e.Type, r)
	case schedule.Close:
		err = l.agents.CloseResource(ctx, e.Type, r)
	case schedule.Online:
		pause, err = l.agents.Online(ctx, e.Type, r, uint64(e.ID))
	case schedule.Offline:
		pause, err = l.agents.Offline(ctx, e.Type, r, uint64(e.ID))
	case schedule.Clean:
		err = l.agents.Clean(ctx, e.Type, r, host.CleanReason(e.Reason))
	case schedule.Monitor:
		var st host.Status
		st, err = l.agents.Monitor(ctx, e.Type, r, false)
		result.Detail, result.Confidence = st.Detail, st.Confidence
		result.Saw = sawOf(st.State)
	}
	result.Wait = int((pause + time.Second - 1) / time.Second)
	if err != nil {
		result.Detail = err.Error()
	}
	result.Outcome = outcomeOf(err)
	return result
}

func sawOf(s host.State) schedule.Monitored {
	switch s {
	case host.Online:
		return schedule.SawOnline
	case host.Offline:
		return schedule.SawOffline
	case host.IntentionalOffline:
		return schedule.SawIntentionalOffline
	}
	return schedule.SawUnknown
}

func outcomeOf(err error) schedule.Outcome {
	switch {
	case err == nil:
		return schedule.OK
	case errors.Is(err, context.DeadlineExceeded):
		return schedule.TimedOut
	case errors.Is(err, context.Canceled):
		return schedule.Cancelled
	case errors.Is(err, host.ErrAgentDown), errors.Is(err, host.ErrNoAgent):
		return schedule.PluginGone
	}
	return schedule.Failed
}

// ended hands a result to the scheduler. An AgentUp that came before the last
// result of the former process follows it: results go first.
func (l *loop) ended(e schedule.Call, result schedule.EntryPointResult, r host.Resource) {
	delete(l.calls, e.ID)
	t := l.types[e.Type]
	if t != nil {
		t.inFlight--
	}
	if result.Outcome != schedule.OK {
		l.log.Warn("entry point did not succeed", "resource", e.Resource, "entry", e.Entry.String(),
			"outcome", result.Outcome.String(), "error", result.Detail)
	}
	l.stepSchedule(result)
	if e.Entry == schedule.Open && result.Outcome != schedule.PluginGone {
		l.agents.Watch(e.Type, r)
	}
	if t != nil && t.waitsUp && t.inFlight == 0 {
		l.agentUp(e.Type, t)
	}
}

func (l *loop) agentEvent(ev host.Event) {
	switch e := ev.(type) {
	case host.AgentUp:
		t := l.types[e.Type]
		if t == nil {
			return
		}
		if e.Restarted {
			t.restarts++
		}
		t.reason, t.givenUp, t.waitsUp = "", false, true
		l.log.Info("agent is up", "type", e.Type, "version", e.Version, "restarted", e.Restarted)
		if t.inFlight == 0 {
			l.agentUp(e.Type, t)
		}
	case host.AgentDown:
		if t := l.types[e.Type]; t != nil {
			t.up, t.waitsUp, t.reason = false, false, e.Reason
			if !e.Planned {
				l.engineLine("WARNING", "V-16-1-53030", fmt.Sprintf("Agent %s died: %s; it is started again and its resources are left as they are", e.Type, e.Reason))
			}
			l.publish(&event{kind: "agent", state: "DOWN", severity: "WARNING", text: e.Type + ": " + e.Reason})
		}
		l.stepSchedule(schedule.PluginDown{Type: e.Type})
	case host.AgentFailed:
		if t := l.types[e.Type]; t != nil {
			t.up, t.reason, t.givenUp = false, e.Reason, true
		}
		l.engineLine("ERROR", "V-16-1-10015", fmt.Sprintf("Agent %s is not run on this system: %s", e.Type, e.Reason))
		l.stepSchedule(schedule.PluginDown{Type: e.Type})
	case host.Watched:
		l.stepSchedule(schedule.WatchPush{Resource: e.Resource})
	}
}

func (l *loop) agentUp(name string, t *agentType) {
	t.up, t.waitsUp = true, false
	l.publish(&event{kind: "agent", state: "UP", severity: "NOTICE", text: name})
	l.stepSchedule(schedule.PluginUp{Type: name})
}

// agentState is haagent's word for a type's agent.
func (t *agentType) state() string {
	switch {
	case t.up:
		return "Running"
	case t.givenUp || t.path == "":
		return "Given up"
	case t.started:
		return "Starting"
	}
	return "Not Running"
}

// groupsOf returns the groups of some resources, sorted, each once.
func (l *loop) groupsOf(resources []string) []string {
	var groups []string
	for _, r := range resources {
		if g := l.groupOf[r]; g != "" {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	return slices.Compact(groups)
}
