//go:build linux

package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Request is one command to a lab's supervisor, one line of JSON.
type Request struct {
	Op       string   `json:"op"`
	System   string   `json:"system,omitempty"`
	Networks []string `json:"networks,omitempty"`
	From     []string `json:"from,omitempty"`
	To       []string `json:"to,omitempty"`
	OneWay   bool     `json:"one_way,omitempty"`
}

// Response is the answer, one line of JSON.
type Response struct {
	Error string          `json:"error,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
}

const goingDown = "is being taken down"

// ErrDown says that no supervisor answers.
var ErrDown = errors.New("is not up")

// Ask sends a command to the supervisor of the lab and decodes the answer's
// data into out, unless out is nil.
func Ask(ctx context.Context, place Place, request Request, out any) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", place.Control())
	if err != nil {
		return fmt.Errorf("lab %w (%w)", ErrDown, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return fmt.Errorf("ask the lab's supervisor: %w", err)
	}
	var response Response
	if err := json.NewDecoder(conn).Decode(&response); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("wait for the lab's supervisor: %w", err)
	}
	if response.Error != "" {
		return errors.New(response.Error)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(response.Data, out); err != nil {
		return fmt.Errorf("understand the lab's supervisor: %w", err)
	}
	return nil
}

// serveControl answers commands until the listener is closed. Each connection
// has one goroutine, one command and one answer.
func (s *Supervisor) serveControl(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			line, err := bufio.NewReader(conn).ReadBytes('\n')
			if err != nil {
				return
			}
			var request Request
			var response Response
			if err := json.Unmarshal(line, &request); err != nil {
				response.Error = err.Error()
			} else if data, err := s.handle(request); err != nil {
				response.Error = err.Error()
			} else if data != nil {
				if response.Data, err = json.Marshal(data); err != nil {
					response.Error = err.Error()
				}
			}
			_ = json.NewEncoder(conn).Encode(response) // a client that gave up is no matter
			if request.Op == "down" && response.Error == "" {
				s.finish()
			}
		}()
	}
}

// handle carries out one command.
func (s *Supervisor) handle(request Request) (any, error) {
	if s.isClosing() && request.Op != "down" && request.Op != "status" {
		return nil, fmt.Errorf("lab %s %s", s.spec.Name, goingDown)
	}
	switch request.Op {
	case "status":
		return s.status(), nil
	case "settled":
		return s.settled(), nil
	case "down":
		return nil, s.down()
	case "heal", "cut":
		return s.cut(request)
	}
	h, err := s.host(request.System)
	if err != nil {
		return nil, err
	}
	switch request.Op {
	case "crash":
		if h.isClient() {
			return nil, fmt.Errorf("the client has no power switch; systems have")
		}
		return nil, s.power.Off(context.Background(), request.System)
	case "boot":
		if err := h.start(); err != nil {
			return nil, err
		}
		return nil, h.run()
	case "freeze":
		return nil, h.freeze()
	case "thaw":
		return nil, h.thaw()
	case "visit":
		process, err := h.running()
		if err != nil {
			return nil, err
		}
		return process.Visit(), nil
	case "logs":
		return h.logs(), nil
	}
	return nil, fmt.Errorf("unknown command %q (halab and the lab's supervisor are of different builds? halab down, then up)", request.Op)
}

func (s *Supervisor) cut(request Request) (any, error) {
	if s.network == nil {
		return nil, fmt.Errorf("an unprivileged lab has no cables to cut; its links are UDP on loopback. As root, without --unprivileged, there are some")
	}
	s.netMu.Lock()
	defer s.netMu.Unlock()
	var err error
	switch {
	case request.Op == "heal":
		err = s.network.Heal()
	case len(request.To) == 0:
		for _, network := range request.Networks {
			if err = s.network.CutLink(network, request.From); err != nil {
				break
			}
		}
	default:
		networks := request.Networks
		if len(networks) == 0 {
			networks = s.spec.Links
		}
		err = s.network.CutBetween(networks, request.From, request.To, request.OneWay)
	}
	return s.network.Cuts(), err
}
