// Command guest is the init of a small virtual machine with a kernel that has
// VLAN devices and bonds, which laboratories in namespaces may lack. It makes
// two systems, each a network namespace with a gab, joined by a VLAN and by an
// active-backup bond; takes these away in all the ways in which they go in real
// life; and prints on the console what lltstat says and whether each message
// that was sent arrived. Its last line begins with RESULT. See test/vm.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: runs as the init of a virtual machine only (make test-vm)")
		os.Exit(2)
	}
	err := boot()
	if err == nil {
		err = play()
	}
	if err != nil {
		fmt.Printf("RESULT failed: %s\n", strings.ReplaceAll(err.Error(), "\n", " | "))
	} else {
		fmt.Println("RESULT passed")
	}
	unix.Sync()
	time.Sleep(200 * time.Millisecond) // the console is written by the kernel
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		panic(err) // the kernel panics with its init, and the machine ends
	}
}

// boot mounts what programs expect, and loads the modules that lie in /modules
// in the order of their names.
func boot() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m[1], 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	modules, err := filepath.Glob("/modules/*.ko")
	if err != nil {
		return err
	}
	for _, name := range modules {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}
