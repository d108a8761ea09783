package frame

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

var testKey = Key(bytes.Repeat([]byte{7}, 32))

func sealer(t testing.TB, k Key, node uint8, boot [32]byte) *Sealer {
	t.Helper()
	s, err := NewSealer(k, 3, node, boot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sample(kind Kind, boot [32]byte) Header {
	h := Header{Kind: kind, Cluster: 3, Src: 1, Dst: ToAll, Link: 2, BootTag: Tag(boot), Counter: 99}
	if kind.WithBoot() {
		h.Boot = boot
	}
	return h
}

// TestSealedFrames: what was sealed comes back; one changed bit anywhere, a
// wrong key, node or boot id, and it does not (R20).
func TestSealedFrames(t *testing.T) {
	boot := [32]byte{1, 2, 3, 4}
	for kind := KindHello; kind <= KindPart; kind++ {
		for _, s := range []*Sealer{nil, sealer(t, testKey, 1, boot)} {
			wire := Append(nil, sample(kind, boot), []byte("body"), s)
			body, err := decode(wire, s)
			if err != nil || string(body) != "body" {
				t.Fatalf("kind %d: body %q, error %v", kind, body, err)
			}
			for bit := range len(wire) * 8 {
				bad := bytes.Clone(wire)
				bad[bit/8] ^= 1 << (bit % 8)
				if _, err := decode(bad, s); err == nil {
					t.Fatalf("kind %d: frame with changed bit %d was accepted", kind, bit)
				}
			}
			for n := range wire {
				if _, err := decode(wire[:n:n], s); err == nil {
					t.Fatalf("kind %d: frame cut to %d bytes was accepted", kind, n)
				}
			}
		}
	}
	wire := Append(nil, sample(KindData, boot), []byte("body"), sealer(t, testKey, 1, boot))
	for what, s := range map[string]*Sealer{
		"another key":     sealer(t, bytes.Repeat([]byte{8}, 32), 1, boot),
		"another node":    sealer(t, testKey, 2, boot),
		"another boot id": sealer(t, testKey, 1, [32]byte{1, 2, 3, 4, 5}),
	} {
		if _, err := decode(bytes.Clone(wire), s); !errors.Is(err, ErrAuth) {
			t.Errorf("%s: %v, want %v", what, err, ErrAuth)
		}
	}
	if _, err := decode(bytes.Clone(wire), nil); !errors.Is(err, ErrSealed) {
		t.Errorf("sealed frame without key: %v", err)
	}
	clear := Append(nil, sample(KindData, boot), []byte("body"), nil)
	if _, err := decode(clear, sealer(t, testKey, 1, boot)); !errors.Is(err, ErrClear) {
		t.Errorf("clear frame where a key is used: %v", err)
	}
}

func decode(b []byte, s *Sealer) ([]byte, error) {
	b = bytes.Clone(b)
	h, n, err := Parse(b)
	if err != nil {
		return nil, err
	}
	return Open(b, h, n, s)
}

func TestShortKeyIsRefused(t *testing.T) {
	if _, err := NewSealer(Key("short"), 1, 1, [32]byte{}); err == nil {
		t.Fatal("a key of 5 bytes was taken")
	}
}

func TestBodiesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Uint64()
		st := Status{OwnEpoch: u.Draw(t, "own"), PeerEpoch: u.Draw(t, "peer"), AgeMs: rapid.Uint32().Draw(t, "age"), Expected: u.Draw(t, "exp")}
		for i := range rapid.IntRange(0, AckWords).Draw(t, "words") {
			st.Ack[i] = u.Draw(t, "ack")
		}
		got, rest, err := ParseStatus(st.Append(nil))
		if err != nil || len(rest) != 0 || got != st {
			t.Fatalf("status %+v came back as %+v, rest %x, error %v", st, got, rest, err)
		}
		hs := Handshake{Incarnation: u.Draw(t, "inc"), Links: rapid.Uint8Range(0, 8).Draw(t, "links")}
		hs.Challenge[3], hs.Answer[4] = rapid.Byte().Draw(t, "c"), rapid.Byte().Draw(t, "a")
		for i := range int(hs.Links) {
			hs.Counters[i] = u.Draw(t, "counter")
		}
		gotHS, err := ParseHandshake(hs.Append(nil))
		if err != nil || gotHS != hs {
			t.Fatalf("handshake %+v came back as %+v, error %v", hs, gotHS, err)
		}
	})
}

// FuzzFrame feeds the decoder: no crash, and what decodes encodes to the same
// bytes.
func FuzzFrame(f *testing.F) {
	boot := [32]byte{9, 9, 9}
	s := sealer(f, testKey, 1, boot)
	status := Status{OwnEpoch: 1, PeerEpoch: 2, Expected: 3, Ack: [AckWords]uint64{0, 5}}
	f.Add(Append(nil, sample(KindHello, boot), Hello{Incarnation: 5}.Append(nil), nil), false)
	f.Add(Append(nil, sample(KindHandshake, boot), Handshake{Links: 2}.Append(nil), nil), false)
	f.Add(Append(nil, sample(KindHeartbeat, boot), status.Append(nil), nil), false)
	f.Add(Append(nil, sample(KindData, boot), AppendData(status.Append(nil), 7, []byte("abc")), nil), false)
	f.Add(Append(nil, sample(KindFarewell, boot), status.Append(nil), s), true)
	part := Part{Number: 7, Total: 900, Size: 400, Index: 2}
	f.Add(Append(nil, sample(KindPart, boot), append(part.Append(status.Append(nil)), make([]byte, 100)...), nil), false)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		use := s
		if !sealed {
			use = nil
		}
		h, n, err := Parse(b)
		if err != nil {
			return
		}
		body, err := Open(bytes.Clone(b), h, n, use)
		if err != nil {
			return
		}
		if again := Append(nil, h, body, use); !bytes.Equal(again, b) {
			t.Fatalf("frame %x encodes to %x", b, again)
		}
		checkBody(t, h.Kind, body)
	})
}

func checkBody(t *testing.T, kind Kind, body []byte) {
	var again []byte
	switch kind {
	case KindHello:
		v, err := ParseHello(body)
		if err != nil {
			return
		}
		again = v.Append(nil)
	case KindHandshake:
		v, err := ParseHandshake(body)
		if err != nil {
			return
		}
		again = v.Append(nil)
	default:
		v, rest, err := ParseStatus(body)
		if err != nil {
			return
		}
		again = v.Append(nil)
		if part, data, err := ParsePart(rest); kind == KindPart && err == nil {
			again = append(part.Append(again), data...)
		} else if number, piece, err := ParseData(rest); err == nil {
			again = AppendData(again, number, piece)
		} else {
			again = append(again, rest...)
		}
	}
	if !bytes.Equal(again, body) {
		t.Fatalf("body %x encodes to %x", body, again)
	}
}

func BenchmarkSeal(b *testing.B) {
	s := sealer(b, testKey, 1, [32]byte{})
	body := make([]byte, 1400)
	buf := make([]byte, 0, 2000)
	for b.Loop() {
		buf = Append(buf[:0], sample(KindData, [32]byte{}), body, s)
	}
}
