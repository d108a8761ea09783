package server

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// loadResources tells the scheduler and the host what this system has to look
// after, and again after each change of the configuration: they hear of what is
// different only.
func (l *loop) loadResources() {
	config := l.config()
	if config == nil {
		return
	}
	same := unchangedGroups(l.loaded, config)
	l.loaded = config
	l.loadTypes(config)
	former, intended := l.told, map[string]bool{}
	if len(former) == 0 { // what is added later was not online before
		intended = l.intended()
	}
	l.told, l.groupOf = map[string]knownResource{}, map[string]string{}
	for _, g := range config.Groups {
		if !g.RunsOn(l.self) {
			continue
		}
		for _, r := range g.Resources {
			l.groupOf[r.Name] = g.Name
			if was, there := former[r.Name]; there && same[g] {
				l.told[r.Name] = was
				delete(former, r.Name)
				continue
			}
			spec := specOf(config, g, r, l.self)
			spec.Seen = resource.EffectID(l.engine.Born(r.Name, l.self))
			now := knownResource{spec: spec, attrs: l.attributes(r.Name).Attrs}
			was, there := former[r.Name]
			if there && was.spec.Type != spec.Type { // another resource of the same name
				l.stepSchedule(schedule.RemoveResource{Resource: r.Name})
				there = false
			}
			l.told[r.Name] = now
			delete(former, r.Name)
			changed := there && !reflect.DeepEqual(was.attrs, now.attrs)
			if there && was.spec == spec && !changed {
				continue
			}
			if changed && l.before[r.Name] == nil {
				l.before[r.Name] = was.attrs
			}
			spec.IntentOnline = intended[r.Name]
			l.stepSchedule(schedule.SetResource{Spec: spec, NewValues: changed})
		}
	}
	for _, name := range sortedKeys(former) {
		l.stepSchedule(schedule.RemoveResource{Resource: name})
		delete(l.before, name)
	}
	l.startAgents()
	l.endUnused()
}

// unchangedGroups are the groups that mean in the one configuration what they
// mean in the other: a change keeps what it does not touch.
func unchangedGroups(before, now *maincf.Config) map[*maincf.Group]bool {
	if before == nil || !slices.Equal(before.Types, now.Types) {
		return nil
	}
	same := make(map[*maincf.Group]bool, len(before.Groups))
	for _, g := range before.Groups {
		same[g] = true
	}
	return same
}

// loadTypes says which agents belong here. What changed about a type holds
// from the next start of its agent on.
func (l *loop) loadTypes(config *maincf.Config) {
	belongs := map[string]bool{}
	for _, name := range config.TypesOn(l.self) {
		belongs[name] = true
		decl, path := declOf(config, name), l.agentPath(config, name)
		t := l.types[name]
		if t == nil {
			l.types[name] = &agentType{decl: decl, path: path}
			continue
		}
		t.unused = false
		if t.path == path && reflect.DeepEqual(t.decl, decl) {
			continue
		}
		t.decl, t.path = decl, path
		if t.started && !t.stopped && !t.ending {
			if err := l.agents.Start(decl, path); err != nil {
				l.engineLine("ERROR", "V-16-1-10002", err.Error())
			}
		}
	}
	for _, name := range sortedKeys(l.types) {
		if !belongs[name] {
			l.types[name].unused = true
		}
	}
}

// endUnused stops the agents of types that have no resource here any more,
// once the last of them is closed.
func (l *loop) endUnused() {
	var closing map[string]bool
	for _, name := range sortedKeys(l.types) {
		t := l.types[name]
		if !t.unused || t.ending || t.inFlight > 0 {
			continue
		}
		if closing == nil {
			closing = map[string]bool{}
			for _, spec := range l.sched.Specs() {
				closing[spec.Type] = true
			}
		}
		switch {
		case closing[name]:
		case t.started:
			l.stopAgent(name, t)
		default:
			delete(l.types, name)
		}
	}
}

// knownResource is what the scheduler and the agent were told of a resource.
type knownResource struct {
	spec  schedule.Spec
	attrs map[string]host.Value
}

// intended are the resources whose group should be online and that were online
// on this system when last heard of: after a restart of had the last applied
// intent still holds (R6).
func (l *loop) intended() map[string]bool {
	st := l.engine.Status()
	groups := map[string]bool{}
	for _, g := range st.Groups {
		for _, on := range g.Systems {
			if on.System == l.self {
				groups[g.Name] = on.IntentOnline
			}
		}
	}
	out := map[string]bool{}
	for _, r := range st.Resources {
		for _, on := range r.Systems {
			if on.System == l.self && groups[r.Group] && strings.HasPrefix(on.State, "ONLINE") {
				out[r.Name] = true
			}
		}
	}
	return out
}

func specOf(c *maincf.Config, g *maincf.Group, r *maincf.Resource, system string) schedule.Spec {
	number := func(name string) int { v, _ := c.StaticAttr(r, name, system); return v.Int() }
	enabled, _ := c.ResourceAttr(r, "Enabled", system)
	parallel, _ := c.GroupAttr(g, "Parallel", "")
	manage, _ := c.GroupAttr(g, "ManageFaults", "")
	intentional, _ := c.StaticAttr(r, "IntentionalOffline", system)
	spec := schedule.Spec{
		Resource: r.Name, Type: r.Type, Enabled: enabled.Bool(), Protected: parallel.Int() != 1,
		ManageFaultsNone: manage.Text == "NONE",
		Limits: schedule.Limits{
			RestartLimit: number("RestartLimit"), OnlineRetryLimit: number("OnlineRetryLimit"),
			OnlineWaitLimit: number("OnlineWaitLimit"), OfflineWaitLimit: number("OfflineWaitLimit"),
			CleanRetryLimit: number("CleanRetryLimit"), ToleranceLimit: number("ToleranceLimit"),
			FaultOnMonitorTimeouts: number("FaultOnMonitorTimeouts"), ConfInterval: number("ConfInterval"),
			MonitorInterval: number("MonitorInterval"), OfflineMonitorInterval: number("OfflineMonitorInterval"),
			MonitorTimeout: number("MonitorTimeout"), OnlineTimeout: number("OnlineTimeout"),
			OfflineTimeout: number("OfflineTimeout"), CleanTimeout: number("CleanTimeout"),
			OpenTimeout: number("OpenTimeout"), CloseTimeout: number("CloseTimeout"),
			NumThreads: number("NumThreads"), IntentionalOffline: intentional.Bool(),
			AttrChangedTimeout: number("AttrChangedTimeout"), ActionTimeout: number("ActionTimeout"), InfoTimeout: number("InfoTimeout"),
			InfoInterval: number("InfoInterval"), LevelTwoMonitorFreq: number("LevelTwoMonitorFreq"),
			AlertOnMonitorTimeouts: number("AlertOnMonitorTimeouts"), StatsFrequency: statsFrequency(c, r, system),
		},
	}
	switch c.Operations(r.Type) {
	case maincf.OperationsNone:
		spec.Operations = schedule.None
	case maincf.OperationsOnOnly:
		spec.Operations = schedule.OnOnly
	}
	return spec
}

// statsFrequency is how many monitors make one average; 0 without ComputeStats.
func statsFrequency(c *maincf.Config, r *maincf.Resource, system string) int {
	if compute, _ := c.ResourceAttr(r, "ComputeStats", system); !compute.Bool() {
		return 0
	}
	param, _ := c.StaticAttr(r, "MonitorStatsParam", system)
	text, _ := param.Lookup("Frequency")
	return maincf.StrValue(text).Int()
}

func declOf(c *maincf.Config, name string) host.TypeDecl {
	decl := host.TypeDecl{Name: name, Operations: c.Operations(name)}
	threads, _ := c.TypeAttr(name, "NumThreads")
	decl.NumThreads = threads.Int()
	start, _ := c.TypeAttr(name, "AgentStartTimeout")
	reply, _ := c.TypeAttr(name, "AgentReplyTimeout")
	decl.StartTimeout, decl.ReplyTimeout = time.Duration(start.Int())*time.Second, time.Duration(reply.Int())*time.Second
	for _, a := range c.Type(name).Attrs {
		if !a.Static {
			decl.Attrs = append(decl.Attrs, host.AttrDecl{Name: a.Name, Kind: a.Kind.String(), Dim: a.Dim.String()})
		}
	}
	return decl
}

// attributes are a resource's values as they hold here.
func (l *loop) attributes(name string) host.Resource {
	out := host.Resource{Name: name, Attrs: map[string]host.Value{}}
	config := l.config()
	if config == nil {
		return out
	}
	r := config.Resource(name)
	if r == nil {
		return out
	}
	if t := config.Type(r.Type); t != nil {
		for _, a := range t.Attrs {
			if !a.Static {
				if v, ok := config.ResourceAttr(r, a.Name, l.self); ok {
					out.Attrs[a.Name] = hostValue(v)
				}
			}
		}
	}
	for _, nv := range config.ArgList(r, l.self) {
		out.Attrs[nv.Name] = hostValue(nv.Value)
	}
	if _, wanted := out.Attrs["MonitorOnly"]; wanted {
		out.Attrs["MonitorOnly"] = host.Scalar(bit(l.sched.MonitorOnly(name)))
	}
	return out
}

func hostValue(v maincf.Value) host.Value {
	switch v.Dim {
	case maincf.DimVector, maincf.DimKeylist:
		return host.List(slices.Clone(v.List)...)
	case maincf.DimAssoc:
		pairs := make(map[string]string, len(v.Pairs))
		for _, p := range v.Pairs {
			pairs[p.Key] = p.Value
		}
		return host.Assoc(pairs)
	}
	return host.Scalar(v.Text)
}
