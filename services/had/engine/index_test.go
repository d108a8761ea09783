package engine

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/services/had/decision"
)

// TestMain lets every test of this package, each story and each random run,
// compare the index with the state after every event (E195); benchmarks do
// without.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		audit = func(e *Engine) {
			checkIndex(e)
			checkDecisions(e)
		}
	}
	code := m.Run()
	if testing.Verbose() && audit != nil {
		fmt.Println(repeatedText())
	}
	os.Exit(code)
}

// checkDecisions decides again what the event decided, on the inputs as they
// come back from a snapshot (E196).
func checkDecisions(e *Engine) {
	for i := len(e.st.Why) - 1; i >= 0 && e.st.Why[i].Pos == e.st.Pos; i-- {
		text, err := json.Marshal(e.st.Why[i])
		if err != nil {
			panic(err)
		}
		var x Explanation
		if err := json.Unmarshal(text, &x); err != nil {
			panic(err)
		}
		in, err := x.On.Inputs()
		if err != nil || in == nil {
			panic("engine: a decision without inputs: " + string(text))
		}
		if !x.Repeatable() {
			panic("engine: deciding again on the stored inputs gives another decision: " + string(text))
		}
		repeatedLock.Lock()
		repeated[in.Kind()]++
		repeatedLock.Unlock()
	}
}

// repeatedText says how many decisions were taken again.
func repeatedText() string {
	sum, out := 0, ""
	for _, kind := range slices.Sorted(maps.Keys(repeated)) {
		sum += repeated[kind]
		out += fmt.Sprintf("\n  %-18s %d", kind, repeated[kind])
	}
	return fmt.Sprintf("%d decisions of %d kinds taken again on their stored inputs, all the same:%s", sum, len(repeated), out)
}

// repeated counts the decisions that were taken again, by kind.
var (
	repeatedLock sync.Mutex
	repeated     = map[decision.Kind]int{}
)

func checkIndex(e *Engine) {
	bad := func(format string, args ...any) { panic("engine: index: " + fmt.Sprintf(format, args...)) }
	fresh := &Engine{st: e.st, mod: e.mod, dirty: map[string]bool{}}
	fresh.reindex()
	fresh.refresh()
	if !slices.Equal(fresh.systemNames(), e.systemNames()) {
		bad("systems are %v, not %v", fresh.systemNames(), e.systemNames())
	}
	for _, r := range e.st.Requests {
		if i := e.requestAt(r.RequestID); i < 0 || e.st.Requests[i].RequestID != r.RequestID {
			bad("request %s is at %d", r.RequestID, i)
		}
	}
	if len(e.ix.requests) > len(e.st.Requests) {
		bad("%d requests, %d kept", len(e.ix.requests), len(e.st.Requests))
	}
	if e.mod == nil {
		return
	}
	if e.ix.of != e.mod {
		bad("left stale")
	}
	e.refresh()
	for _, g := range e.mod.groups {
		for place, p := range g.list {
			a, b := e.ix.spots[g.first+place], fresh.ix.spots[g.first+place]
			if a.flags&^spotMarks != b.flags&^spotMarks {
				bad("group %s on %s is %b, not %b: it changed and was not touched", g.name, p.System, a.flags, b.flags)
			}
			if a.on != b.on || a.on != e.st.Groups[g.name].On[p.System] || a.sys != e.st.Systems[p.System] {
				bad("group %s on %s is another", g.name, p.System)
			}
			if e.ix.on[p.System].sys != a.sys || e.ix.placed[g.first+place] != e.ix.on[p.System].num {
				bad("a report from %s would be taken for another's", p.System)
			}
			if a.in.carried != b.in.carried || a.in.frozen != e.mod.frozenSystem(p.System) {
				bad("system %s carries %d, not %d; frozen %t", p.System, a.in.carried, b.in.carried, a.in.frozen)
			}
			if fresh.ix.waiting[g.num] && !e.ix.waiting[g.num] {
				bad("group %s waits for something", g.name)
			}
			if text := e.groupText(g, p.System); a.flags&spotUntold == 0 && text != orOffline(a.on.Shown) {
				bad("group %s on %s is %s, shown is %s", g.name, p.System, text, a.on.Shown)
			}
			for _, r := range g.resources {
				if i := e.at(r, p.System); a.flags&spotUntold == 0 && (i.Probed || i.Shown != "") && e.stateText(r, i) != i.Shown {
					bad("resource %s on %s is %s, shown is %s", r.name, p.System, e.stateText(r, i), i.Shown)
				}
				if e.mod.resource(r.name) != r {
					bad("resource %s is not found by its name", r.name)
				}
				if e.at(r, p.System) != e.st.Resources[r.name][p.System] {
					bad("resource %s on %s is another", r.name, p.System)
				}
				if e.ix.homes[r.num] != fresh.ix.homes[r.num] {
					bad("resource %s was online at %d, not %d", r.name, e.ix.homes[r.num], fresh.ix.homes[r.num])
				}
			}
			if !slices.Contains(e.groupsOn(p.System), g.part(p.System)) {
				bad("group %s is not on %s", g.name, p.System)
			}
		}
		if a, b := e.ix.deadlines.at[g.num], fresh.ix.deadlines.at[g.num]; a != b {
			bad("group %s waits until %s, not %s", g.name, b, a)
		}
	}
	if at := fresh.nextWish(); at != e.st.Wish {
		bad("deadline is %s, not %s", at, e.st.Wish)
	}
}

// TestDeadlines compares the heap with a plain search.
func TestDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const n = 12
		d, plain := newDeadlines(n), map[int]time.Duration{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			i := rapid.IntRange(0, n-1).Draw(t, "number")
			at := time.Duration(rapid.IntRange(0, 9).Draw(t, "at"))
			d.set(i, at)
			if plain[i] = at; at == 0 {
				delete(plain, i)
			}
			var want time.Duration
			for _, v := range plain {
				if want == 0 || v < want {
					want = v
				}
			}
			if _, got := d.first(); got != want {
				t.Fatalf("first is %d, not %d, of %v", got, want, plain)
			}
			if len(d.heap) != len(plain) {
				t.Fatalf("%d kept of %v", len(d.heap), plain)
			}
		}
	})
}

// TestClone: a copy has the same hash, and shares nothing that may change.
func TestClone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			w.step()
		}
		c := w.e.Clone()
		if c.Hash() != w.e.Hash() {
			t.Fatalf("the copy differs:\n%s\n%s", c.Snapshot(), w.e.Snapshot())
		}
		mine := map[uintptr]string{}
		pointers(reflect.ValueOf(&w.e.st).Elem(), "state", func(p uintptr, path string) { mine[p] = path })
		pointers(reflect.ValueOf(&c.st).Elem(), "state", func(p uintptr, path string) {
			if mine[p] != "" {
				t.Fatalf("%s of the copy is %s of the original", path, mine[p])
			}
		})
	})
}

// pointers visits what is reached through pointers, maps and slices, without
// what is never changed once it is there.
func pointers(v reflect.Value, path string, visit func(uintptr, string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Pointer(), path)
			pointers(v.Elem(), path, visit)
		}
	case reflect.Map:
		if !v.IsNil() {
			visit(v.Pointer(), path)
			for i := v.MapRange(); i.Next(); {
				pointers(i.Value(), path+"["+i.Key().String()+"]", visit)
			}
		}
	case reflect.Slice:
		if v.Len() > 0 {
			visit(v.Pointer(), path)
		}
		switch v.Type().Elem() {
		case reflect.TypeFor[Explanation](), reflect.TypeFor[CommandResult](), reflect.TypeFor[File]():
			return
		}
		for i := range v.Len() {
			pointers(v.Index(i), fmt.Sprintf("%s[%d]", path, i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			pointers(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	}
}
