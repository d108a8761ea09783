package recorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/journal"
	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/engine"
)

const mainCF = `cluster c (
	)
system A (
	)
system B (
	)
type App (
	static str ArgList[] = { What }
	str What
	)
group g (
	SystemList = { A = 0, B = 1 }
	AutoStartList = { A }
	)
App a (
	)
`

// recorded is the journal of an engine that took some events, with a state that
// came from a peer in the middle.
func recorded(t *testing.T) []string {
	t.Helper()
	ring := journal.New(1000, 1<<20)
	ring.Start("had on A")
	eng := engine.New()
	now := vclock.Time(0)
	seq := uint64(0)
	keep := func(core string, ev fmt.Stringer) {
		now += 1e6
		ring.Add(now, core, ev, 100)
	}
	take := func(from string, ev engine.Event) {
		seq++
		pos := engine.Pos{Lineage: 7, View: 1, Seq: seq}
		keep(CoreEvent, Event{pos, from, ev})
		eng.Apply(pos, from, ev, nil)
		keep(CoreHash, HashOf(eng))
	}
	keep(CoreState, State{Anew: true, Snapshot: eng.Snapshot()})
	members := []engine.Member{{System: "A"}, {System: "B", Node: 1}}
	take("", engine.ViewChanged{Generation: 1, Members: members, Systems: members, FencingDisabled: true})
	take("A", engine.SystemJoined{System: "A", ConfigValid: true, Incarnation: 1})
	take("B", engine.SystemJoined{System: "B", Node: 1, ConfigValid: true, Incarnation: 1})
	take("A", engine.ConfigLoaded{System: "A", Main: "main.cf", Files: []engine.File{{Name: "main.cf", Text: mainCF}}})
	restored, err := engine.Restore(eng.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	eng = restored
	keep(CoreState, State{Anew: true, Snapshot: eng.Snapshot()})
	for i := range 5 {
		take("A", engine.Command{Kind: engine.CommandGroupFreeze, Group: "g", RequestID: fmt.Sprint("freeze", i), User: "root"})
		take("B", engine.Command{Kind: engine.CommandGroupUnfreeze, Group: "g", RequestID: fmt.Sprint("unfreeze", i), User: "root"})
	}
	keep(CoreState, State{Snapshot: eng.Snapshot()})
	path := filepath.Join(t.TempDir(), "had.journal")
	if err := ring.Save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

func play(t *testing.T, lines []string) Replayed {
	t.Helper()
	r, err := Replay(strings.NewReader(strings.Join(lines, "\n")+"\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReplay: the engine takes what the journal holds to equal states.
func TestReplay(t *testing.T) {
	lines := recorded(t)
	r := play(t, lines)
	if r.Difference != nil || r.Events != 14 || r.Hashes != 14 || r.States != 3 || r.Start != "had on A" || r.Last.Seq != 14 {
		t.Fatalf("%+v %v", r, r.Difference)
	}
	// Of a journal whose beginning was dropped the rest is played.
	r = play(t, append([]string{lines[0]}, lines[6:]...))
	if r.Difference != nil || r.Skipped != 2 || r.Events != 10 {
		t.Fatalf("without its beginning: %+v %v", r, r.Difference)
	}
	if _, err := Replay(strings.NewReader(strings.Join(lines[:2], "\n")), nil); !errors.Is(err, ErrNothing) {
		t.Fatalf("without a state: %v", err)
	}
}

// resum gives a changed line the sum of what it says now.
func resum(l string) string {
	head, rest, _ := strings.Cut(l, " {")
	text := "{" + rest[:strings.LastIndex(rest, " #")]
	return head + " " + line(rawText(text))
}

type rawText string

func (r rawText) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// TestTampered: whatever is changed, left out or put in is found at its place.
func TestTampered(t *testing.T) {
	lines := recorded(t)
	at := -1
	for i, l := range lines {
		if at < 0 && strings.Contains(l, "unfreeze2") {
			at = i
		}
	}
	with := func(change func(lines []string) []string) []string { return change(append([]string(nil), lines...)) }
	for name, c := range map[string]struct {
		lines []string
		line  int
		want  string
	}{
		"a byte": {with(func(l []string) []string { l[at] = strings.Replace(l[at], "root", "rood", 1); return l }), at + 1, "changed after had wrote it"},
		"a line and its sum": {with(func(l []string) []string {
			l[at] = resum(strings.Replace(l[at], "unfreeze2", "unfreezeX", 1))
			return l
		}), at + 2, "the hash of the state is"},
		"a hash and its sum": {with(func(l []string) []string {
			l[at+1] = resum(strings.Replace(l[at+1], `"hash":"`, `"hash":"0`, 1))
			return l
		}), at + 2, "the hash of the state is"},
		"an event less": {with(func(l []string) []string { return append(l[:at], l[at+1:]...) }), at + 1, "events are missing"},
		"the last state": {with(func(l []string) []string {
			l[len(l)-1] = resum(strings.Replace(l[len(l)-1], "unfreeze4", "unfreeze5", 1))
			return l
		}), len(lines), "the state is another one"},
		"half a line": {with(func(l []string) []string { l[at] = l[at][:len(l[at])-20]; return l }), at + 1, "not whole"},
	} {
		r := play(t, c.lines)
		if d := r.Difference; d == nil || d.Line != c.line || !strings.Contains(d.Text, c.want) {
			t.Errorf("%s: want %q at line %d, got %v", name, c.want, c.line, d)
		}
	}
}

// FuzzReplay: whatever a journal holds, replay ends without a panic.
func FuzzReplay(f *testing.F) {
	f.Add("# x\n1.0s engine-state {} #00000000\n")
	f.Add("# x\n1.0s engine {\"pos\":{}} #0\n2s engine-hash 5\n")
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := Replay(strings.NewReader(text), nil); err == nil && r.States == 0 && r.Difference == nil {
			t.Errorf("nothing to begin with, and no error: %+v", r)
		}
	})
}
