package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/link"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

const (
	requestQueue = 1024 // of calls and clients; full: the caller waits, so a client that floods blocks itself
	startGrace   = 5 * time.Second
)

// What the last byte of a transport message says.
const (
	tagCore byte = 'G' // a message of the gab core
	tagFlow byte = 'F' // port letter, then what of its client there: flow values
)

// errGone ends calls of an incarnation that is over.
var errGone = errors.New("this incarnation of gab is over")

// loop is one incarnation of gab. Whoever holds the turn owns both cores, and
// all fields without another word.
//
// Frames, calls and time each come on goroutines of their own. They take the
// turn (take, kick) and step the cores themselves, and what the cores want
// sent leaves from there by the end of the turn: between a frame's arrival and
// its answer, or a client's message and its frames, lies no queue and no other
// goroutine. Somebody who finds the turn taken leaves calls in requests, which
// the holder works off before it goes. One owner at a time, in the order in
// which they came to the turn: for the cores that is one goroutine.
//
// A holder that does not come back stalls both cores. Others wait for the turn
// then, heartbeats go on for a while with the age of the last turn in them
// (type pulse), and the peers judge by that age (R19).
type loop struct {
	s     *Server
	log   *slog.Logger
	inc   uint64
	llt   *llt.Core
	gab   *gab.Core
	links *link.Set
	lease vclock.Duration
	beat  vclock.Duration // LLT's heartbeat

	requests chan func()   // bound requestQueue
	mu       sync.Mutex    // the turn
	timer    *time.Timer   // of the next deadline
	armed    vclock.Time   // when timer fires
	ended    chan struct{} // closed when over is set
	done     chan struct{}
	workers  sync.WaitGroup
	persist  chan gab.PersistCounter // bound 1: the core asks for one at a time

	last     vclock.Time // of the last turn
	gabAt    vclock.Time // of the last step of the gab core
	started  vclock.Time
	sends    uint64
	lltQueue []llt.Event
	lltSpare []llt.Event
	sendPool []*llt.Send
	gabQueue []gab.Event
	lltOut   []llt.Effect
	gabOut   []gab.Effect

	conns    [llt.MaxNodes]uint64
	jeopardy [llt.MaxNodes]bool
	clogged  [llt.MaxNodes]bool // LLT asked to send no more to it
	slow     [llt.MaxNodes]uint32
	stalled  [llt.MaxNodes]uint32 // clients that live and say nothing, by port
	clients  [26]*client
	leave    []chan error // calls that wait for Left or LeaveRefused
	over     *ending
	dirty    bool // what readers see has changed

	toFlush    [26]bool // by port: the client got something in this turn
	lastView   gab.ViewID
	lastViewID *gabv1.ViewId          // of lastView
	specs      [llt.MaxLinks]linkSpec // by number of the link
	reports    [llt.MaxNodes]report   // what peers say of the links
	reported   [llt.MaxNodes]string   // what was said to them last
	reportedAt vclock.Time
	newView    bool           // the driver of a rotation must look again
	rot        *rotation      // nil if none is under way
	rotWaits   []rotationWait // calls of RotateKey
	background context.Context

	toldYield bool        // a client of port h has heard of yielded
	rejoining bool        // yielded, and in no view since
	wordAt    vclock.Time // when those who watch must hear again that gab lives, while rejoining

	turn     atomic.Int64 // BOOTTIME of the last turn, for the senders (R19)
	pulse    pulse
	out      atomic.Bool // stood still: nothing may be sent any more
	standing atomic.Bool // in a view
	current  atomic.Pointer[snapshot]
	leaseMu  sync.Mutex
	leaseNow *gabv1.WatchLeaseResponse
	leaseNew chan struct{} // closed when leaseNow changes
}

// ending is why an incarnation is over.
type ending struct {
	left    bool // leave completed: the daemon ends
	err     error
	reason  string
	yielded bool // R17 after the rejoin
	stop    bool // this system must stop itself
}

// snapshot is what readers see; it is replaced, never changed.
type snapshot struct {
	status gab.Status
	ports  []gab.PortStatus
	// stalled is by node and port.
	stalled [llt.MaxNodes]uint32
	slow    [llt.MaxNodes]uint32 // the same of clients that take too little
}

func newLoop(s *Server, yielded bool) (*loop, error) {
	cfg := s.cfg
	l := &loop{
		s: s, inc: incarnation(time.Now()), requests: make(chan func(), requestQueue), ended: make(chan struct{}), done: make(chan struct{}),
		persist: make(chan gab.PersistCounter, 1), leaseNew: make(chan struct{}), leaseNow: &gabv1.WatchLeaseResponse{},
		specs: linkSpecs(cfg.Tab), beat: cfg.Tab.Timers.Heartbeat, lease: cfg.Tab.Timers.PeerInact / 2,
	}
	l.pulse.gone = make(chan struct{})
	l.log = cfg.Log.With("incarnation", fmt.Sprintf("%x", l.inc))
	tc := llt.Config{
		Cluster: cfg.Tab.Cluster, Node: cfg.Node, Incarnation: l.inc, Links: link.Configs(cfg.Tab.Links),
		Peers: cfg.Hosts.IDs(), Exclude: cfg.Tab.Exclude, Timers: cfg.Tab.Timers, Key: cfg.Key,
		NextKey: cfg.NextKey, OldKeys: cfg.OldKeys, Messages: llt.Formats(gab.SpokenFormats),
	}
	if cfg.Tab.Include != nil {
		tc.Peers = cfg.Tab.Include
	}
	rand.Read(tc.BootID[:])
	rand.Read(tc.Seed[:])
	var err error
	if l.llt, err = llt.New(tc); err != nil {
		return nil, err
	}
	counter, err := readCounter(cfg.Root)
	if err != nil {
		l.log.Warn("the generation counter is lost; going on, the lineage will differ", "error", err)
	}
	l.gab, err = gab.New(gab.Config{
		Node: gab.NodeID(cfg.Node), Incarnation: l.inc, Lineage: random64(), SeedCount: int(s.seedCount.Load()),
		FencingDisabled: cfg.FencingMode == "disabled", PersistedCounter: counter,
		Stable: cfg.Tab.Timers.Stable, PeerInact: cfg.Tab.Timers.PeerInact,
	})
	if err != nil {
		return nil, err
	}
	l.current.Store(&snapshot{status: l.gab.Status()})
	s.yielded.Store(yielded)
	l.rejoining = yielded
	return l, nil
}

// do runs f in a turn and waits for it. A holder of the turn must not call it.
func (l *loop) do(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case l.requests <- func() { f(); close(ran) }:
	case <-l.done:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
	l.kick()
	select {
	case <-ran:
		return nil
	case <-l.done:
		return errGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mayGo says whether anything may be sent or delivered now (R19): not after
// this process stood still for longer than the lease, until the core has
// decided what that means.
func (l *loop) mayGo() bool {
	if l.out.Load() {
		return false
	}
	gap := standing.Boottime().Sub(vclock.Time(l.turn.Load()))
	return gap <= l.lease || !l.standing.Load()
}

// run lives one incarnation. It returns when that is over or ctx is done.
func (l *loop) run(ctx context.Context) ending {
	l.mu.Lock()
	links, err := link.Open(link.Config{
		Links: l.s.cfg.Tab.Links, Cluster: l.s.cfg.Tab.Cluster, Node: l.s.cfg.Node, MayGo: l.mayGo, Take: l.take, Log: l.log,
		Beat: l.s.cfg.Tab.Timers.HeartbeatLow, Deadline: l.s.cfg.Tab.Timers.PeerInact,
	})
	if err != nil {
		l.mu.Unlock()
		return ending{err: err}
	}
	l.links = links
	inner, cancel := context.WithCancel(context.Background())
	l.background = inner
	l.workers.Go(func() { l.persister(inner) })
	l.workers.Go(func() { l.pulse.live(inner, l) })
	l.log.Info("gab begins", "node", l.s.cfg.Node, "cluster", l.s.cfg.Tab.Cluster, "fencing", l.s.cfg.FencingMode)
	l.s.journal.Start(fmt.Sprintf("node %d incarnation %x cluster %d", l.s.cfg.Node, l.inc, l.s.cfg.Tab.Cluster))
	l.last = standing.Boottime()
	l.turn.Store(int64(l.last))
	l.started = l.last
	l.gabQueue = append(l.gabQueue, gab.Wake{})
	if l.s.cfg.Gabtab.SeedNow {
		l.gabQueue = append(l.gabQueue, gab.Seed{})
	}
	l.armed = vclock.Never
	l.timer = time.AfterFunc(time.Hour, l.tick)
	l.turnOnce(nil)
	l.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-l.ended:
	}
	l.mu.Lock()
	if l.over == nil {
		l.over = &ending{reason: "stopped"}
	}
	end := *l.over
	l.timer.Stop()
	l.finish(end)
	l.mu.Unlock()
	cancel()
	l.workers.Wait()
	links.Close()
	return end
}

// take is a turn for what came from a link; nothing means that it is time for
// one. It waits for the turn.
func (l *loop) take(events []llt.Event) {
	l.mu.Lock()
	l.turnOnce(events)
	l.mu.Unlock()
	l.kick()
}

// kick works off the requests if nobody holds the turn: whoever holds it comes
// by here afterwards.
func (l *loop) kick() {
	for len(l.requests) > 0 && l.mu.TryLock() {
		over := l.over != nil
		l.turnOnce(nil)
		l.mu.Unlock()
		if over {
			return
		}
	}
}

// tick is a turn because of the time.
func (l *loop) tick() {
	l.mu.Lock()
	l.armed = vclock.Never
	l.turnOnce(nil)
	l.mu.Unlock()
	l.kick()
}

// turnOnce handles events and the requests that are there, up to a bound:
// under load, work is done in batches. What the cores want sent is on its way
// when it returns.
func (l *loop) turnOnce(events []llt.Event) {
	defer l.saveOnPanic()
	if l.over != nil {
		return
	}
	now := standing.Boottime()
	l.begin(now)
	l.lltQueue = append(l.lltQueue, events...)
	for range 64 {
		select {
		case request := <-l.requests:
			request()
			continue
		default:
		}
		break
	}
	l.settle(now)
	l.links.Flush(l.llt.Recycle)
	l.flushClients()
	if l.over != nil {
		l.pulse.off.Store(true)
		close(l.ended)
		return
	}
	l.turn.Store(int64(now))
	l.arm(now)
}

// arm sees to it that tick comes at the next deadline. A timer that is set to
// an earlier time stays: it costs less to be called once for nothing than to
// set it anew with each frame.
func (l *loop) arm(now vclock.Time) {
	if at := l.deadline(); at < l.armed {
		l.armed = at
		l.timer.Reset(max(at.Sub(now), 0))
	}
}

// deadline is until when the loop may do nothing: until a core wants to be
// called, and at most half a heartbeat, so that the age that heartbeats carry
// is true (R19).
func (l *loop) deadline() vclock.Time {
	at := l.last.Add(l.beat / 2)
	if t, ok := l.llt.Deadline(); ok {
		at = vclock.Earlier(at, t)
	}
	if t, ok := l.gab.Deadline(); ok {
		at = vclock.Earlier(at, t)
	}
	return at
}

// begin looks at the gap since the last turn (R19).
func (l *loop) begin(now vclock.Time) {
	gap := now.Sub(l.last)
	l.last = now
	if gap <= l.lease {
		return
	}
	l.log.Warn("gab stood still", "ms", gap.Milliseconds(), "id", "V-14-1-10035")
	if l.standing.Load() {
		l.out.Store(true)
	}
	l.gabQueue = append(l.gabQueue, gab.Paused{Gap: gap})
}

// settle steps both cores until neither has anything to say to the other and
// no client has anything that may go.
func (l *loop) settle(now vclock.Time) {
	l.drain(now)
	if at, ok := l.gab.Deadline(); (ok && at <= now) || now.Sub(l.gabAt) >= l.beat/2 {
		l.stepGab(now, gab.Wake{})
	}
	l.stepLLT(now, llt.CoreAlive{})
	l.lend(now)
	l.sendReports(now)
	l.rejoin(now)
	for l.over == nil {
		l.drain(now)
		if !l.pumpClients(now) {
			return
		}
	}
}

func (l *loop) drain(now vclock.Time) {
	for l.over == nil && (len(l.lltQueue) > 0 || len(l.gabQueue) > 0) {
		for _, ev := range l.takeGab() {
			l.stepGab(now, ev)
		}
		queue := l.lltQueue
		l.lltQueue = l.lltSpare[:0]
		for _, ev := range queue {
			l.stepLLT(now, ev)
			if sent, ok := ev.(*llt.Send); ok && len(l.sendPool) < 1024 {
				*sent = llt.Send{}
				l.sendPool = append(l.sendPool, sent)
			}
		}
		clear(queue)
		l.lltSpare = queue
	}
}

func (l *loop) takeGab() []gab.Event {
	q := l.gabQueue
	l.gabQueue = nil
	return q
}

func (l *loop) stepLLT(now vclock.Time, ev llt.Event) {
	if l.over != nil {
		return
	}
	l.s.journalLLT(now, ev)
	out := l.llt.Step(now, ev, l.lltOut[:0])
	for _, e := range out {
		l.lltEffect(e)
	}
	clear(out)
	l.lltOut = out
}

func (l *loop) stepGab(now vclock.Time, ev gab.Event) {
	if l.over != nil {
		return
	}
	l.gabAt = now
	l.s.journal.Add(now, "gab", ev, weight(ev))
	out := l.gab.Step(now, ev, l.gabOut[:0])
	for _, e := range out {
		l.gabEffect(e)
	}
	clear(out)
	l.gabOut = out
	if l.newView { // the core is between steps: its status is whole
		l.newView = false
		l.drive()
	}
	switch ev.(type) {
	case gab.MsgIn, gab.Send:
		if !l.dirty { // nothing that readers see has changed
			return
		}
	}
	l.publish()
}

// publish lets readers see what is now.
func (l *loop) publish() {
	l.dirty = false
	l.current.Store(&snapshot{status: l.gab.Status(), ports: l.gab.Ports(), stalled: l.stalled, slow: l.slow})
}

// rejoin tells those who watch gab that it lives, while it waits to be admitted
// after a split without fencing: there is no lease, so nothing is raised, but
// what runs here may run on until had hears what to take offline (R17).
func (l *loop) rejoin(now vclock.Time) {
	switch {
	case !l.rejoining || l.over != nil:
	case l.standing.Load():
		l.rejoining = false
	case now >= l.wordAt:
		l.wordAt = now.Add(l.lease / 4)
		l.setLease(&gabv1.WatchLeaseResponse{YieldingUntilBoottimeNs: int64(now.Add(l.lease))})
	}
}

// finish tells everybody that the incarnation is over.
func (l *loop) finish(end ending) {
	reason := end.reason
	if end.err != nil {
		reason = end.err.Error()
	}
	for _, c := range l.clients {
		if c != nil {
			c.close(reason)
		}
	}
	if !end.stop && !end.yielded {
		l.setLease(&gabv1.WatchLeaseResponse{})
	}
	for _, w := range l.leave {
		w <- errGone
	}
	close(l.done)
}

// persister writes counters; it ends with ctx.
func (l *loop) persister(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-l.persist:
			err := writeCounter(l.s.cfg.Root, p.Counter)
			if err != nil {
				l.log.Error("the generation counter cannot be written", "error", err)
			}
			if l.do(ctx, func() { l.gabQueue = append(l.gabQueue, gab.CounterPersisted{ID: p.ID, OK: err == nil}) }) != nil {
				return
			}
		}
	}
}

// saveOnPanic keeps the journal of a core that broke an invariant. The daemon
// dies of it at once, whoever held the turn: the survivors among the daemons
// stop the system (R2). No interceptor of a call may recover from it.
func (l *loop) saveOnPanic() {
	if p := recover(); p != nil {
		l.log.Error("a core broke an invariant", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		if err := l.s.journal.Save(l.s.cfg.Root.State("gab.crash.journal")); err != nil {
			l.log.Error("the journal is lost", "error", err)
		}
		go panic(p) // ends the process
		select {}
	}
}

func (l *loop) name(n gab.NodeID) string { return l.s.cfg.Hosts.NameOf(llt.NodeID(n)) }

// noteAttrs turns "name=value" words into log attributes.
func noteAttrs(words []string) []any {
	var out []any
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		out = append(out, slog.String(name, value))
	}
	return out
}

// weight is about how many bytes an event holds while it is in the journal.
func weight(ev gab.Event) int {
	switch e := ev.(type) {
	case gab.MsgIn:
		return 128 + cap(e.Msg)
	case gab.Send:
		return 128 + payloadBytes(e.Payloads)
	}
	return 128
}
