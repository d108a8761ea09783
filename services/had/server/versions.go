package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// keptVersions is how many dumped versions stay on a disk.
const keptVersions = 50

// copyRecord is what is known of the copy in the configuration folder beside
// its text: which configuration of the cluster it is. Of two copies the one
// with the higher sequence wins, whatever the times of the files are.
type copyRecord struct {
	Sequence uint64 `json:"sequence"`
	Version  uint64 `json:"version"`
	// Hash is that of the files; others were edited by hand since.
	Hash uint64 `json:"hash"`
}

// version is the record of one kept version. Text lies beside it, in the
// folder "files".
type version struct {
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

func versionsDir(root paths.Root) string { return root.State("config") }

func versionDir(root paths.Root, name string) string { return filepath.Join(versionsDir(root), name) }

func versionName(n uint64) string { return fmt.Sprintf("%08d", n) }

// pendingFile names the folder whose files are being copied to the
// configuration folder. After a power failure in the middle the copying is
// done again, so that the files of a configuration change together (I6).
func pendingFile(root paths.Root) string { return versionDir(root, "pending") }

// readCopy returns the record of the disk's copy and whether the files are
// those that it is about.
func readCopy(root paths.Root, files []engine.File) (copyRecord, bool) {
	var r copyRecord
	text, err := os.ReadFile(versionDir(root, "copy.json"))
	if err != nil || json.Unmarshal(text, &r) != nil {
		return copyRecord{}, false
	}
	return r, r.Hash == hashFiles(localFiles(files))
}

// rank orders copies: by the cluster's sequence; of equal ones that which
// somebody edited since.
func rank(root paths.Root, files []engine.File) uint64 {
	r, same := readCopy(root, files)
	if same {
		return r.Sequence << 1
	}
	return r.Sequence<<1 | 1
}

// sequence is that with which the copy is loaded: one that was edited by hand
// is younger than the one that it was made from.
func (d onDisk) sequence() uint64 {
	if d.edited && d.copy.Sequence > 0 {
		return d.copy.Sequence + 1
	}
	return d.copy.Sequence
}

// localFiles are those that lie in the configuration folder; an absolute
// include belongs to each system itself.
func localFiles(files []engine.File) []engine.File {
	return slices.DeleteFunc(slices.Clone(files), func(f engine.File) bool { return !filepath.IsLocal(f.Name) })
}

// stage writes files to a folder of their own, durably and as a whole.
func stage(root paths.Root, name string, v version, files []engine.File) error {
	dir := versionDir(root, name)
	tmp := dir + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, f := range files {
		if err := replaceFile(filepath.Join(tmp, "files", f.Name), []byte(f.Text)); err != nil {
			return errors.Join(err, os.RemoveAll(tmp))
		}
	}
	text, err := json.MarshalIndent(v, "", "\t")
	if err == nil {
		err = replaceFile(filepath.Join(tmp, "version.json"), text)
	}
	if err == nil {
		err = syncDir(tmp)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(versionsDir(root))
}

// saveCopy makes the disk's copy equal to files: all of them or none, also
// after a power failure. v.Number 0 keeps no version. stale leaves or sets the
// mark. Earlier texts stay as NAME.previous.
func saveCopy(root paths.Root, files []engine.File, v version, stale bool) error {
	local := localFiles(files)
	v.Hash, v.Written, v.Summary = hashFiles(local), time.Now().UTC(), summaryOf(files)
	for _, f := range local {
		v.Files = append(v.Files, f.Name)
	}
	name := "running"
	if v.Number > 0 {
		name = versionName(v.Number)
	}
	if old, err := readVersion(root, name); v.Number == 0 || err != nil || old.Hash != v.Hash {
		if err := stage(root, name, v, local); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	if stale {
		if err := markStale(root); err != nil {
			return err
		}
	}
	if err := replaceFile(pendingFile(root), []byte(name)); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := finishCopy(root, name, v); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	dropOld(root)
	if stale {
		return nil
	}
	return removeStale(root)
}

// finishCopy copies a staged folder to the configuration folder and forgets
// that it was pending.
func finishCopy(root paths.Root, name string, v version) error {
	for i := len(v.Files) - 1; i >= 0; i-- { // main.cf last
		file := v.Files[i]
		text, err := os.ReadFile(filepath.Join(versionDir(root, name), "files", file))
		if err != nil {
			return err
		}
		if err := keepPrevious(root.Config(file), string(text)); err != nil {
			return err
		}
		if have, err := os.ReadFile(root.Config(file)); err == nil && bytes.Equal(have, text) {
			continue
		}
		if err := replaceFile(root.Config(file), text); err != nil {
			return err
		}
	}
	record, err := json.Marshal(copyRecord{Sequence: v.Sequence, Version: v.Number, Hash: v.Hash})
	if err != nil {
		return err
	}
	if err := replaceFile(versionDir(root, "copy.json"), record); err != nil {
		return err
	}
	if err := os.Remove(pendingFile(root)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(versionsDir(root))
}

// recoverCopy finishes what a power failure or a full disk cut short.
func recoverCopy(root paths.Root) error {
	name, err := os.ReadFile(pendingFile(root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	v, err := readVersion(root, string(name))
	if err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	if err := finishCopy(root, string(name), v); err != nil {
		return fmt.Errorf("recover configuration: %w", err)
	}
	return nil
}

func readVersion(root paths.Root, name string) (version, error) {
	var v version
	text, err := os.ReadFile(filepath.Join(versionDir(root, name), "version.json"))
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	return v, err
}

// versions returns the kept versions, newest first.
func versions(root paths.Root) []version {
	entries, err := os.ReadDir(versionsDir(root))
	if err != nil {
		return nil
	}
	var out []version
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 64); err != nil {
			continue
		}
		if v, err := readVersion(root, e.Name()); err == nil {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b version) int {
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

// textOf returns the files of a kept version.
func textOf(root paths.Root, v version) ([]engine.File, error) {
	var out []engine.File
	for _, name := range v.Files {
		text, err := os.ReadFile(filepath.Join(versionDir(root, versionName(v.Number)), "files", name))
		if err != nil {
			return nil, fmt.Errorf("read version %d: %w", v.Number, err)
		}
		out = append(out, engine.File{Name: name, Text: string(text)})
	}
	return out, nil
}

// dropOld forgets the oldest versions.
func dropOld(root paths.Root) {
	all := versions(root)
	for _, v := range all[min(len(all), keptVersions):] {
		_ = os.RemoveAll(versionDir(root, versionName(v.Number))) // one more version does no harm
	}
}

func summaryOf(files []engine.File) string {
	cfg, err := loadFiles(files)
	if err != nil {
		return ""
	}
	resources := 0
	for _, g := range cfg.Groups {
		resources += len(g.Resources)
	}
	return fmt.Sprintf("%d systems, %d groups, %d resources", len(cfg.Systems), len(cfg.Groups), resources)
}

// loadFiles reads a configuration from texts, the main file first.
func loadFiles(files []engine.File) (*maincf.Config, error) {
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

// markStale says on the disk that its copy may lack a change.
func markStale(root paths.Root) error {
	if _, err := os.Stat(root.Config(".stale")); err == nil {
		return nil
	}
	if err := replaceFile(root.Config(".stale"), nil); err != nil {
		return fmt.Errorf("mark configuration stale: %w", err)
	}
	return nil
}

// diskJob is something that the disk of this system is to take.
type diskJob struct {
	// mark: only .stale.
	mark   bool
	source engine.Source
	record version
	stale  bool
	// answers are the dumps that it carries out.
	answers []engine.DumpConfig
}

// toDisk queues a job. There is one at a time, and of those that wait the
// last of its kind is enough: at most a mark and a copy wait.
func (l *loop) toDisk(j diskJob) {
	if n := len(l.diskJobs); n > 0 && !j.mark {
		// A copy makes what waits needless; its answers are due all the same.
		for _, old := range l.diskJobs {
			j.answers = append(old.answers, j.answers...)
		}
		l.diskJobs = l.diskJobs[:0]
	} else if n > 0 && l.diskJobs[n-1].mark {
		return
	}
	l.diskJobs = append(l.diskJobs, j)
	l.nextDiskJob()
}

func (l *loop) nextDiskJob() {
	if l.diskBusy || len(l.diskJobs) == 0 {
		return
	}
	j := l.diskJobs[0]
	l.diskJobs, l.diskBusy = l.diskJobs[1:], true
	l.workers.Go(func() {
		err := j.run(l.root)
		l.post(func() {
			l.diskBusy = false
			l.diskDone(j, err)
			l.nextDiskJob()
		})
	})
}

func (j diskJob) run(root paths.Root) error {
	if j.mark {
		return markStale(root)
	}
	return saveCopy(root, j.source.Files(), j.record, j.stale)
}

// diskDone tells the cluster, and whoever reads the log, how it went.
func (l *loop) diskDone(j diskJob, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
		l.engineLine("ERROR", "V-16-1-90050", fmt.Sprintf("The configuration is not written on %s: %s; its disk holds what it held before", l.self, problem))
	} else if !j.mark {
		l.disk.problems = nil // what was wrong is replaced
	}
	for _, d := range j.answers {
		ev := engine.ConfigDumped{System: l.self, Version: d.Version, At: d.At, Problem: problem}
		l.tellDumped(ev)
	}
}

func (l *loop) tellDumped(ev engine.ConfigDumped) {
	if l.leaveBy != 0 {
		return // nothing follows the last word (R14)
	}
	id := l.broadcastEvent(ev)
	l.onLost[id] = func() { l.tellDumped(ev) }
}

// saveRunning writes what runs to this system's disk, as a joiner and who
// built from its own disk do.
func (l *loop) saveRunning() {
	st := l.engine.ConfigStatus()
	j := diskJob{source: l.engine.Source(), record: version{Number: st.Version, Sequence: st.Sequence}, stale: st.Stale}
	if st.Undumped || st.Version == 0 {
		j.record.Number = 0 // it is no version
	}
	if l.disk.state == join.DiskValid && l.disk.edited && hashFiles(localFiles(l.disk.files)) != hashFiles(localFiles(j.source.Files())) {
		l.engineLine("WARNING", "V-16-1-90056", "The configuration on this disk was edited and is not the running one: it is replaced and kept as "+mainFile+".previous")
	}
	l.toDisk(j)
}
