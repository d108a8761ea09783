package engine

import (
	"fmt"
	"testing"
)

// TestNameTable finds each of many names, those that begin or end like others
// included, and none that is not there.
func TestNameTable(t *testing.T) {
	var none nameTable
	if got := none.find("a"); got != -1 {
		t.Errorf("an empty table has a at %d", got)
	}
	for _, n := range []int{0, 1, 2, 3, 1000, 20000} {
		var all []*resourceModel
		for i := range n {
			all = append(all, &resourceModel{name: fmt.Sprint("r", i)})
		}
		table := newNameTable(all)
		for i, r := range all {
			if got := table.find(r.name); got != i {
				t.Fatalf("%d names: %s is at %d, not %d", n, r.name, got, i)
			}
		}
		for _, name := range []string{"", "r", "R1", "r-1", fmt.Sprint("r", n), "r1r2"} {
			if got := table.find(name); got != -1 {
				t.Errorf("%d names: %q is at %d", n, name, got)
			}
		}
	}
}

// TestNamesOfOneHash finds both of two names with the same hash.
func TestNamesOfOneHash(t *testing.T) {
	seen := map[uint32]string{}
	for i := 0; i < 1_000_000; i++ {
		name := fmt.Sprint("res", i)
		other, ok := seen[hashName(name)]
		if !ok {
			seen[hashName(name)] = name
			continue
		}
		table := newNameTable([]*resourceModel{{name: other}, {name: name}})
		if a, b := table.find(other), table.find(name); a != 0 || b != 1 {
			t.Errorf("%s and %s have one hash and are at %d and %d", other, name, a, b)
		}
		return
	}
	t.Fatal("no two of a million names have one hash: the hash is not what it was")
}
