package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

func (h *had) config() hadv1.ConfigServiceClient { return hadv1.NewConfigServiceClient(h.conn) }

func (h *had) writable() {
	h.lab.t.Helper()
	if _, err := h.config().MakeWritable(background(h.lab.t), &hadv1.MakeWritableRequest{}); err != nil {
		h.lab.t.Fatal(err)
	}
}

// edits reads commands, one a line.
func edits(script string) []*hadv1.ConfigEdit {
	var out []*hadv1.ConfigEdit
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		out = append(out, &hadv1.ConfigEdit{Args: strings.Fields(line)})
	}
	return out
}

func (h *had) change(script string) (*hadv1.Operation, error) {
	got, err := h.config().ChangeConfig(background(h.lab.t), &hadv1.ChangeConfigRequest{Edits: edits(script)})
	return got.GetOperation(), err
}

func (h *had) mustChange(script string) *hadv1.Operation {
	h.lab.t.Helper()
	op, err := h.change(script)
	if err != nil {
		h.lab.t.Fatal(err)
	}
	return op
}

func (h *had) dump(readOnly bool) *hadv1.Operation {
	h.lab.t.Helper()
	got, err := h.config().DumpConfig(background(h.lab.t), &hadv1.DumpConfigRequest{MakeReadonly: readOnly})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	return got.GetOperation()
}

func (h *had) configState() *hadv1.ConfigState {
	h.lab.t.Helper()
	got, err := h.config().GetConfigState(background(h.lab.t), &hadv1.GetConfigStateRequest{})
	if err != nil {
		h.lab.t.Fatal(err)
	}
	return got.GetState()
}

func file(t *testing.T, root paths.Root, name string) string {
	t.Helper()
	text, err := os.ReadFile(root.Config(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func stale(root paths.Root) bool {
	_, err := os.Stat(root.Config(".stale"))
	return err == nil
}

func haclusValue(st *hadv1.GetStatusResponse, name string) string {
	for _, at := range st.GetCluster().GetAttributes() {
		if at.GetName() == name {
			return at.GetValue()
		}
	}
	return ""
}

const addPay = `
hagrp -add pay
hagrp -modify pay SystemList A 0 B 1
hares -add till FileOnOff pay
hares -modify till PathName /tmp/till
hares -modify till Enabled 1`

// A group and a resource are added while the cluster runs: both systems probe
// it, it goes online, a dump brings it to both disks, and the marks come and go.
func TestChangeOnline(t *testing.T) {
	l, a, b := pair(t)
	a.writable()
	for _, h := range []*had{a, b} {
		poll(t, ".stale on "+h.name, func() bool { return stale(h.root) })
	}
	if got := haclusValue(b.status(), "ReadOnly"); got != "0" {
		t.Errorf("ReadOnly is %q", got)
	}
	op := b.mustChange(addPay)
	if n := op.GetNotices(); len(n) != 2 || n[0].GetMessageId() != "V-16-1-10136" || n[1].GetMessageId() != "V-16-1-10242" {
		t.Errorf("notices %v", n)
	}
	if len(op.GetConfigEdits()) != 5 {
		t.Errorf("edits %q", op.GetConfigEdits())
	}
	a.await("pay is probed everywhere and offline", func(st *hadv1.GetStatusResponse) bool {
		return groupState(st, "pay", "A") == "OFFLINE" && groupState(st, "pay", "B") == "OFFLINE" && !slices.ContainsFunc(st.GetGroups(), func(g *hadv1.Group) bool {
			return slices.ContainsFunc(g.GetSystems(), func(on *hadv1.GroupOnSystem) bool { return !on.GetProbed() })
		})
	})
	if _, err := a.groups().OnlineGroup(background(t), &hadv1.OnlineGroupRequest{Name: "pay", System: "B"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("pay", "B", "ONLINE")
	if !l.world.is("till", "B") {
		t.Fatal("nothing runs on B")
	}
	op = a.dump(true)
	if len(op.GetNotices()) != 0 {
		t.Errorf("notices of the dump: %v", op.GetNotices())
	}
	for _, h := range []*had{a, b} {
		if text := file(t, h.root, "main.cf"); !strings.Contains(text, "FileOnOff till (\n\t\tPathName = \"/tmp/till\"") || stale(h.root) {
			t.Errorf("%s, stale=%t:\n%s", h.name, stale(h.root), text)
		}
		if st := h.configState(); st.GetWritable() || st.GetUndumped() || st.GetVersion() != 1 || len(st.GetDumpingSystems()) != 0 {
			t.Errorf("state on %s: %v", h.name, st)
		}
	}
	if file(t, a.root, "main.cf") != file(t, b.root, "main.cf") {
		t.Error("the disks differ")
	}
	if got := haclusValue(a.status(), "DumpingMembership"); got != "0" {
		t.Errorf("DumpingMembership is %q", got)
	}
	a.writable()
	_, err := a.change("hagrp -modify pay SystemList -delete B")
	if code, _, more := reason(err); code != codes.FailedPrecondition || more["message_id"] != "V-16-1-10180" {
		t.Errorf("B taken out while pay is online there: %v", err)
	}
	if _, err := a.groups().OfflineGroup(background(t), &hadv1.OfflineGroupRequest{Name: "pay", System: "B"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("pay", "B", "OFFLINE")
	a.mustChange("hares -delete till\nhagrp -delete pay")
	if st := b.await("pay is gone", func(st *hadv1.GetStatusResponse) bool { return len(st.GetGroups()) == 1 }); groupState(st, "web", "A") != "ONLINE" {
		t.Error("web is no longer online")
	}
	l.neverTwice()
}

// Each refusal has VCS's id, the reason, and the edit that it is about.
func TestChangeRefused(t *testing.T) {
	_, a, b := pair(t)
	_, err := a.change("hares -modify top PathName /x")
	if code, _, more := reason(err); code != codes.FailedPrecondition || more["message_id"] != "V-16-1-10369" {
		t.Fatalf("read-only: %v", err)
	}
	a.writable()
	if _, err := b.config().MakeWritable(background(t), &hadv1.MakeWritableRequest{}); err == nil || !strings.Contains(err.Error(), "Cluster already writable.") {
		t.Errorf("a second makerw: %v", err)
	}
	for _, c := range []struct {
		script, id, words, edit string
		code                    codes.Code
	}{
		{"hares -modify top PathName /x\nhares -modify botom PathName /y", "V-16-1-10260", "did you mean bottom?", "1", codes.NotFound},
		{"hagrp -modify web SystemList -add B 2", "V-16-1-10563", "already in SystemList", "0", codes.FailedPrecondition},
		{"hares -delete top", "V-16-1-90041", "hares -offline top -sys A first", "", codes.FailedPrecondition},
		{"hares -link bottom top", "V-16-1-90009", "cycle", "", codes.FailedPrecondition},
		{"hares -modfy top PathName /x", "V-16-1-90055", "did you mean -modify?", "0", codes.InvalidArgument},
	} {
		_, err := b.change(c.script)
		code, _, more := reason(err)
		if code != c.code || more["message_id"] != c.id || more["edit"] != c.edit || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v %v, want %s and edit %q", c.script, err, more, c.id, c.edit)
		}
	}
	if st := a.configState(); st.GetSequence() != 0 {
		t.Errorf("something changed: %v", st)
	}
	if _, err := a.config().ChangeConfig(background(t), &hadv1.ChangeConfigRequest{}); err == nil || !strings.Contains(err.Error(), "give at least one") {
		t.Errorf("no edits: %v", err)
	}
}

// The same request at two systems is one change.
func TestChangeOnce(t *testing.T) {
	_, a, b := pair(t)
	a.writable()
	for i, h := range []*had{a, b, a} {
		got, err := h.config().ChangeConfig(background(t), &hadv1.ChangeConfigRequest{RequestId: "r1", Edits: edits("hagrp -modify web Load 7")})
		if err != nil || got.GetOperation().GetRepeatedRequest() != (i > 0) {
			t.Errorf("time %d: %v %v", i, got, err)
		}
	}
	if st := b.configState(); st.GetSequence() != 1 {
		t.Errorf("%v", st)
	}
}

// R15: who asks again at a system that has yet to hear of the first time is
// told all the same that it was done before.
func TestChangeOnceUnheard(t *testing.T) {
	l, a, b := pair(t)
	a.writable()
	b.await("writable", func(st *hadv1.GetStatusResponse) bool { return haclusValue(st, "ReadOnly") == "0" })
	ask := &hadv1.ChangeConfigRequest{RequestId: "r1", Edits: edits("hagrp -modify web Load 7")}
	l.hub.delay(1, true)
	first, err := a.config().ChangeConfig(background(t), ask)
	if err != nil || first.GetOperation().GetRepeatedRequest() {
		t.Fatalf("the first: %v %v", first, err)
	}
	again := make(chan error, 2)
	for range 2 {
		before := l.hub.sent(1)
		go func() {
			got, err := b.config().ChangeConfig(background(t), ask)
			if err == nil && (!got.GetOperation().GetRepeatedRequest() || got.GetOperation().GetPosition().GetSeq() != first.GetOperation().GetPosition().GetSeq()) {
				err = fmt.Errorf("%v, the first was %v", got, first)
			}
			again <- err
		}()
		poll(t, "B has asked", func() bool { return l.hub.sent(1) > before })
	}
	l.hub.delay(1, false)
	for range 2 {
		if err := <-again; err != nil {
			t.Errorf("again: %v", err)
		}
	}
	if st := b.configState(); st.GetSequence() != 1 {
		t.Errorf("%v", st)
	}
}

func source(text string) []*hadv1.ConfigSource {
	return []*hadv1.ConfigSource{{Name: "main.cf", Text: []byte(text)}}
}

// A whole file: unchanged it changes nothing; a plan shows the commands; with
// a time it is reverted; confirmed, dumped and rolled back it is a version.
func TestApplyAndVersions(t *testing.T) {
	_, a, b := pair(t)
	ctx := background(t)
	a.writable()
	got, err := a.config().ApplyConfig(ctx, &hadv1.ApplyConfigRequest{Files: source(twoSystems)})
	if err != nil || !got.GetUnchanged() || a.configState().GetSequence() != 0 {
		t.Fatalf("the running file: %v %v", got, err)
	}
	a.dump(false)
	edited := strings.Replace(twoSystems, "/tmp/top", "/tmp/other", 1) + "// mine\n"
	got, err = a.config().ApplyConfig(ctx, &hadv1.ApplyConfigRequest{Files: source(edited), Plan: true})
	if e := got.GetOperation().GetConfigEdits(); err != nil || len(e) != 1 || e[0] != "hares -modify top PathName /tmp/other" {
		t.Fatalf("plan: %v %v", got, err)
	}
	if _, err := a.config().ApplyConfig(ctx, &hadv1.ApplyConfigRequest{Files: source(edited), ConfirmSeconds: 1}); err != nil {
		t.Fatal(err)
	}
	if st := b.configState(); st.GetUnconfirmed() == nil {
		t.Fatalf("%v", st)
	}
	if _, err := b.config().DumpConfig(ctx, &hadv1.DumpConfigRequest{}); err == nil || !strings.Contains(err.Error(), "waits to be confirmed") {
		t.Errorf("a dump of what is not confirmed: %v", err)
	}
	poll(t, "it is reverted", func() bool { return b.configState().GetUnconfirmed() == nil })
	now, err := b.config().GetConfig(ctx, &hadv1.GetConfigRequest{})
	if err != nil || now.GetFiles()[0].GetText() != twoSystems {
		t.Fatalf("after the reversal: %v %v", now.GetFiles()[0].GetText(), err)
	}
	if _, err := b.config().ApplyConfig(ctx, &hadv1.ApplyConfigRequest{Files: source(edited), ConfirmSeconds: 60}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.config().ConfirmConfig(ctx, &hadv1.ConfirmConfigRequest{}); err != nil {
		t.Fatal(err)
	}
	a.dump(false)
	if text := file(t, b.root, "main.cf"); text != edited {
		t.Errorf("what was applied is not what was dumped:\n%s", text)
	}
	log, err := b.config().ListConfigVersions(ctx, &hadv1.ListConfigVersionsRequest{})
	if v := log.GetVersions(); err != nil || len(v) != 3 || v[0].GetNumber() != 2 || v[1].GetNumber() != 1 || v[2].GetNumber() != 0 || v[0].GetUser() == "" || !strings.Contains(v[0].GetSummary(), "2 systems, 1 group, 2 resources") {
		t.Fatalf("versions: %v %v", log, err)
	}
	one := uint64(1)
	diff, err := b.config().DiffConfig(ctx, &hadv1.DiffConfigRequest{FromVersion: &one})
	if err != nil || len(diff.GetEdits()) != 1 || diff.GetEdits()[0].GetArgs()[4] != "/tmp/other" {
		t.Fatalf("diff: %v %v", diff, err)
	}
	if _, err := b.config().GetConfigVersion(ctx, &hadv1.GetConfigVersionRequest{Number: 9}); err == nil || !strings.Contains(err.Error(), "Version 9 is not kept on this system; the newest are 2, 1, 0") {
		t.Errorf("no such version: %v", err)
	}
	back, err := b.config().RollbackConfig(ctx, &hadv1.RollbackConfigRequest{Version: 1})
	if err != nil || back.GetUnchanged() {
		t.Fatalf("rollback: %v %v", back, err)
	}
	a.dump(true)
	if text := file(t, a.root, "main.cf"); text != twoSystems {
		t.Errorf("after the rollback:\n%s", text)
	}
}

// What the cluster started with is kept on every disk until the first dump made
// a version, so that there is a way back from the very first change.
func TestFirstVersionIsKept(t *testing.T) {
	_, a, b := pair(t)
	ctx := background(t)
	kept := func(h *had) []*hadv1.ConfigVersion {
		log, err := h.config().ListConfigVersions(ctx, &hadv1.ListConfigVersionsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return log.GetVersions()
	}
	poll(t, "version 0 on both disks", func() bool { return len(kept(a)) == 1 && len(kept(b)) == 1 })
	a.writable()
	a.mustChange("hares -modify top PathName /tmp/other")
	a.dump(false)
	for _, h := range []*had{a, b} {
		if v := kept(h); len(v) != 2 || v[0].GetNumber() != 1 || v[1].GetNumber() != 0 || v[1].GetSequence() != 0 {
			t.Errorf("versions on %s: %v", h.name, v)
		}
	}
	zero := uint64(0)
	diff, err := b.config().DiffConfig(ctx, &hadv1.DiffConfigRequest{FromVersion: &zero})
	if err != nil || len(diff.GetEdits()) != 1 || diff.GetEdits()[0].GetArgs()[4] != "/tmp/other" {
		t.Errorf("diff: %v %v", diff, err)
	}
	if _, err := b.config().RollbackConfig(ctx, &hadv1.RollbackConfigRequest{Version: 0}); err != nil {
		t.Fatal(err)
	}
	a.dump(true)
	if text := file(t, b.root, "main.cf"); text != twoSystems {
		t.Errorf("after the rollback:\n%s", text)
	}
}

// A disk that takes nothing: the dump fails there alone, says so, and the copy
// stays whole; a later dump makes it good.
func TestDumpFails(t *testing.T) {
	_, a, b := pair(t)
	a.writable()
	poll(t, "the first writing is over", func() bool { return stale(b.root) })
	before := file(t, b.root, "main.cf")
	dir := b.root.State("config")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made there
		t.Fatal(err)
	}
	a.mustChange("hagrp -modify web Load 7")
	op := a.dump(false)
	if n := op.GetNotices(); len(n) != 1 || n[0].GetMessageId() != "V-16-1-90050" || !strings.Contains(n[0].GetText(), "not written on B") {
		t.Fatalf("notices %v", n)
	}
	st := a.configState()
	if f := st.GetDumpFailures(); len(f) != 1 || f[0].GetSystem() != "B" || f[0].GetWhy() == "" || len(st.GetDumpingSystems()) != 0 {
		t.Errorf("state %v", st)
	}
	if text := file(t, b.root, "main.cf"); text != before || !stale(b.root) {
		t.Errorf("stale=%t, B's copy:\n%s", stale(b.root), text)
	}
	if !strings.Contains(file(t, a.root, "main.cf"), "Load = 7") {
		t.Error("A has not written it")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	a.dump(true)
	if st := a.configState(); len(st.GetDumpFailures()) != 0 || stale(b.root) || !strings.Contains(file(t, b.root, "main.cf"), "Load = 7") {
		t.Errorf("the next dump: %v", st)
	}
}

// The sequence comes back from the disk, and a joiner takes the running copy
// whatever the times of its own files.
func TestSequenceOverRestart(t *testing.T) {
	l := newLab(t, "customized")
	newer := strings.Replace(twoSystems, "/tmp/top", "/tmp/newer", 1)
	rootA, rootB := l.root("A", ""), l.root("B", "")
	for _, c := range []struct {
		root paths.Root
		text string
		seq  uint64
	}{{rootB, newer, 8}, {rootA, twoSystems, 7}} { // A's files are the younger ones
		if err := diskOf(c.root).Save([]engine.File{{Name: "main.cf", Text: c.text}, {Name: "types.cf", Text: etc.TypesCF}}, confdisk.Version{Number: c.seq, Sequence: c.seq}, false); err != nil {
			t.Fatal(err)
		}
	}
	b := l.start("B", rootB)
	b.awaitLocal("RUNNING")
	a := l.start("A", rootA)
	poll(t, "A has B's copy", func() bool { // main.cf is not the last thing to be written
		_, pending := os.Stat(filepath.Join(rootA.State("config"), "pending"))
		text, err := os.ReadFile(rootA.Config("main.cf"))
		return err == nil && string(text) == newer && errors.Is(pending, fs.ErrNotExist)
	})
	if st := a.configState(); st.GetSequence() != 8 || st.GetVersion() != 8 {
		t.Errorf("the sequence did not come back: %v", st)
	}
	if err := os.WriteFile(rootA.Config("main.cf"), []byte(twoSystems), 0o644); err != nil {
		t.Fatal(err)
	}
	if d := readDisk(rootA, "A"); !d.edited || d.sequence() != 9 || diskOf(rootA).Rank(d.files) <= diskOf(rootB).Rank(readDisk(rootB, "B").files) {
		t.Errorf("a copy that was edited by hand is not the younger one: %+v", d.copy)
	}
}

// A configuration of 20,000 resources goes into one message, and what comes
// out is what went in.
func TestLargeConfiguration(t *testing.T) {
	var b strings.Builder
	b.WriteString("include \"types.cf\"\ncluster demo (\n\t)\nsystem A (\n\t)\n")
	for g := range 2000 {
		fmt.Fprintf(&b, "group group%04d (\n\tSystemList = { A = 0 }\n\t)\n", g)
		for r := range 10 {
			fmt.Fprintf(&b, "\tFileOnOff file_of_group%04d_number%d (\n\t\tPathName = \"/srv/data/%04x/%d\"\n\t\tMonitorInterval = %d\n\t\t)\n", g, r, g*7919%65536, r, g%60+1)
		}
	}
	ev := engine.ConfigLoaded{System: "A", Main: "main.cf", Files: []engine.File{{Name: "main.cf", Text: b.String()}}}
	payload, err := encodeEvent(ev)
	if err != nil || len(payload) > maxPayload {
		t.Fatalf("%d bytes of text become %d: %v", b.Len(), len(payload), err)
	}
	back, err := decodeMessage(payload)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(ev)
	if got, _ := json.Marshal(back); string(got) != string(want) {
		t.Fatal("it is another one")
	}
	t.Logf("%d bytes of text, %d in the message", b.Len(), len(payload))
}

// BackupInterval: while the configuration is writable, what runs is written
// beside what was dumped, on every system; what was dumped stays.
func TestBackupInterval(t *testing.T) {
	l := newLab(t, "customized")
	text := strings.Replace(twoSystems, "cluster demo (", "cluster demo (\n\tBackupInterval = 3", 1)
	a := l.start("A", l.root("A", text), func(c *Config) { c.BackupMinute = 10 * time.Millisecond })
	a.awaitGroup("web", "A", "ONLINE")
	a.writable()
	a.mustChange("hares -modify top PathName /tmp/other")
	poll(t, "the backup", func() bool {
		backup, err := os.ReadFile(a.root.Config("main.cf.autobackup"))
		return err == nil && strings.Contains(string(backup), "/tmp/other")
	})
	if dumped := file(t, a.root, "main.cf"); dumped != text {
		t.Errorf("main.cf changed:\n%s", dumped)
	}
	if _, err := os.Stat(a.root.Config("types.cf.autobackup")); err != nil {
		t.Error(err)
	}
}
