package sim

import (
	"fmt"
	"hash/crc32"

	"github.com/evenkeel/evenkeel/llt"
	"github.com/evenkeel/evenkeel/services/gab"
)

const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// mix takes a number into the hash.
func (w *World) mix(x uint64) {
	w.sum = (w.sum^x)*fnvPrime ^ x>>29
}

// fail notes the first invariant that does not hold; the world stops.
func (w *World) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf("at %s, step %d: ", w.now, w.steps) + fmt.Sprintf(format, args...)
		w.say("FAILURE %s", w.failure)
	}
}

// say is a line of the trace, and counts for the hash.
func (w *World) say(format string, args ...any) {
	w.line = fmt.Appendf(w.line[:0], format, args...)
	w.mix(uint64(w.now))
	w.mix(uint64(checksum(w.line)))
	if w.opt.Trace != nil {
		w.opt.Trace(w.now.String() + " " + string(w.line))
	}
}

// tell is a line for administrators.
func (w *World) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.say("## %s", line)
	if w.opt.Story != nil {
		w.opt.Story(w.now.String() + "  " + line)
	}
}

// record is one step in the trace and in the hash.
func record[E fmt.Stringer](w *World, name, core string, ev fmt.Stringer, out []E) {
	w.say("%s %s < %s", name, core, ev)
	for _, e := range out {
		w.say("%s %s   > %s", name, core, e)
	}
}

// recordLLT hashes the frames that go out where they go out, and the rest of
// what LLT wants by its text; the trace shows no frames.
func (w *World) recordLLT(n *node, ev llt.Event, out []llt.Effect) {
	w.mix(uint64(w.now)<<8 ^ uint64(n.id)<<4 ^ uint64(len(out)))
	for i := range out {
		switch e := out[i].(type) {
		case *llt.FrameOut:
		case *llt.SendDone:
			w.mix(e.ID<<1 | bit(e.Failed))
		case *llt.Deliver:
			w.mix(uint64(checksum(e.Msg)))
		default:
			w.say("%s llt < %s > %s", n.name, ev, e)
		}
	}
}

// recordGab hashes messages by their bytes and the rest by its text.
func (w *World) recordGab(n *node, ev gab.Event, out []gab.Effect) {
	if w.opt.Trace != nil {
		w.trace("%s gab < %s", n.name, ev)
		for i := range out {
			w.trace("%s gab   > %s", n.name, out[i])
		}
	}
	w.mix(uint64(w.now)<<8 ^ uint64(n.id)<<4 ^ uint64(len(out)) ^ 1<<63)
	if m, ok := ev.(gab.MsgIn); ok {
		w.mix(uint64(checksum(m.Msg)))
	}
	for i := range out {
		switch e := out[i].(type) {
		case gab.TransportSend:
			w.mix(uint64(checksum(e.Msg)))
		case gab.DeliverMessage:
			w.mix(uint64(checksum(e.Payload)) ^ e.Seq<<32)
		case gab.Lease:
			w.mix(uint64(e.Until))
		case gab.Outcome:
			w.mix(e.ID<<4 | uint64(e.Result))
		default:
			w.hashText("%s", out[i])
		}
	}
}

// trace shows a line that is not for the hash.
func (w *World) trace(format string, args ...any) {
	w.opt.Trace(w.now.String() + " " + fmt.Sprintf(format, args...))
}

// hashText takes a text into the hash that the trace does not show.
func (w *World) hashText(format string, args ...any) {
	w.line = fmt.Appendf(w.line[:0], format, args...)
	w.mix(uint64(checksum(w.line)))
}

func bit(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}
