package host

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// eventBound is the bound of the channel of events. When it is full, the
// supervisor of the type that has news waits; calls go on.
const eventBound = 256

// Host runs the agents of one system. Its methods may be called from any
// goroutine.
type Host struct {
	cfg     Config
	lock    *os.File
	cgroups *cgroups
	spawn   *spawner
	held    pidSet
	events  chan Event

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // supervisors, watches, the reaper of orphans

	mu     sync.Mutex
	ready  bool // EndFormer succeeded
	agents map[string]*supervisor
}

// New makes a host. Nothing is started before EndFormer has succeeded.
func New(cfg Config) (*Host, error) {
	if cfg.Dir == "" || cfg.Log == nil {
		return nil, errors.New("new agent host: Dir and Log are required")
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.StartTimeout, 60*time.Second)
	def(&cfg.HungGrace, 2*time.Second)
	def(&cfg.ReplyTimeout, 130*time.Second)
	def(&cfg.MaxBackOff, 10*time.Second)
	if cfg.GiveUpAfter <= 0 {
		cfg.GiveUpAfter = 6
	}
	if cfg.AgentLog == nil {
		cfg.AgentLog = func(typeName string) *slog.Logger { return cfg.Log.With("type", typeName) }
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("new agent host: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("new agent host: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("new agent host: %s is locked: another had of this system runs", lock.Name())
	}
	cg, err := findCgroups(cfg.Cgroup)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("new agent host: %w", err)
	}
	h := &Host{
		cfg: cfg, lock: lock, cgroups: cg, spawn: newSpawner(),
		events: make(chan Event, eventBound), agents: map[string]*supervisor{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.wg.Add(1)
	go func() { defer h.wg.Done(); reapOrphans(h.ctx, &h.held) }()
	return h, nil
}

// EndFormer ends what is left of the agents of a former had on this system,
// their helpers included, and has seen that nothing is left when it returns
// nil (R8). Applications that agents started detached are not touched. Call it
// once before Start; on an error, which names the process that does not end,
// call it again until ctx ends or it succeeds.
func (h *Host) EndFormer(ctx context.Context) error {
	records, err := readRecords(h.cfg.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormerAlive, err)
	}
	boot, err := bootID()
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.Boot == boot {
			if err := endProcesses(r.record, false); err != nil {
				return fmt.Errorf("%w: %w", ErrFormerAlive, err)
			}
			h.cfg.Log.Info("agent of a former had is gone", "type", r.Type, "pid", r.PID)
		}
		if strings.Contains(r.Sockets, "plugin-dir") {
			_ = os.RemoveAll(r.Sockets)
		}
		h.cgroups.removeAgent(r.Cgroup)
		r.remove()
	}
	h.mu.Lock()
	h.ready = true
	h.mu.Unlock()
	return nil
}

// Start runs the agent of a type, from the program at path, until Stop. It
// returns at once; AgentUp or AgentFailed tells how it went. Start of what runs
// already changes its declaration for the next start of the process; Start of
// what was given up or refused tries again.
func (h *Host) Start(decl TypeDecl, path string) error {
	if decl.Name == "" || strings.ContainsAny(decl.Name, "/\x00") {
		return fmt.Errorf("start agent: %q is no name of a type", decl.Name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ready {
		return fmt.Errorf("start agent %s: %w (EndFormer has not succeeded)", decl.Name, ErrFormerAlive)
	}
	if h.ctx.Err() != nil {
		return fmt.Errorf("start agent %s: the host is closed", decl.Name)
	}
	if s := h.agents[decl.Name]; s != nil {
		s.redeclare(decl, path)
		return nil
	}
	s := newSupervisor(h, decl, path)
	h.agents[decl.Name] = s
	h.wg.Add(1)
	go func() { defer h.wg.Done(); s.run() }()
	return nil
}

// Stop ends the agent of a type; its resources stay as they are. It waits for
// calls under way until ctx ends, then kills.
func (h *Host) Stop(ctx context.Context, typeName string) error {
	h.mu.Lock()
	s := h.agents[typeName]
	delete(h.agents, typeName)
	h.mu.Unlock()
	if s == nil {
		return fmt.Errorf("stop agent %s: %w", typeName, ErrNoAgent)
	}
	return s.ask(ctx, request{kind: askStop})
}

// Restart swaps in the program that now stands at the type's path. The new one
// must describe itself well before the old one is touched; calls under way end
// first. Resources do not notice. On an error the old agent still serves.
func (h *Host) Restart(ctx context.Context, typeName string) error {
	s := h.supervisor(typeName)
	if s == nil {
		return fmt.Errorf("restart agent %s: %w", typeName, ErrNoAgent)
	}
	if err := s.ask(ctx, request{kind: askSwap}); err != nil {
		return fmt.Errorf("restart agent %s: %w", typeName, err)
	}
	return nil
}

// Events is the news from the agents, in order for each type. It must be read;
// it is closed by Close.
func (h *Host) Events() <-chan Event { return h.events }

// PID is the process id of a type's agent, for display only; 0 if it is down.
func (h *Host) PID(typeName string) int {
	if s := h.supervisor(typeName); s != nil {
		if in := s.current(); in != nil {
			return in.proc.rec.PID
		}
	}
	return 0
}

// Close ends all agents. Calls under way return ErrAgentDown; resources stay.
func (h *Host) Close() error {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.wg.Wait()
	h.spawn.close()
	close(h.events)
	if h.cgroups.base != "" {
		_ = os.Remove(h.cgroups.apps()) // stays if applications are in it
	}
	if dir, err := h.socketDir(); err == nil && dir != h.cfg.Dir {
		_ = os.Remove(dir)
	}
	return h.lock.Close()
}

func (h *Host) supervisor(typeName string) *supervisor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.agents[typeName]
}

// emit hands out news; it is lost only when the host closes.
func (h *Host) emit(ev Event) {
	select {
	case h.events <- ev:
	case <-h.ctx.Done():
	}
}

// socketDir is where sockets go: below Dir, or, as a socket's path has at most
// 107 bytes, below the directory for temporary files.
func (h *Host) socketDir() (string, error) {
	if len(h.cfg.Dir) <= 68 { // and 38 for /plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN
		return h.cfg.Dir, nil
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(h.cfg.Dir))
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("evenkeel-%d-%08x", os.Getuid(), hash.Sum32()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make directory for sockets: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil || int(st.Uid) != os.Getuid() || st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o077 != 0 {
		return "", fmt.Errorf("make directory for sockets: %s belongs to somebody else; remove it", dir)
	}
	return dir, nil
}
