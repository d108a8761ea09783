// Package share is the agent of the resource type Share: one exported
// directory of this system's NFS server. Exports come and go without
// disturbing others.
package share

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/plugins/internal/ganesha"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

type share struct{ dir ganesha.Dir }

// New returns the agent with this system's paths.
func New() agent.Agent { return &share{dir: ganesha.Here()} }

// Describe implements agent.Agent.
func (*share) Describe() agent.Description {
	return agent.Description{Type: "Share", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "PathName", Kind: agent.String, Required: true, Doc: "Directory to export."},
		{Name: "Client", Kind: agent.String, Doc: "Host or network that may use it; empty or * means all."},
		{Name: "OtherClients", Kind: agent.String, Dimension: agent.Vector, Doc: "More hosts or networks."},
		{Name: "Options", Kind: agent.String, Doc: "rw, ro, root_squash, no_root_squash, separated by commas."},
	}}
}

var knownOptions = []string{"rw", "ro", "root_squash", "no_root_squash", "sync"}

// Validate implements agent.Validator.
func (*share) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	var problems []agent.Problem
	if path := r.String("PathName"); path != "" && !filepath.IsAbs(path) {
		problems = append(problems, agent.Problem{Attr: "PathName", Text: fmt.Sprintf("%q is not an absolute path", path)})
	}
	for _, option := range options(r) {
		if !slices.Contains(knownOptions, option) {
			problems = append(problems, agent.Problem{Attr: "Options", Text: fmt.Sprintf("unknown option %q; known are %s", option, strings.Join(knownOptions, ", "))})
		}
	}
	return problems
}

func options(r *agent.Resource) []string {
	return strings.FieldsFunc(r.String("Options"), func(c rune) bool { return c == ',' || c == ' ' })
}

func export(r *agent.Resource) ganesha.Export {
	e := ganesha.Export{Path: filepath.Clean(r.String("PathName"))}
	for _, client := range append([]string{r.String("Client")}, r.Strings("OtherClients")...) {
		if client != "" && client != "*" {
			e.Clients = append(e.Clients, client)
		}
	}
	set := options(r)
	e.ReadOnly = slices.Contains(set, "ro")
	e.RootSquash = slices.Contains(set, "root_squash")
	return e
}

// Online exports the directory and begins the grace period, so that clients of
// a failed system can reclaim their locks before others get new ones.
func (s *share) Online(ctx context.Context, r *agent.Resource) error {
	e := export(r)
	if info, err := os.Stat(e.Path); err != nil {
		return fmt.Errorf("export: %w (is the file system mounted here?)", err)
	} else if !info.IsDir() {
		return fmt.Errorf("export %s: it is no directory", e.Path)
	}
	began := time.Now()
	if err := s.dir.Add(ctx, e); err != nil {
		return err
	}
	if err := s.dir.Grace(ctx); err != nil {
		return err
	}
	r.Log.Info("exported", "path", e.Path, "took_ms", time.Since(began).Milliseconds())
	return nil
}

// Offline ends the export. Without a server there is none.
func (s *share) Offline(ctx context.Context, r *agent.Resource) error {
	running, err := s.dir.Running()
	if err != nil || len(running) == 0 {
		return err
	}
	return s.dir.Remove(ctx, export(r))
}

// Clean implements agent.OnOnlyController.
func (s *share) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return s.Offline(ctx, r)
}

// Monitor asks the server for its exports.
func (s *share) Monitor(ctx context.Context, r *agent.Resource) (agent.Status, error) {
	running, err := s.dir.Running()
	if err != nil {
		return agent.Status{}, err
	}
	if len(running) == 0 {
		return agent.Status{State: agent.Offline, Detail: "the NFS server does not run"}, nil
	}
	shown, err := s.dir.Show(ctx)
	if err != nil {
		return agent.Status{}, err
	}
	if !slices.Contains(shown, export(r).Path) {
		return agent.Status{State: agent.Offline}, nil
	}
	return agent.Status{State: agent.Online}, nil
}

// Info implements agent.Informer.
func (s *share) Info(ctx context.Context, r *agent.Resource) (map[string]string, error) {
	in, err := s.dir.InGrace(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"InGrace": fmt.Sprint(in), "Path": export(r).Path}, nil
}
