// Package file is a coordination point in a plain file, for labs on one
// machine only: a file is a vote only if all systems see the same one at once
// and nobody who lost can reach behind the lock. It is refused where the lab's
// marker is missing.
//
// The file holds one key a line, sorted. Every operation takes the lock of
// FILE.lock, applies fencing.Apply, and replaces the file by rename, so a
// reader or a killed writer never leaves half of it. Nothing is fsynced: the
// machine that would lose the file is the machine of the whole lab.
package file

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/fencing"
	"github.com/evenkeel/evenkeel/internal/lab"
	"github.com/evenkeel/evenkeel/internal/paths"
	"golang.org/x/sys/unix"
)

// maxSize bounds a point file: 64 systems of many clusters need far less.
const maxSize = 1 << 20

// lockRetry is the pause between attempts at a lock that somebody holds.
const lockRetry = 2 * time.Millisecond

// ErrNoLab says that file points are refused because this is no lab.
var ErrNoLab = errors.New("coordination points in plain files are for one-machine labs only")

// Point is one coordination point. It is safe for concurrent use.
type Point struct{ path string }

// Open returns the point in the file; the file need not exist yet, its
// directory must. The error matches ErrNoLab where the lab's marker is missing.
func Open(path string, root paths.Root) (*Point, error) {
	if !lab.InLab(root) {
		return nil, fmt.Errorf("open coordination point file:%s: %w (%s does not exist)", path, ErrNoLab, root.LabMarker())
	}
	if st, err := os.Stat(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("open coordination point file:%s: %w", path, err)
	} else if !st.IsDir() {
		return nil, fmt.Errorf("open coordination point file:%s: %s is no directory", path, filepath.Dir(path))
	}
	return &Point{path: path}, nil
}

// Do carries out one operation, atomically. It ends when ctx does; the result
// is then Failed, and the operation was not done.
func (p *Point) Do(ctx context.Context, op fencing.Operation) fencing.Result {
	result, err := p.do(ctx, op)
	if err != nil {
		return fencing.Result{Outcome: fencing.Failed, Detail: err.Error()}
	}
	return result
}

func (p *Point) do(ctx context.Context, op fencing.Operation) (fencing.Result, error) {
	unlock, err := p.lock(ctx)
	if err != nil {
		return fencing.Result{}, err
	}
	defer unlock()
	keys, err := p.read()
	if err != nil {
		return fencing.Result{}, err
	}
	next, result := fencing.Apply(keys, op)
	slices.SortFunc(next, func(a, b fencing.Key) int { return strings.Compare(a.String(), b.String()) })
	if slices.Equal(keys, next) {
		return result, nil
	}
	if err := p.write(next); err != nil {
		return fencing.Result{}, err
	}
	return result, nil
}

// lock takes the point's lock. It is released when the holder dies.
func (p *Point) lock(ctx context.Context) (func(), error) {
	f, err := os.OpenFile(p.path+".lock", os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", p.path, err)
		}
		timer := time.NewTimer(lockRetry)
		select {
		case <-ctx.Done():
			timer.Stop()
			f.Close()
			return nil, fmt.Errorf("lock %s: somebody holds it: %w", p.path, ctx.Err())
		case <-timer.C:
		}
	}
}

func (p *Point) read() ([]fencing.Key, error) {
	st, err := os.Stat(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if st.Size() > maxSize {
		return nil, fmt.Errorf("read %s: %d bytes is no coordination point", p.path, st.Size())
	}
	text, err := os.ReadFile(p.path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return Decode(string(text))
}

func (p *Point) write(keys []fencing.Key) error {
	next := p.path + ".new" // under the lock there is one writer
	if err := os.WriteFile(next, []byte(Encode(keys)), 0o666); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := os.Rename(next, p.path); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Encode is the content of a point file.
func Encode(keys []fencing.Key) string {
	var b strings.Builder
	for _, k := range keys {
		b.WriteString(k.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// Decode is the inverse of Encode. A file with anything else in it is an
// error: a vote that cannot be read is no vote.
func Decode(text string) ([]fencing.Key, error) {
	var keys []fencing.Key
	for i, line := range strings.SplitAfter(text, "\n") {
		if line == "" {
			continue
		}
		word, whole := strings.CutSuffix(line, "\n")
		if !whole {
			return nil, fmt.Errorf("line %d is cut off", i+1)
		}
		k, err := fencing.ParseKey(word)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}
