//go:build linux

package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
	"github.com/evenkeel/evenkeel/internal/lab/machine"
	"github.com/evenkeel/evenkeel/internal/lab/power"
	"github.com/evenkeel/evenkeel/internal/lab/spec"
)

// host is one system, or the client. It implements power.Target.
type host struct {
	s    *Supervisor
	name string

	boot    sync.Mutex // held while the machine is made or killed
	mu      sync.Mutex // guards the fields below, held shortly
	up      bool       // something of it may be there
	process *machine.Process
	frozen  []int // processes to thaw, nil if not frozen
}

func (h *host) isClient() bool { return h.name == spec.ClientName && !h.s.spec.Unprivileged }

// start makes the machine and plugs its cables; the daemons come later. It
// refuses while anything of an earlier life is left (R4).
func (h *host) start() error {
	h.boot.Lock()
	defer h.boot.Unlock()
	if h.On() {
		return fmt.Errorf("boot %s: it is on", h.name)
	}
	left, err := h.leftovers()
	if err != nil {
		return fmt.Errorf("boot %s: %w", h.name, err)
	}
	if len(left) > 0 {
		return fmt.Errorf("boot %s: /dev/loop%d of its earlier life is still there (%s)", h.name, left[0].Number, left[0].Path)
	}
	config, err := h.s.config(h.name)
	if err != nil {
		return fmt.Errorf("boot %s: %w", h.name, err)
	}
	if err := os.MkdirAll(config.Root, 0o755); err != nil {
		return fmt.Errorf("boot %s: %w", h.name, err)
	}
	console, err := os.OpenFile(h.s.place.Console(h.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("boot %s: %w", h.name, err)
	}
	defer console.Close()
	h.setUp(true)
	process, err := h.make(config, console)
	if err != nil {
		h.setUp(false)
		return err
	}
	h.mu.Lock()
	h.process, h.frozen = process, nil
	h.mu.Unlock()
	if err := h.plug(process.PID); err != nil {
		return err
	}
	go h.watch(process)
	return nil
}

func (h *host) make(config machine.Config, console *os.File) (*machine.Process, error) {
	if !h.s.spec.Unprivileged && !h.isClient() {
		image := h.s.place.Image(h.name)
		if _, err := os.Stat(image); err != nil {
			if err := makeImage(image, int64(h.s.spec.Image), "ext4", h.name); err != nil {
				return nil, fmt.Errorf("boot %s: %w", h.name, err)
			}
		}
		device, n, err := loopdev.Attach(image)
		if err != nil {
			return nil, fmt.Errorf("boot %s: %w", h.name, err)
		}
		defer device.Close() // by then its mount keeps the device
		config.ImageDevice = loopdev.Node(n)
	}
	return machine.Start(config, console)
}

// watch ends a system whose init is gone: what is left of it must not go on.
func (h *host) watch(process *machine.Process) {
	<-process.Done()
	h.mu.Lock()
	mine := h.process == process
	h.mu.Unlock()
	if !mine {
		return
	}
	if err := h.off(); err != nil {
		h.s.log.Error("a system whose init had ended is not off", "system", h.name, "error", err)
	}
}

// off powers a system off. The client has no switch, but is as mortal.
func (h *host) off() error {
	if !h.isClient() {
		return h.s.power.Off(context.Background(), h.name)
	}
	if err := h.Kill(); err != nil {
		return err
	}
	h.PoweredOff()
	return nil
}

func (h *host) plug(pid int) error {
	if h.s.network == nil {
		return nil
	}
	h.s.netMu.Lock()
	defer h.s.netMu.Unlock()
	sp := h.s.spec
	interfaces := make([]string, len(sp.Links)+1)
	addresses := make([]string, len(interfaces))
	if !h.isClient() {
		copy(interfaces, sp.Links)
	}
	interfaces[len(sp.Links)] = sp.Public.Interface
	addresses[len(sp.Links)] = fmt.Sprintf("%s/%d", sp.Address(h.name), sp.Prefix())
	return h.s.network.Plug(h.name, pid, interfaces, addresses)
}

func (h *host) setUp(up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up = up
}

// running returns the process of a system that is on and not frozen.
func (h *host) running() (*machine.Process, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.up || h.process == nil:
		return nil, fmt.Errorf("%s is off; halab boot %s starts it", h.name, h.name)
	case h.frozen != nil:
		return nil, fmt.Errorf("%s is frozen; halab thaw %s lets it go on", h.name, h.name)
	}
	return h.process, nil
}

// state is on, off or frozen.
func (h *host) state() (string, *machine.Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case !h.up || h.process == nil:
		return "off", nil
	case h.frozen != nil:
		return "frozen", h.process
	}
	return "on", h.process
}

func (h *host) freeze() error {
	process, err := h.running()
	if err != nil {
		return err
	}
	stopped, err := process.Freeze()
	h.mu.Lock()
	if stopped == nil {
		stopped = []int{}
	}
	h.frozen = stopped
	h.mu.Unlock()
	if err != nil {
		return fmt.Errorf("freeze %s: %w", h.name, err)
	}
	return nil
}

func (h *host) thaw() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.frozen == nil {
		return fmt.Errorf("thaw %s: it is not frozen", h.name)
	}
	stopped := h.frozen
	h.frozen = nil
	return machine.Thaw(stopped)
}

// On implements power.Target.
func (h *host) On() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up
}

// LinksDown implements power.Target.
func (h *host) LinksDown() error {
	if h.s.network == nil {
		return nil
	}
	h.s.netMu.Lock()
	defer h.s.netMu.Unlock()
	return h.s.network.Unplug(h.name)
}

// ShutDownFileSystems implements power.Target.
func (h *host) ShutDownFileSystems() error {
	h.mu.Lock()
	process := h.process
	h.mu.Unlock()
	if process == nil || h.s.spec.Unprivileged {
		return nil
	}
	devices, err := h.s.devices()
	if err != nil {
		return err
	}
	return power.ShutDownFileSystems(process.PIDs(), devices)
}

// Kill implements power.Target.
func (h *host) Kill() error {
	h.boot.Lock() // a machine that is being made is complete first
	defer h.boot.Unlock()
	h.mu.Lock()
	process := h.process
	h.mu.Unlock()
	if process == nil {
		return nil
	}
	return process.Kill()
}

// Gone implements power.Target.
func (h *host) Gone(ctx context.Context) error {
	if h.s.spec.Unprivileged {
		return nil
	}
	ticker := time.NewTicker(3 * time.Millisecond)
	defer ticker.Stop()
	for {
		left, err := h.leftovers()
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		for _, device := range left {
			if err := loopdev.Detach(device); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("/dev/loop%d (%s) is still attached", left[0].Number, left[0].Path)
		}
	}
}

// PoweredOff implements power.Target.
func (h *host) PoweredOff() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up, h.process, h.frozen = false, nil, nil
}

// leftovers are the loop devices that belong to this system once its
// processes are gone: that of its own disk, and those of shared disks whose
// backing file no living mount namespace shows. The kernel prints a backing
// file below the place where its system mounted the shared disks; when that
// mount namespace is gone, the path begins at the shared directory itself.
func (h *host) leftovers() ([]loopdev.Device, error) {
	if h.s.spec.Unprivileged {
		return nil, nil
	}
	shared, err := loopdev.Images(h.s.place.Shared())
	if err != nil {
		return nil, err
	}
	own, err := loopdev.Images(h.s.place.Host(h.name))
	if err != nil {
		return nil, err
	}
	for id := range own {
		shared[id] = ""
	}
	devices, err := loopdev.List(shared)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(devices, func(device loopdev.Device) bool {
		rel := shared[device.Backing]
		return rel != "" && strings.TrimSuffix(device.Path, " (deleted)") != "/"+rel
	}), nil
}

// makeImage makes a sparse image with a file system in it, if any.
func makeImage(path string, size int64, fs, label string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	defer file.Close()
	if err := file.Truncate(size); err != nil {
		return fmt.Errorf("make image: %w", err)
	}
	if fs == "" {
		return nil
	}
	if len(label) > 16 {
		label = label[:16]
	}
	mkfs, err := exec.LookPath("mkfs." + fs)
	if err != nil {
		mkfs = "/sbin/mkfs." + fs
	}
	out, err := exec.Command(mkfs, "-q", "-F", "-m", "0", "-L", label, path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make file system in %s: %w: %s (package e2fsprogs has mkfs.ext4)", path, err, strings.TrimSpace(string(out)))
	}
	return nil
}
