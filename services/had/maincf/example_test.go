package maincf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

const examples = "../../../examples"

// load reads a configuration of the repository with the built-in types.
func load(t *testing.T, dir string) (*maincf.Config, []maincf.Diagnostic) {
	t.Helper()
	cfg, warnings, err := maincf.Load("main.cf", openIn(dir))
	if err != nil {
		t.Fatalf("%s:\n%v", dir, err)
	}
	return cfg, warnings
}

func openIn(dir string) maincf.Open {
	return func(name string) ([]byte, error) {
		if name == "types.cf" {
			return []byte(etc.TypesCF), nil
		}
		return os.ReadFile(filepath.Join(dir, name))
	}
}

func TestNFSExample(t *testing.T) {
	cfg, warnings := load(t, filepath.Join(examples, "nfs"))
	if len(warnings) != 1 || !strings.Contains(warnings[0].Text, "admin") || !strings.Contains(warnings[0].Text, "cannot log in") {
		t.Errorf("want the one warning that admin cannot log in, got %v", warnings)
	}
	g := cfg.Group("NFS_group1")
	if got := fmt.Sprint(g.SystemList()); got != "[{Server1 0} {Server2 1}]" {
		t.Errorf("SystemList %s", got)
	}
	if got := strings.Join(cfg.TypesOn("Server2"), " "); got != "DiskGroup IP Mount NFS NIC Share" {
		t.Errorf("agents on Server2: %s", got)
	}
	for typ, want := range map[string]string{"NIC": "None", "NFS": "OnOnly", "IP": "OnOff", "DiskGroup": "OnOff"} {
		if got := cfg.Operations(typ); got != want {
			t.Errorf("Operations of %s: %s, want %s", typ, got, want)
		}
	}
	if got := strings.Join(g.Children("IP_nfs1"), " "); got != "Share_home NIC_group1_hme0" {
		t.Errorf("IP_nfs1 requires %s", got)
	}
	if got := strings.Join(g.Parents("NFS_group1_16"), " "); got != "Share_home" {
		t.Errorf("NFS_group1_16 is required by %s", got)
	}
}

// TestNFSExampleKeepsTheSample: of the sample as it is printed, only the
// typographic quotes and FSType change, and each change says so.
func TestNFSExampleKeepsTheSample(t *testing.T) {
	printed := statements(t, filepath.Join("testdata", "sample-as-printed.cf"))
	ours := statements(t, filepath.Join(examples, "nfs", "main.cf"))
	if len(printed) != len(ours) {
		t.Fatalf("%d lines, the sample has %d", len(ours), len(printed))
	}
	for i, want := range printed {
		text, comment, commented := strings.Cut(ours[i], "//")
		text = strings.TrimSpace(text)
		want = strings.TrimSpace(want)
		plain := strings.NewReplacer("“", `"`, "”", `"`, "FSType = vxfs", "FSType = ext4").Replace(want)
		if text != plain {
			t.Errorf("line %q, in the sample %q", text, want)
		}
		if changed := plain != want; changed != commented || changed && !strings.Contains(comment, "changed:") {
			t.Errorf("line %q: a change is marked, and nothing else (sample %q)", ours[i], want)
		}
	}
}

// statements are the lines of a file without blank ones and whole-line
// comments.
func statements(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range strings.Split(string(data), "\n") {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "//") {
			out = append(out, l)
		}
	}
	return out
}

// TestSampleAsPrinted: what a user pastes is refused with what to do.
func TestSampleAsPrinted(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "sample-as-printed.cf"))
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := maincf.LoadMap("main.cf", map[string]string{"main.cf": string(data), "types.cf": etc.TypesCF})
	if cfg != nil || err == nil {
		t.Fatal("loads")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != strings.Count(string(data), "“") {
		t.Errorf("one message for each of %d strings, got:\n%v", strings.Count(string(data), "“"), err)
	}
	for _, l := range lines {
		if !strings.Contains(l, "typographic quote") || !strings.Contains(l, `replace it by a plain "`) {
			t.Errorf("message %s", l)
		}
	}
}

func TestTwoSystemsExample(t *testing.T) {
	cfg, warnings := load(t, filepath.Join(examples, "two-systems"))
	if len(warnings) != 0 {
		t.Errorf("warnings %v", warnings)
	}
	seen := map[string]string{}
	for _, system := range []string{"east", "west"} {
		if got := strings.Join(cfg.TypesOn(system), " "); got != "FileOnOff Process" {
			t.Errorf("agents on %s: %s", system, got)
		}
		for _, r := range cfg.Group("web").Resources {
			args := fmt.Sprint(r.Type, cfg.ArgList(r, system))
			if other, taken := seen[args]; taken {
				t.Errorf("%s on %s and %s are the same thing on one machine: %s", r.Name, system, other, args)
			}
			seen[args] = r.Name + " on " + system
			if v, _ := cfg.StaticAttr(r, "MonitorInterval", system); v.Int() != 5 {
				t.Errorf("MonitorInterval of %s is %v", r.Name, v)
			}
		}
	}
}

// TestVerify: hacf -verify prints nothing for a good folder.
func TestVerify(t *testing.T) {
	for _, dir := range []string{"nfs", "two-systems"} {
		dir = filepath.Join(examples, dir)
		lines := maincf.Verify(dir, func(name string) ([]byte, error) {
			if filepath.Base(name) == "types.cf" {
				return []byte(etc.TypesCF), nil
			}
			return os.ReadFile(name)
		})
		if len(lines) != 0 {
			t.Errorf("%s: %v", dir, lines)
		}
	}
	lines := maincf.Verify("/nowhere", os.ReadFile)
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "main.cf:1:1: cannot read the configuration: ") {
		t.Errorf("a folder without main.cf: %q", lines)
	}
}
