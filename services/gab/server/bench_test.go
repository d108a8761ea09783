package server

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// BenchmarkBroadcast is 64-byte messages through the daemons' streams, as
// clients see them: rate, and the time from send to delivery at the sender.
func BenchmarkBroadcast(b *testing.B) {
	for _, n := range []int{2, 3} {
		for _, inFlight := range []int{1, 64} {
			b.Run(map[int]string{2: "systems=2", 3: "systems=3"}[n]+map[int]string{1: "/one", 64: "/stream"}[inFlight], func(b *testing.B) {
				benchBroadcast(b, n, inFlight)
			})
		}
	}
}

func benchBroadcast(b *testing.B, n, inFlight int) {
	c := formed(b, n, "")
	sender := c.attach(c.nodes[0], "d")
	for _, s := range c.nodes[1:] {
		g := c.attach(s, "d")
		go func() { // ends with g
			for range g.Events() {
			}
		}()
	}
	nextView(b, sender, n)
	slots := make(chan struct{}, inFlight)
	var times []time.Duration
	var done sync.WaitGroup
	done.Go(func() {
		for range b.N {
			for m := (*gabv1.Message)(nil); m == nil; {
				m = (<-sender.Events()).GetMessage()
				if m != nil {
					times = append(times, time.Duration(time.Now().UnixNano()-int64(binary.BigEndian.Uint64(m.GetPayload()))))
					<-slots
				}
			}
		}
	})
	b.ResetTimer()
	for range b.N {
		slots <- struct{}{}
		payload := make([]byte, 64)
		binary.BigEndian.PutUint64(payload, uint64(time.Now().UnixNano()))
		if _, err := sender.Send(context.Background(), payload); err != nil {
			b.Fatal(err)
		}
	}
	done.Wait()
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}
