package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// machine is a network and mount namespace with two links, as a lab's systems
// have them.
type machine struct {
	name   string
	number int // from 1
	dir    string
	holder *exec.Cmd
}

// topology is the machines and the two switches between them.
type topology struct {
	dir      string
	hub      *machine
	machines []*machine
	bin      string
}

// start starts a program that ends with this one at the latest.
func start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Args[0], err)
	}
	return nil
}

// stop kills a program that start started.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // the kill is its only end
}

func newMachine(name, dir string, number int) (*machine, error) {
	m := &machine{name: name, number: number, dir: dir, holder: exec.Command("unshare", "-n", "-m", "sleep", "infinity")}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := start(m.holder); err != nil {
		return nil, err
	}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) { // the namespace is there when unshare has run
		ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", m.holder.Process.Pid))
		if err == nil && ns != own {
			return m, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("make a network namespace: unshare does not come about")
		}
	}
}

// command prepares a program in the machine's namespaces.
func (m *machine) command(ctx context.Context, words ...string) *exec.Cmd {
	all := append([]string{"-t", strconv.Itoa(m.holder.Process.Pid), "-n", "-m", "--"}, words...)
	cmd := exec.CommandContext(ctx, "nsenter", all...)
	cmd.Env = append(os.Environ(), "EVENKEEL_ROOT="+m.dir)
	return cmd
}

func (m *machine) must(ctx context.Context, words ...string) (string, error) {
	cmd := m.command(ctx, words...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, exit.Stderr)
	}
	return string(out), err
}

func newTopology(ctx context.Context, dir, bin string, systems int) (*topology, error) {
	t := &topology{dir: dir, bin: bin}
	var err error
	if t.hub, err = newMachine("hub", filepath.Join(dir, "hub"), 0); err != nil {
		return t, err
	}
	for k := 1; k <= 2; k++ {
		if _, err := t.hub.must(ctx, "ip", "link", "add", fmt.Sprint("br", k), "up", "type", "bridge"); err != nil {
			return t, err
		}
	}
	for i := 1; i <= systems; i++ {
		m, err := newMachine(fmt.Sprint("n", i), filepath.Join(dir, fmt.Sprint(i)), i)
		if err != nil {
			return t, err
		}
		t.machines = append(t.machines, m)
		for k := 1; k <= 2; k++ {
			near, far := fmt.Sprintf("v%d-%d", k, i), fmt.Sprint("priv", k)
			for _, step := range []struct {
				on    *machine
				words string
			}{
				{t.hub, fmt.Sprintf("ip link add %s type veth peer name %s netns %d", near, far, m.holder.Process.Pid)},
				{t.hub, fmt.Sprintf("ip link set %s master br%d up", near, k)},
				{m, fmt.Sprintf("ip addr add 10.77.%d.%d/24 dev %s", k, i, far)},
				{m, fmt.Sprintf("ip link set %s up", far)},
				{m, "ip link set lo up"},
			} {
				if _, err := step.on.must(ctx, strings.Fields(step.words)...); err != nil {
					return t, err
				}
			}
		}
		// Corosync's shared memory and sockets, one's own.
		for _, place := range []string{"/dev/shm", "/run"} {
			if _, err := m.must(ctx, "mount", "-t", "tmpfs", "bench", place); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (t *topology) close() {
	for _, m := range append(t.machines, t.hub) {
		if m != nil {
			stop(m.holder)
		}
	}
}

// service is one cluster of daemons with a listener on each machine but the
// first.
type service struct {
	t         *topology
	processes []*exec.Cmd
	load      func(ctx context.Context, on *machine, size int, lasting time.Duration, pings int) (result, error)
}

func (s *service) run(ctx context.Context, m *machine, log string, words ...string) error {
	f, err := os.Create(filepath.Join(m.dir, log))
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := m.command(ctx, words...)
	cmd.Stdout, cmd.Stderr = f, f
	if err := start(cmd); err != nil {
		return err
	}
	s.processes = append(s.processes, cmd)
	return nil
}

func (s *service) close() {
	for i := len(s.processes) - 1; i >= 0; i-- {
		stop(s.processes[i])
	}
}

// result is what one load measured.
type result struct {
	PerSecond float64 `json:"per_second"`
	P50us     float64 `json:"p50_us"`
	P99us     float64 `json:"p99_us"`
}

func measured(ctx context.Context, m *machine, words ...string) (result, error) {
	var r result
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := m.must(bounded, words...)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, fmt.Errorf("%s printed %q", words[0], out)
	}
	return r, nil
}

// configure writes the files of one cluster of gabs, below a folder of each
// machine's.
func configure(t *topology, below string, cluster int, sealed bool) error {
	var hosts strings.Builder
	for i, m := range t.machines {
		fmt.Fprintf(&hosts, "%d %s\n", i, m.name)
	}
	for _, m := range t.machines {
		root := filepath.Join(m.dir, below)
		dir := filepath.Join(root, "etc/evenkeel")
		for _, old := range []string{"run", "var", "etc"} {
			if err := os.RemoveAll(filepath.Join(root, old)); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		tab := fmt.Sprintf("set-node %s\nset-cluster %d\nlink priv1 priv1 - ether - -\nlink priv2 priv2 - ether - -\n", m.name, cluster)
		if !sealed {
			tab += "set-key-file none\n"
		}
		for name, text := range map[string]string{
			"llttab": tab, "llthosts": hosts.String(), "gabtab": fmt.Sprintf("gabconfig -c -n%d\n", len(t.machines)),
			"fencing.conf": "vxfen_mode=disabled\n", "sysname": m.name + "\n", "cluster.key": strings.Repeat("5eed", 16) + "\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// broadcastd starts gab on every machine and gives loads through its streams.
func broadcastd(ctx context.Context, t *topology, sealed bool) (*service, error) {
	s := &service{t: t}
	if err := configure(t, ".", 4242, sealed); err != nil {
		return s, err
	}
	for _, m := range t.machines {
		if err := s.run(ctx, m, "gab.log", filepath.Join(t.bin, "gab"), "-log", "-"); err != nil {
			return s, err
		}
	}
	for _, m := range t.machines {
		if err := exists(ctx, filepath.Join(m.dir, "run/evenkeel/gab.sock")); err != nil {
			return s, err
		}
		if m.number > 1 {
			if err := s.run(ctx, m, "gabload.log", filepath.Join(t.bin, "lab-gabload"), "-port", "j", "-listen"); err != nil {
				return s, err
			}
		}
	}
	s.load = func(ctx context.Context, on *machine, size int, lasting time.Duration, pings int) (result, error) {
		port, members := "j", len(t.machines)
		if on.number > 1 { // its port j has the listener
			port, members = "k", 1
		}
		return measured(ctx, on, filepath.Join(t.bin, "lab-gabload"), "-port", port, "-members", fmt.Sprint(members), "-size", fmt.Sprint(size),
			"-for", lasting.String(), "-pings", fmt.Sprint(pings))
	}
	return s, nil
}

// cores starts the cores alone: coreload on every machine, of which the first
// measures.
func cores(ctx context.Context, t *topology, sealed bool) (*service, error) {
	s := &service{t: t}
	if err := configure(t, "core", 4243, sealed); err != nil {
		return s, err
	}
	var orders io.Writer
	var answers *bufio.Scanner
	for _, m := range t.machines {
		f, err := os.Create(filepath.Join(m.dir, "coreload.log"))
		if err != nil {
			return s, err
		}
		defer f.Close()
		cmd := m.command(ctx, filepath.Join(t.bin, "bench-coreload"), "-members", fmt.Sprint(len(t.machines)))
		cmd.Env = append(cmd.Env, "EVENKEEL_ROOT="+filepath.Join(m.dir, "core"))
		cmd.Stderr = f
		in, err := cmd.StdinPipe()
		if err != nil {
			return s, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return s, err
		}
		if m.number == 1 {
			orders, answers = in, bufio.NewScanner(out)
		}
		if err := start(cmd); err != nil {
			return s, err
		}
		s.processes = append(s.processes, cmd)
	}
	s.load = func(_ context.Context, _ *machine, size int, lasting time.Duration, pings int) (r result, err error) {
		if _, err := fmt.Fprintln(orders, size, lasting.Seconds(), pings); err != nil {
			return r, err
		}
		if !answers.Scan() {
			return r, fmt.Errorf("coreload has ended; see %s", filepath.Join(t.machines[0].dir, "coreload.log"))
		}
		return r, json.Unmarshal(answers.Bytes(), &r)
	}
	return s, nil
}

// exists waits until a file is there.
func exists(ctx context.Context, path string) error {
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for %s: it does not come about in 30 s", path)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// corosync starts Corosync on every machine, over knet or udpu.
func corosync(ctx context.Context, t *topology, transport string, sealed bool) (*service, error) {
	s := &service{t: t}
	for _, m := range t.machines {
		var conf strings.Builder
		fmt.Fprintf(&conf, "totem {\n version: 2\n cluster_name: bench\n transport: %s\n", transport)
		switch {
		case sealed:
			fmt.Fprintf(&conf, " crypto_cipher: aes256\n crypto_hash: sha256\n keyfile: %s\n", filepath.Join(m.dir, "authkey"))
		case transport == "knet":
			conf.WriteString(" crypto_cipher: none\n crypto_hash: none\n")
		}
		conf.WriteString("}\nnodelist {\n")
		for _, o := range t.machines {
			fmt.Fprintf(&conf, " node {\n  ring0_addr: 10.77.1.%d\n", o.number)
			if transport == "knet" {
				fmt.Fprintf(&conf, "  ring1_addr: 10.77.2.%d\n", o.number)
			}
			fmt.Fprintf(&conf, "  nodeid: %d\n  name: %s\n }\n", o.number, o.name)
		}
		fmt.Fprintf(&conf, "}\nquorum {\n provider: corosync_votequorum\n}\nlogging {\n to_stderr: yes\n to_syslog: no\n}\nsystem {\n state_dir: %s\n}\n", filepath.Join(m.dir, "corosync"))
		if err := os.RemoveAll(filepath.Join(m.dir, "corosync")); err != nil {
			return s, err
		}
		if err := os.MkdirAll(filepath.Join(m.dir, "corosync"), 0o755); err != nil {
			return s, err
		}
		for name, text := range map[string]string{"corosync.conf": conf.String(), "authkey": strings.Repeat("even keel, as it goes, the same for all ", 8)[:256]} {
			if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o400); err != nil && !os.IsPermission(err) {
				return s, err
			}
		}
		if err := s.run(ctx, m, "corosync.log", "corosync", "-f", "-c", filepath.Join(m.dir, "corosync.conf")); err != nil {
			return s, err
		}
	}
	cpgload := filepath.Join(t.bin, "bench-cpgload")
	for _, m := range t.machines {
		deadline := time.Now().Add(30 * time.Second)
		for { // until it takes clients
			if _, err := m.must(ctx, cpgload, "1", "64", "0", "1"); err == nil {
				break
			} else if time.Now().After(deadline) {
				return s, fmt.Errorf("wait for corosync: %w; see %s", err, filepath.Join(m.dir, "corosync.log"))
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	for _, m := range t.machines[1:] {
		if err := s.run(ctx, m, "cpgload.log", cpgload, "-l"); err != nil {
			return s, err
		}
	}
	s.load = func(ctx context.Context, on *machine, size int, lasting time.Duration, pings int) (result, error) {
		return measured(ctx, on, cpgload, fmt.Sprint(len(t.machines)), fmt.Sprint(size), fmt.Sprint(lasting.Seconds()), fmt.Sprint(pings))
	}
	return s, nil
}
