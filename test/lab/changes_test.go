package lab

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// had returns the configuration service of a system, and the process that
// serves it.
func (c *cluster) had(system string) (hadv1.ConfigServiceClient, int) {
	c.t.Helper()
	st, err := c.Status(c.ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range st.Systems {
		if s.Name != system {
			continue
		}
		pid := s.Pids["had"]
		conn, err := grpc.NewClient(fmt.Sprintf("unix:/proc/%d/root/run/evenkeel/had.sock", pid), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { conn.Close() })
		return hadv1.NewConfigServiceClient(conn), pid
	}
	c.t.Fatalf("no system %s", system)
	return nil, 0
}

func configEdits(script string) []*hadv1.ConfigEdit {
	var out []*hadv1.ConfigEdit
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		out = append(out, &hadv1.ConfigEdit{Args: strings.Fields(line)})
	}
	return out
}

// configState asks until it is as wanted.
func (c *cluster) untilConfig(system, what string, is func(*hadv1.ConfigState) bool) {
	c.t.Helper()
	had, _ := c.had(system)
	err := Until(c.within(20*time.Second), what, func(ctx context.Context) (bool, string) {
		got, err := had.GetConfigState(ctx, &hadv1.GetConfigStateRequest{})
		return err == nil && is(got.GetState()), fmt.Sprint(got.GetState(), err)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// sameDisks checks that the systems' copies are equal, whole and not stale.
func (c *cluster) sameDisks(systems ...string) string {
	c.t.Helper()
	first := ""
	for _, s := range systems {
		if out, err := c.Exec(c.ctx, s, "hacf", "-verify", "/etc/evenkeel"); err != nil || out.Code != 0 || out.Out+out.Err != "" {
			c.t.Errorf("the copy of %s is not whole: %v %+v", s, err, out)
		}
		if out, _ := c.Exec(c.ctx, s, "test", "-e", "/etc/evenkeel/.stale"); out.Code == 0 {
			c.t.Errorf("the copy of %s is stale", s)
		}
		text := c.must(s, "cat", "/etc/evenkeel/main.cf")
		if first == "" {
			first = text
		} else if text != first {
			c.t.Errorf("the copies differ:\n%s\non %s:\n%s", first, s, text)
		}
	}
	return first
}

// TestChangeWhileRunning: a group and a resource are added to three running
// systems and brought online; dumps reach every disk; killing a had, and the
// power of a system in the middle of dumps, leave every disk whole (I6); what
// is applied and not confirmed is reverted.
func TestChangeWhileRunning(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/parallel", false)
	for _, s := range []string{"A", "B", "C"} {
		c.waitGroup("A", "svc", s, online, 30*time.Second)
	}
	had, _ := c.had("A")
	if _, err := had.MakeWritable(c.ctx, &hadv1.MakeWritableRequest{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"A", "B", "C"} {
		if err := Until(c.within(5*time.Second), "the mark on "+s, func(ctx context.Context) (bool, string) {
			out, err := c.Exec(ctx, s, "test", "-e", "/etc/evenkeel/.stale")
			return err == nil && out.Code == 0, ""
		}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := had.ChangeConfig(c.ctx, &hadv1.ChangeConfigRequest{Edits: configEdits(`
		hagrp -add pay
		hagrp -modify pay SystemList A 0 B 1 C 2
		hares -add till FileOnOff pay
		hares -modify till PathName /run/till.flag
		hares -modify till Enabled 1`)})
	if err != nil || len(got.GetOperation().GetNotices()) != 2 {
		t.Fatalf("%v %v", got, err)
	}
	c.probed("pay")
	c.must("C", "hagrp", "-online", "pay", "-sys", "B")
	c.waitGroup("A", "pay", "B", online, 20*time.Second)
	c.must("B", "test", "-e", "/run/till.flag")
	if _, err := had.DumpConfig(c.ctx, &hadv1.DumpConfigRequest{}); err != nil {
		t.Fatal(err)
	}
	c.untilConfig("A", "every disk to have it", func(st *hadv1.ConfigState) bool { return len(st.GetDumpingSystems()) == 0 && !st.GetUndumped() })
	if text := c.sameDisks("A", "B", "C"); !strings.Contains(text, "FileOnOff till (") {
		t.Errorf("the dump lacks the resource:\n%s", text)
	}

	// A had dies: the group stays, the next had takes the running configuration.
	if _, err := had.ChangeConfig(c.ctx, &hadv1.ChangeConfigRequest{Edits: configEdits("hagrp -modify pay Load 3")}); err != nil {
		t.Fatal(err)
	}
	_, pid := c.had("B")
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := Until(c.within(20*time.Second), "another had on B", func(ctx context.Context) (bool, string) {
		st, err := c.Status(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, s := range st.Systems {
			if s.Name == "B" {
				return s.Pids["had"] != 0 && s.Pids["had"] != pid, fmt.Sprint(s.Pids)
			}
		}
		return false, "no B"
	}); err != nil {
		t.Fatal(err)
	}
	c.waitSystem("A", "B", "RUNNING", 30*time.Second)
	c.waitGroup("A", "pay", "B", online, 20*time.Second)
	c.untilConfig("B", "the running configuration on B", func(st *hadv1.ConfigState) bool { return st.GetWritable() && st.GetSequence() == 2 })

	// The power of C goes in the middle of dumps.
	var crash sync.WaitGroup
	for n := range 30 {
		if n == 8 {
			crash.Go(func() {
				if err := c.Crash(c.ctx, "C"); err != nil {
					t.Error(err)
				}
			})
		}
		if _, err := had.ChangeConfig(c.ctx, &hadv1.ChangeConfigRequest{RequestId: fmt.Sprint("load ", n), Edits: configEdits(fmt.Sprintf("hagrp -modify svc Load %d", 100+n))}); err != nil {
			// The view may be held until C's end is proved.
			t.Logf("change %d: %v", n, err)
		}
		if _, err := had.DumpConfig(c.ctx, &hadv1.DumpConfigRequest{RequestId: fmt.Sprint("dump ", n)}); err != nil {
			t.Logf("dump %d: %v", n, err)
		}
	}
	crash.Wait()
	c.untilConfig("A", "changes again", func(st *hadv1.ConfigState) bool {
		_, err := had.ChangeConfig(c.ctx, &hadv1.ChangeConfigRequest{Edits: configEdits("hagrp -modify svc Load 200")})
		return err == nil
	})
	if _, err := had.DumpConfig(c.ctx, &hadv1.DumpConfigRequest{MakeReadonly: true}); err != nil {
		t.Fatal(err)
	}
	c.untilConfig("A", "both disks to have it", func(st *hadv1.ConfigState) bool { return len(st.GetDumpingSystems()) == 0 })
	c.sameDisks("A", "B")
	if err := c.Boot(c.ctx, "C"); err != nil {
		t.Fatal(err)
	}
	c.waitSystem("A", "C", "RUNNING", 60*time.Second)
	c.untilConfig("C", "the copy of C is up to date", func(st *hadv1.ConfigState) bool { return !st.GetStaleOnDisk() && st.GetSequence() > 2 })
	if err := Until(c.within(10*time.Second), "C's disk has it", func(ctx context.Context) (bool, string) {
		out, err := c.Exec(ctx, "C", "grep", "-c", "Load = 200", "/etc/evenkeel/main.cf")
		return err == nil && out.Code == 0, out.Out
	}); err != nil {
		t.Error(err)
	}
	c.sameDisks("A", "B", "C")
	// What the power failure left was whole: marked perhaps, but without mistakes.
	for _, line := range strings.Split(c.must("C", "cat", "/var/log/evenkeel/engine_A.log"), "\n") {
		if strings.Contains(line, "V-16-1-10624") && !strings.Contains(line, ".stale exists") {
			t.Errorf("C found its disk spoilt: %s", line)
		}
	}

	// What is applied and not confirmed is reverted, everywhere.
	if _, err := had.MakeWritable(c.ctx, &hadv1.MakeWritableRequest{}); err != nil {
		t.Fatal(err)
	}
	text := c.must("A", "cat", "/etc/evenkeel/main.cf")
	applied, err := had.ApplyConfig(c.ctx, &hadv1.ApplyConfigRequest{ConfirmSeconds: 2,
		Files: []*hadv1.ConfigSource{{Name: "main.cf", Text: []byte(strings.Replace(text, "Load = 200", "Load = 7", 1))}}})
	if err != nil || applied.GetUnchanged() || len(applied.GetOperation().GetConfigEdits()) != 1 {
		t.Fatalf("%v %v", applied, err)
	}
	c.untilOut(5*time.Second, "C", []string{"hagrp", "-value", "svc", "Load"}, "7")
	c.untilConfig("B", "the reversal", func(st *hadv1.ConfigState) bool { return st.GetUnconfirmed() == nil })
	c.untilOut(5*time.Second, "C", []string{"hagrp", "-value", "svc", "Load"}, "200")
}
