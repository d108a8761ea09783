// Package conf reads fencing.conf: the fencing mode of this system, its
// coordination points and how it stops itself. The file has the form of VCS's
// vxfenmode, one key=value a line, "#" begins a comment; docs/spec/fencing.md
// lists the keys. Reading is a pure function of the text.
package conf

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Mode is the fencing mode (vxfen_mode).
type Mode string

// The modes of this version.
const (
	// Disabled: nothing is raced for; a departed system is assumed gone.
	Disabled Mode = "disabled"
	// Customized: an odd number of coordination points decides a split.
	Customized Mode = "customized"
)

// otherModes are VCS's modes that this version has not.
var otherModes = []string{"scsi3", "majority", "sanvm"}

// PointKind is what a coordination point is made of.
type PointKind string

// PointFile is a plain file that all systems of a one-machine lab share. It is
// for labs only and refused where the lab's marker is missing.
const PointFile PointKind = "file"

// Point is one coordination point.
type Point struct {
	Kind PointKind
	Path string // absolute
}

// String is the point as it is written in fencing.conf.
func (p Point) String() string { return string(p.Kind) + ":" + p.Path }

// Action is the way in which a system stops itself (R2).
type Action string

// The self-stop actions.
const (
	ActionLab      Action = "lab"      // the lab's power switch
	ActionExec     Action = "exec"     // a program
	ActionReboot   Action = "reboot"   // sysrq b
	ActionPanic    Action = "panic"    // sysrq c
	ActionWatchdog Action = "watchdog" // a kernel watchdog that is no longer fed
)

var actions = []Action{ActionLab, ActionExec, ActionReboot, ActionPanic, ActionWatchdog}

// SwitchLab is the power switch of a lab (power_switch=lab).
const SwitchLab = "lab"

// Defaults of the timers.
const (
	DefaultRaceDelay   = 300 * time.Millisecond
	DefaultRaceTimeout = 3 * time.Second
)

// Config is what fencing.conf says. The zero value is not valid; Default is.
type Config struct {
	Mode Mode
	// Points in the order in which every system races for them. Empty if the
	// mode is Disabled, else odd in number.
	Points []Point
	// RaceDelay is how long the lighter side of a split waits (R12).
	RaceDelay time.Duration
	// RaceTimeout is T_race: a system that waits so long for the racer's
	// result takes the race over (R11).
	RaceTimeout time.Duration
	// SelfStop is the action, "" if the file does not say: then it is the
	// lab's switch in a lab and a reboot elsewhere.
	SelfStop Action
	// SelfStopExec is the program of ActionExec, absolute.
	SelfStopExec string
	// PowerSwitch is SwitchLab or "" (none).
	PowerSwitch string
}

// Default is the configuration of a system without fencing.conf.
func Default() Config {
	return Config{Mode: Disabled, RaceDelay: DefaultRaceDelay, RaceTimeout: DefaultRaceTimeout}
}

// Action is the self-stop action in force: the configured one, else the lab's
// switch in a lab and a reboot elsewhere.
func (c Config) Action(inLab bool) Action {
	switch {
	case c.SelfStop != "":
		return c.SelfStop
	case inLab:
		return ActionLab
	default:
		return ActionReboot
	}
}

// Error is a mistake in fencing.conf. Line and Col count from 1; Col counts
// bytes.
type Error struct {
	File      string
	Line, Col int
	Text      string
}

// Error is FILE:LINE:COL: TEXT.
func (e *Error) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Col, e.Text)
}

// entry is one key=value.
type entry struct {
	key, value     string
	line           int
	keyCol, valCol int
}

// parser collects the entries of one file.
type parser struct {
	file    string
	entries map[string]entry
	points  map[int]entry
	lines   int
}

func (p *parser) fail(line, col int, format string, args ...any) error {
	return &Error{File: p.file, Line: line, Col: col, Text: fmt.Sprintf(format, args...)}
}

// keys are the known keys but pointN.
var keys = []string{
	"vxfen_mode", "race_delay_ms", "race_timeout_ms", "self_stop", "self_stop_exec", "power_switch",
}

// Parse reads the text of a fencing.conf; file is its name in errors, such as
// "fencing.conf". Every error is an *Error. A file that says nothing is the
// Default. What is accepted is accepted whole or not at all.
func Parse(file string, text []byte) (Config, error) {
	p := &parser{file: file, entries: map[string]entry{}, points: map[int]entry{}}
	for i, line := range strings.Split(string(text), "\n") {
		p.lines = i + 1
		if err := p.line(i+1, line); err != nil {
			return Config{}, err
		}
	}
	return p.config()
}

func (p *parser) line(number int, line string) error {
	if i := strings.IndexByte(line, '#'); i >= 0 {
		line = line[:i]
	}
	trimmed := strings.TrimRight(line, " \t\r")
	start := len(trimmed) - len(strings.TrimLeft(trimmed, " \t"))
	body := trimmed[start:]
	if body == "" {
		return nil
	}
	for i, r := range body {
		if strings.ContainsRune("“”‘’„", r) {
			return p.fail(number, start+i+1, "typographic quote %q; values are written without quotes", r)
		}
		if r == '\uFFFD' || (r < ' ' && r != '\t') {
			return p.fail(number, start+i+1, "character %q does not belong here", r)
		}
	}
	eq := strings.IndexByte(body, '=')
	if eq < 0 {
		return p.fail(number, start+1, "expected KEY=VALUE, found %q", body)
	}
	key := strings.TrimRight(body[:eq], " \t")
	rest := body[eq+1:]
	value := strings.TrimLeft(rest, " \t")
	e := entry{key: key, value: value, line: number, keyCol: start + 1, valCol: start + eq + 1 + len(rest) - len(value) + 1}
	if value == "" {
		return p.fail(number, e.valCol, "%s has no value", key)
	}
	return p.add(e)
}

func (p *parser) add(e entry) error {
	if digits, ok := strings.CutPrefix(e.key, "point"); ok {
		n, err := strconv.Atoi(digits)
		if err == nil && n >= 1 && n <= 99 && strconv.Itoa(n) == digits {
			if old, dup := p.points[n]; dup {
				return p.fail(e.line, e.keyCol, "%s is given again (first in line %d)", e.key, old.line)
			}
			p.points[n] = e
			return nil
		}
		return p.fail(e.line, e.keyCol, "%q is no coordination point; they are point1 to point99", e.key)
	}
	for _, known := range keys {
		if e.key != known {
			continue
		}
		if old, dup := p.entries[e.key]; dup {
			return p.fail(e.line, e.keyCol, "%s is given again (first in line %d)", e.key, old.line)
		}
		p.entries[e.key] = e
		return nil
	}
	if near := nearest(e.key, keys); near != "" {
		return p.fail(e.line, e.keyCol, "unknown key %q; did you mean %s?", e.key, near)
	}
	return p.fail(e.line, e.keyCol, "unknown key %q; known are %s and point1, point2, ...", e.key, strings.Join(keys, ", "))
}

func (p *parser) config() (Config, error) {
	c := Default()
	for _, step := range []func(*Config) error{p.mode, p.pointList, p.timers, p.selfStop, p.powerSwitch} {
		if err := step(&c); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

func (p *parser) mode(c *Config) error {
	e, ok := p.entries["vxfen_mode"]
	if !ok {
		if len(p.entries)+len(p.points) > 0 {
			if _, set := p.points[1]; set {
				return p.fail(p.points[1].line, p.points[1].keyCol, "coordination points are given but no vxfen_mode; write vxfen_mode=customized")
			}
		}
		return nil
	}
	switch e.value {
	case string(Disabled), string(Customized):
		c.Mode = Mode(e.value)
		return nil
	}
	for _, other := range otherModes {
		if e.value == other {
			return p.fail(e.line, e.valCol, "vxfen_mode %s is not built in this version; use customized or disabled", other)
		}
	}
	return p.fail(e.line, e.valCol, "unknown vxfen_mode %q; it is customized or disabled (scsi3 and majority are not built in this version)", e.value)
}

func (p *parser) pointList(c *Config) error {
	numbers := make([]int, 0, len(p.points))
	for n := range p.points {
		numbers = append(numbers, n)
	}
	sort.Ints(numbers)
	seen := map[string]int{}
	for i, n := range numbers {
		e := p.points[n]
		if n != i+1 {
			return p.fail(e.line, e.keyCol, "%s is given but point%d is not; points are numbered from 1 without gaps", e.key, i+1)
		}
		point, err := p.point(e)
		if err != nil {
			return err
		}
		if first, dup := seen[point.String()]; dup {
			return p.fail(e.line, e.valCol, "%s is the same coordination point as point%d; each vote must be another one", e.key, first)
		}
		seen[point.String()] = n
		c.Points = append(c.Points, point)
	}
	if c.Mode == Disabled {
		if len(numbers) > 0 {
			e := p.points[1]
			return p.fail(e.line, e.keyCol, "coordination points are given but vxfen_mode is disabled; write vxfen_mode=customized or remove them")
		}
		return nil
	}
	mode := p.entries["vxfen_mode"]
	if len(numbers) == 0 {
		return p.fail(mode.line, mode.valCol, "vxfen_mode customized needs coordination points: an odd number of them, at least point1, point2 and point3")
	}
	if len(numbers)%2 == 0 || len(numbers) < 3 {
		last := p.points[len(numbers)]
		return p.fail(last.line, last.keyCol, "%d coordination points are given; it must be an odd number, at least 3, so that one side of a split can hold a majority", len(numbers))
	}
	return nil
}

func (p *parser) point(e entry) (Point, error) {
	kind, path, ok := strings.Cut(e.value, ":")
	if !ok {
		return Point{}, p.fail(e.line, e.valCol, "expected file:/PATH, found %q", e.value)
	}
	if kind != string(PointFile) {
		return Point{}, p.fail(e.line, e.valCol, "coordination points of kind %q are not built in this version; use file:/PATH (labs only)", kind)
	}
	if !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") {
		return Point{}, p.fail(e.line, e.valCol+len(kind)+1, "the path of a file point must be absolute and name a file, found %q", path)
	}
	return Point{Kind: PointFile, Path: path}, nil
}

func (p *parser) timers(c *Config) error {
	for _, timer := range []struct {
		key      string
		min, max int
		to       *time.Duration
	}{
		{"race_delay_ms", 0, 60_000, &c.RaceDelay},
		{"race_timeout_ms", 100, 600_000, &c.RaceTimeout},
	} {
		e, ok := p.entries[timer.key]
		if !ok {
			continue
		}
		n, err := strconv.Atoi(e.value)
		if err != nil || n < timer.min || n > timer.max {
			return p.fail(e.line, e.valCol, "%s must be a whole number of milliseconds from %d to %d, found %q", timer.key, timer.min, timer.max, e.value)
		}
		*timer.to = time.Duration(n) * time.Millisecond
	}
	if c.RaceTimeout <= c.RaceDelay {
		at := p.entries["race_timeout_ms"]
		if at.key == "" {
			at = p.entries["race_delay_ms"]
		}
		return p.fail(at.line, at.valCol, "race_timeout_ms (%d) must be longer than race_delay_ms (%d), else the race is taken over while its racer still waits",
			c.RaceTimeout.Milliseconds(), c.RaceDelay.Milliseconds())
	}
	return nil
}

func (p *parser) selfStop(c *Config) error {
	program, haveProgram := p.entries["self_stop_exec"]
	e, ok := p.entries["self_stop"]
	if ok {
		for _, action := range actions {
			if e.value == string(action) {
				c.SelfStop = action
			}
		}
		if c.SelfStop == "" {
			return p.fail(e.line, e.valCol, "unknown self_stop %q; it is lab, exec, reboot, panic or watchdog", e.value)
		}
	}
	switch {
	case c.SelfStop == ActionExec && !haveProgram:
		return p.fail(e.line, e.valCol, "self_stop exec needs self_stop_exec=/PATH of the program")
	case c.SelfStop != ActionExec && haveProgram:
		return p.fail(program.line, program.keyCol, "self_stop_exec is given but self_stop is not exec")
	case haveProgram && !strings.HasPrefix(program.value, "/"):
		return p.fail(program.line, program.valCol, "self_stop_exec must be an absolute path, found %q", program.value)
	case haveProgram:
		c.SelfStopExec = program.value
	}
	return nil
}

func (p *parser) powerSwitch(c *Config) error {
	e, ok := p.entries["power_switch"]
	if !ok {
		return nil
	}
	if e.value != SwitchLab {
		return p.fail(e.line, e.valCol, "power_switch %q is not built in this version; it is lab, or the line is left out", e.value)
	}
	c.PowerSwitch = SwitchLab
	return nil
}

// nearest is the known word within two edits of the given one, or "".
func nearest(word string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if d := edits(word, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance; words longer than 64 bytes are far.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next := min(row[j]+1, row[j-1]+1, diagonal+cost)
			diagonal, row[j] = row[j], next
		}
	}
	return row[len(b)]
}
