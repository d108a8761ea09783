// Package power is the lab's power switch (R4). It stands outside the systems
// and says "off" only about a system of which nothing is left that could
// write, send or answer.
package power

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/lab"
)

// Target is one system as the switch sees it. Its methods are called in the
// order in which they stand here, by one goroutine at a time.
type Target interface {
	// On reports whether anything of the system may be there.
	On() bool
	// LinksDown cuts all cables, so that nothing is sent any more.
	LinksDown() error
	// ShutDownFileSystems makes what was not fsynced be lost.
	ShutDownFileSystems() error
	// Kill ends every process and returns when all are gone.
	Kill() error
	// Gone returns when no mount and no loop device of the system is left.
	Gone(ctx context.Context) error
	// PoweredOff is told that the system is off.
	PoweredOff()
}

// Switch powers systems off. It is safe for concurrent use.
type Switch struct {
	log     *slog.Logger
	timeout time.Duration
	find    func(system string) (Target, error)

	mu      sync.Mutex
	running map[string]*operation
}

type operation struct {
	done chan struct{}
	err  error
}

// New makes a switch; find finds a system by name. One operation takes at
// most the timeout, then it has failed and nothing is known.
func New(log *slog.Logger, timeout time.Duration, find func(string) (Target, error)) *Switch {
	return &Switch{log: log, timeout: timeout, find: find, running: map[string]*operation{}}
}

// Off powers a system off and returns when it is off. Concurrent calls for
// one system share one operation, which goes on when a caller gives up.
func (s *Switch) Off(ctx context.Context, system string) error {
	target, err := s.find(system)
	if err != nil {
		return fmt.Errorf("power off %s: %w", system, err)
	}
	s.mu.Lock()
	op := s.running[system]
	if op == nil {
		op = &operation{done: make(chan struct{})}
		s.running[system] = op
		go func() {
			op.err = s.off(system, target)
			s.mu.Lock()
			delete(s.running, system)
			s.mu.Unlock()
			close(op.done)
		}()
	}
	s.mu.Unlock()
	select {
	case <-op.done:
		return op.err
	case <-ctx.Done():
		return fmt.Errorf("power off %s: %w", system, context.Cause(ctx))
	}
}

// off is the operation itself, in the order of R4. A step that fails does not
// keep the next ones from being tried; only the last two decide whether the
// system is off.
func (s *Switch) off(system string, target Target) error {
	if !target.On() {
		return nil
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := target.LinksDown(); err != nil {
		s.log.Error("links of the system stay up until its processes are gone", "system", system, "error", err)
	}
	if err := target.ShutDownFileSystems(); err != nil {
		s.log.Error("file systems are left to an ordinary unmount; more than what was fsynced may survive", "system", system, "error", err)
	}
	if err := target.Kill(); err != nil {
		return fmt.Errorf("power off %s: %w", system, err)
	}
	if err := target.Gone(ctx); err != nil {
		return fmt.Errorf("power off %s: %w", system, err)
	}
	target.PoweredOff()
	s.log.Info("powered off", "system", system, "took", time.Since(begin))
	return nil
}

// State says whether a system is off. One that is being powered off is on.
func (s *Switch) State(system string) (lab.State, error) {
	target, err := s.find(system)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", system, err)
	}
	s.mu.Lock()
	busy := s.running[system] != nil
	s.mu.Unlock()
	if busy || target.On() {
		return lab.On, nil
	}
	return lab.Off, nil
}

// Serve answers requests on the listener until it is closed; see package lab
// for the protocol. Each connection has one goroutine that ends after one
// answer; a client that says nothing is dropped after the timeout.
func (s *Switch) Serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go s.serve(conn)
	}
}

func (s *Switch) serve(conn net.Conn) {
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(s.timeout)); err != nil {
		return
	}
	line, err := bufio.NewReaderSize(conn, lab.MaxLine).ReadSlice('\n')
	if err != nil {
		return
	}
	text, err := json.Marshal(s.answer(line))
	if err != nil {
		return
	}
	// An error means that the client has gone, perhaps because it was the
	// system that powered itself off.
	_ = conn.SetWriteDeadline(time.Now().Add(s.timeout))
	_, _ = conn.Write(append(text, '\n'))
}

func (s *Switch) answer(line []byte) lab.Response {
	var request lab.Request
	if err := json.Unmarshal(line, &request); err != nil {
		return lab.Response{Error: fmt.Sprintf("understand request: %v", err)}
	}
	var state lab.State
	var err error
	switch request.Op {
	case lab.OpOff:
		s.log.Info("asked to power off", "system", request.System)
		if err = s.Off(context.Background(), request.System); err == nil {
			state = lab.Off
		}
	case lab.OpState:
		state, err = s.State(request.System)
	default:
		err = fmt.Errorf("operation %q: there are %q and %q", request.Op, lab.OpOff, lab.OpState)
	}
	if err != nil {
		return lab.Response{Error: err.Error()}
	}
	return lab.Response{System: request.System, State: state}
}
