// Package batch encodes and decodes what a client of gab and gab say to each
// other most, Sends, Messages and Outcomes, many in one message of the stream,
// by hand: the bytes are those of evenkeel.gab.v1's RequestBatch and
// ResponseBatch.
package batch

import (
	"errors"
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// Numbers of the fields, as in gab.proto.
const (
	requestSend     = 2 // of AttachRequest
	requestBatch    = 7
	sendID          = 1 // of Send
	sendPayloads    = 2
	sendTo          = 3
	responseMessage = 3 // of AttachResponse
	responseOutcome = 4
	responseBatch   = 9
	messageView     = 1 // of Message
	messageSeq      = 2
	messageFrom     = 3
	messagePayload  = 4
	messageID       = 5
	outcomeID       = 1 // of Outcome
	outcomeResult   = 2
	batchItems      = 1 // of RequestBatch and ResponseBatch
)

const (
	segment   = 16 << 10 // bytes of a buffer from the pool
	asItIs    = 8 << 10  // a payload from this size on is not copied, if it may be kept
	headBytes = 5        // tag and length of the batch: the length has four bytes, whatever it is
)

// writer collects the items of one batch in buffers.
type writer struct {
	done  mem.BufferSlice
	head  *[]byte // the first buffer, whose beginning waits for the length
	now   *[]byte // the buffer that is written to
	size  int     // bytes of all items
	items int
}

func pool() mem.BufferPool { return mem.DefaultBufferPool() }

// room makes sure that n bytes fit into the present buffer.
func (w *writer) room(n int) {
	if w.now != nil && cap(*w.now)-len(*w.now) >= n {
		return
	}
	w.closeBuffer()
	b := pool().Get(max(segment, n+headBytes))
	*b = (*b)[:0]
	w.now = b
	if w.head == nil {
		w.head = b
		*b = (*b)[:headBytes]
	}
}

func (w *writer) closeBuffer() {
	if w.now != nil {
		w.done = append(w.done, mem.NewBuffer(w.now, pool()))
		w.now = nil
	}
}

// item begins an item of n bytes, of which the caller appends the first ones.
func (w *writer) item(n, first int) {
	w.room(first + 12)
	before := len(*w.now)
	*w.now = protowire.AppendTag(*w.now, batchItems, protowire.BytesType)
	*w.now = protowire.AppendVarint(*w.now, uint64(n))
	w.size += len(*w.now) - before + n
	w.items++
}

// whole appends an item that is encoded already.
func (w *writer) whole(b []byte) {
	w.item(len(b), len(b))
	*w.now = append(*w.now, b...)
}

// take returns the bytes of the message with the batch in field number, and
// begins anew.
func (w *writer) take(number protowire.Number) mem.BufferSlice {
	w.closeBuffer()
	if w.head != nil {
		h := *w.head
		h[0] = byte(protowire.EncodeTag(number, protowire.BytesType))
		for i := range 4 {
			h[1+i] = byte(w.size>>(7*i))&0x7f | 0x80
		}
		h[4] &= 0x7f
	}
	out := w.done
	*w = writer{}
	return out
}

// Requests is a RequestBatch in the making. The zero value is empty. It keeps
// nothing that it is given. Not safe for concurrent use.
type Requests struct{ w writer }

// Len is how many requests it holds, Bytes how large it is.
func (r *Requests) Len() int   { return r.w.items }
func (r *Requests) Bytes() int { return r.w.size }

// Send adds a Send; to is nil for a broadcast.
func (r *Requests) Send(id uint64, to *uint32, payloads [][]byte) {
	n := 1 + protowire.SizeVarint(id)
	if to != nil {
		n += 1 + protowire.SizeVarint(uint64(*to))
	}
	for _, p := range payloads {
		n += 1 + protowire.SizeBytes(len(p))
	}
	w := &r.w
	w.item(1+protowire.SizeBytes(n), min(1+protowire.SizeBytes(n), segment-64))
	b := protowire.AppendTag(*w.now, requestSend, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = protowire.AppendTag(b, sendID, protowire.VarintType)
	b = protowire.AppendVarint(b, id)
	if to != nil {
		b = protowire.AppendTag(b, sendTo, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(*to))
	}
	*w.now = b
	for _, p := range payloads {
		w.room(min(len(p)+8, segment-64))
		b := protowire.AppendTag(*w.now, sendPayloads, protowire.BytesType)
		*w.now = protowire.AppendVarint(b, uint64(len(p)))
		for len(p) > 0 { // a large one goes over several buffers
			w.room(1)
			k := min(len(p), cap(*w.now)-len(*w.now))
			*w.now = append(*w.now, p[:k]...)
			p = p[k:]
		}
	}
}

// Request adds any other request.
func (r *Requests) Request(q *gabv1.AttachRequest) error {
	b, err := proto.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode a request to gab: %w", err)
	}
	r.w.whole(b)
	return nil
}

// MarshalWire returns the bytes of an AttachRequest with the batch, and empties
// it.
func (r *Requests) MarshalWire() mem.BufferSlice { return r.w.take(requestBatch) }

// Responses is a ResponseBatch in the making. The zero value is empty. Not safe
// for concurrent use.
type Responses struct {
	w    writer
	view []byte // the ViewId of the last message, encoded
	of   *gabv1.ViewId
}

// Len is how many responses it holds, Bytes how large it is.
func (r *Responses) Len() int   { return r.w.items }
func (r *Responses) Bytes() int { return r.w.size }

// Message adds a Message; id is nil unless it is the client's own. A large
// payload is not copied: nobody may change it any more.
func (r *Responses) Message(view *gabv1.ViewId, seq uint64, from uint32, payload []byte, id *uint64) {
	if view != r.of {
		r.of = view
		r.view, _ = proto.Marshal(view) // numbers only: cannot fail
	}
	n := 1 + protowire.SizeBytes(len(r.view)) + 1 + protowire.SizeVarint(seq)
	if from != 0 {
		n += 1 + protowire.SizeVarint(uint64(from))
	}
	if len(payload) > 0 {
		n += 1 + protowire.SizeBytes(len(payload))
	}
	if id != nil {
		n += 1 + protowire.SizeVarint(*id)
	}
	inline := len(payload)
	if inline >= asItIs {
		inline = 0
	}
	w := &r.w
	w.item(1+protowire.SizeBytes(n), inline+len(r.view)+64)
	b := protowire.AppendTag(*w.now, responseMessage, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = protowire.AppendTag(b, messageView, protowire.BytesType)
	b = protowire.AppendBytes(b, r.view)
	b = protowire.AppendTag(b, messageSeq, protowire.VarintType)
	b = protowire.AppendVarint(b, seq)
	if from != 0 {
		b = protowire.AppendTag(b, messageFrom, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(from))
	}
	if id != nil {
		b = protowire.AppendTag(b, messageID, protowire.VarintType)
		b = protowire.AppendVarint(b, *id)
	}
	if len(payload) > 0 {
		b = protowire.AppendTag(b, messagePayload, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(len(payload)))
	}
	if len(payload) < asItIs {
		*w.now = append(b, payload...)
		return
	}
	*w.now = b
	w.closeBuffer()
	w.done = append(w.done, mem.SliceBuffer(payload))
}

// Outcome adds an Outcome.
func (r *Responses) Outcome(id uint64, result gabv1.SendResult) {
	n := 1 + protowire.SizeVarint(id) + 1 + protowire.SizeVarint(uint64(result))
	w := &r.w
	w.item(1+protowire.SizeBytes(n), 32)
	b := protowire.AppendTag(*w.now, responseOutcome, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(n))
	b = protowire.AppendTag(b, outcomeID, protowire.VarintType)
	b = protowire.AppendVarint(b, id)
	b = protowire.AppendTag(b, outcomeResult, protowire.VarintType)
	*w.now = protowire.AppendVarint(b, uint64(result))
}

// Response adds any other response.
func (r *Responses) Response(q *gabv1.AttachResponse) error {
	b, err := proto.Marshal(q)
	if err != nil {
		return fmt.Errorf("encode a response of gab: %w", err)
	}
	r.w.whole(b)
	return nil
}

// MarshalWire returns the bytes of an AttachResponse with the batch, and
// empties it.
func (r *Responses) MarshalWire() mem.BufferSlice { return r.w.take(responseBatch) }

var errMalformed = errors.New("gab's stream: malformed message")
