package fencing

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"pgregory.net/rapid"
)

// world is a model of a cluster in a split: cores, points with the meaning of
// Apply, a power switch, and one totally ordered log of port b for each side.
// Every choice (who acts next, when an operation takes effect, whether its
// answer is lost, who crashes) is drawn.
type world struct {
	fatal   func(string, ...any)
	draw    func(n int, what string) int
	points  [][]Key
	down    []bool // a point that answers nobody
	nodes   []*node
	views   uint64
	won     map[int]bool       // sides that won
	waiting map[int][]Departed // gab's gate by side: for whom it waits
	trace   []string
}

// node is one system.
type node struct {
	w       *world
	id      int
	core    *Core
	cfg     Config
	now     vclock.Time
	on      bool
	side    int
	queue   []Event // of port b, in order; what the shell has not handed in
	work    []*work
	answers int
}

// work is an outstanding operation: first it takes effect, then it completes.
type work struct {
	effect Effect
	done   Event // nil before it took effect
}

func (w *world) say(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 400 {
		w.trace = w.trace[1:]
	}
}

func sysOf(id int) System {
	return System{Node: NodeID(id), Name: string(rune('A' + id)), Incarnation: uint64(id) + 0xa0}
}

func newWorld(n, points int, cfg Config, draw func(int, string) int, fatal func(string, ...any)) *world {
	w := &world{fatal: fatal, draw: draw, points: make([][]Key, points), down: make([]bool, points), won: map[int]bool{}, waiting: map[int][]Departed{}}
	cfg.Points = points
	for i := range n {
		core, err := New(cfg)
		if err != nil {
			panic(err)
		}
		w.nodes = append(w.nodes, &node{w: w, id: i, core: core, cfg: cfg, on: true})
	}
	// Everybody joins in peace.
	for _, x := range w.nodes {
		x.step(Start{Cluster: 7, Self: sysOf(x.id), Systems: w.systems(0)})
		x.settle()
	}
	w.view(0, nil)
	for _, x := range w.nodes {
		x.settle()
		if x.core.phase != Running {
			panic(fmt.Sprintf("node %d is %v: %s", x.id, x.core.phase, x.core.reason))
		}
	}
	return w
}

// systems of a side that are on.
func (w *world) systems(side int) []System {
	var out []System
	for _, x := range w.nodes {
		if x.on && x.side == side {
			out = append(out, sysOf(x.id))
		}
	}
	return out
}

// view orders a view on a side.
func (w *world) view(side int, departed []Departed) {
	w.views++
	w.waiting[side] = append(w.waiting[side], departed...)
	departed = slices.Clone(w.waiting[side])
	v := View{ID: ViewID{Lineage: 1, Counter: w.views, Coordinator: NodeID(side)}, Systems: w.systems(side), Departed: departed}
	for _, x := range w.nodes {
		if x.on && x.side == side && (x.core.phase == Running || x.core.phase == Joining) {
			v.Members = append(v.Members, sysOf(x.id))
		}
	}
	for _, x := range w.nodes {
		if x.on && x.side == side {
			x.queue = append(x.queue, v)
		}
	}
}

// join orders the join of a new client of port b in the newest membership of
// its side; it hears of everybody for whom the gate waits.
func (w *world) join(x *node) {
	w.view(x.side, nil)
	x.queue = x.queue[len(x.queue)-1:] // what came before was for the old client
}

// crash takes a system out; its side gets a view without it.
func (w *world) crash(x *node, why string) {
	if !x.on {
		return
	}
	w.say("%c crashes: %s", 'A'+x.id, why)
	x.on, x.queue = false, nil
	// What it had sent to a point may still take effect; answers reach nobody.
	for _, k := range x.work {
		if k.done == nil && w.draw(2, "late effect") == 0 {
			x.takeEffect(k)
		}
	}
	x.work = nil
	w.view(x.side, []Departed{{System: sysOf(x.id)}})
}

func (x *node) step(ev Event) {
	x.w.say("%c %v: %v", 'A'+x.id, x.now, ev)
	for _, e := range x.core.Step(x.now, ev, nil) {
		x.w.say("%c   -> %v", 'A'+x.id, e)
		switch e := e.(type) {
		case PointOp, PowerOff, PowerQuery:
			x.work = append(x.work, &work{effect: e})
		case Broadcast:
			x.broadcast(e.Message)
		case Answer:
			x.answer(e)
			x.gate(e)
		case SelfStop:
			defer x.w.crash(x, "self-stop")
		case Attach:
			x.w.join(x)
		}
	}
}

// broadcast reaches the log of the side; the sender may be gone before.
func (x *node) broadcast(m Message) {
	for _, y := range x.w.nodes {
		if y.on && y.side == x.side {
			y.queue = append(y.queue, Delivered{From: NodeID(x.id), Message: m})
		}
	}
	if r, ok := m.(RaceResult); ok && r.Verdict == Won {
		x.w.winner(x.side)
	}
}

// winner checks that no two sides win (I1: only one may go on).
func (w *world) winner(side int) {
	w.won[side] = true
	if len(w.won) > 1 {
		w.fatal("two sides won: %v", w.won)
	}
}

// answer checks R1 and R10: each departed system has evidence, and it is true.
func (x *node) answer(a Answer) {
	x.answers++
	if len(a.Departed) == 0 {
		x.w.fatal("empty answer")
	}
	for _, d := range a.Departed {
		switch d.Evidence {
		case PoweredOff:
			if x.w.nodes[d.System.Node].on {
				x.w.fatal("%v is called POWERED_OFF and runs", d.System)
			}
		default:
			x.w.fatal("answer for %v with %q", d.System, d.Evidence)
		}
	}
	for _, y := range x.w.nodes {
		if y.on && y.side != x.side {
			x.w.fatal("answered while %c of another side runs", 'A'+y.id)
		}
	}
}

// gate: gab opens it if there is evidence for everybody.
func (x *node) gate(a Answer) {
	for _, d := range x.w.waiting[x.side] {
		if !slices.ContainsFunc(a.Departed, func(e Departed) bool { return e.System.same(d.System) && e.Evidence != NoEvidence }) {
			return
		}
	}
	x.w.waiting[x.side] = nil
}

// takeEffect carries the operation out on the model.
func (x *node) takeEffect(k *work) {
	switch e := k.effect.(type) {
	case PointOp:
		if x.w.down[e.Point] {
			k.done = PointDone{ID: e.ID, Result: Result{Outcome: Failed, Detail: "down"}}
			return
		}
		next, r := Apply(x.w.points[e.Point], e.Op)
		x.w.points[e.Point] = next
		if x.w.draw(12, "answer lost") == 0 {
			r = Result{Outcome: Failed, Detail: "answer lost"}
		}
		k.done = PointDone{ID: e.ID, Result: r}
	case PowerOff:
		if x.w.draw(6, "switch fails") == 0 {
			k.done = PowerDone{ID: e.ID, Detail: "no answer"}
			return
		}
		x.w.crash(x.w.nodes[e.System.Node], "powered off")
		k.done = PowerDone{ID: e.ID, Off: true}
	case PowerQuery:
		k.done = PowerDone{ID: e.ID, Off: !x.w.nodes[e.System.Node].on}
	}
}

// settle does all work and hands in all events, in order.
func (x *node) settle() {
	for len(x.work) > 0 || len(x.queue) > 0 {
		for len(x.work) > 0 {
			k := x.work[0]
			x.work = x.work[1:]
			e := k.effect.(PointOp)
			next, r := Apply(x.w.points[e.Point], e.Op)
			x.w.points[e.Point] = next
			x.step(PointDone{ID: e.ID, Result: r})
		}
		if len(x.queue) > 0 {
			ev := x.queue[0]
			x.queue = x.queue[1:]
			x.step(ev)
		}
	}
}

// move lets one node do one thing.
func (x *node) move() {
	idle := len(x.work) == 0 && len(x.queue) == 0
	switch pick := x.w.draw(20, "move"); {
	case pick < 10 && len(x.work) > 0:
		k := x.work[x.w.draw(len(x.work), "which work")]
		if k.done == nil {
			x.takeEffect(k)
			return
		}
		x.work = slices.DeleteFunc(x.work, func(o *work) bool { return o == k })
		x.step(k.done)
	case pick < 19 && len(x.queue) > 0:
		ev := x.queue[0]
		x.queue = x.queue[1:]
		x.step(ev)
	default:
		at, ok := x.core.Deadline()
		if ok && (idle || x.w.draw(10, "late") == 0) {
			x.now = max(x.now, at)
		} else {
			x.now = x.now.Add(vclock.Duration(x.w.draw(20, "ms")) * time.Millisecond)
		}
		x.step(Wake{})
	}
}

// restart restarts the fencing daemon: a new core that knows nothing, on the
// same incarnation of gab; gab still believes in the membership of before.
func (x *node) restart(systems []System) {
	x.w.say("%c restarts its fencing daemon", 'A'+x.id)
	core, err := New(x.cfg)
	if err != nil {
		panic(err)
	}
	x.core, x.work, x.queue = core, nil, nil
	x.step(Start{Cluster: 7, Self: sysOf(x.id), Systems: systems})
}

// run splits a cluster and lets everybody race; it returns the world at the end.
func run(draw func(int, string) int, fatal func(string, ...any), broken mutation) *world {
	n, points := 2+draw(4, "systems"), 3+2*draw(2, "points")
	w := newWorld(n, points, Config{
		RaceDelay: 300 * time.Millisecond, RaceTimeout: 3 * time.Second, PowerSwitch: true, broken: broken,
	}, draw, fatal)
	all := w.systems(0)
	sides := 2 + draw(2, "sides")
	for _, x := range w.nodes {
		x.side = draw(sides, "side")
	}
	if draw(4, "a point is down") == 0 {
		w.down[draw(points, "which")] = true
	}
	for side := range sides {
		if len(w.systems(side)) == 0 {
			continue
		}
		var departed []Departed
		for _, x := range w.nodes {
			if x.side != side {
				departed = append(departed, Departed{System: sysOf(x.id)})
			}
		}
		if len(departed) == 0 {
			return w // no split
		}
		w.view(side, departed)
	}
	crashes, restarts := draw(3, "crashes"), draw(3, "restarts")
	for range 600 {
		var alive []*node
		for _, x := range w.nodes {
			if x.on {
				alive = append(alive, x)
			}
		}
		if len(alive) == 0 {
			break
		}
		x := alive[draw(len(alive), "who")]
		switch what := draw(60, "what"); {
		case what == 0 && crashes > 0:
			crashes--
			w.crash(x, "drawn")
		case what == 1 && restarts > 0:
			restarts--
			systems := all
			if draw(2, "knows of the split") == 0 {
				systems = w.systems(x.side)
			}
			x.restart(systems)
			// The others of its side lose it on port b and keep its system.
			w.view(x.side, nil)
		default:
			x.move()
		}
	}
	return w
}

// Whatever the order of operations on the points, lost answers, crashes of
// racers in mid-race, restarts of daemons, slow or dead points: never two
// winners, and never an answer that is not true (R1, R10, R11, R13, I1).
func TestNeverTwoWinners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(n int, what string) int { return rapid.IntRange(0, n-1).Draw(t, what) }
		var w *world
		fatal := func(format string, args ...any) { t.Fatalf(format, args...) }
		w = run(draw, fatal, mutNone)
		_ = w
	})
}

// lcg is a small deterministic source for thousands of schedules.
type lcg uint64

func (l *lcg) draw(n int, _ string) int {
	*l = *l*6364136223846793005 + 1442695040888963407
	return int((uint64(*l) >> 33) % uint64(n))
}

type caught string

// schedule runs one seed and returns what it caught, "" for nothing.
func schedule(seed uint64, broken mutation) (found string, w *world) {
	defer func() {
		if p := recover(); p != nil {
			text, ok := p.(caught)
			if !ok {
				panic(p)
			}
			found = string(text)
		}
	}()
	source := lcg(seed * 0x9e3779b97f4a7c15)
	for range 4 {
		source.draw(2, "")
	}
	w = run(source.draw, func(format string, args ...any) { panic(caught(fmt.Sprintf(format, args...))) }, broken)
	return "", w
}

const schedules = 4000

// The same over many more schedules; it prints how often what happened, so that
// a harness that never races is noticed.
func TestManySchedules(t *testing.T) {
	won, answered, nobody := 0, 0, 0
	for seed := range uint64(schedules) {
		found, w := schedule(seed, mutNone)
		if found != "" {
			t.Fatalf("seed %d: %s", seed, found)
		}
		if len(w.won) > 0 {
			won++
		} else {
			nobody++
		}
		for _, x := range w.nodes {
			if x.answers > 0 {
				answered++
				break
			}
		}
	}
	t.Logf("%d schedules: a side won in %d, was answered in %d, nobody yet in %d", schedules, won, answered, nobody)
	if won < schedules/2 || answered < schedules/4 {
		t.Error("the harness races too rarely to prove anything")
	}
}

// Each rule broken on purpose is noticed by the same harness.
func TestBrokenRulesAreCaught(t *testing.T) {
	for name, broken := range map[string]mutation{
		"a majority of fewer points than configured": mutMajorityOfReachable,
		"R11 a conflict taken for a win":             mutConflictIsWon,
		"R13 no check before the start":              mutNoPreStartCheck,
		"R13 no check after joining":                 mutNoRecheck,
		"R1 an answer without evidence":              mutAnswerUnproven,
		"registered again during a race":             mutRegisterInRace,
		"R10 only the newest losses":                 mutOnlyNewLosses,
	} {
		caughtAt := uint64(0)
		for seed := uint64(1); seed < 10*schedules && caughtAt == 0; seed++ {
			if found, _ := schedule(seed, broken); found != "" {
				caughtAt = seed
				t.Logf("%s: caught at schedule %d: %s", name, seed, found)
			}
		}
		if caughtAt == 0 {
			t.Errorf("%s: not caught", name)
		}
	}
}

// prompt lets one node work, or, when nobody has anything to do, lets the
// common time pass to the next timer.
func (w *world) prompt(draw func(int, string) int) {
	next := vclock.Never
	for range 20 {
		x := w.nodes[draw(len(w.nodes), "who")]
		if x.on && len(x.work) > 0 {
			k := x.work[0]
			if k.done == nil {
				x.takeEffect(k)
			}
			x.work = slices.DeleteFunc(x.work, func(o *work) bool { return o == k })
			x.step(k.done)
			return
		}
		if x.on && len(x.queue) > 0 {
			ev := x.queue[0]
			x.queue = x.queue[1:]
			x.step(ev)
			return
		}
		if at, ok := x.core.Deadline(); ok && x.on {
			next = vclock.Earlier(next, at)
		}
	}
	for _, x := range w.nodes {
		if x.on && next != vclock.Never {
			x.now = max(x.now, next)
			x.step(Wake{})
		}
	}
}

// When faults stop, a side that can reach the points comes to an end: it wins
// and answers (I5).
func TestSurvivorFinishes(t *testing.T) {
	for seed := range uint64(500) {
		source := lcg(seed*77 + 1)
		w := newWorld(2+source.draw(4, ""), 3, Config{RaceDelay: 300 * time.Millisecond, RaceTimeout: 3 * time.Second, PowerSwitch: true},
			source.draw, func(format string, args ...any) { t.Fatalf("seed %d: %s", seed, fmt.Sprintf(format, args...)) })
		w.crash(w.nodes[source.draw(len(w.nodes), "")], "the only fault")
		for range 3000 {
			w.prompt(source.draw)
		}
		for _, x := range w.nodes {
			if x.on && len(x.core.gated) > 0 {
				t.Fatalf("seed %d: %c still waits in %v", seed, 'A'+x.id, x.core.race.stage)
			}
			if !x.on && x.core.phase == Stopped {
				t.Fatalf("seed %d: %c stopped itself although it could win", seed, 'A'+x.id)
			}
		}
	}
}
