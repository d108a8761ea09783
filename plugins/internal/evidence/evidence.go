// Package evidence tells the storage agents which foreign claims on a disk may
// be taken over (safety rule R4). had writes the file before it gives the
// order to bring a resource online; an agent reads it at that moment.
//
// A claim of system X, made under X's incarnation i, may be taken over if
//   - X has left the cluster and the view that lost it was released with
//     evidence that X is gone (CLEAN, POWERED_OFF, EXPIRED, VOUCHED, or
//     ASSUMED where fencing is disabled); i is the incarnation that the
//     evidence is about, or an earlier one, or
//   - X is back in the cluster under another incarnation: whatever i had is
//     gone, and the engine has seen the group probed offline there.
//
// Incarnations of one system grow with its clock. Evidence is never about a
// later one: that one lived after the evidence.
//
// A claim of this system is its own, whatever incarnation made it.
package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is the name of the file below the run directory.
const File = "evidence.json"

// System is what this system knows about one system of the cluster.
type System struct {
	// Name of the system.
	Name string `json:"name"`
	// Incarnation of its gab: of the running one for a member, of the last
	// one for a departed system.
	Incarnation uint64 `json:"incarnation,string"`
	// Member is true while it is a member of port h.
	Member bool `json:"member"`
	// Evidence is why a departed system is taken as gone, "" if there is none.
	Evidence string `json:"evidence,omitempty"`
}

// Known is the content of the file.
type Known struct {
	// Self is the name of this system.
	Self string `json:"self"`
	// View names the view that this was written in, for messages.
	View string `json:"view"`
	// Systems are the systems of the cluster, by name.
	Systems []System `json:"systems"`
}

// RunDir is the run directory of this system, below EVENKEEL_ROOT.
func RunDir() string {
	return filepath.Join("/", os.Getenv("EVENKEEL_ROOT"), "run/evenkeel")
}

// Read reads the file below the run directory. Without a file nothing foreign
// may be taken over, and the own name is the host's.
func Read(runDir string) (Known, error) {
	text, err := os.ReadFile(filepath.Join(runDir, File))
	if errors.Is(err, fs.ErrNotExist) {
		host, herr := os.Hostname()
		if herr != nil {
			return Known{}, fmt.Errorf("find this system's name: %w", herr)
		}
		return Known{Self: host}, nil
	}
	if err != nil {
		return Known{}, fmt.Errorf("read what had knows of the cluster: %w", err)
	}
	var known Known
	if err := json.Unmarshal(text, &known); err != nil {
		return Known{}, fmt.Errorf("read %s: %w (had writes this file; is another program writing it?)", filepath.Join(runDir, File), err)
	}
	return known, nil
}

// Incarnation is this system's own incarnation, 0 if it is not known.
func (k Known) Incarnation() uint64 {
	for _, system := range k.Systems {
		if system.Name == k.Self {
			return system.Incarnation
		}
	}
	return 0
}

// MayTakeOver returns nil if a claim of the named system under the given
// incarnation may be taken over, else an error that says why not and what the
// administrator can do.
func (k Known) MayTakeOver(owner string, incarnation uint64) error {
	if owner == "" || owner == k.Self {
		return nil
	}
	for _, system := range k.Systems {
		if system.Name != owner {
			continue
		}
		switch {
		case system.Member && system.Incarnation != incarnation:
			return nil
		case system.Member:
			return fmt.Errorf("%s holds it and is a member of the cluster; take the resource offline there first", owner)
		case system.Evidence == "":
			return fmt.Errorf("%s held it when it left and nothing proves that it is gone; when you are sure that it is off, say so with: ha fencing vouch %s", owner, owner)
		case system.Evidence == "CUT":
			return fmt.Errorf("%s held it when it left and is only cut from the coordination points, which does not protect this storage; when you are sure that it is off, say so with: ha fencing vouch %s", owner, owner)
		case system.Incarnation < incarnation:
			return fmt.Errorf("%s held it in a later life than the one that is proven gone; start it there, or have it leave the cluster with evidence", owner)
		default:
			return nil
		}
	}
	return fmt.Errorf("%s holds it and has not been seen by this cluster since it started; when you are sure that it is off, say so with: ha fencing vouch %s", owner, owner)
}
