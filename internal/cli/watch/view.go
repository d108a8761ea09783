package watch

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/lipgloss"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// looks are the colours; without colours they are nothing.
type looks struct{ title, good, bad, warn, busy, dim, selected, head lipgloss.Style }

func newLooks(r *lipgloss.Renderer) looks {
	s := func(color string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(color)) }
	return looks{title: s("6"), good: s("2"), bad: s("1").Bold(true), warn: s("3"), busy: s("4"), dim: s("8"),
		selected: r.NewStyle().Reverse(true), head: r.NewStyle().Bold(true)}
}

// cell is a piece of a line with its look.
type cell struct {
	text string
	look lipgloss.Style
}

// room is how many rows each part gets.
type room struct{ groups, findings, decisions, lines int }

// room divides the height: header, heads of the grid and keys are always
// there; every other part has a title, and the log gets what is left.
func (m Model) room() room {
	left := m.height - 4 - len(m.alerts())
	r := room{groups: len(m.groups())}
	if m.explained != nil || m.help {
		r.groups = min(r.groups, max(2, left/4))
		r.lines = max(0, left-r.groups)
		return r
	}
	r.groups = max(1, min(r.groups, left*2/5))
	left -= r.groups
	if n := len(m.decisions); n > 0 && left > 6 {
		r.decisions = min(n, max(1, left/5))
		left -= r.decisions + 1
	}
	if n := len(m.findings); n > 0 && left > 2 {
		// The log keeps a third of what is left, if it has so many lines.
		free := left - 1 - min(len(m.lines)+1, left/3+1)
		r.findings = min(2*n, max(2, free/2*2)) // two lines each
		left -= r.findings + 1
	}
	r.lines = max(0, left-1)
	return r
}

const (
	nameWidth   = 18
	columnWidth = 11
)

// columns is how many systems fit beside the names of the groups.
func (m Model) columns() int { return max(1, (m.width-nameWidth)/columnWidth) }

// View is the screen.
func (m Model) View() string {
	rows := []string{m.header()}
	for _, text := range m.alerts() {
		rows = append(rows, m.line(cell{text, m.look.bad}))
	}
	r := m.room()
	rows = append(rows, m.grid(r.groups)...)
	if m.explained != nil || m.help {
		rows = append(rows, m.panelRows(r.lines)...)
	} else {
		rows = append(rows, m.parts(r)...)
	}
	for len(rows) < m.height-1 {
		rows = append(rows, "")
	}
	rows = append(rows[:m.height-1], m.keys())
	return strings.Join(rows, "\n")
}

// clean takes out what would move the cursor.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// fit cuts or pads a text to a width.
func fit(text string, width int) string {
	text = clean(text)
	n := lipgloss.Width(text)
	if n <= width {
		return text + strings.Repeat(" ", width-n)
	}
	for lipgloss.Width(text) > width-1 && text != "" {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text + "…" + strings.Repeat(" ", max(0, width-1-lipgloss.Width(text)))
}

// line joins cells to one line no wider than the screen.
func (m Model) line(cells ...cell) string {
	var b strings.Builder
	left := m.width
	for _, c := range cells {
		text := clean(c.text)
		if lipgloss.Width(text) > left {
			text = fit(text, left)
		}
		left -= lipgloss.Width(text)
		b.WriteString(c.look.Render(text))
		if left <= 0 {
			break
		}
	}
	return strings.TrimRight(b.String(), " ")
}

func (m Model) header() string {
	name := m.status.GetCluster().GetName()
	if name == "" {
		name = "(cluster not known yet)"
	}
	cells := []cell{{name, m.look.head}}
	if m.status != nil {
		cells = append(cells, cell{fmt.Sprintf("  asked %s (%s)", m.status.GetLocalSystem(), m.status.GetLocalState()), lipgloss.NewStyle()})
	}
	switch m.link.Mode {
	case "live":
		cells = append(cells, cell{"  live", m.look.good})
	default:
		cells = append(cells, cell{"  " + m.link.Mode, m.look.warn})
	}
	if m.status != nil {
		age, look := max(0, m.now.Sub(m.at)), m.look.dim
		if age > 5*time.Second {
			look = m.look.bad
		}
		cells = append(cells, cell{fmt.Sprintf("  facts %s old", age.Round(time.Second)), look})
	}
	if m.filter != "" || m.filtering {
		cells = append(cells, cell{"  /" + m.filter, m.look.warn})
		if m.filtering {
			cells = append(cells, cell{"_", m.look.warn})
		}
	}
	return m.line(cells...)
}

// alerts are what stands above all else.
func (m Model) alerts() []string {
	var all []string
	if m.link.Mode == "gone" {
		all = append(all, "had does not answer, trying again: "+m.link.Why)
	}
	if m.status != nil && m.status.Gate != nil {
		all = append(all, "VIEWS ARE HELD: "+m.status.GetGate())
	}
	if m.status.GetWaitingFor() != "" {
		all = append(all, m.status.GetLocalSystem()+": "+m.status.GetWaitingFor())
	}
	return all
}

// short are VCS's words for narrow columns.
var short = map[string]string{
	"RUNNING": "running", "FAULTED": "FAULTED", "EXITED": "exited", "UNKNOWN": "unknown", "STALE_ADMIN_WAIT": "STALE_ADM", "ADMIN_WAIT": "ADMIN_WAIT",
	"LOCAL_BUILD": "building", "REMOTE_BUILD": "building", "LEAVING": "leaving", "EXITING": "exiting", "INITING": "starting",
}

func (m Model) systemCell(s *hadv1.System) cell {
	text, ok := short[s.GetState()]
	if !ok {
		text = strings.ToLower(s.GetState())
	}
	look := m.look.warn
	switch s.GetState() {
	case "RUNNING":
		look = m.look.good
	case "FAULTED", "STALE_ADMIN_WAIT", "ADMIN_WAIT":
		look = m.look.bad
	}
	if s.GetDaemonDown() {
		text, look = "DDNA", m.look.bad
	}
	marks := ""
	for _, mark := range []struct {
		is   bool
		text string
	}{{s.GetFrozen(), "f"}, {s.GetJeopardy(), "j"}, {s.GetFreshness().GetStale(), "*"}} {
		if mark.is {
			marks += mark.text
		}
	}
	return cell{column(text, marks), look}
}

// column is a word and its marks in the width of a column.
func column(text, marks string) string {
	if marks != "" {
		marks = " " + marks
	}
	return fit(fit(text, min(lipgloss.Width(text), columnWidth-1-len(marks)))+marks, columnWidth)
}

// groupCell is the state of a group on a system in few letters.
func (m Model) groupCell(g *hadv1.Group, system string) cell {
	i := slices.IndexFunc(g.GetSystems(), func(on *hadv1.GroupOnSystem) bool { return on.GetSystem() == system })
	if i < 0 {
		return cell{fit("", columnWidth), m.look.dim}
	}
	on := g.GetSystems()[i]
	has := func(word string) bool { return slices.Contains(strings.Split(on.GetState(), "|"), word) }
	text, look := strings.ToLower(on.GetState()), m.look.dim
	switch {
	case has("STARTING"):
		text, look = "starting", m.look.busy
	case has("STOPPING"):
		text, look = "stopping", m.look.busy
	case has("FAULTED"):
		text, look = "FAULTED", m.look.bad
		if has("PARTIAL") || has("ONLINE") {
			text = "PART/FAULT"
		}
	case has("PARTIAL"):
		text, look = "PARTIAL", m.look.warn
	case has("ONLINE"):
		text, look = "ONLINE", m.look.good
	case has("OFFLINE"):
		text = "offline"
	}
	marks := ""
	switch {
	case on.GetAutodisabled():
		marks, look = "!", m.look.bad
	case !on.GetProbed():
		marks += "?"
	}
	if on.GetFreshness().GetStale() {
		marks += "*"
	}
	return cell{column(text, marks), look}
}

// grid is the groups by the systems.
func (m Model) grid(rows int) []string {
	all := m.status.GetSystems()
	shown := all[min(m.firstSystem, len(all)):min(len(all), m.firstSystem+m.columns())]
	place := ""
	if len(shown) < len(all) {
		place = fmt.Sprintf("%d-%d of %d", m.firstSystem+1, m.firstSystem+len(shown), len(all))
	}
	names, states := []cell{{fit("GROUP", nameWidth), m.look.title}}, []cell{{fit(place, nameWidth), m.look.dim}}
	for _, s := range shown {
		names = append(names, cell{column(s.GetName(), ""), m.look.title})
		states = append(states, m.systemCell(s))
	}
	out := []string{m.line(names...), m.line(states...)}
	groups := m.groups()
	for i := m.firstGroup; i < len(groups) && i < m.firstGroup+rows; i++ {
		g := groups[i]
		mark, look := "  ", lipgloss.NewStyle()
		if g.GetName() == m.selected {
			mark, look = "> ", m.look.selected
		}
		name := g.GetName()
		if g.GetFrozen() {
			name += " (f)"
		}
		cells := []cell{{fit(mark+name, nameWidth-1), look}, {" ", lipgloss.NewStyle()}}
		for _, s := range shown {
			cells = append(cells, m.groupCell(g, s.GetName()))
		}
		out = append(out, m.line(cells...))
	}
	if len(groups) == 0 {
		text := "no groups"
		if m.filter != "" {
			text = "no group matches /" + m.filter + " (esc shows all)"
		}
		out = append(out, m.line(cell{"  " + text, m.look.dim}))
	}
	return out
}

func (m Model) title(text string) string {
	return m.line(cell{fit("── "+text+" "+strings.Repeat("─", max(0, m.width-4-lipgloss.Width(text))), m.width), m.look.title})
}

// parts are what lies below the grid.
func (m Model) parts(r room) (out []string) {
	if r.findings > 0 {
		out = append(out, m.title(fmt.Sprintf("wrong: %d", len(m.findings))))
		for i, f := range m.findings {
			if 2*i+2 > r.findings {
				break
			}
			look := m.look.warn
			if f.Severity == "ERROR" {
				look = m.look.bad
			}
			out = append(out, m.line(cell{f.What, look}), m.line(cell{"   mend: ", m.look.dim}, cell{f.Command, lipgloss.NewStyle()}))
		}
	}
	if r.decisions > 0 {
		out = append(out, m.title("decisions"))
		for _, text := range m.decisions[len(m.decisions)-r.decisions:] {
			out = append(out, m.line(cell{text, lipgloss.NewStyle()}))
		}
	}
	if r.lines > 0 {
		out = append(out, m.title("log"))
		for _, l := range m.lines[max(0, len(m.lines)-r.lines):] {
			out = append(out, m.line(cell{l.text, m.severity(l.severity)}))
		}
	}
	return out
}

func (m Model) severity(word string) lipgloss.Style {
	switch word {
	case "CRITICAL", "ERROR":
		return m.look.bad
	case "WARNING":
		return m.look.warn
	case "INFO":
		return m.look.dim
	}
	return lipgloss.NewStyle()
}

var helpText = []string{
	"up, down, j, k     choose a group          left, right   more systems",
	"enter              why is the group where it is, and what leads out",
	"/                  show only what matches: a name, a state (faulted), a system",
	"r                  ask anew                esc           close, show all",
	"q                  leave",
	"",
	"Behind a state: ! autodisabled (not known whether it runs there), ? not probed,",
	"* may be out of date. (f) or f frozen, j one link left (jeopardy).",
	"DDNA: the machine is up, its engine is not.",
	"",
	"live: had tells at once; polling: asked every two seconds; gone: had is away.",
	"ha doctor makes more checks than the ones shown here.",
}

// panel is the text of the open panel.
func (m Model) panel() []string {
	if m.help {
		return helpText
	}
	x := m.explained
	switch {
	case x.Err != "":
		return []string{x.Err}
	case x.Explanation == nil:
		return []string{"asking ..."}
	}
	var out []string
	for _, on := range x.Explanation.GetGroup().GetSystems() {
		line := fmt.Sprintf("%s on %s", on.GetState(), on.GetSystem())
		if text := layout.Stale(on.GetFreshness()); text != "" {
			line += "  (STALE " + text + ")"
		}
		out = append(out, line)
	}
	if len(x.Explanation.GetHindrances()) > 0 {
		out = append(out, "", "in its way now:")
	}
	for _, text := range x.Explanation.GetHindrances() {
		out = append(out, "  "+text)
	}
	for i, d := range x.Explanation.GetDecisions() {
		if i == 0 {
			out = append(out, "", "decisions, latest first:")
		}
		out = append(out, fmt.Sprintf("[%d/%d] %s: %s", d.GetPosition().GetView(), d.GetPosition().GetSeq(), d.GetSubject(), d.GetVerdict()))
		for _, c := range d.GetCandidates() {
			mark := "no "
			if c.GetChosen() {
				mark = "yes"
			}
			out = append(out, fmt.Sprintf("    %s %s: %s", mark, c.GetSystem(), c.GetReason()))
		}
		for _, more := range []struct{ name, text string }{{"evidence", d.GetEvidence()}, {"way out", d.GetWayOut()}} {
			if more.text != "" {
				out = append(out, "    "+more.name+": "+more.text)
			}
		}
	}
	return out
}

func (m Model) panelRows(rows int) []string {
	name := "keys and signs"
	if !m.help {
		name = "why is " + m.explained.Group + " where it is"
	}
	text := m.panel()
	from := min(m.scroll, max(0, len(text)-1))
	out := []string{m.title(name)}
	for _, line := range text[from:min(len(text), from+max(0, rows-1))] {
		for _, part := range wrap(clean(line), m.width) {
			out = append(out, m.line(cell{part, lipgloss.NewStyle()}))
		}
	}
	return out[:min(len(out), max(1, rows))]
}

// wrap breaks a line at blanks; what follows is indented.
func wrap(line string, width int) []string {
	if lipgloss.Width(line) <= width {
		return []string{line}
	}
	indent := len(line) - len(strings.TrimLeft(line, " "))
	var out []string
	current := strings.Repeat(" ", indent)
	empty := true
	for _, word := range strings.Fields(line) {
		if !empty && lipgloss.Width(current)+1+lipgloss.Width(word) > width {
			out = append(out, current)
			current, empty = strings.Repeat(" ", min(indent+4, width/2)), true
		}
		if !empty {
			current += " "
		}
		current += word
		empty = false
	}
	return append(out, current)
}

func (m Model) keys() string {
	text := "q leave  ↑↓ group  ←→ systems  enter why  / filter  r refresh  ? help"
	switch {
	case m.filtering:
		text = "type a name, a state or a system; enter keeps it, esc shows all"
	case m.explained != nil || m.help:
		text = "↑↓ scroll  esc close  q leave"
	}
	return m.line(cell{text, m.look.dim})
}
