package lab

import (
	"testing"
	"time"
)

// TestRoundRobin: of three groups that a crash makes homeless, each goes to the
// system with the fewest groups at that moment.
func TestRoundRobin(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/round-robin", false)
	groups := []string{"rr1", "rr2", "rr3"}
	for _, g := range groups {
		c.waitGroup("C", g, "A", online, 20*time.Second)
	}
	c.waitGroup("C", "other", "B", online, 20*time.Second)
	c.crash("A")
	c.waitSystem("C", "A", "FAULTED", 10*time.Second)
	count := map[string]int{"B": 1}
	for _, g := range groups {
		count[c.home("C", g, 20*time.Second)]++
	}
	if count["B"] != 2 || count["C"] != 2 {
		t.Errorf("groups by system: %v\n%s", count, c.must("C", "ha", "group", "explain", "rr3"))
	}
}

// TestHybrid: one instance in each zone; an instance fails over inside its zone
// and never leaves it.
func TestHybrid(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/hybrid", false)
	c.waitGroup("D", "svc", "A", online, 20*time.Second)
	c.waitGroup("D", "svc", "C", online, 20*time.Second)
	c.waitGroup("D", "svc", "B", offline, time.Second)
	c.waitGroup("D", "svc", "D", offline, time.Second)
	c.crash("A")
	c.waitGroup("D", "svc", "B", online, 20*time.Second)
	c.waitGroup("D", "svc", "C", online, time.Second)
	c.waitGroup("D", "svc", "D", offline, time.Second)
	c.crash("B")
	c.waitSystem("D", "B", "FAULTED", 10*time.Second)
	// The zone has no system left: the other zone goes on with its one instance.
	c.must("D", "hagrp", "-switch", "svc", "-to", "D")
	c.waitGroup("D", "svc", "D", online, 20*time.Second)
	c.waitGroup("D", "svc", "C", offline, 20*time.Second)
	// What the zone is owed it gets when a system of it is back.
	if err := c.Boot(c.within(60*time.Second), "B"); err != nil {
		t.Fatal(err)
	}
	c.waitGroup("D", "svc", "B", online, 30*time.Second)
}

// TestParallel: an instance on each system; the loss of one leaves the others
// alone, and a repaired system has its instance again.
func TestParallel(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/parallel", false)
	for _, s := range []string{"A", "B", "C"} {
		c.waitGroup("C", "svc", s, online, 20*time.Second)
	}
	c.crash("B")
	c.waitSystem("C", "B", "FAULTED", 10*time.Second)
	c.waitGroup("C", "svc", "A", online, time.Second)
	c.waitGroup("C", "svc", "C", online, time.Second)
	if err := c.Boot(c.within(60*time.Second), "B"); err != nil {
		t.Fatal(err)
	}
	c.waitGroup("C", "svc", "B", online, 30*time.Second)
}
