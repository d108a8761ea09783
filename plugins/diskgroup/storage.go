package diskgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// backend says where one disk group's volumes are on this system.
type backend struct {
	// kind is "image": volumes are files DIR/VOLUME.img on shared storage.
	kind string
	dir  string
}

// readStorage finds the backend of a disk group in storage.conf. Its lines are
//
//	diskgroup NAME image DIRECTORY
//
// with # for comments. The file belongs to one system: main.cf never says
// where storage is.
func readStorage(file, group string) (backend, error) {
	text, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return backend{}, fmt.Errorf("%s does not exist; write into it: diskgroup %s image DIRECTORY", file, group)
	}
	if err != nil {
		return backend{}, fmt.Errorf("find the storage of disk group %s: %w", group, err)
	}
	defer text.Close()
	known, err := parseStorage(file, text)
	if err != nil {
		return backend{}, err
	}
	found, ok := known[group]
	if !ok {
		names := make([]string, 0, len(known))
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return backend{}, fmt.Errorf("%s has no disk group %s (it has: %s)", file, group, strings.Join(names, ", "))
	}
	return found, nil
}

// parseStorage reads the lines of storage.conf.
func parseStorage(file string, text io.Reader) (map[string]backend, error) {
	known := map[string]backend{}
	lines := bufio.NewScanner(text)
	for number := 1; lines.Scan(); number++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		bad := func(format string, args ...any) error {
			column := strings.Index(line, words[0]) + 1
			return fmt.Errorf("%s:%d:%d: %s", file, number, column, fmt.Sprintf(format, args...))
		}
		switch {
		case words[0] != "diskgroup":
			return nil, bad("unknown word %q; a line is: diskgroup NAME image DIRECTORY", words[0])
		case len(words) != 4:
			return nil, bad("%d words; a line is: diskgroup NAME image DIRECTORY", len(words))
		case words[2] != "image":
			return nil, bad("unknown backend %q; this version has: image", words[2])
		case !filepath.IsAbs(words[3]):
			return nil, bad("directory %q is not an absolute path", words[3])
		}
		if _, twice := known[words[1]]; twice {
			return nil, bad("disk group %s is named twice", words[1])
		}
		known[words[1]] = backend{kind: words[2], dir: filepath.Clean(words[3])}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return known, nil
}

// volumes lists the names of the group's volumes in order.
func (b backend) volumes() ([]string, error) {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w (is the shared storage connected?)", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), ".img"); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

func (b backend) image(volume string) string { return filepath.Join(b.dir, volume+".img") }
