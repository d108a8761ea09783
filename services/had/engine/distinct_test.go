package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wantedStories is how many stories there are at least, those that differ only
// in names counted once.
const wantedStories = 500

var (
	storyStart = regexp.MustCompile(`(?m)^story .*$`)
	storyText  = regexp.MustCompile(`(?m)^#.*\n`)
	storyName  = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_.-]*`)
	storyPlace = regexp.MustCompile(`\(\d+,\d+\)|#\d+`)
)

// sameNames gives the names that a story makes up, those of its systems,
// groups and resources, the same names in every story, in the order in which
// they come; places in the order and numbers of orders go.
func sameNames(story string) string {
	made := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(?:group|system|App|Net|Daemon)\s+([A-Za-z0-9_.-]+)`).FindAllStringSubmatch(story, -1) {
		made[m[1]] = ""
	}
	for _, m := range regexp.MustCompile(`(?m)^config ([A-Za-z0-9_ .-]+)$`).FindAllStringSubmatch(story, -1) {
		for _, n := range strings.Fields(m[1]) {
			made[n] = ""
		}
	}
	next := 0
	story = storyName.ReplaceAllStringFunc(story, func(w string) string {
		name, ours := made[w]
		if !ours {
			return w
		}
		if name == "" {
			next++
			name = fmt.Sprint("name", next)
			made[w] = name
		}
		return name
	})
	return strings.Join(strings.Fields(storyPlace.ReplaceAllString(story, "")), " ")
}

// TestStoriesAreDistinct counts the stories; those that differ in names and
// comments alone count once.
func TestStoriesAreDistinct(t *testing.T) {
	seen := map[string]string{}
	all := 0
	files, err := filepath.Glob("testdata/stories/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := storyText.ReplaceAllString(string(data), "")
		starts := storyStart.FindAllStringIndex(text, -1)
		for i, at := range starts {
			end := len(text)
			if i+1 < len(starts) {
				end = starts[i+1][0]
			}
			all++
			title := filepath.Base(f) + ": " + text[at[0]:at[1]]
			body := sameNames(text[at[1]:end])
			if before, twice := seen[body]; twice {
				t.Logf("%s is %s with other names", title, before)
				continue
			}
			seen[body] = title
		}
	}
	t.Logf("%d stories, %d of them distinct", all, len(seen))
	if len(seen) < wantedStories {
		t.Errorf("%d distinct stories; %d wanted", len(seen), wantedStories)
	}
}

// TestSameNames: what only has other names is the same, what does something
// else is not.
func TestSameNames(t *testing.T) {
	a := "config A B\ngroup web (\n\t)\n\tApp app (\n\t\t)\n----\ncommand group-online web A\n----\nresult OK at (1,3)\n"
	b := strings.NewReplacer("web", "shop", "app", "till", "A", "X", "B", "Y", "(1,3)", "(2,9)").Replace(a)
	b = strings.Replace(strings.Replace(b, "Xpp", "App", 1), "OK", "OK", 1)
	if sameNames(a) != sameNames(b) {
		t.Errorf("%q\n%q", sameNames(a), sameNames(b))
	}
	if c := strings.Replace(a, "web A", "web B", 1); sameNames(a) == sameNames(c) {
		t.Errorf("another system makes no difference: %q", sameNames(c))
	}
}
