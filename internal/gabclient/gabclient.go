// Package gabclient is a client of gab: a process on a port. It keeps up the
// heartbeats and both credits, so that its user sees what matters only: views
// and messages in their order on one bounded channel, and what became of each
// Send.
package gabclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/evenkeel/evenkeel/internal/localrpc/window"
	"github.com/evenkeel/evenkeel/internal/vclock"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// credits is how many Messages gab may send ahead of the user.
const credits = 256

// Config says who joins which port.
type Config struct {
	// Socket is gab's unix socket.
	Socket string
	// Port is the letter, such as "h"; Client the name for gabconfig -aC.
	Port, Client string
	// Alive is asked before each heartbeat; false keeps it back, so that gab
	// kills a process that hangs. nil means always alive.
	Alive func() bool
}

// Client is one membership of a port. Its methods are safe for concurrent use.
type Client struct {
	cfg        Config
	conn       *grpc.ClientConn
	stream     grpc.BidiStreamingClient[gabv1.AttachRequest, gabv1.AttachResponse]
	registered *gabv1.Registered
	cancel     context.CancelFunc
	workers    sync.WaitGroup

	inbox  chan *gabv1.AttachResponse // bound: credits and what else is outstanding; full: the receiver waits
	events chan *gabv1.AttachResponse
	done   chan struct{} // closed when the stream has ended
	lease  atomic.Int64
	sendMu sync.Mutex // of the stream
	mu     sync.Mutex
	err    error
	nextID uint64
	wait   map[uint64]chan gabv1.SendResult
	credit int
	more   chan struct{} // closed when credit grows
}

// Attach joins a port and returns when gab has accepted the client. The client
// lives until Close, or until gab ends the stream.
func Attach(ctx context.Context, cfg Config) (*Client, error) {
	conn, err := grpc.NewClient("unix:"+cfg.Socket, append(window.Dial(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20)))...)
	if err != nil {
		return nil, fmt.Errorf("attach to port %s: %w", cfg.Port, err)
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{
		cfg: cfg, conn: conn, cancel: cancel, inbox: make(chan *gabv1.AttachResponse, 2*credits), events: make(chan *gabv1.AttachResponse),
		done: make(chan struct{}), wait: map[uint64]chan gabv1.SendResult{}, more: make(chan struct{}),
	}
	stop := context.AfterFunc(ctx, cancel)
	err = c.open(own)
	if stop(); err != nil {
		cancel()
		conn.Close()
		return nil, fmt.Errorf("attach to port %s: %w", cfg.Port, err)
	}
	c.workers.Go(c.receive)
	c.workers.Go(c.hand)
	c.workers.Go(c.beat)
	return c, nil
}

func (c *Client) open(ctx context.Context) (err error) {
	if c.stream, err = gabv1.NewGabServiceClient(c.conn).Attach(ctx); err != nil {
		return err
	}
	if err := c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: c.cfg.Port, Client: c.cfg.Client}}}); err != nil {
		_, err = c.stream.Recv() // knows why
		return err
	}
	first, err := c.stream.Recv()
	if err != nil {
		return err
	}
	if c.registered = first.GetRegistered(); c.registered == nil {
		return errors.New("gab's first word is not Registered")
	}
	return c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: credits}}})
}

// Registered is gab's answer to the registration.
func (c *Client) Registered() *gabv1.Registered { return c.registered }

// Events are Views, Messages, Outcomes, EvidenceUpdates and Gates, those with
// a place in the order in it. While the user takes none, gab stops the senders
// of the port. It is closed when the port is lost; Err says why.
func (c *Client) Events() <-chan *gabv1.AttachResponse { return c.events }

// Err is why the port was lost, nil while it is not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Lease is the CLOCK_BOOTTIME until which this system is in good standing; 0
// before the first lease.
func (c *Client) Lease() vclock.Time { return vclock.Time(c.lease.Load()) }

// closePatience is how long Close waits for gab to read what was said before.
const closePatience = 200 * time.Millisecond

// Close leaves the port, after gab has read what was said before: a cancelled
// stream may lose a last word, such as that nothing is protected (R14). A gab
// that does not answer is left without that.
func (c *Client) Close() {
	if c.sendMu.TryLock() {
		err := c.stream.CloseSend()
		c.sendMu.Unlock()
		if err == nil {
			patience := time.NewTimer(closePatience)
			select {
			case <-c.done:
			case <-patience.C:
			}
			patience.Stop()
		}
	}
	c.cancel()
	c.workers.Wait()
	c.conn.Close()
}

func (c *Client) say(r *gabv1.AttachRequest) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.stream.Send(r)
}

// Send broadcasts payloads to the port and returns their message id as soon as
// gab's credit allowed them to go; the Outcome comes on Events.
func (c *Client) Send(ctx context.Context, payloads ...[]byte) (uint64, error) {
	id, _, err := c.send(ctx, nil, payloads, false)
	return id, err
}

// SendTo is Send to one system only.
func (c *Client) SendTo(ctx context.Context, node uint32, payloads ...[]byte) (uint64, error) {
	id, _, err := c.send(ctx, &node, payloads, false)
	return id, err
}

// SendWait is Send, and waits for the outcome. When the port is lost first, it
// is UNKNOWN (R15).
func (c *Client) SendWait(ctx context.Context, payloads ...[]byte) (gabv1.SendResult, error) {
	_, result, err := c.send(ctx, nil, payloads, true)
	if err != nil {
		return 0, err
	}
	select {
	case r := <-result:
		return r, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.done:
		return gabv1.SendResult_SEND_RESULT_UNKNOWN, nil
	}
}

func (c *Client) send(ctx context.Context, to *uint32, payloads [][]byte, wait bool) (uint64, chan gabv1.SendResult, error) {
	for {
		c.mu.Lock()
		if c.credit > 0 {
			break
		}
		more := c.more
		c.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		case <-c.done:
			return 0, nil, c.Err()
		}
	}
	c.credit--
	c.nextID++
	id := c.nextID
	var result chan gabv1.SendResult
	if wait {
		result = make(chan gabv1.SendResult, 1)
		c.wait[id] = result
	}
	c.sendMu.Lock() // before c.mu is free: ids must grow on the stream
	c.mu.Unlock()
	defer c.sendMu.Unlock()
	err := c.stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Send{Send: &gabv1.Send{MessageId: id, Payloads: payloads, ToNodeId: to}}})
	if err != nil {
		return 0, nil, fmt.Errorf("send on port %s: %w", c.cfg.Port, err)
	}
	return id, result, nil
}

// Answer gives the evidence for a gated view; port b only (R10).
func (c *Client) Answer(a *gabv1.FenceAnswer) error {
	return c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_FenceAnswer{FenceAnswer: a}})
}

// Protect says how many protected resources are here; port h only (R2, R14).
func (c *Client) Protect(resources uint32) error {
	return c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Protection{Protection: &gabv1.Protection{Resources: resources}}})
}

// receive takes what gab says until the stream ends.
func (c *Client) receive() {
	defer close(c.inbox)
	for {
		r, err := c.stream.Recv()
		if err != nil {
			c.mu.Lock()
			c.err = fmt.Errorf("port %s is lost: %w", c.cfg.Port, err)
			c.mu.Unlock()
			close(c.done)
			return
		}
		switch b := r.GetBody().(type) {
		case *gabv1.AttachResponse_Lease:
			c.lease.Store(b.Lease.GetExpiresBoottimeNs())
			continue
		case *gabv1.AttachResponse_Credit:
			c.mu.Lock()
			c.credit += int(b.Credit.GetMessages())
			close(c.more)
			c.more = make(chan struct{})
			c.mu.Unlock()
			continue
		case *gabv1.AttachResponse_Outcome:
			c.mu.Lock()
			if w := c.wait[b.Outcome.GetMessageId()]; w != nil {
				w <- b.Outcome.GetResult() // capacity 1, one outcome
				delete(c.wait, b.Outcome.GetMessageId())
			}
			c.mu.Unlock()
		}
		select {
		case c.inbox <- r:
		case <-c.stream.Context().Done():
		}
	}
}

// hand passes events on and gives credit for what was taken.
func (c *Client) hand() {
	defer close(c.events)
	taken := uint32(0)
	for r := range c.inbox {
		select {
		case c.events <- r:
		case <-c.stream.Context().Done():
			continue
		}
		if r.GetMessage() == nil {
			continue
		}
		if taken++; taken >= credits/4 {
			_ = c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: taken}}}) // the receiver sees a broken stream
			taken = 0
		}
	}
}

// beat sends the heartbeats.
func (c *Client) beat() {
	ticker := time.NewTicker(time.Duration(max(c.registered.GetHeartbeatMs(), 10)) * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case <-ticker.C:
		}
		if c.cfg.Alive == nil || c.cfg.Alive() {
			_ = c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Heartbeat{Heartbeat: &gabv1.Heartbeat{}}}) // the receiver sees a broken stream
		}
	}
}
