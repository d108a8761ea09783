package sim

import (
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/gab"
)

// silenceTime is LLT's peerinact: so long nothing must be heard until a peer
// is down.
const silenceTime = 600 * time.Millisecond

// pair is the connection of two systems as LLT gives it to gab: in order, each
// message once, none missing, until it breaks.
type pair struct {
	ends [2]int
	conn uint64 // 0: down
	told [2]bool
	cut  [2]bool // from ends[i] to the other
	last [2]vclock.Time
	held [2][]func()
	// mute counts reasons for silence; the check that was begun for an earlier
	// count is out of date.
	mute uint64
}

func (w *World) pairOf(a, b int) *pair {
	for _, p := range w.pairs {
		if p.ends == [2]int{min(a, b), max(a, b)} {
			return p
		}
	}
	panic("no such pair")
}

func (p *pair) side(from int) int {
	if p.ends[0] == from {
		return 0
	}
	return 1
}

func (p *pair) whole() bool { return !p.cut[0] && !p.cut[1] }

// connect brings a connection up once both ends run and hear each other.
func (w *World) connect(p *pair) {
	w.after(w.net.between(time.Millisecond, 150*time.Millisecond), func() {
		a, b := w.nodes[p.ends[0]].gab, w.nodes[p.ends[1]].gab
		if p.conn != 0 || p.told[0] || p.told[1] || !p.whole() || a == nil || b == nil || a.dead || b.dead || a.stuck() || b.stuck() {
			return
		}
		w.conns++
		conn := w.conns
		p.conn, p.last = conn, [2]vclock.Time{w.now, w.now}
		for side, g := range []*gabd{a, b} {
			other := []*gabd{b, a}[side]
			p.told[side] = true
			d := w.net.between(0, 20*time.Millisecond)
			p.last[1-side] = w.now.Add(d)
			w.later(g.proc, d, func() {
				if p.conn == conn {
					g.conns[other.n.id] = conn
					w.stepGab(g, gab.PeerUp{Node: gab.NodeID(other.n.id), Incarnation: other.inc, Conn: conn})
				}
			})
		}
	})
}

// sever breaks a connection: what is under way is lost, each end learns of it
// in its own time.
func (w *World) sever(p *pair, lo, hi time.Duration) {
	if p.conn == 0 {
		return
	}
	conn := p.conn
	p.conn, p.held = 0, [2][]func(){}
	for side, id := range p.ends {
		g, other := w.nodes[id].gab, p.ends[1-side]
		w.after(w.net.between(lo, hi), func() {
			p.told[side] = false
			if g != nil {
				w.run(g.proc, func() {
					if g.conns[other] == conn {
						g.conns[other] = 0
						w.stepGab(g, gab.PeerDown{Node: gab.NodeID(other), Conn: conn})
					}
				})
			}
			w.connect(p)
		})
	}
}

// hush begins a silence on a pair: if it lasts, the peers are down for each
// other.
func (w *World) hush(p *pair, still func() bool) {
	p.mute++
	mute := p.mute
	w.after(w.net.between(silenceTime, silenceTime+80*time.Millisecond), func() {
		if p.mute == mute && still() {
			w.sever(p, 0, 60*time.Millisecond)
		}
	})
}

// silence is a machine that stands still.
func (w *World) silence(n *node, d time.Duration) {
	for _, p := range w.pairs {
		if p.ends[0] == n.id || p.ends[1] == n.id {
			g := n.gab
			w.hush(p, func() bool { return g != nil && !g.dead && g.stuck() })
		}
	}
}

// lostFromWires is a machine or a gab that is no more.
func (w *World) lostFromWires(n *node) {
	for _, p := range w.pairs {
		if p.ends[0] == n.id || p.ends[1] == n.id {
			w.sever(p, 500*time.Millisecond, 680*time.Millisecond)
		}
	}
}

// cutWire stops one direction; restoreWire lets it flow again. A message waits
// for at most the silence that ends the connection.
func (w *World) cutWire(from, to int) {
	p := w.pairOf(from, to)
	if p.cut[p.side(from)] {
		return
	}
	p.cut[p.side(from)] = true
	w.hush(p, func() bool { return !p.whole() })
}

func (w *World) restoreWire(from, to int) {
	p := w.pairOf(from, to)
	side := p.side(from)
	if !p.cut[side] {
		return
	}
	p.cut[side] = false
	held := p.held[side]
	p.held[side] = nil
	for _, do := range held {
		do()
	}
	if p.whole() {
		p.mute++
	}
	w.connect(p)
}

func (w *World) heal() {
	for _, p := range w.pairs {
		w.restoreWire(p.ends[0], p.ends[1])
		w.restoreWire(p.ends[1], p.ends[0])
	}
}

// carry is a message of gab to a peer.
func (w *World) carry(g *gabd, e gab.TransportSend) {
	p := w.pairOf(g.n.id, int(e.To))
	if p.conn != e.Conn || g.conns[e.To] != e.Conn {
		return
	}
	side := p.side(g.n.id)
	to := w.nodes[e.To].gab
	fly := func() {
		hi := time.Millisecond
		if w.net.one(15) {
			hi = w.swarm.wireDelay
		}
		at := max(p.last[side], w.now.Add(w.net.between(50*time.Microsecond, hi)+g.n.slow+w.nodes[e.To].slow))
		p.last[side] = at
		w.after(at.Sub(w.now), func() {
			arrive := func() {
				if p.conn == e.Conn && to != nil {
					w.run(to.proc, func() {
						if to.conns[g.n.id] == e.Conn {
							w.stepGab(to, gab.MsgIn{From: gab.NodeID(g.n.id), Conn: e.Conn, Msg: e.Msg})
						}
					})
				}
			}
			if p.cut[side] {
				p.held[side] = append(p.held[side], arrive)
				return
			}
			arrive()
		})
	}
	if p.cut[side] {
		p.held[side] = append(p.held[side], fly)
		return
	}
	fly()
}
