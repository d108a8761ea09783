package spec

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is one file of a system's /etc/evenkeel.
type File struct {
	Name string      `json:"name"`
	Mode os.FileMode `json:"mode"`
	Text []byte      `json:"text"`
}

// Shared is what all systems of a lab have in common.
type Shared struct {
	// SharedDir is the shared storage as the systems see it.
	SharedDir string
	// RunDir is a directory for the default configuration's file, per system.
	RunDir func(system string) string
	// TypesFile is the types.cf to use if the configuration has none; "" for
	// no file at all.
	TypesFile string
	key       string
}

// NewShared draws the lab's cluster key.
func NewShared(sharedDir, typesFile string, runDir func(string) string) (*Shared, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, fmt.Errorf("draw cluster key: %w", err)
	}
	return &Shared{SharedDir: sharedDir, TypesFile: typesFile, RunDir: runDir, key: hex.EncodeToString(key)}, nil
}

// Files generates the files of one system. Files of the configuration
// directory win over generated ones; llttab, llthosts, sysname and cluster.key
// are always the lab's.
func (s *Spec) Files(system string, shared *Shared) ([]File, error) {
	files := map[string]File{}
	add := func(name, text string) { files[name] = File{Name: name, Mode: 0o644, Text: []byte(text)} }
	add("gabtab", fmt.Sprintf("/sbin/gabconfig -c -n%d\n", len(s.Systems)))
	add("fencing.conf", s.fencingConf(shared.SharedDir))
	if shared.TypesFile != "" {
		text, err := os.ReadFile(shared.TypesFile)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read types.cf: %w", err)
		}
		if err == nil {
			add("types.cf", string(text))
		}
	}
	if s.ConfigDir == "" {
		add("main.cf", s.defaultMain(shared))
	} else if err := s.copyConfig(files); err != nil {
		return nil, err
	}
	if len(s.Disks) > 0 {
		if _, given := files["storage.conf"]; !given {
			add("storage.conf", s.storageConf(shared.SharedDir))
		}
	}
	add("sysname", system+"\n")
	add("llthosts", s.llthosts())
	add("llttab", s.llttab(system))
	files["cluster.key"] = File{Name: "cluster.key", Mode: 0o600, Text: []byte(shared.key + "\n")}
	var out []File
	for _, name := range sortedNames(files) {
		out = append(out, files[name])
	}
	return out, nil
}

func (s *Spec) copyConfig(files map[string]File) error {
	entries, err := os.ReadDir(s.ConfigDir)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !entry.Type().IsRegular() || (!strings.HasSuffix(name, ".cf") && !strings.HasSuffix(name, ".conf") && name != "gabtab") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.ConfigDir, name))
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		if strings.HasSuffix(name, ".cf") {
			text = []byte(s.makeOwn(string(text)))
		}
		files[name] = File{Name: name, Mode: 0o644, Text: text}
	}
	return nil
}

// makeOwn makes the volatile paths of a configuration this lab's own.
func (s *Spec) makeOwn(text string) string {
	if s.Unprivileged {
		for _, prefix := range s.Volatile {
			text = strings.ReplaceAll(text, prefix, prefix+"-"+s.Name)
		}
	}
	return text
}

// VolatileFiles are patterns (filepath.Glob) of the files that a boot of the
// system removes.
func (s *Spec) VolatileFiles(system string) []string {
	if !s.Unprivileged {
		return nil
	}
	var patterns []string
	for _, prefix := range s.Volatile {
		patterns = append(patterns, fmt.Sprintf("%s-%s.%s.*", prefix, s.Name, system))
	}
	return patterns
}

func sortedNames(files map[string]File) []string {
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *Spec) llthosts() string {
	var b strings.Builder
	for id, system := range s.Systems {
		fmt.Fprintf(&b, "%d %s\n", id, system)
	}
	return b.String()
}

// UDPAddress is where a system of an unprivileged lab has its link: every
// system has loopback addresses of its own, so that all share the port.
func (s *Spec) UDPAddress(link, node int) string {
	h := s.hash()
	return fmt.Sprintf("127.%d.%d.%d", 1+h%254, (h>>8)%31*8+uint32(link), node+1)
}

// UDPPort is the port of all UDP links of an unprivileged lab.
func (s *Spec) UDPPort() int { return 50000 + int(s.hash()>>16)%10000 }

func (s *Spec) llttab(system string) string {
	var b strings.Builder
	b.WriteString("# written by halab\n")
	fmt.Fprintf(&b, "set-node %s\nset-cluster %d\n", system, s.ClusterID())
	node := 0
	for id, name := range s.Systems {
		if name == system {
			node = id
		}
	}
	for k, link := range s.Links {
		if !s.Unprivileged {
			fmt.Fprintf(&b, "link %s %s - ether - -\n", link, link)
			continue
		}
		fmt.Fprintf(&b, "link %s udp - udp %d - %s -\n", link, s.UDPPort(), s.UDPAddress(k, node))
		for id := range s.Systems {
			if id != node {
				fmt.Fprintf(&b, "set-addr %d %s %s\n", id, link, s.UDPAddress(k, id))
			}
		}
	}
	if s.Profile != "" {
		fmt.Fprintf(&b, "set-profile %s\n", s.Profile)
	}
	if s.Unprivileged {
		b.WriteString("set-bcasthb 0\nset-arp 0\n")
	}
	return b.String()
}

func (s *Spec) fencingConf(sharedDir string) string {
	if s.Fencing.Mode != "customized" {
		return fmt.Sprintf("# Written by halab.\nvxfen_mode=%s\nself_stop=lab\n", s.Fencing.Mode)
	}
	var b strings.Builder
	b.WriteString("# Written by halab. File points are for labs on one machine only.\nvxfen_mode=customized\n")
	for i := range s.Fencing.Points {
		fmt.Fprintf(&b, "point%d=file:%s\n", i+1, PointPath(sharedDir, i))
	}
	b.WriteString("self_stop=lab\npower_switch=lab\n")
	return b.String()
}

// PointPath is the file of coordination point i, from 0.
func PointPath(sharedDir string, i int) string {
	return filepath.Join(sharedDir, "points", fmt.Sprintf("point%d", i+1))
}

// storageConf tells the DiskGroup agent where the disk groups lie; see
// docs/operating/storage.md.
func (s *Spec) storageConf(sharedDir string) string {
	var b strings.Builder
	b.WriteString("# written by halab\n")
	seen := map[string]bool{}
	for _, disk := range s.Disks {
		if !seen[disk.Group] {
			seen[disk.Group] = true
			fmt.Fprintf(&b, "diskgroup %s image %s\n", disk.Group, filepath.Join(sharedDir, disk.Group))
		}
	}
	return b.String()
}

// VolumePath is the image of a volume.
func VolumePath(sharedDir string, disk Disk) string {
	return filepath.Join(sharedDir, disk.Group, disk.Volume+".img")
}

func (s *Spec) defaultMain(shared *Shared) string {
	var b strings.Builder
	b.WriteString("// The default configuration of halab up --nodes.\ninclude \"types.cf\"\n\ncluster lab (\n\t)\n\n")
	for _, system := range s.Systems {
		fmt.Fprintf(&b, "system %s (\n\t)\n\n", system)
	}
	var list []string
	for id, system := range s.Systems {
		list = append(list, fmt.Sprintf("%s = %d", system, id))
	}
	fmt.Fprintf(&b, "group first (\n\tSystemList = { %s }\n\tAutoStartList = { %s }\n\t)\n\n", strings.Join(list, ", "), strings.Join(s.Systems, ", "))
	b.WriteString("FileOnOff first_file (\n")
	for _, system := range s.Systems {
		fmt.Fprintf(&b, "\tPathName @%s = \"%s\"\n", system, filepath.Join(shared.RunDir(system), "first"))
	}
	b.WriteString("\t)\n")
	return b.String()
}
