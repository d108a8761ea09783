package engine

import "time"

// SystemStatus is a system as the replica knows it.
type SystemStatus struct {
	Name SystemID
	// Node is the LLT node id, -1 if it never joined.
	Node  int
	State SystemState
	// TFrozen and Frozen are the temporary and the persistent freeze.
	TFrozen, Frozen bool
	// InView: had there is a member of port h.
	InView bool
	// DaemonDown: the machine lives without had (DDNA).
	DaemonDown bool
	Jeopardy   bool
	// Evidence that it is gone, if it is.
	Evidence    Evidence
	Incarnation uint64
	// Since is the engine time of the last change of State.
	Since time.Duration
	// WaitingFor names what it waits for and the command that leads out.
	WaitingFor string
}

// GroupOnSystemStatus is a group on one system.
type GroupOnSystemStatus struct {
	System SystemID
	// State is VCS's text without outer bars: "ONLINE", "OFFLINE|FAULTED".
	State        string
	Probed       bool
	AutoDisabled bool
	// AutoDisabledWhy says why, for people.
	AutoDisabledWhy string
	// ActiveCount is the number of OnOff resources online or going online.
	ActiveCount int
	// Stale: the system is not in the view; this is the last that was known.
	Stale bool
	Since time.Duration
}

// GroupStatus is a group as the replica knows it.
type GroupStatus struct {
	Name string
	// Parallel is the attribute: 0 failover, 1 parallel.
	Parallel        int
	TFrozen, Frozen bool
	// IntentOnline is VCS's attribute: the group should be online.
	IntentOnline bool
	// Systems in the order of SystemList's priorities.
	Systems []GroupOnSystemStatus
	// Hindrances are what stands in its way now, each with a way out.
	Hindrances []string
	Resources  []string
}

// ResourceOnSystemStatus is a resource on one system.
type ResourceOnSystemStatus struct {
	System SystemID
	// State is VCS's text with flags: "ONLINE|STATE UNKNOWN".
	State string
	// IState is VCS's text: "not waiting"; IStateCode is hastatus's: "W_ONLINE".
	IState, IStateCode string
	Flags              string
	Probed             bool
	Confidence         int
	// Reason is the last sentence of its agent scheduler.
	Reason string
	Stale  bool
	// Since is the engine time of the last report.
	Since time.Duration
}

// ResourceStatus is a resource as the replica knows it.
type ResourceStatus struct {
	Name, Group, Type string
	// Category is OnOff, OnOnly or None.
	Category string
	Critical bool
	Enabled  bool
	Systems  []ResourceOnSystemStatus
}

// Status is the whole replica, sorted by name, for readers.
type Status struct {
	Pos Pos
	// Time is engine time.
	Time      time.Duration
	Cluster   string
	Systems   []SystemStatus
	Groups    []GroupStatus
	Resources []ResourceStatus
}
