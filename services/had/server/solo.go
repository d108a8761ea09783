package server

import (
	"fmt"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// soloBound is how many messages a single system may have under way.
const soloBound = 8192

// solo is the port of `had -onenode`: one system, every message delivered to
// it in the order sent. It needs no lease, because nobody else can start
// anything (R6).
type solo struct {
	received chan *gabv1.AttachResponse
	view     *gabv1.ViewId
	node     uint32
	seq      uint64
	closed   bool
}

// newSolo returns the port of a cluster of one. lineage tells this run from
// others.
func newSolo(system string, lineage uint64) *solo {
	s := &solo{received: make(chan *gabv1.AttachResponse, soloBound),
		view: &gabv1.ViewId{Lineage: lineage, Counter: 1, Incarnation: lineage}}
	self := &gabv1.Member{Name: system, Incarnation: lineage}
	s.received <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Registered{Registered: &gabv1.Registered{Self: self, HeartbeatMs: 60_000}}}
	s.seq++
	s.received <- &gabv1.AttachResponse{Body: &gabv1.AttachResponse_View{View: &gabv1.View{
		Id: s.view, PortGeneration: 1, Members: []*gabv1.Member{self}, Systems: []*gabv1.Member{self}, Seq: s.seq, First: true}}}
	return s
}

func (s *solo) put(r *gabv1.AttachResponse) error {
	select {
	case s.received <- r:
		return nil
	default:
		return fmt.Errorf("send: %d messages wait already", soloBound)
	}
}

// Send delivers at once.
func (s *solo) Send(id uint64, _ *uint32, payload []byte) error {
	s.seq++
	if err := s.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Message{Message: &gabv1.Message{
		View: s.view, Seq: s.seq, FromNodeId: s.node, Payload: payload, MessageId: &id}}}); err != nil {
		return err
	}
	return s.put(&gabv1.AttachResponse{Body: &gabv1.AttachResponse_Outcome{Outcome: &gabv1.Outcome{
		MessageId: id, Result: gabv1.SendResult_SEND_RESULT_DELIVERED}}})
}

// Protect and Heartbeat have nobody to tell.
func (s *solo) Protect(uint32) error { return nil }

// Heartbeat has nobody to tell.
func (s *solo) Heartbeat() error { return nil }

// Received is what was sent.
func (s *solo) Received() <-chan *gabv1.AttachResponse { return s.received }

// Err is nil: the port is never lost.
func (s *solo) Err() error { return nil }

// Close ends the port.
func (s *solo) Close() {
	if !s.closed {
		s.closed = true
		close(s.received)
	}
}
