package server

import (
	"sync"

	"github.com/evenkeel/evenkeel/internal/gabclient/batch"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	"github.com/evenkeel/evenkeel/services/gab"
)

// Bounds of what waits for one client.
const (
	slowMessages = 2048    // waiting Messages above which the senders are asked to wait
	slowBytes    = 4 << 20 // the same in bytes
	// What the senders' windows have on their way when they are asked comes on
	// top: 64 systems of 4 MiB; beyond this bound the client is closed.
	maxMessages = 256 << 10
	maxBytes    = 512 << 20
	// What one message of the stream takes at most, the last response excepted.
	takeItems = 512
	takeBytes = 128 << 10
)

// waiting is one response that has its place in the order of a port. What is
// most frequent stands in it as it is.
type waiting struct {
	response *gabv1.AttachResponse // nil: a Message, or an Outcome
	view     *gabv1.ViewId         // of a Message, shared by all of one view
	seq      uint64
	id       uint64 // of the Send, of an Outcome and of an own Message
	payload  []byte
	from     gab.NodeID
	own      bool
	result   gab.Result // of an Outcome, 0 for a Message
}

func (w *waiting) message() bool { return w.response == nil && w.result == 0 }

// whole is the response as a message of its own.
func (w *waiting) whole() *gabv1.AttachResponse {
	switch {
	case w.response != nil:
		return w.response
	case w.result != 0:
		return &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Outcome{Outcome: &gabv1.Outcome{MessageId: w.id, Result: gabv1.SendResult(w.result)}}}
	}
	m := &gabv1.Message{View: w.view, Seq: w.seq, FromNodeId: uint32(w.from), Payload: w.payload}
	if w.own {
		m.MessageId = &w.id
	}
	return &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Message{Message: m}}
}

// outbox is what waits for one client: the loop puts in and never blocks, the
// client's sender takes out. What has a place in the order (messages, views,
// outcomes, evidence) keeps it, and Messages wait for the client's credit;
// leases, credits and gates go first.
type outbox struct {
	mu       sync.Mutex
	first    []*gabv1.AttachResponse
	ordered  []waiting // from next on
	next     int
	messages int
	bytes    int
	credit   uint64
	closed   bool
	slow     bool          // put said so, and the loop has not taken it back since (calm)
	ready    chan struct{} // capacity 1: something may be there
}

func newOutbox() *outbox { return &outbox{ready: make(chan struct{}, 1)} }

func (b *outbox) wake() {
	select {
	case b.ready <- struct{}{}:
	default: // it is awake already
	}
}

// putFirst adds what waits for nothing.
func (b *outbox) putFirst(r *gabv1.AttachResponse) {
	b.mu.Lock()
	b.first = append(b.first, r)
	b.mu.Unlock()
	b.wake()
}

// put adds what has its place in the order; flush lets it go. It reports
// whether the client is slow, and whether it is beyond help.
func (b *outbox) put(w waiting) (slow, over bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next > 0 && len(b.ordered) == cap(b.ordered) {
		n := copy(b.ordered, b.ordered[b.next:])
		clear(b.ordered[n:])
		b.ordered, b.next = b.ordered[:n], 0
	}
	b.ordered = append(b.ordered, w)
	if w.message() {
		b.messages++
		b.bytes += len(w.payload)
	}
	// Here, where no taker can come between: one that has taken all by the time
	// that the loop asks the senders to wait must know that they do.
	slow = b.messages > slowMessages || b.bytes > slowBytes
	b.slow = b.slow || slow
	return slow, b.messages > maxMessages || b.bytes > maxBytes
}

// calm takes back that the client is slow, and reports whether it did: a client
// that has fallen behind again stays slow.
func (b *outbox) calm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.messages > slowMessages || b.bytes > slowBytes {
		return false
	}
	b.slow = false
	return true
}

// flush lets go what put added.
func (b *outbox) flush() {
	b.mu.Lock()
	any := b.next < len(b.ordered)
	b.mu.Unlock()
	if any {
		b.wake()
	}
}

// addCredit lets n more Messages go.
func (b *outbox) addCredit(n uint32) {
	b.mu.Lock()
	b.credit += uint64(n)
	b.mu.Unlock()
	b.wake()
}

// close lets the sender end after what is in the outbox without credit's need.
func (b *outbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.wake()
}

// taken is what may go to a client now.
type taken struct {
	first    []*gabv1.AttachResponse
	ordered  []waiting
	caughtUp bool // the client was slow and has taken most of what waited
	closed   bool
}

func (t *taken) empty() bool { return len(t.first) == 0 && len(t.ordered) == 0 }

// take fills t with what may go to the client now, as much as one message of
// the stream should carry. With an Outcome the client gets the credit of its
// Send back.
func (b *outbox) take(t *taken) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.first = append(t.first[:0], b.first...)
	clear(b.first)
	b.first = b.first[:0]
	t.ordered = t.ordered[:0]
	back := uint32(0)
	for bytes := 0; b.next < len(b.ordered) && len(t.ordered) < takeItems && bytes < takeBytes; b.next++ {
		w := &b.ordered[b.next]
		if w.result != 0 {
			back++
		}
		if w.message() {
			if b.credit == 0 {
				break
			}
			b.credit--
			b.messages--
			b.bytes -= len(w.payload)
			bytes += len(w.payload)
		}
		t.ordered = append(t.ordered, *w)
		*w = waiting{}
	}
	if back > 0 {
		t.first = append(t.first, &gabv1.AttachResponse{Body: &gabv1.AttachResponse_Credit{Credit: &gabv1.Credit{Messages: back}}})
	}
	if b.next == len(b.ordered) {
		b.ordered, b.next = b.ordered[:0], 0
	}
	t.caughtUp = b.slow && b.messages <= slowMessages/2 && b.bytes <= slowBytes/2
	t.closed = b.closed
}

// encode puts what was taken into one message of the stream. A response that
// cannot be encoded is a programming error.
func (t *taken) encode(into *batch.Responses) error {
	for _, r := range t.first {
		if err := into.Response(r); err != nil {
			return err
		}
	}
	for i := range t.ordered {
		w := &t.ordered[i]
		switch {
		case w.response != nil:
			if err := into.Response(w.response); err != nil {
				return err
			}
		case w.result != 0:
			into.Outcome(w.id, gabv1.SendResult(w.result))
		case w.own:
			into.Message(w.view, w.seq, uint32(w.from), w.payload, &w.id)
		default:
			into.Message(w.view, w.seq, uint32(w.from), w.payload, nil)
		}
	}
	return nil
}
