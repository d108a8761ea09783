package verdict

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"pgregory.net/rapid"
)

// TestStories reads stories: "new self=NAME", then one event a line, each with
// the time in milliseconds before it. Timers fire between the lines.
func TestStories(t *testing.T) {
	var c *Core
	datadriven.RunTest(t, "testdata/stories.txt", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "new" {
			var self string
			d.ScanArgs(t, "self", &self)
			var err error
			if c, err = New(Config{Self: self}); err != nil {
				return err.Error() + "\n"
			}
		}
		var b strings.Builder
		step := func(now vclock.Time, ev Event) {
			for _, eff := range c.Step(now, ev, nil) {
				fmt.Fprintf(&b, "%d ms: %v\n", now/1e6, eff)
			}
		}
		for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
			if line == "" {
				continue
			}
			var ms int64
			var word, a string
			n, _ := fmt.Sscan(line, &ms, &word, &a)
			if n < 2 {
				t.Fatalf("%s: bad line %q", d.Pos, line)
			}
			now := vclock.Time(ms * 1e6)
			for {
				at, ok := c.Deadline()
				if !ok || now.Before(at) {
					break
				}
				step(at, Wake{})
			}
			switch word {
			case "seen":
				step(now, Seen{Name: a, PID: 7})
			case "died":
				step(now, Missing{Name: a, Why: "died"})
			case "left":
				step(now, Missing{Name: a, Ordered: true})
			case "lease":
				var until int64
				fmt.Sscan(a, &until)
				step(now, Lease{Expires: vclock.Time(until * 1e6)})
			case "lost":
				step(now, LeaseLost{Reason: a})
			case "protected":
				var n uint32
				fmt.Sscan(a, &n)
				step(now, Protected{Resources: n})
			case "wait":
			default:
				t.Fatalf("%s: unknown %q", d.Pos, word)
			}
		}
		return b.String()
	})
}

// R2 as a property: a system with something protected is stopped at the latest
// when gab is dead, a lease has passed, or fencing or hashadow was missing for
// Grace, and never without one of these.
func TestR2Property(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, err := New(Config{Self: Hashadow, Grace: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		now := vclock.Time(1)
		gabDead, gabHere, fencingHere, lost := false, false, false, false
		var fencingSince, lease vclock.Time
		stopped := false
		step := func(ev Event) {
			for _, e := range c.Step(now, ev, nil) {
				if _, ok := e.(SelfStop); ok {
					if stopped {
						t.Fatal("stopped twice")
					}
					stopped = true
				}
			}
		}
		check := func() bool {
			bad := gabDead || lost || (lease != 0 && lease <= now) ||
				(fencingSince != 0 && fencingSince.Add(time.Second) <= now)
			if bad && !stopped {
				t.Fatalf("not stopped at %v", now)
			}
			if stopped {
				if !bad {
					t.Fatalf("stopped without a cause at %v", now)
				}
				return true
			}
			return false
		}
		step(Protected{Resources: 1})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			now = now.Add(vclock.Duration(rapid.Int64Range(0, int64(700*time.Millisecond)).Draw(t, "gap")))
			step(Wake{})
			if check() {
				return
			}
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0:
				if !gabHere {
					gabHere, gabDead, lost, lease = true, false, false, 0
				}
				step(Seen{Name: GAB})
			case 1:
				if gabHere {
					gabDead, gabHere = true, false
				}
				step(Missing{Name: GAB, Why: "died"})
			case 2:
				fencingHere, fencingSince = true, 0
				step(Seen{Name: Fencing})
			case 3:
				if fencingHere {
					fencingHere, fencingSince = false, now
				}
				step(Missing{Name: Fencing, Why: "died"})
			case 4:
				if gabHere {
					lease, lost = now.Add(300*time.Millisecond), false
					step(Lease{Expires: lease})
				}
			case 5:
				// R14: under something protected an ordered stop is a death.
				if fencingHere {
					fencingHere, fencingSince = false, now
				}
				step(Missing{Name: Fencing, Ordered: true})
			case 6:
				if gabHere && rapid.IntRange(0, 5).Draw(t, "lost") == 0 {
					lost = true
					step(LeaseLost{Reason: "evicted"})
				}
			}
			if check() {
				return
			}
		}
	})
}
