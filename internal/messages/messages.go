// Package messages is the catalogue of messages as programs read it: what an
// id means and what to do about it.
package messages

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/docs"
)

// Entry is what is known of one id.
type Entry struct {
	// ID is the whole id: "V-16-1-10205".
	ID string
	// Severities it is given with, the usual one first.
	Severities []string
	// Text is its shape; capitals stand for names.
	Text          string
	Cause, Remedy string
}

var (
	idForm    = regexp.MustCompile(`^V-(\d+)-(\d+)-(\d+)$`)
	textForm  = regexp.MustCompile(`^((?:CRITICAL|ERROR|WARNING|NOTICE|INFO)(?:, (?:CRITICAL|ERROR|WARNING|NOTICE|INFO))*): (.+)$`)
	entryForm = regexp.MustCompile(`(?m)^## (V-.*)$`)
)

// Parse reads the sections of a catalogue, in their order: each with id,
// severity, text, cause and remedy, no id twice.
func Parse(text string) ([]Entry, error) {
	var all []Entry
	seen := map[string]bool{}
	starts := entryForm.FindAllStringSubmatchIndex(text, -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		e, err := parseEntry(text[at[2]:at[3]], text[at[1]:end])
		if err != nil {
			return nil, err
		}
		if seen[e.ID] {
			return nil, fmt.Errorf("message catalogue: %s has two sections", e.ID)
		}
		seen[e.ID] = true
		all = append(all, e)
	}
	return all, nil
}

// Sorted puts the sections of a catalogue into the order of their ids.
func Sorted(text string) string {
	starts := entryForm.FindAllStringSubmatchIndex(text, -1)
	if len(starts) == 0 {
		return text
	}
	type section struct{ id, text string }
	var sections []section
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		sections = append(sections, section{text[at[2]:at[3]], strings.TrimRight(text[at[0]:end], "\n") + "\n"})
	}
	slices.SortStableFunc(sections, func(a, b section) int { return compare(a.id, b.id) })
	out := text[:starts[0][0]]
	for i, s := range sections {
		if i > 0 {
			out += "\n"
		}
		out += s.text
	}
	return out
}

func parseEntry(id, body string) (Entry, error) {
	e := Entry{ID: id}
	if !idForm.MatchString(id) {
		return e, fmt.Errorf("message catalogue: %q is no id; write V-16-1-12345", id)
	}
	for _, line := range strings.Split(body, "\n") {
		line = strings.TrimSpace(line)
		field := (*string)(nil)
		switch m := textForm.FindStringSubmatch(line); {
		case line == "":
			continue
		case m != nil && e.Text == "":
			e.Severities, e.Text = strings.Split(m[1], ", "), m[2]
			continue
		case strings.HasPrefix(line, "- Cause: "):
			field, line = &e.Cause, line[len("- Cause: "):]
		case strings.HasPrefix(line, "- Remedy: "):
			field, line = &e.Remedy, line[len("- Remedy: "):]
		}
		if field == nil || *field != "" {
			return e, fmt.Errorf("message catalogue: %s: line %q; a section is \"SEVERITY: text\", \"- Cause: ...\", \"- Remedy: ...\", each in one line", id, line)
		}
		*field = line
	}
	if e.Text == "" || e.Cause == "" || e.Remedy == "" {
		return e, fmt.Errorf("message catalogue: %s lacks its text, cause or remedy", id)
	}
	return e, nil
}

// compare orders ids by their numbers.
func compare(a, b string) int {
	x, y := idForm.FindStringSubmatch(a), idForm.FindStringSubmatch(b)
	if x == nil || y == nil {
		return strings.Compare(a, b)
	}
	for i := 1; i < 4; i++ {
		m, _ := strconv.Atoi(x[i])
		n, _ := strconv.Atoi(y[i])
		if m != n {
			return cmp.Compare(m, n)
		}
	}
	return 0
}

// All returns the catalogue.
func All() []Entry {
	all, err := Parse(docs.Messages)
	if err != nil { // the test of this package reads the same text
		panic(err)
	}
	return all
}

// Find returns the entry of an id; a bare number means V-16-1.
func Find(id string) (Entry, bool) {
	id = Whole(id)
	all := All()
	i := slices.IndexFunc(all, func(e Entry) bool { return e.ID == id })
	if i < 0 {
		return Entry{}, false
	}
	return all[i], true
}

// Whole completes a bare number or a number with its category to an id.
func Whole(id string) string {
	switch strings.Count(id, "-") {
	case 0:
		category := "1"
		if strings.HasPrefix(id, "13") && id != "13322" {
			category = "2"
		}
		return "V-16-" + category + "-" + id
	case 1:
		return "V-16-" + id
	}
	return strings.ToUpper(id)
}
