package host

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// TestExamples runs the programs of examples/triggers with commands that only
// write down how they were called.
func TestExamples(t *testing.T) {
	const from = "../../../../examples/triggers/"
	all, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	for _, c := range []struct {
		name, program string
		args          []string
		check         string // the program of preonline.d/web
		good          bool
		calls         string // of hagrp, ha and mail
		log           string // a part of triggers.log
	}{
		{"goes on by hand", "preonline", []string{"0", "A", "web", "MANUAL"}, "", true, "hagrp -online -nopre web -sys A\n", ""},
		{"goes on after a fault", "preonline", []string{"0", "B", "web", "FAULT", "A"}, "", true, "hagrp -online -nopre web -sys B -checkpartial A\n", ""},
		{"asks", "preonline", []string{"0", "A", "web", "MANUAL"}, "[ $2$3 = Aweb ]", true, "hagrp -online -nopre web -sys A\n", ""},
		{"forbids", "preonline", []string{"0", "A", "web", "MANUAL"}, "exit 1", false, "", ""},
		{"tells", "postonline", []string{"0", "A", "web"}, "", true, "mail -s web is online on A ops@example.org\n", "17 "},
		{"asks for help", "nofailover", []string{"0", "A", "web"}, "", true,
			"ha group explain web\nmail -s web is offline: no system takes it ops@example.org\n", "web waits: hagrp -clear web"},
	} {
		t.Run(c.program+" "+c.name, func(t *testing.T) {
			ran[c.program] = true
			dir := t.TempDir()
			root := paths.Root(dir)
			bin := filepath.Join(dir, "bin")
			write := func(path, text string) {
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{"hagrp", "ha", "mail"} {
				write(filepath.Join(bin, name), "#!/bin/sh\necho "+name+` "$@" >> `+dir+"/calls\n[ "+name+" != ha ] || echo web waits: hagrp -clear web\n")
			}
			write(filepath.Join(root.LogDir(), "engine_A.log"), "")
			write(root.Config("mailto"), "ops@example.org\n")
			if c.check != "" {
				write(root.Config("preonline.d/web"), "#!/bin/sh\n"+c.check+"\n")
			}
			program, err := filepath.Abs(from + c.program)
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			good := Execute(context.Background(), []string{program}, c.args, append(Environment(root, bin), "EVENKEEL_TRIGGER_ID=17"),
				func(l string) { said = append(said, l) }, func(Result) {})
			calls, _ := os.ReadFile(dir + "/calls")
			log, _ := os.ReadFile(root.Log("triggers.log"))
			if good != c.good || string(calls) != c.calls || !strings.Contains(string(log), c.log) {
				t.Errorf("ended well: %t, called:\n%s\nlogged:\n%s\nsaid:\n%s", good, calls, log, strings.Join(said, "\n"))
			}
		})
	}
	for _, e := range all {
		if !ran[e.Name()] {
			t.Errorf("no test runs examples/triggers/%s", e.Name())
		}
	}
}
