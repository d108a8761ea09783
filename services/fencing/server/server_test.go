package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// fakeSwitch is a lab's power switch.
type fakeSwitch struct {
	mu     sync.Mutex
	off    map[string]bool
	broken bool
	asked  []string
}

func (s *fakeSwitch) serve(t *testing.T, socket string) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			var r lab.Request
			_ = json.Unmarshal([]byte(line), &r)
			answer := s.answer(r)
			text, _ := json.Marshal(answer)
			_, _ = conn.Write(append(text, '\n'))
			conn.Close()
		}
	}()
}

func (s *fakeSwitch) answer(r lab.Request) lab.Response {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, string(r.Op)+" "+r.System)
	if s.broken && r.Op == lab.OpOff {
		return lab.Response{Error: "switch is jammed"}
	}
	if r.Op == lab.OpOff {
		s.off[r.System] = true
	}
	state := lab.On
	if s.off[r.System] {
		state = lab.Off
	}
	return lab.Response{System: r.System, State: state}
}

func (s *fakeSwitch) set(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

func (s *fakeSwitch) isOff(system string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.off[system]
}

// bench is a lab of daemons over a fake gab.
type bench struct {
	t       *testing.T
	dir     string
	cluster *fakeCluster
	power   *fakeSwitch
}

func newBench(t *testing.T, mode string) *bench {
	t.Helper()
	dir, err := os.MkdirTemp("", "fencing") // short: socket paths are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bench{t: t, dir: dir, cluster: newFakeCluster(t, mode), power: &fakeSwitch{off: map[string]bool{}}}
	b.power.serve(t, filepath.Join(dir, "switch"))
	return b
}

const threePoints = "vxfen_mode=customized\npoint1=file:DIR/p1\npoint2=file:DIR/p2\npoint3=file:DIR/p3\nrace_timeout_ms=1000\n"

// unit is one system's daemon.
type unit struct {
	root   paths.Root
	daemon *Daemon
	client fencingv1.FencingServiceClient
	gab    *fakeGab
	ended  chan error
	cancel context.CancelFunc
}

func (b *bench) root(name string) paths.Root {
	b.t.Helper()
	root := paths.Root(filepath.Join(b.dir, name))
	if err := root.MakeRunDirs(); err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(root.ConfigDir(), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := lab.WriteMarker(root, lab.Marker{Lab: "l", System: name, Switch: filepath.Join(b.dir, "switch")}); err != nil {
		b.t.Fatal(err)
	}
	return root
}

// start runs a system: its fake gab and the daemon.
func (b *bench) start(id uint32, name, config string) *unit {
	b.t.Helper()
	root := b.root(name)
	return b.daemon(&unit{root: root, gab: b.cluster.add(id, name, root)}, config)
}

func (b *bench) daemon(u *unit, config string) *unit {
	b.t.Helper()
	if err := os.WriteFile(u.root.Config("fencing.conf"), []byte(strings.ReplaceAll(config, "DIR", b.dir)), 0o600); err != nil {
		b.t.Fatal(err)
	}
	cfg, err := LoadConfig(u.root)
	if err != nil {
		b.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("system", filepath.Base(string(u.root)))
	if u.daemon, err = New(Config{Root: u.root, Fencing: cfg, Log: log}); err != nil {
		b.t.Fatal(err)
	}
	conn, err := grpc.NewClient("unix:"+u.root.Socket("fencing"), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		b.t.Fatal(err)
	}
	u.client = fencingv1.NewFencingServiceClient(conn)
	ctx, cancel := context.WithCancel(context.Background())
	u.ended, u.cancel = make(chan error, 1), cancel
	done := make(chan struct{})
	go func() { u.ended <- u.daemon.Run(ctx); close(done) }()
	b.t.Cleanup(func() { cancel(); <-done; conn.Close() })
	return u
}

// until waits until the status is as wanted.
func (b *bench) until(u *unit, what string, is func(*fencingv1.GetStatusResponse) bool) *fencingv1.GetStatusResponse {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	var last *fencingv1.GetStatusResponse
	for {
		got, err := u.client.GetStatus(ctx, &fencingv1.GetStatusRequest{})
		if err == nil && is(got) {
			return got
		}
		if ctx.Err() != nil {
			b.t.Fatalf("never %s: %v, last %v", what, err, last)
		}
		last = got
		timer := time.NewTimer(10 * time.Millisecond)
		<-timer.C
	}
}

func inState(s fencingv1.State) func(*fencingv1.GetStatusResponse) bool {
	return func(r *fencingv1.GetStatusResponse) bool { return r.GetState() == s }
}

func (b *bench) answered(kind gabv1.EvidenceKind, system string) {
	b.t.Helper()
	for range 1500 {
		for _, d := range b.cluster.answer().GetDeparted() {
			if d.GetMember().GetName() == system && d.GetEvidence() == kind {
				return
			}
		}
		timer := time.NewTimer(10 * time.Millisecond)
		<-timer.C
	}
	b.t.Fatalf("gab was never told %v for %s; got %v", kind, system, b.cluster.answer())
}

func code(t *testing.T, err error, want codes.Code, words ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// R1, R4, R10: a system dies, the other wins the points, has it powered off,
// and tells gab POWERED_OFF; the dead one's keys are gone from every point.
func TestSurvivorWinsAndProves(t *testing.T) {
	b := newBench(t, "customized")
	config := threePoints + "power_switch=lab\n"
	one, two := b.start(0, "A", config), b.start(1, "B", config)
	b.until(one, "running", inState(fencingv1.State_STATE_RUNNING))
	b.until(two, "both registered", func(r *fencingv1.GetStatusResponse) bool {
		return r.GetState() == fencingv1.State_STATE_RUNNING && len(r.GetMembers()) == 2
	})
	one.cancel() // as if killed
	<-one.ended
	b.cluster.depart(0)
	b.answered(gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF, "A")
	if !b.power.isOff("A") || b.power.isOff("B") {
		t.Error("the wrong system is off")
	}
	s := b.until(two, "one key a point", func(r *fencingv1.GetStatusResponse) bool {
		for _, p := range r.GetPoints() {
			if len(p.GetKeys()) != 1 || !p.GetKeys()[0].GetOwn() {
				return false
			}
		}
		return r.GetState() == fencingv1.State_STATE_RUNNING
	})
	if r := s.GetRace(); r.GetPhase() != "answered" || r.GetDeparted()[0].GetEvidence() != "POWERED_OFF" {
		t.Errorf("race %v", r)
	}
	if s.GetBroken() {
		t.Error("a mode with a power switch is not broken")
	}
	t.Logf("delay %d ms, race %d ms, evidence %d ms", s.GetRace().GetDelayMs(), s.GetRace().GetRaceMs(), s.GetRace().GetEvidenceMs())
}

// A split into halves: each side gets a view without the other. One wins, the
// other stops itself because something protected is there (R2).
func TestSplitHasOneWinner(t *testing.T) {
	left, right := newBench(t, "customized"), newBench(t, "customized")
	right.dir, right.power = left.dir, left.power
	config := threePoints + "power_switch=lab\n"
	a, b := left.start(0, "A", config), right.start(1, "B", config)
	// Before the split each side knows both systems.
	for _, c := range []*fakeCluster{left.cluster, right.cluster} {
		c.mu.Lock()
		c.systems = []*gabv1.Member{{NodeId: 0, Name: "A", Incarnation: 0xa0}, {NodeId: 1, Name: "B", Incarnation: 0xa1}}
		c.mu.Unlock()
	}
	left.until(a, "running", inState(fencingv1.State_STATE_RUNNING))
	right.until(b, "running", inState(fencingv1.State_STATE_RUNNING))
	for _, u := range []*unit{a, b} {
		if _, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{Resources: 1, Groups: []string{"g"}}); err != nil {
			t.Fatal(err)
		}
	}
	left.cluster.depart(1)
	right.cluster.depart(0)
	lost := func(bench *bench, u *unit) bool {
		s := bench.until(u, "decided", func(r *fencingv1.GetStatusResponse) bool {
			return r.GetState() == fencingv1.State_STATE_LOST || r.GetRace().GetPhase() == "answered"
		})
		return s.GetState() == fencingv1.State_STATE_LOST
	}
	aLost, bLost := lost(left, a), lost(right, b)
	if aLost == bLost {
		t.Fatalf("A lost %t, B lost %t; want exactly one winner", aLost, bLost)
	}
	if left.power.isOff("A") != aLost || left.power.isOff("B") != bLost {
		t.Errorf("the loser must be off and the winner on: A off %t, B off %t", left.power.isOff("A"), left.power.isOff("B"))
	}
}

// R13: keys of a system outside the membership keep this one off port b until
// an operator clears them; nothing of its own stays behind.
func TestPreExistingSplitBrain(t *testing.T) {
	b := newBench(t, "customized")
	stale := fencing.Key{Cluster: 7, Node: 5, Incarnation: 9}
	for _, p := range []string{"p1", "p2", "p3"} {
		if err := os.WriteFile(filepath.Join(b.dir, p), []byte(stale.String()+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	u := b.start(0, "A", threePoints)
	s := b.until(u, "refused", inState(fencingv1.State_STATE_REFUSED))
	if !strings.Contains(s.GetReason(), "VF000705") || !strings.Contains(s.GetReason(), "ha fencing clear") {
		t.Errorf("reason %q", s.GetReason())
	}
	if !s.GetBroken() {
		t.Error("no power switch, no vouch possible without an operator: must be shown as broken")
	}
	_, err := u.client.Vouch(t.Context(), &fencingv1.VouchRequest{System: "B", RequestId: "1"})
	code(t, err, codes.Unavailable, "not on port b", "ha fencing clear")
	_, err = u.client.ClearKeys(t.Context(), &fencingv1.ClearKeysRequest{})
	code(t, err, codes.InvalidArgument, "confirm")
	other := uint32(8)
	_, err = clearWhenRefused(b, u, &fencingv1.ClearKeysRequest{Confirm: true, ClusterId: &other})
	code(t, err, codes.InvalidArgument, "cluster 7")
	removed, err := clearWhenRefused(b, u, &fencingv1.ClearKeysRequest{Confirm: true})
	if err != nil || len(removed.GetRemoved()) != 3 {
		t.Fatal(removed, err)
	}
	b.until(u, "running", inState(fencingv1.State_STATE_RUNNING))
	_, err = u.client.ClearKeys(t.Context(), &fencingv1.ClearKeysRequest{Confirm: true})
	code(t, err, codes.FailedPrecondition, "ha node stop")
}

// clearWhenRefused calls between two attempts of the start-up.
func clearWhenRefused(b *bench, u *unit, r *fencingv1.ClearKeysRequest) (*fencingv1.ClearKeysResponse, error) {
	for {
		b.until(u, "refused", inState(fencingv1.State_STATE_REFUSED))
		got, err := u.client.ClearKeys(b.t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "on port b or joins it") {
			return got, err
		}
	}
}

// R1, R10: won, but the switch is jammed: the gate is held, the status names
// the command that leads out, and the command does.
func TestVouchLeadsOut(t *testing.T) {
	b := newBench(t, "customized")
	config := threePoints + "power_switch=lab\n"
	b.power.set(true)
	one, two := b.start(0, "A", config), b.start(1, "B", config)
	b.until(two, "both running", func(r *fencingv1.GetStatusResponse) bool { return len(r.GetMembers()) == 2 })
	_, err := two.client.Vouch(t.Context(), &fencingv1.VouchRequest{System: "A", RequestId: "0"})
	code(t, err, codes.FailedPrecondition, "A is a member")
	one.cancel()
	<-one.ended
	b.cluster.depart(0)
	s := b.until(two, "held", func(r *fencingv1.GetStatusResponse) bool {
		return r.GetRace().GetPhase() == "powering off" && len(r.GetRace().GetDeparted()) == 1 && strings.Contains(r.GetRace().GetDeparted()[0].GetDetail(), "jammed")
	})
	if s.GetState() != fencingv1.State_STATE_RACING || !strings.Contains(s.GetReason(), "ha fencing vouch A") {
		t.Errorf("state %v, reason %q", s.GetState(), s.GetReason())
	}
	if b.cluster.answer() != nil {
		t.Fatal("gab was told evidence that nobody has")
	}
	_, err = two.client.Vouch(t.Context(), &fencingv1.VouchRequest{System: "a", RequestId: "1"})
	code(t, err, codes.NotFound, "departed are: A")
	_, err = two.client.Vouch(t.Context(), &fencingv1.VouchRequest{System: "A"})
	code(t, err, codes.InvalidArgument)
	for range 2 { // a retry is the same operation (R15)
		if _, err = two.client.Vouch(t.Context(), &fencingv1.VouchRequest{System: "A", RequestId: "1", Who: "op"}); err != nil {
			t.Fatal(err)
		}
	}
	b.answered(gabv1.EvidenceKind_EVIDENCE_KIND_VOUCHED, "A")
}

// Mode disabled: the daemon runs all the same, for "armed" and self-stop (R1).
func TestDisabledStillArms(t *testing.T) {
	b := newBench(t, "disabled")
	u := b.start(0, "A", "")
	s := b.until(u, "running", inState(fencingv1.State_STATE_RUNNING))
	if s.GetMode() != "disabled" || !s.GetSelfStop().GetArmed() || s.GetSelfStop().GetAction() != "lab" || s.GetProtection().GetDeclared() {
		t.Errorf("%v", s)
	}
	r, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{Resources: 2, Groups: []string{"g2", "g1"}})
	if err != nil || r.GetAction() != "lab" {
		t.Fatal(r, err)
	}
	if standing.Resources(u.root) != 2 {
		t.Error("the other daemons do not see what is protected")
	}
	// R14: fencing cannot be stopped under something protected.
	if err := u.daemon.OrderedStop(); !errors.Is(err, ErrProtected) {
		t.Errorf("ordered stop: %v", err)
	}
	if _, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(u.root.Run("armed")); !os.IsNotExist(err) {
		t.Error("still recorded as armed with nothing protected")
	}
	if err := u.daemon.OrderedStop(); err != nil {
		t.Fatal(err)
	}
	if err := <-u.ended; err != nil {
		t.Fatal(err)
	}
}

// R2: not armed, no Online: the answer says why; the number is kept all the
// same, because what runs already is protected.
func TestNotArmed(t *testing.T) {
	b := newBench(t, "disabled")
	u := b.start(0, "A", "self_stop=exec\nself_stop_exec=/nonexistent/stop\n")
	b.until(u, "running", inState(fencingv1.State_STATE_RUNNING))
	_, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{Resources: 1})
	code(t, err, codes.FailedPrecondition, "not armed", "/nonexistent/stop")
	if standing.Resources(u.root) != 1 {
		t.Error("the declaration was lost")
	}
	s := b.until(u, "shown", func(*fencingv1.GetStatusResponse) bool { return true })
	if s.GetSelfStop().GetArmed() || s.GetSelfStop().GetReason() == "" {
		t.Errorf("%v", s.GetSelfStop())
	}
	// Nothing protected any more: it may say so.
	if _, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{}); err != nil {
		t.Fatal(err)
	}
}

// R2: a restarted daemon inherits what was armed, even if fencing.conf says
// something else by now.
func TestArmedIsInherited(t *testing.T) {
	b := newBench(t, "disabled")
	stop := filepath.Join(b.dir, "stop")
	if err := os.WriteFile(stop, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	u := b.start(0, "A", fmt.Sprintf("self_stop=exec\nself_stop_exec=%s\n", stop))
	b.until(u, "running", inState(fencingv1.State_STATE_RUNNING))
	if _, err := u.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{Resources: 1}); err != nil {
		t.Fatal(err)
	}
	u.cancel()
	<-u.ended
	again := b.daemon(&unit{root: u.root, gab: u.gab}, "self_stop=lab\n")
	s := b.until(again, "running", inState(fencingv1.State_STATE_RUNNING))
	if s.GetSelfStop().GetAction() != "exec" || s.GetProtection().GetResources() != 1 {
		t.Errorf("%v %v", s.GetSelfStop(), s.GetProtection())
	}
	if _, err := again.client.DeclareProtection(t.Context(), &fencingv1.DeclareProtectionRequest{}); err != nil {
		t.Fatal(err)
	}
}

// A gab that reads another mode is not joined, and both are named.
func TestModeMismatch(t *testing.T) {
	b := newBench(t, "customized")
	u := b.start(0, "A", "")
	b.until(u, "told", func(r *fencingv1.GetStatusResponse) bool {
		return r.GetState() != fencingv1.State_STATE_RUNNING && strings.Contains(r.GetReason(), `"customized"`) && strings.Contains(r.GetReason(), `"disabled"`)
	})
}

// An ordered stop leaves no key behind, so that the next start finds none.
func TestOrderedStopWithdrawsKeys(t *testing.T) {
	b := newBench(t, "customized")
	u := b.start(0, "A", threePoints)
	b.until(u, "running", inState(fencingv1.State_STATE_RUNNING))
	if text, _ := os.ReadFile(filepath.Join(b.dir, "p2")); !strings.Contains(string(text), "VF000700") {
		t.Fatalf("no key on point 2: %q", text)
	}
	if err := u.daemon.OrderedStop(); err != nil {
		t.Fatal(err)
	}
	if err := <-u.ended; err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"p1", "p2", "p3"} {
		if text, _ := os.ReadFile(filepath.Join(b.dir, p)); len(text) != 0 {
			t.Errorf("%s still holds %q", p, text)
		}
	}
}

// Heartbeats come from the loop, at the pace that gab asked for.
func TestHeartbeats(t *testing.T) {
	b := newBench(t, "disabled")
	u := b.start(0, "A", "")
	for range 500 {
		b.cluster.mu.Lock()
		n := u.gab.beats
		b.cluster.mu.Unlock()
		if n >= 5 {
			return
		}
		timer := time.NewTimer(10 * time.Millisecond)
		<-timer.C
	}
	t.Fatal("no heartbeats")
}

func TestFilePointsNeedALab(t *testing.T) {
	root := paths.Root(t.TempDir())
	cfg, err := LoadConfig(root)
	if err != nil || cfg.Mode != "disabled" {
		t.Fatal(cfg, err)
	}
	if err := os.MkdirAll(root.ConfigDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(root.Config("fencing.conf"), []byte(strings.ReplaceAll(threePoints, "DIR", t.TempDir())), 0o600); err != nil {
		t.Fatal(err)
	}
	if cfg, err = LoadConfig(root); err != nil {
		t.Fatal(err)
	}
	_, err = New(Config{Root: root, Fencing: cfg, Log: slog.Default()})
	if err == nil || !strings.Contains(err.Error(), "labs only") {
		t.Fatalf("got %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range []fencing.Message{
		fencing.RaceResult{View: fencing.ViewID{Lineage: 1, Counter: 2, Coordinator: 3}, Verdict: fencing.Won, Detail: "d"},
		fencing.Vouch{System: fencing.System{Node: 1, Name: "B", Incarnation: 4}, Who: "root", Request: "r"},
	} {
		payload, err := encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload)
		if got, err := decode(payload); err != nil || got != m {
			f.Fatalf("%v became %v, %v", m, got, err)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		m, err := decode(payload)
		if err != nil {
			return
		}
		again, err := encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := decode(again); err != nil || back != m {
			t.Fatalf("%v became %v, %v", m, back, err)
		}
	})
}
