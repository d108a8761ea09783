// Package server is hashadow, the daemon that keeps had running and, with gab
// and fencing, watches that none of the system's daemons is lost under
// something protected (safety rule R2).
//
// hashadow starts had, or adopts the one that runs, and starts it again at
// once when it dies. had does the same for hashadow (standing.KeepRunning). Both are in
// sessions of their own. An ordered stop is told by a file: had says that it
// stops (standing.SayStopping) as its last deed, and hashadow, instead of
// starting it again, says so of itself and ends too. SIGTERM to hashadow ends
// the watching in order and leaves had running.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/selfstop"
	"github.com/evenkeel/evenkeel/internal/standing"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// Config is what hashadow works with.
type Config struct {
	Root paths.Root
	// Had is how had is started; Again are its arguments when it is started
	// again after it was up, nil for the same.
	Had   standing.Program
	Again []string
	// Stopper is the self-stop of this system.
	Stopper *selfstop.Stopper
	Log     *slog.Logger
	// Grace is how long fencing may be missing, 0 for 2 s.
	Grace time.Duration
}

// Shadow is the daemon.
type Shadow struct {
	cfg      Config
	stopping chan struct{} // closed by OrderedStop
	once     sync.Once
}

// New returns the daemon; nothing runs before Run.
func New(cfg Config) (*Shadow, error) {
	if !filepath.IsAbs(cfg.Had.Path) {
		return nil, fmt.Errorf("keep had running: %q is no absolute path", cfg.Had.Path)
	}
	if _, err := os.Stat(cfg.Had.Path); err != nil {
		return nil, fmt.Errorf("keep had running: %w", err)
	}
	return &Shadow{cfg: cfg, stopping: make(chan struct{})}, nil
}

// OrderedStop ends Run and leaves had running.
func (s *Shadow) OrderedStop() { s.once.Do(func() { close(s.stopping) }) }

// Run keeps had running until had stops in order, OrderedStop, or ctx is done
// (as if killed). After an ordered end it has said so to the other daemons.
func (s *Shadow) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var workers sync.WaitGroup
	defer workers.Wait()
	defer cancel(nil)
	rpc := localrpc.New(s.cfg.Root.Socket(standing.Hashadow), s.cfg.Log)
	rpc.Health.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	rpc.Health.SetServingStatus(standing.Had, healthpb.HealthCheckResponse_NOT_SERVING)
	workers.Go(func() {
		if err := rpc.Serve(ctx); err != nil {
			cancel(err)
		}
	})
	workers.Go(func() {
		err := standing.Run(ctx, standing.Config{
			Root: s.cfg.Root, Self: standing.Hashadow, Log: s.cfg.Log, Grace: s.cfg.Grace,
			Stop: func(ctx context.Context, reason string) {
				s.cfg.Stopper.Must(ctx, reason, func(err error) {
					s.cfg.Log.Error("self-stop failed; trying again", "reason", reason, "error", err)
				})
			},
			// had hears from gab itself that its stream ended.
			Leave: func(string) {},
		})
		if err != nil {
			cancel(err)
		}
	})
	kept := make(chan error, 1) // one result
	workers.Go(func() {
		kept <- standing.KeepRunning(ctx, standing.Keep{
			Root: s.cfg.Root, Name: standing.Had, Program: s.cfg.Had, Again: s.cfg.Again, Log: s.cfg.Log,
			Up: func(up bool) {
				state := healthpb.HealthCheckResponse_NOT_SERVING
				if up {
					state = healthpb.HealthCheckResponse_SERVING
				}
				rpc.Health.SetServingStatus(standing.Had, state)
			},
		})
	})
	select {
	case <-ctx.Done():
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return cause
		}
		return nil
	case <-s.stopping:
		s.cfg.Log.Info("watching ends in order; had runs on")
	case err := <-kept:
		if err != nil {
			return err
		}
		s.cfg.Log.Info("had stopped in order; watching ends")
	}
	return standing.SayStopping(s.cfg.Root, standing.Hashadow)
}
