package server

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/evenkeel/evenkeel/internal/localrpc/window"
)

// Port is had's membership of port h. Its methods do not block and belong to
// one goroutine, except Close.
type Port interface {
	// Send queues a payload for all members, or for one system. Its fate comes
	// back as an Outcome with this id; ids must grow.
	Send(id uint64, to *uint32, payload []byte) error
	// Protect says how many protected resources are here (R2, R14).
	Protect(resources uint32) error
	// Heartbeat says that had's own loop turns.
	Heartbeat() error
	// Received is what gab says, in its order; closed when the port is lost.
	Received() <-chan *gabv1.AttachResponse
	// Err says why Received was closed.
	Err() error
	// Close leaves the port and returns when it is left.
	Close()
}

const (
	// messageCredits is how many messages gab may send before had has taken
	// some.
	messageCredits = 1024
	// sendBound is how many requests wait for the stream; when it is full the
	// port is given up, since had would otherwise miss what it owes.
	sendBound = 8192
)

// gabPort is a Port over gab's socket.
type gabPort struct {
	cancel   context.CancelFunc
	conn     *grpc.ClientConn
	stream   grpc.BidiStreamingClient[gabv1.AttachRequest, gabv1.AttachResponse]
	out      chan *gabv1.AttachRequest // bound sendBound; full: the port fails
	sends    chan *gabv1.AttachRequest // bound sendBound, waits for gab's credit
	credit   chan uint32               // from gab, bound 16; the receiver waits
	received chan *gabv1.AttachResponse
	workers  sync.WaitGroup

	mu  sync.Mutex
	err error
}

// openPort registers on port h. It returns when gab has accepted the client.
func openPort(ctx context.Context, socket string) (Port, error) {
	conn, err := grpc.NewClient("unix:"+socket, append(window.Dial(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20), grpc.MaxCallSendMsgSize(32<<20)))...)
	if err != nil {
		return nil, fmt.Errorf("open port h: %w", err)
	}
	streamCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fail := func(err error) (Port, error) {
		cancel()
		conn.Close()
		return nil, fmt.Errorf("open port h: %w", err)
	}
	stopWaiting := context.AfterFunc(ctx, cancel)
	stream, err := gabv1.NewGabServiceClient(conn).Attach(streamCtx)
	if err != nil {
		return fail(err)
	}
	if err := stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: "h", Client: "had"}}}); err != nil {
		return fail(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return fail(err)
	}
	if first.GetRegistered() == nil {
		return fail(errors.New("gab did not answer the registration first"))
	}
	if !stopWaiting() {
		return fail(ctx.Err())
	}
	p := &gabPort{
		cancel: cancel, conn: conn, stream: stream,
		out: make(chan *gabv1.AttachRequest, sendBound), sends: make(chan *gabv1.AttachRequest, sendBound),
		credit: make(chan uint32, 16), received: make(chan *gabv1.AttachResponse, messageCredits+64),
	}
	p.received <- first
	p.out <- &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: messageCredits}}}
	p.workers.Go(func() { p.write(streamCtx) })
	p.workers.Go(func() { p.spend(streamCtx) })
	p.workers.Go(func() { p.read(streamCtx) })
	return p, nil
}

func (p *gabPort) fail(err error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.cancel()
}

func (p *gabPort) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// write owns the sending side of the stream.
func (p *gabPort) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-p.out:
			if r == nil { // the last one: leave in order
				_ = p.stream.CloseSend()
				return
			}
			if err := p.stream.Send(r); err != nil {
				p.fail(fmt.Errorf("send to gab: %w", err))
				return
			}
		}
	}
}

// spend passes Sends on as gab gives credit for them.
func (p *gabPort) spend(ctx context.Context) {
	var credit uint64
	for {
		sends := p.sends
		if credit == 0 {
			sends = nil
		}
		select {
		case <-ctx.Done():
			return
		case n := <-p.credit:
			credit += uint64(n)
		case r := <-sends:
			credit--
			select {
			case p.out <- r:
			case <-ctx.Done():
				return
			}
		}
	}
}

// read owns the receiving side. It never holds more than gab had credit for,
// so that the loop may be slow but not flooded.
func (p *gabPort) read(ctx context.Context) {
	defer close(p.received)
	taken := uint32(0)
	for {
		r, err := p.stream.Recv()
		if err != nil {
			p.fail(fmt.Errorf("receive from gab: %w", err))
			return
		}
		if c := r.GetCredit(); c != nil {
			select {
			case p.credit <- c.GetMessages():
			case <-ctx.Done():
				return
			}
			continue
		}
		select {
		case p.received <- r: // waits while the loop is behind
		case <-ctx.Done():
			return
		}
		if r.GetMessage() == nil {
			continue
		}
		if taken++; taken >= messageCredits/4 {
			select {
			case p.out <- &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: taken}}}:
			case <-ctx.Done():
				return
			}
			taken = 0
		}
	}
}

func (p *gabPort) Received() <-chan *gabv1.AttachResponse { return p.received }

var errBacklog = errors.New("gab takes no messages: too many wait")

func (p *gabPort) Send(id uint64, to *uint32, payload []byte) error {
	r := &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Send{Send: &gabv1.Send{MessageId: id, Payloads: [][]byte{payload}, ToNodeId: to}}}
	return p.queue(p.sends, r)
}

func (p *gabPort) Protect(resources uint32) error {
	return p.queue(p.out, &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Protection{Protection: &gabv1.Protection{Resources: resources}}})
}

func (p *gabPort) Heartbeat() error {
	return p.queue(p.out, &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Heartbeat{Heartbeat: &gabv1.Heartbeat{}}})
}

func (p *gabPort) queue(ch chan<- *gabv1.AttachRequest, r *gabv1.AttachRequest) error {
	select {
	case ch <- r:
		return nil
	default:
		p.fail(errBacklog)
		return errBacklog
	}
}

// leaveTime is how long gab may take to end the stream of a client that left.
const leaveTime = 2 * time.Second

func (p *gabPort) Close() {
	late := time.AfterFunc(leaveTime, p.cancel)
	if p.queue(p.out, nil) == nil {
		for range p.received { // nobody else listens any more
		}
	}
	late.Stop()
	p.fail(errors.New("left by order"))
	p.workers.Wait()
	p.conn.Close()
}
