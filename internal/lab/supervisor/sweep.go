//go:build linux

package supervisor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
	"github.com/evenkeel/evenkeel/internal/lab/machine"
)

// processes are the processes of a lab, found by the token in their
// environment: its supervisor, inits, daemons, agents and visitors.
func (p Place) processes() []int {
	return machine.WithEnvironment(func(entry string) bool {
		key, value, _ := strings.Cut(entry, "=")
		return (key == machine.EnvLab || key == "EVENKEEL_ROOT") && p.below(value)
	})
}

// Leftovers names what a lab has left on this machine; empty is clean.
func Leftovers(place Place) ([]string, error) {
	var left []string
	for _, pid := range place.processes() {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		left = append(left, fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name))))
	}
	devices, err := place.devices()
	if err != nil {
		return nil, err
	}
	for _, device := range devices {
		left = append(left, fmt.Sprintf("loop device /dev/loop%d of %s", device.Number, device.Path))
	}
	mounts, err := place.mounts()
	if err != nil {
		return nil, err
	}
	for _, mount := range mounts {
		left = append(left, "mount "+mount)
	}
	if _, err := os.Lstat(place.Dir); err == nil {
		left = append(left, "directory "+place.Dir)
	}
	return left, nil
}

func (p Place) devices() ([]loopdev.Device, error) {
	if os.Getuid() != 0 {
		return nil, nil // an ordinary user can have attached none
	}
	images, err := loopdev.Images(p.Dir)
	if err != nil {
		return nil, err
	}
	return loopdev.List(images)
}

func (p Place) mounts() ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	var found []string
	for _, line := range strings.Split(string(text), "\n") {
		if fields := strings.Fields(line); len(fields) > 4 && p.below(fields[4]) {
			found = append(found, fields[4])
		}
	}
	return found, nil
}

// Sweep ends and removes everything that a lab left: what a killed supervisor
// could not clean up itself. It never looks at anything without the lab's
// token or outside its directory.
func Sweep(place Place) error {
	deadline := time.Now().Add(30 * time.Second)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		busy, err := place.sweepOnce()
		if err != nil {
			return err
		}
		if !busy {
			return place.Remove()
		}
		if time.Now().After(deadline) {
			left, err := Leftovers(place)
			return errors.Join(fmt.Errorf("clean up lab: %s", strings.Join(left, ", ")), err)
		}
		<-ticker.C
	}
}

func (p Place) sweepOnce() (busy bool, err error) {
	for _, pid := range p.processes() {
		busy = true
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return true, fmt.Errorf("end process %d of a killed lab: %w", pid, err)
		}
	}
	if busy {
		return true, nil // mounts and devices go with the processes
	}
	mounts, err := p.mounts()
	if err != nil {
		return true, err
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		busy = true
		if err := unix.Unmount(mounts[i], unix.MNT_DETACH); err != nil {
			return true, fmt.Errorf("unmount %s: %w", mounts[i], err)
		}
	}
	devices, err := p.devices()
	if err != nil {
		return true, err
	}
	for _, device := range devices {
		busy = true
		if err := loopdev.Detach(device); err != nil {
			return true, err
		}
	}
	return busy, nil
}
