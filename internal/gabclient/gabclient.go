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

	"github.com/evenkeel/evenkeel/internal/gabclient/batch"
	"github.com/evenkeel/evenkeel/internal/localrpc/window"
	"github.com/evenkeel/evenkeel/internal/localrpc/wire"
	"github.com/evenkeel/evenkeel/internal/vclock"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// Bounds of what is under way between gab and the user.
const (
	credits    = 512     // Messages that gab may send ahead of the user; Events holds as many besides
	pendingMax = 1 << 20 // bytes of Sends that wait for the stream; above it a Send waits
	windowMax  = 8 << 20 // bytes of Sends without outcome; above it a Send waits
	sizesKept  = 2048    // more than gab gives credit for
)

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

	events chan *gabv1.AttachResponse // bound: credits; full: what comes waits in overflow
	done   chan struct{}              // closed when the stream has ended
	lease  atomic.Int64

	// What waits for the stream. One goroutine at a time is in stream.SendMsg
	// (speaking); what comes meanwhile goes together in its next message.
	outMu    sync.Mutex
	out      batch.Requests
	speaking bool
	spoken   chan struct{} // closed when the stream has taken what waited
	speak    chan struct{} // capacity 1: the speaker has something to do
	closing  bool
	underway int              // Sends without outcome
	bytes    int              // of them
	sizes    [sizesKept]int32 // of each Send under way, by its id

	// What the user has not taken. Bound: what gab had credit for.
	inMu     sync.Mutex
	overflow []*gabv1.AttachResponse
	handing  bool
	owed     atomic.Int64  // credit not yet given for Messages that the user got
	hands    chan struct{} // capacity 1: overflow has something

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
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(32<<20), wire.Call()))...)
	if err != nil {
		return nil, fmt.Errorf("attach to port %s: %w", cfg.Port, err)
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &Client{
		cfg: cfg, conn: conn, cancel: cancel, events: make(chan *gabv1.AttachResponse, credits),
		done: make(chan struct{}), wait: map[uint64]chan gabv1.SendResult{}, more: make(chan struct{}),
		spoken: make(chan struct{}), speak: make(chan struct{}, 1), hands: make(chan struct{}, 1),
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
	c.workers.Go(c.speaker)
	c.workers.Go(c.beat)
	return c, nil
}

func (c *Client) open(ctx context.Context) (err error) {
	if c.stream, err = gabv1.NewGabServiceClient(c.conn).Attach(ctx); err != nil {
		return err
	}
	if err := c.stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: c.cfg.Port, Client: c.cfg.Client, Batches: true}}}); err != nil {
		_, err = c.stream.Recv() // knows why
		return err
	}
	var first batch.Responded
	if err := c.stream.RecvMsg(&first); err != nil {
		return err
	}
	if len(first.Responses) > 0 {
		c.registered = first.Responses[0].GetRegistered()
	}
	if c.registered == nil {
		return errors.New("gab's first word is not Registered")
	}
	for _, r := range first.Responses[1:] {
		c.came(r)
	}
	return c.stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: credits}}})
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

// closePatience is how long Close waits for gab to read what was said before: a
// busy gab does so within milliseconds, one that is starved may take longer.
const closePatience = 2 * time.Second

// Close leaves the port, after gab has read what was said before: a cancelled
// stream may lose a last word, such as that nothing is protected (R14). A gab
// that does not answer is left without that.
func (c *Client) Close() {
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	c.outMu.Lock()
	c.closing = true
	c.outMu.Unlock()
	c.wakeSpeaker()
	select {
	case <-c.done:
	case <-patience.C:
	}
	c.cancel()
	c.workers.Wait()
	c.conn.Close()
}

// say lets a request go behind all before it.
func (c *Client) say(r *gabv1.AttachRequest) error {
	c.outMu.Lock()
	if err := c.out.Request(r); err != nil {
		c.outMu.Unlock()
		return err
	}
	c.letGo(true)
	return nil
}

// letGo sends what waits, or leaves it to who is sending. It is called with
// outMu and releases it. alone says that nothing else is likely to come soon:
// the caller sends, which saves a change of goroutine.
func (c *Client) letGo(alone bool) {
	if c.speaking {
		c.outMu.Unlock()
		return
	}
	if !alone {
		c.outMu.Unlock()
		c.wakeSpeaker()
		return
	}
	c.speaking = true
	for c.out.Len() > 0 {
		c.utter()
	}
	c.speaking = false
	closing := c.closing
	c.outMu.Unlock()
	if closing {
		c.wakeSpeaker()
	}
}

// utter gives the stream what waits; outMu is released meanwhile. An error of
// the stream is the receiver's to see.
func (c *Client) utter() {
	now := c.out
	c.out = batch.Requests{}
	spoken := c.spoken
	c.spoken = make(chan struct{})
	c.outMu.Unlock()
	_ = c.stream.SendMsg(&now)
	close(spoken)
	c.outMu.Lock()
}

func (c *Client) wakeSpeaker() {
	select {
	case c.speak <- struct{}{}:
	default: // it is awake
	}
}

// speaker sends what waits whenever it is woken, and ends the stream.
func (c *Client) speaker() {
	for {
		select {
		case <-c.speak:
		case <-c.done:
			return
		}
		c.outMu.Lock()
		if c.out.Len() > 0 {
			c.letGo(true)
			c.outMu.Lock()
		}
		last := c.closing && !c.speaking && c.out.Len() == 0
		c.speaking = c.speaking || last // nobody speaks after CloseSend
		c.outMu.Unlock()
		if last {
			_ = c.stream.CloseSend() // the receiver sees a broken stream
			return
		}
	}
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
	size := 0
	for _, p := range payloads {
		size += len(p)
	}
	for {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return 0, nil, fmt.Errorf("send on port %s: %w", c.cfg.Port, c.Err())
		}
		if c.credit > 0 && c.hasRoom(size) {
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
	c.outMu.Lock() // before c.mu is free: ids must grow on the stream
	c.mu.Unlock()
	c.out.Send(id, to, payloads)
	c.underway++
	c.bytes += size
	c.sizes[id%sizesKept] = int32(size)
	spoken, full := c.spoken, c.out.Bytes() > pendingMax
	c.letGo(c.underway == 1)
	if full {
		select {
		case <-spoken:
		case <-c.done:
		case <-ctx.Done(): // it is on its way all the same
		}
	}
	return id, result, nil
}

// hasRoom reports whether the window takes so many bytes more. While it does
// not, an outcome will come, and with it credit.
func (c *Client) hasRoom(size int) bool {
	c.outMu.Lock()
	defer c.outMu.Unlock()
	return c.underway == 0 || c.bytes+size <= windowMax
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
	defer close(c.hands)
	var in batch.Responded
	for {
		if err := c.stream.RecvMsg(&in); err != nil {
			c.mu.Lock()
			c.err = fmt.Errorf("port %s is lost: %w", c.cfg.Port, err)
			c.mu.Unlock()
			close(c.done)
			return
		}
		c.outMu.Lock()
		for _, r := range in.Responses { // before the user sees any of it and goes on
			if o := r.GetOutcome(); o != nil {
				c.underway--
				c.bytes -= int(c.sizes[o.GetMessageId()%sizesKept])
			}
		}
		c.outMu.Unlock()
		taken := 0
		for _, r := range in.Responses {
			if c.came(r) {
				taken++
			}
		}
		c.giveCredit(taken)
	}
}

// came takes one response. It reports whether a Message went to the user.
func (c *Client) came(r *gabv1.AttachResponse) bool {
	switch b := r.GetBody().(type) {
	case *gabv1.AttachResponse_Lease:
		c.lease.Store(b.Lease.GetExpiresBoottimeNs())
		return false
	case *gabv1.AttachResponse_Credit:
		c.mu.Lock()
		c.credit += int(b.Credit.GetMessages())
		close(c.more)
		c.more = make(chan struct{})
		c.mu.Unlock()
		return false
	case *gabv1.AttachResponse_Outcome:
		c.mu.Lock()
		if w := c.wait[b.Outcome.GetMessageId()]; w != nil {
			w <- b.Outcome.GetResult() // capacity 1, one outcome
			delete(c.wait, b.Outcome.GetMessageId())
		}
		c.mu.Unlock()
	}
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if !c.handing && len(c.overflow) == 0 {
		select {
		case c.events <- r:
			return r.GetMessage() != nil
		default:
		}
	}
	c.overflow = append(c.overflow, r)
	select {
	case c.hands <- struct{}{}:
	default: // it is awake
	}
	return false
}

// hand gives the user what had no room in Events when it came.
func (c *Client) hand() {
	defer close(c.events)
	for range c.hands {
		for {
			c.inMu.Lock()
			all := c.overflow
			c.overflow = nil
			c.handing = len(all) > 0
			c.inMu.Unlock()
			if len(all) == 0 {
				break
			}
			for _, r := range all {
				select {
				case c.events <- r:
				case <-c.stream.Context().Done():
					continue
				}
				if r.GetMessage() != nil {
					c.giveCredit(1)
				}
			}
		}
	}
}

// giveCredit lets gab send as much as the user got, a quarter at a time.
func (c *Client) giveCredit(messages int) {
	if messages == 0 {
		return
	}
	if owed := c.owed.Add(int64(messages)); owed >= credits/4 {
		if n := c.owed.Swap(0); n > 0 {
			_ = c.say(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: uint32(n)}}}) // the receiver sees a broken stream
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
