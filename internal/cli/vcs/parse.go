package vcs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/policy"
)

// line is a parsed command line: what stands behind the action.
type line struct {
	names  []string
	values map[string][]string
	flags  map[string]bool
	// typed are the words as they were typed, for an edit of the
	// configuration, which is read in one place only: maincf.ParseArgs.
	typed []string
}

func (l line) value(option string) string {
	if v := l.values[option]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// errUsage asks for the usage text.
var errUsage = errors.New("usage")

// unescape takes away VCS's escape: %-y is -y, %% is %.
func unescape(word string) string {
	if strings.HasPrefix(word, "%-") || strings.HasPrefix(word, "%%") {
		return word[1:]
	}
	return word
}

// complete finds the one name that begins with the word; a whole name wins.
func complete(word string, names []string) (string, error) {
	if slices.Contains(names, word) {
		return word, nil
	}
	var fits []string
	for _, name := range names {
		if strings.HasPrefix(name, word) {
			fits = append(fits, name)
		}
	}
	switch len(fits) {
	case 1:
		return fits[0], nil
	case 0:
		return "", fmt.Errorf("unknown option -%s%s: %w", word, meant("-", word, names), errUsage)
	default:
		slices.Sort(fits)
		return "", fmt.Errorf("option -%s may be -%s: %w", word, strings.Join(fits, " or -"), errUsage)
	}
}

// meant names what was probably meant by a word that is none of the names.
func meant(before, word string, names []string) string {
	if near := policy.Nearest(word, names); len(near) > 0 {
		return "; did you mean " + before + strings.Join(near, ", "+before) + "?"
	}
	return ""
}

// parse reads the words behind an action. options are "any" (a flag), "sys="
// (takes one word) or "sys*" (takes all words up to the next option).
func parse(words []string, options []string) (line, error) {
	l := line{values: map[string][]string{}, flags: map[string]bool{}}
	kinds := map[string]byte{}
	var known []string
	for _, option := range options {
		name := strings.TrimRight(option, "=*")
		kinds[name] = (option + " ")[len(name)]
		known = append(known, name)
	}
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		if !strings.HasPrefix(word, "-") || word == "-" {
			l.names = append(l.names, unescape(word))
			continue
		}
		name, err := complete(word[1:], known)
		if err != nil {
			return l, err
		}
		if kinds[name] == ' ' {
			l.flags[name] = true
			continue
		}
		if kinds[name] == '=' && len(l.values[name]) > 0 {
			return l, fmt.Errorf("option -%s stands twice: %w", name, errUsage)
		}
		if len(words) == 0 || strings.HasPrefix(words[0], "-") {
			return l, fmt.Errorf("option -%s wants a value: %w", name, errUsage)
		}
		for first := true; len(words) > 0 && !strings.HasPrefix(words[0], "-") && (first || kinds[name] == '*'); first = false {
			l.values[name] = append(l.values[name], unescape(words[0]))
			words = words[1:]
		}
	}
	return l, nil
}
