package share

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/plugins/internal/ganesha"
	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

// The agent keeps what every agent promises, against a real NFS server in
// namespaces of its own.
func TestConformance(t *testing.T) {
	if os.Getenv("SHARE_TEST_NAMESPACE") == "" {
		for _, program := range []string{"unshare", "ip", "ganesha.nfsd", "dbus-daemon"} {
			if _, err := exec.LookPath(program); err != nil {
				t.Skipf("needs %s (packages nfs-ganesha, nfs-ganesha-vfs, dbus, iproute2)", program)
			}
		}
		if os.Getuid() != 0 {
			t.Skip("needs root: a network namespace and an NFS server")
		}
		again := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
			os.Args[0], "-test.run=^TestConformance$", "-test.v")
		again.Env = append(os.Environ(), "SHARE_TEST_NAMESPACE=1")
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("in the namespace: %v\n%s", err, out)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	root := t.TempDir()
	t.Setenv("EVENKEEL_ROOT", root)
	dir := ganesha.Here()
	if err := dir.WriteConfig(ganesha.Options{Workers: 4, GraceSeconds: 1}); err != nil {
		t.Fatal(err)
	}
	for _, command := range dir.Commands() {
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer command.Wait()
		defer command.Process.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := dir.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "export")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	agenttest.Run(t, New(), map[string]any{"PathName": path, "Options": "rw,no_root_squash"})
}
