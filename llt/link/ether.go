package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/mdlayher/raw" //lint:ignore SA1019 behind this one file; it forwards to mdlayher/packet
	"golang.org/x/net/bpf"

	"github.com/evenkeel/evenkeel/llt/frame"
)

// The only file that knows how raw Ethernet is done.

const etherHeader = 14

var etherBroadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

type etherPort struct {
	conn *raw.Conn
	sap  uint16
	own  net.HardwareAddr
	buf  []byte // of write; only the writer uses it
}

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
	conn, err := raw.ListenPacket(ifi, sap, &raw.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open raw socket on %s: %w (needs CAP_NET_RAW; links of type udp do not)", ifi.Name, err)
	}
	return &etherPort{conn: conn, sap: sap, own: ifi.HardwareAddr, buf: make([]byte, 0, 1<<16)}, nil
}

func (p *etherPort) read(b []byte) (int, []byte, error) {
	for {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			return 0, nil, err
		}
		if n < etherHeader {
			continue
		}
		src := append([]byte(nil), b[6:12]...)
		return copy(b, b[etherHeader:n]), src, nil
	}
}

func (p *etherPort) write(b, dst []byte) error {
	to := net.HardwareAddr(dst)
	if dst == nil {
		to = etherBroadcast
	}
	if len(to) != 6 {
		return errors.New("address of the peer is no Ethernet address")
	}
	p.buf = append(append(p.buf[:0], to...), p.own...)
	p.buf = append(binary.BigEndian.AppendUint16(p.buf, p.sap), b...)
	_, err := p.conn.WriteTo(p.buf, &raw.Addr{HardwareAddr: to})
	return err
}

func (p *etherPort) close() error { return p.conn.Close() }
