package standing

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/evenkeel/evenkeel/internal/paths"
	"golang.org/x/sys/unix"
)

// Protection is what had declared to be protected on this system. It lives in
// /run/evenkeel/protection, so that every surviving daemon can read it.
type Protection struct {
	// Resources is the number of resources of failover and hybrid groups that
	// are not probed offline here.
	Resources uint32 `json:"resources"`
	// Groups are the names of their groups, sorted.
	Groups []string `json:"groups,omitempty"`
	// Boot tells this boot of the system from earlier ones: the kernel's boot id
	// and the start of the first process of the PID namespace. What an earlier
	// boot left says nothing: before this boot's first view of port h nothing
	// is protected (R2).
	Boot string `json:"boot"`
}

func protectionFile(root paths.Root) string { return root.Run("protection") }

// bootID stays what it is as long as this process lives.
var bootID = sync.OnceValue(func() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	init, _ := startTime(1) // 0 where /proc hides it: the boot id remains
	return fmt.Sprintf("%s/%d", strings.TrimSpace(string(text)), init)
})

// WriteProtection replaces the declaration, whole or not at all.
func WriteProtection(root paths.Root, resources uint32, groups []string) error {
	sorted := slices.Clone(groups)
	slices.Sort(sorted)
	text, err := json.Marshal(Protection{Resources: resources, Groups: slices.Compact(sorted), Boot: bootID()})
	if err != nil {
		return fmt.Errorf("write protection: %w", err)
	}
	return replace(protectionFile(root), text)
}

// ReadProtection reads the declaration; the second result is false if there is
// none of this boot. An error means that nobody knows: count it as protected.
func ReadProtection(root paths.Root) (Protection, bool, error) {
	text, err := readSmall(protectionFile(root))
	if errors.Is(err, os.ErrNotExist) {
		return Protection{}, false, nil
	}
	if err != nil {
		return Protection{}, false, fmt.Errorf("read protection: %w", err)
	}
	var p Protection
	if err := json.Unmarshal(text, &p); err != nil {
		return Protection{}, false, fmt.Errorf("read protection %s: %w", protectionFile(root), err)
	}
	if p.Boot != bootID() {
		return Protection{}, false, nil
	}
	return p, true, nil
}

// Resources is the number of protected resources here. A declaration that
// cannot be read counts as one.
func Resources(root paths.Root) uint32 {
	p, _, err := ReadProtection(root)
	if err != nil {
		return 1
	}
	return p.Resources
}

// readSmall reads a file of /run or /proc in three system calls: the daemons
// read them many times a second, and os.ReadFile takes a dozen.
func readSmall(path string) ([]byte, error) {
	fd, err := ignoring(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var text []byte
	buf := make([]byte, 4096)
	for {
		n, err := ignoring(func() (int, error) { return unix.Read(fd, buf) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		text = append(text, buf[:n]...)
		if n < len(buf) { // neither kind of file gives less than it has
			return text, nil
		}
	}
}

// ignoring calls again what a signal interrupted.
func ignoring(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

// replace writes a file of /run so that a reader sees the old or the new one.
func replace(path string, text []byte) error {
	next, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(next.Name())
	if _, err := next.Write(append(text, '\n')); err != nil {
		next.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := next.Chmod(0o644); err != nil {
		next.Close()
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := next.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func stoppingFile(root paths.Root, name string) string { return root.Run("stopping." + name) }

// SayStopping records that this process, the daemon of that name, stops in
// order. It is called last, after everything that an ordered stop owes to the
// others is done; from then on the exit of this process, and of no other, is
// no death. The record names the process by pid and start time, so neither a
// crash nor a later daemon can be taken for it.
func SayStopping(root paths.Root, name string) error {
	start, err := startTime(os.Getpid())
	if err != nil {
		return fmt.Errorf("say that %s stops: %w", name, err)
	}
	return replace(stoppingFile(root, name), fmt.Appendf(nil, "%d %d", os.Getpid(), start))
}

// saidStopping reports whether the process said that it stops in order.
func saidStopping(root paths.Root, name string, pid int, start uint64) bool {
	text, err := os.ReadFile(stoppingFile(root, name))
	if err != nil {
		return false
	}
	return strings.TrimSpace(string(text)) == fmt.Sprintf("%d %d", pid, start)
}

// procStat reads the state letter and the start time (ticks since boot) of a
// process from /proc.
func procStat(pid int) (state byte, start uint64, err error) {
	text, err := readSmall("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read process %d: %w", pid, err)
	}
	// The command's name stands in parentheses and may hold anything.
	i := strings.LastIndexByte(string(text), ')')
	if i < 0 {
		return 0, 0, fmt.Errorf("read process %d: no name in its stat", pid)
	}
	fields := strings.Fields(string(text)[i+1:])
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("read process %d: stat has %d fields", pid, len(fields))
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("read process %d: start time: %w", pid, err)
	}
	return fields[0][0], start, nil
}

func startTime(pid int) (uint64, error) {
	_, start, err := procStat(pid)
	return start, err
}
