package standing

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// The tests run real processes: this binary again, in the role of a daemon.
func TestMain(m *testing.M) {
	if role := os.Getenv("STANDING_TEST_ROLE"); role != "" {
		if err := play(role, paths.FromEnvironment()); err != nil {
			fmt.Fprintln(os.Stderr, role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// leaseServer is a gab that gives leases of 300 ms.
type leaseServer struct {
	gabv1.UnimplementedGabServiceServer
}

func (leaseServer) WatchLease(_ *gabv1.WatchLeaseRequest, stream grpc.ServerStreamingServer[gabv1.WatchLeaseResponse]) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		lease := &gabv1.Lease{ExpiresBoottimeNs: int64(Boottime().Add(300 * time.Millisecond))}
		if err := stream.Send(&gabv1.WatchLeaseResponse{Lease: lease}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// play is a daemon that does nothing but live; SIGTERM ends it in order.
func play(role string, root paths.Root) error {
	_ = os.Remove(root.Socket(role))
	listener, err := net.Listen("unix", root.Socket(role))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	if role == GAB {
		gabv1.RegisterGabServiceServer(server, leaseServer{})
	}
	terminate := make(chan os.Signal, 1) // one is enough
	signal.Notify(terminate, syscall.SIGTERM)
	failed := make(chan error, 1) // one result
	go func() { failed <- server.Serve(listener) }()
	if role == Had && os.Getenv("STANDING_TEST_KEEP") != "" {
		go func() {
			_ = KeepRunning(context.Background(), Keep{Root: root, Name: Hashadow, Program: self(Hashadow), Log: quiet()})
		}()
	}
	if role == Hashadow && os.Getenv("STANDING_TEST_KEEP") != "" {
		go func() {
			_ = KeepRunning(context.Background(), Keep{Root: root, Name: Had, Program: self(Had), Log: quiet()})
		}()
	}
	select {
	case <-terminate:
		return SayStopping(root, role)
	case err := <-failed:
		return err
	}
}

// self starts this binary again in another role; env passes the role on.
func self(role string) Program {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Program{Path: "/usr/bin/env", Args: []string{"STANDING_TEST_ROLE=" + role, exe}}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// stage is a system with real processes.
type stage struct {
	t    *testing.T
	root paths.Root
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "standing") // short: socket paths are bounded
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	root := paths.Root(dir)
	if err := root.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	return &stage{t: t, root: root}
}

// daemon starts a process in a role and waits until it listens.
func (s *stage) daemon(role string, env ...string) *exec.Cmd {
	s.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), append(env, "STANDING_TEST_ROLE="+role, "EVENKEEL_ROOT="+string(s.root))...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		<-done
	})
	p := s.find(role, func(p *Process) bool { return p.PID == cmd.Process.Pid })
	p.Close()
	return cmd
}

// find waits until the daemon listens and fits.
func (s *stage) find(role string, fits func(*Process) bool) *Process {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		p, err := Find(ctx, s.root, role)
		if err == nil && fits(p) {
			return p
		}
		if err == nil {
			p.Close()
		}
		pause(ctx, 5*time.Millisecond)
	}
	s.t.Fatalf("%s does not come up as expected", role)
	return nil
}

// watch runs Run; verdicts arrive as "stop: ..." or "leave: ...", and what is
// seen as "log: ...".
func (s *stage) watch(self string, grace time.Duration) <-chan string {
	said := make(chan string, 64) // a test makes fewer
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	log := slog.New(slog.NewTextHandler(writer(func(line string) {
		if i := strings.Index(line, "code="); i >= 0 {
			said <- "log: " + strings.TrimSpace(line[i:])
		}
	}), nil))
	go func() {
		defer close(done)
		err := Run(ctx, Config{
			Root: s.root, Self: self, Grace: grace, Log: log,
			Stop:  func(_ context.Context, reason string) { said <- "stop: " + reason },
			Leave: func(reason string) { said <- "leave: " + reason },
		})
		if err != nil {
			said <- "error: " + err.Error()
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return said
}

type writer func(string)

func (w writer) Write(p []byte) (int, error) { w(string(p)); return len(p), nil }

// expect waits for a line that holds all the words; another verdict fails.
func (s *stage) expect(said <-chan string, within time.Duration, words ...string) {
	s.t.Helper()
	timeout := time.After(within)
next:
	for {
		select {
		case line := <-said:
			for _, word := range words {
				if !strings.Contains(line, word) {
					if strings.HasPrefix(line, "log: ") {
						continue next
					}
					s.t.Fatalf("got %q, want %q", line, words)
				}
			}
			return
		case <-timeout:
			s.t.Fatalf("no %q within %v", words, within)
		}
	}
}

// calm waits and fails at any verdict.
func (s *stage) calm(said <-chan string, d time.Duration) {
	s.t.Helper()
	timeout := time.After(d)
	for {
		select {
		case line := <-said:
			if !strings.HasPrefix(line, "log: ") {
				s.t.Fatalf("unexpected %q", line)
			}
		case <-timeout:
			return
		}
	}
}

func (s *stage) protect(n uint32) {
	s.t.Helper()
	if err := WriteProtection(s.root, n, []string{"g1"}); err != nil {
		s.t.Fatal(err)
	}
}

// R2: gab killed under something protected: each survivor stops the system.
func TestR2GabKilled(t *testing.T) {
	s := newStage(t)
	s.protect(2)
	gab := s.daemon(GAB)
	said := s.watch(Fencing, 0)
	also := s.watch(Hashadow, 0)
	s.expect(said, 5*time.Second, "peer-seen", "gab")
	s.expect(also, 5*time.Second, "peer-seen", "gab")
	_ = gab.Process.Kill()
	s.expect(said, 250*time.Millisecond, "stop: gab died")
	s.expect(also, 250*time.Millisecond, "stop: gab died")
}

// R2: a system with nothing protected leaves the cluster instead.
func TestR2NothingProtected(t *testing.T) {
	s := newStage(t)
	gab := s.daemon(GAB)
	said := s.watch(Fencing, 0)
	s.expect(said, 5*time.Second, "peer-seen", "gab")
	_ = gab.Process.Kill()
	s.expect(said, time.Second, "leave: gab died")
}

// R2, R6: a gab that is stopped by a signal misses its lease of 300 ms.
func TestR2GabFrozen(t *testing.T) {
	s := newStage(t)
	s.protect(1)
	gab := s.daemon(GAB)
	said := s.watch(Hashadow, 0)
	s.expect(said, 5*time.Second, "peer-seen", "gab")
	s.calm(said, 700*time.Millisecond) // leases are renewed
	_ = gab.Process.Signal(syscall.SIGSTOP)
	s.expect(said, time.Second, "stop: gab missed its lease")
}

// R2: fencing or hashadow may be missing for the grace and no longer.
func TestR2FencingKilled(t *testing.T) {
	s := newStage(t)
	s.protect(1)
	fencing := s.daemon(Fencing)
	said := s.watch(GAB, time.Second)
	s.expect(said, 5*time.Second, "peer-seen", "fencing")
	_ = fencing.Process.Kill()
	s.expect(said, time.Second, "peer-missing", "fencing")
	fencing = s.daemon(Fencing) // back in time
	s.expect(said, time.Second, "peer-seen", "fencing")
	s.calm(said, 1200*time.Millisecond)
	_ = fencing.Process.Kill()
	s.expect(said, 3*time.Second, "stop: fencing died", "still missing after 1s")
}

// R2: a hashadow that hangs is as missing as a dead one.
func TestR2HashadowFrozen(t *testing.T) {
	s := newStage(t)
	s.protect(1)
	shadow := s.daemon(Hashadow)
	said := s.watch(GAB, 500*time.Millisecond)
	s.expect(said, 5*time.Second, "peer-seen", "hashadow")
	_ = shadow.Process.Signal(syscall.SIGSTOP)
	s.expect(said, time.Second, "peer-missing", "hashadow")
	_ = shadow.Process.Signal(syscall.SIGCONT)
	s.expect(said, time.Second, "peer-seen", "hashadow")
	s.calm(said, 700*time.Millisecond)
	_ = shadow.Process.Signal(syscall.SIGSTOP)
	s.expect(said, 3*time.Second, "stop: hashadow is stopped by a signal")
}

// R2: any two killed together are noticed by the third.
func TestR2TwoKilledTogether(t *testing.T) {
	for _, dead := range [][2]string{{GAB, Fencing}, {GAB, Hashadow}, {Fencing, Hashadow}} {
		s := newStage(t)
		s.protect(1)
		third := map[string]string{GAB + Fencing: Hashadow, GAB + Hashadow: Fencing, Fencing + Hashadow: GAB}[dead[0]+dead[1]]
		a, b := s.daemon(dead[0]), s.daemon(dead[1])
		said := s.watch(third, 300*time.Millisecond)
		s.expect(said, 5*time.Second, "peer-seen")
		s.expect(said, 5*time.Second, "peer-seen")
		_, _ = a.Process.Kill(), b.Process.Kill()
		s.expect(said, 2*time.Second, "stop: ")
	}
}

// R2: an ordered stop is no death; a crash never looks like one, not even
// when an earlier process of the same name had stopped in order.
func TestR2OrderedStop(t *testing.T) {
	s := newStage(t)
	s.protect(1)
	shadow := s.daemon(Hashadow)
	said := s.watch(GAB, 200*time.Millisecond)
	s.expect(said, 5*time.Second, "peer-seen", "hashadow")
	_ = shadow.Process.Signal(syscall.SIGTERM)
	s.expect(said, 5*time.Second, "peer-left", "hashadow") // the race detector sleeps 1 s at exit
	s.calm(said, 500*time.Millisecond)
	if _, err := os.Stat(stoppingFile(s.root, Hashadow)); err != nil {
		t.Fatal(err)
	}
	shadow = s.daemon(Hashadow)
	s.expect(said, time.Second, "peer-seen", "hashadow")
	_ = shadow.Process.Kill()
	s.expect(said, 2*time.Second, "stop: hashadow died")
}

// R2: had and hashadow restart each other, again and again; an ordered stop
// of had ends it.
func TestR2KeepRunning(t *testing.T) {
	t.Setenv("STANDING_TEST_KEEP", "yes")
	s := newStage(t)
	s.daemon(Hashadow)
	any := func(*Process) bool { return true }
	had, shadow := s.find(Had, any), s.find(Hashadow, any)
	defer func() { // ends what this test's processes started
		_ = shadow.Signal(unix.SIGKILL)
		_ = had.Signal(unix.SIGKILL)
	}()
	for range 3 {
		_ = had.Signal(unix.SIGKILL)
		old := had.PID
		had = s.find(Had, func(p *Process) bool { return p.PID != old })
		_ = shadow.Signal(unix.SIGKILL)
		old = shadow.PID
		shadow = s.find(Hashadow, func(p *Process) bool { return p.PID != old })
	}
	_ = had.Signal(unix.SIGTERM)
	if err := had.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !had.Ordered() {
		t.Fatal("had ended by SIGTERM, and yet not in order")
	}
	if shadow.Exited(300 * time.Millisecond) {
		t.Fatal("hashadow went down with had")
	}
	if p, err := Find(t.Context(), s.root, Had); err == nil {
		t.Fatalf("had was started again (pid %d) after an ordered stop", p.PID)
	}
}

// What was asked of one start (hastart -force) is not asked of the next ones.
func TestKeepRunningAgain(t *testing.T) {
	s := newStage(t)
	t.Setenv("EVENKEEL_ROOT", string(s.root))
	ctx, cancel := context.WithCancel(t.Context())
	program := self(Had)
	again := program.Args
	program.Args = append(slices.Clone(again), "-force")
	ended, up := make(chan error, 1), make(chan bool, 16) // one result; some restarts
	go func() {
		ended <- KeepRunning(ctx, Keep{Root: s.root, Name: Had, Program: program, Again: again, Log: quiet(), Up: func(is bool) { up <- is }})
	}()
	last := 0
	for _, want := range []bool{true, false, false} {
		for is := range up { // until it is known to be up
			if is {
				break
			}
		}
		had := s.find(Had, func(p *Process) bool { return p.PID != last })
		last = had.PID
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", had.PID))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(line), "-force"); got != want {
			t.Errorf("had runs as %q", line)
		}
		_ = had.Signal(unix.SIGKILL)
		had.Close()
	}
	cancel()
	<-ended
	if p, err := Find(t.Context(), s.root, Had); err == nil {
		_ = p.Signal(unix.SIGKILL)
		p.Close()
	}
}

// R2: what had declared is there for every daemon; nothing declared means
// nothing protected, a broken declaration means protected, and one of an
// earlier boot means nothing.
func TestR2Protection(t *testing.T) {
	s := newStage(t)
	if n := Resources(s.root); n != 0 {
		t.Errorf("nothing declared: %d", n)
	}
	if err := WriteProtection(s.root, 3, []string{"b", "a", "b"}); err != nil {
		t.Fatal(err)
	}
	p, declared, err := ReadProtection(s.root)
	if err != nil || !declared || p.Resources != 3 || strings.Join(p.Groups, ",") != "a,b" {
		t.Errorf("got %+v, %v, %v", p, declared, err)
	}
	if err := os.WriteFile(protectionFile(s.root), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := Resources(s.root); n == 0 {
		t.Error("a broken declaration must count as protected")
	}
	if err := os.WriteFile(protectionFile(s.root), []byte(`{"resources":3,"boot":"earlier"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := Resources(s.root); n != 0 {
		t.Errorf("a declaration of an earlier boot counts as %d", n)
	}
}

func FuzzSaidStopping(f *testing.F) {
	f.Add("1 2")
	f.Add("")
	f.Add("18446744073709551615 x")
	dir := paths.Root(f.TempDir())
	if err := dir.MakeRunDirs(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(stoppingFile(dir, Had), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if saidStopping(dir, Had, 12, 34) != (strings.TrimSpace(text) == "12 34") {
			t.Fatalf("%q", text)
		}
	})
}
