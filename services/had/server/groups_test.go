package server

import (
	"slices"
	"strings"
	"testing"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"google.golang.org/grpc/codes"
)

// two starts a cluster of A and B with a configuration and waits until a
// group has reached a state.
func two(t *testing.T, config, group, system, state string) (*lab, *had, *had) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", config))
	b := l.start("B", l.root("B", config))
	for _, h := range []*had{a, b} {
		h.awaitGroup(group, system, state)
		h.await("everything probed", func(st *hadv1.GetStatusResponse) bool {
			return !slices.ContainsFunc(st.GetGroups(), func(g *hadv1.Group) bool {
				return slices.ContainsFunc(g.GetSystems(), func(on *hadv1.GroupOnSystem) bool { return !on.GetProbed() })
			})
		})
	}
	return l, a, b
}

func (h *had) resourceState(name, system string) string {
	r, err := h.resources().GetResource(background(h.lab.t), &hadv1.GetResourceRequest{Name: name})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	for _, on := range r.GetResource().GetSystems() {
		if on.GetSystem() == system {
			return on.GetState()
		}
	}
	return ""
}

// ManageFaults = NONE: what went down is neither cleaned nor restarted, and
// its group stays where it is, until somebody says what has become of it.
func TestAdminWait(t *testing.T) {
	config := strings.Replace(twoSystems, "AutoStartList", "ManageFaults = NONE\n\tAutoStartList", 1)
	l, a, b := two(t, config, "web", "A", "ONLINE")
	before := l.world.story()
	a.agents.die("bottom")
	b.await("bottom waits for an administrator", func(*hadv1.GetStatusResponse) bool { return b.resourceState("bottom", "A") == "ONLINE|ADMIN_WAIT" })
	_, err := b.groups().SwitchGroup(background(t), &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B"})
	if code, _, _ := reason(err); code != codes.FailedPrecondition || !strings.Contains(err.Error(), "hagrp -clearadminwait web -sys A") {
		t.Fatalf("a switch while it waits: %v", err)
	}
	if got := l.world.story(); !slices.Equal(got, append(before, "-bottom@A")) {
		t.Fatalf("something was done: %v", got)
	}
	if _, err := b.groups().ClearAdminWaitGroup(background(t), &hadv1.ClearAdminWaitGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	a.await("it waits again, for nothing was put right", func(*hadv1.GetStatusResponse) bool { return a.resourceState("bottom", "A") == "ONLINE|ADMIN_WAIT" })
	if _, err := b.groups().ClearAdminWaitGroup(background(t), &hadv1.ClearAdminWaitGroupRequest{Name: "web", System: "A", Fault: true}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "B", "ONLINE")
	a.awaitGroup("web", "A", "OFFLINE|FAULTED")
	l.neverTwice()
}

func (h *had) groupValue(group, attr, system string) string {
	g, err := h.groups().GetGroup(background(h.lab.t), &hadv1.GetGroupRequest{Name: group})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	for _, at := range g.GetGroup().GetAttributes() {
		if at.GetName() == attr && at.GetSystem() == system {
			return at.GetValue()
		}
	}
	return "none"
}

// A hybrid group is online in each zone; offline by hand in one is the intent
// of that zone alone.
func TestHybridGroup(t *testing.T) {
	config := strings.Replace(twoSystems, "AutoStartList", "Parallel = 2\n\tSystemZones = { A = 0, B = 1 }\n\tAutoStartList", 1)
	_, a, b := two(t, config, "web", "A", "ONLINE")
	a.awaitGroup("web", "B", "ONLINE")
	if got := a.groupValue("web", "CurrentCount", ""); got != "2" {
		t.Errorf("CurrentCount is %s", got)
	}
	if _, err := a.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "B"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "B", "OFFLINE")
	if on, off := b.groupValue("web", "IntentOnline", "A"), b.groupValue("web", "IntentOnline", "B"); on != "1" || off != "0" {
		t.Errorf("IntentOnline is %s on A and %s on B", on, off)
	}
	_, err := a.groups().SwitchGroup(background(t), &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B"})
	if code, _, _ := reason(err); code != codes.FailedPrecondition || !strings.Contains(err.Error(), "inside a zone only") {
		t.Errorf("a switch to another zone: %v", err)
	}
	b.awaitGroup("web", "A", "ONLINE")
}

// Offline and online with -propagate take the parent along, in order.
func TestPropagate(t *testing.T) {
	config := twoSystems + `
group app (
	SystemList = { A = 0, B = 1 }
	)
	requires group web online local firm

	FileOnOff front (
		PathName = "/tmp/front"
		)
`
	l, a, b := two(t, config, "web", "A", "ONLINE")
	ctx := background(t)
	if _, err := b.groups().OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "A", "OFFLINE")
	start := len(l.world.story())
	if _, err := b.groups().OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "app", System: "B", Propagate: true}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("app", "B", "ONLINE")
	if _, err := a.groups().OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: "web", System: "B"}); err == nil || !strings.Contains(err.Error(), "-propagate") {
		t.Errorf("web was taken from under app: %v", err)
	}
	if _, err := a.groups().OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: "web", System: "B", Propagate: true}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "B", "OFFLINE")
	want := []string{"+bottom@B", "+top@B", "+front@B", "-front@B", "-top@B", "-bottom@B"}
	if got := l.world.story()[start:]; !slices.Equal(got, want) {
		t.Errorf("history %v, want %v", got, want)
	}
	l.neverTwice()
}

// hares -offprop takes a resource offline with what it needs, -parentprop with
// what needs it.
func TestOfflineWithOthers(t *testing.T) {
	l, a, b := pair(t)
	ctx := background(t)
	start := len(l.world.story())
	if _, err := b.resources().OfflineResource(ctx, &hadv1.OfflineResourceRequest{Name: "bottom", System: "A"}); err == nil || !strings.Contains(err.Error(), "-parentprop") {
		t.Errorf("bottom was taken from under top: %v", err)
	}
	if _, err := b.resources().OfflineResource(ctx, &hadv1.OfflineResourceRequest{Name: "bottom", System: "A", ParentProp: true}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "A", "OFFLINE")
	if _, err := b.groups().OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "A", "ONLINE")
	if _, err := b.resources().OfflineResource(ctx, &hadv1.OfflineResourceRequest{Name: "top", System: "A", Propagate: true}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "A", "OFFLINE")
	want := []string{"-top@A", "-bottom@A", "+bottom@A", "+top@A", "-top@A", "-bottom@A"}
	if got := l.world.story()[start:]; !slices.Equal(got, want) {
		t.Errorf("history %v, want %v", got, want)
	}
}
