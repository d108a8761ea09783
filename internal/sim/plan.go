package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// Plan is all that is drawn for a random run before it begins. Any fault can be
// taken out, and any number of the swarm made harmless, without the others
// changing: that is how a failure is made small.
type Plan struct {
	Seed  uint64        `json:"seed"`
	Swarm Swarm         `json:"swarm"`
	Files []engine.File `json:"files"`
	// Faults happen at their times, counted from the first boot.
	Faults []Fault `json:"faults"`
	// Calm is when the faults stop and everything must come together.
	Calm time.Duration `json:"calm"`
}

// Swarm is how a seed's world behaves all the time: what is slow and what fails
// how often. Different seeds try different corners.
type Swarm struct {
	Nodes  int  `json:"nodes"`
	Fenced bool `json:"fenced"`
	// Links of LLT, the last of them of low priority or not, and a region on a
	// shared disk beside them or not; frames sealed or not; the timers:
	// "default", "fast" or "coarse".
	Links       int    `json:"links"`
	LowPriority bool   `json:"low_priority"`
	DiskRegion  bool   `json:"disk_region"`
	Encrypted   bool   `json:"encrypted"`
	Profile     string `json:"profile"`
	// How many of 10,000 frames are lost, doubled, spoiled, or late by at most
	// LateBy, so that others overtake them.
	Loss    int `json:"loss"`
	Dup     int `json:"dup"`
	Corrupt int `json:"corrupt"`
	Late    int `json:"late"`
	// Longest times: of a frame on its way, an operation on a point, an entry
	// point, a machine's restart; and how often a disk is written to.
	WireDelay  time.Duration `json:"wire_delay"`
	LateBy     time.Duration `json:"late_by"`
	PointDelay time.Duration `json:"point_delay"`
	EntryTime  time.Duration `json:"entry_time"`
	PowerCycle time.Duration `json:"power_cycle"`
	WriteEvery time.Duration `json:"write_every"`
	// Once in so many: an error of a disk, a point, the power switch, an entry
	// point; 0 never.
	DiskErrors  int `json:"disk_errors"`
	PointErrors int `json:"point_errors"`
	PowerErrors int `json:"power_errors"`
	EntryErrors int `json:"entry_errors"`
}

// links are LLT's, the disk region among them.
func (s Swarm) links() int {
	if s.DiskRegion {
		return s.Links + 1
	}
	return s.Links
}

// Fault is one thing that goes wrong, or that somebody does.
type Fault struct {
	At   time.Duration `json:"at"`
	Kind string        `json:"kind"`
	// Node and Other are the systems that it is about, counted from 0.
	Node  int `json:"node"`
	Other int `json:"other"`
	// For is how long it lasts, where it ends by itself.
	For time.Duration `json:"for,omitempty"`
	// On, if set, is the moment at which it happens instead, once after At:
	// Moments has them.
	On string `json:"on,omitempty"`
	// Seed fixes what else the fault draws.
	Seed uint64 `json:"seed"`
}

// String is the fault for people.
func (f Fault) String() string {
	s := fmt.Sprintf("%s: %s at %s", f.At.Round(time.Millisecond), f.Kind, nodeName(f.Node))
	if f.On != "" {
		s += fmt.Sprintf(", when next: %s", f.On)
	}
	return s
}

func nodeName(n int) string { return string(rune('A' + n)) }

// Draw draws the plan of a seed.
func Draw(opt Options) Plan {
	p := Plan{Seed: opt.Seed, Files: opt.Files}
	p.Swarm = newSwarm(fork(opt.Seed, "swarm"), opt)
	if p.Files == nil {
		p.Files = randomConfig(fork(opt.Seed, "config"), p.Swarm.Nodes)
	}
	if opt.Scenario == nil {
		m, _ := mutantOf(opt.Broken)
		p.drawFaults(fork(opt.Seed, "fate"), m.favour)
	}
	return p
}

func newSwarm(r *random, opt Options) Swarm {
	pick := func(ns ...int) int { return ns[r.n(len(ns))] }
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	s := Swarm{
		Nodes: 3 + r.n(6), Fenced: r.n(3) > 0,
		Links: pick(1, 2, 2, 2, 3), LowPriority: r.one(3), Encrypted: r.one(2),
		Profile: [...]string{"default", "coarse", "coarse", "fast"}[r.n(4)],
		Loss:    pick(0, 0, 50, 300), Dup: pick(0, 0, 50, 300), Corrupt: pick(0, 0, 20, 200), Late: pick(0, 0, 100, 500),
		WireDelay: []time.Duration{100 * time.Microsecond, ms(1), ms(5)}[r.n(3)], LateBy: ms(pick(2, 20, 150)),
		PointDelay: ms(pick(5, 30, 150)), EntryTime: ms(pick(50, 500, 2500)),
		PowerCycle: ms(pick(4000, 6000, 9000)), WriteEvery: ms(100), DiskErrors: pick(0, 20),
		PointErrors: pick(0, 0, 30, 8), PowerErrors: pick(0, 0, 10, 3), EntryErrors: pick(0, 60, 15),
	}
	s.DiskRegion = r.one(4)
	if opt.Nodes > 0 {
		s.Nodes = opt.Nodes
	}
	switch opt.Fencing {
	case "majority":
		s.Fenced = true
	case "disabled":
		s.Fenced = false
	}
	if m, _ := mutantOf(opt.Broken); opt.Broken != "" {
		if m.fencing != "" && opt.Fencing == "" {
			s.Fenced = m.fencing == "majority"
		}
		if m.swarm != nil {
			m.swarm(&s)
		}
	}
	if opt.Scenario != nil {
		s.Links, s.LowPriority, s.DiskRegion, s.Encrypted, s.Profile = 2, false, false, false, "coarse"
		s.Loss, s.Dup, s.Corrupt, s.Late = 0, 0, 0, 0
		s.WireDelay, s.PointDelay, s.EntryTime = 200*time.Microsecond, ms(5), ms(300)
		s.DiskErrors, s.PointErrors, s.PowerErrors, s.EntryErrors = 0, 0, 0, 0
	}
	return s
}

// drawFaults draws which kinds of faults a seed has at all, how often, and
// when. Those that are favoured it has.
func (p *Plan) drawFaults(r *random, favour []string) {
	weights, total := make([]int, len(faultKinds)), 0
	for i := range faultKinds {
		weights[i] = [...]int{0, 0, 1, 1, 4}[r.n(5)]
		if slices.Contains(favour, faultKinds[i].name) {
			weights[i] = 8
		}
		total += weights[i]
	}
	count := 5 + r.n(40)
	gap := [...]time.Duration{300 * time.Millisecond, 1500 * time.Millisecond, 4 * time.Second}[r.n(3)]
	ambush := [...]int{0, 3, 8}[r.n(3)]
	at := r.between(2*time.Second, 8*time.Second)
	for range count {
		if total == 0 {
			break
		}
		draw := r.n(total)
		i := slices.IndexFunc(weights, func(w int) bool { draw -= w; return draw < 0 })
		f := Fault{At: at, Kind: faultKinds[i].name, Node: r.n(p.Swarm.Nodes), Seed: r.next()}
		f.Other = (f.Node + 1 + r.n(max(1, p.Swarm.Nodes-1))) % p.Swarm.Nodes
		if hi := faultKinds[i].hi; hi > 0 {
			f.For = r.between(faultKinds[i].lo, hi)
		}
		if r.one(ambush) {
			f.On = moments[r.n(len(moments))]
		}
		p.Faults = append(p.Faults, f)
		if !r.one(4) {
			at += r.between(0, gap)
		}
	}
	p.Calm = at + gap
}

// moments are the worst moments: a fault may wait for one.
var moments = []string{"gate held", "race", "jeopardy", "view", "online", "offline", "import", "command", "snapshot", "joined", "disk"}

// moment is called at each of them.
func (w *World) moment(n *node, what string) {
	for i, f := range w.ambushes {
		if f.On != what || w.calm {
			continue
		}
		w.ambushes = slices.Delete(w.ambushes, i, i+1)
		r := &random{state: f.Seed ^ 0xa3b5}
		if r.one(2) {
			f.Node = n.id
		}
		f.On = ""
		w.say("%s at %s: the moment for %s", what, n.name, f.Kind)
		w.after(r.between(0, 30*time.Millisecond), func() { w.inject(f) })
		return
	}
}

// inject lets a fault happen.
func (w *World) inject(f Fault) {
	if w.calm || w.failure != "" {
		return
	}
	if f.On != "" {
		w.ambushes = append(w.ambushes, f)
		return
	}
	i := slices.IndexFunc(faultKinds, func(k faultKind) bool { return k.name == f.Kind })
	if i < 0 {
		w.fail("no fault %q; there are: %s", f.Kind, strings.Join(faultNames(), ", "))
		return
	}
	kind := faultKinds[i]
	n := w.nodes[f.Node%len(w.nodes)]
	w.faults++
	w.oracle.count("fault: " + kind.name)
	w.say("fault: %s at %s", kind.name, n.name)
	w.tainted = w.tainted || kind.taints
	kind.do(w, n, hit{f, w.nodes[f.Other%len(w.nodes)], &random{state: f.Seed}})
}

// randomRun plays a plan.
func (w *World) randomRun() {
	begin := w.now
	for _, n := range w.nodes {
		w.after(w.boot.between(0, 500*time.Millisecond), n.powerOn)
	}
	for _, f := range w.plan.Faults {
		w.after(f.At, func() { w.inject(f) })
	}
	w.turn(begin.Add(w.plan.Calm))
	w.settleDown()
}
