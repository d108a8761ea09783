package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/gab"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// hadd is the daemon had: what the loop of services/had/server does.
type hadd struct {
	*proc
	inc    uint64
	engine Engine
	join   Join
	sched  Schedule
	joins  alarm
	scheds alarm
	clocks alarm

	sess    *session
	view    *gab.DeliverView
	gate    string
	yielded bool
	lastMsg uint64
	pos     engine.Pos

	running   bool
	wantBuild uint64
	spooling  bool
	spool     []spooled
	snapshots map[string]snapshot
	loaded    *maincf.Config // what the scheduler was told of
	told      map[string]schedule.Spec
	disk      onDisk
	diskJobs  confdisk.Queue

	clockBase vclock.Time
	clockSent bool

	agentsReady bool
	agents      map[string]*agent
	calls       map[schedule.CallID]*call
	protection  protection
	bySend      map[uint64]string
	onLost      map[uint64]func()
	waiters     map[string]func(engine.CommandResult, bool)
}

type spooled struct {
	pos  engine.Pos
	from string
	ev   engine.Event
}

type snapshot struct {
	build uint64
	data  []byte
}

// protection is what had declared (R2, R14).
type protection struct {
	former, toldGab, declared uint32
	asking, armed             bool
	retry                     vclock.Time
	problem                   bool
}

// wireHad is a message of port h.
type wireHad struct {
	Kind  string
	Event json.RawMessage `json:",omitempty"`
	State join.State      `json:",omitempty"`
	View  uint64          `json:",omitempty"`
	Rank  uint64          `json:",omitempty"`
	Hash  uint64          `json:",omitempty"`
	Build uint64          `json:",omitempty"`
	N     int             `json:",omitempty"`
	Total int             `json:",omitempty"`
	Data  []byte          `json:",omitempty"`
}

// chunkSize is small, so that a snapshot is on its way for some time.
const chunkSize = 8 << 10

func (n *node) startHad() {
	w := n.w
	if !n.on || n.had != nil || n.stopped {
		return
	}
	d := n.readDisk()
	core, err := w.cores.Join(n.id, join.Config{Self: n.name, Disk: d.state, Rank: d.rank})
	if err != nil {
		panic(err)
	}
	n.hadInc = max(n.hadInc+1, uint64(n.wall()))
	h := &hadd{proc: n.newProc("had"), inc: n.hadInc, disk: d, engine: w.cores.Engine(n.id), join: core, sched: w.cores.Schedule(n.id),
		snapshots: map[string]snapshot{}, agents: map[string]*agent{}, calls: map[schedule.CallID]*call{},
		bySend: map[uint64]string{}, onLost: map[uint64]func(){}, waiters: map[string]func(engine.CommandResult, bool){}}
	n.had = h
	w.later(h.proc, w.boot.between(5*time.Millisecond, 200*time.Millisecond), func() {
		if !w.broken("keep-former") {
			n.endFormer()
		}
		h.agentsReady = true
		h.startAgents()
	})
	h.openPort()
}

// endHad is the end of the process; hashadow starts it again unless it was
// ordered.
func (n *node) endHad(h *hadd, why string, ordered bool) {
	w := n.w
	if h.dead {
		return
	}
	w.tell("had of %s ends: %s", n.name, why)
	h.dead = true
	n.had = nil
	n.disk.killed()
	h.sess.close()
	for _, name := range sortedKeys(h.waiters) {
		h.waiters[name](engine.CommandResult{}, false)
	}
	n.stopped = ordered
	if ordered && w.opt.Scenario == nil {
		w.after(w.user.between(time.Second, 12*time.Second), n.startStopped)
	}
	if !ordered {
		w.later(n.shadow.proc, w.boot.between(200*time.Millisecond, 2*time.Second), n.startHad)
	}
}

// startStopped is an operator's hastart.
func (n *node) startStopped() {
	if n.on && n.stopped && n.had == nil {
		n.stopped = false
		n.w.later(n.shadow.proc, time.Millisecond, n.startHad)
	}
}

func (h *hadd) openPort() {
	n, w := h.n, h.n.w
	var s *session
	s = n.attach(gab.PortH, h.proc, func(e any) {
		if h.sess == s {
			h.received(e)
			h.tick()
		}
	}, func(why string) {
		if h.sess == s {
			h.sess = nil
			if h.view == nil { // not accepted, or nothing happened yet
				w.later(h.proc, 300*time.Millisecond, h.openPort)
				return
			}
			n.endHad(h, "port h is lost: "+why, false)
		}
	})
	if s == nil {
		w.later(h.proc, 300*time.Millisecond, h.openPort)
		return
	}
	h.sess = s
}

func (h *hadd) received(e any) {
	switch e := e.(type) {
	case registered:
		h.yielded = e.yielded
		if h.n.declKnown {
			h.protection.former = h.n.declared
			h.protection.toldGab = h.n.declared
			h.sess.say(gab.Protection{Resources: h.n.declared})
		}
	case gab.DeliverView:
		h.viewed(e)
	case gab.DeliverMessage:
		h.message(e)
	case gab.DeliverEvidence:
		h.n.w.oracle.ordered(h, h.view.ID, e.Seq, e.String())
		h.n.learn(e.Departed)
		h.apply(h.position(e.View, e.Seq), "", engine.EvidenceStronger{System: h.name(e.Departed.Member.Node),
			Evidence: evidenceOf(e.Departed.Evidence), Detail: e.Departed.Detail})
	case gab.Outcome:
		h.outcome(e)
	case gab.Lease:
		h.stepSchedule(schedule.Lease{Until: e.Until})
	case gab.Gate:
		h.gate = ""
		if e.Held {
			h.gate = "held: " + e.Reason
			for _, id := range sortedKeys(h.waiters) {
				h.waiters[id](engine.CommandResult{}, false)
				delete(h.waiters, id)
			}
		}
	}
}

func (h *hadd) name(id gab.NodeID) string { return h.n.w.nodes[id].name }

func (h *hadd) position(v gab.ViewID, seq uint64) engine.Pos {
	h.pos = engine.Pos{Lineage: v.Lineage, View: v.Counter, Seq: seq}
	return h.pos
}

func (h *hadd) viewed(v gab.DeliverView) {
	first := h.view == nil
	if !first && v.First {
		h.n.endHad(h, "gab took this system into a new membership", false)
		return
	}
	h.n.w.oracle.viewed(h, v)
	h.n.w.moment(h.n, "view")
	h.view, h.gate, h.clockSent = &v, "", false
	ev := engine.ViewChanged{Generation: v.Generation, Members: h.members(v.Members), Systems: h.members(v.Systems), FencingDisabled: !h.n.w.fenced}
	for _, d := range v.Departed {
		ev.Departed = append(ev.Departed, engine.Departed{System: h.name(d.Member.Node), Node: int(d.Member.Node),
			Evidence: evidenceOf(d.Evidence), Detail: d.Detail, Jeopardy: d.Member.Jeopardy})
	}
	for _, id := range v.DaemonDown {
		ev.DaemonDown = append(ev.DaemonDown, h.name(id))
	}
	h.n.learnView(v)
	h.apply(h.position(v.ID, v.Seq), "", ev)
	if first || !h.running && h.n.w.opt.Broken != "join-once" {
		h.sendEvent(engine.SystemJoined{System: h.n.name, Node: h.n.id, ConfigValid: h.disk.state == join.DiskValid, Incarnation: h.inc, Yielded: h.yielded})
	}
	jv := join.View{ID: v.Seq}
	for _, m := range v.Members {
		jv.Members = append(jv.Members, join.Member{Name: h.name(m.Node), Node: int(m.Node)})
	}
	h.stepJoin(jv)
}

func (h *hadd) members(ms []gab.Member) []engine.Member {
	out := make([]engine.Member, 0, len(ms))
	for _, m := range ms {
		out = append(out, engine.Member{System: h.name(m.Node), Node: int(m.Node), Jeopardy: m.Jeopardy})
	}
	return out
}

func evidenceOf(e gab.Evidence) engine.Evidence {
	return [...]engine.Evidence{policy.EvidenceNone, policy.EvidenceClean, policy.EvidencePoweredOff, policy.EvidenceCut,
		policy.EvidenceExpired, policy.EvidenceVouched, policy.EvidenceAssumed}[e]
}

// learnView and learn keep what storage agents read (R4).
func (n *node) learnView(v gab.DeliverView) {
	for i := range n.known {
		n.known[i].member = false
	}
	for _, d := range v.Departed {
		n.learn(d)
	}
	for _, ms := range [][]gab.Member{v.Systems, v.Members} {
		for _, m := range ms {
			n.known[m.Node] = standingOf{inc: m.Incarnation, member: true}
		}
	}
}

func (n *node) learn(d gab.Departed) {
	k := &n.known[d.Member.Node]
	if !k.member || k.inc == d.Member.Incarnation {
		*k = standingOf{inc: d.Member.Incarnation, evidence: d.Evidence}
	}
}

func (h *hadd) message(m gab.DeliverMessage) {
	from := h.name(m.From)
	pos := h.position(m.View, m.Seq)
	h.n.w.oracle.ordered(h, m.View, m.Seq, string(m.Payload))
	var in wireHad
	if err := json.Unmarshal(m.Payload, &in); err != nil {
		panic(err)
	}
	switch in.Kind {
	case "announce":
		h.apply(pos, from, engine.StateChanged{System: from, State: engine.SystemState(in.State)})
		h.stepJoin(join.Announced{System: from, State: in.State, View: in.View, Rank: in.Rank})
	case "wanted":
		if from == h.n.name && in.Build == h.wantBuild {
			h.spooling, h.spool = true, nil
		}
		h.stepJoin(join.SnapshotWanted{System: from, Build: in.Build})
	case "mark":
		h.stepJoin(join.Marked{N: m.Seq})
	case "vote":
		h.stepJoin(join.Voted{System: from, N: in.Build, Hash: in.Hash})
	case "chunk":
		h.stepJoin(join.Chunk{Build: in.Build, N: in.N, Total: in.Total, Data: in.Data})
	case "event":
		ev, err := engine.Decode(in.Event)
		if err != nil {
			panic(err)
		}
		h.apply(pos, from, ev)
		if c, is := ev.(engine.ConfigLoaded); is {
			h.n.w.oracle.rebuilt(c)
			h.stepJoin(join.ConfigDelivered{System: c.System})
		}
		if _, is := ev.(engine.Clock); is && from == h.n.name {
			h.clockSent = false
		}
	}
}

// apply lets the engine take an event, or keeps it for the snapshot (R22).
func (h *hadd) apply(pos engine.Pos, from string, ev engine.Event) {
	if h.spooling {
		h.spool = append(h.spool, spooled{pos, from, ev})
		return
	}
	w := h.n.w
	w.steps++
	_, waited := h.engine.Deadline()
	out := h.engine.Apply(pos, from, h.bend(ev), nil)
	if _, waits := h.engine.Deadline(); waits && !waited {
		h.clockBase = h.n.clock()
	}
	record(w, h.n.name, "engine "+pos.String()+" "+from, ev, out)
	w.oracle.applied(h, pos, ev)
	if h.running && h.engine.Config() != h.loaded {
		w.adopt(h)
		h.loadResources() // before the orders for what is new
	}
	h.engineEffects(out)
}

func (h *hadd) unspool() {
	kept := h.spool
	h.spooling, h.spool, h.wantBuild = false, nil, 0
	if h.n.w.broken("spool-drops") && len(kept) > 0 {
		kept = kept[1:]
	}
	for _, s := range kept {
		h.apply(s.pos, s.from, s.ev)
	}
}

func (h *hadd) engineEffects(out []engine.Effect) {
	for _, effect := range out {
		switch e := effect.(type) {
		case engine.ResourceCommand:
			all := e.Command.Kind == resource.CommandOnline && h.n.w.broken("double-online")
			if (all || e.Command.System == h.n.name) && h.running {
				h.stepSchedule(schedule.Command{Command: e.Command})
			}
		case engine.RunTrigger:
			// Simulated systems have no programs for triggers.
			if e.System == h.n.name && h.running && e.Event == engine.TriggerPreOnline {
				h.sendEvent(engine.TriggerEnded{ID: e.ID, System: e.System, Group: e.Group, Outcome: engine.OutcomeMissing})
			}
		case engine.CommandResult:
			if done := h.waiters[e.RequestID]; done != nil {
				delete(h.waiters, e.RequestID)
				done(e, true)
			}
		case engine.EventNotice:
			h.noticed(e)
		case engine.Explained:
			h.n.w.explained(e.Explanation)
		case engine.MarkStale:
			if e.System == h.n.name && h.running {
				h.toDisk(confdisk.Job{Mark: true})
			}
		case engine.DumpConfig:
			if e.System == h.n.name && h.running {
				h.toDisk(confdisk.DumpJob(e, h.engine.Source()))
			}
		case engine.ConfigChanged:
			if c := h.engine.Config(); h.join.State() == join.Unknown && c != nil && c.System(h.n.name) != nil {
				h.stepJoin(join.Named{})
			}
		case engine.StopSystem:
			if e.System == h.n.name {
				h.stepJoin(join.Stop{Forced: e.Forced})
			}
		case engine.BuildLocal:
			if e.System == h.n.name {
				h.stepJoin(join.Force{})
			}
		}
	}
}

func (h *hadd) noticed(e engine.EventNotice) {
	if e.Kind == "system" && e.System == h.n.name && h.running {
		switch s := join.State(e.New); s {
		case join.Leaving, join.Exiting, join.ExitingForcibly:
			h.stepJoin(join.Moved{State: s})
		}
	}
}

func (h *hadd) stepJoin(ev join.Event) {
	w := h.n.w
	if h.dead {
		return
	}
	w.steps++
	before := h.join.State()
	out := h.join.Step(h.n.clock(), ev, nil)
	after := h.join.State()
	if after != before {
		w.tell("%s: had goes from %s to %s", h.n.name, before, after)
		if before == join.RemoteBuild && after != join.Running {
			h.wantBuild = 0
			if h.spooling {
				h.unspool()
			}
		}
	}
	record(w, h.n.name, "join", ev, out)
	for _, effect := range out {
		h.joinEffect(effect)
	}
	at, ok := h.join.Deadline()
	w.arm(&h.joins, h.proc, at, ok, func() { h.stepJoin(join.Wake{}) })
}

func (h *hadd) joinEffect(effect join.Effect) {
	w := h.n.w
	switch e := effect.(type) {
	case join.Announce:
		h.send(nil, wireHad{Kind: "announce", State: e.State, View: e.View, Rank: e.Rank})
	case join.LoadConfig:
		w.later(h.proc, w.store.between(time.Millisecond, 50*time.Millisecond), func() { h.loadConfig(e.Force) })
	case join.RequestSnapshot:
		h.wantBuild = e.Build
		h.send(nil, wireHad{Kind: "wanted", Build: e.Build})
	case join.Restore:
		h.restore(e.Data)
	case join.Run:
		h.startRunning()
	case join.TakeSnapshot:
		h.n.w.moment(h.n, "snapshot")
		h.snapshots[e.For] = snapshot{e.Build, h.engine.Snapshot()}
	case join.SendSnapshot:
		h.sendSnapshot(e)
	case join.DropSnapshot:
		delete(h.snapshots, e.For)
	case join.Mark:
		h.send(nil, wireHad{Kind: "mark"})
	case join.Vote:
		h.send(nil, wireHad{Kind: "vote", Build: e.N, Hash: h.engine.HashPart(e.N)})
	case join.Diverged:
		w.fail("I3: the engine of %s is not what %v have, they say", h.n.name, e.With)
	case join.Leave:
		h.n.endHad(h, fmt.Sprintf("stopped, forced=%t", e.Forced), true)
	}
}

func (h *hadd) restore(data []byte) {
	restored, err := h.n.w.cores.Restore(h.n.id, data)
	if err != nil {
		h.n.w.fail("a snapshot cannot be restored at %s: %v", h.n.name, err)
		return
	}
	h.engine = restored
	h.clockBase = h.n.clock()
	h.unspool()
	c := h.engine.Config()
	h.stepJoin(join.Restored{NotInConfig: c == nil || c.System(h.n.name) == nil})
}

func (h *hadd) sendSnapshot(e join.SendSnapshot) {
	s, have := h.snapshots[e.For]
	if !have || s.build != e.Build {
		return
	}
	to := gab.NodeID(h.n.w.nodeNamed(e.For).id)
	total := (len(s.data) + chunkSize - 1) / chunkSize
	for i := range total {
		h.send(&to, wireHad{Kind: "chunk", Build: s.build, N: i, Total: total, Data: s.data[i*chunkSize : min(len(s.data), (i+1)*chunkSize)]})
	}
}

func (h *hadd) startRunning() {
	if h.running {
		return
	}
	h.running = true
	h.n.w.moment(h.n, "joined")
	h.saveRunning()
	h.n.w.adopt(h)
	h.loadResources()
	h.engineEffects(h.engine.Outstanding(h.n.name))
	h.tick()
}

// tick does what is due after every event.
func (h *hadd) tick() {
	if h.dead || h.sess == nil {
		return
	}
	at, due := h.clockDue()
	h.n.w.arm(&h.clocks, h.proc, at, due, func() {
		if at, ok := h.clockDue(); ok && h.n.clock() >= at && h.sess != nil {
			h.sendClock()
		}
		h.tick()
	})
	h.protect()
}

func (h *hadd) clockDue() (vclock.Time, bool) {
	wish, waits := h.engine.Deadline()
	if !waits || h.clockSent || h.spooling || h.view == nil || h.sess == nil || h.engine.ClockSystem() != h.n.name {
		return 0, false
	}
	left := max(10*time.Millisecond, wish-h.engine.Time())
	return h.clockBase.Add(min(engine.ClockPeriod, left)), true
}

func (h *hadd) sendClock() {
	now := h.n.clock()
	h.clockSent = true
	id := h.sendEvent(engine.Clock{Elapsed: now.Sub(h.clockBase)})
	h.onLost[id] = func() { h.clockSent = false }
	h.clockBase = now
}

func (h *hadd) sendEvent(ev engine.Event) uint64 {
	body, err := engine.Encode(ev)
	if err != nil {
		panic(err)
	}
	return h.send(nil, wireHad{Kind: "event", Event: body})
}

func (h *hadd) send(to *gab.NodeID, m wireHad) uint64 {
	if h.sess == nil {
		return 0
	}
	payload, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	h.lastMsg++
	e := gab.Send{Port: gab.PortH, ID: h.lastMsg, Payloads: [][]byte{payload}}
	if to != nil {
		e.Directed, e.ToNode = true, *to
	}
	h.onLost[h.lastMsg] = func() { h.send(to, m) }
	h.sess.say(e)
	return h.lastMsg
}

// outcome is what became of a message (R15).
func (h *hadd) outcome(o gab.Outcome) {
	id, waited := h.bySend[o.ID]
	again := h.onLost[o.ID]
	delete(h.bySend, o.ID)
	delete(h.onLost, o.ID)
	h.n.w.oracle.count("sends " + o.Result.String())
	switch {
	case o.Result == gab.ResultLost && !waited && again != nil:
		again()
	case o.Result != gab.ResultDelivered && waited:
		if done := h.waiters[id]; done != nil {
			delete(h.waiters, id)
			done(engine.CommandResult{}, false)
		}
	}
}

// submit is a call of a user; done gets at most one answer, ok false meaning
// that nothing is known.
func (h *hadd) submit(c engine.Command, done func(engine.CommandResult, bool)) {
	if known, is := h.engine.Repeated(c); is {
		done(known, true)
		return
	}
	me := len(c.Systems) == 1 && c.Systems[0] == h.n.name
	switch {
	case c.Kind == engine.CommandSystemStop && c.Force && me && (!h.running || h.gate != ""):
		h.stepJoin(join.Stop{Forced: true})
		return
	case h.gate != "" || h.sess == nil || h.view == nil:
		return
	case !h.running && c.Kind != engine.CommandSystemForce && c.Kind != engine.CommandSystemStop:
		return
	}
	if h.n.w.opt.Broken == "answer-early" {
		done(engine.CommandResult{RequestID: c.RequestID, Code: engine.CodeOK, Pos: h.pos}, true)
		done = func(engine.CommandResult, bool) {}
	}
	h.waiters[c.RequestID] = done
	h.bySend[h.sendEvent(c)] = c.RequestID
	h.tick()
}

// report broadcasts; nothing is reported before RUNNING (R22).
func (h *hadd) report(r resource.Report) {
	if !h.running {
		return
	}
	r.System, r.Incarnation = h.n.name, h.inc
	id := h.sendEvent(engine.Reported{Report: r})
	h.onLost[id] = func() {
		if now, known := h.sched.Report(r.Resource); known {
			now.Done, now.Failed, now.Reason = r.Done, r.Failed, r.Reason
			h.report(now)
		}
	}
}

// protect keeps gab and fencing informed (R2).
func (h *hadd) protect() {
	p := &h.protection
	if !h.running {
		return
	}
	n := uint32(len(h.sched.Protected()))
	if n != p.toldGab {
		p.toldGab = n
		h.sess.say(gab.Protection{Resources: n})
	}
	if n == 0 && p.armed {
		p.armed = false
		h.stepSchedule(schedule.Armed{OK: false})
	}
	if p.asking || h.n.clock() < p.retry || (n == p.declared && !p.problem && (p.armed || n == 0) && p.former == 0) {
		return
	}
	p.asking = true
	h.declare(n)
}

// declare asks fencing; it answers, refuses or is silent.
func (h *hadd) declare(n uint32) {
	w, f := h.n.w, h.n.fence
	answered := false
	answer := func(ok bool) {
		if !answered {
			answered = true
			h.declaredTo(n, ok)
		}
	}
	w.later(h.proc, 2*time.Second, func() { answer(false) })
	if f == nil || f.dead {
		w.later(h.proc, time.Millisecond, func() { answer(false) })
		return
	}
	w.later(f.proc, w.net.between(100*time.Microsecond, 10*time.Millisecond), func() {
		h.n.declared, h.n.declKnown = n, true
		w.later(h.proc, w.net.between(100*time.Microsecond, 5*time.Millisecond), func() { answer(true) })
	})
}

func (h *hadd) declaredTo(n uint32, ok bool) {
	p := &h.protection
	p.asking = false
	defer h.tick()
	if !ok {
		p.problem = true
		p.retry = h.n.clock().Add(time.Second)
		h.n.w.later(h.proc, 1010*time.Millisecond, h.tick)
		if p.armed {
			p.armed = false
			h.stepSchedule(schedule.Armed{OK: false})
		}
		return
	}
	p.problem, p.retry, p.former, p.declared = false, 0, 0, n
	if n > 0 && !p.armed {
		p.armed = true
		h.stepSchedule(schedule.Armed{OK: true})
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

// intended is what holds over a restart of had (R6).
func (h *hadd) intended() map[string]bool {
	st := h.engine.Status()
	groups := map[string]bool{}
	for _, g := range st.Groups {
		groups[g.Name] = g.IntentOnline
	}
	out := map[string]bool{}
	for _, r := range st.Resources {
		for _, on := range r.Systems {
			if on.System == h.n.name && groups[r.Group] && strings.HasPrefix(on.State, "ONLINE") {
				out[r.Name] = true
			}
		}
	}
	return out
}
