package localrpc

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// probe is a health service that panics, or tells who called.
type probe struct {
	healthpb.UnimplementedHealthServer
	caller Caller
}

func (p *probe) Check(ctx context.Context, r *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if r.GetService() == "panic" {
		panic("on purpose")
	}
	p.caller, _ = CallerOf(ctx)
	return &healthpb.HealthCheckResponse{}, MayChange(ctx)
}

func TestServer(t *testing.T) {
	dir, err := os.MkdirTemp("", "rpc")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "d.sock")
	// A socket that a killed daemon left behind is replaced.
	stale, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	stale.Close()
	listener, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	// A second daemon does not take the socket from a living one.
	if _, err := Listen(socket); err == nil || !strings.Contains(err.Error(), "stop that daemon first") {
		t.Errorf("second daemon: %v", err)
	}
	listener.Close()

	s := New(socket, slog.New(slog.NewTextHandler(io.Discard, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := &probe{}
	s.GRPC.RegisterService(&grpc.ServiceDesc{
		ServiceName: "probe", HandlerType: (*healthpb.HealthServer)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Check", Handler: healthpb.Health_ServiceDesc.Methods[0].Handler}},
	}, p)
	go func() { done <- s.Serve(ctx) }()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Error("health:", err)
	}
	out := &healthpb.HealthCheckResponse{}
	if err := conn.Invoke(ctx, "/probe/Check", &healthpb.HealthCheckRequest{Service: "panic"}, out); status.Code(err) != codes.Internal {
		t.Errorf("a panic in a call gave %v", err)
	}
	if err := conn.Invoke(ctx, "/probe/Check", &healthpb.HealthCheckRequest{}, out); err != nil {
		t.Error(err)
	}
	if int(p.caller.PID) != os.Getpid() || int(p.caller.UID) != os.Geteuid() {
		t.Errorf("caller %+v", p.caller)
	}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket+".metrics")
	}}}
	answer, err := web.Get("http://d/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if !strings.Contains(string(text), "grpc_server_handled_total") {
		t.Errorf("metrics: %.200s", text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMayChange(t *testing.T) {
	for uid, want := range map[uint32]codes.Code{0: codes.OK, uint32(os.Geteuid()): codes.OK, 12345: codes.PermissionDenied} {
		ctx := peer.NewContext(t.Context(), &peer.Peer{AuthInfo: Caller{UID: uid}})
		if got := status.Code(MayChange(ctx)); got != want {
			t.Errorf("uid %d: %v, want %v", uid, got, want)
		}
	}
	if err := MayChange(t.Context()); status.Code(err) != codes.PermissionDenied {
		t.Errorf("nobody: %v", err)
	}
}
