package link

import (
	"encoding/binary"
	"fmt"
	"net"

	"github.com/mdlayher/raw" //lint:ignore SA1019 behind this one file; it forwards to mdlayher/packet
	"golang.org/x/net/bpf"

	"github.com/evenkeel/evenkeel/llt"
)

// The only file that knows mdlayher/raw: raw Ethernet frame by frame, for
// kernels and sandboxes that do not allow the batch calls of ether.go.

type rawPort struct {
	conn *raw.Conn
	sap  uint16
	own  net.HardwareAddr
	in   []byte // of read
	out  []byte // of write
}

func openRaw(ifi *net.Interface, sap uint16, filter []bpf.RawInstruction) (port, error) {
	conn, err := raw.ListenPacket(ifi, sap, &raw.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open raw socket on %s: %w (needs CAP_NET_RAW; links of type udp do not)", ifi.Name, err)
	}
	return &rawPort{conn: conn, sap: sap, own: ifi.HardwareAddr, in: make([]byte, 1<<16), out: make([]byte, 0, 1<<16)}, nil
}

func (p *rawPort) readers() []reader { return []reader{p} }

func (p *rawPort) read(in []llt.FrameIn) (int, error) {
	for {
		n, _, err := p.conn.ReadFrom(p.in)
		if err != nil {
			return 0, err
		}
		f := &in[0]
		if n < etherHeader || n-etherHeader > cap(f.Data) {
			continue
		}
		f.Data = f.Data[:copy(f.Data[:cap(f.Data)], p.in[etherHeader:n])]
		f.Src = append(f.Src[:0], p.in[6:12]...)
		return 1, nil
	}
}

func (p *rawPort) write(out []*llt.FrameOut) (int, error) {
	for i, f := range out {
		to := net.HardwareAddr(f.Dst)
		if f.Dst == nil {
			to = etherBroadcast
		}
		if len(to) != 6 {
			return i, errAddress
		}
		p.out = append(append(p.out[:0], to...), p.own...)
		p.out = append(binary.BigEndian.AppendUint16(p.out, p.sap), f.Data...)
		if _, err := p.conn.WriteTo(p.out, &raw.Addr{HardwareAddr: to}); err != nil {
			return i, err
		}
	}
	return len(out), nil
}

func (p *rawPort) writable() error { return nil }

func (p *rawPort) close() error { return p.conn.Close() }
