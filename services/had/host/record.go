package host

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// record is what a later had needs to find an agent and its helpers: never a
// bare process id, always with its start time, the boot it belongs to and a
// token that the agent and its helpers carry in their environment.
type record struct {
	Type      string `json:"type"`
	Token     string `json:"token"`
	Boot      string `json:"boot"`
	PID       int    `json:"pid,omitempty"`
	StartTime uint64 `json:"start_time,omitempty"`
	// Cgroup is the agent's cgroup directory, if it has one.
	Cgroup string `json:"cgroup,omitempty"`
	// Sockets is the directory of its socket.
	Sockets string `json:"sockets,omitempty"`
}

type recordFile struct {
	record
	path string
}

func newRecord(dir, typeName string) (*recordFile, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("make token: %w", err)
	}
	token := hex.EncodeToString(random[:])
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	return &recordFile{
		record: record{Type: typeName, Token: token, Boot: boot},
		path:   filepath.Join(dir, fmt.Sprintf("%s.%s.json", typeName, token)),
	}, nil
}

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// write replaces the file in one step. It need not survive a power failure:
// the processes do not either.
func (r *recordFile) write() error {
	text, err := json.Marshal(r.record)
	if err != nil {
		return fmt.Errorf("write agent record: %w", err)
	}
	if err := os.WriteFile(r.path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write agent record: %w", err)
	}
	if err := os.Rename(r.path+".new", r.path); err != nil {
		return fmt.Errorf("write agent record: %w", err)
	}
	return nil
}

func (r *recordFile) remove() { _ = os.Remove(r.path) }

// readRecords returns what a former host left behind. A file that cannot be
// read is an error: ignoring it could leave an entry point running.
func readRecords(dir string) ([]*recordFile, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("list agent records: %w", err)
	}
	var out []*recordFile
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read agent record: %w", err)
		}
		r := &recordFile{path: name}
		if err := json.Unmarshal(text, &r.record); err != nil || len(r.Token) != 32 {
			return nil, fmt.Errorf("read agent record %s: it is damaged; make sure that no process has %s in its environment, then remove the file", name, envToken)
		}
		out = append(out, r)
	}
	return out, nil
}
