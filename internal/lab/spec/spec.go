// Package spec says what a lab consists of: it reads a configuration
// directory with its optional lab.yaml, fills in the defaults and generates
// the files that each system finds under /etc/evenkeel.
//
// lab.yaml, every key optional:
//
//	systems: [Server1, Server2]     # default: the system declarations of main.cf
//	public:
//	  interface: hme0               # default pub0; its name in every system and the client
//	  network: 192.168.1.0/24       # default
//	  addresses: {Server1: 192.168.1.1, Server2: 192.168.1.2}   # default: .1, .2, ... in the order of systems
//	client: {address: 192.168.1.100}
//	links: [priv1, priv2]           # private links
//	disks:                          # shared disks, made once per lab
//	  - {group: shared1, volume: vol1, size: 256M, fs: ext4}    # fs "" leaves the volume empty
//	fencing: {mode: customized, points: 3}   # used if the directory has no fencing.conf
//	profile: default                # set-profile of llttab
//	image: 192M                     # each system's own disk
//	env: {NAME: value}              # environment of the daemons
//	binds: [/path]                  # host paths that the systems see read-only
//	volatile: [/tmp/example]        # unprivileged: beginnings of paths; see Spec.Volatile
package spec

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// SharedDir is where every privileged system sees the lab's shared disks.
const SharedDir = "/shared"

// ClientName is the name of the client host.
const ClientName = "client"

// Spec describes one lab.
type Spec struct {
	Name         string            `yaml:"-" json:"name"`
	Unprivileged bool              `yaml:"-" json:"unprivileged"`
	NoDaemons    bool              `yaml:"-" json:"no_daemons"`
	ConfigDir    string            `yaml:"-" json:"config_dir"`
	Systems      []string          `yaml:"systems" json:"systems"`
	Public       Public            `yaml:"public" json:"public"`
	Client       Client            `yaml:"client" json:"client"`
	Links        []string          `yaml:"links" json:"links"`
	Disks        []Disk            `yaml:"disks" json:"disks"`
	Fencing      Fencing           `yaml:"fencing" json:"fencing"`
	Profile      string            `yaml:"profile" json:"profile"`
	Image        Size              `yaml:"image" json:"image"`
	Env          map[string]string `yaml:"env" json:"env"`
	Binds        []string          `yaml:"binds" json:"binds"`
	// Volatile are beginnings of paths below /tmp that the .cf files name. The
	// systems of unprivileged labs share the machine's /tmp, so there each
	// beginning PREFIX becomes PREFIX-LAB in the systems' copies of the files,
	// and the boot of SYSTEM removes the files PREFIX-LAB.SYSTEM.*, as a
	// reboot empties /run.
	Volatile []string `yaml:"volatile" json:"volatile"`
}

// Public is the one public network.
type Public struct {
	Interface string            `yaml:"interface" json:"interface"`
	Network   string            `yaml:"network" json:"network"`
	Addresses map[string]string `yaml:"addresses" json:"addresses"`
}

// Client is the client host.
type Client struct {
	Address string `yaml:"address" json:"address"`
}

// Disk is one volume of a disk group on shared storage.
type Disk struct {
	Group  string `yaml:"group" json:"group"`
	Volume string `yaml:"volume" json:"volume"`
	Size   Size   `yaml:"size" json:"size"`
	FS     string `yaml:"fs" json:"fs"`
}

// Fencing is what fencing.conf is generated from.
type Fencing struct {
	Mode   string `yaml:"mode" json:"mode"`
	Points int    `yaml:"points" json:"points"`
}

// Size is a number of bytes; in YAML with an optional suffix K, M or G.
type Size int64

// UnmarshalYAML reads 64M and the like.
func (s *Size) UnmarshalYAML(node *yaml.Node) error {
	text := strings.TrimSuffix(strings.ToUpper(node.Value), "B")
	shift := 0
	for suffix, bits := range map[string]int{"K": 10, "M": 20, "G": 30} {
		if strings.HasSuffix(text, suffix) {
			text, shift = strings.TrimSuffix(text, suffix), bits
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n <= 0 {
		return fmt.Errorf("line %d: size %q: write a number with K, M or G, such as 256M", node.Line, node.Value)
	}
	*s = Size(n << shift)
	return nil
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$`)

// CheckName says whether a lab or a system may be called so.
func CheckName(kind, name string) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("%s %q: use 1 to 32 letters, digits, '_', '-' and '.', beginning with a letter or digit", kind, name)
	}
	return nil
}

var systemDeclaration = regexp.MustCompile(`(?m)^[ \t]*system[ \t]+"?([A-Za-z0-9][A-Za-z0-9_.-]*)"?[ \t]*(\(|\r?$|//|#)`)

// systemsOf finds the systems that a main.cf declares. It is not the parser
// of the language on purpose: a lab must boot with a main.cf that is wrong, so
// that one can see what had makes of it.
func systemsOf(text string) []string {
	var names []string
	for _, match := range systemDeclaration.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(names, match[1]) {
			names = append(names, match[1])
		}
	}
	return names
}

// Load reads the configuration directory dir.
func Load(name, dir string, unprivileged bool) (*Spec, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", dir, err)
	}
	s := &Spec{Name: name, ConfigDir: full, Unprivileged: unprivileged}
	main, err := os.ReadFile(filepath.Join(full, "main.cf"))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w (--conf names a directory that holds main.cf)", err)
	}
	switch text, err := os.ReadFile(filepath.Join(full, "lab.yaml")); {
	case err == nil:
		decoder := yaml.NewDecoder(strings.NewReader(string(text)))
		decoder.KnownFields(true)
		if err := decoder.Decode(s); err != nil && err.Error() != "EOF" {
			return nil, fmt.Errorf("%s: %w", filepath.Join(full, "lab.yaml"), err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("read lab.yaml: %w", err)
	}
	if len(s.Systems) == 0 {
		s.Systems = systemsOf(string(main))
	}
	if len(s.Systems) == 0 {
		return nil, fmt.Errorf("%s declares no system; write `system NAME ( )` for each, or `systems: [...]` into lab.yaml", filepath.Join(full, "main.cf"))
	}
	if s.Fencing.Mode == "" {
		s.Fencing.Mode = defaultMode(string(main), unprivileged)
	}
	return s, s.complete()
}

var useFence = regexp.MustCompile(`(?m)^[ \t]*UseFence[ \t]*=[ \t]*"?(\w+)`)

// defaultMode is the fencing mode that fits main.cf: had refuses a
// contradiction. Without root, a first look needs no points.
func defaultMode(main string, unprivileged bool) string {
	match := useFence.FindStringSubmatch(main)
	switch {
	case match != nil && strings.EqualFold(match[1], "NONE"):
		return "disabled"
	case match == nil && unprivileged:
		return "disabled"
	}
	return "customized"
}

// Nodes is the default lab of n systems Server1, Server2, ...
func Nodes(name string, n int, unprivileged bool) (*Spec, error) {
	if n < 1 || n > 64 {
		return nil, fmt.Errorf("--nodes %d: a cluster has 1 to 64 systems", n)
	}
	s := &Spec{Name: name, Unprivileged: unprivileged}
	for i := range n {
		s.Systems = append(s.Systems, fmt.Sprintf("Server%d", i+1))
	}
	s.Fencing.Mode = defaultMode("", unprivileged)
	return s, s.complete()
}

func (s *Spec) complete() error {
	if err := CheckName("lab", s.Name); err != nil {
		return err
	}
	if len(s.Systems) > 64 {
		return fmt.Errorf("%d systems: a cluster has at most 64", len(s.Systems))
	}
	for i, system := range s.Systems {
		if err := CheckName("system", system); err != nil {
			return err
		}
		if system == ClientName || slices.Contains(s.Systems[:i], system) {
			return fmt.Errorf("system %q: the name is taken", system)
		}
	}
	if s.Image == 0 {
		s.Image = 192 << 20
	}
	if s.Image < 16<<20 {
		return fmt.Errorf("image: %d bytes: a system's disk needs 16M at least", s.Image)
	}
	if len(s.Links) == 0 {
		s.Links = []string{"priv1", "priv2"}
	}
	if len(s.Links) > 8 {
		return fmt.Errorf("links: %d: a cluster has at most 8", len(s.Links))
	}
	if s.Fencing.Points == 0 {
		s.Fencing.Points = 3
	}
	if s.Fencing.Points%2 == 0 || s.Fencing.Points < 0 {
		return fmt.Errorf("fencing: points: %d: an odd number is needed", s.Fencing.Points)
	}
	for _, prefix := range s.Volatile {
		if !strings.HasPrefix(prefix, "/tmp/") || filepath.Clean(prefix) != prefix || strings.ContainsAny(prefix, `*?[\`) {
			return fmt.Errorf("volatile: %q: write the beginning of a path below /tmp, such as /tmp/example", prefix)
		}
	}
	if err := s.completePublic(); err != nil {
		return err
	}
	return s.completeDisks()
}

func (s *Spec) completePublic() error {
	if s.Public.Interface == "" {
		s.Public.Interface = "pub0"
	}
	for i, name := range append([]string{s.Public.Interface}, s.Links...) {
		if err := CheckName("interface", name); err != nil {
			return err
		}
		if len(name) > 15 || name == "lo" || (i > 0 && (name == s.Public.Interface || slices.Contains(s.Links[:i-1], name))) {
			return fmt.Errorf("interface %q: names have at most 15 letters and differ", name)
		}
	}
	if s.Public.Network == "" {
		s.Public.Network = "192.168.1.0/24"
	}
	network, err := netip.ParsePrefix(s.Public.Network)
	if err != nil {
		return fmt.Errorf("public: network: %w", err)
	}
	network = network.Masked()
	s.Public.Network = network.String()
	addresses := map[string]string{}
	next := network.Addr()
	for _, system := range s.Systems {
		next = next.Next()
		if given := s.Public.Addresses[system]; given != "" {
			addresses[system] = given
		} else {
			addresses[system] = next.String()
		}
	}
	for system := range s.Public.Addresses {
		if addresses[system] == "" {
			return fmt.Errorf("public: addresses: %s is no system of this lab", system)
		}
	}
	s.Public.Addresses = addresses
	if s.Client.Address == "" {
		last := network.Addr()
		for range 100 {
			last = last.Next()
		}
		s.Client.Address = last.String()
	}
	seen := map[string]bool{}
	for _, host := range append(slices.Clone(s.Systems), ClientName) {
		text := s.Address(host)
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("address of %s: %w", host, err)
		}
		if !network.Contains(address) || seen[text] {
			return fmt.Errorf("address of %s: %s must lie in %s and differ from the others", host, text, network)
		}
		seen[text] = true
	}
	return nil
}

func (s *Spec) completeDisks() error {
	for i := range s.Disks {
		disk := &s.Disks[i]
		if err := CheckName("disk group", disk.Group); err != nil {
			return err
		}
		if disk.Volume == "" {
			disk.Volume = "vol1"
		}
		if err := CheckName("volume", disk.Volume); err != nil {
			return err
		}
		if disk.Size == 0 {
			disk.Size = 128 << 20
		}
		if disk.FS != "" && disk.FS != "ext4" {
			return fmt.Errorf("disk %s/%s: fs %q: the lab makes ext4 or, with \"\", nothing", disk.Group, disk.Volume, disk.FS)
		}
		for _, other := range s.Disks[:i] {
			if other.Group == disk.Group && other.Volume == disk.Volume {
				return fmt.Errorf("disk %s/%s is there twice", disk.Group, disk.Volume)
			}
		}
	}
	return nil
}

// Address is the address of a system or of the client on the public network,
// without prefix.
func (s *Spec) Address(host string) string {
	if host == ClientName {
		return s.Client.Address
	}
	return s.Public.Addresses[host]
}

// Prefix is the length of the public network's prefix.
func (s *Spec) Prefix() int {
	network, err := netip.ParsePrefix(s.Public.Network)
	if err != nil {
		return 0
	}
	return network.Bits()
}

// Hosts are the systems and, if the lab has networks, the client.
func (s *Spec) Hosts() []string {
	if s.Unprivileged {
		return slices.Clone(s.Systems)
	}
	return append(slices.Clone(s.Systems), ClientName)
}

// ClusterID is the LLT cluster id of the lab. Unprivileged labs share the
// machine's loopback, so it depends on the name.
func (s *Spec) ClusterID() int {
	return 1 + int(s.hash()%65535)
}

func (s *Spec) hash() uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s %d", s.Name, os.Getuid())
	return h.Sum32()
}
