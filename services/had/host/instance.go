package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// errRefused says that an agent contradicts the loaded type.
var errRefused = errors.New("the agent contradicts the loaded type")

// instance is one run of an agent's process.
type instance struct {
	proc   *process
	client *plugin.Client
	rpc    agentv1.AgentServiceClient
	desc   *agentv1.DescribeResponse

	// monitored: a first monitor was answered; deaths from now on are no
	// reason to give up.
	monitored atomic.Bool
	lastCall  atomic.Uint64
	calls     sync.WaitGroup // Add only under supervisor.mu while current
	killWhy   atomic.Pointer[string]
}

// dispenser makes the client side of the agent's service.
type dispenser struct {
	plugin.NetRPCUnsupportedPlugin
}

func (dispenser) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("a host serves nothing")
}

func (dispenser) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return agentv1.NewAgentServiceClient(c), nil
}

// launch starts an agent and asks what it is. Whatever fails, no process stays.
func (h *Host) launch(ctx context.Context, decl TypeDecl, path string) (*instance, error) {
	log := h.cfg.AgentLog(decl.Name)
	startTimeout := decl.StartTimeout
	if startTimeout <= 0 {
		startTimeout = h.cfg.StartTimeout
	}
	rec, err := newRecord(h.cfg.Dir, decl.Name)
	if err != nil {
		return nil, err
	}
	rec.Cgroup = h.cgroups.agentPath(rec.record)
	sockets, err := h.socketDir()
	if err != nil {
		return nil, err
	}
	var started atomic.Pointer[process]
	output := &lineWriter{log: log}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: protocolVersion, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue,
		},
		Plugins:          plugin.PluginSet{pluginName: dispenser{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmpDir string) (runner.Runner, error) {
			rec.Sockets = tmpDir
			proc := newProcess(path, cmd.Env, h.spawn, log, h.cgroups, rec, &h.held)
			started.Store(proc)
			return proc, nil
		},
		StartTimeout:     startTimeout,
		Logger:           hclog.NewNullLogger(), // our own records say more
		SyncStdout:       output,
		SyncStderr:       output,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: sockets},
		GRPCDialOptions:  []grpc.DialOption{grpc.WithDisableRetry()},
	})
	in := &instance{client: client}
	fail := func(err error) (*instance, error) {
		if proc := started.Load(); proc != nil {
			_ = proc.Kill(ctx)
			select {
			case <-proc.gone:
			case <-h.ctx.Done(): // the record stays, the next had goes on with it
				<-proc.exited
			}
		}
		client.Kill()
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() {
		if proc := started.Load(); proc != nil {
			_ = proc.Kill(ctx)
		}
	})
	defer stop()
	protocol, err := client.Client()
	if err != nil {
		return fail(fmt.Errorf("start agent %s from %s: %w", decl.Name, path, err))
	}
	in.proc = started.Load()
	service, err := protocol.Dispense(pluginName)
	if err != nil {
		return fail(fmt.Errorf("start agent %s from %s: %w", decl.Name, path, err))
	}
	in.rpc = service.(agentv1.AgentServiceClient)
	describe, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	req := &agentv1.DescribeRequest{}
	if decl.NumThreads > 0 {
		req.NumThreads = proto.Uint32(uint32(decl.NumThreads))
	}
	if in.desc, err = in.rpc.Describe(describe, req); err != nil {
		return fail(fmt.Errorf("describe agent %s from %s: %w", decl.Name, path, err))
	}
	if err := CheckDescription(in.desc, decl); err != nil {
		return fail(fmt.Errorf("%w: %w", errRefused, err))
	}
	return in, nil
}

func (in *instance) offers(ep agentv1.EntryPoint) bool {
	for _, have := range in.desc.GetOptionalEntryPoints() {
		if have == ep {
			return true
		}
	}
	return false
}

// kill ends the process because of what why says.
func (in *instance) kill(why string) {
	in.killWhy.CompareAndSwap(nil, &why)
	_ = in.proc.Kill(context.Background())
}

// end asks the agent to end, then kills it, and returns when nothing of it is
// left or the first attempt at that failed.
func (in *instance) end(why string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	_, _ = in.rpc.Shutdown(ctx, &agentv1.ShutdownRequest{})
	cancel()
	in.kill(why)
	in.release()
}

// release frees what go-plugin holds, after the end of the process.
func (in *instance) release() {
	select {
	case <-in.proc.gone:
	case <-in.proc.stuck:
	}
	in.client.Kill()
}

// reason says why the process ended.
func (in *instance) reason() string {
	if why := in.killWhy.Load(); why != nil {
		return *why
	}
	select {
	case <-in.proc.gone:
		return "its process ended: " + in.proc.exitState
	default:
		return "its process ended"
	}
}

// crashed says whether the process ended by itself: not killed by the host,
// which a storage that hangs may lead to, nor by somebody else.
func (in *instance) crashed() bool {
	select {
	case <-in.proc.gone:
		return in.killWhy.Load() == nil && in.proc.byItself
	default:
		return false
	}
}

// hung tells whether a cancelled call still runs when HungGrace is over.
func (h *Host) hung(in *instance, call uint64) bool {
	ctx, cancel := context.WithTimeout(context.Background(), h.cfg.HungGrace)
	defer cancel()
	pause := 2 * time.Millisecond
	for {
		desc, err := in.rpc.Describe(ctx, &agentv1.DescribeRequest{})
		if err != nil {
			return true // no answer is as bad
		}
		running := false
		for _, c := range desc.GetRunning() {
			running = running || c.GetCallId() == call
		}
		if !running {
			return false
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, 50*time.Millisecond)
		case <-ctx.Done():
			return true
		}
	}
}

// lineWriter logs what an agent prints, which comes in arbitrary pieces.
type lineWriter struct {
	log interface {
		Info(msg string, args ...any)
	}
	mu   sync.Mutex
	rest []byte // at most maxLine
}

var _ io.Writer = (*lineWriter)(nil)

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range p {
		if b != '\n' && len(w.rest) < maxLine {
			w.rest = append(w.rest, b)
			continue
		}
		w.log.Info("agent output", "text", string(w.rest))
		w.rest = w.rest[:0]
	}
	return len(p), nil
}
