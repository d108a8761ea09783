// Package confdisk keeps the configuration on a system's disk: whole files,
// numbered versions, and the record which configuration of the cluster the copy
// is. After a power failure at any point there is the old copy or the new one
// (I6).
//
// The disk itself is behind Files: the daemon gives it the machine's, the
// simulator one that loses and tears what was not made durable.
package confdisk

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// Files are what this package asks of a file system, in the words of package
// os; a file that is not there is fs.ErrNotExist.
type Files interface {
	ReadFile(path string) ([]byte, error)
	// WriteNew makes a file that was not there, with a name of its own in dir
	// that begins with prefix, and its content durable. The name itself is
	// durable after SyncDir.
	WriteNew(dir, prefix string, text []byte) (path string, err error)
	Rename(from, to string) error
	Remove(path string) error
	RemoveAll(path string) error
	MkdirAll(dir string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// ReadDir returns the names in dir, sorted.
	ReadDir(dir string) ([]string, error)
}

// exists reports whether a file is there.
func (d Disk) exists(path string) bool {
	_, err := d.Files.ReadFile(path)
	return err == nil
}

// replaceFile replaces a file so that after a power failure there is the old
// or the new one.
func (d Disk) replaceFile(path string, text []byte) error {
	dir := filepath.Dir(path)
	if err := d.Files.MkdirAll(dir); err != nil {
		return err
	}
	tmp, err := d.Files.WriteNew(dir, "."+filepath.Base(path)+".", text)
	if err != nil {
		return err
	}
	if err := d.Files.Rename(tmp, path); err != nil {
		return errors.Join(err, d.Files.Remove(tmp))
	}
	return d.Files.SyncDir(dir)
}

func (d Disk) remove(path string) error {
	if err := d.Files.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
