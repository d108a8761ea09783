package operate

import (
	"context"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Table returns all operations on systems, groups and resources.
func Table() []Operation {
	table := append(groupOperations(), resourceOperations()...)
	table = append(table, enablingOperations()...)
	table = append(table, informationOperations()...)
	table = append(table, systemOperations()...)
	return append(table, agentOperations()...)
}

func groupOperations() []Operation {
	return []Operation{
		{
			Object: "group", Verb: "online", Command: "hagrp", Action: "online", System: SystemOrAny, Options: []Option{anySystem, propagate, noPreOnline, checkPartial},
			Short:   "Bring a group online",
			Long:    "Brings a service group online on a system, its resources in the order of their dependencies. A failover group must be offline everywhere.",
			Example: "  ha group online app --system sysA\n  ha group online app --any --wait",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.OnlineGroup(ctx, &hadv1.OnlineGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, AnySystem: r.Any, Propagate: r.Propagate,
					NoPre: r.NoPreOnline, CheckPartial: r.CheckPartial})
			},
		}, {
			Object: "group", Verb: "offline", Command: "hagrp", Action: "offline", System: SystemOrAny, Options: []Option{anySystem, propagate, force("also the group ClusterService")},
			Short:   "Take a group offline",
			Long:    "Takes a service group offline on a system, or with --any wherever it is online.",
			Example: "  ha group offline app --system sysA --wait=60s",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.OfflineGroup(ctx, &hadv1.OfflineGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, AnySystem: r.Any, Propagate: r.Propagate, Force: r.Force})
			},
		}, {
			Object: "group", Verb: "switch", Command: "hagrp", Action: "switch", System: SystemOrAny, Target: "to", Options: []Option{anySystem, noPreOnline},
			Short:   "Move a group to another system",
			Long:    "Takes a failover group offline where it is and brings it online on another system. See first what would happen: --plan.",
			Example: "  ha group switch app --to sysB --plan\n  ha group switch app --to sysB --wait",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.SwitchGroup(ctx, &hadv1.SwitchGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, ToSystem: r.System, AnySystem: r.Any, NoPre: r.NoPreOnline})
			},
		}, {
			Object: "group", Verb: "clear", Command: "hagrp", Action: "clear", System: SystemOptional,
			Short:   "Clear the faults of a group's resources",
			Long:    "Clears the faults of all resources of a group, on one system or on all, so that the group may come online there again. Repair what failed first: ha group explain tells what it was.",
			Example: "  ha group clear app --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.ClearGroup(ctx, &hadv1.ClearGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "group", Verb: "freeze", Command: "hagrp", Action: "freeze", Options: []Option{persistent},
			Short:   "Forbid every automatic and manual move of a group",
			Long:    "A frozen group is monitored, but the engine neither starts nor stops nor moves it, whatever happens.",
			Example: "  ha group freeze app\n  ha group freeze app --persistent",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.FreezeGroup(ctx, &hadv1.FreezeGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, Persistent: r.Persistent})
			},
		}, {
			Object: "group", Verb: "unfreeze", Command: "hagrp", Action: "unfreeze", Options: []Option{persistent},
			Short:   "End the freeze of a group",
			Long:    "Ends the temporary freeze of a group, or with --persistent the persistent one.",
			Example: "  ha group unfreeze app",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.UnfreezeGroup(ctx, &hadv1.UnfreezeGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, Persistent: r.Persistent})
			},
		}, {
			Object: "group", Verb: "flush", Command: "hagrp", Action: "flush", System: SystemRequired, Options: []Option{force("also while a resource is in ADMIN_WAIT")},
			Short:   "Stop waiting for what is under way in a group",
			Long:    "The engine no longer waits for the resources of the group that go online or offline on a system. Agents' entry points that run are not ended.",
			Example: "  ha group flush app --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.FlushGroup(ctx, &hadv1.FlushGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, Force: r.Force})
			},
		}, {
			Object: "group", Verb: "clearadminwait", Command: "hagrp", Action: "clearadminwait", System: SystemRequired, Options: []Option{fault},
			Short:   "End the wait for you of a group's resources",
			Long:    "With ManageFaults = NONE the engine does nothing about a fault but wait for you (ADMIN_WAIT). After your repair this clears the wait; with --fault the engine does what it does about a fault.",
			Example: "  ha group clearadminwait app --system sysA\n  ha group clearadminwait app --system sysA --fault",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.ClearAdminWaitGroup(ctx, &hadv1.ClearAdminWaitGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, Fault: r.Fault})
			},
		}, {
			Object: "group", Verb: "autoenable", Command: "hagrp", Action: "autoenable", System: SystemRequired,
			Short:   "Vouch that an autodisabled group is offline on a system",
			Long:    "You say that the group is not running on a system that the engine knows nothing about, so that it may start elsewhere. Make sure first: if it runs there, data are lost.",
			Example: "  ha group autoenable app --system sysB",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.AutoenableGroup(ctx, &hadv1.AutoenableGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		},
	}
}

// enablingOperations change the configuration, which must be writable.
func enablingOperations() []Operation {
	return []Operation{
		{
			Object: "group", Verb: "enable", Command: "hagrp", Action: "enable", System: SystemOptional,
			Short:   "Let a group run on a system, or on all",
			Long:    "Sets Enabled of a group, on one system or on all. It is a change of the configuration, which must be writable.",
			Example: "  ha group enable app --system sysB",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.EnableGroup(ctx, &hadv1.EnableGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "group", Verb: "disable", Command: "hagrp", Action: "disable", System: SystemOptional,
			Short:   "Forbid that a group is brought online on a system, or on all",
			Long:    "Clears Enabled of a group, on one system or on all; the group must be offline there. It is a change of the configuration, which must be writable.",
			Example: "  ha group disable app --system sysB",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.DisableGroup(ctx, &hadv1.DisableGroupRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "group", Verb: "enable-resources", Command: "hagrp", Action: "enableresources",
			Short:   "Let the agents take care of all resources of a group",
			Long:    "Sets Enabled of all resources of a group: their agents monitor them from then on. It is a change of the configuration, which must be writable.",
			Example: "  ha group enable-resources app",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.EnableGroupResources(ctx, &hadv1.EnableGroupResourcesRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan})
			},
		}, {
			Object: "group", Verb: "disable-resources", Command: "hagrp", Action: "disableresources",
			Short:   "Let nobody take care of the resources of a group",
			Long:    "Clears Enabled of all resources of a group: nobody monitors them from then on. It is a change of the configuration, which must be writable.",
			Example: "  ha group disable-resources app",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Groups.DisableGroupResources(ctx, &hadv1.DisableGroupResourcesRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan})
			},
		},
	}
}

func resourceOperations() []Operation {
	return []Operation{
		{
			Object: "resource", Verb: "online", Command: "hares", Action: "online", System: SystemRequired,
			Short:   "Bring a resource and what it requires online",
			Long:    "Brings one resource online on a system, after those that it requires.",
			Example: "  ha resource online app_ip --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.OnlineResource(ctx, &hadv1.OnlineResourceRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "resource", Verb: "offline", Command: "hares", Action: "offline", System: SystemRequired, Options: []Option{ignoreParent, parentProp},
			Short:   "Take a resource offline",
			Long:    "Takes one resource offline on a system; those that require it must be offline, or --ignore-parent given.",
			Example: "  ha resource offline app_ip --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.OfflineResource(ctx, &hadv1.OfflineResourceRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, IgnoreParent: r.IgnoreParent, ParentProp: r.ParentProp})
			},
		}, {
			Object: "resource", Verb: "offline-all", Command: "hares", Action: "offprop", System: SystemRequired, Options: []Option{ignoreParent},
			Short:   "Take a resource and all that it requires offline",
			Long:    "Takes one resource offline on a system, and then everything that it requires.",
			Example: "  ha resource offline-all app_ip --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.OfflineResource(ctx, &hadv1.OfflineResourceRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, IgnoreParent: r.IgnoreParent, Propagate: true})
			},
		}, {
			Object: "resource", Verb: "probe", Command: "hares", Action: "probe", System: SystemRequired,
			Short:   "Monitor a resource now",
			Long:    "Lets the agent monitor a resource on a system at once instead of at the next interval.",
			Example: "  ha resource probe app_ip --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.ProbeResource(ctx, &hadv1.ProbeResourceRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "resource", Verb: "clear", Command: "hares", Action: "clear", System: SystemOptional,
			Short:   "Clear the fault of a resource",
			Long:    "Clears the fault of a resource on one system or on all. Repair what failed first.",
			Example: "  ha resource clear app_ip --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.ClearResource(ctx, &hadv1.ClearResourceRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		},
	}
}

func informationOperations() []Operation {
	return []Operation{
		{
			Object: "resource", Verb: "refresh-info", Command: "hares", Action: "refreshinfo", System: SystemOptional,
			Short:   "Let the agents gather what they tell about a resource anew",
			Long:    "Runs the agent's entry point info for a resource, on one system or on all; the values of ResourceInfo follow.",
			Example: "  ha resource refresh-info app_mnt --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.RefreshResourceInfo(ctx, &hadv1.RefreshResourceInfoRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "resource", Verb: "flush-info", Command: "hares", Action: "flushinfo", System: SystemOptional,
			Short:   "Forget what agents told about a resource",
			Long:    "Forgets the values of ResourceInfo, on one system or on all; its State is Stale until the agent gathers it again.",
			Example: "  ha resource flush-info app_mnt",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Resources.FlushResourceInfo(ctx, &hadv1.FlushResourceInfoRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		},
	}
}

func agentOperations() []Operation {
	return []Operation{
		{
			Object: "agent", Verb: "start", Command: "haagent", Action: "start", System: SystemRequired,
			Short:   "Start an agent that was stopped or given up",
			Long:    "Starts the agent of a type on a system, after ha agent stop or after the engine gave it up because it kept dying.",
			Example: "  ha agent start IP --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Agents.StartAgent(ctx, &hadv1.StartAgentRequest{Type: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		}, {
			Object: "agent", Verb: "stop", Command: "haagent", Action: "stop", System: SystemRequired, Options: []Option{force("although resources of the type are online")},
			Short:   "Stop an agent; nobody monitors its resources then",
			Long:    "Ends the agent of a type on a system until it is started again. Its resources stay as they are.",
			Example: "  ha agent stop IP --system sysA --force",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Agents.StopAgent(ctx, &hadv1.StopAgentRequest{Type: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System, Force: r.Force})
			},
		}, {
			Object: "agent", Verb: "swap", System: SystemRequired,
			Short:   "Put a new build of an agent in the place of the running one",
			Long:    "Starts the program that now stands at the agent's path; when it describes itself well and the calls under way have ended, it takes over. Resources stay online and do not notice; a build that is no good changes nothing.",
			Example: "  ha agent swap IP --system sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Agents.SwapAgent(ctx, &hadv1.SwapAgentRequest{Type: r.Name, RequestId: r.RequestID, Plan: r.Plan, System: r.System})
			},
		},
	}
}

func systemOperations() []Operation {
	return []Operation{
		{
			Object: "system", Verb: "freeze", Command: "hasys", Action: "freeze", Options: []Option{persistent, evacuate},
			Short:   "Let no group start on a system",
			Long:    "No group comes online on a frozen system or leaves it, except by hand.",
			Example: "  ha system freeze sysA --evacuate",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Systems.FreezeSystem(ctx, &hadv1.FreezeSystemRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, Persistent: r.Persistent, Evacuate: r.Evacuate})
			},
		}, {
			Object: "system", Verb: "unfreeze", Command: "hasys", Action: "unfreeze", Options: []Option{persistent},
			Short:   "End the freeze of a system",
			Long:    "Ends the temporary freeze of a system, or with --persistent the persistent one.",
			Example: "  ha system unfreeze sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Systems.UnfreezeSystem(ctx, &hadv1.UnfreezeSystemRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan, Persistent: r.Persistent})
			},
		}, {
			Object: "system", Verb: "force", Command: "hasys", Action: "force",
			Short:   "Let a system that waits for you build the configuration from its disk",
			Long:    "The way out of STALE_ADMIN_WAIT and ADMIN_WAIT: the system loads its own main.cf, becomes RUNNING, and all others take the configuration from it. Check the file first: ha config verify.",
			Example: "  ha config verify /etc/evenkeel && ha system force sysA",
			call: func(ctx context.Context, h *connect.Had, r Request) (answer, error) {
				return h.Systems.ForceSystem(ctx, &hadv1.ForceSystemRequest{Name: r.Name, RequestId: r.RequestID, Plan: r.Plan})
			},
		},
	}
}
