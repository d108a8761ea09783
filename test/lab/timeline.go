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

// find returns the time of the first record that holds all the words.
func find(records []Record, words ...string) (time.Time, bool) {
	for _, r := range records {
		holds := true
		for _, word := range words {
			holds = holds && strings.Contains(r.Line, word)
		}
		if holds {
			return r.Time, true
		}
	}
	return time.Time{}, false
}

// Timeline splits a failover into its parts by the survivor's logs: from the
// last answer of the old owner to the first of the new one.
func Timeline(ctx context.Context, l *Lab, survivor string, began, ended time.Time) ([]Step, error) {
	records, err := Records(ctx, l, survivor, began)
	if err != nil {
		return nil, err
	}
	marks := []struct {
		name  string
		words []string
	}{
		{"detection (peerinact)", []string{`"msg":"peer is down"`}},
		{"view agreed (stable time, view change)", []string{`"msg":"view"`, `"port":"b"`}},
		{"fencing: race and evidence", []string{`"msg":"evidence told to gab"`}},
		{"view released to the engine", []string{`"msg":"view"`, `"port":"h"`}},
		{"engine's decision", []string{`V-16-1-10301`}},
	}
	var steps []Step
	last := began
	for _, mark := range marks {
		at, found := find(records, mark.words...)
		if !found || at.Before(last) {
			continue
		}
		steps = append(steps, Step{Name: mark.name, Took: at.Sub(last)})
		last = at
	}
	return append(steps, Step{Name: "file, address probe, address, first answer", Took: ended.Sub(last)}), nil
}
