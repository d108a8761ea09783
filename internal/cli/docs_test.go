package cli

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/evenkeel/evenkeel/proto/evenkeel/fencing/v1"
	_ "github.com/evenkeel/evenkeel/proto/evenkeel/gab/v1"
)

// TestDocumentIsTrue: each command that docs/operating/commands.md names
// exists, and each call of its grpcurl lines is in the contract.
func TestDocumentIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	r := root(t)
	seen := 0
	for _, m := range regexp.MustCompile("`ha ([a-z]+)(?: ([a-z]+))?").FindAllStringSubmatch(string(text), -1) {
		seen++
		out, errs, code := call(t, r, strings.TrimSpace("ha "+m[1]+" "+m[2])+" --help")
		if code != 0 || m[2] != "" && m[1] != "completion" && !strings.Contains(out, "ha "+m[1]+" "+m[2]) {
			t.Errorf("%s does not exist: %s", m[0], errs)
		}
	}
	for _, m := range regexp.MustCompile("`(hagrp|hares|hasys|hatype|haattr|haclus|haconf|hauser|haagent|halog|hahb) (-[a-z_]+)").FindAllStringSubmatch(string(text), -1) {
		seen++
		if out, _, _ := call(t, r, m[1]+" -help"); m[2] != "-help" && m[2] != "-version" && !strings.Contains(out, m[1]+" "+m[2]) {
			t.Errorf("%s does not exist", m[0])
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^\| .(hagrp|hares|hasys|hatype|haattr|haclus|haconf|hauser|haagent|halog|hahb). \| .(-[-a-z_ ]+).`).FindAllStringSubmatch(string(text), -1) {
		out, _, _ := call(t, r, m[1]+" -help")
		for _, action := range strings.Fields(m[2]) {
			seen++
			if !strings.Contains(out, m[1]+" "+action) {
				t.Errorf("%s %s does not exist", m[1], action)
			}
		}
		for _, action := range regexp.MustCompile(m[1]+" (-[a-z_]+)").FindAllStringSubmatch(out, -1) {
			if !slices.Contains(append(strings.Fields(m[2]), "-help", "-version"), action[1]) {
				t.Errorf("%s: %s exists and is not listed", m[1], action[1])
			}
		}
	}
	for _, m := range regexp.MustCompile(`(evenkeel\.[a-z]+\.v1\.[A-Za-z]+)/([A-Za-z]+)`).FindAllStringSubmatch(string(text), -1) {
		seen++
		if _, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(m[1] + "." + m[2])); err != nil {
			t.Errorf("%s: %v", m[0], err)
		}
	}
	if seen < 90 {
		t.Errorf("only %d commands found in the document", seen)
	}
}

// TestRemediesExist: each command of ha that docs/messages.md tells somebody
// to type exists, with its options.
func TestRemediesExist(t *testing.T) {
	text, err := os.ReadFile("../../docs/messages.md")
	if err != nil {
		t.Fatal(err)
	}
	r := root(t)
	helps := map[string]string{}
	seen := 0
	for _, m := range regexp.MustCompile("`ha ([a-z]+)(?: ([a-z-]+))?([^`]*)`").FindAllStringSubmatch(string(text), -1) {
		path := "ha " + m[1]
		if m[2] != "" && !strings.HasPrefix(m[2], "-") {
			path += " " + m[2]
		}
		help, known := helps[path]
		if !known {
			out, errs, code := call(t, r, path+" --help")
			if code != 0 || !strings.Contains(out, path) {
				t.Errorf("%s does not exist: %s", m[0], errs)
			}
			help = out
			helps[path] = help
		}
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(m[0], -1) {
			seen++
			if !strings.Contains(help, flag) {
				t.Errorf("%s: there is no %s", m[0], flag)
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d options seen", seen)
	}
}
