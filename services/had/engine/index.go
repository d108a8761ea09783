package engine

import (
	"slices"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// index is what the engine derives from its state and its configuration so
// that an event costs what it touches and not what the cluster holds (E195).
// It is no part of the state: it is built again when the configuration
// changes or a snapshot is restored, and audit compares it with what it is
// derived from.
//
// What it holds about a group on a system is right unless that spot is stale:
// touched since it was last looked at. Whoever changes a group or its instances
// must touch it there, or everywhere, which settle needs anyway.
type index struct {
	// of is the model that it was built for.
	of *model
	// names are the systems, sorted, and systems their states.
	names   []SystemID
	systems []*system
	// on is what is known of each system of a SystemList.
	on map[SystemID]*systemIndex
	// groups by number, spots from the first of a group on, in the order of its
	// SystemList, and instances likewise, those of one system together.
	groups    []*group
	spots     []spot
	instances []*instance
	// groupOf and firstOf say of each resource by number which group it is in
	// and where its first instance is; spotsOf of each group where it may run.
	// placed are the numbers of the systems of the spots. A report is looked up
	// in these alone: they are small enough to stay in the processor's cache.
	groupOf, firstOf []int32
	spotsOf          []groupSpots
	placed           []int16
	// homes is LastOnline by number of the resource: 1 and the place, or 0.
	homes []int16
	// counts, by number of the resource, is what its configuration makes of its
	// instances: spotActive if it is OnOff, spotUnprobed if it is enabled.
	counts []spotFlags
	// waiting, by number, are the groups with anything owed or under way.
	waiting []bool
	// deadlines of the groups that wait for time to pass.
	deadlines deadlines
	// stale spots, each once; those of a group stand together.
	stale []staleSpot
	// settled, by number, is scratch of settleGroups.
	settled []bool
	// requests says where an id is in state.Requests, counted from the first
	// that there ever was; gone is how many are forgotten.
	requests map[string]int
	gone     int
}

// groupSpots is where the spots of a group are: width of them from first on.
// From one to the next its instances are stride apart. alone: it depends on no
// group, and none on it.
type groupSpots struct {
	first, width, stride int32
	alone                bool
}

// systemIndex is what is known of one system.
type systemIndex struct {
	// num is its number among the systems that stand in a SystemList, sys its
	// state, or nil if that was not there yet when the index was built.
	num int16
	sys *system
	// groups are those with the system in their SystemList, by name: of a
	// hybrid group the part of that system. limited have Prerequisites.
	groups, limited []*groupModel
	// carried is the Load of the groups that are active there, frozen what the
	// configuration says.
	carried int
	frozen  bool
}

// spot is a group on one system.
type spot struct {
	on    *groupOn
	sys   *system
	in    *systemIndex
	flags spotFlags
}

type staleSpot struct {
	g     *groupModel
	place int
}

// spotFlags sum up the instances of a group on one system.
type spotFlags uint16

const (
	// spotStale: something there changed since it was last looked at.
	spotStale spotFlags = 1 << iota
	// spotUntold: the same, since it was last shown.
	spotUntold
	// spotActive and spotMoving are active and inTransit.
	spotActive
	spotMoving
	// spotToDo: something is wanted for which no command is under way.
	spotToDo
	// spotUnprobed, spotFaulted and spotDoubt: an enabled resource is not
	// probed, one is FAULTED, one is in ADMIN_WAIT.
	spotUnprobed
	spotFaulted
	spotDoubt
	// spotRising and spotFalling are wants.
	spotRising
	spotFalling
	// spotTimed: something there waits for time to pass.
	spotTimed

	spotMarks = spotStale | spotUntold
)

// audit, set by tests alone, compares the index with what it is derived from
// at the end of each event.
var audit func(*Engine)

// indexed returns the index, which it builds if there is another model.
func (e *Engine) indexed() *index {
	if e.ix.of != e.mod {
		e.reindex()
	}
	return &e.ix
}

// reindex builds the index for the model in use. Every spot is stale.
func (e *Engine) reindex() {
	requests, gone := e.ix.requests, e.ix.gone
	e.ix = index{of: e.mod, on: map[SystemID]*systemIndex{}, requests: requests, gone: gone}
	if e.mod == nil {
		return
	}
	ix, groups := &e.ix, len(e.mod.groups)
	ix.groups, ix.waiting, ix.settled = make([]*group, groups), make([]bool, groups), make([]bool, groups)
	ix.deadlines = newDeadlines(groups)
	ix.homes, ix.counts = make([]int16, len(e.mod.resources)), make([]spotFlags, len(e.mod.resources))
	ix.groupOf, ix.firstOf = make([]int32, len(e.mod.resources)), make([]int32, len(e.mod.resources))
	ix.spotsOf = make([]groupSpots, groups)
	if last := len(e.mod.groups) - 1; last >= 0 {
		ix.spots = make([]spot, e.mod.groups[last].first+len(e.mod.groups[last].list))
		ix.placed = make([]int16, len(ix.spots))
	}
	if last := len(e.mod.groups) - 1; last >= 0 {
		g := e.mod.groups[last]
		ix.instances = make([]*instance, int(g.firstInstance)+len(g.list)*len(g.resources))
	}
	for _, g := range e.mod.groups {
		e.indexGroup(g)
	}
}

func (e *Engine) indexGroup(g *groupModel) {
	ix := &e.ix
	gr := e.st.Groups[g.name]
	ix.groups[g.num] = gr
	ix.spotsOf[g.num] = groupSpots{int32(g.first), int32(len(g.list)), g.size, g.alone}
	for place, p := range g.list {
		at := ix.on[p.System]
		if at == nil {
			at = &systemIndex{num: int16(len(ix.on)), sys: e.st.Systems[p.System], frozen: e.mod.frozenSystem(p.System)}
			ix.on[p.System] = at
		}
		at.groups = append(at.groups, g.part(p.System))
		if len(g.prerequisites) > 0 {
			at.limited = append(at.limited, g)
		}
		s := &ix.spots[g.first+place]
		s.in, s.sys = at, at.sys
		ix.placed[g.first+place] = at.num
		if gr != nil {
			s.on = gr.On[p.System]
		}
	}
	for _, r := range g.resources {
		for place, p := range g.list {
			ix.instances[r.instanceAt(place)] = e.st.Resources[r.name][p.System]
		}
		ix.groupOf[r.num], ix.firstOf[r.num] = int32(g.num), int32(r.instanceAt(0))
		ix.counts[r.num] = pick(r.onOff(), spotActive, 0) | pick(r.enabled, spotUnprobed, 0)
		ix.homes[r.num] = int16(1 + g.place(e.st.LastOnline[r.name]))
	}
	e.markStale(g)
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
		e.ix.systems = make([]*system, 0, len(names))
		for _, n := range names {
			e.ix.systems = append(e.ix.systems, e.st.Systems[n])
		}
	}
	return e.ix.names
}

// systems returns the states of all systems in the order of their names. It
// must not be changed.
func (e *Engine) systems() []*system {
	e.systemNames()
	return e.ix.systems
}

// forgetSystemNames is for whoever removes a system.
func (e *Engine) forgetSystemNames() { e.ix.names = nil }

// groupsOn returns the groups with the system in their SystemList, by name:
// of a hybrid group the part of that system.
// It must not be changed.
func (e *Engine) groupsOn(n SystemID) []*groupModel {
	if at := e.indexed().on[n]; at != nil {
		return at.groups
	}
	return nil
}

// group is the state of a group.
func (e *Engine) group(g *groupModel) *group {
	if e.ix.of == e.mod {
		if gr := e.ix.groups[g.num]; gr != nil {
			return gr
		}
	}
	return e.st.Groups[g.name]
}

// on is the state of a group on a system, or nil if that is not in its
// SystemList.
func (e *Engine) on(g *groupModel, n SystemID) *groupOn {
	if e.ix.of == e.mod {
		if place := g.whole.place(n); place >= 0 {
			if on := e.ix.spots[g.first+place].on; on != nil {
				return on
			}
		}
	}
	return e.st.Groups[g.name].On[n]
}

// at returns a resource on a system, or nil if that is not in the SystemList
// of its group.
func (e *Engine) at(r *resourceModel, n SystemID) *instance {
	place := r.in.place(n)
	if place < 0 {
		return nil
	}
	return e.atPlace(r, place)
}

// atPlace is at for a place in the SystemList of the group.
func (e *Engine) atPlace(r *resourceModel, place int) *instance {
	ix := e.indexed()
	e.looks++
	at := r.instanceAt(place)
	if at >= len(ix.instances) {
		return nil
	}
	i := ix.instances[at]
	if i == nil { // The state was not there yet when the index was built.
		i = e.st.Resources[r.name][r.in.list[place].System]
		ix.instances[at] = i
	}
	return i
}

// instanceAt is where the instance at a place of the SystemList is in the
// index.
func (r *resourceModel) instanceAt(place int) int {
	g := r.in
	return int(g.firstInstance) + place*int(g.size) + r.num - int(g.firstResource)
}

// instance is at for a name.
func (e *Engine) instance(r string, n SystemID) *instance {
	m := e.mod.resource(r)
	if m == nil {
		return nil
	}
	return e.at(m, n)
}

// markStale marks a group on all systems: whoever changes it there, or its
// instances, must do that or markStaleOn.
func (e *Engine) markStale(g *groupModel) {
	for place := range g.whole.list {
		e.markSpot(g.whole, place)
	}
}

// markStaleOn is markStale for one system.
func (e *Engine) markStaleOn(g *groupModel, n SystemID) {
	if place := g.whole.place(n); place >= 0 {
		e.markSpot(g.whole, place)
	}
}

func (e *Engine) markSpot(g *groupModel, place int) {
	ix := e.indexed()
	s := &ix.spots[g.first+place]
	if s.flags&spotStale == 0 {
		ix.stale = append(ix.stale, staleSpot{g, place})
	}
	s.flags |= spotMarks
}

// refresh looks again at the spots that are stale.
func (e *Engine) refresh() {
	ix := e.indexed()
	for i, at := range ix.stale {
		g, s := at.g, &ix.spots[at.g.first+at.place]
		now := e.look(g, at.place)
		if (now^s.flags)&spotActive != 0 {
			s.in.carried += pick(now&spotActive != 0, g.load, -g.load)
		}
		s.flags = now | s.flags&spotUntold
		if i+1 == len(ix.stale) || ix.stale[i+1].g != g {
			ix.deadlines.set(g.num, e.groupDeadline(g))
			e.noteWaiting(g)
		}
	}
	ix.stale = ix.stale[:0]
}

// noteWaiting notes whether a group has anything owed or under way.
func (e *Engine) noteWaiting(g *groupModel) {
	e.ix.waiting[g.num] = e.waitsForAny(g) || e.anyOn(g, func(on *groupOn) bool { return on.Pre != nil || on.Violation })
}

// look sums up the instances of a whole group at a place.
func (e *Engine) look(g *groupModel, place int) spotFlags {
	var f spotFlags
	ix, n := e.indexed(), len(g.resources)
	if n > 0 {
		at := int(g.firstInstance) + place*n
		counts := ix.counts[g.resources[0].num:][:n]
		e.looks += uint64(n)
		for k, i := range ix.instances[at : at+n] {
			if i == nil {
				i = e.atPlace(g.resources[k], place)
			}
			f |= i.sum(counts[k], e.st.Now)
		}
	}
	if on := ix.spots[g.first+place].on; on != nil && on.Pre != nil && on.Pre.Until > e.st.Now {
		f |= spotTimed
	}
	return f
}

// sum is what an instance adds to the flags of its spot, of those that counts
// lets it.
func (i *instance) sum(counts spotFlags, now time.Duration) spotFlags {
	var f spotFlags
	if i.up() || i.raising() || i.inDoubt() {
		f |= counts & spotActive
	}
	if !i.Probed {
		f |= counts & spotUnprobed
	}
	if i.State == resource.StateFaulted {
		f |= spotFaulted
	}
	if i.inDoubt() {
		f |= spotDoubt
	}
	if i.RetryAt > now {
		f |= spotTimed
	}
	if !i.moving() {
		return f
	}
	f |= spotMoving
	if i.Want != wantNothing && i.Pending.ID == 0 {
		f |= spotToDo
	}
	if i.wants(wantOnline) {
		f |= spotRising
	}
	if i.wants(wantOffline) {
		f |= spotFalling
	}
	return f
}

// sum returns what the instances of a group on a system sum up to: as the
// index has it, or looked up if that is stale.
func (e *Engine) sum(g *groupModel, n SystemID) spotFlags {
	place := g.whole.place(n)
	if place < 0 {
		return 0
	}
	return e.sumAt(g.whole, place)
}

func (e *Engine) sumAt(g *groupModel, place int) spotFlags {
	f := e.indexed().spots[g.first+place].flags
	e.looks++
	if f&spotStale != 0 {
		return e.look(g, place)
	}
	if audit != nil && f&^spotUntold != e.look(g, place) {
		panic("engine: group " + g.name + " changed on " + g.list[place].System + " and was not touched")
	}
	return f
}

// resting says whether nothing about a group at a place of its list asks for
// a step there (engine.go).
func (e *Engine) resting(g *groupModel, place int, frozen bool) bool {
	s := &e.indexed().spots[g.first+g.placeInWhole(place)]
	on := s.on
	e.looks++
	if e.thorough || s.flags&(spotStale|spotToDo) != 0 || on == nil || s.sys == nil || g.onlineClearParent {
		return false
	}
	if on.Pre != nil || on.Violation || on.Starting || on.Stopping != "" || !on.Probed && s.flags&spotUnprobed == 0 {
		return false
	}
	return on.MonitorOnly == (frozen || (s.sys.TFrozen || s.in.frozen) && !g.clusterService())
}

// anyOn says whether any system of a group's list has it in a state.
func (e *Engine) anyOn(g *groupModel, is func(*groupOn) bool) bool {
	spots := e.indexed().spots
	for place, p := range g.list {
		e.looks++
		on := spots[g.first+g.placeInWhole(place)].on
		if on == nil {
			on = e.st.Groups[g.name].On[p.System]
		}
		if on != nil && is(on) {
			return true
		}
	}
	return false
}

// unlooked says whether a failover group is autodisabled on a system in the
// view because that has not probed all of it.
func (e *Engine) unlooked(g *groupModel) bool {
	for place := range g.list {
		place = g.placeInWhole(place)
		s := &e.indexed().spots[g.first+place]
		if s.on != nil && s.sys != nil && s.sys.InH && !s.on.AutoEnabled && e.sumAt(g.whole, place)&spotUnprobed != 0 {
			return true
		}
	}
	return false
}

// groupDeadline is the engine time at which a group next has something to do
// that only time brings, or 0. Its spots are not stale.
func (e *Engine) groupDeadline(g *groupModel) time.Duration {
	var next time.Duration
	earlier := func(at time.Duration) {
		if at > e.st.Now && (next == 0 || at < next) {
			next = at
		}
	}
	for _, part := range g.parts {
		earlier(e.course(part).ClearAt)
	}
	for place := range g.list {
		s := &e.ix.spots[g.first+place]
		if s.flags&spotTimed == 0 {
			continue
		}
		if s.on.Pre != nil {
			earlier(s.on.Pre.Until)
		}
		for _, r := range g.resources {
			earlier(e.atPlace(r, place).RetryAt)
		}
	}
	return next
}

// busyOn says whether a group is active or in transit on a system.
func (e *Engine) busyOn(g *groupModel, n SystemID) bool {
	return e.sum(g, n)&(spotActive|spotMoving) != 0
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
