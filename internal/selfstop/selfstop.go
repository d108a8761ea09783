// Package selfstop stops this system, now, because it may no longer run what
// it protects (safety rule R2): the loser of a race, a system whose gab died
// or lost its standing, a system without fencing or hashadow for 2 s.
//
// Actions are the lab's power switch, a program, sysrq reboot or panic, and a
// kernel watchdog that is no longer fed. Reboot, panic and watchdog refuse to
// run in a lab, under EVENKEEL_ROOT and outside the machine's own PID
// namespace (R3); the refusals are worked out before any path of the kernel is
// even looked at.
package selfstop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
	"golang.org/x/sys/unix"
)

// ErrRefused is matched by the error of an action that must not run here (R3).
var ErrRefused = errors.New("refused")

// initialPIDNamespace is the inode of the machine's own PID namespace: a
// constant of the kernel (PROC_PID_INIT_INO).
const initialPIDNamespace = 0xEFFFFFFC

// Config is what a Stopper is made of.
type Config struct {
	// Action, with Program for conf.ActionExec.
	Action  conf.Action
	Program string
	// Root of the system's files.
	Root paths.Root
}

// Stopper stops this system. It is safe for concurrent use.
type Stopper struct {
	cfg  Config
	host host

	mu       sync.Mutex
	watchdog *watchdog
}

// host is what an action touches. Tests put their own files here; nothing but
// New ever fills in the machine's.
type host struct {
	sysrq    string // /proc/sysrq-trigger, "" if refused
	watchdog string // /dev/watchdog, "" if refused
	pidNS    func() (uint64, error)
}

// New returns the Stopper for this system. For an action that R3 forbids here
// it holds no path of the kernel at all: there is nothing that it could open.
func New(cfg Config) *Stopper {
	h := host{pidNS: ownPIDNamespace}
	s := &Stopper{cfg: cfg, host: h}
	if s.refusal() == nil {
		s.host.sysrq, s.host.watchdog = "/proc/sysrq-trigger", "/dev/watchdog"
	}
	return s
}

// FromConfig returns the Stopper that fencing.conf asks for.
func FromConfig(c conf.Config, root paths.Root) *Stopper {
	return New(Config{Action: c.Action(lab.InLab(root)), Program: c.SelfStopExec, Root: root})
}

// Load reads fencing.conf below root and returns its Stopper; a missing file
// is the default configuration.
func Load(root paths.Root) (*Stopper, error) {
	text, err := os.ReadFile(root.Config("fencing.conf"))
	if errors.Is(err, os.ErrNotExist) {
		return FromConfig(conf.Default(), root), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read self-stop action: %w", err)
	}
	c, err := conf.Parse("fencing.conf", text)
	if err != nil {
		return nil, err
	}
	return FromConfig(c, root), nil
}

// Action is the action's name.
func (s *Stopper) Action() conf.Action { return s.cfg.Action }

func ownPIDNamespace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, fmt.Errorf("find PID namespace: %w", err)
	}
	return st.Ino, nil
}

// refusal says why R3 forbids the action here, or nil. It touches nothing.
func (s *Stopper) refusal() error {
	switch s.cfg.Action {
	case conf.ActionReboot, conf.ActionPanic, conf.ActionWatchdog:
	default:
		return nil
	}
	if !s.cfg.Root.IsHost() {
		return fmt.Errorf("%w: self_stop %s never runs under EVENKEEL_ROOT; use self_stop=lab or exec", ErrRefused, s.cfg.Action)
	}
	if lab.InLab(s.cfg.Root) {
		return fmt.Errorf("%w: self_stop %s never runs in a lab (%s exists); use self_stop=lab", ErrRefused, s.cfg.Action, s.cfg.Root.LabMarker())
	}
	ino, err := s.host.pidNS()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if ino != initialPIDNamespace {
		return fmt.Errorf("%w: self_stop %s runs only in the machine's own PID namespace, not in a container; use self_stop=exec", ErrRefused, s.cfg.Action)
	}
	return nil
}

// Check reports whether the action can run here and now: nil means armed
// (R2). It changes nothing, except that the watchdog's driver is looked at.
func (s *Stopper) Check(ctx context.Context) error {
	if err := s.refusal(); err != nil {
		return err
	}
	switch s.cfg.Action {
	case conf.ActionLab:
		return s.checkLab(ctx)
	case conf.ActionExec:
		return checkProgram(s.cfg.Program)
	case conf.ActionReboot, conf.ActionPanic:
		if err := unix.Access(s.host.sysrq, unix.W_OK); err != nil {
			return fmt.Errorf("check self_stop %s: %s cannot be written: %w (run as root)", s.cfg.Action, s.host.sysrq, err)
		}
		return nil
	case conf.ActionWatchdog:
		if err := unix.Access(s.host.watchdog, unix.W_OK); err != nil {
			return fmt.Errorf("check self_stop watchdog: %s cannot be written: %w (load the driver of the watchdog, or softdog)", s.host.watchdog, err)
		}
		return nil
	}
	return fmt.Errorf("check self_stop: unknown action %q", s.cfg.Action)
}

func (s *Stopper) checkLab(ctx context.Context) error {
	marker, err := lab.ReadMarker(s.cfg.Root)
	if err != nil {
		return fmt.Errorf("check self_stop lab: %w (it works only in a lab; set self_stop in fencing.conf)", err)
	}
	state, err := lab.PowerState(ctx, marker, marker.System)
	if err != nil {
		return fmt.Errorf("check self_stop lab: %w", err)
	}
	if state != lab.On {
		return fmt.Errorf("check self_stop lab: the switch says that %s is %s", marker.System, state)
	}
	return nil
}

func checkProgram(program string) error {
	st, err := os.Stat(program)
	if err != nil {
		return fmt.Errorf("check self_stop exec: %w", err)
	}
	if !st.Mode().IsRegular() || unix.Access(program, unix.X_OK) != nil {
		return fmt.Errorf("check self_stop exec: %s is no program that can be run; chmod +x it", program)
	}
	return nil
}

// Arm makes ready what must run beforehand: it opens the watchdog and begins
// to feed it. It does nothing for the other actions but Check. The feeder
// ends with Disarm; only after the last protected group was probed offline
// may that be called (R2).
func (s *Stopper) Arm(ctx context.Context) error {
	if err := s.Check(ctx); err != nil {
		return err
	}
	if s.cfg.Action != conf.ActionWatchdog {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchdog != nil {
		return nil
	}
	dog, err := openWatchdog(s.host.watchdog)
	if err != nil {
		return err
	}
	s.watchdog = dog
	return nil
}

// Disarm closes the watchdog in the way that keeps it from firing.
func (s *Stopper) Disarm() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchdog == nil {
		return nil
	}
	err := s.watchdog.disarm()
	s.watchdog = nil
	return err
}

// Run stops this system. On a system that stops, it does not return. An error
// means that the system still runs: the caller tries again. The reason goes
// to the kernel's log where there is one.
func (s *Stopper) Run(ctx context.Context, reason string) error {
	if err := s.refusal(); err != nil {
		return fmt.Errorf("stop this system (%s): %w", reason, err)
	}
	switch s.cfg.Action {
	case conf.ActionLab:
		marker, err := lab.ReadMarker(s.cfg.Root)
		if err != nil {
			return fmt.Errorf("stop this system: %w", err)
		}
		return lab.PowerOff(ctx, marker, marker.System)
	case conf.ActionExec:
		out, err := exec.CommandContext(ctx, s.cfg.Program, reason).CombinedOutput()
		if err != nil {
			return fmt.Errorf("stop this system: %s: %w: %.200s", s.cfg.Program, err, out)
		}
		return nil
	case conf.ActionReboot:
		return s.trigger('b')
	case conf.ActionPanic:
		return s.trigger('c')
	case conf.ActionWatchdog:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watchdog == nil {
			// Opening starts the timer; nobody will feed it.
			dog, err := os.OpenFile(s.host.watchdog, os.O_WRONLY, 0)
			if err != nil {
				return fmt.Errorf("stop this system: open watchdog: %w", err)
			}
			s.watchdog = &watchdog{file: dog, quit: make(chan struct{}), done: make(chan struct{})}
			close(s.watchdog.done)
			return nil
		}
		s.watchdog.starve()
		return nil
	}
	return fmt.Errorf("stop this system: unknown self_stop action %q", s.cfg.Action)
}

// Must runs the action again and again until the system stops or ctx ends;
// every failure is passed to report.
func (s *Stopper) Must(ctx context.Context, reason string, report func(error)) {
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := s.Run(once, reason)
		cancel()
		if err != nil {
			report(err)
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// trigger writes one letter to the kernel's sysrq file.
func (s *Stopper) trigger(letter byte) error {
	if s.host.sysrq == "" {
		return fmt.Errorf("stop this system: %w", ErrRefused)
	}
	f, err := os.OpenFile(s.host.sysrq, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("stop this system: %w", err)
	}
	defer f.Close()
	if _, err := f.Write([]byte{letter}); err != nil {
		return fmt.Errorf("stop this system: write %s: %w", s.host.sysrq, err)
	}
	return nil
}

// watchdog is a kernel watchdog that one goroutine feeds until starve.
type watchdog struct {
	file *os.File
	quit chan struct{} // closed once by starve or disarm
	done chan struct{} // closed when the feeder has ended
	once sync.Once
}

func openWatchdog(path string) (*watchdog, error) {
	if path == "" {
		return nil, fmt.Errorf("open watchdog: %w", ErrRefused)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open watchdog: %w", err)
	}
	period := 2 * time.Second
	if seconds, err := unix.IoctlGetInt(int(f.Fd()), unix.WDIOC_GETTIMEOUT); err == nil && seconds > 0 {
		period = time.Duration(seconds) * time.Second / 4
	}
	w := &watchdog{file: f, quit: make(chan struct{}), done: make(chan struct{})}
	go w.feed(period)
	return w, nil
}

func (w *watchdog) feed(period time.Duration) {
	defer close(w.done)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		if _, err := w.file.Write([]byte{0}); err != nil {
			return // it fires: that is what a watchdog is for
		}
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
	}
}

func (w *watchdog) starve() {
	w.once.Do(func() { close(w.quit) })
	<-w.done
}

func (w *watchdog) disarm() error {
	w.starve()
	if _, err := w.file.Write([]byte{'V'}); err != nil {
		return fmt.Errorf("disarm watchdog: %w", err)
	}
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("disarm watchdog: %w", err)
	}
	return nil
}

// String is the action as fencing.conf names it, with its program.
func (s *Stopper) String() string {
	if s.cfg.Program != "" {
		return string(s.cfg.Action) + " " + strconv.Quote(s.cfg.Program)
	}
	return string(s.cfg.Action)
}

// Program is the program of conf.ActionExec, else "".
func (s *Stopper) Program() string { return s.cfg.Program }
