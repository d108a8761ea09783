package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// nfs is the graph of the NFS sample: the address above the export above the
// mount above the disks, the server and the interface beside them.
func nfs() *Graph {
	return NewGraph([]string{"dg", "ip", "mount", "nfsd", "nic", "share"}, []Dependency{
		{Parent: "ip", Children: []string{"nic"}}, {Parent: "ip", Children: []string{"share"}},
		{Parent: "mount", Children: []string{"dg"}}, {Parent: "share", Children: []string{"mount"}},
		{Parent: "share", Children: []string{"nfsd"}}, {Parent: "ip", Children: []string{"nobody"}},
	})
}

func TestWalks(t *testing.T) {
	g := nfs()
	all := func(string) bool { return true }
	for _, c := range []struct {
		what string
		got  []string
		want []string
	}{
		{"what needs the disks", g.Ancestors("dg"), []string{"ip", "mount", "share"}},
		{"what the address needs", g.Descendants("ip"), []string{"dg", "mount", "nfsd", "nic", "share"}},
		{"what goes with the mount", g.Broken("mount", all), []string{"ip", "share"}},
		{"what the share waits for", g.Missing("share", func(r string) bool { return r == "nfsd" }), []string{"mount"}},
		{"nothing to wait for", g.Missing("ip", all), nil},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	selected, blocked := g.Selection(func(r string) bool { return r == "ip" || r == "nfsd" }, func(r string) bool { return r != "dg" })
	if !slices.Equal(selected, []string{"nfsd"}) || !slices.Equal(blocked, []string{"ip"}) {
		t.Errorf("with the disks disabled: %v, left out %v", selected, blocked)
	}
}

func TestAtLeastCarriesItsParent(t *testing.T) {
	g := NewGraph([]string{"srv", "d1", "d2", "d3"}, []Dependency{{Parent: "srv", Children: []string{"d1", "d2", "d3"}, AtLeast: 2}})
	up := map[string]bool{"srv": true, "d1": true, "d2": true, "d3": true}
	is := func(r string) bool { return up[r] }
	if b := g.Broken("d1", is); len(b) != 0 {
		t.Errorf("two of three are left, and %v goes", b)
	}
	up["d1"] = false
	if b := g.Broken("d2", is); !slices.Equal(b, []string{"srv"}) {
		t.Errorf("one of three is left, and %v goes", b)
	}
}

// TestWalkOrder: bringing up what is ready, step by step, reaches everything
// of any graph without cycle, children always first.
func TestWalkOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		var names []string
		var deps []Dependency
		for i := range n {
			names = append(names, fmt.Sprint("r", i))
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "edge") == 0 {
					deps = append(deps, Dependency{Parent: names[i], Children: []string{names[j]}})
				}
			}
		}
		g := NewGraph(rapid.Permutation(names).Draw(t, "order"), deps)
		up := map[string]bool{}
		for range n {
			for _, r := range g.Resources() {
				if !up[r] && len(g.Missing(r, func(c string) bool { return up[c] })) == 0 {
					for _, d := range g.Descendants(r) {
						if !up[d] {
							t.Fatalf("%s before %s", r, d)
						}
					}
					up[r] = true
				}
			}
		}
		if len(up) != n {
			t.Fatalf("only %v of %d came up", up, n)
		}
		for _, r := range names {
			if b := g.Broken(r, func(c string) bool { return up[c] }); !slices.Equal(b, g.Ancestors(r)) {
				t.Fatalf("without %s: %v goes, ancestors %v", r, b, g.Ancestors(r))
			}
		}
	})
}

// TestSuffices is R1 as a table.
func TestSuffices(t *testing.T) {
	for _, c := range []struct {
		loss   Loss
		accept time.Duration
		want   bool
	}{
		{Loss{Evidence: EvidenceClean}, 0, true},
		{Loss{Evidence: EvidencePoweredOff, Jeopardy: true}, 0, true},
		{Loss{Evidence: EvidenceExpired}, 0, true},
		{Loss{Evidence: EvidenceVouched, Jeopardy: true}, 0, true},
		{Loss{Evidence: EvidenceNone}, time.Hour, false},
		{Loss{Evidence: "SOMETHING"}, time.Hour, false},
		{Loss{Evidence: EvidenceAssumed, FencingDisabled: true}, 0, true},
		{Loss{Evidence: EvidenceAssumed, FencingDisabled: true, Jeopardy: true}, 0, false},
		{Loss{Evidence: EvidenceAssumed}, time.Hour, false},
		{Loss{Evidence: EvidenceCut, StopBound: time.Second}, 0, false},
		{Loss{Evidence: EvidenceCut}, time.Hour, false},
		{Loss{Evidence: EvidenceCut, StopBound: 2 * time.Second}, time.Second, false},
		{Loss{Evidence: EvidenceCut, StopBound: time.Second}, time.Second, true},
		{Loss{Evidence: EvidenceCut, FencingDisabled: true}, 0, false},
	} {
		c.loss.System = "A"
		got, why := Suffices(c.loss, c.accept)
		if got != c.want || !strings.Contains(why, "A") {
			t.Errorf("%+v accepting %s: %t (%s), want %t", c.loss, c.accept, got, why, c.want)
		}
	}
	if AtLeast(EvidenceAssumed, EvidenceCut) || AtLeast(EvidenceCut, EvidenceVouched) || !AtLeast(EvidencePoweredOff, EvidenceCut) {
		t.Error("weaker evidence may not take the place of stronger")
	}
}

func TestTargetNamesEveryCandidate(t *testing.T) {
	candidates := []Candidate{
		{System: "gone", State: "FAULTED"}, {System: "frozen", State: "RUNNING", Frozen: true},
		{System: "bad", State: "RUNNING", Faulted: []string{"ip"}}, {System: "new", State: "RUNNING", Unprobed: []string{"ip"}},
		{System: "off", State: "RUNNING", Disabled: true}, {System: "doubt", State: "RUNNING", AutoDisabled: "DDNA"},
		{System: "here", State: "RUNNING", Active: true}, {System: "small", State: "RUNNING", Lacking: []string{"Slots"}},
		{System: "out", State: "RUNNING", Excluded: "said so"},
		{System: "late", State: "RUNNING", Priority: 9, Order: 1, OnlineGroups: 0, Available: 10},
		{System: "good", State: "RUNNING", Priority: 3, Order: 2, OnlineGroups: 2, Available: 5},
	}
	for policy, want := range map[string]string{Priority: "good", Order: "late", RoundRobin: "late", Load: "late", "": "good"} {
		got, verdicts := Target(policy, candidates)
		if got != want || len(verdicts) != len(candidates) {
			t.Errorf("%s: %s with %d verdicts, want %s with %d", policy, got, len(verdicts), want, len(candidates))
		}
		for _, v := range verdicts {
			if v.Reason == "" || v.Chosen != (v.System == want) {
				t.Errorf("%s: %+v", policy, v)
			}
		}
	}
	if got, _ := Target(Priority, candidates[:9]); got != "" {
		t.Errorf("nobody will do, and %s got it", got)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"web", "webserver", "db", "Mount_home"}
	for name, want := range map[string][]string{
		"wbe": {"web"}, "mount_home": {"Mount_home"}, "webserv": {"webserver"}, "xyz": nil, "": nil, "d": nil, strings.Repeat("a", 200): nil,
	} {
		if got := Nearest(name, known); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
