package realtime

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that a real-time daemon starts has ordinary priority from its
// first instruction, and the daemon keeps its own.
func TestChildrenAreOrdinary(t *testing.T) {
	if os.Getenv("REALTIME_CHILD") != "" {
		Take(slog.New(slog.NewTextHandler(io.Discard, nil)), Observer)
		cat := exec.Command("cat", "/proc/self/stat")
		out, err := cat.StdoutPipe()
		if err == nil {
			err = Ordinary(cat.Start)
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(out)
		if err = errors.Join(err, cat.Wait()); err != nil {
			t.Fatal(err)
		}
		// Fields 40 and 41 of proc_pid_stat(5): real-time priority and policy.
		fields := strings.Fields(string(text))
		if fields[39] != "0" || fields[40] != "0" {
			t.Errorf("the child has priority %s, policy %s", fields[39], fields[40])
		}
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/stat")
			if err != nil {
				continue // a thread that ended
			}
			_, after, _ := strings.Cut(string(text), ") ")
			if fields := strings.Fields(after); fields[37] != "10" || fields[38] != "2" {
				t.Errorf("thread %s has priority %s, policy %s", task.Name(), fields[37], fields[38])
			}
		}
		return
	}
	var limit unix.Rlimit
	if os.Geteuid() != 0 && (unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit) != nil || limit.Cur < uint64(Observer)) {
		t.Skip("left out: real-time priority is not permitted for this user")
	}
	child := exec.Command(os.Args[0], "-test.run", "^TestChildrenAreOrdinary$")
	child.Env = append(os.Environ(), "REALTIME_CHILD=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
