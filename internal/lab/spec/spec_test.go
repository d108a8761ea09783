package spec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/llt/conf"
	fencing "github.com/evenkeel/evenkeel/services/fencing/conf"
)

func directory(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const mainCF = `include "types.cf"
// system Commented (
cluster demo (
	)
system Server1 (
	)

  system "Server2"

group g ( SystemList = { Server1, Server2 } )
`

func TestDefaultsComeFromMainCF(t *testing.T) {
	s, err := Load("lab", directory(t, map[string]string{"main.cf": mainCF}), false)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Systems, " "); got != "Server1 Server2" {
		t.Errorf("systems %q", got)
	}
	if s.Public.Interface != "pub0" || s.Address("Server2") != "192.168.1.2" || s.Address(ClientName) != "192.168.1.100" || s.Prefix() != 24 {
		t.Errorf("public network %+v, client %+v", s.Public, s.Client)
	}
	if s.Fencing.Mode != "customized" || s.Fencing.Points != 3 {
		t.Errorf("fencing %+v", s.Fencing)
	}
}

func TestLabYAMLIsTaken(t *testing.T) {
	s, err := Load("lab", directory(t, map[string]string{"main.cf": mainCF, "lab.yaml": `
public: {interface: hme0, network: 10.0.0.0/16, addresses: {Server2: 10.0.7.7}}
client: {address: 10.0.0.9}
links: [a, b, c]
disks: [{group: shared1, volume: home, size: 256M, fs: ext4}, {group: shared1, volume: raw, size: 4K}]
fencing: {mode: disabled}
profile: fast
image: 64M
env: {X: y}
binds: [/opt/x]
`}), false)
	if err != nil {
		t.Fatal(err)
	}
	if s.Address("Server1") != "10.0.0.1" || s.Address("Server2") != "10.0.7.7" || s.Disks[0].Size != 256<<20 || s.Disks[1].Size != 4096 || s.Image != 64<<20 {
		t.Errorf("%+v", s)
	}
	shared, err := NewShared("/shared", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	files := text(t, s, "Server2", shared)
	if files["storage.conf"] != "# written by halab\ndiskgroup shared1 image /shared/shared1\n" {
		t.Errorf("storage.conf %q", files["storage.conf"])
	}
	if files["sysname"] != "Server2\n" || files["gabtab"] != "/sbin/gabconfig -c -n2\n" || files["main.cf"] != mainCF {
		t.Errorf("files %q", files)
	}
}

func text(t *testing.T, s *Spec, system string, shared *Shared) map[string]string {
	t.Helper()
	files, err := s.Files(system, shared)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, file := range files {
		out[file.Name] = string(file.Text)
	}
	return out
}

// What the lab writes is read by those who read it, with no complaint.
func TestGeneratedFilesAreUnderstood(t *testing.T) {
	for _, unprivileged := range []bool{false, true} {
		s, err := Nodes("lab", 3, unprivileged)
		if err != nil {
			t.Fatal(err)
		}
		s.Fencing.Mode = "customized"
		shared, err := NewShared("/shared", "", func(system string) string { return "/run/" + system })
		if err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for _, system := range s.Systems {
			files := text(t, s, system, shared)
			tab, err := conf.ParseTab("llttab", files["llttab"])
			if err != nil {
				t.Fatalf("%v in\n%s", err, files["llttab"])
			}
			if len(tab.Links) != 2 || int(tab.Cluster) != s.ClusterID() {
				t.Errorf("llttab of %s: %+v", system, tab)
			}
			for _, link := range tab.Links {
				if unprivileged != (len(link.Peers) == 2) {
					t.Errorf("link %s of %s has peers %v", link.Tag, system, link.Peers)
				}
				if own := link.Local.String(); unprivileged && (used[own] || !link.Local.IsLoopback()) {
					t.Errorf("address %s of %s is used twice or no loopback", own, system)
				} else {
					used[own] = unprivileged
				}
			}
			points, err := fencing.Parse("fencing.conf", []byte(files["fencing.conf"]))
			if err != nil || len(points.Points) != 3 || points.SelfStop != fencing.ActionLab || points.PowerSwitch != fencing.SwitchLab {
				t.Errorf("fencing.conf: %+v, %v", points, err)
			}
			if len(strings.TrimSpace(files["cluster.key"])) != 64 {
				t.Errorf("cluster.key %q", files["cluster.key"])
			}
		}
	}
}

func TestFencingModeFitsMainCF(t *testing.T) {
	for _, c := range []struct {
		text         string
		unprivileged bool
		want         string
	}{
		{"", false, "customized"}, {"", true, "disabled"},
		{"UseFence = NONE", false, "disabled"}, {"\tUseFence = SCSI3", true, "customized"},
	} {
		if got := defaultMode(c.text, c.unprivileged); got != c.want {
			t.Errorf("%q, unprivileged %v: %s, want %s", c.text, c.unprivileged, got, c.want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for yaml, want := range map[string]string{
		"publik: {}":                                              "publik",
		"disks: [{group: g, size: 7Q}]":                           "256M",
		"disks: [{group: g, fs: vxfs}]":                           "ext4",
		"disks: [{group: g}, {group: g}]":                         "twice",
		"disks: [{group: ../g}]":                                  "letters",
		"fencing: {points: 2}":                                    "odd",
		"public: {network: 1.2.3}":                                "network",
		"public: {addresses: {Nobody: 192.168.1.7}}":              "Nobody",
		"public: {addresses: {Server1: 192.168.2.7}}":             "192.168.1.0/24",
		"client: {address: 192.168.1.1}":                          "differ",
		"systems: [client]":                                       "taken",
		"links: [lo]":                                             "lo",
		"links: [pub0]":                                           "pub0",
		"volatile: [/etc/x]":                                      "below /tmp",
		"volatile: [/tmp/../etc]":                                 "below /tmp",
		"image: 1M":                                               "16M",
		"public: {interface: much-too-long-for-this, network: 1}": "interface",
	} {
		_, err := Load("lab", directory(t, map[string]string{"main.cf": mainCF, "lab.yaml": yaml}), false)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want something with %q", yaml, err, want)
		}
	}
	if _, err := Load("lab", directory(t, map[string]string{"main.cf": "cluster x ()\n"}), false); err == nil || !strings.Contains(err.Error(), "declares no system") {
		t.Errorf("no systems: %v", err)
	}
}

// A lab boots with a main.cf that had will refuse.
func TestBrokenMainCFStillNamesItsSystems(t *testing.T) {
	s, err := Load("lab", directory(t, map[string]string{"main.cf": "clusterr x (\nsystem a (\n\t)\n“system” c\nsystem b"}), false)
	if err != nil || strings.Join(s.Systems, " ") != "a b" {
		t.Errorf("%v, %v", s, err)
	}
}

// Two unprivileged labs of one example share /tmp: each has files of its own,
// and a boot finds those of its system by their names.
func TestVolatilePathsAreTheLabsOwn(t *testing.T) {
	files := map[string]string{
		"main.cf":  mainCF + "// /tmp/web.Server1.flag\n",
		"lab.yaml": "volatile: [/tmp/web]",
	}
	for _, unprivileged := range []bool{true, false} {
		s, err := Load("mine", directory(t, files), unprivileged)
		if err != nil {
			t.Fatal(err)
		}
		shared, err := NewShared("/shared", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Files("Server1", shared)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range out {
			if file.Name == "main.cf" && strings.Contains(string(file.Text), "/tmp/web-mine.Server1.flag") != unprivileged {
				t.Errorf("unprivileged %v: %s", unprivileged, file.Text)
			}
		}
		if patterns := strings.Join(s.VolatileFiles("Server1"), " "); (patterns == "/tmp/web-mine.Server1.*") != unprivileged {
			t.Errorf("unprivileged %v: %q", unprivileged, patterns)
		}
	}
}
