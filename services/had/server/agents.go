package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
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
	faults   int
	reason   string
	version  string
	watches  bool
	givenUp  bool
	stopped  bool // by haagent -stop, until haagent -start
	ending   bool // Stop is under way; it is started again after it
	unused   bool // no resource is left here: it ends when nothing runs
	inFlight int

	told engine.AgentReported // what the cluster knows
	// tellAt is when the cluster may next be told. It lags behind now by what
	// was saved up.
	tellAt vclock.Time
}

// call is one entry point under way.
type call struct {
	effect schedule.Call
	cancel context.CancelFunc
}

// agentPath finds the program of a type: AgentFile, else in AgentDirectory, else
// in the directories of agents; "" if there is none.
func (l *loop) agentPath(c *maincf.Config, name string) string {
	var paths []string
	if v, ok := c.TypeAttr(name, "AgentFile"); ok && v.Text != "" {
		paths = append(paths, v.Text)
	}
	if v, ok := c.TypeAttr(name, "AgentDirectory"); ok && v.Text != "" {
		paths = append(paths, filepath.Join(v.Text, name), filepath.Join(v.Text, name+"Agent"))
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
		if t.started || t.stopped || t.ending || t.unused {
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
			l.noted(e)
		case schedule.ActionRefused:
			l.acted(e.ID, acted{Problem: e.Why, Reason: "ACTION_NOT_RUN"})
		case schedule.Informed:
			l.inform(e)
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
	aside := l.asideOf(e)
	l.workers.Go(func() {
		began := time.Now()
		result := l.runEntryPoint(ctx, e, r, aside)
		cancel()
		switch e.Entry {
		case schedule.Online, schedule.Offline, schedule.Clean:
			l.log.Info("entry point ended", "resource", e.Resource, "type", e.Type, "entry_point", e.Entry.String(),
				"outcome", result.Outcome.String(), "detail", result.Detail, "took_ms", float64(time.Since(began).Microseconds())/1000)
		}
		l.post(func() {
			if e.Entry == schedule.Action {
				l.actionEnded(e, aside, result)
			}
			l.ended(e, result, r)
		})
	})
}

func (l *loop) runEntryPoint(ctx context.Context, e schedule.Call, r host.Resource, a *aside) schedule.EntryPointResult {
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
		st, err = l.agents.Monitor(ctx, e.Type, r, e.Detailed)
		result.Detail, result.Confidence = st.Detail, st.Confidence
		result.Saw = sawOf(st.State)
	case schedule.AttrChanged:
		err = l.agents.AttrChanged(ctx, e.Type, r, a.before)
	case schedule.Action:
		a.output, a.exitCode, err = l.agents.Action(ctx, e.Type, r, a.ask.Token, a.ask.Args)
	case schedule.Info:
		var facts map[string]string
		facts, err = l.agents.Info(ctx, e.Type, r)
		result.Facts, result.Truncated = resource.NewFacts(facts)
	}
	result.Missing = errors.Is(err, host.ErrNotImplemented)
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
	l.endUnused()
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
		t.version, t.watches = e.Version, e.Watches
		l.log.Info("agent is up", "type", e.Type, "version", e.Version, "restarted", e.Restarted)
		if t.inFlight == 0 {
			l.agentUp(e.Type, t)
		}
	case host.AgentDown:
		if t := l.types[e.Type]; t != nil {
			t.up, t.waitsUp, t.reason = false, false, e.Reason
			if !e.Planned {
				t.faults++
				l.engineLine("WARNING", "V-16-1-53030", fmt.Sprintf("Agent %s died: %s; it is started again and its resources are left as they are", e.Type, e.Reason))
			}
		}
		l.stepSchedule(schedule.PluginDown{Type: e.Type})
	case host.AgentFailed:
		if t := l.types[e.Type]; t != nil {
			t.up, t.reason, t.givenUp = false, e.Reason, true
		}
		l.log.Error("agent is given up", "type", e.Type, "reason", e.Reason) // the engine tells all systems
		l.stepSchedule(schedule.PluginDown{Type: e.Type})
	case host.Watched:
		l.stepSchedule(schedule.WatchPush{Resource: e.Resource})
	}
}

func (l *loop) agentUp(name string, t *agentType) {
	t.up, t.waitsUp = true, false
	l.stepSchedule(schedule.PluginUp{Type: name})
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
