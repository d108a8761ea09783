package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/journal"
	"github.com/evenkeel/evenkeel/internal/messagelog"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/recorder"
	"github.com/evenkeel/evenkeel/services/had/schedule"
	"github.com/evenkeel/evenkeel/services/had/trigger"
	triggerhost "github.com/evenkeel/evenkeel/services/had/trigger/host"
)

const (
	// postBound is how many workers' answers and callers' requests wait for
	// the loop; more wait at their own place.
	postBound = 256
	// portRetry is how often a port that cannot be opened is tried again.
	portRetry = 500 * time.Millisecond
	// journalEvents and journalBytes bound the flight recorder.
	journalEvents = 20_000
	journalBytes  = 16 << 20
	// hashEvery and stateEvery are after how many events the recorder keeps a
	// hash of the engine and its whole state, for hasim replay; the latter takes
	// at most a twentieth of the time (stateShare).
	hashEvery  = 64
	stateEvery = 4096
	stateShare = 20
)

// loop owns the cores. Only run's goroutine touches its fields.
type loop struct {
	cfg    Config
	root   paths.Root
	log    *slog.Logger
	elog   *messagelog.Writer
	alogs  *agentLogs // nil where a test brings its own agents
	self   string
	agents Agents
	disk   onDisk
	known  evidenceTable
	// statusNow is the engine's status since its last event, nil until
	// somebody asks.
	statusNow *engine.Status

	// posts are closures of workers and callers; bound postBound, full: they
	// wait.
	posts chan func()
	ctx   context.Context
	stop  context.CancelFunc
	// workers are the loop's goroutines; all end with ctx.
	workers sync.WaitGroup
	fatal   error
	left    bool
	leaveBy vclock.Time // an ordered leave is under way; 0: none

	journal *journal.Ring
	// taken is what the engine took: a ring of its own, so that a state to begin
	// a replay with is always there; sinceState and sinceHash count its events,
	// stateAfter is when the next state may be kept.
	taken                 *journal.Ring
	sinceState, sinceHash int
	stateAfter            vclock.Time
	engine                *engine.Engine
	join                  *join.Core
	sched                 *schedule.Core

	port        Port
	heartbeat   time.Duration
	nextBeat    vclock.Time
	backups     confdisk.Backups
	backupLook  vclock.Time // when to look at them next
	backingUp   bool
	mode        string
	yielded     bool // gab came back as the side that yields (R17)
	incarnation uint64
	names       map[uint32]string
	nodes       map[string]uint32
	view        *gabv1.View
	gate        *gabv1.Gate
	lease       vclock.Time
	heard       map[string]vclock.Time // last sign of a system
	lastMessage uint64
	pos         engine.Pos

	running   bool
	wantBuild uint64
	spooling  bool
	spool     spool
	snapshots map[string]snapshot

	metering metering
	// systemWaits are callers that wait for what becomes of a system.
	systemWaits map[*systemWait]bool
	links       map[string][]string // as gab last told, by system

	clockBase vclock.Time
	clockSent bool

	agentsReady bool
	types       map[string]*agentType
	loaded      *maincf.Config // what types and known were made of
	told        map[string]knownResource
	before      map[string]map[string]host.Value // values before a change that the agent does not know yet
	groupOf     map[string]string
	actions     actions
	calls       map[schedule.CallID]*call
	protection  protection
	waiters     map[string][]*waiter
	bySend      map[uint64]string
	asked       map[uint64]*waiter // by message, until that comes out of the order
	onLost      map[uint64]func()  // by message; what to do if nobody got it
	watchers    map[*watcher]bool
	triggers    *triggerhost.Runner
	lost        []trigger.Job // waited when an earlier had was killed
	lostErr     error
	// early are the triggers of the last event, if it found had not RUNNING
	// yet: those of the event that makes it so are run (R22).
	early    []engine.RunTrigger
	recent   recent
	logNames knownNames

	// diskJobs wait for the disk; see toDisk.
	diskJobs confdisk.Queue
	// dumpWaits are closed when no system owes a dump any more.
	dumpWaits []chan struct{}
}

// snapshot is the engine's state at the position of a joiner's request.
type snapshot struct {
	build uint64
	data  []byte
}

func newLoop(cfg Config, disk onDisk) (*loop, error) {
	j, err := join.New(join.Config{Self: cfg.Name, Disk: disk.state, Rank: diskOf(cfg.Root).Rank(disk.files)})
	if err != nil {
		return nil, err
	}
	if cfg.Declare == nil && !cfg.OneNode {
		cfg.Declare = declareToFencing(cfg.Root)
	}
	known, err := readEvidence(cfg.Root, cfg.Name)
	if err != nil {
		cfg.Log.Warn("evidence of a former had is lost", "error", err)
	}
	incarnation, err := nextIncarnation(cfg.Root, time.Now())
	if err != nil {
		cfg.Log.Warn("this had is told from former ones by the clock alone", "error", err)
	}
	return &loop{
		spool: spool{path: cfg.Root.State("join.spool")}, systemWaits: map[*systemWait]bool{},
		cfg: cfg, root: cfg.Root, known: known, log: cfg.Log, self: cfg.Name, disk: disk,
		posts: make(chan func(), postBound), journal: journal.New(journalEvents, journalBytes), taken: journal.New(journalEvents, journalBytes), engine: engine.New(), join: j, sched: schedule.New(),
		incarnation: incarnation, names: map[uint32]string{}, nodes: map[string]uint32{},
		heard: map[string]vclock.Time{}, snapshots: map[string]snapshot{}, types: map[string]*agentType{},
		groupOf: map[string]string{}, told: map[string]knownResource{}, before: map[string]map[string]host.Value{}, actions: newActions(), calls: map[schedule.CallID]*call{}, waiters: map[string][]*waiter{},
		bySend: map[uint64]string{}, asked: map[uint64]*waiter{}, onLost: map[uint64]func(){}, watchers: map[*watcher]bool{},
	}, nil
}

// run turns until had leaves, ctx is done or something vital is lost.
func (l *loop) run(ctx context.Context, served <-chan error) error {
	l.ctx, l.stop = context.WithCancel(ctx)
	defer l.end()
	defer l.saveJournal()
	l.journal.Start(fmt.Sprintf("had %s on %s, incarnation %d", Version, l.self, l.incarnation))
	l.recordState(true)
	l.workers.Go(l.journalAsked)
	for _, w := range l.disk.warnings {
		l.engineLine("WARNING", "V-16-1-10624", w)
	}
	for _, p := range l.disk.problems {
		l.engineLine("ERROR", "V-16-1-10624", p)
	}
	l.lostTriggers()
	l.workers.Go(l.endFormer)
	l.workers.Go(l.openPort)
	if l.cfg.ReadMeters != nil {
		l.workers.Go(func() { l.readMeters(l.cfg.ReadMeters) })
	}
	if l.cfg.OpenPort == nil && !l.cfg.OneNode {
		l.workers.Go(l.askLinks)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !l.left && l.fatal == nil {
		timer.Reset(l.pause())
		var received <-chan *gabv1.AttachResponse
		if l.port != nil {
			received = l.port.Received()
		}
		select {
		case <-l.ctx.Done():
			return nil
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case f := <-l.posts:
			f()
		case ev, ok := <-l.agents.Events():
			if ok {
				l.agentEvent(ev)
			}
		case r, ok := <-received:
			if !ok {
				return fmt.Errorf("port h is lost: %w (applications are left as they are)", l.port.Err())
			}
			l.received(r)
		case <-timer.C:
		}
		l.tick()
	}
	return l.fatal
}

// end gives everybody who waits an answer and leaves the port.
func (l *loop) end() {
	l.stop()
	for id := range l.waiters {
		l.answerUnknown(id, "had stops")
	}
	for w := range l.watchers {
		l.dropWatcher(w, nil)
	}
	for _, c := range l.calls {
		c.cancel()
	}
	l.endActions("had stops")
	if l.port != nil {
		l.port.Close()
	}
	l.workers.Wait()
}

// post runs f in the loop; it is dropped when the loop has ended.
func (l *loop) post(f func()) {
	select {
	case l.posts <- f:
	case <-l.ctx.Done():
	}
}

// pause is how long nothing is due.
func (l *loop) pause() time.Duration {
	now := boottime()
	next := now.Add(time.Minute)
	if at, ok := l.sched.Deadline(); ok {
		next = vclock.Earlier(next, at)
	}
	if at, ok := l.join.Deadline(); ok {
		next = vclock.Earlier(next, at)
	}
	if at, ok := l.clockDue(); ok {
		next = vclock.Earlier(next, at)
	}
	if l.port != nil {
		next = vclock.Earlier(next, l.nextBeat)
	}
	next = vclock.Earlier(next, l.protection.retryAt(now))
	next = vclock.Earlier(next, l.agentsDue())
	if l.leaveBy != 0 {
		next = vclock.Earlier(next, l.leaveBy)
	}
	return max(0, next.Sub(now))
}

// tick does what is due after every event.
func (l *loop) tick() {
	now := boottime()
	if at, ok := l.sched.Deadline(); ok && now >= at {
		l.stepSchedule(schedule.Wake{})
	}
	if at, ok := l.join.Deadline(); ok && now >= at {
		l.stepJoin(join.Wake{})
	}
	if at, ok := l.clockDue(); ok && now >= at {
		l.sendClock(now)
	}
	if l.port != nil && now >= l.nextBeat {
		l.nextBeat = now.Add(l.heartbeat)
		l.check(l.port.Heartbeat())
	}
	l.backUp(now)
	l.protect(now)
	l.tellAgents(now)
	l.lastWord(now)
}

// check ends had on an error of the port: without it nothing can be reported.
func (l *loop) check(err error) {
	if err != nil && l.fatal == nil {
		l.fatal = err
	}
}

func (l *loop) endFormer() {
	for l.ctx.Err() == nil {
		err := l.agents.EndFormer(l.ctx)
		if err == nil {
			l.post(func() {
				l.agentsReady = true
				l.startAgents()
			})
			return
		}
		l.log.Error("processes of a former had are still there; nothing is probed before they are gone (R8)", "error", err)
		wait(l.ctx, time.Second)
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (l *loop) openPort() {
	open := l.cfg.OpenPort
	if open == nil {
		open = func(ctx context.Context) (Port, error) { return openPort(ctx, l.root.Socket("gab")) }
	}
	if l.cfg.OneNode {
		open = func(context.Context) (Port, error) { return newSolo(l.self, rand.Uint64()|1), nil }
	}
	said := ""
	for l.ctx.Err() == nil {
		p, err := open(l.ctx)
		if err == nil {
			select {
			case l.posts <- func() { l.portOpened(p) }:
			case <-l.ctx.Done():
				p.Close()
			}
			return
		}
		if err.Error() != said {
			said = err.Error()
			l.log.Warn("port h cannot be opened yet; is gab running?", "error", err)
		}
		wait(l.ctx, portRetry)
	}
}

func (l *loop) portOpened(p Port) {
	l.port = p
	l.heartbeat = time.Second
	l.nextBeat = boottime()
	if l.cfg.OneNode {
		l.lease = vclock.Never
		l.stepSchedule(schedule.Lease{Until: vclock.Never})
	}
	if former, ok, err := standing.ReadProtection(l.root); err != nil || ok {
		// What a former had of this boot had declared holds until this one has
		// looked (R2).
		l.protection.former = max(former.Resources, 0)
		if err != nil {
			l.protection.former = 1
		}
		l.check(p.Protect(l.protection.former))
		l.protection.toldGab = l.protection.former
	}
}

// received takes what gab says, in its order.
func (l *loop) received(r *gabv1.AttachResponse) {
	switch b := r.GetBody().(type) {
	case *gabv1.AttachResponse_Registered:
		l.registered(b.Registered)
	case *gabv1.AttachResponse_View:
		l.viewed(b.View)
	case *gabv1.AttachResponse_Message:
		l.message(b.Message)
	case *gabv1.AttachResponse_Outcome:
		l.outcome(b.Outcome)
	case *gabv1.AttachResponse_Lease:
		l.leased(b.Lease)
	case *gabv1.AttachResponse_EvidenceUpdate:
		l.evidence(b.EvidenceUpdate)
	case *gabv1.AttachResponse_Gate:
		l.gated(b.Gate)
	}
}

func (l *loop) registered(r *gabv1.Registered) {
	l.mode, l.yielded = r.GetFencingMode(), r.GetYielded()
	if ms := r.GetHeartbeatMs(); ms > 0 {
		l.heartbeat = time.Duration(ms) * time.Millisecond
		l.nextBeat = boottime()
	}
	if name := r.GetSelf().GetName(); name != l.self {
		l.check(fmt.Errorf("llthosts calls this system %q, sysname (or the host name) %q: make them equal", name, l.self))
	}
	if l.disk.config != nil {
		if text := contradiction(l.disk.config, l.mode); text != "" {
			l.engineLine("ERROR", "V-16-1-10624", text)
			l.check(errors.New(text))
		}
	}
}

func (l *loop) leased(lease *gabv1.Lease) {
	l.lease = vclock.Time(lease.GetExpiresBoottimeNs())
	if l.view != nil {
		now := boottime()
		for _, m := range l.view.GetMembers() {
			l.heard[m.GetName()] = now
		}
	}
	l.stepSchedule(schedule.Lease{Until: l.lease})
}

func (l *loop) gated(g *gabv1.Gate) {
	if !g.GetHeld() {
		l.gate = nil
		l.publish(&event{kind: "gate", state: "OPEN", severity: "NOTICE", text: "views are released again"})
		return
	}
	l.gate = g
	l.engineLine("WARNING", "V-16-1-10079", "No view is released: "+g.GetReason())
	l.publish(&event{kind: "gate", state: "HELD", severity: "WARNING", text: g.GetReason()})
	for id := range l.waiters {
		l.answerUnknown(id, "views are held for want of evidence: "+g.GetReason())
	}
}

// viewed takes a released view.
func (l *loop) viewed(v *gabv1.View) {
	first := l.view == nil || v.GetFirst()
	if l.view != nil && v.GetFirst() {
		l.check(errors.New("gab took this system into a new membership; had starts anew"))
		return
	}
	joined := l.view != nil && slices.ContainsFunc(v.GetMembers(), func(m *gabv1.Member) bool {
		return !slices.ContainsFunc(l.view.GetMembers(), func(o *gabv1.Member) bool { return o.GetIncarnation() == m.GetIncarnation() })
	})
	l.view, l.gate = v, nil
	l.clockSent = false
	now := boottime()
	for _, m := range slices.Concat(v.GetSystems(), v.GetMembers()) {
		l.names[m.GetNodeId()], l.nodes[m.GetName()] = m.GetName(), m.GetNodeId()
		l.heard[m.GetName()] = now
	}
	ev := engine.ViewChanged{
		Generation: v.GetPortGeneration(), Members: members(v.GetMembers()), Systems: members(v.GetSystems()),
		FencingDisabled: l.mode == "disabled" || l.cfg.OneNode,
	}
	for _, d := range v.GetDeparted() {
		l.names[d.GetMember().GetNodeId()] = d.GetMember().GetName()
		ev.Departed = append(ev.Departed, engine.Departed{System: d.GetMember().GetName(), Node: int(d.GetMember().GetNodeId()),
			Evidence: evidenceOf(d.GetEvidence()), Detail: d.GetDetail(), Jeopardy: d.GetMember().GetJeopardy()})
	}
	for _, n := range v.GetDaemonDownNodeIds() {
		if name := l.names[n]; name != "" {
			ev.DaemonDown = append(ev.DaemonDown, name)
		}
	}
	l.known.view(v)
	l.check(l.known.write(l.root))
	l.apply(l.position(v.GetId(), v.GetSeq()), "", ev)
	l.endLostActions()
	if joined {
		l.announce()
	}
	l.publish(&event{kind: "view", state: fmt.Sprintf("%d %s", len(ev.Members), pick(len(ev.Members) == 1, "member", "members")), severity: "NOTICE", text: ev.String()})
	if first || !l.running {
		// Again in every view: a system that comes later and builds from its
		// disk has not heard the first one, and would ignore the reports.
		l.broadcastEvent(engine.SystemJoined{System: l.self, Node: int(l.nodes[l.self]),
			ConfigValid: l.disk.state == join.DiskValid, Incarnation: l.incarnation, Yielded: l.yielded})
	}
	jv := join.View{ID: v.GetSeq()}
	for _, m := range v.GetMembers() {
		jv.Members = append(jv.Members, join.Member{Name: m.GetName(), Node: int(m.GetNodeId())})
	}
	l.stepJoin(jv)
}

func members(ms []*gabv1.Member) []engine.Member {
	out := make([]engine.Member, 0, len(ms))
	for _, m := range ms {
		out = append(out, engine.Member{System: m.GetName(), Node: int(m.GetNodeId()), Jeopardy: m.GetJeopardy()})
	}
	return out
}

func evidenceOf(k gabv1.EvidenceKind) engine.Evidence {
	switch k {
	case gabv1.EvidenceKind_EVIDENCE_KIND_CLEAN:
		return policy.EvidenceClean
	case gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF:
		return policy.EvidencePoweredOff
	case gabv1.EvidenceKind_EVIDENCE_KIND_CUT:
		return policy.EvidenceCut
	case gabv1.EvidenceKind_EVIDENCE_KIND_EXPIRED:
		return policy.EvidenceExpired
	case gabv1.EvidenceKind_EVIDENCE_KIND_VOUCHED:
		return policy.EvidenceVouched
	case gabv1.EvidenceKind_EVIDENCE_KIND_ASSUMED:
		return policy.EvidenceAssumed
	}
	return policy.EvidenceNone
}

func (l *loop) evidence(u *gabv1.EvidenceUpdate) {
	d := u.GetDeparted()
	l.known.departed(d)
	l.check(l.known.write(l.root))
	l.apply(l.position(u.GetView(), u.GetSeq()), "", engine.EvidenceStronger{
		System: d.GetMember().GetName(), Evidence: evidenceOf(d.GetEvidence()), Detail: d.GetDetail()})
}

func (l *loop) position(v *gabv1.ViewId, seq uint64) engine.Pos {
	l.pos = engine.Pos{Lineage: v.GetLineage(), View: v.GetCounter(), Seq: seq}
	return l.pos
}

// message takes one payload out of the total order.
func (l *loop) message(m *gabv1.Message) {
	from := l.names[m.GetFromNodeId()]
	pos := l.position(m.GetView(), m.GetSeq())
	if w := l.asked[m.GetMessageId()]; w != nil {
		w.at = pos
		delete(l.asked, m.GetMessageId())
	}
	l.heard[from] = boottime()
	decoded, err := decodeMessage(m.GetPayload())
	if err != nil {
		l.log.Error("message not understood", "from", from, "seq", m.GetSeq(), "error", err)
		return
	}
	switch d := decoded.(type) {
	case announce:
		l.apply(pos, from, engine.StateChanged{System: from, State: engine.SystemState(d.State)})
		l.stepJoin(join.Announced{System: from, State: d.State, View: d.View, Rank: d.Rank})
	case wanted:
		if from == l.self && d.Build == l.wantBuild {
			l.spool.forget()
			l.spooling = true
		}
		l.stepJoin(join.SnapshotWanted{System: from, Build: d.Build})
	case mark:
		l.stepJoin(join.Marked{N: pos.Seq})
	case vote:
		l.stepJoin(join.Voted{System: from, N: d.N, Hash: d.Hash})
	case chunk:
		l.stepJoin(join.Chunk{Build: d.Build, N: int(d.N), Total: int(d.Total), Data: d.Data})
	case actionAsked:
		l.actionAsked(m.GetFromNodeId(), d)
	case acted:
		l.actionReplied(from, d)
	case engine.Event:
		l.apply(pos, from, d)
		if c, is := d.(engine.ConfigLoaded); is {
			l.stepJoin(join.ConfigDelivered{System: c.System})
		}
		if _, is := d.(engine.Clock); is && from == l.self {
			l.clockSent = false
		}
	}
}

// apply lets the engine take an event, or keeps it for the snapshot that is on
// its way (R22).
func (l *loop) apply(pos engine.Pos, from string, ev engine.Event) {
	if l.spooling {
		l.check(l.spool.add(pos, from, ev))
		return
	}
	l.taken.Add(boottime(), recorder.CoreEvent, recorder.Event{Pos: pos, From: from, Ev: ev}, recorder.Weight(ev))
	_, waited := l.engine.Deadline()
	l.early = nil
	l.statusNow = nil
	out := l.engine.Apply(pos, from, ev, nil)
	l.recordHash()
	if _, waits := l.engine.Deadline(); waits && !waited {
		l.clockBase = boottime()
	}
	if l.running && l.config() != l.loaded {
		l.loadResources() // before the orders for what is new
	}
	l.engineEffects(out)
	l.dumpEnded()
}

// unspool applies what was kept.
func (l *loop) unspool() {
	l.spooling, l.wantBuild = false, 0
	l.check(l.spool.drain(l.apply))
}

// engineEffects carries out what names this system, and only while it is
// RUNNING (R22).
func (l *loop) engineEffects(out []engine.Effect) {
	for _, effect := range out {
		switch e := effect.(type) {
		case engine.ResourceCommand:
			if e.Command.System == l.self && l.running {
				l.log.Debug("engine", "effect", e.String())
				l.stepSchedule(schedule.Command{Command: e.Command})
			}
		case engine.RunTrigger:
			switch {
			case e.System != l.self:
			case l.running:
				l.runTrigger(e)
			default:
				l.early = append(l.early, e)
			}
		case engine.CommandResult:
			l.answer(e)
		case engine.LogLine:
			l.logLine(e)
		case engine.Explained:
			l.publishDecision(e.Explanation)
		case engine.EventNotice:
			l.noticed(e)
		case engine.StopSystem:
			if e.System == l.self {
				l.stepJoin(join.Stop{Forced: e.Forced})
			}
		case engine.AgentCommand:
			if e.System == l.self && l.running {
				l.agentCommand(e)
			}
		case engine.ConfigChanged:
			if l.join.State() == join.Unknown && l.config().System(l.self) != nil {
				l.stepJoin(join.Named{})
			}
			st := l.engine.ConfigStatus()
			l.publish(&event{kind: "config", state: fmt.Sprintf("sequence %d", st.Sequence), severity: "NOTICE", text: "the configuration changed"})
		case engine.MarkStale:
			if e.System == l.self && l.running {
				l.toDisk(confdisk.Job{Mark: true})
			}
		case engine.DumpConfig:
			if e.System == l.self && l.running {
				l.toDisk(confdisk.DumpJob(e, l.engine.Source()))
			}
		case engine.BuildLocal:
			if e.System == l.self {
				l.stepJoin(join.Force{})
			}
		}
	}
}

func (l *loop) noticed(e engine.EventNotice) {
	if e.Kind == "system" {
		for w := range l.systemWaits {
			w.tell(e.System, e.New)
		}
	}
	if e.Kind == "system" && e.System == l.self && l.running {
		switch s := join.State(e.New); s {
		case join.Leaving, join.Exiting, join.ExitingForcibly:
			l.stepJoin(join.Moved{State: s})
		}
	}
	severity := "NOTICE"
	if e.Kind == "agent" && (e.New == string(engine.AgentGivenUp) || e.New == string(engine.AgentDown)) {
		severity = "WARNING"
	}
	l.publish(&event{kind: e.Kind, system: e.System, group: e.Group, resource: e.Resource, state: e.New,
		severity: severity, text: e.String()})
}

// stepJoin lets the join machine take an event and does what it wants.
func (l *loop) stepJoin(ev join.Event) {
	before := l.join.State()
	now := boottime()
	l.journal.Add(now, "join", ev, 128)
	out := l.join.Step(now, ev, nil)
	if after := l.join.State(); after != before {
		l.log.Info("join", "from", before, "to", after, "event", ev.String())
		if before == join.RemoteBuild && after != join.Running {
			l.wantBuild = 0 // a request that is still on its way begins no spool
			if l.spooling {
				l.unspool()
			}
		}
	}
	for _, effect := range out {
		l.joinEffect(effect)
	}
}

func (l *loop) joinEffect(effect join.Effect) {
	switch e := effect.(type) {
	case join.Announce:
		l.broadcast(nil, encodeJSON(kindAnnounce, announce{State: e.State, View: e.View, Rank: e.Rank}))
	case join.LoadConfig:
		l.workers.Go(func() { l.loadConfig(e.Force) })
	case join.RequestSnapshot:
		l.wantBuild = e.Build
		l.broadcast(nil, encodeJSON(kindWanted, wanted{e.Build}))
	case join.Restore:
		l.restore(e.Data)
	case join.Run:
		l.startRunning()
	case join.TakeSnapshot:
		l.snapshots[e.For] = snapshot{e.Build, l.engine.Snapshot()}
	case join.SendSnapshot:
		l.sendSnapshot(e)
	case join.DropSnapshot:
		delete(l.snapshots, e.For)
	case join.Mark:
		l.broadcast(nil, encodeJSON(kindMark, mark{}))
	case join.Vote:
		l.castVote(e)
	case join.Diverged:
		l.diverged(e)
	case join.Leave:
		l.log.Info("had leaves", "forced", e.Forced)
		l.depart(e.Forced)
	case join.Note:
		l.engineLine(e.Severity, e.Code, e.Text)
	}
}

// loadConfig reads the disk outside the loop and broadcasts what it holds.
func (l *loop) loadConfig(force bool) {
	d := readDisk(l.root, l.self)
	l.post(func() {
		l.disk = d
		problem := ""
		switch {
		case d.config == nil || (d.state == join.DiskStale && !force && !l.cfg.Force):
			problem = firstOf(d.problems)
		default:
			problem = contradiction(d.config, l.mode)
		}
		if problem == "" {
			payload, err := encodeEvent(engine.ConfigLoaded{System: l.self, Main: mainFile, Files: d.files,
				Sequence: d.sequence(), Version: d.copy.Version})
			switch {
			case err != nil:
				problem = err.Error()
			case len(payload) > maxPayload:
				problem = fmt.Sprintf("the configuration has %d bytes; at most %d can be sent", len(payload), maxPayload)
			default:
				l.broadcast(nil, payload)
				return
			}
		}
		for _, p := range d.problems {
			l.engineLine("ERROR", "V-16-1-10624", p)
		}
		l.stepJoin(join.LoadFailed{Problem: problem})
	})
}

func firstOf(problems []string) string {
	switch len(problems) {
	case 0:
		return "the configuration cannot be read"
	case 1:
		return problems[0]
	}
	return fmt.Sprintf("%s (and %d more; hacf -verify shows all)", problems[0], len(problems)-1)
}

// restore rebuilds the engine from a peer's snapshot and what came after it.
func (l *loop) restore(data []byte) {
	restored, err := engine.Restore(data)
	if err != nil {
		l.stepJoin(join.Restored{Problem: err.Error()})
		return
	}
	if c := restored.Config(); c != nil {
		if text := contradiction(c, l.mode); text != "" {
			l.stepJoin(join.Restored{Problem: text})
			return
		}
	}
	l.engine, l.statusNow = restored, nil
	l.recordState(true)
	l.clockBase = boottime()
	l.unspool()
	config := l.engine.Config()
	l.stepJoin(join.Restored{NotInConfig: config == nil || config.System(l.self) == nil})
	if config != nil && config.System(l.self) == nil {
		l.saveRunning()
	}
}

func (l *loop) sendSnapshot(e join.SendSnapshot) {
	s, have := l.snapshots[e.For]
	node, known := l.nodes[e.For]
	if !have || !known || s.build != e.Build {
		return
	}
	total := (len(s.data) + chunkSize - 1) / chunkSize
	for n := range total {
		part := s.data[n*chunkSize : min(len(s.data), (n+1)*chunkSize)]
		l.broadcast(&node, encodeChunk(chunk{Build: s.build, N: uint32(n), Total: uint32(total), Data: part}))
	}
}

// startRunning is the moment from which effects are carried out, those that
// are outstanding first (R22).
func (l *loop) startRunning() {
	if l.running {
		return
	}
	l.running = true
	l.saveRunning()
	l.describe()
	l.loadResources()
	l.engineEffects(l.engine.Outstanding(l.self))
	for _, t := range l.early {
		l.runTrigger(t)
	}
	l.early = nil
}

// clockDue is when this system proposes the next Clock event (R21).
func (l *loop) clockDue() (vclock.Time, bool) {
	wish, waits := l.engine.Deadline()
	if !waits || l.clockSent || l.leaveBy != 0 || l.spooling || l.view == nil || l.port == nil || l.engine.ClockSystem() != l.self {
		return 0, false
	}
	left := max(10*time.Millisecond, wish-l.engine.Time())
	return l.clockBase.Add(min(engine.ClockPeriod, left)), true
}

func (l *loop) sendClock(now vclock.Time) {
	l.clockSent = true
	id := l.broadcastEvent(engine.Clock{Elapsed: now.Sub(l.clockBase)})
	l.onLost[id] = func() { l.clockSent = false } // the time that passed is lost with it
	l.clockBase = now
}

func (l *loop) broadcastEvent(ev engine.Event) uint64 {
	payload, err := encodeEvent(ev)
	if err != nil {
		l.log.Error("event cannot be sent", "event", ev.String(), "error", err)
		return 0
	}
	return l.broadcast(nil, payload)
}

func (l *loop) broadcast(to *uint32, payload []byte) uint64 {
	if l.port == nil {
		return 0
	}
	l.lastMessage++
	l.onLost[l.lastMessage] = func() { l.broadcast(to, payload) }
	l.check(l.port.Send(l.lastMessage, to, payload))
	return l.lastMessage
}

// config is the running configuration, else that of the disk, else nil.
func (l *loop) config() *maincf.Config {
	if c := l.engine.Config(); c != nil {
		return c
	}
	return nil
}
