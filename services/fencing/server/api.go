package server

import (
	"context"
	"fmt"
	"os/user"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/standing"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// api answers the calls. It reads snapshots and never waits for the loop,
// except where a call changes something.
type api struct {
	fencingv1.UnimplementedFencingServiceServer
	d *Daemon
	// declaring makes arming and the record of one declaration one deed.
	declaring sync.Mutex
}

// fail is an error with a reason that programs can tell apart.
func fail(code codes.Code, reason, format string, args ...any) error {
	st := status.New(code, fmt.Sprintf(format, args...))
	if with, err := st.WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: "fencing.evenkeel"}); err == nil {
		st = with
	}
	return st.Err()
}

// GetStatus tells what is.
func (a *api) GetStatus(ctx context.Context, _ *fencingv1.GetStatusRequest) (*fencingv1.GetStatusResponse, error) {
	s := a.d.snapshot.Load()
	out := &fencingv1.GetStatusResponse{
		Mode: string(a.d.cfg.Fencing.Mode), State: stateTo(s.Snapshot), Reason: a.reason(s.Snapshot),
		Points: a.d.readPoints(ctx), SelfStop: &fencingv1.SelfStop{Action: a.d.arming.action()},
		Race: raceTo(s.Snapshot), AgeMs: standing.Boottime().Sub(s.at).Milliseconds(),
	}
	for _, m := range s.Members {
		out.Members = append(out.Members, systemTo(m))
	}
	if s.Self.Incarnation != 0 {
		id := uint32(s.Cluster)
		out.ClusterId = &id
	}
	if err := a.d.arming.check(ctx); err != nil {
		out.SelfStop.Reason = err.Error()
	} else {
		out.SelfStop.Armed = true
	}
	p, declared, err := standing.ReadProtection(a.d.cfg.Root)
	out.Protection = &fencingv1.Protection{Resources: p.Resources, Groups: p.Groups, Declared: declared}
	if err != nil {
		out.Protection.Resources = standing.Resources(a.d.cfg.Root)
	}
	out.Evidence, out.Broken = a.d.readiness()
	return out, nil
}

func stateTo(s fencing.Snapshot) fencingv1.State {
	switch s.Phase {
	case fencing.Starting:
		return fencingv1.State_STATE_STARTING
	case fencing.Refused:
		return fencingv1.State_STATE_REFUSED
	case fencing.Joining:
		return fencingv1.State_STATE_JOINING
	case fencing.Running:
		if len(s.Gated) > 0 {
			return fencingv1.State_STATE_RACING
		}
		return fencingv1.State_STATE_RUNNING
	case fencing.Stopped:
		return fencingv1.State_STATE_LOST
	}
	return fencingv1.State_STATE_WAITING_FOR_GAB
}

// reason says why things are as they are, and what leads out.
func (a *api) reason(s fencing.Snapshot) string {
	switch {
	case s.Phase == fencing.Running && len(s.Gated) > 0:
		var missing []string
		for _, d := range s.Gated {
			if d.Evidence == fencing.NoEvidence {
				missing = append(missing, d.System.Name)
			}
		}
		if len(missing) == 0 {
			return ""
		}
		return fmt.Sprintf("no evidence yet that %s is gone; if it certainly is off: ha fencing vouch %s", strings.Join(missing, ", "), missing[0])
	case s.Phase == fencing.Waiting && s.Reason == "":
		return "gab has no membership with this system in it yet (gabconfig -a; ha node start starts gab)"
	}
	return s.Reason
}

func raceTo(s fencing.Snapshot) *fencingv1.Race {
	if s.Race == nil {
		return nil
	}
	r := &fencingv1.Race{
		View: s.Race.View.String(), Phase: s.Race.Stage, RacerNodeId: uint32(s.Race.Racer), PointsWon: uint32(s.Race.PointsWon),
		DelayMs: s.Race.Delay.Milliseconds(), RaceMs: s.Race.Took.Milliseconds(), EvidenceMs: s.Race.Proof.Milliseconds(),
	}
	for _, d := range append(slices.Clone(s.Gated), s.Released...) {
		r.Departed = append(r.Departed, &fencingv1.DepartedSystem{System: systemTo(d.System), Evidence: d.Evidence.String(), Detail: d.Detail})
	}
	return r
}

// readPoints reads all points at once, each with its bound.
func (d *Daemon) readPoints(ctx context.Context) []*fencingv1.Point {
	s := d.snapshot.Load()
	out := make([]*fencingv1.Point, len(d.points))
	var wg sync.WaitGroup
	for i := range d.points {
		wg.Go(func() {
			p := &fencingv1.Point{Number: uint32(i + 1), Name: d.cfg.Fencing.Points[i].String()}
			r := d.try(ctx, i, fencing.Operation{Kind: fencing.OpReadKeys})
			if r.Outcome != fencing.OK {
				p.Error = r.Detail
			}
			for _, k := range r.Keys {
				p.Keys = append(p.Keys, keyTo(k, s.Snapshot))
			}
			out[i] = p
		})
	}
	wg.Wait()
	return out
}

func keyTo(k fencing.Key, s fencing.Snapshot) *fencingv1.Key {
	out := &fencingv1.Key{Text: k.Text(), ClusterId: uint32(k.Cluster), NodeId: uint32(k.Node), Incarnation: k.Incarnation, Name: "unknown"}
	if s.Self.Incarnation == 0 || k.Cluster != s.Cluster {
		return out
	}
	for _, m := range s.Systems {
		if m.Node == k.Node {
			out.Name = m.Name
		}
	}
	for _, m := range s.Gated {
		if m.System.Node == k.Node {
			out.Name = m.System.Name
		}
	}
	out.Own = k == fencing.Key{Cluster: s.Cluster, Node: s.Self.Node, Incarnation: s.Self.Incarnation}
	return out
}

// readiness says what evidence could be had now (R1). broken is true if none
// would do for addresses and processes without an operator.
func (d *Daemon) readiness() ([]*fencingv1.EvidenceReadiness, bool) {
	running := d.snapshot.Load().Phase == fencing.Running
	disabled := d.cfg.Fencing.Mode == conf.Disabled
	power := &fencingv1.EvidenceReadiness{Kind: "POWERED_OFF", Reason: "no power_switch in fencing.conf"}
	if disabled {
		power.Reason = "mode disabled has no races"
	} else if d.power != nil {
		power.Available, power.Reason = true, "the lab's power switch, after a won race"
	}
	assumed := &fencingv1.EvidenceReadiness{Kind: "ASSUMED", Reason: "only in mode disabled"}
	if disabled {
		assumed.Available, assumed.Reason = true, "mode disabled: nobody checks; after a partition both sides may run the same groups"
	}
	vouched := &fencingv1.EvidenceReadiness{Kind: "VOUCHED", Available: running, Reason: "ha fencing vouch SYSTEM"}
	if !running {
		vouched.Reason = "this system is not on port b"
	}
	return []*fencingv1.EvidenceReadiness{
		{Kind: "CLEAN", Available: true, Reason: "hastop, then ha node stop"},
		power,
		{Kind: "CUT", Reason: "no data disks with persistent reservations in this version; image disks never count"},
		{Kind: "EXPIRED", Reason: "no system announces an armed kernel watchdog in this version"},
		vouched,
		assumed,
	}, !power.Available && !assumed.Available
}

// ReadKeys reads the registrations.
func (a *api) ReadKeys(ctx context.Context, _ *fencingv1.ReadKeysRequest) (*fencingv1.ReadKeysResponse, error) {
	return &fencingv1.ReadKeysResponse{Points: a.d.readPoints(ctx)}, nil
}

// DeclareProtection stores what is protected, and answers whether self-stop is
// armed (R2).
func (a *api) DeclareProtection(ctx context.Context, r *fencingv1.DeclareProtectionRequest) (*fencingv1.DeclareProtectionResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	a.declaring.Lock()
	defer a.declaring.Unlock()
	if err := ctx.Err(); err != nil { // nobody waits; had has declared anew since
		return nil, status.FromContextError(err).Err()
	}
	if r.GetResources() > 0 {
		// Arm first: the number below makes the others count on it.
		if err := a.d.arming.arm(ctx); err != nil {
			if werr := standing.WriteProtection(a.d.cfg.Root, r.GetResources(), r.GetGroups()); werr != nil {
				return nil, fail(codes.Internal, "PROTECTION_NOT_STORED", "%v", werr)
			}
			return nil, fail(codes.FailedPrecondition, "NOT_ARMED", "self-stop is not armed: %v; nothing protected may start here before it is (ha fencing status)", err)
		}
	}
	if err := standing.WriteProtection(a.d.cfg.Root, r.GetResources(), r.GetGroups()); err != nil {
		return nil, fail(codes.Internal, "PROTECTION_NOT_STORED", "%v", err)
	}
	if r.GetResources() == 0 {
		if err := a.d.arming.disarm(); err != nil {
			a.d.log.Warn("self-stop not disarmed", "error", err)
		}
	}
	return &fencingv1.DeclareProtectionResponse{Action: a.d.arming.action()}, nil
}

// ClearKeys removes this cluster's keys (vxfenclearpre).
func (a *api) ClearKeys(ctx context.Context, r *fencingv1.ClearKeysRequest) (*fencingv1.ClearKeysResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if !r.GetConfirm() {
		return nil, fail(codes.InvalidArgument, "NOT_CONFIRMED", "confirm must be true: make sure first that no system of the cluster runs anywhere else")
	}
	if a.d.cfg.Fencing.Mode == conf.Disabled {
		return nil, fail(codes.FailedPrecondition, "MODE_DISABLED", "fencing mode is disabled: there are no coordination points")
	}
	cluster, err := a.mayClear(ctx, r)
	if err != nil {
		return nil, err
	}
	out := &fencingv1.ClearKeysResponse{}
	for i, p := range a.d.readPoints(ctx) {
		var victims []fencing.Key
		removed := &fencingv1.Point{Number: p.GetNumber(), Name: p.GetName(), Error: p.GetError()}
		for _, k := range p.GetKeys() {
			if k.GetClusterId() == cluster {
				victims = append(victims, fencing.Key{Cluster: uint16(cluster), Node: fencing.NodeID(k.GetNodeId()), Incarnation: k.GetIncarnation()})
				removed.Keys = append(removed.Keys, k)
			}
		}
		if len(victims) > 0 {
			if r := a.d.try(ctx, i, fencing.Operation{Kind: fencing.OpClear, Victims: victims}); r.Outcome != fencing.OK {
				removed.Error, removed.Keys = r.Detail, nil
			}
		}
		out.Removed = append(out.Removed, removed)
	}
	a.d.log.Warn("keys cleared from the coordination points", "cluster", cluster)
	return out, nil
}

// mayClear refuses while anybody is on port b, and finds the cluster id.
func (a *api) mayClear(ctx context.Context, r *fencingv1.ClearKeysRequest) (uint32, error) {
	switch a.d.snapshot.Load().Phase {
	case fencing.Waiting, fencing.Refused:
	default:
		return 0, fail(codes.FailedPrecondition, "FENCING_RUNS", "this system is on port b or joins it; stop fencing on every system first (ha node stop)")
	}
	members, err := a.d.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		if r.ClusterId == nil {
			return 0, fail(codes.FailedPrecondition, "NO_CLUSTER_ID", "gab does not run here, so the cluster id is unknown; give it")
		}
		return r.GetClusterId(), nil
	}
	for _, port := range members.GetPorts() {
		if port.GetPort() == "b" && len(port.GetMembers()) > 0 {
			return 0, fail(codes.FailedPrecondition, "FENCING_RUNS", "%s is on port b; stop fencing there first (ha node stop)", port.GetMembers()[0].GetName())
		}
	}
	transport, err := a.d.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil {
		return 0, fail(codes.Unavailable, "GAB_SILENT", "gab does not answer: %v", err)
	}
	if r.ClusterId != nil && r.GetClusterId() != transport.GetClusterId() {
		return 0, fail(codes.InvalidArgument, "OTHER_CLUSTER", "cluster id %d was given, but this system is in cluster %d", r.GetClusterId(), transport.GetClusterId())
	}
	return transport.GetClusterId(), nil
}

// Vouch orders an operator's word on port b. The gate never holds it.
func (a *api) Vouch(ctx context.Context, r *fencingv1.VouchRequest) (*fencingv1.VouchResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if r.GetRequestId() == "" || len(r.GetRequestId()) > 256 || len(r.GetWho()) > 256 {
		return nil, fail(codes.InvalidArgument, "BAD_REQUEST_ID", "request_id must not be empty, and neither it nor who longer than 256 bytes")
	}
	s := a.d.snapshot.Load()
	if s.Phase != fencing.Running {
		return nil, fail(codes.Unavailable, "NOT_ON_PORT_B", "fencing on this system is %v, not on port b: %s", s.Phase, a.reason(s.Snapshot))
	}
	system, err := departedByName(s.Snapshot, r.GetSystem())
	if err != nil {
		return nil, err
	}
	who := r.GetWho()
	if who == "" {
		who = callerName(ctx)
	}
	seen, first := a.d.vouched.wait(r.GetRequestId(), system.Name)
	if first != system.Name {
		return nil, fail(codes.InvalidArgument, "REQUEST_ID_REUSED", "request_id %s vouched for %s before; take a new id to vouch for %s", r.GetRequestId(), first, system.Name)
	}
	a.d.call(ctx, func() {
		a.d.broadcast(fencing.Vouch{System: system, Who: who, Request: r.GetRequestId()})
	})
	select {
	case <-seen:
		return &fencingv1.VouchResponse{System: systemTo(system)}, nil
	case <-ctx.Done():
		return nil, fail(codes.Unknown, "NOT_ORDERED_YET", "the word was sent but is not ordered yet; ask again with request_id %s", r.GetRequestId())
	}
}

// departedByName finds a departed system. A member is none.
func departedByName(s fencing.Snapshot, name string) (fencing.System, error) {
	var known []string
	for _, d := range append(slices.Clone(s.Gated), s.Released...) {
		if d.System.Name == name {
			return d.System, nil
		}
		known = append(known, d.System.Name)
	}
	for _, m := range s.Systems {
		if m.Name == name {
			return fencing.System{}, fail(codes.FailedPrecondition, "IS_MEMBER", "%s is a member of the cluster now; only a system that is gone can be vouched for", name)
		}
	}
	if len(known) == 0 {
		return fencing.System{}, fail(codes.NotFound, "NO_SUCH_SYSTEM", "no system %q has departed; nothing waits for a vouch", name)
	}
	sort.Strings(known)
	return fencing.System{}, fail(codes.NotFound, "NO_SUCH_SYSTEM", "no departed system %q; departed are: %s", name, strings.Join(known, ", "))
}

func callerName(ctx context.Context) string {
	c, ok := localrpc.CallerOf(ctx)
	if !ok {
		return "unknown"
	}
	uid := strconv.FormatUint(uint64(c.UID), 10)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "uid " + uid
}

// vouches wakes callers when their word was delivered.
type vouches struct {
	mu      sync.Mutex
	waiting map[string]chan struct{}
	// systems are those that the requests asked here were about.
	systems map[string]string
}

// wait returns a channel that is closed when the request was delivered; once
// delivered, it stays so. first is the system that the request was about when
// it was asked first.
func (v *vouches) wait(request, system string) (seen <-chan struct{}, first string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen = v.get(request)
	if v.systems[request] == "" {
		v.systems[request] = system
	}
	return seen, v.systems[request]
}

// maxVouches bounds what is remembered; an operator gives few.
const maxVouches = 1024

func (v *vouches) get(request string) chan struct{} {
	if v.waiting == nil || len(v.waiting) >= maxVouches {
		v.waiting, v.systems = map[string]chan struct{}{}, map[string]string{}
	}
	ch := v.waiting[request]
	if ch == nil {
		ch = make(chan struct{})
		v.waiting[request] = ch
	}
	return ch
}

func (v *vouches) delivered(request string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	ch := v.get(request)
	select {
	case <-ch:
	default:
		close(ch)
	}
}
