package transport

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/evenkeel/evenkeel/internal/paths"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// daemon answers like a gab of a two-system cluster with one link in trouble.
type daemon struct {
	gabv1.UnimplementedGabServiceServer
	gabv1.UnimplementedLltServiceServer
	seeded chan bool
	// asked is the last ConfigureRequest.
	asked *gabv1.ConfigureRequest
	// unseeded: gab waits for the other system.
	unseeded bool
	// stalled: gab of nebula makes no step.
	stalled bool
	changes []string // changing calls
}

func (d *daemon) GetTransport(context.Context, *gabv1.GetTransportRequest) (*gabv1.GetTransportResponse, error) {
	return &gabv1.GetTransportResponse{NodeId: 0, Name: "galaxy", ClusterId: 2, Encrypted: true, KeyId: 0xfeed, Links: 2, PieceBytes: 1387,
		Timers: []*gabv1.Timer{{Name: "heartbeat", Ticks: 10}, {Name: "peerinact", Ticks: 60}}, ExcludedNodeIds: []uint32{7}}, nil
}

func (d *daemon) GetStatistics(context.Context, *gabv1.GetStatisticsRequest) (*gabv1.GetStatisticsResponse, error) {
	return &gabv1.GetStatisticsResponse{Counters: []*gabv1.Counter{{Name: "Snd data packets", Value: 988803}, {Name: "Rcv replayed", Value: 1}}}, nil
}

func (d *daemon) ListTroubles(context.Context, *gabv1.ListTroublesRequest) (*gabv1.ListTroublesResponse, error) {
	seven := uint32(7)
	return &gabv1.ListTroublesResponse{Troubles: []*gabv1.Trouble{
		{Cause: "foreign-cluster", Tag: "eth1", NodeId: &seven, Count: 12, AgeMs: 2500, Detail: "cluster 9"},
		{Cause: "timer-late", Count: 1, AgeMs: 60000, Detail: "this system stood still for 400 ms"},
	}}, nil
}

func (d *daemon) note(m fmt.Stringer, name string) {
	d.changes = append(d.changes, strings.Join(strings.Fields(name+" "+m.String()), " "))
}

func (d *daemon) SetTimer(_ context.Context, r *gabv1.SetTimerRequest) (*gabv1.SetTimerResponse, error) {
	d.note(r, "SetTimer")
	return &gabv1.SetTimerResponse{}, nil
}

func (d *daemon) AddLink(_ context.Context, r *gabv1.AddLinkRequest) (*gabv1.AddLinkResponse, error) {
	d.note(r, "AddLink")
	return &gabv1.AddLinkResponse{Index: 2}, nil
}

func (d *daemon) RemoveLink(_ context.Context, r *gabv1.RemoveLinkRequest) (*gabv1.RemoveLinkResponse, error) {
	d.note(r, "RemoveLink")
	return &gabv1.RemoveLinkResponse{}, nil
}

func (d *daemon) SetLinkPriority(_ context.Context, r *gabv1.SetLinkPriorityRequest) (*gabv1.SetLinkPriorityResponse, error) {
	d.note(r, "SetLinkPriority")
	return &gabv1.SetLinkPriorityResponse{}, nil
}

func (d *daemon) SetAddress(_ context.Context, r *gabv1.SetAddressRequest) (*gabv1.SetAddressResponse, error) {
	d.note(r, "SetAddress")
	return &gabv1.SetAddressResponse{}, nil
}

func (d *daemon) SetNodes(_ context.Context, r *gabv1.SetNodesRequest) (*gabv1.SetNodesResponse, error) {
	d.note(r, "SetNodes")
	return &gabv1.SetNodesResponse{}, nil
}

func (d *daemon) ResetStatistics(_ context.Context, r *gabv1.ResetStatisticsRequest) (*gabv1.ResetStatisticsResponse, error) {
	d.note(r, "ResetStatistics")
	return &gabv1.ResetStatisticsResponse{}, nil
}

func (d *daemon) GetConfiguration(context.Context, *gabv1.GetConfigurationRequest) (*gabv1.GetConfigurationResponse, error) {
	return &gabv1.GetConfigurationResponse{Name: "galaxy", SeedCount: 2, State: "unseeded", HaltOnRejoin: true, StableMs: 20,
		IsolateMs: 2000, WindowMessages: 128, FencingMode: "disabled", WireVersion: 1, WaitingFor: "2 systems to be seen, now 1; or seed by hand: gabconfig -x"}, nil
}

func (d *daemon) GetMembership(context.Context, *gabv1.GetMembershipRequest) (*gabv1.GetMembershipResponse, error) {
	if d.unseeded {
		return &gabv1.GetMembershipResponse{}, nil
	}
	zero, one := &gabv1.Member{NodeId: 0, Name: "galaxy"}, &gabv1.Member{NodeId: 1, Name: "nebula", Jeopardy: true}
	return &gabv1.GetMembershipResponse{Seeded: true, Ports: []*gabv1.PortMembership{
		{Port: "a", Generation: "a36e0003", Members: []*gabv1.Member{zero, one}, Client: "GAB_Control"},
		{Port: "b", Generation: "a36e0006", Members: []*gabv1.Member{zero}},
		{Port: "h", Generation: "fd570002", Members: []*gabv1.Member{zero}, Visible: []*gabv1.Member{one}, Client: "had", Stalled: []*gabv1.Member{zero}},
	}}, nil
}

func (d *daemon) Configure(_ context.Context, r *gabv1.ConfigureRequest) (*gabv1.ConfigureResponse, error) {
	d.asked = r
	return &gabv1.ConfigureResponse{}, nil
}

func (d *daemon) Seed(context.Context, *gabv1.SeedRequest) (*gabv1.SeedResponse, error) {
	d.seeded <- true
	return &gabv1.SeedResponse{}, nil
}

func (d *daemon) ListPeers(context.Context, *gabv1.ListPeersRequest) (*gabv1.ListPeersResponse, error) {
	up := func(tag, address string) *gabv1.PeerLink {
		return &gabv1.PeerLink{Tag: tag, Status: "UP", Address: address}
	}
	return &gabv1.ListPeersResponse{Peers: []*gabv1.Peer{
		{NodeId: 0, Name: "galaxy", State: "OPEN", Self: true, Links: []*gabv1.PeerLink{up("eth1", "00:04:23:AC:12:C4"), up("eth2", "00:04:23:AC:12:C5")}},
		{NodeId: 1, Name: "nebula", State: "OPEN", Stalled: d.stalled, Links: []*gabv1.PeerLink{up("eth1", "00:04:23:AC:24:C2"), {Tag: "eth2", Status: "DOWN"}}},
	}}, nil
}

func (d *daemon) ListLinks(context.Context, *gabv1.ListLinksRequest) (*gabv1.ListLinksResponse, error) {
	return &gabv1.ListLinksResponse{Links: []*gabv1.Link{
		{Tag: "eth1", Device: "eth1", Kind: "ether", Up: true, Mtu: 1500, Sap: 0xcafe, Broadcast: "FF:FF:FF:FF:FF:FF", TxFrames: 5, RxFrames: 6},
		{Index: 1, Tag: "eth0", Device: "eth0", Kind: "ether", LowPriority: true, Mtu: 1500, Sap: 0xcafe, Broadcast: "FF:FF:FF:FF:FF:FF"},
	}}, nil
}

func serve(t *testing.T, d *daemon) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	if err := os.MkdirAll(root.RunDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", root.Socket("gab"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gabv1.RegisterGabServiceServer(server, d)
	gabv1.RegisterLltServiceServer(server, d)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return root
}

func TestLayouts(t *testing.T) {
	d := &daemon{seeded: make(chan bool, 1)}
	root := serve(t, d)
	for _, c := range []struct {
		line, want string
	}{
		{"gabconfig -a", `GAB Port Memberships
===============================================================
Port a gen a36e0003 membership 01
Port a gen a36e0003   jeopardy ;1
Port b gen a36e0006 membership 0
Port h gen fd570002 membership 0
Port h gen fd570002    visible ;1
Port h gen fd570002    stalled ;0
`},
		{"gabconfig -C", "Port a client GAB_Control\nPort h client had\n"},
		{"gabconfig -W", "GAB protocol version 1\n"},
		{"gabconfig -l", `GAB Driver Configuration
Driver state         : Configured
Partition arbitration: Enabled
Control port seed    : Enabled
Halt on process death: Disabled
Missed heartbeat halt: Disabled
Halt on rejoin       : Enabled
Keep on killing      : Disabled
Quorum flag          : Disabled
Restart              : Enabled
Node count           : 2
Send queue limit     : 128
Stable timeout (ms)  : 20
Isolate timeout (ms) : 2000
Node                 : 0 galaxy
Membership           : unseeded
Fencing mode         : disabled
Waiting for          : 2 systems to be seen, now 1; or seed by hand: gabconfig -x
`},
		{"lltstat -n", `LLT node information:
    Node                 State    Links
   * 0  galaxy            OPEN        2
     1  nebula            OPEN        1
`},
		{"lltstat -nvv configured", `LLT node information:
    Node                 State    Link  Status  Address
   * 0  galaxy            OPEN
                                  eth1   UP      00:04:23:AC:12:C4
                                  eth2   UP      00:04:23:AC:12:C5
     1  nebula            OPEN
                                  eth1   UP      00:04:23:AC:24:C2
                                  eth2   DOWN
`},
		{"lltstat -l", `LLT link information:
link 0  eth1 on ether hipri
        mtu 1500, sap 0xcafe, broadcast FF:FF:FF:FF:FF:FF, device eth1
        txpkts 5  txbytes 0
        rxpkts 6  rxbytes 0
        latehb 0  badcksum 0  errors 0
link 1  eth0 on ether lowpri down
        mtu 1500, sap 0xcafe, broadcast FF:FF:FF:FF:FF:FF, device eth0
        txpkts 0  txbytes 0
        rxpkts 0  rxbytes 0
        latehb 0  badcksum 0  errors 0
`},
		{"lltstat", `LLT statistics:
    988803     Snd data packets
    1          Rcv replayed
`},
		{"lltstat -C", "2\n"},
		{"lltstat -q", ""},
		{"lltstat -N", `LLT node information:
    Node                 State    Links
   * 0  galaxy            OPEN        2
     1  nebula            OPEN        1
`},
		{"lltstat -nv active", `LLT node information:
    Node                 State    Link  Status  Address
   * 0  galaxy            OPEN
                                  eth1   UP      00:04:23:AC:12:C4
                                  eth2   UP      00:04:23:AC:12:C5
     1  nebula            OPEN
                                  eth1   UP      00:04:23:AC:24:C2
                                  eth2   DOWN
`},
		{"lltstat -c", `LLT configuration information:
    node: 0
    name: galaxy
    cluster: 2
    nodes: 0 - 63
    max nodes: 64
    max ports: 26
    links: 2
    mtu: 1387
    max sdu: 16777216
    broadcast HB: 0
    encryption: AES-256-GCM, key 0000feed
    excluded: 7
`},
		{"lltstat -t", "LLT tunables:\n    maxnids: 64\n    maxports: 26\n    nominpad: 0\n"},
		{"lltstat -p", `LLT port information:
    Port  Usage    Cookie
    0     gab      0x0
          opens:    0 1
          connects: 0 1
    1     gab      0x1
          opens:    0 1
          connects: 0
    7     gab      0x7
          opens:    0 1
          connects: 0
`},
		{"lltstat -P", `LLT port statistics (all ports of GAB share one stream to each peer):
    Node                 Txpkts     Txbytes      Rxpkts     Rxbytes      Queued
    1  nebula            0          0            0          0            0
`},
		{"lltstat -e", `LLT errors by cause:
    Cause            Link   Node  Count      Ago s    Detail
    foreign-cluster  eth1   7     12         2        cluster 9
    timer-late       -      -     1          60       this system stood still for 400 ms
`},
		{"lltconfig -T query", `Current LLT timer values (.01 sec units):
  heartbeat   = 10
  peerinact   = 60
`},
		{"lltconfig -F query", `Current LLT flow control values (in packets):
  highwater   = 1024
  lowwater    = 512
  window      = 256
  ackval      = 8
`},
		{"lltconfig -a list", `Link 0 (eth1):
    Node   0 galaxy            :      00:04:23:AC:12:C4  permanent
    Node   1 nebula            :      00:04:23:AC:24:C2
Link 1 (eth0):
    Node   0 galaxy            :      00:04:23:AC:12:C5  permanent
`},
	} {
		words := strings.Fields(c.line)
		var out, errs bytes.Buffer
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &errs}); code != 0 {
			t.Errorf("%s: exit code %d: %s", c.line, code, errs.String())
		}
		if out.String() != c.want {
			t.Errorf("%s printed\n%swant\n%s", c.line, out.String(), c.want)
		}
	}
	if code := Run(t.Context(), root, "gabconfig", []string{"-x"}, Streams{Out: os.Stdout, Err: os.Stderr}); code != 0 || !<-d.seeded {
		t.Errorf("gabconfig -x: exit code %d", code)
	}
}

// TestChanges: what changes at run time reaches gab as it was typed.
func TestChanges(t *testing.T) {
	d := &daemon{}
	root := serve(t, d)
	for _, c := range []struct{ line, want string }{
		{"lltconfig -T heartbeat:20", `SetTimer timer:{name:"heartbeat" ticks:20}`},
		{"lltconfig -t eth3 -d eth3", `AddLink tag:"eth3" device:"eth3"`},
		{"lltconfig -t eth3 -d eth3 -b ether -s 0xcaff -m 9000 -l", `AddLink tag:"eth3" device:"eth3" kind:"ether" sap:"0xcaff" mtu:"9000" low_priority:true`},
		{"lltconfig -t u1 -d udp -b udp -s 50000 -I 10.0.0.1 -B 10.0.0.255 -Q", `AddLink tag:"u1" device:"udp" kind:"udp" sap:"50000" address:"10.0.0.1" broadcast:"10.0.0.255"`},
		{"lltconfig -t eth3 -l", `SetLinkPriority tag:"eth3" low_priority:true`},
		{"lltconfig -t eth3 -h", `SetLinkPriority tag:"eth3"`},
		{"lltconfig -u eth3", `RemoveLink tag:"eth3"`},
		{"lltconfig -u eth3 -o", `RemoveLink tag:"eth3" force:true`},
		{"lltconfig -a set nebula eth1 00:04:23:AC:24:C2", `SetAddress node:"nebula" tag:"eth1" address:"00:04:23:AC:24:C2"`},
		{"lltconfig -a delete nebula", `SetAddress node:"nebula"`},
		{"lltconfig -a flush", `SetAddress flush:true`},
		{"lltconfig -x 2_31", `SetNodes low:2 high:31 exclude:true`},
		{"lltconfig -i 5", `SetNodes low:5 high:5`},
		{"lltstat -z", `ResetStatistics`},
		{"gabdiskhb -a /dev/null -s 16", `AddLink tag:"disk1" device:"/dev/null" kind:"disk" sap:"16"`},
	} {
		d.changes = nil
		words := strings.Fields(c.line)
		var out bytes.Buffer
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &out}); code != 0 || strings.Join(d.changes, ";") != c.want {
			t.Errorf("%s: exit code %d, asked %q, want %q\n%s", c.line, code, d.changes, c.want, out.String())
		}
	}
	for line, says := range map[string]string{
		"lltconfig -F window:10": "by themselves", "lltconfig -c": "ha node start", "lltconfig -U": "ha node stop",
		"gabdiskhb -d /dev/sdz": "gabdiskhb -l", "gabdiskconf -i /dev/null -s 17": "multiple of 8",
	} {
		d.changes = nil
		words := strings.Fields(line)
		var out bytes.Buffer
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &out}); code != 1 || !strings.Contains(out.String(), says) || len(d.changes) > 0 {
			t.Errorf("%s: exit code %d, asked %q: %s", line, code, d.changes, out.String())
		}
	}
	for _, line := range []string{"lltconfig -t eth3", "lltconfig -d eth3", "lltconfig -u", "lltconfig -a set nebula", "lltconfig -x a", "lltstat -nz", "lltstat -l eth1", "gabdiskconf -i", "gabdiskhb -q"} {
		words := strings.Fields(line)
		var out bytes.Buffer
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &out}); code != 2 || !strings.Contains(out.String(), "usage:") {
			t.Errorf("%s: exit code %d: %s", line, code, out.String())
		}
	}
}

func TestEveryNodeIDIsListed(t *testing.T) {
	root := serve(t, &daemon{})
	var out bytes.Buffer
	if code := Run(t.Context(), root, "lltstat", []string{"-nvv"}, Streams{Out: &out, Err: os.Stderr}); code != 0 {
		t.Fatal(code)
	}
	if n := strings.Count(out.String(), "CONNWAIT"); n != maxNodes-2 {
		t.Errorf("%d ids in CONNWAIT, want %d", n, maxNodes-2)
	}
}

func TestDigits(t *testing.T) {
	for _, c := range []struct {
		want string
		ids  []uint32
	}{{"01", []uint32{0, 1}}, {"0 2", []uint32{0, 2}}, {";;12", []uint32{21, 22}}, {"01;1", []uint32{0, 1, 11}}} {
		var members []*gabv1.Member
		for _, id := range c.ids {
			members = append(members, &gabv1.Member{NodeId: id})
		}
		if got := digits(members); got != c.want {
			t.Errorf("digits(%v) = %q, want %q", c.ids, got, c.want)
		}
	}
}

// Without a daemon each command says so, says how to start it, fails, and is
// quick.
func TestNoDaemon(t *testing.T) {
	root := paths.Root(t.TempDir())
	for _, line := range []string{"gabconfig -a", "lltstat -nvv", "lltconfig -T query"} {
		words := strings.Fields(line)
		var out, errs bytes.Buffer
		began := time.Now()
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &errs}); code != 1 {
			t.Errorf("%s: exit code %d", line, code)
		}
		if !strings.Contains(errs.String(), "ha node start") {
			t.Errorf("%s: %q does not say what to do", line, errs.String())
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s took %v", line, took)
		}
	}
	var out bytes.Buffer
	if code := Run(t.Context(), root, "lltconfig", nil, Streams{Out: &out, Err: &out}); code != 1 || out.String() != "LLT is not running\n" {
		t.Errorf("lltconfig: exit code %d, printed %q", code, out.String())
	}
	for _, line := range []string{"gabconfig", "gabconfig -y", "gabconfig a", "gabconfig -n", "lltstat -nq", "lltconfig -T x"} {
		words := strings.Fields(line)
		if code := Run(t.Context(), root, words[0], words[1:], Streams{Out: &out, Err: &out}); code != 2 {
			t.Errorf("%s: exit code %d, want 2", line, code)
		}
	}
}

// TestGabconfig: what each option asks of gab, and what those say that have no
// counterpart.
func TestGabconfig(t *testing.T) {
	for line, want := range map[string]string{
		"-c":                   "",
		"-c -n3":               "seed_count:3",
		"-c -n 64":             "seed_count:64",
		"-cn0":                 "seed_count:0",
		"-j -k -b -p -q":       "halt_on_rejoin:true keep_killing:true missed_heartbeat_halt:true halt_on_process_death:true quorum:true",
		"-JBPd":                "halt_on_rejoin:false missed_heartbeat_halt:false halt_on_process_death:false quorum:false",
		"-S isolate_time:5000": "isolate_ms:5000",
		"-n two":               `-n "two" is no number of systems from 0 to 64; write -n N, N being the number of systems of the cluster`,
		"-S isolate_tmie:5000": `-S "isolate_tmie:5000": the parameter that can be set is isolate_time:MILLISECONDS`,
		"-S kill_ntries:5":     "-S kill_ntries has no counterpart: the first kill is one that no process can refuse; -S isolate_time:MS is how long it may take",
		"-t 5000":              "-t has no counterpart: the stable timeout is one of LLT's timers, and leases are reckoned from it: write set-timer stable:TICKS into llttab on all systems and restart gab there",
		"-s":                   "-s has no counterpart: arbitration between parts of a cluster is never off; one link alone is permanent jeopardy",
		"-Q sendq:256":         "-Q has no counterpart: flow control goes by what clients have under way and needs no limits",
	} {
		d := &daemon{seeded: make(chan bool, 1)}
		root := serve(t, d)
		var out, errs bytes.Buffer
		code := Run(t.Context(), root, "gabconfig", strings.Fields(line), Streams{Out: &out, Err: &errs})
		got := strings.Join(strings.Fields(d.asked.String()), " ")
		if code != 0 {
			got = strings.TrimSuffix(strings.TrimPrefix(errs.String(), "GAB gabconfig ERROR V-15-2-10000 "), "\n")
		}
		if got != want || (code != 0) != (d.asked == nil) {
			t.Errorf("gabconfig %s: exit code %d, %s\nwant %s", line, code, got, want)
		}
	}
}

// TestUnseeded: gabconfig -a of a system that waits for others names the way
// out, and is no failure.
func TestUnseeded(t *testing.T) {
	root := serve(t, &daemon{unseeded: true})
	var out, errs strings.Builder
	code := Run(t.Context(), root, "gabconfig", []string{"-a"}, Streams{Out: &out, Err: &errs})
	want := "GAB Port Memberships\n" + strings.Repeat("=", 63) + "\nNot seeded; waits for 2 systems to be seen, now 1; or seed by hand: gabconfig -x\n"
	if code != 0 || out.String() != want || errs.String() != "" {
		t.Errorf("exit %d: %q %q", code, out.String(), errs.String())
	}
}

// TestStalledPeer: R19. lltstat tells a system that is heard and stands still
// from one in order.
func TestStalledPeer_R19(t *testing.T) {
	root := serve(t, &daemon{stalled: true})
	var out strings.Builder
	if code := Run(t.Context(), root, "lltstat", []string{"-n"}, Streams{Out: &out, Err: os.Stderr}); code != 0 {
		t.Fatal(code)
	}
	want := "LLT node information:\n    Node                 State    Links\n   * 0  galaxy            OPEN        2\n     1  nebula            STALLED     1\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
