package server

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/gabclient"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// stopScript returns fencing.conf whose self-stop action writes its reason
// into the returned file.
func stopScript(t *testing.T) (conf, said string) {
	dir := t.TempDir()
	said = filepath.Join(dir, "said")
	script := filepath.Join(dir, "stop")
	if err := os.WriteFile(script, fmt.Appendf(nil, "#!/bin/sh\necho \"$1\" > %s.new && mv %s.new %s\n", said, said, said), 0o700); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("vxfen_mode=disabled\nself_stop=exec\nself_stop_exec=%s\n", script), said
}

// TestGapUnderSomethingProtected: R19, R2. Where something protected is
// online, a gab that stood still stops the system and says so to the others on
// it, instead of beginning again.
func TestGapUnderSomethingProtected(t *testing.T) {
	conf, said := stopScript(t)
	c := formed(t, 2, conf)
	h := c.attach(c.nodes[1], "h")
	nextView(t, h, 1)
	if err := h.Protect(1); err != nil {
		t.Fatal(err)
	}
	w, err := c.nodes[1].gab.WatchLease(context.Background(), &gabv1.WatchLeaseRequest{})
	if err != nil {
		t.Fatal(err)
	}
	l := c.nodes[1].server.now.Load()
	until(t, func() string {
		if l.current.Load().status.Protected {
			return ""
		}
		return "the core does not know what is protected"
	})
	go func() { // ends when the loop was held
		_ = l.do(context.Background(), func() { <-time.After(l.lease + 300*time.Millisecond) })
	}()
	until(t, func() string {
		text, err := os.ReadFile(said)
		if err != nil {
			return "the self-stop action did not run\n" + c.nodes[1].log.String()
		}
		if !strings.Contains(string(text), "longer than the lease") {
			t.Fatalf("reason %q", text)
		}
		return ""
	})
	for {
		r, err := w.Recv()
		if err != nil { // the stream may end before the last word; then it is as good as dead
			break
		}
		if r.GetLost() {
			break
		}
	}
	c.waitMembers(c.nodes[0], "a", "s0")
	if _, m := c.nodes[0].members("a"); m.GetPorts()[0].GetMembers()[0].GetName() != "s0" {
		t.Fatal("the stopped system came back")
	}
}

// TestHungProcess is no test of its own: TestSilentClientIsKilled runs it.
func TestHungProcess(t *testing.T) {
	socket := os.Getenv("GAB_TEST_SOCKET")
	if socket == "" {
		t.Skip("runs as a part of TestSilentClientIsKilled only")
	}
	g, err := gabclient.Attach(context.Background(), gabclient.Config{Socket: socket, Port: "d", Client: "hung", Alive: func() bool { return false }})
	if err != nil {
		t.Fatal(err)
	}
	for range g.Events() { // until somebody kills this process
	}
	<-time.After(time.Minute)
}

// TestSilentClientIsKilled: design 3.9. A client without heartbeats is killed
// and its port leaves the membership.
func TestSilentClientIsKilled(t *testing.T) {
	c := formed(t, 2, "")
	g := c.attach(c.nodes[0], "d")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHungProcess$")
	cmd.Env = append(os.Environ(), "GAB_TEST_SOCKET="+c.nodes[1].root.Socket("gab"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	nextView(t, g, 2)
	// Before it is killed, its stall is a state of its own, seen everywhere.
	until(t, func() string {
		m, err := c.nodes[0].gab.GetMembership(t.Context(), &gabv1.GetMembershipRequest{})
		for _, p := range m.GetPorts() {
			if p.GetPort() == "d" && len(p.GetStalled()) == 1 && p.GetStalled()[0].GetName() == "s1" {
				return ""
			}
		}
		return fmt.Sprint(m, err)
	})
	v := nextView(t, g, 1)
	if len(v.GetSystems()) != 2 || len(v.GetDaemonDownNodeIds()) != 1 || v.GetDaemonDownNodeIds()[0] != 1 {
		t.Errorf("view after the kill: %v", v)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("the client ended with %q", cmd.ProcessState)
	}
}

// TestClientThatCannotBeKilled_R2: design 3.9. A client hangs and outlives
// SIGKILL, here in a frozen cgroup: with something protected on the system, the
// system stops itself, which is what to isolate means, and says why.
func TestClientThatCannotBeKilled_R2(t *testing.T) {
	freezer := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("gab-test-%d", os.Getpid()))
	if err := os.Mkdir(freezer, 0o755); err != nil {
		t.Skipf("needs a freezer cgroup of its own, of version 1, in which processes outlive SIGKILL: %v", err)
	}
	t.Cleanup(func() { os.Remove(freezer) })
	set := func(file, value string) {
		if err := os.WriteFile(filepath.Join(freezer, file), []byte(value), 0o644); err != nil {
			t.Error(err)
		}
	}
	conf, said := stopScript(t)
	c := formed(t, 2, conf)
	if err := standing.WriteProtection(c.nodes[1].root, 1, []string{"web"}); err != nil { // as had does
		t.Fatal(err)
	}
	g := c.attach(c.nodes[0], "d")
	cmd := exec.Command(os.Args[0], "-test.run", "^TestHungProcess$")
	cmd.Env = append(os.Environ(), "GAB_TEST_SOCKET="+c.nodes[1].root.Socket("gab"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(func() { set("freezer.state", "THAWED") })
	nextView(t, g, 2) // it is on its port
	set("cgroup.procs", fmt.Sprint(cmd.Process.Pid))
	set("freezer.state", "FROZEN")
	until(t, func() string {
		text, err := os.ReadFile(said)
		if err != nil {
			return "the self-stop action did not run\n" + c.nodes[1].log.String()
		}
		if !strings.Contains(string(text), "hangs and cannot be killed") {
			t.Fatalf("reason %q", text)
		}
		return ""
	})
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the client died of SIGKILL: nothing is shown (%v)", err)
	}
	c.waitMembers(c.nodes[0], "a", "s0")
}
