package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxEvent is the size in bytes above which Decode refuses an event: that of
// one message of GAB.
const MaxEvent = 16 << 20

// envelope is an event on the wire.
type envelope struct {
	Logic int             `json:"logic_version"`
	Kind  string          `json:"kind"`
	Event json.RawMessage `json:"event"`
}

// Encode returns the canonical bytes of an event: equal events give equal
// bytes.
func Encode(ev Event) ([]byte, error) {
	body, err := json.Marshal(ev)
	if err != nil {
		return nil, fmt.Errorf("encode %s event: %w", ev.event(), err)
	}
	data, err := json.Marshal(envelope{Logic: LogicVersion, Kind: ev.event(), Event: body})
	if err != nil {
		return nil, fmt.Errorf("encode %s event: %w", ev.event(), err)
	}
	if len(data) > MaxEvent {
		return nil, fmt.Errorf("encode %s event: %d bytes, more than the %d that one message may have", ev.event(), len(data), MaxEvent)
	}
	return data, nil
}

// ErrLogicVersion is wrapped by Decode's error for an event of other rules.
var ErrLogicVersion = errors.New("other logic version")

// Decode reads what Encode wrote and nothing else: unknown kinds, unknown
// fields and trailing bytes are errors.
func Decode(data []byte) (Event, error) {
	if len(data) > MaxEvent {
		return nil, fmt.Errorf("decode event: %d bytes, more than %d", len(data), MaxEvent)
	}
	var env envelope
	if err := strict(data, &env); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	if env.Logic != LogicVersion {
		return nil, fmt.Errorf("decode %q event: logic version %d, this engine has %d: %w; run the same release on all systems", env.Kind, env.Logic, LogicVersion, ErrLogicVersion)
	}
	switch env.Kind {
	case "view":
		return decode[ViewChanged](env)
	case "evidence":
		return decode[EvidenceStronger](env)
	case "join":
		return decode[SystemJoined](env)
	case "config":
		return decode[ConfigLoaded](env)
	case "state":
		return decode[StateChanged](env)
	case "report":
		return decode[Reported](env)
	case "command":
		return decode[Command](env)
	case "agent":
		return decode[AgentReported](env)
	case "info":
		return decode[InfoReported](env)
	case "trigger-ended":
		return decode[TriggerEnded](env)
	case "dumped":
		return decode[ConfigDumped](env)
	case "clock":
		return decode[Clock](env)
	case "meters":
		return decode[Metered](env)
	case "described":
		return decode[SystemDescribed](env)
	}
	return nil, fmt.Errorf("decode event: unknown kind %q", env.Kind)
}

func decode[E Event](env envelope) (Event, error) {
	var ev E
	if err := strict(env.Event, &ev); err != nil {
		return nil, fmt.Errorf("decode %s event: %w", env.Kind, err)
	}
	return ev, nil
}

func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing bytes")
	}
	return nil
}
