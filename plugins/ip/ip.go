// Package ip is the agent of type IP: an address on an interface.
//
// Before the address is added, the network is asked whether somebody else has
// it; afterwards the neighbours are told who has it now, several times. Source:
// RFC 5227 (IPv4), RFC 4862 section 5.4 and RFC 4861 section 7.2.6 (IPv6), with
// shorter times, because the engine knows that the former owner is gone and
// asks only for those that it does not know.
package ip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// noPrefixLen is the deliberately invalid default of PrefixLen.
const noPrefixLen = 1000

// announcePauses is when the neighbours are told again, after the first time.
var announcePauses = [...]time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 8 * time.Second}

// New returns the agent.
func New() agent.Agent { return &ip{announcers: map[string]*announcer{}} }

type ip struct {
	mu         sync.Mutex
	announcers map[string]*announcer // by resource
}

// announcer repeats an announcement in the background.
type announcer struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Describe implements agent.Agent.
func (*ip) Describe() agent.Description {
	return agent.Description{Type: "IP", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "Device", Kind: agent.String, Required: true, Doc: "Interface that carries the address."},
		{Name: "Address", Kind: agent.String, Required: true, Doc: "The IPv4 or IPv6 address."},
		{Name: "NetMask", Kind: agent.String, Doc: "IPv4 mask in dotted decimal; without it and PrefixLen the prefix of the device's own address in the same network."},
		{Name: "PrefixLen", Kind: agent.Integer, Default: "1000", Doc: "Length of the prefix; 1000 means not given."},
		{Name: "Probes", Kind: agent.Integer, Default: "2", Doc: "How often the network is asked whether the address is taken; 0 does not ask."},
		{Name: "ProbeTime", Kind: agent.Integer, Default: "60", Doc: "Milliseconds that the questions and the wait for answers take in all."},
	}, Actions: []agent.Action{
		{Token: "device.vfd", Doc: "Is the device there and up?"},
		{Token: announceAction, Doc: "Tell the neighbours again who has the address."},
	}}
}

// announceAction is what had asks for when systems come together again: while
// they were apart another may have claimed the address.
const announceAction = "announce"

// wanted is what a resource's attributes say.
type wanted struct {
	addr   netip.Addr
	device string
	bits   int // -1: as the device
}

func parse(r *agent.Resource) (wanted, []agent.Problem) {
	w := wanted{device: r.String("Device"), bits: -1}
	var err error
	if w.addr, err = netip.ParseAddr(r.String("Address")); err != nil || w.addr.Zone() != "" || w.addr.Is4In6() {
		return w, []agent.Problem{{Attr: "Address", Text: fmt.Sprintf("%q is no IP address", r.String("Address"))}}
	}
	if w.addr.IsUnspecified() || w.addr.IsMulticast() {
		return w, []agent.Problem{{Attr: "Address", Text: "is no address of one host"}}
	}
	if mask := r.String("NetMask"); mask != "" {
		m, err := netip.ParseAddr(mask)
		if err != nil || !m.Is4() || !w.addr.Is4() {
			return w, []agent.Problem{{Attr: "NetMask", Text: fmt.Sprintf("%q is no mask in dotted decimal for an IPv4 address", mask)}}
		}
		ones, size := net.IPMask(m.AsSlice()).Size()
		if size == 0 {
			return w, []agent.Problem{{Attr: "NetMask", Text: fmt.Sprintf("%q has ones after zeros", mask)}}
		}
		w.bits = ones
	}
	if n := r.Int("PrefixLen"); n != noPrefixLen {
		if n < 0 || n > w.addr.BitLen() {
			return w, []agent.Problem{{Attr: "PrefixLen", Text: fmt.Sprintf("must be 0 to %d", w.addr.BitLen())}}
		}
		if w.bits >= 0 && w.bits != n {
			return w, []agent.Problem{{Attr: "PrefixLen", Text: "contradicts NetMask; give one of them"}}
		}
		w.bits = n
	}
	if p, ms := r.Int("Probes"), r.Int("ProbeTime"); p < 0 || p > 20 || ms < 0 || ms > 60000 {
		return w, []agent.Problem{{Attr: "Probes", Text: "must be 0 to 20, ProbeTime 0 to 60000"}}
	}
	return w, nil
}

func mustParse(r *agent.Resource) (wanted, error) {
	w, problems := parse(r)
	if len(problems) > 0 {
		return w, fmt.Errorf("attribute %s: %s", problems[0].Attr, problems[0].Text)
	}
	return w, nil
}

// Validate implements agent.Validator.
func (*ip) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	_, problems := parse(r)
	return problems
}

func (w wanted) family() int {
	if w.addr.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// addrList lists addresses, again if they changed while the kernel listed them.
func addrList(link netlink.Link, family int) ([]netlink.Addr, error) {
	for range 5 {
		addrs, err := netlink.AddrList(link, family)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return addrs, err
		}
	}
	return nil, netlink.ErrDumpInterrupted
}

// on finds the address on a link; nil if it is not there.
func (w wanted) on(link netlink.Link) (*netlink.Addr, error) {
	addrs, err := addrList(link, w.family())
	if err != nil {
		return nil, fmt.Errorf("list addresses of %s: %w", w.device, err)
	}
	for i := range addrs {
		if got, ok := netip.AddrFromSlice(addrs[i].IP); ok && got.Unmap() == w.addr {
			return &addrs[i], nil
		}
	}
	return nil, nil
}

// elsewhere finds another interface of this system that has the address.
func (w wanted) elsewhere(link netlink.Link) (string, error) {
	addrs, err := addrList(nil, w.family())
	if err != nil {
		return "", fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == w.addr && a.LinkIndex != link.Attrs().Index {
			other, err := netlink.LinkByIndex(a.LinkIndex)
			if err != nil {
				return fmt.Sprintf("interface %d", a.LinkIndex), nil //nolint:nilerr // its name matters to people only
			}
			return other.Attrs().Name, nil
		}
	}
	return "", nil
}

// prefix is the prefix to add the address with.
func (w wanted) prefix(link netlink.Link) (int, error) {
	if w.bits >= 0 {
		return w.bits, nil
	}
	addrs, err := addrList(link, w.family())
	if err != nil {
		return 0, fmt.Errorf("list addresses of %s: %w", w.device, err)
	}
	best := -1
	for _, a := range addrs {
		ones, _ := a.Mask.Size()
		if a.Contains(w.addr.AsSlice()) && ones > best && ones < w.addr.BitLen() {
			best = ones
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("no address of %s is in the network of %s: set NetMask or PrefixLen", w.device, w.addr)
	}
	return best, nil
}

// Online implements agent.Controller.
func (a *ip) Online(ctx context.Context, r *agent.Resource) error {
	w, err := mustParse(r)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(w.device)
	if err != nil {
		return fmt.Errorf("find device %s: %w", w.device, err)
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		return fmt.Errorf("device %s is down: bring it up, or let the resource require a NIC", w.device)
	}
	bits, err := w.prefix(link)
	if err != nil {
		return err
	}
	if ready, err := w.already(link, bits); err != nil || ready {
		return err
	}
	if other, err := w.elsewhere(link); err != nil || other != "" {
		if err == nil {
			err = fmt.Errorf("%s is on %s of this system already: remove it there", w.addr, other)
		}
		return err
	}
	if n := r.Int("Probes"); n > 0 && link.Attrs().RawFlags&unix.IFF_NOARP == 0 && link.Attrs().RawFlags&unix.IFF_LOOPBACK == 0 {
		began := time.Now()
		mac, err := probe(ctx, link, w.addr, n, time.Duration(r.Int("ProbeTime"))*time.Millisecond)
		switch {
		case err != nil:
			return fmt.Errorf("probe for %s on %s: %w", w.addr, w.device, err)
		case mac != nil:
			return fmt.Errorf("%s is in use by %s on the network of %s: take it away there first", w.addr, mac, w.device)
		}
		r.Log.Info("nobody else has the address", "address", w.addr.String(), "probes", n, "took_ms", milliseconds(began))
	}
	if err := ctx.Err(); err != nil { // nothing is raised after a lease has expired
		return err
	}
	add := &netlink.Addr{IPNet: &net.IPNet{IP: w.addr.AsSlice(), Mask: net.CIDRMask(bits, w.addr.BitLen())}}
	if w.addr.Is6() {
		add.Flags = unix.IFA_F_NODAD // asked already; tentative addresses answer nobody
	}
	if err := netlink.AddrAdd(link, add); errors.Is(err, unix.EEXIST) {
		ready, err := w.already(link, bits)
		if err == nil && !ready {
			err = errors.New("the kernel has it and has it not: run the online again")
		}
		return err
	} else if err != nil {
		return fmt.Errorf("add %s/%d to %s: %w", w.addr, bits, w.device, err)
	}
	r.Log.Info("address added", "address", w.addr.String(), "prefix", bits, "device", w.device)
	began := time.Now()
	if err := announce(link, w.addr); err != nil {
		r.Log.Warn("neighbours not told", "error", err)
	} else {
		r.Log.Info("neighbours told", "address", w.addr.String(), "took_ms", milliseconds(began))
	}
	a.announceOn(r, w)
	return nil
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }

// already tells whether the address is there as it should be.
func (w wanted) already(link netlink.Link, bits int) (bool, error) {
	have, err := w.on(link)
	if err != nil || have == nil {
		return false, err
	}
	if ones, _ := have.Mask.Size(); ones != bits {
		return false, fmt.Errorf("%s is on %s with prefix /%d instead of /%d: remove it, or correct NetMask or PrefixLen", w.addr, w.device, ones, bits)
	}
	return true, nil
}

// announceOn repeats the announcement as long as the address is ours.
func (a *ip) announceOn(r *agent.Resource, w wanted) {
	a.hush(r.Name)
	ctx, cancel := context.WithCancel(context.Background())
	an := &announcer{cancel: cancel, done: make(chan struct{})}
	a.mu.Lock()
	a.announcers[r.Name] = an
	a.mu.Unlock()
	go func() {
		defer close(an.done)
		defer cancel()
		for _, pause := range announcePauses {
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			link, err := netlink.LinkByName(w.device)
			if err != nil {
				return
			}
			if have, err := w.on(link); err != nil || have == nil {
				return
			}
			if err := announce(link, w.addr); err != nil {
				r.Log.Warn("neighbours not told again", "error", err)
			}
		}
	}()
}

// hush ends the repetition and waits until it has ended.
func (a *ip) hush(name string) {
	a.mu.Lock()
	an := a.announcers[name]
	delete(a.announcers, name)
	a.mu.Unlock()
	if an != nil {
		an.cancel()
		<-an.done
	}
}

// Offline implements agent.Controller.
func (a *ip) Offline(_ context.Context, r *agent.Resource) error {
	a.hush(r.Name)
	w, err := mustParse(r)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(w.device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil // with the device went its addresses
	} else if err != nil {
		return fmt.Errorf("find device %s: %w", w.device, err)
	}
	have, err := w.on(link)
	if err != nil || have == nil {
		return err
	}
	if err := netlink.AddrDel(link, have); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove %s from %s: %w", w.addr, w.device, err)
	}
	return nil
}

// Clean implements agent.Controller.
func (a *ip) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return a.Offline(ctx, r)
}

// Monitor implements agent.Agent.
func (*ip) Monitor(_ context.Context, r *agent.Resource) (agent.Status, error) {
	w, err := mustParse(r)
	if err != nil {
		return agent.Status{}, err
	}
	link, err := netlink.LinkByName(w.device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return agent.Status{State: agent.Offline, Detail: "there is no device " + w.device}, nil
	} else if err != nil {
		return agent.Status{}, fmt.Errorf("find device %s: %w", w.device, err)
	}
	have, err := w.on(link)
	switch {
	case err != nil:
		return agent.Status{}, err
	case have == nil:
		return agent.Status{State: agent.Offline}, nil
	case link.Attrs().RawFlags&unix.IFF_UP == 0:
		return agent.Status{State: agent.Offline, Detail: "the device " + w.device + " is down"}, nil
	default:
		return agent.Status{State: agent.Online}, nil
	}
}

// Info implements agent.Informer.
func (*ip) Info(_ context.Context, r *agent.Resource) (map[string]string, error) {
	w, err := mustParse(r)
	if err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(w.device)
	if err != nil {
		return nil, fmt.Errorf("find device %s: %w", w.device, err)
	}
	have, err := w.on(link)
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, fmt.Errorf("%s does not have %s", w.device, w.addr)
	}
	return map[string]string{"Address": have.IPNet.String(), "Device": w.device, "MAC": link.Attrs().HardwareAddr.String(),
		"MTU": fmt.Sprint(link.Attrs().MTU), "Link": link.Attrs().OperState.String()}, nil
}

// Action implements agent.Actor: what could keep the address from coming up on
// this system.
func (a *ip) Action(_ context.Context, r *agent.Resource, token string, _ []string) (string, int, error) {
	if token == announceAction {
		return a.announceAgain(r)
	}
	device := r.String("Device")
	link, err := netlink.LinkByName(device)
	switch {
	case errors.As(err, &netlink.LinkNotFoundError{}):
		return "Device: there is no " + device + " on this system\n", 1, nil
	case err != nil:
		return "", 0, fmt.Errorf("find device %s: %w", device, err)
	case link.Attrs().RawFlags&unix.IFF_UP == 0:
		return "Device: " + device + " is down: ip link set " + device + " up\n", 1, nil
	}
	return device + " is up\n", 0, nil
}

// announceAgain tells the neighbours, now and some times more, that this
// system has the address, if it has.
func (a *ip) announceAgain(r *agent.Resource) (string, int, error) {
	w, err := mustParse(r)
	if err != nil {
		return "", 0, err
	}
	link, err := netlink.LinkByName(w.device)
	if err != nil {
		return "", 0, fmt.Errorf("find device %s: %w", w.device, err)
	}
	have, err := w.on(link)
	if err != nil {
		return "", 0, err
	}
	if have == nil {
		return fmt.Sprintf("%s is not on %s here; nothing to tell\n", w.addr, w.device), 1, nil
	}
	if err := announce(link, w.addr); err != nil {
		return "", 0, err
	}
	r.Log.Info("neighbours told again", "address", w.addr.String())
	a.announceOn(r, w)
	return fmt.Sprintf("the neighbours were told that %s is here\n", w.addr), 0, nil
}

// carrierBack tells the neighbours again: a cable that is back may lead to a
// switch that believes in another owner.
func (a *ip) carrierBack(r *agent.Resource) {
	if _, _, err := a.announceAgain(r); err != nil {
		r.Log.Warn("carrier is back, neighbours not told again", "error", err)
	}
}

// carrier reports whether a cable with life in it is in the resource's device.
func carrier(r *agent.Resource) bool {
	link, err := netlink.LinkByName(r.String("Device"))
	return err == nil && link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}

// Watch implements agent.Watcher: the kernel tells when addresses and links
// change.
func (a *ip) Watch(ctx context.Context, r *agent.Resource, push func(agent.Status)) error {
	done := make(chan struct{})
	defer close(done)
	// Bound 64 each: full, the reader of the socket waits; if the socket then
	// overflows, the channel closes and the watch begins again.
	addrs, links := make(chan netlink.AddrUpdate, 64), make(chan netlink.LinkUpdate, 64)
	if err := netlink.AddrSubscribe(addrs, done); err != nil {
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	if err := netlink.LinkSubscribe(links, done); err != nil {
		return fmt.Errorf("subscribe to links: %w", err)
	}
	was, connected := agent.Unknown, carrier(r)
	for {
		st, err := a.Monitor(ctx, r)
		if err != nil {
			return err
		}
		if st.State != was {
			push(st)
			was = st.State
		}
		ok := true
		select {
		case <-ctx.Done():
			return nil
		case _, ok = <-addrs:
		case u, open := <-links:
			if ok = open; ok && u.Link.Attrs().Name == r.String("Device") {
				back := u.Link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
				if back && !connected {
					a.carrierBack(r)
				}
				connected = back
			}
		}
		if !ok {
			return errors.New("the kernel's news broke off")
		}
	}
}
