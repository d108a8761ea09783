package server

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// The counter of generations is kept in /var/lib/evenkeel/gab.counter, 1000
// ahead of what was used (R18).

func counterFile(root paths.Root) string { return root.State("gab.counter") }

// readCounter returns what the last start wrote; a lost or damaged file is 0,
// which is legal because the lineage differs then (R18).
func readCounter(root paths.Root) (uint64, error) {
	text, err := os.ReadFile(counterFile(root))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read generation counter: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read generation counter %s: %w", counterFile(root), err)
	}
	return n, nil
}

// writeCounter makes a counter durable: file and directory are synced.
func writeCounter(root paths.Root, n uint64) error {
	path := counterFile(root)
	f, err := os.CreateTemp(filepath.Dir(path), "gab.counter.*")
	if err != nil {
		return fmt.Errorf("write generation counter: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, n)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write generation counter: %w", err)
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// random64 is a random number that is not 0.
func random64() uint64 {
	var b [8]byte
	for {
		rand.Read(b[:]) // never fails; the runtime aborts instead
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// incarnation is a number that this system never had before and that grows
// with its clock, so that of two incarnations one can tell which was earlier
// (R4: evidence about one says nothing of a later one). Nothing breaks if the
// clock was set back but that comparison, and that on the safe side.
func incarnation(now time.Time) uint64 {
	return uint64(now.UnixNano())&^0xffff | random64()&0xffff
}
