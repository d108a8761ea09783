package mount

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

// probeName is the file that the detailed monitor writes, reads and removes.
const probeName = ".evenkeel-monitor"

// detailed looks whether the file system works: it can be listed and, unless it
// is meant to be read-only, takes a block and gives it back.
func detailed(point, options string) agent.Status {
	var stat unix.Statfs_t
	if err := unix.Statfs(point, &stat); err != nil {
		return agent.Status{State: agent.Offline, Detail: fmt.Sprintf("statfs %s: %v", point, err)}
	}
	if slices.Contains(strings.Split(options, ","), "ro") {
		if _, err := os.ReadDir(point); err != nil {
			return agent.Status{State: agent.Offline, Detail: err.Error()}
		}
		return agent.Status{State: agent.Online}
	}
	switch err := writeAndRead(filepath.Join(point, probeName)); {
	case err == nil:
		return agent.Status{State: agent.Online}
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return agent.Status{State: agent.Online, Confidence: 50, Detail: "the file system is full"}
	case errors.Is(err, unix.EROFS):
		return agent.Status{State: agent.Offline, Detail: "the file system has become read-only: see the kernel's log"}
	default:
		return agent.Status{State: agent.Offline, Detail: err.Error()}
	}
}

func writeAndRead(file string) (err error) {
	want := bytes.Repeat([]byte("evenkeel"), 512)
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(file)) }()
	if _, err := f.Write(want); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	// What is asked for next comes from the disk, not from memory.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%s: what was written is not what is read", file)
	}
	return nil
}

// check runs one of the .vfd actions: what could keep the mount from working on
// this system. "fix" as first argument mends what can be mended.
func check(r *agent.Resource, token string, args []string) (string, int, error) {
	point := r.String("MountPoint")
	fix := len(args) > 0 && args[0] == "fix"
	switch token {
	case "mountpoint.vfd":
		info, err := os.Stat(point)
		switch {
		case errors.Is(err, os.ErrNotExist) && fix:
			if err := os.MkdirAll(point, 0o755); err != nil {
				return err.Error() + "\n", 1, nil
			}
			return "made " + point + "\n", 0, nil
		case err != nil:
			return fmt.Sprintf("MountPoint: %v; -actionargs fix makes it\n", err), 1, nil
		case !info.IsDir():
			return fmt.Sprintf("MountPoint: %s is no directory\n", point), 1, nil
		}
		return point + " is there\n", 0, nil
	case "mounted.vfd":
		device, err := mountedOn(point)
		if err != nil {
			return "", 0, err
		}
		if device == "" {
			return "nothing is mounted on " + point + "\n", 0, nil
		}
		return fmt.Sprintf("%s is mounted on %s\n", device, point), 1, nil
	case "mountentry.vfd":
		text, err := os.ReadFile("/etc/fstab")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", 0, err
		}
		if line := fstabLine(string(text), r.String("BlockDevice"), point); line != "" {
			return "/etc/fstab mounts it too: " + line + "; remove that line, or two systems mount at boot\n", 1, nil
		}
		return "/etc/fstab does not mention it\n", 0, nil
	}
	return "", 0, fmt.Errorf("action %s is not known", token)
}

// fstabLine finds a line of fstab(5) that mounts the device or the directory.
func fstabLine(fstab, device, point string) string {
	for line := range strings.SplitSeq(fstab, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if fields[0] == device || filepath.Clean(unescape(fields[1])) == filepath.Clean(point) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
