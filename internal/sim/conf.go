package sim

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// onDisk is what a system's disk holds.
type onDisk struct {
	state  join.Disk
	config *maincf.Config
	files  []engine.File
	record confdisk.Record
	edited bool
	rank   uint64
}

// readDisk reads and checks the configuration, as had does when it starts.
func (n *node) readDisk() onDisk {
	conf := n.conf()
	n.disk.begin(false)
	if err := conf.Recover(); err != nil {
		n.w.fail("I6: the configuration on %s cannot be recovered: %v", n.name, err)
	}
	d := onDisk{state: join.DiskValid}
	config, _, err := maincf.Load("main.cf", func(name string) ([]byte, error) {
		text, err := n.disk.ReadFile(filepath.Join("/etc", name))
		if err == nil {
			d.files = append(d.files, engine.File{Name: name, Text: string(text)})
		}
		return text, err
	})
	if err != nil {
		n.w.fail("I6: the configuration on %s is not whole: %.300s", n.name, err)
		d.state = join.DiskInvalid
		return d
	}
	d.config = config
	same := false
	d.record, same = conf.Copy(d.files)
	d.edited, d.rank = !same, conf.Rank(d.files)
	if conf.Stale() {
		d.state = join.DiskStale
	}
	n.w.oracle.diskRead(n, d)
	return d
}

// toDisk gives the disk of a system something to take, as had does.
func (h *hadd) toDisk(j confdisk.Job) {
	h.diskJobs.Add(j)
	h.nextDiskJob()
}

func (h *hadd) nextDiskJob() {
	n, w := h.n, h.n.w
	j, ok := h.diskJobs.Begin()
	if !ok {
		return
	}
	n.disk.begin(true)
	if !j.Mark {
		w.oracle.written(j.Source.Files(), j.Version.Sequence)
		w.oracle.count("configurations written")
	}
	err := j.Do(n.conf(), time.Time{})
	w.moment(n, "disk")
	if w.broken("ack-before-disk") {
		h.tellAllDumped(j, "")
		j.Answers = nil
	}
	w.later(h.proc, n.disk.took(), func() {
		h.diskJobs.End()
		problem := ""
		if err != nil {
			problem = err.Error()
			w.say("%s cannot write its configuration: %s", n.name, problem)
		}
		h.tellAllDumped(j, problem)
		h.nextDiskJob()
	})
}

func (h *hadd) tellAllDumped(j confdisk.Job, problem string) {
	for _, ev := range j.Done(h.n.name, problem) {
		h.tellDumped(ev)
	}
}

func (h *hadd) tellDumped(ev engine.ConfigDumped) {
	id := h.sendEvent(ev)
	h.onLost[id] = func() { h.tellDumped(ev) }
}

// saveRunning writes what runs, as a joiner and who built from its disk do.
func (h *hadd) saveRunning() {
	st := h.engine.ConfigStatus()
	j := confdisk.RunningJob(st, h.engine.Source())
	if o := h.n.w.oracle; !o.w.fenced && o.w.tainted { // the other side's stands
		o.dumped[h.n.id] = min(o.dumped[h.n.id], st.Sequence)
	}
	h.toDisk(j)
}

// loadConfig reads the disk and broadcasts what it holds.
func (h *hadd) loadConfig(force bool) {
	d := h.n.readDisk()
	if d.config == nil || d.state == join.DiskStale && !force {
		h.stepJoin(join.LoadFailed{Problem: "the configuration on the disk is marked stale"})
		return
	}
	h.sendEvent(engine.ConfigLoaded{System: h.n.name, Main: "main.cf", Files: d.files,
		Sequence: d.record.AsLoaded(d.edited), Version: d.record.Version})
}

// adopt takes what the cluster runs for what the world is: new resources are
// applications that do not run yet.
func (w *World) adopt(h *hadd) {
	pos, c := h.engine.Position(), h.engine.Config()
	switch {
	case c == nil:
	case pos.Lineage == w.confPos.Lineage && pos.Seq < w.confPos.Seq: // it lags behind
		w.model(c)
		w.model(w.cfg)
	default:
		w.confPos, w.cfg = pos, c
		w.model(c)
	}
}

// model makes the resources of a configuration those of the world.
func (w *World) model(c *maincf.Config) {
	for _, m := range w.res {
		m.gone = true
	}
	systems := len(w.names)
	for _, g := range c.Groups {
		parallel, _ := c.GroupAttr(g, "Parallel", "")
		for _, r := range g.Resources {
			m := w.byName[r.Name]
			if m == nil {
				m = &resourceModel{name: r.Name, index: len(w.res), disk: -1, broken: make([]bool, systems), trouble: make([]string, systems),
					lies: make([]schedule.Monitored, systems), lieUntil: make([]vclock.Time, systems)}
				w.res, w.byName[r.Name] = append(w.res, m), m
				for _, n := range w.nodes {
					n.running = append(n.running, false)
				}
			}
			m.gone, m.group, m.typ, m.failover, m.op = false, g.Name, r.Type, parallel.Int() != 1, schedule.OnOff
			enabled, _ := c.ResourceAttr(r, "Enabled", "")
			if enabled.Bool() != m.enabled {
				w.meddled[g.Name] = true
			}
			m.enabled = enabled.Bool()
			switch c.Operations(r.Type) {
			case maincf.OperationsNone:
				m.op = schedule.None
			case maincf.OperationsOnOnly:
				m.op = schedule.OnOnly
			}
			for _, t := range diskTypes {
				if m.disk < 0 && t == r.Type && m.op == schedule.OnOff && m.failover {
					m.disk = len(w.disks)
					w.disks = append(w.disks, disk{name: r.Name, group: g.Name, wrote: -1})
				}
			}
		}
	}
}

// reconfigure is an operator who changes the configuration: edits, dumps,
// whole files with a time to confirm; sensible or not.
func (w *World) reconfigure(r *random, n *node) {
	at := r.between(0, 100*ms)
	do := func(c engine.Command) {
		w.after(at, func() { w.command(n, c) })
		at += r.between(0, 600*ms)
	}
	do(engine.Command{Kind: engine.CommandConfigWritable})
	for range 1 + r.n(4) {
		do(engine.Command{Kind: engine.CommandConfigChange, Edits: w.randomEdits(r)})
		switch r.n(8) {
		case 0:
			do(engine.Command{Kind: engine.CommandConfigDump})
		case 1:
			w.after(at, func() { w.applyOld(r, n) })
		case 2:
			do(engine.Command{Kind: engine.CommandConfigConfirm})
		case 3:
			n = w.nodes[r.n(len(w.nodes))]
		}
	}
	switch r.n(4) {
	case 0: // forgotten: the copies stay marked
	case 1:
		do(engine.Command{Kind: engine.CommandConfigDump})
	default:
		do(engine.Command{Kind: engine.CommandConfigDump, MakeReadOnly: true})
	}
}

// applyOld applies the files that the cluster began with, or those that run,
// with a time to confirm.
func (w *World) applyOld(r *random, n *node) {
	files := w.plan.Files
	if h := w.speaker(); h != nil && r.one(2) {
		files = h.engine.Source().Files()
	}
	w.command(n, engine.Command{Kind: engine.CommandConfigApply, Main: "main.cf", Files: files, Confirm: r.between(0, 4000*ms)})
}

func (w *World) randomEdits(r *random) [][]string {
	g := w.cfg.Groups[r.n(len(w.cfg.Groups))]
	res := w.res[r.n(len(w.res))]
	sys := w.nodes[r.n(len(w.nodes))].name
	name := fmt.Sprintf("x%d", r.n(6))
	switch r.n(11) {
	case 0:
		return [][]string{{"hagrp", "-modify", g.Name, "FailOverPolicy", [...]string{"Priority", "RoundRobin"}[r.n(2)]}}
	case 1:
		return [][]string{{"hares", "-modify", res.name, "Critical", [...]string{"0", "1"}[r.n(2)]}}
	case 2, 3:
		return [][]string{{"hares", "-add", name, "App", g.Name}, {"hares", "-modify", name, "Enabled", "1"}}
	case 4:
		return [][]string{{"hares", "-delete", name}}
	case 5:
		return [][]string{{"hares", "-link", name, res.name}}
	case 6:
		return [][]string{{"hares", "-modify", res.name, "What", fmt.Sprint(r.n(9))}}
	case 7:
		return [][]string{{"hares", "-modify", res.name, "Enabled", [...]string{"0", "1"}[r.n(2)]}}
	case 8:
		return [][]string{{"hagrp", "-modify", g.Name, "AutoFailOver", [...]string{"0", "1", "1"}[r.n(3)]}}
	case 9:
		return [][]string{{"hagrp", "-modify", g.Name, "SystemList", "-add", sys, "9"}}
	}
	return [][]string{{"hagrp", "-modify", g.Name, "AutoStartList", sys}}
}
