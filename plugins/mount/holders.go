package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountedOn returns the device that is mounted on a directory of this mount
// namespace, "" if none is. Of several mounts on top of one another the last
// counts (proc_pid_mountinfo(5)).
func mountedOn(point string) (string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	return findMount(string(text), filepath.Clean(point)), nil
}

func findMount(mountinfo, point string) string {
	device := ""
	for _, line := range strings.Split(mountinfo, "\n") {
		fields := strings.Fields(line)
		if len(fields) < 10 || unescape(fields[4]) != point {
			continue
		}
		for i := 6; i+2 < len(fields); i++ {
			if fields[i] == "-" {
				device = unescape(fields[i+2])
				break
			}
		}
	}
	return device
}

// unescape undoes the octal escapes of mountinfo (\040 is a blank).
func unescape(text string) string {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if value, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(value))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// holder is a process that keeps a file system busy.
type holder struct {
	pid  int
	name string
	how  string
}

// signal sends to the process through a pidfd, so that a reused number is
// never hit: the look and the open of the pidfd are checked against the name.
func (h holder) signal(sig unix.Signal) {
	fd, err := unix.PidfdOpen(h.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if processName(h.pid) != h.name {
		return
	}
	// A process that is gone meanwhile is what we want.
	_ = unix.PidfdSendSignal(fd, sig, nil, 0)
}

func describe(holders []holder) string {
	if len(holders) == 0 {
		return "nothing that is visible here (a mount or a process in another namespace)"
	}
	var parts []string
	for _, h := range holders {
		parts = append(parts, fmt.Sprintf("%s[%d] (%s)", h.name, h.pid, h.how))
	}
	return strings.Join(parts, ", ")
}

func processName(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// holdersOf finds the processes that have their working directory, root,
// program, an open file or a mapping below the mount point.
func holdersOf(point string) []holder {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []holder
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		if how := holds(pid, filepath.Clean(point)); how != "" {
			found = append(found, holder{pid: pid, name: processName(pid), how: how})
		}
	}
	return found
}

func holds(pid int, point string) string {
	dir := fmt.Sprintf("/proc/%d", pid)
	below := func(link string) bool {
		target, err := os.Readlink(link)
		return err == nil && (target == point || strings.HasPrefix(target, point+"/"))
	}
	for _, how := range []string{"cwd", "root", "exe"} {
		if below(filepath.Join(dir, how)) {
			return how
		}
	}
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err == nil {
		for _, fd := range descriptors {
			if below(filepath.Join(dir, "fd", fd.Name())) {
				return "fd " + fd.Name()
			}
		}
	}
	maps, err := os.ReadFile(filepath.Join(dir, "maps"))
	if err == nil && strings.Contains(string(maps), " "+point+"/") {
		return "mapping"
	}
	return ""
}
