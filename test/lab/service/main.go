// Command lab-service is the agent of type Service of the laboratory: a service
// that keeps a file while it runs and notes it when somebody stops it on
// purpose, as an application with a control program of its own does.
package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

type service struct{}

func main() { agent.Serve(service{}) }

// Describe implements agent.Agent.
func (service) Describe() agent.Description {
	return agent.Description{Type: "Service", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "PathName", Kind: agent.String, Required: true, Doc: "Its file; NAME.stopped says that it was stopped on purpose."},
	}}
}

func note(r *agent.Resource) string { return r.String("PathName") + ".stopped" }

// Online implements agent.Controller.
func (service) Online(_ context.Context, r *agent.Resource) error {
	return errors.Join(gone(os.Remove(note(r))), os.WriteFile(r.String("PathName"), nil, 0o600))
}

// Offline implements agent.Controller.
func (service) Offline(_ context.Context, r *agent.Resource) error {
	return errors.Join(gone(os.Remove(r.String("PathName"))), gone(os.Remove(note(r))))
}

// Clean implements agent.Controller.
func (a service) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return a.Offline(ctx, r)
}

// Monitor implements agent.Agent.
func (service) Monitor(_ context.Context, r *agent.Resource) (agent.Status, error) {
	if _, err := os.Stat(r.String("PathName")); err == nil {
		return agent.Status{State: agent.Online}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return agent.Status{}, err
	}
	if _, err := os.Stat(note(r)); err == nil {
		return agent.Status{State: agent.IntentionalOffline, Detail: "somebody stopped it"}, nil
	}
	return agent.Status{State: agent.Offline}, nil
}

func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
