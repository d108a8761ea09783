// Package server is the daemon gab: it drives the cores of LLT and GAB with
// real frames, clients and time, and serves evenkeel.gab.v1.
//
// One goroutine at a time owns both cores (type loop). A loop is one
// incarnation; when its core stands down and nothing protected is here, the
// next one begins as a new incarnation. With something protected here the
// system stops itself (R2, R19).
package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/journal"
	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/realtime"
	"github.com/evenkeel/evenkeel/internal/selfstop"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// Bounds of the journal.
const (
	journalEvents = 32 << 10
	journalBytes  = 8 << 20
	reserved      = 24 << 20 // bytes of heap that are there before they are needed
)

var errDuplicate = errors.New("another system of this cluster has this node id; correct set-node in llttab on one of them")

// Server is the daemon.
type Server struct {
	gabv1.UnimplementedGabServiceServer
	gabv1.UnimplementedLltServiceServer

	cfg     Config
	rpc     *localrpc.Server
	stopper *selfstop.Stopper
	journal *journal.Ring
	ctx     context.Context // of Run
	now     atomic.Pointer[loop]
	yielded atomic.Bool // R17: had must hear of it
	// What Configure changes; written by the loop only.
	options   atomic.Pointer[Options]
	seedCount atomic.Uint32
}

// New prepares the daemon. It refuses to start where an earlier gab of this
// boot protected something: gab is never restarted into a running incarnation
// (R2).
func New(cfg Config) (*Server, error) {
	if err := cfg.Root.MakeRunDirs(); err != nil {
		return nil, err
	}
	if n := standing.Resources(cfg.Root); n > 0 {
		return nil, fmt.Errorf("start gab: %d protected resources may be online here, left by a gab that is gone; restart this system, or take them offline by hand and remove %s", n, cfg.Root.Run("protection"))
	}
	stopper, err := selfstop.Load(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("start gab: %w", err)
	}
	s := &Server{cfg: cfg, stopper: stopper, journal: journal.New(journalEvents, journalBytes)}
	s.options.Store(&cfg.Gabtab.Options)
	s.seedCount.Store(uint32(cfg.Gabtab.SeedCount))
	s.rpc = localrpc.New(cfg.Root.Socket("gab"), cfg.Log)
	gabv1.RegisterGabServiceServer(s.rpc.GRPC, s)
	gabv1.RegisterLltServiceServer(s.rpc.GRPC, s)
	s.rpc.Metrics.MustRegister(transportMetrics{s})
	for _, warning := range cfg.Tab.Ignored {
		cfg.Log.Info(warning)
	}
	if len(cfg.Tab.Links) == 1 {
		cfg.Log.Warn("one link only: every system is in jeopardy for ever; add a second link to llttab", "id", "V-14-1-20003")
	}
	return s, nil
}

// Run serves until ctx is done (that looks like a crash to the others), the
// system has left the cluster, or the daemon cannot go on.
func (s *Server) Run(ctx context.Context) error {
	if s.cfg.Realtime {
		realtime.Take(s.cfg.Log, realtime.Gab)
		realtime.Reserve(reserved)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.ctx = ctx
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.rpc.Serve(ctx) })
	group.Go(func() error { return s.dumps(ctx) })
	if s.cfg.Watch {
		group.Go(func() error { return s.watch(ctx) })
	}
	group.Go(func() error {
		defer cancel()
		return s.incarnations(ctx)
	})
	return group.Wait()
}

// incarnations lives one incarnation after the other.
func (s *Server) incarnations(ctx context.Context) error {
	yielded := false
	for ctx.Err() == nil {
		l, err := newLoop(s, yielded)
		if err != nil {
			return err
		}
		s.now.Store(l)
		s.rpc.Health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
		ran := make(chan ending, 1)
		go func() { ran <- l.run(ctx) }() // a goroutine of its own: it locks its thread
		end := <-ran
		s.now.Store(nil)
		s.rpc.Health.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
		switch {
		case end.err != nil:
			return end.err
		case end.left:
			if err := standing.SayStopping(s.cfg.Root, standing.GAB); err != nil {
				s.cfg.Log.Warn("the others may take this stop for a death", "error", err)
			}
			s.endCalls()
			return nil
		case end.stop:
			s.save("stop")
			s.stopSystem(ctx, end.reason)
			return fmt.Errorf("this system stops itself: %s", end.reason)
		}
		if ctx.Err() == nil {
			s.save("standdown")
		}
		yielded = end.yielded || (yielded && !l.toldYield)
	}
	return nil
}

// endCalls lets calls, such as the Leave that ended us, have their answers.
func (s *Server) endCalls() {
	ended := make(chan struct{})
	go func() { s.rpc.GRPC.GracefulStop(); close(ended) }() // ends at the latest with Run's Stop
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
}

// stopSystem runs the self-stop action until the system stops or ctx ends.
func (s *Server) stopSystem(ctx context.Context, reason string) {
	s.cfg.Log.Error("this system stops itself", "reason", reason, "action", string(s.stopper.Action()))
	s.stopper.Must(ctx, reason, func(err error) { s.cfg.Log.Error("the self-stop action failed; trying again", "error", err) })
}

// watch stops the system if fencing or hashadow are lost under something
// protected, and leaves the cluster if nothing is (R2).
func (s *Server) watch(ctx context.Context) error {
	return standing.Run(ctx, standing.Config{
		Root: s.cfg.Root, Self: standing.GAB, Log: s.cfg.Log, Stop: s.stopSystem,
		Leave: func(reason string) {
			s.cfg.Log.Warn("leaving the cluster", "reason", reason)
			go func() { // must not block the watcher; ends with the leave or ctx
				// Not in order, it is a crash to the others: better than a system
				// that stays, unwatched, and that they must not start anything
				// without (R2, R14).
				err := s.LeaveCluster(ctx, false)
				if err != nil && ctx.Err() == nil {
					err = s.LeaveCluster(ctx, true)
				}
				if err != nil {
					s.cfg.Log.Error("leave", "error", err)
				}
			}()
		},
	})
}

// dumps writes the journal on SIGUSR1.
func (s *Server) dumps(ctx context.Context) error {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGUSR1)
	defer signal.Stop(asked)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked:
			s.save("asked")
		}
	}
}

func (s *Server) save(why string) {
	path := s.cfg.Root.State("gab." + why + ".journal")
	if err := s.journal.Save(path); err != nil {
		s.cfg.Log.Error("the journal is lost", "error", err)
		return
	}
	s.cfg.Log.Info("journal written", "file", path)
}

// journalLLT records an event of LLT. Frames are left out, which would push all
// else out of the ring: what mattered in them reaches the gab core's events.
func (s *Server) journalLLT(now vclock.Time, ev llt.Event) {
	switch ev.(type) {
	case llt.CoreAlive, llt.Wake, *llt.Send, *llt.FrameIn, llt.LendBeats:
	default:
		s.journal.Add(now, "llt", ev, 64)
	}
}

// running returns the loop of the incarnation that lives.
func (s *Server) running() (*loop, error) {
	if l := s.now.Load(); l != nil {
		return l, nil
	}
	return nil, status.Error(codes.Unavailable, "gab begins a new incarnation or stops; try again")
}

func (s *Server) unavailable(err error) error {
	if errors.Is(err, errGone) {
		return status.Error(codes.Unavailable, "this incarnation of gab is over; attach again")
	}
	return status.FromContextError(err).Err()
}
