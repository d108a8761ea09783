package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/evenkeel/evenkeel/internal/messagelog"
)

// onlyReads are the commands that change nothing; whatever else there is must
// take --plan.
var onlyReads = []string{
	"link list", "membership show", "link doctor", "key list",
	"agent list", "agent show", "cluster show", "config diff", "config log", "config show", "config state", "config verify", "decisions", "doctor", "events",
	"fencing keys", "fencing status", "group dependencies", "group explain", "group list", "group show", "log", "message", "node status",
	"resource info", "resource list", "resource show", "status", "system list", "system show", "type list", "type show", "version", "watch",
}

// leaves are all commands without commands below, with the first example of
// their help.
func leaves(t *testing.T, run func(line string) string) map[string]string {
	t.Helper()
	found := map[string]string{}
	var visit func(path string)
	visit = func(path string) {
		help := run("ha " + path + " --help")
		_, below, branch := strings.Cut(help, "Available Commands:\n")
		if !branch {
			_, example, _ := strings.Cut(help, "Examples:\n")
			example, _, _ = strings.Cut(example, "\n")
			found[path] = strings.TrimSpace(example)
			return
		}
		for _, line := range strings.Split(below, "\n") {
			words := strings.Fields(line)
			if len(words) == 0 {
				return
			}
			if words[0] != "completion" && words[0] != "help" {
				visit(strings.TrimSpace(path + " " + words[0]))
			}
		}
	}
	visit("")
	return found
}

// TestPlanEverywhere: every command that changes something takes --plan, and
// then calls nothing without it.
func TestPlanEverywhere(t *testing.T) {
	r := root(t)
	e := newEngine()
	e.config = fullConfig
	serve(t, r, e)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(fullConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	changing := 0
	all := leaves(t, func(line string) string { out, _, _ := call(t, r, line); return out })
	for path, example := range all {
		if slices.Contains(onlyReads, path) {
			continue
		}
		changing++
		help, _, _ := call(t, r, "ha "+path+" --help")
		if !strings.Contains(help, "--plan") {
			t.Errorf("ha %s changes something and has no --plan", path)
			continue
		}
		if strings.HasPrefix(path, "node ") || strings.HasPrefix(path, "fencing ") || strings.HasPrefix(path, "key ") || strings.HasPrefix(path, "membership ") {
			continue // these call other daemons: their own tests
		}
		example = strings.ReplaceAll(strings.Split(example, " && ")[0], "/root/new/main.cf", filepath.Join(dir, "main.cf"))
		if path == "config edit" || path == "system force" {
			example = map[string]string{"config edit": "ha config edit - ", "system force": "ha system force sysA"}[path]
		}
		e.mu.Lock()
		e.calls = nil
		e.mu.Unlock()
		if !strings.Contains(example, "--plan") {
			example += " --plan"
		}
		out, errs, code := call(t, r, example+" <<< hares -modify app_ip Address 192.0.2.8\n")
		if code != 0 || !strings.Contains(out, "plan") {
			t.Errorf("%s: exit %d: %s%s", example, code, out, errs)
		}
		e.mu.Lock()
		for _, c := range e.calls {
			if !strings.Contains(c, "plan=true") && !strings.Contains(c, "plan:true") {
				t.Errorf("%s called %s", example, c)
			}
		}
		e.mu.Unlock()
	}
	if changing < 50 {
		t.Errorf("only %d changing commands seen", changing)
	}
	for _, path := range onlyReads {
		if _, there := all[path]; !there {
			t.Errorf("ha %s does not exist", path)
		}
	}
}

// TestYAML: the same object as JSON, field by field and in its order.
func TestYAML(t *testing.T) {
	r := root(t)
	serve(t, r, newEngine())
	for _, line := range []string{"status", "group list", "group explain app", "config log", "version", "message 10205"} {
		asJSON, _, _ := call(t, r, "ha "+line+" -o json")
		asYAML, errs, code := call(t, r, "ha "+line+" -o yaml")
		var one, other any
		if err := json.Unmarshal([]byte(asJSON), &one); err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal([]byte(asYAML), &other); err != nil || code != 0 {
			t.Fatalf("ha %s -o yaml: exit %d, %v: %s%s", line, code, err, asYAML, errs)
		}
		again, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(one)
		if string(again) != string(want) {
			t.Errorf("ha %s: YAML says\n%s\nJSON says\n%s", line, again, want)
		}
		if !strings.HasPrefix(asYAML, "schema: evenkeel.v1\n") {
			t.Errorf("ha %s -o yaml begins %q", line, asYAML[:min(40, len(asYAML))])
		}
	}
}

// completed quotes the last word, which may be empty.
func completed(line string) string {
	at := strings.LastIndex(line, " ")
	return line[:at] + ` "` + line[at+1:] + `"`
}

// TestCompletion: the shell is offered names that live, each where it belongs,
// and nothing when had does not answer.
func TestCompletion(t *testing.T) {
	r := root(t)
	offered := func(line string) string {
		out, _, _ := call(t, r, "ha __complete "+completed(line))
		var names []string
		for _, l := range strings.Split(out, "\n") {
			if name, _, _ := strings.Cut(l, "\t"); name != "" && !strings.HasPrefix(name, ":") {
				names = append(names, name)
			}
		}
		return strings.Join(names, " ")
	}
	if got := offered("group online "); got != "" {
		t.Errorf("without had: %q", got)
	}
	serve(t, r, newEngine())
	for line, want := range map[string]string{
		"group online ":              "app db",
		"group online app --system ": "sysA sysB",
		"group switch app --to s":    "sysA sysB",
		"group switch app --to sysB": "sysB",
		"resource show app_i":        "app_ip",
		"resource add x ":            "FileOnOff IP",
		"type show I":                "IP",
		"config rollback ":           "3 2",
		"status -o ":                 "table wide json yaml",
		"log --severity E":           "CRITICAL ERROR WARNING NOTICE INFO", // the shell narrows fixed words
		"group modify nope ":         "",
		// What the engine keeps is not offered to be set; where a word is one of few, these are.
		"group modify app Fr":                      "",
		"group modify app FailOverPolicy ":         "Priority RoundRobin Load BiggestAvailable",
		"group link app db ":                       "online offline",
		"group link app db online ":                "local global remote site",
		"group link app db online local ":          "soft firm hard",
		"group link app db online local soft ":     "",
		"resource override app_ip MonitorI":        "MonitorInterval",
		"resource undo-override app_ip MonitorInt": "",
	} {
		got := offered(line)
		if want == "FileOnOff IP" {
			if !strings.Contains(got, "IP") {
				t.Errorf("%q: %q", line, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q offers %q, want %q", line, got, want)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out, _, code := call(t, r, "ha completion "+shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("no completion for %s", shell)
		}
	}
}

// TestLog: ha log reads this system's log also without had.
func TestLog(t *testing.T) {
	r := root(t)
	w, err := messagelog.Open(r.Log("engine"))
	if err != nil {
		t.Fatal(err)
	}
	for i, severity := range []string{"INFO", "ERROR", "NOTICE"} {
		w.Write(messagelog.Record{Severity: severity, ID: "V-16-1-1020" + fmt.Sprint(i), Host: "sysA", Group: []string{"app", "web", "app"}[i], View: 1, Seq: uint64(i), Text: "line " + fmt.Sprint(i)})
	}
	w.Close()
	agent, err := messagelog.Open(r.Log("IP"))
	if err != nil {
		t.Fatal(err)
	}
	agent.Write(messagelog.Record{Severity: "WARNING", ID: "V-16-2-90200", Host: "sysA", Head: "sysA", Agent: "IP", Resource: "ip1", Text: "hello"})
	agent.Close()
	for line, want := range map[string]string{
		"ha log":                         "line 0,line 1,line 2",
		"ha log --group app":             "line 0,line 2",
		"ha log --severity warning":      "line 1",
		"ha log -n 1":                    "line 2",
		"ha log --id 10201":              "line 1",
		"ha log --since 1h --group web":  "line 1",
		"ha log --agent IP":              "hello",
		"ha log --agent IP --resource x": "",
	} {
		out, errs, code := call(t, r, line)
		var texts []string
		for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
			if l != "" {
				texts = append(texts, l[strings.LastIndexAny(l, "lh:"):])
			}
		}
		for i, l := range strings.Split(strings.TrimSpace(out), "\n") {
			if at := strings.Index(l, "line "); at >= 0 {
				texts[i] = l[at:]
			} else if strings.HasSuffix(l, "hello") {
				texts[i] = "hello"
			}
		}
		if got := strings.Join(texts, ","); got != want || code != 0 {
			t.Errorf("%s: %q, want %q (%d %s)", line, got, want, code, errs)
		}
	}
	for line, say := range map[string]string{
		"ha log --severity LOUD": "CRITICAL, ERROR, WARNING, NOTICE, INFO",
		"ha log --since someday": "2006-01-02",
		"ha log --agent Nope":    "there are: IP",
		"ha message 99999":       "V-16-1-99999 is not in the catalogue",
	} {
		if _, errs, code := call(t, r, line); code == 0 || !strings.Contains(errs, say) {
			t.Errorf("%s: exit %d: %s", line, code, errs)
		}
	}
	out, _, _ := call(t, r, "ha log --group web -o json")
	var got struct {
		Schema   string
		Messages []struct{ ID, Group, Severity string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Schema != "evenkeel.v1" || len(got.Messages) != 1 || got.Messages[0].Group != "web" {
		t.Errorf("%v: %s", err, out)
	}
}

// teller calls back with each line that is written.
type teller func(line string)

func (f teller) Write(p []byte) (int, error) {
	for _, line := range strings.Split(strings.TrimSpace(string(p)), "\n") {
		f(line)
	}
	return len(p), nil
}

// TestWaitTells: --wait tells which resource it waits for, and what came of it.
func TestWaitTells(t *testing.T) {
	r := root(t)
	e := newEngine()
	serve(t, r, e)
	set := func(group, state, istate, code string) {
		for _, g := range e.status.GetGroups() {
			if g.GetName() == "app" {
				for _, on := range g.GetSystems() {
					on.State = "OFFLINE"
					if on.GetSystem() == "sysA" {
						on.State = group
					}
				}
			}
		}
		for _, res := range e.status.GetResources() {
			if res.GetName() == "app_ip" {
				res.Systems[0].State, res.Systems[0].Istate, res.Systems[0].IstateCode = state, istate, code
			}
		}
	}
	e.onChange = func(e *engine) { set("STARTING|PARTIAL", "OFFLINE", "waiting to go online", "W_ONLINE") }
	var told []string
	errs := teller(func(line string) {
		told = append(told, line)
		if strings.Contains(line, "waiting to go online") {
			e.mu.Lock()
			defer e.mu.Unlock()
			set("ONLINE", "ONLINE", "not waiting", "")
		}
	})
	var out strings.Builder
	code := Main(t.Context(), []string{"ha", "group", "online", "app", "--system", "sysA", "--wait=60s"}, Surroundings{Root: r, Out: &out, Err: errs})
	if code != 0 || len(told) == 0 || !strings.Contains(told[0], "app_ip on sysA: OFFLINE (waiting to go online)") || !strings.Contains(out.String(), "sysA ONLINE") {
		t.Errorf("exit %d, told %q, printed %s", code, told, out.String())
	}
}
