package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/engine/enginetest"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// cpu is the processor time that this process has taken: on a machine that
// others use as well it says more than a clock about one core.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic("getrusage: " + err.Error())
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spent is the processor time of a function.
func spent(f func()) time.Duration {
	began := cpu()
	f()
	return cpu() - began
}

// scale measures one engine, in this process: processor time, the collection
// of garbage included, and what does not depend on the machine or on who else
// uses it: how much an event looks at and allocates.
func scale(context.Context, int) error {
	shape := func(resources int, policy string) enginetest.Shape {
		return enginetest.Shape{Systems: 64, Groups: resources / 10, Resources: resources, Width: 3, Policy: policy}
	}
	fmt.Println("  64 systems, 3 of them in each SystemList, 10 resources in a group; processor time; looks: instances of resources")
	fmt.Println("  and groups on systems that an event looks at; allocs: what it allocates; clusters of so many resources by turns;")
	fmt.Println("  least of nine turns; ratio: of the last to the second; part: the same for events about as much of the last as there is in the second")
	before := heap()
	var c enginetest.Cluster
	boot := spent(func() { c = *shape(20000, "").Boot() })
	held, events := heap()-before, c.Events
	sizes := [3]*enginetest.Cluster{shape(200, "").Boot(), shape(2000, "").Boot(), &c}
	head()
	report := row("report of what is known", func(c *enginetest.Cluster, groups int) figure { return reports(c, groups, false) }, sizes)
	row("the same with decoding", func(c *enginetest.Cluster, groups int) figure { return reports(c, groups, true) }, sizes)
	row("report that changes a state's flag, and back", func(c *enginetest.Cluster, groups int) figure { return flags(c, groups, false) }, sizes)
	row("the same with decoding", func(c *enginetest.Cluster, groups int) figure { return flags(c, groups, true) }, sizes)
	row("event of a switch there and back", switches, sizes)
	row("event of a fault, failover and clear", faults, sizes)
	row("for comparison: ten bare reads of so many cells", memory, sizes)
	loads := [3]*enginetest.Cluster{shape(200, "Load").Boot(), shape(2000, "Load").Boot(), shape(20000, "Load").Boot()}
	row("event of a switch, FailOverPolicy Load", switches, loads)
	fmt.Printf("  %-58s %9.0f /s (50,000 wanted)\n", "reports applied on one core, 20,000 resources", perSecond(report))
	fmt.Printf("  %-58s %9.0f /s, %d events\n", "events from nothing to all online, 20,000 resources", float64(events)*float64(time.Second)/float64(boot), events)
	loads = [3]*enginetest.Cluster{}
	for _, policy := range []string{"Priority", "Load"} {
		lossOf200(policy)
	}
	state(&c, held)
	wide()
	return nil
}

// wide measures groups that may run on every system.
func wide() {
	shape := func(resources int) enginetest.Shape {
		return enginetest.Shape{Systems: 64, Groups: resources / 10, Resources: resources, Width: 64}
	}
	fmt.Println("  all 64 systems in each SystemList")
	before := heap()
	var c enginetest.Cluster
	boot := spent(func() { c = *shape(2000).Boot() })
	held, events := heap()-before, c.Events
	before = heap()
	copied := c.Engine.Clone()
	alone := heap() - before
	runtime.KeepAlive(copied)
	copied = nil
	sizes := [3]*enginetest.Cluster{shape(20).Boot(), shape(200).Boot(), &c}
	fmt.Printf("  %-46s %23s  %5s\n", "each; resources:", "20       200      2,000", "ratio")
	report := row("report of what is known", func(c *enginetest.Cluster, groups int) figure { return reports(c, groups, false) }, sizes)
	changed := row("report that changes a state's flag, and back", func(c *enginetest.Cluster, groups int) figure { return flags(c, groups, false) }, sizes)
	row("event of a switch there and back", switches, sizes)
	row("event of a fault, failover and clear", faults, sizes)
	fmt.Printf("  %-58s %9.0f /s known, %.0f /s changing (50,000 wanted)\n", "reports applied on one core, 128,000 instances", perSecond(report), perSecond(changed))
	fmt.Printf("  %-58s %9.0f /s, %d events\n", "events from nothing to all probed and online", float64(events)*float64(time.Second)/float64(boot), events)
	n := int64(c.Shape.Resources)
	fmt.Printf("  %-58s %9d B of state, %d B with the index and the parsed configuration; %d B for each of its 64 instances\n",
		"memory for each resource", alone/n, held/n, held/n/int64(c.Shape.Width))
}

// figure is what one event costs on average.
type figure struct {
	took          time.Duration
	looks, allocs float64
}

// per measures a function that applies events and divides by their number.
func per(c *enginetest.Cluster, f func()) figure {
	var before, after runtime.MemStats
	events, looks := c.Events, c.Engine.Looks()
	runtime.ReadMemStats(&before)
	took := spent(f)
	runtime.ReadMemStats(&after)
	n := c.Events - events
	return figure{took / time.Duration(n), float64(c.Engine.Looks()-looks) / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n)}
}

func head() {
	fmt.Printf("  %-46s %23s  %5s\n", "each; resources:", "200     2,000    20,000", "ratio")
}

// row prints what the same costs in three clusters, each ten times the one
// before; the ratio is that of the last two, that behind part the same for
// events about no more of the last than the second has: then both have as much
// of it in the processor's cache, and what is left is what the engine does. It
// returns the time in the last.
func row(what string, each func(c *enginetest.Cluster, groups int) figure, sizes [3]*enginetest.Cluster) time.Duration {
	const turns = 9
	var took [4][]time.Duration
	var last [4]figure
	for range turns {
		for i, c := range []*enginetest.Cluster{sizes[0], sizes[1], sizes[2], sizes[2]} {
			groups := c.Shape.Groups
			if i == 3 {
				groups = sizes[1].Shape.Groups
			}
			last[i] = each(c, groups)
			took[i] = append(took[i], last[i].took)
		}
	}
	var m [4]time.Duration
	for i := range took {
		m[i] = slices.Min(took[i]) // what others on the machine take from it is not in the least
	}
	ratio := func(i int) float64 { return float64(m[i]) / float64(m[1]) }
	fmt.Printf("  %-46s %6.2f %7.2f %7.2f us %5.2f; part %.2f; looks %.1f %.1f %.1f; allocs %.1f %.1f %.1f\n", what, us(m[0]), us(m[1]), us(m[2]),
		ratio(2), ratio(3), last[0].looks, last[1].looks, last[2].looks, last[0].allocs, last[1].allocs, last[2].allocs)
	return m[2]
}

func perSecond(d time.Duration) float64 { return float64(time.Second) / float64(d) }

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// reports says again of resources all over the cluster that they are online.
func reports(c *enginetest.Cluster, groups int, decode bool) figure {
	const n = 20000
	events, order := make([]engine.Event, 0, n), randomOrder()
	for range n {
		events = append(events, engine.Reported{Report: online(c, groups, order)})
	}
	return apply(c, events, decode)
}

// flags says of resources all over the cluster that their agent starts them
// again, and then that they are online as before.
func flags(c *enginetest.Cluster, groups int, decode bool) figure {
	const n = 5000
	events, order := make([]engine.Event, 0, 2*n), randomOrder()
	for range n {
		rep := online(c, groups, order)
		again := rep
		again.Flags = resource.FlagRestarting
		events = append(events, engine.Reported{Report: again}, engine.Reported{Report: rep})
	}
	return apply(c, events, decode)
}

// randomOrder is the same at each call: nothing foresees which comes next.
func randomOrder() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

// online is a report that some resource is online.
func online(c *enginetest.Cluster, groups int, order *rand.Rand) resource.Report {
	s, g := c.Shape, order.IntN(groups)
	return resource.Report{System: s.Home(g), Resource: s.Resource(g, order.IntN(s.PerGroup())), Incarnation: 1,
		Seen: c.Seen, Probed: true, State: resource.StateOnline, Confidence: 100}
}

// apply measures reports, as they come out of the total order if decode is set.
func apply(c *enginetest.Cluster, events []engine.Event, decode bool) figure {
	var wires [][]byte
	for _, ev := range events {
		wire, err := engine.Encode(ev)
		if err != nil {
			panic(err)
		}
		wires = append(wires, wire)
	}
	return per(c, func() {
		for i, ev := range events {
			if decode {
				ev, _ = engine.Decode(wires[i])
			}
			c.Apply(ev.(engine.Reported).Report.System, ev)
		}
	})
}

// cell is as large as an instance of a resource in the engine.
type cell struct {
	next, heard int
	_           [14]int
}

// memory reads and writes ten cells for each event, each at a place that the
// one before names, in random order, out of as many as there are resources, and
// does nothing else: what of the growth of other rows is the memory's.
func memory(c *enginetest.Cluster, groups int) figure {
	const n, reads = 20000, 10
	cells := make([]cell, groups*c.Shape.PerGroup())
	order := randomOrder().Perm(len(cells))
	for i, at := range order {
		cells[at].next = order[(i+1)%len(order)]
	}
	at := 0
	took := spent(func() {
		for range n * reads {
			at = cells[at].next
			cells[at].heard++
		}
	})
	return figure{took: took / n}
}

// switches moves groups to their second system and back.
func switches(c *enginetest.Cluster, groups int) figure {
	s := c.Shape
	return per(c, func() {
		for i := range 300 {
			g := i * 7 % groups
			for _, to := range []int{1, 0} {
				c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupSwitch, Group: s.Group(g), System: s.Place(g, to)})
				c.Settle()
			}
		}
	})
}

// faults lets groups fail over and come back.
func faults(c *enginetest.Cluster, groups int) figure {
	s := c.Shape
	return per(c, func() {
		for i := range 300 {
			g := i * 11 % groups
			rep := resource.Report{System: s.Home(g), Resource: s.Resource(g, 0), Incarnation: 1, Seen: c.Seen, Probed: true, State: resource.StateFaulted}
			c.Apply(s.Home(g), engine.Reported{Report: rep})
			c.Settle()
			c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupClear, Group: s.Group(g)})
			c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupSwitch, Group: s.Group(g), System: s.Home(g)})
			c.Settle()
		}
	})
}

// lossOf200 is the loss of a system that holds 200 of the 2,000 groups.
func lossOf200(policy string) {
	s := enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 4, Homes: 10, Policy: policy}
	c := s.Boot()
	c.Up[0] = false
	runtime.GC()
	decided := spent(func() { c.View(s.System(0)) })
	events := c.Events
	online := spent(c.Settle)
	fmt.Printf("  %-58s %6.1f ms; then all online: %d events, %.1f ms\n", "loss of a system with 200 groups decided, "+policy, us(decided)/1000, c.Events-events, us(online)/1000)
}

// state prints what 20,000 resources weigh.
func state(c *enginetest.Cluster, held int64) {
	var snap []byte
	write := spent(func() { snap = c.Engine.Snapshot() })
	restore := spent(func() {
		if _, err := engine.Restore(snap); err != nil {
			panic(err)
		}
	})
	before := heap()
	var copied *engine.Engine
	clone := spent(func() { copied = c.Engine.Clone() })
	alone := heap() - before
	runtime.KeepAlive(copied)
	status := spent(func() { c.Engine.Status() })
	_, files := c.Engine.ConfigFiles()
	text := 0
	for _, f := range files {
		text += len(f.Text)
	}
	fmt.Printf("  %-58s %6.1f MB (%.1f MB of it main.cf); written in %.0f ms, restored in %.0f ms\n", "snapshot of 20,000 resources",
		float64(len(snap))/1e6, float64(text)/1e6, us(write)/1000, us(restore)/1000)
	fmt.Printf("  %-58s %6.0f ms; everything for a reader %.0f ms\n", "copy for a plan", us(clone)/1000, us(status)/1000)
	fmt.Printf("  %-58s %6d B of state, %d B with the index and the parsed configuration (2,048 wanted)\n", "memory for each resource",
		alone/int64(c.Shape.Resources), held/int64(c.Shape.Resources))
}
