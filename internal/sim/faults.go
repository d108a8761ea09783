package sim

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// swarm is how a seed's world behaves: what is slow, what fails how often, and
// which faults happen at all. Different seeds try different corners.
type swarm struct {
	nodes       int
	fenced      bool
	faults      int
	gap         time.Duration // longest time between faults
	wireDelay   time.Duration
	pointDelay  time.Duration
	entryTime   time.Duration
	powerCycle  time.Duration
	writeEvery  time.Duration
	diskErrors  int // once in so many; 0 never
	pointErrors int
	powerErrors int
	entryErrors int
	weights     []int // of faultKinds
}

func newSwarm(r *random, opt Options) swarm {
	pick := func(ns ...int) int { return ns[r.n(len(ns))] }
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	s := swarm{
		nodes: 2 + r.n(4), fenced: r.n(3) > 0, faults: 5 + r.n(40), gap: ms(pick(300, 1500, 4000)),
		wireDelay: ms(pick(5, 30, 80)), pointDelay: ms(pick(5, 30, 150)), entryTime: ms(pick(50, 500, 2500)),
		powerCycle: ms(pick(4000, 6000, 9000)), writeEvery: ms(100), diskErrors: pick(0, 20),
		pointErrors: pick(0, 0, 30, 8), powerErrors: pick(0, 0, 10, 3), entryErrors: pick(0, 60, 15),
	}
	if opt.Nodes > 0 {
		s.nodes = opt.Nodes
	}
	switch opt.Fencing {
	case "majority":
		s.fenced = true
	case "disabled":
		s.fenced = false
	}
	for range faultKinds {
		s.weights = append(s.weights, pick(0, 1, 1, 4))
	}
	if opt.Scenario != nil {
		s.wireDelay, s.pointDelay, s.entryTime = ms(5), ms(5), ms(300)
		s.diskErrors, s.pointErrors, s.powerErrors, s.entryErrors = 0, 0, 0, 0
	}
	return s
}

// faultKinds are the faults by name; harmless ones say what taints a cluster
// without fencing.
var faultKinds = []struct {
	name   string
	taints bool
	do     func(w *World, n *node)
}{
	{"power loss", false, func(w *World, n *node) { n.reboot("power lost", 4*time.Second, 12*time.Second) }},
	{"machine pause", true, func(w *World, n *node) { n.freeze(w.fate.between(20*time.Millisecond, 4*time.Second)) }},
	{"process pause", true, func(w *World, n *node) {
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
			w.freezeProc(ps[w.fate.n(len(ps))], w.fate.between(10*time.Millisecond, 3*time.Second))
		}
	}},
	{"partition", true, func(w *World, n *node) { w.partition() }},
	{"one-way cut", true, func(w *World, n *node) {
		if o := w.nodes[w.fate.n(len(w.nodes))]; o != n {
			w.tell("%s does not hear %s", o.name, n.name)
			w.cutWire(n.id, o.id)
		}
	}},
	{"link flap", true, func(w *World, n *node) {
		if o := w.nodes[w.fate.n(len(w.nodes))]; o != n {
			w.cutWire(n.id, o.id)
			w.cutWire(o.id, n.id)
			w.after(w.fate.between(50*time.Millisecond, 900*time.Millisecond), func() {
				w.restoreWire(n.id, o.id)
				w.restoreWire(o.id, n.id)
			})
		}
	}},
	{"heal", false, func(w *World, n *node) { w.tell("links heal"); w.heal() }},
	{"slow machine", true, func(w *World, n *node) {
		n.slow = w.fate.between(0, 60*time.Millisecond)
		w.after(w.fate.between(time.Second, 5*time.Second), func() { n.slow = 0 })
	}},
	{"had dies", false, func(w *World, n *node) {
		if n.had != nil {
			n.endHad(n.had, "it dies", false)
		}
	}},
	{"gab dies", false, func(w *World, n *node) { n.killGab() }},
	{"fencing dies", false, func(w *World, n *node) { n.killFencing() }},
	{"agent dies", false, func(w *World, n *node) {
		if n.had != nil {
			if names := sortedKeys(n.had.agents); len(names) > 0 {
				n.had.killAgent(n.had.agents[names[w.fate.n(len(names))]])
			}
		}
	}},
	{"application dies", false, func(w *World, n *node) {
		for range 4 {
			if r := w.res[w.fate.n(len(w.res))]; n.running[r.index] {
				n.appFault(r)
				return
			}
		}
	}},
	{"persistent resource breaks", false, func(w *World, n *node) {
		for _, r := range w.res {
			if r.op == 2 && w.fate.one(2) {
				r.broken[n.id] = !r.broken[n.id]
			}
		}
	}},
	{"point fails", false, func(w *World, n *node) {
		if len(w.points) > 0 {
			p := &w.points[w.fate.n(len(w.points))]
			p.down = !p.down
		}
	}},
	{"operator", false, func(w *World, n *node) { w.randomCommand(n) }},
	{"operator again", false, func(w *World, n *node) { w.randomCommand(n); w.randomCommand(w.nodes[w.fate.n(len(w.nodes))]) }},
	{"node stop", false, func(w *World, n *node) { w.stopNode(n) }},
}

// fault does one thing that the swarm allows.
func (w *World) fault() {
	total := 0
	for _, k := range w.swarm.weights {
		total += k
	}
	if total == 0 {
		return
	}
	at := w.fate.n(total)
	for i, weight := range w.swarm.weights {
		if at -= weight; at < 0 {
			kind := faultKinds[i]
			n := w.nodes[w.fate.n(len(w.nodes))]
			w.faults++
			w.oracle.count("fault: " + kind.name)
			w.say("fault: %s at %s", kind.name, n.name)
			w.tainted = w.tainted || kind.taints
			kind.do(w, n)
			return
		}
	}
}

func (w *World) partition() {
	side := make([]bool, len(w.nodes))
	text := ""
	for i := range side {
		side[i] = w.fate.one(2)
		if side[i] {
			text += w.nodes[i].name
		}
	}
	w.tell("the network splits: {%s} and the rest", text)
	for _, p := range w.pairs {
		if side[p.ends[0]] != side[p.ends[1]] {
			w.cutWire(p.ends[0], p.ends[1])
			w.cutWire(p.ends[1], p.ends[0])
		}
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
	w.command(n, engine.Command{Kind: engine.CommandSystemStop, Systems: []string{n.name}})
	w.after(w.fate.between(time.Second, 8*time.Second), func() {
		if n.on && n.boots == boots && n.had == nil && n.stopped && n.gab != nil {
			n.leaveCluster(false, func(ok bool) { w.say("%s leaves the cluster: %t", n.name, ok) })
		}
	})
}

// randomCommand lets an operator do something, sensible or not.
func (w *World) randomCommand(n *node) {
	r := w.user
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

// randomRun is one whole run.
func (w *World) randomRun() {
	for _, n := range w.nodes {
		w.after(w.boot.between(0, 500*time.Millisecond), n.powerOn)
	}
	w.turn(w.now.Add(w.fate.between(2*time.Second, 8*time.Second)))
	for i := 0; i < w.swarm.faults && w.failure == ""; i++ {
		w.fault()
		if w.fate.one(4) {
			w.fault()
		}
		w.turn(w.now.Add(w.fate.between(0, w.swarm.gap)))
		w.startStopped()
	}
	w.settleDown()
}

// startStopped is an operator's hastart, now and then.
func (w *World) startStopped() {
	for _, n := range w.nodes {
		if n.on && n.stopped && n.had == nil && w.user.one(4) {
			n.stopped = false
			w.later(n.shadow.proc, time.Millisecond, n.startHad)
		}
	}
}
