// Package messagelog is the log of messages: lines as Veritas Cluster Server
// writes them, and the same as JSON, one object a line, in two files that
// rotate together from _A over _B to _C. Writing never waits for the disk;
// reading goes over the rotated files and follows them.
package messagelog

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Schema names the form of the JSON lines. Within one schema fields are only
// added.
const Schema = "evenkeel.log.v1"

// Record is one message.
type Record struct {
	// Time is the wall clock of the system that wrote it; for people only.
	Time time.Time `json:"time"`
	// Severity is CRITICAL, ERROR, WARNING, NOTICE or INFO.
	Severity string `json:"severity"`
	// ID is the whole message id: "V-16-1-10322".
	ID string `json:"id"`
	// Host is the system that wrote it.
	Host string `json:"host"`
	// System, Group, Resource and Agent (a type) are what it is about, "" for
	// none.
	System   string `json:"system,omitempty"`
	Group    string `json:"group,omitempty"`
	Resource string `json:"resource,omitempty"`
	Agent    string `json:"agent,omitempty"`
	// Entry is the entry point of the agent.
	Entry string `json:"entry_point,omitempty"`
	// View and Seq are the place in the total order; 0 for what is not ordered.
	View uint64 `json:"view,omitempty"`
	Seq  uint64 `json:"seq,omitempty"`
	// Text is one line.
	Text string `json:"text"`
	// Head is what stands in round brackets before the text in VCS's line, ""
	// for none.
	Head string `json:"head,omitempty"`
}

// layout is that of VCS's lines.
const layout = "2006/01/02 15:04:05"

// Line is VCS's line, without its end.
func (r Record) Line() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s VCS %s %s ", r.Time.Format(layout), r.Severity, r.ID)
	if r.Head != "" {
		fmt.Fprintf(&b, "(%s) ", r.Head)
	}
	if r.Agent != "" {
		fmt.Fprintf(&b, "%s:%s:%s:", r.Agent, r.Resource, r.Entry)
	}
	return b.String() + OneLine(r.Text)
}

// JSON is the record as one line, without its end.
func (r Record) JSON() []byte {
	r.Text = OneLine(r.Text)
	text, err := json.Marshal(struct {
		Schema string `json:"schema"`
		Record
	}{Schema, r})
	if err != nil { // strings and numbers only
		panic("encode log record: " + err.Error())
	}
	return text
}

// OneLine keeps names that somebody made up from forging lines of their own.
func OneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' {
			return ' '
		}
		return r
	}, text)
}
