package engine

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/decision"
	"github.com/evenkeel/evenkeel/services/had/policy"
)

// command carries out an operation of a user, or refuses it; both are
// recorded under its request id (R15).
func (e *Engine) command(from SystemID, c Command) {
	if old, known := e.Repeated(c); known {
		old.From = from
		e.emit(old)
		return
	}
	e.log("INFO", 50135, "", c.Group, "User %s fired command: %s from %s", orNobody(c.User), c.typed(), from)
	res := CommandResult{RequestID: c.RequestID, From: from, Code: CodeOK, Pos: e.st.Pos, Said: c.Fingerprint()}
	notices, no := e.carryOut(c, &res)
	res.Notices = notices
	if no != nil {
		res.Code, res.Nearest = no.code, no.nearest
		res.Notices = append(res.Notices, Notice{Severity: no.severity, ID: messageID(no.id), Text: no.text})
		group := c.Group
		if no.code == CodeNotFound {
			group = ""
		}
		e.decide(group, decision.Refused{Asked: c.ordered(), Refusal: decision.Refusal{Severity: no.severity, ID: no.id, Text: no.text}, Start: no.start})
	}
	if c.RequestID != "" {
		e.keepRequest(res)
	}
	e.emit(res)
}

// Repeated says whether the request id of c was applied before, and what to
// answer: the first answer if c asks for the same, whoever asks and wherever
// (R15), else a refusal, so that nobody takes the answer to one operation for
// the answer to another.
func (e *Engine) Repeated(c Command) (CommandResult, bool) {
	if c.RequestID == "" {
		return CommandResult{}, false
	}
	old, known := e.Answer(c.RequestID)
	if !known {
		return CommandResult{}, false
	}
	if said := c.Fingerprint(); old.Said != said {
		return CommandResult{RequestID: c.RequestID, Code: CodeRequestIDReused, Pos: old.Pos, Said: said, Notices: []Notice{{
			Severity: "ERROR", ID: messageID(10000),
			Text: fmt.Sprintf("request_id %s named another operation before, at %s; take a new id for a new operation", c.RequestID, old.Pos),
		}}}, true
	}
	old.Repeated = true
	return old, true
}

// Fingerprint is the same for the same operation, whoever asks for it and
// under whatever request id.
func (e Command) Fingerprint() uint64 {
	e.RequestID, e.User = "", ""
	text, err := json.Marshal(e)
	if err != nil { // strings and booleans
		panic("fingerprint command: " + err.Error())
	}
	h := fnv.New64a()
	h.Write(text)
	return h.Sum64()
}

func orNobody(user string) string {
	if user == "" {
		return "(unknown)"
	}
	return user
}

// words is the command as a user would have typed it, near enough.
func (e Command) words() string { return strings.TrimPrefix(e.String(), "command ") }

func notice(id int, format string, args ...any) []Notice {
	return []Notice{{Severity: "NOTICE", ID: messageID(id), Text: fmt.Sprintf(format, args...)}}
}

func (e *Engine) carryOut(c Command, res *CommandResult) ([]Notice, *refusal) {
	switch c.Kind {
	case CommandSystemStop:
		return nil, e.stopSystems(c)
	case CommandSystemForce:
		return nil, e.forceSystem(c)
	}
	if e.mod == nil {
		no := refuse(11030, "VCS engine is not ready: no system has built a configuration yet; see hasys -state, then hasys -force SYSTEM if all wait for an administrator")
		no.code = CodeUnavailable
		return nil, no
	}
	if c.Persistent {
		return e.persistentFreeze(c, res)
	}
	switch c.Kind {
	case CommandGroupOnline, CommandGroupOffline, CommandGroupSwitch, CommandGroupClear,
		CommandGroupFreeze, CommandGroupUnfreeze, CommandGroupFlush, CommandGroupAutoenable, CommandGroupClearAdminWait:
		return e.groupCommand(c)
	case CommandAgentStart, CommandAgentStop, CommandAgentSwap:
		return nil, e.agentCommand(c)
	case CommandResourceRefreshInfo, CommandResourceFlushInfo:
		return nil, e.infoCommand(c)
	case CommandResourceOnline, CommandResourceOffline, CommandResourceProbe, CommandResourceClear:
		return e.resourceCommand(c)
	case CommandConfigWritable, CommandConfigChange, CommandConfigDump, CommandConfigApply, CommandConfigConfirm,
		CommandGroupEnable, CommandGroupDisable, CommandGroupEnableResources, CommandGroupDisableResources:
		return e.configCommand(c, res)
	case CommandSystemFreeze, CommandSystemUnfreeze:
		return nil, e.freezeSystem(c)
	case CommandSystemLoad:
		return nil, e.setLoad(c)
	}
	no := refuse(10000, "Unknown command %q", string(c.Kind))
	no.code = CodeInvalidArgument
	return nil, no
}

func (e *Engine) groupCommand(c Command) ([]Notice, *refusal) {
	g := e.mod.byGroup[c.Group]
	if g == nil {
		return nil, e.unknown(12130, "Group", c.Group, groupNames(e.mod))
	}
	if no := e.checkSystem(g, c.System); no != nil {
		return nil, no
	}
	e.touch(g.name)
	if c.System != "" {
		g = g.part(c.System)
	}
	switch c.Kind {
	case CommandGroupOnline:
		return e.onlineGroup(g, c)
	case CommandGroupOffline:
		return e.offlineGroup(g, c)
	case CommandGroupSwitch:
		return e.switchGroup(g, c)
	case CommandGroupClear:
		return nil, e.clearGroup(g, c)
	case CommandGroupFreeze:
		return nil, e.freezeGroup(g, c)
	case CommandGroupUnfreeze:
		return nil, e.unfreezeGroup(g, c)
	case CommandGroupFlush:
		return nil, e.flushGroup(g, c)
	case CommandGroupClearAdminWait:
		return nil, e.clearAdminWait(g, c)
	default:
		return nil, e.autoenable(g, c)
	}
}

// unknown refuses a name that does not exist and offers the nearest ones.
func (e *Engine) unknown(id int, kind, name string, known []string) *refusal {
	no := refuse(id, "%s %s does not exist", kind, name)
	no.code, no.nearest = CodeNotFound, policy.Nearest(name, known)
	if len(no.nearest) > 0 {
		no.text += "; did you mean " + strings.Join(no.nearest, ", ") + "?"
	}
	return no
}

func groupNames(m *model) []string {
	out := make([]string, 0, len(m.groups))
	for _, g := range m.groups {
		out = append(out, g.name)
	}
	return out
}

// checkSystem refuses a system that is unknown or not in the SystemList.
func (e *Engine) checkSystem(g *groupModel, n SystemID) *refusal {
	switch {
	case n == "":
		return nil
	case !slices.Contains(e.mod.systems, n):
		return e.unknown(10357, "System", n, e.mod.systems)
	case len(g.list) == 0:
		return noSystems(g)
	case !g.on(n):
		return refuse(10135, "System %s is not in the SystemList of group %s, which is: %s", n, g.name, strings.Join(g.systems(), ", "))
	}
	return nil
}

func noSystems(g *groupModel) *refusal {
	return refuse(50837, "SystemList of group %s is empty: set it first, with hagrp -modify %s SystemList", g.name, g.name)
}

func needSystem(c Command) *refusal {
	if c.System != "" {
		return nil
	}
	no := refuse(10000, "Which system? Name one with -sys")
	no.code = CodeInvalidArgument
	return no
}

func (e *Engine) onlineGroup(g *groupModel, c Command) ([]Notice, *refusal) {
	if !g.manualOps && (!c.NoPre || e.heldOn(g) == "") {
		return nil, refuse(90212, "Group %s has ManualOps = 0: it takes no manual operation", g.name)
	}
	if (c.CheckPartial != "" && !c.NoPre) || (c.NoPre && (c.Any || c.Propagate)) {
		no := refuse(10000, "-nopre names its system with -sys and goes without -propagate; -checkpartial comes with -nopre")
		no.code = CodeInvalidArgument
		return nil, no
	}
	if c.Propagate {
		return e.onlinePropagate(g, c)
	}
	if c.Any {
		return e.onlineAny(g, c)
	}
	if no := needSystem(c); no != nil {
		return nil, no
	}
	on := e.st.Groups[g.name].On[c.System]
	here := e.active(g, c.System) && on.Stopping == ""
	if here && e.whole(g, c.System) {
		return nil, refuse(40229, "Group %s is already online on %s", g.name, c.System)
	}
	if c.NoPre {
		return nil, e.onlineNoPre(g, c)
	}
	if ok, no := e.mayStart(g, c.System, here); !ok {
		return nil, no
	}
	e.decide(g.name, decision.Online{Asked: c.ordered(), System: c.System})
	e.beginManual(g, c.System)
	return nil, nil
}

// onlineAny lets the policy choose. A group that may be online on several
// systems, parallel or hybrid, comes up wherever it may.
func (e *Engine) onlineAny(g *groupModel, c Command) ([]Notice, *refusal) {
	if g.parallel != 0 {
		return e.onlineEverywhere(g.whole, c)
	}
	at := e.activeAnywhere(g)
	if g.failover() && len(at) > 0 {
		return nil, refuse(50997, "Group %s is already online on %s", g.name, at[0])
	}
	if no := e.anyRefusal(g); no != nil {
		return nil, no
	}
	in := decision.OnlineAny{Asked: c.ordered(), Questions: []decision.Question{{Policy: g.failOverPolicy, Candidates: e.candidates(g, g.systems())}}}
	o := in.Decide()
	if o.Do == decision.DoNone && len(at) > 0 {
		return nil, refuse(50996, "Group %s is already online on %s", g.name, strings.Join(at, ","))
	}
	e.told(g.name, in, o)
	if o.Do == decision.DoNone {
		return nil, refuse(40156, "Cannot online group %s, no target system found: %s", g.name, reasons(o.Verdicts))
	}
	e.beginManual(g, o.Target)
	return notice(50735, "Attempting to online group on system %s", o.Target), nil
}

// onlineEverywhere brings a parallel group online on each system that will
// take it, a hybrid one on one system of each zone.
func (e *Engine) onlineEverywhere(g *groupModel, c Command) ([]Notice, *refusal) {
	if len(g.list) == 0 {
		return nil, noSystems(g)
	}
	if e.frozenGroup(g) {
		return nil, refuse(40208, "Group %s is frozen; %s first", g.name, e.thaw(g))
	}
	in := decision.OnlineAny{Asked: c.ordered()}
	at := e.activeAnywhere(g)
	for _, part := range g.parts {
		in.Questions = append(in.Questions, e.everyQuestion(part))
	}
	o, targets := in.Decide(), in.Targets()
	if o.Do == decision.DoNone && len(at) > 0 {
		return nil, refuse(50996, "Group %s is already online on %s", g.name, strings.Join(at, ","))
	}
	e.told(g.name, in, o)
	if o.Do == decision.DoNone {
		return nil, refuse(40156, "Cannot online group %s, no target system found: %s", g.name, reasons(o.Verdicts))
	}
	var notices []Notice
	for _, n := range targets {
		notices = append(notices, notice(50735, "Attempting to online group on system %s", n)...)
		e.beginManual(g.part(n), n)
	}
	return notices, nil
}

// everyQuestion asks for the systems that a parallel group, or the part of a
// hybrid one, may be brought online on.
func (e *Engine) everyQuestion(part *groupModel) decision.Question {
	candidates := e.candidates(part, part.systems())
	if !part.failover() {
		return decision.Question{Policy: policy.Every, Candidates: candidates}
	}
	if at := e.activeAnywhere(part); len(at) > 0 {
		for i := range candidates {
			candidates[i].Excluded = "online on " + strings.Join(at, ", ") + pick(part.hybrid(), " in this zone", "") + " already"
		}
	} else if no := e.anyRefusal(part); no != nil {
		for i := range candidates {
			candidates[i].Excluded = no.text
		}
	}
	return decision.Question{Policy: part.failOverPolicy, Candidates: candidates}
}

// switchPart returns the group, of a hybrid one the part that is to be moved.
func (e *Engine) switchPart(g *groupModel, c Command) (*groupModel, *refusal) {
	if !g.hybrid() || g.zone != "" {
		return g, nil
	}
	var active []*groupModel
	for _, p := range g.parts {
		if len(e.activeAnywhere(p)) > 0 {
			active = append(active, p)
		}
	}
	switch len(active) {
	case 0:
		return g.parts[0], nil // and the refusal says so
	case 1:
		return active[0], nil
	}
	return nil, refuse(10191, "Group %s is a hybrid group and active in several zones (%s); say with -to where the instance of one zone is to go", g.name, strings.Join(e.activeAnywhere(g), ", "))
}

// anyRefusal refuses what no system could make possible.
func (e *Engine) anyRefusal(g *groupModel) *refusal {
	if len(g.list) == 0 {
		return noSystems(g)
	}
	if e.frozenGroup(g) {
		return refuse(40208, "Group %s is frozen; %s first", g.name, e.thaw(g))
	}
	if !g.failover() {
		return nil
	}
	for _, p := range g.list {
		if why, out := e.autoDisabled(g, p.System); why != "" {
			return refuse(10449, "Group %s is autodisabled on system %s: %s; way out: %s", g.name, p.System, why, out)
		}
		if e.held(g, p.System) {
			return e.heldRefusal(g, p.System)
		}
		if e.inTransit(g, p.System) {
			return refuse(90213, "Group %s is in transition on system %s; wait, or hagrp -flush %s -sys %s", g.name, p.System, g.name, p.System)
		}
	}
	return nil
}

func reasons(vs []policy.Verdict) string {
	out := make([]string, 0, len(vs))
	for _, v := range vs {
		out = append(out, v.System+": "+v.Reason)
	}
	return strings.Join(out, "; ")
}

func (e *Engine) beginManual(g *groupModel, n SystemID) {
	e.log("NOTICE", 10166, "", g.name, "Initiating manual online of group %s on system %s", g.name, n)
	e.st.Groups[g.name].On[n].Retries, e.course(g).AutoClears = 0, 0
	e.startFor(g, n, whyManual, "")
}

func (e *Engine) offlineGroup(g *groupModel, c Command) ([]Notice, *refusal) {
	gr := e.st.Groups[g.name]
	systems, parts := []SystemID{c.System}, []*groupModel{g}
	if c.Any {
		g = g.whole
		systems, parts = g.systems(), g.parts
	} else if no := needSystem(c); no != nil {
		return nil, no
	}
	active, no := e.mayStop(g, systems, c.Force)
	if no != nil {
		return nil, no
	}
	if c.Propagate {
		if no := e.offlineParents(g, active, c); no != nil {
			return nil, no
		}
	} else if no := e.leanedOn(g, active); no != nil {
		no.text += ", or use -propagate"
		return nil, no
	}
	for _, n := range systems {
		gr.On[n].Owed = false
	}
	if g.failover() || len(active) == len(e.activeAnywhere(g)) {
		for _, p := range parts {
			*e.course(p) = course{UserOffline: true}
			for _, pr := range p.list {
				gr.On[pr.System].Vetoed = ""
			}
		}
	}
	if len(active) == 0 {
		return notice(10446, "Group %s is offline already", g.name), nil
	}
	for _, n := range active {
		e.log("NOTICE", 10167, "", g.name, "Initiating manual offline of group %s on system %s", g.name, n)
		e.stop(g, n, stopUser)
		gr.On[n].After = c.Propagate
	}
	e.decide(g.name, decision.Order{Asked: c.ordered(), Does: "taken offline on " + strings.Join(active, ", ") + ", as asked; it does not start by itself until somebody onlines it", Then: e.onlineHint(g)})
	return nil, nil
}

// mayStop returns the systems among those given on which a group is to be taken
// offline, or why a user may not do so.
func (e *Engine) mayStop(g *groupModel, systems []SystemID, force bool) ([]SystemID, *refusal) {
	if !g.manualOps {
		return nil, refuse(90212, "Group %s has ManualOps = 0: it takes no manual operation", g.name)
	}
	if g.clusterService() && !force {
		return nil, refuse(idClusterService, "Group %s is not taken offline by hand: it carries the cluster's own services; -force does it all the same", g.name)
	}
	var active []SystemID
	for _, n := range systems {
		if r := e.gaveUp(g, n); r != "" {
			return nil, waitsForAdmin(g, r, n)
		}
		if !e.active(g, n) && !e.st.Groups[g.name].On[n].Starting && !e.held(g, n) {
			continue
		}
		if e.frozen(g, n) {
			return nil, refuse(40208, "Group %s or system %s is frozen; %s first", g.name, n, e.freezeOn(g, n, true).Out(g.name, n))
		}
		if !e.usable(n) {
			return nil, refuse(10200, "System %s is not available: it is %s; %s", n, e.st.Systems[n].State, wayOutDDNA(n))
		}
		active = append(active, n)
	}
	return active, nil
}

func (e *Engine) switchGroup(g *groupModel, c Command) ([]Notice, *refusal) {
	g, no := e.switchPart(g, c)
	if no != nil {
		return nil, no
	}
	from, no := e.switchFrom(g, c)
	if no != nil {
		return nil, no
	}
	if no := e.leanedOn(g, []SystemID{from}); no != nil {
		return nil, no
	}
	if c.NoPre && c.Any {
		no := refuse(10000, "-nopre names its system with -to")
		no.code = CodeInvalidArgument
		return nil, no
	}
	in, no := e.switchTo(g, c, from)
	if no != nil {
		return nil, no
	}
	target := e.decide(g.name, in).Target
	e.move(g, from, target, "switch of group "+g.name+" from "+from+" to "+target)
	e.course(g).Move.NoPre = c.NoPre
	return nil, nil
}

func (e *Engine) move(g *groupModel, from, to SystemID, why string) {
	c := e.course(g)
	e.log("NOTICE", 10208, "", g.name, "Initiating %s", why)
	c.Move, c.Due, c.Stuck = &move{From: from, To: to, Why: why}, nil, ""
	e.stop(g, from, stopSwitch)
}

// switchFrom returns the system that a switch takes the group from.
func (e *Engine) switchFrom(g *groupModel, c Command) (SystemID, *refusal) {
	at := e.activeAnywhere(g)
	if n := e.heldOn(g); n != "" {
		return "", e.heldRefusal(g, n)
	}
	switch {
	case !g.manualOps:
		return "", refuse(90212, "Group %s has ManualOps = 0: it takes no manual operation", g.name)
	case !g.failover():
		return "", refuse(10191, "Group %s is a parallel group and cannot be switched", g.name)
	case len(at) == 0:
		return "", refuse(10191, "Group %s cannot be switched: it is not active %s; %s", g.name, pick(g.hybrid(), "in that zone, and a hybrid group is switched inside a zone only", "anywhere"), e.onlineHint(g))
	case at[0] == c.System:
		return "", refuse(10192, "Group %s cannot be switched to system %s: it is active there", g.name, c.System)
	case e.frozen(g, at[0]):
		return "", refuse(40208, "Group %s or system %s is frozen; %s first", g.name, at[0], e.freezeOn(g, at[0], true).Out(g.name, at[0]))
	case !e.usable(at[0]):
		return "", refuse(10200, "System %s is not available: it is %s; %s", at[0], e.st.Systems[at[0]].State, wayOutDDNA(at[0]))
	}
	for _, p := range g.list {
		if r := e.gaveUp(g, p.System); r != "" {
			return "", waitsForAdmin(g, r, p.System)
		}
		if e.inTransit(g, p.System) {
			return "", refuse(90213, "Group %s is in transition on system %s (%s); wait, or hagrp -flush %s -sys %s", g.name, p.System, e.groupText(g, p.System), g.name, p.System)
		}
	}
	return at[0], nil
}

// switchTo returns the system that a switch takes the group to.
func (e *Engine) switchTo(g *groupModel, c Command, from SystemID) (decision.Switch, *refusal) {
	in := decision.Switch{Asked: c.ordered(), From: from, To: c.System}
	if c.System != "" && !c.Any {
		_, no := e.mayStartAfter(g, c.System, from)
		return in, no
	}
	in.To, in.Question = "", &decision.Question{Policy: g.failOverPolicy, Candidates: e.candidatesFrom(g, from)}
	o := in.Decide()
	if o.Do == decision.DoNone {
		return in, refuse(51055, "Group %s cannot be switched, no target system found: %s", g.name, reasons(o.Verdicts))
	}
	return in, e.clearPath(g, from, o.Target)
}

// mayStartAfter is mayStart as if the group were offline on from already.
func (e *Engine) mayStartAfter(g *groupModel, n, from SystemID) (bool, *refusal) {
	ok, no := e.mayStart(g, n, false)
	if ok {
		return true, nil
	}
	if no.id != 10165 {
		return ok, no
	}
	if no := e.clearPath(g, from, n); no != nil {
		return false, no
	}
	if e.active(g, n) || e.inTransit(g, n) || len(e.lacking(g, n)) > 0 {
		return false, no
	}
	return true, nil
}

// clearPath refuses a move while a third system is in doubt.
func (e *Engine) clearPath(g *groupModel, from, to SystemID) *refusal {
	if no := decision.Path(g.name, from, to, e.elsewhere(g)); no != nil {
		return refuse(no.ID, "%s", no.Text)
	}
	return nil
}

func (e *Engine) clearGroup(g *groupModel, c Command) *refusal {
	var cleared []string
	for _, n := range g.systems() {
		if c.System == "" || c.System == n {
			for _, r := range e.clearFaults(g, n, func(*resourceModel) bool { return true }) {
				cleared = append(cleared, r+"@"+n)
			}
		}
	}
	e.afterClear(g, cleared, c)
	e.unstick(g)
	return nil
}

// afterClear: who clears a fault takes the group in hand; what was owed
// because of that fault is owed no more.
func (e *Engine) afterClear(g *groupModel, cleared []string, c Command) {
	if len(cleared) == 0 {
		return
	}
	in := decision.Order{Asked: c.ordered(), Does: "cleared: " + strings.Join(cleared, ", ")}
	for _, p := range g.whole.parts {
		to := e.course(p)
		to.AutoClears, to.ClearAt = 0, 0
		if to.Due == nil || !to.Due.ByResource || to.Due.Persistent || (c.System != "" && !p.on(c.System)) {
			continue
		}
		to.Due = nil
		in.Does += "; the group stays offline until somebody onlines it"
		in.Then = e.onlineHint(g)
	}
	e.decide(g.name, in)
}

func (e *Engine) freezeGroup(g *groupModel, c Command) *refusal {
	gr := e.st.Groups[g.name]
	switch {
	case gr.TFrozen:
		return refuse(40208, "Group %s is frozen temporarily already", g.name)
	case g.frozen:
		return refuse(40209, "Group %s is frozen persistently already", g.name)
	}
	gr.TFrozen, gr.FrozenBy = true, c.User
	e.decide(g.name, decision.Freezing{Asked: c.ordered(), Group: g.name, On: true})
	return nil
}

func (e *Engine) unfreezeGroup(g *groupModel, c Command) *refusal {
	gr := e.st.Groups[g.name]
	switch {
	case !gr.TFrozen:
		return refuse(40201, "Group %s is not frozen temporarily%s", g.name, pick(g.frozen, ", but persistently: hagrp -unfreeze "+g.name+" -persistent", ""))
	}
	gr.TFrozen, gr.FrozenBy = false, ""
	e.unstick(g)
	e.decide(g.name, decision.Freezing{Asked: c.ordered(), Group: g.name})
	return nil
}

// flushGroup stops waiting for what is under way on a system. Entry points
// that run are not ended.
func (e *Engine) flushGroup(g *groupModel, c Command) *refusal {
	if no := needSystem(c); no != nil {
		return no
	}
	gr := e.st.Groups[g.name]
	on := gr.On[c.System]
	if r := e.gaveUp(g, c.System); r != "" && !c.Force {
		return waitsForAdmin(g, r, c.System)
	}
	var waiting []string
	for _, r := range g.resources {
		i := e.at(r, c.System)
		if !i.moving() {
			continue
		}
		waiting = append(waiting, r.name)
		i.Want, i.Halted, i.Alone, i.RetryAt, i.Flushed = wantNothing, false, false, 0, i.Pending.ID != 0
	}
	e.markStaleOn(g, c.System)
	if on.Pre != nil {
		waiting = append(waiting, "the preonline trigger")
	}
	on.Starting, on.Stopping, on.Owed, on.Pre, on.Vetoed = false, "", false, nil, ""
	to := e.course(g)
	to.Move, to.Due, to.Stuck, to.ClearAt = nil, nil, "", 0
	in := decision.Order{Asked: c.ordered(), Does: "nothing was under way"}
	if len(waiting) > 0 {
		in.Does = "no longer waiting for " + strings.Join(waiting, ", ") + "; what runs is not ended and may still change state"
	}
	e.decide(g.name, in)
	return nil
}

// autoenable takes an operator's word that a group is not running on a system
// whose had is away. Where fencing is on, the word for a system that is gone
// is ha fencing vouch, which every group hears of (R1).
func (e *Engine) autoenable(g *groupModel, c Command) *refusal {
	if no := needSystem(c); no != nil {
		return no
	}
	n := c.System
	s := e.st.Systems[n]
	why, out := e.autoDisabled(g, n)
	switch {
	case why == "":
		return refuse(10449, "Group %s is not autodisabled on system %s", g.name, n)
	case s.InA && !s.InH && e.active(g, n):
		return refuse(10449, "Group %s was active on system %s, whose machine is up: starting it elsewhere would run it twice; %s", g.name, n, out)
	case !s.InH && !s.InA && !e.st.Unfenced:
		return refuse(10449, "Group %s may be active on system %s: %s; %s", g.name, n, why, out)
	}
	if !s.InH && !s.InA {
		e.reset(g, n)
	}
	e.st.Groups[g.name].On[n].AutoEnabled = true
	e.unstick(g)
	e.decide(g.name, decision.Order{Asked: c.ordered(), Does: "autoenabled on " + n + " on the word of " + orNobody(c.User) + " (was: " + why + ")"})
	return nil
}
