package engine_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/engine/enginetest"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

var shapes = []enginetest.Shape{
	{Systems: 64, Groups: 200, Resources: 2000, Width: 3},
	{Systems: 64, Groups: 2000, Resources: 20000, Width: 3},
	{Systems: 64, Groups: 2000, Resources: 20000, Width: 3, Policy: "Load"},
}

func shapeName(s enginetest.Shape) string {
	return fmt.Sprintf("%dsystems_%dgroups_%dresources_width%d_%s", s.Systems, s.Groups, s.Resources, s.Width, s.Policy)
}

// BenchmarkReport is a report that changes nothing: what agents say most.
func BenchmarkReport(b *testing.B) {
	for _, s := range shapes {
		b.Run(shapeName(s), func(b *testing.B) {
			c := s.Boot()
			n := 0
			for b.Loop() {
				g := n % s.Groups
				n++
				c.Apply(s.Home(g), engine.Reported{Report: resource.Report{System: s.Home(g), Resource: s.Resource(g, 3), Incarnation: 1,
					Seen: c.Seen, Probed: true, State: resource.StateOnline, Confidence: 100}})
			}
		})
	}
}

// BenchmarkSwitch is the switch of a group there and back.
func BenchmarkSwitch(b *testing.B) {
	for _, s := range shapes {
		b.Run(shapeName(s), func(b *testing.B) {
			c := s.Boot()
			n, events := 0, c.Events
			for b.Loop() {
				g := n / 2 % s.Groups
				c.Apply(s.System(0), engine.Command{Kind: engine.CommandGroupSwitch, Group: s.Group(g), System: s.System((g + 1 - n%2) % s.Systems)})
				c.Settle()
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(c.Events-events), "ns/event")
		})
	}
}

// BenchmarkBoot is the whole way from nothing to everything online.
func BenchmarkBoot(b *testing.B) {
	for _, s := range shapes {
		b.Run(shapeName(s), func(b *testing.B) {
			events := 0
			for b.Loop() {
				events += s.Boot().Events
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}

// BenchmarkSnapshot writes, restores, copies and shows the whole state.
func BenchmarkSnapshot(b *testing.B) {
	for _, s := range shapes {
		c := s.Boot()
		b.Run(shapeName(s)+"/write", func(b *testing.B) {
			var snap []byte
			for b.Loop() {
				snap = c.Engine.Snapshot()
			}
			b.ReportMetric(float64(len(snap)), "bytes")
		})
		snap := c.Engine.Snapshot()
		b.Run(shapeName(s)+"/restore", func(b *testing.B) {
			for b.Loop() {
				if _, err := engine.Restore(snap); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(shapeName(s)+"/clone", func(b *testing.B) {
			for b.Loop() {
				c.Engine.Clone()
			}
		})
		b.Run(shapeName(s)+"/status", func(b *testing.B) {
			for b.Loop() {
				c.Engine.Status()
			}
		})
	}
}

// BenchmarkMemory is what a cluster with everything online holds of the heap.
func BenchmarkMemory(b *testing.B) {
	for _, s := range append(shapes,
		enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 2},
		enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 4},
		enginetest.Shape{Systems: 64, Groups: 200, Resources: 2000, Width: 64}) {
		b.Run(shapeName(s), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c := s.Boot()
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				runtime.KeepAlive(c)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(s.Resources), "bytes/resource")
		})
	}
}

// BenchmarkFailover is the loss of a system that holds 200 groups, to the
// decision about each of them and to the last resource online.
func BenchmarkFailover(b *testing.B) {
	for _, policy := range []string{"", "Load"} {
		s := enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 4, Policy: policy, Homes: 10}
		b.Run(shapeName(s), func(b *testing.B) {
			var decided, online time.Duration
			for b.Loop() {
				b.StopTimer()
				c := s.Boot()
				b.StartTimer()
				c.Up[0] = false
				start := time.Now()
				c.View(s.System(0))
				decided += time.Since(start)
				c.Settle()
				online += time.Since(start)
			}
			b.ReportMetric(float64(decided.Microseconds())/1000/float64(b.N), "ms/decided")
			b.ReportMetric(float64(online.Microseconds())/1000/float64(b.N), "ms/online")
		})
	}
}
