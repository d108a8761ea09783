// Package link is the shell of LLT's links: it turns raw Ethernet frames and
// UDP datagrams into events of the core, and the core's effects into frames.
//
// Each link lives alone: its socket, its goroutines, its queues. An interface
// that goes down, vanishes and comes back changes nothing for the others; the
// link says LinkDown, opens its socket again when the interface is there, and
// says LinkUp.
//
// A frame passes through no queue and no other goroutine: whoever reads it from
// the socket hands it to the owner of the core (Config.Take), who writes the
// answers from there (Send, Flush), both by batches. Send and Flush never wait.
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

// Sizes.
const (
	dataQueue   = 1024 // frames out, per link, while its socket takes none; full: dropped and counted, LLT sends again
	urgentQueue = 256  // heartbeats out, likewise
	socketBytes = 4 << 20
	lookAgain   = time.Second // how often an interface is looked at without news from the kernel
)

// Config is what a Set needs to know.
type Config struct {
	Links   []conf.Link
	Cluster uint16
	// Node is this system: its slot in disk regions.
	Node llt.NodeID
	// Beat is the heartbeat of low-priority links; disk regions are polled twice
	// as often. Deadline is how long a request to a disk may take until its link
	// is down. Zero values are those of the profile default.
	Beat, Deadline time.Duration
	// MayGo is asked before frames leave: a process that stood still for too
	// long must not send what it had queued before (R19).
	MayGo func() bool
	// Take takes what came: FrameIn, LinkUp, LinkDown, or nothing, when a
	// socket that was full takes frames again and Flush should be called. It is
	// called by several goroutines at once and must see to it that one of them
	// at a time steps the core. The events are used again when it returns.
	Take func([]llt.Event)
	Log  *slog.Logger

	openBlocks func(path string) (blockIO, error) // tests: a disk that hangs
}

// Set is all links of a system.
type Set struct {
	cfg    Config
	ctx    context.Context
	links  [llt.MaxLinks]atomic.Pointer[oneLink] // nil: no such link
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// reader is one socket of an open link.
type reader interface {
	// read waits for frames, and fills in those that came, at most len(in); the
	// error ends the port. Data[:cap] and Src[:cap] of each are for its use.
	read(in []llt.FrameIn) (n int, err error)
}

// port is the open sockets of a link.
type port interface {
	readers() []reader
	// write sends frames without waiting and says how many went; with an error
	// it is the next one's. unix.EAGAIN means that writable tells when to go on.
	// A nil Dst means broadcast.
	write(out []*llt.FrameOut) (n int, err error)
	writable() error
	close() error
}

type oneLink struct {
	set  *Set
	id   llt.LinkID
	spec conf.Link
	log  *slog.Logger
	news chan struct{} // capacity 1: something about interfaces changed

	out    sync.Mutex
	port   port // nil while the link is down
	urgent []*llt.FrameOut
	data   []*llt.FrameOut
	full   bool          // the socket takes nothing now
	lost   uint64        // frames that the kernel had no room for
	drain  chan struct{} // capacity 1: the socket is full; wait for it

	cancel   context.CancelFunc
	txErrors atomic.Uint64
	up       atomic.Bool
	reason   atomic.Pointer[string] // why it is down; nil while it is up
	disk     diskStats
	beat     beatPort
}

func reasonOf(err error) *string {
	text := err.Error()
	return &text
}

func (l *oneLink) setUp() {
	l.reason.Store(nil)
	l.up.Store(true)
	l.log.Info("link is up")
}

func (l *oneLink) setDown(err error) {
	l.up.Store(false)
	l.reason.Store(reasonOf(err))
}

// Stats are counters of one link since the start.
type Stats struct {
	// TxErrors are frames that could not be sent or found a full queue.
	TxErrors uint64
	// Up is true while the socket is open and the interface is up.
	Up bool
	// Reason says why it is not, "" while it is.
	Reason string
	// LateHeartbeats are requests to a disk that took longer than a heartbeat,
	// BadChecksums slots of it that were damaged or torn.
	LateHeartbeats, BadChecksums uint64
}

// Configs returns what llt.Config needs to know about links. An interface
// that is not there yet gets the MTU of Ethernet.
func Configs(specs []conf.Link) []llt.LinkConfig {
	out := make([]llt.LinkConfig, len(specs))
	for i, s := range specs {
		out[i] = ConfigOf(s)
	}
	return out
}

// ConfigOf is Configs for one link.
func ConfigOf(s conf.Link) llt.LinkConfig {
	c := llt.LinkConfig{Tag: s.Tag, LowPriority: s.LowPriority, MTU: s.MTU, NoBroadcast: s.NoBroadcast}
	switch s.Kind {
	case conf.Ether:
		c.MTU = etherMTU(&s)
	case conf.Disk:
		c.HeartbeatOnly, c.NoBroadcast, c.MTU = true, true, MaxBeacon
	default:
		c.NoBroadcast = c.NoBroadcast || !s.Broadcast.IsValid()
	}
	c.MTU = max(min(c.MTU, llt.MaxMTU), llt.MinMTU)
	for _, p := range s.Peers {
		c.Peers = append(c.Peers, llt.PeerAddress{Node: p.Node, Addr: AddrOf(p)})
	}
	return c
}

// etherMTU is the largest frame of an ether link as its interface is now.
func etherMTU(s *conf.Link) int {
	device := 1500
	if ifi, err := findInterface(s); err == nil {
		device = ifi.MTU
	}
	if s.MTU == 0 || s.MTU > device {
		return device
	}
	return s.MTU
}

// AddrOf is an address of set-addr as the core keeps it.
func AddrOf(p conf.PeerAddr) []byte {
	if p.MAC != nil {
		return p.MAC
	}
	return udpBytes(p.UDP)
}

// Open starts the links. They are down until Take hears otherwise. The
// kernel's filter of raw links passes frames of this cluster and hellos of
// others. Close ends everything.
func Open(cfg Config) (*Set, error) {
	if len(cfg.Links) == 0 || len(cfg.Links) > llt.MaxLinks {
		return nil, fmt.Errorf("open links: %d configured; 1 to %d are possible", len(cfg.Links), llt.MaxLinks)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if cfg.Beat <= 0 {
		cfg.Beat = 200 * time.Millisecond
	}
	if cfg.Deadline <= 0 {
		cfg.Deadline = time.Second
	}
	s := &Set{cfg: cfg, ctx: ctx, cancel: cancel}
	if err := s.watchInterfaces(ctx, cfg.Log); err != nil {
		cfg.Log.Warn("no news of interfaces from the kernel; looking once per second", "error", err)
	}
	for i, spec := range cfg.Links {
		s.Add(llt.LinkID(i), spec)
	}
	return s, nil
}

// Add starts a link under a number that is not in use. Close must not be
// called at the same time.
func (s *Set) Add(id llt.LinkID, spec conf.Link) {
	ctx, cancel := context.WithCancel(s.ctx)
	l := &oneLink{
		set: s, id: id, spec: spec, cancel: cancel, log: s.cfg.Log.With("link", int(id), "tag", spec.Tag),
		news: make(chan struct{}, 1), drain: make(chan struct{}, 1), beat: beatPort{fd: -1},
	}
	l.setDown(errors.New("it is being opened"))
	s.links[id].Store(l)
	s.wait.Go(func() {
		defer cancel()
		if spec.Kind == conf.Disk {
			l.liveDisk(ctx)
		} else {
			l.live(ctx)
		}
	})
}

// Remove ends a link; it does not wait for that.
func (s *Set) Remove(id llt.LinkID) {
	if l := s.links[id].Swap(nil); l != nil {
		l.cancel()
	}
}

// all lists the links that are there.
func (s *Set) all(yield func(*oneLink) bool) {
	for i := range s.links {
		if l := s.links[i].Load(); l != nil && !yield(l) {
			return
		}
	}
}

// Send hands a frame to its link, which sends it at the next Flush. It never
// waits: a frame for a link that is down, or that finds a full queue, is
// dropped and counted, and false is returned: the frame is the caller's again.
func (s *Set) Send(f *llt.FrameOut) bool {
	if int(f.Link) >= len(s.links) {
		return false
	}
	l := s.links[f.Link].Load()
	if l == nil {
		return false
	}
	l.out.Lock()
	defer l.out.Unlock()
	switch {
	case l.port == nil:
	case f.Urgent && len(l.urgent) < urgentQueue:
		l.urgent = append(l.urgent, f)
		return true
	case !f.Urgent && len(l.data) < dataQueue:
		l.data = append(l.data, f)
		return true
	}
	l.txErrors.Add(1)
	return false
}

// Flush sends what waits, heartbeats first, as far as the sockets take it. Each
// frame that is done with goes to done, such as llt.Core.Recycle.
func (s *Set) Flush(done func(*llt.FrameOut)) {
	for l := range s.all {
		l.out.Lock()
		l.flush(done)
		l.out.Unlock()
	}
}

func (l *oneLink) flush(done func(*llt.FrameOut)) {
	if len(l.urgent)+len(l.data) == 0 || l.full {
		return
	}
	if l.port != nil && l.set.cfg.MayGo() {
		l.urgent = l.give(l.urgent, done)
		if !l.full {
			l.data = l.give(l.data, done)
		}
		return
	}
	l.txErrors.Add(uint64(len(l.urgent) + len(l.data)))
	l.dropAll(done)
}

// give writes a queue and returns what is left of it because the socket is full.
func (l *oneLink) give(queue []*llt.FrameOut, done func(*llt.FrameOut)) []*llt.FrameOut {
	at := 0
	for at < len(queue) && !l.full {
		n, err := l.port.write(queue[at:])
		for _, f := range queue[at : at+n] {
			done(f)
		}
		at += n
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN):
			l.full = true
			select {
			case l.drain <- struct{}{}:
			default: // told already
			}
		default: // this frame cannot be sent; a broken link is noticed by its reader and guard
			l.txErrors.Add(1)
			done(queue[at])
			at++
		}
	}
	left := copy(queue, queue[at:])
	clear(queue[left:])
	return queue[:left]
}

func (l *oneLink) dropAll(done func(*llt.FrameOut)) {
	for _, q := range [][]*llt.FrameOut{l.urgent, l.data} {
		for _, f := range q {
			done(f)
		}
		clear(q)
	}
	l.urgent, l.data, l.full = l.urgent[:0], l.data[:0], false
}

// Stats returns the counters of each link, by its number; zero for one that is
// not there.
func (s *Set) Stats() (out [llt.MaxLinks]Stats) {
	for l := range s.all {
		g := Stats{TxErrors: l.txErrors.Load(), Up: l.up.Load(), LateHeartbeats: l.disk.late.Load(), BadChecksums: l.disk.bad.Load()}
		if why := l.reason.Load(); why != nil {
			g.Reason = *why
		}
		out[l.id] = g
	}
	return out
}

// Dropped is the number of frames that came faster than they were taken, as
// far as the kernel says so.
func (s *Set) Dropped() uint64 {
	n := uint64(0)
	for l := range s.all {
		l.out.Lock()
		if p, ok := l.port.(interface{ dropped() uint64 }); ok {
			l.lost += p.dropped()
		}
		n += l.lost
		l.out.Unlock()
	}
	return n
}

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
				for l := range s.all {
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
		p, size, err := l.open()
		if err == nil {
			said = ""
			l.serve(ctx, p, size, again.C)
			continue
		}
		l.reason.Store(reasonOf(err))
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

// open opens the link's sockets, and says how large the frames are that it
// must be able to take.
func (l *oneLink) open() (p port, size int, err error) {
	ifi, err := findInterface(&l.spec)
	if err != nil {
		return nil, 0, err
	}
	if err := usable(ifi); err != nil {
		return nil, 0, err
	}
	if l.spec.Kind == conf.Ether {
		p, err = openEther(ifi, l.spec.SAP, l.set.cfg.Cluster)
		return p, max(ifi.MTU, llt.MinMTU), err
	}
	p, err = openUDP(&l.spec, ifi)
	return p, max(l.spec.MTU, llt.MinMTU), err
}

// serve runs an open link until its interface goes down or the socket fails.
func (l *oneLink) serve(ctx context.Context, p port, size int, again <-chan time.Time) {
	l.out.Lock()
	l.port, l.full = p, false
	l.out.Unlock()
	if err := l.openBeat(p); err != nil {
		l.log.Warn("no heartbeats go over this link while gab's cores stand still", "error", err)
	}
	l.setUp()
	mtu := l.mtu()
	l.tell(llt.SetLink{Link: l.id, MTU: mtu}) // it may be another interface by now
	l.tell(llt.LinkUp{Link: l.id})
	inner, cancel := context.WithCancel(ctx)
	readers := p.readers()
	broken := make(chan error, len(readers)+1) // one from each reader, one from the waiter
	var all sync.WaitGroup
	for _, r := range readers {
		all.Go(func() { broken <- l.receive(inner, r, size) })
	}
	all.Go(func() { broken <- l.waiter(inner, p) })
	err := l.guard(ctx, broken, again, mtu)
	cancel()
	l.out.Lock()
	l.lastWords()
	l.port = nil
	l.dropAll(func(*llt.FrameOut) {})
	l.out.Unlock()
	l.closeBeat()
	p.close()
	all.Wait()
	l.setDown(err)
	if ctx.Err() == nil {
		l.log.Warn("link is down", "error", err)
		l.tell(llt.LinkDown{Link: l.id})
	}
}

// mtu is the largest frame that the link takes now.
func (l *oneLink) mtu() int {
	if l.spec.Kind == conf.Ether {
		return max(min(etherMTU(&l.spec), llt.MaxMTU), llt.MinMTU)
	}
	return l.spec.MTU
}

// guard waits for the end of an open link. A link whose interface has another
// MTU begins anew, with room for its frames.
func (l *oneLink) guard(ctx context.Context, broken <-chan error, again <-chan time.Time, mtu int) error {
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
		if ifi.HardwareAddr.String() != before.HardwareAddr.String() {
			return fmt.Errorf("interface %s changed its address to %s", ifi.Name, ifi.HardwareAddr)
		}
		if now := l.mtu(); now != mtu && ifi.MTU > before.MTU {
			return fmt.Errorf("interface %s has a larger MTU now, %d", ifi.Name, ifi.MTU)
		} else if now != mtu {
			mtu = now
			l.log.Info("the MTU of the link changed", "mtu", mtu)
			l.tell(llt.SetLink{Link: l.id, MTU: mtu})
		}
		if err := usable(ifi); err != nil {
			return err
		}
	}
}

// receive hands over what one socket hears, until it is closed.
func (l *oneLink) receive(ctx context.Context, r reader, size int) error {
	in := make([]llt.FrameIn, batch)
	events := make([]llt.Event, batch)
	for i := range in {
		in[i] = llt.FrameIn{Data: make([]byte, size), Src: make([]byte, 0, 32)}
		events[i] = &in[i]
	}
	for {
		n, err := r.read(in)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		for i := range in[:n] {
			in[i].Link = l.id
		}
		l.set.cfg.Take(events[:n])
	}
}

// waiter waits for a full socket to take frames again, until it is closed.
func (l *oneLink) waiter(ctx context.Context, p port) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.drain:
		}
		if err := p.writable(); err != nil {
			return err
		}
		l.out.Lock()
		l.full = false
		l.out.Unlock()
		l.set.cfg.Take(nil)
	}
}

// lastWords sends what is urgent, such as a farewell, when the link ends.
func (l *oneLink) lastWords() {
	l.full = false
	if l.set.cfg.MayGo() {
		l.urgent = l.give(l.urgent, func(*llt.FrameOut) {})
	}
}

func (l *oneLink) tell(ev llt.Event) { l.set.cfg.Take([]llt.Event{ev}) }

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
