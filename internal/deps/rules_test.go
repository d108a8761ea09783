package deps

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEachRuleHasATest: every safety rule of docs/spec/rules.md is kept in code
// that exists and is shown by a test or story that exists and cites it.
func TestEachRuleHasATest(t *testing.T) {
	root := filepath.Join("..", "..")
	table, err := os.ReadFile(filepath.Join(root, "docs/spec/rules.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	seen := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "R") || strings.TrimSpace(cells[1]) == "Rule" {
			continue
		}
		rule := strings.TrimSpace(cells[1])
		seen[rule] = true
		for _, code := range quoted.FindAllStringSubmatch(cells[2], -1) {
			if _, err := os.Stat(filepath.Join(root, code[1])); err != nil {
				t.Errorf("%s: %v", rule, err)
			}
		}
		shown := quoted.FindAllStringSubmatch(cells[3], -1)
		if len(shown) == 0 {
			t.Errorf("%s is shown by nothing", rule)
		}
		for _, test := range shown {
			file, name, isGo := strings.Cut(test[1], "#")
			text, err := os.ReadFile(filepath.Join(root, file))
			switch {
			case err != nil:
				t.Errorf("%s: %v", rule, err)
			case !regexp.MustCompile(`(\b|_|Test)` + rule + `(\b|[A-Z_])`).Match(text):
				t.Errorf("%s: %s does not cite it", rule, file)
			case isGo && !strings.Contains(string(text), "func "+name+"("):
				t.Errorf("%s: %s has no %s", rule, file, name)
			}
		}
	}
	for _, rule := range []string{"R2", "R5", "R6", "R10", "R14", "R15", "R18", "R19", "R20", "R21", "R22"} {
		if !seen[rule] {
			t.Errorf("%s has no row", rule)
		}
	}
}
