package server

import (
	"context"
	"fmt"
	"testing"

	"github.com/evenkeel/evenkeel/internal/gabclient"
	"github.com/evenkeel/evenkeel/services/gab"
)

// TestSlowClientWakesInBetween: a client that takes all that waits before the
// loop has asked the senders to wait is asked after once more: else they would
// wait for it for ever.
func TestSlowClientWakesInBetween(t *testing.T) {
	b := newOutbox()
	b.addCredit(2 * slowMessages)
	slow := false
	for !slow {
		slow, _ = b.put(waiting{payload: []byte("x")})
	}
	var got taken
	caughtUp, n := false, 0
	for b.take(&got); !got.empty(); b.take(&got) {
		n += len(got.ordered)
		caughtUp = caughtUp || got.caughtUp
	}
	if n != slowMessages+1 || !caughtUp {
		t.Fatalf("%d messages taken, caught up: %t", n, caughtUp)
	}
	if !b.calm() {
		t.Fatal("an empty outbox is slow")
	}
	b.put(waiting{payload: []byte("x")})
	if b.take(&got); got.caughtUp {
		t.Error("who was not slow has nothing to catch up")
	}
	for slow = false; !slow; {
		slow, _ = b.put(waiting{payload: []byte("x")})
	}
	if b.calm() {
		t.Error("a client that fell behind again is calm")
	}
}

// TestNobodyWaitsForAClosedPort: a slow client that gab puts out of its port
// keeps no sender on another system waiting.
func TestNobodyWaitsForAClosedPort(t *testing.T) {
	c := formed(t, 2, "")
	g := c.attach(c.nodes[1], "d")
	nextView(t, g, 1)
	ctx := context.Background()
	l := c.nodes[1].server.now.Load()
	slow := func(n int) func() string {
		return func() string {
			_, m := c.nodes[0].members("d")
			for _, p := range m.GetPorts() {
				if p.GetPort() == "d" && len(p.GetSlow()) == n {
					return ""
				}
			}
			return fmt.Sprintf("not %d slow on port d: %v", n, m)
		}
	}
	if err := l.do(ctx, func() { l.setSlow(l.clients['d'-'a'], true) }); err != nil {
		t.Fatal(err)
	}
	until(t, slow(1))
	if err := l.do(ctx, func() { l.closePort(gab.ClosePort{Port: 'd', Reason: "a test"}) }); err != nil {
		t.Fatal(err)
	}
	until(t, slow(0))
}

// TestCallerGoesBeforeItsTurn: who gives up while gab is busy leaves nobody on
// the port, whom gab would kill for being silent.
func TestCallerGoesBeforeItsTurn(t *testing.T) {
	c := formed(t, 2, "")
	l := c.nodes[0].server.now.Load()
	busy, free := make(chan struct{}), make(chan struct{})
	go func() { // ends when free is closed
		_ = l.do(context.Background(), func() { close(busy); <-free })
	}()
	<-busy
	ctx, cancel := context.WithCancel(context.Background())
	gone := make(chan error, 1)
	go func() { // ends with ctx
		_, err := gabclient.Attach(ctx, gabclient.Config{Socket: c.nodes[0].root.Socket("gab"), Port: "d", Client: "hasty"})
		gone <- err
	}()
	until(t, func() string {
		if len(l.requests) > 0 {
			return ""
		}
		return "nobody registers"
	})
	cancel()
	if err := <-gone; err == nil {
		t.Error("attached to a gab that was busy")
	}
	close(free)
	until(t, func() string {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		g, err := gabclient.Attach(ctx, gabclient.Config{Socket: c.nodes[0].root.Socket("gab"), Port: "d", Client: "next"})
		if err != nil {
			return err.Error()
		}
		g.Close()
		return ""
	})
}
