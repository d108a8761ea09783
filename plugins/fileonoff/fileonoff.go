// Package fileonoff is the agent of type FileOnOff: the resource is the
// existence of a file. It is there for tests and first looks.
package fileonoff

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// New returns the agent.
func New() agent.Agent { return fileOnOff{} }

type fileOnOff struct{}

// Describe implements agent.Agent.
func (fileOnOff) Describe() agent.Description {
	return agent.Description{Type: "FileOnOff", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "PathName", Kind: agent.String, Required: true, Doc: "File to create and remove."},
	}}
}

// Online implements agent.Controller. A file that is there keeps its content.
func (fileOnOff) Online(_ context.Context, r *agent.Resource) error {
	f, err := os.OpenFile(r.String("PathName"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// Offline implements agent.Controller.
func (fileOnOff) Offline(_ context.Context, r *agent.Resource) error {
	err := os.Remove(r.String("PathName"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Monitor implements agent.Agent. The detailed one also reads the file: one that
// is there and cannot be read is worth little confidence.
func (fileOnOff) Monitor(ctx context.Context, r *agent.Resource) (agent.Status, error) {
	switch _, err := os.Stat(r.String("PathName")); {
	case err == nil:
		if agent.Detailed(ctx) {
			if err := readSome(r.String("PathName")); err != nil {
				return agent.Status{State: agent.Online, Confidence: 10, Detail: err.Error()}, nil
			}
		}
		return agent.Status{State: agent.Online}, nil
	case errors.Is(err, fs.ErrNotExist):
		return agent.Status{State: agent.Offline}, nil
	default:
		return agent.Status{}, err // UNKNOWN, never OFFLINE
	}
}

func readSome(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Read(make([]byte, 4096)); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// Clean implements agent.Controller.
func (a fileOnOff) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return a.Offline(ctx, r)
}
