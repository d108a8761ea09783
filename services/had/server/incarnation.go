package server

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// nextIncarnation numbers the runs of had on this system: each is higher than
// all before, also when the clock was set back. A lost file is no harm, for
// then the number goes by the clock.
func nextIncarnation(root paths.Root, now time.Time) (uint64, error) {
	next := uint64(max(1, now.UnixNano()))
	path := root.State("had.incarnation")
	text, err := os.ReadFile(path)
	if err == nil {
		last, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && last >= next {
			next = last + 1
		}
	}
	if err := replaceFile(path, []byte(strconv.FormatUint(next, 10)+"\n")); err != nil {
		return next, fmt.Errorf("keep the incarnation of had: %w", err)
	}
	return next, nil
}
