package decision

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// Freeze says how a group, or a system as far as the group goes, is frozen, in
// words: "hagrp -freeze by root"; both empty if it is not.
type Freeze struct {
	Group  string `json:"group,omitempty"`
	System string `json:"system,omitempty"`
}

// Any says whether either is frozen.
func (f Freeze) Any() bool { return f.Group != "" || f.System != "" }

// FrozenInFile is how a freeze is told that the configuration holds: it ends by
// another command than a temporary one.
const FrozenInFile = "Frozen = 1 in the configuration"

// GroupOut and SystemOut are the commands that end a freeze.
func (f Freeze) GroupOut(group string) string {
	return "hagrp -unfreeze " + group + pick(f.Group == FrozenInFile, " -persistent", "")
}

// SystemOut: see GroupOut.
func (f Freeze) SystemOut(system string) string {
	return "hasys -unfreeze " + pick(f.System == FrozenInFile, "-persistent ", "") + system
}

// Out is what ends the freeze of a group on a system, one command or both.
func (f Freeze) Out(group, system string) string {
	switch {
	case f.Group != "" && f.System != "":
		return f.GroupOut(group) + " and " + f.SystemOut(system)
	case f.System != "":
		return f.SystemOut(system)
	}
	return f.GroupOut(group)
}

// Doubt are the facts about a system on which a group is autodisabled or not
// (engine.md 4.10, R1).
type Doubt struct {
	System string `json:"system"`
	// Parallel: nothing needs to be proven for such a group.
	Parallel bool `json:"parallel,omitempty"`
	// AutoEnabled: an operator gave his word (hagrp -autoenable).
	AutoEnabled bool `json:"auto_enabled,omitempty"`
	// InView: had runs there; MachineUp: the machine is there.
	InView    bool   `json:"in_view,omitempty"`
	MachineUp bool   `json:"machine_up,omitempty"`
	State     string `json:"state,omitempty"`
	// Unprobed are the resources that nobody has looked at there.
	Unprobed []string `json:"unprobed,omitempty"`
	// Clean: had left after everything was offline; Never: it was never there.
	Clean bool `json:"clean,omitempty"`
	Never bool `json:"never,omitempty"`
	// ClusterService: doubt alone holds that group back.
	ClusterService bool `json:"cluster_service,omitempty"`
	// MayRun: it was active there when last heard of, or nobody had looked;
	// Active: it was.
	MayRun bool `json:"may_run,omitempty"`
	Active bool `json:"active,omitempty"`
	// Loss is what is known of how the system went, AcceptOverlap what the
	// group accepts.
	Loss          *policy.Loss  `json:"loss,omitempty"`
	AcceptOverlap time.Duration `json:"accept_overlap,omitempty"`
}

// Proven says whether it is proven that the group cannot run on a system that
// is out of the view, and why or why not.
func (d Doubt) Proven() (bool, string) {
	switch {
	case d.Never:
		return true, d.System + " was never there"
	case d.InView:
		return false, d.System + " is in the view"
	case d.Clean:
		return true, d.System + " left with nothing online"
	case d.MachineUp:
		return false, "had is not running on " + d.System + " while the machine is up"
	case d.Loss == nil:
		return true, d.System + " was never there"
	}
	return policy.Suffices(*d.Loss, d.AcceptOverlap)
}

// AutoDisabled says why a failover group is autodisabled there and what leads
// out, or "".
func (d Doubt) AutoDisabled(group string) (why, wayOut string) {
	enable := "hagrp -autoenable " + group + " -sys " + d.System
	switch {
	case d.AutoEnabled || d.Parallel:
		return "", ""
	case d.InView && len(d.Unprobed) > 0:
		return "not probed there yet: " + strings.Join(d.Unprobed, ", "), d.probeHint(enable)
	case d.InView:
		return "", ""
	case d.MachineUp && !d.Clean && d.ClusterService && !d.MayRun:
		return "", "" // Doubt alone holds it back.
	case d.MachineUp && !d.Clean:
		return "had is not running there while the machine is up", pick(d.Active, WayOutDaemonDown(d.System), enable)
	}
	ok, reason := d.Proven()
	if ok || !d.MayRun {
		return "", ""
	}
	return reason, "ha fencing vouch " + d.System + " (when " + d.System + " is off for certain)"
}

func (d Doubt) probeHint(enable string) string {
	switch d.State {
	case "STALE_ADMIN_WAIT", "ADMIN_WAIT":
		return "hasys -force " + d.System
	case "RUNNING", "LEAVING":
		return "hares -probe " + d.Unprobed[0] + " -sys " + d.System + ", or " + enable
	}
	return "wait until had is RUNNING on " + d.System + ", or " + enable
}

// WayOutDaemonDown leads out where a machine lives without had.
func WayOutDaemonDown(system string) string {
	return "hastart on " + system + ", or power it off (then: ha fencing vouch " + system + ")"
}

// Refusal is why something is not done, with the number of its message.
type Refusal struct {
	Severity string `json:"severity"`
	ID       int    `json:"id"`
	Text     string `json:"text"`
}

func refuse(id int, format string, args ...any) *Refusal {
	return &Refusal{Severity: "WARNING", ID: id, Text: fmt.Sprintf(format, args...)}
}

// Start are the facts on which a group may be brought online on a system or
// not (engine.md 4.1).
type Start struct {
	Group  string `json:"group"`
	System string `json:"system"`
	// Listed: the system is in the group's SystemList.
	Listed bool   `json:"listed"`
	State  string `json:"state,omitempty"`
	Freeze Freeze `json:"freeze,omitzero"`
	// Disabled: the group's Enabled is 0 there.
	Disabled  bool     `json:"disabled,omitempty"`
	Unprobed  []string `json:"unprobed,omitempty"`
	AdminWait string   `json:"admin_wait,omitempty"`
	// Held: a start there waits for its preonline trigger.
	Held bool `json:"held,omitempty"`
	// Unmet says which group dependency is not met there, UnmetWayOut what
	// leads out of that.
	Unmet       string `json:"unmet,omitempty"`
	UnmetWayOut string `json:"unmet_way_out,omitempty"`
	// Busy is the group's state there, if it is active or in transit; Here
	// permits that.
	Busy   string   `json:"busy,omitempty"`
	Here   bool     `json:"here,omitempty"`
	Faults []string `json:"faults,omitempty"`
	// FaultWayOut leads out of Faults.
	FaultWayOut string   `json:"fault_way_out,omitempty"`
	Lacking     []string `json:"lacking,omitempty"`
	// Others are the other systems of a failover group.
	Others []Other `json:"others,omitempty"`
}

// Other is a system where a failover group must not be, that is to start on
// another.
type Other struct {
	Doubt     Doubt  `json:"doubt"`
	Held      bool   `json:"held,omitempty"`
	AdminWait string `json:"admin_wait,omitempty"`
	// Busy is the group's state there, if it is active or in transit.
	Busy string `json:"busy,omitempty"`
}

// MessageUnmet is the message of a group dependency that is not met.
const MessageUnmet = 10206

// Refusal says why the group may not start there; nil if it may.
func (s Start) Refusal() *Refusal {
	g, n := s.Group, s.System
	switch {
	case !s.Listed:
		return refuse(10135, "System %s is not in the SystemList of group %s", n, g)
	case s.State != "RUNNING":
		return refuse(10200, "System %s is not available: it is %s; hastart it, or choose another system", n, s.State)
	case s.Freeze.Group != "":
		return refuse(40208, "Group %s is frozen; %s first", g, s.Freeze.GroupOut(g))
	case s.Freeze.System != "":
		return refuse(40207, "System %s is frozen; %s first", n, s.Freeze.SystemOut(n))
	case s.Disabled:
		return refuse(10164, "Group %s is disabled on system %s; hagrp -enable %s -sys %s first", g, n, g, n)
	case len(s.Unprobed) > 0:
		return refuse(10162, "Group %s is not fully probed on system %s: %s; hares -probe it, or wait", g, n, strings.Join(s.Unprobed, ", "))
	case s.AdminWait != "":
		return WaitsForAdmin(g, s.AdminWait, n)
	case s.Held:
		return HeldRefusal(g, n)
	case s.Unmet != "":
		return refuse(MessageUnmet, "Group %s cannot be online on system %s: it %s; way out: %s", g, n, s.Unmet, s.UnmetWayOut)
	case s.Busy != "" && !s.Here:
		return refuse(10165, "Group %s is active or in transition on system %s (%s); wait, or hagrp -flush %s -sys %s", g, n, s.Busy, g, n)
	case len(s.Faults) > 0:
		no := refuse(10284, "Cannot online a faulted resource on system %s: %s; %s first", n, strings.Join(s.Faults, ", "), s.FaultWayOut)
		no.Severity = "NOTICE"
		return no
	case len(s.Lacking) > 0:
		return refuse(90216, "Limits of system %s do not meet the Prerequisites of group %s: %s", n, g, strings.Join(s.Lacking, ", "))
	}
	return s.elsewhere()
}

// elsewhere says why a failover group is not certainly offline on all other
// systems.
func (s Start) elsewhere() *Refusal {
	for _, o := range s.Others {
		n := o.Doubt.System
		if o.Held {
			return HeldRefusal(s.Group, n)
		}
		if why, out := o.Doubt.AutoDisabled(s.Group); why != "" {
			return refuse(10449, "Group %s is autodisabled on system %s: %s; way out: %s", s.Group, n, why, out)
		}
		if o.AdminWait != "" {
			return WaitsForAdmin(s.Group, o.AdminWait, n)
		}
		if o.Busy != "" {
			return refuse(10165, "Group %s is not offline on system %s: it is %s; wait, or hagrp -switch or -offline it", s.Group, n, o.Busy)
		}
	}
	return nil
}

// HeldRefusal refuses what would pass by a preonline trigger.
func HeldRefusal(group, system string) *Refusal {
	return refuse(90214, "Group %s waits for its preonline trigger on system %s; %s", group, system, NoPreHint(group, system))
}

// NoPreHint leads out of waiting for a preonline trigger.
func NoPreHint(group, system string) string {
	return "hagrp -online -nopre " + group + " -sys " + system + " goes on without it; hagrp -flush " + group + " -sys " + system + " ends it"
}

// WaitsForAdmin refuses what a resource in ADMIN_WAIT forbids.
func WaitsForAdmin(group, resource, system string) *Refusal {
	return refuse(90210, "Group %s has resource %s in ADMIN_WAIT on system %s; %s", group, resource, system, ClearWaitHint(group, system))
}

// ClearWaitHint leads out of ADMIN_WAIT.
func ClearWaitHint(group, system string) string {
	return "put it right, then hagrp -clearadminwait " + group + " -sys " + system
}

func onlineHint(group string) string { return "hagrp -online " + group + " -any" }

// Elsewhere are the facts about a system that may stand in the way of a move.
type Elsewhere struct {
	Doubt  Doubt `json:"doubt"`
	Active bool  `json:"active,omitempty"`
}

// Path says why a group may not be moved: a third system is in doubt, or it is
// active there too; nil if it may.
func Path(group, from, to string, places []Elsewhere) *Refusal {
	for _, p := range places {
		n := p.Doubt.System
		if why, out := p.Doubt.AutoDisabled(group); why != "" {
			return refuse(10449, "Group %s is autodisabled on system %s: %s; way out: %s", group, n, why, out)
		}
		if n != from && n != to && p.Active {
			return refuse(10165, "Group %s is active on system %s too; take it offline there first", group, n)
		}
	}
	return nil
}

// FirstUnmet returns a system that only a group dependency forbids, or "" if
// there is none, or if elsewhere a fault alone is in the way.
func FirstUnmet(candidates []policy.Candidate) string {
	for _, c := range candidates {
		if c.State == "RUNNING" && c.Unmet == "" && len(c.Faulted) > 0 {
			return ""
		}
	}
	for _, c := range candidates {
		if c.Unmet != "" && c.Refusal() == c.Unmet {
			return c.System
		}
	}
	return ""
}
