package link

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/frame"
)

const etherHeader = 14

var etherBroadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// etherFilter is the kernel's filter: our ethertype, our layout, and our
// cluster or a hello. Hellos of other clusters pass, so that they can be
// noticed; the rest of their traffic costs nothing.
func etherFilter(sap, cluster uint16) ([]bpf.RawInstruction, error) {
	return bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(sap), SkipTrue: 7},
		bpf.LoadAbsolute{Off: etherHeader, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 'E'<<8 | 'K', SkipTrue: 5},
		bpf.LoadAbsolute{Off: etherHeader + 3, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(frame.KindHello), SkipTrue: 2},
		bpf.LoadAbsolute{Off: etherHeader + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(cluster), SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 17},
		bpf.RetConstant{Val: 0},
	})
}

func openEther(ifi *net.Interface, sap, cluster uint16) (port, error) {
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s has no Ethernet address; use a link of type udp", ifi.Name)
	}
	filter, err := etherFilter(sap, cluster)
	if err != nil {
		return nil, fmt.Errorf("build filter for %s: %w", ifi.Name, err)
	}
	if filter, err = lossy(ifi.Name, filter); err != nil {
		return nil, err
	}
	if !batchCalls() {
		return openRaw(ifi, sap, filter)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open raw socket on %s: %w (needs CAP_NET_RAW; links of type udp do not)", ifi.Name, err)
	}
	if err := bindEther(fd, ifi, sap, filter); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind raw socket to %s: %w", ifi.Name, err)
	}
	s, err := newSocket(os.NewFile(uintptr(fd), "ether "+ifi.Name))
	if err != nil {
		return nil, err
	}
	p := &etherPort{socket: s, mac: ifi.HardwareAddr, sap: sap}
	s.forReading(etherHeader, func(name []byte, header []byte) []byte { return header[6:12] })
	s.forWriting(etherHeader)
	return p, nil
}

// lossy makes the filter lose frames at random if EVENKEEL_LLT_LOSS names the
// interface, as in priv2:5 for 5 per cent. It is for laboratories, whose kernel
// may have no other way to make a bad link.
func lossy(name string, filter []bpf.RawInstruction) ([]bpf.RawInstruction, error) {
	device, text, ok := strings.Cut(os.Getenv("EVENKEEL_LLT_LOSS"), ":")
	if !ok || device != name {
		return filter, nil
	}
	percent, err := strconv.ParseUint(text, 10, 32)
	if err != nil || percent > 100 {
		return nil, fmt.Errorf("EVENKEEL_LLT_LOSS: %q is no number of per cent", text)
	}
	lose, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtRand},
		bpf.ALUOpConstant{Op: bpf.ALUOpMod, Val: 100},
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: uint32(percent), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	})
	return append(lose, filter...), err
}

// bindEther puts the filter on before the socket hears anything.
func bindEther(fd int, ifi *net.Interface, sap uint16, filter []bpf.RawInstruction) error {
	prog := make([]unix.SockFilter, len(filter))
	for i, f := range filter {
		prog[i] = unix.SockFilter{Code: f.Op, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}); err != nil {
		return err
	}
	enlarge(fd)
	// Frames of the cluster go before what else the machine sends.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, 6)
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: sap<<8 | sap>>8, Ifindex: ifi.Index})
}

type etherPort struct {
	*socket
	mac net.HardwareAddr
	sap uint16
}

func (p *etherPort) readers() []reader { return []reader{p.socket} }

func (p *etherPort) write(out []*llt.FrameOut) (int, error) {
	out = out[:min(len(out), batch)]
	for i, f := range out {
		to := f.Dst
		if to == nil {
			to = etherBroadcast
		}
		if len(to) != 6 {
			return p.sendUpTo(i, errAddress)
		}
		h := p.header(i)
		copy(h, to)
		copy(h[6:], p.mac)
		h[12], h[13] = byte(p.sap>>8), byte(p.sap)
		p.payload(i, f.Data)
	}
	return p.sendUpTo(len(out), nil)
}

// dropped is how many frames the kernel had no room for since the last call.
func (p *etherPort) dropped() (n uint64) {
	_ = p.raw.Control(func(fd uintptr) {
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			n = uint64(st.Drops)
		}
	})
	return n
}
