package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
)

// State is what the power switch says about a system.
type State string

// The states of a system. A system that is being powered off is still On
// until nothing of it is left.
const (
	On  State = "on"
	Off State = "off"
)

// Op is an operation of the power switch.
type Op string

// The operations of the power switch.
const (
	OpOff   Op = "off"
	OpState Op = "state"
)

// Request is the line that a client of the switch sends.
type Request struct {
	Op     Op     `json:"op"`
	System string `json:"system"`
}

// Response is the line that the switch answers with: Error or State is set.
type Response struct {
	System string `json:"system,omitempty"`
	State  State  `json:"state,omitempty"`
	Error  string `json:"error,omitempty"`
}

// MaxLine bounds a request or a response, in bytes.
const MaxLine = 4096

// PowerOff powers the system off by the lab's switch and returns when it is
// off (R4); an error means that nothing is known. It may be called for a
// system that is off already, and by several at once: they share one
// operation. A system that powers itself off does not live to see the answer.
func PowerOff(ctx context.Context, marker Marker, system string) error {
	state, err := ask(ctx, marker, Request{Op: OpOff, System: system})
	if err != nil {
		return fmt.Errorf("power off %s: %w", system, err)
	}
	if state != Off {
		return fmt.Errorf("power off %s: the switch of lab %s answers %q", system, marker.Lab, state)
	}
	return nil
}

// PowerState asks the lab's switch whether the system is on or off.
func PowerState(ctx context.Context, marker Marker, system string) (State, error) {
	state, err := ask(ctx, marker, Request{Op: OpState, System: system})
	if err != nil {
		return "", fmt.Errorf("ask power state of %s: %w", system, err)
	}
	if state != On && state != Off {
		return "", fmt.Errorf("ask power state of %s: the switch of lab %s answers %q", system, marker.Lab, state)
	}
	return state, nil
}

func ask(ctx context.Context, marker Marker, request Request) (State, error) {
	line, err := json.Marshal(request)
	if err != nil {
		return "", err
	}
	if len(line) >= MaxLine {
		return "", fmt.Errorf("the system's name is too long")
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", marker.Switch)
	if err != nil {
		return "", fmt.Errorf("reach the switch of lab %s: %w", marker.Lab, err)
	}
	defer conn.Close()
	// The context ends a read that waits for a power-off by closing under it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if _, err := conn.Write(append(line, '\n')); err != nil {
		return "", because(ctx, err)
	}
	answer, err := bufio.NewReaderSize(conn, MaxLine).ReadSlice('\n')
	if err != nil {
		return "", fmt.Errorf("read the switch's answer: %w", because(ctx, err))
	}
	var response Response
	if err := json.Unmarshal(answer, &response); err != nil {
		return "", fmt.Errorf("read the switch's answer: %w", err)
	}
	if response.Error != "" {
		return "", fmt.Errorf("the switch of lab %s: %s", marker.Lab, response.Error)
	}
	if response.System != request.System {
		return "", fmt.Errorf("the switch of lab %s answers for %q", marker.Lab, response.System)
	}
	return response.State, nil
}

// because prefers the reason of the context over "use of closed connection".
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
