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

func BenchmarkSnapshot(b *testing.B) {
	for _, s := range shapes {
		c := s.Boot()
		b.Run(shapeName(s), func(b *testing.B) {
			var snap []byte
			for b.Loop() {
				snap = c.Engine.Snapshot()
			}
			b.ReportMetric(float64(len(snap)), "bytes")
			start := time.Now()
			if _, err := engine.Restore(snap); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/restore")
			start = time.Now()
			c.Engine.Clone()
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/clone")
			start = time.Now()
			c.Engine.Status()
			b.ReportMetric(float64(time.Since(start).Milliseconds()), "ms/status")
		})
	}
}

func BenchmarkMemory(b *testing.B) {
	for _, s := range append(shapes, enginetest.Shape{Systems: 64, Groups: 2000, Resources: 20000, Width: 4}, enginetest.Shape{Systems: 64, Groups: 200, Resources: 2000, Width: 64}) {
		b.Run(shapeName(s), func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			c := s.Boot()
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(s.Resources), "bytes/resource")
			for b.Loop() {
			}
			runtime.KeepAlive(c)
		})
	}
}

// BenchmarkFailover is the loss of a system with 200 groups.
func BenchmarkFailover(b *testing.B) {
	s := enginetest.Shape{Systems: 10, Groups: 2000, Resources: 20000, Width: 4}
	c := s.Boot()
	b.ResetTimer()
	for range b.N {
		c.Up[0] = false
		start := time.Now()
		c.View(s.System(0))
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/decision")
		c.Settle()
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "ms/all-online")
		break
	}
}
