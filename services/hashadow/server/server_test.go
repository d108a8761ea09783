package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/selfstop"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// The tests run real processes: this binary again, as had, hashadow or
// fencing.
func TestMain(m *testing.M) {
	if role := os.Getenv("SHADOW_TEST_ROLE"); role != "" {
		if err := play(role, paths.FromEnvironment()); err != nil {
			fmt.Fprintln(os.Stderr, role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func as(role string) standing.Program {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return standing.Program{Path: "/usr/bin/env", Args: []string{"SHADOW_TEST_ROLE=" + role, exe}}
}

func play(role string, root paths.Root) error {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch role {
	case standing.Hashadow:
		stopper, err := selfstop.Load(root)
		if err != nil {
			return err
		}
		shadow, err := New(Config{Root: root, Had: as(standing.Had), Stopper: stopper, Log: log, Grace: 500 * time.Millisecond})
		if err != nil {
			return err
		}
		context.AfterFunc(ctx, shadow.OrderedStop)
		return shadow.Run(context.Background())
	case standing.Had:
		go func() {
			_ = standing.KeepRunning(context.Background(), standing.Keep{Root: root, Name: standing.Hashadow, Program: as(standing.Hashadow), Log: log})
		}()
	}
	if err := localrpc.New(root.Socket(role), log).Serve(ctx); err != nil {
		return err
	}
	return standing.SayStopping(root, role)
}

type stage struct {
	t    *testing.T
	root paths.Root
}

// newStage is a system whose self-stop program leaves a word in the file
// "stopped".
func newStage(t *testing.T) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "shadow")
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, root: paths.Root(dir)}
	t.Cleanup(func() {
		s.end()
		os.RemoveAll(dir)
	})
	if err := s.root.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.root.ConfigDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "stop")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf %s \"$1\" > "+dir+"/stopped.new && mv "+dir+"/stopped.new "+dir+"/stopped\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.root.Config("fencing.conf"), fmt.Appendf(nil, "self_stop=%s\nself_stop_exec=%s\n", conf.ActionExec, program), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EVENKEEL_ROOT", dir)
	return s
}

// end kills what the test's daemons have started, by pidfd: hashadow and had
// restart each other, so until neither comes back.
func (s *stage) end() {
	quiet := 0
	for quiet < 5 {
		quiet++
		for _, name := range []string{standing.Hashadow, standing.Had} {
			if p, err := standing.Find(context.Background(), s.root, name); err == nil {
				quiet = 0
				_ = p.Signal(unix.SIGKILL)
				p.Exited(time.Second)
				p.Close()
			}
		}
		wait(20 * time.Millisecond)
	}
}

func wait(d time.Duration) { <-time.NewTimer(d).C }

func (s *stage) run(role string) *exec.Cmd {
	s.t.Helper()
	p := as(role)
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	s.t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	s.find(role, func(p *standing.Process) bool { return p.PID == cmd.Process.Pid }).Close()
	return cmd
}

func (s *stage) find(role string, fits func(*standing.Process) bool) *standing.Process {
	s.t.Helper()
	for range 1000 {
		p, err := standing.Find(context.Background(), s.root, role)
		if err == nil && fits(p) {
			return p
		}
		if err == nil {
			p.Close()
		}
		wait(10 * time.Millisecond)
	}
	s.t.Fatalf("%s does not come up as expected", role)
	return nil
}

func anyProcess(*standing.Process) bool { return true }

func other(pid int) func(*standing.Process) bool {
	return func(p *standing.Process) bool { return p.PID != pid }
}

// had killed alone, many times: it is back, and hashadow stays. Young deaths
// are spaced by the back-off.
func TestHadIsStartedAgain(t *testing.T) {
	s := newStage(t)
	shadow := s.run(standing.Hashadow)
	had := s.find(standing.Had, anyProcess)
	for range 4 {
		_ = had.Signal(unix.SIGKILL)
		next := s.find(standing.Had, other(had.PID))
		had.Close()
		had = next
	}
	if p := s.find(standing.Hashadow, anyProcess); p.PID != shadow.Process.Pid {
		t.Errorf("hashadow is another process: %d, was %d", p.PID, shadow.Process.Pid)
	}
	conn, err := grpc.NewClient("unix:"+s.root.Socket(standing.Hashadow), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{Service: standing.Had})
	if err != nil || h.GetStatus() == healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
		t.Errorf("health of had: %v, %v", h, err)
	}
}

// hashadow killed alone: had starts it again, and it adopts had instead of
// starting a second one.
func TestHashadowIsStartedAgain(t *testing.T) {
	s := newStage(t)
	s.run(standing.Hashadow)
	had, shadow := s.find(standing.Had, anyProcess), s.find(standing.Hashadow, anyProcess)
	_ = shadow.Signal(unix.SIGKILL)
	again := s.find(standing.Hashadow, other(shadow.PID))
	if had.Exited(500 * time.Millisecond) {
		t.Fatal("had went down with hashadow")
	}
	// The new one keeps the old had: it notices its death.
	_ = had.Signal(unix.SIGKILL)
	s.find(standing.Had, other(had.PID))
	if again.Exited(0) {
		t.Error("hashadow went down with had")
	}
}

// hastop: had says that it stops in order; hashadow follows and starts nothing.
func TestOrderedStopOfHad(t *testing.T) {
	s := newStage(t)
	if err := standing.WriteProtection(s.root, 1, nil); err != nil { // hastop -force
		t.Fatal(err)
	}
	s.run(standing.Hashadow)
	had, shadow := s.find(standing.Had, anyProcess), s.find(standing.Hashadow, anyProcess)
	_ = had.Signal(unix.SIGTERM)
	if !shadow.Exited(5*time.Second) || !shadow.Ordered() {
		t.Fatal("hashadow does not follow in order")
	}
	if _, err := standing.Find(t.Context(), s.root, standing.Had); err == nil {
		t.Error("had was started again")
	}
}

// SIGTERM to hashadow ends the watching; had runs on and leaves it so.
func TestOrderedStopOfHashadow(t *testing.T) {
	s := newStage(t)
	s.run(standing.Hashadow)
	had, shadow := s.find(standing.Had, anyProcess), s.find(standing.Hashadow, anyProcess)
	_ = shadow.Signal(unix.SIGTERM)
	if !shadow.Exited(5*time.Second) || !shadow.Ordered() {
		t.Fatal("hashadow did not end in order")
	}
	if had.Exited(500 * time.Millisecond) {
		t.Fatal("had went down with hashadow")
	}
	if _, err := standing.Find(t.Context(), s.root, standing.Hashadow); err == nil {
		t.Error("had started hashadow again after an ordered stop")
	}
}

// R2: fencing dies for good under something protected: hashadow runs the
// self-stop after the grace.
func TestSelfStopWithoutFencing(t *testing.T) {
	s := newStage(t)
	if err := standing.WriteProtection(s.root, 1, []string{"g"}); err != nil {
		t.Fatal(err)
	}
	fencing := s.run(standing.Fencing)
	s.run(standing.Hashadow)
	s.find(standing.Had, anyProcess)
	wait(300 * time.Millisecond) // nothing happens while all is well
	if _, err := os.Stat(filepath.Join(string(s.root), "stopped")); err == nil {
		t.Fatal("stopped without a cause")
	}
	_ = fencing.Process.Kill()
	for range 500 {
		text, err := os.ReadFile(filepath.Join(string(s.root), "stopped"))
		if err == nil {
			if want := "fencing died"; len(text) < len(want) || string(text[:len(want)]) != want {
				t.Fatalf("reason %q", text)
			}
			return
		}
		wait(10 * time.Millisecond)
	}
	t.Fatal("no self-stop")
}

func TestNewRefusesAMissingHad(t *testing.T) {
	for _, path := range []string{"had", "/nonexistent/had"} {
		if _, err := New(Config{Had: standing.Program{Path: path}}); err == nil {
			t.Errorf("%q accepted", path)
		}
	}
}
