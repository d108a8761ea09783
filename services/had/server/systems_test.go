package server

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

// hasys -force with a file that is still wrong is an error that names the
// mistake, also for who asks again with the same request id; once the file is
// right it works.
func TestForceSaysWhatCameOfIt(t *testing.T) {
	l := newLab(t, "customized")
	root := l.root("A", strings.Replace(twoSystems, "FileOnOff top", "FileOnOf top", 1))
	a := l.start("A", root)
	a.awaitLocal("STALE_ADMIN_WAIT")
	for range 2 {
		_, err := a.systems().ForceSystem(background(t), &hadv1.ForceSystemRequest{Name: "A", RequestId: "first"})
		code, why, meta := reason(err)
		if code != codes.FailedPrecondition || why != "BUILD_FAILED" || meta["message_id"] != "V-16-1-10624" || !strings.Contains(err.Error(), "main.cf:15:2") {
			t.Fatalf("forced with a bad file: %v %s %v", err, why, meta)
		}
	}
	a.awaitLocal("STALE_ADMIN_WAIT")
	if err := os.WriteFile(root.Config("main.cf"), []byte(twoSystems), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.systems().ForceSystem(background(t), &hadv1.ForceSystemRequest{Name: "A", RequestId: "second"}); err != nil {
		t.Fatal(err)
	}
	a.awaitLocal("RUNNING")
}

// hastart -stale treats a good file as stale; hastart -force builds from a
// file that is marked stale.
func TestStartStaleAndForce(t *testing.T) {
	l := newLab(t, "customized")
	a := l.start("A", l.root("A", twoSystems), func(c *Config) { c.Stale = true })
	a.awaitLocal("STALE_ADMIN_WAIT")
	a.kill()

	l = newLab(t, "customized")
	root := l.root("A", twoSystems)
	if err := os.WriteFile(root.Config(".stale"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l.start("A", root, func(c *Config) { c.Force = true }).awaitLocal("RUNNING")
}

// A system that the running configuration does not have is UNKNOWN there and
// here, and says what leads out.
func TestUnknownSystem(t *testing.T) {
	l, a, b := pair(t)
	defer func() { _, _ = a, b }()
	withC := strings.Replace(twoSystems, "system B\n", "system B\n\nsystem C\n", 1)
	c := l.start("C", l.root("C", withC))
	st := c.await("UNKNOWN", func(st *hadv1.GetStatusResponse) bool { return st.GetLocalState() == "UNKNOWN" })
	if !strings.Contains(st.GetWaitingFor(), "hasys -add C") {
		t.Fatalf("no way out in %q", st.GetWaitingFor())
	}
	a.await("C UNKNOWN on A", func(st *hadv1.GetStatusResponse) bool {
		return slices.ContainsFunc(st.GetSystems(), func(s *hadv1.System) bool { return s.GetName() == "C" && s.GetState() == "UNKNOWN" })
	})
}

// An engine that is not what the others have notices, says so and ends; its
// applications stay up, and the next had takes the state of the peer (R22).
func TestDivergedEngineStartsAnew(t *testing.T) {
	l, a, b := pair(t)
	a.awaitGroup("web", "A", "ONLINE")
	b.awaitGroup("web", "A", "ONLINE")
	if _, err := a.groups().SwitchGroup(background(t), &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "B", "ONLINE")
	before := len(l.world.story())
	done := make(chan bool)
	b.server.loop.post(func() {
		b.server.loop.engine.Apply(b.server.loop.engine.Position(), "B", engine.SystemDescribed{System: "B", Info: "a bit that fell over"}, nil)
		close(done)
	})
	<-done
	a.mark(t)
	err := b.ended()
	if err == nil || !strings.Contains(err.Error(), "starts anew") {
		t.Fatalf("had with a diverged engine ended with %v", err)
	}
	log, _ := os.ReadFile(b.root.Log("engine_A.log"))
	if !strings.Contains(string(log), "CRITICAL V-16-1-90163") {
		t.Fatalf("nothing loud in the log:\n%s", log)
	}
	a.await("B gone", func(st *hadv1.GetStatusResponse) bool {
		return len(st.GetSystems()) == 2 && st.GetSystems()[1].GetDaemonDown()
	})
	log, _ = os.ReadFile(a.root.Log("engine_A.log"))
	if !strings.Contains(string(log), "V-16-1-90164") {
		t.Fatalf("the system that stands says nothing:\n%s", log)
	}
	b.conn.Close()
	b = l.start("B", b.root)
	b.awaitGroup("web", "B", "ONLINE")
	a.await("web adopted", func(st *hadv1.GetStatusResponse) bool {
		return groupState(st, "web", "B") == "ONLINE" && !st.GetSystems()[1].GetDaemonDown() && st.GetSystems()[1].GetState() == "RUNNING"
	})
	if after := l.world.story(); len(after) != before {
		t.Fatalf("applications were touched: %v", after[before:])
	}
	a.mark(t)
	b.await("still RUNNING", func(st *hadv1.GetStatusResponse) bool { return st.GetLocalState() == "RUNNING" })
	l.neverTwice()
}

// mark asks for a comparison of the engines and waits until it is judged here.
func (h *had) mark(t *testing.T) {
	t.Helper()
	h.lab.hub.mu.Lock()
	port := h.lab.hub.ports[h.lab.node(h.name)]
	h.lab.hub.mu.Unlock()
	if err := port.Send(1<<40, nil, encodeJSON(kindMark, mark{})); err != nil {
		t.Fatal(err)
	}
	// Ordered behind the mark and, since all answer at once, behind the votes.
	if _, err := h.systems().SetSystemLoad(background(t), &hadv1.SetSystemLoadRequest{Name: h.name, Load: 1}); err != nil {
		t.Fatal(err)
	}
}

// hasys -load over the API, and what a system says of itself.
func TestLoadAndAttributes(t *testing.T) {
	l := newLab(t, "customized")
	meters := func(time.Time) ([]engine.Meter, error) {
		return []engine.Meter{{Name: "CPU", Total: 400, Used: 100}, {Name: "Mem", Total: 4096, Used: 1024}}, nil
	}
	a := l.start("A", l.root("A", twoSystems), func(c *Config) { c.ReadMeters = meters })
	a.awaitLocal("RUNNING")
	a.server.loop.post(func() { a.server.loop.measured(meters(time.Now())) })
	if _, err := a.systems().SetSystemLoad(background(t), &hadv1.SetSystemLoadRequest{Name: "A", Load: 30}); err != nil {
		t.Fatal(err)
	}
	s, err := a.systems().GetSystem(background(t), &hadv1.GetSystemRequest{Name: "A"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, at := range s.GetSystem().GetAttributes() {
		got[at.GetName()] = at.GetValue()
	}
	for name, want := range map[string]string{
		"AvailableCapacity": "70", "DynamicLoad": "30", "UpDownState": "3", "HostUtilization": "CPU\t25\tMem\t25",
		"HostAvailableForecast": "CPU\t3.00\tMem\t3072", "EngineVersion": Version, "EngineRestarted": "0", "AgentsStopped": "0",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, not %q", name, got[name], want)
		}
	}
	if !strings.HasPrefix(got["SysInfo"], "Linux:") {
		t.Errorf("SysInfo is %q", got["SysInfo"])
	}
	_, err = a.systems().SetSystemLoad(background(t), &hadv1.SetSystemLoadRequest{Name: "Z", Load: 30})
	if code, _, meta := reason(err); code != codes.NotFound || meta["message_id"] != "V-16-1-10357" {
		t.Errorf("load of a system that does not exist: %v", err)
	}
}

// Events beyond the memory of the spool come back from its file, in order, and
// nothing is left of it; beyond its bound it says so (R22).
func TestSpool(t *testing.T) {
	path := filepath.Join(t.TempDir(), "join.spool")
	s := spool{path: path, memory: 300, bound: 100_000}
	const n = 500
	for i := range n {
		ev := engine.Event(engine.Clock{Elapsed: time.Duration(i)})
		if i%7 == 0 {
			ev = engine.ViewChanged{Generation: uint64(i), Members: []engine.Member{{System: "A"}}, Systems: []engine.Member{{System: "A"}}}
		}
		if err := s.add(engine.Pos{View: 1, Seq: uint64(i)}, fmt.Sprint("S", i), ev); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.kept) == 0 || len(s.kept) > n/2 || s.file == nil {
		t.Fatalf("%d events in memory", len(s.kept))
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("the file has a name: it would be left after a crash")
	}
	next := 0
	if err := s.drain(func(pos engine.Pos, from string, ev engine.Event) {
		if pos.Seq != uint64(next) || from != fmt.Sprint("S", next) {
			t.Fatalf("event %d is %v from %s", next, pos, from)
		}
		if v, is := ev.(engine.ViewChanged); is != (next%7 == 0) || (is && v.Generation != uint64(next)) {
			t.Fatalf("event %d is %v", next, ev)
		}
		next++
	}); err != nil || next != n {
		t.Fatalf("%d of %d came back: %v", next, n, err)
	}
	var err error
	for i := 0; err == nil && i < 1_000_000; i++ {
		err = s.add(engine.Pos{}, "A", engine.Clock{Elapsed: 1})
	}
	if err == nil || !strings.Contains(err.Error(), "starts anew") {
		t.Fatalf("a spool without end: %v", err)
	}
}

// The runs of had are numbered upwards whatever the clock does.
func TestIncarnationOnlyGrows(t *testing.T) {
	root := paths.Root(t.TempDir())
	now := time.Unix(1_700_000_000, 0)
	var last uint64
	for _, at := range []time.Time{now, now, now.Add(-24 * time.Hour), time.Unix(0, 0), now.Add(time.Hour)} {
		n, err := nextIncarnation(root, at)
		if err != nil || n <= last {
			t.Fatalf("at %s incarnation %d after %d: %v", at, n, last, err)
		}
		last = n
	}
	if err := os.WriteFile(root.State("had.incarnation"), []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := nextIncarnation(root, now.Add(2*time.Hour)); err != nil || n <= last {
		t.Fatalf("after a damaged file %d: %v", n, err)
	}
}

// Meters as Linux writes them.
func TestProcReader(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("meminfo", "MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: 1048576 kB\nSwapTotal: 2097152 kB\nSwapFree: 1572864 kB\n")
	write("stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 50 0 50 350 50 0 0 0\ncpu1 50 0 50 350 50 0 0 0\nintr 1\n")
	write("pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")
	p := &procReader{dir: dir}
	at := time.Unix(1000, 0)
	if got, err := p.read(at); err != nil || got != nil {
		t.Fatalf("the first look measures no time: %v %v", got, err)
	}
	write("stat", "cpu  175 0 175 850 100 0 0 0 90 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n")
	write("pressure/io", "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n")
	got, err := p.read(at.Add(10 * time.Second))
	want := []engine.Meter{{Name: "Mem", Total: 4096, Used: 3072}, {Name: "Swap", Total: 2048, Used: 512},
		{Name: "CPU", Total: 200, Used: 100}, {Name: "IO", Total: 10000, Used: 1500}}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("measured %v, not %v: %v", got, want, err)
	}
	if err := os.Remove(filepath.Join(dir, "pressure", "io")); err != nil {
		t.Fatal(err)
	}
	write("stat", "cpu  275 0 175 950 100 0 0 0 90 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n")
	if got, err = p.read(at.Add(20 * time.Second)); err != nil || len(got) != 3 {
		t.Fatalf("without pressure: %v %v", got, err)
	}
	write("meminfo", "nothing\n")
	if _, err = p.read(at.Add(30 * time.Second)); err == nil || !strings.Contains(err.Error(), "MemTotal") {
		t.Fatalf("a file of another shape: %v", err)
	}
	if got, err := (&procReader{dir: "/proc"}).read(time.Now()); err != nil || got != nil {
		t.Fatalf("this machine: %v %v", got, err)
	}
}
