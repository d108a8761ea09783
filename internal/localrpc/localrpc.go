// Package localrpc is how a daemon serves gRPC on its unix socket: the caller
// is known by its peer credentials, and logging, recovery, metrics, health and
// reflection are the same everywhere.
//
// The recovery interceptor guards handlers only; a core never runs under it.
package localrpc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/logging"
	"github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/recovery"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/localrpc/window"
	"github.com/evenkeel/evenkeel/internal/localrpc/wire"
)

// Caller is who called, as the kernel says.
type Caller struct {
	UID uint32
	PID int32
	credentials.CommonAuthInfo
}

// AuthType names the kind of authentication.
func (Caller) AuthType() string { return "peercred" }

// peerCredentials takes the caller from the unix socket.
type peerCredentials struct {
	credentials.TransportCredentials
}

// ServerHandshake reads SO_PEERCRED.
func (peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("caller is not on a unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("find caller: %w", err)
	}
	var cred *unix.Ucred
	if ctrl := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctrl != nil {
		err = ctrl
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find caller: %w", err)
	}
	return conn, Caller{UID: cred.Uid, PID: cred.Pid, CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// Clone returns an equal value.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// CallerOf returns who makes the call of ctx.
func CallerOf(ctx context.Context) (Caller, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return Caller{}, false
	}
	c, ok := p.AuthInfo.(Caller)
	return c, ok
}

// MayChange allows uid 0 and the daemon's own uid; the error is
// PERMISSION_DENIED and says so.
func MayChange(ctx context.Context) error {
	c, ok := CallerOf(ctx)
	if !ok || (c.UID != 0 && int(c.UID) != os.Geteuid()) {
		return refuse(codes.PermissionDenied, "MAY_ONLY_READ", fmt.Sprintf("uid %d may only read; call as root", c.UID))
	}
	return nil
}

// Server is a gRPC server on a unix socket.
type Server struct {
	GRPC    *grpc.Server
	Health  *health.Server
	Metrics *prometheus.Registry
	socket  string
	log     *slog.Logger
}

// New returns a server for the socket, without services but health and
// reflection. Register services on GRPC, then call Serve.
func New(socket string, log *slog.Logger) *Server {
	metrics := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)
	onPanic := recovery.WithRecoveryHandlerContext(func(_ context.Context, p any) error {
		log.Error("a call panicked", "panic", fmt.Sprint(p))
		return status.Error(codes.Internal, "internal error; see the daemon's log")
	})
	logger := logging.LoggerFunc(func(ctx context.Context, level logging.Level, msg string, fields ...any) {
		log.Log(ctx, slog.Level(level), msg, fields...)
	})
	// Calls are logged when they end; successful ones at debug level, since
	// status is polled.
	levels := logging.WithLevels(func(code codes.Code) logging.Level {
		if code == codes.OK || code == codes.Canceled {
			return logging.LevelDebug
		}
		return logging.LevelInfo
	})
	ends := logging.WithLogOnEvents(logging.FinishCall)
	s := &Server{
		GRPC: grpc.NewServer(append(append(window.Serve(), wire.Serve()),
			grpc.Creds(peerCredentials{insecure.NewCredentials()}),
			grpc.MaxRecvMsgSize(MaxMessage),
			grpc.ChainUnaryInterceptor(metrics.UnaryServerInterceptor(), logging.UnaryServerInterceptor(logger, levels, ends), recovery.UnaryServerInterceptor(onPanic), checkUnary),
			grpc.ChainStreamInterceptor(metrics.StreamServerInterceptor(), logging.StreamServerInterceptor(logger, levels, ends), recovery.StreamServerInterceptor(onPanic), checkStream),
		)...),
		Health: health.NewServer(), Metrics: registry, socket: socket, log: log,
	}
	healthpb.RegisterHealthServer(s.GRPC, s.Health)
	reflection.Register(s.GRPC)
	return s
}

// Listen listens on a unix socket that everybody may connect to; who may do
// what is decided by peer credentials. A socket that nobody listens on any more
// is replaced; one that somebody listens on is an error.
func Listen(socket string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", socket, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: somebody listens there already; stop that daemon first", socket)
	}
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		listener.Close()
		return nil, fmt.Errorf("listen on %s: %w", socket, err)
	}
	return listener, nil
}

// Serve serves until ctx is done, then ends open calls and returns nil. Metrics
// are served as http on SOCKET.metrics (curl --unix-socket).
func (s *Server) Serve(ctx context.Context) error {
	listener, err := Listen(s.socket)
	if err != nil {
		return err
	}
	// Ends also when somebody else stops the gRPC server first.
	web := &http.Server{Handler: promhttp.HandlerFor(s.Metrics, promhttp.HandlerOpts{}), ReadHeaderTimeout: 5 * time.Second}
	if metrics, err := Listen(s.socket + ".metrics"); err != nil {
		s.log.Warn("no metrics", "error", err)
	} else {
		go func() { _ = web.Serve(metrics) }() // ends with web.Close below
	}
	defer web.Close()
	stop := context.AfterFunc(ctx, func() {
		s.Health.Shutdown()
		web.Close()
		s.GRPC.Stop()
	})
	defer stop()
	err = s.GRPC.Serve(listener)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
