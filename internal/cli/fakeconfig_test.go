package cli

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// The calls about the configuration as a whole.

func (e *engine) GetConfigState(context.Context, *hadv1.GetConfigStateRequest) (*hadv1.GetConfigStateResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := e.state
	if state == nil {
		state = &hadv1.ConfigState{Sequence: 7, Version: 3}
	}
	return &hadv1.GetConfigStateResponse{State: proto.CloneOf(state)}, nil
}

func (e *engine) ApplyConfig(_ context.Context, r *hadv1.ApplyConfigRequest) (*hadv1.ApplyConfigResponse, error) {
	text := "ApplyConfig"
	for _, f := range r.GetFiles() {
		text += fmt.Sprintf(" %s (%d bytes)", f.GetName(), len(f.GetText()))
	}
	r = proto.CloneOf(r)
	r.Files = nil
	o, err := e.change(text, r)
	return &hadv1.ApplyConfigResponse{Operation: o}, err
}

func (e *engine) ConfirmConfig(_ context.Context, r *hadv1.ConfirmConfigRequest) (*hadv1.ConfirmConfigResponse, error) {
	o, err := e.change("ConfirmConfig", r)
	return &hadv1.ConfirmConfigResponse{Operation: o}, err
}

func (e *engine) RollbackConfig(_ context.Context, r *hadv1.RollbackConfigRequest) (*hadv1.RollbackConfigResponse, error) {
	o, err := e.change("RollbackConfig", r)
	return &hadv1.RollbackConfigResponse{Operation: o}, err
}

func (e *engine) ListConfigVersions(context.Context, *hadv1.ListConfigVersionsRequest) (*hadv1.ListConfigVersionsResponse, error) {
	return &hadv1.ListConfigVersionsResponse{Versions: []*hadv1.ConfigVersion{
		{Number: 3, Sequence: 7, User: "root", Summary: "2 systems, 1 groups, 3 resources"}, {Number: 2, Sequence: 4, Summary: "2 systems, 1 groups, 2 resources"},
	}}, nil
}

func (e *engine) DiffConfig(_ context.Context, r *hadv1.DiffConfigRequest) (*hadv1.DiffConfigResponse, error) {
	return &hadv1.DiffConfigResponse{Edits: []*hadv1.ConfigEdit{{Args: []string{"hares", "-modify", "app_ip", "Address", "192.0.2.8"}}, {Args: []string{"hagrp", "-modify", "app", "UserStrGlobal", "two words"}}}}, nil
}

func (e *engine) SwapAgent(_ context.Context, r *hadv1.SwapAgentRequest) (*hadv1.SwapAgentResponse, error) {
	o, err := e.change("SwapAgent", r)
	return &hadv1.SwapAgentResponse{Operation: o}, err
}
