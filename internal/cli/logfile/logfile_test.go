package logfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/messagelog"
)

// TestObjects: the objects of lines as the engine writes them.
func TestObjects(t *testing.T) {
	for text, want := range map[string][]Object{
		"Group app is online on system sysA":                                                    {{Group, "app"}, {System, "sysA"}},
		"Initiating Online of Resource ip1 (Owner: Unspecified, Group: g-1) on System s-1":      {{Resource, "ip1"}, {Group, "g-1"}, {System, "s-1"}},
		"(sysB) Group app is autodisabled on sysB":                                              {{Group, "app"}, {System, "sysB"}},
		"System sysA (Node '0') changed state from UNKNOWN to INITING":                          {{System, "sysA"}},
		"Cluster logger started":                                                                nil,
		"No Group dependencies are configured":                                                  nil,
		"Agent is calling clean for resource(disk) because of: monitor hung":                    {{Resource, "disk"}},
		"Group web cannot be switched: no system of the group is left, not even system backup.": {{Group, "web"}, {System, "backup"}},
	} {
		if got := Parse("2026/01/02 03:04:05 VCS NOTICE V-16-1-1 " + text).Objects(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestFilterNeedsOneObject: -otype and -oname are about the same object, unless
// any condition is enough.
func TestFilterNeedsOneObject(t *testing.T) {
	e := Parse("2026/01/02 03:04:05 VCS NOTICE V-16-1-10447 Group app is online on system sysA")
	both := Filter{Kinds: []string{"SYS"}, Names: []string{"app"}}
	if both.Takes(e) {
		t.Error("there is no system app in the line")
	}
	both.Any = true
	if !both.Takes(e) {
		t.Error("there is a system, and app")
	}
	if !(Filter{}).Takes(Parse("anything")) || (Filter{Severities: []string{"ERROR"}}).Takes(Parse("anything")) {
		t.Error("lines that are not VCS's pass only without conditions")
	}
}

// TestSubjects: what the writer said of a line counts for more than its words.
func TestSubjects(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.Local)
	dir := t.TempDir()
	r := messagelog.Record{Time: at, Severity: "NOTICE", ID: "V-16-1-1", Host: "sysA", Head: "sysA", System: "sysA", Group: "web", Resource: "web_ip", Text: "Resource of group other"}
	if err := os.WriteFile(filepath.Join(dir, "engine_A.json"), append(r.JSON(), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	subjects, err := SubjectsOf(t.Context(), filepath.Join(dir, "engine_A.log"))
	if err != nil {
		t.Fatal(err)
	}
	e := subjects.About(Parse(r.Line()))
	if want := []Object{{Resource, "web_ip"}, {Group, "web"}, {System, "sysA"}}; !slices.Equal(e.Objects(), want) {
		t.Errorf("%v, want %v", e.Objects(), want)
	}
	if none, err := SubjectsOf(t.Context(), filepath.Join(t.TempDir(), "engine_A.log")); none != nil || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

// FuzzParse: no line panics, and what is taken apart says the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"2026/01/02 03:04:05 VCS NOTICE V-16-1-10447 Group app is online", "2026/99/02 03:04:05 VCS X V-16-1-1 y", "", "VCS", "(s) resource"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		e := Parse(line)
		if e.Line != line || e.ID != "" && !strings.HasSuffix(line, " VCS "+e.Severity+" "+e.ID+" "+e.Text) {
			t.Errorf("%q became %+v", line, e)
		}
		_ = e.String()
		for _, o := range e.Objects() {
			if !strings.Contains(e.Text, o.Name) {
				t.Errorf("%q names no %v", line, o)
			}
		}
	})
}

// TestReadEndsWhenTold: a reader that has enough is not given the rest.
func TestReadEndsWhenTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x_A.log")
	if err := os.WriteFile(path, []byte("one\r\n\ntwo\nthree without an end"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := Read(path, func(e Entry) bool { got = append(got, e.Line); return len(got) < 2 }); err != nil || !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("%q, %v", got, err)
	}
	got = nil
	if err := Read(path, func(e Entry) bool { got = append(got, e.Line); return true }); err != nil || len(got) != 3 || got[2] != "three without an end" {
		t.Errorf("%q, %v", got, err)
	}
}
