package link

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// still keeps the turn as a core that hangs does, with the locks of all links
// that senders take, while heartbeats go on, until the peers must have seen it.
func (d *driver) still() {
	d.turn.Lock()
	defer d.turn.Unlock()
	began := clock()
	d.step(began, llt.LendBeats{})
	for l := range d.set.all {
		l.out.Lock()
		defer l.out.Unlock()
	}
	buf := make([]byte, 0, llt.BeatSize)
	for range 9 {
		<-time.After(100 * time.Millisecond)
		for i := range d.beats.Len() {
			id, dst, _ := d.beats.To(i)
			frame, ok := d.beats.Frame(i, clock().Sub(began), buf)
			if sent := d.set.Beat(id, dst, frame); !ok || !sent {
				fmt.Fprintf(d.out, "no heartbeat %t %t\n", ok, sent)
			}
		}
	}
	fmt.Fprintln(d.out, "still no more")
}

// TestBeatOnRealLinks: R19. Over raw Ethernet, while whoever owns the core and
// the sockets' queues stands still, the peer hears that.
func TestBeatOnRealLinks(t *testing.T) {
	for _, single := range []string{"", "1"} {
		t.Run("single="+single, func(t *testing.T) {
			t.Setenv("EVENKEEL_LLT_SINGLE", single)
			ns := twoNamespaces(t)
			for _, dev := range []string{"pl0", "pl1"} {
				ip(t, "-n", ns[0], "link", "add", dev, "type", "veth", "peer", "name", dev, "netns", ns[1])
				ip(t, "-n", ns[0], "link", "set", dev, "up")
				ip(t, "-n", ns[1], "link", "set", dev, "up")
			}
			outs, in := driveIn(t, ns, "pl0", "pl1")
			outs[0].waitFor("peer-links node=1 up=2")
			outs[1].waitFor("peer-links node=0 up=2")
			fmt.Fprintln(in[1], "still")
			outs[0].waitFor("peer-stalled node=1 stalled=true")
			outs[0].waitFor("peer-down node=1 incarnation=65 conn=1 reason=stalled")
			outs[1].waitFor("still no more")
			if strings.Contains(outs[1].String(), "no heartbeat") {
				t.Error(outs[1].String())
			}
			outs[0].waitFor("peer-up node=1 incarnation=65 conn=2")
		})
	}
}

// TestBeatAllocatesNothing: nor does it over UDP.
func TestBeatAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	port := freePorts(t, 1)[0]
	spec := conf.Link{Tag: "a", Kind: conf.UDP, SAP: uint16(port), MTU: 8192, Local: netip.MustParseAddr("127.0.0.1")}
	p, err := newPinger(spec, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.set.Close()
	dst, data := udpBytes(netip.AddrPortFrom(spec.Local, uint16(port))), make([]byte, 100)
	for range 1000 { // until it is open
		if p.set.Beat(0, dst, data) {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	if n := testing.AllocsPerRun(100, func() {
		if !p.set.Beat(0, dst, data) {
			t.Fatal("not sent")
		}
	}); n != 0 {
		t.Errorf("%v allocations per heartbeat", n)
	}
}
