package schedule

import (
	"fmt"
	"slices"
	"testing"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// Every step of every test compares the index with the machines.
func init() { audit = checkIndex }

func checkIndex(c *Core) {
	bad := func(format string, args ...any) { panic("schedule: index: " + fmt.Sprintf(format, args...)) }
	if len(c.ix.list) != len(c.names) {
		bad("%d machines, %d names", len(c.ix.list), len(c.names))
	}
	next, waiting := vclock.Never, 0
	var protected []string
	for i, name := range c.names {
		m := c.resources[name]
		if c.ix.list[i] != m {
			bad("%s is not where it belongs", name)
		}
		next = vclock.Earlier(next, m.deadline(c.lease))
		if m.want != 0 && m.call == 0 {
			waiting++
			if !slices.Contains(c.ix.queue, m) {
				bad("%s waits and is not in the queue", name)
			}
		}
		if m.protects() {
			protected = append(protected, name)
		}
	}
	if at, ok := c.Deadline(); at != next || ok != (next != vclock.Never) {
		bad("deadline is %d, not %d", at, next)
	}
	if waiting != len(c.ix.queue) {
		bad("%d wait, %d in the queue", waiting, len(c.ix.queue))
	}
	if !slices.Equal(protected, c.Protected()) {
		bad("protected are %v, not %v", c.Protected(), protected)
	}
	// Who was not looked at had nothing to do.
	wants, effects := c.lastWant, len(c.out)
	c.expire(slices.Clone(c.ix.list))
	if c.lastWant != wants || len(c.out) != effects {
		bad("somebody had something to do and was not looked at")
	}
	if m := c.turn(); m != nil {
		bad("it was the turn of %s", m.spec.Resource)
	}
}

// BenchmarkMonitor is one monitor of one of so many resources, from its time
// to its result.
func BenchmarkMonitor(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			audit = nil
			defer func() { audit = checkIndex }()
			c, now := New(), vclock.Time(0)
			var out []Effect
			step := func(ev Event) { out = c.Step(now, ev, out) }
			for i := range n {
				step(SetResource{Spec: Spec{Resource: fmt.Sprintf("r%05d", i), Type: "T", Enabled: true, Operations: OnOff,
					Limits: Limits{NumThreads: 10, MonitorInterval: 60, OfflineMonitorInterval: 60, MonitorTimeout: 60}}})
			}
			step(PluginUp{Type: "T"})
			calls := 0
			for b.Loop() {
				for calls == len(out) {
					at, _ := c.Deadline()
					now = max(now, at)
					step(Wake{})
				}
				if call, ok := out[calls].(Call); ok {
					step(EntryPointResult{Call: call.ID, Outcome: OK, Saw: SawOffline})
				}
				calls++
			}
		})
	}
}
