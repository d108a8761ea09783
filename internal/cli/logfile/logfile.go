// Package logfile reads the logs of this system: lines in VCS's form, with the
// objects that each is about.
package logfile

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/messagelog"
)

// Entry is one line of a log.
type Entry struct {
	// Time is zero and Severity, ID and Text are "" for a line that is not in
	// VCS's form.
	Time               time.Time
	Severity, ID, Text string
	// Line is the line as it stands in the file.
	Line string
	// known are the objects that the writer itself named, nil if it did not.
	known []Object
}

var form = regexp.MustCompile(`^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) VCS ([A-Z]+) (V-16-\d+-\d+) (.*)$`)

// Parse takes a line apart.
func Parse(line string) Entry {
	e := Entry{Line: line}
	if m := form.FindStringSubmatch(line); m != nil {
		if t, err := time.ParseInLocation("2006/01/02 15:04:05", m[1], time.Local); err == nil {
			e.Time, e.Severity, e.ID, e.Text = t, m[2], m[3], m[4]
		}
	}
	return e
}

// String is the entry as hamsg prints it: with the date for people.
func (e Entry) String() string {
	if e.ID == "" {
		return e.Line
	}
	return fmt.Sprintf("%s VCS %s %s %s", e.Time.Format("Mon 02 Jan 2006 03:04:05 PM MST"), e.Severity, e.ID, e.Text)
}

// Kind is what an object is.
type Kind string

// The kinds as hamsg -otype has them. A line that is about no object is of
// kind VCS.
const (
	VCS      Kind = "VCS"
	Resource Kind = "RES"
	Group    Kind = "GRP"
	System   Kind = "SYS"
	Agent    Kind = "AGT"
)

// Kinds are all of them.
var Kinds = []string{string(VCS), string(Resource), string(Group), string(System), string(Agent)}

// Object is something that a line is about.
type Object struct {
	Kind Kind
	Name string
}

const name = `["'(]*([A-Za-z_][\w.-]*\w|[A-Za-z_])`

var mentions = []struct {
	kind Kind
	of   *regexp.Regexp
}{
	{Resource, regexp.MustCompile(`(?i)\bresource[ :(]+` + name)},
	{Group, regexp.MustCompile(`(?i)\bgroup[ :]+` + name)},
	{System, regexp.MustCompile(`(?i)\b(?:system|sys|node)[ :]+` + name)},
	{System, regexp.MustCompile(`^\(` + name + `\)`)},
	{Agent, regexp.MustCompile(`(?i)\bagent (?:for|of|for type|of type)[ :]+` + name)},
}

// notNames are words that follow "group" and so on in sentences.
var notNames = []string{"is", "are", "was", "has", "dependencies", "dependency", "cannot", "does", "on", "of", "and", "that", "with", "which", "to", "state", "in", "failing", "because", "from", "the", "a"}

// Objects are what the line is about: as its writer said beside it, or else
// what its text names.
func (e Entry) Objects() []Object {
	if e.known != nil {
		return e.known
	}
	var out []Object
	for _, m := range mentions {
		for _, found := range m.of.FindAllStringSubmatch(e.Text, -1) {
			o := Object{m.kind, found[1]}
			if !slices.Contains(notNames, o.Name) && !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// Filter chooses entries. What is empty chooses nothing and refuses nothing.
type Filter struct {
	Severities, IDs []string
	Kinds, Names    []string
	// Any: one of the given conditions is enough; otherwise all must hold.
	Any bool
}

// Takes reports whether the entry is chosen.
func (f Filter) Takes(e Entry) bool {
	objects := e.Objects()
	var held []bool
	if len(f.Severities) > 0 {
		held = append(held, slices.Contains(f.Severities, e.Severity))
	}
	if len(f.IDs) > 0 {
		held = append(held, slices.ContainsFunc(f.IDs, func(id string) bool {
			return e.ID == id || e.ID != "" && strings.HasSuffix(e.ID, "-"+id)
		}))
	}
	kind := func(o Object) bool { return len(f.Kinds) == 0 || slices.Contains(f.Kinds, string(o.Kind)) }
	named := func(o Object) bool { return len(f.Names) == 0 || slices.Contains(f.Names, o.Name) }
	switch {
	case f.Any && len(f.Kinds) > 0 && len(f.Names) > 0:
		held = append(held, slices.ContainsFunc(objects, kind), slices.ContainsFunc(objects, named))
	case len(f.Kinds) > 0 || len(f.Names) > 0:
		about := slices.ContainsFunc(objects, func(o Object) bool { return kind(o) && named(o) })
		held = append(held, about || e.ID != "" && len(objects) == 0 && len(f.Names) == 0 && slices.Contains(f.Kinds, string(VCS)))
	}
	if f.Any {
		return len(held) == 0 || slices.Contains(held, true)
	}
	return !slices.Contains(held, false)
}

// Logs are the names of the logs of a folder, without ".log", sorted. Logs are
// called NAME_A, and NAME_B and so on after they were rotated.
func Logs(dir string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_[A-Z].log"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".log")
	}
	slices.Sort(files)
	return files, nil
}

// Subjects are what the writers of a log said of its lines.
type Subjects map[string][]Object

// SubjectsOf reads what the writer of the log at a path said of its lines, in
// the file beside it; nil if there is none.
func SubjectsOf(ctx context.Context, path string) (Subjects, error) {
	prefix := strings.TrimSuffix(path, ".log")
	if i := strings.LastIndexByte(prefix, '_'); i > 0 {
		prefix = prefix[:i]
	}
	records, err := messagelog.Last(ctx, prefix, messagelog.Filter{}, 0)
	if err != nil || len(records) == 0 {
		return nil, err
	}
	all := Subjects{}
	for _, r := range records {
		r.Time = r.Time.Local()
		objects := []Object{}
		for _, o := range []Object{{Resource, r.Resource}, {Group, r.Group}, {System, r.System}, {Agent, r.Agent}} {
			if o.Name != "" {
				objects = append(objects, o)
			}
		}
		all[r.Line()] = objects
	}
	return all, nil
}

// About is the entry with what its writer said of it.
func (s Subjects) About(e Entry) Entry {
	e.known = s[e.Line]
	return e
}

// maxLine bounds what is read of one line, in bytes.
const maxLine = 1 << 20

// Read gives each entry of a log to take, until it returns false.
func Read(path string, take func(Entry) bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		line, err := r.ReadString('\n')
		if len(line) > maxLine {
			line = line[:maxLine]
		}
		if line = strings.TrimRight(line, "\r\n"); line != "" && !take(Parse(line)) {
			return nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
	}
}
