package maincf_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/evenkeel/evenkeel/etc"
	"github.com/evenkeel/evenkeel/services/had/maincf"
)

// load reads a configuration of the repository with the built-in types.
func load(t *testing.T, file string) (*maincf.Config, []maincf.Diagnostic) {
	t.Helper()
	cfg, warnings, err := maincf.Load("main.cf", func(name string) ([]byte, error) {
		if name == "types.cf" {
			return []byte(etc.TypesCF), nil
		}
		return os.ReadFile(filepath.Join(filepath.Dir(file), name))
	})
	if err != nil {
		t.Fatalf("%s:\n%v", file, err)
	}
	return cfg, warnings
}

func TestNFSExample(t *testing.T) {
	cfg, warnings := load(t, "../../../examples/nfs/main.cf")
	if len(warnings) != 1 {
		t.Fatalf("want the one warning about admin's password, got %v", warnings)
	}
	fmt.Println(warnings[0])
	g := cfg.Group("NFS_group1")
	want := []maincf.SystemPriority{{System: "Server1", Priority: 0}, {System: "Server2", Priority: 1}}
	if fmt.Sprint(g.SystemList()) != fmt.Sprint(want) {
		t.Errorf("SystemList %v, want %v", g.SystemList(), want)
	}
	fmt.Println(cfg.Print("main.cf"))
}
func TestTwo(t *testing.T) {
	cfg, warnings := load(t, "../../../examples/two-systems/main.cf")
	fmt.Println(warnings, cfg.TypesOn("east"))
	fmt.Println(cfg.ArgList(cfg.Resource("web_server"), "west"))
	fmt.Println(cfg.Print("main.cf"))
	fmt.Println(cfg.Print("types.cf"))
}
