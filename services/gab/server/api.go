package server

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

const tick = 10 * time.Millisecond

// leaveRefused is R14's refusal as a status.
func leaveRefused(reason string) error {
	return status.Error(codes.FailedPrecondition, reason)
}

// WatchLease streams the leases.
func (s *Server) WatchLease(_ *gabv1.WatchLeaseRequest, stream gabv1.GabService_WatchLeaseServer) error {
	l, err := s.running()
	if err != nil {
		return err
	}
	for {
		l.leaseMu.Lock()
		now, changed := l.leaseNow, l.leaseNew
		l.leaseMu.Unlock()
		if !now.GetLost() && !l.mayGo() { // R19
			return status.Error(codes.Unavailable, "gab stood still for longer than the lease")
		}
		if err := stream.Send(now); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-l.done:
			if now.GetLost() {
				return status.Error(codes.Unavailable, now.GetReason())
			}
			return status.Error(codes.Unavailable, "this incarnation of gab is over; watch again")
		}
	}
}

// GetMembership tells the members of every port. It does not wait for the
// loop, so that a stalled gab shows its age.
func (s *Server) GetMembership(context.Context, *gabv1.GetMembershipRequest) (*gabv1.GetMembershipResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	snap := l.current.Load()
	out := &gabv1.GetMembershipResponse{Seeded: snap.status.Seeded, AgeMs: l.age().Milliseconds()}
	if snap.status.Gate.Held {
		out.Gate = l.gateTo(snap.status.Gate)
	}
	for _, p := range snap.ports {
		generation := p.Generation
		if p.Port == gab.PortA {
			generation = p.View.Counter
		}
		m := &gabv1.PortMembership{
			Port: p.Port.String(), Generation: generationText(p.View, generation), Members: l.membersTo(p.Members),
			Visible: l.membersTo(p.Visible), Client: p.Client,
		}
		for _, s := range p.Members {
			if p.Port != gab.PortA && snap.stalled[s.Node]&(1<<(p.Port-'a')) != 0 {
				m.Stalled = append(m.Stalled, l.membersTo([]gab.Member{s})...)
			}
			if p.Port != gab.PortA && snap.slow[s.Node]&(1<<(p.Port-'a')) != 0 {
				m.Slow = append(m.Slow, l.membersTo([]gab.Member{s})...)
			}
		}
		out.Ports = append(out.Ports, m)
	}
	return out, nil
}

func (l *loop) age() time.Duration {
	return max(standing.Boottime().Sub(vclock.Time(l.turn.Load())), 0)
}

// GetConfiguration tells gab's configuration and state.
func (s *Server) GetConfiguration(context.Context, *gabv1.GetConfigurationRequest) (*gabv1.GetConfigurationResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	st, o := l.current.Load().status, s.options.Load()
	return &gabv1.GetConfigurationResponse{
		NodeId: uint32(s.cfg.Node), Name: l.name(gab.NodeID(s.cfg.Node)), SeedCount: s.seedCount.Load(),
		StableMs: uint32(s.cfg.Tab.Timers.Stable.Milliseconds()), FencingMode: s.cfg.FencingMode, State: st.State.String(),
		Incarnation: l.inc, WaitingFor: l.gateReason(st.Gate, st.WaitingFor),
		HaltOnRejoin: o.HaltOnRejoin, KeepKilling: o.KeepKilling, MissedHeartbeatHalt: o.MissedHeartbeatHalt,
		HaltOnProcessDeath: o.HaltOnProcessDeath, Quorum: o.Quorum, IsolateMs: uint32(o.isolate().Milliseconds()),
		WindowMessages: sendCredits, WireVersion: wireVersion(st),
	}, nil
}

// Seed seeds this system (gabconfig -x).
func (s *Server) Seed(ctx context.Context, _ *gabv1.SeedRequest) (*gabv1.SeedResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	s.cfg.Log.Warn("seeded by hand; the caller vouches that no other part of the cluster runs")
	var state gab.Status
	if err := l.do(ctx, func() {
		l.stepGab(l.last, gab.Seed{})
		state = l.gab.Status()
	}); err != nil {
		return nil, s.unavailable(err)
	}
	if state.State == gab.StateLeft {
		return nil, status.Error(codes.FailedPrecondition, "gab has left the cluster; start it again")
	}
	return &gabv1.SeedResponse{}, nil
}

// Leave takes this system out of the cluster and ends the daemon.
func (s *Server) Leave(ctx context.Context, r *gabv1.LeaveRequest) (*gabv1.LeaveResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if err := s.LeaveCluster(ctx, r.GetForce()); err != nil {
		return nil, err
	}
	return &gabv1.LeaveResponse{}, nil
}

// LeaveCluster is an ordered stop. Without force it is refused while something
// protected may be online here (R14). When it returns nil, Run ends.
func (s *Server) LeaveCluster(ctx context.Context, force bool) error {
	l, err := s.running()
	if err != nil {
		return err
	}
	answer := make(chan error, 1)
	if err := l.do(ctx, func() {
		l.leave = append(l.leave, answer)
		l.gabQueue = append(l.gabQueue, gab.Leave{Force: force, Protected: standing.Resources(s.cfg.Root) > 0})
	}); err != nil {
		return s.unavailable(err)
	}
	select {
	case err = <-answer:
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
	if err == errGone {
		return s.unavailable(err)
	}
	return err
}

// GetStatistics tells the counters of the transport.
func (s *Server) GetStatistics(ctx context.Context, _ *gabv1.GetStatisticsRequest) (*gabv1.GetStatisticsResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.GetStatisticsResponse{}
	err = l.do(ctx, func() {
		for _, c := range l.llt.Counters() {
			out.Counters = append(out.Counters, &gabv1.Counter{Name: c.Name, Value: c.Value})
		}
		out.Counters = append(out.Counters, &gabv1.Counter{Name: "Rcv no buffer", Value: l.links.Dropped()})
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}

// GetTransport tells the transport's configuration.
func (s *Server) GetTransport(ctx context.Context, _ *gabv1.GetTransportRequest) (*gabv1.GetTransportResponse, error) {
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	out := &gabv1.GetTransportResponse{
		NodeId: uint32(s.cfg.Node), Name: l.name(gab.NodeID(s.cfg.Node)), ClusterId: uint32(s.cfg.Tab.Cluster),
	}
	err = l.do(ctx, func() {
		out.Encrypted, out.Links, out.PieceBytes = l.llt.Encrypted(), uint32(len(l.attached())), uint32(l.llt.Chunk())
		if keys := l.llt.Keys(); len(keys) > 0 {
			out.KeyId = keys[0]
		}
		for _, n := range l.llt.Excluded() {
			out.ExcludedNodeIds = append(out.ExcludedNodeIds, uint32(n))
		}
		t := l.llt.Timers()
		for _, name := range llt.TimerNames() {
			v, _ := t.Get(name)
			out.Timers = append(out.Timers, &gabv1.Timer{Name: name, Ticks: uint32(v / tick)})
		}
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	return out, nil
}

// fixedTimers are part of GAB's promises and change with a restart only.
var fixedTimers = []string{"peerinact", "stable"}

// SetTimer changes one timer until the next start.
func (s *Server) SetTimer(ctx context.Context, r *gabv1.SetTimerRequest) (*gabv1.SetTimerResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	name, v := r.GetTimer().GetName(), vclock.Duration(r.GetTimer().GetTicks())*tick
	for _, f := range fixedTimers {
		if f == name {
			return nil, status.Errorf(codes.FailedPrecondition, "timer %s: leases and evictions are reckoned from it; write set-timer %s:%d into llttab on all systems and restart gab there", name, name, r.GetTimer().GetTicks())
		}
	}
	l, err := s.running()
	if err != nil {
		return nil, err
	}
	var wrong error
	err = l.do(ctx, func() {
		t := l.llt.Timers()
		if !t.Set(name, v) {
			wrong = status.Errorf(codes.InvalidArgument, "unknown timer %q; known are: %s", name, strings.Join(llt.TimerNames(), " "))
			return
		}
		if verr := t.Validate(); verr != nil {
			wrong = status.Error(codes.InvalidArgument, verr.Error())
			return
		}
		l.lltQueue = append(l.lltQueue, llt.SetTimer{Name: name, Value: v})
	})
	if err != nil {
		return nil, s.unavailable(err)
	}
	if wrong != nil {
		return nil, wrong
	}
	return &gabv1.SetTimerResponse{}, nil
}

// wireVersion is the format of messages in the present view, or, before the
// first, the newest one that this build speaks.
func wireVersion(st gab.Status) uint32 {
	if st.Format > 0 {
		return uint32(st.Format)
	}
	return gab.WireVersion
}
