package sim

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// hit is what a kind of fault gets to know.
type hit struct {
	Fault
	other *node
	r     *random
}

// faultKind is one kind of fault.
type faultKind struct {
	name string
	// taints: without fencing I1 promises nothing once it has happened.
	taints bool
	// lo and hi bound how long it lasts; hi 0: it is over at once, or lasts.
	lo, hi time.Duration
	do     func(w *World, n *node, h hit)
}

const ms = time.Millisecond

// faultKinds are the kinds of faults, in the order in which they are drawn.
var faultKinds []faultKind

func init() { // faults lie in ambush for moments, and moments bring faults
	faultKinds = []faultKind{
		{"power loss", false, 4000 * ms, 12000 * ms, func(w *World, n *node, h hit) { n.reboot("power lost", h.For, h.For) }},
		{"machine pause", true, 20 * ms, 4000 * ms, func(w *World, n *node, h hit) { n.freeze(h.For) }},
		{"process pause", true, 10 * ms, 3000 * ms, func(w *World, n *node, h hit) { w.pauseDaemon(n, h) }},
		{"partition", true, 0, 0, func(w *World, n *node, h hit) { w.partition(h.r, 0) }},
		{"partition that heals", true, 100 * ms, 5000 * ms, func(w *World, n *node, h hit) { w.partition(h.r, h.For) }},
		{"partial partition", true, 100 * ms, 8000 * ms, func(w *World, n *node, h hit) { w.partialPartition(h) }},
		{"one-way cut", true, 0, 0, func(w *World, n *node, h hit) {
			w.tell("%s does not hear %s", h.other.name, n.name)
			w.cutWire(n.id, h.other.id)
		}},
		{"one link cut", false, 200 * ms, 9000 * ms, func(w *World, n *node, h hit) { w.cutOneLink(n, h) }},
		{"interface down", true, 100 * ms, 6000 * ms, func(w *World, n *node, h hit) {
			l := h.r.n(w.network.links)
			w.tell("%s loses its interface %d", n.name, l)
			n.darken(l)
			w.after(h.For, func() { n.lighten(l) })
		}},
		{"switch down", true, 100 * ms, 6000 * ms, func(w *World, n *node, h hit) { w.switchDown(h) }},
		{"link flap", true, 50 * ms, 900 * ms, func(w *World, n *node, h hit) {
			w.cutBoth(n.id, h.other.id)
			w.after(h.For, func() {
				w.restoreWire(n.id, h.other.id)
				w.restoreWire(h.other.id, n.id)
			})
		}},
		{"clogging in waves", true, 100 * ms, 3000 * ms, func(w *World, n *node, h hit) { w.clogWaves(h) }},
		{"heal", false, 0, 0, func(w *World, n *node, h hit) { w.tell("links heal"); w.heal() }},
		{"slow machine", true, 1000 * ms, 5000 * ms, func(w *World, n *node, h hit) {
			n.slow = h.r.between(0, 60*ms)
			w.after(h.For, func() { n.slow = 0 })
		}},
		{"clock", false, 0, 0, func(w *World, n *node, h hit) {
			jump := time.Duration(0)
			if h.r.one(3) {
				jump, w.tainted = h.r.between(0, 3*time.Second), true // as after a pause
			}
			n.adjust(jump, int64(h.r.n(1001))-500)
			n.wallBy += h.r.between(-2*time.Hour, 2*time.Hour)
			w.say("clock of %s: jump %s, drift %d, wall %s", n.name, jump, n.drift, n.wallBy)
		}},
		{"had dies", false, 0, 0, func(w *World, n *node, h hit) {
			if n.had != nil {
				n.endHad(n.had, "it dies", false)
			}
		}},
		{"gab dies", false, 0, 0, func(w *World, n *node, h hit) { n.killGab() }},
		{"fencing dies", false, 0, 0, func(w *World, n *node, h hit) { n.killFencing() }},
		{"agent dies", false, 0, 0, func(w *World, n *node, h hit) {
			if n.had != nil {
				if names := sortedKeys(n.had.agents); len(names) > 0 {
					n.had.killAgent(n.had.agents[names[h.r.n(len(names))]])
				}
			}
		}},
		{"agent lies", false, 500 * ms, 6000 * ms, func(w *World, n *node, h hit) { w.agentLies(n, h) }},
		{"application dies", false, 0, 0, func(w *World, n *node, h hit) {
			for range 4 {
				if r := w.res[h.r.n(len(w.res))]; n.running[r.index] {
					n.appFault(r)
					return
				}
			}
		}},
		{"persistent resource breaks", false, 0, 0, func(w *World, n *node, h hit) {
			for _, r := range w.res {
				if r.op == schedule.None && h.r.one(2) {
					r.broken[n.id] = !r.broken[n.id]
				}
			}
		}},
		{"point fails", false, 0, 0, func(w *World, n *node, h hit) {
			if len(w.points) > 0 {
				p := &w.points[h.r.n(len(w.points))]
				p.down = !p.down
			}
		}},
		{"operator", false, 0, 0, func(w *World, n *node, h hit) { w.randomCommand(h.r, n) }},
		{"two operators", false, 0, 0, func(w *World, n *node, h hit) { w.randomCommand(h.r, n); w.randomCommand(h.r, h.other) }},
		{"operator reconfigures", false, 0, 0, func(w *World, n *node, h hit) { w.reconfigure(h.r, n) }},
		{"node stop", false, 0, 0, func(w *World, n *node, h hit) { w.stopNode(n) }},
	}
}

func faultNames() []string {
	var out []string
	for _, k := range faultKinds {
		out = append(out, k.name)
	}
	return out
}

// pauseDaemon is SIGSTOP for one of the daemons.
func (w *World) pauseDaemon(n *node, h hit) {
	ps := []*proc{}
	if n.gab != nil {
		ps = append(ps, n.gab.proc)
	}
	if n.fence != nil {
		ps = append(ps, n.fence.proc)
	}
	if n.had != nil {
		ps = append(ps, n.had.proc)
	}
	if len(ps) > 0 {
		w.freezeProc(ps[h.r.n(len(ps))], h.For)
	}
}

// partition cuts the systems in two.
func (w *World) partition(r *random, d time.Duration) {
	side := make([]bool, len(w.nodes))
	text := ""
	for i := range side {
		side[i] = r.one(2)
		if side[i] {
			text += w.nodes[i].name
		}
	}
	w.tell("the network splits: {%s} and the rest", text)
	for a := range side {
		for b := range a {
			if side[a] != side[b] {
				w.cutFor(a, b, d)
			}
		}
	}
}

// cutFor cuts two systems off from each other, for ever if d is 0.
func (w *World) cutFor(a, b int, d time.Duration) {
	w.cutBoth(a, b)
	if d > 0 {
		w.after(d, func() {
			w.restoreWire(a, b)
			w.restoreWire(b, a)
		})
	}
}

// partialPartition cuts some pairs, so that not everybody hears everybody.
func (w *World) partialPartition(h hit) {
	w.tell("some systems do not hear each other")
	for a := range w.nodes {
		for b := range a {
			switch h.r.n(5) {
			case 0:
				w.cutFor(a, b, h.For)
			case 1:
				if h.r.one(2) {
					a, b := a, b
					w.cutWire(a, b)
					w.after(h.For, func() { w.restoreWire(a, b) })
				}
			}
		}
	}
}

// cutOneLink cuts one of the links between two systems, perhaps one way only.
func (w *World) cutOneLink(n *node, h hit) {
	l, both := h.r.n(w.network.links), h.r.one(2)
	if w.network.links == 1 {
		w.tainted = true
	}
	w.tell("link %d from %s to %s is cut", l, n.name, h.other.name)
	w.cutLink(n.id, h.other.id, l)
	if both {
		w.cutLink(h.other.id, n.id, l)
	}
	w.after(h.For, func() {
		w.network.wire(n.id, h.other.id, l).cut = false
		w.network.wire(h.other.id, n.id, l).cut = w.network.wire(h.other.id, n.id, l).cut && !both
	})
}

// switchDown takes one link away from everybody; the interfaces may tell.
func (w *World) switchDown(h hit) {
	l, told := h.r.n(w.network.links), h.r.one(2)
	w.tell("the switch of link %d is down", l)
	for _, n := range w.nodes {
		if told {
			n.darken(l)
			w.after(h.For+h.r.between(0, 300*ms), func() { n.lighten(l) })
			continue
		}
		for _, o := range w.nodes {
			if n != o {
				w.cutLink(n.id, o.id, l)
				w.after(h.For, func() { w.network.wire(n.id, o.id, l).cut = false })
			}
		}
	}
}

// clogWaves holds the frames on some wires, one wire after the other, and lets
// them go in another order, two or three times.
func (w *World) clogWaves(h hit) {
	w.tell("links clog in waves")
	at := time.Duration(0)
	for range 2 + h.r.n(2) {
		for i := range w.network.wires {
			if wi := &w.network.wires[i]; h.r.one(3) {
				w.after(at+h.r.between(0, 200*ms), func() { wi.clogged = !w.calm })
				w.after(at+200*ms+h.r.between(0, h.For), func() { w.unclog(wi) })
			}
		}
		at += 300*ms + h.For
	}
}

// stopNode is ha node stop: had in order, then gab, which refuses while
// something protected is here; started again later.
func (w *World) stopNode(n *node) {
	h := n.had
	if h == nil || !h.running {
		return
	}
	boots := n.boots
	// Only gab keeps a system here on which hastop -force left something (R14).
	left := w.broken("unprotected-leave")
	w.command(n, engine.Command{Kind: engine.CommandSystemStop, Systems: []string{n.name}, Force: left})
	w.after(w.fate.between(time.Second, 8*time.Second), func() {
		if n.on && n.boots == boots && n.had == nil && n.stopped && n.gab != nil {
			n.leaveCluster(false, func(ok bool) { w.say("%s leaves the cluster: %t", n.name, ok) })
		}
	})
}

// randomCommand lets an operator do something, sensible or not.
func (w *World) randomCommand(r *random, n *node) {
	g := w.cfg.Groups[r.n(len(w.cfg.Groups))].Name
	res := w.res[r.n(len(w.res))].name
	sys := w.nodes[r.n(len(w.nodes))].name
	c := engine.Command{Group: g, System: sys}
	switch r.n(18) {
	case 0, 1, 2:
		c.Kind = engine.CommandGroupOnline
		if r.one(3) {
			c.System, c.Any = "", true
		}
	case 3, 4:
		c.Kind = engine.CommandGroupOffline
	case 5, 6, 7:
		c.Kind = engine.CommandGroupSwitch
		if r.one(3) {
			c.System, c.Any = "", true
		}
	case 8:
		c.Kind, c.System = engine.CommandGroupClear, ""
	case 9:
		c.Kind, c.System = engine.CommandGroupFreeze, ""
	case 10:
		c.Kind, c.System = engine.CommandGroupUnfreeze, ""
	case 11:
		c.Kind, c.Force = engine.CommandGroupFlush, r.one(3)
	case 12:
		c.Kind = engine.CommandGroupAutoenable
	case 13:
		c = engine.Command{Kind: engine.CommandResourceOnline, Resource: res, System: sys}
	case 14:
		c = engine.Command{Kind: engine.CommandResourceOffline, Resource: res, System: sys, IgnoreParent: r.one(3)}
	case 15:
		c = engine.Command{Kind: engine.CommandResourceProbe, Resource: res, System: sys}
	case 16:
		c = engine.Command{Kind: engine.CommandSystemStop, Systems: []string{sys}, Force: r.one(4), Evacuate: r.one(2)}
		if r.one(6) {
			c.Systems, c.All = nil, true
		}
	case 17:
		c = engine.Command{Kind: engine.CommandSystemFreeze, System: sys, Evacuate: r.one(3)}
		if r.one(2) {
			c = engine.Command{Kind: engine.CommandSystemUnfreeze, System: sys}
		}
	}
	w.command(n, c)
}

// command is one call of a user at a system; sometimes the answer is lost and
// the user asks again, somewhere.
func (w *World) command(n *node, c engine.Command) {
	if c.RequestID == "" {
		c.RequestID = fmt.Sprintf("r%d", w.user.next())
	}
	c.User = "root"
	h := n.had
	if h == nil || h.dead {
		return
	}
	w.oracle.count("commands")
	w.moment(n, "command")
	w.later(h.proc, w.net.between(100*time.Microsecond, 2*time.Millisecond), func() {
		w.tell("operator at %s: %s", n.name, c)
		h.submit(c, func(r engine.CommandResult, known bool) {
			switch {
			case !known:
				w.oracle.count("commands UNKNOWN")
			default:
				w.oracle.count("commands " + string(r.Code))
				w.oracle.acknowledged(r)
				for _, x := range r.Notices {
					w.tell("  %s %s", x.Severity, x.Text)
				}
			}
			if !w.calm && w.user.one(4) {
				again := w.nodes[w.user.n(len(w.nodes))]
				w.after(w.user.between(0, 2*time.Second), func() { w.command(again, c) })
			}
		})
	})
}
