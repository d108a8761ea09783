package layout

import (
	"strings"
	"testing"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// TestStream: times and bells only where they were asked for, a rule only in
// the first state of all, and a bell only for what faults afterwards.
func TestStream(t *testing.T) {
	local := time.Local
	time.Local = time.UTC
	t.Cleanup(func() { time.Local = local })
	events := []*hadv1.Event{
		{Kind: "system", System: "sysA", State: "RUNNING", TimeUnixMs: 1_000},
		{Kind: "group", Group: "g", System: "sysA", State: "OFFLINE|FAULTED", TimeUnixMs: 1_000},
		{Kind: "resource", Resource: "r", System: "sysA", State: "FAULTED"},
		{Kind: "ready"},
		{Kind: "agent", State: "DOWN", Text: "not for this layout"},
		{Kind: "resource", Resource: "r", System: "sysA", State: "OFFLINE", TimeUnixMs: 61_000},
		{Kind: "group", Group: "g", System: "sysA", State: "OFFLINE|FAULTED", TimeUnixMs: 62_000},
		{Kind: "resource", Resource: "r", System: "sysA", State: "ONLINE", TimeUnixMs: 63_000},
	}
	print := func(s Stream) string {
		var b strings.Builder
		s.Out = &b
		s.Begin()
		for _, e := range events {
			if err := s.Event(e); err != nil {
				t.Fatal(err)
			}
		}
		return b.String()
	}
	plain, noisy := print(Stream{}), print(Stream{Times: true, Bell: true})
	if strings.Count(plain, "\n"+strings.Repeat("-", 73)+"\n") != 1 || strings.Contains(plain, "\a") || strings.Contains(plain, "00:01:02") || strings.Contains(plain, "layout") {
		t.Errorf("%s", plain)
	}
	if strings.Count(noisy, "\a") != 1 || !strings.Contains(noisy, "00:01:02 g                                    sysA                 OFFLINE|FAULTED\a") {
		t.Errorf("%q", noisy)
	}
	lines := strings.Split(plain, "\n")
	if last := lines[len(lines)-2]; last != "                r                    sysA                 ONLINE              " {
		t.Errorf("%q", last)
	}
}
