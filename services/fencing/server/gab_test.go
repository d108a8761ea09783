package server

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fakeCluster is a gab for tests: it orders what the daemons of one side say,
// gives them views as the test wants, and keeps their fence answers.
type fakeCluster struct {
	t       *testing.T
	mu      sync.Mutex
	counter uint64
	systems []*gabv1.Member // port a
	nodes   map[uint32]*fakeGab
	answers []*gabv1.FenceAnswer
	mode    string
}

// fakeGab is one system's gab.
type fakeGab struct {
	gabv1.UnimplementedGabServiceServer
	gabv1.UnimplementedLltServiceServer
	c      *fakeCluster
	id     uint32
	out    chan *gabv1.AttachResponse // while attached; bounded, a test sends fewer
	beats  int
	left   bool
	server *grpc.Server
}

func newFakeCluster(t *testing.T, mode string) *fakeCluster {
	return &fakeCluster{t: t, mode: mode, nodes: map[uint32]*fakeGab{}}
}

// add starts the gab of a system, on its own root.
func (c *fakeCluster) add(id uint32, name string, root paths.Root) *fakeGab {
	c.t.Helper()
	g := &fakeGab{c: c, id: id, server: grpc.NewServer()}
	gabv1.RegisterGabServiceServer(g.server, g)
	gabv1.RegisterLltServiceServer(g.server, g)
	_ = os.Remove(root.Socket(standing.GAB))
	listener, err := net.Listen("unix", root.Socket(standing.GAB))
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.nodes[id] = g
	c.systems = append(c.systems, &gabv1.Member{NodeId: id, Name: name, Incarnation: uint64(id) + 0xa0})
	c.mu.Unlock()
	go func() { _ = g.server.Serve(listener) }()
	c.t.Cleanup(g.server.Stop)
	return g
}

func (c *fakeCluster) viewID() *gabv1.ViewId {
	return &gabv1.ViewId{Lineage: 0xfe, Counter: c.counter}
}

// members of port b, by node id.
func (c *fakeCluster) members() []*gabv1.Member {
	var out []*gabv1.Member
	for _, m := range c.systems {
		if g := c.nodes[m.GetNodeId()]; g != nil && g.out != nil {
			out = append(out, m)
		}
	}
	return out
}

// view gives all attached daemons a view of port b.
func (c *fakeCluster) view(departed ...*gabv1.Departed) {
	c.counter++
	v := &gabv1.View{Id: c.viewID(), Members: c.members(), Systems: c.systems, Departed: departed}
	for _, g := range c.nodes {
		if g.out != nil {
			g.out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_View{View: v}}
		}
	}
}

// depart takes a system out of port a and tells those that stay.
func (c *fakeCluster) depart(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var gone *gabv1.Departed
	var stay []*gabv1.Member
	for _, m := range c.systems {
		if m.GetNodeId() == id {
			gone = &gabv1.Departed{Member: m}
		} else {
			stay = append(stay, m)
		}
	}
	c.systems = stay
	delete(c.nodes, id)
	c.view(gone)
}

func (c *fakeCluster) answer() *gabv1.FenceAnswer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.answers) == 0 {
		return nil
	}
	return c.answers[len(c.answers)-1]
}

func (g *fakeGab) Attach(stream grpc.BidiStreamingServer[gabv1.AttachRequest, gabv1.AttachResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetRegister().GetPort() != "b" {
		return status.Error(codes.InvalidArgument, "not port b")
	}
	out := make(chan *gabv1.AttachResponse, 256)
	out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Registered{Registered: &gabv1.Registered{FencingMode: g.c.mode, HeartbeatMs: 50}}}
	out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Credit{Credit: &gabv1.Credit{Messages: 8}}}
	g.c.mu.Lock()
	g.out = out
	g.c.view()
	g.c.mu.Unlock()
	defer func() {
		g.c.mu.Lock()
		defer g.c.mu.Unlock()
		if g.out == out {
			g.out = nil
		}
	}()
	failed := make(chan error, 1) // one result
	go func() { failed <- g.receive(stream) }()
	for {
		select {
		case <-stream.Context().Done():
			return nil
		case err := <-failed:
			return err
		case m := <-out:
			if err := stream.Send(m); err != nil {
				return err
			}
		}
	}
}

func (g *fakeGab) receive(stream grpc.BidiStreamingServer[gabv1.AttachRequest, gabv1.AttachResponse]) error {
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		g.c.mu.Lock()
		switch body := r.GetBody().(type) {
		case *gabv1.AttachRequest_Heartbeat:
			g.beats++
		case *gabv1.AttachRequest_FenceAnswer:
			g.c.answers = append(g.c.answers, body.FenceAnswer)
		case *gabv1.AttachRequest_Send:
			g.c.order(g, body.Send)
		}
		g.c.mu.Unlock()
	}
}

// order delivers to everybody attached, and tells the sender.
func (c *fakeCluster) order(from *fakeGab, s *gabv1.Send) {
	for _, g := range c.nodes {
		if g.out == nil {
			continue
		}
		for _, p := range s.GetPayloads() {
			g.out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Message{Message: &gabv1.Message{View: c.viewID(), FromNodeId: from.id, Payload: p}}}
		}
	}
	if from.out != nil {
		from.out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Outcome{Outcome: &gabv1.Outcome{MessageId: s.GetMessageId(), Result: gabv1.SendResult_SEND_RESULT_DELIVERED}}}
		from.out <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Credit{Credit: &gabv1.Credit{Messages: 1}}}
	}
}

func (g *fakeGab) GetMembership(context.Context, *gabv1.GetMembershipRequest) (*gabv1.GetMembershipResponse, error) {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	return &gabv1.GetMembershipResponse{Seeded: true, Ports: []*gabv1.PortMembership{
		{Port: "a", Members: g.c.systems}, {Port: "b", Members: g.c.members()},
	}}, nil
}

func (g *fakeGab) GetTransport(context.Context, *gabv1.GetTransportRequest) (*gabv1.GetTransportResponse, error) {
	return &gabv1.GetTransportResponse{NodeId: g.id, ClusterId: 7}, nil
}

func (g *fakeGab) Leave(context.Context, *gabv1.LeaveRequest) (*gabv1.LeaveResponse, error) {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	g.left = true
	return &gabv1.LeaveResponse{}, nil
}

func (g *fakeGab) WatchLease(_ *gabv1.WatchLeaseRequest, stream grpc.ServerStreamingServer[gabv1.WatchLeaseResponse]) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		lease := &gabv1.Lease{ExpiresBoottimeNs: int64(standing.Boottime().Add(time.Second))}
		if err := stream.Send(&gabv1.WatchLeaseResponse{Lease: lease}); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}
