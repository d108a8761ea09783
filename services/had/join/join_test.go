package join_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/join"
	"pgregory.net/rapid"
)

// views numbers the views of the stories.
var views uint64

func parse(t *testing.T, words []string) join.Event {
	arg := func(n int) string {
		if n >= len(words) {
			t.Fatalf("%v: missing word", words)
		}
		return words[n]
	}
	switch words[0] {
	case "view":
		views++
		v := join.View{ID: views}
		for _, w := range words[1:] {
			id, name, _ := strings.Cut(w, ":")
			n, _ := strconv.Atoi(id)
			v.Members = append(v.Members, join.Member{Name: name, Node: n})
		}
		return v
	case "announced":
		a := join.Announced{System: arg(1), State: join.State(arg(2)), View: views}
		if len(words) > 3 { // "old"
			a.View--
		}
		return a
	case "wanted":
		n, _ := strconv.Atoi(arg(2))
		return join.SnapshotWanted{System: arg(1), Build: uint64(n)}
	case "chunk":
		build, _ := strconv.Atoi(arg(1))
		n, _ := strconv.Atoi(arg(2))
		total, _ := strconv.Atoi(arg(3))
		return join.Chunk{Build: uint64(build), N: n, Total: total, Data: []byte(arg(4))}
	case "restored":
		return join.Restored{}
	case "restore-failed":
		return join.Restored{Problem: "damaged"}
	case "not-in-config":
		return join.Restored{NotInConfig: true}
	case "config":
		return join.ConfigDelivered{System: arg(1)}
	case "load-failed":
		return join.LoadFailed{Problem: "main.cf:3:1: unknown keyword"}
	case "force":
		return join.Force{}
	case "stop":
		return join.Stop{Forced: len(words) > 1}
	case "moved":
		return join.Moved{State: join.State(arg(1))}
	case "named":
		return join.Named{}
	case "marked":
		n, _ := strconv.Atoi(arg(1))
		return join.Marked{N: uint64(n)}
	case "voted":
		n, _ := strconv.Atoi(arg(2))
		h, _ := strconv.Atoi(arg(3))
		return join.Voted{System: arg(1), N: uint64(n), Hash: uint64(h)}
	case "wake":
		return join.Wake{}
	}
	t.Fatalf("unknown event %v", words)
	return nil
}

// TestStories plays testdata/*.txt: "new DISK" starts system B, each line is
// an event, "@SECONDS EVENT" at a time.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			self := "B"
			if d.HasArg("self") {
				d.ScanArgs(t, "self", &self)
			}
			var disk string
			d.ScanArgs(t, "disk", &disk)
			c, err := join.New(join.Config{Self: self, Disk: join.Disk(disk)})
			if err != nil {
				return err.Error() + "\n"
			}
			var b strings.Builder
			now := vclock.Time(0)
			for _, line := range strings.Split(d.Input, "\n") {
				words := strings.Fields(line)
				if len(words) == 0 {
					continue
				}
				if at, timed := strings.CutPrefix(words[0], "@"); timed {
					n, _ := strconv.Atoi(at)
					now, words = vclock.Time(n)*1e9, words[1:]
				}
				fmt.Fprintf(&b, "%s\n", line)
				for _, e := range c.Step(now, parse(t, words), nil) {
					fmt.Fprintf(&b, "  %s\n", e)
				}
			}
			fmt.Fprintf(&b, "is %s", c.State())
			if at, ok := c.Deadline(); ok {
				fmt.Fprintf(&b, " until %s", at)
			}
			if why := c.WaitingFor(); why != "" {
				fmt.Fprintf(&b, ": %s", why)
			}
			return b.String() + "\n"
		})
	})
}

// sent is a message in the total order.
type sent struct {
	from    string
	deliver func()
}

// cluster runs several cores over one total order.
type cluster struct {
	t     *rapid.T
	cores map[string]*join.Core
	in    []string
	queue []sent
	disk  map[string]join.Disk
	built int
	views uint64
	now   vclock.Time
}

func (c *cluster) nodes() []join.Member {
	var ms []join.Member
	for _, n := range c.in {
		ms = append(ms, join.Member{Name: n, Node: int(n[0] - 'A')})
	}
	return ms
}

func (c *cluster) all(ev join.Event) {
	for _, n := range c.in {
		c.step(n, ev)
	}
}

func (c *cluster) send(from string, ev join.Event) {
	c.queue = append(c.queue, sent{from, func() { c.all(ev) }})
}

func (c *cluster) step(n string, ev join.Event) {
	core := c.cores[n]
	for _, effect := range core.Step(c.now, ev, nil) {
		switch e := effect.(type) {
		case join.Announce:
			c.send(n, join.Announced{System: n, State: e.State, View: e.View})
		case join.RequestSnapshot:
			c.send(n, join.SnapshotWanted{System: n, Build: e.Build})
		case join.LoadConfig:
			c.built++
			if c.disk[n] == join.DiskValid || e.Force {
				c.send(n, join.ConfigDelivered{System: n})
			} else {
				c.step(n, join.LoadFailed{Problem: "bad"})
			}
		case join.SendSnapshot:
			c.queue = append(c.queue, sent{n, func() {
				if to := c.cores[e.For]; to != nil {
					c.step(e.For, join.Chunk{Build: e.Build, Total: 1, Data: []byte("x")})
				}
			}})
		case join.Restore:
			c.step(n, join.Restored{})
		}
	}
	running, building := 0, 0
	for _, m := range c.in {
		switch c.cores[m].State() {
		case join.Running:
			running++
		case join.LocalBuild:
			building++
		}
	}
	if building > 1 || (building == 1 && running > 0) {
		c.t.Fatalf("%d systems build from disk while %d run", building, running)
	}
}

// TestOneBuilds starts systems in any order with any disks; at no time do two
// build from disk, nor one beside a running one, and when everything has been
// delivered, all run if any had a valid configuration.
func TestOneBuilds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &cluster{t: t, cores: map[string]*join.Core{}, disk: map[string]join.Disk{}}
		names := []string{"A", "B", "C"}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(c.queue) > 0 && rapid.IntRange(0, 4).Draw(t, "deliver") > 0 {
				next := c.queue[0]
				c.queue = c.queue[1:]
				next.deliver()
				continue
			}
			c.change(names[rapid.IntRange(0, 2).Draw(t, "who")])
		}
		for range 500 {
			if len(c.queue) == 0 && !c.wake() {
				break
			}
			if len(c.queue) == 0 {
				continue
			}
			next := c.queue[0]
			c.queue = c.queue[1:]
			next.deliver()
		}
		c.rested()
	})
}

// wake lets time pass until the first deadline; false if there is none.
func (c *cluster) wake() bool {
	for _, n := range c.in {
		if at, ok := c.cores[n].Deadline(); ok {
			c.now = max(c.now, at)
			c.step(n, join.Wake{})
			return true
		}
	}
	return false
}

// change lets a system come or go.
func (c *cluster) change(n string) {
	if c.cores[n] == nil {
		c.disk[n] = rapid.SampledFrom([]join.Disk{join.DiskValid, join.DiskStale, join.DiskMissing}).Draw(c.t, "disk")
		core, err := join.New(join.Config{Self: n, Disk: c.disk[n]})
		if err != nil {
			c.t.Fatal(err)
		}
		c.cores[n] = core
		c.in = append(c.in, n)
	} else {
		delete(c.cores, n)
		// What a system sent is delivered before the view without it, or never.
		c.queue = slices.DeleteFunc(c.queue, func(s sent) bool { return s.from == n })
		kept := c.in[:0]
		for _, m := range c.in {
			if m != n {
				kept = append(kept, m)
			}
		}
		c.in = kept
	}
	c.views++
	c.all(join.View{ID: c.views, Members: c.nodes()})
}

func (c *cluster) rested() {
	states := map[join.State]int{}
	for _, n := range c.in {
		states[c.cores[n].State()]++
	}
	waits := states[join.AdminWait] + states[join.StaleAdminWait]
	if states[join.Running] > 0 && states[join.Running] != len(c.in) {
		c.t.Fatalf("some run, others do not: %v", states)
	}
	if states[join.Running]+waits != len(c.in) {
		c.t.Fatalf("at rest, yet neither RUNNING nor waiting for the administrator: %v", states)
	}
}

// Of several valid copies the one with the highest rank is built from, of equal
// ones that of the lowest node id.
func TestHighestRankBuilds(t *testing.T) {
	for _, c := range []struct {
		ranks   []uint64
		builder string
	}{{[]uint64{6, 8, 7}, "B"}, {[]uint64{6, 6, 6}, "A"}, {[]uint64{0, 1, 9}, "C"}} {
		names := []string{"A", "B", "C"}
		var members []join.Member
		cores := map[string]*join.Core{}
		for i, n := range names {
			core, err := join.New(join.Config{Self: n, Disk: join.DiskValid, Rank: c.ranks[i]})
			if err != nil {
				t.Fatal(err)
			}
			cores[n] = core
			members = append(members, join.Member{Name: n, Node: i})
		}
		said := map[string][]join.Effect{}
		for _, n := range names {
			said[n] = cores[n].Step(1, join.View{ID: 1, Members: members}, nil)
		}
		for _, from := range names { // in one order to all
			for _, effect := range said[from] {
				if a, ok := effect.(join.Announce); ok {
					for _, n := range names {
						cores[n].Step(1, join.Announced{System: from, State: a.State, View: a.View, Rank: a.Rank}, nil)
					}
				}
			}
		}
		for _, n := range names {
			if got, want := cores[n].State() == join.LocalBuild, n == c.builder; got != want {
				t.Errorf("ranks %v: %s is %s, and %s is to build", c.ranks, n, cores[n].State(), c.builder)
			}
		}
	}
}
