// Package server is the fencing daemon: the shell around the race core. It
// joins port b of gab, carries out the core's operations on the coordination
// points and the power switch, answers gab, stops the system when its side
// lost, keeps what had declares as protected, and watches gab and hashadow.
//
// One goroutine, Run's, owns the core. Workers do the operations and hand one
// completion each back.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/journal"
	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/localrpc/window"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Config is what the daemon works with.
type Config struct {
	Root    paths.Root
	Fencing conf.Config
	Log     *slog.Logger
}

// LoadConfig reads fencing.conf below root; a missing file is mode disabled.
func LoadConfig(root paths.Root) (conf.Config, error) {
	text, err := os.ReadFile(root.Config("fencing.conf"))
	if errors.Is(err, os.ErrNotExist) {
		return conf.Default(), nil
	}
	if err != nil {
		return conf.Config{}, fmt.Errorf("read fencing.conf: %w", err)
	}
	return conf.Parse("fencing.conf", text)
}

// Daemon is the fencing daemon of one system.
type Daemon struct {
	cfg      Config
	log      *slog.Logger
	core     *fencing.Core
	points   []point
	power    powerSwitch // nil without one
	arming   *arming
	gab      gabv1.GabServiceClient
	llt      gabv1.LltServiceClient
	conn     *grpc.ClientConn
	session  *session // nil while not attached
	nextBeat time.Time

	// events: what workers and the session hand to the loop. They wait while it
	// is full (64); the loop never waits for them.
	events chan input
	// snapshot is replaced by the loop after every step, for readers.
	snapshot atomic.Pointer[stamped]
	workers  sync.WaitGroup
	vouched  vouches
	journal  *journal.Ring
	stopping chan struct{} // closed by OrderedStop
	stopOnce sync.Once
}

// stamped is a snapshot and the time of the step.
type stamped struct {
	fencing.Snapshot
	at vclock.Time
}

// input is one thing for the loop: an event, or a function that the loop runs.
type input struct {
	event fencing.Event
	run   func()
}

// New opens the points and makes the daemon; nothing runs before Run.
func New(cfg Config) (*Daemon, error) {
	points, err := openPoints(cfg.Fencing, cfg.Root)
	if err != nil {
		return nil, err
	}
	core, err := fencing.New(fencing.Config{
		Points: len(points), RaceDelay: cfg.Fencing.RaceDelay, RaceTimeout: cfg.Fencing.RaceTimeout,
		PowerSwitch: cfg.Fencing.PowerSwitch != "",
	})
	if err != nil {
		return nil, err
	}
	if cfg.Fencing.PowerSwitch == conf.SwitchLab && !lab.InLab(cfg.Root) {
		return nil, fmt.Errorf("fencing.conf: power_switch lab works only in a lab (%s does not exist)", cfg.Root.LabMarker())
	}
	conn, err := grpc.NewClient("unix:"+cfg.Root.Socket(standing.GAB),
		append(window.Dial(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())...)
	if err != nil {
		return nil, fmt.Errorf("reach gab: %w", err)
	}
	d := &Daemon{
		cfg: cfg, log: cfg.Log, core: core, points: points, conn: conn,
		gab: gabv1.NewGabServiceClient(conn), llt: gabv1.NewLltServiceClient(conn),
		arming:  newArming(cfg.Root, cfg.Fencing, cfg.Log),
		journal: journal.New(8192, 4<<20),
		events:  make(chan input, 64), stopping: make(chan struct{}),
	}
	if cfg.Fencing.PowerSwitch != "" {
		d.power = labSwitch{root: cfg.Root}
	}
	d.journal.Start(fmt.Sprintf("fencing core: %d points, delay %v, timeout %v, power switch %q", len(points), cfg.Fencing.RaceDelay, cfg.Fencing.RaceTimeout, cfg.Fencing.PowerSwitch))
	d.snapshot.Store(&stamped{at: standing.Boottime()})
	return d, nil
}

// ErrProtected says that an ordered stop is refused because something
// protected is here (R14).
var ErrProtected = errors.New("something protected is online here; stop it first (hastop), or this system would be without fencing")

// OrderedStop ends Run in order: leaves port b, withdraws the own keys, says
// that it stops. It is refused with ErrProtected while something protected is
// here (R14).
func (d *Daemon) OrderedStop() error {
	if standing.Resources(d.cfg.Root) > 0 {
		return ErrProtected
	}
	d.stopOnce.Do(func() { close(d.stopping) })
	return nil
}

// Run runs the daemon until ctx is done (as if killed) or OrderedStop.
func (d *Daemon) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer d.conn.Close()
	defer d.workers.Wait()
	defer cancel(nil)
	rpc := localrpc.New(d.cfg.Root.Socket(standing.Fencing), d.log)
	fencingv1.RegisterFencingServiceServer(rpc.GRPC, &api{d: d})
	d.arming.inherit(ctx)
	d.workers.Go(func() {
		if err := rpc.Serve(ctx); err != nil {
			cancel(err)
		}
	})
	d.workers.Go(func() {
		err := standing.Run(ctx, standing.Config{
			Root: d.cfg.Root, Self: standing.Fencing, Log: d.log,
			Stop: d.selfStop,
			// The stream ends by itself with gab; without hashadow and with
			// nothing protected, leaving port b is what is left to do.
			Leave: func(reason string) {
				d.call(ctx, func() {
					d.detach(reason)
					d.step(ctx, fencing.Detached{Reason: reason})
				})
			},
		})
		if err != nil {
			cancel(err)
		}
	})
	d.workers.Go(func() { d.pollMembership(ctx) })
	d.loop(ctx)
	d.saveJournal()
	if d.session != nil {
		d.session.close()
	}
	select {
	case <-d.stopping:
		d.withdraw(ctx)
		if err := d.arming.disarm(); err != nil {
			d.log.Warn("watchdog not disarmed", "error", err)
		}
		return standing.SayStopping(d.cfg.Root, standing.Fencing)
	default:
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// saveJournal writes what the core was told, for hasim replay and for people.
func (d *Daemon) saveJournal() {
	if err := d.journal.Save(d.cfg.Root.Log("fencing.journal")); err != nil {
		d.log.Warn("journal not saved", "error", err)
	}
}

// withdraw takes the own key off all points: a clean stop (R13).
func (d *Daemon) withdraw(ctx context.Context) {
	s := d.snapshot.Load()
	if s.Phase == fencing.Waiting && s.Self.Incarnation == 0 {
		return
	}
	key := fencing.Key{Cluster: s.Cluster, Node: s.Self.Node, Incarnation: s.Self.Incarnation}
	for i := range d.points {
		if r := d.try(ctx, i, fencing.Operation{Kind: fencing.OpWithdrawOwn, Key: key}); r.Outcome != fencing.OK {
			d.log.Warn("own key not withdrawn", "point", i+1, "outcome", r.Outcome.String(), "detail", r.Detail)
		}
	}
}

// loop owns the core until ctx is done or an ordered stop.
func (d *Daemon) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(d.wait())
		select {
		case <-ctx.Done():
			return
		case <-d.stopping:
			return
		case in := <-d.events:
			if in.run != nil {
				in.run()
			} else {
				d.step(ctx, in.event)
			}
		case <-timer.C:
			if at, ok := d.core.Deadline(); ok && at <= standing.Boottime() {
				d.step(ctx, fencing.Wake{})
			}
		}
		d.beat()
	}
}

// wait is until the core's deadline or the next heartbeat.
func (d *Daemon) wait() time.Duration {
	wait := time.Hour
	if at, ok := d.core.Deadline(); ok {
		wait = min(wait, at.Sub(standing.Boottime()))
	}
	if d.session != nil {
		if interval, ok := d.session.beat(); ok {
			wait = min(wait, interval/2, time.Until(d.nextBeat))
		} else {
			wait = min(wait, 20*time.Millisecond)
		}
	}
	return max(0, wait)
}

// beat sends the heartbeat that is due: from this loop, so that a loop that
// hangs is a client that is silent.
func (d *Daemon) beat() {
	if d.session == nil {
		return
	}
	interval, ok := d.session.beat()
	if !ok || time.Now().Before(d.nextBeat) {
		return
	}
	d.nextBeat = time.Now().Add(interval / 2)
	d.session.send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Heartbeat{Heartbeat: &gabv1.Heartbeat{}}})
}

// post hands an event to the loop; after the end of the loop it is dropped.
func (d *Daemon) post(ctx context.Context, ev fencing.Event) {
	select {
	case d.events <- input{event: ev}:
	case <-ctx.Done():
	case <-d.stopping:
	}
}

// call has the loop run f.
func (d *Daemon) call(ctx context.Context, f func()) {
	select {
	case d.events <- input{run: f}:
	case <-ctx.Done():
	case <-d.stopping:
	}
}

func (d *Daemon) step(ctx context.Context, ev fencing.Event) {
	if m, ok := ev.(fencing.Delivered); ok {
		if v, ok := m.Message.(fencing.Vouch); ok {
			defer d.vouched.delivered(v.Request)
		}
	}
	d.log.Debug("event", "event", ev.String())
	now := standing.Boottime()
	d.journal.Add(now, "fencing", ev, 256)
	effects := d.core.Step(now, ev, nil)
	d.snapshot.Store(&stamped{Snapshot: d.core.Snapshot(), at: now})
	for _, e := range effects {
		d.log.Debug("effect", "effect", e.String())
		d.carryOut(ctx, e)
	}
}

func (d *Daemon) carryOut(ctx context.Context, effect fencing.Effect) {
	switch e := effect.(type) {
	case fencing.PointOp:
		d.doPoint(ctx, e)
	case fencing.PowerOff:
		d.doPowerOff(ctx, e)
	case fencing.PowerQuery:
		d.doPowerQuery(ctx, e)
	case fencing.Attach:
		d.attach(ctx)
	case fencing.Detach:
		d.detach(e.Reason)
	case fencing.Broadcast:
		d.broadcast(e.Message)
	case fencing.Answer:
		if d.session != nil {
			d.session.send(answerTo(e))
		}
		d.log.Info("evidence told to gab", "view", e.View.String(), "answer", e.String())
	case fencing.SelfStop:
		d.saveJournal()
		d.workers.Go(func() { d.lost(ctx, e.Reason) })
	case fencing.Note:
		d.log.Info("fencing", "code", e.Code, "text", e.Text)
	}
}

func (d *Daemon) broadcast(m fencing.Message) {
	payload, err := encode(m)
	if err != nil {
		d.log.Error("message not sent", "error", err)
		return
	}
	if d.session != nil {
		d.session.broadcast(payload)
	}
}

func (d *Daemon) attach(ctx context.Context) {
	d.detach("attaching again")
	d.nextBeat = time.Time{}
	s := newSession(func(from uint32, err error) { d.log.Warn("message on port b dropped", "from", from, "error", err) })
	inner, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	d.session = s
	// What an earlier session still says is dropped by the loop: it is of a
	// view that the core has left.
	h := handlers{
		deliver: func(s *session, ev fencing.Event) {
			d.call(ctx, func() {
				if d.session == s {
					d.step(ctx, ev)
				}
			})
		},
		ended: func(s *session, err error) {
			d.call(ctx, func() {
				if d.session == s { // not one that the loop itself has left
					d.session = nil
					d.step(ctx, fencing.Detached{Reason: fmt.Sprintf("gab's stream on port b ended: %v", err)})
				}
			})
		},
	}
	d.workers.Go(func() { s.attach(inner, d.gab, string(d.cfg.Fencing.Mode), h) })
}

// detach leaves port b without a word to the core: it asked for it, or attaches
// again.
func (d *Daemon) detach(reason string) {
	if d.session == nil {
		return
	}
	d.log.Info("leaving port b", "reason", reason)
	old := d.session
	d.session = nil
	old.cancel()
}

// lost: the side of this system lost a race (R2). With something protected it
// stops itself; else it leaves the cluster.
func (d *Daemon) lost(ctx context.Context, reason string) {
	if standing.Resources(d.cfg.Root) > 0 {
		d.selfStop(ctx, reason)
		return
	}
	d.log.Error("race lost, nothing protected here: leaving the cluster", "reason", reason)
	once, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := d.gab.Leave(once, &gabv1.LeaveRequest{Force: true}); err != nil {
		d.log.Error("gab did not leave; this system stops itself", "error", err)
		d.selfStop(ctx, reason)
	}
}

// selfStop does not return while the system lives.
func (d *Daemon) selfStop(ctx context.Context, reason string) {
	d.log.Error("this system stops itself", "reason", reason, "action", d.arming.action())
	d.arming.stopper().Must(ctx, reason, func(err error) { d.log.Error("self-stop failed; trying again", "error", err) })
}

// pollMembership tells the core about gab's membership while it is not on
// port b.
func (d *Daemon) pollMembership(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.stopping:
			return
		case <-tick.C:
		}
		switch d.snapshot.Load().Phase {
		case fencing.Waiting, fencing.Starting, fencing.Refused:
		default:
			continue
		}
		start, err := d.membership(ctx)
		if err != nil {
			d.log.Debug("no membership yet", "error", err)
			continue
		}
		d.post(ctx, start)
	}
}

// membership asks gab for port a; an error until this system is in it.
func (d *Daemon) membership(ctx context.Context) (fencing.Start, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	transport, err := d.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil {
		return fencing.Start{}, err
	}
	members, err := d.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return fencing.Start{}, err
	}
	for _, port := range members.GetPorts() {
		if port.GetPort() != "a" {
			continue
		}
		start := fencing.Start{Cluster: uint16(transport.GetClusterId()), Systems: systemsOf(port.GetMembers())}
		for _, s := range start.Systems {
			if uint32(s.Node) == transport.GetNodeId() {
				start.Self = s
				return start, nil
			}
		}
	}
	return fencing.Start{}, errors.New("this system is in no membership yet")
}
