// Package netlab gives tests of network agents a cable with two ends in
// namespaces of their own: the agent's end, hme0, is where the whole test
// process lives; the other end is a peer's.
package netlab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const envInside = "EVENKEEL_NETLAB"

// The two ends and their addresses.
const (
	Device     = "hme0"
	PeerDevice = "peer0"
	OwnV4      = "10.99.7.1/24"
	PeerV4     = "10.99.7.2/24"
	OwnV6      = "fd00:7::1/64"
	PeerV6     = "fd00:7::2/64"
)

// Enter runs the tests again in a network namespace that was made for them, if
// this is root; call it first in TestMain. It returns in the namespace, or at
// once for others than root, whose tests Cable skips.
func Enter() {
	if os.Getenv(envInside) != "" || os.Geteuid() != 0 {
		return
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread()
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "netlab:", err)
			os.Exit(1)
		}
		os.Exit(max(cmd.ProcessState.ExitCode(), 1))
	}
	os.Exit(0)
}

// Peer is the other end of the cable.
type Peer struct {
	*netlink.Handle
	// Link is the peer's end.
	Link netlink.Link

	t  *testing.T
	ns netns.NsHandle
}

// Cable lays a cable for the length of a test.
func Cable(t *testing.T) *Peer {
	t.Helper()
	if os.Getenv(envInside) == "" {
		t.Skip("needs root, to make network namespaces")
	}
	p := &Peer{t: t}
	must(t, "make the peer's namespace", func() (err error) { p.ns, err = newNamespace(); return err })
	t.Cleanup(func() { p.ns.Close() })
	must(t, "open the peer's netlink", func() (err error) { p.Handle, err = netlink.NewHandleAt(p.ns); return err })
	t.Cleanup(p.Handle.Close)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: Device}, PeerName: PeerDevice, PeerNamespace: netlink.NsFd(p.ns)}
	must(t, "make the cable", func() error { return netlink.LinkAdd(veth) })
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	own, err := netlink.LinkByName(Device)
	if err != nil {
		t.Fatal(err)
	}
	if p.Link, err = p.LinkByName(PeerDevice); err != nil {
		t.Fatal(err)
	}
	must(t, "bring up the cable", func() error { return netlink.LinkSetUp(own) })
	must(t, "bring up the cable", func() error { return p.LinkSetUp(p.Link) })
	for text, add := range map[string]func(*netlink.Addr) error{
		OwnV4: func(a *netlink.Addr) error { return netlink.AddrAdd(own, a) }, OwnV6: func(a *netlink.Addr) error { return netlink.AddrAdd(own, a) },
		PeerV4: func(a *netlink.Addr) error { return p.AddrAdd(p.Link, a) }, PeerV6: func(a *netlink.Addr) error { return p.AddrAdd(p.Link, a) },
	} {
		must(t, "add "+text, func() error { return add(Addr(t, text)) })
	}
	return p
}

// Addr parses an address with its prefix; IPv6 ones come without duplicate
// address detection.
func Addr(t *testing.T, text string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// Do runs f on a thread in the peer's namespace.
func (p *Peer) Do(f func() error) {
	p.t.Helper()
	answer := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(p.ns); err != nil {
			answer <- err
			return
		}
		answer <- f()
	}()
	if err := <-answer; err != nil {
		p.t.Fatal(err)
	}
}

// Interface is the peer's end as package net knows it.
func (p *Peer) Interface() *net.Interface {
	at := p.Link.Attrs()
	return &net.Interface{Index: at.Index, Name: at.Name, MTU: at.MTU, HardwareAddr: at.HardwareAddr}
}

func newNamespace() (netns.NsHandle, error) {
	type result struct {
		ns  netns.NsHandle
		err error
	}
	answer := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		ns, err := netns.New()
		answer <- result{ns, err}
	}()
	r := <-answer
	return r.ns, r.err
}

func must(t *testing.T, what string, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
