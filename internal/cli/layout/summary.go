// Package layout prints the answers of had as VCS's commands do: the columns,
// their widths and the blanks at line ends are what scripts parse.
package layout

import (
	"fmt"
	"io"
	"strings"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// block is one part of the summary: nothing is printed for a block without
// lines.
type block struct {
	title, header string
	lines         []string
}

func (b *block) add(format string, args ...any) {
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *block) print(w io.Writer) {
	if len(b.lines) == 0 {
		return
	}
	fmt.Fprintf(w, "\n-- %s\n%s\n\n", b.title, b.header)
	for _, line := range b.lines {
		fmt.Fprintln(w, line)
	}
}

const (
	rowSystem   = "%-2s %-20s %-20s %-20s"
	rowGroup    = "%-2s %-15s %-20s %-10s %-15s %-15s"
	rowResource = "%-2s %-15s %-20s %-20s %-20s"
	rowWaiting  = "%-2s %-15s %-15s %-20s %-20s %s"
	rowDisabled = "%-2s %-15s %-15s %-20s"
)

// Summary prints hastatus -sum. Facts that may be out of date, what the engine
// waits for and a held gate follow as comment lines: parsers look at the
// letters in the first column.
func Summary(w io.Writer, s *hadv1.GetStatusResponse) {
	systems := &block{title: "SYSTEM STATE", header: fmt.Sprintf(rowSystem, "--", "System", "State", "Frozen")}
	for _, system := range s.GetSystems() {
		systems.add(rowSystem+" ", "A", system.GetName(), system.GetState(), flag(system.GetFrozen()))
	}
	groups := &block{title: "GROUP STATE", header: fmt.Sprintf(rowGroup, "--", "Group", "System", "Probed", "AutoDisabled", "State")}
	frozen := &block{title: "GROUPS FROZEN", header: "-- Group"}
	for _, group := range s.GetGroups() {
		for _, on := range group.GetSystems() {
			groups.add(rowGroup, "B", group.GetName(), on.GetSystem(), yes(on.GetProbed()), yes(on.GetAutodisabled()), on.GetState())
		}
		if group.GetFrozen() {
			frozen.add("C  %-15s", group.GetName())
		}
	}
	for _, b := range append([]*block{systems, groups, frozen}, resourceBlocks(s.GetResources())...) {
		b.print(w)
	}
	comments(w, s)
}

func resourceBlocks(resources []*hadv1.Resource) []*block {
	long := fmt.Sprintf(rowResource, "--", "Group", "Type", "Resource", "System")
	waiting := fmt.Sprintf(rowWaiting, "--", "Group", "Type", "Resource", "System", "IState")
	failed := &block{title: "RESOURCES FAILED", header: long}
	unprobed := &block{title: "RESOURCES NOT PROBED", header: long}
	onlining := &block{title: "RESOURCES ONLINING", header: waiting}
	offlining := &block{title: "RESOURCES OFFLINING", header: waiting}
	disabled := &block{title: "RESOURCES DISABLED", header: fmt.Sprintf(rowDisabled, "--", "Group", "Type", "Resource")}
	for _, r := range resources {
		if !r.GetEnabled() {
			disabled.add(rowDisabled, "H", r.GetGroup(), r.GetType(), r.GetName())
			continue
		}
		for _, on := range r.GetSystems() {
			if strings.Contains(on.GetState(), "FAULTED") {
				failed.add(rowResource, "D", r.GetGroup(), r.GetType(), r.GetName(), on.GetSystem())
			}
			if !on.GetProbed() {
				unprobed.add(rowResource, "E", r.GetGroup(), r.GetType(), r.GetName(), on.GetSystem())
			}
			switch code := on.GetIstateCode(); {
			case strings.Contains(code, "OFFLINE"):
				offlining.add(rowWaiting, "G", r.GetGroup(), r.GetType(), r.GetName(), on.GetSystem(), code)
			case code != "":
				onlining.add(rowWaiting, "F", r.GetGroup(), r.GetType(), r.GetName(), on.GetSystem(), code)
			}
		}
	}
	return []*block{failed, unprobed, onlining, offlining, disabled}
}

// comments prints what VCS's columns have no room for.
func comments(w io.Writer, s *hadv1.GetStatusResponse) {
	var lines []string
	for _, system := range s.GetSystems() {
		if f := system.GetFreshness(); f.GetStale() {
			lines = append(lines, fmt.Sprintf("STALE %s: %s", system.GetName(), Stale(f)))
		}
		if system.GetName() != s.GetLocalSystem() && system.GetWaitingFor() != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", system.GetName(), system.GetWaitingFor()))
		}
	}
	if s.GetWaitingFor() != "" {
		lines = append(lines, fmt.Sprintf("%s: %s", s.GetLocalSystem(), s.GetWaitingFor()))
	}
	if s.Gate != nil {
		lines = append(lines, "GATE HELD: "+s.GetGate())
	}
	lines = append(lines, s.GetConfigErrors()...)
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w)
	for _, line := range lines {
		fmt.Fprintln(w, "-- "+strings.ReplaceAll(line, "\n", " "))
	}
}

// Stale says how old a fact is and why it may be out of date; "" if it is
// fresh.
func Stale(f *hadv1.Freshness) string {
	if !f.GetStale() {
		return ""
	}
	text := "as of " + Age(f.GetAgeMs()) + " ago"
	if f.GetAgeMs() < 0 {
		text = "never heard of"
	}
	if f.GetWhy() != "" {
		text += "; " + f.GetWhy()
	}
	return text
}

// Age is a time in milliseconds for people.
func Age(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

func yes(b bool) string {
	if b {
		return "Y"
	}
	return "N"
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
