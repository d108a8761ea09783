//go:build linux

// Package machine is one system of a lab: a process that stands for the
// system's init, with namespaces and a root of files of its own (privileged)
// or with an EVENKEEL_ROOT and as subreaper of its children (unprivileged).
// The init is this program again, see Init; Start, Kill and Exec are the
// outside view.
package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab/spec"
)

// Environment variables by which a lab finds its processes again.
const (
	EnvLab    = "HALAB_LAB"    // the lab's directory
	EnvSystem = "HALAB_SYSTEM" // the lab's directory, a slash and the system's name
)

// InitCommand is the hidden command of halab that becomes a system's init.
const InitCommand = "__init"

// Config is what an init gets to know, as one line of JSON.
type Config struct {
	Lab    string `json:"lab"`
	LabDir string `json:"lab_dir"`
	System string `json:"system"`
	// Root is an empty directory: the mount point of the new root, or the
	// EVENKEEL_ROOT of an unprivileged system.
	Root         string `json:"root"`
	Unprivileged bool   `json:"unprivileged"`
	// Volatile are patterns of files that an unprivileged boot removes.
	Volatile []string `json:"volatile"`
	// ImageDevice is the block device of the system's own disk, "" for none.
	ImageDevice string `json:"image_device"`
	// Files are written to /etc/evenkeel at the first boot.
	Files []spec.File `json:"files"`
	// SharedDir is the host's directory of shared disks.
	SharedDir string `json:"shared_dir"`
	// SwitchSocket is the power switch, "" for the client host.
	SwitchSocket string   `json:"switch_socket"`
	BinDir       string   `json:"bin_dir"`
	Binds        []string `json:"binds"`
	// Hosts is the text of /etc/hosts.
	Hosts string `json:"hosts"`
	// Links get no IPv6, so that nothing but heartbeats is on them.
	Links []string `json:"links"`
	// Daemons are started in order; each but the last gets until ReadyMillis
	// to open its socket.
	Daemons     []string `json:"daemons"`
	ReadyMillis int      `json:"ready_millis"`
	Env         []string `json:"env"`
}

// message travels between a system's init and the lab, one line of JSON each.
type message struct {
	Config *Config `json:"config,omitempty"`
	Start  bool    `json:"start,omitempty"`
	Ready  bool    `json:"ready,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// Process is a running init.
type Process struct {
	// PID is the init in this namespace's numbers.
	PID    int
	config Config
	conn   net.Conn
	reader *bufio.Reader
	done   chan struct{} // closed when the init has been reaped
	once   sync.Once
	// The namespaces of a privileged system are held open until Kill is
	// through: the kernel gives the number of a namespace that is gone to the
	// next one, which may be another lab's.
	pids, mounts *os.File
}

// spawner starts processes from one thread that lives as long as the
// program: the kernel sends a child's parent-death signal when the thread
// that made it ends.
var spawner = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func()) // unbuffered: a job is taken or its sender waits
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

// Start makes the system: its namespaces, its tree of files. It returns when
// both are ready and the daemons are not started yet; see Run. console gets
// what init and daemons print.
func Start(config Config, console *os.File) (*Process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", config.System, err)
	}
	exe, err := os.Executable()
	if err != nil {
		ours.Close()
		theirs.Close()
		return nil, fmt.Errorf("start %s: %w", config.System, err)
	}
	cmd := exec.Command(exe, InitCommand, config.System, config.LabDir)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = console, console
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(), EnvLab+"="+config.LabDir, EnvSystem+"="+filepath.Join(config.LabDir, config.System))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !config.Unprivileged {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	}
	started := make(chan error, 1) // one result, never blocks
	spawner() <- func() { started <- cmd.Start() }
	err = <-started
	theirs.Close() // the init has it alone now, so that its end is seen
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s: make namespaces: %w", config.System, err)
	}
	p := &Process{PID: cmd.Process.Pid, config: config, conn: ours, reader: bufio.NewReader(ours), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended does not matter: init never ends well
		close(p.done)
	}()
	if err = p.hold(); err == nil {
		err = p.ask(message{Config: &config})
	}
	if err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("start %s: %w", config.System, err)
	}
	return p, nil
}

// hold opens the namespaces.
func (p *Process) hold() (err error) {
	if p.config.Unprivileged {
		return nil
	}
	if p.pids, err = os.Open(fmt.Sprintf("/proc/%d/ns/pid", p.PID)); err != nil {
		return err
	}
	p.mounts, err = os.Open(fmt.Sprintf("/proc/%d/ns/mnt", p.PID))
	return err
}

// Run starts the daemons. It returns when all are started, which does not
// mean ready.
func (p *Process) Run() error {
	if err := p.ask(message{Start: true}); err != nil {
		return fmt.Errorf("start daemons of %s: %w", p.config.System, err)
	}
	return nil
}

func (p *Process) ask(m message) error {
	if err := p.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if err := json.NewEncoder(p.conn).Encode(m); err != nil {
		return fmt.Errorf("tell init: %w", err)
	}
	line, err := p.reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("init ended early (its console log says why): %w", err)
	}
	var answer message
	if err := json.Unmarshal(line, &answer); err != nil {
		return fmt.Errorf("understand init: %w", err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make control socket: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "init")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make control socket: %w", err)
	}
	return conn, os.NewFile(uintptr(fds[1]), "control"), nil
}

// Done is closed when the init is gone; of a privileged system then no
// process is left, because the kernel ends a PID namespace with its init.
func (p *Process) Done() <-chan struct{} { return p.done }

func (p *Process) gone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Root is where the system's files can be seen from outside.
func (p *Process) Root() string {
	if p.config.Unprivileged {
		return p.config.Root
	}
	return fmt.Sprintf("/proc/%d/root", p.PID)
}

// Kill ends every process of the system, frozen or not, and returns when all
// are gone.
func (p *Process) Kill() error {
	deadline := time.Now().Add(20 * time.Second)
	if p.config.Unprivileged {
		if err := p.killTree(deadline); err != nil {
			return err
		}
	}
	if !p.gone() {
		if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill %s: %w", p.config.System, err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(time.Until(deadline)):
		return fmt.Errorf("kill %s: its init (pid %d) is still there", p.config.System, p.PID)
	}
	if err := p.killVisitors(deadline); err != nil {
		return err
	}
	p.once.Do(func() {
		p.conn.Close()
		p.pids.Close() // closing no file at all is an error and no harm
		p.mounts.Close()
	})
	return nil
}

// killTree ends the children of an unprivileged init while it still collects
// orphans, again and again until none is left.
func (p *Process) killTree(deadline time.Time) error {
	return until(deadline, func() (bool, error) {
		left := 0
		for _, pid := range p.PIDs() {
			if pid != p.PID {
				left++
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		return left == 0, nil
	}, "processes of "+p.config.System)
}

// killVisitors ends processes outside the PID namespace that are in the
// system's mount namespace, such as a halab exec or an nsenter: they would
// hold its mounts (R4).
func (p *Process) killVisitors(deadline time.Time) error {
	if p.mounts == nil {
		return nil
	}
	return until(deadline, func() (bool, error) {
		left := 0
		for _, pid := range inNamespace(p.mounts, "mnt") {
			if pid != os.Getpid() {
				left++
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		return left == 0, nil
	}, "visitors of "+p.config.System)
}

// until calls done every few milliseconds.
func until(deadline time.Time, done func() (bool, error), what string) error {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		switch ok, err := done(); {
		case err != nil:
			return err
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s are still there", what)
		}
		<-ticker.C
	}
}

// Freeze stops every process of the system, as a pause of the whole machine
// would. Processes that were stopped before are left out and stay stopped
// after Thaw with the returned list.
func (p *Process) Freeze() ([]int, error) {
	var stopped []int
	seen := map[int]bool{}
	err := until(time.Now().Add(10*time.Second), func() (bool, error) {
		fresh := false
		for _, pid := range p.PIDs() {
			if seen[pid] {
				continue
			}
			seen[pid], fresh = true, true
			if state(pid) == 'T' {
				continue
			}
			if err := unix.Kill(pid, unix.SIGSTOP); err == nil {
				stopped = append(stopped, pid)
			}
		}
		if fresh {
			return false, nil // a process may have been born meanwhile
		}
		for _, pid := range stopped {
			if s := state(pid); s != 'T' && s != 't' && s != 0 && s != 'Z' {
				return false, nil
			}
		}
		return true, nil
	}, "running processes of "+p.config.System)
	return stopped, err
}

// Thaw lets the processes that Freeze stopped go on.
func Thaw(stopped []int) error {
	for i := len(stopped) - 1; i >= 0; i-- { // children first, so that init finds them alive
		if err := unix.Kill(stopped[i], unix.SIGCONT); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("thaw process %d: %w", stopped[i], err)
		}
	}
	return nil
}
