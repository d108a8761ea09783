package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// testTypes are one type of each category.
const testTypes = `
type App (
	static str ArgList[] = { What }
	str What
)
type Service (
	static str ArgList[] = { What }
	static int IntentionalOffline = 1
	static keylist ExternalStateChange = { OnlineGroup, OfflineGroup }
	str What
)
type Held (
	static str ArgList[] = { What }
	static int IntentionalOffline = 1
	static keylist ExternalStateChange = { OfflineHold }
	str What
)
type Daemon (
	static str Operations = OnOnly
	static str ArgList[] = { What }
	str What
)
type Net (
	static str Operations = None
	static str ArgList[] = { What }
	str What
)
`

// testConfig puts the groups of a story under a cluster with its systems.
func testConfig(systems []string, body string) []File {
	text := "include \"types.cf\"\n"
	if !strings.Contains(body, "cluster demo ") {
		text += "cluster demo (\n\t)\n"
	}
	for _, s := range systems {
		if !strings.Contains(body, "system "+s+" ") {
			text += "system " + s + " (\n\t)\n"
		}
	}
	return []File{{Name: "main.cf", Text: text + body}, {Name: "types.cf", Text: testTypes}}
}

// stage is one story: an engine and what the story said so far.
type stage struct {
	t        *testing.T
	e        *Engine
	files    []File
	systems  []string
	unfence  bool
	gen      uint64
	pos      Pos
	all      bool // print notices about resources too
	triggers bool // print triggers too
	effects  []Effect
	// twin applies the same events: invariant I3 holds in every story.
	twin *Engine
}

func newStage(t *testing.T) *stage {
	return &stage{t: t, e: New(), twin: New(), unfence: true, pos: Pos{Lineage: 7, View: 1}}
}

func (s *stage) apply(from string, ev Event) {
	wire, err := Encode(ev)
	if err != nil {
		s.t.Fatalf("encode %s: %v", ev, err)
	}
	same, err := Decode(wire)
	if err != nil {
		s.t.Fatalf("decode %s: %v", wire, err)
	}
	s.pos.Seq++
	s.effects = s.e.Apply(s.pos, from, same, s.effects)
	s.twin.Apply(s.pos, from, ev, nil)
	if s.e.Hash() != s.twin.Hash() {
		s.t.Fatalf("I3: after %s two engines differ:\n%s\n%s", ev, s.e.Snapshot(), s.twin.Snapshot())
	}
	onlyOneHome(s.t, s.e)
}

// onlyOneHome is I1 as far as the engine can see it: nothing of a failover
// group, or of a hybrid group in one zone, is being raised on two systems.
func onlyOneHome(t interface{ Fatalf(string, ...any) }, e *Engine) {
	if e.mod == nil {
		return
	}
	for _, g := range e.mod.groups {
		if !g.failover() {
			continue
		}
		for _, part := range g.parts {
			var raising []string
			for _, p := range part.list {
				for _, r := range g.resources {
					if r.onOff() && e.instance(r.name, p.System).raising() {
						raising = append(raising, p.System)
						break
					}
				}
			}
			if len(raising) > 1 {
				t.Fatalf("I1: group %s is being raised on %v", g.name, raising)
			}
		}
	}
}

// flush prints the effects since the last call.
func (s *stage) flush() string {
	var b strings.Builder
	for _, f := range s.effects {
		switch f := f.(type) {
		case LogLine:
			if f.Severity == "INFO" && !s.all {
				continue
			}
		case EventNotice:
			if f.Kind == "resource" && !s.all {
				continue
			}
		case RunTrigger:
			// Nearly every story runs some: only those about them, and those
			// that hold a group, show them.
			if !s.triggers && f.Event != TriggerPreOnline {
				continue
			}
		}
		fmt.Fprintln(&b, f)
	}
	s.effects = nil
	return b.String()
}

func words(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			var out []string
			for _, v := range a.Vals {
				for _, w := range strings.Split(v, ",") {
					if w != "" {
						out = append(out, w)
					}
				}
			}
			return out
		}
	}
	return nil
}

func first(d *datadriven.TestData, key string) string {
	if w := words(d, key); len(w) > 0 {
		return w[0]
	}
	return ""
}

// sender is the argument "from", or what goes without saying.
func sender(d *datadriven.TestData, usual string) string {
	if from := first(d, "from"); from != "" {
		return from
	}
	return usual
}

// plain are the arguments without "=".
func plain(d *datadriven.TestData) []string {
	var out []string
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 0 {
			out = append(out, a.Key)
		}
	}
	return out
}

func duration(t *testing.T, text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return d
}

func (s *stage) node(name string) int { return slices.Index(s.systems, name) }

func (s *stage) members(ns []string, jeopardy []string) []Member {
	var out []Member
	for _, n := range ns {
		out = append(out, Member{System: n, Node: s.node(n), Jeopardy: slices.Contains(jeopardy, n)})
	}
	return out
}

func (s *stage) view(d *datadriven.TestData) {
	s.gen++
	s.pos.View++
	jeopardy := words(d, "jeopardy")
	ev := ViewChanged{Generation: s.gen, FencingDisabled: s.unfence, DaemonDown: words(d, "daemon-down")}
	ev.Members = s.members(words(d, "h"), jeopardy)
	ev.Systems = ev.Members
	if a := words(d, "a"); a != nil {
		ev.Systems = s.members(a, jeopardy)
	}
	for _, g := range words(d, "gone") {
		name, kind, _ := strings.Cut(g, ":")
		ev.Departed = append(ev.Departed, Departed{System: name, Node: s.node(name), Evidence: Evidence(kind)})
		if stop := first(d, "stop-bound"); stop != "" {
			ev.Departed[len(ev.Departed)-1].StopBound = duration(s.t, stop)
		}
	}
	s.apply("", ev)
}

func (s *stage) join(name string, incarnation uint64, yielded bool) {
	s.apply(name, SystemJoined{System: name, Node: s.node(name), ConfigValid: true, Incarnation: incarnation, Yielded: yielded})
}

// boot brings the systems named to RUNNING.
func (s *stage) boot(up []string) {
	s.gen++
	m := s.members(up, nil)
	s.apply("", ViewChanged{Generation: s.gen, Members: m, Systems: m, FencingDisabled: s.unfence})
	for _, n := range up {
		s.join(n, 1, false)
	}
	s.apply(up[0], StateChanged{System: up[0], State: SystemLocalBuild})
	s.apply(up[0], ConfigLoaded{System: up[0], Main: "main.cf", Files: s.files})
	for _, n := range up {
		s.apply(n, StateChanged{System: n, State: SystemRunning})
	}
}

func (s *stage) report(d *datadriven.TestData) {
	args := plain(d)
	name, sys, _ := strings.Cut(args[0], "@")
	rep := resource.Report{
		System: sys, Resource: name, Incarnation: s.e.st.Systems[sys].Incarnation, Seen: s.e.st.LastID, Probed: true,
		Reason: strings.Join(words(d, "reason"), " "),
	}
	for _, w := range args[1:] {
		switch w {
		case "online":
			rep.State, rep.Confidence = resource.StateOnline, 100
		case "offline":
			rep.State = resource.StateOffline
		case "faulted":
			rep.State = resource.StateFaulted
		case "failed":
			rep.Failed = true
		case "unprobed":
			rep.Probed = false
		case "unknown":
			rep.Flags |= resource.FlagUnknown
		case "timedout":
			rep.Flags |= resource.FlagMonitorTimedOut
		case "unable":
			rep.Flags |= resource.FlagUnableToOffline
		case "restarting":
			rep.Flags |= resource.FlagRestarting
		case "adminwait":
			rep.Flags |= resource.FlagAdminWait
		case "intentional":
			rep.Intentional = true
		case "done":
			rep.Done = s.e.instance(name, sys).Pending.ID
		default:
			s.t.Fatalf("%s: report: what is %q?", d.Pos, w)
		}
	}
	if v := first(d, "seen"); v != "" {
		fmt.Sscan(v, &rep.Seen)
	}
	for key, into := range map[string]*int{"confidence": &rep.Confidence, "monitor": &rep.MonitorMillis} {
		if v := first(d, key); v != "" {
			fmt.Sscan(v, into)
		}
	}
	for _, key := range []string{"admin", "wait-reason"} {
		if v := first(d, key); v != "" {
			fmt.Sscan(v, &rep.WaitReason)
		}
	}
	if v := first(d, "inc"); v != "" {
		fmt.Sscan(v, &rep.Incarnation)
	}
	s.apply(sender(d, sys), Reported{rep})
}

// agent is a system's word about an agent: "agent App@A running watches".
func (s *stage) agent(d *datadriven.TestData) {
	args := plain(d)
	typ, sys, _ := strings.Cut(args[0], "@")
	ev := AgentReported{System: sys, Type: typ, State: AgentState(args[1]), Incarnation: s.e.st.Systems[sys].Incarnation,
		Version: "1", Watches: slices.Contains(args, "watches"), Reason: strings.Join(words(d, "reason"), " ")}
	if v := first(d, "faults"); v != "" {
		fmt.Sscan(v, &ev.Faults)
	}
	if v := first(d, "inc"); v != "" {
		fmt.Sscan(v, &ev.Incarnation)
	}
	s.apply(sender(d, sys), ev)
}

// info is what an agent told: "info app@A valid pid=7".
func (s *stage) info(d *datadriven.TestData) {
	args := plain(d)
	name, sys, _ := strings.Cut(args[0], "@")
	ev := InfoReported{System: sys, Resource: name, Incarnation: s.e.st.Systems[sys].Incarnation,
		Info: resource.Info{State: resource.InfoValid, Time: "2026-01-01T00:00:00Z", Msg: strings.Join(words(d, "msg"), " ")}}
	if slices.Contains(args, "invalid") {
		ev.Info.State = resource.InfoInvalid
	}
	facts := map[string]string{}
	for _, a := range d.CmdArgs {
		if len(a.Vals) == 1 && a.Key != "msg" && a.Key != "inc" && a.Key != "from" && a.Key != "big" && a.Key != "quiet" {
			facts[a.Key] = a.Vals[0]
		}
	}
	if v := first(d, "big"); v != "" {
		n := 0
		fmt.Sscan(v, &n)
		facts["big"] = strings.Repeat("x", n)
	}
	ev.Info.Facts, _ = resource.NewFacts(facts)
	if first(d, "big") != "" { // one that no scheduler would send
		ev.Info.Facts = []resource.Fact{{Name: "big", Value: facts["big"]}}
	}
	if v := first(d, "inc"); v != "" {
		fmt.Sscan(v, &ev.Incarnation)
	}
	s.apply(sender(d, sys), ev)
}

// probe gives the first report of every resource on the systems named.
func (s *stage) probe(d *datadriven.TestData) {
	up := words(d, "online")
	for _, n := range plain(d) {
		for _, r := range s.e.resourceModels() {
			i := s.e.instance(r.name, n)
			if i == nil || i.Probed {
				continue
			}
			rep := resource.Report{System: n, Resource: r.name, Incarnation: s.e.st.Systems[n].Incarnation, Seen: s.e.st.LastID, Probed: true}
			if r.persistent() || slices.Contains(up, r.name) || slices.Contains(up, "all") {
				rep.State, rep.Confidence = resource.StateOnline, 100
			}
			s.apply(n, Reported{rep})
		}
	}
}

// agents answers every order as healthy agents would, until all is quiet.
func (s *stage) agents(d *datadriven.TestData) {
	only, next := plain(d), 0
	for range 1000 {
		var todo []resource.Command
		for _, n := range s.e.systemNames() {
			for _, f := range s.e.Outstanding(n) {
				if c, ok := f.(ResourceCommand); ok && (len(only) == 0 || slices.Contains(only, c.Command.System) || slices.Contains(only, c.Command.Resource)) {
					todo = append(todo, c.Command)
				}
			}
		}
		sort.Slice(todo, func(a, b int) bool { return todo[a].ID < todo[b].ID })
		if len(todo) == 0 {
			return
		}
		c := todo[0]
		rep, answered := s.e.healthy(c)
		if !answered {
			// Probe, clear and monitor-only: monitored, nothing new.
			rep.Done = c.ID
		}
		rep.Seen = c.ID
		s.apply(c.System, Reported{rep})
		next++
	}
	s.t.Fatalf("%s: the agents never come to rest", d.Pos)
}

func (s *stage) command(d *datadriven.TestData) {
	args := plain(d)
	c := Command{User: "root", Kind: CommandKind(args[0]), RequestID: first(d, "id")}
	c.CheckPartial = first(d, "checkpartial")
	isRes := strings.HasPrefix(args[0], "resource-")
	isSys := strings.HasPrefix(args[0], "system-")
	isAgent := strings.HasPrefix(args[0], "agent-")
	for _, w := range args[1:] {
		switch w {
		case "any":
			c.Any = true
		case "all":
			c.All = true
		case "force":
			c.Force = true
		case "persistent":
			c.Persistent = true
		case "evacuate":
			c.Evacuate = true
		case "ignoreparent":
			c.IgnoreParent = true
		case "parentprop":
			c.ParentProp = true
		case "nopre":
			c.NoPre = true
		case "propagate":
			c.Propagate = true
		case "fault":
			c.Fault = true
		case "local":
			c.Local = true
		case "noautodisable":
			c.NoAutoDisable = true
		case "confirmed":
			c.Confirmed = true
		case "reboot":
			c.Reboot = true
		case "clear":
			c.ClearLoad = true
		default:
			switch {
			case isSys:
				c.Systems = append(c.Systems, w)
				c.System = w
			case isAgent && c.Type == "":
				c.Type = w
			case isRes && c.Resource == "":
				c.Resource = w
			case !isRes && !isAgent && c.Group == "":
				c.Group = w
			default:
				c.System = w
			}
		}
	}
	if v := first(d, "load"); v != "" {
		fmt.Sscan(v, &c.Load)
	}
	switch {
	case c.Kind == CommandSystemStop && len(c.Systems) > 1:
		c.System = ""
	default:
		c.Systems = nil
	}
	from := first(d, "from")
	if from == "" {
		from = s.systems[0]
	}
	if d.Cmd == "plan" {
		before := s.e.Hash()
		fx, err := s.e.Plan(from, c)
		if err != nil {
			s.t.Fatalf("%s: %v", d.Pos, err)
		}
		if s.e.Hash() != before {
			s.t.Fatalf("%s: a plan changed the engine", d.Pos)
		}
		s.effects = append(s.effects, fx...)
		return
	}
	s.apply(from, c)
}

// meters is a system's measurement: CPU=100/400 is one core of four in use.
func (s *stage) meters(d *datadriven.TestData) {
	n := plain(d)[0]
	ev := Metered{System: n}
	for _, a := range d.CmdArgs {
		switch {
		case len(a.Vals) == 0 || a.Key == "from" || a.Key == "quiet":
		case a.Key == "elapsed":
			ev.Elapsed = duration(s.t, a.Vals[0])
		default:
			m := Meter{Name: a.Key}
			fmt.Sscanf(a.Vals[0], "%d/%d", &m.Used, &m.Total)
			ev.Meters = append(ev.Meters, m)
		}
	}
	s.apply(sender(d, n), ev)
}

func (s *stage) status(d *datadriven.TestData) string {
	var b strings.Builder
	st := s.e.Status()
	what := plain(d)
	if len(what) == 0 {
		what = []string{"groups"}
	}
	for _, w := range what {
		switch w {
		case "systems":
			for _, y := range st.Systems {
				fmt.Fprintf(&b, "%s %s", y.Name, y.State)
				for _, f := range []struct {
					on   bool
					word string
				}{{y.TFrozen || y.Frozen, "frozen"}, {y.DaemonDown, "daemon-down"}, {y.Jeopardy, "jeopardy"}, {y.Evidence != "", string(y.Evidence)}} {
					if f.on {
						b.WriteString(" " + f.word)
					}
				}
				if y.WaitingFor != "" {
					b.WriteString(": " + y.WaitingFor)
				}
				b.WriteString("\n")
			}
		case "load":
			for _, y := range st.Systems {
				fmt.Fprintf(&b, "%s capacity %d load %d available %d", y.Name, y.Room.Capacity, y.Room.Load, y.Room.Available)
				if y.Room.Dynamic {
					b.WriteString(" dynamic")
				}
				for _, l := range y.Room.Limits {
					fmt.Fprintf(&b, " %s=%s", l.Key, l.Value)
				}
				if len(y.Room.Reserved) > 0 {
					fmt.Fprintf(&b, " reserved for %s", strings.Join(y.Room.Reserved, ","))
				}
				if y.Room.Over > 0 {
					fmt.Fprintf(&b, " over for %s", y.Room.Over)
				}
				b.WriteString("\n")
			}
		case "meters":
			for _, y := range st.Systems {
				b.WriteString(y.Name)
				for _, m := range y.Meters {
					fmt.Fprintf(&b, " %s %d%% of %d, forecast %d%s", m.Name, m.Percent(), m.Total, m.Forecast, pick(m.Level == "", "", " "+m.Level))
				}
				b.WriteString("\n")
			}
		case "facts":
			for _, y := range st.Systems {
				fmt.Fprintf(&b, "%s %s up=%t agents-stopped=%t engine-restarted=%t no-auto-disable=%t version=%s %s\n", y.Name, y.State, y.MachineUp, y.AgentsStopped, y.EngineRestarted, y.NoAutoDisable, y.Version, y.Info)
			}
		case "groups":
			for _, g := range st.Groups {
				for _, y := range g.Systems {
					fmt.Fprintf(&b, "%s %s |%s|", g.Name, y.System, y.State)
					if !y.Probed {
						b.WriteString(" not-probed")
					}
					if y.AutoDisabled {
						b.WriteString(" autodisabled")
					}
					if y.Stale {
						b.WriteString(" stale")
					}
					b.WriteString("\n")
				}
				if slices.Contains(what, "attributes") {
					groupAttributes(&b, g)
				}
				for _, h := range g.Hindrances {
					fmt.Fprintf(&b, "  hindrance: %s\n", h)
				}
				for _, h := range g.AtRest {
					fmt.Fprintf(&b, "  at rest: %s\n", h)
				}
			}
		case "agents":
			for _, a := range st.Agents {
				fmt.Fprintf(&b, "%s %s %s", a.Type, a.System, a.State)
				if a.Faults > 0 {
					fmt.Fprintf(&b, " faults=%d", a.Faults)
				}
				if a.Reason != "" {
					b.WriteString(": " + a.Reason)
				}
				b.WriteString("\n")
			}
		case "info":
			for _, r := range st.Resources {
				for _, y := range r.Systems {
					fmt.Fprintf(&b, "%s %s %s", r.Name, y.System, y.Info.State)
					for _, f := range y.Info.Facts {
						b.WriteString(" " + f.Name + "=" + f.Value)
					}
					if y.Info.Msg != "" {
						b.WriteString(": " + y.Info.Msg)
					}
					b.WriteString("\n")
				}
			}
		case "more":
			for _, r := range st.Resources {
				fmt.Fprintf(&b, "%s last online on %s\n", r.Name, r.LastOnline)
				for _, y := range r.Systems {
					fmt.Fprintf(&b, "  %s confidence %d, %s", y.System, y.Confidence, y.MonitorMethod)
					if y.MonitorMillis > 0 {
						fmt.Fprintf(&b, ", monitor takes %d ms", y.MonitorMillis)
					}
					for _, f := range []struct {
						on   bool
						word string
					}{{y.MonitorOnly, "MonitorOnly"}, {y.Start, "Start"}, {y.OnPath, "Path"}, {y.Signaled, "Signaled"}} {
						if f.on {
							b.WriteString(", " + f.word)
						}
					}
					b.WriteString("\n")
				}
			}
		case "resources":
			for _, r := range st.Resources {
				for _, y := range r.Systems {
					fmt.Fprintf(&b, "%s %s %s, %s\n", r.Name, y.System, y.State, y.IState)
				}
			}
		}
	}
	return b.String()
}

// groupAttributes prints what a group is about, where it is not at rest.
func groupAttributes(b *strings.Builder, g GroupStatus) {
	fmt.Fprintf(b, "  IntentOnline=%t FromQ=%v ToQ=%v TargetCount=%d Failover=%t Restart=%t Evacuating=%t AutoClearCount=%d\n",
		g.IntentOnline, g.FromQ, g.ToQ, g.TargetCount, g.Failover, g.Restart, g.Evacuating, g.AutoClearCount)
	for _, y := range g.Systems {
		fmt.Fprintf(b, "  %s: ActiveCount=%d IntentOnline=%t NumRetries=%d PathCount=%d UnSteadyCount=%d ProbesPending=%d PreOnlining=%t\n",
			y.System, y.ActiveCount, y.IntentOnline, y.NumRetries, y.PathCount, y.UnSteadyCount, y.ProbesPending, y.PreOnlining)
	}
}

func (s *stage) run(d *datadriven.TestData) string {
	switch d.Cmd {
	case "story":
		*s = *newStage(s.t)
		for _, w := range plain(d) {
			if w == "fenced" {
				s.unfence = false
			}
		}
		return ""
	case "config":
		s.systems = plain(d)
		s.files = testConfig(s.systems, d.Input)
		if _, err := parse("main.cf", s.files); err != nil {
			s.t.Fatalf("%s: %v", d.Pos, err)
		}
		return ""
	case "boot":
		s.boot(plain(d))
	case "view":
		s.view(d)
	case "join":
		inc := uint64(2)
		if v := first(d, "inc"); v != "" {
			fmt.Sscan(v, &inc)
		}
		if from := first(d, "from"); from != "" {
			s.apply(from, SystemJoined{System: plain(d)[0], Incarnation: inc})
			break
		}
		s.join(plain(d)[0], inc, slices.Contains(plain(d), "yielded"))
	case "state":
		s.apply(sender(d, plain(d)[0]), StateChanged{System: plain(d)[0], State: SystemState(plain(d)[1])})
	case "load":
		s.apply(sender(d, plain(d)[0]), ConfigLoaded{System: plain(d)[0], Main: "main.cf", Files: s.files})
	case "load-text":
		s.apply(plain(d)[0], ConfigLoaded{System: plain(d)[0], Main: "main.cf", Files: []File{{Name: "main.cf", Text: d.Input}}})
	case "evidence":
		s.apply("", EvidenceStronger{System: plain(d)[0], Evidence: Evidence(plain(d)[1])})
	case "report":
		s.report(d)
	case "agent":
		s.agent(d)
	case "info":
		s.info(d)
	case "probe":
		s.probe(d)
	case "agents":
		s.agents(d)
	case "command", "plan":
		s.command(d)
	case "facts":
		// facts GROUP [last=N]
		last := 1
		if v := first(d, "last"); v != "" {
			fmt.Sscan(v, &last)
		}
		return s.facts(plain(d)[0], last)
	case "inputs":
		return s.inputs(plain(d)[0])
	case "clock":
		from := s.e.ClockSystem()
		if v := first(d, "from"); v != "" {
			from = v
		}
		for left := duration(s.t, plain(d)[0]); left > 0; left -= ClockPeriod {
			s.apply(from, Clock{Elapsed: min(left, ClockPeriod)})
		}
	case "meters":
		s.meters(d)
	case "described":
		s.apply(sender(d, plain(d)[0]), SystemDescribed{System: plain(d)[0], Info: first(d, "info"), Version: first(d, "version")})
	case "jump":
		s.apply(s.e.ClockSystem(), Clock{Elapsed: duration(s.t, plain(d)[0])})
	case "writable", "change", "dump", "apply", "confirm", "plan-change", "plan-apply":
		s.reconfigure(d)
	case "dumped":
		s.dumped(d)
	case "conf":
		return s.conf(d)
	case "status":
		return s.status(d)
	case "explain":
		var b strings.Builder
		for _, x := range s.e.Explanations(plain(d)[0]) {
			fmt.Fprintf(&b, "%s %s %s\n", x.Pos, x.Time, x)
		}
		return b.String()
	case "outstanding":
		var b strings.Builder
		for _, f := range s.e.Outstanding(plain(d)[0]) {
			fmt.Fprintln(&b, f)
		}
		return b.String()
	case "protected":
		return fmt.Sprintln(s.e.Protected(plain(d)[0]))
	case "time":
		return fmt.Sprintln(s.e.Time())
	case "restore":
		e, err := Restore(s.e.Snapshot())
		if err != nil {
			s.t.Fatalf("%s: %v", d.Pos, err)
		}
		s.e = e
		return ""
	case "all":
		s.all = true
		return ""
	case "triggers":
		s.triggers = true
		return ""
	case "trigger-ended":
		// trigger-ended GROUP SYSTEM OUTCOME [detail=...] [id=N]
		args := plain(d)
		ev := TriggerEnded{Group: args[0], System: args[1], Outcome: Outcome(args[2]), Detail: strings.Join(words(d, "detail"), " ")}
		if p := s.e.st.Groups[args[0]].On[args[1]].Pre; p != nil {
			ev.ID = p.ID
		}
		if v := first(d, "id"); v != "" {
			fmt.Sscan(v, &ev.ID)
		}
		s.apply(sender(d, args[1]), ev)
	default:
		s.t.Fatalf("%s: unknown directive %q", d.Pos, d.Cmd)
	}
	if slices.ContainsFunc(d.CmdArgs, func(a datadriven.CmdArg) bool { return a.Key == "quiet" && len(a.Vals) > 0 }) {
		s.effects = nil
		return ""
	}
	return s.flush()
}

// TestStories plays the goldens: events in, effects, states and explanations
// out.
func TestStories(t *testing.T) {
	played := 0
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := newStage(t)
		played++
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			return s.run(d)
		})
	})
	if files, err := filepath.Glob("testdata/stories/*.txt"); err != nil || played < len(files) {
		return // Only some of them.
	}
	for _, kind := range append(decision.Automatic(), decision.Orders()...) {
		if repeated[kind] == 0 {
			t.Errorf("no story shows a decision of the kind %s (E196)", kind)
		}
	}
	t.Logf("of %d kinds: %s", len(decision.Automatic())+len(decision.Orders()), repeatedText())
}

var (
	ruleInSpec  = regexp.MustCompile(`(?m)^\*\*(E\d+)\*\* .*?Golden: `)
	ruleInStory = regexp.MustCompile(`(?m)^story .*?rules=\(?([E0-9, ]+)\)?`)
)

// TestRules checks that each rule of the specification has a golden and each
// golden names rules that exist.
func TestRules(t *testing.T) {
	spec, err := os.ReadFile("../../../docs/spec/engine.md")
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]bool{}
	for _, m := range ruleInSpec.FindAllStringSubmatch(string(spec), -1) {
		rules[m[1]] = true
	}
	shown := map[string]bool{}
	stories := 0
	files, _ := filepath.Glob("testdata/stories/*.txt")
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range ruleInStory.FindAllStringSubmatch(string(text), -1) {
			stories++
			for _, r := range strings.FieldsFunc(m[1], func(c rune) bool { return c == ',' || c == ' ' }) {
				shown[r] = true
				if !rules[r] {
					t.Errorf("%s: a story shows rule %s, which docs/spec/engine.md does not have", f, r)
				}
			}
		}
		for _, m := range regexp.MustCompile(`Golden: ([a-z0-9, ]+)`).FindAllStringSubmatch(string(spec), -1) {
			for _, name := range strings.Split(m[1], ",") {
				if _, err := os.Stat("testdata/stories/" + strings.TrimSpace(name) + ".txt"); err != nil {
					t.Errorf("docs/spec/engine.md names the golden %q: %v", name, err)
				}
			}
		}
	}
	for r := range rules {
		if !shown[r] {
			t.Errorf("rule %s has no golden", r)
		}
	}
	if stories < 60 || len(rules) < 40 {
		t.Errorf("%d stories for %d rules; the specification has lost something", stories, len(rules))
	}
}
