package server

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/messagelog"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"google.golang.org/grpc/codes"
)

// watch collects events until one is wanted as the last.
func (h *had) watch(r *hadv1.WatchEventsRequest, last func(*hadv1.Event) bool) ([]*hadv1.Event, error) {
	ctx, cancel := context.WithTimeout(h.lab.t.Context(), time.Minute)
	defer cancel()
	stream, err := hadv1.NewEventServiceClient(h.conn).WatchEvents(ctx, r)
	if err != nil {
		return nil, err
	}
	var all []*hadv1.Event
	for {
		m, err := stream.Recv()
		if err != nil {
			return all, fmt.Errorf("after %d events: %w", len(all), err)
		}
		all = append(all, m.GetEvent())
		if last(m.GetEvent()) {
			return all, nil
		}
	}
}

// A reader that lost its stream goes on behind the last event that it read:
// it misses nothing and reads nothing twice.
func TestEventsResume(t *testing.T) {
	_, a, _ := pair(t)
	a.awaitGroup("web", "A", "ONLINE")
	if _, err := a.groups().SwitchGroup(background(t), &hadv1.SwitchGroupRequest{Name: "web", ToSystem: "B"}); err != nil {
		t.Fatal(err)
	}
	a.awaitGroup("web", "B", "ONLINE")
	upTo := func(system, state string) func(*hadv1.Event) bool {
		return func(e *hadv1.Event) bool {
			return e.GetKind() == "group" && e.GetSystem() == system && e.GetState() == state
		}
	}
	first, err := a.watch(&hadv1.WatchEventsRequest{After: a.cursorZero(), Log: true}, upTo("A", "OFFLINE"))
	if err != nil {
		t.Fatal(err)
	}
	cut := first[len(first)/2]
	again, err := a.watch(&hadv1.WatchEventsRequest{After: cut.GetCursor(), Log: true}, upTo("A", "OFFLINE"))
	if err != nil {
		t.Fatal(err)
	}
	want, got := first[len(first)/2+1:], again
	if len(want) != len(got) {
		t.Fatalf("%d events behind %s, %d expected", len(got), cut.GetCursor(), len(want))
	}
	for i := range want {
		if want[i].GetCursor() != got[i].GetCursor() || want[i].GetText() != got[i].GetText() {
			t.Errorf("event %d: %v, want %v", i, got[i], want[i])
		}
	}
	before, logs := uint64(0), 0
	for _, e := range first {
		if n := e.GetPosition().GetSeq(); n < before {
			t.Errorf("out of order: %v", e)
		} else {
			before = n
		}
		if e.GetKind() == "log" {
			logs++
		}
	}
	if logs == 0 {
		t.Error("no line of the log among the events")
	}
	plain, err := a.watch(&hadv1.WatchEventsRequest{After: a.cursorZero()}, upTo("A", "OFFLINE"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range plain {
		if e.GetKind() == "log" {
			t.Errorf("a line of the log that nobody asked for: %v", e)
		}
	}
}

// cursorZero is the cursor of the first event of all.
func (h *had) cursorZero() string {
	events, err := h.watch(&hadv1.WatchEventsRequest{After: fmt.Sprintf("%d.0", h.incarnation())}, func(*hadv1.Event) bool { return true })
	if err != nil {
		h.lab.t.Fatal(err)
	}
	had, _, _ := strings.Cut(events[0].GetCursor(), ".")
	return had + ".0"
}

func (h *had) incarnation() uint64 {
	got := make(chan uint64, 1) // one answer
	h.server.loop.post(func() { got <- h.server.loop.incarnation })
	return <-got
}

func TestEventsGone(t *testing.T) {
	_, a, b := pair(t)
	for name, c := range map[string]struct {
		after string
		code  codes.Code
		why   string
	}{
		"no cursor":    {"soon", codes.InvalidArgument, "BAD_REQUEST"},
		"another had":  {fmt.Sprintf("%d.0", b.incarnation()+1), codes.OutOfRange, "EVENTS_GONE"},
		"not yet come": {fmt.Sprintf("%d.99999999", a.incarnation()), codes.OutOfRange, "EVENTS_GONE"},
	} {
		_, err := a.watch(&hadv1.WatchEventsRequest{After: c.after}, func(*hadv1.Event) bool { return true })
		if code, why, _ := reason(err); code != c.code || why != c.why {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The ring keeps the last events and no more.
func TestRecent(t *testing.T) {
	var r recent
	for i := range keptEvents + 10 {
		r.keep(&hadv1.Event{Text: fmt.Sprint(i)})
	}
	if _, ok := r.behind(8); ok {
		t.Error("an event that is gone was found")
	}
	for _, c := range []struct{ after, n uint64 }{{9, keptEvents}, {100, keptEvents - 91}, {keptEvents + 9, 0}} {
		events, ok := r.behind(c.after)
		if !ok || uint64(len(events)) != c.n || c.n > 0 && events[0].GetText() != fmt.Sprint(c.after+1) {
			t.Errorf("behind %d: %d events, %v", c.after, len(events), ok)
		}
	}
	if _, ok := r.behind(keptEvents + 10); ok {
		t.Error("an event that has not come was found")
	}
}

// A slow reader is ended with the reason, and nobody else suffers.
func TestSlowReaderIsEnded(t *testing.T) {
	l := &loop{watchers: map[*watcher]bool{}}
	slow, quick := &watcher{events: make(chan *hadv1.Event, watchBound)}, &watcher{events: make(chan *hadv1.Event, watchBound)}
	l.watchers[slow], l.watchers[quick] = true, true
	for range watchBound + 1 {
		l.publish(&event{kind: "group"})
		<-quick.events
	}
	if code, why, meta := reason(slow.err); code != codes.ResourceExhausted || why != "READER_TOO_SLOW" || meta["message_id"] != "V-16-1-10806" {
		t.Errorf("the slow reader was told %v", slow.err)
	}
	if l.watchers[slow] || !l.watchers[quick] {
		t.Error("the wrong one was ended")
	}
}

// The log as JSON names what each line is about and its place in the order.
func TestStructuredLog(t *testing.T) {
	_, a, _ := pair(t)
	a.awaitGroup("web", "A", "ONLINE")
	var found []messagelog.Record
	poll(t, "the group's line in the log", func() bool {
		var err error
		found, err = messagelog.Last(t.Context(), a.root.Log("engine"), messagelog.Filter{Group: "web", System: "A", ID: "V-16-1-10447"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(found) > 0
	})
	if r := found[0]; r.Seq == 0 || r.View == 0 || r.Host != "A" || r.Severity != "NOTICE" || !strings.Contains(r.Text, "web is online on system A") {
		t.Errorf("%+v", r)
	}
	about, err := messagelog.Last(t.Context(), a.root.Log("engine"), messagelog.Filter{Resource: "top"}, 0)
	if err != nil || len(about) == 0 || about[0].Group != "web" {
		t.Errorf("lines about a resource: %v %v", about, err)
	}
}
