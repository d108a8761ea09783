package messagelog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func open(t *testing.T, prefix string) *Writer {
	t.Helper()
	w, err := Open(prefix)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func last(t *testing.T, prefix string, f Filter, n int) []string {
	t.Helper()
	all, err := Last(t.Context(), prefix, f, n)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, r := range all {
		texts = append(texts, r.Text)
	}
	return texts
}

// TestLines: VCS's line and its JSON, and nobody forges a line.
func TestLines(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	w := open(t, prefix)
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.Local)
	w.Write(Record{Time: at, Severity: "ERROR", ID: "V-16-1-10205", Host: "sysA", System: "sysB", Group: "app", View: 3, Seq: 9, Text: "Group app is faulted on system sysB"})
	w.Write(Record{Time: at, Severity: "NOTICE", ID: "V-16-1-10619", Host: "sysA", Head: "sysA", Text: "two\n2026/03/04 lines"})
	w.Write(Record{Time: at, Severity: "INFO", ID: "V-16-2-90200", Host: "sysA", Head: "sysA", Agent: "IP", Resource: "ip1", Entry: "monitor", Text: "hello"})
	w.Close()
	want := "2026/03/04 05:06:07 VCS ERROR V-16-1-10205 Group app is faulted on system sysB\n" +
		"2026/03/04 05:06:07 VCS NOTICE V-16-1-10619 (sysA) two 2026/03/04 lines\n" +
		"2026/03/04 05:06:07 VCS INFO V-16-2-90200 (sysA) IP:ip1:monitor:hello\n"
	if got := content(t, prefix+"_A.log"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	first, _, _ := strings.Cut(content(t, prefix+"_A.json"), "\n")
	for _, part := range []string{`"schema":"evenkeel.log.v1"`, `"system":"sysB"`, `"group":"app"`, `"view":3`, `"seq":9`, `"id":"V-16-1-10205"`} {
		if !strings.Contains(first, part) {
			t.Errorf("%s lacks %s", first, part)
		}
	}
}

// TestRotation: at the size A becomes B, B becomes C, what was C is gone, and
// reading goes over all three.
func TestRotation(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	w := open(t, prefix)
	w.SetSize(2000)
	for i := range 200 {
		w.Write(Record{Severity: "INFO", ID: "V-16-1-1", Host: "sysA", Text: fmt.Sprintf("line %03d", i)})
	}
	w.Close()
	for _, letter := range []string{"A", "B", "C"} {
		for _, suffix := range []string{".log", ".json"} {
			if st, err := os.Stat(prefix + "_" + letter + suffix); err != nil || st.Size() > 2300 {
				t.Errorf("%s%s: %v, %v", letter, suffix, st, err)
			}
		}
	}
	all := last(t, prefix, Filter{}, 0)
	if n := len(all); n < 20 || n == 200 || all[n-1] != "line 199" {
		t.Fatalf("%d lines: %v", n, all)
	}
	for i := range all {
		if want := fmt.Sprintf("line %03d", 200-len(all)+i); all[i] != want {
			t.Errorf("line %d is %q, want %q", i, all[i], want)
		}
	}
	if got := last(t, prefix, Filter{}, 3); fmt.Sprint(got) != "[line 197 line 198 line 199]" {
		t.Errorf("the last three are %v", got)
	}
}

func TestFilter(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	w := open(t, prefix)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local)
	for i, r := range []Record{
		{Severity: "INFO", Group: "app", Text: "0"}, {Severity: "ERROR", Group: "web", System: "sysB", Text: "1"},
		{Severity: "CRITICAL", Resource: "ip", Group: "app", Text: "2"}, {Severity: "WARNING", ID: "V-16-1-10205", Text: "3"},
	} {
		r.Time = at.Add(time.Duration(i) * time.Minute)
		w.Write(r)
	}
	w.Close()
	for _, c := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "[0 1 2 3]"},
		{Filter{Group: "app"}, "[0 2]"},
		{Filter{Resource: "ip"}, "[2]"},
		{Filter{System: "sysB"}, "[1]"},
		{Filter{ID: "V-16-1-10205"}, "[3]"},
		{Filter{Severity: "ERROR"}, "[1 2]"},
		{Filter{Severity: "WARNING", Group: "app"}, "[2]"},
		{Filter{Since: at.Add(2 * time.Minute)}, "[2 3]"},
		{Filter{Until: at.Add(time.Minute)}, "[0 1]"},
		{Filter{Group: "none"}, "[]"},
	} {
		if got := fmt.Sprint(last(t, prefix, c.f, 0)); got != c.want {
			t.Errorf("%+v: %s, want %s", c.f, got, c.want)
		}
	}
	if got := last(t, filepath.Join(t.TempDir(), "none"), Filter{}, 0); got != nil {
		t.Errorf("no log gives %v", got)
	}
}

// TestLongLines: reading from the end copes with lines longer than its blocks
// and with the rest of a torn write.
func TestLongLines(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	w := open(t, prefix)
	long := strings.Repeat("x", 3*block+17)
	for _, text := range []string{"first", long, "last"} {
		w.Write(Record{Severity: "INFO", Text: text})
	}
	w.Close()
	file, err := os.OpenFile(prefix+"_A.json", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(file, `{"schema":"evenkeel.log.v1","time":"20`)
	file.Close()
	if got := last(t, prefix, Filter{}, 0); len(got) != 3 || got[0] != "first" || got[1] != long || got[2] != "last" {
		t.Errorf("%d lines", len(got))
	}
}

// disk is one that fails or hangs when it is told to.
type disk struct {
	full    chan bool // bound 1: the state that the next write finds
	isFull  bool
	hang    chan struct{}
	written strings.Builder
}

func (d *disk) Write(p []byte) (int, error) {
	if d.hang != nil {
		<-d.hang
	}
	select {
	case d.isFull = <-d.full:
	default:
	}
	if d.isFull {
		n, _ := d.written.Write(p[:len(p)/2])
		return n, syscall.ENOSPC
	}
	return d.written.Write(p)
}

func (d *disk) Close() error { return nil }

// TestFullDisk: what a full disk does not take is counted and told of when
// there is room again; half a line spoils no other.
func TestFullDisk(t *testing.T) {
	text, structured := &disk{full: make(chan bool, 1)}, &disk{full: make(chan bool, 1)}
	w := newWriter("/none", func(path string) (io.WriteCloser, int64, error) {
		if strings.HasSuffix(path, ".json") {
			return structured, 0, nil
		}
		return text, 0, nil
	})
	a, b := w.file(".log"), w.file(".json")
	step := func(n int) {
		w.both(a, b, Record{Severity: "INFO", ID: "V-16-1-1", Host: "sysA", Text: fmt.Sprintf("line %d", n)})
		if n := w.lost.Swap(0); n > 0 {
			w.tell(a, b, "sysA", n)
		}
	}
	step(1)
	text.full <- true
	step(2)
	step(3)
	text.full <- false
	step(4)
	got := text.written.String()
	for _, want := range []string{"line 1\n", "line 4\n", "VCS WARNING V-16-1-10196 (sysA) 2 lines of this log were lost"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log lacks %q:\n%s", want, got)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		if strings.Count(line, "VCS ") > 1 {
			t.Errorf("two records in one line: %q", line)
		}
	}
}

// TestHangingDisk: nobody waits for a disk that hangs, neither who writes nor
// who closes; what found no room is counted.
func TestHangingDisk(t *testing.T) {
	d := &disk{hang: make(chan struct{})}
	w := newWriter("/none", func(string) (io.WriteCloser, int64, error) { return d, 0, nil })
	go w.run(w.file(".log"), w.file(".json"))
	const many = bound + 1000
	for i := range many {
		w.Write(Record{Severity: "INFO", Text: fmt.Sprint(i)})
	}
	if n := w.lost.Load(); n < many-bound-1 || n > many-bound {
		t.Errorf("%d lost", n)
	}
	began := time.Now()
	w.Close()
	if took := time.Since(began); took > closePatience+5*time.Second {
		t.Errorf("closing took %v", took)
	}
	close(d.hang)
	<-w.done
	if !strings.Contains(d.written.String(), "lines of this log were lost") {
		t.Error("the log does not say that lines were lost")
	}
}

func TestRealFullDisk(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	if err := os.Symlink("/dev/full", prefix+"_A.log"); err != nil {
		t.Fatal(err)
	}
	w := open(t, prefix)
	w.Write(Record{Severity: "INFO", Text: "no room"})
	w.Close()
	if w.lost.Load() == 0 {
		t.Error("nothing was counted as lost")
	}
}

// TestFollow: new lines come, over a rotation, each once and in order.
func TestFollow(t *testing.T) {
	prefix := filepath.Join(t.TempDir(), "engine")
	w := open(t, prefix)
	w.SetSize(2500)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := make(chan string, 1000) // bound: more than are written
	ended := make(chan error, 1)   // one result
	enough := errors.New("enough")
	go func() {
		ended <- Follow(ctx, prefix, Filter{Group: "app"}, func(r Record) error {
			got <- r.Text
			if r.Text == "last" {
				return enough
			}
			return nil
		})
	}()
	// Follow begins where the file ends when it looks first: write until
	// something comes.
	for n := 0; len(got) == 0; n++ {
		w.Write(Record{Severity: "INFO", Group: "app", Text: "warm up"})
		select {
		case <-ctx.Done():
			t.Fatal("nothing came")
		case <-time.After(10 * time.Millisecond): // pace of the writer, not a wait for an event
		}
	}
	for i := range 15 {
		w.Write(Record{Severity: "INFO", Group: "app", Text: fmt.Sprint(i)})
		w.Write(Record{Severity: "INFO", Group: "web", Text: "other"})
	}
	w.Write(Record{Severity: "INFO", Group: "app", Text: "last"})
	if err := <-ended; err != enough {
		t.Fatal(err)
	}
	w.Close()
	close(got)
	next := 0
	for text := range got {
		switch text {
		case "warm up", "last":
		case fmt.Sprint(next):
			next++
		default:
			t.Fatalf("%q came, %d was due", text, next)
		}
	}
	if next != 15 {
		t.Errorf("%d came", next)
	}
}

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	w := open(t, filepath.Join(dir, "IP"))
	log := slog.New(NewHandler(w, "sysA", "IP"))
	log.With("resource", "ip1").Warn("address is gone", "entry_point", "monitor", "address", "10.0.0.1", "why", "no device")
	log.Debug("not written")
	w.Close()
	if got, want := content(t, filepath.Join(dir, "IP_A.log")), `VCS WARNING V-16-2-90200 (sysA) IP:ip1:monitor:address is gone address=10.0.0.1 why="no device"`+"\n"; !strings.HasSuffix(got, want) || strings.Contains(got, "not written") {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Agents(dir); fmt.Sprint(got) != "[IP]" {
		t.Errorf("agents %v", got)
	}
}
