package server

import (
	"slices"
	"strings"
	"testing"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// edit changes the running configuration by the words of VCS's commands.
func (h *had) edit(commands ...string) {
	h.lab.t.Helper()
	r := &hadv1.ChangeConfigRequest{}
	for _, c := range commands {
		r.Edits = append(r.Edits, &hadv1.ConfigEdit{Args: strings.Fields(c)})
	}
	if _, err := hadv1.NewConfigServiceClient(h.conn).ChangeConfig(background(h.lab.t), r); err != nil {
		h.lab.t.Fatalf("%q: %v", commands, err)
	}
}

// spec is what the scheduler of a system knows of a resource.
func (h *had) spec(name string) (schedule.Spec, bool) {
	var found schedule.Spec
	done := make(chan bool, 1)
	h.server.loop.post(func() {
		i := slices.IndexFunc(h.server.loop.sched.Specs(), func(s schedule.Spec) bool { return s.Resource == name })
		if i >= 0 {
			found = h.server.loop.sched.Specs()[i]
		}
		done <- i >= 0
	})
	return found, <-done
}

// A change of the running configuration reaches the agents and the scheduler of
// each system: new values are told, overrides and values of one system hold,
// resources and types come and go, and what did not change hears nothing.
func TestConfigReachesAgents(t *testing.T) {
	l, a, b := actorPair(t)
	config := hadv1.NewConfigServiceClient(a.conn)
	if _, err := config.MakeWritable(background(t), &hadv1.MakeWritableRequest{}); err != nil {
		t.Fatal(err)
	}
	before := l.world.story()
	told := func(h *had) []string {
		h.agents.mu.Lock()
		defer h.agents.mu.Unlock()
		return slices.Clone(h.agents.changed)
	}

	b.edit("hares -modify app What that")
	for _, h := range []*had{a, b} {
		poll(t, "the agent on "+h.name+" knows the new value", func() bool { return slices.Equal(told(h), []string{"app What"}) })
	}

	b.edit("hares -override app MonitorInterval", "hares -modify app MonitorInterval 7", "hatype -modify Actor RestartLimit 3")
	for _, h := range []*had{a, b} {
		poll(t, "limits on "+h.name, func() bool {
			s, ok := h.spec("app")
			return ok && s.Limits.MonitorInterval == 7 && s.Limits.RestartLimit == 3
		})
		if got := told(h); !slices.Equal(got, []string{"app What"}) {
			t.Errorf("a new limit was told to the agent on %s: %v", h.name, got)
		}
	}

	b.edit("hares -local app What", "hares -modify app What here -sys A")
	poll(t, "the value of A alone", func() bool { return slices.Equal(told(a), []string{"app What", "app What"}) })
	if got := told(b); !slices.Equal(got, []string{"app What"}) {
		t.Errorf("B was told of A's value: %v", got)
	}

	// A resource of a type that had none: its agent starts; when it is gone, its
	// agent ends.
	b.edit("hares -add nic NIC web", "hares -modify nic Device eth0", "hares -modify nic Critical 0", "hares -modify nic Enabled 1")
	for _, h := range []*had{a, b} {
		poll(t, "the agent NIC runs on "+h.name, func() bool { return agentOf(a, "NIC", h.name).GetRunning() })
	}
	a.await("nic is probed", func(st *hadv1.GetStatusResponse) bool {
		return slices.ContainsFunc(st.GetResources(), func(r *hadv1.Resource) bool {
			return r.GetName() == "nic" && !slices.ContainsFunc(r.GetSystems(), func(on *hadv1.ResourceOnSystem) bool { return !on.GetProbed() })
		})
	})
	b.edit("hares -delete nic")
	for _, h := range []*had{a, b} {
		poll(t, "no NIC on "+h.name, func() bool {
			_, known := h.spec("nic")
			got, err := h.agentAPI().ListAgents(background(t), &hadv1.ListAgentsRequest{})
			return err == nil && !known && !slices.ContainsFunc(got.GetAgents(), func(g *hadv1.Agent) bool { return g.GetType() == "NIC" })
		})
	}

	if got := agentOf(a, "NIC", "B"); got != nil {
		t.Errorf("A still tells of B's agent: %v", got)
	}
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Errorf("resources were touched: %v, before %v", got, before)
	}

	// Disabled, a resource is closed and no longer monitored; enabled, it is
	// opened and probed again.
	if _, err := a.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "A", "OFFLINE")
	probed := func(want bool) func(*hadv1.GetStatusResponse) bool {
		return func(st *hadv1.GetStatusResponse) bool {
			return slices.ContainsFunc(st.GetResources(), func(r *hadv1.Resource) bool {
				return r.GetName() == "app" && r.GetEnabled() == want &&
					!slices.ContainsFunc(r.GetSystems(), func(on *hadv1.ResourceOnSystem) bool { return on.GetProbed() != want })
			})
		}
	}
	b.edit("hares -modify app Enabled 0")
	poll(t, "app is not looked after on A", func() bool { s, ok := a.spec("app"); return ok && !s.Enabled })
	b.edit("hares -modify app Enabled 1")
	a.await("app is probed again", probed(true))
	l.neverTwice()
}
