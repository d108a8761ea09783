package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// examples are the commands of a document: lines of a code block, fenced or
// indented, that begin with a program's name, or with "$ ".
func examples(t *testing.T, document string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Repository(), document))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	fenced := false
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continue
		}
		if m := regexp.MustCompile(`^\s*(?:\$ )?((?:grpcurl|curl|ha|hagrp|hastatus|hasys|hacf|make|bin/halab) .*)$`).FindStringSubmatch(line); m != nil {
			out = append(out, m[1])
		}
	}
	return out
}

// TestDocumentedCommands: what the documents show can be typed as it stands,
// and does what it says, on a cluster with the names that they use. grpcurl
// finds every service by reflection.
func TestDocumentedCommands(t *testing.T) {
	c := start(t, "testdata/documented", true)
	c.waitGroup("sysA", "app", "sysA", online, 30*time.Second)
	c.waitSystem("sysA", "sysB", "RUNNING", 30*time.Second)
	grpcurl := exec.Command("go", "tool", "-modfile=tools/go.mod", "-n", "grpcurl")
	grpcurl.Dir = Repository()
	path, err := grpcurl.Output()
	if err != nil {
		t.Fatalf("grpcurl: %v", err)
	}
	shell := func(command string) Result {
		t.Helper()
		command = regexp.MustCompile(`/(run|etc)/evenkeel`).ReplaceAllString(command, "$$EVENKEEL_ROOT/$1/evenkeel")
		command = regexp.MustCompile(`^grpcurl`).ReplaceAllString(command, strings.TrimSpace(string(path)))
		r, err := c.Exec(c.within(40*time.Second), "sysA", "sh", "-c", command)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ran := 0
	for _, document := range []string{"docs/operating/commands.md", "docs/spec/fencing.md"} {
		for _, command := range examples(t, document) {
			program, _, _ := strings.Cut(command, " ")
			if _, err := exec.LookPath(program); program == "curl" && err != nil {
				t.Logf("left out, curl is not installed: %s", command)
				continue
			}
			if _, err := exec.LookPath("jq"); strings.Contains(command, "| jq") && err != nil {
				t.Logf("left out as a whole, jq is not installed: %s", command)
				command, _, _ = strings.Cut(command, " | jq")
			}
			watches := strings.Contains(command, "WatchEvents") || strings.HasPrefix(command, "ha events") || strings.HasPrefix(command, "ha log -f")
			if watches { // they end with an interrupt
				command = "timeout -s INT 2 " + command
				command = strings.Replace(command, " grpcurl", " "+strings.TrimSpace(string(path)), 1)
			}
			r := shell(command)
			ran++
			switch {
			case watches:
				if r.Out == "" && !strings.Contains(command, "--group") {
					t.Errorf("%s: shows nothing: %+v", command, r)
				}
			case strings.Contains(command, "/Vouch"), strings.HasPrefix(command, "hasys -force"):
				// Nothing is broken here: they are refused with what is so.
				if r.Code == 0 || !regexp.MustCompile(`nothing waits for a vouch|RUNNING`).MatchString(r.Out+r.Err) {
					t.Errorf("%s: %+v", command, r)
				}
			case command == "ha doctor": // what it finds depends on this machine
				if r.Code > 1 || !strings.Contains(r.Out, "checks") {
					t.Errorf("%s: %+v", command, r)
				}
			case strings.Contains(command, "hacf -verify"):
				if !strings.Contains(r.Err, "running") && r.Code != 0 {
					t.Errorf("%s: %+v", command, r)
				}
			case r.Code != 0 && !strings.HasPrefix(command, "hagrp -online"):
				t.Errorf("%s: %+v", command, r)
			case strings.HasPrefix(command, "hagrp -online") && !regexp.MustCompile(`V-16-1-50735|V-16-1-\d+ Group app`).MatchString(r.Err):
				t.Errorf("%s: %+v", command, r)
			}
			if strings.HasPrefix(command, "ha group switch") && strings.Contains(command, "--wait") {
				// The examples go on as if the group were still on sysA.
				shell("ha group switch app --to sysA --wait")
			}
		}
	}
	if ran < 20 {
		t.Errorf("only %d commands found in the documents", ran)
	}
	for _, daemon := range []string{"had", "gab", "fencing"} {
		out := shell("grpcurl -plaintext -unix /run/evenkeel/" + daemon + ".sock list").Out
		for _, service := range []string{"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "evenkeel." + daemon + ".v1."} {
			if !strings.Contains(out, service) {
				t.Errorf("%s offers no %s: %s", daemon, service, out)
			}
		}
		if health := shell("grpcurl -plaintext -unix /run/evenkeel/" + daemon + ".sock grpc.health.v1.Health/Check"); !strings.Contains(health.Out, "SERVING") {
			t.Errorf("%s: %+v", daemon, health)
		}
	}
}

// TestReadme: the first look that README.md promises to a laptop without root.
func TestReadme(t *testing.T) {
	name := fmt.Sprintf("t%dreadme", os.Getpid()%10000)
	ran := 0
	t.Cleanup(func() { _, _ = New(name).halab(context.Background(), "down") })
	for _, command := range examples(t, "README.md") {
		if !strings.Contains(command, "bin/halab") {
			continue
		}
		// All labs of the tests have names of their own.
		command = strings.TrimPrefix(command, "make build && ")
		command, _, _ = strings.Cut(command, " #")
		command = regexp.MustCompile(`bin/halab (up|exec|crash|down)`).ReplaceAllString(command, "bin/halab $1 --name "+name)
		shell := exec.Command("sh", "-c", command)
		shell.Dir = Repository()
		out, err := shell.CombinedOutput()
		ran++
		if err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
		if strings.Contains(command, "hastatus -sum") && !strings.Contains(string(out), "-- SYSTEM STATE") {
			t.Errorf("%s: %s", command, out)
		}
	}
	if ran < 4 {
		t.Errorf("only %d commands of README.md were run", ran)
	}
}
