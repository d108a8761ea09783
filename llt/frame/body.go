package frame

import "encoding/binary"

// Nonce is a challenge or the answer to one; the zero Nonce is none.
type Nonce [16]byte

// Hello is the body of KindHello.
type Hello struct {
	Incarnation uint64
}

// Append appends the encoded body to dst.
func (h Hello) Append(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(dst, h.Incarnation)
}

// ParseHello decodes the body of KindHello.
func ParseHello(b []byte) (h Hello, err error) {
	if len(b) != 8 {
		return h, ErrBody
	}
	h.Incarnation = binary.BigEndian.Uint64(b)
	return h, nil
}

// Handshake is the body of KindHandshake.
type Handshake struct {
	Incarnation uint64
	// Challenge asks the receiver to answer with it; zero asks nothing.
	Challenge Nonce
	// Answer is the receiver's challenge; zero answers nothing.
	Answer Nonce
	// Links is the number of valid Counters.
	Links uint8
	// Counters are the counters that the sender used last on each of its
	// links: whatever is not newer than this handshake is old.
	Counters [8]uint64
}

// Append appends the encoded body to dst.
func (h Handshake) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.Incarnation)
	dst = append(dst, h.Challenge[:]...)
	dst = append(dst, h.Answer[:]...)
	dst = append(dst, h.Links)
	for _, c := range h.Counters[:min(int(h.Links), len(h.Counters))] {
		dst = binary.BigEndian.AppendUint64(dst, c)
	}
	return dst
}

// ParseHandshake decodes the body of KindHandshake.
func ParseHandshake(b []byte) (h Handshake, err error) {
	if len(b) < 41 || b[40] > 8 || len(b) != 41+8*int(b[40]) {
		return h, ErrBody
	}
	h.Incarnation = binary.BigEndian.Uint64(b)
	copy(h.Challenge[:], b[8:])
	copy(h.Answer[:], b[24:])
	h.Links = b[40]
	for i := range int(h.Links) {
		h.Counters[i] = binary.BigEndian.Uint64(b[41+8*i:])
	}
	return h, nil
}

// Status is what every heartbeat, data frame and farewell says.
type Status struct {
	// OwnEpoch and PeerEpoch name the connection: the sender's number of it
	// and the number that the sender last saw from the receiver, 0 for none.
	OwnEpoch, PeerEpoch uint64
	// AgeMs is the time since the sender's gab core last made a step (R19).
	AgeMs uint32
	// Expected is the next data number that the sender waits for.
	Expected uint64
	// Ack tells which later data numbers have arrived: bit i of word w is
	// Expected+1+64w+i.
	Ack [AckWords]uint64
}

// Append appends the encoded status to dst.
func (s Status) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, s.OwnEpoch)
	dst = binary.BigEndian.AppendUint64(dst, s.PeerEpoch)
	dst = binary.BigEndian.AppendUint32(dst, s.AgeMs)
	dst = binary.BigEndian.AppendUint64(dst, s.Expected)
	n := AckWords
	for n > 0 && s.Ack[n-1] == 0 {
		n--
	}
	dst = append(dst, byte(n))
	for _, w := range s.Ack[:n] {
		dst = binary.BigEndian.AppendUint64(dst, w)
	}
	return dst
}

// ParseStatus decodes a status at the beginning of b and returns what follows
// it: nothing for heartbeats and farewells, the rest of Data otherwise.
func ParseStatus(b []byte) (s Status, rest []byte, err error) {
	if len(b) < StatusMin {
		return s, nil, ErrBody
	}
	n := int(b[28])
	if n > AckWords || len(b) < StatusMin+8*n || (n > 0 && binary.BigEndian.Uint64(b[StatusMin+8*n-8:]) == 0) {
		return s, nil, ErrBody
	}
	s.OwnEpoch = binary.BigEndian.Uint64(b)
	s.PeerEpoch = binary.BigEndian.Uint64(b[8:])
	s.AgeMs = binary.BigEndian.Uint32(b[16:])
	s.Expected = binary.BigEndian.Uint64(b[20:])
	for i := range n {
		s.Ack[i] = binary.BigEndian.Uint64(b[StatusMin+8*i:])
	}
	return s, b[StatusMin+8*n:], nil
}

// AppendData appends what follows the status in a data frame.
func AppendData(dst []byte, number uint64, piece []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, number)
	return append(dst, piece...)
}

// Part precedes, after the status, a part of a piece that is too large for a
// link.
type Part struct {
	Number uint64 // of the piece
	Total  uint32 // bytes of the piece
	Size   uint16 // bytes of each part but the last
	Index  uint16 // of this part, from 0 on
}

// Bounds of Part.
const (
	PartOverhead = 8 // what a part needs more than a whole piece
	maxParts     = 256
)

// Append appends the encoded header to dst; the bytes of the part follow.
func (h Part) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.Number)
	dst = binary.BigEndian.AppendUint32(dst, h.Total)
	dst = binary.BigEndian.AppendUint16(dst, h.Size)
	return binary.BigEndian.AppendUint16(dst, h.Index)
}

// Count is the number of parts of the piece.
func (h Part) Count() int { return (int(h.Total) + int(h.Size) - 1) / int(h.Size) }

// ParsePart decodes what follows the status in a part.
func ParsePart(rest []byte) (h Part, data []byte, err error) {
	if len(rest) < 17 {
		return h, nil, ErrBody
	}
	h.Number = binary.BigEndian.Uint64(rest)
	h.Total = binary.BigEndian.Uint32(rest[8:])
	h.Size = binary.BigEndian.Uint16(rest[12:])
	h.Index = binary.BigEndian.Uint16(rest[14:])
	if h.Total == 0 || h.Total > 1<<16 || h.Size == 0 || h.Count() > maxParts || int(h.Index) >= h.Count() {
		return h, nil, ErrBody
	}
	want := min(int(h.Size), int(h.Total)-int(h.Index)*int(h.Size))
	if len(rest) != 16+want {
		return h, nil, ErrBody
	}
	return h, rest[16:], nil
}

// ParseData decodes what follows the status in a data frame.
func ParseData(rest []byte) (number uint64, piece []byte, err error) {
	if len(rest) < 9 {
		return 0, nil, ErrBody
	}
	return binary.BigEndian.Uint64(rest), rest[8:], nil
}

// Beacon is the body of KindBeacon: what one system has in its slot of a disk
// region. It says that the sender lives, and carries the challenges and answers
// that prove it (R20).
type Beacon struct {
	Incarnation uint64
	// AgeMs is the time since the sender's gab core last made a step (R19).
	AgeMs uint32
	// Links is the number of valid Counters, the counters that the sender used
	// last on each of its links.
	Links    uint8
	Counters [8]uint64
	// Calls are for one system each, MaxCalls at most.
	Calls []Call
}

// Call is a challenge to one system, the answer to its own, or both.
type Call struct {
	Node              uint8
	Challenge, Answer Nonce
}

// Bounds of Beacon.
const (
	MaxCalls = 64
	callSize = 1 + 16 + 16
	// MaxBeacon is the size of the largest sealed beacon in bytes.
	MaxBeacon = HeaderSize + BootSize + TagSize + 8 + 4 + 1 + 8*8 + 1 + MaxCalls*callSize
)

// Append appends the encoded body to dst.
func (b Beacon) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, b.Incarnation)
	dst = binary.BigEndian.AppendUint32(dst, b.AgeMs)
	n := min(int(b.Links), len(b.Counters))
	dst = append(dst, byte(n))
	for _, c := range b.Counters[:n] {
		dst = binary.BigEndian.AppendUint64(dst, c)
	}
	calls := b.Calls[:min(len(b.Calls), MaxCalls)]
	dst = append(dst, byte(len(calls)))
	for _, c := range calls {
		dst = append(dst, c.Node)
		dst = append(dst, c.Challenge[:]...)
		dst = append(dst, c.Answer[:]...)
	}
	return dst
}

// ParseBeacon decodes the body of KindBeacon.
func ParseBeacon(b []byte) (out Beacon, err error) {
	if len(b) < 14 || b[12] > 8 || len(b) < 14+8*int(b[12]) {
		return out, ErrBody
	}
	out.Incarnation = binary.BigEndian.Uint64(b)
	out.AgeMs = binary.BigEndian.Uint32(b[8:])
	out.Links = b[12]
	b = b[13:]
	for i := range int(out.Links) {
		out.Counters[i] = binary.BigEndian.Uint64(b[8*i:])
	}
	b = b[8*int(out.Links):]
	n := int(b[0])
	if b = b[1:]; n > MaxCalls || len(b) != n*callSize {
		return out, ErrBody
	}
	for ; n > 0; n-- {
		c := Call{Node: b[0]}
		copy(c.Challenge[:], b[1:])
		copy(c.Answer[:], b[17:])
		if c.Node > 63 {
			return out, ErrBody
		}
		out.Calls = append(out.Calls, c)
		b = b[callSize:]
	}
	return out, nil
}

// Formats is the body of KindFormats.
type Formats struct {
	// Frames and Messages are what the sender's build speaks.
	Frames, Messages Range
	// Heard says that the sender knows the receiver's.
	Heard bool
}

// Range is the lowest and the highest format that a build speaks; zero means
// that it has not said.
type Range struct{ Lowest, Highest uint8 }

// Append appends the encoded body to dst.
func (f Formats) Append(dst []byte) []byte {
	heard := byte(0)
	if f.Heard {
		heard = 1
	}
	return append(dst, f.Frames.Lowest, f.Frames.Highest, f.Messages.Lowest, f.Messages.Highest, heard)
}

// ParseFormats decodes the body of KindFormats. What follows its fields is of
// later builds.
func ParseFormats(b []byte) (f Formats, err error) {
	if len(b) < 5 || b[4] > 1 {
		return f, ErrBody
	}
	f = Formats{Frames: Range{b[0], b[1]}, Messages: Range{b[2], b[3]}, Heard: b[4] == 1}
	for _, r := range []Range{f.Frames, f.Messages} {
		if r.Lowest == 0 || r.Lowest > r.Highest {
			return f, ErrBody
		}
	}
	return f, nil
}
