package gab

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// stage runs a few cores over connections that take one millisecond, so that a
// story reads the same every time.
type stage struct {
	now   vclock.Time
	cores map[NodeID]*Core
	conns map[[2]NodeID]uint64
	conn  uint64
	wire  []carried
	out   strings.Builder
	wires bool
	incs  uint64
	cfg   Config
	held  map[NodeID]bool // frozen: takes no step
	tape  *tape           // what recorded systems were told, for another build
	late  bool            // formats are not known when a connection opens
}

type carried struct {
	at       vclock.Time
	from, to NodeID
	conn     uint64
	msg      []byte
}

func link(a, b NodeID) [2]NodeID { return [2]NodeID{min(a, b), max(a, b)} }

func (s *stage) step(n NodeID, ev Event) {
	c := s.cores[n]
	if c == nil || s.held[n] {
		return
	}
	s.tape.event(s.now, n, ev)
	for _, e := range c.Step(s.now, ev, nil) {
		s.tape.effect(n, e)
		switch e := e.(type) {
		case TransportSend:
			if s.conns[link(n, e.To)] == e.Conn {
				s.wire = append(s.wire, carried{s.now.Add(time.Millisecond), n, e.To, e.Conn, e.Msg})
			}
			if s.wires {
				s.print(n, e)
			}
		case PersistCounter:
			s.step(n, CounterPersisted{ID: e.ID, OK: true})
		case Lease:
		default:
			s.print(n, e)
		}
	}
}

func (s *stage) print(n NodeID, e Effect) {
	fmt.Fprintf(&s.out, "%s %d: %s\n", s.now, n, e)
}

func (s *stage) nodes() []NodeID {
	var ns []NodeID
	for n := range s.cores {
		ns = append(ns, n)
	}
	sort.Slice(ns, func(i, j int) bool { return ns[i] < ns[j] })
	return ns
}

func (s *stage) start(n NodeID) {
	s.incs++
	cfg := s.cfg
	cfg.Node, cfg.Incarnation, cfg.Lineage = n, 0xa00+s.incs, 0xcafe
	s.tape.start(s.now, cfg)
	c, err := New(cfg)
	if err != nil {
		panic(err)
	}
	s.cores[n] = c
	s.step(n, Wake{})
	for _, o := range s.nodes() {
		if o != n {
			s.connect(n, o)
		}
	}
}

func (s *stage) connect(a, b NodeID) {
	s.conn++
	s.conns[link(a, b)] = s.conn
	s.step(a, PeerUp{Node: b, Conn: s.conn, Formats: s.formats(b)})
	s.step(b, PeerUp{Node: a, Conn: s.conn, Formats: s.formats(a)})
}

// formats is what LLT tells of a system's build.
func (s *stage) formats(n NodeID) Formats {
	if c := s.cores[n]; c != nil && !s.late {
		return c.cfg.Formats
	}
	return Formats{}
}

func (s *stage) cut(a, b NodeID) {
	conn := s.conns[link(a, b)]
	if conn == 0 {
		return
	}
	delete(s.conns, link(a, b))
	s.step(a, PeerDown{Node: b, Conn: conn})
	s.step(b, PeerDown{Node: a, Conn: conn})
}

// run lets time pass.
func (s *stage) run(d time.Duration) {
	end := s.now.Add(d)
	for {
		next, who, isWire := end, NodeID(0), false
		if len(s.wire) > 0 && s.wire[0].at < next {
			next, isWire = s.wire[0].at, true
		}
		for _, n := range s.nodes() {
			if t, ok := s.cores[n].Deadline(); ok && t < next && !s.held[n] {
				next, who, isWire = t, n, false
			}
		}
		if next >= end {
			break
		}
		s.now = max(s.now, next)
		if isWire {
			m := s.wire[0]
			s.wire = s.wire[1:]
			if s.conns[link(m.from, m.to)] == m.conn {
				s.step(m.to, MsgIn{From: m.from, Conn: m.conn, Msg: m.msg})
			}
		} else {
			s.step(who, Wake{})
		}
	}
	s.now = end
}

func parseMembers(t *testing.T, args []string) []Departed {
	var ds []Departed
	for _, a := range args {
		f := strings.Split(a, ":")
		id, inc, _ := strings.Cut(f[0], ".")
		n, err1 := strconv.Atoi(id)
		i, err2 := strconv.ParseUint(inc, 16, 64)
		k := slices.Index(evidenceNames[:], f[1])
		if err1 != nil || err2 != nil || k < 0 {
			t.Fatalf("departed %q: want NODE.INC:EVIDENCE", a)
		}
		ds = append(ds, Departed{Member: Member{Node: NodeID(n), Incarnation: i}, Evidence: Evidence(k)})
	}
	return ds
}

// TestStories plays testdata/*.txt: what a reader should know of the protocol,
// one file a subject, each with the rules that it shows.
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if strings.Contains(path, "fuzz") || strings.Contains(path, "recorded") {
			return
		}
		s := &stage{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.out.Reset()
			node := func(i int) NodeID {
				n, err := strconv.Atoi(d.CmdArgs[i].Key)
				if err != nil {
					d.Fatalf(t, "node: %v", err)
				}
				return NodeID(n)
			}
			switch d.Cmd {
			case "cluster":
				*s = stage{cores: map[NodeID]*Core{}, conns: map[[2]NodeID]uint64{}, held: map[NodeID]bool{}}
				seed := 0
				d.MaybeScanArgs(t, "seed", &seed)
				s.cfg = Config{SeedCount: seed, FencingDisabled: d.HasArg("unfenced")}
			case "start":
				for i := range d.CmdArgs {
					s.start(node(i))
				}
			case "wires":
				s.wires = d.CmdArgs[0].Key == "on"
			case "connect":
				s.connect(node(0), node(1))
			case "cut":
				s.cut(node(0), node(1))
			case "crash":
				n := node(0)
				delete(s.cores, n)
				for _, o := range s.nodes() {
					s.cut(o, n)
				}
			case "freeze":
				s.held[node(0)] = true
			case "thaw":
				delete(s.held, node(0))
				s.step(node(0), Wake{})
			case "run":
				dur, err := time.ParseDuration(d.CmdArgs[0].Key)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				s.run(dur)
			case "register":
				s.step(node(0), Register{Port: Port(d.CmdArgs[1].Key[0]), Client: "test"})
			case "unregister":
				s.step(node(0), Unregister{Port: Port(d.CmdArgs[1].Key[0])})
			case "send":
				e := Send{Port: Port(d.CmdArgs[1].Key[0])}
				id, to := 0, -1
				d.ScanArgs(t, "id", &id)
				d.MaybeScanArgs(t, "to", &to)
				e.ID = uint64(id)
				if to >= 0 {
					e.Directed, e.ToNode = true, NodeID(to)
				}
				for _, l := range strings.Fields(d.Input) {
					e.Payloads = append(e.Payloads, []byte(l))
				}
				s.step(node(0), e)
			case "protection":
				n, _ := strconv.Atoi(d.CmdArgs[1].Key)
				s.step(node(0), Protection{Resources: uint32(n)})
			case "answer":
				var coordinator, counter int
				var inc string
				d.ScanArgs(t, "counter", &counter)
				d.ScanArgs(t, "coordinator", &coordinator)
				d.ScanArgs(t, "inc", &inc)
				i, err := strconv.ParseUint(inc, 16, 64)
				if err != nil {
					d.Fatalf(t, "%v", err)
				}
				s.step(node(0), FenceAnswer{View: ViewID{0xcafe, uint64(counter), NodeID(coordinator), i},
					Departed: parseMembers(t, strings.Fields(d.Input))})
			case "seed":
				s.step(node(0), Seed{})
			case "leave":
				s.step(node(0), Leave{Force: d.HasArg("force")})
			case "jeopardy":
				s.step(node(0), PeerJeopardy{Node: node(1), On: d.CmdArgs[2].Key == "on"})
			case "disk":
				s.step(node(0), PeerDisk{Node: node(1), Seen: d.CmdArgs[2].Key == "on"})
			case "control":
				s.step(node(0), Control{Payload: []byte(d.Input)})
			case "status":
				for _, n := range s.nodes() {
					st := s.cores[n].Status()
					fmt.Fprintf(&s.out, "%d: %s view=%s systems=%s", n, st.State, st.View, list(st.Systems))
					if st.WaitingFor != "" {
						fmt.Fprintf(&s.out, " waiting-for=%q", st.WaitingFor)
					}
					s.out.WriteByte('\n')
				}
			case "ports":
				for _, p := range s.cores[node(0)].Ports() {
					fmt.Fprintf(&s.out, "%s gen=%d view=%s members=%s visible=%s client=%q seq=%d\n", p.Port, p.Generation,
						p.View, list(p.Members), list(p.Visible), p.Client, p.Seq)
				}
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return s.out.String()
		})
	})
}
