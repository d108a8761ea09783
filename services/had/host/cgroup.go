package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroups is where agents and applications are put: base/agent-TYPE-TOKEN for
// each agent's process and its helpers, base/apps for what agents start
// detached. The zero value uses none.
type cgroups struct{ base string }

// findCgroups looks for a cgroup v2 directory that the host may fill. It never
// fills the root of the hierarchy on its own account.
func findCgroups(configured string) (*cgroups, error) {
	switch configured {
	case "none":
		return &cgroups{}, nil
	case "":
		own := ownCgroup()
		if own == "" || unix.Access(own, unix.W_OK) != nil {
			return &cgroups{}, nil
		}
		c := &cgroups{base: own}
		if c.prepare() != nil {
			return &cgroups{}, nil
		}
		return c, nil
	default:
		c := &cgroups{base: configured}
		return c, c.prepare()
	}
}

func (c *cgroups) prepare() error {
	var st unix.Statfs_t
	if err := unix.Statfs(c.base, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return fmt.Errorf("use cgroup %s: it is no cgroup v2 directory", c.base)
	}
	if err := os.Mkdir(filepath.Join(c.base, "apps"), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("use cgroup %s: %w", c.base, err)
	}
	return nil
}

// ownCgroup is the directory of this process's cgroup v2; empty if it has none
// or is in the root.
func ownCgroup() string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	path := ""
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = p
		}
	}
	if path == "" || path == "/" || strings.Contains(path, "/..") {
		return ""
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	defer mounts.Close()
	for scan := bufio.NewScanner(mounts); scan.Scan(); {
		before, after, _ := strings.Cut(scan.Text(), " - ")
		if f := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && len(f) > 4 && f[3] == "/" {
			return filepath.Join(f[4], path)
		}
	}
	return ""
}

func (c *cgroups) apps() string {
	if c.base == "" {
		return ""
	}
	return filepath.Join(c.base, "apps")
}

func (c *cgroups) agentPath(r record) string {
	if c.base == "" {
		return ""
	}
	return filepath.Join(c.base, "agent-"+r.Type+"-"+r.Token)
}

// agent makes and opens an agent's cgroup; nil without an error if none are used.
func (c *cgroups) agent(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	return os.Open(path)
}

func (c *cgroups) removeAgent(path string) {
	if path != "" {
		_ = os.Remove(path)
	}
}

// cgroupPIDs lists the processes of a cgroup; none if it does not exist.
func cgroupPIDs(path string) []int {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}
