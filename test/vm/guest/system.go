package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// patience bounds failures: the machine is emulated, and its host busy.
const patience = 90 * time.Second

// system is a network namespace with a gab.
type system struct {
	name  string
	id    int
	root  string
	net   *netlink.Handle
	ns    int         // its network namespace
	tasks chan func() // run on a thread in it
}

// newSystem makes a system without links.
func newSystem(id int, name string) (*system, error) {
	s := &system{name: name, id: id, root: "/systems/" + name, tasks: make(chan func())}
	ready := make(chan error)
	go func() { // ends with the machine
		runtime.LockOSThread()
		ready <- func() (err error) {
			if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("network namespace: %w", err)
			}
			if s.ns, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
				return err
			}
			s.net, err = netlink.NewHandle(unix.NETLINK_ROUTE)
			return err
		}()
		for task := range s.tasks {
			task()
		}
	}()
	return s, <-ready
}

// in runs f on a thread in the system's namespace.
func (s *system) in(f func() error) (err error) {
	done := make(chan struct{})
	s.tasks <- func() { err = f(); close(done) }
	<-done
	return err
}

// veth joins two systems by a cable, an interface of one name at each end.
func veth(a, b *system, name string) error {
	cable := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: name, PeerNamespace: netlink.NsFd(b.ns)}
	cable.Name = name
	if err := a.net.LinkAdd(cable); err != nil {
		return fmt.Errorf("veth %s: %w", name, err)
	}
	return both(a, b, func(s *system) error { return s.set(name, true) })
}

func both(a, b *system, f func(*system) error) error {
	if err := f(a); err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	if err := f(b); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	return nil
}

// set takes an interface up or down.
func (s *system) set(name string, up bool) error {
	l, err := s.net.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	if up {
		return s.net.LinkSetUp(l)
	}
	return s.net.LinkSetDown(l)
}

func (s *system) remove(name string) error {
	l, err := s.net.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return s.net.LinkDel(l)
}

func (s *system) index(name string) int {
	l, err := s.net.LinkByName(name)
	if err != nil {
		return 0
	}
	return l.Attrs().Index
}

// vlan makes a VLAN device over a parent and takes it up.
func (s *system) vlan(name, parent string, id int) error {
	p, err := s.net.LinkByName(parent)
	if err != nil {
		return fmt.Errorf("interface %s: %w", parent, err)
	}
	v := &netlink.Vlan{LinkAttrs: netlink.NewLinkAttrs(), VlanId: id}
	v.Name, v.ParentIndex = name, p.Attrs().Index
	if err := s.net.LinkAdd(v); err != nil {
		return fmt.Errorf("VLAN %s: %w", name, err)
	}
	return s.set(name, true)
}

// bond makes an active-backup bond of interfaces and takes it up. It prefers
// leg0: without a switch between them both ends must choose the same one.
func (s *system) bond(name string, slaves ...string) error {
	b := netlink.NewLinkBond(netlink.NewLinkAttrs())
	b.Name, b.Mode, b.Miimon, b.Primary = name, netlink.BOND_MODE_ACTIVE_BACKUP, 50, s.index("leg0")
	if err := s.net.LinkAdd(b); err != nil {
		return fmt.Errorf("bond %s: %w", name, err)
	}
	made, err := s.net.LinkByName(name)
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	for _, slave := range slaves {
		l, err := s.net.LinkByName(slave)
		if err != nil {
			return fmt.Errorf("interface %s: %w", slave, err)
		}
		if err := s.net.LinkSetDown(l); err != nil {
			return err
		}
		if err := s.net.LinkSetMaster(l, made); err != nil {
			return fmt.Errorf("enslave %s to %s: %w", slave, name, err)
		}
		if err := s.net.LinkSetUp(l); err != nil {
			return err
		}
	}
	return s.set(name, true)
}

// active is the slave of a bond that carries its frames now.
func (s *system) active(bond string) string {
	l, err := s.net.LinkByName(bond)
	if err != nil {
		return err.Error()
	}
	b, ok := l.(*netlink.Bond)
	if !ok || b.ActiveSlave <= 0 {
		return "none"
	}
	slave, err := s.net.LinkByIndex(b.ActiveSlave)
	if err != nil {
		return err.Error()
	}
	return slave.Attrs().Name
}

// start starts gab over two links.
func (s *system) start() error {
	files := map[string]string{
		"llthosts":    "0 east\n1 west\n",
		"gabtab":      "/sbin/gabconfig -c -n2\n",
		"cluster.key": strings.Repeat("6b", 32) + "\n",
		"sysname":     s.name + "\n",
		// DOWN only after a time that no busy host takes from its guest.
		"llttab": fmt.Sprintf("set-node %s\nset-cluster 3\nlink priv1 priv1 - ether - -\nlink priv2 priv2 - ether - -\n"+
			"set-timer peerinact:1600 peertrouble:800 peertroublelo:800 stall:800\n", s.name),
	}
	dir := filepath.Join(s.root, "etc/evenkeel")
	for _, d := range []string{dir, filepath.Join(s.root, "var/log/evenkeel")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return s.in(func() error {
		gab := exec.Command("/bin/gab")
		gab.Env = []string{"EVENKEEL_ROOT=" + s.root}
		gab.Stderr = os.Stderr
		return gab.Start() // in the namespace of this thread; ends with the machine
	})
}

// log is what gab has logged.
func (s *system) log() string {
	text, err := os.ReadFile(filepath.Join(s.root, "var/log/evenkeel/gab_A.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// lltstat is what lltstat prints of the nodes.
func (s *system) lltstat() string {
	c := exec.Command("/bin/lltstat", "-nvv", "configured")
	c.Env = []string{"EVENKEEL_ROOT=" + s.root}
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("lltstat: %v: %s", err, out)
	}
	return string(out)
}

// peer reads from lltstat the state of the other system and of its links.
func (s *system) peer() (state string, links map[string]string) {
	links = map[string]string{}
	other := false
	for line := range strings.Lines(s.lltstat()) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && (f[1] == "east" || f[1] == "west"):
			other, state = true, f[2]
		case len(f) == 4 && f[0] == "*":
			other = false
		case other && len(f) >= 2 && strings.HasPrefix(f[0], "priv"):
			links[f[0]] = f[1]
		}
	}
	return state, links
}

// until waits until f says "".
func until(what string, f func() string) error {
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		why := f()
		if why == "" {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %s", what, why)
		}
	}
}

// sees waits until lltstat shows the other system OPEN and its links as given.
func (s *system) sees(priv1, priv2 string) error {
	return until(s.name+" sees priv1 "+priv1+", priv2 "+priv2, func() string {
		state, links := s.peer()
		if state == "OPEN" && links["priv1"] == priv1 && links["priv2"] == priv2 {
			return ""
		}
		return fmt.Sprintf("%s %v", state, links)
	})
}
