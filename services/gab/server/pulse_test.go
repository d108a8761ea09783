package server

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// hold keeps the turn of a system, as a core that hangs does, until free is
// called.
func hold(t *testing.T, n *system) (free func()) {
	t.Helper()
	l := n.server.now.Load()
	held, over := make(chan struct{}), make(chan struct{})
	free = sync.OnceFunc(func() { close(over) })
	t.Cleanup(free)
	go func() { // ends with free
		_ = l.do(context.Background(), func() { close(held); <-over })
	}()
	<-held
	return free
}

// peerNow is what a system says about a peer.
func (n *system) peerNow(t *testing.T, name string) *gabv1.Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := n.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.GetPeers() {
		if p.GetName() == name {
			return p
		}
	}
	t.Fatalf("no peer %s", name)
	return nil
}

// TestStalledTurn: R19. A gab whose cores hang is heard on all links and called
// STALLED, then DOWN, with that reason; when it goes on it says nothing in the
// old view and begins anew.
func TestStalledTurn_R19(t *testing.T) {
	c := newCluster(t, 2, "")
	// Long enough for an observer on a busy machine to see each state.
	c.extra = "set-timer peerinact:300 peertrouble:100 peertroublelo:100 stall:50\n"
	for i := range 2 {
		c.start(i)
	}
	for _, n := range c.nodes {
		c.waitMembers(n, "a", "s0 s1")
	}
	_, before := c.nodes[1].members("a")
	free := hold(t, c.nodes[1])
	until(t, func() string {
		p := c.nodes[0].peerNow(t, "s1")
		if p.GetState() == "OPEN" && p.GetStalled() {
			return ""
		}
		return fmt.Sprintf("not stalled: %v", p)
	})
	until(t, func() string {
		p := c.nodes[0].peerNow(t, "s1")
		for _, l := range p.GetLinks() {
			if l.GetStatus() != "UP" {
				return fmt.Sprintf("link %s is %s", l.GetTag(), l.GetStatus())
			}
		}
		if p.GetState() == "DOWN" && p.GetStalled() {
			return ""
		}
		return fmt.Sprintf("not DOWN: %v", p)
	})
	if log := c.nodes[0].log.String(); !strings.Contains(log, "reason=stalled") || strings.Contains(log, "llt link-expired") || strings.Contains(log, "reason=silent") {
		t.Errorf("a stalled gab is not taken for one:\n%s", log)
	}
	c.waitMembers(c.nodes[0], "a", "s0")
	free()
	until(t, func() string {
		names, after := c.nodes[1].members("a")
		if names != "s0 s1" {
			return names + c.nodes[1].log.String()
		}
		for _, m := range after.GetPorts()[0].GetMembers() {
			if m.GetName() == "s1" && m.GetIncarnation() == before.GetPorts()[0].GetMembers()[1].GetIncarnation() {
				return "the old incarnation is still there"
			}
		}
		return ""
	})
}

// TestStalledTurnUnderSomethingProtected: R2. Heartbeats that go on extend no
// lease: what watches gab hears of none, and when the core goes on the system
// stops itself.
func TestStalledTurnUnderSomethingProtected(t *testing.T) {
	conf, said := stopScript(t)
	c := formed(t, 2, conf)
	h := c.attach(c.nodes[1], "h")
	nextView(t, h, 1)
	if err := h.Protect(1); err != nil {
		t.Fatal(err)
	}
	l := c.nodes[1].server.now.Load()
	until(t, func() string {
		if l.current.Load().status.Protected {
			return ""
		}
		return "the core does not know what is protected"
	})
	free := hold(t, c.nodes[1])
	lease := func() int64 {
		l.leaseMu.Lock()
		defer l.leaseMu.Unlock()
		return l.leaseNow.GetLease().GetExpiresBoottimeNs()
	}
	last := lease()
	until(t, func() string {
		if p := c.nodes[0].peerNow(t, "s1"); p.GetState() != "DOWN" || !p.GetStalled() {
			return fmt.Sprintf("not DOWN: %v", p)
		}
		return ""
	})
	if now := lease(); now != last || l.pulse.sent.Load() == 0 {
		t.Errorf("%d heartbeats went on, and the lease from %d to %d", l.pulse.sent.Load(), last, now)
	}
	free()
	until(t, func() string {
		if _, err := os.Stat(said); err != nil {
			return "the self-stop action did not run\n" + c.nodes[1].log.String()
		}
		return ""
	})
}

// TestPulseAfterAGap: R19. Whoever finds that the process stood still sends
// nothing, however little the cores know of it yet.
func TestPulseAfterAGap_R19(t *testing.T) {
	c := formed(t, 2, "")
	l := c.nodes[1].server.now.Load()
	free := hold(t, c.nodes[1])
	until(t, func() string {
		if l.pulse.sent.Load() > 0 {
			return ""
		}
		return "no heartbeat while the turn is held"
	})
	p := pulse{buf: make([]byte, 0, 256)}
	p.loan.Store(l.pulse.loan.Load())
	l.pulse.off.Store(true) // one goroutine at a time
	<-l.pulse.gone
	now := l.pulse.looked
	p.looked = now
	if _, goesOn := p.look(now.Add(l.lease/2), l); !goesOn || p.sent.Load() == 0 {
		t.Errorf("%d heartbeats after a short gap", p.sent.Load())
	}
	was := p.sent.Load()
	if _, goesOn := p.look(now.Add(2*l.lease), l); goesOn || p.sent.Load() != was {
		t.Errorf("%d heartbeats after a gap longer than the lease", p.sent.Load()-was)
	}
	free()
}

// TestHeartbeatsInGarbage: what others in the process allocate delays no
// heartbeat for long, while the cores stand still as they do that wait for the
// collector.
func TestHeartbeatsInGarbage(t *testing.T) {
	c := newCluster(t, 2, "")
	c.extra = "set-timer peerinact:600 peertrouble:200 peertroublelo:200 stall:100\n"
	for i := range 2 {
		c.start(i)
	}
	for _, n := range c.nodes {
		c.waitMembers(n, "a", "s0 s1")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(5))
	stop := make(chan struct{})
	var storm sync.WaitGroup
	for range 2 {
		storm.Go(func() {
			keep := make([][]byte, 256)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
					keep[i%len(keep)] = make([]byte, 64<<10)
				}
			}
		})
	}
	l := c.nodes[1].server.now.Load()
	began := time.Now()
	free := hold(t, c.nodes[1])
	const want = 2 * 10 // of both links
	until(t, func() string {
		if n := l.pulse.sent.Load(); n < want {
			return fmt.Sprintf("%d heartbeats in %s", n, time.Since(began))
		}
		return ""
	})
	took := time.Since(began)
	free()
	close(stop)
	storm.Wait()
	if log := c.nodes[0].log.String(); strings.Contains(log, "llt link-trouble") || strings.Contains(log, "peer is down") {
		t.Errorf("a link or the peer was lost in %s:\n%s", took, log)
	}
	t.Logf("%d heartbeats per link in %s; they are due each 100 ms", want/2, took.Round(time.Millisecond))
}
