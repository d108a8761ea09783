package nic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

const (
	// tries and tryTime bound the wait for an answer of one host out of all.
	tries   = 3
	tryTime = 300 * time.Millisecond
	// trafficTime is how long packets may take to come in after a broadcast ping.
	trafficTime = 500 * time.Millisecond
)

func parseHost(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || addr.Is4In6() {
		return addr, fmt.Errorf("%q is no IP address (names are not looked up)", text)
	}
	return addr, nil
}

// pinger sends echo requests through one device.
type pinger struct {
	conn  net.PacketConn
	typ   icmp.Type
	reply icmp.Type
	proto int
}

func newPinger(ctx context.Context, device string, v6 bool) (*pinger, error) {
	p := &pinger{typ: ipv4.ICMPTypeEcho, reply: ipv4.ICMPTypeEchoReply, proto: unix.IPPROTO_ICMP}
	network, local := "ip4:icmp", "0.0.0.0"
	if v6 {
		p = &pinger{typ: ipv6.ICMPTypeEchoRequest, reply: ipv6.ICMPTypeEchoReply, proto: unix.IPPROTO_ICMPV6}
		network, local = "ip6:ipv6-icmp", "::"
	}
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var optErr error
		err := c.Control(func(fd uintptr) {
			optErr = errors.Join(
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
		})
		return errors.Join(err, optErr)
	}}
	conn, err := config.ListenPacket(ctx, network, local)
	if err != nil {
		return nil, fmt.Errorf("open ping socket on %s: %w", device, err)
	}
	p.conn = conn
	return p, nil
}

func (p *pinger) send(to netip.Addr, seq int) error {
	m := icmp.Message{Type: p.typ, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: seq, Data: []byte("evenkeel")}}
	b, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = p.conn.WriteTo(b, &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()})
	return err
}

// await waits for an answer of one of the hosts until the given time.
func (p *pinger) await(ctx context.Context, until time.Time, hosts map[netip.Addr]bool) (bool, error) {
	if err := p.conn.SetReadDeadline(until); err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 1500)
	for {
		n, from, err := p.conn.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return false, nil
		case err != nil:
			return false, err
		}
		addr, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		m, err := icmp.ParseMessage(p.proto, buf[:n])
		if !ok || err != nil || m.Type != p.reply {
			continue
		}
		echo, isEcho := m.Body.(*icmp.Echo)
		if isEcho && echo.ID == os.Getpid()&0xffff && hosts[addr.Unmap()] {
			return true, nil
		}
	}
}

// pingHosts is ONLINE if one host answers.
func pingHosts(ctx context.Context, device string, hosts []string) (agent.Status, error) {
	byFamily := map[bool]map[netip.Addr]bool{}
	for _, text := range hosts {
		addr, err := parseHost(text)
		if err != nil {
			return agent.Status{}, fmt.Errorf("attribute NetworkHosts: %w", err)
		}
		if byFamily[addr.Is6()] == nil {
			byFamily[addr.Is6()] = map[netip.Addr]bool{}
		}
		byFamily[addr.Is6()][addr] = true
	}
	for _, v6 := range []bool{false, true} {
		if byFamily[v6] == nil {
			continue
		}
		answered, err := pingFamily(ctx, device, v6, byFamily[v6])
		if err != nil {
			return agent.Status{}, err
		}
		if answered {
			return agent.Status{State: agent.Online}, nil
		}
	}
	return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("none of %s answers through %s", strings.Join(hosts, ", "), device)}, nil
}

func pingFamily(ctx context.Context, device string, v6 bool, hosts map[netip.Addr]bool) (bool, error) {
	p, err := newPinger(ctx, device, v6)
	if err != nil {
		return false, err
	}
	defer p.conn.Close()
	for seq := range tries {
		for host := range hosts {
			// No route and the like: as good as no answer.
			_ = p.send(host, seq)
		}
		if answered, err := p.await(ctx, time.Now().Add(tryTime), hosts); err != nil || answered {
			return answered, err
		}
	}
	return false, nil
}

// broadcastPing makes whoever answers broadcasts, or at least the switch, send
// something.
func broadcastPing(ctx context.Context, link netlink.Link) error {
	p, err := newPinger(ctx, link.Attrs().Name, false)
	if err != nil {
		return err
	}
	defer p.conn.Close()
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list addresses of %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addrs {
		base, ok := netip.AddrFromSlice(a.IP.To4())
		if !ok || len(a.Mask) != 4 {
			continue
		}
		last := base.As4()
		for i := range last {
			last[i] |= ^a.Mask[i]
		}
		_ = p.send(netip.AddrFrom4(last), 0) // the counter decides, not the sending
	}
	return nil
}
