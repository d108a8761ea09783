package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt/conf"
)

type udpPort struct {
	conn  *net.UDPConn
	group *net.UDPConn // hears broadcast or multicast; nil without
	to    netip.AddrPort
	in    chan datagram // both sockets; capacity 64, full: the reader waits and the kernel drops
	done  chan struct{}
	once  sync.Once
}

type datagram struct {
	data []byte
	src  []byte
	err  error
}

func openUDP(s *conf.Link, ifi *net.Interface) (port, error) {
	local := netip.AddrPortFrom(s.Local, s.SAP)
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("open UDP %s: %w", local, err)
	}
	p := &udpPort{conn: conn, in: make(chan datagram, 64), done: make(chan struct{})}
	enlarge(conn)
	if s.Broadcast.IsValid() {
		p.to = netip.AddrPortFrom(s.Broadcast, s.SAP)
		if p.group, err = listenGroup(p.to, ifi); err != nil {
			conn.Close()
			return nil, err
		}
		go p.pump(p.group)
	}
	go p.pump(conn)
	return p, nil
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
func enlarge(c *net.UDPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, socketBytes)
		}
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBytes) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBytes)
		}
	})
}

// pump reads one socket until it is closed.
func (p *udpPort) pump(c *net.UDPConn) {
	buf := make([]byte, 1<<16)
	for {
		n, src, err := c.ReadFromUDPAddrPort(buf)
		d := datagram{err: err}
		if err == nil {
			d.data, d.src = append([]byte(nil), buf[:n]...), udpBytes(src)
		}
		select {
		case p.in <- d:
		case <-p.done:
			return
		}
		if err != nil {
			return
		}
	}
}

func (p *udpPort) read(b []byte) (int, []byte, error) {
	select {
	case d := <-p.in:
		return copy(b, d.data), d.src, d.err
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *udpPort) write(b, dst []byte) error {
	to := p.to
	if dst != nil {
		if err := to.UnmarshalBinary(dst); err != nil {
			return fmt.Errorf("address of the peer: %w", err)
		}
	}
	if !to.IsValid() {
		return errors.New("the link has no broadcast address")
	}
	_, err := p.conn.WriteToUDPAddrPort(b, to)
	return err
}

func (p *udpPort) close() error {
	p.once.Do(func() { close(p.done) })
	err := p.conn.Close()
	if p.group != nil {
		err = errors.Join(err, p.group.Close())
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
