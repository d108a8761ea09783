package selfstop

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/fencing/conf"
)

var dangerous = []conf.Action{conf.ActionReboot, conf.ActionPanic, conf.ActionWatchdog}

// inNamespace gives a Stopper whose kernel files are plain files of the test.
func inNamespace(t *testing.T, cfg Config, pidNS uint64) (*Stopper, string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "kernel")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return &Stopper{cfg: cfg, host: host{
		sysrq: file, watchdog: file,
		pidNS: func() (uint64, error) { return pidNS, nil },
	}}, file
}

func content(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// R3: each of the three conditions alone forbids each of the three actions,
// and nothing is written anywhere.
func TestR3Refusals(t *testing.T) {
	marked := paths.Root(t.TempDir())
	if err := marked.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteMarker(marked, lab.Marker{Lab: "l", System: "A", Switch: "/nowhere"}); err != nil {
		t.Fatal(err)
	}
	for _, action := range dangerous {
		for name, tc := range map[string]struct {
			root  paths.Root
			pidNS uint64
		}{
			"EVENKEEL_ROOT is set":       {paths.Root(t.TempDir()), initialPIDNamespace},
			"not the machine's own pids": {"", initialPIDNamespace - 1},
			"lab marker exists":          {marked, initialPIDNamespace},
		} {
			s, file := inNamespace(t, Config{Action: action, Root: tc.root}, tc.pidNS)
			for what, err := range map[string]error{
				"Check": s.Check(context.Background()),
				"Arm":   s.Arm(context.Background()),
				"Run":   s.Run(context.Background(), "test"),
			} {
				if !errors.Is(err, ErrRefused) {
					t.Errorf("%s, %s: %s gave %v, want a refusal", action, name, what, err)
				}
			}
			if got := content(t, file); got != "" {
				t.Errorf("%s, %s: %q was written", action, name, got)
			}
		}
	}
}

// R3: what New returns where an action is forbidden holds no path of the
// kernel, so not even a bug could open one.
func TestR3NewHoldsNoPathWhereRefused(t *testing.T) {
	for _, action := range append([]conf.Action{conf.ActionLab, conf.ActionExec}, dangerous...) {
		s := New(Config{Action: action, Root: paths.Root(t.TempDir())})
		forbidden := action != conf.ActionLab && action != conf.ActionExec
		if forbidden && (s.host.sysrq != "" || s.host.watchdog != "") {
			t.Errorf("%s: refused, and yet it holds %+v", action, s.host)
		}
		if forbidden {
			if err := s.trigger('x'); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: trigger without a path gave %v", action, err)
			}
			if _, err := openWatchdog(s.host.watchdog); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: watchdog without a path gave %v", action, err)
			}
		}
	}
}

// Where nothing forbids them, the letters are what the kernel documents:
// "b" reboots at once, "c" panics. The files are plain files of this test.
func TestSysrqLetters(t *testing.T) {
	for action, letter := range map[conf.Action]string{conf.ActionReboot: "b", conf.ActionPanic: "c"} {
		s, file := inNamespace(t, Config{Action: action, Root: ""}, initialPIDNamespace)
		if lab.InLab("") {
			t.Skip("this machine carries a lab marker in its own /run")
		}
		if err := s.Check(context.Background()); err != nil {
			t.Fatalf("%s is not armed: %v", action, err)
		}
		if content(t, file) != "" {
			t.Fatalf("%s: Check wrote", action)
		}
		if err := s.Run(context.Background(), "test"); err != nil {
			t.Fatal(err)
		}
		if got := content(t, file); got != letter {
			t.Errorf("%s wrote %q, want %q", action, got, letter)
		}
	}
}

func TestWatchdogIsFedUntilTheStop(t *testing.T) {
	if lab.InLab("") {
		t.Skip("this machine carries a lab marker in its own /run")
	}
	s, file := inNamespace(t, Config{Action: conf.ActionWatchdog, Root: ""}, initialPIDNamespace)
	if err := s.Arm(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
	fed := content(t, file)
	if fed == "" || strings.Contains(fed, "V") {
		t.Errorf("fed %q; want feeding, and no magic close before a stop", fed)
	}
	s2, file2 := inNamespace(t, Config{Action: conf.ActionWatchdog, Root: ""}, initialPIDNamespace)
	if err := s2.Arm(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s2.Disarm(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(content(t, file2), "V") {
		t.Error("an ordered disarm must close the watchdog so that it does not fire")
	}
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "stop")
	s := New(Config{Action: conf.ActionExec, Program: program, Root: paths.Root(dir)})
	if err := s.Check(context.Background()); err == nil {
		t.Fatal("armed with a program that does not exist")
	}
	if err := os.WriteFile(program, []byte("#!/bin/sh\nprintf %s \"$1\" > "+dir+"/said\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(context.Background()); err == nil {
		t.Fatal("armed with a program that may not be run")
	}
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), "gab died"); err != nil {
		t.Fatal(err)
	}
	if got := content(t, filepath.Join(dir, "said")); got != "gab died" {
		t.Errorf("the program was told %q", got)
	}
}

// The lab's switch is outside the system: the stop is asked for by name, and
// asked for again when the switch did not answer.
func TestLabSwitch(t *testing.T) {
	root := paths.Root(t.TempDir())
	if err := root.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Action: conf.ActionLab, Root: root})
	if err := s.Check(context.Background()); !errors.Is(err, lab.ErrNoLab) {
		t.Fatalf("outside a lab: %v", err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := lab.WriteMarker(root, lab.Marker{Lab: "l", System: "A", Switch: socket}); err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 16) // the test reads all of it
	go func() {
		for n := 0; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			asked <- strings.TrimSpace(line)
			switch {
			case strings.Contains(line, `"state"`):
				_, _ = conn.Write([]byte(`{"system":"A","state":"on"}` + "\n"))
			case n > 1:
				_, _ = conn.Write([]byte(`{"system":"A","state":"off"}` + "\n"))
			}
			conn.Close()
		}
	}()
	if err := s.Check(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != `{"op":"state","system":"A"}` {
		t.Fatalf("asked %s", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	go s.Must(ctx, "test", func(error) {})
	for range 2 {
		if got := <-asked; got != `{"op":"off","system":"A"}` {
			t.Fatalf("asked %s", got)
		}
	}
}
