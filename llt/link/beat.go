package link

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
)

// beatPort is a socket of a link for one sender beside Send and Flush, who must
// not wait for whoever is sending there or stands still while he does. It has
// a lock of its own, which the link's goroutine holds while it opens or closes
// the socket, and nobody who takes frames or has some to send.
type beatPort struct {
	mu    sync.Mutex
	fd    int // -1: closed
	ether bool
	head  int // bytes of buf that are the same for all frames; the receiver's address at its beginning is not
	v6    bool
	buf   []byte
	name  [nameSize]byte
	to    netip.AddrPort
}

// Beat sends a frame of at most llt.BeatSize bytes over a link, and reports
// whether the kernel took it. It neither waits nor allocates, and depends on
// nothing that Send and Flush hold. One goroutine at a time.
func (s *Set) Beat(id llt.LinkID, dst, data []byte) bool {
	if int(id) >= len(s.links) {
		return false
	}
	l := s.links[id].Load()
	if l == nil {
		return false
	}
	l.beat.mu.Lock()
	defer l.beat.mu.Unlock()
	return l.beat.send(dst, data)
}

func (b *beatPort) send(dst, data []byte) bool {
	if b.fd < 0 || len(data) > llt.BeatSize {
		return false
	}
	var name unsafe.Pointer
	length := 0
	if b.ether {
		if len(dst) != 6 {
			return false
		}
		copy(b.buf, dst)
	} else {
		if b.to.UnmarshalBinary(dst) != nil || (b.to.Addr().Unmap().Is6() && !b.v6) {
			return false
		}
		length = nameOf(b.to, b.v6, b.name[:])
		name = unsafe.Pointer(&b.name[0])
	}
	n := b.head + copy(b.buf[b.head:], data)
	for {
		// Raw: the thread keeps its processor of the Go runtime meanwhile.
		_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(b.fd), uintptr(unsafe.Pointer(&b.buf[0])), uintptr(n), unix.MSG_DONTWAIT, uintptr(name), uintptr(length))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// openBeat opens it beside the link's port.
func (l *oneLink) openBeat(p port) error {
	b := &l.beat
	b.mu.Lock()
	defer b.mu.Unlock()
	if u, ok := p.(*udpPort); ok { // from the same port: peers know us by it
		var fd int
		var dupErr error
		err := u.raw.Control(func(of uintptr) { fd, dupErr = unix.FcntlInt(of, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, dupErr); err != nil {
			return fmt.Errorf("second UDP socket of link %s: %w", l.spec.Tag, err)
		}
		b.fd, b.ether, b.v6, b.head = fd, false, u.v6, 0
		b.buf = make([]byte, llt.BeatSize)
		return nil
	}
	ifi, err := findInterface(&l.spec)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0) // protocol 0: hears nothing
	if err != nil {
		return fmt.Errorf("second raw socket on %s: %w", ifi.Name, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifi.Index}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("second raw socket on %s: %w", ifi.Name, err)
	}
	b.fd, b.ether, b.head = fd, true, etherHeader
	b.buf = make([]byte, etherHeader+llt.BeatSize)
	copy(b.buf[6:], ifi.HardwareAddr)
	b.buf[12], b.buf[13] = byte(l.spec.SAP>>8), byte(l.spec.SAP)
	return nil
}

func (l *oneLink) closeBeat() {
	l.beat.mu.Lock()
	defer l.beat.mu.Unlock()
	if l.beat.fd >= 0 {
		unix.Close(l.beat.fd)
		l.beat.fd = -1
	}
}
