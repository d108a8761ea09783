package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// What host and agent agree on before they speak gRPC, and what the host tells
// by the environment. Agents in other languages use the same words.
const (
	// CookieKey and CookieValue are go-plugin's magic cookie.
	CookieKey   = "EVENKEEL_AGENT"
	CookieValue = "a2c7c0e6-evenkeel-agent"
	// ProtocolVersion is go-plugin's application protocol version: the v1 of
	// evenkeel.agent.v1.
	ProtocolVersion = 1
	// PluginName is the name under which the agent is dispensed.
	PluginName = "agent"
	// EnvHostPID holds the process id of the host; the agent ends when that
	// process does.
	EnvHostPID = "EVENKEEL_HOST_PID"
	// EnvToken marks the agent and the helpers that it starts, so that a later
	// had can find and end them (R8). Start takes it out of the environment of
	// applications.
	EnvToken = "EVENKEEL_AGENT_TOKEN"
	// EnvAppCgroup is the cgroup v2 directory for applications; empty or absent
	// if there is none.
	EnvAppCgroup = "EVENKEEL_APP_CGROUP"
)

// Serve runs the agent until had ends it. It does not return in the agent's
// process; call it from main and nothing else.
func Serve(a Agent) {
	stderr := os.Stderr // go-plugin replaces the variable
	if err := CheckAgent(a); err != nil {
		fmt.Fprintf(stderr, "agent: %v\n", err)
		os.Exit(2)
	}
	if os.Getenv(CookieKey) != CookieValue {
		d := a.Describe()
		fmt.Fprintf(stderr, "This is the agent of resource type %s, version %s. had starts it; it does nothing by itself.\n", d.Type, d.Version)
		os.Exit(1)
	}
	exitWithParent()
	s := newServer(a, stderr)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: ProtocolVersion, MagicCookieKey: CookieKey, MagicCookieValue: CookieValue,
		},
		Plugins:    plugin.PluginSet{PluginName: &grpcPlugin{server: s}},
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server { return grpc.NewServer(opts...) },
	})
}

// Register puts the agent's service on a gRPC server, for tests that need no
// process. Logs go to log.
func Register(on grpc.ServiceRegistrar, a Agent, log io.Writer) error {
	if err := CheckAgent(a); err != nil {
		return err
	}
	agentv1.RegisterAgentServiceServer(on, newServer(a, log))
	return nil
}

// CheckAgent tells whether an agent's description is complete and the methods
// that its Operations demand exist.
func CheckAgent(a Agent) error {
	d := a.Describe()
	if d.Type == "" {
		return fmt.Errorf("describe: Type is empty")
	}
	switch d.Operations {
	case OnOff:
		if _, ok := a.(Controller); !ok {
			return fmt.Errorf("describe %s: an OnOff type needs Online, Offline and Clean", d.Type)
		}
	case OnOnly:
		if _, ok := a.(OnOnlyController); !ok {
			return fmt.Errorf("describe %s: an OnOnly type needs Online and Clean", d.Type)
		}
	case None:
	default:
		return fmt.Errorf("describe %s: Operations is none of OnOff, OnOnly, None", d.Type)
	}
	seen := map[string]bool{}
	for _, at := range d.Attrs {
		if at.Name == "" || seen[at.Name] {
			return fmt.Errorf("describe %s: attribute %q is nameless or declared twice", d.Type, at.Name)
		}
		seen[at.Name] = true
		if at.Default != "" {
			if problem := checkText(at.Kind, at.Default); problem != "" {
				return fmt.Errorf("describe %s: default of %s: %s", d.Type, at.Name, problem)
			}
		}
	}
	if _, ok := a.(Actor); len(d.Actions) > 0 && !ok {
		return fmt.Errorf("describe %s: actions are declared, but there is no method Action", d.Type)
	}
	return nil
}

type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin

	server *server
}

// GRPCClient is not for agents: hosts have their own side.
func (p *grpcPlugin) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("an agent is no client")
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	agentv1.RegisterAgentServiceServer(s, p.server)
	return nil
}

// newLog makes records that the host can read back: one JSON object a line.
func newLog(w io.Writer, typeName string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})).With("type", typeName)
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
