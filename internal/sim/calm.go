package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// The bounds of I5 in the simulator, from the end of the faults: settleTime is
// detection, evidence, join and the sum of timeouts on the way; then an
// administrator does what the status says, and it must suffice.
const (
	settleTime = 60 * time.Second
	adminTime  = 180 * time.Second
)

// settleDown ends all faults and checks that everything comes together (I5).
func (w *World) settleDown() {
	w.calm = true
	w.tell("calm: no more faults")
	w.heal()
	w.ambushes = nil
	for _, n := range w.nodes {
		n.slow = 0
	}
	for i := range w.points {
		w.points[i].down = false
	}
	for _, r := range w.res {
		clear(r.broken)
		clear(r.trouble)
		clear(r.lies)
	}
	end := w.now.Add(settleTime + adminTime)
	admin, rounds := w.now.Add(settleTime), 0
	for w.now < end && w.failure == "" {
		w.turn(w.now.Add(500 * time.Millisecond))
		w.keepUp()
		why := w.unhealthy()
		if why == "" {
			w.turn(w.now.Add(2 * time.Second))
			if w.unhealthy() == "" {
				w.lastLook()
				return
			}
		}
		if w.now >= admin {
			if text := w.unexplained(); text != "" && rounds == 0 {
				w.fail("I5: %s after the last fault, and nothing says what leads out: %s", settleTime, text)
				return
			}
			w.oracle.count("administrator's rounds")
			w.administer(rounds)
			rounds++
			admin = w.now.Add(20 * time.Second)
		}
	}
	if w.failure == "" {
		w.fail("I5: %s after the last fault, %s%s", settleTime+adminTime, w.unhealthy(), w.dump())
	}
}

func (w *World) lastLook() {
	for _, n := range w.nodes {
		if n.had != nil && n.had.running {
			w.oracle.remembered(n.had)
		}
	}
	w.oracle.count("came together")
}

// keepUp is what any operator does without thinking: machines that are off are
// switched on, had is started.
func (w *World) keepUp() {
	for _, n := range w.nodes {
		if !n.on {
			n.pressButton(4*time.Second, 8*time.Second)
			continue
		}
		n.startStopped()
	}
}

// unhealthy says what is not as it should be, "" if all is well: everybody on
// port h and RUNNING, every enabled group online.
func (w *World) unhealthy() string {
	for _, n := range w.nodes {
		switch {
		case !n.on || n.frozen:
			return n.name + " is off"
		case n.had == nil || n.had.view == nil:
			return n.name + " is not on port h"
		case !n.had.running:
			return fmt.Sprintf("had of %s is %s", n.name, n.had.join.State())
		case len(n.had.view.Members) != len(w.nodes):
			return fmt.Sprintf("%s sees %d systems on port h", n.name, len(n.had.view.Members))
		}
	}
	for _, g := range w.cfg.Groups {
		if text := w.groupTrouble(g.Name); text != "" {
			return text
		}
	}
	h := w.speaker()
	if h == nil {
		return "nobody is RUNNING"
	}
	for _, g := range h.engine.Status().Groups {
		for _, on := range g.Systems {
			if !on.Probed {
				return fmt.Sprintf("group %s is not probed on %s", g.Name, on.System)
			}
		}
	}
	return ""
}

// groupTrouble looks at the applications of a group.
func (w *World) groupTrouble(name string) string {
	full, parallel := 0, false
	for _, n := range w.nodes {
		up, all := 0, 0
		for _, r := range w.res {
			if r.group != name || r.op == schedule.None || r.gone || !r.enabled {
				continue
			}
			parallel = !r.failover
			all++
			if n.running[r.index] {
				up++
			}
		}
		if all == 0 || up == all {
			full++
		}
	}
	if full == 0 || full > 1 && !parallel && w.onOff(name) {
		return fmt.Sprintf("group %s runs on %d systems", name, full)
	}
	return ""
}

func (w *World) onOff(group string) bool {
	for _, r := range w.res {
		if r.group == group && r.op == schedule.OnOff && !r.gone && r.enabled {
			return true
		}
	}
	return false
}

// speaker is a RUNNING had, nil if there is none.
func (w *World) speaker() *hadd {
	for _, n := range w.nodes {
		if n.had != nil && n.had.running && !n.had.spooling {
			return n.had
		}
	}
	return nil
}

// unexplained names a failover group that is not online although nothing is
// said to stand in its way and it was not a user's wish, as is what was disabled
// and enabled again: nothing brings that online by itself. (Parallel groups do
// not fail over, and start by themselves only where AutoStartList says.)
func (w *World) unexplained() string {
	h := w.speaker()
	if h == nil {
		return ""
	}
	for _, g := range h.engine.Status().Groups {
		if g.Parallel == 1 || w.groupTrouble(g.Name) == "" || len(g.Hindrances) > 0 || g.TFrozen || !g.IntentOnline || w.partly(g.Name) || w.meddled[g.Name] {
			continue
		}
		return fmt.Sprintf("group %s: %v%s", g.Name, g.Systems, w.dump())
	}
	return ""
}

// partly: something of the group runs, as a user may have wished it (hares
// -online and -offline act on single resources).
func (w *World) partly(group string) bool {
	for _, n := range w.nodes {
		for _, r := range w.res {
			if r.group == group && n.running[r.index] {
				return true
			}
		}
	}
	return false
}

// administer does what the status tells an administrator to do.
func (w *World) administer(round int) {
	w.administerGate(round)
	h := w.speaker()
	if h == nil {
		w.administerStart()
		return
	}
	for _, n := range w.nodes {
		w.command(h.n, engine.Command{Kind: engine.CommandSystemUnfreeze, System: n.name})
	}
	w.enableAll(h)
	for _, g := range w.cfg.Groups {
		if w.groupTrouble(g.Name) == "" {
			continue
		}
		w.command(h.n, engine.Command{Kind: engine.CommandGroupUnfreeze, Group: g.Name})
		for _, n := range w.nodes {
			if g.RunsOn(n.name) {
				w.command(h.n, engine.Command{Kind: engine.CommandGroupAutoenable, Group: g.Name, System: n.name})
				if round > 1 {
					w.command(h.n, engine.Command{Kind: engine.CommandGroupFlush, Group: g.Name, System: n.name})
					w.command(h.n, engine.Command{Kind: engine.CommandGroupOffline, Group: g.Name, System: n.name})
				}
			}
		}
		w.command(h.n, engine.Command{Kind: engine.CommandGroupClear, Group: g.Name})
		group := g.Name
		w.after(8*time.Second, func() {
			if h := w.speaker(); h != nil {
				w.command(h.n, engine.Command{Kind: engine.CommandGroupOnline, Group: group, Any: true})
			}
		})
	}
}

// enableAll takes back what operators have disabled: what requires a resource
// that is disabled does not come online.
func (w *World) enableAll(h *hadd) {
	var edits [][]string
	for _, r := range w.res {
		if !r.gone && !r.enabled {
			edits = append(edits, []string{"hares", "-modify", r.name, "Enabled", "1"})
		}
	}
	if len(edits) > 0 {
		w.command(h.n, engine.Command{Kind: engine.CommandConfigWritable})
		w.command(h.n, engine.Command{Kind: engine.CommandConfigConfirm})
		w.command(h.n, engine.Command{Kind: engine.CommandConfigChange, Edits: edits})
	}
}

// administerGate opens a gate that is held for want of evidence: a vouch for
// whoever is certainly off, and if that does not help, a restart of the lowest
// member. (An answer of a system that those who departed did not know is
// discarded, and that system goes on being the racer; docs/testing.md.)
func (w *World) administerGate(round int) {
	for _, n := range w.nodes {
		f, g := n.fence, n.gab
		if !n.on || f == nil || g == nil || f.sess == nil {
			continue
		}
		gate := g.core.Status().Gate
		if !gate.Held || len(gate.WaitingFor) == 0 {
			continue
		}
		if round > 1 {
			w.oracle.count("gates that only a restart opened")
			n.reboot("administrator restarts it", 4*time.Second, 8*time.Second)
			return
		}
		for _, m := range gate.WaitingFor {
			if gone := w.nodes[m.Node]; !gone.on || gone.gab == nil || gone.gab.inc != m.Incarnation {
				f.broadcast(fencing.Vouch{System: w.systemOf(m), Who: "root", Request: fmt.Sprintf("v%d", w.user.next())})
			}
		}
		return
	}
}

// administerStart gets a cluster going in which nobody is RUNNING: keys of
// incarnations that are no more are cleared, one system builds from its disk.
func (w *World) administerStart() {
	onB := false
	for _, n := range w.nodes {
		onB = onB || n.fence != nil && n.fence.core.Snapshot().Phase == fencing.Running
	}
	if !onB {
		for i := range w.points {
			p := &w.points[i]
			p.keys = slices.DeleteFunc(slices.Clone(p.keys), func(k fencing.Key) bool {
				n := w.nodes[k.Node]
				return !n.on || n.gab == nil || n.gab.inc != k.Incarnation
			})
		}
		w.tell("administrator: ha fencing clear")
	}
	for _, n := range w.nodes {
		if h := n.had; h != nil && (h.join.State() == join.AdminWait || h.join.State() == join.StaleAdminWait) {
			w.command(n, engine.Command{Kind: engine.CommandSystemForce, System: n.name})
			return
		}
	}
}

// dump is for people who look at a failure.
func (w *World) dump() string {
	var b strings.Builder
	for _, n := range w.nodes {
		fmt.Fprintf(&b, "\n  %s on=%t", n.name, n.on)
		if n.gab != nil {
			st := n.gab.core.Status()
			fmt.Fprintf(&b, " gab %s %s %v wait=%q", st.State, st.View, st.Systems, st.WaitingFor)
		}
		if n.fence != nil {
			s := n.fence.core.Snapshot()
			fmt.Fprintf(&b, " fencing %s %q gated=%v", s.Phase, s.Reason, s.Gated)
		}
		if n.had != nil {
			fmt.Fprintf(&b, " had %s port=%t gate=%q pos=%s armed=%t", n.had.join.State(), n.had.sess != nil, n.had.gate, n.had.pos, n.had.protection.armed)
		}
		for _, r := range w.res {
			if n.running[r.index] {
				fmt.Fprintf(&b, " %s", r.name)
			}
		}
	}
	if h := w.speaker(); h != nil {
		for _, g := range h.engine.Status().Groups {
			fmt.Fprintf(&b, "\n  %s intent=%t hindrances=%q", g.Name, g.IntentOnline, g.Hindrances)
			for _, on := range g.Systems {
				fmt.Fprintf(&b, " %s:%s", on.System, on.State)
			}
		}
	}
	return b.String()
}

// groupLines is the state of the groups as the cluster tells it.
func (w *World) groupLines() []string {
	h := w.speaker()
	if h == nil {
		return nil
	}
	var out []string
	for _, g := range h.engine.Status().Groups {
		for _, on := range g.Systems {
			out = append(out, fmt.Sprintf("%-12s %-10s %s", g.Name, on.System, on.State))
		}
	}
	return out
}

// explained checks that a decision is taken again as it was (E196), and tells
// it once, whoever made it.
func (w *World) explained(x engine.Explanation) {
	w.oracle.count("E196")
	if !x.Repeatable() {
		w.fail("E196: deciding again on the stored inputs gives another decision than: %s, on %s", x, x.On)
	}
	if key := (place{lineage: x.Pos.Lineage, seq: x.Pos.Seq}); w.opt.Story != nil && !w.oracle.told[tellKey{key, x.Group + x.Subject}] {
		w.oracle.told[tellKey{key, x.Group + x.Subject}] = true
		w.opt.Story(w.now.String() + "  " + strings.ReplaceAll(x.String(), "\n", "\n              "))
	}
}

type tellKey struct {
	at   place
	what string
}

// ends are the groups now.
func (w *World) ends() []GroupEnd {
	h := w.speaker()
	if h == nil {
		return nil
	}
	var out []GroupEnd
	for _, g := range h.engine.Status().Groups {
		end := GroupEnd{Group: g.Name, Hindrances: g.Hindrances}
		for _, on := range g.Systems {
			if strings.Contains(on.State, "ONLINE") || strings.Contains(on.State, "PARTIAL") {
				end.Online = append(end.Online, on.System)
			}
		}
		if why := h.engine.Explanations(g.Name); len(why) > 0 {
			end.Why = why[len(why)-1].String()
		}
		out = append(out, end)
	}
	return out
}
