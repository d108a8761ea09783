package policy

import (
	"sort"
	"strings"
)

// Nearest returns up to three of the known names that somebody who wrote name
// may have meant, the likeliest first.
func Nearest(name string, known []string) []string {
	if len(name) > 128 {
		return nil
	}
	limit := min(max(len(name)/3, 1), len(name)-1)
	type guess struct {
		name string
		dist int
	}
	var guesses []guess
	for _, k := range known {
		d := distance(strings.ToLower(name), strings.ToLower(k))
		if d <= limit || (len(name) >= 3 && strings.HasPrefix(strings.ToLower(k), strings.ToLower(name))) {
			guesses = append(guesses, guess{k, d})
		}
	}
	sort.Slice(guesses, func(i, j int) bool {
		if guesses[i].dist != guesses[j].dist {
			return guesses[i].dist < guesses[j].dist
		}
		return guesses[i].name < guesses[j].name
	})
	var out []string
	for _, g := range guesses[:min(len(guesses), 3)] {
		out = append(out, g.name)
	}
	return out
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour.
func distance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
