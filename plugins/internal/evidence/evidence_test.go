package evidence

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// R4: a foreign owner needs evidence, or a later incarnation of its own.
func TestMayTakeOver_R4(t *testing.T) {
	known := Known{Self: "B", Systems: []System{
		{Name: "A", Incarnation: 7, Evidence: "POWERED_OFF"},
		{Name: "B", Incarnation: 3, Member: true},
		{Name: "C", Incarnation: 9, Member: true},
		{Name: "D", Incarnation: 4},
		{Name: "E", Incarnation: 4, Evidence: "CUT"},
	}}
	for _, c := range []struct {
		owner       string
		incarnation uint64
		refused     string
	}{
		{"", 0, ""},
		{"B", 1, ""},
		{"A", 7, ""},
		{"A", 6, ""},
		{"A", 8, "later life"}, // evidence of an earlier incarnation says nothing
		{"C", 8, ""},
		{"C", 10, ""}, // another incarnation is here: that one is over
		{"C", 9, "member of the cluster"},
		{"D", 4, "ha fencing vouch D"},
		{"E", 4, "ha fencing vouch E"},
		{"F", 1, "ha fencing vouch F"},
	} {
		err := known.MayTakeOver(c.owner, c.incarnation)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("owner %q/%d refused: %v", c.owner, c.incarnation, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("owner %q/%d: got %v, want an error that says %q", c.owner, c.incarnation, err, c.refused)
		}
	}
}

func TestReadWithoutFileKnowsOnlyItself(t *testing.T) {
	known, err := Read(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := known.MayTakeOver("elsewhere", 1); err == nil {
		t.Fatal("took over a foreign claim without knowing anything")
	}
}

func TestReadRefusesGarbage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, File), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil {
		t.Fatal("read half a file")
	}
}
