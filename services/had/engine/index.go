package engine

import (
	"slices"
	"sort"
	"time"
)

// index is what the engine derives from its state and its configuration so
// that an event costs what it touches and not what the cluster holds (E195).
// It is no part of the state: it is built again when the configuration
// changes or a snapshot is restored, and audit compares it with what it is
// derived from.
//
// What it holds about a group is right unless the group is stale: touched
// since it was last looked at. Whoever changes a group or its instances must
// touch it, which settle needs anyway.
type index struct {
	// of is the model that it was built for.
	of *model
	// names are the systems, sorted.
	names []SystemID
	// on are the groups with a system in their SystemList, by name.
	on map[SystemID][]*groupModel
	// instances by number of the resource and place of the system.
	instances [][]*instance
	// activity by number of the group and place of the system.
	activity [][]activity
	// deadlines of the groups that wait for time to pass.
	deadlines deadlines
	// stale groups, each once.
	stale   []*groupModel
	isStale []bool
	// requests says where an id is in state.Requests, counted from the first
	// that there ever was; gone is how many are forgotten.
	requests map[string]int
	gone     int
}

// audit, set by tests alone, compares the index with what it is derived from
// at the end of each event.
var audit func(*Engine)

// activity is whether a group is active, or in transit, on one system.
type activity struct{ active, moving bool }

// indexed returns the index, which it builds if there is another model.
func (e *Engine) indexed() *index {
	if e.ix.of != e.mod {
		e.reindex()
	}
	return &e.ix
}

// reindex builds the index for the model in use. Every group is stale.
func (e *Engine) reindex() {
	requests, gone := e.ix.requests, e.ix.gone
	e.ix = index{of: e.mod, on: map[SystemID][]*groupModel{}, requests: requests, gone: gone}
	if e.mod == nil {
		return
	}
	groups := len(e.mod.groups)
	e.ix.activity, e.ix.isStale = make([][]activity, groups), make([]bool, groups)
	e.ix.deadlines = newDeadlines(groups)
	for _, g := range e.mod.groups {
		e.ix.activity[g.num] = make([]activity, len(g.list))
		for _, p := range g.list {
			e.ix.on[p.System] = append(e.ix.on[p.System], g.part(p.System))
		}
		e.ix.instances = slices.Grow(e.ix.instances, len(g.resources))
		for _, r := range g.resources {
			at := make([]*instance, len(g.list))
			for place, p := range g.list {
				at[place] = e.st.Resources[r.name][p.System]
			}
			e.ix.instances = append(e.ix.instances, at)
		}
		e.markStale(g)
	}
}

// systemNames returns all systems, sorted. It must not be changed.
func (e *Engine) systemNames() []SystemID {
	if e.ix.names == nil || len(e.ix.names) != len(e.st.Systems) {
		names := make([]SystemID, 0, len(e.st.Systems))
		for n := range e.st.Systems {
			names = append(names, n)
		}
		sort.Strings(names)
		e.ix.names = names
	}
	return e.ix.names
}

// forgetSystemNames is for whoever removes a system.
func (e *Engine) forgetSystemNames() { e.ix.names = nil }

// groupsOn returns the groups with the system in their SystemList, by name:
// of a hybrid group the part of that system.
// It must not be changed.
func (e *Engine) groupsOn(n SystemID) []*groupModel { return e.indexed().on[n] }

// at returns a resource on a system, or nil if that is not in the SystemList
// of its group.
func (e *Engine) at(r *resourceModel, n SystemID) *instance {
	ix := e.indexed()
	place := r.in.place(n)
	if place < 0 || r.num >= len(ix.instances) {
		return nil
	}
	i := ix.instances[r.num][place]
	if i == nil { // The state was not there yet when the index was built.
		i = e.st.Resources[r.name][n]
		ix.instances[r.num][place] = i
	}
	return i
}

// instance is at for a name.
func (e *Engine) instance(r string, n SystemID) *instance {
	m := e.mod.byRes[r]
	if m == nil {
		return nil
	}
	return e.at(m, n)
}

func (e *Engine) markStale(g *groupModel) {
	ix, g := e.indexed(), g.whole
	if !ix.isStale[g.num] {
		ix.isStale[g.num] = true
		ix.stale = append(ix.stale, g)
	}
}

// refresh looks again at the groups that are stale.
func (e *Engine) refresh() {
	ix := e.indexed()
	for _, g := range ix.stale {
		ix.isStale[g.num] = false
		for place, p := range g.list {
			ix.activity[g.num][place] = activity{e.active(g, p.System), e.inTransit(g, p.System)}
		}
		ix.deadlines.set(g.num, e.groupDeadline(g))
	}
	ix.stale = ix.stale[:0]
}

// groupDeadline is the engine time at which a group next has something to do
// that only time brings, or 0.
func (e *Engine) groupDeadline(g *groupModel) time.Duration {
	var next time.Duration
	gr := e.st.Groups[g.name]
	for _, part := range g.parts {
		if at := e.course(part).ClearAt; at > e.st.Now && (next == 0 || at < next) {
			next = at
		}
	}
	for _, p := range g.list {
		if pre := gr.On[p.System].Pre; pre != nil && pre.Until > e.st.Now && (next == 0 || pre.Until < next) {
			next = pre.Until
		}
		for _, r := range g.resources {
			if at := e.at(r, p.System).RetryAt; at > e.st.Now && (next == 0 || at < next) {
				next = at
			}
		}
	}
	return next
}

// activeOn is active of any group, from the index if that is right: for
// whoever asks about every group of a system.
func (e *Engine) activeOn(g *groupModel, n SystemID) bool {
	ix, g := e.indexed(), g.whole
	if ix.isStale[g.num] {
		return e.active(g, n)
	}
	a := ix.activity[g.num][g.place(n)]
	if audit != nil && a.active != e.active(g, n) {
		panic("engine: group " + g.name + " changed on " + n + " and was not touched")
	}
	return a.active
}

// busyOn says whether a group is active or in transit on a system, from the
// index if that is right.
func (e *Engine) busyOn(g *groupModel, n SystemID) bool {
	ix, g := e.indexed(), g.whole
	if ix.isStale[g.num] {
		return e.active(g, n) || e.inTransit(g, n)
	}
	a := ix.activity[g.num][g.place(n)]
	return a.active || a.moving
}

// holdsAny says whether any group is active or in transit on a system.
func (e *Engine) holdsAny(n SystemID) bool {
	return slices.ContainsFunc(e.groupsOn(n), func(g *groupModel) bool { return e.busyOn(g, n) })
}

// touchDue touches the groups whose time has come.
func (e *Engine) touchDue() {
	ix := e.indexed()
	for {
		g, at := ix.deadlines.first()
		if at == 0 || at > e.st.Now {
			return
		}
		ix.deadlines.set(g, 0)
		e.touch(e.mod.groups[g].name)
	}
}

// requestAt returns where the answer to a request id is kept, or -1.
func (e *Engine) requestAt(id string) int {
	if e.ix.requests == nil {
		e.ix.requests = make(map[string]int, len(e.st.Requests))
		for i, r := range e.st.Requests {
			e.ix.requests[r.RequestID] = e.ix.gone + i
		}
	}
	at, known := e.ix.requests[id]
	if !known {
		return -1
	}
	return at - e.ix.gone
}

// keepRequest remembers an answer and forgets what is too old.
func (e *Engine) keepRequest(res CommandResult) {
	if e.requestAt(res.RequestID) < 0 {
		e.ix.requests[res.RequestID] = e.ix.gone + len(e.st.Requests)
	}
	e.st.Requests = append(e.st.Requests, res)
	for len(e.st.Requests) > keptRequests {
		delete(e.ix.requests, e.st.Requests[0].RequestID)
		e.st.Requests = dropFirst(e.st.Requests)
		e.ix.gone++
	}
}

// dropFirst forgets the first of a list that grows at its end: appending
// copies the rest only when the room behind it is used up.
func dropFirst[T any](list []T) []T {
	var none T
	list[0] = none
	return list[1:]
}

// deadlines is a heap of the times of numbered groups.
type deadlines struct {
	at    []time.Duration // by number; 0: none
	place []int           // by number, in heap; -1: not there
	heap  []int
}

func newDeadlines(n int) deadlines {
	d := deadlines{at: make([]time.Duration, n), place: make([]int, n)}
	for i := range d.place {
		d.place[i] = -1
	}
	return d
}

// first returns the earliest time and whose it is; 0 if there is none.
func (d *deadlines) first() (int, time.Duration) {
	if len(d.heap) == 0 {
		return -1, 0
	}
	return d.heap[0], d.at[d.heap[0]]
}

// set gives a number its time, or none with 0.
func (d *deadlines) set(n int, at time.Duration) {
	p := d.place[n]
	switch {
	case at == 0 && p < 0:
		return
	case p < 0:
		d.at[n], p = at, len(d.heap)
		d.place[n] = p
		d.heap = append(d.heap, n)
		d.up(p)
	case at == 0:
		last := len(d.heap) - 1
		d.swap(p, last)
		d.heap, d.place[n], d.at[n] = d.heap[:last], -1, 0
		if p < last {
			d.down(p)
			d.up(p)
		}
	default:
		d.at[n] = at
		d.down(p)
		d.up(d.place[n])
	}
}

func (d *deadlines) swap(a, b int) {
	d.heap[a], d.heap[b] = d.heap[b], d.heap[a]
	d.place[d.heap[a]], d.place[d.heap[b]] = a, b
}

func (d *deadlines) less(a, b int) bool { return d.at[d.heap[a]] < d.at[d.heap[b]] }

func (d *deadlines) up(p int) {
	for p > 0 && d.less(p, (p-1)/2) {
		d.swap(p, (p-1)/2)
		p = (p - 1) / 2
	}
}

func (d *deadlines) down(p int) {
	for {
		child := 2*p + 1
		if child >= len(d.heap) {
			return
		}
		if child+1 < len(d.heap) && d.less(child+1, child) {
			child++
		}
		if !d.less(child, p) {
			return
		}
		d.swap(p, child)
		p = child
	}
}
