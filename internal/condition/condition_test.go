package condition

import (
	"strings"
	"testing"
)

func TestHolds(t *testing.T) {
	for _, c := range []struct {
		text   string
		values string // parted by ;
		want   bool
	}{
		{"Parallel=1", "1", true}, {"Parallel=1", "10", false}, {"Parallel!=1", "10", true}, {"Parallel!=1", "1", false},
		{"State=ONLINE", "|ONLINE|", true}, {"State=|ONLINE|", "ONLINE", true}, {"State=ONLINE", "|ONLINE|STOPPING|", false},
		{"State=~ONL", "|ONLINE|", true}, {"State=~FAULTED", "|OFFLINE|FAULTED|", true}, {"State=~FAULTED", "|OFFLINE|", false},
		{"State=ONLINE", "|OFFLINE|;|ONLINE|", true}, {"State!=ONLINE", "|OFFLINE|;|ONLINE|", false},
		{"SystemList=~sysB", "sysA\t0\tsysB\t1", true}, {"SystemList=~sys", "sysA\t0", true}, {"SystemList=~ysB", "sysA\t0\tsysB\t1", false},
		{"Owner=", "", true}, {"Owner=", "me", false}, {"Owner!=", "me", true}, {"Note=a=b", "a=b", true},
	} {
		got, err := Parse(c.text)
		if err != nil || got.Holds(strings.Split(c.values, ";")) != c.want {
			t.Errorf("%s of %q: %v (%+v, %v)", c.text, c.values, !c.want, got, err)
		}
	}
	for _, bad := range []string{"", "app", "=1", "!=1"} {
		if c, err := Parse(bad); err == nil || !strings.Contains(err.Error(), "Attribute=~value") {
			t.Errorf("%q became %+v, %v", bad, c, err)
		}
	}
}
