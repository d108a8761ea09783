package nfs

import (
	"os"
	"os/exec"
	"testing"

	"github.com/evenkeel/evenkeel/sdk/agenttest"
)

func TestMain(m *testing.M) { agenttest.Main(m, New()) }

// The agent keeps what every agent promises: it runs a real NFS server in
// namespaces of its own, ends it, and finds it again after it was killed.
func TestConformance(t *testing.T) {
	if os.Getenv("NFS_TEST_NAMESPACE") == "" {
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
		again.Env = append(os.Environ(), "NFS_TEST_NAMESPACE=1")
		if out, err := again.CombinedOutput(); err != nil {
			t.Fatalf("in the namespace: %v\n%s", err, out)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("EVENKEEL_ROOT", t.TempDir())
	agenttest.Run(t, New(), map[string]any{"Nservers": 4, "GracePeriod": 1})
}
