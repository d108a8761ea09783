package lab

import (
	"context"
	"strings"
	"testing"
	"time"
)

// attribute waits until hasys -value prints what is wanted.
func (c *cluster) attribute(ask, system, name string, wanted func(string) bool) {
	c.t.Helper()
	err := Until(c.within(30*time.Second), name+" of "+system, func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, ask, "hasys", "-value", system, name)
		if err != nil {
			return false, err.Error()
		}
		return wanted(strings.TrimSpace(out)), out
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func is(want string) func(string) bool { return func(got string) bool { return got == want } }

// TestLoad: hasys -load decides where FailOverPolicy Load goes, Limits forbid
// what has most room, and BiggestAvailable goes by what the machines measured.
func TestLoad(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/load", false)
	for _, g := range []string{"heavy", "gold", "big"} {
		c.waitGroup("C", g, "A", online, 20*time.Second)
	}
	for _, s := range []string{"A", "B", "C"} {
		c.attribute("C", s, "HostUtilization", func(v string) bool { return strings.Contains(v, "CPU") && strings.Contains(v, "Mem") })
		c.attribute("A", s, "LinkHbStatus", func(v string) bool { return strings.Count(v, "UP") == 2 })
		c.attribute("B", s, "SysInfo", func(v string) bool { return strings.HasPrefix(v, "Linux:") })
	}
	c.attribute("C", "A", "AvailableCapacity", is("60"))
	c.attribute("C", "A", "OnGrpCnt", is("3"))
	c.must("B", "hasys", "-load", "B", "70")
	c.attribute("C", "B", "AvailableCapacity", is("30"))
	c.attribute("C", "B", "DynamicLoad", is("70"))
	err := Until(c.within(20*time.Second), "the warning about the load of B", func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, "A", "hamsg", "engine_A")
		return err == nil && strings.Contains(out, "V-16-1-90152"), out
	})
	if err != nil {
		t.Fatal(err)
	}
	c.must("C", "hasys", "-load", "C", "10")
	c.crash("A")
	c.waitGroup("C", "heavy", "C", online, 20*time.Second)
	c.waitGroup("C", "gold", "B", online, 20*time.Second)
	c.attribute("C", "B", "CurrentLimits", func(v string) bool { return strings.Contains(v, "Licence") && strings.HasSuffix(v, "0") })
	c.home("C", "big", 20*time.Second)
	why := c.must("C", "ha", "group", "explain", "big")
	if !strings.Contains(why, "forecast") || !strings.Contains(why, "cores") {
		t.Errorf("BiggestAvailable does not say by which numbers it chose:\n%s", why)
	}
	why = c.must("C", "ha", "group", "explain", "heavy")
	if !strings.Contains(why, "dynamic load 10") {
		t.Errorf("Load does not say by which numbers it chose:\n%s", why)
	}
}

// TestStopVariants: what EngineShutdown forbids; hastop that moves the groups
// first, one that leaves them running, and one of the whole cluster.
func TestStopVariants(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/load", false)
	for _, g := range []string{"heavy", "gold", "big"} {
		c.waitGroup("C", g, "A", online, 20*time.Second)
	}
	c.must("A", "haconf", "-makerw")
	c.must("A", "haclus", "-modify", "EngineShutdown", "DisableClusStop")
	c.refused("A", []string{"hastop", "-all"}, "V-16-1-90160", "DisableClusStop")
	c.must("A", "haclus", "-modify", "EngineShutdown", "Enable")
	c.refused("A", []string{"hastop", "-all"}, "haconf -dump -makero")
	c.must("A", "haconf", "-dump", "-makero")
	c.must("C", "hastop", "-sys", "A", "-evacuate", "-noautodisable")
	c.waitSystem("C", "A", "EXITED", 20*time.Second)
	c.home("C", "heavy", 20*time.Second)
	c.attribute("C", "A", "NoAutoDisable", is("1"))
	c.attribute("C", "A", "UpDownState", is("1"))
	at := c.home("C", "heavy", 20*time.Second)
	other := map[string]string{"B": "C", "C": "B"}[at]
	c.must(other, "hastop", "-sys", at, "-force")
	c.waitSystem(other, at, "EXITED", 20*time.Second)
	c.must(at, "test", "-e", "/run/heavy.flag") // it runs on without had
	c.must(at, "hastart")
	c.waitSystem(other, at, "RUNNING", 30*time.Second)
	c.waitGroup(other, "heavy", at, online, 30*time.Second)
	c.must(other, "hastop", "-all")
	for _, system := range []string{at, other} {
		err := Until(c.within(30*time.Second), "everything to be stopped on "+system, func(ctx context.Context) (bool, string) {
			out, err := c.Exec(ctx, system, "hasys", "-state")
			return err != nil || strings.Contains(out.Err, "V-16-1-10600") || strings.Contains(out.Err, "V-16-1-11046"), out.Out + out.Err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if res, err := c.Exec(c.ctx, at, "test", "-e", "/run/heavy.flag"); err != nil || res.Code == 0 {
		t.Errorf("hastop -all left heavy running: %v", err)
	}
}
