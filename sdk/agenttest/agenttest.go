// Package agenttest tries whether an agent keeps what package agent promises in
// its name: idempotent entry points, obedience to cancellation, clean from
// every state, and a resource that does not notice the death of its agent. The
// agent runs as a process of its own and is spoken to by gRPC, as by had.
//
//	func TestMain(m *testing.M) { agenttest.Main(m, fileOnOff{}) }
//
//	func TestConformance(t *testing.T) {
//		agenttest.Run(t, fileOnOff{}, map[string]any{"PathName": filepath.Join(t.TempDir(), "f")})
//	}
package agenttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

// envRole makes a test binary the agent.
const envRole = "EVENKEEL_AGENTTEST"

// Main is for TestMain: the test binary becomes the agent when Run starts it,
// else it runs the tests.
func Main(m *testing.M, a agent.Agent) {
	if os.Getenv(envRole) != "" {
		agent.Serve(a)
		return
	}
	os.Exit(m.Run())
}

// Process is a running agent under test.
type Process struct {
	agentv1.AgentServiceClient
	// PID is its process id.
	PID int

	cmd  *exec.Cmd
	conn *grpc.ClientConn
}

// Start runs this test binary as the agent (see Main) until the test ends.
func Start(t *testing.T) *Process {
	t.Helper()
	if os.Getenv(envRole) != "" {
		t.Fatal("agenttest: TestMain does not call agenttest.Main")
	}
	return StartCommand(t, exec.Command(os.Args[0]))
}

// StartCommand runs an agent's program, in whatever language, until the test ends.
func StartCommand(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	sockets, err := os.MkdirTemp("", "agenttest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(sockets) })
	cmd.Env = append(cmd.Environ(), envRole+"=1", agent.CookieKey+"="+agent.CookieValue,
		"PLUGIN_PROTOCOL_VERSIONS=1", "PLUGIN_UNIX_SOCKET_DIR="+sockets,
		fmt.Sprintf("%s=%d", agent.EnvHostPID, os.Getpid()), agent.EnvToken+"=agenttest")
	log := &logWriter{t: t}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd: cmd, PID: cmd.Process.Pid}
	t.Cleanup(func() { log.stop(); p.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Split(strings.TrimSpace(line), "|")
	if err != nil || len(fields) < 5 || fields[2] != "unix" || fields[4] != "grpc" {
		t.Fatalf("agenttest: handshake line %q: %v", line, err)
	}
	if p.conn, err = grpc.NewClient("unix:"+fields[3], grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		t.Fatal(err)
	}
	p.AgentServiceClient = agentv1.NewAgentServiceClient(p.conn)
	return p
}

// Kill ends the agent as kill -9 does.
func (p *Process) Kill() {
	if p.conn != nil {
		p.conn.Close()
	}
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// logWriter shows the agent's log with a failed test.
type logWriter struct {
	mu sync.Mutex
	t  *testing.T
}

func (w *logWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil && !strings.Contains(string(b), `"@timestamp"`) {
		w.t.Log(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}

func (w *logWriter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t = nil
}

// Resource makes a resource of attribute values: string, int, bool, []string
// or map[string]string.
func Resource(t *testing.T, name string, attrs map[string]any) *agentv1.Resource {
	t.Helper()
	r := &agentv1.Resource{Name: name, Attributes: map[string]*agentv1.Value{}}
	for key, v := range attrs {
		value := &agentv1.Value{}
		switch v := v.(type) {
		case string:
			value.Shape = &agentv1.Value_Scalar{Scalar: v}
		case int:
			value.Shape = &agentv1.Value_Scalar{Scalar: fmt.Sprint(v)}
		case bool:
			value.Shape = &agentv1.Value_Scalar{Scalar: map[bool]string{true: "1", false: "0"}[v]}
		case []string:
			value.Shape = &agentv1.Value_List{List: &agentv1.ValueList{Values: v}}
		case map[string]string:
			value.Shape = &agentv1.Value_Association{Association: &agentv1.ValueAssociation{Pairs: v}}
		default:
			t.Fatalf("agenttest: attribute %s has a value of type %T", key, v)
		}
		r.Attributes[key] = value
	}
	return r
}

// settleTime is how long a resource may take to show what was done to it.
const settleTime = 10 * time.Second

// trial is one resource in the hands of one agent.
type trial struct {
	*Process
	t  *testing.T
	r  *agentv1.Resource
	id uint64
}

// Run tries everything that holds for the agent's Operations on one resource
// with the given attributes; it leaves it offline. TestMain must call Main.
func Run(t *testing.T, a agent.Agent, attrs map[string]any) {
	t.Helper()
	if err := agent.CheckAgent(a); err != nil {
		t.Fatal(err)
	}
	ops := a.Describe().Operations
	each := func(name string, when bool, f func(*trial)) {
		if when {
			t.Run(name, func(t *testing.T) {
				f(&trial{Process: Start(t), t: t, r: Resource(t, "conformance", attrs)})
			})
		}
	}
	each("A3 describe", true, (*trial).describe)
	each("A9 required attributes", true, func(tr *trial) { tr.required(a.Describe()) })
	each("A6 monitor changes nothing", true, (*trial).monitorTwice)
	each("A5 twice online", ops != agent.None, (*trial).twiceOnline)
	each("A5 twice offline", ops == agent.OnOff, (*trial).twiceOffline)
	each("A5 clean from every state", ops != agent.None, (*trial).cleanAnywhere)
	each("A8 cancel mid-call", ops != agent.None, (*trial).cancelMidCall)
	each("A7 monitor under load", true, func(tr *trial) { tr.load(ops) })
	each("A11 kill and restart of the agent", ops != agent.None, (*trial).killAgent)
}

func (tr *trial) next() uint64 { tr.id++; return tr.id }

func (tr *trial) online() {
	tr.t.Helper()
	if _, err := tr.Online(tr.t.Context(), &agentv1.OnlineRequest{CallId: tr.next(), Resource: tr.r}); err != nil {
		tr.t.Fatalf("online: %v", err)
	}
}

func (tr *trial) offline() {
	tr.t.Helper()
	if _, err := tr.Offline(tr.t.Context(), &agentv1.OfflineRequest{CallId: tr.next(), Resource: tr.r}); err != nil {
		tr.t.Fatalf("offline: %v", err)
	}
}

func (tr *trial) clean(why agentv1.CleanReason) {
	tr.t.Helper()
	if _, err := tr.Clean(tr.t.Context(), &agentv1.CleanRequest{CallId: tr.next(), Resource: tr.r, Reason: why}); err != nil {
		tr.t.Fatalf("clean (%v): %v", why, err)
	}
}

func (tr *trial) state() (agentv1.State, error) {
	out, err := tr.Monitor(tr.t.Context(), &agentv1.MonitorRequest{CallId: tr.next(), Resource: tr.r})
	return out.GetStatus().GetState(), err
}

func (tr *trial) want(want agentv1.State) {
	tr.t.Helper()
	deadline := time.Now().Add(settleTime)
	for {
		got, err := tr.state()
		if err == nil && got == want {
			return
		}
		if time.Now().After(deadline) {
			tr.t.Fatalf("monitor after %v: %v %v, want %v", settleTime, got, err, want)
		}
		time.Sleep(5 * time.Millisecond) // the agent's world has no event to wait on
	}
}

func (tr *trial) describe() {
	first, err := tr.Describe(tr.t.Context(), &agentv1.DescribeRequest{})
	if err != nil {
		tr.t.Fatal(err)
	}
	if first.GetType() == "" || first.GetVersion() == "" || first.GetOperations() == agentv1.Operations_OPERATIONS_UNSPECIFIED {
		tr.t.Errorf("type, version or operations missing: %v", first)
	}
	for _, at := range first.GetAttributes() {
		if at.GetDoc() == "" {
			tr.t.Errorf("attribute %s has no doc", at.GetName())
		}
	}
}

// required: a missing value is INVALID_ARGUMENT and no state.
func (tr *trial) required(d agent.Description) {
	tr.r.Attributes = nil
	for _, at := range d.Attrs {
		if at.Required && at.Default == "" {
			if _, err := tr.state(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), at.Name) {
				tr.t.Errorf("monitor without %s: %v, want INVALID_ARGUMENT that names it", at.Name, err)
			}
			return
		}
	}
}

func (tr *trial) monitorTwice() {
	first, err := tr.state()
	if err != nil {
		tr.t.Fatal(err)
	}
	if second, err := tr.state(); err != nil || second != first {
		tr.t.Errorf("second monitor: %v %v, first said %v", second, err, first)
	}
}

func (tr *trial) twiceOnline() {
	defer tr.clean(agentv1.CleanReason_CLEAN_REASON_ONLINE_INEFFECTIVE)
	for range 2 {
		tr.online()
		tr.want(agentv1.State_STATE_ONLINE)
	}
}

func (tr *trial) twiceOffline() {
	defer tr.clean(agentv1.CleanReason_CLEAN_REASON_OFFLINE_INEFFECTIVE)
	tr.online()
	tr.want(agentv1.State_STATE_ONLINE)
	for range 2 {
		tr.offline()
		tr.want(agentv1.State_STATE_OFFLINE)
	}
}

func (tr *trial) cleanAnywhere() {
	for reason := agentv1.CleanReason_CLEAN_REASON_OFFLINE_HUNG; reason <= agentv1.CleanReason_CLEAN_REASON_MONITOR_HUNG; reason++ {
		tr.clean(reason) // offline
		tr.want(agentv1.State_STATE_OFFLINE)
		tr.online()
		tr.clean(reason) // online
		tr.want(agentv1.State_STATE_OFFLINE)
	}
}

// cancelMidCall: whenever an online is cancelled, it ends, and clean works.
func (tr *trial) cancelMidCall() {
	for _, after := range []time.Duration{0, 200 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(tr.t.Context(), after)
		id := tr.next()
		_, _ = tr.Online(ctx, &agentv1.OnlineRequest{CallId: id, Resource: tr.r})
		cancel()
		if err := tr.ended(id); err != nil {
			tr.t.Fatal(err)
		}
		tr.clean(agentv1.CleanReason_CLEAN_REASON_ONLINE_HUNG)
		tr.want(agentv1.State_STATE_OFFLINE)
	}
}

// ended waits until a call is not among the running ones any more.
func (tr *trial) ended(id uint64) error {
	deadline := time.Now().Add(2 * time.Second)
	for {
		d, err := tr.Describe(tr.t.Context(), &agentv1.DescribeRequest{})
		if err != nil {
			return err
		}
		running := false
		for _, c := range d.GetRunning() {
			running = running || c.GetCallId() == id
		}
		if !running {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("an entry point runs 2 s after it was cancelled: had would kill the agent")
		}
		time.Sleep(time.Millisecond)
	}
}

// load: many monitors at once all get an answer, also while the resource goes
// up and down.
func (tr *trial) load(ops agent.Operations) {
	if ops != agent.None {
		defer tr.clean(agentv1.CleanReason_CLEAN_REASON_UNEXPECTED_OFFLINE)
	}
	var wg sync.WaitGroup
	for worker := range 20 {
		wg.Go(func() {
			for i := range 10 {
				req := &agentv1.MonitorRequest{CallId: uint64(1000 + 100*worker + i), Resource: tr.r}
				if _, err := tr.Monitor(tr.t.Context(), req); err != nil {
					tr.t.Errorf("monitor: %v", err)
					return
				}
			}
		})
	}
	if ops != agent.None {
		tr.online()
	}
	if ops == agent.OnOff {
		tr.offline()
	}
	wg.Wait()
}

// killAgent: the resource stays as it is when its agent dies, online or offline.
func (tr *trial) killAgent() {
	for _, state := range []agentv1.State{agentv1.State_STATE_ONLINE, agentv1.State_STATE_OFFLINE} {
		if state == agentv1.State_STATE_ONLINE {
			tr.online()
		} else {
			tr.clean(agentv1.CleanReason_CLEAN_REASON_UNEXPECTED_OFFLINE)
		}
		tr.want(state)
		tr.Kill()
		tr.Process = Start(tr.t)
		if got, err := tr.state(); err != nil || got != state {
			tr.t.Errorf("after kill -9 and restart of the agent: %v %v, want %v", got, err, state)
		}
	}
}
