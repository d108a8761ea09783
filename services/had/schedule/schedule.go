package schedule

import (
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// Core is the scheduler of one system. Not safe for concurrent use.
type Core struct {
	resources map[string]*machine
	names     []string // sorted
	plugins   map[string]bool
	running   map[string]int // calls by type
	calls     map[CallID]*machine
	lastCall  CallID
	lastWant  uint64
	lease     vclock.Time
	armed     bool
	now       vclock.Time
	out       []Effect
	ix        index
}

// New returns a scheduler without resources, lease or agents.
func New() *Core {
	return &Core{
		resources: map[string]*machine{}, plugins: map[string]bool{},
		running: map[string]int{}, calls: map[CallID]*machine{},
		ix: index{waiting: map[string]int{}, threads: map[string]int{}},
	}
}

// Step takes one event and appends what is to be done to out.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	c.now, c.out = now, out
	switch e := ev.(type) {
	case SetResource:
		c.set(e.Spec, e.NewValues)
	case RemoveResource:
		c.remove(e.Resource)
	case Act:
		c.act(e)
	case Command:
		c.command(e.Command)
	case EntryPointResult:
		c.result(e)
	case PluginUp:
		c.ix.all = true
		c.pluginUp(e.Type)
	case PluginDown:
		c.ix.all = true
		c.plugins[e.Type] = false
	case WatchPush:
		c.push(e.Resource)
	case Lease:
		c.ix.all = true
		c.lease = e.Until
	case Armed:
		c.ix.all = true
		c.armed = e.OK
	case Wake:
	}
	looked := c.examined()
	c.expire(looked)
	c.settleIndex(looked)
	c.dispatch()
	if audit != nil {
		audit(c)
	}
	out, c.out = c.out, nil
	return out
}

// Deadline is when Step must next be called with Wake{}.
func (c *Core) Deadline() (vclock.Time, bool) {
	if len(c.ix.due) == 0 {
		return vclock.Never, false
	}
	return c.ix.due[0].at, true
}

// Protected returns the resources of failover groups that are not known to be
// offline here, or that are about to be raised, by name (R2). The names must
// not be changed.
func (c *Core) Protected() []string {
	if c.ix.protected == nil {
		c.ix.protected = []string{}
		for _, m := range c.ix.list {
			if m.shielding {
				c.ix.protected = append(c.ix.protected, m.spec.Resource)
			}
		}
	}
	return c.ix.protected
}

// InFlight is the number of calls without a result.
func (c *Core) InFlight() int { return len(c.calls) }

// Specs returns the resources' specs by name.
func (c *Core) Specs() []Spec {
	specs := make([]Spec, 0, len(c.names))
	for _, name := range c.names {
		specs = append(specs, c.resources[name].spec)
	}
	return specs
}

// Report returns the present state of a resource as a report that completes
// nothing, to be sent again when one was lost; false for an unknown name.
func (c *Core) Report(name string) (resource.Report, bool) {
	m := c.resources[name]
	if m == nil {
		return resource.Report{}, false
	}
	return m.report(), true
}

// MonitorOnly says whether a resource is only monitored, because its group or
// the system is frozen.
func (c *Core) MonitorOnly(name string) bool {
	m := c.resources[name]
	return m != nil && m.monitorOnly
}

// Phase names the phase of a resource for people, "" if it is not known.
func (c *Core) Phase(name string) string {
	if m := c.resources[name]; m != nil {
		return m.phase.String()
	}
	return ""
}

// Hash is over the whole state in canonical order.
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %t %d", c.lease, c.armed, c.lastCall)
	for _, name := range c.names {
		m := c.resources[name]
		fmt.Fprintf(h, "|%+v", *m)
		fmt.Fprintf(h, " %t", c.plugins[m.spec.Type])
	}
	return h.Sum64()
}

func (c *Core) set(spec Spec, newValues bool) {
	m := c.resources[spec.Resource]
	if m != nil && m.removing { // another resource of that name, once this one is gone
		m.next, m.hasNext = spec, true
		return
	}
	if m == nil {
		m = &machine{nextMonitor: vclock.Never, intentOnline: spec.IntentOnline, aside: aside{nextInfo: vclock.Never}}
		c.resources[spec.Resource] = m
		i, _ := slices.BinarySearch(c.names, spec.Resource)
		c.names = slices.Insert(c.names, i, spec.Resource)
		m.spec.Resource = spec.Resource
		c.ix.insert(m)
	}
	c.touch(m)
	before := m.spec
	m.spec = spec
	m.seen = max(m.seen, spec.Seen)
	c.respec(m, before, newValues)
	if spec.Enabled && !before.Enabled {
		m.toldOnce = false // the engine has forgotten it while it was disabled, however short that was
	}
	switch {
	case spec.Enabled && m.phase == detached:
		m.enter(opening, c.now)
		c.ask(m, Open)
	case !spec.Enabled && m.phase != detached:
		c.tryClose(m)
	}
}

func (c *Core) remove(name string) {
	if m := c.resources[name]; m != nil {
		c.touch(m)
		m.removing, m.hasNext = true, false
		c.tryClose(m)
	}
}

// tryClose begins Closing once no call runs; a result calls it again.
func (c *Core) tryClose(m *machine) {
	if m.call != 0 || m.phase == closing {
		return
	}
	closable := m.removing || m.spec.Operations == None || m.state != resource.StateOnline
	if m.phase == detached || !m.opened || !c.plugins[m.spec.Type] || !closable {
		c.detach(m)
		return
	}
	m.enter(closing, c.now)
	c.ask(m, Close)
}

func (c *Core) detach(m *machine) {
	m.enter(detached, c.now)
	m.want, m.opened, m.probed, m.flags = 0, false, false, 0
	c.settle(m, true, "the resource is not enabled here")
	c.dropAside(m, "the resource is not enabled here")
	if m.removing {
		c.touch(m)
		delete(c.resources, m.spec.Resource)
		c.ix.delete(m)
		if i, found := slices.BinarySearch(c.names, m.spec.Resource); found {
			c.names = slices.Delete(c.names, i, i+1)
		}
		if m.hasNext {
			c.set(m.next, false)
		}
		return
	}
	if m.spec.Enabled {
		m.enter(opening, c.now)
		c.ask(m, Open)
		return
	}
	c.report(m, "not enabled")
}

func (c *Core) pluginUp(agentType string) {
	c.plugins[agentType] = true
	for _, name := range c.names {
		m := c.resources[name]
		if m.spec.Type == agentType && m.phase != detached && m.call == 0 {
			m.opened = false
			c.ask(m, Open)
		}
	}
}

func (c *Core) push(name string) {
	m := c.resources[name]
	if m == nil || !m.opened {
		return
	}
	c.touch(m)
	m.pushed = true
	if m.call == 0 && m.want == 0 && m.monitored() {
		c.ask(m, Monitor)
	}
}

func (c *Core) note(severity, code string, m *machine, format string, args ...any) {
	c.out = append(c.out, Note{severity, code, m.spec.Resource, fmt.Sprintf(format, args...)})
}

// report emits the resource's state; reason is for people.
func (c *Core) report(m *machine, reason string) {
	m.reason = reason
	m.told = m.facts()
	m.toldOnce = true
	c.out = append(c.out, Report{m.report()})
}

// reportIfChanged emits the state if it differs from what was last told.
func (c *Core) reportIfChanged(m *machine, reason string) {
	if !m.toldOnce || m.told != m.facts() {
		c.report(m, reason)
	}
}

// done reports that the command id ended; zero ids are ignored.
func (c *Core) done(m *machine, id resource.EffectID, failed bool, reason string) {
	if id == 0 {
		c.reportIfChanged(m, reason)
		return
	}
	m.reason = reason
	m.told, m.toldOnce = m.facts(), true
	r := m.report()
	r.Done, r.Failed = id, failed
	c.out = append(c.out, Report{r})
}

// settle ends everything that waits with the same answer.
func (c *Core) settle(m *machine, failed bool, reason string) {
	if m.doing != 0 {
		c.done(m, m.doing, failed, reason)
		m.doing = 0
	}
	if m.pending.ID != 0 {
		c.done(m, m.pending.ID, failed, reason)
		m.pending = resource.Command{}
	}
	m.answers, m.probes = append(m.answers, m.probes...), nil
	c.settleProbes(m, reason)
}

// settleProbes answers the probes for which a monitor has run.
func (c *Core) settleProbes(m *machine, reason string) {
	for _, id := range m.answers {
		c.done(m, id, false, reason)
	}
	m.answers = nil
}
