package host

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/trigger"
)

// What waits for its turn is written down, so that the next had can say what a
// killed one did not come to. It does not run it: the event is over, and what
// an earlier had was told is not told again (R22).

func waitingDir(root paths.Root) string { return root.State("triggers.waiting") }

func waitingFile(root paths.Root, id uint64) string {
	return filepath.Join(waitingDir(root), strconv.FormatUint(id, 10)+".json")
}

// Lost returns the jobs that waited when an earlier runner was killed, in
// their order, and forgets them. Call it before New.
func Lost(root paths.Root) ([]trigger.Job, error) {
	entries, err := os.ReadDir(waitingDir(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var lost []trigger.Job
	for _, e := range entries {
		path := filepath.Join(waitingDir(root), e.Name())
		text, readErr := os.ReadFile(path)
		var j trigger.Job
		if readErr == nil && json.Unmarshal(text, &j) == nil && j.Event != "" {
			lost = append(lost, j)
		}
		err = errors.Join(err, readErr, os.Remove(path))
	}
	slices.SortFunc(lost, func(a, b trigger.Job) int { return cmp.Compare(a.ID, b.ID) })
	return lost, err
}

// keep writes down a job that waits. Its loss is no harm to anybody else, so
// an error is said and that is all.
func (r *Runner) keep(j trigger.Job) {
	text, err := json.Marshal(j)
	if err == nil {
		err = os.MkdirAll(waitingDir(r.cfg.Root), 0o700)
	}
	if err == nil {
		err = os.WriteFile(waitingFile(r.cfg.Root, j.ID), text, 0o600)
	}
	if err != nil {
		r.cfg.Line("WARNING", "V-16-6-90057", "hatrigger:trigger "+j.String()+" waits, and would be lost without a word if had were killed: "+err.Error())
	}
}

func (r *Runner) forget(j trigger.Job) {
	_ = os.Remove(waitingFile(r.cfg.Root, j.ID)) // most never waited
}
