package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

const (
	// heartbeat is how often an agent is asked whether it still answers, at the
	// least; a third of its AgentReplyTimeout if that is less.
	heartbeat = 10 * time.Second
	// giveUpWindow is how long a death counts.
	giveUpWindow = time.Hour
	// firstBackOff is the wait after the first early death; it doubles.
	firstBackOff = 100 * time.Millisecond
	// watchPause is the wait before a watch that ended is begun again.
	watchPause = time.Second
)

type requestKind int

const (
	askStop requestKind = iota
	askSwap
	askAgain // Start of what was given up
)

type request struct {
	kind   requestKind
	ctx    context.Context
	answer chan error // capacity 1
}

// supervisor keeps one type's agent running. Its goroutine owns the life of
// the instances; callers only borrow the current one.
type supervisor struct {
	h        *Host
	name     string
	requests chan request // unbuffered: who asks waits until the supervisor listens
	done     chan struct{}

	mu      sync.Mutex
	decl    TypeDecl
	path    string
	live    *instance // nil: down
	failed  bool      // given up or refused
	watched map[string]Resource
	watches map[string]context.CancelFunc // of live
}

func newSupervisor(h *Host, decl TypeDecl, path string) *supervisor {
	return &supervisor{
		h: h, name: decl.Name, decl: decl, path: path,
		requests: make(chan request), done: make(chan struct{}),
		watched: map[string]Resource{}, watches: map[string]context.CancelFunc{},
	}
}

func (s *supervisor) redeclare(decl TypeDecl, path string) {
	s.mu.Lock()
	s.decl, s.path = decl, path
	failed := s.failed
	s.mu.Unlock()
	if failed {
		s.h.wg.Add(1)
		go func() {
			defer s.h.wg.Done()
			_ = s.ask(s.h.ctx, request{kind: askAgain})
		}()
	}
}

func (s *supervisor) ask(ctx context.Context, r request) error {
	r.ctx, r.answer = ctx, make(chan error, 1)
	select {
	case s.requests <- r:
	case <-s.done:
		return ErrNoAgent
	case <-ctx.Done():
		if r.kind != askStop {
			return ctx.Err()
		}
		select { // a stop is not taken back: the supervisor comes by
		case s.requests <- r:
		case <-s.done:
			return nil
		}
	}
	return <-r.answer
}

func (s *supervisor) current() *instance {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live
}

// borrow gives the current instance to one call; give it back with calls.Done.
func (s *supervisor) borrow() (*instance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.live != nil:
		s.live.calls.Add(1)
		return s.live, nil
	case s.failed:
		return nil, ErrNoAgent
	default:
		return nil, ErrAgentDown
	}
}

// deaths are those of an agent that count: before its first completed monitor
// whatever the reason, later by its own making.
type deaths struct {
	counted []time.Time
	inRow   int // early ones since it last worked, for the wait before the next start
}

func (d *deaths) died(early, crashed bool) {
	if early || crashed {
		d.counted = append(recent(d.counted), time.Now())
	}
	if d.inRow++; !early { // it had worked
		d.inRow = 0
	}
}

func recent(times []time.Time) []time.Time {
	return slices.DeleteFunc(times, func(t time.Time) bool { return time.Since(t) > giveUpWindow })
}

// tooMany says why the agent is given up, or "".
func (d *deaths) tooMany(cfg Config) string {
	switch n := len(d.counted); {
	case n < cfg.GiveUpAfter:
		return ""
	case d.inRow >= n:
		return fmt.Sprintf("the agent died %d times within an hour before its first monitor", n)
	default:
		return fmt.Sprintf("the agent died by itself %d times within an hour", n)
	}
}

// run is the supervisor's goroutine: start, serve, start again.
func (s *supervisor) run() {
	defer close(s.done)
	var count deaths
	wasUp := false
	for {
		in, err := s.launch()
		switch {
		case err == nil:
			if s.serve(in, wasUp, &count) {
				return
			}
			wasUp = true
		case s.h.ctx.Err() != nil:
			return
		default:
			s.h.cfg.Log.Error("agent not started", "type", s.name, "error", err)
			if errors.Is(err, errRefused) {
				if s.fail(err.Error(), true) {
					return
				}
				count = deaths{}
				continue
			}
			count.died(true, true)
		}
		if why := count.tooMany(s.h.cfg); why != "" {
			if err != nil {
				why += ": " + err.Error()
			}
			if s.fail(why, false) {
				return
			}
			count = deaths{}
			continue
		}
		if n := count.inRow; n > 0 && s.pause(min(firstBackOff<<(n-1), s.h.cfg.MaxBackOff)) {
			return // one that had worked is started at once
		}
	}
}

func (s *supervisor) launch() (*instance, error) {
	s.mu.Lock()
	decl, path := s.decl, s.path
	s.mu.Unlock()
	return s.h.launch(s.h.ctx, decl, path)
}

// pause waits between two starts; true if the supervisor is to end.
func (s *supervisor) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return false
		case <-s.h.ctx.Done():
			return true
		case r := <-s.requests:
			if s.whileDown(r) {
				return true
			}
		}
	}
}

// fail reports that the agent is not started any more and waits for another
// Start; true if the supervisor is to end.
func (s *supervisor) fail(why string, refused bool) bool {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	s.h.emit(AgentFailed{Type: s.name, Reason: why, Refused: refused})
	for {
		select {
		case <-s.h.ctx.Done():
			return true
		case r := <-s.requests:
			if s.whileDown(r) {
				return true
			}
			if r.kind == askAgain || r.kind == askSwap {
				s.mu.Lock()
				s.failed = false
				s.mu.Unlock()
				return false
			}
		}
	}
}

// whileDown answers a request when no instance runs; true for a stop.
func (s *supervisor) whileDown(r request) bool {
	r.answer <- nil // a swap happens by itself: the next start takes the new program
	return r.kind == askStop
}

// serve looks after a running instance until it has ended, counts its death and
// says whether the supervisor is to end.
func (s *supervisor) serve(in *instance, wasUp bool, count *deaths) (stop bool) {
	s.up(in, wasUp)
	beat := time.NewTicker(s.beat())
	defer beat.Stop()
	var mute chan struct{} // of the heartbeat under way; closed when it is over
	for {
		select {
		case <-in.proc.exited:
			s.down(in, false)
			count.died(!in.monitored.Load(), in.crashed())
			return s.h.ctx.Err() != nil
		case <-beat.C:
			beat.Reset(s.beat())
			if mute == nil {
				mute = s.heartbeat(in)
			}
		case <-mute:
			mute = nil
		case <-s.h.ctx.Done():
			s.takeDown(in)
			in.end("the host closes")
			s.down(in, true)
			return true
		case r := <-s.requests:
			switch r.kind {
			case askStop:
				s.takeDown(in)
				s.drain(r.ctx, in)
				in.end("it was stopped")
				s.down(in, true)
				r.answer <- nil
				return true
			case askSwap:
				next, err := s.swap(r.ctx, in)
				r.answer <- err
				if next != nil {
					in, *count = next, deaths{}
				}
			case askAgain:
				r.answer <- nil
			}
		}
	}
}

// up makes an instance the current one, says so, and then begins its watches:
// nobody hears of a resource from an agent that is not yet known to be up.
func (s *supervisor) up(in *instance, restarted bool) {
	watches := in.offers(agentv1.EntryPoint_ENTRY_POINT_WATCH)
	s.mu.Lock()
	s.live = in
	s.mu.Unlock()
	s.h.cfg.Log.Info("agent is up", "type", s.name, "version", in.desc.GetVersion(), "pid", in.proc.rec.PID)
	s.h.emit(AgentUp{Type: s.name, Version: in.desc.GetVersion(), Restarted: restarted, Watches: watches})
	if !watches {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.watched)) {
		// Whoever heard of the agent may have asked for a watch meanwhile.
		if s.live == in && s.watches[name] == nil {
			s.beginWatch(in, s.watched[name])
		}
	}
}

// takeDown keeps new calls away from an instance and ends its watches.
func (s *supervisor) takeDown(in *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == in {
		s.live = nil
	}
	for name, cancel := range s.watches {
		cancel()
		delete(s.watches, name)
	}
}

// down waits until nothing of an ended instance is left, which is retried as
// long as it takes, and says so.
func (s *supervisor) down(in *instance, planned bool) {
	s.takeDown(in)
	in.release()
	select {
	case <-in.proc.gone:
	case <-s.h.ctx.Done(): // the record stays, the next had goes on with it
	}
	why := in.reason()
	s.h.cfg.Log.Warn("agent is down", "type", s.name, "reason", why, "planned", planned)
	s.h.emit(AgentDown{Type: s.name, Reason: why, Planned: planned})
}

// drain waits for calls under way until ctx ends.
func (s *supervisor) drain(ctx context.Context, in *instance) bool {
	idle := make(chan struct{})
	go func() { in.calls.Wait(); close(idle) }() // ends with the instance at the latest
	select {
	case <-idle:
		return true
	case <-in.proc.exited:
		return true
	case <-ctx.Done():
		return false
	}
}

// swap replaces a running instance by a new one. The old one serves on if the
// new one is no good or calls do not end in time.
func (s *supervisor) swap(ctx context.Context, old *instance) (*instance, error) {
	next, err := s.launch()
	if err != nil {
		return nil, err
	}
	s.takeDown(old)
	if !s.drain(ctx, old) {
		next.end("the old agent was busy")
		s.mu.Lock()
		s.live = old
		for _, name := range slices.Sorted(maps.Keys(s.watched)) {
			s.beginWatch(old, s.watched[name])
		}
		s.mu.Unlock()
		return nil, fmt.Errorf("calls under way did not end: %w", ctx.Err())
	}
	old.end("a new build takes over")
	s.down(old, true)
	s.up(next, true)
	return next, nil
}

// replyTimeout is the type's AgentReplyTimeout.
func (s *supervisor) replyTimeout() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.decl.ReplyTimeout > 0 {
		return s.decl.ReplyTimeout
	}
	return s.h.cfg.ReplyTimeout
}

func (s *supervisor) beat() time.Duration {
	return min(heartbeat, max(10*time.Millisecond, s.replyTimeout()/3))
}

// heartbeat asks the agent whether it answers and kills it if it does not.
func (s *supervisor) heartbeat(in *instance) chan struct{} {
	over := make(chan struct{})
	go func() { // ends after ReplyTimeout at the latest
		defer close(over)
		ctx, cancel := context.WithTimeout(s.h.ctx, s.replyTimeout())
		defer cancel()
		if _, err := in.rpc.Describe(ctx, &agentv1.DescribeRequest{}); err != nil && s.h.ctx.Err() == nil {
			in.kill("it left Describe unanswered: " + err.Error())
		}
	}()
	return over
}

// beginWatch starts the watch of one resource; mu is held.
func (s *supervisor) beginWatch(in *instance, r Resource) {
	if cancel := s.watches[r.Name]; cancel != nil {
		cancel()
	}
	ctx, cancel := context.WithCancel(s.h.ctx)
	s.watches[r.Name] = cancel
	s.h.wg.Add(1)
	go func() { defer s.h.wg.Done(); s.watch(ctx, in, r) }()
}

// watch passes on what an agent pushes about one resource, until ctx or the
// instance ends.
func (s *supervisor) watch(ctx context.Context, in *instance, r Resource) {
	for ctx.Err() == nil {
		err := s.watchOnce(ctx, in, r)
		if status.Code(err) == codes.Unimplemented {
			return
		}
		select {
		case <-in.proc.exited:
			return
		case <-ctx.Done():
			return
		case <-time.After(watchPause):
			s.h.cfg.AgentLog(s.name).Debug("watch ended and begins again", "resource", r.Name, "error", err)
		}
	}
}

func (s *supervisor) watchOnce(ctx context.Context, in *instance, r Resource) error {
	stream, err := in.rpc.Watch(ctx, &agentv1.WatchRequest{CallId: in.lastCall.Add(1), Resource: r.proto()})
	for err == nil {
		var news *agentv1.WatchResponse
		if news, err = stream.Recv(); err == nil {
			s.h.emit(Watched{Type: s.name, Resource: r.Name, Status: fromProto(news.GetStatus())})
		}
	}
	return err
}
