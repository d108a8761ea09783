package trigger

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestQueue: what is about one group runs in its order and never side by side,
// no more run than may, and everything runs in the end.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parallel := rapid.IntRange(1, 4).Draw(t, "parallel")
		q := NewQueue(parallel, 1000)
		var running []Job
		last := map[string]uint64{}
		begun, next := 0, uint64(0)
		begin := func() {
			for {
				j, ok := q.Next()
				if !ok {
					return
				}
				if j.ID <= last[j.lane()] {
					t.Fatalf("%s of %q runs after trigger %d", j, j.lane(), last[j.lane()])
				}
				if slices.ContainsFunc(running, func(o Job) bool { return o.lane() == j.lane() }) {
					t.Fatalf("two of %q run at once", j.lane())
				}
				last[j.lane()] = j.ID
				running = append(running, j)
				begun++
				crowd := 0
				for _, o := range running {
					if !o.Awaited {
						crowd++
					}
				}
				if crowd > parallel {
					t.Fatalf("%d run, %d may", crowd, parallel)
				}
			}
		}
		end := func(i int) {
			q.Done(running[i].ID)
			running = slices.Delete(running, i, i+1)
			begin()
		}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			if len(running) > 0 && rapid.Bool().Draw(t, "end one") {
				end(rapid.IntRange(0, len(running)-1).Draw(t, "which"))
				continue
			}
			next++
			j := Job{ID: next, Event: "e", Group: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "group"), Awaited: rapid.IntRange(0, 5).Draw(t, "awaited") == 0}
			if !q.Add(j) {
				t.Fatal("refused below the bound")
			}
			begin()
			if j.Awaited && !slices.ContainsFunc(running, func(o Job) bool { return o.ID == j.ID }) {
				t.Fatalf("a start waits for %d, and it does not run", j.ID)
			}
		}
		for len(running) > 0 {
			end(0)
		}
		if begun != int(next) || len(q.Waiting()) > 0 || q.Running() > 0 {
			t.Fatalf("%d of %d began", begun, next)
		}
	})
}

// TestQueueBound: what is too much is refused, but never what a start waits
// for.
func TestQueueBound(t *testing.T) {
	q := NewQueue(1, 2)
	for id := uint64(1); id <= 3; id++ {
		if got := q.Add(Job{ID: id, Group: "g"}); got != (id <= 2) {
			t.Errorf("job %d taken: %t", id, got)
		}
	}
	if !q.Add(Job{ID: 4, Group: "g", Awaited: true}) {
		t.Error("what a start waits for was refused")
	}
}

func TestEnvironment(t *testing.T) {
	env := strings.Join(Job{ID: 12, Event: "postonline", Group: "web", Lineage: 7, View: 3, Seq: 41, Why: "failover"}.Environment(), "\n")
	for _, want := range []string{"VCS_TRIGGER=postonline", "EVENKEEL_TRIGGER_ID=12", "EVENKEEL_POSITION=7.3.41", "EVENKEEL_SEQ=41", "EVENKEEL_GROUP=web", "EVENKEEL_WHY=failover"} {
		if !strings.Contains(env, want) {
			t.Errorf("no %s in\n%s", want, env)
		}
	}
}
