package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/host"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"google.golang.org/grpc/codes"
)

// actors is a cluster whose group has a resource with actions and info.
const actors = `include "types.cf"

type Actor (
	static keylist SupportedActions = { echo, fail, flood, hang, missing }
	static int ActionTimeout = 1
	static int AgentReplyTimeout = 5
	static str ArgList[] = { What }
	str What
)

cluster demo (
	)

system A

system B

group web (
	SystemList = { A = 0, B = 1 }
	AutoStartList = { A, B }
	)

	Actor app (
		What = this
		)

	FileOnOff file (
		PathName = "/tmp/x"
		)
`

// actorPair is pair with actors.
func actorPair(t *testing.T) (*lab, *had, *had) { return actorPairOf(t, actors) }

func actorPairOf(t *testing.T, text string) (*lab, *had, *had) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", text))
	a.awaitGroup("web", "A", "ONLINE") // else a fast B may have it first
	b := l.start("B", l.root("B", text))
	for _, h := range []*had{a, b} {
		h.await("web ONLINE on A, probed everywhere", func(st *hadv1.GetStatusResponse) bool {
			return groupState(st, "web", "A") == "ONLINE" && len(st.GetGroups()) == 1 &&
				!slices.ContainsFunc(st.GetGroups()[0].GetSystems(), func(on *hadv1.GroupOnSystem) bool { return !on.GetProbed() })
		})
	}
	return l, a, b
}

func (h *had) resources() hadv1.ResourceServiceClient { return hadv1.NewResourceServiceClient(h.conn) }
func (h *had) agentAPI() hadv1.AgentServiceClient     { return hadv1.NewAgentServiceClient(h.conn) }

func (h *had) act(name, system, token string, args ...string) (*hadv1.RunResourceActionResponse, error) {
	return h.resources().RunResourceAction(background(h.lab.t), &hadv1.RunResourceActionRequest{Name: name, System: system, Token: token, Arguments: args})
}

// An action runs on the system named, whoever is asked, and its output comes
// back; what it prints beyond 64 KiB is cut.
func TestAction(t *testing.T) {
	_, a, b := actorPair(t)
	for _, asked := range []*had{a, b} {
		for _, system := range []string{"A", "B"} {
			out, err := asked.act("app", system, "echo", "one", "two")
			if want := "app on " + system + ": one two"; err != nil || out.GetOutput() != want || out.GetExitCode() != 0 {
				t.Errorf("echo on %s asked at %s: %v %v, want %q", system, asked.name, out, err, want)
			}
		}
		out, err := asked.act("app", "B", "fail")
		if err != nil || out.GetOutput() != "no" || out.GetExitCode() != 3 {
			t.Errorf("an action that fails: %v %v", out, err)
		}
		out, err = asked.act("app", "B", "flood")
		if err != nil || len(out.GetOutput()) != 64<<10 || !out.GetTruncated() {
			t.Errorf("flood: %d bytes, %v, %v", len(out.GetOutput()), out.GetTruncated(), err)
		}
	}
}

// Each way in which an action cannot be run says what is wrong and what would
// be right; nothing has changed after it.
func TestActionRefused(t *testing.T) {
	l, a, b := actorPair(t)
	for _, c := range []struct {
		what, name, system, token string
		args                      []string
		code                      codes.Code
		words                     string
	}{
		{"resource", "ap", "B", "echo", nil, codes.NotFound, "Resource ap does not exist|did you mean app?"},
		{"system", "app", "C", "echo", nil, codes.NotFound, "System C does not exist"},
		{"no system", "app", "", "echo", nil, codes.InvalidArgument, "on which system"},
		{"token", "app", "B", "ecko", nil, codes.InvalidArgument, "not supported by type Actor; did you mean echo?|(SupportedActions: echo fail flood hang missing)"},
		{"type without actions", "file", "B", "echo", nil, codes.InvalidArgument, "not supported by type FileOnOff (type FileOnOff has no SupportedActions)"},
		{"no token", "app", "B", "", nil, codes.InvalidArgument, "which action?"},
		{"long arguments", "app", "B", "echo", slices.Repeat([]string{strings.Repeat("y", 4000)}, 5), codes.InvalidArgument, "20000 bytes together; at most 16384"},
		{"the agent has none", "app", "B", "missing", nil, codes.InvalidArgument, "Action missing of resource app on system B: the agent of type Actor has no action missing"},
		{"it hangs", "app", "B", "hang", nil, codes.DeadlineExceeded, "did not complete within ActionTimeout and was ended"},
	} {
		_, err := a.act(c.name, c.system, c.token, c.args...)
		code, why, _ := reason(err)
		if code != c.code || why == "" {
			t.Errorf("%s: %v", c.what, err)
		}
		for _, w := range strings.Split(c.words, "|") {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v: want %q", c.what, err, w)
			}
		}
	}
	b.awaitGroup("web", "A", "ONLINE")
	l.neverTwice()
}

// A system that is lost while an action runs there: who asked is told that
// nobody knows whether it ran, at once.
func TestActionSystemLost(t *testing.T) {
	l, a, b := actorPair(t)
	answer := make(chan error, 1)
	go func() {
		_, err := a.act("app", "B", "hang")
		answer <- err
	}()
	poll(t, "the action runs on B", func() bool { return b.agents.hangs.Load() > 0 })
	l.hub.powerOff(1, gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF)
	if code, why, _ := reason(<-answer); code != codes.Unknown || why != "OUTCOME_UNKNOWN" {
		t.Fatalf("%v %v", code, why)
	}
	if _, err := a.act("app", "B", "echo"); !strings.Contains(fmt.Sprint(err), "System B is not available: it is FAULTED") {
		t.Fatalf("after it: %v", err)
	}
}

func info(h *had, name, system string) *hadv1.ResourceInfo {
	got, err := h.resources().GetResource(background(h.lab.t), &hadv1.GetResourceRequest{Name: name})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	for _, on := range got.GetResource().GetSystems() {
		if on.GetSystem() == system {
			return on.GetInfo()
		}
	}
	return nil
}

func fact(i *hadv1.ResourceInfo, name string) string {
	for _, f := range i.GetFacts() {
		if f.GetName() == name {
			return f.GetValue()
		}
	}
	return ""
}

// ResourceInfo is gathered where the resource is online and known on every
// system; flushed, it is gone everywhere; when the resource goes down, it is
// Stale.
func TestResourceInfo(t *testing.T) {
	_, a, b := actorPair(t)
	ctx := background(t)
	if got := info(b, "app", "A"); got.GetState() != "Stale" {
		t.Fatalf("before anybody asked: %v", got)
	}
	if _, err := b.resources().RefreshResourceInfo(ctx, &hadv1.RefreshResourceInfoRequest{Name: "app"}); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*had{a, b} {
		poll(t, "ResourceInfo on "+h.name, func() bool {
			got := info(h, "app", "A")
			return got.GetState() == "Valid" && fact(got, "where") == "A" && fact(got, "count") == "1" && got.GetTs() != ""
		})
	}
	got, err := b.resources().GetResource(ctx, &hadv1.GetResourceRequest{Name: "app"})
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for _, at := range got.GetResource().GetAttributes() {
		if at.GetName() == "ResourceInfo" && at.GetSystem() == "A" {
			text = at.GetValue()
		}
	}
	if !strings.HasPrefix(text, "State\tValid\tMsg\t\tTS\t2") || !strings.HasSuffix(text, "\tcount\t1\twhere\tA") {
		t.Errorf("attribute ResourceInfo %q", text)
	}
	if _, err := a.resources().FlushResourceInfo(ctx, &hadv1.FlushResourceInfoRequest{Name: "app", System: "A"}); err != nil {
		t.Fatal(err)
	}
	poll(t, "flushed on B", func() bool {
		return info(b, "app", "A").GetState() == "Stale" && len(info(b, "app", "A").GetFacts()) == 0
	})
	_, err = a.resources().RefreshResourceInfo(ctx, &hadv1.RefreshResourceInfoRequest{Name: "app", System: "B"})
	if !strings.Contains(fmt.Sprint(err), "the resource is not online on system B") {
		t.Errorf("refresh where it is not online: %v", err)
	}
	if _, err := a.resources().RefreshResourceInfo(ctx, &hadv1.RefreshResourceInfoRequest{Name: "app", System: "A"}); err != nil {
		t.Fatal(err)
	}
	poll(t, "gathered again", func() bool { return info(b, "app", "A").GetState() == "Valid" })
	if _, err := a.groups().OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: "web", System: "A"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "A", "OFFLINE")
	if got := info(b, "app", "A"); got.GetState() != "Stale" {
		t.Errorf("of a resource that is offline: %v", got)
	}
}

func agentOf(h *had, typ, system string) *hadv1.Agent {
	got, err := h.agentAPI().ListAgents(background(h.lab.t), &hadv1.ListAgentsRequest{AllSystems: true})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	for _, a := range got.GetAgents() {
		if a.GetType() == typ && a.GetSystem() == system {
			return a
		}
	}
	return nil
}

// The agents of every system are known everywhere, page by page in one order.
func TestAgentsEverywhere(t *testing.T) {
	_, a, b := actorPair(t)
	poll(t, "A knows B's agents", func() bool { return agentOf(a, "Actor", "B").GetRunning() && agentOf(a, "FileOnOff", "B").GetRunning() })
	if got := agentOf(a, "Actor", "B"); got.GetState() != "Running" || got.GetPid() != 0 || got.GetVersion() != "1" {
		t.Errorf("B's agent seen from A: %v", got)
	}
	if got, err := b.agentAPI().GetAgent(background(t), &hadv1.GetAgentRequest{Type: "Actor"}); err != nil || got.GetAgent().GetPid() != 4711 || got.GetAgent().GetSystem() != "B" {
		t.Errorf("B's agent asked at B: %v %v", got, err)
	}
	var seen []string
	token := ""
	for {
		got, err := a.agentAPI().ListAgents(background(t), &hadv1.ListAgentsRequest{AllSystems: true, PageSize: 1, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, agent := range got.GetAgents() {
			seen = append(seen, agent.GetType()+"@"+agent.GetSystem())
		}
		if token = got.GetNextPageToken(); token == "" {
			break
		}
	}
	if want := []string{"Actor@A", "Actor@B", "FileOnOff@A", "FileOnOff@B"}; !slices.Equal(seen, want) {
		t.Errorf("pages: %v, want %v", seen, want)
	}
}

// haagent -stop and -start at a distance: not while its resources are online,
// unless forced; then they stay up, and what dies meanwhile is seen after the
// start.
func TestAgentStopStart(t *testing.T) {
	l, a, b := actorPair(t)
	ctx := background(t)
	_, err := b.agentAPI().StopAgent(ctx, &hadv1.StopAgentRequest{Type: "Actor", System: "A"})
	if code, _, _ := reason(err); code != codes.FailedPrecondition || !strings.Contains(err.Error(), "app is ONLINE") || !strings.Contains(err.Error(), "-force") {
		t.Fatalf("stopped with its resource online: %v", err)
	}
	if _, err := b.agentAPI().StopAgent(ctx, &hadv1.StopAgentRequest{Type: "Actor", System: "A", Force: true}); err != nil {
		t.Fatal(err)
	}
	poll(t, "stopped", func() bool { return agentOf(b, "Actor", "A").GetState() == "Stopped" })
	poll(t, "A says so too", func() bool {
		return agentOf(a, "Actor", "A").GetState() == "Stopped" && !agentOf(a, "Actor", "A").GetRunning()
	})
	if !l.world.is("app", "A") {
		t.Fatal("its resource went down with it")
	}
	a.agents.die("app") // nobody looks
	if _, err := a.act("app", "A", "echo"); !strings.Contains(fmt.Sprint(err), "haagent -start Actor -sys A") {
		t.Errorf("an action without an agent: %v", err)
	}
	if got := groupState(b.status(), "web", "A"); got != "ONLINE" {
		t.Errorf("while nobody looks the group is %s", got)
	}
	if _, err := b.agentAPI().StartAgent(ctx, &hadv1.StartAgentRequest{Type: "Actor", System: "A"}); err != nil {
		t.Fatal(err)
	}
	b.awaitGroup("web", "B", "ONLINE") // it was found dead, and failed over
	poll(t, "runs again", func() bool { return agentOf(b, "Actor", "A").GetRunning() })
	for _, c := range []struct {
		what string
		call func() error
		word string
	}{
		{"started twice", func() error {
			_, err := b.agentAPI().StartAgent(ctx, &hadv1.StartAgentRequest{Type: "Actor", System: "A"})
			return err
		}, "running on system A already"},
		{"unknown type", func() error {
			_, err := b.agentAPI().StartAgent(ctx, &hadv1.StartAgentRequest{Type: "Acter", System: "A"})
			return err
		}, "did you mean Actor?"},
		{"type without resources", func() error {
			_, err := b.agentAPI().StopAgent(ctx, &hadv1.StopAgentRequest{Type: "IP", System: "A"})
			return err
		}, "no group there has a resource of that type"},
		{"no system", func() error {
			_, err := b.agentAPI().StopAgent(ctx, &hadv1.StopAgentRequest{Type: "Actor"})
			return err
		}, "Which system?"},
	} {
		if err := c.call(); !strings.Contains(fmt.Sprint(err), c.word) {
			t.Errorf("%s: %v, want %q", c.what, err, c.word)
		}
	}
	l.neverTwice()
}

// An agent that is given up is known on every system as AgentFailedOn, and its
// resources stay as they are; a start tries again.
func TestAgentGivenUp(t *testing.T) {
	l, a, b := actorPair(t)
	a.agents.send(host.AgentFailed{Type: "Actor", Reason: "the agent died 6 times within an hour before its first monitor"})
	failedOn := func(h *had) string {
		got, err := hadv1.NewTypeServiceClient(h.conn).GetType(background(t), &hadv1.GetTypeRequest{Name: "Actor"})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range got.GetType().GetAttributes() {
			if at.GetName() == "AgentFailedOn" {
				return at.GetValue()
			}
		}
		return "none"
	}
	poll(t, "AgentFailedOn on B", func() bool { return failedOn(b) == "A" })
	if got := agentOf(b, "Actor", "A"); got.GetState() != "Given up" || !strings.Contains(got.GetReason(), "died 6 times") {
		t.Errorf("seen from B: %v", got)
	}
	if !l.world.is("app", "A") || groupState(b.status(), "web", "A") != "ONLINE" {
		t.Errorf("its resource did not stay: %v", l.world.story())
	}
	if _, err := b.agentAPI().StartAgent(background(t), &hadv1.StartAgentRequest{Type: "Actor", System: "A"}); err != nil {
		t.Fatal(err)
	}
	poll(t, "runs again", func() bool { return failedOn(b) == "" && agentOf(b, "Actor", "A").GetRunning() })
}

// A new build takes over while the resources stay online.
func TestAgentSwap(t *testing.T) {
	l, a, b := actorPair(t)
	poll(t, "B knows A's agent", func() bool { return agentOf(b, "Actor", "A").GetRunning() })
	before := l.world.story()
	if _, err := b.agentAPI().SwapAgent(background(t), &hadv1.SwapAgentRequest{Type: "Actor", System: "A"}); err != nil {
		t.Fatal(err)
	}
	poll(t, "the new build runs", func() bool {
		got := agentOf(b, "Actor", "A")
		return got.GetRunning() && got.GetVersion() == "2" && got.GetFaults() == 0
	})
	if got := l.world.story(); !slices.Equal(got, before) {
		t.Errorf("resources noticed: %v", got)
	}
	a.awaitGroup("web", "A", "ONLINE")
}

// The program of a type's agent: AgentFile, else AgentDirectory, else the
// built-in directories.
func TestAgentPath(t *testing.T) {
	dir := t.TempDir()
	l := &loop{root: paths.Root(dir), cfg: Config{AgentDirs: []string{filepath.Join(dir, "built-in")}}}
	put := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := func(attr string) *maincf.Config {
		text := "type App (\n\tstatic str ArgList[] = { What }\n\tstr What\n" + attr + "\t)\ncluster c (\n\t)\nsystem A (\n\t)\n"
		c, _, err := maincf.Load("main.cf", func(string) ([]byte, error) { return []byte(text), nil })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := func(c *maincf.Config, path string) {
		t.Helper()
		if got := l.agentPath(c, "App"); got != path {
			t.Errorf("got %q, want %q", got, path)
		}
	}
	plain := config("")
	own := config("\tstatic str AgentDirectory = \"" + filepath.Join(dir, "own") + "\"\n")
	named := config("\tstatic str AgentFile = \"" + filepath.Join(dir, "special") + "\"\n")
	want(plain, "")
	builtIn := put("built-in/App", 0o755)
	want(plain, builtIn)
	want(own, builtIn)
	put("own/App", 0o644) // no program
	want(own, builtIn)
	want(own, builtIn)
	want(named, builtIn)
	ownAgent := put("own/AppAgent", 0o755)
	want(own, ownAgent)
	special := put("special", 0o755)
	want(named, special)
}

// PreSwitch = 1: what can be asked is asked on the system that the group is to
// go to; if one says no, nothing is taken offline. -nopre does not ask, a plan
// neither, and what the switch itself refuses is refused without asking.
func TestPreSwitch(t *testing.T) {
	text := strings.Replace(actors, "SupportedActions = { echo", "SupportedActions = { PreSwitch, echo", 1)
	text = strings.Replace(text, "AutoStartList = { A, B }", "AutoStartList = { A, B }\n\tPreSwitch = 1", 1)
	l, a, b := actorPairOf(t, text)
	to := func(r *hadv1.SwitchGroupRequest) error {
		r.Name = "web"
		_, err := b.groups().SwitchGroup(background(t), r)
		return err
	}
	l.world.mayGo("B", false)
	for _, r := range []*hadv1.SwitchGroupRequest{{ToSystem: "B"}, {AnySystem: true}} {
		err := to(r)
		if code, _, more := reason(err); code != codes.FailedPrecondition || more["message_id"] != "V-16-1-90184" || !strings.Contains(err.Error(), "app: exit code 4: B is not ready") {
			t.Errorf("%v: %v", r, err)
		}
	}
	if got := groupState(a.status(), "web", "A"); got != "ONLINE" {
		t.Fatalf("web on A is %s after a refusal", got)
	}
	if err := to(&hadv1.SwitchGroupRequest{ToSystem: "B", Plan: true}); err != nil {
		t.Errorf("a plan asks nobody: %v", err)
	}
	asked := l.world.askedToGo()
	if err := to(&hadv1.SwitchGroupRequest{ToSystem: "A"}); err == nil || !strings.Contains(err.Error(), "it is active there") || l.world.askedToGo() != asked {
		t.Errorf("to where it is: %v, asked %d times", err, l.world.askedToGo()-asked)
	}
	if err := to(&hadv1.SwitchGroupRequest{ToSystem: "B", NoPre: true}); err != nil || l.world.askedToGo() != asked {
		t.Errorf("-nopre: %v, asked %d times", err, l.world.askedToGo()-asked)
	}
	a.awaitGroup("web", "B", "ONLINE")
	again := &hadv1.SwitchGroupRequest{ToSystem: "A", RequestId: "once"}
	for range 2 {
		if err := to(again); err != nil {
			t.Errorf("allowed, and repeated: %v", err)
		}
		a.awaitGroup("web", "A", "ONLINE")
	}
	if n := l.world.askedToGo() - asked; n != 1 {
		t.Errorf("asked %d times for one operation", n)
	}
	l.neverTwice()
}
