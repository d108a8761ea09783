package server

import (
	"time"

	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"google.golang.org/grpc/codes"
)

// watchBound is how many events wait for a reader of WatchEvents; a reader
// that is further behind is ended with RESOURCE_EXHAUSTED.
const watchBound = 4096

// event is one thing for watchers.
type event struct {
	kind, system, group, resource, state, severity, id, text string
}

type watcher struct {
	events chan *hadv1.Event // bound watchBound; full: the watcher is ended
	groups map[string]bool
	err    error // set before events is closed
}

func (l *loop) publish(e *event) {
	if len(l.watchers) == 0 {
		return
	}
	p := &hadv1.Event{
		Position: positionProto(l.pos), Kind: e.kind, System: e.system, Group: e.group, Resource: e.resource,
		State: e.state, Severity: e.severity, MessageId: e.id, Text: e.text, TimeUnixMs: time.Now().UnixMilli(),
	}
	for w := range l.watchers {
		l.offer(w, p)
	}
}

func (l *loop) offer(w *watcher, e *hadv1.Event) {
	if len(w.groups) > 0 && !w.groups[e.GetGroup()] && e.GetKind() != "ready" {
		return
	}
	select {
	case w.events <- e:
	default:
		l.dropWatcher(w, refusal(codes.ResourceExhausted, "READER_TOO_SLOW", "V-16-1-10806", "ERROR",
			"the reader of events is too slow; ask for the status anew"))
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
