package mount

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/plugins/internal/evidence"
	"github.com/evenkeel/evenkeel/plugins/internal/loopdev"
	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
	"github.com/evenkeel/evenkeel/sdk/agent"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
	"golang.org/x/sys/unix"
)

// detachWait is how long the kernel may take to give up a device.
const detachWait = 5 * time.Second

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

// machine is one system with an agent in a mount namespace of its own and a
// loop device of its own on the shared image: as between real machines, no
// table of the kernel connects its mount with another's.
type machine struct {
	*agenttest.Process
	t      *testing.T
	name   string
	root   string
	device string
	point  string
}

// image makes a file with an ext4 file system.
func image(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts file systems")
	}
	for _, program := range []string{"mkfs.ext4", "unshare", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (packages e2fsprogs, util-linux)", program)
		}
	}
	file := filepath.Join(t.TempDir(), "home_vol.img")
	if out, err := exec.Command("mkfs.ext4", "-q", file, "16M").CombinedOutput(); err != nil {
		t.Fatalf("mkfs: %v: %s", err, out)
	}
	return file
}

func newMachine(t *testing.T, name, image string) *machine {
	t.Helper()
	m := &machine{t: t, name: name, root: t.TempDir()}
	device, err := loopdev.Attach(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loopdev.Detach(device, detachWait); err != nil {
			t.Error(err)
		}
	})
	m.device, m.point = device, filepath.Join(m.root, "export/home")
	command := exec.Command("unshare", "--mount", os.Args[0])
	command.Env = append(os.Environ(), "EVENKEEL_ROOT="+m.root)
	m.Process = agenttest.StartCommand(t, command)
	return m
}

func (m *machine) knows(systems ...evidence.System) {
	m.t.Helper()
	text, err := json.Marshal(evidence.Known{Self: m.name, Systems: systems})
	if err != nil {
		m.t.Fatal(err)
	}
	run := filepath.Join(m.root, "run/evenkeel")
	if err := os.MkdirAll(run, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(run, evidence.File), text, 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) resource() *agentv1.Resource {
	return agenttest.Resource(m.t, "Mount_home", map[string]any{
		"MountPoint": m.point, "BlockDevice": m.device, "FSType": "ext4", "FsckOpt": "-y", "MountOpt": "rw",
	})
}

func (m *machine) online() error {
	_, err := m.Online(m.t.Context(), &agentv1.OnlineRequest{CallId: 1, Resource: m.resource()})
	return err
}

func (m *machine) clean() error {
	_, err := m.Clean(m.t.Context(), &agentv1.CleanRequest{CallId: 2, Resource: m.resource(), Reason: agentv1.CleanReason_CLEAN_REASON_UNEXPECTED_OFFLINE})
	return err
}

func (m *machine) wants(state agentv1.State) {
	m.t.Helper()
	out, err := m.Monitor(m.t.Context(), &agentv1.MonitorRequest{CallId: 3, Resource: m.resource()})
	if err != nil || out.GetStatus().GetState() != state {
		m.t.Fatalf("%s: monitor says %v, %v; want %v", m.name, out.GetStatus().GetState(), err, state)
	}
}

// in prepares a program in the machine's mount namespace.
func (m *machine) in(command ...string) *exec.Cmd {
	return exec.Command("nsenter", append([]string{fmt.Sprintf("--mount=/proc/%d/ns/mnt", m.PID)}, command...)...)
}

func both(incarnationA, incarnationB uint64) []evidence.System {
	return []evidence.System{{Name: "A", Incarnation: incarnationA, Member: true}, {Name: "B", Incarnation: incarnationB, Member: true}}
}

// A file system that another machine has mounted is refused at once, although
// this kernel would mount it: it is the claim on the device that says so.
func TestSecondMountIsRefused_R4(t *testing.T) {
	file := image(t)
	a, b := newMachine(t, "A", file), newMachine(t, "B", file)
	a.knows(both(1, 1)...)
	b.knows(both(1, 1)...)
	if err := a.online(); err != nil {
		t.Fatal(err)
	}
	a.wants(agentv1.State_STATE_ONLINE)
	busy, err := loopdev.BusyLocally(b.device)
	if err != nil || busy {
		t.Fatalf("the kernel's own table shows it (%v, %v): this test would prove nothing", busy, err)
	}
	if err := b.online(); err == nil || !strings.Contains(err.Error(), "claimed by another system") {
		t.Fatalf("B mounted what A has mounted: %v", err)
	}
	b.wants(agentv1.State_STATE_OFFLINE)
	if err := a.clean(); err != nil {
		t.Fatal(err)
	}
	if err := b.online(); err != nil {
		t.Fatal(err)
	}
	if err := b.clean(); err != nil {
		t.Fatal(err)
	}
}

// After a crash the claim stays: without evidence nobody mounts, with evidence
// the journal is recovered and what was synced is there.
func TestMountAfterCrash(t *testing.T) {
	file := image(t)
	a, b := newMachine(t, "A", file), newMachine(t, "B", file)
	a.knows(both(1, 1)...)
	if err := a.online(); err != nil {
		t.Fatal(err)
	}
	write := a.in("sh", "-c", "echo kept > "+a.point+"/file && sync -f "+a.point+"/file")
	if out, err := write.CombinedOutput(); err != nil {
		t.Fatalf("write: %v: %s", err, out)
	}
	// The image as the power failure leaves it: what A has not written back
	// is not in it.
	crashed := filepath.Join(t.TempDir(), "crashed.img")
	if out, err := exec.Command("cp", "--sparse=always", file, crashed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.device = newMachine(t, "disk", crashed).device
	b.knows(evidence.System{Name: "A", Incarnation: 1}, evidence.System{Name: "B", Incarnation: 1, Member: true})
	if err := b.online(); err == nil || !strings.Contains(err.Error(), "ha fencing vouch A") {
		t.Fatalf("B mounted without evidence: %v", err)
	}
	b.knows(evidence.System{Name: "A", Incarnation: 1, Evidence: "POWERED_OFF"}, evidence.System{Name: "B", Incarnation: 1, Member: true})
	if err := b.online(); err != nil {
		t.Fatal(err)
	}
	out, err := b.in("cat", b.point+"/file").CombinedOutput()
	if err != nil || string(out) != "kept\n" {
		t.Fatalf("B reads %q, %v", out, err)
	}
	for _, m := range []*machine{a, b} {
		if err := m.clean(); err != nil {
			t.Fatal(err)
		}
	}
}

// Clean ends the processes that hold the file system; offline only waits.
func TestCleanEndsHolders(t *testing.T) {
	m := newMachine(t, "A", image(t))
	m.knows(both(1, 1)...)
	if err := m.online(); err != nil {
		t.Fatal(err)
	}
	holder := m.in("sh", "-c", "cd "+m.point+" && echo there && trap '' TERM && while :; do sleep 1000; done")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	actions, err := m.Action(t.Context(), &agentv1.ActionRequest{CallId: 9, Resource: m.resource(), Token: "holders"})
	if err != nil || !strings.Contains(actions.GetOutput(), fmt.Sprint(holder.Process.Pid)) {
		t.Errorf("holders: %v, %v; want process %d", actions, err, holder.Process.Pid)
	}
	if err := m.clean(); err != nil {
		t.Fatal(err)
	}
	m.wants(agentv1.State_STATE_OFFLINE)
	if err := holder.Wait(); err == nil {
		t.Error("the holder ended by itself")
	}
}

func TestFindMount(t *testing.T) {
	const text = `22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 7:0 / /export/my\040home rw,relatime shared:1 - ext4 /dev/loop0 rw
31 30 7:1 / /export/my\040home rw - ext4 /dev/loop1 rw
`
	if got := findMount(text, "/export/my home"); got != "/dev/loop1" {
		t.Errorf("found %q, want the last mount", got)
	}
	if got := findMount(text, "/export"); got != "" {
		t.Errorf("found %q on a directory without a mount", got)
	}
}

// The detailed monitor writes and reads: a file system that has become
// read-only is mounted for the plain one and of no use for the detailed one.
func TestDetailedMonitor(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("left out: mounting needs root")
	}
	point := t.TempDir()
	if err := unix.Mount("tmpfs", point, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("left out: no mounts here: %v", err)
	}
	defer unix.Unmount(point, unix.MNT_DETACH)
	look := func(options string) agent.Status { return detailed(point, options) }
	if got := look(""); got.State != agent.Online {
		t.Errorf("a good file system: %v", got)
	}
	if left, _ := os.ReadDir(point); len(left) > 0 {
		t.Errorf("the monitor left %v", left)
	}
	full, err := os.Create(filepath.Join(point, "full"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = full.Write(make([]byte, 64<<10))
	}
	full.Close()
	if got := look(""); got.State != agent.Online || got.Confidence != 50 {
		t.Errorf("a full file system: %v", got)
	}
	if err := unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if got := look(""); got.State != agent.Offline || !strings.Contains(got.Detail, "read-only") {
		t.Errorf("turned read-only: %v", got)
	}
	if got := look("noatime,ro"); got.State != agent.Online {
		t.Errorf("meant to be read-only: %v", got)
	}
}

// The .vfd actions say what would keep the mount from working, and mend what
// can be mended.
func TestActions(t *testing.T) {
	p := agenttest.Start(t)
	point := filepath.Join(t.TempDir(), "point")
	r := agenttest.Resource(t, "m", map[string]any{"MountPoint": point, "BlockDevice": "/dev/vx/dsk/dg/vol", "FSType": "ext4"})
	for _, c := range []struct {
		token, arg string
		code       int32
		words      string
	}{
		{"mountpoint.vfd", "", 1, "-actionargs fix makes it"},
		{"mountpoint.vfd", "fix", 0, "made " + point},
		{"mountpoint.vfd", "", 0, "is there"},
		{"mounted.vfd", "", 0, "nothing is mounted on " + point},
		{"mountentry.vfd", "", 0, "does not mention it"},
		{"holders", "", 0, "nothing that is visible here"},
	} {
		var args []string
		if c.arg != "" {
			args = []string{c.arg}
		}
		out, err := p.Action(t.Context(), &agentv1.ActionRequest{Resource: r, Token: c.token, Arguments: args})
		if err != nil || out.GetExitCode() != c.code || !strings.Contains(out.GetOutput(), c.words) {
			t.Errorf("%s %s: %v %v, want %d %q", c.token, c.arg, out, err, c.code, c.words)
		}
	}
	const fstab = "# x /point ext4\n/dev/vx/dsk/dg/vol /elsewhere ext4 defaults 0 0\n/dev/sdb1 /a\\040b ext4\n"
	if got := fstabLine(fstab, "/dev/vx/dsk/dg/vol", "/point"); !strings.Contains(got, "/elsewhere") {
		t.Errorf("by device: %q", got)
	}
	if got := fstabLine(fstab, "/dev/none", "/a b"); !strings.Contains(got, "sdb1") {
		t.Errorf("by directory: %q", got)
	}
	if got := fstabLine(fstab, "/dev/none", "/point"); got != "" {
		t.Errorf("a comment counts: %q", got)
	}
}
