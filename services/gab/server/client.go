package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/gabclient/batch"
	"github.com/evenkeel/evenkeel/internal/localrpc"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

const (
	heartbeatMs = 1000 // of clients; one that is silent for missedBeats of them is killed
	missedBeats = 5
	// stalledBeats are missed before a client counts as stalled.
	stalledBeats = 2
	sendCredits  = 1024      // Sends that a client may have under way
	sendBytes    = 128 << 20 // bytes of Sends that may wait here for the core; gabclient keeps to far less
)

// client is a process on a port. What is not safe for concurrent use by its
// own word belongs to the loop.
type client struct {
	port   gab.Port
	name   string
	pid    int
	pidfd  int // -1 if unknown
	box    *outbox
	gone   chan struct{} // closed by close
	once   sync.Once
	reason string // set before gone is closed
	wrong  error  // what the client did wrong, set before gone is closed

	lastID  uint64
	lastMsg vclock.Time
	queue   []gab.Send // at most sendCredits
	queued  int        // payload bytes in queue, at most sendBytes
	batches bool       // it understands ResponseBatch
	blocked bool
	slow    bool
	stalled bool // says nothing, for two heartbeats
	killed  bool
}

// close ends the client's stream. It may be called by anybody.
func (c *client) close(reason string) { c.end(reason, nil) }

func (c *client) end(reason string, wrong error) {
	c.once.Do(func() {
		c.reason, c.wrong = reason, wrong
		close(c.gone)
		c.box.close()
	})
}

func (l *loop) client(p gab.Port) *client {
	if !p.Valid() {
		return nil
	}
	return l.clients[p-'a']
}

// Attach is one client on one port.
func (s *Server) Attach(stream gabv1.GabService_AttachServer) error {
	ctx := stream.Context()
	if err := localrpc.MayChange(ctx); err != nil {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	reg := first.GetRegister()
	if reg == nil {
		return status.Error(codes.FailedPrecondition, "the first request must be Register")
	}
	if len(reg.GetPort()) != 1 || !gab.Port(reg.GetPort()[0]).Valid() {
		return status.Errorf(codes.InvalidArgument, "port %q: clients may have the ports \"b\" to \"z\"; fencing is b, had is h", reg.GetPort())
	}
	l, err := s.running()
	if err != nil {
		return err
	}
	c := &client{port: gab.Port(reg.GetPort()[0]), name: reg.GetClient(), pidfd: -1, box: newOutbox(), gone: make(chan struct{}), batches: reg.GetBatches()}
	if caller, ok := localrpc.CallerOf(ctx); ok && caller.PID > 0 && int(caller.PID) != os.Getpid() {
		c.pid = int(caller.PID)
		if c.pidfd, err = unix.PidfdOpen(c.pid, 0); err != nil {
			c.pidfd = -1
		} else {
			defer unix.Close(c.pidfd)
		}
	}
	var refused error
	if err := l.do(ctx, func() { refused = l.register(c) }); err != nil {
		// The caller has gone before its turn, which may yet come: what it
		// registers has nobody who speaks for it.
		c.close("the stream ended")
		_ = l.do(s.ctx, func() { l.unregister(c) })
		return s.unavailable(err)
	}
	if refused != nil {
		return refused
	}
	sender := make(chan struct{})
	go func() { defer close(sender); l.feed(c, stream) }() // ends with c.close or the stream
	received := make(chan error, 1)
	go func() { received <- l.listen(c, stream) }() // ends with the stream, that is when this method returns
	select {
	case err = <-received:
	case <-c.gone:
		if err = c.wrong; err == nil {
			err = status.Error(codes.Unavailable, c.reason)
		}
	}
	c.close("the stream ended")
	select {
	case <-sender:
	case <-time.After(time.Second): // the client does not read; the stream's end releases the sender
	}
	// However it went, the client has left the port now.
	_ = l.do(s.ctx, func() {
		if s.ctx.Err() != nil {
			return // the daemon ends as a crash does
		}
		if err != nil {
			l.died(c)
		}
		l.unregister(c)
	})
	return err
}

func (l *loop) register(c *client) error {
	if other := l.client(c.port); other != nil {
		return status.Errorf(codes.AlreadyExists, "port %s has a client on this system already: %s, pid %d", c.port, other.name, other.pid)
	}
	if l.gab.Status().Leaving {
		return status.Error(codes.Unavailable, "gab is leaving the cluster")
	}
	l.clients[c.port-'a'] = c
	l.toldYield = l.toldYield || c.port == gab.PortH
	c.lastMsg = l.last
	l.log.Info("client registers", "port", c.port.String(), "client", c.name, "pid", c.pid)
	self := &gabv1.Member{NodeId: uint32(l.s.cfg.Node), Name: l.name(gab.NodeID(l.s.cfg.Node)), Incarnation: l.inc}
	c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Registered{Registered: &gabv1.Registered{
		Self: self, FencingMode: l.s.cfg.FencingMode, HeartbeatMs: heartbeatMs, Yielded: l.s.yielded.Load(),
	}}})
	c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Credit{Credit: &gabv1.Credit{Messages: sendCredits}}})
	l.leaseMu.Lock()
	lease := l.leaseNow.GetLease()
	l.leaseMu.Unlock()
	if lease != nil {
		c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Lease{Lease: lease}})
	}
	if g := l.gab.Status().Gate; g.Held && c.port == gab.PortH {
		c.box.putFirst(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Gate{Gate: l.gateTo(g)}})
	}
	l.gabQueue = append(l.gabQueue, gab.Register{Port: c.port, Client: c.name})
	l.watchHeartbeat(c)
	return nil
}

func (l *loop) unregister(c *client) {
	if l.client(c.port) != c {
		return
	}
	l.clients[c.port-'a'] = nil
	l.log.Info("client is gone", "port", c.port.String(), "client", c.name, "pid", c.pid, "reason", c.reason)
	l.gabQueue = append(l.gabQueue, gab.Unregister{Port: c.port})
	l.forgive(c)
}

// forgive lets nobody wait for a client that is out of its port.
func (l *loop) forgive(c *client) {
	if c.slow {
		l.setSlow(c, false)
	}
	if c.stalled {
		l.setStalled(c, false)
	}
}

// died takes note that a client's process went without leaving its port
// (gabconfig -p).
func (l *loop) died(c *client) {
	if c.port == gab.PortH && l.client(c.port) == c && l.over == nil && l.s.options.Load().HaltOnProcessDeath &&
		standing.Resources(l.s.cfg.Root) > 0 {
		l.out.Store(true)
		l.over = &ending{stop: true, reason: fmt.Sprintf("client %s of port %s, pid %d, died (gabconfig -p)", c.name, c.port, c.pid)}
	}
}

// feed sends the client what waits for it, until the client is closed. To a
// client that knows batches it all goes in one message of the stream.
func (l *loop) feed(c *client, stream gabv1.GabService_AttachServer) {
	var t taken
	var out batch.Responses
	for {
		c.box.take(&t)
		if !t.empty() && !l.mayGo() { // R19: this process stood still
			c.close("gab stood still for longer than the lease")
			return
		}
		if err := c.give(stream, &t, &out); err != nil {
			c.close("the stream is broken")
			return
		}
		if t.caughtUp {
			l.caughtUp(c)
		}
		if !t.empty() {
			continue
		}
		if t.closed {
			return
		}
		<-c.box.ready
	}
}

func (c *client) give(stream gabv1.GabService_AttachServer, t *taken, out *batch.Responses) error {
	if c.batches {
		if t.empty() {
			return nil
		}
		if err := t.encode(out); err != nil {
			return err
		}
		return stream.SendMsg(out)
	}
	for _, r := range t.first {
		if err := stream.Send(r); err != nil {
			return err
		}
	}
	for i := range t.ordered {
		if err := stream.Send(t.ordered[i].whole()); err != nil {
			return err
		}
	}
	return nil
}

// caughtUp lets the senders go on, who wait for this client.
func (l *loop) caughtUp(c *client) {
	_ = l.do(l.s.ctx, func() {
		if c.box.calm() && c.slow {
			l.setSlow(c, false)
		}
	})
}

// listen takes what the client says. It does not wait for the loop; what may be
// under way is bounded by the client's credit.
func (l *loop) listen(c *client, stream gabv1.GabService_AttachServer) error {
	for {
		var in batch.Requested
		err := stream.RecvMsg(&in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		select {
		case l.requests <- func() { l.takeRequests(c, in.Requests) }:
			l.kick()
		case <-l.done:
			return l.s.unavailable(errGone)
		case <-stream.Context().Done():
			return l.s.unavailable(stream.Context().Err())
		}
	}
}

func payloadBytes(ps [][]byte) int {
	n := 0
	for _, p := range ps {
		n += len(p)
	}
	return n
}

// takeRequests takes what one message of a client holds. What is wrong ends
// the client.
func (l *loop) takeRequests(c *client, all []batch.Request) {
	c.lastMsg = l.last
	for i := range all {
		if l.client(c.port) != c {
			return // closed meanwhile; the stream ends
		}
		var wrong error
		if q := &all[i]; q.Other == nil {
			wrong = l.send(c, q)
		} else {
			wrong = l.request(c, q.Other)
		}
		if wrong != nil {
			c.end(status.Convert(wrong).Message(), wrong)
			return
		}
	}
}

// request takes anything but a Send.
func (l *loop) request(c *client, r *gabv1.AttachRequest) error {
	switch b := r.GetBody().(type) {
	case *gabv1.AttachRequest_Register:
		return status.Error(codes.FailedPrecondition, "this stream is registered already")
	case *gabv1.AttachRequest_Credit:
		c.box.addCredit(b.Credit.GetMessages())
	case *gabv1.AttachRequest_Heartbeat:
	case *gabv1.AttachRequest_FenceAnswer:
		if c.port != gab.PortB {
			return status.Error(codes.FailedPrecondition, "fence answers are for port b only")
		}
		a, err := answerOf(b.FenceAnswer)
		if err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
		l.gabQueue = append(l.gabQueue, a)
	case *gabv1.AttachRequest_Protection:
		if c.port != gab.PortH {
			return status.Error(codes.FailedPrecondition, "protection is declared on port h only")
		}
		l.gabQueue = append(l.gabQueue, gab.Protection{Resources: b.Protection.GetResources()})
	default:
		return status.Error(codes.InvalidArgument, "the request is empty")
	}
	return nil
}

func (l *loop) send(c *client, q *batch.Request) error {
	bytes := payloadBytes(q.Payloads)
	switch {
	case len(q.Payloads) == 0 || len(q.Payloads) > gab.MaxPayloads || bytes > gab.MaxSendBytes:
		return status.Errorf(codes.InvalidArgument, "a Send of %d payloads and %d bytes; 1 to %d payloads of %d bytes in all are possible", len(q.Payloads), bytes, gab.MaxPayloads, gab.MaxSendBytes)
	case q.ID <= c.lastID:
		return status.Errorf(codes.InvalidArgument, "message_id %d does not grow; the last one was %d", q.ID, c.lastID)
	case q.Directed && q.To >= gab.MaxNodes:
		return status.Errorf(codes.InvalidArgument, "to_node_id %d is not in 0 to %d", q.To, gab.MaxNodes-1)
	case len(c.queue) >= sendCredits:
		return status.Error(codes.ResourceExhausted, "a Send without credit; wait for Credit")
	case c.queued+bytes > sendBytes:
		return status.Errorf(codes.ResourceExhausted, "Sends of more than %d bytes without an outcome; wait for outcomes", sendBytes)
	}
	c.queued += bytes
	c.lastID = q.ID
	c.queue = append(c.queue, gab.Send{Port: c.port, ID: q.ID, ToNode: gab.NodeID(q.To), Directed: q.Directed, Payloads: q.Payloads})
	return nil
}

// pumpClients gives the core what clients sent, one Send at a time, unless
// somebody must catch up first: the core, LLT, or a slow client on another
// system. It reports whether it did anything.
func (l *loop) pumpClients(now vclock.Time) bool {
	any := false
	for _, c := range l.clients {
		for c != nil && l.over == nil && len(c.queue) > 0 && !c.blocked && !l.clog(c.port) {
			next := c.queue[0]
			c.queue[0] = gab.Send{}
			c.queue = c.queue[1:]
			c.queued -= payloadBytes(next.Payloads)
			l.stepGab(now, next)
			any = true
		}
	}
	return any
}

func (l *loop) clog(p gab.Port) bool {
	bit := uint32(1) << (p - 'a')
	for n := range l.slow {
		if l.clogged[n] || l.slow[n]&bit != 0 {
			return true
		}
	}
	return false
}

// outcome tells the client what became of a Send.
func (l *loop) outcome(e gab.Outcome) {
	if c := l.client(e.Port); c != nil {
		c.box.put(waiting{id: e.ID, result: e.Result})
		l.toFlush[e.Port-'a'] = true
	}
}

// deliver hands the client what has its place in the order. A client that
// takes too little makes all senders of its port wait.
func (l *loop) deliver(p gab.Port, w waiting) {
	c := l.client(p)
	if c == nil {
		return
	}
	slow, over := c.box.put(w)
	l.toFlush[p-'a'] = true
	switch {
	case over:
		l.log.Error("the client does not take its messages", "port", p.String(), "client", c.name)
		c.close("the client did not take its messages")
	case slow && !c.slow:
		l.setSlow(c, true)
	}
}

// flushClients wakes the senders of those who got something in this turn: once
// for all of it.
func (l *loop) flushClients() {
	for i, c := range l.clients {
		if l.toFlush[i] && c != nil {
			c.box.flush()
		}
	}
	l.toFlush = [26]bool{}
}

// viewID is a view's id as the stream has it; the same one for all messages of
// a view.
func (l *loop) viewID(v gab.ViewID) *gabv1.ViewId {
	if l.lastViewID == nil || l.lastView != v {
		l.lastView, l.lastViewID = v, viewIDTo(v)
	}
	return l.lastViewID
}

func (l *loop) setSlow(c *client, on bool) {
	c.slow = on
	l.log.Info("client is slow", "port", c.port.String(), "client", c.name, "slow", on)
	l.markSlow(l.s.cfg.Node, uint32(1)<<(c.port-'a'), on)
	for n := range l.conns {
		if l.conns[n] != 0 {
			l.transport(llt.NodeID(n), flowMessage(c.port, flowFree+truth(on)))
		}
	}
}

// markSlow keeps, and shows, which client slows the senders of a port.
func (l *loop) markSlow(n llt.NodeID, bit uint32, on bool) {
	was := l.slow[n]
	l.slow[n] &^= bit
	if on {
		l.slow[n] |= bit
	}
	if l.slow[n] != was {
		l.publish()
	}
}

// What a flow message says of the client of a port on the sender's system.
const (
	flowFree byte = iota
	flowSlow
	flowAlive
	flowStalled
)

func truth(on bool) byte {
	if on {
		return 1
	}
	return 0
}

// tellFlow tells a new peer which clients here are slow or stalled.
func (l *loop) tellFlow(n llt.NodeID) {
	for _, c := range l.clients {
		if c != nil && c.slow {
			l.transport(n, flowMessage(c.port, flowSlow))
		}
		if c != nil && c.stalled {
			l.transport(n, flowMessage(c.port, flowStalled))
		}
	}
}

func flowMessage(p gab.Port, value byte) []byte { return []byte{byte(p), value, tagFlow} }

// setStalled says everywhere that a client here hangs, or no longer: the
// system is well and only this process says nothing, which is a state of its
// own (GetMembership).
func (l *loop) setStalled(c *client, on bool) {
	c.stalled = on
	l.markStalled(l.s.cfg.Node, uint32(1)<<(c.port-'a'), on)
	for n := range l.conns {
		if l.conns[n] != 0 {
			l.transport(llt.NodeID(n), flowMessage(c.port, flowAlive+truth(on)))
		}
	}
}

func (l *loop) markStalled(n llt.NodeID, bit uint32, on bool) {
	was := l.stalled[n]
	l.stalled[n] &^= bit
	if on {
		l.stalled[n] |= bit
	}
	if l.stalled[n] != was {
		l.publish()
	}
}

// watchHeartbeat kills a client that says nothing for too long. If it cannot
// be killed, this system isolates itself (design 3.9).
func (l *loop) watchHeartbeat(c *client) {
	limit := missedBeats * heartbeatMs * time.Millisecond
	var look func()
	look = func() {
		if l.client(c.port) != c {
			return
		}
		silent := standing.Boottime().Sub(c.lastMsg)
		options := l.s.options.Load()
		if hangs := silent >= stalledBeats*heartbeatMs*time.Millisecond; hangs != c.stalled {
			l.log.Warn("client says nothing", "port", c.port.String(), "client", c.name, "pid", c.pid, "stalled", hangs, "seconds", int(silent.Seconds()), "id", "V-15-1-20057")
			l.setStalled(c, hangs)
		}
		switch {
		case silent < limit:
		case !c.killed && options.MissedHeartbeatHalt && standing.Resources(l.s.cfg.Root) > 0:
			l.isolate(fmt.Sprintf("client %s of port %s was silent for %s (gabconfig -b)", c.name, c.port, limit))
			return
		case !c.killed:
			c.killed = true
			l.log.Error("client is silent and will be killed", "port", c.port.String(), "client", c.name, "pid", c.pid, "id", "V-15-1-20041")
			if c.pidfd >= 0 {
				if err := unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0); err != nil {
					l.log.Error("kill client", "error", err)
				}
			}
			if c.pid == 0 { // unknown or this very process: its stream ends
				c.close(fmt.Sprintf("the client was silent for %s", limit))
			}
		case silent > limit+options.isolate():
			if standing.Resources(l.s.cfg.Root) > 0 && !options.KeepKilling {
				l.isolate(fmt.Sprintf("client %s of port %s hangs and cannot be killed", c.name, c.port))
				return
			}
			c.close("the client hangs and could not be killed")
		}
		l.after(time.Second, look)
	}
	l.after(time.Second, look)
}

// isolate stops this system (R2).
func (l *loop) isolate(reason string) {
	l.out.Store(true)
	l.over = &ending{stop: true, reason: reason}
}

// after runs f in the loop after d, while the loop lives.
func (l *loop) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() { // ends at once when the loop is over
		select {
		case l.requests <- f:
			l.kick()
		case <-l.done:
		}
	})
}
