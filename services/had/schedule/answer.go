package schedule

import (
	"fmt"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// opened goes on where the machine stood when its agent (re)opened it.
func (c *Core) opened(m *machine) {
	switch m.phase {
	case opening:
		m.enter(probing, c.now)
		c.ask(m, Monitor)
	case goingOnline:
		if m.interrupted {
			c.ask(m, Monitor)
			return
		}
		c.ask(m, Online)
	case goingOffline:
		if m.deaths > maxDeaths {
			c.startClean(m, OfflineHung)
			return
		}
		c.ask(m, Offline)
	case cleaning:
		if m.cleaned {
			c.ask(m, Monitor)
			return
		}
		c.ask(m, Clean)
	case closing:
		c.ask(m, Close)
	default:
		c.ask(m, Monitor)
	}
}

// agentGone keeps the resource's state; PluginUp re-opens it. A dead agent
// never faults a resource.
func (c *Core) agentGone(m *machine, entry EntryPoint) {
	c.plugins[m.spec.Type] = false
	m.opened = false
	m.deaths++
	if entry == Online {
		m.interrupted = true
	}
	if m.phase == closing {
		c.detach(m)
	}
}

func (c *Core) afterOnline(m *machine, e EntryPointResult) {
	switch {
	case e.Outcome == TimedOut:
		c.note("ERROR", "13012", m, "Resource(%s): online procedure did not complete within the expected time.", m.spec.Resource)
		c.startClean(m, OnlineHung)
	case e.Outcome == Cancelled:
		m.interrupted = true
		c.startClean(m, OnlineHung)
	case m.pending.ID != 0 && m.pending.Kind == resource.CommandOffline:
		id := m.pending.ID
		m.pending = resource.Command{}
		m.state = resource.StateOnline // nobody has seen it down
		c.supersede(m)
		c.goOffline(m, id)
	default:
		c.wait(m, goingOnlineWaiting, e)
	}
}

func (c *Core) afterOffline(m *machine, e EntryPointResult) {
	if e.Outcome == TimedOut || e.Outcome == Cancelled {
		c.note("ERROR", "13011", m, "Resource(%s): offline procedure did not complete within the expected time.", m.spec.Resource)
		c.startClean(m, OfflineHung)
		return
	}
	c.wait(m, goingOfflineWaiting, e)
}

// wait enters a waiting phase; the first monitor is due after e.Wait seconds.
func (c *Core) wait(m *machine, p phase, e EntryPointResult) {
	if e.Outcome == Failed {
		c.note("WARNING", "13001", m, "Resource(%s): %s", m.spec.Resource, e.Detail)
	}
	m.enter(p, c.now)
	m.pushed = false
	if e.Wait <= 0 {
		c.ask(m, Monitor)
		return
	}
	m.nextMonitor = c.now.Add(seconds(e.Wait))
}

func (c *Core) afterClean(m *machine, e EntryPointResult) {
	if e.Outcome == OK {
		m.cleaned = true
		m.pushed = false
		c.ask(m, Monitor)
		return
	}
	c.cleanFailed(m, fmt.Sprintf("clean (%s): %s %s", m.cleanReason, e.Outcome, e.Detail))
}

// afterMonitor is the heart of the machine.
func (c *Core) afterMonitor(m *machine, e EntryPointResult) {
	m.confirm(c.now)
	if e.Outcome != OK {
		e.Saw = SawUnknown
	}
	if e.Saw == SawIntentionalOffline && (!m.spec.Limits.IntentionalOffline || m.phase != online) {
		e.Saw = SawOffline
	}
	c.countTimeouts(m, e)
	m.measure(e, c.now)
	e.Confidence = m.afterDetailed(e)
	m.schedule(c.now)
	switch m.phase {
	case probing:
		c.probedFirst(m, e)
	case offline:
		c.monitoredOffline(m, e)
	case online:
		c.monitoredOnline(m, e)
	case goingOnline:
		c.monitoredInterrupted(m, e)
	case goingOnlineWaiting:
		c.monitoredRising(m, e)
	case goingOfflineWaiting:
		c.monitoredFalling(m, e)
	case cleaning:
		c.monitoredCleaning(m, e)
	}
	c.settleProbes(m, e.Detail)
	if c.resources[m.spec.Resource] == m {
		c.reportIfChanged(m, e.Detail)
	}
}

func (c *Core) countTimeouts(m *machine, e EntryPointResult) {
	m.flags &^= resource.FlagUnknown | resource.FlagMonitorTimedOut
	switch {
	case e.Outcome == TimedOut:
		c.note("ERROR", "13027", m, "Resource(%s) - monitor procedure did not complete within the expected time.", m.spec.Resource)
		m.flags |= resource.FlagMonitorTimedOut
		if m.timeouts == 0 || c.now.Sub(m.firstTimeout) > seconds(timeoutMemory) {
			m.timeouts, m.firstTimeout = 0, c.now
		}
		m.timeouts++
		m.trouble(c.now)
		if n := m.spec.Limits.AlertOnMonitorTimeouts; n > 0 && m.timeouts%n == 0 {
			c.note("WARNING", "13028", m, "Resource(%s) - monitor procedure did not complete within the expected time %d times in a row (AlertOnMonitorTimeouts = %d).",
				m.spec.Resource, m.timeouts, n)
		}
	case e.Saw == SawUnknown:
		m.flags |= resource.FlagUnknown
		m.timeouts = 0
	default:
		m.timeouts = 0
	}
}

func (c *Core) probedFirst(m *machine, e EntryPointResult) {
	switch e.Saw {
	case SawUnknown:
		return
	case SawOnline:
		m.probed = true
		m.confidence = e.Confidence
		c.rest(m, online, resource.StateOnline, 0)
		m.trouble(c.now)
	default:
		m.probed = true
		s := resource.StateOffline
		if m.spec.Operations == None {
			s = resource.StateFaulted
		}
		c.rest(m, offline, s, 0)
	}
	c.reportIfChanged(m, e.Detail)
	c.next(m)
}

func (c *Core) monitoredOffline(m *machine, e EntryPointResult) {
	if e.Saw != SawOnline {
		return
	}
	m.confidence = e.Confidence
	c.rest(m, online, resource.StateOnline, resource.FlagAdminWait)
	m.trouble(c.now)
}

func (c *Core) monitoredOnline(m *machine, e EntryPointResult) {
	switch {
	case e.Saw == SawOnline:
		m.state, m.confidence, m.excused = resource.StateOnline, e.Confidence, false
	case e.Saw == SawIntentionalOffline:
		m.intentOnline = false
		c.rest(m, offline, resource.StateOffline, 0)
		m.intentional = true
	case e.Saw == SawOffline && m.flags&resource.FlagAdminWait != 0:
		c.waitingSeenOffline(m)
	case e.Saw == SawOffline && m.excused:
		c.rest(m, offline, resource.StateOffline, 0)
	case e.Saw == SawOffline && m.tolerated < m.spec.Limits.ToleranceLimit:
		m.tolerated++
		m.trouble(c.now)
		c.note("NOTICE", "13075", m, "Resource(%s) has reported unexpected OFFLINE %d times, which is still within the ToleranceLimit(%d).",
			m.spec.Resource, m.tolerated, m.spec.Limits.ToleranceLimit)
	case e.Saw == SawOffline && m.spec.Operations == None:
		c.faulted(m, "monitor reported OFFLINE "+e.Detail)
	case e.Saw == SawOffline:
		c.startClean(m, UnexpectedOffline)
	case e.Outcome == TimedOut && m.spec.Operations != None && m.flags&resource.FlagAdminWait == 0 &&
		m.spec.Limits.FaultOnMonitorTimeouts > 0 && m.timeouts >= m.spec.Limits.FaultOnMonitorTimeouts:
		m.timeouts = 0
		c.startClean(m, MonitorHung)
	}
}

// waitingSeenOffline: what waits for an administrator is seen down. Where it
// should be down that is what was wanted; where it should be up it is one
// reason more to wait.
func (c *Core) waitingSeenOffline(m *machine) {
	switch m.waiting {
	case resource.UnexpectedOffline:
	case resource.MonitorHung:
		m.waiting = resource.UnexpectedOffline
	default:
		c.rest(m, offline, resource.StateOffline, resource.FlagAdminWait)
	}
}

// monitoredInterrupted decides what became of an Online whose agent died.
func (c *Core) monitoredInterrupted(m *machine, e EntryPointResult) {
	switch {
	case !m.interrupted: // it began before the order; Online follows
	case e.Saw == SawOnline:
		m.confidence = e.Confidence
		c.reachedOnline(m)
	default:
		c.startClean(m, OnlineHung)
	}
}

func (c *Core) monitoredRising(m *machine, e EntryPointResult) {
	switch {
	case e.Saw == SawOnline:
		m.confidence = e.Confidence
		c.reachedOnline(m)
	case m.extraMonitor:
	case m.cycles >= m.spec.Limits.OnlineWaitLimit:
		c.startClean(m, OnlineIneffective)
	default:
		m.cycles++
	}
}

func (c *Core) monitoredFalling(m *machine, e EntryPointResult) {
	switch {
	case e.Saw == SawOffline:
		c.reachedOffline(m)
	case m.extraMonitor:
	case m.flags&resource.FlagUnableToOffline != 0: // it was said; waited for without end
	case m.cycles >= m.spec.Limits.OfflineWaitLimit:
		c.startClean(m, OfflineIneffective)
	default:
		m.cycles++
	}
}

func (c *Core) monitoredCleaning(m *machine, e EntryPointResult) {
	switch {
	case e.Saw == SawOffline:
		c.cleanedUp(m)
	case m.cleaned:
		c.cleanFailed(m, fmt.Sprintf("clean (%s) succeeded, but then monitor told %s", m.cleanReason, e.Saw))
	case m.monitorOnly:
	default:
		c.ask(m, Clean)
	}
}
