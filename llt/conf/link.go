package conf

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/llt"
)

const (
	usageEther = "link TAG DEVICE - ether SAP MTU"
	usageUDP   = "link TAG udp - udp|udp6 PORT MTU ADDRESS BROADCAST|-"
	usageDisk  = "link TAG DEVICE - disk BLOCK -"
)

// link reads link and link-lowpri.
func (p *parser) link(w []word) error {
	usage := usageEther + "   or   " + usageUDP
	if err := p.args(w, 6, 8, usage); err != nil {
		return err
	}
	l := Link{Tag: w[1].text, LowPriority: w[0].text == "link-lowpri", Device: w[2].text, Kind: Kind(w[4].text), at: w[0].at}
	for _, other := range p.tab.Links {
		if other.Tag == l.Tag {
			return p.errorAt(w[1].at, "link %s was configured before, in line %d; give each link a tag of its own", l.Tag, other.at.line)
		}
	}
	if len(p.tab.Links) == llt.MaxLinks {
		return p.errorAt(w[0].at, "this is the ninth link; %d are possible", llt.MaxLinks)
	}
	if w[3].text != "-" {
		return p.errorAt(w[3].at, "node range %q: links for some nodes only are not supported; write - here and, if need be, exclude", w[3].text)
	}
	if l.Kind != Disk {
		if err := p.mtu(&l, w[6]); err != nil {
			return err
		}
	}
	switch l.Kind {
	case Ether:
		if err := p.args(w, 6, 6, usageEther); err != nil {
			return err
		}
		if err := p.ether(&l, w); err != nil {
			return err
		}
	case UDP, UDP6:
		if err := p.args(w, 8, 8, usageUDP); err != nil {
			return err
		}
		if err := p.udp(&l, w); err != nil {
			return err
		}
	case Disk:
		if err := p.args(w, 6, 6, usageDisk); err != nil {
			return err
		}
		if err := p.disk(&l, w); err != nil {
			return err
		}
	case "rdma":
		return p.errorAt(w[4].at, "links of type rdma are not supported; write udp with the address of the same interface")
	default:
		return p.errorAt(w[4].at, "unknown link type %q%s", w[4].text, guess(w[4].text, []string{"ether", "udp", "udp6", "disk"}))
	}
	p.tab.Links = append(p.tab.Links, l)
	return nil
}

func (p *parser) mtu(l *Link, w word) error {
	if w.text == "-" {
		return nil
	}
	n, err := strconv.Atoi(w.text)
	if err != nil || n < llt.MinMTU || n > llt.MaxMTU {
		return p.errorAt(w.at, "MTU %q is no number from %d to %d", w.text, llt.MinMTU, llt.MaxMTU)
	}
	l.MTU = n
	return nil
}

func (p *parser) ether(l *Link, w []word) error {
	l.SAP = DefaultSAP
	if w[5].text != "-" {
		n, err := strconv.ParseUint(w[5].text, 0, 16)
		if err != nil || n < 0x600 {
			return p.errorAt(w[5].at, "SAP %q is no ethertype; write - for 0xCAFE, or 0x0600 to 0xFFFF", w[5].text)
		}
		l.SAP = uint16(n)
	}
	for _, other := range p.tab.Links {
		if other.Kind == Ether && other.Device == l.Device && other.SAP == l.SAP {
			return p.errorAt(w[2].at, "device %s is used by link %s already; two links on one wire fail together", l.Device, other.Tag)
		}
	}
	return nil
}

// disk reads a heartbeat region on a device that all systems share.
func (p *parser) disk(l *Link, w []word) error {
	if l.LowPriority {
		return p.errorAt(w[0].at, "a disk region carries heartbeats only and has no priority; write: %s", usageDisk)
	}
	if !strings.HasPrefix(l.Device, "/") {
		return p.errorAt(w[2].at, "%q is no path of a block device; write one that is the same disk on all systems, such as /dev/disk/by-id/...", l.Device)
	}
	if w[6].text != "-" {
		return p.errorAt(w[6].at, "a disk region has no MTU; write -")
	}
	l.Block = DefaultBlock
	if w[5].text != "-" {
		n, err := strconv.ParseUint(w[5].text, 10, 48)
		if err != nil || n%8 != 0 {
			return p.errorAt(w[5].at, "block %q is no multiple of 8; write - for %d, or the first block of %d bytes that gabdiskconf -i was given", w[5].text, DefaultBlock, BlockSize)
		}
		l.Block = n
	}
	for _, other := range p.tab.Links {
		if other.Kind == Disk && other.Device == l.Device {
			return p.errorAt(w[2].at, "device %s has a region already, of link %s; two regions on one disk fail together", l.Device, other.Tag)
		}
	}
	return nil
}

func (p *parser) udp(l *Link, w []word) error {
	port, err := strconv.ParseUint(w[5].text, 10, 16)
	if err != nil || port == 0 {
		return p.errorAt(w[5].at, "UDP port %q is no number from 1 to 65535; 49152 to 65535 are advised", w[5].text)
	}
	l.SAP = uint16(port)
	if l.MTU == 0 {
		l.MTU = DefaultUDPMTU
	}
	if l.Local, err = p.ip(l, w[7]); err != nil {
		return err
	}
	if w[8].text != "-" {
		if l.Broadcast, err = p.ip(l, w[8]); err != nil {
			return err
		}
	}
	for _, other := range p.tab.Links {
		if other.Local == l.Local && other.SAP == l.SAP {
			return p.errorAt(w[5].at, "%s port %d is used by link %s already", l.Local, port, other.Tag)
		}
	}
	return nil
}

// ip reads an address of the family of the link.
func (p *parser) ip(l *Link, w word) (netip.Addr, error) {
	a, err := netip.ParseAddr(w.text)
	if err != nil {
		return a, p.errorAt(w.at, "%q is no IP address", w.text)
	}
	if a.Is4() != (l.Kind == UDP) {
		return a, p.errorAt(w.at, "%s is no address for a link of type %s", a, l.Kind)
	}
	return a, nil
}

func (p *parser) addr(w []word) error {
	if err := p.args(w, 3, 3, "set-addr NODE TAG ADDRESS"); err != nil {
		return err
	}
	p.adds = append(p.adds, addLine{w[1], w[2], w[3]})
	return nil
}

// addTo gives an address to its link.
func (p *parser) addTo(a addLine) error {
	n, err := strconv.ParseUint(a.node.text, 10, 8)
	if err != nil || n >= llt.MaxNodes {
		return p.errorAt(a.node.at, "node id %q is no number from 0 to %d", a.node.text, llt.MaxNodes-1)
	}
	tags := []string{}
	for i := range p.tab.Links {
		l := &p.tab.Links[i]
		tags = append(tags, l.Tag)
		if l.Tag != a.tag.text {
			continue
		}
		for _, have := range l.Peers {
			if have.Node == llt.NodeID(n) {
				return p.errorAt(a.node.at, "node %d has an address on link %s already", n, l.Tag)
			}
		}
		peer, err := p.peerAddr(l, llt.NodeID(n), a)
		if err != nil {
			return err
		}
		l.Peers = append(l.Peers, peer)
		return nil
	}
	return p.errorAt(a.tag.at, "no link has the tag %q%s", a.tag.text, guess(a.tag.text, tags))
}

func (p *parser) peerAddr(l *Link, n llt.NodeID, a addLine) (PeerAddr, error) {
	peer := PeerAddr{Node: n}
	var err error
	switch l.Kind {
	case Ether:
		peer.MAC, err = p.mac(a.addr)
	case Disk:
		err = p.errorAt(a.tag.at, "link %s is a disk region; systems have no address there", l.Tag)
	default:
		peer.UDP, err = p.peerUDP(l, a.addr)
	}
	return peer, err
}

// ParseLink reads one line link or link-lowpri that comes beside the links of
// t, as at run time. Errors name the column, and file for the line.
func (t *Tab) ParseLink(file, line string) (Link, error) {
	p := &parser{file: file, seen: map[string]pos{}, tab: Tab{Links: slices.Clone(t.Links)}}
	w := words(line, 1)
	if len(w) == 0 || (w[0].text != "link" && w[0].text != "link-lowpri") {
		return Link{}, p.errorAt(pos{1, 1}, "write: %s   or   %s   or   %s", usageEther, usageUDP, usageDisk)
	}
	if err := p.link(w); err != nil {
		return Link{}, err
	}
	return p.tab.Links[len(p.tab.Links)-1], nil
}

// ParseAddr reads the address of a peer on a link, as set-addr has it.
func (l *Link) ParseAddr(n llt.NodeID, address string) (PeerAddr, error) {
	p := &parser{file: "address"}
	return p.peerAddr(l, n, addLine{tag: word{text: l.Tag, at: pos{1, 1}}, addr: word{text: address, at: pos{1, 1}}})
}

func (p *parser) mac(w word) ([]byte, error) {
	mac, err := hex.DecodeString(strings.NewReplacer(":", "", ".", "").Replace(w.text))
	if err != nil || len(mac) != 6 {
		return nil, p.errorAt(w.at, "%q is no hardware address such as 00:04:23:AC:12:C4", w.text)
	}
	return mac, nil
}

// peerUDP reads ADDRESS (then the link's own port is the peer's too) or
// ADDRESS:PORT.
func (p *parser) peerUDP(l *Link, w word) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(w.text)
	if err != nil {
		a, err2 := netip.ParseAddr(strings.Trim(w.text, "[]"))
		if err2 != nil {
			return ap, p.errorAt(w.at, "%q is no address; write IP, IP:PORT or [IP6]:PORT", w.text)
		}
		ap = netip.AddrPortFrom(a, l.SAP)
	}
	if ap.Addr().Is4() != (l.Kind == UDP) || ap.Port() == 0 {
		return ap, p.errorAt(w.at, "%s is no address for a link of type %s", ap, l.Kind)
	}
	return ap, nil
}
