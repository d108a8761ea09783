package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/evenkeel/evenkeel/internal/gabclient"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// cluster is several gab daemons in this process, over UDP on loopback.
type cluster struct {
	t     testing.TB
	mode  string
	extra string // lines of llttab
	ports [][2]int
	nodes []*system
}

type system struct {
	root   paths.Root
	server *Server
	cancel context.CancelFunc
	ended  chan error
	conn   *grpc.ClientConn
	gab    gabv1.GabServiceClient
	llt    gabv1.LltServiceClient
	log    *logText
}

type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newCluster(t testing.TB, n int, mode string) *cluster {
	c := &cluster{t: t, mode: mode, extra: "set-timer peerinact:150 peertrouble:60 peertroublelo:60 stall:100\n"}
	var held []net.PacketConn
	for range n {
		var p [2]int
		for k := range p {
			u, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, u)
			p[k] = u.LocalAddr().(*net.UDPAddr).Port
		}
		c.ports = append(c.ports, p)
	}
	for _, u := range held {
		u.Close()
	}
	c.nodes = make([]*system, n)
	return c
}

func (c *cluster) write(root paths.Root, name, text string) {
	c.t.Helper()
	if err := os.MkdirAll(root.ConfigDir(), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(root.Config(name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// start starts the daemon of node i, with new files unless it had some.
func (c *cluster) start(i int) *system {
	c.t.Helper()
	n := &system{ended: make(chan error, 1), log: &logText{}}
	if old := c.nodes[i]; old != nil {
		n.root = old.root
	} else {
		n.root = paths.Root(shortDir(c.t))
		tab := fmt.Sprintf("set-node s%d\nset-cluster 77\n%s", i, c.extra)
		for k, tag := range []string{"a", "b"} {
			tab += fmt.Sprintf("link %s udp - udp %d - 127.0.0.1 -\n", tag, c.ports[i][k])
			for j := range c.ports {
				if j != i {
					tab += fmt.Sprintf("set-addr %d %s 127.0.0.1:%d\n", j, tag, c.ports[j][k])
				}
			}
		}
		hosts := ""
		for j := range c.ports {
			hosts += fmt.Sprintf("%d s%d\n", j, j)
		}
		c.write(n.root, "llttab", tab)
		c.write(n.root, "llthosts", hosts)
		c.write(n.root, "gabtab", fmt.Sprintf("/sbin/gabconfig -c -n%d\n", len(c.ports)))
		c.write(n.root, "cluster.key", strings.Repeat("5a", 32)+"\n")
		if c.mode != "" {
			c.write(n.root, "fencing.conf", c.mode)
		}
	}
	cfg, err := Load(n.root, slog.New(slog.NewTextHandler(n.log, nil)))
	if err != nil {
		c.t.Fatal(err)
	}
	cfg.Realtime, cfg.Watch = false, false
	if n.server, err = New(cfg); err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.ended <- n.server.Run(ctx) }() // ends with stop
	if n.conn, err = grpc.NewClient("unix:"+n.root.Socket("gab"), grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		c.t.Fatal(err)
	}
	n.gab, n.llt = gabv1.NewGabServiceClient(n.conn), gabv1.NewLltServiceClient(n.conn)
	c.nodes[i] = n
	c.t.Cleanup(func() { c.stop(n) })
	return n
}

// shortDir is a directory whose name leaves room for a socket's.
func shortDir(t testing.TB) string {
	d, err := os.MkdirTemp("", "gab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(d) })
	return d
}

// stop ends a daemon as a crash does, as far as the others can see.
func (c *cluster) stop(n *system) {
	if n.cancel == nil {
		return
	}
	n.cancel()
	select {
	case <-n.ended:
	case <-time.After(patience):
		c.t.Error("a daemon did not end")
	}
	n.conn.Close()
	n.cancel = nil
}

// patience is how long a test waits for something that will come: it bounds a
// failure and measures nothing, so it is long enough for a busy machine.
const patience = time.Minute

// until calls f until it returns "", for as long as patience.
func until(t testing.TB, f func() string) {
	t.Helper()
	over := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		why := f()
		if why == "" {
			return
		}
		select {
		case <-over:
			t.Fatal(why)
		case <-tick.C:
		}
	}
}

func (n *system) members(port string) (string, *gabv1.GetMembershipResponse) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m, err := n.gab.GetMembership(ctx, &gabv1.GetMembershipRequest{})
	if err != nil {
		return err.Error(), nil
	}
	for _, p := range m.GetPorts() {
		if p.GetPort() == port {
			var names []string
			for _, s := range p.GetMembers() {
				names = append(names, s.GetName())
			}
			return strings.Join(names, " "), m
		}
	}
	return "", m
}

func (c *cluster) waitMembers(n *system, port, want string) {
	c.t.Helper()
	until(c.t, func() string {
		got, _ := n.members(port)
		if got == want {
			return ""
		}
		return fmt.Sprintf("port %s has %q, want %q\n%s", port, got, want, n.log)
	})
}

func (c *cluster) attach(n *system, port string) *gabclient.Client {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	g, err := gabclient.Attach(ctx, gabclient.Config{Socket: n.root.Socket("gab"), Port: port, Client: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(g.Close)
	return g
}

// nextView takes events until a view with so many members comes.
func nextView(t testing.TB, g *gabclient.Client, members int) *gabv1.View {
	t.Helper()
	over := time.After(patience)
	for {
		select {
		case r, ok := <-g.Events():
			if !ok {
				t.Fatal(g.Err())
			}
			if v := r.GetView(); v != nil && len(v.GetMembers()) == members {
				return v
			}
		case <-over:
			t.Fatalf("no view of %d members", members)
		}
	}
}

func formed(t testing.TB, n int, mode string) *cluster {
	c := newCluster(t, n, mode)
	names := ""
	for i := range n {
		c.start(i)
		names = strings.TrimSpace(fmt.Sprintf("%s s%d", names, i))
	}
	for _, s := range c.nodes {
		c.waitMembers(s, "a", names)
	}
	return c
}

// TestThreeSystems: membership, total order of all senders, the outcome of
// each Send, one killed, the view without it, and its return.
func TestThreeSystems(t *testing.T) {
	c := formed(t, 3, "")
	var gs []*gabclient.Client
	for _, n := range c.nodes {
		gs = append(gs, c.attach(n, "d"))
	}
	for _, g := range gs {
		nextView(t, g, 3)
	}
	const each = 300
	ctx, cancel := context.WithTimeout(context.Background(), patience) // a sender that nobody hears ends too
	defer cancel()
	var orders [3][]string
	var wait sync.WaitGroup
	for i, g := range gs {
		wait.Go(func() {
			for k := range each {
				if _, err := g.Send(ctx, []byte(fmt.Sprintf("%d.%d", i, k))); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wait.Go(func() {
			outcomes := 0
			over := time.After(patience)
			for len(orders[i]) < 3*each || outcomes < each {
				select {
				case r, ok := <-g.Events():
					if !ok {
						t.Error(g.Err())
						return
					}
					if m := r.GetMessage(); m != nil {
						orders[i] = append(orders[i], fmt.Sprintf("%d %s", m.GetSeq(), m.GetPayload()))
					}
					if o := r.GetOutcome(); o != nil {
						outcomes++
						if o.GetResult() != gabv1.SendResult_SEND_RESULT_DELIVERED {
							t.Errorf("outcome %s", o.GetResult())
						}
					}
				case <-over:
					t.Errorf("system %d got %d messages and %d outcomes", i, len(orders[i]), outcomes)
					return
				}
			}
		})
	}
	wait.Wait()
	if strings.Join(orders[0], "\n") != strings.Join(orders[1], "\n") || strings.Join(orders[0], "\n") != strings.Join(orders[2], "\n") {
		t.Fatal("the systems delivered different orders")
	}
	c.stop(c.nodes[2])
	for _, g := range gs[:2] {
		v := nextView(t, g, 2)
		if len(v.GetSystems()) != 2 || len(v.GetDeparted()) != 1 || v.GetDeparted()[0].GetMember().GetName() != "s2" ||
			v.GetDeparted()[0].GetEvidence() != gabv1.EvidenceKind_EVIDENCE_KIND_ASSUMED {
			t.Fatalf("view after the loss: %v", v)
		}
	}
	r, err := gs[0].SendWait(ctx, []byte("still here"))
	if err != nil || r != gabv1.SendResult_SEND_RESULT_DELIVERED {
		t.Fatalf("send with two systems: %v, %v", r, err)
	}
	c.start(2)
	for _, n := range c.nodes {
		c.waitMembers(n, "a", "s0 s1 s2")
	}
}

// TestRPCs: what every call answers, and what it refuses with which code.
func TestRPCs(t *testing.T) {
	c := newCluster(t, 2, "")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	a := c.start(0)
	until(t, func() string {
		cfg, err := a.gab.GetConfiguration(ctx, &gabv1.GetConfigurationRequest{})
		if err == nil && cfg.GetState() == "unseeded" && strings.Contains(cfg.GetWaitingFor(), "gabconfig -x") && cfg.GetSeedCount() == 2 && cfg.GetName() == "s0" {
			return ""
		}
		return fmt.Sprintf("configuration %v, error %v", cfg, err)
	})
	if _, err := a.gab.Seed(ctx, &gabv1.SeedRequest{}); err != nil {
		t.Fatal(err)
	}
	c.waitMembers(a, "a", "s0")
	b := c.start(1)
	c.waitMembers(b, "a", "s0 s1")
	until(t, func() string {
		peers, err := a.llt.ListPeers(ctx, &gabv1.ListPeersRequest{})
		if err == nil && len(peers.GetPeers()) == 2 && peers.GetPeers()[0].GetSelf() && peers.GetPeers()[1].GetState() == "OPEN" &&
			len(peers.GetPeers()[1].GetLinks()) == 2 && peers.GetPeers()[1].GetLinks()[1].GetStatus() == "UP" {
			return ""
		}
		return fmt.Sprintf("peers %v, error %v", peers, err)
	})
	links, err := a.llt.ListLinks(ctx, &gabv1.ListLinksRequest{})
	if err != nil || len(links.GetLinks()) != 2 || !links.GetLinks()[0].GetUp() || links.GetLinks()[0].GetKind() != "udp" || links.GetLinks()[0].GetTxFrames() == 0 {
		t.Errorf("links %v, error %v", links, err)
	}
	stats, err := a.llt.GetStatistics(ctx, &gabv1.GetStatisticsRequest{})
	if err != nil || len(stats.GetCounters()) < 10 || stats.GetCounters()[0].GetName() != "Snd data packets" {
		t.Errorf("statistics %v, error %v", stats, err)
	}
	tr, err := a.llt.GetTransport(ctx, &gabv1.GetTransportRequest{})
	if err != nil || tr.GetClusterId() != 77 || !tr.GetEncrypted() || tr.GetTimers()[0].GetTicks() != 10 {
		t.Errorf("transport %v, error %v", tr, err)
	}
	for _, k := range []struct {
		timer string
		ticks uint32
		code  codes.Code
	}{{"heartbeat", 20, codes.OK}, {"heartbeat", 4000, codes.InvalidArgument}, {"hartbeat", 1, codes.InvalidArgument}, {"peerinact", 100, codes.FailedPrecondition}} {
		_, err := a.llt.SetTimer(ctx, &gabv1.SetTimerRequest{Timer: &gabv1.Timer{Name: k.timer, Ticks: k.ticks}})
		if status.Code(err) != k.code {
			t.Errorf("SetTimer %s:%d: %v, want code %s", k.timer, k.ticks, err, k.code)
		}
	}
	if h, err := healthpb.NewHealthClient(a.conn).Check(ctx, &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("health %v, error %v", h, err)
	}
	w, err := a.gab.WatchLease(ctx, &gabv1.WatchLeaseRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	for last == 0 {
		r, err := w.Recv()
		if err != nil {
			t.Fatal(err)
		}
		last = r.GetLease().GetExpiresBoottimeNs()
	}
	for range 2 { // it is renewed (R6)
		r, err := w.Recv()
		if err != nil || r.GetLease().GetExpiresBoottimeNs() <= last {
			t.Fatalf("lease %v after %d, error %v", r, last, err)
		}
		last = r.GetLease().GetExpiresBoottimeNs()
	}
	_, m := a.members("a")
	if !m.GetSeeded() || m.GetAgeMs() > 2000 || len(m.GetPorts()[0].GetGeneration()) != 8 {
		t.Errorf("membership %v", m)
	}
}

// TestAttachRefusals: the codes of a client that does it wrong.
func TestAttachRefusals(t *testing.T) {
	c := formed(t, 2, "")
	first := c.attach(c.nodes[0], "d")
	nextView(t, first, 1)
	register := func(port string) *gabv1.AttachRequest {
		return &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Register{Register: &gabv1.Register{Port: port, Client: "x"}}}
	}
	send := func(id uint64, n int) *gabv1.AttachRequest {
		return &gabv1.AttachRequest{Body: &gabv1.AttachRequest_Send{Send: &gabv1.Send{MessageId: id, Payloads: make([][]byte, n)}}}
	}
	for name, k := range map[string]struct {
		say  []*gabv1.AttachRequest
		code codes.Code
	}{
		"taken":            {[]*gabv1.AttachRequest{register("d")}, codes.AlreadyExists},
		"port a":           {[]*gabv1.AttachRequest{register("a")}, codes.InvalidArgument},
		"no letter":        {[]*gabv1.AttachRequest{register("had")}, codes.InvalidArgument},
		"no register":      {[]*gabv1.AttachRequest{send(1, 1)}, codes.FailedPrecondition},
		"register twice":   {[]*gabv1.AttachRequest{register("e"), register("e")}, codes.FailedPrecondition},
		"empty send":       {[]*gabv1.AttachRequest{register("f"), send(1, 0)}, codes.InvalidArgument},
		"ids do not grow":  {[]*gabv1.AttachRequest{register("g"), send(2, 1), send(2, 1)}, codes.InvalidArgument},
		"too many":         {[]*gabv1.AttachRequest{register("i"), send(2, 300)}, codes.InvalidArgument},
		"empty request":    {[]*gabv1.AttachRequest{register("j"), {}}, codes.InvalidArgument},
		"answer elsewhere": {[]*gabv1.AttachRequest{register("k"), {Body: &gabv1.AttachRequest_FenceAnswer{FenceAnswer: &gabv1.FenceAnswer{}}}}, codes.FailedPrecondition},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		s, err := c.nodes[0].gab.Attach(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range k.say {
			if err := s.Send(r); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
		for err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != k.code {
			t.Errorf("%s: %v, want code %s", name, err, k.code)
		}
		cancel()
	}
}

// TestSlowClient: a client that takes nothing stops the senders, loses
// nothing, and hinders no other port.
func TestSlowClient(t *testing.T) {
	c := formed(t, 2, "")
	fast, slow := c.attach(c.nodes[0], "d"), c.attach(c.nodes[1], "d")
	nextView(t, fast, 2)
	go func() { // ends with fast
		for range fast.Events() {
		}
	}()
	const total = 20000
	sent := make(chan int, total) // one per Send, never full
	go func() {                   // ends after total Sends or with fast
		for i := range total {
			if _, err := fast.Send(context.Background(), []byte(fmt.Sprint(i))); err != nil {
				return
			}
			sent <- i
		}
	}()
	until(t, func() string {
		if strings.Contains(c.nodes[1].log.String(), "client is slow") {
			return ""
		}
		return "nobody calls the client slow"
	})
	// It is named everywhere.
	until(t, func() string {
		for _, n := range c.nodes {
			_, m := n.members("d")
			for _, p := range m.GetPorts() {
				if p.GetPort() == "d" && (len(p.GetSlow()) != 1 || p.GetSlow()[0].GetName() != "s1") {
					return fmt.Sprintf("slow on port d: %v", p.GetSlow())
				}
			}
		}
		return ""
	})
	other := c.attach(c.nodes[0], "e")
	nextView(t, other, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r, err := other.SendWait(ctx, []byte("x")); err != nil || r != gabv1.SendResult_SEND_RESULT_DELIVERED {
		t.Fatalf("another port: %v %v", r, err)
	}
	if n := len(sent); n == total {
		t.Fatal("the sender was not held back")
	}
	over := time.After(patience)
	for want := 0; want < total; {
		select {
		case r, ok := <-slow.Events():
			if !ok {
				t.Fatal(slow.Err())
			}
			if m := r.GetMessage(); m != nil {
				if string(m.GetPayload()) != fmt.Sprint(want) {
					t.Fatalf("message %q, want %d", m.GetPayload(), want)
				}
				want++
			}
		case <-over:
			t.Fatal("the messages did not come after the client woke up")
		}
	}
}

// TestLeave: R14. An ordered leave is refused while something protected is
// here; forced, it looks like a crash; else it is CLEAN.
func TestLeave(t *testing.T) {
	c := formed(t, 3, "")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h0, h1, h2 := c.attach(c.nodes[0], "h"), c.attach(c.nodes[1], "h"), c.attach(c.nodes[2], "h")
	nextView(t, h0, 3)
	if err := h1.Protect(1); err != nil {
		t.Fatal(err)
	}
	until(t, func() string {
		_, err := c.nodes[1].gab.Leave(ctx, &gabv1.LeaveRequest{})
		if status.Code(err) == codes.FailedPrecondition {
			return ""
		}
		t.Fatalf("leave under something protected: %v", err)
		return "leave was not refused"
	})
	if err := h2.Protect(0); err != nil {
		t.Fatal(err)
	}
	// had is still there: it may raise something before the leave has its place.
	if _, err := c.nodes[2].gab.Leave(ctx, &gabv1.LeaveRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("leave while had is on port h: %v", err)
	}
	// Something that fencing was told of, although gab was not.
	if err := standing.WriteProtection(c.nodes[2].root, 1, nil); err != nil {
		t.Fatal(err)
	}
	h2.Close()
	c.waitMembers(c.nodes[0], "h", "s0 s1")
	if _, err := c.nodes[2].gab.Leave(ctx, &gabv1.LeaveRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("leave under what was declared to fencing: %v", err)
	}
	if err := standing.WriteProtection(c.nodes[2].root, 0, nil); err != nil {
		t.Fatal(err)
	}
	until(t, func() string {
		_, err := c.nodes[2].gab.Leave(ctx, &gabv1.LeaveRequest{})
		if err == nil || status.Code(err) == codes.Unavailable { // it may end before a slow caller has its answer
			return ""
		}
		return err.Error()
	})
	v := nextView(t, h0, 2)
	for len(v.GetSystems()) != 2 {
		v = nextView(t, h0, 2)
	}
	if len(v.GetDeparted()) != 1 || v.GetDeparted()[0].GetEvidence() != gabv1.EvidenceKind_EVIDENCE_KIND_CLEAN {
		t.Fatalf("after a clean leave: %v", v)
	}
	select {
	case err := <-c.nodes[2].ended:
		c.nodes[2].ended <- nil
		if err != nil {
			t.Fatalf("the daemon that left: %v", err)
		}
	case <-time.After(patience):
		t.Fatalf("the daemon that left goes on\n%s", c.nodes[2].log)
	}
}

// TestFenceGate: with fencing, port h has no view before port b (design 3.12),
// and a view that lost a system waits for its evidence (R1, R10).
func TestFenceGate(t *testing.T) {
	c := formed(t, 2, "vxfen_mode=customized\npoint1=file:/none/1\npoint2=file:/none/2\npoint3=file:/none/3\n")
	h := []*gabclient.Client{c.attach(c.nodes[0], "h"), c.attach(c.nodes[1], "h")}
	b := []*gabclient.Client{c.attach(c.nodes[0], "b"), c.attach(c.nodes[1], "b")}
	if mode := b[0].Registered().GetFencingMode(); mode != "customized" {
		t.Fatalf("mode %q", mode)
	}
	nextView(t, b[0], 2)
	nextView(t, h[0], 2)
	c.stop(c.nodes[1])
	v := nextView(t, b[0], 1)
	for len(v.GetDeparted()) == 0 { // its client may go first
		v = nextView(t, b[0], 1)
	}
	if len(v.GetDeparted()) != 1 || v.GetDeparted()[0].GetEvidence() != gabv1.EvidenceKind_EVIDENCE_KIND_UNSPECIFIED {
		t.Fatalf("port b must hear of the loss without evidence: %v", v)
	}
	until(t, func() string {
		_, m := c.nodes[0].members("a")
		if m.GetGate().GetHeld() && strings.Contains(m.GetGate().GetReason(), "ha fencing vouch s1") && m.GetGate().GetWaitingFor()[0].GetName() == "s1" {
			return ""
		}
		return fmt.Sprintf("the gate is not held: %v", m)
	})
	v.GetDeparted()[0].Evidence = gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF
	if err := b[0].Answer(&gabv1.FenceAnswer{View: v.GetId(), Departed: v.GetDeparted()}); err != nil {
		t.Fatal(err)
	}
	hv := nextView(t, h[0], 1)
	for len(hv.GetDeparted()) == 0 {
		hv = nextView(t, h[0], 1)
	}
	if hv.GetDeparted()[0].GetEvidence() != gabv1.EvidenceKind_EVIDENCE_KIND_POWERED_OFF {
		t.Fatalf("view of port h: %v", hv)
	}
}

// TestNeverIntoARunningIncarnation: R2. gab refuses to start where the gab of
// this boot protected something.
func TestNeverIntoARunningIncarnation(t *testing.T) {
	c := newCluster(t, 2, "")
	n := c.start(0)
	c.stop(n)
	if err := standing.WriteProtection(n.root, 2, []string{"NFS_group1"}); err != nil {
		t.Fatal(err)
	}
	cfg, err := Load(n.root, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "2 protected resources") {
		t.Fatalf("error %v", err)
	}
}

// TestGapBeginsANewIncarnation: R19. After standing still for longer than the
// lease, with nothing protected, gab sends nothing more and rejoins as another
// incarnation.
func TestGapBeginsANewIncarnation(t *testing.T) {
	c := formed(t, 2, "")
	_, before := c.nodes[1].members("a")
	l := c.nodes[1].server.now.Load()
	held := make(chan struct{})
	g := c.attach(c.nodes[1], "d")
	nextView(t, g, 1)
	go func() { // ends when the loop was held
		defer close(held)
		_ = l.do(context.Background(), func() { <-time.After(l.lease + 300*time.Millisecond) })
	}()
	<-held
	select {
	case <-l.done:
	case <-time.After(patience):
		t.Fatalf("gab goes on after the gap\n%s", c.nodes[1].log)
	}
	for range g.Events() { // closed: the port was lost
	}
	if status.Code(errors.Unwrap(g.Err())) != codes.Unavailable {
		t.Errorf("the client hears %v", g.Err())
	}
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
	if !strings.Contains(c.nodes[1].log.String(), "journal written") {
		t.Error("no journal of the pause was written")
	}
	if _, err := os.Stat(filepath.Join(string(c.nodes[1].root), "var/lib/evenkeel/gab.standdown.journal")); err != nil {
		t.Error(err)
	}
}

// TestGenerationsGrow: R18. Counters are reserved on disk well ahead.
func TestGenerationsGrow(t *testing.T) {
	c := formed(t, 2, "")
	n, err := readCounter(c.nodes[0].root)
	if err != nil || n < 1000 {
		t.Fatalf("counter on disk is %d, error %v", n, err)
	}
}

func TestGabtab(t *testing.T) {
	for text, want := range map[string]string{
		"/sbin/gabconfig -c -n2":                      "2 false",
		"gabconfig -c -n 4\n# comment":                "4 false",
		"#\n\ngabconfig -cx":                          `gabtab:3:11: unknown option "-cx"; -c, -nN, -x, -j, -J, -k, -b, -B, -p, -P, -q, -d and -S isolate_time:MS are known`,
		"gabconfig -c -n2 -j -q -S isolate_time:3000": "2 false {HaltOnRejoin:true KeepKilling:false MissedHeartbeatHalt:false HaltOnProcessDeath:false Quorum:true Isolate:3s}",
		"gabconfig -c -S isolate_time:3":              `gabtab:1:17: isolate_time "3" is not in 1000 to 240000 ms`,
		"gabconfig -c -x":                             "0 true",
		"gabconfig -c -n65":                           `gabtab:1:14: "65" is no number of systems from 0 to 64; write: gabconfig -c -nN`,
		"gabconfig -c -n":                             `gabtab:1:14: "" is no number of systems from 0 to 64; write: gabconfig -c -nN`,
		"":                                            "gabtab:1:1: the file is empty; write: gabconfig -c -nN, N being the number of systems",
		"/sbin/lltconfig -c":                          `gabtab:1:1: unknown command "/sbin/lltconfig"; write: gabconfig -c -nN, N being the number of systems`,
		"gabconfig -n2\n gabconfig -n2":               "gabtab:2:2: a second gabconfig; one line is enough",
	} {
		g, err := ParseGabtab("gabtab", text)
		got := fmt.Sprint(g.SeedCount, " ", g.SeedNow)
		if g.Options != (Options{}) {
			got += fmt.Sprintf(" %+v", g.Options)
		}
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzGabtab(f *testing.F) {
	f.Add("/sbin/gabconfig -c -n2")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := ParseGabtab("gabtab", text); err != nil && !strings.HasPrefix(err.Error(), "gabtab:") {
			t.Fatalf("error without position: %v", err)
		}
	})
}
