package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
)

const (
	// maxConfirm is the longest time that a change waits to be confirmed.
	maxConfirm = 24 * time.Hour
	// maxConfigBytes bounds the files of one configuration.
	maxConfigBytes = 16 << 20
)

func (a configAPI) GetConfig(ctx context.Context, _ *hadv1.GetConfigRequest) (*hadv1.GetConfigResponse, error) {
	var files []engine.File
	if err := a.do(ctx, func() { _, files = a.loop.engine.ConfigFiles() }); err != nil {
		return nil, err
	}
	out := &hadv1.GetConfigResponse{Hash: hashFiles(files)}
	for _, f := range files {
		out.Files = append(out.Files, &hadv1.ConfigFile{Name: f.Name, Text: f.Text})
	}
	if _, err := os.Stat(a.root.Config(".stale")); err == nil || !errors.Is(err, os.ErrNotExist) {
		out.StaleOnDisk = true
	}
	return out, nil
}

func (a configAPI) ListConfigFiles(ctx context.Context, r *hadv1.ListConfigFilesRequest) (*hadv1.ListConfigFilesResponse, error) {
	var files []engine.File
	if err := a.do(ctx, func() { _, files = a.loop.engine.ConfigFiles() }); err != nil {
		return nil, err
	}
	var all []*hadv1.ConfigFile
	for _, f := range files {
		all = append(all, &hadv1.ConfigFile{Name: f.Name})
	}
	slices.SortFunc(all, func(x, y *hadv1.ConfigFile) int { return strings.Compare(x.GetName(), y.GetName()) })
	out, next := page(all, r.GetPageSize(), r.GetPageToken())
	return &hadv1.ListConfigFilesResponse{Files: out, NextPageToken: next}, nil
}

// DumpConfig answers when this system's disk has the configuration; the others
// write theirs at the same place in the order.
func (a configAPI) DumpConfig(ctx context.Context, r *hadv1.DumpConfigRequest) (*hadv1.DumpConfigResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if r.GetPlan() {
		return &hadv1.DumpConfigResponse{Operation: &hadv1.Operation{PlannedSteps: []*hadv1.PlannedStep{{Action: "dump",
			Text: "every RUNNING system writes the running configuration to its disk"}}}}, nil
	}
	id := r.GetRequestId()
	if id == "" {
		id = uuid.NewString()
	}
	ctx, cancel := context.WithTimeout(ctx, operationTime)
	defer cancel()
	w := &waiter{reply: make(chan answer, 1)}
	if err := a.do(ctx, func() {
		if err := a.loop.mayOperate("dump"); err != nil {
			w.reply <- answer{err: err}
			return
		}
		a.loop.waiters[dumpID(id)] = append(a.loop.waiters[dumpID(id)], w)
		a.loop.bySend[a.loop.broadcast(nil, encodeJSON(kindDump, dump{id}))] = dumpID(id)
	}); err != nil {
		return nil, err
	}
	select {
	case got := <-w.reply:
		got.result.RequestID = id
		op, err := operationProto(got)
		return &hadv1.DumpConfigResponse{Operation: op}, err
	case <-ctx.Done():
		return nil, outcomeUnknown(id, "no answer in time")
	}
}

// badRequest refuses what cannot be an operation at all.
func badRequest(format string, args ...any) error {
	return refusal(codes.InvalidArgument, "BAD_REQUEST", "V-16-1-10000", "ERROR", fmt.Sprintf(format, args...))
}

func (a configAPI) MakeWritable(ctx context.Context, r *hadv1.MakeWritableRequest) (*hadv1.MakeWritableResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigWritable}, r.GetPlan())
	return &hadv1.MakeWritableResponse{Operation: op}, err
}

func (a configAPI) ChangeConfig(ctx context.Context, r *hadv1.ChangeConfigRequest) (*hadv1.ChangeConfigResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	if len(r.GetEdits()) == 0 {
		return nil, badRequest("edits: give at least one, such as hares -modify ip1 Address 10.0.0.1")
	}
	c := engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigChange}
	for _, e := range r.GetEdits() {
		c.Edits = append(c.Edits, e.GetArgs())
	}
	op, err := a.operate(ctx, c, r.GetPlan())
	return &hadv1.ChangeConfigResponse{Operation: op}, err
}

func (a configAPI) ApplyConfig(ctx context.Context, r *hadv1.ApplyConfigRequest) (*hadv1.ApplyConfigResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	files, err := filesOf(r.GetFiles())
	if err != nil {
		return nil, err
	}
	c := engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigApply, Main: files[0].Name, Files: files}
	if c.Confirm, err = confirmIn(r.GetConfirmSeconds()); err != nil {
		return nil, err
	}
	op, err := a.operate(ctx, c, r.GetPlan())
	return &hadv1.ApplyConfigResponse{Operation: op, Unchanged: err == nil && len(op.GetConfigEdits()) == 0 && !op.GetRepeatedRequest()}, err
}

func confirmIn(seconds uint32) (time.Duration, error) {
	d := time.Duration(seconds) * time.Second
	if d > maxConfirm {
		return 0, badRequest("confirm_seconds: %d; at most %d are possible", seconds, int(maxConfirm/time.Second))
	}
	return d, nil
}

// filesOf checks what can be said without the engine about files that came.
func filesOf(in []*hadv1.ConfigSource) ([]engine.File, error) {
	if len(in) == 0 {
		return nil, badRequest("files: give main.cf and what it includes")
	}
	var out []engine.File
	size := 0
	for _, f := range in {
		size += len(f.GetText())
		switch {
		case f.GetName() == "" || slices.ContainsFunc(out, func(o engine.File) bool { return o.Name == f.GetName() }):
			return nil, badRequest("files: the name %q is empty or comes twice", f.GetName())
		case !utf8.Valid(f.GetText()):
			return nil, badRequest("files: %s is not UTF-8 text", f.GetName())
		case size > maxConfigBytes:
			return nil, badRequest("files: they have more than %d bytes", maxConfigBytes)
		}
		out = append(out, engine.File{Name: f.GetName(), Text: string(f.GetText())})
	}
	return out, nil
}

func (a configAPI) ConfirmConfig(ctx context.Context, r *hadv1.ConfirmConfigRequest) (*hadv1.ConfirmConfigResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigConfirm}, r.GetPlan())
	return &hadv1.ConfirmConfigResponse{Operation: op}, err
}

func (a configAPI) RollbackConfig(ctx context.Context, r *hadv1.RollbackConfigRequest) (*hadv1.RollbackConfigResponse, error) {
	if err := localrpc.MayChange(ctx); err != nil {
		return nil, err
	}
	return nil, refusal(codes.NotFound, "VERSION_NOT_FOUND", "V-16-1-90040", "ERROR", fmt.Sprintf("Version %d is not kept", r.GetVersion()))
}

func (a configAPI) GetConfigState(context.Context, *hadv1.GetConfigStateRequest) (*hadv1.GetConfigStateResponse, error) {
	return &hadv1.GetConfigStateResponse{State: &hadv1.ConfigState{}}, nil
}

func (a configAPI) ListConfigVersions(context.Context, *hadv1.ListConfigVersionsRequest) (*hadv1.ListConfigVersionsResponse, error) {
	return &hadv1.ListConfigVersionsResponse{}, nil
}

func (a configAPI) GetConfigVersion(_ context.Context, r *hadv1.GetConfigVersionRequest) (*hadv1.GetConfigVersionResponse, error) {
	return nil, noVersion(r.GetNumber())
}

func (a configAPI) DiffConfig(_ context.Context, r *hadv1.DiffConfigRequest) (*hadv1.DiffConfigResponse, error) {
	return nil, noVersion(r.GetToVersion())
}

func noVersion(n uint64) error {
	return refusal(codes.NotFound, "VERSION_NOT_FOUND", "V-16-1-90040", "ERROR", fmt.Sprintf("Version %d is not kept", n))
}

func (a groupAPI) EnableGroup(ctx context.Context, r *hadv1.EnableGroupRequest) (*hadv1.EnableGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupEnable, Group: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.EnableGroupResponse{Operation: op}, err
}

func (a groupAPI) DisableGroup(ctx context.Context, r *hadv1.DisableGroupRequest) (*hadv1.DisableGroupResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupDisable, Group: r.GetName(),
		System: r.GetSystem()}, r.GetPlan())
	return &hadv1.DisableGroupResponse{Operation: op}, err
}

func (a groupAPI) EnableGroupResources(ctx context.Context, r *hadv1.EnableGroupResourcesRequest) (*hadv1.EnableGroupResourcesResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupEnableResources, Group: r.GetName()}, r.GetPlan())
	return &hadv1.EnableGroupResourcesResponse{Operation: op}, err
}

func (a groupAPI) DisableGroupResources(ctx context.Context, r *hadv1.DisableGroupResourcesRequest) (*hadv1.DisableGroupResourcesResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandGroupDisableResources, Group: r.GetName()}, r.GetPlan())
	return &hadv1.DisableGroupResourcesResponse{Operation: op}, err
}
