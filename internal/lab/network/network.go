//go:build linux

// Package network is the cabling of a privileged lab: one network namespace
// that plays the switches, a bridge in it for every private link and for the
// public network, and a cable (veth pair) from a bridge to each host. The
// machine's own namespace gets no address, no route and no bridge; cables are
// made inside the switch namespace and moved straight into the host's.
package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Switch is the switch namespace of one lab. It is not safe for concurrent
// use.
type Switch struct {
	ns       netns.NsHandle
	link     *netlink.Handle
	networks []string            // by number
	ports    map[string][]string // host -> port name per network, "" for none
	order    []string            // hosts in the order of their plugging
	cuts     []cut
}

type cut struct{ in, out string } // port names; "" for any

// New makes the switch namespace with a bridge for each network.
func New(networks []string) (*Switch, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, fmt.Errorf("make switch namespace: %w", err)
	}
	s := &Switch{ns: ns, networks: networks, ports: map[string][]string{}}
	if s.link, err = netlink.NewHandleAt(ns); err != nil {
		ns.Close()
		return nil, fmt.Errorf("reach switch namespace: %w", err)
	}
	for k := range networks {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = bridge(k)
		bridge := &netlink.Bridge{LinkAttrs: attrs}
		if err := s.link.LinkAdd(bridge); err != nil {
			s.Close()
			return nil, fmt.Errorf("make bridge: %w", err)
		}
		if err := s.link.LinkSetUp(bridge); err != nil {
			s.Close()
			return nil, fmt.Errorf("start bridge: %w", err)
		}
	}
	return s, nil
}

func bridge(k int) string { return fmt.Sprintf("br%d", k) }

// newNamespace makes a network namespace that lives as long as its handle. It
// is made by a thread that ends with it, so that no other goroutine ever runs
// in it by accident.
func newNamespace() (netns.NsHandle, error) {
	type result struct {
		ns  netns.NsHandle
		err error
	}
	done := make(chan result, 1) // one result, never blocks
	go func() {
		runtime.LockOSThread() // not unlocked: the thread dies here
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- result{err: err}
			return
		}
		ns, err := netns.Get()
		done <- result{ns: ns, err: err}
	}()
	r := <-done
	return r.ns, r.err
}

// FD is the namespace's file descriptor, owned by the switch.
func (s *Switch) FD() int { return int(s.ns) }

// Close lets the namespace go, with all that is in it.
func (s *Switch) Close() {
	if s.link != nil {
		s.link.Close()
	}
	s.ns.Close()
}

// Plug runs a cable from each network named in interfaces to a host's
// namespace, known by a process in it. interfaces is parallel to the networks
// of New: the name of the interface in the host, "" for no cable. addresses
// are parallel too, with prefix, "" for none. Cables that an earlier life of
// the host left are replaced.
func (s *Switch) Plug(host string, pid int, interfaces, addresses []string) error {
	number := slices.Index(s.order, host)
	if number < 0 {
		number = len(s.order)
		s.order = append(s.order, host)
	}
	there, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("find namespace of %s: %w", host, err)
	}
	defer there.Close()
	inside, err := netlink.NewHandleAt(there)
	if err != nil {
		return fmt.Errorf("reach namespace of %s: %w", host, err)
	}
	defer inside.Close()
	ports := make([]string, len(s.networks))
	for k, name := range interfaces {
		if name == "" {
			continue
		}
		ports[k] = fmt.Sprintf("p%d-%d", k, number)
		if err := s.cable(k, ports[k], name, there, inside, addresses[k]); err != nil {
			return fmt.Errorf("plug %s of %s: %w", name, host, err)
		}
	}
	s.ports[host] = ports
	lo, err := inside.LinkByName("lo")
	if err == nil {
		err = inside.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("start lo of %s: %w", host, err)
	}
	return nil
}

func (s *Switch) cable(k int, port, name string, there netns.NsHandle, inside *netlink.Handle, address string) error {
	if old, err := s.link.LinkByName(port); err == nil {
		if err := s.link.LinkDel(old); err != nil {
			return fmt.Errorf("remove old cable: %w", err)
		}
	}
	master, err := s.link.LinkByName(bridge(k))
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = port
	attrs.MasterIndex = master.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(int(there))}
	if err := s.link.LinkAdd(veth); err != nil {
		return fmt.Errorf("make cable: %w", err)
	}
	end, err := s.link.LinkByName(port)
	if err != nil {
		return err
	}
	if err := s.link.LinkSetUp(end); err != nil {
		return err
	}
	far, err := inside.LinkByName(name)
	if err != nil {
		return err
	}
	if address != "" {
		prefix, err := netip.ParsePrefix(address)
		if err != nil {
			return err
		}
		ip := net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
		if err := inside.AddrAdd(far, &netlink.Addr{IPNet: &ip, Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("address %s: %w", address, err)
		}
	}
	return inside.LinkSetUp(far)
}

// Unplug takes all cables of a host down at the switch: from its return
// nothing of the host reaches anybody. A host without cables is no error.
func (s *Switch) Unplug(host string) error {
	for _, port := range s.ports[host] {
		if port == "" {
			continue
		}
		end, err := s.link.LinkByName(port)
		if _, gone := err.(netlink.LinkNotFoundError); gone {
			continue // the cable went with the host's namespace
		}
		if err != nil {
			return fmt.Errorf("unplug %s: %w", host, err)
		}
		if err := s.link.LinkSetDown(end); err != nil {
			if _, lookup := s.link.LinkByName(port); lookup != nil {
				continue
			}
			return fmt.Errorf("unplug %s: %w", host, err)
		}
	}
	return nil
}

func (s *Switch) network(name string) (int, error) {
	k := slices.Index(s.networks, name)
	if k < 0 {
		// Links are counted from 1 as people count cables, or named.
		var n int
		if _, err := fmt.Sscanf(name, "%d", &n); err == nil && fmt.Sprint(n) == name && n >= 1 && n <= len(s.networks) {
			return n - 1, nil
		}
		return 0, fmt.Errorf("no network %q; there are %s, also by number from 1", name, strings.Join(s.networks, ", "))
	}
	return k, nil
}

func (s *Switch) port(host string, k int) (string, error) {
	ports, known := s.ports[host]
	if !known {
		return "", fmt.Errorf("no host %q; there are %s", host, strings.Join(s.order, ", "))
	}
	if ports[k] == "" {
		return "", fmt.Errorf("%s has no cable to %s", host, s.networks[k])
	}
	return ports[k], nil
}

// CutLink cuts the hosts off a network in both directions without loss of
// carrier, as a broken switch does.
func (s *Switch) CutLink(network string, hosts []string) error {
	k, err := s.network(network)
	if err != nil {
		return fmt.Errorf("cut: %w", err)
	}
	var more []cut
	for _, host := range hosts {
		port, err := s.port(host, k)
		if err != nil {
			return fmt.Errorf("cut: %w", err)
		}
		more = append(more, cut{in: port}, cut{out: port})
	}
	return s.apply(append(slices.Clone(s.cuts), more...))
}

// CutBetween stops what flows on the networks from the hosts of from to those
// of to and, unless oneWay, back.
func (s *Switch) CutBetween(networks, from, to []string, oneWay bool) error {
	var more []cut
	for _, network := range networks {
		k, err := s.network(network)
		if err != nil {
			return fmt.Errorf("cut: %w", err)
		}
		for _, a := range from {
			pa, err := s.port(a, k)
			if err != nil {
				return fmt.Errorf("cut: %w", err)
			}
			for _, b := range to {
				pb, err := s.port(b, k)
				if err != nil {
					return fmt.Errorf("cut: %w", err)
				}
				if pa == pb {
					return fmt.Errorf("cut: %s is on both sides", a)
				}
				more = append(more, cut{in: pa, out: pb})
				if !oneWay {
					more = append(more, cut{in: pb, out: pa})
				}
			}
		}
	}
	return s.apply(append(slices.Clone(s.cuts), more...))
}

// Heal undoes all cuts.
func (s *Switch) Heal() error { return s.apply(nil) }

// Cuts tells the cuts for people.
func (s *Switch) Cuts() []string {
	var out []string
	name := func(port string) string {
		if port == "" {
			return "anybody"
		}
		for _, host := range s.order {
			if k := slices.Index(s.ports[host], port); k >= 0 {
				return host + " on " + s.networks[k]
			}
		}
		return port
	}
	for _, c := range s.cuts {
		out = append(out, name(c.in)+" -> "+name(c.out))
	}
	return out
}

// apply replaces the rules of the switch in one transaction.
func (s *Switch) apply(cuts []cut) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(s.ns)))
	if err != nil {
		return fmt.Errorf("reach nftables of the switch: %w", err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyBridge, Name: "cut"})
	conn.DelTable(table)
	if len(cuts) > 0 {
		conn.AddTable(table)
		policy := nftables.ChainPolicyAccept
		chain := conn.AddChain(&nftables.Chain{Name: "c1", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityRef(0), Policy: &policy})
		for _, c := range cuts {
			var match []expr.Any
			if c.in != "" {
				match = append(match, compare(expr.MetaKeyIIFNAME, c.in)...)
			}
			if c.out != "" {
				match = append(match, compare(expr.MetaKeyOIFNAME, c.out)...)
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: append(match, &expr.Verdict{Kind: expr.VerdictDrop})})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("set rules of the switch: %w", err)
	}
	s.cuts = cuts
	return nil
}

func compare(key expr.MetaKey, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: padded},
	}
}

// Interfaces lists the names of the interfaces in the namespace of a process,
// for tests and status.
func Interfaces(pid int) ([]string, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	links, err := handle.LinkList()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Attrs().Name)
	}
	return names, nil
}

// Supported says why this machine cannot run a privileged lab, if so.
func Supported() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("a lab with networks and power failures needs root; without it use --unprivileged")
	}
	return nil
}
