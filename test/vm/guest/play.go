package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/internal/gabclient"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// traffic is messages from one system to the other, numbered, one after the
// other, each answered before the next.
type traffic struct {
	sent, got atomic.Int64
	wrong     atomic.Pointer[string]
	stop      context.CancelFunc
	done      chan struct{}
}

func (t *traffic) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.wrong.CompareAndSwap(nil, &text)
}

func attach(s *system) (c *gabclient.Client, err error) {
	err = until(s.name+" takes a client", func() string {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if c, err = gabclient.Attach(ctx, gabclient.Config{Socket: s.root + "/run/evenkeel/gab.sock", Port: "d", Client: "guest"}); err != nil {
			return err.Error()
		}
		return ""
	})
	return c, err
}

// begin starts the traffic once both are in one view of port d.
func begin(from, to *system) (*traffic, error) {
	a, err := attach(from)
	if err != nil {
		return nil, err
	}
	b, err := attach(to)
	if err != nil {
		return nil, err
	}
	t := &traffic{done: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	t.stop = cancel
	var members atomic.Int64
	go func() { // ends with the machine
		for r := range a.Events() {
			if v := r.GetView(); v != nil {
				members.Store(int64(len(v.GetMembers())))
			}
		}
		t.fail("the sender's port was lost: %v", a.Err())
	}()
	go func() { // ends with the machine
		for r := range b.Events() {
			if m := r.GetMessage(); m != nil {
				if want := fmt.Sprint(t.got.Load()); string(m.GetPayload()) != want {
					t.fail("message %s came where %s was due", m.GetPayload(), want)
				}
				t.got.Add(1)
			}
		}
		t.fail("the receiver's port was lost: %v", b.Err())
	}()
	if err := until("both are on port d", func() string {
		if members.Load() == 2 {
			return ""
		}
		return fmt.Sprintf("%d members", members.Load())
	}); err != nil {
		return nil, err
	}
	go func() { // ends with stop
		defer close(t.done)
		for ctx.Err() == nil {
			n := t.sent.Load()
			r, err := a.SendWait(context.Background(), []byte(fmt.Sprint(n)))
			if err != nil || r != gabv1.SendResult_SEND_RESULT_DELIVERED {
				t.fail("message %d: %s, %v", n, r, err)
				return
			}
			t.sent.Add(1)
			time.Sleep(2 * time.Millisecond) // leaves time for the rest of the machine
		}
	}()
	return t, nil
}

// flows waits until so many more messages have arrived.
func (t *traffic) flows(more int64) error {
	want := t.got.Load() + more
	return until("messages flow", func() string {
		if w := t.wrong.Load(); w != nil {
			return *w
		}
		if t.got.Load() >= want {
			return ""
		}
		return fmt.Sprintf("%d arrived", t.got.Load())
	})
}

// play is the scenario.
func play() error {
	east, err := newSystem(0, "east")
	if err != nil {
		return err
	}
	west, err := newSystem(1, "west")
	if err != nil {
		return err
	}
	for _, cable := range []string{"trunk", "leg0", "leg1"} {
		if err := veth(east, west, cable); err != nil {
			return err
		}
	}
	if err := both(east, west, func(s *system) error {
		if err := s.vlan("priv1", "trunk", 100); err != nil {
			return err
		}
		if err := s.bond("priv2", "leg0", "leg1"); err != nil {
			return err
		}
		return s.start()
	}); err != nil {
		return err
	}
	see := func(priv1, priv2 string) error {
		return both(east, west, func(s *system) error { return s.sees(priv1, priv2) })
	}
	if err := see("UP", "UP"); err != nil {
		return fmt.Errorf("%w; %s", err, east.log())
	}
	t, err := begin(east, west)
	if err != nil {
		return err
	}
	steps := []struct {
		name string
		do   func() error
	}{
		{"the VLAN's parent goes down: the bond carries alone", func() error {
			if err := east.set("trunk", false); err != nil {
				return err
			}
			return see("DOWN", "UP")
		}},
		{"the bond fails over while it is the only link", func() error {
			was := east.active("priv2")
			if err := east.set(was, false); err != nil {
				return err
			}
			if err := both(east, west, func(s *system) error {
				return until("the other leg is active", func() string {
					if now := s.active("priv2"); now == was || now == "none" {
						return now
					}
					return ""
				})
			}); err != nil {
				return err
			}
			if err := t.flows(50); err != nil {
				return err
			}
			if err := see("DOWN", "UP"); err != nil {
				return err
			}
			return east.set(was, true)
		}},
		{"the VLAN's parent comes back", func() error {
			if err := east.set("trunk", true); err != nil {
				return err
			}
			return see("UP", "UP")
		}},
		{"the VLAN is taken down and up", func() error {
			if err := west.set("priv1", false); err != nil {
				return err
			}
			if err := west.sees("DOWN", "UP"); err != nil {
				return err
			}
			if err := west.set("priv1", true); err != nil {
				return err
			}
			return see("UP", "UP")
		}},
		{"the VLAN vanishes and comes back as another interface", func() error {
			was := east.index("priv1")
			if err := east.remove("priv1"); err != nil {
				return err
			}
			if err := east.sees("DOWN", "UP"); err != nil {
				return err
			}
			if err := t.flows(20); err != nil {
				return err
			}
			if err := east.vlan("priv1", "trunk", 100); err != nil {
				return err
			}
			if now := east.index("priv1"); now == was {
				return fmt.Errorf("the VLAN has its index %d again: nothing is shown", now)
			}
			return see("UP", "UP")
		}},
		{"both legs of the bond go down: the VLAN carries alone", func() error {
			for _, leg := range []string{"leg0", "leg1"} {
				if err := west.set(leg, false); err != nil {
					return err
				}
			}
			if err := see("UP", "DOWN"); err != nil {
				return err
			}
			if err := t.flows(20); err != nil {
				return err
			}
			for _, leg := range []string{"leg1", "leg0"} {
				if err := west.set(leg, true); err != nil {
					return err
				}
			}
			return see("UP", "UP")
		}},
		{"the bond vanishes and comes back as another interface", func() error {
			was := west.index("priv2")
			if err := west.remove("priv2"); err != nil {
				return err
			}
			if err := west.sees("UP", "DOWN"); err != nil {
				return err
			}
			if err := west.bond("priv2", "leg1", "leg0"); err != nil {
				return err
			}
			if now := west.index("priv2"); now == was {
				return fmt.Errorf("the bond has its index %d again: nothing is shown", now)
			}
			return see("UP", "UP")
		}},
	}
	for _, s := range steps {
		err := s.do()
		if err == nil {
			err = t.flows(20)
		}
		if err != nil {
			return fmt.Errorf("%s: %w; lltstat of east: %s of west: %s", s.name, err, east.lltstat(), west.lltstat())
		}
		fmt.Printf("STEP %s: lltstat shows it, %d messages so far\n", s.name, t.got.Load())
	}
	t.stop()
	<-t.done
	if err := until("the last message has come", func() string {
		if t.got.Load() == t.sent.Load() {
			return ""
		}
		return fmt.Sprintf("%d of %d", t.got.Load(), t.sent.Load())
	}); err != nil {
		return err
	}
	if w := t.wrong.Load(); w != nil {
		return fmt.Errorf("traffic: %s", *w)
	}
	for _, s := range []*system{east, west} {
		if strings.Contains(s.log(), "peer is down") {
			return fmt.Errorf("%s lost its peer: %s", s.name, s.log())
		}
	}
	fmt.Printf("COUNT %d messages sent, %d arrived, in their order\n", t.sent.Load(), t.got.Load())
	return nil
}
