// Package standing lets the daemons of one system watch each other, so that
// none of them can be lost under something protected without the system
// stopping itself (safety rule R2).
//
// gab, fencing and hashadow each call Run. It finds the other two by the peer
// credentials of their unix sockets, holds pidfds on them, reads gab's leases
// (WatchLease), and feeds the pure core in package verdict. Its callbacks do
// what the core decides. KeepRunning is the other half, with which had and
// hashadow restart each other.
package standing

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc/window"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing/verdict"
	"github.com/evenkeel/evenkeel/internal/vclock"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Names of the daemons.
const (
	GAB      = verdict.GAB
	Fencing  = verdict.Fencing
	Hashadow = verdict.Hashadow
	Had      = "had"
)

// Config is what Run works with.
type Config struct {
	// Root of the system's files.
	Root paths.Root
	// Self is GAB, Fencing or Hashadow.
	Self string
	// Stop stops this system; it is called once, by Run's own goroutine, and
	// is expected not to return while the system lives (selfstop.Must).
	Stop func(ctx context.Context, reason string)
	// Leave is called when the standing is lost and nothing protected is here.
	// It must not block.
	Leave func(reason string)
	// Log for what is seen.
	Log *slog.Logger
	// Grace is how long fencing or hashadow may be missing, 0 for 2 s.
	Grace time.Duration
}

// poll is how often an absent daemon is looked for, and what is protected is
// read while a cause stands. An exit is seen at once, by pidfd.
const poll = 50 * time.Millisecond

// frozenPoll is how often a present daemon is looked at for a stop by a signal,
// which nothing announces; short beside the grace of 2 s.
const frozenPoll = 100 * time.Millisecond

// asleepPoll bounds how long a deadline on CLOCK_BOOTTIME can be missed because
// the machine slept; nothing else needs it.
const asleepPoll = 200 * time.Millisecond

// again is the pause before the leases of gab are asked for again: short, since
// its next incarnation may be in a view already.
const again = 10 * time.Millisecond

// Boottime is CLOCK_BOOTTIME as the cores see it.
func Boottime() vclock.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME: %v", err)) // cannot happen on Linux since 2.6.39
	}
	return vclock.Time(ts.Nano())
}

// Run watches until ctx is done; then it returns nil. It owns all goroutines
// that it starts and ends them before it returns.
func Run(ctx context.Context, cfg Config) error {
	core, err := verdict.New(verdict.Config{Self: cfg.Self, Grace: cfg.Grace})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel()
	// events holds what the watchers see; they block while it is full, which
	// only delays them, since the loop below never waits for them.
	events := make(chan verdict.Event, 16)
	for _, name := range []string{GAB, Fencing, Hashadow} {
		if name != cfg.Self {
			workers.Go(func() { watchPeer(ctx, cfg.Root, name, events) })
		}
	}
	if cfg.Self != GAB {
		workers.Go(func() { watchLease(ctx, cfg.Root, events) })
	}
	w := watcher{cfg: cfg, core: core}
	w.loop(ctx, events)
	return nil
}

// settleTime is short beside the lease (300 ms by default), so that a system
// still stops itself before any peer takes it for gone.
const settleTime = 10 * time.Millisecond

// watcher owns the core.
type watcher struct {
	cfg  Config
	core *verdict.Core
}

func (w *watcher) loop(ctx context.Context, events <-chan verdict.Event) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// While a cause stands, what is protected is read again and again: it
		// may appear after the cause did.
		wait := asleepPoll
		if w.core.Leaving() {
			wait = poll
		}
		if at, ok := w.core.Deadline(); ok {
			wait = max(0, min(wait, at.Sub(Boottime())))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case ev := <-events:
			w.step(ctx, ev)
		case <-timer.C:
			w.settle(ctx, events)
			w.step(ctx, verdict.Wake{})
		}
	}
}

// settle takes what has come but was not read before a deadline is believed:
// on a busy machine this process may have slept through the lease that lies in
// its socket. It waits no longer than the reader needs, more if this process
// is late itself.
func (w *watcher) settle(ctx context.Context, events <-chan verdict.Event) {
	at, due := w.core.Deadline()
	late := Boottime().Sub(at)
	if !due || late < 0 {
		return
	}
	wait := settleTime
	if late > settleTime {
		wait = 4 * settleTime
	}
	done := time.NewTimer(wait)
	defer done.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case ev := <-events:
			w.step(ctx, ev)
		case <-done.C:
			return
		}
	}
}

func (w *watcher) step(ctx context.Context, ev verdict.Event) {
	now := Boottime()
	out := w.core.Step(now, verdict.Protected{Resources: Resources(w.cfg.Root)}, nil)
	out = w.core.Step(now, ev, out)
	for _, effect := range out {
		switch e := effect.(type) {
		case verdict.Note:
			w.cfg.Log.Info("standing", "code", e.Code, "text", e.Text)
		case verdict.Leave:
			w.cfg.Log.Warn("standing lost, nothing protected here: leaving the cluster", "reason", e.Reason)
			if w.cfg.Leave != nil {
				w.cfg.Leave(e.Reason)
			}
		case verdict.SelfStop:
			w.cfg.Log.Error("standing lost under something protected: this system stops itself", "reason", e.Reason)
			w.cfg.Stop(ctx, e.Reason)
		}
	}
}

// send hands an event to the loop; false means that ctx is done.
func send(ctx context.Context, events chan<- verdict.Event, ev verdict.Event) bool {
	select {
	case <-ctx.Done():
		return false
	case events <- ev:
		return true
	}
}

// watchPeer reports the comings and goings of one daemon.
func watchPeer(ctx context.Context, root paths.Root, name string, events chan<- verdict.Event) {
	for ctx.Err() == nil {
		find, cancel := context.WithTimeout(ctx, time.Second)
		p, err := Find(find, root, name)
		cancel()
		if err != nil {
			pause(ctx, poll)
			continue
		}
		holdPeer(ctx, p, events)
		p.Close()
	}
}

// holdPeer follows one process until it ends. A frozen gab is not reported:
// its missing lease is what counts, and counts earlier.
func holdPeer(ctx context.Context, p *Process, events chan<- verdict.Event) {
	if !send(ctx, events, verdict.Seen{Name: p.Name, PID: p.PID}) {
		return
	}
	frozen, look := false, frozenPoll
	if p.Name == GAB {
		look = time.Minute // nothing to look at but its exit
	}
	for ctx.Err() == nil {
		if p.exited(ctx, look) {
			send(ctx, events, verdict.Missing{Name: p.Name, Why: fmt.Sprintf("died (pid %d)", p.PID), Ordered: p.Ordered()})
			return
		}
		if p.Name == GAB {
			continue
		}
		if now := p.Frozen(); now != frozen {
			frozen = now
			var ev verdict.Event = verdict.Seen{Name: p.Name, PID: p.PID}
			if frozen {
				ev = verdict.Missing{Name: p.Name, Why: fmt.Sprintf("is stopped by a signal (pid %d)", p.PID)}
			}
			send(ctx, events, ev)
		}
	}
}

// watchLease follows gab's leases. When the stream ends it is opened again;
// the lease that was held meanwhile runs on.
func watchLease(ctx context.Context, root paths.Root, events chan<- verdict.Event) {
	conn, err := grpc.NewClient("unix:"+root.Socket(GAB),
		append(window.Dial(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())...)
	if err != nil {
		panic(fmt.Sprintf("client of gab: %v", err)) // only a malformed target
	}
	defer conn.Close()
	for ctx.Err() == nil {
		followLease(ctx, gabv1.NewGabServiceClient(conn), events)
		pause(ctx, again)
		conn.ResetConnectBackoff()
	}
}

func followLease(ctx context.Context, client gabv1.GabServiceClient, events chan<- verdict.Event) {
	stream, err := client.WatchLease(ctx, &gabv1.WatchLeaseRequest{})
	if err != nil {
		return
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return
		}

		// A gab that yielded and waits to be admitted has no lease, but says that
		// it lives (R17).
		expires := max(answer.GetLease().GetExpiresBoottimeNs(), answer.GetYieldingUntilBoottimeNs())
		var ev verdict.Event = verdict.Lease{Expires: vclock.Time(expires)}
		if answer.GetLost() {
			ev = verdict.LeaseLost{Reason: answer.GetReason()}
		}
		if !send(ctx, events, ev) {
			return
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
