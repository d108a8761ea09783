package lab

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/paths"
)

func emptyRoot(t *testing.T) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	if err := root.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	return root
}

func TestMarkerIsReadAsWritten(t *testing.T) {
	root := emptyRoot(t)
	if InLab(root) {
		t.Fatal("a root without marker counts as lab")
	}
	if _, err := ReadMarker(root); !errors.Is(err, ErrNoLab) {
		t.Fatalf("no marker: got %v, want ErrNoLab", err)
	}
	want := Marker{Lab: "demo", System: "Server1", Switch: "/run/x.sock"}
	if err := WriteMarker(root, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadMarker(root)
	if err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
}

// R3: a marker that nobody understands still says "lab".
func TestBrokenMarkerStillForbidsReboot(t *testing.T) {
	for _, text := range []string{"", "{", `{"lab":"x"}`, "[]"} {
		root := emptyRoot(t)
		if err := os.WriteFile(root.LabMarker(), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if !InLab(root) {
			t.Errorf("marker %q: not in lab", text)
		}
		if _, err := ReadMarker(root); err == nil || errors.Is(err, ErrNoLab) {
			t.Errorf("marker %q: got %v, want another error than ErrNoLab", text, err)
		}
	}
}

// answering is a switch that gives one answer to each line.
func answering(t *testing.T, answer func(line string) string) Marker {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "switch.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				line, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return
				}
				if text := answer(strings.TrimSpace(line)); text != "" {
					_, _ = conn.Write([]byte(text + "\n"))
					return
				}
				_, _ = bufio.NewReader(conn).ReadByte() // never answers; ends with the client
			}()
		}
	}()
	return Marker{Lab: "test", System: "A", Switch: socket}
}

func TestSwitchAnswers(t *testing.T) {
	marker := answering(t, func(line string) string {
		switch line {
		case `{"op":"off","system":"B"}`:
			return `{"system":"B","state":"off"}`
		case `{"op":"state","system":"B"}`:
			return `{"system":"B","state":"on"}`
		case `{"op":"off","system":"C"}`:
			return `{"system":"C","state":"on"}`
		case `{"op":"off","system":"D"}`:
			return `{"system":"B","state":"off"}`
		case `{"op":"off","system":"E"}`:
			return `{"error":"no such system"}`
		}
		return "what?"
	})
	ctx := context.Background()
	if err := PowerOff(ctx, marker, "B"); err != nil {
		t.Error(err)
	}
	if state, err := PowerState(ctx, marker, "B"); err != nil || state != On {
		t.Errorf("state %q, %v", state, err)
	}
	// R4: only a clear "off" for the system that was asked for is evidence.
	for _, system := range []string{"C", "D", "E", "F", strings.Repeat("x", MaxLine)} {
		if err := PowerOff(ctx, marker, system); err == nil {
			t.Errorf("power off %.10s: success without the switch saying off", system)
		}
	}
}

func TestSilentSwitchEndsWithTheContext(t *testing.T) {
	marker := answering(t, func(string) string { return "" })
	ctx, cancel := context.WithTimeout(context.Background(), 50_000_000)
	defer cancel()
	if err := PowerOff(ctx, marker, "B"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the deadline", err)
	}
}
