package engine

import (
	"time"

	"github.com/evenkeel/evenkeel/services/had/resource"
)

// LogicVersion is the version of the rules that this engine applies. It is
// part of every event and of the snapshot, so that systems that would decide
// differently never do so unnoticed (R22).
const LogicVersion = 4

// Bounds of what the state remembers.
const (
	keptExplanations = 1000
	keptRequests     = 4096
)

// onlineRetry is how long the engine waits after a scheduler refused to start
// a resource (no lease, fencing not armed) before it asks again.
const onlineRetry = 2 * time.Second

// state is everything that is replicated. Its JSON is canonical: structs in
// order of declaration, maps sorted by encoding/json.
type state struct {
	Logic      int                             `json:"logic_version"`
	Pos        Pos                             `json:"pos"`
	Now        time.Duration                   `json:"now"`
	Main       string                          `json:"main,omitempty"`
	Files      []File                          `json:"files,omitempty"`
	Generation uint64                          `json:"generation"`
	Unfenced   bool                            `json:"unfenced,omitempty"`
	LastID     resource.EffectID               `json:"last_id"`
	Wish       time.Duration                   `json:"wish,omitempty"`
	Systems    map[string]*system              `json:"systems"`
	Groups     map[string]*group               `json:"groups"`
	Resources  map[string]map[string]*instance `json:"resources"`
	Requests   []CommandResult                 `json:"requests,omitempty"`
	Why        []Explanation                   `json:"explanations,omitempty"`
	// Agents are the agents by type, then system.
	Agents map[string]map[string]*agentOn `json:"agents,omitempty"`
	// LastOnline is where each resource was online last.
	LastOnline map[string]SystemID `json:"last_online,omitempty"`
	// LastTrigger is the id of the last RunTrigger.
	LastTrigger uint64      `json:"last_trigger,omitempty"`
	Conf        configState `json:"conf,omitzero"`
}

// system is one system.
type system struct {
	Node        int           `json:"node"`
	State       SystemState   `json:"state"`
	Since       time.Duration `json:"since"`
	Incarnation uint64        `json:"incarnation,omitempty"`
	ConfigValid bool          `json:"config_valid,omitempty"`
	// InH and InA: member of port h and of port a.
	InH      bool `json:"in_h,omitempty"`
	InA      bool `json:"in_a,omitempty"`
	Jeopardy bool `json:"jeopardy,omitempty"`
	// Clean: it left port h after everything there was offline.
	Clean   bool `json:"clean,omitempty"`
	TFrozen bool `json:"tfrozen,omitempty"`
	Yielded bool `json:"yielded,omitempty"`
	// Draining: it will be frozen when its groups have moved away.
	Draining bool `json:"draining,omitempty"`
	// DrainedBy is who wants it frozen persistently then.
	DrainedBy *string `json:"drained_by,omitempty"`
	// Lost is set while it is gone from port a.
	Lost *loss `json:"lost,omitempty"`

	// LoadSet and DynamicLoad are what hasys -load said; Over is set while the
	// load is above LoadWarningLevel.
	LoadSet     bool      `json:"load_set,omitempty"`
	DynamicLoad int       `json:"dynamic_load,omitempty"`
	Over        *overload `json:"over,omitempty"`
	// Meters are its own measurements, nil before the first.
	Meters map[string]*meter `json:"meters,omitempty"`
	// Info and Version are what it says of its machine and of its had.
	Info    string `json:"info,omitempty"`
	Version string `json:"version,omitempty"`
	// NoAutoDisable: hastop -noautodisable stopped it. Reboot: its machine goes
	// down after this stop, and frozen groups are left to it.
	NoAutoDisable bool `json:"no_auto_disable,omitempty"`
	Reboot        bool `json:"reboot,omitempty"`
	// Down: had there went while the machine stayed, at engine time DownSince;
	// Late: longer than ShutdownTimeout ago.
	Down      bool          `json:"down,omitempty"`
	DownSince time.Duration `json:"down_since,omitempty"`
	Late      bool          `json:"late,omitempty"`
	// Restarted: had there came back on a machine that never went.
	Restarted bool `json:"restarted,omitempty"`
	// FrozenBy is who froze it temporarily, or drains it. It stands last, so
	// that what every event looks at stays in one line of the cache.
	FrozenBy string `json:"frozen_by,omitempty"`
}

// overload is a load above LoadWarningLevel.
type overload struct {
	Since  time.Duration `json:"since"`
	Warned bool          `json:"warned,omitempty"`
}

type loss struct {
	Evidence  Evidence      `json:"evidence"`
	Detail    string        `json:"detail,omitempty"`
	Jeopardy  bool          `json:"jeopardy,omitempty"`
	StopBound time.Duration `json:"stop_bound,omitempty"`
}

// group is what changes about a group.
type group struct {
	TFrozen bool `json:"tfrozen,omitempty"`
	course
	// Zones are the courses of a hybrid group, by zone; it has no other.
	Zones map[string]*course  `json:"zones,omitempty"`
	On    map[string]*groupOn `json:"on"`
	// FrozenBy is who froze it temporarily.
	FrozenBy string `json:"frozen_by,omitempty"`
}

// course is where a group is heading: one for a group, but one for each zone
// of a hybrid group. Engine.course finds it.
type course struct {
	// Intent is VCS's IntentOnline.
	Intent bool `json:"intent,omitempty"`
	// UserOffline: a user took it offline, so that it does not start by itself.
	UserOffline bool `json:"user_offline,omitempty"`
	// Move is a switch under way; Due a start that is owed.
	Move *move `json:"move,omitempty"`
	Due  *due  `json:"due,omitempty"`
	// Stuck is the last explanation of why something owed does not happen.
	Stuck string `json:"stuck,omitempty"`
	// AutoClears counts the automatic clears (AutoClearLimit) since a user
	// last took the group in hand; ClearAt is the engine time of the next.
	AutoClears int           `json:"auto_clears,omitempty"`
	ClearAt    time.Duration `json:"clear_at,omitempty"`
}

type move struct {
	From SystemID `json:"from"`
	To   SystemID `json:"to"`
	Why  string   `json:"why"`
	// NoPre: its target's preonline trigger is not asked.
	NoPre bool `json:"no_pre,omitempty"`
}

// due is a start that the cluster owes a group since it lost its system.
type due struct {
	From SystemID `json:"from"`
	Why  string   `json:"why"`
	// ByResource: a resource's fault, else a system's.
	ByResource bool `json:"by_resource,omitempty"`
	// Persistent: the resource was a persistent one (AutoRestart).
	Persistent bool `json:"persistent,omitempty"`
	// ByGroup: it gave way to a group that it depends on.
	ByGroup bool `json:"by_group,omitempty"`
	// Prefer is the target of a switch that its system's end cut short.
	Prefer SystemID `json:"prefer,omitempty"`
	// NoPre: the preonline trigger of Prefer is not asked.
	NoPre bool `json:"no_pre,omitempty"`
	// Told: that no system takes the group was logged and told by nofailover.
	Told bool `json:"told,omitempty"`
}

// The reasons why a group is being stopped on a system.
const (
	stopUser      = "user"
	stopFault     = "fault"
	stopSwitch    = "switch"
	stopHastop    = "hastop"
	stopViolation = "violation"
	stopChild     = "child"
)

// groupOn is a group on one system.
type groupOn struct {
	// Fresh: had joined there since the group last had a home; autostart may
	// count on it.
	Fresh bool `json:"fresh,omitempty"`
	// Probed: all enabled resources are probed there.
	Probed bool `json:"probed,omitempty"`
	// WasActive: it was active there when had went; adopt or restart.
	WasActive bool `json:"was_active,omitempty"`
	// Faulted: a critical resource, or one that carries one, faulted.
	Faulted     bool `json:"faulted,omitempty"`
	Violation   bool `json:"violation,omitempty"`
	AutoEnabled bool `json:"autoenabled,omitempty"`
	Starting    bool `json:"starting,omitempty"`
	// Stopping is the reason while it is taken offline.
	Stopping string `json:"stopping,omitempty"`
	// Cause says why it gives way to a group that it depends on.
	Cause string `json:"cause,omitempty"`
	// Owed: it is started there when its dependencies are met again.
	Owed bool `json:"owed,omitempty"`
	// After: it goes offline only after the groups that require it, wherever
	// they are (hagrp -offline -propagate).
	After bool `json:"after,omitempty"`
	// Waits is the last explanation of what it waits for there.
	Waits string `json:"waits,omitempty"`
	// ByPersistent: the fault that stops it is a persistent resource's.
	ByPersistent bool          `json:"by_persistent,omitempty"`
	Retries      int           `json:"retries,omitempty"`
	RetriedAt    time.Duration `json:"retried_at,omitempty"`
	MonitorOnly  bool          `json:"monitor_only,omitempty"`
	// WasOff: it was seen OFFLINE there since it was last ONLINE.
	WasOff bool `json:"was_off,omitempty"`
	// Pre is a start that waits for the preonline trigger.
	Pre *preOnline `json:"preonline,omitempty"`
	// Vetoed says why the preonline trigger forbade a start that was owed.
	Vetoed string `json:"vetoed,omitempty"`
	// NotInLoad and NotInMeters: it started since its system's load was last
	// told, or measured.
	NotInLoad   bool `json:"not_in_load,omitempty"`
	NotInMeters bool `json:"not_in_meters,omitempty"`
	// Shown is the state last told to watchers.
	Shown string        `json:"shown,omitempty"`
	Since time.Duration `json:"since"`
}

type want uint8

const (
	wantNothing want = iota
	wantOnline
	wantOffline
)

// instance is a resource on one system. There is one for each system of each
// resource's group: what every report reads comes first, and nothing here is
// wider than it need be.
type instance struct {
	Probed bool           `json:"probed,omitempty"`
	State  resource.State `json:"state"`
	Flags  resource.Flags `json:"flags,omitempty"`
	Want   want           `json:"want,omitempty"`
	// WaitReason is the clean reason of an ADMIN_WAIT.
	WaitReason resource.AdminReason `json:"wait_reason,omitempty"`
	// Confidence is 0 to 100.
	Confidence uint8 `json:"confidence,omitempty"`
	// Halted: offline failed; wait for its report or for a user.
	Halted bool `json:"halted,omitempty"`
	// Flushed: the user gave up waiting for Pending.
	Flushed bool `json:"flushed,omitempty"`
	// Alone: offline without regard to parents.
	Alone bool `json:"alone,omitempty"`
	// MonitorMillis is the average time of its monitors.
	MonitorMillis int32 `json:"monitor_millis,omitempty"`
	// Pending is the online or offline that is under way (ID zero: none).
	Pending order `json:"pending,omitzero"`
	// Bound is the id below which reports are out of date (R6).
	Bound resource.EffectID `json:"bound,omitempty"`
	// RetryAt is the engine time of the next try after a refusal.
	RetryAt time.Duration `json:"retry_at,omitempty"`
	Since   time.Duration `json:"since"`
	// Unseen are other commands that no report has seen yet.
	Unseen []resource.Command `json:"unseen,omitempty"`
	Reason string             `json:"reason,omitempty"`
	// Shown is the state last told to watchers.
	Shown string `json:"shown,omitempty"`
	// Info is ResourceInfo; nil: Stale.
	Info *resource.Info `json:"info,omitempty"`
	// Born is LastID when it was added to a running cluster.
	Born uint64 `json:"born,omitempty"`
}

// order is a command to a resource's scheduler on a system, which need not be
// said again in the state of just that.
type order struct {
	ID   resource.EffectID    `json:"id"`
	Kind resource.CommandKind `json:"kind"`
}

func (i *instance) up() bool { return i.State == resource.StateOnline }

// inDoubt: it waits for an administrator and may be half up (I1).
func (i *instance) inDoubt() bool { return i.Flags&resource.FlagAdminWait != 0 }

func (i *instance) raising() bool {
	return i.Want == wantOnline || i.Pending.Kind == resource.CommandOnline
}

// wants says whether it is on its way in a direction, or should be.
func (i *instance) wants(w want) bool {
	return i.Want == w || (w == wantOnline && i.Pending.Kind == resource.CommandOnline && i.Want != wantOffline && !i.Flushed)
}

func (i *instance) moving() bool { return i.Want != wantNothing || i.Pending.ID != 0 }

// forget drops what was asked of a scheduler that is gone.
func (i *instance) forget() {
	i.Want, i.Pending, i.Bound, i.Unseen = wantNothing, order{}, 0, nil
	i.Halted, i.Flushed, i.Alone, i.RetryAt = false, false, false, 0
	i.Info, i.MonitorMillis = nil, 0
}
