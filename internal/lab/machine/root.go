//go:build linux

package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/lab/spec"
	"github.com/evenkeel/evenkeel/internal/paths"
)

// loopNodes is how many loop devices a system has nodes for.
const loopNodes = 256

// buildRoot makes the tree of files of a privileged system and moves into it.
// Nothing of it is the host's and writable: /usr and /etc are overlays whose
// upper layer lies in memory, the system's own disk is an image, all else is
// memory. Only the shared disks are shared, on purpose.
func (in *initProcess) buildRoot() error {
	c := &in.config
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte(c.System)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	t := &tree{root: c.Root}
	t.mount("tmpfs", ".", "tmpfs", unix.MS_NOSUID, "mode=755")
	t.dirs("proc", "sys", "dev", "run", "tmp", "var", "opt", "root", "home", "mnt", "media", "srv", ".old", ".overlay")
	t.system()
	t.devices()
	t.mount("proc", "proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	t.mount("sysfs", "sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "")
	// R3: whatever a daemon decides, it finds no sysrq and no watchdog here.
	if _, err := os.Stat(t.at("proc/sysrq-trigger")); err == nil {
		t.bind("/dev/null", "proc/sysrq-trigger")
	}
	t.mount("tmpfs", "run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
	t.mount("tmpfs", "tmp", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	t.dirs("run/lock", "run/evenkeel", "run/dbus", "var/lib", "var/log", "var/cache", "var/spool", "var/lib/nfs", "var/lib/dbus")
	t.link("/run", "var/run")
	t.link("/run/lock", "var/lock")
	t.link("/tmp", "var/tmp")
	if c.SwitchSocket != "" {
		t.evenkeel(in)
	}
	t.bindReadOnly(c.BinDir)
	for _, path := range c.Binds {
		t.bindReadOnly(path)
	}
	t.text("etc/hosts", c.Hosts)
	t.text("etc/hostname", c.System+"\n")
	t.text("etc/resolv.conf", "# no name server: nothing leaves the lab\n")
	t.link("/proc/self/mounts", "etc/mtab")
	if t.err != nil {
		return fmt.Errorf("build root of %s: %w", c.System, t.err)
	}
	if err := pivot(c.Root); err != nil {
		return fmt.Errorf("enter root of %s: %w", c.System, err)
	}
	return nil
}

func pivot(root string) error {
	if err := unix.Chdir(root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", ".old"); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the host's tree: %w", err)
	}
	return os.Remove("/.old")
}

// tree builds a tree of files under root and remembers the first error.
type tree struct {
	root string
	err  error
	seen []string // what bindReadOnly has shown
}

func (t *tree) at(path string) string { return filepath.Join(t.root, path) }

func (t *tree) fail(err error) {
	if t.err == nil && err != nil {
		t.err = err
	}
}

func (t *tree) dirs(names ...string) {
	for _, name := range names {
		if t.err == nil {
			t.fail(os.MkdirAll(t.at(name), 0o755))
		}
	}
}

func (t *tree) mount(source, target, fs string, flags uintptr, data string) {
	if t.err != nil {
		return
	}
	if err := unix.Mount(source, t.at(target), fs, flags, data); err != nil {
		t.fail(fmt.Errorf("mount %s on /%s: %w", fs, target, err))
	}
}

// bind shows a host path at an existing target.
func (t *tree) bind(source, target string) { t.mount(source, target, "", unix.MS_BIND, "") }

// bindReadOnly shows a host path at the same place, read-only.
func (t *tree) bindReadOnly(path string) {
	if t.err != nil || path == "" || strings.HasPrefix(path, "/usr/") {
		return
	}
	for _, dir := range t.seen {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return
		}
	}
	t.seen = append(t.seen, path)
	info, err := os.Stat(path)
	if err != nil {
		t.fail(err)
		return
	}
	if info.IsDir() {
		t.dirs(path)
	} else {
		t.dirs(filepath.Dir(path))
		t.text(path, "")
	}
	t.bind(path, path)
	t.mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}

func (t *tree) link(to, name string) {
	if t.err != nil {
		return
	}
	if err := os.Remove(t.at(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.fail(err)
		return
	}
	t.fail(os.Symlink(to, t.at(name)))
}

func (t *tree) text(name, text string) {
	if t.err != nil {
		return
	}
	if err := os.Remove(t.at(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.fail(err)
		return
	}
	t.fail(os.WriteFile(t.at(name), []byte(text), 0o644))
}

// system shows the host's programs and configuration.
func (t *tree) system() {
	for _, name := range []string{"usr", "etc"} {
		upper, work := ".overlay/"+name+"-upper", ".overlay/"+name+"-work"
		t.dirs(name, upper, work)
		t.mount("overlay", name, "overlay", 0, fmt.Sprintf("lowerdir=/%s,upperdir=%s,workdir=%s", name, t.at(upper), t.at(work)))
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		info, err := os.Lstat("/" + name)
		switch {
		case err != nil:
		case info.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink("/" + name)
			t.fail(err)
			t.link(target, name)
		default:
			t.dirs(name)
			t.bindReadOnly("/" + name)
		}
	}
}

// devices makes a /dev of its own: no watchdog (R3), no disk of the host.
func (t *tree) devices() {
	t.mount("tmpfs", "dev", "tmpfs", unix.MS_NOSUID, "mode=755")
	t.dirs("dev/pts", "dev/shm", "dev/vx/dsk")
	node := func(name string, kind uint32, major, minor uint32) {
		if t.err != nil {
			return
		}
		if err := unix.Mknod(t.at("dev/"+name), kind, int(unix.Mkdev(major, minor))); err != nil {
			t.fail(fmt.Errorf("make /dev/%s: %w", name, err))
			return
		}
		mode := os.FileMode(0o666)
		if kind&unix.S_IFBLK == unix.S_IFBLK {
			mode = 0o660
		}
		t.fail(os.Chmod(t.at("dev/"+name), mode))
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		node(name, unix.S_IFCHR, 1, minor)
	}
	node("tty", unix.S_IFCHR, 5, 0)
	node("loop-control", unix.S_IFCHR, 10, 237)
	for n := range loopNodes {
		node(fmt.Sprintf("loop%d", n), unix.S_IFBLK, 7, uint32(n))
	}
	t.mount("devpts", "dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	t.mount("tmpfs", "dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777")
	t.link("pts/ptmx", "dev/ptmx")
	t.link("/proc/self/fd", "dev/fd")
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		t.link(fmt.Sprintf("/proc/self/fd/%d", i), "dev/"+name)
	}
}

// evenkeel mounts the system's own disk and the shared ones, and makes VCS's
// paths.
func (t *tree) evenkeel(in *initProcess) {
	c := &in.config
	t.dirs(".disk", "etc/evenkeel", "var/lib/evenkeel", "var/log/evenkeel", strings.TrimPrefix(spec.SharedDir, "/"))
	t.mount(c.ImageDevice, ".disk", "ext4", unix.MS_NOSUID|unix.MS_NODEV, "")
	t.dirs(".disk/etc", ".disk/lib", ".disk/log")
	if t.err == nil {
		t.fail(in.writeFiles(t.at(".disk/etc")))
		t.sync(".disk") // a power failure must not undo the installation
	}
	t.bind(t.at(".disk/etc"), "etc/evenkeel")
	t.bind(t.at(".disk/lib"), "var/lib/evenkeel")
	t.bind(t.at(".disk/log"), "var/log/evenkeel")
	t.bind(c.SharedDir, spec.SharedDir)

	t.text("run/evenkeel/lab-switch.sock", "")
	t.bind(c.SwitchSocket, "run/evenkeel/lab-switch.sock")
	if t.err == nil {
		t.fail(lab.WriteMarker(paths.Root(t.root), lab.Marker{Lab: c.Lab, System: c.System, Switch: "/run/evenkeel/lab-switch.sock"}))
	}
	t.dirs("usr/lib/evenkeel", "opt/VRTSvcs", "opt/VRTS", "etc/VRTSvcs/conf", "var/VRTSvcs")
	t.link(filepath.Join(c.BinDir, "agents"), "usr/lib/evenkeel/agents")
	t.link(c.BinDir, "opt/VRTSvcs/bin")
	t.link(c.BinDir, "opt/VRTS/bin")
	t.link("/etc/evenkeel", "etc/VRTSvcs/conf/config")
	for _, name := range []string{"llttab", "llthosts", "gabtab"} {
		t.link("/etc/evenkeel/"+name, "etc/"+name)
	}
	t.link("/etc/evenkeel/fencing.conf", "etc/vxfenmode")
	t.link("/var/log/evenkeel", "var/VRTSvcs/log")
}

func (t *tree) sync(name string) {
	if t.err != nil {
		return
	}
	dir, err := os.Open(t.at(name))
	if err != nil {
		t.fail(err)
		return
	}
	defer dir.Close()
	t.fail(unix.Syncfs(int(dir.Fd())))
}
