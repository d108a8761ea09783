// Package join is the way of one had from its start to RUNNING: it compares
// the configuration on its disk with what its peers say of theirs and builds
// from its own disk, from a running peer, or waits. It also decides which
// running system hands its state to a joiner.
//
// The core is pure. Everything that it hears about peers comes out of the
// total order of port h, so that no two systems build from disk at once: a
// system decides only when every member of the view has said its state since
// that view, and among several with a valid configuration the one with the
// highest rank builds, of equal ones the lowest node id. A joiner takes a snapshot at the position of its request (R22).
package join

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// State is a system's state in VCS's words.
type State string

// The states.
const (
	Initing             State = "INITING"
	CurrentDiscoverWait State = "CURRENT_DISCOVER_WAIT"
	CurrentPeerWait     State = "CURRENT_PEER_WAIT"
	StaleDiscoverWait   State = "STALE_DISCOVER_WAIT"
	StalePeerWait       State = "STALE_PEER_WAIT"
	StaleAdminWait      State = "STALE_ADMIN_WAIT"
	AdminWait           State = "ADMIN_WAIT"
	LocalBuild          State = "LOCAL_BUILD"
	RemoteBuild         State = "REMOTE_BUILD"
	Running             State = "RUNNING"
	Leaving             State = "LEAVING"
	Exiting             State = "EXITING"
	ExitingForcibly     State = "EXITING_FORCIBLY"
	Unknown             State = "UNKNOWN"
)

// Disk is what is known of the configuration on this system's disk.
type Disk string

// The states of the disk's configuration.
const (
	DiskValid   Disk = "valid"
	DiskStale   Disk = "stale"
	DiskInvalid Disk = "invalid"
	DiskMissing Disk = "missing"
)

// SnapshotPatience is how long a joiner waits for a whole snapshot before it
// asks anew.
const SnapshotPatience = 30 * time.Second

// maxSnapshot bounds what a joiner collects, in bytes.
const maxSnapshot = 256 << 20

// Member is one system of port h.
type Member struct {
	Name string
	Node int
}

// Config is what New needs.
type Config struct {
	// Self is this system's name.
	Self string
	// Disk is what its disk holds; DiskValid also with had -force.
	Disk Disk
	// Rank orders the copies on the disks: of several valid ones that with the
	// highest rank is built from.
	Rank uint64
}

// Core is the join machine of one system. Not safe for concurrent use.
type Core struct {
	self    string
	disk    Disk
	rank    uint64
	state   State
	view    uint64           // number of the view
	members []Member         // of it, by node id
	states  map[string]State // last announced, members only
	fresh   map[string]bool  // announced since the view
	ranks   map[string]uint64
	build   uint64 // number of the last snapshot request
	asked   vclock.Time
	chunks  map[int][]byte
	total   int
	size    int
	forced  bool
	joiners map[string]*joiner
	why     string
	check   check
	now     vclock.Time
	out     []Effect
}

// joiner is a system that waits for a snapshot of this (running) one.
type joiner struct {
	build  uint64
	sender string
}

// New returns a core in INITING.
func New(cfg Config) (*Core, error) {
	if cfg.Self == "" {
		return nil, fmt.Errorf("start join: the system has no name; write it into the file sysname")
	}
	switch cfg.Disk {
	case DiskValid, DiskStale, DiskInvalid, DiskMissing:
	default:
		return nil, fmt.Errorf("start join: unknown state of the disk's configuration %q", cfg.Disk)
	}
	return &Core{self: cfg.Self, disk: cfg.Disk, rank: cfg.Rank, ranks: map[string]uint64{}, state: Initing, states: map[string]State{},
		fresh: map[string]bool{}, joiners: map[string]*joiner{}}, nil
}

// State is this system's state.
func (c *Core) State() State { return c.state }

// WaitingFor says for people what the system waits for and what leads out, or
// "".
func (c *Core) WaitingFor() string {
	switch c.state {
	case AdminWait:
		return c.because("the running configuration is lost") + "; choose the system with the best configuration and run there: hasys -force SYSTEM (or hastop -local -force to leave)"
	case StaleAdminWait:
		return c.because("the configuration on this disk is "+string(c.disk)+" and no system is RUNNING") + "; put it right and run: hasys -force " + c.self + " (or hastop -local -force to leave, or start a system with a valid configuration)"
	case CurrentDiscoverWait, StaleDiscoverWait:
		return "waits to hear from " + strings.Join(c.missing(), ", ")
	case CurrentPeerWait, StalePeerWait:
		return "waits for a peer that builds from its disk"
	case RemoteBuild:
		return "waits for the state of a RUNNING peer"
	case Unknown:
		return "the running configuration has no system " + c.self + "; add it there: hasys -add " + c.self
	case Initing:
		return "waits for the membership of port h (gabconfig -a shows it; ha fencing status if it is held)"
	}
	return ""
}

func (c *Core) because(text string) string {
	if c.why != "" {
		return c.why
	}
	return text
}

func (c *Core) missing() []string {
	var names []string
	for _, m := range c.members {
		if !c.fresh[m.Name] {
			names = append(names, m.Name)
		}
	}
	if len(names) == 0 {
		return []string{"the system that builds"}
	}
	return names
}

// Step takes one event and appends what is to be done to out.
func (c *Core) Step(now vclock.Time, ev Event, out []Effect) []Effect {
	c.now, c.out = now, out
	switch e := ev.(type) {
	case View:
		c.viewed(e)
	case Announced:
		c.announced(e)
	case SnapshotWanted:
		c.wanted(e)
	case Chunk:
		c.chunk(e)
	case Restored:
		c.restored(e)
	case ConfigDelivered:
		c.configured(e)
	case LoadFailed:
		c.loadFailed(e)
	case Force:
		c.force()
	case Stop:
		c.stop(e)
	case Moved:
		c.state = e.State
	case Named:
		c.named()
	case Marked:
		c.marked(e)
	case Voted:
		c.voted(e)
	case Wake:
		if c.state == RemoteBuild && now >= c.asked.Add(SnapshotPatience) {
			c.ask()
		}
		c.mark()
	}
	c.due()
	out, c.out = c.out, nil
	return out
}

// Deadline is when Step must next be called with Wake{}.
func (c *Core) Deadline() (vclock.Time, bool) {
	if c.state == RemoteBuild && c.asked != vclock.Never {
		return c.asked.Add(SnapshotPatience), true
	}
	if c.check.next != 0 {
		return c.check.next, true
	}
	return 0, false
}

// Hash is over the whole state in canonical order.
func (c *Core) Hash() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s %s %d %v %d %d %d %t %d %t %d %v", c.self, c.disk, c.state, c.view, c.members, c.build, c.asked, c.size, c.forced, c.check.next, c.check.open, c.check.n, c.check.votes)
	for _, m := range c.members {
		fmt.Fprintf(h, " %s=%s/%t", m.Name, c.states[m.Name], c.fresh[m.Name])
		if j := c.joiners[m.Name]; j != nil {
			fmt.Fprintf(h, "<%d %s", j.build, j.sender)
		}
	}
	return h.Sum64()
}

func (c *Core) emit(e Effect) { c.out = append(c.out, e) }

// enter changes the state and announces it.
func (c *Core) enter(s State) {
	if c.state == s {
		return
	}
	c.state = s
	c.emit(Announce{s, c.view, c.rank})
}

func (c *Core) viewed(e View) {
	c.view = e.ID
	c.members = slices.Clone(e.Members)
	slices.SortFunc(c.members, func(a, b Member) int { return a.Node - b.Node })
	c.fresh = map[string]bool{}
	c.check.open = false // who is gone will not vote
	states := map[string]State{}
	for _, m := range c.members {
		if s, known := c.states[m.Name]; known && m.Name != c.self {
			states[m.Name] = s
		}
	}
	c.states = states
	if c.state == Initing {
		if c.disk == DiskValid {
			c.enter(CurrentDiscoverWait)
		} else {
			c.enter(StaleDiscoverWait)
		}
	} else {
		c.emit(Announce{c.state, c.view, c.rank})
	}
	c.handOver()
	if c.state == RemoteBuild && !c.anyIn(Running, Leaving) {
		c.adminWait("the last RUNNING peer left before this system had its state")
	}
	c.decide()
}

func (c *Core) announced(e Announced) {
	if !c.member(e.System) {
		return
	}
	c.states[e.System], c.ranks[e.System] = e.State, e.Rank
	if e.View == c.view { // what was said before this view may be out of date
		c.fresh[e.System] = true
	}
	if e.State == Running || e.State == AdminWait || e.State == StaleAdminWait || e.State == Unknown {
		if c.joiners[e.System] != nil {
			delete(c.joiners, e.System)
			c.emit(DropSnapshot{For: e.System})
		}
	}
	if e.System == c.self && e.State == LocalBuild && c.state == LocalBuild {
		c.emit(LoadConfig{Force: c.forced})
		return
	}
	if e.System == c.self && e.State == Running && c.state == Running {
		c.emit(Run{})
		return
	}
	if e.System != c.self {
		c.handOver()
	}
	c.decide()
}

// decide is VCS's table of states (engine.md 3.1), for the states that wait.
func (c *Core) decide() {
	switch c.state {
	case CurrentDiscoverWait, StaleDiscoverWait, CurrentPeerWait, StalePeerWait:
		if !c.complete() {
			return
		}
	case StaleAdminWait, AdminWait:
	default:
		return
	}
	switch {
	case c.anyIn(Running):
		c.state = RemoteBuild
		c.emit(Announce{RemoteBuild, c.view, c.rank})
		c.ask()
	case c.anyIn(Leaving, Exiting, ExitingForcibly, RemoteBuild):
		// It is on its way; its next word or the view without it decides.
	case c.anyIn(LocalBuild):
		c.peerBuilds()
	case c.state == CurrentDiscoverWait || c.state == CurrentPeerWait:
		c.decideCurrent()
	case c.state == StaleDiscoverWait || c.state == StalePeerWait:
		c.decideStale()
	}
}

func (c *Core) peerBuilds() {
	switch c.state {
	case CurrentDiscoverWait:
		c.enter(CurrentPeerWait)
	case StaleDiscoverWait, StaleAdminWait:
		c.enter(StalePeerWait)
	}
}

func (c *Core) decideCurrent() {
	if c.anyIn(AdminWait) {
		c.adminWait("a peer is in ADMIN_WAIT: the running configuration is lost")
		return
	}
	best := -1
	for i, m := range c.members {
		switch c.stateOf(m.Name) {
		case CurrentDiscoverWait, CurrentPeerWait:
			if best < 0 || c.ranks[m.Name] > c.ranks[c.members[best].Name] {
				best = i
			}
		}
	}
	if best >= 0 && c.members[best].Name == c.self {
		c.enter(LocalBuild)
	}
}

func (c *Core) decideStale() {
	if !c.anyIn(CurrentDiscoverWait, CurrentPeerWait) {
		c.enter(StaleAdminWait)
	}
}

func (c *Core) adminWait(why string) {
	c.why = why
	c.emit(Note{"ERROR", "V-16-1-10625", why})
	c.chunks = nil
	c.enter(AdminWait)
}

// ask requests a snapshot at the position of the request (R22).
func (c *Core) ask() {
	c.build++
	c.asked = c.now
	c.chunks, c.total, c.size = map[int][]byte{}, 0, 0
	c.emit(RequestSnapshot{c.build})
}

func (c *Core) chunk(e Chunk) {
	if c.state != RemoteBuild || e.Build != c.build || e.Total < 1 || e.N < 0 || e.N >= e.Total ||
		(c.total != 0 && c.total != e.Total) {
		return
	}
	if _, have := c.chunks[e.N]; have || c.size+len(e.Data) > maxSnapshot {
		return
	}
	c.total = e.Total
	c.size += len(e.Data)
	c.chunks[e.N] = slices.Clone(e.Data)
	if len(c.chunks) < c.total {
		return
	}
	whole := make([]byte, 0, c.size)
	for n := range c.total {
		whole = append(whole, c.chunks[n]...)
	}
	c.chunks = map[int][]byte{}
	c.asked = vclock.Never
	c.emit(Restore{whole})
}

func (c *Core) restored(e Restored) {
	if c.state != RemoteBuild {
		return
	}
	switch {
	case e.Problem != "":
		c.adminWait("the state of the RUNNING peer cannot be used: " + e.Problem)
	case e.NotInConfig:
		c.enter(Unknown)
	default:
		c.enter(Running)
	}
}

func (c *Core) configured(e ConfigDelivered) {
	if c.state == LocalBuild && e.System == c.self {
		c.forced = false
		c.enter(Running)
	}
}

func (c *Core) loadFailed(e LoadFailed) {
	if c.state != LocalBuild {
		return
	}
	c.why = e.Problem
	c.emit(Note{"ERROR", "V-16-1-10624", e.Problem})
	if c.disk == DiskValid && !c.forced {
		c.disk = DiskInvalid
		c.enter(AdminWait)
		return
	}
	c.disk, c.forced = DiskInvalid, false
	c.enter(StaleAdminWait)
}

// named: the running configuration has this system now (hasys -add).
func (c *Core) named() {
	if c.state == Unknown {
		c.enter(Running)
	}
}

func (c *Core) force() {
	if c.state == AdminWait || c.state == StaleAdminWait {
		c.forced, c.why = true, ""
		c.enter(LocalBuild)
	}
}

func (c *Core) stop(e Stop) {
	if e.Forced || c.state == Exiting {
		c.state = ExitingForcibly
		if !e.Forced {
			c.state = Exiting
		}
		c.emit(Leave(e))
	}
}

// wanted is a peer's request for a snapshot, at its position in the order.
func (c *Core) wanted(e SnapshotWanted) {
	if e.System == c.self || c.state != Running || !c.member(e.System) {
		return
	}
	c.joiners[e.System] = &joiner{build: e.Build}
	c.emit(TakeSnapshot{For: e.System, Build: e.Build})
	c.handOver()
}

// handOver lets the lowest RUNNING system send; the next one takes over when
// it is gone.
func (c *Core) handOver() {
	for _, name := range c.joinerNames() {
		j := c.joiners[name]
		if !c.member(name) {
			delete(c.joiners, name)
			c.emit(DropSnapshot{For: name})
			continue
		}
		sender := c.lowestRunning()
		if j.sender != sender && sender == c.self && c.state == Running {
			c.emit(SendSnapshot{For: name, Build: j.build})
		}
		j.sender = sender
	}
}

func (c *Core) joinerNames() []string {
	names := make([]string, 0, len(c.joiners))
	for name := range c.joiners {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *Core) lowestRunning() string {
	for _, m := range c.members {
		if c.stateOf(m.Name) == Running {
			return m.Name
		}
	}
	return ""
}

func (c *Core) stateOf(name string) State {
	if name == c.self {
		return c.state
	}
	return c.states[name]
}

// anyIn reports whether a peer is in one of the states.
func (c *Core) anyIn(states ...State) bool {
	for _, m := range c.members {
		if m.Name != c.self && slices.Contains(states, c.states[m.Name]) {
			return true
		}
	}
	return false
}

func (c *Core) complete() bool {
	for _, m := range c.members {
		if !c.fresh[m.Name] {
			return false
		}
	}
	return len(c.members) > 0
}

func (c *Core) member(name string) bool {
	return slices.ContainsFunc(c.members, func(m Member) bool { return m.Name == name })
}
