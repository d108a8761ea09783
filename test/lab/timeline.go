package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Step is one part of a failover.
type Step struct {
	Name string
	Took time.Duration
}

// Record is one line of a daemon's or agent's structured log.
type Record struct {
	Time time.Time `json:"time"`
	Msg  string    `json:"msg"`
	Line string    `json:"-"`
	// Fields are all attributes as they stand in the log.
	Fields map[string]any `json:"-"`
}

// Number returns a numeric attribute of the record, 0 if it has none.
func (r Record) Number(name string) float64 {
	value, _ := r.Fields[name].(float64)
	return value
}

// Records reads the structured logs of a system from a moment on, in the order
// of time.
func Records(ctx context.Context, l *Lab, system string, since time.Time) ([]Record, error) {
	out, err := l.Must(ctx, system, "sh", "-c", "cat /var/log/evenkeel/*.log")
	if err != nil {
		return nil, err
	}
	var records []Record
	for _, line := range strings.Split(out, "\n") {
		r := Record{Line: line}
		if json.Unmarshal([]byte(line), &r) != nil || r.Time.Before(since) {
			continue
		}
		if err := json.Unmarshal([]byte(line), &r.Fields); err != nil {
			return nil, fmt.Errorf("log line %q: %w", line, err)
		}
		records = append(records, r)
	}
	slices.SortStableFunc(records, func(a, b Record) int { return a.Time.Compare(b.Time) })
	return records, nil
}

// Mark is the end of one step of a chain: the first record, after the end of
// the step before, whose line holds all the words. The step is what took the
// time since the last mark.
type Mark struct {
	Name  string
	Words []string
	// Before names attributes of the record, milliseconds: the mark lies that
	// much before the record, which was written when a later step had ended.
	Before []string
	// Beside says that the step may have ended beside those before it, so that
	// nothing waited for it; then it takes no time here.
	Beside bool
}

// at is the time of the mark that a record makes.
func (m Mark) at(r Record) time.Time {
	at := r.Time
	for _, name := range m.Before {
		at = at.Add(-time.Duration(r.Number(name) * float64(time.Millisecond)))
	}
	return at
}

// find returns the time of a mark in a span, both ends in.
func (m Mark) find(records []Record, from, until time.Time) (time.Time, bool) {
	for _, r := range records {
		at := m.at(r)
		holds := !at.Before(from) && !at.After(until)
		for _, word := range m.Words {
			holds = holds && strings.Contains(r.Line, word)
		}
		if holds {
			return at, true
		}
	}
	return time.Time{}, false
}

// Split splits a span by marks in the order of a chain. The steps together are
// the span exactly: a mark that is not in the logs, or not in this order, has
// its time counted with the step after it, and its name in that step's.
func Split(records []Record, began, ended time.Time, marks []Mark, rest string) []Step {
	var steps []Step
	last, with := began, ""
	for _, mark := range marks {
		at, found := mark.find(records, last, ended)
		switch {
		case found:
			steps = append(steps, Step{Name: with + mark.Name, Took: at.Sub(last)})
			last, with = at, ""
		case mark.Beside:
			steps = append(steps, Step{Name: mark.Name})
		default:
			with += mark.Name + ", "
		}
	}
	return append(steps, Step{Name: with + rest, Took: ended.Sub(last)})
}

// Names of the steps that people ask for.
const (
	StepDetection = "detection (peerinact)"
	StepView      = "view agreed (of it 20 ms stable)"
	StepRelease   = "view released to the engine"
	StepDecision  = "engine: decision"
	StepTurn      = "engine: next resource"
	StepProbe     = "IP: address probe (Probes, ProbeTime)"
)

// TakeOver are the marks from the last sign of the old owner to the engine's
// decision. With fencing disabled there is no race, and no mark of one.
func TakeOver(fenced bool) []Mark {
	marks := []Mark{
		{Name: StepDetection, Words: []string{`"msg":"peer is down"`, `"daemon":"gab"`}},
		{Name: StepView, Words: []string{`"msg":"view"`, `"port":"a"`}},
	}
	if fenced {
		marks = append(marks,
			Mark{Name: "fencing: view to the race", Words: []string{`"code":"race-begins"`}},
			Mark{Name: "fencing: delay of R12 (race_delay)", Words: []string{`"code":"race-operates"`}},
			Mark{Name: "fencing: race for 3 points, won in GAB's order", Words: []string{`"code":"race-won"`}},
			Mark{Name: "fencing: evidence (power switch)", Words: []string{`"msg":"evidence told to gab"`}},
		)
	}
	return append(marks,
		Mark{Name: StepRelease, Words: []string{`"msg":"view"`, `"port":"h"`}},
		Mark{Name: StepDecision, Words: []string{`"V-16-1-10301"`}},
	)
}

// Timeline splits the failover of the benchmarks' group of a file and an
// address by the survivor's logs: from the last answer of the old owner to the
// first of the new one.
func Timeline(ctx context.Context, l *Lab, survivor string, began, ended time.Time, fenced bool) ([]Step, error) {
	records, err := Records(ctx, l, survivor, began)
	if err != nil {
		return nil, err
	}
	marks := append(TakeOver(fenced),
		Mark{Name: "FileOnOff: online", Words: []string{`"msg":"entry point ended"`, `"resource":"svc_flag"`}},
		Mark{Name: "FileOnOff: monitor, report in GAB's order", Words: []string{`"V-16-1-10298"`, "svc_flag"}},
		Mark{Name: StepTurn, Words: []string{`"V-16-1-10301"`, "svc_ip"}},
		Mark{Name: StepProbe, Words: []string{`"msg":"nobody else has the address"`}},
	)
	return Split(records, began, ended, marks, "IP: address added, announced, first answer"), nil
}

// ViewAndEngine is what of a failover beyond detection and the address probe is
// the cluster's own: the view, its way to the engine, and the engine's turns.
func ViewAndEngine(steps []Step) time.Duration {
	var sum time.Duration
	for _, step := range steps {
		for _, own := range []string{StepView, StepRelease, StepDecision, StepTurn} {
			if strings.HasSuffix(step.Name, own) {
				sum += step.Took
			}
		}
	}
	return sum
}
