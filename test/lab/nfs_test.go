package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestNFSCluster runs the demo: a client writes through NFS, the server's
// power fails, the client reads the same bytes at the same address from the
// other server; the group is switched back; nothing is left behind.
func TestNFSCluster(t *testing.T) {
	needsRoot(t)
	for _, program := range []string{"ganesha.nfsd", "dbus-daemon", "nfs-cat", "ping"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("left out: needs %s (make deps installs it on Debian)", program)
		}
	}
	if _, err := os.Stat(filepath.Join(Repository(), "bin", "lab-nfswrite")); err != nil {
		t.Fatalf("the client's program is not built: %v (run make test-lab, or make bin/lab-nfswrite)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	before, err := exec.CommandContext(ctx, "losetup", "--list", "--noheadings", "--output", "BACK-FILE").Output()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("t%dnfs", os.Getpid()%10000)
	demo := exec.CommandContext(ctx, "go", "run", "./test/demo", "-name", name)
	demo.Dir = Repository()
	demo.Cancel = func() error { return demo.Process.Signal(os.Interrupt) }
	demo.WaitDelay = 30 * time.Second
	out, err := demo.CombinedOutput()
	if err != nil {
		t.Fatalf("the demo failed: %v\n%s", err, out)
	}
	for _, want := range []string{"reads the same bytes from Server2", "reads the same bytes from Server1", "nothing is left behind"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo did not say %q:\n%s", want, out)
		}
	}
	after, err := exec.CommandContext(ctx, "losetup", "--list", "--noheadings", "--output", "BACK-FILE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(after), "\n") {
		if strings.Contains(line, "/"+name+"/") && !strings.Contains(string(before), line) {
			t.Errorf("a loop device is left behind: %s", line)
		}
	}
}
