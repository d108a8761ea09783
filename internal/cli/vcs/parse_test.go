package vcs

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzParse: no command line panics; what is taken apart loses no word, and
// every complaint is one about usage.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"app -sys sysA", "-attribute A B -sys s g", "g %-y %%", "-force -force", "-sys", "- x", "-f g", "-a a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Fields(text)
		l, err := parse(words, []string{"sys=", "attribute*", "any", "force", "to="})
		if err != nil {
			if !errors.Is(err, errUsage) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		values := len(l.names)
		for _, v := range l.values {
			values += len(v)
		}
		options := 0
		for _, word := range words {
			if strings.HasPrefix(word, "-") && word != "-" {
				options++
			}
		}
		if values+options != len(words) {
			t.Errorf("%q: %d words became %d values and %d options", text, len(words), values, options)
		}
	})
}

func TestParse(t *testing.T) {
	l, err := parse([]string{"g1", "-attribute", "A", "B", "-at", "C", "-f", "%-y"}, []string{"attribute*", "force", "any"})
	if err != nil || !slices.Equal(l.values["attribute"], []string{"A", "B", "C"}) || !l.flags["force"] || !slices.Equal(l.names, []string{"g1", "-y"}) {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := parse([]string{"-a", "x"}, []string{"attribute*", "any"}); err == nil || !strings.Contains(err.Error(), "-any or -attribute") {
		t.Errorf("an ambiguous option: %v", err)
	}
}
