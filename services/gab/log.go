package gab

// orderLog holds the part of the total order that some member may still need:
// positions base+1 to base+len(entries).
type orderLog struct {
	base    uint64
	entries []entry
}

// length is the last position held.
func (l *orderLog) length() uint64 { return l.base + uint64(len(l.entries)) }

// at is the entry of position p, base < p <= length.
func (l *orderLog) at(p uint64) *entry { return &l.entries[p-l.base-1] }

// between is the entries of positions after+1 to upto, those that are held.
func (l *orderLog) between(after, upto uint64) []entry {
	after, upto = max(after, l.base), min(upto, l.length())
	if after >= upto {
		return nil
	}
	return l.entries[after-l.base : upto-l.base]
}

func (l *orderLog) add(es ...entry) { l.entries = append(l.entries, es...) }

// cut drops the positions above p.
func (l *orderLog) cut(p uint64) {
	if p < l.length() && p >= l.base {
		l.entries = append([]entry(nil), l.entries[:p-l.base]...)
	}
}

// trim forgets the positions up to p. What is left is copied, so that payloads
// which are no longer needed are freed.
func (l *orderLog) trim(p uint64) {
	p = min(p, l.length())
	if p <= l.base {
		return
	}
	l.entries = append(make([]entry, 0, l.length()-p+16), l.entries[p-l.base:]...)
	l.base = p
}

// lastView is the position of the last view entry held, 0 if none.
func (l *orderLog) lastView() uint64 {
	for p := l.length(); p > l.base; p-- {
		if l.at(p).kind == entryView {
			return p
		}
	}
	return 0
}
