package sim

import (
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// Shrunk is a failure made small.
type Shrunk struct {
	// Plan is the smallest found that fails, Result what comes of it.
	Plan   Plan
	Result Result
	// Runs is how many plans were tried. Was is how many faults there were.
	Runs, Was int
	// Tail are the last steps before the failure, oldest first.
	Tail []string
}

// Guarded is Run, in which a panic of a core is a failure like any other.
func Guarded(opt Options) (r Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = Result{Seed: opt.Seed, Failure: fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}, nil
		}
	}()
	return Run(opt)
}

// shrinker looks for a smaller plan that fails in the same way.
type shrinker struct {
	opt  Options
	kind string
	best Shrunk
	left int
}

// Shrink makes the plan of a failing run small: it leaves out faults one after
// the other and in parts, systems and groups, ends the faults sooner and makes
// the world kinder, as long as the same invariant breaks; at most runs plans
// are tried. It is false if the run does not fail, or is no random one.
func Shrink(opt Options, runs int) (Shrunk, bool) {
	plan := opt.Plan
	if plan == nil {
		p := Draw(opt)
		plan = &p
	}
	opt.Trace, opt.Story = nil, nil
	s := &shrinker{opt: opt, left: runs}
	if opt.Scenario != nil {
		return s.best, false
	}
	s.opt.Plan = plan
	first, err := Guarded(s.opt)
	if err != nil || first.Failure == "" {
		return s.best, false
	}
	s.kind = FailureKind(first.Failure)
	s.best = Shrunk{Plan: *plan, Result: first, Was: len(plan.Faults)}
	for before := -1; before != s.size() && s.left > 0; {
		before = s.size()
		s.endSooner()
		s.fewerFaults()
		s.fewerSystems()
		s.fewerGroups()
		s.kinder()
		s.simpler()
	}
	s.best.Runs = runs - s.left
	s.best.Tail = tailOf(s.opt, s.best.Plan)
	return s.best, true
}

// FailureKind is the invariant or rule of a failure: "I3", "panic".
func FailureKind(failure string) string {
	if _, rest, timed := strings.Cut(failure, ", step "); timed {
		if _, what, is := strings.Cut(rest, ": "); is {
			failure = what
		}
	}
	kind, _, _ := strings.Cut(failure, ":")
	if len(kind) > 12 {
		kind = kind[:12]
	}
	return kind
}

// size is what gets smaller.
func (s *shrinker) size() int {
	p := s.best.Plan
	return len(p.Faults)*1000 + len(systemsOf(p.Files))*100 + len(groupsOf(p.Files))*10 + s.troubles(p.Swarm)
}

func (s *shrinker) troubles(w Swarm) int {
	n := 0
	for _, v := range []int{w.Loss, w.Dup, w.Corrupt, w.Late, w.DiskErrors, w.PointErrors, w.PowerErrors, w.EntryErrors} {
		if v != 0 {
			n++
		}
	}
	return n
}

// try keeps a plan if it fails as the first did.
func (s *shrinker) try(p Plan) bool {
	if s.left <= 0 {
		return false
	}
	s.left--
	opt := s.opt
	opt.Plan = &p
	r, err := Guarded(opt)
	if err != nil || r.Failure == "" || FailureKind(r.Failure) != s.kind {
		return false
	}
	s.best.Plan, s.best.Result = p, r
	return true
}

// endSooner stops the faults at the failure.
func (s *shrinker) endSooner() {
	p := s.best.Plan
	if at := s.best.Result.Simulated + 100*time.Millisecond; at < p.Calm {
		p.Calm = at
		p.Faults = slices.DeleteFunc(slices.Clone(p.Faults), func(f Fault) bool { return f.At > at })
		s.try(p)
	}
}

// fewerFaults leaves out halves, quarters, and at last single faults.
func (s *shrinker) fewerFaults() {
	for part := max(1, len(s.best.Plan.Faults)/2); len(s.best.Plan.Faults) > 0 && s.left > 0; part /= 2 {
		for from := 0; from < len(s.best.Plan.Faults) && s.left > 0; {
			p := s.best.Plan
			p.Faults = slices.Delete(slices.Clone(p.Faults), from, min(from+part, len(p.Faults)))
			if !s.try(p) {
				from += part
			}
		}
		if part <= 1 {
			return
		}
	}
}

// fewerSystems leaves out the last system as long as two are left.
func (s *shrinker) fewerSystems() {
	for s.left > 0 {
		names := systemsOf(s.best.Plan.Files)
		if len(names) <= 2 {
			return
		}
		last := names[len(names)-1]
		p := s.best.Plan
		p.Swarm.Nodes = len(names) - 1
		p.Files = edited(p.Files, func(text string) string {
			text = regexp.MustCompile(`(?m)^system `+last+` \(\n\t\)\n`).ReplaceAllString(text, "")
			return listed.ReplaceAllStringFunc(text, func(line string) string { return without(line, last) })
		})
		p.Faults = slices.DeleteFunc(slices.Clone(p.Faults), func(f Fault) bool { return f.Node >= p.Swarm.Nodes })
		for i := range p.Faults {
			p.Faults[i].Other %= p.Swarm.Nodes
		}
		if !s.try(p) {
			return
		}
	}
}

var (
	systemLine = regexp.MustCompile(`(?m)^system (\w+) \(`)
	groupLine  = regexp.MustCompile(`(?m)^group (\w+) \(`)
	listed     = regexp.MustCompile(`(?m)^\t(?:SystemList|AutoStartList) = \{.*\}$`)
)

func names(files []engine.File, what *regexp.Regexp) []string {
	var out []string
	for _, f := range files {
		for _, m := range what.FindAllStringSubmatch(f.Text, -1) {
			out = append(out, m[1])
		}
	}
	return out
}

func systemsOf(files []engine.File) []string { return names(files, systemLine) }
func groupsOf(files []engine.File) []string  { return names(files, groupLine) }

// edited changes main.cf.
func edited(files []engine.File, edit func(string) string) []engine.File {
	out := slices.Clone(files)
	for i := range out {
		if out[i].Name == "main.cf" {
			out[i].Text = edit(out[i].Text)
		}
	}
	return out
}

// without takes a system out of a list of systems.
func without(line, system string) string {
	head, rest, _ := strings.Cut(line, "{")
	items := strings.Split(strings.TrimSuffix(strings.TrimSpace(rest), "}"), ",")
	items = slices.DeleteFunc(items, func(item string) bool {
		name, _, _ := strings.Cut(strings.TrimSpace(item), " ")
		return name == system
	})
	if len(items) == 0 {
		return line // a list may not be empty: the plan will not load
	}
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return head + "{ " + strings.Join(items, ", ") + " }"
}

// fewerGroups leaves out whole groups, the last first.
func (s *shrinker) fewerGroups() {
	all := groupsOf(s.best.Plan.Files)
	for i := len(all) - 1; i >= 0 && s.left > 0; i-- {
		if len(groupsOf(s.best.Plan.Files)) <= 1 {
			return
		}
		p := s.best.Plan
		p.Files = edited(p.Files, func(text string) string {
			head, rest, found := strings.Cut(text, "group "+all[i]+" (\n")
			if !found {
				return text
			}
			if at := strings.Index(rest, "\ngroup "); at >= 0 {
				return head + rest[at+1:]
			}
			return head
		})
		s.try(p)
	}
}

// kinder takes away, one after the other, what goes wrong all the time.
func (s *shrinker) kinder() {
	for _, change := range []func(w *Swarm){
		func(w *Swarm) { w.Loss = 0 }, func(w *Swarm) { w.Dup = 0 }, func(w *Swarm) { w.Corrupt = 0 }, func(w *Swarm) { w.Late = 0 },
		func(w *Swarm) { w.DiskErrors = 0 }, func(w *Swarm) { w.PointErrors = 0 }, func(w *Swarm) { w.PowerErrors = 0 }, func(w *Swarm) { w.EntryErrors = 0 },
	} {
		p := s.best.Plan
		change(&p.Swarm)
		if p.Swarm != s.best.Plan.Swarm {
			s.try(p)
		}
	}
}

// simpler lets faults happen at their time instead of in ambush.
func (s *shrinker) simpler() {
	for i := range s.best.Plan.Faults {
		if s.best.Plan.Faults[i].On == "" {
			continue
		}
		p := s.best.Plan
		p.Faults = slices.Clone(p.Faults)
		p.Faults[i].On = ""
		s.try(p)
	}
}

// tailLines is how many of the last steps are shown.
const tailLines = 40

// tailOf runs a plan once more for its last steps, heartbeats of the daemons
// left out.
func tailOf(opt Options, p Plan) []string {
	var ring []string
	opt.Plan = &p
	opt.Trace = func(line string) {
		for _, beat := range []string{"gab < wake", "gab   > lease until=", "schedule < wake"} {
			if strings.Contains(line, beat) {
				return
			}
		}
		if len(line) > 240 {
			line = line[:240] + "..."
		}
		if ring = append(ring, line); len(ring) > 4*tailLines {
			ring = slices.Delete(ring, 0, 3*tailLines)
		}
	}
	if _, err := Guarded(opt); err != nil {
		return nil
	}
	return ring[max(0, len(ring)-tailLines):]
}
