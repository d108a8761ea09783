// Package nic is the agent of type NIC: an interface that carries traffic.
//
// It is ONLINE if the interface exists, is up and has carrier (IFF_UP and
// IFF_LOWER_UP), and, with NetworkHosts, if one of them answers a ping through
// it. With Mii = 0 and no NetworkHosts the counter of received packets must
// grow, if need be after a broadcast ping.
package nic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// New returns the agent.
func New() agent.Agent { return &nic{received: map[string]counter{}} }

type nic struct {
	mu       sync.Mutex
	received map[string]counter // by resource: as the last monitor saw it
}

// counter is a count of packets of one interface; another index is another
// interface of the same name.
type counter struct {
	index   int
	packets uint64
}

// Describe implements agent.Agent.
func (*nic) Describe() agent.Description {
	return agent.Description{Type: "NIC", Version: "1.0.0", Operations: agent.None, Attrs: []agent.Attr{
		{Name: "Device", Kind: agent.String, Required: true, Doc: "Interface to watch."},
		{Name: "Mii", Kind: agent.Integer, Default: "1", Doc: "1: carrier is proof enough; 0: traffic is tested too."},
		{Name: "NetworkHosts", Kind: agent.String, Dimension: agent.Vector, Doc: "Addresses of which one must answer a ping through the device."},
		{Name: "PingOptimize", Kind: agent.Integer, Default: "1", Doc: "1: a broadcast ping only if no packet came since the last monitor; 0: always. Counts only with Mii = 0 and no NetworkHosts."},
	}}
}

// Validate implements agent.Validator.
func (*nic) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	for _, host := range r.Strings("NetworkHosts") {
		if _, err := parseHost(host); err != nil {
			return []agent.Problem{{Attr: "NetworkHosts", Text: err.Error()}}
		}
	}
	return nil
}

// Monitor implements agent.Agent.
func (a *nic) Monitor(ctx context.Context, r *agent.Resource) (agent.Status, error) {
	device := r.String("Device")
	link, err := netlink.LinkByName(device)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return agent.Status{State: agent.Offline, Detail: "there is no device " + device}, nil
	} else if err != nil {
		return agent.Status{}, fmt.Errorf("find device %s: %w", device, err)
	}
	flags := link.Attrs().RawFlags
	switch {
	case flags&unix.IFF_UP == 0:
		return agent.Status{State: agent.Offline, Detail: device + " is set down"}, nil
	case flags&unix.IFF_LOWER_UP == 0:
		return agent.Status{State: agent.Offline, Detail: device + " has no carrier"}, nil
	}
	hosts := r.Strings("NetworkHosts")
	switch {
	case len(hosts) > 0:
		return pingHosts(ctx, device, hosts)
	case r.Int("Mii") == 0:
		return a.traffic(ctx, r, link)
	default:
		return agent.Status{State: agent.Online}, nil
	}
}

// traffic decides by the counter of received packets.
func (a *nic) traffic(ctx context.Context, r *agent.Resource, link netlink.Link) (agent.Status, error) {
	now := received(link)
	a.mu.Lock()
	before, known := a.received[r.Name]
	a.received[r.Name] = now
	a.mu.Unlock()
	if r.Int("PingOptimize") == 1 && known && before.index == now.index && now.packets != before.packets {
		return agent.Status{State: agent.Online}, nil
	}
	if err := broadcastPing(ctx, link); err != nil {
		return agent.Status{}, err
	}
	for end := time.Now().Add(trafficTime); ; {
		again, err := netlink.LinkByIndex(link.Attrs().Index)
		if err != nil {
			return agent.Status{}, fmt.Errorf("look at %s: %w", link.Attrs().Name, err)
		}
		if c := received(again); c.packets != now.packets {
			a.mu.Lock()
			a.received[r.Name] = c
			a.mu.Unlock()
			return agent.Status{State: agent.Online}, nil
		}
		if time.Now().After(end) {
			return agent.Status{State: agent.Offline, Detail: link.Attrs().Name + " received nothing, also after a broadcast ping"}, nil
		}
		timer := time.NewTimer(20 * time.Millisecond) // counters have no event
		select {
		case <-ctx.Done():
			timer.Stop()
			return agent.Status{}, ctx.Err()
		case <-timer.C:
		}
	}
}

func received(link netlink.Link) counter {
	c := counter{index: link.Attrs().Index}
	if st := link.Attrs().Statistics; st != nil {
		c.packets = st.RxPackets
	}
	return c
}

// Watch implements agent.Watcher: the kernel tells of carrier changes at once.
func (a *nic) Watch(ctx context.Context, r *agent.Resource, push func(agent.Status)) error {
	done := make(chan struct{})
	defer close(done)
	// Bound 64: full, the reader of the socket waits; if the socket then
	// overflows, the channel closes and the watch begins again.
	links := make(chan netlink.LinkUpdate, 64)
	if err := netlink.LinkSubscribe(links, done); err != nil {
		return fmt.Errorf("subscribe to links: %w", err)
	}
	device, was := r.String("Device"), agent.Unknown
	for {
		st, err := a.Monitor(ctx, r)
		if err != nil {
			return err
		}
		if st.State != was {
			push(st)
			was = st.State
		}
		for ours := false; !ours; {
			select {
			case <-ctx.Done():
				return nil
			case u, ok := <-links:
				if !ok {
					return errors.New("the kernel's news broke off")
				}
				ours = u.Link != nil && u.Attrs().Name == device
			}
		}
	}
}
