package sim

import (
	"fmt"
	"sort"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Options fix a run.
type Options struct {
	Seed uint64
	// Nodes is the number of systems, 2 to 8; 0: the seed decides, 3 to 8.
	Nodes int
	// Fencing is "majority" (three points and a power switch), "disabled", or
	// "": the seed decides.
	Fencing string
	// Plan is how the world behaves and which faults happen when; nil: Draw of
	// these options. Seed still fixes all that the plan does not.
	Plan *Plan
	// Cores makes the cores; nil: the product's.
	Cores *Cores
	// Broken is a deliberate fault, which the oracle must catch; "" is the
	// product. Mutants lists them; what a plan draws prefers what shows it.
	Broken string
	// Files is the configuration, main.cf among them; nil: one made from the
	// seed. Systems are those of the configuration.
	Files []engine.File
	// Scenario is what happens; nil: random faults from the seed.
	Scenario *Scenario
	// Trace takes every step; nil: nobody.
	Trace func(line string)
	// Story takes the few lines that an administrator wants to see.
	Story func(line string)
}

// Result is what came of a run.
type Result struct {
	Seed uint64
	// Failure is the first invariant that did not hold, "" if all did.
	Failure string
	// Hash is over every step: equal Options, equal Hash.
	Hash uint64
	// Steps of cores, injected faults, frames of LLT, simulated time.
	Steps, Faults, Frames int
	Simulated             time.Duration
	// Counts are what the oracle looked at, by name.
	Counts []Count
	// Nodes and Fencing as the seed decided.
	Nodes   int
	Fencing string
	// Groups is the state at the end, a line each.
	Groups []string
	// Ends are the groups at the end, as the lowest RUNNING system sees them;
	// nil if no system runs.
	Ends []GroupEnd
}

// GroupEnd is a group at the end of a run.
type GroupEnd struct {
	Group string
	// Online are the systems where it is ONLINE or PARTIAL.
	Online []string
	// Hindrances are what keeps it from being online, each with its way out.
	Hindrances []string
	// Why is the last decision about it.
	Why string
}

// Count is one number with its name.
type Count struct {
	Name string
	N    int
}

// World is one cluster with everything around it.
type World struct {
	opt      Options
	now      vclock.Time
	agenda   agenda
	serial   uint64
	net      *random // connections, streams
	boot     *random // starts, incarnations, clocks
	fate     *random // which faults, when
	agents   *random // entry points
	user     *random // operators
	store    *random // coordination points, disks
	fenced   bool
	swarm    Swarm
	plan     *Plan
	cores    Cores
	nodes    []*node
	network  network
	points   []point
	cfg      *maincf.Config
	files    []engine.File
	confPos  engine.Pos // where cfg came from
	names    []string
	res      []*resourceModel
	byName   map[string]*resourceModel
	meddled  map[string]bool // groups in which operators enabled or disabled something
	disks    []disk
	calm     bool // no more faults
	tainted  bool // a partition or pause happened: without fencing I1 says nothing
	oracle   *oracle
	sum      uint64 // hash of all that happened
	line     []byte
	steps    int
	faults   int
	frames   int
	ambushes []Fault
	failure  string
}

// point is a coordination point.
type point struct {
	keys []fencing.Key
	down bool
}

// NewWorld builds a cluster whose systems are all off.
func NewWorld(opt Options) (*World, error) {
	w := &World{opt: opt, sum: fnvOffset, now: vclock.Time(time.Second)}
	w.net, w.boot, w.fate = fork(opt.Seed, "net"), fork(opt.Seed, "boot"), fork(opt.Seed, "fate")
	w.agents, w.user, w.store = fork(opt.Seed, "agents"), fork(opt.Seed, "user"), fork(opt.Seed, "store")
	w.oracle = newOracle(w)
	w.byName, w.meddled = map[string]*resourceModel{}, map[string]bool{}
	w.cores = Product()
	if opt.Cores != nil {
		w.cores = *opt.Cores
	}
	if opt.Broken != "" {
		m, known := mutantOf(opt.Broken)
		if !known {
			return nil, fmt.Errorf("simulate: no deliberate fault %q", opt.Broken)
		}
		if m.put != nil {
			m.put(&w.cores)
		}
	}
	w.plan = opt.Plan
	if w.plan == nil {
		p := Draw(opt)
		w.plan = &p
	}
	w.swarm, w.files = w.plan.Swarm, w.plan.Files
	w.fenced = w.swarm.Fenced
	if err := w.load(); err != nil {
		return nil, err
	}
	if w.fenced {
		w.points = make([]point, 3)
	}
	for i, name := range w.names {
		w.nodes = append(w.nodes, &node{w: w, id: i, name: name, running: make([]bool, len(w.res)),
			offset: w.boot.between(time.Second, time.Hour), drift: int64(w.boot.n(401)) - 200, dark: make([]bool, w.swarm.links())})
	}
	for _, n := range w.nodes {
		n.disk = newDisk(n)
		for _, f := range w.files {
			n.disk.install("/etc/"+f.Name, f.Text)
		}
	}
	w.oracle.written(w.files, 0)
	w.newNetwork(w.swarm.links())
	w.network.loss, w.network.dup, w.network.corrupt, w.network.late = w.swarm.Loss, w.swarm.Dup, w.swarm.Corrupt, w.swarm.Late
	return w, nil
}

func (w *World) systemNames() []string {
	var names []string
	for _, s := range w.cfg.Systems {
		names = append(names, s.Name)
	}
	return names
}

// Run plays the whole: start, faults, then calm in which everything must come
// together again.
func Run(opt Options) (Result, error) {
	w, err := NewWorld(opt)
	if err != nil {
		return Result{}, err
	}
	if opt.Scenario != nil {
		w.play(opt.Scenario)
	} else {
		w.randomRun()
	}
	return w.result(), nil
}

func (w *World) result() Result {
	r := Result{Seed: w.opt.Seed, Failure: w.failure, Hash: w.sum, Steps: w.steps, Faults: w.faults, Frames: w.frames,
		Simulated: w.now.Sub(vclock.Time(time.Second)), Nodes: len(w.nodes), Fencing: "disabled", Groups: w.groupLines(), Ends: w.ends()}
	if w.fenced {
		r.Fencing = "majority"
	}
	for name, n := range w.oracle.counts {
		r.Counts = append(r.Counts, Count{name, n})
	}
	sort.Slice(r.Counts, func(i, j int) bool { return r.Counts[i].Name < r.Counts[j].Name })
	return r
}

func (w *World) nodeNamed(name string) *node {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}
