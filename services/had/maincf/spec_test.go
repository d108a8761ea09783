package maincf_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRules: each rule of the specification names a golden that is there.
func TestRules(t *testing.T) {
	spec, err := os.ReadFile("../../../docs/spec/maincf.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, line := range strings.Split(string(spec), "\n") {
		if !strings.HasPrefix(line, "**C") {
			continue
		}
		n++
		m := regexp.MustCompile(`^\*\*C(\d+)\*\* .* Golden: (\S+) "([^"]+)"$`).FindStringSubmatch(line)
		if m == nil || m[1] != strconv.Itoa(n) {
			t.Errorf("rule %d: no number or golden in %q", n, line)
			continue
		}
		file := "testdata/" + m[2]
		if rest, other := strings.CutPrefix(m[2], "hacf/"); other {
			file = "../../../internal/cli/hacf/testdata/" + rest
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("rule C%d: %v", n, err)
			continue
		}
		if !regexp.MustCompile(`(?m)^# .*` + regexp.QuoteMeta(m[3])).Match(text) {
			t.Errorf("rule C%d: %s has no comment with %q", n, m[2], m[3])
		}
	}
	if n < 45 {
		t.Errorf("%d rules; the specification has lost some", n)
	}
}
