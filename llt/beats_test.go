package llt

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// stall stops the core of a node for a time, while what it lent goes on being
// sent, as by the shell's own thread. It says what the others said meanwhile.
func (w *network) stall(n *node, d time.Duration) string {
	w.log()
	n.paused = true
	begin := w.now
	for w.now.Sub(begin) < d {
		w.beat(n, w.now.Sub(begin))
		w.run(n.core.timers.Heartbeat)
	}
	n.paused = false
	return w.log()
}

// TestStalledCoreIsHeard: R19. While a core makes no step its peers see it on
// all links and call it STALLED; DOWN it is peerinact after its last step.
func TestStalledCoreIsHeard_R19(t *testing.T) {
	for _, profile := range []string{"default", "fast", "vcs"} {
		for _, key := range []Key{nil, testKey} {
			w := newNetwork(t, 3)
			for i := range 2 {
				cfg := w.config(i, 0, 2, 1, key)
				cfg.Timers, _ = Profile(profile)
				w.start(cfg)
			}
			timers := w.find(0).core.timers
			w.run(10 * timers.Heartbeat)
			if !w.allOpen() {
				t.Fatal("not connected")
			}
			a, b := w.find(0), w.find(1)
			for range 50 { // what was lent must not be too old after a lot of other traffic
				w.lend(b)
				w.send(1, 0, strings.Repeat("x", 1000))
				w.run(time.Millisecond)
			}
			w.lend(b)
			begin := w.now
			log := w.stall(b, timers.Stall+3*timers.Heartbeat)
			if !strings.Contains(log, "peer-stalled node=1 stalled=true") || strings.Contains(log, "link-trouble") || strings.Contains(log, "peer-down") {
				t.Fatalf("%s: a core stands still for %s:\n%s", profile, w.now.Sub(begin), log)
			}
			if p := a.core.Peers(w.now)[0]; p.State != StateOpen || !p.Stalled {
				t.Errorf("%s: the peer is %+v", profile, p)
			}
			w.step(b, CoreAlive{})
			w.lend(b)
			w.run(4 * timers.Heartbeat)
			mustLog(t, w, "peer-stalled node=1 stalled=false")
			if !w.allOpen() {
				t.Fatalf("%s: a short stall cost the connection", profile)
			}

			w.lend(b)
			begin = w.now
			log = w.stall(b, timers.PeerInact+2*timers.Heartbeat)
			if !strings.Contains(log, "peer-down node=1") || !strings.Contains(log, "reason=stalled") || strings.Contains(log, "link-trouble") {
				t.Fatalf("%s: no DOWN, or for another reason:\n%s", profile, log)
			}
			for line := range strings.Lines(log) {
				if at, _, _ := strings.Cut(line, " "); strings.Contains(line, "peer-down") {
					down, err := time.ParseDuration(at)
					if took := down - time.Duration(begin); err != nil || took < timers.PeerInact-timers.Heartbeat || took > timers.PeerInact+time.Millisecond {
						t.Errorf("%s: DOWN %s after the core's last step, peerinact is %s (%v)", profile, took, timers.PeerInact, err)
					}
				}
			}
			for range 1000 { // in the end it is silent: what was lent is finite
				if !w.beat(b, 0) {
					break
				}
			}
			if w.beat(b, 0) {
				t.Error("beats have no end")
			}
			w.step(b, CoreAlive{})
			w.lend(b)
			w.run(20 * timers.Heartbeat)
			if !w.allOpen() {
				t.Errorf("%s: no connection after the stall:\n%s", profile, w.log())
			}
		}
	}
}

// TestBeatsCount: whatever a core did since it lent beats, they count at its
// peers, or BeatsOld says that they would not.
func TestBeatsCount(t *testing.T) {
	changes := map[string]func(w *network, b *node){
		"much data":     func(w *network, b *node) { w.manyFrames(b) },
		"another epoch": func(w *network, b *node) { w.step(b, Reset{Node: 0}); w.run(time.Second) },
		"peer starts anew": func(w *network, b *node) {
			w.find(0).dead = true
			w.run(2 * time.Second)
			w.start(w.config(0, 1, 2, 0, testKey))
			w.run(time.Second)
		},
		"link flaps": func(w *network, b *node) {
			w.step(b, LinkDown{Link: 1})
			w.run(time.Second)
			w.step(b, LinkUp{Link: 1})
			w.run(time.Second)
		},
		"key changes": func(w *network, b *node) {
			for _, n := range w.nodes {
				w.step(n, InstallKey{Key: numberedKey(2)})
			}
			for _, n := range w.nodes {
				w.step(n, UseKey{ID: numberedKey(2).ID()})
			}
			for _, n := range w.nodes {
				w.step(n, DropKey{ID: testKey.ID()})
			}
		},
		"excluded and back": func(w *network, b *node) {
			w.step(b, SetExclude{Node: 0, Exclude: true})
			w.run(time.Second)
			w.step(b, SetExclude{Node: 0})
			w.run(2 * time.Second)
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			w, _, b := pair(t, 2, 0, testKey)
			w.lend(b)
			change(w, b)
			if !w.allOpen() {
				t.Fatal(w.log())
			}
			w.lend(b)
			a := w.find(0)
			before := counter(a.core, "Rcv heartbeats")
			w.fly = nil
			b.paused = true
			w.beat(b, 0)
			w.run(time.Millisecond)
			if got := counter(a.core, "Rcv heartbeats") - before; got != 2 {
				t.Errorf("%d of 2 heartbeats counted\n%s", got, w.log())
			}
		})
	}
}

// manyFrames lets a node send more frames than the window of its peers has
// room for, in several turns of less than a loan.
func (w *network) manyFrames(n *node) {
	for i := range 3000 {
		w.send(n.id, 0, fmt.Sprintf("%d %s", i, strings.Repeat("x", 1300)))
		w.run(200 * time.Microsecond)
		if i%50 == 0 {
			w.lend(n)
		}
	}
}

// TestBeatAllocatesNothing: heartbeats beside the core never wait for memory.
func TestBeatAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	w, _, b := pair(t, 2, 0, testKey)
	w.step(b, LendBeats{})
	buf := make([]byte, 0, BeatSize)
	if n := testing.AllocsPerRun(5, func() {
		if _, ok := b.beats.Frame(0, time.Millisecond, buf); !ok {
			t.Fatal("used up")
		}
	}); n != 0 {
		t.Errorf("%v allocations per heartbeat", n)
	}
}
