package modern

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/internal/cli/layout"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "What runs where, and what needs attention", Args: noNames,
		Long:    "Shows all systems and groups as this system's engine knows them, resources that need attention, and whatever is waited for, with the command that leads out. What may be out of date says how old it is. Answers in every state of the engine.",
		Example: "  ha status\n  ha status -o json | jq '.groups[].systems[]'",
		RunE: read(func(ctx context.Context, _ []string) error {
			s, err := a.had.Clusters.GetStatus(ctx, &hadv1.GetStatusRequest{Brief: true})
			if err != nil {
				return err
			}
			return a.show(s, func(w io.Writer) { a.printStatus(w, s) })
		}),
	}
}

func (a *app) printStatus(w io.Writer, s *hadv1.GetStatusResponse) {
	fmt.Fprintf(w, "cluster %s, asked %s, which is %s\n\n", or(s.GetCluster().GetName(), "(not known yet)"), s.GetLocalSystem(), s.GetLocalState())
	a.printSystems(w, s.GetSystems())
	if len(s.GetGroups()) > 0 {
		fmt.Fprintln(w)
		a.printGroups(w, s.GetGroups(), "")
	}
	rows := [][]string{{"RESOURCE", "GROUP", "TYPE", "SYSTEM", "STATE", "WHY"}}
	for _, r := range s.GetResources() {
		for _, on := range r.GetSystems() {
			if troubled(on.GetState()) || on.GetIstateCode() != "" || r.GetEnabled() && !on.GetProbed() {
				rows = append(rows, []string{r.GetName(), r.GetGroup(), r.GetType(), on.GetSystem(), resourceState(on), attention(r, on)})
			}
		}
	}
	if len(rows) > 1 {
		fmt.Fprintln(w, "\nneeds attention or is under way:")
		table(w, rows)
	}
	rows = nil
	for _, g := range s.GetGroups() {
		for _, text := range g.GetHindrances() {
			rows = append(rows, []string{g.GetName(), text})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nin the way of groups, with the command that leads out:")
		table(w, rows)
	}
	var notes []string
	if s.GetWaitingFor() != "" {
		notes = append(notes, s.GetLocalSystem()+": "+s.GetWaitingFor())
	}
	if s.Gate != nil {
		notes = append(notes, "views are held: "+s.GetGate())
	}
	for _, note := range append(notes, s.GetConfigErrors()...) {
		fmt.Fprintln(w, "\n"+note)
	}
}

// troubled says whether a resource's state is one that somebody should know of.
func troubled(state string) bool {
	return slices.ContainsFunc([]string{"FAULTED", "STATE UNKNOWN", "MONITOR TIMEDOUT", "UNABLE TO OFFLINE", "ADMIN_WAIT", "RESTARTING"}, func(word string) bool { return strings.Contains(state, word) })
}

// attention says why a resource is listed among those that need it.
func attention(r *hadv1.Resource, on *hadv1.ResourceOnSystem) string {
	if r.GetEnabled() && !on.GetProbed() {
		return or(on.GetReason(), "not probed")
	}
	return or(on.GetReason(), "-")
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func (a *app) printSystems(w io.Writer, systems []*hadv1.System) {
	rows := [][]string{a.header("SYSTEM", "NODE", "STATE", "NOTES")}
	for _, s := range systems {
		var notes []string
		for _, n := range []struct {
			is   bool
			text string
		}{
			{s.GetFrozen(), "frozen"}, {s.GetDaemonDown(), "machine up, had down"}, {s.GetJeopardy(), "jeopardy: one link left"},
			{s.GetFreshness().GetStale(), "STALE " + layout.Stale(s.GetFreshness())}, {s.GetWaitingFor() != "", s.GetWaitingFor()},
		} {
			if n.is {
				notes = append(notes, n.text)
			}
		}
		rows = append(rows, a.row(s.GetFreshness(), s.GetName(), nodeID(s), s.GetState(), strings.Join(notes, "; ")))
	}
	table(w, rows)
}

func nodeID(s *hadv1.System) string {
	if s.GetNodeId() < 0 {
		return "-"
	}
	return strconv.Itoa(int(s.GetNodeId()))
}

// printGroups prints groups, on one system or, for "", on all.
func (a *app) printGroups(w io.Writer, groups []*hadv1.Group, system string) {
	rows := [][]string{a.header("GROUP", "KIND", "SYSTEM", "STATE", "NOTES")}
	for _, g := range groups {
		for _, on := range g.GetSystems() {
			if system != "" && on.GetSystem() != system {
				continue
			}
			var notes []string
			if g.GetFrozen() {
				notes = append(notes, "frozen")
			}
			if !on.GetProbed() {
				notes = append(notes, "not probed")
			}
			if on.GetAutodisabled() {
				notes = append(notes, "autodisabled")
			}
			if text := layout.Stale(on.GetFreshness()); text != "" {
				notes = append(notes, "STALE "+text)
			}
			rows = append(rows, a.row(on.GetFreshness(), g.GetName(), g.GetKind(), on.GetSystem(), on.GetState(), strings.Join(notes, "; ")))
		}
	}
	table(w, rows)
}

func resourceState(on *hadv1.ResourceOnSystem) string {
	if on.GetIstateCode() != "" {
		return on.GetState() + " (" + on.GetIstate() + ")"
	}
	return on.GetState()
}

// printResources prints resources, on one system or, for "", on all.
func (a *app) printResources(w io.Writer, resources []*hadv1.Resource, system string) {
	rows := [][]string{a.header("RESOURCE", "GROUP", "TYPE", "SYSTEM", "STATE", "NOTES")}
	for _, r := range resources {
		for _, on := range r.GetSystems() {
			if system != "" && on.GetSystem() != system {
				continue
			}
			var notes []string
			if !r.GetEnabled() {
				notes = append(notes, "disabled")
			}
			if !on.GetProbed() {
				notes = append(notes, "not probed")
			}
			if on.GetReason() != "" {
				notes = append(notes, on.GetReason())
			}
			if text := layout.Stale(on.GetFreshness()); text != "" {
				notes = append(notes, "STALE "+text)
			}
			rows = append(rows, a.row(on.GetFreshness(), r.GetName(), r.GetGroup(), r.GetType(), on.GetSystem(), resourceState(on), strings.Join(notes, "; ")))
		}
	}
	table(w, rows)
}

// printAttributes prints attributes; with a system, those of others are left
// out.
func printAttributes(w io.Writer, attributes []*hadv1.Attribute, system string) {
	if len(attributes) == 0 {
		return
	}
	rows := [][]string{{"ATTRIBUTE", "SYSTEM", "VALUE"}}
	for _, a := range attributes {
		if system != "" && a.GetSystem() != "" && a.GetSystem() != system {
			continue
		}
		value := layout.Value(a.GetValue())
		if text := layout.Stale(a.GetFreshness()); text != "" {
			value += "  (STALE " + text + ")"
		}
		rows = append(rows, []string{a.GetName(), or(a.GetSystem(), "all"), value})
	}
	fmt.Fprintln(w)
	table(w, rows)
}

// header is the first row of a table; wide ones tell the age of each fact.
func (a *app) header(columns ...string) []string {
	if a.wide() {
		columns = slices.Insert(columns, len(columns)-1, "AGE")
	}
	return columns
}

// row is a row under such a header.
func (a *app) row(f *hadv1.Freshness, cells ...string) []string {
	if !a.wide() {
		return cells
	}
	age := "-"
	if f != nil {
		age = layout.Age(f.GetAgeMs())
		if f.GetAgeMs() < 0 {
			age = "never"
		}
	}
	return slices.Insert(cells, len(cells)-1, age)
}

// printOperation prints what became of a changing call, or its plan.
func (a *app) printOperation(o *hadv1.Operation, plan bool, done string) error {
	return a.show(o, func(w io.Writer) {
		for _, n := range o.GetNotices() {
			fmt.Fprintf(w, "%s: %s [%s]\n", strings.ToLower(n.GetSeverity()), n.GetText(), n.GetMessageId())
		}
		if !plan {
			if len(o.GetNotices()) == 0 {
				fmt.Fprintln(w, done)
			}
			return
		}
		for _, edit := range o.GetConfigEdits() {
			fmt.Fprintln(w, "plan: would change: "+edit)
		}
		if len(o.GetPlannedSteps())+len(o.GetConfigEdits()) == 0 {
			fmt.Fprintln(w, "plan: no resource would be started or stopped")
		}
		for i, step := range o.GetPlannedSteps() {
			where := strings.Join(slices.DeleteFunc([]string{step.GetAction(), step.GetResource()}, func(s string) bool { return s == "" }), " ")
			if step.GetSystem() != "" {
				where += " on " + step.GetSystem()
			}
			if step.GetText() != "" && step.GetText() != where {
				where += ": " + step.GetText()
			}
			fmt.Fprintf(w, "plan %d: %s\n", i+1, where)
		}
		for _, d := range o.GetDecisions() {
			printDecision(w, d, "", false, false)
		}
	})
}

// printDecision prints a decision: with the facts that it was taken on, or
// without, as a plan does. All of a long list only if wide. about is the group
// that the reader has asked for; any other one is named.
func printDecision(w io.Writer, d *hadv1.Decision, about string, facts, wide bool) {
	at := fmt.Sprintf("[%d/%d]", d.GetPosition().GetView(), d.GetPosition().GetSeq())
	subject := or(d.GetSubject(), d.GetGroup())
	if g := d.GetGroup(); g != "" && g != about && !slices.Contains(strings.Fields(subject), g) {
		subject = "group " + g + ": " + subject
	}
	fmt.Fprintf(w, "%s %s: %s\n", at, subject, d.GetVerdict())
	for _, c := range d.GetCandidates() {
		mark := "no "
		if c.GetChosen() {
			mark = "yes"
		}
		fmt.Fprintf(w, "    %s %s: %s\n", mark, c.GetSystem(), c.GetReason())
	}
	if d.GetEvidence() != "" {
		fmt.Fprintf(w, "    evidence: %s\n", d.GetEvidence())
	}
	if d.GetWayOut() != "" {
		fmt.Fprintf(w, "    way out: %s\n", d.GetWayOut())
	}
	if facts {
		printFacts(w, d, wide)
	}
	switch {
	case d.GetRepeatable() && (facts || len(d.GetCandidates()) > 0):
		fmt.Fprintln(w, "    decided again on the same inputs: the same")
	case !d.GetRepeatable() && d.GetInputs() != "":
		fmt.Fprintln(w, "    decided again on the same inputs: NOT THE SAME; that is a fault of the engine, please report it")
	}
}

// shownFacts is how many of the same name are shown.
const shownFacts = 8

func printFacts(w io.Writer, d *hadv1.Decision, wide bool) {
	if len(d.GetFacts()) > 0 {
		fmt.Fprintf(w, "    decided (%s) on:\n", d.GetKind())
	}
	shown := map[string]int{}
	for _, f := range d.GetFacts() {
		shown[f.GetName()]++
		switch n := shown[f.GetName()]; {
		case wide || n <= shownFacts:
			fmt.Fprintf(w, "        %s: %s\n", f.GetName(), f.GetValue())
		case n == shownFacts+1:
			fmt.Fprintf(w, "        %s: more of them with -o wide\n", f.GetName())
		}
	}
}
