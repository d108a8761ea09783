package server

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/policy"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// domain is that of had's ErrorInfo.
const domain = "evenkeel.had"

// refusal is an error as every service of had gives it: a canonical code, and
// an ErrorInfo with VCS's message id and severity.
func refusal(code codes.Code, reason, id, severity, text string, more ...string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain, Metadata: map[string]string{"message_id": id, "severity": severity}}
	for i := 0; i+1 < len(more); i += 2 {
		info.Metadata[more[i]] = more[i+1]
	}
	st := status.New(code, text)
	if detailed, err := st.WithDetails(info); err == nil {
		st = detailed
	}
	return st.Err()
}

// nameMissing refuses a request without the name of its object.
func nameMissing(kind string) error {
	return refusal(codes.InvalidArgument, "NAME_MISSING", "V-16-1-10000", "ERROR", "name: give the name of a "+kind)
}

// notFound names the nearest known names.
func notFound(kind, id, name string, known []string) error {
	near := policy.Nearest(name, known)
	text := fmt.Sprintf("%s %s does not exist", kind, name)
	if len(near) > 0 {
		text += "; did you mean " + strings.Join(near, ", ") + "?"
	}
	return refusal(codes.NotFound, strings.ToUpper(kind)+"_NOT_FOUND", id, "WARNING", text, "nearest", strings.Join(near, ","))
}

var grpcCodes = map[engine.Code]codes.Code{
	engine.CodeNotFound: codes.NotFound, engine.CodeFailedPrecondition: codes.FailedPrecondition,
	engine.CodeInvalidArgument: codes.InvalidArgument, engine.CodeUnavailable: codes.Unavailable,
	engine.CodeRequestIDReused: codes.InvalidArgument, engine.CodeConfirmationNeeded: codes.FailedPrecondition,
}

// refused turns the engine's refusal into an error; nil for a success.
func refused(r engine.CommandResult) error {
	if r.Code == engine.CodeOK || r.Code == "" {
		return nil
	}
	code, known := grpcCodes[r.Code]
	if !known {
		code = codes.Internal
	}
	why := engine.Notice{Severity: "ERROR", ID: "V-16-1-10000", Text: "refused"}
	if n := len(r.Notices); n > 0 {
		why = r.Notices[n-1]
	}
	more := []string{"nearest", strings.Join(r.Nearest, ",")}
	if r.RefusedEdit > 0 {
		more = append(more, "edit", strconv.Itoa(r.RefusedEdit-1))
	}
	return refusal(code, string(r.Code), why.ID, why.Severity, why.Text, more...)
}

func outcomeUnknown(requestID, why string) error {
	return refusal(codes.Unknown, "OUTCOME_UNKNOWN", "V-16-1-10805", "ERROR",
		fmt.Sprintf("%s; the operation may or may not be carried out. A retry with request_id %s is the same operation", why, requestID),
		"request_id", requestID)
}
