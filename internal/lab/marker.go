// Package lab is what a daemon knows about the laboratory that its system
// runs in: the marker that says "this is a lab" and the client of the lab's
// power switch. The machinery behind it lies in the folders below and is
// linked into halab only.
//
// The marker is the file paths.Root.LabMarker(). Its existence alone forbids
// kernel panic, reboot and watchdog (safety rule R3). Its content is one JSON
// object:
//
//	{"lab":"demo","system":"Server1","switch":"/run/evenkeel/lab-switch.sock"}
//
// The switch is a unix stream socket, outside the reach of the system that it
// can power off. One connection carries one request and one answer, each one
// line of JSON:
//
//	{"op":"off","system":"Server1"}   ->  {"system":"Server1","state":"off"}
//	{"op":"state","system":"Server1"} ->  {"system":"Server1","state":"on"}
//	{"op":"off","system":"nobody"}    ->  {"error":"power off nobody: ..."}
//
// "off" is answered only when the system is off as safety rule R4 defines it:
// nothing of it can write, send or answer any more.
package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/evenkeel/evenkeel/internal/paths"
)

// Marker is the content of the lab marker.
type Marker struct {
	// Lab is the name of the lab, as in halab --name.
	Lab string `json:"lab"`
	// System is the name of the system that reads the marker.
	System string `json:"system"`
	// Switch is the path of the power switch's unix socket.
	Switch string `json:"switch"`
}

// ErrNoLab says that the system is no part of a lab.
var ErrNoLab = errors.New("no lab marker")

// InLab reports whether the system is part of a lab. It is true for a marker
// that cannot be read or understood too: whoever asks in order to panic or
// reboot must not (R3).
func InLab(root paths.Root) bool {
	_, err := os.Lstat(root.LabMarker())
	return !errors.Is(err, os.ErrNotExist)
}

// ReadMarker reads the marker of the system under root. The error matches
// ErrNoLab if there is none.
func ReadMarker(root paths.Root) (Marker, error) {
	text, err := os.ReadFile(root.LabMarker())
	if errors.Is(err, os.ErrNotExist) {
		return Marker{}, fmt.Errorf("read %s: %w", root.LabMarker(), ErrNoLab)
	}
	if err != nil {
		return Marker{}, fmt.Errorf("read lab marker: %w", err)
	}
	var marker Marker
	if err := json.Unmarshal(text, &marker); err != nil {
		return Marker{}, fmt.Errorf("read lab marker %s: %w", root.LabMarker(), err)
	}
	if marker.Lab == "" || marker.System == "" || marker.Switch == "" {
		return Marker{}, fmt.Errorf("read lab marker %s: lab, system and switch must not be empty", root.LabMarker())
	}
	return marker, nil
}

// WriteMarker writes the marker of the system under root, whole or not at
// all. Only the lab itself calls it.
func WriteMarker(root paths.Root, marker Marker) error {
	text, err := json.Marshal(marker)
	if err != nil {
		return fmt.Errorf("write lab marker: %w", err)
	}
	next := root.LabMarker() + ".new"
	if err := os.WriteFile(next, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write lab marker: %w", err)
	}
	if err := os.Rename(next, root.LabMarker()); err != nil {
		return fmt.Errorf("write lab marker: %w", err)
	}
	return nil
}
