// Package nfs is the agent of the resource type NFS: the NFS server of one
// system, NFS-Ganesha, serving version 4. It is brought online where a share
// needs it and left running when the group goes (OnOnly).
package nfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/plugins/internal/ganesha"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

type nfs struct{ dir ganesha.Dir }

// New returns the agent with this system's paths.
func New() agent.Agent { return &nfs{dir: ganesha.Here()} }

// Describe implements agent.Agent.
func (*nfs) Describe() agent.Description {
	return agent.Description{Type: "NFS", Version: "1.0.0", Operations: agent.OnOnly, Attrs: []agent.Attr{
		{Name: "Nservers", Kind: agent.Integer, Default: "8", Doc: "Worker threads of the server."},
		{Name: "GracePeriod", Kind: agent.Integer, Default: "10", Doc: "Seconds in which clients reclaim their locks after a take-over; the lease is the same."},
	}}
}

// Validate implements agent.Validator.
func (*nfs) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	if grace := r.Int("GracePeriod"); grace < 1 || grace > 180 {
		return []agent.Problem{{Attr: "GracePeriod", Text: fmt.Sprintf("%d s; 1 to 180 are possible", grace)}}
	}
	return nil
}

// Online starts the server and returns when it answers.
func (n *nfs) Online(ctx context.Context, r *agent.Resource) error {
	running, err := n.dir.Running()
	if err != nil {
		return err
	}
	if len(running) > 0 && n.dir.WaitReady(shortly(ctx)) == nil {
		return nil
	}
	if err := n.kill(ctx); err != nil {
		return err
	}
	if err := n.dir.WriteConfig(ganesha.Options{Workers: r.Int("Nservers"), GraceSeconds: r.Int("GracePeriod")}); err != nil {
		return err
	}
	began := time.Now()
	for _, command := range n.dir.Commands() {
		if _, err := agent.Start(command); err != nil {
			return fmt.Errorf("start %s: %w (install the packages nfs-ganesha, nfs-ganesha-vfs and dbus)", command.Path, err)
		}
	}
	if err := n.dir.WaitReady(ctx); err != nil {
		return err
	}
	r.Log.Info("NFS server answers", "took_ms", time.Since(began).Milliseconds())
	return nil
}

// shortly bounds a look at a server that may hang.
func shortly(ctx context.Context) context.Context {
	bounded, cancel := context.WithTimeout(ctx, 2*time.Second)
	context.AfterFunc(bounded, cancel)
	return bounded
}

// Clean ends the server and its bus.
func (n *nfs) Clean(ctx context.Context, _ *agent.Resource, _ agent.CleanReason) error {
	return n.kill(ctx)
}

func (n *nfs) kill(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		running, err := n.dir.Running()
		if err != nil || len(running) == 0 {
			return err
		}
		for _, pid := range running {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end the NFS server: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("end the NFS server: processes %v do not go away", running)
		case <-tick.C:
		}
	}
}

// Monitor calls the server as a client would.
func (n *nfs) Monitor(ctx context.Context, _ *agent.Resource) (agent.Status, error) {
	running, err := n.dir.Running()
	if err != nil {
		return agent.Status{}, err
	}
	if len(running) < 2 {
		return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("%d of 2 processes run", len(running))}, nil
	}
	if err := ganesha.Null(shortly(ctx), "127.0.0.1"); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
			return agent.Status{}, err // it may only be slow: cannot tell
		}
		return agent.Status{State: agent.Offline, Detail: err.Error()}, nil
	}
	return agent.Status{State: agent.Online}, nil
}
