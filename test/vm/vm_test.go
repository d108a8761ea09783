// Package vm runs what needs a kernel of its own in a virtual machine, emulated
// by QEMU: interfaces that the kernel of a development machine may not have.
package vm

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

var wanted = flag.Bool("vm", false, "run the tests that need a virtual machine")

// limit bounds a run that hangs; the machine is emulated, and its host may be busy.
const limit = 8 * time.Minute

func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// kernel returns the folder of the guest's kernel, or leaves the test out.
func kernel(t *testing.T) string {
	t.Helper()
	if !*wanted {
		t.Skip("a virtual machine takes a minute: make test-vm runs it")
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the guest is of amd64")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("needs qemu-system-x86_64; make test-vm installs it")
	}
	dir := filepath.Join(repository(), "bin", "vm")
	if _, err := os.Stat(filepath.Join(dir, "complete")); err != nil {
		t.Skip("needs a kernel for the guest; make test-vm gets one")
	}
	return dir
}

// initrd packs the guest's programs and modules as the kernel wants them: a cpio
// archive of the format newc.
func initrd(t *testing.T, kernel string) string {
	t.Helper()
	guest := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", guest, "./test/vm/guest")
	build.Dir, build.Env = repository(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	name := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	number := 0
	add := func(path string, mode uint32, data []byte) {
		number++
		pad := func(n int) string { return strings.Repeat("\x00", (4-n%4)%4) }
		head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path)+1, 0)
		fmt.Fprint(w, head, path, "\x00", pad(len(head)+len(path)+1))
		w.Write(data)
		fmt.Fprint(w, pad(len(data)))
	}
	file := func(path, from string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatalf("%v; make build makes the programs", err)
		}
		add(path, 0o100755, data)
	}
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp", "modules", "systems"} {
		add(dir, 0o040755, nil)
	}
	file("init", guest)
	file("bin/gab", filepath.Join(repository(), "bin/gab"))
	file("bin/lltstat", filepath.Join(repository(), "bin/ha"))
	modules, err := filepath.Glob(filepath.Join(kernel, "modules/*.ko"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range modules {
		file("modules/"+filepath.Base(m), m)
	}
	add("TRAILER!!!", 0, nil)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return name
}

// boot runs a guest until it powers off, and returns what it wrote on its console.
func boot(t *testing.T, kernel, initrd string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512",
		"-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", initrd,
		"-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v (%v)\n%s", err, ctx.Err(), out)
	}
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// TestVLANAndBond: links that are a VLAN device and an active-backup bond. Their
// parents and legs go down and come back, the bond fails over while it is the
// only link, VLAN and bond vanish and come back as other interfaces: lltstat
// shows each, no system is taken for down, no message is lost.
func TestVLANAndBond(t *testing.T) {
	k := kernel(t)
	console := boot(t, k, initrd(t, k))
	steps := 0
	for line := range strings.Lines(console) {
		if strings.HasPrefix(line, "STEP ") {
			steps++
		}
	}
	if !strings.Contains(console, "\nRESULT passed\n") || steps != 7 {
		t.Fatalf("%d of 7 steps\n%s", steps, console)
	}
	for line := range strings.Lines(console) {
		if strings.HasPrefix(line, "STEP ") || strings.HasPrefix(line, "COUNT ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
