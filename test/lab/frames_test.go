package lab

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/llt/frame"
)

const (
	lltType    = 0xcafe
	everything = 0x0003 // ETH_P_ALL
)

// intruder sits at the switch of a lab: it hears every frame of a private link
// and sends what it likes.
type intruder struct {
	out  *packet.Conn   // into the bridge, as if from another cable
	hear []*packet.Conn // at the ends of the cables
}

func (i *intruder) close() {
	for _, c := range append(i.hear, i.out) {
		if c != nil {
			c.Close()
		}
	}
}

// send puts a frame on the link: from a stranger's address to everybody,
// unless whole says that it brings its own Ethernet header.
func (i *intruder) send(payload []byte, whole bool) error {
	b := payload
	if !whole {
		b = append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0xba, 0xd, 1, lltType >> 8, lltType & 0xff}, payload...)
	}
	_, err := i.out.WriteTo(b, &packet.Addr{HardwareAddr: net.HardwareAddr(b[:6])})
	return err
}

// listen collects frames of LLT that go over the link.
func (i *intruder) listen(n int, limit time.Duration) [][]byte {
	var got [][]byte
	end := time.Now().Add(limit)
	buf := make([]byte, 1<<16)
	for len(got) < n && time.Now().Before(end) {
		for _, c := range i.hear {
			if c.SetReadDeadline(time.Now().Add(20*time.Millisecond)) != nil {
				continue
			}
			k, _, err := c.ReadFrom(buf)
			if err == nil && k > 14 && buf[12] == lltType>>8 && buf[13] == lltType&0xff {
				got = append(got, bytes.Clone(buf[:k]))
			}
		}
	}
	return got
}

// intrude opens a private link, by its number from 0, at the lab's switch.
func intrude(t *testing.T, lab string, link int) *intruder {
	t.Helper()
	type result struct {
		i   *intruder
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // the thread ends inside the switch's namespace
		i, err := atSwitch(lab, link)
		done <- result{i, err}
	}()
	r := <-done
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(r.i.close)
	return r.i
}

func atSwitch(lab string, link int) (*intruder, error) {
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		to, err := os.Readlink(fd)
		if err != nil || !strings.HasPrefix(to, "net:[") {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "cmdline"))
		if err != nil || !bytes.Contains(cmdline, []byte("halab")) || !bytes.Contains(cmdline, []byte(lab)) {
			continue
		}
		f, err := os.Open(fd)
		if err != nil {
			continue
		}
		err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		f.Close()
		if err != nil {
			continue
		}
		bridge, err := net.InterfaceByName(fmt.Sprintf("br%d", link))
		if err != nil {
			continue
		}
		return plug(bridge, link)
	}
	return nil, fmt.Errorf("the switch of lab %s is not found", lab)
}

func plug(bridge *net.Interface, link int) (*intruder, error) {
	i := &intruder{}
	var err error
	if i.out, err = packet.Listen(bridge, packet.Raw, lltType, nil); err != nil {
		return nil, err
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, ifi := range all {
		if strings.HasPrefix(ifi.Name, fmt.Sprintf("p%d-", link)) {
			c, err := packet.Listen(&ifi, packet.Raw, everything, nil)
			if err != nil {
				return nil, err
			}
			i.hear = append(i.hear, c)
		}
	}
	return i, nil
}

// counters are lltstat's.
func (c *cluster) counters(system string) map[string]uint64 {
	c.t.Helper()
	out := map[string]uint64{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\d+)\s+(.*)$`).FindAllStringSubmatch(c.must(system, "lltstat"), -1) {
		n, err := strconv.ParseUint(m[1], 10, 64)
		if err != nil {
			c.t.Fatal(err)
		}
		out[strings.TrimSpace(m[2])] = n
	}
	return out
}

// TestHostileFrames: ten thousand and more frames on each private link that no
// system sent, or sent before, change nothing: each is counted, each cause is
// logged once, no peer goes, no view changes and the group stays online.
func TestHostileFrames(t *testing.T) {
	needsRoot(t)
	c := start(t, "testdata/address-fenced", false)
	c.waitGroup("Server1", "svc", "Server1", online, 20*time.Second)
	c.waitSystem("Server1", "Server2", "RUNNING", 20*time.Second)
	w, err := c.Witness(c.ctx, "pub0", "192.168.1.50")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	if err := Until(c.within(5*time.Second), "the witness to hear the owner", heard(w)); err != nil {
		t.Fatal(err)
	}
	members, before := c.must("Server1", "gabconfig", "-a"), c.counters("Server1")
	pids := c.must("Server1", "pgrep", "-x", "gab|fencing|had|hashadow")
	sent := 0
	for link := range 2 {
		i := intrude(t, c.Name, link)
		captured := i.listen(200, 10*time.Second)
		if len(captured) < 100 {
			t.Fatalf("heard only %d frames on link %d", len(captured), link)
		}
		sent += attack(t, i, captured)
	}
	after := map[string]uint64{}
	err = Until(c.within(20*time.Second), "the frames to be counted", func(context.Context) (bool, string) {
		after = c.counters("Server1")
		n := refusedFrames(before, after)
		return n > uint64(sent)/2, fmt.Sprintf("%d of %d: %v", n, sent, after)
	})
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d frames sent, %d counted as refused", sent, refusedFrames(before, after))
	if now := c.must("Server1", "gabconfig", "-a"); now != members {
		t.Errorf("the membership changed:\n%s\nbefore:\n%s", now, members)
	}
	if now := c.must("Server1", "pgrep", "-x", "gab|fencing|had|hashadow"); now != pids {
		t.Errorf("a daemon died: %s, before %s", now, pids)
	}
	c.waitGroup("Server2", "svc", "Server1", online, 5*time.Second)
	seen := w.Stop()
	if len(seen) != 1 || len(Violations(seen)) > 0 {
		t.Errorf("the witness saw a change: %+v", seen)
	}
	c.saidOnce("Server1")
}

// refusedFrames is what the counters of refused frames grew by.
func refusedFrames(before, after map[string]uint64) uint64 {
	n := uint64(0)
	for name, v := range after {
		for _, word := range []string{"malformed", "authentic", "replay", "foreign", "cross", "proven", "generation", "dest", "unconfigured", "loop", "no buffer"} {
			if strings.Contains(strings.ToLower(name), word) {
				n += v - before[name]
				break
			}
		}
	}
	return n
}

// attack sends what must have no effect, and returns how many frames pass the
// kernel's filter.
func attack(t *testing.T, i *intruder, captured [][]byte) int {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	key := make(frame.Key, 32)
	if _, err := crand.Read(key); err != nil {
		t.Fatal(err)
	}
	var boot [frame.BootSize]byte
	if _, err := crand.Read(boot[:]); err != nil {
		t.Fatal(err)
	}
	h, _, err := frame.Parse(captured[0][14:])
	if err != nil {
		t.Fatal(err)
	}
	strange, err := frame.NewSealer(key, h.Cluster, 1, boot)
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for n := range 12000 {
		if n%100 == 99 {
			// Not faster than a link of this machine: the test is about what
			// frames do, and a flood is lost at the socket.
			<-time.After(2 * time.Millisecond)
		}
		old := captured[r.IntN(len(captured))]
		whole, b := false, []byte(nil)
		switch n % 6 {
		case 0: // replayed as it was
			whole, b = true, old
		case 1: // cut short
			whole, b = true, old[:14+4+r.IntN(len(old)-18)]
		case 2: // a bit is another
			whole, b = true, bytes.Clone(old)
			b[18+r.IntN(len(b)-18)] ^= 1 << r.IntN(8)
		case 3: // another cluster's hello
			h := frame.Header{Kind: frame.KindHello, Cluster: h.Cluster + 1 + uint16(r.IntN(5)), Src: 1, Dst: frame.ToAll, Link: h.Link, BootTag: frame.Tag(boot), Boot: boot, Counter: uint64(n + 1)}
			b = frame.Append(nil, h, make([]byte, 8), nil)
		case 4: // this cluster's, with a key of one's own, or none
			s := strange
			if r.IntN(2) == 0 {
				s = nil
			}
			kind := frame.Kind(1 + r.IntN(5))
			h := frame.Header{Kind: kind, Cluster: h.Cluster, Src: uint8(r.IntN(2)), Dst: frame.ToAll, Link: h.Link, BootTag: frame.Tag(boot), Boot: boot, Counter: r.Uint64() | 1}
			b = frame.Append(nil, h, make([]byte, r.IntN(200)), s)
		default: // noise behind a good beginning
			b = make([]byte, 4+r.IntN(1400))
			for k := range b {
				b[k] = byte(r.Uint32())
			}
			copy(b, []byte{'E', 'K'})
			if len(b) > 6 {
				copy(b[2:], []byte{byte(r.IntN(3)), byte(r.IntN(8)), byte(h.Cluster >> 8), byte(h.Cluster)})
			}
		}
		if err := i.send(b, whole); err != nil {
			t.Fatalf("frame %d of %d bytes: %v", n, len(b), err)
		}
		sent++
	}
	return sent
}

// saidOnce: gab's log has each cause once, however many frames there were.
func (c *cluster) saidOnce(system string) {
	c.t.Helper()
	records, err := Records(c.ctx, c.Lab, system, time.Time{})
	if err != nil {
		c.t.Fatal(err)
	}
	said := map[string]int{}
	for _, r := range records {
		if !strings.HasPrefix(r.Msg, "llt ") {
			continue
		}
		key := r.Msg
		for _, name := range []string{"link", "cause", "cluster", "node", "their-link"} {
			if v, ok := r.Fields[name]; ok {
				key += fmt.Sprintf(" %s=%v", name, v)
			}
		}
		said[key]++
	}
	refused := 0
	for key, n := range said {
		for _, about := range []string{"llt frame-refused", "llt foreign-cluster", "llt replayed", "llt cross-link", "llt old-boot-id"} {
			if !strings.HasPrefix(key, about) {
				continue
			}
			refused++
			if n > 1 {
				c.t.Errorf("logged %d times: %s", n, key)
			}
		}
	}
	if refused < 4 || refused > 60 {
		c.t.Errorf("%d causes logged: %v", refused, said)
	}
}
