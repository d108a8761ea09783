package maincf

import (
	"fmt"
	"path"
	"sort"
	"strings"
)

// Open returns the contents of a file. Names are as in Pos.File: the main
// file as given to Load, included files joined to the directory of the file
// that includes them, with slashes.
type Open func(name string) ([]byte, error)

// Bounds on what Load reads; hostile input ends there with an error.
const (
	maxFileBytes = 16 << 20 // some 50,000 resources
	maxFiles     = 64
	maxMessages  = 200
)

// Load reads the configuration file name and everything it includes, and
// checks it. It returns either a complete configuration and its warnings, or
// an error of type Errors that holds every mistake found (at most 200); then
// there is no configuration. Every call of open is for a different name.
func Load(name string, open Open) (*Config, []Diagnostic, error) {
	return LoadText(name, func(name string) (string, error) {
		data, err := open(name)
		return string(data), err
	})
}

// LoadText is Load of files that are in memory already: the configuration
// shares their text instead of a copy of it.
func LoadText(name string, open func(name string) (string, error)) (*Config, []Diagnostic, error) {
	l := &loader{open: open, loaded: map[string]Pos{}, order: map[string]int{}}
	l.file(name, Pos{})
	l.out.unread = len(l.errs) > 0
	cfg := &Config{File: name}
	b := &builder{raw: &l.out, cfg: cfg, report: l.report, warn: l.warn,
		full: func() bool { return len(l.errs) > maxMessages }}
	b.build()
	b.check()
	l.sort(l.errs)
	l.sort(l.warnings)
	if len(l.errs) > 0 {
		return nil, l.warnings, l.errs
	}
	return cfg, l.warnings, nil
}

// LoadMap loads from texts by name, as a snapshot carries them.
func LoadMap(name string, files map[string]string) (*Config, []Diagnostic, error) {
	return LoadText(name, func(f string) (string, error) {
		text, ok := files[f]
		if !ok {
			return "", fmt.Errorf("no such file")
		}
		return text, nil
	})
}

// Verify does the work of hacf -verify: it loads main.cf of a directory and
// returns the messages to print, one a line; none when the files are good.
func Verify(dir string, open Open) []string {
	_, _, err := Load("main.cf", func(name string) ([]byte, error) {
		if !path.IsAbs(name) {
			name = path.Join(dir, name)
		}
		return open(name)
	})
	if err == nil {
		return nil
	}
	return strings.Split(err.Error(), "\n")
}

type loader struct {
	open     func(name string) (string, error)
	out      rawFile
	errs     Errors
	warnings Errors
	loaded   map[string]Pos // where each file was included
	order    map[string]int // the order in which files were read
}

func (l *loader) report(p Pos, text string) {
	switch {
	case len(l.errs) < maxMessages:
		l.errs = append(l.errs, Diagnostic{p, text})
	case len(l.errs) == maxMessages:
		l.errs = append(l.errs, Diagnostic{p, "too many mistakes; the rest is not shown"})
	}
}

func (l *loader) warn(p Pos, text string) {
	if len(l.warnings) < maxMessages {
		l.warnings = append(l.warnings, Diagnostic{p, text})
	}
}

// sort brings messages into the order of files and places.
func (l *loader) sort(ds Errors) {
	sort.SliceStable(ds, func(i, j int) bool {
		a, b := ds[i].Pos, ds[j].Pos
		if a.File != b.File {
			return l.order[a.File] < l.order[b.File]
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
}

// file reads one file; from is the include clause, zero for the main file.
func (l *loader) file(name string, from Pos) {
	at := from
	if at.File == "" {
		at = Pos{name, 1, 1}
	}
	l.order[name] = len(l.order)
	if len(l.order) > maxFiles {
		l.report(at, fmt.Sprintf("more than %d files are included", maxFiles))
		l.out.missing = true
		return
	}
	l.loaded[name] = at
	text, err := l.open(name)
	if err == nil && len(text) > maxFileBytes {
		err = fmt.Errorf("the file is larger than %d bytes", maxFileBytes)
	}
	if err != nil {
		l.out.missing = true
		if from.File == "" {
			l.report(at, fmt.Sprintf("cannot read the configuration: %v", err))
		} else {
			l.report(at, fmt.Sprintf("cannot read the included file %s: %v", clip(name), err))
		}
		return
	}
	p := &parser{file: name, tokens: lex(name, text, l.report), out: &l.out, report: l.report}
	p.include = func(text string, pos Pos) { l.include(name, text, pos) }
	p.parseFile()
}

func (l *loader) include(from, text string, pos Pos) {
	name := path.Clean(text)
	if !path.IsAbs(name) {
		name = path.Join(path.Dir(from), name)
	}
	if first, again := l.loaded[name]; again {
		if first.File == name {
			l.report(pos, fmt.Sprintf("%s includes itself", clip(name)))
		} else {
			l.report(pos, fmt.Sprintf("%s is already included at %s", clip(name), first))
		}
		return
	}
	l.out.includes = append(l.out.includes, Include{Path: text, File: name, Pos: pos})
	l.file(name, pos)
}
