package link

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/realtime"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// What the ends of the benchmark play: a bare exchange over mdlayher/raw, and
// messages of LLT in the clear and sealed. All are open all the time; the
// pinging end uses one after the other, by turns.
var exchanges = []string{"bare", "clear", "sealed"}

const roundTrips = 2000 // of each exchange in one turn

// pinger is an end of LLT whose user answers, or pings, within the turn in
// which a message is delivered, as gab's core does.
type pinger struct {
	mu    sync.Mutex
	set   *Set
	core  *llt.Core
	timer *time.Timer
	out   []llt.Effect
	send  llt.Send
	msg   []byte
	peer  llt.NodeID
	echo  bool
	up    chan struct{} // closed when the peer is there
	left  int           // pings to go
	began time.Time
	times []time.Duration
	done  chan struct{}
}

func newPinger(spec conf.Link, node llt.NodeID, key llt.Key) (*pinger, error) {
	specs := []conf.Link{spec}
	timers, _ := llt.Profile("default")
	cfg := llt.Config{Cluster: 9, Node: node, Incarnation: 1, Links: Configs(specs), Peers: []llt.NodeID{0, 1}, Timers: timers, Key: key}
	rand.Read(cfg.BootID[:])
	rand.Read(cfg.Seed[:])
	p := &pinger{peer: 1 - node, echo: node == 1, msg: make([]byte, 64), up: make(chan struct{}), done: make(chan struct{}, 1)}
	var err error
	if p.core, err = llt.New(cfg); err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(time.Millisecond, func() { p.take(nil) })
	p.set, err = Open(Config{Links: specs, Cluster: 9, MayGo: func() bool { return true }, Take: p.take, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	return p, err
}

func (p *pinger) take(events []llt.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.step(llt.CoreAlive{})
	for _, ev := range events {
		p.step(ev)
	}
	p.end()
}

func (p *pinger) end() {
	p.set.Flush(p.core.Recycle)
	if at, ok := p.core.Deadline(); ok {
		p.timer.Reset(max(0, at.Sub(clock())))
	}
}

func (p *pinger) step(ev llt.Event) {
	p.out = p.core.Step(clock(), ev, p.out[:0])
	answers := 0
	for _, e := range p.out {
		switch e := e.(type) {
		case *llt.FrameOut:
			if !p.set.Send(e) {
				p.core.Recycle(e)
			}
		case *llt.Deliver:
			answers++
		case llt.PeerUp:
			close(p.up)
		}
	}
	for range answers {
		p.delivered()
	}
}

func (p *pinger) delivered() {
	if p.echo {
		p.say()
		return
	}
	p.times = append(p.times, time.Since(p.began))
	if p.left--; p.left > 0 {
		p.say()
	} else {
		p.done <- struct{}{}
	}
}

func (p *pinger) say() {
	p.began = time.Now()
	p.send = llt.Send{ID: p.send.ID + 1, To: p.peer, Msg: p.msg}
	p.step(&p.send)
}

func (p *pinger) pings(n int) []time.Duration {
	<-p.up
	p.mu.Lock()
	p.left, p.times = n, p.times[:0]
	p.say()
	p.end()
	p.mu.Unlock()
	<-p.done
	return p.times
}

// TestNoAllocationPerFrameOnLinks: messages there and back over real sockets
// allocate nothing in steady state, sealed or not, in either end.
func TestNoAllocationPerFrameOnLinks(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	if !batchCalls() {
		t.Skip("batch system calls are not allowed here; mdlayher/raw allocates")
	}
	for _, key := range []llt.Key{nil, llt.Key(strings.Repeat("k", 32))} {
		ports := freePorts(t, 2)
		ends := make([]*pinger, 2)
		for i := range ends {
			spec := conf.Link{Tag: "a", Kind: conf.UDP, SAP: uint16(ports[i]), MTU: 8192, Local: netip.MustParseAddr("127.0.0.1")}
			spec.Peers = []conf.PeerAddr{{Node: llt.NodeID(1 - i), UDP: netip.AddrPortFrom(spec.Local, uint16(ports[1-i]))}}
			var err error
			if ends[i], err = newPinger(spec, llt.NodeID(i), key); err != nil {
				t.Fatal(err)
			}
			defer ends[i].set.Close()
		}
		ends[0].pings(2000)
		// 400 messages of 64 bytes need two blocks of the memory that small
		// messages share; a timer of the runtime may cost some more.
		// On a busy machine frames are sent again and threads are started: the
		// least of many runs is what a frame costs.
		n := testing.AllocsPerRun(2, func() { ends[0].pings(200) })
		for i := 0; n > 20 && i < 30; i++ {
			n = min(n, testing.AllocsPerRun(2, func() { ends[0].pings(200) }))
		}
		if n > 20 {
			t.Errorf("encrypted=%t: 400 messages in as many frames cost %v allocations", key != nil, n)
		}
	}
}

// bare is the same exchange over mdlayher/raw alone.
type bare struct {
	port *rawPort
	buf  []byte
}

func newBare(dev string) (*bare, error) {
	ifi, err := net.InterfaceByName(dev)
	if err != nil {
		return nil, err
	}
	p, err := openRaw(ifi, 0xcafd, nil)
	if err != nil {
		return nil, err
	}
	return &bare{port: p.(*rawPort), buf: make([]byte, 2000)}, nil
}

func (b *bare) echo() {
	for {
		n, from, err := b.port.conn.ReadFrom(b.buf)
		if err != nil {
			return
		}
		copy(b.buf, b.buf[6:12])
		copy(b.buf[6:], b.port.own)
		if _, err := b.port.conn.WriteTo(b.buf[:n], from); err != nil {
			return
		}
	}
}

func (b *bare) pings(n int) ([]time.Duration, error) {
	var times []time.Duration
	frame := make([]byte, etherHeader+64)
	copy(frame, etherBroadcast)
	copy(frame[6:], b.port.own)
	frame[12], frame[13] = 0xca, 0xfd
	to := b.port.conn.LocalAddr()
	for range n {
		began := time.Now()
		if _, err := b.port.conn.WriteTo(frame, to); err != nil {
			return nil, err
		}
		_, from, err := b.port.conn.ReadFrom(b.buf)
		if err != nil {
			return nil, err
		}
		to = from
		copy(frame, b.buf[6:12])
		times = append(times, time.Since(began))
	}
	return times, nil
}

// TestRoundTripEnd is no test of its own: BenchmarkRealRoundTrip runs it at
// both ends of a link.
func TestRoundTripEnd(t *testing.T) {
	dev, pinging := os.Getenv("LLT_ROUNDTRIP_DEV"), os.Getenv("LLT_ROUNDTRIP_PING") == "1"
	if dev == "" {
		t.Skip("runs as a part of BenchmarkRealRoundTrip only")
	}
	realtime.Take(slog.New(slog.NewTextHandler(io.Discard, nil)), realtime.Gab)
	node := llt.NodeID(1)
	if pinging {
		node = 0
	}
	b, err := newBare(dev)
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]*pinger{}
	for name, key := range map[string]llt.Key{"clear": nil, "sealed": llt.Key(strings.Repeat("k", 32))} {
		sap := uint16(0xcafe)
		if key != nil {
			sap = 0xcaff
		}
		if ends[name], err = newPinger(conf.Link{Tag: "a", Kind: conf.Ether, Device: dev, SAP: sap}, node, key); err != nil {
			t.Fatal(err)
		}
	}
	if !pinging {
		go b.echo() // ends with the process
	}
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	for in.Scan() {
		times := map[string][]time.Duration{}
		for _, name := range exchanges {
			if name == "bare" {
				times[name], err = b.pings(roundTrips)
			} else {
				times[name] = slices.Clone(ends[name].pings(roundTrips))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		medians := map[string]int64{}
		for name, ts := range times {
			slices.Sort(ts)
			medians[name] = int64(ts[len(ts)/2])
		}
		text, err := json.Marshal(medians)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println(string(text))
	}
}

// BenchmarkRealRoundTrip is a message of 64 bytes there and back between two
// network namespaces over one veth: bare over mdlayher/raw, over LLT in the
// clear, over LLT sealed, by turns in one run. The figures are medians.
func BenchmarkRealRoundTrip(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root for network namespaces and raw sockets")
	}
	ns := []string{fmt.Sprintf("ekr%d-0", os.Getpid()), fmt.Sprintf("ekr%d-1", os.Getpid())}
	for _, n := range ns {
		if out, err := exec.Command("ip", "netns", "add", n).CombinedOutput(); err != nil {
			b.Skipf("cannot make network namespaces here: %v: %s", err, out)
		}
		defer exec.Command("ip", "netns", "del", n).Run()
	}
	for _, args := range []string{"link add rt0 type veth peer name rt0 netns " + ns[1], "link set rt0 up"} {
		if out, err := exec.Command("ip", append([]string{"-n", ns[0]}, strings.Fields(args)...)...).CombinedOutput(); err != nil {
			b.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	if out, err := exec.Command("ip", "-n", ns[1], "link", "set", "rt0", "up").CombinedOutput(); err != nil {
		b.Fatalf("ip: %v: %s", err, out)
	}
	var in io.Writer
	var out *bufio.Scanner
	for i := range 2 {
		c := exec.Command("ip", "netns", "exec", ns[i], os.Args[0], "-test.run", "^TestRoundTripEnd$")
		c.Env = append(os.Environ(), "LLT_ROUNDTRIP_DEV=rt0", fmt.Sprintf("LLT_ROUNDTRIP_PING=%d", 1-i))
		c.Stderr = os.Stderr
		w, err := c.StdinPipe()
		if err != nil {
			b.Fatal(err)
		}
		r, err := c.StdoutPipe()
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		defer c.Wait()
		defer w.Close()
		lines := bufio.NewScanner(r)
		if !lines.Scan() || lines.Text() != "ready" {
			b.Fatalf("end %d did not start: %s", i, lines.Text())
		}
		if i == 0 {
			in, out = w, lines
		}
	}
	all := map[string][]float64{}
	turns := 0
	for b.Loop() {
		turns++
		fmt.Fprintln(in, "go")
		if !out.Scan() {
			b.Fatal("the pinging end is gone")
		}
		medians := map[string]int64{}
		if err := json.Unmarshal(out.Bytes(), &medians); err != nil {
			b.Fatalf("%v: %s", err, out.Text())
		}
		for name, ns := range medians {
			all[name] = append(all[name], float64(ns)/1000)
		}
	}
	for _, name := range exchanges {
		slices.Sort(all[name])
		b.ReportMetric(all[name][len(all[name])/2], name+"-µs")
	}
	for _, name := range exchanges[1:] {
		b.ReportMetric(all[name][len(all[name])/2]/all["bare"][len(all["bare"])/2], name+"/bare")
	}
}
