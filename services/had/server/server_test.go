package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const twoSystems = `include "types.cf"

cluster demo (
	)

system A

system B

group web (
	SystemList = { A = 0, B = 1 }
	AutoStartList = { A, B }
	)

	FileOnOff top (
		PathName = "/tmp/top"
		)

	FileOnOff bottom (
		PathName = "/tmp/bottom"
		)

	top requires bottom
`

// lab is a cluster of hads in this process.
type lab struct {
	t     *testing.T
	hub   *hub
	world *world
	armed atomic.Bool
	hads  map[string]*had
}

// had is one running had with its client.
type had struct {
	lab    *lab
	name   string
	root   paths.Root
	agents *fakeAgents
	cancel context.CancelFunc
	done   chan error
	conn   *grpc.ClientConn
	server *Server
}

func newLab(t *testing.T, mode string) *lab {
	l := &lab{t: t, hub: newHub(mode), world: newWorld(), hads: map[string]*had{}}
	l.armed.Store(true)
	return l
}

func (l *lab) node(name string) uint32 { return uint32(name[0] - 'A') }

// root prepares a system's files; text "" means no main.cf.
func (l *lab) root(name, text string) paths.Root {
	dir, err := os.MkdirTemp("", "had")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { os.RemoveAll(dir) })
	root := paths.Root(dir)
	if err := os.MkdirAll(root.ConfigDir(), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if text != "" {
		if err := os.WriteFile(root.Config("main.cf"), []byte(text), 0o644); err != nil {
			l.t.Fatal(err)
		}
	}
	return root
}

func (l *lab) start(name string, root paths.Root, change ...func(*Config)) *had {
	l.t.Helper()
	h := &had{lab: l, name: name, root: root, agents: newFakeAgents(l.world, name), done: make(chan error, 1)}
	var out io.Writer = io.Discard
	if os.Getenv("HAD_TEST_LOG") != "" {
		out = os.Stderr
	}
	cfg := Config{
		Root: root, Name: name, Agents: h.agents, OpenPort: l.hub.open(name, l.node(name)),
		Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("had", name),
		Declare: func(_ context.Context, n uint32, _ []string) error {
			if n > 0 && !l.armed.Load() {
				return errors.New("the self-stop action cannot run here")
			}
			return nil
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	h.server = s
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(context.Background())
	go func() { h.done <- s.Run(ctx) }()
	<-s.ready
	h.server = s
	h.conn, err = grpc.NewClient("unix:"+root.Socket("had"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		l.t.Fatal(err)
	}
	l.hads[name] = h
	l.t.Cleanup(func() { h.kill() })
	return h
}

// kill ends had as a crash of the process does; applications stay.
func (h *had) kill() {
	h.cancel()
	if h.done != nil {
		<-h.done
		h.done = nil
	}
	h.conn.Close()
}

// ended waits for an ordered end.
func (h *had) ended() error {
	h.lab.t.Helper()
	select {
	case err := <-h.done:
		h.done = nil
		return err
	case <-time.After(time.Minute):
		h.lab.t.Fatalf("had on %s does not end", h.name)
		return nil
	}
}

func (h *had) status() *hadv1.GetStatusResponse {
	h.lab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		st, err := hadv1.NewClusterServiceClient(h.conn).GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
		switch code, _, more := reason(err); {
		case err == nil:
			return st
		case code != codes.Unavailable || more["message_id"] != "V-16-1-11030": // a busy machine is asked again
			h.lab.t.Fatalf("status of %s: %v", h.name, err)
		}
	}
}

// await waits until cond holds on this had; it looks again after every event.
func (h *had) await(what string, cond func(*hadv1.GetStatusResponse) bool) *hadv1.GetStatusResponse {
	h.lab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := hadv1.NewEventServiceClient(h.conn).WatchEvents(ctx, &hadv1.WatchEventsRequest{Snapshot: true})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	events := make(chan error)
	go func() {
		for {
			_, err := stream.Recv()
			select {
			case events <- err:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	again := time.NewTicker(100 * time.Millisecond) // states of had itself have no event
	defer again.Stop()
	for {
		st := h.status()
		if cond(st) {
			return st
		}
		select {
		case err := <-events:
			if err != nil {
				h.lab.t.Fatalf("waiting for %s on %s: %v; status %v", what, h.name, err, st)
			}
		case <-again.C:
		}
	}
}

func groupState(st *hadv1.GetStatusResponse, group, system string) string {
	for _, g := range st.GetGroups() {
		for _, on := range g.GetSystems() {
			if g.GetName() == group && on.GetSystem() == system {
				return on.GetState()
			}
		}
	}
	return ""
}

func systemState(st *hadv1.GetStatusResponse, system string) string {
	for _, s := range st.GetSystems() {
		if s.GetName() == system {
			return s.GetState()
		}
	}
	return ""
}

func (h *had) awaitGroup(group, system, state string) {
	h.lab.t.Helper()
	h.await(group+" "+state+" on "+system, func(st *hadv1.GetStatusResponse) bool { return groupState(st, group, system) == state })
}

func (h *had) awaitLocal(state string) {
	h.lab.t.Helper()
	h.await("state "+state, func(st *hadv1.GetStatusResponse) bool { return st.GetLocalState() == state })
}

func (h *had) groups() hadv1.GroupServiceClient   { return hadv1.NewGroupServiceClient(h.conn) }
func (h *had) systems() hadv1.SystemServiceClient { return hadv1.NewSystemServiceClient(h.conn) }

func (l *lab) neverTwice() {
	l.t.Helper()
	l.world.mu.Lock()
	defer l.world.mu.Unlock()
	if len(l.world.twice) > 0 {
		l.t.Fatalf("I1: a resource ran on two systems: %s", l.world.twice[0])
	}
}

func reason(err error) (codes.Code, string, map[string]string) {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return st.Code(), info.GetReason(), info.GetMetadata()
		}
	}
	return st.Code(), "", nil
}

func background(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func pair(t *testing.T) (*lab, *had, *had) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", twoSystems))
	a.awaitGroup("web", "A", "ONLINE") // else a fast B may have it first
	b := l.start("B", l.root("B", twoSystems))
	a.awaitGroup("web", "A", "ONLINE")
	probed := func(st *hadv1.GetStatusResponse) bool {
		return groupState(st, "web", "A") == "ONLINE" && len(st.GetGroups()) == 1 &&
			!slices.ContainsFunc(st.GetGroups()[0].GetSystems(), func(on *hadv1.GroupOnSystem) bool { return !on.GetProbed() })
	}
	a.await("web ONLINE on A, probed everywhere", probed)
	b.await("web ONLINE on A, probed everywhere", probed)
	return l, a, b
}

// Two systems start; the group comes up by itself on the first, in the order
// of its dependencies, and is moved, by an order given at the other system.
func TestAutostartAndSwitch(t *testing.T) {
	l, a, b := pair(t)
	if got := l.world.story(); !slices.Equal(got, []string{"+bottom@A", "+top@A"}) {
		t.Fatalf("online order %v, want bottom before top", got)
	}
	r, err := b.groups().SwitchGroup(background(t), &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", RequestId: "move-1"})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetOperation().GetPosition().GetSeq() == 0 || r.GetOperation().GetRequestId() != "move-1" {
		t.Fatalf("no position in %v", r)
	}
	a.awaitGroup("web", "B", "ONLINE")
	b.awaitGroup("web", "A", "OFFLINE")
	want := []string{"+bottom@A", "+top@A", "-top@A", "-bottom@A", "+bottom@B", "+top@B"}
	if got := l.world.story(); !slices.Equal(got, want) {
		t.Fatalf("history %v, want %v", got, want)
	}
	l.neverTwice()
}

// R15: the same request id at another system is the same operation.
func TestR15SameRequestAtAnotherSystem(t *testing.T) {
	l, a, b := pair(t)
	ctx := background(t)
	first, err := a.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", RequestId: "once"})
	if err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "B", "ONLINE")
	again, err := b.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", RequestId: "once"})
	if err != nil {
		t.Fatal(err)
	}
	if !again.GetOperation().GetRepeatedRequest() || again.GetOperation().GetPosition().GetSeq() != first.GetOperation().GetPosition().GetSeq() {
		t.Fatalf("the repeat is another operation: first %v, again %v", first, again)
	}
	l.neverTwice()
}

// A resource dies: it is cleaned, the group is taken down and comes up on the
// other system; the reasons are told.
func TestFaultFailsOver(t *testing.T) {
	l, a, b := pair(t)
	a.agents.die("bottom")
	b.awaitGroup("web", "B", "ONLINE")
	b.awaitGroup("web", "A", "OFFLINE|FAULTED")
	why, err := a.groups().ExplainGroup(background(t), &hadv1.ExplainGroupRequest{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(why.GetDecisions(), func(d *hadv1.Decision) bool {
		return slices.ContainsFunc(d.GetCandidates(), func(c *hadv1.Candidate) bool { return c.GetSystem() == "B" && c.GetChosen() })
	}) {
		t.Fatalf("no decision names B as chosen: %v", why.GetDecisions())
	}
	l.neverTwice()
}

// R1: the system of the group is gone. With proof the group comes up on the
// other one; the decision names the evidence.
func TestR1FailoverOnEvidence(t *testing.T) {
	l, a, b := pair(t)
	a.kill()
	l.world.off("A")
	b.await("had gone from A, machine alive: autodisabled, not failed over", func(st *hadv1.GetStatusResponse) bool {
		for _, on := range st.GetGroups()[0].GetSystems() {
			if on.GetSystem() == "A" {
				return on.GetAutodisabled()
			}
		}
		return false
	})
	if l.world.is("top", "B") {
		t.Fatal("started on B although the machine of A lives (DDNA)")
	}
	l.hub.powerOff(l.node("A"), gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF)
	b.awaitGroup("web", "B", "ONLINE")
	why, err := b.groups().ExplainGroup(background(t), &hadv1.ExplainGroupRequest{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(why.GetDecisions(), func(d *hadv1.Decision) bool { return strings.Contains(d.String(), "POWERED_OFF") }) {
		t.Fatalf("no decision names the evidence: %v", why.GetDecisions())
	}
	l.neverTwice()
}

// R8: had alone dies and comes back: it takes the state of its peer, adopts
// what runs, and nothing goes offline.
func TestR8HadRestartAdopts(t *testing.T) {
	l, a, b := pair(t)
	before := l.world.story()
	a.kill()
	b.await("A without had", func(st *hadv1.GetStatusResponse) bool { return systemState(st, "A") == "FAULTED" })
	again := l.start("A", a.root)
	again.awaitGroup("web", "A", "ONLINE")
	b.awaitGroup("web", "A", "ONLINE")
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Fatalf("something was touched: %v, before %v", got, before)
	}
	// It also still obeys.
	if _, err := again.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "A", "OFFLINE")
}

// The only had dies and comes back: it builds from its disk and adopts.
func TestR8SoleHadRestartAdopts(t *testing.T) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", twoSystems))
	a.awaitGroup("web", "A", "ONLINE")
	before := l.world.story()
	a.kill()
	a = l.start("A", a.root)
	a.awaitGroup("web", "A", "ONLINE")
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Fatalf("something was touched: %v", got)
	}
}

// A system without a configuration builds remotely; the configuration comes to
// its disk whole, and no mark of staleness is left (I6).
func TestRemoteBuildWritesDisk(t *testing.T) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", twoSystems))
	a.awaitLocal("RUNNING")
	root := l.root("B", "")
	b := l.start("B", root)
	b.awaitLocal("RUNNING")
	for _, name := range []string{"main.cf", "types.cf"} {
		path := root.Config(name)
		waitFile(t, path)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if name == "main.cf" && string(text) != twoSystems {
			t.Fatalf("main.cf on B differs:\n%s", text)
		}
	}
	waitGone(t, root.Config(".stale"))
	entries, _ := filepath.Glob(root.Config(".main.cf*"))
	if len(entries) > 0 {
		t.Fatalf("left behind: %v", entries)
	}
}

// waitFile and waitGone look at the disk until the writer is done.
func waitFile(t *testing.T, path string) {
	t.Helper()
	poll(t, path+" is there", func() bool { _, err := os.Stat(path); return err == nil })
}

func waitGone(t *testing.T, path string) {
	t.Helper()
	poll(t, path+" is gone", func() bool { _, err := os.Stat(path); return err != nil })
}

func poll(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(time.Minute)
	for !cond() {
		select {
		case <-ticker.C:
		case <-late:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// A stale system alone waits for the administrator, says what leads out, and
// hasys -force leads out.
func TestStaleThenForce(t *testing.T) {
	l := newLab(t, "customized")
	root := l.root("A", twoSystems)
	if err := os.WriteFile(root.Config(".stale"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	a := l.start("A", root)
	st := a.await("STALE_ADMIN_WAIT", func(st *hadv1.GetStatusResponse) bool { return st.GetLocalState() == "STALE_ADMIN_WAIT" })
	if !strings.Contains(st.GetWaitingFor(), "hasys -force A") {
		t.Fatalf("no way out in %q", st.GetWaitingFor())
	}
	_, err := a.groups().OnlineGroup(background(t), &hadv1.OnlineGroupRequest{Name: "web", System: "A"})
	if code, why, meta := reason(err); code != codes.FailedPrecondition || why != "NOT_RUNNING" || meta["message_id"] != "V-16-1-50129" {
		t.Fatalf("online while waiting: %v %s %v", code, why, meta)
	}
	if _, err := a.systems().ForceSystem(background(t), &hadv1.ForceSystemRequest{Name: "A"}); err != nil {
		t.Fatal(err)
	}
	a.awaitLocal("RUNNING")
}

// A bad file starts nothing and says where it is bad; hastop -local -force
// leaves also from there.
func TestBadConfigThenForcedStop(t *testing.T) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", strings.Replace(twoSystems, "FileOnOff top", "FileOnOf top", 1)))
	st := a.await("STALE_ADMIN_WAIT", func(st *hadv1.GetStatusResponse) bool { return st.GetLocalState() == "STALE_ADMIN_WAIT" })
	if len(st.GetConfigErrors()) == 0 || !strings.HasPrefix(st.GetConfigErrors()[0], "main.cf:15:2:") || !strings.Contains(st.GetConfigErrors()[0], "FileOnOff") {
		t.Fatalf("errors %q name neither the place nor the right spelling", st.GetConfigErrors())
	}
	if len(st.GetGroups()) > 0 {
		t.Fatal("half-loaded")
	}
	if _, err := a.systems().StopSystem(background(t), &hadv1.StopSystemRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.ended(); err != nil {
		t.Fatal(err)
	}
}

// hastop -all takes everything offline and ends all hads in order.
func TestStopAll(t *testing.T) {
	l, a, b := pair(t)
	if _, err := b.systems().StopSystem(background(t), &hadv1.StopSystemRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(a.ended(), b.ended()); err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"top", "bottom"} {
		if l.world.is(r, "A") || l.world.is(r, "B") {
			t.Fatalf("%s still runs: %v", r, l.world.story())
		}
	}
	log, err := os.ReadFile(a.root.Log("engine_A.log"))
	if err != nil || !strings.Contains(string(log), "VCS NOTICE V-16-1-10322") {
		t.Fatalf("engine log without state changes: %v\n%s", err, log)
	}
}

// hastop -local -force leaves applications running.
func TestForcedStopLeavesApplications(t *testing.T) {
	l, a, b := pair(t)
	if _, err := a.systems().StopSystem(background(t), &hadv1.StopSystemRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	if err := a.ended(); err != nil {
		t.Fatal(err)
	}
	b.await("A EXITED", func(st *hadv1.GetStatusResponse) bool { return systemState(st, "A") == "EXITED" })
	if !l.world.is("top", "A") || l.world.is("top", "B") {
		t.Fatalf("applications were touched: %v", l.world.story())
	}
}

// R15: what nobody got is told again: reports and clocks until they come
// through; an operation is refused, so that its caller decides.
func TestR15LostMessages(t *testing.T) {
	l := newLab(t, "customized")
	sent := map[string]int{}
	l.hub.lose = func(payload []byte) bool { // each payload is lost once
		sent[string(payload)]++
		return sent[string(payload)] == 1
	}
	a := l.start("A", l.root("A", twoSystems))
	b := l.start("B", l.root("B", twoSystems))
	a.awaitGroup("web", "A", "ONLINE")
	b.awaitLocal("RUNNING")
	_, err := b.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "A", RequestId: "down"})
	if code, why, _ := reason(err); code != codes.Unavailable || why != "LOST" {
		t.Fatalf("lost operation: %v", err)
	}
	if _, err := b.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "A", RequestId: "down"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "A", "OFFLINE")
	l.neverTwice()
}

// R10, R15: while a gate is held, reads answer and mark what is stale, changes
// get UNAVAILABLE with the way out.
func TestR10GateHeld(t *testing.T) {
	l, a, _ := pair(t)
	l.hub.hold(l.node("B"))
	st := a.await("the gate", func(st *hadv1.GetStatusResponse) bool { return st.Gate != nil })
	if !strings.Contains(st.GetGate(), "ha fencing vouch B") {
		t.Fatalf("gate %q names no way out", st.GetGate())
	}
	for _, s := range st.GetSystems() {
		if s.GetName() == "B" && (!s.GetFreshness().GetStale() || s.GetFreshness().GetWhy() == "") {
			t.Fatalf("B is not marked stale: %v", s)
		}
		if s.GetName() == "A" && s.GetFreshness().GetStale() {
			t.Fatalf("A is marked stale: %v", s)
		}
	}
	_, err := a.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "web", System: "A"})
	if code, why, _ := reason(err); code != codes.Unavailable || why != "GATE_HELD" {
		t.Fatalf("change while held: %v", err)
	}
}

// R2: nothing of a failover group is raised before fencing says armed.
func TestR2NoOnlineUnlessArmed(t *testing.T) {
	l := newLab(t, "customized")
	l.armed.Store(false)
	a := l.start("A", l.root("A", twoSystems))
	b := l.start("B", l.root("B", twoSystems))
	waiting := func(st *hadv1.GetStatusResponse) bool {
		return slices.ContainsFunc(st.GetResources(), func(r *hadv1.Resource) bool {
			return r.GetName() == "bottom" && r.GetSystems()[0].GetIstateCode() == "W_ONLINE"
		})
	}
	a.await("bottom waiting to go online", waiting)
	b.awaitLocal("RUNNING")
	poll(t, "the log says why", func() bool {
		log, _ := os.ReadFile(a.root.Log("engine_A.log"))
		return strings.Contains(string(log), "self-stop action cannot run here")
	})
	if got := l.world.story(); len(got) > 0 {
		t.Fatalf("raised although not armed: %v", got)
	}
	l.armed.Store(true)
	a.awaitGroup("web", "A", "ONLINE")
}

// R6: without a lease nothing is raised.
func TestR6NoOnlineWithoutLease(t *testing.T) {
	l := newLab(t, "customized")
	l.hub.leases = false
	a := l.start("A", l.root("A", twoSystems))
	l.start("B", l.root("B", twoSystems))
	a.await("bottom waiting to go online", func(st *hadv1.GetStatusResponse) bool {
		return slices.ContainsFunc(st.GetResources(), func(r *hadv1.Resource) bool {
			return r.GetName() == "bottom" && r.GetSystems()[0].GetIstateCode() == "W_ONLINE"
		})
	})
	if got := l.world.story(); len(got) > 0 {
		t.Fatalf("raised without a lease: %v", got)
	}
	l.hub.mu.Lock()
	l.hub.ports[0].put(leaseFor(time.Hour))
	l.hub.mu.Unlock()
	a.awaitGroup("web", "A", "ONLINE")
}

// Reads of unknown names name the nearest; an agent that takes nothing is
// planned for without being touched; the displays have VCS's rows.
func TestReadsAndPlan(t *testing.T) {
	l, a, b := pair(t)
	ctx := background(t)
	_, err := a.groups().GetGroup(ctx, &hadv1.GetGroupRequest{Name: "wev"})
	if code, why, meta := reason(err); code != codes.NotFound || why != "GROUP_NOT_FOUND" || meta["nearest"] != "web" {
		t.Fatalf("unknown group: %v %v", err, meta)
	}
	before := l.world.story()
	plan, err := b.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", Plan: true})
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range plan.GetOperation().GetPlannedSteps() {
		steps = append(steps, s.GetAction()+" "+s.GetResource()+"@"+s.GetSystem())
	}
	if want := []string{"offline top@A", "offline bottom@A", "online bottom@B", "online top@B"}; !slices.Equal(steps, want) {
		t.Fatalf("plan %v, want %v", steps, want)
	}
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Fatal("a plan did something")
	}
	g, err := a.groups().GetGroup(ctx, &hadv1.GetGroupRequest{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, at := range g.GetGroup().GetAttributes() {
		rows[at.GetName()+"@"+at.GetSystem()] = at.GetValue()
	}
	for row, want := range map[string]string{"SystemList@": "A\t0\tB\t1", "State@A": "|ONLINE|", "State@B": "|OFFLINE|", "AutoStartList@": "A\tB", "Probed@B": "1"} {
		if rows[row] != want {
			t.Errorf("row %s is %q, want %q", row, rows[row], want)
		}
	}
	deps, err := hadv1.NewResourceServiceClient(a.conn).ListResourceDependencies(ctx, &hadv1.ListResourceDependenciesRequest{})
	if err != nil || len(deps.GetDependencies()) != 1 || deps.GetDependencies()[0].GetParent() != "top" {
		t.Fatalf("dependencies %v %v", deps, err)
	}
	list, err := a.groups().ListGroups(ctx, &hadv1.ListGroupsRequest{Conditions: []string{"Parallel=1"}})
	if err != nil || len(list.GetGroups()) != 0 {
		t.Fatalf("Parallel=1 gives %v %v", list, err)
	}
}

// A dump writes the configuration on all systems.
func TestDump(t *testing.T) {
	_, a, b := pair(t)
	if err := os.WriteFile(b.root.Config("main.cf"), []byte("// spoilt\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := hadv1.NewConfigServiceClient(b.conn).DumpConfig(background(t), &hadv1.DumpConfigRequest{}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(b.root.Config("main.cf"))
	if err != nil || string(text) != twoSystems {
		t.Fatalf("not dumped: %v\n%s", err, text)
	}
	if old, err := os.ReadFile(b.root.Config("main.cf.previous")); err != nil || string(old) != "// spoilt\n" {
		t.Fatalf("the earlier version is not kept: %v %q", err, old)
	}
	_ = a
}

// R6: -onenode needs no lease and is refused where another system could be.
func TestOneNode(t *testing.T) {
	l := newLab(t, "disabled")
	alone := func(c *Config) { c.OneNode, c.OpenPort, c.Declare = true, nil, nil }
	one := strings.NewReplacer("system B\n\n", "", ", B = 1", "", ", B }", " }").Replace(twoSystems)
	a := l.start("A", l.root("A", one), alone)
	a.awaitGroup("web", "A", "ONLINE")
	_, err := New(Config{Root: l.root("A", twoSystems), Name: "A", OneNode: true})
	if err == nil || !strings.Contains(err.Error(), "declares 2 systems") {
		t.Fatalf("two systems with -onenode: %v", err)
	}
}

// An explicit UseFence that contradicts the mode is refused with what to do.
func TestUseFenceContradiction(t *testing.T) {
	l := newLab(t, "disabled")
	text := strings.Replace(twoSystems, "cluster demo (\n", "cluster demo (\n\tUseFence = SCSI3\n", 1)
	a := l.start("A", l.root("A", text))
	err := a.ended()
	if err == nil || !strings.Contains(err.Error(), "UseFence = SCSI3") || !strings.Contains(err.Error(), "fencing.conf") {
		t.Fatalf("had runs or does not say what to change: %v", err)
	}
}

// FuzzDecodeMessage: hostile bytes on port h are errors, never a crash.
func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodeJSON(kindAnnounce, announce{State: "RUNNING", View: 3}))
	f.Add(encodeJSON(kindWanted, wanted{Build: 1}))
	f.Add(pack(append([]byte{kindEvent}, make([]byte, packFrom)...)))
	f.Add(encodeChunk(chunk{Build: 1, N: 0, Total: 2, Data: []byte("abc")}))
	f.Add([]byte("C123"))
	f.Add([]byte(`E{"logic_version":2,"kind":"clock","event":{"elapsed":5}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v, err := decodeMessage(payload)
		if err == nil && v == nil {
			t.Fatal("neither a message nor an error")
		}
		if c, ok := v.(chunk); ok && string(encodeChunk(c)) != string(payload) {
			t.Fatal("a chunk does not encode to itself")
		}
	})
}

// R14: the last ordered message of an ordered stop says that nothing is
// protected here, after fencing was told so too: gab and fencing may then stop
// in order, and their leave is evidence.
func TestR14LastWordOfAnOrderedStop(t *testing.T) {
	l := newLab(t, "customized")
	var declared atomic.Int64
	declared.Store(-1)
	a := l.start("A", l.root("A", twoSystems), func(c *Config) {
		c.Declare = func(_ context.Context, n uint32, _ []string) error {
			if n == 0 { // slower than the stop itself
				<-time.After(100 * time.Millisecond)
			}
			declared.Store(int64(n))
			return nil
		}
	})
	b := l.start("B", l.root("B", twoSystems))
	b.awaitGroup("web", "A", "ONLINE")
	l.hub.mu.Lock()
	port := l.hub.ports[l.node("A")]
	l.hub.mu.Unlock()
	if _, err := a.systems().StopSystem(background(t), &hadv1.StopSystemRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := a.ended(); err != nil {
		t.Fatal(err)
	}
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	if !port.clean {
		t.Error("the last ordered message was not that nothing is protected")
	}
	if n := declared.Load(); n != 0 {
		t.Errorf("fencing was last told of %d protected resources", n)
	}
}

// R2: a declaration that comes through late, after a newer one, does not stay.
func TestR2LateDeclaration(t *testing.T) {
	l := newLab(t, "customized")
	var recorded atomic.Uint32
	a := l.start("A", l.root("A", twoSystems), func(c *Config) {
		c.Declare = func(_ context.Context, n uint32, _ []string) error {
			recorded.Store(n)
			return nil
		}
		c.ReadProtection = func() (standing.Protection, bool, error) {
			return standing.Protection{Resources: recorded.Load()}, true, nil
		}
	})
	l.start("B", l.root("B", twoSystems))
	a.awaitGroup("web", "A", "ONLINE")
	poll(t, "what is protected is declared", func() bool { return recorded.Load() == 2 })
	recorded.Store(0) // fencing thaws and finds an old call
	poll(t, "it is declared again", func() bool { return recorded.Load() == 2 })
}
