package server

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/services/gab"
)

// Gabtab is what gabtab says: one line such as "/sbin/gabconfig -c -n2".
type Gabtab struct {
	// SeedCount is the argument of -n: so many systems, this one included,
	// must be seen before the membership seeds itself. 0: join only.
	SeedCount int
	// SeedNow is -x: seed at the start, whoever is seen.
	SeedNow bool
	// Options are the others.
	Options Options
}

// ParseGabtab reads gabtab. file is its name for error messages.
func ParseGabtab(file, text string) (Gabtab, error) {
	var g Gabtab
	found := false
	for n, line := range strings.Split(text, "\n") {
		if i := strings.IndexByte(line, '#'); i >= 0 {
			line = line[:i]
		}
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		fail := func(word, format string, args ...any) error {
			return fmt.Errorf("%s:%d:%d: %s", file, n+1, strings.Index(line, word)+1, fmt.Sprintf(format, args...))
		}
		if name := fields[0][strings.LastIndexByte(fields[0], '/')+1:]; name != "gabconfig" {
			return g, fail(fields[0], "unknown command %q; write: gabconfig -c -nN, N being the number of systems", fields[0])
		}
		if found {
			return g, fail(fields[0], "a second gabconfig; one line is enough")
		}
		found = true
		if err := g.options(fields[1:], fail); err != nil {
			return g, err
		}
	}
	if !found {
		return g, fmt.Errorf("%s:1:1: the file is empty; write: gabconfig -c -nN, N being the number of systems", file)
	}
	return g, nil
}

func (g *Gabtab) options(words []string, fail func(word, format string, args ...any) error) error {
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "-c":
		case w == "-x":
			g.SeedNow = true
		case w == "-S" && i+1 < len(words):
			i++
			d, err := parseIsolate(words[i])
			if err != nil {
				return fail(words[i], "%v", err)
			}
			g.Options.Isolate = d
		case len(w) == 2 && w[0] == '-' && g.set(w[1]):
		case strings.HasPrefix(w, "-n"):
			number := w[2:]
			if number == "" && i+1 < len(words) {
				i++
				number = words[i]
			}
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 || n > gab.MaxNodes {
				return fail(w, "%q is no number of systems from 0 to %d; write: gabconfig -c -nN", number, gab.MaxNodes)
			}
			g.SeedCount = n
		default:
			return fail(w, "unknown option %q; -c, -nN, -x, -j, -J, -k, -b, -B, -p, -P, -q, -d and -S isolate_time:MS are known", w)
		}
	}
	return nil
}

// set sets the option of a letter and reports whether there is one.
func (g *Gabtab) set(letter byte) bool {
	option, on := g.Options.flag(letter)
	if option != nil {
		*option = on
	}
	return option != nil
}
