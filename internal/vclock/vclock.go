// Package vclock is time as a value: the only clock that a core ever sees.
//
// A core (llt, gab, the fencing race, the agent scheduler, join) is handed a
// Time with every event and answers with the Time at which it must next be
// called. It never asks anybody what time it is, so the simulator can jump
// from deadline to deadline and a recorded run replays to the same effects.
package vclock

import (
	"fmt"
	"time"
)

// Time is a point in time: nanoseconds since an origin that only the owner of
// the clock knows. In production the origin is the machine's boot and the
// clock is CLOCK_BOOTTIME, so that a suspended machine sees the gap. Times of
// two machines must never be compared.
type Time int64

// Duration is a length of time; the unit is the nanosecond.
type Duration = time.Duration

// Never is later than every other Time. Cores use it for "no deadline".
const Never Time = 1<<63 - 1

// Add returns t+d, saturating at Never.
func (t Time) Add(d Duration) Time {
	if t == Never || (d > 0 && t > Never-Time(d)) {
		return Never
	}
	return t + Time(d)
}

// Sub returns the length from u to t.
func (t Time) Sub(u Time) Duration { return Duration(t - u) }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool { return t < u }

// Earlier returns the earlier of two points.
func Earlier(t, u Time) Time {
	if t < u {
		return t
	}
	return u
}

// String prints the time in seconds since the origin, as traces show it.
func (t Time) String() string {
	if t == Never {
		return "never"
	}
	return fmt.Sprintf("%d.%06ds", int64(t)/1e9, (int64(t)%1e9)/1e3)
}
