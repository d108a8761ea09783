package sim

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/internal/vclock"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
)

// ownDisk is the file system of one machine: it keeps what was made durable.
// After a power failure of what came later some is there, some is not, and what
// is there may be torn: as many changes of names as the journal had written, in
// their order; of a file that was not synced, any beginning.
//
// A job writes in an instant of the simulator, but each of its operations has a
// time of its own; who is killed before has not done it.
type ownDisk struct {
	n    *node
	at   vclock.Time // of the next operation
	base map[string]*inode
	log  []nameOp
	cur  map[string]*inode // base and all of log
	made uint64            // names of new files
	// failing: operations fail now and then. lazy is a deliberate fault: nothing
	// is ever synced.
	failing, lazy bool
}

// inode is the content of a file; it never changes.
type inode struct {
	text   []byte
	synced vclock.Time
}

// nameOp is a change of names, or a sync of them all.
type nameOp struct {
	at      vclock.Time
	kind    nameKind
	to, old string
	file    *inode
}

type nameKind uint8

const (
	nameMade nameKind = iota
	nameMoved
	nameGone
	nameSynced
)

var errDisk = errors.New("input/output error")

// confOf is where a simulated system keeps its configuration.
func (n *node) conf() confdisk.Disk {
	return confdisk.Disk{Files: n.disk, Config: "/etc", Versions: "/var/config"}
}

func newDisk(n *node) *ownDisk {
	return &ownDisk{n: n, base: map[string]*inode{}, cur: map[string]*inode{}, lazy: n.w.broken("no-sync")}
}

// install puts a file there as an administrator does, long ago.
func (d *ownDisk) install(path, text string) {
	d.base[path] = &inode{text: []byte(text)}
	d.cur[path] = d.base[path]
}

// begin starts a job: its operations take their time from now on.
func (d *ownDisk) begin(failing bool) {
	now := d.n.w.now
	d.at, d.failing = max(d.at, now), failing
	last := -1
	for i, op := range d.log {
		if op.at > now {
			break
		}
		if op.kind == nameSynced {
			last = i
		}
	}
	for _, op := range d.log[:last+1] {
		op.apply(d.base)
	}
	d.log = slices.Clone(d.log[last+1:])
}

// took is how long the job takes from now on.
func (d *ownDisk) took() time.Duration { return d.at.Sub(d.n.w.now) }

func (op nameOp) apply(files map[string]*inode) {
	switch op.kind {
	case nameMade:
		files[op.to] = op.file
	case nameMoved:
		for _, path := range under(files, op.old) {
			files[op.to+strings.TrimPrefix(path, op.old)] = files[path]
			delete(files, path)
		}
	case nameGone:
		for _, path := range under(files, op.old) {
			delete(files, path)
		}
	}
}

// under are a file, or all files of a folder.
func under(files map[string]*inode, path string) []string {
	if files[path] != nil {
		return []string{path}
	}
	var out []string
	for name := range files {
		if strings.HasPrefix(name, path+"/") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// killed: the process that wrote is gone, the machine is not.
func (d *ownDisk) killed() {
	now := d.n.w.now
	d.log = slices.DeleteFunc(d.log, func(op nameOp) bool { return op.at > now })
	d.again()
}

// powerLost loses and tears what was not durable.
func (d *ownDisk) powerLost() {
	d.killed()
	if len(d.log) == 0 {
		return
	}
	now, r := d.n.w.now, d.n.w.store
	kept := 0
	for i, op := range d.log {
		if op.kind == nameSynced {
			kept = i + 1
		}
	}
	kept += r.n(len(d.log) - kept + 1)
	d.log = d.log[:kept]
	d.again()
	paths := sortedKeys(d.cur)
	for _, path := range paths {
		if f := d.cur[path]; f.synced > now {
			d.cur[path] = &inode{text: f.text[:r.n(len(f.text)+1)]}
			d.n.w.oracle.count("files torn")
		}
	}
	d.base, d.log = d.cur, nil
	d.again()
	d.at = 0
}

func (d *ownDisk) again() {
	d.cur = make(map[string]*inode, len(d.base))
	for path, f := range d.base {
		d.cur[path] = f
	}
	for _, op := range d.log {
		op.apply(d.cur)
	}
}

// step is the time of one operation, and whether it fails.
func (d *ownDisk) step(what, path string) error {
	w := d.n.w
	d.at = d.at.Add(w.store.between(20*time.Microsecond, time.Millisecond))
	if d.failing && !w.calm && w.swarm.DiskErrors > 0 && w.store.one(20*w.swarm.DiskErrors) {
		w.oracle.count("disk errors")
		return fmt.Errorf("%s %s: %w", what, path, errDisk)
	}
	return nil
}

func (d *ownDisk) change(op nameOp) {
	op.at = d.at
	op.apply(d.cur)
	d.log = append(d.log, op)
}

// ReadFile is confdisk.Files'.
func (d *ownDisk) ReadFile(path string) ([]byte, error) {
	if f := d.cur[path]; f != nil {
		return f.text, nil
	}
	return nil, fmt.Errorf("open %s: %w", path, fs.ErrNotExist)
}

// WriteNew is confdisk.Files'.
func (d *ownDisk) WriteNew(dir, prefix string, text []byte) (string, error) {
	if err := d.step("write", dir); err != nil {
		return "", err
	}
	d.made++
	path := filepath.Join(dir, fmt.Sprintf("%s%d", prefix, d.made))
	f := &inode{text: slices.Clone(text), synced: vclock.Never}
	d.change(nameOp{kind: nameMade, to: path, file: f})
	if d.lazy || d.n.w.broken("no-file-sync") {
		return path, nil
	}
	if err := d.step("sync", path); err != nil {
		return "", errors.Join(err, d.Remove(path))
	}
	f.synced = d.at
	return path, nil
}

// Rename is confdisk.Files'.
func (d *ownDisk) Rename(from, to string) error {
	if err := d.step("rename", from); err != nil {
		return err
	}
	if len(under(d.cur, from)) == 0 {
		return fmt.Errorf("rename %s: %w", from, fs.ErrNotExist)
	}
	d.change(nameOp{kind: nameMoved, old: from, to: to})
	return nil
}

// Remove is confdisk.Files'.
func (d *ownDisk) Remove(path string) error {
	if d.cur[path] == nil {
		return fmt.Errorf("remove %s: %w", path, fs.ErrNotExist)
	}
	if err := d.step("remove", path); err != nil {
		return err
	}
	d.change(nameOp{kind: nameGone, old: path})
	return nil
}

// RemoveAll is confdisk.Files'.
func (d *ownDisk) RemoveAll(path string) error {
	for _, name := range under(d.cur, path) {
		if err := d.Remove(name); err != nil {
			return err
		}
	}
	return nil
}

// MkdirAll is confdisk.Files'; folders need no making here.
func (d *ownDisk) MkdirAll(string) error { return nil }

// SyncDir is confdisk.Files': it writes the journal up to here.
func (d *ownDisk) SyncDir(dir string) error {
	if err := d.step("sync", dir); err != nil {
		return err
	}
	if !d.lazy {
		d.change(nameOp{kind: nameSynced})
	}
	return nil
}

// ReadDir is confdisk.Files'.
func (d *ownDisk) ReadDir(dir string) ([]string, error) {
	var out []string
	for _, path := range under(d.cur, dir) {
		name, _, _ := strings.Cut(strings.TrimPrefix(path, dir+"/"), "/")
		out = append(out, name)
	}
	return slices.Compact(out), nil
}
