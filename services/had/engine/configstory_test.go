package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// reconfigure are the directives that change the configuration. The input of
// change and plan-change are commands, that of apply and plan-apply the groups
// of a whole configuration.
func (s *stage) reconfigure(d *datadriven.TestData) {
	c := Command{User: "root", RequestID: first(d, "id")}
	if user := first(d, "user"); user != "" {
		c.User = user
	}
	kind := strings.TrimPrefix(d.Cmd, "plan-")
	c.Kind = CommandKind("config-" + kind)
	switch kind {
	case "change":
		for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
			words, err := maincf.SplitLine(line)
			if err != nil {
				s.t.Fatalf("%s: %v", d.Pos, err)
			}
			c.Edits = append(c.Edits, words)
		}
	case "dump":
		c.MakeReadOnly = slices.Contains(plain(d), "makero")
	case "apply":
		systems := words(d, "systems")
		if systems == nil {
			systems = s.systems
		}
		c.Main, c.Files = "main.cf", testConfig(systems, d.Input)
		if slices.Contains(plain(d), "no-types") {
			c.Files = c.Files[:1]
		}
		if v := first(d, "confirm"); v != "" {
			c.Confirm = duration(s.t, v)
		}
	case "writable":
		c.Kind = CommandConfigWritable
	}
	from := sender(d, s.systems[0])
	if kind == d.Cmd {
		s.refuseWhole(from, c)
		return
	}
	before := s.e.Hash()
	fx, err := s.e.Plan(from, c)
	if err != nil {
		s.t.Fatalf("%s: %v", d.Pos, err)
	}
	if s.e.Hash() != before {
		s.t.Fatalf("%s: a plan changed the engine", d.Pos)
	}
	for _, f := range fx {
		if r, ok := f.(CommandResult); ok && len(r.Edits) > 0 {
			s.effects = append(s.effects, f, said("would "+strings.Join(r.Edits, "\nwould ")))
			continue
		}
		s.effects = append(s.effects, f)
	}
}

// refuseWhole applies a change; a refused one changes nothing of the
// configuration and of what runs.
func (s *stage) refuseWhole(from string, c Command) {
	before := shape(s.e)
	s.apply(from, c)
	for _, f := range s.effects {
		if r, ok := f.(CommandResult); ok && r.Pos == s.pos && r.Code != CodeOK && before != shape(s.e) {
			s.t.Fatalf("a refused change changed something:\n%s\n%s", before, shape(s.e))
		}
	}
	s.sameAfterRestore()
}

// shape is what a refused change must leave alone.
func shape(e *Engine) string {
	k := e.Clone()
	k.st.Pos, k.st.Why, k.st.Requests, k.st.Now = Pos{}, nil, nil, 0
	return string(k.Snapshot())
}

// sameAfterRestore checks that a snapshot holds the configuration as changed.
func (s *stage) sameAfterRestore() {
	restored, err := Restore(s.e.Snapshot())
	if err != nil {
		s.t.Fatalf("restore: %v", err)
	}
	_, a := s.e.ConfigFiles()
	_, b := restored.ConfigFiles()
	if !slices.Equal(a, b) || restored.Hash() != s.e.Hash() {
		s.t.Fatalf("a restored engine has another configuration:\n%v\n%v", a, b)
	}
}

// said is a line of a golden.
type said string

func (said) effect()          {}
func (s said) String() string { return string(s) }

// dumped answers the dump that is under way for the systems named.
func (s *stage) dumped(d *datadriven.TestData) {
	for _, n := range plain(d) {
		ev := ConfigDumped{System: n, Version: s.e.st.Conf.Version, Problem: strings.Join(words(d, "problem"), " ")}
		if s.e.st.Conf.Dump != nil {
			ev.At = s.e.st.Conf.Dump.At
		}
		if v := first(d, "version"); v != "" {
			fmt.Sscan(v, &ev.Version)
		}
		s.apply(sender(d, n), ev)
	}
}

// conf prints the state of the configuration; with "text" its main file, with
// "edits" what was changed since its files were read.
func (s *stage) conf(d *datadriven.TestData) string {
	var b strings.Builder
	st := s.e.ConfigStatus()
	switch {
	case slices.Contains(plain(d), "text"):
		_, files := s.e.ConfigFiles()
		for i, f := range files {
			if i == 0 || slices.Contains(plain(d), "types") {
				fmt.Fprintf(&b, "--- %s\n%s", f.Name, strings.ReplaceAll(f.Text, "\n\n", "\n"))
			}
		}
	case slices.Contains(plain(d), "edits"):
		for _, words := range s.e.st.Conf.Edits {
			fmt.Fprintln(&b, strings.Join(words, " "))
		}
	default:
		fmt.Fprintf(&b, "writable=%t sequence=%d version=%d undumped=%t dumping=%v mask=%d\n", st.Writable, st.Sequence, st.Version, st.Undumped, st.Dumping, st.Mask)
		for _, f := range st.Failed {
			fmt.Fprintf(&b, "not dumped on %s: %s\n", f.System, f.Why)
		}
		if st.Unconfirmed {
			fmt.Fprintf(&b, "unconfirmed, by %s, %s left %s\n", st.User, time.Duration(st.Left)*time.Millisecond, st.Hindrance)
		}
	}
	return b.String()
}
