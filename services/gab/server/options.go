package server

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

// Options are what gabtab and gabconfig set, beside the seed count.
type Options struct {
	// HaltOnRejoin (-j): a side that yields after a split stops itself if
	// something protected is here, instead of rejoining with it.
	HaltOnRejoin bool
	// KeepKilling (-k): a hung client that cannot be killed loses its port, and
	// the system goes on.
	KeepKilling bool
	// MissedHeartbeatHalt (-b): a hung client stops the system at once if
	// something protected is here.
	MissedHeartbeatHalt bool
	// HaltOnProcessDeath (-p): a had that dies without leaving its port stops
	// the system if something protected is here.
	HaltOnProcessDeath bool
	// Quorum (-q): a membership of less than half of the one before stops the
	// system if something protected is here; else gab leaves.
	Quorum bool
	// Isolate (-S isolate_time) is how long a hung client may outlive its
	// killing; 0 is DefaultIsolate.
	Isolate time.Duration
}

// Bounds of Options.Isolate.
const (
	DefaultIsolate = 2 * time.Second
	minIsolate     = time.Second
	maxIsolate     = 240 * time.Second
)

func (o Options) isolate() time.Duration {
	if o.Isolate == 0 {
		return DefaultIsolate
	}
	return o.Isolate
}

// flag is the option of a letter that switches one on or off, and which.
func (o *Options) flag(letter byte) (option *bool, on bool) {
	switch letter {
	case 'j', 'J':
		return &o.HaltOnRejoin, letter == 'j'
	case 'k':
		return &o.KeepKilling, true
	case 'b', 'B':
		return &o.MissedHeartbeatHalt, letter == 'b'
	case 'p', 'P':
		return &o.HaltOnProcessDeath, letter == 'p'
	case 'q', 'd':
		return &o.Quorum, letter == 'q'
	}
	return nil, false
}

// parseIsolate reads the value of -S isolate_time.
func parseIsolate(text string) (time.Duration, error) {
	name, value, found := strings.Cut(text, ":")
	if !found || name != "isolate_time" {
		return 0, fmt.Errorf("%q: the parameter that can be set is isolate_time:MILLISECONDS", text)
	}
	ms, err := strconv.ParseInt(value, 10, 32)
	d := time.Duration(ms) * time.Millisecond
	if err != nil || d < minIsolate || d > maxIsolate {
		return 0, fmt.Errorf("isolate_time %q is not in %d to %d ms", value, minIsolate.Milliseconds(), maxIsolate.Milliseconds())
	}
	return d, nil
}

// Configure changes options until the next start.
func (s *Server) Configure(ctx context.Context, r *gabv1.ConfigureRequest) (*gabv1.ConfigureResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if r.SeedCount != nil && r.GetSeedCount() > gab.MaxNodes {
		return nil, status.Errorf(codes.InvalidArgument, "seed count %d is not in 0 to %d; it is the number of systems of the cluster", r.GetSeedCount(), gab.MaxNodes)
	}
	if d := time.Duration(r.GetIsolateMs()) * time.Millisecond; r.IsolateMs != nil && (d < minIsolate || d > maxIsolate) {
		return nil, status.Errorf(codes.InvalidArgument, "isolate_time %d is not in %d to %d ms", r.GetIsolateMs(), minIsolate.Milliseconds(), maxIsolate.Milliseconds())
	}
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	err = l.do(ctx, func() {
		set := func(to *bool, v *bool) {
			if v != nil {
				*to = *v
			}
		}
		o := *s.options.Load()
		set(&o.HaltOnRejoin, r.HaltOnRejoin)
		set(&o.KeepKilling, r.KeepKilling)
		set(&o.MissedHeartbeatHalt, r.MissedHeartbeatHalt)
		set(&o.HaltOnProcessDeath, r.HaltOnProcessDeath)
		set(&o.Quorum, r.Quorum)
		if r.IsolateMs != nil {
			o.Isolate = time.Duration(r.GetIsolateMs()) * time.Millisecond
		}
		s.options.Store(&o)
		if r.SeedCount != nil {
			s.seedCount.Store(r.GetSeedCount())
			l.stepGab(l.last, gab.SeedCount{Systems: int(r.GetSeedCount())})
		}
		s.cfg.Log.Info("gab is configured", "options", fmt.Sprintf("%+v", o), "seed-count", s.seedCount.Load())
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return &gabv1.ConfigureResponse{}, nil
}
