// Package engine is the replicated core of had: one state machine that every
// system runs over the same totally ordered events, so that all of them come
// to the same decisions without asking each other. It has no clock, no I/O
// and no randomness; its time is the sum of Clock events (R21).
//
// The rules, with their numbers, are in docs/spec/engine.md; goldens under
// testdata name the rule that they show.
package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// Engine is one replica. It is not safe for concurrent use: one goroutine of
// the shell owns it.
type Engine struct {
	st  state
	mod *model // nil before a configuration
	out []Effect
	// dirty are the groups that the event at hand may have moved, loadMoved the
	// systems whose load it may have changed.
	dirty     map[string]bool
	loadMoved map[string]bool
	// roomMoved are the systems where a group came or went in this event.
	roomMoved map[string]bool
	ix        index
	// thorough, set by tests alone, looks at everything that an event could
	// concern; what comes of it must be the same.
	thorough bool
	// looks counts the instances and spots that events looked at.
	looks uint64
}

// New returns an empty replica: no system, no configuration.
func New() *Engine {
	return &Engine{
		st: state{
			Logic:     LogicVersion,
			Systems:   map[string]*system{},
			Groups:    map[string]*group{},
			Resources: map[string]map[string]*instance{},
		},
		dirty:     map[string]bool{},
		loadMoved: map[string]bool{}, roomMoved: map[string]bool{},
	}
}

// Apply is the only way in. It is called once for each event, in the total
// order; from is the system that sent it ("" for views). It never blocks,
// keeps no reference to ev, and equal state and input give equal effects in
// equal order. Effects name their system; a shell carries out its own only,
// and none before its system is RUNNING (R22).
func (e *Engine) Apply(pos Pos, from SystemID, ev Event, out []Effect) []Effect {
	e.out = out
	e.st.Pos = pos
	switch ev := ev.(type) {
	case ViewChanged:
		e.view(ev)
	case EvidenceStronger:
		e.evidence(ev)
	case SystemJoined:
		e.joined(from, ev)
	case ConfigLoaded:
		e.configure(from, ev)
	case StateChanged:
		e.announced(from, ev)
	case Reported:
		if !e.reported(from, &ev.Report) {
			return e.rest()
		}
	case Command:
		e.command(from, ev)
	case TriggerEnded:
		e.triggerEnded(from, ev)
	case ConfigDumped:
		e.dumped(from, ev)
	case Clock:
		e.clock(from, ev)
	case AgentReported:
		e.agentReported(from, ev)
	case InfoReported:
		e.informed(from, ev)
	case Metered:
		e.metered(from, ev)
	case SystemDescribed:
		e.described(from, ev)
	}
	e.settle()
	e.watchLoad()
	e.wish()
	return e.rest()
}

// rest ends an event.
func (e *Engine) rest() []Effect {
	if audit != nil {
		audit(e)
	}
	out := e.out
	e.out = nil
	return out
}

// clock advances engine time by what the lowest system measured, capped at
// two periods (R21).
func (e *Engine) clock(from SystemID, ev Clock) {
	if from != e.ClockSystem() || ev.Elapsed <= 0 {
		return
	}
	e.st.Now += min(ev.Elapsed, 2*ClockPeriod)
	e.systemsDue()
	if e.st.Wish > 0 && e.st.Now >= e.st.Wish {
		e.touchDue()
		e.revertDue()
	}
}

// ClockSystem returns the system whose Clock events count: the one with the
// lowest node id among the RUNNING (or LEAVING) members of port h, or among
// all members if none is; "" without members.
func (e *Engine) ClockSystem() SystemID {
	best, bestRuns := "", false
	for _, n := range e.systemNames() {
		s := e.st.Systems[n]
		if !s.InH {
			continue
		}
		runs := s.State == SystemRunning || s.State == SystemLeaving
		if best == "" || (runs && !bestRuns) || (runs == bestRuns && s.Node < e.st.Systems[best].Node) {
			best, bestRuns = n, runs
		}
	}
	return best
}

// Deadline is the engine time at which Clock events next change something.
func (e *Engine) Deadline() (time.Duration, bool) { return e.st.Wish, e.st.Wish != 0 }

// Time returns engine time.
func (e *Engine) Time() time.Duration { return e.st.Now }

// Position returns the position of the last event applied.
func (e *Engine) Position() Pos { return e.st.Pos }

// Looks counts how often events looked at an instance of a resource, or at a
// group on a system: what they cost, apart from the machine. It is no part of
// the state.
func (e *Engine) Looks() uint64 { return e.looks }

// Config returns the running configuration, or nil before one is loaded. It
// must not be changed.
func (e *Engine) Config() *maincf.Config {
	if e.mod == nil {
		return nil
	}
	return e.mod.cfg
}

// Explanations returns the last decisions about a group ("" for all), oldest
// first.
func (e *Engine) Explanations(group string) []Explanation {
	var out []Explanation
	for _, x := range e.st.Why {
		if group == "" || x.Group == group {
			out = append(out, x)
		}
	}
	return out
}

// Answer returns the answer to a request id that was applied before (R15).
func (e *Engine) Answer(requestID string) (CommandResult, bool) {
	if i := e.requestAt(requestID); i >= 0 {
		return e.st.Requests[i], true
	}
	return CommandResult{}, false
}

// Snapshot returns the whole state as canonical JSON, with the text of the
// configuration, the table of request ids and what is outstanding (R15, R22).
func (e *Engine) Snapshot() []byte {
	data, err := json.Marshal(&e.st)
	if err != nil {
		// Plain structs of numbers, strings and booleans always encode.
		panic("engine: snapshot: " + err.Error())
	}
	return data
}

// Restore rebuilds a replica from a Snapshot. Applying the events after its
// position then gives the same effects as on the system that took it.
func Restore(snapshot []byte) (*Engine, error) {
	e := New()
	d := json.NewDecoder(bytes.NewReader(snapshot))
	d.DisallowUnknownFields()
	var st state
	if err := d.Decode(&st); err != nil {
		return nil, fmt.Errorf("restore engine: %w; take a new snapshot", err)
	}
	if st.Logic != LogicVersion {
		return nil, fmt.Errorf("restore engine: snapshot has logic version %d, this engine %d; run the same release on all systems", st.Logic, LogicVersion)
	}
	if st.Systems == nil || st.Groups == nil || st.Resources == nil {
		return nil, fmt.Errorf("restore engine: snapshot is not whole; take a new one")
	}
	e.st = st
	if len(st.Files) > 0 {
		m, err := restoreModel(st.Main, st.Files, st.Conf.Edits)
		if err != nil {
			return nil, fmt.Errorf("restore engine: configuration: %w", err)
		}
		e.mod = m
	}
	if err := e.consistent(); err != nil {
		return nil, fmt.Errorf("restore engine: %w; take a new snapshot", err)
	}
	return e, nil
}

// consistent checks that the state has what the configuration names.
func (e *Engine) consistent() error {
	for _, n := range e.systemNames() {
		if e.st.Systems[n] == nil {
			return fmt.Errorf("system %s has no state", n)
		}
	}
	if e.mod == nil {
		return nil
	}
	for _, s := range e.mod.systems {
		if e.st.Systems[s] == nil {
			return fmt.Errorf("system %s is missing", s)
		}
	}
	for _, g := range e.mod.groups {
		if e.st.Groups[g.name] == nil {
			return fmt.Errorf("group %s is missing", g.name)
		}
		for _, p := range g.list {
			if e.st.Groups[g.name].On[p.System] == nil {
				return fmt.Errorf("group %s on %s is missing", g.name, p.System)
			}
			for _, r := range g.resources {
				if e.st.Resources[r.name][p.System] == nil {
					return fmt.Errorf("resource %s on %s is missing", r.name, p.System)
				}
			}
		}
	}
	return nil
}

// Hash is over the canonical state, for invariant I3.
func (e *Engine) Hash() uint64 {
	h := fnv.New64a()
	h.Write(e.Snapshot())
	return h.Sum64()
}

// hashParts is by how many objects HashPart divides the state.
const hashParts = 1000

// HashPart is over a part of the canonical state, so that no one call takes
// long: of the groups and resources each n-th thousandth, the next with the
// next n, and all the rest with one n of them. Equal states give equal hashes
// for equal n.
func (e *Engine) HashPart(n uint64) uint64 {
	parts := 1 + uint64(len(e.st.Resources))/hashParts
	part := state{Pos: e.st.Pos, Now: e.st.Now}
	if n%parts == 0 {
		part = e.st
	}
	part.Groups, part.Resources = map[string]*group{}, map[string]map[string]*instance{}
	for name, g := range e.st.Groups {
		if hashText(name)%parts == n%parts {
			part.Groups[name] = g
		}
	}
	for name, r := range e.st.Resources {
		if hashText(name)%parts == n%parts {
			part.Resources[name] = r
		}
	}
	data, err := json.Marshal(&part)
	if err != nil {
		panic("engine: hash: " + err.Error()) // as in Snapshot
	}
	h := fnv.New64a()
	h.Write(data)
	return h.Sum64()
}

func hashText(text string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return h.Sum64()
}

// Outstanding returns what a system was told and has not completed, in the
// order in which it was told, so that a shell that was restored from a
// snapshot can issue it again (R22).
func (e *Engine) Outstanding(system SystemID) []Effect {
	var cmds []resource.Command
	for _, r := range e.resourceModels() {
		i := e.at(r, system)
		if i == nil {
			continue
		}
		cmds = append(cmds, i.Unseen...)
		if i.Pending.ID != 0 {
			cmds = append(cmds, resource.Command{ID: i.Pending.ID, Kind: i.Pending.Kind, System: system, Resource: r.name})
		}
	}
	sort.Slice(cmds, func(a, b int) bool { return cmds[a].ID < cmds[b].ID })
	out := make([]Effect, 0, len(cmds)+1)
	for _, c := range cmds {
		out = append(out, ResourceCommand{Command: c, Group: e.mod.resource(c.Resource).in.name})
	}
	if slices.Contains(e.st.Conf.Dumping, system) {
		out = append(out, e.dumpOf(system))
	}
	if s := e.st.Systems[system]; s != nil {
		switch s.State {
		case SystemExiting:
			out = append(out, StopSystem{System: system})
		case SystemExitingForcibly:
			out = append(out, StopSystem{System: system, Forced: true})
		}
	}
	return out
}

// Protected says whether something of a failover group may be running or in
// flight on a system, which is what R2 and R14 ask: an OnOff resource that is
// not probed offline there.
func (e *Engine) Protected(system SystemID) bool {
	for _, r := range e.resourceModels() {
		i := e.at(r, system)
		if i == nil || !r.onOff() || !e.mod.byGroup[r.in.name].failover() {
			continue
		}
		if r.enabled && (!i.Probed || i.up() || i.moving() || i.inDoubt()) {
			return true
		}
	}
	return false
}

func (e *Engine) resourceModels() []*resourceModel {
	if e.mod == nil {
		return nil
	}
	return e.mod.resources
}

func (e *Engine) emit(f Effect) { e.out = append(e.out, f) }

func (e *Engine) log(severity string, id int, system, group, format string, args ...any) {
	if quietID(id) && group != "" && e.mod != nil && e.mod.byGroup[group] != nil && e.mod.byGroup[group].quietFaults {
		return
	}
	e.emit(LogLine{Severity: severity, ID: messageID(id), System: system, Group: group, Text: fmt.Sprintf(format, args...)})
}

// quietID says whether DisableFaultMessages keeps a message out of the log:
// those that tell of a fault and that there is no failover.
func quietID(id int) bool { return id == 10303 || id == 10205 || id == 10464 }

func messageID(id int) string { return fmt.Sprintf("V-16-1-%d", id) }

// explain records a decision.
func (e *Engine) explain(x Explanation) {
	x.Pos, x.Time = e.st.Pos, e.st.Now
	e.st.Why = append(e.st.Why, x)
	for len(e.st.Why) > keptExplanations {
		e.st.Why = dropFirst(e.st.Why)
	}
	e.emit(Explained{x})
}

// touch says that a group may have moved: settle looks at it, and what the
// index holds about it is looked at again.
func (e *Engine) touch(g string) {
	e.dirty[g] = true
	if e.mod == nil {
		return
	}
	if m := e.mod.byGroup[g]; m != nil {
		e.markStale(m)
	}
}

// touchOn is touch for a group on one system: nothing of it changed elsewhere.
func (e *Engine) touchOn(g *groupModel, n SystemID) {
	e.dirty[g.name] = true
	e.markStaleOn(g, n)
}

func (e *Engine) touchAll() {
	if e.mod == nil {
		return
	}
	for _, g := range e.mod.groups {
		e.touch(g.name)
	}
}

// settle lets every group that the event touched go as far as it can, then
// tells what changed. Each step sends a command, ends an operation or records
// a decision, so it ends.
func (e *Engine) settle() {
	e.settleRooms()
	if e.drain() {
		e.settleRooms()
	}
	e.leave()
}

func (e *Engine) settleGroups() {
	if len(e.dirty) == 0 || e.mod == nil {
		return
	}
	e.refresh()
	var touched []*groupModel
	settled := e.ix.settled
	todo := e.dirtyAfter(-1)
	for len(todo) > 0 {
		g, dirty := todo[0], len(e.dirty)
		todo = todo[1:]
		if settled[g.num] {
			continue
		}
		for _, member := range g.family {
			if e.thorough {
				e.markStale(member)
			}
			if member.hybrid() {
				e.fitZones(member)
			}
		}
		e.stepToRest(g.family)
		e.refresh()
		touched = append(touched, g.family...)
		for _, member := range g.family {
			settled[member.num] = true
			e.noteWaiting(member.whole)
		}
		if len(e.dirty) != dirty {
			todo = e.dirtyAfter(g.turn)
		}
	}
	for _, g := range touched {
		settled[g.num] = false
		e.show(g)
	}
	e.nothingDirty()
}

// nothingDirty ends what touch began. A map keeps the room that it once had,
// and whoever walks or clears it walks all of that: one that had every group
// in it is let go.
func (e *Engine) nothingDirty() {
	const few = 32
	if len(e.dirty) > few {
		e.dirty = map[string]bool{}
		return
	}
	clear(e.dirty)
}

// dirtyAfter returns the dirty groups behind a turn, in their turn.
func (e *Engine) dirtyAfter(turn int) []*groupModel {
	out := make([]*groupModel, 0, len(e.dirty))
	for name := range e.dirty {
		if g := e.mod.byGroup[name]; g != nil && g.turn > turn {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b *groupModel) int { return a.turn - b.turn })
	return out
}

// stepToRest steps the groups of a family until nothing moves. A family that
// never rests is a broken invariant: better no engine than one that spins.
func (e *Engine) stepToRest(family []*groupModel) {
	bound := 0
	for _, g := range family {
		bound += 100 * (1 + len(g.resources)) * (1 + len(g.list))
	}
	for range bound {
		moved := false
		for _, g := range family {
			moved = e.step(g) || moved
		}
		if !moved {
			return
		}
	}
	panic("engine: group " + family[0].name + " never comes to rest")
}

// nextWish is when time next brings something to a group or a system, or 0.
func (e *Engine) nextWish() time.Duration {
	_, next := e.ix.deadlines.first()
	for _, at := range []time.Duration{e.configDeadline(), e.systemWish()} {
		if at > 0 && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

// wish tells when a Clock is next of use, if that changed.
func (e *Engine) wish() {
	e.refresh()
	next := e.nextWish()
	if next != e.st.Wish {
		e.st.Wish = next
		e.emit(DeadlineWish{At: next})
	}
}
