package agent

import (
	"os"
	"strconv"
	"syscall"
	"unsafe"
)

// Numbers that package syscall does not have; they are the same on every
// architecture but alpha.
const (
	sysPidfdOpen = 434
	pollIn       = 1
)

// exitWithParent ends this process when the host does: an agent without a host
// is of no use and would meet its successor. Applications live on (Start).
//
// The host asks the kernel for a signal at its death, but that signal belongs
// to a thread of the host and to hosts that think of it; the pidfd does not.
func exitWithParent() {
	host, err := strconv.Atoi(os.Getenv(EnvHostPID))
	if err != nil {
		host = os.Getppid()
	}
	fd, _, errno := syscall.Syscall(sysPidfdOpen, uintptr(host), 0, 0)
	if os.Getppid() != host { // it died before we could look
		os.Exit(0)
	}
	if errno != 0 {
		return // older than Linux 5.3: the signal must do
	}
	go func() {
		for {
			p := struct {
				fd              int32
				events, revents int16
			}{fd: int32(fd), events: pollIn}
			n, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, 0, 0, 0, 0)
			if errno == 0 && n == 1 {
				os.Exit(0)
			}
		}
	}()
}
