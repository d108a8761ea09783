// Command coreload measures the broadcast of gab without gRPC and without
// another process: the daemon's own cores, turns and links, and a client that
// stands in the same process. It joins a port and takes what comes; for each
// line "SIZE SECONDS PINGS" on its input it measures and prints one line as
// lab-gabload does.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/evenkeel/evenkeel/internal/gabclient/batch"
	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab/server"
)

const (
	port        = "j"
	windowSends = 512     // without outcome, as many as a client of the streams has credit for
	windowBytes = 8 << 20 // the same in bytes
	together    = 64      // requests that the daemon is handed at a time
)

func main() {
	members := flag.Int("members", 2, "members to wait for")
	flag.Parse()
	if err := run(*members); err != nil {
		fmt.Fprintln(os.Stderr, "coreload:", err)
		os.Exit(1)
	}
}

func run(members int) error {
	cfg, err := server.Load(paths.FromEnvironment(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	daemon, err := server.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx) }() // ends with cancel, at the end of run
	c := newClient(ctx)
	go func() { ended <- c.attach(daemon) }()
	go c.beat()
	if err := c.await(members, ended); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var size, pings int
		var seconds float64
		if _, err := fmt.Sscan(lines.Text(), &size, &seconds, &pings); err != nil {
			return fmt.Errorf("line %q: %w; want SIZE SECONDS PINGS", lines.Text(), err)
		}
		if err := c.measure(max(size, 8), time.Duration(seconds*float64(time.Second)), pings); err != nil {
			return err
		}
	}
	return lines.Err()
}

// client is a stream of the daemon's that never leaves the process.
type client struct {
	grpc.ServerStream
	ctx      context.Context
	requests chan []batch.Request // bound 1: the daemon takes one hand-over at a time
	began    bool

	mu       sync.Mutex
	changed  *sync.Cond
	members  int
	self     uint32
	own      int // messages of this client that came back
	outcomes int
	in       batch.Responded
}

func newClient(ctx context.Context) *client {
	caller := &peer.Peer{AuthInfo: localrpc.Caller{UID: 0, PID: int32(os.Getpid())}}
	c := &client{ctx: peer.NewContext(ctx, caller), requests: make(chan []batch.Request, 1)}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// attach registers, again until the daemon has begun, and stays.
func (c *client) attach(daemon *server.Server) error {
	for {
		c.began = false
		err := daemon.Attach(c)
		c.mu.Lock()
		known := c.members > 0
		c.mu.Unlock()
		if known || c.ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Context is the caller's.
func (c *client) Context() context.Context { return c.ctx }

// Recv is the first request.
func (c *client) Recv() (*gabv1.AttachRequest, error) {
	return &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: port, Client: "coreload", Batches: true}}}, nil
}

// RecvMsg is each hand-over after it.
func (c *client) RecvMsg(m any) error {
	if !c.began { // enough for all messages that are measured
		c.began = true
		m.(*batch.Requested).Requests = []batch.Request{{Other: &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: 1 << 31}}}}}
		return nil
	}
	select {
	case m.(*batch.Requested).Requests = <-c.requests:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// Send is for clients that know no batches.
func (c *client) Send(*gabv1.AttachResponse) error {
	return fmt.Errorf("a response outside of a batch")
}

// SendMsg takes what the daemon says, decoded as a client does it.
func (c *client) SendMsg(m any) error {
	wire := m.(*batch.Responses).MarshalWire()
	text := wire.Materialize()
	wire.Free()
	if err := c.in.UnmarshalWire(text); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.in.Responses {
		switch b := r.GetBody().(type) {
		case *gabv1.AttachResponse_Registered:
			c.self = b.Registered.GetSelf().GetNodeId()
		case *gabv1.AttachResponse_View:
			c.members = len(b.View.GetMembers())
		case *gabv1.AttachResponse_Outcome:
			c.outcomes++
		case *gabv1.AttachResponse_Message:
			if b.Message.GetFromNodeId() == c.self {
				c.own++
			}
		}
	}
	c.changed.Broadcast()
	return nil
}

func (c *client) beat() {
	alive := []batch.Request{{Other: &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Heartbeat{Heartbeat: &gabv1.Heartbeat{}}}}}
	for tick := time.NewTicker(time.Second); ; {
		select {
		case <-tick.C:
			c.requests <- alive
		case <-c.ctx.Done():
			tick.Stop()
			return
		}
	}
}

func (c *client) await(members int, ended chan error) error {
	formed := make(chan struct{})
	go func() { // ends with the process at the latest
		c.mu.Lock()
		for c.members < members {
			c.changed.Wait()
		}
		c.mu.Unlock()
		close(formed)
	}()
	select {
	case <-formed:
		return nil
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		return fmt.Errorf("%d members do not come together in a minute", members)
	}
}

// result is the line of output.
type result struct {
	PerSecond float64 `json:"per_second"`
	P50us     float64 `json:"p50_us"`
	P99us     float64 `json:"p99_us"`
}

func (c *client) measure(size int, lasting time.Duration, pings int) error {
	id := uint64(time.Now().UnixNano()) // grows from one measurement to the next
	message := func() batch.Request {
		id++
		p := make([]byte, size)
		binary.BigEndian.PutUint64(p, id)
		return batch.Request{ID: id, Payloads: [][]byte{p}}
	}
	var times []time.Duration
	for range pings {
		began := time.Now()
		want := c.count() + 1
		c.requests <- []batch.Request{message()}
		c.until(func() bool { return c.own >= want })
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	window := min(windowSends, max(1, windowBytes/size))
	c.mu.Lock()
	first, answered := c.own, c.outcomes
	c.mu.Unlock()
	sent := 0
	began := time.Now()
	for time.Since(began) < lasting {
		room := 0
		c.until(func() bool { room = window - (sent - (c.outcomes - answered)); return room > 0 })
		var some []batch.Request
		for range min(room, together) {
			some = append(some, message())
		}
		sent += len(some)
		c.requests <- some
	}
	c.until(func() bool { return c.own-first >= sent })
	us := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
	return json.NewEncoder(os.Stdout).Encode(result{PerSecond: float64(sent) / time.Since(began).Seconds(),
		P50us: us(times[len(times)/2]), P99us: us(times[len(times)*99/100])})
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.own
}

func (c *client) until(there func() bool) {
	c.mu.Lock()
	for !there() {
		c.changed.Wait()
	}
	c.mu.Unlock()
}
