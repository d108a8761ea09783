package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/trigger"
	"golang.org/x/sys/unix"
)

// TestMain is hatrigger when the runner under test starts this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-json" {
		os.Exit(Main(paths.FromEnvironment(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// stage is a root with triggers and a runner of them.
type stage struct {
	t    *testing.T
	root paths.Root
	*Runner

	mu      sync.Mutex
	lines   []string
	awaited []Outcome
	news    chan struct{} // bound 1: something came
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{t: t, root: paths.Root(t.TempDir()), news: make(chan struct{}, 1)}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Runner = New(Config{Root: s.root, Program: self, Timeout: time.Minute,
		Line: func(severity, id, text string) {
			s.note(func() { s.lines = append(s.lines, severity+" "+id+" "+text) })
		},
		Awaited: func(o Outcome) { s.note(func() { s.awaited = append(s.awaited, o) }) },
	})
	t.Cleanup(s.Close)
	return s
}

func (s *stage) note(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// script writes the program of an event below VCS_HOME.
func (s *stage) script(path, text string) {
	s.t.Helper()
	full := filepath.Join(s.root.Home(), path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// file is where scripts of this stage may write.
func (s *stage) file(name string) string { return filepath.Join(string(s.root), name) }

func (s *stage) read(name string) string {
	text, _ := os.ReadFile(s.file(name))
	return string(text)
}

// until waits until look is satisfied, at most a minute: the machine may be
// busy.
func (s *stage) until(what string, look func() bool) {
	s.t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		s.mu.Lock()
		ok := look()
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-s.news:
		case <-again.C:
		case <-limit.C:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.t.Fatalf("no %s; the log:\n%s\nawaited: %v", what, strings.Join(s.lines, "\n"), s.awaited)
		}
	}
}

// untilLine waits for a line of the log that has all words.
func (s *stage) untilLine(words ...string) string {
	s.t.Helper()
	found := ""
	s.until("line with "+strings.Join(words, " … "), func() bool {
		for _, l := range s.lines {
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) }) {
				found = l
				return true
			}
		}
		return false
	})
	return found
}

func (s *stage) countLines(word string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, l := range s.lines {
		if strings.Contains(l, word) {
			n++
		}
	}
	return n
}

// TestArgumentsAndEnvironment: what a script sees.
func TestArgumentsAndEnvironment(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `echo "$# $*"; env | sort`)
	s.Run(trigger.Job{ID: 5, Event: "postonline", Args: []string{"0", "A", "web"}, Group: "web", Lineage: 9, View: 2, Seq: 33})
	s.untilLine("INFO V-16-6-15002", "executed "+filepath.Join(s.root.Triggers(), "postonline")+" 0 A web successfully")
	for _, want := range []string{
		"postonline: 3 0 A web", "VCS_HOME=" + s.root.Home(), "VCS_LOG=" + s.root.LogDir(), "VCS_CONF=" + s.root.ConfigDir(), "VCS_TRIGGER=postonline",
		"EVENKEEL_ROOT=" + string(s.root), "EVENKEEL_POSITION=9.2.33", "EVENKEEL_TRIGGER_ID=5", "EVENKEEL_GROUP=web", "PATH=" + filepath.Dir(s.cfg.Program) + ":/usr/local/sbin",
	} {
		s.untilLine("INFO V-16-6-90055", want)
	}
	if s.countLines("GOCOVERDIR") > 0 || s.countLines("EVENKEEL_AGENT_TOKEN") > 0 {
		t.Error("a trigger has inherited had's own environment")
	}
}

// TestMissing: said once for each event, whatever comes.
func TestMissing(t *testing.T) {
	s := newStage(t)
	for id := uint64(1); id <= 5; id++ {
		s.Run(trigger.Job{ID: id, Event: "resfault", Args: []string{"0", "A", "r", "ONLINE"}, Group: "g"})
	}
	s.Run(trigger.Job{ID: 6, Event: "preonline", Group: "g", Awaited: true})
	s.until("answer", func() bool { return len(s.awaited) == 1 })
	if o := s.awaited[0]; !o.Missing || o.Job.ID != 6 {
		t.Errorf("preonline is not there, and the answer is %+v", o)
	}
	if n := s.countLines("INFO V-16-6-15004 hatrigger:Failed to send trigger for resfault; script doesn't exist"); n != 1 {
		t.Errorf("the absence of resfault is said %d times", n)
	}
}

// TestFail: an exit code and a file that is no program are told, with the way
// to see what was run.
func TestFail(t *testing.T) {
	s := newStage(t)
	s.script("triggers/nofailover", "echo cannot mail >&2; exit 3")
	s.Run(trigger.Job{ID: 1, Event: "nofailover", Args: []string{"0", "A", "web"}, Group: "web"})
	s.untilLine("INFO V-16-6-90055", "nofailover: cannot mail")
	s.untilLine("ERROR V-16-6-90050", "nofailover 0 A web ended after", "with exit code 3")

	s.script("triggers/sysup", "exit 0")
	if err := os.Chmod(filepath.Join(s.root.Triggers(), "sysup"), 0o644); err != nil {
		t.Fatal(err)
	}
	s.Run(trigger.Job{ID: 2, Event: "sysup", Awaited: true})
	s.untilLine("ERROR V-16-6-15015", "sysup is not a trigger scripts directory or can not be executed")
	s.until("answer", func() bool { return len(s.awaited) == 1 })
	if s.awaited[0].Problem == "" {
		t.Error("what cannot be run counts as having run")
	}

	s.Run(trigger.Job{ID: 3, Event: "postonline", Group: "web", Path: "../../etc"})
	s.untilLine("ERROR V-16-6-15015", "leads out of "+s.root.Home())
	s.Run(trigger.Job{ID: 4, Event: "../had"})
	s.untilLine("ERROR V-16-6-15015", "no name of an event")
	s.script("triggers/sysjoin", "kill -9 $$")
	s.Run(trigger.Job{ID: 5, Event: "sysjoin"})
	s.untilLine("ERROR V-16-6-90050", "signal: killed")
}

// TestHang: a trigger that hangs, and what it has started, is ended at its
// timeout, also if it does not obey SIGTERM, and holds up no other group.
func TestHang(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `[ $3 = other ] && exit 0
trap '' TERM
sleep 1000 & echo $! >> `+s.file("pids")+`; echo $$ >> `+s.file("pids")+`
wait; wait; sleep 1000`)
	s.Run(trigger.Job{ID: 1, Event: "postonline", Args: []string{"0", "A", "web"}, Group: "web", Timeout: 2 * time.Second})
	s.until("hanging trigger", func() bool { return strings.Count(s.read("pids"), "\n") == 2 })
	s.Run(trigger.Job{ID: 2, Event: "postonline", Args: []string{"0", "A", "other"}, Group: "other"})
	s.untilLine("V-16-6-15002", "0 A other")
	s.untilLine("ERROR V-16-6-90051", "0 A web was ended after", "had not ended within 2s")
	s.until("end of all its processes", func() bool {
		for _, pid := range strings.Fields(s.read("pids")) {
			var n int
			fmt.Sscan(pid, &n)
			if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n)); err == nil && !strings.Contains(string(state), ") Z ") {
				return false
			}
		}
		return true
	})
}

// TestFlood: output is bounded in the log, and the program never notices.
func TestFlood(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `i=0; while [ $i -lt 3000 ]; do echo "line $i of a program that says far too much, again and again"; i=$((i+1)); done; echo done > `+s.file("done"))
	s.Run(trigger.Job{ID: 1, Event: "postonline", Args: []string{"0", "A", "web"}, Group: "web"})
	s.untilLine("INFO V-16-6-15002", "bytes of its output are not logged")
	if n := s.countLines("V-16-6-90055"); n < 100 || n > 400 {
		t.Errorf("%d lines of its output are logged", n)
	}
	if s.read("done") != "done\n" {
		t.Error("the program did not come to its end")
	}
}

// TestOrder: the triggers of one group run one after the other, in the order
// of their events, others beside them.
func TestOrder(t *testing.T) {
	s := newStage(t)
	s.script("triggers/resstatechange", `while [ ! -e `+s.file("go")+` ]; do sleep 0.05; done; echo "$3 $5" >> `+s.file("order"))
	s.script("triggers/postonline", `echo online >> `+s.file("order"))
	s.script("triggers/sysjoin", `echo join >> `+s.file("beside"))
	for i, state := range []string{"ONLINE", "OFFLINE", "FAULTED"} {
		s.Run(trigger.Job{ID: uint64(i + 1), Event: "resstatechange", Args: []string{"0", "A", "r", "", state}, Group: "web", Resource: "r"})
	}
	s.Run(trigger.Job{ID: 4, Event: "postonline", Group: "web"})
	s.Run(trigger.Job{ID: 5, Event: "sysjoin"})
	s.until("what runs beside", func() bool { return s.read("beside") == "join\n" })
	if got := s.read("order"); got != "" {
		t.Fatalf("overtaken: %q", got)
	}
	if err := os.WriteFile(s.file("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.until("order", func() bool { return s.read("order") == "r ONLINE\nr OFFLINE\nr FAULTED\nonline\n" })
}

// TestBound: beyond the bound the oldest waits and the log says so, but a
// start that waits for preonline is not held up.
func TestBound(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `echo x >> `+s.file("begun")+`; while [ ! -e `+s.file("go")+` ]; do sleep 0.1; done`)
	s.script("triggers/preonline", `exit 0`)
	for i := range parallel + 3 {
		s.Run(trigger.Job{ID: uint64(i + 1), Event: "postonline", Group: fmt.Sprint("g", i)})
	}
	s.untilLine("WARNING V-16-6-90052", fmt.Sprintf("%d triggers run", parallel))
	s.Run(trigger.Job{ID: 100, Event: "preonline", Group: "g1", Awaited: true})
	s.until("preonline", func() bool { return len(s.awaited) == 1 })
	if s.awaited[0].Problem != "" || s.awaited[0].Missing {
		t.Errorf("preonline: %+v", s.awaited[0])
	}
	s.until("beginning", func() bool { return strings.Count(s.read("begun"), "x") == parallel })
	if err := os.WriteFile(s.file("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.until("end of all", func() bool { return strings.Count(s.read("begun"), "x") == parallel+3 })
}

// What waits when had is killed is known to the next had, once; what has begun
// is not.
func TestLost(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `echo x >> `+s.file("begun")+`; while [ ! -e `+s.file("go")+` ]; do sleep 0.05; done`)
	for i := range 3 {
		s.Run(trigger.Job{ID: uint64(i + 9), Event: "postonline", Args: []string{"0", "A", fmt.Sprint("g", i/2)}, Group: fmt.Sprint("g", i/2), Seq: 7})
	}
	s.until("two to begin", func() bool { return s.read("begun") == "x\nx\n" })
	var lost []trigger.Job
	s.until("the one that waits to be written down", func() bool {
		var err error
		if lost, err = Lost(s.root); err != nil {
			t.Fatal(err)
		}
		return len(lost) > 0
	})
	if len(lost) != 1 || lost[0].ID != 10 || lost[0].String() != "postonline 0 A g0" || lost[0].Seq != 7 {
		t.Errorf("lost: %+v", lost)
	}
	if again, err := Lost(s.root); len(again) > 0 || err != nil {
		t.Errorf("told twice: %v %v", again, err)
	}
	if err := os.WriteFile(s.file("go"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s.until("all", func() bool { return s.read("begun") == "x\nx\nx\n" })
}

// TestFolderOfPrograms: T00a, T01b run in their order until one fails; a
// TriggerPath goes before the folder of all, if it has something.
func TestFolderOfPrograms(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postoffline/T10second", "echo second $3; exit 4")
	s.script("triggers/postoffline/T05first", "echo first $3")
	s.script("triggers/postoffline/T20third", "echo third $3")
	s.script("triggers/postoffline/README", "echo no program")
	s.Run(trigger.Job{ID: 1, Event: "postoffline", Args: []string{"0", "A", "web"}, Group: "web"})
	s.untilLine("ERROR V-16-6-90050", "T10second 0 A web", "exit code 4")
	s.script("bin/triggers/web/postonline", "echo of web")
	s.script("triggers/postonline", "echo of all")
	s.Run(trigger.Job{ID: 2, Event: "postonline", Group: "web", Path: "bin/triggers/web"})
	s.Run(trigger.Job{ID: 3, Event: "postonline", Group: "web", Path: "bin/triggers/nothing"})
	s.untilLine("postonline: of web")
	s.untilLine("postonline: of all")
	if s.countLines("third")+s.countLines("no program") > 0 {
		t.Error("a program ran that should not")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := slices.IndexFunc(s.lines, func(l string) bool { return strings.Contains(l, "first web") })
	second := slices.IndexFunc(s.lines, func(l string) bool { return strings.Contains(l, "second web") })
	if first < 0 || second < first {
		t.Errorf("order: %d, %d in\n%s", first, second, strings.Join(s.lines, "\n"))
	}
}

// TestClose: what waits still begins, what runs goes on without had, and is
// ended at its deadline.
func TestClose(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postoffline", `echo $$ > `+s.file("pid")+`; echo begun; sleep 3; echo a word into nothing; echo over > `+s.file("over"))
	s.script("triggers/postonline", `echo $$ > `+s.file("hang")+`; sleep 1000`)
	s.Run(trigger.Job{ID: 1, Event: "postoffline", Group: "web"})
	s.Run(trigger.Job{ID: 2, Event: "postonline", Group: "other", Timeout: 4 * time.Second})
	begin := time.Now()
	s.Close()
	if took := time.Since(begin); took > closeTime {
		t.Errorf("Close took %s", took)
	}
	s.until("end of what ran", func() bool { return s.read("over") == "over\n" })
	var pid int
	s.until("pid", func() bool { n, _ := fmt.Sscan(s.read("hang"), &pid); return n == 1 })
	s.until("end of what hangs", func() bool { return unix.Kill(pid, 0) != nil || zombie(pid) })
}

func zombie(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(text), ") Z ")
}

// TestHatrigger: a person may try a program out with it.
func TestHatrigger(t *testing.T) {
	s := newStage(t)
	s.script("triggers/postonline", `echo "online: $*"`)
	for _, c := range []struct {
		words []string
		code  int
		want  string
	}{
		{[]string{"-postonline", "0", "A", "web"}, 0, "online: 0 A web\nhatrigger:hatrigger executed " + filepath.Join(s.root.Triggers(), "postonline") + " 0 A web successfully\n"},
		{[]string{"-resfault", "0"}, 3, "there is no trigger resfault in " + s.root.Triggers()},
		{[]string{"postonline"}, 2, "name an event, such as -postonline"},
		{[]string{"-timeout", "soon", "-postonline"}, 2, `-timeout "soon": say how long`},
		{nil, 2, "usage: hatrigger"},
	} {
		var out strings.Builder
		if code := Main(s.root, c.words, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("hatrigger %v: exit code %d, not %d:\n%s", c.words, code, c.code, out.String())
		}
	}
}
