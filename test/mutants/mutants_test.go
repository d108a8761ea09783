// Package mutants shows that the goldens of the engine can fail: each mutant
// reverses one rule of docs/spec/engine.md in the source, and the stories of
// the engine must break on it. Nothing in the tree changes: the compiler gets
// the changed file as an overlay.
//
// An ordinary test run checks that every edit still applies, and runs two of
// them; make mutants-engine runs all.
package mutants

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var all = flag.Bool("all", false, "run every mutant, and print the table of docs/testing.md")

// mutant is one rule reversed.
type mutant struct {
	rule string
	// file below services/had, and the text in it, which must be there once.
	file, old, new string
	// what it does, for people.
	what string
	// golden is a story file that must break, without .txt.
	golden string
}

var mutants = []mutant{
	{"E2", "engine/resources.go", "rep.Incarnation != s.Incarnation", "false", "reports of an earlier had count", "replication"},
	{"E3", "engine/resources.go", "if rep.Seen < i.Bound {", "if false {", "reports from before the last order count", "manual"},
	{"E4", "engine/engine.go", "min(ev.Elapsed, 2*ClockPeriod)", "ev.Elapsed", "a clock may jump", "replication"},
	{"E5", "engine/commands.go", "if said := c.Fingerprint(); old.Said != said {", "if said := c.Fingerprint(); false && old.Said != said {", "a used request id answers another operation", "reversed"},
	{"E7", "decision/system.go", "if f.Loaded && len(f.Running) > 0 {", "if false {", "a configuration from disk replaces the running one", "replication"},
	{"E14", "decision/autostart.go", "	case a.UserOffline:", "	case false:", "what a user took offline starts by itself", "autostart"},
	{"E16", "decision/autostart.go", "!f.AutoStartIfPartial ||", "f.AutoStartIfPartial ||", "AutoStartIfPartial means its contrary", "autostart"},
	{"E20", "policy/graph.go", "need := d.AtLeast", "need := 0", "atleast requires all", "traversal"},
	{"E21", "engine/resources.go", "|| (!i.Alone && len(e.holding(g, r, n)) > 0)", "", "children go offline with their parents up", "traversal"},
	{"E24", "engine/resources.go", "	if vague {\n", "	if false {\n", "a monitor that cannot tell decides", "traversal"},
	{"E26", "decision/fault.go", "	case len(f.Critical) == 0:", "	case len(f.Critical) > 0:", "what is not critical takes the group down, what is critical does not", "fault"},
	{"E29", "engine/resources.go", "to = resource.StateFaulted // A fault stays", "to = resource.StateOffline // A fault stays", "a fault goes away by itself", "fault"},
	{"E33", "decision/failover.go", "r.Counted() >= r.Limit", "r.Counted() < r.Limit", "OnlineRetryLimit counts the wrong way", "fault"},
	{"E34", "policy/target.go", "return a.Priority < b.Priority", "return a.Priority > b.Priority", "the highest number is preferred", "failover"},
	{"E35", "policy/target.go", "return a.OnlineGroups < b.OnlineGroups", "return a.OnlineGroups > b.OnlineGroups", "RoundRobin prefers the busiest", "failover"},
	{"E37", "decision/failover.go", "case f.AutoFailOver == 0 && f.Prefer", "case f.AutoFailOver == 1 && f.Prefer", "AutoFailOver = 0 fails over, 1 does not", "failover"},
	{"E39", "policy/evidence.go", "	case acceptOverlap == 0:\n		return false, head", "	case acceptOverlap == 0:\n		return true, head", "CUT suffices for every group", "failover"},
	{"E41", "policy/evidence.go", "	case !l.FencingDisabled:\n		return false,", "	case !l.FencingDisabled:\n		return true,", "ASSUMED suffices with fencing", "failover"},
	{"E43", "policy/evidence.go", "	case l.Jeopardy:\n		return false,", "	case l.Jeopardy:\n		return true,", "a system lost in jeopardy counts as down", "autodisabled"},
	{"E44", "decision/facts.go", "	case d.InView && len(d.Unprobed) > 0:", "	case false:", "an unprobed member autodisables nothing", "autodisabled"},
	{"E46", "decision/facts.go", "	case s.Disabled:", "	case false:", "a group comes up where it is disabled", "reversed"},
	{"E52", "engine/resources.go", "i.Halted || i.inDoubt() || e.frozen(g, n) ||", "i.Halted || i.inDoubt() ||", "a frozen group is taken offline", "reversed"},
	{"E60", "decision/system.go", "	case !v.Evacuate:", "	case v.Evacuate:", "Evacuate means its contrary", "stop"},
	{"E73", "engine/resources.go", " || len(e.parentsBeside(g, n)) > 0", "", "a child does not wait for its offline-local parent", "dependency"},
	{"E77", "engine/links.go", "return m.site(c) != m.site(n)", "return m.site(c) == m.site(n)", "a site is the systems of other locations", "dependency"},
	{"E78", "engine/failover.go", "!g.sameZone(out[i].System, from)", "g.sameZone(out[i].System, from)", "other zones come first", "zones"},
	{"E196", "decision/facts.go", "	Group  string `json:\"group,omitempty\"`\n	System string `json:\"system,omitempty\"`\n}\n\n// Any", "	Group  string `json:\"-\"`\n	System string `json:\"system,omitempty\"`\n}\n\n// Any", "a fact is not kept with the decision", "configapply"},
	{"E197", "engine/commands.go", "gr.TFrozen, gr.FrozenBy = true, c.User", "gr.TFrozen, gr.FrozenBy = true, \"\"", "nobody knows who froze a group", "reversed"},
	{"E198", "decision/autostart.go", "	case a.Freeze.Group != \"\":\n		return \"waits: the group is frozen\"", "	case a.Freeze.Group == \"\":\n		return \"waits: the group is frozen\"", "what is not frozen waits, what is frozen starts", "autostart"},
	{"E196", "engine/decide.go", "x.On = decision.Keep(in)", "x.On = decision.Keep(decision.Evacuation{})", "other facts are kept than were decided on", "adminwait"},
	{"E199", "decision/system.go", "	case v.Parallel:\n		o.Text", "	case !v.Parallel && false:\n		o.Text", "an evacuation moves a parallel group", "reversed"},
	{"E52", "decision/fault.go", "	case f.Freeze.Any():\n		o.Do, o.Text = DoRecord,", "	case f.Freeze.Any():\n		o.Do, o.Text = DoStop,", "the fault of a frozen group takes it offline", "reversed"},
}

func root(t *testing.T) string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// edited returns the file of a mutant and its changed text.
func (m mutant) edited(t *testing.T) (path, text string) {
	path = filepath.Join(root(t), "services/had", m.file)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), m.old); n != 1 {
		t.Fatalf("%s: %q is in %s %d times, not once: give the mutant the line that now keeps the rule", m.rule, m.old, m.file, n)
	}
	return path, strings.Replace(string(data), m.old, m.new, 1)
}

var brokenStory = regexp.MustCompile(`(?m)^ +--- FAIL: TestStories/([a-z0-9]+)`)

// broken are the story files that fail with a mutant.
func (m mutant) broken(t *testing.T) []string {
	path, text := m.edited(t)
	dir := t.TempDir()
	changed := filepath.Join(dir, filepath.Base(path))
	overlay := filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{changed: []byte(text), overlay: replace} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// go vet would refuse some of the nonsense that a mutant is.
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-vet=off", "-run", "^TestStories$", "./services/had/engine")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	var names []string
	for _, f := range brokenStory.FindAllStringSubmatch(string(out), -1) {
		names = append(names, f[1])
	}
	if len(names) == 0 && strings.Contains(string(out), "panic: engine: ") {
		return []string{"(an invariant)"}
	}
	if len(names) == 0 {
		t.Fatalf("%s: the mutant does not run:\n%s", m.rule, out)
	}
	return names
}

// TestEditsApply: each mutant still has its line, its rule and its golden, and
// docs/testing.md lists it.
func TestEditsApply(t *testing.T) {
	spec, err := os.ReadFile(filepath.Join(root(t), "docs/spec/engine.md"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(root(t), "docs/testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range mutants {
		m.edited(t)
		if key := m.rule + m.what; seen[key] || !strings.Contains(string(spec), "**"+m.rule+"** ") {
			t.Errorf("%s: no such rule, or twice", m.rule)
		} else {
			seen[key] = true
		}
		if _, err := os.Stat(filepath.Join(root(t), "services/had/engine/testdata/stories", m.golden+".txt")); err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(list), fmt.Sprintf("| %s | %s |", m.rule, m.what)) {
			t.Errorf("%s: docs/testing.md does not list it: | %s | %s | %s |", m.rule, m.rule, m.what, m.golden)
		}
	}
	if len(mutants) < 20 {
		t.Errorf("%d mutants, 20 wanted", len(mutants))
	}
}

// TestReversedRulesBreakGoldens runs the mutants.
func TestReversedRulesBreakGoldens(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the engine once for each mutant")
	}
	run := []mutant{mutants[2], mutants[13]}
	if *all {
		run = mutants
	}
	for _, m := range run {
		t.Run(m.rule, func(t *testing.T) {
			broken := m.broken(t)
			switch {
			case len(broken) == 0:
				t.Errorf("%s survives: %s, and no story breaks", m.rule, m.what)
			case !slices.Contains(broken, m.golden):
				t.Errorf("%s breaks %v, not %s", m.rule, broken, m.golden)
			}
			fmt.Printf("| %s | %s | %s |\n", m.rule, m.what, strings.Join(broken, ", "))
		})
	}
}
