package schedule

import (
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

type phase uint8

const (
	detached phase = iota
	opening
	probing
	offline
	goingOnline
	goingOnlineWaiting
	online
	goingOffline
	goingOfflineWaiting
	cleaning
	closing
)

func (p phase) String() string {
	return [...]string{"Detached", "Opening", "Probing", "Offline", "Going Online",
		"Going Online Waiting", "Online", "Going Offline", "Going Offline Waiting",
		"Cleaning", "Closing"}[p]
}

// facts are what a report tells; a change of them is reported.
type facts struct {
	state      resource.State
	flags      resource.Flags
	probed     bool
	confidence int
	average    int
	waiting    resource.AdminReason
}

// machine is one resource.
type machine struct {
	spec  Spec
	phase phase

	state      resource.State
	flags      resource.Flags
	probed     bool
	confidence int
	reason     string
	told       facts
	toldOnce   bool

	seen    resource.EffectID
	doing   resource.EffectID   // command that the present transition carries out
	pending resource.Command    // command that waits for the transition to end
	probes  []resource.EffectID // probes that wait for a monitor to begin
	answers []resource.EffectID // probes that the running monitor answers

	intentOnline bool
	monitorOnly  bool
	removing     bool
	next         Spec // what takes its place when it is removed, if hasNext
	hasNext      bool
	opened       bool
	pushed       bool // monitor once more, out of turn
	interrupted  bool // the agent died or the lease ended under Online

	want      EntryPoint // next call, waiting for agent, thread, lease
	wantSeq   uint64
	call      CallID
	entry     EntryPoint
	due       vclock.Time
	ended     bool // a Cancel was emitted for call
	lateLease bool // it was for the lease

	nextMonitor  vclock.Time
	extraMonitor bool // the running monitor is no cycle of its own
	cycles       int
	onlineTries  int
	restarts     int
	tolerated    int
	timeouts     int
	firstTimeout vclock.Time
	cleans       int
	deaths       int // of the agent within one transition
	confident    vclock.Time
	cleanReason  CleanReason
	cleaned      bool                 // clean succeeded; the next monitor must confirm
	waiting      resource.AdminReason // of ADMIN_WAIT
	intentional  bool                 // OFFLINE by the will of somebody outside
	excused      bool                 // ADMIN_WAIT after an offline was cleared: OFFLINE is what was wanted

	aside
	place
}

// aside is what goes on beside the life of a resource: none of it changes its
// state.
type aside struct {
	newValues bool                // the agent is to be told of new values
	actions   []Act               // waiting, in the order of asking
	action    ActionID            // running
	infoAsked []resource.EffectID // refreshes that wait
	infoWant  bool                // gather as soon as nothing else runs
	nextInfo  vclock.Time         // the next periodic info; Never: none
	info      resource.Info       // what was told last
	sinceTwo  int                 // monitors since the last good detailed one
	detailed  bool                // the running monitor is detailed
	deep      int                 // confidence of the last detailed monitor, 0: none
	began     vclock.Time         // of the running call
	spent     vclock.Duration     // by the monitors of this average
	spentOn   int                 // how many these are
	average   int                 // milliseconds
}

func (m *machine) running(e EntryPoint) bool { return m.call != 0 && m.entry == e }

// monitored reports whether the phase has periodic monitors.
func (m *machine) monitored() bool {
	switch m.phase {
	case probing, offline, online, goingOnlineWaiting, goingOfflineWaiting, cleaning:
		return true
	}
	return false
}

// restsOffline reports whether the resource is known to be down and nothing
// is about to raise it.
func (m *machine) restsOffline() bool {
	if m.phase == detached {
		return m.state != resource.StateOnline
	}
	return m.phase == offline && m.probed && m.want != Online && m.flags&resource.FlagAdminWait == 0 &&
		(m.state == resource.StateOffline || m.state == resource.StateFaulted)
}

func (m *machine) enter(p phase, now vclock.Time) {
	m.phase = p
	m.settleAside(p, now)
	m.cycles, m.cleans, m.cleaned, m.excused, m.intentional = 0, 0, false, false, false
	m.nextMonitor = vclock.Never
	m.schedule(now)
}

// schedule sets the time of the next periodic monitor.
func (m *machine) schedule(now vclock.Time) {
	switch m.phase {
	case offline:
		m.nextMonitor = vclock.Never
		if m.spec.Limits.OfflineMonitorInterval > 0 {
			m.nextMonitor = now.Add(seconds(m.spec.Limits.OfflineMonitorInterval))
		}
	case probing, online, goingOnlineWaiting, goingOfflineWaiting, cleaning:
		m.nextMonitor = now.Add(seconds(max(1, m.spec.Limits.MonitorInterval)))
	default:
		m.nextMonitor = vclock.Never
	}
}

func (m *machine) deadline(lease vclock.Time) vclock.Time {
	if m.call != 0 {
		if m.ended {
			return m.actionsDue()
		}
		if m.entry.Raises() {
			return vclock.Earlier(m.actionsDue(), vclock.Earlier(m.due, lease))
		}
		return vclock.Earlier(m.actionsDue(), m.due)
	}
	if m.want != 0 {
		return m.actionsDue()
	}
	return vclock.Earlier(m.actionsDue(), vclock.Earlier(m.nextMonitor, m.nextInfo))
}

func (m *machine) timeout(e EntryPoint) vclock.Duration {
	l := m.spec.Limits
	n := map[EntryPoint]int{Open: l.OpenTimeout, Close: l.CloseTimeout, Online: l.OnlineTimeout,
		Offline: l.OfflineTimeout, Monitor: l.MonitorTimeout, Clean: l.CleanTimeout,
		AttrChanged: l.AttrChangedTimeout, Action: l.ActionTimeout, Info: l.InfoTimeout}[e]
	return seconds(max(1, n))
}

func (m *machine) facts() facts {
	return facts{m.state, m.flags, m.probed, m.confidence, m.average, m.waitReason()}
}

func (m *machine) report() resource.Report {
	return resource.Report{
		Resource: m.spec.Resource, Seen: m.seen, Probed: m.probed, State: m.state,
		Flags: m.flags, Confidence: m.confidence, Reason: m.reason, MonitorMillis: m.average,
		WaitReason: m.waitReason(), Intentional: m.intentional,
	}
}

// waitReason is why the resource is in ADMIN_WAIT.
func (m *machine) waitReason() resource.AdminReason {
	if m.flags&resource.FlagAdminWait == 0 {
		return 0
	}
	return m.waiting
}

// confirm zeroes the counters after ConfInterval online without trouble, once:
// what follows counts anew.
func (m *machine) confirm(now vclock.Time) {
	if m.phase == online && m.confident != 0 && !now.Before(m.confident) {
		m.restarts, m.tolerated, m.timeouts, m.onlineTries = 0, 0, 0, 0
		m.confident = 0
	}
}

func (m *machine) trouble(now vclock.Time) {
	m.confident = now.Add(seconds(m.spec.Limits.ConfInterval))
}

func (m *machine) forget() {
	m.restarts, m.tolerated, m.timeouts, m.onlineTries, m.cleans, m.deaths = 0, 0, 0, 0, 0, 0
}
