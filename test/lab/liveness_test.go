package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestStalledEngine: an engine that stands still leaves port h alone. The links
// and the membership of systems stay, nobody is powered off, and the others see
// a system whose engine is away. Brought back, it is a member again.
func TestStalledEngine(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-disabled", false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	// The engine is away for a moment only, until hashadow has started another:
	// it is in the log, whenever one looks.
	away := func() int {
		n := 0
		for line := range strings.Lines(c.must("Server1", "cat", "/var/log/evenkeel/gab_A.log")) {
			if strings.Contains(line, `"msg":"view"`) && strings.Contains(line, `"port":"h"`) && strings.Contains(line, `"members":1,"systems":2`) {
				n++
			}
		}
		return n
	}
	before := away()
	c.must("Server2", "pkill", "-STOP", "-x", "had")
	if err := Until(c.within(40*time.Second), "a view of port h without Server2, which is on port a", func(context.Context) (bool, string) {
		return away() > before, "none"
	}); err != nil {
		t.Fatal(err)
	}
	c.shows("Server1", "lltstat -nvv configured", "Server2", "OPEN")
	c.waitPorts("Server1", "01", "01") // gab ends an engine that is silent, hashadow starts another
	c.waitSystem("Server1", "Server2", "RUNNING", 30*time.Second)
	for _, system := range []string{"Server1", "Server2"} {
		log := c.must(system, "cat", "/var/log/evenkeel/gab_A.log")
		if strings.Contains(log, `"peer is down"`) || strings.Contains(log, "link-expired") {
			t.Errorf("the engine's standstill cost %s a link or a peer:\n%s", system, grepLines(log, "peer is", "link-"))
		}
	}
}

// TestMemoryPressure: with the engine of a system in a memory cgroup that a hog
// fills again and again until the kernel kills one of them, no link and no peer
// is lost: what keeps a system alive is neither the engine nor memory that it
// has not locked.
func TestMemoryPressure(t *testing.T) {
	needsRoot(t)
	group := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("evenkeel-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("needs a memory cgroup of its own: %v", err)
	}
	defer os.Remove(group)
	set := func(file, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, file), []byte(value), 0o644); err != nil {
			t.Skipf("needs the memory controller: %v", err)
		}
	}
	set("memory.limit_in_bytes", strconv.Itoa(192<<20))
	c := start(t, "testdata/address-disabled", false)
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
	status, err := c.Status(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range status.Systems {
		if s.Name == "Server1" {
			set("cgroup.procs", strconv.Itoa(s.Pids["had"]))
		}
	}
	hog := c.Command(c.ctx, "client", "sh", "-c", "echo $$; read go; for i in 1 2 3 4 5 6; do tail /dev/zero; done")
	in, err := hog.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	set("cgroup.procs", strconv.Itoa(hog.Process.Pid))
	fmt.Fprintln(in, "go")
	_ = hog.Wait() // its last child was killed
	c.waitPorts("Server2", "01", "01")
	log := c.must("Server2", "cat", "/var/log/evenkeel/gab_A.log")
	if strings.Contains(log, `"peer is down"`) || strings.Contains(log, "link-expired") {
		t.Errorf("memory pressure on Server1 cost a link or the peer:\n%s", grepLines(log, "peer is", "link-"))
	}
	full, err := os.ReadFile(filepath.Join(group, "memory.failcnt"))
	if err != nil || strings.TrimSpace(string(full)) == "0" {
		t.Errorf("the memory was never short: failcnt %q, error %v", full, err)
	}
	c.waitGroup("Server2", "svc", "Server1", online, 20*time.Second)
}

// waitPorts waits until gabconfig -a on a system shows the members of ports a
// and h.
func (c *cluster) waitPorts(system, a, h string) {
	c.t.Helper()
	err := Until(c.within(40*time.Second), "port a with "+a+" and port h with "+h, func(ctx context.Context) (bool, string) {
		out, err := c.Must(ctx, system, "gabconfig", "-a")
		if err != nil {
			return false, err.Error()
		}
		return portMembers(out, "a") == a && portMembers(out, "h") == h, out
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func portMembers(out, port string) string {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) >= 6 && f[0] == "Port" && f[1] == port && f[4] == "membership" {
			return f[5]
		}
	}
	return ""
}

func grepLines(text string, words ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, w := range words {
			if strings.Contains(line, w) {
				b.WriteString(line)
				break
			}
		}
	}
	return b.String()
}

// TestEngineThatCannotBeKilled_R2: an engine hangs and the kernel does not carry out
// gab's SIGKILL, here because it lies in a frozen cgroup. gab isolates the system,
// which is to stop it (R2): the power goes, and only when the last of its
// processes is gone does the group start elsewhere (R1, R4).
func TestEngineThatCannotBeKilled_R2(t *testing.T) {
	needsRoot(t)
	group := filepath.Join("/sys/fs/cgroup/freezer", fmt.Sprintf("evenkeel-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("needs a freezer cgroup of its own, of version 1, in which processes outlive SIGKILL: %v", err)
	}
	t.Cleanup(func() { os.Remove(group) })
	set := func(file, value string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(group, file), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := start(t, "testdata/address-fenced", false)
	t.Cleanup(func() { os.WriteFile(filepath.Join(group, "freezer.state"), []byte("THAWED"), 0o644) })
	owner, other := c.ownerOf("svc", "Server1", "Server2")
	pids := func(ctx context.Context) map[string]int {
		status, err := c.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range status.Systems {
			if s.Name == owner {
				return s.Pids
			}
		}
		return nil
	}
	had := pids(c.ctx)["had"]
	set("cgroup.procs", strconv.Itoa(had))
	set("freezer.state", "FROZEN")
	// What others see first: an engine that hangs, on a system that lives.
	c.untilOut(20*time.Second, other, []string{"gabconfig", "-a"}, "Port h", "stalled")
	// gab has told it to die, in vain, and stops the system.
	if err := Until(c.within(60*time.Second), "gab of "+owner+" to end with its system", func(ctx context.Context) (bool, string) {
		p := pids(ctx)
		return p["gab"] == 0, fmt.Sprint(p)
	}); err != nil {
		t.Fatal(err)
	}
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", had)); err != nil || strings.Contains(string(stat), ") Z ") {
		t.Fatalf("the engine died of SIGKILL: nothing is shown (%v)", err)
	}
	if out := c.must(other, "hagrp", "-state", "svc", "-sys", other); strings.Contains(out, "ONLINE") {
		t.Errorf("svc is on %s while a process of %s can still wake: %s", other, owner, out)
	}
	set("freezer.state", "THAWED")
	c.waitPower(owner, "off", 30*time.Second)
	c.waitGroup(other, "svc", other, online, 30*time.Second)
	if out := c.must(other, "ha", "group", "explain", "svc"); !strings.Contains(out, "POWERED_OFF") {
		t.Errorf("the explanation does not name the evidence POWERED_OFF (R1):\n%s", out)
	}
}
