package sim

import (
	"fmt"
	"slices"
	"time"
)

// When the faults of a what-if happen: after everything has started, far
// enough from each other for everything to be over, with default intervals.
const (
	whatIfFirst  = 2 * time.Minute
	whatIfSecond = 8 * time.Minute
	whatIfEnd    = 6 * time.Minute
)

// WhatIfFault is one thing that may go wrong.
type WhatIfFault struct {
	// System loses its power, or, if Resource is set, Resource breaks where its
	// group is at that moment.
	System, Resource string
}

// String is the fault for people.
func (f WhatIfFault) String() string {
	if f.Resource != "" {
		return "break " + f.Resource
	}
	return "crash " + f.System
}

func (f WhatIfFault) word() []string {
	if f.Resource != "" {
		return []string{"break", f.Resource, "home"}
	}
	return []string{"crash", f.System}
}

// WhatIf is what came of one combination of faults.
type WhatIf struct {
	Faults []WhatIfFault
	// Offline are the groups that were online without the faults and are
	// nowhere after them.
	Offline []GroupEnd
	// AllDown: no system was left to say.
	AllDown bool
	// Failure is an invariant that did not hold.
	Failure string
}

// WhatIfFaults are all single faults of a configuration: each system, and each
// resource that the engine reacts to.
func WhatIfFaults(opt Options) ([]WhatIfFault, error) {
	w, err := NewWorld(opt)
	if err != nil {
		return nil, err
	}
	var out []WhatIfFault
	for _, n := range w.nodes {
		out = append(out, WhatIfFault{System: n.name})
	}
	for _, g := range w.cfg.Groups {
		for _, r := range g.Resources {
			out = append(out, WhatIfFault{Resource: r.Name})
		}
	}
	return out, nil
}

// RunWhatIf plays a configuration with faults (none: the baseline). base are
// the groups of the baseline, nil when this is it.
func RunWhatIf(opt Options, base []GroupEnd, faults ...WhatIfFault) (WhatIf, []GroupEnd, error) {
	s := &Scenario{end: whatIfFirst}
	for i, f := range faults {
		at := whatIfFirst + time.Duration(i)*(whatIfSecond-whatIfFirst)
		s.steps = append(s.steps, step{at, fmt.Sprintf("what-if:%d", i+1), f.word()})
		s.end = at + whatIfEnd
	}
	opt.Scenario = s
	r, err := Run(opt)
	if err != nil {
		return WhatIf{}, nil, err
	}
	out := WhatIf{Faults: faults, Failure: r.Failure, AllDown: r.Ends == nil}
	for _, was := range base {
		if len(was.Online) == 0 || out.AllDown {
			continue
		}
		i := slices.IndexFunc(r.Ends, func(e GroupEnd) bool { return e.Group == was.Group })
		if i >= 0 && len(r.Ends[i].Online) == 0 {
			out.Offline = append(out.Offline, r.Ends[i])
		}
	}
	return out, r.Ends, nil
}
