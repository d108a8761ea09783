// Package paths knows where Evenkeel's files are. Everything lies under one
// root, "/" unless EVENKEEL_ROOT says otherwise, so that several systems of a
// laboratory can live on one machine. The environment is read once, in
// FromEnvironment; nothing else looks at it.
package paths

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Root is the directory that holds etc/evenkeel, run/evenkeel,
// var/lib/evenkeel and var/log/evenkeel. The zero value means "/".
type Root string

// FromEnvironment returns the root that EVENKEEL_ROOT names, or "/".
func FromEnvironment() Root { return Root(os.Getenv("EVENKEEL_ROOT")) }

// IsHost reports whether the root is the machine's own (no EVENKEEL_ROOT).
func (r Root) IsHost() bool { return r == "" || r == "/" }

func (r Root) join(parts ...string) string {
	base := string(r)
	if base == "" {
		base = "/"
	}
	return filepath.Join(append([]string{base}, parts...)...)
}

// Config is the path of a configuration file: main.cf, types.cf, llttab,
// llthosts, gabtab, fencing.conf, had.conf, storage.conf, sysname, cluster.key.
func (r Root) Config(name string) string { return r.join("etc/evenkeel", name) }

// ConfigDir is the directory of the configuration files.
func (r Root) ConfigDir() string { return r.join("etc/evenkeel") }

// Socket is the unix socket of a daemon: gab, fencing, had or hashadow.
func (r Root) Socket(daemon string) string { return r.join("run/evenkeel", daemon+".sock") }

// Run is a file under /run/evenkeel, gone after a reboot.
func (r Root) Run(name string) string { return r.join("run/evenkeel", name) }

// RunDir is /run/evenkeel.
func (r Root) RunDir() string { return r.join("run/evenkeel") }

// State is a file under /var/lib/evenkeel, kept over reboots.
func (r Root) State(name string) string { return r.join("var/lib/evenkeel", name) }

// StateDir is /var/lib/evenkeel.
func (r Root) StateDir() string { return r.join("var/lib/evenkeel") }

// Log is a file under /var/log/evenkeel.
func (r Root) Log(name string) string { return r.join("var/log/evenkeel", name) }

// LogDir is /var/log/evenkeel.
func (r Root) LogDir() string { return r.join("var/log/evenkeel") }

// Agent is the program of a resource type's agent:
// /usr/lib/evenkeel/agents/<Type>.
func (r Root) Agent(resourceType string) string {
	return r.join("usr/lib/evenkeel/agents", resourceType)
}

// Home is what scripts of VCS know as VCS_HOME: /usr/lib/evenkeel.
func (r Root) Home() string { return r.join("usr/lib/evenkeel") }

// Triggers is the folder with the programs that had runs because of events:
// /usr/lib/evenkeel/triggers/<event>.
func (r Root) Triggers() string { return r.join("usr/lib/evenkeel/triggers") }

// LabMarker is the file whose existence says "this system is part of a
// laboratory": kernel panic, reboot and watchdog refuse to run (R3), and file
// coordination points are allowed. Its content is described in internal/lab.
func (r Root) LabMarker() string { return r.join("run/evenkeel", "lab") }

// MakeRunDirs creates the directories that a daemon writes into.
func (r Root) MakeRunDirs() error {
	for _, dir := range []string{r.RunDir(), r.StateDir(), r.LogDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create %s: %w (run as a user that may write there, or set EVENKEEL_ROOT)", dir, err)
		}
	}
	return nil
}

// SystemName is this machine's name in the cluster: the first word of the
// file sysname, else the host name up to the first dot.
func (r Root) SystemName() (string, error) {
	switch text, err := os.ReadFile(r.Config("sysname")); {
	case err == nil:
		fields := strings.Fields(string(text))
		if len(fields) == 0 {
			return "", fmt.Errorf("read %s: the file is empty; write the system's name into it or remove it", r.Config("sysname"))
		}
		return fields[0], nil
	case !os.IsNotExist(err):
		return "", fmt.Errorf("read system name: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("find system name: %w", err)
	}
	name, _, _ := strings.Cut(host, ".")
	return name, nil
}
