package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What host and agent agree on; agents written in Go have the same words in
// package sdk/agent, others write them down again.
const (
	cookieKey       = "EVENKEEL_AGENT"
	cookieValue     = "a2c7c0e6-evenkeel-agent"
	protocolVersion = 1
	pluginName      = "agent"

	envHostPID   = "EVENKEEL_HOST_PID"
	envToken     = "EVENKEEL_AGENT_TOKEN"
	envAppCgroup = "EVENKEEL_APP_CGROUP"
)

// drainTime is how long the pipes of a dead agent are still read. They may
// stay open for ever in a process that inherited them.
const drainTime = 100 * time.Millisecond

// spawner starts processes from one thread that lives as long as the host: the
// kernel sends the parent-death signal when the starting thread ends, and Go's
// threads come and go.
type spawner struct {
	work chan func() // unbuffered: a start waits for the one before it
	stop chan struct{}
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{work: make(chan func()), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread() // the thread goes back to Go, it does not end
		for {
			select {
			case f := <-s.work:
				f()
			case <-s.stop:
				return
			}
		}
	}()
	return s
}

func (s *spawner) run(f func() error) error {
	answer := make(chan error, 1)
	select {
	case s.work <- func() { answer <- f() }:
		return <-answer
	case <-s.stop:
		return errors.New("the host is closed")
	}
}

func (s *spawner) close() {
	close(s.stop)
	<-s.done
}

// process is one agent's process: the runner that go-plugin is given. The exit
// is seen by pidfd, never by the end of a pipe; go-plugin sees of stdout the
// one handshake line and of stderr nothing.
type process struct {
	path    string
	env     []string
	spawn   *spawner
	log     *slog.Logger
	cgroups *cgroups
	rec     *recordFile
	held    *pidSet

	cmd   *exec.Cmd
	mu    sync.Mutex // guards pidfd and kill
	pidfd int
	kill  bool // asked for before there was a process
	start uint64

	handshakeR, stderrR *io.PipeReader
	handshakeW, stderrW *io.PipeWriter
	pipes               []*os.File

	// exited is closed when the process is dead, gone when nothing of it and
	// its helpers is left, stuck when the first attempt at that failed.
	exited, gone, stuck chan struct{}
	stuckOnce           sync.Once
	stuckWhy            error  // read after stuck
	exitState           string // read after gone
	byItself            bool   // read after gone: no SIGKILL or SIGTERM ended it
}

func newProcess(path string, env []string, spawn *spawner, log *slog.Logger, cg *cgroups, rec *recordFile, held *pidSet) *process {
	p := &process{
		path: path, env: env, spawn: spawn, log: log, cgroups: cg, rec: rec, held: held, pidfd: -1,
		exited: make(chan struct{}), gone: make(chan struct{}), stuck: make(chan struct{}),
	}
	p.handshakeR, p.handshakeW = io.Pipe()
	p.stderrR, p.stderrW = io.Pipe()
	return p
}

// Start starts the process; part of go-plugin's runner.Runner.
func (p *process) Start(context.Context) error {
	outR, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start agent %s: %w", p.path, err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		outR.Close()
		outW.Close()
		return fmt.Errorf("start agent %s: %w", p.path, err)
	}
	// The mark is on disk before the process exists: whatever happens next, a
	// later had finds it (R8).
	err = p.rec.write()
	if err == nil {
		err = p.spawn.run(func() error { return p.fork(outW, errW) })
	}
	outW.Close()
	errW.Close()
	if err != nil {
		outR.Close()
		errR.Close()
		p.rec.remove()
		p.closeFeeds()
		close(p.exited)
		close(p.gone)
		return fmt.Errorf("start agent %s: %w", p.path, err)
	}
	p.pipes = []*os.File{outR, errR}
	pid := p.cmd.Process.Pid
	if t, err := processStart(pid); err == nil {
		p.start = t
		p.rec.PID, p.rec.StartTime = pid, t
	}
	if err := p.rec.write(); err != nil {
		p.log.Warn("record of agent not updated; its token is on record", "error", err)
	}
	var pumps sync.WaitGroup
	pumps.Add(2)
	go func() { defer pumps.Done(); pumpStdout(outR, p.handshakeW, p.log) }()
	go func() { defer pumps.Done(); pumpLines(bufio.NewReaderSize(errR, maxLine), p.log) }()
	go p.reap(&pumps)
	return nil
}

func (p *process) fork(stdout, stderr *os.File) error {
	fd := -1
	cmd := exec.Command(p.path)
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = p.env, stdout, stderr, "/"
	cmd.Env = append(cmd.Env,
		envHostPID+"="+strconv.Itoa(os.Getpid()), envToken+"="+p.rec.Token, envAppCgroup+"="+p.cgroups.apps())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, PidFD: &fd}
	if dir, err := p.cgroups.agent(p.rec.Cgroup); err != nil {
		p.log.Warn("agent runs without a cgroup", "error", err)
	} else if dir != nil {
		defer dir.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(dir.Fd())
	}
	// What had inherited from whoever started it is no agent's business; a
	// kernel older than 5.11 leaves it to the SDK.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err := cmd.Start(); err != nil {
		return err
	}
	if fd < 0 { // the child is not reaped, so its id is its own
		var err error
		if fd, err = unix.PidfdOpen(cmd.Process.Pid, 0); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return fmt.Errorf("open pidfd: %w (Linux 5.3 or newer is needed)", err)
		}
	}
	p.held.add(cmd.Process.Pid)
	p.cmd = cmd
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pidfd = fd
	if p.kill {
		return p.signal()
	}
	return nil
}

// reap waits for the end, ends what the agent left behind while its process id
// is still taken (a zombie), and only then lets the kernel forget it.
func (p *process) reap(pumps *sync.WaitGroup) {
	waitPidfd(p.pidfd, -1)
	close(p.exited)
	for _, f := range p.pipes { // whoever else holds the other end
		_ = f.SetReadDeadline(time.Now().Add(drainTime))
	}
	pumps.Wait()
	for _, f := range p.pipes {
		f.Close()
	}
	p.closeFeeds()
	for {
		err := endProcesses(p.rec.record, true)
		if err == nil {
			break
		}
		p.log.Error("helpers of a dead agent do not end; the agent is not started again before they have", "error", err)
		p.stuckOnce.Do(func() { p.stuckWhy = err; close(p.stuck) })
	}
	if err := p.cmd.Wait(); err != nil {
		p.exitState = err.Error()
	} else {
		p.exitState = "exit status 0"
	}
	if ws, is := p.cmd.ProcessState.Sys().(syscall.WaitStatus); is {
		p.byItself = !ws.Signaled() || (ws.Signal() != syscall.SIGKILL && ws.Signal() != syscall.SIGTERM)
	}
	p.mu.Lock()
	unix.Close(p.pidfd)
	p.pidfd = -1
	p.mu.Unlock()
	p.held.remove(p.cmd.Process.Pid)
	p.cgroups.removeAgent(p.rec.Cgroup)
	p.rec.remove()
	close(p.gone)
}

func (p *process) closeFeeds() {
	p.handshakeW.Close()
	p.stderrW.Close()
}

// Wait returns when the process has ended; part of runner.AttachedRunner.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill ends the process at once; part of runner.AttachedRunner.
func (p *process) Kill(context.Context) error {
	select {
	case <-p.exited:
		return nil
	default:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pidfd < 0 {
		p.kill = true
		return nil
	}
	return p.signal()
}

// signal sends SIGKILL; mu is held.
func (p *process) signal() error {
	if err := unix.PidfdSendSignal(p.pidfd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill agent %s: %w", p.path, err)
	}
	return nil
}

// Stdout carries the handshake line alone; part of runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.handshakeR }

// Stderr carries nothing and ends with the process; part of runner.Runner.
func (p *process) Stderr() io.ReadCloser { return p.stderrR }

// Name is the path; part of runner.Runner.
func (p *process) Name() string { return p.path }

// ID is the token; part of runner.AttachedRunner. It is no process id on
// purpose: nothing may ever be killed by one.
func (p *process) ID() string { return p.rec.Token }

// Diagnose adds nothing; part of runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost changes nothing; part of runner.AddrTranslator.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin changes nothing; part of runner.AddrTranslator.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

// waitPidfd waits until the process has ended (true) or for the given time;
// negative means for ever.
func waitPidfd(fd int, atMost time.Duration) bool {
	deadline := time.Now().Add(atMost)
	for {
		ms := -1
		if atMost >= 0 {
			ms = max(0, int(time.Until(deadline).Milliseconds()))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		switch {
		case n == 1:
			return true
		case err != nil && !errors.Is(err, unix.EINTR):
			return false
		case err == nil && n == 0:
			return false
		}
	}
}

// pumpStdout hands on the handshake, cut down to its five fields: more than
// that is for TLS, which is not used, and makes go-plugin panic.
func pumpStdout(r io.Reader, handshake *io.PipeWriter, log *slog.Logger) {
	br := bufio.NewReaderSize(r, maxLine)
	line, tooLong, err := br.ReadLine()
	if err == nil {
		fields := strings.Split(strings.TrimSpace(string(line)), "|")
		if tooLong || len(line) > 4096 {
			fields = []string{"(a line of more than 4096 bytes)"}
		}
		_, _ = io.WriteString(handshake, strings.Join(fields[:min(len(fields), 5)], "|")+"\n")
	}
	pumpLines(br, log)
}
