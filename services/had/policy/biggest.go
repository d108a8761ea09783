package policy

import (
	"fmt"
	"slices"
	"strings"
)

// BiggestAvailable is the FailOverPolicy that goes by what systems measure of
// themselves.
const BiggestAvailable = "BiggestAvailable"

// Meter is what a system has free of one thing.
type Meter struct {
	// Name is CPU (hundredths of a core), Mem and Swap (MiB) or IO (hundredths
	// of a percent of time without a stall).
	Name string `json:"name"`
	// Weight is MeterWeight's number for it.
	Weight int64 `json:"weight,omitempty"`
	// Free is the forecast, Total what the system has.
	Free  int64 `json:"free"`
	Total int64 `json:"total"`
}

// String prints a meter for people.
func (m Meter) String() string {
	switch m.Name {
	case "CPU":
		return fmt.Sprintf("CPU %s of %s cores", hundredths(m.Free), hundredths(m.Total))
	case "IO":
		return fmt.Sprintf("IO %s of 100 %%", hundredths(m.Free))
	}
	return fmt.Sprintf("%s %d of %d MB", m.Name, m.Free, m.Total)
}

func hundredths(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	return fmt.Sprintf("%s%d.%02d", sign, n/100, n%100)
}

// rate gives each candidate that has meters its Score: for each meter its
// share, in thousandths, of the most that any candidate has free, averaged by
// weight.
func rate(candidates []Candidate) []Candidate {
	most := map[string]int64{}
	for _, c := range candidates {
		for _, m := range c.Meters {
			most[m.Name] = max(most[m.Name], m.Free)
		}
	}
	out := slices.Clone(candidates)
	for i, c := range out {
		var sum, weights int64
		for _, m := range c.Meters {
			weights += m.Weight
			if top := most[m.Name]; top > 0 {
				sum += m.Weight * 1000 * max(m.Free, -top) / top
			}
		}
		if weights > 0 {
			out[i].Score, out[i].metered = sum/weights, true
		}
	}
	return out
}

// bigger says whether a has more free than b, and whether they differ; who has
// not been heard of comes last.
func bigger(a, b Candidate) (yes, differ bool) {
	if a.metered != b.metered {
		return a.metered, true
	}
	return a.Score > b.Score, a.Score != b.Score
}

func measureBiggest(c Candidate) string {
	if !c.metered {
		return fmt.Sprintf("no meters heard yet, so by priority: %d in SystemList", c.Priority)
	}
	var parts []string
	for _, m := range c.Meters {
		if m.Weight > 0 {
			parts = append(parts, fmt.Sprintf("%s (weight %d)", m, m.Weight))
		}
	}
	return fmt.Sprintf("forecast %d of 1000: free %s", c.Score, strings.Join(parts, ", "))
}
