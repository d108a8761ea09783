package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/localrpc/rpctest"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// R15: a request id names one operation. Used for another one it is refused,
// at whatever system, and the first answer still stands.
func TestR15RequestIDReused(t *testing.T) {
	l, a, b := pair(t)
	ctx := background(t)
	if _, err := a.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", RequestId: "7"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "B", "ONLINE")
	for _, h := range []*had{a, b} {
		for what, call := range map[string]func() error{
			"another target": func() error {
				_, err := h.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "A", RequestId: "7"})
				return err
			},
			"another verb": func() error {
				_, err := h.groups().OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: "web", System: "B", RequestId: "7"})
				return err
			},
		} {
			err := call()
			if code, why, _ := reason(err); code != codes.InvalidArgument || why != "REQUEST_ID_REUSED" || !strings.Contains(err.Error(), "take a new id") {
				t.Errorf("%s at %s: %v", what, h.name, err)
			}
		}
		again, err := h.groups().SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B", RequestId: "7"})
		if err != nil || !again.GetOperation().GetRepeatedRequest() {
			t.Errorf("the same again at %s: %v %v", h.name, again, err)
		}
	}
	if !l.world.is("top", "B") {
		t.Errorf("the group was moved: %v", l.world.story())
	}
	l.neverTwice()
}

// Two callers use one id for different operations at the same time: each gets
// the answer to its own, and one of them only is carried out.
func TestR15RequestIDReusedAtOnce(t *testing.T) {
	l, a, b := pair(t)
	for n := range 20 {
		id := fmt.Sprint("race ", n)
		answers := make(chan error, 2)
		go func() {
			_, err := a.groups().FreezeGroup(background(t), &hadv1.FreezeGroupRequest{Name: "web", RequestId: id})
			answers <- err
		}()
		go func() {
			_, err := b.systems().FreezeSystem(background(t), &hadv1.FreezeSystemRequest{Name: "B", RequestId: id})
			answers <- err
		}()
		refused := 0
		for range 2 {
			if err := <-answers; err != nil {
				if rpctest.Reason(err) != "REQUEST_ID_REUSED" {
					t.Fatal(err)
				}
				refused++
			}
		}
		st := a.status()
		frozen := st.GetGroups()[0].GetFrozen()
		system := slices.ContainsFunc(st.GetSystems(), func(s *hadv1.System) bool { return s.GetName() == "B" && s.GetFrozen() })
		if refused != 1 || frozen == system {
			t.Fatalf("%d refused, group frozen %v, system frozen %v", refused, frozen, system)
		}
		if frozen {
			_, err := b.groups().UnfreezeGroup(background(t), &hadv1.UnfreezeGroupRequest{Name: "web"})
			if err != nil {
				t.Fatal(err)
			}
		} else if _, err := a.systems().UnfreezeSystem(background(t), &hadv1.UnfreezeSystemRequest{Name: "B"}); err != nil {
			t.Fatal(err)
		}
	}
	l.neverTwice()
}

// Wrong names give NOT_FOUND with the nearest ones, wrong states
// FAILED_PRECONDITION with the state and what to do, wrong requests
// INVALID_ARGUMENT with the field.
func TestRefusals(t *testing.T) {
	_, a, b := pair(t)
	ctx := background(t)
	groups, resources := a.groups(), hadv1.NewResourceServiceClient(a.conn)
	types, agents := hadv1.NewTypeServiceClient(a.conn), hadv1.NewAgentServiceClient(a.conn)
	long := strings.Repeat("x", localrpc.MaxText+1)
	for _, c := range []struct {
		what  string
		call  func() error
		code  codes.Code
		words string // all must be in the message
	}{
		{"group to bring online", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "wbe", System: "A"})
			return err
		}, codes.NotFound, "wbe|does not exist|did you mean web?"},
		{"group to explain", func() error {
			_, err := groups.ExplainGroup(ctx, &hadv1.ExplainGroupRequest{Name: "We"})
			return err
		}, codes.NotFound, "did you mean web?"},
		{"system to switch to", func() error {
			_, err := groups.SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "BB"})
			return err
		}, codes.NotFound, "System BB does not exist|did you mean B?"},
		{"resource", func() error {
			_, err := resources.ProbeResource(ctx, &hadv1.ProbeResourceRequest{Name: "botom", System: "A"})
			return err
		}, codes.NotFound, "did you mean bottom?"},
		{"resource to show", func() error {
			_, err := resources.GetResource(ctx, &hadv1.GetResourceRequest{Name: "botom"})
			return err
		}, codes.NotFound, "did you mean bottom?"},
		{"group of resources", func() error {
			_, err := resources.ListResources(ctx, &hadv1.ListResourcesRequest{Group: "wep"})
			return err
		}, codes.NotFound, "did you mean web?"},
		{"group of dependencies", func() error {
			_, err := resources.ListResourceDependencies(ctx, &hadv1.ListResourceDependenciesRequest{Group: "wep"})
			return err
		}, codes.NotFound, "did you mean web?"},
		{"type", func() error {
			_, err := types.GetType(ctx, &hadv1.GetTypeRequest{Name: "fileonoff"})
			return err
		}, codes.NotFound, "did you mean FileOnOff"},
		{"agent", func() error {
			_, err := agents.GetAgent(ctx, &hadv1.GetAgentRequest{Type: "FileOnOf"})
			return err
		}, codes.NotFound, "did you mean FileOnOff"},
		{"system to stop", func() error {
			_, err := a.systems().StopSystem(ctx, &hadv1.StopSystemRequest{Names: []string{"A", "C"}})
			return err
		}, codes.NotFound, "System C does not exist"},
		{"group to watch", func() error {
			stream, err := hadv1.NewEventServiceClient(a.conn).WatchEvents(ctx, &hadv1.WatchEventsRequest{Groups: []string{"webb"}})
			if err == nil {
				_, err = stream.Recv()
			}
			return err
		}, codes.NotFound, "did you mean web?"},
		{"online where it is online", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "web", System: "B"})
			return err
		}, codes.FailedPrecondition, "web|A"},
		{"switch to where it is", func() error {
			_, err := groups.SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "A"})
			return err
		}, codes.FailedPrecondition, "web|A"},
		{"force a system that runs", func() error {
			_, err := a.systems().ForceSystem(ctx, &hadv1.ForceSystemRequest{Name: "B"})
			return err
		}, codes.FailedPrecondition, "B|RUNNING"},
		{"unfreeze what is not frozen", func() error {
			_, err := groups.UnfreezeGroup(ctx, &hadv1.UnfreezeGroupRequest{Name: "web"})
			return err
		}, codes.FailedPrecondition, "web|not frozen"},
		{"clear what is not faulted", func() error {
			_, err := resources.ClearResource(ctx, &hadv1.ClearResourceRequest{Name: "top", System: "A"})
			return err
		}, codes.FailedPrecondition, "not faulted"},
		{"no name", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{System: "A"})
			return err
		}, codes.InvalidArgument, "name of a group"},
		{"no name to show", func() error {
			_, err := groups.GetGroup(ctx, &hadv1.GetGroupRequest{})
			return err
		}, codes.InvalidArgument, "name of a group"},
		{"long name", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: long, System: "A"})
			return err
		}, codes.InvalidArgument, "name: 4097 bytes"},
		{"long request id", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "web", System: "A", RequestId: long[:300]})
			return err
		}, codes.InvalidArgument, "request_id: 300 bytes"},
		{"forged log lines", func() error {
			_, err := groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: "x\n2026/01/01 VCS NOTICE forged", System: "A"})
			return err
		}, codes.InvalidArgument, "name: control characters"},
		{"many systems", func() error {
			_, err := a.systems().StopSystem(ctx, &hadv1.StopSystemRequest{Names: make([]string, 5000)})
			return err
		}, codes.InvalidArgument, "names: 5000 elements"},
		{"condition without an operator", func() error {
			_, err := groups.ListGroups(ctx, &hadv1.ListGroupsRequest{Conditions: []string{"State"}})
			return err
		}, codes.InvalidArgument, "Attribute=value"},
		{"more than gRPC takes", func() error {
			_, err := groups.GetGroup(ctx, &hadv1.GetGroupRequest{Name: strings.Repeat("x", 24<<20)})
			return err
		}, codes.ResourceExhausted, ""},
		{"bytes that are no message", func() error {
			return a.conn.Invoke(ctx, "/evenkeel.had.v1.GroupService/GetGroup", []byte{0xff, 0xff, 0xff}, &[]byte{}, grpc.ForceCodec(raw{}))
		}, codes.Internal, "cannot parse"}, // gRPC's own word for it
	} {
		t.Run(strings.ReplaceAll(c.what, " ", "_"), func(t *testing.T) {
			err := c.call()
			if status.Code(err) != c.code {
				t.Fatalf("%v, want %v", err, c.code)
			}
			for _, w := range strings.Split(c.words, "|") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			if len(err.Error()) > 1000 {
				t.Errorf("a refusal of %d bytes", len(err.Error()))
			}
		})
	}
	b.awaitGroup("web", "A", "ONLINE")
	log, err := os.ReadFile(a.root.Log("engine_A.log"))
	if err != nil || strings.Contains(string(log), "\n2026/01/01 VCS NOTICE forged") {
		t.Errorf("the log was forged: %v", err)
	}
}

// raw passes bytes on as they are.
type raw struct{}

func (raw) Name() string                    { return "proto" }
func (raw) Marshal(v any) ([]byte, error)   { return v.([]byte), nil }
func (raw) Unmarshal(b []byte, v any) error { *v.(*[]byte) = b; return nil }

// Whatever the fields of a request hold, every call of the contract ends in
// time with success or a refusal that says why; had turns on, the same on both
// systems, and no resource ever runs twice (I1).
func TestAnyRequest(t *testing.T) {
	l, a, b := pair(t)
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("HAD_TEST_SEED"); text != "" {
		fmt.Sscan(text, &seed)
	}
	t.Logf("HAD_TEST_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	methods := rpctest.Methods("evenkeel.had.v1")
	if len(methods) < 30 {
		t.Fatalf("only %d calls in the contract", len(methods))
	}
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	words := []string{"web", "top", "bottom", "A", "B", "FileOnOff", "demo", "State", "main.cf", "1"}
	outcomes := map[codes.Code]int{}
	for range rounds {
		for _, m := range methods {
			request := m.Request(r, words)
			if plan := m.Input().Fields().ByName("plan"); plan != nil && m.Name() == "StopSystem" {
				request.ProtoReflect().Set(plan, protoreflect.ValueOfBool(true))
			}
			limit := 15 * time.Second
			if m.IsStreamingServer() {
				limit = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			err := rpctest.Do(ctx, []*had{a, b}[r.IntN(2)].conn, m, request)
			cancel()
			if m.IsStreamingServer() && status.Code(err) == codes.DeadlineExceeded {
				err = nil // nothing happened that is worth an event
			}
			if wrong := rpctest.Wrong(err); wrong != "" {
				t.Fatalf("%s %.500v: %s", m.Path(), request, wrong)
			}
			outcomes[status.Code(err)]++
		}
	}
	for _, code := range []codes.Code{codes.OK, codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition} {
		if outcomes[code] == 0 {
			t.Errorf("no call ended with %v: %v", code, outcomes)
		}
	}
	l.neverTwice()
	for _, h := range []*had{a, b} {
		if got := h.status().GetLocalState(); got != "RUNNING" {
			t.Errorf("had on %s is %s", h.name, got)
		}
	}
}

// TestStranger: another uid may read everything and change nothing.
func TestStranger(t *testing.T) {
	if socket := os.Getenv("HAD_TEST_STRANGER"); socket != "" {
		stranger(t, socket)
		return
	}
	if os.Getuid() != 0 {
		t.Skip("left out: needs root to become another user")
	}
	l, a, b := pair(t)
	if err := os.Chmod(string(a.root), 0o755); err != nil {
		t.Fatal(err)
	}
	before := l.world.story()
	// By its own link: the folder of the test binary is closed to others.
	again := exec.Command("/proc/self/exe", "-test.run=^TestStranger$", "-test.v")
	again.Env = append(os.Environ(), "HAD_TEST_STRANGER="+a.root.Socket("had"))
	again.Dir = "/"
	again.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := again.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestStranger") {
		t.Fatalf("%v\n%s", err, out)
	}
	b.awaitGroup("web", "A", "ONLINE")
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Fatalf("something was changed: %v", got)
	}
}

func stranger(t *testing.T, socket string) {
	if os.Getuid() != 65534 {
		t.Fatalf("runs as uid %d", os.Getuid())
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, m := range rpctest.Methods("evenkeel.had.v1") {
		// An action is not repeated, so it has no request_id; it may change anything.
		changes := m.Input().Fields().ByName("request_id") != nil || m.Name() == "RunResourceAction"
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := rpctest.Do(ctx, conn, m, dynamicpb.NewMessage(m.Input()))
		cancel()
		if denied := status.Code(err) == codes.PermissionDenied; denied != changes {
			t.Errorf("%s: %v", m.Path(), err)
		}
		if changes && (rpctest.Reason(err) != "MAY_ONLY_READ" || !strings.Contains(err.Error(), "uid 65534")) {
			t.Errorf("%s: the refusal does not say why: %v", m.Path(), err)
		}
	}
}

// A system with a bad file takes the configuration of one that runs; what it
// had is kept beside it, and what was wrong is told until then.
func TestBadFileBuildsRemotely(t *testing.T) {
	l := newLab(t, "customized")
	bad := strings.Replace(twoSystems, "AutoStartList = { A, B }", "AutoStartList = { A, C }", 1)
	root := l.root("B", bad)
	b := l.start("B", root)
	b.awaitLocal("STALE_ADMIN_WAIT")
	const mistake = "main.cf:12:23: AutoStartList of group web names C, which is not in its SystemList"
	if got := b.status().GetConfigErrors(); len(got) != 1 || !strings.HasPrefix(got[0], mistake) {
		t.Fatalf("errors %q", got)
	}
	a := l.start("A", l.root("A", twoSystems))
	b.awaitLocal("RUNNING")
	a.awaitGroup("web", "A", "ONLINE")
	poll(t, "main.cf on B is that of A", func() bool {
		text, _ := os.ReadFile(root.Config("main.cf"))
		return string(text) == twoSystems
	})
	waitGone(t, root.Config(".stale"))
	if kept, err := os.ReadFile(root.Config("main.cf.previous")); err != nil || string(kept) != bad {
		t.Fatalf("the bad file is not kept: %v\n%s", err, kept)
	}
	poll(t, "no mistake is told any more", func() bool { return len(b.status().GetConfigErrors()) == 0 })
	log, err := os.ReadFile(root.Log("engine_A.log"))
	if err != nil || !strings.Contains(string(log), mistake) {
		t.Fatalf("the log does not tell the mistake: %v\n%s", err, log)
	}
	l.neverTwice()
}
