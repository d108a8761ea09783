package layout

import (
	"fmt"
	"io"
	"strings"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// Stream prints hastatus without -sum: the state of everything, then a line
// for each change.
type Stream struct {
	Out io.Writer
	// Times puts the time of day before each line; Bell rings when something
	// faults.
	Times, Bell bool

	last  string
	ready bool
	now   int64
	err   error
}

const rowStream = "%-15s %-20s %-20s %-20s"

// Begin prints the head.
func (s *Stream) Begin() {
	s.print("attempting to connect....connected\n\n\n")
	s.row("group", "resource", "system", "message")
	s.row(strings.Repeat("-", 15), strings.Repeat("-", 20), strings.Repeat("-", 20), strings.Repeat("-", 20))
}

func (s *Stream) print(format string, args ...any) {
	if s.err == nil {
		_, s.err = fmt.Fprintf(s.Out, format, args...)
	}
}

func (s *Stream) row(group, resource, system, text string) {
	if s.Times {
		clock := strings.Repeat(" ", 8)
		if s.now > 0 {
			clock = time.UnixMilli(s.now).Format(time.TimeOnly)
		}
		s.print("%s ", clock)
	}
	s.print(rowStream+"\n", group, resource, system, text)
}

// Event prints one event; the error is that of the writer. Groups and
// resources are parted by a rule while the first state of all is shown.
func (s *Stream) Event(e *hadv1.Event) error {
	s.now = e.GetTimeUnixMs()
	if e.GetKind() == "resource" && s.last != "resource" && !s.ready {
		s.print("%s\n", strings.Repeat("-", 73))
	}
	s.last = e.GetKind()
	message := e.GetState()
	if s.ready && strings.Contains(message, "FAULTED") && s.Bell {
		message += "\a"
	}
	switch e.GetKind() {
	case "ready":
		s.ready = true
	case "system":
		s.row("", "", e.GetSystem(), message)
	case "group":
		s.row(e.GetGroup(), "", e.GetSystem(), message)
	case "resource":
		s.row("", e.GetResource(), e.GetSystem(), message)
	}
	return s.err
}
