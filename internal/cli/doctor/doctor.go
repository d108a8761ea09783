// Package doctor finds what is wrong in a cluster and names the command that
// mends it. Each check is a small pure function over facts that were gathered
// before.
package doctor

import (
	fencingv1 "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// Facts are what the checks look at. What could not be learned is nil or
// empty; the check that needs it then says nothing.
type Facts struct {
	// Self is this system's name.
	Self string
	// HadDown says why had does not answer, "" if it does.
	HadDown string
	Status  *hadv1.GetStatusResponse
	// State of the running configuration.
	State *hadv1.ConfigState
	// Running configuration, and that on this system's disk.
	Running, Disk *maincf.Config
	// DiskMistakes are those of the files on this system's disk now; Disk is
	// nil then.
	DiskMistakes []string
	Agents       []*hadv1.Agent
	Fencing      *fencingv1.GetStatusResponse
	// FencingDown says why fencing does not answer, "" if it does.
	FencingDown string
	// KeyFile is the path of the cluster key, KeyMode its permission bits; 0
	// if there is none.
	KeyFile string
	KeyMode uint32
	// Volumes are the file systems of logs, state and configuration.
	Volumes []Volume
	// Devices are the network interfaces of this system; nil if not known.
	Devices map[string]bool
	// Triggers are the programs of the triggers directory, TriggersDir.
	Triggers    map[string]bool
	TriggersDir string
}

// Volume is one file system.
type Volume struct {
	Path string
	// Free and Size in bytes.
	Free, Size uint64
}

// Finding is one thing that is wrong.
type Finding struct {
	// Check is the id of the check; stable.
	Check string `json:"check"`
	// Severity is ERROR (an application is down or would not be saved) or
	// WARNING.
	Severity string `json:"severity"`
	// What is wrong, in one sentence.
	What string `json:"what"`
	// Why it matters.
	Why string `json:"why"`
	// Command mends it, or shows more where nobody else can decide.
	Command string `json:"command"`
}

// Check is one examination.
type Check struct {
	// ID is stable: programs match it.
	ID string
	// About says what it looks at, for people.
	About string
	look  func(f *Facts) []Finding
}

// Look returns what the check finds.
func (c Check) Look(f *Facts) []Finding {
	found := c.look(f)
	for i := range found {
		found[i].Check = c.ID
	}
	return found
}

// Examine makes all checks, in their order.
func Examine(f *Facts) []Finding {
	found := []Finding{}
	for _, c := range Checks() {
		found = append(found, c.Look(f)...)
	}
	return found
}

// Checks are all of them, the most urgent first.
func Checks() []Check {
	return []Check{
		{"had-down", "the engine of this system answers", hadDown},
		{"gate-held", "views are released", gateHeld},
		{"system-state", "every system is RUNNING", systemState},
		{"resource-faulted", "no resource is faulted", resourceFaulted},
		{"admin-wait", "no resource waits for the administrator", adminWait},
		{"group-autodisabled", "the engine knows where every group is", groupAutodisabled},
		{"group-stuck", "nothing keeps a group from being online", groupStuck},
		{"resource-unknown", "every monitor tells a state", resourceUnknown},
		{"resource-unprobed", "every enabled resource is probed", resourceUnprobed},
		{"agent-down", "every agent of this system runs", agentDown},
		{"fencing-down", "fencing answers", fencingDown},
		{"fencing-broken", "a lost system could be proved gone", fencingBroken},
		{"self-stop", "this system can stop itself", selfStop},
		{"jeopardy", "every system is seen over two links", jeopardy},
		{"frozen", "nothing is frozen", frozen},
		{"config-unconfirmed", "no change waits to be confirmed", configUnconfirmed},
		{"config-unsaved", "every change is on the disks", configUnsaved},
		{"config-writable", "the configuration is read-only", configWritable},
		{"config-disk", "the configuration on this disk is good", configDisk},
		{"config-differs", "the disk says what runs", configDiffers},
		{"dump-failed", "every system wrote the last dump", dumpFailed},
		{"group-alone", "every failover group has a second system", groupAlone},
		{"autostart-list", "AutoStartList is within SystemList", autoStartList},
		{"device-missing", "network devices of resources exist here", deviceMissing},
		{"trigger-missing", "triggers that are enabled exist here", triggerMissing},
		{"versions", "all systems run the same release", versions},
		{"key-permissions", "nobody else reads the cluster key", keyPermissions},
		{"disk-full", "there is room for logs and state", diskFull},
	}
}
