package messagelog

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Severities from the worst down.
var Severities = []string{"CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO"}

// Filter chooses records; the zero value takes all.
type Filter struct {
	Group, Resource, System, ID string
	// Severity is the least severe that is taken, "" for all.
	Severity string
	// Since and Until bound the time; zero is no bound.
	Since, Until time.Time
}

// Takes reports whether a record passes.
func (f Filter) Takes(r Record) bool {
	return (f.Group == "" || r.Group == f.Group) &&
		(f.Resource == "" || r.Resource == f.Resource) &&
		(f.System == "" || r.System == f.System) &&
		(f.ID == "" || r.ID == f.ID) &&
		(f.Severity == "" || slices.Index(Severities, r.Severity) <= slices.Index(Severities, f.Severity)) &&
		(f.Since.IsZero() || !r.Time.Before(f.Since)) &&
		(f.Until.IsZero() || !r.Time.After(f.Until))
}

// parse reads a JSON line; ok is false for what is none (the rest of a torn
// write).
func parse(line []byte) (r Record, ok bool) {
	if len(line) == 0 || json.Unmarshal(line, &r) != nil || r.Time.IsZero() {
		return r, false
	}
	return r, true
}

// Last returns the newest n records (all for n <= 0) that the filter takes,
// oldest first, over the rotated files. It reads from the end and stops when
// it has enough or is before Since. A log that does not exist is empty.
func Last(ctx context.Context, prefix string, f Filter, n int) ([]Record, error) {
	var found []Record
	for _, letter := range []string{"A", "B", "C"} {
		enough, err := lastOf(ctx, prefix+"_"+letter+".json", f, n, &found)
		if err != nil {
			return nil, err
		}
		if enough {
			break
		}
	}
	slices.Reverse(found)
	return found, nil
}

func lastOf(ctx context.Context, path string, f Filter, n int, found *[]Record) (enough bool, err error) {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read log: %w", err)
	}
	defer file.Close()
	err = backwards(ctx, file, func(line []byte) bool {
		r, ok := parse(line)
		if !ok {
			return true
		}
		if !f.Since.IsZero() && r.Time.Before(f.Since) {
			enough = true
			return false
		}
		if f.Takes(r) {
			*found = append(*found, r)
		}
		enough = n > 0 && len(*found) >= n
		return !enough
	})
	if err != nil {
		return false, fmt.Errorf("read log %s: %w", path, err)
	}
	return enough, nil
}

const block = 64 << 10

// backwards gives the lines of a file from the last to the first until take
// returns false.
func backwards(ctx context.Context, file *os.File, take func(line []byte) bool) error {
	at, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	var rest []byte // the beginning of a line whose end was given
	for at > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		size := min(block, at)
		at -= size
		part := make([]byte, size, int(size)+len(rest))
		if _, err := file.ReadAt(part, at); err != nil {
			return err
		}
		part = append(part, rest...)
		for {
			i := bytes.LastIndexByte(part, '\n')
			if i < 0 {
				break
			}
			if !take(part[i+1:]) {
				return nil
			}
			part = part[:i]
		}
		rest = part
	}
	take(rest)
	return nil
}

// followEvery is how often Follow looks for new lines.
const followEvery = 200 * time.Millisecond

// Follow gives the records that are written from now on, over rotations, until
// ctx is done (nil) or take fails (its error).
func Follow(ctx context.Context, prefix string, f Filter, take func(Record) error) error {
	t := &tail{prefix: prefix}
	defer t.close()
	if err := t.open("A"); err == nil {
		t.at, _ = t.file.Seek(0, io.SeekEnd)
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := t.read(f, take); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tail is the file that is followed.
type tail struct {
	prefix string
	file   *os.File
	at     int64
}

func (t *tail) open(letter string) (err error) {
	t.close()
	t.file, err = os.Open(t.prefix + "_" + letter + ".json")
	t.at = 0
	return err
}

func (t *tail) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}

// letter is what the held file is called now, "" if it is gone.
func (t *tail) letter() string {
	held, err := t.file.Stat()
	if err != nil {
		return ""
	}
	for _, letter := range []string{"A", "B", "C"} {
		if now, err := os.Stat(t.prefix + "_" + letter + ".json"); err == nil && os.SameFile(now, held) {
			return letter
		}
	}
	return ""
}

// read gives all whole lines that came; a rotated file is read to its end
// first, then the one after it.
func (t *tail) read(f Filter, take func(Record) error) error {
	for {
		if t.file == nil && t.open("A") != nil {
			t.file = nil
			return nil // not there yet
		}
		letter := t.letter() // before the lines: what is rotated gets no more
		if err := t.lines(f, take); err != nil {
			return err
		}
		next := map[string]string{"": "C", "C": "B", "B": "A"}[letter]
		if next == "" {
			return nil
		}
		following, err := os.Open(t.prefix + "_" + next + ".json")
		if t.letter() != letter { // rotated meanwhile: that was another file
			if err == nil {
				following.Close()
			}
			continue
		}
		t.close()
		if err == nil {
			t.file, t.at = following, 0
		}
	}
}

func (t *tail) lines(f Filter, take func(Record) error) error {
	in := bufio.NewReader(io.NewSectionReader(t.file, t.at, 1<<62))
	for {
		line, err := in.ReadBytes('\n')
		if err != nil { // the line is not whole yet
			return nil
		}
		t.at += int64(len(line))
		if r, ok := parse(bytes.TrimSpace(line)); ok && f.Takes(r) {
			if err := take(r); err != nil {
				return err
			}
		}
	}
}

// Merge puts several logs into one in the order of time.
func Merge(logs ...[]Record) []Record {
	all := slices.Concat(logs...)
	slices.SortStableFunc(all, func(a, b Record) int { return a.Time.Compare(b.Time) })
	return all
}

// Agents names the types that have a log in a folder.
func Agents(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), "_A.json"); ok && name != "engine" {
			all = append(all, name)
		}
	}
	return all
}
