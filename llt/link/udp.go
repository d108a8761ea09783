package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

type udpPort struct {
	*socket
	group *socket // hears broadcast or multicast; nil without
	to    netip.AddrPort
	v6    bool
}

func openUDP(s *conf.Link, ifi *net.Interface) (port, error) {
	local := netip.AddrPortFrom(s.Local, s.SAP)
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("open UDP %s: %w", local, err)
	}
	p := &udpPort{v6: !s.Local.Unmap().Is4()}
	if p.socket, err = udpSocket(conn); err != nil {
		return nil, err
	}
	p.forWriting(0)
	if !s.Broadcast.IsValid() {
		return p, nil
	}
	p.to = netip.AddrPortFrom(s.Broadcast, s.SAP)
	hears, err := listenGroup(p.to, ifi)
	if err == nil {
		p.group, err = udpSocket(hears)
	}
	if err != nil {
		p.socket.close()
		return nil, err
	}
	return p, nil
}

func udpSocket(conn *net.UDPConn) (*socket, error) {
	s, err := newSocket(conn)
	if err != nil {
		return nil, err
	}
	_ = s.raw.Control(func(fd uintptr) { enlarge(int(fd)) })
	var source []byte
	s.forReading(0, func(name, _ []byte) []byte {
		source = addrOf(name, source)
		return source
	})
	return s, nil
}

// listenGroup hears what is sent to the broadcast address or multicast group.
func listenGroup(to netip.AddrPort, ifi *net.Interface) (*net.UDPConn, error) {
	if to.Addr().IsMulticast() {
		c, err := net.ListenMulticastUDP("udp", ifi, net.UDPAddrFromAddrPort(to))
		if err != nil {
			return nil, fmt.Errorf("join multicast group %s on %s: %w", to, ifi.Name, err)
		}
		return c, nil
	}
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		ctlErr := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
		})
		return errors.Join(err, ctlErr)
	}}
	c, err := lc.ListenPacket(context.Background(), "udp", to.String())
	if err != nil {
		return nil, fmt.Errorf("open UDP broadcast %s: %w", to, err)
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("open UDP broadcast %s: not a UDP socket", to)
	}
	return udp, nil
}

// enlarge asks for room for a burst; the kernel gives what it allows.
func enlarge(fd int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, socketBytes)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBytes)
	}
}

func (p *udpPort) readers() []reader {
	if p.group == nil {
		return []reader{p.socket}
	}
	return []reader{p.socket, p.group}
}

func (p *udpPort) write(out []*llt.FrameOut) (int, error) {
	out = out[:min(len(out), batch)]
	for i, f := range out {
		to := p.to
		if f.Dst != nil && to.UnmarshalBinary(f.Dst) != nil {
			return p.sendUpTo(i, errAddress)
		}
		if !to.IsValid() || (to.Addr().Unmap().Is6() && !p.v6) {
			return p.sendUpTo(i, errAddress)
		}
		p.out[i].hdr.Name = &p.outNames[i][0]
		p.out[i].hdr.Namelen = uint32(nameOf(to, p.v6, p.outNames[i]))
		p.payload(i, f.Data)
	}
	return p.sendUpTo(len(out), nil)
}

func (p *udpPort) close() error {
	err := p.socket.close()
	if p.group != nil {
		err = errors.Join(err, p.group.close())
	}
	return err
}

// udpBytes is an address as the core keeps it.
func udpBytes(a netip.AddrPort) []byte {
	b, err := netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).MarshalBinary()
	if err != nil {
		return nil
	}
	return b
}
