package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Message ids of what is said about load and meters.
const (
	idLoadSet     = 90150
	idOverload    = 90151
	idLoadWarning = 90152
	idLoadFell    = 90153
	idMeterRose   = 90154
	idMeterFell   = 90155
)

// systemModel is what the configuration says of a system, as load, meters and
// stopping use it.
type systemModel struct {
	capacity     int
	warningLevel int // percent of capacity
	warningTime  time.Duration
	// shutdown is ShutdownTimeout.
	shutdown time.Duration
	// levels are the threshold levels of a meter, the highest first.
	levels map[string][]level
}

// level is one of Critical, Warning, Note and Info.
type level struct {
	name    string
	percent int64
}

// units is the number of a capacity or load: 7.x writes it as an association
// whose key Units is that number.
func units(v maincf.Value) int {
	if v.Dim == maincf.DimAssoc {
		text, _ := v.Lookup("Units")
		return number(text)
	}
	return v.Int()
}

// capacityOf is units of a Capacity, the usual one where only meters are named.
func capacityOf(v maincf.Value) int {
	if _, named := v.Lookup("Units"); v.Dim == maincf.DimAssoc && !named {
		return 100
	}
	return units(v)
}

func newSystemModel(cfg *maincf.Config, s *maincf.System) *systemModel {
	value := func(name string) maincf.Value { v, _ := cfg.SystemAttr(s, name); return v }
	m := &systemModel{
		capacity:     capacityOf(value("Capacity")),
		warningLevel: value("LoadWarningLevel").Int(),
		warningTime:  time.Duration(value("LoadTimeThreshold").Int()) * time.Second,
		shutdown:     time.Duration(value("ShutdownTimeout").Int()) * time.Second,
		levels:       map[string][]level{},
	}
	for meter, attr := range map[string]string{"CPU": "CPUThresholdLevel", "Mem": "MemThresholdLevel", "Swap": "SwapThresholdLevel"} {
		v := value(attr)
		for _, name := range []string{"Critical", "Warning", "Note", "Info"} {
			if text, ok := v.Lookup(name); ok {
				m.levels[meter] = append(m.levels[meter], level{name, int64(number(text))})
			}
		}
	}
	return m
}

// ofSystems takes what systems and the cluster say about load, meters and
// stopping.
func (m *model) ofSystems(cfg *maincf.Config) {
	m.bySystem = map[string]*systemModel{}
	for _, s := range cfg.Systems {
		m.bySystem[s.Name] = newSystemModel(cfg, s)
	}
	value := func(name string) maincf.Value { v, _ := cfg.ClusterAttr(name); return v }
	m.statistics, m.engineShutdown, m.rebootAction = value("Statistics").Text, value("EngineShutdown").Text, value("SystemRebootAction").Text
	control := value("MeterControl").Pairs
	m.meterInterval = time.Duration(orDefault(pairNumber(control, "Interval"), meterInterval)) * time.Second
	m.forecastCycle = orDefault(pairNumber(control, "ForecastCycle"), forecastCycle)
	m.meterWeight = value("MeterWeight").Pairs
}

func orDefault(n, usual int) int {
	if n > 0 {
		return n
	}
	return usual
}

// pairNumber returns the number of a key, 0 without it.
func pairNumber(pairs []maincf.Pair, key string) int {
	for _, p := range pairs {
		if p.Key == key {
			return number(p.Value)
		}
	}
	return 0
}

// system returns the model of a system, that of an unknown one empty.
func (m *model) system(n SystemID) *systemModel {
	if s := m.bySystem[n]; s != nil {
		return s
	}
	return &systemModel{}
}

// reserved says whether room is kept for a group that is about to start on a
// system: the target of a switch that still goes offline where it was.
func (e *Engine) reserved(g *groupModel, n SystemID) bool {
	c, on := e.course(g), e.on(g, n)
	return on.Starting || on.Pre != nil || (c.Move != nil && c.Move.To == n) || (c.Due != nil && c.Due.Prefer == n)
}

// is says whether two are the same group, or parts of the same.
func (g *groupModel) is(other *groupModel) bool { return other != nil && g.whole == other.whole }

// takesRoom says whether a group counts against a system's capacity and limits.
func (e *Engine) takesRoom(g *groupModel, n SystemID) bool {
	return e.active(g, n) || e.reserved(g, n)
}

// burden returns the failover groups on a system and its capacity left, for a
// choice about a group, which itself does not count.
func (e *Engine) burden(g *groupModel, n SystemID) (groups, available int, how string) {
	s := e.st.Systems[n]
	capacity, waiting := e.mod.system(n).capacity, 0
	available = capacity
	if s.LoadSet {
		available -= s.DynamicLoad
	}
	for _, other := range e.groupsOn(n) {
		if other.is(g) || !e.takesRoom(other, n) {
			continue
		}
		if other.failover() {
			groups++
		}
		switch {
		case !s.LoadSet:
			available -= other.load
		case !e.active(other, n) || e.st.Groups[other.name].On[n].NotInLoad:
			waiting += other.load
		}
	}
	if s.LoadSet {
		how = fmt.Sprintf("capacity %d less dynamic load %d", capacity, s.DynamicLoad)
		if waiting > 0 {
			how += fmt.Sprintf(" and %d for what started since", waiting)
		}
	}
	return groups, available - waiting, how
}

// loadOf returns what a system carries: what hasys -load said, else the Load of
// its active groups.
func (e *Engine) loadOf(n SystemID) int {
	if s := e.st.Systems[n]; s.LoadSet {
		return s.DynamicLoad
	}
	e.refresh()
	if at := e.ix.on[n]; at != nil {
		return at.carried
	}
	return 0
}

// lacking returns the prerequisites of a group that a system's limits, less
// what other groups took or will take, do not meet.
func (e *Engine) lacking(g *groupModel, n SystemID) []string {
	var out []string
	for _, p := range g.prerequisites {
		if e.limitLeft(g, n, p.Key) < g.needs(p.Key) {
			out = append(out, p.Key)
		}
	}
	return out
}

func (e *Engine) limitLeft(g *groupModel, n SystemID, key string) int {
	left := e.mod.limit(n, "Limits", key)
	for _, other := range e.groupsOn(n) {
		if need := other.needs(key); need != 0 && !other.is(g) && e.takesRoom(other, n) {
			left -= need
		}
	}
	return left
}

// setLoad is hasys -load.
func (e *Engine) setLoad(c Command) *refusal {
	n := c.System
	if !slices.Contains(e.mod.systems, n) {
		return e.unknown(10357, "System", n, e.mod.systems)
	}
	s := e.st.Systems[n]
	switch {
	case c.Load < 0:
		no := refuse(10000, "The load of a system is a number from 0 up, not %d", c.Load)
		no.code = CodeInvalidArgument
		return no
	case !s.InH:
		return refuse(10200, "System %s is not available: it is %s, had does not run there", n, s.State)
	}
	if c.ClearLoad {
		s.LoadSet, s.DynamicLoad = false, 0
	} else {
		s.LoadSet, s.DynamicLoad = true, c.Load
	}
	for _, g := range e.groupsOn(n) {
		if on := e.on(g, n); !on.Starting {
			on.NotInLoad = false
		}
	}
	_, available, _ := e.burden(nil, n)
	e.log("INFO", idLoadSet, "", "", "System %s: load is %d of capacity %d, available capacity %d", n, e.loadOf(n), e.mod.system(n).capacity, available)
	e.loadMoved[n] = true
	return nil
}

// settleRooms lets groups go as far as they can; who waited for limits that a
// group has left free goes on as well.
func (e *Engine) settleRooms() {
	for e.settleGroups(); e.freed(); e.settleGroups() {
	}
}

// freed touches the groups that may have waited for limits of the systems
// where something came or went.
func (e *Engine) freed() bool {
	if len(e.roomMoved) == 0 {
		return false // Nothing is dirty behind settleGroups.
	}
	for _, n := range slices.Sorted(maps.Keys(e.roomMoved)) {
		if at := e.indexed().on[n]; at != nil {
			for _, g := range at.limited {
				e.touch(g.name)
			}
		}
	}
	clear(e.roomMoved)
	return len(e.dirty) > 0
}

// weighAll looks at the load of all systems: the configuration changed.
func (e *Engine) weighAll() {
	for _, n := range e.systemNames() {
		e.loadMoved[n] = true
	}
}

// watchLoad notices systems whose load rose above LoadWarningLevel or fell
// again.
func (e *Engine) watchLoad() {
	if len(e.loadMoved) == 0 || e.mod == nil {
		return
	}
	for _, n := range slices.Sorted(maps.Keys(e.loadMoved)) {
		s, m := e.st.Systems[n], e.mod.system(n)
		if s == nil {
			continue // It left the configuration.
		}
		load := e.loadOf(n)
		over := s.InH && m.capacity > 0 && load*100 > m.warningLevel*m.capacity
		switch {
		case over && s.Over == nil:
			s.Over = &overload{Since: e.st.Now}
			e.log("INFO", idOverload, "", "", "System %s: load %d is more than %d%% of its capacity %d (LoadWarningLevel)", n, load, m.warningLevel, m.capacity)
			e.warnOfLoad(n)
		case !over && s.Over != nil:
			if s.Over.Warned {
				e.log("NOTICE", idLoadFell, "", "", "System %s: load %d is within %d%% of its capacity %d again", n, load, m.warningLevel, m.capacity)
			}
			s.Over = nil
		}
	}
	clear(e.loadMoved)
}

// warnOfLoad warns, once, when the load of a system has been too high for
// LoadTimeThreshold.
func (e *Engine) warnOfLoad(n SystemID) {
	s := e.st.Systems[n]
	m := e.mod.system(n)
	if s.Over == nil || s.Over.Warned || e.st.Now < s.Over.Since+m.warningTime {
		return
	}
	s.Over.Warned = true
	_, available, _ := e.burden(nil, n)
	e.log("WARNING", idLoadWarning, "", "", "System %s: load %d of capacity %d has been above LoadWarningLevel (%d%%) for %d seconds; available capacity %d",
		n, e.loadOf(n), m.capacity, m.warningLevel, (e.st.Now-s.Over.Since)/time.Second, available)
	e.systemTrigger(TriggerLoadWarning, n, custom, n, pick(available < 0, "%", "")+strconv.Itoa(available))
	e.emit(EventNotice{Kind: "load", System: n, Old: "within LoadWarningLevel", New: "above LoadWarningLevel"})
}

// systemsDue does what time brings to systems.
func (e *Engine) systemsDue() {
	for _, n := range e.systemNames() {
		if e.mod != nil {
			e.warnOfLoad(n)
		}
		e.shutdownLate(n)
	}
}

// systemWish returns when time next brings something to a system, or 0.
func (e *Engine) systemWish() time.Duration {
	if e.mod == nil {
		return 0
	}
	var next time.Duration
	systems := e.systems()
	for i, n := range e.systemNames() {
		s, at := systems[i], time.Duration(0)
		if s.Over != nil && !s.Over.Warned {
			at = s.Over.Since + e.mod.system(n).warningTime
		}
		if d := e.lateAt(n, s); d != 0 && (at == 0 || d < at) {
			at = d
		}
		if at > e.st.Now && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

// room fills in what a policy goes by.
func (e *Engine) room(g *groupModel, c *policy.Candidate) {
	c.OnlineGroups, c.Available, c.Burden = e.burden(g, c.System)
	if g.failOverPolicy == policy.BiggestAvailable {
		c.Meters = e.forecast(g, c.System)
	}
}

// CapacityStatus is what is known of a system's load.
type CapacityStatus struct {
	// Capacity, Available and Load are in the units of Capacity; Dynamic says
	// that Load is what hasys -load said.
	Capacity, Available, Load int
	Dynamic                   bool
	// Limits are the limits less what groups took, by name.
	Limits []maincf.Pair
	// Reserved are the groups that are about to start there.
	Reserved []string
	// Over is how long the load has been above LoadWarningLevel.
	Over time.Duration
}

func (e *Engine) capacityStatus(n SystemID) CapacityStatus {
	s := e.st.Systems[n]
	out := CapacityStatus{Capacity: e.mod.system(n).capacity, Load: e.loadOf(n), Dynamic: s.LoadSet}
	_, out.Available, _ = e.burden(nil, n)
	if sys := e.mod.cfg.System(n); sys != nil {
		v, _ := e.mod.cfg.SystemAttr(sys, "Limits")
		for _, p := range v.Pairs {
			out.Limits = append(out.Limits, maincf.Pair{Key: p.Key, Value: fmt.Sprint(e.limitLeft(nil, n, p.Key))})
		}
	}
	slices.SortFunc(out.Limits, func(a, b maincf.Pair) int { return strings.Compare(a.Key, b.Key) })
	for _, g := range e.groupsOn(n) {
		if e.reserved(g, n) {
			out.Reserved = append(out.Reserved, g.name)
		}
	}
	if s.Over != nil {
		out.Over = e.st.Now - s.Over.Since
	}
	return out
}
