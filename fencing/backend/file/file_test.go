package file

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"golang.org/x/sys/unix"
)

func labRoot(t testing.TB) paths.Root {
	t.Helper()
	root := paths.Root(t.TempDir())
	if err := root.MakeRunDirs(); err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteMarker(root, lab.Marker{Lab: "l", System: "A", Switch: "/s"}); err != nil {
		t.Fatal(err)
	}
	return root
}

func key(node fencing.NodeID) fencing.Key {
	return fencing.Key{Cluster: 7, Node: node, Incarnation: uint64(node) + 1}
}

func TestRefusedOutsideALab(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "p"), paths.Root(t.TempDir()))
	if !errors.Is(err, ErrNoLab) {
		t.Fatalf("got %v", err)
	}
}

// Of many systems that preempt each other at once, exactly one stays.
func TestPreemptIsAtomic(t *testing.T) {
	root, path := labRoot(t), filepath.Join(t.TempDir(), "point")
	const n = 16
	var victims []fencing.Key
	for i := range fencing.NodeID(n) {
		p, err := Open(path, root)
		if err != nil {
			t.Fatal(err)
		}
		if r := p.Do(t.Context(), fencing.Operation{Kind: fencing.OpRegisterAndIgnore, Key: key(i)}); r.Outcome != fencing.OK {
			t.Fatal(r)
		}
		victims = append(victims, key(i))
	}
	var wg sync.WaitGroup
	outcomes := make([]fencing.Result, n)
	for i := range fencing.NodeID(n) {
		wg.Go(func() {
			p, _ := Open(path, root)
			others := slices.DeleteFunc(slices.Clone(victims), func(k fencing.Key) bool { return k == key(i) })
			outcomes[i] = p.Do(context.Background(), fencing.Operation{Kind: fencing.OpPreempt, Key: key(i), Victims: others})
		})
	}
	wg.Wait()
	winners := 0
	for _, r := range outcomes {
		switch r.Outcome {
		case fencing.OK:
			winners++
		case fencing.Conflict:
		default:
			t.Error(r)
		}
	}
	if winners != 1 {
		t.Errorf("%d winners", winners)
	}
	text, _ := os.ReadFile(path)
	if keys, err := Decode(string(text)); err != nil || len(keys) != 1 {
		t.Errorf("left: %q, %v", text, err)
	}
}

// A system that is frozen while it holds the lock costs its point, not more:
// the operation ends with its deadline and was not done.
func TestHeldLockEndsWithTheDeadline(t *testing.T) {
	root, path := labRoot(t), filepath.Join(t.TempDir(), "point")
	p, err := Open(path, root)
	if err != nil {
		t.Fatal(err)
	}
	holder, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	if err := unix.Flock(int(holder.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if r := p.Do(ctx, fencing.Operation{Kind: fencing.OpRegisterAndIgnore, Key: key(1)}); r.Outcome != fencing.Failed {
		t.Fatal(r)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("the operation was done without the lock")
	}
}

// A point that cannot be read is no vote for anybody.
func TestBrokenFileFails(t *testing.T) {
	root, path := labRoot(t), filepath.Join(t.TempDir(), "point")
	p, err := Open(path, root)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"rubbish\n", key(1).String(), strings.Repeat("x", maxSize+1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := p.Do(t.Context(), fencing.Operation{Kind: fencing.OpReadKeys}); r.Outcome != fencing.Failed {
			t.Errorf("%.20q: %v", text, r)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(key(1).String() + "\n")
	f.Add("VF\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if keys, err := Decode(text); err == nil && Encode(keys) != text {
			t.Fatalf("%q reads as %v", text, keys)
		}
	})
}
