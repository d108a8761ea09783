package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// drawEdit draws one edit of what there is, or of what there is not.
func (w *world) drawEdit() []string {
	t := w.t
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	group := pick("group of edit", append(groupNames(w.e.mod), "n1", "n2")...)
	names := []string{"r1", "r2", "r3"}
	for _, r := range w.e.resourceModels() {
		names = append(names, r.name)
	}
	r, o := pick("resource", names...), pick("other", names...)
	n := pick("system", threeSystems...)
	switch pick("edit", "group", "list", "list", "unlist", "resource", "enable", "enable", "delete", "delete", "value", "attr", "attr", "link",
		"unlink", "glink", "gunlink", "system", "type", "local", "override", "delgroup", "parallel") {
	case "group":
		return []string{"hagrp", "-add", group}
	case "list":
		return []string{"hagrp", "-modify", group, "SystemList", "-add", n, pick("priority", "0", "5")}
	case "unlist":
		return []string{"hagrp", "-modify", group, "SystemList", "-delete", n}
	case "resource":
		return []string{"hares", "-add", r, pick("type", "App", "Daemon", "Net"), group}
	case "enable":
		return []string{"hares", "-modify", r, "Enabled", pick("on", "1", "1", "0")}
	case "delete":
		return []string{"hares", "-delete", r}
	case "value":
		return []string{"hares", "-modify", r, "What", pick("what", "a", "b")}
	case "attr":
		return []string{"hagrp", "-modify", group, pick("attribute", "AutoFailOver", "AutoStart", "AutoRestart", "Frozen", "FaultPropagation"), pick("bit", "0", "1")}
	case "link":
		return []string{"hares", "-link", r, o}
	case "unlink":
		return []string{"hares", "-unlink", r, o}
	case "glink":
		return []string{"hagrp", "-link", group, w.drawGroup(w.e.mod), "online", pick("where", "local", "global", "remote"), pick("how", "soft", "firm")}
	case "gunlink":
		return []string{"hagrp", "-unlink", group, w.drawGroup(w.e.mod)}
	case "system":
		return []string{"hasys", "-modify", n, "Frozen", pick("bit", "0", "1")}
	case "type":
		return []string{"hatype", "-modify", "App", "FaultPropagation", pick("bit", "0", "1")}
	case "local":
		return []string{"hares", "-local", r, "What"}
	case "override":
		return []string{"hares", "-override", r, "MonitorInterval"}
	case "delgroup":
		return []string{"hagrp", "-delete", group}
	default:
		return []string{"hagrp", "-modify", group, "Parallel", pick("kind", "0", "1")}
	}
}

// reconfigure makes a random change, and what shells do after it.
func (w *world) reconfigure() (done, refused int) {
	t := w.t
	c := Command{User: "root", RequestID: rapid.SampledFrom([]string{"", "", "x"}).Draw(t, "id")}
	switch rapid.SampledFrom([]string{"change", "change", "change", "change", "writable", "dump", "apply", "confirm"}).Draw(t, "kind") {
	case "change":
		c.Kind = CommandConfigChange
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			c.Edits = append(c.Edits, w.drawEdit())
		}
	case "writable":
		c.Kind = CommandConfigWritable
	case "dump":
		c.Kind, c.MakeReadOnly = CommandConfigDump, rapid.IntRange(0, 4).Draw(t, "makero") == 0
	case "apply":
		// What a change gives, as a whole.
		edit, err := maincf.ParseArgs(w.drawEdit())
		if err != nil {
			return 0, 0
		}
		_, files := w.e.ConfigFiles()
		if to, err := w.e.mod.cfg.Apply(edit); err == nil {
			files = nil
			for _, f := range to.Files {
				files = append(files, File{Name: f.Name, Text: f.Text})
			}
		}
		c.Kind, c.Main, c.Files = CommandConfigApply, "main.cf", files
		c.Confirm = rapid.SampledFrom([]time.Duration{0, 2 * time.Second}).Draw(t, "confirm")
	default:
		c.Kind = CommandConfigConfirm
	}
	from := rapid.SampledFrom(threeSystems).Draw(t, "from")
	if m := w.machines[from]; !m.on || !m.had {
		return 0, 0
	}
	before, was := shape(w.e), w.e.mod
	w.happened = nil
	w.apply(from, c)
	for _, f := range w.happened {
		r, ok := f.(CommandResult)
		if !ok || r.Pos != w.pos {
			continue
		}
		if r.Code == CodeOK {
			done++
		} else if refused++; before != shape(w.e) {
			t.Fatalf("a refused change changed something: %s\n%s\n%s", lines(w.happened), before, shape(w.e))
		}
		if r.Unchanged && (w.e.mod != was || w.e.st.Conf.Sequence == 0 && w.e.st.Conf.Changed != nil) {
			t.Fatalf("nothing was to change, but it did")
		}
	}
	w.follow()
	return done, refused
}

// follow does what schedulers do after a change of the configuration.
func (w *world) follow() {
	if w.mod == w.e.mod {
		return
	}
	old := w.mod
	w.mod = w.e.mod
	for _, n := range threeSystems {
		m := w.machines[n]
		gone := func(name string) bool {
			r, was := w.mod.resource(name), old.resource(name)
			return r == nil || !r.in.whole.on(n) || was == nil || was.typ != r.typ || was.in.name != r.in.name
		}
		m.queue = slices.DeleteFunc(m.queue, func(c resource.Command) bool { return gone(c.Resource) })
		m.unprobed = slices.DeleteFunc(m.unprobed, gone)
		for _, all := range []map[string]bool{m.running, m.faulted} {
			for name := range all {
				if gone(name) {
					delete(all, name)
				}
			}
		}
		if !m.on || !m.had {
			continue
		}
		for _, r := range w.e.resourceModels() {
			if i := w.e.instance(r.name, n); i != nil && !i.Probed && !slices.Contains(m.unprobed, r.name) {
				m.unprobed = append(m.unprobed, r.name)
				m.seen[r.name] = max(m.seen[r.name], resource.EffectID(i.Born))
			}
		}
	}
}

// Random changes of random clusters at random moments, with faults between
// them: two engines stay equal, a refused change changes nothing, a replica
// that is restored in the middle goes on as the others, what its text says is
// what runs, and no group is raised twice (I1, I3).
func TestConfigChanges(t *testing.T) {
	total, refusals, restored := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.apply("A", Command{Kind: CommandConfigWritable})
		for range rapid.IntRange(5, 60).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "change") {
				done, refused := w.reconfigure()
				total, refusals = total+done, refusals+refused
			} else {
				w.step()
				w.follow()
			}
			w.exclusive()
			if rapid.IntRange(0, 5).Draw(t, "restore") == 0 {
				e, err := Restore(w.twin.Snapshot())
				if err != nil {
					t.Fatalf("restore: %v", err)
				}
				_, a := e.ConfigFiles()
				_, b := w.e.ConfigFiles()
				if !slices.Equal(a, b) {
					t.Fatalf("the configuration is another one after a restore:\n%v\n%v", a, b)
				}
				w.twin = e
				restored++
			}
		}
		w.readsBack()
	})
	t.Logf("%d changes, %d refused, %d replicas restored in between", total, refusals, restored)
	least := 100
	if testing.Short() { // rapid then draws a fifth of the runs
		least = 20
	}
	if total < least || refusals < least || restored < least/5 {
		t.Errorf("too little was tried")
	}
}

// readsBack checks that the text that would be dumped means what runs.
func (w *world) readsBack() {
	main, files := w.e.ConfigFiles()
	m, err := parse(main, files)
	if err != nil {
		w.t.Fatalf("what would be dumped cannot be read: %v\n%v", err, files)
	}
	edits, err := w.e.mod.cfg.Diff(m.cfg)
	if err != nil || len(edits) > 0 {
		var said []string
		for _, e := range edits {
			said = append(said, e.String())
		}
		w.t.Fatalf("what would be dumped is not what runs: %v %s", err, strings.Join(said, "\n"))
	}
}

// The way by single edits and the way over the text come to the same
// configuration, or to a refusal both.
func TestChangeIsApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newFastWorld(t)
		cfg := w.e.mod.cfg
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			var edits []maincf.Edit
			for range rapid.IntRange(1, 3).Draw(t, "edits") {
				edit, err := maincf.ParseArgs(w.drawEdit())
				if err != nil {
					continue
				}
				edits = append(edits, edit)
			}
			text := fmt.Sprint(cfg.Dump())
			changed, err := cfg.Change(edits...)
			applied, applyErr := cfg.Apply(edits...)
			if (err == nil) != (applyErr == nil) {
				t.Fatalf("%v: Change says %v, Apply %v", edits, err, applyErr)
			}
			if fmt.Sprint(cfg.Dump()) != text {
				t.Fatalf("%v changed what it began with", edits)
			}
			if err != nil {
				continue
			}
			if a, b := fmt.Sprint(changed.Config.Dump()), fmt.Sprint(applied.Config.Dump()); a != b {
				t.Fatalf("%v:\n%s\n%s", edits, a, b)
			}
			cfg = changed.Config
		}
	})
}
