package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/internal/localrpc"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

const (
	// maxConfirm is the longest time that a change waits to be confirmed.
	maxConfirm = 24 * time.Hour
	// maxConfigBytes bounds the files of one configuration.
	maxConfigBytes = 16 << 20
)

func (a configAPI) GetConfig(ctx context.Context, _ *hadv1.GetConfigRequest) (*hadv1.GetConfigResponse, error) {
	files, st, err := a.running(ctx)
	if err != nil {
		return nil, err
	}
	out := &hadv1.GetConfigResponse{Hash: confdisk.Hash(files), Writable: st.Writable, State: a.stateProto(st)}
	out.StaleOnDisk = out.State.GetStaleOnDisk()
	for _, f := range files {
		out.Files = append(out.Files, &hadv1.ConfigFile{Name: f.Name, Text: f.Text})
	}
	return out, nil
}

// running is the running configuration; its text is made outside the loop.
func (a configAPI) running(ctx context.Context) ([]engine.File, engine.ConfigStatus, error) {
	var source engine.Source
	var st engine.ConfigStatus
	if err := a.do(ctx, func() { source, st = a.loop.engine.Source(), a.loop.engine.ConfigStatus() }); err != nil {
		return nil, st, err
	}
	return source.Files(), st, nil
}

func (a configAPI) stateProto(st engine.ConfigStatus) *hadv1.ConfigState {
	out := &hadv1.ConfigState{Writable: st.Writable, Sequence: st.Sequence, Undumped: st.Undumped, Version: st.Version, DumpingSystems: st.Dumping}
	if st.Changed != nil {
		out.Changed = positionProto(*st.Changed)
	}
	for _, f := range st.Failed {
		out.DumpFailures = append(out.DumpFailures, &hadv1.DumpFailure{System: f.System, Why: f.Why})
	}
	if st.Unconfirmed {
		out.Unconfirmed = &hadv1.Unconfirmed{LeftMs: st.Left, User: st.User, Hindrance: st.Hindrance}
	}
	if _, err := os.Stat(a.root.Config(".stale")); err == nil || !errors.Is(err, os.ErrNotExist) {
		out.StaleOnDisk = true
	}
	return out
}

func (a configAPI) GetConfigState(ctx context.Context, _ *hadv1.GetConfigStateRequest) (*hadv1.GetConfigStateResponse, error) {
	var st engine.ConfigStatus
	if err := a.do(ctx, func() { st = a.loop.engine.ConfigStatus() }); err != nil {
		return nil, err
	}
	return &hadv1.GetConfigStateResponse{State: a.stateProto(st)}, nil
}

func (a configAPI) ListConfigFiles(ctx context.Context, r *hadv1.ListConfigFilesRequest) (*hadv1.ListConfigFilesResponse, error) {
	files, _, err := a.running(ctx)
	if err != nil {
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

// dumpPatience is how long the answer to a dump waits for the disks.
const dumpPatience = 1500 * time.Millisecond

// DumpConfig answers when every system has written the dump, or after
// dumpPatience with a notice that names those that have not.
func (a configAPI) DumpConfig(ctx context.Context, r *hadv1.DumpConfigRequest) (*hadv1.DumpConfigResponse, error) {
	op, err := a.operate(ctx, engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigDump, MakeReadOnly: r.GetMakeReadonly()}, r.GetPlan())
	if err != nil || r.GetPlan() {
		return &hadv1.DumpConfigResponse{Operation: op}, err
	}
	ctx, cancel := context.WithTimeout(ctx, dumpPatience)
	defer cancel()
	ended := make(chan struct{})
	if err := a.do(ctx, func() {
		a.loop.dumpWaits = append(a.loop.dumpWaits, ended)
		a.loop.dumpEnded()
	}); err == nil {
		select {
		case <-ended:
		case <-ctx.Done():
		}
	}
	var st engine.ConfigStatus
	if err := a.do(context.WithoutCancel(ctx), func() { st = a.loop.engine.ConfigStatus() }); err != nil {
		return &hadv1.DumpConfigResponse{Operation: op}, nil // it was ordered all the same
	}
	for _, f := range st.Failed {
		op.Notices = append(op.Notices, &hadv1.Notice{Severity: "ERROR", MessageId: "V-16-1-90050", Text: fmt.Sprintf("The configuration is not written on %s: %s; its disk holds what it held before", f.System, f.Why)})
	}
	if len(st.Dumping) > 0 {
		op.Notices = append(op.Notices, &hadv1.Notice{Severity: "NOTICE", MessageId: "V-16-1-90057", Text: "Still being written on " + strings.Join(st.Dumping, ", ") + "; haclus -wait DumpingMembership 0 waits for it"})
	}
	return &hadv1.DumpConfigResponse{Operation: op}, nil
}

// dumpEnded tells those who wait that no system owes a dump.
func (l *loop) dumpEnded() {
	if len(l.dumpWaits) == 0 || l.engine.Dumping() {
		return
	}
	for _, w := range l.dumpWaits {
		close(w)
	}
	l.dumpWaits = nil
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
	c := engine.Command{RequestID: r.GetRequestId(), Kind: engine.CommandConfigApply, Version: r.GetVersion()}
	var err error
	if c.Confirm, err = confirmIn(r.GetConfirmSeconds()); err != nil {
		return nil, err
	}
	if _, c.Files, err = a.version(r.GetVersion()); err != nil {
		return nil, err
	}
	c.Main = c.Files[0].Name
	op, err := a.operate(ctx, c, r.GetPlan())
	return &hadv1.RollbackConfigResponse{Operation: op, Unchanged: err == nil && len(op.GetConfigEdits()) == 0 && !op.GetRepeatedRequest()}, err
}

// version finds a kept version on this disk.
func (a configAPI) version(n uint64) (confdisk.Version, []engine.File, error) {
	all := diskOf(a.root).All()
	for _, v := range all {
		if v.Number != n {
			continue
		}
		files, err := diskOf(a.root).Text(v)
		if err != nil || len(files) == 0 {
			return v, nil, refusal(codes.DataLoss, "VERSION_UNREADABLE", "V-16-1-90040", "ERROR", fmt.Sprintf("Version %d is not kept whole: %v", n, err))
		}
		return v, files, nil
	}
	return confdisk.Version{}, nil, noVersion(n, all)
}

func (a configAPI) ListConfigVersions(_ context.Context, r *hadv1.ListConfigVersionsRequest) (*hadv1.ListConfigVersionsResponse, error) {
	out := &hadv1.ListConfigVersionsResponse{}
	before, err := strconv.ParseUint(r.GetPageToken(), 10, 64)
	for _, v := range diskOf(a.root).All() {
		if err == nil && v.Number >= before {
			continue
		}
		if len(out.Versions) > 0 && len(out.Versions) >= int(r.GetPageSize()) && r.GetPageSize() > 0 {
			out.NextPageToken = strconv.FormatUint(out.Versions[len(out.Versions)-1].GetNumber(), 10)
			break
		}
		out.Versions = append(out.Versions, versionProto(v, nil))
	}
	return out, nil
}

func versionProto(v confdisk.Version, files []engine.File) *hadv1.ConfigVersion {
	out := &hadv1.ConfigVersion{Number: v.Number, Sequence: v.Sequence, User: v.User, RequestId: v.Request,
		WrittenUnixMs: v.Written.UnixMilli(), Summary: v.Summary}
	if v.At != (engine.Pos{}) {
		out.Position = positionProto(v.At)
	}
	for _, name := range v.Files {
		out.Files = append(out.Files, &hadv1.ConfigFile{Name: name})
	}
	for i, f := range files {
		out.Files[i].Text = f.Text
	}
	return out
}

func (a configAPI) GetConfigVersion(_ context.Context, r *hadv1.GetConfigVersionRequest) (*hadv1.GetConfigVersionResponse, error) {
	v, files, err := a.version(r.GetNumber())
	if err != nil {
		return nil, err
	}
	return &hadv1.GetConfigVersionResponse{Version: versionProto(v, files)}, nil
}

func (a configAPI) DiffConfig(ctx context.Context, r *hadv1.DiffConfigRequest) (*hadv1.DiffConfigResponse, error) {
	running, _, err := a.running(ctx)
	if err != nil {
		return nil, err
	}
	from, to := running, running
	if r.FromVersion != nil {
		if _, from, err = a.version(r.GetFromVersion()); err != nil {
			return nil, err
		}
	}
	switch {
	case r.ToVersion != nil:
		if _, to, err = a.version(r.GetToVersion()); err != nil {
			return nil, err
		}
	case len(r.GetToFiles()) > 0:
		if to, err = filesOf(r.GetToFiles()); err != nil {
			return nil, err
		}
		to = completed(to, running)
	}
	before, err := confdisk.Load(completed(from, running))
	if err != nil {
		return nil, badConfig(err)
	}
	after, err := confdisk.Load(completed(to, running))
	if err != nil {
		return nil, badConfig(err)
	}
	edits, err := before.Diff(after)
	if err != nil {
		return nil, badConfig(err)
	}
	out := &hadv1.DiffConfigResponse{}
	for _, e := range edits {
		out.Edits = append(out.Edits, &hadv1.ConfigEdit{Args: e.Args()})
	}
	return out, nil
}

// completed adds the running files that a set does not hold; what nothing
// includes does no harm.
func completed(files, running []engine.File) []engine.File {
	out := slices.Clone(files)
	for _, f := range running {
		if !slices.ContainsFunc(out, func(o engine.File) bool { return o.Name == f.Name }) {
			out = append(out, f)
		}
	}
	return out
}

func badConfig(err error) error {
	return refusal(codes.InvalidArgument, "BAD_CONFIG", "V-16-1-90054", "ERROR", strings.ReplaceAll(err.Error(), "\n", "; "))
}

func noVersion(n uint64, all []confdisk.Version) error {
	text := fmt.Sprintf("Version %d is not kept on this system", n)
	var near []string
	for _, v := range all[:min(len(all), 3)] {
		near = append(near, strconv.FormatUint(v.Number, 10))
	}
	if len(near) > 0 {
		text += "; the newest are " + strings.Join(near, ", ")
	}
	return refusal(codes.NotFound, "VERSION_NOT_FOUND", "V-16-1-90040", "ERROR", text, "nearest", strings.Join(near, ","))
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
