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
// the step before, whose line holds all the words. The step before it is what
// took the time since the last mark.
type Mark struct {
	Name  string
	Words []string
}

// find returns the first record of the words in a span of time, both ends in.
func find(records []Record, from, until time.Time, words []string) (Record, bool) {
	for _, r := range records {
		holds := !r.Time.Before(from) && !r.Time.After(until)
		for _, word := range words {
			holds = holds && strings.Contains(r.Line, word)
		}
		if holds {
			return r, true
		}
	}
	return Record{}, false
}

// Split splits a span by marks in the order of a chain. The steps together are
// the span exactly: a mark that is not in the logs, or not in this order, has
// its time counted with the step after it, and its name in that step's.
func Split(records []Record, began, ended time.Time, marks []Mark, rest string) []Step {
	var steps []Step
	last, with := began, ""
	for _, mark := range marks {
		r, found := find(records, last, ended, mark.Words)
		if !found {
			with += mark.Name + ", "
			continue
		}
		steps = append(steps, Step{Name: with + mark.Name, Took: r.Time.Sub(last)})
		last, with = r.Time, ""
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

// takeOver are the marks from the last sign of the old owner to the engine's
// decision. With fencing disabled there is no race, and no mark of one.
func takeOver(fenced bool) []Mark {
	marks := []Mark{
		{StepDetection, []string{`"msg":"peer is down"`, `"daemon":"gab"`}},
		{StepView, []string{`"msg":"view"`, `"port":"a"`}},
	}
	if fenced {
		marks = append(marks,
			Mark{"fencing: view to the race", []string{`"code":"race-begins"`}},
			Mark{"fencing: delay of R12 (race_delay)", []string{`"code":"race-operates"`}},
			Mark{"fencing: race for 3 points, won in GAB's order", []string{`"code":"race-won"`}},
			Mark{"fencing: evidence (power switch)", []string{`"msg":"evidence told to gab"`}},
		)
	}
	return append(marks,
		Mark{StepRelease, []string{`"msg":"view"`, `"port":"h"`}},
		Mark{StepDecision, []string{`"V-16-1-10301"`}},
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
	marks := append(takeOver(fenced),
		Mark{"FileOnOff: online", []string{`"msg":"entry point ended"`, `"resource":"svc_flag"`}},
		Mark{"FileOnOff: monitor, report in GAB's order", []string{`"V-16-1-10298"`, "svc_flag"}},
		Mark{StepTurn, []string{`"V-16-1-10301"`, "svc_ip"}},
		Mark{StepProbe, []string{`"msg":"nobody else has the address"`}},
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
