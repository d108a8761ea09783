package sim

import (
	"encoding/json"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/standing/verdict"
	"github.com/evenkeel/evenkeel/services/gab"
)

// clusterID is the one of every simulated cluster.
const clusterID = 7

// fenced is the daemon fencing: what services/fencing/server does.
type fenced struct {
	*proc
	core   Fencing
	alarm  alarm
	sess   *session
	lastID uint64
	flying map[uint64][]byte
}

// wireFence is a message of port b.
type wireFence struct {
	Race  *fencing.RaceResult `json:",omitempty"`
	Vouch *fencing.Vouch      `json:",omitempty"`
}

func (n *node) startFencing() {
	w := n.w
	if !n.on || n.fence != nil {
		return
	}
	core, err := w.cores.Fencing(n.id, fencing.Config{Points: len(w.points), RaceDelay: 300 * time.Millisecond, RaceTimeout: 3 * time.Second, PowerSwitch: w.fenced})
	if err != nil {
		panic(err)
	}
	f := &fenced{proc: n.newProc("fencing"), core: core, flying: map[uint64][]byte{}}
	n.fence = f
	n.judge(verdict.Seen{Name: verdict.Fencing, PID: 2})
	w.pollMembership(f)
}

// killFencing is the death of the process; an init system starts it again.
func (n *node) killFencing() {
	w, f := n.w, n.fence
	if f == nil || f.dead {
		return
	}
	w.tell("fencing of %s dies", n.name)
	f.dead = true
	f.sess.close()
	n.fence = nil
	n.judge(verdict.Missing{Name: verdict.Fencing, Why: "died"})
	w.later(n.shadow.proc, w.boot.between(300*time.Millisecond, 3*time.Second), n.startFencing)
}

// pollMembership tells the core of port a until it is on port b.
func (w *World) pollMembership(f *fenced) {
	w.later(f.proc, 100*time.Millisecond, func() {
		defer w.pollMembership(f)
		switch f.core.Snapshot().Phase {
		case fencing.Waiting, fencing.Starting, fencing.Refused:
		default:
			return
		}
		g := f.n.gab
		if g == nil || g.dead || g.stuck() {
			return
		}
		for _, p := range g.core.Ports() {
			if p.Port != gab.PortA {
				continue
			}
			if self, in := member(p.Members, f.n.id); in {
				w.stepFence(f, fencing.Start{Cluster: clusterID, Self: w.systemOf(self), Systems: w.systemsOf(p.Members)})
			}
		}
	})
}

func (w *World) systemOf(m gab.Member) fencing.System {
	return fencing.System{Node: fencing.NodeID(m.Node), Name: w.nodes[m.Node].name, Incarnation: m.Incarnation}
}

func (w *World) systemsOf(ms []gab.Member) []fencing.System {
	out := make([]fencing.System, len(ms))
	for i, m := range ms {
		out[i] = w.systemOf(m)
	}
	return out
}

func (w *World) stepFence(f *fenced, ev fencing.Event) {
	if f.dead || w.failure != "" {
		return
	}
	w.steps++
	out := f.core.Step(f.n.clock(), ev, nil)
	if w.opt.Trace != nil || len(out) > 0 {
		record(w, f.n.name, "fencing", ev, out)
	}
	for _, e := range out {
		w.fenceEffect(f, e)
	}
	at, ok := f.core.Deadline()
	w.arm(&f.alarm, f.proc, at, ok, func() { w.stepFence(f, fencing.Wake{}) })
}

func (w *World) fenceEffect(f *fenced, e fencing.Effect) {
	switch e := e.(type) {
	case fencing.PointOp:
		w.pointOp(f, e)
	case fencing.PowerOff:
		w.powerOp(f, e.ID, e.System.Name, true)
	case fencing.PowerQuery:
		w.powerOp(f, e.ID, e.System.Name, false)
	case fencing.Attach:
		w.attachB(f)
	case fencing.Detach:
		f.sess.close()
		f.sess = nil
	case fencing.Broadcast:
		f.broadcast(e.Message)
	case fencing.Answer:
		w.answerGab(f, e)
	case fencing.SelfStop:
		w.tell("%s lost: %s", f.n.name, e.Reason)
		n := f.n
		w.later(f.proc, time.Millisecond, func() {
			if n.declared > 0 {
				n.selfStop(e.Reason)
				return
			}
			n.leaveCluster(true, nil)
			f.dead = true // a core that lost is finished; the daemon starts anew
			f.sess.close()
			n.fence = nil
			w.later(n.shadow.proc, time.Second, n.startFencing)
		})
	}
}

func (w *World) attachB(f *fenced) {
	f.sess.close()
	f.flying = map[uint64][]byte{}
	var s *session
	s = f.n.attach(gab.PortB, f.proc, func(e any) {
		if f.sess != s {
			return
		}
		switch e := e.(type) {
		case gab.DeliverView:
			w.stepFence(f, w.fenceView(e))
		case gab.DeliverMessage:
			w.fenceMessage(f, e)
		case gab.Outcome:
			payload := f.flying[e.ID]
			delete(f.flying, e.ID)
			if e.Result == gab.ResultLost && payload != nil {
				f.send(payload)
			}
		}
	}, func(why string) {
		if f.sess == s {
			f.sess = nil
			w.stepFence(f, fencing.Detached{Reason: why})
		}
	})
	f.sess = s
	if s == nil {
		w.later(f.proc, time.Millisecond, func() { w.stepFence(f, fencing.Detached{Reason: "gab does not answer"}) })
	}
}

func (w *World) fenceView(v gab.DeliverView) fencing.View {
	out := fencing.View{ID: fenceViewID(v.ID), Members: w.systemsOf(v.Members), Systems: w.systemsOf(v.Systems)}
	for _, m := range v.Members {
		if m.Unknown {
			out.Unknown = append(out.Unknown, fencing.NodeID(m.Node))
		}
	}
	for _, d := range v.Departed {
		out.Departed = append(out.Departed, fencing.Departed{System: w.systemOf(d.Member), Evidence: fencing.Evidence(d.Evidence), Detail: d.Detail})
	}
	return out
}

func fenceViewID(v gab.ViewID) fencing.ViewID {
	return fencing.ViewID{Lineage: v.Lineage, Counter: v.Counter, Coordinator: fencing.NodeID(v.Coordinator), Incarnation: v.Incarnation}
}

func (w *World) fenceMessage(f *fenced, e gab.DeliverMessage) {
	var m wireFence
	if err := json.Unmarshal(e.Payload, &m); err != nil {
		panic(err)
	}
	switch {
	case m.Race != nil:
		w.stepFence(f, fencing.Delivered{From: fencing.NodeID(e.From), Message: *m.Race})
	case m.Vouch != nil:
		w.stepFence(f, fencing.Delivered{From: fencing.NodeID(e.From), Message: *m.Vouch})
	}
}

func (f *fenced) broadcast(m fencing.Message) {
	var out wireFence
	switch m := m.(type) {
	case fencing.RaceResult:
		out.Race = &m
	case fencing.Vouch:
		out.Vouch = &m
	}
	payload, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	f.send(payload)
}

func (f *fenced) send(payload []byte) {
	if f.sess == nil {
		return
	}
	f.lastID++
	f.flying[f.lastID] = payload
	f.sess.say(gab.Send{Port: gab.PortB, ID: f.lastID, Payloads: [][]byte{payload}})
}

func (w *World) answerGab(f *fenced, e fencing.Answer) {
	if f.sess == nil {
		return
	}
	a := gab.FenceAnswer{View: gab.ViewID{Lineage: e.View.Lineage, Counter: e.View.Counter, Coordinator: gab.NodeID(e.View.Coordinator), Incarnation: e.View.Incarnation}}
	for _, d := range e.Departed {
		a.Departed = append(a.Departed, gab.Departed{Member: gab.Member{Node: gab.NodeID(d.System.Node), Incarnation: d.System.Incarnation},
			Evidence: gab.Evidence(d.Evidence), Detail: d.Detail})
		w.oracle.count("evidence " + d.Evidence.String())
	}
	f.sess.say(a)
}

// pointOp does an operation on a coordination point: it may take effect long
// after it was asked for, also when its caller is dead, and its answer may be
// lost.
func (w *World) pointOp(f *fenced, e fencing.PointOp) {
	w.oracle.count("point operations")
	w.moment(f.n, "race")
	reach := w.store.between(time.Millisecond, w.swarm.PointDelay)
	answered := false
	answer := func(r fencing.Result) {
		if !answered {
			answered = true
			w.stepFence(f, fencing.PointDone{ID: e.ID, Result: r})
		}
	}
	w.later(f.proc, 750*time.Millisecond, func() { answer(fencing.Result{Outcome: fencing.Failed, Detail: "no answer"}) })
	w.after(reach, func() {
		p := &w.points[e.Point]
		if p.down && !w.calm || !w.calm && w.store.one(w.swarm.PointErrors) {
			w.later(f.proc, time.Millisecond, func() { answer(fencing.Result{Outcome: fencing.Failed, Detail: "input/output error"}) })
			return
		}
		var r fencing.Result
		p.keys, r = fencing.Apply(p.keys, e.Op)
		w.say("point%d %s -> %s, %d keys", e.Point+1, e.Op, r.Outcome, len(p.keys))
		if !w.calm && w.store.one(w.swarm.PointErrors) {
			return // the answer is lost
		}
		w.later(f.proc, w.store.between(time.Millisecond, w.swarm.PointDelay), func() { answer(r) })
	})
}

// powerOp asks the power switch, which knows machines and not incarnations.
func (w *World) powerOp(f *fenced, id uint64, name string, off bool) {
	victim := w.nodeNamed(name)
	w.after(w.store.between(5*time.Millisecond, 150*time.Millisecond), func() {
		done := fencing.PowerDone{ID: id, Detail: "the switch does not answer"}
		switch {
		case !w.calm && w.store.one(w.swarm.PowerErrors):
		case w.opt.Broken == "power-lies" && off:
			done.Off, done.Detail = true, ""
		case off:
			if victim.on {
				w.oracle.count("powered off")
				victim.reboot("power switch, asked by "+f.n.name, w.swarm.PowerCycle, w.swarm.PowerCycle+2*time.Second)
			}
			done.Off, done.Detail = true, ""
		default:
			done.Off = !victim.on
		}
		w.later(f.proc, w.store.between(time.Millisecond, 50*time.Millisecond), func() { w.stepFence(f, done) })
	})
}
