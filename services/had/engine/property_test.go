package engine

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// propertyGroups has each category, a diamond, two failover groups and a
// parallel one, on three systems.
const propertyGroups = `
group web (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	OnlineRetryLimit = 1
	)
	Net net (
		)
	App disk (
		)
	App fs (
		)
	App ip (
		Critical = 0
		)
	Daemon nfsd (
		)
	App srv (
		)
	fs requires disk
	ip requires net
	nfsd requires fs
	srv requires nfsd
	srv requires ip
group db (
	SystemList = { A = 2, B = 0, C = 1 }
	AutoStartList = { B }
	FailOverPolicy = RoundRobin
	SystemZones = { A = 0, B = 1, C = 0 }
	AutoFailOver = 2
	)
	App base (
		)
	App data (
		)
	base requires data
group zoned (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B }
	Parallel = 2
	SystemZones = { A = 0, B = 1, C = 1 }
	OnlineRetryLimit = 1
	FailOverPolicy = BiggestAvailable
	Load = { Units = 30, CPU = 2 }
	)
	App zdata (
		)
	App zsrv (
		)
	zsrv requires zdata
group everywhere (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	Parallel = 1
	Load = 90
	)
	App cache (
		)
`

// dependentGroups has each kind of group dependency, failover and parallel.
const dependentGroups = `
group base (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B }
	OnlineRetryLimit = 1
	)
	App disk (
		)
	App fs (
		)
	fs requires disk
group follow (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B }
	)
	requires group base online local soft
	App s1 (
		)
group lean (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B }
	)
	requires group base online local firm
	App f1 (
		)
	App f2 (
		)
	f1 requires f2
group top (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	)
	requires group lean online local hard
	requires group many online local soft
	App t1 (
		)
group far (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { C }
	)
	requires group base online remote firm
	App r1 (
		)
group zones (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	Parallel = 2
	SystemZones = { A = 0, B = 0, C = 1 }
	)
	requires group many online local firm
	requires group base online global soft
	App z1 (
		)
group onzone (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	)
	requires group zones online local firm
	App o1 (
		)
group away (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { C }
	)
	requires group base online remote soft
	requires group far offline local
	App a1 (
		)
group many (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	Parallel = 1
	)
	App m1 (
		)
group each (
	SystemList = { A = 0, B = 1, C = 2 }
	AutoStartList = { A, B, C }
	Parallel = 1
	)
	requires group many online local firm
	requires group base online global firm
	App e1 (
		)
`

var threeSystems = []string{"A", "B", "C"}

// machine is a modelled system: what really runs there, whatever engines
// believe, and the orders that its scheduler has not carried out.
type machine struct {
	on, had     bool
	incarnation uint64
	running     map[string]bool
	faulted     map[string]bool
	// waiting are the resources in ADMIN_WAIT, and why.
	waiting  map[string]resource.AdminReason
	queue    []resource.Command
	triggers []RunTrigger // preonline
	seen     map[string]resource.EffectID
	// ghost: the cluster lost and cut it, and it runs on all the same.
	ghost bool
	// unprobed are the resources that its new had has not looked at yet.
	unprobed []string
}

// world runs one engine (all replicas are equal) against modelled machines.
type world struct {
	t        *rapid.T
	e, twin  *Engine
	mod      *model
	machines map[string]*machine
	pos      Pos
	gen      uint64
	trace    []string
	// fast leaves out the twin, which other tests have.
	fast bool
	// happened are the effects since somebody set it to nil.
	happened []Effect
}

func newWorld(t *rapid.T) *world {
	return newWorldOf(&world{t: t})
}

func newFastWorld(t *rapid.T) *world { return newWorldOf(&world{t: t, fast: true}) }

func newWorldOf(w *world) *world {
	t := w.t
	w.e, w.twin, w.machines, w.pos = New(), New(), map[string]*machine{}, Pos{Lineage: 1, View: 1}
	w.twin.thorough = true // and comes to the same
	for _, n := range threeSystems {
		w.machines[n] = &machine{on: true, had: true, incarnation: 1, running: map[string]bool{}, faulted: map[string]bool{}, waiting: map[string]resource.AdminReason{}, seen: map[string]resource.EffectID{}}
	}
	w.view(nil)
	for _, n := range threeSystems {
		w.apply(n, SystemJoined{System: n, Node: slices.Index(threeSystems, n), ConfigValid: true, Incarnation: 1})
	}
	groups := rapid.SampledFrom([]string{propertyGroups, dependentGroups, "", ""}).Draw(t, "groups")
	if groups == "" {
		groups = drawGroups(t)
	}
	w.apply("A", ConfigLoaded{System: "A", Main: "main.cf", Files: testConfig(threeSystems, groups)})
	if w.mod = w.e.mod; w.mod == nil {
		t.Fatalf("the configuration is refused:\n%s\n%s", groups, lines(w.happened))
	}
	for _, n := range threeSystems {
		w.apply(n, StateChanged{System: n, State: SystemRunning})
		w.probe(n)
	}
	return w
}

func (w *world) apply(from string, ev Event) {
	w.pos.Seq++
	w.trace = append(w.trace, ev.String())
	out := w.e.Apply(w.pos, from, ev, nil)
	w.happened = append(w.happened, out...)
	if !w.fast {
		w.compare(from, ev, out)
	}
	for _, f := range out {
		switch f := f.(type) {
		case ResourceCommand:
			m := w.machines[f.Command.System]
			if m.had && m.on {
				m.queue = append(m.queue, f.Command)
			}
		case RunTrigger:
			if m := w.machines[f.System]; f.Event == TriggerPreOnline && m.had && m.on {
				m.triggers = append(m.triggers, f)
			}
		case StopSystem:
			w.machines[f.System].had = false
		}
	}
	onlyOneHome(w.t, w.e)
}

// compare is I3: the twin does the same.
func (w *world) compare(from string, ev Event, out []Effect) {
	again := w.twin.Apply(w.pos, from, ev, nil)
	if a, b := lines(out), lines(again); a != b {
		w.t.Fatalf("I3: effects differ after %s:\n%s\n--\n%s", ev, a, b)
	}
	if w.e.Hash() != w.twin.Hash() {
		w.t.Fatalf("I3: hashes differ after %s", ev)
	}
}

func lines(fx []Effect) string {
	var b strings.Builder
	for _, f := range fx {
		fmt.Fprintln(&b, f)
	}
	return b.String()
}

func (w *world) members() (h, a []Member) {
	for i, n := range threeSystems {
		m := w.machines[n]
		if m.on {
			a = append(a, Member{System: n, Node: i})
		}
		if m.on && m.had {
			h = append(h, Member{System: n, Node: i})
		}
	}
	return h, a
}

func (w *world) view(gone []Departed) {
	w.gen++
	w.pos.View++
	h, a := w.members()
	w.apply("", ViewChanged{Generation: w.gen, Members: h, Systems: a, Departed: gone})
}

func (w *world) report(n, r string, done resource.EffectID, failed bool) {
	m := w.machines[n]
	rep := resource.Report{System: n, Resource: r, Incarnation: m.incarnation, Seen: m.seen[r], Probed: true, Done: done, Failed: failed}
	switch {
	case m.waits(r):
		rep.Flags, rep.WaitReason = resource.FlagAdminWait, m.waiting[r]
		if rep.WaitReason == resource.UnexpectedOffline {
			rep.State = resource.StateOnline
		}
	case m.faulted[r]:
		rep.State = resource.StateFaulted
	case m.running[r] || w.mod.resource(r).persistent():
		rep.State = resource.StateOnline
	}
	w.apply(n, Reported{rep})
}

func (w *world) probe(n string) {
	for _, r := range w.e.resourceModels() {
		w.report(n, r.name, 0, false)
	}
}

// serve lets the scheduler of a system carry out its next order.
func (w *world) serve(n string, works bool) bool {
	m := w.machines[n]
	if !m.on || !m.had {
		return false
	}
	if len(m.unprobed) > 0 {
		r := m.unprobed[0]
		m.unprobed = m.unprobed[1:]
		w.report(n, r, 0, false)
		return true
	}
	if len(m.triggers) > 0 {
		p := m.triggers[0]
		m.triggers = m.triggers[1:]
		w.decide(n, p, works)
		return true
	}
	if len(m.queue) == 0 {
		return false
	}
	c := m.queue[0]
	m.queue = m.queue[1:]
	failed := w.carryOut(m, c, works)
	w.report(n, c.Resource, c.ID, failed)
	return true
}

// decide is what a preonline trigger does: it lets the group go on, by a
// command or because it is not there; else it forbids, or falls silent.
func (w *world) decide(n string, p RunTrigger, works bool) {
	ended := TriggerEnded{ID: p.ID, System: n, Group: p.Group, Outcome: OutcomeReleased}
	said := 0
	if !w.fast {
		said = rapid.IntRange(0, 2).Draw(w.t, "preonline")
	}
	switch {
	case works && said == 1:
		w.apply(n, Command{Kind: CommandGroupOnline, Group: p.Group, System: n, NoPre: true, User: "root"})
		ended.Outcome = OutcomeEnded
	case works && said == 2:
		ended.Outcome = OutcomeMissing
	case !works:
		ended.Outcome = []Outcome{OutcomeFailed, OutcomeEnded, OutcomeFailed}[said]
	}
	w.apply(n, ended)
}

// carryOut is what an agent does; it says whether it failed.
func (w *world) carryOut(m *machine, c resource.Command, works bool) bool {
	m.seen[c.Resource] = c.ID
	switch c.Kind {
	case resource.CommandOnline:
		if r := w.mod.resource(c.Resource); !works && r.onOff() && !r.in.manageFaults {
			m.waiting[c.Resource] = resource.OnlineIneffective // and may be half up
			w.exclusive()
			return true
		}
		m.running[c.Resource], m.faulted[c.Resource] = works, !works
		w.exclusive()
		return !works
	case resource.CommandOffline:
		m.running[c.Resource] = false
		delete(m.waiting, c.Resource)
	case resource.CommandClear:
		m.faulted[c.Resource] = m.waits(c.Resource) && c.Arg == 1
		if c.Arg == 1 || m.waiting[c.Resource] != resource.UnexpectedOffline {
			delete(m.waiting, c.Resource)
		}
	}
	return false
}

// waits says whether a resource waits for an administrator.
func (m *machine) waits(r string) bool { _, is := m.waiting[r]; return is }

// exclusive is I1 on the modelled machines: an OnOff resource of a failover
// group runs on one system that has power, seen or not, at most.
func (w *world) exclusive() {
	for _, r := range w.e.resourceModels() {
		if !r.onOff() || !w.mod.byGroup[r.in.name].failover() {
			continue
		}
		for _, part := range r.in.parts {
			var at []string
			for _, p := range part.list {
				if m := w.machines[p.System]; (m.on || m.ghost) && (m.running[r.name] || m.waits(r.name)) {
					at = append(at, p.System)
				}
			}
			if len(at) > 1 {
				w.t.Fatalf("I1: %s runs on %v\n%s", r.name, at, strings.Join(w.trace, "\n"))
			}
		}
	}
}

// drawGroup draws a group; one that does not exist if there is none.
func (w *world) drawGroup(m *model) string {
	if names := groupNames(m); len(names) > 0 {
		return rapid.SampledFrom(names).Draw(w.t, "group")
	}
	return "n1"
}

func (w *world) step() {
	t := w.t
	n := rapid.SampledFrom(threeSystems).Draw(t, "system")
	m := w.machines[n]
	group := w.drawGroup(w.mod)
	up := 0
	for _, o := range threeSystems {
		if w.machines[o].on && w.machines[o].had {
			up++
		}
	}
	switch rapid.SampledFrom([]string{"serve", "serve", "serve", "fail", "fault", "command", "command", "hang", "power", "evidence", "return", "clock", "meters", "stale"}).Draw(t, "what") {
	case "serve":
		w.serve(n, true)
	case "fail":
		w.serve(n, false)
	case "fault":
		if len(w.e.resourceModels()) == 0 {
			return
		}
		r := rapid.SampledFrom(w.e.resourceModels()).Draw(t, "resource")
		if m.on && m.had && (m.running[r.name] || r.persistent()) && !slices.Contains(m.unprobed, r.name) {
			m.running[r.name] = false
			if m.faulted[r.name] = !m.faulted[r.name]; r.onOff() && !r.in.manageFaults {
				m.faulted[r.name], m.waiting[r.name] = false, resource.UnexpectedOffline
			}
			w.report(n, r.name, 0, false)
		}
	case "command":
		w.user(n, group)
	case "hang": // had dies, the machine lives
		if up > 1 && m.on && m.had {
			if len(m.queue) > 0 && rapid.Bool().Draw(t, "in flight") {
				// The agent finished what had can no longer report.
				w.carryOut(m, m.queue[0], true)
			}
			m.had, m.queue, m.triggers = false, nil, nil
			w.view(nil)
		}
	case "power":
		if up > 1 && m.on {
			m.on = false
			ev := rapid.SampledFrom([]Evidence{EvidencePoweredOff, EvidenceVouched, EvidenceCut}).Draw(t, "evidence")
			m.had, m.queue, m.triggers = false, nil, nil
			if m.ghost = ev == EvidenceCut; !m.ghost {
				m.running, m.faulted, m.waiting = map[string]bool{}, map[string]bool{}, map[string]resource.AdminReason{}
			}
			w.view([]Departed{{System: n, Node: slices.Index(threeSystems, n), Evidence: ev}})
		}
	case "evidence":
		if !m.on {
			m.ghost, m.running, m.faulted, m.waiting = false, map[string]bool{}, map[string]bool{}, map[string]resource.AdminReason{}
			w.apply("", EvidenceStronger{System: n, Evidence: EvidencePoweredOff})
		}
	case "return":
		w.comeBack(n)
	case "clock":
		w.apply(w.e.ClockSystem(), Clock{Elapsed: rapid.SampledFrom([]time.Duration{ClockPeriod, 3 * time.Second}).Draw(t, "elapsed")})
	case "meters":
		total := rapid.Int64Range(0, 800).Draw(t, "total")
		w.apply(n, Metered{System: n, Elapsed: time.Duration(rapid.Int64Range(-1, 1e12).Draw(t, "elapsed")), Meters: []Meter{
			{Name: "CPU", Total: total, Used: rapid.Int64Range(-1, 900).Draw(t, "used")}, {Name: "Mem", Total: 4096, Used: total}}})
	case "stale":
		// A report from before: too old, or of an earlier run.
		known := w.e.resourceModels()
		if len(known) == 0 {
			return // Changes of the configuration took them all.
		}
		r := rapid.SampledFrom(known).Draw(t, "resource")
		w.apply(n, Reported{resource.Report{System: n, Resource: r.name, Seen: w.e.st.LastID, Probed: true, Incarnation: m.incarnation - 1,
			State: rapid.SampledFrom([]resource.State{resource.StateOffline, resource.StateOnline}).Draw(t, "state")}})
	}
}

func (w *world) comeBack(n string) {
	m := w.machines[n]
	if m.on && m.had {
		return
	}
	m.on, m.had, m.ghost = true, true, false
	m.incarnation++
	m.waiting = map[string]resource.AdminReason{} // The new had looks for itself.
	m.queue, m.triggers, m.unprobed, m.seen = nil, nil, nil, map[string]resource.EffectID{}
	w.view(nil)
	w.apply(n, SystemJoined{System: n, Node: slices.Index(threeSystems, n), ConfigValid: true, Incarnation: m.incarnation})
	w.apply(n, StateChanged{System: n, State: SystemRunning})
	for _, r := range w.e.resourceModels() {
		m.unprobed = append(m.unprobed, r.name)
	}
}

func (w *world) user(n, group string) {
	c := w.drawCommand(n, group)
	c.RequestID = rapid.SampledFrom([]string{"", "x", "y"}).Draw(w.t, "id")
	w.apply(n, c)
	w.notice()
}

// notice lets gab tell of each had that stopped.
func (w *world) notice() {
	for _, n := range threeSystems {
		if m := w.machines[n]; !m.had && m.on && w.e.st.Systems[n].InH {
			w.view(nil)
		}
	}
}

// drawCommand draws what a user might want of a group and a system.
func (w *world) drawCommand(n, group string) Command {
	kind := rapid.SampledFrom([]CommandKind{CommandGroupOnline, CommandGroupOffline, CommandGroupSwitch, CommandGroupClear,
		CommandGroupFreeze, CommandGroupUnfreeze, CommandGroupFlush, CommandResourceOnline, CommandResourceOffline,
		CommandResourceProbe, CommandResourceClear, CommandSystemFreeze, CommandSystemUnfreeze, CommandSystemStop, CommandSystemLoad, CommandGroupClearAdminWait}).Draw(w.t, "command")
	c := Command{Kind: kind, Group: group, System: n, User: "root"}
	switch {
	case strings.HasPrefix(string(kind), "resource-"):
		c.Group, c.Resource = "", "r1"
		if rs := w.e.resourceModels(); len(rs) > 0 {
			c.Resource = rapid.SampledFrom(rs).Draw(w.t, "resource").name
		}
		c.IgnoreParent = rapid.Bool().Draw(w.t, "ignore")
	case strings.HasPrefix(string(kind), "system-"):
		c.Group = ""
		c.Evacuate = rapid.Bool().Draw(w.t, "evacuate")
		if kind == CommandSystemLoad {
			c.Evacuate, c.Load, c.ClearLoad = false, rapid.IntRange(-1, 200).Draw(w.t, "load"), rapid.IntRange(0, 4).Draw(w.t, "clear") == 0
		}
	default:
		c.Any = rapid.Bool().Draw(w.t, "any")
		c.Propagate = rapid.IntRange(0, 3).Draw(w.t, "propagate") == 0
		c.Fault = rapid.Bool().Draw(w.t, "fault")
		if kind == CommandGroupOnline && rapid.IntRange(0, 3).Draw(w.t, "nopre") == 0 {
			// A trigger that nobody waits for any more, or a user.
			c.NoPre, c.Any, c.Propagate = true, false, false
			c.CheckPartial = rapid.SampledFrom(append([]string{""}, threeSystems...)).Draw(w.t, "checkpartial")
		}
	}
	return c
}

// TestOneHome: whatever fails and whoever commands, nothing of a failover
// group is told to run, or runs, on two systems (I1), and equal events give
// equal engines (I3).
func TestOneHome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
			w.exclusive()
			w.notice()
		}
	})
}

// TestComesHome is I5: when faults stop and everything is repaired, each group
// that should be online is online or says which command leads out, whatever
// was changed of the configuration meanwhile.
func TestComesHome(t *testing.T) {
	changes, left := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		reconfigured := rapid.Bool().Draw(t, "reconfigured")
		if reconfigured {
			w.apply("A", Command{Kind: CommandConfigWritable})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if reconfigured && rapid.IntRange(0, 2).Draw(t, "change") == 0 {
				done, _ := w.reconfigure()
				changes += done
			} else {
				w.step()
				w.follow()
			}
			w.exclusive()
			w.notice()
		}
		for range 3 { // a hastop under way ends in between, and had is started again
			w.repair()
			w.quiet()
			w.notice()
		}
		w.repair()
		w.quiet()
		w.exclusive()
		for _, g := range w.e.Status().Groups {
			if w.home(g) {
				continue
			}
			left++
			if len(g.Hindrances)+len(g.AtRest) == 0 {
				t.Fatalf("I5: group %s should be online, is nowhere and says nothing\n%s\n%s", g.Name, strings.Join(w.trace, "\n"), w.e.Snapshot())
			}
			if len(g.Hindrances) == 0 && !w.handled(g.Name) {
				t.Fatalf("I5: group %s should have come online by itself: %v\n%s\n%s", g.Name, g.AtRest, strings.Join(w.trace, "\n"), w.e.Snapshot())
			}
		}
	})
	t.Logf("%d changes of the configuration, %d groups not home", changes, left)
	least := 20
	if testing.Short() { // rapid then draws a fifth of the runs
		least = 4
	}
	if changes < least {
		t.Errorf("too little was tried")
	}
}

// repair ends every fault that ends without a user: machines and hads are back,
// what persistent resources watch is well.
func (w *world) repair() {
	for _, n := range threeSystems {
		if w.machines[n].on && !w.machines[n].had && w.e.st.Systems[n].InH {
			w.view(nil)
		}
		w.comeBack(n)
		for _, r := range w.e.resourceModels() {
			if r.persistent() && w.machines[n].faulted[r.name] {
				w.machines[n].faulted[r.name] = false
				w.report(n, r.name, 0, false)
			}
		}
	}
}

// home says whether a group that should be online is, as far as I5 goes, and
// does not go offline for ever.
func (w *world) home(g GroupStatus) bool {
	if !g.IntentOnline || !w.startsSomething(g.Name) {
		return true
	}
	active := false
	for _, s := range g.Systems {
		active = active || s.ActiveCount > 0
		if strings.Contains(s.State, "STOPPING") || strings.Contains(s.State, "STARTING") {
			return false
		}
	}
	return active
}

// handled says whether somebody took a group in hand, so that nothing brings it
// online by itself: its resources taken down one by one, a flush, a cleared
// fault; or whether its configuration leaves it to somebody.
func (w *world) handled(g string) bool {
	m := w.mod.byGroup[g]
	if m.parallel == 1 || m.autoFailOver == 0 || m.autoRestart == 0 {
		return true
	}
	for _, line := range w.trace {
		for _, word := range []string{"resource-offline", "group-flush", "group-clear", "resource-clear", "Enabled", "config-apply", "AutoFailOver", "AutoRestart"} {
			if strings.Contains(line, word) {
				return true
			}
		}
	}
	return false
}

// startsSomething says whether the group has anything to bring online: a
// group whose OnOff resources are disabled, or have AutoStart = 0, is rightly
// active nowhere.
func (w *world) startsSomething(g string) bool {
	m := w.mod.byGroup[g]
	selected, _ := m.graph.Selection(
		func(r string) bool { return m.resource(r).autoUp && !m.resource(r).persistent() },
		func(r string) bool { return m.resource(r).enabled })
	return slices.ContainsFunc(selected, func(r string) bool { return m.resource(r).onOff() })
}

// quiet lets all schedulers work until nothing is left to do.
func (w *world) quiet() {
	for range 2000 {
		moved := false
		for _, n := range threeSystems {
			moved = w.serve(n, true) || moved
		}
		if !moved {
			return
		}
	}
	w.t.Fatalf("orders without end:\n%s", strings.Join(w.trace[max(0, len(w.trace)-40):], "\n"))
}

// TestRestore: a replica restored from a snapshot at any point does from there
// on what the one that was never stopped does (R22, R15).
func TestRestore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step()
			if rapid.IntRange(0, 3).Draw(t, "restore") == 0 {
				e, err := Restore(w.twin.Snapshot())
				if err != nil {
					t.Fatalf("restore: %v", err)
				}
				for _, n := range threeSystems {
					if a, b := lines(e.Outstanding(n)), lines(w.e.Outstanding(n)); a != b {
						t.Fatalf("outstanding differs:\n%s--\n%s", a, b)
					}
				}
				w.twin, e.thorough = e, true
			}
		}
	})
}

func TestRestoreRefusesWhatIsNotWhole(t *testing.T) {
	s := newStage(t)
	s.systems, s.files = []string{"A"}, testConfig([]string{"A"}, "group web (\n\tSystemList = { A = 0 }\n\t)\n\tApp app (\n\t\t)\n")
	s.boot([]string{"A"})
	good := string(s.e.Snapshot())
	for _, bad := range []string{
		"", "{}", good[:len(good)/2],
		strings.Replace(good, fmt.Sprintf(`"logic_version":%d`, LogicVersion), `"logic_version":1`, 1),
		strings.Replace(good, `"web":{`, `"wab":{`, 1),
		strings.Replace(good, `group web`, `grope web`, 1),
	} {
		if _, err := Restore([]byte(bad)); err == nil {
			t.Errorf("restored from %.60q", bad)
		}
	}
}

// everyEvent has one event of each kind at least.
var everyEvent = []Event{
	AgentReported{System: "A", Incarnation: 1, Type: "App", State: AgentGivenUp, Faults: 6, Reason: "it died"},
	InfoReported{System: "A", Incarnation: 1, Resource: "app", Info: resource.Info{State: resource.InfoValid, Facts: []resource.Fact{{Name: "pid", Value: "7"}}}},
	ViewChanged{Generation: 3, Members: []Member{{System: "A"}}, Systems: []Member{{System: "A"}}, Departed: []Departed{{System: "B", Node: 1, Evidence: EvidenceCut, StopBound: time.Second}}},
	EvidenceStronger{System: "B", Evidence: EvidenceVouched},
	SystemJoined{System: "A", ConfigValid: true, Incarnation: 7},
	ConfigLoaded{System: "A", Main: "main.cf", Files: []File{{Name: "main.cf", Text: "cluster c (\n\t)\n"}}},
	StateChanged{System: "A", State: SystemRunning},
	Reported{resource.Report{System: "A", Resource: "r", Seen: 4, State: resource.StateFaulted, Reason: "so"}},
	Command{RequestID: "1", Kind: CommandGroupOnline, Group: "g", System: "A"},
	Clock{Elapsed: time.Second},
	TriggerEnded{ID: 3, System: "A", Group: "g", Outcome: OutcomeFailed, Detail: "exit code 1"},
	Metered{System: "A", Meters: []Meter{{Name: "CPU", Used: 3, Total: 4}}},
	SystemDescribed{System: "A", Info: "Linux", Version: "1"},
	ConfigDumped{System: "A"},
}

// TestEveryEventIsFuzzed: FuzzDecode begins with every kind that Decode knows.
func TestEveryEventIsFuzzed(t *testing.T) {
	code, err := os.ReadFile("codec.go")
	if err != nil {
		t.Fatal(err)
	}
	kinds := regexp.MustCompile(`(?m)^\tcase "([a-z-]+)":$`).FindAllStringSubmatch(string(code), -1)
	if len(kinds) < 14 {
		t.Fatalf("only %d kinds in codec.go", len(kinds))
	}
	for _, k := range kinds {
		if !slices.ContainsFunc(everyEvent, func(ev Event) bool { return ev.event() == k[1] }) {
			t.Errorf("no event of kind %q to begin with", k[1])
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, ev := range everyEvent {
		wire, err := Encode(ev)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Add(fmt.Appendf(nil, `{"logic_version":%d,"kind":"clock","event":{"elapsed":1}} `, LogicVersion))
	f.Add([]byte(`{"logic_version":9,"kind":"clock","event":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ev, err := Decode(data)
		if err != nil {
			return
		}
		wire, err := Encode(ev)
		if err != nil {
			t.Fatalf("decoded, but not encoded: %v", err)
		}
		again, err := Decode(wire)
		if err != nil {
			t.Fatalf("encoded, but not decoded: %v", err)
		}
		if a, _ := Encode(again); string(a) != string(wire) {
			t.Fatalf("not canonical:\n%s\n%s", wire, a)
		}
		// Whatever decodes is applied without a panic, to an empty engine and
		// to one with a configuration.
		New().Apply(Pos{}, "A", ev, nil)
		e := New()
		e.Apply(Pos{}, "A", ConfigLoaded{System: "A", Main: "main.cf", Files: testConfig(threeSystems, propertyGroups)}, nil)
		e.Apply(Pos{}, "A", ev, nil)
		if _, err := Restore(e.Snapshot()); err != nil {
			t.Fatalf("a state that cannot be restored: %v", err)
		}
	})
}

func FuzzRestore(f *testing.F) {
	e := New()
	e.Apply(Pos{}, "A", ConfigLoaded{System: "A", Main: "main.cf", Files: testConfig(threeSystems, propertyGroups)}, nil)
	f.Add(e.Snapshot())
	f.Add(New().Snapshot())
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Restore(data)
		if err != nil {
			return
		}
		e.Status()
		e.Apply(Pos{}, "A", SystemJoined{System: "A", Incarnation: 5}, nil)
	})
}

// BenchmarkFault is one report of a fault, and the failover that it leads to,
// in a cluster of 100 groups of 10 resources on 4 systems.
func BenchmarkFault(b *testing.B) {
	systems := []string{"A", "B", "C", "D"}
	var text strings.Builder
	for g := range 100 {
		fmt.Fprintf(&text, "group g%d (\n\tSystemList = { A = 0, B = 1, C = 2, D = 3 }\n\tAutoStartList = { A }\n\t)\n", g)
		for r := range 10 {
			fmt.Fprintf(&text, "\tApp g%dr%d (\n\t\t)\n", g, r)
		}
		for r := range 9 {
			fmt.Fprintf(&text, "\tg%dr%d requires g%dr%d\n", g, r, g, r+1)
		}
	}
	e, pos := New(), Pos{}
	var members []Member
	for i, n := range systems {
		members = append(members, Member{System: n, Node: i})
	}
	e.Apply(pos, "", ViewChanged{Members: members, Systems: members}, nil)
	for i, n := range systems {
		e.Apply(pos, n, SystemJoined{System: n, Node: i, Incarnation: 1}, nil)
	}
	e.Apply(pos, "A", ConfigLoaded{System: "A", Main: "main.cf", Files: testConfig(systems, text.String())}, nil)
	for _, n := range systems {
		e.Apply(pos, n, StateChanged{System: n, State: SystemRunning}, nil)
		for _, r := range e.resourceModels() {
			e.Apply(pos, n, Reported{resource.Report{System: n, Resource: r.name, Incarnation: 1, Seen: e.st.LastID, Probed: true}}, nil)
		}
	}
	state := resource.StateOnline
	for b.Loop() {
		e.Apply(pos, "A", Reported{resource.Report{System: "A", Resource: "g50r9", Incarnation: 1, Seen: e.st.LastID, Probed: true, State: state}}, nil)
		if state = resource.StateOnline; e.instance("g50r9", "A").up() {
			state = resource.StateFaulted
		}
	}
}
