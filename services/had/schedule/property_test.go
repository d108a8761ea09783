package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
	"pgregory.net/rapid"
)

// model checks what the scheduler promises, without knowing how it works.
type model struct {
	t       *rapid.T
	core    *schedule.Core
	twin    *schedule.Core
	now     vclock.Time
	lease   vclock.Time
	armed   bool
	calls   map[schedule.CallID]schedule.Call
	busy    map[string]schedule.CallID
	plugin  bool
	nextCmd resource.EffectID
	open    map[resource.EffectID]bool
	lastCmd map[string]resource.Command
	frozen  map[string]bool
	ordered map[string]resource.CommandKind
	// badOnline: the last Online that ended did not end well.
	badOnline map[string]bool
	// acts are the actions that have neither begun nor been refused.
	acts    map[schedule.ActionID]bool
	lastAct schedule.ActionID
}

func (m *model) answeredAct(id schedule.ActionID) {
	if !m.acts[id] {
		m.t.Fatalf("action %d answered twice or never asked for", id)
	}
	delete(m.acts, id)
}

const threads = 2

var names = []string{"a", "b", "c"}

func (m *model) step(ev schedule.Event) {
	effects := m.core.Step(m.now, ev, nil)
	twin := m.twin.Step(m.now, ev, nil)
	if fmt.Sprint(effects) != fmt.Sprint(twin) || m.core.Hash() != m.twin.Hash() {
		m.t.Fatalf("two cores with equal input differ after %s", ev)
	}
	for _, effect := range effects {
		switch e := effect.(type) {
		case schedule.Call:
			m.begun(e)
		case schedule.Cancel:
			if _, running := m.calls[e.ID]; !running {
				m.t.Fatalf("cancelled %d, which does not run", e.ID)
			}
		case schedule.Report:
			m.reported(e.Report)
		case schedule.ActionRefused:
			m.answeredAct(e.ID)
		}
	}
	if at, ok := m.core.Deadline(); ok && at == vclock.Never {
		m.t.Fatal("deadline never, yet announced")
	}
}

func (m *model) begun(e schedule.Call) {
	if other := m.busy[e.Resource]; other != 0 {
		m.t.Fatalf("%s: call %d begins while %d runs", e.Resource, e.ID, other)
	}
	if !m.plugin {
		m.t.Fatalf("call %s without an agent", e)
	}
	if e.Entry.Raises() && (m.now >= m.lease || !m.armed || m.frozen[e.Resource]) {
		m.t.Fatalf("R6/R2: %s at %s: lease %s armed %t frozen %t", e, m.now, m.lease, m.armed, m.frozen[e.Resource])
	}
	if e.Entry.Raises() && m.ordered[e.Resource] != resource.CommandOnline {
		m.t.Fatalf("R6: %s raised although the last intent is not ONLINE", e.Resource)
	}
	if e.Entry == schedule.Clean && e.Reason == schedule.OnlineHung && !m.badOnline[e.Resource] {
		m.t.Fatalf("clean of %s for a hung online, yet none hung, was cancelled or lost its agent", e.Resource)
	}
	if e.Entry == schedule.Action {
		m.answeredAct(e.Action)
	}
	if e.Detailed && (e.Entry != schedule.Monitor || m.core.Phase(e.Resource) != "Online") {
		m.t.Fatalf("detailed: %s in phase %s", e, m.core.Phase(e.Resource))
	}
	m.calls[e.ID], m.busy[e.Resource] = e, e.ID
	if len(m.calls) > threads {
		m.t.Fatalf("%d calls at once, NumThreads is %d", len(m.calls), threads)
	}
}

func (m *model) reported(r resource.Report) {
	if r.Done != 0 {
		if !m.open[r.Done] {
			m.t.Fatalf("command %d ended twice or was never given", r.Done)
		}
		delete(m.open, r.Done)
		cmd := m.lastCmd[r.Resource]
		if r.Done == cmd.ID && !r.Failed && cmd.Kind == resource.CommandOnline && r.State != resource.StateOnline {
			m.t.Fatalf("online reported done while %s", r.State)
		}
		if r.Done == cmd.ID && !r.Failed && cmd.Kind == resource.CommandOffline && r.State == resource.StateOnline {
			m.t.Fatalf("offline reported done while %s", r.State)
		}
	}
	if r.Seen > m.nextCmd || r.Seen < m.lastCmd[r.Resource].ID {
		m.t.Fatalf("report has seen %d, last command is %d", r.Seen, m.lastCmd[r.Resource].ID)
	}
}

func (m *model) command() {
	m.nextCmd++
	kind := rapid.SampledFrom([]resource.CommandKind{resource.CommandOnline, resource.CommandOnline, resource.CommandOffline,
		resource.CommandProbe, resource.CommandClear, resource.CommandMonitorOnly, resource.CommandRefreshInfo}).Draw(m.t, "kind")
	cmd := resource.Command{ID: m.nextCmd, Kind: kind, Resource: rapid.SampledFrom(names).Draw(m.t, "resource"),
		Arg: rapid.IntRange(0, 1).Draw(m.t, "arg")}
	m.open[cmd.ID] = true
	m.lastCmd[cmd.Resource] = cmd
	switch kind {
	case resource.CommandMonitorOnly:
		m.frozen[cmd.Resource] = cmd.Arg == 1
	case resource.CommandOnline, resource.CommandOffline:
		m.ordered[cmd.Resource] = kind
	}
	m.step(schedule.Command{Command: cmd})
}

func (m *model) finish() {
	for _, name := range names { // the first busy one; any will do
		id := m.busy[name]
		if id == 0 {
			continue
		}
		outcome := rapid.SampledFrom([]schedule.Outcome{schedule.OK, schedule.OK, schedule.OK, schedule.Failed,
			schedule.TimedOut, schedule.Cancelled, schedule.PluginGone}).Draw(m.t, "outcome")
		if outcome == schedule.PluginGone {
			m.pluginDies()
			return
		}
		m.end(id, outcome)
		return
	}
}

func (m *model) end(id schedule.CallID, outcome schedule.Outcome) {
	if call := m.calls[id]; call.Entry == schedule.Online {
		m.badOnline[call.Resource] = outcome != schedule.OK
	}
	delete(m.busy, m.calls[id].Resource)
	delete(m.calls, id)
	m.step(schedule.EntryPointResult{Call: id, Outcome: outcome,
		Saw:  rapid.SampledFrom([]schedule.Monitored{schedule.SawOnline, schedule.SawOffline, schedule.SawUnknown}).Draw(m.t, "saw"),
		Wait: rapid.IntRange(0, 2).Draw(m.t, "wait"), Confidence: 100})
}

func (m *model) pluginDies() {
	m.plugin = false
	m.step(schedule.PluginDown{Type: "T"})
	for _, name := range names {
		if id := m.busy[name]; id != 0 {
			m.end(id, schedule.PluginGone)
		}
	}
}

// TestProperties plays random lives: never two entry points of one resource at
// once, never a raise without lease, arming or intent (R2, R6), every command
// answered at most once and never wrongly, equal cores stay equal.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, core: schedule.New(), twin: schedule.New(), calls: map[schedule.CallID]schedule.Call{},
			busy: map[string]schedule.CallID{}, open: map[resource.EffectID]bool{},
			lastCmd: map[string]resource.Command{}, frozen: map[string]bool{},
			ordered: map[string]resource.CommandKind{}, badOnline: map[string]bool{},
			acts: map[schedule.ActionID]bool{}}
		for _, name := range names {
			l := schedule.DefaultLimits()
			l.NumThreads = threads
			l.RestartLimit = rapid.IntRange(0, 2).Draw(t, "restart")
			l.OnlineRetryLimit = rapid.IntRange(0, 2).Draw(t, "retry")
			l.CleanRetryLimit = rapid.IntRange(0, 2).Draw(t, "cleanretry")
			l.InfoInterval = rapid.IntRange(0, 30).Draw(t, "info")
			l.LevelTwoMonitorFreq = rapid.IntRange(0, 3).Draw(t, "leveltwo")
			l.FaultOnMonitorTimeouts = rapid.IntRange(0, 2).Draw(t, "hung")
			m.step(schedule.SetResource{Spec: schedule.Spec{Resource: name, Type: "T", Enabled: true, Protected: true, Limits: l}})
		}
		t.Repeat(map[string]func(*rapid.T){
			"command": func(*rapid.T) { m.command() },
			"finish":  func(*rapid.T) { m.finish() },
			"finish2": func(*rapid.T) { m.finish() },
			"lease": func(t *rapid.T) {
				m.lease = m.now.Add(time.Duration(rapid.IntRange(0, 400).Draw(t, "lease")) * time.Second)
				m.step(schedule.Lease{Until: m.lease})
			},
			"armed": func(t *rapid.T) {
				m.armed = rapid.IntRange(0, 3).Draw(t, "armed") > 0
				m.step(schedule.Armed{OK: m.armed})
			},
			"up": func(*rapid.T) {
				if !m.plugin {
					m.plugin = true
					m.step(schedule.PluginUp{Type: "T"})
				}
			},
			"act": func(t *rapid.T) {
				m.lastAct++
				m.acts[m.lastAct] = true
				m.step(schedule.Act{ID: m.lastAct, Resource: rapid.SampledFrom(names).Draw(t, "resource"), Until: m.now.Add(20 * time.Second)})
			},
			"push": func(*rapid.T) { m.step(schedule.WatchPush{Resource: "a"}) },
			"wake": func(*rapid.T) {
				if at, ok := m.core.Deadline(); ok {
					m.now = max(m.now, at)
					m.step(schedule.Wake{})
				}
			},
		})
	})
}

// TestEveryCommandEnds lets each story of orders come to rest with an agent
// that does what it is told: every command is answered.
func TestEveryCommandEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, core: schedule.New(), twin: schedule.New(), calls: map[schedule.CallID]schedule.Call{},
			busy: map[string]schedule.CallID{}, open: map[resource.EffectID]bool{}, lastCmd: map[string]resource.Command{},
			frozen: map[string]bool{}, ordered: map[string]resource.CommandKind{}, armed: true, lease: vclock.Never, plugin: true, badOnline: map[string]bool{}}
		m.step(schedule.Lease{Until: vclock.Never})
		m.step(schedule.Armed{OK: true})
		l := schedule.DefaultLimits()
		l.NumThreads = threads
		for _, name := range names {
			m.step(schedule.SetResource{Spec: schedule.Spec{Resource: name, Type: "T", Enabled: true, Protected: true, Limits: l}})
		}
		m.step(schedule.PluginUp{Type: "T"})
		up := map[string]bool{}
		obey := func() bool {
			for _, name := range names {
				if id := m.busy[name]; id != 0 {
					call := m.calls[id]
					delete(m.busy, name)
					delete(m.calls, id)
					r := schedule.EntryPointResult{Call: id}
					switch call.Entry {
					case schedule.Online:
						up[name] = true
					case schedule.Offline, schedule.Clean:
						up[name] = false
					case schedule.Monitor:
						r.Saw = schedule.SawOffline
						if up[name] {
							r.Saw = schedule.SawOnline
						}
					}
					m.step(r)
					return true
				}
			}
			return false
		}
		for range rapid.IntRange(1, 30).Draw(t, "commands") {
			m.command()
			for range rapid.IntRange(0, 3).Draw(t, "answers") {
				obey()
			}
		}
		for range 200 {
			if !obey() {
				break
			}
		}
		if len(m.open) > 0 || len(m.calls) > 0 {
			t.Fatalf("at rest, yet commands %v have no answer", m.open)
		}
	})
}
