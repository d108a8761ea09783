package schedule

import (
	"container/heap"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// index lets a step cost what it touches and not what the system holds: a
// machine moves by an event for it, when its time comes, when it is its turn
// to begin a call, or by an event for all (lease, agents, arming). It is
// derived from the machines; audit compares it with them.
type index struct {
	list []*machine // by name
	// touched by the event at hand; all says that every machine is.
	touched []*machine
	all     bool
	due     deadlines
	queue   []*machine // whose call waits, in no order
	// waiting counts the queue by type; threads is the most that a resource of
	// a type was ever given.
	waiting, threads map[string]int
	// protected are the names that Protected returns; nil: look again.
	protected []string
}

// place is what the index keeps in a machine.
type place struct {
	at        vclock.Time // its deadline as it is in the heap
	inHeap    int         // its place there, counted from 1
	inQueue   int         // its place there, counted from 1
	queuedAs  string      // by which type it is counted
	shielding bool        // its name is among the protected
}

// audit, set by tests alone, compares the index with the machines.
var audit func(*Core)

func (c *Core) touch(m *machine) { c.ix.touched = append(c.ix.touched, m) }

func byName(a, b *machine) int { return strings.Compare(a.spec.Resource, b.spec.Resource) }

// insert puts a new machine where it belongs.
func (ix *index) insert(m *machine) {
	i, _ := slices.BinarySearchFunc(ix.list, m, byName)
	ix.list = slices.Insert(ix.list, i, m)
}

func (ix *index) delete(m *machine) {
	if i, found := slices.BinarySearchFunc(ix.list, m, byName); found {
		ix.list = slices.Delete(ix.list, i, i+1)
	}
}

// examined are the machines that this step looks at, by name.
func (c *Core) examined() []*machine {
	ix := &c.ix
	if ix.all {
		return slices.Clone(ix.list)
	}
	ms := append(ix.due.before(c.now), ix.touched...)
	slices.SortFunc(ms, byName)
	return slices.DeleteFunc(slices.Compact(ms), func(m *machine) bool { return c.resources[m.spec.Resource] != m })
}

// settleIndex takes in what became of the machines that were looked at.
func (c *Core) settleIndex(ms []*machine) {
	for _, m := range ms {
		c.file(m)
	}
	for _, m := range c.ix.touched {
		c.file(m) // also those that are gone
	}
	c.ix.touched, c.ix.all = c.ix.touched[:0], false
}

func (c *Core) file(m *machine) {
	ix := &c.ix
	here := c.resources[m.spec.Resource] == m
	at := vclock.Never
	if here {
		at = m.deadline(c.lease)
	}
	ix.due.set(m, at)
	switch waits := here && m.want != 0 && m.call == 0; {
	case waits && m.inQueue == 0:
		ix.queue = append(ix.queue, m)
		m.inQueue = len(ix.queue)
		m.queuedAs = m.spec.Type
		ix.waiting[m.queuedAs]++
	case !waits && m.inQueue != 0:
		last := len(ix.queue) - 1
		ix.queue[m.inQueue-1] = ix.queue[last]
		ix.queue[last].inQueue = m.inQueue
		ix.queue[last], m.inQueue = nil, 0
		ix.queue = ix.queue[:last]
		ix.waiting[m.queuedAs]--
	}
	ix.threads[m.spec.Type] = max(1, ix.threads[m.spec.Type], m.spec.Limits.NumThreads)
	if shields := here && m.protects(); shields != m.shielding {
		m.shielding, ix.protected = shields, nil
	}
}

// protects says whether the resource is one of those that Protected names. What
// is never taken offline (OnOnly) counts while it is being raised: nothing of
// the group is started before fencing is armed (R2), and nobody would arm for
// it otherwise.
func (m *machine) protects() bool {
	switch {
	case !m.spec.Protected:
		return false
	case m.spec.Operations == OnOff:
		return !m.restsOffline()
	default:
		return m.want.Raises() || m.running(Online)
	}
}

// turn returns the waiting machine whose call begins next, or nil.
func (c *Core) turn() *machine {
	if !c.anyThread() {
		return nil
	}
	var best *machine
	agent, running, up := "", 0, false
	for i, m := range c.ix.queue {
		if i == 0 || m.spec.Type != agent {
			agent = m.spec.Type
			running, up = c.running[agent], c.plugins[agent]
		}
		if !up || running >= max(1, m.spec.Limits.NumThreads) || (m.want.Raises() && !c.mayRaise(m)) {
			continue
		}
		if best == nil || before(m, best) {
			best = m
		}
	}
	return best
}

// anyThread says whether an agent for which calls wait has a thread left.
func (c *Core) anyThread() bool {
	free := false
	for agent, n := range c.ix.waiting {
		free = free || (n > 0 && c.plugins[agent] && c.running[agent] < c.ix.threads[agent])
	}
	return free
}

// before says whether a's call begins before b's.
func before(a, b *machine) bool {
	if d := urgency(a.want) - urgency(b.want); d != 0 {
		return d < 0
	}
	return a.wantSeq < b.wantSeq
}

// deadlines is a heap of machines by their next deadline.
type deadlines []*machine

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(a, b int) bool { return d[a].at < d[b].at }
func (d deadlines) Swap(a, b int) {
	d[a], d[b] = d[b], d[a]
	d[a].inHeap, d[b].inHeap = a+1, b+1
}

// Push is of container/heap.
func (d *deadlines) Push(x any) {
	m := x.(*machine)
	m.inHeap = len(*d) + 1
	*d = append(*d, m)
}

// Pop is of container/heap.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	m := (*d)[last]
	(*d)[last] = nil
	*d, m.inHeap = (*d)[:last], 0
	return m
}

// set gives a machine its deadline; Never takes it out.
func (d *deadlines) set(m *machine, at vclock.Time) {
	switch {
	case at == vclock.Never && m.inHeap == 0:
	case at == vclock.Never:
		heap.Remove(d, m.inHeap-1)
	case m.inHeap == 0:
		m.at = at
		heap.Push(d, m)
	case m.at != at:
		m.at = at
		heap.Fix(d, m.inHeap-1)
	}
}

// before returns the machines whose deadline has come, in no order.
func (d deadlines) before(now vclock.Time) []*machine {
	var out []*machine
	work := []int{0}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		if i >= len(d) || now.Before(d[i].at) {
			continue
		}
		out = append(out, d[i])
		work = append(work, 2*i+1, 2*i+2)
	}
	return out
}
