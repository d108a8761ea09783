package llt

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt/frame"
)

// network is a small world for cores: links that lose, delay, duplicate and
// cut; one clock; everything in one goroutine. Addresses are node ids.
type network struct {
	t     testing.TB
	now   vclock.Time
	rand  func(n int) int
	nodes []*node
	fly   []flight
	order uint64

	loss, dup int // per cent
	delay     vclock.Duration
	jitter    vclock.Duration
	cut       map[[3]int]bool // from, to, link: frames vanish
	record    bool
	recorded  []flight
	pass      func(l LinkID, size int) bool // nil: frames of any size pass
	quiet     bool                          // no checks of what was delivered
	tape      func(n *node, ev Event, effects []Effect)
	counters  map[nonce]bool // that were used
}

type node struct {
	id     int
	core   *Core
	paused bool
	stuck  bool // its gab core makes no steps
	dead   bool
	log    []string
	got    map[NodeID]*connLog // per peer
	sent   map[NodeID][]sentMsg
	conns  map[NodeID]uint64
	nextID uint64
	done   map[uint64]bool
	blockd map[NodeID]bool
	beats  *Beats // lent last
	used   bool   // some of them were sent
}

// nonce is what must never be used twice (R20).
type nonce struct {
	node uint8
	boot uint32
	link uint8
	n    uint64
}

type connLog struct {
	conn uint64
	msgs []string
}

type sentMsg struct {
	id  uint64
	msg string
}

type flight struct {
	at       vclock.Time
	order    uint64
	from, to int
	link     LinkID
	data     []byte
}

func newNetwork(t testing.TB, seed uint64) *network {
	state := seed*2862933555777941757 + 3037000493
	return &network{
		t: t, delay: 100 * time.Microsecond, cut: map[[3]int]bool{}, counters: map[nonce]bool{},
		rand: func(n int) int {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			return int(state % uint64(n))
		},
	}
}

// config is the configuration of a node: links high-priority ones, then low.
func (w *network) config(id, start, high, low int, key Key) Config {
	cfg := Config{Cluster: 7, Node: NodeID(id), Incarnation: uint64(id)<<8 | uint64(start), Key: key}
	for i := range high + low {
		cfg.Links = append(cfg.Links, LinkConfig{Tag: fmt.Sprintf("l%d", i), LowPriority: i >= high, MTU: 1500})
	}
	cfg.BootID = [32]byte{byte(id) + 1, byte(start) + 1, 0xb0, 0x07}
	cfg.Seed = [32]byte{byte(id), byte(start), 0x5e, 0xed}
	return cfg
}

func (w *network) start(cfg Config) *node {
	w.t.Helper()
	core, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{id: int(cfg.Node), core: core, got: map[NodeID]*connLog{}, sent: map[NodeID][]sentMsg{}, conns: map[NodeID]uint64{}, done: map[uint64]bool{}, blockd: map[NodeID]bool{}}
	for i, old := range w.nodes {
		if old.id == n.id && old.dead {
			w.nodes[i] = n
		}
	}
	if w.find(n.id) != n {
		w.nodes = append(w.nodes, n)
	}
	w.step(n, CoreAlive{})
	for i := range cfg.Links {
		w.step(n, LinkUp{Link: LinkID(i)})
	}
	return n
}

func (w *network) find(id int) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (w *network) step(n *node, ev Event) {
	said := ev
	if f, ok := ev.(*FrameIn); ok && w.tape != nil { // opened in place
		said = &FrameIn{Link: f.Link, Src: f.Src, Data: bytes.Clone(f.Data)}
	}
	effects := n.core.Step(w.now, ev, nil)
	if w.tape != nil {
		w.tape(n, said, effects)
	}
	for _, e := range effects {
		w.effect(n, e)
	}
}

func (w *network) effect(n *node, e Effect) {
	if f, ok := e.(*FrameOut); ok {
		w.carry(n, f)
		return
	}
	if b, ok := e.(*Beats); ok {
		n.beats = b
		return
	}
	n.log = append(n.log, fmt.Sprintf("%s n%d %s", w.now, n.id, e))
	switch e := e.(type) {
	case PeerUp:
		if n.conns[e.Node] != 0 {
			w.t.Fatalf("n%d: PeerUp of %d while connection %d is open", n.id, e.Node, n.conns[e.Node])
		}
		n.conns[e.Node] = e.Conn
		n.got[e.Node] = &connLog{conn: e.Conn}
		n.blockd[e.Node] = false
	case PeerDown:
		if n.conns[e.Node] != e.Conn {
			w.t.Fatalf("n%d: PeerDown of connection %d, open is %d", n.id, e.Conn, n.conns[e.Node])
		}
		n.conns[e.Node] = 0
	case *Deliver:
		g := n.got[e.From]
		if g == nil || g.conn != e.Conn || n.conns[e.From] != e.Conn {
			w.t.Fatalf("n%d: delivery outside its connection: %s", n.id, e)
		}
		g.msgs = append(g.msgs, string(e.Msg))
		if !w.quiet {
			w.checkPrefix(e.From, NodeID(n.id), g)
		}
	case *SendDone:
		if n.done[e.ID] {
			w.t.Fatalf("n%d: two answers to send %d", n.id, e.ID)
		}
		n.done[e.ID] = true
	case SendBlocked:
		n.blockd[e.Node] = true
	case SendReady:
		n.blockd[e.Node] = false
	}
}

// checkPrefix: what one connection delivered is a run of what was sent, in
// order, nothing twice, nothing left out.
func (w *network) checkPrefix(from, to NodeID, g *connLog) {
	s := w.find(int(from)).sent[to]
	last := g.msgs[len(g.msgs)-1]
	first := g.msgs[0]
	for i, m := range s {
		if m.msg != first {
			continue
		}
		k := i + len(g.msgs) - 1
		if k >= len(s) || s[k].msg != last {
			w.t.Fatalf("n%d delivered %q from n%d as number %d of its connection; that is not what was sent", to, last, from, len(g.msgs))
		}
		return
	}
	w.t.Fatalf("n%d delivered %q, which n%d never sent", to, first, from)
}

func (w *network) carry(from *node, f *FrameOut) {
	h, _, err := frame.Parse(f.Data)
	if err != nil {
		w.t.Fatalf("n%d sends %x: %v", from.id, f.Data, err)
	}
	used := nonce{node: h.Src, boot: h.BootTag, link: h.Link, n: h.Counter}
	if w.counters[used] {
		w.t.Fatalf("n%d uses counter %d of link %d twice (R20)", from.id, h.Counter, h.Link)
	}
	w.counters[used] = true
	for _, to := range w.nodes {
		if to == from || (f.Dst != nil && int(f.Dst[0]) != to.id) {
			continue
		}
		copies := 1
		if w.rand(100) < w.dup {
			copies = 2
		}
		for range copies {
			fl := flight{from: from.id, to: to.id, link: f.Link, data: bytes.Clone(f.Data)}
			if w.record {
				w.recorded = append(w.recorded, fl)
			}
			if w.cut[[3]int{from.id, to.id, int(f.Link)}] || w.rand(100) < w.loss || (w.pass != nil && !w.pass(f.Link, len(f.Data))) {
				continue
			}
			fl.at = w.now.Add(w.delay)
			if w.jitter > 0 {
				fl.at = fl.at.Add(vclock.Duration(w.rand(int(w.jitter))))
			}
			w.launch(fl)
		}
	}
}

func (w *network) launch(fl flight) {
	w.order++
	fl.order = w.order
	i := sort.Search(len(w.fly), func(i int) bool { return w.fly[i].at > fl.at })
	w.fly = append(w.fly, flight{})
	copy(w.fly[i+1:], w.fly[i:])
	w.fly[i] = fl
}

// run lets the world go on for a time.
func (w *network) run(d vclock.Duration) {
	end := w.now.Add(d)
	for {
		next, who := end, (*node)(nil)
		for _, n := range w.nodes {
			if at, ok := n.core.Deadline(); ok && !n.dead && !n.paused && at < next {
				next, who = max(at, w.now), n
			}
		}
		if len(w.fly) > 0 && w.fly[0].at <= next && w.fly[0].at < end {
			fl := w.fly[0]
			w.fly = w.fly[1:]
			w.now = max(fl.at, w.now)
			if n := w.find(fl.to); n != nil && !n.dead && !n.paused {
				if !n.stuck {
					w.step(n, CoreAlive{})
				}
				w.step(n, &FrameIn{Link: fl.link, Src: []byte{byte(fl.from)}, Data: bytes.Clone(fl.data)})
			}
			continue
		}
		if who == nil {
			w.now = end
			return
		}
		w.now = next
		if !who.stuck {
			w.step(who, CoreAlive{})
		}
		w.step(who, Wake{})
	}
}

func (w *network) send(from, to int, msg string) uint64 {
	n := w.find(from)
	n.nextID++
	n.sent[NodeID(to)] = append(n.sent[NodeID(to)], sentMsg{id: n.nextID, msg: msg})
	w.step(n, &Send{ID: n.nextID, To: NodeID(to), Msg: []byte(msg)})
	return n.nextID
}

// lend lets a node lend its beats anew, if the last ones are old.
func (w *network) lend(n *node) {
	if n.core.BeatsOld() || n.used {
		n.used = false
		w.step(n, LendBeats{})
	}
}

// beat sends what a node lent and what is due, its core having made no step
// for age. It reports false if counters are used up.
func (w *network) beat(n *node, age vclock.Duration) bool {
	for i := range n.beats.Len() {
		l, dst, every := n.beats.To(i)
		if age%every != 0 {
			continue
		}
		data, ok := n.beats.Frame(i, age, nil)
		if !ok {
			return false
		}
		n.used = true
		w.carry(n, &FrameOut{Link: l, Dst: dst, Data: data, Urgent: true})
	}
	return true
}

func (w *network) setCut(a, b, link int, cut bool) {
	w.cut[[3]int{a, b, link}], w.cut[[3]int{b, a, link}] = cut, cut
}

// log returns the effects since the last call, without frames and sends that
// succeeded.
func (w *network) log() string {
	var lines []string
	for _, n := range w.nodes {
		lines = append(lines, n.log...)
		n.log = nil
	}
	sort.SliceStable(lines, func(i, j int) bool {
		a, _, _ := strings.Cut(lines[i], " ")
		b, _, _ := strings.Cut(lines[j], " ")
		return len(a) < len(b) || (len(a) == len(b) && a < b)
	})
	return strings.Join(lines, "\n")
}

func (w *network) allOpen() bool {
	for _, n := range w.nodes {
		for _, m := range w.nodes {
			if n != m && !n.dead && !m.dead && n.conns[NodeID(m.id)] == 0 {
				return false
			}
		}
	}
	return true
}

func counter(c *Core, name string) uint64 {
	for _, k := range c.Counters() {
		if k.Name == name {
			return k.Value
		}
	}
	panic("no counter " + name)
}
