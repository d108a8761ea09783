package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/evenkeel/evenkeel/internal/cli/operate"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/internal/standing"
	gabv1 "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
	hadv1 "github.com/evenkeel/evenkeel/proto/evenkeel/had/v1"
)

// The daemons of these tests are this program under their names.
func TestMain(m *testing.M) {
	role := filepath.Base(os.Args[0])
	if !slices.Contains([]string{standing.GAB, standing.Fencing, standing.Hashadow}, role) {
		os.Exit(m.Run())
	}
	if err := play(role, paths.FromEnvironment()); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
}

// daemon ends when it is told to and notes in a file who went when.
type daemon struct {
	gabv1.UnimplementedGabServiceServer
	hadv1.UnimplementedSystemServiceServer
	told chan struct{} // one is enough
}

func (d *daemon) end() {
	select {
	case d.told <- struct{}{}:
	default:
	}
}

func (d *daemon) Leave(context.Context, *gabv1.LeaveRequest) (*gabv1.LeaveResponse, error) {
	d.end()
	return &gabv1.LeaveResponse{}, nil
}

func (d *daemon) StopSystem(context.Context, *hadv1.StopSystemRequest) (*hadv1.StopSystemResponse, error) {
	d.end()
	return &hadv1.StopSystemResponse{Operation: &hadv1.Operation{}}, nil
}

// play is a daemon; hashadow plays had, too.
func play(role string, root paths.Root) error {
	if _, err := os.Stat(root.Run("broken." + role)); err == nil {
		return errors.New("main.cf:1:1: this configuration is broken")
	}
	d := &daemon{told: make(chan struct{}, 1)}
	if err := note(root, "+"+role+" "+strings.Join(os.Args[1:], " ")); err != nil {
		return err
	}
	names := []string{role}
	if role == standing.Hashadow {
		if _, err := os.Stat(root.Run("broken.had")); err != nil {
			names = append(names, standing.Had)
		} else {
			if err := os.WriteFile(root.Log("had_A.log"), []byte("had: start had -onenode: main.cf declares 3 systems\n"), 0o600); err != nil {
				return err
			}
		}
	}
	for _, name := range names {
		listener, err := net.Listen("unix", root.Socket(name))
		if err != nil {
			return err
		}
		s := grpc.NewServer()
		gabv1.RegisterGabServiceServer(s, d)
		hadv1.RegisterSystemServiceServer(s, d)
		go s.Serve(listener)
		defer s.GracefulStop()
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	select {
	case <-terminate:
	case <-d.told:
	case <-time.After(time.Minute): // a test that failed leaves nothing behind
	}
	for _, name := range names {
		if err := standing.SayStopping(root, name); err != nil {
			return err
		}
	}
	return note(root, "-"+role)
}

func note(root paths.Root, text string) error {
	f, err := os.OpenFile(root.Run("notes"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, strings.TrimSpace(text))
	return err
}

func newNode(t *testing.T) Node {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek") // short: sockets have short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("EVENKEEL_ROOT", dir)
	n := Node{Root: paths.Root(dir), Programs: filepath.Join(dir, "bin")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(n.Programs, 0o755), n.Root.MakeRunDirs()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{standing.GAB, standing.Fencing, standing.Hashadow} {
		if err := os.Symlink(self, filepath.Join(n.Programs, name)); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func notes(t *testing.T, n Node) string {
	t.Helper()
	text, err := os.ReadFile(n.Root.Run("notes"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ", ")
}

func TestInOrderAndBack(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var missing *MissingError
	if err := n.StartEngine(ctx, nil); !errors.As(err, &missing) || missing.Layer != standing.GAB {
		t.Fatalf("the engine without gab: %v", err)
	}
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err != nil { // once more: nothing to do
		t.Fatal(err)
	}
	if err := n.StartEngine(ctx, nil); !errors.Is(err, ErrRuns) {
		t.Errorf("the engine twice: %v", err)
	}
	if err := n.Stop(ctx, operate.Request{}); err != nil {
		t.Fatal(err)
	}
	if got, want := notes(t, n), "+gab, +fencing, +hashadow, -hashadow, -fencing, -gab"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if err := n.Stop(ctx, operate.Request{}); err != nil { // nothing runs: nothing to do
		t.Error(err)
	}
}

func TestOptionsReachHad(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := n.StartEngine(ctx, []string{"-onenode", "-force"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(ctx, operate.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, n); got != "+hashadow -- -onenode -force, -hashadow" {
		t.Error(got)
	}
}

// A had that does not come up is told with its last words, and a hashadow that
// tries to start it with other options gives way to one with the right ones.
func TestOptionsOfBefore(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := os.WriteFile(n.Root.Run("broken.had"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	soon, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	if err := n.StartEngine(soon, []string{"-onenode"}); err == nil || !strings.Contains(err.Error(), "main.cf declares 3 systems") {
		t.Errorf("a had that does not come up: %v", err)
	}
	if err := os.Remove(n.Root.Run("broken.had")); err != nil {
		t.Fatal(err)
	}
	if err := n.StartEngine(ctx, []string{"-onenode", "-force"}); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(ctx, operate.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, n); got != "+hashadow -- -onenode, -hashadow, +hashadow -- -onenode -force, -hashadow" {
		t.Error(got)
	}
}

// A daemon that ends at once is told with its last words; what is above it is
// not started.
func TestDiesAtOnce(t *testing.T) {
	n := newNode(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := os.WriteFile(n.Root.Run("broken.fencing"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(ctx); err == nil || !strings.Contains(err.Error(), "fencing ended at once") || !strings.Contains(err.Error(), "main.cf:1:1") {
		t.Error(err)
	}
	if err := n.Stop(ctx, operate.Request{}); err != nil {
		t.Fatal(err)
	}
	if got := notes(t, n); got != "+gab, -gab" {
		t.Error(got)
	}
}
