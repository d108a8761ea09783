//go:build linux

package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	lablib "github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
	"github.com/evenkeel/evenkeel/internal/lab/machine"
	"github.com/evenkeel/evenkeel/internal/lab/supervisor"
	"github.com/evenkeel/evenkeel/internal/paths"
)

// TestMain makes this test program the halab that it tests, and the probe
// that runs inside the systems.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case machine.InitCommand, supervisor.Command:
			os.Exit(Main(os.Args[1:]))
		case "halab":
			os.Exit(Main(os.Args[2:]))
		case "probe":
			if err := probe(os.Args[2:]); err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

// probe listens for or sends an Ethernet frame, or uses the power switch.
func probe(args []string) error {
	switch args[0] {
	case "off":
		marker, err := lablib.ReadMarker(paths.FromEnvironment())
		if err != nil {
			return err
		}
		if err := lablib.PowerOff(context.Background(), marker, args[1]); err != nil {
			return err
		}
		state, err := lablib.PowerState(context.Background(), marker, args[1])
		fmt.Println(args[1], "is", state)
		return err
	case "spin": // a process that is never idle for long
		for {
			time.Sleep(time.Millisecond)
		}
	}
	const ethertype = 0x88b5 // local experiments
	proto := uint16(ethertype>>8 | ethertype&0xff<<8)
	ifi, err := net.InterfaceByName(args[1])
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(proto))
	if err != nil {
		return err
	}
	address := &unix.SockaddrLinklayer{Protocol: proto, Ifindex: ifi.Index, Halen: 6}
	if err := unix.Bind(fd, address); err != nil {
		return err
	}
	if args[0] == "send" {
		copy(address.Addr[:], []byte{255, 255, 255, 255, 255, 255})
		return unix.Sendto(fd, []byte(args[2]), 0, address)
	}
	patience := unix.NsecToTimeval(int64(600 * time.Millisecond))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return err
	}
	fmt.Println("listening")
	buffer := make([]byte, 100)
	n, _, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return errors.New("heard nothing")
	}
	fmt.Println("heard", strings.TrimRight(string(buffer[:n]), "\x00"))
	return nil
}

// quickEnd spares a program with the race detector its second of sleep at its
// end.
const quickEnd = "GORACE=atexit_sleep_ms=0"

// bench is a directory of labs for one test.
type bench struct {
	t    *testing.T
	self string
	home string
}

func newBench(t *testing.T, root bool) *bench {
	t.Helper()
	if root && os.Getuid() != 0 {
		t.Skip("needs root: namespaces, loop devices and file systems of the lab's own")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.MkdirTemp("/tmp", "hl") // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(home) })
	return &bench{t: t, self: self, home: home}
}

func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.self, append([]string{"halab"}, args...)...)
	cmd.Env = append(os.Environ(), "HALAB_HOME="+b.home, quickEnd)
	return cmd
}

func (b *bench) run(args ...string) (string, error) {
	out, err := b.command(args...).CombinedOutput()
	return string(out), err
}

// must runs halab and fails the test if halab fails.
func (b *bench) must(args ...string) string {
	b.t.Helper()
	out, err := b.run(args...)
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(b.home, "lab", "supervisor.log"))
		b.t.Fatalf("halab %s: %v\n%s\nsupervisor: %s", strings.Join(args, " "), err, out, log)
	}
	return out
}

// up starts an empty lab that the test's end takes down, with a check that
// nothing is left.
func (b *bench) up(name string, more ...string) {
	b.t.Helper()
	b.must(append([]string{"up", "--name", name, "--empty", "--bind", b.self}, more...)...)
	b.t.Cleanup(func() {
		b.must("down", "--name", name)
		b.clean(name)
	})
}

func (b *bench) place(name string) supervisor.Place {
	return supervisor.Place{Dir: filepath.Join(b.home, name)}
}

func (b *bench) status(name string) supervisor.Status {
	b.t.Helper()
	var status supervisor.Status
	if err := json.Unmarshal([]byte(b.must("status", "--name", name, "-o", "json")), &status); err != nil {
		b.t.Fatal(err)
	}
	return status
}

func (b *bench) state(system string) string {
	b.t.Helper()
	for _, s := range b.status("lab").Systems {
		if s.Name == system {
			return s.State
		}
	}
	b.t.Fatalf("status does not know %s", system)
	return ""
}

// clean fails the test if anything of the lab is left on this machine: its
// directory, loop devices, processes, or a mount in any namespace.
func (b *bench) clean(name string) {
	b.t.Helper()
	left, err := supervisor.Leftovers(b.place(name))
	if err != nil || len(left) > 0 {
		b.t.Errorf("left behind: %v %v", left, err)
	}
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil && (strings.Contains(string(text), b.place(name).Dir+"/") || strings.Contains(string(text), " - nsfs ")) {
			b.t.Errorf("%s still shows a mount of lab %s", file, name)
		}
	}
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range backing {
		if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), b.place(name).Dir+"/") {
			b.t.Errorf("%s: still attached to %s", file, text)
		}
	}
}

func TestUpExecDownLeavesNothing(t *testing.T) {
	b := newBench(t, true)
	b.must("up", "--nodes", "2", "--empty")
	mine := map[string]bool{}
	for _, host := range append(b.status("lab").Systems, *b.status("lab").Client) {
		for _, kind := range []string{"net", "mnt", "pid", "uts", "ipc"} {
			name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", host.PIDs["init"], kind))
			if err != nil {
				t.Fatal(err)
			}
			mine[name] = true
		}
	}
	if len(mine) != 15 {
		t.Errorf("3 hosts have %d namespaces, want 5 each", len(mine))
	}
	if got := b.must("exec", "Server2", "--", "sh", "-c", "hostname; cat /etc/VRTSvcs/conf/config/sysname; ls -A /home"); got != "Server2\nServer2\n" {
		t.Errorf("inside Server2: %q", got)
	}
	if got := b.must("exec", "client", "--", "cat", "/proc/1/comm"); !strings.HasPrefix(got, "command.test") && !strings.HasPrefix(got, "halab") {
		t.Errorf("the client's first process is %q", got)
	}
	cmd := b.command("exec", "Server1", "--", "sh", "-c", "cat; echo err >&2; exit 7")
	cmd.Stdin = strings.NewReader("through")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || string(out) != "through" || string(exit.Stderr) != "err\n" {
		t.Errorf("exec: %q, %v", out, err)
	}
	if _, err := b.run("exec", "Server1", "--", "no-such-program"); exitCode(err) != 127 {
		t.Errorf("a missing program: %v, want exit code 127", err)
	}
	b.must("exec", "Server1", "--", "sh", "-c", "echo x >/usr/bin/halab-was-here && echo x >/etc/halab-was-here && echo x >/tmp/halab-was-here && echo x >/var/halab-was-here")
	for _, path := range []string{"/usr/bin/halab-was-here", "/etc/halab-was-here", "/tmp/halab-was-here", "/var/halab-was-here"} {
		if _, err := os.Lstat(path); err == nil {
			t.Errorf("a system wrote %s on the host", path)
			os.Remove(path)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, ifi := range interfaces {
		if strings.HasPrefix(ifi.Name, "br") || strings.HasPrefix(ifi.Name, "priv") || strings.HasPrefix(ifi.Name, "pub") {
			t.Errorf("the machine's own network has %s", ifi.Name)
		}
	}
	if _, err := b.run("up", "--nodes", "2", "--empty"); err == nil {
		t.Error("a second lab of the same name came up")
	}
	b.must("down")
	b.clean("lab")
	b.must("down") // again: nothing there is no error
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// R4: a power failure loses what was not fsynced and keeps what was.
func TestCrashLosesWhatWasNotSynced(t *testing.T) {
	b := newBench(t, true)
	b.up("lab", "--nodes", "2")
	b.must("exec", "Server1", "--", "sh", "-ec", `cd /var/lib/evenkeel
		echo kept >kept; sync kept; sync .
		echo old >changed; sync changed; sync .
		echo lost >lost; echo new >>changed; echo log >>/var/log/evenkeel/engine_A.log`)
	b.must("crash", "Server1")
	if got := b.state("Server1"); got != "off" {
		t.Fatalf("after the crash Server1 is %s", got)
	}
	if _, err := b.run("exec", "Server1", "--", "true"); err == nil {
		t.Error("a command ran on a system without power")
	}
	b.must("crash", "Server1") // again: off is off
	old, _, err := loopdev.Attach(b.place("lab").Image("Server1"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := b.run("boot", "Server1"); err == nil || !strings.Contains(out, "earlier life") {
		t.Errorf("boot beside an old loop device: %q", out)
	}
	old.Close()
	b.must("boot", "Server1")
	if _, err := b.run("boot", "Server1"); err == nil {
		t.Error("a running system was booted")
	}
	got := b.must("exec", "Server1", "--", "sh", "-c", "cd /var/lib/evenkeel; cat kept changed; ls lost /var/log/evenkeel 2>&1; true")
	if !strings.HasPrefix(got, "kept\nold\n") || strings.Contains(got, "engine_A.log") || !strings.Contains(got, "No such file") {
		t.Errorf("after the power failure:\n%s", got)
	}
	if got := b.must("exec", "Server1", "--", "cat", "/etc/evenkeel/sysname"); got != "Server1\n" {
		t.Errorf("the installation did not survive: %q", got)
	}
	b.must("exec", "Server1", "--", "env", quickEnd, b.self, "probe", "send", "priv1", "plugged in again")
}

// R4: shared disks too; those of another system stay.
func TestCrashLetsSharedDisksGo(t *testing.T) {
	b := newBench(t, true)
	conf := t.TempDir()
	write(t, conf, "main.cf", "system A ()\nsystem B ()\n")
	write(t, conf, "lab.yaml", "disks:\n  - {group: shared, volume: v1, size: 32M, fs: ext4}\n  - {group: shared, volume: v2, size: 32M, fs: ext4}\npublic: {interface: hme0}\n")
	b.up("lab", "--conf", conf)
	mount := "set -e; mkdir -p /mnt/v; losetup -f /shared/shared/%s.img; mount $(losetup -n -O NAME -j /shared/shared/%s.img) /mnt/v; echo old >/mnt/v/f; sync /mnt/v/f; sync /mnt/v; echo new >/mnt/v/g"
	b.must("exec", "A", "--", "sh", "-c", strings.ReplaceAll(mount, "%s", "v1"))
	b.must("exec", "B", "--", "sh", "-c", strings.ReplaceAll(mount, "%s", "v2"))
	b.must("crash", "A")
	images, err := loopdev.Images(filepath.Join(b.place("lab").Shared(), "shared"))
	if err != nil {
		t.Fatal(err)
	}
	devices, err := loopdev.List(images)
	if err != nil || len(devices) != 1 || images[devices[0].Backing] != "v2.img" {
		t.Errorf("after the crash of A the attached volumes are %+v, %v; want v2 of B only", devices, err)
	}
	b.must("exec", "B", "--", "sh", "-c", "echo more >/mnt/v/h && sync /mnt/v/h")
	got := b.must("exec", "B", "--", "sh", "-c", "mkdir /mnt/w; mount -o loop /shared/shared/v1.img /mnt/w; cd /mnt/w; cat f; ls")
	if got != "old\nf\nlost+found\n" {
		t.Errorf("B reads of A's volume after the power failure:\n%s", got)
	}
	b.must("boot", "A")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// R3, R4: the switch as the daemons use it, also for oneself.
func TestSystemsUseTheSwitch(t *testing.T) {
	b := newBench(t, true)
	b.up("lab", "--nodes", "3")
	if got := b.must("exec", "Server1", "--", "env", quickEnd, b.self, "probe", "off", "Server2"); got != "Server2 is off\n" {
		t.Errorf("Server1 powers Server2 off: %q", got)
	}
	if got := b.state("Server2"); got != "off" {
		t.Errorf("Server2 is %s", got)
	}
	if out, err := b.run("exec", "Server1", "--", "env", quickEnd, b.self, "probe", "off", "nobody"); err == nil || !strings.Contains(out, "Server3") {
		t.Errorf("an unknown system: %v %q; want an error with the known names", err, out)
	}
	if _, err := b.run("exec", "Server3", "--", "env", quickEnd, b.self, "probe", "off", "Server3"); err == nil {
		t.Error("a system survived its own power-off")
	}
	eventually(t, "Server3 is off after its self-stop", func() bool { return b.state("Server3") == "off" })
	// Several at once share one operation.
	var commands []*exec.Cmd
	for range 4 {
		cmd := b.command("crash", "Server1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, cmd)
	}
	for _, cmd := range commands {
		if err := cmd.Wait(); err != nil {
			t.Errorf("concurrent crash: %v", err)
		}
	}
	if got := b.must("exec", "client", "--", "sh", "-c", "ls /dev | grep -c watchdog; cat /proc/sysrq-trigger 2>&1 | wc -c"); !strings.HasPrefix(got, "0\n") {
		t.Errorf("watchdogs in /dev: %q", got)
	}
}

// A system whose first process dies is off, and says so.
func TestDeadInitIsPowerOff(t *testing.T) {
	b := newBench(t, true)
	b.up("lab", "--nodes", "1")
	if err := unix.Kill(b.status("lab").Systems[0].PIDs["init"], unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Server1 is off", func() bool { return b.state("Server1") == "off" })
	b.must("boot", "Server1")
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(20 * time.Second); !ok(); <-ticker.C {
		if time.Now().After(deadline) {
			t.Fatalf("never came true: %s", what)
		}
	}
}

func TestKilledSupervisorIsCleanedUpByTheNext(t *testing.T) {
	for _, mode := range []string{"privileged", "unprivileged"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode == "privileged")
			var flags []string
			if mode == "unprivileged" {
				flags = append(flags, "--unprivileged")
			}
			for round, end := range [][]string{append([]string{"up", "--empty", "--nodes", "2"}, flags...), {"down"}} {
				b.must(append([]string{"up", "--empty", "--nodes", "2"}, flags...)...)
				sleeper := b.command("exec", "Server1", "--", "sleep", "1000")
				if err := sleeper.Start(); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the command runs", func() bool { return len(b.status("lab").Systems[0].Processes) > 1 })
				if err := unix.Kill(b.status("lab").Supervisor, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				if out, err := b.run("status"); err == nil {
					t.Errorf("round %d: a dead supervisor answers %s", round, out)
				}
				b.must(end...)
				if err := sleeper.Wait(); err == nil {
					t.Error("a process of the killed lab lives on")
				}
				if end[0] == "up" {
					b.must("down")
				}
				b.clean("lab")
			}
		})
	}
}

func TestKilledUpLeavesNoLab(t *testing.T) {
	b := newBench(t, true)
	cmd := b.command("up", "--nodes", "2", "--timeout", "100s")
	cmd.Stdout = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Without daemons beside the program the lab never settles or fails early.
	eventually(t, "there is a lab", func() bool { _, err := os.Stat(b.place("lab").Spec()); return err == nil })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	b.must("up", "--nodes", "2", "--empty")
	b.must("down")
	b.clean("lab")
}

func TestTwoLabsSideBySide(t *testing.T) {
	b := newBench(t, true)
	b.up("one", "--nodes", "2")
	b.up("two", "--nodes", "2")
	if b.status("one").Systems[0].Address != b.status("two").Systems[0].Address {
		t.Error("the labs have different addresses; the test shows nothing")
	}
	b.must("exec", "--name", "one", "Server1", "--", "sh", "-c", "echo one >/var/lib/evenkeel/whose")
	b.must("crash", "--name", "two", "Server1")
	if got := b.must("exec", "--name", "one", "Server1", "--", "cat", "/var/lib/evenkeel/whose"); got != "one\n" {
		t.Errorf("lab one after a crash in lab two: %q", got)
	}
	if heard, _ := b.frame("two", "Server2", "client", "pub0"); !heard {
		t.Error("lab two is not whole")
	}
}

// frame sends a frame from one host to all and says whether the other heard
// it.
func (b *bench) frame(name, from, to, network string) (bool, string) {
	b.t.Helper()
	listener := b.command("exec", "--name", name, to, "--", "env", quickEnd, b.self, "probe", "listen", network)
	out, err := listener.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := listener.Start(); err != nil {
		b.t.Fatal(err)
	}
	line := make([]byte, len("listening\n"))
	if _, err := out.Read(line); err != nil {
		b.t.Fatalf("listener on %s: %v", to, err)
	}
	b.must("exec", "--name", name, from, "--", "env", quickEnd, b.self, "probe", "send", network, from)
	var rest [100]byte
	n, _ := out.Read(rest[:])
	err = listener.Wait()
	return err == nil, string(rest[:n])
}

func TestCutAndHeal(t *testing.T) {
	b := newBench(t, true)
	b.up("lab", "--nodes", "3")
	expect := func(from, to, network string, want bool) {
		t.Helper()
		if got, text := b.frame("lab", from, to, network); got != want {
			t.Errorf("%s to %s on %s: heard %v (%s), want %v", from, to, network, got, text, want)
		}
	}
	expect("Server1", "Server2", "priv1", true)
	expect("Server1", "client", "pub0", true)
	b.must("cut", "--link", "priv1", "Server1")
	expect("Server1", "Server2", "priv1", false)
	expect("Server2", "Server1", "priv1", false)
	expect("Server2", "Server3", "priv1", true)
	expect("Server1", "Server2", "priv2", true)
	if got := b.must("exec", "Server1", "--", "cat", "/sys/class/net/priv1/carrier"); got != "1\n" {
		t.Errorf("a cut took the carrier: %q", got)
	}
	b.must("heal")
	expect("Server1", "Server2", "priv1", true)
	b.must("cut", "--between", "Server1,Server2/Server3", "--one-way")
	expect("Server1", "Server3", "priv2", false)
	expect("Server3", "Server1", "priv2", true)
	expect("Server1", "Server2", "priv2", true)
	expect("Server1", "Server3", "pub0", true)
	if cuts := b.status("lab").Cuts; len(cuts) != 4 {
		t.Errorf("status shows the cuts %q", cuts)
	}
	b.must("heal")
	b.must("cut", "--between", "Server1/client", "--link", "public")
	expect("Server1", "client", "pub0", false)
	b.must("heal")
	for _, wrong := range [][]string{{"cut"}, {"cut", "--link", "priv9", "Server1"}, {"cut", "--link", "1", "nobody"}, {"cut", "--between", "Server1"}, {"cut", "--link", "1", "client"}} {
		if out, err := b.run(wrong...); err == nil {
			t.Errorf("halab %q: %s", wrong, out)
		}
	}
	b.must("cut", "--link", "2", "Server2")
	expect("Server1", "Server2", "priv2", false)
}

func TestFreezeAndThaw(t *testing.T) {
	for _, mode := range []string{"privileged", "unprivileged"} {
		t.Run(mode, func(t *testing.T) {
			b := newBench(t, mode == "privileged")
			flags := []string{"--nodes", "2"}
			if mode == "unprivileged" {
				flags = append(flags, "--unprivileged")
			}
			b.up("lab", flags...)
			spinner := b.command("exec", "Server1", "--", "env", quickEnd, b.self, "probe", "spin")
			if err := spinner.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the command runs", func() bool { return len(b.status("lab").Systems[0].Processes) > 1 })
			b.must("freeze", "Server1")
			system := b.status("lab").Systems[0]
			if system.State != "frozen" {
				t.Errorf("state %s", system.State)
			}
			for _, pid := range system.Processes {
				if s := letter(t, pid); s != "T" {
					t.Errorf("process %d of a frozen system is in state %s", pid, s)
				}
			}
			if _, err := b.run("exec", "Server1", "--", "true"); err == nil {
				t.Error("a command ran on a frozen system")
			}
			b.must("thaw", "Server1")
			for _, pid := range system.Processes {
				eventually(t, "it goes on", func() bool { return letter(t, pid) != "T" })
			}
			b.must("freeze", "Server1")
			b.must("crash", "Server1")
			if err := spinner.Wait(); err == nil {
				t.Error("a process survived the power failure of its frozen system")
			}
			b.must("boot", "Server1")
			b.must("exec", "Server1", "--", "true")
		})
	}
}

func letter(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))[0]
}

func TestUnprivilegedLab(t *testing.T) {
	b := newBench(t, false)
	b.up("lab", "--nodes", "2", "--unprivileged")
	got := b.must("exec", "Server2", "--", "sh", "-c", `cat $EVENKEEL_ROOT/etc/evenkeel/sysname $EVENKEEL_ROOT/etc/evenkeel/fencing.conf; ls $EVENKEEL_ROOT/etc/evenkeel`)
	if !strings.HasPrefix(got, "Server2\n") || !strings.Contains(got, "vxfen_mode=disabled") || !strings.Contains(got, "cluster.key") {
		t.Errorf("root of Server2:\n%s", got)
	}
	// A daemon that leaves its session and its parents is still the system's.
	b.must("exec", "Server1", "--", "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
	b.must("exec", "Server2", "--", "sh", "-c", "echo kept >$EVENKEEL_ROOT/var/lib/evenkeel/f")
	other := len(b.status("lab").Systems[1].Processes)
	b.must("exec", "Server2", "--", "env", quickEnd, b.self, "probe", "off", "Server1")
	status := b.status("lab")
	if status.Systems[0].State != "off" || len(status.Systems[0].Processes) != 0 {
		t.Errorf("Server1 after its power-off: %+v", status.Systems[0])
	}
	if len(status.Systems[1].Processes) != other {
		t.Errorf("Server2 has processes %v, had %d", status.Systems[1].Processes, other)
	}
	b.must("boot", "Server1")
	if out, err := b.run("cut", "--link", "1", "Server1"); err == nil {
		t.Errorf("an unprivileged lab cut a cable: %s", out)
	}
}

func TestWrongUsageSaysWhatToDo(t *testing.T) {
	b := newBench(t, false)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"up"}, 2, "--nodes N or --conf DIR"},
		{[]string{"up", "--nodes", "65", "--unprivileged"}, 1, "1 to 64"},
		{[]string{"up", "--conf", "/nonexistent", "--unprivileged"}, 1, "main.cf"},
		{[]string{"up", "--name", "../x", "--nodes", "1", "--unprivileged"}, 2, "letters"},
		{[]string{"crash"}, 2, "SYSTEM"},
		{[]string{"crash", "Server1"}, 1, "halab up"},
		{[]string{"exec", "Server1"}, 2, "CMD"},
		{[]string{"status", "--bogus"}, 2, "bogus"},
		{[]string{"heal", "x"}, 2, "no argument"},
	} {
		out, err := b.run(c.args...)
		if exitCode(err) != c.code || !strings.Contains(out, c.want) {
			t.Errorf("halab %q: exit code %d, %q; want %d and %q", c.args, exitCode(err), out, c.code, c.want)
		}
	}
}
