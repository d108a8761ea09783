package schedule

import (
	"github.com/evenkeel/evenkeel/services/had/resource"
)

const (
	// maxDeaths is how often an agent may die under one online or offline
	// before that counts as the entry point's own failure.
	maxDeaths = 3
	// timeoutMemory is how long a monitor timeout is remembered.
	timeoutMemory = 3600
)

// command takes an order of the engine.
func (c *Core) command(cmd resource.Command) {
	m := c.resources[cmd.Resource]
	if m == nil {
		c.out = append(c.out, Report{resource.Report{Resource: cmd.Resource, Seen: cmd.ID, Done: cmd.ID,
			Failed: true, Reason: "this system has no such resource"}})
		return
	}
	c.touch(m)
	m.seen = cmd.ID
	switch cmd.Kind {
	case resource.CommandOnline:
		m.intentOnline = true
		c.order(m, cmd)
	case resource.CommandOffline:
		m.intentOnline = false
		if m.pending.Kind == resource.CommandOnline {
			old := m.pending.ID
			m.pending = resource.Command{}
			c.done(m, old, true, "superseded by a later command")
		}
		c.order(m, cmd)
	case resource.CommandProbe:
		c.probe(m, cmd.ID)
	case resource.CommandClear:
		c.clear(m, cmd)
	case resource.CommandMonitorOnly:
		c.monitorOnly(m, cmd)
	case resource.CommandRefreshInfo:
		c.refreshInfo(m, cmd.ID)
	case resource.CommandFlushInfo:
		m.info = resource.Info{}
		c.done(m, cmd.ID, false, "")
	}
}

func (c *Core) probe(m *machine, id resource.EffectID) {
	if m.phase == detached || m.phase == closing {
		c.done(m, id, true, "the resource is not enabled here")
		return
	}
	m.probes = append(m.probes, id)
	if m.call == 0 && m.want == 0 && m.monitored() {
		c.ask(m, Monitor)
	}
}

func (c *Core) clear(m *machine, cmd resource.Command) {
	m.forget()
	if m.flags&resource.FlagAdminWait != 0 {
		c.endAdminWait(m, cmd.Arg != 0)
		c.probe(m, cmd.ID)
		return
	}
	m.flags &^= resource.FlagUnableToOffline
	if m.state == resource.StateFaulted && m.spec.Operations != None {
		m.state = resource.StateOffline
	}
	c.probe(m, cmd.ID)
}

// endAdminWait goes on after an administrator has looked: as before the wait,
// or with what that came to, without a clean.
func (c *Core) endAdminWait(m *machine, fault bool) {
	m.flags &^= resource.FlagAdminWait | resource.FlagUnableToOffline
	switch w := m.waiting; {
	case w == resource.OfflineHung || w == resource.OfflineIneffective:
		if fault && m.phase == online {
			m.enter(goingOfflineWaiting, c.now)
			m.flags |= resource.FlagUnableToOffline
		}
		m.excused = !fault
	case fault && w != resource.MonitorHung:
		m.intentOnline = false
		c.rest(m, offline, resource.StateFaulted, resource.FlagUnknown|resource.FlagMonitorTimedOut)
	}
	c.reportIfChanged(m, "an administrator ended the wait")
}

func (c *Core) monitorOnly(m *machine, cmd resource.Command) {
	m.monitorOnly = cmd.Arg != 0
	if m.monitorOnly && m.phase == goingOnline && !m.running(Online) && !m.interrupted {
		c.settle(m, true, "frozen before online began")
		c.rest(m, offline, resource.StateOffline, 0)
	}
	c.done(m, cmd.ID, false, "")
}

// order carries out an online or offline, or keeps it until the present
// transition ends.
func (c *Core) order(m *machine, cmd resource.Command) {
	up := cmd.Kind == resource.CommandOnline
	if m.phase == detached || m.phase == closing {
		c.done(m, cmd.ID, true, "the resource is not enabled here")
		return
	}
	if m.monitorOnly {
		c.done(m, cmd.ID, true, "frozen: only monitored")
		return
	}
	if m.spec.Operations == None || (m.spec.Operations == OnOnly && !up) {
		c.orderFixed(m, cmd, up)
		return
	}
	switch m.phase {
	case offline:
		c.orderDown(m, cmd, up)
	case online:
		if up {
			m.flags &^= resource.FlagAdminWait
			c.done(m, cmd.ID, false, "")
			return
		}
		c.goOffline(m, cmd.ID)
	case goingOnline, goingOnlineWaiting:
		c.orderRising(m, cmd, up)
	case goingOffline, goingOfflineWaiting:
		switch {
		case up:
			c.postpone(m, cmd)
		case m.flags&resource.FlagUnableToOffline != 0 && m.call == 0:
			c.supersede(m)
			m.flags &^= resource.FlagUnableToOffline
			c.goOffline(m, cmd.ID)
		default:
			c.adopt(m, cmd.ID)
		}
	default:
		c.postpone(m, cmd)
	}
}

// orderFixed answers an order that the type has no entry point for: what
// cannot be taken offline is left running and counts as done.
func (c *Core) orderFixed(m *machine, cmd resource.Command, up bool) {
	switch {
	case m.phase == opening || m.phase == probing:
		c.postpone(m, cmd)
	case up && m.state != resource.StateOnline:
		c.done(m, cmd.ID, true, "the type has no online and the resource is not up")
	default:
		c.done(m, cmd.ID, false, "")
	}
}

func (c *Core) orderDown(m *machine, cmd resource.Command, up bool) {
	if !up {
		m.flags &^= resource.FlagAdminWait
		c.done(m, cmd.ID, false, "")
		return
	}
	m.forget()
	c.goOnline(m, cmd.ID)
}

func (c *Core) orderRising(m *machine, cmd resource.Command, up bool) {
	switch {
	case up:
		c.adopt(m, cmd.ID)
	case m.phase == goingOnlineWaiting:
		m.state = resource.StateOnline // nobody has seen it down
		c.supersede(m)
		c.goOffline(m, cmd.ID)
	case !m.running(Online) && !m.interrupted: // it has not begun
		c.supersede(m)
		m.doing = cmd.ID
		c.reachedOffline(m)
	default:
		c.postpone(m, cmd)
	}
}

// adopt lets the present transition carry out a newer command.
func (c *Core) adopt(m *machine, id resource.EffectID) {
	c.supersede(m)
	m.doing = id
}

func (c *Core) postpone(m *machine, cmd resource.Command) {
	if m.pending.ID != 0 {
		old := m.pending.ID
		m.pending = resource.Command{}
		c.done(m, old, true, "superseded by a later command")
	}
	m.pending = cmd
}

func (c *Core) supersede(m *machine) {
	for _, id := range []resource.EffectID{m.doing, m.pending.ID} {
		if id != 0 {
			c.done(m, id, true, "superseded by a later command")
		}
	}
	m.doing, m.pending = 0, resource.Command{}
}

// next carries out the command that waited.
func (c *Core) next(m *machine) {
	if cmd := m.pending; cmd.ID != 0 {
		m.pending = resource.Command{}
		c.order(m, cmd)
	}
}

func (c *Core) goOnline(m *machine, id resource.EffectID) {
	m.doing = id
	m.flags &^= resource.FlagAdminWait
	m.interrupted = false
	m.enter(goingOnline, c.now)
	c.ask(m, Online)
}

func (c *Core) goOffline(m *machine, id resource.EffectID) {
	m.doing, m.deaths = id, 0
	m.flags &^= resource.FlagAdminWait | resource.FlagRestarting
	m.enter(goingOffline, c.now)
	c.ask(m, Offline)
}

// rest enters a phase of rest with the state that belongs to it.
func (c *Core) rest(m *machine, p phase, s resource.State, keep resource.Flags) {
	m.enter(p, c.now)
	m.want = 0
	m.state = s
	m.flags &= keep
	m.interrupted, m.deaths = false, 0
	if s != resource.StateOnline {
		m.confidence = 0
	}
}

func (c *Core) reachedOnline(m *machine) {
	c.rest(m, online, resource.StateOnline, 0)
	m.trouble(c.now)
	id := m.doing
	m.doing = 0
	c.done(m, id, false, "")
	c.next(m)
}

func (c *Core) reachedOffline(m *machine) {
	c.rest(m, offline, resource.StateOffline, 0)
	id := m.doing
	m.doing = 0
	c.done(m, id, false, "")
	c.next(m)
}

// faulted gives the resource up. The intent ends with it: if somebody raises
// it by hand later, it is not restarted here (R6).
func (c *Core) faulted(m *machine, why string) {
	m.intentOnline = false
	c.rest(m, offline, resource.StateFaulted, resource.FlagUnknown|resource.FlagMonitorTimedOut)
	id := m.doing
	m.doing = 0
	c.done(m, id, true, why)
	c.next(m)
}

// adminWait stops handling the resource until somebody clears it. The state is
// VCS's for the reason: what did not come up, where clean is never called, is
// OFFLINE, all else ONLINE. Either may be half up and counts so for R2.
func (c *Core) adminWait(m *machine, why string) {
	p, s := online, resource.StateOnline
	if m.spec.ManageFaultsNone && (m.cleanReason == OnlineHung || m.cleanReason == OnlineIneffective) {
		p, s = offline, resource.StateOffline
	}
	m.waiting, m.confidence = resource.AdminReason(m.cleanReason), 0
	c.rest(m, p, s, resource.FlagUnknown|resource.FlagMonitorTimedOut|resource.FlagUnableToOffline)
	m.flags |= resource.FlagAdminWait
	c.note("ERROR", "13091", m, "Resource(%s) waits for the administrator: %s", m.spec.Resource, why)
	id := m.doing
	m.doing = 0
	c.done(m, id, true, why)
	c.next(m)
}

// startClean takes the way of a failure.
func (c *Core) startClean(m *machine, why CleanReason) {
	m.cleanReason = why
	text := why.String()
	switch {
	case m.monitorOnly && why == UnexpectedOffline:
		c.faulted(m, "monitor reported OFFLINE unexpectedly; frozen, so neither cleaned nor restarted")
	case m.monitorOnly:
		c.abandon(m, "frozen: "+text)
	case m.spec.ManageFaultsNone:
		c.adminWait(m, text+"; ManageFaults is NONE")
	case m.spec.NoClean:
		c.withoutClean(m, why)
	default:
		code, because := cleanNote(why)
		c.note("ERROR", code, m, "Agent is calling clean for resource(%s) because %s", m.spec.Resource, because)
		m.enter(cleaning, c.now)
		c.ask(m, Clean)
	}
}

// cleanNote is the message id of "Agent is calling clean", and VCS's words for
// the reason.
func cleanNote(why CleanReason) (code, because string) {
	all := [...][2]string{
		{"13063", "offline did not complete within the expected time."},
		{"13064", "the resource is up even after offline completed."},
		{"13065", "online did not complete within the expected time."},
		{"13066", "the resource is not up even after online completed."},
		{"13067", "the resource became OFFLINE unexpectedly, on its own."},
		{"13210", "successive invocations of the monitor procedure did not complete within the expected time."},
	}
	return all[why][0], all[why][1]
}

// abandon ends a transition without an action; monitors go on.
func (c *Core) abandon(m *machine, why string) {
	p := online
	if m.state != resource.StateOnline {
		p = offline
	}
	c.rest(m, p, m.state, m.flags)
	id := m.doing
	m.doing = 0
	c.done(m, id, true, why)
	c.next(m)
}

// withoutClean is for agents that have no clean: what is not up is waited for
// without end, and limits have no effect.
func (c *Core) withoutClean(m *machine, why CleanReason) {
	switch why {
	case OnlineHung:
		m.enter(goingOnlineWaiting, c.now)
		c.ask(m, Monitor)
	case OnlineIneffective, MonitorHung:
		m.schedule(c.now)
	case OfflineHung, OfflineIneffective:
		if m.phase != goingOfflineWaiting {
			m.enter(goingOfflineWaiting, c.now)
		}
		m.schedule(c.now)
		m.flags |= resource.FlagUnableToOffline
		id := m.doing
		m.doing = 0
		c.done(m, id, true, why.String()+"; the agent has no clean")
	case UnexpectedOffline:
		c.faulted(m, "monitor reported OFFLINE unexpectedly; the agent has no clean")
	}
}

// cleanFailed keeps the resource in Cleaning until it is seen offline.
func (c *Core) cleanFailed(m *machine, why string) {
	m.cleans++
	m.cleaned = false
	if limit := m.spec.Limits.CleanRetryLimit; limit > 0 && m.cleans >= limit {
		c.adminWait(m, why+"; CleanRetryLimit is spent")
		return
	}
	c.note("ERROR", "13069", m, "clean for resource(%s) failed: %s", m.spec.Resource, why)
	m.state = resource.StateOnline
	m.flags |= resource.FlagUnableToOffline
	m.flags &^= resource.FlagRestarting
	m.schedule(c.now)
	doing, pending := m.doing, m.pending.ID
	m.doing = 0
	c.done(m, doing, true, why)
	if pending != 0 && m.pending.Kind == resource.CommandOffline {
		m.pending = resource.Command{}
		c.done(m, pending, true, why)
	}
}

// cleanedUp goes on after a clean that a monitor has confirmed.
func (c *Core) cleanedUp(m *machine) {
	why := m.cleanReason
	rising := why == OnlineHung || why == OnlineIneffective
	mayRestart := m.intentOnline && m.pending.ID == 0 && !m.monitorOnly // R6
	c.note("NOTICE", "13068", m, "Resource(%s) - clean completed successfully.", m.spec.Resource)
	switch {
	case m.pending.ID != 0:
		c.afterCleanPending(m)
	case why == OfflineHung || why == OfflineIneffective:
		c.reachedOffline(m)
	case rising && mayRestart && m.interrupted && m.deaths <= maxDeaths:
		c.goOnlineAgain(m)
	case rising && mayRestart && m.onlineTries < m.spec.Limits.OnlineRetryLimit:
		m.onlineTries++
		c.note("NOTICE", "13072", m, "Resource(%s): Agent is retrying online (attempt number %d of %d).",
			m.spec.Resource, m.onlineTries, m.spec.Limits.OnlineRetryLimit)
		c.goOnlineAgain(m)
	case !rising && mayRestart && m.restarts < m.spec.Limits.RestartLimit:
		m.restarts++
		c.note("NOTICE", "13073", m, "Resource(%s) became OFFLINE unexpectedly, on its own. Agent is restarting (attempt number %d of %d) the resource.",
			m.spec.Resource, m.restarts, m.spec.Limits.RestartLimit)
		m.flags |= resource.FlagRestarting
		m.state = resource.StateOnline
		c.reportIfChanged(m, "restarting after "+why.String())
		c.goOnlineAgain(m)
	default:
		c.faulted(m, why.String()+"; clean succeeded")
	}
}

func (c *Core) goOnlineAgain(m *machine) {
	deaths := m.deaths
	c.goOnline(m, m.doing)
	m.deaths = deaths
}

func (c *Core) afterCleanPending(m *machine) {
	c.rest(m, offline, resource.StateOffline, 0)
	if id := m.doing; id != 0 {
		m.doing = 0
		c.done(m, id, true, m.cleanReason.String()+"; superseded by a later command")
	}
	c.next(m)
}
