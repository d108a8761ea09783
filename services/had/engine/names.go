package engine

import "strings"

// nameTable finds the number of a resource by its name. It is smaller than a
// map and keeps the names beside each other, so that it stays in the
// processor's cache with tens of thousands of them: every report is looked up
// here.
type nameTable struct {
	// slots by hash, a power of two of them, at most three in four of them taken.
	slots []nameSlot
	// names are all names in one text, ends where each ends.
	names string
	ends  []uint32
}

// nameSlot is free with a number of 0; else it holds one more than a
// resource's number.
type nameSlot struct{ hash, num uint32 }

func newNameTable(resources []*resourceModel) nameTable {
	size := 2
	for 3*size < 4*len(resources) {
		size *= 2
	}
	t := nameTable{slots: make([]nameSlot, size), ends: make([]uint32, 1, 1+len(resources))}
	var names strings.Builder
	for _, r := range resources {
		names.WriteString(r.name)
		t.ends = append(t.ends, uint32(names.Len()))
	}
	t.names = strings.Clone(names.String()) // without the builder's spare room
	for n, r := range resources {
		hash := hashName(r.name)
		at := hash & uint32(size-1)
		for t.slots[at].num != 0 {
			at = (at + 1) & uint32(size-1)
		}
		t.slots[at] = nameSlot{hash, uint32(1 + n)}
	}
	return t
}

// find returns the number of the resource of a name, or -1.
func (t *nameTable) find(name string) int {
	if len(t.slots) == 0 {
		return -1
	}
	hash, mask := hashName(name), uint32(len(t.slots)-1)
	for at := hash & mask; ; at = (at + 1) & mask {
		s := t.slots[at]
		if s.num == 0 {
			return -1
		}
		if s.hash == hash && t.names[t.ends[s.num-1]:t.ends[s.num]] == name {
			return int(s.num - 1)
		}
	}
}

// hashName is FNV-1a with its bits mixed for a table of a power of two.
func hashName(name string) uint32 {
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return uint32(h ^ h>>32)
}
