package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/evenkeel/evenkeel/internal/paths"
	"github.com/evenkeel/evenkeel/services/had/confdisk"
)

// diskOf is where a system keeps the configuration.
func diskOf(root paths.Root) confdisk.Disk {
	return confdisk.Disk{Files: osFiles{}, Config: root.ConfigDir(), Versions: root.State("config")}
}

// osFiles is this machine's file system.
type osFiles struct{}

func (osFiles) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (osFiles) Rename(from, to string) error         { return os.Rename(from, to) }
func (osFiles) Remove(path string) error             { return os.Remove(path) }
func (osFiles) RemoveAll(path string) error          { return os.RemoveAll(path) }
func (osFiles) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o755) }

func (osFiles) ReadDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

func (osFiles) WriteNew(dir, prefix string, text []byte) (string, error) {
	tmp, err := os.CreateTemp(dir, prefix+"*")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return tmp.Name(), nil
}

func (osFiles) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// replaceFile replaces a file so that after a power failure there is the old
// or the new one.
func replaceFile(path string, text []byte) error {
	dir, files := filepath.Dir(path), osFiles{}
	if err := files.MkdirAll(dir); err != nil {
		return err
	}
	tmp, err := files.WriteNew(dir, "."+filepath.Base(path)+".", text)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return files.SyncDir(dir)
}
