package confdisk

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
)

// A backup comes every interval while the configuration is writable, not for
// what is written already, and the interval begins anew when it is opened.
func TestBackupsDue(t *testing.T) {
	var b Backups
	for i, c := range []struct {
		at       int // minutes
		writable bool
		every    int
		sequence uint64
		want     bool
	}{
		{0, false, 3, 1, false},
		{10, true, 3, 1, false}, // it becomes writable
		{12, true, 3, 2, false},
		{13, true, 3, 2, true},
		{14, true, 3, 3, false},
		{16, true, 3, 3, true},
		{19, true, 3, 3, false}, // nothing new
		{20, true, 3, 4, false},
		{22, true, 3, 4, true},
		{23, false, 3, 5, false},
		{40, true, 3, 6, false}, // opened anew
		{43, true, 3, 6, true},
		{60, true, 0, 7, false},
	} {
		if got := b.Due(vclock.Time(0).Add(time.Duration(c.at)*time.Minute), c.writable, c.every, time.Minute, c.sequence); got != c.want {
			t.Errorf("step %d, minute %d: %v", i, c.at, got)
		}
	}
}
