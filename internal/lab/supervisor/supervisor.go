//go:build linux

// Package supervisor is the long-lived process of one lab: it makes the
// networks and the machines, holds the power switch, takes the commands of
// halab over a socket, and cleans up. When it is killed, the kernel takes most
// of the lab with it (namespaces have no names, machines have a parent-death
// signal); Sweep finds the rest.
package supervisor

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
	"github.com/evenkeel/evenkeel/internal/lab/machine"
	"github.com/evenkeel/evenkeel/internal/lab/network"
	"github.com/evenkeel/evenkeel/internal/lab/power"
	"github.com/evenkeel/evenkeel/internal/lab/spec"
)

// Command is the hidden command of halab that becomes a supervisor.
const Command = "__supervise"

// Daemons are the programs of every system, in the order of their start.
// hashadow starts had.
var Daemons = []string{"gab", "fencing", "hashadow"}

// Supervisor runs one lab.
type Supervisor struct {
	spec   *spec.Spec
	place  Place
	binDir string
	log    *slog.Logger
	shared *spec.Shared
	power  *power.Switch
	hosts  map[string]*host // never changes after New

	netMu   sync.Mutex
	network *network.Switch // nil in unprivileged labs

	building sync.Mutex // held by up and down, which never overlap

	mu       sync.Mutex
	closing  bool // no more commands
	kept     bool // halab up has seen the lab ready
	listener []net.Listener
	finished chan struct{}
	finish   func()
}

// Main is the main program of a supervisor: it reads its specification from
// the lab's directory, builds the lab and tells halab up over descriptor 3,
// one line of JSON each (a Response; Data is progress, an empty Response says
// ready). If halab up goes away before it has written "keep", the lab goes
// too.
func Main(dir string) error {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	owner := os.NewFile(3, "owner")
	s, err := read(dir)
	if err != nil {
		return err
	}
	tell := json.NewEncoder(owner)
	progress := func(text string) {
		data, _ := json.Marshal(text) // a string always marshals
		_ = tell.Encode(Response{Data: data})
	}
	go s.watchOwner(owner)
	err = s.up(progress)
	if err == nil && s.isClosing() {
		err = errors.New("halab up has gone before the lab was ready")
	}
	if err != nil {
		s.log.Error("lab did not come up", "error", err)
		if downErr := s.down(); downErr != nil {
			err = errors.Join(err, downErr)
		}
		_ = tell.Encode(Response{Error: err.Error()})
		return err
	}
	_ = tell.Encode(Response{})
	signals := make(chan os.Signal, 1) // one is enough to end
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-s.finished:
	case <-signals:
		return s.down()
	}
	return nil
}

// watchOwner takes the lab down if halab up ends before it wants to keep it.
func (s *Supervisor) watchOwner(owner *os.File) {
	text, _ := bufio.NewReader(owner).ReadString('\n')
	s.mu.Lock()
	s.kept = text == "keep\n"
	s.closing = s.closing || !s.kept
	kept := s.kept
	s.mu.Unlock()
	if kept {
		return
	}
	if err := s.down(); err != nil {
		s.log.Error("take down", "error", err)
	}
	s.finish()
}

func read(dir string) (*Supervisor, error) {
	place := Place{Dir: dir}
	text, err := os.ReadFile(place.Spec())
	if err != nil {
		return nil, fmt.Errorf("read lab: %w", err)
	}
	var sp spec.Spec
	if err := json.Unmarshal(text, &sp); err != nil {
		return nil, fmt.Errorf("read lab: %w", err)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find programs: %w", err)
	}
	s := &Supervisor{spec: &sp, place: place, binDir: filepath.Dir(exe), hosts: map[string]*host{}, finished: make(chan struct{})}
	s.finish = sync.OnceFunc(func() { close(s.finished) })
	s.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	s.power = power.New(s.log, 30*time.Second, func(system string) (power.Target, error) {
		if system == spec.ClientName && !sp.Unprivileged {
			return nil, fmt.Errorf("the client has no power switch")
		}
		return s.host(system)
	})
	for _, name := range sp.Hosts() {
		s.hosts[name] = &host{s: s, name: name}
	}
	sharedDir := spec.SharedDir
	runDir := func(string) string { return "/run" }
	if sp.Unprivileged {
		sharedDir = place.Shared()
		runDir = place.Host
	}
	s.shared, err = spec.NewShared(sharedDir, filepath.Join(filepath.Dir(s.binDir), "etc", "types.cf"), runDir)
	return s, err
}

func (s *Supervisor) host(name string) (*host, error) {
	if h := s.hosts[name]; h != nil {
		return h, nil
	}
	return nil, fmt.Errorf("lab %s has no system %q; there are %s", s.spec.Name, name, strings.Join(s.spec.Hosts(), ", "))
}

func (s *Supervisor) up(progress func(string)) error {
	s.building.Lock()
	defer s.building.Unlock()
	if err := s.makeDisks(); err != nil {
		return err
	}
	for path, serve := range map[string]func(net.Listener){s.place.SwitchSocket(): s.power.Serve, s.place.Control(): s.serveControl} {
		listener, err := net.Listen("unix", path)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		s.listener = append(s.listener, listener)
		go serve(listener)
	}
	if !s.spec.Unprivileged {
		var err error
		if s.network, err = network.New(append(slices.Clone(s.spec.Links), "public")); err != nil {
			return err
		}
		progress(fmt.Sprintf("networks %s and %s (%s) in a namespace of their own", strings.Join(s.spec.Links, ", "), s.spec.Public.Interface, s.spec.Public.Network))
	}
	var group errgroup.Group
	for _, name := range s.spec.Hosts() {
		group.Go(func() error {
			err := s.hosts[name].start()
			if err != nil {
				s.log.Error("a host does not start", "host", name, "error", err)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	progress("systems " + strings.Join(s.spec.Systems, ", ") + " have power")
	for _, name := range s.spec.Hosts() {
		group.Go(s.hosts[name].run)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if !s.spec.NoDaemons {
		progress("gab, fencing and hashadow are started on each")
	}
	return nil
}

// run starts the daemons of a system.
func (h *host) run() error {
	process, err := h.running()
	if err != nil {
		return err
	}
	return process.Run()
}

func (s *Supervisor) makeDisks() error {
	if err := os.MkdirAll(filepath.Join(s.place.Shared(), "points"), 0o755); err != nil {
		return fmt.Errorf("make shared disks: %w", err)
	}
	for _, disk := range s.spec.Disks {
		if err := makeImage(spec.VolumePath(s.place.Shared(), disk), int64(disk.Size), disk.FS, disk.Volume); err != nil {
			return fmt.Errorf("make shared disks: %w", err)
		}
	}
	return nil
}

// config is what a host's init gets to know.
func (s *Supervisor) config(name string) (machine.Config, error) {
	c := machine.Config{
		Lab: s.spec.Name, LabDir: s.place.Dir, System: name, Root: s.place.Root(name), Unprivileged: s.spec.Unprivileged,
		BinDir: s.binDir, Binds: s.spec.Binds, Links: s.spec.Links, ReadyMillis: 10_000,
	}
	hosts := "127.0.0.1 localhost\n"
	for _, host := range s.spec.Hosts() {
		hosts += s.spec.Address(host) + " " + host + "\n"
	}
	c.Hosts = hosts
	for _, key := range sortedKeys(s.spec.Env) {
		c.Env = append(c.Env, key+"="+s.spec.Env[key])
	}
	if s.hosts[name].isClient() {
		return c, nil
	}
	c.Volatile = s.spec.VolatileFiles(name)
	c.SharedDir, c.SwitchSocket = s.place.Shared(), s.place.SwitchSocket()
	var err error
	if c.Files, err = s.spec.Files(name, s.shared); err != nil {
		return c, err
	}
	if !s.spec.NoDaemons {
		for _, daemon := range Daemons {
			c.Daemons = append(c.Daemons, filepath.Join(s.binDir, daemon))
		}
	}
	return c, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// devices are the loop devices of the lab's own images.
func (s *Supervisor) devices() ([]loopdev.Device, error) {
	images, err := loopdev.Images(s.place.Dir)
	if err != nil {
		return nil, err
	}
	return loopdev.List(images)
}

func (s *Supervisor) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// down powers everything off and removes what the lab made, its directory
// last. It may be called again after a failure.
func (s *Supervisor) down() error {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.building.Lock()
	defer s.building.Unlock()
	var group errgroup.Group
	for _, name := range s.spec.Hosts() {
		group.Go(s.hosts[name].off)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, name := range s.spec.Systems {
		if err := machine.RemoveVolatile(s.spec.VolatileFiles(name)); err != nil {
			return err
		}
	}
	devices, err := s.devices()
	if err != nil {
		return err
	}
	for _, device := range devices { // attached from outside the lab
		if err := loopdev.Detach(device); err != nil {
			return err
		}
	}
	s.netMu.Lock()
	if s.network != nil {
		s.network.Close()
		s.network = nil
	}
	s.netMu.Unlock()
	for _, listener := range s.listener {
		listener.Close()
	}
	return s.place.Remove()
}

// Keep tells the supervisor that its lab is wanted; see Main.
func Keep(owner io.Writer) error {
	_, err := io.WriteString(owner, "keep\n")
	return err
}
