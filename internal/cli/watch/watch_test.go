package watch

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"github.com/cockroachdb/datadriven"
	"github.com/muesli/termenv"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// asked records what the model wants to know.
type asked []string

func (a *asked) Refresh()             { *a = append(*a, "refresh") }
func (a *asked) Explain(group string) { *a = append(*a, "explain "+group) }

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// keys are the keys that a script names otherwise than by their letter.
var keys = map[string]tea.KeyMsg{
	"up": {Type: tea.KeyUp}, "down": {Type: tea.KeyDown}, "left": {Type: tea.KeyLeft}, "right": {Type: tea.KeyRight},
	"enter": {Type: tea.KeyEnter}, "esc": {Type: tea.KeyEsc}, "end": {Type: tea.KeyEnd}, "backspace": {Type: tea.KeyBackspace}, "ctrl+c": {Type: tea.KeyCtrlC},
}

func key(word string) tea.KeyMsg {
	if k, ok := keys[word]; ok {
		return k
	}
	return tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(word)}
}

// cluster has systems s01.. and groups; the group db is faulted on the first
// and web runs on the second.
func cluster(systems int) *hadv1.GetStatusResponse {
	s := &hadv1.GetStatusResponse{LocalSystem: "s01", LocalState: "RUNNING", Cluster: &hadv1.Cluster{Name: "demo"}}
	for i := range systems {
		s.Systems = append(s.Systems, &hadv1.System{Name: fmt.Sprintf("s%02d", i+1), State: "RUNNING"})
	}
	s.Systems[systems-1].State, s.Systems[systems-1].Freshness = "FAULTED", &hadv1.Freshness{Stale: true, AgeMs: 12000, Why: "it is FAULTED"}
	for _, g := range []string{"app", "db", "web"} {
		group := &hadv1.Group{Name: g, Kind: "failover"}
		for _, on := range s.Systems {
			group.Systems = append(group.Systems, &hadv1.GroupOnSystem{System: on.GetName(), State: "OFFLINE", Probed: on.GetState() == "RUNNING", Freshness: on.GetFreshness()})
		}
		s.Groups = append(s.Groups, group)
	}
	s.Groups[0].Systems[0].State = "STARTING|PARTIAL"
	s.Groups[1].Systems[0].State = "OFFLINE|FAULTED"
	s.Groups[1].Systems[systems-1].Autodisabled = true
	s.Groups[2].Systems[1].State = "ONLINE"
	s.Groups[2].Frozen, s.Groups[2].Attributes = true, []*hadv1.Attribute{{Name: "Frozen", Value: "1"}} // as the brief status says it of a persistent freeze
	s.Resources = []*hadv1.Resource{{Name: "db_disk", Group: "db", Type: "Mount", Enabled: true, Systems: []*hadv1.ResourceOnSystem{
		{System: "s01", State: "OFFLINE|FAULTED", Probed: true, Reason: "monitor reported OFFLINE unexpectedly"}}}}
	return s
}

// TestFrames: what a user sees, frame by frame.
func TestFrames(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var questions asked
		renderer := lipgloss.NewRenderer(io.Discard)
		renderer.SetColorProfile(termenv.Ascii)
		var m tea.Model = New(&questions, renderer)
		send := func(msg tea.Msg) { m, _ = m.Update(msg) }
		var last *hadv1.GetStatusResponse
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "size":
				var w, h int
				d.ScanArgs(t, "width", &w)
				d.ScanArgs(t, "height", &h)
				send(tea.WindowSizeMsg{Width: w, Height: h})
			case "cluster":
				var n int
				d.ScanArgs(t, "systems", &n)
				last = cluster(n)
				if d.HasArg("held") {
					gate := "s03 is lost and not proved gone; ha fencing vouch s03"
					last.Gate = &gate
				}
				send(Status{At: noon, Status: last})
				send(Link{Mode: "live"})
			case "many":
				var n int
				d.ScanArgs(t, "groups", &n)
				for i := range n {
					last.Groups = append(last.Groups, &hadv1.Group{Name: fmt.Sprintf("x%03d", i), Systems: []*hadv1.GroupOnSystem{{System: "s01", State: "ONLINE", Probed: true}}})
				}
				send(Status{At: noon, Status: last})
			case "gone":
				send(Link{Mode: "gone", Why: "had does not run on this system"})
				send(Now(noon.Add(42 * time.Second)))
			case "log":
				for _, line := range strings.Split(d.Input, "\n") {
					severity, text, _ := strings.Cut(line, " ")
					send(Event{&hadv1.Event{Kind: "log", Severity: severity, Text: text, TimeUnixMs: noon.UnixMilli()}})
				}
			case "decision":
				send(Event{&hadv1.Event{Kind: "decision", Group: "db", Text: d.Input, TimeUnixMs: noon.UnixMilli()}})
			case "explained":
				send(Explanation{Group: d.CmdArgs[0].Key, Explanation: &hadv1.ExplainGroupResponse{Group: last.GetGroups()[1],
					Hindrances: []string{"db_disk is faulted on s01; repair it, then: hagrp -clear db -sys s01"},
					Decisions: []*hadv1.Decision{{Position: &hadv1.Position{View: 3, Seq: 11}, Subject: "failover", Verdict: "no target", Evidence: "s03 POWERED_OFF", WayOut: "hagrp -clear db -sys s01",
						Candidates: []*hadv1.Candidate{{System: "s01", Reason: "faulted there"}, {System: "s02", Chosen: true, Reason: "first in SystemList, and the reason is so long that no narrow screen can take it in one line"}}}}}})
			case "press":
				for _, word := range strings.Fields(d.Input) {
					send(key(word))
				}
				out := ""
				for _, q := range questions {
					out += "asks: " + q + "\n"
				}
				questions = nil
				return out
			case "frame":
				return m.View() + "\n"
			default:
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return ""
		})
	})
}

// TestAnySize: whatever the size, the frame fits it.
func TestAnySize(t *testing.T) {
	old := time.Local
	time.Local = time.UTC
	defer func() { time.Local = old }()
	for _, systems := range []int{2, 3, 64} {
		for _, size := range [][2]int{{20, 6}, {40, 10}, {80, 24}, {81, 25}, {200, 60}, {1000, 7}} {
			var questions asked
			renderer := lipgloss.NewRenderer(io.Discard)
			renderer.SetColorProfile(termenv.TrueColor)
			var m tea.Model = New(&questions, renderer)
			check := func(what string) {
				t.Helper()
				rows := strings.Split(m.View(), "\n")
				if len(rows) != size[1] {
					t.Errorf("%v, %d systems, %s: %d rows", size, systems, what, len(rows))
				}
				for _, row := range rows {
					if w := lipgloss.Width(row); w > size[0] {
						t.Errorf("%v, %d systems, %s: a row of %d: %q", size, systems, what, w, row)
					}
				}
			}
			send := func(msg tea.Msg) { m, _ = m.Update(msg) }
			send(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			check("at first")
			send(Status{At: noon, Status: cluster(systems)})
			send(Event{&hadv1.Event{Kind: "log", Severity: "ERROR", Text: "\x1b[2J" + strings.Repeat("ä漢", 300)}})
			check("with a log")
			if strings.Contains(m.View(), "\x1b[2J") {
				t.Error("a message moved the cursor")
			}
			for _, word := range []string{"j", "j", "right", "right", "?", "down", "enter", "/", "f", "enter", "G", "left"} {
				send(key(word))
				check("after " + word)
			}
			send(Link{Mode: "gone", Why: strings.Repeat("why ", 100)})
			check("gone")
		}
	}
}

// TestColours: colours are there, and only where the terminal has them.
func TestColours(t *testing.T) {
	for profile, want := range map[termenv.Profile]bool{termenv.Ascii: false, termenv.ANSI: true} {
		var questions asked
		renderer := lipgloss.NewRenderer(io.Discard)
		renderer.SetColorProfile(profile)
		m, _ := New(&questions, renderer).Update(Status{At: noon, Status: cluster(3)})
		if got := strings.Contains(m.View(), "\x1b[3"); got != want {
			t.Errorf("profile %v: colours %v", profile, got)
		}
	}
}

func TestQuit(t *testing.T) {
	for _, word := range []string{"q", "ctrl+c"} {
		var questions asked
		_, cmd := New(&questions, lipgloss.NewRenderer(io.Discard)).Update(key(word))
		if cmd == nil || fmt.Sprintf("%T", cmd()) != "tea.QuitMsg" {
			t.Errorf("%s does not leave", word)
		}
	}
}

// TestLinesBefore: the log from before the start comes first.
func TestLinesBefore(t *testing.T) {
	var questions asked
	renderer := lipgloss.NewRenderer(io.Discard)
	renderer.SetColorProfile(termenv.Ascii)
	var m tea.Model = New(&questions, renderer)
	m, _ = m.Update(Status{At: noon, Status: cluster(2)})
	m, _ = m.Update(Lines{{Time: noon, Severity: "INFO", Text: "an old line"}})
	if !strings.Contains(m.View(), "12:00:00 an old line") {
		t.Errorf("the old line is missing:\n%s", m.View())
	}
}

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}
