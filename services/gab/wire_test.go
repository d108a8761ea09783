package gab

import (
	"bytes"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// talk is what two systems say to each other from their start to a clean
// leave, as seeds for the fuzz targets.
func talk(tb testing.TB) [][]byte {
	tb.Helper()
	s := &stage{cores: map[NodeID]*Core{}, conns: map[[2]NodeID]uint64{}, held: map[NodeID]bool{}, wires: true}
	s.cfg = Config{SeedCount: 2}
	var all [][]byte
	run := func(d time.Duration) {
		for range int(d / time.Millisecond) {
			for _, c := range s.wire {
				all = append(all, c.msg)
			}
			s.run(time.Millisecond)
		}
	}
	s.start(0)
	s.start(1)
	run(60 * time.Millisecond)
	s.step(1, Register{Port: PortB, Client: "fencing"})
	s.step(1, Register{Port: PortH, Client: "had"})
	s.step(1, Send{Port: PortH, ID: 1, Payloads: [][]byte{[]byte("x"), nil}})
	s.step(1, Protection{})
	s.step(1, PeerJeopardy{Node: 0, On: true})
	s.step(1, FenceAnswer{View: ViewID{1, 2, 3, 4}, Departed: []Departed{{Member{Node: 3, Incarnation: 9}, EvidenceCut, "why"}}})
	run(20 * time.Millisecond)
	s.start(2)
	run(60 * time.Millisecond)
	s.crash(0)
	run(60 * time.Millisecond)
	s.step(1, Leave{Force: true})
	run(20 * time.Millisecond)
	if len(all) < 30 {
		tb.Fatalf("only %d messages", len(all))
	}
	return all
}

func (s *stage) crash(n NodeID) {
	delete(s.cores, n)
	for _, o := range s.nodes() {
		s.cut(o, n)
	}
}

// FuzzDecode: no input crashes the decoder, and what it accepts is encoded to
// something that it reads the same way.
func FuzzDecode(f *testing.F) {
	for _, b := range talk(f) {
		f.Add(b)
	}
	f.Add([]byte{formatCompact, byte(kindOrdered), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = describeMessage(b)
		m, err := decode(b, SpokenFormats)
		if err != nil {
			return
		}
		format := max(b[0], needed(m.entries))
		one := m.encode(format)
		again, err := decode(one, SpokenFormats)
		if err != nil {
			t.Fatalf("own encoding is refused: %v", err)
		}
		if !bytes.Equal(one, again.encode(format)) {
			t.Fatal("encoding is not stable")
		}
	})
}

// FuzzRestore does the same for the state that joiners get.
func FuzzRestore(f *testing.F) {
	w := newWorld(7, mutNone)
	w.schedule()
	for _, in := range w.insts {
		f.Add(in.core.rep.snapshot())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := restore(b, false)
		if err != nil {
			return
		}
		one := r.snapshot()
		again, err := restore(one, false)
		if err != nil || !bytes.Equal(one, again.snapshot()) {
			t.Fatalf("snapshot is not stable: %v", err)
		}
	})
}

// FuzzPeer: whatever a peer sends in a frame that is whole, the core does not
// crash. Each byte string is one message; pairs of bytes change the talk of a
// real peer.
func FuzzPeer(f *testing.F) {
	msgs := talk(f)
	f.Add([]byte{0, 0, 0}, []byte{})
	f.Add([]byte{3, 12, 7, 9, 20, 1}, msgs[4])
	f.Fuzz(func(t *testing.T, change, extra []byte) {
		c, err := New(Config{Node: 1, Incarnation: 0xa02, Lineage: 5, SeedCount: 2})
		if err != nil {
			t.Fatal(err)
		}
		now := vclock.Time(0)
		out := c.Step(now, PeerUp{Node: 0, Conn: 1}, nil)
		out = c.Step(now, PeerUp{Node: 2, Conn: 1}, out)
		out = c.Step(now, CounterPersisted{ID: 1, OK: true}, out)
		for i, m := range msgs {
			m = bytes.Clone(m)
			for j := 0; j+2 < len(change); j += 3 {
				if int(change[j])%len(msgs) == i && len(m) > 0 {
					m[int(change[j+1])%len(m)] ^= change[j+2]
				}
			}
			now = now.Add(5 * time.Millisecond)
			from := NodeID(0)
			if i%5 == 4 {
				from = 2
			}
			out = c.Step(now, MsgIn{From: from, Conn: 1, Msg: m}, out[:0])
			out = c.Step(now, MsgIn{From: 0, Conn: 1, Msg: extra}, out)
			out = c.Step(now, Wake{}, out)
			for _, e := range out {
				_ = e.String()
			}
			c.Status()
			c.Ports()
			c.Hash()
		}
	})
}

// TestNewRefuses: a configuration that cannot work is an error that says why.
func TestNewRefuses(t *testing.T) {
	good := Config{Node: 1, Incarnation: 2, Lineage: 3}
	for name, bad := range map[string]func(*Config){
		"node id":     func(c *Config) { c.Node = 64 },
		"incarnation": func(c *Config) { c.Incarnation = 0 },
		"lineage":     func(c *Config) { c.Lineage = 0 },
		"seed count":  func(c *Config) { c.SeedCount = 65 },
		"window":      func(c *Config) { c.WindowBytes = 1 },
	} {
		cfg := good
		bad(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
}

// TestFlowControl: a client that is told Blocked and goes on loses what it
// sends; Ready follows when half of the window is free.
func TestFlowControl(t *testing.T) {
	s := &stage{cores: map[NodeID]*Core{}, conns: map[[2]NodeID]uint64{}, held: map[NodeID]bool{}}
	s.cfg = Config{SeedCount: 2, FencingDisabled: true, WindowMessages: 4}
	s.start(0)
	s.start(1)
	s.run(60 * time.Millisecond)
	s.step(1, Register{Port: PortH})
	s.run(20 * time.Millisecond)
	s.out.Reset()
	for i := range 6 {
		s.step(1, Send{Port: PortH, ID: uint64(i + 1), Payloads: [][]byte{{byte('a' + i)}}})
	}
	if got, want := s.out.String(), "blocked port=h"; !bytes.Contains([]byte(got), []byte(want)) ||
		bytes.Count([]byte(got), []byte("LOST")) != 2 {
		t.Errorf("after 6 sends into a window of 4:\n%s", got)
	}
	s.out.Reset()
	s.run(50 * time.Millisecond)
	if got := s.out.String(); bytes.Count([]byte(got), []byte("DELIVERED")) != 4 || !bytes.Contains([]byte(got), []byte("ready port=h")) {
		t.Errorf("after the deliveries:\n%s", got)
	}
}

// TestSingleSystem: a seeded system alone delivers at once.
func TestSingleSystem(t *testing.T) {
	s := &stage{cores: map[NodeID]*Core{}, conns: map[[2]NodeID]uint64{}, held: map[NodeID]bool{}}
	s.cfg = Config{SeedCount: 1, FencingDisabled: true}
	s.start(5)
	s.run(50 * time.Millisecond)
	s.step(5, Register{Port: PortH})
	s.out.Reset()
	s.step(5, Send{Port: PortH, ID: 1, Payloads: [][]byte{[]byte("x")}})
	if !bytes.Contains([]byte(s.out.String()), []byte("outcome port=h id=1 DELIVERED")) {
		t.Errorf("got:\n%s", s.out.String())
	}
	for i := range 1000 {
		s.step(5, Send{Port: PortH, ID: uint64(i + 2), Payloads: [][]byte{make([]byte, 100)}})
	}
	if n := len(s.cores[5].log.entries); n > 10 {
		t.Errorf("%d places are kept when all are stable", n)
	}
}
