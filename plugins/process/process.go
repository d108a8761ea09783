// Package process is the agent of type Process: a program that runs.
//
// A process belongs to the resource if it runs in this PID namespace, its
// command line is PathName with Arguments (PathName alone with IgnoreArgs; for
// a script: the interpreter of its first line, then PathName) and it has the
// same EVENKEEL_ROOT as the agent, so that laboratory systems on one machine do
// not take each other's processes for their own. With PidFile it is the process
// of that number if its command is PathName. Zombies are gone.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/sdk/agent"
)

const (
	// termTime bounds the wait between SIGTERM and SIGKILL; it is at most half
	// of what is left of the timeout.
	termTime = 10 * time.Second
	// watchPoll is how often a watch that sees no process looks for one that
	// somebody else started.
	watchPoll = 5 * time.Second
)

// New returns the agent.
func New() agent.Agent { return &process{wake: map[string]chan struct{}{}} }

type process struct {
	mu   sync.Mutex
	wake map[string]chan struct{} // by resource; bound 1: one wake serves all before it
}

// Describe implements agent.Agent.
func (*process) Describe() agent.Description {
	return agent.Description{Type: "Process", Version: "1.0.0", Attrs: []agent.Attr{
		{Name: "PathName", Kind: agent.String, Required: true, Doc: "Absolute path of the program."},
		{Name: "Arguments", Kind: agent.String, Doc: "Its arguments; quotes hold blanks together."},
		{Name: "UserName", Kind: agent.String, Default: "root", Doc: "Who runs it. An agent that is not root runs it as itself if this is root."},
		{Name: "Priority", Kind: agent.Integer, Default: "10", Doc: "Nice value, -20 to 19."},
		{Name: "PidFile", Kind: agent.String, Doc: "File with its process id, for programs that rewrite their command line."},
		{Name: "IgnoreArgs", Kind: agent.Boolean, Default: "0", Doc: "1: any arguments will do."},
	}, Actions: []agent.Action{
		{Token: "program.vfd", Doc: "Can the program be run on this system?"},
		{Token: "user.vfd", Doc: "Does this system know UserName?"},
	}}
}

// Validate implements agent.Validator.
func (*process) Validate(_ context.Context, r *agent.Resource) []agent.Problem {
	var problems []agent.Problem
	if path := r.String("PathName"); !filepath.IsAbs(path) || len(path) > 256 {
		problems = append(problems, agent.Problem{Attr: "PathName", Text: "must be an absolute path of at most 256 bytes"})
	}
	if _, err := splitArgs(r.String("Arguments")); err != nil {
		problems = append(problems, agent.Problem{Attr: "Arguments", Text: err.Error()})
	}
	if p := r.Int("Priority"); p < -20 || p > 19 {
		problems = append(problems, agent.Problem{Attr: "Priority", Text: "must be -20 to 19"})
	}
	return problems
}

// splitArgs splits at blanks; single and double quotes hold together.
func splitArgs(text string) ([]string, error) {
	var out []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			if inWord {
				out = append(out, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote %c is not closed", quote)
	}
	if inWord {
		out = append(out, word.String())
	}
	return out, nil
}

// Online implements agent.Controller.
func (a *process) Online(ctx context.Context, r *agent.Resource) error {
	found, err := find(r)
	if err != nil || len(found) > 0 {
		return err
	}
	args, err := splitArgs(r.String("Arguments"))
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	cmd := exec.Command(r.String("PathName"), args...)
	cmd.Dir = "/"
	if cmd.SysProcAttr, err = runAs(r.String("UserName")); err != nil {
		return err
	}
	p, err := agent.Start(cmd)
	if err != nil {
		return err
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, p.PID, r.Int("Priority")); err != nil {
		r.Log.Warn("priority not set", "priority", r.Int("Priority"), "error", err)
	}
	r.Log.Info("started", "pid", p.PID)
	a.nudge(r.Name)
	return nil
}

// runAs finds the identity of a user; an empty name is the agent's own.
func runAs(name string) (*syscall.SysProcAttr, error) {
	if name == "" {
		return nil, nil
	}
	own, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err == nil && own.Username == name {
		return nil, nil
	}
	if os.Getuid() != 0 {
		if name == "root" {
			return nil, nil // the default, where nobody is root
		}
		return nil, fmt.Errorf("run as %s: the agent is not root; set UserName to its own user", name)
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("run as %s: %w", name, err)
	}
	cred := &syscall.Credential{}
	number := func(text string) uint32 {
		n, convErr := strconv.ParseUint(text, 10, 32)
		err = errors.Join(err, convErr)
		return uint32(n)
	}
	cred.Uid, cred.Gid = number(u.Uid), number(u.Gid)
	groups, groupErr := u.GroupIds()
	err = errors.Join(err, groupErr)
	for _, g := range groups {
		cred.Groups = append(cred.Groups, number(g))
	}
	if err != nil {
		return nil, fmt.Errorf("run as %s: %w", name, err)
	}
	return &syscall.SysProcAttr{Credential: cred}, nil
}

// Offline implements agent.Controller: SIGTERM, after a bound SIGKILL.
func (*process) Offline(ctx context.Context, r *agent.Resource) error {
	patience := termTime
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	return end(ctx, r, patience)
}

// Clean implements agent.Controller: SIGKILL.
func (*process) Clean(ctx context.Context, r *agent.Resource, _ agent.CleanReason) error {
	return end(ctx, r, 0)
}

// end ends the resource's processes until there are none.
func end(ctx context.Context, r *agent.Resource, patience time.Duration) error {
	kill := time.Now().Add(patience)
	for {
		found, err := find(r)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, p := range found {
			sig, until := unix.SIGKILL, time.Time{}
			if time.Now().Before(kill) {
				sig, until = unix.SIGTERM, kill
			}
			if err := p.signal(ctx, sig, until); err != nil {
				return err
			}
		}
	}
}

// signal sends a signal to exactly this process and waits until it is gone, or
// until the given time if there is one, or ctx ends.
func (p proc) signal(ctx context.Context, sig unix.Signal, until time.Time) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return fmt.Errorf("open pidfd of %d: %w", p.pid, err)
	}
	defer unix.Close(fd)
	if start, err := agent.StartTime(p.pid); err != nil || start != p.start {
		return nil // gone, or another one by now
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %v to %d: %w", sig, p.pid, err)
	}
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx2, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		if waitGone(ctx2, fd) == nil || ctx.Err() == nil {
			return nil
		}
		return ctx.Err()
	}
	return waitGone(ctx, fd)
}

// waitGone waits until the process of a pidfd has ended, or ctx has.
func waitGone(ctx context.Context, pidfd int) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	stop := context.AfterFunc(ctx, func() { w.Close() })
	defer func() {
		if stop() {
			w.Close()
		}
	}()
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(r.Fd())}}
	for {
		_, err := unix.Poll(fds, -1)
		switch {
		case fds[0].Revents != 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// Monitor implements agent.Agent.
func (a *process) Monitor(ctx context.Context, r *agent.Resource) (agent.Status, error) {
	found, err := find(r)
	if err != nil {
		return agent.Status{}, err
	}
	if len(found) == 0 {
		return agent.Status{State: agent.Offline}, nil
	}
	a.nudge(r.Name)
	if agent.Detailed(ctx) {
		return detailed(found), nil
	}
	return agent.Status{State: agent.Online}, nil
}

func (a *process) wakeOf(name string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := a.wake[name]
	if ch == nil {
		ch = make(chan struct{}, 1)
		a.wake[name] = ch
	}
	return ch
}

func (a *process) nudge(name string) {
	select {
	case a.wakeOf(name) <- struct{}{}:
	default:
	}
}

// Watch implements agent.Watcher: the kernel tells of a process's end at once.
func (a *process) Watch(ctx context.Context, r *agent.Resource, push func(agent.Status)) error {
	wake := a.wakeOf(r.Name)
	was := agent.Unknown
	for {
		found, err := find(r)
		if err != nil {
			return err
		}
		now := agent.Status{State: agent.Offline, Detail: "the process is gone"}
		if len(found) > 0 {
			now = agent.Status{State: agent.Online}
		}
		if now.State != was {
			push(now)
			was = now.State
		}
		if len(found) > 0 {
			if err := found[0].wait(ctx); err != nil {
				return nil //nolint:nilerr // ctx ended: the watch is over
			}
			continue
		}
		timer := time.NewTimer(watchPoll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (p proc) wait(ctx context.Context) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	if start, err := agent.StartTime(p.pid); err != nil || start != p.start {
		return nil //nolint:nilerr // gone already
	}
	return waitGone(ctx, fd)
}

// proc is a process that was seen.
type proc struct {
	pid   int
	start uint64
}

// find lists the resource's living processes, the eldest first.
func find(r *agent.Resource) ([]proc, error) {
	m, err := newMatcher(r)
	if err != nil {
		return nil, err
	}
	if file := r.String("PidFile"); file != "" {
		return m.byPidFile(file)
	}
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var found []proc
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid != os.Getpid() {
			if start, ok := m.matches(pid, m.ignoreArgs); ok {
				found = append(found, proc{pid, start})
			}
		}
	}
	slices.SortFunc(found, func(a, b proc) int { return int(int64(a.start) - int64(b.start)) })
	return found, nil
}

// matcher knows a resource's process when it sees one.
type matcher struct {
	path, interpreter string
	args              []string
	ignoreArgs        bool
	root, namespace   string
}

const envRoot = "EVENKEEL_ROOT"

func newMatcher(r *agent.Resource) (*matcher, error) {
	args, err := splitArgs(r.String("Arguments"))
	if err != nil {
		return nil, fmt.Errorf("attribute Arguments: %w", err)
	}
	ns, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil, fmt.Errorf("find own PID namespace: %w", err)
	}
	m := &matcher{path: r.String("PathName"), args: args, ignoreArgs: r.Bool("IgnoreArgs"), root: os.Getenv(envRoot), namespace: ns}
	if f, err := os.Open(m.path); err == nil {
		defer f.Close()
		head := make([]byte, 256)
		n, _ := f.Read(head)
		line, _, _ := strings.Cut(string(head[:n]), "\n")
		if shebang, ok := strings.CutPrefix(line, "#!"); ok {
			if words := strings.Fields(shebang); len(words) > 0 {
				m.interpreter = words[0]
			}
		}
	}
	return m, nil
}

// matches reads a process twice around the look at its command line: only if
// it is the same before and after is the answer about one process.
func (m *matcher) matches(pid int, ignoreArgs bool) (uint64, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	text, err := os.ReadFile(dir + "/cmdline")
	if err != nil || len(text) == 0 || !m.command(strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"), ignoreArgs) {
		return 0, false
	}
	start, err := agent.StartTime(pid)
	if err != nil {
		return 0, false
	}
	if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != m.namespace {
		return 0, false
	}
	environ, err := os.ReadFile(dir + "/environ")
	if err != nil || !m.sameRoot(string(environ)) {
		return 0, false
	}
	again, err := agent.StartTime(pid)
	return start, err == nil && again == start
}

func (m *matcher) sameRoot(environ string) bool {
	root := ""
	for pair := range strings.SplitSeq(environ, "\x00") {
		if v, ok := strings.CutPrefix(pair, envRoot+"="); ok {
			root = v
		}
	}
	return strings.TrimSuffix(root, "/") == strings.TrimSuffix(m.root, "/")
}

func (m *matcher) command(argv []string, ignoreArgs bool) bool {
	at := -1
	switch {
	case argv[0] == m.path:
		at = 0
	case m.interpreter != "" && argv[0] == m.interpreter:
		for i := 1; i < min(len(argv), 3) && at < 0; i++ { // the first line may have one argument
			if argv[i] == m.path {
				at = i
			}
		}
	}
	return at >= 0 && (ignoreArgs || slices.Equal(argv[at+1:], m.args))
}

func (m *matcher) byPidFile(file string) ([]proc, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read PidFile: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil, nil //nolint:nilerr // being written, or left empty: no process
	}
	if start, ok := m.matches(pid, true); ok {
		return []proc{{pid, start}}, nil
	}
	// A program that rewrote its command line is known by what it executes.
	start, err := agent.StartTime(pid)
	if err != nil {
		return nil, nil //nolint:nilerr // gone
	}
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return nil, fmt.Errorf("look at process %d of PidFile: %w", pid, err)
	}
	want, err := filepath.EvalSymlinks(m.path)
	if err != nil {
		want = m.path
	}
	if strings.TrimSuffix(exe, " (deleted)") != want {
		return nil, nil // the number belongs to somebody else by now
	}
	return []proc{{pid, start}}, nil
}
