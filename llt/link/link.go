// Package link is the shell of LLT's links: it turns raw Ethernet frames and
// UDP datagrams into events of the core, and the core's effects into frames.
//
// Each link lives alone: its socket, its goroutines, its queues. An interface
// that goes down, vanishes and comes back changes nothing for the others; the
// link says LinkDown, opens its socket again when the interface is there, and
// says LinkUp. Nothing here ever blocks the caller of Send.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// Sizes of queues, in frames.
const (
	eventQueue  = 4096 // in, all links together; full: frames are dropped and counted
	dataQueue   = 1024 // out, per link; full: frames are dropped and counted, LLT sends again
	urgentQueue = 256  // out, per link, heartbeats; full: dropped and counted
	socketBytes = 4 << 20
	lastWords   = 100 * time.Millisecond // for the farewell, when the link ends
	lookAgain   = time.Second            // how often an interface is looked at without news from the kernel
)

// Set is all links of a system.
type Set struct {
	links  []*oneLink
	events chan llt.Event
	mayGo  func() bool
	cancel context.CancelFunc
	wait   sync.WaitGroup
	late   atomic.Uint64 // frames dropped because events was full
}

// port is an open socket of a link.
type port interface {
	// read waits for one frame; the error ends the port.
	read(b []byte) (n int, src []byte, err error)
	// write sends one frame; dst nil means broadcast.
	write(b, dst []byte) error
	close() error
}

type oneLink struct {
	set     *Set
	id      llt.LinkID
	spec    conf.Link
	cluster uint16
	log     *slog.Logger
	urgent  chan *llt.FrameOut
	data    chan *llt.FrameOut
	news    chan struct{} // capacity 1: something about interfaces changed

	txErrors atomic.Uint64
	up       atomic.Bool
}

// Stats are counters of one link since the start.
type Stats struct {
	// TxErrors are frames that could not be sent or found a full queue.
	TxErrors uint64
	// Up is true while the socket is open and the interface is up.
	Up bool
}

// Configs returns what llt.Config needs to know about links. An interface
// that is not there yet gets the MTU of Ethernet.
func Configs(specs []conf.Link) []llt.LinkConfig {
	out := make([]llt.LinkConfig, len(specs))
	for i, s := range specs {
		c := llt.LinkConfig{Tag: s.Tag, LowPriority: s.LowPriority, MTU: s.MTU}
		if s.Kind == conf.Ether {
			device := 1500
			if ifi, err := findInterface(&s); err == nil {
				device = ifi.MTU
			}
			if c.MTU == 0 || c.MTU > device {
				c.MTU = device
			}
		} else {
			c.NoBroadcast = !s.Broadcast.IsValid()
		}
		c.MTU = max(min(c.MTU, llt.MaxMTU), llt.MinMTU)
		for _, p := range s.Peers {
			a := llt.PeerAddress{Node: p.Node, Addr: p.MAC}
			if s.Kind != conf.Ether {
				a.Addr = udpBytes(p.UDP)
			}
			c.Peers = append(c.Peers, a)
		}
		out[i] = c
	}
	return out
}

// Open starts the links. They are down until Events says otherwise. The
// kernel's filter of raw links passes frames of this cluster and hellos of
// others. mayGo is asked before each frame leaves: a process that stood still
// for too long must not send what it had queued before (R19). Close ends
// everything.
func Open(specs []conf.Link, cluster uint16, mayGo func() bool, log *slog.Logger) (*Set, error) {
	if len(specs) == 0 || len(specs) > llt.MaxLinks {
		return nil, fmt.Errorf("open links: %d configured; 1 to %d are possible", len(specs), llt.MaxLinks)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Set{events: make(chan llt.Event, eventQueue), mayGo: mayGo, cancel: cancel}
	for i, spec := range specs {
		s.links = append(s.links, &oneLink{
			set: s, id: llt.LinkID(i), spec: spec, cluster: cluster,
			log:    log.With("link", i, "tag", spec.Tag),
			urgent: make(chan *llt.FrameOut, urgentQueue),
			data:   make(chan *llt.FrameOut, dataQueue),
			news:   make(chan struct{}, 1),
		})
	}
	if err := s.watchInterfaces(ctx, log); err != nil {
		log.Warn("no news of interfaces from the kernel; looking once per second", "error", err)
	}
	for _, l := range s.links {
		s.wait.Go(func() { l.live(ctx) })
	}
	return s, nil
}

// Events are FrameIn, LinkUp and LinkDown of all links; never closed.
func (s *Set) Events() <-chan llt.Event { return s.events }

// Send hands a frame to its link. It never blocks: a frame that finds a full
// queue or a link that is down is dropped and counted.
func (s *Set) Send(f *llt.FrameOut) {
	if int(f.Link) >= len(s.links) {
		return
	}
	l := s.links[f.Link]
	queue := l.data
	if f.Urgent {
		queue = l.urgent
	}
	select {
	case queue <- f:
	default:
		l.txErrors.Add(1)
	}
}

// Stats returns the counters of each link, in the order of llttab.
func (s *Set) Stats() []Stats {
	out := make([]Stats, len(s.links))
	for i, l := range s.links {
		out[i] = Stats{TxErrors: l.txErrors.Load(), Up: l.up.Load()}
	}
	return out
}

// Dropped is the number of frames that came faster than they were taken.
func (s *Set) Dropped() uint64 { return s.late.Load() }

// Close ends all links and waits until their goroutines are gone.
func (s *Set) Close() {
	s.cancel()
	s.wait.Wait()
}

// watchInterfaces wakes the links whenever the kernel tells of a change.
func (s *Set) watchInterfaces(ctx context.Context, log *slog.Logger) error {
	updates := make(chan netlink.LinkUpdate, 64) // full: the sender waits, nothing is lost
	done := make(chan struct{})
	err := netlink.LinkSubscribeWithOptions(updates, done, netlink.LinkSubscribeOptions{
		ErrorCallback: func(err error) { log.Debug("news of interfaces", "error", err) },
	})
	if err != nil {
		return err
	}
	s.wait.Go(func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case _, ok := <-updates:
				if !ok {
					return
				}
				for _, l := range s.links {
					select {
					case l.news <- struct{}{}:
					default: // it will look anyway
					}
				}
			}
		}
	})
	return nil
}

// live keeps the link open whenever its interface is up.
func (l *oneLink) live(ctx context.Context) {
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	said := ""
	for ctx.Err() == nil {
		p, err := l.open()
		if err == nil {
			said = ""
			l.serve(ctx, p, again.C)
			continue
		}
		if said != err.Error() {
			said = err.Error()
			l.log.Warn("link cannot be used", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-l.news:
		case <-again.C:
		}
	}
}

func (l *oneLink) open() (port, error) {
	ifi, err := findInterface(&l.spec)
	if err != nil {
		return nil, err
	}
	if err := usable(ifi); err != nil {
		return nil, err
	}
	if l.spec.Kind == conf.Ether {
		return openEther(ifi, l.spec.SAP, l.cluster)
	}
	return openUDP(&l.spec, ifi)
}

// serve runs an open link until its interface goes down or the socket fails.
func (l *oneLink) serve(ctx context.Context, p port, again <-chan time.Time) {
	if !l.tell(ctx, llt.LinkUp{Link: l.id}) {
		p.close()
		return
	}
	l.up.Store(true)
	l.log.Info("link is up")
	inner, cancel := context.WithCancel(ctx)
	broken := make(chan error, 2) // one from the reader, one from the writer
	var both sync.WaitGroup
	both.Go(func() { broken <- l.receive(inner, p) })
	written := make(chan struct{})
	both.Go(func() { defer close(written); broken <- l.transmit(inner, p) })
	err := l.guard(ctx, broken, again)
	cancel()
	select {
	case <-written: // what was urgent is on the wire
	case <-time.After(lastWords):
	}
	p.close()
	both.Wait()
	l.up.Store(false)
	l.drain()
	if ctx.Err() == nil {
		l.log.Warn("link is down", "error", err)
		l.tell(ctx, llt.LinkDown{Link: l.id})
	}
}

// guard waits for the end of an open link.
func (l *oneLink) guard(ctx context.Context, broken <-chan error, again <-chan time.Time) error {
	before, err := findInterface(&l.spec)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			return err
		case <-l.news:
		case <-again:
		}
		ifi, err := findInterface(&l.spec)
		if err != nil {
			return err
		}
		if ifi.Index != before.Index {
			return fmt.Errorf("interface %s was replaced", ifi.Name)
		}
		if err := usable(ifi); err != nil {
			return err
		}
	}
}

func (l *oneLink) receive(ctx context.Context, p port) error {
	buf := make([]byte, 1<<16)
	for {
		n, src, err := p.read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		ev := &llt.FrameIn{Link: l.id, Src: src, Data: append([]byte(nil), buf[:n]...)}
		select {
		case l.set.events <- ev:
		default:
			l.set.late.Add(1)
		}
	}
}

// transmit sends heartbeats first, whatever else waits.
func (l *oneLink) transmit(ctx context.Context, p port) error {
	for {
		var f *llt.FrameOut
		select {
		case f = <-l.urgent:
		default:
			select {
			case <-ctx.Done():
				l.lastWords(p)
				return ctx.Err()
			case f = <-l.urgent:
			case f = <-l.data:
			}
		}
		if !l.set.mayGo() {
			l.txErrors.Add(1)
			continue
		}
		if err := p.write(f.Data, f.Dst); err != nil {
			l.txErrors.Add(1)
			if errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ENETDOWN) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) {
				return err
			}
		}
	}
}

// lastWords sends what is urgent, such as a farewell, when the link ends.
func (l *oneLink) lastWords(p port) {
	for l.set.mayGo() {
		select {
		case f := <-l.urgent:
			if p.write(f.Data, f.Dst) != nil {
				return
			}
		default:
			return
		}
	}
}

// drain drops what was meant for the socket that is gone.
func (l *oneLink) drain() {
	for {
		select {
		case <-l.urgent:
		case <-l.data:
		default:
			return
		}
	}
}

// tell hands over an event that must not be lost.
func (l *oneLink) tell(ctx context.Context, ev llt.Event) bool {
	select {
	case l.set.events <- ev:
		return true
	case <-ctx.Done():
		return false
	}
}

func usable(ifi *net.Interface) error {
	if ifi.Flags&net.FlagUp == 0 {
		return fmt.Errorf("interface %s is down; ip link set %s up", ifi.Name, ifi.Name)
	}
	if ifi.Flags&net.FlagRunning == 0 {
		return fmt.Errorf("interface %s has no carrier; look at cable and peer", ifi.Name)
	}
	return nil
}

// findInterface finds the interface of a link: by name, by eth-MAC, or by the
// own address of a UDP link.
func findInterface(s *conf.Link) (*net.Interface, error) {
	if s.Kind != conf.Ether {
		return interfaceOf(s.Local)
	}
	if mac, ok := strings.CutPrefix(s.Device, "eth-"); ok {
		all, err := net.Interfaces()
		if err != nil {
			return nil, fmt.Errorf("list interfaces: %w", err)
		}
		for _, ifi := range all {
			if strings.EqualFold(ifi.HardwareAddr.String(), mac) {
				return &ifi, nil
			}
		}
		return nil, fmt.Errorf("no interface has the address %s; correct the device of link %s in llttab", mac, s.Tag)
	}
	ifi, err := net.InterfaceByName(s.Device)
	if err != nil {
		return nil, fmt.Errorf("find interface %s of link %s: %w", s.Device, s.Tag, err)
	}
	return ifi, nil
}

func interfaceOf(a netip.Addr) (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for _, ifi := range all {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue
		}
		for _, have := range addrs {
			p, err := netip.ParsePrefix(have.String())
			if err == nil && (p.Addr() == a || (a.IsLoopback() && p.Contains(a))) {
				return &ifi, nil
			}
		}
	}
	return nil, fmt.Errorf("no interface has the address %s", a)
}

// OwnMAC is this system's address on an ether link, "" if there is none now.
func OwnMAC(s *conf.Link) string {
	ifi, err := findInterface(s)
	if err != nil {
		return ""
	}
	return strings.ToUpper(ifi.HardwareAddr.String())
}

// AddrText prints a peer's address as people write it.
func AddrText(kind conf.Kind, addr []byte) string {
	if len(addr) == 0 {
		return ""
	}
	if kind == conf.Ether {
		return strings.ToUpper(net.HardwareAddr(addr).String())
	}
	var ap netip.AddrPort
	if ap.UnmarshalBinary(addr) != nil {
		return ""
	}
	return ap.String()
}
