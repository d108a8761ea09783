//go:build linux

package command

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/evenkeel/evenkeel/internal/lab/machine"
	"github.com/evenkeel/evenkeel/internal/lab/network"
	"github.com/evenkeel/evenkeel/internal/lab/spec"
	"github.com/evenkeel/evenkeel/internal/lab/supervisor"
	"github.com/evenkeel/evenkeel/internal/paths"
)

type upOptions struct {
	nodes        int
	conf         string
	timeout      time.Duration
	unprivileged bool
	noDaemons    bool
	quiet        bool
	binds        []string
}

func up(l *lab) *cobra.Command {
	o := &upOptions{}
	cmd := &cobra.Command{
		Use: "up (--nodes N | --conf DIR)", Short: "Start a lab and wait until it runs",
		Long: `Starts a lab and returns 0 when all systems are RUNNING and the groups that
start by themselves have done so; else non-zero at the timeout with the reason,
and the lab stays up for a look (halab logs SYSTEM, halab exec, halab down).

DIR holds main.cf and, each with defaults, types.cf, fencing.conf and lab.yaml:

  public: {interface: hme0, network: 192.168.1.0/24, addresses: {Server1: 192.168.1.1}}
  client: {address: 192.168.1.100}
  disks: [{group: shared1, volume: vol1, size: 256M, fs: ext4}]
  fencing: {mode: customized, points: 3}    # or disabled
  profile: default                          # set-profile of llttab
  env: {NAME: value}                        # for the daemons
  binds: [/path]                            # seen read-only by the systems
  volatile: [/tmp/example]                  # beginnings of paths that an unprivileged
                                            # lab makes its own and clears at boot

A lab of that name whose halab was killed is cleaned up first.`,
		Example: "  halab up --nodes 3\n  halab up --name nfs --conf examples/nfs\n  halab up --conf examples/two-systems --unprivileged",
		Args:    exactly(0, "no argument"),
		RunE:    func(*cobra.Command, []string) error { return o.run(l) },
	}
	flags := cmd.Flags()
	flags.IntVar(&o.nodes, "nodes", 0, "number of systems, Server1 to ServerN, with a default configuration")
	flags.StringVar(&o.conf, "conf", "", "directory with main.cf")
	flags.DurationVar(&o.timeout, "timeout", 60*time.Second, "how long to wait for the cluster")
	flags.BoolVar(&o.unprivileged, "unprivileged", false, "without root, namespaces and networks")
	flags.BoolVar(&o.noDaemons, "empty", false, "start no daemons: systems, networks and disks only")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print no progress")
	flags.StringSliceVar(&o.binds, "bind", nil, "host path that the systems see read-only")
	return cmd
}

func (o *upOptions) spec(name string) (*spec.Spec, error) {
	if (o.nodes == 0) == (o.conf == "") {
		return nil, usageError{fmt.Errorf("up takes --nodes N or --conf DIR")}
	}
	if !o.unprivileged {
		if err := network.Supported(); err != nil {
			return nil, err
		}
	}
	var s *spec.Spec
	var err error
	if o.conf != "" {
		s, err = spec.Load(name, o.conf, o.unprivileged)
	} else {
		s, err = spec.Nodes(name, o.nodes, o.unprivileged)
	}
	if err != nil {
		return nil, err
	}
	s.NoDaemons = o.noDaemons
	for _, bind := range o.binds {
		full, err := filepath.Abs(bind)
		if err != nil {
			return nil, err
		}
		s.Binds = append(s.Binds, full)
	}
	return s, nil
}

func (o *upOptions) run(l *lab) error {
	begin := time.Now()
	place, err := l.place()
	if err != nil {
		return err
	}
	s, err := o.spec(l.name)
	if err != nil {
		return err
	}
	for _, system := range s.Systems {
		if socket := paths.Root(place.Root(system)).Socket("hashadow"); o.unprivileged && len(socket) > 107 {
			return fmt.Errorf("%s is too long for a socket; set HALAB_HOME to a short directory", socket)
		}
	}
	if err := clear(place); err != nil {
		return err
	}
	owner, err := launch(place, s)
	if err != nil {
		_ = supervisor.Sweep(place) // the first error tells more
		return err
	}
	defer owner.Close()
	lines := bufio.NewReader(owner)
	for {
		text, err := lines.ReadBytes('\n')
		if err != nil {
			last, _ := os.ReadFile(place.Log())
			_ = supervisor.Sweep(place)
			return fmt.Errorf("the lab's supervisor ended early: %s", strings.TrimSpace(string(last)))
		}
		var response supervisor.Response
		if err := json.Unmarshal(text, &response); err != nil {
			return fmt.Errorf("understand the lab's supervisor: %w", err)
		}
		if response.Error != "" {
			return fmt.Errorf("%s", response.Error)
		}
		if response.Data == nil {
			break
		}
		var progress string
		_ = json.Unmarshal(response.Data, &progress)
		o.say(begin, "%s", progress)
	}
	err = o.settle(place, begin)
	if keepErr := supervisor.Keep(owner); keepErr != nil && err == nil {
		err = keepErr
	}
	if err != nil {
		return fmt.Errorf("%w\nthe lab stays up for a look: halab --name %s logs %s; halab --name %s down", err, l.name, s.Systems[0], l.name)
	}
	o.say(begin, "lab %s is up: halab --name %s exec %s -- hastatus -sum", l.name, l.name, s.Systems[0])
	return nil
}

func (o *upOptions) say(begin time.Time, format string, args ...any) {
	if !o.quiet {
		fmt.Printf("%6.2f s  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

// clear makes room: it refuses if the lab is up or another halab up is at
// work, and cleans up if it is on its way down or was killed.
func clear(place supervisor.Place) error {
	name := filepath.Base(place.Dir)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		var settled supervisor.Settled
		if err := supervisor.Ask(ctx, place, supervisor.Request{Op: "settled"}, &settled); err != nil && ctx.Err() == nil {
			return takeDown(place)
		}
		if settled.Kept {
			return fmt.Errorf("lab %s is up already; halab --name %s down ends it", name, name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("another halab up is at work on lab %s; wait for it, or halab --name %s down", name, name)
		case <-ticker.C:
		}
	}
}

// launch starts the supervisor as a process of its own, in a session of its
// own, and returns the socket over which it reports.
func launch(place supervisor.Place, s *spec.Spec) (*os.File, error) {
	if err := place.Make(); err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(place.Spec(), text, 0o600); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(place.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "supervisor"), os.NewFile(uintptr(fds[1]), "owner")
	defer theirs.Close()
	exe, err := os.Executable()
	if err != nil {
		ours.Close()
		return nil, err
	}
	cmd := exec.Command(exe, supervisor.Command, place.Dir)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = append(os.Environ(), machine.EnvLab+"="+place.Dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		ours.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	go func() { _ = cmd.Wait() }() // only if it ends before us
	return ours, nil
}

// patience is how long groups that should start by themselves may take to
// begin, once nothing else moves.
const patience = 5 * time.Second

// settle waits until the cluster runs.
func (o *upOptions) settle(place supervisor.Place, begin time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), begin.Add(o.timeout))
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	var last supervisor.Settled
	var quietSince time.Time
	said := ""
	for {
		var now supervisor.Settled
		err := supervisor.Ask(ctx, place, supervisor.Request{Op: "settled"}, &now)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case err != nil:
		case !now.Yes:
			quietSince, last = time.Time{}, now
		case now.Started:
			return nil
		case quietSince.IsZero():
			quietSince = time.Now()
		case time.Since(quietSince) > patience:
			o.say(begin, "a group that starts by itself is offline; ha group explain GROUP says why")
			return nil
		}
		if text := strings.Join(last.Waiting, "; "); text != said && text != "" && time.Since(begin) > 3*time.Second {
			said = text
			o.say(begin, "waiting: %s", text)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			reason := strings.Join(last.Waiting, "; ")
			if reason == "" {
				reason = "groups did not start"
			}
			return fmt.Errorf("not all systems are RUNNING after %v: %s", o.timeout, reason)
		}
	}
}
