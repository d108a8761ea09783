//go:build linux

package loopdev

import (
	"os"
	"path/filepath"
	"testing"
)

func TestAttachFindDetach(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: loop devices")
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "a.img")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	held, n, err := Attach(image)
	if err != nil {
		t.Fatal(err)
	}
	images, err := Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := List(images)
	if err != nil || len(devices) != 1 || devices[0].Number != n || images[devices[0].Backing] != "a.img" || devices[0].Path != image {
		t.Fatalf("found %+v, %v; want loop%d of %s", devices, err, n, image)
	}
	other, err := Images(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if devices, err := List(other); err != nil || len(devices) != 0 {
		t.Errorf("devices of no images: %+v, %v", devices, err)
	}
	stranger := devices[0]
	stranger.Backing.Ino++
	if err := Detach(stranger); err != nil {
		t.Error(err)
	}
	if devices, _ := List(images); len(devices) != 1 {
		t.Error("a device was detached that has another backing file than was meant")
	}
	if err := Detach(devices[0]); err != nil { // in use: goes with its last user
		t.Error(err)
	}
	held.Close()
	if devices, err := List(images); err != nil || len(devices) != 0 {
		t.Errorf("still attached: %+v, %v", devices, err)
	}
	if err := Detach(devices[0]); err != nil {
		t.Errorf("a second detach: %v", err)
	}
}
