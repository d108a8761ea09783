package sim

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// ScenarioHelp tells the format of scenarios.
const ScenarioHelp = `A scenario is a text file, a line each; # begins a comment. All systems boot at 0s.
  at TIME crash SYSTEM | boot SYSTEM | pause SYSTEM DURATION
  at TIME kill SYSTEM gab|fencing|had
  at TIME cut SYSTEM SYSTEM        both ways; "deafen A B": B no longer hears A
  at TIME heal                     all links
  at TIME fault RESOURCE SYSTEM    the application dies by itself
  at TIME break RESOURCE SYSTEM    it dies and will not run there again; SYSTEM
                                   may be "home": where its group is then
  at TIME repair RESOURCE SYSTEM   it would run there again
  at TIME online|offline|switch GROUP SYSTEM
  at TIME end                      (without it: 60s after the last line)
`

// Scenario is what happens and when, as an administrator wrote it.
type Scenario struct {
	steps []step
	end   time.Duration
}

// step is one line.
type step struct {
	at    time.Duration
	where string // FILE:LINE
	word  []string
}

// words is how many words follow each verb.
var words = map[string]int{"crash": 1, "boot": 1, "pause": 2, "kill": 2, "cut": 2, "deafen": 2, "heal": 0, "fault": 2,
	"break": 2, "repair": 2,
	"online": 2, "offline": 2, "switch": 2, "end": 0}

// ParseScenario reads a scenario; errors begin with FILE:LINE.
func ParseScenario(name, text string) (*Scenario, error) {
	s := &Scenario{}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		where := fmt.Sprintf("%s:%d", name, i+1)
		if len(f) < 3 || f[0] != "at" {
			return nil, fmt.Errorf("%s: want a line such as: at 10s crash SYSTEM", where)
		}
		at, err := time.ParseDuration(f[1])
		n, known := words[f[2]]
		if err != nil || at < 0 || at > 24*time.Hour || !known || len(f) != 3+n {
			return nil, fmt.Errorf("%s: %q is not understood; hasim help lists what is", where, strings.TrimSpace(line))
		}
		if f[2] == "end" {
			s.end = at
			continue
		}
		s.steps = append(s.steps, step{at, where, f[2:]})
		s.end = max(s.end, at+time.Minute)
	}
	return s, nil
}

// play runs a scenario.
func (w *World) play(s *Scenario) {
	begin := w.now
	w.calm = true // nothing happens that the scenario does not say
	for _, n := range w.nodes {
		n.powerOn()
	}
	for _, st := range s.steps {
		w.after(st.at, func() {
			if err := w.do(st.word); err != nil {
				w.fail("%s: %v", st.where, err)
			}
		})
	}
	w.turn(begin.Add(s.end))
}

func (w *World) do(f []string) error {
	w.tell("scenario: %s", strings.Join(f, " "))
	switch f[0] {
	case "heal":
		w.heal()
		return nil
	case "break", "repair":
		return w.doBreak(f[0] == "break", f[1], f[2])
	case "fault", "online", "offline", "switch":
		return w.doGroup(f)
	}
	n := w.nodeNamed(f[1])
	if n == nil {
		return fmt.Errorf("there is no system %s", f[1])
	}
	switch f[0] {
	case "crash":
		n.powerOff("the scenario says so")
	case "boot":
		n.powerOn()
	case "pause":
		d, err := time.ParseDuration(f[2])
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is no duration", f[2])
		}
		w.tainted = true
		n.freeze(d)
	case "kill":
		switch {
		case f[2] == "gab":
			n.killGab()
		case f[2] == "fencing":
			n.killFencing()
		case f[2] == "had" && n.had != nil:
			n.endHad(n.had, "killed", false)
		}
	case "cut", "deafen":
		o := w.nodeNamed(f[2])
		if o == nil || o == n {
			return fmt.Errorf("there is no other system %s", f[2])
		}
		w.tainted = true
		w.cutWire(n.id, o.id)
		if f[0] == "cut" {
			w.cutWire(o.id, n.id)
		}
	}
	return nil
}

func (w *World) doGroup(f []string) error {
	n := w.nodeNamed(f[2])
	if n == nil {
		return fmt.Errorf("there is no system %s", f[2])
	}
	if f[0] == "fault" {
		r := w.resource(f[1])
		if r == nil {
			return fmt.Errorf("there is no resource %s", f[1])
		}
		n.appFault(r)
		return nil
	}
	h := w.speaker()
	if h == nil {
		return fmt.Errorf("no system is RUNNING to take the command")
	}
	kind := map[string]engine.CommandKind{"online": engine.CommandGroupOnline, "offline": engine.CommandGroupOffline, "switch": engine.CommandGroupSwitch}[f[0]]
	w.command(h.n, engine.Command{Kind: kind, Group: f[1], System: f[2]})
	return nil
}

// doBreak makes a resource unable to run on a system, or able again.
func (w *World) doBreak(broken bool, name, system string) error {
	r := w.resource(name)
	if r == nil {
		return fmt.Errorf("there is no resource %s", name)
	}
	n := w.nodeNamed(system)
	if system == "home" {
		if n = w.home(r.group); n == nil {
			w.tell("group %s is nowhere: nothing of it can break", r.group)
			return nil
		}
	}
	if n == nil {
		return fmt.Errorf("there is no system %s", system)
	}
	r.broken[n.id] = broken
	if broken {
		n.appFault(r)
	}
	return nil
}

// home is the first system where a group is active, nil if there is none.
func (w *World) home(group string) *node {
	for _, end := range w.ends() {
		if end.Group == group && len(end.Online) > 0 {
			return w.nodeNamed(end.Online[0])
		}
	}
	return nil
}
