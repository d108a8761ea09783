package standing

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
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
	// file is fd for the runtime's poller, so that waiting for the exit costs
	// neither a thread nor a wake-up.
	file *os.File
	raw  syscall.RawConn
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
	if p.fd, err = unix.PidfdOpen(p.PID, unix.PIDFD_NONBLOCK); err != nil {
		return fmt.Errorf("%w: pid %d: %w", ErrAbsent, p.PID, err)
	}
	p.file = os.NewFile(uintptr(p.fd), "pidfd")
	if p.raw, err = p.file.SyscallConn(); err != nil {
		return fmt.Errorf("watch pid %d: %w", p.PID, err)
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

// alive is false only if the kernel says that the process has ended: a look
// that a signal interrupted is none.
func (p *Process) alive() bool {
	poll := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
	n, err := ignoring(func() (int, error) { return unix.Poll(poll, 0) })
	return err != nil || n == 0
}

// Exited waits at most d and reports whether the process has ended.
func (p *Process) Exited(d time.Duration) bool { return p.exited(context.Background(), d) }

// Wait waits until the process has ended or ctx is done; nil means ended.
func (p *Process) Wait(ctx context.Context) error {
	for !p.exited(ctx, time.Minute) {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// exited waits at most d or until ctx is done. One caller at a time.
func (p *Process) exited(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return !p.alive()
	}
	if p.file.SetReadDeadline(time.Now().Add(d)) != nil {
		return !p.alive() // closed
	}
	stop := context.AfterFunc(ctx, func() { _ = p.file.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// An error is the deadline, the end of ctx, or that Close was called.
	return p.raw.Read(func(uintptr) bool { return !p.alive() }) == nil
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
	if p.file != nil {
		p.file.Close()
		p.file, p.fd = nil, -1
	}
}
