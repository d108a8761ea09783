package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
	"github.com/evenkeel/evenkeel/services/had/engine"
	"github.com/evenkeel/evenkeel/services/had/join"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

const mainFile = "main.cf"

// onDisk is what this system's disk holds.
type onDisk struct {
	state  join.Disk
	config *maincf.Config // nil unless the files are valid
	files  []engine.File
	// problems are the mistakes, one line each, as FILE:LINE:COL: ...
	problems []string
	warnings []string
	// copy says which configuration of the cluster it is; edited: somebody
	// changed the files since had wrote them.
	copy   confdisk.Record
	edited bool
}

// sequence is that with which the copy is loaded.
func (d onDisk) sequence() uint64 { return d.copy.AsLoaded(d.edited) }

// readDisk reads and checks the configuration. Nothing is half-loaded: files
// and config are set only if all of it is good.
func readDisk(root paths.Root, self string) onDisk {
	d := onDisk{state: join.DiskValid}
	disk := diskOf(root)
	if err := disk.Recover(); err != nil {
		d.warnings = append(d.warnings, err.Error())
	}
	var files []engine.File
	open := func(name string) ([]byte, error) {
		text, err := readConfigFile(root, name)
		if err == nil {
			files = append(files, engine.File{Name: name, Text: string(text)})
		}
		return text, err
	}
	if _, err := os.Stat(root.Config(mainFile)); errors.Is(err, fs.ErrNotExist) {
		d.state = join.DiskMissing
		d.problems = []string{fmt.Sprintf("%s does not exist; write it, or start a system that has one", root.Config(mainFile))}
		return d
	}
	config, warnings, err := maincf.Load(mainFile, open)
	for _, w := range warnings {
		d.warnings = append(d.warnings, w.Error())
	}
	if err != nil {
		d.state = join.DiskInvalid
		d.problems = strings.Split(err.Error(), "\n")
		return d
	}
	if problem := notAMember(config, self); problem != "" {
		d.state, d.problems = join.DiskInvalid, []string{problem}
		return d
	}
	d.config, d.files = config, files
	same := false
	d.copy, same = disk.Copy(files)
	d.edited = !same
	if disk.Stale() {
		d.state = join.DiskStale
		d.problems = []string{fmt.Sprintf("%s exists: the configuration was being changed when had went; check main.cf, then hasys -force %s", root.Config(".stale"), self)}
	}
	return d
}

func notAMember(config *maincf.Config, self string) string {
	if config.System(self) != nil {
		return ""
	}
	return fmt.Sprintf("%s: there is no `system %s`; add it, or correct this system's name in the file sysname", mainFile, self)
}

// readConfigFile reads a file of the configuration; a missing types.cf is the
// built-in one.
func readConfigFile(root paths.Root, name string) ([]byte, error) {
	file := name
	if !filepath.IsAbs(name) {
		file = root.Config(name)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) && name == "types.cf" {
		return []byte(etc.TypesCF), nil
	}
	return text, err
}

// contradiction says what is wrong if UseFence was set and does not agree with
// the fencing mode; unset, it follows the mode.
func contradiction(config *maincf.Config, mode string) string {
	if config.Cluster == nil || mode == "" {
		return ""
	}
	at, set := config.Cluster.Attrs.Global("UseFence")
	if !set {
		return ""
	}
	fenced := mode != "disabled"
	switch {
	case at.Value.Text == "SCSI3" && !fenced:
		return fmt.Sprintf("%s: UseFence = SCSI3, but gab runs with fencing mode disabled: set vxfen_mode in fencing.conf on all systems and restart, or remove UseFence", at.Pos)
	case at.Value.Text == "NONE" && fenced:
		return fmt.Sprintf("%s: UseFence = NONE, but gab runs with fencing mode %s: remove UseFence, or disable fencing in fencing.conf on all systems and restart", at.Pos, mode)
	}
	return ""
}

// readSettings reads had.conf: lines NAME=VALUE, # begins a comment. Unknown
// names are mistakes.
func readSettings(root paths.Root) (map[string]string, error) {
	path := root.Config("had.conf")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read had.conf: %w", err)
	}
	out := map[string]string{}
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(name)
		if !ok || (name != "agents" && name != "trigger-timeout") {
			column := len(line) - len(strings.TrimLeft(line, " \t")) + 1
			return nil, fmt.Errorf("had.conf:%d:%d: %q is not known; had.conf has lines such as agents=/usr/lib/evenkeel/agents", n+1, column, strings.TrimSpace(line))
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, nil
}
