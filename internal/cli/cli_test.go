package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/paths"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// call runs a command line and returns what it printed and its exit code.
func call(t *testing.T, r paths.Root, line string) (out, errs string, code int) {
	t.Helper()
	compat := ""
	if rest, ok := strings.CutPrefix(line, "EVENKEEL_VCS_COMPAT="); ok {
		compat, line, _ = strings.Cut(rest, " ")
	}
	var o, e bytes.Buffer
	line, answer, _ := strings.Cut(line, " <<< ") // what is typed on standard input
	words, err := maincf.SplitLine(line)
	if err != nil {
		t.Fatal(err)
	}
	code = Main(t.Context(), words, Surroundings{Root: r, In: strings.NewReader(answer), Out: &o, Err: &e, Compat: compat, Programs: "/nonexistent"})
	return o.String(), e.String(), code
}

// TestGoldens pins every layout: what stands in testdata is byte for byte what
// is printed, blanks at line ends included. Lines after "stderr:" went there.
func TestGoldens(t *testing.T) {
	datadriven.Walk(t, "testdata/goldens", func(t *testing.T, path string) {
		r, e := root(t), newEngine()
		serve(t, r, e)
		clock := regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d{3}`)
		zone := regexp.MustCompile(`(?m)^(\w{3} \d\d \w{3} \d{4} \d\d:\d\d:\d\d [AP]M) \S+ VCS`)
		date := regexp.MustCompile(`(?m)^.* VCS INFO V-16-1-90509 \(sysA\) User \S+ logs`)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "without":
				for _, what := range d.CmdArgs {
					switch what.Key {
					case "groups":
						e.status.Groups, e.status.Resources = nil, nil
					case "staleness":
						e.status.Systems[1].Freshness = nil
					}
				}
				return ""
			case "with":
				gate := "no evidence that sysB is gone; ha fencing vouch sysB"
				e.status.Gate, e.status.WaitingFor = &gate, "waits for sysB to answer"
				return ""
			case "configured":
				e.config = fullConfig
				return ""
			case "logs":
				writeLogs(t, r, d.Input)
				return ""
			case "answer":
				e.answer = &hadv1.Operation{RequestId: "r1", Notices: []*hadv1.Notice{{Severity: "NOTICE", MessageId: "V-16-1-50735", Text: "Attempting to online group on system sysA"}}}
				return ""
			case "notice":
				severity := "NOTICE"
				if d.HasArg("error") {
					severity = "ERROR"
				}
				e.answer = &hadv1.Operation{RequestId: "r1", Notices: []*hadv1.Notice{{Severity: severity, MessageId: d.CmdArgs[0].Key, Text: strings.TrimSpace(d.Input)}}}
				return ""
			case "refuse":
				if len(d.CmdArgs) > 0 {
					e.fail = []error{refusal(codes.FailedPrecondition, d.CmdArgs[len(d.CmdArgs)-1].Key, d.CmdArgs[0].Key, "WARNING", strings.TrimSpace(d.Input))}
					return ""
				}
				e.fail = []error{refusal(codes.FailedPrecondition, "FAILED_PRECONDITION", "V-16-1-10191", "WARNING", "Group app cannot be switched: it is not active anywhere")}
				return ""
			}
			e.calls = nil
			out, errs, code := call(t, r, strings.TrimSpace(d.Input))
			out = clock.ReplaceAllString(out, "00:00:00.000")
			out = zone.ReplaceAllString(out, "$1 ZONE VCS")
			out = date.ReplaceAllString(out, "DATE VCS INFO V-16-1-90509 (sysA) User NAME logs")
			if errs != "" {
				out += "stderr:\n" + errs
			}
			for _, c := range e.calls {
				out += "called: " + c + "\n"
			}
			if code != 0 {
				out += fmt.Sprintf("exit %d\n", code)
			}
			return strings.ReplaceAll(out, string(r), "ROOT")
		})
	})
}

// writeLogs makes engine_A.log of the text, and two other logs.
func writeLogs(t *testing.T, r paths.Root, text string) {
	t.Helper()
	for name, text := range map[string]string{"engine_A.log": text + "\n", "engine_B.log": "", "IP_A.log": "time=x msg=y\n"} {
		if err := os.WriteFile(r.Log(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSummaryForParsers reads hastatus -sum as public programs do: columns by
// position, and the line filter that needs a blank behind OFFLINE.
func TestSummaryForParsers(t *testing.T) {
	r := root(t)
	serve(t, r, newEngine())
	for _, spelling := range []string{"-sum", "-summ", "-summary", "-s"} {
		out, errs, code := call(t, r, "hastatus "+spelling)
		if code != 0 || errs != "" {
			t.Fatalf("hastatus %s: exit %d, %s", spelling, code, errs)
		}
		lines := strings.Split(out, "\n")
		if lines[0] != "" || lines[1] != "-- SYSTEM STATE" || lines[2] != "-- System               State                Frozen              " || lines[3] != "" {
			t.Errorf("head of %s: %q", spelling, lines[:4])
		}
		for _, line := range lines {
			switch {
			case strings.HasPrefix(line, "A  "):
				if line[3:7] == "    " || line[24] == ' ' || line[45] == ' ' || len(strings.Fields(line)) != 4 {
					t.Errorf("columns of %q", line)
				}
			case strings.HasPrefix(line, "B  "):
				if line[19] == ' ' || line[40] == ' ' || line[51] == ' ' || line[67] == ' ' || len(strings.Fields(line)) != 6 {
					t.Errorf("columns of %q", line)
				}
				if strings.Contains(line, "OFFLINE") && !strings.Contains(line, "OFFLINE ") {
					t.Errorf("no blank behind OFFLINE in %q", line)
				}
			}
		}
	}
}

// TestEngineDown: every command says so in VCS's words and fails.
func TestEngineDown(t *testing.T) {
	r := root(t)
	for line, want := range map[string]string{
		"hastatus -sum":              "VCS WARNING V-16-1-11046 Local system not available\n",
		"hagrp -state":               "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"hares -online r -sys s":     "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"hasys -state":               "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"haclus -value ReadOnly":     "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"hastop -local":              "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"hagrp -wait g State ONLINE": "VCS ERROR V-16-1-10600 Cannot connect to VCS engine\n",
		"ha status":                  "ha: had does not run on this system (" + r.Socket("had") + "); start it with: hastart, or all layers with: ha node start\n",
		"ha fencing status":          "ha: fencing does not run on this system (" + r.Socket("fencing") + "); start it with: ha node start\n",
		"hastart":                    "VCS ERROR V-16-1-11030 gab is not running on this system (" + r.Socket("gab") + "); start all layers with: ha node start\n",
		"ha group online g --any":    "ha: had does not run on this system (" + r.Socket("had") + "); start it with: hastart, or all layers with: ha node start\n",
		"ha node start --plan":       "",
		"ha node stop --timeout=5s":  "",
	} {
		out, errs, code := call(t, r, line)
		if errs != want || (code == 0) != (want == "") {
			t.Errorf("%s: exit %d, %q %q", line, code, out, errs)
		}
	}
}

// TestSilentEngine: an engine that accepts and never answers costs less than
// two seconds, and is told from one that is down.
func TestSilentEngine(t *testing.T) {
	r := root(t)
	listener, err := net.Listen("unix", r.Socket("had"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) // after the parallel runs
	for _, line := range []string{"hastatus -sum", "hagrp -state app -sys sysA", "ha status", "hasys -list"} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			_, errs, code := call(t, r, line)
			if took := time.Since(began); took >= 2*time.Second {
				t.Errorf("took %v", took)
			}
			if code == 0 || !strings.Contains(errs, "no answer in time") {
				t.Errorf("exit %d, %q", code, errs)
			}
			if strings.HasPrefix(line, "ha") && !strings.HasPrefix(line, "ha ") && !strings.HasPrefix(errs, "VCS ERROR V-16-1-10805 Connection timed out") {
				t.Errorf("%q", errs)
			}
		})
	}
}

// TestRepeatedOnce: a call whose answer was lost is repeated once under the
// same id; an answer that is a refusal is not.
func TestRepeatedOnce(t *testing.T) {
	r, e := root(t), newEngine()
	serve(t, r, e)
	lost := status.Error(codes.Unavailable, "connection reset")
	e.fail = []error{lost}
	if _, errs, code := call(t, r, "hagrp -online app -sys sysA"); code != 0 {
		t.Errorf("exit %d: %s", code, errs)
	}
	if len(e.ids) != 2 || e.ids[0] != e.ids[1] || e.ids[0] == "" {
		t.Errorf("request ids %q", e.ids)
	}
	e.ids, e.fail = nil, []error{lost, lost}
	if _, _, code := call(t, r, "hagrp -online app -sys sysA"); code != 1 || len(e.ids) != 2 {
		t.Errorf("exit %d after calls %q", code, e.ids)
	}
	e.ids, e.fail = nil, []error{refusal(codes.Unavailable, "GATE_HELD", "V-16-1-11030", "ERROR", "views are held")}
	if _, errs, code := call(t, r, "ha group online app --any --request-id mine"); code != 1 || len(e.ids) != 1 || e.ids[0] != "mine" || !strings.Contains(errs, "views are held") {
		t.Errorf("exit %d, %q after calls %q", code, errs, e.ids)
	}
}

// TestWaits: hagrp -wait and --wait end when the state is there, and fail with
// VCS's words when it does not come.
func TestWaits(t *testing.T) {
	r, e := root(t), newEngine()
	serve(t, r, e)
	for line, want := range map[string]string{
		"hagrp -wait db State ONLINE -sys sysA -time 5":      "",
		"hagrp -wait db State |ONLINE| -sys sysA -time 5":    "",
		"hagrp -wait db State ONLINE":                        "",
		"haclus -wait DumpingMembership 0 -time 60":          "",
		"hasys -wait sysA SysState RUNNING -time 1":          "",
		"hagrp -wait app State OFFLINE -sys sysA -time 0":    "VCS WARNING V-16-1-10805 Connection timed out\n",
		"hagrp -wait app State OFFLINE -sys sysA -time 1":    "VCS WARNING V-16-1-10805 Connection timed out\n",
		"hares -wait app_mnt State ONLINE -sys sysA -time 1": "VCS WARNING V-16-1-10805 Connection timed out\n",
		"hagrp -wait nope State ONLINE -sys sysA -time 5":    "VCS WARNING V-16-1-40131 Group nope does not exist\n",
	} {
		if _, errs, code := call(t, r, line); errs != want || (code == 0) != (want == "") {
			t.Errorf("%s: exit %d, %q", line, code, errs)
		}
	}
	e.onChange = func(e *engine) { e.status.Groups[0].Systems[0].State = "ONLINE" }
	if out, errs, code := call(t, r, "ha group online app --system sysA --wait=5s"); code != 0 || !strings.Contains(out, "sysA ONLINE") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	e.onChange = func(e *engine) { e.status.Groups[0].Systems[0].State = "OFFLINE|FAULTED" }
	if _, errs, code := call(t, r, "ha group switch app --to sysA --wait"); code != 1 || !strings.Contains(errs, "ha group explain app") {
		t.Errorf("exit %d: %s", code, errs)
	}
	if _, errs, code := call(t, r, "ha group offline db --any --wait=300ms"); code != 1 || !strings.Contains(errs, "not done after 300ms") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

// TestVerify: nothing is printed for a good folder; without types.cf the
// built-in types hold; a mistake has its place.
func TestVerify(t *testing.T) {
	r := root(t) // no engine
	good, bad := t.TempDir(), t.TempDir()
	for dir, text := range map[string]string{
		good: "include \"types.cf\"\n\ncluster demo (\n\t)\n\nsystem sysA (\n\t)\n\ngroup g (\n\tSystemList = { sysA = 0 }\n\t)\n\n\tFileOnOff f (\n\t\tPathName = \"/tmp/f\"\n\t\t)\n",
		bad:  "include \"types.cf\"\n\ncluster demo (\n\t)\n\nsystem sysA (\n\t)\n\ngroup g (\n\tSystemLst = { sysA = 0 }\n\t)\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "main.cf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range []string{"hacf -verify ", "ha config verify "} {
		if out, errs, code := call(t, r, command+good); out != "" || errs != "" || code != 0 {
			t.Errorf("%s: exit %d %q %q", command, code, out, errs)
		}
		out, errs, code := call(t, r, command+bad)
		if code != 1 || out != "" || !strings.Contains(errs, "main.cf:10:") || !strings.Contains(errs, "SystemList") {
			t.Errorf("%s: exit %d %q %q", command, code, out, errs)
		}
	}
	if _, _, code := call(t, r, "hacf -verify "+t.TempDir()); code != 1 {
		t.Errorf("an empty folder is good: exit %d", code)
	}
}

// TestJSON: every reading command prints one JSON object of the schema, and
// failures are objects, too.
func TestJSON(t *testing.T) {
	r := root(t)
	serve(t, r, newEngine())
	for _, line := range []string{
		"status", "system list", "system show sysA", "group list", "group show app", "group explain app", "group dependencies",
		"resource list", "resource show app_ip", "type list", "type show IP", "cluster show", "config show", "agent list", "agent show IP",
		"version", "group online app --any --plan", "group freeze app", "cluster stop --plan", "config dump", "node start --plan",
	} {
		out, errs, code := call(t, r, "ha "+line+" -o json")
		var o map[string]any
		if err := json.Unmarshal([]byte(out), &o); err != nil || code != 0 || o["schema"] != "evenkeel.v1" || len(o) < 2 {
			t.Errorf("ha %s: exit %d, %v, %q %q", line, code, err, out, errs)
		}
	}
	out, _, _ := call(t, r, "ha status -o json")
	var status struct {
		Systems []struct {
			Name      string
			Freshness struct {
				AgeMs int64 `json:"age_ms"`
				Stale bool
				Why   string
			}
		}
		Position struct{ Lineage string }
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatal(err)
	}
	if b := status.Systems[1]; b.Freshness.AgeMs != 12_000 || !b.Freshness.Stale || b.Freshness.Why == "" || status.Position.Lineage != "0000000000000abc" {
		t.Errorf("%+v", status)
	}
	_, errs, code := call(t, r, "ha group show nope -o json")
	var failure struct {
		Error struct {
			Code, Message string
			MessageID     string `json:"message_id"`
		}
	}
	if err := json.Unmarshal([]byte(errs), &failure); err != nil || code != 1 || failure.Error.MessageID != "V-16-1-40131" || failure.Error.Code != "NotFound" {
		t.Errorf("exit %d, %v: %q", code, err, errs)
	}
}

// TestHelpTeaches: every command has a help with an example.
func TestHelpTeaches(t *testing.T) {
	r := root(t)
	seen := 0
	var visit func(path string)
	visit = func(path string) {
		out, _, code := call(t, r, path+" --help")
		if code != 0 {
			t.Errorf("%s --help: exit %d", path, code)
		}
		_, below, branch := strings.Cut(out, "Available Commands:\n")
		if !branch {
			seen++
			if !strings.Contains(out, "Examples:\n  ha ") {
				t.Errorf("%s --help shows no example", path)
			}
			return
		}
		for _, line := range strings.Split(below, "\n") {
			words := strings.Fields(line)
			if len(words) == 0 {
				return
			}
			if words[0] != "completion" && words[0] != "help" {
				visit(path + " " + words[0])
			}
		}
	}
	visit("ha")
	if seen < 40 {
		t.Errorf("only %d commands seen", seen)
	}
}
