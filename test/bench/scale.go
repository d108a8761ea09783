package main

import (
	"context"
	"fmt"
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
// of garbage included.
func scale(context.Context, int) error {
	small := enginetest.Shape{Systems: 64, Groups: 200, Resources: 2000, Width: 3}
	large := enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 3}
	byLoad := large
	byLoad.Policy = "Load"
	fmt.Println("  64 systems, 3 of them in each SystemList, 10 resources in a group; processor time")
	fmt.Printf("  %-58s %9s %9s %6s\n", "each", "2,000", "20,000", "ratio")
	before := heap()
	var c enginetest.Cluster
	boot := spent(func() { c = *large.Boot() })
	held := heap() - before
	s := *small.Boot()
	l := *byLoad.Boot()
	row := func(what string, each func(*enginetest.Cluster) time.Duration) time.Duration {
		a, b := middle(func() time.Duration { return each(&s) }), middle(func() time.Duration { return each(&c) })
		fmt.Printf("  %-58s %6.1f us %6.1f us %6.2f\n", what, us(a), us(b), float64(b)/float64(a))
		return b
	}
	report := row("report that changes nothing", func(c *enginetest.Cluster) time.Duration { return reports(c, false) })
	row("the same with decoding", func(c *enginetest.Cluster) time.Duration { return reports(c, true) })
	row("event of a switch there and back", switches)
	row("event of a fault, failover and clear", faults)
	byLoadEvent := switches(&l)
	fmt.Printf("  %-58s %9s %6.1f us\n", "event of a switch, FailOverPolicy Load", "", us(byLoadEvent))
	fmt.Printf("  %-58s %9.0f /s (50,000 wanted)\n", "reports applied on one core, 20,000 resources", float64(time.Second)/float64(report))
	fmt.Printf("  %-58s %9.0f /s, %d events\n", "events from nothing to all online, 20,000 resources", float64(c.Events)*float64(time.Second)/float64(boot), c.Events)
	for _, policy := range []string{"Priority", "Load"} {
		lossOf200(policy)
	}
	state(&c, held)
	wide := enginetest.Shape{Systems: 64, Groups: 200, Resources: 2000, Width: 64}
	before = heap()
	w := wide.Boot()
	fmt.Printf("  all 64 systems in each SystemList: %d B for each of 64 instances of a resource; report %.1f us\n",
		(heap()-before)/int64(wide.Resources*wide.Width), us(reports(w, false)))
	return nil
}

// middle is the median of three measurements.
func middle(measure func() time.Duration) time.Duration {
	three := []time.Duration{measure(), measure(), measure()}
	slices.Sort(three)
	return median(three)
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// reports says again of resources all over the cluster that they are online.
func reports(c *enginetest.Cluster, decode bool) time.Duration {
	const n = 20000
	s := c.Shape
	wires := make([][]byte, n)
	events := make([]engine.Event, n)
	for i := range n {
		// 7 is prime to the number of groups: neighbours are not in the cache.
		g := i * 7 % s.Groups
		events[i] = engine.Reported{Report: resource.Report{System: s.Home(g), Resource: s.Resource(g, i%s.PerGroup()), Incarnation: 1,
			Seen: c.Seen, Probed: true, State: resource.StateOnline, Confidence: 100}}
		wire, err := engine.Encode(events[i])
		if err != nil {
			panic(err)
		}
		wires[i] = wire
	}
	return spent(func() {
		for i, ev := range events {
			if decode {
				ev, _ = engine.Decode(wires[i])
			}
			c.Apply(ev.(engine.Reported).Report.System, ev)
		}
	}) / n
}

// switches moves groups to their second system and back.
func switches(c *enginetest.Cluster) time.Duration {
	s, events := c.Shape, c.Events
	took := spent(func() {
		for i := range 300 {
			g := i * 7 % s.Groups
			for _, to := range []int{1, 0} {
				c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupSwitch, Group: s.Group(g), System: s.Place(g, to)})
				c.Settle()
			}
		}
	})
	return took / time.Duration(c.Events-events)
}

// faults lets groups fail over and come back.
func faults(c *enginetest.Cluster) time.Duration {
	s, events := c.Shape, c.Events
	took := spent(func() {
		for i := range 300 {
			g := i * 11 % s.Groups
			rep := resource.Report{System: s.Home(g), Resource: s.Resource(g, 0), Incarnation: 1, Seen: c.Seen, Probed: true, State: resource.StateFaulted}
			c.Apply(s.Home(g), engine.Reported{Report: rep})
			c.Settle()
			c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupClear, Group: s.Group(g)})
			c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupSwitch, Group: s.Group(g), System: s.Home(g)})
			c.Settle()
		}
	})
	return took / time.Duration(c.Events-events)
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
	fmt.Printf("  %-58s %6d B of state (2,048 wanted); %d B with the index and the parsed configuration\n", "memory for each resource",
		alone/int64(c.Shape.Resources), held/int64(c.Shape.Resources))
}
