package policy

import (
	"fmt"
	"time"
)

// Evidence says why a system that left port a is taken as gone (R1).
type Evidence string

// The kinds of evidence, in the words of gab's contract.
const (
	EvidenceNone       Evidence = ""
	EvidenceClean      Evidence = "CLEAN"
	EvidencePoweredOff Evidence = "POWERED_OFF"
	EvidenceCut        Evidence = "CUT"
	EvidenceExpired    Evidence = "EXPIRED"
	EvidenceVouched    Evidence = "VOUCHED"
	EvidenceAssumed    Evidence = "ASSUMED"
)

// Loss is what is known about a system that left.
type Loss struct {
	System   string   `json:"system"`
	Evidence Evidence `json:"evidence,omitempty"`
	// FencingDisabled: the cluster runs without fencing.
	FencingDisabled bool `json:"fencing_disabled,omitempty"`
	// Jeopardy: it was lost over its last link while in jeopardy.
	Jeopardy bool `json:"jeopardy,omitempty"`
	// StopBound is T_stop; zero is infinite.
	StopBound time.Duration `json:"stop_bound,omitempty"`
	// Late: had there had been gone for longer than ShutdownTimeout.
	Late bool `json:"late,omitempty"`
}

// Suffices says whether a group that accepts an overlap (zero: none) may start
// elsewhere on what is known, and why or why not (R1).
func Suffices(l Loss, acceptOverlap time.Duration) (bool, string) {
	switch l.Evidence {
	case EvidenceClean:
		return true, l.System + " left with nothing online"
	case EvidencePoweredOff:
		return true, l.System + " is confirmed to be powered off"
	case EvidenceExpired:
		return true, "the watchdog of " + l.System + " has fired by now"
	case EvidenceVouched:
		return true, "an operator vouched that " + l.System + " is down"
	case EvidenceAssumed:
		return assumed(l)
	case EvidenceCut:
		return cut(l, acceptOverlap)
	default:
		return false, "nothing proves that " + l.System + " is down"
	}
}

// AtLeast says whether evidence a proves as much as b does.
func AtLeast(a, b Evidence) bool { return a.rank() >= b.rank() }

func (e Evidence) rank() int {
	switch e {
	case EvidenceClean, EvidencePoweredOff, EvidenceExpired, EvidenceVouched:
		return 3
	case EvidenceCut:
		return 2
	case EvidenceAssumed:
		return 1
	default:
		return 0
	}
}

func assumed(l Loss) (bool, string) {
	switch {
	case !l.FencingDisabled:
		return false, "that " + l.System + " is down is only assumed, which counts in fencing mode disabled alone"
	case l.Jeopardy:
		return false, l.System + " was lost in jeopardy (over its last link), so a dead link and a dead system look alike"
	case l.Late:
		return false, "had on " + l.System + " had been gone for longer than its ShutdownTimeout when " + l.System + " was lost, and that it is down is only assumed"
	default:
		return true, l.System + " is assumed to be down (fencing is disabled)"
	}
}

func cut(l Loss, acceptOverlap time.Duration) (bool, string) {
	head := l.System + " is cut from storage, but its addresses and processes may live on"
	switch {
	case acceptOverlap == 0:
		return false, head
	case l.StopBound == 0:
		return false, head + " without end: it announced no watchdog"
	case acceptOverlap < l.StopBound:
		return false, fmt.Sprintf("%s for %s, longer than the accepted overlap of %s", head, l.StopBound, acceptOverlap)
	default:
		return true, fmt.Sprintf("%s is cut from storage and stops within the accepted overlap of %s", l.System, acceptOverlap)
	}
}
