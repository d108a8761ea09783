package maincf

import (
	"sort"
	"strings"
)

// nearest returns the candidate that was probably meant by name, or "". A
// difference of case alone always counts; otherwise at most a third of the
// letters, and never more than three, may differ. A name that is itself a
// candidate was meant.
func nearest(name string, candidates []string) string {
	if len(name) > 64 || name == "" {
		return ""
	}
	limit := min(len(name)/3, 3)
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	best, bestDistance := "", limit+1
	for _, c := range sorted {
		if c == name {
			return ""
		}
		if len(c) > 64 || len(c)-len(name) > limit || len(name)-len(c) > limit {
			continue
		}
		d := distance(strings.ToLower(name), strings.ToLower(c))
		if d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// Nearest returns the candidate that was probably meant by a word that is
// none of them, or "".
func Nearest(word string, candidates []string) string { return nearest(word, candidates) }

// didYouMean is the end of a message, or nothing.
func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return "; did you mean " + n + "?"
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour (optimal string alignment).
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
