package server

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// replica is what this system knows at one place in the total order, taken in
// the loop and turned into answers outside it.
type replica struct {
	st       engine.Status
	cfg      *maincf.Config // nil until one is loaded; not changed while in use
	self     string
	state    string
	waiting  string
	gate     *string
	mode     string
	fresh    map[string]*hadv1.Freshness
	problems []string
	// declared are the resources of cfg by name, made when all are asked for.
	declared map[string]*maincf.Resource
	conf     engine.ConfigStatus
	links    map[string][]string // by system: tag, UP or DOWN, ...
}

// look takes the replica.
func (a *api) look(ctx context.Context) (*replica, error) {
	var r *replica
	if err := a.do(ctx, func() { r = a.loop.replica() }); err != nil {
		return nil, err
	}
	return r, nil
}

func (l *loop) replica() *replica {
	r := &replica{
		st: l.status(), cfg: l.config(), self: l.self, state: string(l.join.State()), waiting: l.join.WaitingFor(),
		conf: l.engine.ConfigStatus(),
		mode: l.mode, problems: l.disk.problems, fresh: map[string]*hadv1.Freshness{}, links: l.links,
	}
	if l.gate != nil {
		text := l.gate.GetReason()
		r.gate = &text
		if r.waiting == "" {
			r.waiting = text
		}
	}
	for _, s := range r.st.Systems {
		r.fresh[s.Name] = l.freshness(s)
	}
	return r
}

// status is the engine's, made anew only after an event: monitoring asks often,
// and a command that shows much asks for page after page. It is not changed.
func (l *loop) status() engine.Status {
	if l.statusNow == nil {
		st := l.engine.Status()
		l.statusNow = &st
	}
	return *l.statusNow
}

// freshness says how old what is known of a system is.
func (l *loop) freshness(s engine.SystemStatus) *hadv1.Freshness {
	if s.Name == l.self && l.view != nil {
		return &hadv1.Freshness{}
	}
	now := boottime()
	f := &hadv1.Freshness{AgeMs: -1}
	if at, heard := l.heard[s.Name]; heard {
		f.AgeMs = now.Sub(at).Milliseconds()
	}
	switch {
	case !s.InView && s.DaemonDown:
		f.Stale, f.Why = true, "had is not running on "+s.Name+" while the machine is up"
	case !s.InView:
		f.Stale, f.Why = true, s.Name+" is not in the membership"
	case l.gate != nil && slices.ContainsFunc(l.gate.GetWaitingFor(), memberNamed(s.Name)):
		f.Stale, f.Why = true, s.Name+" is gone; the membership is held until there is evidence"
	case now >= l.lease && !l.cfg.OneNode:
		f.Stale, f.Why = true, "the local gab has not renewed the lease"
	}
	return f
}

// systems, groups and so on make answers; names are sorted.
func (r *replica) systems(brief bool) []*hadv1.System {
	out := make([]*hadv1.System, 0, len(r.st.Systems))
	for _, s := range r.st.Systems {
		p := &hadv1.System{
			Name: s.Name, NodeId: int32(s.Node), State: string(s.State), Frozen: s.Frozen || s.TFrozen,
			DaemonDown: s.DaemonDown, Jeopardy: s.Jeopardy, Freshness: r.fresh[s.Name], WaitingFor: s.WaitingFor,
		}
		if s.Name == r.self {
			// What this had knows of itself is newer than what was ordered.
			p.WaitingFor = orElse(r.waiting, s.WaitingFor)
			if s.State == engine.SystemUnknown || s.State == "" {
				p.State = r.state
			}
		}
		switch {
		case !brief:
			p.Attributes = r.systemAttributes(s)
		case s.Frozen:
			p.Attributes = frozenForGood()
		}
		out = append(out, p)
	}
	if !slices.ContainsFunc(out, func(s *hadv1.System) bool { return s.GetName() == r.self }) {
		out = append(out, &hadv1.System{Name: r.self, NodeId: -1, State: r.state, WaitingFor: r.waiting, Freshness: &hadv1.Freshness{},
			Attributes: []*hadv1.Attribute{{Name: "SysName", Value: r.self}, {Name: "SysState", Value: r.state}}})
		slices.SortFunc(out, func(a, b *hadv1.System) int { return strings.Compare(a.GetName(), b.GetName()) })
	}
	return out
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (r *replica) groups(brief bool) []*hadv1.Group {
	out := make([]*hadv1.Group, 0, len(r.st.Groups))
	for _, g := range r.st.Groups {
		out = append(out, r.group(g, brief))
	}
	return out
}

func (r *replica) group(g engine.GroupStatus, brief bool) *hadv1.Group {
	p := &hadv1.Group{Name: g.Name, Kind: [...]string{"failover", "parallel", "hybrid"}[min(max(g.Parallel, 0), 2)],
		Frozen: g.Frozen || g.TFrozen, Resources: slices.Sorted(slices.Values(g.Resources)), Hindrances: slices.Concat(g.Hindrances, g.AtRest)}
	for _, on := range g.Systems {
		p.Systems = append(p.Systems, &hadv1.GroupOnSystem{System: on.System, State: on.State, Probed: on.Probed,
			Autodisabled: on.AutoDisabled, Freshness: r.fresh[on.System]})
	}
	switch {
	case !brief:
		p.Attributes = r.groupAttributes(g)
	case g.Frozen:
		p.Attributes = frozenForGood()
	}
	return p
}

// frozenForGood is what a brief answer says of a persistent freeze, which ends
// by another command than a temporary one.
func frozenForGood() []*hadv1.Attribute { return []*hadv1.Attribute{{Name: "Frozen", Value: "1"}} }

func (r *replica) resources(brief bool) []*hadv1.Resource {
	out := make([]*hadv1.Resource, 0, len(r.st.Resources))
	for _, res := range r.st.Resources {
		out = append(out, r.resource(res))
	}
	if !brief {
		r.describe(out)
	}
	return out
}

// describe puts the attributes into resources. There may be tens of thousands
// with dozens each: what shows a part asks for that part only.
func (r *replica) describe(resources []*hadv1.Resource) {
	if r.declared == nil && len(resources) > 1 && r.cfg != nil {
		r.declared = map[string]*maincf.Resource{}
		for _, g := range r.cfg.Groups {
			for _, res := range g.Resources {
				r.declared[res.Name] = res
			}
		}
	}
	for _, p := range resources {
		at, _ := slices.BinarySearchFunc(r.st.Resources, p.GetName(), func(s engine.ResourceStatus, name string) int { return strings.Compare(s.Name, name) })
		p.Attributes = r.resourceAttributes(r.st.Resources[at])
	}
}

func (r *replica) declaredResource(name string) *maincf.Resource {
	if r.declared != nil {
		return r.declared[name]
	}
	return r.cfg.Resource(name)
}

func (r *replica) resource(res engine.ResourceStatus) *hadv1.Resource {
	p := &hadv1.Resource{Name: res.Name, Group: res.Group, Type: res.Type, Enabled: res.Enabled, Critical: res.Critical}
	for _, on := range res.Systems {
		p.Systems = append(p.Systems, &hadv1.ResourceOnSystem{System: on.System, State: on.State, Istate: on.IState,
			IstateCode: on.IStateCode, Probed: on.Probed, Confidence: int32(on.Confidence), Reason: on.Reason, Freshness: r.fresh[on.System],
			Flags: on.Flags, Info: infoProto(on.Info)})
	}
	return p
}

func (r *replica) types() []*hadv1.Type {
	var out []*hadv1.Type
	if r.cfg == nil {
		return nil
	}
	for _, t := range r.cfg.Types {
		p := &hadv1.Type{Name: t.Name, Operations: r.cfg.Operations(t.Name), Attributes: r.typeAttributes(t)}
		for _, res := range r.st.Resources {
			if res.Type == t.Name {
				p.Resources = append(p.Resources, res.Name)
			}
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *hadv1.Type) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

func (r *replica) cluster() *hadv1.Cluster {
	state := "INIT"
	for _, s := range r.st.Systems {
		if s.State == engine.SystemRunning && s.InView {
			state = "RUNNING"
		}
	}
	name := r.st.Cluster
	return &hadv1.Cluster{Name: name, State: state, Attributes: r.clusterAttributes(name, state)}
}

// rows collects attributes: global ones first, each part by name, then system.
type rows struct {
	fresh map[string]*hadv1.Freshness
	list  []*hadv1.Attribute
	have  map[string]bool
}

func (r *replica) rows() *rows { return &rows{fresh: r.fresh, have: map[string]bool{}} }

// set puts a row in; the first for a name and system stays.
func (t *rows) set(name, system, value string) {
	if key := name + "@" + system; !t.have[key] {
		t.have[key], t.have[name] = true, true
		t.list = append(t.list, &hadv1.Attribute{Name: name, System: system, Value: value, Freshness: t.fresh[system]})
	}
}

func (t *rows) flag(name, system string, on bool) { t.set(name, system, bit(on)) }

func (t *rows) number(name, system string, n int) { t.set(name, system, strconv.Itoa(n)) }

// configured puts in the values set for an object and the defaults of the
// rest; runtime values that are there already stay.
func (t *rows) configured(decls []maincf.AttrDecl, attrs maincf.Attrs) {
	for _, d := range decls {
		if t.have[d.Name] {
			continue
		}
		t.one(d.Name, attrs, d.Default)
	}
}

func (t *rows) one(name string, attrs maincf.Attrs, fallback maincf.Value) {
	set := false
	for _, at := range attrs {
		if at.Name == name {
			set = true
			t.set(name, at.System, valueText(at.Value))
		}
	}
	if !set {
		t.set(name, "", valueText(fallback))
	}
}

func (t *rows) sorted() []*hadv1.Attribute {
	slices.SortStableFunc(t.list, func(a, b *hadv1.Attribute) int {
		if (a.GetSystem() == "") != (b.GetSystem() == "") {
			if a.GetSystem() == "" {
				return -1
			}
			return 1
		}
		if c := strings.Compare(a.GetName(), b.GetName()); c != 0 {
			return c
		}
		return strings.Compare(a.GetSystem(), b.GetSystem())
	})
	return t.list
}

func bit(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func valueText(v maincf.Value) string {
	switch v.Dim {
	case maincf.DimVector, maincf.DimKeylist:
		return strings.Join(v.List, "\t")
	case maincf.DimAssoc:
		parts := make([]string, 0, 2*len(v.Pairs))
		for _, p := range v.Pairs {
			parts = append(parts, p.Key, p.Value)
		}
		return strings.Join(parts, "\t")
	}
	return v.Text
}

func (r *replica) groupAttributes(g engine.GroupStatus) []*hadv1.Attribute {
	t := r.rows()
	active := 0
	for _, on := range g.Systems {
		t.set("State", on.System, "|"+on.State+"|")
		t.flag("Probed", on.System, on.Probed)
		t.flag("AutoDisabled", on.System, on.AutoDisabled)
		t.number("ActiveCount", on.System, on.ActiveCount)
		t.number("NumRetries", on.System, on.NumRetries)
		t.number("PathCount", on.System, on.PathCount)
		t.number("UnSteadyCount", on.System, on.UnSteadyCount)
		t.number("ProbesPending", on.System, on.ProbesPending)
		t.flag("PreOnlining", on.System, on.PreOnlining)
		if g.Parallel == 2 {
			t.flag("IntentOnline", on.System, on.IntentOnline)
		}
		if on.ActiveCount > 0 {
			active++
		}
	}
	t.set("FromQ", "", strings.Join(g.FromQ, ","))
	t.set("ToQ", "", strings.Join(g.ToQ, ","))
	t.flag("Failover", "", g.Failover)
	t.flag("Restart", "", g.Restart)
	t.flag("Evacuating", "", g.Evacuating)
	t.number("TargetCount", "", g.TargetCount)
	t.number("AutoClearCount", "", g.AutoClearCount)
	t.number("CurrentCount", "", active)
	t.flag("TFrozen", "", g.TFrozen)
	t.flag("Frozen", "", g.Frozen)
	if g.Parallel != 2 {
		t.flag("IntentOnline", "", g.IntentOnline)
	}
	t.number("Parallel", "", g.Parallel)
	declared := r.cfg.Group(g.Name)
	enabled, _ := r.cfg.GroupAttr(declared, "Enabled", "")
	for _, on := range g.Systems {
		if v, ok := r.cfg.GroupAttr(declared, "Enabled", on.System); ok {
			enabled = v
		}
		t.set("Enabled", on.System, enabled.Text)
	}
	t.configured(maincf.GroupAttrs(), declared.Attrs)
	return t.sorted()
}

func (r *replica) resourceAttributes(res engine.ResourceStatus) []*hadv1.Attribute {
	t := r.rows()
	t.set("Group", "", res.Group)
	t.set("Type", "", res.Type)
	t.set("Name", "", res.Name)
	declared := r.declaredResource(res.Name)
	for _, on := range res.Systems {
		t.set("State", on.System, on.State)
		t.set("IState", on.System, on.IState)
		t.set("Flags", on.System, on.Flags)
		t.flag("Probed", on.System, on.Probed)
		t.number("ConfidenceLevel", on.System, on.Confidence)
		t.set("ArgListValues", on.System, r.argListValues(declared, on))
		t.set("MonitorMethod", on.System, on.MonitorMethod)
		t.flag("MonitorOnly", on.System, on.MonitorOnly)
		t.set("MonitorTimeStats", on.System, "Avg\t"+strconv.Itoa(on.MonitorMillis))
		t.set("ResourceInfo", on.System, infoText(on.Info))
		t.flag("Start", on.System, on.Start)
		t.flag("Path", on.System, on.OnPath)
		t.flag("Signaled", on.System, on.Signaled)
	}
	t.set("LastOnline", "", res.LastOnline)
	t.configured(maincf.ResourceAttrs(), declared.Attrs)
	if typ := r.cfg.Type(res.Type); typ != nil {
		for _, d := range typ.Attrs {
			if !d.Static && !t.have[d.Name] {
				t.one(d.Name, declared.Attrs, d.Default)
			}
		}
	}
	for _, at := range declared.Attrs { // overridden static attributes
		t.set(at.Name, at.System, valueText(at.Value))
	}
	return t.sorted()
}

func infoProto(info resource.Info) *hadv1.ResourceInfo {
	out := &hadv1.ResourceInfo{State: string(info.State), Msg: info.Msg, Ts: info.Time, Truncated: info.Truncated}
	for _, f := range info.Facts {
		out.Facts = append(out.Facts, &hadv1.ResourceFact{Name: f.Name, Value: f.Value})
	}
	return out
}

// infoText is the association of VCS: State, Msg and TS, then the facts.
func infoText(info resource.Info) string {
	parts := []string{"State", string(info.State), "Msg", info.Msg, "TS", info.Time}
	for _, f := range info.Facts {
		parts = append(parts, f.Name, f.Value)
	}
	return strings.Join(parts, "\t")
}

// argListValues are the values as the agent on a system gets them.
func (r *replica) argListValues(declared *maincf.Resource, on engine.ResourceOnSystemStatus) string {
	list := r.cfg.ArgList(declared, on.System)
	for i := range list {
		if list[i].Name == "MonitorOnly" {
			list[i].Value = maincf.StrValue(bit(on.MonitorOnly))
		}
	}
	return argListValues(list)
}

// argListValues is the tuple stream of agents from version 50 on.
func argListValues(list []maincf.NamedValue) string {
	var parts []string
	for _, nv := range list {
		values := []string{nv.Value.Text}
		if nv.Value.Dim != maincf.DimScalar {
			values = nil
			if text := valueText(nv.Value); text != "" {
				values = strings.Split(text, "\t")
			}
		}
		parts = append(parts, nv.Name, strconv.Itoa(len(values)))
		for _, v := range values {
			if v == "" {
				v = `""`
			}
			parts = append(parts, v)
		}
	}
	return strings.Join(parts, "\t")
}

func (r *replica) typeAttributes(typ *maincf.Type) []*hadv1.Attribute {
	t := r.rows()
	var failedOn []string
	for _, a := range r.st.Agents {
		if a.Type == typ.Name && a.State == engine.AgentGivenUp {
			failedOn = append(failedOn, a.System)
		}
	}
	t.set("AgentFailedOn", "", strings.Join(failedOn, "\t"))
	for _, d := range maincf.StaticAttrs() {
		v, _ := typ.Static(d.Name)
		t.set(d.Name, "", valueText(v))
	}
	for _, d := range typ.Attrs {
		if d.Static {
			t.set(d.Name, "", valueText(d.Default))
		}
	}
	return t.sorted()
}

func (r *replica) clusterAttributes(name, state string) []*hadv1.Attribute {
	t := r.rows()
	t.set("ClusterName", "", name)
	t.set("ClusState", "", state)
	t.flag("ReadOnly", "", !r.conf.Writable)
	t.set("DumpingMembership", "", strconv.FormatUint(r.conf.Mask, 10))
	t.set("EngineVersion", "", Version)
	t.set("ClusterTime", "", fmt.Sprintf("%d", time.Now().Unix()))
	var attrs maincf.Attrs
	if r.cfg != nil && r.cfg.Cluster != nil {
		attrs = r.cfg.Cluster.Attrs
	}
	if _, set := attrs.Global("UseFence"); !set && r.mode != "" {
		fence := "SCSI3"
		if r.mode == "disabled" {
			fence = "NONE"
		}
		t.set("UseFence", "", fence)
	}
	t.configured(maincf.ClusterAttrs(), attrs)
	return t.sorted()
}

// inputsOf is what a verdict was given on, for programs.
func inputsOf(asked *policy.Asked) string {
	if asked == nil {
		return ""
	}
	text, err := json.Marshal(asked)
	if err != nil {
		panic("inputs of a verdict: " + err.Error()) // strings and numbers
	}
	return string(text)
}

func decisionProto(x engine.Explanation) *hadv1.Decision {
	d := &hadv1.Decision{Position: positionProto(x.Pos), EngineTimeMs: x.Time.Milliseconds(), Group: x.Group, Subject: x.Subject,
		Verdict: x.Decision, Evidence: string(x.Evidence), WayOut: x.WayOut, Repeatable: x.Repeatable(),
		Consequence: string(x.Do), Target: x.Target, Inputs: string(x.On)}
	if in, err := x.On.Inputs(); err == nil && in != nil {
		d.Kind = string(in.Kind())
		for _, f := range decision.Facts(in) {
			d.Facts = append(d.Facts, &hadv1.Fact{Name: f.Name, Value: f.Value})
		}
	}
	again, _ := x.Again()
	for i, c := range x.Candidates {
		p := &hadv1.Candidate{System: c.System, Chosen: c.Chosen, Reason: c.Reason}
		if i < len(again.Verdicts) {
			p.Inputs = inputsOf(again.Verdicts[i].Asked)
		}
		d.Candidates = append(d.Candidates, p)
	}
	return d
}
