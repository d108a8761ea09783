package schedule

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/resource"
)

// Operations says which entry points a type has (attribute Operations).
type Operations uint8

// The values of Operations.
const (
	OnOff Operations = iota
	OnOnly
	None
)

// String returns VCS's word.
func (o Operations) String() string {
	switch o {
	case OnOnly:
		return "OnOnly"
	case None:
		return "None"
	default:
		return "OnOff"
	}
}

// Limits are a resource's static attributes after overrides. Intervals and
// timeouts are in seconds, as VCS has them.
type Limits struct {
	RestartLimit           int
	OnlineRetryLimit       int
	OnlineWaitLimit        int
	OfflineWaitLimit       int
	CleanRetryLimit        int // 0: without limit
	ToleranceLimit         int
	FaultOnMonitorTimeouts int // 0: never
	ConfInterval           int
	MonitorInterval        int
	OfflineMonitorInterval int // 0: never
	MonitorTimeout         int
	OnlineTimeout          int
	OfflineTimeout         int
	CleanTimeout           int
	OpenTimeout            int
	CloseTimeout           int
	NumThreads             int
	IntentionalOffline     bool
	AttrChangedTimeout     int
	ActionTimeout          int
	InfoTimeout            int
	InfoInterval           int // 0: only when asked
	LevelTwoMonitorFreq    int // 0: never
	AlertOnMonitorTimeouts int // 0: never
	// StatsFrequency is how many monitors make one average (MonitorStatsParam
	// with ComputeStats); 0: none is kept.
	StatsFrequency int
}

// DefaultLimits are VCS's defaults.
func DefaultLimits() Limits {
	return Limits{
		OnlineWaitLimit: 2, FaultOnMonitorTimeouts: 4, ConfInterval: 600,
		MonitorInterval: 60, OfflineMonitorInterval: 300, MonitorTimeout: 60,
		OnlineTimeout: 300, OfflineTimeout: 300, CleanTimeout: 60,
		OpenTimeout: 60, CloseTimeout: 60, NumThreads: 10,
		AttrChangedTimeout: 60, ActionTimeout: 30, InfoTimeout: 30,
	}
}

// Spec is what the scheduler needs to know about a resource on this system.
type Spec struct {
	Resource   string
	Type       string
	Operations Operations
	// Enabled is the attribute Enabled of resource and group here.
	Enabled bool
	// Protected: the group is failover or hybrid (R2).
	Protected bool
	// ManageFaultsNone: ADMIN_WAIT instead of clean.
	ManageFaultsNone bool
	// NoClean: the agent has no clean entry point.
	NoClean bool
	// IntentOnline: the last intent applied before this scheduler began was
	// ONLINE (R6); read when the resource is new only.
	IntentOnline bool
	// Seen is the number of the last command that the resource counts as
	// having seen before any has come: one that was added while the cluster
	// ran is younger than what was said of another of its name (R6).
	Seen   resource.EffectID
	Limits Limits
}

func seconds(n int) vclock.Duration { return time.Duration(n) * time.Second }
