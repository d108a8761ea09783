package confdisk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// KeptVersions is how many dumped versions stay on a disk.
const KeptVersions = 50

// Disk is where a system keeps the configuration.
type Disk struct {
	Files Files
	// Config is the folder with main.cf, Versions the one with the versions.
	Config, Versions string
}

// Record is what is known of the copy in the configuration folder beside its
// text: which configuration of the cluster it is. Of two copies the one with
// the higher sequence wins, whatever the times of the files are.
type Record struct {
	Sequence uint64 `json:"sequence"`
	Version  uint64 `json:"version"`
	// Hash is that of the files; others were edited by hand since.
	Hash uint64 `json:"hash"`
}

// Version is the record of one kept version. Its text lies beside it, in the
// folder "files".
type Version struct {
	Number   uint64     `json:"number"`
	Sequence uint64     `json:"sequence"`
	At       engine.Pos `json:"at"`
	User     string     `json:"user,omitempty"`
	Request  string     `json:"request,omitempty"`
	// Written is for people; nothing is decided by it.
	Written time.Time `json:"written"`
	Files   []string  `json:"files"`
	Hash    uint64    `json:"hash"`
	Summary string    `json:"summary"`
}

func (d Disk) dir(name string) string { return filepath.Join(d.Versions, name) }

func versionName(n uint64) string { return fmt.Sprintf("%08d", n) }

// pending names the folder whose files are being copied to the configuration
// folder. After a power failure in the middle the copying is done again, so
// that the files of a configuration change together (I6).
func (d Disk) pending() string { return d.dir("pending") }

func (d Disk) copyFile() string { return d.dir("copy.json") }

func (d Disk) staleFile() string { return filepath.Join(d.Config, ".stale") }

// Copy returns the record of the disk's copy and whether the files are those
// that it is about.
func (d Disk) Copy(files []engine.File) (Record, bool) {
	var r Record
	text, err := d.Files.ReadFile(d.copyFile())
	if err != nil || json.Unmarshal(text, &r) != nil {
		return Record{}, false
	}
	return r, r.Hash == Hash(Local(files))
}

// Rank orders copies: by the cluster's sequence; of equal ones that which
// somebody edited since.
func (d Disk) Rank(files []engine.File) uint64 {
	r, same := d.Copy(files)
	if same {
		return r.Sequence << 1
	}
	return r.Sequence<<1 | 1
}

// AsLoaded is the sequence with which a copy is loaded: one that was edited by hand is
// younger than the one that it was made from.
func (r Record) AsLoaded(edited bool) uint64 {
	if edited && r.Sequence > 0 {
		return r.Sequence + 1
	}
	return r.Sequence
}

// Local are the files that lie in the configuration folder; an absolute include
// belongs to each system itself.
func Local(files []engine.File) []engine.File {
	return slices.DeleteFunc(slices.Clone(files), func(f engine.File) bool { return !filepath.IsLocal(f.Name) })
}

// Hash is the same on all systems that run the same configuration.
func Hash(files []engine.File) uint64 {
	h := fnv.New64a()
	for _, f := range files {
		fmt.Fprintf(h, "%d %s %d %s", len(f.Name), f.Name, len(f.Text), f.Text)
	}
	return h.Sum64()
}

// stage writes files to a folder of their own, durably and as a whole.
func (d Disk) stage(name string, v Version, files []engine.File) error {
	dir := d.dir(name)
	tmp := dir + ".tmp"
	if err := d.Files.RemoveAll(tmp); err != nil {
		return err
	}
	for _, f := range files {
		if err := d.replaceFile(filepath.Join(tmp, "files", f.Name), []byte(f.Text)); err != nil {
			return errors.Join(err, d.Files.RemoveAll(tmp))
		}
	}
	text, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = d.replaceFile(filepath.Join(tmp, "version.json"), text)
	}
	if err == nil {
		err = d.Files.SyncDir(tmp)
	}
	if err != nil {
		return errors.Join(err, d.Files.RemoveAll(tmp))
	}
	if err := d.Files.RemoveAll(dir); err != nil {
		return err
	}
	if err := d.Files.Rename(tmp, dir); err != nil {
		return err
	}
	return d.Files.SyncDir(d.Versions)
}

// Save makes the disk's copy equal to files: all of them or none, also after a
// power failure. v.Number 0 keeps no version. stale leaves or sets the mark.
// Earlier texts stay as NAME.previous. Of v, Files, Hash and Summary are filled
// in.
func (d Disk) Save(files []engine.File, v Version, stale bool) error {
	if err := d.save(files, v, stale); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

func (d Disk) save(files []engine.File, v Version, stale bool) error {
	local := Local(files)
	v.Hash, v.Summary = Hash(local), summaryOf(files)
	for _, f := range local {
		v.Files = append(v.Files, f.Name)
	}
	name := "running"
	if v.Number > 0 {
		name = versionName(v.Number)
	}
	if old, err := d.version(name); v.Number == 0 || err != nil || old.Hash != v.Hash {
		if err := d.stage(name, v, local); err != nil {
			return err
		}
	}
	if stale {
		if err := d.MarkStale(); err != nil {
			return err
		}
	}
	if err := d.replaceFile(d.pending(), []byte(name)); err != nil {
		return err
	}
	if err := d.finish(name, v); err != nil {
		return err
	}
	d.dropOld()
	if stale {
		return nil
	}
	if err := d.remove(d.staleFile()); err != nil {
		return err
	}
	return d.Files.SyncDir(d.Config)
}

// KeepFirst keeps what a cluster started with as version 0, until its first
// dump: the way back from the first change. Of v as with Save.
func (d Disk) KeepFirst(files []engine.File, v Version) error {
	local := Local(files)
	v.Number, v.Hash, v.Summary = 0, Hash(local), summaryOf(files)
	for _, f := range local {
		v.Files = append(v.Files, f.Name)
	}
	if all := d.All(); len(all) > 0 && (all[0].Number > 0 || all[0].Hash == v.Hash) {
		return nil
	}
	if err := d.stage(versionName(0), v, local); err != nil {
		return fmt.Errorf("keep the first configuration: %w", err)
	}
	return nil
}

// finish copies a staged folder to the configuration folder and forgets that it
// was pending.
func (d Disk) finish(name string, v Version) error {
	for i := len(v.Files) - 1; i >= 0; i-- { // main.cf last
		file := v.Files[i]
		text, err := d.Files.ReadFile(filepath.Join(d.dir(name), "files", file))
		if err != nil {
			return err
		}
		path := filepath.Join(d.Config, file)
		have, err := d.Files.ReadFile(path)
		switch {
		case err == nil && bytes.Equal(have, text):
			continue
		case err == nil:
			if err := d.replaceFile(path+".previous", have); err != nil {
				return err
			}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		if err := d.replaceFile(path, text); err != nil {
			return err
		}
	}
	record, err := json.Marshal(Record{Sequence: v.Sequence, Version: v.Number, Hash: v.Hash})
	if err != nil {
		return err
	}
	if err := d.replaceFile(d.copyFile(), record); err != nil {
		return err
	}
	if err := d.remove(d.pending()); err != nil {
		return err
	}
	return d.Files.SyncDir(d.Versions)
}

// Recover finishes what a power failure or a full disk cut short.
func (d Disk) Recover() error {
	name, err := d.Files.ReadFile(d.pending())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	v, err := d.version(string(name))
	if err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	if err := d.finish(string(name), v); err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	return nil
}

func (d Disk) version(name string) (Version, error) {
	var v Version
	text, err := d.Files.ReadFile(filepath.Join(d.dir(name), "version.json"))
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// All returns the kept versions, newest first.
func (d Disk) All() []Version {
	names, err := d.Files.ReadDir(d.Versions)
	if err != nil {
		return nil
	}
	var out []Version
	for _, name := range names {
		if _, err := strconv.ParseUint(name, 10, 64); err != nil {
			continue
		}
		if v, err := d.version(name); err == nil {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b Version) int {
		switch {
		case a.Number > b.Number:
			return -1
		case a.Number < b.Number:
			return 1
		}
		return 0
	})
	return out
}

// Text returns the files of a kept version.
func (d Disk) Text(v Version) ([]engine.File, error) {
	var out []engine.File
	for _, name := range v.Files {
		text, err := d.Files.ReadFile(filepath.Join(d.dir(versionName(v.Number)), "files", name))
		if err != nil {
			return nil, fmt.Errorf("read version %d: %w", v.Number, err)
		}
		out = append(out, engine.File{Name: name, Text: string(text)})
	}
	return out, nil
}

// dropOld forgets the oldest versions.
func (d Disk) dropOld() {
	all := d.All()
	for _, v := range all[min(len(all), KeptVersions):] {
		_ = d.Files.RemoveAll(d.dir(versionName(v.Number))) // one more version does no harm
	}
}

func summaryOf(files []engine.File) string {
	cfg, err := Load(files)
	if err != nil {
		return ""
	}
	resources := 0
	for _, g := range cfg.Groups {
		resources += len(g.Resources)
	}
	return counted(len(cfg.Systems), "system") + ", " + counted(len(cfg.Groups), "group") + ", " + counted(resources, "resource")
}

// Load reads a configuration from texts, the main file first.
func Load(files []engine.File) (*maincf.Config, error) {
	texts := map[string]string{}
	for _, f := range files {
		texts[f.Name] = f.Text
	}
	if len(files) == 0 {
		return nil, errors.New("no files")
	}
	cfg, _, err := maincf.LoadMap(files[0].Name, texts)
	return cfg, err
}

// MarkStale says on the disk that its copy may lack a change; Stale reports it.
func (d Disk) MarkStale() error {
	if d.Stale() {
		return nil
	}
	if err := d.replaceFile(d.staleFile(), nil); err != nil {
		return fmt.Errorf("mark configuration stale: %w", err)
	}
	return nil
}

// Stale reports whether the copy may lack a change.
func (d Disk) Stale() bool { return d.exists(d.staleFile()) }

// counted is a number of things in words.
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
