// Package watch is ha watch: the cluster live on the whole screen. The model
// is pure, as bubbletea wants it: messages in, a new model and a text out; it
// reads no clock. The follower brings it what had says.
package watch

import (
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"github.com/evenkeel/evenkeel/internal/cli/doctor"
	"github.com/evenkeel/evenkeel/internal/messagelog"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// The messages that the follower sends.
type (
	// Status is the cluster as had knows it, at a time.
	Status struct {
		At     time.Time
		Status *hadv1.GetStatusResponse
	}
	// Event is one thing that happened.
	Event struct{ Event *hadv1.Event }
	// Link says how had is heard: "live", "polling" or "gone", and why it is
	// not live.
	Link struct{ Mode, Why string }
	// Explanation answers the question why a group is where it is.
	Explanation struct {
		Group       string
		Explanation *hadv1.ExplainGroupResponse
		Err         string
	}
	// Lines are lines of the engine log from before the start.
	Lines []messagelog.Record
	// Now is the time of day, once a second.
	Now time.Time
)

// Questions are what the model asks of the follower; it may be called from
// Update and must not block.
type Questions interface {
	Refresh()
	Explain(group string)
}

const (
	keptDecisions = 50
	keptLines     = 500
)

// Model is what is seen.
type Model struct {
	ask           Questions
	look          looks
	width, height int
	now, at       time.Time
	status        *hadv1.GetStatusResponse
	link          Link
	findings      []doctor.Finding
	decisions     []string
	lines         []logLine
	selected      string // group
	firstGroup    int
	firstSystem   int
	filter        string
	filtering     bool
	help          bool
	explained     *Explanation
	scroll        int // of the explanation or the help
}

type logLine struct{ severity, text string }

// New makes the model; the renderer knows whether there are colours.
func New(ask Questions, r *lipgloss.Renderer) Model {
	return Model{ask: ask, look: newLooks(r), width: 80, height: 24, link: Link{Mode: "gone", Why: "not asked yet"}}
}

// Init asks for nothing: the follower brings everything.
func (m Model) Init() tea.Cmd { return nil }

// Update takes one message.
func (m Model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(msg.Width, 20), max(msg.Height, 6)
	case tea.KeyMsg:
		return m.key(msg)
	case Status:
		m.status, m.at, m.now = msg.Status, msg.At, msg.At
		m.findings = doctor.Examine(&doctor.Facts{Self: msg.Status.GetLocalSystem(), Status: msg.Status})
		if names := m.groupNames(); !slices.Contains(names, m.selected) && len(names) > 0 {
			m.selected = names[0]
		}
	case Link:
		m.link = msg
	case Now:
		m.now = time.Time(msg)
	case Event:
		m = m.event(msg.Event)
	case Lines:
		for _, r := range msg {
			m.lines = append(m.lines, logLine{r.Severity, r.Time.Format("15:04:05") + " " + r.Text})
		}
	case Explanation:
		if m.explained != nil && m.explained.Group == msg.Group {
			m.explained = &msg
		}
	}
	m.follow()
	return m, nil
}

func (m Model) event(e *hadv1.Event) Model {
	at := time.UnixMilli(e.GetTimeUnixMs()).Format("15:04:05")
	switch e.GetKind() {
	case "log":
		m.lines = append(m.lines, logLine{e.GetSeverity(), at + " " + e.GetText()})
		m.lines = m.lines[max(0, len(m.lines)-keptLines):]
	case "decision":
		text := e.GetText()
		if e.GetGroup() != "" {
			text = e.GetGroup() + ": " + text
		}
		m.decisions = append(m.decisions, at+" "+text)
		m.decisions = m.decisions[max(0, len(m.decisions)-keptDecisions):]
	}
	return m
}

func (m Model) key(k tea.KeyMsg) (tea.Model, tea.Cmd) {
	if m.filtering {
		return m.typed(k), nil
	}
	word := k.String()
	switch word {
	case "q", "ctrl+c":
		return m, tea.Quit
	case "?":
		m.help, m.explained, m.scroll = !m.help, nil, 0
	case "esc":
		if m.explained == nil && !m.help {
			m.filter = ""
		}
		m.help, m.explained, m.scroll = false, nil, 0
	case "r":
		m.ask.Refresh()
	case "/":
		m.filtering = true
	case "enter":
		if m.selected != "" {
			m.help, m.scroll = false, 0
			m.explained = &Explanation{Group: m.selected}
			m.ask.Explain(m.selected)
		}
	case "left", "h":
		m.firstSystem = max(0, m.firstSystem-1)
	case "right", "l":
		m.firstSystem = min(m.firstSystem+1, max(0, len(m.status.GetSystems())-m.columns()))
	default:
		m = m.move(word)
	}
	m.follow()
	return m, nil
}

// move goes up and down: in the panel that is open, else among the groups.
func (m Model) move(word string) Model {
	step := map[string]int{"up": -1, "k": -1, "down": 1, "j": 1, "pgup": -10, "pgdown": 10, "home": -1 << 20, "g": -1 << 20, "end": 1 << 20, "G": 1 << 20}[word]
	if step == 0 {
		return m
	}
	if m.explained != nil || m.help {
		m.scroll = min(max(0, m.scroll+step), max(0, len(m.panel())-1))
		return m
	}
	names := m.groupNames()
	if len(names) == 0 {
		return m
	}
	i := min(max(0, slices.Index(names, m.selected)+step), len(names)-1)
	m.selected = names[i]
	return m
}

// typed edits the filter.
func (m Model) typed(k tea.KeyMsg) Model {
	switch k.Type {
	case tea.KeyEnter:
		m.filtering = false
	case tea.KeyEsc, tea.KeyCtrlC:
		m.filtering, m.filter = false, ""
	case tea.KeyBackspace:
		if runes := []rune(m.filter); len(runes) > 0 {
			m.filter = string(runes[:len(runes)-1])
		}
	case tea.KeyRunes, tea.KeySpace:
		m.filter += string(k.Runes)
	}
	if names := m.groupNames(); !slices.Contains(names, m.selected) && len(names) > 0 {
		m.selected = names[0]
	}
	m.follow()
	return m
}

// groups are those that the filter leaves: by name, by the
// beginning of a state, or by the system that they are online on.
func (m Model) groups() []*hadv1.Group {
	var all []*hadv1.Group
	for _, g := range m.status.GetGroups() {
		if m.filter == "" || m.matches(g) {
			all = append(all, g)
		}
	}
	return all
}

func (m Model) matches(g *hadv1.Group) bool {
	want := strings.ToLower(m.filter)
	if strings.Contains(strings.ToLower(g.GetName()), want) {
		return true
	}
	return len(want) > 1 && slices.ContainsFunc(g.GetSystems(), func(on *hadv1.GroupOnSystem) bool {
		states := strings.Split(strings.ToLower(on.GetState()), "|")
		return slices.ContainsFunc(states, func(word string) bool { return strings.HasPrefix(word, want) }) ||
			strings.ToLower(on.GetSystem()) == want && slices.Contains(states, "online")
	})
}

func (m Model) groupNames() []string {
	var names []string
	for _, g := range m.groups() {
		names = append(names, g.GetName())
	}
	return names
}

// follow keeps the selected group and the columns on the screen.
func (m *Model) follow() {
	rows := m.room().groups
	if i := slices.Index(m.groupNames(), m.selected); i >= 0 {
		m.firstGroup = min(m.firstGroup, i)
		if rows > 0 && i >= m.firstGroup+rows {
			m.firstGroup = i - rows + 1
		}
	}
	m.firstGroup = max(0, min(m.firstGroup, len(m.groups())-rows))
	m.firstSystem = max(0, min(m.firstSystem, len(m.status.GetSystems())-m.columns()))
}
