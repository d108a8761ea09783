package engine

import (
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// afterFault follows a group that is offline because of a resource's fault:
// tried again here (OnlineRetryLimit), or owed to another system.
func (e *Engine) afterFault(g *groupModel, n SystemID) {
	c := e.course(g)
	persistent := e.on(g, n).ByPersistent
	e.gone(g, n, "faulted")
	if e.retryHere(g, n) {
		return
	}
	e.on(g, n).Retries = 0
	c.Due = &due{From: n, Why: "group faulted on " + n, ByResource: true, Persistent: persistent}
	c.Stuck = ""
	e.parentFault(g, n)
}

func (e *Engine) retryHere(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	in := decision.Retry{Group: g.name, System: n, Limit: g.retryLimit, Interval: g.retryInterval, Tries: on.Retries,
		Persistent: on.ByPersistent, State: string(e.st.Systems[n].State)}
	if on.Retries > 0 {
		in.Since = e.st.Now - on.RetriedAt
	}
	on.Retries = in.Counted()
	if in.Decide().Do != decision.DoLook {
		return false
	}
	e.clearFaults(g, n, func(*resourceModel) bool { return true })
	start := e.startFacts(g, n, false, true)
	in.Start = &start
	o := in.Decide()
	if o.Do != decision.DoStart {
		e.told(g.name, in, o)
		return false
	}
	on.Retries, on.RetriedAt = in.Counted()+1, e.st.Now
	e.log("NOTICE", 10235, "", g.name, "Restart is set for group %s on system %s", g.name, n)
	e.told(g.name, in, o)
	e.startFor(g, n, whyFault, n)
	return true
}

// afterSwitch brings a switched group online on its target.
func (e *Engine) afterSwitch(g *groupModel, n SystemID) {
	c := e.course(g)
	m := c.Move
	c.Move = nil
	if m == nil {
		return
	}
	c.Due = &due{From: n, Why: m.Why, Prefer: m.To, NoPre: m.NoPre}
	c.Stuck = ""
}

// progress starts what a group is owed, or starts by itself.
func (e *Engine) progress(g *groupModel) bool {
	if e.autoClear(g) {
		return true
	}
	if e.course(g).Due != nil {
		return e.pay(g)
	}
	return e.settleOwed(g) || e.autostart(g)
}

// pay starts a group that lost its system, where and when that is allowed, or
// says what it waits for.
func (e *Engine) pay(g *groupModel) bool {
	c := e.course(g)
	d := c.Due
	in := decision.Failover{Group: g.name, From: d.From, Why: d.Why, Prefer: d.Prefer, ByGroup: d.ByGroup,
		AutoFailOver: g.autoFailOver, Freeze: e.freezeOfGroup(g), Places: e.placesOf(g)}
	o := in.Decide()
	if o.Do == decision.DoLook {
		e.lookAround(g, &in)
		o = in.Decide()
	}
	switch o.Do {
	case decision.DoAdopt:
		c.Due = nil
		return true
	case decision.DoNothing:
		return false
	case decision.DoForgo:
		e.log("NOTICE", 90215, "", g.name, "Group %s is not failed over: AutoFailOver is 0", g.name)
		e.told(g.name, in, o)
		c.Due = nil
		return true
	case decision.DoStart:
		e.told(g.name, in, o)
		e.log("NOTICE", 10465, "", g.name, "Bringing group %s online on system %s: %s", g.name, o.Target, o.Subject)
		e.start(g, o.Target)
		return true
	case decision.DoNone:
		if !d.Told {
			d.Told = true
			e.log("WARNING", 10464, "", g.name, "Group %s faulted and cannot be failed over anywhere", g.name)
			e.noFailover(g, d.From)
		}
	}
	return e.stuck(g, in, o)
}

// lookAround gathers the facts about the systems that a group which is offline
// everywhere may go to.
func (e *Engine) lookAround(g *groupModel, in *decision.Failover) {
	in.Looked, in.Policy, in.Evidence = true, g.failOverPolicy, e.evidenceFor(in.From)
	if s := e.st.Systems[in.Prefer]; s != nil {
		in.PreferRuns = s.State == SystemRunning
	}
	in.Candidates = e.candidatesFrom(g, in.From)
	if o := in.Decide(); o.Do == decision.DoNone || o.Do == decision.DoWait {
		in.Advice = e.advice(g, o.Do, in.Candidates)
	}
}

// advice is what leads out if no system is able to take a group.
func (e *Engine) advice(g *groupModel, do decision.Do, candidates []policy.Candidate) string {
	if do == decision.DoNone {
		return e.noTargetHint(g)
	}
	_, out := e.unmet(g, decision.FirstUnmet(candidates))
	return out
}

// candidatesFrom are the candidates for a group that leaves a system: those
// of other zones come last (engine.md 4.6).
func (e *Engine) candidatesFrom(g *groupModel, from SystemID) []policy.Candidate {
	out := e.candidates(g, g.systems())
	for i := range out {
		out[i].Foreign = !g.sameZone(out[i].System, from)
	}
	return append(out, e.otherZones(g)...)
}

// stuck explains, once, why something owed does not happen. It never counts
// as progress.
func (e *Engine) stuck(g *groupModel, in decision.Inputs, o decision.Outcome) bool {
	c, x := e.course(g), explanationOf(g.name, o)
	if key := x.String(); key != c.Stuck {
		c.Stuck = key
		e.keep(x, in)
	}
	return false
}

func (e *Engine) evidenceFor(n SystemID) Evidence {
	if s := e.st.Systems[n]; s != nil && s.Lost != nil {
		return s.Lost.Evidence
	}
	return ""
}

func (e *Engine) onlineHint(g *groupModel) string { return "hagrp -online " + g.name + " -any" }

func (e *Engine) noTargetHint(g *groupModel) string {
	for _, p := range g.list {
		if why, _ := e.unmet(g, p.System); why != "" {
			continue
		}
		if e.st.Systems[p.System].State == SystemRunning && len(e.faults(g, p.System)) > 0 {
			return e.faultHint(g, e.faults(g, p.System), p.System) + ", then " + e.onlineHint(g)
		}
	}
	for _, p := range g.list {
		n := p.System
		switch lacking := e.lacking(g, n); {
		case e.st.Systems[n].State != SystemRunning:
		case g.disabled[n]:
			return "hagrp -enable " + g.name + " -sys " + n
		case e.closed(n):
			return e.thawSystem(n)
		case len(lacking) > 0:
			return "take a group offline that holds " + strings.Join(lacking, ", ") + " of the Limits of " + n + ", or raise them there"
		}
	}
	return "hastart on a system of its " + pick(g.zone == "", "SystemList", "zone: "+strings.Join(g.systems(), ", "))
}

func (g *groupModel) systems() []SystemID {
	out := make([]SystemID, 0, len(g.list))
	for _, p := range g.list {
		out = append(out, p.System)
	}
	return out
}

// candidates gathers the facts about systems that a group might go to.
func (e *Engine) candidates(g *groupModel, systems []SystemID) []policy.Candidate {
	out := make([]policy.Candidate, 0, len(systems))
	for order, n := range systems {
		s := e.st.Systems[n]
		why, _ := e.autoDisabled(g, n)
		c := policy.Candidate{
			System: n, Order: order, State: string(s.State), Frozen: e.closed(n) && !g.clusterService(),
			Disabled: g.disabled[n], AutoDisabled: why, Active: e.active(g, n),
			Unprobed: e.unprobed(g, n), Faulted: e.faults(g, n), Lacking: e.lacking(g, n),
		}
		c.Unmet, _ = e.unmet(g, n)
		for _, p := range g.list {
			if p.System == n {
				c.Priority = p.Priority
			}
		}
		if g.failOverPolicy != policy.Priority || g.autoStartPolicy == policy.Load {
			e.room(g, &c)
		}
		out = append(out, c)
	}
	return out
}

// autostart starts a group when had has come up and probed (engine.md 4.7).
func (e *Engine) autostart(g *groupModel) bool {
	if !e.anyOn(g, func(on *groupOn) bool { return on.Fresh }) {
		return false // Nobody came up, so there is no question.
	}
	if !g.failover() {
		return e.autostartFacts(g).Permits() && e.autostartParallel(g)
	}
	in, o := e.askAutostart(g)
	switch o.Do {
	case decision.DoNothing:
		return false
	case decision.DoAdopt:
		return e.found(g, e.activeAnywhere(g))
	case decision.DoStart:
		e.told(g.name, in, o)
		e.log("NOTICE", 10442, "", g.name, "Initiating auto-start online of group %s on system %s", g.name, o.Target)
		e.start(g, o.Target)
		return true
	}
	return e.stuck(g, in, o)
}

// autostartFacts are what decides whether a group starts by itself at all.
func (e *Engine) autostartFacts(g *groupModel) decision.Autostart {
	c := e.course(g)
	return decision.Autostart{Group: g.name, AutoStart: g.autoStart, ListEmpty: len(g.autoList) == 0, ClusterService: g.clusterService(),
		UserOffline: c.UserOffline, Moving: c.Move != nil, Freeze: e.freezeOfGroup(g)}
}

// askAutostart asks what autostart does with a failover group, and changes
// nothing.
func (e *Engine) askAutostart(g *groupModel) (decision.Autostart, decision.Outcome) {
	in := e.autostartFacts(g)
	if e.unlooked(g) {
		return in, decision.Outcome{} // There is no question before everybody has looked.
	}
	in.Places = e.placesOf(g)
	o := in.Decide()
	if o.Do != decision.DoLook {
		return in, o
	}
	order, how := g.autoList, g.autoStartPolicy
	if g.clusterService() {
		order, how = e.byRunning(g), policy.Running
	}
	in.Looked, in.AutoStartPolicy, in.Policy, in.Candidates = true, g.autoStartPolicy, how, e.candidates(g, order)
	if o = in.Decide(); o.Do != decision.DoStart {
		in.Advice = e.advice(g, o.Do, in.Candidates)
		o = in.Decide()
	}
	return in, o
}

// found handles a group that is running already when it would start by itself.
func (e *Engine) found(g *groupModel, at []string) bool {
	gr := e.st.Groups[g.name]
	e.course(g).Intent = true
	for _, p := range g.list {
		gr.On[p.System].Fresh = false
	}
	n := at[0]
	in := decision.Found{Group: g.name, At: at, Whole: e.whole(g, n), AutoStartIfPartial: g.autoStartIfPartial, Faults: e.faults(g, n)}
	o := in.Decide()
	if o.Do == decision.DoLook {
		start := e.startFacts(g, n, true, true)
		in.Start = &start
		o = in.Decide()
	}
	e.told(g.name, in, o)
	switch o.Do {
	case decision.DoOwe:
		gr.On[n].Owed = true
	case decision.DoStart:
		e.start(g, n)
	}
	return true
}

func (e *Engine) autostartParallel(g *groupModel) bool {
	if !e.anyOn(g, func(on *groupOn) bool { return on.Fresh }) {
		return false
	}
	gr := e.st.Groups[g.name]
	moved := false
	for _, n := range g.autoList {
		on := gr.On[n]
		if on == nil || !on.Fresh {
			continue
		}
		in := decision.Instance{Usable: e.usable(n), Whole: e.whole(g, n), Start: e.startFacts(g, n, true, true)}
		o := in.Decide()
		switch o.Do {
		case decision.DoNothing:
			continue
		case decision.DoWait:
			e.waits(g, n, in, o)
			continue
		}
		on.Fresh, moved = false, true
		e.told(g.name, in, o)
		switch o.Do {
		case decision.DoAdopt:
			e.course(g).Intent = true
		case decision.DoStart:
			e.start(g, n)
		}
	}
	return moved
}

func (g *groupModel) needs(key string) int {
	for _, p := range g.prerequisites {
		if p.Key == key {
			return number(p.Value)
		}
	}
	return 0
}

// faultHint names what leads out of the faults of a group on a system.
func (e *Engine) faultHint(g *groupModel, faults []string, n SystemID) string {
	for _, f := range faults {
		if m := g.resource(f); m.persistent() {
			return e.clearHint(m, n)
		}
	}
	return "hagrp -clear " + g.name + " -sys " + n
}

// hindrances returns what stands in the way of a group that should be online,
// each with the command that leads out.
func (e *Engine) hindrances(g *groupModel) []string {
	var out []string
	if e.frozenGroup(g) {
		out = append(out, "group is frozen: "+e.thaw(g))
	}
	for _, p := range g.parts {
		out = append(out, e.partHindrances(p)...)
	}
	return out
}

// idleChild is a child that r's online waits for and that nothing brings
// online: a user took it offline meanwhile. "" if there is none.
func (e *Engine) idleChild(g *groupModel, r *resourceModel, n SystemID) string {
	for _, c := range e.missing(g, r, n) {
		m, i := g.resource(c), e.instance(c, n)
		if m.onOff() && m.enabled && i.Probed && !i.up() && !i.moving() && i.State != resource.StateFaulted {
			return c
		}
	}
	return ""
}

func (e *Engine) partHindrances(g *groupModel) []string {
	var out []string
	add := func(text, wayOut string) { out = append(out, text+": "+wayOut) }
	if d := e.course(g).Due; d != nil && g.autoFailOver == 2 && len(g.zones) > 0 && !g.hybrid() {
		add("offline until a system in the zone of "+d.From+" will take it (AutoFailOver = 2)", "hagrp -online "+g.name+" -sys a system of another zone")
	}
	for _, p := range g.list {
		n := p.System
		if e.held(g, n) {
			add(e.heldText(g, n))
		}
		if v := e.on(g, n).Vetoed; v != "" && !e.active(g, n) {
			add("not brought online on "+n+": "+v, "hagrp -online -nopre "+g.name+" -sys "+n+", or hagrp -online "+g.name+" -sys another system")
		}
		doubt, way := e.autoDisabled(g, n)
		if doubt != "" {
			add("autodisabled on "+n+" ("+doubt+")", way)
		}
		if f := e.faults(g, n); len(f) > 0 {
			add("faulted on "+n+" ("+strings.Join(f, ", ")+")", e.faultHint(g, f, n))
		}
		for _, r := range g.resources {
			i := e.at(r, n)
			switch {
			case i.inDoubt() && !e.st.Systems[n].InH: // the system is what is in doubt
			case i.inDoubt():
				add(r.name+" is in ADMIN_WAIT on "+n+" ("+i.WaitReason.String()+")", clearWaitHint(g, n))
			case i.Halted:
				add(r.name+" cannot be taken offline on "+n, "end it by hand, then hares -probe "+r.name+" -sys "+n)
			case i.Want == wantOnline:
				if c := e.idleChild(g, r, n); c != "" {
					add(r.name+" waits for "+c+", which is offline on "+n+" and not on its way", "hares -online "+c+" -sys "+n+", or hagrp -flush "+g.name+" -sys "+n)
				}
			}
		}
		if e.frozenSystem(n) && !g.clusterService() {
			add("system "+n+" is frozen", e.thawSystem(n))
		}
		if c := e.course(g); c.Due != nil && c.Stuck != "" && doubt == "" {
			switch lacking, state := e.lacking(g, n), e.st.Systems[n].State; {
			case state == SystemExited || state == SystemFaulted || state == SystemUnknown:
				add("system "+n+" is "+string(state), "hastart on "+n)
			case g.disabled[n]:
				add("disabled on "+n+" (Enabled = 0)", "hagrp -enable "+g.name+" -sys "+n)
			case len(lacking) > 0:
				add("the limits of "+n+" do not meet its prerequisites ("+strings.Join(lacking, ", ")+")", "raise them there, or take a group offline that holds them")
			}
		}
	}
	out = append(out, e.linkHindrances(g)...)
	if c := e.course(g); c.Due != nil && c.Stuck != "" && len(out) == 0 {
		add("offline, for no system is able to take it ("+c.Due.Why+")", e.noTargetHint(g))
	}
	if len(out) == 0 {
		out = e.autostartHindrances(g)
	}
	return out
}

// autostartHindrances are what a start by itself waits for.
func (e *Engine) autostartHindrances(g *groupModel) []string {
	if !e.anyOn(g, func(on *groupOn) bool { return on.Fresh }) || !e.autostartFacts(g).Permits() {
		return nil
	}
	if g.failover() {
		if _, o := e.askAutostart(g); o.Do == decision.DoWait || o.Do == decision.DoNone {
			return []string{"does not start by itself yet: " + o.Text + ": " + o.WayOut}
		}
		return nil
	}
	var out []string
	for _, n := range g.autoList {
		if on := e.st.Groups[g.name].On[n]; on == nil || !on.Fresh {
			continue
		}
		in := decision.Instance{Usable: e.usable(n), Whole: e.whole(g, n), Start: e.startFacts(g, n, true, true)}
		if o := in.Decide(); o.Do == decision.DoWait {
			out = append(out, "does not start by itself on "+n+" yet: "+o.Text+": "+o.WayOut)
		}
	}
	return out
}
