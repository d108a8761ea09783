package ganesha

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inNamespace runs the calling test again in network and mount namespaces of
// its own and reports whether this is that second run.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("GANESHA_TEST_NAMESPACE") != "" {
		return true
	}
	for _, program := range []string{"unshare", "ip", "ganesha.nfsd", "dbus-daemon", "nfs-cat"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s (package nfs-ganesha, nfs-ganesha-vfs, dbus, libnfs-utils, iproute2)", program)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: a network namespace and an NFS server")
	}
	again := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
		os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), "GANESHA_TEST_NAMESPACE=1")
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	return false
}

// Exports come and go while another is being served.
func TestExportsComeAndGo(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	top := t.TempDir()
	dir := Dir{Run: filepath.Join(top, "run"), State: filepath.Join(top, "state"), Log: filepath.Join(top, "log", "ganesha.log")}
	for _, name := range []string{"one", "two"} {
		if err := os.MkdirAll(filepath.Join(top, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name, "file"), []byte("content of "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.WriteConfig(Options{Workers: 4, GraceSeconds: 2}); err != nil {
		t.Fatal(err)
	}
	for _, command := range dir.Commands() {
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		defer command.Wait()
		defer command.Process.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := dir.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	one, two := Export{Path: filepath.Join(top, "one")}, Export{Path: filepath.Join(top, "two"), ReadOnly: true}
	for _, export := range []Export{one, two, one} {
		if err := dir.Add(ctx, export); err != nil {
			t.Fatal(err)
		}
	}
	read(ctx, t, one.Path, "content of one")
	read(ctx, t, two.Path, "content of two")
	if err := dir.Remove(ctx, two); err != nil {
		t.Fatal(err)
	}
	if err := dir.Remove(ctx, two); err != nil {
		t.Fatalf("removing twice: %v", err)
	}
	read(ctx, t, one.Path, "content of one")
	shown, err := dir.Show(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(shown, one.Path) || slices.Contains(shown, two.Path) {
		t.Fatalf("exports are %q", shown)
	}
	if err := dir.Grace(ctx); err != nil {
		t.Fatal(err)
	}
	if in, err := dir.InGrace(ctx); err != nil || !in {
		t.Fatalf("in grace = %v, %v", in, err)
	}
}

// read asks until the answer comes: outside of grace that is at once.
func read(ctx context.Context, t *testing.T, path, want string) {
	t.Helper()
	var last string
	for ctx.Err() == nil {
		out, err := exec.CommandContext(ctx, "nfs-cat", fmt.Sprintf("nfs://127.0.0.1%s/file?version=4", path)).CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		last = fmt.Sprintf("%v: %s", err, out)
	}
	t.Fatalf("read %s: %s", path, last)
}
