// Package operate is the table of the operations that change something: one
// row for each, with its name, its VCS name, its options, its call and its
// help. The VCS commands and the modern ones are both made from these rows.
package operate

import (
	"context"

	"github.com/google/uuid"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Request is what the user asks for; an operation takes what it knows of it.
type Request struct {
	// Name of the object.
	Name string
	// System, or "" if the operation is about none or the engine is to choose.
	System string
	// Systems and All are for a stop of the engine.
	Systems []string
	All     bool
	// The options of the same names.
	Any, Propagate, Persistent, Evacuate, Force, IgnoreParent bool
	// RequestID of the operation; made if it is "".
	RequestID string
	// Plan: do nothing, tell what would happen.
	Plan bool
}

// SystemNeed says what an operation wants to know about the system.
type SystemNeed int

// The needs.
const (
	NoSystem SystemNeed = iota
	SystemOptional
	SystemRequired
	// SystemOrAny: a system or the option "any".
	SystemOrAny
)

// Option is one switch of an operation.
type Option struct {
	// VCS is the name with one dash on VCS's command line, Flag the modern one.
	VCS, Flag string
	// Help is one sentence.
	Help string
	// Set records it.
	Set func(*Request) *bool
}

var (
	anySystem    = Option{"any", "any", "let the engine choose the system", func(r *Request) *bool { return &r.Any }}
	propagate    = Option{"propagate", "propagate", "the groups that depend on it, or that it depends on, too", func(r *Request) *bool { return &r.Propagate }}
	persistent   = Option{"persistent", "persistent", "the freeze that outlives a restart (part of the configuration)", func(r *Request) *bool { return &r.Persistent }}
	evacuate     = Option{"evacuate", "evacuate", "move its groups to other systems first", func(r *Request) *bool { return &r.Evacuate }}
	force        = Option{"force", "force", "also stop waiting for entry points that run", func(r *Request) *bool { return &r.Force }}
	ignoreParent = Option{"ignoreparent", "ignore-parent", "although resources that require it are online", func(r *Request) *bool { return &r.IgnoreParent }}
)

// Operation is one row.
type Operation struct {
	// Object and Verb are the modern name: ha Object Verb NAME.
	Object, Verb string
	// Command and Action are VCS's name: Command -Action NAME.
	Command, Action string
	// System is what it wants to know of the system; Target is how the option
	// is called where it is not "sys" and "system".
	System SystemNeed
	Target string
	// Options are its switches.
	Options []Option
	// Short, Long and Example are its help; in Example, indented lines.
	Short, Long, Example string
	call                 func(context.Context, *connect.Had, Request) (answer, error)
}

// answer is any response that carries an operation.
type answer interface{ GetOperation() *hadv1.Operation }

// Do carries the operation out, under a request id of its own if r has none.
func (o Operation) Do(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, o.call)
}

func do(ctx context.Context, h *connect.Had, r Request, call func(context.Context, *connect.Had, Request) (answer, error)) (*hadv1.Operation, error) {
	if r.RequestID == "" {
		r.RequestID = uuid.NewString()
	}
	var operation *hadv1.Operation
	err := h.Change(ctx, func(ctx context.Context) error {
		a, err := call(ctx, h, r)
		if err != nil {
			return err
		}
		operation = a.GetOperation()
		return nil
	})
	return operation, err
}

// Stop stops had on systems (hastop, ha cluster stop, ha node stop).
func Stop(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		return h.Systems.StopSystem(ctx, &hadv1.StopSystemRequest{
			Names: r.Systems, All: r.All, Force: r.Force, Evacuate: r.Evacuate, RequestId: r.RequestID, Plan: r.Plan,
		})
	})
}

// Dump writes the running configuration to the disks (ha config dump).
func Dump(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		return h.Config.DumpConfig(ctx, &hadv1.DumpConfigRequest{RequestId: r.RequestID, Plan: r.Plan})
	})
}

// Find returns the operation with a VCS name.
func Find(command, action string) (Operation, bool) {
	for _, o := range Table() {
		if o.Command == command && o.Action == action {
			return o, true
		}
	}
	return Operation{}, false
}
