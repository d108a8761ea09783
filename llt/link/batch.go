package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
)

// batch is how many frames one system call takes or gives.
const batch = 32

var errAddress = errors.New("address of the peer is none of this kind of link")

// batchCalls reports whether the kernel, and whatever guards this process, let
// it use recvmmsg and sendmmsg. EVENKEEL_LLT_SINGLE=1 says no, for tests of
// the other way.
var batchCalls = sync.OnceValue(func() bool {
	if os.Getenv("EVENKEEL_LLT_SINGLE") == "1" {
		return false
	}
	// On no socket both fail; ENOSYS and EPERM tell that they would on any.
	for _, call := range []uintptr{unix.SYS_RECVMMSG, unix.SYS_SENDMMSG} {
		if _, _, errno := unix.Syscall6(call, ^uintptr(0), 0, 0, 0, 0, 0); errno == unix.ENOSYS || errno == unix.EPERM {
			return false
		}
	}
	return true
})

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// socket is a datagram socket that takes and gives frames by batches, without
// an allocation. One goroutine may read while another writes.
type socket struct {
	conn io.Closer
	raw  syscall.RawConn

	in       []mmsghdr
	inVecs   [][2]unix.Iovec
	inHeads  [][]byte
	inNames  [][]byte
	frames   []llt.FrameIn // of the read under way
	sourceOf func(name, header []byte) []byte
	head     int
	got      int
	readErr  error
	readFn   func(fd uintptr) bool

	out      []mmsghdr
	outVecs  [][2]unix.Iovec
	outHeads [][]byte
	outNames [][]byte
	outHead  int
	toSend   int
	sent     int
	writeErr error
	writeFn  func(fd uintptr)
}

const nameSize = unix.SizeofSockaddrInet6

func newSocket(c interface {
	io.Closer
	syscall.Conn
}) (*socket, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open socket: %w", err)
	}
	return &socket{conn: c, raw: raw}, nil
}

// forReading prepares batches of frames that follow head bytes of header;
// sourceOf finds the sender's address in the socket's name of it or in the
// header.
func (s *socket) forReading(head int, sourceOf func(name, header []byte) []byte) {
	s.head, s.sourceOf = head, sourceOf
	s.in, s.inVecs = make([]mmsghdr, batch), make([][2]unix.Iovec, batch)
	for i := range s.in {
		s.inHeads = append(s.inHeads, make([]byte, max(head, 1)))
		s.inNames = append(s.inNames, make([]byte, nameSize))
		s.inVecs[i][0].Base = &s.inHeads[i][0]
		s.inVecs[i][0].SetLen(head)
		s.in[i].hdr.Name = &s.inNames[i][0]
		s.in[i].hdr.Iov = &s.inVecs[i][0]
		s.in[i].hdr.SetIovlen(2)
	}
	s.readFn = func(fd uintptr) bool {
		s.got, s.readErr = s.receive(fd)
		return !errors.Is(s.readErr, unix.EAGAIN)
	}
}

// forWriting is forReading for write.
func (s *socket) forWriting(head int) {
	s.outHead = head
	s.out, s.outVecs = make([]mmsghdr, batch), make([][2]unix.Iovec, batch)
	for i := range s.out {
		s.outHeads = append(s.outHeads, make([]byte, max(head, 1)))
		s.outNames = append(s.outNames, make([]byte, nameSize))
		s.outVecs[i][0].Base = &s.outHeads[i][0]
		s.outVecs[i][0].SetLen(head)
		s.out[i].hdr.Iov = &s.outVecs[i][0]
		s.out[i].hdr.SetIovlen(2)
	}
	s.writeFn = func(fd uintptr) { s.sent, s.writeErr = s.send(fd) }
}

// read waits for frames and takes what is there, at most batch of them.
func (s *socket) read(in []llt.FrameIn) (int, error) {
	s.frames = in[:min(len(in), batch)]
	if err := s.raw.Read(s.readFn); err != nil {
		return 0, err
	}
	return s.got, s.readErr
}

func (s *socket) receive(fd uintptr) (int, error) {
	for i := range s.frames {
		data := s.frames[i].Data[:cap(s.frames[i].Data)]
		s.inVecs[i][1].Base = &data[0]
		s.inVecs[i][1].SetLen(len(data))
		s.in[i].hdr.Namelen = nameSize
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&s.in[0])), uintptr(len(s.frames)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	for i := range int(n) {
		f := &s.frames[i]
		f.Data = f.Data[:max(0, min(int(s.in[i].n)-s.head, cap(f.Data)))]
		f.Src = append(f.Src[:0], s.sourceOf(s.inNames[i][:s.in[i].hdr.Namelen], s.inHeads[i])...)
	}
	return int(n), nil
}

func (s *socket) header(i int) []byte { return s.outHeads[i] }

func (s *socket) payload(i int, data []byte) {
	s.outVecs[i][1].Base = &data[0]
	s.outVecs[i][1].SetLen(len(data))
}

// sendUpTo sends the first n prepared frames without waiting. With an error
// it returns how many went before the frame that caused it, which is err's if
// all n went.
func (s *socket) sendUpTo(n int, err error) (int, error) {
	if n == 0 {
		return 0, err
	}
	s.toSend = n
	if cerr := s.raw.Control(s.writeFn); cerr != nil {
		return 0, cerr
	}
	if s.writeErr != nil {
		return s.sent, s.writeErr
	}
	return s.sent, err
}

func (s *socket) send(fd uintptr) (int, error) {
	done := 0
	for done < s.toSend {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&s.out[done])), uintptr(s.toSend-done), unix.MSG_DONTWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return done, errno
		}
		done += int(n)
	}
	return done, nil
}

// writable waits until the socket takes frames again.
func (s *socket) writable() error {
	first := true
	return s.raw.Write(func(uintptr) bool {
		again := !first
		first = false
		return again
	})
}

func (s *socket) close() error { return s.conn.Close() }

// addrOf is the address of a sender as the core keeps it: what
// netip.AddrPort.MarshalBinary makes.
func addrOf(name []byte, into []byte) []byte {
	into = into[:0]
	if len(name) < 8 {
		return into
	}
	switch binary.NativeEndian.Uint16(name) {
	case unix.AF_INET:
		into = append(into, name[4:8]...)
	case unix.AF_INET6:
		if len(name) < nameSize {
			return into
		}
		ip := netip.AddrFrom16([16]byte(name[8:24]))
		if ip.Is4In6() {
			into = append(into, name[20:24]...)
		} else {
			into = append(into, name[8:24]...)
			if scope := binary.NativeEndian.Uint32(name[24:]); scope != 0 && ip.IsLinkLocalUnicast() {
				into = appendZone(into, scope)
			}
		}
	}
	return append(into, name[3], name[2]) // the port is little endian there
}

// nameOf is the reverse of addrOf; the socket is of family v6 or not.
func nameOf(a netip.AddrPort, v6 bool, into []byte) int {
	port := a.Port()
	clear(into[:nameSize])
	into[2], into[3] = byte(port>>8), byte(port)
	if !v6 {
		binary.NativeEndian.PutUint16(into, unix.AF_INET)
		ip := a.Addr().Unmap().As4()
		copy(into[4:], ip[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(into, unix.AF_INET6)
	ip := a.Addr().As16()
	copy(into[8:], ip[:])
	if zone := a.Addr().Zone(); zone != "" {
		binary.NativeEndian.PutUint32(into[24:], indexOf(zone))
	}
	return unix.SizeofSockaddrInet6
}

// zones are the names of interfaces by their numbers and the reverse, of
// link-local addresses that were seen.
var zones sync.Map

func appendZone(into []byte, index uint32) []byte {
	name, ok := zones.Load(index)
	if !ok {
		ifi, err := net.InterfaceByIndex(int(index))
		if err != nil {
			return into
		}
		name = ifi.Name
		zones.Store(index, name)
	}
	text, _ := name.(string)
	return append(into, text...)
}

func indexOf(zone string) uint32 {
	if index, ok := zones.Load(zone); ok {
		n, _ := index.(uint32)
		return n
	}
	ifi, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	zones.Store(zone, uint32(ifi.Index))
	return uint32(ifi.Index)
}
