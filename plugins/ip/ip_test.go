package ip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

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

const (
	vip4 = "10.99.7.30"
	vip6 = "fd00:7::30"
)

func attrs(address string) map[string]any {
	return map[string]any{"Device": netlab.Device, "Address": address}
}

func TestConformance(t *testing.T) {
	for _, address := range []string{vip4, vip6} {
		t.Run(address, func(t *testing.T) {
			netlab.Cable(t)
			agenttest.Run(t, New(), attrs(address))
		})
	}
}

func online(t *testing.T, p *agenttest.Process, a map[string]any) error {
	t.Helper()
	_, err := p.Online(t.Context(), &agentv1.OnlineRequest{Resource: agenttest.Resource(t, "ip", a)})
	return err
}

// own lists this end's addresses as text with prefix.
func own(t *testing.T) string {
	t.Helper()
	link, err := netlink.LinkByName(netlab.Device)
	if err != nil {
		t.Fatal(err)
	}
	list, err := addrList(link, netlink.FAMILY_ALL)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, a := range list {
		words = append(words, a.IPNet.String())
	}
	return strings.Join(words, " ")
}

// The address is refused while somebody else has it, by his name, and added
// when he is gone.
func TestDuplicateIsRefused(t *testing.T) {
	for _, c := range []struct{ address, prefixed string }{{vip4, vip4 + "/24"}, {vip6, vip6 + "/64"}} {
		t.Run(c.address, func(t *testing.T) {
			peer := netlab.Cable(t)
			if err := peer.AddrAdd(peer.Link, netlab.Addr(t, c.prefixed)); err != nil {
				t.Fatal(err)
			}
			p := agenttest.Start(t)
			err := online(t, p, attrs(c.address))
			if err == nil || !strings.Contains(err.Error(), peer.Link.Attrs().HardwareAddr.String()) {
				t.Fatalf("got %v, want a refusal with %v", err, peer.Link.Attrs().HardwareAddr)
			}
			if strings.Contains(own(t), c.address) {
				t.Error("the address was added all the same")
			}
			if err := peer.AddrDel(peer.Link, netlab.Addr(t, c.prefixed)); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			if err := online(t, p, attrs(c.address)); err != nil {
				t.Fatal(err)
			}
			t.Logf("online with two probes took %v", time.Since(begin))
			// The prefix came from the device.
			if !strings.Contains(own(t), c.prefixed) {
				t.Errorf("addresses are %s, want %s among them", own(t), c.prefixed)
			}
		})
	}
}

// The neighbours learn at once who has the address, and are told again.
func TestNeighboursLearn(t *testing.T) {
	for _, c := range []struct {
		address string
		proto   int
	}{{vip4, unix.ETH_P_ARP}, {vip6, unix.ETH_P_IPV6}} {
		t.Run(c.address, func(t *testing.T) {
			peer := netlab.Cable(t)
			link, err := netlink.LinkByName(netlab.Device)
			if err != nil {
				t.Fatal(err)
			}
			ownMAC := link.Attrs().HardwareAddr
			addr := netip.MustParseAddr(c.address)
			// The peer believes in the former owner.
			stale := &netlink.Neigh{
				LinkIndex: peer.Link.Attrs().Index, IP: addr.AsSlice(), State: netlink.NUD_STALE,
				HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 0x99},
			}
			if err := peer.NeighSet(stale); err != nil {
				t.Fatal(err)
			}
			var ear *packet.Conn
			peer.Do(func() (err error) {
				ear, err = packet.Listen(peer.Interface(), packet.Raw, c.proto, nil)
				return err
			})
			defer ear.Close()
			p := agenttest.Start(t)
			if err := online(t, p, attrs(c.address)); err != nil {
				t.Fatal(err)
			}
			_ = ear.SetReadDeadline(time.Now().Add(5 * time.Second))
			d := dialectOf(addr)
			times := map[bool]int{}
			buf := make([]byte, 2048)
			var first time.Time
			for times[true] < 2 {
				n, _, err := ear.ReadFrom(buf)
				if err != nil {
					t.Fatalf("claims heard: %v: %v", times, err)
				}
				if who := d.conflict(buf[:n], peer.Link.Attrs().HardwareAddr, addr); who.String() == ownMAC.String() && !isProbe(buf[:n]) {
					if first.IsZero() {
						first = time.Now()
					}
					times[time.Since(first) > 50*time.Millisecond]++ // false: at once, true: again
				}
			}
			if times[false] == 0 {
				t.Error("nothing at once")
			}
			neighbours, err := peer.NeighList(peer.Link.Attrs().Index, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range neighbours {
				if n.IP.Equal(addr.AsSlice()) && n.HardwareAddr.String() != ownMAC.String() {
					t.Errorf("the peer still sends to %v, want %v", n.HardwareAddr, ownMAC)
				}
			}
		})
	}
}

// isProbe tells our questions from our claims.
func isProbe(frame []byte) bool {
	if frame[12] == 0x08 && frame[13] == 0x06 {
		return string(frame[28:32]) == "\x00\x00\x00\x00"
	}
	return len(frame) > 54 && frame[54] == 135
}

// A removal behind our back is reported at once.
func TestWatchReportsRemoval(t *testing.T) {
	netlab.Cable(t)
	p := agenttest.Start(t)
	stream, err := p.Watch(t.Context(), &agentv1.WatchRequest{Resource: agenttest.Resource(t, "ip", attrs(vip4))})
	if err != nil {
		t.Fatal(err)
	}
	next := func(want agentv1.State) {
		t.Helper()
		news, err := stream.Recv()
		if err != nil || news.GetStatus().GetState() != want {
			t.Fatalf("watch: %v %v, want %v", news, err, want)
		}
	}
	next(agentv1.State_STATE_OFFLINE)
	if err := online(t, p, attrs(vip4)); err != nil {
		t.Fatal(err)
	}
	next(agentv1.State_STATE_ONLINE)
	link, err := netlink.LinkByName(netlab.Device)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := netlink.AddrDel(link, netlab.Addr(t, vip4+"/24")); err != nil {
		t.Fatal(err)
	}
	next(agentv1.State_STATE_OFFLINE)
	took := time.Since(begin)
	t.Logf("removal to report: %v", took)
	if took > 100*time.Millisecond {
		t.Errorf("reported after %v, want at most 100 ms", took)
	}
}

func TestOnlineRefusals(t *testing.T) {
	netlab.Cable(t)
	p := agenttest.Start(t)
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(lo, netlab.Addr(t, "10.99.7.40/32")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(lo, netlab.Addr(t, "10.99.7.40/32")) })
	if err := online(t, p, attrs(vip4)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change map[string]any
		want   string
	}{
		"other prefix":    {map[string]any{"PrefixLen": 16}, "with prefix /24 instead of /16"},
		"foreign network": {map[string]any{"Address": "192.0.2.1"}, "set NetMask or PrefixLen"},
		"other device":    {map[string]any{"Address": "10.99.7.40"}, "is on lo of this system already"},
		"no device":       {map[string]any{"Device": "nonesuch0"}, "find device nonesuch0"},
		"bad mask":        {map[string]any{"NetMask": "255.0.255.0"}, "NetMask"},
		"contradiction":   {map[string]any{"NetMask": "255.255.255.0", "PrefixLen": 25}, "contradicts NetMask"},
		"no address":      {map[string]any{"Address": "server1"}, "no IP address"},
	} {
		a := attrs(vip4)
		for k, v := range c.change {
			a[k] = v
		}
		if err := online(t, p, a); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q in it", name, err, c.want)
		}
	}
	ns := attrs("192.0.2.1")
	ns["NetMask"] = "255.255.255.0"
	if err := online(t, p, ns); err != nil {
		t.Errorf("foreign network with NetMask: %v", err)
	}
	if !strings.Contains(own(t), "192.0.2.1/24") {
		t.Errorf("addresses are %s", own(t))
	}
}

// R6: an online that is cancelled during the probe adds nothing.
func TestCancelledOnlineAddsNothing(t *testing.T) {
	netlab.Cable(t)
	p := agenttest.Start(t)
	a := attrs(vip4)
	a["ProbeTime"] = 5000
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := p.Online(ctx, &agentv1.OnlineRequest{CallId: 5, Resource: agenttest.Resource(t, "ip", a)})
	if err == nil {
		t.Fatal("it went through")
	}
	for {
		d, err := p.Describe(t.Context(), &agentv1.DescribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(d.GetRunning()) == 0 {
			break
		}
		if time.Since(begin) > 2*time.Second {
			t.Fatal("the probe goes on")
		}
	}
	if strings.Contains(own(t), vip4) {
		t.Error("the address was added")
	}
}

func FuzzConflict(f *testing.F) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	for _, text := range []string{vip4, vip6} {
		addr := netip.MustParseAddr(text)
		d := dialectOf(addr)
		q, err1 := d.question(mac, addr)
		claims, err2 := d.claims(mac, addr)
		if err := errors.Join(err1, err2); err != nil {
			f.Fatal(err)
		}
		for _, frame := range append(claims, q) {
			if d.conflict(frame, net.HardwareAddr{2, 0, 0, 0, 0, 2}, addr).String() != mac.String() {
				f.Errorf("another's frame is no conflict: %x", frame)
			}
			if d.conflict(frame, mac, addr) != nil {
				f.Errorf("our own frame is a conflict: %x", frame)
			}
			f.Add(frame)
		}
	}
	f.Fuzz(func(_ *testing.T, frame []byte) {
		for _, text := range []string{vip4, vip6} {
			addr := netip.MustParseAddr(text)
			dialectOf(addr).conflict(frame, mac, addr)
		}
	})
}

// device.vfd says what would keep the address from coming up on this system.
func TestDeviceAction(t *testing.T) {
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "ip", map[string]any{"Device": "nowhere0", "Address": "192.0.2.7"})
	out, err := p.Action(t.Context(), &agentv1.ActionRequest{Resource: r, Token: "device.vfd"})
	if err != nil || out.GetExitCode() != 1 || !strings.Contains(out.GetOutput(), "there is no nowhere0 on this system") {
		t.Errorf("%v %v", out, err)
	}
}

// TestToldAgain: the neighbours hear again who has the address when had asks
// for it, because a system has come back that may have claimed it, and when
// the carrier of the device is back.
func TestToldAgain(t *testing.T) {
	peer := netlab.Cable(t)
	link, err := netlink.LinkByName(netlab.Device)
	if err != nil {
		t.Fatal(err)
	}
	p := agenttest.Start(t)
	r := agenttest.Resource(t, "ip", attrs(vip4))
	out, err := p.Action(t.Context(), &agentv1.ActionRequest{Resource: r, Token: "announce"})
	if err != nil || out.GetExitCode() != 1 || !strings.Contains(out.GetOutput(), "nothing to tell") {
		t.Errorf("without the address: %v %v", out, err)
	}
	// Nobody repeats an announcement of an address that was there before.
	if err := netlink.AddrAdd(link, netlab.Addr(t, vip4+"/24")); err != nil {
		t.Fatal(err)
	}
	var ear *packet.Conn
	peer.Do(func() (err error) {
		ear, err = packet.Listen(peer.Interface(), packet.Raw, unix.ETH_P_ARP, nil)
		return err
	})
	defer ear.Close()
	claims := func(n int, why string) {
		t.Helper()
		_ = ear.SetReadDeadline(time.Now().Add(15 * time.Second))
		buf := make([]byte, 2048)
		addr := netip.MustParseAddr(vip4)
		for heard := 0; heard < n; {
			k, _, err := ear.ReadFrom(buf)
			if errors.Is(err, unix.ENETDOWN) {
				continue // told once, when the cable was pulled
			}
			if err != nil {
				t.Fatalf("%s: %d claims heard: %v", why, heard, err)
			}
			if who := dialectOf(addr).conflict(buf[:k], peer.Link.Attrs().HardwareAddr, addr); who.String() == link.Attrs().HardwareAddr.String() && !isProbe(buf[:k]) {
				heard++
			}
		}
	}
	out, err = p.Action(t.Context(), &agentv1.ActionRequest{Resource: r, Token: "announce"})
	if err != nil || out.GetExitCode() != 0 {
		t.Fatalf("with the address: %v %v", out, err)
	}
	claims(4, "at once and again, a request and a reply each") // of five times
	// A new process repeats nothing; what is heard comes of the carrier.
	p = agenttest.Start(t)
	stream, err := p.Watch(t.Context(), &agentv1.WatchRequest{Resource: r})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := peer.LinkSetDown(peer.Link); err != nil {
		t.Fatal(err)
	}
	if err := peer.LinkSetUp(peer.Link); err != nil {
		t.Fatal(err)
	}
	claims(2, "carrier back")
}
