package server

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/llt"
	lltconf "github.com/evenkeel/evenkeel/llt/conf"
	fencingconf "github.com/evenkeel/evenkeel/services/fencing/conf"
)

// Config is what a gab daemon is made from.
type Config struct {
	// Root of the system's files.
	Root paths.Root
	// Tab and Hosts are llttab and llthosts.
	Tab   *lltconf.Tab
	Hosts *lltconf.Hosts
	// Node is this system's id.
	Node llt.NodeID
	// Key is the cluster key; nil: frames are not encrypted.
	Key llt.Key
	// KeyFile is where it was read from, "" without one. Beside it lie KeyFile
	// .new, of a rotation under way, and KeyFile .old, of the one before.
	KeyFile string
	NextKey llt.Key
	OldKeys []llt.Key
	// Gabtab says when to seed.
	Gabtab Gabtab
	// FencingMode is the mode of fencing.conf.
	FencingMode string
	// Log takes all records.
	Log *slog.Logger
	// Realtime asks for locked memory and SCHED_RR where permitted.
	Realtime bool
	// Watch makes the daemon watch fencing and hashadow and stop the system if
	// they are lost under something protected (R2).
	Watch bool
}

// Load reads llttab, llthosts, the cluster key, gabtab and fencing.conf below
// root. Errors name file, line and column.
func Load(root paths.Root, log *slog.Logger) (Config, error) {
	cfg := Config{Root: root, Log: log, Realtime: true, Watch: true}
	text, err := readConfig(root, "llthosts", "lines of a node id and a system's name")
	if err != nil {
		return cfg, err
	}
	if cfg.Hosts, err = lltconf.ParseHosts("llthosts", text); err != nil {
		return cfg, err
	}
	if text, err = readConfig(root, "llttab", "set-node, set-cluster and two links; docs/spec/llt.md"); err != nil {
		return cfg, err
	}
	if cfg.Tab, err = lltconf.ParseTab("llttab", text); err != nil {
		return cfg, err
	}
	readFile := func(path string) (string, error) {
		b, err := os.ReadFile(path)
		return string(b), err
	}
	if cfg.Node, err = cfg.Tab.NodeOf("llttab", cfg.Hosts, readFile); err != nil {
		return cfg, err
	}
	if text, err = readConfig(root, "gabtab", "gabconfig -c -nN, N being the number of systems"); err != nil {
		return cfg, err
	}
	if cfg.Gabtab, err = ParseGabtab("gabtab", text); err != nil {
		return cfg, err
	}
	if err = cfg.loadKeys(); err != nil {
		return cfg, err
	}
	cfg.FencingMode, err = fencingMode(root)
	return cfg, err
}

func readConfig(root paths.Root, name, write string) (string, error) {
	text, err := os.ReadFile(root.Config(name))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read %s: the file is missing; write into it: %s", root.Config(name), write)
	}
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	return string(text), nil
}

func fencingMode(root paths.Root) (string, error) {
	text, err := os.ReadFile(root.Config("fencing.conf"))
	if errors.Is(err, os.ErrNotExist) {
		return string(fencingconf.Default().Mode), nil
	}
	if err != nil {
		return "", fmt.Errorf("read fencing mode: %w", err)
	}
	c, err := fencingconf.Parse("fencing.conf", text)
	if err != nil {
		return "", err
	}
	return string(c.Mode), nil
}

// loadKeys reads the cluster key, and what a rotation left beside it. To run
// without one must be said in llttab.
func (c *Config) loadKeys() (err error) {
	file, log := c.Tab.KeyFile, c.Log
	if file == lltconf.KeyNone {
		log.Warn("LLT runs without encryption, as llttab says: whoever reaches a link can pose as any system", "id", "V-14-1-20001")
		return nil
	}
	if file == "" {
		file = c.Root.Config("cluster.key")
	}
	if c.Key, err = readKey(file); err != nil {
		return err
	}
	c.KeyFile = file
	if st, err := os.Stat(file); err == nil && st.Mode().Perm()&0o077 != 0 {
		log.Warn("others can read the cluster key and so pose as any system; chmod 600", "file", file, "id", "V-14-1-20002")
	}
	if next, err := readKey(file + ".new"); err == nil {
		c.NextKey = next
		log.Info("a rotation of the cluster key was under way when gab stopped here; its key is used as soon as the others are seen to use it", "file", file+".new")
	}
	if old, err := readKey(file + ".old"); err == nil {
		c.OldKeys = append(c.OldKeys, old)
	}
	return nil
}

func readKey(file string) (llt.Key, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read cluster key %s: the file is missing; make one for all systems with openssl rand -hex 32, or write set-key-file none into llttab to run without encryption", file)
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster key: %w", err)
	}
	key, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil || len(key) < 32 {
		return nil, fmt.Errorf("read cluster key %s: not 64 or more hexadecimal digits; make a new one for all systems: openssl rand -hex 32", file)
	}
	return key, nil
}
