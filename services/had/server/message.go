package server

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// The messages of port h. The first byte says what follows.
const (
	kindEvent    = 'E' // an engine event as engine.Encode writes it
	kindAnnounce = 'A' // JSON announce
	kindWanted   = 'W' // JSON wanted
	kindChunk    = 'C' // binary header, then the part of the snapshot
	kindAction   = 'X' // JSON actionAsked, to one system
	kindActed    = 'Y' // JSON acted, to one system
	kindMark     = 'M' // JSON mark
	kindVote     = 'V' // JSON vote
	kindPacked   = 'Z' // deflated: any of the others, if it is large
)

// chunkSize is how much of a snapshot one message carries.
const chunkSize = 256 << 10

// maxPayload is the largest payload that goes into one Send of gab.
const maxPayload = 1<<20 - 1024

// announce is a system's word about its own state.
type announce struct {
	State join.State `json:"state"`
	// View is the counter of the view in which it was said.
	View uint64 `json:"view"`
	// Rank is that of the copy on the disk.
	Rank uint64 `json:"rank,omitempty"`
}

// wanted is a joiner's request for a snapshot.
type wanted struct {
	Build uint64 `json:"build"`
}

// chunk is a part of a snapshot.
type chunk struct {
	Build    uint64
	N, Total uint32
	Data     []byte
}

const chunkHeader = 8 + 4 + 4

func encodeEvent(ev engine.Event) ([]byte, error) {
	body, err := engine.Encode(ev)
	if err != nil {
		return nil, err
	}
	return pack(append([]byte{kindEvent}, body...)), nil
}

// packFrom is the size from which a message is deflated: configurations of
// thousands of resources, which shrink to a tenth, go into one Send.
const packFrom = 64 << 10

func pack(message []byte) []byte {
	if len(message) < packFrom {
		return message
	}
	var b bytes.Buffer
	b.WriteByte(kindPacked)
	w, err := flate.NewWriter(&b, flate.BestSpeed)
	if err != nil { // the level is a good one
		panic("pack message: " + err.Error())
	}
	if _, err = w.Write(message); err == nil {
		err = w.Close()
	}
	if err != nil { // memory does not fail
		panic("pack message: " + err.Error())
	}
	return b.Bytes()
}

// unpack is bounded by what an event may have.
func unpack(body []byte) ([]byte, error) {
	r := flate.NewReader(bytes.NewReader(body))
	defer r.Close()
	whole, err := io.ReadAll(io.LimitReader(r, engine.MaxEvent+2))
	if err != nil {
		return nil, fmt.Errorf("unpack message: %w", err)
	}
	if len(whole) > engine.MaxEvent+1 {
		return nil, fmt.Errorf("unpack message: more than %d bytes", engine.MaxEvent)
	}
	return whole, nil
}

func encodeJSON(kind byte, v any) []byte {
	body, err := json.Marshal(v)
	if err != nil { // plain structs of strings and numbers
		panic("encode message: " + err.Error())
	}
	return append([]byte{kind}, body...)
}

func encodeChunk(c chunk) []byte {
	out := make([]byte, 1, 1+chunkHeader+len(c.Data))
	out[0] = kindChunk
	out = binary.BigEndian.AppendUint64(out, c.Build)
	out = binary.BigEndian.AppendUint32(out, c.N)
	out = binary.BigEndian.AppendUint32(out, c.Total)
	return append(out, c.Data...)
}

// decodeMessage returns an engine.Event, announce, wanted or chunk.
func decodeMessage(payload []byte) (any, error) {
	if len(payload) == 0 {
		return nil, errors.New("decode message: it is empty")
	}
	body := payload[1:]
	switch payload[0] {
	case kindEvent:
		return engine.Decode(body)
	case kindAnnounce:
		return decodeJSON[announce](body)
	case kindWanted:
		return decodeJSON[wanted](body)
	case kindMark:
		return decodeJSON[mark](body)
	case kindVote:
		return decodeJSON[vote](body)
	case kindAction:
		return decodeJSON[actionAsked](body)
	case kindActed:
		return decodeJSON[acted](body)
	case kindPacked:
		whole, err := unpack(body)
		if err != nil {
			return nil, err
		}
		if len(whole) > 0 && whole[0] == kindPacked {
			return nil, errors.New("decode message: packed twice")
		}
		return decodeMessage(whole)
	case kindChunk:
		if len(body) < chunkHeader {
			return nil, fmt.Errorf("decode chunk: %d bytes are no header", len(body))
		}
		return chunk{
			Build: binary.BigEndian.Uint64(body), N: binary.BigEndian.Uint32(body[8:]),
			Total: binary.BigEndian.Uint32(body[12:]), Data: body[chunkHeader:],
		}, nil
	}
	return nil, fmt.Errorf("decode message: unknown kind %q; run the same release on all systems", payload[0])
}

func decodeJSON[T any](body []byte) (any, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode %T: %w", v, err)
	}
	return v, nil
}
