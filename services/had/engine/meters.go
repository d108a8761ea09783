package engine

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Meter is one measurement.
type Meter struct {
	// Name is CPU (in hundredths of a core), Mem or Swap (in MiB) or IO (in
	// hundredths of a percent of the time: the share in which some task waited
	// for a disk).
	Name  string `json:"name"`
	Total int64  `json:"total"`
	Used  int64  `json:"used"`
}

// Metered is what a system measured of itself.
type Metered struct {
	System SystemID `json:"system"`
	// Elapsed is the monotonic time since the measurement before, 0 for the
	// first one.
	Elapsed time.Duration `json:"elapsed"`
	Meters  []Meter       `json:"meters"`
}

// SystemDescribed is what a had says of its machine and itself when it runs.
type SystemDescribed struct {
	System SystemID `json:"system"`
	// Info is the platform, as uname says it; Version is had's release.
	Info    string `json:"info"`
	Version string `json:"version"`
}

func (Metered) event() string         { return "meters" }
func (SystemDescribed) event() string { return "described" }

// String is the line of traces and goldens.
func (e Metered) String() string {
	s := "meters of " + e.System
	for _, m := range e.Meters {
		s += fmt.Sprintf(" %s=%d/%d", m.Name, m.Used, m.Total)
	}
	return s
}

// String is the line of traces and goldens.
func (e SystemDescribed) String() string {
	return fmt.Sprintf("described %s version=%s %q", e.System, e.Version, e.Info)
}

// meter is what is known of one thing that a system measures.
type meter struct {
	Total int64 `json:"total"`
	Used  int64 `json:"used"`
	// Free is what was free over the last cycles of the forecast.
	Free int64 `json:"free"`
	// Level is the highest threshold level reached, "" for none.
	Level string `json:"level,omitempty"`
}

func (m *meter) percent() int64 {
	if m.Total <= 0 {
		return 0
	}
	return m.Used * 100 / m.Total
}

// forecast is what will be free: what was free for long is believed, and less
// is believed at once.
func (m *meter) forecast() int64 { return min(m.Free, m.Total-m.Used) }

// The usual values of MeterControl and MeterWeight.
const (
	meterInterval = 120
	forecastCycle = 5
)

var meterWeight = map[string]int{"CPU": 10, "Mem": 5, "Swap": 1}

// MeterPolicy is what the configuration says of meters.
type MeterPolicy struct {
	// Wanted: systems are to measure themselves.
	Wanted bool
	// Interval is how often at least.
	Interval time.Duration
}

// MeterPolicy says whether and how often systems are to measure themselves:
// with Statistics = Disabled only if a group goes by it.
func (e *Engine) MeterPolicy() MeterPolicy {
	if e.mod == nil {
		return MeterPolicy{}
	}
	p := MeterPolicy{Wanted: e.mod.statistics != "Disabled", Interval: e.mod.meterInterval}
	for _, g := range e.mod.groups {
		p.Wanted = p.Wanted || g.failOverPolicy == policy.BiggestAvailable
	}
	return p
}

// described takes a system's words about its machine.
func (e *Engine) described(from SystemID, ev SystemDescribed) {
	if s := e.st.Systems[ev.System]; ev.System == from && s != nil {
		s.Info, s.Version = ev.Info, ev.Version
	}
}

// metered takes a measurement.
func (e *Engine) metered(from SystemID, ev Metered) {
	s := e.st.Systems[ev.System]
	if ev.System != from || s == nil || !s.InH || e.mod == nil {
		return
	}
	first := s.Meters == nil
	if first {
		s.Meters = map[string]*meter{}
	}
	for _, m := range ev.Meters {
		if m.Total <= 0 && m.Name != "Swap" {
			continue
		}
		m.Used = min(max(m.Used, 0), m.Total)
		known := s.Meters[m.Name]
		if known == nil {
			known = &meter{Free: m.Total - m.Used}
			s.Meters[m.Name] = known
		}
		known.Free = e.smooth(known.Free, m.Total-m.Used, ev.Elapsed)
		known.Total, known.Used = m.Total, m.Used
		e.threshold(ev.System, m.Name, known)
	}
	for _, g := range e.groupsOn(ev.System) {
		if on := e.st.Groups[g.name].On[ev.System]; !on.Starting {
			on.NotInMeters = false
		}
	}
	if first {
		// Who waited for a place may have one now.
		e.touchAll()
	}
}

// smooth lets what is free now weigh as long as it lasted, in whole numbers so
// that all engines come to the same.
func (e *Engine) smooth(free, now int64, elapsed time.Duration) int64 {
	window := int64(e.mod.meterInterval*time.Duration(e.mod.forecastCycle)) / int64(time.Millisecond)
	lasted := int64(min(max(elapsed, 0), 2*e.mod.meterInterval) / time.Millisecond)
	if window <= 0 || lasted >= window {
		return now
	}
	return free + (now-free)*lasted/window
}

// threshold tells when a meter reaches or leaves a level.
func (e *Engine) threshold(n SystemID, name string, m *meter) {
	reached := ""
	var at int64
	for _, l := range e.mod.system(n).levels[name] {
		if m.Total > 0 && m.percent() >= l.percent {
			reached, at = l.name, l.percent
			break
		}
	}
	if reached == m.Level {
		return
	}
	was := m.Level
	m.Level = reached
	if e.mod.statistics != "Enabled" {
		return
	}
	e.emit(EventNotice{Kind: "meter", System: n, Old: name + " " + orNormal(was), New: name + " " + orNormal(reached)})
	if rank(reached) > rank(was) {
		e.log(severityOf(reached), idMeterRose, "", "", "System %s: %s is %d%% in use, which is %s (%sThresholdLevel: %d)", n, name, m.percent(), reached, name, at)
		return
	}
	e.log("INFO", idMeterFell, "", "", "System %s: %s is %d%% in use, %s no more", n, name, m.percent(), was)
}

func orNormal(level string) string {
	if level == "" {
		return "Normal"
	}
	return level
}

func rank(level string) int {
	return slices.Index([]string{"", "Info", "Note", "Warning", "Critical"}, level)
}

func severityOf(level string) string {
	switch level {
	case "Critical":
		return "CRITICAL"
	case "Warning":
		return "WARNING"
	case "Note":
		return "NOTICE"
	}
	return "INFO"
}

// forecast returns what a system will have free for a group, nil if it has not
// measured itself yet.
func (e *Engine) forecast(g *groupModel, n SystemID) []policy.Meter {
	s := e.st.Systems[n]
	var out []policy.Meter
	for _, name := range slices.Sorted(maps.Keys(s.Meters)) {
		m := s.Meters[name]
		out = append(out, policy.Meter{Name: name, Weight: int64(e.weight(g, name)), Total: m.Total, Free: m.forecast() - e.unmeasured(g, n, name)})
	}
	return out
}

// weight is MeterWeight of the group, else of the cluster, else the usual one.
func (e *Engine) weight(g *groupModel, name string) int {
	weights := g.meterWeight
	if len(weights) == 0 {
		weights = e.mod.meterWeight
	}
	if len(weights) == 0 {
		return meterWeight[name]
	}
	return max(0, pairNumber(weights, name))
}

// unmeasured is what groups that started since the last measurement will take,
// by their Load.
func (e *Engine) unmeasured(g *groupModel, n SystemID, name string) int64 {
	sum := 0
	for _, other := range e.groupsOn(n) {
		if other.is(g) || !e.takesRoom(other, n) {
			continue
		}
		if on := e.st.Groups[other.name].On[n]; on.NotInMeters || !e.active(other, n) {
			sum += pairNumber(other.meterLoad, name) * pick(name == "CPU", 100, 1)
		}
	}
	return int64(sum)
}

// MeterStatus is one meter for readers; the numbers are those of Meter.
type MeterStatus struct {
	Name                  string
	Total, Used, Forecast int64
	// Level is Critical, Warning, Note, Info or "".
	Level string
}

// Percent is the share in use.
func (m MeterStatus) Percent() int64 { return (&meter{Total: m.Total, Used: m.Used}).percent() }

func (e *Engine) meterStatus(n SystemID) []MeterStatus {
	s := e.st.Systems[n]
	var out []MeterStatus
	for name, m := range s.Meters {
		out = append(out, MeterStatus{Name: name, Total: m.Total, Used: m.Used, Forecast: m.forecast(), Level: m.Level})
	}
	slices.SortFunc(out, func(a, b MeterStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}
