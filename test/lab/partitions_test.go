package lab

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	membershipLine = regexp.MustCompile(`(?m)^Port ([ah]) gen \S+ membership (.*)$`)
	jeopardyLine   = regexp.MustCompile(`(?m)^Port a gen \S+ +jeopardy ;(.*)$`)
	generationLine = regexp.MustCompile(`(?m)^Port a gen (\S+) membership`)
)

// member waits until gabconfig -a on a system shows these members of ports a
// and h, and these in jeopardy ("" for none).
func (c *cluster) member(system, members, jeopardy string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), fmt.Sprintf("members %q, in jeopardy %q on %s", members, jeopardy, system), func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, system, "gabconfig", "-a")
		if err != nil {
			return false, err.Error()
		}
		seen, danger := map[string]string{}, ""
		for _, m := range membershipLine.FindAllStringSubmatch(out, -1) {
			seen[m[1]] = m[2]
		}
		if m := jeopardyLine.FindStringSubmatch(out); m != nil {
			danger = m[1]
		}
		return seen["a"] == members && seen["h"] == members && danger == jeopardy, out
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) generation(system string) string {
	c.t.Helper()
	out := c.must(system, "gabconfig", "-a")
	m := generationLine.FindStringSubmatch(out)
	if m == nil {
		c.t.Fatalf("no generation of port a on %s:\n%s", system, out)
	}
	return m[1]
}

// runs checks where a group really runs: its file, which the engines are not
// asked about. want names systems; others that are on must not have it.
func (c *cluster) runs(group string, on, want string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), fmt.Sprintf("group %s to run on %s only", group, want), func(ctx context.Context) (bool, string) {
		var has []string
		for _, system := range strings.Fields(on) {
			r, err := c.Exec(ctx, system, "test", "-e", "/run/"+group+".flag")
			if err != nil {
				return false, err.Error()
			}
			if r.Code == 0 {
				has = append(has, system)
			}
		}
		return strings.Join(has, " ") == want, "it runs on " + strings.Join(has, " ")
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// sum waits for lines of hastatus -sum, whatever the width of their columns.
func (c *cluster) sum(system string, lines ...string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), "hastatus -sum on "+system, func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, system, "hastatus", "-sum")
		if err != nil {
			return false, err.Error()
		}
		var have []string
		for line := range strings.Lines(out) {
			have = append(have, strings.Join(strings.Fields(line), " "))
		}
		all := "\n" + strings.Join(have, "\n") + "\n"
		for _, line := range lines {
			if !strings.Contains(all, "\n"+line+"\n") {
				return false, fmt.Sprintf("no line %q in%s", line, all)
			}
		}
		return true, ""
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// link waits until lltstat -nvv on a system shows a peer's links so, such as
// "priv1 DOWN priv2 UP".
func (c *cluster) link(system, peer, want string) {
	c.t.Helper()
	err := Until(c.within(20*time.Second), fmt.Sprintf("links of %s on %s to be %s", peer, system, want), func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, system, "lltstat", "-nvv", "configured")
		if err != nil {
			return false, err.Error()
		}
		var states []string
		within := false
		for line := range strings.Lines(out) {
			f := strings.Fields(strings.Replace(line, "*", " ", 1))
			switch {
			case len(f) == 3 && !strings.HasPrefix(f[0], "priv"):
				within = f[1] == peer
			case within && len(f) >= 2:
				states = append(states, f[0], f[1])
			}
		}
		return strings.Join(states, " ") == want, out
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) cut(arguments ...string) {
	c.t.Helper()
	if _, err := c.halab(c.within(20*time.Second), "cut", arguments...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) heal() {
	c.t.Helper()
	if err := c.Heal(c.within(20 * time.Second)); err != nil {
		c.t.Fatal(err)
	}
}

// whole is the state between the rows: everybody in, each group at home.
func (c *cluster) whole() {
	c.t.Helper()
	for _, system := range []string{"A", "B", "C"} {
		c.member(system, "012", "")
	}
	c.sum("A", "A A RUNNING 0", "A B RUNNING 0", "A C RUNNING 0")
	for group, home := range map[string]string{"ga": "A", "gb": "B", "gc": "C"} {
		if state, err := c.GroupState(c.ctx, "A", group, home); err != nil || state != online {
			c.switchTo("A", group, home)
		}
		c.waitGroup("A", group, home, online, 20*time.Second)
		c.runs(group, "A B C", home)
	}
}

// TestPartitions plays the table of partitions without fencing (reference 2.6)
// on real daemons, one row after the other on one lab of three systems: what
// the commands show on each side, and where the groups really run.
func TestPartitions(t *testing.T) {
	needsRoot(t)
	lab := start(t, "testdata/partitions", false)
	row := func(name string, f func(c *cluster)) {
		t.Helper()
		if t.Failed() {
			return
		}
		t.Run(name, func(t *testing.T) {
			c := *lab
			c.t = t
			c.whole()
			f(&c)
		})
	}

	row("a link fails: jeopardy, and nothing else", func(c *cluster) {
		before := c.generation("A")
		c.cut("--link", "priv1", "C")
		for _, system := range []string{"A", "B", "C"} {
			c.member(system, "012", "2")
		}
		c.link("A", "C", "priv1 DOWN priv2 UP")
		c.link("A", "B", "priv1 UP priv2 UP")
		c.link("C", "A", "priv1 DOWN priv2 UP")
		c.sum("A", "A C RUNNING 0", "B gc C Y N ONLINE", "B gc A Y N OFFLINE")
		c.heal()
		c.member("A", "012", "")
		if after := c.generation("A"); after != before {
			t.Errorf("a link made another membership: generation %s, before %s", after, before)
		}
	})

	// Rows 2 and 3, then 5: the biggest side stays.
	row("links fail one after the other: no failover, autodisabled on both sides; the smaller side rejoins", func(c *cluster) {
		stays := strings.TrimSpace(c.must("A", "pgrep", "-x", "had"))
		c.cut("--link", "priv1", "C")
		for _, system := range []string{"A", "B", "C"} {
			c.member(system, "012", "2")
		}
		c.cut("--link", "priv2", "C")
		c.member("A", "01", "")
		c.member("C", "  2", "")
		c.sum("A", "A C FAULTED 0", "B gc C Y Y ONLINE", "B gc A Y N OFFLINE", "B gc B Y N OFFLINE")
		c.sum("C", "A A FAULTED 0", "A B FAULTED 0", "B ga A Y Y ONLINE", "B gb B Y Y ONLINE", "B ga C Y N OFFLINE", "B gb C Y N OFFLINE")
		for group, home := range map[string]string{"ga": "A", "gb": "B", "gc": "C"} {
			c.runs(group, "A B C", home)
		}
		if r, err := c.Exec(c.ctx, "A", "hagrp", "-online", "gc", "-sys", "A"); err != nil || r.Code == 0 || !strings.Contains(r.Err, "utodisabled") {
			t.Errorf("an autodisabled group was ordered online on the other side: %v, %+v", err, r)
		}
		went := strings.TrimSpace(c.must("C", "pgrep", "-x", "had"))
		c.heal()
		c.member("A", "012", "")
		c.member("C", "012", "")
		c.sum("A", "A C RUNNING 0", "B gc C Y N ONLINE", "B gc A Y N OFFLINE")
		c.runs("gc", "A B C", "C")
		if now := strings.TrimSpace(c.must("A", "pgrep", "-x", "had")); now != stays {
			t.Errorf("had of the side that stays was recycled: pid %s, before %s", now, stays)
		}
		if now := strings.TrimSpace(c.must("C", "pgrep", "-x", "had")); now == went {
			t.Errorf("had of the side that yields was not recycled: pid %s", now)
		}
	})

	// Row 1, then 9 as R17 has it.
	row("all links at once: both sides take over; the yielding side gives up what runs twice", func(c *cluster) {
		c.cut("--between", "A,B/C")
		c.member("B", "01", "")
		c.member("C", "  2", "")
		c.sum("A", "A C FAULTED 0", "B gc A Y N ONLINE")
		c.sum("C", "A A FAULTED 0", "A B FAULTED 0", "B ga C Y N ONLINE", "B gb C Y N ONLINE")
		c.runs("gc", "A B C", "A C")
		c.runs("ga", "A B C", "A C")
		c.heal()
		c.member("C", "012", "")
		c.sum("C", "A A RUNNING 0", "B gc A Y N ONLINE", "B gc C Y N OFFLINE", "B ga C Y N OFFLINE", "B gb C Y N OFFLINE")
		c.runs("ga", "A B C", "A")
		c.runs("gb", "A B C", "B")
		c.runs("gc", "A B C", "A")
		c.shows("C", "ha group explain gc", "yielded after a split")
	})

	row("A is not heard by B: the mesh is broken, A and C go on, B stops, its group starts elsewhere", func(c *cluster) {
		c.cut("--between", "A/B", "--one-way")
		c.member("A", "0 2", "")
		c.member("C", "0 2", "")
		c.waitPower("B", "off", 20*time.Second)
		c.sum("A", "A B FAULTED 0", "B ga A Y N ONLINE")
		c.runs("gb", "A C", "C")
		// While the mesh is broken B is not admitted, and says why.
		if err := c.Boot(c.within(60*time.Second), "B"); err != nil {
			t.Fatal(err)
		}
		c.shows("B", "gabconfig -a", "Not seeded; waits for system 2 to admit this system, which no link joins with 0")
		c.member("A", "0 2", "")
		c.heal()
		c.member("B", "012", "")
	})

	row("a pause: the others take over, who wakes stops and speaks no more", func(c *cluster) {
		before := c.generation("A")
		if err := c.Freeze(c.ctx, "C"); err != nil {
			t.Fatal(err)
		}
		c.member("A", "01", "")
		c.sum("A", "A C FAULTED 0", "B gc A Y N ONLINE")
		after := c.generation("A")
		if after == before {
			t.Errorf("the generation stayed %s", after)
		}
		if err := c.Thaw(c.ctx, "C"); err != nil {
			t.Fatal(err)
		}
		c.waitPower("C", "off", 20*time.Second)
		if now := c.generation("A"); now != after {
			t.Errorf("who woke moved the membership: generation %s, before %s", now, after)
		}
		c.runs("gc", "A B", "A")
		if err := c.Boot(c.within(60*time.Second), "C"); err != nil {
			t.Fatal(err)
		}
		c.member("C", "012", "")
	})

	// Row 4 and 6: two equal sides; the one with the lowest node id stays.
	row("two systems, links one after the other: the lowest id stays", func(c *cluster) {
		c.crash("C")
		c.member("A", "01", "")
		c.runs("gc", "A B", "A")
		c.cut("--link", "priv1", "B")
		c.member("A", "01", "01") // each sees the other over one link
		c.cut("--link", "priv2", "B")
		c.member("A", "0", "")
		c.member("B", " 1", "")
		c.sum("A", "B gb B Y Y ONLINE", "B gb A Y N OFFLINE")
		c.sum("B", "B ga A Y Y ONLINE", "B ga B Y N OFFLINE")
		c.runs("ga", "A B", "A")
		c.runs("gb", "A B", "B")
		stays, went := c.must("A", "pgrep", "-x", "had"), c.must("B", "pgrep", "-x", "had")
		c.heal()
		c.member("B", "01", "")
		c.sum("A", "A B RUNNING 0", "B gb B Y N ONLINE", "B ga A Y N ONLINE")
		if now := c.must("A", "pgrep", "-x", "had"); now != stays {
			t.Error("had of the lowest system was recycled")
		}
		if now := c.must("B", "pgrep", "-x", "had"); now == went {
			t.Error("had of the higher system was not recycled")
		}
		if err := c.Boot(c.within(60*time.Second), "C"); err != nil {
			t.Fatal(err)
		}
		c.member("C", "012", "")
	})

	// DDNA: had and hashadow are gone, the machine lives (S28).
	row("had dies and stays away: visible, autodisabled elsewhere, no failover", func(c *cluster) {
		c.must("C", "sh", "-c", "pkill -STOP -x hashadow; pkill -KILL -x had")
		c.shows("A", "gabconfig -a", "visible ;2")
		c.sum("A", "B gc C Y Y ONLINE", "B gc A Y N OFFLINE")
		c.runs("gc", "A B C", "C")
		c.must("C", "pkill", "-CONT", "-x", "hashadow")
		c.member("A", "012", "")
		c.sum("A", "A C RUNNING 0", "B gc C Y N ONLINE")
		c.runs("gc", "A B C", "C")
	})
}
