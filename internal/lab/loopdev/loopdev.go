//go:build linux

// Package loopdev attaches image files to loop devices and finds the devices
// of image files again. A device is known by the device and inode numbers of
// its backing file, never by a path: paths differ between mount namespaces.
package loopdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Major is the major number of loop devices.
const Major = 7

// FileID names a file on this machine.
type FileID struct{ Dev, Ino uint64 }

// Device is an attached loop device.
type Device struct {
	Number int
	// Dev is the device number as mountinfo writes it, "7:3".
	Dev string
	// Backing is the backing file.
	Backing FileID
	// Path is the backing file's path as the kernel shows it here; below
	// another mount namespace it is that namespace's path, and without one it
	// starts at the root of what was mounted.
	Path string
}

// Node is the path of loop device n.
func Node(n int) string { return "/dev/loop" + strconv.Itoa(n) }

// IDOf returns the FileID of a file.
func IDOf(path string) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return FileID{}, fmt.Errorf("stat %s: %w", path, err)
	}
	return FileID{Dev: uint64(st.Dev), Ino: st.Ino}, nil
}

// Images returns the regular files below dir, with their paths relative to it.
func Images(dir string) (map[FileID]string, error) {
	images := map[FileID]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		id, err := IDOf(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		images[id] = rel
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for images: %w", err)
	}
	return images, nil
}

// List returns the attached loop devices of this machine whose backing file
// is one of the images.
func List(images map[FileID]string) ([]Device, error) {
	dirs, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		return nil, err
	}
	var found []Device
	for _, file := range dirs {
		name := strings.Split(file, "/")[3]
		n, err := strconv.Atoi(strings.TrimPrefix(name, "loop"))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // detached meanwhile
		}
		dev, err := os.ReadFile("/sys/block/" + name + "/dev")
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		id, err := backing(n)
		if errors.Is(err, unix.ENXIO) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at %s: %w", name, err)
		}
		if _, ours := images[id]; ours {
			found = append(found, Device{Number: n, Dev: strings.TrimSpace(string(dev)), Backing: id, Path: strings.TrimSpace(string(text))})
		}
	}
	return found, nil
}

func backing(n int) (FileID, error) {
	f, err := open(n)
	if err != nil {
		return FileID{}, err
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return FileID{}, err
	}
	return FileID{Dev: info.Device, Ino: info.Inode}, nil
}

// open opens a device's node; machines without devtmpfs may lack it.
func open(n int) (*os.File, error) {
	node := Node(n)
	f, err := os.OpenFile(node, os.O_RDWR|unix.O_CLOEXEC, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if _, serr := os.Stat(fmt.Sprintf("/sys/block/loop%d", n)); serr != nil {
		return nil, err
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(Major, uint32(n)))); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("make %s: %w", node, err)
	}
	return os.OpenFile(node, os.O_RDWR|unix.O_CLOEXEC, 0)
}

// Attach attaches the image to a free device that detaches itself when its
// last user is gone. The device stays while the returned file is open.
func Attach(image string) (*os.File, int, error) {
	file, err := os.OpenFile(image, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("attach %s: %w", image, err)
	}
	defer file.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("attach %s: %w (the kernel needs loop devices)", image, err)
	}
	defer control.Close()
	for range 64 { // others take free devices too
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, 0, fmt.Errorf("attach %s: find a free loop device: %w", image, err)
		}
		device, err := open(n)
		if err != nil {
			return nil, 0, fmt.Errorf("attach %s: %w", image, err)
		}
		config := unix.LoopConfig{Fd: uint32(file.Fd())}
		config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
		copy(config.Info.File_name[:len(config.Info.File_name)-1], image)
		err = unix.IoctlLoopConfigure(int(device.Fd()), &config)
		if err == nil {
			return device, n, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, 0, fmt.Errorf("attach %s to loop%d: %w", image, n, err)
		}
	}
	return nil, 0, fmt.Errorf("attach %s: no loop device stays free", image)
}

// Detach asks the device to let go of its file, at the latest when its last
// user is gone. A device that is detached already is no error.
func Detach(device Device) error {
	f, err := open(device.Number)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach loop%d: %w", device.Number, err)
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if errors.Is(err, unix.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("detach loop%d: %w", device.Number, err)
	}
	if (FileID{Dev: info.Device, Ino: info.Inode}) != device.Backing {
		return nil // detached, and taken by somebody else meanwhile
	}
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("detach loop%d: %w", device.Number, err)
	}
	return nil
}
