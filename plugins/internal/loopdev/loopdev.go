// Package loopdev attaches image files to loop devices. It speaks to the
// kernel directly (loop(4)), because a system of a laboratory has a /dev of
// its own in which device nodes appear only when somebody makes them.
package loopdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const loopMajor = 7

// Attach attaches the image to a free loop device and returns the path of the
// device. An image that this function attached before through the same /dev is
// not attached twice if the caller looks with Find first.
func Attach(image string) (string, error) {
	file, err := os.OpenFile(image, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("attach %s: %w", image, err)
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("attach %s: %w (does this machine have loop devices?)", image, err)
	}
	defer control.Close()
	// Another process may take the free device between the two calls.
	for range 64 {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("attach %s: find a free loop device: %w", image, err)
		}
		device, err := node(number)
		if err != nil {
			return "", fmt.Errorf("attach %s: %w", image, err)
		}
		err = configure(device, file, image)
		if errors.Is(err, unix.EBUSY) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("attach %s to %s: %w", image, device, err)
		}
		return device, nil
	}
	return "", fmt.Errorf("attach %s: every free loop device was taken by somebody else; try again", image)
}

func configure(device string, file *os.File, image string) error {
	loop, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer loop.Close()
	config := unix.LoopConfig{Fd: uint32(file.Fd())}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], image)
	return unix.IoctlLoopConfigure(int(loop.Fd()), &config)
}

// node returns the path of a loop device, making its node if it is missing.
func node(number int) (string, error) {
	device := "/dev/loop" + strconv.Itoa(number)
	if _, err := os.Stat(device); err == nil {
		return device, nil
	}
	err := unix.Mknod(device, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(number))))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make node %s: %w", device, err)
	}
	return device, nil
}

// Backing returns the image behind a loop device, "" if nothing is attached.
func Backing(device string) (string, error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask for the image behind %s: %w", device, err)
	}
	return strings.TrimSuffix(strings.TrimSpace(string(text)), " (deleted)"), nil
}

// Detach writes back what the kernel holds for the device, detaches it and
// waits, at most for the given time, until it is gone. Detaching a device that
// has nothing attached is no error.
func Detach(device string, wait time.Duration) error {
	loop, err := os.OpenFile(device, os.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", device, err)
	}
	syncErr := loop.Sync()
	err = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0)
	loop.Close()
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach %s: %w", device, err)
	}
	// The kernel detaches when the last user closes the device: look until
	// it has, with a growing pause, because it tells nobody.
	deadline := time.Now().Add(wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		backing, err := Backing(device)
		if err != nil {
			return err
		}
		if backing == "" {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("detach %s: something still uses it; find it with: fuser -vm %s", device, device)
		}
		time.Sleep(pause)
	}
	if syncErr != nil {
		return fmt.Errorf("write back %s: %w", device, syncErr)
	}
	return nil
}

// BusyLocally reports whether this kernel has the device mounted or
// exclusively open, in whatever mount namespace.
func BusyLocally(device string) (bool, error) {
	handle, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open %s: %w", device, err)
	}
	unix.Close(handle)
	return false, nil
}

// All returns the paths of the loop devices that have something attached, in
// the order of their numbers.
func All() ([]string, error) {
	entries, err := os.ReadDir("/sys/block")
	if err != nil {
		return nil, fmt.Errorf("list loop devices: %w", err)
	}
	var devices []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "loop") {
			continue
		}
		device := "/dev/" + entry.Name()
		if backing, err := Backing(device); err == nil && backing != "" {
			devices = append(devices, device)
		}
	}
	slices.Sort(devices)
	return devices, nil
}
