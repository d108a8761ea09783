package standing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"golang.org/x/sys/unix"
)

// Process is a running daemon, held by a pidfd, so that neither its exit nor
// the reuse of its pid can be missed. Close ends the hold.
type Process struct {
	Name  string
	PID   int
	root  paths.Root
	start uint64
	fd    int
}

// ErrAbsent says that no daemon of the name listens.
var ErrAbsent = errors.New("not running")

// Find finds the daemon by the peer credentials of its unix socket: whoever
// listens there is the daemon. The error matches ErrAbsent if nobody does.
func Find(ctx context.Context, root paths.Root, name string) (*Process, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", root.Socket(name))
	if err != nil {
		return nil, fmt.Errorf("find %s: %w: %w", name, ErrAbsent, err)
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	p := &Process{Name: name, root: root, fd: -1}
	if ctrl := raw.Control(func(fd uintptr) { err = p.open(int(fd)) }); ctrl != nil {
		err = ctrl
	}
	if err != nil {
		p.Close()
		return nil, fmt.Errorf("find %s: %w", name, err)
	}
	return p, nil
}

// open gets the pidfd of the process at the other end of a connected socket.
func (p *Process) open(conn int) error {
	cred, err := unix.GetsockoptUcred(conn, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return fmt.Errorf("ask who listens: %w", err)
	}
	if cred.Pid <= 0 {
		return fmt.Errorf("who listens runs in another PID namespace")
	}
	p.PID = int(cred.Pid)
	if p.fd, err = unix.PidfdOpen(p.PID, 0); err != nil {
		return fmt.Errorf("%w: pid %d: %w", ErrAbsent, p.PID, err)
	}
	if p.start, err = startTime(p.PID); err != nil {
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	// The listener's end of the connection is open only while it lives: if it
	// is not hung up now, the pidfd is the listener's and no reused pid's.
	poll := []unix.PollFd{{Fd: int32(conn), Events: unix.POLLRDHUP}}
	if _, err := unix.Poll(poll, 0); err == nil && poll[0].Revents&(unix.POLLHUP|unix.POLLRDHUP|unix.POLLERR) != 0 && !p.alive() {
		return ErrAbsent
	}
	if !p.alive() {
		return ErrAbsent
	}
	return nil
}

func (p *Process) alive() bool {
	poll := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n == 0
}

// Exited waits at most d and reports whether the process has ended.
func (p *Process) Exited(d time.Duration) bool {
	poll := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, int(d.Milliseconds()))
	return err == nil && n > 0
}

// Wait waits until the process has ended or ctx is done; nil means ended.
func (p *Process) Wait(ctx context.Context) error {
	for !p.Exited(50 * time.Millisecond) {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Frozen reports whether the process is stopped by a signal or a tracer.
func (p *Process) Frozen() bool {
	state, start, err := procStat(p.PID)
	return err == nil && start == p.start && (state == 'T' || state == 't')
}

// Ordered reports whether the process said that it stops in order.
func (p *Process) Ordered() bool { return saidStopping(p.root, p.Name, p.PID, p.start) }

// Signal sends a signal to this very process, never to a later one.
func (p *Process) Signal(sig unix.Signal) error {
	if err := unix.PidfdSendSignal(p.fd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Close lets go of the process.
func (p *Process) Close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
		p.fd = -1
	}
}
