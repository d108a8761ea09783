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

// ParseData decodes what follows the status in a data frame.
func ParseData(rest []byte) (number uint64, piece []byte, err error) {
	if len(rest) < 9 {
		return 0, nil, ErrBody
	}
	return binary.BigEndian.Uint64(rest), rest[8:], nil
}
