// Package rpctest makes requests that no program would send: every call of a
// contract with whatever its fields can hold.
package rpctest

import (
	"context"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Method is one call of a contract.
type Method struct{ protoreflect.MethodDescriptor }

// Path is how gRPC names the call.
func (m Method) Path() string { return "/" + string(m.Parent().FullName()) + "/" + string(m.Name()) }

// Methods are the calls of a package such as evenkeel.had.v1 that a client
// asks once, in the order of their files. The package must be linked in.
func Methods(name protoreflect.FullName) []Method {
	var out []Method
	protoregistry.GlobalFiles.RangeFilesByPackage(name, func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			all := f.Services().Get(i).Methods()
			for k := range all.Len() {
				if m := all.Get(k); !m.IsStreamingClient() {
					out = append(out, Method{m})
				}
			}
		}
		return true
	})
	return out
}

// Request makes up a request. words are names that exist, so that some
// requests get past the first look.
func (m Method) Request(r *rand.Rand, words []string) proto.Message {
	out := dynamicpb.NewMessage(m.Input())
	fill(r, words, out, 3)
	return out
}

func fill(r *rand.Rand, words []string, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap() || r.IntN(3) == 0:
		case f.IsList():
			n := r.IntN(4)
			if r.IntN(40) == 0 {
				n = 2000
			}
			list := m.Mutable(f).List()
			for range n {
				list.Append(value(r, words, f, list.NewElement(), depth))
			}
		default:
			m.Set(f, value(r, words, f, m.NewField(f), depth))
		}
	}
}

func value(r *rand.Rand, words []string, f protoreflect.FieldDescriptor, empty protoreflect.Value, depth int) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		if depth > 0 {
			fill(r, words, empty.Message(), depth-1)
		}
		return empty
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text(r, words))
	case protoreflect.BytesKind:
		b := make([]byte, r.IntN(64))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return protoreflect.ValueOfBytes(b)
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(r.IntN(2) == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number(r)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(number(r)))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number(r)))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(number(r))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(number(r)))
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(math.NaN()))
	default:
		return protoreflect.ValueOfFloat64(math.Inf(r.IntN(3) - 1))
	}
}

func number(r *rand.Rand) int64 {
	edges := []int64{0, 1, -1, 2, 7, 63, 64, 1000, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64}
	if r.IntN(4) == 0 {
		return int64(r.Uint64())
	}
	return edges[r.IntN(len(edges))]
}

func text(r *rand.Rand, words []string) string {
	switch r.IntN(12) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("x", 1+r.IntN(10000))
	case 2:
		return "a\x00b\nVCS ERROR\x1b[2J"
	case 3:
		return "“web”−ü☃\u202e"
	case 4:
		return "%s%n$(reboot)`x`;|../../etc/shadow"
	case 5:
		return words[r.IntN(len(words))] + "x"
	case 6:
		return words[r.IntN(len(words))] + "=" + words[r.IntN(len(words))]
	case 7:
		b := make([]rune, r.IntN(20))
		for i := range b {
			b[i] = rune(1 + r.IntN(0xd7fe))
		}
		return string(b)
	default:
		return words[r.IntN(len(words))]
	}
}

// Do makes the call and returns its error; of a stream of answers it takes the
// first.
func Do(ctx context.Context, conn grpc.ClientConnInterface, m Method, request proto.Message) error {
	answer := dynamicpb.NewMessage(m.Output())
	if !m.IsStreamingServer() {
		return conn.Invoke(ctx, m.Path(), request, answer)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, m.Path())
	if err != nil {
		return err
	}
	if err := stream.SendMsg(request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(answer); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Wrong says what is wrong with an answer: nothing ("") for success and for
// refusals that say what the caller did wrong or may do next.
func Wrong(err error) string {
	st := status.Convert(err)
	switch st.Code() {
	case codes.OK, codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.FailedPrecondition, codes.PermissionDenied, codes.ResourceExhausted:
	case codes.Unavailable, codes.Unknown:
		if Reason(err) == "" {
			return "a " + st.Code().String() + " that gives no reason: " + st.Message()
		}
	default:
		return "code " + st.Code().String() + ": " + st.Message()
	}
	if err != nil && st.Message() == "" {
		return "a refusal without a word"
	}
	return ""
}

// Reason is the reason in the error's ErrorInfo, "" if there is none.
func Reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
