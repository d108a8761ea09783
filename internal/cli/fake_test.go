package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// engine is a had of a two-system cluster: group app is partial on sysA, where
// its mount faulted, and was last heard of offline on sysB, which is gone;
// group db is online and frozen.
type engine struct {
	hadv1.UnimplementedSystemServiceServer
	hadv1.UnimplementedGroupServiceServer
	hadv1.UnimplementedResourceServiceServer
	hadv1.UnimplementedTypeServiceServer
	hadv1.UnimplementedClusterServiceServer
	hadv1.UnimplementedConfigServiceServer
	hadv1.UnimplementedAgentServiceServer
	hadv1.UnimplementedEventServiceServer

	mu     sync.Mutex
	status *hadv1.GetStatusResponse
	// calls are the changing calls, one line each; ids their request ids.
	calls, ids []string
	// fail is returned by the next changing calls, in order.
	fail []error
	// answer is what changing calls return.
	answer *hadv1.Operation
	// onChange is called for each successful change.
	onChange func(*engine)
	// state is that of the configuration, nil for saved and read-only.
	state *hadv1.ConfigState
	// stays: the stream of events has no end.
	stays bool
	// config is the running main.cf.
	config string
}

// fullConfig is a configuration with users, an override and a dependency of
// which one child is enough.
const fullConfig = `include "types.cf"

cluster demo (
	UserNames = { admin = xyz, opr = abc }
	Administrators = { admin }
	)

remotecluster far (
	ClusterAddress = "10.1.1.1"
	)

heartbeat Icmp (
	ClusterList = { far }
	AYATimeout = 20
	Arguments @far = { "10.1.1.1" }
	)

system sysA (
	)

system sysB (
	)

group app (
	SystemList = { sysA = 0, sysB = 1 }
	Operators = { opr }
	)

	IP app_ip (
		Device = eth0
		Address = "192.0.2.7"
		NetMask = "255.255.255.0"
		MonitorInterval = 15
		)

	FileOnOff app_f1 (
		PathName = "/tmp/f1"
		)

	FileOnOff app_f2 (
		PathName = "/tmp/f2"
		)

	app_ip requires atleast 1 from app_f1, app_f2
`

func attribute(name, system, value string) *hadv1.Attribute {
	return &hadv1.Attribute{Name: name, System: system, Value: value}
}

func newEngine() *engine {
	gone := &hadv1.Freshness{AgeMs: 12_000, Stale: true, Why: "sysB is FAULTED"}
	fresh := &hadv1.Freshness{AgeMs: 40}
	return &engine{answer: &hadv1.Operation{RequestId: "r1"}, config: "include \"types.cf\"\n", status: &hadv1.GetStatusResponse{
		LocalSystem: "sysA", LocalState: "RUNNING", EngineVersion: "0.1.0", Position: &hadv1.Position{Lineage: 0xabc, View: 3, Seq: 17},
		Cluster: &hadv1.Cluster{Name: "demo", State: "RUNNING", Attributes: []*hadv1.Attribute{
			attribute("ClusState", "", "RUNNING"), attribute("ClusterName", "", "demo"), attribute("DumpingMembership", "", "0"), attribute("ReadOnly", "", "1"),
		}},
		Systems: []*hadv1.System{
			{Name: "sysA", NodeId: 0, State: "RUNNING", Freshness: fresh, Attributes: []*hadv1.Attribute{
				attribute("CPUThresholdLevel", "", "Critical\t90\tWarning\t80\tNote\t70\tInfo\t60"), attribute("Frozen", "", "0"), attribute("SysState", "", "RUNNING"),
			}},
			{Name: "sysB", NodeId: 1, State: "FAULTED", Freshness: gone, Attributes: []*hadv1.Attribute{
				attribute("Frozen", "", "0"), attribute("SysState", "", "FAULTED"),
			}},
		},
		Groups: []*hadv1.Group{
			{Name: "app", Kind: "failover", Resources: []string{"app_ip", "app_mnt"}, Systems: []*hadv1.GroupOnSystem{
				{System: "sysA", State: "PARTIAL|FAULTED", Probed: true, Freshness: fresh},
				{System: "sysB", State: "OFFLINE", Probed: false, Autodisabled: true, Freshness: gone},
			}, Attributes: []*hadv1.Attribute{
				attribute("AutoStartList", "", "sysA"), attribute("Parallel", "", "0"), attribute("SourceFile", "", "./main.cf"),
				attribute("State", "sysA", "|PARTIAL|FAULTED|"), attribute("State", "sysB", "|OFFLINE|"), attribute("SystemList", "", "sysA\t0\tsysB\t1"),
			}},
			{Name: "db", Kind: "failover", Frozen: true, Resources: []string{"db_dg"}, Systems: []*hadv1.GroupOnSystem{
				{System: "sysA", State: "ONLINE", Probed: true, Freshness: fresh},
			}, Attributes: []*hadv1.Attribute{
				attribute("AutoStartList", "", ""), attribute("Parallel", "", "0"), attribute("State", "sysA", "|ONLINE|"), attribute("SystemList", "", "sysA\t0"),
			}},
		},
		Resources: []*hadv1.Resource{
			{Name: "app_ip", Group: "app", Type: "IP", Enabled: true, Critical: true, Systems: []*hadv1.ResourceOnSystem{
				{System: "sysA", State: "OFFLINE", Istate: "waiting to go online", IstateCode: "W_ONLINE", Probed: true, Freshness: fresh},
				{System: "sysB", State: "OFFLINE", Istate: "not waiting", Probed: false, Freshness: gone},
			}, Attributes: []*hadv1.Attribute{
				attribute("Address", "", "192.0.2.7"), attribute("Group", "", "app"), attribute("IState", "sysA", "waiting to go online"),
				attribute("IState", "sysB", "not waiting"), attribute("State", "sysA", "OFFLINE"), attribute("State", "sysB", "OFFLINE"), attribute("Type", "", "IP"),
			}},
			{Name: "app_mnt", Group: "app", Type: "Mount", Enabled: true, Critical: true, Systems: []*hadv1.ResourceOnSystem{
				{System: "sysA", State: "FAULTED", Istate: "not waiting", Probed: true, Reason: "mount: no such device", Freshness: fresh},
				{System: "sysB", State: "OFFLINE", Istate: "not waiting", Probed: true, Freshness: gone},
			}},
			{Name: "db_dg", Group: "db", Type: "DiskGroup", Enabled: true, Systems: []*hadv1.ResourceOnSystem{
				{System: "sysA", State: "ONLINE", Istate: "waiting to go offline (propagate)", IstateCode: "W_OFFLINE_PROPAGATE", Probed: true, Freshness: fresh},
			}},
			{Name: "db_extra", Group: "db", Type: "Process", Systems: []*hadv1.ResourceOnSystem{
				{System: "sysA", State: "OFFLINE", Istate: "not waiting", Probed: true, Freshness: fresh},
			}},
		},
	}}
}

// refusal is an error as had gives it.
func refusal(code codes.Code, reason, id, severity, text string) error {
	s, err := status.New(code, text).WithDetails(&errdetails.ErrorInfo{
		Domain: "evenkeel.had", Reason: reason, Metadata: map[string]string{"message_id": id, "severity": severity},
	})
	if err != nil {
		panic(err)
	}
	return s.Err()
}

type named interface{ GetName() string }

func find[T named](all []T, kind, id, name string) (T, error) {
	for _, one := range all {
		if one.GetName() == name {
			return one, nil
		}
	}
	var none T
	return none, refusal(codes.NotFound, strings.ToUpper(kind)+"_NOT_FOUND", id, "WARNING", fmt.Sprintf("%s %s does not exist", kind, name))
}

func (e *engine) GetStatus(context.Context, *hadv1.GetStatusRequest) (*hadv1.GetStatusResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return proto.CloneOf(e.status), nil
}

func (e *engine) ListDecisions(context.Context, *hadv1.ListDecisionsRequest) (*hadv1.ListDecisionsResponse, error) {
	return &hadv1.ListDecisionsResponse{Decisions: []*hadv1.Decision{{Position: &hadv1.Position{View: 3, Seq: 12}, Group: "app", Subject: "fault of app_mnt on sysA",
		Verdict: "only recorded: the group or the system is frozen", WayOut: "hagrp -unfreeze app (or hasys -unfreeze sysA), then hagrp -clear app",
		Repeatable: true, Kind: "fault", Consequence: "record", Inputs: `{"kind":"fault","inputs":{}}`,
		Facts: []*hadv1.Fact{{Name: "group", Value: "app"}, {Name: "frozen group", Value: "hagrp -freeze by root"}}}}}, nil
}

func (e *engine) GetCluster(context.Context, *hadv1.GetClusterRequest) (*hadv1.GetClusterResponse, error) {
	return &hadv1.GetClusterResponse{Cluster: e.status.GetCluster()}, nil
}

func (e *engine) ListClusters(context.Context, *hadv1.ListClustersRequest) (*hadv1.ListClustersResponse, error) {
	return &hadv1.ListClustersResponse{Clusters: []*hadv1.Cluster{e.status.GetCluster()}}, nil
}

func (e *engine) GetGroup(_ context.Context, r *hadv1.GetGroupRequest) (*hadv1.GetGroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g, err := find(e.status.GetGroups(), "Group", "V-16-1-40131", r.GetName())
	return &hadv1.GetGroupResponse{Group: proto.CloneOf(g)}, err
}

// ListGroups answers one group a page.
func (e *engine) ListGroups(_ context.Context, r *hadv1.ListGroupsRequest) (*hadv1.ListGroupsResponse, error) {
	if slices.Contains(r.GetConditions(), "Parallel=1") {
		return &hadv1.ListGroupsResponse{}, nil
	}
	if slices.Contains(r.GetConditions(), "State=OFFLINE") {
		return &hadv1.ListGroupsResponse{Groups: e.status.GetGroups()[:1]}, nil
	}
	for i, g := range e.status.GetGroups() {
		if g.GetName() > r.GetPageToken() {
			answer := &hadv1.ListGroupsResponse{Groups: []*hadv1.Group{g}}
			if i+1 < len(e.status.GetGroups()) {
				answer.NextPageToken = g.GetName()
			}
			return answer, nil
		}
	}
	return &hadv1.ListGroupsResponse{}, nil
}

func (e *engine) ListGroupDependencies(_ context.Context, r *hadv1.ListGroupDependenciesRequest) (*hadv1.ListGroupDependenciesResponse, error) {
	if len(e.status.GetGroups()) < 2 {
		return &hadv1.ListGroupDependenciesResponse{}, nil
	}
	return &hadv1.ListGroupDependenciesResponse{Dependencies: []*hadv1.GroupDependency{{Parent: "app", Child: "db", Relationship: "online local firm"}}}, nil
}

func (e *engine) ExplainGroup(_ context.Context, r *hadv1.ExplainGroupRequest) (*hadv1.ExplainGroupResponse, error) {
	g, err := find(e.status.GetGroups(), "Group", "V-16-1-40131", r.GetName())
	return &hadv1.ExplainGroupResponse{Group: g, Hindrances: []string{"app_mnt is faulted on sysA; repair it, then hagrp -clear app -sys sysA"},
		Decisions: []*hadv1.Decision{{Position: &hadv1.Position{View: 3, Seq: 11}, Group: "app", Subject: "failover", Verdict: "no target",
			Candidates: []*hadv1.Candidate{{System: "sysA", Reason: "faulted there"}, {System: "sysB", Reason: "is FAULTED"}},
			Evidence:   "sysB POWERED_OFF", WayOut: "hagrp -clear app -sys sysA"}}}, err
}

func (e *engine) GetResource(_ context.Context, r *hadv1.GetResourceRequest) (*hadv1.GetResourceResponse, error) {
	one, err := find(e.status.GetResources(), "Resource", "V-16-1-40130", r.GetName())
	return &hadv1.GetResourceResponse{Resource: proto.CloneOf(one)}, err
}

func (e *engine) ListResources(_ context.Context, r *hadv1.ListResourcesRequest) (*hadv1.ListResourcesResponse, error) {
	all := slices.DeleteFunc(slices.Clone(e.status.GetResources()), func(one *hadv1.Resource) bool {
		return r.GetGroup() != "" && one.GetGroup() != r.GetGroup() || len(r.GetConditions()) > 0 && r.GetConditions()[0] != "Type="+one.GetType()
	})
	return &hadv1.ListResourcesResponse{Resources: all}, nil
}

func (e *engine) ListResourceDependencies(context.Context, *hadv1.ListResourceDependenciesRequest) (*hadv1.ListResourceDependenciesResponse, error) {
	if len(e.status.GetResources()) == 0 {
		return &hadv1.ListResourceDependenciesResponse{}, nil
	}
	return &hadv1.ListResourceDependenciesResponse{Dependencies: []*hadv1.ResourceDependency{{Group: "app", Parent: "app_ip", Child: "app_mnt"}}}, nil
}

func (e *engine) GetSystem(_ context.Context, r *hadv1.GetSystemRequest) (*hadv1.GetSystemResponse, error) {
	one, err := find(e.status.GetSystems(), "System", "V-16-1-10357", r.GetName())
	return &hadv1.GetSystemResponse{System: one}, err
}

func (e *engine) ListSystems(context.Context, *hadv1.ListSystemsRequest) (*hadv1.ListSystemsResponse, error) {
	return &hadv1.ListSystemsResponse{Systems: e.status.GetSystems()}, nil
}

var types = []*hadv1.Type{
	{Name: "IP", Operations: "OnOff", Resources: []string{"app_ip"}, Attributes: []*hadv1.Attribute{attribute("MonitorInterval", "", "60"), attribute("ArgList", "", "Device\tAddress")}},
	{Name: "NIC", Operations: "None"},
}

func (e *engine) GetType(_ context.Context, r *hadv1.GetTypeRequest) (*hadv1.GetTypeResponse, error) {
	one, err := find(types, "Type", "V-16-1-90002", r.GetName())
	return &hadv1.GetTypeResponse{Type: one}, err
}

func (e *engine) ListTypes(context.Context, *hadv1.ListTypesRequest) (*hadv1.ListTypesResponse, error) {
	return &hadv1.ListTypesResponse{Types: types}, nil
}

func (e *engine) ListAgents(context.Context, *hadv1.ListAgentsRequest) (*hadv1.ListAgentsResponse, error) {
	return &hadv1.ListAgentsResponse{Agents: []*hadv1.Agent{{Type: "IP", System: "sysA", State: "Running", Pid: 4711, Restarts: 2}}}, nil
}

func (e *engine) GetAgent(_ context.Context, r *hadv1.GetAgentRequest) (*hadv1.GetAgentResponse, error) {
	if r.GetType() == "Nope" {
		return nil, refusal(codes.NotFound, "AGENT_NOT_FOUND", "V-16-1-90510", "WARNING", "Agent Nope does not exist")
	}
	return &hadv1.GetAgentResponse{Agent: &hadv1.Agent{Type: "IP", System: "sysA", State: "Given up", Reason: "bin/agents/IP is missing"}}, nil
}

func (e *engine) GetConfig(context.Context, *hadv1.GetConfigRequest) (*hadv1.GetConfigResponse, error) {
	return &hadv1.GetConfigResponse{Hash: 0xfeedfacecafebeef, StaleOnDisk: true, Files: e.files()}, nil
}

// files are those that run; types.cf is left out with the short configuration.
func (e *engine) files() []*hadv1.ConfigFile {
	files := []*hadv1.ConfigFile{{Name: "main.cf", Text: e.config}}
	if e.config == fullConfig {
		files = append(files, &hadv1.ConfigFile{Name: "types.cf", Text: etc.TypesCF})
	}
	return files
}

func (e *engine) RunResourceAction(_ context.Context, r *hadv1.RunResourceActionRequest) (*hadv1.RunResourceActionResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf("RunResourceAction name=%s system=%s token=%s arguments=%q", r.GetName(), r.GetSystem(), r.GetToken(), r.GetArguments()))
	if r.GetToken() == "fails" {
		return &hadv1.RunResourceActionResponse{Output: "it is broken", ExitCode: 3}, nil
	}
	return &hadv1.RunResourceActionResponse{Output: "checked\nall is well\n"}, nil
}

func (e *engine) MakeWritable(_ context.Context, r *hadv1.MakeWritableRequest) (*hadv1.MakeWritableResponse, error) {
	o, err := e.change("MakeWritable", r)
	return &hadv1.MakeWritableResponse{Operation: o}, err
}

func (e *engine) ChangeConfig(_ context.Context, r *hadv1.ChangeConfigRequest) (*hadv1.ChangeConfigResponse, error) {
	text := "ChangeConfig"
	for _, edit := range r.GetEdits() {
		text += fmt.Sprintf(" %q", edit.GetArgs())
	}
	r = proto.CloneOf(r)
	r.Edits = nil
	o, err := e.change(text, r)
	return &hadv1.ChangeConfigResponse{Operation: o}, err
}

func (e *engine) ClearAdminWaitGroup(_ context.Context, r *hadv1.ClearAdminWaitGroupRequest) (*hadv1.ClearAdminWaitGroupResponse, error) {
	o, err := e.change("ClearAdminWaitGroup", r)
	return &hadv1.ClearAdminWaitGroupResponse{Operation: o}, err
}

func (e *engine) RefreshResourceInfo(_ context.Context, r *hadv1.RefreshResourceInfoRequest) (*hadv1.RefreshResourceInfoResponse, error) {
	o, err := e.change("RefreshResourceInfo", r)
	return &hadv1.RefreshResourceInfoResponse{Operation: o}, err
}

func (e *engine) FlushResourceInfo(_ context.Context, r *hadv1.FlushResourceInfoRequest) (*hadv1.FlushResourceInfoResponse, error) {
	o, err := e.change("FlushResourceInfo", r)
	return &hadv1.FlushResourceInfoResponse{Operation: o}, err
}

func (e *engine) EnableGroup(_ context.Context, r *hadv1.EnableGroupRequest) (*hadv1.EnableGroupResponse, error) {
	o, err := e.change("EnableGroup", r)
	return &hadv1.EnableGroupResponse{Operation: o}, err
}

func (e *engine) DisableGroup(_ context.Context, r *hadv1.DisableGroupRequest) (*hadv1.DisableGroupResponse, error) {
	o, err := e.change("DisableGroup", r)
	return &hadv1.DisableGroupResponse{Operation: o}, err
}

func (e *engine) EnableGroupResources(_ context.Context, r *hadv1.EnableGroupResourcesRequest) (*hadv1.EnableGroupResourcesResponse, error) {
	o, err := e.change("EnableGroupResources", r)
	return &hadv1.EnableGroupResourcesResponse{Operation: o}, err
}

func (e *engine) DisableGroupResources(_ context.Context, r *hadv1.DisableGroupResourcesRequest) (*hadv1.DisableGroupResourcesResponse, error) {
	o, err := e.change("DisableGroupResources", r)
	return &hadv1.DisableGroupResourcesResponse{Operation: o}, err
}

func (e *engine) SetSystemLoad(_ context.Context, r *hadv1.SetSystemLoadRequest) (*hadv1.SetSystemLoadResponse, error) {
	o, err := e.change("SetSystemLoad", r)
	return &hadv1.SetSystemLoadResponse{Operation: o}, err
}

func (e *engine) StartAgent(_ context.Context, r *hadv1.StartAgentRequest) (*hadv1.StartAgentResponse, error) {
	o, err := e.change("StartAgent", r)
	return &hadv1.StartAgentResponse{Operation: o}, err
}

func (e *engine) StopAgent(_ context.Context, r *hadv1.StopAgentRequest) (*hadv1.StopAgentResponse, error) {
	o, err := e.change("StopAgent", r)
	return &hadv1.StopAgentResponse{Operation: o}, err
}

func (e *engine) WatchEvents(r *hadv1.WatchEventsRequest, s hadv1.EventService_WatchEventsServer) error {
	for _, one := range []*hadv1.Event{
		{Kind: "system", System: "sysA", State: "RUNNING"},
		{Kind: "group", Group: "app", System: "sysA", State: "PARTIAL|FAULTED"},
		{Kind: "resource", Group: "app", Resource: "app_mnt", System: "sysA", State: "FAULTED"},
		{Kind: "ready"},
		{Position: &hadv1.Position{Lineage: 0xabc, View: 3, Seq: 18}, Kind: "group", Group: "app", System: "sysA", State: "ONLINE", Severity: "NOTICE", MessageId: "V-16-1-10447", Text: "Group app is online on system sysA"},
	} {
		if len(r.GetGroups()) > 0 && !slices.Contains(r.GetGroups(), one.GetGroup()) {
			continue
		}
		if err := s.Send(&hadv1.WatchEventsResponse{Event: one}); err != nil {
			return err
		}
	}
	if e.stays {
		<-s.Context().Done()
	}
	return nil
}

// request is any changing request.
type request interface {
	proto.Message
	GetRequestId() string
	GetPlan() bool
}

// change records a changing call.
func (e *engine) change(name string, r request) (*hadv1.Operation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := name
	fields := r.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Name() != "request_id" && r.ProtoReflect().Has(f) {
			value := fmt.Sprint(r.ProtoReflect().Get(f).Interface())
			if f.IsList() {
				var words []string
				for j := range r.ProtoReflect().Get(f).List().Len() {
					words = append(words, r.ProtoReflect().Get(f).List().Get(j).String())
				}
				value = strings.Join(words, ",")
			}
			text += fmt.Sprintf(" %s=%s", f.Name(), value)
		}
	}
	e.calls = append(e.calls, text)
	e.ids = append(e.ids, r.GetRequestId())
	if len(e.fail) > 0 {
		err := e.fail[0]
		e.fail = e.fail[1:]
		if err != nil {
			return nil, err
		}
	}
	if e.onChange != nil && !r.GetPlan() {
		e.onChange(e)
	}
	if r.GetPlan() {
		return &hadv1.Operation{Decisions: []*hadv1.Decision{{Group: "app", Candidates: []*hadv1.Candidate{
			{System: "sysA", Reason: "it is there"}, {System: "sysB", Chosen: true, Reason: "first in SystemList"}}}}, PlannedSteps: []*hadv1.PlannedStep{{System: "sysA", Resource: "app_ip", Action: "offline", Text: "app_ip goes offline first"}}}, nil
	}
	return e.answer, nil
}

func (e *engine) OnlineGroup(_ context.Context, r *hadv1.OnlineGroupRequest) (*hadv1.OnlineGroupResponse, error) {
	o, err := e.change("OnlineGroup", r)
	return &hadv1.OnlineGroupResponse{Operation: o}, err
}

func (e *engine) OfflineGroup(_ context.Context, r *hadv1.OfflineGroupRequest) (*hadv1.OfflineGroupResponse, error) {
	o, err := e.change("OfflineGroup", r)
	return &hadv1.OfflineGroupResponse{Operation: o}, err
}

func (e *engine) SwitchGroup(_ context.Context, r *hadv1.SwitchGroupRequest) (*hadv1.SwitchGroupResponse, error) {
	o, err := e.change("SwitchGroup", r)
	return &hadv1.SwitchGroupResponse{Operation: o}, err
}

func (e *engine) ClearGroup(_ context.Context, r *hadv1.ClearGroupRequest) (*hadv1.ClearGroupResponse, error) {
	o, err := e.change("ClearGroup", r)
	return &hadv1.ClearGroupResponse{Operation: o}, err
}

func (e *engine) FreezeGroup(_ context.Context, r *hadv1.FreezeGroupRequest) (*hadv1.FreezeGroupResponse, error) {
	o, err := e.change("FreezeGroup", r)
	return &hadv1.FreezeGroupResponse{Operation: o}, err
}

func (e *engine) UnfreezeGroup(_ context.Context, r *hadv1.UnfreezeGroupRequest) (*hadv1.UnfreezeGroupResponse, error) {
	o, err := e.change("UnfreezeGroup", r)
	return &hadv1.UnfreezeGroupResponse{Operation: o}, err
}

func (e *engine) FlushGroup(_ context.Context, r *hadv1.FlushGroupRequest) (*hadv1.FlushGroupResponse, error) {
	o, err := e.change("FlushGroup", r)
	return &hadv1.FlushGroupResponse{Operation: o}, err
}

func (e *engine) AutoenableGroup(_ context.Context, r *hadv1.AutoenableGroupRequest) (*hadv1.AutoenableGroupResponse, error) {
	o, err := e.change("AutoenableGroup", r)
	return &hadv1.AutoenableGroupResponse{Operation: o}, err
}

func (e *engine) OnlineResource(_ context.Context, r *hadv1.OnlineResourceRequest) (*hadv1.OnlineResourceResponse, error) {
	o, err := e.change("OnlineResource", r)
	return &hadv1.OnlineResourceResponse{Operation: o}, err
}

func (e *engine) OfflineResource(_ context.Context, r *hadv1.OfflineResourceRequest) (*hadv1.OfflineResourceResponse, error) {
	o, err := e.change("OfflineResource", r)
	return &hadv1.OfflineResourceResponse{Operation: o}, err
}

func (e *engine) ProbeResource(_ context.Context, r *hadv1.ProbeResourceRequest) (*hadv1.ProbeResourceResponse, error) {
	o, err := e.change("ProbeResource", r)
	return &hadv1.ProbeResourceResponse{Operation: o}, err
}

func (e *engine) ClearResource(_ context.Context, r *hadv1.ClearResourceRequest) (*hadv1.ClearResourceResponse, error) {
	o, err := e.change("ClearResource", r)
	return &hadv1.ClearResourceResponse{Operation: o}, err
}

func (e *engine) FreezeSystem(_ context.Context, r *hadv1.FreezeSystemRequest) (*hadv1.FreezeSystemResponse, error) {
	o, err := e.change("FreezeSystem", r)
	return &hadv1.FreezeSystemResponse{Operation: o}, err
}

func (e *engine) UnfreezeSystem(_ context.Context, r *hadv1.UnfreezeSystemRequest) (*hadv1.UnfreezeSystemResponse, error) {
	o, err := e.change("UnfreezeSystem", r)
	return &hadv1.UnfreezeSystemResponse{Operation: o}, err
}

func (e *engine) ForceSystem(_ context.Context, r *hadv1.ForceSystemRequest) (*hadv1.ForceSystemResponse, error) {
	o, err := e.change("ForceSystem", r)
	return &hadv1.ForceSystemResponse{Operation: o}, err
}

func (e *engine) StopSystem(_ context.Context, r *hadv1.StopSystemRequest) (*hadv1.StopSystemResponse, error) {
	o, err := e.change("StopSystem", r)
	return &hadv1.StopSystemResponse{Operation: o}, err
}

func (e *engine) DumpConfig(_ context.Context, r *hadv1.DumpConfigRequest) (*hadv1.DumpConfigResponse, error) {
	o, err := e.change("DumpConfig", r)
	return &hadv1.DumpConfigResponse{Operation: o}, err
}

// root is a system named sysA without daemons.
func root(t *testing.T) paths.Root {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek") // short: sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := paths.Root(dir)
	for _, d := range []string{r.RunDir(), r.ConfigDir(), r.LogDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(r.Config("sysname"), []byte("sysA\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

// serve lets the engine answer at the root.
func serve(t *testing.T, r paths.Root, e *engine) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", r.Socket("had"))
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	hadv1.RegisterSystemServiceServer(s, e)
	hadv1.RegisterGroupServiceServer(s, e)
	hadv1.RegisterResourceServiceServer(s, e)
	hadv1.RegisterTypeServiceServer(s, e)
	hadv1.RegisterClusterServiceServer(s, e)
	hadv1.RegisterConfigServiceServer(s, e)
	hadv1.RegisterAgentServiceServer(s, e)
	hadv1.RegisterEventServiceServer(s, e)
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	return s.Stop
}
