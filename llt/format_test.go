package llt

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"github.com/evenkeel/evenkeel/llt/frame"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

var flagRecord = flag.String("llt.record", "", "record a session of this build into this file, for later builds to be tested with")

// tapeLine is one line of what one system lived: what it was told, frames as
// they were on the wire, and the messages that it gave.
type tapeLine struct {
	At    vclock.Time     `json:"at,omitempty"`
	Start *Config         `json:"start,omitempty"`
	Event string          `json:"event,omitempty"`
	Data  json.RawMessage `json:"data,omitempty"`
	Gave  string          `json:"gave,omitempty"`
}

// gave is what the user of the transport notices of an effect.
func gave(e Effect) string {
	switch e := e.(type) {
	case PeerUp, PeerDown:
		return e.String()
	case *Deliver:
		return fmt.Sprintf("%s %x", e, e.Msg)
	}
	return ""
}

var eventTypes = map[string]reflect.Type{}

func init() {
	for _, ev := range []any{Wake{}, FrameIn{}, LinkUp{}, LinkDown{}, Send{}, CoreAlive{}, Stop{}} {
		eventTypes[reflect.TypeOf(ev).Name()] = reflect.TypeOf(ev)
	}
}

// recordSession plays discovery, data of all sizes both ways over two links,
// the loss of a link, a restart of the peer, its farewell.
func recordSession(w *network, cfg func(id, start int) Config) {
	w.start(cfg(1, 0))
	w.start(cfg(0, 0))
	w.run(300 * time.Millisecond)
	talk := func() {
		for i, size := range []int{0, 1, 40, 700, 5000, 3, 20000, 64} {
			w.send(0, 1, strings.Repeat(string(rune('a'+i)), size))
			w.send(1, 0, strings.Repeat(string(rune('A'+i)), size))
			w.run(3 * time.Millisecond)
		}
		w.run(100 * time.Millisecond)
	}
	talk()
	w.setCut(0, 1, 0, true)
	w.send(0, 1, "while a link is cut")
	w.run(800 * time.Millisecond)
	talk()
	w.setCut(0, 1, 0, false)
	w.run(300 * time.Millisecond)
	w.find(0).dead = true
	w.run(1500 * time.Millisecond)
	w.start(cfg(0, 1))
	w.run(300 * time.Millisecond)
	talk()
	w.step(w.find(0), Stop{})
	w.run(100 * time.Millisecond)
}

// TestRecord writes tapes of this build when asked to: before the layout of
// frames changes, so that the next build is tested with what this one says.
func TestRecord(t *testing.T) {
	if *flagRecord == "" {
		t.Skip("records only when asked to, with -llt.record=FILE")
	}
	f, err := os.Create(*flagRecord)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	out := json.NewEncoder(z)
	for _, key := range []Key{nil, Key(strings.Repeat("k", 32))} {
		w := newNetwork(t, 1)
		w.tape = func(n *node, ev Event, effects []Effect) {
			if n.id != 1 {
				return
			}
			data, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			lines := []tapeLine{{At: w.now, Event: reflect.Indirect(reflect.ValueOf(ev)).Type().Name(), Data: data}}
			for _, e := range effects {
				if g := gave(e); g != "" {
					lines = append(lines, tapeLine{Gave: g})
				}
			}
			for _, l := range lines {
				if err := out.Encode(l); err != nil {
					t.Fatal(err)
				}
			}
		}
		recordSession(w, func(id, start int) Config {
			cfg := w.config(id, start, 2, 0, key)
			if id == 1 {
				if err := out.Encode(tapeLine{At: w.now, Start: &cfg}); err != nil {
					t.Fatal(err)
				}
			}
			return cfg
		})
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOlderBuild feeds this build's core the frames of an older build, sealed
// and in the clear, as they were recorded: the same connections open and end,
// and the same messages arrive.
func TestOlderBuild(t *testing.T) {
	f, err := os.Open("testdata/recorded/format1.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var core *Core
	var want, got []string
	sessions, frames := 0, 0
	in := bufio.NewScanner(z)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l tapeLine
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		switch {
		case l.Start != nil:
			sessions++
			if core, err = New(*l.Start); err != nil {
				t.Fatal(err)
			}
		case l.Gave != "":
			want = append(want, l.Gave)
		default:
			v := reflect.New(eventTypes[l.Event])
			if err := json.Unmarshal(l.Data, v.Interface()); err != nil {
				t.Fatal(err)
			}
			ev, ok := v.Elem().Interface().(Event)
			if !ok { // an event of each frame or message is a pointer
				ev = v.Interface().(Event)
			}
			if _, ok := ev.(*FrameIn); ok {
				frames++
			}
			for _, e := range core.Step(l.At, ev, nil) {
				if g := gave(e); g != "" {
					got = append(got, g)
				}
			}
		}
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if sessions != 2 || len(want) < 50 {
		t.Fatalf("the tape holds %d sessions and %d messages", sessions, len(want))
	}
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("number %d:\nthen %.200s\nnow  %.200s", i, at(want, i), at(got, i))
		}
	}
	t.Logf("%d frames of the older build, %d messages and connections as then", frames, len(got))
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "nothing"
}

// TestBuilds: systems of an older, this, and a newer build that still speaks
// what this one does work together; each is told what the others' users of
// messages speak; the older one says nothing of formats and takes no notice of
// them. A build that has nothing in common is told of, and no
// connection with it opens.
func TestBuilds(t *testing.T) {
	w := newNetwork(t, 3)
	builds := []Config{
		{Frames: Formats{Lowest: 1, Highest: 1}},
		{Messages: Formats{Lowest: 1, Highest: 2}},
		{Frames: Formats{Lowest: 1, Highest: 8}, Messages: Formats{Lowest: 2, Highest: 7}},
		{Frames: Formats{Lowest: 9, Highest: 9}, Messages: Formats{Lowest: 9, Highest: 9}},
	}
	for id, b := range builds {
		cfg := w.config(id, 0, 2, 0, Key(strings.Repeat("k", 32)))
		cfg.Frames, cfg.Messages = b.Frames, b.Messages
		w.start(cfg)
	}
	w.run(2 * time.Second)
	for i := range 3 {
		for j := range 3 {
			if i != j && w.find(i).conns[NodeID(j)] == 0 {
				t.Errorf("%d has no connection with %d", i, j)
			}
		}
	}
	for i := 1; i < 3; i++ {
		if w.find(i).conns[3] != 0 || w.find(3).conns[NodeID(i)] != 0 {
			t.Errorf("%d has a connection with a build that speaks nothing it does", i)
		}
	}
	w.send(0, 1, "old to new")
	w.send(1, 0, strings.Repeat("new to old", 1000))
	w.run(200 * time.Millisecond)
	for id := range builds { // what a newer build says is no broken frame, and neither is a connection that opens
		if n := counter(w.find(id).core, "Rcv malformed packet"); n != 0 {
			t.Errorf("%d counts %d malformed packets", id, n)
		}
	}
	log := w.log()
	for _, want := range []string{
		`n1 peer-up node=2 incarnation=200 conn=`, ` messages=2-7`, ` messages=1-2`,
		`n1 note formats-differ node=3 its-frames=9-9 own-frames=1-2 upgrade="this system first"`,
		`n3 note formats-differ node=1 its-frames=1-2 own-frames=9-9 upgrade="that system first"`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("not said: %s in\n%s", want, log)
		}
	}
}

// TestFormatsLost: what a build speaks is heard in the end, however long the
// frames that say so were lost; until then the peer counts as one of the first
// release.
func TestFormatsLost(t *testing.T) {
	w := newNetwork(t, 3)
	size := frame.HeaderSize + len(frame.Formats{}.Append(nil)) + frame.TagSize
	lost := 0
	w.pass = func(_ LinkID, n int) bool {
		if n == size {
			lost++
		}
		return n != size
	}
	for id := range 2 {
		cfg := w.config(id, 0, 2, 0, Key(strings.Repeat("k", 32)))
		cfg.Messages = Formats{Lowest: 1, Highest: 2}
		w.start(cfg)
	}
	w.run(10 * time.Second)
	if log := w.log(); !w.allOpen() || lost < 2*formatsTold || strings.Contains(log, "messages=1-2") {
		t.Fatalf("%d frames lost, log:\n%s", lost, log)
	}
	w.pass = nil
	w.run(5 * time.Second)
	log := w.log()
	for _, want := range []string{"n0 peer-formats node=1 conn=", "n1 peer-formats node=0 conn="} {
		if !strings.Contains(log, want) {
			t.Errorf("never heard: %s in\n%s", want, log)
		}
	}
}
