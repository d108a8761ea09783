package doctor

import (
	"fmt"
	"slices"
	"strings"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

const (
	isError   = "ERROR"
	isWarning = "WARNING"
)

func hadDown(f *Facts) []Finding {
	if f.HadDown == "" {
		return nil
	}
	return []Finding{{Severity: isError, What: "had does not answer on this system: " + f.HadDown,
		Why: "applications that run here are not watched, and none starts here", Command: "ha node start"}}
}

func gateHeld(f *Facts) []Finding {
	if f.Status == nil || f.Status.Gate == nil {
		return nil
	}
	lost := "SYSTEM"
	for _, s := range f.Status.GetSystems() {
		if s.GetName() != f.Status.GetLocalSystem() && s.GetFreshness().GetStale() {
			lost = s.GetName()
		}
	}
	return []Finding{{Severity: isError, What: "no view is released: " + f.Status.GetGate(),
		Why:     "nothing moves until it is proved that the lost system is gone, because an application could run twice",
		Command: "switch that machine off, then: ha fencing vouch " + lost}}
}

func systemState(f *Facts) (found []Finding) {
	for _, s := range f.Status.GetSystems() {
		n, state := s.GetName(), s.GetState()
		e := Finding{Severity: isError, What: fmt.Sprintf("system %s is %s", n, state)}
		switch {
		case s.GetDaemonDown():
			e.What = fmt.Sprintf("the machine of %s is up, its had is not (DDNA)", n)
			e.Why, e.Command = "its applications run unwatched and are not started elsewhere", "on "+n+": hastart"
		case state == "RUNNING":
			continue
		case strings.HasSuffix(state, "ADMIN_WAIT"):
			e.Why, e.Command = or(s.GetWaitingFor(), "it waits for you: it may not use its configuration by itself"), "ha config verify /etc/evenkeel && ha system force "+n
		case state == "FAULTED" || state == "UNKNOWN" || state == "":
			e.Why, e.Command = "no group can fail over to it", "on "+n+": ha node start"
		case state == "EXITED":
			e.Severity, e.Why, e.Command = isWarning, "it was stopped in order; no group can run there", "on "+n+": ha node start"
		case state == "LEAVING" || strings.HasPrefix(state, "EXITING"):
			e.Severity, e.Why, e.Command = isWarning, "it is being stopped", "ha watch"
		default:
			e.Severity, e.Why, e.Command = isWarning, or(s.GetWaitingFor(), "it is on its way to RUNNING; if that takes long, the log tells why"), "ha log --system "+n
		}
		found = append(found, e)
	}
	return found
}

// onSystems calls back for each enabled resource on each of its systems.
func onSystems(f *Facts, look func(r *hadv1.Resource, on *hadv1.ResourceOnSystem)) {
	for _, r := range f.Status.GetResources() {
		for _, on := range r.GetSystems() {
			if r.GetEnabled() {
				look(r, on)
			}
		}
	}
}

func resourceFaulted(f *Facts) (found []Finding) {
	onSystems(f, func(r *hadv1.Resource, on *hadv1.ResourceOnSystem) {
		if strings.Contains(on.GetState(), "FAULTED") {
			found = append(found, Finding{Severity: isError, What: fmt.Sprintf("resource %s of group %s is faulted on %s%s", r.GetName(), r.GetGroup(), on.GetSystem(), because(on.GetReason())),
				Why: "its group does not start there again before the fault is cleared", Command: fmt.Sprintf("repair it, then: ha resource clear %s --system %s", r.GetName(), on.GetSystem())})
		}
	})
	return found
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func adminWait(f *Facts) (found []Finding) {
	onSystems(f, func(r *hadv1.Resource, on *hadv1.ResourceOnSystem) {
		if strings.Contains(on.GetState()+on.GetIstateCode()+on.GetIstate(), "ADMIN") {
			found = append(found, Finding{Severity: isError, What: fmt.Sprintf("resource %s of group %s waits for you on %s%s", r.GetName(), r.GetGroup(), on.GetSystem(), because(on.GetReason())),
				Why: "its group neither moves nor stops meanwhile", Command: fmt.Sprintf("put it right by hand, then: ha group clearadminwait %s --system %s", r.GetGroup(), on.GetSystem())})
		}
	})
	return found
}

func groupAutodisabled(f *Facts) (found []Finding) {
	for _, g := range f.Status.GetGroups() {
		for _, on := range g.GetSystems() {
			if on.GetAutodisabled() {
				found = append(found, Finding{Severity: isError, What: fmt.Sprintf("group %s is autodisabled on %s", g.GetName(), on.GetSystem()),
					Why:     "the engine does not know whether it runs there, and starts it nowhere else",
					Command: fmt.Sprintf("start had on %s, or, if the group is certainly down there: ha group autoenable %s --system %s", on.GetSystem(), g.GetName(), on.GetSystem())})
			}
		}
	}
	return found
}

// groupStuck finds groups that are not whole although something says what
// keeps them from it.
func groupStuck(f *Facts) (found []Finding) {
	for _, g := range f.Status.GetGroups() {
		home := false
		for _, on := range g.GetSystems() {
			home = home || strings.HasPrefix(on.GetState(), "ONLINE") && !strings.Contains(on.GetState(), "STOPPING")
		}
		if home {
			continue
		}
		for _, text := range g.GetHindrances() {
			if strings.Contains(text, " is frozen: ") {
				continue // the check for freezes tells it, also of a group that nobody wants online
			}
			what, command := text, "ha group explain "+g.GetName()
			if at := strings.LastIndex(text, ": "); at > 0 {
				what, command = text[:at], text[at+2:]
			}
			found = append(found, Finding{Severity: isError, What: fmt.Sprintf("group %s is whole nowhere: %s", g.GetName(), what),
				Why: "ha group explain " + g.GetName() + " tells how it came to that", Command: command})
		}
	}
	return found
}

func resourceUnknown(f *Facts) (found []Finding) {
	onSystems(f, func(r *hadv1.Resource, on *hadv1.ResourceOnSystem) {
		for _, word := range []string{"STATE UNKNOWN", "MONITOR TIMEDOUT", "UNABLE TO OFFLINE"} {
			if strings.Contains(on.GetState()+"|"+on.GetFlags(), word) {
				found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("resource %s is %s on %s%s", r.GetName(), word, on.GetSystem(), because(on.GetReason())),
					Why: "the engine acts on the last state that it knew", Command: fmt.Sprintf("ha log --resource %s; then ha resource probe %s --system %s", r.GetName(), r.GetName(), on.GetSystem())})
			}
		}
	})
	return found
}

func resourceUnprobed(f *Facts) (found []Finding) {
	running := map[string]bool{}
	for _, s := range f.Status.GetSystems() {
		running[s.GetName()] = s.GetState() == "RUNNING"
	}
	onSystems(f, func(r *hadv1.Resource, on *hadv1.ResourceOnSystem) {
		if !on.GetProbed() && running[on.GetSystem()] {
			found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("resource %s is not probed on %s%s", r.GetName(), on.GetSystem(), because(on.GetReason())),
				Why: "its group starts nowhere before the engine knows its state everywhere", Command: fmt.Sprintf("ha agent show %s --system %s; then ha resource probe %s --system %s", r.GetType(), on.GetSystem(), r.GetName(), on.GetSystem())})
		}
	})
	return found
}

func agentDown(f *Facts) (found []Finding) {
	for _, g := range f.Agents {
		if g.GetState() == "Running" || g.GetState() == "Starting" {
			continue
		}
		on := or(g.GetSystem(), f.Self)
		found = append(found, Finding{Severity: isError, What: fmt.Sprintf("agent %s is %s on %s%s", g.GetType(), strings.ToLower(g.GetState()), on, because(g.GetReason())),
			Why: "nobody monitors its resources there", Command: fmt.Sprintf("ha log --agent %s; then ha agent start %s --system %s", g.GetType(), g.GetType(), on)})
	}
	return found
}

func jeopardy(f *Facts) (found []Finding) {
	for _, s := range f.Status.GetSystems() {
		if s.GetJeopardy() {
			found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("system %s is seen over one link only (jeopardy)", s.GetName()),
				Why: "if that link breaks too, nobody can tell a dead system from a cut", Command: "lltstat -nvv; repair the link that is down"})
		}
	}
	return found
}

func frozen(f *Facts) (found []Finding) {
	for _, s := range f.Status.GetSystems() {
		if s.GetFrozen() {
			found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("system %s is frozen", s.GetName()),
				Why: "no group comes to it or leaves it by itself", Command: "ha system unfreeze " + s.GetName() + persistent(s.GetAttributes())})
		}
	}
	for _, g := range f.Status.GetGroups() {
		if g.GetFrozen() {
			found = append(found, Finding{Severity: isWarning, What: fmt.Sprintf("group %s is frozen", g.GetName()),
				Why: "it is not restarted and does not fail over, whatever happens", Command: "ha group unfreeze " + g.GetName() + persistent(g.GetAttributes())})
		}
	}
	return found
}

func persistent(attributes []*hadv1.Attribute) string {
	if slices.ContainsFunc(attributes, func(a *hadv1.Attribute) bool { return a.GetName() == "Frozen" && a.GetValue() == "1" }) {
		return " --persistent"
	}
	return ""
}

func versions(f *Facts) []Finding {
	of := map[string][]string{}
	for _, s := range f.Status.GetSystems() {
		for _, a := range s.GetAttributes() {
			if a.GetName() == "EngineVersion" && a.GetValue() != "" && s.GetState() == "RUNNING" {
				of[a.GetValue()] = append(of[a.GetValue()], s.GetName())
			}
		}
	}
	if len(of) < 2 {
		return nil
	}
	var parts []string
	for v, names := range of {
		parts = append(parts, v+" on "+strings.Join(names, ", "))
	}
	slices.Sort(parts)
	return []Finding{{Severity: isWarning, What: "systems run different releases: " + strings.Join(parts, "; "),
		Why: "that is meant for the time of an upgrade only", Command: "install the same release on all, then one after the other: ha node stop --evacuate && ha node start"}}
}
