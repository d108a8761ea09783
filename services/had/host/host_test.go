package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// The test binary is agent and host, too, if these say so.
const (
	envAgent = "EVENKEEL_TEST_AGENT" // how the agent behaves
	envHost  = "EVENKEEL_TEST_HOST"  // its Dir
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(envAgent); mode != "" {
		behave(mode)
		return
	}
	if dir := os.Getenv(envHost); dir != "" {
		beHost(dir)
		return
	}
	os.Exit(m.Run())
}

// behave is the agent of type Sample: a resource is a file.
func behave(mode string) {
	switch mode {
	case "dies-early":
		os.Exit(3)
	case "no-handshake":
		fmt.Println("1|1|unix|/nowhere|grpc|" + strings.Repeat("A", 60))
		select {}
	case "silent":
		select {}
	case "contradicts":
		agent.Serve(sample{mode: mode})
	default:
		agent.Serve(sample{mode: mode})
	}
}

type sample struct{ mode string }

func (s sample) Describe() agent.Description {
	kind := agent.String
	if s.mode == "contradicts" {
		kind = agent.Integer
	}
	return agent.Description{Type: "Sample", Version: "1.0." + strconv.Itoa(len(s.mode)), Attrs: []agent.Attr{
		{Name: "PathName", Kind: kind, Required: true},
	}}
}

func (s sample) Online(ctx context.Context, r *agent.Resource) error {
	path := r.String("PathName")
	switch {
	case s.mode == "hostile-log":
		fmt.Fprintln(os.NewFile(2, "stderr"), `{"@message": 1}`)
		fmt.Fprintln(os.NewFile(2, "stderr"), `{"@message": "x", "@level": 7, "@timestamp": []}`)
		fmt.Fprintln(os.NewFile(1, "stdout"), `{"@message": {}}`)
		fmt.Println(`{"@message": null}`)
	case s.mode == "leaky":
		// What other languages do: a child that holds our stdout and stderr.
		child := exec.Command("/bin/sh", "-c", "echo $$ >"+path+".child; unset EVENKEEL_AGENT_TOKEN; exec sleep 600")
		child.Env = withoutToken()
		child.Stdout, child.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := child.Start(); err != nil {
			return err
		}
	case strings.HasPrefix(r.Name, "hang"):
		helper := exec.Command("/bin/sleep", "600") // ends with the agent
		if err := helper.Start(); err != nil {
			return err
		}
		if err := os.WriteFile(path+".half", []byte(strconv.Itoa(helper.Process.Pid)), 0o600); err != nil {
			return err
		}
		if err := os.Rename(path+".half", path+".helper"); err != nil { // whoever sees it sees it whole
			return err
		}
		if r.Name == "hang-politely" {
			<-ctx.Done()
			_ = helper.Process.Kill()
			_ = helper.Wait()
			return ctx.Err()
		}
		select {}
	case r.Name == "app":
		p, err := agent.Start(exec.Command("/bin/sleep", "600"))
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strconv.Itoa(p.PID)), 0o600)
	case r.Name == "fails":
		return errors.New("no such luck")
	case r.Name == "panics":
		panic("by design")
	}
	return os.WriteFile(path, nil, 0o600)
}

func withoutToken() []string {
	var out []string
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, agent.EnvToken+"=") {
			out = append(out, pair)
		}
	}
	return out
}

func (sample) Offline(_ context.Context, r *agent.Resource) error {
	err := os.Remove(r.String("PathName"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (s sample) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return s.Offline(ctx, r)
}

func (s sample) Monitor(_ context.Context, r *agent.Resource) (agent.Status, error) {
	switch _, err := os.Stat(r.String("PathName")); {
	case err == nil:
		return agent.Status{State: agent.Online}, nil
	case errors.Is(err, os.ErrNotExist):
		return agent.Status{State: agent.Offline}, nil
	default:
		return agent.Status{}, err
	}
}

func (sample) Watch(ctx context.Context, r *agent.Resource, push func(agent.Status)) error {
	push(agent.Status{State: agent.Online, Detail: "watching " + r.Name})
	<-ctx.Done()
	return nil
}

// program makes an executable that is the test binary in the given role.
func program(t *testing.T, mode string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "Sample")
	writeProgram(t, path, mode)
	return path
}

func writeProgram(t *testing.T, path, mode string) {
	t.Helper()
	text := fmt.Sprintf("#!/bin/sh\n%s=%s exec %s\n", envAgent, mode, os.Args[0])
	if err := os.WriteFile(path+".new", []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

var sampleDecl = TypeDecl{Name: "Sample", Operations: "OnOff", Attrs: []AttrDecl{{Name: "PathName", Kind: "str", Dim: "scalar"}}}

// bench is a host under test with what it said.
type bench struct {
	*Host
	t    *testing.T
	dir  string
	logs *syncBuffer
}

type syncBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), logs: &syncBuffer{}}
	cfg := Config{Dir: filepath.Join(b.dir, "run"), Log: slog.New(slog.NewTextHandler(b.logs, nil)), HungGrace: 300 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Host = h
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(b.logs.String())
		}
	})
	if err := h.EndFormer(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) res(name string) Resource {
	return Resource{Name: name, Attrs: map[string]Value{"PathName": Scalar(filepath.Join(b.dir, name))}}
}

func next[E Event](b *bench) E {
	b.t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case ev, ok := <-b.Events():
			if !ok {
				b.t.Fatal("events closed")
			}
			if want, ok := ev.(E); ok {
				return want
			}
		case <-deadline:
			var want E
			b.t.Fatalf("no event %T within 15 s\n%s", want, b.logs.String())
		}
	}
}

func (b *bench) start(path string) AgentUp {
	b.t.Helper()
	if err := b.Start(sampleDecl, path); err != nil {
		b.t.Fatal(err)
	}
	return next[AgentUp](b)
}

func (b *bench) wantState(name string, want State) {
	b.t.Helper()
	st, err := b.Monitor(b.t.Context(), "Sample", b.res(name), false)
	if err != nil || st.State != want {
		b.t.Fatalf("monitor %s: %v %v, want %v\n%s", name, st, err, want, b.logs.String())
	}
}

func readPID(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	s, err := readStat(pid)
	return err == nil && !s.gone()
}

// reaperOf kills a process that a test started on purpose.
func killLater(t *testing.T, pid int) {
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
}

func TestEntryPoints(t *testing.T) {
	b := newBench(t, nil)
	up := b.start(program(t, "good"))
	if up.Restarted || !up.Watches || up.Version != "1.0.4" {
		t.Fatalf("up: %+v", up)
	}
	ctx := t.Context()
	b.wantState("r", Offline)
	for range 2 {
		if _, err := b.Online(ctx, "Sample", b.res("r"), 7); err != nil {
			t.Fatal(err)
		}
	}
	b.wantState("r", Online)
	if _, err := b.Offline(ctx, "Sample", b.res("r"), 8); err != nil {
		t.Fatal(err)
	}
	if err := b.Clean(ctx, "Sample", b.res("r"), UnexpectedOffline); err != nil {
		t.Fatal(err)
	}
	b.wantState("r", Offline)

	var said *EntryPointError
	_, err := b.Online(ctx, "Sample", b.res("fails"), 0)
	if !errors.As(err, &said) || err.Error() != "online fails (Sample): no such luck" {
		t.Fatalf("got %v", err)
	}
	_, err = b.Online(ctx, "Sample", b.res("panics"), 0)
	if !errors.As(err, &said) || !strings.Contains(said.Message, "by design") {
		t.Fatalf("got %v", err)
	}
	_, err = b.Monitor(ctx, "Sample", Resource{Name: "empty"}, false)
	if !errors.As(err, &said) || !said.BadValue || !strings.Contains(said.Message, "PathName") {
		t.Fatalf("got %v", err)
	}
	if _, err = b.Info(ctx, "Sample", b.res("r")); !errors.Is(err, ErrNotImplemented) {
		t.Fatalf("got %v", err)
	}
	if err = b.Open(ctx, "Sample", b.res("r")); err != nil {
		t.Fatalf("an open that does not exist: %v", err)
	}
	if _, err = b.Monitor(ctx, "Other", b.res("r"), false); !errors.Is(err, ErrNoAgent) {
		t.Fatalf("got %v", err)
	}
	problems, err := b.Validate(ctx, "Sample", Resource{Name: "r", Attrs: map[string]Value{"PathName": List("a", "b")}})
	if err != nil || len(problems) != 1 || problems[0].Attr != "PathName" {
		t.Fatalf("got %v %v", problems, err)
	}
	b.Watch("Sample", b.res("r"))
	if w := next[Watched](b); w.Resource != "r" || w.Status.Detail != "watching r" {
		t.Fatalf("watched: %+v", w)
	}
}

// A2, hazard (a): go-plugin's reader of stderr panics in a goroutine of its own on
// this line and takes the host with it.
func TestStderrLineDoesNotPanicHost(t *testing.T) {
	b := newBench(t, nil)
	b.start(program(t, "hostile-log"))
	if _, err := b.Online(t.Context(), "Sample", b.res("r"), 0); err != nil {
		t.Fatal(err)
	}
	b.wantState("r", Online)
	waitFor(t, "the line in the log", func() bool { return strings.Contains(b.logs.String(), `{\"@message\": 1}`) })
}

// A handshake line with a "certificate" makes go-plugin dereference nil.
func TestHostileHandshake(t *testing.T) {
	b := newBench(t, func(c *Config) { c.GiveUpAfter = 1; c.StartTimeout = 500 * time.Millisecond })
	if err := b.Start(sampleDecl, program(t, "no-handshake")); err != nil {
		t.Fatal(err)
	}
	if ev := next[AgentFailed](b); ev.Refused {
		t.Fatalf("%+v", ev)
	}
}

// A13, hazard (b): a process that inherited the agent's stdout and stderr keeps the
// pipes open; the agent's death must be noticed all the same.
func TestInheritedDescriptorDoesNotHideDeath(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Cgroup = "none" })
	b.start(program(t, "leaky"))
	if _, err := b.Online(t.Context(), "Sample", b.res("r"), 0); err != nil {
		t.Fatal(err)
	}
	b.wantState("r", Online)
	path := filepath.Join(b.dir, "r.child")
	waitFor(t, "the child", func() bool { text, _ := os.ReadFile(path); return len(text) > 1 })
	child := readPID(t, path)
	killLater(t, child)
	begin := time.Now()
	_ = syscall.Kill(b.PID("Sample"), syscall.SIGKILL)
	next[AgentDown](b)
	next[AgentUp](b)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("back after %v, want at most 1 s", took)
	}
	if !alive(child) {
		t.Error("the application, in a session of its own and without the token, was killed")
	}
	b.wantState("r", Online)
}

// beHost is a host that waits for its death.
func beHost(dir string) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	h, err := New(Config{Dir: filepath.Join(dir, "run"), Log: log, Cgroup: os.Getenv("EVENKEEL_TEST_CGROUP")})
	if err == nil {
		err = h.EndFormer(context.Background())
	}
	if err == nil {
		err = h.Start(sampleDecl, filepath.Join(dir, "Sample"))
	}
	if err != nil {
		log.Error("host", "error", err)
		os.Exit(1)
	}
	<-h.Events()
	res := func(name string) Resource {
		return Resource{Name: name, Attrs: map[string]Value{"PathName": Scalar(filepath.Join(dir, name))}}
	}
	if _, err := h.Online(context.Background(), "Sample", res("app"), 0); err != nil {
		log.Error("host", "error", err)
		os.Exit(1)
	}
	go func() { _, _ = h.Online(context.Background(), "Sample", res("hang-rudely"), 0) }()
	for {
		if _, err := os.Stat(filepath.Join(dir, "hang-rudely.helper")); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // another process' file: nothing to wait on
	}
	fmt.Println(h.PID("Sample"))
	select {}
}

// A4, A12, A14, hazard (c), and R8: a host that was killed leaves no agent behind, the next
// one ends the helpers of its entry points before it starts anything, and the
// applications live on.
func TestKilledHost(t *testing.T) {
	for _, mode := range []string{"none", "cgroup"} {
		t.Run(mode, func(t *testing.T) {
			cgroup := mode
			if mode == "cgroup" {
				cgroup = testCgroup(t)
			}
			dir := t.TempDir()
			writeProgram(t, filepath.Join(dir, "Sample"), "good")
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envHost+"="+dir, "EVENKEEL_TEST_CGROUP="+cgroup)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
			var agentPID int
			if _, err := fmt.Fscan(out, &agentPID); err != nil {
				t.Fatal(err)
			}
			fd, err := unix.PidfdOpen(agentPID, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			helper, app := readPID(t, filepath.Join(dir, "hang-rudely.helper")), readPID(t, filepath.Join(dir, "app"))
			killLater(t, app)
			killLater(t, helper)

			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if !waitPidfd(fd, 2*time.Second) {
				t.Error("the agent outlived its host by 2 s")
			}
			if !alive(helper) {
				t.Error("the helper should still be there: nobody has ended it")
			}
			h, err := New(Config{Dir: filepath.Join(dir, "run"), Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Cgroup: cgroup})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			if err := h.Start(sampleDecl, filepath.Join(dir, "Sample")); !errors.Is(err, ErrFormerAlive) {
				t.Errorf("start before EndFormer: %v", err)
			}
			if err := h.EndFormer(t.Context()); err != nil {
				t.Fatal(err)
			}
			if alive(helper) {
				t.Error("R8: a helper of the former had's entry point still runs")
			}
			if !alive(app) {
				t.Error("R8: the detached application was killed")
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "run", "*")); len(left) != 1 {
				t.Errorf("left in the run directory: %v, want the lock alone", left)
			}
		})
	}
}

// testCgroup makes a cgroup of the test's own.
func testCgroup(t *testing.T) string {
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		path := filepath.Join(root, fmt.Sprintf("evenkeel-test-%d", os.Getpid()))
		var st unix.Statfs_t
		if unix.Statfs(root, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC || os.Mkdir(path, 0o755) != nil {
			continue
		}
		t.Cleanup(func() {
			for _, pid := range cgroupPIDs(filepath.Join(path, "apps")) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			waitFor(t, "the cgroup to be empty", func() bool { return len(cgroupPIDs(filepath.Join(path, "apps"))) == 0 })
			waitFor(t, "the removal of the cgroup", func() bool {
				_ = os.Remove(filepath.Join(path, "apps"))
				_ = os.Remove(path)
				_, err := os.Stat(path)
				return err != nil
			})
		})
		return path
	}
	t.Skip("no cgroup v2 hierarchy that this user may write; helpers are found by session and token instead (tested above)")
	return ""
}

// waitFor looks again and again, because what it waits for is another process'.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 10 s for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// A8, R8 within the life of a host: what hangs is cancelled, then killed with its
// helpers, and a call returns only when nothing of it runs any more.
func TestHungEntryPoint(t *testing.T) {
	for _, mode := range []string{"none", "cgroup"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, func(c *Config) {
				if c.Cgroup = mode; mode == "cgroup" {
					c.Cgroup = testCgroup(t)
				}
			})
			b.start(program(t, "good"))
			b.wantState("r", Offline)
			pid := b.PID("Sample")

			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err := b.Online(ctx, "Sample", b.res("hang-politely"), 0)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || b.PID("Sample") != pid {
				t.Fatalf("an entry point that obeys: %v, agent %d, was %d", err, b.PID("Sample"), pid)
			}
			ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err = b.Online(ctx, "Sample", b.res("hang-rudely"), 0)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			if helper := readPID(t, filepath.Join(b.dir, "hang-rudely.helper")); alive(helper) {
				t.Error("the call returned, its helper runs")
			}
			if down := next[AgentDown](b); !strings.Contains(down.Reason, "did not end") {
				t.Errorf("%+v", down)
			}
			if up := next[AgentUp](b); !up.Restarted {
				t.Errorf("%+v", up)
			}
			b.wantState("r", Offline)
		})
	}
}

// A11, A13: kill an agent with -9 again and again: its resources stay, it is back
// each time, and the host never gives up.
func TestKilledAgentAgainAndAgain(t *testing.T) {
	b := newBench(t, nil)
	b.start(program(t, "good"))
	if _, err := b.Online(t.Context(), "Sample", b.res("app"), 0); err != nil {
		t.Fatal(err)
	}
	app := readPID(t, filepath.Join(b.dir, "app"))
	killLater(t, app)
	b.Watch("Sample", b.res("app"))
	kills := 50
	if testing.Short() {
		kills = 5
	}
	worst, before := time.Duration(0), runtime.NumGoroutine()
	for range kills {
		b.wantState("app", Online)
		begin := time.Now()
		if err := syscall.Kill(b.PID("Sample"), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if down := next[AgentDown](b); down.Planned {
			t.Fatalf("%+v", down)
		}
		if up := next[AgentUp](b); !up.Restarted {
			t.Fatalf("%+v", up)
		}
		worst = max(worst, time.Since(begin))
		if w := next[Watched](b); w.Resource != "app" {
			t.Fatalf("watched: %+v", w)
		}
	}
	waitFor(t, "goroutines of dead agents to end", func() bool { return runtime.NumGoroutine() <= before+10 })
	t.Logf("%d kills, back within %v at worst", kills, worst)
	if !alive(app) {
		t.Error("the application did not survive")
	}
	records, _ := filepath.Glob(filepath.Join(b.dir, "run", "*.json"))
	sockets, _ := filepath.Glob(filepath.Join(b.cfgSockets(), "plugin-dir*"))
	if len(records) != 1 || len(sockets) != 1 {
		t.Errorf("left behind: %v %v", records, sockets)
	}
}

func (b *bench) cfgSockets() string { dir, _ := b.socketDir(); return dir }

func TestCallDuringKill(t *testing.T) {
	b := newBench(t, nil)
	b.start(program(t, "good"))
	b.wantState("r", Offline)
	answer := make(chan error, 1)
	go func() {
		_, err := b.Online(context.Background(), "Sample", b.res("hang-politely"), 0)
		answer <- err
	}()
	path := filepath.Join(b.dir, "hang-politely.helper")
	waitFor(t, "the helper", func() bool { text, _ := os.ReadFile(path); return len(text) > 0 })
	_ = syscall.Kill(b.PID("Sample"), syscall.SIGKILL)
	if err := <-answer; !errors.Is(err, ErrAgentDown) {
		t.Fatalf("got %v", err)
	}
	if alive(readPID(t, path)) {
		t.Error("the call returned, its helper runs")
	}
}

func TestEarlyDeathsGiveUp(t *testing.T) {
	b := newBench(t, func(c *Config) { c.GiveUpAfter = 3 })
	path := program(t, "dies-early")
	if err := b.Start(sampleDecl, path); err != nil {
		t.Fatal(err)
	}
	ev := next[AgentFailed](b)
	if ev.Refused || !strings.Contains(ev.Reason, "3 times") {
		t.Fatalf("%+v", ev)
	}
	if _, err := b.Monitor(t.Context(), "Sample", b.res("r"), false); !errors.Is(err, ErrNoAgent) {
		t.Fatalf("got %v", err)
	}
	writeProgram(t, path, "good")
	b.start(path) // a Start by hand tries again
	b.wantState("r", Offline)
}

// A13: an agent that works each time until it dies of itself is started at
// once, but not for ever. Who is killed from outside does not count.
func TestCrashesGiveUp(t *testing.T) {
	b := newBench(t, func(c *Config) { c.GiveUpAfter = 3 })
	path := program(t, "good")
	b.start(path)
	kills := []syscall.Signal{syscall.SIGABRT, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV, syscall.SIGABRT}
	for n, sig := range kills {
		b.wantState("r", Offline)
		if err := syscall.Kill(b.PID("Sample"), sig); err != nil {
			t.Fatal(err)
		}
		if down := next[AgentDown](b); down.Planned {
			t.Fatalf("%+v", down)
		}
		if n < len(kills)-1 {
			next[AgentUp](b)
		}
	}
	if ev := next[AgentFailed](b); ev.Refused || ev.Reason != "the agent died by itself 3 times within an hour" {
		t.Fatalf("%+v", ev)
	}
	if _, err := b.Monitor(t.Context(), "Sample", b.res("r"), false); !errors.Is(err, ErrNoAgent) {
		t.Fatalf("got %v", err)
	}
	b.start(path)
	b.wantState("r", Offline)
}

// A13: early deaths and crashes count together; else an agent that dies at
// changing points would be started for ever.
func TestMixedDeathsGiveUp(t *testing.T) {
	var d deaths
	cfg := Config{GiveUpAfter: 4}
	for n, step := range []struct {
		early, crashed bool
		want           string
		inRow          int
	}{
		{true, true, "", 1},
		{false, true, "", 0},
		{false, false, "", 0}, // killed by somebody
		{true, false, "", 1},
		{false, true, "the agent died by itself 4 times within an hour", 0},
	} {
		if d.died(step.early, step.crashed); d.tooMany(cfg) != step.want || d.inRow != step.inRow {
			t.Fatalf("after death %d: %q, %d in a row", n+1, d.tooMany(cfg), d.inRow)
		}
	}
}

func TestRefusedAgent(t *testing.T) {
	b := newBench(t, nil)
	if err := b.Start(sampleDecl, program(t, "contradicts")); err != nil {
		t.Fatal(err)
	}
	ev := next[AgentFailed](b)
	if !ev.Refused || !strings.Contains(ev.Reason, "attribute PathName is int in the agent, str in types.cf") {
		t.Fatalf("%+v", ev)
	}
	if b.PID("Sample") != 0 {
		t.Error("it runs")
	}
}

func TestSwapNewBuild(t *testing.T) {
	b := newBench(t, nil)
	path := program(t, "good")
	b.start(path)
	if _, err := b.Online(t.Context(), "Sample", b.res("app"), 0); err != nil {
		t.Fatal(err)
	}
	app, pid := readPID(t, filepath.Join(b.dir, "app")), b.PID("Sample")
	killLater(t, app)

	writeProgram(t, path, "contradicts")
	if err := b.Restart(t.Context(), "Sample"); err == nil || b.PID("Sample") != pid {
		t.Fatalf("a bad build: %v, agent %d, was %d", err, b.PID("Sample"), pid)
	}
	b.wantState("app", Online)

	writeProgram(t, path, "good-too")
	if err := b.Restart(t.Context(), "Sample"); err != nil {
		t.Fatal(err)
	}
	if down := next[AgentDown](b); !down.Planned {
		t.Errorf("%+v", down)
	}
	if up := next[AgentUp](b); up.Version != "1.0.8" {
		t.Errorf("%+v", up)
	}
	b.wantState("app", Online)
	if !alive(app) {
		t.Error("the application did not survive the swap")
	}
	if err := b.Stop(t.Context(), "Sample"); err != nil {
		t.Fatal(err)
	}
	if !alive(app) {
		t.Error("the application did not survive Stop")
	}
}

func TestOneHostPerDirectory(t *testing.T) {
	b := newBench(t, nil)
	if h, err := New(Config{Dir: filepath.Join(b.dir, "run"), Log: slog.Default()}); err == nil {
		h.Close()
		t.Fatal("two hosts in one directory")
	}
}

// A process id that somebody else has by now is left alone (R8).
func TestFormerAgentsPIDReused(t *testing.T) {
	stranger := exec.Command("/bin/sleep", "600")
	stranger.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	dir := t.TempDir()
	rec, err := newRecord(dir, "Sample")
	if err != nil {
		t.Fatal(err)
	}
	rec.PID, rec.StartTime = stranger.Process.Pid, 1
	if err := rec.write(); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.EndFormer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !alive(stranger.Process.Pid) {
		t.Error("a stranger was killed for its process id")
	}
}

func TestDamagedRecordStopsStart(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Sample.x.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Dir: dir, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.EndFormer(t.Context()); !errors.Is(err, ErrFormerAlive) || !strings.Contains(err.Error(), "Sample.x.json") {
		t.Fatalf("got %v", err)
	}
}

func FuzzLogLine(f *testing.F) {
	for _, seed := range []string{`{"@message": 1}`, `{"msg":"x","level":"WARN","a":{"b":[1]}}`, `{`, "plain", "\xff\x00", `{"@message":"m","@level":"error","@timestamp":7}`} {
		f.Add([]byte(seed))
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	f.Fuzz(func(_ *testing.T, line []byte) { logLine(line, log) })
}

// freeze stops a process and returns when none of its threads runs any more:
// the signal alone leaves them time for an answer.
func freeze(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the process to stop", func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		return err == nil && len(threads) > 0 && !slices.ContainsFunc(threads, func(path string) bool {
			text, err := os.ReadFile(path)
			return err != nil || !strings.Contains(string(text), ") T ")
		})
	})
}

// A8: an agent that is stopped answers nothing, not even Describe; it is killed
// at the end of the first call's time and replaced.
func TestFrozenAgent(t *testing.T) {
	b := newBench(t, nil)
	b.start(program(t, "good"))
	b.wantState("r", Offline)
	freeze(t, b.PID("Sample"))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := b.Monitor(ctx, "Sample", b.res("r"), false); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	next[AgentDown](b)
	next[AgentUp](b)
	b.wantState("r", Offline)
}

// AgentReplyTimeout and AgentStartTimeout are the type's: an idle agent that is
// stopped is noticed by nobody's call, ended and started again; one that never
// speaks is not waited for longer.
func TestAgentTimesOfItsType(t *testing.T) {
	b := newBench(t, func(c *Config) { c.GiveUpAfter = 1 })
	decl := sampleDecl
	decl.ReplyTimeout = 300 * time.Millisecond
	if err := b.Start(decl, program(t, "good")); err != nil {
		t.Fatal(err)
	}
	next[AgentUp](b)
	b.wantState("r", Offline)
	freeze(t, b.PID("Sample"))
	if down := next[AgentDown](b); down.Planned || !strings.Contains(down.Reason, "left Describe unanswered") {
		t.Fatalf("%+v", down)
	}
	next[AgentUp](b)
	b.wantState("r", Offline)

	mute := newBench(t, func(c *Config) { c.GiveUpAfter = 1 })
	decl.StartTimeout = 300 * time.Millisecond
	if err := mute.Start(decl, program(t, "silent")); err != nil {
		t.Fatal(err)
	}
	if ev := next[AgentFailed](mute); ev.Refused || !strings.Contains(ev.Reason, "timeout") {
		t.Fatalf("%+v", ev)
	}
}
