package server

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/evenkeel/evenkeel/services/had/engine"
)

const (
	// spoolMemory is how much of what comes after the position of its snapshot
	// a joiner keeps in memory; the rest goes to a file.
	spoolMemory = 8 << 20
	// spoolBound is the most that it keeps at all; beyond it had leaves and
	// joins anew (R22).
	spoolBound = 1 << 30
)

// spooled is an event that waits for the snapshot before it.
type spooled struct {
	Pos   engine.Pos      `json:"pos"`
	From  string          `json:"from"`
	Event json.RawMessage `json:"event"`
}

// spool keeps events in their order: the first in memory, the rest in a file
// that has no name any more, so that nothing is left of it whatever happens.
// The zero value with a path is empty and ready.
type spool struct {
	path   string
	bound  int // 0: spoolBound
	memory int // 0: spoolMemory
	kept   []spooled
	size   int
	file   *os.File
	out    *bufio.Writer
}

// add keeps an event.
func (s *spool) add(pos engine.Pos, from string, ev engine.Event) error {
	body, err := engine.Encode(ev)
	if err != nil {
		return fmt.Errorf("join: keep an event: %w", err)
	}
	s.size += len(body)
	if limit := orNumber(s.bound, spoolBound); s.size > limit {
		return fmt.Errorf("join: more than %d MiB came while the snapshot did not; had starts anew", limit>>20)
	}
	rec := spooled{pos, from, body}
	if s.file == nil && s.size <= orNumber(s.memory, spoolMemory) {
		s.kept = append(s.kept, rec)
		return nil
	}
	if s.file == nil {
		if err := s.open(); err != nil {
			return fmt.Errorf("join: keep events in a file: %w", err)
		}
	}
	text, err := json.Marshal(rec)
	if err == nil {
		_, err = s.out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	}
	if err != nil {
		return fmt.Errorf("join: keep events in a file: %w", err)
	}
	return nil
}

func orNumber(n, usual int) int {
	if n > 0 {
		return n
	}
	return usual
}

func (s *spool) open() error {
	file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil {
		file.Close()
		return err
	}
	s.file, s.out = file, bufio.NewWriter(file)
	return nil
}

// drain hands out what was kept, in its order, and forgets it.
func (s *spool) drain(each func(engine.Pos, string, engine.Event)) error {
	defer s.forget()
	for _, rec := range s.kept {
		if err := rec.hand(each); err != nil {
			return err
		}
	}
	if s.file == nil {
		return nil
	}
	if err := s.out.Flush(); err != nil {
		return fmt.Errorf("join: read the events kept: %w", err)
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("join: read the events kept: %w", err)
	}
	in := bufio.NewReader(s.file)
	for {
		var head [4]byte
		switch _, err := io.ReadFull(in, head[:]); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("join: read the events kept: %w", err)
		}
		text := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(in, text); err != nil {
			return fmt.Errorf("join: read the events kept: %w", err)
		}
		var rec spooled
		if err := json.Unmarshal(text, &rec); err != nil {
			return fmt.Errorf("join: read the events kept: %w", err)
		}
		if err := rec.hand(each); err != nil {
			return err
		}
	}
}

func (r spooled) hand(each func(engine.Pos, string, engine.Event)) error {
	ev, err := engine.Decode(r.Event)
	if err != nil {
		return fmt.Errorf("join: read the events kept: %w", err)
	}
	each(r.Pos, r.From, ev)
	return nil
}

// forget drops everything.
func (s *spool) forget() {
	if s.file != nil {
		s.file.Close()
	}
	s.kept, s.size, s.file, s.out = nil, 0, nil, nil
}
