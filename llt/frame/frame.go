// Package frame is the layout of LLT's frames on the wire: encoding, decoding,
// sealing. It is pure.
//
// A frame is the payload of an Ethernet frame (ethertype 0xCAFE unless llttab
// says otherwise) or of a UDP datagram. Numbers are big endian.
//
//	offset size
//	 0     2    magic "EK"
//	 2     1    version of this layout, 1
//	 3     1    kind: 1 hello, 2 handshake, 3 heartbeat, 4 data, 5 farewell, 6 beacon,
//	           7 part, 8 formats
//	 4     2    cluster id
//	 6     1    node id of the sender
//	 7     1    node id of the receiver, 255 for all
//	 8     1    number of the link at the sender
//	 9     3    0
//	12     4    id of the cluster key, 0 if the frame is not sealed
//	16     4    first four bytes of the sender's boot id
//	20     8    counter: per sender, boot id and link, from 1 on
//	28    32    hello, handshake and beacon only: the sender's boot id
//	 .     .    body, sealed if the key id is not 0
//	 .   16|4   tag of AES-256-GCM; or, not sealed, CRC-32C of all before it
//
// Everything before the body is authenticated with it. Sealing follows R20:
// the key of a sender is HKDF-SHA256(cluster key; cluster, node, boot id), the
// nonce is link (4 bytes) then counter (8 bytes). A boot id is 256 random bits
// of one start of a daemon, so no nonce is ever used twice with one key.
//
// Bodies:
//
//	hello      incarnation 8
//	handshake  incarnation 8, challenge 16, answer 16 (each 0 for none),
//	           number of links 1, per link the counter last used 8
//	status     own epoch 8, peer's epoch 8, age of the gab core in ms 4,
//	           next data number expected 8, number of words 1 (0 to 4), words
//	           of 8: bit i of word w says that data number
//	           expected+1+64w+i has arrived
//	heartbeat  status
//	data       status, data number 8, a piece of the stream of messages
//	farewell   status
//	beacon     incarnation 8, age of the gab core in ms 4, number of links 1, per
//	           link the counter last used 8, number of calls 1, per call: node
//	           id 1, challenge 16, answer 16 (each 0 for none)
//	formats    lowest and highest format of frames 1 each, of messages 1 each, 1 if
//	           the receiver's formats are known to the sender 1, and what later
//	           builds add
//	part       status, data number 8, bytes of the whole piece 4, bytes of
//	           each part but the last 2, number of this part from 0 on 2, the
//	           part; for links that lose frames as large as the piece
//
// The stream of messages of one connection is, for each message, its length
// (4 bytes) and its bytes. It is cut into pieces without regard to messages.
package frame

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Kind is what a frame is for.
type Kind uint8

// Kinds of frames.
const (
	KindHello     Kind = 1 // announces a boot id to everybody on a link
	KindHandshake Kind = 2 // challenges a boot id or answers a challenge
	KindHeartbeat Kind = 3 // says that the sender is alive; acknowledges
	KindData      Kind = 4 // a piece of the stream, and all that a heartbeat says
	KindFarewell  Kind = 5 // the sender stops; and all that a heartbeat says
	KindBeacon    Kind = 6 // what lies in a slot of a disk region: alive, for everybody
	KindPart      Kind = 7 // a part of a piece that the link does not pass in one frame
	KindFormats   Kind = 8 // what the sender's build speaks; the first release refuses it
)

// Sizes in bytes.
const (
	HeaderSize = 28
	BootSize   = 32
	TagSize    = 16
	crcSize    = 4
	StatusMin  = 8 + 8 + 4 + 8 + 1
	AckWords   = 4
	// DataOverhead is what a data frame needs beside its piece of the stream.
	DataOverhead = HeaderSize + TagSize + StatusMin + 8*AckWords + 8
)

// Version is the version of the layout.
const Version = 1

// ToAll is the receiver's node id of a frame for everybody.
const ToAll = 255

// Header is what precedes the body of a frame.
type Header struct {
	Kind    Kind
	Cluster uint16
	Src     uint8
	Dst     uint8
	Link    uint8
	// KeyID is 0 for a frame that is not sealed.
	KeyID uint32
	// BootTag is the beginning of the sender's boot id.
	BootTag uint32
	Counter uint64
	// Boot is the whole boot id; set if Kind.WithBoot.
	Boot [BootSize]byte
}

// Errors of Parse and Open. Each is one cause to count.
var (
	ErrShort   = errors.New("frame is too short")
	ErrMagic   = errors.New("frame is none of ours")
	ErrVersion = errors.New("frame is of a layout that this build does not know; upgrade this system first")
	ErrKind    = errors.New("frame is of unknown kind")
	ErrFields  = errors.New("frame has impossible fields")
	ErrSealed  = errors.New("frame is sealed and there is no key")
	ErrClear   = errors.New("frame is not sealed and must be")
	ErrAuth    = errors.New("frame is not authentic")
	ErrBody    = errors.New("body is malformed")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WithBoot reports whether frames of the kind carry the whole boot id.
func (k Kind) WithBoot() bool { return k == KindHello || k == KindHandshake || k == KindBeacon }

// Tag is the first four bytes of a boot id.
func Tag(boot [BootSize]byte) uint32 { return binary.BigEndian.Uint32(boot[:4]) }

// Parse reads the header of a frame and returns it with the number of bytes
// that precede the body. It authenticates nothing.
func Parse(b []byte) (h Header, n int, err error) {
	if len(b) < HeaderSize+crcSize {
		return h, 0, ErrShort
	}
	if b[0] != 'E' || b[1] != 'K' {
		return h, 0, ErrMagic
	}
	if b[2] != Version {
		return h, 0, ErrVersion
	}
	h.Kind = Kind(b[3])
	if h.Kind < KindHello || h.Kind > KindFormats {
		return h, 0, ErrKind
	}
	h.Cluster = binary.BigEndian.Uint16(b[4:])
	h.Src, h.Dst, h.Link = b[6], b[7], b[8]
	h.KeyID = binary.BigEndian.Uint32(b[12:])
	h.BootTag = binary.BigEndian.Uint32(b[16:])
	h.Counter = binary.BigEndian.Uint64(b[20:])
	if h.Src > 63 || (h.Dst > 63 && h.Dst != ToAll) || h.Link > 7 || h.Counter == 0 || b[9]|b[10]|b[11] != 0 {
		return h, 0, ErrFields
	}
	n = HeaderSize
	if h.Kind.WithBoot() {
		if len(b) < HeaderSize+BootSize+crcSize {
			return h, 0, ErrShort
		}
		n += copy(h.Boot[:], b[HeaderSize:])
		if Tag(h.Boot) != h.BootTag {
			return h, 0, ErrFields
		}
	}
	return h, n, nil
}

// Append appends a whole frame to dst: header, body, seal. A nil sealer sends
// in the clear; h.KeyID is taken from the sealer.
func Append(dst []byte, h Header, body []byte, s *Sealer) []byte {
	start := len(dst)
	return Finish(append(Begin(dst, h, s), body...), start, s)
}

// Begin appends the header of a frame; the caller appends the body and then
// calls Finish with the same sealer.
func Begin(dst []byte, h Header, s *Sealer) []byte {
	h.KeyID = 0
	if s != nil {
		h.KeyID = s.keyID
	}
	return appendHeader(dst, h)
}

// Finish seals the frame that begins at b[start:] in place.
func Finish(b []byte, start int, s *Sealer) []byte {
	if s == nil {
		return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
	}
	body := start + HeaderSize
	if Kind(b[start+3]).WithBoot() {
		body += BootSize
	}
	s.setNonce(b[start+8], b[start+20:])
	return s.aead.Seal(b[:body], s.nonce[:], b[body:], b[start:body])
}

func appendHeader(dst []byte, h Header) []byte {
	dst = append(dst, 'E', 'K', Version, byte(h.Kind))
	dst = binary.BigEndian.AppendUint16(dst, h.Cluster)
	dst = append(dst, h.Src, h.Dst, h.Link, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, h.KeyID)
	dst = binary.BigEndian.AppendUint32(dst, h.BootTag)
	dst = binary.BigEndian.AppendUint64(dst, h.Counter)
	if h.Kind.WithBoot() {
		dst = append(dst, h.Boot[:]...)
	}
	return dst
}

// Open authenticates a frame that Parse accepted, n being Parse's, and returns
// its body. With a nil sealer it takes frames in the clear only. It writes
// over b.
func Open(b []byte, h Header, n int, s *Sealer) ([]byte, error) {
	switch {
	case s == nil && h.KeyID != 0:
		return nil, ErrSealed
	case s == nil:
		end := len(b) - crcSize
		if end < n {
			return nil, ErrShort
		}
		if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
			return nil, ErrAuth
		}
		return b[n:end], nil
	case h.KeyID == 0:
		return nil, ErrClear
	}
	s.setNonce(h.Link, b[20:])
	body, err := s.aead.Open(b[n:n], s.nonce[:], b[n:], b[:n])
	if err != nil {
		return nil, ErrAuth
	}
	return body, nil
}

// setNonce makes the nonce of a frame: its link and its counter.
func (s *Sealer) setNonce(link byte, counter []byte) {
	s.nonce[3] = link
	copy(s.nonce[4:], counter[:8])
}
