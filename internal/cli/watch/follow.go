package watch

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"

	"github.com/evenkeel/evenkeel/internal/cli/connect"
	"github.com/evenkeel/evenkeel/internal/messagelog"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

const (
	// pollEvery bounds the age of the facts while nothing happens.
	pollEvery = 2 * time.Second
	// settle is how long after an event the status is asked: events come in
	// bursts.
	settle = 200 * time.Millisecond
	// again is the pause before a stream that ended is opened anew.
	again = time.Second
	// framesPerSecond bounds how often the screen is drawn.
	framesPerSecond = 10
	// linesBefore is how many lines of the log are shown from before the
	// start.
	linesBefore = 50
)

// Config is what Run needs.
type Config struct {
	Had *connect.Had
	// Log is the prefix of the engine log's files, "" for none.
	Log string
	// In and Out are the terminal.
	In  io.Reader
	Out io.Writer
}

// follower asks had and sends the model what it hears.
type follower struct {
	had     *connect.Had
	send    func(tea.Msg)
	refresh chan struct{} // bound 1; full: one is asked already
	explain chan string   // bound 1; full: the newest question wins
	open    atomic.Bool   // the stream of events is open
}

// Refresh asks for the status soon.
func (f *follower) Refresh() {
	select {
	case f.refresh <- struct{}{}:
	default:
	}
}

// Explain asks why a group is where it is.
func (f *follower) Explain(group string) {
	for {
		select {
		case f.explain <- group:
			return
		default:
		}
		select {
		case <-f.explain:
		default:
		}
	}
}

// Run shows the cluster until the user leaves or ctx ends.
func Run(ctx context.Context, c Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &follower{had: c.Had, refresh: make(chan struct{}, 1), explain: make(chan string, 1)}
	program := tea.NewProgram(New(f, lipgloss.NewRenderer(c.Out)), tea.WithContext(ctx), tea.WithAltScreen(),
		tea.WithInput(c.In), tea.WithOutput(c.Out), tea.WithFPS(framesPerSecond))
	f.send = program.Send
	var workers sync.WaitGroup // all end with ctx
	workers.Go(func() { f.before(ctx, c.Log) })
	workers.Go(func() { f.poll(ctx) })
	workers.Go(func() { f.stream(ctx) })
	workers.Go(func() { f.answer(ctx) })
	_, err := program.Run()
	cancel()
	workers.Wait()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// before sends the end of the log as it is at the start.
func (f *follower) before(ctx context.Context, prefix string) {
	if prefix == "" {
		return
	}
	if lines, err := messagelog.Last(ctx, prefix, messagelog.Filter{}, linesBefore); err == nil {
		f.send(Lines(lines))
	}
}

// poll asks for the status, on demand and every now and then.
func (f *follower) poll(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	f.look(ctx)
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.refresh:
			pause(ctx, settle)
		case now := <-tick.C:
			f.send(Now(now))
			if now.Sub(last) < pollEvery {
				continue
			}
		}
		f.look(ctx)
		last = time.Now()
	}
}

// pause waits unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func (f *follower) look(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
	defer cancel()
	s, err := f.had.Clusters.GetStatus(short, &hadv1.GetStatusRequest{Brief: true})
	switch {
	case ctx.Err() != nil:
	case err != nil:
		f.send(Link{Mode: "gone", Why: f.had.Fault(err).Text})
	default:
		f.send(Status{At: time.Now(), Status: s})
		f.send(Link{Mode: map[bool]string{true: "live", false: "polling"}[f.open.Load()]})
	}
}

// stream follows the events; after an interruption it goes on where it was if
// had still knows, so that no line of the log is missed.
func (f *follower) stream(ctx context.Context) {
	after := ""
	for ctx.Err() == nil {
		err := f.events(ctx, &after)
		if ctx.Err() != nil {
			return
		}
		fault := f.had.Fault(err)
		if fault != nil && fault.Reason == "EVENTS_GONE" {
			after = ""
			continue
		}
		mode, why := "polling", "the stream of events ended"
		if fault != nil {
			why = fault.Text
			if fault.Down || fault.Late {
				mode = "gone"
			}
		}
		f.send(Link{Mode: mode, Why: why})
		pause(ctx, again)
	}
}

func (f *follower) events(ctx context.Context, after *string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.had.Events.WatchEvents(ctx, &hadv1.WatchEventsRequest{Log: true, After: *after})
	if err != nil {
		return err
	}
	// had sends the header as soon as it has taken the watcher.
	if _, err := stream.Header(); err != nil {
		return err
	}
	f.open.Store(true)
	defer f.open.Store(false)
	f.Refresh()
	for {
		m, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		e := m.GetEvent()
		*after = e.GetCursor()
		f.send(Event{e})
		if e.GetKind() != "log" {
			f.Refresh()
		}
	}
}

// answer explains groups.
func (f *follower) answer(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case group := <-f.explain:
			short, cancel := context.WithTimeout(ctx, connect.ReadTimeout)
			x, err := f.had.Groups.ExplainGroup(short, &hadv1.ExplainGroupRequest{Name: group})
			cancel()
			answer := Explanation{Group: group, Explanation: x}
			if err != nil {
				answer = Explanation{Group: group, Err: f.had.Fault(err).Text}
			}
			f.send(answer)
		}
	}
}
