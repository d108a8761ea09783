package batch

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// Request is one decoded request: a Send, or something else.
type Request struct {
	// Other is nil for a Send.
	Other    *gabv1.AttachRequest
	ID       uint64
	Directed bool
	To       uint32
	// Payloads lie in the message's bytes.
	Payloads [][]byte
}

// Requested is what one message of a client holds; a message with one request
// is a batch of one.
type Requested struct{ Requests []Request }

// field is one field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a varint
	bytes  []byte
}

// next takes the first field off b.
func next(b []byte) (f field, rest []byte, ok bool) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, false
	}
	b = b[n:]
	f.number, f.kind = number, kind
	switch kind {
	case protowire.VarintType:
		f.value, n = protowire.ConsumeVarint(b)
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return f, nil, false
	}
	return f, b[n:], true
}

// UnmarshalWire decodes an AttachRequest.
func (r *Requested) UnmarshalWire(data []byte) error {
	r.Requests = nil
	return each(data, requestSend, requestBatch, r.send, r.other)
}

func (r *Requested) other(b []byte) error {
	q := &gabv1.AttachRequest{}
	if err := proto.Unmarshal(b, q); err != nil {
		return err
	}
	if q.GetBatch() != nil {
		return errMalformed
	}
	r.Requests = append(r.Requests, Request{Other: q})
	return nil
}

// each reads a message that holds one of a kind, or a batch of such messages:
// those with nothing but the field quick go to read, all others to other. A
// batch within a batch is other, which refuses it.
func each(data []byte, quick, batch protowire.Number, read, other func([]byte) error) error {
	f, rest, ok := next(data)
	if !ok && len(data) > 0 {
		return errMalformed
	}
	alone := ok && len(rest) == 0 && f.kind == protowire.BytesType
	switch {
	case alone && f.number == quick:
		return read(f.bytes)
	case alone && f.number == batch:
		for b := f.bytes; len(b) > 0; {
			if f, b, ok = next(b); !ok || f.number != batchItems || f.kind != protowire.BytesType {
				return errMalformed
			}
			if err := each(f.bytes, quick, 0, read, other); err != nil {
				return err
			}
		}
		return nil
	}
	return other(data)
}

func (r *Requested) send(b []byte) error {
	q := Request{}
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return errMalformed
		}
		b = rest
		switch {
		case f.number == sendID && f.kind == protowire.VarintType:
			q.ID = f.value
		case f.number == sendPayloads && f.kind == protowire.BytesType:
			q.Payloads = append(q.Payloads, f.bytes[:len(f.bytes):len(f.bytes)])
		case f.number == sendTo && f.kind == protowire.VarintType:
			q.Directed, q.To = true, uint32(f.value)
		}
	}
	r.Requests = append(r.Requests, q)
	return nil
}

// Responded is what one message of gab holds; a message with one response is a
// batch of one.
type Responded struct {
	Responses []*gabv1.AttachResponse

	messages []message // what is left of a block
	viewText string    // the encoded ViewId of the last message, and itself
	view     *gabv1.ViewId
}

// message is what one Message takes, allocated in blocks.
type message struct {
	response gabv1.AttachResponse
	body     gabv1.AttachResponse_Message
	message  gabv1.Message
	id       uint64
}

const block = 32

// UnmarshalWire decodes an AttachResponse. The payloads lie in data.
func (r *Responded) UnmarshalWire(data []byte) error {
	r.Responses = r.Responses[:0]
	return each(data, responseMessage, responseBatch, r.message, r.other)
}

func (r *Responded) other(b []byte) error {
	q := &gabv1.AttachResponse{}
	if err := proto.Unmarshal(b, q); err != nil {
		return err
	}
	if q.GetBatch() != nil {
		return errMalformed
	}
	r.Responses = append(r.Responses, q)
	return nil
}

func (r *Responded) message(b []byte) error {
	if len(r.messages) == 0 {
		r.messages = make([]message, block)
	}
	m := &r.messages[0]
	for len(b) > 0 {
		f, rest, ok := next(b)
		if !ok {
			return errMalformed
		}
		b = rest
		switch {
		case f.number == messageView && f.kind == protowire.BytesType:
			if r.view == nil || r.viewText != string(f.bytes) {
				v := &gabv1.ViewId{}
				if err := proto.Unmarshal(f.bytes, v); err != nil {
					return err
				}
				r.view, r.viewText = v, string(f.bytes)
			}
			m.message.View = r.view
		case f.number == messageSeq && f.kind == protowire.VarintType:
			m.message.Seq = f.value
		case f.number == messageFrom && f.kind == protowire.VarintType:
			m.message.FromNodeId = uint32(f.value)
		case f.number == messagePayload && f.kind == protowire.BytesType:
			m.message.Payload = f.bytes[:len(f.bytes):len(f.bytes)]
		case f.number == messageID && f.kind == protowire.VarintType:
			m.id = f.value
			m.message.MessageId = &m.id
		}
	}
	m.body.Message = &m.message
	m.response.Body = &m.body
	r.messages = r.messages[1:]
	r.Responses = append(r.Responses, &m.response)
	return nil
}
