package diskgroup

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/evenkeel/evenkeel/plugins/internal/evidence"
	"github.com/evenkeel/evenkeel/plugins/internal/loopdev"
	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

// system is one system with its own root and its own agent, on shared storage.
type system struct {
	*agenttest.Process
	t    *testing.T
	name string
	root string
}

// storage makes a shared directory with two volumes.
func storage(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: attaches loop devices")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "shared1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, volume := range []string{"data", "logs"} {
		file := filepath.Join(dir, volume+".img")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(file, 4<<20); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { detachBelow(t, dir) })
	return dir
}

// detachBelow detaches what a test left attached, as a power failure would.
func detachBelow(t *testing.T, dir string) {
	t.Helper()
	devices, err := loopdev.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range devices {
		backing, err := loopdev.Backing(device)
		if err == nil && strings.HasPrefix(backing, dir+"/") {
			if err := loopdev.Detach(device, detachWait); err != nil {
				t.Error(err)
			}
		}
	}
}

func newSystem(t *testing.T, name, dir string) *system {
	t.Helper()
	s := &system{t: t, name: name, root: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(s.root, "etc/evenkeel"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf := "# shared\ndiskgroup shared1 image " + dir + "\n"
	if err := os.WriteFile(filepath.Join(s.root, "etc/evenkeel/storage.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), "EVENKEEL_ROOT="+s.root)
	s.Process = agenttest.StartCommand(t, command)
	return s
}

// knows writes what had would have written for the agent.
func (s *system) knows(systems ...evidence.System) {
	s.t.Helper()
	text, err := json.Marshal(evidence.Known{Self: s.name, View: "1", Systems: systems})
	if err != nil {
		s.t.Fatal(err)
	}
	run := filepath.Join(s.root, "run/evenkeel")
	if err := os.MkdirAll(run, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, evidence.File), text, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) resource() *agentv1.Resource {
	return agenttest.Resource(s.t, "DG", map[string]any{"DiskGroup": "shared1"})
}

func (s *system) online() error {
	_, err := s.Online(s.t.Context(), &agentv1.OnlineRequest{CallId: 1, Resource: s.resource()})
	return err
}

func (s *system) offline() error {
	_, err := s.Offline(s.t.Context(), &agentv1.OfflineRequest{CallId: 2, Resource: s.resource()})
	return err
}

func (s *system) wants(state agentv1.State) {
	s.t.Helper()
	out, err := s.Monitor(s.t.Context(), &agentv1.MonitorRequest{CallId: 3, Resource: s.resource()})
	if err != nil {
		s.t.Fatalf("%s: monitor: %v", s.name, err)
	}
	if got := out.GetStatus().GetState(); got != state {
		s.t.Fatalf("%s: monitor says %v, want %v", s.name, got, state)
	}
}

func member(name string, incarnation uint64) evidence.System {
	return evidence.System{Name: name, Incarnation: incarnation, Member: true}
}

func gone(name string, incarnation uint64, why string) evidence.System {
	return evidence.System{Name: name, Incarnation: incarnation, Evidence: why}
}

// The agent keeps what every agent promises.
func TestConformance(t *testing.T) {
	dir := storage(t)
	s := newSystem(t, "A", dir)
	s.knows(member("A", 1))
	t.Setenv("EVENKEEL_ROOT", s.root)
	agenttest.Run(t, New(), map[string]any{"DiskGroup": "shared1"})
}

// A second system cannot import while the first one has the disk group; after
// a deport it can.
func TestSecondImportIsRefused_R4(t *testing.T) {
	dir := storage(t)
	a, b := newSystem(t, "A", dir), newSystem(t, "B", dir)
	a.knows(member("A", 1), member("B", 1))
	b.knows(member("A", 1), member("B", 1))
	if err := a.online(); err != nil {
		t.Fatal(err)
	}
	a.wants(agentv1.State_STATE_ONLINE)
	if _, err := os.Stat(filepath.Join(a.root, "dev/vx/dsk/shared1/data")); err != nil {
		t.Errorf("the volume has no device: %v", err)
	}
	if err := b.online(); err == nil || !strings.Contains(err.Error(), "A holds it") {
		t.Fatalf("B imported what A has: %v", err)
	}
	b.wants(agentv1.State_STATE_OFFLINE)
	if err := a.offline(); err != nil {
		t.Fatal(err)
	}
	a.wants(agentv1.State_STATE_OFFLINE)
	if err := b.online(); err != nil {
		t.Fatal(err)
	}
	b.wants(agentv1.State_STATE_ONLINE)
	if err := b.offline(); err != nil {
		t.Fatal(err)
	}
}

// Two imports at once, again and again: exactly one succeeds.
func TestTwoImportsAtOnce(t *testing.T) {
	dir := storage(t)
	a, b := newSystem(t, "A", dir), newSystem(t, "B", dir)
	a.knows(member("A", 1), member("B", 1))
	b.knows(member("A", 1), member("B", 1))
	for round := range 10 {
		var wait sync.WaitGroup
		var errA, errB error
		wait.Go(func() { errA = a.online() })
		wait.Go(func() { errB = b.online() })
		wait.Wait()
		if (errA == nil) == (errB == nil) {
			t.Fatalf("round %d: A: %v, B: %v; want one success", round, errA, errB)
		}
		winner := map[bool]*system{true: a, false: b}[errA == nil]
		winner.wants(agentv1.State_STATE_ONLINE)
		if err := winner.offline(); err != nil {
			t.Fatal(err)
		}
	}
}

// The owner crashed: without evidence nobody takes over, with evidence B does;
// and A, booted again under a later incarnation, finds itself without it.
func TestCrashedOwner_R4(t *testing.T) {
	dir := storage(t)
	a, b := newSystem(t, "A", dir), newSystem(t, "B", dir)
	a.knows(member("A", 1), member("B", 1))
	if err := a.online(); err != nil {
		t.Fatal(err)
	}
	detachBelow(t, dir) // the power failure takes A's devices and its /dev
	if err := os.RemoveAll(filepath.Join(a.root, "dev")); err != nil {
		t.Fatal(err)
	}
	b.knows(gone("A", 1, ""), member("B", 1))
	if err := b.online(); err == nil || !strings.Contains(err.Error(), "ha fencing vouch A") {
		t.Fatalf("B took over without evidence: %v", err)
	}
	b.knows(gone("A", 1, "CUT"), member("B", 1))
	if err := b.online(); err == nil {
		t.Fatal("B took over on CUT, which does not protect this storage (R1)")
	}
	b.knows(gone("A", 1, "POWERED_OFF"), member("B", 1))
	if err := b.online(); err != nil {
		t.Fatal(err)
	}
	b.wants(agentv1.State_STATE_ONLINE)
	a.knows(member("A", 2), member("B", 1))
	a.wants(agentv1.State_STATE_OFFLINE)
	if err := a.online(); err == nil {
		t.Fatal("A imported what B has")
	}
	if err := b.offline(); err != nil {
		t.Fatal(err)
	}
}

func TestParseStorage(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"diskgroup a image /x\n# nothing\n\ndiskgroup b image /y # end\n", ""},
		{"disgroup a image /x\n", `storage.conf:1:1: unknown word "disgroup"`},
		{"\n  diskgroup a image\n", "storage.conf:2:3: 3 words"},
		{"diskgroup a vxvm /x\n", `storage.conf:1:1: unknown backend "vxvm"`},
		{"diskgroup a image x\n", `storage.conf:1:1: directory "x" is not an absolute path`},
		{"diskgroup a image /x\ndiskgroup a image /y\n", "storage.conf:2:1: disk group a is named twice"},
	} {
		_, err := parseStorage("storage.conf", strings.NewReader(c.text))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q: %v", c.text, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

func FuzzParseStorage(f *testing.F) {
	f.Add("diskgroup a image /x\n")
	f.Add("# only a comment")
	f.Fuzz(func(t *testing.T, text string) {
		known, err := parseStorage("storage.conf", strings.NewReader(text))
		if err != nil && !strings.Contains(err.Error(), "storage.conf") {
			t.Errorf("error without a place: %v", err)
		}
		for name, found := range known {
			if name == "" || !filepath.IsAbs(found.dir) {
				t.Errorf("accepted %q -> %+v", name, found)
			}
		}
	})
}
