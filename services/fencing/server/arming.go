package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/selfstop"
	"github.com/evenkeel/evenkeel/internal/standing"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
)

// arming knows whether the self-stop action can run here (R2). What is armed
// is kept in /run/evenkeel/armed, so that a fencing daemon that was restarted
// under something protected goes on with the same action.
type arming struct {
	root paths.Root
	log  *slog.Logger

	mu   sync.Mutex
	stop *selfstop.Stopper
}

// armed is the content of /run/evenkeel/armed.
type armed struct {
	Action  conf.Action `json:"action"`
	Program string      `json:"program,omitempty"`
}

func newArming(root paths.Root, cfg conf.Config, log *slog.Logger) *arming {
	return &arming{root: root, log: log, stop: selfstop.FromConfig(cfg, root)}
}

func (a *arming) stopper() *selfstop.Stopper {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stop
}

func (a *arming) action() string { return string(a.stopper().Action()) }

// inherit takes over what an earlier fencing daemon of this boot had armed, if
// something protected is here.
func (a *arming) inherit(ctx context.Context) {
	if standing.Resources(a.root) == 0 {
		_ = os.Remove(a.root.Run("armed"))
		return
	}
	text, err := os.ReadFile(a.root.Run("armed"))
	if err != nil {
		a.log.Error("something protected is here, but no self-stop was armed", "error", err)
		return
	}
	var was armed
	if err := json.Unmarshal(text, &was); err != nil {
		a.log.Error("what was armed cannot be read", "error", err)
		return
	}
	a.mu.Lock()
	a.stop = selfstop.New(selfstop.Config{Action: was.Action, Program: was.Program, Root: a.root})
	a.mu.Unlock()
	if err := a.arm(ctx); err != nil {
		a.log.Error("inherited self-stop cannot run", "action", was.Action, "error", err)
		return
	}
	a.log.Info("self-stop inherited", "action", was.Action)
}

// check is whether the action could run now.
func (a *arming) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return a.stopper().Check(ctx)
}

// arm makes the action ready and records it.
func (a *arming) arm(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stop := a.stopper()
	if err := stop.Arm(ctx); err != nil {
		return err
	}
	text, err := json.Marshal(armed{Action: stop.Action(), Program: stop.Program()})
	if err != nil {
		return err
	}
	next := a.root.Run("armed.new")
	if err := os.WriteFile(next, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(next, a.root.Run("armed"))
}

// disarm is called after the last protected group was probed offline.
func (a *arming) disarm() error {
	err := a.stopper().Disarm()
	if rm := os.Remove(a.root.Run("armed")); err == nil && rm != nil && !os.IsNotExist(rm) {
		err = rm
	}
	return err
}
