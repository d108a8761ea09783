//go:build linux

package power

import (
	"os"
	"testing"

	"github.com/evenkeel/evenkeel/internal/lab/loopdev"
)

// R4: never any other mount. This process sees the machine's own disks; with
// no loop device of a lab nothing is touched, and a device number that is not
// where the mount says is refused.
func TestOtherFileSystemsAreLeftAlone(t *testing.T) {
	if err := ShutDownFileSystems([]int{os.Getpid()}, nil); err != nil {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := shutDown(dir, "7:250"); err == nil {
		t.Error("a file system on another device was shut down")
	}
	if err := os.WriteFile(dir+"/f", []byte("x"), 0o644); err != nil {
		t.Errorf("the file system of %s is damaged: %v", dir, err)
	}
	if err := ShutDownFileSystems([]int{os.Getpid()}, []loopdev.Device{{Number: 250, Dev: "7:250"}}); err != nil {
		t.Error(err)
	}
}
