package nic

import (
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/evenkeel/evenkeel/plugins/internal/netlab"
	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agent"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) {
	if os.Getenv(agent.CookieKey) == "" {
		netlab.Enter()
	}
	agenttest.Main(m, New())
}

func TestConformance(t *testing.T) {
	netlab.Cable(t)
	agenttest.Run(t, New(), map[string]any{"Device": netlab.Device})
}

func want(t *testing.T, p *agenttest.Process, a map[string]any, state agentv1.State, detail string) {
	t.Helper()
	a["Device"] = netlab.Device
	out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: agenttest.Resource(t, "nic", a)})
	if err != nil || out.GetStatus().GetState() != state || out.GetStatus().GetDetail() != detail {
		t.Errorf("monitor %v: %v %v, want %v %q", a, out, err, state, detail)
	}
}

// Carrier changes are reported at once.
func TestWatchReportsCarrier(t *testing.T) {
	peer := netlab.Cable(t)
	p := agenttest.Start(t)
	stream, err := p.Watch(t.Context(), &agentv1.WatchRequest{Resource: agenttest.Resource(t, "nic", map[string]any{"Device": netlab.Device})})
	if err != nil {
		t.Fatal(err)
	}
	next := func(state agentv1.State) {
		t.Helper()
		news, err := stream.Recv()
		if err != nil || news.GetStatus().GetState() != state {
			t.Fatalf("watch: %v %v, want %v", news, err, state)
		}
	}
	next(agentv1.State_STATE_ONLINE)
	worst := time.Duration(0)
	for range 5 {
		begin := time.Now()
		if err := peer.LinkSetDown(peer.Link); err != nil {
			t.Fatal(err)
		}
		next(agentv1.State_STATE_OFFLINE)
		worst = max(worst, time.Since(begin))
		want(t, p, map[string]any{}, agentv1.State_STATE_OFFLINE, "hme0 has no carrier")
		if err := peer.LinkSetUp(peer.Link); err != nil {
			t.Fatal(err)
		}
		next(agentv1.State_STATE_ONLINE)
	}
	t.Logf("carrier lost to report: %v at worst of 5", worst)
	if worst > 100*time.Millisecond {
		t.Errorf("reported after %v, want at most 100 ms", worst)
	}
	link, err := netlink.LinkByName(netlab.Device)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(link); err != nil {
		t.Fatal(err)
	}
	next(agentv1.State_STATE_OFFLINE)
	want(t, p, map[string]any{}, agentv1.State_STATE_OFFLINE, "hme0 is set down")
	if err := netlink.LinkDel(link); err != nil {
		t.Fatal(err)
	}
	want(t, p, map[string]any{}, agentv1.State_STATE_OFFLINE, "there is no device hme0")
}

// A host behind the switch proves more than carrier.
func TestNetworkHosts(t *testing.T) {
	peer := netlab.Cable(t)
	p := agenttest.Start(t)
	hosts := func(names ...string) map[string]any { return map[string]any{"NetworkHosts": names} }
	want(t, p, hosts("10.99.7.2"), agentv1.State_STATE_ONLINE, "")
	want(t, p, hosts("fd00:7::2"), agentv1.State_STATE_ONLINE, "")
	want(t, p, hosts("10.99.7.99", "10.99.7.2"), agentv1.State_STATE_ONLINE, "")
	if err := peer.AddrDel(peer.Link, netlab.Addr(t, netlab.PeerV4)); err != nil {
		t.Fatal(err)
	}
	want(t, p, hosts("10.99.7.2"), agentv1.State_STATE_OFFLINE, "none of 10.99.7.2 answers through hme0")
	want(t, p, hosts("10.99.7.2", "fd00:7::2"), agentv1.State_STATE_ONLINE, "")
}

// Without hosts the counter of packets decides.
func TestTraffic(t *testing.T) {
	peer := netlab.Cable(t)
	answer := func(yes string) {
		t.Helper()
		peer.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_broadcasts", []byte(yes), 0)
		})
	}
	answer("0")
	p := agenttest.Start(t)
	for _, optimize := range []int{1, 0} {
		want(t, p, map[string]any{"Mii": 0, "PingOptimize": optimize}, agentv1.State_STATE_ONLINE, "")
	}
	// Nobody sends anything any more: the peer's end drops all it would send.
	if err := peer.LinkSetARPOff(peer.Link); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{netlab.PeerV4, netlab.PeerV6} {
		if err := peer.AddrDel(peer.Link, netlab.Addr(t, a)); err != nil {
			t.Fatal(err)
		}
	}
	answer("1")
	deadline := time.Now().Add(20 * time.Second)
	for {
		out, err := p.Monitor(t.Context(), &agentv1.MonitorRequest{Resource: agenttest.Resource(t, "nic",
			map[string]any{"Device": netlab.Device, "Mii": 0})})
		if err != nil {
			t.Fatal(err)
		}
		if out.GetStatus().GetState() == agentv1.State_STATE_OFFLINE {
			break // IPv6 had a few last words
		}
		if time.Now().After(deadline) {
			t.Fatal("ONLINE although nothing comes in")
		}
	}
}
