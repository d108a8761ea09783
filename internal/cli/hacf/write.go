package hacf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// write puts files into a folder: main.cf last, so that what it includes is
// there. What a file said before is kept beside it, under the time of its
// last change and, newest only, as .previous. Equal files are left alone, and
// so are files outside of the folder, which other configurations may share.
func write(dir string, files []maincf.SourceFile, errs io.Writer) error {
	for i := len(files) - 1; i >= 0; i-- {
		name := filepath.Join(dir, files[i].Name)
		if !filepath.IsLocal(files[i].Name) {
			fmt.Fprintf(errs, "warning: %s lies outside of %s and is left as it is\n", files[i].Name, dir)
			continue
		}
		if err := replace(name, files[i].Text); err != nil {
			return fmt.Errorf("write %s: %w; what it said before is unchanged", name, err)
		}
	}
	return nil
}

// replace writes a file whole or not at all.
func replace(name, text string) error {
	before, err := os.ReadFile(name)
	exists := err == nil
	switch {
	case exists && string(before) == text:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if exists {
		if err := keep(name, before); err != nil {
			return err
		}
	}
	return atomically(name, text)
}

// keep saves the text of a file under the time of its last change, as in
// main.cf.03Dec2001.175904; the same second twice gets a number.
func keep(name string, text []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	stamp := name + "." + info.ModTime().Format("02Jan2006.150405")
	free := stamp
	for n := 2; ; n++ {
		old, err := os.ReadFile(free)
		if errors.Is(err, fs.ErrNotExist) {
			if err := atomically(free, string(text)); err != nil {
				return err
			}
			break
		}
		if err != nil {
			return err
		}
		if string(old) == string(text) {
			break
		}
		free = stamp + "." + strconv.Itoa(n)
	}
	return atomically(name+".previous", string(text))
}

// atomically writes a file beside its place, makes it durable and moves it
// there. The folder is made durable too.
func atomically(name, text string) (err error) {
	dir := filepath.Dir(name)
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is err
		}
	}()
	_, err = strings.NewReader(text).WriteTo(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	return err
}
