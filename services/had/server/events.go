package server

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

// watchBound is how many events wait for a reader of WatchEvents; a reader
// that is further behind is ended with RESOURCE_EXHAUSTED.
const watchBound = 4096

// keptEvents is how many events a reader may go back.
const keptEvents = 4096

// eventLog is the kind of a line of the engine log.
const eventLog = "log"

// event is one thing for watchers.
type event struct {
	kind, system, group, resource, state, severity, id, text string
}

type watcher struct {
	first  []*hadv1.Event    // sent before all others: a snapshot, or what was missed
	events chan *hadv1.Event // bound watchBound; full: the watcher is ended
	groups map[string]bool
	log    bool
	err    error // set before events is closed
}

// wants reports whether a watcher asked for such an event.
func (w *watcher) wants(e *hadv1.Event) bool {
	if e.GetKind() == eventLog && !w.log {
		return false
	}
	return len(w.groups) == 0 || w.groups[e.GetGroup()] || e.GetKind() == "ready"
}

// recent are the last keptEvents events of this had, in a ring.
type recent struct {
	ring []*hadv1.Event
	next uint64 // number of the event that comes next
}

func (r *recent) keep(e *hadv1.Event) {
	if len(r.ring) < keptEvents {
		r.ring = append(r.ring, e)
	} else {
		r.ring[r.next%keptEvents] = e
	}
	r.next++
}

// behind returns the events behind a number; ok is false if they are gone.
func (r *recent) behind(number uint64) (events []*hadv1.Event, ok bool) {
	if number >= r.next || r.next-number-1 > uint64(len(r.ring)) {
		return nil, false
	}
	for n := number + 1; n < r.next; n++ {
		events = append(events, r.ring[n%keptEvents])
	}
	return events, true
}

func (l *loop) cursor(number uint64) string { return fmt.Sprintf("%d.%d", l.incarnation, number) }

func (l *loop) publish(e *event) {
	p := &hadv1.Event{
		Position: positionProto(l.pos), Kind: e.kind, System: e.system, Group: e.group, Resource: e.resource,
		State: e.state, Severity: e.severity, MessageId: e.id, Text: e.text, TimeUnixMs: time.Now().UnixMilli(),
		Cursor: l.cursor(l.recent.next),
	}
	l.recent.keep(p)
	for w := range l.watchers {
		l.offer(w, p)
	}
}

// resume gives a new watcher what it missed since a cursor.
func (l *loop) resume(w *watcher, after string) error {
	had, number, ok := strings.Cut(after, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return refusal(codes.InvalidArgument, "BAD_REQUEST", "V-16-1-10000", "ERROR",
			fmt.Sprintf("after: %q is no cursor; give that of an event as it came", after))
	}
	missed, there := l.recent.behind(n)
	if had != fmt.Sprint(l.incarnation) || !there {
		return refusal(codes.OutOfRange, "EVENTS_GONE", "V-16-1-90201", "WARNING",
			"the events behind this cursor are no longer kept, or it is of another had; begin with a snapshot")
	}
	for _, e := range missed {
		if w.wants(e) {
			w.first = append(w.first, e)
		}
	}
	return nil
}

func (l *loop) offer(w *watcher, e *hadv1.Event) {
	if !w.wants(e) {
		return
	}
	select {
	case w.events <- e:
	default:
		l.dropWatcher(w, refusal(codes.ResourceExhausted, "READER_TOO_SLOW", "V-16-1-10806", "ERROR",
			"the reader of events is too slow; go on behind the last event that was read, or begin with a snapshot"))
	}
}

func (l *loop) dropWatcher(w *watcher, err error) {
	if l.watchers[w] {
		delete(l.watchers, w)
		w.err = err
		close(w.events)
	}
}

func (l *loop) publishDecision(x engine.Explanation) {
	l.log.Info(x.Decision, "decision", x.Subject, "group", x.Group, "view", x.Pos.View, "seq", x.Pos.Seq, "evidence", string(x.Evidence))
	l.publish(&event{kind: "decision", group: x.Group, severity: "INFO", text: x.Subject + ": " + x.Decision})
}

func positionProto(p engine.Pos) *hadv1.Position {
	return &hadv1.Position{Lineage: p.Lineage, View: p.View, Seq: p.Seq}
}
