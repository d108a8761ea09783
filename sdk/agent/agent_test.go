package agent

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	agentv1 "github.com/evenkeel/evenkeel/proto/evenkeel/agent/v1"
)

// A started application has a session of its own, none of our descriptors and
// none of the words that are between host and agent.
func TestStartDetaches(t *testing.T) {
	t.Setenv(EnvToken, "secret")
	t.Setenv(CookieKey, CookieValue)
	t.Setenv("PLUGIN_UNIX_SOCKET_DIR", "/x")
	t.Setenv("KEPT", "1")
	p, err := Start(exec.Command("/bin/sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(p.PID, syscall.SIGKILL); <-p.Done() })
	dir := fmt.Sprintf("/proc/%d", p.PID)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	if f := strings.Fields(string(stat)); f[5] != strconv.Itoa(p.PID) {
		t.Errorf("session %s, want its own, %d", f[5], p.PID)
	}
	fds, err := filepath.Glob(dir + "/fd/*")
	if err != nil || len(fds) != 3 {
		t.Errorf("descriptors %v, want three", fds)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); to != "/dev/null" {
			t.Errorf("%s is %s", fd, to)
		}
	}
	env, _ := os.ReadFile(dir + "/environ")
	names := strings.Split(string(env), "\x00")
	for _, pair := range names {
		if name, _, _ := strings.Cut(pair, "="); slices.Contains([]string{EnvToken, CookieKey, "PLUGIN_UNIX_SOCKET_DIR"}, name) {
			t.Errorf("environment has %s", pair)
		}
	}
	if !slices.Contains(names, "KEPT=1") {
		t.Error("the rest of the environment is lost")
	}
	start, err := StartTime(p.PID)
	if err != nil || start != p.StartTime {
		t.Errorf("start time %d %v, want %d", start, err, p.StartTime)
	}
}

func TestStartRefusesPipes(t *testing.T) {
	cmd := exec.Command("/bin/true")
	cmd.Stdout = &strings.Builder{}
	if _, err := Start(cmd); err == nil || !strings.Contains(err.Error(), "*os.File") {
		t.Errorf("got %v", err)
	}
}

type half struct{ Description }

func (h half) Describe() Description { return h.Description }

func (half) Monitor(context.Context, *Resource) (Status, error) { return Status{}, nil }

func TestCheckAgent(t *testing.T) {
	for _, c := range []struct {
		d    Description
		want string
	}{
		{Description{}, "Type is empty"},
		{Description{Type: "T"}, "needs Online, Offline and Clean"},
		{Description{Type: "T", Operations: OnOnly}, "needs Online and Clean"},
		{Description{Type: "T", Operations: None}, ""},
		{Description{Type: "T", Operations: None, Attrs: []Attr{{Name: "A"}, {Name: "A"}}}, "declared twice"},
		{Description{Type: "T", Operations: None, Attrs: []Attr{{Name: "A", Kind: Integer, Default: "x"}}}, "no integer"},
		{Description{Type: "T", Operations: None, Actions: []Action{{Token: "a"}}}, "no method Action"},
	} {
		err := CheckAgent(half{c.d})
		if (c.want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: got %v, want %q", c.d, err, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	scalar := func(s string) *agentv1.Value { return &agentv1.Value{Shape: &agentv1.Value_Scalar{Scalar: s}} }
	r := &Resource{
		declared: map[string]Attr{
			"S": {Name: "S", Default: "s"}, "I": {Name: "I", Kind: Integer, Default: "7"}, "B": {Name: "B", Kind: Boolean},
			"V": {Name: "V", Dimension: Vector}, "A": {Name: "A", Dimension: Association}, "R": {Name: "R", Required: true},
		},
		values: map[string]*agentv1.Value{
			"B": scalar("1"), "I": scalar(""), "R": scalar(""),
			"V": {Shape: &agentv1.Value_List{List: &agentv1.ValueList{Values: []string{"a", "b"}}}},
		},
	}
	if r.String("S") != "s" || r.Int("I") != 7 || !r.Bool("B") || len(r.Strings("V")) != 2 || len(r.Map("A")) != 0 {
		t.Errorf("%q %d %v %v %v", r.String("S"), r.Int("I"), r.Bool("B"), r.Strings("V"), r.Map("A"))
	}
	if got := fmt.Sprint(r.check()); got != "[{R a value is required}]" {
		t.Errorf("got %s", got)
	}
	r.values["I"], r.values["R"] = scalar("x"), r.values["V"]
	if got := fmt.Sprint(r.check()); got != `[{I "x" is no integer} {R no list is wanted, a list came}]` {
		t.Errorf("got %s", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("an undeclared attribute was read")
		}
	}()
	r.String("Nonesuch")
}

// slow holds each monitor until it is let go.
type slow struct{ enter, leave chan string }

func (slow) Describe() Description { return Description{Type: "Slow", Operations: None} }

func (s slow) Monitor(ctx context.Context, r *Resource) (Status, error) {
	s.enter <- r.Name
	select {
	case <-s.leave:
		return Status{State: Online}, nil
	case <-ctx.Done():
		return Status{}, ctx.Err()
	}
}

// Calls for one resource never overlap, those for different ones do, up to
// NumThreads; Describe answers meanwhile.
func TestTurns(t *testing.T) {
	s := slow{enter: make(chan string, 10), leave: make(chan string)}
	srv := newServer(s, os.Stderr)
	two := uint32(2)
	if _, err := srv.Describe(t.Context(), &agentv1.DescribeRequest{NumThreads: &two}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 10)
	id := uint64(0)
	monitor := func(ctx context.Context, name string) {
		id++
		req := &agentv1.MonitorRequest{CallId: id, Resource: &agentv1.Resource{Name: name}}
		go func() { _, err := srv.Monitor(ctx, req); done <- err }()
	}
	running := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			d, err := srv.Describe(t.Context(), &agentv1.DescribeRequest{})
			if err == nil && len(d.Running) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("running: %v, want %d", d.GetRunning(), want)
			}
		}
	}
	monitor(t.Context(), "a")
	<-s.enter
	monitor(t.Context(), "a")
	monitor(t.Context(), "b")
	if name := <-s.enter; name != "b" {
		t.Fatalf("%s entered beside a", name)
	}
	monitor(t.Context(), "c") // a third thread there is not
	running(4)
	if len(s.enter) != 0 {
		t.Fatalf("%s entered too", <-s.enter)
	}
	ctx, cancel := context.WithCancel(t.Context())
	monitor(ctx, "c")
	cancel() // while it waits for its turn
	if err := <-done; err == nil {
		t.Error("a cancelled call succeeded")
	}
	for range 4 {
		s.leave <- ""
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	running(0)
}
