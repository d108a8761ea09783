package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/llt"
)

// heldFrames is how many frames a system that stands still keeps; the rest is
// lost, as in the queues of a network card.
const heldFrames = 256

// network carries LLT's frames over links that lose, delay, double, reorder,
// corrupt and cut them.
type network struct {
	w     *World
	links int    // all, the disk region, which is the last one, among them
	disk  int    // that one, -1 if there is none
	wires []wire // from, to, link
	// How many of 10,000 frames are lost, doubled, spoiled, or late.
	loss, dup, corrupt, late int
	free                     *flight
}

// wire is one direction of a link between two systems.
type wire struct {
	cut     bool
	clogged bool
	waits   []*flight
}

// flight is a frame on its way.
type flight struct {
	llt.FrameIn
	from, to int
	next     *flight
}

func (w *World) newNetwork(links int) {
	n := len(w.nodes)
	w.network = network{w: w, links: links, disk: -1, wires: make([]wire, n*n*links)}
	if w.swarm.DiskRegion {
		w.network.disk = links - 1
	}
}

func (nw *network) wire(from, to, link int) *wire {
	return &nw.wires[(from*len(nw.w.nodes)+to)*nw.links+link]
}

func (nw *network) take() *flight {
	f := nw.free
	if f == nil {
		return &flight{}
	}
	nw.free, f.next = f.next, nil
	return f
}

func (nw *network) give(f *flight) { f.next, nw.free = nw.free, f }

// addressOf is a system's address on every link.
func addressOf(node int) []byte { return addresses[node][:] }

var addresses = func() (out [64][1]byte) {
	for i := range out {
		out[i][0] = byte(i)
	}
	return out
}()

// send puts a frame on a link.
func (nw *network) send(n *node, f *llt.FrameOut) {
	if n.dark[f.Link] {
		return
	}
	nw.w.mix(uint64(checksum(f.Data)))
	if f.Dst != nil {
		nw.copyTo(n, int(f.Dst[0]), f)
		return
	}
	for to := range nw.w.nodes {
		if to != n.id {
			nw.copyTo(n, to, f)
		}
	}
}

func (nw *network) copyTo(n *node, to int, f *llt.FrameOut) {
	if to == n.id || to >= len(nw.w.nodes) {
		return
	}
	copies, calm := 1, nw.w.calm
	if !calm {
		switch r := nw.w.net.n(10000); {
		case r < nw.loss:
			return
		case r < nw.loss+nw.dup:
			copies = 2
		}
	}
	for range copies {
		fl := nw.take()
		fl.from, fl.to, fl.Link, fl.Src, fl.Data = n.id, to, f.Link, addressOf(n.id), append(fl.Data[:0], f.Data...)
		if !calm && nw.corrupt > 0 && nw.w.net.n(10000) < nw.corrupt {
			at := nw.w.net.n(8 * len(fl.Data))
			fl.Data[at/8] ^= 1 << (at % 8)
			nw.w.oracle.count("frames corrupted")
		}
		nw.launch(fl)
	}
}

// launch sends a frame on its way, or lets it wait where the wire is clogged.
func (nw *network) launch(fl *flight) {
	wi := nw.wire(fl.from, fl.to, int(fl.Link))
	switch {
	case wi.cut:
		nw.give(fl)
		return
	case wi.clogged && len(wi.waits) < 4096:
		wi.waits = append(wi.waits, fl)
		return
	case wi.clogged:
		nw.give(fl)
		return
	}
	w := nw.w
	d := w.net.between(20*time.Microsecond, w.swarm.WireDelay) + w.nodes[fl.from].slow + w.nodes[fl.to].slow
	if !w.calm && nw.late > 0 && w.net.n(10000) < nw.late {
		d += w.net.between(0, w.swarm.LateBy) // others overtake it
	}
	w.serial++
	w.agenda.push(item{at: w.now.Add(d), serial: w.serial, frame: fl})
}

// arrive hands a frame to whoever is there.
func (w *World) arrive(fl *flight) {
	n := w.nodes[fl.to]
	g := n.gab
	switch {
	case g == nil || g.dead || n.dark[fl.Link] || w.network.wire(fl.from, fl.to, int(fl.Link)).cut:
		w.network.give(fl)
	case g.stuck():
		g.hold(fl)
	default:
		g.frame(fl)
	}
}

// cutWire stops one direction of all links between two systems; cutLink of one.
func (w *World) cutWire(from, to int) {
	for l := range w.network.links {
		if l != w.network.disk { // a disk knows no partition
			w.cutLink(from, to, l)
		}
	}
}

func (w *World) cutLink(from, to, link int) {
	if from != to {
		w.network.wire(from, to, link).cut = true
	}
}

func (w *World) restoreWire(from, to int) {
	for l := range w.network.links {
		w.network.wire(from, to, l).cut = false
	}
}

func (w *World) cutBoth(a, b int) {
	w.cutWire(a, b)
	w.cutWire(b, a)
}

// heal restores every wire and every interface.
func (w *World) heal() {
	for i := range w.network.wires {
		w.network.wires[i].cut = false
		w.unclog(&w.network.wires[i])
	}
	for _, n := range w.nodes {
		for l := range n.dark {
			n.lighten(l)
		}
	}
}

// clog lets frames wait; unclog lets all of them go at once.
func (w *World) unclog(wi *wire) {
	if !wi.clogged {
		return
	}
	wi.clogged = false
	waits := wi.waits
	wi.waits = nil
	for _, fl := range waits {
		w.network.launch(fl)
	}
}

// darken takes an interface away, lighten brings it back: LLT is told.
func (n *node) darken(link int) {
	if n.dark[link] {
		return
	}
	n.dark[link] = true
	if g := n.gab; g != nil {
		n.w.run(g.proc, func() { g.turn(llt.LinkDown{Link: llt.LinkID(link)}, nil) })
	}
}

func (n *node) lighten(link int) {
	if !n.dark[link] {
		return
	}
	n.dark[link] = false
	if g := n.gab; g != nil {
		n.w.run(g.proc, func() { g.turn(llt.LinkUp{Link: llt.LinkID(link)}, nil) })
	}
}

// profile returns the timers of a swarm.
func profile(name string) llt.Timers {
	t, _ := llt.Profile("default")
	if name == "default" {
		return t
	}
	if name == "fast" {
		// Twice as fast as the default: the profile of that name is for machines
		// whose pauses and delays are much shorter than the simulated ones.
		for _, v := range []*time.Duration{&t.Heartbeat, &t.HeartbeatLow, &t.PeerTrouble, &t.PeerTroubleLow, &t.PeerInact, &t.Stall, &t.Retrans, &t.Stable} {
			*v /= 2
		}
		t.PeerTroubleLow = 250 * time.Millisecond
		return t
	}
	// "coarse": as fast to detect as the default, with half as many heartbeats.
	t.Heartbeat, t.HeartbeatLow = 220*time.Millisecond, 220*time.Millisecond
	t.PeerTrouble, t.PeerTroubleLow = 450*time.Millisecond, 450*time.Millisecond
	return t
}

func (w *World) timers() llt.Timers { return profile(w.swarm.Profile) }
