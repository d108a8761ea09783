//go:build linux

package machine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
)

// Init is the main program of a system's init. It gets its configuration over
// descriptor 3, builds the tree of files, starts the daemons when told,
// collects dead processes and ends when the lab goes away. It restarts
// nothing: that is for the daemons themselves to do.
func Init() error {
	file := os.NewFile(3, "control")
	conn, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("%s is started by halab up only: %w", InitCommand, err)
	}
	file.Close()
	reader := bufio.NewReader(conn)
	line, err := reader.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	var first message
	if err := json.Unmarshal(line, &first); err != nil || first.Config == nil {
		return fmt.Errorf("read configuration: %q: %w", line, err)
	}
	in := &initProcess{config: *first.Config, names: map[int]string{}}
	if err := in.prepare(); err != nil {
		_ = json.NewEncoder(conn).Encode(message{Error: err.Error()})
		return err
	}
	go in.reap()
	if err := json.NewEncoder(conn).Encode(message{Ready: true}); err != nil {
		return err
	}
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			in.end()
			return fmt.Errorf("the lab is gone: %w", err)
		}
		var m message
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("understand the lab: %w", err)
		}
		answer := message{Ready: true}
		if m.Start {
			if err := in.start(); err != nil {
				answer = message{Error: err.Error()}
			}
		}
		if err := json.NewEncoder(conn).Encode(answer); err != nil {
			return err
		}
	}
}

type initProcess struct {
	config Config
	mu     sync.Mutex
	names  map[int]string // daemons by pid
}

func (in *initProcess) prepare() error {
	if in.config.Unprivileged {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("become subreaper: %w", err)
		}
		return in.unprivilegedRoot()
	}
	return in.buildRoot()
}

// end ends an unprivileged system whose lab has gone: without a PID namespace
// the kernel does not do it.
func (in *initProcess) end() {
	if !in.config.Unprivileged {
		return
	}
	self := &Process{PID: os.Getpid(), config: in.config, done: make(chan struct{})}
	_ = self.killTree(time.Now().Add(10 * time.Second))
}

// start starts the daemons in order.
func (in *initProcess) start() error {
	if !in.config.Unprivileged {
		for _, link := range in.config.Links {
			// Best effort: a kernel without IPv6 has no such file.
			_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+link+"/disable_ipv6", []byte("1"), 0o644)
		}
	}
	root := paths.Root("")
	if in.config.Unprivileged {
		root = paths.Root(in.config.Root)
	}
	for i, daemon := range in.config.Daemons {
		name := filepath.Base(daemon)
		in.mu.Lock() // the reaper must not meet a pid before its name
		pid, err := syscall.ForkExec(daemon, []string{daemon}, &syscall.ProcAttr{
			Dir: "/", Env: in.config.Environment(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err == nil {
			in.names[pid] = name
		}
		in.mu.Unlock()
		if err != nil {
			return fmt.Errorf("start %s: %w (make build)", daemon, err)
		}
		in.log("%s started as process %d", name, pid)
		if i < len(in.config.Daemons)-1 {
			in.awaitSocket(root.Socket(name), pid)
		}
	}
	return nil
}

// awaitSocket waits until a daemon answers, dies or its time is over: a
// daemon that does not come must not keep the others from showing what they
// do then.
func (in *initProcess) awaitSocket(socket string, pid int) {
	deadline := time.NewTimer(time.Duration(in.config.ReadyMillis) * time.Millisecond)
	defer deadline.Stop()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return
		}
		in.mu.Lock()
		_, alive := in.names[pid]
		in.mu.Unlock()
		if !alive {
			return
		}
		select {
		case <-deadline.C:
			in.log("%s does not answer yet; going on", socket)
			return
		case <-ticker.C:
		}
	}
}

// reap collects dead children for the life of the process.
func (in *initProcess) reap() {
	signals := make(chan os.Signal, 1) // one is enough: all the dead are collected at each
	signal.Notify(signals, syscall.SIGCHLD)
	for range signals {
		for {
			var status syscall.WaitStatus
			in.mu.Lock()
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			name := in.names[pid]
			delete(in.names, pid)
			in.mu.Unlock()
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			switch {
			case name == "":
			case status.Signaled():
				in.log("%s (process %d) was ended by signal %d (%s)", name, pid, status.Signal(), status.Signal())
			default:
				in.log("%s (process %d) ended with exit code %d", name, pid, status.ExitStatus())
			}
		}
	}
}

func (in *initProcess) log(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s init: %s\n", time.Now().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

// unprivilegedRoot fills the EVENKEEL_ROOT.
func (in *initProcess) unprivilegedRoot() error {
	root := paths.Root(in.config.Root)
	if err := os.RemoveAll(root.RunDir()); err != nil { // as a tmpfs over a reboot
		return fmt.Errorf("empty %s: %w", root.RunDir(), err)
	}
	if err := RemoveVolatile(in.config.Volatile); err != nil {
		return err
	}
	if err := root.MakeRunDirs(); err != nil {
		return err
	}
	agents := filepath.Dir(root.Agent("x"))
	if err := os.MkdirAll(filepath.Dir(agents), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(in.config.BinDir, "agents"), agents); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := in.writeFiles(root.ConfigDir()); err != nil {
		return err
	}
	return lab.WriteMarker(root, lab.Marker{Lab: in.config.Lab, System: in.config.System, Switch: in.config.SwitchSocket})
}

// RemoveVolatile removes the files that match the patterns; directories stay.
func RemoveVolatile(patterns []string) error {
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("find volatile files %s: %w", pattern, err)
		}
		for _, file := range files {
			if info, err := os.Lstat(file); err != nil || info.IsDir() {
				continue
			}
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("remove volatile file: %w", err)
			}
		}
	}
	return nil
}

// writeFiles writes the configuration at the first boot.
func (in *initProcess) writeFiles(dir string) error {
	done := filepath.Join(dir, "sysname") // written last
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var last []byte
	for _, file := range in.config.Files {
		if file.Name == "sysname" {
			last = file.Text
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file.Name), file.Text, file.Mode); err != nil {
			return err
		}
	}
	if last == nil {
		return nil
	}
	return os.WriteFile(done, last, 0o644)
}
