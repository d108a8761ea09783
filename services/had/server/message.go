package server

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
)

// The messages of port h. The first byte says what follows.
const (
	kindEvent    = 'E' // an engine event as engine.Encode writes it
	kindAnnounce = 'A' // JSON announce
	kindWanted   = 'W' // JSON wanted
	kindChunk    = 'C' // binary header, then the part of the snapshot
	kindDump     = 'D' // JSON dump
	kindAction   = 'X' // JSON actionAsked, to one system
	kindActed    = 'Y' // JSON acted, to one system
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
}

// wanted is a joiner's request for a snapshot.
type wanted struct {
	Build uint64 `json:"build"`
}

// dump asks all RUNNING systems to write the configuration to their disks.
type dump struct {
	RequestID string `json:"request_id"`
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
	return append([]byte{kindEvent}, body...), nil
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

// decodeMessage returns an engine.Event, announce, wanted, chunk or dump.
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
	case kindDump:
		return decodeJSON[dump](body)
	case kindAction:
		return decodeJSON[actionAsked](body)
	case kindActed:
		return decodeJSON[acted](body)
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
