package deps

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/evenkeel/evenkeel"

// TestHouse holds the rules against the repository itself.
func TestHouse(t *testing.T) {
	root := filepath.Join("..", "..")
	for name, check := range map[string]func(string, string) ([]Violation, error){"imports": Check, "map order": MapOrder} {
		found, err := check(root, module)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, violation := range found {
			t.Errorf("%v", violation)
		}
	}
}

// TestEachRuleBites breaks each rule with the fixture of its name and expects
// just that rule to be reported.
func TestEachRuleBites(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, entry := range entries {
		rule := entry.Name()
		seen[rule] = true
		t.Run(rule, func(t *testing.T) {
			root := filepath.Join("testdata", rule)
			found, err := Check(root, module)
			if err != nil {
				t.Fatal(err)
			}
			ordered, err := MapOrder(root, module)
			if err != nil && rule == "pure-map-order" {
				t.Fatal(err)
			}
			found = append(found, ordered...)
			if len(found) == 0 {
				t.Fatalf("the fixture breaks rule %s and nothing was reported", rule)
			}
			for _, violation := range found {
				if violation.Rule != rule {
					t.Errorf("unexpected report %v", violation)
				}
			}
		})
	}
	for _, rule := range rulesInSource(t) {
		if !seen[rule] {
			t.Errorf("rule %s has no fixture under testdata", rule)
		}
	}
}

// rulesInSource finds the names of the rules where they are reported.
func rulesInSource(t *testing.T) []string {
	t.Helper()
	var rules []string
	for _, name := range []string{"deps.go", "maporder.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range strings.Split(string(text), ".add(\"")[1:] {
			rule, _, _ := strings.Cut(piece, "\"")
			rules = append(rules, rule)
		}
	}
	if len(rules) < 10 {
		t.Fatalf("found only %d rules in the source", len(rules))
	}
	return rules
}

func TestIsPure(t *testing.T) {
	for folder, want := range map[string]bool{
		"llt": true, "llt/frame": true, "llt/link": false, "fencing/backend/file": false,
		"services/gab": true, "services/gab/server": false, "services/had/engine": true,
		"cmd/ha": false, "internal/vclock": true, "internal/paths": false, "plugins/ip": false,
	} {
		if got := IsPure(folder); got != want {
			t.Errorf("IsPure(%q) = %v, want %v", folder, got, want)
		}
	}
}
