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
	Any, Propagate, Persistent, Evacuate, Force, IgnoreParent, ParentProp, Fault, NoAutoDisable, NoPreOnline bool
	// CheckPartial is the system on which the group faulted, for a preonline
	// trigger that goes on after a failover.
	CheckPartial string
	// Confirmed: the user was asked and said yes.
	Confirmed bool
	// ReadOnly: no changes from here on (haconf -dump -makero).
	ReadOnly bool
	// Reboot: the machine goes down, too (hastop -sysoffline).
	Reboot bool
	// Load is the load of a system, in the units of Capacity.
	Load int32
	// Edits of the configuration, each in the words of VCS's command.
	Edits [][]string
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
	// Set records it. Text does, for an option that takes a word.
	Set  func(*Request) *bool
	Text func(*Request) *string
}

var (
	anySystem    = Option{VCS: "any", Flag: "any", Help: "let the engine choose the system", Set: func(r *Request) *bool { return &r.Any }}
	propagate    = Option{VCS: "propagate", Flag: "propagate", Help: "the groups that depend on it, or that it depends on, too", Set: func(r *Request) *bool { return &r.Propagate }}
	persistent   = Option{VCS: "persistent", Flag: "persistent", Help: "the freeze that outlives a restart (part of the configuration)", Set: func(r *Request) *bool { return &r.Persistent }}
	evacuate     = Option{VCS: "evacuate", Flag: "evacuate", Help: "move its groups to other systems first", Set: func(r *Request) *bool { return &r.Evacuate }}
	ignoreParent = Option{VCS: "ignoreparent", Flag: "ignore-parent", Help: "although resources that require it are online", Set: func(r *Request) *bool { return &r.IgnoreParent }}
	parentProp   = Option{VCS: "parentprop", Flag: "parents-too", Help: "take what requires it offline first", Set: func(r *Request) *bool { return &r.ParentProp }}
	noPreOnline  = Option{VCS: "nopre", Flag: "no-preonline", Help: "do not ask the trigger preonline (a preonline trigger says so to go on)", Set: func(r *Request) *bool { return &r.NoPreOnline }}
	checkPartial = Option{VCS: "checkpartial", Flag: "check-partial", Help: "with --no-preonline: only if the group is offline on that system", Text: func(r *Request) *string { return &r.CheckPartial }}
	fault        = Option{VCS: "fault", Flag: "fault", Help: "let the engine treat it as a fault, and fail over", Set: func(r *Request) *bool { return &r.Fault }}
)

// force is what the option of that name means to one operation.
func force(help string) Option {
	return Option{VCS: "force", Flag: "force", Help: help, Set: func(r *Request) *bool { return &r.Force }}
}

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
			NoAutodisable: r.NoAutoDisable, Confirmed: r.Confirmed, Reboot: r.Reboot,
		})
	})
}

// SetLoad tells the engine how much load a system has (hasys -load).
func SetLoad(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		return h.Systems.SetSystemLoad(ctx, &hadv1.SetSystemLoadRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, Load: r.Load})
	})
}

// MakeWritable lets the configuration be changed (haconf -makerw).
func MakeWritable(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		return h.Config.MakeWritable(ctx, &hadv1.MakeWritableRequest{RequestId: r.RequestID, Plan: r.Plan})
	})
}

// Edit changes the configuration: all edits or none (hagrp -modify and so on).
func Edit(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		c := &hadv1.ChangeConfigRequest{RequestId: r.RequestID, Plan: r.Plan}
		for _, words := range r.Edits {
			c.Edits = append(c.Edits, &hadv1.ConfigEdit{Args: words})
		}
		return h.Config.ChangeConfig(ctx, c)
	})
}

// Dump writes the running configuration to the disks (haconf -dump, ha config dump).
func Dump(ctx context.Context, h *connect.Had, r Request) (*hadv1.Operation, error) {
	return do(ctx, h, r, func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
		return h.Config.DumpConfig(ctx, &hadv1.DumpConfigRequest{RequestId: r.RequestID, Plan: r.Plan, MakeReadonly: r.ReadOnly})
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
