package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// alone is one system without a lab: its files, and the real programs.
type alone struct {
	t    *testing.T
	root string
}

func newAlone(t *testing.T, files map[string]string) *alone {
	t.Helper()
	root, err := os.MkdirTemp("", "alone") // short: sockets lie below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	a := &alone{t: t, root: root}
	for name, text := range files {
		a.write(name, text)
	}
	return a
}

func (a *alone) conf(name string) string { return filepath.Join(a.root, "etc/evenkeel", name) }

func (a *alone) write(name, text string) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(a.conf(name)), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(a.conf(name), []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

func (a *alone) command(program string, arguments ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(Repository(), "bin", program), arguments...)
	c.Env = append(os.Environ(), "EVENKEEL_ROOT="+a.root)
	return c
}

// run runs a program to its end, at most ten seconds.
func (a *alone) run(program string, arguments ...string) Result {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	all := append([]string{"EVENKEEL_ROOT=" + a.root, filepath.Join(Repository(), "bin", program)}, arguments...)
	result, err := run(ctx, "env", all...)
	if err != nil {
		a.t.Fatal(err)
	}
	return result
}

func (a *alone) until(what string, look func() (bool, string)) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := Until(ctx, what, func(context.Context) (bool, string) { return look() }); err != nil {
		a.t.Fatal(err)
	}
}

const goodConfig = `include "types.cf"

cluster c (
	)

system sysA

system sysB

group g (
	SystemList = { sysA, sysB }
	)

	FileOnOff f (
		PathName = "/nowhere/f"
		)

	FileOnOff h (
		PathName = "/nowhere/h"
		)

	f requires h
`

// TestBadConfigurations: each kind of mistake is told once, by place, with the
// right spelling where it can be guessed, the same by hacf, the engine's log
// and ha status; nothing is loaded; had waits for the administrator, and hasys
// -force leads out once the file is right.
func TestBadConfigurations(t *testing.T) {
	for _, c := range []struct{ kind, good, bad, want string }{
		{"keyword", "cluster c", "clutser c", "main.cf:3:1: unknown keyword clutser; did you mean cluster?"},
		{"attribute", "SystemList", "SystmList", "main.cf:11:2: unknown group attribute SystmList; did you mean SystemList?"},
		{"attribute_of_a_resource", `PathName = "/nowhere/f"`, `PathNam = "/nowhere/f"`, "main.cf:15:3: unknown attribute PathNam of type FileOnOff; did you mean PathName?"},
		{"type", "FileOnOff f", "FileOnOf f", "main.cf:14:2: unknown type FileOnOf; did you mean FileOnOff?"},
		{"value", "SystemList = { sysA, sysB }", "SystemList = sysA", "main.cf:11:15: SystemList takes a list in { }"},
		{"resource_twice", "FileOnOff h", "FileOnOff f", "main.cf:18:12: resource f is declared twice"},
		{"system_twice", "system sysB", "system sysA", "main.cf:8:8: system sysA is declared twice"},
		{"cycle", "f requires h", "f requires h\n\th requires f", "dependency cycle in group g: "},
		{"include", "types.cf", "typos.cf", "main.cf:1:9: cannot read the included file typos.cf"},
		{"system_of_SystemList", "{ sysA, sysB }", "{ sysA, sysb }", "main.cf:11:23: SystemList of group g names sysb, but no system of that name is declared; did you mean sysB?"},
		{"system_of_AutoStartList", "sysB }\n\t)", "sysB }\n\tAutoStartList = { sysC }\n\t)", "main.cf:12:20: AutoStartList of group g names sysC, which is not in its SystemList"},
		{"typographic_quotes", `"/nowhere/f"`, "“/nowhere/f”", "main.cf:15:14: "},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			// The mistakes themselves name two systems; alone can run one.
			if !strings.Contains(goodConfig, c.good) {
				t.Fatalf("%q is not in the good configuration", c.good)
			}
			a := newAlone(t, map[string]string{"sysname": "sysA\n", "main.cf": strings.Replace(goodConfig, c.good, c.bad, 1)})
			verify := a.run("hacf", "-verify", filepath.Dir(a.conf("main.cf")))
			first, _, _ := strings.Cut(verify.Err, "\n")
			if verify.Code != 1 || verify.Out != "" || !strings.Contains(first, c.want) || !regexp.MustCompile(`^main\.cf:\d+:\d+: `).MatchString(first) {
				t.Errorf("hacf -verify: code %d, %q, %q; want %q", verify.Code, verify.Out, verify.Err, c.want)
			}
			had := a.command("had", "-onenode")
			if err := had.Start(); err != nil {
				t.Fatal(err)
			}
			ended := false
			t.Cleanup(func() {
				if !ended {
					_ = had.Process.Kill()
					_ = had.Wait()
				}
			})
			a.until("had to wait for the administrator", func() (bool, string) {
				r := a.run("hasys", "-state", "sysA")
				return strings.TrimSpace(r.Out) == "STALE_ADMIN_WAIT", r.Out + r.Err
			})
			if status := a.run("ha", "status"); !strings.Contains(status.Out, first) || strings.Contains(status.Out, "GROUP ") || !strings.Contains(status.Out, "hasys -force sysA") {
				t.Errorf("ha status does not tell the mistake and the way out, or shows groups:\n%s", status.Out)
			}
			if list := a.run("hagrp", "-list"); strings.Contains(list.Out, "g ") {
				t.Errorf("half-loaded: %s", list.Out)
			}
			if forced := a.run("hasys", "-force", "sysA"); forced.Code != 1 || !strings.Contains(forced.Err, "V-16-1-10624") || !strings.Contains(forced.Err, c.want) {
				t.Errorf("force with the mistake still there: %+v", forced)
			}
			a.until("had to wait again", func() (bool, string) {
				r := a.run("hasys", "-state", "sysA")
				return strings.TrimSpace(r.Out) == "STALE_ADMIN_WAIT" || strings.TrimSpace(r.Out) == "ADMIN_WAIT", r.Out + r.Err
			})
			a.write("main.cf", goodConfig)
			if verify := a.run("hacf", "-verify", filepath.Dir(a.conf("main.cf"))); verify.Code != 0 || verify.Out+verify.Err != "" {
				t.Errorf("hacf -verify of the good file: %+v", verify)
			}
			if forced := a.run("hasys", "-force", "sysA"); forced.Code != 0 {
				t.Errorf("force: %+v", forced)
			}
			a.until("had to run", func() (bool, string) {
				r := a.run("hasys", "-state", "sysA")
				return strings.TrimSpace(r.Out) == "RUNNING", r.Out + r.Err
			})
			a.until("no mistake to be told", func() (bool, string) {
				r := a.run("ha", "status")
				return !strings.Contains(r.Out, first) && strings.Contains(r.Out, "GROUP "), r.Out
			})
			if stop := a.run("hastop", "-local"); stop.Code != 0 {
				t.Errorf("hastop: %+v", stop)
			}
			if err := had.Wait(); err != nil {
				t.Errorf("had: %v", err)
			}
			ended = true
			log, err := os.ReadFile(filepath.Join(a.root, "var/log/evenkeel/engine_A.log"))
			if err != nil || !strings.Contains(string(log), "VCS ERROR V-16-1-10624 (sysA) "+first) {
				t.Errorf("the engine's log does not tell the mistake (%v):\n%s", err, log)
			}
		})
	}
}

// TestBadFilesOfDaemons: a daemon with a mistake in its files does not start;
// it exits with 1 and says file, line and column on standard error.
func TestBadFilesOfDaemons(t *testing.T) {
	good := map[string]string{
		"sysname": "sysA\n", "llthosts": "0 sysA\n1 sysB\n", "gabtab": "gabconfig -c -n2\n", "main.cf": goodConfig,
		"llttab":       "set-node sysA\nset-cluster 7\nlink one udp - udp 50999 - 127.9.9.1 -\nset-addr 1 one 127.9.9.2\nset-key-file none\n",
		"fencing.conf": "vxfen_mode=disabled\n",
	}
	for _, c := range []struct{ daemon, file, text, want string }{
		{"gab", "llttab", "set-node sysA\nset-clutser 7\n", `llttab:2:1: `},
		{"gab", "llttab", "set-node sysA\nset-cluster 70000\n", `llttab:2:13: `},
		{"gab", "llthosts", "0 sysA\n64 sysB\n", `llthosts:2:1: `},
		{"gab", "llthosts", "0 sysA\n0 sysB\n", `llthosts:2:1: `},
		{"gab", "gabtab", "/sbin/gabconfig -c -nmany\n", `gabtab:1:20: .*many`},
		{"gab", "gabtab", "\ngabconfg -c\n", `gabtab:2:1: .*gabconfg`},
		{"gab", "fencing.conf", "vxfen_mode=scsi4\n", `fencing.conf:1:12: `},
		{"fencing", "fencing.conf", "vxfen_mod=disabled\n", `fencing.conf:1:1: .*vxfen_mode`},
		{"fencing", "fencing.conf", "vxfen_mode=customized\npoint1=file:/p1\npoint2=file:/p2\n", `fencing.conf:\d+:\d+: `},
		{"fencing", "fencing.conf", "vxfen_mode=disabled\nrace_delay_ms=soon\n", `fencing.conf:2:15: `},
		{"had", "had.conf", "# agents\n  agent=/usr/lib\n", `had.conf:2:3: .*agents=`},
	} {
		t.Run(c.daemon+"_"+c.file, func(t *testing.T) {
			a := newAlone(t, good)
			a.write(c.file, c.text)
			var arguments []string
			if c.daemon == "had" {
				arguments = []string{"-onenode"}
			}
			r := a.run(c.daemon, arguments...)
			if r.Code != 1 || r.Out != "" || !regexp.MustCompile("^"+c.daemon+": "+c.want).MatchString(r.Err) {
				t.Errorf("code %d, printed %q, %q; want 1 and %q", r.Code, r.Out, r.Err, c.want)
			}
		})
	}
}
