package ip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// allNodes is the multicast group of all IPv6 hosts of a link.
var allNodes = netip.MustParseAddr("ff02::1")

// dialect is what differs between ARP and neighbour discovery.
type dialect struct {
	ethertype ethernet.EtherType
	// question asks who has the address, from nobody.
	question func(own net.HardwareAddr, addr netip.Addr) ([]byte, error)
	// conflict says who claims the address in a frame; nil for nobody.
	conflict func(frame []byte, own net.HardwareAddr, addr netip.Addr) net.HardwareAddr
	// claims are the frames that tell everybody who has it.
	claims func(own net.HardwareAddr, addr netip.Addr) ([][]byte, error)
}

func dialectOf(addr netip.Addr) dialect {
	if addr.Is4() {
		return dialect{ethernet.EtherTypeARP, arpQuestion, arpConflict, arpClaims}
	}
	return dialect{ethernet.EtherTypeIPv6, ndpQuestion, ndpConflict, ndpClaims}
}

func open(link netlink.Link, typ ethernet.EtherType) (*packet.Conn, error) {
	ifi := &net.Interface{
		Index: link.Attrs().Index, Name: link.Attrs().Name, MTU: link.Attrs().MTU, HardwareAddr: link.Attrs().HardwareAddr,
	}
	c, err := packet.Listen(ifi, packet.Raw, int(typ), nil)
	if err != nil {
		return nil, fmt.Errorf("open raw socket on %s: %w", ifi.Name, err)
	}
	return c, nil
}

// closeSoon closes beside the caller: the kernel takes some 10 ms for it, which
// would be time without the address.
func closeSoon(c *packet.Conn) { go c.Close() }

func send(c *packet.Conn, frame []byte) error {
	to := net.HardwareAddr(frame[:6])
	_, err := c.WriteTo(frame, &packet.Addr{HardwareAddr: to})
	return err
}

// probe asks n times within the given time whether somebody else has the
// address, and returns who answered; nil for nobody.
func probe(ctx context.Context, link netlink.Link, addr netip.Addr, n int, within time.Duration) (net.HardwareAddr, error) {
	own := link.Attrs().HardwareAddr
	if len(own) != 6 {
		return nil, nil // no Ethernet, nobody to ask
	}
	d := dialectOf(addr)
	c, err := open(link, d.ethertype)
	if err != nil {
		return nil, err
	}
	defer closeSoon(c)
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	frame, err := d.question(own, addr)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	for i := 1; i <= n; i++ {
		if err := send(c, frame); err != nil {
			return nil, err
		}
		who, err := listen(ctx, c, begin.Add(within*time.Duration(i)/time.Duration(n)), func(frame []byte) net.HardwareAddr {
			return d.conflict(frame, own, addr)
		})
		if err != nil || who != nil {
			return who, err
		}
	}
	return nil, nil
}

func listen(ctx context.Context, c *packet.Conn, until time.Time, judge func([]byte) net.HardwareAddr) (net.HardwareAddr, error) {
	buf := make([]byte, 2048)
	for {
		if err := c.SetReadDeadline(until); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil { // after the deadline was set: AfterFunc cannot be lost
			return nil, err
		}
		count, _, err := c.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil
		case errors.Is(err, unix.ENETDOWN):
			return nil, fmt.Errorf("the link went down: %w", err)
		case err != nil:
			return nil, err
		}
		if who := judge(buf[:count]); who != nil {
			return who, nil
		}
	}
}

// announce tells everybody on the link who has the address now.
func announce(link netlink.Link, addr netip.Addr) error {
	own := link.Attrs().HardwareAddr
	if len(own) != 6 || link.Attrs().RawFlags&unix.IFF_NOARP != 0 {
		return nil
	}
	d := dialectOf(addr)
	c, err := open(link, d.ethertype)
	if err != nil {
		return err
	}
	defer closeSoon(c)
	frames, err := d.claims(own, addr)
	if err != nil {
		return err
	}
	for _, frame := range frames {
		err = errors.Join(err, send(c, frame))
	}
	return err
}

func arpFrame(op arp.Operation, own net.HardwareAddr, from netip.Addr, toHW net.HardwareAddr, to netip.Addr) ([]byte, error) {
	p, err := arp.NewPacket(op, own, from, toHW, to)
	if err != nil {
		return nil, err
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return (&ethernet.Frame{Destination: ethernet.Broadcast, Source: own, EtherType: ethernet.EtherTypeARP, Payload: body}).MarshalBinary()
}

// arpQuestion is RFC 5227's probe: a request whose sender is 0.0.0.0, so that
// nobody's cache changes.
func arpQuestion(own net.HardwareAddr, addr netip.Addr) ([]byte, error) {
	return arpFrame(arp.OperationRequest, own, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
}

// arpConflict is RFC 5227 section 2.1.1: any packet whose sender is the
// address, and another's probe for it.
func arpConflict(raw []byte, own net.HardwareAddr, addr netip.Addr) net.HardwareAddr {
	var f ethernet.Frame
	var p arp.Packet
	if f.UnmarshalBinary(raw) != nil || f.EtherType != ethernet.EtherTypeARP || p.UnmarshalBinary(f.Payload) != nil {
		return nil
	}
	if len(p.SenderHardwareAddr) != 6 || bytes.Equal(p.SenderHardwareAddr, own) {
		return nil
	}
	claims := p.SenderIP == addr
	probes := p.Operation == arp.OperationRequest && p.SenderIP.IsUnspecified() && p.TargetIP == addr
	if claims || probes {
		return bytes.Clone(p.SenderHardwareAddr)
	}
	return nil
}

// arpClaims are a request and a reply, because some listen to one only.
func arpClaims(own net.HardwareAddr, addr netip.Addr) ([][]byte, error) {
	request, err := arpFrame(arp.OperationRequest, own, addr, make(net.HardwareAddr, 6), addr)
	if err != nil {
		return nil, err
	}
	reply, err := arpFrame(arp.OperationReply, own, addr, ethernet.Broadcast, addr)
	return [][]byte{request, reply}, err
}

// ipv6Frame wraps a neighbour discovery message. It goes out by a raw socket,
// because a socket of the kernel's needs a link-local address that is not
// tentative.
func ipv6Frame(m ndp.Message, own net.HardwareAddr, from, to netip.Addr) ([]byte, error) {
	body, err := ndp.MarshalMessageChecksum(m, from, to)
	if err != nil {
		return nil, err
	}
	group := to.As16()
	header := make([]byte, 40, 40+len(body))
	header[0] = 6 << 4
	header[4], header[5] = byte(len(body)>>8), byte(len(body))
	header[6], header[7] = unix.IPPROTO_ICMPV6, ndp.HopLimit
	src := from.As16()
	copy(header[8:24], src[:])
	copy(header[24:40], group[:])
	return (&ethernet.Frame{
		Destination: net.HardwareAddr{0x33, 0x33, group[12], group[13], group[14], group[15]},
		Source:      own, EtherType: ethernet.EtherTypeIPv6, Payload: append(header, body...),
	}).MarshalBinary()
}

// ndpQuestion is RFC 4862's solicitation: from nobody, to the group of those
// whose address ends alike.
func ndpQuestion(own net.HardwareAddr, addr netip.Addr) ([]byte, error) {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		return nil, err
	}
	return ipv6Frame(&ndp.NeighborSolicitation{TargetAddress: addr}, own, netip.IPv6Unspecified(), group)
}

func ndpConflict(raw []byte, own net.HardwareAddr, addr netip.Addr) net.HardwareAddr {
	var f ethernet.Frame
	if f.UnmarshalBinary(raw) != nil || f.EtherType != ethernet.EtherTypeIPv6 || bytes.Equal(f.Source, own) {
		return nil
	}
	p := f.Payload
	if len(p) < 40 || p[6] != unix.IPPROTO_ICMPV6 || p[7] != ndp.HopLimit {
		return nil
	}
	size := int(p[4])<<8 | int(p[5])
	if size > len(p)-40 {
		return nil
	}
	m, err := ndp.ParseMessage(p[40 : 40+size])
	if err != nil {
		return nil
	}
	from, _ := netip.AddrFromSlice(p[8:24])
	switch m := m.(type) {
	case *ndp.NeighborAdvertisement:
		if m.TargetAddress == addr {
			return bytes.Clone(f.Source)
		}
	case *ndp.NeighborSolicitation:
		if m.TargetAddress == addr && from.IsUnspecified() { // another's probe
			return bytes.Clone(f.Source)
		}
	}
	return nil
}

func ndpClaims(own net.HardwareAddr, addr netip.Addr) ([][]byte, error) {
	frame, err := ipv6Frame(&ndp.NeighborAdvertisement{
		Override: true, TargetAddress: addr,
		Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: own}},
	}, own, addr, allNodes)
	return [][]byte{frame}, err
}
