package server

import (
	"sync"
	"sync/atomic"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// Bounds of what waits for one client.
const (
	slowMessages = 512     // waiting Messages above which the senders are asked to wait
	slowBytes    = 4 << 20 // the same in bytes
	// What the senders' windows have on their way when they are asked comes on
	// top: 64 systems of 256 Sends; beyond this bound the client is closed.
	maxMessages = 64 << 10
	maxBytes    = 512 << 20
)

// outbox is what waits for one client: the loop puts in and never blocks, the
// client's sender takes out. What has a place in the order (messages, views,
// outcomes, evidence) keeps it, and Messages wait for the client's credit;
// leases, credits and gates go first.
type outbox struct {
	mu       sync.Mutex
	first    []*gabv1.AttachResponse
	ordered  []*gabv1.AttachResponse
	messages int
	bytes    int
	credit   uint64
	closed   bool
	slow     atomic.Bool   // the loop asked the senders to wait
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

// put adds what has its place in the order. It reports whether the client is
// slow, and whether it is beyond help.
func (b *outbox) put(r *gabv1.AttachResponse) (slow, over bool) {
	b.mu.Lock()
	b.ordered = append(b.ordered, r)
	if m := r.GetMessage(); m != nil {
		b.messages++
		b.bytes += len(m.GetPayload())
	}
	slow = b.messages > slowMessages || b.bytes > slowBytes
	over = b.messages > maxMessages || b.bytes > maxBytes
	b.mu.Unlock()
	b.wake()
	return slow, over
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

// take returns what may go to the client now, at most n of it, and whether
// the client has caught up.
func (b *outbox) take(n int, into []*gabv1.AttachResponse) (out []*gabv1.AttachResponse, caughtUp, closed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out = append(into, b.first...)
	b.first = b.first[:0]
	for len(b.ordered) > 0 && len(out) < n {
		if m := b.ordered[0].GetMessage(); m != nil {
			if b.credit == 0 {
				break
			}
			b.credit--
			b.messages--
			b.bytes -= len(m.GetPayload())
		}
		out = append(out, b.ordered[0])
		b.ordered[0] = nil
		b.ordered = b.ordered[1:]
	}
	return out, b.messages <= slowMessages/2 && b.bytes <= slowBytes/2, b.closed
}
