// Package replay tells whether a counter of a frame was seen before (R20).
//
// A Window remembers the highest counter and which of the Size counters below
// it were seen. The zero Window has seen nothing and accepts any counter from
// 1 on. It is a value: no goroutine may use it while another changes it.
package replay

// Size is how far below the highest seen counter another may lie.
const Size = (words - 1) * 64

// words is one more than Size needs: the word that the highest counter lies in
// is cleared when it is entered, and with it counters that must be old by then.
const words = 32

// Window is one window of counters.
type Window struct {
	highest uint64
	seen    [words]uint64 // bit n%(64*words) is counter n, for highest-Size < n <= highest
	floor   uint64        // counters up to it are refused
}

// Raise makes the window refuse every counter up to floor.
func (w *Window) Raise(floor uint64) {
	w.floor = max(w.floor, floor)
}

// Fresh reports whether Accept would take n. Ask it before the frame is
// authenticated, and Accept after.
func (w *Window) Fresh(n uint64) bool {
	switch {
	case n == 0 || n <= w.floor:
		return false
	case n > w.highest:
		return true
	case w.highest-n >= Size:
		return false
	}
	return w.seen[n/64%words]&(1<<(n%64)) == 0
}

// Accept records n and reports whether it had not been seen.
func (w *Window) Accept(n uint64) bool {
	if !w.Fresh(n) {
		return false
	}
	if n > w.highest {
		w.advance(n)
	}
	w.seen[n/64%words] |= 1 << (n % 64)
	return true
}

// advance clears the words that enter the window.
func (w *Window) advance(n uint64) {
	if n-w.highest >= Size {
		w.seen = [words]uint64{}
	} else {
		for i := w.highest/64 + 1; i <= n/64; i++ {
			w.seen[i%words] = 0
		}
	}
	w.highest = n
}
