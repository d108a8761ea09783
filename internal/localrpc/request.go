package localrpc

import (
	"context"
	"fmt"
	"strings"
	"unicode"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Bounds of what a request may hold, whichever daemon it goes to. Names and
// ids end up in logs, in messages to all systems and in their memory.
const (
	// MaxText is the length of a string, in bytes.
	MaxText = 4096
	// MaxRequestID is that of a request_id.
	MaxRequestID = 256
	// MaxMessage is the length of a whole request, in bytes: a configuration of
	// some 50,000 resources goes in.
	MaxMessage = 20 << 20
	// MaxElements is the number of elements of a list.
	MaxElements = 1024
)

// domain is that of the ErrorInfo of calls that were refused before a daemon
// looked at them.
const domain = "evenkeel.rpc"

// refuse is an error with an ErrorInfo and further details.
func refuse(code codes.Code, reason, text string, more ...protoadapt.MessageV1) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain,
		Metadata: map[string]string{"message_id": "V-16-1-10000", "severity": "ERROR"}}
	st := status.New(code, text)
	if detailed, err := st.WithDetails(append([]protoadapt.MessageV1{info}, more...)...); err == nil {
		st = detailed
	}
	return st.Err()
}

// CheckRequest refuses a request with a string that is too long or holds
// control characters, or with too long a list: INVALID_ARGUMENT with the name
// of the field.
func CheckRequest(m proto.Message) error {
	field, wrong := look(m.ProtoReflect(), "")
	if wrong == "" {
		return nil
	}
	return refuse(codes.InvalidArgument, "BAD_REQUEST", field+": "+wrong,
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: wrong}}})
}

// look returns the first field, in the order of their numbers, that is no
// good.
func look(m protoreflect.Message, prefix string) (field, wrong string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !m.Has(f) || f.IsMap() {
			continue
		}
		name := prefix + string(f.Name())
		if f.IsList() {
			list := m.Get(f).List()
			if list.Len() > MaxElements {
				return name, fmt.Sprintf("%d elements; at most %d are allowed", list.Len(), MaxElements)
			}
			for k := range list.Len() {
				if where, wrong := value(f, list.Get(k), fmt.Sprintf("%s[%d]", name, k)); wrong != "" {
					return where, wrong
				}
			}
			continue
		}
		if where, wrong := value(f, m.Get(f), name); wrong != "" {
			return where, wrong
		}
	}
	return "", ""
}

func value(f protoreflect.FieldDescriptor, v protoreflect.Value, name string) (field, wrong string) {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return look(v.Message(), name+".")
	case protoreflect.StringKind:
	default:
		return "", ""
	}
	limit := MaxText
	if f.Name() == "request_id" {
		limit = MaxRequestID
	}
	text := v.String()
	if len(text) > limit {
		return name, fmt.Sprintf("%d bytes; at most %d are allowed", len(text), limit)
	}
	if strings.IndexFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) >= 0 {
		return name, "control characters are not allowed"
	}
	return "", ""
}

// ours says whether a call is of one of the daemons' own services; those of
// gRPC itself bring their own checks.
func ours(method string) bool { return strings.HasPrefix(method, "/evenkeel.") }

func checkUnary(ctx context.Context, r any, call *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if m, ok := r.(proto.Message); ok && ours(call.FullMethod) {
		if err := CheckRequest(m); err != nil {
			return nil, err
		}
	}
	return handle(ctx, r)
}

// checkStream checks the request of a call that streams its answers. A client
// that streams is a daemon, and its messages are checked by who takes them.
func checkStream(server any, stream grpc.ServerStream, call *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	if ours(call.FullMethod) && !call.IsClientStream {
		stream = &checkedStream{stream}
	}
	return handle(server, stream)
}

type checkedStream struct{ grpc.ServerStream }

// RecvMsg refuses what CheckRequest refuses.
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if r, ok := m.(proto.Message); ok {
		return CheckRequest(r)
	}
	return nil
}
