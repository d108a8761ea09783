// Package connect is how the commands talk to the daemons of this system: one
// connection to a unix socket, a deadline over everything, changing calls
// repeated once under the same request id, and errors as people and scripts
// expect them.
package connect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/paths"
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// ReadTimeout bounds every command that only reads. Monitoring kills what
// takes two seconds, the start of the process included.
const ReadTimeout = 1800 * time.Millisecond

// ChangeTimeout bounds a command that changes something: the order is answered
// when all systems have it, and a peer that hangs must be expelled first.
const ChangeTimeout = 30 * time.Second

// SwitchTimeout bounds a switch: agents may be asked first (PreSwitch), each
// within twice its ActionTimeout.
const SwitchTimeout = 2 * time.Minute

// repeatAfter is the pause before a changing call is repeated.
const repeatAfter = 100 * time.Millisecond

// Daemon is a connection to one daemon of this system. The socket is dialled
// with the first call. It may be used by several goroutines.
type Daemon struct {
	conn *grpc.ClientConn
	// refused is the error of the last attempt to connect, nil after one that
	// worked.
	refused atomic.Pointer[error]
	socket  string
}

// To prepares a connection to the daemon "had", "gab" or "fencing".
func To(root paths.Root, daemon string) (*Daemon, error) {
	d := &Daemon{socket: root.Socket(daemon)}
	conn, err := grpc.NewClient("passthrough:///"+daemon,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(d.dial),
		grpc.WithUnaryInterceptor(bounded),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", daemon, err)
	}
	d.conn = conn
	return d, nil
}

// bounded gives a call without a deadline that of a read: what shows much makes
// many calls, and none of them may hang.
func bounded(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, has := ctx.Deadline(); !has {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ReadTimeout)
		defer cancel()
	}
	return call(ctx, method, request, reply, conn, options...)
}

func (d *Daemon) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", d.socket)
	if err != nil {
		d.refused.Store(&err)
		return nil, err
	}
	d.refused.Store(nil)
	return conn, nil
}

// Close ends the connection.
func (d *Daemon) Close() { d.conn.Close() }

// Socket is the path that is connected to.
func (d *Daemon) Socket() string { return d.socket }

// Gab is gab's own service.
func (d *Daemon) Gab() gabv1.GabServiceClient { return gabv1.NewGabServiceClient(d.conn) }

// Llt is the transport below gab.
func (d *Daemon) Llt() gabv1.LltServiceClient { return gabv1.NewLltServiceClient(d.conn) }

// Fencing is the service of the fencing daemon.
func (d *Daemon) Fencing() fencingv1.FencingServiceClient {
	return fencingv1.NewFencingServiceClient(d.conn)
}

// Had is the engine of this system.
type Had struct {
	*Daemon
	Systems   hadv1.SystemServiceClient
	Groups    hadv1.GroupServiceClient
	Resources hadv1.ResourceServiceClient
	Types     hadv1.TypeServiceClient
	Clusters  hadv1.ClusterServiceClient
	Config    hadv1.ConfigServiceClient
	Agents    hadv1.AgentServiceClient
	Events    hadv1.EventServiceClient
}

// ToHad prepares a connection to the engine.
func ToHad(root paths.Root) (*Had, error) {
	d, err := To(root, "had")
	if err != nil {
		return nil, err
	}
	return &Had{
		Daemon:    d,
		Systems:   hadv1.NewSystemServiceClient(d.conn),
		Groups:    hadv1.NewGroupServiceClient(d.conn),
		Resources: hadv1.NewResourceServiceClient(d.conn),
		Types:     hadv1.NewTypeServiceClient(d.conn),
		Clusters:  hadv1.NewClusterServiceClient(d.conn),
		Config:    hadv1.NewConfigServiceClient(d.conn),
		Agents:    hadv1.NewAgentServiceClient(d.conn),
		Events:    hadv1.NewEventServiceClient(d.conn),
	}, nil
}

// Change makes a changing call, and makes it once more if the connection broke
// before an answer came. The call must carry a request id, so that the second
// is the same operation as the first.
func (d *Daemon) Change(ctx context.Context, call func(context.Context) error) error {
	err := call(ctx)
	fault := d.Fault(err)
	if fault == nil || fault.Code != codes.Unavailable || fault.Reason != "" {
		return err
	}
	pause := time.NewTimer(repeatAfter)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return err
	case <-pause.C:
	}
	d.conn.ResetConnectBackoff()
	return call(ctx)
}

// Fault is an error of a call as a command shows it.
type Fault struct {
	// Down: nobody listens on the socket.
	Down bool
	// Late: no answer came within the deadline.
	Late bool
	// Code is gRPC's; Reason the upper-case word of the daemon, "" if it gave
	// none.
	Code   codes.Code
	Reason string
	// MessageID and Severity are VCS's: "V-16-1-40131", "WARNING". They are ""
	// if the daemon gave none.
	MessageID, Severity string
	// Text is for people.
	Text string
}

// Fault takes an error of a call apart; nil for nil.
func (d *Daemon) Fault(err error) *Fault {
	if err == nil {
		return nil
	}
	var already *Fault
	if errors.As(err, &already) {
		whole := *already
		whole.Text = err.Error() // with what was wrapped around it
		return &whole
	}
	s := status.Convert(err)
	f := &Fault{Code: s.Code(), Text: s.Message()}
	if errors.Is(err, context.DeadlineExceeded) {
		f.Code = codes.DeadlineExceeded
	}
	for _, detail := range s.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			f.Reason = info.GetReason()
			f.MessageID = info.GetMetadata()["message_id"]
			f.Severity = info.GetMetadata()["severity"]
		}
	}
	f.Late = f.Code == codes.DeadlineExceeded
	// Also who was connected to a daemon that ended before its first word.
	f.Down = f.Code == codes.Unavailable && f.Reason == "" && (d.refused.Load() != nil || strings.HasPrefix(f.Text, "connection error:"))
	if f.Late {
		f.Text = fmt.Sprintf("no answer in time from %s; is that daemon stopped or the machine overloaded?", d.socket)
	}
	return f
}

// RanOut reports whether a look with its own bound of ReadTimeout failed because
// the time of the whole wait, ctx, ran out, and not because nobody answers.
// gRPC may tell of the deadline a moment before ctx does.
func (d *Daemon) RanOut(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	end, bounded := ctx.Deadline()
	fault := d.Fault(err)
	return bounded && fault != nil && fault.Late && time.Until(end) < ReadTimeout/2
}

func (f *Fault) Error() string { return f.Text }
