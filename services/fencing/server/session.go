package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// receiveCredit is how many messages gab may send ahead of this client.
const receiveCredit = 256

// session is one stream to gab on port b. The loop owns it; its goroutine
// receives and hands events to the loop. Sends are queued here until gab's
// credit allows them.
type session struct {
	cancel  context.CancelFunc
	done    chan struct{} // closed when the receiver has ended
	dropped func(from uint32, err error)

	mu        sync.Mutex // guards the stream's sender and what follows
	stream    gabv1.GabService_AttachClient
	ready     bool // Registered has come
	credit    uint32
	nextID    uint64
	queue     []*gabv1.Send
	inFlight  map[uint64]*gabv1.Send
	heartbeat time.Duration
}

// maxQueue bounds the sends that wait for credit. Races and vouches are few;
// when it is full, the session is given up.
const maxQueue = 256

// handlers is what a session calls, from its own goroutine.
type handlers struct {
	// deliver takes views and messages, in their order.
	deliver func(*session, fencing.Event)
	// ended is called last.
	ended func(*session, error)
}

// newSession returns a session that attach runs; dropped hears of messages
// that nobody understands.
func newSession(dropped func(uint32, error)) *session {
	return &session{done: make(chan struct{}), dropped: dropped, inFlight: map[uint64]*gabv1.Send{}, cancel: func() {}}
}

// attach joins port b and receives until the stream ends or s.cancel.
func (s *session) attach(ctx context.Context, client gabv1.GabServiceClient, wantMode string, h handlers) {
	defer close(s.done)
	err := s.run(ctx, client, wantMode, func(ev fencing.Event) { h.deliver(s, ev) })
	s.cancel()
	h.ended(s, err)
}

func (s *session) run(ctx context.Context, client gabv1.GabServiceClient, wantMode string, deliver func(fencing.Event)) error {
	stream, err := client.Attach(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.stream = stream
	err = errors.Join(
		stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: "b", Client: "fencing"}}}),
		stream.Send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: receiveCredit}}}),
	)
	s.mu.Unlock()
	if err != nil && !errors.Is(err, io.EOF) { // on EOF, Recv knows why
		return err
	}
	received := uint32(0)
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		switch body := answer.GetBody().(type) {
		case *gabv1.AttachResponse_Registered:
			if mode := body.Registered.GetFencingMode(); mode != wantMode {
				return fmt.Errorf("gab runs with fencing mode %q, this daemon with %q: fencing.conf was changed; stop and start both (ha node stop, ha node start)", mode, wantMode)
			}
			s.registered(time.Duration(body.Registered.GetHeartbeatMs()) * time.Millisecond)
		case *gabv1.AttachResponse_View:
			deliver(viewOf(body.View))
		case *gabv1.AttachResponse_Message:
			if received++; received >= receiveCredit/2 {
				s.send(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Credit{Credit: &gabv1.Credit{Messages: received}}})
				received = 0
			}
			m, err := decode(body.Message.GetPayload())
			if err != nil {
				s.dropped(body.Message.GetFromNodeId(), err)
				continue
			}
			deliver(fencing.Delivered{From: fencing.NodeID(body.Message.GetFromNodeId()), Message: m})
		case *gabv1.AttachResponse_Credit:
			s.addCredit(body.Credit.GetMessages())
		case *gabv1.AttachResponse_Outcome:
			s.outcome(body.Outcome)
		}
	}
}

func (s *session) registered(heartbeat time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready, s.heartbeat = true, heartbeat
}

// beat is the interval of heartbeats; false before gab has said it.
func (s *session) beat() (time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heartbeat, s.ready && s.heartbeat > 0
}

func (s *session) send(r *gabv1.AttachRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sendLocked(r)
}

// sendLocked hands a message to gRPC, which buffers it. An error means that
// the stream is broken; the receiver sees that too and ends the session.
func (s *session) sendLocked(r *gabv1.AttachRequest) {
	if s.stream == nil {
		return
	}
	if err := s.stream.Send(r); err != nil {
		s.cancel()
	}
}

// broadcast sends a payload to port b as soon as gab's credit allows it.
func (s *session) broadcast(payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.push(payload)
}

func (s *session) push(payload []byte) {
	if len(s.queue) >= maxQueue {
		s.cancel()
		return
	}
	s.nextID++
	s.queue = append(s.queue, &gabv1.Send{MessageId: s.nextID, Payloads: [][]byte{payload}})
	s.flush()
}

func (s *session) flush() {
	for len(s.queue) > 0 && s.credit > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		s.credit--
		s.inFlight[next.GetMessageId()] = next
		s.sendLocked(&gabv1.AttachRequest{Body: &gabv1.AttachRequest_Send{Send: next}})
	}
}

func (s *session) addCredit(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credit += n
	s.flush()
}

// outcome: what was lost is sent again; it says nothing that a later view
// makes false, since results carry their view.
func (s *session) outcome(o *gabv1.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sent := s.inFlight[o.GetMessageId()]
	delete(s.inFlight, o.GetMessageId())
	if sent != nil && o.GetResult() == gabv1.SendResult_SEND_RESULT_LOST {
		s.push(sent.GetPayloads()[0])
	}
}

// close leaves port b and waits until the receiver has ended.
func (s *session) close() {
	s.cancel()
	<-s.done
}
