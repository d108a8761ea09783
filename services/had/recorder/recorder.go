// Package recorder is how had's flight recorder writes down what its engine
// took, and how hasim replay plays that again: the state at some places, every
// event with its place in the total order, and hashes on the way. Pure.
package recorder

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"io"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

// The names under which the journal keeps the records.
const (
	CoreEvent = "engine"
	CoreState = "engine-state"
	CoreHash  = "engine-hash"
)

// Event is an event of the engine with its place.
type Event struct {
	Pos  engine.Pos
	From engine.SystemID
	Ev   engine.Event
}

type eventLine struct {
	Pos   engine.Pos      `json:"pos"`
	From  engine.SystemID `json:"from,omitempty"`
	Event json.RawMessage `json:"event"`
}

// String is the record as the journal keeps it.
func (e Event) String() string {
	body, err := engine.Encode(e.Ev)
	if err != nil {
		return "lost: " + err.Error()
	}
	return line(eventLine{e.Pos, e.From, body})
}

// Weight is about how many bytes an event holds while it is in the journal.
func Weight(ev engine.Event) int {
	files := []engine.File(nil)
	switch e := ev.(type) {
	case engine.ConfigLoaded:
		files = e.Files
	case engine.Command:
		files = e.Files
	}
	n := 256
	for _, f := range files {
		n += len(f.Text)
	}
	return n
}

// State is the whole state of the engine. Anew: it did not come from the events
// before it but from a peer or from nothing.
type State struct {
	Anew     bool            `json:"anew,omitempty"`
	Snapshot json.RawMessage `json:"snapshot"`
}

// String is the record as the journal keeps it.
func (s State) String() string { return line(s) }

// Hash is the hash of a part of the state (engine.HashPart) at a place.
type Hash struct {
	Pos  engine.Pos `json:"pos"`
	Part uint64     `json:"part"`
	Hash string     `json:"hash"`
}

// HashOf is that of an engine as it is.
func HashOf(e *engine.Engine) Hash {
	pos := e.Position()
	return Hash{pos, pos.Seq, fmt.Sprintf("%016x", e.HashPart(pos.Seq))}
}

// String is the record as the journal keeps it.
func (h Hash) String() string { return line(h) }

// line is a record with a sum that tells whether somebody changed the line.
func line(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "lost: " + err.Error()
	}
	return fmt.Sprintf("%s #%08x", text, crc32.ChecksumIEEE(text))
}

// Replayed is what a replay found.
type Replayed struct {
	// Start is the journal's first line: whose it is.
	Start string
	// Events were applied; Skipped lie before the first state in the journal.
	Events, Skipped int
	// States and Hashes were compared, and were equal.
	States, Hashes int
	// First and Last are the places of the first state and the last event.
	First, Last engine.Pos
	// Hash is that of the whole state at the end.
	Hash uint64
	// Decisions were taken again on their stored inputs.
	Decisions int
	// Difference is the first one, nil if there is none.
	Difference *Difference
}

// Difference is where the journal and the engine are not of one opinion.
type Difference struct {
	Line int
	Pos  engine.Pos
	Text string
	// Since are the events since both were equal last, and Equal the line where
	// they were (0: never).
	Equal int
	Since []string
}

// String is the difference for people.
func (d *Difference) String() string {
	text := fmt.Sprintf("line %d, at %s: %s", d.Line, d.Pos, d.Text)
	if d.Equal > 0 {
		text += fmt.Sprintf("\nequal until line %d; %d events since then", d.Equal, len(d.Since))
		for _, s := range d.Since[max(0, len(d.Since)-20):] {
			text += "\n  " + s
		}
	}
	return text
}

// ErrNothing is returned for a journal without a state to begin with.
var ErrNothing = errors.New("the journal holds no state of an engine to begin with; had.journal of this release does")

// player is one replay.
type player struct {
	out   Replayed
	eng   *engine.Engine
	n     int // line
	equal int
	since []string
	told  func(at string, x engine.Explanation)
}

// Replay plays a journal; told, if not nil, is handed each decision with the
// time that stands before its event.
func Replay(r io.Reader, told func(at string, x engine.Explanation)) (Replayed, error) {
	p := &player{told: told}
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		text, err := in.ReadString('\n')
		if text = strings.TrimSuffix(text, "\n"); text != "" {
			p.n++
			p.line(text)
		}
		if p.out.Difference != nil || err == io.EOF {
			break
		}
		if err != nil {
			return p.out, fmt.Errorf("read journal: %w", err)
		}
	}
	if p.eng == nil && p.out.Difference == nil {
		return p.out, ErrNothing
	}
	if p.eng != nil {
		p.out.Hash = p.eng.Hash()
	}
	return p.out, nil
}

func (p *player) line(text string) {
	if p.n == 1 {
		p.out.Start = strings.TrimPrefix(text, "# ")
	}
	at, rest, _ := strings.Cut(text, " ")
	core, body, _ := strings.Cut(rest, " ")
	switch core {
	case CoreEvent, CoreState, CoreHash:
	default:
		return
	}
	body, ok := summed(body)
	if !ok {
		p.differ("this line was changed after had wrote it, or is not whole: %.80s", body)
		return
	}
	switch core {
	case CoreEvent:
		var e eventLine
		if p.read(body, &e) {
			p.event(at, e)
		}
	case CoreState:
		var s State
		if p.read(body, &s) {
			p.state(s)
		}
	case CoreHash:
		var h Hash
		if p.read(body, &h) {
			p.hash(h)
		}
	}
}

// summed cuts the sum off; false if it is not that of the text.
func summed(body string) (string, bool) {
	i := strings.LastIndex(body, " #")
	if i < 0 {
		return body, false
	}
	sum, err := strconv.ParseUint(body[i+2:], 16, 32)
	return body[:i], err == nil && uint32(sum) == crc32.ChecksumIEEE([]byte(body[:i]))
}

func (p *player) read(body string, into any) bool {
	d := json.NewDecoder(strings.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		p.differ("not a record of this release: %v", err)
		return false
	}
	return true
}

func (p *player) differ(format string, args ...any) {
	d := &Difference{Line: p.n, Text: fmt.Sprintf(format, args...), Equal: p.equal, Since: p.since}
	if p.eng != nil {
		d.Pos = p.eng.Position()
	}
	p.out.Difference = d
}

func (p *player) isEqual() { p.equal, p.since = p.n, nil }

func (p *player) event(at string, e eventLine) {
	if p.eng == nil {
		p.out.Skipped++
		return
	}
	ev, err := engine.Decode(e.Event)
	if err != nil {
		p.differ("%v", err)
		return
	}
	p.since = append(p.since, fmt.Sprintf("%s %s %s", e.Pos, e.From, ev))
	for _, effect := range p.eng.Apply(e.Pos, e.From, ev, nil) {
		x, is := effect.(engine.Explained)
		if !is {
			continue
		}
		p.out.Decisions++
		if !x.Explanation.Repeatable() {
			p.differ("deciding again on the stored inputs gives another decision (E196) than: %s", x.Explanation)
			return
		}
		if p.told != nil {
			p.told(at, x.Explanation)
		}
	}
	p.out.Events++
	p.out.Last = e.Pos
}

func (p *player) state(s State) {
	if p.eng == nil || s.Anew {
		eng, err := engine.Restore(s.Snapshot)
		if err != nil {
			p.differ("%v", err)
			return
		}
		if p.eng == nil {
			p.out.First = eng.Position()
		}
		p.eng = eng
		p.out.States++
		p.isEqual()
		return
	}
	if mine := p.eng.Snapshot(); !bytes.Equal(mine, s.Snapshot) {
		i := 0
		for i < len(mine) && i < len(s.Snapshot) && mine[i] == s.Snapshot[i] {
			i++
		}
		p.differ("the state is another one: had had %q, the replay has %q (hashes %016x and %016x)", around(s.Snapshot, i), around(mine, i), sum(s.Snapshot), sum(mine))
		return
	}
	p.out.States++
	p.isEqual()
}

func sum(b []byte) uint64 {
	h := fnv.New64a()
	h.Write(b)
	return h.Sum64()
}

// around is what stands near a place of a state.
func around(b []byte, i int) []byte { return b[max(0, min(len(b), i-60)):min(len(b), i+40)] }

func (p *player) hash(h Hash) {
	if p.eng == nil {
		return
	}
	if pos := p.eng.Position(); pos != h.Pos {
		p.differ("had was at %s here, the replay is at %s: events are missing, or there are too many", h.Pos, pos)
		return
	}
	if mine := fmt.Sprintf("%016x", p.eng.HashPart(h.Part)); mine != h.Hash {
		p.differ("the hash of the state is %s, had had %s", mine, h.Hash)
		return
	}
	p.out.Hashes++
	p.isEqual()
}
