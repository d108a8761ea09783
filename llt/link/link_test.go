package link

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/llt/conf"
)

// driver runs a real core over real links and writes its effects as lines.
// Whoever holds the turn owns the core.
type driver struct {
	set   *Set
	turn  sync.Mutex
	core  *llt.Core
	out   io.Writer
	sent  uint64
	timer *time.Timer
	beats *llt.Beats
}

func clock() vclock.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return vclock.Time(ts.Nano())
}

func startDriver(llttab string, node llt.NodeID, out io.Writer) (*driver, error) {
	tab, err := conf.ParseTab("llttab", llttab)
	if err != nil {
		return nil, err
	}
	cfg := llt.Config{
		Cluster: tab.Cluster, Node: node, Incarnation: uint64(node) + 100, Links: Configs(tab.Links),
		Peers: []llt.NodeID{0, 1}, Timers: tab.Timers, Key: bytes.Repeat([]byte{5}, 32),
	}
	rand.Read(cfg.BootID[:])
	rand.Read(cfg.Seed[:])
	core, err := llt.New(cfg)
	if err != nil {
		return nil, err
	}
	d := &driver{core: core, out: out}
	d.turn.Lock()
	defer d.turn.Unlock()
	d.timer = time.AfterFunc(time.Hour, func() { d.take(nil) })
	d.set, err = Open(Config{
		Links: tab.Links, Cluster: tab.Cluster, Node: node, MayGo: func() bool { return true }, Take: d.take,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return d, err
}

func (d *driver) close() {
	d.timer.Stop()
	d.set.Close()
}

// say sends a message: "send TO TEXT".
func (d *driver) say(line string) {
	f := strings.Fields(line)
	to, _ := strconv.Atoi(f[1])
	d.turn.Lock()
	defer d.turn.Unlock()
	d.sent++
	d.step(clock(), &llt.Send{ID: d.sent, To: llt.NodeID(to), Msg: []byte(f[2])})
	d.end()
}

func (d *driver) take(events []llt.Event) {
	d.turn.Lock()
	defer d.turn.Unlock()
	now := clock()
	d.step(now, llt.CoreAlive{})
	for _, ev := range events {
		d.step(now, ev)
	}
	d.end()
}

func (d *driver) end() {
	d.set.Flush(d.core.Recycle)
	if at, ok := d.core.Deadline(); ok {
		d.timer.Reset(max(0, at.Sub(clock())))
	}
}

func (d *driver) step(now vclock.Time, ev llt.Event) {
	for _, e := range d.core.Step(now, ev, nil) {
		switch e := e.(type) {
		case *llt.FrameOut:
			d.set.Send(e)
		case *llt.Deliver:
			fmt.Fprintf(d.out, "deliver %s\n", e.Msg)
		case *llt.Beats:
			d.beats = e
		default:
			fmt.Fprintln(d.out, e)
		}
	}
}

// lines collects what a driver writes and lets a test wait for a line.
type lines struct {
	t    *testing.T
	mu   sync.Mutex
	text strings.Builder
	from int // waitFor looks from here
	grew *sync.Cond
}

func newLines(t *testing.T) *lines {
	l := &lines{t: t}
	l.grew = sync.NewCond(&l.mu)
	return l
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.grew.Broadcast()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// mark makes waitFor look only at what comes from now on.
func (l *lines) mark() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = l.text.Len()
}

func (l *lines) waitFor(what string) {
	l.t.Helper()
	over := time.AfterFunc(15*time.Second, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.text.WriteString("TIME OVER\n")
		l.grew.Broadcast()
	})
	defer over.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		if strings.Contains(l.text.String()[l.from:], what) {
			return
		}
		if strings.Contains(l.text.String(), "TIME OVER") {
			l.t.Fatalf("%q did not come:\n%s", what, l.text.String())
		}
		l.grew.Wait()
	}
}

func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out = append(out, c.LocalAddr().(*net.UDPAddr).Port)
	}
	return out
}

// TestUDPLoopback is several systems on one host without root.
func TestUDPLoopback(t *testing.T) {
	p := freePorts(t, 4)
	tab := func(own, peer int) string {
		return fmt.Sprintf("set-node %d\nset-cluster 4\nlink a udp - udp %d - 127.0.0.1 -\nlink b udp - udp %d - 127.0.0.1 -\nset-addr %d a 127.0.0.1:%d\nset-addr %d b 127.0.0.1:%d\n",
			own, p[own*2], p[own*2+1], peer, p[peer*2], peer, p[peer*2+1])
	}
	var ds []*driver
	outs := []*lines{newLines(t), newLines(t)}
	for i := range 2 {
		d, err := startDriver(tab(i, 1-i), llt.NodeID(i), outs[i])
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		ds = append(ds, d)
	}
	outs[0].waitFor("peer-up node=1 incarnation=65")
	outs[1].waitFor("peer-up node=0 incarnation=64")
	outs[0].waitFor("up=2")
	for i := range 500 {
		ds[0].say(fmt.Sprintf("send 1 m%d-%s", i, strings.Repeat("x", i*10)))
	}
	outs[1].waitFor("deliver m499-")
	var want strings.Builder
	got := ""
	for i := range 500 {
		fmt.Fprintf(&want, "deliver m%d-%s\n", i, strings.Repeat("x", i*10))
	}
	for line := range strings.Lines(outs[1].String()) {
		if strings.HasPrefix(line, "deliver") {
			got += line
		}
	}
	if got != want.String() {
		t.Fatal("not the messages that were sent, in their order")
	}
}

// TestFilter: the kernel's filter passes frames of the cluster and hellos of
// any, and nothing else.
func TestFilter(t *testing.T) {
	raw, err := etherFilter(0xcafe, 7)
	if err != nil {
		t.Fatal(err)
	}
	prog := make([]bpf.Instruction, len(raw))
	for i, r := range raw {
		prog[i] = r.Disassemble()
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	mk := func(sap int, magic string, kind, cluster byte) []byte {
		f := make([]byte, 80)
		f[12], f[13] = byte(sap>>8), byte(sap)
		copy(f[14:], magic)
		f[16], f[17], f[19] = 1, kind, cluster
		return f
	}
	for _, c := range []struct {
		name  string
		frame []byte
		pass  bool
	}{
		{"own heartbeat", mk(0xcafe, "EK", 3, 7), true},
		{"own hello", mk(0xcafe, "EK", 1, 7), true},
		{"foreign hello", mk(0xcafe, "EK", 1, 8), true},
		{"foreign data", mk(0xcafe, "EK", 4, 8), false},
		{"another ethertype", mk(0x0800, "EK", 3, 7), false},
		{"another protocol", mk(0xcafe, "XX", 3, 7), false},
	} {
		if n, err := vm.Run(c.frame); err != nil || (n > 0) != c.pass {
			t.Errorf("%s: %d bytes pass, error %v", c.name, n, err)
		}
	}
}

// TestInNamespace is no test of its own: TestRealLinks runs it in a namespace.
func TestInNamespace(t *testing.T) {
	tab := os.Getenv("LLT_LINK_TEST_TAB")
	if tab == "" {
		t.Skip("runs as a part of TestRealLinks only")
	}
	text, err := os.ReadFile(tab)
	if err != nil {
		t.Fatal(err)
	}
	node, err := strconv.Atoi(os.Getenv("LLT_LINK_TEST_NODE"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := startDriver(string(text), llt.NodeID(node), os.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if in.Text() == "still" {
			d.still()
		} else {
			d.say(in.Text())
		}
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// twoNamespaces makes two network namespaces that end with the test.
func twoNamespaces(t *testing.T) []string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces and raw sockets")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the command ip of iproute2")
	}
	ns := []string{fmt.Sprintf("ekl%d-0", os.Getpid()), fmt.Sprintf("ekl%d-1", os.Getpid())}
	for _, n := range ns {
		if out, err := exec.Command("ip", "netns", "add", n).CombinedOutput(); err != nil {
			t.Skipf("cannot make network namespaces here: %v: %s", err, out)
		}
		t.Cleanup(func() { exec.Command("ip", "netns", "del", n).Run() })
	}
	return ns
}

// driveIn starts a driver in each namespace, over the given interfaces.
func driveIn(t *testing.T, ns []string, devices ...string) (outs []*lines, in [2]io.Writer) {
	t.Helper()
	outs = []*lines{newLines(t), newLines(t)}
	for i := range 2 {
		file := filepath.Join(t.TempDir(), "llttab")
		text := fmt.Sprintf("set-node %d\nset-cluster 4\n", i)
		for _, dev := range devices {
			text += fmt.Sprintf("link %s %s - ether - -\n", dev, dev)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := exec.Command("ip", "netns", "exec", ns[i], os.Args[0], "-test.run", "^TestInNamespace$", "-test.v")
		c.Env = append(os.Environ(), "LLT_LINK_TEST_TAB="+file, "LLT_LINK_TEST_NODE="+strconv.Itoa(i))
		c.Stdout, c.Stderr = outs[i], outs[i]
		w, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close(); c.Wait() })
		in[i] = w
	}
	return outs, in
}

// TestJumboFrames: a link of 9000 bytes carries large messages in jumbo frames.
// When its other end passes only 1500 any more, the peers stay up, and the
// messages arrive in frames that fit.
func TestJumboFrames(t *testing.T) {
	ns := twoNamespaces(t)
	ip(t, "-n", ns[0], "link", "add", "pj0", "mtu", "9000", "type", "veth", "peer", "name", "pj0", "mtu", "9000", "netns", ns[1])
	ip(t, "-n", ns[0], "link", "set", "pj0", "up")
	ip(t, "-n", ns[1], "link", "set", "pj0", "up")
	outs, in := driveIn(t, ns, "pj0")
	outs[0].waitFor("peer-links node=1 up=1")
	outs[1].waitFor("peer-links node=0 up=1")
	sent := func() (frames, bytes int) {
		for name, into := range map[string]*int{"tx_packets": &frames, "tx_bytes": &bytes} {
			text, err := exec.Command("ip", "netns", "exec", ns[0], "cat", "/sys/class/net/pj0/statistics/"+name).Output()
			if err != nil {
				t.Fatal(err)
			}
			*into, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return frames, bytes
	}
	const messages, size = 60, 50000
	say := func(text string) {
		for i := range messages {
			fmt.Fprintf(in[0], "send 1 %s%d-%s\n", text, i, strings.Repeat("j", size))
		}
		outs[1].waitFor(fmt.Sprintf("deliver %s%d-", text, messages-1))
	}
	frames, bytes := sent()
	say("jumbo")
	after, afterBytes := sent()
	if mean := (afterBytes - bytes) / (after - frames); mean < 3000 && !raceEnabled { // the race detector makes the other end too slow to tell
		t.Errorf("%d bytes of messages went in frames of %d bytes on the average; the link carries 9000", messages*size, mean)
	}
	ip(t, "-n", ns[1], "link", "set", "pj0", "mtu", "1500")
	say("narrow")
	outs[0].waitFor("note path-mtu link=0(pj0) node=1")
	for _, o := range outs {
		if log := o.String(); strings.Contains(log, "peer-down") {
			t.Errorf("the MTU cost the peer:\n%s", strings.ReplaceAll(log, strings.Repeat("j", size), "..."))
		}
	}
}

// TestRealLinks: two namespaces, two veth links with raw Ethernet. One link
// goes down, vanishes and comes back: messages flow on, no peer goes down.
func TestRealLinks(t *testing.T) {
	ns := twoNamespaces(t)
	veth := func(dev string) {
		ip(t, "-n", ns[0], "link", "add", dev, "type", "veth", "peer", "name", dev, "netns", ns[1])
		ip(t, "-n", ns[0], "link", "set", dev, "up")
		ip(t, "-n", ns[1], "link", "set", dev, "up")
	}
	veth("pl0")
	veth("pl1")
	outs, in := driveIn(t, ns, "pl0", "pl1")
	outs[0].waitFor("peer-links node=1 up=2")
	outs[1].waitFor("peer-links node=0 up=2")
	say := func(text string) {
		for i := range 20 {
			fmt.Fprintf(in[0], "send 1 %s%d\n", text, i)
			fmt.Fprintf(in[1], "send 0 %s%d\n", text, i)
		}
		outs[0].waitFor("deliver " + text + "19\n")
		outs[1].waitFor("deliver " + text + "19\n")
	}
	say("both")
	mark := func() { outs[0].mark(); outs[1].mark() }
	mark()
	ip(t, "-n", ns[0], "link", "set", "pl0", "down")
	outs[0].waitFor("note local-link-down link=0(pl0)")
	say("one")
	outs[0].waitFor("peer-links node=1 up=1 jeopardy=true")
	mark()
	ip(t, "-n", ns[0], "link", "set", "pl0", "up")
	outs[0].waitFor("peer-links node=1 up=2 jeopardy=false")
	ip(t, "-n", ns[0], "link", "del", "pl1")
	say("vanished")
	mark()
	veth("pl1")
	outs[1].waitFor("note local-link-up link=1(pl1)")
	say("back")
	outs[1].waitFor("peer-links node=0 up=2 jeopardy=false")
	for _, o := range outs {
		if strings.Contains(o.String(), "peer-down") {
			t.Errorf("one link disturbed the connection:\n%s", o)
		}
	}
}
