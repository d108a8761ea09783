package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/policy"
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
	c.Due = &due{From: n, Why: "group faulted on " + n, ByResource: true, Persistent: persistent}
	c.Stuck = ""
	e.parentFault(g, n)
}

func (e *Engine) retryHere(g *groupModel, n SystemID) bool {
	on := e.on(g, n)
	if g.retryInterval > 0 && on.Retries > 0 {
		if e.st.Now-on.RetriedAt < g.retryInterval {
			return false
		}
		on.Retries = 0
	}
	if on.ByPersistent || on.Retries >= g.retryLimit || e.st.Systems[n].State != SystemRunning {
		return false
	}
	retries := on.Retries + 1
	e.clearFaults(g, n, func(*resourceModel) bool { return true })
	ok, no := e.mayStart(g, n, false)
	if !ok {
		e.explain(Explanation{Group: g.name, Subject: "restart on " + n, Decision: "not possible: " + no.text})
		return false
	}
	on.Retries, on.RetriedAt = retries, e.st.Now
	e.log("NOTICE", 10235, "", g.name, "Restart is set for group %s on system %s", g.name, n)
	e.explain(Explanation{Group: g.name, Subject: "restart on " + n,
		Decision: fmt.Sprintf("tried again on the same system: try %d of %d (OnlineRetryLimit)", retries, g.retryLimit)})
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
	subject := "failover from " + d.From + " (" + d.Why + ")"
	switch {
	case d.Prefer != "":
		subject = d.Why
	case d.ByGroup:
		subject = "return (" + d.Why + ")"
	}
	for _, p := range g.list {
		if r := e.gaveUp(g, p.System); r != "" && e.st.Systems[p.System].InH {
			return e.stuck(g, Explanation{Subject: subject, Decision: "waits: " + r + " is in ADMIN_WAIT on " + p.System,
				WayOut: clearWaitHint(g, p.System)})
		}
	}
	for _, n := range e.activeAnywhere(g) {
		if e.st.Systems[n].InH {
			if e.on(g, n).Stopping == "" {
				c.Due = nil
				return true
			}
			return false
		}
	}
	switch {
	case g.autoFailOver == 0 && d.Prefer == "" && !d.ByGroup:
		e.log("NOTICE", 90215, "", g.name, "Group %s is not failed over: AutoFailOver is 0", g.name)
		e.explain(Explanation{Group: g.name, Subject: subject, Decision: "not failed over: AutoFailOver is 0", WayOut: e.onlineHint(g)})
		c.Due = nil
		return true
	case e.frozenGroup(g):
		return e.stuck(g, Explanation{Subject: subject, Decision: "waits: the group is frozen", WayOut: "hagrp -unfreeze " + g.name})
	}
	for _, p := range g.list {
		if why, out := e.autoDisabled(g, p.System); why != "" {
			return e.stuck(g, Explanation{Subject: subject, Decision: "waits: " + p.System + ": " + why,
				Evidence: e.evidenceFor(p.System), WayOut: out})
		}
		if e.inTransit(g, p.System) || e.held(g, p.System) {
			return false
		}
	}
	return e.place(g, subject)
}

// place chooses a system for a group that is offline everywhere.
func (e *Engine) place(g *groupModel, subject string) bool {
	d := *e.course(g).Due
	candidates := e.candidatesFrom(g, d.From)
	if g.autoFailOver == 2 {
		for i := range candidates {
			if candidates[i].Foreign && candidates[i].System != d.Prefer {
				candidates[i].Excluded = zoneForbids
			}
		}
	}
	if d.Prefer != "" && d.Prefer != d.From {
		for i := range candidates {
			if candidates[i].System == d.From && e.st.Systems[d.Prefer].State == SystemRunning {
				candidates[i].Excluded = "the group is being moved away from it"
			}
		}
	}
	if d.ByGroup && g.autoFailOver == 0 {
		for i := range candidates {
			if candidates[i].System != d.From {
				candidates[i].Excluded = "AutoFailOver is 0"
			}
		}
	}
	target, verdicts := policy.TargetPreferring(g.failOverPolicy, d.Prefer, candidates)
	x := Explanation{Subject: subject, Candidates: verdictsOf(verdicts), Evidence: e.evidenceFor(d.From)}
	if target == "" {
		x.Decision, x.WayOut = "no system is able to take it", e.noTargetHint(g)
		if c := firstForeign(candidates); c != "" {
			x.Decision = "stays offline: no system of its zone is able to take it, and AutoFailOver is 2"
			x.WayOut = "hagrp -online " + g.name + " -sys " + c + " (another zone)"
		} else if c := firstUnmet(candidates); c != "" {
			_, x.WayOut = e.unmet(g, c)
			x.Decision = "waits for what it requires"
			return e.stuck(g, x)
		}
		if e.course(g).Stuck == "" {
			e.log("WARNING", 10464, "", g.name, "Group %s faulted and cannot be failed over anywhere", g.name)
			e.noFailover(g, d.From)
		}
		return e.stuck(g, x)
	}
	x.Group, x.Decision = g.name, "brought online on "+target+pick(target == d.From, " again", "")
	e.explain(x)
	e.log("NOTICE", 10465, "", g.name, "Bringing group %s online on system %s: %s", g.name, target, subject)
	e.start(g, target)
	return true
}

// zoneForbids is why AutoFailOver = 2 refuses a candidate.
const zoneForbids = "in another zone, and AutoFailOver is 2"

// candidatesFrom are the candidates for a group that leaves a system: those
// of other zones come last (engine.md 4.6).
func (e *Engine) candidatesFrom(g *groupModel, from SystemID) []policy.Candidate {
	out := e.candidates(g, g.systems())
	for i := range out {
		out[i].Foreign = !g.sameZone(out[i].System, from)
	}
	return append(out, e.otherZones(g)...)
}

// firstForeign returns a system that only AutoFailOver = 2 forbids, or "".
func firstForeign(candidates []policy.Candidate) SystemID {
	for _, c := range candidates {
		if c.Excluded != zoneForbids {
			continue
		}
		if c.Excluded = ""; c.Refusal() == "" {
			return c.System
		}
	}
	return ""
}

// firstUnmet returns a system that only a group dependency forbids, or "" if
// there is none, or if elsewhere a fault alone is in the way.
func firstUnmet(candidates []policy.Candidate) SystemID {
	if slices.ContainsFunc(candidates, func(c policy.Candidate) bool {
		return c.State == string(SystemRunning) && c.Unmet == "" && len(c.Faulted) > 0
	}) {
		return ""
	}
	for _, c := range candidates {
		if c.Unmet != "" && c.Refusal() == c.Unmet {
			return c.System
		}
	}
	return ""
}

// stuck explains, once, why something owed does not happen. It never counts
// as progress.
func (e *Engine) stuck(g *groupModel, x Explanation) bool {
	c := e.course(g)
	x.Group = g.name
	if key := x.String(); key != c.Stuck {
		c.Stuck = key
		e.explain(x)
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
		case e.st.Systems[n].State != SystemRunning || g.disabled[n]:
		case e.closed(n):
			return "hasys -unfreeze " + n
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

func verdictsOf(vs []policy.Verdict) []Verdict {
	out := make([]Verdict, 0, len(vs))
	for _, v := range vs {
		out = append(out, Verdict(v))
	}
	return out
}

// autostart starts a group when had has come up and probed (engine.md 4.7).
func (e *Engine) autostart(g *groupModel) bool {
	gr, c := e.group(g), e.course(g)
	if !g.autoStart || (len(g.autoList) == 0 && !g.clusterService()) || c.UserOffline || c.Move != nil || e.frozenGroup(g) {
		return false
	}
	if !g.failover() {
		return e.autostartParallel(g)
	}
	if !e.anyOn(g, func(on *groupOn) bool { return on.Fresh }) {
		return false
	}
	for _, p := range g.list {
		n := p.System
		if why, _ := e.autoDisabled(g, n); why != "" || e.inTransit(g, n) || e.held(g, n) || gr.On[n].Violation || e.gaveUp(g, n) != "" {
			return false
		}
	}
	if at := e.activeAnywhere(g); len(at) > 0 {
		return e.found(g, at)
	}
	order, how := g.autoList, g.autoStartPolicy
	if g.clusterService() {
		order, how = e.byRunning(g), policy.Running
	}
	candidates := e.candidates(g, order)
	target, verdicts := policy.Target(how, candidates)
	x := Explanation{Subject: "autostart", Candidates: verdictsOf(verdicts)}
	if c := firstUnmet(candidates); target == "" && c != "" {
		x.Decision = "waits for what it requires"
		_, x.WayOut = e.unmet(g, c)
		return e.stuck(g, x)
	}
	if target == "" {
		x.Decision, x.WayOut = pick(g.clusterService(), "no system", "no system of AutoStartList")+" is able to take it", e.noTargetHint(g)
		return e.stuck(g, x)
	}
	x.Group, x.Decision = g.name, "brought online on "+target+" ("+pick(g.clusterService(), "ClusterService: first, on the first system RUNNING", "AutoStartPolicy "+g.autoStartPolicy)+")"
	e.explain(x)
	e.log("NOTICE", 10442, "", g.name, "Initiating auto-start online of group %s on system %s", g.name, target)
	e.start(g, target)
	return true
}

// found handles a group that is running already when it would start by itself.
func (e *Engine) found(g *groupModel, at []string) bool {
	gr := e.st.Groups[g.name]
	e.course(g).Intent = true
	for _, p := range g.list {
		gr.On[p.System].Fresh = false
	}
	n := at[0]
	if len(at) > 1 || e.whole(g, n) || !g.autoStartIfPartial || len(e.faults(g, n)) > 0 {
		return true
	}
	ok, no := e.mayStart(g, n, true)
	if !ok && no.id == idUnmet {
		gr.On[n].Owed = true
	}
	if ok {
		e.explain(Explanation{Group: g.name, Subject: "autostart", Decision: "found PARTIAL on " + n + "; the rest is started (AutoStartIfPartial)"})
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
		if on == nil || !on.Fresh || on.Pre != nil || !e.usable(n) || len(e.unprobed(g, n)) > 0 {
			continue
		}
		if why, out := e.unmet(g, n); why != "" && !e.whole(g, n) {
			e.waits(g, n, Explanation{Subject: "autostart on " + n, Decision: "waits: " + why, WayOut: out})
			continue
		}
		on.Fresh = false
		moved = true
		if e.whole(g, n) {
			e.course(g).Intent = true
			continue
		}
		if ok, no := e.mayStart(g, n, true); !ok {
			e.explain(Explanation{Group: g.name, Subject: "autostart on " + n, Decision: "not started: " + no.text})
			continue
		}
		e.explain(Explanation{Group: g.name, Subject: "autostart on " + n, Decision: "brought online (parallel group)"})
		e.start(g, n)
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
		out = append(out, "group is frozen: hagrp -unfreeze "+g.name)
	}
	for _, p := range g.parts {
		out = append(out, e.partHindrances(p)...)
	}
	return out
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
		if v := e.on(g, n).Vetoed; v != "" && e.course(g.part(n)).Intent && !e.active(g, n) {
			add("not brought online on "+n+": "+v, "hagrp -online -nopre "+g.name+" -sys "+n+", or hagrp -online "+g.name+" -sys another system")
		}
		if why, way := e.autoDisabled(g, n); why != "" {
			add("autodisabled on "+n+" ("+why+")", way)
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
			}
		}
		if e.frozenSystem(n) && !g.clusterService() {
			add("system "+n+" is frozen", "hasys -unfreeze "+n)
		}
	}
	out = append(out, e.linkHindrances(g)...)
	if c := e.course(g); c.Due != nil && c.Stuck != "" && len(out) == 0 {
		add("offline, for no system is able to take it ("+c.Due.Why+")", e.noTargetHint(g))
	}
	return out
}
