package schedule

import (
	"github.com/evenkeel/evenkeel/internal/vclock"
)

// ask queues an entry point; it replaces one that was queued and not begun.
func (c *Core) ask(m *machine, e EntryPoint) {
	if !m.opened && e != Open && e != Close {
		e = Open // the machine goes on by its phase once it is open
	}
	c.lastWant++
	m.want, m.wantSeq = e, c.lastWant
}

// urgency orders waiting calls: what takes down goes first.
func urgency(e EntryPoint) int {
	switch e {
	case Clean:
		return 0
	case Offline:
		return 1
	case Online:
		return 2
	case Open, Close, AttrChanged:
		return 3
	case Action:
		return 5
	case Info:
		return 6
	}
	return 4
}

// expire handles what is due: deadlines, the lease, periodic monitors.
func (c *Core) expire(ms []*machine) {
	for _, m := range ms {
		c.expireActions(m)
		switch {
		case m.call != 0 && !m.ended && m.entry.Raises() && !c.now.Before(c.lease):
			m.ended, m.lateLease = true, true
			c.out = append(c.out, Cancel{m.call, "the lease ended (R6)"})
		case m.call != 0 && !m.ended && !c.now.Before(m.due):
			m.ended = true
			c.out = append(c.out, Cancel{m.call, "timed out"})
		case m.call == 0 && m.want == 0 && m.newValues && m.opened && m.phase != closing && m.phase != detached:
			c.ask(m, AttrChanged)
		case m.call == 0 && m.want == 0 && m.nextMonitor != vclock.Never && !c.now.Before(m.nextMonitor):
			c.ask(m, Monitor)
		case m.call == 0 && m.want == 0 && m.monitored() && (m.pushed || len(m.probes) > 0):
			c.ask(m, Monitor)
		case m.call == 0 && m.want == 0:
			c.askAside(m)
		}
	}
}

// dispatch begins the waiting calls that may begin.
func (c *Core) dispatch() {
	for m := c.turn(); m != nil; m = c.turn() {
		c.begin(m)
		c.file(m)
	}
}

// mayRaise is R6 and R2, checked when the call begins and not before. An
// order to go down always ends a raise that has not begun, so the intent is
// ONLINE here; it is checked all the same.
func (c *Core) mayRaise(m *machine) bool {
	return c.now.Before(c.lease) && (c.armed || !m.spec.Protected) && !m.monitorOnly && m.intentOnline
}

func (c *Core) begin(m *machine) {
	c.lastCall++
	m.call, m.entry, m.want = c.lastCall, m.want, 0
	m.ended, m.lateLease = false, false
	m.due = c.now.Add(m.timeout(m.entry))
	if m.entry == Monitor {
		m.extraMonitor = m.pushed
		m.pushed = false
		m.answers, m.probes = append(m.answers, m.probes...), nil
		m.beginDetailed()
	}
	m.began = c.now
	c.running[m.spec.Type]++
	c.calls[m.call] = m
	call := Call{ID: m.call, Resource: m.spec.Resource, Type: m.spec.Type, Entry: m.entry, Deadline: m.due}
	if m.entry == Clean {
		call.Reason = m.cleanReason
	}
	c.beginAside(m, &call)
	c.out = append(c.out, call)
}

// result ends a call and lets the machine go on. Results of unknown calls are
// dropped.
func (c *Core) result(e EntryPointResult) {
	m := c.calls[e.Call]
	if m == nil {
		return
	}
	c.touch(m)
	delete(c.calls, e.Call)
	c.running[m.spec.Type]--
	entry := m.entry
	m.call, m.entry = 0, 0
	switch {
	case m.lateLease && e.Outcome != OK && e.Outcome != PluginGone:
		e.Outcome = Cancelled
	case m.ended && !m.lateLease && e.Outcome == Cancelled:
		e.Outcome = TimedOut
	case !m.ended && e.Outcome == Cancelled: // by nobody's order
		e.Outcome = Failed
	}
	if m.removing || !m.spec.Enabled {
		c.afterDisable(m, entry)
		return
	}
	if entry == Action || entry == Info || entry == AttrChanged {
		c.afterAside(m, entry, e)
		return
	}
	if e.Outcome == PluginGone {
		c.agentGone(m, entry)
		return
	}
	switch entry {
	case Open:
		m.opened = true
		c.opened(m)
	case Close:
		c.detach(m)
	case Monitor:
		c.afterMonitor(m, e)
	case Online:
		c.afterOnline(m, e)
	case Offline:
		c.afterOffline(m, e)
	case Clean:
		c.afterClean(m, e)
	}
}

func (c *Core) afterDisable(m *machine, entry EntryPoint) {
	m.want = 0
	if entry == Close {
		c.detach(m)
		return
	}
	if m.phase == closing {
		m.phase = offline
	}
	c.tryClose(m)
}
