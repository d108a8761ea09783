package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/services/had/maincf"
	"github.com/evenkeel/evenkeel/services/had/resource"
	"github.com/evenkeel/evenkeel/services/had/schedule"
)

// agent is the process of one type.
type agent struct {
	typ      string
	started  bool
	up       bool
	waitsUp  bool
	inFlight int
}

// call is one entry point under way. It is a process of its own, so that it
// outlives had when had dies, until the next had ends it (R8).
type call struct {
	*proc
	effect schedule.Call
	agent  *agent
	done   bool
}

// loadResources tells the scheduler what this system looks after.
func (h *hadd) loadResources() {
	c := h.engine.Config()
	if c == nil {
		return
	}
	h.loaded = c
	former, intended := h.told, map[string]bool{}
	if len(former) == 0 { // what is added later was not online before
		intended = h.intended()
	}
	h.told = map[string]schedule.Spec{}
	for _, name := range c.TypesOn(h.n.name) {
		if h.agents[name] == nil {
			h.agents[name] = &agent{typ: name}
		}
	}
	for _, g := range c.Groups {
		if !g.RunsOn(h.n.name) {
			continue
		}
		for _, r := range g.Resources {
			spec := specOf(c, g, r, h.n.name)
			spec.Seen = resource.EffectID(h.engine.Born(r.Name, h.n.name))
			was, there := former[r.Name]
			if there && was.Type != spec.Type {
				h.stepSchedule(schedule.RemoveResource{Resource: r.Name})
				there = false
			}
			h.told[r.Name] = spec
			delete(former, r.Name)
			if there && was == spec {
				continue
			}
			spec.IntentOnline = intended[r.Name]
			h.stepSchedule(schedule.SetResource{Spec: spec})
		}
	}
	for _, name := range sortedKeys(former) {
		h.stepSchedule(schedule.RemoveResource{Resource: name})
	}
	h.startAgents()
}

func specOf(c *maincf.Config, g *maincf.Group, r *maincf.Resource, system string) schedule.Spec {
	number := func(name string) int { v, _ := c.StaticAttr(r, name, system); return v.Int() }
	enabled, _ := c.ResourceAttr(r, "Enabled", system)
	parallel, _ := c.GroupAttr(g, "Parallel", "")
	manage, _ := c.GroupAttr(g, "ManageFaults", "")
	spec := schedule.Spec{
		Resource: r.Name, Type: r.Type, Enabled: enabled.Bool(), Protected: parallel.Int() != 1, ManageFaultsNone: manage.Text == "NONE",
		Limits: schedule.Limits{
			RestartLimit: number("RestartLimit"), OnlineRetryLimit: number("OnlineRetryLimit"),
			OnlineWaitLimit: number("OnlineWaitLimit"), OfflineWaitLimit: number("OfflineWaitLimit"),
			CleanRetryLimit: number("CleanRetryLimit"), ToleranceLimit: number("ToleranceLimit"),
			FaultOnMonitorTimeouts: number("FaultOnMonitorTimeouts"), ConfInterval: number("ConfInterval"),
			MonitorInterval: number("MonitorInterval"), OfflineMonitorInterval: number("OfflineMonitorInterval"),
			MonitorTimeout: number("MonitorTimeout"), OnlineTimeout: number("OnlineTimeout"),
			OfflineTimeout: number("OfflineTimeout"), CleanTimeout: number("CleanTimeout"),
			OpenTimeout: number("OpenTimeout"), CloseTimeout: number("CloseTimeout"), NumThreads: number("NumThreads"),
		},
	}
	switch c.Operations(r.Type) {
	case maincf.OperationsNone:
		spec.Operations = schedule.None
	case maincf.OperationsOnOnly:
		spec.Operations = schedule.OnOnly
	}
	return spec
}

// startAgents starts what has resources here, once no process of a former had
// is left (R8).
func (h *hadd) startAgents() {
	if !h.agentsReady || !h.running {
		return
	}
	for _, name := range sortedKeys(h.agents) {
		a := h.agents[name]
		if a.started {
			continue
		}
		a.started = true
		h.agentComesUp(a, 10*time.Millisecond, 300*time.Millisecond)
	}
}

func (h *hadd) agentComesUp(a *agent, lo, hi time.Duration) {
	h.n.w.later(h.proc, h.n.w.agents.between(lo, hi), func() {
		a.waitsUp = true
		h.maybeUp(a)
	})
}

// maybeUp: results of the former process go first.
func (h *hadd) maybeUp(a *agent) {
	if a.waitsUp && a.inFlight == 0 {
		a.up, a.waitsUp = true, false
		h.stepSchedule(schedule.PluginUp{Type: a.typ})
	}
}

// killAgent is the death of an agent's process, with all that it runs.
func (h *hadd) killAgent(a *agent) {
	w := h.n.w
	if !a.started || !a.up {
		return
	}
	w.tell("agent %s of %s dies", a.typ, h.n.name)
	a.up = false
	for _, id := range sortedCalls(h.calls) {
		if c := h.calls[id]; c.agent == a {
			c.dead = true
			h.finish(c, schedule.EntryPointResult{Outcome: schedule.PluginGone, Detail: "the agent died"})
		}
	}
	w.later(h.proc, w.agents.between(0, 20*time.Millisecond), func() { h.stepSchedule(schedule.PluginDown{Type: a.typ}) })
	h.agentComesUp(a, 100*time.Millisecond, 2*time.Second)
}

// endFormer ends the entry points that a former had left behind (R8).
func (n *node) endFormer() {
	for _, p := range n.procs {
		if p.name == "entry point" {
			p.dead = true
		}
	}
}

func (h *hadd) stepSchedule(ev schedule.Event) {
	w := h.n.w
	if h.dead || w.failure != "" {
		return
	}
	w.steps++
	out := h.sched.Step(h.n.clock(), ev, nil)
	if _, lease := ev.(schedule.Lease); !lease || len(out) > 0 {
		record(w, h.n.name, "schedule", ev, out)
	}
	for _, effect := range out {
		switch e := effect.(type) {
		case schedule.Call:
			h.begin(e)
		case schedule.Cancel:
			if c := h.calls[e.ID]; c != nil {
				c.dead = true
				h.finish(c, schedule.EntryPointResult{Outcome: schedule.Cancelled, Detail: e.Why})
			}
		case schedule.Report:
			h.report(e.Report)
		}
	}
	at, ok := h.sched.Deadline()
	w.arm(&h.scheds, h.proc, at, ok, func() {
		h.stepSchedule(schedule.Wake{})
		h.tick()
	})
	w.later(h.proc, 0, h.tick)
}

// begin runs an entry point in a process of its own.
func (h *hadd) begin(e schedule.Call) {
	n, w := h.n, h.n.w
	c := &call{proc: n.newProc("entry point"), effect: e, agent: h.agents[e.Type]}
	h.calls[e.ID] = c
	w.oracle.begins(h, e)
	if c.agent != nil {
		c.agent.inFlight++
	}
	w.oracle.count("calls " + e.Entry.String())
	w.later(h.proc, n.until(e.Deadline), func() {
		if !c.done {
			c.dead = true
			h.finish(c, schedule.EntryPointResult{Outcome: schedule.TimedOut})
		}
	})
	r := w.resource(e.Resource)
	took := w.agents.between(5*time.Millisecond, w.swarm.EntryTime) + n.slow
	act := w.agents.between(0, took)
	trouble := w.trouble(n, r, e.Entry)
	result := schedule.EntryPointResult{Outcome: schedule.OK}
	if e.Entry == schedule.Online || e.Entry == schedule.Offline {
		w.moment(n, e.Entry.String())
	}
	if trouble != "none" {
		w.say("%s %s %s: %s", n.name, e.Entry, e.Resource, trouble)
		w.oracle.count("entry points " + trouble)
	}
	w.later(c.proc, act, func() {
		if trouble == "fail early" || trouble == "hang early" || trouble == "lie" {
			return
		}
		w.oracle.acts(h, e)
		if why := n.act(r, e.Entry, &result); why != "" {
			result.Outcome, result.Detail = schedule.Failed, why
		}
	})
	if trouble == "hang" || trouble == "hang early" {
		return
	}
	w.later(c.proc, took, func() {
		c.dead = true
		switch trouble {
		case "fail", "fail early":
			result.Outcome, result.Detail = schedule.Failed, "made to fail"
		case "unknown":
			result.Saw = schedule.SawUnknown
		}
		w.later(h.proc, w.agents.between(0, 3*time.Millisecond), func() { h.finish(c, result) })
	})
}

// trouble is what becomes of an entry point.
func (w *World) trouble(n *node, r *resourceModel, e schedule.EntryPoint) string {
	if t := r.trouble[n.id]; t != "" {
		if word, entry := t, e.String(); len(word) > len(entry) && word[:len(entry)] == entry {
			return word[len(entry)+1:]
		}
	}
	if w.calm || !w.agents.one(w.swarm.EntryErrors) {
		return "none"
	}
	switch e {
	case schedule.Monitor:
		return [...]string{"unknown", "hang early", "fail early", "none"}[w.agents.n(4)]
	case schedule.Online, schedule.Offline, schedule.Clean:
		return [...]string{"fail", "fail early", "hang", "hang early", "lie"}[w.agents.n(5)]
	}
	return "none"
}

// finish gives a call its one result.
func (h *hadd) finish(c *call, result schedule.EntryPointResult) {
	if c.done || h.dead {
		return
	}
	c.done = true
	result.Call = c.effect.ID
	h.n.w.later(h.proc, h.n.w.agents.between(0, time.Millisecond), func() {
		delete(h.calls, c.effect.ID)
		if c.agent != nil {
			c.agent.inFlight--
		}
		h.stepSchedule(result)
		if c.agent != nil {
			h.maybeUp(c.agent)
		}
	})
}

func sortedCalls(m map[schedule.CallID]*call) []schedule.CallID {
	ids := make([]schedule.CallID, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	for i := 1; i < len(ids); i++ {
		for j := i; j > 0 && ids[j] < ids[j-1]; j-- {
			ids[j], ids[j-1] = ids[j-1], ids[j]
		}
	}
	return ids
}

// act is what an entry point does to the world; "" if it went well.
func (n *node) act(r *resourceModel, e schedule.EntryPoint, result *schedule.EntryPointResult) string {
	switch e {
	case schedule.Online:
		if r.broken[n.id] && r.op != schedule.None {
			return "it does not run here any more"
		}
		if r.disk >= 0 && !n.running[r.index] {
			if why := n.importDisk(r); why != "" {
				return why
			}
		}
		n.raise(r)
	case schedule.Offline, schedule.Clean:
		if r.op == schedule.OnOff {
			n.lower(r)
		}
	case schedule.Monitor:
		result.Saw = schedule.SawOffline
		if n.running[r.index] || r.op == schedule.None && !r.broken[n.id] {
			result.Saw, result.Confidence = schedule.SawOnline, 100
		}
		n.lie(r, result)
	}
	return ""
}

// agentLies makes the monitors of a type on a system tell the contrary of what
// is, or always the same, for a while.
func (w *World) agentLies(n *node, h hit) {
	r := w.res[h.r.n(len(w.res))]
	if r.op == schedule.None {
		return
	}
	as := [...]schedule.Monitored{schedule.SawOnline, schedule.SawOffline}[h.r.n(2)]
	w.tell("the agent of %s on %s says %s whatever is", r.name, n.name, as)
	until := w.now.Add(h.For)
	r.lies[n.id], r.lieUntil[n.id] = as, until
	w.after(h.For, func() {
		if r.lieUntil[n.id] == until {
			r.lies[n.id] = schedule.SawUnknown
		}
	})
}

// lie changes what a monitor says. Where it hides that something runs, no
// product can keep the group from a second system: I1 excuses it until the
// truth is known again.
func (n *node) lie(r *resourceModel, result *schedule.EntryPointResult) {
	lie := r.lies[n.id]
	if lie == schedule.SawUnknown || lie == result.Saw {
		return
	}
	n.w.oracle.count("monitors that lied")
	if lie == schedule.SawOffline && r.failover {
		n.w.oracle.excused[r.group] = true
	}
	result.Saw, result.Confidence = lie, 100
}

func (n *node) raise(r *resourceModel) {
	if n.running[r.index] {
		return
	}
	n.running[r.index] = true
	n.w.say("%s runs %s", n.name, r.name)
	n.w.oracle.raised(n, r)
	if r.disk >= 0 {
		n.write(r)
	}
}

func (n *node) lower(r *resourceModel) {
	if r.disk >= 0 {
		d := &n.w.disks[r.disk]
		if d.owned && d.owner == n.id {
			d.owned = false
		}
	}
	if n.running[r.index] {
		n.running[r.index] = false
		n.w.say("%s ends %s", n.name, r.name)
	}
}

// appFault is an application that dies by itself.
func (n *node) appFault(r *resourceModel) {
	if !n.on || n.frozen || !n.running[r.index] || r.op == schedule.None {
		return
	}
	n.w.tell("%s on %s dies by itself", r.name, n.name)
	n.running[r.index] = false
	if h := n.had; h != nil && n.w.fate.one(2) {
		n.w.later(h.proc, time.Millisecond, func() { h.stepSchedule(schedule.WatchPush{Resource: r.name}) })
	}
}

// disk is a shared disk with the label that storage agents keep on it (R4).
type disk struct {
	name  string
	group string
	owned bool
	owner int
	inc   uint64
	epoch int // imports so far
	wrote int // who wrote last, -1 nobody
}

// importDisk is what a storage agent does: a foreign label needs evidence, or
// the owner's later incarnation in the membership (R4).
func (n *node) importDisk(r *resourceModel) string {
	d := &n.w.disks[r.disk]
	inc := uint64(0)
	if n.gab != nil {
		inc = n.gab.inc
	}
	if d.owned && d.owner != n.id {
		k := n.known[d.owner]
		later := k.member && k.inc != d.inc
		gone := !k.member && k.evidence != 0 && k.inc >= d.inc
		if !later && !gone {
			n.w.oracle.count("imports refused by the label")
			return "the disk bears the label of " + n.w.nodes[d.owner].name
		}
		n.w.oracle.count("labels taken over")
	}
	n.w.moment(n, "import")
	d.owned, d.owner, d.inc = true, n.id, inc
	d.epoch++
	n.w.oracle.imported(n, d)
	return ""
}

// write lets whoever has the disk imported write to it again and again.
func (n *node) write(r *resourceModel) {
	w := n.w
	boots := n.boots
	d := &w.disks[r.disk]
	epoch := d.epoch
	var again func()
	again = func() {
		if !n.on || n.boots != boots || !n.running[r.index] || d.epoch != epoch && d.owner == n.id && d.owned {
			return
		}
		if !n.frozen {
			w.oracle.wrote(n, d, epoch)
		}
		w.after(w.swarm.WriteEvery, again)
	}
	w.after(time.Millisecond, again)
}
