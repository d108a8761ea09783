// Package ownerlabel keeps the label that says which system has imported a
// disk group of the image backend, on the shared storage itself.
//
// Labels are files owner.N in the disk group's directory, N growing without
// end; the label with the highest N is valid. A label is written to a file of
// its own, fsynced, and then given its name with link(2), which fails if the
// name exists: to become the owner a system must create the successor of
// exactly the label that it has read. Of any number of imports at once one
// wins, and a label that is read is always whole, also after a crash at any
// point. Old labels are removed long after they ended to be valid.
package ownerlabel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// kept is how many ended labels stay behind the valid one: an importer that
// slept for fewer imports than this finds the name taken; one that slept
// longer sees after linking that its label is not the highest.
const kept = 16

// Label is one owner.
type Label struct {
	// System that has the disk group imported, "" if it was deported.
	System string `json:"system"`
	// Incarnation of that system's gab at the import.
	Incarnation uint64 `json:"incarnation,string"`
	// Group is the disk group's name, to detect a label in the wrong place.
	Group string `json:"group"`
	// Number is N of the file's name; 0 if there is no label yet.
	Number uint64 `json:"-"`
}

// ErrTaken is returned by Replace when another system was faster.
var ErrTaken = errors.New("another system imported it at the same moment")

// Read returns the valid label of a disk group's directory; the zero Label if
// it never had one.
func Read(dir string) (Label, error) {
	number, err := highest(dir)
	if err != nil || number == 0 {
		return Label{}, err
	}
	text, err := os.ReadFile(name(dir, number))
	if errors.Is(err, fs.ErrNotExist) {
		// Replaced and cleaned up between two calls: read again.
		return Read(dir)
	}
	if err != nil {
		return Label{}, fmt.Errorf("read owner label: %w", err)
	}
	label := Label{Number: number}
	if err := json.Unmarshal(text, &label); err != nil {
		return Label{}, fmt.Errorf("read owner label %s: %w (it was not written by Evenkeel; if you are sure that no system has the disk group, remove it)", name(dir, number), err)
	}
	return label, nil
}

// Replace makes next the valid label if old, as Read returned it, still is.
// It returns ErrTaken if it is not. When it returns nil the label is on disk.
func Replace(dir string, old, next Label) error {
	next.Number = old.Number + 1
	text, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("write owner label: %w", err)
	}
	draft, err := os.CreateTemp(dir, ".owner-*")
	if err != nil {
		return fmt.Errorf("write owner label: %w", err)
	}
	defer os.Remove(draft.Name())
	_, err = draft.Write(append(text, '\n'))
	if err == nil {
		err = draft.Sync()
	}
	if cerr := draft.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write owner label: %w", err)
	}
	if err := os.Link(draft.Name(), name(dir, next.Number)); errors.Is(err, fs.ErrExist) {
		return ErrTaken
	} else if err != nil {
		return fmt.Errorf("write owner label: %w", err)
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	valid, err := highest(dir)
	if err != nil {
		return err
	}
	if valid != next.Number {
		// old had been gone for long: this name was free again.
		os.Remove(name(dir, next.Number))
		return ErrTaken
	}
	return clean(dir, next.Number)
}

func name(dir string, number uint64) string {
	return filepath.Join(dir, "owner."+strconv.FormatUint(number, 10))
}

func numbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read owner label: %w", err)
	}
	var found []uint64
	for _, entry := range entries {
		if text, ok := strings.CutPrefix(entry.Name(), "owner."); ok {
			if number, err := strconv.ParseUint(text, 10, 64); err == nil {
				found = append(found, number)
			}
		}
	}
	return found, nil
}

func highest(dir string) (uint64, error) {
	found, err := numbers(dir)
	var most uint64
	for _, number := range found {
		most = max(most, number)
	}
	return most, err
}

func clean(dir string, valid uint64) error {
	found, err := numbers(dir)
	if err != nil {
		return err
	}
	for _, number := range found {
		if number+kept < valid {
			if err := os.Remove(name(dir, number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove ended owner label: %w", err)
			}
		}
	}
	return nil
}

func syncDir(dir string) error {
	handle, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync owner label: %w", err)
	}
	defer handle.Close()
	if err := handle.Sync(); err != nil {
		return fmt.Errorf("sync owner label: %w", err)
	}
	return nil
}
