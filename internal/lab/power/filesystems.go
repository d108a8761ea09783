//go:build linux

package power

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
)

const (
	fsIOCShutdown   = 0x8004587d // FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)
	goingNoLogFlush = 2          // nothing more is written, not even the journal
)

// ShutDownFileSystems makes every file system that the processes have mounted
// and that lies on one of the loop devices forget what was not fsynced. It
// never touches any other: the mount point must be listed with the number of
// a device whose backing file is the lab's, and the opened directory must lie
// on that very device (R4).
func ShutDownFileSystems(pids []int, devices []loopdev.Device) error {
	ours := map[string]bool{}
	for _, device := range devices {
		ours[device.Dev] = true
	}
	var failed []error
	seen, done := map[string]bool{}, map[string]bool{}
	for _, pid := range pids {
		namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid))
		if err != nil || seen[namespace] {
			continue
		}
		seen[namespace] = true
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			continue
		}
		reached := map[string]error{}
		for _, line := range strings.Split(string(text), "\n") {
			fields := strings.Fields(line)
			if len(fields) < 5 || !ours[fields[2]] || done[fields[2]] {
				continue
			}
			dir := filepath.Join(fmt.Sprintf("/proc/%d/root", pid), unescape(fields[4]))
			if err := shutDown(dir, fields[2]); err != nil {
				reached[fields[2]] = fmt.Errorf("shut down file system at %s: %w", unescape(fields[4]), err)
				continue
			}
			done[fields[2]] = true
		}
		for dev, err := range reached {
			if !done[dev] {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

func shutDown(dir, dev string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if here := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev))); here != dev {
		return fmt.Errorf("%s lies on device %s now, not on %s", dir, here, dev)
	}
	flags := uint32(goingNoLogFlush)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIOCShutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		return errno
	}
	return nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}
