// Package mount is the agent of the resource type Mount: a file system that
// one system at a time has mounted.
//
// A device that another machine has mounted is refused by a proof that works
// between machines: the mount claim on the device itself (package mountclaim).
// A foreign claim is replaced only on evidence (safety rule R4).
package mount

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/plugins/internal/evidence"
	"github.com/evenkeel/evenkeel/plugins/internal/loopdev"
	"github.com/evenkeel/evenkeel/plugins/internal/mountclaim"
	"github.com/evenkeel/evenkeel/sdk/agent"
)

// claimed are the file systems that leave their boot sector to others.
var claimed = []string{"ext2", "ext3", "ext4"}

type mount struct{ runDir string }

// New returns the agent with this system's paths.
func New() agent.Agent { return &mount{runDir: evidence.RunDir()} }

// Describe implements agent.Agent.
func (*mount) Describe() agent.Description {
	return agent.Description{Type: "Mount", Version: "1.0.0",
		Attrs: []agent.Attr{
			{Name: "MountPoint", Kind: agent.String, Required: true, Doc: "Directory to mount on."},
			{Name: "BlockDevice", Kind: agent.String, Required: true, Doc: "Device of the file system."},
			{Name: "FSType", Kind: agent.String, Required: true, Doc: "File system: ext4, ext3, ext2."},
			{Name: "FsckOpt", Kind: agent.String, Doc: "Options of fsck after a crash; must contain -y or -n."},
			{Name: "MountOpt", Kind: agent.String, Doc: "Options as after mount -o."},
			{Name: "CreateMntPt", Kind: agent.Integer, Default: "1", Doc: "1: create a missing mount point; 2: and remove it afterwards."},
		},
		Actions: []agent.Action{
			{Token: "holders", Doc: "Lists the processes that keep the file system busy."},
			{Token: "mountpoint.vfd", Doc: "Is the mount point there? Argument fix makes it."},
			{Token: "mounted.vfd", Doc: "Is nothing mounted there? For systems where the resource is offline."},
			{Token: "mountentry.vfd", Doc: "Does /etc/fstab leave the file system to the cluster?"},
		},
	}
}

// Validate implements agent.Validator.
func (*mount) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	var problems []agent.Problem
	for _, name := range []string{"MountPoint", "BlockDevice"} {
		if path := r.String(name); path != "" && !filepath.IsAbs(path) {
			problems = append(problems, agent.Problem{Attr: name, Text: fmt.Sprintf("%q is not an absolute path", path)})
		}
	}
	if fs := r.String("FSType"); fs != "" && !slices.Contains(claimed, fs) {
		problems = append(problems, agent.Problem{Attr: "FSType", Text: fmt.Sprintf("%q cannot be protected against a second mount; this version mounts %s", fs, strings.Join(claimed, ", "))})
	}
	if opt := r.String("FsckOpt"); opt != "" && !strings.Contains(opt, "-y") && !strings.Contains(opt, "-n") {
		problems = append(problems, agent.Problem{Attr: "FsckOpt", Text: fmt.Sprintf("%q contains neither -y nor -n; fsck would ask a terminal that is not there", opt)})
	}
	return problems
}

// Online claims the device, recovers the journal as configured and mounts.
func (m *mount) Online(ctx context.Context, r *agent.Resource) error {
	device, err := filepath.EvalSymlinks(r.String("BlockDevice"))
	if err != nil {
		return fmt.Errorf("mount: %w (is the disk group imported here?)", err)
	}
	point := r.String("MountPoint")
	on, err := mountedOn(point)
	if err != nil {
		return err
	}
	switch {
	case on == device:
		return nil
	case on != "":
		return fmt.Errorf("mount %s: %s is mounted there; unmount it first", point, on)
	}
	if err := makePoint(r, point); err != nil {
		return err
	}
	if err := m.claim(r, device); err != nil {
		return fmt.Errorf("mount %s: %w", point, err)
	}
	if err := m.mount(ctx, r, device, point); err != nil {
		if on, look := mountedOn(point); look == nil && on == "" {
			err = errors.Join(err, m.release(device))
		}
		return err
	}
	return nil
}

// claim proves that no other machine has the device mounted.
func (m *mount) claim(r *agent.Resource, device string) error {
	busy, err := loopdev.BusyLocally(device)
	if err != nil {
		return err
	}
	if busy {
		return fmt.Errorf("%s is in use on this machine by another mount or program; find it with: fuser -vm %s", device, device)
	}
	known, err := evidence.Read(m.runDir)
	if err != nil {
		return err
	}
	now, err := mountclaim.Read(device)
	if errors.Is(err, mountclaim.ErrOccupied) {
		return fmt.Errorf("%w; if that is an old boot loader, clear it with: dd if=/dev/zero of=%s bs=512 count=1", err, device)
	}
	if err != nil {
		return err
	}
	if err := known.MayTakeOver(now.System, now.Incarnation); err != nil {
		return fmt.Errorf("%s is claimed by another system: %w", device, err)
	}
	if now.System != "" && now.System != known.Self {
		r.Log.Warn("taking over the mount claim", "device", device, "from", now.System)
	}
	return mountclaim.Take(device, known.Self, known.Incarnation())
}

func (m *mount) release(device string) error {
	known, err := evidence.Read(m.runDir)
	if err != nil {
		return err
	}
	return mountclaim.Release(device, known.Self)
}

func (m *mount) mount(ctx context.Context, r *agent.Resource, device, point string) error {
	began := time.Now()
	if dirty, err := needsRecovery(device); err != nil || dirty {
		if err := fsck(ctx, r, device); err != nil {
			return err
		}
	}
	recovered := time.Now()
	err := callMount(ctx, r, device, point)
	if err != nil {
		// As VCS does: check the file system, then try once more.
		if ferr := fsck(ctx, r, device); ferr != nil {
			return errors.Join(err, ferr)
		}
		if err = callMount(ctx, r, device, point); err != nil {
			return err
		}
	}
	r.Log.Info("mounted", "device", device, "mountpoint", point,
		"recovery_ms", recovered.Sub(began).Milliseconds(), "mount_ms", time.Since(recovered).Milliseconds())
	return nil
}

func callMount(ctx context.Context, r *agent.Resource, device, point string) error {
	arguments := []string{"-t", r.String("FSType")}
	if opt := r.String("MountOpt"); opt != "" {
		arguments = append(arguments, "-o", opt)
	}
	out, err := exec.CommandContext(ctx, "mount", append(arguments, device, point)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount %s on %s: %w: %s", device, point, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// fsck runs the checker with the configured options. Exit codes 1 and 2 mean
// that errors were corrected (fsck(8)).
func fsck(ctx context.Context, r *agent.Resource, device string) error {
	opt := r.String("FsckOpt")
	if opt == "" {
		return nil
	}
	out, err := exec.CommandContext(ctx, "fsck."+r.String("FSType"), append(strings.Fields(opt), device)...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() <= 2 && exit.ExitCode() > 0 {
		r.Log.Warn("fsck corrected errors", "device", device, "output", strings.TrimSpace(string(out)))
		return nil
	}
	if err != nil {
		return fmt.Errorf("fsck %s: %w: %s", device, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// needsRecovery reads from the superblock of ext2/3/4 whether the journal
// holds what the file system lacks: the file system was not unmounted.
func needsRecovery(device string) (bool, error) {
	const superblock, magicAt, incompatAt, recover = 1024, 0x38, 0x60, 0x4
	file, err := os.Open(device)
	if err != nil {
		return false, fmt.Errorf("read superblock: %w", err)
	}
	defer file.Close()
	var block [1024]byte
	if _, err := file.ReadAt(block[:], superblock); err != nil {
		return false, fmt.Errorf("read superblock of %s: %w", device, err)
	}
	if binary.LittleEndian.Uint16(block[magicAt:]) != 0xEF53 {
		return false, fmt.Errorf("%s holds no ext2, ext3 or ext4 file system", device)
	}
	return binary.LittleEndian.Uint32(block[incompatAt:])&recover != 0, nil
}

func makePoint(r *agent.Resource, point string) error {
	info, err := os.Stat(point)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("mount point %s is no directory", point)
	case err == nil:
		return nil
	case !os.IsNotExist(err):
		return fmt.Errorf("mount point: %w", err)
	case r.Int("CreateMntPt") == 0:
		return fmt.Errorf("mount point %s does not exist; create it, or set CreateMntPt = 1", point)
	}
	if err := os.MkdirAll(point, 0o755); err != nil {
		return fmt.Errorf("create mount point: %w", err)
	}
	return nil
}

// Offline unmounts in an orderly way: it waits for holders, it ends none.
func (m *mount) Offline(ctx context.Context, r *agent.Resource) error {
	return m.unmount(ctx, r, false)
}

// Clean ends the processes that hold the file system, then unmounts.
func (m *mount) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return m.unmount(ctx, r, true)
}

func (m *mount) unmount(ctx context.Context, r *agent.Resource, force bool) error {
	point := r.String("MountPoint")
	device, err := mountedOn(point)
	if err != nil {
		return err
	}
	if device != "" {
		if err := unmountPoint(ctx, r, point, force); err != nil {
			return err
		}
	} else if device, err = filepath.EvalSymlinks(r.String("BlockDevice")); err != nil {
		return nil // neither mounted nor imported: nothing is left to release
	}
	if err := m.release(device); err != nil && !errors.Is(err, mountclaim.ErrOccupied) {
		return err
	}
	if r.Int("CreateMntPt") == 2 {
		os.Remove(point) // stays if something is in it
	}
	return nil
}

func unmountPoint(ctx context.Context, r *agent.Resource, point string, force bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	signal, told := unix.SIGTERM, false
	for round := 0; ; round++ {
		err := unix.Unmount(point, 0)
		if err == nil || errors.Is(err, unix.EINVAL) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
		holders := holdersOf(point)
		if !told {
			r.Log.Warn("file system is busy", "mountpoint", point, "holders", describe(holders))
			told = true
		}
		if force {
			for _, holder := range holders {
				holder.signal(signal)
			}
			if round >= 10 {
				signal = unix.SIGKILL
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("unmount %s: still held by %s", point, describe(holders))
		case <-tick.C:
		}
	}
}

// Monitor implements agent.Agent.
func (m *mount) Monitor(ctx context.Context, r *agent.Resource) (agent.Status, error) {
	point := r.String("MountPoint")
	device, err := mountedOn(point)
	if err != nil {
		return agent.Status{}, err
	}
	if device == "" {
		return agent.Status{State: agent.Offline}, nil
	}
	wanted, err := filepath.EvalSymlinks(r.String("BlockDevice"))
	if err != nil {
		return agent.Status{}, fmt.Errorf("%s is mounted on %s, but %s is gone: %w", device, point, r.String("BlockDevice"), err)
	}
	if device != wanted {
		return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("%s is mounted there, not %s", device, wanted)}, nil
	}
	if agent.Detailed(ctx) {
		return detailed(point, r.String("MountOpt")), nil
	}
	return agent.Status{State: agent.Online}, nil
}

// Info implements agent.Informer.
func (m *mount) Info(_ context.Context, r *agent.Resource) (map[string]string, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(r.String("MountPoint"), &stat); err != nil {
		return nil, fmt.Errorf("statfs %s: %w", r.String("MountPoint"), err)
	}
	size := uint64(stat.Bsize)
	usedPercent := uint64(0)
	if used := stat.Blocks - stat.Bfree; used+stat.Bavail > 0 {
		usedPercent = (100*used + used + stat.Bavail - 1) / (used + stat.Bavail) // as df rounds
	}
	return map[string]string{
		"Used%":     fmt.Sprint(usedPercent),
		"Size":      fmt.Sprint(stat.Blocks * size),
		"Used":      fmt.Sprint((stat.Blocks - stat.Bfree) * size),
		"Available": fmt.Sprint(stat.Bavail * size),
	}, nil
}

// Action implements agent.Actor.
func (m *mount) Action(_ context.Context, r *agent.Resource, token string, args []string) (string, int, error) {
	if token != "holders" {
		return check(r, token, args)
	}
	return describe(holdersOf(r.String("MountPoint"))) + "\n", 0, nil
}
