//go:build linux

package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Place is where a lab keeps its state: one directory, gone after halab down.
type Place struct{ Dir string }

// Home is the directory of all labs of this user: HALAB_HOME if set, else
// /var/lib/halab for root (images need room) and a private directory below
// XDG_RUNTIME_DIR or /tmp for others.
func Home() string {
	if home := os.Getenv("HALAB_HOME"); home != "" {
		return home
	}
	if os.Getuid() == 0 {
		return "/var/lib/halab"
	}
	if run := os.Getenv("XDG_RUNTIME_DIR"); run != "" {
		return filepath.Join(run, "halab")
	}
	return fmt.Sprintf("/tmp/halab-%d", os.Getuid())
}

// PlaceOf is the place of the lab with that name.
func PlaceOf(name string) (Place, error) {
	home, err := filepath.Abs(Home())
	if err != nil {
		return Place{}, fmt.Errorf("find labs: %w", err)
	}
	return Place{Dir: filepath.Join(home, name)}, nil
}

// Names lists the labs that have a place.
func Names() []string {
	entries, err := os.ReadDir(Home())
	if err != nil {
		return nil
	}
	var names []string
	for _, entry := range entries {
		if entry.IsDir() {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names
}

// Control is the socket on which the lab's supervisor takes commands.
func (p Place) Control() string { return filepath.Join(p.Dir, "control.sock") }

// SwitchSocket is the power switch.
func (p Place) SwitchSocket() string { return filepath.Join(p.Dir, "switch.sock") }

// Spec is the lab's specification.
func (p Place) Spec() string { return filepath.Join(p.Dir, "spec.json") }

// Log is what the supervisor logs.
func (p Place) Log() string { return filepath.Join(p.Dir, "supervisor.log") }

// Shared is the directory of shared disks.
func (p Place) Shared() string { return filepath.Join(p.Dir, "shared") }

// Host is the directory of one host.
func (p Place) Host(name string) string { return filepath.Join(p.Dir, "hosts", name) }

// Console is what a host's init and daemons print.
func (p Place) Console(name string) string { return filepath.Join(p.Host(name), "console.log") }

// Image is a host's own disk.
func (p Place) Image(name string) string { return filepath.Join(p.Host(name), "disk.img") }

// Root is a host's EVENKEEL_ROOT or the mount point of its tree.
func (p Place) Root(name string) string { return filepath.Join(p.Host(name), "root") }

// Make makes the directory, readable by its owner only, and refuses one that
// belongs to somebody else.
func (p Place) Make() error {
	if len(p.Dir) > 60 {
		return fmt.Errorf("make lab: %s is too long for the sockets below it; choose a shorter HALAB_HOME or name", p.Dir)
	}
	if err := os.MkdirAll(filepath.Dir(p.Dir), 0o700); err != nil {
		return fmt.Errorf("make lab: %w", err)
	}
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		return fmt.Errorf("make lab: %w", err)
	}
	return nil
}

// Remove removes the directory and, if it was the last, that of all labs.
func (p Place) Remove() error {
	if err := os.RemoveAll(p.Dir); err != nil {
		return fmt.Errorf("remove lab: %w", err)
	}
	if os.Getenv("HALAB_HOME") == "" {
		_ = os.Remove(filepath.Dir(p.Dir)) // fails, rightly, while other labs are there
	}
	return nil
}

// below reports whether the path lies in the lab's directory.
func (p Place) below(path string) bool {
	return path == p.Dir || strings.HasPrefix(path, p.Dir+"/")
}
