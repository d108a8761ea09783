package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

// attrs makes a resource that no other process on the machine looks like.
func attrs(t *testing.T) map[string]any {
	path := filepath.Join(t.TempDir(), "sleep")
	real, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, path); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"PathName": path, "Arguments": "600"}
}

func TestConformance(t *testing.T) { agenttest.Run(t, New(), attrs(t)) }

func TestScriptConformance(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nwhile :; do sleep 0.1; done\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	agenttest.Run(t, New(), map[string]any{"PathName": path, "Arguments": "'a b' c", "Priority": 0})
}

func online(t *testing.T, p *agenttest.Process, r *agentv1.Resource) {
	t.Helper()
	if _, err := p.Online(t.Context(), &agentv1.OnlineRequest{Resource: r}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = p.Clean(context.Background(), &agentv1.CleanRequest{Resource: r, Reason: agentv1.CleanReason_CLEAN_REASON_UNEXPECTED_OFFLINE})
	})
}

func state(t *testing.T, p *agenttest.Process, r *agentv1.Resource) agentv1.State {
	t.Helper()
	out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: r})
	if err != nil {
		t.Fatal(err)
	}
	return out.GetStatus().GetState()
}

// pidOf finds the process by its command line, as an administrator would.
func pidOf(t *testing.T, path string) int {
	t.Helper()
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		text, _ := os.ReadFile(dir + "/cmdline")
		if first, _, _ := strings.Cut(string(text), "\x00"); first == path {
			pid, _ := strconv.Atoi(filepath.Base(dir))
			return pid
		}
	}
	t.Fatalf("no process runs %s", path)
	return 0
}

// A kill is reported at once, not at the next poll.
func TestWatchReportsKillAtOnce(t *testing.T) {
	p := agenttest.Start(t)
	a := attrs(t)
	r := agenttest.Resource(t, "p", a)
	stream, err := p.Watch(t.Context(), &agentv1.WatchRequest{Resource: r})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want agentv1.State) {
		t.Helper()
		news, err := stream.Recv()
		if err != nil || news.GetStatus().GetState() != want {
			t.Fatalf("watch: %v %v, want %v", news, err, want)
		}
	}
	next(agentv1.State_STATE_OFFLINE)
	worst := time.Duration(0)
	for range 7 {
		online(t, p, r)
		next(agentv1.State_STATE_ONLINE)
		pid := pidOf(t, a["PathName"].(string))
		begin := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next(agentv1.State_STATE_OFFLINE)
		worst = max(worst, time.Since(begin))
	}
	t.Logf("kill to report: %v at worst of 7", worst)
	if worst > 100*time.Millisecond {
		t.Errorf("a kill was reported after %v, want at most 100 ms", worst)
	}
}

// What ignores SIGTERM is killed, within the timeout.
func TestOfflineKillsTheStubborn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stubborn")
	ready := path + ".ready"
	if err := os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\ntrap '' TERM\n: >%s\nwhile :; do sleep 0.05; done\n", ready), 0o755); err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "p", map[string]any{"PathName": path})
	online(t, p, r)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(ready); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the script did not start")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := p.Offline(ctx, &agentv1.OfflineRequest{Resource: r}); err != nil {
		t.Fatal(err)
	}
	if got := state(t, p, r); got != agentv1.State_STATE_OFFLINE {
		t.Error(got)
	}
}

func TestArgumentsCount(t *testing.T) {
	p := agenttest.Start(t)
	a := attrs(t)
	online(t, p, agenttest.Resource(t, "p", a))
	a["Arguments"] = "601"
	if got := state(t, p, agenttest.Resource(t, "p", a)); got != agentv1.State_STATE_OFFLINE {
		t.Errorf("other arguments: %v", got)
	}
	a["IgnoreArgs"] = true
	if got := state(t, p, agenttest.Resource(t, "p", a)); got != agentv1.State_STATE_ONLINE {
		t.Errorf("IgnoreArgs: %v", got)
	}
}

// A zombie is gone; kill -0 would say otherwise.
func TestZombieIsOffline(t *testing.T) {
	a := attrs(t)
	cmd := exec.Command(a["PathName"].(string), "0.01")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	stat := fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid)
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(stat)
		if err == nil && strings.Contains(string(text), ") Z ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no zombie came about")
		}
	}
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, cmd.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	a["IgnoreArgs"] = true
	for _, file := range []string{"", pidFile} {
		a["PidFile"] = file
		if got := state(t, p, agenttest.Resource(t, "p", a)); got != agentv1.State_STATE_OFFLINE {
			t.Errorf("PidFile %q: %v", file, got)
		}
	}
}

// A pid file that names somebody else's process is no proof.
func TestPidFileOfStranger(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	a := attrs(t)
	a["PidFile"] = pidFile
	r := agenttest.Resource(t, "p", a)
	if got := state(t, p, r); got != agentv1.State_STATE_OFFLINE {
		t.Error(got)
	}
	if _, err := p.Clean(t.Context(), &agentv1.CleanRequest{Resource: r}); err != nil {
		t.Fatal(err) // and this test still lives
	}
}

// Another laboratory system's process on the same machine is not ours.
func TestOtherRootIsNotOurs(t *testing.T) {
	a := attrs(t)
	cmd := exec.Command(a["PathName"].(string), "600")
	cmd.Env = append(os.Environ(), envRoot+"=/somewhere/else")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := agenttest.Start(t)
	if got := state(t, p, agenttest.Resource(t, "p", a)); got != agentv1.State_STATE_OFFLINE {
		t.Error(got)
	}
}

func TestSplitArgs(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "[]"}, {"  a  b ", `["a" "b"]`}, {`'a b' "c 'd'" ''`, `["a b" "c 'd'" ""]`}, {`a"b c"d`, `["ab cd"]`},
	} {
		if got, err := splitArgs(c.in); err != nil || fmt.Sprintf("%q", got) != c.want {
			t.Errorf("%q: %q %v, want %s", c.in, got, err, c.want)
		}
	}
	if _, err := splitArgs(`"open`); err == nil {
		t.Error("an open quote went through")
	}
}

func FuzzSplitArgs(f *testing.F) {
	f.Add(`'a b' "c`)
	f.Fuzz(func(t *testing.T, text string) {
		args, err := splitArgs(text)
		if err == nil && len(strings.Join(args, "")) > 3*len(text) {
			t.Errorf("%q grew to %q", text, args)
		}
	})
}

// A stopped process is there for the plain monitor and serves nobody for the
// detailed one.
func TestDetailedMonitorSeesStopped(t *testing.T) {
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "p", attrs(t))
	online(t, p, r)
	info, err := p.Info(t.Context(), &agentv1.InfoRequest{Resource: r})
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(info.GetFacts()["Pid"])
	if err != nil || info.GetFacts()["Processes"] != "1" {
		t.Fatalf("facts %v", info.GetFacts())
	}
	if rss, err := strconv.Atoi(info.GetFacts()["RSS"]); err != nil || rss < 4096 {
		t.Errorf("RSS %q", info.GetFacts()["RSS"])
	}
	began, err := time.Parse(time.RFC3339, info.GetFacts()["Start"])
	if age := time.Since(began); err != nil || age < -2*time.Second || age > time.Minute {
		t.Errorf("Start %q: %v ago, %v", info.GetFacts()["Start"], age, err)
	}
	look := func(detailed bool) agentv1.State {
		out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: r, Detailed: detailed})
		if err != nil {
			t.Fatal(err)
		}
		return out.GetStatus().GetState()
	}
	if got := look(true); got != agentv1.State_STATE_ONLINE {
		t.Errorf("running, detailed: %v", got)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); look(true) != agentv1.State_STATE_OFFLINE; {
		if time.Now().After(deadline) {
			t.Fatal("a stopped process passes the detailed monitor")
		}
	}
	if got := look(false); got != agentv1.State_STATE_ONLINE {
		t.Errorf("stopped, plain: %v", got)
	}
}

// program.vfd and user.vfd say what would keep the program from starting.
func TestActions(t *testing.T) {
	p := agenttest.Start(t)
	good := attrs(t)
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		token string
		attrs map[string]any
		code  int32
		words string
	}{
		{"program.vfd", good, 0, "can be run"},
		{"program.vfd", map[string]any{"PathName": plain}, 1, "is no program: chmod +x"},
		{"program.vfd", map[string]any{"PathName": "/nowhere/x"}, 1, "no such file"},
		{"user.vfd", good, 0, "root is uid 0"},
		{"user.vfd", map[string]any{"PathName": plain, "UserName": "nobody-of-that-name"}, 1, "unknown user"},
	} {
		out, err := p.Action(t.Context(), &agentv1.ActionRequest{Resource: agenttest.Resource(t, "p", c.attrs), Token: c.token})
		if err != nil || out.GetExitCode() != c.code || !strings.Contains(out.GetOutput(), c.words) {
			t.Errorf("%s %v: %v %v, want %d %q", c.token, c.attrs, out, err, c.code, c.words)
		}
	}
}
