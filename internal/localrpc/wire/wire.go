// Package wire lets what a stream carries most be encoded and decoded by hand:
// the bytes stay protobuf, without a message in memory for each of them. All
// other messages go through protobuf's own code.
package wire

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that everything else uses
	"google.golang.org/grpc/mem"
)

// Sender encodes itself: the protobuf bytes of the message that it stands for.
// Nobody changes the buffers after that.
type Sender interface{ MarshalWire() mem.BufferSlice }

// Receiver decodes the protobuf bytes of the message that it stands for. It
// may keep data.
type Receiver interface{ UnmarshalWire(data []byte) error }

// codec is protobuf's, but for Senders and Receivers.
type codec struct{ encoding.CodecV2 }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if s, ok := v.(Sender); ok {
		return s.MarshalWire(), nil
	}
	return c.CodecV2.Marshal(v)
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(Receiver); ok {
		return r.UnmarshalWire(data.Materialize())
	}
	return c.CodecV2.Unmarshal(data, v)
}

// Serve is the option of a server with such streams.
func Serve() grpc.ServerOption {
	return grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")})
}

// Call is the option of a client's call with such a stream.
func Call() grpc.CallOption {
	return grpc.ForceCodecV2(codec{encoding.GetCodecV2("proto")})
}
