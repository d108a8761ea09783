package schedule

import (
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

const (
	// maxActions is how many actions of one resource may wait.
	maxActions = 16
	// minInfoInterval is the shortest period of info in seconds, so that
	// ResourceInfo never fills the total order.
	minInfoInterval = 10
)

// settleAside adapts what goes on beside a resource's life to a new phase.
func (m *machine) settleAside(p phase, now vclock.Time) {
	m.nextInfo = vclock.Never
	if p != online {
		m.infoWant = false
		return
	}
	m.sinceTwo, m.deep = 0, 0
	if m.spec.Limits.InfoInterval > 0 {
		m.infoWant = true
		m.scheduleInfo(now)
	}
}

// scheduleInfo sets the time of the next periodic info.
func (m *machine) scheduleInfo(now vclock.Time) {
	m.nextInfo = vclock.Never
	if every := m.spec.Limits.InfoInterval; every > 0 && m.phase == online {
		m.nextInfo = now.Add(seconds(max(minInfoInterval, every)))
	}
}

// respec lets new limits hold at once, and has the agent told of new values.
func (c *Core) respec(m *machine, before Spec, newValues bool) {
	if before.Resource == "" || m.phase == detached {
		return
	}
	m.newValues = m.newValues || newValues
	if newValues {
		m.pushed = true // what was found with the old values may not hold
	}
	if before.Limits.MonitorInterval != m.spec.Limits.MonitorInterval ||
		before.Limits.OfflineMonitorInterval != m.spec.Limits.OfflineMonitorInterval {
		m.schedule(c.now)
	}
	if before.Limits.InfoInterval != m.spec.Limits.InfoInterval {
		m.infoWant = m.infoWant || (m.phase == online && m.spec.Limits.InfoInterval > 0)
		m.scheduleInfo(c.now)
	}
	if m.spec.Limits.StatsFrequency == 0 {
		m.spent, m.spentOn, m.average = 0, 0, 0
	}
}

// act queues an action.
func (c *Core) act(e Act) {
	m := c.resources[e.Resource]
	refuse := func(why string) { c.out = append(c.out, ActionRefused{e.ID, why}) }
	switch {
	case m == nil:
		refuse("this system has no resource " + e.Resource)
	case m.phase == detached || m.phase == closing || m.removing:
		refuse("resource " + e.Resource + " is not enabled here")
	case len(m.actions) >= maxActions:
		refuse("too many actions wait for resource " + e.Resource + "; try again")
	default:
		c.touch(m)
		m.actions = append(m.actions, e)
	}
}

// actionsDue is when the first waiting action is refused.
func (m *machine) actionsDue() vclock.Time {
	next := vclock.Never
	for _, a := range m.actions {
		next = vclock.Earlier(next, a.Until)
	}
	return next
}

func (c *Core) expireActions(m *machine) {
	m.actions = slices.DeleteFunc(m.actions, func(a Act) bool {
		if c.now.Before(a.Until) {
			return false
		}
		why := "its agent does not run"
		switch {
		case m.call != 0:
			why = m.entry.String() + " of the resource has not ended"
		case c.plugins[m.spec.Type]:
			why = "all threads of its agent are busy"
		}
		c.out = append(c.out, ActionRefused{a.ID, "the action could not begin in time: " + why})
		return true
	})
	if m.want == Action && len(m.actions) == 0 {
		m.want = 0
	}
}

// askAside queues what is wanted beside the life of the resource, when nothing
// of that life waits.
func (c *Core) askAside(m *machine) {
	if !m.opened || m.phase == closing || m.phase == detached {
		return
	}
	if m.nextInfo != vclock.Never && !c.now.Before(m.nextInfo) {
		m.infoWant = true
		m.scheduleInfo(c.now)
	}
	if m.phase != online {
		c.answerInfo(m, true, "the resource is not online any more")
	}
	switch {
	case len(m.actions) > 0:
		c.ask(m, Action)
	case m.infoWant && m.phase == online:
		c.ask(m, Info)
	}
}

// beginAside fills in the call.
func (c *Core) beginAside(m *machine, call *Call) {
	switch m.entry {
	case AttrChanged:
		m.newValues = false
	case Action:
		m.action = m.actions[0].ID
		m.actions = m.actions[1:]
		call.Action = m.action
	case Info:
		m.infoWant = false
	case Monitor:
		call.Detailed = m.detailed
	}
}

// afterAside ends a call that changes no state.
func (c *Core) afterAside(m *machine, entry EntryPoint, e EntryPointResult) {
	m.action = 0
	if e.Outcome == PluginGone {
		c.plugins[m.spec.Type] = false
		m.opened = false
		m.infoWant = m.infoWant || (entry == Info && m.phase == online)
		return
	}
	if entry == Info {
		c.afterInfo(m, e)
	}
}

func (c *Core) refreshInfo(m *machine, id resource.EffectID) {
	if m.phase != online {
		c.done(m, id, true, "the resource is not online: there is nothing to gather")
		return
	}
	m.infoWant = true
	m.infoAsked = append(m.infoAsked, id)
}

// afterInfo tells what was gathered, if it is new or was asked for.
func (c *Core) afterInfo(m *machine, e EntryPointResult) {
	info := resource.Info{State: resource.InfoValid, Msg: e.Detail, Facts: e.Facts, Truncated: e.Truncated}
	if e.Outcome != OK {
		info = resource.Info{State: resource.InfoInvalid, Msg: e.Detail, Facts: m.info.Facts, Truncated: m.info.Truncated}
		if e.Outcome == TimedOut {
			info.Msg = "info did not complete within the expected time"
		}
	}
	if e.Missing {
		m.nextInfo = vclock.Never // it will not have one later
	}
	asked := len(m.infoAsked) > 0
	if m.phase == online && (asked || (!e.Missing && !equalInfo(m.info, info))) {
		m.info = info
		c.out = append(c.out, Informed{m.spec.Resource, info})
	}
	c.answerInfo(m, e.Outcome != OK, e.Detail)
}

func (c *Core) answerInfo(m *machine, failed bool, why string) {
	asked := m.infoAsked
	m.infoAsked = nil
	for _, id := range asked {
		c.done(m, id, failed, why)
	}
}

func equalInfo(a, b resource.Info) bool {
	return a.State == b.State && a.Msg == b.Msg && a.Truncated == b.Truncated && slices.Equal(a.Facts, b.Facts)
}

// dropAside answers everything that waits beside the life of a resource.
func (c *Core) dropAside(m *machine, why string) {
	for _, a := range m.actions {
		c.out = append(c.out, ActionRefused{a.ID, why})
	}
	c.answerInfo(m, true, why)
	m.aside = aside{nextInfo: vclock.Never}
}

// beginDetailed says whether the monitor that begins is a detailed one: each
// LevelTwoMonitorFreq-th while online, and again until one found it well.
func (m *machine) beginDetailed() {
	m.detailed = false
	if freq := m.spec.Limits.LevelTwoMonitorFreq; freq > 0 && m.phase == online {
		m.sinceTwo++
		m.detailed = m.sinceTwo >= freq
	}
}

// afterDetailed returns the confidence that a monitor leaves: a plain monitor
// does not take back what a detailed one found.
func (m *machine) afterDetailed(e EntryPointResult) int {
	confidence := e.Confidence
	switch {
	case m.spec.Limits.LevelTwoMonitorFreq == 0 || m.phase != online || e.Saw != SawOnline:
	case m.detailed:
		m.sinceTwo, m.deep = 0, confidence
	case m.deep > 0:
		confidence = min(confidence, m.deep)
	}
	m.detailed = false
	return confidence
}

// measure keeps the average time of monitors.
func (m *machine) measure(e EntryPointResult, now vclock.Time) {
	every := m.spec.Limits.StatsFrequency
	if every <= 0 || e.Outcome != OK {
		return
	}
	m.spent += now.Sub(m.began)
	m.spentOn++
	if m.spentOn >= every {
		m.average = max(1, int(m.spent.Milliseconds())/m.spentOn)
		m.spent, m.spentOn = 0, 0
	}
}
